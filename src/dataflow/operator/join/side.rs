//! The rows of one side of a join, and the way from a key to them: a [chain](Chains) per hash.
//!
//! Where different keys may share a hash, `Join` compares the keys of the pairs, a batch at a time.
//!
//! A side that can lose rows also has weights beside its links, and a [ledger](Ledger) of what a checkpoint knows. A row of weight 0 is dead: the next walk that meets it
//! takes it out of its chain, and compaction frees it when more than half of all rows are dead. A change of a row that is there is told from a new row
//! by walking along its chain; of a key with many rows those are entered by the hash of the whole row.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};

use super::chains::{BLOCK_ROWS, Chains, Heads, NONE};
use super::expiry::Expiry;
use super::ledger::Ledger;
use super::links::tag;
use crate::dataflow::operator::StateSize;
use crate::dataflow::operator::rows::{PART_BYTES, PART_ROWS, RowStore};
use crate::error::{Error, Result};
use crate::types::{Changes, hash_rows, rows_equal};

/// Pairs and bytes found per call. Bounds the memory of a batch of output, however many rows share a key and however long they are.
pub(super) const PAIRS_MAX: usize = PART_ROWS;
const PAIR_BYTES_MAX: usize = PART_BYTES;

/// Rows of a chain that are looked at ahead. Longer chains are rare, or so long that what they give is more work than finding it.
const LINKS_AHEAD: usize = 4;

/// Keys with more rows than this have them entered by the hash of the whole row. Fewer are walked along, of which the first [`LINKS_AHEAD`] are near.
/// (In tests fewer, so that those see many.)
const CROWD: usize = if cfg!(test) { 3 } else { 16 };

/// Dead rows below this number are not worth a compaction. (In tests they are, so that those see many.)
const DEAD_MIN: usize = if cfg!(test) { 16 } else { 4_096 };

/// Rows of one input, indexed by key.
pub(super) struct Side {
    pub(super) schema: SchemaRef,
    pub(super) keys: Vec<usize>,
    null_equals_null: bool,
    pub(super) rows: RowStore,
    pub(super) chains: Chains,
    /// `None`: rows only ever arrive, each stands for itself.
    pub(super) ledger: Option<Ledger>,
    /// Without a ledger: the first row that no checkpoint has seen yet.
    pub(super) unsaved: usize,
    /// Without a ledger: the number under which the next row is saved.
    pub(super) sequence: u64,
    /// Without a ledger, where partners are counted: under which number each row was saved.
    pub(super) numbers: Vec<u64>,
    /// Those of them whose partners the last checkpoint does not know.
    pub(super) recounted: HashSet<u32>,
    /// When rows go by their times.
    pub(super) expiry: Option<Expiry>,
}

/// Rows that arrived: none with a NULL key that matches nothing, none of weight 0; without weights if the side has no ledger.
pub(super) struct Arrived {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) weights: Option<Int64Array>,
    /// Of the keys.
    pub(super) hashes: Vec<u64>,
}

/// Numbers of rows that belong together, pair by pair.
pub(super) struct Pairs {
    /// Rows of the batch that arrived, ascending.
    pub(super) arrived: Vec<u32>,
    /// Rows of the side.
    pub(super) held: Vec<u32>,
    /// Of those rows.
    pub(super) held_weights: Vec<i64>,
    /// Bytes of all of them, about.
    bytes: usize,
    /// Bytes of each row of the batch that arrived, about.
    arrived_bytes: Vec<usize>,
}

/// A batch that is being entered, row by row.
struct Entering<'a> {
    arrived: &'a Arrived,
    /// Of whole rows.
    row_hashes: Vec<u64>,
    /// The number of its first new row.
    base: u32,
    /// Its rows that are new.
    fresh: Vec<u32>,
}

/// How far a batch has been probed.
pub(super) struct Cursor {
    row: usize,
    /// The next row of its chain to look at.
    at: u32,
    /// The last row of the chain that was alive.
    previous: u32,
    /// Rows before this one have been looked up ahead.
    seen: usize,
}

impl Arrived {
    /// The weight of one row.
    pub(super) fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights.value(row))
    }

    /// Bytes of each row, about.
    fn row_bytes(&self) -> Vec<usize> {
        let mut bytes = vec![0; self.hashes.len()];
        for column in &self.columns {
            let mut add = |length: &dyn Fn(usize) -> usize| bytes.iter_mut().enumerate().for_each(|(row, bytes)| *bytes += length(row));
            match column.data_type() {
                DataType::Utf8 => add(&|row| column.as_string::<i32>().value_length(row) as usize),
                DataType::Binary => add(&|row| column.as_binary::<i32>().value_length(row) as usize),
                _ => {
                    let average = column.to_data().get_slice_memory_size().unwrap_or_default() / column.len().max(1);
                    add(&|_| average);
                }
            }
        }
        bytes
    }

    /// Some of the rows.
    pub(super) fn take(&self, rows: &UInt32Array) -> Result<Arrived> {
        let chosen = || rows.values().iter().map(|row| *row as usize);
        Ok(Arrived {
            columns: self.columns.iter().map(|column| take(column, rows, None)).collect::<Result<_, _>>()?,
            weights: self.weights.as_ref().map(|weights| chosen().map(|row| weights.value(row)).collect()),
            hashes: chosen().map(|row| self.hashes[row]).collect(),
        })
    }
}

impl Cursor {
    pub(super) fn new(heads: &[u32]) -> Self {
        Cursor { row: 0, at: heads.first().copied().unwrap_or(NONE), previous: NONE, seen: 0 }
    }
}

impl Side {
    /// No rows yet. `heads`: of both sides, of which this is the left (0) or the right one.
    pub(super) fn new(
        heads: Heads,
        side: usize,
        schema: SchemaRef,
        keys: Vec<usize>,
        null_equals_null: bool,
        append_only: bool,
    ) -> Result<Self> {
        let chains = Chains::new(heads, side, &schema, &keys, null_equals_null, !append_only);
        Side::empty(chains, schema, keys, null_equals_null, append_only)
    }

    fn empty(chains: Chains, schema: SchemaRef, keys: Vec<usize>, null_equals_null: bool, append_only: bool) -> Result<Self> {
        let rows = RowStore::new(&schema)?;
        Ok(Side {
            schema,
            keys,
            null_equals_null,
            rows,
            chains,
            ledger: (!append_only).then(Ledger::default),
            unsaved: 0,
            sequence: 0,
            numbers: Vec::new(),
            recounted: HashSet::new(),
            expiry: None,
        })
    }

    /// Prepares what arrived on this side; `None` if nothing of it can match anything.
    pub(super) fn admit(&self, changes: Changes) -> Result<Option<Arrived>> {
        let matchable = self.matchable(&changes);
        let counted = changes.weights().is_some_and(|weights| self.ledger.is_none() || weights.values().contains(&0));
        let changes = if matchable.is_some() || counted { self.select(&changes, matchable.as_ref())? } else { changes };
        let count = changes.len();
        let (rows, weights) = changes.into_parts();
        let columns = rows.columns().to_vec();
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| ArrayRef::clone(&columns[*key])).collect();
        let hashes = hash_rows(&keys, count);
        Ok((count > 0).then_some(Arrived { columns, weights, hashes }))
    }

    /// The rows without a NULL in their key, if any has one and NULLs match nothing.
    fn matchable(&self, changes: &Changes) -> Option<NullBuffer> {
        if self.null_equals_null {
            return None;
        }
        let nulls = self.keys.iter().map(|key| changes.column(*key).logical_nulls());
        nulls.fold(None, |all, column| NullBuffer::union(all.as_ref(), column.as_ref())).filter(|nulls| nulls.null_count() > 0)
    }

    /// The rows with a NULL in their key, if that means that they match nothing.
    pub(super) fn unmatchable(&self, changes: &Changes) -> Option<Changes> {
        let matchable = self.matchable(changes)?;
        let mask: BooleanArray = (0..changes.len()).map(|row| Some(matchable.is_null(row) && changes.weight(row) != 0)).collect();
        Some(changes.filter(&mask)).filter(|unmatchable| !unmatchable.is_empty())
    }

    /// The weight of a row; 0 if it is dead.
    pub(super) fn weight(&self, row: u32) -> i64 {
        match &self.expiry {
            Some(expiry) if self.ledger.is_none() => i64::from(!expiry.is_gone(row)),
            _ => self.chains.links.weight(row),
        }
    }

    /// The hash of a row's key.
    pub(super) fn key_hash(&self, row: u32) -> u64 {
        self.chains.hash(&self.rows, row)
    }

    /// Rows that are held, as if they arrived (again).
    pub(super) fn again(&self, rows: &[u32], weights: Option<Int64Array>) -> Result<Arrived> {
        let hashes = rows.iter().map(|row| self.key_hash(*row)).collect();
        Ok(Arrived { columns: self.rows.gather_all(rows)?, weights, hashes })
    }

    /// Drops rows that match nothing; without a ledger a row of weight `n` becomes `n` rows.
    fn select(&self, changes: &Changes, matchable: Option<&NullBuffer>) -> Result<Changes> {
        let mut chosen = Vec::with_capacity(changes.len());
        for row in 0..changes.len() {
            let weight = changes.weight(row);
            if weight == 0 || matchable.is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let copies = match (&self.ledger, u32::try_from(weight)) {
                (Some(_), _) => 1,
                (None, Ok(copies)) => copies,
                (None, Err(_)) => return Err(Error::internal("an append-only input of a join retracts a row")),
            };
            chosen.extend(std::iter::repeat_n(row as u32, copies as usize));
        }
        let taken = changes.take(&UInt32Array::from(chosen));
        Ok(if self.ledger.is_none() { Changes::insertions(taken.into_parts().0) } else { taken })
    }

    /// Per hash the newest row that has it.
    pub(super) fn heads(&self, hashes: &[u64]) -> Vec<u32> {
        self.chains.heads(hashes)
    }

    /// Looks at the first rows of chains, all chains at a time.
    fn look_ahead(&self, heads: &[u32]) {
        let mut next = [NONE; BLOCK_ROWS];
        let next = &mut next[..heads.len()];
        next.copy_from_slice(heads);
        let mut seen = 0_i64;
        for _ in 0..LINKS_AHEAD {
            for at in next.iter_mut().filter(|at| **at != NONE) {
                seen = seen.wrapping_add(self.weight(*at));
                *at = self.chains.next(*at);
            }
        }
        std::hint::black_box((seen, next));
    }

    /// Fills `pairs` from where the cursor is, up to the limit; false when all is done.
    pub(super) fn next_pairs(&mut self, hashes: &[u64], heads: &[u32], cursor: &mut Cursor, pairs: &mut Pairs) -> bool {
        while cursor.row < heads.len() {
            if cursor.row >= cursor.seen {
                let block = &heads[cursor.row..heads.len().min(cursor.row + BLOCK_ROWS)];
                self.look_ahead(block);
                cursor.seen = cursor.row + block.len();
            }
            while cursor.at != NONE {
                if pairs.are_enough() {
                    return true;
                }
                let at = cursor.at;
                cursor.at = self.chains.next(at);
                match self.weight(at) {
                    0 => self.chains.unlink(hashes[cursor.row], cursor.previous, at),
                    weight => {
                        pairs.push(cursor.row, (at, weight), self.rows.row_bytes(at));
                        cursor.previous = at;
                    }
                }
            }
            cursor.row += 1;
            cursor.at = heads.get(cursor.row).copied().unwrap_or(NONE);
            cursor.previous = NONE;
        }
        false
    }

    /// Adds what arrived. `numbers` gets the number of each row, if anybody wants to know.
    pub(super) fn insert(&mut self, arrived: &Arrived, numbers: Option<&mut Vec<u32>>) -> Result<()> {
        let before = self.rows.len() as u32;
        self.insert_rows(arrived, numbers)?;
        self.watch(before)
    }

    fn insert_rows(&mut self, arrived: &Arrived, numbers: Option<&mut Vec<u32>>) -> Result<()> {
        let count = arrived.hashes.len();
        if self.ledger.is_some() {
            return self.insert_weighted(arrived, numbers);
        }
        let base = self.rows.next_number(count)?;
        if let Some(numbers) = numbers {
            numbers.extend(base..base + count as u32);
        }
        let all: Vec<u32> = (0..count as u32).collect();
        self.rows.append(&arrived.columns, &all)?;
        for block in arrived.hashes.chunks(BLOCK_ROWS) {
            self.chains.bring_near(block);
            block.iter().for_each(|hash| self.chains.link(*hash, 1, 0));
        }
        Ok(())
    }

    fn insert_weighted(&mut self, arrived: &Arrived, mut numbers: Option<&mut Vec<u32>>) -> Result<()> {
        let count = arrived.hashes.len();
        let row_hashes = hash_rows(&arrived.columns, count);
        let mut batch = Entering { arrived, row_hashes, base: self.rows.next_number(count)?, fresh: Vec::new() };
        for row in 0..count {
            if row % BLOCK_ROWS == 0 {
                let heads = self.heads(&arrived.hashes[row..count.min(row + BLOCK_ROWS)]);
                self.look_ahead(&heads);
            }
            let (hash, row_hash, weight) = (arrived.hashes[row], batch.row_hashes[row], arrived.weight(row));
            let known = self.known(&batch, row)?;
            let number = known.unwrap_or(batch.base + batch.fresh.len() as u32);
            if known.is_some() {
                self.weigh(number, self.weight(number) + weight, row_hash);
            } else {
                self.ledger.iter_mut().for_each(|ledger| ledger.push(number, row_hash, hash));
                batch.fresh.push(row as u32);
                self.chains.link(hash, weight, tag(row_hash));
            }
            if let Some(numbers) = &mut numbers {
                numbers.push(number);
            }
        }
        self.rows.append(&arrived.columns, &batch.fresh)
    }

    /// Gives a row that is alive another weight; of 0 it dies.
    pub(super) fn weigh(&mut self, row: u32, weight: i64, row_hash: u64) {
        let Some(ledger) = &mut self.ledger else { return };
        self.chains.links.set_weight(row, weight);
        if weight == 0 {
            ledger.buried(row_hash, row);
        }
        ledger.touch(row);
    }

    /// The number of a row of the batch, if the same row is held.
    fn known(&mut self, batch: &Entering<'_>, row: usize) -> Result<Option<u32>> {
        let (hash, row_hash) = (batch.arrived.hashes[row], batch.row_hashes[row]);
        let Some(ledger) = &self.ledger else { return Ok(None) };
        if ledger.is_crowd(hash) {
            return Ok(ledger.find(row_hash, |held| self.weight(held) != 0 && batch.same(&self.rows, held, row)));
        }
        let (mut at, mut previous, mut passed) = (self.chains.head(hash), NONE, 0);
        while at != NONE {
            let next = self.chains.next(at);
            if self.chains.links.weight(at) == 0 {
                self.chains.unlink(hash, previous, at);
            } else if self.chains.links.tag(at) == tag(row_hash) && batch.same(&self.rows, at, row) {
                break;
            } else {
                (previous, passed) = (at, passed + 1);
            }
            at = next;
        }
        if passed > CROWD {
            self.crowd(batch, hash)?;
        }
        Ok((at != NONE).then_some(at))
    }

    /// Enters all rows of a key in the ledger by their own hashes.
    fn crowd(&mut self, batch: &Entering<'_>, hash: u64) -> Result<()> {
        let row = |at: u32| (at != NONE).then_some(at);
        let chain = std::iter::successors(row(self.chains.head(hash)), |at| row(self.chains.next(*at)));
        let (fresh, held): (Vec<u32>, Vec<u32>) = chain.filter(|at| self.weight(*at) != 0).partition(|at| *at >= batch.base);
        let mut entries: Vec<(u32, u64)> =
            fresh.iter().map(|at| (*at, batch.row_hashes[batch.fresh[(at - batch.base) as usize] as usize])).collect();
        for part in self.rows.parts(&held, |row| *row) {
            entries.extend(part.iter().copied().zip(hash_rows(&self.rows.gather_all(part)?, part.len())));
        }
        self.ledger.iter_mut().for_each(|ledger| ledger.crowd(hash, &entries));
        Ok(())
    }

    /// What a checkpoint stores of a row has changed, beside its weight.
    pub(super) fn touch(&mut self, row: u32) {
        match &mut self.ledger {
            Some(ledger) => ledger.touch(row),
            None if (row as usize) < self.unsaved => drop(self.recounted.insert(row)),
            None => {}
        }
    }

    /// Frees dead rows if they are the most. Dead rows that the next checkpoint must delete stay until then.
    /// If rows got other numbers: their old ones, in the new order.
    pub(super) fn compact(&mut self) -> Result<Option<Vec<u32>>> {
        let free = match (&self.ledger, &self.expiry) {
            (Some(ledger), _) => ledger.free(),
            (None, Some(expiry)) => expiry.gone(),
            (None, None) => 0,
        };
        if free < DEAD_MIN || free * 2 <= self.rows.len() {
            return Ok(None);
        }
        // Of a dead row the next checkpoint must tell if the last one has it.
        let needed = |row: &u32| self.weight(*row) != 0 || self.ledger.as_ref().is_some_and(|ledger| ledger.is_saved(*row));
        let kept: Vec<u32> = (0..self.rows.len() as u32).filter(needed).collect();
        let (chains, schema, keys) = (self.chains.emptied(), SchemaRef::clone(&self.schema), self.keys.clone());
        let mut compacted = Side::empty(chains, schema, keys, self.null_equals_null, self.ledger.is_none())?;
        for part in self.rows.parts(&kept, |row| *row) {
            let all: Vec<u32> = (0..part.len() as u32).collect();
            let columns = self.rows.gather_all(part)?;
            compacted.rows.append(&columns, &all)?;
            for row in part {
                let hash = self.key_hash(*row);
                let (weight, tag) = (self.weight(*row), self.chains.links.tag(*row));
                if let (Some(ledger), Some(copy)) = (&self.ledger, &mut compacted.ledger) {
                    copy.copy(ledger, *row, weight != 0);
                }
                if weight == 0 {
                    compacted.chains.leave_out(hash, tag);
                } else {
                    compacted.chains.link(hash, weight, tag);
                }
            }
        }
        compacted.keep_numbers(self, &kept);
        compacted.expiry = self.expiry.take().map(Expiry::emptied);
        *self = compacted;
        self.watch(0)?;
        Ok(Some(kept))
    }

    /// Without a ledger: what is saved of the rows that were kept of another side.
    fn keep_numbers(&mut self, from: &Side, kept: &[u32]) {
        self.unsaved = kept.partition_point(|row| (*row as usize) < from.unsaved);
        self.sequence = from.sequence;
        if !from.numbers.is_empty() {
            self.numbers = kept[..self.unsaved].iter().map(|row| from.numbers[*row as usize]).collect();
        }
        let recounted = (0..self.unsaved as u32).filter(|row| from.recounted.contains(&kept[*row as usize]));
        self.recounted = recounted.collect();
    }

    pub(super) fn size(&self) -> StateSize {
        let gone = self.expiry.as_ref().map_or(0, Expiry::gone);
        let dead = self.ledger.as_ref().map_or(gone, Ledger::dead);
        let ledger = self.ledger.as_ref().map_or(0, Ledger::bytes);
        let expiry = self.expiry.as_ref().map_or(0, Expiry::bytes);
        let numbers = self.numbers.capacity() * size_of::<u64>();
        StateSize { rows: self.rows.len() - dead, bytes: self.rows.bytes() + self.chains.bytes() + ledger + expiry + numbers }
    }
}

impl Entering<'_> {
    /// Whether a row of the side, or one of the batch that is new, is the same as a row of the batch.
    fn same(&self, rows: &RowStore, held: u32, row: usize) -> bool {
        let columns = &self.arrived.columns;
        match held.checked_sub(self.base) {
            None => rows.equal(held, columns, row),
            Some(new) => rows_equal(columns, self.fresh[new as usize] as usize, columns, row),
        }
    }
}

impl Pairs {
    /// For rows that arrived. No pairs yet.
    pub(super) fn new(arrived: &Arrived) -> Self {
        Pairs { arrived: Vec::new(), held: Vec::new(), held_weights: Vec::new(), bytes: 0, arrived_bytes: arrived.row_bytes() }
    }

    pub(super) fn clear(&mut self) {
        self.arrived.clear();
        self.held.clear();
        self.held_weights.clear();
        self.bytes = 0;
    }

    fn push(&mut self, arrived: usize, (held, weight): (u32, i64), held_bytes: usize) {
        self.arrived.push(arrived as u32);
        self.held.push(held);
        self.held_weights.push(weight);
        self.bytes += self.arrived_bytes[arrived] + held_bytes;
    }

    fn are_enough(&self) -> bool {
        self.held.len() == PAIRS_MAX || self.bytes >= PAIR_BYTES_MAX
    }
}
