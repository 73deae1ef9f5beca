//! Arrow rows → DataRow messages, each column in text or binary as the client asked.
//!
//! The encoder of a column is chosen once per batch; the loop over rows then only appends.

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use bytes::{BufMut, BytesMut};

use crate::error::Result;
use crate::types::{SqlType, TextColumn, TextStyle, canonical};
use crate::wire::encode_binary::BinaryColumn;

/// How values travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// As PostgreSQL prints them.
    Text,
    /// As PostgreSQL's `send` functions write them.
    Binary,
}

impl Format {
    /// The format's number in messages.
    pub(super) fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// The columns of a batch in the forms that the encoders know.
pub(super) fn canonical_columns(batch: &RecordBatch, types: &[SqlType]) -> Result<Vec<ArrayRef>> {
    batch.columns().iter().zip(types).map(|(column, sql_type)| canonical(column, sql_type)).collect()
}

/// Writes the rows of one batch.
pub(super) struct RowEncoder<'a> {
    columns: Vec<Column<'a>>,
    style: &'a TextStyle,
    /// Where a value's text is made before its length is known.
    scratch: String,
}

enum Column<'a> {
    /// Text is the same in both formats, and the most of it: straight from the array into the message.
    Verbatim(&'a StringArray),
    Text(TextColumn<'a>),
    Binary(BinaryColumn<'a>),
}

impl<'a> RowEncoder<'a> {
    /// For `canonical_columns`; one type and one format per column.
    pub(super) fn new(columns: &'a [ArrayRef], types: &[SqlType], formats: &[Format], style: &'a TextStyle) -> Result<Self> {
        let choose = |((array, sql_type), format): ((&'a ArrayRef, &SqlType), &Format)| {
            Ok(match (format, sql_type) {
                (_, SqlType::Text | SqlType::Varchar(_) | SqlType::Name | SqlType::Json) => Column::Verbatim(array.as_string()),
                (Format::Text, _) => Column::Text(TextColumn::new(&**array, sql_type)?),
                (Format::Binary, _) => Column::Binary(BinaryColumn::new(&**array, sql_type)?),
            })
        };
        let columns = columns.iter().zip(types).zip(formats).map(choose).collect::<Result<Vec<_>>>()?;
        Ok(RowEncoder { columns, style, scratch: String::new() })
    }

    /// Appends one DataRow message.
    pub(super) fn put_row(&mut self, row: usize, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        out.put_u8(b'D');
        out.put_u32(0);
        let written = self.put_columns(row, out);
        if written.is_err() {
            // Half a message must not stay behind: an error message follows.
            out.truncate(start);
        } else {
            put_length(out, start + 1, 0);
        }
        written
    }

    /// Appends the number of columns and each with its length: the body of DataRow, and of a row of binary COPY.
    pub(super) fn put_columns(&mut self, row: usize, out: &mut BytesMut) -> Result<()> {
        out.put_i16(self.columns.len() as i16);
        for column in &self.columns {
            match column {
                Column::Verbatim(values) => {
                    put_value(out, (!arrow::array::Array::is_null(*values, row)).then(|| values.value(row).as_bytes()))
                }
                Column::Text(values) if values.is_null(row) => put_value(out, None),
                Column::Text(values) => {
                    self.scratch.clear();
                    values.write(row, self.style, &mut self.scratch);
                    put_value(out, Some(self.scratch.as_bytes()));
                }
                Column::Binary(values) => values.put(row, out)?,
            }
        }
        Ok(())
    }
}

/// Appends a length and the bytes; -1 for NULL.
pub(super) fn put_value(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        None => out.put_i32(-1),
        Some(bytes) => {
            out.reserve(4 + bytes.len());
            out.put_i32(bytes.len() as i32);
            out.put_slice(bytes);
        }
    }
}

/// Writes the length of everything from `at` to the end into the four bytes kept for it at `at`, leaving out `header` bytes.
pub(super) fn put_length(out: &mut BytesMut, at: usize, header: usize) {
    let length = (out.len() - at - header) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
