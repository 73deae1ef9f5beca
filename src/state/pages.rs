//! Where the rows of a shard lie: pages of 65,536 row numbers, each filled by a few segments.
//!
//! ```text
//!  row number (u32)  =  page (16 bits)  │  place in the page (16 bits)
//!
//!  page 0  │ 65,536 rows                         │   full: one segment
//!  page 1  │ (free: compaction has emptied it)   │   its numbers will be used again
//!  page 2  │ 32,768 │ 8,192 │ 512 │ 1 │   …      │   open: segments like the digits of a binary counter
//! ```
//!
//! Merging neighbours does not change a row's number. Small batches merge with what was appended before them until sizes halve from left to
//! right, so a table written row by row has few segments and each row is copied O(log n) times (Bentley and Saxe, 1980).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::segment::{Begin, Segment, copied};
use crate::error::{Error, Kind, Result};
use crate::types::Epoch;

/// Rows of a page: large enough for vectorised scans, small enough that moving one takes a few milliseconds.
pub(super) const PAGE_ROWS: usize = 1 << PAGE_BITS;

/// Of a row number's 32 bits, those that say where in the page the row is.
#[cfg(not(test))]
const PAGE_BITS: u32 = 16;

/// Tests use small pages, so that few rows fill and empty many.
#[cfg(test)]
const PAGE_BITS: u32 = 6;

/// Pages of a shard: as many as row numbers and stored blocks' keys can name, 4.3 billion rows.
const PAGES_MAX: usize = 1 << 16;

/// Segments are merged up to this size: 32-bit offsets of strings stay far from overflow, and no merge takes long.
const MERGED_BYTES_MAX: usize = 64 << 20;

/// One page.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    /// In the order of their row numbers, without gaps.
    segments: Vec<(u32, Arc<Segment>)>,
    /// Row numbers given out.
    rows: usize,
    /// Rows of them that have ended.
    dead: usize,
}

impl Page {
    pub(super) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter().map(|(_, segment)| segment)
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn dead(&self) -> usize {
        self.dead
    }

    fn push(&mut self, segment: Segment) -> Result<()> {
        let first = self.rows as u32;
        self.rows += segment.rows();
        self.segments.push((first, Arc::new(segment)));
        let full = self.rows == PAGE_ROWS;
        self.merge(full)
    }

    /// Merges the last segments until each is larger than half of the one before; all of them if the page is full.
    fn merge(&mut self, full: bool) -> Result<()> {
        let mut keep = self.segments.len() - 1;
        let (mut rows, mut bytes) = (self.segments[keep].1.rows(), self.segments[keep].1.value_bytes());
        while keep > 0 {
            let before = &self.segments[keep - 1].1;
            if (!full && before.rows() > 2 * rows) || before.value_bytes() + bytes > MERGED_BYTES_MAX {
                break;
            }
            rows += before.rows();
            bytes += before.value_bytes();
            keep -= 1;
        }
        if keep + 1 < self.segments.len() {
            let parts: Vec<Arc<Segment>> = self.segments[keep..].iter().map(|(_, segment)| Arc::clone(segment)).collect();
            let merged = Arc::new(Segment::merge(&parts)?);
            self.segments.truncate(keep + 1);
            self.segments[keep].1 = merged;
        }
        Ok(())
    }
}

/// The pages of one shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    slots: Vec<Option<Page>>,
    /// Slots that can be used again.
    free: Vec<usize>,
    /// The page that takes the next rows, if one has room.
    open: Option<usize>,
}

impl Pages {
    /// The pages as they were stored; `None` for slots that were free.
    pub(super) fn restored(slots: Vec<Option<Vec<Segment>>>) -> Result<Self> {
        let mut pages = Pages::default();
        for (slot, segments) in slots.into_iter().enumerate() {
            let Some(segments) = segments else {
                pages.free.push(slot);
                pages.slots.push(None);
                continue;
            };
            let mut page = Page::default();
            for segment in segments {
                page.dead += (0..segment.rows()).filter(|row| !segment.is_live(*row)).count();
                page.push(segment)?;
            }
            if page.rows < PAGE_ROWS {
                pages.open = Some(slot);
            }
            pages.slots.push(Some(page));
        }
        Ok(pages)
    }

    /// The same rows under the same numbers, each segment as `change` makes it.
    pub(super) fn changed(&self, change: &dyn Fn(&Segment) -> Result<Segment>) -> Result<Self> {
        let mut slots = Vec::with_capacity(self.slots.len());
        for page in &self.slots {
            let Some(page) = page else {
                slots.push(None);
                continue;
            };
            let segments = page.segments.iter().map(|(first, segment)| Ok((*first, Arc::new(change(segment)?))));
            slots.push(Some(Page { segments: segments.collect::<Result<_>>()?, rows: page.rows, dead: page.dead }));
        }
        Ok(Pages { slots, free: self.free.clone(), open: self.open })
    }

    /// Every page there is, with its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Page)> {
        self.slots.iter().enumerate().filter_map(|(slot, page)| Some((slot, page.as_ref()?)))
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Page> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The number of the first row of a page.
    pub(super) fn first_row(slot: usize) -> u32 {
        (slot << PAGE_BITS) as u32
    }

    /// The segment that holds a row, and the row's place in it. The row must have been appended.
    pub(super) fn locate(&self, row: u32) -> (&Arc<Segment>, usize) {
        let page = self.slots[(row >> PAGE_BITS) as usize].as_ref().expect("the index names rows of pages that are there");
        let place = row & (PAGE_ROWS as u32 - 1);
        let segment = page.segments.partition_point(|(first, _)| *first <= place) - 1;
        let (first, segment) = &page.segments[segment];
        (segment, (place - first) as usize)
    }

    /// Ends a live row.
    pub(super) fn end(&mut self, row: u32, epoch: Epoch) {
        let (segment, place) = self.locate(row);
        segment.end(place, epoch);
        let page = self.slots[(row >> PAGE_BITS) as usize].as_mut().expect("located above");
        page.dead += 1;
    }

    /// Copies rows in, all begun at `epoch`, and gives their numbers: one range per page they went to.
    pub(super) fn append(&mut self, columns: &[ArrayRef], rows: usize, epoch: Epoch) -> Result<Vec<Range<u32>>> {
        let mut ranges = Vec::new();
        let mut offset = 0;
        while offset < rows {
            let (slot, room) = self.open_page()?;
            let length = room.min(rows - offset);
            let segment = Segment::new(copied(columns, offset, length)?, length, Begin::Uniform(epoch));
            ranges.push(self.push(slot, segment)?);
            offset += length;
        }
        Ok(ranges)
    }

    /// Puts a segment whose columns pin nothing behind the others. It must have room in the page that [`Pages::open_page`] gives.
    pub(super) fn push(&mut self, slot: usize, segment: Segment) -> Result<Range<u32>> {
        let page = self.slots[slot].as_mut().expect("an open page is there");
        let rows = segment.rows();
        assert!(page.rows + rows <= PAGE_ROWS, "more rows than the page has room for");
        let first = Pages::first_row(slot) + page.rows as u32;
        page.push(segment)?;
        if page.rows == PAGE_ROWS {
            self.open = None;
        }
        Ok(first..first + rows as u32)
    }

    /// Counts rows of an appended segment that had ended before.
    pub(super) fn add_dead(&mut self, slot: usize, dead: usize) {
        if let Some(Some(page)) = self.slots.get_mut(slot) {
            page.dead += dead;
        }
    }

    /// The page that takes the next rows, and for how many it has room.
    pub(super) fn open_page(&mut self) -> Result<(usize, usize)> {
        if let Some(slot) = self.open {
            let page = self.slots[slot].as_ref().expect("an open page is there");
            return Ok((slot, PAGE_ROWS - page.rows));
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            // The last page stays unused, so that a range's end is always a row number.
            None if self.slots.len() + 1 < PAGES_MAX => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return Err(Error::new(Kind::LimitExceeded, "a relation holds at most 4,294,901,760 rows per worker")),
        };
        self.slots[slot] = Some(Page::default());
        self.open = Some(slot);
        Ok((slot, PAGE_ROWS))
    }

    /// Takes a page out. Its number is not given to another before [`Pages::reuse`].
    pub(super) fn remove(&mut self, slot: usize) -> Option<Page> {
        if self.open == Some(slot) {
            self.open = None;
        }
        self.slots.get_mut(slot)?.take()
    }

    /// Lets the number of a removed page be given to another.
    pub(super) fn reuse(&mut self, slot: usize) {
        self.free.push(slot);
    }

    /// Forgets the single begins of rows that every reader sees as begun.
    pub(super) fn forget_begins(&mut self, horizon: Epoch) {
        for page in self.slots.iter_mut().flatten() {
            for (_, segment) in &mut page.segments {
                if !segment.has_uniform_begin() && segment.begin_max() <= horizon {
                    *segment = Arc::new(segment.with_uniform_begin());
                }
            }
        }
    }
}
