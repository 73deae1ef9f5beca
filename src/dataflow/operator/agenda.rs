//! Rows by the time at which something is to be done with them: kept as they came, in columns, and found without looking at those of later.
//!
//! ```text
//! page (a second of due times)   chunks of rows, a new one swallows those before it that are at most twice as large
//! 12:00:00   ████ ██ █
//! 12:00:01   ████████ ██       ← time is here: its chunks are sorted, and given out from the front
//! 12:00:02   ██
//! ```
//!
//! A row is copied O(log n) times, and sorted once, when time is in its page. Retractions stand beside what they retract until then.
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
use crate::dataflow::event_time::Now;
use crate::error::{Error, Result};
use crate::state::{StateChanges, StateEntry, decode_changes, encode_changes};
use crate::types::Changes;

/// Due times on one page.
const PAGE_US: i64 = 1_000_000;

/// Chunks with more rows are not swallowed: as many rows go out at once.
const CHUNK_ROWS_MAX: usize = 16_384;

/// Where an entry of a checkpoint stands.
type Stored = (u8, Vec<u8>);

/// What is to be done, and when.
pub(super) struct Agenda {
    schema: SchemaRef,
    /// This worker's bucket.
    bucket: u8,
    pages: BTreeMap<i64, Vec<Chunk>>,
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
        let bytes = changes.payload_bytes() + dues.len() * size_of::<i64>();
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
        let mut order: Vec<u32> = (0..dues.len() as u32).collect();
        let page = |row: &u32| dues[*row as usize].div_euclid(PAGE_US);
        order.sort_by_key(page);
        for rows in order.chunk_by(|one, other| page(one) == page(other)) {
            let of_page = dues_of(dues, rows);
            self.push(page(&rows[0]), Chunk::new(changes.take(&UInt32Array::from(rows.to_vec())), of_page));
        }
    }

    fn push(&mut self, page: i64, chunk: Chunk) {
        self.rows += chunk.left();
        self.bytes += chunk.bytes;
        let chunks = self.pages.entry(page).or_default();
        chunks.push(chunk);
        while let [.., before, last] = chunks.as_slice()
            && before.left() <= 2 * last.left()
            && before.left() + last.left() <= CHUNK_ROWS_MAX
        {
            let swallowed: Vec<Chunk> = chunks.drain(chunks.len() - 2..).collect();
            let parts: Vec<Changes> = swallowed.iter().map(Chunk::rest).collect();
            let dues = swallowed.iter().flat_map(|chunk| &chunk.dues[chunk.from..]).copied().collect();
            let merged = Chunk::new(Changes::concat(&self.schema, &parts), dues);
            self.bytes = self.bytes + merged.bytes - swallowed.iter().map(|chunk| chunk.bytes).sum::<usize>();
            self.gone.extend(swallowed.into_iter().filter_map(|chunk| chunk.stored));
            chunks.push(merged);
        }
    }

    /// Gives out what has become due at a time that `time` gave; if time has fallen, what is not due any more.
    pub(super) fn turn(&mut self, now: Now) -> Turned {
        let before = std::mem::replace(&mut self.reached.given, now.time);
        let (mut given, mut taken_back) = (Vec::new(), Vec::new());
        match before < now.time {
            true => self.between(before, now.time, &mut given),
            false => self.between(now.time, before, &mut taken_back),
        }
        self.forget_until(now.never_below);
        Turned { given, taken_back }
    }

    fn between(&mut self, after: i64, until: i64, output: &mut Vec<Changes>) {
        if after == until {
            return;
        }
        let [first, last] = [after, until].map(|due| due.div_euclid(PAGE_US));
        for (page, chunks) in self.pages.range_mut(first..=last) {
            let whole = first < *page && *page < last;
            let found = chunks.iter_mut().map(|chunk| if whole { chunk.rest() } else { chunk.between(after, until) });
            output.extend(found.filter(|changes| !changes.is_empty()));
        }
    }

    fn forget_until(&mut self, due: i64) {
        if due <= self.reached.forgotten {
            return;
        }
        self.reached.forgotten = due;
        let later = self.pages.split_off(&due.div_euclid(PAGE_US));
        for chunk in std::mem::replace(&mut self.pages, later).into_values().flatten() {
            self.rows -= chunk.left();
            self.bytes -= chunk.bytes;
            self.gone.extend(chunk.stored);
        }
        let Some(mut page) = self.pages.first_entry().filter(|page| *page.key() == due.div_euclid(PAGE_US)) else { return };
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
        changes.deletes.append(&mut self.gone);
        for chunk in self.pages.values_mut().flatten().filter(|chunk| chunk.stored.is_none()) {
            let key = self.next.to_be_bytes().to_vec();
            self.next += 1;
            changes.puts.push(StateEntry { bucket: self.bucket, key: key.clone(), value: encode_changes(&chunk.rest())? });
            chunk.stored = Some((self.bucket, key));
        }
        // Beside each chunk: those that another worker stored may go to another one again.
        let stored = self.pages.values().flatten().filter_map(|chunk| chunk.stored.as_ref());
        let buckets: BTreeSet<u8> = stored.map(|(bucket, _)| *bucket).chain([self.bucket]).collect();
        if self.stored != (self.reached, buckets.clone()) {
            let Reached { forgotten, given } = self.reached;
            let value = [forgotten.to_be_bytes(), given.to_be_bytes()].concat();
            changes.puts.extend(buckets.iter().map(|bucket| StateEntry { bucket: *bucket, key: Vec::new(), value: value.clone() }));
            changes.deletes.extend(self.stored.1.difference(&buckets).map(|bucket| (*bucket, Vec::new())));
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
            let Some(first) = dues.iter().min() else { continue };
            let mut chunk = Chunk { stored: Some(stored), ..Chunk::new(changes, dues.clone()) };
            chunk.forget_until(self.reached.forgotten);
            if chunk.left() == 0 {
                self.gone.extend(chunk.stored);
                continue;
            }
            self.rows += chunk.left();
            self.bytes += chunk.bytes;
            self.pages.entry(first.div_euclid(PAGE_US)).or_default().push(chunk);
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
