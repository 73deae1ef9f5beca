//! How far a change reaches in a partition: which rows' results may differ. And, of a partition in the order of event time, which rows no
//! change will reach any more, and which of them nobody looks at either.
//!
//! ```text
//! time        1  2  3  4  5  6 │ 7  8       the watermark stands at 7: no row comes, goes or changes before
//! lag(2)      final            │            and 5 and 6 are looked at by what comes
//! lead(2)     final      waits │            for 5 to know its second next one, 7 must be passed
//! ```
//!
//! All positions are those of the partition as it is now. Too far is never wrong, only slower: a result that is the same is not emitted.

use std::ops::Range;

use super::{Memo, Results};
use crate::dataflow::operator::ordered::{Place, Sorted};
use crate::plan::{Extent, Ranking, WindowCall, WindowMethod};

/// Where rows came (all of the range) or went (just before its end).
pub(super) type Seam = Range<u64>;

/// The rows of a partition.
pub(super) type Rows = Sorted<Results, Memo>;

/// Which rows must be computed anew, from the front to the end, without overlaps.
pub(super) fn affected(rows: &Rows, calls: &[WindowCall], seams: &[Seam]) -> Vec<Range<u64>> {
    let total = rows.total();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for seam in seams {
        let reaches = calls.iter().map(|call| of_call(rows, total, call.method, seam));
        let widest = reaches.reduce(|left, right| left.start.min(right.start)..left.end.max(right.end)).unwrap_or_else(|| seam.clone());
        match ranges.last_mut() {
            Some(last) if last.end >= widest.start => *last = last.start.min(widest.start)..last.end.max(widest.end),
            _ => ranges.push(widest),
        }
        // The first seams of a call that reaches to the end have said everything, if nothing reaches backwards from the others.
        if ranges.first().is_some_and(|range| *range == (0..total)) {
            break;
        }
    }
    merged(ranges)
}

/// A later seam may reach back behind an earlier one's range.
fn merged(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for mut range in ranges {
        while let Some(last) = merged.pop_if(|last| last.end >= range.start) {
            range = last.start.min(range.start)..last.end.max(range.end);
        }
        merged.push(range);
    }
    merged.retain(|range| !range.is_empty());
    merged
}

fn of_call(rows: &Rows, total: u64, method: WindowMethod, seam: &Seam) -> Range<u64> {
    match method {
        WindowMethod::Place(Ranking::RowNumber) | WindowMethod::Running { peers: false, .. } => seam.start..total,
        WindowMethod::Place(_) | WindowMethod::Running { peers: true, .. } => back_from_seam(rows, seam, Extent::Peers(0))..total,
        WindowMethod::Near { head, .. } if seam.start < head => 0..total,
        WindowMethod::Near { before, after, .. } => {
            let end = match before {
                Extent::Rows(count) => seam.end.saturating_add(count).min(total),
                Extent::Peers(groups) => groups_end(rows, seam.end, groups, total),
                // What went was not later than the row behind.
                Extent::Within(micros) => times_end(rows, seam.end, micros, total),
                Extent::All => total,
            };
            back_from_seam(rows, seam, after)..end
        }
    }
}

/// Of the rows before a seam, the first that looks so far behind itself that it sees the seam.
fn back_from_seam(rows: &Rows, seam: &Seam, after: Extent) -> u64 {
    match after {
        Extent::Rows(count) => seam.start.saturating_sub(count),
        Extent::Peers(groups) => seam.start.checked_sub(1).map_or(0, |last| groups_start(rows, last, groups)),
        // What came or went is not earlier than the row before.
        Extent::Within(micros) => seam.start.checked_sub(1).map_or(0, |last| times_start(rows, last, micros)),
        Extent::All => 0,
    }
}

/// The rows that the results of `range` are computed from.
pub(super) fn needed(rows: &Rows, method: WindowMethod, range: &Range<u64>) -> Range<u64> {
    let total = rows.total();
    let WindowMethod::Near { before, after, .. } = method else { return range.clone() };
    let start = match before {
        Extent::Rows(count) => range.start.saturating_sub(count),
        Extent::Peers(groups) => groups_start(rows, range.start, groups),
        Extent::Within(micros) => times_start(rows, range.start, micros),
        Extent::All => 0,
    };
    let end = match after {
        Extent::Rows(count) => range.end.saturating_add(count).min(total),
        Extent::Peers(groups) => groups_end(rows, range.end.saturating_sub(1), groups, total),
        Extent::Within(micros) => times_end(rows, range.end.saturating_sub(1), micros, total),
        Extent::All => total,
    };
    start..end
}

/// How many rows of the partition's beginning are looked at from anywhere.
pub(super) fn head(calls: &[WindowCall]) -> u64 {
    let head = |call: &WindowCall| if let WindowMethod::Near { head, .. } = call.method { head } else { 0 };
    calls.iter().map(head).max().unwrap_or(0)
}

/// How many rows at the front have results that no change will reach, when all changes are at `low` and later. (Of frames that reach so far
/// forward in time, `low` is as far before what may change.)
pub(super) fn settled(rows: &Rows, calls: &[WindowCall], low: i64) -> u64 {
    let passed = rows.before(rows.seek(Place::default(), |row| row.is_before(low)));
    let of_call = |call: &WindowCall| match call.method {
        WindowMethod::Place(_) | WindowMethod::Running { .. } => passed,
        WindowMethod::Near { after, .. } => match after {
            Extent::Rows(count) => passed.saturating_sub(count),
            Extent::Peers(0) | Extent::Within(_) => passed,
            Extent::Peers(groups) => passed.checked_sub(1).map_or(0, |last| groups_start(rows, last, groups - 1)),
            Extent::All => 0,
        },
    };
    calls.iter().map(of_call).min().unwrap_or(passed)
}

/// The first row that a result behind the first `settled` ones needs, or that of a row that may still come, at `low` and later.
pub(super) fn still_needed(rows: &Rows, calls: &[WindowCall], settled: u64, low: i64) -> u64 {
    let next = rows.get(rows.at(settled)).map(|entry| entry.row);
    let of_call = |call: &WindowCall| match call.method {
        WindowMethod::Place(Ranking::RowNumber) | WindowMethod::Running { peers: false, .. } => settled,
        WindowMethod::Place(_) | WindowMethod::Running { peers: true, .. } => groups_start(rows, settled, 0),
        WindowMethod::Near { before, .. } => match before {
            Extent::Rows(count) => settled.saturating_sub(count),
            Extent::Peers(0) => groups_start(rows, settled, 0),
            // What comes has none of those that are there for peers.
            Extent::Peers(groups) if next.is_none() => settled.checked_sub(1).map_or(0, |last| groups_start(rows, last, groups - 1)),
            Extent::Peers(groups) => groups_start(rows, settled, groups),
            Extent::Within(micros) => {
                let first = next.and_then(|row| row.time()).map_or(low, |time| time.min(low)).saturating_sub(micros);
                rows.before(rows.seek(Place::default(), |row| row.is_before(first)))
            }
            Extent::All => 0,
        },
    };
    calls.iter().map(of_call).min().unwrap_or(settled)
}

/// The first row of the group of peers that is `groups` before that of the row at `position`.
pub(super) fn groups_start(rows: &Rows, position: u64, groups: u64) -> u64 {
    let Some(entry) = rows.get(rows.at(position)) else { return position };
    let start_of = |order: &[u8]| rows.seek(Place::default(), |row| row.order < order);
    let mut start = start_of(entry.row.order);
    for _ in 0..groups {
        let Some(before) = rows.back_from(start).next() else { break };
        start = start_of(before.row.order);
    }
    rows.before(start)
}

/// The end of the group of peers that is `groups` behind that of the row at `position`.
fn groups_end(rows: &Rows, position: u64, groups: u64, total: u64) -> u64 {
    let mut end = rows.at(position);
    if rows.get(end).is_none() {
        return total;
    }
    for _ in 0..=groups {
        let Some(entry) = rows.get(end) else { break };
        end = rows.seek(end, |row| row.order <= entry.row.order);
    }
    rows.before(end)
}

/// The first row that is not more than so much earlier than the row at `position`. A row without a time has only such ones beside it.
fn times_start(rows: &Rows, position: u64, micros: i64) -> u64 {
    let Some(entry) = rows.get(rows.at(position)) else { return position };
    match entry.row.time() {
        None => groups_start(rows, position, 0),
        Some(time) => rows.before(rows.seek(Place::default(), |row| row.is_before(time.saturating_sub(micros)))),
    }
}

/// Behind the last row that is not more than so much later than the row at `position`.
fn times_end(rows: &Rows, position: u64, micros: i64, total: u64) -> u64 {
    let at = rows.at(position);
    let Some(entry) = rows.get(at) else { return total };
    match entry.row.time() {
        None => groups_end(rows, position, 0, total),
        Some(time) => rows.before(rows.seek(at, |row| row.is_before(time.saturating_add(micros).saturating_add(1)))),
    }
}
