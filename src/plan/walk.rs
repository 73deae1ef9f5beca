//! DataFusion's walks over plans and expressions, with code that exists once.
//!
//! They are generic over the closure: each would be compiled anew for every node and expression there is. These pass a reference to it.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Walks over any tree of DataFusion's.
pub(super) trait WalkTree: TreeNode {
    /// As `transform_up`.
    fn change_up(self, mut change: impl FnMut(Self) -> Result<Transformed<Self>>) -> Result<Transformed<Self>> {
        self.transform_up(&mut change as &mut dyn FnMut(Self) -> Result<Transformed<Self>>)
    }

    /// As `transform_down`.
    fn change_down(self, mut change: impl FnMut(Self) -> Result<Transformed<Self>>) -> Result<Transformed<Self>> {
        self.transform_down(&mut change as &mut dyn FnMut(Self) -> Result<Transformed<Self>>)
    }

    /// As `apply`.
    fn look<'n>(&'n self, mut look: impl FnMut(&'n Self) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        self.apply(&mut look as &mut dyn FnMut(&'n Self) -> Result<TreeNodeRecursion>)
    }

    /// As `exists`.
    fn has(&self, mut wanted: impl FnMut(&Self) -> Result<bool>) -> Result<bool> {
        self.exists(&mut wanted as &mut dyn FnMut(&Self) -> Result<bool>)
    }
}

impl<T: TreeNode> WalkTree for T {}

/// Walks over plans, with their expressions or subqueries.
pub(super) trait WalkPlan: Sized {
    /// As `transform_up_with_subqueries`.
    fn change_all_up(self, change: impl FnMut(Self) -> Result<Transformed<Self>>) -> Result<Transformed<Self>>;

    /// As `transform_down_with_subqueries`.
    fn change_all_down(self, change: impl FnMut(Self) -> Result<Transformed<Self>>) -> Result<Transformed<Self>>;

    /// As `apply_with_subqueries`.
    fn look_at_all(&self, look: impl FnMut(&Self) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion>;

    /// As `map_expressions`.
    fn change_expressions(self, change: impl FnMut(Expr) -> Result<Transformed<Expr>>) -> Result<Transformed<Self>>;

    /// As `apply_expressions`.
    fn look_at_expressions(&self, look: impl FnMut(&Expr) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion>;
}

impl WalkPlan for LogicalPlan {
    fn change_all_up(self, mut change: impl FnMut(Self) -> Result<Transformed<Self>>) -> Result<Transformed<Self>> {
        self.transform_up_with_subqueries(&mut change as &mut dyn FnMut(Self) -> Result<Transformed<Self>>)
    }

    fn change_all_down(self, mut change: impl FnMut(Self) -> Result<Transformed<Self>>) -> Result<Transformed<Self>> {
        self.transform_down_with_subqueries(&mut change as &mut dyn FnMut(Self) -> Result<Transformed<Self>>)
    }

    fn look_at_all(&self, mut look: impl FnMut(&Self) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        self.apply_with_subqueries(&mut look as &mut dyn FnMut(&Self) -> Result<TreeNodeRecursion>)
    }

    fn change_expressions(self, mut change: impl FnMut(Expr) -> Result<Transformed<Expr>>) -> Result<Transformed<Self>> {
        self.map_expressions(&mut change as &mut dyn FnMut(Expr) -> Result<Transformed<Expr>>)
    }

    fn look_at_expressions(&self, mut look: impl FnMut(&Expr) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        self.apply_expressions(&mut look as &mut dyn FnMut(&Expr) -> Result<TreeNodeRecursion>)
    }
}
