//! Accumulators kept as they are, for inputs without retractions: sketches, and what does not care about the order of rows.
//!
//! In: packed rows. Holds per group DataFusion's accumulator, and its result as it was last told: an approximate result may change a
//! little when a state is stored and read back, and what was emitted must be retracted to the bit.
//! A state entry is the accumulator's state and the result, as one packed row.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{concat, take as take_rows};
use arrow::datatypes::{DataType, Field};

use super::cells::{Cells, Taken};
use super::codec::{Reader, damaged, write_count};
use super::state::{End, GroupState, Input, unexpected_retraction};
use crate::error::Result;
use crate::plan::{GeneralAggregate, GroupAccumulator};
use crate::types::{PackedRows, canonical_floats};

/// One group.
struct Group {
    accumulator: GroupAccumulator,
    /// As last asked for; an array of length 1. `None`: rows have come since.
    result: Option<ArrayRef>,
}

/// The accumulators of all groups.
pub(super) struct Running {
    general: Arc<GeneralAggregate>,
    result: DataType,
    /// Accumulators give their result and state only to those who may change them.
    groups: RefCell<Vec<Option<Box<Group>>>>,
    stored: PackedRows,
    heap: usize,
}

impl Running {
    /// `result`: the type of the results.
    pub(super) fn new(general: Arc<GeneralAggregate>, result: DataType) -> Result<Self> {
        let mut fields = general.state_fields()?;
        fields.push(Arc::new(Field::new("result", result.clone(), true)));
        let directions = vec![arrow::compute::SortOptions::default(); fields.len()];
        let stored = PackedRows::new(fields, directions)?;
        Ok(Running { general, result, groups: RefCell::default(), stored, heap: 0 })
    }

    fn start(&self) -> Result<Box<Group>> {
        Ok(Box::new(Group { accumulator: self.general.start()?, result: None }))
    }

    fn result_of(&self, slot: u32) -> Result<ArrayRef> {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = &mut groups[slot as usize] else {
            // A group without a row that counts: what an accumulator says that has seen none.
            return self.typed(&self.start()?.accumulator.result()?);
        };
        if group.result.is_none() {
            group.result = Some(self.typed(&group.accumulator.result()?)?);
        }
        Ok(group.result.clone().expect("just set"))
    }

    fn typed(&self, result: &ArrayRef) -> Result<ArrayRef> {
        let same = *result.data_type() == self.result;
        Ok(canonical_floats(if same { Arc::clone(result) } else { arrow::compute::cast(result, &self.result)? }))
    }
}

impl GroupState for Running {
    fn grow(&mut self, slots: usize) {
        let groups = self.groups.get_mut();
        if groups.len() < slots {
            groups.resize_with(slots, || None);
        }
    }

    fn update(&mut self, input: &Input, _cells: &mut Cells, _place: usize) -> Result<()> {
        let mut rows: Vec<(u32, u32)> = Vec::new();
        let mut retracted = false;
        input.for_each(|row, slot, weight| {
            retracted |= weight < 0;
            (0..weight).for_each(|_| rows.push((slot, row as u32)));
        });
        if retracted {
            return Err(unexpected_retraction());
        }
        rows.sort_unstable();
        let packed = input.argument().as_binary::<i32>();
        let columns = self.general.rows.unpack(rows.iter().map(|(_, row)| packed.value(*row as usize)))?;
        let arguments = self.general.arguments(columns, rows.len())?;
        let mut start = 0;
        for group in rows.chunk_by(|left, right| left.0 == right.0) {
            let slot = group[0].0 as usize;
            let values: Vec<ArrayRef> = arguments.iter().map(|argument| argument.slice(start, group.len())).collect();
            start += group.len();
            if self.groups.get_mut()[slot].is_none() {
                let fresh = self.start()?;
                self.heap += size_of::<Group>() + fresh.accumulator.bytes();
                self.groups.get_mut()[slot] = Some(fresh);
            }
            let Some(group) = &mut self.groups.get_mut()[slot] else { continue };
            let before = group.accumulator.bytes();
            group.accumulator.update(&values)?;
            group.result = None;
            self.heap = (self.heap + group.accumulator.bytes()).saturating_sub(before);
        }
        Ok(())
    }

    fn values(&self, groups: &Taken, _place: usize, _end: End) -> Result<ArrayRef> {
        let results = groups.slots.iter().map(|slot| self.result_of(*slot)).collect::<Result<Vec<_>>>()?;
        if results.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.result));
        }
        Ok(concat(&results.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?)
    }

    fn reset(&mut self, slot: u32) {
        if let Some(group) = self.groups.get_mut()[slot as usize].take() {
            self.heap = self.heap.saturating_sub(size_of::<Group>() + group.accumulator.bytes());
        }
    }

    /// Giving the state away ends an accumulator; another one goes on from there, as it would after a restart.
    fn write(&self, slot: u32, _words: &[u64], output: &mut Vec<u8>) {
        let written = || -> Result<Option<Vec<u8>>> {
            let Ok(result) = self.result_of(slot) else { return Ok(None) };
            let Some(group) = self.groups.borrow_mut()[slot as usize].take() else { return Ok(None) };
            let state = group.accumulator.into_state()?;
            let mut accumulator = self.general.start()?;
            accumulator.merge(&state)?;
            self.groups.borrow_mut()[slot as usize] = Some(Box::new(Group { accumulator, result: Some(Arc::clone(&result)) }));
            let columns: Vec<ArrayRef> = state.into_iter().chain([result]).collect();
            Ok(Some(self.stored.pack(&columns, 1)?.value(0).to_vec()))
        };
        match written().expect("an accumulator that has taken rows gives its state") {
            Some(row) => {
                write_count(1 + row.len() as i64, output);
                output.extend_from_slice(&row);
            }
            None => write_count(0, output),
        }
    }

    fn read(&mut self, slot: u32, _words: &mut [u64], input: &mut Reader) -> Result<()> {
        let Some(length) = input.length()?.checked_sub(1) else { return Ok(()) };
        let mut columns = self.stored.unpack([input.bytes(length)?])?;
        let result = columns.pop().ok_or_else(damaged)?;
        let mut group = self.start()?;
        group.accumulator.merge(&columns)?;
        group.result = Some(take_rows(&result, &UInt32Array::from(vec![0]), None)?);
        self.heap += size_of::<Group>() + group.accumulator.bytes();
        self.groups.get_mut()[slot as usize] = Some(group);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.groups.borrow().capacity() * size_of::<usize>() + self.heap
    }
}
