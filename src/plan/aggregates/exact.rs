//! Sums of decimals that no number of rows makes leave their range, for queries: what `avg` divides, and `sum` where its result could overflow.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal256Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal256Type, Field, FieldRef, Int64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use crate::error::Result as OwnResult;
use crate::plan::errors::external;

/// In which sums are kept.
const SUM: DataType = DataType::Decimal256(76, 0);

/// The fields of the state, for an argument that is a decimal.
pub(super) fn state_fields(args: &StateFieldsArgs<'_>) -> Vec<FieldRef> {
    if args.is_distinct {
        return vec![Arc::new(Field::new_list(format!("{}[values]", args.name), Field::new_list_field(SUM, true), true))];
    }
    vec![
        Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
        Arc::new(Field::new(format!("{}[sum]", args.name), SUM, true)),
    ]
}

/// What groups answer: from sums, in units of the argument's digits, and numbers of values, to a column of the result's type.
pub(super) type Answer = fn(&mut dyn Iterator<Item = (i256, i64)>, i8, &DataType) -> OwnResult<ArrayRef>;

/// An exact aggregate of decimals.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    /// Digits behind the point of the argument.
    scale: i8,
    result: DataType,
    answer: Answer,
}

impl Exact {
    /// `None`: the argument is no decimal.
    pub(super) fn of(args: &AccumulatorArgs<'_>, answer: Answer) -> Option<Exact> {
        match args.expr_fields.first()?.data_type() {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
                Some(Exact { scale: *scale, result: args.return_field.data_type().clone(), answer })
            }
            _ => None,
        }
    }

    pub(super) fn accumulator(self, distinct: bool) -> Box<dyn Accumulator> {
        if distinct {
            return Box::new(Distinct { exact: self, values: HashSet::new() });
        }
        Box::new(Total { exact: self, count: 0, sum: i256::ZERO })
    }

    pub(super) fn groups_accumulator(self) -> Box<dyn GroupsAccumulator> {
        Box::new(Totals { exact: self, counts: Vec::new(), sums: Vec::new() })
    }

    /// The units of a column of the argument's type.
    fn units(&self, values: &ArrayRef) -> Result<Decimal256Array> {
        let wide = cast(values, &DataType::Decimal256(76, self.scale))?;
        Ok(wide.as_primitive::<Decimal256Type>().clone())
    }

    fn result(&self, mut sums: impl Iterator<Item = (i256, i64)>) -> Result<ArrayRef> {
        (self.answer)(&mut sums, self.scale, &self.result).map_err(external)
    }
}

/// Of the rows of one group.
#[derive(Debug)]
struct Total {
    exact: Exact,
    count: i64,
    sum: i256,
}

impl Accumulator for Total {
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

/// Of the different values of one group.
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

/// Of many groups.
#[derive(Debug)]
struct Totals {
    exact: Exact,
    counts: Vec<i64>,
    sums: Vec<i256>,
}

impl Totals {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.sums.resize(groups, i256::ZERO);
    }
}

impl GroupsAccumulator for Totals {
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
