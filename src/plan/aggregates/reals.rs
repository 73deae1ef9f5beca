//! `sum` of `real` is a `real`, as in PostgreSQL: the sum is made of doubles, and rounded once, when it is done.
//!
//! ```text
//! Aggregate sum(f)   ─▶   Projection CAST(sum(f) AS real) AS sum(f)   ◀─  Aggregate sum(f)
//! ```
//!
//! Runs before types are coerced, over aggregates and windows; so queries and views do the same.

use std::cell::Cell;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast};

use crate::plan::open_literals::recomputed;
use crate::plan::walk::WalkPlan;

/// The plan with sums of `real` that are such, in subqueries too.
pub(in crate::plan) fn real_sums(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let changed = Cell::new(false);
    let done = plan.change_all_up(|node| {
        let (first, sums) = match &node {
            LogicalPlan::Aggregate(aggregate) => {
                let schema = aggregate.input.schema();
                let sums: Vec<bool> = aggregate.aggr_expr.iter().map(|call| is_real_sum(call, schema)).collect();
                (aggregate.schema.fields().len() - sums.len(), sums)
            }
            LogicalPlan::Window(window) => {
                let schema = window.input.schema();
                (schema.fields().len(), window.window_expr.iter().map(|call| is_real_sum(call, schema)).collect())
            }
            _ => (0, Vec::new()),
        };
        if sums.iter().any(|is_sum| *is_sum) {
            changed.set(true);
            return rounded(node, first, &sums).map(Transformed::yes);
        }
        // What a column is has changed below.
        if changed.get() { recomputed(node).map(Transformed::yes) } else { Ok(Transformed::no(node)) }
    });
    done.map(|done| done.data)
}

fn is_real_sum(call: &Expr, schema: &DFSchema) -> bool {
    let argument = match call {
        Expr::Alias(alias) => return is_real_sum(&alias.expr, schema),
        Expr::AggregateFunction(call) if call.func.name() == "sum" => call.params.args.first(),
        Expr::WindowFunction(call) if call.fun.name() == "sum" => call.params.args.first(),
        _ => None,
    };
    argument.and_then(|argument| argument.get_type(schema).ok()) == Some(DataType::Float32)
}

/// `node` with those of its columns from `first` on as reals that are sums.
fn rounded(node: LogicalPlan, first: usize, sums: &[bool]) -> DataFusionResult<LogicalPlan> {
    let columns = node.schema().iter().enumerate().map(|(place, (qualifier, field))| {
        let column = Expr::Column(Column::from((qualifier, field)));
        let is_sum = place.checked_sub(first).and_then(|call| sums.get(call)).is_some_and(|is_sum| *is_sum);
        if is_sum { cast(column, DataType::Float32).alias_qualified(qualifier.cloned(), field.name()) } else { column }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(node).project(columns)?.build()
}
