//! `format` and what makes texts into SQL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};

use super::call::Call;
use super::column::{Integer, Text, map1, too_long};
use super::misc::Printed;
use super::text::TEXT_BYTES_MAX;
use super::{Function, function};
use crate::error::{Error, Kind, Result};
use crate::sql::{quote_ident, quote_literal};

/// The widest field of a format, as wide as any screen or report.
const WIDTH_MAX: i64 = 1 << 20;

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("unistr", "with characters in the place of `\\XXXX`, `\\+XXXXXX`, `\\uXXXX` and `\\UXXXXXXXX`", "unistr('d\\0061t\\+000061')", "data")
            .form("text -> text", |call| map1::<Text, _>(call, unistr)),
        function("format", "a text with `%s` (as text), `%I` (as identifier), `%L` (as literal) replaced by the arguments; `%1$s` names one, `%-10s` sets a width", "format('%s is %s', 'x', 1)", "x is 1")
            .form("text -> text", format)
            .form("text, any… -> text", format)
            .example("format('INSERT INTO %I VALUES (%L)', 'my table', 'it''s')", "INSERT INTO \"my table\" VALUES ('it''s')"),
        function("quote_ident", "as an identifier, in quotes if it needs them", "quote_ident('Foo bar')", "\"Foo bar\"")
            .form("text -> text", |call| map1::<Text, _>(call, |text| Ok(quote_ident(text)))),
        function("quote_literal", "as a literal in quotes", "quote_literal('it''s')", "'it''s'").form("any -> text", |call| quoted(call, None)),
        function("quote_nullable", "as a literal in quotes, or NULL", "quote_nullable(NULL)", "NULL").form("any -> text", |call| quoted(call, Some("NULL"))),
        function("to_hex", "in hexadecimal digits", "to_hex(255)", "ff")
            .form("same integer -> text", |call| {
                let narrow = call.arguments[0].data_type().primitive_width().is_some_and(|width| width < 8);
                let numbers = arrow::compute::cast(&call.arguments[0], &arrow::datatypes::DataType::Int64)?;
                let call = Call { arguments: &[numbers], ..*call };
                map1::<Integer, _>(&call, |number| Ok(if narrow { format!("{:x}", number as i32) } else { format!("{number:x}") }))
            }),
    ]
}

fn quoted(call: &Call<'_>, null: Option<&str>) -> Result<ArrayRef> {
    let column = Printed::new(&call.arguments[0], &call.fields[0])?;
    let texts =
        (0..call.rows).map(|row| if column.is_null(row) { null.map(str::to_owned) } else { Some(quote_literal(&column.text(row))) });
    Ok(Arc::new(texts.collect::<StringArray>()))
}

fn format(call: &Call<'_>) -> Result<ArrayRef> {
    let formats = call.arguments[0].as_string::<i32>();
    let values =
        call.arguments[1..].iter().zip(&call.fields[1..]).map(|(array, field)| Printed::new(array, field)).collect::<Result<Vec<_>>>()?;
    let one = |row: usize| {
        let mut formatter = Formatter { values: &values, row, next: 0, out: String::new() };
        formatter.run(formats.value(row)).map(|()| formatter.out)
    };
    let texts = (0..call.rows).map(|row| formats.is_valid(row).then(|| one(row)).transpose()).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}

/// Fills one row's arguments into its format.
struct Formatter<'a> {
    values: &'a [Printed],
    row: usize,
    /// The argument after the last one that was used.
    next: usize,
    out: String,
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Specifier {
    to_left: bool,
    width: i64,
}

impl Formatter<'_> {
    fn run(&mut self, format: &str) -> Result<()> {
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            self.out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                self.out.push('%');
                rest = after;
                continue;
            }
            rest = self.specifier(rest)?;
        }
        self.out.push_str(rest);
        Ok(())
    }

    /// Reads a specifier behind its `%` and writes its value. Gives what comes after it.
    fn specifier<'t>(&mut self, text: &'t str) -> Result<&'t str> {
        let mut found = Specifier::default();
        let mut place = None;
        let (number, after) = digits(text)?;
        let mut rest = text;
        if let (Some(number), Some(after)) = (number, after.strip_prefix('$')) {
            place = Some(number);
            rest = after;
        }
        while let Some(after) = rest.strip_prefix('-') {
            found.to_left = true;
            rest = after;
        }
        if let Some(after) = rest.strip_prefix('*') {
            let (number, behind) = digits(after)?;
            let (at, after) = match (number, behind.strip_prefix('$')) {
                (Some(number), Some(behind)) => (self.place(Some(number))?, behind),
                _ => (self.place(None)?, after),
            };
            found.width = self.width(at)?;
            rest = after;
        } else {
            let (number, after) = digits(rest)?;
            found.width = number.unwrap_or(0);
            rest = after;
        }
        if found.width < 0 {
            (found.to_left, found.width) = (true, -found.width);
        }
        if found.width > WIDTH_MAX {
            return Err(too_long());
        }
        let Some(letter) = rest.chars().next() else {
            return Err(Error::new(Kind::InvalidParameter, "unterminated format() type specifier").hint("For a single \"%\" use \"%%\"."));
        };
        if !matches!(letter, 's' | 'I' | 'L') {
            let error = Error::new(Kind::InvalidParameter, format!("unrecognized format() type specifier \"{letter}\""));
            return Err(error.hint("For a single \"%\" use \"%%\"."));
        }
        let at = self.place(place)?;
        let text = self.value(at, letter)?;
        self.write(&text, &found)?;
        Ok(&rest[letter.len_utf8()..])
    }

    /// The argument that is meant: the one named, or the next.
    fn place(&mut self, named: Option<i64>) -> Result<usize> {
        let at = match named {
            Some(0) => return Err(Error::new(Kind::InvalidParameter, "format specifies argument 0, but arguments are numbered from 1")),
            Some(number) => usize::try_from(number - 1).unwrap_or(usize::MAX),
            None => self.next,
        };
        if at >= self.values.len() {
            return Err(Error::new(Kind::InvalidParameter, "too few arguments for format()"));
        }
        self.next = at + 1;
        Ok(at)
    }

    fn width(&self, at: usize) -> Result<i64> {
        let text = self.values[at].text(self.row);
        if text.is_empty() { Ok(0) } else { crate::types::integer_from_text(&crate::types::SqlType::Int4, &text) }
    }

    fn value(&self, at: usize, letter: char) -> Result<String> {
        let column = &self.values[at];
        match (letter, column.is_null(self.row)) {
            ('I', true) => Err(Error::new(Kind::NullNotAllowed, "null values cannot be formatted as an SQL identifier")),
            ('L', true) => Ok("NULL".to_owned()),
            ('I', false) => Ok(quote_ident(&column.text(self.row))),
            ('L', false) => Ok(quote_literal(&column.text(self.row))),
            _ => Ok(column.text(self.row)),
        }
    }

    fn write(&mut self, text: &str, specifier: &Specifier) -> Result<()> {
        let missing = usize::try_from(specifier.width).unwrap_or(0).saturating_sub(text.chars().count());
        if self.out.len() + missing + text.len() > TEXT_BYTES_MAX {
            return Err(too_long());
        }
        let blanks = " ".repeat(missing);
        self.out.push_str(if specifier.to_left { "" } else { &blanks });
        self.out.push_str(text);
        self.out.push_str(if specifier.to_left { &blanks } else { "" });
        Ok(())
    }
}

/// The number at the start, if there is one, and what comes after it.
fn digits(text: &str) -> Result<(Option<i64>, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, after) = text.split_at(end);
    if number.is_empty() {
        return Ok((None, text));
    }
    let value = number.parse::<i32>().map_err(|_| Error::new(Kind::NumericOutOfRange, "number is out of range"))?;
    Ok((Some(value.into()), after))
}

/// A text with characters in the place of escapes; two halves of a pair of UTF-16 may stand one behind the other.
fn unistr(text: &str) -> Result<String> {
    let invalid = || {
        let error = Error::new(Kind::Syntax, "invalid Unicode escape");
        error.hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
    };
    let pair = || Error::new(Kind::Syntax, "invalid Unicode surrogate pair");
    let mut out = String::with_capacity(text.len());
    let mut high: Option<u32> = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let Some(escape) = rest.strip_prefix('\\').filter(|escape| !escape.starts_with('\\')) else {
            if high.is_some() {
                return Err(pair());
            }
            out.push(first);
            rest = if first == '\\' { &rest[2..] } else { &rest[first.len_utf8()..] };
            continue;
        };
        let (mark, length) = match escape.chars().next() {
            Some('+') => (1, 6),
            Some('u') => (1, 4),
            Some('U') => (1, 8),
            _ => (0, 4),
        };
        let digits = escape.get(mark..mark + length).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = u32::from_str_radix(digits.ok_or_else(invalid)?, 16).map_err(|_| invalid())?;
        rest = &escape[mark + length..];
        match (high.take(), code) {
            (None, 0xD800..=0xDBFF) => high = Some(code),
            (Some(high), 0xDC00..=0xDFFF) => {
                out.push(char::from_u32(0x10000 + ((high & 0x3FF) << 10) + (code & 0x3FF)).ok_or_else(pair)?);
            }
            (Some(_), _) | (None, 0xDC00..=0xDFFF) => return Err(pair()),
            (None, 0) => return Err(invalid()),
            (None, code) => out.push(char::from_u32(code).ok_or_else(invalid)?),
        }
    }
    if high.is_some() { Err(pair()) } else { Ok(out) }
}
