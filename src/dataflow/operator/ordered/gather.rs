//! An epoch's changes, sorted by group and row, each row once. The rows stay where they were encoded.
//!
//! Where only the first rows of a group will ever come out, most rows of a large epoch go no further than a [`Sieve`], which looks at the bytes of
//! their order alone.

use std::ops::Range;

use super::piece::Payload;
use super::row::{Encoded, Orders, RowRef};
use super::sorted::Sorted;

/// Batches below this many rows pass without a sieve: there is little to gain.
const ROWS_MIN: usize = 32;

/// After a batch of which a sieve let more than half through, so many batches pass without: they have few rows of each group.
const PAUSE_BATCHES: u32 = 16;

/// Which rows may matter, told by their order: the others need not be gathered.
pub(in crate::dataflow::operator) trait Sieve<P: Payload, M> {
    /// Whether a row of this order may matter to a group.
    fn may_enter(&self, rows: &Sorted<P, M>, order: &[u8]) -> bool;
    /// How many may matter of so many new rows of one group, sorted; `order` gives the order of each.
    fn first<'o>(&self, rows: usize, order: &dyn Fn(usize) -> &'o [u8]) -> usize;
    /// Whether a row may matter, all of it known.
    fn admits(&self, rows: &Sorted<P, M>, row: RowRef<'_>) -> bool;
}

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

/// What is gathered of an epoch that is not complete.
#[derive(Debug, Default)]
pub(in crate::dataflow::operator) struct Gathering {
    pub(super) gathered: Gathered,
    /// Groups that were none before.
    pub(super) fresh: Vec<u32>,
    /// Batches that still pass without a sieve.
    pub(super) pause: u32,
}

/// Rows of one batch on their way through a sieve.
#[derive(Debug, Default)]
pub(super) struct Sifting(Vec<Candidate>);

#[derive(Clone, Copy, Debug)]
struct Candidate {
    slot: u32,
    row: u32,
    /// The order's first bytes.
    prefix: u64,
}

impl Sifting {
    /// A row that may matter to its group.
    pub(super) fn push(&mut self, slot: u32, row: usize, order: &[u8]) {
        self.0.push(Candidate { slot, row: row as u32, prefix: first_bytes(order) });
    }

    /// Those that may still matter beside the others, in the order in which they came.
    pub(super) fn kept<P: Payload, M>(mut self, orders: &Orders, sieve: &dyn Sieve<P, M>) -> Vec<u32> {
        let order = |candidate: &Candidate| orders.row(candidate.row as usize);
        self.0.sort_unstable_by(|left, right| {
            let first = (left.slot, left.prefix).cmp(&(right.slot, right.prefix));
            first.then_with(|| order(left).cmp(order(right)))
        });
        let mut kept = Vec::new();
        for group in self.0.chunk_by(|left, right| left.slot == right.slot) {
            let first = sieve.first(group.len(), &|number| order(&group[number]));
            kept.extend(group[..first].iter().map(|candidate| candidate.row));
        }
        kept.sort_unstable();
        kept
    }
}

impl Gathering {
    /// What was gathered; nothing of the next epoch is yet.
    pub(in crate::dataflow::operator) fn take(&mut self) -> Gathering {
        let next = Gathering { pause: self.pause, ..Gathering::default() };
        std::mem::replace(self, next)
    }

    /// Whether the next batch, of so many rows, goes through a sieve. Counts it.
    pub(super) fn begin_sifting(&mut self, rows: usize) -> bool {
        if rows < ROWS_MIN {
            return false;
        }
        let sifts = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        sifts
    }

    /// How many rows of how many a sieve has let through.
    pub(super) fn end_sifting(&mut self, through: usize, rows: usize) {
        if through * 2 > rows {
            self.pause = PAUSE_BATCHES;
        }
    }
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

    /// No more rows of the last batch follow: it goes if there were none.
    pub(super) fn end(&mut self) {
        if self.changes.last().is_none_or(|last| last.batch as usize + 1 != self.batches.len()) {
            self.batches.pop();
        }
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
    first_bytes(if row.order.is_empty() { row.rest } else { row.order })
}

fn first_bytes(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = bytes.len().min(8);
    first[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(first)
}
