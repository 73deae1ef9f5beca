//! A condition that reads no column stays above an aggregate: one without groups has a row even where the condition is false.
//!
//! DataFusion moves a filter below an aggregate if all its columns are keys: so also one without columns, such as `NULL IS NOT NULL`, which is
//! what becomes of a condition on the padded side of a join, or a subquery that stands for itself. Here such filters stay until they have been simplified to
//! true or false. Of a filter upon another DataFusion makes one and pushes it on at once: above an aggregate that is done here.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Filter, LogicalPlan};
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
        let constant =
            |filter: &Filter| split_conjunction(&filter.predicate).into_iter().any(|condition| condition.column_refs().is_empty());
        match &plan {
            LogicalPlan::Filter(Filter { predicate, input, .. })
                if let LogicalPlan::Filter(below) = input.as_ref()
                    && matches!(*below.input, LogicalPlan::Aggregate(_)) =>
            {
                let both = predicate.clone().and(below.predicate.clone());
                let one = LogicalPlan::Filter(Filter::try_new(both, Arc::clone(&below.input))?);
                Ok(Transformed::yes(self.rewrite(one, config)?.data))
            }
            LogicalPlan::Filter(filter) if matches!(*filter.input, LogicalPlan::Aggregate(_)) && constant(filter) => {
                Ok(Transformed::no(plan))
            }
            _ => PushDownFilter::new().rewrite(plan, config),
        }
    }
}
