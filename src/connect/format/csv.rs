//! ENCODE CSV: a record is a line, or several if its quoted fields hold line feeds (RFC 4180); its fields fill the columns by position, or by a header's names.
//!
//! As in COPY: a field without quotes that equals `null` (by default: nothing between two delimiters) is NULL, one in quotes never is.

use std::borrow::Cow;

use super::{PayloadColumn, column_error, text_of};
use crate::connect::options::Options;
use crate::error::{Error, Kind, Result};
use crate::types::{Value, value_from_text};

/// The options behind ENCODE CSV.
#[derive(Clone, Debug)]
pub(super) struct CsvOptions {
    /// Files start with a line that names the columns.
    pub(super) header: bool,
    delimiter: char,
    null: String,
}

impl CsvOptions {
    pub(super) fn new(options: &Options<'_>) -> Result<Self> {
        options.refuse_unknown(&["header", "delimiter", "null", "without_header"], &[])?;
        let header = match options.text(&["without_header"]) {
            Some(_) => !options.flag("without_header", true)?,
            None => options.flag("header", false)?,
        };
        let delimiter = match options.verbatim("delimiter").unwrap_or(",") {
            "\\t" | "tab" => '\t',
            text => match (text.chars().next(), text.chars().count()) {
                (Some(delimiter), 1) if !matches!(delimiter, '"' | '\n' | '\r') => delimiter,
                _ => return Err(options.invalid("delimiter", "one character, or \\t")),
            },
        };
        Ok(CsvOptions { header, delimiter, null: options.verbatim("null").unwrap_or("").to_owned() })
    }
}

impl CsvOptions {
    /// What stands between two fields.
    pub(super) fn delimiter(&self) -> char {
        self.delimiter
    }
}

/// Which field fills which column.
#[derive(Debug)]
pub(super) struct CsvLayout {
    /// How many fields a line has.
    fields: usize,
    /// For each column the field, if one has its name.
    places: Vec<Option<usize>>,
}

impl CsvLayout {
    /// The first field is the first column, and so on.
    pub(super) fn by_position(columns: &[PayloadColumn]) -> Self {
        CsvLayout { fields: columns.len(), places: (0..columns.len()).map(Some).collect() }
    }

    /// Fields by the names in `line`: exactly, or else but for case. `22P04` if no column is among them.
    pub(super) fn by_header(columns: &[PayloadColumn], options: &CsvOptions, line: &[u8]) -> Result<Self> {
        let bad = |text: String| Error::new(Kind::BadCopyFormat, text);
        let text = std::str::from_utf8(line).map_err(|_| bad("the header is not valid UTF-8".to_owned()))?;
        // Some programs mark UTF-8 with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let names: Vec<String> =
            split(text, options.delimiter).map_err(bad)?.into_iter().map(|field| field.text.trim().to_owned()).collect();
        let place = |wanted: &str| {
            let lower = wanted.to_lowercase();
            names.iter().position(|name| name == wanted).or_else(|| names.iter().position(|name| name.to_lowercase() == lower))
        };
        let places: Vec<_> = columns.iter().map(|column| place(&column.name)).collect();
        if places.iter().all(Option::is_none) {
            return Err(bad(format!("the header names none of the columns, but {}", names.join(", "))));
        }
        Ok(CsvLayout { fields: names.len(), places })
    }

    /// The values of the columns, or what is wrong with the line.
    pub(super) fn decode<'a>(&self, columns: &[PayloadColumn], options: &CsvOptions, record: &'a [u8]) -> Result<Vec<Value<'a>>, String> {
        let line = text_of(record)?;
        let mut fields = split(line.trim_end_matches(['\r', '\n']), options.delimiter)?;
        if fields.len() != self.fields {
            return Err(format!("expected {} fields, found {}", self.fields, fields.len()));
        }
        let values = columns.iter().zip(&self.places).map(|(column, place)| {
            let Some(place) = place else { return column.missing() };
            let Field { text, quoted } = std::mem::take(&mut fields[*place]);
            if !quoted && text == options.null {
                return column.null();
            }
            match text {
                Cow::Borrowed(text) => value_from_text(&column.sql_type, text).map_err(|cause| column_error(column, text, &cause)),
                Cow::Owned(text) => match value_from_text(&column.sql_type, &text) {
                    Ok(value) => Ok(value.into_owned()),
                    Err(cause) => Err(column_error(column, &text, &cause)),
                },
            }
        });
        values.collect()
    }
}

/// What stands between two delimiters, without its quotes.
#[derive(Debug, Default, PartialEq)]
struct Field<'a> {
    text: Cow<'a, str>,
    quoted: bool,
}

fn split(line: &str, delimiter: char) -> Result<Vec<Field<'_>>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(inner) => quoted(inner)?,
            None => {
                let end = rest.find(delimiter).unwrap_or(rest.len());
                (Field { text: rest[..end].into(), quoted: false }, &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(delimiter) {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("text behind a closing quote".to_owned()),
        }
    }
}

/// The field whose opening quote comes before `text`, and what follows its closing quote. Two quotes within it are one.
fn quoted(text: &str) -> Result<(Field<'_>, &str), String> {
    let mut unescaped = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or_else(|| "a quoted field without its closing quote".to_owned())?;
        let (before, after) = (&rest[..end], &rest[end + 1..]);
        match after.strip_prefix('"') {
            Some(next) => {
                unescaped.push_str(before);
                unescaped.push('"');
                rest = next;
            }
            None if unescaped.is_empty() => return Ok((Field { text: before.into(), quoted: true }, after)),
            None => {
                unescaped.push_str(before);
                return Ok((Field { text: unescaped.into(), quoted: true }, after));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::connect::format::tests::{column, decode, rows, spec};
    use crate::connect::format::{Envelope, Format};
    use crate::types::{SqlType, Value};

    fn text(text: &str) -> Value<'static> {
        Value::Text(text.to_owned().into())
    }

    #[test]
    fn fields_by_position() {
        let columns = vec![column("n", SqlType::Int4), column("s", SqlType::Text)];
        let records: [&[u8]; 6] = [b"1,a", b"2,\"say \"\"b\"\", c\"\r", b",\"\"", b"x,d", b"1", b"1,\"e"];
        let batch = decode(&spec("CSV", columns, &[]), &records);
        assert_eq!(rows(&batch), [vec![Value::Int(1), text("a")], vec![Value::Int(2), text("say \"b\", c")], vec![Value::Null, text("")],]);
        let errors: Vec<_> = batch.dead_letters.iter().map(|letter| letter.error.as_str()).collect();
        let expected =
            ["column \"n\": expected integer, found \"x\"", "expected 2 fields, found 1", "a quoted field without its closing quote"];
        assert_eq!(errors, expected);
    }

    #[test]
    fn fields_by_header_and_delimiter() {
        let columns = vec![column("n", SqlType::Int4), column("absent", SqlType::Text), column("s", SqlType::Text)];
        let spec = spec("CSV", columns, &[("header", "true"), ("delimiter", ";"), ("null", "NA")]);
        let format = Format::new(&spec).unwrap();
        assert!(format.has_header());
        let mut decoder = format.decoder();
        decoder.use_header("\u{feff}S;other;N".as_bytes()).unwrap();
        decoder.push(Some(b"a;ignored;1"), &Envelope::default());
        decoder.push(Some(b";;NA"), &Envelope::default());
        let batch = decoder.finish(0, 0);
        assert_eq!(rows(&batch), [vec![Value::Int(1), Value::Null, text("a")], vec![Value::Null, Value::Null, text("")]]);
        assert!(decoder.use_header(b"x;y").is_err());
    }
}
