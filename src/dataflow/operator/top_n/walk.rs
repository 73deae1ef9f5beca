//! The difference between the first rows of a group before and after its changes, found by walking both lists at once.
//!
//! ```text
//! held     a  b  b  c  d         places   1  2 3  4  5
//! changes    -b       +e  …      places   1  2    3  4  5     first 3: -b, +c
//! ```
//!
//! The walk starts at the first change (for `rank` at its first peer, for `dense_rank` at the front) and ends where both lists are past the
//! last place wanted, or where there are no more changes and a row's place is the same in both. Between changes it leaps over rows that
//! both lists have and that are the same in both: peers whose place is the same, and, where nobody asks for places, all that are wanted
//! before and after. So a change among a million peers, or a million places from the last, takes a few steps.

use super::Window;
use crate::dataflow::operator::ordered::{Count, Entries, GroupChanges, Place, RowRef, Sorted, not_there};
use crate::error::Result;
use crate::plan::Ranking;

/// Rows without a change, one after the other, before a leap is tried: it costs as much as some steps.
const STEPS_BEFORE_LEAP: u32 = 8;

/// Where the difference goes.
pub(super) trait Emit {
    /// Whether a row at another place is another row.
    fn numbered(&self) -> bool;
    /// A row (with its place, if that matters) comes or goes.
    fn emit(&mut self, row: RowRef<'_>, number: u64, weight: i64);
}

/// One group before its changes go in.
pub(super) struct Walk<'a> {
    window: Window,
    rows: &'a Sorted<Count>,
    changes: GroupChanges<'a>,
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
    fn place(&self, row: RowRef<'_>, ranking: Ranking) -> u64 {
        let peer = self.peers == Some(row.order);
        match ranking {
            Ranking::RowNumber => self.before + 1,
            Ranking::Rank if peer => self.rank,
            Ranking::Rank => self.before + 1,
            Ranking::DenseRank => self.groups + u64::from(!peer),
        }
    }

    /// Goes on by `copies` of a row; gives those that are in the window.
    fn take(&mut self, row: RowRef<'a>, copies: u64, window: &Window) -> Wanted {
        if copies == 0 {
            return Wanted { number: 0, copies: 0 };
        }
        let number = self.place(row, window.ranking);
        let first = self.before + 1;
        self.leap(copies, row.order, 0);
        let skipped = window.offset.saturating_sub(first - 1).min(copies);
        let wanted = match window.ranking {
            Ranking::RowNumber => window.end.saturating_sub(first - 1).min(copies).saturating_sub(skipped),
            _ if number <= window.end => copies - skipped,
            _ => 0,
        };
        let shift = if window.ranking == Ranking::RowNumber { skipped } else { 0 };
        Wanted { number: number + shift, copies: wanted }
    }

    /// Goes on by `rows`, of which the last ones, from number `start` on, have these order bytes. (`dense_rank` leaps among peers only.)
    fn leap(&mut self, rows: u64, peers: &'a [u8], start: u64) {
        if self.peers != Some(peers) {
            (self.groups, self.rank, self.peers) = (self.groups + 1, self.before + start + 1, Some(peers));
        }
        self.before += rows;
    }
}

impl<'a> Walk<'a> {
    /// `changes` are of this group.
    pub(super) fn new(window: Window, rows: &'a Sorted<Count>, changes: GroupChanges<'a>) -> Self {
        Walk { window, rows, changes }
    }

    /// Emits the difference; gives the number of steps that it took. Fails if a row is retracted that is not there, as far as the walk goes.
    pub(super) fn run(self, output: &mut impl Emit) -> Result<u64> {
        let Some((first, _)) = self.changes.get(0) else { return Ok(0) };
        let start = match self.window.ranking {
            Ranking::RowNumber => self.rows.find(Place::default(), first),
            Ranking::Rank => self.rows.seek(Place::default(), |row| row.order < first.order),
            Ranking::DenseRank => Place::default(),
        };
        let before = self.rows.before(start);
        let (mut old, mut new) = (Tracker::new(before), Tracker::new(before));
        let (mut held, mut number, mut unchanged, mut steps) = (self.rows.from(start), 0, 0, 0);
        loop {
            steps += 1;
            let (next_held, next_change) = (held.peek(), self.changes.get(number));
            let (row, count, weight) = match (next_held, next_change) {
                (None, None) => break,
                (Some(held), None) => (held.row, held.payload.0, 0),
                (None, Some((change, weight))) => (change, 0, weight),
                (Some(held), Some((change, weight))) if held.row == change => (change, held.payload.0, weight),
                (Some(held), Some((change, _))) if held.row < change => (held.row, held.payload.0, 0),
                (Some(_), Some((change, weight))) => (change, 0, weight),
            };
            let (old_place, new_place) = (old.place(row, self.window.ranking), new.place(row, self.window.ranking));
            if old_place.min(new_place) > self.window.end || (next_change.is_none() && self.is_settled(&old, &new, row)) {
                break;
            }
            unchanged = if weight == 0 { unchanged + 1 } else { 0 };
            if unchanged > STEPS_BEFORE_LEAP {
                unchanged = 0;
                if self.leap(&mut held, [&mut old, &mut new], (row, next_change.map(|(row, _)| row)), output.numbered()) {
                    continue;
                }
            }
            let changed = count.checked_add_signed(weight).ok_or_else(not_there)?;
            let (from, to) = (old.take(row, count, &self.window), new.take(row, changed, &self.window));
            self.emit(row, weight, from, to, output);
            if count > 0 {
                held.next();
            }
            number += usize::from(weight != 0);
        }
        // Behind the last place: what happened there is wanted by OFFSET alone.
        while let Some((row, weight)) = self.changes.get(number).filter(|_| self.window.complement) {
            output.emit(row, 0, weight);
            number += 1;
        }
        Ok(steps)
    }

    /// Whether `row` and all behind it are the same in both lists, if nothing changes any more.
    fn is_settled(&self, old: &Tracker<'_>, new: &Tracker<'_>, row: RowRef<'_>) -> bool {
        let place = |tracker: &Tracker| tracker.place(row, self.window.ranking);
        let beyond_offset = self.window.ranking == Ranking::DenseRank && old.before.min(new.before) >= self.window.offset;
        place(old) == place(new) && (old.before == new.before || beyond_offset)
    }

    /// Goes over rows that are the same in both lists, up to the next change at the most; `row` is the next one. Says whether it went anywhere.
    fn leap(
        &self,
        held: &mut Entries<'a, Count, ()>,
        [old, new]: [&mut Tracker<'a>; 2],
        (row, change): (RowRef<'a>, Option<RowRef<'_>>),
        numbered: bool,
    ) -> bool {
        let Window { ranking, offset, end, .. } = self.window;
        if old.before != new.before && old.before.min(new.before) < offset {
            return false;
        }
        let (here, position) = (held.place(), |place: &Place| self.rows.before(*place));
        let (old_place, new_place) = (old.place(row, ranking), new.place(row, ranking));
        let alike = old_place == new_place || (!numbered && old_place.max(new_place) <= end);
        // The rows up to the last place in either list are wanted in both, and peers as the next row is.
        let wanted =
            (!numbered && ranking != Ranking::DenseRank).then(|| self.rows.at(old.before + end.saturating_sub(old.before.max(new.before))));
        let peers = (ranking != Ranking::RowNumber && alike).then(|| self.rows.seek(here, |other| other.order <= row.order));
        let Some(target) = wanted.into_iter().chain(peers).max_by_key(position) else { return false };
        let change = change.map(|change| self.rows.find(here, change));
        let target = change.into_iter().chain([target]).min_by_key(position).unwrap_or(target);
        let rows = position(&target).saturating_sub(old.before);
        let Some(last) = self.rows.back_from(target).next().filter(|_| rows > 0) else { return false };
        let start = self.rows.before(self.rows.seek(Place::default(), |other| other.order < last.row.order)).saturating_sub(old.before);
        old.leap(rows, last.row.order, start);
        new.leap(rows, last.row.order, start);
        *held = self.rows.from(target);
        true
    }

    fn emit(&self, row: RowRef<'_>, weight: i64, from: Wanted, to: Wanted, output: &mut impl Emit) {
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
