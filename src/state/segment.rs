//! Rows side by side, and when each of them lived: the piece of which relations are made.
//!
//! ```text
//!  columns   │ id │ name │ …     Arrow arrays, never changed
//!  begin     │ 4  │  4   │ …     the epoch each row appeared; one number while it is the same for all
//!  end       │ ∞  │  9   │ …     the epoch it went away; not there while nothing has gone
//! ```
//!
//! A row is visible at epoch `e` if `begin <= e < end`. Ends are atomics shared with every snapshot: a writer only ever ends rows at epochs
//! that no reader has reached, so a reader gets the same answer whether or not it sees such a write, and nothing is ever copied or locked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, interleave, take};

use crate::error::Result;
use crate::types::Epoch;

/// The end of a row that is still there.
pub(super) const ALIVE: Epoch = Epoch::MAX;

/// When the rows of a segment appeared.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// All at the same epoch.
    Uniform(Epoch),
    /// Each at its own.
    PerRow(Arc<[Epoch]>),
}

/// Some rows with consecutive numbers. Always behind an `Arc`, shared by the relation and its snapshots.
#[derive(Debug)]
pub(super) struct Segment {
    columns: Vec<ArrayRef>,
    rows: usize,
    begin: Begin,
    begin_max: Epoch,
    end: OnceLock<Arc<[AtomicU64]>>,
    /// Of the columns alone.
    bytes: usize,
}

impl Segment {
    /// Rows that appeared at `begin` and are there. The columns must pin nothing else (see [`copied`]).
    pub(super) fn new(columns: Vec<ArrayRef>, rows: usize, begin: Begin) -> Self {
        let begin_max = match &begin {
            Begin::Uniform(epoch) => *epoch,
            Begin::PerRow(epochs) => epochs.iter().copied().max().unwrap_or_default(),
        };
        let bytes = columns.iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum();
        Segment { columns, rows, begin, begin_max, end: OnceLock::new(), bytes }
    }

    /// The rows of `parts` (at least one) one after the other, as one segment. The caller sees to it that no end is written meanwhile.
    pub(super) fn merge(parts: &[Arc<Segment>]) -> Result<Self> {
        let rows: usize = parts.iter().map(|part| part.rows).sum();
        let columns = (0..parts[0].columns.len())
            .map(|column| {
                let arrays: Vec<&dyn Array> = parts.iter().map(|part| part.columns[column].as_ref()).collect();
                Ok(concat(&arrays)?)
            })
            .collect::<Result<Vec<_>>>()?;
        let merged = Segment::new(columns, rows, merged_begin(parts, rows));
        if parts.iter().any(|part| part.end.get().is_some()) {
            let ends = parts.iter().flat_map(|part| (0..part.rows).map(|row| AtomicU64::new(part.end_of(row)))).collect();
            merged.set_ends(ends);
        }
        Ok(merged)
    }

    /// The same rows as having all appeared at the last of their epochs: for when every reader is at least that far.
    pub(super) fn with_uniform_begin(&self) -> Self {
        Segment {
            columns: self.columns.clone(),
            rows: self.rows,
            begin: Begin::Uniform(self.begin_max),
            begin_max: self.begin_max,
            end: self.end.clone(),
            bytes: self.bytes,
        }
    }

    /// The same rows with other columns.
    pub(super) fn with_columns(&self, columns: Vec<ArrayRef>) -> Self {
        let mut segment = Segment::new(columns, self.rows, self.begin.clone());
        segment.end = self.end.clone();
        segment
    }

    pub(super) fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The newest epoch at which one of the rows appeared.
    pub(super) fn begin_max(&self) -> Epoch {
        self.begin_max
    }

    pub(super) fn has_uniform_begin(&self) -> bool {
        matches!(self.begin, Begin::Uniform(_))
    }

    /// Bytes of the columns' values.
    pub(super) fn value_bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of everything.
    pub(super) fn memory_bytes(&self) -> usize {
        let begin = if self.has_uniform_begin() { 0 } else { self.rows * size_of::<Epoch>() };
        let end = if self.end.get().is_some() { self.rows * size_of::<Epoch>() } else { 0 };
        self.bytes + begin + end
    }

    pub(super) fn begin_of(&self, row: usize) -> Epoch {
        match &self.begin {
            Begin::Uniform(epoch) => *epoch,
            Begin::PerRow(epochs) => epochs[row],
        }
    }

    pub(super) fn end_of(&self, row: usize) -> Epoch {
        self.end.get().map_or(ALIVE, |ends| ends[row].load(Ordering::Relaxed))
    }

    pub(super) fn is_live(&self, row: usize) -> bool {
        self.end_of(row) == ALIVE
    }

    pub(super) fn is_visible(&self, row: usize, epoch: Epoch) -> bool {
        self.begin_of(row) <= epoch && epoch < self.end_of(row)
    }

    /// Ends a row. Only the writer of the shard calls it, and with an epoch that no reader has reached.
    pub(super) fn end(&self, row: usize, epoch: Epoch) {
        let ends = self.end.get_or_init(|| (0..self.rows).map(|_| AtomicU64::new(ALIVE)).collect());
        ends[row].store(epoch, Ordering::Relaxed);
    }

    /// Gives a new segment its ends.
    pub(super) fn set_ends(&self, ends: Arc<[AtomicU64]>) {
        assert_eq!(ends.len(), self.rows, "one end per row");
        self.end.set(ends).expect("a new segment has no ends yet");
    }

    /// Whether all rows are visible at `epoch`, as far as can be told without looking at each.
    pub(super) fn all_visible(&self, epoch: Epoch) -> bool {
        self.begin_max <= epoch && self.end.get().is_none()
    }

    /// A bit per row: is it visible at `epoch`?
    pub(super) fn visible(&self, epoch: Epoch) -> BooleanBuffer {
        let Some(ends) = self.end.get() else {
            return match &self.begin {
                Begin::Uniform(begin) if *begin <= epoch => BooleanBuffer::new_set(self.rows),
                Begin::Uniform(_) => BooleanBuffer::new_unset(self.rows),
                Begin::PerRow(begins) => BooleanBuffer::collect_bool(self.rows, |row| begins[row] <= epoch),
            };
        };
        if self.begin_max <= epoch {
            return BooleanBuffer::collect_bool(self.rows, |row| epoch < ends[row].load(Ordering::Relaxed));
        }
        BooleanBuffer::collect_bool(self.rows, |row| self.begin_of(row) <= epoch && epoch < ends[row].load(Ordering::Relaxed))
    }

    /// The visible rows' mask at `epoch`; `None` if that is all of them.
    pub(super) fn mask(&self, epoch: Epoch) -> Option<BooleanArray> {
        if self.all_visible(epoch) {
            return None;
        }
        let visible = self.visible(epoch);
        (visible.count_set_bits() < self.rows).then(|| BooleanArray::new(visible, None))
    }
}

/// `length` rows of `columns` from `offset`, copied: the result pins nothing.
pub(super) fn copied(columns: &[ArrayRef], offset: usize, length: usize) -> Result<Vec<ArrayRef>> {
    columns
        .iter()
        .map(|column| {
            // One array alone would come back as a slice of itself; with an empty second one the values are copied.
            let (part, nothing) = (column.slice(offset, length), column.slice(offset, 0));
            Ok(concat(&[part.as_ref(), nothing.as_ref()])?)
        })
        .collect()
}

/// The rows `(segment, row)` of `segments`, gathered column by column. `segments` is not empty.
pub(super) fn gather(segments: &[Arc<Segment>], picks: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
    (0..segments[0].columns.len()).map(|column| gather_column(segments, column, picks)).collect()
}

/// One column of such rows.
pub(super) fn gather_column(segments: &[Arc<Segment>], column: usize, picks: &[(usize, usize)]) -> Result<ArrayRef> {
    if let [only] = segments {
        let rows = arrow::array::UInt32Array::from_iter_values(picks.iter().map(|(_, row)| *row as u32));
        return Ok(take(only.columns[column].as_ref(), &rows, None)?);
    }
    let arrays: Vec<&dyn Array> = segments.iter().map(|segment| segment.columns[column].as_ref()).collect();
    Ok(interleave(&arrays, picks)?)
}

fn merged_begin(parts: &[Arc<Segment>], rows: usize) -> Begin {
    if let Begin::Uniform(first) = parts[0].begin
        && parts.iter().all(|part| matches!(part.begin, Begin::Uniform(epoch) if epoch == first))
    {
        return Begin::Uniform(first);
    }
    let mut epochs = Vec::with_capacity(rows);
    for part in parts {
        match &part.begin {
            Begin::Uniform(epoch) => epochs.extend(std::iter::repeat_n(*epoch, part.rows)),
            Begin::PerRow(begins) => epochs.extend_from_slice(begins),
        }
    }
    Begin::PerRow(epochs.into())
}

#[cfg(test)]
mod tests {
    use super::{Begin, Segment};
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    fn segment(values: Vec<i64>, epoch: u64) -> Arc<Segment> {
        let rows = values.len();
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        Arc::new(Segment::new(vec![column], rows, Begin::Uniform(epoch)))
    }

    #[test]
    fn merging_keeps_when_each_row_lived() {
        let (first, second) = (segment(vec![1, 2], 3), segment(vec![5], 4));
        first.end(1, 4);
        let merged = Segment::merge(&[first, second]).unwrap();
        let seen = |epoch| (0..3).map(|row| merged.is_visible(row, epoch)).collect::<Vec<_>>();
        assert_eq!(seen(2), [false, false, false]);
        assert_eq!(seen(3), [true, true, false]);
        assert_eq!(seen(4), [true, false, true]);
        assert_eq!(merged.visible(4).count_set_bits(), 2);
        assert!(merged.mask(3).is_some());
    }
}
