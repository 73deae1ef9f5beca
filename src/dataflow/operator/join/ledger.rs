//! What a side of a join knows of rows that may go away again: the weight of every distinct row, and the way from a whole row to its number,
//! so that a retraction takes the same time however long the chain of its key is.
//!
//! A probe reads a weight for each pair that it finds, and most weights are 1: so they are a byte each, and lie close together.

use std::collections::HashMap;

use arrow::array::BooleanBufferBuilder;
use arrow::util::bit_iterator::BitIndexIterator;

use super::side::BLOCK_ROWS;
use crate::dataflow::operator::slot_table::{SlotTable, spread};

/// Weights, and what the last checkpoint knows of them: an entry per row of the store.
pub(super) struct Ledger {
    weights: Weights,
    /// The last checkpoint has the row.
    saved: BooleanBufferBuilder,
    /// The row differs from what the last checkpoint knows of it.
    changed: BooleanBufferBuilder,
    /// Whether there may be such rows.
    any_changed: bool,
    /// From a whole row, by its hash, to its number; only rows whose weight is not 0.
    by_row: SlotTable,
    /// Rows of weight 0.
    dead: usize,
    /// Those of them that the next checkpoint must delete, which takes their columns.
    undeleted: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            weights: Weights::default(),
            saved: BooleanBufferBuilder::new(0),
            changed: BooleanBufferBuilder::new(0),
            any_changed: false,
            by_row: SlotTable::default(),
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

    /// Adds to the weight of the row for which `same` holds, and gives its number; `None` if there is none.
    pub(super) fn add(&mut self, row_hash: u64, weight: i64, same: impl FnMut(u32) -> bool) -> Option<u32> {
        let row = self.by_row.find(spread(row_hash), same)?;
        let sum = self.weight(row) + weight;
        self.weights.set(row, sum);
        if sum == 0 {
            self.buried(row_hash, row);
        }
        self.touch(row);
        Some(row)
    }

    /// Enters a row that was not there.
    pub(super) fn push(&mut self, row_hash: u64, weight: i64, row: u32) {
        self.weights.push(weight);
        self.saved.append(false);
        self.changed.append(true);
        self.any_changed = true;
        self.by_row.insert(spread(row_hash), row);
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
        self.by_row.remove(spread(row_hash), row);
        self.dead += 1;
        self.undeleted += usize::from(self.saved.get_bit(row as usize));
    }

    /// What a checkpoint stores of a row has changed.
    pub(super) fn touch(&mut self, row: u32) {
        self.changed.set_bit(row as usize, true);
        self.any_changed = true;
    }

    /// Looks where rows with these hashes are, so that they are near when they are needed.
    pub(super) fn bring_near(&self, row_hashes: &[u64]) {
        let mut spread_hashes = [0; BLOCK_ROWS];
        let spread_hashes = &mut spread_hashes[..row_hashes.len()];
        spread_hashes.iter_mut().zip(row_hashes).for_each(|(to, hash)| *to = spread(*hash));
        self.by_row.touch(spread_hashes, u64::from);
    }

    /// Enters a row of another ledger under a new number.
    pub(super) fn copy(&mut self, from: &Ledger, row: u32, row_hash: u64, number: u32) {
        let weight = from.weight(row);
        self.weights.push(weight);
        self.saved.append(from.saved.get_bit(row as usize));
        self.changed.append(from.changed.get_bit(row as usize));
        self.any_changed |= from.any_changed;
        if weight == 0 {
            self.dead += 1;
            self.undeleted += 1;
        } else {
            self.by_row.insert(spread(row_hash), number);
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
        self.weights.bytes() + (self.saved.capacity() + self.changed.capacity()) / 8 + self.by_row.bytes()
    }
}

/// Whole numbers by row: a byte each, and apart those that are too large for it.
#[derive(Default)]
struct Weights {
    small: Vec<i8>,
    large: HashMap<u32, i64>,
}

impl Weights {
    /// Look among the large ones.
    const LARGE: i8 = i8::MIN;

    fn get(&self, row: u32) -> i64 {
        match self.small[row as usize] {
            Weights::LARGE => self.large[&row],
            small => i64::from(small),
        }
    }

    fn set(&mut self, row: u32, weight: i64) {
        let (before, now) = (self.small[row as usize], Weights::small(weight));
        self.small[row as usize] = now;
        if now == Weights::LARGE {
            self.large.insert(row, weight);
        } else if before == Weights::LARGE {
            self.large.remove(&row);
        }
    }

    fn push(&mut self, weight: i64) {
        self.small.push(0);
        self.set(self.small.len() as u32 - 1, weight);
    }

    fn small(weight: i64) -> i8 {
        i8::try_from(weight).unwrap_or(Weights::LARGE)
    }

    fn bytes(&self) -> usize {
        self.small.capacity() + self.large.capacity() * size_of::<(u32, i64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Weights};

    #[test]
    fn weights_of_any_size_are_kept() {
        let mut weights = Weights::default();
        for weight in [1, -1, 127, -127, -128, 128, i64::MAX, i64::MIN, 0] {
            weights.push(weight);
            let row = weights.small.len() as u32 - 1;
            assert_eq!(weights.get(row), weight);
            for other in [0, 200, -128, 5, 1_000, weight] {
                weights.set(row, other);
                assert_eq!(weights.get(row), other);
            }
        }
        // Those that went back into a byte are not kept twice.
        assert_eq!(weights.large.len(), 4);
    }

    #[test]
    fn a_checkpoint_gets_what_it_does_not_know() {
        let mut ledger = Ledger::default();
        (0..100).for_each(|row| ledger.push(u64::from(row), 1, row));
        ledger.bury(7, 7);
        assert_eq!(ledger.settle(), (0..100).filter(|row| *row != 7).collect::<Vec<_>>(), "row 7 came and went in between");
        assert_eq!(ledger.settle(), Vec::<u32>::new());
        assert_eq!(ledger.add(50, -1, |row| row == 50), Some(50));
        assert_eq!(ledger.add(51, 300, |row| row == 51), Some(51));
        assert_eq!(ledger.add(50, 1, |row| row == 50), None, "row 50 is dead");
        assert_eq!((ledger.dead(), ledger.free()), (2, 1), "row 50 is yet to be deleted");
        assert_eq!(ledger.settle(), [50, 51]);
        assert_eq!((ledger.dead(), ledger.free()), (2, 2));
        assert_eq!((ledger.weight(50), ledger.weight(51)), (0, 301));
    }
}
