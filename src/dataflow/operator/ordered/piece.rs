//! Some sorted rows next to each other, in one string of bytes: no row has an allocation of its own.
//!
//! ```text
//! records    flags order rest │ flags order rest │ …     one byte of flags, then the row's bytes
//! ends       nothing, while all rows have equally long parts; else where each row's order and rest end
//! payloads   what is known of each row, in a column as its type likes it
//! ```
//!
//! Two bigints of which one is the group's key cost 10 bytes, and a quarter more for room.

use std::fmt::Debug;

use super::row::RowRef;

/// The last checkpoint holds something else of the row, or nothing.
const DIRTY: u8 = 1;

/// The last checkpoint holds the row.
const STORED: u8 = 2;

/// Room is made for so many bytes at least: what an allocator would round up to anyway.
const BYTES_AHEAD: usize = 32;

/// Bytes that come from memory at once.
const CACHE_LINE: usize = 64;

/// Cache lines of a piece that are looked at ahead of its use: what a small group has.
const LINES_AHEAD: usize = 16;

/// Fewer bytes of records than this are not worth giving back.
const SPARE_BYTES: usize = 64;

/// What is known of a row.
pub(in crate::dataflow::operator) trait Payload: Sized + Debug {
    /// What is known of many rows.
    type Column: Column<Self>;
    /// How many rows the entry stands for.
    fn weight(&self) -> u64;
    /// Appends what a checkpoint is to hold.
    fn write(&self, output: &mut Vec<u8>);
    /// Takes what `write` wrote from the front of `input`; `None` if it is damaged.
    fn read(input: &mut &[u8]) -> Option<Self>;
}

/// A list of payloads.
pub(in crate::dataflow::operator) trait Column<P>: Default + Debug {
    /// How many.
    fn len(&self) -> usize;
    /// One of them.
    fn get(&self, at: usize) -> &P;
    /// Puts one before that at `at`.
    fn insert(&mut self, at: usize, payload: P);
    /// Changes one.
    fn update(&mut self, at: usize, change: impl FnOnce(&mut P));
    /// Takes one out.
    fn remove(&mut self, at: usize) -> P;
    /// Takes out those from `at` on.
    fn split_off(&mut self, at: usize) -> Self;
    /// Adds others at the end.
    fn append(&mut self, others: Self);
    /// The weight of the first `end`.
    fn weight(&self, end: usize) -> u64;
    /// Which one covers a position, counted in weights from the first; the last, if there are not so many.
    fn locate(&self, position: u64) -> usize;
    /// Bytes on the heap.
    fn heap(&self) -> usize;
}

/// A row in the list.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct Entry<'a, P> {
    /// The row.
    pub(in crate::dataflow::operator) row: RowRef<'a>,
    /// What is known of it.
    pub(in crate::dataflow::operator) payload: &'a P,
}

impl<P> Clone for Entry<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Entry<'_, P> {}

/// Where a row's order and rest end.
#[derive(Clone, Copy, Debug)]
struct End {
    order: u32,
    rest: u32,
}

/// In a box, as few pieces have them.
#[derive(Debug)]
struct Ends(Vec<End>);

/// Rows next to each other, and what the list's owner remembers of the place before the first.
#[derive(Debug)]
pub(super) struct Piece<P: Payload, M> {
    records: Vec<u8>,
    payloads: P::Column,
    /// The lengths of every row's order and rest, unless there are `ends`.
    lengths: End,
    ends: Option<Box<Ends>>,
    weight: u64,
    pub(super) memo: M,
    /// Whether any row may be dirty.
    dirty: bool,
}

impl<P: Payload, M: Default> Default for Piece<P, M> {
    fn default() -> Self {
        Piece {
            records: Vec::new(),
            payloads: P::Column::default(),
            lengths: End { order: 0, rest: 0 },
            ends: None,
            weight: 0,
            memo: M::default(),
            dirty: false,
        }
    }
}

impl<P: Payload, M: Default> Piece<P, M> {
    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.payloads.len()
    }

    /// The weight of all rows.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// Bytes of records.
    pub(super) fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        let ends = self.ends.as_ref().map_or(0, |ends| size_of::<Ends>() + ends.0.capacity() * size_of::<End>());
        self.records.capacity() + ends + self.payloads.heap()
    }

    /// Where a record starts; also the end of the last one.
    fn start(&self, index: usize) -> usize {
        match &self.ends {
            None => index * (1 + (self.lengths.order + self.lengths.rest) as usize),
            Some(_) if index == 0 => 0,
            Some(ends) => ends.0[index - 1].rest as usize,
        }
    }

    /// The row at `index`, which is one.
    pub(super) fn row(&self, index: usize) -> RowRef<'_> {
        let start = self.start(index);
        let (order, rest) = match &self.ends {
            None => {
                let order = start + 1 + self.lengths.order as usize;
                (order, order + self.lengths.rest as usize)
            }
            Some(ends) => (ends.0[index].order as usize, ends.0[index].rest as usize),
        };
        RowRef { order: &self.records[start + 1..order], rest: &self.records[order..rest] }
    }

    /// The row at `index` with what is known of it.
    pub(super) fn get(&self, index: usize) -> Option<Entry<'_, P>> {
        (index < self.len()).then(|| Entry { row: self.row(index), payload: self.payloads.get(index) })
    }

    /// All rows.
    pub(in crate::dataflow::operator) fn entries(&self) -> impl DoubleEndedIterator<Item = Entry<'_, P>> + Clone {
        (0..self.len()).map(|index| Entry { row: self.row(index), payload: self.payloads.get(index) })
    }

    /// The last row.
    pub(super) fn last(&self) -> Option<RowRef<'_>> {
        self.len().checked_sub(1).map(|last| self.row(last))
    }

    /// How many rows from `from` on are `before` the wanted ones, and all rows before `from`. `before` holds for a front part.
    pub(super) fn partition_point(&self, from: usize, before: impl Fn(RowRef<'_>) -> bool) -> usize {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(self.row(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The weight of the first rows.
    pub(super) fn weight_before(&self, index: usize) -> u64 {
        self.payloads.weight(index)
    }

    /// Which row covers a position.
    pub(super) fn locate(&self, position: u64) -> usize {
        self.payloads.locate(position)
    }

    /// Looks at the records, so that they are near when they are needed; what comes out means nothing.
    pub(super) fn glimpse(&self) -> u64 {
        self.records.iter().step_by(CACHE_LINE).take(LINES_AHEAD).map(|byte| u64::from(*byte)).sum()
    }

    /// Puts a row before that at `index`; `stored`: it comes from the last checkpoint.
    pub(super) fn insert(&mut self, index: usize, row: RowRef<'_>, payload: P, stored: bool) {
        let lengths = End { order: row.order.len() as u32, rest: row.rest.len() as u32 };
        if self.len() == 0 {
            (self.lengths, self.ends) = (lengths, None);
        } else if self.ends.is_none() && (self.lengths.order, self.lengths.rest) != (lengths.order, lengths.rest) {
            self.keep_ends();
        }
        let (start, length) = (self.start(index), 1 + row.order.len() + row.rest.len());
        if let Some(ends) = &mut self.ends {
            ends.0[index..].iter_mut().for_each(|end| *end = End { order: end.order + length as u32, rest: end.rest + length as u32 });
            let order = (start + 1 + row.order.len()) as u32;
            ends.0.insert(index, End { order, rest: order + lengths.rest });
        }
        self.reserve(length);
        let end = self.records.len();
        self.records.resize(end + length, 0);
        self.records.copy_within(start..end, start + length);
        self.records[start] = if stored { STORED } else { DIRTY };
        self.records[start + 1..start + 1 + row.order.len()].copy_from_slice(row.order);
        self.records[start + 1 + row.order.len()..start + length].copy_from_slice(row.rest);
        self.weight += payload.weight();
        self.payloads.insert(index, payload);
        self.dirty |= !stored;
    }

    /// Room for more bytes, a quarter ahead: the doubling of `Vec` would leave a third of all memory empty.
    fn reserve(&mut self, more: usize) {
        let (length, room) = (self.records.len(), self.records.capacity());
        if length + more > room {
            self.records.reserve_exact(more.max(length / 4).max(BYTES_AHEAD));
        }
    }

    /// From here on rows have different lengths.
    fn keep_ends(&mut self) {
        if self.ends.is_none() {
            let End { order, rest } = self.lengths;
            let end = |start: usize| End { order: start as u32 + 1 + order, rest: start as u32 + 1 + order + rest };
            self.ends = Some(Box::new(Ends((0..self.len()).map(|index| end(self.start(index))).collect())));
        }
    }

    /// Takes a row out; gives what was known of it.
    pub(super) fn remove(&mut self, index: usize) -> P {
        let (start, end) = (self.start(index), self.start(index + 1));
        self.records.drain(start..end);
        if self.records.capacity() > 2 * self.records.len() + SPARE_BYTES {
            self.records.shrink_to(self.records.len() + self.records.len() / 4);
        }
        if let Some(ends) = &mut self.ends {
            let length = (end - start) as u32;
            ends.0.remove(index);
            ends.0[index..].iter_mut().for_each(|end| *end = End { order: end.order - length, rest: end.rest - length });
        }
        let payload = self.payloads.remove(index);
        self.weight -= payload.weight();
        payload
    }

    /// Changes what is known of a row.
    pub(super) fn update(&mut self, index: usize, change: impl FnOnce(&mut P)) {
        self.weight -= self.payloads.get(index).weight();
        self.payloads.update(index, change);
        self.weight += self.payloads.get(index).weight();
        let start = self.start(index);
        self.records[start] |= DIRTY;
        self.dirty = true;
    }

    /// Takes out the rows from `index` on.
    pub(super) fn split_off(&mut self, index: usize) -> Self {
        let start = self.start(index);
        let ends = self.ends.as_mut().map(|ends| {
            let behind = ends.0.split_off(index).into_iter();
            Box::new(Ends(behind.map(|end| End { order: end.order - start as u32, rest: end.rest - start as u32 }).collect()))
        });
        let payloads = self.payloads.split_off(index);
        let weight = payloads.weight(payloads.len());
        self.weight -= weight;
        let records = self.records.split_off(start);
        self.records.shrink_to(start + start / 4);
        Piece { records, payloads, lengths: self.lengths, ends, weight, memo: M::default(), dirty: self.dirty }
    }

    /// Adds the rows of the piece behind.
    pub(super) fn append(&mut self, mut others: Self) {
        let alike = (self.lengths.order, self.lengths.rest) == (others.lengths.order, others.lengths.rest);
        if self.len() == 0 {
            self.lengths = others.lengths;
        }
        if !alike || self.ends.is_some() || others.ends.is_some() {
            self.keep_ends();
            others.keep_ends();
        }
        if let (Some(ends), Some(behind)) = (&mut self.ends, &others.ends) {
            let start = self.records.len() as u32;
            ends.0.extend(behind.0.iter().map(|end| End { order: end.order + start, rest: end.rest + start }));
        }
        self.records.extend_from_slice(&others.records);
        self.weight += others.weight;
        self.dirty |= others.dirty;
        self.payloads.append(others.payloads);
    }

    /// Whether any row may be dirty.
    pub(super) fn may_be_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether a row is dirty.
    pub(super) fn is_dirty(&self, index: usize) -> bool {
        self.records[self.start(index)] & DIRTY != 0
    }

    /// Whether the last checkpoint holds a row.
    pub(super) fn is_stored(&self, index: usize) -> bool {
        self.records[self.start(index)] & STORED != 0
    }

    /// Notes that a checkpoint holds all rows as they are.
    pub(super) fn settle(&mut self) {
        for index in 0..self.len() {
            let start = self.start(index);
            self.records[start] = STORED;
        }
        self.dirty = false;
    }
}
