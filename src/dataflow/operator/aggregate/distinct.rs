//! DISTINCT arguments: how often every value stands in every group, so that each counts once for as long as it is there.
//!
//! One hash table for all groups. It turns rows into fewer rows: +1 when a value's count rises above zero, -1 when it falls back. What it
//! lets through feeds the same accumulators as plain arguments do. Calls over the same column share the table: where their filters differ, a value
//! has a count for each of them (up to eight), so that a row is looked up once and not once per call.

use std::mem::take;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};

use super::codec::{Reader, write_count};
use super::state::{Input, ValueChanged, sorted_slots};
use super::value::{Shape, Value, fold, shape};
use crate::error::Result;

/// Filters that one table can tell apart: which of them let a row through is a byte.
pub(super) const FILTERS_MAX: usize = 8;

/// Rows whose cache misses overlap: as many as a core has loads in flight, a few times over.
const BLOCK_ROWS: usize = 32;

/// With fewer values than this the table is in the caches, and there is nothing to wait for.
const VALUES_NEAR: usize = 16_384;

/// The rows of a batch that a filter let through and that made a value appear (+1) or disappear (-1), with that sign.
#[derive(Default)]
pub(super) struct Turned {
    pub(super) rows: Vec<u32>,
    pub(super) signs: Vec<i64>,
}

/// The values of one DISTINCT argument, by group.
pub(super) trait DistinctValues {
    /// Takes rows in. `filters`: per filter the rows that it lets through (`None`: all); `turned` is what comes of each.
    fn update(&mut self, input: &Input, filters: &[Option<BooleanBuffer>], turned: &mut [Turned]) -> Result<()>;
    /// Counts below zero: none, once an epoch is complete.
    fn negative(&self) -> usize;
    /// Nobody will ask for changes.
    fn without_changes(&mut self);
    /// As of `GroupState`.
    fn changed_slots(&mut self) -> Vec<u32>;
    /// As of `GroupState`.
    fn take_changes(&mut self, visit: &mut ValueChanged<'_>);
    /// Forgets the values of groups that have gone with them.
    fn forget(&mut self, gone: &dyn Fn(u32) -> bool);
    /// Takes one value back.
    fn read_value(&mut self, slot: u32, value: &[u8], counts: &mut Reader) -> Result<()>;
    /// Bytes of memory.
    fn bytes(&self) -> usize;
}

/// The table for arguments of a type, with so many filters.
pub(super) fn distinct_values(data_type: &DataType, filters: usize) -> Box<dyn DistinctValues> {
    match shape(data_type) {
        Shape::Word => table_for::<u64>(filters),
        Shape::Wide => table_for::<u128>(filters),
        Shape::Bytes | Shape::Opaque => table_for::<Box<[u8]>>(filters),
    }
}

fn table_for<V: Value>(filters: usize) -> Box<dyn DistinctValues> {
    match filters {
        0 | 1 => Box::new(Distinct::<V, 1>::new(filters)),
        2 => Box::new(Distinct::<V, 2>::new(filters)),
        3 | 4 => Box::new(Distinct::<V, 4>::new(filters)),
        _ => Box::new(Distinct::<V, FILTERS_MAX>::new(filters)),
    }
}

/// With room for `N` filters.
struct Distinct<V, const N: usize> {
    table: HashTable<Counted<V, N>>,
    filters: usize,
    negative: usize,
    heap: usize,
    /// Changed values, once each while they stay in the table.
    changes: Vec<(u32, V)>,
    /// Whether anybody asks for them.
    lists_changes: bool,
}

struct Counted<V, const N: usize> {
    slot: u32,
    /// Listed among the changes already.
    dirty: bool,
    value: V,
    counts: [i64; N],
}

#[inline]
fn hash_value<V: Value>(slot: u32, value: V::Ref<'_>) -> u64 {
    fold(V::hash(value) ^ u64::from(slot))
}

impl<V: Value, const N: usize> Distinct<V, N> {
    fn new(filters: usize) -> Self {
        Distinct { table: HashTable::new(), filters, negative: 0, heap: 0, changes: Vec::new(), lists_changes: true }
    }

    /// The counts of a value, which is there from now on.
    #[inline]
    fn counted(&mut self, slot: u32, value: V::Ref<'_>) -> OccupiedEntry<'_, Counted<V, N>> {
        let entry = self.table.entry(
            hash_value::<V>(slot, value),
            |other| other.slot == slot && other.value.order(value).is_eq(),
            |other| hash_value::<V>(other.slot, other.value.borrow()),
        );
        match entry {
            Entry::Occupied(mut found) => {
                let counted = found.get_mut();
                if self.lists_changes && !counted.dirty {
                    counted.dirty = true;
                    self.changes.push((slot, counted.value.clone()));
                }
                found
            }
            Entry::Vacant(vacant) => {
                let value = V::own(value);
                self.heap += value.heap();
                if self.lists_changes {
                    self.changes.push((slot, value.clone()));
                }
                vacant.insert(Counted { slot, dirty: self.lists_changes, value, counts: [0; N] })
            }
        }
    }

    /// Adds `weight` to the counts of the filters in `bits`; `turn` hears of those that rise above zero or fall back.
    #[inline]
    fn add(&mut self, slot: u32, value: V::Ref<'_>, (bits, weight): (u8, i64), mut turn: impl FnMut(usize, i64)) {
        let (mut fewer, mut more) = (0, 0);
        let mut found = self.counted(slot, value);
        let counts = &mut found.get_mut().counts;
        for (filter, count) in counts.iter_mut().enumerate().filter(|(filter, _)| bits & (1 << filter) != 0) {
            let before = *count;
            *count += weight;
            fewer += usize::from(*count < 0);
            more += usize::from(before < 0);
            let sign = i64::from(*count > 0) - i64::from(before > 0);
            if sign != 0 {
                turn(filter, sign);
            }
        }
        if *counts == [0; N] {
            let (counted, _) = found.remove();
            self.heap -= counted.value.heap();
        }
        self.negative = self.negative + fewer - more;
    }

    /// Looks at the values of some rows, so that they are near when they are needed.
    fn bring_near(&self, slots: &[u32], column: &V::Column, first: usize) {
        let found = slots.iter().enumerate().map(|(row, slot)| {
            let value = V::get(column, first + row);
            let same = |other: &Counted<V, N>| other.slot == *slot && other.value.order(value).is_eq();
            self.table.find(hash_value::<V>(*slot, value), same).map_or(0, |counted| counted.counts[0])
        });
        // The sum is good for nothing, but the loads must not be optimised away.
        std::hint::black_box(found.fold(0_i64, i64::wrapping_add));
    }
}

impl<V: Value, const N: usize> DistinctValues for Distinct<V, N> {
    fn update(&mut self, input: &Input, filters: &[Option<BooleanBuffer>], turned: &mut [Turned]) -> Result<()> {
        let column = V::column(input.argument())?;
        let mut always = 0_u8;
        let mut passed = vec![0_u8; input.slots.len()];
        for (filter, rows) in filters.iter().enumerate() {
            match rows {
                None => always |= 1 << filter,
                Some(rows) => rows.set_indices().for_each(|row| passed[row] |= 1 << filter),
            }
        }
        for start in (0..input.slots.len()).step_by(BLOCK_ROWS) {
            let slots = &input.slots[start..input.slots.len().min(start + BLOCK_ROWS)];
            if self.table.len() > VALUES_NEAR {
                self.bring_near(slots, &column, start);
            }
            for (row, slot) in slots.iter().enumerate() {
                let row = start + row;
                let (bits, weight) = (always | passed[row], input.weights.map_or(1, |weights| weights[row]));
                if bits == 0 || weight == 0 {
                    continue;
                }
                self.add(*slot, V::get(&column, row), (bits, weight), |filter, sign| {
                    turned[filter].rows.push(row as u32);
                    turned[filter].signs.push(sign);
                });
            }
        }
        Ok(())
    }

    fn negative(&self) -> usize {
        self.negative
    }

    fn without_changes(&mut self) {
        self.lists_changes = false;
    }

    fn changed_slots(&mut self) -> Vec<u32> {
        sorted_slots(&mut self.changes)
    }

    fn take_changes(&mut self, visit: &mut ValueChanged<'_>) {
        let (mut bytes, mut counts) = (Vec::new(), Vec::new());
        for (slot, value) in take(&mut self.changes) {
            let hash = hash_value::<V>(slot, value.borrow());
            let found = self.table.find_mut(hash, |other| other.slot == slot && other.value == value);
            counts.clear();
            let is_there = found.map(|counted| {
                counted.dirty = false;
                counted.counts[..self.filters].iter().for_each(|count| write_count(*count, &mut counts));
            });
            bytes.clear();
            value.write(&mut bytes);
            visit(slot, &bytes, is_there.map(|()| counts.as_slice()));
        }
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

    fn read_value(&mut self, slot: u32, value: &[u8], stored: &mut Reader) -> Result<()> {
        let value = V::read(value)?;
        let mut counts = [0; N];
        for count in &mut counts[..self.filters] {
            *count = stored.count()?;
        }
        self.heap += value.heap();
        let hash = hash_value::<V>(slot, value.borrow());
        let counted = Counted { slot, dirty: false, value, counts };
        self.table.insert_unique(hash, counted, |other| hash_value::<V>(other.slot, other.value.borrow()));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.table.allocation_size() + self.heap + self.changes.capacity() * size_of::<(u32, V)>()
    }
}
