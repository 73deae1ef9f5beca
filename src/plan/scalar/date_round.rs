//! Times rounded to fewer digits of a second, as casts like `::timestamp(0)` want them.

use super::column::{Integer, Interval, Time, Timestamp, map2};
use super::{Function, function};
use crate::error::Result;
use crate::types::{round_interval, round_time_of_day, round_timestamp};

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
            map2::<Time, Integer, _>(call, |micros, digits| round_time_of_day(micros, to_round_to(digits)))
        })
        .form("interval, integer -> interval", |call| {
            map2::<Interval, Integer, _>(call, |value, digits| round_interval(value, to_round_to(digits)))
        }),
    ]
}

fn moment(micros: i64, digits: i64) -> Result<i64> {
    round_timestamp(micros, to_round_to(digits))
}

/// Microseconds are the most that there is.
fn to_round_to(digits: i64) -> u8 {
    u8::try_from(digits.clamp(0, 6)).unwrap_or(6)
}
