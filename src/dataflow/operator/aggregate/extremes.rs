//! MIN and MAX in place, one value per group: for inputs without retractions, where the best value so far stays the best.

use std::cmp::Ordering;
use std::marker::PhantomData;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::cells::{Cells, ROWS, Taken, Words};
use super::codec::{Reader, damaged, write_count};
use super::segments::{Bits, Segments};
use super::state::{End, GroupState, Input, unexpected_retraction};
use super::value::Value;
use crate::error::Result;

/// The least or greatest value of every group, of a few words each: of least ones their complement, so that words which nobody has written, zeros, are
/// no better than any value.
pub(super) struct Extremes<V> {
    /// Which groups have a value, as soon as a row without one has come; until then those that have rows.
    present: Option<Bits>,
    end: End,
    data_type: DataType,
    values: PhantomData<V>,
}

/// A value of which every bit turns, and with them the order.
pub(super) trait Complement {
    fn complement(self) -> Self;
}

impl Complement for u64 {
    fn complement(self) -> u64 {
        !self
    }
}

impl Complement for u128 {
    fn complement(self) -> u128 {
        !self
    }
}

/// The least or greatest value of every group, of any length.
pub(super) struct LongExtremes {
    best: Segments<Option<Box<[u8]>>>,
    end: End,
    data_type: DataType,
    heap: usize,
}

impl End {
    /// How a value compares to one that is better.
    fn worse(self) -> Ordering {
        if self == End::Least { Ordering::Greater } else { Ordering::Less }
    }
}

impl<V: Complement> Extremes<V> {
    pub(super) fn new(end: End, data_type: DataType) -> Self {
        Extremes { present: None, end, data_type, values: PhantomData }
    }

    /// Between a value and what is kept of it.
    #[inline]
    fn turned(&self, value: V) -> V {
        if self.end == End::Least { value.complement() } else { value }
    }
}

impl LongExtremes {
    pub(super) fn new(end: End, data_type: DataType) -> Self {
        LongExtremes { best: Segments::new(), end, data_type, heap: 0 }
    }

    fn put(&mut self, slot: u32, value: Option<Box<[u8]>>) {
        let heap = |value: &Option<Box<[u8]>>| value.as_ref().map_or(0, Value::heap);
        self.heap += heap(&value);
        self.heap -= heap(&std::mem::replace(&mut self.best[slot], value));
    }
}

impl<V: Value + Words + Complement> GroupState for Extremes<V> {
    fn words(&self) -> usize {
        V::COUNT
    }

    fn grow(&mut self, slots: usize) {
        self.present.iter_mut().for_each(|present| present.grow(slots));
    }

    fn update(&mut self, input: &Input, cells: &mut Cells, place: usize) -> Result<()> {
        let column = V::column(input.argument())?;
        let mut retracted = false;
        input.for_each(|row, slot, weight| {
            retracted |= weight < 0;
            let value = self.turned(V::own(V::get(&column, row)));
            let best = cells.part(slot, place, V::COUNT);
            // Most rows are no better than what there is: they write nothing.
            if weight > 0 && value > V::load(best) {
                value.store(best);
            }
        });
        if let Some(present) = &mut self.present {
            input.for_each(|_, slot, weight| {
                if weight > 0 {
                    present.set(slot);
                }
            });
        }
        if retracted { Err(unexpected_retraction()) } else { Ok(()) }
    }

    fn values(&self, groups: &Taken, place: usize, _end: End) -> Result<ArrayRef> {
        let best: Vec<V> = groups.each::<V>(place).map(|best| self.turned(best)).collect();
        match &self.present {
            Some(present) => {
                V::array(groups.slots.iter().zip(&best).map(|(slot, best)| present.get(*slot).then_some(best)), &self.data_type)
            }
            None => V::array(groups.each::<i64>(ROWS).zip(&best).map(|(rows, best)| (rows > 0).then_some(best)), &self.data_type),
        }
    }

    fn values_of_rows(&self, rows: &Input) -> Option<ArrayRef> {
        let all_have_one = rows.valid.is_none() && rows.weights.is_none();
        all_have_one.then(|| ArrayRef::clone(rows.argument()))
    }

    fn reset(&mut self, slot: u32) {
        self.present.iter_mut().for_each(|present| present.clear(slot));
    }

    fn reset_all(&mut self, slots: u32) {
        self.present.iter_mut().for_each(|present| present.clear_all(slots));
    }

    fn follows_from_words(&self) -> bool {
        self.present.is_none()
    }

    fn minds_missing(&self) -> bool {
        self.present.is_none()
    }

    fn is_missing(&self, input: &Reader) -> Result<bool> {
        Ok(Reader(input.0).length()? == 0)
    }

    fn expect_missing(&mut self, cells: &Cells) {
        let with_rows = (0..cells.slots() as u32).filter(|slot| cells.rows(*slot) > 0);
        self.present = Some(Bits::of(with_rows, cells.slots()));
    }

    fn write(&self, slot: u32, words: &[u64], output: &mut Vec<u8>) {
        let is_present = self.present.as_ref().is_none_or(|present| present.get(slot));
        write_value(is_present.then(|| self.turned(V::load(words))).as_ref(), output);
    }

    fn read(&mut self, slot: u32, words: &mut [u64], input: &mut Reader) -> Result<()> {
        let value = read_value::<V>(input)?;
        if let Some(present) = &mut self.present {
            present.put(slot, value.is_some());
        }
        value.into_iter().for_each(|value| self.turned(value).store(words));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.present.as_ref().map_or(0, Bits::bytes)
    }
}

impl GroupState for LongExtremes {
    fn grow(&mut self, slots: usize) {
        self.best.grow(slots);
    }

    fn update(&mut self, input: &Input, _cells: &mut Cells, _place: usize) -> Result<()> {
        let column = <Box<[u8]>>::column(input.argument())?;
        let worse = self.end.worse();
        let mut retracted = false;
        input.for_each(|row, slot, weight| {
            retracted |= weight < 0;
            let value = column.value(row);
            if weight > 0 && self.best[slot].as_ref().is_none_or(|best| best.order(value) == worse) {
                self.put(slot, Some(value.into()));
            }
        });
        if retracted { Err(unexpected_retraction()) } else { Ok(()) }
    }

    fn values(&self, groups: &Taken, _place: usize, _end: End) -> Result<ArrayRef> {
        Value::array(groups.slots.iter().map(|slot| self.best[*slot].as_ref()), &self.data_type)
    }

    fn reset(&mut self, slot: u32) {
        self.put(slot, None);
    }

    fn write(&self, slot: u32, _words: &[u64], output: &mut Vec<u8>) {
        write_value(self.best[slot].as_ref(), output);
    }

    fn read(&mut self, slot: u32, _words: &mut [u64], input: &mut Reader) -> Result<()> {
        let value = read_value(input)?;
        self.put(slot, value);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.best.bytes() + self.heap
    }
}

/// Its length and one, then the value; 0 if there is none.
fn write_value<V: Value>(value: Option<&V>, output: &mut Vec<u8>) {
    let Some(value) = value else { return write_count(0, output) };
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    write_count(1 + bytes.len() as i64, output);
    output.extend_from_slice(&bytes);
}

fn read_value<V: Value>(input: &mut Reader) -> Result<Option<V>> {
    let Some(length) = input.length()?.checked_sub(1) else { return Ok(None) };
    V::read(input.bytes(length)?).map(Some).map_err(|_| damaged())
}
