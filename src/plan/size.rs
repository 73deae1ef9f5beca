//! Refuses plans that are too large to be walked, before anybody walks them.
//!
//! A statement's text bounds its expressions, but not what its names stand for: each WITH query or view may read the one before it, twice.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::{Error, Kind, Result};
use crate::types::{COLUMNS_MAX, LEVELS_MAX};

/// Nodes of one query's plan at the most, each counted as often as it is read: the work of every optimiser rule grows with them.
const NODES_MAX: usize = 20_000;

/// `54001` for a plan with too many nodes, or too many within each other; `54011` for one of too many columns.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut size = Size::default();
    let _ = plan.visit_with_subqueries(&mut size);
    if size.nodes > NODES_MAX || size.deepest > LEVELS_MAX {
        let error = Error::new(Kind::TooComplex, "statement is too complex: its views and WITH queries make too large a plan");
        return Err(error.hint("Create a materialized view of a part of it, and read that."));
    }
    if size.columns > COLUMNS_MAX {
        return Err(Error::new(Kind::TooManyColumns, format!("target lists can have at most {COLUMNS_MAX} entries")));
    }
    Ok(())
}

#[derive(Default)]
struct Size {
    nodes: usize,
    level: usize,
    /// Levels of nodes and of the expressions in them.
    deepest: usize,
    columns: usize,
}

impl<'n> TreeNodeVisitor<'n> for Size {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: &'n LogicalPlan) -> DataFusionResult<TreeNodeRecursion> {
        self.nodes += 1;
        self.level += 1;
        // A join's row may be wider: nobody sends it.
        if matches!(node, LogicalPlan::Projection(_)) {
            self.columns = self.columns.max(node.schema().fields().len());
        }
        let mut levels = Levels::default();
        node.apply_expressions(|expr| expr.visit(&mut levels))?;
        self.deepest = self.deepest.max(self.level + levels.deepest);
        let over = self.nodes > NODES_MAX || self.deepest > LEVELS_MAX || self.columns > COLUMNS_MAX;
        Ok(if over { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    }

    fn f_up(&mut self, _node: &'n LogicalPlan) -> DataFusionResult<TreeNodeRecursion> {
        self.level -= 1;
        Ok(TreeNodeRecursion::Continue)
    }
}

/// How deep expressions are.
#[derive(Default)]
struct Levels {
    level: usize,
    deepest: usize,
}

impl<'n> TreeNodeVisitor<'n> for Levels {
    type Node = Expr;

    fn f_down(&mut self, _expr: &'n Expr) -> DataFusionResult<TreeNodeRecursion> {
        self.level += 1;
        self.deepest = self.deepest.max(self.level);
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, _expr: &'n Expr) -> DataFusionResult<TreeNodeRecursion> {
        self.level -= 1;
        Ok(TreeNodeRecursion::Continue)
    }
}
