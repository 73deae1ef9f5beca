//! Scalar functions that windows are rewritten into, and the stand-in for functions that do not exist.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, lit,
};

use super::with_ties::WithTies;
use crate::error::{Error, Kind, Result};
use crate::plan::errors::external;
use crate::types::{SqlType, sql_type_of};

/// The name of the function behind HOP; plans are recognised by it.
pub(super) const HOP_STARTS: &str = "hop_starts";

/// Windows of one row at the most: a slide far smaller than the size would otherwise multiply the input without bound.
const WINDOWS_PER_ROW_MAX: i64 = 10_000;

/// The functions that we add to DataFusion's.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions = super::table_functions::all();
    functions.extend(super::arrays::all());
    functions.extend(super::choosing::all());
    functions.extend([
        Arc::new(ScalarUDF::from(TumbleStart::new())),
        Arc::new(ScalarUDF::from(HopStarts::new())),
        Arc::new(ScalarUDF::from(WithTies::new())),
    ]);
    functions
}

/// Microseconds of an interval that always lasts equally long and longer than nothing: no months.
pub(super) fn fixed_micros(interval: &ScalarValue, what: &str) -> Result<i64> {
    let (months, micros) = match interval {
        ScalarValue::IntervalMonthDayNano(Some(value)) => {
            (value.months, i64::from(value.days).checked_mul(86_400_000_000).and_then(|days| days.checked_add(value.nanoseconds / 1_000)))
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            (0, Some(i64::from(value.days) * 86_400_000_000 + i64::from(value.milliseconds) * 1_000))
        }
        ScalarValue::IntervalYearMonth(Some(months)) => (*months, Some(0)),
        ScalarValue::DurationMicrosecond(Some(value)) => (0, Some(*value)),
        ScalarValue::DurationNanosecond(Some(value)) => (0, Some(value / 1_000)),
        _ => return Err(Error::new(Kind::InvalidParameter, format!("{what} must be an interval constant"))),
    };
    if months != 0 {
        return Err(Error::new(Kind::InvalidParameter, format!("{what} must not contain months or years"))
            .hint("Months differ in length; use days, or group by date_trunc('month', …)."));
    }
    match micros {
        Some(micros) if micros > 0 => Ok(micros),
        _ => Err(Error::new(Kind::InvalidParameter, format!("{what} must be greater than zero"))),
    }
}

/// `text` as a value of `varchar(length)`, or without the blanks at its end as one of `char(length)`; too long is `22001`.
pub(super) fn fit_text(text: Expr, length: u32, trim: bool) -> Expr {
    let function = Arc::new(ScalarUDF::from(FitText { signature: fit_signature() }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![text, lit(i64::from(length)), lit(trim)]))
}

/// `function name(types) does not exist`.
pub(super) fn undefined_function(name: &str, arguments: &[DataType]) -> Error {
    let types: Vec<String> = arguments.iter().map(type_name).collect();
    Error::new(Kind::UndefinedFunction, format!("function {name}({}) does not exist", types.join(", ")))
}

/// As `undefined_function`, of types as SQL knows them.
pub(super) fn undefined_function_of(name: &str, arguments: &[SqlType]) -> Error {
    let types: Vec<String> = arguments.iter().map(SqlType::to_string).collect();
    Error::new(Kind::UndefinedFunction, format!("function {name}({}) does not exist", types.join(", ")))
}

/// What SQL calls an Arrow type; an argument without any type is `unknown`.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "unknown".to_owned(),
        other => match sql_type_of(&Field::new("", other.clone(), true)) {
            SqlType::Numeric(..) => "numeric".to_owned(),
            sql_type => sql_type.to_string(),
        },
    }
}

/// A UDF whose call is a type error: it knows the types of its arguments, which the message needs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct UnknownFunction {
    name: String,
    nearest: Option<String>,
    /// There is such a function, whose value depends on the session: here nobody asks.
    of_session: bool,
    signature: Signature,
}

impl UnknownFunction {
    /// Stands in for `name`; `nearest` is what was probably meant.
    pub(super) fn new(name: &str, nearest: Option<String>) -> Self {
        let signature = Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], Volatility::Immutable);
        UnknownFunction { name: name.to_owned(), nearest, of_session: false, signature }
    }

    /// Stands in for a function of a session, where there is none.
    pub(super) fn of_session(name: &str) -> Self {
        UnknownFunction { of_session: true, ..UnknownFunction::new(name, None) }
    }
}

impl ScalarUDFImpl for UnknownFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        if self.of_session {
            let message = format!("function {}() depends on the session that calls it, and cannot be part of what is kept", self.name);
            let hint = "Views, generated columns and defaults are the same for everyone: call it in the query that reads them.";
            return Err(external(Error::not_supported(message).hint(hint)));
        }
        if self.name.starts_with("jsonb_path_") {
            let error = Error::not_supported(format!("function {}() is not supported: there is no jsonpath", self.name));
            return Err(external(error.hint("Use ->, #> and jsonb_array_elements().")));
        }
        let error = undefined_function(&self.name, arguments);
        let hint = match &self.nearest {
            Some(near) => format!("Did you mean \"{near}\"?"),
            None => "No function matches the given name and argument types. You might need to add explicit type casts.".to_owned(),
        };
        Err(external(error.hint(hint)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(external(undefined_function(&self.name, &[])))
    }
}

/// The function behind `fit_text`: text, length, whether to take blanks off.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FitText {
    signature: Signature,
}

fn fit_signature() -> Signature {
    Signature::exact(vec![DataType::Utf8, DataType::Int64, DataType::Boolean], Volatility::Immutable)
}

impl ScalarUDFImpl for FitText {
    fn name(&self) -> &'static str {
        "fit_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let texts = args.args[0].to_array(args.number_rows)?;
        let (ColumnarValue::Scalar(ScalarValue::Int64(Some(length))), ColumnarValue::Scalar(ScalarValue::Boolean(Some(trim)))) =
            (&args.args[1], &args.args[2])
        else {
            return Err(DataFusionError::Internal("fit_text wants constants".into()));
        };
        let length = usize::try_from(*length).unwrap_or(usize::MAX);
        let fitted = texts.as_string::<i32>().iter().map(|text| text.map(|text| fit(text, length, *trim)).transpose());
        let fitted = fitted.collect::<Result<StringArray>>().map_err(external)?;
        Ok(ColumnarValue::Array(Arc::new(fitted)))
    }
}

/// As PostgreSQL does it: blanks too many at the end are cut, anything else too many is an error.
fn fit(text: &str, length: usize, trim: bool) -> Result<String> {
    let text = if trim { text.trim_end_matches(' ') } else { text };
    let characters = text.chars().count();
    if characters > length {
        let cut: String = text.chars().take(length).collect();
        if text[cut.len()..].chars().all(|character| character == ' ') {
            return Ok(cut);
        }
        let type_name =
            if trim { SqlType::Char(u32::try_from(length).unwrap_or(u32::MAX)) } else { SqlType::Varchar(u32::try_from(length).ok()) };
        return Err(Error::new(Kind::StringTooLong, format!("value too long for type {type_name}")));
    }
    Ok(text.to_owned())
}

/// `tumble_start(ts, size)`: the start of the window of `size`, counted from 1970-01-01, that holds `ts`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TumbleStart {
    signature: Signature,
}

impl TumbleStart {
    fn new() -> Self {
        TumbleStart { signature: window_signature(1) }
    }
}

impl ScalarUDFImpl for TumbleStart {
    fn name(&self) -> &'static str {
        "tumble_start"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let times = args.args[0].to_array(rows)?;
        let sizes = micros_per_row(&args.args[1], rows, "the size of a window")?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let starts: TimestampMicrosecondArray = times
            .iter()
            .zip(sizes.iter())
            .map(|(time, size)| match (time, size) {
                (Some(time), Some(size)) => Some(time - time.rem_euclid(size)),
                _ => None,
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(starts.with_data_type(times.data_type().clone()))))
    }
}

/// `hop_starts(ts, slide, size)`: the starts, ascending, of all windows that hold `ts`; NULL for NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct HopStarts {
    signature: Signature,
}

impl HopStarts {
    fn new() -> Self {
        HopStarts { signature: window_signature(2) }
    }
}

impl ScalarUDFImpl for HopStarts {
    fn name(&self) -> &'static str {
        HOP_STARTS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::List(Arc::new(Field::new("item", arguments[0].clone(), true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let times = args.args[0].to_array(rows)?;
        let slides = micros_per_row(&args.args[1], rows, "the slide of a window")?;
        let sizes = micros_per_row(&args.args[2], rows, "the size of a window")?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let mut starts = Vec::new();
        let mut offsets = vec![0_i32];
        let mut valid = Vec::with_capacity(rows);
        for row in 0..rows {
            let known = times.is_valid(row) && slides.is_valid(row) && sizes.is_valid(row);
            if known {
                hop_starts(times.value(row), slides.value(row), sizes.value(row), &mut starts)?;
            }
            valid.push(known);
            offsets.push(
                i32::try_from(starts.len()).map_err(|_| DataFusionError::ResourcesExhausted("too many windows in one batch".into()))?,
            );
        }
        let values = TimestampMicrosecondArray::from(starts).with_data_type(times.data_type().clone());
        let field = Arc::new(Field::new("item", times.data_type().clone(), true));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let list = ListArray::try_new(field, offsets, Arc::new(values), Some(NullBuffer::from(valid)))?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}

/// Refuses windows of which one row would be in too many.
pub(super) fn check_windows_per_row(slide_us: i64, size_us: i64) -> Result<()> {
    let windows = size_us / slide_us;
    if windows <= WINDOWS_PER_ROW_MAX {
        return Ok(());
    }
    Err(Error::new(Kind::LimitExceeded, format!("a row would be in {windows} windows, more than {WINDOWS_PER_ROW_MAX}"))
        .hint("Use a larger slide or a smaller size."))
}

/// Pushes every `k × slide` in `(time − size, time]`, ascending.
fn hop_starts(time: i64, slide: i64, size: i64, starts: &mut Vec<i64>) -> DataFusionResult<()> {
    check_windows_per_row(slide, size).map_err(external)?;
    let from = starts.len();
    let mut start = time - time.rem_euclid(slide);
    while start > time - size {
        starts.push(start);
        start -= slide;
    }
    starts[from..].reverse();
    Ok(())
}

/// A time (timestamps of any unit become microseconds) and `intervals` intervals.
fn window_signature(intervals: usize) -> Signature {
    let exact = |zone: Option<&str>| {
        let mut types = vec![DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))];
        types.extend(vec![DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano); intervals]);
        TypeSignature::Exact(types)
    };
    Signature::one_of(vec![exact(None), exact(Some("UTC"))], Volatility::Immutable)
}

/// The intervals in microseconds, one per row.
fn micros_per_row(value: &ColumnarValue, rows: usize, what: &str) -> DataFusionResult<Int64Array> {
    match value {
        ColumnarValue::Scalar(scalar) if scalar.is_null() => Ok(Int64Array::new_null(rows)),
        ColumnarValue::Scalar(scalar) => Ok(Int64Array::from(vec![fixed_micros(scalar, what).map_err(external)?; rows])),
        ColumnarValue::Array(array) => micros_of(array, what).map_err(external),
    }
}

fn micros_of(array: &ArrayRef, what: &str) -> Result<Int64Array> {
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    intervals
        .iter()
        .map(|value| value.map(|value| fixed_micros(&ScalarValue::IntervalMonthDayNano(Some(value)), what)).transpose())
        .collect::<Result<Int64Array>>()
}

#[cfg(test)]
mod tests {
    use super::{fit, hop_starts};
    use crate::error::Kind;

    #[test]
    fn a_text_that_is_too_long_may_lose_blanks_only() {
        assert_eq!(fit("ab  ", 2, false).unwrap(), "ab");
        assert_eq!(fit("ä   ", 3, true).unwrap(), "ä");
        assert_eq!(fit("abc", 2, false).unwrap_err().kind(), Kind::StringTooLong);
    }

    #[test]
    fn windows_before_1970_start_below_their_rows() {
        let mut starts = Vec::new();
        hop_starts(-1, 2, 6, &mut starts).unwrap();
        assert_eq!(starts, [-6, -4, -2]);
    }

    #[test]
    fn the_end_of_a_window_is_not_in_it() {
        let mut starts = Vec::new();
        hop_starts(10, 2, 10, &mut starts).unwrap();
        assert_eq!(starts, [2, 4, 6, 8, 10]);
    }
}
