//! MIN and MAX under retraction, and the rows of general aggregates: every group's values in order, each with its count.
//!
//! Most groups are small, so a set costs what it holds: one value lies in the cell itself, up to 32 in a sorted vector, more in a tree.
//! Small sets are written with their group; a tree's values have state entries of their own, so that a change writes one value only.
//! Counts below zero may occur within an epoch (a retraction before its insertion), never at its end.

use std::collections::BTreeMap;
use std::mem::take;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::cells::{Cells, Taken};
use super::codec::{Reader, damaged, write_count};
use super::segments::Segments;
use super::state::{End, GroupState, Input, ValueChanged, sorted_slots};
use super::value::Value;
use crate::error::Result;

/// Values in a sorted vector at most: moving 32 words costs about as much as one step down a tree.
const FEW: usize = 32;

/// What stands in a state entry before the values, in place of their number, if they are in entries of their own.
const MANY_MARK: i64 = -1;

#[derive(Clone)]
enum Set<V> {
    One(V, i64),
    /// Sorted; also the empty set.
    Few(Vec<(V, i64)>),
    #[expect(clippy::box_collection, reason = "a set has one of these per group: a pointer keeps it at three words")]
    Many(Box<BTreeMap<V, Counted>>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    count: i64,
    /// Listed among the changes already.
    dirty: bool,
}

impl<V> Default for Set<V> {
    fn default() -> Self {
        Set::Few(Vec::new())
    }
}

impl<V: Value> Set<V> {
    fn end(&self, end: End) -> Option<&V> {
        match (self, end) {
            (Set::One(value, _), _) => Some(value),
            (Set::Few(values), End::Least) => values.first().map(|(value, _)| value),
            (Set::Few(values), End::Greatest) => values.last().map(|(value, _)| value),
            (Set::Many(values), End::Least) => values.first_key_value().map(|(value, _)| value),
            (Set::Many(values), End::Greatest) => values.last_key_value().map(|(value, _)| value),
        }
    }
}

/// The ordered values of every group.
pub(super) struct Multisets<V> {
    sets: Segments<Set<V>>,
    data_type: DataType,
    log: Log<V>,
}

/// What is known of all sets together.
struct Log<V> {
    /// Values with a count below zero.
    negative: usize,
    /// Bytes of values outside the cells.
    heap: usize,
    /// Values of trees that changed, once each while they stay in the tree.
    changes: Vec<(u32, V)>,
    /// Whether anybody asks for them.
    lists_changes: bool,
}

impl<V: Value> Log<V> {
    /// Follows a count from `before` (0: not there) to `after` (0: gone).
    #[inline]
    fn count(&mut self, value: &V, before: i64, after: i64) {
        self.negative += usize::from(after < 0);
        self.negative -= usize::from(before < 0);
        let bytes = size_of::<(V, i64)>() + value.heap();
        if before == 0 {
            self.heap += bytes;
        } else if after == 0 {
            self.heap -= bytes;
        }
    }

    /// Lists a value that has changed.
    fn list(&mut self, slot: u32, value: V) {
        if self.lists_changes {
            self.changes.push((slot, value));
        }
    }
}

impl<V: Value> Multisets<V> {
    pub(super) fn new(data_type: DataType) -> Self {
        Multisets { sets: Segments::new(), data_type, log: Log { negative: 0, heap: 0, changes: Vec::new(), lists_changes: true } }
    }
}

/// Adds `weight` to the count of `value`.
#[inline]
fn add<V: Value>(set: &mut Set<V>, slot: u32, value: V::Ref<'_>, weight: i64, log: &mut Log<V>) {
    if weight == 0 {
        return;
    }
    match set {
        Set::One(only, count) if only.order(value).is_eq() => {
            let before = *count;
            *count += weight;
            log.count(only, before, before + weight);
            if before + weight == 0 {
                *set = Set::default();
            }
        }
        Set::One(only, count) => {
            let mut values = Vec::with_capacity(4);
            values.push((take(only), *count));
            *set = Set::Few(values);
            add_to_few(set, slot, value, weight, log);
        }
        Set::Few(values) if values.is_empty() => {
            let value = V::own(value);
            log.count(&value, 0, weight);
            *set = Set::One(value, weight);
        }
        Set::Few(_) => add_to_few(set, slot, value, weight, log),
        Set::Many(values) => {
            add_to_many(values, slot, V::own(value), weight, log);
            if values.is_empty() {
                *set = Set::default();
            }
        }
    }
}

fn add_to_few<V: Value>(set: &mut Set<V>, slot: u32, value: V::Ref<'_>, weight: i64, log: &mut Log<V>) {
    let Set::Few(values) = set else { return };
    match values.binary_search_by(|(other, _)| other.order(value)) {
        Ok(place) => {
            let (value, count) = &mut values[place];
            let before = *count;
            *count += weight;
            log.count(value, before, before + weight);
            if before + weight == 0 {
                values.remove(place);
                if values.is_empty() {
                    *set = Set::default();
                }
            }
        }
        Err(place) if values.len() < FEW => {
            let value = V::own(value);
            log.count(&value, 0, weight);
            values.insert(place, (value, weight));
        }
        Err(_) => {
            values.iter().for_each(|(value, _)| log.list(slot, value.clone()));
            let values = take(values).into_iter().map(|(value, count)| (value, Counted { count, dirty: true }));
            let mut many = Box::new(values.collect::<BTreeMap<_, _>>());
            add_to_many(&mut many, slot, V::own(value), weight, log);
            *set = Set::Many(many);
        }
    }
}

fn add_to_many<V: Value>(values: &mut BTreeMap<V, Counted>, slot: u32, value: V, weight: i64, log: &mut Log<V>) {
    let entry = values.entry(value.clone()).or_default();
    let before = entry.count;
    entry.count += weight;
    log.count(&value, before, entry.count);
    if !entry.dirty {
        entry.dirty = true;
        log.list(slot, value.clone());
    }
    if entry.count == 0 {
        values.remove(&value);
    }
}

impl<V: Value> GroupState for Multisets<V> {
    fn grow(&mut self, slots: usize) {
        self.sets.grow(slots);
    }

    fn update(&mut self, input: &Input, _cells: &mut Cells, _place: usize) -> Result<()> {
        let column = V::column(input.argument())?;
        let (sets, log) = (&mut self.sets, &mut self.log);
        input.for_each(|row, slot, weight| add(&mut sets[slot], slot, V::get(&column, row), weight, log));
        Ok(())
    }

    fn values(&self, groups: &Taken, _place: usize, end: End) -> Result<ArrayRef> {
        V::array(groups.slots.iter().map(|slot| self.sets[*slot].end(end)), &self.data_type)
    }

    fn reset(&mut self, slot: u32) {
        let log = &mut self.log;
        match take(&mut self.sets[slot]) {
            Set::One(value, count) => log.count(&value, count, 0),
            Set::Few(values) => values.iter().for_each(|(value, count)| log.count(value, *count, 0)),
            Set::Many(values) => {
                for (value, entry) in *values {
                    log.count(&value, entry.count, 0);
                    log.list(slot, value);
                }
            }
        }
    }

    fn write(&self, slot: u32, _words: &[u64], output: &mut Vec<u8>) {
        match &self.sets[slot] {
            Set::One(value, count) => {
                write_count(1, output);
                write_one(value, *count, output);
            }
            Set::Few(values) => {
                write_count(values.len() as i64, output);
                values.iter().for_each(|(value, count)| write_one(value, *count, output));
            }
            Set::Many(_) => write_count(MANY_MARK, output),
        }
    }

    fn read(&mut self, slot: u32, _words: &mut [u64], input: &mut Reader) -> Result<()> {
        let values = input.count()?;
        if values == MANY_MARK {
            return Ok(());
        }
        for _ in 0..values {
            let length = input.length()?;
            let value = V::read(input.bytes(length)?)?;
            let count = input.count()?;
            add(&mut self.sets[slot], slot, value.borrow(), count, &mut self.log);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sets.bytes() + self.log.heap + self.log.changes.capacity() * size_of::<(u32, V)>()
    }

    fn negative(&self) -> usize {
        self.log.negative
    }

    fn without_changes(&mut self) {
        self.log.lists_changes = false;
    }

    fn changed_slots(&mut self) -> Vec<u32> {
        sorted_slots(&mut self.log.changes)
    }

    fn take_changes(&mut self, visit: &mut ValueChanged<'_>) {
        let (mut bytes, mut counts) = (Vec::new(), Vec::new());
        for (slot, value) in take(&mut self.log.changes) {
            let entry = match &mut self.sets[slot] {
                Set::Many(values) => values.get_mut(&value),
                _ => None,
            };
            counts.clear();
            let is_there = entry.map(|entry| {
                entry.dirty = false;
                write_count(entry.count, &mut counts);
            });
            bytes.clear();
            value.write(&mut bytes);
            visit(slot, &bytes, is_there.map(|()| counts.as_slice()));
        }
    }

    fn for_each_value(&self, slot: u32, visit: &mut dyn FnMut(&[u8], i64)) {
        let mut bytes = Vec::new();
        let mut tell = |value: &V, count: i64| {
            bytes.clear();
            value.write(&mut bytes);
            visit(&bytes, count);
        };
        match &self.sets[slot] {
            Set::One(value, count) => tell(value, *count),
            Set::Few(values) => values.iter().for_each(|(value, count)| tell(value, *count)),
            Set::Many(values) => values.iter().for_each(|(value, entry)| tell(value, entry.count)),
        }
    }

    fn read_value(&mut self, slot: u32, value: &[u8], counts: &mut Reader) -> Result<()> {
        let (value, count) = (V::read(value)?, counts.count()?);
        let set = &mut self.sets[slot];
        if !matches!(set, Set::Many(_)) {
            *set = Set::Many(Box::default());
        }
        let Set::Many(values) = set else { return Err(damaged()) };
        self.log.count(&value, 0, count);
        values.insert(value, Counted { count, dirty: false });
        Ok(())
    }
}

fn write_one<V: Value>(value: &V, count: i64, output: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    value.write(&mut bytes);
    write_count(bytes.len() as i64, output);
    output.extend_from_slice(&bytes);
    write_count(count, output);
}
