//! Functions that take dates, times and intervals apart, and the operators between them.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, i256};
use datafusion::common::ScalarValue;
use std::sync::Arc;

use super::calendar::{
    DAY, HOUR, JULIAN_EPOCH, MINUTE, Moment, SECOND, Zone, interval_of, interval_range, iso_week, shifted, timestamp_range, weekday,
};
use super::call::Call;
use super::column::{Date, Decimal, Float, Input, Integer, Interval, Text, Time, Timestamp, map1, map2, map3};
use super::numeric::Rounding;
use super::{Function, function};
use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, interval_length, month_bin};

/// The table.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("now", "when the transaction began; also `current_timestamp`, `transaction_timestamp()`, `statement_timestamp()`; not in a view", "now() > TIMESTAMPTZ '2020-01-01 00:00:00+00'", "t").known("-> timestamptz").stable(),
        function("current_date", "the day on which the transaction began; not in a view", "current_date > DATE '2020-01-01'", "t").known("-> date").stable(),
        function("current_time", "the time at which the transaction began; not in a view", "current_time IS NOT NULL", "t").known("-> time").stable(),
        function("extract", "a field: century, day, decade, dow, doy, epoch, hour, isodow, isoyear, julian, microseconds, millennium, milliseconds, minute, month, quarter, second, timezone, timezone_hour, timezone_minute, week, year", "extract(year FROM TIMESTAMP '2001-02-16 20:38:40')", "2001")
            .form_of("text, timestamp -> numeric", field_type, |call| map2::<Text, Timestamp, _>(call, |field, value| of_timestamp(field, value, None)))
            .form_of("text, timestamptz -> numeric", field_type, |call| map2::<Text, Timestamp, _>(call, |field, value| of_timestamp(field, value, Some(0))))
            .form_of("text, timestamptz, text -> numeric", field_type, |call| map3::<Text, Timestamp, Text, _>(call, of_instant))
            .form_of("text, date -> numeric", field_type, |call| map2::<Text, Date, _>(call, of_date))
            .form_of("text, time -> numeric", field_type, |call| map2::<Text, Time, _>(call, of_time))
            .form_of("text, interval -> numeric", field_type, |call| map2::<Text, Interval, _>(call, of_interval))
            .example("extract(second FROM TIME '20:38:40.5')", "40.500000")
            .example("extract(epoch FROM INTERVAL '1 day 2 hours')", "93600.000000"),
        function("date_part", "the same as `extract`, as a double", "date_part('hour', TIMESTAMP '2001-02-16 20:38:40')", "20")
            .form("text, timestamp -> double precision", |call| part::<Timestamp>(call, |field, value| of_timestamp(field, value, None)))
            .form("text, timestamptz -> double precision", |call| part::<Timestamp>(call, |field, value| of_timestamp(field, value, Some(0))))
            .form("text, timestamptz, text -> double precision", part_in_zone)
            .form("text, date -> double precision", |call| part::<Timestamp>(&as_timestamps(call, 1)?.borrow(call), |field, value| of_timestamp(field, value, None)))
            .form("text, time -> double precision", |call| part::<Time>(call, of_time))
            .form("text, interval -> double precision", |call| part::<Interval>(call, of_interval)),
        function("date_trunc", "the beginning of the millennium, century, decade, year, quarter, month, week, day, hour, minute, second, milliseconds or microseconds; of a timestamptz in the zone given last", "date_trunc('hour', TIMESTAMP '2001-02-16 20:38:40')", "2001-02-16 20:00:00")
            .form("text, timestamp -> timestamp", |call| map2::<Text, Timestamp, _>(call, truncated))
            .form("text, timestamptz -> timestamptz", |call| map2::<Text, Timestamp, _>(call, truncated))
            .form("text, timestamptz, text -> timestamptz", |call| {
                map3::<Text, Timestamp, Text, _>(call, |field, value, zone| {
                    let zone = Zone::named(zone)?;
                    zone.instant(truncated(field, zone.local(value)?)?)
                })
            })
            .form("text, interval -> interval", |call| map2::<Text, Interval, _>(call, truncated_interval))
            .example("date_trunc('week', DATE '2001-02-16')", "2001-02-12 00:00:00+00"),
        function("date_bin", "the beginning of the interval of equal length, counted from an origin", "date_bin('15 minutes', TIMESTAMP '2020-02-11 15:44:17', TIMESTAMP '2001-01-01')", "2020-02-11 15:30:00")
            .form("interval, timestamp, timestamp -> timestamp", |call| map3::<Interval, Timestamp, Timestamp, _>(call, binned))
            .form("interval, timestamptz, timestamptz -> timestamptz", |call| map3::<Interval, Timestamp, Timestamp, _>(call, binned)),
        function("time_bucket", "the same of the bucket that it is in: of days and times counted from the Monday 2000-01-03, of months from January 2000, or from an origin; with an interval last, all are that much later; of a timestamptz in UTC, or in the zone given last", "time_bucket('5 minutes', TIMESTAMP '2020-02-11 15:44:17')", "2020-02-11 15:40:00")
            .form("interval, timestamp -> timestamp", |call| map2::<Interval, Timestamp, _>(call, |width, value| bucket(width, value, None)))
            .form("interval, timestamptz -> timestamptz", |call| map2::<Interval, Timestamp, _>(call, |width, value| bucket(width, value, None)))
            .form("interval, timestamp, timestamp -> timestamp", |call| map3::<Interval, Timestamp, Timestamp, _>(call, |width, value, origin| bucket(width, value, Some(origin))))
            .form("interval, timestamptz, timestamptz -> timestamptz", |call| map3::<Interval, Timestamp, Timestamp, _>(call, |width, value, origin| bucket(width, value, Some(origin))))
            .form("interval, timestamp, interval -> timestamp", |call| map3::<Interval, Timestamp, Interval, _>(call, bucket_later))
            .form("interval, timestamptz, interval -> timestamptz", |call| map3::<Interval, Timestamp, Interval, _>(call, bucket_later))
            .form("interval, timestamptz, text -> timestamptz", |call| {
                map3::<Interval, Timestamp, Text, _>(call, |width, value, zone| {
                    let zone = Zone::named(zone)?;
                    zone.instant(bucket(width, zone.local(value)?, None)?)
                })
            })
            .example("time_bucket('1 month', TIMESTAMP '2020-02-11 15:44:17')", "2020-02-01 00:00:00")
            .example("time_bucket('1 day', TIMESTAMP '2020-02-11 05:44:17', INTERVAL '8 hours')", "2020-02-10 08:00:00"),
        function("age", "the difference in years, months, days and time", "age(TIMESTAMP '2001-04-10', TIMESTAMP '1957-06-13')", "43 years 9 mons 27 days")
            .form("timestamp, timestamp -> interval", |call| map2::<Timestamp, Timestamp, _>(call, age))
            .form("timestamptz, timestamptz -> interval", |call| map2::<Timestamp, Timestamp, _>(call, age)),
        function("justify_days", "with each 30 days made a month", "justify_days(INTERVAL '35 days')", "1 mon 5 days").form("interval -> interval", |call| map1::<Interval, _>(call, justify_days)),
        function("justify_hours", "with each 24 hours made a day", "justify_hours(INTERVAL '27 hours')", "1 day 03:00:00").form("interval -> interval", |call| map1::<Interval, _>(call, justify_hours)),
        function("justify_interval", "both, and all parts with one sign", "justify_interval(INTERVAL '1 mon -1 hour')", "29 days 23:00:00").form("interval -> interval", |call| map1::<Interval, _>(call, justify)),
        function("isfinite", "whether it is neither infinity nor -infinity", "isfinite(DATE '2001-02-16')", "t")
            .form("date -> boolean", |call| map1::<Date, _>(call, |value| Ok(value != i32::MAX && value != i32::MIN)))
            .form("timestamp -> boolean", |call| map1::<Timestamp, _>(call, |value| Ok(is_finite(value))))
            .form("timestamptz -> boolean", |call| map1::<Timestamp, _>(call, |value| Ok(is_finite(value))))
            .form("interval -> boolean", |call| map1::<Interval, _>(call, |_| Ok(true))),
        function("timezone", "local time as an instant, or an instant as local time; written `AT TIME ZONE`", "TIMESTAMP '2001-02-16 20:38:40' AT TIME ZONE 'America/Denver'", "2001-02-17 03:38:40+00")
            .form("text, timestamp -> timestamptz", |call| map2::<Text, Timestamp, _>(call, |zone, local| Zone::named(zone)?.instant(local)))
            .form("text, timestamptz -> timestamp", |call| map2::<Text, Timestamp, _>(call, |zone, instant| Zone::named(zone)?.local(instant)))
            .form("interval, timestamp -> timestamptz", |call| map2::<Interval, Timestamp, _>(call, |zone, local| zone_of(zone)?.instant(local)))
            .form("interval, timestamptz -> timestamp", |call| map2::<Interval, Timestamp, _>(call, |zone, instant| zone_of(zone)?.local(instant)))
            .example("TIMESTAMPTZ '2001-02-16 20:38:40-05' AT TIME ZONE 'America/Denver'", "2001-02-16 18:38:40"),
        function("overlaps", "whether two spans of time have a moment in common; written `(a, b) OVERLAPS (c, d)`", "overlaps(DATE '2001-02-16', DATE '2001-12-21', DATE '2001-10-30', DATE '2002-10-30')", "t")
            .form("timestamp, timestamp, timestamp, timestamp -> boolean", overlap)
            .form("timestamptz, timestamptz, timestamptz, timestamptz -> boolean", overlap)
            .form("time, time, time, time -> boolean", overlap)
            .form("timestamp, interval, timestamp, interval -> boolean", overlap)
            .form("timestamp, timestamp, timestamp, interval -> boolean", overlap)
            .form("timestamp, interval, timestamp, timestamp -> boolean", overlap)
            .form("timestamptz, interval, timestamptz, interval -> boolean", overlap)
            .form("timestamptz, timestamptz, timestamptz, interval -> boolean", overlap)
            .form("timestamptz, interval, timestamptz, timestamptz -> boolean", overlap)
            .form("time, interval, time, interval -> boolean", overlap)
            .form("time, time, time, interval -> boolean", overlap)
            .form("time, interval, time, time -> boolean", overlap)
            .example("(DATE '2001-02-16', INTERVAL '100 days') OVERLAPS (DATE '2001-10-30', DATE '2002-10-30')", "f"),
        function("timestamp_subtract", "behind the operator `-` of timestamps", "TIMESTAMP '2001-09-29 03:00' - TIMESTAMP '2001-07-27 12:00'", "63 days 15:00:00").operator("-")
            .form("timestamp, timestamp -> interval", |call| map2::<Timestamp, Timestamp, _>(call, difference))
            .form("timestamptz, timestamptz -> interval", |call| map2::<Timestamp, Timestamp, _>(call, difference)),
        function("timestamp_add", "behind the operator `+` of dates, timestamps and times with intervals", "TIME '01:00' + INTERVAL '3 hours'", "04:00:00").operator("+")
            .form("timestamp, interval -> timestamp", |call| map2::<Timestamp, Interval, _>(call, shifted))
            .form("timestamptz, interval -> timestamptz", |call| map2::<Timestamp, Interval, _>(call, shifted))
            .form("timestamptz, interval, text -> timestamptz", |call| map3::<Timestamp, Interval, Text, _>(call, shifted_in))
            .form("time, interval -> time", |call| map2::<Time, Interval, _>(call, |time, interval| Ok(time_later(time, interval.nanoseconds / 1_000))))
            .form("timestamp, time -> timestamp", |call| map2::<Timestamp, Time, _>(call, |value, time| shifted(value, of_time_of_day(time))))
            .form("timestamptz, time -> timestamptz", |call| map2::<Timestamp, Time, _>(call, |value, time| shifted(value, of_time_of_day(time))))
            .example("DATE '2001-09-28' + TIME '03:00'", "2001-09-28 03:00:00")
            .example("DATE '2001-09-28' + INTERVAL '1 hour'", "2001-09-28 01:00:00"),
        function("timestamp_minus", "behind the operator `-` of dates, timestamps and times with intervals", "TIME '05:00' - INTERVAL '2 hours'", "03:00:00").operator("-")
            .form("timestamp, interval -> timestamp", |call| map2::<Timestamp, Interval, _>(call, |value, interval| shifted(value, negated(interval)?)))
            .form("timestamptz, interval -> timestamptz", |call| map2::<Timestamp, Interval, _>(call, |value, interval| shifted(value, negated(interval)?)))
            .form("timestamp, time -> timestamp", |call| map2::<Timestamp, Time, _>(call, |value, time| shifted(value, of_time_of_day(-time))))
            .form("timestamptz, time -> timestamptz", |call| map2::<Timestamp, Time, _>(call, |value, time| shifted(value, of_time_of_day(-time))))
            .form("timestamptz, interval, text -> timestamptz", |call| map3::<Timestamp, Interval, Text, _>(call, |value, interval, zone| shifted_in(value, negated(interval)?, zone)))
            .form("time, interval -> time", |call| map2::<Time, Interval, _>(call, |time, interval| Ok(time_later(time, -(interval.nanoseconds / 1_000))))),
        function("time_subtract", "behind the operator `-` of times", "TIME '05:00' - TIME '03:00'", "02:00:00").operator("-")
            .form("time, time -> interval", |call| map2::<Time, Time, _>(call, |a, b| interval_of(0, 0, a - b))),
        function("interval_multiply", "behind the operator `*` of intervals", "INTERVAL '1 hour' * 3.5", "03:30:00").operator("*")
            .form("interval, double precision -> interval", |call| map2::<Interval, Float, _>(call, multiplied))
            .example("2 * INTERVAL '1 day'", "2 days"),
        function("interval_divide", "behind the operator `/` of intervals", "INTERVAL '1 month' / 2", "15 days").operator("/")
            .form("interval, double precision -> interval", |call| map2::<Interval, Float, _>(call, divided)),
        function("date_plus", "the date some days later", "DATE '2024-02-28' + 2", "2024-03-01")
            .operator("+")
            .form("date, integer -> date", |call| map2::<Date, Integer, _>(call, |date, days| moved(date, Some(days)))),
        function("date_minus", "the date some days earlier", "DATE '2024-03-01' - 2", "2024-02-28")
            .operator("-")
            .form("date, integer -> date", |call| map2::<Date, Integer, _>(call, |date, days| moved(date, days.checked_neg()))),
        function("date_subtract", "the days between two dates", "DATE '2024-03-01' - DATE '2024-02-28'", "2")
            .operator("-")
            .form("date, date -> integer", |call| map2::<Date, Date, _>(call, |later, earlier| {
                later.checked_sub(earlier).ok_or_else(|| Error::new(Kind::NumericOutOfRange, "integer out of range"))
            })),
        function("interval_length", "in microseconds, behind comparisons of intervals: a day has 24 hours, a month 30 days", "INTERVAL '1 day' = INTERVAL '24 hours'", "t").operator("=")
            .form_of("interval -> numeric", |_, _| SqlType::Numeric(38, 0), |call| map1::<Interval, _>(call, |value| Ok(length(value))))
            .example("INTERVAL '1 month' > INTERVAL '29 days 23:00'", "t"),
    ]
}

/// A date some days away.
fn moved(date: i32, days: Option<i64>) -> Result<i32> {
    let moved = days.and_then(|days| i64::from(date).checked_add(days)).and_then(|days| i32::try_from(days).ok());
    moved.ok_or_else(|| Error::new(Kind::DatetimeOutOfRange, "date out of range"))
}

fn length(value: IntervalMonthDayNano) -> Decimal {
    Decimal { units: i256::from_i128(interval_length(value)), scale: 0 }
}

/// Arguments of which one has been cast.
pub(super) struct Recast(Vec<ArrayRef>);

impl Recast {
    fn borrow<'a>(&'a self, call: &Call<'a>) -> Call<'a> {
        Call { arguments: &self.0, ..*call }
    }
}

/// The call with the argument at `place`, dates, as timestamps.
fn as_timestamps(call: &Call<'_>, place: usize) -> Result<Recast> {
    let mut arguments = call.arguments.to_vec();
    arguments[place] = arrow::compute::cast(&arguments[place], &SqlType::Timestamp.arrow())?;
    Ok(Recast(arguments))
}

/// `date_part` from the exact field.
fn part<A: Input>(call: &Call<'_>, field: impl for<'a> Fn(&'a str, A::Value<'a>) -> Result<Option<Decimal>>) -> Result<ArrayRef> {
    let names = Text::column(&call.arguments[0]);
    let values = A::column(&call.arguments[1]);
    let mut parts = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let present = call.arguments.iter().all(|array| array.is_valid(row));
        let found = if present { field(Text::value(&names, row), A::value(&values, row))? } else { None };
        parts.push(found.map(as_double));
    }
    Ok(Arc::new(Float64Array::from(parts)))
}

/// `date_part` of an instant's local time in a zone.
fn part_in_zone(call: &Call<'_>) -> Result<ArrayRef> {
    let zones = Text::column(&call.arguments[2]);
    let names = Text::column(&call.arguments[0]);
    let values = Timestamp::column(&call.arguments[1]);
    let mut parts = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let present = call.arguments.iter().all(|array| array.is_valid(row));
        let found =
            if present { of_instant(Text::value(&names, row), Timestamp::value(&values, row), Text::value(&zones, row))? } else { None };
        parts.push(found.map(as_double));
    }
    Ok(Arc::new(Float64Array::from(parts)))
}

fn as_double(value: Decimal) -> f64 {
    value.units.to_i128().unwrap_or(0) as f64 / 10_f64.powi(value.scale.into())
}

/// Digits behind the point of a field.
fn field_scale(field: &str) -> i8 {
    match unit(field) {
        Some("second" | "epoch") => 6,
        Some("milliseconds") => 3,
        Some("julian") => 20,
        _ => 0,
    }
}

fn field_type(fields: &[FieldRef], scalars: &[Option<&ScalarValue>]) -> SqlType {
    // Of a date all fields are whole numbers.
    if *fields[1].data_type() == arrow::datatypes::DataType::Date32 {
        return SqlType::Numeric(24, 0);
    }
    let scale = match scalars.first().copied().flatten().and_then(ScalarValue::try_as_str) {
        Some(Some(field)) => field_scale(field),
        Some(None) => 0,
        None => 6,
    };
    SqlType::Numeric(if scale == 20 { 30 } else { 24 }, scale)
}

/// The one name of a field that has several.
fn unit(field: &str) -> Option<&'static str> {
    Some(match field.trim().to_ascii_lowercase().as_str() {
        "millennium" | "millennia" | "mil" | "mils" => "millennium",
        "century" | "centuries" | "cent" | "c" => "century",
        "decade" | "decades" | "dec" | "decs" => "decade",
        "year" | "years" | "yr" | "yrs" | "y" => "year",
        "isoyear" => "isoyear",
        "quarter" | "qtr" => "quarter",
        "month" | "months" | "mon" | "mons" => "month",
        "week" | "weeks" | "w" => "week",
        "day" | "days" | "d" => "day",
        "hour" | "hours" | "hr" | "hrs" | "h" => "hour",
        "minute" | "minutes" | "min" | "mins" | "m" => "minute",
        "second" | "seconds" | "sec" | "secs" | "s" => "second",
        "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => "milliseconds",
        "microsecond" | "microseconds" | "usec" | "usecs" | "us" => "microseconds",
        "dow" => "dow",
        "isodow" => "isodow",
        "doy" => "doy",
        "epoch" => "epoch",
        "julian" | "j" => "julian",
        "timezone" => "timezone",
        "timezone_hour" => "timezone_hour",
        "timezone_minute" => "timezone_minute",
        _ => return None,
    })
}

fn no_unit(field: &str, type_name: &str) -> Error {
    match unit(field) {
        Some(_) => Error::not_supported(format!("unit \"{field}\" not supported for type {type_name}")),
        None => Error::new(Kind::InvalidParameter, format!("unit \"{field}\" not recognized for type {type_name}")),
    }
}

fn exact(units: i64, scale: i8) -> Option<Decimal> {
    Some(Decimal { units: i256::from_i128(units.into()), scale })
}

/// Years as PostgreSQL counts them: there is none called 0.
fn counted(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// Years in steps of 100 or 1000, from 1 on; those before Christ from -1 down.
fn span_of_years(year: i64, length: i64) -> i64 {
    if year > 0 { (year + length - 1) / length } else { -((length - 1 - (year - 1)) / length) }
}

/// `offset`: how far the zone is ahead, in seconds, if the value has one.
fn of_timestamp(field: &str, micros: i64, offset: Option<i64>) -> Result<Option<Decimal>> {
    let type_name = if offset.is_some() { "timestamp with time zone" } else { "timestamp without time zone" };
    let moment = Moment::of(micros);
    let days = micros.div_euclid(DAY);
    let within_minute = micros.rem_euclid(MINUTE);
    Ok(match (unit(field), offset) {
        (Some("millennium"), _) => exact(span_of_years(moment.year, 1_000), 0),
        (Some("century"), _) => exact(span_of_years(moment.year, 100), 0),
        (Some("decade"), _) => exact(moment.year.div_euclid(10), 0),
        (Some("year"), _) => exact(counted(moment.year), 0),
        (Some("isoyear"), _) => exact(counted(iso_week(days).0), 0),
        (Some("quarter"), _) => exact((moment.month - 1) / 3 + 1, 0),
        (Some("month"), _) => exact(moment.month, 0),
        (Some("week"), _) => exact(iso_week(days).1, 0),
        (Some("day"), _) => exact(moment.day, 0),
        (Some("hour"), _) => exact(moment.hour(), 0),
        (Some("minute"), _) => exact(moment.minute(), 0),
        (Some("second"), _) => exact(within_minute, 6),
        (Some("milliseconds"), _) => exact(within_minute, 3),
        (Some("microseconds"), _) => exact(within_minute, 0),
        (Some("dow"), _) => exact(weekday(days), 0),
        (Some("isodow"), _) => exact((weekday(days) + 6) % 7 + 1, 0),
        (Some("doy"), _) => exact(moment.day_of_year(), 0),
        (Some("epoch"), _) => exact(micros, 6),
        (Some("julian"), _) => julian(days, moment.time),
        (Some("timezone"), Some(seconds)) => exact(seconds, 0),
        (Some("timezone_hour"), Some(seconds)) => exact(seconds / 3_600, 0),
        (Some("timezone_minute"), Some(seconds)) => exact(seconds / 60 % 60, 0),
        _ => return Err(no_unit(field, type_name)),
    })
}

/// The field of an instant's local time in a zone.
fn of_instant(field: &str, micros: i64, zone: &str) -> Result<Option<Decimal>> {
    let zone = Zone::named(zone)?;
    let local = if unit(field) == Some("epoch") { micros } else { zone.local(micros)? };
    of_timestamp(field, local, Some(zone.offset(micros) / SECOND))
}

/// Months and days later in a zone's local time, then so much time.
fn shifted_in(micros: i64, interval: IntervalMonthDayNano, zone: &str) -> Result<i64> {
    let days = IntervalMonthDayNano::new(interval.months, interval.days, 0);
    let zone = Zone::named(zone)?;
    let moved = if interval.months == 0 && interval.days == 0 { micros } else { zone.instant(shifted(zone.local(micros)?, days)?)? };
    moved.checked_add(interval.nanoseconds / 1_000).ok_or_else(timestamp_range)
}

/// Days and their fraction with 20 digits.
fn julian(days: i64, time: i64) -> Option<Decimal> {
    let whole = exact(days - JULIAN_EPOCH, 0)?.rescaled(20, Rounding::Cut)?;
    let part = exact(time, 0)?.divide(exact(DAY, 0)?, 20).ok()?;
    Some(Decimal { units: whole.units.checked_add(part.units)?, scale: 20 })
}

fn of_date(field: &str, days: i32) -> Result<Option<Decimal>> {
    match unit(field) {
        Some("hour" | "minute" | "second" | "milliseconds" | "microseconds" | "timezone" | "timezone_hour" | "timezone_minute") | None => {
            Err(no_unit(field, "date"))
        }
        Some("julian") => Ok(exact(i64::from(days) - JULIAN_EPOCH, 0)),
        Some("epoch") => Ok(exact(i64::from(days) * 86_400, 0)),
        _ => of_timestamp(field, i64::from(days).checked_mul(DAY).ok_or_else(timestamp_range)?, None),
    }
}

fn of_time(field: &str, micros: i64) -> Result<Option<Decimal>> {
    Ok(match unit(field) {
        Some("hour") => exact(micros / HOUR, 0),
        Some("minute") => exact(micros / MINUTE % 60, 0),
        Some("second") => exact(micros % MINUTE, 6),
        Some("milliseconds") => exact(micros % MINUTE, 3),
        Some("microseconds") => exact(micros % MINUTE, 0),
        Some("epoch") => exact(micros, 6),
        _ => return Err(no_unit(field, "time without time zone")),
    })
}

fn of_interval(field: &str, value: IntervalMonthDayNano) -> Result<Option<Decimal>> {
    let (months, micros) = (i64::from(value.months), value.nanoseconds / 1_000);
    Ok(match unit(field) {
        Some("millennium") => exact(months / 12_000, 0),
        Some("century") => exact(months / 1_200, 0),
        Some("decade") => exact(months / 120, 0),
        Some("year") => exact(months / 12, 0),
        Some("quarter") => exact(months % 12 / 3 + 1, 0),
        Some("month") => exact(months % 12, 0),
        Some("day") => exact(value.days.into(), 0),
        Some("hour") => exact(micros / HOUR, 0),
        Some("minute") => exact(micros / MINUTE % 60, 0),
        Some("second") => exact(micros % MINUTE, 6),
        Some("milliseconds") => exact(micros % MINUTE, 3),
        Some("microseconds") => exact(micros % MINUTE, 0),
        Some("epoch") => {
            // A year has 365.25 days here, a month 30.
            let days = i128::from(months / 12) * 1_461 * 6 + i128::from(months % 12) * 720 + i128::from(value.days) * 24;
            Some(Decimal { units: i256::from_i128(days * i128::from(HOUR) + i128::from(micros)), scale: 6 })
        }
        _ => return Err(no_unit(field, "interval")),
    })
}

fn truncated(field: &str, micros: i64) -> Result<i64> {
    let step = |size: i64| micros.checked_sub(micros.rem_euclid(size)).ok_or_else(timestamp_range);
    let moment = Moment::of(micros);
    let first = |year: i64, month: i64| Moment { year, month, day: 1, time: 0 }.to_micros();
    // The first year of each span is one behind the round number.
    let span = |length: i64| first((moment.year - 1).div_euclid(length) * length + 1, 1);
    match unit(field) {
        Some("microseconds") => Ok(micros),
        Some("milliseconds") => step(1_000),
        Some("second") => step(SECOND),
        Some("minute") => step(MINUTE),
        Some("hour") => step(HOUR),
        Some("day") => step(DAY),
        Some("week") => {
            let days = micros.div_euclid(DAY);
            (days - (weekday(days) + 6) % 7).checked_mul(DAY).ok_or_else(timestamp_range)
        }
        Some("month") => first(moment.year, moment.month),
        Some("quarter") => first(moment.year, (moment.month - 1) / 3 * 3 + 1),
        Some("year") => first(moment.year, 1),
        Some("decade") => first(moment.year.div_euclid(10) * 10, 1),
        Some("century") => span(100),
        Some("millennium") => span(1_000),
        _ => Err(no_beginning(field, "timestamp without time zone")),
    }
}

/// What has no beginning that a value could be cut to.
fn no_beginning(field: &str, type_name: &str) -> Error {
    match unit(field) {
        Some("week" | "timezone" | "timezone_hour" | "timezone_minute") => no_unit(field, type_name),
        _ => Error::new(Kind::InvalidParameter, format!("unit \"{field}\" not recognized for type {type_name}")),
    }
}

fn truncated_interval(field: &str, value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let (months, days, nanos) = (value.months, value.days, value.nanoseconds);
    let cut_months = |size: i32| IntervalMonthDayNano::new(months / size * size, 0, 0);
    let cut_time = |size: i64| IntervalMonthDayNano::new(months, days, nanos / (size * 1_000) * (size * 1_000));
    Ok(match unit(field) {
        Some("millennium") => cut_months(12_000),
        Some("century") => cut_months(1_200),
        Some("decade") => cut_months(120),
        Some("year") => cut_months(12),
        Some("quarter") => cut_months(3),
        Some("month") => cut_months(1),
        Some("day") => IntervalMonthDayNano::new(months, days, 0),
        Some("hour") => cut_time(HOUR),
        Some("minute") => cut_time(MINUTE),
        Some("second") => cut_time(SECOND),
        Some("milliseconds") => cut_time(1_000),
        Some("microseconds") => cut_time(1),
        _ => return Err(no_beginning(field, "interval")),
    })
}

fn binned(stride: IntervalMonthDayNano, value: i64, origin: i64) -> Result<i64> {
    if stride.months != 0 {
        return Err(Error::not_supported("timestamps cannot be binned into intervals containing months or years"));
    }
    let size =
        i64::from(stride.days).checked_mul(DAY).and_then(|days| days.checked_add(stride.nanoseconds / 1_000)).ok_or_else(interval_range)?;
    if size <= 0 {
        return Err(Error::new(Kind::DatetimeOutOfRange, "stride must be greater than zero"));
    }
    let distance = value.checked_sub(origin).ok_or_else(interval_range)?;
    value.checked_sub(distance.rem_euclid(size)).ok_or_else(timestamp_range)
}

/// Where buckets start, unless their origin is given: weeks on a Monday, years in January.
pub(in crate::plan) const BUCKET_ORIGIN_US: i64 = 946_857_600_000_000;

/// The start of the bucket that a value is in.
fn bucket(width: IntervalMonthDayNano, value: i64, origin: Option<i64>) -> Result<i64> {
    let origin = origin.unwrap_or(BUCKET_ORIGIN_US);
    if width.months == 0 || !is_finite(value) {
        return if is_finite(value) { binned(width, value, origin) } else { Ok(value) };
    }
    if width.days != 0 || width.nanoseconds != 0 {
        return Err(Error::new(Kind::InvalidParameter, "a time bucket of months has neither days nor a time"));
    }
    if width.months < 0 {
        return Err(Error::new(Kind::DatetimeOutOfRange, "stride must be greater than zero"));
    }
    month_bin(value, width.months, origin).ok_or_else(timestamp_range)
}

/// The same of buckets that all are later.
fn bucket_later(width: IntervalMonthDayNano, value: i64, offset: IntervalMonthDayNano) -> Result<i64> {
    shifted(bucket(width, shifted(value, negated(offset)?)?, None)?, offset)
}

/// Field by field, borrowing from the next larger; a month is borrowed with the length of the earlier one's.
fn age(later: i64, earlier: i64) -> Result<IntervalMonthDayNano> {
    let (first, last, negative) = if later < earlier { (later, earlier, true) } else { (earlier, later, false) };
    let (a, b) = (Moment::of(last), Moment::of(first));
    let mut months = (a.year - b.year) * 12 + a.month - b.month;
    let (mut days, mut time) = (a.day - b.day, a.time - b.time);
    if time < 0 {
        (time, days) = (time + DAY, days - 1);
    }
    while days < 0 {
        days += super::calendar::days_in_month(b.year, b.month);
        months -= 1;
    }
    if negative { interval_of(-months, -days, -time) } else { interval_of(months, days, time) }
}

/// Days and what is left of one.
fn difference(a: i64, b: i64) -> Result<IntervalMonthDayNano> {
    let micros = a.checked_sub(b).ok_or_else(interval_range)?;
    interval_of(0, micros / DAY, micros % DAY)
}

fn justify_days(value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let (mut months, mut days) = (i64::from(value.months) + i64::from(value.days / 30), i64::from(value.days % 30));
    if months > 0 && days < 0 {
        (days, months) = (days + 30, months - 1);
    } else if months < 0 && days > 0 {
        (days, months) = (days - 30, months + 1);
    }
    interval_of(months, days, value.nanoseconds / 1_000)
}

fn justify_hours(value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let micros = value.nanoseconds / 1_000;
    let (mut days, mut time) = (i64::from(value.days) + micros / DAY, micros % DAY);
    if days > 0 && time < 0 {
        (time, days) = (time + DAY, days - 1);
    } else if days < 0 && time > 0 {
        (time, days) = (time - DAY, days + 1);
    }
    interval_of(value.months.into(), days, time)
}

fn justify(value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let micros = value.nanoseconds / 1_000;
    let (mut days, mut time) = (i64::from(value.days) + micros / DAY, micros % DAY);
    let mut months = i64::from(value.months) + days / 30;
    days %= 30;
    if months > 0 && (days < 0 || (days == 0 && time < 0)) {
        (days, months) = (days + 30, months - 1);
    } else if months < 0 && (days > 0 || (days == 0 && time > 0)) {
        (days, months) = (days - 30, months + 1);
    }
    if days > 0 && time < 0 {
        (time, days) = (time + DAY, days - 1);
    } else if days < 0 && time > 0 {
        (time, days) = (time - DAY, days + 1);
    }
    interval_of(months, days, time)
}

fn is_finite(micros: i64) -> bool {
    micros != i64::MAX && micros != i64::MIN
}

fn zone_of(interval: IntervalMonthDayNano) -> Result<Zone> {
    if interval.months != 0 || interval.days != 0 {
        return Err(Error::new(Kind::InvalidParameter, "interval time zone must not include months or days"));
    }
    Ok(Zone::Fixed(interval.nanoseconds / 1_000))
}

/// Two spans have a moment in common; their ends, which are not part of them, may come first, or be given by how far they are away.
fn overlap(call: &Call<'_>) -> Result<ArrayRef> {
    let (first, second) = (spans(call, 0)?, spans(call, 2)?);
    let both = first.into_iter().zip(second).map(|(first, second)| {
        let (one, other) = first.zip(second)?;
        // Where one begins first, it decides when that ends; the end of the other must be known to say that they do not meet.
        let (earlier, later) = if one.0 <= other.0 { (one, other) } else { (other, one) };
        match (earlier, later) {
            ((start, Some(_)), (other_start, Some(_))) if start == other_start => Some(true),
            ((start, _), (other_start, _)) if start == other_start => None,
            ((_, None), _) => None,
            ((_, Some(end)), (other_start, _)) if other_start < end => Some(true),
            (_, (_, other_end)) => other_end.map(|_| false),
        }
    });
    Ok(Arc::new(both.collect::<BooleanArray>()))
}

/// The earlier end of a span of time and the later one, in microseconds; one end, if only that is known.
type Span = (i64, Option<i64>);

/// The spans from the argument at `place` to what the next one says; `None` for those without any end.
fn spans(call: &Call<'_>, place: usize) -> Result<Vec<Option<Span>>> {
    let of_day = matches!(call.arguments[place].data_type(), DataType::Time64(_));
    let (start, end) = (cast(&call.arguments[place], &DataType::Int64)?, &call.arguments[place + 1]);
    let starts = start.as_primitive::<Int64Type>();
    let lengths = end.as_primitive_opt::<IntervalMonthDayNanoType>();
    let ends = if lengths.is_some() { None } else { Some(cast(end, &DataType::Int64)?) };
    let span = |row: usize| {
        match (starts.is_valid(row), end.is_valid(row)) {
            (true, true) => {}
            (true, false) => return Ok(Some((starts.value(row), None))),
            (false, _) => {
                let ends = ends.as_ref().filter(|ends| ends.is_valid(row));
                return Ok(ends.map(|ends| (ends.as_primitive::<Int64Type>().value(row), None)));
            }
        }
        let start = starts.value(row);
        let end = match (lengths, &ends) {
            (Some(lengths), _) if of_day => time_later(start, lengths.value(row).nanoseconds / 1_000),
            (Some(lengths), _) => shifted(start, lengths.value(row))?,
            (None, Some(ends)) => ends.as_primitive::<Int64Type>().value(row),
            (None, None) => start,
        };
        Ok(Some((start.min(end), Some(start.max(end)))))
    };
    (0..call.rows).map(span).collect()
}

fn negated(value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    match (value.months.checked_neg(), value.days.checked_neg(), value.nanoseconds.checked_neg()) {
        (Some(months), Some(days), Some(nanos)) => Ok(IntervalMonthDayNano::new(months, days, nanos)),
        _ => Err(interval_range()),
    }
}

/// So long after midnight, in microseconds, as an interval.
fn of_time_of_day(time: i64) -> IntervalMonthDayNano {
    IntervalMonthDayNano::new(0, 0, time.saturating_mul(1_000))
}

fn time_later(time: i64, micros: i64) -> i64 {
    (time + micros % DAY).rem_euclid(DAY)
}

/// Fractions of months go on into days of which a month has 30, those of days into time.
fn multiplied(value: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano> {
    scaled(value, &|amount| amount * factor)
}

/// The mean of `count` intervals with this sum.
pub(in crate::plan) fn interval_mean(sum: IntervalMonthDayNano, count: i64) -> Result<IntervalMonthDayNano> {
    divided(sum, count as f64)
}

fn divided(value: IntervalMonthDayNano, divisor: f64) -> Result<IntervalMonthDayNano> {
    if divisor == 0.0 {
        return Err(super::numeric::division_by_zero());
    }
    scaled(value, &|amount| amount / divisor)
}

/// As PostgreSQL's `interval_mul`, which rounds what cascades to microseconds.
fn scaled(value: IntervalMonthDayNano, scale: &dyn Fn(f64) -> f64) -> Result<IntervalMonthDayNano> {
    let whole = |amount: f64, limit: f64| if amount.is_nan() || amount.abs() >= limit { Err(interval_range()) } else { Ok(amount.trunc()) };
    let rounded = |amount: f64| (amount * 1e6).round_ties_even() / 1e6;
    let months = whole(scale(f64::from(value.months)), 2_147_483_648.0)?;
    let days = whole(scale(f64::from(value.days)), 2_147_483_648.0)?;
    let month_rest = rounded((scale(f64::from(value.months)) - months) * 30.0);
    let mut seconds = rounded((scale(f64::from(value.days)) - days + month_rest - month_rest.trunc()) * 86_400.0);
    let mut more_days = 0.0;
    if seconds.abs() >= 86_400.0 {
        more_days = (seconds / 86_400.0).trunc();
        seconds -= more_days * 86_400.0;
    }
    let days = whole(days + month_rest.trunc() + more_days, 2_147_483_648.0)?;
    let micros = (scale((value.nanoseconds / 1_000) as f64) + seconds * 1e6).round_ties_even();
    let micros = whole(micros, 9.2e15)?;
    interval_of(months as i64, days as i64, micros as i64)
}
