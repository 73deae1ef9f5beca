//! A result on its way to the client: batches in, DataRow messages out, as many as asked for, with backpressure.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use bytes::BytesMut;
use futures::StreamExt;
use pgwire::messages::data::{FieldDescription, RowDescription};

use crate::engine::{Interrupt, RowStream};
use crate::error::Result;
use crate::types::{SqlType, TextStyle, declared_type_of, type_modifier};
use crate::wire::encode::{Format, RowEncoder, canonical_columns};
use crate::wire::frame::{Channel, FLUSH_BYTES, Failure};
use crate::wire::type_oid::{oid_of, size_of};

/// The SQL types of a result's columns.
pub(super) fn types_of(schema: &SchemaRef) -> Arc<[SqlType]> {
    schema.fields().iter().map(|field| declared_type_of(field)).collect()
}

/// What a client is told of a result's columns; the format of `Describe` of a statement, which has none yet, is text.
pub(super) fn row_description(schema: &SchemaRef, types: &[SqlType], formats: &[Format]) -> RowDescription {
    let field = |index: usize, sql_type: &SqlType| {
        let format = formats.get(index).copied().unwrap_or(Format::Text);
        let name = schema.field(index).name().replace('\0', "\\0");
        FieldDescription::new(name, 0, 0, oid_of(sql_type), size_of(sql_type), type_modifier(sql_type), format.code())
    };
    RowDescription::new(types.iter().enumerate().map(|(index, sql_type)| field(index, sql_type)).collect())
}

/// A stream of rows and how far it was sent.
pub(super) struct Cursor {
    rows: RowStream,
    types: Arc<[SqlType]>,
    formats: Arc<[Format]>,
    batch: Option<Batch>,
    tag: &'static str,
    finished: bool,
}

/// The batch that is being sent.
struct Batch {
    columns: Vec<ArrayRef>,
    next: usize,
    len: usize,
}

/// How one row is written, and what stands before and after: DataRow, or COPY data.
pub(super) trait RowWriter {
    /// Appends the rows `from..` of a batch until the batch or `limit` ends or `out` is full; returns how many.
    fn put_rows(&mut self, columns: &[ArrayRef], rows: std::ops::Range<usize>, style: &TextStyle, out: &mut BytesMut) -> Result<usize>;
}

/// Writes DataRow messages.
struct DataRows<'a> {
    types: &'a [SqlType],
    formats: &'a [Format],
}

impl RowWriter for DataRows<'_> {
    fn put_rows(&mut self, columns: &[ArrayRef], rows: std::ops::Range<usize>, style: &TextStyle, out: &mut BytesMut) -> Result<usize> {
        let mut encoder = RowEncoder::new(columns, self.types, self.formats, style)?;
        let start = rows.start;
        for row in rows.clone() {
            encoder.put_row(row, out)?;
            if out.len() >= FLUSH_BYTES {
                return Ok(row + 1 - start);
            }
        }
        Ok(rows.len())
    }
}

impl Cursor {
    /// Over rows of these types; one format each.
    pub(super) fn new(rows: RowStream, types: Arc<[SqlType]>, formats: Arc<[Format]>, tag: &'static str) -> Self {
        Cursor { rows, types, formats, batch: None, tag, finished: false }
    }

    /// Whether the last row was sent.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The command.
    pub(super) fn tag(&self) -> &'static str {
        self.tag
    }

    /// The command tag after `sent` rows.
    pub(super) fn put_complete(&self, sent: u64, out: &mut BytesMut) {
        put_complete(self.tag, sent, out);
    }

    /// Sends up to `limit` rows (`None`: all) as DataRow messages; returns how many.
    pub(super) async fn send(
        &mut self,
        channel: &mut Channel,
        style: &TextStyle,
        interrupt: &Interrupt,
        limit: Option<u64>,
    ) -> Result<u64, Failure> {
        let (types, formats) = (Arc::clone(&self.types), Arc::clone(&self.formats));
        let mut writer = DataRows { types: &types, formats: &formats };
        self.send_with(&mut writer, channel, style, interrupt, limit).await
    }

    /// The same, written as `writer` does.
    pub(super) async fn send_with(
        &mut self,
        writer: &mut (impl RowWriter + Send),
        channel: &mut Channel,
        style: &TextStyle,
        interrupt: &Interrupt,
        limit: Option<u64>,
    ) -> Result<u64, Failure> {
        let mut sent = 0;
        while limit.is_none_or(|limit| sent < limit) && self.next_batch(channel, interrupt).await? {
            let batch = self.batch.as_mut().expect("the batch that was just found");
            let wanted = limit.map_or(usize::MAX, |limit| usize::try_from(limit - sent).unwrap_or(usize::MAX));
            let end = batch.next.saturating_add(wanted).min(batch.len);
            let count = writer.put_rows(&batch.columns, batch.next..end, style, &mut channel.out)?;
            batch.next += count;
            sent += count as u64;
            channel.flush_if_full(interrupt).await?;
        }
        Ok(sent)
    }

    /// Makes sure that there is a batch with rows to send; `false` at the end.
    async fn next_batch(&mut self, channel: &mut Channel, interrupt: &Interrupt) -> Result<bool, Failure> {
        while !self.finished {
            if self.batch.as_ref().is_some_and(|batch| batch.next < batch.len) {
                return Ok(true);
            }
            self.batch = None;
            let rows = &mut self.rows;
            match channel.attend(interrupt, async { rows.next().await.transpose() }).await? {
                Some(rows) => {
                    let columns = canonical_columns(&rows, &self.types)?;
                    self.batch = Some(Batch { columns, next: 0, len: rows.num_rows() });
                }
                None => self.finished = true,
            }
        }
        Ok(false)
    }
}

/// Appends CommandComplete with the tag that clients expect behind `rows` rows.
pub(super) fn put_complete(tag: &str, rows: u64, out: &mut BytesMut) {
    match tag {
        "INSERT" => put_tag(format_args!("INSERT 0 {rows}"), out),
        "SELECT" | "FETCH" | "MOVE" | "UPDATE" | "DELETE" | "COPY" => put_tag(format_args!("{tag} {rows}"), out),
        _ => put_tag(format_args!("{tag}"), out),
    }
}

/// Appends CommandComplete. Not by pgwire: it would want a `String` for every statement.
pub(super) fn put_tag(tag: std::fmt::Arguments<'_>, out: &mut BytesMut) {
    let start = out.len();
    out.extend_from_slice(b"C\0\0\0\0");
    std::fmt::Write::write_fmt(out, tag).expect("a BytesMut takes all text");
    out.extend_from_slice(&[0]);
    crate::wire::encode::put_length(out, start + 1, 0);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray};
    use bytes::BytesMut;

    use super::{DataRows, RowWriter, put_complete};
    use crate::types::{SqlType, TextStyle};
    use crate::wire::decode::binary_column;
    use crate::wire::encode::{Format, canonical_columns};

    #[test]
    fn tags_are_those_that_clients_parse() {
        let tag = |tag, rows| {
            let mut out = BytesMut::new();
            put_complete(tag, rows, &mut out);
            out.to_vec()
        };
        assert_eq!(tag("SELECT", 1), b"C\0\0\0\x0dSELECT 1\0");
        assert_eq!(tag("INSERT", 3), b"C\0\0\0\x0fINSERT 0 3\0");
        assert_eq!(tag("SHOW", 1), b"C\0\0\0\x09SHOW\0");
    }

    #[test]
    fn a_row_has_each_column_in_its_format() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![Some(-7), None])),
            Arc::new(Int32Array::from(vec![258, 1])),
            Arc::new(StringArray::from(vec!["ab", ""])),
            Arc::new(BooleanArray::from(vec![true, false])),
        ];
        let types = [SqlType::Int4, SqlType::Int4, SqlType::Text, SqlType::Bool];
        let formats = [Format::Text, Format::Binary, Format::Binary, Format::Text];
        let mut out = BytesMut::new();
        let style = TextStyle::default();
        let count = DataRows { types: &types, formats: &formats }.put_rows(&columns, 0..2, &style, &mut out).unwrap();
        assert_eq!(count, 2);
        let first = b"D\0\0\0\x1f\0\x04\0\0\0\x02-7\0\0\0\x04\0\0\x01\x02\0\0\0\x02ab\0\0\0\x01t";
        let second = b"D\0\0\0\x1b\0\x04\xff\xff\xff\xff\0\0\0\x04\0\0\0\x01\0\0\0\0\0\0\0\x01f";
        assert_eq!(&out[..], [&first[..], &second[..]].concat());
    }

    /// Encodes in binary, decodes again, and compares.
    fn round_trip(sql_type: &SqlType, texts: &[Option<&str>]) {
        let array = crate::types::parse_column(sql_type, texts.iter().copied()).unwrap();
        let batch = RecordBatch::try_from_iter([("x", ArrayRef::clone(&array))]).unwrap();
        let columns = canonical_columns(&batch, std::slice::from_ref(sql_type)).unwrap();
        let mut out = BytesMut::new();
        let style = TextStyle::default();
        let types = std::slice::from_ref(sql_type);
        DataRows { types, formats: &[Format::Binary] }.put_rows(&columns, 0..texts.len(), &style, &mut out).unwrap();
        let mut values = Vec::new();
        let mut fields = crate::wire::message::Fields::new(&out);
        for _ in texts {
            fields.take(7).unwrap();
            values.push(fields.value().unwrap());
        }
        assert_eq!(&binary_column(sql_type, &values).unwrap(), &columns[0], "{sql_type}");
    }

    #[test]
    fn binary_values_come_back() {
        round_trip(&SqlType::Bool, &[Some("true"), None, Some("false")]);
        round_trip(&SqlType::Int8, &[Some("-9223372036854775808"), None]);
        round_trip(&SqlType::Float8, &[Some("1.5"), Some("-0.25")]);
        round_trip(&SqlType::Numeric(38, 10), &[Some("12345678.9012"), None, Some("-0.0001"), Some("0")]);
        round_trip(&SqlType::Date, &[Some("2015-07-15"), Some("1969-12-31")]);
        round_trip(&SqlType::Timestamp, &[Some("2015-07-15 00:00:00.123"), Some("1999-12-31 23:59:59")]);
        round_trip(&SqlType::Uuid, &[Some("6f1d5b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"), None]);
        round_trip(&SqlType::Jsonb, &[Some("{\"a\": 1}")]);
        round_trip(&SqlType::Text, &[Some("häß"), Some(""), None]);
        round_trip(&SqlType::Rounded(Box::new(SqlType::Timestamptz), 3), &[Some("2015-07-15 00:00:00.123+00"), None]);
        let matrix = |element| SqlType::Array(Box::new(SqlType::Array(Box::new(element))));
        round_trip(&matrix(SqlType::Int4), &[Some("{{1,2},{3,NULL}}"), None, Some("{}"), Some("{{7}}")]);
        let row = SqlType::Struct(vec![("x".into(), SqlType::Int4), ("y".into(), SqlType::Uuid), ("z".into(), matrix(SqlType::Text))]);
        let rows = [Some("(1,6f1d5b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b,\"{{a,b}}\")"), None, Some("(,,)")];
        round_trip(&row, &rows);
        round_trip(&SqlType::Array(Box::new(row)), &[Some("{\"(1,,)\",\"(,,{})\"}"), Some("{}")]);
    }
}
