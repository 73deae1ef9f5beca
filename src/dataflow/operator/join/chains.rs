//! The way from a key to the rows that have it.
//!
//! ```text
//! heads: the key's hash → newest row with it      links: per row the next older one
//!        ┌─────┐                                        ┌───┐   ┌───┐   ┌───┐
//!        │  7  │ ─────────────────────────────────────▶ │ 7 │ ─▶│ 4 │ ─▶│ 0 │
//!        └─────┘                                        └───┘   └───┘   └───┘
//! ```
//!
//! A chain holds all rows of one *hash*: keys are never compared here. Which hash a row has is read from its key where that is one word, of which
//! the hash is a bijection; of other keys it is kept beside the links.

use arrow::datatypes::{DataType, Schema};

use super::links::Links;
use crate::dataflow::operator::rows::RowStore;
use crate::dataflow::operator::slot_table::{SlotTable, spread};

/// No row: the end of a chain.
pub(super) const NONE: u32 = u32::MAX;

/// Rows whose cache misses overlap: as many as a core has loads in flight, a few times over.
pub(super) const BLOCK_ROWS: usize = 32;

/// Rows by the hashes of their keys.
pub(super) struct Chains {
    /// By the hash of the key, spread.
    heads: SlotTable<u32>,
    pub(super) links: Links,
    hashes: Hashes,
}

/// Where the whole hash of a row's key is.
enum Hashes {
    /// There are no keys, and one chain.
    Zero,
    /// In a column of words.
    Word(usize),
    Kept(Vec<u64>),
}

impl Chains {
    /// No rows yet. `are_weighted`: rows may go again.
    pub(super) fn new(schema: &Schema, keys: &[usize], null_equals_null: bool, are_weighted: bool) -> Self {
        let hashes = match keys {
            [] => Hashes::Zero,
            [key] if !null_equals_null && is_word(schema.field(*key).data_type()) => Hashes::Word(*key),
            _ => Hashes::Kept(Vec::new()),
        };
        Chains { heads: SlotTable::default(), links: Links::new(are_weighted), hashes }
    }

    /// Whether equal hashes mean equal keys.
    pub(super) fn are_exact(&self) -> bool {
        !matches!(self.hashes, Hashes::Kept(_))
    }

    /// The hash of the key of a row, which is in the store.
    pub(super) fn hash(&self, rows: &RowStore, row: u32) -> u64 {
        match &self.hashes {
            Hashes::Zero => 0,
            Hashes::Word(column) => rows.hash(*column, row),
            Hashes::Kept(hashes) => hashes[row as usize],
        }
    }

    /// The newest row with a key of this hash; `NONE` if there is none.
    pub(super) fn head(&self, hash: u64) -> u32 {
        self.heads.find(spread(hash), |_| true).unwrap_or(NONE)
    }

    /// The heads of many. Apart from the walk along the chains, so that the misses of many lookups overlap; nothing at all if there are no rows.
    pub(super) fn heads(&self, hashes: &[u64]) -> Vec<u32> {
        if self.heads.is_empty() {
            return Vec::new();
        }
        let mut heads = Vec::with_capacity(hashes.len());
        for block in hashes.chunks(BLOCK_ROWS) {
            self.bring_near(block);
            heads.extend(block.iter().map(|hash| self.head(*hash)));
        }
        heads
    }

    /// Looks for these hashes, so that their entries are near when they are needed.
    pub(super) fn bring_near(&self, hashes: &[u64]) {
        let mut spreads = [0; BLOCK_ROWS];
        let spreads = &mut spreads[..hashes.len()];
        spreads.iter_mut().zip(hashes).for_each(|(to, hash)| *to = spread(*hash));
        self.heads.touch(spreads);
    }

    /// The next older row of a row's chain.
    pub(super) fn next(&self, row: u32) -> u32 {
        self.links.next(row)
    }

    /// Puts the next row before `head`, which is that of its chain. Weight and tag are of no meaning where rows only come.
    pub(super) fn link(&mut self, hash: u64, head: u32, weight: i64, tag: u8) {
        let row = self.links.len() as u32;
        if head == NONE {
            self.heads.insert(spread(hash), row);
        } else {
            self.heads.replace(spread(hash), head, row);
        }
        self.push(hash, head, weight, tag);
    }

    /// Takes in the next row without a chain: it is dead.
    pub(super) fn leave_out(&mut self, hash: u64, tag: u8) {
        self.push(hash, NONE, 0, tag);
    }

    fn push(&mut self, hash: u64, next: u32, weight: i64, tag: u8) {
        if let Hashes::Kept(hashes) = &mut self.hashes {
            hashes.push(hash);
        }
        self.links.push(next, weight, tag);
    }

    /// Takes a dead row out of the chain of a hash, in which `previous` is the row before. Its own link stays: a probe that started from it still finds
    /// its way.
    pub(super) fn unlink(&mut self, hash: u64, previous: u32, dead: u32) {
        let next = self.next(dead);
        if previous != NONE {
            self.links.set_next(previous, next);
        } else if self.head(hash) == dead {
            if next == NONE {
                self.heads.remove(spread(hash), dead);
            } else {
                self.heads.replace(spread(hash), dead, next);
            }
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let kept = if let Hashes::Kept(hashes) = &self.hashes { hashes.capacity() } else { 0 };
        self.heads.bytes() + self.links.bytes() + kept * size_of::<u64>()
    }
}

/// Types whose values are at most one word, each with bits of its own.
fn is_word(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(_, _)
            | DataType::Duration(_)
    )
}
