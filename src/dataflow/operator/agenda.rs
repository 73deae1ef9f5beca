//! Rows by the time at which something is to be done with them: kept as they came, in columns, and found without looking at those of later.
//!
//! ```text
//! page                    chunks of rows, a new one swallows those before it that are at most twice as large
//! 12:00:00   a second     ████ ██ █
//! 12:00:01   a second     ████████ ██       ← time is here: its chunks are sorted, and given out from the front
//! 12:00:02   a second     ██
//! 12:01:04   64 seconds   █████████ ██
//! 13:08:16   68 minutes   ███ █
//! ```
//!
//! A row is on the widest page that time has not come to and that has not had too many rows: so pages are as narrow as rows are dense, and one row
//! a minute takes no batch of its own (timing wheels of several levels: Varghese and Lauck 1987, scheme 7). A page that time comes to, or that gets
//! too many rows, is split. A row is copied O(log n) times on a page, is on few pages, and sorted once, when time is in its page. Retractions stand
//! beside what they retract until then.
//!
//! Time may fall (at the end of a month, where `now() - INTERVAL '1 month'` goes through one day several times), but not below what is known. So
//! rows are forgotten when time cannot fall below them any more, and are given out and taken back until then.
//!
//! ```text
//! checkpoint entry   key: a chunk's number (8 bytes)     value: its rows as they were, also those that have been forgotten since
//!                    key: empty                          value: what is due until then is forgotten (8 bytes), given out (8 bytes)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::UInt32Array;
use arrow::datatypes::SchemaRef;

use super::StateSize;
use super::rows::{PART_BYTES, PART_ROWS};
use crate::dataflow::event_time::Now;
use crate::error::{Error, Result};
use crate::state::{StateChanges, StateEntry, decode_changes, encode_changes};
use crate::types::Changes;

/// The narrowest page, in microseconds of due times.
const PAGE_US: i64 = 1_000_000;

/// Pages that a page is split into: five times make 34 years of a second.
const FAN_OUT: i64 = 64;

/// The widest page: 34 years.
const PAGE_US_MAX: i64 = PAGE_US * FAN_OUT.pow(5);

/// What an array takes beside its values, as measured: its buffers and their counts of owners, rounded up by the allocator.
const ARRAY_BYTES: usize = 512;

/// Where an entry of a checkpoint stands.
type Stored = (u8, Vec<u8>);

/// What is to be done, and when.
pub(super) struct Agenda {
    schema: SchemaRef,
    /// This worker's bucket.
    bucket: u8,
    pages: BTreeMap<Page, Vec<Chunk>>,
    /// Pages that have had too many rows.
    split: BTreeSet<Page>,
    /// The number of the next chunk that is stored.
    next: u64,
    reached: Reached,
    /// As it is stored, and in which buckets.
    stored: (Reached, BTreeSet<u8>),
    /// Entries of the last checkpoint that are no more.
    gone: Vec<Stored>,
    rows: usize,
    bytes: usize,
}

/// Due times from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Page {
    start: i64,
    width: i64,
}

impl Page {
    fn of(due: i64, width: i64) -> Self {
        Page { start: due.saturating_sub(due.rem_euclid(width)), width }
    }

    fn last(self) -> i64 {
        self.start.saturating_add(self.width - 1)
    }

    /// Before all pages that start there or later.
    fn before(start: i64) -> Self {
        Page { start, width: 0 }
    }
}

/// How wide pages are, the widest first.
fn widths() -> impl Iterator<Item = i64> {
    std::iter::successors(Some(PAGE_US_MAX), |width| Some(width / FAN_OUT)).take_while(|width| *width >= PAGE_US)
}

/// Where time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reached {
    /// What is due until then is forgotten.
    forgotten: i64,
    /// What is due until then has been given out; not below `forgotten`.
    given: i64,
}

/// What becomes of rows at a time.
pub(super) struct Turned {
    /// They have become due.
    pub(super) given: Vec<Changes>,
    /// They were due, and are not any more.
    pub(super) taken_back: Vec<Changes>,
}

impl Reached {
    fn decoded(value: &[u8]) -> Option<Self> {
        let (forgotten, given) = value.split_first_chunk()?;
        Some(Reached { forgotten: i64::from_be_bytes(*forgotten), given: given.try_into().map(i64::from_be_bytes).ok()? })
    }
}

/// Nothing has been due.
const NOWHERE: Reached = Reached { forgotten: i64::MIN, given: i64::MIN };

struct Chunk {
    changes: Changes,
    /// When each row is due.
    dues: Vec<i64>,
    sorted: bool,
    /// Rows before this one are forgotten.
    from: usize,
    /// What `changes` was counted for.
    bytes: usize,
    stored: Option<Stored>,
}

impl Chunk {
    fn new(changes: Changes, dues: Vec<i64>) -> Self {
        let arrays = changes.rows().num_columns() * ARRAY_BYTES;
        let bytes = size_of::<Chunk>() + arrays + changes.payload_bytes() + dues.len() * size_of::<i64>();
        Chunk { changes, dues, sorted: false, from: 0, bytes, stored: None }
    }

    fn left(&self) -> usize {
        self.dues.len() - self.from
    }

    fn rest(&self) -> Changes {
        self.changes.slice(self.from, self.left())
    }

    fn sort(&mut self) {
        if self.sorted {
            return;
        }
        let mut order: Vec<u32> = (0..self.dues.len() as u32).collect();
        order.sort_by_key(|row| self.dues[*row as usize]);
        self.dues = order.iter().map(|row| self.dues[*row as usize]).collect();
        self.changes = self.changes.take(&UInt32Array::from(order));
        self.sorted = true;
    }

    /// What is due behind `after`, until `until`.
    fn between(&mut self, after: i64, until: i64) -> Changes {
        self.sort();
        let [start, end] = [after, until].map(|due| self.dues.partition_point(|row| *row <= due).max(self.from));
        self.changes.slice(start, end - start)
    }

    /// Forgets what is due until then; gives how many rows that is.
    fn forget_until(&mut self, due: i64) -> usize {
        self.sort();
        let from = self.dues.partition_point(|row| *row <= due).max(self.from);
        from - std::mem::replace(&mut self.from, from)
    }
}

impl Agenda {
    /// Nothing to do yet. `worker`: the number of this one.
    pub(super) fn new(schema: SchemaRef, worker: usize) -> Result<Self> {
        let bucket = u8::try_from(worker).map_err(|_| Error::internal("a worker without a bucket"))?;
        Ok(Agenda {
            schema,
            bucket,
            pages: BTreeMap::new(),
            split: BTreeSet::new(),
            next: 0,
            reached: NOWHERE,
            stored: (NOWHERE, BTreeSet::new()),
            gone: Vec::new(),
            rows: 0,
            bytes: 0,
        })
    }

    /// Time as it is here: one that was set back changes nothing. `None`: not known.
    pub(super) fn time(&self, now: Option<Now>) -> Now {
        let forgotten = self.reached.forgotten;
        let Now { time, never_below } = now.unwrap_or(Now { time: forgotten, never_below: forgotten });
        Now { time: time.max(forgotten), never_below: never_below.max(forgotten) }
    }

    /// Keeps rows until they are due, each at its time in `dues`, which may still be ahead. Of rows that are due already whoever adds them has given
    /// them out.
    pub(super) fn add(&mut self, changes: &Changes, dues: &[i64]) {
        let mut last: Option<Page> = None;
        let mut page = |due: i64| {
            // Pages lie within wider ones: what is on the last one would be on none that is wider.
            let page = last.filter(|page| Page::of(due, page.width) == *page).unwrap_or_else(|| self.page(due));
            *last.insert(page)
        };
        let pages: Vec<Page> = dues.iter().map(|due| page(*due)).collect();
        let mut order: Vec<u32> = (0..dues.len() as u32).collect();
        let page = |row: &u32| pages[*row as usize];
        order.sort_by_key(page);
        for rows in order.chunk_by(|one, other| page(one) == page(other)) {
            let of_page = dues_of(dues, rows);
            self.push(page(&rows[0]), Chunk::new(changes.take(&UInt32Array::from(rows.to_vec())), of_page));
        }
    }

    /// The page of a row.
    fn page(&self, due: i64) -> Page {
        let mut pages = widths().map(|width| Page::of(due, width));
        let open = |page: &Page| page.start > self.reached.given && !self.split.contains(page);
        pages.find(open).unwrap_or_else(|| Page::of(due, PAGE_US))
    }

    fn push(&mut self, page: Page, chunk: Chunk) {
        self.rows += chunk.left();
        self.bytes += chunk.bytes;
        let chunks = self.pages.entry(page).or_default();
        chunks.push(chunk);
        while let [.., before, last] = chunks.as_slice()
            && before.left() <= 2 * last.left()
            && before.left() + last.left() <= PART_ROWS
            && before.bytes + last.bytes <= PART_BYTES
        {
            let swallowed: Vec<Chunk> = chunks.drain(chunks.len() - 2..).collect();
            let parts: Vec<Changes> = swallowed.iter().map(Chunk::rest).collect();
            let dues = swallowed.iter().flat_map(|chunk| &chunk.dues[chunk.from..]).copied().collect();
            let merged = Chunk::new(Changes::concat(&self.schema, &parts), dues);
            self.bytes = self.bytes + merged.bytes - swallowed.iter().map(|chunk| chunk.bytes).sum::<usize>();
            self.gone.extend(swallowed.into_iter().filter_map(|chunk| chunk.stored));
            chunks.push(merged);
        }
        if page.width > PAGE_US && chunks.iter().map(Chunk::left).sum::<usize>() > PART_ROWS {
            self.split.insert(page);
            self.spread(page);
        }
    }

    /// Puts the rows of a page on narrower ones.
    fn spread(&mut self, page: Page) {
        for chunk in self.pages.remove(&page).unwrap_or_default() {
            self.rows -= chunk.left();
            self.bytes -= chunk.bytes;
            self.add(&chunk.rest(), &chunk.dues[chunk.from..]);
            self.gone.extend(chunk.stored);
        }
    }

    /// Gives out what has become due at a time that `time` gave; if time has fallen, what is not due any more.
    pub(super) fn turn(&mut self, now: Now) -> Turned {
        let before = std::mem::replace(&mut self.reached.given, now.time);
        let (mut given, mut taken_back) = (Vec::new(), Vec::new());
        match before < now.time {
            true => {
                self.come_to(before, now);
                self.between(before, now.time, &mut given);
            }
            false => self.between(now.time, before, &mut taken_back),
        }
        self.forget_until(now.never_below);
        Turned { given, taken_back }
    }

    /// Spreads the wide pages that time has come to since it was at `before`, but for those that are given out and forgotten as a whole.
    fn come_to(&mut self, before: i64, now: Now) {
        let reached = self.pages.range(Page::before(before)..).map(|(page, _)| *page).take_while(|page| page.start <= now.time);
        let wide: Vec<Page> = reached.filter(|page| page.width > PAGE_US && page.last() > now.never_below).collect();
        wide.into_iter().for_each(|page| self.spread(page));
    }

    fn between(&mut self, after: i64, until: i64, output: &mut Vec<Changes>) {
        if after == until {
            return;
        }
        let first = Page::before(Page::of(after, PAGE_US).start);
        for (page, chunks) in self.pages.range_mut(first..).take_while(|(page, _)| page.start <= until) {
            let whole = after < page.start && page.last() <= until;
            let found = chunks.iter_mut().map(|chunk| if whole { chunk.rest() } else { chunk.between(after, until) });
            output.extend(found.filter(|changes| !changes.is_empty()));
        }
    }

    fn forget_until(&mut self, due: i64) {
        if due <= self.reached.forgotten {
            return;
        }
        let before = std::mem::replace(&mut self.reached.forgotten, due);
        let here = Page::of(due, PAGE_US);
        let later = self.pages.split_off(&Page::before(here.start));
        for chunk in std::mem::replace(&mut self.pages, later).into_values().flatten() {
            self.rows -= chunk.left();
            self.bytes -= chunk.bytes;
            self.gone.extend(chunk.stored);
        }
        // Now and then: there may be thousands.
        if Page::of(before, PAGE_US * FAN_OUT) != Page::of(due, PAGE_US * FAN_OUT) {
            self.split.retain(|page| page.last() > due);
        }
        let Some(mut page) = self.pages.first_entry().filter(|page| page.key().start == here.start) else { return };
        for chunk in page.get_mut() {
            self.rows -= chunk.forget_until(due);
        }
        for chunk in page.get_mut().extract_if(.., |chunk| chunk.left() == 0) {
            self.bytes -= chunk.bytes;
            self.gone.extend(chunk.stored);
        }
        if page.get().is_empty() {
            page.remove();
        }
    }

    /// As `Operator::checkpoint`.
    pub(super) fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.gone.drain(..).for_each(|(bucket, key)| changes.delete(bucket, &key));
        for chunk in self.pages.values_mut().flatten().filter(|chunk| chunk.stored.is_none()) {
            let key = self.next.to_be_bytes().to_vec();
            self.next += 1;
            changes.put(self.bucket, &key, &encode_changes(&chunk.rest())?);
            chunk.stored = Some((self.bucket, key));
        }
        // Beside each chunk: those that another worker stored may go to another one again.
        let stored = self.pages.values().flatten().filter_map(|chunk| chunk.stored.as_ref());
        let buckets: BTreeSet<u8> = stored.map(|(bucket, _)| *bucket).chain([self.bucket]).collect();
        if self.stored != (self.reached, buckets.clone()) {
            let Reached { forgotten, given } = self.reached;
            let value = [forgotten.to_be_bytes(), given.to_be_bytes()].concat();
            buckets.iter().for_each(|bucket| changes.put(*bucket, &[], &value));
            self.stored.1.difference(&buckets).for_each(|bucket| changes.delete(*bucket, &[]));
            self.stored = (self.reached, buckets);
        }
        Ok(())
    }

    /// As `Operator::restore`. `dues`: when rows are due.
    pub(super) fn restore(
        &mut self,
        entries: &mut dyn Iterator<Item = Result<StateEntry>>,
        dues: impl Fn(&Changes) -> Result<Vec<i64>>,
    ) -> Result<()> {
        let damaged = || Error::internal("a stored agenda is damaged");
        let mut chunks = Vec::new();
        for entry in entries {
            let StateEntry { bucket, key, value } = entry?;
            if key.is_empty() {
                // All workers were as far as one another at a checkpoint, and what is stored of workers that there are no more is deleted.
                self.reached = Reached::decoded(&value).ok_or_else(damaged)?;
                self.stored.1.insert(bucket);
                continue;
            }
            if bucket == self.bucket {
                let number = key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
                self.next = self.next.max(number + 1);
            }
            chunks.push(((bucket, key), decode_changes(&value)?));
        }
        self.stored.0 = self.reached;
        for (stored, changes) in chunks {
            let dues = dues(&changes)?;
            let (Some(first), Some(last)) = (dues.iter().min().copied(), dues.iter().max().copied()) else { continue };
            let mut chunk = Chunk { stored: Some(stored), ..Chunk::new(changes, dues) };
            chunk.forget_until(self.reached.forgotten);
            if chunk.left() == 0 {
                self.gone.extend(chunk.stored);
                continue;
            }
            // Within the one that it was on, which time has not come to if it is wide.
            let narrowest = widths().filter(|width| Page::of(first, *width) == Page::of(last, *width)).last();
            match narrowest {
                Some(width) => {
                    self.rows += chunk.left();
                    self.bytes += chunk.bytes;
                    self.pages.entry(Page::of(first, width)).or_default().push(chunk);
                }
                None => return Err(damaged()),
            }
        }
        Ok(())
    }

    pub(super) fn size(&self) -> StateSize {
        StateSize { rows: self.rows, bytes: self.bytes }
    }
}

fn dues_of(dues: &[i64], rows: &[u32]) -> Vec<i64> {
    rows.iter().map(|row| dues[*row as usize]).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

    use super::{Agenda, Now};
    use crate::state::{StateChanges, StoredState};
    use crate::types::Changes;

    const SECOND: i64 = 1_000_000;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("due", DataType::Int64, false)]))
    }

    fn dues_in(changes: &Changes) -> Vec<i64> {
        changes.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    fn add(agenda: &mut Agenda, dues: &[i64]) {
        let rows = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(dues.to_vec()))]).unwrap();
        agenda.add(&Changes::insertions(rows), dues);
    }

    fn chunks(agenda: &Agenda) -> usize {
        agenda.pages.values().map(Vec::len).sum()
    }

    fn sorted(batches: &[Changes]) -> Vec<i64> {
        let mut dues: Vec<i64> = batches.iter().flat_map(dues_in).collect();
        dues.sort_unstable();
        dues
    }

    #[test]
    fn few_rows_of_a_long_time_are_in_few_batches() {
        let mut agenda = Agenda::new(schema(), 0).unwrap();
        agenda.turn(Now { time: 0, never_below: 0 });
        let dues: Vec<i64> = (1..=100_000).map(|row| row * 100 * SECOND).collect();
        dues.chunks(1_000).for_each(|dues| add(&mut agenda, dues));
        assert!(chunks(&agenda) < 1_000, "{}", chunks(&agenda));
        let mut given = Vec::new();
        for time in (0..=10_000_000 * SECOND).step_by(3_333 * SECOND as usize).chain([10_000_000 * SECOND]) {
            given.extend(sorted(&agenda.turn(Now { time, never_below: time }).given));
            assert!(chunks(&agenda) < 1_000);
        }
        assert_eq!(given, dues);
        assert_eq!((agenda.rows, agenda.bytes, agenda.pages.len(), agenda.split.len()), (0, 0, 0, 0));
    }

    #[test]
    fn many_rows_of_a_short_time_are_on_narrow_pages() {
        let mut agenda = Agenda::new(schema(), 0).unwrap();
        agenda.turn(Now { time: 0, never_below: 0 });
        let dues: Vec<i64> = (0..200_000).map(|row| 3_600 * SECOND + row * 100).collect();
        dues.chunks(5_000).for_each(|dues| add(&mut agenda, dues));
        assert!(agenda.pages.keys().all(|page| page.width == SECOND), "{:?}", agenda.pages.keys());
    }

    /// The agenda beside a list, with times that fall, and with what a checkpoint stores.
    #[test]
    fn rows_are_given_out_when_they_are_due() {
        for seed in 1..=12_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut below = |bound: i64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random % bound as u64) as i64
            };
            let mut agenda = Agenda::new(schema(), 0).unwrap();
            let (mut rows, mut stored): (Vec<i64>, StoredState) = (Vec::new(), StoredState::default());
            let (mut time, mut never_below) = (0, 0);
            agenda.turn(Now { time, never_below });
            for _ in 0..60 {
                let span = SECOND << below(36);
                // What is due already its owner has given out.
                let dues: Vec<i64> = (0..below(1_000)).map(|_| never_below + 1 + below(span)).collect();
                add(&mut agenda, &dues);
                rows.extend(dues);
                let before = time;
                let far = below(span);
                never_below += far * below(2);
                let ahead = SECOND << below(20);
                time = never_below + below(ahead);
                let turned = agenda.turn(Now { time, never_below });
                let within = |from: i64, to: i64| {
                    let mut due: Vec<i64> = rows.iter().copied().filter(|due| from < *due && *due <= to).collect();
                    due.sort_unstable();
                    due
                };
                assert_eq!(sorted(&turned.given), within(before, time), "seed {seed}");
                assert_eq!(sorted(&turned.taken_back), within(time, before), "seed {seed}");
                rows.retain(|due| *due > never_below);
                assert_eq!(agenda.size().rows, rows.len(), "seed {seed}");
                if below(4) == 0 {
                    let mut changes = StateChanges::default();
                    agenda.checkpoint(&mut changes).unwrap();
                    stored.apply(changes);
                    agenda = Agenda::new(schema(), 0).unwrap();
                    agenda.restore(&mut stored.entries(|_| true), |changes| Ok(dues_in(changes))).unwrap();
                }
            }
        }
    }
}
