//! Groups of sorted rows: found by key, filled from an epoch's changes, written to checkpoints row by row.
//!
//! ```text
//! checkpoint entry   key: length of the group's key (4 bytes), length of the order's bytes (4), group's key, row
//!                    value: what is known of the row, once for each time that it stands in the group
//! ```
//!
//! A group's slot is given up when it has no rows and the last checkpoint knows of none.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::row::{Row, RowFormat};
use super::sorted::{Payload, Sorted};
use crate::dataflow::operator::StateSize;
use crate::dataflow::operator::aggregate::keys::{KeyTable, key_table};
use crate::error::{Error, Result};
use crate::plan::OrderColumn;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, bucket, hash_rows};

/// Groups that a checkpoint looks up at a time.
const GROUPS_PER_BATCH: usize = 4_096;

/// One group.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct GroupRows<P, M = ()> {
    /// Its rows.
    pub(in crate::dataflow::operator) rows: Sorted<P, M>,
    /// Rows that stood in the last checkpoint and were taken out.
    removed: Vec<Row>,
    /// Whether the slot is a group's.
    used: bool,
    /// Whether it is listed among the changed ones.
    dirty: bool,
}

impl<P, M> Default for GroupRows<P, M> {
    fn default() -> Self {
        GroupRows { rows: Sorted::default(), removed: Vec::new(), used: false, dirty: false }
    }
}

/// How often a row came (or, below zero, went) in an epoch.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct Change {
    /// The group.
    pub(in crate::dataflow::operator) slot: u32,
    /// The row.
    pub(in crate::dataflow::operator) row: Row,
    /// Never 0.
    pub(in crate::dataflow::operator) weight: i64,
}

/// All groups of an operator.
pub(in crate::dataflow::operator) struct Groups<P, M = ()> {
    format: RowFormat,
    keys: Vec<usize>,
    /// Which of the keys (by their place among the keys) the input is exchanged by.
    partitioning: Vec<usize>,
    table: Box<dyn KeyTable>,
    groups: Vec<GroupRows<P, M>>,
    dirty: Vec<u32>,
    entries: usize,
    bytes: usize,
}

/// Rows of several groups on their way out.
#[derive(Debug, Default)]
pub(in crate::dataflow::operator) struct Batch {
    slots: Vec<u32>,
    bytes: Vec<u8>,
    /// Where each row's order bytes and rest bytes end.
    ends: Vec<(usize, usize)>,
}

impl Batch {
    /// Copies a row.
    pub(in crate::dataflow::operator) fn push(&mut self, slot: u32, row: &Row) {
        self.slots.push(slot);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(row.bytes());
        self.ends.push((start + row.order().len(), self.bytes.len()));
    }

    /// How many rows.
    pub(in crate::dataflow::operator) fn len(&self) -> usize {
        self.slots.len()
    }

    fn parts(&self, row: usize) -> (&[u8], &[u8]) {
        let start = if row == 0 { 0 } else { self.ends[row - 1].1 };
        let (middle, end) = self.ends[row];
        (&self.bytes[start..middle], &self.bytes[middle..end])
    }
}

impl<P: Payload, M: Default> Groups<P, M> {
    /// No groups yet. Fails for columns whose types cannot be held.
    pub(in crate::dataflow::operator) fn new(schema: &SchemaRef, keys: &[usize], order: &[OrderColumn]) -> Result<Self> {
        let types: Vec<_> = keys.iter().map(|key| schema.field(*key).data_type().clone()).collect();
        Ok(Groups {
            format: RowFormat::new(schema, keys, order)?,
            keys: keys.to_vec(),
            partitioning: (0..keys.len()).collect(),
            table: key_table(&types)?,
            groups: Vec::new(),
            dirty: Vec::new(),
            entries: 0,
            bytes: 0,
        })
    }

    /// Says which of the keys the input is exchanged by, if not by all.
    pub(in crate::dataflow::operator) fn partitioned_by(&mut self, places: Vec<usize>) {
        self.partitioning = places;
    }

    /// The epoch's changes by group and row, each row once; a row for which `admit` says no is left out.
    pub(in crate::dataflow::operator) fn gather(
        &mut self,
        inputs: Vec<Changes>,
        admit: impl Fn(&Sorted<P, M>, &[u8], &[u8]) -> bool,
    ) -> Result<Vec<Change>> {
        let mut gathered = Vec::new();
        for changes in inputs.iter().filter(|changes| !changes.is_empty()) {
            let columns = changes.rows().columns();
            let keys: Vec<ArrayRef> = self.keys.iter().map(|key| ArrayRef::clone(&columns[*key])).collect();
            let mut slots = Vec::with_capacity(changes.len());
            self.table.locate(&keys, changes.len(), &mut slots)?;
            self.grow();
            let encoded = self.format.encode(columns)?;
            for (position, slot) in slots.into_iter().enumerate() {
                let group = &mut self.groups[slot as usize];
                group.used = true;
                let (order, rest) = encoded.parts(position);
                let weight = changes.weight(position);
                if weight != 0 && admit(&group.rows, order, rest) {
                    gathered.push(Change { slot, row: Row::new(order, rest), weight });
                }
            }
        }
        gathered.sort_unstable_by(|left, right| left.slot.cmp(&right.slot).then_with(|| left.row.cmp(&right.row)));
        gathered.dedup_by(|next, first| {
            let same = next.slot == first.slot && next.row == first.row;
            first.weight += if same { next.weight } else { 0 };
            same
        });
        let cancelled: Vec<u32> = gathered.iter().filter(|change| change.weight == 0).map(|change| change.slot).collect();
        gathered.retain(|change| change.weight != 0);
        for slot in cancelled {
            if gathered.binary_search_by_key(&slot, |change| change.slot).is_err() {
                self.close(slot);
            }
        }
        Ok(gathered)
    }

    fn grow(&mut self) {
        let end = self.table.end();
        if self.groups.len() < end {
            self.groups.resize_with(end, GroupRows::default);
        }
    }

    /// One group's rows.
    pub(in crate::dataflow::operator) fn rows(&self, slot: u32) -> &Sorted<P, M> {
        &self.groups[slot as usize].rows
    }

    /// One group, to be changed.
    pub(in crate::dataflow::operator) fn open(&mut self, slot: u32) -> Kept<'_, P, M> {
        let group = &mut self.groups[slot as usize];
        if !group.dirty {
            group.dirty = true;
            self.dirty.push(slot);
        }
        Kept { group, entries: &mut self.entries, bytes: &mut self.bytes }
    }

    /// Gives up the group's slot if nothing is left of it.
    pub(in crate::dataflow::operator) fn close(&mut self, slot: u32) {
        let group = &mut self.groups[slot as usize];
        if group.used && group.rows.is_empty() && group.removed.is_empty() {
            group.used = false;
            self.table.remove(slot);
        }
    }

    /// The columns of some of a batch's rows.
    pub(in crate::dataflow::operator) fn columns(&self, batch: &Batch, range: Range<usize>) -> Result<Vec<ArrayRef>> {
        let keys = self.table.columns(&batch.slots[range.clone()])?;
        self.format.decode(keys, range.map(|row| batch.parts(row)))
    }

    /// Writes rows that changed since the last time.
    pub(in crate::dataflow::operator) fn checkpoint(&mut self, changes: &mut StateChanges) {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.iter().for_each(|slot| self.groups[*slot as usize].dirty = false);
        let used: Vec<u32> = dirty.into_iter().filter(|slot| self.groups[*slot as usize].used).collect();
        for slots in used.chunks(GROUPS_PER_BATCH) {
            for (slot, bucket) in slots.iter().zip(self.buckets(slots)) {
                self.write_group(*slot, bucket, changes);
                self.close(*slot);
            }
        }
    }

    fn write_group(&mut self, slot: u32, bucket: u8, changes: &mut StateChanges) {
        let mut key = Vec::new();
        self.table.encode(slot, &mut key);
        let group = &mut self.groups[slot as usize];
        let mut removed = std::mem::take(&mut group.removed);
        removed.sort_unstable();
        removed.dedup();
        for row in removed {
            let place = group.rows.find(super::Place::default(), &row);
            if group.rows.get(place).is_some_and(|entry| entry.row == row) {
                group.rows.update(place, |_| {});
            } else {
                changes.deletes.push((bucket, entry_key(&key, &row)));
            }
        }
        group.rows.take_dirty(|row, payloads| {
            let mut value = Vec::new();
            payloads.iter().for_each(|payload| payload.write(&mut value));
            changes.puts.push(StateEntry { bucket, key: entry_key(&key, row), value });
        });
    }

    fn buckets(&self, slots: &[u32]) -> Vec<u8> {
        let columns = self.table.columns(slots).expect("keys that went in come out");
        let columns: Vec<ArrayRef> = self.partitioning.iter().map(|place| ArrayRef::clone(&columns[*place])).collect();
        hash_rows(&columns, slots.len()).into_iter().map(bucket).collect()
    }

    /// Takes one entry back.
    pub(in crate::dataflow::operator) fn restore(&mut self, entry: &StateEntry) -> Result<()> {
        let (key, order, rest) = split_key(&entry.key).ok_or_else(damaged)?;
        let slot = self.table.locate_encoded(key)?;
        self.grow();
        self.groups[slot as usize].used = true;
        let row = Row::new(order, rest);
        let mut value = entry.value.as_slice();
        while !value.is_empty() {
            let payload = P::read(&mut value).ok_or_else(damaged)?;
            self.entries += 1;
            self.bytes += bytes_of(&row, &payload);
            self.groups[slot as usize].rows.insert_stored(row.clone(), payload);
        }
        Ok(())
    }

    /// Rows and bytes held.
    pub(in crate::dataflow::operator) fn size(&self) -> StateSize {
        let groups = self.groups.capacity() * size_of::<GroupRows<P, M>>() + self.dirty.capacity() * size_of::<u32>();
        StateSize { rows: self.entries, bytes: self.bytes + groups + self.table.bytes() }
    }
}

/// A group that is being changed.
pub(in crate::dataflow::operator) struct Kept<'a, P, M = ()> {
    group: &'a mut GroupRows<P, M>,
    entries: &'a mut usize,
    bytes: &'a mut usize,
}

impl<P: Payload, M: Default> Kept<'_, P, M> {
    /// The rows as they are.
    pub(in crate::dataflow::operator) fn rows(&mut self) -> &mut Sorted<P, M> {
        &mut self.group.rows
    }

    /// Puts a row at its place; gives the place.
    pub(in crate::dataflow::operator) fn insert(&mut self, place: super::Place, row: Row, payload: P) -> super::Place {
        *self.entries += 1;
        *self.bytes += bytes_of(&row, &payload);
        self.group.rows.insert(place, row, payload)
    }

    /// Changes what is known of a row.
    pub(in crate::dataflow::operator) fn update(&mut self, place: super::Place, change: impl FnOnce(&mut P)) {
        let mut grown = 0_usize;
        self.group.rows.update(place, |payload| {
            let before = payload.heap();
            change(payload);
            grown = payload.heap().wrapping_sub(before);
        });
        *self.bytes = self.bytes.wrapping_add(grown);
    }

    /// Takes a row out and gives what was known of it.
    pub(in crate::dataflow::operator) fn remove(&mut self, place: super::Place) -> P {
        let entry = self.group.rows.remove(place);
        *self.entries -= 1;
        *self.bytes -= bytes_of(&entry.row, &entry.payload);
        // An equal row may stand in the checkpoint's entry with it: then that entry changes.
        let twin = self.group.rows.get(self.group.rows.find(super::Place::default(), &entry.row));
        if entry.stored || twin.is_some_and(|twin| twin.row == entry.row) {
            self.group.removed.push(entry.row);
        }
        entry.payload
    }

    /// Takes the last row out.
    pub(in crate::dataflow::operator) fn pop(&mut self) {
        if let Some(entry) = self.group.rows.pop() {
            *self.entries -= 1;
            *self.bytes -= bytes_of(&entry.row, &entry.payload);
            if entry.stored {
                self.group.removed.push(entry.row);
            }
        }
    }
}

fn bytes_of<P: Payload>(row: &Row, payload: &P) -> usize {
    size_of::<super::sorted::Entry<P>>() + row.bytes().len() + payload.heap()
}

fn entry_key(group: &[u8], row: &Row) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + group.len() + row.bytes().len());
    key.extend_from_slice(&(group.len() as u32).to_be_bytes());
    key.extend_from_slice(&(row.order().len() as u32).to_be_bytes());
    key.extend_from_slice(group);
    key.extend_from_slice(row.bytes());
    key
}

/// Group's key, order bytes, rest bytes.
fn split_key(key: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (group, key) = key.split_first_chunk()?;
    let (order, key) = key.split_first_chunk()?;
    let (group, row) = key.split_at_checked(u32::from_be_bytes(*group) as usize)?;
    let (order, rest) = row.split_at_checked(u32::from_be_bytes(*order) as usize)?;
    Some((group, order, rest))
}

fn damaged() -> Error {
    Error::internal("an entry of an ordered operator's stored state is damaged")
}
