//! From the hash of a key (or of a whole row) to row numbers: 8 bytes and a control byte per key, no allocation per row.
//!
//! An entry leads to the newest row of its key; `older` leads on from there, for the few keys with several rows: versions that a reader may
//! still need, or equal rows of a relation without key.
//!
//! ```text
//!  table   hash → newest row ─┐
//!  older                      └→ row → row → row
//! ```
//!
//! The index never reads a column itself: who calls says which rows are the same.

use foldhash::fast::FixedState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

/// Room for this many entries is never given back: it would be asked for again soon, and costs little.
const KEPT: usize = 65_536;

/// The newest row of a key.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// The low half of the hash: enough for tables of four billion keys, and it lets the table grow without reading rows.
    hash: u32,
    row: u32,
}

/// The index of one shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    table: HashTable<Head>,
    /// From a row to the next older one of its chain.
    older: HashMap<u32, u32, FixedState>,
}

impl Index {
    /// Makes room for `rows` more.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.table.reserve(rows, spread_head);
    }

    /// The newest row among those for which `same` says that they are of the key sought.
    pub(super) fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let low = hash as u32;
        self.table.find(spread(low), |head| head.hash == low && same(head.row)).map(|head| head.row)
    }

    /// A row and the older ones behind it.
    pub(super) fn chain(&self, newest: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(newest), |row| self.older.get(row).copied())
    }

    /// Puts a new row before those of its key.
    pub(super) fn push(&mut self, hash: u64, row: u32, mut same: impl FnMut(u32) -> bool) {
        let low = hash as u32;
        match self.table.entry(spread(low), |head| head.hash == low && same(head.row), spread_head) {
            Entry::Occupied(mut entry) => {
                self.older.insert(row, entry.get().row);
                entry.get_mut().row = row;
            }
            Entry::Vacant(entry) => {
                entry.insert(Head { hash: low, row });
            }
        }
    }

    /// Takes the newest row of a key out.
    pub(super) fn pop(&mut self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let low = hash as u32;
        let mut entry = self.table.find_entry(spread(low), |head| head.hash == low && same(head.row)).ok()?;
        let newest = entry.get().row;
        match self.older.remove(&newest) {
            Some(older) => entry.get_mut().row = older,
            None => {
                entry.remove();
            }
        }
        Some(newest)
    }

    /// Walks the whole chain that `member` stands in and replaces each row by what `change` gives for it; `None` takes it out.
    /// Nothing happens if `member` is not in the index.
    pub(super) fn rewrite(&mut self, hash: u64, member: u32, mut change: impl FnMut(u32) -> Option<u32>) {
        let Index { table, older } = self;
        let low = hash as u32;
        let in_chain = |newest: u32| {
            let mut row = Some(newest);
            while let Some(current) = row {
                if current == member {
                    return true;
                }
                row = older.get(&current).copied();
            }
            false
        };
        let Ok(mut entry) = table.find_entry(spread(low), |head| head.hash == low && in_chain(head.row)) else {
            return;
        };
        let newest = entry.get().row;
        let Some(second) = older.remove(&newest) else {
            // Nearly every chain is one row long.
            match change(newest) {
                Some(row) => entry.get_mut().row = row,
                None => {
                    entry.remove();
                }
            }
            return;
        };
        let mut rows = vec![newest];
        let mut next = Some(second);
        while let Some(row) = next {
            rows.push(row);
            next = older.remove(&row);
        }
        let rows: Vec<u32> = rows.into_iter().filter_map(&mut change).collect();
        for pair in rows.windows(2) {
            older.insert(pair[0], pair[1]);
        }
        match rows.first() {
            Some(row) => entry.get_mut().row = *row,
            None => {
                entry.remove();
            }
        }
    }

    /// Gives memory back that a shrunken index does not need: below a quarter of what it has room for.
    pub(super) fn shrink(&mut self) {
        if self.table.capacity() > KEPT && self.table.len() < self.table.capacity() / 4 {
            self.table.shrink_to(self.table.len() * 2, spread_head);
        }
        if self.older.capacity() > KEPT && self.older.len() < self.older.capacity() / 4 {
            self.older.shrink_to(self.older.len() * 2);
        }
    }

    /// Bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.table.allocation_size() + self.older.allocation_size()
    }
}

fn spread_head(head: &Head) -> u64 {
    spread(head.hash)
}

/// The table takes a hash's lowest bits for the place and its highest seven as a tag: both halves get the same 32 bits.
fn spread(low: u32) -> u64 {
    u64::from(low) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::Index;

    #[test]
    fn a_chain_is_walked_newest_first_and_can_be_rewritten() {
        let mut index = Index::default();
        for row in [3, 5, 9] {
            index.push(7, row, |_| true);
        }
        assert_eq!(index.find(7, |_| true), Some(9));
        assert_eq!(index.chain(9).collect::<Vec<_>>(), [9, 5, 3]);
        index.rewrite(7, 5, |row| (row != 9).then_some(row + 100));
        assert_eq!(index.find(7, |_| true), Some(105));
        assert_eq!(index.chain(105).collect::<Vec<_>>(), [105, 103]);
        assert_eq!(index.pop(7, |_| true), Some(105));
        assert_eq!(index.pop(7, |_| true), Some(103));
        assert_eq!(index.pop(7, |_| true), None);
    }
}
