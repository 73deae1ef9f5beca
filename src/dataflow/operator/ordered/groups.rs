//! Groups of sorted rows: found by key, filled from an epoch's changes, written to checkpoints row by row.
//!
//! ```text
//! checkpoint entry   key: length of the group's key (4 bytes), length of the order's bytes (4), group's key, row
//!                    value: what is known of the row, once for each time that it stands in the group
//! ```
//!
//! A group's slot is given up when it has no rows and the last checkpoint knows of none. When most slots are given up, a checkpoint moves the
//! groups together and gives the memory back.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};

use super::gather::{Gathered, Gathering, Sieve, Sifting};
use super::piece::Payload;
use super::row::{Row, RowFormat, RowRef};
use super::sorted::{Place, Sorted};
use crate::dataflow::event_time::LowAt;
use crate::dataflow::operator::StateSize;
use crate::dataflow::operator::aggregate::keys::{KeyTable, key_table};
use crate::dataflow::operator::expiry::Expiry;
use crate::dataflow::operator::rows::{PART_BYTES, PART_ROWS, part_ranges};
use crate::error::{Error, Result};
use crate::plan::OrderColumn;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch, bucket, hash_rows};

/// With fewer slots than this, memory is not worth moving groups.
const SLOTS_MOVED_MIN: usize = 4_096;

/// The slot is a group's.
const USED: u8 = 1;

/// The slot is listed among the changed ones.
const DIRTY: u8 = 2;

/// One group.
#[derive(Debug)]
struct GroupRows<P: Payload, M> {
    rows: Sorted<P, M>,
    removed: Option<Box<Removed>>,
}

/// Rows that stood in the last checkpoint and were taken out.
#[derive(Debug, Default)]
struct Removed(Vec<Row>);

impl<P: Payload, M: Default> Default for GroupRows<P, M> {
    fn default() -> Self {
        GroupRows { rows: Sorted::default(), removed: None }
    }
}

/// All groups of an operator.
pub(in crate::dataflow::operator) struct Groups<P: Payload, M = ()> {
    format: RowFormat,
    keys: Vec<usize>,
    types: Vec<DataType>,
    /// Which of the keys (by their place among the keys) the input is exchanged by.
    partitioning: Vec<usize>,
    table: Box<dyn KeyTable>,
    groups: Vec<GroupRows<P, M>>,
    /// For each slot what it is: apart from the groups, so that the changes of an epoch can be told apart without a look at them.
    marks: Vec<u8>,
    used: usize,
    dirty: Vec<u32>,
    entries: usize,
    /// What the groups have on the heap.
    heap: usize,
    /// When groups are over, if they ever are: by the first of these that says so.
    expiries: Vec<Expiry>,
    /// How often groups have been given new slots.
    moves: u64,
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
    pub(in crate::dataflow::operator) fn push(&mut self, slot: u32, row: RowRef<'_>) {
        self.slots.push(slot);
        self.bytes.extend_from_slice(row.order);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(row.rest);
        self.ends.push((middle, self.bytes.len()));
    }

    /// How many rows.
    pub(in crate::dataflow::operator) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it is time to give them out.
    pub(in crate::dataflow::operator) fn is_full(&self) -> bool {
        self.len() >= PART_ROWS || self.bytes.len() >= PART_BYTES
    }

    /// A row that was copied, and its group's slot.
    pub(in crate::dataflow::operator) fn row(&self, number: usize) -> (u32, RowRef<'_>) {
        let (order, rest) = self.parts(number);
        (self.slots[number], RowRef { order, rest })
    }

    /// Whether a row that was copied is this one.
    pub(in crate::dataflow::operator) fn holds(&self, number: usize, slot: u32, row: RowRef<'_>) -> bool {
        self.slots[number] == slot && self.parts(number) == (row.order, row.rest)
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
            types,
            groups: Vec::new(),
            marks: Vec::new(),
            used: 0,
            dirty: Vec::new(),
            entries: 0,
            heap: 0,
            expiries: Vec::new(),
            moves: 0,
        })
    }

    /// Groups are over when what their key at `place` (among the keys) says is below `low`; of several such keys one is enough.
    pub(in crate::dataflow::operator) fn closing(&mut self, place: usize, low: LowAt) {
        self.expiries.push(Expiry::new(place, low));
    }

    /// The groups that event time has passed after `epoch`, the oldest first.
    pub(in crate::dataflow::operator) fn passed(&mut self, epoch: Epoch) -> Result<Vec<u32>> {
        let (mut over, mut seen) = (Vec::new(), BTreeSet::new());
        for expiry in &mut self.expiries {
            let Some(passed) = expiry.passed(epoch) else { continue };
            let used: Vec<u32> = passed.slots.iter().copied().filter(|slot| self.marks[*slot as usize] & USED != 0).collect();
            for slots in self.table.blocks(&used) {
                let slots = passed.over(&self.table.columns(slots)?, slots)?;
                over.extend(slots.into_iter().filter(|slot| seen.insert(*slot)));
            }
        }
        Ok(over)
    }

    /// Drops the groups that event time has passed after `epoch`, and says nothing of it.
    pub(in crate::dataflow::operator) fn expire(&mut self, epoch: Epoch) -> Result<()> {
        for slot in self.passed(epoch)? {
            let mut group = self.open(slot);
            while !group.rows().is_empty() {
                group.pop();
            }
            drop(group);
            self.close(slot);
        }
        Ok(())
    }

    fn note(&mut self, slots: &[u32]) -> Result<()> {
        if self.expiries.is_empty() {
            return Ok(());
        }
        for slots in self.table.blocks(slots) {
            let keys = self.table.columns(slots)?;
            self.expiries.iter_mut().try_for_each(|expiry| expiry.note(&keys, slots))?;
        }
        Ok(())
    }

    /// Says which of the keys the input is exchanged by, if not by all.
    pub(in crate::dataflow::operator) fn partitioned_by(&mut self, places: Vec<usize>) {
        self.partitioning = places;
    }

    /// The epoch's changes by group and row, each row once.
    pub(in crate::dataflow::operator) fn gather(&mut self, inputs: impl IntoIterator<Item = Changes>) -> Result<Gathered> {
        let mut gathering = Gathering::default();
        self.gather_part(&mut gathering, inputs, None)?;
        self.gathered(gathering)
    }

    /// Takes some of an epoch's changes; rows that `sieve` says do not matter are left out.
    pub(in crate::dataflow::operator) fn gather_part(
        &mut self,
        gathering: &mut Gathering,
        inputs: impl IntoIterator<Item = Changes>,
        sieve: Option<&dyn Sieve<P, M>>,
    ) -> Result<()> {
        let mut slots = Vec::new();
        for mut changes in inputs.into_iter().filter(|changes| !changes.is_empty()) {
            let columns = changes.rows().columns();
            let keys: Vec<ArrayRef> = self.keys.iter().map(|key| ArrayRef::clone(&columns[*key])).collect();
            slots.clear();
            self.table.locate(&keys, changes.len(), &mut slots)?;
            self.grow();
            for slot in slots.iter().copied() {
                if self.mark(slot) {
                    gathering.fresh.push(slot);
                }
            }
            if let Some(sieve) = sieve
                && changes.weights().is_none_or(|weights| weights.values().iter().all(|weight| *weight > 0))
                && gathering.begin_sifting(slots.len())
            {
                let kept = self.sift(&changes, &slots, sieve)?;
                gathering.end_sifting(kept.len(), slots.len());
                if kept.len() < slots.len() {
                    slots = kept.iter().map(|row| slots[*row as usize]).collect();
                    changes = changes.take(&kept.into());
                }
            }
            let gathered = &mut gathering.gathered;
            gathered.begin(self.format.encode(changes.rows().columns())?);
            for (position, slot) in slots.iter().copied().enumerate() {
                let weight = changes.weight(position);
                let admitted = || match (sieve, gathered.row(position)) {
                    (Some(sieve), Some(row)) => sieve.admits(&self.groups[slot as usize].rows, row),
                    _ => true,
                };
                if weight != 0 && admitted() {
                    gathered.push(slot, position, weight);
                }
            }
            gathered.end();
        }
        Ok(())
    }

    /// Which of a batch's insertions may matter, going by their order alone.
    fn sift(&self, changes: &Changes, slots: &[u32], sieve: &dyn Sieve<P, M>) -> Result<Vec<u32>> {
        let orders = self.format.encode_order(changes.rows().columns())?;
        let mut sifting = Sifting::default();
        for (row, slot) in slots.iter().copied().enumerate() {
            let order = orders.row(row);
            if sieve.may_enter(&self.groups[slot as usize].rows, order) {
                sifting.push(slot, row, order);
            }
        }
        Ok(sifting.kept(&orders, sieve))
    }

    /// What was gathered of an epoch, now that all of it has come.
    pub(in crate::dataflow::operator) fn gathered(&mut self, gathering: Gathering) -> Result<Gathered> {
        let Gathering { mut gathered, fresh, .. } = gathering;
        gathered.consolidate();
        self.note(&fresh)?;
        // Groups of which nothing is left, or was there in the first place.
        fresh.into_iter().filter(|slot| !gathered.touches(*slot)).for_each(|slot| self.close(slot));
        Ok(gathered)
    }

    fn grow(&mut self) {
        let end = self.table.end();
        if self.groups.len() < end {
            self.groups.resize_with(end, GroupRows::default);
            self.marks.resize(end, 0);
        }
    }

    /// Notes that a slot is a group's; says whether it was none before.
    fn mark(&mut self, slot: u32) -> bool {
        let mark = &mut self.marks[slot as usize];
        let fresh = *mark & USED == 0;
        *mark |= USED;
        self.used += usize::from(fresh);
        fresh
    }

    /// One group's rows.
    pub(in crate::dataflow::operator) fn rows(&self, slot: u32) -> &Sorted<P, M> {
        &self.groups[slot as usize].rows
    }

    /// Looks at groups that are to be changed soon: their cache misses overlap, where one after the other each would be waited for.
    pub(in crate::dataflow::operator) fn touch(&self, slots: impl Iterator<Item = u32>) {
        std::hint::black_box(slots.fold(0, |seen: u64, slot| seen.wrapping_add(self.rows(slot).glimpse())));
    }

    /// One group, to be changed.
    pub(in crate::dataflow::operator) fn open(&mut self, slot: u32) -> Kept<'_, P, M> {
        let mark = &mut self.marks[slot as usize];
        if *mark & DIRTY == 0 {
            *mark |= DIRTY;
            self.dirty.push(slot);
        }
        let group = &mut self.groups[slot as usize];
        let before = (group.rows.len(), group.rows.heap());
        Kept { group, before, entries: &mut self.entries, heap: &mut self.heap }
    }

    /// Gives up the group's slot if nothing is left of it.
    pub(in crate::dataflow::operator) fn close(&mut self, slot: u32) {
        let group = &self.groups[slot as usize];
        if self.marks[slot as usize] & USED != 0 && group.rows.is_empty() && group.removed.is_none() {
            self.marks[slot as usize] &= !USED;
            self.used -= 1;
            self.table.remove(slot);
        }
    }

    /// The ranges of rows of `batch` that can be columns at once, each with so many bytes beside its group's columns.
    pub(in crate::dataflow::operator) fn parts(&self, batch: &Batch, beside: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
        let own = |row: usize| {
            let (order, rest) = batch.parts(row);
            order.len() + rest.len()
        };
        part_ranges(batch.len(), |row| self.table.key_bytes(batch.slots[row]) + own(row) + beside(row))
    }

    /// The columns of some of a batch's rows.
    pub(in crate::dataflow::operator) fn columns(&self, batch: &Batch, range: Range<usize>) -> Result<Vec<ArrayRef>> {
        let keys = self.table.columns(&batch.slots[range.clone()])?;
        self.format.decode(keys, range.map(|row| batch.parts(row)))
    }

    /// How often groups have been given new slots: a checkpoint may do so.
    pub(in crate::dataflow::operator) fn moves(&self) -> u64 {
        self.moves
    }

    /// Whether a slot is a group's.
    pub(in crate::dataflow::operator) fn is_used(&self, slot: u32) -> bool {
        self.marks.get(slot as usize).is_some_and(|mark| mark & USED != 0)
    }

    /// The slots of all groups.
    pub(in crate::dataflow::operator) fn used(&self) -> Vec<u32> {
        (0..self.marks.len() as u32).filter(|slot| self.marks[*slot as usize] & USED != 0).collect()
    }

    /// The keys of groups, as columns.
    pub(in crate::dataflow::operator) fn keys(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.table.columns(slots)
    }

    /// The slots of the groups with these keys; those that are not there yet have one from now on.
    pub(in crate::dataflow::operator) fn locate(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut slots = Vec::with_capacity(rows);
        self.table.locate(keys, rows, &mut slots)?;
        self.grow();
        let fresh: Vec<u32> = slots.iter().copied().filter(|slot| self.mark(*slot)).collect();
        self.note(&fresh)?;
        Ok(slots)
    }

    /// Writes rows that changed since the last time.
    pub(in crate::dataflow::operator) fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.iter().for_each(|slot| self.marks[*slot as usize] &= !DIRTY);
        let used: Vec<u32> = dirty.into_iter().filter(|slot| self.marks[*slot as usize] & USED != 0).collect();
        let mut entry = Entry::default();
        for slots in self.table.blocks(&used) {
            for (slot, bucket) in slots.iter().zip(self.buckets(slots)) {
                self.write_group(*slot, bucket, &mut entry, changes);
                self.close(*slot);
            }
        }
        if self.groups.len() >= SLOTS_MOVED_MIN && self.used < self.groups.len() / 4 {
            self.move_together()?;
        }
        Ok(())
    }

    fn write_group(&mut self, slot: u32, bucket: u8, entry: &mut Entry, changes: &mut StateChanges) {
        let Entry { group: group_key, key, value } = entry;
        group_key.clear();
        self.table.encode(slot, group_key);
        let group = &mut self.groups[slot as usize];
        let mut removed = group.removed.take().map_or_else(Vec::new, |removed| removed.0);
        self.heap -= removed.iter().map(Row::bytes).sum::<usize>();
        removed.sort_unstable_by(|left, right| left.get().cmp(&right.get()));
        removed.dedup_by(|next, first| next.get() == first.get());
        let mut from = Place::default();
        for row in &removed {
            from = group.rows.find(from, row.get());
            if group.rows.get(from).is_some_and(|entry| entry.row == row.get()) {
                group.rows.update(from, |_| {});
            } else {
                write_key(key, group_key, row.get());
                changes.delete(bucket, key);
            }
        }
        group.rows.take_dirty(|row, payloads| {
            value.clear();
            payloads.iter().for_each(|payload| payload.write(value));
            write_key(key, group_key, row);
            changes.put(bucket, key, value);
        });
    }

    /// Gives the groups new slots, next to each other, and the memory of the others back. Between two checkpoints' lists of changed slots.
    fn move_together(&mut self) -> Result<()> {
        let mut table = key_table(&self.types)?;
        let mut groups: Vec<GroupRows<P, M>> = Vec::with_capacity(self.used);
        let mut key = Vec::new();
        for slot in (0..self.marks.len()).filter(|slot| self.marks[*slot] & USED != 0) {
            key.clear();
            self.table.encode(slot as u32, &mut key);
            let moved = table.locate_encoded(&key)? as usize;
            groups.resize_with(groups.len().max(moved + 1), GroupRows::default);
            groups[moved] = std::mem::take(&mut self.groups[slot]);
        }
        (self.table, self.marks, self.groups) = (table, vec![USED; groups.len()], groups);
        self.moves += 1;
        self.grow();
        self.expiries.iter_mut().for_each(Expiry::clear);
        self.note(&self.used())
    }

    fn buckets(&self, slots: &[u32]) -> Vec<u8> {
        let columns = self.table.columns(slots).expect("keys that went in come out");
        let columns: Vec<ArrayRef> = self.partitioning.iter().map(|place| ArrayRef::clone(&columns[*place])).collect();
        hash_rows(&columns, slots.len()).into_iter().map(bucket).collect()
    }

    /// Takes one entry back.
    pub(in crate::dataflow::operator) fn restore(&mut self, entry: &StateEntry) -> Result<()> {
        let (key, row) = split_key(&entry.key).ok_or_else(damaged)?;
        let slot = self.table.locate_encoded(key)?;
        self.grow();
        if self.mark(slot) {
            self.note(&[slot])?;
        }
        let rows = &mut self.groups[slot as usize].rows;
        let before = (rows.len(), rows.heap());
        let mut value = entry.value.as_slice();
        while !value.is_empty() {
            rows.insert_stored(row, P::read(&mut value).ok_or_else(damaged)?);
        }
        self.entries = self.entries - before.0 + rows.len();
        self.heap = self.heap - before.1 + rows.heap();
        Ok(())
    }

    /// Rows and bytes held.
    pub(in crate::dataflow::operator) fn size(&self) -> StateSize {
        let groups = self.groups.capacity() * size_of::<GroupRows<P, M>>();
        let slots = self.marks.capacity() + self.dirty.capacity() * size_of::<u32>();
        StateSize {
            rows: self.entries,
            bytes: self.heap + groups + slots + self.table.bytes() + self.expiries.iter().map(Expiry::bytes).sum::<usize>(),
        }
    }
}

/// A group that is being changed.
pub(in crate::dataflow::operator) struct Kept<'a, P: Payload, M: Default = ()> {
    group: &'a mut GroupRows<P, M>,
    /// Entries and bytes of its rows when it was opened.
    before: (usize, usize),
    entries: &'a mut usize,
    heap: &'a mut usize,
}

impl<P: Payload, M: Default> Drop for Kept<'_, P, M> {
    fn drop(&mut self) {
        *self.entries = *self.entries - self.before.0 + self.group.rows.len();
        *self.heap = *self.heap - self.before.1 + self.group.rows.heap();
    }
}

impl<P: Payload, M: Default> Kept<'_, P, M> {
    /// The rows as they are.
    pub(in crate::dataflow::operator) fn rows(&mut self) -> &mut Sorted<P, M> {
        &mut self.group.rows
    }

    /// Takes a row out and gives what was known of it.
    pub(in crate::dataflow::operator) fn remove(&mut self, place: Place) -> Option<P> {
        let row = self.group.rows.get(place)?.row;
        if self.group.rows.is_stored(place) {
            let row = row.to_row();
            *self.heap += row.bytes();
            self.group.removed.get_or_insert_default().0.push(row);
        }
        Some(self.group.rows.remove(place))
    }

    /// Takes the last row out.
    pub(in crate::dataflow::operator) fn pop(&mut self) {
        if let Some(place) = self.group.rows.last_place() {
            self.remove(place);
        }
    }
}

/// Where entries are put together.
#[derive(Default)]
struct Entry {
    group: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
}

fn write_key(key: &mut Vec<u8>, group: &[u8], row: RowRef<'_>) {
    key.clear();
    key.extend_from_slice(&(group.len() as u32).to_be_bytes());
    key.extend_from_slice(&(row.order.len() as u32).to_be_bytes());
    [group, row.order, row.rest].into_iter().for_each(|part| key.extend_from_slice(part));
}

/// Group's key, row.
fn split_key(key: &[u8]) -> Option<(&[u8], RowRef<'_>)> {
    let (group, key) = key.split_first_chunk()?;
    let (order, key) = key.split_first_chunk()?;
    let (group, row) = key.split_at_checked(u32::from_be_bytes(*group) as usize)?;
    let (order, rest) = row.split_at_checked(u32::from_be_bytes(*order) as usize)?;
    Some((group, RowRef { order, rest }))
}

fn damaged() -> Error {
    Error::internal("an entry of an ordered operator's stored state is damaged")
}
