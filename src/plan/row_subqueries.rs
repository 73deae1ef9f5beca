//! `(a, b) IN (SELECT x, y …)`: a row that is looked for among those of a subquery.
//!
//! Rows are compared part by part, as elsewhere; so this becomes a question of existence over the subquery's rows, whose columns get names
//! that nobody else has:
//!
//! ```text
//! as a condition of WHERE    EXISTS (SELECT 1 FROM (SELECT x, y …) AS row (p, q) WHERE a = p AND b = q)
//! NOT IN there               NOT EXISTS (SELECT 1 FROM … WHERE (a = p AND b = q) IS NOT FALSE)
//! elsewhere                  CASE WHEN EXISTS (…) THEN true WHEN EXISTS (… WHERE (a = p AND b = q) IS NULL) THEN NULL ELSE false END
//! ```

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator as Op, CaseWhen, Expr, Ident, Query, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, UnaryOperator, Value,
};

use super::names::hidden;
use super::row_comparisons::{compared, parts};
use crate::error::{Error, Kind, Result};

/// What the rows of such a subquery are called.
const ROW: &str = "row";

/// Whether a relation is the rows of such a subquery: then it has exactly the columns that it is given names for.
pub(super) fn is_compared(relation: &str) -> bool {
    relation.strip_prefix(&hidden(ROW, 0)[..ROW.len() + 1]).is_some()
}

/// The error of a subquery that has `columns` where rows of `parts` are looked for.
pub(super) fn wrong_width(columns: usize, parts: usize) -> Error {
    Error::new(Kind::Syntax, format!("subquery has too {} columns", if columns < parts { "few" } else { "many" }))
}

/// Is one row among others?
struct Membership<'a> {
    row: Vec<Expr>,
    rows: &'a Query,
    negated: bool,
}

/// What such a comparison means in any place; `None` if it is none.
pub(super) fn anywhere(expr: &Expr, next: &mut usize) -> Result<Option<Expr>> {
    let Some(membership) = membership(expr)? else { return Ok(None) };
    let value = |value: Value| Expr::Value(value.into());
    let found = membership.exists(next, |equal| equal)?;
    let unknown = membership.exists(next, |equal| Expr::IsNull(Box::new(equal)))?;
    let case = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![
            CaseWhen { condition: found, result: value(Value::Boolean(!membership.negated)) },
            CaseWhen { condition: unknown, result: value(Value::Null) },
        ],
        else_result: Some(Box::new(value(Value::Boolean(membership.negated)))),
    };
    Ok(Some(Expr::Nested(Box::new(case))))
}

/// Rewrites those among the conditions that must all be true: there NULL is as good as false.
pub(super) fn conditions(expr: &mut Expr, next: &mut usize) -> Result<()> {
    match expr {
        Expr::BinaryOp { left, op: Op::And, right } => {
            conditions(left, next)?;
            return conditions(right, next);
        }
        Expr::Nested(inner) => return conditions(inner, next),
        _ => {}
    }
    let (inner, negated) = match &*expr {
        Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => (inner.as_ref(), true),
        other => (other, false),
    };
    let Some(membership) = membership(inner)? else { return Ok(()) };
    *expr = if membership.negated == negated {
        membership.exists(next, |equal| equal)?
    } else {
        let found = membership.exists(next, |equal| Expr::IsNotFalse(Box::new(equal)))?;
        Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) }
    };
    Ok(())
}

fn membership(expr: &Expr) -> Result<Option<Membership<'_>>> {
    let (row, rows, negated) = match expr {
        Expr::InSubquery { expr, subquery, negated } => (parts(expr), subquery.as_ref(), *negated),
        Expr::AnyOp { left, compare_op, right, .. } | Expr::AllOp { left, compare_op, right } => {
            let (Some(row), Expr::Subquery(rows)) = (parts(left), right.as_ref()) else { return Ok(None) };
            let any = matches!(expr, Expr::AnyOp { .. });
            match compare_op {
                Op::Eq if any => (Some(row), rows.as_ref(), false),
                Op::NotEq if !any => (Some(row), rows.as_ref(), true),
                _ => return Err(other_comparison()),
            }
        }
        Expr::BinaryOp { left, right, .. } => {
            let alone = |row: &Expr, other: &Expr| matches!(other, Expr::Subquery(_)) && parts(row).is_some_and(|parts| parts.len() > 1);
            return if alone(left, right) || alone(right, left) { Err(other_comparison()) } else { Ok(None) };
        }
        _ => return Ok(None),
    };
    Ok(row.map(|row| Membership { row, rows, negated }))
}

fn other_comparison() -> Error {
    Error::not_supported("comparing a row with a subquery other than by IN, = ANY and <> ALL is not supported")
        .hint("Use EXISTS with a comparison of rows in its WHERE, or compare the columns one by one.")
}

impl Membership<'_> {
    /// Whether there is a row for which a condition over the equality of the two holds.
    fn exists(&self, next: &mut usize, condition: impl Fn(Expr) -> Expr) -> Result<Expr> {
        let name = Ident::with_quote('"', hidden(ROW, *next));
        let columns: Vec<Ident> = (0..self.row.len()).map(|part| Ident::with_quote('"', hidden(&format!("part {part}"), *next))).collect();
        *next += 1;
        let read: Vec<Expr> = columns.iter().map(|column| Expr::CompoundIdentifier(vec![name.clone(), column.clone()])).collect();
        let Some(equal) = compared(&self.row, &Op::Eq, &read)? else { return Err(Error::new(Kind::Syntax, "a row without columns")) };
        let mut query = super::parse_query("SELECT 1 FROM (SELECT 1) AS v")?;
        if let SetExpr::Select(select) = query.body.as_mut()
            && let Some(TableFactor::Derived { subquery, alias, .. }) = select.from.first_mut().map(|item| &mut item.relation)
        {
            **subquery = self.rows.clone();
            let columns = columns.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
            *alias = alias.take().map(|alias| TableAlias { name, columns, ..alias });
            select.selection = Some(condition(equal));
        }
        Ok(Expr::Exists { subquery: Box::new(query), negated: false })
    }
}
