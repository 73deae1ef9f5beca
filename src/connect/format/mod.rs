//! Records → rows: what `FORMAT … ENCODE …` says about a record's bytes.
//!
//! In: records one at a time, each with its surroundings. Out: batches of the source's columns, and the records that were no rows.
//! Always: a record becomes a row or a dead letter, never both, and never stops the ones after it. Which of them does not depend on which columns are
//! wanted: values of the others are checked, and not kept.

mod csv;
mod json;
mod json_form;
mod json_value;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, make_array, new_null_array};
use arrow::compute::filter;
use arrow::datatypes::{Schema, SchemaRef};
use memchr::memchr;

use self::csv::{CsvLayout, CsvOptions};
use self::json::JsonShape;
use self::json_form::Found;
use super::options::Options;
use super::{DEAD_LETTER_PAYLOAD_MAX, DeadLetter, SOURCE_BATCH_ROWS, SourceBatch, SourceColumn, SourceSpec};
use crate::error::{Error, Kind, Result};
use crate::types::{Changes, ColumnBuilder, Include, RowErrors, SqlType, Value, usual_timestamp};

/// Columns for which there is room without asking for memory: most records have fewer.
const COLUMNS_AT_HAND: usize = 16;

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
    /// Of each column that nobody wants, what a full batch has instead of its values. All decoders share it.
    unwanted: Arc<[Option<ArrayRef>]>,
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
        let unwanted = vec![None; columns.len()].into();
        Ok(Format { columns, unwanted, schema: Arc::new(Schema::new(fields)), encoding })
    }

    /// The same, where nobody looks at the values of other columns than these.
    pub(super) fn only(&self, wanted: &[bool]) -> Self {
        assert_eq!(wanted.len(), self.columns.len(), "one for each column");
        let columns = self.columns.iter().zip(wanted);
        let unwanted = columns.map(|(column, wanted)| (!wanted).then(|| nothing(&column.sql_type, column.not_null)));
        Format { unwanted: unwanted.collect(), ..self.clone() }
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
        let places = || self.columns.iter().enumerate();
        let payload: Vec<PayloadColumn> = places()
            .filter(|(_, column)| column.include.is_none())
            .map(|(place, column)| PayloadColumn {
                place,
                wanted: self.unwanted[place].is_none(),
                usual: Usual::of(&column.sql_type),
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
        let column = |(column, unwanted): (&SourceColumn, &Option<ArrayRef>)| match unwanted {
            None => Filling::Values(ColumnBuilder::new(&column.sql_type)),
            Some(full) => Filling::Nothing(Arc::clone(full)),
        };
        let surroundings = places().filter_map(|(place, column)| {
            column.include.map(|include| Surrounding { place, include, not_null: column.not_null, name: column.name.clone() })
        });
        Decoder {
            schema: Arc::clone(&self.schema),
            surroundings: surroundings.collect(),
            filling: self.columns.iter().zip(self.unwanted.iter()).map(column).collect(),
            payload,
            reading,
            offsets: Vec::new(),
            torn: Vec::new(),
            dead_letters: Vec::new(),
        }
    }
}

/// A column of a full batch without values: NULL, or where that may not be, whatever the type's bytes mean when they are all zero.
fn nothing(sql_type: &SqlType, not_null: bool) -> ArrayRef {
    let nulls = new_null_array(&sql_type.arrow(), SOURCE_BATCH_ROWS);
    if !not_null {
        return nulls;
    }
    make_array(nulls.to_data().into_builder().nulls(None).build().expect("zeros and empty texts are values of every type"))
}

/// A column that is filled from the record itself.
#[derive(Debug)]
pub(super) struct PayloadColumn {
    /// Its position among all columns.
    place: usize,
    /// Whether its values are kept.
    wanted: bool,
    /// What most records have for it.
    usual: Usual,
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

    /// Whether what a record has for the column need not be read: nobody wants it, and it is good.
    fn may_skip(&self, found: Option<Found<'_>>) -> bool {
        !self.wanted && !self.not_null && json::surely_fits(&self.sql_type, found)
    }
}

/// A form of values that most records have for columns of a type, and that becomes one of the column in a few instructions.
#[derive(Clone, Copy, Debug)]
enum Usual {
    /// Whole numbers from one to another.
    Integers(i64, i64),
    Characters,
    Timestamps,
    /// There is no such form.
    None,
}

impl Usual {
    fn of(sql_type: &SqlType) -> Self {
        match sql_type {
            SqlType::Int2 => Usual::Integers(i16::MIN.into(), i16::MAX.into()),
            SqlType::Int4 => Usual::Integers(i32::MIN.into(), i32::MAX.into()),
            SqlType::Int8 => Usual::Integers(i64::MIN, i64::MAX),
            SqlType::Text | SqlType::Varchar(None) => Usual::Characters,
            SqlType::Timestamp | SqlType::Timestamptz => Usual::Timestamps,
            _ => Usual::None,
        }
    }
}

/// A column that is filled from what came with a record.
#[derive(Debug)]
struct Surrounding {
    place: usize,
    include: Include,
    not_null: bool,
    name: String,
}

/// What a decoder keeps about its encoding.
#[derive(Debug)]
enum Reading {
    Json(JsonShape),
    Csv(CsvOptions, CsvLayout),
    Bytes,
}

/// How a column of a batch comes about.
#[derive(Debug)]
enum Filling {
    Values(ColumnBuilder),
    /// Nobody wants its values: slices of this.
    Nothing(ArrayRef),
}

impl Filling {
    fn append(&mut self, value: &Value<'_>) {
        if let Filling::Values(builder) = self {
            builder.append(value);
        }
    }

    /// Appends what was found, if it has the column's usual form.
    fn append_usual(&mut self, usual: Usual, found: Found<'_>) -> bool {
        let number = match (usual, found) {
            (Usual::Integers(least, most), Found::Integer(number, _)) if (least..=most).contains(&number) => number,
            (Usual::Timestamps, Found::Characters(characters)) => match usual_timestamp(characters) {
                Some((micros, _)) => micros,
                None => return false,
            },
            (Usual::Characters, Found::Characters(characters)) => {
                if let Filling::Values(builder) = self {
                    builder.append_text(std::str::from_utf8(characters).expect("ASCII, every byte of it"));
                }
                return true;
            }
            _ => return false,
        };
        if let Filling::Values(builder) = self {
            builder.append_integer(number);
        }
        true
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        match self {
            Filling::Values(builder) => builder.finish(),
            Filling::Nothing(full) => full.slice(0, rows),
        }
    }
}

/// Collects records of one partition, no more than `SOURCE_BATCH_ROWS` for one batch.
#[derive(Debug)]
pub(super) struct Decoder {
    schema: SchemaRef,
    surroundings: Vec<Surrounding>,
    /// One per column.
    filling: Vec<Filling>,
    payload: Vec<PayloadColumn>,
    reading: Reading,
    /// One per row.
    offsets: Vec<i64>,
    /// Numbers of rows that turned out to be none while their columns were filled: left out at the end.
    torn: Vec<usize>,
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
        if let Err(error) = self.take(record, envelope) {
            self.set_aside(error, record.unwrap_or_default(), envelope);
        }
    }

    /// The same with the record that is the line at the start of `bytes`, if it is written as the last one was: the line's length then, up to its line
    /// feed. That need not have been searched: to go through a record once costs less than to go through it twice.
    pub(super) fn push_line(&mut self, bytes: &[u8], envelope: &Envelope<'_>) -> Option<usize> {
        let Reading::Json(shape) = &self.reading else { return None };
        let line = || memchr(b'\n', bytes).map(|end| &bytes[..end]);
        let (mut at_hand, mut more) = ([None; COLUMNS_AT_HAND], Vec::new());
        let found = room(&mut at_hand, &mut more, self.payload.len());
        let length = shape.find_line(bytes, line, found)?;
        if let Err(error) = missing_surroundings(&self.surroundings, envelope).and_then(|()| self.fill(found, envelope)) {
            let line = &bytes[..length];
            self.set_aside(error, line.strip_suffix(b"\r").unwrap_or(line), envelope);
        }
        Some(length)
    }

    fn take(&mut self, record: Option<&[u8]>, envelope: &Envelope<'_>) -> Result<(), String> {
        missing_surroundings(&self.surroundings, envelope)?;
        let record = record.ok_or("the record has no value")?;
        let values = match &mut self.reading {
            Reading::Json(shape) => {
                let (mut at_hand, mut more) = ([None; COLUMNS_AT_HAND], Vec::new());
                let found = room(&mut at_hand, &mut more, self.payload.len());
                shape.find(&self.payload, record, found)?;
                return self.fill(found, envelope);
            }
            Reading::Csv(options, layout) => layout.decode(&self.payload, options, record)?,
            Reading::Bytes => bytes_value(&self.payload[0], record)?,
        };
        for (column, value) in self.payload.iter().zip(&values) {
            self.filling[column.place].append(value);
        }
        self.surround(envelope);
        Ok(())
    }

    /// Appends a row of what was found for each column, if all of it has the right type.
    fn fill(&mut self, found: &[Option<Found<'_>>], envelope: &Envelope<'_>) -> Result<(), String> {
        for (at, (column, found)) in self.payload.iter().zip(found).enumerate() {
            let filling = &mut self.filling[column.place];
            if found.is_some_and(|found| filling.append_usual(column.usual, found)) || column.may_skip(*found) {
                continue;
            }
            match json::value(column, *found) {
                Ok(value) => filling.append(&value),
                Err(error) => {
                    self.tear(at);
                    return Err(error);
                }
            }
        }
        self.surround(envelope);
        Ok(())
    }

    /// Completes a row whose columns were filled before this one; it is none.
    fn tear(&mut self, at: usize) {
        self.torn.push(self.offsets.len() + self.torn.len());
        let rest = self.payload[at..].iter().map(|column| column.place);
        for place in rest.chain(self.surroundings.iter().map(|column| column.place)) {
            self.filling[place].append(&Value::Null);
        }
    }

    fn surround(&mut self, envelope: &Envelope<'_>) {
        for Surrounding { place, include, .. } in &self.surroundings {
            self.filling[*place].append(&included(*include, envelope));
        }
        self.offsets.push(envelope.offset);
    }

    fn set_aside(&mut self, error: String, record: &[u8], envelope: &Envelope<'_>) {
        self.dead_letters.push(DeadLetter {
            partition: envelope.partition,
            offset: envelope.offset,
            error,
            payload: record[..record.len().min(DEAD_LETTER_PAYLOAD_MAX)].to_vec(),
        });
    }

    /// Records in it, good and bad.
    pub(super) fn len(&self) -> usize {
        self.offsets.len() + self.dead_letters.len()
    }

    /// What was collected, as a batch. The decoder is empty again.
    pub(super) fn finish(&mut self, partition: i32, next_offset: i64) -> SourceBatch {
        let offsets = std::mem::take(&mut self.offsets);
        let torn = std::mem::take(&mut self.torn);
        let filled = offsets.len() + torn.len();
        let mut columns: Vec<ArrayRef> = self.filling.iter_mut().map(|column| column.finish(filled)).collect();
        if !torn.is_empty() {
            let whole = rows_but(&torn, filled);
            columns = columns.iter().map(|column| filter(column, &whole).expect("a mask of the column's length")).collect();
        }
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
            errors: RowErrors::default(),
            lag: None,
            fingerprint: None,
            watermark: None,
        }
    }
}

/// Room for a value of each of so many columns, in `at_hand` if it has enough.
fn room<'r, 'a>(at_hand: &'r mut [Option<Found<'a>>], more: &'r mut Vec<Option<Found<'a>>>, columns: usize) -> &'r mut [Option<Found<'a>>] {
    if let Some(enough) = at_hand.get_mut(..columns) {
        return enough;
    }
    more.resize(columns, None);
    more
}

/// A mask of `count` rows without those at `left_out`, which are in order.
fn rows_but(left_out: &[usize], count: usize) -> BooleanArray {
    let mut next = left_out.iter().peekable();
    (0..count).map(|row| Some(next.next_if(|out| **out == row).is_none())).collect()
}

fn no_value(column: &str) -> String {
    format!("column \"{column}\": no value, but it is NOT NULL")
}

/// Whether the record's surroundings lack what a NOT NULL column is to be filled from: a record without key, for one.
fn missing_surroundings(columns: &[Surrounding], envelope: &Envelope<'_>) -> Result<(), String> {
    let missing = |column: &&Surrounding| column.not_null && matches!(included(column.include, envelope), Value::Null);
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
    Ok(vec![Value::Text(text_of(record)?.into())])
}

/// A record as text: UTF-8 without the zero byte, as PostgreSQL has it.
fn text_of(record: &[u8]) -> Result<&str, String> {
    match std::str::from_utf8(record) {
        Ok(text) if memchr(0, record).is_none() => Ok(text),
        Ok(_) => Err("the record holds a zero byte, which no text may".to_owned()),
        Err(_) => Err("the record is not valid UTF-8".to_owned()),
    }
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
    fn a_column_that_nobody_wants_is_checked_and_not_kept() {
        let mut columns = vec![column("n", SqlType::Int4), column("name", SqlType::Text), column("at", SqlType::Timestamp)];
        columns[0].not_null = true;
        let mut offset = column("place", SqlType::Int8);
        offset.include = Some(Include::Offset);
        columns.push(offset);
        let records: [&[u8]; 9] = [
            br#"{"n":1,"name":"a","at":"2024-02-29"}"#,
            br#"{"n":"x","name":"b","at":"2024-02-29"}"#,
            br#"{"n":3,"name":"c","at":"soon"}"#,
            br#"{"name":"d","at":"2024-02-29"}"#,
            br#"{"n":5,"name":["e"]}"#,
            b"x,y,z",
            br#"{"n":6,"name":"a\u0000"}"#,
            br#"{"n":7,"name":"a\\u0000"}"#,
            br#"{"n":8,"name":null}"#,
        ];
        let csv: [&[u8]; 7] =
            [b"1,a,2024-02-29", b"x,b,2024-02-29", b"3,c,soon", b"5,e,", b"6,a\0,2024-02-29", b"7,f,2024-02-29", b"8,,2024-02-29"];
        for (encode, records) in [("JSON", &records[..]), ("CSV", &csv)] {
            let format = Format::new(&spec(encode, columns.clone(), &[])).unwrap();
            let decoded = |wanted: [bool; 4]| {
                let mut decoder = format.only(&wanted).decoder();
                for (offset, record) in (0..).zip(records) {
                    decoder.push(Some(record), &Envelope { offset, ..Envelope::default() });
                }
                decoder.finish(0, 9)
            };
            let all = decoded([true; 4]);
            assert!(all.offsets.len() == 4 && !all.dead_letters.is_empty());
            for wanted in (0..16).map(|bits| [1, 2, 4, 8].map(|bit| bits & bit != 0)) {
                let some = decoded(wanted);
                assert_eq!(some.offsets, all.offsets, "{wanted:?}");
                assert_eq!(format!("{:?}", some.dead_letters), format!("{:?}", all.dead_letters), "{wanted:?}");
                let expected = rows(&all).into_iter().map(|row| {
                    let left = [Value::Int(0), Value::Null, Value::Null, Value::Null];
                    row.into_iter()
                        .zip(left)
                        .zip(wanted)
                        .map(|((value, left), wanted)| if wanted { value } else { left })
                        .collect::<Vec<_>>()
                });
                assert_eq!(rows(&some), expected.collect::<Vec<_>>(), "{wanted:?}");
            }
        }
    }

    #[test]
    fn every_type_has_a_value_for_what_nobody_wants() {
        let all = [
            SqlType::Bool,
            SqlType::Int2,
            SqlType::Float4,
            SqlType::Numeric(10, 2),
            SqlType::Numeric(60, 2),
            SqlType::Text,
            SqlType::Bytea,
            SqlType::Date,
            SqlType::Time,
            SqlType::Timestamptz,
            SqlType::Interval,
            SqlType::Uuid,
            SqlType::Jsonb,
            SqlType::Array(Box::new(SqlType::Text)),
            SqlType::Struct(vec![("x".into(), SqlType::Array(Box::new(SqlType::Int4)))]),
        ];
        for sql_type in all {
            let value = super::nothing(&sql_type, true).slice(3, 2);
            assert_eq!((value.data_type(), value.len(), value.null_count()), (&sql_type.arrow(), 2, 0));
            assert_ne!(Value::from_array(&value, 1), Value::Null);
            assert_eq!(super::nothing(&sql_type, false).null_count(), crate::connect::SOURCE_BATCH_ROWS);
        }
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
