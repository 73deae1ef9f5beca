//! What one writer writes: pages of rows and the index to find them again.
//!
//! In: rows to retract and to insert, already consolidated. Always: the index leads to every live row, and in a relation with a key also to
//! the versions that readers may still ask for; `ended` lists those, oldest first, until the horizon has passed them.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::ArrayRef;

use super::found::Found;
use super::index::Index;
use super::pages::{PAGE_ROWS, Pages};
use super::segment::{ALIVE, Begin, Segment, copied, gather};
use crate::error::{Error, Result};
use crate::types::{Epoch, hash_rows, rows_equal};

/// A page with fewer ended rows is not worth moving, however few live ones it has: a scan of it takes microseconds.
const MOVED_DEAD_MIN: usize = PAGE_ROWS / 64;

/// Lists of old versions shorter than this keep their memory when they are empty: they fill again before the next compaction.
const ENDED_KEPT: usize = 65_536;

/// A row of a relation with key that has ended but is still in the index.
#[derive(Clone, Copy, Debug)]
struct Ended {
    epoch: Epoch,
    row: u32,
    hash: u32,
}

/// An index that a user asked for. It leads to every row of the pages, whenever that lived: the reader looks which ones it sees.
#[derive(Clone, Debug)]
struct Secondary {
    number: u32,
    columns: Arc<[usize]>,
    index: Index,
    /// Pages, with how many of their rows, that were there before it and are not in it yet. Until there are none it finds nothing.
    waiting: Vec<(usize, usize)>,
}

impl Secondary {
    /// Adds the rows of some columns, whose first has this number.
    fn add(&mut self, pages: &Pages, columns: &[ArrayRef], rows: Range<usize>, first: u32) {
        let hashes = hash_rows(&chosen(columns, &self.columns), columns.first().map_or(rows.end, |column| column.len()));
        self.index.reserve(rows.len());
        for (row, at) in rows.zip(first..) {
            self.index.push(hashes[row], at, |other| same(pages, &self.columns, other, columns, row));
        }
    }
}

/// One shard of a relation. A clone has the same segments: it is what the shard is as long as nobody writes.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pages: Pages,
    /// None if rows are never retracted.
    index: Option<Index>,
    /// The columns by which the index finds rows: the key's, or all.
    index_columns: Arc<[usize]>,
    /// Whether those are a key: then ended versions stay in the index for readers.
    keyed: bool,
    live: usize,
    newest: Epoch,
    ended: VecDeque<Ended>,
    /// Beside the index by which the writer finds rows: those by which readers do.
    secondary: Vec<Secondary>,
    /// Where the next compaction starts to look.
    cursor: usize,
}

impl Shard {
    pub(super) fn new(index_columns: Arc<[usize]>, keyed: bool, indexed: bool) -> Self {
        Shard {
            pages: Pages::default(),
            index: indexed.then(Index::default),
            index_columns,
            keyed,
            live: 0,
            newest: 0,
            ended: VecDeque::new(),
            secondary: Vec::new(),
            cursor: 0,
        }
    }

    /// Starts an index: rows that come from now on are in it, the others wait for `fill_secondary`.
    pub(super) fn start_secondary(&mut self, number: u32, columns: Arc<[usize]>) {
        let waiting = self.pages.iter().map(|(slot, page)| (slot, page.rows())).collect();
        self.secondary.push(Secondary { number, columns, index: Index::default(), waiting });
    }

    /// Puts the rows of one page that waits into an index. Says whether there are more; `None` if there is no such index.
    pub(super) fn fill_secondary(&mut self, number: u32) -> Option<bool> {
        let Shard { pages, secondary, .. } = self;
        let secondary = secondary.iter_mut().find(|secondary| secondary.number == number)?;
        let Some((slot, rows)) = secondary.waiting.pop() else { return Some(false) };
        let (mut at, first) = (0, Pages::first_row(slot));
        for segment in pages.get(slot).into_iter().flat_map(|page| page.segments()) {
            let wanted = segment.rows().min(rows - at);
            secondary.add(pages, segment.columns(), 0..wanted, first + at as u32);
            at += wanted;
        }
        Some(!secondary.waiting.is_empty())
    }

    /// The numbers and columns of the indexes that users asked for.
    pub(super) fn secondary_indexes(&self) -> Vec<(u32, Arc<[usize]>)> {
        self.secondary.iter().map(|secondary| (secondary.number, Arc::clone(&secondary.columns))).collect()
    }

    /// Forgets an index.
    pub(super) fn drop_secondary(&mut self, number: u32) {
        self.secondary.retain(|secondary| secondary.number != number);
    }

    /// Adds to `found` the rows visible at `epoch` with the values in row `probe` of `keys` (the index's columns). `None` if there is no such
    /// index, or not yet.
    pub(super) fn find_all(&self, number: u32, keys: &[ArrayRef], probe: usize, hash: u64, epoch: Epoch, found: &mut Found) -> Option<()> {
        let secondary = self.secondary.iter().find(|secondary| secondary.number == number && secondary.waiting.is_empty())?;
        let newest = secondary.index.find(hash, |other| {
            let (segment, place) = self.pages.locate(other);
            (0..).zip(secondary.columns.iter()).all(|(key, column)| value_equal(&segment.columns()[*column], place, &keys[key], probe))
        });
        for candidate in newest.into_iter().flat_map(|newest| secondary.index.chain(newest)) {
            let (segment, place) = self.pages.locate(candidate);
            if segment.is_visible(place, epoch) {
                found.push(probe, segment, place);
            }
        }
        Some(())
    }

    /// Takes pages that were stored, as of `epoch`, and builds the index of their live rows.
    pub(super) fn restore(&mut self, pages: Pages, epoch: Epoch) {
        self.live = pages.iter().map(|(_, page)| page.rows() - page.dead()).sum();
        self.newest = epoch;
        self.pages = pages;
        self.build_index();
    }

    /// A shard of the same rows with other columns, found by `index_columns`. A key stays the same columns, perhaps in other places.
    pub(super) fn with_columns(
        &self,
        index_columns: Arc<[usize]>,
        places: &[Option<usize>],
        change: &dyn Fn(&Segment) -> Result<Segment>,
    ) -> Result<Self> {
        let mut shard = Shard::new(index_columns, self.keyed, self.index.is_some());
        shard.pages = self.pages.changed(change)?;
        (shard.live, shard.newest, shard.cursor) = (self.live, self.newest, self.cursor);
        for secondary in &self.secondary {
            // An index whose column goes, goes.
            let Some(columns) = secondary.columns.iter().map(|column| places[*column]).collect() else { continue };
            shard.secondary.push(Secondary { columns, ..secondary.clone() });
        }
        if self.keyed {
            // The same values under the same row numbers, with the versions that readers may still ask for.
            shard.index.clone_from(&self.index);
            shard.ended.clone_from(&self.ended);
        } else {
            shard.build_index();
        }
        Ok(shard)
    }

    /// Builds the index of live rows.
    fn build_index(&mut self) {
        let Some(index) = &mut self.index else { return };
        index.reserve(self.live);
        for (slot, page) in self.pages.iter() {
            let mut first = Pages::first_row(slot);
            for segment in page.segments() {
                let hashes = hash_rows(&chosen(segment.columns(), &self.index_columns), segment.rows());
                for (place, hash) in hashes.into_iter().enumerate().filter(|(place, _)| segment.is_live(*place)) {
                    index.push(hash, first + place as u32, |other| same(&self.pages, &self.index_columns, other, segment.columns(), place));
                }
                first += segment.rows() as u32;
            }
        }
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// The newest epoch that changed it.
    pub(super) fn newest(&self) -> Epoch {
        self.newest
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let rows: usize = self.pages.iter().flat_map(|(_, page)| page.segments()).map(|segment| segment.memory_bytes()).sum();
        let secondary: usize = self.secondary.iter().map(|secondary| secondary.index.memory_bytes()).sum();
        rows + self.index.as_ref().map_or(0, Index::memory_bytes) + secondary + self.ended.capacity() * size_of::<Ended>()
    }

    /// Notes that `epoch` is written now. An epoch that goes back is a bug of the caller.
    pub(super) fn enter(&mut self, epoch: Epoch) -> Result<()> {
        if epoch < self.newest {
            return Err(Error::internal(format!("a relation at epoch {} got changes of epoch {epoch}", self.newest)));
        }
        self.newest = epoch;
        Ok(())
    }

    /// Ends one live row equal to row `row` of `columns`, `count` times; gives how often there was none. `hash` is that of its index columns.
    pub(super) fn retract(&mut self, epoch: Epoch, columns: &[ArrayRef], row: usize, hash: u64, count: u64) -> u64 {
        for done in 0..count {
            let found = if self.keyed { self.find_version(columns, row, hash) } else { self.pop(columns, row, hash) };
            let Some(found) = found else { return count - done };
            self.pages.end(found, epoch);
            self.live -= 1;
            if self.keyed {
                self.ended.push_back(Ended { epoch, row: found, hash: hash as u32 });
            }
        }
        0
    }

    /// Adds rows; `hashes` are those of their index columns (none needed without an index).
    pub(super) fn insert(&mut self, epoch: Epoch, columns: &[ArrayRef], rows: usize, hashes: &[u64]) -> Result<()> {
        let ranges = self.pages.append(columns, rows, epoch)?;
        self.live += rows;
        for secondary in &mut self.secondary {
            let mut at = 0;
            for range in &ranges {
                secondary.add(&self.pages, columns, at..at + range.len(), range.start);
                at += range.len();
            }
        }
        if let Some(index) = &mut self.index {
            index.reserve(rows);
        }
        for (at, row) in ranges.into_iter().flatten().enumerate() {
            self.assert_unique(columns, at, hashes);
            let Some(index) = &mut self.index else { break };
            index.push(hashes[at], row, |other| same(&self.pages, &self.index_columns, other, columns, at));
        }
        Ok(())
    }

    /// A key that the planner took for one and that is none would hide rows from point reads.
    fn assert_unique(&self, columns: &[ArrayRef], row: usize, hashes: &[u64]) {
        if cfg!(debug_assertions) && self.keyed {
            let twin = self.find_live(&chosen(columns, &self.index_columns), row, hashes[row]);
            debug_assert!(twin.is_none(), "two rows with one key, in columns {:?}", self.index_columns);
        }
    }

    /// The live row with the key in row `row` of `keys` (key columns only).
    pub(super) fn find_live(&self, keys: &[ArrayRef], row: usize, hash: u64) -> Option<(&Arc<Segment>, usize)> {
        self.find(keys, row, hash, |segment, place| segment.is_live(place))
    }

    /// The row with this key that is visible at `epoch`.
    pub(super) fn find_visible(&self, keys: &[ArrayRef], row: usize, hash: u64, epoch: Epoch) -> Option<(&Arc<Segment>, usize)> {
        self.find(keys, row, hash, |segment, place| segment.is_visible(place, epoch))
    }

    fn find(&self, keys: &[ArrayRef], row: usize, hash: u64, wanted: impl Fn(&Segment, usize) -> bool) -> Option<(&Arc<Segment>, usize)> {
        let index = self.index.as_ref()?;
        let newest = index.find(hash, |other| {
            let (segment, place) = self.pages.locate(other);
            (0..).zip(self.index_columns.iter()).all(|(key, column)| value_equal(&segment.columns()[*column], place, &keys[key], row))
        })?;
        index.chain(newest).map(|row| self.pages.locate(row)).find(|(segment, place)| wanted(segment, *place))
    }

    /// The live row equal to this one, among the versions of its key.
    fn find_version(&self, columns: &[ArrayRef], row: usize, hash: u64) -> Option<u32> {
        let index = self.index.as_ref()?;
        let newest = index.find(hash, |other| same(&self.pages, &self.index_columns, other, columns, row))?;
        index.chain(newest).find(|candidate| {
            let (segment, place) = self.pages.locate(*candidate);
            segment.is_live(place) && rows_equal(segment.columns(), place, columns, row)
        })
    }

    /// Adds to `found` the numbers of up to `count` more live rows equal to this one; gives how many are missing.
    pub(super) fn find_equal(&self, columns: &[ArrayRef], row: usize, hash: u64, count: u64, found: &mut BTreeSet<u32>) -> u64 {
        let index = self.index.as_ref();
        let newest = index.and_then(|index| index.find(hash, |other| same(&self.pages, &self.index_columns, other, columns, row)));
        let mut left = count;
        for candidate in index.zip(newest).into_iter().flat_map(|(index, newest)| index.chain(newest)) {
            if left == 0 {
                break;
            }
            let (segment, place) = self.pages.locate(candidate);
            if segment.is_live(place) && rows_equal(segment.columns(), place, columns, row) && found.insert(candidate) {
                left -= 1;
            }
        }
        left
    }

    /// Without a key all indexed rows are live, and equal ones are as good as each other.
    fn pop(&mut self, columns: &[ArrayRef], row: usize, hash: u64) -> Option<u32> {
        let Shard { pages, index, index_columns, .. } = self;
        index.as_mut()?.pop(hash, |other| same(pages, index_columns, other, columns, row))
    }

    /// Takes versions that ended at or before `horizon` out of the index, at most `limit` at a time. Says whether there may be more.
    pub(super) fn trim(&mut self, horizon: Epoch, limit: usize) -> bool {
        let Shard { pages, index: Some(index), ended, .. } = self else { return false };
        for _ in 0..limit {
            let Some(first) = ended.pop_front_if(|first| first.epoch <= horizon) else {
                index.shrink();
                if ended.capacity() > ENDED_KEPT && ended.len() < ended.capacity() / 4 {
                    ended.shrink_to(ended.len() * 2);
                }
                return false;
            };
            // The row may have moved since, or its chain have been cleaned already: then this finds nothing, or only what may go.
            index.rewrite(u64::from(first.hash), first.row, |row| {
                let (segment, place) = pages.locate(row);
                (segment.end_of(place) > horizon).then_some(row)
            });
        }
        true
    }

    /// Numbers of pages that are mostly dead, at most `limit`; the next call goes on behind them.
    pub(super) fn mostly_dead(&mut self, limit: usize) -> Vec<usize> {
        if self.fills_index() {
            return Vec::new();
        }
        let slots = self.pages.slots();
        let start = self.cursor.min(slots);
        let found: Vec<usize> = (start..slots)
            .chain(0..start)
            .filter(|slot| self.pages.get(*slot).is_some_and(|page| page.dead() >= MOVED_DEAD_MIN && page.dead() * 2 > page.rows()))
            .take(limit)
            .collect();
        self.cursor = found.last().map_or(0, |last| last + 1);
        found
    }

    /// Whether rows must stay where they are, as an index is still to read them. It may have been made a moment ago.
    fn fills_index(&self) -> bool {
        self.secondary.iter().any(|secondary| !secondary.waiting.is_empty())
    }

    /// Moves the rows of a page that ended after `horizon`, or not at all, to other pages and lets the page go, if at most half of it has to
    /// move. Says whether it did.
    pub(super) fn compact_page(&mut self, slot: usize, horizon: Epoch) -> Result<bool> {
        let Some(page) = self.pages.get(slot).filter(|_| !self.fills_index()) else { return Ok(false) };
        let segments: Vec<Arc<Segment>> = page.segments().cloned().collect();
        let rows = page.rows();
        let kept: Vec<(usize, usize)> = segments
            .iter()
            .enumerate()
            .flat_map(|(at, segment)| (0..segment.rows()).filter(|row| segment.end_of(*row) > horizon).map(move |row| (at, row)))
            .collect();
        if kept.len() * 2 > rows {
            return Ok(false);
        }
        let columns = gather(&segments, &kept)?;
        self.pages.remove(slot);
        let numbers = self.move_in(&segments, &kept, &columns)?;
        self.renumber(slot, &segments, &kept, &numbers);
        self.pages.reuse(slot);
        Ok(true)
    }

    /// Appends rows with the epochs they had. Gives their numbers, in the order of `kept`.
    fn move_in(&mut self, segments: &[Arc<Segment>], kept: &[(usize, usize)], columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let mut numbers = Vec::with_capacity(kept.len());
        let mut offset = 0;
        while offset < kept.len() {
            let (slot, room) = self.pages.open_page()?;
            let length = room.min(kept.len() - offset);
            let part = &kept[offset..offset + length];
            let begins: Arc<[Epoch]> = part.iter().map(|(at, row)| segments[*at].begin_of(*row)).collect();
            let segment = Segment::new(copied(columns, offset, length)?, length, Begin::PerRow(begins));
            let dead = part.iter().filter(|(at, row)| !segments[*at].is_live(*row)).count();
            if dead > 0 {
                segment.set_ends(part.iter().map(|(at, row)| AtomicU64::new(segments[*at].end_of(*row))).collect());
            }
            let range: Range<u32> = self.pages.push(slot, segment)?;
            self.pages.add_dead(slot, dead);
            numbers.extend(range);
            offset += length;
        }
        Ok(numbers)
    }

    /// Leads the index from the rows of a removed page to where they are now, and nowhere for those that are gone.
    fn renumber(&mut self, slot: usize, segments: &[Arc<Segment>], kept: &[(usize, usize)], numbers: &[u32]) {
        self.renumber_secondary(slot, segments, kept, numbers);
        let Some(index) = &mut self.index else { return };
        let first = Pages::first_row(slot);
        let hashes: Vec<u64> =
            segments.iter().flat_map(|segment| hash_rows(&chosen(segment.columns(), &self.index_columns), segment.rows())).collect();
        let starts: Vec<usize> = segments
            .iter()
            .scan(0, |start, segment| {
                let this = *start;
                *start += segment.rows();
                Some(this)
            })
            .collect();
        let mut moved: Vec<Option<u32>> = vec![None; hashes.len()];
        for ((at, row), number) in kept.iter().zip(numbers) {
            moved[starts[*at] + row] = Some(*number);
            let end = segments[*at].end_of(*row);
            if self.keyed && end != ALIVE {
                self.ended.push_back(Ended { epoch: end, row: *number, hash: hashes[starts[*at] + row] as u32 });
            }
        }
        // Without a key only live rows are in the index: to seek the others would mean to walk every chain of equal rows to its end.
        let live = segments.iter().flat_map(|segment| (0..segment.rows()).map(move |row| segment.is_live(row)));
        let mut done: Vec<bool> = live.map(|live| !self.keyed && !live).collect();
        for (place, hash) in hashes.iter().enumerate() {
            if done[place] {
                continue;
            }
            index.rewrite(*hash, first + place as u32, |row| {
                let Some(place) = row.checked_sub(first).map(|place| place as usize).filter(|place| *place < PAGE_ROWS) else {
                    return Some(row);
                };
                done[place] = true;
                moved[place]
            });
        }
    }

    fn renumber_secondary(&mut self, slot: usize, segments: &[Arc<Segment>], kept: &[(usize, usize)], numbers: &[u32]) {
        let first = Pages::first_row(slot);
        let mut starts = Vec::with_capacity(segments.len());
        let mut rows = 0;
        for segment in segments {
            starts.push(rows);
            rows += segment.rows();
        }
        let mut moved: Vec<Option<u32>> = vec![None; rows];
        for ((at, row), number) in kept.iter().zip(numbers) {
            moved[starts[*at] + row] = Some(*number);
        }
        for secondary in &mut self.secondary {
            let mut done = vec![false; rows];
            for (segment, start) in segments.iter().zip(&starts) {
                let hashes = hash_rows(&chosen(segment.columns(), &secondary.columns), segment.rows());
                for (row, hash) in hashes.into_iter().enumerate() {
                    if done[start + row] {
                        continue;
                    }
                    secondary.index.rewrite(hash, first + (start + row) as u32, |member| {
                        let Some(place) = member.checked_sub(first).map(|place| place as usize).filter(|place| *place < rows) else {
                            return Some(member);
                        };
                        done[place] = true;
                        moved[place]
                    });
                }
            }
            secondary.index.shrink();
        }
    }

    /// Forgets the single begins of rows that every reader sees as begun.
    pub(super) fn forget_begins(&mut self, horizon: Epoch) {
        self.pages.forget_begins(horizon);
    }
}

/// The columns at these positions.
pub fn chosen(columns: &[ArrayRef], positions: &[usize]) -> Vec<ArrayRef> {
    positions.iter().map(|position| Arc::clone(&columns[*position])).collect()
}

/// Whether a stored row and row `row` of `columns` agree in the index's columns.
fn same(pages: &Pages, index_columns: &[usize], stored: u32, columns: &[ArrayRef], row: usize) -> bool {
    let (segment, place) = pages.locate(stored);
    index_columns.iter().all(|column| value_equal(&segment.columns()[*column], place, &columns[*column], row))
}

fn value_equal(left: &ArrayRef, left_row: usize, right: &ArrayRef, right_row: usize) -> bool {
    rows_equal(std::slice::from_ref(left), left_row, std::slice::from_ref(right), right_row)
}
