//! MIN and MAX in place, one value per group: for inputs without retractions, where the best value so far stays the best.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::codec::{Reader, damaged, write_count};
use super::segments::{Bits, Segments};
use super::state::{End, GroupState, Input};
use super::value::Value;
use crate::error::{Error, Result};

/// The least or greatest value of every group.
pub(super) struct Extremes<V> {
    best: Segments<V>,
    present: Bits,
    end: End,
    data_type: DataType,
    heap: usize,
}

impl<V: Value> Extremes<V> {
    pub(super) fn new(end: End, data_type: DataType) -> Self {
        Extremes { best: Segments::new(), present: Bits::default(), end, data_type, heap: 0 }
    }
}

impl<V: Value> GroupState for Extremes<V> {
    fn grow(&mut self, slots: usize) {
        self.best.grow(slots);
        self.present.grow(slots);
    }

    fn update(&mut self, input: &Input) -> Result<()> {
        let column = V::column(input.argument())?;
        let better = if self.end == End::Least { Ordering::Greater } else { Ordering::Less };
        let (best, present, heap) = (&mut self.best, &mut self.present, &mut self.heap);
        let mut retracted = false;
        input.for_each(|row, slot, weight| {
            retracted |= weight < 0;
            let value = V::get(&column, row);
            let cell = &mut best[slot];
            if weight > 0 && (cell.order(value) == better || !present.get(slot)) {
                present.set(slot);
                let value = V::own(value);
                *heap = *heap + value.heap() - cell.heap();
                *cell = value;
            }
        });
        if retracted { Err(Error::internal("an append-only aggregate got a retraction")) } else { Ok(()) }
    }

    fn values(&self, slots: &[u32], _end: End) -> Result<ArrayRef> {
        V::array(slots.iter().map(|slot| self.present.get(*slot).then(|| &self.best[*slot])), &self.data_type)
    }

    fn reset(&mut self, slot: u32) {
        self.present.clear(slot);
        self.heap -= self.best[slot].heap();
        self.best[slot] = V::default();
    }

    fn write(&self, slot: u32, output: &mut Vec<u8>) {
        if !self.present.get(slot) {
            return write_count(0, output);
        }
        let mut bytes = Vec::new();
        self.best[slot].write(&mut bytes);
        write_count(1 + bytes.len() as i64, output);
        output.extend_from_slice(&bytes);
    }

    fn read(&mut self, slot: u32, input: &mut Reader) -> Result<()> {
        let Some(length) = input.length()?.checked_sub(1) else { return Ok(()) };
        let value = V::read(input.bytes(length)?).map_err(|_| damaged())?;
        self.heap += value.heap();
        self.best[slot] = value;
        self.present.set(slot);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.best.bytes() + self.present.bytes() + self.heap
    }
}
