//! An epoch's changes, sorted by group and row, each row once. The rows stay where they were encoded.

use std::ops::Range;

use super::row::{Encoded, RowRef};

/// How often a row came (or, below zero, went) in an epoch.
#[derive(Clone, Copy, Debug)]
struct Change {
    slot: u32,
    batch: u32,
    row: u32,
    /// The row's first bytes, which tell most rows apart without a look at where they lie.
    prefix: u64,
    weight: i64,
}

/// The changes of an epoch.
#[derive(Debug, Default)]
pub(in crate::dataflow::operator) struct Gathered {
    batches: Vec<Encoded>,
    changes: Vec<Change>,
}

/// The changes of one group, in the order of their rows; no weight is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dataflow::operator) struct GroupChanges<'a> {
    batches: &'a [Encoded],
    changes: &'a [Change],
}

impl Gathered {
    /// A batch whose rows follow.
    pub(super) fn begin(&mut self, batch: Encoded) {
        self.batches.push(batch);
    }

    /// The row of the last batch.
    pub(super) fn row(&self, row: usize) -> Option<RowRef<'_>> {
        self.batches.last().map(|batch| batch.row(row))
    }

    /// A change of a row of the last batch.
    pub(super) fn push(&mut self, slot: u32, row: usize, weight: i64) {
        let Some(batch) = self.batches.last() else { return };
        let prefix = prefix(batch.row(row));
        self.changes.push(Change { slot, batch: self.batches.len() as u32 - 1, row: row as u32, prefix, weight });
    }

    /// Sorts, and makes one change of all that are of the same row of the same group; none, if they cancel out.
    pub(super) fn consolidate(&mut self) {
        let batches = &self.batches;
        let row = |change: &Change| batches[change.batch as usize].row(change.row as usize);
        self.changes.sort_unstable_by(|left, right| {
            let first = (left.slot, left.prefix).cmp(&(right.slot, right.prefix));
            first.then_with(|| row(left).cmp(&row(right)))
        });
        self.changes.dedup_by(|next, first| {
            let same = (next.slot, next.prefix) == (first.slot, first.prefix) && row(next) == row(first);
            first.weight += if same { next.weight } else { 0 };
            same
        });
        self.changes.retain(|change| change.weight != 0);
    }

    /// Whether anything of a group changes.
    pub(super) fn touches(&self, slot: u32) -> bool {
        self.changes.binary_search_by_key(&slot, |change| change.slot).is_ok()
    }

    /// The changes of one group.
    pub(in crate::dataflow::operator) fn of(&self, slot: u32) -> GroupChanges<'_> {
        let start = self.changes.partition_point(|change| change.slot < slot);
        let length = self.changes[start..].partition_point(|change| change.slot == slot);
        GroupChanges { batches: &self.batches, changes: &self.changes[start..start + length] }
    }

    /// The groups that change, by slot.
    pub(in crate::dataflow::operator) fn groups(&self) -> impl Iterator<Item = (u32, GroupChanges<'_>)> {
        let groups = self.changes.chunk_by(|left, right| left.slot == right.slot);
        groups.map(|changes| (changes[0].slot, GroupChanges { batches: &self.batches, changes }))
    }
}

impl<'a> GroupChanges<'a> {
    /// How many rows change.
    pub(in crate::dataflow::operator) fn len(self) -> usize {
        self.changes.len()
    }

    /// Some of them.
    pub(in crate::dataflow::operator) fn part(self, range: Range<usize>) -> Self {
        GroupChanges { changes: &self.changes[range], ..self }
    }

    /// The row and the weight of one change.
    pub(in crate::dataflow::operator) fn get(self, number: usize) -> Option<(RowRef<'a>, i64)> {
        let change = self.changes.get(number)?;
        Some((self.batches[change.batch as usize].row(change.row as usize), change.weight))
    }

    /// All of them.
    pub(in crate::dataflow::operator) fn iter(self) -> impl Iterator<Item = (RowRef<'a>, i64)> {
        (0..self.changes.len()).filter_map(move |number| self.get(number))
    }
}

/// A smaller prefix is a smaller row; equal ones say nothing.
fn prefix(row: RowRef<'_>) -> u64 {
    let bytes = if row.order.is_empty() { row.rest } else { row.order };
    let mut first = [0; 8];
    let length = bytes.len().min(8);
    first[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(first)
}
