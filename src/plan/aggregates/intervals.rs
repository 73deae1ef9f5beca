//! `sum` and `avg` of intervals: months, days and times are added each for themselves; an average is divided as `/` divides an interval.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;

use crate::error::Error;
use crate::plan::errors::external;
use crate::plan::scalar::interval_mean;

/// What is summed.
pub(super) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The names of the parts of a state.
const PARTS: [&str; 4] = ["months", "days", "nanos", "count"];

/// Sums; `average` says what is made of them. `None`: the argument is no interval.
pub(super) fn accumulator(args: &AccumulatorArgs<'_>, average: bool) -> Option<DataFusionResult<Box<dyn Accumulator>>> {
    if *args.expr_fields.first()?.data_type() != INTERVAL {
        return None;
    }
    if args.is_distinct {
        return Some(Err(external(Error::not_supported("DISTINCT in sum and avg of intervals is not supported"))));
    }
    Some(Ok(Box::new(Intervals { average, sums: [0; 4] })))
}

/// The fields of a state; `None`: the argument is no interval.
pub(super) fn state_fields(args: &StateFieldsArgs<'_>) -> Option<Vec<FieldRef>> {
    let field = |part: &str| std::sync::Arc::new(Field::new(format_state_name(args.name, part), DataType::Int64, true));
    (*args.input_fields.first()?.data_type() == INTERVAL).then(|| PARTS.iter().map(|part| field(part)).collect())
}

/// Sums of one group's months, days and nanoseconds, and how many intervals there are.
#[derive(Debug)]
struct Intervals {
    average: bool,
    sums: [i64; 4],
}

impl Intervals {
    fn add(&mut self, parts: [i64; 4], sign: i64) -> DataFusionResult<()> {
        for (sum, part) in self.sums.iter_mut().zip(parts) {
            *sum = part.checked_mul(sign).and_then(|part| sum.checked_add(part)).ok_or_else(out_of_range)?;
        }
        Ok(())
    }

    fn add_all(&mut self, values: &ArrayRef, sign: i64) -> DataFusionResult<()> {
        let values = values.as_primitive::<IntervalMonthDayNanoType>();
        values.iter().flatten().try_for_each(|value| self.add([value.months.into(), value.days.into(), value.nanoseconds, 1], sign))
    }
}

impl Accumulator for Intervals {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add_all(&values[0], 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add_all(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let [months, days, nanos, count] = self.sums;
        if count == 0 {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        let months = i32::try_from(months).map_err(|_| out_of_range())?;
        let days = i32::try_from(days).map_err(|_| out_of_range())?;
        let sum = arrow::datatypes::IntervalMonthDayNano::new(months, days, nanos);
        let result = if self.average { interval_mean(sum, count).map_err(external)? } else { sum };
        Ok(ScalarValue::IntervalMonthDayNano(Some(result)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(self.sums.iter().map(|sum| ScalarValue::Int64(Some(*sum))).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let columns: Vec<_> = states.iter().map(|states| states.as_primitive::<Int64Type>()).collect();
        let rows = columns.first().map_or(0, |column| column.len());
        (0..rows).try_for_each(|row| self.add([0, 1, 2, 3].map(|part| columns[part].value(row)), 1))
    }
}

fn out_of_range() -> DataFusionError {
    external(crate::plan::scalar::interval_range())
}
