//! One JSON value → a value of a column's type.
//!
//! Strings are read as PostgreSQL reads text of the type, so `"12"` is a number where a number is wanted and `"\\x00ff"` is bytea.
//! Numbers as timestamps count from 1970 in the unit that their magnitude suggests; as dates they are days.

use std::borrow::Cow;

use crate::error::{Error, Kind, Result};
use crate::types::{
    Json, JsonScanner, JsonString, SqlType, Value, canonical_jsonb, day_in_range, decimal_from_text, moment_in_range, round_value,
    storable_text, value_from_text, whole_from_text,
};

/// Below this a number is seconds, …
const SECONDS_BELOW: u64 = 100_000_000_000;
/// … below this milliseconds (so before 1973-03-03 they are taken for seconds), …
const MILLIS_BELOW: u64 = 1_000 * SECONDS_BELOW;
/// … below this microseconds, and nanoseconds from here on.
const MICROS_BELOW: u64 = 1_000 * MILLIS_BELOW;

/// `22P02` (or what the type's text form gives) if `json` is no value of the type.
pub(super) fn value_from_json<'a>(sql_type: &SqlType, json: Json<'a>) -> Result<Value<'a>> {
    match (sql_type, json) {
        (_, Json::Null) => Ok(Value::Null),
        (SqlType::Rounded(whole, digits), json) => round_value(whole, value_from_json(whole, json)?, *digits),
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Oid, Json::Number(text)) => {
            whole_from_text(sql_type, text).map(Value::Int)
        }
        (SqlType::Text | SqlType::Varchar(None), Json::String(text)) => Ok(Value::Text(characters(sql_type, text)?)),
        (SqlType::Timestamp | SqlType::Timestamptz, Json::Number(text)) => timestamp(text).map(Value::Int),
        (SqlType::Date, Json::Number(text)) => whole_from_text(&SqlType::Int8, text).and_then(day_in_range).map(Value::Int),
        (SqlType::Numeric(precision, scale), Json::Number(text)) => decimal_from_text(*precision, *scale, text),
        (SqlType::Bool, Json::Bool(value)) => Ok(Value::Bool(value)),
        (SqlType::Jsonb, json) => Ok(Value::Text(canonical_jsonb(&own_text(json))?.into())),
        (SqlType::Json, json) => Ok(Value::Text(own_text(json))),
        (SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name, json @ (Json::Object(_) | Json::Array(_))) => {
            from_text(sql_type, own_text(json))
        }
        (SqlType::Array(element), Json::Array(text)) => array(element, text),
        (SqlType::Struct(fields), Json::Object(text)) => object(fields, text),
        (_, Json::String(text)) => from_text(sql_type, characters(sql_type, text)?),
        (SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name, json @ (Json::Number(_) | Json::Bool(_)))
        | (SqlType::Float4 | SqlType::Float8 | SqlType::Bool, json @ Json::Number(_)) => from_text(sql_type, own_text(json)),
        _ => Err(mismatch(sql_type)),
    }
}

fn mismatch(sql_type: &SqlType) -> Error {
    Error::new(Kind::InvalidText, format!("not a value of type {sql_type}"))
}

fn from_text<'a>(sql_type: &SqlType, text: Cow<'a, str>) -> Result<Value<'a>> {
    match text {
        Cow::Borrowed(text) => value_from_text(sql_type, text),
        Cow::Owned(text) => value_from_text(sql_type, &text).map(Value::into_owned),
    }
}

/// What a string stands for, if a text may hold it.
fn characters<'a>(sql_type: &SqlType, text: JsonString<'a>) -> Result<Cow<'a, str>> {
    let characters = text.decode().map_err(|_| mismatch(sql_type))?;
    match characters {
        Cow::Owned(text) => storable_text(text).map(Cow::Owned),
        written => Ok(written),
    }
}

/// The value's text in the record. Strings are not asked for here.
fn own_text(json: Json<'_>) -> Cow<'_, str> {
    match json {
        Json::Number(text) | Json::Object(text) | Json::Array(text) => text.into(),
        other => other.text().into_owned().into(),
    }
}

/// Microseconds since 1970 from a number of seconds, milliseconds, microseconds or nanoseconds.
fn timestamp(text: &str) -> Result<i64> {
    let number = whole_from_text(&SqlType::Int8, text)?;
    let micros = match number.unsigned_abs() {
        0..SECONDS_BELOW => number.checked_mul(1_000_000),
        SECONDS_BELOW..MILLIS_BELOW => number.checked_mul(1_000),
        MILLIS_BELOW..MICROS_BELOW => Some(number),
        _ => Some(number.div_euclid(1_000)),
    };
    micros.ok_or_else(|| Error::new(Kind::DatetimeOutOfRange, "timestamp out of range")).and_then(moment_in_range)
}

fn array<'a>(element: &SqlType, text: &'a str) -> Result<Value<'a>> {
    let mut elements = Vec::new();
    // The text was read once already, so the only errors here are those of the elements.
    let mut error = None;
    let scanned = JsonScanner::new(text).array(|json| {
        match value_from_json(element, json) {
            Ok(value) => elements.push(value),
            Err(cause) => error = error.take().or(Some(cause)),
        }
        Ok(())
    });
    match (scanned, error) {
        (Ok(()), None) => Ok(Value::List(elements)),
        (_, Some(error)) => Err(error),
        (Err(_), None) => Err(mismatch(element)),
    }
}

/// Fields by name as columns are: exactly, or else but for case.
fn object<'a>(fields: &[(String, SqlType)], text: &'a str) -> Result<Value<'a>> {
    let mut found: Vec<Option<(Json<'a>, bool)>> = vec![None; fields.len()];
    let scanned = JsonScanner::new(text).object(|name, value| {
        let name = name.decode()?;
        let exact = fields.iter().position(|(field, _)| *field == name);
        let lower = name.to_lowercase();
        let target = exact.or_else(|| fields.iter().position(|(field, _)| field.to_lowercase() == lower));
        if let Some(target) = target
            && (exact.is_some() || !matches!(found[target], Some((_, true))))
        {
            found[target] = Some((value, exact.is_some()));
        }
        Ok(())
    });
    scanned.map_err(|_| mismatch(&SqlType::Struct(fields.to_vec())))?;
    let values = fields.iter().zip(found).map(|((_, sql_type), found)| match found {
        None => Ok(Value::Null),
        Some((json, _)) => value_from_json(sql_type, json),
    });
    Ok(Value::Row(values.collect::<Result<_>>()?))
}
