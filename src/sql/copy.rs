//! COPY, with its options as they are written today (`WITH (FORMAT csv, HEADER)`) and as before PostgreSQL 9 (`CSV HEADER`).

use sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::statement::{Copy, CopySubject, Statement};
use crate::error::{Error, Kind, Result};
use crate::types::{CopyFormat, CopyKind};

/// Options as written; `None` where the format decides.
#[derive(Default)]
struct Options {
    kind: Option<CopyKind>,
    delimiter: Option<u8>,
    null: Option<String>,
    header: Option<bool>,
    quote: Option<u8>,
    escape: Option<u8>,
}

/// COPY relation [(columns)] FROM STDIN | TO STDOUT, COPY (query) TO STDOUT; then options.
pub(super) fn copy(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["copy"])?;
    let mut options = Options::default();
    if reader.is(0, "binary") && matches!(reader.peek_nth(1), Token::Word(_)) {
        reader.advance();
        options.kind = Some(CopyKind::Binary);
    }
    let subject = subject(reader)?;
    let from_client = match reader.accept_one(&["from", "to"]) {
        Some(word) => word == "from",
        None => return Err(reader.unexpected().detail("Expected FROM or TO.")),
    };
    if from_client && let CopySubject::Query(_) = subject {
        return Err(Error::new(Kind::Syntax, "COPY (query) can only be copied TO")
            .hint("Name a table to copy into.")
            .at(reader.position()));
    }
    if reader.accept_one(&["stdin", "stdout"]).is_none() {
        let is_path = reader.is(0, "program") || reader.peek_is_string();
        let error = if is_path { reader.not_supported("COPY with a file or program on the server") } else { reader.unexpected() };
        return Err(error.hint("Use FROM STDIN or TO STDOUT; psql's \\copy reads and writes the client's files."));
    }
    let has_with = reader.accept(&["with"]);
    let position = reader.position();
    if *reader.peek() == Token::LParen {
        reader.parenthesised(|reader| option(reader, &mut options))?;
    } else {
        while old_option(reader, &mut options)? {}
        if has_with && reader.position() == position {
            return Err(reader.unexpected());
        }
    }
    if reader.is(0, "where") {
        return Err(reader.not_supported("WHERE in COPY").hint("Filter the rows in a view."));
    }
    let format = options.format().map_err(|error| error.at(position))?;
    Ok(Statement::Copy(Copy { subject, from_client, format }))
}

/// What is copied.
fn subject(reader: &mut Reader<'_>) -> Result<CopySubject> {
    if reader.accept_token(&Token::LParen) {
        if let Some(word) = ["subscribe", "insert", "update", "delete"].into_iter().find(|word| reader.is(0, word)) {
            return Err(reader.not_supported(format!("COPY of {}", word.to_ascii_uppercase())).hint("Copy a query."));
        }
        let query = reader.query()?;
        reader.expect_token(&Token::RParen)?;
        return Ok(CopySubject::Query(query));
    }
    let name = reader.name()?;
    let columns = if *reader.peek() == Token::LParen { reader.parenthesised(Reader::identifier)? } else { Vec::new() };
    Ok(CopySubject::Relation { name, columns })
}

/// One option between parentheses.
fn option(reader: &mut Reader<'_>, options: &mut Options) -> Result<()> {
    let position = reader.position();
    let word = reader.label()?;
    match word.as_str() {
        "format" => {
            let at = reader.position();
            let name = word_or_string(reader)?;
            let kind = kind_of(&name).ok_or_else(|| {
                Error::new(Kind::InvalidParameter, format!("COPY format \"{name}\" not recognized"))
                    .hint("Formats are text, csv and binary.")
                    .at(at)
            })?;
            once(&mut options.kind, kind, position)
        }
        "delimiter" => single_byte(reader, "delimiter").and_then(|byte| once(&mut options.delimiter, byte, position)),
        "null" => reader.string().and_then(|text| once(&mut options.null, text, position)),
        "header" => header(reader).and_then(|on| once(&mut options.header, on, position)),
        "quote" => single_byte(reader, "quote").and_then(|byte| once(&mut options.quote, byte, position)),
        "escape" => single_byte(reader, "escape").and_then(|byte| once(&mut options.escape, byte, position)),
        "encoding" => encoding(reader),
        // Rows are never frozen, and the first bad line stops a COPY: both are PostgreSQL's defaults.
        "freeze" => header(reader).map(|_| ()),
        "on_error" if reader.is(0, "stop") || reader.peek_is_string() => word_or_string(reader).map(|_| ()),
        "force_quote" | "force_not_null" | "force_null" | "default" | "on_error" | "reject_limit" | "log_verbosity" => {
            let message = format!("COPY option {} is not supported yet", word.to_ascii_uppercase());
            Err(Error::not_supported(message).hint("Leave it out.").at(position))
        }
        _ => Err(Error::new(Kind::Syntax, format!("option \"{word}\" not recognized")).at(position)),
    }
}

/// One option in the old form; false if there is none.
fn old_option(reader: &mut Reader<'_>, options: &mut Options) -> Result<bool> {
    const WORDS: [&str; 10] = ["csv", "binary", "text", "header", "delimiter", "delimiters", "null", "quote", "escape", "encoding"];
    if reader.is(0, "force") || reader.is(0, "freeze") {
        return Err(reader.not_supported("COPY option FORCE").hint("Leave it out."));
    }
    let position = reader.position();
    let Some(word) = reader.accept_one(&WORDS) else { return Ok(false) };
    if matches!(word, "delimiter" | "delimiters" | "null" | "quote" | "escape") {
        reader.accept(&["as"]);
    }
    match word {
        "csv" => once(&mut options.kind, CopyKind::Csv, position)?,
        "binary" => once(&mut options.kind, CopyKind::Binary, position)?,
        "text" => once(&mut options.kind, CopyKind::Text, position)?,
        "header" => once(&mut options.header, true, position)?,
        "null" => once(&mut options.null, reader.string()?, position)?,
        "quote" => once(&mut options.quote, single_byte(reader, "quote")?, position)?,
        "escape" => once(&mut options.escape, single_byte(reader, "escape")?, position)?,
        "encoding" => encoding(reader)?,
        _ => once(&mut options.delimiter, single_byte(reader, "delimiter")?, position)?,
    }
    Ok(true)
}

/// Sets an option that may be written once.
fn once<T>(place: &mut Option<T>, value: T, position: usize) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(Kind::Syntax, "conflicting or redundant options").at(position)),
    }
}

/// `csv` or `'csv'`
fn word_or_string(reader: &mut Reader<'_>) -> Result<String> {
    match reader.accept_string() {
        Some(text) => Ok(text),
        None => reader.label(),
    }
}

/// The format called `name`.
fn kind_of(name: &str) -> Option<CopyKind> {
    match name {
        "text" => Some(CopyKind::Text),
        "csv" => Some(CopyKind::Csv),
        "binary" => Some(CopyKind::Binary),
        _ => None,
    }
}

/// A string of one byte.
fn single_byte(reader: &mut Reader<'_>, option: &str) -> Result<u8> {
    let position = reader.position();
    match reader.string()?.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Error::not_supported(format!("COPY {option} must be a single one-byte character")).at(position)),
    }
}

/// Nothing (which is true), a truth value, or MATCH.
fn header(reader: &mut Reader<'_>) -> Result<bool> {
    if matches!(reader.peek(), Token::Comma | Token::RParen) {
        return Ok(true);
    }
    let position = reader.position();
    let value = match reader.accept_number() {
        Some(number) => number,
        None => word_or_string(reader)?,
    };
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        "match" => Err(Error::not_supported("HEADER MATCH is not supported yet").hint("HEADER skips the first line.").at(position)),
        _ => Err(Error::new(Kind::Syntax, "header requires a Boolean value or \"match\"").at(position)),
    }
}

/// Only UTF-8 is spoken.
fn encoding(reader: &mut Reader<'_>) -> Result<()> {
    let position = reader.position();
    let name = reader.string()?;
    match name.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(()),
        _ => Err(Error::not_supported(format!("encoding \"{name}\" is not supported yet")).hint("Convert the data to UTF-8.").at(position)),
    }
}

impl Options {
    /// Fills in the format's defaults and refuses what does not go together, in PostgreSQL's words.
    fn format(self) -> Result<CopyFormat> {
        let kind = self.kind.unwrap_or(CopyKind::Text);
        let refuse = |message: &str| Err(Error::new(Kind::InvalidParameter, message));
        if kind == CopyKind::Binary && (self.delimiter.is_some() || self.null.is_some() || self.header == Some(true)) {
            return Err(Error::new(Kind::Syntax, "cannot specify DELIMITER, NULL or HEADER in BINARY mode"));
        }
        if kind != CopyKind::Csv && (self.quote.is_some() || self.escape.is_some()) {
            return Err(Error::not_supported("COPY QUOTE and ESCAPE require CSV mode"));
        }
        let is_csv = kind == CopyKind::Csv;
        let delimiter = self.delimiter.unwrap_or(if is_csv { b',' } else { b'\t' });
        let null = self.null.unwrap_or_else(|| if is_csv { String::new() } else { "\\N".to_owned() });
        let quote = self.quote.unwrap_or(b'"');
        let escape = self.escape.unwrap_or(quote);
        if matches!(delimiter, b'\n' | b'\r') {
            return refuse("COPY delimiter cannot be newline or carriage return");
        }
        if null.contains(['\n', '\r']) {
            return refuse("COPY null representation cannot use newline or carriage return");
        }
        if !is_csv && (delimiter == b'\\' || delimiter == b'.' || delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit()) {
            return refuse(&format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
        }
        if is_csv && delimiter == quote {
            return refuse("COPY delimiter and quote must be different");
        }
        if null.as_bytes().contains(&delimiter) && kind != CopyKind::Binary {
            return refuse("COPY delimiter character must not appear in the NULL specification");
        }
        if is_csv && null.as_bytes().contains(&quote) {
            return refuse("CSV quote character must not appear in the NULL specification");
        }
        Ok(CopyFormat { kind, delimiter, null, header: self.header.unwrap_or(false), quote, escape })
    }
}
