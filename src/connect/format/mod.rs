//! Records → rows: what `FORMAT … ENCODE …` says about a record's bytes.
//!
//! In: records one at a time, each with its surroundings. Out: batches of the source's columns, and the records that were no rows.
//! Always: a record becomes a row or a dead letter, never both, and never stops the ones after it.

mod csv;
mod json;
mod json_value;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use self::csv::{CsvLayout, CsvOptions};
use self::json::JsonShape;
use super::options::Options;
use super::{DEAD_LETTER_PAYLOAD_MAX, DeadLetter, SourceBatch, SourceColumn, SourceSpec};
use crate::error::{Error, Kind, Result};
use crate::types::{Changes, ColumnBuilder, Include, SqlType, Value};

/// Where a record stands, and what came with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Microseconds since 1970.
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    /// A JSON object of strings.
    pub(super) headers: Option<&'a str>,
}

/// A source's format, checked; makes decoders.
#[derive(Clone, Debug)]
pub(super) struct Format {
    columns: Arc<[SourceColumn]>,
    schema: SchemaRef,
    encoding: Encoding,
}

/// `ENCODE …`, with its options.
#[derive(Clone, Debug)]
enum Encoding {
    Json,
    Csv(CsvOptions),
    /// The record is the value of the only column.
    Bytes,
}

impl Format {
    /// `0A000` for formats that are not built yet, `22023` for bad options, `42P16` if the columns do not fit.
    pub(super) fn new(spec: &SourceSpec) -> Result<Self> {
        if spec.format != "PLAIN" {
            return Err(Error::not_supported(format!("FORMAT {} is not there yet", spec.format)).hint("Use FORMAT PLAIN."));
        }
        let owner = format!("ENCODE {}", spec.encode);
        let options = Options::new(&owner, &spec.encode_options);
        let payload: Vec<&SourceColumn> = spec.columns.iter().filter(|column| column.include.is_none()).collect();
        let encoding = match spec.encode.as_str() {
            "JSON" => {
                options.refuse_unknown(&[], &[])?;
                Encoding::Json
            }
            "CSV" => Encoding::Csv(CsvOptions::new(&options)?),
            "BYTES" => {
                options.refuse_unknown(&[], &[])?;
                if !matches!(payload[..], [SourceColumn { sql_type: SqlType::Bytea | SqlType::Text, .. }]) {
                    let error = Error::new(Kind::InvalidTableDefinition, "ENCODE BYTES fills exactly one column of type bytea or text");
                    return Err(error.hint("Declare one, e.g. (data BYTEA)."));
                }
                Encoding::Bytes
            }
            other => {
                let error = Error::not_supported(format!("ENCODE {other} is not there yet"));
                return Err(error.hint("Use ENCODE JSON, CSV or BYTES."));
            }
        };
        if payload.is_empty() {
            let error = Error::new(Kind::InvalidTableDefinition, "a source of this connector needs columns");
            return Err(error.hint("Name them: CREATE SOURCE name (column type, …) WITH (…)."));
        }
        let columns: Arc<[SourceColumn]> = spec.columns.clone().into();
        let fields: Vec<_> = columns.iter().map(|column| column.sql_type.field(&column.name, !column.not_null)).collect();
        Ok(Format { columns, schema: Arc::new(Schema::new(fields)), encoding })
    }

    /// The columns of the batches.
    pub(super) fn columns(&self) -> &[SourceColumn] {
        &self.columns
    }

    /// Whether a column wants this part of a record's surroundings.
    pub(super) fn includes(&self, include: Include) -> bool {
        self.columns.iter().any(|column| column.include == Some(include))
    }

    /// Whether files start with a line that names the columns.
    pub(super) fn has_header(&self) -> bool {
        matches!(&self.encoding, Encoding::Csv(options) if options.header)
    }

    /// What stands between the fields of a CSV record, in whose quotes there may be line feeds.
    pub(super) fn csv_delimiter(&self) -> Option<char> {
        match &self.encoding {
            Encoding::Csv(options) => Some(options.delimiter()),
            _ => None,
        }
    }

    /// With nothing in it.
    pub(super) fn decoder(&self) -> Decoder {
        let payload: Vec<PayloadColumn> = self
            .columns
            .iter()
            .filter(|column| column.include.is_none())
            .map(|column| PayloadColumn {
                name: column.name.clone(),
                sql_type: column.sql_type.clone(),
                not_null: column.not_null,
                default: column.default.as_ref().map(|default| Value::from_array(default, 0)),
            })
            .collect();
        let reading = match &self.encoding {
            Encoding::Json => Reading::Json(JsonShape::new(&payload)),
            Encoding::Csv(options) => Reading::Csv(options.clone(), CsvLayout::by_position(&payload)),
            Encoding::Bytes => Reading::Bytes,
        };
        Decoder {
            schema: Arc::clone(&self.schema),
            columns: Arc::clone(&self.columns),
            builders: self.columns.iter().map(|column| ColumnBuilder::new(&column.sql_type)).collect(),
            payload,
            reading,
            offsets: Vec::new(),
            dead_letters: Vec::new(),
        }
    }
}

/// A column that is filled from the record itself.
#[derive(Debug)]
pub(super) struct PayloadColumn {
    name: String,
    sql_type: SqlType,
    not_null: bool,
    default: Option<Value<'static>>,
}

impl PayloadColumn {
    /// The value where the record has none: the default, else NULL if that may be.
    fn missing(&self) -> Result<Value<'static>, String> {
        match &self.default {
            Some(default) => Ok(default.clone()),
            None => self.null(),
        }
    }

    /// NULL, if that may be.
    fn null(&self) -> Result<Value<'static>, String> {
        if self.not_null { Err(no_value(&self.name)) } else { Ok(Value::Null) }
    }
}

/// What a decoder keeps about its encoding.
#[derive(Debug)]
enum Reading {
    Json(JsonShape),
    Csv(CsvOptions, CsvLayout),
    Bytes,
}

/// Collects records of one partition.
#[derive(Debug)]
pub(super) struct Decoder {
    schema: SchemaRef,
    columns: Arc<[SourceColumn]>,
    /// One per column.
    builders: Vec<ColumnBuilder>,
    payload: Vec<PayloadColumn>,
    reading: Reading,
    /// One per row.
    offsets: Vec<i64>,
    dead_letters: Vec<DeadLetter>,
}

impl Decoder {
    /// Takes the first line of a file for the names of its columns.
    pub(super) fn use_header(&mut self, line: &[u8]) -> Result<()> {
        let Reading::Csv(options, layout) = &mut self.reading else { return Ok(()) };
        *layout = CsvLayout::by_header(&self.payload, options, line)?;
        Ok(())
    }

    /// Makes one record a row or a dead letter.
    pub(super) fn push(&mut self, record: Option<&[u8]>, envelope: &Envelope<'_>) {
        let Decoder { columns, payload, reading, .. } = self;
        let values = surroundings_missing(columns, envelope).and_then(|()| match record {
            None => Err("the record has no value".to_owned()),
            Some(record) => match reading {
                Reading::Json(shape) => shape.decode(payload, record),
                Reading::Csv(options, layout) => layout.decode(payload, options, record),
                Reading::Bytes => bytes_value(&payload[0], record),
            },
        });
        match values {
            Ok(values) => self.append(&values, envelope),
            Err(error) => {
                let record = record.unwrap_or_default();
                self.dead_letters.push(DeadLetter {
                    partition: envelope.partition,
                    offset: envelope.offset,
                    error,
                    payload: record[..record.len().min(DEAD_LETTER_PAYLOAD_MAX)].to_vec(),
                });
            }
        }
    }

    fn append(&mut self, values: &[Value<'_>], envelope: &Envelope<'_>) {
        let mut values = values.iter();
        for (column, builder) in self.columns.iter().zip(&mut self.builders) {
            match column.include {
                None => builder.append(values.next().expect("one value per payload column")),
                Some(include) => builder.append(&included(include, envelope)),
            }
        }
        self.offsets.push(envelope.offset);
    }

    /// Records in it, good and bad.
    pub(super) fn len(&self) -> usize {
        self.offsets.len() + self.dead_letters.len()
    }

    /// What was collected, as a batch. The decoder is empty again.
    pub(super) fn finish(&mut self, partition: i32, next_offset: i64) -> SourceBatch {
        let columns = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        let offsets = std::mem::take(&mut self.offsets);
        let options = RecordBatchOptions::new().with_row_count(Some(offsets.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .expect("columns of the schema's types, and NULL refused where none may be");
        let dead_letters = std::mem::take(&mut self.dead_letters);
        SourceBatch {
            partition,
            next_offset,
            changes: Changes::insertions(rows),
            offsets,
            dead_letters,
            lag: None,
            fingerprint: None,
            watermark: None,
        }
    }
}

fn no_value(column: &str) -> String {
    format!("column \"{column}\": no value, but it is NOT NULL")
}

/// Whether the record's surroundings lack what a NOT NULL column is to be filled from: a record without key, for one.
fn surroundings_missing(columns: &[SourceColumn], envelope: &Envelope<'_>) -> Result<(), String> {
    let missing = |column: &&SourceColumn| {
        column.not_null && column.include.is_some_and(|include| matches!(included(include, envelope), Value::Null))
    };
    columns.iter().find(missing).map_or(Ok(()), |column| Err(no_value(&column.name)))
}

/// What `INCLUDE …` puts into a column.
fn included<'a>(include: Include, envelope: &Envelope<'a>) -> Value<'a> {
    match include {
        Include::Key => envelope.key.map_or(Value::Null, |key| Value::Bytes(key.into())),
        Include::Partition => Value::Int(envelope.partition.into()),
        Include::Offset => Value::Int(envelope.offset),
        Include::Timestamp => envelope.timestamp.map_or(Value::Null, Value::Int),
        Include::Headers => envelope.headers.map_or(Value::Null, |headers| Value::Text(headers.into())),
    }
}

fn bytes_value<'a>(column: &PayloadColumn, record: &'a [u8]) -> Result<Vec<Value<'a>>, String> {
    if column.sql_type == SqlType::Bytea {
        return Ok(vec![Value::Bytes(record.into())]);
    }
    let text = std::str::from_utf8(record).map_err(|_| "the record is not valid UTF-8".to_owned())?;
    Ok(vec![Value::Text(text.into())])
}

/// A text made short enough for a message.
fn excerpt(text: &str) -> Cow<'_, str> {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

/// Why a text is not a value of a column, for its dead letter.
fn column_error(column: &PayloadColumn, found: &str, cause: &Error) -> String {
    match cause.kind() {
        Kind::InvalidText | Kind::InvalidDatetime => {
            format!("column \"{}\": expected {}, found \"{}\"", column.name, column.sql_type, excerpt(found))
        }
        _ => format!("column \"{}\": {}", column.name, cause.message()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Envelope, Format};
    use crate::connect::{SourceBatch, SourceColumn, SourceSpec};
    use crate::types::{Include, SqlType, Value, parse_value};
    use arrow::array::Array;
    use std::collections::BTreeMap;

    pub(in crate::connect) fn column(name: &str, sql_type: SqlType) -> SourceColumn {
        SourceColumn { name: name.into(), sql_type, not_null: false, default: None, include: None }
    }

    pub(in crate::connect) fn spec(encode: &str, columns: Vec<SourceColumn>, encode_options: &[(&str, &str)]) -> SourceSpec {
        let encode_options = encode_options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        SourceSpec { columns, options: BTreeMap::default(), format: "PLAIN".into(), encode: encode.into(), encode_options }
    }

    pub(in crate::connect) fn decode(spec: &SourceSpec, records: &[&[u8]]) -> SourceBatch {
        let mut decoder = Format::new(spec).unwrap().decoder();
        for (offset, record) in records.iter().enumerate() {
            decoder.push(Some(record), &Envelope { offset: i64::try_from(offset).unwrap(), ..Envelope::default() });
        }
        decoder.finish(0, i64::try_from(records.len()).unwrap())
    }

    pub(in crate::connect) fn rows(batch: &SourceBatch) -> Vec<Vec<Value<'static>>> {
        let rows = batch.changes.rows();
        (0..rows.num_rows()).map(|row| rows.columns().iter().map(|column| Value::from_array(column, row)).collect()).collect()
    }

    #[test]
    fn defaults_not_null_and_included_columns() {
        let mut name = column("name", SqlType::Text);
        name.default = Some(parse_value(&SqlType::Text, Some("nobody")).unwrap());
        let mut id = column("id", SqlType::Int8);
        id.not_null = true;
        let mut at = column("at", SqlType::Int8);
        at.include = Some(Include::Offset);
        let batch = decode(&spec("JSON", vec![at, id, name], &[]), &[b"{\"id\":1}", b"{\"id\":null}", b"{\"id\":2,\"name\":null}", b"{}"]);
        let nobody = Value::Text("nobody".into());
        assert_eq!(rows(&batch), [[Value::Int(0), Value::Int(1), nobody], [Value::Int(2), Value::Int(2), Value::Null]]);
        let dead: Vec<_> = batch.dead_letters.iter().map(|letter| (letter.offset, letter.error.as_str())).collect();
        let error = "column \"id\": no value, but it is NOT NULL";
        assert_eq!(dead, [(1, error), (3, error)]);
    }

    #[test]
    fn a_record_without_the_key_of_a_not_null_column_panicked() {
        let mut key = column("key", SqlType::Bytea);
        (key.include, key.not_null) = (Some(Include::Key), true);
        let spec = spec("JSON", vec![column("n", SqlType::Int4), key], &[]);
        let mut decoder = Format::new(&spec).unwrap().decoder();
        for (offset, key) in [(7, None), (8, Some(&b"k"[..]))] {
            decoder.push(Some(b"{\"n\":1}"), &Envelope { offset, key, ..Envelope::default() });
        }
        let batch = decoder.finish(0, 9);
        assert_eq!((rows(&batch), batch.offsets), (vec![vec![Value::Int(1), Value::Bytes(b"k".into())]], vec![8]));
        let dead: Vec<_> = batch.dead_letters.iter().map(|letter| (letter.offset, letter.error.as_str())).collect();
        assert_eq!(dead, [(7, "column \"key\": no value, but it is NOT NULL")]);
    }

    #[test]
    fn bytes_are_the_value() {
        let batch = decode(&spec("BYTES", vec![column("data", SqlType::Bytea)], &[]), &[b"\xff\x00"]);
        assert_eq!(rows(&batch), [[Value::Bytes(vec![0xff, 0].into())]]);
        assert!(Format::new(&spec("BYTES", vec![column("n", SqlType::Int4)], &[])).is_err());
        assert_eq!(Format::new(&spec("AVRO", vec![column("n", SqlType::Int4)], &[])).unwrap_err().kind().sqlstate(), "0A000");
        assert_eq!(
            Format::new(&spec("JSON", vec![column("n", SqlType::Int4)], &[("header", "true")])).unwrap_err().kind().sqlstate(),
            "22023"
        );
        assert_eq!(batch.changes.rows().column(0).len(), 1);
    }
}
