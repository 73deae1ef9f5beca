//! What an accumulator is: a column of partial results, one cell per group slot, changed by weighted rows.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use std::sync::Arc;

use super::codec::{Reader, damaged, write_count};
use super::segments::Segments;
use crate::error::Result;

/// Which end of an ordered set is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
}

/// Rows for one accumulator.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// The slot of every row's group.
    pub(super) slots: &'a [u32],
    /// The argument; none for `count(*)`.
    pub(super) values: Option<&'a ArrayRef>,
    /// Rows that count: their argument is not NULL and their filter is true. `None`: all.
    pub(super) valid: Option<&'a BooleanBuffer>,
    /// `None`: all are +1.
    pub(super) weights: Option<&'a [i64]>,
}

impl Input<'_> {
    /// Calls `apply(row, slot, weight)` for every row that counts. The four cases are separate loops without tests inside.
    #[inline(always)]
    pub(super) fn for_each(&self, mut apply: impl FnMut(usize, u32, i64)) {
        match (self.valid, self.weights) {
            (None, None) => self.slots.iter().enumerate().for_each(|(row, slot)| apply(row, *slot, 1)),
            (None, Some(weights)) => {
                self.slots.iter().zip(weights).enumerate().for_each(|(row, (slot, weight))| apply(row, *slot, *weight));
            }
            (Some(valid), None) => valid.set_indices().for_each(|row| apply(row, self.slots[row], 1)),
            (Some(valid), Some(weights)) => valid.set_indices().for_each(|row| apply(row, self.slots[row], weights[row])),
        }
    }

    /// The argument of a function that has one.
    pub(super) fn argument(&self) -> &ArrayRef {
        self.values.expect("the layout gives every function but count(*) its argument")
    }
}

/// A value that entered or left a large set since the last checkpoint.
pub(super) struct ValueChange {
    pub(super) slot: u32,
    pub(super) value: Vec<u8>,
    /// How often it stands in the set now, as a checkpoint holds it; `None` if no longer.
    pub(super) counts: Option<Vec<u8>>,
}

/// One accumulator of all groups.
pub(super) trait GroupState {
    /// Makes room for slots below `slots`.
    fn grow(&mut self, slots: usize);
    /// Takes rows in.
    fn update(&mut self, input: &Input) -> Result<()>;
    /// The partial results of groups; what a group without values gives is for `finish` to say.
    fn values(&self, slots: &[u32], end: End) -> Result<ArrayRef>;
    /// Back to nothing: the group has gone.
    fn reset(&mut self, slot: u32);
    /// Writes the group's part of its state entry.
    fn write(&self, slot: u32, output: &mut Vec<u8>);
    /// Reads what `write` wrote.
    fn read(&mut self, slot: u32, input: &mut Reader) -> Result<()>;
    /// Bytes of memory.
    fn bytes(&self) -> usize;

    /// Whether `reset` must be called when no value is left in a group that stays, because of what rounding left behind.
    fn leaves_residue(&self) -> bool {
        false
    }

    /// Values whose count is below zero: none, once an epoch is complete.
    fn negative(&self) -> usize {
        0
    }

    /// Of what counts rows: until now it has counted every one, so each group's count is its number of rows.
    fn start_from(&mut self, _rows: &Segments<i64>) {}

    /// Nobody will ask for changes.
    fn without_changes(&mut self) {}

    /// Values of large sets that changed since the last call.
    fn take_changes(&mut self) -> Vec<ValueChange> {
        Vec::new()
    }

    /// Calls `visit` with the bytes of every value of a group's set, in order, and how often it stands there.
    fn for_each_value(&self, _slot: u32, _visit: &mut dyn FnMut(&[u8], i64)) {}

    /// Takes back one value of a large set.
    fn read_value(&mut self, _slot: u32, _value: &[u8], _counts: &mut Reader) -> Result<()> {
        Err(damaged())
    }
}

/// How many rows count; of boolean arguments optionally only the true ones.
pub(super) struct Counts {
    counts: Segments<i64>,
    only_true: bool,
}

impl Counts {
    pub(super) fn new(only_true: bool) -> Self {
        Counts { counts: Segments::new(), only_true }
    }
}

impl GroupState for Counts {
    fn grow(&mut self, slots: usize) {
        self.counts.grow(slots);
    }

    fn update(&mut self, input: &Input) -> Result<()> {
        let counts = &mut self.counts;
        let add = |_, slot, weight| counts[slot] += weight;
        if self.only_true {
            let array = input.argument().as_boolean();
            let valid = input.valid.map_or_else(|| array.values().clone(), |valid| valid & array.values());
            Input { valid: Some(&valid), ..*input }.for_each(add);
        } else {
            input.for_each(add);
        }
        Ok(())
    }

    fn values(&self, slots: &[u32], _end: End) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| self.counts[*slot]))))
    }

    fn reset(&mut self, slot: u32) {
        self.counts[slot] = 0;
    }

    fn write(&self, slot: u32, output: &mut Vec<u8>) {
        write_count(self.counts[slot], output);
    }

    fn read(&mut self, slot: u32, input: &mut Reader) -> Result<()> {
        self.counts[slot] = input.count()?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.bytes()
    }

    fn start_from(&mut self, rows: &Segments<i64>) {
        self.counts = rows.clone();
    }
}

/// The sum of partial counts.
#[derive(Default)]
pub(super) struct AddedCounts {
    counts: Segments<i64>,
}

impl GroupState for AddedCounts {
    fn grow(&mut self, slots: usize) {
        self.counts.grow(slots);
    }

    fn update(&mut self, input: &Input) -> Result<()> {
        let added = input.argument().as_primitive::<Int64Type>().values();
        let counts = &mut self.counts;
        input.for_each(|row, slot, weight| counts[slot] += added[row] * weight);
        Ok(())
    }

    fn values(&self, slots: &[u32], _end: End) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| self.counts[*slot]))))
    }

    fn reset(&mut self, slot: u32) {
        self.counts[slot] = 0;
    }

    fn write(&self, slot: u32, output: &mut Vec<u8>) {
        write_count(self.counts[slot], output);
    }

    fn read(&mut self, slot: u32, input: &mut Reader) -> Result<()> {
        self.counts[slot] = input.count()?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.bytes()
    }

    fn start_from(&mut self, rows: &Segments<i64>) {
        self.counts = rows.clone();
    }
}

/// Rows whose argument is not NULL and whose filter is true; `None` if that is all of them.
pub(super) fn valid_rows(argument: Option<&ArrayRef>, filter: Option<&ArrayRef>) -> Option<BooleanBuffer> {
    let not_null = argument.and_then(|array| array.logical_nulls()).filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.into_inner());
    let kept = filter.map(|filter| {
        let filter = filter.as_boolean();
        filter.nulls().map_or_else(|| filter.values().clone(), |nulls| filter.values() & nulls.inner())
    });
    match (not_null, kept) {
        (Some(left), Some(right)) => Some(&left & &right),
        (left, right) => left.or(right),
    }
}
