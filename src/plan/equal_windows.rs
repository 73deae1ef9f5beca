//! Equal calls over windows are computed once: `lag(x, 0)` and `lag(x, 1 - 1)` are one call as soon as constants are folded.
//!
//! ```text
//! Window [lag(x, 0) AS a, lag(x, 0) AS b]  ─▶  Projection [x, a, a AS b]
//!                                                Window [lag(x, 0) AS a]
//! ```
//! DataFusion's common_sub_expression_eliminate takes a call that is there twice for any other expression, and puts it into a projection below the window,
//! where no call over a window can stand. This rule runs before it, in queries and views alike.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Window};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::lower::unaliased;

/// Computes equal calls of a window, or of windows upon each other, once.
#[derive(Debug)]
pub(super) struct EqualWindows;

impl OptimizerRule for EqualWindows {
    fn name(&self) -> &'static str {
        "equal_windows"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Window(window) = &plan else { return Ok(Transformed::no(plan)) };
        let mut known = calls_below(&window.input);
        let mut kept = Vec::with_capacity(window.window_expr.len());
        let mut columns: Vec<Expr> = window.input.schema().columns().into_iter().map(Expr::Column).collect();
        let results = window.schema.columns().into_iter().skip(columns.len());
        for (expr, column) in window.window_expr.iter().zip(results) {
            match known.iter().find(|(call, _)| *call == unaliased(expr) && !expr.is_volatile()) {
                Some((_, first)) => columns.push(Expr::Column(first.clone()).alias_qualified(column.relation, column.name)),
                None => {
                    kept.push(expr.clone());
                    columns.push(Expr::Column(column.clone()));
                    known.push((unaliased(expr), column));
                }
            }
        }
        if kept.len() == window.window_expr.len() {
            return Ok(Transformed::no(plan));
        }
        let input = if kept.is_empty() {
            window.input.as_ref().clone()
        } else {
            LogicalPlan::Window(Window::try_new(kept, Arc::clone(&window.input))?)
        };
        LogicalPlanBuilder::from(input).project(columns)?.build().map(Transformed::yes)
    }
}

/// The calls of the windows that stand upon each other from `plan` downwards, and the columns with their results.
fn calls_below(mut plan: &LogicalPlan) -> Vec<(&Expr, Column)> {
    let mut calls = Vec::new();
    while let LogicalPlan::Window(window) = plan {
        let results = window.schema.columns().into_iter().skip(window.input.schema().fields().len());
        calls.extend(window.window_expr.iter().map(unaliased).zip(results));
        plan = &window.input;
    }
    calls
}
