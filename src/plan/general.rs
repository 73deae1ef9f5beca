//! Any of DataFusion's aggregates, ready to be computed from a group's rows.
//!
//! In: packed rows of one group, in order. Out: the result, computed by DataFusion's own accumulator. Nobody above this file needs to know
//! what an accumulator is.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::aggregates::gathers;
use super::errors::from_datafusion;
use super::explain::positions;
use crate::error::Result;
use crate::types::PackedRows;

/// An aggregate over packed rows.
pub struct GeneralAggregate {
    /// How the rows are packed: in the order of the call, or else in the order of the arguments.
    pub rows: Arc<PackedRows>,
    /// Over the columns of the rows.
    expression: Arc<AggregateFunctionExpr>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// DISTINCT: equal rows count once.
    pub each_once: bool,
    /// Whether the accumulator itself may be kept where rows only come: its result does not depend on their order, or only as much as
    /// its being approximate allows.
    pub in_place: bool,
}

/// One group's accumulator.
pub struct GroupAccumulator(Box<dyn Accumulator>);

/// Results of several groups, one after the other.
#[derive(Default)]
pub struct GroupResults(Vec<ScalarValue>);

impl GeneralAggregate {
    /// Fails where the accumulator cannot be made: a constant argument out of range, a type that the function does not take.
    pub(super) fn new(rows: Arc<PackedRows>, expression: AggregateFunctionExpr, each_once: bool, in_place: bool) -> Result<Self> {
        let mut arguments = expression.expressions();
        if gathers(expression.fun()) {
            arguments.extend(expression.order_bys().iter().map(|sort| Arc::clone(&sort.expr)));
        }
        let aggregate = GeneralAggregate { rows, expression: Arc::new(expression), arguments, each_once, in_place };
        aggregate.start()?;
        Ok(aggregate)
    }

    /// What tells it from others, without the names of columns.
    pub(super) fn shape(&self) -> String {
        let arguments: Vec<String> = self.arguments.iter().map(positions).collect();
        format!("{} {arguments:?} {} {}", self.expression.fun().name(), self.rows.shape(), self.each_once)
    }

    /// An accumulator that has seen nothing.
    pub fn start(&self) -> Result<GroupAccumulator> {
        Ok(GroupAccumulator(self.expression.create_accumulator().map_err(told)?))
    }

    /// What accumulators take, from `rows` unpacked rows.
    pub fn arguments(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(self.rows.schema()), columns, &options)?;
        let evaluate = |argument: &Arc<dyn PhysicalExpr>| argument.evaluate(&batch)?.into_array(rows);
        self.arguments.iter().map(evaluate).collect::<Result<_, _>>().map_err(told)
    }

    /// The columns in which an accumulator's state can be stored.
    pub fn state_fields(&self) -> Result<Vec<FieldRef>> {
        self.expression.state_fields().map_err(told)
    }
}

impl GroupAccumulator {
    /// Takes rows in: columns as `arguments` gives them.
    pub fn update(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(arguments).map_err(told)
    }

    /// What can be stored, one row of the state's columns. The accumulator is of no use afterwards: another takes the state back.
    pub fn into_state(mut self) -> Result<Vec<ArrayRef>> {
        let state = self.0.state().map_err(told)?;
        state.iter().map(|value| value.to_array().map_err(told)).collect()
    }

    /// Takes a stored state in.
    pub fn merge(&mut self, state: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(state).map_err(told)
    }

    /// The result, as an array of length 1.
    pub fn result(&mut self) -> Result<ArrayRef> {
        self.0.evaluate().and_then(|value| value.to_array()).map_err(told)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.0.size()
    }
}

impl GroupResults {
    /// Adds the result of a group; NULL if the accumulator fails at the end. The error says why.
    pub fn push(&mut self, accumulator: &mut GroupAccumulator) -> Result<()> {
        let value = accumulator.0.evaluate();
        self.0.push(value.as_ref().map_or(ScalarValue::Null, Clone::clone));
        value.map(drop).map_err(told)
    }

    /// Adds NULL.
    pub fn push_null(&mut self) {
        self.0.push(ScalarValue::Null);
    }

    /// All of them as an array.
    pub fn into_array(self, data_type: &DataType) -> Result<ArrayRef> {
        if self.0.is_empty() {
            return Ok(new_null_array(data_type, 0));
        }
        let null = ScalarValue::try_new_null(data_type).map_err(told)?;
        let typed = self.0.into_iter().map(|value| if value.data_type() == DataType::Null { null.clone() } else { value });
        let array = ScalarValue::iter_to_array(typed).map_err(told)?;
        Ok(if array.data_type() == data_type { array } else { cast(&array, data_type)? })
    }
}

/// The same results of the same rows.
impl PartialEq for GeneralAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows && self.expression == other.expression && self.each_once == other.each_once
    }
}

impl fmt::Debug for GeneralAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expression.name())
    }
}

fn told(error: DataFusionError) -> crate::error::Error {
    from_datafusion(error, "")
}
