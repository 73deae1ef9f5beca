//! Times have microseconds, wherever types were coerced.
//!
//! Beside a timestamp DataFusion makes a timestamp of nanoseconds of a date, in which there is nothing before 1677 and behind 2262: `9999-12-31` was an
//! error. Runs when types have been coerced: what is cast to such a type is cast to one of microseconds, and the columns above are those.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder, TryCast, Values};

use super::map_named::map_named;
use super::open_literals::recomputed;
use super::walk::{WalkPlan, WalkTree};

/// The plan without casts to nanoseconds, in subqueries too.
pub(super) fn in_microseconds(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    // What a recursive query reads of itself has the types that its first term had before.
    if plan.has(|node| Ok(matches!(node, LogicalPlan::RecursiveQuery(_))))? {
        return Ok(plan);
    }
    let changed = Cell::new(false);
    let done = plan.change_all_up(|node| {
        let node = map_named(node, |expr| {
            expr.change_up(|inner| {
                let cast = in_microseconds_of(inner);
                changed.set(changed.get() || cast.transformed);
                Ok(cast)
            })
        })?;
        // What a column is has changed below.
        if !changed.get() {
            return Ok(node);
        }
        match node.data {
            LogicalPlan::Values(Values { values, .. }) if node.transformed => LogicalPlanBuilder::values(values)?.build(),
            other => recomputed(other),
        }
        .map(Transformed::yes)
    });
    done.map(|done| done.data)
}

fn in_microseconds_of(expr: Expr) -> Transformed<Expr> {
    let target = |field: &FieldRef| match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        _ => None,
    };
    match &expr {
        Expr::Cast(Cast { expr: value, field }) => match target(field) {
            Some(target) => Transformed::yes(Expr::Cast(Cast::new(value.clone(), target))),
            None => Transformed::no(expr),
        },
        Expr::TryCast(TryCast { expr: value, field }) => match target(field) {
            Some(target) => Transformed::yes(Expr::TryCast(TryCast::new(value.clone(), target))),
            None => Transformed::no(expr),
        },
        Expr::OuterReferenceColumn(field, column) => match target(field) {
            Some(target) => {
                let field = field.as_ref().clone().with_data_type(target);
                Transformed::yes(Expr::OuterReferenceColumn(Arc::new(field), column.clone()))
            }
            None => Transformed::no(expr),
        },
        _ => Transformed::no(expr),
    }
}
