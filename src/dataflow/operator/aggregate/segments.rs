//! A growing column in segments of fixed size, and a growing bitmap: one cell per group slot; and slots in their order.
//!
//! A plain `Vec` of ten million cells doubles by copying and so holds three times its size for a moment. Here only the first
//! segment doubles; all others are allocated whole and never move.

use std::ops::{Index, IndexMut};

use arrow::datatypes::ToByteSlice;
use arrow::util::bit_iterator::BitIndexIterator;

/// Bits of a cell's number within its segment. 65 536 cells: few enough that the last, half-used segment wastes little, many enough that
/// the list of segments of ten million cells stays in the first-level cache. (In tests fewer, so that those see many segments.)
pub(super) const SEGMENT_BITS: u32 = if cfg!(test) { 6 } else { 16 };
pub(super) const SEGMENT_CELLS: usize = 1 << SEGMENT_BITS;

/// Cells of the first segment, to begin with.
pub(super) const FIRST_CELLS: usize = 16;

/// A column of cells, numbered from 0, all there and at their default until written.
#[derive(Debug, Default)]
pub(super) struct Segments<T> {
    segments: Vec<Vec<T>>,
    cells: usize,
}

impl<T: Clone + Default> Segments<T> {
    pub(super) fn new() -> Self {
        Segments { segments: Vec::new(), cells: 0 }
    }

    /// Makes room for cells below `cells`; never shrinks.
    pub(super) fn grow(&mut self, cells: usize) {
        while self.cells < cells {
            if self.segments.last().is_none_or(|segment| segment.len() == SEGMENT_CELLS) {
                let size = if self.segments.is_empty() { FIRST_CELLS } else { SEGMENT_CELLS };
                self.segments.push(vec![T::default(); size]);
                self.cells += size;
            } else {
                let segment = self.segments.last_mut().expect("there is a segment that is not full");
                let size = segment.len();
                segment.resize(2 * size, T::default());
                self.cells += size;
            }
        }
    }

    /// Bytes of the cells themselves.
    pub(super) fn bytes(&self) -> usize {
        self.cells * size_of::<T>()
    }
}

impl<T> Index<u32> for Segments<T> {
    type Output = T;

    #[inline]
    fn index(&self, cell: u32) -> &T {
        &self.segments[(cell >> SEGMENT_BITS) as usize][cell as usize % SEGMENT_CELLS]
    }
}

impl<T> IndexMut<u32> for Segments<T> {
    #[inline]
    fn index_mut(&mut self, cell: u32) -> &mut T {
        &mut self.segments[(cell >> SEGMENT_BITS) as usize][cell as usize % SEGMENT_CELLS]
    }
}

/// One bit per slot.
#[derive(Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// These bits are set, of those below `bits`.
    pub(super) fn of(set: impl Iterator<Item = u32>, bits: usize) -> Self {
        let mut all = Bits::default();
        all.grow(bits);
        for bit in set {
            all.set(bit);
        }
        all
    }

    pub(super) fn grow(&mut self, bits: usize) {
        let words = bits.div_ceil(64);
        if words > self.words.len() {
            self.words.resize(words.next_power_of_two(), 0);
        }
    }

    #[inline]
    pub(super) fn get(&self, bit: u32) -> bool {
        self.words[(bit / 64) as usize] & (1 << (bit % 64)) != 0
    }

    /// Sets the bit; whether it was set before.
    #[inline]
    pub(super) fn set(&mut self, bit: u32) -> bool {
        let word = &mut self.words[(bit / 64) as usize];
        let mask = 1 << (bit % 64);
        let before = *word & mask != 0;
        *word |= mask;
        before
    }

    #[inline]
    pub(super) fn clear(&mut self, bit: u32) {
        self.words[(bit / 64) as usize] &= !(1 << (bit % 64));
    }

    /// Clears all bits below `bits`, and maybe some more.
    pub(super) fn clear_all(&mut self, bits: u32) {
        self.words[..bits.div_ceil(64) as usize].fill(0);
    }

    /// Sets or clears the bit; whether it was set before.
    #[inline]
    pub(super) fn put(&mut self, bit: u32, value: bool) -> bool {
        let before = self.set(bit);
        if !value {
            self.clear(bit);
        }
        before
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.len() * 8
    }
}

/// Sorts slots, of which none is there twice, all of them below `end`: by a bit for each, if they are many.
pub(super) fn sort_slots(slots: &mut [u32], end: usize) {
    if slots.len() < 64.max(end / 64) {
        return slots.sort_unstable();
    }
    let bits = Bits::of(slots.iter().copied(), end);
    let sorted = BitIndexIterator::new(bits.words.to_byte_slice(), 0, bits.words.len() * 64);
    slots.iter_mut().zip(sorted).for_each(|(slot, bit)| *slot = bit as u32);
}

#[cfg(test)]
mod tests {
    use super::{Bits, Segments, sort_slots};

    #[test]
    fn cells_keep_their_values_when_the_column_grows() {
        let mut column = Segments::<u64>::new();
        for cell in 0..200_000_u32 {
            column.grow(cell as usize + 1);
            column[cell] = u64::from(cell);
        }
        assert!((0..200_000_u32).all(|cell| column[cell] == u64::from(cell)));
        assert_eq!(column.bytes(), 200_000 * 8);
    }

    #[test]
    fn a_bit_tells_whether_it_was_set() {
        let mut bits = Bits::default();
        bits.grow(100);
        assert!(!bits.set(99));
        assert!(bits.set(99));
        bits.clear(99);
        assert!(!bits.get(99));
        assert!(!bits.put(7, true) && bits.get(7) && bits.put(7, false) && !bits.get(7));
        bits.set(64);
        bits.clear_all(65);
        assert!(!bits.get(64));
    }

    #[test]
    fn slots_are_sorted_be_they_many_or_few() {
        for (step, end) in [(7_u32, 1_000), (7, 1_000_000), (1, 1_001)] {
            let mut slots: Vec<u32> = (0..1_001 / step).map(|number| number * step).rev().collect();
            let sorted = slots.iter().rev().copied().collect::<Vec<_>>();
            sort_slots(&mut slots, end + 1);
            assert_eq!(slots, sorted);
        }
    }
}
