//! The types of the columns of a table that a query makes.
//!
//! A number that is computed has as many digits as it needs, and PostgreSQL stores it as plain `numeric`; only what was declared with digits
//! (a table's column, a cast) keeps them.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use super::bound::Bound;
use crate::types::{NUMERIC_DEFAULT, SqlType, declared_type_of};

impl Bound {
    /// The types in which a table keeps the query's columns.
    pub fn stored_types(&self) -> Vec<SqlType> {
        let stored = |(place, field): (usize, &arrow::datatypes::FieldRef)| match declared_type_of(field) {
            SqlType::Numeric(precision, scale) if fits(precision, scale) && !is_declared(&self.plan, place) => {
                SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1)
            }
            other => other,
        };
        self.schema.fields().iter().enumerate().map(stored).collect()
    }
}

/// Whether a plain `numeric` holds all numbers of these digits.
fn fits(precision: u8, scale: i8) -> bool {
    let whole = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
    (0..=NUMERIC_DEFAULT.1).contains(&scale) && whole(precision, scale) <= whole(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1)
}

/// Whether somebody has said how many digits the numbers of a column have.
fn is_declared(plan: &LogicalPlan, column: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.get(column).is_some_and(|expr| is_declared_by(expr, &projection.input)),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.get(column).is_some_and(|expr| is_declared_by(expr, &aggregate.input)),
        LogicalPlan::Window(window) => column < width(window.input.schema()) && is_declared(&window.input, column),
        LogicalPlan::SubqueryAlias(alias) => is_declared(&alias.input, column),
        LogicalPlan::Filter(filter) => is_declared(&filter.input, column),
        LogicalPlan::Sort(sort) => is_declared(&sort.input, column),
        LogicalPlan::Limit(limit) => is_declared(&limit.input, column),
        LogicalPlan::Distinct(Distinct::All(input)) => is_declared(input, column),
        LogicalPlan::Join(join) => match (column.checked_sub(width(join.left.schema())), join.join_type) {
            (_, JoinType::RightSemi | JoinType::RightAnti) => is_declared(&join.right, column),
            (Some(column), _) => is_declared(&join.right, column),
            (None, _) => is_declared(&join.left, column),
        },
        LogicalPlan::TableScan(_) => true,
        _ => false,
    }
}

fn is_declared_by(expr: &Expr, input: &LogicalPlan) -> bool {
    match expr {
        Expr::Alias(alias) => is_declared_by(&alias.expr, input),
        Expr::Column(column) => input.schema().index_of_column(column).is_ok_and(|column| is_declared(input, column)),
        Expr::Cast(_) => true,
        _ => false,
    }
}

fn width(schema: &DFSchema) -> usize {
    schema.fields().len()
}
