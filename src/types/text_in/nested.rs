//! Arrays `{a,"b c",NULL}` and rows `(a,"b c",)` from text.

use chrono_tz::Tz;

use super::value_in_zone;
use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, Value};

/// Arrays and rows within each other at the most.
const DEPTH_MAX: usize = 32;

/// An array whose elements have the text forms of `element`. Braces within braces are elements only if `element` is an array type.
pub(super) fn array<'a>(sql_type: &SqlType, element: &SqlType, text: &str, zone: Tz) -> Result<Value<'a>> {
    let malformed =
        |detail: &str| Error::new(Kind::InvalidText, format!("malformed array literal: \"{}\"", super::shortened(text))).detail(detail);
    let trimmed = text.trim_ascii();
    let inner = trimmed
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(|| malformed("Array value must start with \"{\" and end with \"}\"."))?;
    if inner.trim_ascii().is_empty() {
        return Ok(Value::List(Vec::new()));
    }
    let mut elements = Vec::new();
    for part in split(inner, true).ok_or_else(|| malformed("Unexpected array element."))? {
        elements.push(match part {
            Part::Quoted(value) => value_in_zone(element, &value, zone).map(Value::into_owned)?,
            Part::Plain(value) if value.eq_ignore_ascii_case("null") => Value::Null,
            Part::Plain(value) if value.is_empty() => return Err(malformed("Unexpected \",\" character.")),
            Part::Plain(value) if value.starts_with('{') && !matches!(element, SqlType::Array(_)) => {
                return Err(Error::not_supported(format!("arrays of more than one dimension as {sql_type}")));
            }
            Part::Plain(value) => value_in_zone(element, &value, zone).map(Value::into_owned)?,
        });
    }
    if matches!(element, SqlType::Array(_)) && !is_rectangular(&elements) {
        return Err(malformed("Multidimensional arrays must have sub-arrays with matching dimensions."));
    }
    Ok(Value::List(elements))
}

/// Whether arrays in one array are there, and of one length; those within them were looked at when they were read.
fn is_rectangular(arrays: &[Value<'_>]) -> bool {
    let shape = |array: &Value<'_>| {
        let (mut lengths, mut inner) = (Vec::new(), Some(array));
        while let Some(Value::List(elements)) = inner {
            lengths.push(elements.len());
            inner = elements.first();
        }
        lengths
    };
    let first = arrays.first().map(shape);
    arrays.iter().all(|array| matches!(array, Value::List(_)) && Some(shape(array)) == first)
}

/// A row of these fields; nothing between two commas is NULL.
pub(super) fn row<'a>(fields: &[(String, SqlType)], text: &str, zone: Tz) -> Result<Value<'a>> {
    let malformed =
        |detail: &str| Error::new(Kind::InvalidText, format!("malformed record literal: \"{}\"", super::shortened(text))).detail(detail);
    let inner = text
        .trim_ascii()
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .ok_or_else(|| malformed("A row is written in parentheses."))?;
    let parts = split(inner, false).ok_or_else(|| malformed("Unexpected end of input."))?;
    match parts.len().cmp(&fields.len()) {
        std::cmp::Ordering::Less => return Err(malformed("Too few columns.")),
        std::cmp::Ordering::Greater => return Err(malformed("Too many columns.")),
        std::cmp::Ordering::Equal => {}
    }
    let values = fields.iter().zip(parts).map(|((_, field), part)| match part {
        Part::Plain(value) if value.is_empty() => Ok(Value::Null),
        Part::Plain(value) | Part::Quoted(value) => value_in_zone(field, &value, zone).map(Value::into_owned),
    });
    Ok(Value::Row(values.collect::<Result<_>>()?))
}

/// What stands between two commas, without its quotes and escapes.
enum Part {
    /// Had no quotes.
    Plain(String),
    /// Had quotes: never NULL.
    Quoted(String),
}

/// Cuts at the commas that are not within quotes or braces. `None`: the quotes, escapes or braces do not end.
fn split(text: &str, is_array: bool) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let (mut part, mut quoted, mut in_quotes, mut depth) = (String::new(), false, false, 0_usize);
    let mut characters = text.chars().peekable();
    let close = |part: &mut String, quoted: &mut bool| {
        let text = std::mem::take(part);
        let plain = if is_array { text.trim_ascii().to_owned() } else { text.clone() };
        if std::mem::take(quoted) { Part::Quoted(text) } else { Part::Plain(plain) }
    };
    while let Some(character) = characters.next() {
        match character {
            // Within inner braces everything is kept as it is: the element's own type reads it.
            '\\' => {
                if depth > 0 {
                    part.push('\\');
                }
                part.push(characters.next()?);
            }
            '"' if depth > 0 => {
                in_quotes = !in_quotes;
                part.push('"');
            }
            // A doubled quote is one quote: in rows only.
            '"' if in_quotes && !is_array && characters.peek() == Some(&'"') => part.extend(characters.next()),
            '"' => {
                if is_array && !quoted {
                    part.clear();
                }
                (in_quotes, quoted) = (!in_quotes, true);
            }
            ',' if !in_quotes && depth == 0 => parts.push(close(&mut part, &mut quoted)),
            '{' | '}' if is_array && !in_quotes => {
                depth = if character == '{' { depth + 1 } else { depth.checked_sub(1)? };
                if depth > DEPTH_MAX {
                    return None;
                }
                part.push(character);
            }
            // Blanks behind a quoted element belong to nothing.
            ' ' if is_array && quoted && !in_quotes => {}
            _ if is_array && quoted && !in_quotes && depth == 0 => return None,
            _ => part.push(character),
        }
    }
    parts.push(close(&mut part, &mut quoted));
    (!in_quotes && depth == 0).then_some(parts)
}

#[cfg(test)]
mod tests {
    use crate::types::{SqlType, Value, value_from_text};

    fn text(text: &str) -> Value<'static> {
        Value::Text(text.to_owned().into())
    }

    #[test]
    fn arrays() {
        let texts = SqlType::Array(Box::new(SqlType::Text));
        let read = |input: &'static str| value_from_text(&texts, input).map_err(|error| error.message().to_owned());
        assert_eq!(
            read("{a, \"b c\" ,NULL,\"NULL\",\"q\\\"\\\\\"}"),
            Ok(Value::List(vec![text("a"), text("b c"), Value::Null, text("NULL"), text("q\"\\")]))
        );
        assert_eq!(read("{}"), Ok(Value::List(vec![])));
        assert_eq!(read("{\"\"}"), Ok(Value::List(vec![text("")])));
        for bad in ["a", "{a", "{a,}", "{\"a}", "{a}}", "{\"a\"b}"] {
            assert_eq!(read(bad), Err(format!("malformed array literal: \"{bad}\"")));
        }
        let matrix = SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Int4))));
        let rows = vec![Value::List(vec![Value::Int(1), Value::Int(2)]), Value::List(vec![Value::Null, Value::Int(4)])];
        assert_eq!(value_from_text(&matrix, "{{1,2},{NULL,4}}").unwrap(), Value::List(rows));
        for ragged in ["{{1,2},{3}}", "{{1},NULL}"] {
            assert_eq!(value_from_text(&matrix, ragged).unwrap_err().kind().sqlstate(), "22P02", "{ragged}");
        }
        let numbers = SqlType::Array(Box::new(SqlType::Int4));
        assert_eq!(value_from_text(&numbers, "{1,x}").unwrap_err().message(), "invalid input syntax for type integer: \"x\"");
        assert_eq!(value_from_text(&numbers, "{{1}}").unwrap_err().kind().sqlstate(), "0A000");
    }

    #[test]
    fn rows() {
        let row = SqlType::Struct(vec![("a".into(), SqlType::Int4), ("b".into(), SqlType::Text), ("c".into(), SqlType::Text)]);
        let read = |input: &'static str| value_from_text(&row, input).map_err(|error| error.detail_text().unwrap_or("").to_owned());
        assert_eq!(read("(1,\"x, \"\"y\"\"\",)"), Ok(Value::Row(vec![Value::Int(1), text("x, \"y\""), Value::Null])));
        assert_eq!(read("(1,a)"), Err("Too few columns.".into()));
        assert_eq!(read("(1,a,b,c)"), Err("Too many columns.".into()));
    }
}
