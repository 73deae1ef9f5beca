//! The numbers of all groups: a row of words per slot, in which every accumulator has its part.
//!
//! ```text
//!          0        1             3
//! slot 0 │ rows   │ sum of x    │ greatest y │
//! slot 1 │ rows   │ sum of x    │ greatest y │
//! ```
//!
//! What one group's accumulators hold lies together, so that with many groups a change of one costs one cache miss and not one for each
//! accumulator. The first word is the number of the group's rows. Only the first segment doubles, as in [`Segments`](super::segments::Segments).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{IntervalMonthDayNano, i256};

use super::segments::{FIRST_CELLS, SEGMENT_BITS, SEGMENT_CELLS};

/// The place of a group's number of rows.
pub(super) const ROWS: usize = 0;

/// What an accumulator keeps in a group's row: some words, all zero until written.
pub(super) trait Words: Copy {
    /// How many.
    const COUNT: usize;
    fn load(words: &[u64]) -> Self;
    fn store(self, words: &mut [u64]);
}

/// A row of words for every slot.
pub(super) struct Cells {
    segments: Vec<Vec<u64>>,
    /// Words per slot.
    width: usize,
    /// Slots that there is room for.
    slots: usize,
}

/// The rows of some groups, copied next to each other. A group may stand there twice, as it was and as it is.
pub(super) struct Taken<'a> {
    /// Whose they are.
    pub(super) slots: &'a [u32],
    words: Vec<u64>,
    width: usize,
}

impl Cells {
    /// With the numbers of rows alone.
    pub(super) fn new() -> Self {
        Cells { segments: Vec::new(), width: 1, slots: 0 }
    }

    /// Makes room for slots below `slots`; never shrinks.
    pub(super) fn grow(&mut self, slots: usize) {
        while self.slots < slots {
            match self.segments.last_mut().filter(|segment| segment.len() < SEGMENT_CELLS * self.width) {
                Some(segment) => {
                    self.slots += segment.len() / self.width;
                    segment.resize(2 * segment.len(), 0);
                }
                None => {
                    let more = if self.segments.is_empty() { FIRST_CELLS } else { SEGMENT_CELLS };
                    self.segments.push(vec![0; more * self.width]);
                    self.slots += more;
                }
            }
        }
    }

    /// Gives every slot so many words more, and says where.
    pub(super) fn widen(&mut self, words: usize) -> usize {
        let place = self.width;
        self.width += words;
        for segment in self.segments.iter_mut().filter(|_| words > 0) {
            let mut wider = vec![0; segment.len() / place * self.width];
            wider.chunks_exact_mut(self.width).zip(segment.chunks_exact(place)).for_each(|(to, from)| to[..place].copy_from_slice(from));
            *segment = wider;
        }
        place
    }

    /// Copies every group's number of rows to another place.
    pub(super) fn copy_rows(&mut self, place: usize) {
        for row in self.segments.iter_mut().flat_map(|segment| segment.chunks_exact_mut(self.width)) {
            row[place] = row[ROWS];
        }
    }

    /// The numbers of a group from `place` on.
    #[inline]
    pub(super) fn words_from(&self, slot: u32, place: usize) -> &[u64] {
        let start = slot as usize % SEGMENT_CELLS * self.width;
        &self.segments[(slot >> SEGMENT_BITS) as usize][start + place..start + self.width]
    }

    /// So many words of a group.
    #[inline]
    pub(super) fn part(&mut self, slot: u32, place: usize, words: usize) -> &mut [u64] {
        let start = slot as usize % SEGMENT_CELLS * self.width + place;
        &mut self.segments[(slot >> SEGMENT_BITS) as usize][start..start + words]
    }

    /// Changes what is kept at one place of a group.
    #[inline]
    pub(super) fn change<W: Words>(&mut self, slot: u32, place: usize, change: impl FnOnce(W) -> W) {
        let part = self.part(slot, place, W::COUNT);
        change(W::load(part)).store(part);
    }

    /// The number of a group's rows.
    #[inline]
    pub(super) fn rows(&self, slot: u32) -> i64 {
        let segment = &self.segments[(slot >> SEGMENT_BITS) as usize];
        segment[slot as usize % SEGMENT_CELLS * self.width + ROWS].cast_signed()
    }

    /// Back to nothing: the group has gone.
    pub(super) fn clear(&mut self, slot: u32) {
        let width = self.width;
        self.part(slot, 0, width).fill(0);
    }

    /// The groups with slots below `slots` have gone.
    pub(super) fn clear_all(&mut self, slots: u32) {
        let mut words = slots as usize * self.width;
        for segment in &mut self.segments {
            let used = words.min(segment.len());
            segment[..used].fill(0);
            words -= used;
        }
    }

    /// What some groups hold.
    pub(super) fn take<'a>(&self, slots: &'a [u32]) -> Taken<'a> {
        let mut words = Vec::new();
        self.copy_to(&mut words, slots);
        self.taken(slots, words)
    }

    /// What `copy_to` has copied of groups while they were as wide as now.
    pub(super) fn taken<'a>(&self, slots: &'a [u32], words: Vec<u64>) -> Taken<'a> {
        assert_eq!(words.len(), slots.len() * self.width, "a row for each slot");
        Taken { slots, words, width: self.width }
    }

    /// Appends the words of some groups.
    pub(super) fn copy_to(&self, words: &mut Vec<u64>, slots: &[u32]) {
        match self.width {
            1 => self.copy::<1>(words, slots),
            2 => self.copy::<2>(words, slots),
            3 => self.copy::<3>(words, slots),
            4 => self.copy::<4>(words, slots),
            5 => self.copy::<5>(words, slots),
            6 => self.copy::<6>(words, slots),
            7 => self.copy::<7>(words, slots),
            8 => self.copy::<8>(words, slots),
            _ => slots.iter().for_each(|slot| words.extend_from_slice(self.words_from(*slot, 0))),
        }
    }

    /// As `copy_to`, for the width `N`: short copies of a length that the compiler knows need no call.
    fn copy<const N: usize>(&self, words: &mut Vec<u64>, slots: &[u32]) {
        let start = words.len();
        words.resize(start + slots.len() * N, 0);
        let (rows, _) = words[start..].as_chunks_mut::<N>();
        for (row, slot) in rows.iter_mut().zip(slots) {
            *row = *self.words_from(*slot, 0).first_chunk().expect("the width is N");
        }
    }

    /// Slots below this have words.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Words per slot.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.slots * self.width * size_of::<u64>()
    }
}

impl Taken<'_> {
    /// What each of the groups keeps at a place.
    pub(super) fn each<W: Words>(&self, place: usize) -> impl Iterator<Item = W> {
        self.words.chunks_exact(self.width).map(move |row| W::load(&row[place..]))
    }

    /// The numbers of rows.
    pub(super) fn row_counts(&self) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(self.each::<i64>(ROWS)))
    }
}

impl Words for u64 {
    const COUNT: usize = 1;

    #[inline]
    fn load(words: &[u64]) -> u64 {
        words[0]
    }

    #[inline]
    fn store(self, words: &mut [u64]) {
        words[0] = self;
    }
}

impl Words for i64 {
    const COUNT: usize = 1;

    #[inline]
    fn load(words: &[u64]) -> i64 {
        words[0].cast_signed()
    }

    #[inline]
    fn store(self, words: &mut [u64]) {
        words[0] = self.cast_unsigned();
    }
}

impl Words for u128 {
    const COUNT: usize = 2;

    #[inline]
    fn load(words: &[u64]) -> u128 {
        u128::from(words[0]) | u128::from(words[1]) << 64
    }

    #[inline]
    fn store(self, words: &mut [u64]) {
        (words[0], words[1]) = (self as u64, (self >> 64) as u64);
    }
}

impl Words for i128 {
    const COUNT: usize = 2;

    #[inline]
    fn load(words: &[u64]) -> i128 {
        u128::load(words).cast_signed()
    }

    #[inline]
    fn store(self, words: &mut [u64]) {
        self.cast_unsigned().store(words);
    }
}

impl Words for i256 {
    const COUNT: usize = 4;

    fn load(words: &[u64]) -> i256 {
        i256::from_parts(u128::load(words), i128::load(&words[2..]))
    }

    fn store(self, words: &mut [u64]) {
        let (low, high) = self.to_parts();
        low.store(words);
        high.store(&mut words[2..]);
    }
}

impl Words for IntervalMonthDayNano {
    const COUNT: usize = 2;

    fn load(words: &[u64]) -> Self {
        IntervalMonthDayNano::new((words[0] >> 32) as i32, words[0] as i32, words[1].cast_signed())
    }

    fn store(self, words: &mut [u64]) {
        words[0] = u64::from(self.months.cast_unsigned()) << 32 | u64::from(self.days.cast_unsigned());
        words[1] = self.nanoseconds.cast_unsigned();
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int64Type, IntervalMonthDayNano, i256};

    use super::{Cells, ROWS, Words};

    fn comes_back<W: Words + PartialEq + std::fmt::Debug>(value: W) {
        let mut words = vec![0; W::COUNT];
        value.store(&mut words);
        assert_eq!(W::load(&words), value);
    }

    #[test]
    fn values_come_back_from_their_words() {
        [i64::MIN, -1, 0, i64::MAX].into_iter().for_each(comes_back);
        [i128::MIN, -1, 0, i128::MAX].into_iter().for_each(comes_back);
        [i256::MIN, i256::MINUS_ONE, i256::ZERO, i256::MAX].into_iter().for_each(comes_back);
        comes_back(IntervalMonthDayNano::new(-1, i32::MIN, -5));
        comes_back(IntervalMonthDayNano::new(i32::MIN, 1, i64::MAX));
    }

    #[test]
    fn groups_keep_their_numbers_when_there_are_more_and_when_they_get_wider() {
        let mut cells = Cells::new();
        let sum = cells.widen(i128::COUNT);
        for slot in 0..100_000_u32 {
            cells.grow(slot as usize + 1);
            cells.change::<i64>(slot, ROWS, |rows| rows + i64::from(slot));
            cells.change::<i128>(slot, sum, |sum| sum - i128::from(slot));
        }
        let count = cells.widen(1);
        cells.copy_rows(count);
        cells.clear(7);
        for slot in (0..100_000_u32).filter(|slot| *slot != 7) {
            assert_eq!((cells.rows(slot), i128::load(cells.words_from(slot, sum))), (i64::from(slot), -i128::from(slot)));
        }
        let taken = cells.take(&[99_999, 7]);
        assert_eq!(taken.each::<i64>(count).collect::<Vec<_>>(), [99_999, 0]);
        assert_eq!(taken.row_counts().as_primitive::<Int64Type>().values(), &[99_999, 0]);
        assert_eq!(cells.bytes(), 100_032 * 4 * 8);
    }
}
