//! The expressions of a plan's node, rewritten under the names that they had: the node's columns are called by them.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::walk::WalkPlan;

/// Rewrites each expression of `node`. Grouping sets are not columns: what they are made of is.
pub(super) fn map_named(
    node: LogicalPlan,
    mut rewrite: impl FnMut(Expr) -> DataFusionResult<Transformed<Expr>>,
) -> DataFusionResult<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    let mut named = |expr: Expr| {
        let name = names.save(&expr);
        Ok(rewrite(expr)?.update_data(|expr| name.restore(expr)))
    };
    node.change_expressions(|expr| match expr {
        sets @ Expr::GroupingSet(_) => sets.map_children(&mut named),
        other => named(other),
    })
}
