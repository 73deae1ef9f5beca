//! `x IN (… UNION …)` with a name for the union's column.
//!
//! Where such a condition decides a row's mark (under OR, or in the select list), DataFusion takes the column out of the union by the names of its
//! first query, and then has it twice. As `SELECT c FROM (… UNION …) AS u` it is one column of one relation.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery};

use super::names::hidden;
use super::walk::{WalkPlan, WalkTree};

/// The plan with that done, in subqueries too.
pub(super) fn with_union_columns(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let named = plan.change_all_up(|node| {
        node.change_expressions(|expr| {
            expr.change_up(|inner| match inner {
                Expr::InSubquery(mut condition) if is_union(&condition.subquery) => {
                    condition.subquery = named(&condition.subquery)?;
                    Ok(Transformed::yes(Expr::InSubquery(condition)))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    });
    named.map(|done| done.data)
}

/// One that reads nothing from outside: others are computed in another way.
fn is_union(subquery: &Subquery) -> bool {
    subquery.outer_ref_columns.is_empty() && matches!(subquery.subquery.as_ref(), LogicalPlan::Union(_) | LogicalPlan::Distinct(_))
}

fn named(subquery: &Subquery) -> DataFusionResult<Subquery> {
    let union = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).alias(hidden("union", 0))?;
    let columns: Vec<Expr> = union.schema().columns().into_iter().map(Expr::Column).collect();
    Ok(subquery.with_plan(Arc::new(union.project(columns)?.build()?)))
}
