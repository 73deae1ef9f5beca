//! What changes for the left rows of one key when rows of both sides come and go.
//!
//! ```text
//! right before      a       b      d            the change of b and c concerns the left rows from b on, before d
//! right after       a         c    d
//! left              1     2    3     4          3: its row was b, and is c
//!                         [────────)
//! ```
//!
//! Between such stretches only left rows are looked at that come or go themselves; within, all of them. How far a walk has come is a few
//! numbers, so that it can be put aside after any row.

use std::cmp::Ordering;

use crate::dataflow::operator::ordered::{Batch, Count, GroupChanges, Place, RowRef, Sorted, not_there};
use crate::dataflow::operator::rows::{PART_BYTES, PART_ROWS};
use crate::error::Result;

/// What comes out at once.
#[derive(Default)]
pub(super) struct Emitted {
    /// Of the left and the right rows at hand.
    pub(super) slots: [u32; 2],
    pub(super) left: Batch,
    /// For each left row its right one, by its place in `right`.
    pub(super) partners: Vec<Option<u32>>,
    /// Many left rows may share one.
    pub(super) right: Batch,
    pub(super) weights: Vec<i64>,
    /// Bytes of the rows that come out, with a right row counted for each of its left ones.
    bytes: usize,
    outer: bool,
}

/// One key before its changes go in.
pub(super) struct Walk<'a> {
    /// The left rows, and the right ones.
    held: [&'a Sorted<Count>; 2],
    changes: [GroupChanges<'a>; 2],
    inclusive: bool,
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    left: At,
    right: At,
    /// The right change that comes next makes a row appear or disappear.
    turns: bool,
    /// The right rows of the left rows at hand, before and after, if they differ.
    apart: Option<[Option<Found>; 2]>,
}

/// The next row of one side that is there, and the next that changes.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    held: Place,
    change: usize,
}

/// Where a right row stands.
#[derive(Clone, Copy, Debug)]
enum Found {
    Held(Place),
    Changed(usize),
}

/// A row with how often it is there before and after.
#[derive(Clone, Copy)]
struct Turn<'a> {
    row: RowRef<'a>,
    before: u64,
    after: u64,
    found: Found,
    next: At,
}

impl Emitted {
    pub(super) fn new(outer: bool) -> Self {
        Emitted { outer, ..Emitted::default() }
    }

    /// Whether it is as much as should come out at once.
    pub(super) fn is_full(&self) -> bool {
        self.weights.len() >= PART_ROWS || self.bytes >= PART_BYTES
    }

    fn push(&mut self, left: RowRef<'_>, right: Option<RowRef<'_>>, weight: i64) {
        if weight == 0 || right.is_none() && !self.outer {
            return;
        }
        let length = |row: RowRef<'_>| row.order.len() + row.rest.len();
        self.bytes += length(left) + right.map_or(0, length);
        self.left.push(self.slots[0], left);
        self.weights.push(weight);
        let partner = right.map(|right| self.place_of(right));
        self.partners.push(partner);
    }

    /// Left rows next to each other have the same right row, or the same two: before and after.
    fn place_of(&mut self, right: RowRef<'_>) -> u32 {
        let (slot, end) = (self.slots[1], self.right.len());
        let known = (end.saturating_sub(2)..end).rev().find(|number| self.right.holds(*number, slot, right));
        if known.is_none() {
            self.right.push(slot, right);
        }
        known.unwrap_or(end) as u32
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(held: [&'a Sorted<Count>; 2], changes: [GroupChanges<'a>; 2], inclusive: bool) -> Self {
        Walk { held, changes, inclusive }
    }

    /// Emits the difference, as far as it gets with so many steps; says whether that was all. Fails if a right row is retracted that is
    /// not there.
    pub(super) fn run(&self, cursor: &mut Cursor, emitted: &mut Emitted, steps: &mut usize) -> Result<bool> {
        while *steps > 0 && !emitted.is_full() {
            *steps -= 1;
            let done = match cursor.apart {
                None => self.together(cursor, emitted)?,
                Some(partners) => self.apart(partners, cursor, emitted)?,
            };
            if done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where left rows have the right row that they had: the next one that comes or goes itself, or on to the next right row that does.
    fn together(&self, cursor: &mut Cursor, emitted: &mut Emitted) -> Result<bool> {
        let right = self.changes[1].get(cursor.right.change);
        if let Some((row, weight)) = right.filter(|_| !cursor.turns) {
            let before = self.count(row);
            let after = before.checked_add_signed(weight).ok_or_else(not_there)?;
            cursor.turns = (before > 0) != (after > 0);
            cursor.right.change += usize::from(!cursor.turns);
            return Ok(false);
        }
        let sees = |left: RowRef<'_>| right.is_some_and(|(right, _)| self.sees(left.order, right.order));
        if let Some((row, weight)) = self.changes[0].get(cursor.left.change).filter(|(left, _)| !sees(*left)) {
            emitted.push(row, self.partner(row.order), weight);
            cursor.left.change += 1;
            return Ok(false);
        }
        let Some((row, _)) = right else { return Ok(true) };
        cursor.turns = false;
        cursor.left.held = self.held[0].seek(Place::default(), |left| !self.sees(left.order, row.order));
        cursor.right.held = self.held[1].find(Place::default(), row);
        let before = self.held[1].place_before(cursor.right.held).map(Found::Held);
        cursor.apart = Some([before, before]);
        Ok(false)
    }

    /// Where left rows may have another right row than they had: the next right row that the next left row sees, or else that left row.
    fn apart(&self, mut partners: [Option<Found>; 2], cursor: &mut Cursor, emitted: &mut Emitted) -> Result<bool> {
        let Some(left) = self.turn(0, cursor.left)? else { return Ok(true) };
        let right = self.turn(1, cursor.right)?;
        if let Some(right) = right.filter(|right| self.sees(left.row.order, right.row.order)) {
            for (partner, count) in partners.iter_mut().zip([right.before, right.after]) {
                *partner = if count > 0 { Some(right.found) } else { *partner };
            }
            cursor.right = right.next;
            let [before, after] = partners.map(|partner| self.row(partner));
            cursor.apart = (before != after).then_some(partners);
            return Ok(false);
        }
        let [before, after] = partners.map(|partner| self.row(partner));
        emitted.push(left.row, before, -weight(left.before)?);
        emitted.push(left.row, after, weight(left.after)?);
        cursor.left = left.next;
        Ok(false)
    }

    /// Whether a right row of this order is one that the left row looks back on.
    fn sees(&self, left: &[u8], right: &[u8]) -> bool {
        right < left || self.inclusive && right == left
    }

    /// The right row that a left row of this order has, where nothing changes.
    fn partner(&self, left: &[u8]) -> Option<RowRef<'a>> {
        let behind = self.held[1].seek(Place::default(), |row| self.sees(left, row.order));
        self.held[1].back_from(behind).next().map(|entry| entry.row)
    }

    /// How often a right row is there.
    fn count(&self, row: RowRef<'_>) -> u64 {
        let place = self.held[1].find(Place::default(), row);
        self.held[1].get(place).filter(|entry| entry.row == row).map_or(0, |entry| entry.payload.0)
    }

    fn row(&self, found: Option<Found>) -> Option<RowRef<'a>> {
        match found? {
            Found::Held(place) => self.held[1].get(place).map(|entry| entry.row),
            Found::Changed(number) => self.changes[1].get(number).map(|(row, _)| row),
        }
    }

    /// The next row of a side: one that is there, or comes.
    fn turn(&self, side: usize, at: At) -> Result<Option<Turn<'a>>> {
        let held = self.held[side].get(at.held);
        let change = self.changes[side].get(at.change);
        // Of a row that is there and changes, both are the next.
        let first = held.zip(change).map_or(Ordering::Equal, |(entry, (row, _))| entry.row.cmp(&row));
        let (held, change) = (held.filter(|_| first.is_le()), change.filter(|_| first.is_ge()));
        let before = held.map_or(0, |entry| entry.payload.0);
        let after = before.checked_add_signed(change.map_or(0, |(_, weight)| weight)).ok_or_else(not_there)?;
        let (row, found) = match (held, change) {
            (Some(entry), _) => (entry.row, Found::Held(at.held)),
            (None, Some((row, _))) => (row, Found::Changed(at.change)),
            (None, None) => return Ok(None),
        };
        let next = At {
            held: if held.is_some() { self.held[side].next(at.held) } else { at.held },
            change: at.change + usize::from(change.is_some()),
        };
        Ok(Some(Turn { row, before, after, found, next }))
    }
}

fn weight(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| not_there())
}
