//! `sum`: DataFusion's, but of integers it is a bigint and of bigints a numeric, as in PostgreSQL, so that it cannot leave its range; and numerics with so many digits
//! that the sum's type has no more are summed in a wider one: what does not fit is an error, not another number.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature, Volatility,
};

use super::average::field;
use super::exact::{self, Exact};
use super::intervals::{self, INTERVAL};
use crate::plan::errors::external;
use crate::plan::functions::undefined_function;
use crate::plan::scalar::total;

/// Digits of a bigint, and one to spare.
pub(in crate::plan) const BIGINT: DataType = DataType::Decimal128(20, 0);

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl Sum {
    pub(super) fn new() -> Self {
        Sum { inner: sum_udaf(), signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            // Not a bigint yet: it would be one of those that have a numeric sum when the types are looked at again.
            [DataType::Int8 | DataType::Int16 | DataType::Int32] => return Ok(vec![DataType::Int32]),
            [DataType::Int64] => return Ok(vec![BIGINT]),
            [DataType::Interval(_)] => return Ok(vec![INTERVAL]),
            [DataType::Null] => return Err(external(undefined_function("sum", types))),
            _ => {}
        }
        let fields: Vec<FieldRef> = types.iter().map(field).collect();
        Ok(fields_with_udf(&fields, self.inner.as_ref())?.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Int32] => Ok(DataType::Int64),
            [DataType::Interval(_)] => Ok(INTERVAL),
            [DataType::Null] => Err(external(undefined_function("sum", types))),
            _ => self.inner.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if let Some(sums) = intervals::accumulator(&args, false) {
            return sums;
        }
        match exact(&args) {
            Some(exact) => Ok(exact.accumulator(args.is_distinct)),
            None => widened(args, |args| self.inner.accumulator(args)),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if let Some(fields) = intervals::state_fields(&args) {
            return Ok(fields);
        }
        if may_overflow(args.input_fields[0].data_type()) {
            return Ok(exact::state_fields(&args));
        }
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        if exact(&args).is_some() { !args.is_distinct } else { !is_interval(&args) && self.inner.groups_accumulator_supported(args) }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match exact(&args) {
            Some(exact) => Ok(exact.groups_accumulator()),
            None if is_integer(&args) => Ok(Box::new(Widened(self.inner.create_groups_accumulator(of_bigints(args))?))),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match exact(&args) {
            Some(_) => self.accumulator(args),
            None if is_interval(&args) => self.accumulator(args),
            None => widened(args, |args| self.inner.create_sliding_accumulator(args)),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

/// Whether 10^10 values of the type may have a sum that leaves the type of sums: that one has ten digits more, if there are as many.
pub(in crate::plan) fn may_overflow(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(precision, _) => *precision > DECIMAL128_MAX_PRECISION - 10,
        DataType::Decimal256(precision, _) => *precision > DECIMAL256_MAX_PRECISION - 10,
        _ => false,
    }
}

fn exact(args: &AccumulatorArgs<'_>) -> Option<Exact> {
    may_overflow(args.expr_fields.first()?.data_type()).then(|| Exact::of(args, total))?
}

/// Whether intervals are summed.
pub(super) fn is_interval(args: &AccumulatorArgs<'_>) -> bool {
    args.expr_fields.first().is_some_and(|field| *field.data_type() == INTERVAL)
}

fn is_integer(args: &AccumulatorArgs<'_>) -> bool {
    args.expr_fields.first().is_some_and(|field| *field.data_type() == DataType::Int32)
}

/// The arguments as if of bigints.
fn of_bigints(args: AccumulatorArgs<'_>) -> AccumulatorArgs<'_> {
    static BIGINTS: LazyLock<[FieldRef; 1]> = LazyLock::new(|| [field(&DataType::Int64)]);
    AccumulatorArgs { expr_fields: &*BIGINTS, ..args }
}

fn widened<'a>(
    args: AccumulatorArgs<'a>,
    make: impl FnOnce(AccumulatorArgs<'a>) -> Result<Box<dyn Accumulator>>,
) -> Result<Box<dyn Accumulator>> {
    if is_integer(&args) { Ok(Box::new(Widened(make(of_bigints(args))?))) } else { make(args) }
}

fn bigints(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    values.iter().map(|values| Ok(cast(values, &DataType::Int64)?)).collect()
}

/// Sums integers as bigints.
#[derive(Debug)]
struct Widened<A>(A);

impl Accumulator for Widened<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&bigints(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&bigints(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }
}

impl GroupsAccumulator for Widened<Box<dyn GroupsAccumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.0.update_batch(&bigints(values)?, groups, filter, total)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.0.evaluate(emit)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.0.merge_batch(states, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&bigints(values)?, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
