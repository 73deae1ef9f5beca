//! DISTINCT arguments: how often every value stands in every group, so that each counts once for as long as it is there.
//!
//! One hash table for all groups. It turns rows into fewer rows: +1 when a value's count rises above zero, -1 when it falls back. What it
//! lets through feeds the same accumulators as plain arguments do. Calls over the same column and filter share the table.

use std::mem::take;

use arrow::datatypes::DataType;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::state::{Input, ValueChange};
use super::value::{Shape, Value, fold, shape};
use crate::error::Result;

/// The values of one DISTINCT argument, by group.
pub(super) trait DistinctValues {
    /// Takes rows in; pushes the numbers of the rows that made a value appear (+1) or disappear (-1), with that sign.
    fn update(&mut self, input: &Input, rows: &mut Vec<u32>, signs: &mut Vec<i64>) -> Result<()>;
    /// Values whose count is below zero: none, once an epoch is complete.
    fn negative(&self) -> usize;
    /// Nobody will ask for changes.
    fn without_changes(&mut self);
    /// Values whose count changed since the last call.
    fn take_changes(&mut self) -> Vec<ValueChange>;
    /// Forgets the values of groups that have gone with them.
    fn forget(&mut self, gone: &dyn Fn(u32) -> bool);
    /// Takes one value back.
    fn read_value(&mut self, slot: u32, value: &[u8], count: i64) -> Result<()>;
    /// Bytes of memory.
    fn bytes(&self) -> usize;
}

/// The table for arguments of a type.
pub(super) fn distinct_values(data_type: &DataType) -> Box<dyn DistinctValues> {
    match shape(data_type) {
        Shape::Word => Box::new(Distinct::<u64>::new()),
        Shape::Wide => Box::new(Distinct::<u128>::new()),
        Shape::Bytes | Shape::Opaque => Box::new(Distinct::<Box<[u8]>>::new()),
    }
}

struct Distinct<V> {
    table: HashTable<Counted<V>>,
    negative: usize,
    heap: usize,
    /// Changed values, once each while they stay in the table.
    changes: Vec<(u32, V)>,
    /// Whether anybody asks for them.
    lists_changes: bool,
}

struct Counted<V> {
    slot: u32,
    /// Listed among the changes already.
    dirty: bool,
    value: V,
    count: i64,
}

#[inline]
fn hash_value<V: Value>(slot: u32, value: V::Ref<'_>) -> u64 {
    fold(V::hash(value) ^ u64::from(slot))
}

impl<V: Value> Distinct<V> {
    fn new() -> Self {
        Distinct { table: HashTable::new(), negative: 0, heap: 0, changes: Vec::new(), lists_changes: true }
    }

    /// Adds `weight`; the counts before and after.
    #[inline]
    fn add(&mut self, slot: u32, value: V::Ref<'_>, weight: i64) -> (i64, i64) {
        let entry = self.table.entry(
            hash_value::<V>(slot, value),
            |other| other.slot == slot && other.value.order(value).is_eq(),
            |other| hash_value::<V>(other.slot, other.value.borrow()),
        );
        let (before, after) = match entry {
            Entry::Occupied(mut found) => {
                let counted = found.get_mut();
                let before = counted.count;
                counted.count += weight;
                if self.lists_changes && !counted.dirty {
                    counted.dirty = true;
                    self.changes.push((slot, counted.value.clone()));
                }
                let after = counted.count;
                if after == 0 {
                    self.heap -= found.remove().0.value.heap();
                }
                (before, after)
            }
            Entry::Vacant(vacant) => {
                let value = V::own(value);
                self.heap += value.heap();
                if self.lists_changes {
                    self.changes.push((slot, value.clone()));
                }
                vacant.insert(Counted { slot, dirty: self.lists_changes, value, count: weight });
                (0, weight)
            }
        };
        self.negative += usize::from(after < 0);
        self.negative -= usize::from(before < 0);
        (before, after)
    }
}

impl<V: Value> DistinctValues for Distinct<V> {
    fn update(&mut self, input: &Input, rows: &mut Vec<u32>, signs: &mut Vec<i64>) -> Result<()> {
        let column = V::column(input.argument())?;
        input.for_each(|row, slot, weight| {
            if weight == 0 {
                return;
            }
            let (before, after) = self.add(slot, V::get(&column, row), weight);
            let sign = i64::from(after > 0) - i64::from(before > 0);
            if sign != 0 {
                rows.push(row as u32);
                signs.push(sign);
            }
        });
        Ok(())
    }

    fn negative(&self) -> usize {
        self.negative
    }

    fn without_changes(&mut self) {
        self.lists_changes = false;
    }

    fn take_changes(&mut self) -> Vec<ValueChange> {
        let mut changes = take(&mut self.changes);
        // A value that disappeared and came again is listed twice.
        changes.sort_unstable();
        changes.dedup();
        let mut current = |(slot, value): (u32, V)| {
            let hash = hash_value::<V>(slot, value.borrow());
            let found = self.table.find_mut(hash, |other| other.slot == slot && other.value == value);
            let count = found.map(|counted| {
                counted.dirty = false;
                counted.count
            });
            let mut bytes = Vec::new();
            value.write(&mut bytes);
            ValueChange { slot, value: bytes, count }
        };
        changes.into_iter().map(&mut current).collect()
    }

    fn forget(&mut self, gone: &dyn Fn(u32) -> bool) {
        let (heap, changes, lists_changes) = (&mut self.heap, &mut self.changes, self.lists_changes);
        self.table.retain(|counted| {
            let stays = !gone(counted.slot);
            if !stays {
                *heap -= counted.value.heap();
                if lists_changes {
                    changes.push((counted.slot, take(&mut counted.value)));
                }
            }
            stays
        });
    }

    fn read_value(&mut self, slot: u32, value: &[u8], count: i64) -> Result<()> {
        let value = V::read(value)?;
        self.heap += value.heap();
        let hash = hash_value::<V>(slot, value.borrow());
        let counted = Counted { slot, dirty: false, value, count };
        self.table.insert_unique(hash, counted, |other| hash_value::<V>(other.slot, other.value.borrow()));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.table.allocation_size() + self.heap + self.changes.capacity() * size_of::<(u32, V)>()
    }
}
