//! Lets a query end that nobody waits for any more, also within a join.
//!
//! A query's task is stopped where it pauses, and DataFusion's scans pause now and then. Its joins do not: one that pairs a million rows with a
//! million works through its input for hours between two looks at a scan. So every join, and whatever else makes many rows of few, counts its
//! batches as a scan does (`CooperativeExec`), and its condition, which may never let a row pass, fails once the query is over.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};

use crate::error::Result;
use crate::plan::from_datafusion;
use crate::types::Running;

/// Operators that may give many batches for one of their input.
const MULTIPLIERS: &[&str] = &[
    "CrossJoinExec",
    "HashJoinExec",
    "NestedLoopJoinExec",
    "PiecewiseMergeJoinExec",
    "RecursiveQueryExec",
    "SeriesExec",
    "SortMergeJoinExec",
    "SymmetricHashJoinExec",
    "UnnestExec",
];

/// The plan, ending soon after `running` has.
pub(super) fn stoppable(plan: Arc<dyn ExecutionPlan>, running: &Running) -> Result<Arc<dyn ExecutionPlan>> {
    let stoppable = plan.transform_up(|node| {
        if !MULTIPLIERS.contains(&node.name()) {
            return Ok(Transformed::no(node));
        }
        let node: Arc<dyn ExecutionPlan> = match (node.downcast_ref::<NestedLoopJoinExec>(), node.downcast_ref::<HashJoinExec>()) {
            (Some(join), _) => {
                let filter = while_running(join.filter(), running);
                Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?)
            }
            (_, Some(join)) => {
                let filter = while_running(join.filter(), running);
                Arc::new(join.builder().with_filter(filter).build()?)
            }
            _ => node,
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
    });
    stoppable.map(|done| done.data).map_err(|error| from_datafusion(error, ""))
}

/// The condition of a join, failing when the query is over.
fn while_running(filter: Option<&JoinFilter>, running: &Running) -> Option<JoinFilter> {
    filter.map(|filter| {
        let condition = WhileRunning { inner: Arc::clone(filter.expression()), running: running.clone() };
        JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    })
}

/// An expression that fails when its query is over.
#[derive(Debug)]
struct WhileRunning {
    inner: Arc<dyn PhysicalExpr>,
    running: Running,
}

impl PartialEq for WhileRunning {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner) && self.running.is_same(&other.running)
    }
}

impl Eq for WhileRunning {}

impl Hash for WhileRunning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for WhileRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for WhileRunning {
    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        self.running.check().map_err(|over| DataFusionError::External(Box::new(over)))?;
        self.inner.evaluate(batch)
    }

    fn return_field(&self, input_schema: &Schema) -> DataFusionResult<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(inner) => Ok(Arc::new(WhileRunning { inner, running: self.running.clone() })),
            None => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
