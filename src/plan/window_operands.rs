//! Subqueries in window functions that read columns of the query around them: computed below, as columns.
//!
//! ```text
//! Window sum(x) OVER (ORDER BY (SELECT …))   ─▶   Projection without "operand"
//!                                                   Window sum(x) OVER (ORDER BY "operand")
//!                                                     Projection with (SELECT …) AS "operand"
//! ```
//!
//! A subquery that stands for itself is a value like any other there. What the calls are called stays.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Window};

use super::names::hidden;
use super::walk::{WalkPlan, WalkTree};

/// The plan with such subqueries below their windows.
pub(super) fn computed_below(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let computed = plan.change_all_up(|node| match node {
        LogicalPlan::Window(window) if window.window_expr.iter().any(reads_outside) => moved(window).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    });
    computed.map(|computed| computed.data)
}

/// Whether an expression has a subquery that reads columns from outside.
fn reads_outside(expr: &Expr) -> bool {
    expr.has(|inner| {
        Ok(match inner {
            Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
            Expr::Exists(exists) => !exists.subquery.outer_ref_columns.is_empty(),
            Expr::InSubquery(list) => !list.subquery.outer_ref_columns.is_empty(),
            Expr::SetComparison(comparison) => !comparison.subquery.outer_ref_columns.is_empty(),
            _ => false,
        })
    })
    .unwrap_or(false)
}

fn moved(window: Window) -> DataFusionResult<LogicalPlan> {
    let mut operands: Vec<Expr> = Vec::new();
    let shown: Vec<Expr> = window.schema.columns().into_iter().map(Expr::Column).collect();
    let names = NamePreserver::new_for_projection();
    let calls = window.window_expr.into_iter().map(|call| {
        let name = names.save(&call);
        let moved = call.change_down(|inner| match inner {
            Expr::WindowFunction(_) | Expr::Alias(_) => Ok(Transformed::no(inner)),
            inner if reads_outside(&inner) => {
                let place = operands.iter().position(|known| *known == inner).unwrap_or_else(|| {
                    operands.push(inner);
                    operands.len() - 1
                });
                let column = Expr::Column(Column::new_unqualified(hidden("operand", place)));
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            }
            inner => Ok(Transformed::no(inner)),
        })?;
        Ok(name.restore(moved.data))
    });
    let calls = calls.collect::<DataFusionResult<Vec<_>>>()?;
    let kept = window.input.schema().columns().into_iter().map(Expr::Column);
    let operands = operands.into_iter().enumerate().map(|(place, operand)| operand.alias(hidden("operand", place)));
    let below = LogicalPlanBuilder::from(Arc::unwrap_or_clone(window.input)).project(kept.chain(operands))?.build()?;
    let computed = LogicalPlan::Window(Window::try_new(calls, Arc::new(below))?);
    LogicalPlanBuilder::from(computed).project(shown)?.build()
}
