//! Days and microseconds taken apart into the fields that people use, and put together again (proleptic Gregorian, astronomical years).

use std::str::FromStr;

use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, TimeZone};
use chrono_tz::{OffsetName, Tz};

use crate::error::{Error, Kind, Result};
use crate::types::{civil, instant_of, offset_us};

/// Microseconds per second, minute, hour and day.
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// The day of 4714-11-24 BC, from which Julian days are counted.
pub(super) const JULIAN_EPOCH: i64 = -2_440_588;

/// Names as they are spelled out.
pub(super) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
pub(super) const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment in fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// 0 is 1 BC.
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    /// Microseconds since midnight.
    pub(super) time: i64,
}

impl Moment {
    /// Of microseconds since 1970-01-01 00:00.
    pub(super) fn of(micros: i64) -> Moment {
        let (year, month, day) = civil(micros.div_euclid(DAY));
        Moment { year, month, day, time: micros.rem_euclid(DAY) }
    }

    pub(super) fn hour(&self) -> i64 {
        self.time / HOUR
    }

    pub(super) fn minute(&self) -> i64 {
        self.time / MINUTE % 60
    }

    pub(super) fn second(&self) -> i64 {
        self.time / SECOND % 60
    }

    pub(super) fn micros(&self) -> i64 {
        self.time % SECOND
    }

    pub(super) fn days(&self) -> i64 {
        days_of(self.year, self.month, self.day)
    }

    /// From 1.
    pub(super) fn day_of_year(&self) -> i64 {
        self.days() - days_of(self.year, 1, 1) + 1
    }

    pub(super) fn to_micros(self) -> Result<i64> {
        self.days().checked_mul(DAY).and_then(|start| start.checked_add(self.time)).ok_or_else(timestamp_range)
    }
}

/// 0 is Sunday.
pub(super) fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// The year and week that ISO 8601 gives a day.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year of its Thursday.
    let thursday = days - (weekday(days) + 6).rem_euclid(7) + 3;
    let (year, ..) = civil(thursday);
    (year, (thursday - days_of(year, 1, 1)) / 7 + 1)
}

/// The Monday on which a year of ISO 8601 begins.
pub(super) fn iso_year_start(year: i64) -> i64 {
    let fourth = days_of(year, 1, 4);
    fourth - (weekday(fourth) + 6).rem_euclid(7)
}

/// Days since 1970-01-01 of a date (Hinnant, "chrono-Compatible Low-Level Date Algorithms"); a day past the month's end goes on into the next.
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(super) fn timestamp_range() -> Error {
    Error::new(Kind::DatetimeOutOfRange, "timestamp out of range")
}

pub(in crate::plan) fn interval_range() -> Error {
    Error::new(Kind::DatetimeOutOfRange, "interval out of range")
}

/// An interval of microseconds.
pub(super) fn interval_of(months: i64, days: i64, micros: i64) -> Result<IntervalMonthDayNano> {
    let nanos = micros.checked_mul(1_000);
    match (i32::try_from(months), i32::try_from(days), nanos) {
        (Ok(months), Ok(days), Some(nanos)) => Ok(IntervalMonthDayNano::new(months, days, nanos)),
        _ => Err(interval_range()),
    }
}

/// A moment and so many months, days and microseconds later, in this order; a day that the month does not have is its last.
pub(super) fn shifted(micros: i64, interval: IntervalMonthDayNano) -> Result<i64> {
    let mut moved = micros;
    if interval.months != 0 {
        let moment = Moment::of(micros);
        let months = moment.year * 12 + moment.month - 1 + i64::from(interval.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        moved = Moment { year, month, day: moment.day.min(days_in_month(year, month)), time: moment.time }.to_micros()?;
    }
    let days = i64::from(interval.days).checked_mul(DAY);
    let later = days.and_then(|days| moved.checked_add(days)).and_then(|moved| moved.checked_add(interval.nanoseconds / 1_000));
    later.ok_or_else(timestamp_range)
}

/// A time zone by its name, or as an offset: `Europe/Vienna`, `UTC`, `+02`, `-03:30` (to the west, as POSIX has it).
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) enum Zone {
    Named(Tz),
    /// Microseconds east of Greenwich.
    Fixed(i64),
}

/// Abbreviations that PostgreSQL knows by default, with hours east of Greenwich.
const ABBREVIATIONS: &[(&str, i64)] = &[
    ("z", 0),
    ("utc", 0),
    ("gmt", 0),
    ("zulu", 0),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
    ("cet", 1),
    ("cest", 2),
    ("bst", 1),
    ("jst", 9),
    ("msk", 3),
    ("eet", 2),
    ("eest", 3),
    ("wet", 0),
    ("west", 1),
];

impl Zone {
    pub(in crate::plan) fn named(name: &str) -> Result<Zone> {
        let unknown = || Error::new(Kind::InvalidParameter, format!("time zone \"{name}\" not recognized"));
        let trimmed = name.trim();
        // A colon before it, as in POSIX's TZ, says that it is a name and no abbreviation: the zone CET has a summer.
        let trimmed = match trimmed.strip_prefix(':') {
            Some(full) => return Tz::from_str(full).map(Zone::Named).map_err(|_| unknown()),
            None => trimmed,
        };
        if let Some((_, hours)) = ABBREVIATIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(trimmed)) {
            return Ok(Zone::Fixed(hours * HOUR));
        }
        if let Some(sign) = trimmed.chars().next().filter(|first| matches!(first, '+' | '-')) {
            let fields: Vec<i64> =
                trimmed[1..].split(':').map(|field| field.parse::<u8>().map(i64::from)).collect::<Result<_, _>>().map_err(|_| unknown())?;
            let size = match fields.as_slice() {
                [hours @ 0..=15] => hours * HOUR,
                [hours @ 0..=15, minutes @ 0..=59] => hours * HOUR + minutes * MINUTE,
                _ => return Err(unknown()),
            };
            // A bare offset is POSIX's: positive is west.
            return Ok(Zone::Fixed(if sign == '+' { -size } else { size }));
        }
        let known = Tz::from_str(trimmed)
            .ok()
            .or_else(|| chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(trimmed)).copied());
        known.map(Zone::Named).ok_or_else(unknown)
    }

    /// How far local time is ahead at an instant, in microseconds.
    pub(super) fn offset(&self, micros: i64) -> i64 {
        match self {
            Zone::Fixed(offset) => *offset,
            Zone::Named(zone) => offset_us(*zone, micros),
        }
    }

    /// What the zone is called at an instant, such as `CEST`; an offset has no name.
    pub(super) fn abbreviation(&self, micros: i64) -> String {
        match (self, DateTime::from_timestamp_micros(micros)) {
            (Zone::Named(zone), Some(instant)) => {
                zone.offset_from_utc_datetime(&instant.naive_utc()).abbreviation().unwrap_or("").to_owned()
            }
            _ => String::new(),
        }
    }

    /// The local time of an instant.
    pub(super) fn local(&self, micros: i64) -> Result<i64> {
        micros.checked_add(self.offset(micros)).ok_or_else(timestamp_range)
    }

    /// The instant of a local time; one that a change of clocks skips is read with the offset before the change, one that it repeats is the later.
    pub(super) fn instant(&self, local: i64) -> Result<i64> {
        match self {
            Zone::Fixed(offset) => local.checked_sub(*offset),
            Zone::Named(zone) => instant_of(*zone, local),
        }
        .ok_or_else(timestamp_range)
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, days_of, iso_week};
    use crate::types::civil;

    #[test]
    fn days_come_back() {
        for days in (-3_000_000..3_000_000).step_by(997) {
            let (year, month, day) = civil(days);
            assert_eq!(days_of(year, month, day), days);
        }
    }

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        assert_eq!(iso_week(days_of(2006, 1, 1)), (2005, 52));
        assert_eq!(iso_week(days_of(2020, 12, 31)), (2020, 53));
        assert_eq!(Moment::of(0).day_of_year(), 1);
    }
}
