//! The outside world ↔ `Changes`: what a connector must be able to do, and the registry of those there are.
//!
//! A `Connector` is a source's options, checked. It starts any number of `Reader`s, each from positions that were stored: the same
//! positions give the same rows again, or none at all, which is what makes recovery exact. Readers are polled by a thread of their own.

pub mod datagen;
mod file;
mod format;
mod generator;
mod kafka;
mod kafka_writer;
pub mod nexmark;
mod options;
mod registry;

pub use kafka_writer::KafkaWriter;
pub use registry::{connect, open};

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};

use crate::error::Result;
use crate::types::{Changes, Include, RowErrors, SqlType, json_lines};

/// Where to read on: for each partition the offset of the next record.
pub type Positions = BTreeMap<i32, i64>;

/// What a reader saw before its position, in short, for each partition whose connector can tell: something else under the same name is
/// noticed by it, also if it came while nobody read.
pub type Fingerprints = BTreeMap<i32, NonZero<u64>>;

/// One column that a source delivers.
#[derive(Clone, Debug)]
pub struct SourceColumn {
    /// As in the CREATE statement, and as the record's field is called.
    pub name: String,
    /// What its values are decoded to.
    pub sql_type: SqlType,
    /// A record without a value for it is a dead letter.
    pub not_null: bool,
    /// The value (an array of length 1) where the record has none; `None`: NULL.
    pub default: Option<ArrayRef>,
    /// Filled from the record's surroundings instead of its payload.
    pub include: Option<Include>,
}

/// Everything that a CREATE SOURCE says, apart from names in the catalog.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The columns, in order; empty if the statement named none (some connectors know them).
    pub columns: Vec<SourceColumn>,
    /// The WITH options, keys in lower case.
    pub options: BTreeMap<String, String>,
    /// `FORMAT …` in upper case, `PLAIN` unless said.
    pub format: String,
    /// `ENCODE …` in upper case, `JSON` unless said.
    pub encode: String,
    /// The options in parentheses behind ENCODE, keys in lower case.
    pub encode_options: BTreeMap<String, String>,
}

/// A source's options, checked and ready to read with.
pub trait Connector: Send + Sync {
    /// The columns of the batches, in order: those of the spec, or the connector's own where it named none.
    fn columns(&self) -> &[SourceColumn];

    /// The same, where nobody looks at other columns than those `wanted`, one for each of `columns`: the others are NULL, or any value where that may not
    /// be. What becomes a row, and what a dead letter, stays the same. `None`: the connector has nothing to gain by that.
    fn only(&self, _wanted: &[bool]) -> Option<Arc<dyn Connector>> {
        None
    }

    /// Asks the outside world whether there is something to read: broker and topic, file. Done at CREATE, so that a wrong name is
    /// an error there; not done at a restart, where a broker that is down for the moment must not keep the system from starting.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Starts to read from `from`. Without any position there, from where the options say; a partition that is not among others in it
    /// is younger than they are, and begins at its beginning. With `until`, the reader ends (`Poll::End`) when every partition in it has
    /// reached the offset given there; records at and after it, and partitions not in it, are not delivered.
    fn start(&self, from: &Positions, until: Option<&Positions>) -> Result<Box<dyn Reader>>;

    /// The same, where `seen` is what a reader saw before the positions of `until`, or before those of `from` if there is no `until`. The new
    /// reader fails (`Poll::Failed`) where something else is there now. For connectors whose outside world can be exchanged unnoticed.
    fn start_where(&self, from: &Positions, until: Option<&Positions>, _seen: &Fingerprints) -> Result<Box<dyn Reader>> {
        self.start(from, until)
    }

    /// Goes on from `from` for ever, after a restart that has lost what came behind it. Where records before `read` have come once already, no
    /// rate holds for them.
    fn start_again(&self, from: &Positions, _read: &Positions, seen: &Fingerprints) -> Result<Box<dyn Reader>> {
        self.start_where(from, None, seen)
    }
}

/// Reads one source, in order within each partition. Used by one thread.
pub trait Reader: Send {
    /// The next batch, waiting up to `wait` for it. Failures of the world outside that may pass do not end a reader: it reports
    /// `Poll::Degraded`, backs off and tries again.
    fn poll(&mut self, wait: Duration) -> Poll;

    /// How many records there are in all partitions that no batch has had, where that is known without asking anybody.
    fn lag(&self) -> Option<i64> {
        None
    }
}

/// What a reader has to say.
#[derive(Debug)]
pub enum Poll {
    /// Where partitions begin, of all that were found together, before the first batch of any of them: they hold event time back from now on.
    /// Once this is stored, every reader is to begin there. Connectors with a single partition, which begins at 0 for ever, leave it out.
    Started(Positions),
    /// Rows, or dead letters, or both.
    Batch(Box<SourceBatch>),
    /// Nothing for now.
    Pending,
    /// The outside world does not answer; the text says why. Goes on by itself.
    Degraded(String),
    /// There is no going on: what comes next is lost. The text says why.
    Failed(String),
    /// Everything there will ever be has been delivered.
    End,
}

/// What was read from one partition in one go.
#[derive(Debug)]
pub struct SourceBatch {
    /// Which partition.
    pub partition: i32,
    /// The offset to go on from: one past the last record of this batch.
    pub next_offset: i64,
    /// The rows, of the connector's columns. Retractions only from formats that have them.
    pub changes: Changes,
    /// Where the record of each row stands.
    pub offsets: Vec<i64>,
    /// Records that could not become rows.
    pub dead_letters: Vec<DeadLetter>,
    /// Generated columns that could not be computed.
    pub errors: RowErrors,
    /// How many records the source holds behind this batch, in all partitions, where that is known. Filled in by whoever polls.
    pub lag: Option<i64>,
    /// What the reader saw before `next_offset`, if the connector can tell.
    pub fingerprint: Option<NonZero<u64>>,
    /// How far the rows say that event time is. Filled in by whoever knows what they mean.
    pub watermark: Option<i64>,
}

impl SourceBatch {
    /// Leaves only the rows that are `good`. The others become dead letters: their records are gone, and the rows of `from`, one for each here, are
    /// shown as JSON.
    pub(crate) fn set_aside(&mut self, good: &BooleanArray, from: &RecordBatch, why: impl Fn(usize) -> String) -> Result<()> {
        let mut payloads = json_lines(&filter_record_batch(from, &not(good)?)?, DEAD_LETTER_PAYLOAD_MAX).into_iter();
        self.changes = self.changes.filter(good);
        for (row, offset) in std::mem::take(&mut self.offsets).into_iter().enumerate() {
            if good.value(row) {
                self.offsets.push(offset);
                continue;
            }
            let payload = payloads.next().unwrap_or_default();
            self.dead_letters.push(DeadLetter { partition: self.partition, offset, error: why(row), payload });
        }
        Ok(())
    }

    /// The records before an offset, and those from it on. How far event time is is not known of either, the
    /// fingerprint not of the first, and what could not be computed is told with the first.
    pub(crate) fn split_at(self, offset: i64) -> (Self, Self) {
        let SourceBatch { partition, mut offsets, changes, dead_letters, errors, .. } = self;
        let before = offsets.partition_point(|at| *at < offset);
        let later_offsets = offsets.split_off(before);
        let later_changes = changes.slice(before, changes.len() - before);
        let (letters, later_letters) = dead_letters.into_iter().partition(|letter| letter.offset < offset);
        let first = SourceBatch {
            partition,
            next_offset: offset,
            changes: changes.slice(0, before),
            offsets,
            dead_letters: letters,
            errors,
            lag: None,
            fingerprint: None,
            watermark: None,
        };
        let later = SourceBatch {
            changes: later_changes,
            offsets: later_offsets,
            dead_letters: later_letters,
            errors: RowErrors::default(),
            watermark: None,
            ..self
        };
        (first, later)
    }
}

/// A record that could not become a row.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Where it stands.
    pub partition: i32,
    /// Where it stands.
    pub offset: i64,
    /// What was wrong with it, for a person.
    pub error: String,
    /// The record as it came, cut to `DEAD_LETTER_PAYLOAD_MAX` bytes.
    pub payload: Vec<u8>,
}

/// Bytes of a dead letter's payload that are kept: enough to recognise a record, too few for a poison message to fill memory.
pub const DEAD_LETTER_PAYLOAD_MAX: usize = 4_096;

/// Rows of one batch at the most. Larger batches amortise per-batch work, but a worker answers no command while it holds one.
pub const SOURCE_BATCH_ROWS: usize = 16_384;
