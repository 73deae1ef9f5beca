//! Leaves out rows that come too late: what they belong to is over, and forgotten.
//!
//! In: any changes. Out: those whose time was not below the watermark at the end of the epoch before, or is NULL. What comes in one epoch with
//! the row that moves the watermark is in time, in whatever order they stand.
//! Holds: how many rows were left out, since that is to be exact after a restart.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::not;
use arrow::datatypes::Int64Type;

use super::{Operator, StateSize};
use crate::dataflow::event_time::{LowAt, times_of};
use crate::dataflow::late_rows::LateSink;
use crate::error::{Error, Result};
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// The filter.
pub struct Late {
    column: usize,
    low: LowAt,
    /// The column that says how many rows a row stands for.
    rows: Option<usize>,
    count: LateCount,
}

/// How many rows an operator has left out on one worker. Stored under an empty key.
pub struct LateCount {
    /// This worker's, under which its count is stored.
    bucket: u8,
    /// Left out on this worker; with what it found stored.
    count: u64,
    /// Entries that it has taken over from workers that there are no more.
    taken_over: Vec<u8>,
    changed: bool,
    sink: LateSink,
}

impl LateCount {
    /// None yet. `worker`: the number of this one.
    pub fn new(worker: usize, sink: LateSink) -> Result<Self> {
        let bucket = u8::try_from(worker).map_err(|_| Error::internal("a worker without a bucket"))?;
        Ok(LateCount { bucket, count: 0, taken_over: Vec::new(), changed: false, sink })
    }

    /// Where the rows themselves are kept, if they are of interest.
    pub(super) fn keeper(&self) -> Option<&LateSink> {
        self.sink.keeps().then_some(&self.sink)
    }

    /// Adds rows.
    pub(super) fn record(&mut self, late: u64) {
        self.count += late;
        self.changed = true;
        self.sink.count(late);
    }

    /// Writes the count, if it has changed.
    pub(super) fn checkpoint(&mut self, changes: &mut StateChanges) {
        if std::mem::take(&mut self.changed) {
            self.taken_over.drain(..).for_each(|bucket| changes.delete(bucket, &[]));
            changes.put(self.bucket, &[], &self.count.to_le_bytes());
        }
    }

    /// Takes a count back.
    pub(super) fn restore(&mut self, entry: &StateEntry) -> Result<()> {
        let count = entry.value.as_slice().try_into().map(u64::from_le_bytes);
        let count = count.map_err(|_| Error::internal("the stored number of late rows is damaged"))?;
        self.count += count;
        if entry.bucket != self.bucket {
            self.taken_over.push(entry.bucket);
            self.changed = true;
        }
        self.sink.count(count);
        Ok(())
    }
}

impl Late {
    /// `column`: the position of the time.
    pub fn new(column: usize, low: LowAt, rows: Option<usize>, count: LateCount) -> Self {
        Late { column, low, rows, count }
    }

    fn pass(&mut self, epoch: Epoch, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let Some(low) = self.low.before(epoch) else {
            output.push(changes);
            return Ok(());
        };
        let column = changes.column(self.column);
        let times = times_of(column)?;
        let in_time = |row: usize| times[row] >= low || column.is_null(row);
        let mask: BooleanArray = (0..changes.len()).map(|row| Some(in_time(row))).collect();
        if mask.true_count() == changes.len() {
            output.push(changes);
            return Ok(());
        }
        let late = (0..changes.len()).filter(|row| !mask.value(*row));
        let late: u64 = match self.rows {
            Some(rows) => {
                let rows = changes.column(rows).as_primitive::<Int64Type>();
                late.map(|row| rows.value(row).unsigned_abs()).sum()
            }
            None => late.map(|row| changes.weight(row).unsigned_abs()).sum(),
        };
        self.count.record(late);
        if let Some(keeper) = self.count.keeper() {
            keeper.keep(changes.filter(&not(&mask)?).rows());
        }
        let passed = changes.filter(&mask);
        if !passed.is_empty() {
            output.push(passed);
        }
        Ok(())
    }
}

impl Operator for Late {
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        inputs.into_iter().flatten().filter(|changes| !changes.is_empty()).try_for_each(|changes| self.pass(epoch, changes, output))
    }

    /// Each row by itself.
    fn takes_parts(&self) -> bool {
        true
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.count.checkpoint(changes);
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.count.restore(&entry?)?;
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};

    use super::{Late, LateCount};
    use crate::dataflow::event_time::tests::low_at;
    use crate::dataflow::late_rows::{LateLog, LateSink};
    use crate::dataflow::operator::Operator;
    use crate::state::{StateChanges, StoredState};
    use crate::types::{Changes, OperatorId};

    const OPERATOR: OperatorId = OperatorId { object: 5, node: 3 };

    fn late(worker: usize, log: &Arc<LateLog>) -> Late {
        let sink = LateSink::new(log, OPERATOR, BTreeSet::from([7]), None);
        Late::new(0, low_at(&[(2, 100), (3, 200)]), None, LateCount::new(worker, sink).unwrap())
    }

    fn rows(times: &[Option<i64>], weights: Option<Vec<i64>>) -> Changes {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        Changes::new(RecordBatch::try_from_iter([("ts", column)]).unwrap(), weights.map(Int64Array::from))
    }

    fn passed(late: &mut Late, epoch: u64, changes: Changes) -> usize {
        let mut output = Vec::new();
        late.step(epoch, vec![vec![changes]], &mut output).unwrap();
        output.iter().map(Changes::len).sum()
    }

    fn counted(log: &LateLog) -> u64 {
        log.snapshot().into_iter().map(|(_, late)| late.rows).sum()
    }

    #[test]
    fn the_watermark_of_the_epoch_before_decides() {
        let log = Arc::new(LateLog::default());
        let mut late = late(0, &log);
        let all = || rows(&[Some(99), Some(100), Some(250), None], None);
        assert_eq!([1, 2, 3, 4, 9].map(|epoch| passed(&mut late, epoch, all())), [4, 4, 3, 2, 2]);
        assert_eq!(counted(&log), 1 + 2 + 2);
        // A retraction of what is over is late as well.
        assert_eq!(passed(&mut late, 9, rows(&[Some(1), Some(300)], Some(vec![-1, -1]))), 1);
        assert_eq!(counted(&log), 6);
    }

    #[test]
    fn counts_outlive_restarts_with_fewer_workers() {
        let log = Arc::new(LateLog::default());
        let mut stored = StoredState::default();
        for worker in 0..3 {
            let mut late = late(worker, &log);
            passed(&mut late, 9, rows(&[Some(1), Some(2)], None));
            let mut changes = StateChanges::default();
            late.checkpoint(&mut changes).unwrap();
            stored.apply(changes);
        }
        assert_eq!(counted(&log), 6);
        let log = Arc::new(LateLog::default());
        let mut one = late(0, &log);
        one.restore(&mut stored.entries(|_| true)).unwrap();
        assert_eq!(counted(&log), 6);
        let mut changes = StateChanges::default();
        one.checkpoint(&mut changes).unwrap();
        assert_eq!(stored.apply(changes), (1, 2));
        let log = Arc::new(LateLog::default());
        late(0, &log).restore(&mut stored.entries(|_| true)).unwrap();
        assert_eq!(counted(&log), 6);
    }
}
