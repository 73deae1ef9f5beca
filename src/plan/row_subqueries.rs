//! `(a, b) IN (SELECT x, y …)`, `(a, b) < ALL (SELECT …)`, `(a, b) = (SELECT …)`: a row that is compared with those of a subquery.
//!
//! Rows are compared part by part, as elsewhere; so the first two become questions of existence over the subquery's rows, whose columns get names
//! that nobody else has, and the last one the subquery of the comparison:
//!
//! ```text
//! as a condition of WHERE    EXISTS (SELECT 1 FROM (SELECT x, y …) AS row (p, q) WHERE a = p AND b = q)
//! NOT IN there               NOT EXISTS (SELECT 1 FROM … WHERE (a = p AND b = q) IS NOT FALSE)
//! elsewhere                  CASE WHEN EXISTS (…) THEN true WHEN EXISTS (… WHERE (a = p AND b = q) IS NULL) THEN NULL ELSE false END
//! < ALL                      as NOT IN, with a row that is >=
//! one row                    (SELECT a = p AND b = q FROM (SELECT x, y …) AS row (p, q))
//! ```

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator as Op, CaseWhen, Expr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    UnaryOperator, Value,
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

/// Is there a row among others with which one compares so?
struct Membership<'a> {
    row: Vec<Expr>,
    rows: &'a Query,
    op: Op,
    negated: bool,
}

/// What such a comparison means in any place; `None` if it is none.
pub(super) fn anywhere(expr: &Expr, next: &mut usize) -> Result<Option<Expr>> {
    if let Some(compared) = with_one_row(expr, next)? {
        return Ok(Some(compared));
    }
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
        let found = membership.exists(next, |compared| Expr::IsNotFalse(Box::new(compared)))?;
        Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) }
    };
    Ok(())
}

fn membership(expr: &Expr) -> Result<Option<Membership<'_>>> {
    let (row, rows, op, negated) = match expr {
        Expr::InSubquery { expr, subquery, negated } => (parts(expr), subquery.as_ref(), Op::Eq, *negated),
        Expr::AnyOp { left, compare_op, right, .. } | Expr::AllOp { left, compare_op, right } => {
            let (Some(row), Expr::Subquery(rows)) = (parts(left), right.as_ref()) else { return Ok(None) };
            match (expr, opposite(compare_op)) {
                (_, None) => return Ok(None),
                (Expr::AnyOp { .. }, Some(_)) => (Some(row), rows.as_ref(), compare_op.clone(), false),
                (_, Some(opposite)) => (Some(row), rows.as_ref(), opposite, true),
            }
        }
        _ => return Ok(None),
    };
    Ok(row.map(|row| Membership { row, rows, op, negated }))
}

/// The comparison that is true where another one is false; `None` for other operators.
fn opposite(op: &Op) -> Option<Op> {
    Some(match op {
        Op::Eq => Op::NotEq,
        Op::NotEq => Op::Eq,
        Op::Lt => Op::GtEq,
        Op::GtEq => Op::Lt,
        Op::Gt => Op::LtEq,
        Op::LtEq => Op::Gt,
        _ => return None,
    })
}

/// A row that is compared with the only one of a subquery.
fn with_one_row(expr: &Expr, next: &mut usize) -> Result<Option<Expr>> {
    let Expr::BinaryOp { left, op, right } = expr else { return Ok(None) };
    if opposite(op).is_none() {
        return Ok(None);
    }
    let is_row = |expr: &Expr| parts(expr).is_some_and(|parts| parts.len() > 1);
    match (left.as_ref(), right.as_ref()) {
        (row, Expr::Subquery(rows)) if is_row(row) => {
            let row = parts(row).unwrap_or_default();
            let query = over_rows(&row, op, rows, next, |select, compared| {
                select.projection = vec![SelectItem::UnnamedExpr(compared)];
            })?;
            Ok(Some(Expr::Subquery(Box::new(query))))
        }
        (Expr::Subquery(_), row) if is_row(row) => Err(Error::new(Kind::Syntax, "subquery must return only one column")
            .hint("Write the row on the left side, and the subquery on the right.")),
        _ => Ok(None),
    }
}

/// `SELECT 1 FROM (rows) AS row (p, q)`, with the comparison of `row` put where `place` says.
fn over_rows(row: &[Expr], op: &Op, rows: &Query, next: &mut usize, place: impl FnOnce(&mut Select, Expr)) -> Result<Query> {
    let name = Ident::with_quote('"', hidden(ROW, *next));
    let columns: Vec<Ident> = (0..row.len()).map(|part| Ident::with_quote('"', hidden(&format!("part {part}"), *next))).collect();
    *next += 1;
    let read: Vec<Expr> = columns.iter().map(|column| Expr::CompoundIdentifier(vec![name.clone(), column.clone()])).collect();
    let Some(compared) = compared(row, op, &read)? else { return Err(Error::new(Kind::Syntax, "a row without columns")) };
    let mut query = super::parse_query("SELECT 1 FROM (SELECT 1) AS v")?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        if let Some(TableFactor::Derived { subquery, alias, .. }) = select.from.first_mut().map(|item| &mut item.relation) {
            **subquery = rows.clone();
            let columns = columns.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
            *alias = alias.take().map(|alias| TableAlias { name, columns, ..alias });
        }
        place(select, compared);
    }
    Ok(query)
}

impl Membership<'_> {
    /// Whether there is a row for which a condition over the comparison of the two holds.
    fn exists(&self, next: &mut usize, condition: impl Fn(Expr) -> Expr) -> Result<Expr> {
        let query = over_rows(&self.row, &self.op, self.rows, next, |select, compared| select.selection = Some(condition(compared)))?;
        Ok(Expr::Exists { subquery: Box::new(query), negated: false })
    }
}
