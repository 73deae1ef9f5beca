//! What a checkpoint writes of an aggregate, and how it is read back: one entry per group, and one per value of large sets.

use arrow::array::ArrayRef;

use super::Aggregate;
use super::cells::ROWS;
use super::codec::{GROUP_PART, Reader, damaged, entry_key, write_count};
use super::state::ValueChange;
use crate::dataflow::operator::rows::part_ranges;
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
            let values = self.layout.distincts[number].values.take_changes();
            self.write_values(DISTINCT_PARTS + number as u16, values, changes);
        }
        for number in 0..self.layout.accumulators.len() {
            let values = self.layout.accumulators[number].state.take_changes();
            self.write_values(ACCUMULATOR_PARTS + number as u16, values, changes);
        }
    }

    fn write_values(&self, part: u16, mut values: Vec<ValueChange>, changes: &mut StateChanges) {
        values.retain(|value| self.has_key(value.slot));
        for range in part_ranges(values.len(), |at| self.groups.table.key_bytes(values[at].slot)) {
            let values = &mut values[range];
            let slots: Vec<u32> = values.iter().map(|value| value.slot).collect();
            for (value, bucket) in values.iter_mut().zip(self.buckets(&slots)) {
                let mut group = Vec::new();
                self.groups.table.encode(value.slot, &mut group);
                let key = entry_key(&group, part, &value.value);
                match value.counts.take() {
                    Some(counts) => changes.puts.push(StateEntry { bucket, key, value: counts }),
                    None => changes.deletes.push((bucket, key)),
                }
            }
        }
    }

    /// Writes changed groups; those that are gone are deleted and give up their slots.
    pub(super) fn write_groups(&mut self, dirty: &[u32], changes: &mut StateChanges) {
        for slots in self.groups.table.blocks(dirty) {
            slots.iter().for_each(|slot| self.groups.dirty.clear(*slot));
            let slots: Vec<u32> = slots.iter().copied().filter(|slot| self.has_key(*slot)).collect();
            for (slot, bucket) in slots.iter().copied().zip(self.buckets(&slots)) {
                let mut group = Vec::new();
                self.groups.table.encode(slot, &mut group);
                let key = entry_key(&group, GROUP_PART, &[]);
                if self.is_live(slot) {
                    changes.puts.push(StateEntry { bucket, key, value: self.group_value(slot) });
                    self.groups.stored.set(slot);
                } else {
                    changes.deletes.push((bucket, key));
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

    fn group_value(&self, slot: u32) -> Vec<u8> {
        let mut value = Vec::new();
        write_count(self.layout.cells.rows(slot), &mut value);
        self.layout.accumulators.iter().for_each(|accumulator| accumulator.write(slot, &self.layout.cells, &mut value));
        value
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
