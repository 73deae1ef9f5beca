//! Functions that put dates, times and intervals together from numbers.

use arrow::array::ArrayRef;
use chrono_tz::Tz;

use super::calendar::{DAY, HOUR, MINUTE, Moment, SECOND, Zone, days_in_month, days_of, interval_of, interval_range};
use super::call::Call;
use super::column::{Float, Integer, Text, map1, map3, map6, map7};
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("make_date", "the date of a year (negative: before Christ), month and day", "make_date(2013, 7, 15)", "2013-07-15").form(
            "integer, integer, integer -> date",
            |call| {
                map3::<Integer, Integer, Integer, _>(call, |year, month, day| {
                    i32::try_from(date(year, month, day)?).map_err(|_| out_of_range("date", year, month, day))
                })
            },
        ),
        function("make_time", "the time of an hour, minute and seconds", "make_time(8, 15, 23.5)", "08:15:23.5").form(
            "integer, integer, double precision -> time",
            |call| {
                map3::<Integer, Integer, Float, _>(call, |hour, minute, seconds| {
                    let micros = time(hour, minute, seconds)?;
                    // 24:00 is a time to PostgreSQL, but to nothing that reads Arrow.
                    if micros >= DAY {
                        Err(Error::new(Kind::DatetimeOutOfRange, "time field value out of range: 24:00:00"))
                    } else {
                        Ok(micros)
                    }
                })
            },
        ),
        function(
            "make_timestamp",
            "the timestamp of a year, month, day, hour, minute and seconds",
            "make_timestamp(2013, 7, 15, 8, 15, 23.5)",
            "2013-07-15 08:15:23.5",
        )
        .form("integer, integer, integer, integer, integer, double precision -> timestamp", moments),
        function(
            "make_timestamptz",
            "the same as an instant, in UTC or the zone given last",
            "make_timestamptz(2013, 7, 15, 8, 15, 23.5, 'Europe/Vienna')",
            "2013-07-15 06:15:23.5+00",
        )
        .form("integer, integer, integer, integer, integer, double precision -> timestamptz", moments)
        .form("integer, integer, integer, integer, integer, double precision, text -> timestamptz", in_zone),
        function(
            "make_interval",
            "the interval of years, months, weeks, days, hours, mins and secs, which may be named and left out",
            "make_interval(days => 10, hours => 2)",
            "10 days 02:00:00",
        )
        .form("integer, integer, integer, integer, integer, integer, double precision -> interval", |call| {
            map7::<Integer, Integer, Integer, Integer, Integer, Integer, Float, _>(call, interval)
        }),
        function(
            "to_timestamp",
            "the instant of seconds since 1970-01-01 00:00 UTC, or of a text in a format (see `to_char`)",
            "to_timestamp(1284352323.5)",
            "2010-09-13 04:32:03.5+00",
        )
        .form("double precision -> timestamptz", |call| map1::<Float, _>(call, instant))
        .form("text, text -> timestamptz", super::date_format::to_timestamp)
        .form("text, text, text -> timestamptz", super::date_format::to_timestamp_in)
        .example("to_timestamp('05 Dec 2000 10:30', 'DD Mon YYYY HH24:MI')", "2000-12-05 10:30:00+00"),
    ]
}

fn out_of_range(what: &str, year: i64, month: i64, day: i64) -> Error {
    Error::new(Kind::DatetimeOutOfRange, format!("{what} field value out of range: {year}-{month:02}-{day:02}"))
}

/// Years that a date can have: those of four bytes of days, and to spare.
const YEAR_MAX: i64 = 5_874_897;

/// Days since 1970-01-01. There is no year 0.
fn date(year: i64, month: i64, day: i64) -> Result<i64> {
    let astronomical = if year < 0 { year + 1 } else { year };
    let valid = year != 0 && (-4_713..=YEAR_MAX).contains(&year) && (1..=12).contains(&month) && day >= 1;
    if !valid || day > days_in_month(astronomical, month) {
        return Err(out_of_range("date", year, month, day));
    }
    Ok(days_of(astronomical, month, day))
}

/// Microseconds since midnight, up to and including 24:00.
fn time(hour: i64, minute: i64, seconds: f64) -> Result<i64> {
    let error = || Error::new(Kind::DatetimeOutOfRange, format!("time field value out of range: {hour}:{minute:02}:{seconds:02}"));
    if !(0..=24).contains(&hour) || !(0..=59).contains(&minute) || !(0.0..=60.0).contains(&seconds) {
        return Err(error());
    }
    let micros = hour * HOUR + minute * MINUTE + (seconds * 1e6).round_ties_even() as i64;
    if micros > DAY { Err(error()) } else { Ok(micros) }
}

fn moment(year: i64, month: i64, day: i64, hour: i64, minute: i64, seconds: f64) -> Result<i64> {
    let days = date(year, month, day)?;
    let time = time(hour, minute, seconds)?;
    days.checked_mul(DAY).and_then(|start| start.checked_add(time)).ok_or_else(super::calendar::timestamp_range)
}

fn moments(call: &Call<'_>) -> Result<ArrayRef> {
    map6::<Integer, Integer, Integer, Integer, Integer, Float, _>(call, moment)
}

fn in_zone(call: &Call<'_>) -> Result<ArrayRef> {
    map7::<Integer, Integer, Integer, Integer, Integer, Float, Text, _>(call, |year, month, day, hour, minute, seconds, zone| {
        Zone::named(zone)?.instant(moment(year, month, day, hour, minute, seconds)?)
    })
}

fn interval(
    years: i64,
    months: i64,
    weeks: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: f64,
) -> Result<arrow::datatypes::IntervalMonthDayNano> {
    let whole_months = years.checked_mul(12).and_then(|sum| sum.checked_add(months));
    let whole_days = weeks.checked_mul(7).and_then(|sum| sum.checked_add(days));
    let part = (seconds * 1e6).round_ties_even();
    if !part.is_finite() || part.abs() >= 9.2e18 {
        return Err(interval_range());
    }
    let micros =
        hours.checked_mul(HOUR).and_then(|sum| sum.checked_add(minutes.checked_mul(MINUTE)?)).and_then(|sum| sum.checked_add(part as i64));
    match (whole_months, whole_days, micros) {
        (Some(months), Some(days), Some(micros)) => interval_of(months, days, micros),
        _ => Err(interval_range()),
    }
}

fn instant(seconds: f64) -> Result<i64> {
    if seconds.is_nan() {
        return Err(Error::new(Kind::DatetimeOutOfRange, "timestamp cannot be NaN"));
    }
    let micros = (seconds * SECOND as f64).round_ties_even();
    if !seconds.is_finite() || micros.abs() >= 9.2e18 {
        return Err(Error::new(Kind::DatetimeOutOfRange, format!("timestamp out of range: \"{seconds}\"")));
    }
    // What no calendar reaches is refused here, not where it is shown.
    let micros = micros as i64;
    Moment::of(micros);
    Zone::Named(Tz::UTC).local(micros)
}
