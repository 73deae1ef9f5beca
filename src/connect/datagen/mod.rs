//! Made-up rows of any columns, the same ones every time: row `n` depends on `n`, the column and the options alone.
//!
//! The offset is the row's number. Options are written as in other systems of the field:
//!
//! ```text
//! datagen.rows.per.second = 10      datagen.rows = 1000 (default: no end)     datagen.split.num = 1
//! fields.<column>.kind = random | sequence        fields.<column>.seed = 7
//!   random:   .min .max (numbers), .length (text, bytea, arrays)
//!             .basetime .max_past (dates and timestamps: so long before, '1 day' unless said)
//!   sequence: .start, .step, .end (the source ends with its shortest sequence)
//! fields.<column>._.…  the elements of an array            fields.<column>.<field>.…  a field of a struct
//! ```
//!
//! Dates, times and timestamps are sequences unless said otherwise, all others random: a row then happens `.step` (a second; dates: a
//! day) after the row before it, from 2024-01-01 on. Nothing is taken from the clock, so that a row read again is the same row.

mod column;
mod rule;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};

use crate::connect::generator::{GeneratorReader, NumberedRows, OptionReader, Slots};
use crate::connect::{Connector, Fingerprints, Positions, Reader, SourceColumn, SourceSpec};
use crate::error::{Error, Kind, Result};
use crate::types::Include;

use column::Column;
use rule::Rules;

/// Rows per second unless said: slow enough to watch.
const PER_SECOND: f64 = 10.0;

/// Splits of one source at the most: each costs a reader's attention.
const SPLITS_MAX: u64 = 1_024;

const RATE: [&str; 1] = ["datagen.rows.per.second"];
const ROWS: [&str; 1] = ["datagen.rows"];
const SPLITS: [&str; 1] = ["datagen.split.num"];

/// Checks a source's options and columns; the module's head lists them.
pub fn connect(spec: SourceSpec) -> Result<Arc<dyn Connector>> {
    if spec.columns.is_empty() {
        return Err(Error::new(Kind::InvalidTableDefinition, "connector \"datagen\" needs columns")
            .hint("Declare them: CREATE SOURCE s (id BIGINT, name TEXT) WITH (connector = 'datagen')."));
    }
    let options = OptionReader::new("datagen", &spec.options);
    let mut rules = Rules::new(options);
    let mut makers = Vec::with_capacity(spec.columns.len());
    for column in &spec.columns {
        makers.push(match column.include {
            None => Maker::Column(Column::new(&column.name, &column.sql_type, &mut rules)?),
            Some(Include::Partition) => Maker::Partition,
            Some(Include::Offset) => Maker::Offset,
            Some(_) => {
                return Err(Error::new(Kind::InvalidParameter, "rows of connector \"datagen\" have no key, timestamp or headers")
                    .hint("INCLUDE PARTITION and OFFSET are there."));
            }
        });
    }
    let rows = options.value(&ROWS, 1_u64, "a number of rows above 0")?.unwrap_or(i64::MAX as u64);
    let per_second = options.value(&RATE, f64::MIN_POSITIVE, "a number of rows above 0")?.unwrap_or(PER_SECOND);
    let splits = options.value(&SPLITS, 1_u64, "a number of splits from 1 to 1024")?.unwrap_or(1);
    if splits > SPLITS_MAX {
        return Err(options.invalid(SPLITS[0], "a number of splits from 1 to 1024"));
    }
    let known: Vec<String> = [RATE, ROWS, SPLITS].into_iter().flatten().map(str::to_owned).chain(rules.known().iter().cloned()).collect();
    options.refuse_unknown(known.iter().map(String::as_str))?;
    let fields: Vec<_> = spec.columns.iter().map(|column| column.sql_type.field(&column.name, !column.not_null)).collect();
    let rows = Rows {
        schema: Arc::new(Schema::new(fields)),
        makers,
        partitions: (0..splits).map(|split| Slots::new(1, split, splits, |_| true)).collect(),
        end: rows.min(rules.end()),
        per_second,
    };
    Ok(Arc::new(Datagen { columns: spec.columns, rows: Arc::new(rows) }))
}

/// A checked source.
struct Datagen {
    columns: Vec<SourceColumn>,
    rows: Arc<Rows>,
}

impl Connector for Datagen {
    fn columns(&self) -> &[SourceColumn] {
        &self.columns
    }

    fn start(&self, from: &Positions, until: Option<&Positions>) -> Result<Box<dyn Reader>> {
        Ok(Box::new(GeneratorReader::new(self.rows.clone(), from, until)?))
    }

    fn start_again(&self, from: &Positions, read: &Positions, _seen: &Fingerprints) -> Result<Box<dyn Reader>> {
        Ok(Box::new(GeneratorReader::new(self.rows.clone(), from, None)?.again(read)))
    }
}

/// Where a column's values come from.
enum Maker {
    Column(Column),
    /// `INCLUDE …`
    Partition,
    Offset,
}

/// The rows that the options describe.
struct Rows {
    schema: SchemaRef,
    /// One for each field of the schema.
    makers: Vec<Maker>,
    partitions: Vec<Slots>,
    end: u64,
    per_second: f64,
}

impl NumberedRows for Rows {
    fn partitions(&self) -> &[Slots] {
        &self.partitions
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn per_second(&self) -> Option<f64> {
        Some(self.per_second)
    }

    fn rows(&self, partition: i32, numbers: &[u64]) -> Result<RecordBatch> {
        let columns = self.makers.iter().map(|maker| match maker {
            Maker::Column(column) => column.values(numbers),
            Maker::Partition => Ok(column::constant(partition, numbers.len())),
            Maker::Offset => Ok(column::offsets(numbers)),
        });
        Ok(RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<Vec<ArrayRef>>>()?)?)
    }
}

#[cfg(test)]
mod tests;
