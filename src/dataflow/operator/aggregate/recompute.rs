//! Any aggregate from a group's rows: when a group changes, its accumulator starts anew and sees all rows, in order.
//!
//! In: the ordered set of a group's packed rows, as `Multisets` keeps them (several calls over the same rows share it). Out: one result per
//! group; NULL where the accumulator fails, and which those are.
//! Rows of many small groups are unpacked together, a large group's in pieces: memory is bounded by two batches and one accumulator.
//! Always: a result depends on the group's rows alone, to the bit. An accumulator that only approximates (a digest of quantiles) may say
//! something else where it is given its rows in other portions, and what it said before is what will be retracted: so a group's portions
//! begin at its first row, whatever is computed beside it.

use std::mem::take;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::state::GroupState;
use crate::error::Result;
use crate::plan::{GeneralAggregate, GroupAccumulator, GroupResults};

/// Rows unpacked at a time: as many as make the cost of a call small, few enough to stay in the second-level cache.
const ROWS_PER_BATCH: usize = 8_192;

/// Groups for which an accumulator failed: their places among the groups that were asked for, and why.
pub(super) type Failures = Vec<(usize, String)>;

/// The results of groups, and for which of them there is none.
pub(super) fn recompute(
    general: &GeneralAggregate,
    rows: &dyn GroupState,
    slots: &[u32],
    result: &DataType,
) -> Result<(ArrayRef, Failures)> {
    let mut run = Run { general, batch: Batch::default(), open: None, closed: 0, results: GroupResults::default(), failures: Vec::new() };
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
        run.end_group()?;
    }
    run.flush()?;
    Ok((run.results.into_array(result)?, run.failures))
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
    /// Rows of the group that goes on.
    fn open_rows(&self) -> usize {
        self.ends.len() - self.groups.last().copied().unwrap_or_default()
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
    /// Groups that are done.
    closed: usize,
    results: GroupResults,
    failures: Failures,
}

impl Run<'_> {
    fn row(&mut self, row: &[u8]) -> Result<()> {
        self.batch.bytes.extend_from_slice(row);
        self.batch.ends.push(self.batch.bytes.len());
        if self.batch.open_rows() >= ROWS_PER_BATCH { self.flush() } else { Ok(()) }
    }

    fn end_group(&mut self) -> Result<()> {
        self.batch.groups.push(self.batch.ends.len());
        if self.batch.ends.len().max(self.batch.groups.len()) >= ROWS_PER_BATCH { self.flush() } else { Ok(()) }
    }

    /// Feeds what has been gathered to the accumulators.
    fn flush(&mut self) -> Result<()> {
        let batch = take(&mut self.batch);
        let count = batch.ends.len();
        let columns = if count == 0 { Vec::new() } else { self.general.rows.unpack(batch.rows())? };
        let arguments = match self.general.arguments(columns.clone(), count) {
            _ if count == 0 => Portions::Computed(Vec::new()),
            Ok(arguments) => Portions::Computed(arguments),
            // Some row's; the groups of the others are not to blame.
            Err(_) => Portions::Each(columns),
        };
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
    fn feed(&mut self, portions: &Portions, start: usize, end: usize) {
        let general = self.general;
        if start == end {
            return;
        }
        let Ok(accumulator) = self.open.get_or_insert_with(|| general.start()) else { return };
        let slice = |columns: &[ArrayRef]| columns.iter().map(|column| column.slice(start, end - start)).collect::<Vec<_>>();
        let arguments = match portions {
            Portions::Computed(arguments) => Ok(slice(arguments)),
            Portions::Each(columns) => general.arguments(slice(columns), end - start),
        };
        if let Err(error) = arguments.and_then(|arguments| accumulator.update(&arguments)) {
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
            self.failures.push((self.closed, error.message().to_owned()));
        }
        self.closed += 1;
    }
}

/// What a batch's groups take their rows from.
enum Portions {
    /// The arguments, of all rows.
    Computed(Vec<ArrayRef>),
    /// The unpacked rows, where some argument cannot be computed.
    Each(Vec<ArrayRef>),
}
