//! How complete event time is: the watermarks of tables and sources, and what follows from them for the columns of a plan.
//!
//! A watermark says that no row with an earlier time is expected any more. Nobody sends watermarks along with the rows: they belong to epochs,
//! the same on every worker, so that what a column's lower bound is at an epoch is computed where it is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use arrow::array::IntervalMonthDayNanoArray;
use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::local_time::{instant_of, least_local, offset_us};
use super::round_time::round_timestamp;
use super::time_windows::start_of;
use crate::types::{ObjectId, SqlType, TextStyle, TimeWindows, format_value};

/// The watermark of every table and source that has one yet, in microseconds since 1970.
pub type Watermarks = BTreeMap<ObjectId, i64>;

/// The clock on the wall, among the watermarks: no object has this number.
pub const NOW: ObjectId = 0;

/// What a column is generated from that says when a row arrived.
pub const PROCTIME: &str = "PROCTIME()";

const DAY_US: i64 = 86_400_000_000;

/// Below what no new values of a column are expected, as a function of watermarks. Microseconds since 1970, also for dates.
///
/// What it says of a column holds from then on, so it never falls. A month later than a time falls, for a time that rises: at the end of a month
/// that is followed by a shorter one, several days become one. So does what clocks show that are set back. There it is the least that is still to
/// come:
///
/// ```text
/// time                  01-29 00:00 .. 24:00   01-30 00:00 .. 24:00   01-31 00:00 .. 24:00   02-01 00:00
/// a month later         02-29 00:00 .. 24:00   02-29 00:00 .. 24:00   02-29 00:00 .. 24:00   03-01 00:00
/// below: nothing comes  02-29 00:00            02-29 00:00            02-29 00:00 .. 24:00   03-01 00:00
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Low {
    /// The watermark of a table or source.
    Of(ObjectId),
    /// Later by an interval.
    Plus {
        /// Than this.
        low: Box<Low>,
        /// Months, first of all.
        months: i32,
        /// Then days and microseconds.
        days: i32,
        /// See `days`.
        micros: i64,
    },
    /// The start of the unit of time that it is in.
    Truncated {
        /// What is truncated.
        low: Box<Low>,
        /// To what.
        unit: TimeUnit,
    },
    /// What clocks show in a time zone.
    Local {
        /// At this instant.
        low: Box<Low>,
        /// The zone's name.
        zone: String,
    },
    /// The instant at which the unit of local time begins that it is in: a day, or a longer one.
    TruncatedIn {
        /// What is truncated.
        low: Box<Low>,
        /// To what.
        unit: TimeUnit,
        /// The zone's name.
        zone: String,
    },
    /// Rounded to so many digits of a second.
    Rounded {
        /// What is rounded.
        low: Box<Low>,
        /// How many.
        digits: u8,
    },
    /// The start of the bin that it is in.
    Binned {
        /// What is binned.
        low: Box<Low>,
        /// How long a bin is.
        stride_us: i64,
        /// Where one of them starts.
        origin_us: i64,
    },
    /// The start of the bin of months that it is in.
    BinnedMonths {
        /// What is binned.
        low: Box<Low>,
        /// How many months a bin has.
        months: i32,
        /// In a month where one of them starts.
        origin_us: i64,
    },
    /// The start of the first window `[start, start + size)` that has not ended.
    WindowStart {
        /// When.
        low: Box<Low>,
        /// Between the starts of two windows.
        slide_us: i64,
        /// How long a window is.
        size_us: i64,
        /// Where one of them starts; less than the slide.
        offset_us: i64,
    },
    /// The least of several: of a union, or of both sides of a join.
    Least(Vec<Low>),
}

/// What `date_trunc` truncates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TimeUnit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl TimeUnit {
    /// By its name in `date_trunc`.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "microsecond" | "microseconds" => TimeUnit::Microsecond,
            "millisecond" | "milliseconds" => TimeUnit::Millisecond,
            "second" | "seconds" => TimeUnit::Second,
            "minute" | "minutes" => TimeUnit::Minute,
            "hour" | "hours" => TimeUnit::Hour,
            "day" | "days" => TimeUnit::Day,
            "week" | "weeks" => TimeUnit::Week,
            "month" | "months" => TimeUnit::Month,
            "quarter" | "quarters" => TimeUnit::Quarter,
            "year" | "years" => TimeUnit::Year,
            _ => return None,
        })
    }

    /// Whether it consists of whole days.
    pub fn is_of_days(self) -> bool {
        matches!(self, TimeUnit::Day | TimeUnit::Week | TimeUnit::Month | TimeUnit::Quarter | TimeUnit::Year)
    }

    /// The start of the unit that a time is in; `None` for times beyond what a calendar can name.
    pub fn truncate(self, time_us: i64) -> Option<i64> {
        let fixed = |unit_us: i64| Some(time_us.div_euclid(unit_us) * unit_us);
        let time = DateTime::<Utc>::from_timestamp_micros(time_us)?;
        let midnight = |date: Option<NaiveDate>| Some(date?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros());
        match self {
            TimeUnit::Microsecond => Some(time_us),
            TimeUnit::Millisecond => fixed(1_000),
            TimeUnit::Second => fixed(1_000_000),
            TimeUnit::Minute => fixed(60_000_000),
            TimeUnit::Hour => fixed(3_600_000_000),
            TimeUnit::Day => fixed(DAY_US),
            TimeUnit::Week => {
                let into = i64::from(time.weekday().num_days_from_monday()) * DAY_US;
                Some((time_us - into).div_euclid(DAY_US) * DAY_US)
            }
            TimeUnit::Month => midnight(time.date_naive().with_day(1)),
            TimeUnit::Quarter => midnight(NaiveDate::from_ymd_opt(time.year(), time.month0() / 3 * 3 + 1, 1)),
            TimeUnit::Year => midnight(NaiveDate::from_ymd_opt(time.year(), 1, 1)),
        }
    }
}

impl Low {
    /// Of the starts and the ends of the windows of a time that this is of.
    pub fn of_windows(self, windows: TimeWindows) -> [Low; 2] {
        let start =
            |low: Low, slide_us: i64, size_us: i64, offset_us: i64| Low::WindowStart { low: Box::new(low), slide_us, size_us, offset_us };
        match windows {
            TimeWindows::Hop { slide_us, size_us, offset_us } => {
                let starts = start(self, slide_us, size_us, offset_us);
                [starts.clone(), starts.later(size_us)]
            }
            // Each is over at its own end, and the ends are as those of short windows one behind the other.
            TimeWindows::Cumulate { step_us, size_us, offset_us } => {
                let ends = start(self.clone(), step_us, step_us, offset_us.rem_euclid(step_us)).later(step_us);
                [start(self, size_us, size_us, offset_us), ends]
            }
        }
    }

    /// So many microseconds later.
    pub fn later(self, micros: i64) -> Low {
        Low::Plus { low: Box::new(self), months: 0, days: 0, micros }
    }

    /// What it is at some watermarks; `None` while one that it depends on is not known, so that nothing can be said.
    pub fn at(&self, watermarks: &Watermarks) -> Option<i64> {
        self.with(watermarks, &Moves { later: least_shifted, local: least_local })
    }

    /// The same function of the watermarks as they are, for those who compare with it: this one may fall, but never below what `at` says.
    pub fn now(&self, watermarks: &Watermarks) -> Option<i64> {
        self.with(watermarks, &Moves { later: shifted, local })
    }

    fn with(&self, watermarks: &Watermarks, moves: &Moves) -> Option<i64> {
        let of = |low: &Low| low.with(watermarks, moves);
        match self {
            Low::Of(object) => watermarks.get(object).copied(),
            Low::Plus { low, months, days, micros } => {
                let low = (moves.later)(of(low)?, *months)?;
                low.checked_add(i64::from(*days).checked_mul(DAY_US)?)?.checked_add(*micros)
            }
            Low::Truncated { low, unit } => unit.truncate(of(low)?),
            Low::Local { low, zone } => (moves.local)(zone_of(zone)?, of(low)?),
            Low::TruncatedIn { low, unit, zone } => {
                let zone = zone_of(zone)?;
                instant_of(zone, unit.truncate((moves.local)(zone, of(low)?)?)?)
            }
            Low::Rounded { low, digits } => round_timestamp(of(low)?, *digits).ok(),
            Low::Binned { low, stride_us, origin_us } => {
                let since = of(low)?.checked_sub(*origin_us)?;
                Some(since.div_euclid(*stride_us) * stride_us + origin_us)
            }
            Low::BinnedMonths { low, months, origin_us } => month_bin(of(low)?, *months, *origin_us),
            Low::WindowStart { low, slide_us, size_us, offset_us } => {
                let ended = of(low)?.checked_sub(*size_us)?;
                start_of(ended, *slide_us, *offset_us).checked_add(*slide_us)
            }
            Low::Least(lows) => lows.iter().map(of).min().flatten(),
        }
    }

    /// Whether `now` may fall while watermarks rise.
    pub fn may_fall(&self) -> bool {
        match self {
            Low::Of(_) => false,
            Low::Plus { low, months, .. } => *months != 0 || low.may_fall(),
            Low::Local { .. } | Low::TruncatedIn { .. } => true,
            Low::Truncated { low, .. }
            | Low::Rounded { low, .. }
            | Low::Binned { low, .. }
            | Low::BinnedMonths { low, .. }
            | Low::WindowStart { low, .. } => low.may_fall(),
            Low::Least(lows) => lows.iter().any(Low::may_fall),
        }
    }

    /// The tables and sources whose watermarks it depends on.
    pub fn objects(&self) -> BTreeSet<ObjectId> {
        match self {
            Low::Of(object) => BTreeSet::from([*object]),
            Low::Plus { low, .. }
            | Low::Truncated { low, .. }
            | Low::Local { low, .. }
            | Low::TruncatedIn { low, .. }
            | Low::Rounded { low, .. }
            | Low::Binned { low, .. }
            | Low::BinnedMonths { low, .. }
            | Low::WindowStart { low, .. } => low.objects(),
            Low::Least(lows) => lows.iter().flat_map(Low::objects).collect(),
        }
    }
}

/// How SQL would say it.
impl Display for Low {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Low::Of(NOW) => f.write_str("now()"),
            Low::Of(_) => f.write_str("watermark"),
            Low::Plus { low, months, days, micros } => {
                let interval = IntervalMonthDayNano::new(*months, *days, micros.saturating_mul(1_000));
                write!(f, "{low} + INTERVAL '{}'", interval_text(interval))
            }
            Low::Truncated { low, unit } => write!(f, "date_trunc('{}', {low})", format!("{unit:?}").to_lowercase()),
            Low::Local { low, zone } => write!(f, "{low} AT TIME ZONE '{zone}'"),
            Low::TruncatedIn { low, unit, zone } => write!(f, "date_trunc('{}', {low}, '{zone}')", format!("{unit:?}").to_lowercase()),
            Low::Rounded { low, digits } => write!(f, "{low}::timestamp({digits})"),
            Low::Binned { low, stride_us, .. } => write!(f, "date_bin('{}', {low})", micros_text(*stride_us)),
            Low::BinnedMonths { low, months, .. } => write!(f, "time_bucket('{months} mons', {low})"),
            Low::WindowStart { low, size_us, .. } => write!(f, "start of the window of {} that {low} is in", micros_text(*size_us)),
            Low::Least(lows) => {
                let lows: Vec<String> = lows.iter().map(Low::to_string).collect();
                write!(f, "least({})", lows.join(", "))
            }
        }
    }
}

fn interval_text(interval: IntervalMonthDayNano) -> String {
    let (array, mut text) = (IntervalMonthDayNanoArray::from(vec![interval]), String::new());
    // An interval is one that can be printed.
    let _ = format_value(&array, 0, &SqlType::Interval, &TextStyle::default(), &mut text);
    text
}

fn micros_text(micros: i64) -> String {
    interval_text(IntervalMonthDayNano::new(0, 0, micros.saturating_mul(1_000)))
}

/// The start of the bin of so many months that a time is in, where one starts in the origin's month; `None` for times beyond what a calendar
/// can name.
pub fn month_bin(time_us: i64, months: i32, origin_us: i64) -> Option<i64> {
    let month =
        |time_us: i64| DateTime::<Utc>::from_timestamp_micros(time_us).map(|time| i64::from(time.year()) * 12 + i64::from(time.month0()));
    let time = month(time_us)?;
    let start = time - (time - month(origin_us)?).rem_euclid(i64::from(months));
    let (year, month) = (i32::try_from(start.div_euclid(12)).ok()?, u32::try_from(start.rem_euclid(12)).ok()?);
    Some(NaiveDate::from_ymd_opt(year, month + 1, 1)?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

/// The functions that fall, for a time that rises; or the least of what they still give.
struct Moves {
    /// Some months later.
    later: fn(i64, i32) -> Option<i64>,
    /// What clocks show.
    local: fn(Tz, i64) -> Option<i64>,
}

fn zone_of(name: &str) -> Option<Tz> {
    name.parse().ok()
}

fn local(zone: Tz, time_us: i64) -> Option<i64> {
    time_us.checked_add(offset_us(zone, time_us))
}

/// Some months later: the same day, or the last one of a month that has fewer.
fn shifted(time_us: i64, months: i32) -> Option<i64> {
    if months == 0 {
        return Some(time_us);
    }
    let time = DateTime::<Utc>::from_timestamp_micros(time_us)?;
    let by = Months::new(months.unsigned_abs());
    let moved = if months < 0 { time.checked_sub_months(by)? } else { time.checked_add_months(by)? };
    Some(moved.timestamp_micros())
}

/// The least that any time from this one on is some months later. On the last day of a month that may be the start of the day: the days that are
/// left of a longer month become that day, too.
fn least_shifted(time_us: i64, months: i32) -> Option<i64> {
    let moved = shifted(time_us, months)?;
    match months != 0 && ends_month(moved)? && !ends_month(time_us)? {
        true => TimeUnit::Day.truncate(moved),
        false => Some(moved),
    }
}

/// Whether a time is on the last day of its month.
fn ends_month(time_us: i64) -> Option<bool> {
    let day = DateTime::<Utc>::from_timestamp_micros(time_us)?.date_naive();
    Some(day.succ_opt()?.day() == 1)
}

#[cfg(test)]
mod tests {
    use super::{Low, TimeUnit, TimeWindows, Watermarks};

    const SECOND: i64 = 1_000_000;

    fn at(low: &Low, watermark: i64) -> Option<i64> {
        low.at(&Watermarks::from([(7, watermark)]))
    }

    fn of() -> Box<Low> {
        Box::new(Low::Of(7))
    }

    #[test]
    fn a_window_is_over_when_the_watermark_is_at_its_end() {
        let tumbling = Low::WindowStart { low: of(), slide_us: 10 * SECOND, size_us: 10 * SECOND, offset_us: 0 };
        assert_eq!(at(&tumbling, 19 * SECOND), Some(10 * SECOND));
        assert_eq!(at(&tumbling, 20 * SECOND), Some(20 * SECOND));
        let hopping = Low::WindowStart { low: of(), slide_us: 5 * SECOND, size_us: 12 * SECOND, offset_us: 0 };
        assert_eq!(at(&hopping, 21 * SECOND), Some(10 * SECOND), "[10, 22) goes on");
        assert_eq!(at(&hopping, 22 * SECOND), Some(15 * SECOND));
        assert_eq!(at(&hopping, -SECOND), Some(-10 * SECOND));
    }

    #[test]
    fn what_is_below_belongs_to_windows_that_are_over() {
        let all = [TimeWindows::hop(4, 10, 3), TimeWindows::hop(10, 10, -1), TimeWindows::hop(9, 4, 2), TimeWindows::cumulate(5, 15, 7)];
        for windows in all {
            let lows = Low::Of(7).of_windows(windows);
            for watermark in -40..40 {
                let [starts, ends] = [0, 1].map(|column| at(&lows[column], watermark).unwrap());
                for time in watermark - 30..watermark + 30 {
                    for (start, end) in windows.of(time).filter(|(_, end)| *end > watermark) {
                        assert!(start >= starts && end >= ends, "[{start}, {end}) goes on at {watermark}, {windows:?}");
                    }
                    let over = windows.of(time).filter(|(_, end)| *end <= watermark);
                    let key = windows.key();
                    assert!(over.into_iter().all(|(start, end)| [start, end][key] < [starts, ends][key]), "{windows:?}");
                }
            }
        }
    }

    #[test]
    fn calendars_have_units_of_many_lengths() {
        let truncated = |unit: &str, time: &str| {
            let unit = TimeUnit::named(unit).unwrap();
            let time = time.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
            chrono::DateTime::from_timestamp_micros(unit.truncate(time.timestamp_micros()).unwrap()).unwrap().to_rfc3339()
        };
        assert_eq!(truncated("month", "2024-02-29T23:59:59.9Z"), "2024-02-01T00:00:00+00:00");
        assert_eq!(truncated("quarter", "2024-05-31T00:00:00Z"), "2024-04-01T00:00:00+00:00");
        assert_eq!(truncated("week", "1969-12-31T12:00:00Z"), "1969-12-29T00:00:00+00:00");
        assert_eq!(truncated("hour", "1969-12-31T23:30:00Z"), "1969-12-31T23:00:00+00:00");
        let month = Low::Plus { low: of(), months: -1, days: 0, micros: 0 };
        let day = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
        assert_eq!(at(&month, day("2024-03-31T00:00:00Z")), Some(day("2024-02-29T00:00:00Z")));
    }

    #[test]
    fn days_of_a_zone_are_over_when_clocks_there_say_so() {
        let (local, days) = (
            Low::Local { low: of(), zone: "Europe/Berlin".to_owned() },
            Low::TruncatedIn { low: of(), unit: TimeUnit::Day, zone: "Europe/Berlin".to_owned() },
        );
        let time = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
        assert_eq!(at(&local, time("2024-07-01T10:00:00Z")), Some(time("2024-07-01T12:00:00Z")));
        assert_eq!(at(&days, time("2024-07-01T21:59:59Z")), Some(time("2024-06-30T22:00:00Z")));
        assert_eq!(at(&days, time("2024-07-01T22:00:00Z")), Some(time("2024-07-01T22:00:00Z")));
        // Before clocks are set back from three to two, their times come once more.
        let set_back = Watermarks::from([(7, time("2024-10-27T00:45:00Z"))]);
        assert_eq!(local.now(&set_back), Some(time("2024-10-27T02:45:00Z")));
        assert_eq!(local.at(&set_back), Some(time("2024-10-27T01:45:00Z")));
        assert_eq!(at(&local, time("2024-10-27T01:30:00Z")), Some(time("2024-10-27T02:30:00Z")));
        // That day has 25 hours.
        assert_eq!(at(&days, time("2024-10-27T22:59:59Z")), Some(time("2024-10-26T22:00:00Z")));
        assert_eq!(at(&days, time("2024-10-27T23:00:00Z")), Some(time("2024-10-27T23:00:00Z")));
    }

    #[test]
    fn a_month_later_was_taken_to_rise_with_the_time() {
        const HOUR: i64 = 3_600 * SECOND;
        let start = "2023-11-01T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
        for months in [-13, -12, -3, -2, -1, 1, 2, 3, 12, 13] {
            let low = Low::Plus { low: of(), months, days: 1, micros: -5 };
            // Seventeen months, with a 29 February: backwards, so that the least of all later ones is known.
            let mut least = i64::MAX;
            for hour in (0..24 * 520).rev() {
                let time = start + hour * HOUR;
                let now = low.now(&Watermarks::from([(7, time)])).unwrap();
                least = least.min(now);
                // Of what comes behind the last hour nothing is known here.
                if hour < 24 * 480 {
                    assert_eq!(at(&low, time), Some(least), "{months} months, {}", chrono::DateTime::from_timestamp_micros(time).unwrap());
                }
            }
        }
    }

    #[test]
    fn one_unknown_watermark_says_that_nothing_is_known() {
        let both = Low::Least(vec![Low::Of(7), Low::Of(8)]);
        assert_eq!(at(&both, 5), None);
        assert_eq!(both.at(&Watermarks::from([(7, 5), (8, 3)])), Some(3));
        assert_eq!(both.objects().into_iter().collect::<Vec<_>>(), [7, 8]);
    }
}
