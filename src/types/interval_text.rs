//! Intervals as text, in each of the four styles that a session may ask for (`EncodeInterval` in PostgreSQL's `datetime.c`).
//!
//! ```text
//! postgres          1 year 2 mons -3 days +04:05:06.7
//! postgres_verbose  @ 1 year 2 mons -3 days 4 hours 5 mins 6.7 secs
//! sql_standard      +1-2 -3 +4:05:06.7
//! iso_8601          P1Y2M-3DT4H5M6.7S
//! ```

use super::text_out::{push_fraction, push_integer, push_padded, push_time};
use crate::error::{Error, Kind, Result};

/// `IntervalStyle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntervalStyle {
    /// `1 day 02:03:04`, where a sign is written once the one before it differs.
    #[default]
    Postgres,
    /// `@ 1 day 2 hours 3 mins 4 secs`, with `ago` behind one that begins with a negative part.
    PostgresVerbose,
    /// `1 2:03:04`, the standard's literals; with a sign before each part where the standard has no literal for it.
    SqlStandard,
    /// `P1DT2H3M4S`.
    Iso8601,
}

impl std::str::FromStr for IntervalStyle {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "postgres" => Ok(IntervalStyle::Postgres),
            "postgres_verbose" => Ok(IntervalStyle::PostgresVerbose),
            "sql_standard" => Ok(IntervalStyle::SqlStandard),
            "iso_8601" => Ok(IntervalStyle::Iso8601),
            _ => Err(Error::new(Kind::InvalidParameter, format!("there is no style of intervals \"{name}\""))),
        }
    }
}

/// An interval by its parts. Hours, minutes and what is below them have one sign.
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    /// Seconds, in microseconds.
    micros: i64,
}

/// Appends an interval.
pub(super) fn push_interval(out: &mut String, months: i32, days: i32, nanos: i64, style: IntervalStyle) {
    let micros = nanos / 1_000;
    let parts = Parts {
        years: i64::from(months / 12),
        months: i64::from(months % 12),
        days: i64::from(days),
        hours: micros / 3_600_000_000,
        minutes: micros / 60_000_000 % 60,
        micros: micros % 60_000_000,
    };
    match style {
        IntervalStyle::Postgres => push_postgres(out, &parts, micros),
        IntervalStyle::PostgresVerbose => push_verbose(out, &parts),
        IntervalStyle::SqlStandard => push_standard(out, &parts, micros),
        IntervalStyle::Iso8601 => push_iso(out, &parts, micros),
    }
}

fn push_postgres(out: &mut String, parts: &Parts, micros: i64) {
    let (mut empty, mut after_negative) = (true, false);
    for (value, unit) in [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day")] {
        if value == 0 {
            continue;
        }
        if !empty {
            out.push(' ');
        }
        if after_negative && value > 0 {
            out.push('+');
        }
        push_counted(out, value, unit);
        (empty, after_negative) = (false, value < 0);
    }
    if !empty && micros == 0 {
        return;
    }
    if !empty {
        out.push(' ');
    }
    if micros < 0 {
        out.push('-');
    } else if after_negative {
        out.push('+');
    }
    push_time(out, micros.saturating_abs());
}

/// The first part that is not zero is written without its sign, which `ago` tells, and decides what sign the others are written with.
fn push_verbose(out: &mut String, parts: &Parts) {
    out.push('@');
    let whole = [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day"), (parts.hours, "hour"), (parts.minutes, "min")];
    let all = whole.iter().map(|(value, _)| *value).chain([parts.micros]);
    let Some(first) = all.clone().find(|value| *value != 0) else { return out.push_str(" 0") };
    let sign = first.signum();
    for (value, unit) in whole.into_iter().filter(|(value, _)| *value != 0) {
        out.push(' ');
        push_counted(out, value * sign, unit);
    }
    if parts.micros != 0 {
        out.push(' ');
        push_seconds(out, parts.micros * sign, 1);
        out.push_str(if parts.micros.abs() == 1_000_000 { " sec" } else { " secs" });
    }
    if sign < 0 {
        out.push_str(" ago");
    }
}

/// The standard has either years and months or days and times, and one sign for all of it.
fn push_standard(out: &mut String, parts: &Parts, micros: i64) {
    let all = [parts.years, parts.months, parts.days, micros];
    let (negative, positive) = (all.iter().any(|value| *value < 0), all.iter().any(|value| *value > 0));
    let (has_months, has_time) = (parts.years != 0 || parts.months != 0, parts.days != 0 || micros != 0);
    let sign = |below_zero: bool| if below_zero { '-' } else { '+' };
    if !negative && !positive {
        return out.push('0');
    }
    let mixed = (negative && positive) || (has_months && has_time);
    if !mixed && negative {
        out.push('-');
    }
    if mixed {
        out.push(sign(parts.years < 0 || parts.months < 0));
    }
    if mixed || has_months {
        push_integer(out, parts.years.abs());
        out.push('-');
        push_integer(out, parts.months.abs());
    }
    if mixed {
        out.push(' ');
        out.push(sign(parts.days < 0));
    }
    if mixed || parts.days != 0 {
        push_integer(out, parts.days.abs());
        out.push(' ');
    }
    if mixed {
        out.push(sign(micros < 0));
    }
    if mixed || !has_months {
        push_integer(out, parts.hours.abs());
        out.push(':');
        push_padded(out, parts.minutes.abs(), 2);
        out.push(':');
        push_seconds(out, parts.micros.abs(), 2);
    }
}

fn push_iso(out: &mut String, parts: &Parts, micros: i64) {
    if parts.years == 0 && parts.months == 0 && parts.days == 0 && micros == 0 {
        return out.push_str("PT0S");
    }
    let push = |out: &mut String, parts: &[(i64, char)]| {
        for (value, unit) in parts.iter().filter(|(value, _)| *value != 0) {
            push_integer(out, *value);
            out.push(*unit);
        }
    };
    out.push('P');
    push(out, &[(parts.years, 'Y'), (parts.months, 'M'), (parts.days, 'D')]);
    if micros == 0 {
        return;
    }
    out.push('T');
    push(out, &[(parts.hours, 'H'), (parts.minutes, 'M')]);
    if parts.micros != 0 {
        push_seconds(out, parts.micros, 1);
        out.push('S');
    }
}

/// `1 year`, `-2 mons`.
fn push_counted(out: &mut String, value: i64, unit: &str) {
    push_integer(out, value);
    out.push(' ');
    out.push_str(unit);
    if value != 1 {
        out.push('s');
    }
}

/// Seconds with what is behind their point, `width` digits before it at the least.
fn push_seconds(out: &mut String, micros: i64, width: u32) {
    if micros < 0 {
        out.push('-');
    }
    push_padded(out, micros.abs() / 1_000_000, width);
    push_fraction(out, micros.abs() % 1_000_000);
}

#[cfg(test)]
mod tests {
    use super::{IntervalStyle, push_interval};

    /// What PostgreSQL 15 prints of the same intervals.
    #[test]
    fn every_style_is_that_of_postgresql() {
        let day = 86_400_000_000_000_i64;
        let cases = [
            ((14, 3, 14_706_789_000_000), "@ 1 year 2 mons 3 days 4 hours 5 mins 6.789 secs", "+1-2 +3 +4:05:06.789", "P1Y2M3DT4H5M6.789S"),
            ((14, 0, 0), "@ 1 year 2 mons", "1-2", "P1Y2M"),
            ((-14, 0, 0), "@ 1 year 2 mons ago", "-1-2", "P-1Y-2M"),
            ((0, 1, 7_384_000_000_000), "@ 1 day 2 hours 3 mins 4 secs", "1 2:03:04", "P1DT2H3M4S"),
            ((0, -1, -1_000_000_000), "@ 1 day 1 sec ago", "-1 0:00:01", "P-1DT-1S"),
            ((0, 0, 0), "@ 0", "0", "PT0S"),
            ((-1, 1, 0), "@ 1 mon -1 days ago", "-0-1 +1 +0:00:00", "P-1M1D"),
            ((0, -1, 3_600_000_000_000), "@ 1 day -1 hours ago", "+0-0 -1 +1:00:00", "P-1DT1H"),
            ((0, 0, -500_000_000), "@ 0.5 secs ago", "-0:00:00.5", "PT-0.5S"),
            ((0, 0, 50 * day + 60_000_000_000), "@ 1200 hours 1 min", "1200:01:00", "PT1200H1M"),
            ((0, 2, -1_500_000_000), "@ 2 days -1.5 secs", "+0-0 +2 -0:00:01.5", "P2DT-1.5S"),
        ];
        for ((months, days, nanos), verbose, standard, iso) in cases {
            let text = |style: IntervalStyle| {
                let mut out = String::new();
                push_interval(&mut out, months, days, nanos, style);
                out
            };
            let styles = [IntervalStyle::PostgresVerbose, IntervalStyle::SqlStandard, IntervalStyle::Iso8601];
            assert_eq!(styles.map(text), [verbose, standard, iso]);
        }
    }
}
