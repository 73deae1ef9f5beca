//! Which groups have something to do when event time comes to a moment: rows whose time that is.
//!
//! Moments that are near each other are one bucket. A group may stand in many, and in some in which it has nothing to do any more: whoever is
//! told of it looks.

use std::collections::{BTreeMap, BTreeSet};

use super::{Groups, Payload, Place, RowRef};

/// Moments that agree but for so many bits are noted together: some 65 ms.
const BUCKET_BITS: u32 = 16;

/// Groups, by slot, under the times of their rows.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct Due {
    slots: BTreeMap<i64, BTreeSet<u32>>,
    /// How far event time was when groups were asked for.
    reached: i64,
    /// Which slots these are: groups may get others.
    generation: u64,
    time: fn(RowRef<'_>) -> Option<i64>,
}

impl Due {
    /// No groups yet. `time`: how to read that of a row.
    pub(in crate::dataflow::operator) fn new(time: fn(RowRef<'_>) -> Option<i64>) -> Self {
        Due { slots: BTreeMap::new(), reached: i64::MIN, generation: 0, time }
    }

    /// Notes that a group has a row, unless that has no time.
    pub(in crate::dataflow::operator) fn note(&mut self, slot: u32, row: RowRef<'_>) {
        if let Some(time) = (self.time)(row) {
            self.note_at(slot, time);
        }
    }

    /// Notes that a group has something to do when event time has passed a moment.
    pub(in crate::dataflow::operator) fn note_at(&mut self, slot: u32, time: i64) {
        self.slots.entry(time >> BUCKET_BITS).or_default().insert(slot);
    }

    /// Notes all rows, if groups have other slots than they had, or `anew`.
    pub(in crate::dataflow::operator) fn note_all<P: Payload, M: Default>(&mut self, groups: &Groups<P, M>, anew: bool) {
        if self.generation == groups.moves() && !anew {
            return;
        }
        self.generation = groups.moves();
        // What was looked at once may have to be again: of it only the row is known, and not why it was kept.
        self.reached = i64::MIN;
        self.slots.clear();
        for slot in groups.used() {
            groups.rows(slot).from(Place::default()).for_each(|entry| self.note(slot, entry.row));
        }
    }

    /// The groups that have something to do now that event time has come to `low`, in the order of their slots.
    pub(in crate::dataflow::operator) fn passed<P: Payload, M: Default>(&mut self, low: i64, groups: &Groups<P, M>) -> Vec<u32> {
        if low <= self.reached {
            return Vec::new();
        }
        self.reached = low;
        let edge = low >> BUCKET_BITS;
        // Of the bucket that it has come to, some moments are still to come.
        let later = self.slots.split_off(&edge);
        let mut passed: BTreeSet<u32> = std::mem::replace(&mut self.slots, later).into_values().flatten().collect();
        if let Some(slots) = self.slots.get_mut(&edge) {
            slots.retain(|slot| groups.is_used(*slot));
            passed.extend(slots.iter());
        }
        passed.into_iter().filter(|slot| groups.is_used(*slot)).collect()
    }

    /// Bytes held, about.
    pub(in crate::dataflow::operator) fn bytes(&self) -> usize {
        self.slots.values().map(|slots| size_of::<(i64, BTreeSet<u32>)>() + slots.len() * size_of::<u32>()).sum()
    }
}
