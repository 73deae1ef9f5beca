//! VALUES whose columns have one type each, and VALUES that are compared with.
//!
//! A cast in one row says what the column is, also for the other rows: `VALUES ('a'::varchar), (NULL)`. DataFusion agrees on Arrow types by
//! itself, but not on what only the field's metadata tells.

use std::ops::ControlFlow;

use sqlparser::ast::{CastKind, DataType, Expr, Query, SetExpr, TableFactor, TableWithJoins, Values, VisitMut, VisitorMut};

use super::data_type::sql_type;
use super::expressions::is_literal;

/// Casts the cells of each VALUES column whose type Arrow has no word for.
pub(super) fn agree(query: &mut Query) {
    let _ = query.visit(&mut Agree);
}

struct Agree;

impl VisitorMut for Agree {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
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
