//! `generate_series(start, stop [, step])` as lists: of integers, numerics and timestamps.
//!
//! A series may be longer than should be in memory at once. Then it is made in two steps, each a function of the same arguments: the first
//! values of all its pieces, and the piece that starts with a given value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, PrimitiveArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, Days, Months};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::lists::{list_column, no_such, too_many};
use crate::error::{Error, Kind};

/// The name of the function.
pub(super) const SERIES: &str = "generate_series";

/// Values in a piece. A query computes 8,192 pieces at once: some 64 MiB.
pub(super) const PIECE: i64 = 1_024;

/// Values in one list at the most.
const VALUES_MAX: usize = 16_777_216;

/// The digits of a series of numerics.
const DIGITS: u8 = 38;

/// `generate_series` as a list.
pub(super) fn series() -> Arc<ScalarUDF> {
    function(Part::All)
}

/// The first values of the pieces of a series.
pub(super) fn series_starts() -> Arc<ScalarUDF> {
    function(Part::Starts)
}

/// The piece of a series that starts with the first argument.
pub(super) fn series_piece() -> Arc<ScalarUDF> {
    function(Part::Piece)
}

fn function(part: Part) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Series { part, signature: Signature::user_defined(Volatility::Volatile) }))
}

/// What of a series is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    All,
    Starts,
    Piece,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Series {
    part: Part,
    signature: Signature,
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &'static str {
        match self.part {
            Part::All => SERIES,
            Part::Starts => "series_starts",
            Part::Piece => "series_piece",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        if !matches!(arguments.len(), 2 | 3) {
            return Err(no_such(SERIES, arguments));
        }
        let element = element_type(arguments).ok_or_else(|| no_such(SERIES, arguments))?;
        let mut types = vec![element.clone(), element.clone()];
        match (&element, arguments.get(2)) {
            (DataType::Timestamp(..), Some(_)) => types.push(DataType::Interval(IntervalUnit::MonthDayNano)),
            (DataType::Timestamp(..), None) => return Err(no_such(SERIES, arguments)),
            (_, Some(_)) => types.push(element),
            (_, None) => {}
        }
        Ok(types)
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::new_list(arguments[0].clone(), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let arguments = args.args.iter().map(|argument| argument.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let element = arguments[0].data_type().clone();
        let (values, lengths) = match &element {
            DataType::Int32 | DataType::Int64 => integers(&arguments, self.part)?,
            DataType::Decimal128(_, scale) => numerics(&arguments, *scale, self.part)?,
            DataType::Timestamp(..) => timestamps(&arguments, self.part)?,
            _ => return Err(no_such(SERIES, &[element])),
        };
        list_column(lengths.into_iter(), Arc::new(Field::new_list_field(element, true)), values)
    }
}

/// The type of the series between values of these types.
fn element_type(arguments: &[DataType]) -> Option<DataType> {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    let ends = &arguments[..2];
    if ends.iter().all(is_text) && ends.iter().any(|end| !end.is_null()) {
        return None;
    }
    let has = |wanted: fn(&DataType) -> bool| ends.iter().any(wanted);
    if has(|end| matches!(end, DataType::Timestamp(..) | DataType::Date32)) {
        let local = !has(|end| matches!(end, DataType::Timestamp(_, Some(_)))) && has(|end| matches!(end, DataType::Timestamp(_, None)));
        let fits = ends.iter().all(|end| matches!(end, DataType::Timestamp(..) | DataType::Date32) || is_text(end))
            && arguments.get(2).is_some_and(|step| matches!(step, DataType::Interval(_)) || is_text(step));
        return fits.then(|| DataType::Timestamp(TimeUnit::Microsecond, (!local).then(|| "UTC".into())));
    }
    let known: Vec<&DataType> = arguments.iter().filter(|argument| !argument.is_null()).collect();
    if known.iter().all(|argument| matches!(argument, DataType::Int8 | DataType::Int16 | DataType::Int32)) {
        Some(DataType::Int32)
    } else if known.iter().all(|argument| argument.is_integer()) {
        Some(DataType::Int64)
    } else if known.iter().all(|argument| argument.is_integer() || argument.is_decimal()) {
        let scale = known.iter().map(|argument| match argument {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
            _ => 0,
        });
        Some(DataType::Decimal128(DIGITS, scale.max().unwrap_or(0)))
    } else {
        None
    }
}

/// Pushes the values from `start` to `stop`, or the part of them that is wanted, and returns how many.
fn push<T: PartialOrd + Copy>(
    (start, stop): (T, T),
    ascending: bool,
    part: Part,
    next: impl Fn(T) -> Option<T>,
    values: &mut Vec<T>,
) -> DataFusionResult<usize> {
    let before = values.len();
    let mut value = start;
    let mut count = 0;
    while if ascending { value <= stop } else { value >= stop } {
        if part != Part::Starts || count % PIECE == 0 {
            if values.len() - before == VALUES_MAX || values.len() >= i32::MAX as usize {
                return Err(too_many());
            }
            values.push(value);
        }
        count += 1;
        if part == Part::Piece && count == PIECE {
            break;
        }
        let Some(following) = next(value) else { break };
        value = following;
    }
    Ok(values.len() - before)
}

fn zero_step() -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(Kind::InvalidParameter, "step size cannot equal zero")))
}

type Lists = (ArrayRef, Vec<usize>);

fn integers(arguments: &[ArrayRef], part: Part) -> DataFusionResult<Lists> {
    let wide = arguments.iter().map(|argument| cast(argument, &DataType::Int64)).collect::<Result<Vec<_>, _>>()?;
    let columns: Vec<&Int64Array> = wide.iter().map(|column| column.as_primitive::<Int64Type>()).collect();
    let (values, lengths) = whole(&columns, 1, part, i64::checked_add)?;
    let values: ArrayRef = Arc::new(Int64Array::from(values));
    if arguments[0].data_type() == &DataType::Int32 {
        let small: Int32Array = values.as_primitive::<Int64Type>().unary(|value| value as i32);
        return Ok((Arc::new(small), lengths));
    }
    Ok((values, lengths))
}

fn numerics(arguments: &[ArrayRef], scale: i8, part: Part) -> DataFusionResult<Lists> {
    let columns: Vec<&Decimal128Array> = arguments.iter().map(|column| column.as_primitive::<Decimal128Type>()).collect();
    let (values, lengths) = whole(&columns, 10_i128.pow(u32::from(scale.unsigned_abs())), part, i128::checked_add)?;
    let values = Decimal128Array::from(values).with_precision_and_scale(DIGITS, scale)?;
    Ok((Arc::new(values), lengths))
}

/// Series of numbers; `one` is the step if none is given.
fn whole<T: arrow::datatypes::ArrowPrimitiveType>(
    columns: &[&PrimitiveArray<T>],
    one: T::Native,
    part: Part,
    add: fn(T::Native, T::Native) -> Option<T::Native>,
) -> DataFusionResult<(Vec<T::Native>, Vec<usize>)>
where
    T::Native: PartialOrd,
{
    let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(columns[0].len()));
    for row in 0..columns[0].len() {
        if columns.iter().any(|column| column.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let step = columns.get(2).map_or(one, |steps| steps.value(row));
        let zero = T::default_value();
        if step == zero {
            return Err(zero_step());
        }
        let ends = (columns[0].value(row), columns[1].value(row));
        lengths.push(push(ends, step > zero, part, |value| add(value, step), &mut values)?);
    }
    Ok((values, lengths))
}

fn timestamps(arguments: &[ArrayRef], part: Part) -> DataFusionResult<Lists> {
    let [starts, stops] = [0, 1].map(|index| arguments[index].as_primitive::<TimestampMicrosecondType>());
    let steps = arguments[2].as_primitive::<IntervalMonthDayNanoType>();
    let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(starts.len()));
    for row in 0..starts.len() {
        if starts.is_null(row) || stops.is_null(row) || steps.is_null(row) {
            lengths.push(0);
            continue;
        }
        let step = steps.value(row);
        let length = span(step);
        if length == 0 {
            return Err(zero_step());
        }
        let ends = (starts.value(row), stops.value(row));
        lengths.push(push(ends, length > 0, part, |value| later(value, step).filter(|next| *next != value), &mut values)?);
    }
    let values = TimestampMicrosecondArray::from(values).with_data_type(starts.data_type().clone());
    Ok((Arc::new(values), lengths))
}

/// The length of an interval for comparing it: months have 30 days there.
fn span(step: IntervalMonthDayNano) -> i128 {
    (i128::from(step.months) * 30 + i128::from(step.days)) * 86_400_000_000_000 + i128::from(step.nanoseconds)
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

#[cfg(test)]
mod tests {
    use super::{PIECE, Part, later, push};
    use arrow::datatypes::IntervalMonthDayNano;
    use chrono::{DateTime, NaiveDate};

    #[test]
    fn pieces_make_the_whole() {
        let step = |value: i64| value.checked_add(3);
        let ends = (5, 3 * 4 * PIECE);
        let (mut all, mut starts, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
        push(ends, true, Part::All, step, &mut all).unwrap();
        push(ends, true, Part::Starts, step, &mut starts).unwrap();
        for start in starts {
            push((start, ends.1), true, Part::Piece, step, &mut pieces).unwrap();
        }
        assert_eq!(all, pieces);
    }

    #[test]
    fn a_series_ends_where_numbers_end() {
        let mut values = Vec::new();
        push((i64::MAX - 1, i64::MAX), true, Part::All, |value| value.checked_add(1), &mut values).unwrap();
        assert_eq!(values, [i64::MAX - 1, i64::MAX]);
    }

    #[test]
    fn a_month_ends_with_its_last_day() {
        let micros = |day: NaiveDate| day.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_micros();
        let month = IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 };
        let next = later(micros(NaiveDate::from_ymd_opt(2024, 1, 31).unwrap()), month).unwrap();
        assert_eq!(DateTime::from_timestamp_micros(next).unwrap().date_naive(), NaiveDate::from_ymd_opt(2024, 2, 29).unwrap());
    }
}
