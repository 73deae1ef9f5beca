//! What a side of a join knows of rows that may go away again, beside their weights, which lie with their [links](super::links): what the last
//! checkpoint has of them, and, of keys with many rows, the way from a whole row to its number, so that a retraction takes the same time however long
//! the chain of its key is.

use std::collections::HashSet;

use arrow::array::BooleanBufferBuilder;
use arrow::util::bit_iterator::BitIndexIterator;
use foldhash::fast::FixedState;

use crate::dataflow::operator::slot_table::{HalfTable, spread};

/// What the last checkpoint knows: an entry per row of the store.
pub(super) struct Ledger {
    /// Hashes of the keys that have many rows.
    crowds: HashSet<u64, FixedState>,
    /// From a whole row of such a key, by its hash, to its number; only rows whose weight is not 0.
    by_row: HalfTable,
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
            crowds: HashSet::default(),
            by_row: HalfTable::default(),
            saved: BooleanBufferBuilder::new(0),
            changed: BooleanBufferBuilder::new(0),
            any_changed: false,
            dead: 0,
            undeleted: 0,
        }
    }
}

impl Ledger {
    /// Rows of weight 0.
    pub(super) fn dead(&self) -> usize {
        self.dead
    }

    /// Those of them that nobody needs any more.
    pub(super) fn free(&self) -> usize {
        self.dead - self.undeleted
    }

    /// The last checkpoint has the row.
    pub(super) fn is_saved(&self, row: u32) -> bool {
        self.saved.get_bit(row as usize)
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

    /// Enters the next row, which was not there.
    pub(super) fn push(&mut self, row: u32, row_hash: u64, key_hash: u64) {
        self.saved.append(false);
        self.changed.append(true);
        self.any_changed = true;
        if self.is_crowd(key_hash) {
            self.by_row.insert(spread(row_hash), row);
        }
    }

    /// A row has died.
    pub(super) fn buried(&mut self, row_hash: u64, row: u32) {
        if !self.by_row.is_empty() {
            self.by_row.remove(spread(row_hash), row);
        }
        self.dead += 1;
        self.undeleted += usize::from(self.is_saved(row));
    }

    /// What a checkpoint stores of a row has changed.
    pub(super) fn touch(&mut self, row: u32) {
        self.changed.set_bit(row as usize, true);
        self.any_changed = true;
    }

    /// Enters a row of another ledger as the next one.
    pub(super) fn copy(&mut self, from: &Ledger, row: u32, is_alive: bool) {
        self.saved.append(from.saved.get_bit(row as usize));
        self.changed.append(from.changed.get_bit(row as usize));
        self.any_changed |= from.any_changed;
        if !is_alive {
            self.dead += 1;
            self.undeleted += 1;
        }
    }

    /// The rows that a checkpoint writes, and those of weight 0, which it deletes. From then on it knows all.
    pub(super) fn settle(&mut self, is_alive: impl Fn(u32) -> bool) -> Vec<u32> {
        self.undeleted = 0;
        if !std::mem::take(&mut self.any_changed) {
            return Vec::new();
        }
        let count = self.changed.len();
        let changed = std::mem::replace(&mut self.changed, BooleanBufferBuilder::new(count));
        self.changed.append_n(count, false);
        let mut concerned = Vec::new();
        for row in BitIndexIterator::new(changed.as_slice(), 0, count) {
            let (was_saved, is_alive) = (self.saved.get_bit(row), is_alive(row as u32));
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
        (self.saved.capacity() + self.changed.capacity()) / 8 + crowds
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn a_checkpoint_gets_what_it_does_not_know() {
        let mut ledger = Ledger::default();
        (0..100).for_each(|row| ledger.push(row, u64::from(row), 0));
        let is_alive = |row| row != 7;
        ledger.buried(7, 7);
        assert_eq!(ledger.settle(is_alive), (0..100).filter(|row| *row != 7).collect::<Vec<_>>(), "row 7 came and went in between");
        assert_eq!(ledger.settle(is_alive), Vec::<u32>::new());
        let is_alive = |row| row != 7 && row != 50;
        ledger.buried(50, 50);
        [50, 51].iter().for_each(|row| ledger.touch(*row));
        assert_eq!((ledger.dead(), ledger.free()), (2, 1), "row 50 is yet to be deleted");
        assert_eq!(ledger.settle(is_alive), [50, 51]);
        assert_eq!((ledger.dead(), ledger.free()), (2, 2));
    }

    #[test]
    fn rows_of_a_crowd_are_found_while_they_live() {
        let mut ledger = Ledger::default();
        (0..10).for_each(|row| ledger.push(row, u64::from(row), 3));
        assert!(!ledger.is_crowd(3) && ledger.find(5, |_| true).is_none());
        ledger.crowd(3, &(0..10).map(|row| (row, u64::from(row))).collect::<Vec<_>>());
        ledger.push(10, 10, 3);
        ledger.push(11, 11, 4);
        ledger.buried(5, 5);
        assert!(ledger.is_crowd(3) && !ledger.is_crowd(4));
        let found: Vec<Option<u32>> = [4, 5, 10, 11].map(|row| ledger.find(u64::from(row), |found| found == row)).to_vec();
        assert_eq!(found, [Some(4), None, Some(10), None], "row 5 is dead, and row 11 is of another key");
    }
}
