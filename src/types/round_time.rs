//! Times rounded to fewer digits of a second: what `timestamp(3)` means, for casts and for columns.

use std::sync::Arc;

use arrow::array::types::{IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType};
use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::DataType;

use super::{SqlType, Value};
use crate::error::{Error, Kind, Result};

/// Microseconds of a second and of a day.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// 2000-01-01, from which PostgreSQL counts: halves go away from there.
const MIDDLE: i64 = 10_957 * DAY;

/// A timestamp in microseconds, rounded.
pub fn round_timestamp(micros: i64, digits: u8) -> Result<i64> {
    let distance = micros.checked_sub(MIDDLE).and_then(|distance| rounded(distance, digits));
    let range = || Error::new(Kind::DatetimeOutOfRange, "timestamp out of range");
    distance.and_then(|distance| distance.checked_add(MIDDLE)).ok_or_else(range)
}

/// A time of the day in microseconds, rounded.
pub fn round_time_of_day(micros: i64, digits: u8) -> Result<i64> {
    // 24:00 is a time to PostgreSQL, but to nothing that reads Arrow.
    let range = || Error::new(Kind::DatetimeOutOfRange, "time field value out of range: 24:00:00");
    rounded(micros, digits).filter(|micros| *micros < DAY).ok_or_else(range)
}

/// An interval, rounded.
pub fn round_interval(value: IntervalMonthDayNano, digits: u8) -> Result<IntervalMonthDayNano> {
    let nanos = rounded(value.nanoseconds / 1_000, digits).and_then(|micros| micros.checked_mul(1_000));
    let nanos = nanos.ok_or_else(|| Error::new(Kind::DatetimeOutOfRange, "interval out of range"))?;
    Ok(IntervalMonthDayNano::new(value.months, value.days, nanos))
}

/// A value of type `whole`, rounded. Anything but a time is as it was.
pub fn round_value<'a>(whole: &SqlType, value: Value<'a>, digits: u8) -> Result<Value<'a>> {
    Ok(match (whole, value) {
        (SqlType::Time, Value::Int(micros)) => Value::Int(round_time_of_day(micros, digits)?),
        (SqlType::Timestamp | SqlType::Timestamptz, Value::Int(micros)) => Value::Int(round_timestamp(micros, digits)?),
        (_, Value::Interval(value)) => Value::Interval(round_interval(value, digits)?),
        (_, other) => other,
    })
}

/// A column of times, rounded.
pub fn round_column(values: &ArrayRef, digits: u8) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Time64(_) => {
            let times: &PrimitiveArray<Time64MicrosecondType> = values.as_primitive();
            Arc::new(times.try_unary::<_, Time64MicrosecondType, _>(|micros| round_time_of_day(micros, digits))?)
        }
        DataType::Timestamp(..) => {
            let stamps: &PrimitiveArray<TimestampMicrosecondType> = values.as_primitive();
            let rounded = stamps.try_unary::<_, TimestampMicrosecondType, _>(|micros| round_timestamp(micros, digits))?;
            Arc::new(rounded.with_data_type(values.data_type().clone()))
        }
        DataType::Interval(_) => {
            let intervals: &PrimitiveArray<IntervalMonthDayNanoType> = values.as_primitive();
            Arc::new(intervals.try_unary::<_, IntervalMonthDayNanoType, _>(|value| round_interval(value, digits))?)
        }
        _ => Arc::clone(values),
    })
}

/// Microseconds to so many digits of a second; halves away from zero.
fn rounded(micros: i64, digits: u8) -> Option<i64> {
    let unit = SECOND / 10_i64.pow(u32::from(digits.min(6)));
    let half = if micros < 0 { -(unit / 2) } else { unit / 2 };
    Some(micros.checked_add(half)? / unit * unit)
}

#[cfg(test)]
mod tests {
    use super::{DAY, round_time_of_day, round_timestamp};

    #[test]
    fn halves_go_away_from_the_year_2000() {
        let micros = |text: &str| match crate::types::value_from_text(&crate::types::SqlType::Timestamp, text).unwrap() {
            crate::types::Value::Int(micros) => micros,
            other => panic!("{other:?}"),
        };
        assert_eq!(round_timestamp(micros("2020-01-01 10:00:00.5"), 0).unwrap(), micros("2020-01-01 10:00:01"));
        assert_eq!(round_timestamp(micros("1990-01-01 10:00:00.5"), 0).unwrap(), micros("1990-01-01 10:00:00"));
        assert_eq!(round_timestamp(micros("2020-01-01 10:00:00.123456"), 6).unwrap(), micros("2020-01-01 10:00:00.123456"));
        assert_eq!(round_timestamp(i64::MAX, 0).unwrap_err().kind().sqlstate(), "22008");
        assert_eq!(round_time_of_day(DAY - 1, 3).unwrap_err().kind().sqlstate(), "22008");
    }
}
