//! The scalar functions that TUMBLE, HOP and CUMULATE are written with once they are plain SQL (`sql/windows.rs`).
//!
//! | function | gives |
//! |---|---|
//! | `tumble_start(ts, size [, offset])` | the start of the window that holds `ts` |
//! | `hop_starts(ts, slide, size [, offset])` | the starts of all windows that hold `ts`, ascending |
//! | `cumulate_ends(ts, step, size [, offset])` | the ends of all windows that hold `ts`, ascending |
//! | `window_end(start, size)` | the end of the window that starts there |
//! | `window_time(end)` | the last moment of the window that ends there |
//!
//! All are of the type of their first argument (a timestamp or timestamptz), NULL where an argument is. A day is 24 hours, wherever one is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::errors::external;
use super::functions::fixed_micros;
use crate::error::{Error, Kind, Result};
use crate::types::TimeWindows;

/// The function behind TUMBLE.
pub(super) const TUMBLE_START: &str = "tumble_start";

/// The function behind HOP; plans are recognised by it.
pub(super) const HOP_STARTS: &str = "hop_starts";

/// The function behind CUMULATE; plans are recognised by it.
pub(super) const CUMULATE_ENDS: &str = "cumulate_ends";

/// The function that adds a window's size to its start.
pub(super) const WINDOW_END: &str = "window_end";

/// The function that steps back from a window's end.
pub(super) const WINDOW_TIME: &str = "window_time";

/// From the last moment of a window to its end: times have microseconds.
pub(super) const LAST_MOMENT_US: i64 = 1;

/// Windows of one row at the most: a slide far smaller than the size would otherwise multiply the input without bound.
const WINDOWS_PER_ROW_MAX: i64 = 10_000;

/// The functions.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let function = |name, intervals, offset, lists| Arc::new(ScalarUDF::from(WindowFunction::new(name, intervals, offset, lists)));
    vec![
        function(TUMBLE_START, 1, true, false),
        function(HOP_STARTS, 2, true, true),
        function(CUMULATE_ENDS, 2, true, true),
        function(WINDOW_END, 1, false, false),
        function(WINDOW_TIME, 0, false, false),
    ]
}

/// Whether a function lists the windows of a row, which an unnest takes apart.
pub(super) fn lists_windows(function: &str) -> bool {
    matches!(function, HOP_STARTS | CUMULATE_ENDS)
}

/// The windows that a call speaks of; `intervals`: its arguments behind the time.
pub(super) fn windows_of(function: &str, intervals: &[&ScalarValue]) -> Result<TimeWindows> {
    let size_of = |size: &ScalarValue| fixed_micros(size, "the size of a window");
    let windows = match (function, intervals) {
        (TUMBLE_START, [size, offset @ ..]) => {
            let size_us = size_of(size)?;
            TimeWindows::hop(size_us, size_us, offset_of(offset)?)
        }
        (HOP_STARTS, [slide, size, offset @ ..]) => {
            TimeWindows::hop(fixed_micros(slide, "the slide of a window")?, size_of(size)?, offset_of(offset)?)
        }
        (CUMULATE_ENDS, [step, size, offset @ ..]) => {
            let (step_us, size_us) = (fixed_micros(step, "the step of a window")?, size_of(size)?);
            if size_us % step_us != 0 {
                return Err(Error::new(Kind::InvalidParameter, "the size of a cumulating window must be a multiple of its step")
                    .hint("CUMULATE(relation, time column, step, size): each window is one step longer than the one before."));
            }
            TimeWindows::cumulate(step_us, size_us, offset_of(offset)?)
        }
        _ => return Err(Error::internal(format!("{function} has no windows"))),
    };
    match windows.count_max() {
        ..=WINDOWS_PER_ROW_MAX => Ok(windows),
        count => Err(Error::new(Kind::LimitExceeded, format!("a row would be in {count} windows, more than {WINDOWS_PER_ROW_MAX}"))
            .hint("Use a larger slide or step, or a smaller size.")),
    }
}

/// Microseconds of an interval of fixed length, in either direction.
fn offset_of(offset: &[&ScalarValue]) -> Result<i64> {
    let Some(offset) = offset.first() else { return Ok(0) };
    match offset {
        ScalarValue::IntervalMonthDayNano(Some(value)) if (value.months, value.days, value.nanoseconds / 1_000) == (0, 0, 0) => Ok(0),
        ScalarValue::IntervalMonthDayNano(Some(value))
            if i128::from(value.days) * 86_400_000_000_000 + i128::from(value.nanoseconds) < 0 =>
        {
            let negated = value.days.checked_neg().zip(value.nanoseconds.checked_neg());
            let (days, nanoseconds) =
                negated.ok_or_else(|| Error::new(Kind::InvalidParameter, "the offset of a window is out of range"))?;
            let negated = arrow::datatypes::IntervalMonthDayNano { months: value.months, days, nanoseconds };
            Ok(-fixed_micros(&ScalarValue::IntervalMonthDayNano(Some(negated)), "the offset of a window")?)
        }
        offset => fixed_micros(offset, "the offset of a window"),
    }
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowFunction {
    name: &'static str,
    /// Whether it gives a list.
    lists: bool,
    signature: Signature,
}

impl WindowFunction {
    /// Of a time and `intervals` intervals, and one more if it may have an `offset`.
    fn new(name: &'static str, intervals: usize, offset: bool, lists: bool) -> Self {
        let exact = |zone: Option<&str>, intervals: usize| {
            // Timestamps of other units become microseconds.
            let mut types = vec![DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))];
            types.extend(vec![DataType::Interval(IntervalUnit::MonthDayNano); intervals]);
            TypeSignature::Exact(types)
        };
        let counts = intervals..=intervals + usize::from(offset);
        let forms = counts.flat_map(|count| [exact(None, count), exact(Some("UTC"), count)]).collect();
        WindowFunction { name, lists, signature: Signature::one_of(forms, Volatility::Immutable) }
    }

    fn type_for(&self, time: &DataType) -> DataType {
        if self.lists { DataType::List(Arc::new(Field::new("item", time.clone(), true))) } else { time.clone() }
    }

    /// What it gives for one time.
    fn windows(&self, intervals: &[&ScalarValue]) -> Result<Option<Windows>> {
        if intervals.iter().any(|interval| interval.is_null()) {
            return Ok(None);
        }
        Ok(Some(match (self.name, intervals) {
            (WINDOW_END, [size]) => Windows::Shifted(fixed_micros(size, "the size of a window")?),
            (WINDOW_TIME, []) => Windows::Shifted(-LAST_MOMENT_US),
            _ => Windows::Of(windows_of(self.name, intervals)?),
        }))
    }

    fn windows_per_row(&self, arguments: &[ColumnarValue], rows: usize) -> DataFusionResult<PerRow> {
        let intervals = &arguments[1..];
        let constants: Option<Vec<&ScalarValue>> = intervals.iter().map(constant).collect();
        if let Some(constants) = constants {
            return Ok(PerRow::Same(self.windows(&constants).map_err(external)?));
        }
        let columns = intervals.iter().map(|interval| interval.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let of_row = |row: usize| {
            let values = columns.iter().map(|column| ScalarValue::try_from_array(column, row)).collect::<DataFusionResult<Vec<_>>>()?;
            self.windows(&values.iter().collect::<Vec<_>>()).map_err(external)
        };
        Ok(PerRow::Each((0..rows).map(of_row).collect::<DataFusionResult<_>>()?))
    }
}

/// What a call does with a time.
#[derive(Clone, Copy)]
enum Windows {
    Of(TimeWindows),
    Shifted(i64),
}

/// What a call does, row by row; `None` where an interval is NULL.
enum PerRow {
    Same(Option<Windows>),
    Each(Vec<Option<Windows>>),
}

impl PerRow {
    fn get(&self, row: usize) -> Option<Windows> {
        match self {
            PerRow::Same(windows) => *windows,
            PerRow::Each(windows) => windows[row],
        }
    }
}

fn constant(value: &ColumnarValue) -> Option<&ScalarValue> {
    match value {
        ColumnarValue::Scalar(scalar) => Some(scalar),
        ColumnarValue::Array(_) => None,
    }
}

impl ScalarUDFImpl for WindowFunction {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.type_for(&arguments[0]))
    }

    /// What is wrong with constants is told before a row comes.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let constants: Option<Vec<&ScalarValue>> = args.scalar_arguments.iter().skip(1).copied().collect();
        if let Some(constants) = constants {
            self.windows(&constants).map_err(external)?;
        }
        Ok(Arc::new(Field::new(self.name, self.type_for(args.arg_fields[0].data_type()), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let times = args.args[0].to_array(rows)?;
        let windows = self.windows_per_row(&args.args, rows)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        if self.lists { lists(self.name, times, &windows) } else { Ok(ColumnarValue::Array(times_of(times, &windows))) }
    }
}

/// A time for each one.
fn times_of(times: &TimestampMicrosecondArray, windows: &PerRow) -> ArrayRef {
    let of_row = |(row, time): (usize, Option<i64>)| match (time?, windows.get(row)?) {
        (time, Windows::Of(windows)) => Some(windows.start(time)),
        (time, Windows::Shifted(by)) => Some(time.saturating_add(by)),
    };
    let found: TimestampMicrosecondArray = times.iter().enumerate().map(of_row).collect();
    Arc::new(found.with_data_type(times.data_type().clone()))
}

/// A list for each time.
fn lists(name: &str, times: &TimestampMicrosecondArray, windows: &PerRow) -> DataFusionResult<ColumnarValue> {
    let mut found: Vec<i64> = Vec::new();
    let mut offsets = vec![0_i32];
    let mut valid = Vec::with_capacity(times.len());
    for row in 0..times.len() {
        let known = windows.get(row).filter(|_| times.is_valid(row));
        let from = found.len();
        if let Some(Windows::Of(windows)) = known {
            found.extend(windows.of(times.value(row)).map(|(start, end)| if name == HOP_STARTS { start } else { end }));
        }
        if name == HOP_STARTS {
            found[from..].reverse();
        }
        valid.push(known.is_some());
        offsets.push(i32::try_from(found.len()).map_err(|_| DataFusionError::ResourcesExhausted("too many windows in one batch".into()))?);
    }
    let values = TimestampMicrosecondArray::from(found).with_data_type(times.data_type().clone());
    let field = Arc::new(Field::new("item", times.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let list = ListArray::try_new(field, offsets, Arc::new(values), Some(NullBuffer::from(valid)))?;
    Ok(ColumnarValue::Array(Arc::new(list)))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::IntervalMonthDayNano;
    use datafusion::common::ScalarValue;

    use super::{CUMULATE_ENDS, HOP_STARTS, TUMBLE_START, windows_of};
    use crate::error::Kind;
    use crate::types::TimeWindows;

    fn seconds(seconds: i64) -> ScalarValue {
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months: 0, days: 0, nanoseconds: seconds * 1_000_000_000 }))
    }

    #[test]
    fn an_offset_may_go_either_way() {
        let second = 1_000_000;
        let found = windows_of(TUMBLE_START, &[&seconds(10), &seconds(-3)]).unwrap();
        assert_eq!(found, TimeWindows::hop(10 * second, 10 * second, 7 * second));
        assert_eq!(windows_of(TUMBLE_START, &[&seconds(10), &seconds(0)]).unwrap(), TimeWindows::hop(10 * second, 10 * second, 0));
        assert_eq!(windows_of(CUMULATE_ENDS, &[&seconds(2), &seconds(6)]).unwrap(), TimeWindows::cumulate(2 * second, 6 * second, 0));
    }

    #[test]
    fn windows_that_cannot_be_are_refused() {
        let kind = |function, intervals: &[&ScalarValue]| windows_of(function, intervals).unwrap_err().kind();
        let month = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }));
        assert_eq!(kind(CUMULATE_ENDS, &[&seconds(4), &seconds(6)]), Kind::InvalidParameter);
        assert_eq!(kind(TUMBLE_START, &[&seconds(0)]), Kind::InvalidParameter);
        assert_eq!(kind(TUMBLE_START, &[&seconds(1), &month]), Kind::InvalidParameter);
        assert_eq!(kind(HOP_STARTS, &[&seconds(1), &seconds(10_001)]), Kind::LimitExceeded);
    }
}
