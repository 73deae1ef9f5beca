//! `bool_and` and `bool_or` for frames that move: DataFusion's own cannot take a value back when it leaves the frame.
//!
//! Everything but that is left to DataFusion's functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::functions_aggregate::bool_and_or::{bool_and_udaf, bool_or_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature};

/// `bool_and`, or `bool_or`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sliding {
    inner: Arc<AggregateUDF>,
    /// Which of the two values decides as soon as it is there once.
    decisive: bool,
    aliases: Vec<String>,
}

impl Sliding {
    pub(super) fn bool_and() -> Self {
        Sliding { inner: bool_and_udaf(), decisive: false, aliases: vec!["every".to_owned()] }
    }

    pub(super) fn bool_or() -> Self {
        Sliding { inner: bool_or_udaf(), decisive: true, aliases: Vec::new() }
    }
}

impl AggregateUDFImpl for Sliding {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(arguments)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, _args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        Ok(Box::new(Counts { decisive: self.decisive, with: 0, without: 0 }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// How many values of each kind are in the frame.
#[derive(Debug)]
struct Counts {
    decisive: bool,
    with: i64,
    without: i64,
}

impl Counts {
    fn add(&mut self, values: &[ArrayRef], sign: i64) {
        let values = values[0].as_boolean();
        let (all, yes) = ((values.len() - values.null_count()) as i64, values.true_count() as i64);
        let with = if self.decisive { yes } else { all - yes };
        self.with += sign * with;
        self.without += sign * (all - with);
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(values, 1);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(values, -1);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let decided = (self.with + self.without > 0).then_some((self.with > 0) == self.decisive);
        Ok(ScalarValue::Boolean(decided))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> DataFusionResult<()> {
        Err(DataFusionError::Internal("a frame's accumulator is never merged".to_owned()))
    }
}
