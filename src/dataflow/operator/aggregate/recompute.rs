//! Any aggregate from a group's rows: when a group changes, its accumulator starts anew and sees all rows, in order.
//!
//! In: the ordered set of a group's packed rows, as `Multisets` keeps them (several calls over the same rows share it). Out: one result per
//! group; NULL where the accumulator fails, which is reported.
//! Rows of many small groups are unpacked together, a large group's in pieces: memory is bounded by a batch and one accumulator.

use std::mem::take;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::state::GroupState;
use crate::dataflow::row_errors::{RowError, RowErrorSink};
use crate::error::Result;
use crate::plan::{GeneralAggregate, GroupAccumulator, GroupResults};

/// Rows unpacked at a time: as many as make the cost of a call small, few enough to stay in the second-level cache.
const ROWS_PER_BATCH: usize = 8_192;

/// The results of groups. `errors`: where failures are reported; without it they are not, since they were before.
pub(super) fn recompute(
    general: &GeneralAggregate,
    rows: &dyn GroupState,
    slots: &[u32],
    result: &DataType,
    errors: Option<&RowErrorSink>,
) -> Result<ArrayRef> {
    let mut run = Run { general, batch: Batch::default(), open: None, results: GroupResults::default(), failures: Vec::new() };
    for slot in slots {
        let mut outcome = Ok(());
        rows.for_each_value(*slot, &mut |row, count| {
            let times = if general.each_once { i64::from(count > 0) } else { count };
            for _ in 0..times {
                if outcome.is_ok() {
                    outcome = run.row(row);
                }
            }
        });
        outcome?;
        run.batch.end_group();
        if run.batch.groups() >= ROWS_PER_BATCH {
            run.flush()?;
        }
    }
    run.flush()?;
    if let Some(errors) = errors.filter(|_| !run.failures.is_empty()) {
        let samples = run.failures.iter().map(|error| RowError { error: error.clone(), row: format!("{{{general:?}}}") });
        errors.record(run.failures.len() as u64, samples.collect());
    }
    run.results.into_array(result)
}

/// Rows of one or more groups, one after the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    ends: Vec<usize>,
    /// Where each group ends in `ends`; rows behind the last belong to a group that goes on.
    groups: Vec<usize>,
}

impl Batch {
    fn end_group(&mut self) {
        self.groups.push(self.ends.len());
    }

    fn groups(&self) -> usize {
        self.groups.len()
    }

    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

struct Run<'a> {
    general: &'a GeneralAggregate,
    batch: Batch,
    /// The accumulator of the group whose rows are being read; after a failure, the failure.
    open: Option<Result<GroupAccumulator>>,
    results: GroupResults,
    failures: Vec<String>,
}

impl Run<'_> {
    fn row(&mut self, row: &[u8]) -> Result<()> {
        self.batch.bytes.extend_from_slice(row);
        self.batch.ends.push(self.batch.bytes.len());
        if self.batch.ends.len() >= ROWS_PER_BATCH { self.flush() } else { Ok(()) }
    }

    /// Feeds what has been gathered to the accumulators.
    fn flush(&mut self) -> Result<()> {
        let batch = take(&mut self.batch);
        let count = batch.ends.len();
        let columns = if count == 0 { Vec::new() } else { self.general.rows.unpack(batch.rows())? };
        let arguments = if count == 0 { Ok(Vec::new()) } else { self.general.arguments(columns, count) };
        let mut start = 0;
        for end in &batch.groups {
            self.feed(&arguments, start, *end);
            start = *end;
            self.close();
        }
        self.feed(&arguments, start, count);
        Ok(())
    }

    /// Rows `start..end` for the open group.
    fn feed(&mut self, arguments: &Result<Vec<ArrayRef>>, start: usize, end: usize) {
        let general = self.general;
        if start == end {
            return;
        }
        let Ok(accumulator) = self.open.get_or_insert_with(|| general.start()) else { return };
        let updated = match arguments {
            Ok(arguments) => {
                let rows: Vec<ArrayRef> = arguments.iter().map(|argument| argument.slice(start, end - start)).collect();
                accumulator.update(&rows)
            }
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = updated {
            self.open = Some(Err(error));
        }
    }

    /// The open group has no more rows.
    fn close(&mut self) {
        let general = self.general;
        let finished = match self.open.take().unwrap_or_else(|| general.start()) {
            Ok(mut accumulator) => self.results.push(&mut accumulator),
            Err(error) => {
                self.results.push_null();
                Err(error)
            }
        };
        if let Err(error) = finished {
            self.failures.push(error.message().to_owned());
        }
    }
}
