//! Where DataFusion's physical rules believe too much: a node between two others, which passes rows on and says of them what is true.
//!
//! ```text
//! OFFSET 3 without LIMIT      GlobalLimitExec  ─▶  BarrierExec: skip=3      an order wanted above it was made below it, of other rows
//! GROUP BY GROUPING SETS      AggregateExec ◀─ FilterExec: id = 5
//!                       ─▶    AggregateExec ◀─ BarrierExec ◀─ FilterExec    `id` was taken for a constant, though it is NULL in other sets
//! a FULL JOIN (SELECT 3 AS c) NestedLoopJoinExec ◀─ ProjectionExec: 3 as c
//!                       ─▶    NestedLoopJoinExec ◀─ BarrierExec ◀─ ProjectionExec    `c` was taken for a constant, though rows are padded with NULL
//! OVER (PARTITION BY c)       WindowAggExec ◀─ HashJoinExec
//!                       ─▶    WindowAggExec ◀─ SortExec ◀─ BarrierExec ◀─ HashJoinExec    for a constant of one side no order was made, and then missed
//! ```

use std::fmt;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, get_ordered_partition_by_indices};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputOrderMode, PlanProperties,
    ReplaceChildrenOptions,
};

use super::node_rule::{Changed, NodeRule};

/// Puts barriers where they are needed; one of the first rules, while each node stands as it was planned.
pub(super) const BARRIERS: NodeRule = NodeRule { name: "barriers", change: barred };

/// Sorts, behind a barrier, what a window needs sorted; the last of the rules.
pub(super) const WINDOWS_SORTED: NodeRule = NodeRule { name: "windows_sorted", change: sorted };

fn barred(node: Arc<dyn ExecutionPlan>) -> Changed {
    if let Some(limit) = node.downcast_ref::<GlobalLimitExec>().filter(|limit| limit.skip() > 0 && limit.fetch().is_none()) {
        return without_first(Arc::clone(limit.input()), limit.skip()).map(Transformed::yes);
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>().filter(|aggregate| aggregate.group_expr().has_grouping_set()) {
        let below = Arc::clone(aggregate.input());
        return with_input(node, Arc::new(BarrierExec::new(below, 0))).map(Transformed::yes);
    }
    let wrong = |(input, padded): (&Arc<dyn ExecutionPlan>, bool)| padded && !input.equivalence_properties().constants().is_empty();
    let wrong: Vec<bool> = node.children().into_iter().zip(padded(&node)).map(wrong).collect();
    if !wrong.contains(&true) {
        return Ok(Transformed::no(node));
    }
    let inputs = node.children().into_iter().map(Arc::clone).zip(wrong);
    let inputs = inputs.map(|(input, wrong)| if wrong { Arc::new(BarrierExec::new(input, 0)) } else { input });
    with_inputs(Arc::clone(&node), inputs.collect()).map(Transformed::yes)
}

/// Which inputs of a join it pads with NULLs.
fn padded(node: &Arc<dyn ExecutionPlan>) -> [bool; 2] {
    let hash = node.downcast_ref::<HashJoinExec>().map(|join| *join.join_type());
    let loops = || node.downcast_ref::<NestedLoopJoinExec>().map(|join| *join.join_type());
    let merge = || node.downcast_ref::<SortMergeJoinExec>().map(SortMergeJoinExec::join_type);
    let kind = hash.or_else(loops).or_else(merge);
    [matches!(kind, Some(JoinType::Right | JoinType::Full)), matches!(kind, Some(JoinType::Left | JoinType::Full))]
}

fn sorted(node: Arc<dyn ExecutionPlan>) -> Changed {
    match wanted_order(&node)? {
        Some((input, order)) => {
            // Rows of one window's partition are in one of the plan's.
            let sorted = SortExec::new(order, Arc::new(BarrierExec::new(input, 0))).with_preserve_partitioning(true);
            with_input(node, Arc::new(sorted)).map(Transformed::yes)
        }
        None => Ok(Transformed::no(node)),
    }
}

/// The input of a window that will not find the order of its partitions in it, and that order.
fn wanted_order(node: &Arc<dyn ExecutionPlan>) -> DataFusionResult<Option<(Arc<dyn ExecutionPlan>, LexOrdering)>> {
    let (input, window) = if let Some(window) = node.downcast_ref::<WindowAggExec>() {
        (window.input(), window.window_expr().first())
    } else if let Some(window) =
        node.downcast_ref::<BoundedWindowAggExec>().filter(|window| window.input_order_mode == InputOrderMode::Sorted)
    {
        (window.input(), window.window_expr().first())
    } else {
        return Ok(None);
    };
    let Some(window) = window else { return Ok(None) };
    let partition = window.partition_by();
    if get_ordered_partition_by_indices(partition, input)?.len() == partition.len() {
        return Ok(None);
    }
    let partition = partition.iter().map(|expression| PhysicalSortExpr::new_default(Arc::clone(expression)));
    let order = LexOrdering::new(partition.chain(window.order_by().iter().cloned()));
    Ok(order.map(|order| (Arc::clone(input), order)))
}

/// The rows of a plan but for so many at the front. Below projections: they may lack the columns that the rows are sorted by.
fn without_first(input: Arc<dyn ExecutionPlan>, skip: usize) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    match input.downcast_ref::<ProjectionExec>().map(|projection| Arc::clone(projection.input())) {
        Some(below) => with_input(input, without_first(below, skip)?),
        None => Ok(Arc::new(BarrierExec::new(input, skip))),
    }
}

fn with_input(node: Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    with_inputs(node, vec![input])
}

fn with_inputs(node: Arc<dyn ExecutionPlan>, inputs: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    node.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// See the file's header.
#[derive(Debug)]
struct BarrierExec {
    input: Arc<dyn ExecutionPlan>,
    /// Rows left out at the front.
    skip: usize,
    /// The order of the rows that come in, if the first ones are left out: it stays theirs whatever is done to the input.
    order: Option<LexOrdering>,
    properties: Arc<PlanProperties>,
}

impl BarrierExec {
    fn new(input: Arc<dyn ExecutionPlan>, skip: usize) -> Self {
        let order = input.output_ordering().cloned().filter(|_| skip > 0);
        Self::over(input, skip, order)
    }

    fn over(input: Arc<dyn ExecutionPlan>, skip: usize, order: Option<LexOrdering>) -> Self {
        let equivalences = EquivalenceProperties::new_with_orderings(input.schema(), order.clone());
        let partitioning = input.output_partitioning().clone();
        let properties = PlanProperties::new(equivalences, partitioning, input.pipeline_behavior(), input.boundedness());
        BarrierExec { input, skip, order, properties: Arc::new(properties) }
    }
}

impl DisplayAs for BarrierExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.skip {
            0 => write!(f, "BarrierExec"),
            skip => write!(f, "BarrierExec: skip={skip}"),
        }
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &'static str {
        "BarrierExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    /// It does, but DataFusion takes that for leave to sort the input instead of the output.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone().map(OrderingRequirements::from)]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![if self.skip > 0 { Distribution::SinglePartition } else { Distribution::UnspecifiedDistribution }]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(BarrierExec::over(input, self.skip, self.order.clone()))),
            _ => Err(DataFusionError::Internal("BarrierExec has one child".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        match self.skip {
            0 => self.input.execute(partition, context),
            skip => GlobalLimitExec::new(Arc::clone(&self.input), skip, None).execute(partition, context),
        }
    }
}
