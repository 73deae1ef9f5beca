//! Dates and times from text: ISO 8601 first, and the other forms that PostgreSQL reads without ambiguity (date style ISO, MDY).
//!
//! `2024-02-29`, `20240229`, `2/29/2024`, `Feb 29, 2024`, `29 February 2024`; `T` or a blank; `10:05`, `10:05:06.789`, `100506`,
//! `10:05 PM`; `Z`, `UTC`, `+02`, `+0230`, `+02:30`, `Europe/Vienna`; `BC`.

use std::ops::RangeInclusive;

use arrow::array::timezone::Tz;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};

use super::{invalid, shortened};
use crate::error::{Error, Kind, Result};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Days since 1970-01-01. A time behind the date is read and dropped.
pub(super) fn date(text: &str) -> Result<i64> {
    let (micros, _) = Parser::new("date", text).timestamp()?;
    Ok(micros.div_euclid(MICROS_PER_DAY))
}

/// Microseconds since midnight. An offset is read and dropped.
pub(super) fn time(text: &str) -> Result<i64> {
    let mut parser = Parser::new("time", text);
    let micros = parser.time_of_day()?;
    parser.zone()?;
    parser.end()?;
    // 24:00 is a time to PostgreSQL, but to nothing that reads Arrow.
    if micros >= MICROS_PER_DAY { Err(parser.out_of_range()) } else { Ok(micros) }
}

/// Microseconds since 1970-01-01 00:00. An offset is read and dropped.
pub(super) fn timestamp(text: &str) -> Result<i64> {
    match usual_timestamp(text.as_bytes()) {
        Some((micros, _)) => Ok(micros),
        None => Ok(Parser::new("timestamp", text).timestamp()?.0),
    }
}

/// Microseconds since 1970-01-01 00:00 UTC. Without an offset the text is local time of `zone`.
pub(super) fn timestamptz(text: &str, zone: chrono_tz::Tz) -> Result<i64> {
    let parser = || Parser::new("timestamp with time zone", text);
    let (local, named) = match usual_timestamp(text.as_bytes()) {
        Some((micros, utc)) => (micros, utc.then_some(Zone::Offset(0))),
        None => parser().timestamp()?,
    };
    let out_of_range = || parser().out_of_range();
    let offset_seconds = match named {
        None if zone == chrono_tz::Tz::UTC => 0,
        None => zone_offset(zone, local).ok_or_else(out_of_range)?,
        Some(Zone::Offset(seconds)) => seconds,
        Some(Zone::Named(zone)) => zone_offset(zone, local).ok_or_else(out_of_range)?,
    };
    local.checked_sub(offset_seconds * MICROS_PER_SECOND).ok_or_else(out_of_range)
}

/// The local microseconds of a moment as nearly every program writes it, `2024-02-29 12:34:56.789`, and whether a `Z` follows. Tenths to
/// microseconds. `None`: it is written otherwise, or is none, which the parser can tell.
pub fn usual_timestamp(text: &[u8]) -> Option<(i64, bool)> {
    let ([y3, y2, y1, y0, b'-', m1, m0, b'-', d1, d0, b' ' | b'T', h1, h0, b':', min1, min0, b':', s1, s0], rest) =
        text.split_first_chunk::<19>()?
    else {
        return None;
    };
    let number = |digits: &[&u8]| {
        let digit = |number: u32, digit: &&u8| char::from(**digit).to_digit(10).map(|digit| number * 10 + digit);
        digits.iter().try_fold(0, digit)
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(&[y3, y2, y1, y0])?).ok()?, number(&[m1, m0])?, number(&[d1, d0])?)?;
    let (hour, minute, second) = (number(&[h1, h0])?, number(&[min1, min0])?, number(&[s1, s0])?);
    if date.year() < 1 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, utc) = rest.strip_suffix(b"Z").map_or((rest, false), |fraction| (fraction, true));
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => (0..6).try_fold(0, |micros, place| {
            let digit = digits.get(place).map_or(Some(0), |digit| char::from(*digit).to_digit(10))?;
            Some(micros * 10 + i64::from(digit))
        })?,
        _ => return None,
    };
    let seconds = i64::from((hour * 60 + minute) * 60 + second);
    Some((i64::from(date.to_epoch_days()) * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + micros, utc))
}

/// Where a local time is.
enum Zone {
    /// Seconds east of Greenwich.
    Offset(i64),
    /// A zone with rules.
    Named(Tz),
}

/// The zone's offset at a local time. One that a change of clocks skips is read with the offset before the change, one that it repeats is the
/// later, as in PostgreSQL.
fn zone_offset<Z: TimeZone>(zone: Z, local_micros: i64) -> Option<i64> {
    let local: NaiveDateTime = DateTime::from_timestamp_micros(local_micros)?.naive_utc();
    let offset = match zone.offset_from_local_datetime(&local) {
        chrono::LocalResult::Single(offset) => offset,
        chrono::LocalResult::Ambiguous(_, later) => later,
        chrono::LocalResult::None => zone.offset_from_utc_datetime(&local.checked_sub_signed(chrono::TimeDelta::days(1))?),
    };
    Some(offset.fix().local_minus_utc().into())
}

/// Goes through one text.
struct Parser<'a> {
    type_name: &'static str,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// Days since 1970-01-01 of a date that can be shown and computed with, as those are that come as text: the years -262143 to 262142. Else `22008`.
pub fn day_in_range(days: i64) -> Result<i64> {
    let (first, last) = (NaiveDate::MIN, NaiveDate::MAX);
    let from_1970 = |date: NaiveDate| date.signed_duration_since(NaiveDate::default()).num_days();
    in_range("date", days, from_1970(first)..=from_1970(last))
}

/// The same of microseconds since 1970-01-01 00:00.
pub fn moment_in_range(micros: i64) -> Result<i64> {
    in_range("timestamp", micros, DateTime::<Utc>::MIN_UTC.timestamp_micros()..=DateTime::<Utc>::MAX_UTC.timestamp_micros())
}

fn in_range(type_name: &str, number: i64, range: RangeInclusive<i64>) -> Result<i64> {
    let out_of_range = || Error::new(Kind::DatetimeOutOfRange, format!("{type_name} out of range"));
    range.contains(&number).then_some(number).ok_or_else(out_of_range)
}

/// `22008` for a moment that is no date.
pub fn no_infinity(type_name: &str, written: &str) -> Error {
    Error::new(Kind::DatetimeOutOfRange, format!("{type_name} does not hold \"{written}\""))
        .hint("Use NULL, or a date far away such as 9999-12-31.")
}

impl<'a> Parser<'a> {
    fn new(type_name: &'static str, text: &'a str) -> Self {
        Parser { type_name, text, bytes: text.trim_ascii().as_bytes(), at: 0 }
    }

    fn invalid(&self) -> Error {
        invalid(self.type_name, self.text)
    }

    fn out_of_range(&self) -> Error {
        Error::new(Kind::DatetimeOutOfRange, format!("date/time field value out of range: \"{}\"", shortened(self.text)))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Steps over `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while self.take(b' ') {}
    }

    /// A run of digits: its value and its length. None of nine and more: no field is that long.
    fn digits(&mut self) -> Result<(i64, usize)> {
        let start = self.at;
        let mut value = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value * 10 + i64::from(digit - b'0');
            self.at += 1;
            if self.at - start > 8 {
                return Err(self.out_of_range());
            }
        }
        if self.at == start { Err(self.invalid()) } else { Ok((value, self.at - start)) }
    }

    /// A run of letters, in lower case.
    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..self.at]).to_ascii_lowercase()
    }

    fn end(&self) -> Result<()> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.invalid()) }
    }

    /// Local microseconds since 1970, and the zone if one is named.
    fn timestamp(mut self) -> Result<(i64, Option<Zone>)> {
        if let Some(special) = self.special_word()? {
            return Ok((special, Some(Zone::Offset(0))));
        }
        let (mut year, month, day) = self.date()?;
        let mut micros = 0;
        if self.take(b'T') || self.take(b't') || self.peek() == Some(b' ') {
            self.blanks();
            if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                micros = self.time_of_day()?;
            }
        }
        let zone = self.zone()?;
        self.blanks();
        if self.at < self.bytes.len() {
            match self.word().as_str() {
                "bc" => year = 1 - year,
                "ad" => {}
                _ => return Err(self.invalid()),
            }
        }
        self.end()?;
        let date =
            i32::try_from(year).ok().and_then(|year| NaiveDate::from_ymd_opt(year, month, day)).ok_or_else(|| self.out_of_range())?;
        let days = i64::from(date.to_epoch_days());
        let micros = days.checked_mul(MICROS_PER_DAY).and_then(|start| start.checked_add(micros)).ok_or_else(|| self.out_of_range())?;
        Ok((micros, zone))
    }

    /// `epoch`; the words that mean a moment we cannot know or hold are refused by name.
    fn special_word(&mut self) -> Result<Option<i64>> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'-' || byte == b'+') {
            return Ok(None);
        }
        let whole = String::from_utf8_lossy(self.bytes).to_ascii_lowercase();
        match whole.trim_start_matches(['-', '+']) {
            "epoch" => Ok(Some(0)),
            "infinity" => Err(no_infinity(self.type_name, &whole)),
            "now" | "today" | "tomorrow" | "yesterday" | "allballs" => {
                Err(Error::not_supported(format!("\"{whole}\" as a {} text", self.type_name)).hint("Use now() or current_date."))
            }
            _ => Ok(None),
        }
    }

    fn date(&mut self) -> Result<(i64, u32, u32)> {
        if self.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            let month = self.month_name()?;
            self.separators();
            let (day, _) = self.digits()?;
            self.separators();
            let (year, _) = self.digits()?;
            return self.ymd(year, month, day);
        }
        let (first, length) = self.digits()?;
        match self.peek() {
            Some(b'-' | b' ' | b'.') if self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_alphabetic) && length <= 2 => {
                self.at += 1;
                let month = self.month_name()?;
                self.separators();
                let (year, _) = self.digits()?;
                self.ymd(year, month, first)
            }
            Some(separator @ (b'-' | b'/')) if length >= 3 => {
                self.at += 1;
                let (month, _) = self.digits()?;
                if !self.take(separator) {
                    return Err(self.invalid());
                }
                let (day, _) = self.digits()?;
                self.ymd(first, month, day)
            }
            Some(b'/') => {
                self.at += 1;
                let (day, _) = self.digits()?;
                if !self.take(b'/') {
                    return Err(self.invalid());
                }
                match self.digits()? {
                    (year, 3..) => self.ymd(year, first, day),
                    _ => Err(self.invalid()),
                }
            }
            _ if length == 8 => self.ymd(first / 10_000, first / 100 % 100, first % 100),
            _ => Err(self.invalid()),
        }
    }

    fn ymd(&self, year: i64, month: i64, day: i64) -> Result<(i64, u32, u32)> {
        match (u32::try_from(month), u32::try_from(day)) {
            (Ok(month @ 1..=12), Ok(day @ 1..=31)) if year > 0 => Ok((year, month, day)),
            _ => Err(self.out_of_range()),
        }
    }

    fn separators(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'-' | b',' | b'.')) {
            self.at += 1;
        }
    }

    fn month_name(&mut self) -> Result<i64> {
        const MONTHS: [&str; 12] =
            ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
        let word = self.word();
        let month = MONTHS.iter().position(|month| *month == word || (month[..3] == word) || (word == "sept" && *month == "september"));
        month.and_then(|index| i64::try_from(index + 1).ok()).ok_or_else(|| self.invalid())
    }

    /// Microseconds since midnight; up to and including 24:00:00.
    fn time_of_day(&mut self) -> Result<i64> {
        let (mut hour, minute, second) = match self.digits()? {
            (packed, 6) => (packed / 10_000, packed / 100 % 100, packed % 100),
            (packed, 4) => (packed / 100, packed % 100, 0),
            (hour, 1..=2) if self.take(b':') => {
                let (minute, _) = self.digits()?;
                let second = if self.take(b':') { self.digits()?.0 } else { 0 };
                (hour, minute, second)
            }
            _ => return Err(self.invalid()),
        };
        let fraction = if self.take(b'.') { self.fraction()? } else { 0 };
        let before = self.at;
        self.blanks();
        match (self.word().as_str(), hour) {
            ("am", 1..=12) => hour %= 12,
            ("pm", 1..=12) => hour = hour % 12 + 12,
            ("am" | "pm", _) => return Err(self.out_of_range()),
            _ => self.at = before,
        }
        let micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + fraction;
        if minute > 59 || second > 60 || micros > MICROS_PER_DAY {
            return Err(self.out_of_range());
        }
        Ok(micros)
    }

    /// What stands behind the point of a second, in microseconds, rounded.
    fn fraction(&mut self) -> Result<i64> {
        let start = self.at;
        let mut micros = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            match self.at - start {
                0..6 => micros = micros * 10 + i64::from(digit - b'0'),
                6 => micros += i64::from(digit >= b'5'),
                _ => {}
            }
            self.at += 1;
        }
        let missing = 6_usize.saturating_sub(self.at - start);
        Ok(micros * 10_i64.pow(u32::try_from(missing).expect("six at the most")))
    }

    fn zone(&mut self) -> Result<Option<Zone>> {
        let before = self.at;
        self.blanks();
        match self.peek() {
            Some(sign @ (b'+' | b'-')) => {
                self.at += 1;
                let seconds = self.offset()?;
                Ok(Some(Zone::Offset(if sign == b'-' { -seconds } else { seconds })))
            }
            Some(byte) if byte.is_ascii_alphabetic() => {
                let start = self.at;
                while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+')) {
                    self.at += 1;
                }
                let name = String::from_utf8_lossy(&self.bytes[start..self.at]);
                match name.to_ascii_lowercase().as_str() {
                    "z" | "utc" | "gmt" | "zulu" => Ok(Some(Zone::Offset(0))),
                    "bc" | "ad" => {
                        self.at = before;
                        Ok(None)
                    }
                    _ => Ok(Some(Zone::Named(name.parse().map_err(|_| self.unknown_zone(&name))?))),
                }
            }
            _ => Ok(None),
        }
    }

    fn unknown_zone(&self, name: &str) -> Error {
        if !name.contains('/') {
            return self.invalid();
        }
        Error::new(Kind::InvalidParameter, format!("time zone \"{}\" not recognized", shortened(name)))
    }

    /// `HH`, `HHMM`, `HH:MM`, `HH:MM:SS`, in seconds.
    fn offset(&mut self) -> Result<i64> {
        let (hours, minutes) = match self.digits()? {
            (packed, 4) => (packed / 100, packed % 100),
            (hours, 1..=2) => (hours, if self.take(b':') { self.digits()?.0 } else { 0 }),
            _ => return Err(self.invalid()),
        };
        let seconds = if self.take(b':') { self.digits()?.0 } else { 0 };
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(Error::new(Kind::DatetimeOutOfRange, format!("time zone displacement out of range: \"{}\"", shortened(self.text))));
        }
        Ok((hours * 60 + minutes) * 60 + seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::{date, time, timestamp};

    fn timestamptz(text: &str) -> crate::error::Result<i64> {
        super::timestamptz(text, chrono_tz::Tz::UTC)
    }

    /// 2024-02-29 12:34:56 in microseconds.
    const LEAP: i64 = 1_709_210_096_000_000;

    fn code<T: std::fmt::Debug>(result: crate::error::Result<T>) -> &'static str {
        result.unwrap_err().kind().sqlstate()
    }

    #[test]
    fn one_moment_in_many_forms() {
        for text in [
            "2024-02-29 12:34:56",
            "2024-02-29T12:34:56Z",
            " 20240229T123456 ",
            "2/29/2024 12:34:56",
            "Feb 29, 2024 12:34:56 PM",
            "29 February 2024 12:34:56",
            "2024-02-29 12:34:56.0000004",
            "2024-02-29 12:34:56+00",
            "2024-02-29 12:34:56 UTC",
        ] {
            assert_eq!(timestamp(text).unwrap(), LEAP, "{text}");
            assert_eq!(timestamptz(text).unwrap(), LEAP, "{text}");
        }
        for text in ["2024-02-29 14:34:56+02", "2024-02-29 07:04:56 -0530", "2024-02-29T13:34:56 Europe/Vienna", "2024-02-29 12:34:56.000"]
        {
            assert_eq!(timestamptz(text).unwrap(), LEAP, "{text}");
        }
        assert_eq!(timestamp("2024-02-29 12:34:56.7890125").unwrap(), LEAP + 789_013);
        assert_eq!(timestamp("2024-02-29 24:00").unwrap(), timestamp("2024-03-01").unwrap());
        assert_eq!(timestamp("1969-12-31 23:59:59.5").unwrap(), -500_000);
    }

    #[test]
    fn what_is_read_at_a_glance_is_what_the_parser_reads() {
        let texts = [
            "2024-02-29 12:34:56",
            "2024-02-29T12:34:56Z",
            "2024-02-29 12:34:56.7",
            "2024-02-29T12:34:56.789012Z",
            "1969-12-31 23:59:59.999999",
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59",
            // What is left to the parser.
            "2024-02-29 12:34:56.7890125",
            "2024-02-29 12:34:56.",
            "2024-02-29 12:34:60",
            "2024-02-29 24:00:00",
            "2024-02-29 12:34:56z",
            "2024-02-29 12:34:56 Z",
            "2024-02-29 12:34:56ZZ",
            "2024-02-29 12:34:56 BC",
            "2024-02-29 12:34:56+02",
            "2024-02-29 1a:34:56",
            "2024-02-30 12:34:56",
            "2024-13-01 12:34:56",
            "2024-00-01 12:34:56",
            "0000-01-01 12:34:56",
            "2024-02-29 25:34:56",
            "2024-02-29 12:60:56",
            "2024-02-29 12:34:56.x",
        ];
        let by_parser = |text| super::Parser::new("timestamp", text).timestamp();
        for text in texts {
            let parsed = by_parser(text).map(|(micros, _)| micros);
            assert_eq!(timestamp(text).map_err(|error| error.to_string()), parsed.map_err(|error| error.to_string()), "{text}");
            if let Some((_, utc)) = super::usual_timestamp(text.as_bytes()) {
                assert_eq!(by_parser(text).unwrap().1.is_some(), utc, "{text}");
            }
        }
        assert_eq!(texts.iter().filter(|text| super::usual_timestamp(text.as_bytes()).is_some()).count(), 7);
        let berlin = |text| super::timestamptz(text, chrono_tz::Europe::Berlin).unwrap();
        assert_eq!(berlin("2024-07-01 12:00:00Z"), timestamp("2024-07-01 12:00:00").unwrap());
        assert_eq!(berlin("2024-07-01 12:00:00"), timestamp("2024-07-01 10:00:00").unwrap());
    }

    #[test]
    fn a_zone_reads_what_has_no_offset() {
        let berlin = |text: &str| super::timestamptz(text, chrono_tz::Europe::Berlin).unwrap();
        assert_eq!(berlin("2024-02-29 13:34:56"), LEAP);
        assert_eq!(berlin("2024-02-29 12:34:56+00"), LEAP);
        assert_eq!(berlin("epoch"), 0);
        // Skipped in spring: with the offset before; repeated in autumn: the later.
        assert_eq!(berlin("2024-03-31 02:30"), berlin("2024-03-31 01:30+00"));
        assert_eq!(berlin("2024-10-27 02:30"), berlin("2024-10-27 01:30+00"));
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(date("1970-01-02").unwrap(), 1);
        assert_eq!(date("1969-12-31 23:00").unwrap(), -1);
        assert_eq!(date("0001-01-01 BC").unwrap(), date("0001-01-01").unwrap() - 366);
        assert_eq!(time("04:05:06.789").unwrap(), 14_706_789_000);
        assert_eq!(time("12:00 AM").unwrap(), 0);
    }

    #[test]
    fn what_is_wrong_is_said_by_sqlstate() {
        for text in ["", "abc", "2024", "2024-02", "2024-02-29 12", "2024-02-29x", "12-02-29", "2024-02-29 12:34:56 Foo"] {
            assert_eq!(code(timestamp(text)), "22007", "{text}");
        }
        for text in ["2023-02-29", "2024-13-01", "2024-01-01 25:00", "infinity", "-infinity", "0000-01-01", "2024-01-01 12:60"] {
            assert_eq!(code(timestamp(text)), "22008", "{text}");
        }
        assert_eq!(code(timestamptz("2024-01-01 00:00 Mars/Phobos")), "22023");
        assert_eq!(code(date("now")), "0A000");
        assert_eq!(code(time("24:00:00")), "22008");
        assert_eq!(timestamp("2024-13-01").unwrap_err().message(), "date/time field value out of range: \"2024-13-01\"");
        assert_eq!(date("abc").unwrap_err().message(), "invalid input syntax for type date: \"abc\"");
    }
}
