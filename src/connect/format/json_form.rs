//! How the last record was written: records of one source mostly differ in their values alone, so that what stands between these is compared, not
//! read.
//!
//! ```text
//! the last record   {"id":7,"name":"ann","at":"2024-02-29"}
//! its form          {"id": … ,"name": … ,"at": … }            each … with the column that it fills, if one wants it
//! ```
//!
//! In: bytes that start with a record. Out: the values of the columns, and how long the record is; or nothing, if it has another form.
//! Always: a record that is read by its form is one that reading it in full would accept, with the same values.

use crate::types::{Json, JsonScanner, JsonString, ascii_length, number_length};

/// Fields of a record whose places are remembered: more than records in practice have, few enough to bound what a hostile one costs.
const FIELDS_MAX: usize = 256;

/// Bytes between two values that are remembered, for the same reason.
const BETWEEN_MAX: usize = 1 << 16;

/// A value of a record, as far as it has been read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// What stands between the quotes of a string: ASCII without escapes.
    Characters(&'a [u8]),
    /// A whole number, and how it is written.
    Integer(i64, &'a [u8]),
    /// Any value.
    Json(Json<'a>),
}

impl<'a> Found<'a> {
    /// The value as JSON.
    pub(super) fn json(self) -> Json<'a> {
        match self {
            Found::Characters(characters) => Json::String(JsonString::plain(ascii(characters))),
            Found::Integer(_, written) => Json::Number(ascii(written)),
            Found::Json(json) => json,
        }
    }
}

/// What stands between the values of a record, and where these go.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// What stands before each value, one after the other; at the end what stands behind the last.
    between: Vec<u8>,
    fields: Vec<Field>,
    /// Not all of the record was taken down.
    too_long: bool,
    /// All of it was.
    complete: bool,
}

/// One value's place.
#[derive(Clone, Copy, Debug)]
struct Field {
    /// Where in `between` ends what stands before it.
    end: usize,
    /// `None`: nobody wants it, or another field of the record counts instead.
    column: Option<usize>,
}

impl Form {
    /// Begins to take down another record.
    pub(super) fn begin(&mut self) {
        self.between.clear();
        self.fields.clear();
        (self.too_long, self.complete) = (false, false);
    }

    /// The record goes on with a value, behind the bytes `before`. Returns its number; of a record that is too long any, as nobody reads by its form.
    pub(super) fn add(&mut self, before: &str, column: Option<usize>) -> usize {
        if self.fields.len() == FIELDS_MAX || self.between.len() + before.len() > BETWEEN_MAX {
            self.too_long = true;
            return self.fields.len().saturating_sub(1);
        }
        self.between.extend_from_slice(before.as_bytes());
        self.fields.push(Field { end: self.between.len(), column });
        self.fields.len() - 1
    }

    /// A later field counts instead of this one.
    pub(super) fn drop_column(&mut self, field: usize) {
        if let Some(field) = self.fields.get_mut(field) {
            field.column = None;
        }
    }

    /// The record ends with `behind`.
    pub(super) fn end(&mut self, behind: &str) {
        self.too_long |= self.between.len() + behind.len() > BETWEEN_MAX;
        if !self.too_long {
            self.between.extend_from_slice(behind.as_bytes());
            self.complete = !self.fields.is_empty();
        }
    }

    /// Reads the record that `bytes` start with, up to and with its closing brace: its length. `None`: it has another form. `text` gives the whole
    /// record; it is asked for it only where a value is more than a plain one.
    pub(super) fn read<'a>(&self, bytes: &'a [u8], text: impl Fn() -> Option<&'a str>, found: &mut [Option<Found<'a>>]) -> Option<usize> {
        if !self.complete {
            return None;
        }
        let (mut at, mut start, mut whole): (usize, usize, Option<&str>) = (0, 0, None);
        for field in &self.fields {
            at += passed(&bytes[at..], &self.between[start..field.end])?;
            start = field.end;
            let (value, end) = match plain_value(&bytes[at..]) {
                Some((value, length)) => (value, at + length),
                None => {
                    if whole.is_none() {
                        whole = text();
                    }
                    let mut scanner = JsonScanner::resume(whole?, at);
                    (Found::Json(scanner.member_value().ok()?), scanner.position())
                }
            };
            if let Some(column) = field.column {
                found[column] = Some(value);
            }
            at = end;
        }
        Some(at + passed(&bytes[at..], &self.between[start..])?)
    }
}

/// The length of `expected` if `bytes` start with it.
fn passed(bytes: &[u8], expected: &[u8]) -> Option<usize> {
    bytes.starts_with(expected).then_some(expected.len())
}

/// The value that comes next and its length, if it is a number, a literal, or a string of ASCII without escapes.
fn plain_value(bytes: &[u8]) -> Option<(Found<'_>, usize)> {
    Some(match bytes.first()? {
        b'"' => {
            let length = ascii_length(&bytes[1..]);
            let (characters, rest) = bytes[1..].split_at(length);
            (rest.first() == Some(&b'"')).then_some((Found::Characters(characters), length + 2))?
        }
        b'-' | b'0'..=b'9' => match integer(bytes) {
            Some((value, length)) => (Found::Integer(value, &bytes[..length]), length),
            None => {
                let length = number_length(bytes).ok()?;
                (Found::Json(Json::Number(ascii(&bytes[..length]))), length)
            }
        },
        _ => {
            let words = [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
            let (word, json) = words.into_iter().find(|(word, _)| bytes.starts_with(word.as_bytes()))?;
            (Found::Json(json), word.len())
        }
    })
}

/// The whole number that comes next and its length, if it has no more digits than an i64 has for sure.
fn integer(bytes: &[u8]) -> Option<(i64, usize)> {
    const DIGITS_MAX: usize = 18;
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let (mut value, mut at) = (0_i64, sign);
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        if at - sign == DIGITS_MAX {
            return None;
        }
        value = value * 10 + i64::from(digit);
        at += 1;
    }
    let is_number = at > sign && (at - sign == 1 || bytes[sign] != b'0') && !matches!(bytes.get(at), Some(b'.' | b'e' | b'E'));
    is_number.then_some((if sign == 1 { -value } else { value }, at))
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("ASCII, every byte of it")
}

#[cfg(test)]
mod tests {
    use crate::connect::format::Format;
    use crate::connect::format::tests::{column, rows, spec};
    use crate::connect::format::{Decoder, Envelope};
    use crate::connect::{SourceBatch, SourceColumn};
    use crate::types::{SqlType, Value, parse_value};

    const LAST: &str = r#"{"a":1,"b":"x","c":true,"d":null,"skipped":[1]}"#;

    fn decoder() -> Decoder {
        let mut columns = vec![
            column("a", SqlType::Int4),
            column("b", SqlType::Text),
            column("c", SqlType::Bool),
            SourceColumn { not_null: true, ..column("e", SqlType::Text) },
            column("d", SqlType::Jsonb),
        ];
        columns[3].default = Some(parse_value(&SqlType::Text, Some("none")).unwrap());
        Format::new(&spec("JSON", columns, &[])).unwrap().decoder()
    }

    fn said(batch: &SourceBatch) -> (Vec<Vec<Value<'static>>>, Vec<String>) {
        (rows(batch), batch.dead_letters.iter().map(|letter| letter.error.clone()).collect())
    }

    #[test]
    fn a_record_reads_the_same_behind_any_other() {
        let records: &[&[u8]] = &[
            LAST.as_bytes(),
            br#"{"a":-0,"b":"","c":false,"d":{"x":"\"}"},"skipped":{}}"#,
            br#"{"a":2,"b":"a\u00e4\n","c":null,"d":"y","skipped":"\\"}"#,
            "{\"a\":3,\"b\":\"ä\",\"c\":true,\"d\":[],\"skipped\":\"ü\"}".as_bytes(),
            b"{\"a\":3,\"b\":\"\xff\",\"c\":true,\"d\":[],\"skipped\":1}",
            b"{\"a\":3,\"b\":\"x\",\"c\":true,\"d\":1,\"skipped\":\"\xff\"}",
            b"{\"a\":3,\"b\":\"\t\",\"c\":true,\"d\":1,\"skipped\":1}",
            br#"{"a":3,"b":"x","c":true,"d":1,"skipped":"\x"}"#,
            br#"{"a":03,"b":"x","c":true,"d":1,"skipped":1}"#,
            br#"{"a":4.0,"b":1.50,"c":"t","d":1e2,"skipped":-1.5E-3}"#,
            br#"{"a":4.5,"b":"x","c":true,"d":1,"skipped":1}"#,
            br#"{"a":"x","b":"x","c":truer,"d":1,"skipped":1}"#,
            br#"{"a":"x","b":7,"c":8,"d":1,"skipped":1}"#,
            br#"{"a":5,"b":"x","c":true,"d":null,"skipped":[1]} "#,
            br#"{"a":5,"b":"x","c":true,"d":null,"skipped":[1]}}"#,
            br#"{"a":5,"b":"x","c":true,"d":null,"skipped":[1}"#,
            br#"{"a":5,"b":"x","c":true,"d":null,"skipped":[1]"#,
            br#"{"a": 5, "b": "x", "c": true}"#,
            br#"{"a":6,"A":7,"b":"x","B":"y"}"#,
            br#"{"A":6,"a":7,"a":8,"b":"x","e":null}"#,
            br#"{"e":"here"}"#,
            b"{}",
            b"[]",
            b"",
        ];
        for first in records {
            for second in records {
                let alone = |record: &[u8]| {
                    let mut decoder = decoder();
                    decoder.push(Some(record), &Envelope::default());
                    said(&decoder.finish(0, 1))
                };
                let mut both = decoder();
                for record in [first, second, second] {
                    both.push(Some(record), &Envelope::default());
                }
                let (mut rows, mut letters) = alone(first);
                for (more_rows, more_letters) in [alone(second), alone(second)] {
                    rows.extend(more_rows);
                    letters.extend(more_letters);
                }
                let names = (String::from_utf8_lossy(first), String::from_utf8_lossy(second));
                assert_eq!(said(&both.finish(0, 3)), (rows, letters), "{names:?}");
            }
        }
    }

    #[test]
    fn a_line_ends_where_its_record_does() {
        let mut decoder = decoder();
        let mut line = |bytes: &[u8]| decoder.push_line(bytes, &Envelope::default());
        assert_eq!(line(b"{\"a\":1}\n"), None, "nothing is known of the form yet");
        decoder.push(Some(LAST.as_bytes()), &Envelope::default());
        let mut line = |text: &str| decoder.push_line(text.as_bytes(), &Envelope::default());
        let rest = "\n{\"a\":2}\n";
        assert_eq!(line(&format!("{LAST}{rest}")), Some(LAST.len()));
        let other = LAST.replace("\"x\"", "\"ä\\n\"");
        assert_eq!(line(&format!("{other}{rest}")), Some(other.len()));
        // What is not complete, ends otherwise, or is no such record at all, is left to who looks for the line feed.
        for text in [LAST.to_owned(), format!("{LAST}\r"), format!("{LAST} {rest}"), LAST.replace("true", "tr\nue"), rest.to_owned()] {
            assert_eq!(line(&text), None, "{text}");
        }
        let bad = LAST.replace(":1", ":1.5");
        assert_eq!(line(&format!("{bad}\r{rest}")), Some(bad.len() + 1));
        let batch = decoder.finish(0, 1);
        let column = |at: usize| rows(&batch).into_iter().map(|row| row[at].clone()).collect::<Vec<_>>();
        assert_eq!(column(0), [Value::Int(1), Value::Int(1), Value::Int(1)]);
        assert_eq!(column(1), ["x", "x", "ä\n"].map(|text| Value::Text(text.into())));
        assert_eq!(said(&batch).1, ["column \"a\": expected integer, found 1.5"]);
        assert_eq!((batch.offsets.len(), batch.dead_letters[0].payload.as_slice()), (3, bad.as_bytes()));
    }
}
