//! A sorted list of rows with cheap insertion in the middle and access by position: a list of pieces of at most 256 rows.
//!
//! Each piece knows the weight of its rows, so a position is found by adding up pieces, and a row by two binary searches. A group of one
//! row costs two small vectors. Equal rows may stand in it several times, next to each other.

use super::row::Row;

/// Rows per piece: inserting moves half of them on average, some 5 KiB; finding a position in a million rows adds up 4,000 to 8,000 pieces.
const PIECE_ROWS: usize = 256;

/// What is known of a row.
pub(in crate::dataflow::operator) trait Payload {
    /// How many rows the entry stands for.
    fn weight(&self) -> u64;
    /// Appends what a checkpoint is to hold.
    fn write(&self, output: &mut Vec<u8>);
    /// Takes what `write` wrote from the front of `input`; `None` if it is damaged.
    fn read(input: &mut &[u8]) -> Option<Self>
    where
        Self: Sized;
    /// Bytes on the heap.
    fn heap(&self) -> usize {
        0
    }
}

/// A row in the list.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct Entry<P> {
    /// The row.
    pub(in crate::dataflow::operator) row: Row,
    /// What is known of it.
    pub(in crate::dataflow::operator) payload: P,
    /// Whether the last checkpoint holds something else of it, or nothing.
    pub(super) dirty: bool,
    /// Whether the last checkpoint holds the row.
    pub(super) stored: bool,
}

/// Rows next to each other, and what the list's owner remembers of the place before the first.
#[derive(Debug)]
struct Piece<P, M> {
    entries: Vec<Entry<P>>,
    weight: u64,
    memo: M,
    /// Whether any entry may be dirty.
    dirty: bool,
}

/// The rows of a group.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct Sorted<P, M = ()> {
    pieces: Vec<Piece<P, M>>,
}

/// Where an entry is, or would be. Good until the list changes before it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dataflow::operator) struct Place {
    piece: usize,
    index: usize,
    /// The weight of all pieces before.
    base: u64,
}

impl Place {
    /// Which piece.
    pub(in crate::dataflow::operator) fn piece(self) -> usize {
        self.piece
    }

    /// The weight of the pieces before its own.
    pub(in crate::dataflow::operator) fn base(self) -> u64 {
        self.base
    }
}

impl<P, M> Default for Sorted<P, M> {
    fn default() -> Self {
        Sorted { pieces: Vec::new() }
    }
}

impl<P: Payload, M: Default> Sorted<P, M> {
    /// The weight of all rows.
    pub(in crate::dataflow::operator) fn total(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.weight).sum()
    }

    /// Whether there is no row.
    pub(in crate::dataflow::operator) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The first place from `from` on whose row is not `before` the wanted ones. `before` holds for a front part of the list.
    pub(in crate::dataflow::operator) fn seek(&self, from: Place, before: impl Fn(&Row) -> bool) -> Place {
        let last_before = |piece: &Piece<P, M>| piece.entries.last().is_some_and(|entry| before(&entry.row));
        let skipped = self.pieces[from.piece.min(self.pieces.len())..].partition_point(last_before);
        let piece = from.piece + skipped;
        let base = from.base + self.pieces[from.piece.min(piece)..piece].iter().map(|piece| piece.weight).sum::<u64>();
        let index = self.pieces.get(piece).map_or(0, |piece| piece.entries.partition_point(|entry| before(&entry.row)));
        Place { piece, index, base }
    }

    /// The first entry of `row`, or where it would be.
    pub(in crate::dataflow::operator) fn find(&self, from: Place, row: &Row) -> Place {
        self.seek(from, |other| other < row)
    }

    /// The entry whose rows cover `position`; the end if there are not so many.
    pub(in crate::dataflow::operator) fn at(&self, position: u64) -> Place {
        let mut base = 0;
        for (piece, held) in self.pieces.iter().enumerate() {
            if base + held.weight > position {
                let mut before = base;
                let index = held.entries.iter().position(|entry| {
                    before += entry.payload.weight();
                    before > position
                });
                return Place { piece, index: index.unwrap_or(0), base };
            }
            base += held.weight;
        }
        Place { piece: self.pieces.len(), index: 0, base }
    }

    /// The weight of all rows before a place.
    pub(in crate::dataflow::operator) fn before(&self, place: Place) -> u64 {
        let within = self.pieces.get(place.piece).map_or(0, |piece| {
            let entries = &piece.entries[..place.index];
            entries.iter().map(|entry| entry.payload.weight()).sum()
        });
        place.base + within
    }

    /// The entry at a place.
    pub(in crate::dataflow::operator) fn get(&self, place: Place) -> Option<&Entry<P>> {
        self.pieces.get(place.piece)?.entries.get(place.index)
    }

    /// All entries from a place on.
    pub(in crate::dataflow::operator) fn from(&self, place: Place) -> impl Iterator<Item = &Entry<P>> + Clone {
        let first = self.pieces.get(place.piece).map_or(&[] as &[Entry<P>], |piece| &piece.entries[place.index..]);
        let others = self.pieces.get(place.piece + 1..).unwrap_or_default();
        first.iter().chain(others.iter().flat_map(|piece| &piece.entries))
    }

    /// All entries before a place, the nearest first.
    pub(in crate::dataflow::operator) fn back_from(&self, place: Place) -> impl Iterator<Item = &Entry<P>> {
        let nearest = self.pieces.get(place.piece).map_or(&[] as &[Entry<P>], |piece| &piece.entries[..place.index]);
        let others = &self.pieces[..place.piece.min(self.pieces.len())];
        nearest.iter().rev().chain(others.iter().rev().flat_map(|piece| piece.entries.iter().rev()))
    }

    /// The last entry.
    pub(in crate::dataflow::operator) fn last(&self) -> Option<&Entry<P>> {
        self.pieces.last()?.entries.last()
    }

    /// The place behind an entry.
    pub(in crate::dataflow::operator) fn next(&self, place: Place) -> Place {
        match self.pieces.get(place.piece) {
            Some(piece) if place.index + 1 < piece.entries.len() => Place { index: place.index + 1, ..place },
            Some(piece) => Place { piece: place.piece + 1, index: 0, base: place.base + piece.weight },
            None => place,
        }
    }

    /// Puts a row where `find` says; gives its place.
    pub(in crate::dataflow::operator) fn insert(&mut self, place: Place, row: Row, payload: P) -> Place {
        self.insert_entry(place, Entry { row, payload, dirty: true, stored: false })
    }

    /// Puts back what a checkpoint held, behind all equal rows.
    pub(super) fn insert_stored(&mut self, row: Row, payload: P) {
        let place = self.seek(Place::default(), |other| *other <= row);
        self.insert_entry(place, Entry { row, payload, dirty: false, stored: true });
    }

    fn insert_entry(&mut self, mut place: Place, entry: Entry<P>) -> Place {
        if place.piece == self.pieces.len() {
            place = self.open_end();
        } else if self.pieces[place.piece].entries.len() >= PIECE_ROWS {
            place = self.split(place);
        }
        let piece = &mut self.pieces[place.piece];
        piece.weight += entry.payload.weight();
        piece.dirty |= entry.dirty;
        piece.entries.insert(place.index, entry);
        place
    }

    /// A place behind the last row, with room.
    fn open_end(&mut self) -> Place {
        let total = self.total();
        match self.pieces.last() {
            Some(last) if last.entries.len() < PIECE_ROWS => {
                Place { piece: self.pieces.len() - 1, index: last.entries.len(), base: total - last.weight }
            }
            _ => {
                self.pieces.push(Piece { entries: Vec::with_capacity(1), weight: 0, memo: M::default(), dirty: false });
                Place { piece: self.pieces.len() - 1, index: 0, base: total }
            }
        }
    }

    /// Makes two pieces of one; gives the place anew.
    fn split(&mut self, place: Place) -> Place {
        let piece = &mut self.pieces[place.piece];
        let half = piece.entries.len() / 2;
        let entries = piece.entries.split_off(half);
        let weight: u64 = entries.iter().map(|entry| entry.payload.weight()).sum();
        piece.weight -= weight;
        let (front, dirty) = (piece.weight, piece.dirty);
        self.pieces.insert(place.piece + 1, Piece { entries, weight, memo: M::default(), dirty });
        if place.index <= half { place } else { Place { piece: place.piece + 1, index: place.index - half, base: place.base + front } }
    }

    /// Takes an entry out.
    pub(in crate::dataflow::operator) fn remove(&mut self, place: Place) -> Entry<P> {
        let piece = &mut self.pieces[place.piece];
        let entry = piece.entries.remove(place.index);
        piece.weight -= entry.payload.weight();
        if piece.entries.is_empty() {
            self.pieces.remove(place.piece);
        }
        entry
    }

    /// Takes the last entry out.
    pub(in crate::dataflow::operator) fn pop(&mut self) -> Option<Entry<P>> {
        let piece = self.pieces.len().checked_sub(1)?;
        let index = self.pieces[piece].entries.len() - 1;
        Some(self.remove(Place { piece, index, base: 0 }))
    }

    /// Changes what is known of a row.
    pub(in crate::dataflow::operator) fn update(&mut self, place: Place, change: impl FnOnce(&mut P)) {
        let piece = &mut self.pieces[place.piece];
        let entry = &mut piece.entries[place.index];
        piece.weight -= entry.payload.weight();
        change(&mut entry.payload);
        piece.weight += entry.payload.weight();
        entry.dirty = true;
        piece.dirty = true;
    }

    /// Joins small neighbours: after rows were taken out.
    pub(in crate::dataflow::operator) fn tidy(&mut self) {
        let held: usize = self.pieces.iter().map(|piece| piece.entries.len()).sum();
        if self.pieces.len() < 8 || held / self.pieces.len() > PIECE_ROWS / 8 {
            return;
        }
        let mut joined: Vec<Piece<P, M>> = Vec::with_capacity(held / (PIECE_ROWS / 2) + 1);
        for piece in std::mem::take(&mut self.pieces) {
            match joined.last_mut() {
                Some(last) if last.entries.len() + piece.entries.len() <= PIECE_ROWS / 2 => {
                    last.weight += piece.weight;
                    last.dirty |= piece.dirty;
                    last.entries.extend(piece.entries);
                }
                _ => joined.push(piece),
            }
        }
        self.pieces = joined;
    }

    /// The entries of one piece; none behind the last piece.
    pub(in crate::dataflow::operator) fn piece(&self, piece: usize) -> &[Entry<P>] {
        self.pieces.get(piece).map_or(&[], |piece| &piece.entries)
    }

    /// The place of a piece's first row.
    pub(in crate::dataflow::operator) fn piece_start(&self, piece: usize) -> Place {
        Place { piece, index: 0, base: self.pieces[..piece].iter().map(|piece| piece.weight).sum() }
    }

    /// The place of the first row of the piece behind.
    pub(in crate::dataflow::operator) fn next_piece(&self, place: Place) -> Place {
        Place { piece: place.piece + 1, index: 0, base: place.base + self.pieces.get(place.piece).map_or(0, |piece| piece.weight) }
    }

    /// What is remembered of the place before a piece.
    pub(in crate::dataflow::operator) fn memo(&self, piece: usize) -> Option<&M> {
        self.pieces.get(piece).map(|piece| &piece.memo)
    }

    /// Remembers something of the place before a piece.
    pub(in crate::dataflow::operator) fn remember(&mut self, piece: usize, memo: M) {
        self.pieces[piece].memo = memo;
    }

    /// Forgets what is remembered of places at `position` and behind.
    pub(in crate::dataflow::operator) fn forget_memos(&mut self, position: u64) {
        let mut base = 0;
        for piece in &mut self.pieces {
            if base >= position {
                piece.memo = M::default();
            }
            base += piece.weight;
        }
    }

    /// The entries that the last checkpoint does not know as they are, each row once, with all entries of that row.
    pub(super) fn take_dirty(&mut self, mut each: impl FnMut(&Row, Vec<&P>)) {
        let mut places: Vec<Place> = Vec::new();
        for (piece, held) in self.pieces.iter_mut().enumerate().filter(|(_, held)| held.dirty) {
            held.dirty = false;
            places.extend((0..held.entries.len()).filter(|index| held.entries[*index].dirty).map(|index| Place { piece, index, base: 0 }));
        }
        let mut last: Option<&Row> = None;
        for place in &places {
            let Some(entry) = self.get(*place) else { continue };
            if last != Some(&entry.row) {
                let first = self.find(Place::default(), &entry.row);
                let run = self.from(first).take_while(|other| other.row == entry.row);
                each(&entry.row, run.map(|entry| &entry.payload).collect());
                last = Some(&entry.row);
            }
        }
        for place in places {
            let entry = &mut self.pieces[place.piece].entries[place.index];
            (entry.dirty, entry.stored) = (false, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Payload, Place, Sorted};
    use crate::dataflow::operator::ordered::Row;

    #[derive(Debug)]
    struct Count(u64);

    impl Payload for Count {
        fn weight(&self) -> u64 {
            self.0
        }

        fn write(&self, output: &mut Vec<u8>) {
            output.push(self.0 as u8);
        }

        fn read(input: &mut &[u8]) -> Option<Self> {
            input.split_off_first().map(|count| Count(u64::from(*count)))
        }
    }

    fn row(number: u64) -> Row {
        Row::new(&number.to_be_bytes(), b"rest")
    }

    #[test]
    fn positions_and_rows_agree_under_random_insertions_and_removals() {
        let mut sorted: Sorted<Count> = Sorted::default();
        let mut model: Vec<(u64, u64)> = Vec::new();
        let mut state = 7_u64;
        let mut draw = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for step in 0..8_000 {
            let number = draw(3_000);
            let place = sorted.find(Place::default(), &row(number));
            let known = model.binary_search_by_key(&number, |(number, _)| *number);
            assert_eq!(known.is_ok(), sorted.get(place).is_some_and(|entry| entry.row == row(number)));
            match known {
                Ok(index) if step > 3_000 && draw(3) > 0 => {
                    sorted.remove(place);
                    model.remove(index);
                    sorted.tidy();
                }
                Ok(index) => {
                    sorted.update(place, |count| count.0 += 2);
                    model[index].1 += 2;
                }
                Err(index) => {
                    let weight = draw(3) + 1;
                    sorted.insert(place, row(number), Count(weight));
                    model.insert(index, (number, weight));
                }
            }
        }
        assert_eq!(sorted.total(), model.iter().map(|(_, weight)| weight).sum::<u64>());
        let mut before = 0;
        for (number, weight) in &model {
            for position in [before, before + weight - 1] {
                let place = sorted.at(position);
                assert_eq!(sorted.get(place).map(|entry| entry.row == row(*number)), Some(true));
                assert_eq!(sorted.before(place), before);
            }
            before += weight;
        }
        assert!(sorted.get(sorted.at(before)).is_none());
        let backwards: Vec<u64> = sorted.back_from(sorted.at(before)).map(|entry| entry.payload.0).collect();
        assert_eq!(backwards, model.iter().rev().map(|(_, weight)| *weight).collect::<Vec<_>>());
    }
}
