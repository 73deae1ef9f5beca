//! VALUES whose columns have one type each, VALUES that are compared with, and VALUES with subqueries in them.
//!
//! A cast in one row says what the column is, also for the other rows: `VALUES ('a'::varchar), (NULL)`. DataFusion agrees on Arrow types by
//! itself, but not on what only the field's metadata tells.

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, Ident, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    TableWithJoins, Value, Values, Visitor, VisitorMut,
};

use super::data_type::sql_type;
use super::expressions::is_literal;
use super::names::hidden;
use crate::sql::{Walk, WalkMut};

/// Casts the cells of each VALUES column whose type Arrow has no word for.
pub(super) fn agree(query: &mut Query) {
    let _ = query.walk_mut(&mut Agree);
}

struct Agree;

impl VisitorMut for Agree {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        subqueries_outside(&mut query.body);
        agree_within(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::InSubquery { subquery, .. } => as_select(subquery),
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                if let Expr::Subquery(subquery) = right.as_mut() {
                    as_select(subquery);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `VALUES …` as `SELECT * FROM (VALUES …)`: what a value is compared with has to have one column, and VALUES has as many as it has cells to
/// DataFusion.
fn as_select(subquery: &mut Query) {
    if !matches!(subquery.body.as_ref(), SetExpr::Values(_)) {
        return;
    }
    let mut around = super::parse_query("SELECT * FROM (SELECT 1) AS v").expect("a constant text");
    if let SetExpr::Select(select) = around.body.as_mut()
        && let Some(TableWithJoins { relation: TableFactor::Derived { subquery: within, .. }, .. }) = select.from.first_mut()
    {
        std::mem::swap(within.as_mut(), subquery);
        *subquery = around;
    }
}

/// Breaks at a query.
struct HasQuery;

impl Visitor for HasQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// VALUES are computed before any subquery is. So cells with subqueries go to a SELECT around, which knows by the row's number where to put them:
///
/// ```text
/// VALUES (1, 2), (3, (SELECT 4))
/// SELECT c1 AS column1, CASE WHEN c3 = 2 THEN (SELECT 4) ELSE c2 END AS column2 FROM (VALUES (1, 2, 1), (3, NULL, 2)) AS v (c1, c2, c3)
/// ```
fn subqueries_outside(body: &mut SetExpr) {
    match body {
        SetExpr::Values(values) => {
            if let Some(select) = select_around(values) {
                *body = select;
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            subqueries_outside(left);
            subqueries_outside(right);
        }
        // Queries in parentheses are visited on their own.
        _ => {}
    }
}

fn select_around(values: &mut Values) -> Option<SetExpr> {
    let width = values.rows.first()?.content.len();
    let uneven = values.rows.iter().any(|row| row.content.len() != width);
    if uneven || values.walk(&mut HasQuery).is_continue() {
        return None;
    }
    let name = |number: usize| Ident::with_quote('"', hidden("column", number));
    let column = |number: usize| Expr::Identifier(name(number));
    let mut arms: Vec<Vec<CaseWhen>> = vec![Vec::new(); width];
    for (number, row) in values.rows.iter_mut().enumerate() {
        let number = Expr::value(Value::Number((number + 1).to_string(), false));
        for (cell, arms) in row.content.iter_mut().zip(&mut arms) {
            if cell.walk(&mut HasQuery).is_break() {
                let result = std::mem::replace(cell, Expr::value(Value::Null));
                let (left, right) = (Box::new(column(width)), Box::new(number.clone()));
                arms.push(CaseWhen { condition: Expr::BinaryOp { left, op: BinaryOperator::Eq, right }, result });
            }
        }
        row.content.push(number);
    }
    let items = arms.into_iter().enumerate().map(|(number, conditions)| {
        let mut expr = column(number);
        // In every row: nothing of VALUES is left, not even a type.
        if conditions.len() == 1 && values.rows.len() == 1 {
            expr = conditions.into_iter().next().expect("there is one").result;
        } else if !conditions.is_empty() {
            let else_result = (conditions.len() < values.rows.len()).then(|| Box::new(expr));
            let (case_token, end_token) = (AttachedToken::empty(), AttachedToken::empty());
            expr = Expr::Case { case_token, end_token, operand: None, conditions, else_result };
        }
        SelectItem::ExprWithAlias { expr, alias: Ident::new(format!("column{}", number + 1)) }
    });
    let mut around = super::parse_query("SELECT * FROM (SELECT 1) AS v").expect("a constant text");
    let SetExpr::Select(select) = around.body.as_mut() else { return None };
    select.projection = items.collect();
    if let Some(TableWithJoins { relation: TableFactor::Derived { subquery, alias, .. }, .. }) = select.from.first_mut() {
        let columns = (0..=width).map(|number| TableAliasColumnDef { name: name(number), data_type: None }).collect();
        *alias = Some(TableAlias { explicit: true, name: Ident::with_quote('"', hidden("values", 0)), columns, at: None });
        *subquery.body = SetExpr::Values(values.clone());
    }
    Some(*around.body)
}

fn agree_within(body: &mut SetExpr) {
    match body {
        SetExpr::Values(values) => agree_values(values),
        SetExpr::SetOperation { left, right, .. } => {
            agree_within(left);
            agree_within(right);
        }
        // Queries in parentheses are visited on their own.
        _ => {}
    }
}

fn agree_values(values: &mut Values) {
    let width = values.rows.iter().map(|row| row.content.len()).min().unwrap_or(0);
    for column in 0..width {
        let declared: Vec<&DataType> = values.rows.iter().filter_map(|row| declared_as(&row.content[column])).collect();
        let Some(first) = declared.iter().find(|data_type| is_marked(data_type)).or(declared.first()) else { continue };
        let same = declared.iter().all(|data_type| sql_type(data_type).ok() == sql_type(first).ok());
        let is_marked = is_marked(first);
        let wanted = if same { (*first).clone() } else { DataType::Text };
        for cell in values.rows.iter_mut().map(|row| &mut row.content[column]) {
            let open = is_literal(cell) && !is_null(cell);
            if (is_marked && (!same || declared_as(cell) != Some(&wanted))) || (same && open) {
                let expr = Box::new(std::mem::replace(cell, Expr::value(sqlparser::ast::Value::Null)));
                *cell = Expr::Cast { kind: CastKind::DoubleColon, expr, data_type: wanted.clone(), array: false, format: None };
            }
        }
    }
}

/// The type that a cell says it has.
pub(super) fn declared_as(cell: &Expr) -> Option<&DataType> {
    match cell {
        Expr::Cast { data_type, .. } => Some(data_type),
        Expr::TypedString(typed) => Some(&typed.data_type),
        Expr::Nested(inner) => declared_as(inner),
        _ => None,
    }
}

fn is_null(cell: &Expr) -> bool {
    matches!(cell, Expr::Value(value) if matches!(value.value, sqlparser::ast::Value::Null | sqlparser::ast::Value::Placeholder(_)))
}

fn is_marked(data_type: &DataType) -> bool {
    sql_type(data_type).is_ok_and(|known| !known.field("", true).metadata().is_empty())
}
