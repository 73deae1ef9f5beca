//! A condition that reads no column stays above an aggregate: one without groups has a row even where the condition is false.
//!
//! DataFusion moves a filter below an aggregate if all its columns are keys: so also one without columns, such as `NULL IS NOT NULL`, which is
//! what becomes of a condition on the padded side of a join. Here such filters stay until they have been simplified to true or false.

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// DataFusion's rule, but for filters on aggregates with a condition that reads no column.
#[derive(Debug)]
pub(super) struct PushDownConditions;

impl OptimizerRule for PushDownConditions {
    /// DataFusion's: in its list of rules this one takes its place.
    fn name(&self) -> &'static str {
        "push_down_filter"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        let constant = |filter: &datafusion::logical_expr::Filter| {
            split_conjunction(&filter.predicate).into_iter().any(|condition| condition.column_refs().is_empty())
        };
        match &plan {
            LogicalPlan::Filter(filter) if matches!(*filter.input, LogicalPlan::Aggregate(_)) && constant(filter) => {
                Ok(Transformed::no(plan))
            }
            _ => PushDownFilter::new().rewrite(plan, config),
        }
    }
}
