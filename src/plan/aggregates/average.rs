//! `avg`: of integers and numerics it is a numeric with at least 16 digits behind the point, rounded, as in PostgreSQL; of all else DataFusion's.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal256Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal256Type, Field, FieldRef, Int64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};

use super::sum::BIGINT;
use crate::plan::scalar::{QUOTIENT_SCALE, mean};

/// In which sums are kept: no number of rows makes them leave it.
const SUM: DataType = DataType::Decimal256(76, 0);

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Average {
    inner: Arc<AggregateUDF>,
    aliases: Vec<String>,
    signature: Signature,
}

impl Average {
    pub(super) fn new() -> Self {
        Average { inner: avg_udaf(), aliases: vec!["mean".to_owned()], signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// A column of a type.
pub(super) fn field(data_type: &DataType) -> FieldRef {
    Arc::new(Field::new("", data_type.clone(), true))
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &'static str {
        "avg"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [only] if only.is_integer() => Ok(vec![BIGINT]),
            _ => {
                let fields: Vec<FieldRef> = types.iter().map(field).collect();
                Ok(fields_with_udf(&fields, self.inner.as_ref())?.iter().map(|field| field.data_type().clone()).collect())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Decimal128(_, scale)] => Ok(DataType::Decimal128(38, (*scale).max(QUOTIENT_SCALE))),
            [DataType::Decimal256(_, scale)] => Ok(DataType::Decimal256(76, (*scale).max(QUOTIENT_SCALE))),
            _ => self.inner.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match Exact::of(&args) {
            Some(exact) if args.is_distinct => Ok(Box::new(Distinct { exact, values: HashSet::new() })),
            Some(exact) => Ok(Box::new(Mean { exact, count: 0, sum: i256::ZERO })),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let input = args.input_fields[0].data_type();
        if !input.is_decimal() {
            return self.inner.state_fields(args);
        }
        if args.is_distinct {
            return Ok(vec![Arc::new(Field::new_list(format!("{}[values]", args.name), Field::new_list_field(SUM, true), true))]);
        }
        Ok(vec![
            Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
            Arc::new(Field::new(format!("{}[sum]", args.name), SUM, true)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        if Exact::of(&args).is_some() { !args.is_distinct } else { self.inner.groups_accumulator_supported(args) }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match Exact::of(&args) {
            Some(exact) => Ok(Box::new(Means { exact, counts: Vec::new(), sums: Vec::new() })),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match Exact::of(&args) {
            Some(_) => self.accumulator(args),
            None => self.inner.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The types of an exact mean.
#[derive(Clone, Debug)]
struct Exact {
    /// Digits behind the point of the argument.
    scale: i8,
    result: DataType,
}

impl Exact {
    /// `None`: the argument is no decimal.
    fn of(args: &AccumulatorArgs<'_>) -> Option<Exact> {
        match args.expr_fields.first()?.data_type() {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
                Some(Exact { scale: *scale, result: args.return_field.data_type().clone() })
            }
            _ => None,
        }
    }

    /// The units of a column of the argument's type.
    fn units(&self, values: &ArrayRef) -> Result<Decimal256Array> {
        let wide = cast(values, &DataType::Decimal256(76, self.scale))?;
        Ok(wide.as_primitive::<Decimal256Type>().clone())
    }

    fn result(&self, sums: impl Iterator<Item = (i256, i64)>) -> Result<ArrayRef> {
        mean(sums, self.scale, &self.result).map_err(crate::plan::scalar::external)
    }
}

/// One mean.
#[derive(Debug)]
struct Mean {
    exact: Exact,
    count: i64,
    sum: i256,
}

impl Accumulator for Mean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in self.exact.units(&values[0])?.iter().flatten() {
            self.sum = self.sum.wrapping_add(value);
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in self.exact.units(&values[0])?.iter().flatten() {
            self.sum = self.sum.wrapping_sub(value);
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.exact.result(std::iter::once((self.sum, self.count)))?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.count)), ScalarValue::Decimal256(Some(self.sum), 76, 0)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[0].as_primitive::<Int64Type>();
        let sums = states[1].as_primitive::<Decimal256Type>();
        for (count, sum) in counts.iter().zip(sums.iter()) {
            self.count += count.unwrap_or(0);
            self.sum = self.sum.wrapping_add(sum.unwrap_or(i256::ZERO));
        }
        Ok(())
    }
}

/// One mean of different values.
#[derive(Debug)]
struct Distinct {
    exact: Exact,
    values: HashSet<i256>,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(self.exact.units(&values[0])?.iter().flatten());
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.values.iter().fold(i256::ZERO, |sum, value| sum.wrapping_add(*value));
        ScalarValue::try_from_array(&self.exact.result(std::iter::once((sum, self.values.len() as i64)))?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<i256>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.values.iter().map(|value| ScalarValue::Decimal256(Some(*value), 76, 0)).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &SUM))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            self.values.extend(lists.value(row).as_primitive::<Decimal256Type>().iter().flatten());
        }
        Ok(())
    }
}

/// The means of many groups.
#[derive(Debug)]
struct Means {
    exact: Exact,
    counts: Vec<i64>,
    sums: Vec<i256>,
}

impl Means {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.sums.resize(groups, i256::ZERO);
    }
}

impl GroupsAccumulator for Means {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.grow(total);
        let values = self.exact.units(&values[0])?;
        for (row, group) in groups.iter().enumerate() {
            let counts = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if counts && values.is_valid(row) {
                self.sums[*group] = self.sums[*group].wrapping_add(values.value(row));
                self.counts[*group] += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.counts));
        self.exact.result(sums.into_iter().zip(counts))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.counts));
        let sums = Decimal256Array::from(sums).with_data_type(SUM);
        Ok(vec![Arc::new(Int64Array::from(counts)), Arc::new(sums)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let counts = states[0].as_primitive::<Int64Type>();
        let sums = states[1].as_primitive::<Decimal256Type>();
        for (row, group) in groups.iter().enumerate() {
            self.counts[*group] += counts.value(row);
            self.sums[*group] = self.sums[*group].wrapping_add(sums.value(row));
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = self.exact.units(&values[0])?;
        let counts = |row: usize| values.is_valid(row) && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let sums = (0..values.len()).map(|row| if counts(row) { values.value(row) } else { i256::ZERO });
        let sums = Decimal256Array::from_iter_values(sums).with_data_type(SUM);
        let counts = Int64Array::from_iter_values((0..values.len()).map(|row| i64::from(counts(row))));
        Ok(vec![Arc::new(counts), Arc::new(sums)])
    }

    fn size(&self) -> usize {
        self.counts.capacity() * size_of::<i64>() + self.sums.capacity() * size_of::<i256>()
    }
}
