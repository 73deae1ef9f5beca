//! Times rounded to fewer digits of a second, as casts like `::timestamp(0)` want them.

use arrow::datatypes::IntervalMonthDayNano;

use super::calendar::{DAY, SECOND, days_of, interval_range, timestamp_range};
use super::column::{Integer, Interval, Time, Timestamp, map2};
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function(
            "round_time",
            "a cast that rounds to so many digits of a second; halves go away from 2000-01-01",
            "'2020-01-01 10:00:00.5'::timestamp(0)",
            "2020-01-01 10:00:01",
        )
        .operator("::timestamp(n)")
        .form("timestamp, integer -> timestamp", |call| map2::<Timestamp, Integer, _>(call, moment))
        .form("timestamptz, integer -> timestamptz", |call| map2::<Timestamp, Integer, _>(call, moment))
        .form("time, integer -> time", |call| {
            map2::<Time, Integer, _>(call, |micros, digits| {
                // 24:00 is a time to PostgreSQL, but to nothing that reads Arrow.
                rounded(micros, digits)
                    .filter(|micros| *micros < DAY)
                    .ok_or_else(|| Error::new(Kind::DatetimeOutOfRange, "time field value out of range: 24:00:00"))
            })
        })
        .form("interval, integer -> interval", |call| {
            map2::<Interval, Integer, _>(call, |value, digits| {
                let micros = rounded(value.nanoseconds / 1_000, digits).ok_or_else(interval_range)?;
                let nanos = micros.checked_mul(1_000).ok_or_else(interval_range)?;
                Ok(IntervalMonthDayNano::new(value.months, value.days, nanos))
            })
        }),
    ]
}

fn moment(micros: i64, digits: i64) -> Result<i64> {
    let start = days_of(2000, 1, 1) * DAY;
    let distance = micros.checked_sub(start).and_then(|distance| rounded(distance, digits));
    distance.and_then(|distance| distance.checked_add(start)).ok_or_else(timestamp_range)
}

/// To so many digits of a second; halves away from zero.
fn rounded(micros: i64, digits: i64) -> Option<i64> {
    let unit = SECOND / 10_i64.pow(u32::try_from(digits.clamp(0, 6)).unwrap_or(6));
    let half = if micros < 0 { -(unit / 2) } else { unit / 2 };
    Some(micros.checked_add(half)? / unit * unit)
}
