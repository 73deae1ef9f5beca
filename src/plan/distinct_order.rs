//! `SELECT DISTINCT n … ORDER BY n + 1`: rows of which one stands for several are sorted by what is selected, and nothing else (`42P10`).
//!
//! DataFusion refuses columns that are not selected, and lets expressions over those that are pass.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

use super::errors::external;
use super::mistakes;

/// Checks a plan as DataFusion made it of the text, in subqueries too.
pub(super) fn check(plan: &LogicalPlan) -> DataFusionResult<()> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Sort(sort) = node
            && let LogicalPlan::Distinct(Distinct::All(rows)) = sort.input.as_ref()
            && let LogicalPlan::Projection(selected) = rows.as_ref()
        {
            let is_selected = |by: &Expr| {
                let by = by.clone().unalias();
                matches!(by, Expr::Column(_)) || selected.expr.iter().any(|item| item.clone().unalias() == by)
            };
            found |= !sort.expr.iter().all(|by| is_selected(&by.expr));
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if found { Err(external(mistakes::not_selected())) } else { Ok(()) }
}
