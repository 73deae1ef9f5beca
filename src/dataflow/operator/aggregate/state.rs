//! What an accumulator is: a partial result per group, changed by weighted rows. Results of a few words lie in the groups' [`Cells`], those of any
//! size in columns of the accumulator's own.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use std::ops::Range;
use std::sync::Arc;

use super::cells::{Cells, Taken, Words};
use super::codec::{Reader, damaged, write_count};
use crate::error::{Error, Result};

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

impl<'a> Input<'a> {
    /// Some of the rows, of which these are the values.
    pub(super) fn only<'b>(&self, rows: &Range<usize>, values: Option<&'b ArrayRef>, valid: Option<&'b BooleanBuffer>) -> Input<'b>
    where
        'a: 'b,
    {
        let weights = self.weights.map(|weights| &weights[rows.clone()]);
        Input { slots: &self.slots[rows.clone()], values, valid, weights }
    }

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

/// Is called with each value that entered or left a large set since the last checkpoint: the group's slot, the value, and how often it stands in
/// the set now, both as a checkpoint holds them; `None` if no longer.
pub(super) type ValueChanged<'a> = dyn FnMut(u32, &[u8], Option<&[u8]>) + 'a;

/// Puts what changed in order, and each change once: a value that went and came again is listed twice. Gives back the slots.
pub(super) fn sorted_slots<V: Ord>(changes: &mut Vec<(u32, V)>) -> Vec<u32> {
    changes.sort_unstable();
    changes.dedup();
    let mut slots: Vec<u32> = changes.iter().map(|(slot, _)| *slot).collect();
    slots.dedup();
    slots
}

/// One accumulator of all groups. `place`: where its words are in a group's cells, if it has any there.
pub(super) trait GroupState {
    /// How many words it has in each group's cells.
    fn words(&self) -> usize {
        0
    }
    /// Makes room for slots below `slots`, beside the cells.
    fn grow(&mut self, _slots: usize) {}
    /// Takes rows in.
    fn update(&mut self, input: &Input, cells: &mut Cells, place: usize) -> Result<()>;
    /// The partial results of groups; what a group without values gives is for `finish` to say.
    fn values(&self, groups: &Taken, place: usize, end: End) -> Result<ArrayRef>;
    /// The partial results of rows that are groups by themselves, of which each has its number for a slot; `None` if only `update` can tell.
    fn values_of_rows(&self, _rows: &Input) -> Option<ArrayRef> {
        None
    }
    /// No value is left in the group; the caller clears its words.
    fn reset(&mut self, _slot: u32) {}
    /// As `reset`, of all groups, of which there are `slots`.
    fn reset_all(&mut self, slots: u32) {
        (0..slots).for_each(|slot| self.reset(slot));
    }
    /// Writes the group's part of its state entry. `words`: its own of the group's cells.
    fn write(&self, slot: u32, words: &[u64], output: &mut Vec<u8>);
    /// Reads what `write` wrote.
    fn read(&mut self, slot: u32, words: &mut [u64], input: &mut Reader) -> Result<()>;
    /// Bytes of memory, beside the cells.
    fn bytes(&self) -> usize {
        0
    }

    /// Whether `reset` must be called when no value is left in a group that stays, because of what rounding left behind.
    fn leaves_residue(&self) -> bool {
        false
    }

    /// Whether the words of a group say all that it takes for its result: then that can be told later, too, of words that were copied.
    fn follows_from_words(&self) -> bool {
        false
    }

    /// Whether it must be told when a row or a group without a value comes for the first time.
    fn minds_missing(&self) -> bool {
        false
    }

    /// Whether what `write` wrote of a group says that it has no value.
    fn is_missing(&self, _input: &Reader) -> Result<bool> {
        Ok(false)
    }

    /// A row or a group without a value comes. `cells`: as they were before the row.
    fn expect_missing(&mut self, _cells: &Cells) {}

    /// Values whose count is below zero: none, once an epoch is complete.
    fn negative(&self) -> usize {
        0
    }

    /// Nobody will ask for changes.
    fn without_changes(&mut self) {}

    /// The slots of groups whose large sets have changed, in order. To be called before the changes are taken: it puts them in order, too.
    fn changed_slots(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// Calls `visit` with what changed in large sets since the last call, in the order that `changed_slots` has made.
    fn take_changes(&mut self, _visit: &mut ValueChanged<'_>) {}

    /// Calls `visit` with the bytes of every value of a group's set, in order, and how often it stands there.
    fn for_each_value(&self, _slot: u32, _visit: &mut dyn FnMut(&[u8], i64)) {}

    /// Takes back one value of a large set.
    fn read_value(&mut self, _slot: u32, _value: &[u8], _counts: &mut Reader) -> Result<()> {
        Err(damaged())
    }
}

/// How many rows count.
pub(super) enum Counts {
    Rows,
    /// Those whose boolean argument is true.
    True,
    /// As many as the argument says: the sum of partial counts.
    Added,
}

impl GroupState for Counts {
    fn words(&self) -> usize {
        i64::COUNT
    }

    fn update(&mut self, input: &Input, cells: &mut Cells, place: usize) -> Result<()> {
        let mut add = |slot, more| cells.change::<i64>(slot, place, |count| count + more);
        match self {
            Counts::Rows => input.for_each(|_, slot, weight| add(slot, weight)),
            Counts::True => {
                let array = input.argument().as_boolean();
                let valid = input.valid.map_or_else(|| array.values().clone(), |valid| valid & array.values());
                Input { valid: Some(&valid), ..*input }.for_each(|_, slot, weight| add(slot, weight));
            }
            Counts::Added => {
                let added = input.argument().as_primitive::<Int64Type>().values();
                input.for_each(|row, slot, weight| add(slot, added[row] * weight));
            }
        }
        Ok(())
    }

    fn values(&self, groups: &Taken, place: usize, _end: End) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(groups.each::<i64>(place))))
    }

    fn values_of_rows(&self, rows: &Input) -> Option<ArrayRef> {
        let Counts::Rows = self else { return None };
        let mut counts = vec![0; rows.slots.len()];
        rows.for_each(|_, slot, weight| counts[slot as usize] = weight);
        Some(Arc::new(Int64Array::from(counts)))
    }

    fn follows_from_words(&self) -> bool {
        true
    }

    fn write(&self, _slot: u32, words: &[u64], output: &mut Vec<u8>) {
        write_count(i64::load(words), output);
    }

    fn read(&mut self, _slot: u32, words: &mut [u64], input: &mut Reader) -> Result<()> {
        input.count()?.store(words);
        Ok(())
    }
}

/// What rests on rows that only come was told that one has gone.
pub(super) fn unexpected_retraction() -> Error {
    Error::internal("an append-only aggregate got a retraction")
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
