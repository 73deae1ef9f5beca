//! The Nexmark generator: an auction site's people, auctions and bids, as one deterministic sequence of events.
//!
//! Three sources (`nexmark.table.type` = person, auction, bid) each deliver their part of the sequence; the offset is the event's number.
//! Sources with the same options tell one story: a bid's auction and bidder are in the other two. Rows come column by column, and only
//! the columns that the source declares are made.
//!
//! ```text
//! event number   0       1 2 3     4 … 49   50      51 52 53  54 … 99   …
//!                person  auctions  bids     person  auctions  bids
//! ```

mod column;
mod event;
mod json;
mod text;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};

use crate::connect::generator::{GeneratorReader, NumberedRows, OptionReader, Slots, nearest};
use crate::connect::{Connector, Fingerprints, Positions, Reader, SourceColumn, SourceSpec};
use crate::error::{Error, Kind, Result};
use crate::types::{Include, SqlType};

pub use column::Table;
pub use json::{Lines, json_lines};

use column::Field;
use event::{ROUND, Sequence};

/// 2015-07-15 00:00:00 UTC: where the suite's event time starts.
const BASE_TIME_MILLIS: i64 = 1_436_918_400_000;

/// Event time between two events: 10,000 events per second, the suite's first rate.
const GAP_NANOS: u64 = 100_000;

/// The event time between two events when so many happen in a second of it: at least one.
pub fn gap_nanos(events_per_second: u64) -> u64 {
    1_000_000_000 / events_per_second.max(1)
}

/// Splits of one source at the most: each costs a reader's attention.
const SPLITS_MAX: u64 = 1_024;

const TABLE: [&str; 2] = ["nexmark.table.type", "table"];
const EVENTS: [&str; 1] = ["nexmark.event.num"];
const RATE: [&str; 1] = ["nexmark.events.per.second"];
const SPLITS: [&str; 1] = ["nexmark.split.num"];
const GAP: [&str; 2] = ["nexmark.event.gap.ns", "nexmark.min.event.gap.in.ns"];
const BASE_TIME: [&str; 1] = ["nexmark.base.time.ms"];
const SEED: [&str; 1] = ["nexmark.event.seed"];

/// Checks a source's options and columns.
///
/// Options: `nexmark.table.type` (or `table`): person, auction or bid; `nexmark.event.num`: events of all three tables together after
/// which the source ends (0, the default: never); `nexmark.events.per.second`: of all three together (default: as fast as they are
/// taken); `nexmark.split.num`: partitions; `nexmark.event.gap.ns`, `nexmark.base.time.ms`: event time; `nexmark.event.seed`.
/// Columns: any of the table's own, in any order, or none for all.
pub fn connect(spec: SourceSpec) -> Result<Arc<dyn Connector>> {
    let options = OptionReader::new("nexmark", &spec.options);
    options.refuse_unknown([&TABLE[..], &EVENTS, &RATE, &SPLITS, &GAP, &BASE_TIME, &SEED].into_iter().flatten().copied())?;
    let table = table(&options)?;
    let (columns, makers): (Vec<SourceColumn>, Vec<Maker>) = if spec.columns.is_empty() {
        table.fields().iter().map(|&(name, field)| (own_column(name, field), Maker::Field(field))).unzip()
    } else {
        let makers = spec.columns.iter().map(|column| maker(table, column)).collect::<Result<Vec<Maker>>>()?;
        (spec.columns, makers)
    };
    let base_millis = options.value(&BASE_TIME, i64::MIN, "milliseconds since 1970")?.unwrap_or(BASE_TIME_MILLIS);
    let gap_nanos = options.value(&GAP, 0_u64, "nanoseconds")?.unwrap_or(GAP_NANOS);
    let seed = options.value(&SEED, 0_u64, "a number")?.unwrap_or(0);
    let end = options.value(&EVENTS, 0_u64, "a number of events, 0 for no end")?.filter(|&events| events > 0).unwrap_or(i64::MAX as u64);
    let per_second = options.value(&RATE, f64::MIN_POSITIVE, "a number of events above 0")?;
    let splits = options.value(&SPLITS, 1_u64, "a number of splits from 1 to 1024")?.unwrap_or(1);
    if splits > SPLITS_MAX {
        return Err(options.invalid(SPLITS[0], "a number of splits from 1 to 1024"));
    }
    let fields: Vec<_> = columns.iter().map(|column| column.sql_type.field(&column.name, !column.not_null)).collect();
    let events = Events {
        sequence: Sequence::new(seed, base_millis.saturating_mul(1_000), gap_nanos),
        schema: Arc::new(Schema::new(fields)),
        makers,
        partitions: (0..splits).map(|split| Slots::new(ROUND, split, splits, |slot| Table::of_slot(slot) == table)).collect(),
        end,
        per_second,
    };
    Ok(Arc::new(Nexmark { columns, events: Arc::new(events) }))
}

/// A checked source.
struct Nexmark {
    columns: Vec<SourceColumn>,
    events: Arc<Events>,
}

impl Connector for Nexmark {
    fn columns(&self) -> &[SourceColumn] {
        &self.columns
    }

    fn start(&self, from: &Positions, until: Option<&Positions>) -> Result<Box<dyn Reader>> {
        Ok(Box::new(GeneratorReader::new(self.events.clone(), from, until)?))
    }

    fn start_again(&self, from: &Positions, read: &Positions, _seen: &Fingerprints) -> Result<Box<dyn Reader>> {
        Ok(Box::new(GeneratorReader::new(self.events.clone(), from, None)?.again(read)))
    }
}

/// One table's share of the sequence.
struct Events {
    sequence: Sequence,
    schema: SchemaRef,
    /// One for each field of the schema.
    makers: Vec<Maker>,
    partitions: Vec<Slots>,
    end: u64,
    per_second: Option<f64>,
}

/// Where a column's values come from.
#[derive(Clone, Copy)]
enum Maker {
    Field(Field),
    /// `INCLUDE …`
    Partition,
    Offset,
    Timestamp,
}

impl NumberedRows for Events {
    fn partitions(&self) -> &[Slots] {
        &self.partitions
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn per_second(&self) -> Option<f64> {
        self.per_second
    }

    fn rows(&self, partition: i32, numbers: &[u64]) -> Result<RecordBatch> {
        let columns = self.makers.iter().zip(self.schema.fields()).map(|(maker, field)| {
            let values: ArrayRef = match maker {
                Maker::Field(made) => made.values(&self.sequence, numbers),
                Maker::Partition => Arc::new(Int32Array::from(vec![partition; numbers.len()])),
                Maker::Offset => Arc::new(Int64Array::from_iter_values(numbers.iter().map(|&number| number as i64))),
                Maker::Timestamp => {
                    let times = numbers.iter().map(|&number| self.sequence.date_time(number));
                    Arc::new(TimestampMicrosecondArray::from_iter_values(times))
                }
            };
            if values.data_type() == field.data_type() { Ok(values) } else { Ok(cast(&values, field.data_type())?) }
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// The table that the options name.
fn table(options: &OptionReader<'_>) -> Result<Table> {
    const TABLES: &str = "\"person\", \"auction\" or \"bid\"";
    let Some(name) = options.text(&TABLE) else {
        return Err(Error::new(Kind::InvalidParameter, format!("connector \"nexmark\" needs option \"{}\"", TABLE[0]))
            .hint(format!("Set it to {TABLES}.")));
    };
    Table::named(name).ok_or_else(|| options.invalid(if options.text(&TABLE[..1]).is_some() { TABLE[0] } else { TABLE[1] }, TABLES))
}

/// A column as the table declares it.
fn own_column(name: &str, field: Field) -> SourceColumn {
    SourceColumn { name: name.to_owned(), sql_type: field.sql_type(), not_null: false, default: None, include: None }
}

/// Finds what a declared column stands for: by name, whatever its underscores (`itemName` of other systems is `item_name`).
fn maker(table: Table, column: &SourceColumn) -> Result<Maker> {
    if let Some(include) = column.include {
        return match include {
            Include::Partition => Ok(Maker::Partition),
            Include::Offset => Ok(Maker::Offset),
            Include::Timestamp => Ok(Maker::Timestamp),
            Include::Key | Include::Headers => {
                Err(Error::new(Kind::InvalidParameter, "events of connector \"nexmark\" have no key and no headers")
                    .hint("INCLUDE PARTITION, OFFSET and TIMESTAMP are there."))
            }
        };
    }
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    let Some(&(_, field)) = table.fields().iter().find(|(name, _)| plain(name) == plain(&column.name)) else {
        let message = format!("column \"{}\" is not a column of nexmark's table \"{}\"", column.name, table.name());
        let names = || table.fields().iter().map(|(name, _)| *name);
        return Err(Error::new(Kind::UndefinedColumn, message).hint(match nearest(&column.name, names()) {
            Some(name) => format!("Did you mean \"{name}\"?"),
            None => format!("It has: {}.", names().collect::<Vec<_>>().join(", ")),
        }));
    };
    let own = field.sql_type();
    let fits = match (&own, &column.sql_type) {
        // The digits before the point must hold every bigint: no value may turn into NULL.
        (SqlType::Int8, SqlType::Numeric(precision, scale)) => i16::from(*precision) - i16::from(*scale) >= 19,
        (SqlType::Timestamp, SqlType::Timestamptz) | (SqlType::Text, SqlType::Varchar(None)) => true,
        (own, declared) => own == declared,
    };
    if fits {
        return Ok(Maker::Field(field));
    }
    let message = format!("column \"{}\" of connector \"nexmark\" is of type {own}, not {}", column.name, column.sql_type);
    Err(Error::new(Kind::DatatypeMismatch, message)
        .hint("Leave the columns out to get all of them with their types, and cast in the query."))
}

#[cfg(test)]
mod tests;
