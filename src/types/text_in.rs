//! Text → values, as PostgreSQL's input functions read it (and with its error messages).
//!
//! In: the text form of any type: parameters in text format, COPY lines, CSV fields, strings in JSON. Out: `Value`s, or a column.
//! What needs a clock is left out: `now`, `today`; a timestamptz without an offset is read as UTC, or in a session's zone; infinity is refused.

mod datetime;
mod interval;
mod nested;
mod number;

use std::borrow::Cow;

use arrow::array::ArrayRef;
use chrono_tz::Tz;

use super::SqlType;
use super::json_scan::{JsonError, JsonScanner};
use super::jsonb::canonical_jsonb;
use super::round_time::round_value;
use super::value::{ColumnBuilder, Value};
use crate::error::{Error, Kind, Result};

pub use datetime::{day_in_range, moment_in_range, no_infinity, usual_timestamp};
pub use number::{decimal_from_text, integer_from_text, whole_from_text};

/// A column of `sql_type` from the text forms of its values; `None` is NULL. The first value that is none of the type is an error:
/// `22P02`, `22003`, `22001`, `22007` or `22008`, worded as PostgreSQL does.
pub fn parse_column<'a>(sql_type: &SqlType, values: impl IntoIterator<Item = Option<&'a str>>) -> Result<ArrayRef> {
    parse_column_in(sql_type, values, Tz::UTC)
}

/// As `parse_column`; a timestamptz without an offset is local time of `zone`.
pub fn parse_column_in<'a>(sql_type: &SqlType, values: impl IntoIterator<Item = Option<&'a str>>, zone: Tz) -> Result<ArrayRef> {
    let mut column = ColumnBuilder::new(sql_type);
    for value in values {
        column.append(&value.map_or(Ok(Value::Null), |text| value_in_zone(sql_type, text, zone))?);
    }
    Ok(column.finish())
}

/// An array of length 1 from the text form of a value; `None` is NULL.
pub fn parse_value(sql_type: &SqlType, value: Option<&str>) -> Result<ArrayRef> {
    parse_column(sql_type, [value])
}

/// The value that `text` is the text form of. Borrows from `text` where it can.
pub fn value_from_text<'a>(sql_type: &SqlType, text: &'a str) -> Result<Value<'a>> {
    value_in_zone(sql_type, text, Tz::UTC)
}

fn value_in_zone<'a>(sql_type: &SqlType, text: &'a str, zone: Tz) -> Result<Value<'a>> {
    Ok(match sql_type {
        SqlType::Bool => Value::Bool(boolean(text)?),
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Oid => Value::Int(integer_from_text(sql_type, text)?),
        SqlType::Float4 | SqlType::Float8 => Value::Float(number::float(sql_type, text)?),
        SqlType::Numeric(precision, scale) => decimal_from_text(*precision, *scale, text)?,
        SqlType::Text | SqlType::Varchar(None) | SqlType::Name => Value::Text(text.into()),
        SqlType::Varchar(Some(length)) => Value::Text(at_most(sql_type, *length, text)?.into()),
        SqlType::Char(length) => Value::Text(at_most(sql_type, *length, text)?.trim_end_matches(' ').into()),
        SqlType::CatalogChar => Value::Text(text.chars().next().map_or("", |first| &text[..first.len_utf8()]).into()),
        SqlType::Bytea => Value::Bytes(bytea(text)?),
        SqlType::Date => Value::Int(datetime::date(text)?),
        SqlType::Time => Value::Int(datetime::time(text)?),
        SqlType::Timestamp => Value::Int(datetime::timestamp(text)?),
        SqlType::Timestamptz => Value::Int(datetime::timestamptz(text, zone)?),
        SqlType::Interval => Value::Interval(interval::interval(text)?),
        SqlType::Uuid => Value::Text(uuid(text)?.into()),
        SqlType::Json => Value::Text(json(text)?.into()),
        SqlType::Jsonb => Value::Text(canonical_jsonb(text)?.into()),
        SqlType::Array(element) => nested::array(sql_type, element, text, zone)?,
        SqlType::Struct(fields) => nested::row(fields, text, zone)?,
        SqlType::Rounded(whole, digits) => round_value(whole, value_in_zone(whole, text, zone)?, *digits)?,
    })
}

/// PostgreSQL's first message about any value: `invalid input syntax for type integer: "abc"`, `22P02` unless it is about dates.
fn invalid(type_name: &str, text: &str) -> Error {
    let kind = match type_name {
        "date" | "time" | "timestamp" | "timestamp with time zone" | "interval" => Kind::InvalidDatetime,
        _ => Kind::InvalidText,
    };
    Error::new(kind, format!("invalid input syntax for type {type_name}: \"{}\"", shortened(text)))
}

/// Enough of a text to recognise it: errors may be kept by the thousand.
fn shortened(text: &str) -> Cow<'_, str> {
    const CHARACTERS_MAX: usize = 100;
    match text.char_indices().nth(CHARACTERS_MAX) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

/// Any beginning of true, false, yes, no, on, off that only one of them has; 1 and 0. Case does not matter.
fn boolean(text: &str) -> Result<bool> {
    let word = text.trim();
    let is =
        |whole: &str, letters: usize| word.len() >= letters && word.len() <= whole.len() && whole[..word.len()].eq_ignore_ascii_case(word);
    if is("true", 1) || is("yes", 1) || is("on", 2) || word == "1" {
        Ok(true)
    } else if is("false", 1) || is("no", 1) || is("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(invalid("boolean", text))
    }
}

/// The text without the blanks that make it too long; anything else that does is an error.
fn at_most<'a>(sql_type: &SqlType, length: u32, text: &'a str) -> Result<&'a str> {
    let length = length as usize;
    // Bytes are never fewer than characters, and cheaper to count.
    if text.len() <= length {
        return Ok(text);
    }
    match text.char_indices().nth(length) {
        None => Ok(text),
        Some((end, _)) if text[end..].bytes().all(|byte| byte == b' ') => Ok(&text[..end]),
        Some(_) => Err(Error::new(Kind::StringTooLong, format!("value too long for type {sql_type}"))),
    }
}

/// `\x` and hexadecimal digits (white space between bytes is skipped), or the escape format: `\\` and `\ooo`, the rest as it is.
fn bytea(text: &str) -> Result<Cow<'_, [u8]>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let mut bytes = Vec::with_capacity(digits.len() / 2);
        let mut digits = digits.chars().filter(|character| !character.is_ascii_whitespace());
        while let Some(high) = digits.next() {
            let digit = |character: char| {
                let error = || Error::new(Kind::InvalidText, format!("invalid hexadecimal digit: \"{character}\""));
                character.to_digit(16).ok_or_else(error)
            };
            let odd = || Error::new(Kind::InvalidText, "invalid hexadecimal data: odd number of digits");
            let byte = digit(high)? * 16 + digit(digits.next().ok_or_else(odd)?)?;
            bytes.push(u8::try_from(byte).expect("two digits of four bits"));
        }
        return Ok(bytes.into());
    }
    if !text.contains('\\') {
        return Ok(text.as_bytes().into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', after @ ..]) => {
                bytes.push(((high - b'0') << 6) | ((middle - b'0') << 3) | (low - b'0'));
                after
            }
            (b'\\', _) => return Err(invalid("bytea", text)),
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    Ok(bytes.into())
}

/// Checked, in lower case, with hyphens at the usual places.
fn uuid(text: &str) -> Result<String> {
    let error = || invalid("uuid", text);
    let digits = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(text);
    // The library also takes "urn:uuid:…", which PostgreSQL does not.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Err(error());
    }
    Ok(uuid::Uuid::try_parse(digits).map_err(|_| error())?.as_hyphenated().to_string())
}

/// Checked, as it is.
fn json(text: &str) -> Result<&str> {
    JsonScanner::whole(text).map_err(|cause| not_json(text, cause))?;
    Ok(text)
}

/// What a text that is not JSON is told.
pub(super) fn not_json(text: &str, cause: JsonError) -> Error {
    invalid("json", text).detail(format!("It is not JSON: {cause}."))
}

#[cfg(test)]
mod tests {
    use super::{parse_column, value_from_text};
    use crate::types::{SqlType, Value};
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int32Type;

    /// SQLSTATE and message of what goes wrong.
    fn error(sql_type: &SqlType, text: &str) -> String {
        let error = value_from_text(sql_type, text).unwrap_err();
        format!("{} {}", error.kind().sqlstate(), error.message())
    }

    fn text(sql_type: &SqlType, input: &str) -> String {
        match value_from_text(sql_type, input).unwrap() {
            Value::Text(text) => text.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_column_with_nulls() {
        let column = parse_column(&SqlType::Int4, [Some("1"), None, Some(" -3 ")]).unwrap();
        assert_eq!(column.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(1), None, Some(-3)]);
        assert_eq!(parse_column(&SqlType::Jsonb, []).unwrap().len(), 0);
    }

    #[test]
    fn booleans() {
        for yes in ["t", "TRUE", "tr", "yes", "y", "on", "1", " true "] {
            assert_eq!(value_from_text(&SqlType::Bool, yes).unwrap(), Value::Bool(true), "{yes}");
        }
        for no in ["f", "False", "n", "off", "of", "0"] {
            assert_eq!(value_from_text(&SqlType::Bool, no).unwrap(), Value::Bool(false), "{no}");
        }
        for bad in ["o", "", "2", "truer", "ünï"] {
            assert!(value_from_text(&SqlType::Bool, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_count_characters() {
        assert_eq!(text(&SqlType::Varchar(Some(3)), "äöü"), "äöü");
        assert_eq!(text(&SqlType::Varchar(Some(3)), "abc  "), "abc");
        assert_eq!(error(&SqlType::Varchar(Some(3)), "abcd"), "22001 value too long for type character varying(3)");
        assert_eq!(text(&SqlType::Char(4), "ab "), "ab");
    }

    #[test]
    fn bytea_in_both_formats() {
        let bytes = |input: &'static str| value_from_text(&SqlType::Bytea, input).unwrap();
        assert_eq!(bytes("\\xDEad be"), Value::Bytes(vec![0xde, 0xad, 0xbe].into()));
        assert_eq!(bytes("a\\\\b\\001"), Value::Bytes(b"a\\b\x01".to_vec().into()));
        assert_eq!(error(&SqlType::Bytea, "\\x1"), "22P02 invalid hexadecimal data: odd number of digits");
        assert_eq!(error(&SqlType::Bytea, "\\9"), "22P02 invalid input syntax for type bytea: \"\\9\"");
    }

    #[test]
    fn uuid_and_json_are_checked() {
        assert_eq!(text(&SqlType::Uuid, "A0EEBC999C0B4EF8BB6D6BB9BD380A11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        assert_eq!(error(&SqlType::Uuid, "abc"), "22P02 invalid input syntax for type uuid: \"abc\"");
        assert_eq!(text(&SqlType::Jsonb, "{\"a\": [1, 2]}"), "{\"a\": [1, 2]}");
        assert_eq!(error(&SqlType::Json, "{a}"), "22P02 invalid input syntax for type json: \"{a}\"");
    }
}
