//! Groups whose key is a time, by that time: which ones event time has passed.
//!
//! Nothing that belongs to them comes any more: before their operator stands a filter for what is late.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};

use crate::dataflow::event_time::{LowAt, times_of};
use crate::error::{Error, Result};
use crate::types::Epoch;

/// When groups are over.
pub(super) struct Expiry {
    /// Which column is the time: a key, or what follows from the rows of a group and rises as they come.
    place: usize,
    low: LowAt,
    /// The slots of groups by their times. May list slots that another group has by now: whoever looks asks for the key again.
    slots: BTreeMap<i64, Vec<u32>>,
}

/// Slots whose groups may be over, and when a group is.
pub(super) struct Passed {
    place: usize,
    low: i64,
    /// In the order of their times.
    pub(super) slots: Vec<u32>,
}

impl Expiry {
    /// No groups yet. Those are over whose column at `place` (a key, as a rule) is below `low`.
    pub(super) fn new(place: usize, low: LowAt) -> Self {
        Expiry { place, low, slots: BTreeMap::new() }
    }

    /// Notes groups by their keys.
    pub(super) fn note(&mut self, keys: &[ArrayRef], slots: &[u32]) -> Result<()> {
        let column = keys.get(self.place).ok_or_else(|| Error::internal("a time that is no key"))?;
        let times = times_of(column)?;
        for (row, slot) in slots.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
            self.slots.entry(times[row]).or_default().push(*slot);
        }
        Ok(())
    }

    /// Which column tells when groups are over.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Forgets all slots: the groups have others now.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Takes out what event time has passed after `epoch`.
    pub(super) fn passed(&mut self, epoch: Epoch) -> Option<Passed> {
        let low = self.low.after(epoch)?;
        let still_open = self.slots.split_off(&low);
        let slots: Vec<u32> = std::mem::replace(&mut self.slots, still_open).into_values().flatten().collect();
        (!slots.is_empty()).then_some(Passed { place: self.place, low, slots })
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        self.slots.values().map(|slots| slots.capacity() * size_of::<u32>() + size_of::<(i64, Vec<u32>)>()).sum()
    }
}

impl Passed {
    /// Which of some slots, with these keys, have groups that are over.
    pub(super) fn over(&self, keys: &[ArrayRef], slots: &[u32]) -> Result<Vec<u32>> {
        let column = &keys[self.place];
        let times = times_of(column)?;
        Ok((0..slots.len()).filter(|row| column.is_valid(*row) && times[*row] < self.low).map(|row| slots[row]).collect())
    }
}
