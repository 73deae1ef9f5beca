//! The values of a series, one after the other: what a list of them and a stream of them are both made from.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, TimestampMicrosecondArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Decimal128Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use chrono::{DateTime, Days, Months};
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use crate::error::{Error, Kind};
use crate::plan::errors::external;

/// The values of one series that are still to come.
///
/// Always: `next` is none of those behind `stop`.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    next: Option<i128>,
    stop: i128,
    ascending: bool,
    step: Step,
}

/// What comes between a value and the next: a number, of times microseconds, or an interval.
#[derive(Clone, Copy, Debug)]
enum Step {
    Number(i128),
    Interval(IntervalMonthDayNano),
}

impl Steps {
    /// No values.
    pub(super) fn none() -> Self {
        Steps { next: None, stop: 0, ascending: true, step: Step::Number(1) }
    }

    /// The series of one row of the arguments, whose types are those that `generate_series` asks for. Of a NULL there are no values.
    pub(super) fn of(arguments: &[ArrayRef], row: usize) -> DataFusionResult<Self> {
        if arguments.iter().any(|argument| argument.is_null(row)) {
            return Ok(Steps::none());
        }
        let step = match arguments.get(2) {
            Some(steps) if matches!(steps.data_type(), DataType::Interval(_)) => {
                Step::Interval(steps.as_primitive::<IntervalMonthDayNanoType>().value(row))
            }
            Some(steps) => Step::Number(number(steps, row)),
            None => Step::Number(one(arguments[0].data_type())),
        };
        let ascending = match step.length().cmp(&0) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => {
                let error = Error::new(Kind::InvalidParameter, "step size cannot equal zero");
                return Err(external(error));
            }
        };
        let mut steps = Steps { next: None, stop: number(&arguments[1], row), ascending, step };
        steps.next = Some(number(&arguments[0], row)).filter(|start| steps.has(*start));
        Ok(steps)
    }

    /// Whether there are no more.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }

    fn has(&self, value: i128) -> bool {
        if self.ascending { value <= self.stop } else { value >= self.stop }
    }
}

impl Iterator for Steps {
    type Item = i128;

    fn next(&mut self) -> Option<i128> {
        let value = self.next?;
        self.next = self.step.after(value).filter(|next| self.has(*next));
        Some(value)
    }
}

impl Step {
    /// The length, for comparing it: months have 30 days there.
    fn length(self) -> i128 {
        match self {
            Step::Number(number) => number,
            Step::Interval(step) => {
                (i128::from(step.months) * 30 + i128::from(step.days)) * 86_400_000_000_000 + i128::from(step.nanoseconds)
            }
        }
    }

    /// `None`: there are no such numbers, no such times, or it would be the same time again.
    fn after(self, value: i128) -> Option<i128> {
        match self {
            Step::Number(step) => value.checked_add(step),
            Step::Interval(step) => later(i64::try_from(value).ok()?, step).map(i128::from).filter(|next| *next != value),
        }
    }
}

/// A time in microseconds and an interval: months first, then days, then what is shorter.
fn later(micros: i64, step: IntervalMonthDayNano) -> Option<i64> {
    let time = DateTime::from_timestamp_micros(micros)?;
    let months = Months::new(step.months.unsigned_abs());
    let time = if step.months < 0 { time.checked_sub_months(months)? } else { time.checked_add_months(months)? };
    let days = Days::new(u64::from(step.days.unsigned_abs()));
    let time = if step.days < 0 { time.checked_sub_days(days)? } else { time.checked_add_days(days)? };
    time.timestamp_micros().checked_add(step.nanoseconds / 1_000)
}

/// A value as a whole number: of a numeric its digits, of a time its microseconds.
fn number(column: &ArrayRef, row: usize) -> i128 {
    match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value(row),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row).into(),
        _ => column.as_primitive::<Int64Type>().value(row).into(),
    }
}

/// The step if none is given.
fn one(element: &DataType) -> i128 {
    match element {
        DataType::Decimal128(_, scale) => 10_i128.pow(u32::from(scale.unsigned_abs())),
        _ => 1,
    }
}

/// Values of series, to become a column.
#[derive(Debug)]
pub(super) enum Values {
    /// Of types of up to 64 bits.
    Narrow(Vec<i64>),
    /// Of numerics.
    Wide(Vec<i128>),
}

impl Values {
    /// None yet, of series of this type; `None`: there are no such series.
    pub(super) fn new(element: &DataType) -> Option<Self> {
        match element {
            DataType::Int32 | DataType::Int64 | DataType::Timestamp(..) => Some(Values::Narrow(Vec::new())),
            DataType::Decimal128(..) => Some(Values::Wide(Vec::new())),
            _ => None,
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        match self {
            Values::Narrow(values) => values.len(),
            Values::Wide(values) => values.len(),
        }
    }

    /// Adds what comes next of a series, but no more than `count_max` values, and returns how many.
    pub(super) fn extend(&mut self, steps: &mut Steps, count_max: usize) -> usize {
        let before = self.len();
        let more = steps.take(count_max);
        match self {
            Values::Narrow(values) => values.extend(more.map(|value| value as i64)),
            Values::Wide(values) => values.extend(more),
        }
        self.len() - before
    }

    /// Adds places for NULLs.
    pub(super) fn pad(&mut self, count: usize) {
        match self {
            Values::Narrow(values) => values.resize(values.len() + count, 0),
            Values::Wide(values) => values.resize(values.len() + count, 0),
        }
    }

    /// The column, of the type that the values were made for.
    pub(super) fn into_array(self, element: &DataType, nulls: Option<NullBuffer>) -> DataFusionResult<ArrayRef> {
        Ok(match (self, element) {
            (Values::Wide(values), DataType::Decimal128(precision, scale)) => {
                Arc::new(Decimal128Array::new(values.into(), nulls).with_precision_and_scale(*precision, *scale)?)
            }
            (Values::Narrow(values), DataType::Int32) => {
                Arc::new(Int32Array::new(values.into_iter().map(|value| value as i32).collect(), nulls))
            }
            (Values::Narrow(values), DataType::Timestamp(..)) => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_data_type(element.clone()))
            }
            (Values::Narrow(values), DataType::Int64) => Arc::new(Int64Array::new(values.into(), nulls)),
            _ => return Err(DataFusionError::Internal(format!("series have no values of {element}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Step, Steps, later};
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::IntervalMonthDayNano;
    use chrono::{DateTime, NaiveDate};

    fn integers(arguments: &[Option<i64>]) -> Vec<i128> {
        let columns: Vec<ArrayRef> = arguments.iter().map(|argument| Arc::new(Int64Array::from(vec![*argument])) as ArrayRef).collect();
        Steps::of(&columns, 0).unwrap().collect()
    }

    #[test]
    fn a_series_goes_up_or_down_or_nowhere() {
        assert_eq!(integers(&[Some(1), Some(3)]), [1, 2, 3]);
        assert_eq!(integers(&[Some(1), Some(8), Some(3)]), [1, 4, 7]);
        assert_eq!(integers(&[Some(10), Some(1), Some(-4)]), [10, 6, 2]);
        assert_eq!(integers(&[Some(3), Some(1)]), []);
        assert_eq!(integers(&[Some(1), Some(3), Some(-1)]), []);
        assert_eq!(integers(&[Some(1), None, Some(1)]), []);
    }

    #[test]
    fn a_series_ends_where_numbers_end() {
        assert_eq!(integers(&[Some(i64::MAX - 1), Some(i64::MAX)]), [i64::MAX - 1, i64::MAX].map(i128::from));
        assert_eq!(integers(&[Some(0), Some(i64::MIN), Some(i64::MIN)]), [0, i64::MIN].map(i128::from));
        let widest = Steps { next: Some(i128::MAX), stop: i128::MAX, ascending: true, step: Step::Number(1) };
        assert_eq!(widest.collect::<Vec<_>>(), [i128::MAX]);
    }

    #[test]
    fn a_step_shorter_than_a_microsecond_leads_nowhere() {
        let step = Step::Interval(IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 999 });
        assert_eq!(Steps { next: Some(7), stop: 9, ascending: true, step }.collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_month_ends_with_its_last_day() {
        let micros = |day: NaiveDate| day.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_micros();
        let month = IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 };
        let next = later(micros(NaiveDate::from_ymd_opt(2024, 1, 31).unwrap()), month).unwrap();
        assert_eq!(DateTime::from_timestamp_micros(next).unwrap().date_naive(), NaiveDate::from_ymd_opt(2024, 2, 29).unwrap());
    }
}
