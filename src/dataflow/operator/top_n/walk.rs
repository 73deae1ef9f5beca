//! The difference between the first rows of a group before and after its changes, found by walking both lists at once.
//!
//! ```text
//! held     a  b  b  c  d         places   1  2 3  4  5
//! changes    -b       +e  …      places   1  2    3  4  5     first 3: -b, +c
//! ```
//!
//! The walk starts at the first change (for `rank` at its first peer, for `dense_rank` at the front) and ends where both lists are past the
//! last place wanted, or where there are no more changes and a row's place is the same in both.

use super::{Count, Window};
use crate::dataflow::operator::ordered::{Change, Place, Row, Sorted};
use crate::error::{Error, Result};
use crate::plan::Ranking;

/// Where the difference goes.
pub(super) trait Emit {
    /// Whether a row at another place is another row.
    fn numbered(&self) -> bool;
    /// A row (with its place, if that matters) comes or goes.
    fn emit(&mut self, row: &Row, number: u64, weight: i64);
}

/// One group before its changes go in.
pub(super) struct Walk<'a> {
    window: Window,
    rows: &'a Sorted<Count>,
    changes: &'a [Change],
}

/// How far one of both lists has been walked.
#[derive(Clone, Copy, Debug)]
struct Tracker<'a> {
    /// Rows so far.
    before: u64,
    /// Groups of peers so far.
    groups: u64,
    /// The rank of the last row.
    rank: u64,
    /// The last row's order bytes.
    peers: Option<&'a [u8]>,
}

/// The copies of one row that are wanted: the first one's place, how many.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wanted {
    number: u64,
    copies: u64,
}

impl<'a> Tracker<'a> {
    fn new(before: u64) -> Self {
        Tracker { before, groups: 0, rank: before, peers: None }
    }

    /// The place that a row would have here.
    fn place(&self, row: &Row, ranking: Ranking) -> u64 {
        let peer = self.peers == Some(row.order());
        match ranking {
            Ranking::RowNumber => self.before + 1,
            Ranking::Rank if peer => self.rank,
            Ranking::Rank => self.before + 1,
            Ranking::DenseRank => self.groups + u64::from(!peer),
        }
    }

    /// Goes on by `copies` of a row; gives those that are in the window.
    fn take(&mut self, row: &'a Row, copies: u64, window: &Window) -> Wanted {
        if copies == 0 {
            return Wanted { number: 0, copies: 0 };
        }
        let number = self.place(row, window.ranking);
        let first = self.before + 1;
        if self.peers != Some(row.order()) {
            (self.groups, self.rank, self.peers) = (self.groups + 1, first, Some(row.order()));
        }
        self.before += copies;
        let skipped = window.offset.saturating_sub(first - 1).min(copies);
        let wanted = match window.ranking {
            Ranking::RowNumber => window.end.saturating_sub(first - 1).min(copies).saturating_sub(skipped),
            _ if number <= window.end => copies - skipped,
            _ => 0,
        };
        let shift = if window.ranking == Ranking::RowNumber { skipped } else { 0 };
        Wanted { number: number + shift, copies: wanted }
    }
}

impl<'a> Walk<'a> {
    /// `changes` are of this group, sorted, each row once.
    pub(super) fn new(window: Window, rows: &'a Sorted<Count>, changes: &'a [Change]) -> Self {
        Walk { window, rows, changes }
    }

    /// Emits the difference. Fails if a row is retracted that is not there.
    pub(super) fn run(self, output: &mut impl Emit) -> Result<()> {
        let mut changes = self.changes.iter().peekable();
        let Some(first) = changes.peek().map(|change| &change.row) else { return Ok(()) };
        let start = match self.window.ranking {
            Ranking::RowNumber => self.rows.find(Place::default(), first),
            Ranking::Rank => self.rows.seek(Place::default(), |row| row.order() < first.order()),
            Ranking::DenseRank => Place::default(),
        };
        let mut held = self.rows.from(start).peekable();
        let (mut old, mut new) = (Tracker::new(self.rows.before(start)), Tracker::new(self.rows.before(start)));
        let mut inside = true;
        loop {
            let next_held = held.peek().map(|entry| &entry.row);
            let next_change = changes.peek().map(|change| &change.row);
            let (row, is_held, is_changed) = match (next_held, next_change) {
                (None, None) => break,
                (Some(held), None) => (held, true, false),
                (None, Some(change)) => (change, false, true),
                (Some(held), Some(change)) => (held.min(change), held <= change, change <= held),
            };
            let place = |tracker: &Tracker| tracker.place(row, self.window.ranking);
            let (old_place, new_place) = (place(&old), place(&new));
            inside = inside && old_place.min(new_place) <= self.window.end;
            if next_change.is_none() && (!inside || (old_place == new_place && old.before == new.before)) {
                break;
            }
            let count = if is_held { held.next().map_or(0, |entry| entry.payload.0) } else { 0 };
            let weight = if is_changed { changes.next().map_or(0, |change| change.weight) } else { 0 };
            let changed =
                count.checked_add_signed(weight).ok_or_else(|| Error::internal("a top-n's input retracted a row that was not there"))?;
            if inside {
                let (from, to) = (old.take(row, count, &self.window), new.take(row, changed, &self.window));
                self.emit(row, weight, from, to, output);
            } else if self.window.complement {
                output.emit(row, 0, weight);
            }
            if !inside {
                // Only the counts of changed rows are of interest any more.
                held = match changes.peek() {
                    Some(change) => self.rows.from(self.rows.find(start, &change.row)).peekable(),
                    None => break,
                };
            }
        }
        Ok(())
    }

    fn emit(&self, row: &Row, weight: i64, from: Wanted, to: Wanted, output: &mut impl Emit) {
        let change = to.copies as i64 - from.copies as i64;
        if self.window.complement {
            output.emit(row, 0, weight - change);
        } else if !output.numbered() {
            output.emit(row, 0, change);
        } else if self.window.ranking == Ranking::RowNumber {
            let numbers = |wanted: Wanted| wanted.number..wanted.number + wanted.copies;
            let (gone, come) = (numbers(from), numbers(to));
            gone.clone().filter(|number| !come.contains(number)).for_each(|number| output.emit(row, number, -1));
            come.filter(|number| !gone.contains(number)).for_each(|number| output.emit(row, number, 1));
        } else if from.number == to.number {
            output.emit(row, to.number, change);
        } else {
            output.emit(row, from.number, -(from.copies as i64));
            output.emit(row, to.number, to.copies as i64);
        }
    }
}
