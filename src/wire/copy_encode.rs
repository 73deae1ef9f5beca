//! Rows → COPY data: PostgreSQL's text format, CSV, and its binary format; one CopyData message per row.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use bytes::{BufMut, BytesMut};

use crate::error::Result;
use crate::types::{CopyFormat, CopyKind, SqlType, TextColumn, TextStyle};
use crate::wire::encode::{Format, RowEncoder, put_length};
use crate::wire::frame::FLUSH_BYTES;
use crate::wire::rows::RowWriter;

/// How a binary COPY begins; bytes that any change of line ends or of the eighth bit would break.
pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Writes rows as COPY data.
pub(super) struct CopyWriter<'a> {
    names: Vec<&'a str>,
    types: &'a [SqlType],
    formats: Vec<Format>,
    format: &'a CopyFormat,
    scratch: String,
}

impl<'a> CopyWriter<'a> {
    /// For columns of these names and types.
    pub(super) fn new(schema: &'a SchemaRef, types: &'a [SqlType], format: &'a CopyFormat) -> Self {
        let names = schema.fields().iter().map(|field| field.name().as_str()).collect();
        CopyWriter { names, types, formats: vec![Format::Binary; types.len()], format, scratch: String::new() }
    }

    /// Appends what stands before the rows: the names, if wanted, or the header of the binary format.
    pub(super) fn put_start(&mut self, out: &mut BytesMut) {
        match self.format.kind {
            CopyKind::Binary => put_message(out, |out| {
                out.put_slice(SIGNATURE);
                out.put_u32(0);
                out.put_u32(0);
            }),
            _ if self.format.header => put_message(out, |out| {
                for (index, name) in self.names.iter().enumerate() {
                    put_cell(out, index, name, self.format, self.names.len() == 1);
                }
                out.put_u8(b'\n');
            }),
            _ => {}
        }
    }

    /// Appends what stands behind the rows: the trailer of the binary format.
    pub(super) fn put_end(&self, out: &mut BytesMut) {
        if self.format.kind == CopyKind::Binary {
            put_message(out, |out| out.put_i16(-1));
        }
    }
}

impl RowWriter for CopyWriter<'_> {
    fn put_rows(&mut self, columns: &[ArrayRef], rows: Range<usize>, style: &TextStyle, out: &mut BytesMut) -> Result<usize> {
        if self.format.kind == CopyKind::Binary {
            let mut encoder = RowEncoder::new(columns, self.types, &self.formats, style)?;
            return put_each(rows, out, |row, out| encoder.put_columns(row, out));
        }
        let texts = columns.iter().zip(self.types).map(|(column, sql_type)| TextColumn::new(&**column, sql_type));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let (format, scratch) = (self.format, &mut self.scratch);
        put_each(rows, out, |row, out| {
            for (index, column) in texts.iter().enumerate() {
                if column.is_null(row) {
                    put_separator(out, index, format);
                    out.put_slice(format.null.as_bytes());
                    continue;
                }
                scratch.clear();
                column.write(row, style, scratch);
                put_cell(out, index, scratch, format, texts.len() == 1);
            }
            out.put_u8(b'\n');
            Ok(())
        })
    }
}

/// Appends one message per row until the rows end or enough waits; returns how many.
fn put_each(rows: Range<usize>, out: &mut BytesMut, mut put: impl FnMut(usize, &mut BytesMut) -> Result<()>) -> Result<usize> {
    let start = rows.start;
    for row in rows.clone() {
        let at = out.len();
        let mut result = Ok(());
        put_message(out, |out| result = put(row, out));
        if result.is_err() {
            out.truncate(at);
        }
        result?;
        if out.len() >= FLUSH_BYTES {
            return Ok(row + 1 - start);
        }
    }
    Ok(rows.len())
}

/// Appends a CopyData message.
fn put_message(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_slice(b"d\0\0\0\0");
    body(out);
    put_length(out, start + 1, 0);
}

fn put_separator(out: &mut BytesMut, index: usize, format: &CopyFormat) {
    if index > 0 {
        out.put_u8(format.delimiter);
    }
}

fn put_cell(out: &mut BytesMut, index: usize, text: &str, format: &CopyFormat, alone: bool) {
    put_separator(out, index, format);
    if format.kind == CopyKind::Csv { put_csv(out, text, format, alone) } else { put_text(out, text, format) }
}

/// The text format: a backslash before what would be taken for something else.
fn put_text(out: &mut BytesMut, text: &str, format: &CopyFormat) {
    for byte in text.bytes() {
        let letter = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            _ if byte == format.delimiter => byte,
            _ => {
                out.put_u8(byte);
                continue;
            }
        };
        out.put_slice(&[b'\\', letter]);
    }
}

/// CSV: quotes where the text could be taken for something else: a separator, NULL, or the end of the data.
fn put_csv(out: &mut BytesMut, text: &str, format: &CopyFormat, alone: bool) {
    let special = |byte: u8| byte == format.delimiter || byte == format.quote || matches!(byte, b'\n' | b'\r');
    if text != format.null && !(alone && text == "\\.") && !text.bytes().any(special) {
        out.put_slice(text.as_bytes());
        return;
    }
    out.put_u8(format.quote);
    for byte in text.bytes() {
        if byte == format.quote || byte == format.escape {
            out.put_u8(format.escape);
        }
        out.put_u8(byte);
    }
    out.put_u8(format.quote);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use arrow::datatypes::Schema;
    use bytes::BytesMut;

    use super::CopyWriter;
    use crate::types::{CopyFormat, CopyKind, SqlType, TextStyle};
    use crate::wire::message::Fields;
    use crate::wire::rows::RowWriter;

    fn written(format: &CopyFormat) -> Vec<u8> {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![Some(1), None])), Arc::new(StringArray::from(vec![Some("a,\"b\"\tc\\"), Some("")]))];
        let types = [SqlType::Int4, SqlType::Text];
        let schema = Arc::new(Schema::new(vec![types[0].field("n", true), types[1].field("t", true)]));
        let (mut out, mut data) = (BytesMut::new(), Vec::new());
        let mut writer = CopyWriter::new(&schema, &types, format);
        writer.put_start(&mut out);
        writer.put_rows(&columns, 0..2, &TextStyle::default(), &mut out).unwrap();
        writer.put_end(&mut out);
        let mut fields = Fields::new(&out);
        while let Some(kind) = fields.u8() {
            assert_eq!(kind, b'd');
            let length = fields.i32().unwrap() as usize;
            data.extend_from_slice(fields.take(length - 4).unwrap());
        }
        data
    }

    #[test]
    fn each_format_marks_null_and_specials() {
        let mut format =
            CopyFormat { kind: CopyKind::Text, delimiter: b'\t', null: "\\N".into(), header: false, quote: b'"', escape: b'"' };
        assert_eq!(String::from_utf8(written(&format)).unwrap(), "1\ta,\"b\"\\tc\\\\\n\\N\t\n");
        format = CopyFormat { kind: CopyKind::Csv, delimiter: b',', null: String::new(), header: true, ..format };
        assert_eq!(String::from_utf8(written(&format)).unwrap(), "n,t\n1,\"a,\"\"b\"\"\tc\\\"\n,\"\"\n");
        format.kind = CopyKind::Binary;
        let data = written(&format);
        assert_eq!(&data[19..29], [0, 2, 0, 0, 0, 4, 0, 0, 0, 1]);
        assert_eq!(&data[data.len() - 12..], [0, 2, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255]);
    }
}
