//! ENCODE JSON: a record is an object; its fields fill the columns of the same names.
//!
//! Names match exactly, or else but for case. A field that no column wants is skipped; of a field that comes twice the last counts.
//! A missing field is the column's DEFAULT, a `null` is NULL. Anything that is not exactly one object is a dead letter.

use std::collections::HashMap;

use super::json_form::{Form, Found};
use super::json_value::value_from_json;
use super::{PayloadColumn, column_error, excerpt};
use crate::types::{Json, JsonError, JsonScanner, JsonString, SqlType, Value};

/// Names of fields that are remembered by their places, for the same reason as in a `Form`.
const LEARNED_MAX: usize = 256;

/// Which fields go to which columns, and how the last records were written.
#[derive(Debug)]
pub(super) struct JsonShape {
    exact: HashMap<String, usize>,
    any_case: HashMap<String, usize>,
    learned: Vec<Learned>,
    form: Form,
    /// That of the record at hand, until all of it has been read.
    next_form: Form,
}

/// The field that the last records had at one place.
#[derive(Debug)]
struct Learned {
    /// As written, with escapes.
    raw_name: Box<str>,
    target: Option<Target>,
}

/// Where a field goes.
#[derive(Clone, Copy, Debug)]
struct Target {
    column: usize,
    /// The names agree in case too: such a field wins over one that does not.
    exact: bool,
}

impl JsonShape {
    pub(super) fn new(columns: &[PayloadColumn]) -> Self {
        let exact = columns.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
        // Backwards, so that the first of several columns wins.
        let any_case = columns.iter().enumerate().rev().map(|(index, column)| (column.name.to_lowercase(), index)).collect();
        JsonShape { exact, any_case, learned: Vec::new(), form: Form::default(), next_form: Form::default() }
    }

    /// Finds the fields that fill the columns; an error says what is wrong with the record.
    pub(super) fn find<'a>(&mut self, columns: &[PayloadColumn], record: &'a [u8], found: &mut [Option<Found<'a>>]) -> Result<(), String> {
        if self.form.read(record, || std::str::from_utf8(record).ok(), found) == Some(record.len()) {
            return Ok(());
        }
        found.fill(None);
        let text = std::str::from_utf8(record).map_err(|_| "the record is not valid UTF-8".to_owned())?;
        self.read(columns, text, found).map_err(|cause| format!("not a JSON object: {cause}"))
    }

    /// The same of a line at the start of `bytes`, if it is written as the last record was: the line's length. Where it ends need not be known
    /// before; `line` finds it.
    pub(super) fn find_line<'a>(
        &self,
        bytes: &'a [u8],
        line: impl Fn() -> Option<&'a [u8]>,
        found: &mut [Option<Found<'a>>],
    ) -> Option<usize> {
        let length = self.form.read(bytes, || std::str::from_utf8(line()?).ok(), found)?;
        match &bytes[length..] {
            [b'\n', ..] => Some(length),
            [b'\r', b'\n', ..] => Some(length + 1),
            _ => None,
        }
    }

    /// Reads a record in full, and takes its form down.
    fn read<'a>(&mut self, columns: &[PayloadColumn], text: &'a str, found: &mut [Option<Found<'a>>]) -> Result<(), JsonError> {
        let mut form = std::mem::take(&mut self.next_form);
        form.begin();
        // The field of the record that counts for each column, and whether its name is exactly the column's.
        let mut counts: Vec<Option<(usize, bool)>> = vec![None; columns.len()];
        let (mut place, mut behind) = (0, 0);
        let mut scanner = JsonScanner::new(text);
        let scanned = scanner.members(|name, value, at| {
            let target = self.target(place, name)?;
            place += 1;
            let before = &text[behind..at.start];
            behind = at.end;
            match target {
                Some(Target { column, exact }) if exact || !matches!(counts[column], Some((_, true))) => {
                    let field = form.add(before, Some(column));
                    if let Some((earlier, _)) = counts[column].replace((field, exact)) {
                        form.drop_column(earlier);
                    }
                    found[column] = Some(Found::Json(value));
                }
                _ => {
                    form.add(before, None);
                }
            }
            Ok(())
        });
        let read = scanned.and_then(|()| {
            form.end(&text[behind..scanner.position()]);
            scanner.end()
        });
        self.next_form = form;
        if read.is_ok() {
            std::mem::swap(&mut self.form, &mut self.next_form);
        }
        read
    }

    /// Where the field goes. Records of a topic mostly have the same fields in the same order: one comparison then.
    fn target(&mut self, place: usize, name: JsonString<'_>) -> Result<Option<Target>, JsonError> {
        if let Some(learned) = self.learned.get(place)
            && *learned.raw_name == *name.raw
        {
            return Ok(learned.target);
        }
        let decoded = name.decode()?;
        let target = match self.exact.get(decoded.as_ref()) {
            Some(&column) => Some(Target { column, exact: true }),
            None => self.any_case.get(&decoded.to_lowercase()).map(|&column| Target { column, exact: false }),
        };
        let learned = Learned { raw_name: name.raw.into(), target };
        match self.learned.get_mut(place) {
            Some(old) => *old = learned,
            None if place < LEARNED_MAX => self.learned.push(learned),
            None => {}
        }
        Ok(target)
    }
}

/// Whether it can be told without reading it that `found` is a value of this type: every text is, but for the character that none may hold.
pub(super) fn surely_fits(sql_type: &SqlType, found: Option<Found<'_>>) -> bool {
    let may_hold_zero = matches!(found, Some(Found::Json(Json::String(text))) if text.raw.contains("\\u0000"));
    matches!(sql_type, SqlType::Text | SqlType::Varchar(None)) && !may_hold_zero
}

/// The value of a column, from the field that was found for it.
pub(super) fn value<'a>(column: &PayloadColumn, found: Option<Found<'a>>) -> Result<Value<'a>, String> {
    match found.map(Found::json) {
        None => column.missing(),
        Some(Json::Null) => column.null(),
        Some(json) => value_from_json(&column.sql_type, json).map_err(|cause| match json {
            Json::String(text) => column_error(column, text.raw, &cause),
            other => match cause.kind() {
                crate::error::Kind::InvalidText | crate::error::Kind::InvalidDatetime => {
                    format!("column \"{}\": expected {}, found {}", column.name, column.sql_type, excerpt(&other.text()))
                }
                _ => column_error(column, "", &cause),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use crate::connect::format::tests::{column, decode, rows, spec};
    use crate::types::{SqlType, Value};

    /// The one value that `record` gives a column `v` of the type, or why not.
    fn one(sql_type: SqlType, record: &str) -> Result<Value<'static>, String> {
        let batch = decode(&spec("JSON", vec![column("v", sql_type)], &[]), &[record.as_bytes()]);
        match batch.dead_letters.first() {
            Some(letter) => Err(letter.error.clone()),
            None => Ok(rows(&batch).remove(0).remove(0)),
        }
    }

    fn text(text: &str) -> Result<Value<'static>, String> {
        Ok(Value::Text(text.to_owned().into()))
    }

    #[test]
    fn exactly_the_bad_records_become_dead_letters() {
        let columns = vec![column("price", SqlType::Int8), column("url", SqlType::Text)];
        let records: [&[u8]; 7] = [
            br#"{"price": 1, "url": "a", "more": {"x": [1]}}"#,
            br#"{"price":"abc","url":"b"}"#,
            br#"{"url":"c","price":"3"}"#,
            b"[1]",
            b"{\"price\":4} x",
            b"{\"url\":\"\xff\"}",
            br#"{"PRICE":7,"Url":null}"#,
        ];
        let batch = decode(&spec("JSON", columns, &[]), &records);
        let a = |price, url: &str| vec![Value::Int(price), Value::Text(url.to_owned().into())];
        assert_eq!(rows(&batch), [a(1, "a"), a(3, "c"), vec![Value::Int(7), Value::Null]]);
        let errors: Vec<_> = batch.dead_letters.iter().map(|letter| (letter.offset, letter.error.as_str())).collect();
        assert_eq!(
            errors,
            [
                (1, "column \"price\": expected bigint, found \"abc\""),
                (3, "not a JSON object: an object must come here"),
                (4, "not a JSON object: more text behind the value"),
                (5, "the record is not valid UTF-8"),
            ]
        );
        assert_eq!(batch.dead_letters[0].payload, records[1]);
    }

    #[test]
    fn numbers() {
        assert_eq!(one(SqlType::Int4, r#"{"v":-5}"#), Ok(Value::Int(-5)));
        assert_eq!(one(SqlType::Int4, r#"{"v":5.0}"#), Ok(Value::Int(5)));
        assert_eq!(one(SqlType::Int4, r#"{"v":5.5}"#), Err("column \"v\": expected integer, found 5.5".into()));
        assert_eq!(
            one(SqlType::Int4, r#"{"v":3000000000}"#),
            Err("column \"v\": value \"3000000000\" is out of range for type integer".into())
        );
        assert_eq!(one(SqlType::Int8, r#"{"v":9007199254740993.0}"#), Ok(Value::Int(9_007_199_254_740_993)));
        assert_eq!(
            one(SqlType::Int8, r#"{"v":0.99999999999999999}"#),
            Err("column \"v\": expected bigint, found 0.99999999999999999".into())
        );
        assert_eq!(one(SqlType::Date, r#"{"v":19000}"#), Ok(Value::Int(19_000)));
        assert_eq!(one(SqlType::Date, r#"{"v":2147483647}"#), Err("column \"v\": date out of range".into()));
        assert_eq!(one(SqlType::Timestamp, r#"{"v":9223372036854775}"#), Ok(Value::Int(9_223_372_036_854_775)));
        assert_eq!(one(SqlType::Int4, r#"{"v":true}"#), Err("column \"v\": expected integer, found true".into()));
        assert_eq!(one(SqlType::Float8, r#"{"v":"Infinity"}"#), Ok(Value::Float(f64::INFINITY)));
        assert_eq!(one(SqlType::Numeric(10, 2), r#"{"v":12.345}"#), Ok(Value::Decimal(1235)));
        assert_eq!(one(SqlType::Numeric(10, 2), r#"{"v":"12.3"}"#), Ok(Value::Decimal(1230)));
    }

    #[test]
    fn texts_keep_json_as_it_is() {
        assert_eq!(one(SqlType::Text, r#"{"v":"a\nb"}"#), text("a\nb"));
        assert_eq!(one(SqlType::Text, r#"{"v":{"a": [1, 2]}}"#), text("{\"a\": [1, 2]}"));
        assert_eq!(one(SqlType::Text, r#"{"v":1.50}"#), text("1.50"));
        assert_eq!(one(SqlType::Jsonb, r#"{"v":{"a": [1, 2]}}"#), text("{\"a\": [1, 2]}"));
        assert_eq!(one(SqlType::Jsonb, r#"{"v":"a"}"#), text("\"a\""));
        let zero = || Err("column \"v\": unsupported Unicode escape sequence".into());
        for sql_type in [SqlType::Text, SqlType::Varchar(Some(9)), SqlType::Jsonb, SqlType::Name] {
            assert_eq!(one(sql_type, r#"{"v":"a\u0000b"}"#), zero());
        }
        assert_eq!(one(SqlType::Text, r#"{"v":"a\\u0000b"}"#), text("a\\u0000b"));
        assert!(one(SqlType::Varchar(Some(1)), r#"{"v":"\u00e4b"}"#).unwrap_err().contains("too long"));
    }

    #[test]
    fn integers_are_timestamps_by_their_magnitude() {
        let moment = Ok(Value::Int(1_700_000_000_000_000));
        for written in ["1700000000", "1700000000000", "1700000000000000", "1700000000000000000", "\"2023-11-14T22:13:20Z\""] {
            assert_eq!(one(SqlType::Timestamptz, &format!("{{\"v\":{written}}}")), moment, "{written}");
        }
        assert_eq!(
            one(SqlType::Timestamp, r#"{"v":"soon"}"#),
            Err("column \"v\": expected timestamp without time zone, found \"soon\"".into())
        );
    }

    #[test]
    fn arrays_structs_and_depth() {
        let point = SqlType::Struct(vec![("x".into(), SqlType::Int4), ("y".into(), SqlType::Int4)]);
        let row = Value::Row(vec![Value::Int(1), Value::Null]);
        assert_eq!(one(SqlType::Array(Box::new(point)), r#"{"v":[{"X":1,"z":0},null]}"#), Ok(Value::List(vec![row, Value::Null])));
        assert_eq!(
            one(SqlType::Array(Box::new(SqlType::Int4)), r#"{"v":[1,"x"]}"#),
            Err("column \"v\": expected integer[], found [1,\"x\"]".into())
        );
        let deep = format!("{{\"v\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(one(SqlType::Text, &deep), Err("not a JSON object: nested deeper than 128 levels".into()));
    }
}
