//! `to_char` of times and intervals, and `to_date` and `to_timestamp` of texts: PostgreSQL's patterns (its `formatting.c`).

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use arrow::array::ArrayRef;
use arrow::datatypes::IntervalMonthDayNano;

use super::calendar::{
    DAY, HOUR, JULIAN_EPOCH, MINUTE, MONTHS, Moment, SECOND, WEEKDAYS, Zone, days_in_month, days_of, iso_week, iso_year_start, weekday,
};
use super::call::Call;
use super::column::{Interval, Text, Time, Timestamp, map2, map3};
use super::prepared::{Prepared, prepared};
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("to_char", "a timestamp, interval or number as text. Times: `HH`, `HH12`, `HH24`, `MI`, `SS`, `MS`, `US`, `FF1`–`FF6`, `SSSS`, `AM`, `Y,YYY`, `YYYY`, `YYY`, `YY`, `Y`, `IYYY`, `BC`, `MONTH`, `Month`, `MON`, `MM`, `DAY`, `DY`, `DDD`, `DD`, `D`, `IDDD`, `ID`, `W`, `WW`, `IW`, `CC`, `J`, `Q`, `RM`, `TZ`, `TZH`, `TZM`, `OF`; `FM` before one leaves blanks and zeros out, `TH` behind one adds an ending. Numbers: `9`, `0`, `.`, `D`, `,`, `G`, `PR`, `S`, `L`, `MI`, `PL`, `SG`, `RN`, `TH`, `V`, `EEEE`, `FM`. Texts in double quotes stay", "to_char(TIMESTAMP '2002-04-20 17:31:12.66', 'FMDay, DD Mon YYYY HH12:MI:SS AM')", "Saturday, 20 Apr 2002 05:31:12 PM")
            .form("timestamp, text -> text", |call| map2::<Timestamp, Text, _>(call, |value, format| write(&Fields::of_timestamp(value, None), format)))
            .form("timestamptz, text -> text", |call| map2::<Timestamp, Text, _>(call, |value, format| write(&Fields::of_timestamp(value, Some(("UTC".to_owned(), 0))), format)))
            .form("timestamptz, text, text -> text", |call| map3::<Timestamp, Text, Text, _>(call, |value, format, zone| write(&Fields::in_zone(value, zone)?, format)))
            .form("interval, text -> text", |call| map2::<Interval, Text, _>(call, |value, format| write(&Fields::of_interval(value), format)))
            .form("time, text -> text", |call| map2::<Time, Text, _>(call, |micros, format| write(&Fields::of_interval(IntervalMonthDayNano::new(0, 0, micros * 1_000)), format)))
            .form("numeric, text -> text", super::number_format::numeric)
            .form("double precision, text -> text", super::number_format::float)
            .example("to_char(INTERVAL '15h 2m 12s', 'HH24:MI:SS')", "15:02:12")
            .example("to_char(-1234.5, 'FM999,999.00')", "-1,234.50"),
        function("to_date", "the date of a text in a format (see `to_char`)", "to_date('05 Dec 2000', 'DD Mon YYYY')", "2000-12-05")
            .form("text, text -> date", |call| {
                map2::<Text, Text, _>(call, |text, format| {
                    let days = Reader::read(text, format)?.micros()?.div_euclid(DAY);
                    i32::try_from(days).map_err(|_| Error::new(Kind::DatetimeOutOfRange, format!("date out of range: \"{text}\"")))
                })
            }),
    ]
}

pub(super) fn to_timestamp(call: &Call<'_>) -> Result<ArrayRef> {
    map2::<Text, Text, _>(call, |text, format| {
        let found = Reader::read(text, format)?;
        let zone = found.zone.unwrap_or(0);
        found.micros()?.checked_sub(zone).ok_or_else(super::calendar::timestamp_range)
    })
}

/// Local time of a zone, if the text tells no other.
pub(super) fn to_timestamp_in(call: &Call<'_>) -> Result<ArrayRef> {
    map3::<Text, Text, Text, _>(call, |text, format, zone| {
        let found = Reader::read(text, format)?;
        match found.zone {
            Some(offset) => found.micros()?.checked_sub(offset).ok_or_else(super::calendar::timestamp_range),
            None => Zone::named(zone)?.instant(found.micros()?),
        }
    })
}

/// What a pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Hour12,
    Hour24,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Fraction(usize),
    SecondOfDay,
    /// With dots or not.
    Meridiem(bool),
    Era(bool),
    YearComma,
    /// So many digits of it.
    Year(usize),
    IsoYear(usize),
    Month,
    MonthName,
    MonthShort,
    MonthRoman,
    Day,
    DayName,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    Week,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    ZoneName,
    ZoneHours,
    ZoneMinutes,
    Offset,
}

/// Longest first, so that the first that fits is meant.
const FIELDS: &[(&str, Field)] = &[
    ("SSSSS", Field::SecondOfDay),
    ("MONTH", Field::MonthName),
    ("Y,YYY", Field::YearComma),
    ("A.D.", Field::Era(true)),
    ("B.C.", Field::Era(true)),
    ("A.M.", Field::Meridiem(true)),
    ("P.M.", Field::Meridiem(true)),
    ("HH12", Field::Hour12),
    ("HH24", Field::Hour24),
    ("IDDD", Field::IsoDayOfYear),
    ("IYYY", Field::IsoYear(4)),
    ("SSSS", Field::SecondOfDay),
    ("YYYY", Field::Year(4)),
    ("DAY", Field::DayName),
    ("DDD", Field::DayOfYear),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("IYY", Field::IsoYear(3)),
    ("MON", Field::MonthShort),
    ("TZH", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("YYY", Field::Year(3)),
    ("AD", Field::Era(false)),
    ("AM", Field::Meridiem(false)),
    ("BC", Field::Era(false)),
    ("CC", Field::Century),
    ("DD", Field::Day),
    ("DY", Field::DayShort),
    ("HH", Field::Hour12),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IY", Field::IsoYear(2)),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MS", Field::Millisecond),
    ("OF", Field::Offset),
    ("PM", Field::Meridiem(false)),
    ("RM", Field::MonthRoman),
    ("SS", Field::Second),
    ("TZ", Field::ZoneName),
    ("US", Field::Microsecond),
    ("WW", Field::Week),
    ("YY", Field::Year(2)),
    ("D", Field::DayOfWeek),
    ("I", Field::IsoYear(1)),
    ("J", Field::Julian),
    ("Q", Field::Quarter),
    ("W", Field::WeekOfMonth),
    ("Y", Field::Year(1)),
];

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Capital,
    Lower,
}

/// A piece of a format.
#[derive(Clone, Debug)]
enum Node {
    Field {
        field: Field,
        case: Case,
        fill: bool,
        ordinal: Option<Case>,
        text: String,
    },
    /// A character that stands for itself; `quoted` ones never part fields.
    Character {
        character: char,
        quoted: bool,
    },
}

impl Node {
    fn is_digits(&self) -> bool {
        !matches!(
            self,
            Node::Field {
                field: Field::Meridiem(_)
                    | Field::Era(_)
                    | Field::MonthName
                    | Field::MonthShort
                    | Field::MonthRoman
                    | Field::DayName
                    | Field::DayShort
                    | Field::ZoneName
                    | Field::ZoneHours
                    | Field::Offset,
                ..
            }
        )
    }
}

thread_local! {
    static FORMATS: RefCell<Prepared<Format, 1>> = RefCell::default();
}

/// A format in pieces, and whether it begins with FX.
type Format = (Vec<Node>, bool);

fn parsed(format: &str) -> Result<Rc<Format>> {
    prepared(&FORMATS, [format], || Ok(parse(format)))
}

fn parse(format: &str) -> Format {
    let mut nodes = Vec::new();
    let (mut rest, mut fixed) = (format, false);
    while !rest.is_empty() {
        let starts = |text: &str, key: &str| text.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key));
        if starts(rest, "FX") {
            (fixed, rest) = (true, &rest[2..]);
            continue;
        }
        let (fill, after) = if starts(rest, "FM") {
            (false, &rest[2..])
        } else if starts(rest, "TM") {
            (true, &rest[2..])
        } else {
            (true, rest)
        };
        if let Some((key, field)) = FIELDS.iter().find(|(key, _)| starts(after, key)) {
            let (text, mut behind) = after.split_at(key.len());
            let mut ordinal = None;
            if starts(behind, "TH") {
                ordinal = Some(if behind.starts_with("TH") { Case::Upper } else { Case::Lower });
                behind = &behind[2..];
            } else if starts(behind, "SP") {
                behind = &behind[2..];
            }
            nodes.push(Node::Field { field: *field, case: case_of(text), fill, ordinal, text: text.to_owned() });
            rest = behind;
            continue;
        }
        rest = if after.len() < rest.len() { after } else { character(rest, &mut nodes) };
    }
    (nodes, fixed)
}

fn case_of(text: &str) -> Case {
    let mut letters = text.chars().filter(char::is_ascii_alphabetic);
    match (letters.next().is_some_and(|first| first.is_ascii_uppercase()), letters.next().is_none_or(|second| second.is_ascii_uppercase()))
    {
        (true, true) => Case::Upper,
        (true, false) => Case::Capital,
        _ => Case::Lower,
    }
}

/// Takes what is no field off the start: a quoted text, an escaped character, or one character.
fn character<'t>(text: &'t str, nodes: &mut Vec<Node>) -> &'t str {
    let mut characters = text.char_indices();
    let Some((_, first)) = characters.next() else { return "" };
    match first {
        '"' => {
            let mut escaped = false;
            for (at, character) in characters {
                match character {
                    '\\' if !escaped => escaped = true,
                    '"' if !escaped => return &text[at + 1..],
                    _ => {
                        escaped = false;
                        nodes.push(Node::Character { character, quoted: true });
                    }
                }
            }
            ""
        }
        '\\' if text[1..].starts_with('"') => {
            nodes.push(Node::Character { character: '"', quoted: true });
            &text[2..]
        }
        _ => {
            nodes.push(Node::Character { character: first, quoted: false });
            &text[first.len_utf8()..]
        }
    }
}

/// What is written.
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    /// Signed for intervals.
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    interval: bool,
    /// The zone's name at this moment, and how many minutes it is ahead.
    zone: Option<(String, i64)>,
}

impl Fields {
    fn of_timestamp(value: i64, zone: Option<(String, i64)>) -> Fields {
        let moment = Moment::of(value);
        Fields {
            year: moment.year,
            month: moment.month,
            day: moment.day,
            hour: moment.hour(),
            minute: moment.minute(),
            second: moment.second(),
            micros: moment.micros(),
            interval: false,
            zone,
        }
    }

    /// An instant in a zone's local time.
    fn in_zone(value: i64, zone: &str) -> Result<Fields> {
        let zone = Zone::named(zone)?;
        let shown = (zone.abbreviation(value), zone.offset(value) / MINUTE);
        Ok(Fields::of_timestamp(zone.local(value)?, Some(shown)))
    }

    /// `+05`, or `+05:30` if `minutes` are wanted and there are any.
    fn offset(&self, minutes: bool) -> String {
        let ahead = self.zone.as_ref().map_or(0, |(_, minutes)| *minutes);
        let (sign, size) = (if ahead < 0 { '-' } else { '+' }, ahead.abs());
        if minutes && size % 60 != 0 { format!("{sign}{:02}:{:02}", size / 60, size % 60) } else { format!("{sign}{:02}", size / 60) }
    }

    fn of_interval(value: IntervalMonthDayNano) -> Fields {
        let micros = value.nanoseconds / 1_000;
        Fields {
            year: i64::from(value.months / 12),
            month: i64::from(value.months % 12),
            day: value.days.into(),
            hour: micros / HOUR,
            minute: micros / MINUTE % 60,
            second: micros / SECOND % 60,
            micros: micros % SECOND,
            interval: true,
            zone: None,
        }
    }

    fn days(&self) -> i64 {
        days_of(self.year, self.month, self.day)
    }

    /// Years as they are written: before Christ counted from 1.
    fn shown(&self, year: i64) -> i64 {
        if !self.interval && year <= 0 { 1 - year } else { year }
    }

    fn day_of_year(&self) -> i64 {
        if self.interval { (self.year * 12 + self.month) * 30 + self.day } else { self.days() - days_of(self.year, 1, 1) + 1 }
    }
}

fn write(fields: &Fields, format: &str) -> Result<String> {
    // Most fields are as long as their names, and names of days and months a little longer.
    let mut out = String::with_capacity(format.len() + 8);
    for node in &parsed(format)?.0 {
        match node {
            Node::Character { character, .. } => out.push(*character),
            Node::Field { field, case, fill, ordinal, text } => {
                let (field, case, fill) = (*field, *case, *fill);
                if fields.interval && !fits_interval(field) {
                    return Err(Error::new(Kind::InvalidDatetime, "invalid format specification for an interval value")
                        .hint("Intervals are not tied to specific calendar dates."));
                }
                let start = out.len();
                if !fields.named(field, case, fill, text, &mut out) {
                    fields.number(field, fill, &mut out);
                    if let Some(case) = ordinal {
                        let ending = ending(&out[start..]);
                        out.push_str(&if *case == Case::Upper { ending.to_ascii_uppercase() } else { ending.to_owned() });
                    }
                }
            }
        }
    }
    Ok(out)
}

/// Whether a field says something of an interval.
fn fits_interval(field: Field) -> bool {
    !matches!(
        field,
        Field::Era(_)
            | Field::MonthName
            | Field::MonthShort
            | Field::DayName
            | Field::DayShort
            | Field::IsoDayOfYear
            | Field::DayOfWeek
            | Field::IsoDayOfWeek
            | Field::IsoWeek
            | Field::ZoneName
            | Field::ZoneHours
            | Field::ZoneMinutes
            | Field::Offset
            | Field::IsoYear(_)
    )
}

/// st, nd, rd, th.
pub(super) fn ending(number: &str) -> &'static str {
    let digits = number.as_bytes();
    let tens = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    match digits.last() {
        Some(b'1') if !tens => "st",
        Some(b'2') if !tens => "nd",
        Some(b'3') if !tens => "rd",
        _ => "th",
    }
}

const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

impl Fields {
    /// Writes a field that is a word; tells whether it is one.
    fn named(&self, field: Field, case: Case, fill: bool, text: &str, out: &mut String) -> bool {
        let offset;
        let (word, width) = match field {
            Field::Meridiem(dots) => (
                if self.hour.rem_euclid(24) >= 12 {
                    if dots { "P.M." } else { "PM" }
                } else if dots {
                    "A.M."
                } else {
                    "AM"
                },
                0,
            ),
            Field::Era(dots) => (
                if self.year <= 0 {
                    if dots { "B.C." } else { "BC" }
                } else if dots {
                    "A.D."
                } else {
                    "AD"
                },
                0,
            ),
            Field::MonthName | Field::MonthShort => {
                let Ok(Some(name)) = usize::try_from(self.month - 1).map(|month| MONTHS.get(month)) else { return true };
                if field == Field::MonthShort { (&name[..3], 0) } else { (*name, 9) }
            }
            Field::DayName | Field::DayShort => {
                let name = WEEKDAYS[weekday(self.days()) as usize];
                if field == Field::DayShort { (&name[..3], 0) } else { (name, 9) }
            }
            Field::MonthRoman => {
                // For an interval, months count on from where they are, backwards if negative; none at all has no number.
                let month = if self.interval && self.month == 0 {
                    if self.year == 0 { return true } else { if self.year > 0 { 12 } else { 1 } }
                } else {
                    self.month.rem_euclid(if self.month < 0 { 13 } else { 100 })
                };
                (ROMAN[usize::try_from(month - 1).unwrap_or(0).min(11)], 4)
            }
            Field::ZoneName => (self.zone.as_ref().map_or("", |(name, _)| name.as_str()), 0),
            Field::ZoneHours | Field::Offset => {
                offset = self.offset(field == Field::Offset);
                (offset.as_str(), 0)
            }
            Field::ZoneMinutes => {
                offset = format!("{:02}", self.zone.as_ref().map_or(0, |(_, minutes)| minutes.abs() % 60));
                (offset.as_str(), 0)
            }
            _ => return false,
        };
        let lower = text.starts_with(|first: char| first.is_ascii_lowercase());
        let word = match (field, case) {
            // These know two cases only, and the first letter decides.
            (Field::Meridiem(_) | Field::Era(_) | Field::MonthRoman | Field::ZoneName, _) => {
                if lower {
                    word.to_ascii_lowercase()
                } else {
                    word.to_owned()
                }
            }
            (_, Case::Upper) => word.to_ascii_uppercase(),
            (_, Case::Lower) => word.to_ascii_lowercase(),
            (_, Case::Capital) => word.to_owned(),
        };
        write!(out, "{word:<width$}", width = if fill { width } else { 0 }).expect("a String takes all text");
        true
    }

    fn number(&self, field: Field, fill: bool, out: &mut String) {
        let twelve = |hour: i64| if hour % 12 == 0 { 12 } else { hour % 12 };
        let digits = |year: i64, count: usize| if count >= 4 { self.shown(year) } else { self.shown(year) % 10_i64.pow(count as u32) };
        let (value, width) = match field {
            Field::Hour12 => (twelve(self.hour), 2),
            Field::Hour24 => (self.hour, 2),
            Field::Minute => (self.minute, 2),
            Field::Second => (self.second, 2),
            Field::Millisecond => (self.micros / 1_000, 3),
            Field::Microsecond => (self.micros, 6),
            Field::Fraction(digits) => (self.micros / 10_i64.pow(6 - digits as u32), digits),
            Field::SecondOfDay => (self.hour * 3_600 + self.minute * 60 + self.second, 0),
            Field::YearComma => {
                let year = self.shown(self.year);
                write!(out, "{},{:03}", year / 1_000, year % 1_000).expect("a String takes all text");
                return;
            }
            Field::Year(count) => (digits(self.year, count), count),
            Field::IsoYear(count) => (digits(iso_week(self.days()).0, count), count),
            Field::Month => (self.month, 2),
            Field::Day => (self.day, 2),
            Field::DayOfYear => (self.day_of_year(), 3),
            Field::IsoDayOfYear => (self.days() - iso_year_start(iso_week(self.days()).0) + 1, 3),
            Field::DayOfWeek => (weekday(self.days()) + 1, 0),
            Field::IsoDayOfWeek => ((weekday(self.days()) + 6) % 7 + 1, 0),
            Field::WeekOfMonth => ((self.day - 1) / 7 + 1, 0),
            Field::Week => ((self.day_of_year() - 1) / 7 + 1, 2),
            Field::IsoWeek => (iso_week(self.days()).1, 2),
            Field::Century => (
                if self.interval {
                    self.year / 100
                } else if self.year > 0 {
                    (self.year - 1) / 100 + 1
                } else {
                    self.year / 100 - 1
                },
                2,
            ),
            Field::Julian => {
                // An interval may have no month, or negative ones.
                let months = self.year * 12 + self.month - 1;
                (days_of(months.div_euclid(12), months.rem_euclid(12) + 1, self.day) - JULIAN_EPOCH, 0)
            }
            Field::Quarter => {
                if self.month == 0 {
                    return;
                }
                ((self.month - 1) / 3 + 1, 0)
            }
            _ => return,
        };
        // So many digits of a fraction are written even where blanks and zeros are to be left out.
        let keeps = matches!(field, Field::Millisecond | Field::Microsecond | Field::Fraction(_));
        // The sign of days and weeks is one of the places, that of all others comes before them.
        let within = matches!(field, Field::Day | Field::DayOfYear | Field::Week);
        let width = if fill || keeps { width + usize::from(value < 0 && !within) } else { 0 };
        push_number(value, width, out);
    }
}

/// As `{value:0width$}`, which takes several times as long.
fn push_number(value: i64, width: usize, out: &mut String) {
    let (mut digits, mut start, mut rest) = ([0_u8; 20], 20, value.unsigned_abs());
    while rest > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let sign = usize::from(value < 0);
    out.extend((0..sign).map(|_| '-'));
    out.extend((digits.len() - start + sign..width).map(|_| '0'));
    out.extend(digits[start..].iter().map(|digit| char::from(*digit)));
}

/// What a text says.
#[derive(Default)]
struct Found {
    hour: Option<i64>,
    twelve: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    second_of_day: Option<i64>,
    micros: i64,
    year: Option<i64>,
    century: Option<i64>,
    before_christ: bool,
    year_digits: usize,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    week_of_month: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    iso_day_of_year: Option<i64>,
    julian: Option<i64>,
    /// Microseconds east of Greenwich.
    zone: Option<i64>,
    text: String,
}

impl Found {
    fn out_of_range(&self) -> Error {
        let shown: String = self.text.chars().take(100).collect();
        Error::new(Kind::DatetimeOutOfRange, format!("date/time field value out of range: \"{shown}\""))
    }

    fn calendar_year(&self) -> i64 {
        let year = match (self.year, self.century) {
            (Some(year), Some(century)) if self.year_digits <= 2 => {
                if century >= 0 {
                    (if year == 0 { century } else { century - 1 }) * 100 + year % 100
                } else {
                    -((-century - 1) * 100 + year - 1)
                }
            }
            (Some(year), _) => year,
            (None, Some(century)) if century >= 0 => (century - 1) * 100 + 1,
            (None, Some(century)) => century * 100 + 1,
            (None, None) => return 0,
        };
        if self.before_christ && year > 0 {
            1 - year
        } else if year < 0 && self.century.is_none() {
            year + 1
        } else {
            year
        }
    }

    fn days(&self) -> Result<i64> {
        if let Some(julian) = self.julian {
            return Ok(julian + JULIAN_EPOCH);
        }
        if let Some(year) = self.iso_year {
            let start = iso_year_start(if self.before_christ { 1 - year } else { year });
            if let Some(day) = self.iso_day_of_year {
                return Ok(start + day - 1);
            }
            if let Some(week) = self.iso_week {
                return Ok(start + (week - 1) * 7 + self.iso_day.unwrap_or(1) - 1);
            }
        }
        let year = self.calendar_year();
        // A year that is not given is 1 BC, as in PostgreSQL.
        let given = self.year.is_some() || self.century.is_some();
        let (month, day) = match (self.month, self.day, self.day_of_year, self.week) {
            (None, None, Some(day), _) => {
                let length = days_of(year + 1, 1, 1) - days_of(year, 1, 1);
                return if given && (1..=length).contains(&day) { Ok(days_of(year, 1, 1) + day - 1) } else { Err(self.out_of_range()) };
            }
            (None, None, None, Some(week)) => return Ok(days_of(year, 1, 1) + (week - 1) * 7),
            (month, None, ..) if self.week_of_month.is_some() => (month.unwrap_or(1), (self.week_of_month.unwrap_or(1) - 1) * 7 + 1),
            (month, day, ..) => (month.unwrap_or(1), day.unwrap_or(1)),
        };
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || !(-4_713..=294_276).contains(&year) {
            return Err(self.out_of_range());
        }
        Ok(days_of(year, month, day))
    }

    fn time(&self) -> Result<i64> {
        let mut time = (0, 0, 0);
        if let Some(second) = self.second_of_day {
            time = (second / 3_600, second / 60 % 60, second % 60);
        }
        let mut hour = self.hour.unwrap_or(time.0);
        if self.twelve {
            if !(1..=12).contains(&hour) {
                return Err(Error::new(Kind::InvalidDatetime, format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                    .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            match self.afternoon {
                Some(true) if hour < 12 => hour += 12,
                Some(false) if hour == 12 => hour = 0,
                _ => {}
            }
        }
        let minute = if self.second_of_day.is_some() { time.1 } else { self.minute };
        let second = if self.second_of_day.is_some() { time.2 } else { self.second };
        if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
            return Err(self.out_of_range());
        }
        Ok(hour * HOUR + minute * MINUTE + second * SECOND + self.micros)
    }

    fn micros(&self) -> Result<i64> {
        let (days, time) = (self.days()?, self.time()?);
        days.checked_mul(DAY).and_then(|start| start.checked_add(time)).ok_or_else(|| self.out_of_range())
    }
}

/// Goes through a text along a format.
struct Reader<'a> {
    rest: &'a str,
    /// What was read last as a separator and may have been a sign.
    skipped: Option<char>,
    fixed: bool,
    found: Found,
}

fn is_separator(character: char) -> bool {
    character.is_ascii() && character.is_ascii_punctuation()
}

impl<'a> Reader<'a> {
    fn read(text: &'a str, format: &str) -> Result<Found> {
        let format = parsed(format)?;
        let (nodes, fixed) = (&format.0, format.1);
        let mut reader = Reader { rest: text, skipped: None, fixed, found: Found { text: text.to_owned(), ..Found::default() } };
        // How many more characters were skipped than the format has.
        let mut extra = 0_i64;
        for (number, node) in nodes.iter().enumerate() {
            if !fixed && (number == 0 || matches!(node, Node::Field { .. })) {
                extra += reader.blanks();
            }
            match node {
                Node::Character { character, quoted: false } if *character == ' ' || is_separator(*character) => {
                    if fixed {
                        reader.skip();
                    } else {
                        extra -= 1;
                        if reader.rest.starts_with(|next: char| next.is_ascii_whitespace() || is_separator(next)) {
                            reader.skip();
                            extra += 1;
                        }
                    }
                }
                Node::Character { .. } => {
                    if !fixed && extra > 0 {
                        extra -= 1;
                    } else {
                        reader.skip();
                    }
                }
                Node::Field { .. } => {
                    if reader.rest.is_empty() {
                        break;
                    }
                    if extra <= 0 {
                        reader.skipped = None;
                    }
                    reader.field(node, nodes.get(number + 1))?;
                    if !fixed {
                        extra = reader.blanks();
                    }
                }
            }
        }
        Ok(reader.found)
    }

    fn blanks(&mut self) -> i64 {
        let trimmed = self.rest.trim_ascii_start();
        let skipped = self.rest.len() - trimmed.len();
        self.rest = trimmed;
        skipped as i64
    }

    fn skip(&mut self) {
        let mut characters = self.rest.chars();
        self.skipped = characters.next();
        self.rest = characters.as_str();
    }

    /// A number: of `width` characters, or of as many digits as there are if something else must follow. Gives its length too.
    fn digits(&mut self, width: usize, node: &Node, next: Option<&Node>) -> Result<(i64, usize)> {
        let Node::Field { fill, text, ordinal, .. } = node else { unreachable!("only fields have digits") };
        if !self.fixed {
            self.blanks();
        }
        let open = !*fill
            || match next {
                _ if ordinal.is_some() => false,
                None => true,
                Some(Node::Character { character, .. }) => !character.is_ascii_digit(),
                Some(field) => !field.is_digits(),
            };
        let sign = usize::from(self.rest.starts_with(['-', '+']));
        let run = self.rest[sign..].bytes().take_while(u8::is_ascii_digit).count() + sign;
        let length = if open { run } else { run.min(width) };
        let error = || {
            let shown: String = self.rest.chars().take(width.max(1)).collect();
            Error::new(Kind::InvalidDatetime, format!("invalid value \"{shown}\" for \"{text}\"")).detail("Value must be an integer.")
        };
        if length <= sign {
            return Err(error());
        }
        let value = self.rest[..length]
            .parse::<i32>()
            .map_err(|_| Error::new(Kind::DatetimeOutOfRange, format!("value for \"{text}\" in source string is out of range")))?;
        self.rest = &self.rest[length..];
        if ordinal.is_some() {
            self.rest = self.rest.get(2..).unwrap_or("");
        }
        Ok((value.into(), length))
    }

    /// Which of the words comes next.
    fn word(&mut self, words: &[&str], length: Option<usize>, text: &str) -> Result<i64> {
        for (number, word) in words.iter().enumerate() {
            let word = length.map_or(*word, |length| &word[..length]);
            if self.rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
                self.rest = &self.rest[word.len()..];
                return Ok(number as i64);
            }
        }
        let shown: String = self.rest.chars().take_while(|character| character.is_alphanumeric()).take(100).collect();
        Err(Error::new(Kind::InvalidDatetime, format!("invalid value \"{shown}\" for \"{text}\""))
            .detail("The given value did not match any of the allowed values for this field."))
    }

    fn field(&mut self, node: &Node, next: Option<&Node>) -> Result<()> {
        let Node::Field { field, text, .. } = node else { return Ok(()) };
        match *field {
            Field::Meridiem(dots) => {
                let words: &[&str] = if dots { &["A.M.", "P.M."] } else { &["AM", "PM"] };
                self.found.afternoon = Some(self.word(words, None, text)? == 1);
                self.found.twelve = true;
            }
            Field::Era(dots) => {
                let words: &[&str] = if dots { &["A.D.", "B.C."] } else { &["AD", "BC"] };
                self.found.before_christ = self.word(words, None, text)? == 1;
            }
            Field::MonthName => self.found.month = Some(self.word(&MONTHS, None, text)? + 1),
            Field::MonthShort => self.found.month = Some(self.word(&MONTHS, Some(3), text)? + 1),
            Field::MonthRoman => {
                // The longest first: VIII before VII.
                let order = [8, 7, 3, 12, 2, 4, 6, 9, 11, 1, 5, 10];
                let words = order.map(|month| ROMAN[month - 1]);
                let at = self.word(&words, None, text)?;
                self.found.month = Some(order[at as usize] as i64);
            }
            Field::DayName => drop(self.word(&WEEKDAYS, None, text)?),
            Field::DayShort => drop(self.word(&WEEKDAYS, Some(3), text)?),
            Field::ZoneName => return Err(Error::not_supported("formatting field \"TZ\" is only supported in to_char")),
            Field::ZoneHours | Field::Offset => self.zone_hours(),
            Field::YearComma => self.year_comma(text)?,
            _ => self.number(*field, node, next)?,
        }
        Ok(())
    }

    fn zone_hours(&mut self) {
        let negative = self.rest.starts_with('-') || (self.skipped == Some('-') && !self.rest.starts_with('+'));
        let unsigned = self.rest.trim_start_matches(['+', '-', ' ']);
        let (hours, after) = leading(unsigned, 2);
        let (minutes, after) = match after.strip_prefix(':') {
            Some(after) => leading(after, 2),
            None => (0, after),
        };
        let offset = hours * HOUR + minutes * MINUTE;
        self.found.zone = Some(if negative { -offset } else { offset });
        self.rest = after;
    }

    fn year_comma(&mut self, text: &str) -> Result<()> {
        let parts = self.rest.split_once(',').and_then(|(thousands, rest)| {
            let (years, after) = rest.split_at_checked(3)?;
            Some((thousands.trim().parse::<u16>().ok()?, years.parse::<u16>().ok()?, after))
        });
        let Some((thousands, years, after)) = parts else {
            return Err(Error::new(Kind::InvalidDatetime, format!("invalid input string for \"{text}\"")));
        };
        self.found.year = Some(i64::from(thousands) * 1_000 + i64::from(years));
        self.found.year_digits = 4;
        self.rest = after;
        Ok(())
    }

    fn number(&mut self, field: Field, node: &Node, next: Option<&Node>) -> Result<()> {
        let width = match field {
            Field::Millisecond | Field::DayOfYear | Field::IsoDayOfYear => 3,
            Field::Microsecond => 6,
            Field::Fraction(digits) | Field::Year(digits) | Field::IsoYear(digits) => digits,
            Field::SecondOfDay => 5,
            Field::Julian => 10,
            Field::DayOfWeek | Field::IsoDayOfWeek | Field::WeekOfMonth | Field::Quarter => 1,
            _ => 2,
        };
        let (value, length) = self.digits(width, node, next)?;
        let found = &mut self.found;
        match field {
            Field::Hour12 => (found.hour, found.twelve) = (Some(value), true),
            Field::Hour24 => found.hour = Some(value),
            Field::Minute => found.minute = value,
            Field::Second => found.second = value,
            Field::Millisecond => found.micros += value * 10_i64.pow(3_u32.saturating_sub(length as u32)) * 1_000,
            Field::Microsecond | Field::Fraction(_) => found.micros += value * 10_i64.pow(6_u32.saturating_sub(length as u32)),
            Field::SecondOfDay => found.second_of_day = Some(value),
            Field::Year(digits) => {
                found.year = Some(full_year(value, length, digits));
                found.year_digits = digits;
            }
            Field::IsoYear(digits) => found.iso_year = Some(full_year(value, length, digits)),
            Field::Month => found.month = Some(value),
            Field::Day => found.day = Some(value),
            Field::DayOfYear => found.day_of_year = Some(value),
            Field::IsoDayOfYear => found.iso_day_of_year = Some(value),
            Field::IsoDayOfWeek => found.iso_day = Some(value),
            Field::WeekOfMonth => found.week_of_month = Some(value),
            Field::Week => found.week = Some(value),
            Field::IsoWeek => found.iso_week = Some(value),
            Field::Century => found.century = Some(value),
            Field::Julian => found.julian = Some(value),
            Field::ZoneMinutes => {
                let zone = found.zone.unwrap_or(0);
                found.zone = Some(if zone < 0 { zone - value * MINUTE } else { zone + value * MINUTE });
            }
            // The day of the week and the quarter are read and mean nothing.
            _ => {}
        }
        Ok(())
    }
}

/// The number in the first digits, and what comes after them.
fn leading(text: &str, most: usize) -> (i64, &str) {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    (text[..length].parse().unwrap_or(0), &text[length..])
}

/// A year of fewer than four digits is the one nearest to 2020.
fn full_year(value: i64, length: usize, digits: usize) -> i64 {
    if digits >= 4 || length >= 4 || value < 0 {
        return value;
    }
    match value {
        0..70 => value + 2_000,
        70..100 => value + 1_900,
        100..520 => value + 2_000,
        520..1_000 => value + 1_000,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::push_number;

    #[test]
    fn numbers_are_padded_as_by_the_standard_library() {
        for value in [0, 7, -7, 10, 99, -100, 2_026, 1_000_000, i64::MAX, i64::MIN] {
            for width in [0, 1, 2, 4, 6, 25] {
                let mut out = String::from("at ");
                push_number(value, width, &mut out);
                assert_eq!(out, format!("at {value:0width$}"));
            }
        }
    }
}
