//! The sorted list against a plain vector, under random insertions and removals; and what a row costs.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use super::{Column, Groups, Payload, Place, RowRef, Sorted};
use crate::plan::OrderColumn;
use crate::state::{StateChanges, StoredState};
use crate::types::Changes;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Count(u64);

#[derive(Debug, Default)]
struct Plain(Vec<Count>);

impl Payload for Count {
    type Column = Plain;

    fn weight(&self) -> u64 {
        self.0
    }

    fn write(&self, output: &mut Vec<u8>) {
        output.push(self.0 as u8);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        input.split_off_first().map(|count| Count(u64::from(*count)))
    }
}

impl Column<Count> for Plain {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, at: usize) -> &Count {
        &self.0[at]
    }

    fn insert(&mut self, at: usize, count: Count) {
        self.0.insert(at, count);
    }

    fn update(&mut self, at: usize, change: impl FnOnce(&mut Count)) {
        change(&mut self.0[at]);
    }

    fn remove(&mut self, at: usize) -> Count {
        self.0.remove(at)
    }

    fn split_off(&mut self, at: usize) -> Self {
        Plain(self.0.split_off(at))
    }

    fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    fn weight(&self, end: usize) -> u64 {
        self.0[..end].iter().map(|count| count.0).sum()
    }

    fn locate(&self, position: u64) -> usize {
        (0..self.0.len()).find(|at| self.weight(at + 1) > position).unwrap_or(0)
    }

    fn heap(&self) -> usize {
        self.0.capacity() * size_of::<Count>()
    }
}

/// Numbers that look random, the same in every run (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A number's order bytes, and a rest whose length depends on it or not.
fn bytes(number: u64, uneven: bool) -> ([u8; 8], Vec<u8>) {
    (number.to_be_bytes(), vec![7; if uneven { number as usize % 5 } else { 3 }])
}

/// Holds the list against `(number, weight)` in order.
fn assert_holds(sorted: &Sorted<Count, u32>, model: &[(u64, u64)], uneven: bool) {
    assert_eq!(sorted.total(), model.iter().map(|(_, weight)| weight).sum::<u64>());
    assert_eq!(sorted.len(), model.len());
    let numbers: Vec<u64> = model.iter().map(|(number, _)| *number).collect();
    let read = |row: RowRef<'_>| u64::from_be_bytes(row.order.try_into().unwrap());
    assert_eq!(sorted.from(Place::default()).map(|entry| read(entry.row)).collect::<Vec<_>>(), numbers);
    let mut backwards: Vec<u64> = sorted.back_from(sorted.at(u64::MAX)).map(|entry| read(entry.row)).collect();
    backwards.reverse();
    assert_eq!(backwards, numbers);
    let mut before = 0;
    for (number, weight) in model {
        let (order, rest) = bytes(*number, uneven);
        for position in [before, before + weight - 1] {
            let place = sorted.at(position);
            assert_eq!(sorted.get(place).map(|entry| entry.row), Some(RowRef { order: &order, rest: &rest }));
            assert_eq!(sorted.before(place), before);
        }
        before += weight;
    }
    assert!(sorted.get(sorted.at(before)).is_none());
    assert_eq!(sorted.last().map(|entry| read(entry.row)), numbers.last().copied());
}

fn run(uneven: bool, numbers: u64, steps: u64) {
    let mut sorted: Sorted<Count, u32> = Sorted::default();
    let mut model: Vec<(u64, u64)> = Vec::new();
    let mut random = Random(numbers);
    for step in 0..steps {
        let number = random.below(numbers);
        let (order, rest) = bytes(number, uneven);
        let row = RowRef { order: &order, rest: &rest };
        let from = if model.is_empty() || numbers > 5_000 || random.below(2) == 0 {
            Place::default()
        } else {
            let nearby = model[..model.partition_point(|(other, _)| *other < number)].iter().map(|(_, weight)| weight).sum::<u64>();
            sorted.at(nearby.saturating_sub(random.below(50)))
        };
        let place = sorted.find(from, row);
        let known = model.binary_search_by_key(&number, |(number, _)| *number);
        assert_eq!(known.is_ok(), sorted.get(place).is_some_and(|entry| entry.row == row));
        match known {
            // First it grows, then it shrinks to nothing.
            Ok(index) if random.below(steps) < step => {
                sorted.remove(place);
                model.remove(index);
            }
            Ok(index) => {
                sorted.update(place, |count| count.0 += 2);
                model[index].1 += 2;
            }
            Err(_) if random.below(steps) < step => {}
            Err(index) => {
                let weight = random.below(3) + 1;
                sorted.insert(place, row, Count(weight));
                model.insert(index, (number, weight));
            }
        }
        if step % (steps / 4) == 0 {
            assert_holds(&sorted, &model, uneven);
        }
    }
    assert_holds(&sorted, &model, uneven);
    while let Some(last) = sorted.last_place() {
        sorted.remove(last);
    }
    assert!(sorted.is_empty() && sorted.heap() == 0 && sorted.total() == 0);
}

#[test]
fn positions_and_rows_agree_under_random_insertions_and_removals() {
    for uneven in [false, true] {
        run(uneven, 100, 2_000);
        run(uneven, 3_000, 8_000);
        // Several blocks of pieces.
        run(uneven, 60_000, 120_000);
    }
}

#[test]
fn a_long_list_is_found_through_its_directory() {
    let mut sorted: Sorted<Count, u32> = Sorted::default();
    let rows = 200_000_u64;
    for number in 0..rows {
        sorted.insert_stored(RowRef { order: &(2 * number).to_be_bytes(), rest: &[] }, Count(1));
    }
    let mut looked_at = std::cell::Cell::new(0);
    let place = sorted.seek(Place::default(), |row| {
        looked_at.set(looked_at.get() + 1);
        row.order < 200_001_u64.to_be_bytes().as_slice()
    });
    assert_eq!(sorted.before(place), 100_001);
    assert!(*looked_at.get_mut() < 30, "{looked_at:?}");
    sorted.insert(place, RowRef { order: &200_001_u64.to_be_bytes(), rest: &[] }, Count(1));
    sorted.remove(sorted.at(0));
    let mut dirty = Vec::new();
    sorted.take_dirty(|row, _| dirty.push(row.order.to_vec()));
    assert_eq!(dirty, [200_001_u64.to_be_bytes()]);
    sorted.take_dirty(|_, _| panic!("all of it was taken"));
    let memos = |sorted: &Sorted<Count, u32>| {
        let mut place = Place::default();
        let mut memos = Vec::new();
        while let Some(memo) = sorted.memo(place) {
            memos.push(*memo);
            place = sorted.next_piece(place);
        }
        memos
    };
    let mut place = Place::default();
    while sorted.memo(place).is_some() {
        sorted.remember(place, 1);
        place = sorted.next_piece(place);
    }
    sorted.forget_memos(100_000);
    let (all, kept) = (memos(&sorted).len(), memos(&sorted).iter().sum::<u32>() as usize);
    assert!(kept.abs_diff(all / 2) <= 1, "{kept} of {all}");
}

fn groups() -> Groups<Count> {
    let schema = Arc::new(Schema::new(["k", "v"].map(|name| Field::new(name, DataType::Int64, false)).to_vec()));
    Groups::new(&schema, &[0], &[OrderColumn { column: 1, descending: true, nulls_first: true }]).unwrap()
}

fn changes(keys: impl Iterator<Item = i64>, value: impl Fn(i64) -> i64, weight: i64) -> Changes {
    let keys: Vec<i64> = keys.collect();
    let values = Int64Array::from_iter_values(keys.iter().map(|key| value(*key)));
    let schema = Arc::new(Schema::new(["k", "v"].map(|name| Field::new(name, DataType::Int64, false)).to_vec()));
    let weights = Int64Array::from(vec![weight; keys.len()]);
    let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(keys)), Arc::new(values)]).unwrap();
    Changes::new(batch, Some(weights))
}

/// Applies a batch; says how many groups it touched.
fn apply(groups: &mut Groups<Count>, changes: Changes) -> usize {
    let gathered = groups.gather([changes]).unwrap();
    for (slot, of_group) in gathered.groups() {
        let mut group = groups.open(slot);
        for (row, weight) in of_group.iter() {
            let place = group.rows().find(Place::default(), row);
            if weight > 0 {
                group.rows().insert(place, row, Count(1));
            } else {
                group.remove(place);
            }
        }
    }
    gathered.groups().for_each(|(slot, _)| groups.close(slot));
    gathered.groups().count()
}

#[test]
fn a_group_of_which_nothing_came_gives_its_slot_back() {
    let mut groups = groups();
    assert_eq!(apply(&mut groups, changes(0..1_000, |key| key, 0)), 0);
    let empty = groups.size().bytes;
    for round in 1..20 {
        apply(&mut groups, changes(round * 1_000..(round + 1) * 1_000, |key| key, 0));
    }
    assert_eq!(groups.size().bytes, empty, "slots were used again");
}

#[test]
fn groups_that_are_gone_give_their_memory_back() {
    let mut groups = groups();
    apply(&mut groups, changes(0..100_000, |key| key, 1));
    let (mut stored, mut stored_now) = (StoredState::default(), StateChanges::default());
    groups.checkpoint(&mut stored_now).unwrap();
    stored.apply(stored_now);
    let full = groups.size().bytes;
    apply(&mut groups, changes(100..100_000, |key| key, -1));
    let mut stored_now = StateChanges::default();
    groups.checkpoint(&mut stored_now).unwrap();
    assert_eq!((stored.apply(stored_now), groups.size().rows), ((0, 99_900), 100));
    assert!(groups.size().bytes * 20 < full, "{} of {full} bytes are left", groups.size().bytes);
    // The others are still found, and changed.
    apply(&mut groups, changes(0..100, |key| key, -1));
    let mut stored_now = StateChanges::default();
    groups.checkpoint(&mut stored_now).unwrap();
    assert_eq!((stored.apply(stored_now), groups.size().rows), ((0, 100), 0));
}
