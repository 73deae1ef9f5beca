//! COPY data → rows: PostgreSQL's text format, CSV, and its binary format.
//!
//! In: pieces of the data, cut anywhere. Out: batches of at most `BATCH_ROWS` rows.
//! Always: the bytes not decoded yet are less than one record; a record that never ends is refused.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, SchemaRef};
use chrono_tz::Tz;

use crate::error::{Error, Kind, Result};
use crate::types::{CopyFormat, CopyKind, SqlType, all_nullable, declared_type_of, parse_column_in};
use crate::wire::copy_encode::SIGNATURE;
use crate::wire::decode::{binary_column, text};
use crate::wire::message::Fields;

/// Rows per batch: large enough to be parsed by the column, small enough to be stored while the client goes on sending.
const BATCH_ROWS: usize = 8_192;

/// A batch is closed earlier once its values take so much.
const BATCH_BYTES: usize = 8 << 20;

/// Longest record: as long as a message may be.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// Decodes one COPY.
pub(super) struct CopyDecoder {
    format: CopyFormat,
    /// With every column nullable: whether NULL is allowed is for the table to say.
    schema: SchemaRef,
    columns: Vec<Cells>,
    /// Where instants are that do not say.
    zone: Tz,
    /// The line on which each row of the batch began.
    lines: Vec<u64>,
    line: u64,
    bytes: usize,
    /// Bytes that are not a whole record yet.
    pending: Vec<u8>,
    scan: Scan,
    /// The header, if there is one, was passed.
    started: bool,
    /// The marker of the end was seen: what follows is ignored.
    ended: bool,
}

/// The values of one column, one after the other.
struct Cells {
    sql_type: SqlType,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    present: Vec<bool>,
}

impl Cells {
    fn push(&mut self, present: bool) {
        self.ends.push(self.bytes.len());
        self.present.push(present);
    }

    fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).zip(&self.present).map(|((start, end), present)| present.then(|| &self.bytes[*start..*end]))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.present.clear();
    }
}

/// Where the search for the end of a record has come to.
#[derive(Default)]
struct Scan {
    at: usize,
    quoted: bool,
    /// The byte before takes the meaning off this one.
    escaped: bool,
}

impl Scan {
    /// The place of the line feed that ends the record, if it is there already.
    fn record_end(&mut self, bytes: &[u8], format: &CopyFormat) -> Option<usize> {
        let csv = format.kind == CopyKind::Csv;
        while let Some(&byte) = bytes.get(self.at) {
            self.at += 1;
            if self.escaped {
                self.escaped = false;
            } else if csv {
                if self.quoted && byte == format.escape && format.escape != format.quote {
                    self.escaped = true;
                } else if byte == format.quote {
                    // A doubled quote ends and begins again: nothing stands between.
                    self.quoted = !self.quoted;
                } else if byte == b'\n' && !self.quoted {
                    return Some(self.at - 1);
                }
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'\n' {
                return Some(self.at - 1);
            }
        }
        None
    }
}

impl CopyDecoder {
    /// For lines with these columns.
    pub(super) fn new(columns: &SchemaRef, format: CopyFormat, zone: Tz) -> Self {
        let schema = all_nullable(columns);
        let cells =
            |field: &FieldRef| Cells { sql_type: declared_type_of(field), bytes: Vec::new(), ends: Vec::new(), present: Vec::new() };
        CopyDecoder {
            columns: schema.fields().iter().map(cells).collect(),
            schema,
            started: !format.header && format.kind != CopyKind::Binary,
            format,
            zone,
            lines: Vec::new(),
            line: 1,
            bytes: 0,
            pending: Vec::new(),
            scan: Scan::default(),
            ended: false,
        }
    }

    /// Takes a piece of the data; batches that it completes go to `ready`.
    pub(super) fn feed(&mut self, piece: &[u8], ready: &mut Vec<RecordBatch>) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(piece);
        let consumed =
            if self.format.kind == CopyKind::Binary { self.take_tuples(&pending, ready)? } else { self.take_lines(&pending, ready)? };
        if self.ended {
            return Ok(());
        }
        pending.drain(..consumed);
        if pending.len() > RECORD_BYTES_MAX {
            let text = format!("COPY line {} is longer than the limit of {RECORD_BYTES_MAX} bytes", self.line);
            return Err(Error::new(Kind::LimitExceeded, text));
        }
        self.pending = pending;
        Ok(())
    }

    /// The data is complete: a last line may lack its line feed, and binary data its trailer, as in PostgreSQL.
    pub(super) fn finish(&mut self, ready: &mut Vec<RecordBatch>) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        match self.format.kind {
            _ if self.ended => {}
            CopyKind::Binary if self.started && pending.len() < size_of::<i16>() => {}
            CopyKind::Binary => return Err(bad("unexpected EOF in COPY data".to_owned())),
            _ if pending.is_empty() => {}
            _ => self.record(&pending)?,
        }
        self.close_batch(ready)
    }

    fn take_lines(&mut self, bytes: &[u8], ready: &mut Vec<RecordBatch>) -> Result<usize> {
        let mut start = 0;
        while !self.ended
            && let Some(end) = self.scan.record_end(bytes, &self.format)
        {
            self.record(&bytes[start..end])?;
            start = end + 1;
            self.close_if_full(ready)?;
        }
        self.scan.at -= start;
        Ok(start)
    }

    /// One line (or, in CSV, several, if values hold line feeds).
    fn record(&mut self, record: &[u8]) -> Result<()> {
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        let line = self.line;
        self.line += 1 + record.iter().filter(|byte| **byte == b'\n').count() as u64;
        if !self.started {
            self.started = true;
            return Ok(());
        }
        if record == b"\\." {
            self.ended = true;
            return Ok(());
        }
        let before = self.lines.len();
        let added = if self.format.kind == CopyKind::Csv { self.csv_record(record) } else { self.text_record(record) };
        let count = added.map_err(|error| in_line(error, line, None))?;
        match self.columns.get(count) {
            Some(_) => {
                let name = self.schema.field(count).name();
                return Err(in_line(bad(format!("missing data for column \"{name}\"")), line, None));
            }
            None if count > self.columns.len() => {
                return Err(in_line(bad("extra data after last expected column".to_owned()), line, None));
            }
            None => {}
        }
        debug_assert_eq!(before, self.lines.len(), "a line is counted once");
        self.lines.push(line);
        self.bytes += record.len();
        Ok(())
    }

    /// The fields of a line in the text format; returns how many there were.
    fn text_record(&mut self, record: &[u8]) -> Result<usize> {
        let (mut count, mut start, mut at) = (0, 0, 0);
        loop {
            match record.get(at) {
                Some(b'\\') => at += 2,
                Some(byte) if *byte != self.format.delimiter => at += 1,
                end => {
                    let raw = &record[start..at.min(record.len())];
                    if let Some(cells) = self.columns.get_mut(count) {
                        let null = raw == self.format.null.as_bytes();
                        let from = cells.bytes.len();
                        if !null {
                            unescape(raw, &mut cells.bytes);
                            text(&cells.bytes[from..])?;
                        }
                        cells.push(!null);
                    }
                    count += 1;
                    at += 1;
                    start = at;
                    if end.is_none() {
                        // A table without columns has lines without fields.
                        return Ok(if record.is_empty() && self.columns.is_empty() { 0 } else { count });
                    }
                }
            }
        }
    }

    /// The fields of a CSV record; returns how many there were.
    fn csv_record(&mut self, record: &[u8]) -> Result<usize> {
        let (mut count, mut rest) = (0, Some(record));
        let mut surplus = Vec::new();
        while let Some(bytes) = rest {
            let cells = self.columns.get_mut(count);
            let mut present = true;
            match cells {
                Some(cells) => {
                    let from = cells.bytes.len();
                    let quoted;
                    (quoted, rest) = csv_field(bytes, &self.format, &mut cells.bytes)?;
                    if !quoted && cells.bytes[from..] == *self.format.null.as_bytes() {
                        cells.bytes.truncate(from);
                        present = false;
                    }
                    text(&cells.bytes[from..])?;
                    cells.push(present);
                }
                None => {
                    (_, rest) = csv_field(bytes, &self.format, &mut surplus)?;
                    surplus.clear();
                }
            }
            count += 1;
        }
        Ok(if record.is_empty() && self.columns.is_empty() { 0 } else { count })
    }

    /// Whole tuples of the binary format; returns how many bytes they took.
    fn take_tuples(&mut self, bytes: &[u8], ready: &mut Vec<RecordBatch>) -> Result<usize> {
        let mut fields = Fields::new(bytes);
        if !self.started {
            match binary_header(bytes)? {
                Some(length) => fields.take(length),
                None => return Ok(0),
            };
            self.started = true;
        }
        let mut consumed = bytes.len() - fields.remaining();
        while let Some(count) = fields.i16() {
            if count == -1 {
                self.ended = true;
                return Ok(bytes.len());
            }
            if usize::try_from(count).ok() != Some(self.columns.len()) {
                return Err(in_line(bad(format!("row field count is {count}, expected {}", self.columns.len())), self.line, None));
            }
            if !self.tuple(&mut fields)? {
                break;
            }
            consumed = bytes.len() - fields.remaining();
            self.lines.push(self.line);
            self.line += 1;
            self.close_if_full(ready)?;
        }
        Ok(consumed)
    }

    /// The fields of one tuple; `false`, and nothing kept, if it is not all there yet.
    fn tuple(&mut self, fields: &mut Fields<'_>) -> Result<bool> {
        let mut ahead = *fields;
        for _ in 0..self.columns.len() {
            if ahead.clone().i32().is_some_and(|length| length < -1) {
                return Err(in_line(bad("invalid field size".to_owned()), self.line, None));
            }
            if ahead.value().is_none() {
                return Ok(false);
            }
        }
        for cells in &mut self.columns {
            let value = fields.value().flatten();
            cells.bytes.extend_from_slice(value.unwrap_or_default());
            cells.push(value.is_some());
            self.bytes += value.map_or(0, <[u8]>::len);
        }
        Ok(true)
    }

    fn close_if_full(&mut self, ready: &mut Vec<RecordBatch>) -> Result<()> {
        if self.lines.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.close_batch(ready) } else { Ok(()) }
    }

    /// Parses the values of all rows so far, by column.
    fn close_batch(&mut self, ready: &mut Vec<RecordBatch>) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let arrays = (0..self.columns.len()).map(|index| self.array(index)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.lines.len()));
        ready.push(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?);
        self.columns.iter_mut().for_each(Cells::clear);
        self.lines.clear();
        self.bytes = 0;
        Ok(())
    }

    fn array(&self, index: usize) -> Result<ArrayRef> {
        let cells = &self.columns[index];
        let parse = |values: &[Option<&[u8]>]| {
            if self.format.kind == CopyKind::Binary {
                return binary_column(&cells.sql_type, values);
            }
            let as_text = |value: &[u8]| std::str::from_utf8(value).map(str::to_owned);
            let texts = values.iter().map(|value| value.map(as_text).transpose()).collect::<Result<Vec<_>, _>>();
            let texts = texts.map_err(|_| Error::internal("a checked text is not UTF-8"))?;
            parse_column_in(&cells.sql_type, texts.iter().map(Option::as_deref), self.zone)
        };
        let values = cells.values().collect::<Vec<_>>();
        parse(&values).map_err(|error| {
            // Only now is it worth finding out which row it was.
            let found = values.iter().zip(&self.lines).find_map(|(value, line)| parse(&[*value]).err().map(|error| (error, line, value)));
            let (error, line, value) = found.unwrap_or((error, &self.lines[0], &None));
            in_line(error, *line, Some((self.schema.field(index).name(), *value)))
        })
    }
}

/// `22P04`
fn bad(text: String) -> Error {
    Error::new(Kind::BadCopyFormat, text)
}

/// Adds where in the data it happened.
fn in_line(error: Error, line: u64, column: Option<(&String, Option<&[u8]>)>) -> Error {
    /// Longer values are cut.
    const SHOWN_CHARACTERS: usize = 100;
    let mut place = format!("COPY line {line}");
    if let Some((name, value)) = column {
        place += &format!(", column \"{name}\"");
        if let Some(Ok(value)) = value.map(std::str::from_utf8) {
            let shown = value.chars().take(SHOWN_CHARACTERS).collect::<String>();
            place += &format!(": \"{shown}\"");
        }
    }
    let detail = error.detail_text().map_or_else(|| place.clone(), |detail| format!("{detail} ({place})"));
    error.detail(detail)
}

/// The length of the binary header, if it is all there.
fn binary_header(bytes: &[u8]) -> Result<Option<usize>> {
    let shared = bytes.len().min(SIGNATURE.len());
    if bytes[..shared] != SIGNATURE[..shared] {
        return Err(bad("COPY file signature not recognized".to_owned()));
    }
    let mut fields = Fields::new(&bytes[shared..]);
    let (Some(flags), Some(extension)) = (fields.i32(), fields.i32()) else { return Ok(None) };
    // The upper half of the flags marks what a reader must understand.
    if flags as u32 >> 16 != 0 {
        return Err(bad("unrecognized critical flags in COPY file header".to_owned()));
    }
    let extension = usize::try_from(extension).map_err(|_| bad("invalid COPY file header".to_owned()))?;
    Ok(fields.take(extension).map(|_| SIGNATURE.len() + 8 + extension))
}

/// Appends one CSV field without its quotes; gives whether it had any, and what follows the delimiter (`None`: it was the last).
fn csv_field<'a>(bytes: &'a [u8], format: &CopyFormat, out: &mut Vec<u8>) -> Result<(bool, Option<&'a [u8]>)> {
    let (mut quoted, mut inside, mut at) = (false, false, 0);
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        if inside && byte == format.escape && next.is_some_and(|next| next == format.quote || next == format.escape) {
            out.extend(next);
            at += 1;
        } else if byte == format.quote {
            inside = !inside;
            quoted = true;
        } else if byte == format.delimiter && !inside {
            return Ok((quoted, Some(&bytes[at + 1..])));
        } else {
            out.push(byte);
        }
        at += 1;
    }
    if inside { Err(bad("unterminated CSV quoted field".to_owned())) } else { Ok((quoted, None)) }
}

/// Appends a field of the text format with its escapes resolved.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let Some(&letter) = rest.get(at + 1) else {
            out.push(b'\\');
            return;
        };
        rest = &rest[at + 2..];
        let octal = |byte: &u8| matches!(byte, b'0'..=b'7');
        match letter {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(0x0b),
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|byte| octal(byte)).count();
                let code = rest[..more].iter().fold(u32::from(letter - b'0'), |code, digit| code * 8 + u32::from(digit - b'0'));
                out.push(code as u8);
                rest = &rest[more..];
            }
            b'x' => {
                let digits = rest.iter().take(2).map_while(|byte| char::from(*byte).to_digit(16)).collect::<Vec<_>>();
                match digits.as_slice() {
                    [] => out.push(b'x'),
                    digits => out.push(digits.iter().fold(0, |code, digit| code * 16 + digit) as u8),
                }
                rest = &rest[digits.len()..];
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
#[path = "copy_decode_tests.rs"]
mod tests;
