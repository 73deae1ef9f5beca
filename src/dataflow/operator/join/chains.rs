//! The way from a key to the rows that have it.
//!
//! ```text
//! heads: the key's hash → newest left and right row      links: per row the next older one
//!        ┌───┬───┐                                              ┌───┐   ┌───┐   ┌───┐
//!        │ 7 │ 2 │ ───────────────────────────────────── left ▶ │ 7 │ ─▶│ 4 │ ─▶│ 0 │
//!        └───┴───┘                                              └───┘   └───┘   └───┘
//! ```
//!
//! A chain holds all rows of one *hash*: keys are never compared here. Which hash a row has is read from its key where that is one word, of which
//! the hash is a bijection; of other keys it is kept beside the links. The heads of both sides lie in one place: a row that arrives looks for rows of the
//! other side, and is then entered among those of its own.

use std::cell::RefCell;
use std::rc::Rc;

use arrow::datatypes::{DataType, Schema};

use super::links::Links;
use crate::dataflow::operator::rows::RowStore;
use crate::dataflow::operator::slot_table::{PairTable, spread};

/// No row: the end of a chain.
pub(super) const NONE: u32 = u32::MAX;

/// Rows whose cache misses overlap: as many as a core has loads in flight, a few times over.
pub(super) const BLOCK_ROWS: usize = 32;

/// By the hash of a key, spread, the newest rows of both sides.
pub(super) type Heads = Rc<RefCell<PairTable>>;

/// Rows of one side by the hashes of their keys.
pub(super) struct Chains {
    heads: Heads,
    /// Which of the heads are its own.
    side: usize,
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
    /// No rows yet. `heads`: of both sides, of which this is `side`; `are_weighted`: rows may go again.
    pub(super) fn new(heads: Heads, side: usize, schema: &Schema, keys: &[usize], null_equals_null: bool, are_weighted: bool) -> Self {
        let hashes = match keys {
            [] => Hashes::Zero,
            [key] if !null_equals_null && is_word(schema.field(*key).data_type()) => Hashes::Word(*key),
            _ => Hashes::Kept(Vec::new()),
        };
        Chains { heads, side, links: Links::new(are_weighted), hashes }
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

    /// The same side without rows, whose heads are gone.
    pub(super) fn emptied(&self) -> Self {
        let hashes = match &self.hashes {
            Hashes::Zero => Hashes::Zero,
            Hashes::Word(column) => Hashes::Word(*column),
            Hashes::Kept(_) => Hashes::Kept(Vec::new()),
        };
        let side = self.side;
        self.heads.borrow_mut().change_all(|mut heads| {
            heads[side] = NONE;
            heads
        });
        Chains { heads: Rc::clone(&self.heads), side, links: self.links.emptied(), hashes }
    }

    /// The newest row with a key of this hash; `NONE` if there is none.
    pub(super) fn head(&self, hash: u64) -> u32 {
        self.heads.borrow().find(spread(hash), |_| true).map_or(NONE, |heads| heads[self.side])
    }

    /// The heads of many. Apart from the walk along the chains, so that the misses of many lookups overlap; nothing at all if there are no rows.
    pub(super) fn heads(&self, hashes: &[u64]) -> Vec<u32> {
        if self.links.len() == 0 {
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
        self.heads.borrow().touch(spreads);
    }

    /// The next older row of a row's chain.
    pub(super) fn next(&self, row: u32) -> u32 {
        self.links.next(row)
    }

    /// Puts the next row at the head of its chain. Weight and tag are of no meaning where rows only come.
    pub(super) fn link(&mut self, hash: u64, weight: i64, tag: u8) {
        let row = self.links.len() as u32;
        let mut heads = self.heads.borrow_mut();
        let next = match heads.find_mut(spread(hash)) {
            Some(heads) => std::mem::replace(&mut heads[self.side], row),
            None => {
                let mut new = [NONE; 2];
                new[self.side] = row;
                heads.insert(spread(hash), new);
                NONE
            }
        };
        drop(heads);
        self.push(hash, next, weight, tag);
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
            return;
        }
        let mut heads = self.heads.borrow_mut();
        let Some(found) = heads.find_mut(spread(hash)).filter(|heads| heads[self.side] == dead) else { return };
        if next != NONE || found[1 - self.side] != NONE {
            found[self.side] = next;
        } else {
            let last = *found;
            heads.remove(spread(hash), last);
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let kept = if let Hashes::Kept(hashes) = &self.hashes { hashes.capacity() } else { 0 };
        // A half of what both sides share.
        self.heads.borrow().bytes() / 2 + self.links.bytes() + kept * size_of::<u64>()
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
