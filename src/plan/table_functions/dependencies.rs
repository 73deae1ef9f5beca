//! What an unnest repeats is no key any more.
//!
//! DataFusion keeps an unnest's functional dependencies: below it a grouped column decides the list, above it no element. A GROUP BY of both
//! would lose the element. This takes the dependencies away before the rule that uses them.

use std::sync::Arc;

use datafusion::common::FunctionalDependencies;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::plan::walk::WalkTree;

/// See the file's header.
#[derive(Debug)]
pub(in crate::plan) struct UnnestForgetsKeys;

impl OptimizerRule for UnnestForgetsKeys {
    fn name(&self) -> &'static str {
        "unnest_forgets_keys"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        let depends =
            |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Unnest(_)) && !node.schema().functional_dependencies().is_empty());
        if !plan.has(depends)? {
            return Ok(Transformed::no(plan));
        }
        plan.change_up(|node| match node {
            LogicalPlan::Unnest(mut unnest) => {
                let schema = unnest.schema.as_ref().clone().with_functional_dependencies(FunctionalDependencies::empty())?;
                unnest.schema = Arc::new(schema);
                Ok(Transformed::yes(LogicalPlan::Unnest(unnest)))
            }
            other => other.recompute_schema().map(Transformed::yes),
        })
    }
}
