//! A sorted list of rows with cheap insertion in the middle and access by position, for groups of one row and of a hundred million.
//!
//! ```text
//! few rows    one piece, in the list itself
//! many        blocks of up to 256 pieces of up to 256 rows; blocks and pieces know the weight of their rows
//! ```
//!
//! A row is found by three binary searches, a position by adding up the weights of blocks and then of one block's pieces: a few hundred
//! numbers next to each other, for ten million rows as for a hundred thousand. Equal rows may stand in it several times, side by side.

use super::directory::Directory;
use super::piece::{Entry, Payload, Piece};
use super::row::RowRef;

/// Rows per piece: inserting moves half of them on average, a few KiB.
const PIECE_ROWS: usize = 256;

/// A piece with more bytes is split although it has fewer rows: moving them would take longer than finding one more piece.
const PIECE_BYTES: usize = 32 << 10;

/// The rows of a group.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct Sorted<P: Payload, M = ()>(List<P, M>);

#[derive(Debug)]
enum List<P: Payload, M> {
    Few(Piece<P, M>),
    Many(Box<Directory<P, M>>),
}

/// Where an entry is, or would be. Good until the list changes before it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dataflow::operator) struct Place {
    pub(super) block: u32,
    pub(super) piece: u32,
    pub(super) index: u32,
    /// The weight of all pieces before.
    pub(super) base: u64,
}

impl Place {
    /// The weight of the pieces before its own.
    pub(in crate::dataflow::operator) fn base(self) -> u64 {
        self.base
    }

    /// Whether it is its piece's first row.
    pub(in crate::dataflow::operator) fn starts_piece(self) -> bool {
        self.index == 0
    }

    /// Whether its piece is the first of all.
    pub(in crate::dataflow::operator) fn in_first_piece(self) -> bool {
        self.block == 0 && self.piece == 0
    }

    /// The place of its piece's first row.
    pub(in crate::dataflow::operator) fn piece_start(self) -> Place {
        Place { index: 0, ..self }
    }
}

impl<P: Payload, M: Default> Default for Sorted<P, M> {
    fn default() -> Self {
        Sorted(List::Few(Piece::default()))
    }
}

/// Entries from a place on.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct Entries<'a, P: Payload, M> {
    list: &'a Sorted<P, M>,
    piece: Option<&'a Piece<P, M>>,
    place: Place,
}

impl<P: Payload, M> Clone for Entries<'_, P, M> {
    fn clone(&self) -> Self {
        Entries { ..*self }
    }
}

impl<'a, P: Payload, M: Default> Entries<'a, P, M> {
    /// The next entry, which stays the next.
    pub(in crate::dataflow::operator) fn peek(&mut self) -> Option<Entry<'a, P>> {
        loop {
            if let Some(entry) = self.piece?.get(self.place.index as usize) {
                return Some(entry);
            }
            self.place = self.list.next_piece(self.place);
            self.piece = self.list.piece(self.place);
        }
    }

    /// The place of the next entry, once that was looked at.
    pub(in crate::dataflow::operator) fn place(&self) -> Place {
        self.place
    }
}

impl<'a, P: Payload, M: Default> Iterator for Entries<'a, P, M> {
    type Item = Entry<'a, P>;

    fn next(&mut self) -> Option<Entry<'a, P>> {
        let entry = self.peek()?;
        self.place.index += 1;
        Some(entry)
    }
}

impl<P: Payload, M: Default> Sorted<P, M> {
    /// The weight of all rows.
    pub(in crate::dataflow::operator) fn total(&self) -> u64 {
        match &self.0 {
            List::Few(piece) => piece.weight(),
            List::Many(directory) => directory.weight(),
        }
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            List::Few(piece) => piece.len(),
            List::Many(directory) => directory.len(),
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        match &self.0 {
            List::Few(piece) => piece.heap(),
            List::Many(directory) => directory.heap(),
        }
    }

    /// Looks at the rows of a small list, so that they are near when they are needed; what comes out means nothing.
    pub(super) fn glimpse(&self) -> u64 {
        match &self.0 {
            List::Few(piece) => piece.glimpse(),
            List::Many(_) => 0,
        }
    }

    /// Whether there is no row.
    pub(in crate::dataflow::operator) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The piece of a place; none behind the last.
    fn piece(&self, place: Place) -> Option<&Piece<P, M>> {
        match &self.0 {
            List::Few(piece) => (place.in_first_piece() && piece.len() > 0).then_some(piece),
            List::Many(directory) => directory.piece(place),
        }
    }

    /// Behind the last row.
    fn end(&self) -> Place {
        let block = match &self.0 {
            List::Few(piece) => u32::from(piece.len() > 0),
            List::Many(directory) => directory.blocks(),
        };
        Place { block, piece: 0, index: 0, base: self.total() }
    }

    /// The first place from `from` on whose row is not `before` the wanted ones. `before` holds for a front part of the list.
    pub(in crate::dataflow::operator) fn seek(&self, from: Place, before: impl Fn(RowRef<'_>) -> bool) -> Place {
        let Some(near) = self.piece(from) else { return self.end() };
        if near.last().is_some_and(|last| !before(last)) {
            return Place { index: near.partition_point(from.index as usize, before) as u32, ..from };
        }
        let start = match &self.0 {
            List::Few(_) => None,
            List::Many(directory) => directory.seek(from, &before),
        };
        let Some(start) = start else { return self.end() };
        let index = self.piece(start).map_or(0, |piece| piece.partition_point(0, before));
        Place { index: index as u32, ..start }
    }

    /// The first entry of `row`, or where it would be.
    pub(in crate::dataflow::operator) fn find(&self, from: Place, row: RowRef<'_>) -> Place {
        self.seek(from, |other| other < row)
    }

    /// The entry whose rows cover `position`; the end if there are not so many.
    pub(in crate::dataflow::operator) fn at(&self, position: u64) -> Place {
        if position >= self.total() {
            return self.end();
        }
        let start = match &self.0 {
            List::Few(_) => Place::default(),
            List::Many(directory) => directory.at(position),
        };
        let index = self.piece(start).map_or(0, |piece| piece.locate(position - start.base));
        Place { index: index as u32, ..start }
    }

    /// The weight of all rows before a place.
    pub(in crate::dataflow::operator) fn before(&self, place: Place) -> u64 {
        place.base + self.piece(place).map_or(0, |piece| piece.weight_before(place.index as usize))
    }

    /// The entry at a place.
    pub(in crate::dataflow::operator) fn get(&self, place: Place) -> Option<Entry<'_, P>> {
        self.piece(place)?.get(place.index as usize)
    }

    /// All entries from a place on.
    pub(in crate::dataflow::operator) fn from(&self, place: Place) -> Entries<'_, P, M> {
        Entries { list: self, piece: self.piece(place), place }
    }

    /// All entries before a place, the nearest first.
    pub(in crate::dataflow::operator) fn back_from(&self, mut place: Place) -> impl Iterator<Item = Entry<'_, P>> {
        std::iter::from_fn(move || {
            place = self.place_before(place)?;
            self.get(place)
        })
    }

    /// The place of the entry before a place.
    pub(in crate::dataflow::operator) fn place_before(&self, mut place: Place) -> Option<Place> {
        if place.index == 0 {
            place = self.previous_piece(place)?;
            place.index = self.piece(place)?.len() as u32;
        }
        place.index -= 1;
        Some(place)
    }

    /// The last entry.
    pub(in crate::dataflow::operator) fn last(&self) -> Option<Entry<'_, P>> {
        self.back_from(self.end()).next()
    }

    /// The place behind an entry.
    pub(in crate::dataflow::operator) fn next(&self, place: Place) -> Place {
        match self.piece(place) {
            Some(piece) if (place.index as usize) + 1 < piece.len() => Place { index: place.index + 1, ..place },
            _ => self.next_piece(place),
        }
    }

    /// The place of the first row of the piece behind.
    pub(in crate::dataflow::operator) fn next_piece(&self, place: Place) -> Place {
        let base = place.base + self.piece(place).map_or(0, Piece::weight);
        let next = Place { piece: place.piece + 1, index: 0, base, ..place };
        match &self.0 {
            List::Many(directory) if directory.piece(next).is_some() => next,
            _ => Place { block: place.block + 1, piece: 0, ..next },
        }
    }

    /// The place of the first row of the piece before.
    pub(in crate::dataflow::operator) fn previous_piece(&self, place: Place) -> Option<Place> {
        let (block, piece) = match (place.block.checked_sub(1), place.piece.checked_sub(1)) {
            (_, Some(piece)) => (place.block, piece),
            (Some(block), None) => (block, self.pieces(block).checked_sub(1)?),
            (None, None) => return None,
        };
        let previous = Place { block, piece, index: 0, base: 0 };
        Some(Place { base: place.base - self.piece(previous)?.weight(), ..previous })
    }

    /// How many pieces a block has.
    fn pieces(&self, block: u32) -> u32 {
        match &self.0 {
            List::Few(_) => 1,
            List::Many(directory) => directory.pieces(block),
        }
    }

    /// The entries of a place's piece; none behind the last piece.
    pub(in crate::dataflow::operator) fn piece_entries(&self, place: Place) -> impl DoubleEndedIterator<Item = Entry<'_, P>> + Clone {
        self.piece(place).into_iter().flat_map(Piece::entries)
    }

    /// Puts a row where `find` says; gives its place.
    pub(in crate::dataflow::operator) fn insert(&mut self, place: Place, row: RowRef<'_>, payload: P) -> Place {
        self.insert_entry(place, row, payload, false)
    }

    /// Puts back what a checkpoint held, behind all equal rows.
    pub(super) fn insert_stored(&mut self, row: RowRef<'_>, payload: P) {
        let behind = self.last().is_none_or(|last| last.row <= row);
        let place = if behind { self.end() } else { self.seek(Place::default(), |other| other <= row) };
        self.insert_entry(place, row, payload, true);
    }

    fn insert_entry(&mut self, place: Place, row: RowRef<'_>, payload: P, stored: bool) -> Place {
        let place = self.with_room(place);
        self.change(place, |piece| piece.insert(place.index as usize, row, payload, stored));
        place
    }

    /// The same place, where a row can come in.
    fn with_room(&mut self, place: Place) -> Place {
        let full = |piece: &Piece<P, M>| piece.len() >= PIECE_ROWS || (piece.len() > 1 && piece.bytes() >= PIECE_BYTES);
        match self.piece(place) {
            Some(piece) if full(piece) => return self.many().split(place),
            Some(_) => return place,
            None => {}
        }
        let Some(last) = self.previous_piece(self.end()) else { return Place::default() };
        match self.piece(last) {
            Some(piece) if !full(piece) => Place { index: piece.len() as u32, ..last },
            _ => self.many().push(Piece::default()),
        }
    }

    fn many(&mut self) -> &mut Directory<P, M> {
        if let List::Few(piece) = &mut self.0 {
            self.0 = List::Many(Box::new(Directory::new(std::mem::take(piece))));
        }
        match &mut self.0 {
            List::Many(directory) => directory,
            List::Few(_) => unreachable!("many pieces were made of few just now"),
        }
    }

    fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Piece<P, M>) -> R) -> R {
        match &mut self.0 {
            List::Few(piece) => change(piece),
            List::Many(directory) => directory.change(place, change),
        }
    }

    /// Takes an entry out; gives what was known of it.
    pub(super) fn remove(&mut self, place: Place) -> P {
        let removed = self.change(place, |piece| piece.remove(place.index as usize));
        match &mut self.0 {
            List::Few(piece) if piece.len() == 0 => *piece = Piece::default(),
            List::Few(_) => {}
            List::Many(directory) => {
                let small = |piece: &Piece<P, M>| piece.len() <= PIECE_ROWS / 8 && piece.bytes() <= PIECE_BYTES / 2;
                let fits = |left: &Piece<P, M>, right: &Piece<P, M>| {
                    left.len() + right.len() <= PIECE_ROWS / 2 && left.bytes() + right.bytes() <= PIECE_BYTES / 2
                };
                if let Some(last) = directory.tidy(place, small, fits) {
                    self.0 = List::Few(last);
                }
            }
        }
        removed
    }

    /// The place of the last entry.
    pub(super) fn last_place(&self) -> Option<Place> {
        let last = self.previous_piece(self.end())?;
        let index = self.piece(last)?.len().checked_sub(1)?;
        Some(Place { index: index as u32, ..last })
    }

    /// Whether the last checkpoint holds the row at a place.
    pub(super) fn is_stored(&self, place: Place) -> bool {
        self.piece(place).is_some_and(|piece| piece.is_stored(place.index as usize))
    }

    /// Changes what is known of a row.
    pub(in crate::dataflow::operator) fn update(&mut self, place: Place, change: impl FnOnce(&mut P)) {
        self.change(place, |piece| piece.update(place.index as usize, change));
    }

    /// What is remembered of the place before a place's piece.
    pub(in crate::dataflow::operator) fn memo(&self, place: Place) -> Option<&M> {
        self.piece(place).map(|piece| &piece.memo)
    }

    /// Remembers something of the place before a place's piece.
    pub(in crate::dataflow::operator) fn remember(&mut self, place: Place, memo: M) {
        self.change(place, |piece| piece.memo = memo);
    }

    /// Forgets what is remembered of places at `position` and behind.
    pub(in crate::dataflow::operator) fn forget_memos(&mut self, position: u64) {
        let mut place = self.at(position).piece_start();
        while self.piece(place).is_some() {
            if place.base >= position {
                self.remember(place, M::default());
            }
            place = self.next_piece(place);
        }
    }

    /// The entries that the last checkpoint does not know as they are, each row once, with all entries of that row.
    pub(super) fn take_dirty(&mut self, mut each: impl FnMut(RowRef<'_>, Vec<&P>)) {
        let mut pieces = Vec::new();
        let mut place = Place::default();
        let mut last: Option<RowRef<'_>> = None;
        while let Some(piece) = self.piece(place) {
            if piece.may_be_dirty() {
                for index in (0..piece.len()).filter(|index| piece.is_dirty(*index)) {
                    let row = piece.row(index);
                    if last != Some(row) {
                        each(row, self.equal(Place { index: index as u32, ..place }, row));
                        last = Some(row);
                    }
                }
                pieces.push(place);
            }
            place = self.next_piece(place);
        }
        for place in pieces {
            self.change(place, Piece::settle);
        }
    }

    /// What is known of all entries of a row, of which one is at `place`.
    fn equal(&self, place: Place, row: RowRef<'_>) -> Vec<&P> {
        let front = self.back_from(place).take_while(|entry| entry.row == row).map(|entry| entry.payload);
        let mut payloads: Vec<&P> = front.collect();
        payloads.reverse();
        payloads.extend(self.from(place).take_while(|entry| entry.row == row).map(|entry| entry.payload));
        payloads
    }
}
