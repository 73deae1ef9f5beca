//! Which rows of a relation are stored, in which blocks: so that a checkpoint writes only what is new.
//!
//! A block holds the rows of one page from one place to another, whatever became of them, and beside it, a bit per row that is not there. Rows
//! never move within a page, so a block once written stays; when rows die only its bits are written anew.
//!
//! ```text
//!  page in memory   │ ............... 40,000 rows ............... │ 900 new │
//!  stored           │ block, 32,768 rows     │ block, 7,232 rows │ next    │
//! ```
//!
//! A new block swallows those before it that are at most twice as large: so a row is written O(log n) times, and a page of a table
//! that gets a row per checkpoint has a handful of blocks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{ArrayRef, BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;

use super::keyspace::BlockId;
use super::pages::Pages;
use super::relation::Relation;
use super::segment::{Begin, Segment};
use super::shard::chosen;
use super::snapshot::batch_of;
use super::store::Store;
use crate::error::{Error, Result};
use crate::types::{Changes, Epoch, ObjectId, hash_rows, worker_of};

/// Blocks are not joined beyond this: a value of the store should stay easy to hold in memory.
const JOINED_BYTES_MAX: usize = 64 << 20;

/// What must be written so that the stored relation equals the one in memory: what is `gone` goes before what is new.
#[derive(Debug, Default)]
pub struct RelationDelta {
    /// Everything stored of the relation goes first: it was stored from another number of shards.
    pub(super) clear: bool,
    /// The number of shards, if it is not stored yet.
    pub(super) shards: Option<u16>,
    /// Blocks that go, with their bits.
    pub(super) gone: Vec<BlockId>,
    /// New blocks: their rows, in parts.
    pub(super) rows: Vec<(BlockId, Vec<RecordBatch>)>,
    /// Blocks with other bits than before; `None`: all their rows are there.
    pub(super) dead: Vec<(BlockId, Option<Vec<u8>>)>,
}

impl RelationDelta {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        !self.clear && self.shards.is_none() && self.gone.is_empty() && self.rows.is_empty() && self.dead.is_empty()
    }
}

/// What is stored of a relation, or will be once the last delta is written.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Per shard, per page, in the order of their rows.
    pages: Vec<Vec<Vec<Block>>>,
    /// Blocks of pages that were removed since the last delta.
    gone: Vec<BlockId>,
    /// What is stored is of no use: everything is to be written anew.
    clear: bool,
    /// The number of shards is stored.
    shards_stored: bool,
}

#[derive(Debug)]
struct Block {
    start: usize,
    rows: usize,
    bytes: usize,
    dead: Option<Vec<u8>>,
}

impl Blocks {
    /// Nothing is stored.
    pub(super) fn new(shards: usize) -> Self {
        Blocks { pages: (0..shards).map(|_| Vec::new()).collect(), gone: Vec::new(), clear: false, shards_stored: false }
    }

    /// Nothing of what is stored is of use.
    pub(super) fn anew(shards: usize) -> Self {
        Blocks { clear: true, ..Blocks::new(shards) }
    }

    /// A page was removed from memory.
    pub(super) fn page_removed(&mut self, shard: usize, page: usize) {
        if let Some(blocks) = self.pages[shard].get_mut(page) {
            self.gone.extend(blocks.drain(..).map(|block| block_id(shard, page, block.start)));
        }
    }

    /// Bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.pages.iter().flatten().flatten().map(|block| size_of::<Block>() + block.dead.as_ref().map_or(0, Vec::len)).sum()
    }

    fn page(&mut self, shard: usize, page: usize) -> &mut Vec<Block> {
        let pages = &mut self.pages[shard];
        if pages.len() <= page {
            pages.resize_with(page + 1, Vec::new);
        }
        &mut pages[page]
    }

    /// Adds to `delta` what is new in one page at `epoch`.
    fn page_delta(
        &mut self,
        shard: usize,
        page: usize,
        segments: &[Arc<Segment>],
        epoch: Epoch,
        schema: &SchemaRef,
        delta: &mut RelationDelta,
    ) {
        let blocks = self.page(shard, page);
        let rows: usize = segments.iter().map(|segment| segment.rows()).sum();
        let stored = blocks.last().map_or(0, |last| last.start + last.rows);
        if stored < rows {
            let mut new = Block { start: stored, rows: rows - stored, bytes: bytes_between(segments, stored, rows), dead: None };
            while let Some(before) = blocks.pop_if(|before| before.rows <= 2 * new.rows && before.bytes + new.bytes <= JOINED_BYTES_MAX) {
                delta.gone.push(block_id(shard, page, before.start));
                new = Block { start: before.start, rows: before.rows + new.rows, bytes: before.bytes + new.bytes, dead: None };
            }
            delta.rows.push((block_id(shard, page, new.start), slices(segments, new.start, rows, schema)));
            blocks.push(new);
        }
        let all_there = segments.iter().all(|segment| segment.all_visible(epoch));
        let visible = (!all_there).then(|| visible(segments, epoch));
        for block in blocks {
            let dead = visible.as_ref().and_then(|visible| dead_bits(visible, block.start, block.rows));
            if dead != block.dead {
                block.dead.clone_from(&dead);
                delta.dead.push((block_id(shard, page, block.start), dead));
            }
        }
    }
}

impl Relation {
    /// What must be written so that the stored relation equals this one at `epoch`. All epochs up to it have been applied; later ones may have
    /// been too, and are not included. The caller holds a lease on `epoch` from before it was complete, so that no compaction has passed it, and
    /// writes what it gets before it asks again. Called by one thread at a time.
    pub fn delta(&self, epoch: Epoch) -> RelationDelta {
        let mut blocks = self.blocks.lock();
        let mut delta = RelationDelta {
            clear: std::mem::take(&mut blocks.clear),
            shards: (!std::mem::replace(&mut blocks.shards_stored, true)).then(|| u16::try_from(self.shards.len()).unwrap_or(u16::MAX)),
            gone: std::mem::take(&mut blocks.gone),
            ..RelationDelta::default()
        };
        for (number, shard) in self.shards.iter().enumerate() {
            // Only pointers are taken under the lock; ends written meanwhile belong to later epochs.
            let pages: Vec<(usize, Vec<Arc<Segment>>)> =
                shard.read().pages().iter().map(|(slot, page)| (slot, page.segments().cloned().collect())).collect();
            for (slot, segments) in pages {
                blocks.page_delta(number, slot, &segments, epoch, self.schema(), &mut delta);
            }
        }
        delta
    }

    /// Rebuilds a relation from what its deltas stored, as of the checkpoint's `epoch`: all rows begin there. If `shards` differs from when it was
    /// stored, rows go to the shard `worker_of` the hash of the columns `spread_by` (`None`: of the key, or of the whole row without one), and the next delta writes
    /// everything anew. An object of which nothing is stored gives an empty relation.
    #[expect(clippy::too_many_arguments, reason = "they are what a relation is made of, and where it is stored")]
    pub fn load(
        store: &Store,
        object: ObjectId,
        schema: SchemaRef,
        key: Option<Vec<usize>>,
        append_only: bool,
        shards: usize,
        epoch: Epoch,
        spread_by: Option<&[usize]>,
    ) -> Result<Relation> {
        let relation = Relation::new(schema, key, append_only, shards);
        match store.stored_shards(object)? {
            None => {}
            Some(stored) if stored == shards => relation.load_pages(store, object, epoch)?,
            Some(_) => relation.load_spread(store, object, epoch, spread_by)?,
        }
        Ok(relation)
    }

    /// Rows go where they were, so that nothing needs to be stored again.
    fn load_pages(&self, store: &Store, object: ObjectId, epoch: Epoch) -> Result<()> {
        let mut shards: Vec<Vec<Option<Vec<Segment>>>> = self.shards.iter().map(|_| Vec::new()).collect();
        let mut blocks = self.blocks.lock();
        blocks.shards_stored = true;
        for entry in store.stored_blocks(object) {
            let (id, rows, dead) = entry?;
            self.check(rows.columns())?;
            let (shard, page) = (usize::from(id.shard), usize::from(id.page));
            let slots = shards.get_mut(shard).ok_or_else(|| Error::external("stored rows are damaged", "a shard too many"))?;
            if slots.len() <= page {
                slots.resize_with(page + 1, || None);
            }
            let stored = blocks.page(shard, page);
            if usize::from(id.start) != stored.last().map_or(0, |last| last.start + last.rows) {
                return Err(Error::external("stored rows are damaged", "a block is missing"));
            }
            let segment = Segment::new(rows.columns().to_vec(), rows.num_rows(), Begin::Uniform(epoch));
            if let Some(dead) = &dead {
                segment.set_ends((0..segment.rows()).map(|row| AtomicU64::new(if bit(dead, row) { epoch } else { Epoch::MAX })).collect());
            }
            stored.push(Block { start: usize::from(id.start), rows: segment.rows(), bytes: segment.value_bytes(), dead });
            slots[page].get_or_insert_default().push(segment);
        }
        for (shard, slots) in self.shards.iter().zip(shards) {
            shard.write().restore(Pages::restored(slots)?, epoch);
        }
        Ok(())
    }

    /// Rows go to other shards than they were in.
    fn load_spread(&self, store: &Store, object: ObjectId, epoch: Epoch, spread_by: Option<&[usize]>) -> Result<()> {
        self.blocks.lock().clear = true;
        let spread_by = spread_by.unwrap_or(self.index_columns());
        for entry in store.stored_blocks(object) {
            let (_, rows, dead) = entry?;
            let hashes = hash_rows(&chosen(rows.columns(), spread_by), rows.num_rows());
            let mut per_shard: Vec<Vec<u32>> = self.shards.iter().map(|_| Vec::new()).collect();
            for (row, hash) in hashes.into_iter().enumerate() {
                if !dead.as_ref().is_some_and(|dead| bit(dead, row)) {
                    per_shard[worker_of(hash, self.shards.len())].push(row as u32);
                }
            }
            let rows = Changes::insertions(rows);
            for (shard, picks) in per_shard.into_iter().enumerate() {
                self.apply(shard, epoch, &rows.take(&UInt32Array::from(picks)))?;
            }
        }
        Ok(())
    }
}

fn block_id(shard: usize, page: usize, start: usize) -> BlockId {
    let narrow = |number: usize| u16::try_from(number).expect("shards, pages and places in a page are below 65,536");
    BlockId { shard: narrow(shard), page: narrow(page), start: narrow(start) }
}

/// The page's rows from `start` to `end`, without copying.
fn slices(segments: &[Arc<Segment>], start: usize, end: usize, schema: &SchemaRef) -> Vec<RecordBatch> {
    overlaps(segments, start, end)
        .map(|(segment, from, rows)| {
            let columns: Vec<ArrayRef> = segment.columns().iter().map(|column| column.slice(from, rows)).collect();
            batch_of(schema, columns, rows)
        })
        .collect()
}

/// About how many bytes the page's rows from `start` to `end` take.
fn bytes_between(segments: &[Arc<Segment>], start: usize, end: usize) -> usize {
    overlaps(segments, start, end).map(|(segment, _, rows)| segment.value_bytes() * rows / segment.rows().max(1)).sum()
}

/// Of each segment that has rows between `start` and `end` of the page: the first of them and how many.
fn overlaps(segments: &[Arc<Segment>], start: usize, end: usize) -> impl Iterator<Item = (&Arc<Segment>, usize, usize)> {
    segments
        .iter()
        .scan(0, |next, segment| {
            let first = *next;
            *next += segment.rows();
            Some((first, segment))
        })
        .filter_map(move |(first, segment)| {
            let (from, to) = (start.max(first), end.min(first + segment.rows()));
            (from < to).then(|| (segment, from - first, to - from))
        })
}

/// A bit per row of the page: is it visible at `epoch`?
fn visible(segments: &[Arc<Segment>], epoch: Epoch) -> BooleanBuffer {
    let mut bits = BooleanBufferBuilder::new(segments.iter().map(|segment| segment.rows()).sum());
    for segment in segments {
        bits.append_buffer(&segment.visible(epoch));
    }
    bits.finish()
}

/// A bit per row of a block that is not visible, lowest bit first; `None` if all are.
fn dead_bits(visible: &BooleanBuffer, start: usize, rows: usize) -> Option<Vec<u8>> {
    let there = visible.slice(start, rows);
    if there.count_set_bits() == rows {
        return None;
    }
    let dead = BooleanBuffer::collect_bool(rows, |row| !there.value(row));
    Some(dead.values()[..rows.div_ceil(8)].to_vec())
}

fn bit(bits: &[u8], row: usize) -> bool {
    bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
}
