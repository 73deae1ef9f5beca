//! Intervals from text: `1 year 2 mons -3 days 04:05:06.7`, `2 hours ago`, `1-2`, `P1Y2M3DT4H5M6S`.
//!
//! A fraction of a unit goes on into the smaller ones, as in PostgreSQL: half a month is 15 days, half a day 12 hours.

use arrow::datatypes::IntervalMonthDayNano;

use super::{invalid, shortened};
use crate::error::{Error, Kind, Result};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const NANOS_PER_DAY: i128 = 86_400 * NANOS_PER_SECOND;

/// Digits behind a point that are read: nanoseconds are the finest that an interval holds.
const FRACTION_DIGITS_MAX: usize = 9;

/// One whole, in the unit that fractions are read in.
const WHOLE: i128 = 1_000_000_000;

/// Fields of an interval.
const MONTH: u8 = 1;
const DAY: u8 = 2;
const HOUR: u8 = 4;
const MINUTE: u8 = 8;
const SECOND: u8 = 16;
const YEAR: u8 = 32;
const WEEK: u8 = 64;

/// Months, days and nanoseconds of the text.
pub(super) fn interval(text: &str) -> Result<IntervalMonthDayNano> {
    let mut sum = Sum::default();
    let trimmed = text.trim_ascii();
    let read = match trimmed.strip_prefix(['P', 'p']) {
        Some(iso) => sum.add_iso(iso),
        None => sum.add_words(trimmed),
    };
    read.ok_or_else(|| invalid("interval", text))?;
    let field = || Error::new(Kind::DatetimeOutOfRange, format!("interval field value out of range: \"{}\"", shortened(text)));
    Ok(IntervalMonthDayNano::new(
        i32::try_from(sum.months).map_err(|_| field())?,
        i32::try_from(sum.days).map_err(|_| field())?,
        i64::try_from(sum.nanos).map_err(|_| field())?,
    ))
}

/// What the parts of a text add up to; wide enough that no sum of parsable parts overflows.
#[derive(Default)]
struct Sum {
    /// The fields that have been given, each of which may be given once: bits.
    given: u8,
    months: i128,
    days: i128,
    nanos: i128,
}

impl Sum {
    /// Adds `amount` (in billionths) of a unit.
    fn add(&mut self, amount: i128, unit: &str) -> Option<()> {
        let months = |count: i128| (count, 0, 0);
        let days = |count: i128| (0, count, 0);
        let nanos = |count: i128| (0, 0, count);
        self.note(match unit {
            "year" | "years" | "yr" | "yrs" | "y" => YEAR,
            "month" | "months" | "mon" | "mons" => MONTH,
            "week" | "weeks" | "w" => WEEK,
            "day" | "days" | "d" => DAY,
            "hour" | "hours" | "hr" | "hrs" | "h" => HOUR,
            "minute" | "minutes" | "min" | "mins" | "m" => MINUTE,
            "second" | "seconds" | "sec" | "secs" | "s" => SECOND,
            // Those that are made of others may come together with them, and twice.
            _ => 0,
        })?;
        let (months, days, nanos) = match unit {
            "millennium" | "millennia" | "mil" | "mils" => months(12_000),
            "century" | "centuries" | "cent" | "c" => months(1_200),
            "decade" | "decades" | "dec" | "decs" => months(120),
            "year" | "years" | "yr" | "yrs" | "y" => months(12),
            "month" | "months" | "mon" | "mons" => months(1),
            "week" | "weeks" | "w" => days(7),
            "day" | "days" | "d" => days(1),
            "hour" | "hours" | "hr" | "hrs" | "h" => nanos(3_600 * NANOS_PER_SECOND),
            "minute" | "minutes" | "min" | "mins" | "m" => nanos(60 * NANOS_PER_SECOND),
            "second" | "seconds" | "sec" | "secs" | "s" => nanos(NANOS_PER_SECOND),
            "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => nanos(1_000_000),
            "microsecond" | "microseconds" | "usec" | "usecs" | "us" => nanos(1_000),
            _ => return None,
        };
        // A fraction of years becomes whole months; a fraction of months goes on as days of 30, one of days as hours of 24.
        let all_months = amount.checked_mul(months)?;
        self.months += all_months / WHOLE;
        let rest_of_month = if months == 1 { all_months % WHOLE * 30 } else { 0 };
        let all_days = amount.checked_mul(days)?.checked_add(rest_of_month)?;
        self.days += all_days / WHOLE;
        let rest_of_day = all_days % WHOLE * (NANOS_PER_DAY / WHOLE);
        self.nanos += amount.checked_mul(nanos)? / WHOLE + rest_of_day;
        Some(())
    }

    /// Notes that fields are given; `None` if one of them has been.
    fn note(&mut self, fields: u8) -> Option<()> {
        let again = self.given & fields;
        self.given |= fields;
        (again == 0).then_some(())
    }

    /// The form behind `P`.
    fn add_iso(&mut self, text: &str) -> Option<()> {
        if text.is_empty() || text.ends_with(['T', 't']) {
            return None;
        }
        let mut in_time = false;
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(['T', 't']) {
                if in_time {
                    return None;
                }
                in_time = true;
                rest = after;
                continue;
            }
            let (amount, after) = number(rest)?;
            let designator = after.chars().next()?.to_ascii_uppercase();
            let unit = match (in_time, designator) {
                (false, 'Y') => "year",
                (false, 'M') => "month",
                (false, 'W') => "week",
                (false, 'D') => "day",
                (true, 'H') => "hour",
                (true, 'M') => "minute",
                (true, 'S') => "second",
                _ => return None,
            };
            self.add(amount, unit)?;
            rest = &after[1..];
        }
        Some(())
    }

    /// PostgreSQL's own form, and the standard's.
    fn add_words(&mut self, text: &str) -> Option<()> {
        let lower = text.to_ascii_lowercase();
        let mut rest = lower.strip_prefix('@').unwrap_or(&lower).trim_ascii();
        let ago = rest.strip_suffix("ago").map(str::trim_ascii_end);
        rest = ago.unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            rest = self.add_part(rest)?.trim_ascii_start();
        }
        if ago.is_some() {
            (self.months, self.days, self.nanos) = (-self.months, -self.days, -self.nanos);
        }
        Some(())
    }

    /// The part at the start of `text`: a time, `years-months`, or a number and its unit. Gives what comes after it.
    fn add_part<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let end = text.find(|character: char| character.is_ascii_whitespace()).unwrap_or(text.len());
        let (part, after) = text.split_at(end);
        if part.contains(':') {
            self.note(HOUR | MINUTE | SECOND)?;
            self.nanos += clock(part)?;
            return Some(after);
        }
        let (sign, unsigned) = signed(part);
        if let Some((years, months)) = unsigned.split_once('-') {
            let (years, months): (u32, u32) = (years.parse().ok()?, months.parse().ok()?);
            self.note(YEAR | MONTH)?;
            self.months += sign * (i128::from(years) * 12 + i128::from(months));
            return (months < 12).then_some(after);
        }
        let (amount, behind) = number(text)?;
        let behind = behind.trim_ascii_start();
        let letters = behind.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, after) = behind.split_at(letters);
        match unit {
            // A number before a time is days, one without anything is seconds.
            "" if after.trim_ascii_start().contains(':') => self.add(amount, "day")?,
            "" if after.is_empty() => self.add(amount, "second")?,
            unit => self.add(amount, unit)?,
        }
        Some(after)
    }
}

/// `[-]H:MM[:SS[.f]]` in nanoseconds.
fn clock(text: &str) -> Option<i128> {
    let (sign, unsigned) = signed(text);
    let mut fields = unsigned.splitn(3, ':');
    let hours: u32 = fields.next()?.parse().ok()?;
    let minutes: u32 = fields.next()?.parse().ok()?;
    let seconds = match fields.next() {
        None => 0,
        Some(seconds) if seconds.starts_with(|first: char| first.is_ascii_digit()) => match number(seconds)? {
            (amount, "") => amount,
            _ => return None,
        },
        Some(_) => return None,
    };
    (minutes < 60 && seconds < 61 * WHOLE)
        .then(|| sign * ((i128::from(hours) * 60 + i128::from(minutes)) * 60 * NANOS_PER_SECOND + seconds))
}

fn signed(text: &str) -> (i128, &str) {
    match text.strip_prefix('-') {
        Some(unsigned) => (-1, unsigned),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// A decimal number in billionths, and what comes after it.
fn number(text: &str) -> Option<(i128, &str)> {
    let (sign, unsigned) = signed(text);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, after) = unsigned.split_at(digits(unsigned));
    let (fraction, after) = match after.strip_prefix('.') {
        None => ("", after),
        Some(fraction) => fraction.split_at(digits(fraction)),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut amount = if whole.is_empty() { 0 } else { i128::from(whole.parse::<i64>().ok()?) };
    for place in 0..FRACTION_DIGITS_MAX {
        amount = amount * 10 + i128::from(fraction.as_bytes().get(place).map_or(0, |digit| digit - b'0'));
    }
    Some((sign * amount, after))
}

#[cfg(test)]
mod tests {
    use super::interval;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn postgres_standard_and_iso_forms() {
        for (text, months, days, nanos) in [
            ("1 day 02:03:04", 0, 1, 2 * HOUR + 184_000_000_000),
            ("2 hours", 0, 0, 2 * HOUR),
            ("-2 hours", 0, 0, -2 * HOUR),
            ("1 year 2 mons -3 days", 14, -3, 0),
            ("@ 1 minute ago", 0, 0, -60_000_000_000),
            ("P1DT2H", 0, 1, 2 * HOUR),
            ("P1Y2M3DT0.5S", 14, 3, 500_000_000),
            ("1-2", 14, 0, 0),
            ("1.5 days", 0, 1, 12 * HOUR),
            ("1.5 months", 1, 15, 0),
            ("1.5 years", 18, 0, 0),
            ("1.5 weeks", 0, 10, 12 * HOUR),
            ("5", 0, 0, 5_000_000_000),
            ("3 04:00:00", 0, 3, 4 * HOUR),
            ("1h30m", 0, 0, HOUR + HOUR / 2),
            ("00:00:00.000001", 0, 0, 1_000),
            ("-00:30", 0, 0, -HOUR / 2),
            ("250 ms", 0, 0, 250_000_000),
        ] {
            let value = interval(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((value.months, value.days, value.nanoseconds), (months, days, nanos), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "abc",
            "1 lightyear",
            "P",
            "PT",
            "1 day x",
            "1:99",
            "ago",
            "P1H",
            "--1 day",
            "1 day 1 day",
            "1 week 1 week",
            "1 hour 02:03:04",
        ] {
            assert_eq!(interval(text).unwrap_err().message(), format!("invalid input syntax for type interval: \"{text}\""));
        }
        assert_eq!(interval("99999999999 days").unwrap_err().kind().sqlstate(), "22008");
    }
}
