//! A rule for physical plans that looks at one node after the other, from the leaves up.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::walk::WalkTree;

/// A node, or what has taken its place.
pub(in crate::plan) type Changed = DataFusionResult<Transformed<Arc<dyn ExecutionPlan>>>;

/// Changes nodes, and none of their columns.
#[derive(Debug)]
pub(in crate::plan) struct NodeRule {
    /// What EXPLAIN calls it.
    pub(in crate::plan) name: &'static str,
    /// What takes a node's place; the nodes below it have been changed.
    pub(in crate::plan) change: fn(Arc<dyn ExecutionPlan>) -> Changed,
}

impl PhysicalOptimizerRule for NodeRule {
    fn name(&self) -> &'static str {
        self.name
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        plan.change_up(self.change).map(|done| done.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}
