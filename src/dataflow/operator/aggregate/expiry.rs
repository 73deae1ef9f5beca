//! Groups whose key is a time go when event time has passed them: their state is dropped, and with EMIT ON WINDOW CLOSE their results come out.
//!
//! Nothing that belongs to them comes any more: before the aggregate stands a filter for what is late.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::Array;

use super::{Aggregate, GROUPS_PER_BATCH};
use crate::dataflow::event_time::{LowAt, times_of};
use crate::error::Result;
use crate::types::{Changes, Epoch};

/// When groups go.
pub(super) struct Expiry {
    /// Which of the keys is the time.
    place: usize,
    low: LowAt,
    /// Results come out then, and not before.
    pub(super) emits: bool,
    /// The slots of groups by their times. May list slots that another group has by now: whoever looks asks for the key again.
    slots: BTreeMap<i64, Vec<u32>>,
}

impl Aggregate {
    /// Drops groups when what their key at `place` (among the keys) says is below `low`; `emits`: that is when their results come out.
    #[must_use]
    pub fn closing(mut self, place: usize, low: LowAt, emits: bool) -> Aggregate {
        self.expiry = Some(Expiry { place, low, emits, slots: BTreeMap::new() });
        self
    }

    /// Notes when groups that have just appeared will go.
    pub(super) fn watch(&mut self, slots: &[u32]) -> Result<()> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        let live: Vec<u32> = slots.iter().copied().filter(|slot| self.groups.rows[*slot] > 0).collect();
        for slots in live.chunks(GROUPS_PER_BATCH) {
            let keys = self.groups.table.columns(slots)?;
            let (column, times) = (&keys[expiry.place], times_of(&keys[expiry.place])?);
            for (row, slot) in slots.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
                expiry.slots.entry(times[row]).or_default().push(*slot);
            }
        }
        Ok(())
    }

    /// Drops the groups that event time has passed after `epoch`.
    pub(super) fn expire(&mut self, epoch: Epoch, output: &mut Vec<Changes>) -> Result<()> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        let Some(low) = expiry.low.after(epoch) else { return Ok(()) };
        let (place, emits) = (expiry.place, expiry.emits);
        let still_open = expiry.slots.split_off(&low);
        let mut over: Vec<u32> = std::mem::replace(&mut expiry.slots, still_open).into_values().flatten().collect();
        over.retain(|slot| self.groups.rows[*slot] > 0);
        let mut gone = BTreeSet::new();
        for slots in over.chunks(GROUPS_PER_BATCH) {
            let keys = self.groups.table.columns(slots)?;
            let (column, times) = (&keys[place], times_of(&keys[place])?);
            let passed = |row: usize| column.is_valid(row) && times[row] < low;
            let slots: Vec<u32> = (0..slots.len()).filter(|row| passed(*row)).map(|row| slots[row]).filter(|slot| gone.insert(*slot)).collect();
            if emits {
                self.emit_fresh(&slots, output)?;
            }
        }
        if !gone.is_empty() {
            self.layout.distincts.iter_mut().for_each(|distinct| distinct.values.forget(&|slot| gone.contains(&slot)));
            gone.into_iter().for_each(|slot| self.drop_group(slot));
        }
        Ok(())
    }

    fn drop_group(&mut self, slot: u32) {
        self.groups.rows[slot] = 0;
        self.groups.live -= 1;
        self.layout.accumulators.iter_mut().for_each(|accumulator| accumulator.state.reset(slot));
        if !self.groups.dirty.set(slot) {
            self.groups.dirty_slots.push(slot);
        }
        if !self.groups.stored.get(slot) {
            self.groups.table.remove(slot);
        }
    }
}
