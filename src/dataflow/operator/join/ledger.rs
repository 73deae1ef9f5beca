//! What a side of a join knows of rows that may go away again: the weight of every distinct row, and, of keys with many rows, the way from a whole
//! row to its number, so that a retraction takes the same time however long the chain of its key is.
//!
//! A probe reads a weight for each pair that it finds, and most weights are 1: so they are a byte each, and lie close together. Beside it lies a
//! byte of the row's hash, so that a walk along a chain compares a row only when it is likely to be the one that it looks for.

use std::collections::{HashMap, HashSet};

use arrow::array::BooleanBufferBuilder;
use arrow::util::bit_iterator::BitIndexIterator;
use foldhash::fast::FixedState;

use crate::dataflow::operator::slot_table::{SlotTable, spread};

/// Weights, and what the last checkpoint knows of them: an entry per row of the store.
pub(super) struct Ledger {
    weights: Weights,
    /// Hashes of the keys that have many rows.
    crowds: HashSet<u64, FixedState>,
    /// From a whole row of such a key, by its hash, to its number; only rows whose weight is not 0.
    by_row: SlotTable,
    /// The last checkpoint has the row.
    saved: BooleanBufferBuilder,
    /// The row differs from what the last checkpoint knows of it.
    changed: BooleanBufferBuilder,
    /// Whether there may be such rows.
    any_changed: bool,
    /// Rows of weight 0.
    dead: usize,
    /// Those of them that the next checkpoint must delete, which takes their columns.
    undeleted: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            weights: Weights::default(),
            crowds: HashSet::default(),
            by_row: SlotTable::default(),
            saved: BooleanBufferBuilder::new(0),
            changed: BooleanBufferBuilder::new(0),
            any_changed: false,
            dead: 0,
            undeleted: 0,
        }
    }
}

impl Ledger {
    /// The weight of a row; 0 if it is dead.
    pub(super) fn weight(&self, row: u32) -> i64 {
        self.weights.get(row)
    }

    /// Rows of weight 0.
    pub(super) fn dead(&self) -> usize {
        self.dead
    }

    /// Those of them that nobody needs any more.
    pub(super) fn free(&self) -> usize {
        self.dead - self.undeleted
    }

    /// Alive, or in the last checkpoint and not yet deleted from it.
    pub(super) fn is_needed(&self, row: u32) -> bool {
        self.weight(row) != 0 || self.saved.get_bit(row as usize)
    }

    /// Whether rows with this key hash are entered by their own hashes.
    pub(super) fn is_crowd(&self, key_hash: u64) -> bool {
        !self.crowds.is_empty() && self.crowds.contains(&key_hash)
    }

    /// Enters all rows of a key, with their own hashes.
    pub(super) fn crowd(&mut self, key_hash: u64, rows: &[(u32, u64)]) {
        self.crowds.insert(key_hash);
        rows.iter().for_each(|(row, row_hash)| self.by_row.insert(spread(*row_hash), *row));
    }

    /// The row of a crowd for which `same` holds.
    pub(super) fn find(&self, row_hash: u64, same: impl FnMut(u32) -> bool) -> Option<u32> {
        self.by_row.find(spread(row_hash), same)
    }

    /// Whether a row may have this hash.
    pub(super) fn may_be(&self, row: u32, row_hash: u64) -> bool {
        self.weights.tag(row) == tag(row_hash)
    }

    /// Adds to the weight of a row.
    pub(super) fn add(&mut self, row: u32, weight: i64, row_hash: u64) {
        let sum = self.weight(row) + weight;
        self.weights.set(row, sum);
        if sum == 0 {
            self.buried(row_hash, row);
        }
        self.touch(row);
    }

    /// Enters the next row, which was not there.
    pub(super) fn push(&mut self, row: u32, weight: i64, row_hash: u64, key_hash: u64) {
        self.weights.push(weight, tag(row_hash));
        self.saved.append(false);
        self.changed.append(true);
        self.any_changed = true;
        if self.is_crowd(key_hash) {
            self.by_row.insert(spread(row_hash), row);
        }
    }

    /// Lets a row die, unless it is dead.
    pub(super) fn bury(&mut self, row_hash: u64, row: u32) {
        if self.weight(row) != 0 {
            self.weights.set(row, 0);
            self.buried(row_hash, row);
            self.touch(row);
        }
    }

    fn buried(&mut self, row_hash: u64, row: u32) {
        if !self.by_row.is_empty() {
            self.by_row.remove(spread(row_hash), row);
        }
        self.dead += 1;
        self.undeleted += usize::from(self.saved.get_bit(row as usize));
    }

    /// What a checkpoint stores of a row has changed.
    pub(super) fn touch(&mut self, row: u32) {
        self.changed.set_bit(row as usize, true);
        self.any_changed = true;
    }

    /// Enters a row of another ledger as the next one.
    pub(super) fn copy(&mut self, from: &Ledger, row: u32) {
        let weight = from.weight(row);
        self.weights.push(weight, from.weights.tag(row));
        self.saved.append(from.saved.get_bit(row as usize));
        self.changed.append(from.changed.get_bit(row as usize));
        self.any_changed |= from.any_changed;
        if weight == 0 {
            self.dead += 1;
            self.undeleted += 1;
        }
    }

    /// The rows that a checkpoint writes, and those of weight 0, which it deletes. From then on it knows all.
    pub(super) fn settle(&mut self) -> Vec<u32> {
        self.undeleted = 0;
        if !std::mem::take(&mut self.any_changed) {
            return Vec::new();
        }
        let count = self.changed.len();
        let changed = std::mem::replace(&mut self.changed, BooleanBufferBuilder::new(count));
        self.changed.append_n(count, false);
        let mut concerned = Vec::new();
        for row in BitIndexIterator::new(changed.as_slice(), 0, count) {
            let (was_saved, is_alive) = (self.saved.get_bit(row), self.weight(row as u32) != 0);
            self.saved.set_bit(row, is_alive);
            // A row that came and went between two checkpoints was never written, so there is nothing to delete.
            if was_saved || is_alive {
                concerned.push(row as u32);
            }
        }
        concerned
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let crowds = self.crowds.capacity() * size_of::<u64>() + self.by_row.bytes();
        self.weights.bytes() + (self.saved.capacity() + self.changed.capacity()) / 8 + crowds
    }
}

/// A byte of a row's hash that says nothing of its bucket.
fn tag(row_hash: u64) -> u8 {
    (row_hash >> 56) as u8
}

/// Whole numbers by row, each beside a tag: a byte, and apart those that are too large for it.
#[derive(Default)]
struct Weights {
    small: Vec<Small>,
    large: HashMap<u32, i64>,
}

struct Small {
    weight: i8,
    tag: u8,
}

impl Weights {
    /// Look among the large ones.
    const LARGE: i8 = i8::MIN;

    fn get(&self, row: u32) -> i64 {
        match self.small[row as usize].weight {
            Weights::LARGE => self.large[&row],
            small => i64::from(small),
        }
    }

    fn tag(&self, row: u32) -> u8 {
        self.small[row as usize].tag
    }

    fn set(&mut self, row: u32, weight: i64) {
        let small = i8::try_from(weight).unwrap_or(Weights::LARGE);
        let before = std::mem::replace(&mut self.small[row as usize].weight, small);
        if small == Weights::LARGE {
            self.large.insert(row, weight);
        } else if before == Weights::LARGE {
            self.large.remove(&row);
        }
    }

    fn push(&mut self, weight: i64, tag: u8) {
        self.small.push(Small { weight: 0, tag });
        self.set(self.small.len() as u32 - 1, weight);
    }

    fn bytes(&self) -> usize {
        self.small.capacity() * size_of::<Small>() + self.large.capacity() * size_of::<(u32, i64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Weights};

    #[test]
    fn weights_of_any_size_are_kept() {
        let mut weights = Weights::default();
        for weight in [1, -1, 127, -127, -128, 128, i64::MAX, i64::MIN, 0] {
            weights.push(weight, 7);
            let row = weights.small.len() as u32 - 1;
            assert_eq!(weights.get(row), weight);
            for other in [0, 200, -128, 5, 1_000, weight] {
                weights.set(row, other);
                assert_eq!((weights.get(row), weights.tag(row)), (other, 7));
            }
        }
        // Those that went back into a byte are not kept twice.
        assert_eq!(weights.large.len(), 4);
    }

    #[test]
    fn a_checkpoint_gets_what_it_does_not_know() {
        let mut ledger = Ledger::default();
        (0..100).for_each(|row| ledger.push(row, 1, u64::from(row), 0));
        ledger.bury(7, 7);
        assert_eq!(ledger.settle(), (0..100).filter(|row| *row != 7).collect::<Vec<_>>(), "row 7 came and went in between");
        assert_eq!(ledger.settle(), Vec::<u32>::new());
        ledger.add(50, -1, 50);
        ledger.add(51, 300, 51);
        assert_eq!((ledger.dead(), ledger.free()), (2, 1), "row 50 is yet to be deleted");
        assert_eq!(ledger.settle(), [50, 51]);
        assert_eq!((ledger.dead(), ledger.free()), (2, 2));
        assert_eq!((ledger.weight(50), ledger.weight(51)), (0, 301));
    }

    #[test]
    fn rows_of_a_crowd_are_found_while_they_live() {
        let mut ledger = Ledger::default();
        (0..10).for_each(|row| ledger.push(row, 1, u64::from(row), 3));
        assert!(!ledger.is_crowd(3) && ledger.find(5, |_| true).is_none());
        ledger.crowd(3, &(0..10).map(|row| (row, u64::from(row))).collect::<Vec<_>>());
        ledger.push(10, 1, 10, 3);
        ledger.push(11, 1, 11, 4);
        ledger.add(5, -1, 5);
        assert!(ledger.is_crowd(3) && !ledger.is_crowd(4));
        let found: Vec<Option<u32>> = [4, 5, 10, 11].map(|row| ledger.find(u64::from(row), |found| found == row)).to_vec();
        assert_eq!(found, [Some(4), None, Some(10), None], "row 5 is dead, and row 11 is of another key");
    }
}
