//! MIN and MAX in place, one value per group: for inputs without retractions, where the best value so far stays the best.

use std::cmp::Ordering;
use std::marker::PhantomData;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::cells::{Cells, Taken, Words};
use super::codec::{Reader, damaged, write_count};
use super::segments::{Bits, Segments};
use super::state::{End, GroupState, Input, unexpected_retraction};
use super::value::Value;
use crate::error::Result;

/// The least or greatest value of every group, of a few words each.
pub(super) struct Extremes<V> {
    present: Bits,
    end: End,
    data_type: DataType,
    values: PhantomData<V>,
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

impl<V> Extremes<V> {
    pub(super) fn new(end: End, data_type: DataType) -> Self {
        Extremes { present: Bits::default(), end, data_type, values: PhantomData }
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

impl<V: Value + Words> GroupState for Extremes<V> {
    fn words(&self) -> usize {
        V::COUNT
    }

    fn grow(&mut self, slots: usize) {
        self.present.grow(slots);
    }

    fn update(&mut self, input: &Input, cells: &mut Cells, place: usize) -> Result<()> {
        let column = V::column(input.argument())?;
        let (present, worse) = (&mut self.present, self.end.worse());
        let mut retracted = false;
        input.for_each(|row, slot, weight| {
            retracted |= weight < 0;
            let value = V::get(&column, row);
            let best = cells.part(slot, place, V::COUNT);
            // Most rows are no better than what there is: they write nothing.
            if weight > 0 && (V::load(best).order(value) == worse || !present.get(slot)) {
                present.set(slot);
                V::own(value).store(best);
            }
        });
        if retracted { Err(unexpected_retraction()) } else { Ok(()) }
    }

    fn values(&self, groups: &Taken, place: usize, _end: End) -> Result<ArrayRef> {
        let best: Vec<V> = groups.each::<V>(place).collect();
        V::array(groups.slots.iter().zip(&best).map(|(slot, best)| self.present.get(*slot).then_some(best)), &self.data_type)
    }

    fn reset(&mut self, slot: u32) {
        self.present.clear(slot);
    }

    fn reset_all(&mut self, slots: u32) {
        self.present.clear_all(slots);
    }

    fn write(&self, slot: u32, words: &[u64], output: &mut Vec<u8>) {
        let value = self.present.get(slot).then(|| V::load(words));
        write_value(value.as_ref(), output);
    }

    fn read(&mut self, slot: u32, words: &mut [u64], input: &mut Reader) -> Result<()> {
        if let Some(value) = read_value::<V>(input)? {
            value.store(words);
            self.present.set(slot);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.present.bytes()
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
