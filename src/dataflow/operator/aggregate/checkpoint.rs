//! What a checkpoint writes of an aggregate, and how it is read back: one entry per group, and one per value of large sets.

use arrow::array::ArrayRef;

use super::cells::ROWS;
use super::codec::{GROUP_PART, Reader, begin_key, damaged, write_count};
use super::{Aggregate, Groups};
use crate::error::Result;
use crate::state::{StateChanges, StateEntry};
use crate::types::{bucket, hash_rows};

/// The first part number of DISTINCT arguments; those of accumulators start further up.
const DISTINCT_PARTS: u16 = 1;
const ACCUMULATOR_PARTS: u16 = 0x8000;

impl Aggregate {
    /// Writes the changed values of large sets.
    pub(super) fn write_value_changes(&mut self, changes: &mut StateChanges) {
        for number in 0..self.layout.distincts.len() {
            let slots = self.layout.distincts[number].values.changed_slots();
            let buckets = self.buckets_in_use(slots);
            let part = DISTINCT_PARTS + number as u16;
            let values = &mut self.layout.distincts[number].values;
            values.take_changes(&mut written_values(&self.groups, buckets, part, changes));
        }
        for number in 0..self.layout.accumulators.len() {
            let slots = self.layout.accumulators[number].state.changed_slots();
            let buckets = self.buckets_in_use(slots);
            let part = ACCUMULATOR_PARTS + number as u16;
            let state = &mut self.layout.accumulators[number].state;
            state.take_changes(&mut written_values(&self.groups, buckets, part, changes));
        }
    }

    /// Slots in use, in order, with their buckets.
    fn buckets_in_use(&self, mut slots: Vec<u32>) -> Vec<(u32, u8)> {
        slots.retain(|slot| self.has_key(*slot));
        let mut buckets = Vec::with_capacity(slots.len());
        for slots in self.groups.table.blocks(&slots) {
            buckets.extend(slots.iter().copied().zip(self.buckets(slots)));
        }
        buckets
    }

    /// Writes changed groups; those that are gone are deleted and give up their slots.
    pub(super) fn write_groups(&mut self, dirty: &[u32], changes: &mut StateChanges) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for slots in self.groups.table.blocks(dirty) {
            slots.iter().for_each(|slot| self.groups.dirty.clear(*slot));
            let slots: Vec<u32> = slots.iter().copied().filter(|slot| self.has_key(*slot)).collect();
            for (slot, bucket) in slots.iter().copied().zip(self.buckets(&slots)) {
                begin_key(&mut key, GROUP_PART, |key| self.groups.table.encode(slot, key));
                if self.is_live(slot) {
                    self.write_group(slot, &mut value);
                    changes.put(bucket, &key, &value);
                    self.groups.stored.set(slot);
                } else {
                    changes.delete(bucket, &key);
                    self.groups.stored.clear(slot);
                    self.groups.table.remove(slot);
                }
            }
        }
    }

    /// Whether the slot is in use: live, or kept for the sake of the last checkpoint.
    fn has_key(&self, slot: u32) -> bool {
        self.is_live(slot) || self.groups.stored.get(slot)
    }

    fn write_group(&self, slot: u32, value: &mut Vec<u8>) {
        value.clear();
        write_count(self.layout.cells.rows(slot), value);
        self.layout.accumulators.iter().for_each(|accumulator| accumulator.write(slot, &self.layout.cells, value));
    }

    fn buckets(&self, slots: &[u32]) -> Vec<u8> {
        let columns = self.groups.table.columns(slots).expect("keys that went in come out");
        let columns: Vec<ArrayRef> = self.partitioning.iter().map(|place| columns[*place].clone()).collect();
        hash_rows(&columns, slots.len()).into_iter().map(bucket).collect()
    }

    /// Takes one entry back; a group's entries come in any order.
    pub(super) fn read_entry(&mut self, entry: &StateEntry) -> Result<()> {
        let (group, part, value) = Reader(&entry.key).entry_key()?;
        let slot = self.groups.table.locate_encoded(group)?;
        self.grow();
        let mut input = Reader(&entry.value);
        if part == GROUP_PART {
            self.read_group(slot, &mut input)?;
        } else if part >= ACCUMULATOR_PARTS {
            let number = usize::from(part - ACCUMULATOR_PARTS);
            self.layout.accumulators.get_mut(number).ok_or_else(damaged)?.state.read_value(slot, value, &mut input)?;
        } else {
            let number = usize::from(part - DISTINCT_PARTS);
            self.layout.distincts.get_mut(number).ok_or_else(damaged)?.values.read_value(slot, value, &mut input)?;
        }
        if input.0.is_empty() { Ok(()) } else { Err(damaged()) }
    }

    fn read_group(&mut self, slot: u32, input: &mut Reader) -> Result<()> {
        let rows = input.count()?;
        self.layout.cells.change(slot, ROWS, |_: i64| rows);
        self.layout.read(slot, input)?;
        self.groups.stored.set(slot);
        self.set_live(slot, true);
        if let Some(global) = &mut self.global {
            global.emitted = true;
        }
        Ok(())
    }
}

/// Writes values of the slots in `buckets` that it is called with, in the order of slots.
fn written_values<'a>(
    groups: &'a Groups,
    buckets: Vec<(u32, u8)>,
    part: u16,
    changes: &'a mut StateChanges,
) -> impl FnMut(u32, &[u8], Option<&[u8]>) + 'a {
    let mut buckets = buckets.into_iter().peekable();
    let (mut key, mut group) = (Vec::new(), 0);
    let mut current = None;
    move |slot, value, counts| {
        while current.is_none_or(|(before, _)| before < slot) && buckets.peek().is_some_and(|(next, _)| *next <= slot) {
            current = buckets.next();
            begin_key(&mut key, part, |key| groups.table.encode(slot, key));
            group = key.len();
        }
        let Some((_, bucket)) = current.filter(|(current, _)| *current == slot) else { return };
        key.truncate(group);
        key.extend_from_slice(value);
        match counts {
            Some(counts) => changes.put(bucket, &key, counts),
            None => changes.delete(bucket, &key),
        }
    }
}
