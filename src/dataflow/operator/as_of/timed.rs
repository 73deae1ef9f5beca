//! Groups of rows in the order of time that end when time has passed: those that are over go, but for the last one of a group if someone may
//! still ask which row was the last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use crate::dataflow::event_time::LowAt;
use crate::dataflow::operator::ordered::{Count, GroupChanges, Groups, Place, RowRef, Sorted};
use crate::dataflow::operator::rows::PART_ROWS;
use crate::dataflow::operator::{StateSize, Work};
use crate::error::Result;
use crate::state::{StateChanges, StateEntry};
use crate::types::Epoch;

/// Groups that are looked at together: most have a row or two that go.
const PRUNED_GROUPS: usize = 1_024;

/// The groups. The first column of their order is the time; rows without one stay.
pub(super) struct Timed {
    pub(super) groups: Groups<Count>,
    pruning: Option<Pruning>,
}

/// When rows go.
struct Pruning {
    low: LowAt,
    converter: RowConverter,
    time: DataType,
    /// The slots of groups that have rows in a bucket of times. May list groups that have none any more, and slots that are no group's.
    due: BTreeMap<u64, BTreeSet<u32>>,
    reached: i64,
    /// Which slots these are: groups may get others.
    generation: u64,
    /// What is going.
    over: Option<Over>,
}

/// Groups from which rows go.
struct Over {
    /// Rows whose order is below this.
    low: Vec<u8>,
    slots: Vec<u32>,
    /// How many of them are done.
    done: usize,
}

impl Timed {
    /// `time`: the type of the first column of the order. Without `low` nothing ever goes.
    pub(super) fn new(groups: Groups<Count>, time: &DataType, low: Option<LowAt>) -> Result<Self> {
        let pruning = low.map(|low| Pruning::new(low, time.clone())).transpose()?;
        Ok(Timed { groups, pruning })
    }

    /// Applies changes of a group.
    pub(super) fn apply(&mut self, slot: u32, changes: GroupChanges<'_>) -> Result<()> {
        if changes.len() == 0 {
            return Ok(());
        }
        self.groups.open(slot).apply(changes)?;
        if let Some(pruning) = &mut self.pruning {
            changes.iter().filter(|(_, weight)| *weight > 0).for_each(|(row, _)| pruning.note(slot, row));
        }
        Ok(())
    }

    /// Takes out some of what is over after an epoch. `keeps_last`: of which groups the last row that is over stays.
    pub(super) fn prune(&mut self, epoch: Epoch, keeps_last: impl Fn(&Groups<Count>, &[u32]) -> Result<Vec<bool>>) -> Result<Work> {
        let Some(pruning) = &mut self.pruning else { return Ok(Work::Done) };
        if pruning.over.is_none() {
            pruning.over = pruning.over(epoch, &self.groups)?;
        }
        let Some(over) = &mut pruning.over else { return Ok(Work::Done) };
        let mut steps = PART_ROWS;
        while steps > 0 && over.done < over.slots.len() {
            let end = over.slots.len().min(over.done + PRUNED_GROUPS);
            let slots = &over.slots[over.done..end];
            for (slot, keeps_last) in slots.iter().copied().zip(keeps_last(&self.groups, slots)?) {
                steps -= forget(&mut self.groups, slot, keeps_last, &over.low, steps);
                if steps == 0 {
                    break;
                }
                steps -= 1;
                over.done += 1;
                self.groups.close(slot);
            }
        }
        if over.done < over.slots.len() {
            return Ok(Work::Left);
        }
        pruning.tidy(&self.groups);
        Ok(Work::Done)
    }

    pub(super) fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.groups.checkpoint(changes)?;
        if let Some(pruning) = self.pruning.as_mut().filter(|pruning| pruning.generation != self.groups.moves()) {
            pruning.note_all(&self.groups);
        }
        Ok(())
    }

    pub(super) fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.groups.restore(&entry?)?;
        }
        if let Some(pruning) = &mut self.pruning {
            pruning.note_all(&self.groups);
        }
        Ok(())
    }

    pub(super) fn size(&self) -> StateSize {
        let size = self.groups.size();
        StateSize { bytes: size.bytes + self.pruning.as_ref().map_or(0, Pruning::bytes), ..size }
    }
}

impl Pruning {
    fn new(low: LowAt, time: DataType) -> Result<Self> {
        let options = SortOptions { descending: false, nulls_first: true };
        let converter = RowConverter::new(vec![SortField::new_with_options(time.clone(), options)])?;
        Ok(Pruning { low, converter, time, due: BTreeMap::new(), reached: i64::MIN, generation: 0, over: None })
    }

    /// Notes the times of all rows: groups have other slots than they had.
    fn note_all(&mut self, groups: &Groups<Count>) {
        self.generation = groups.moves();
        self.due.clear();
        for slot in groups.used() {
            groups.rows(slot).from(Place::default()).for_each(|entry| self.note(slot, entry.row));
        }
    }

    fn bytes(&self) -> usize {
        self.due.values().map(|slots| size_of::<(u64, BTreeSet<u32>)>() + slots.len() * size_of::<u32>()).sum()
    }

    fn note(&mut self, slot: u32, row: RowRef<'_>) {
        if row.order.first() != Some(&0) {
            self.due.entry(bucket(row.order)).or_default().insert(slot);
        }
    }

    /// What goes after an epoch, if anything may.
    fn over(&mut self, epoch: Epoch, groups: &Groups<Count>) -> Result<Option<Over>> {
        let Some(low) = self.low.after(epoch).filter(|low| *low > self.reached) else { return Ok(None) };
        self.reached = low;
        let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![low]));
        // A day that has begun is not over: its own time is not below the first moment of it.
        let time = cast(&time, &self.time)?;
        let rows = self.converter.convert_columns(&[time])?;
        let low = rows.row(0).data().to_vec();
        let edge = bucket(&low);
        let later = self.due.split_off(&edge);
        let mut slots: BTreeSet<u32> = std::mem::replace(&mut self.due, later).into_values().flatten().collect();
        slots.extend(self.due.get(&edge).into_iter().flatten());
        let slots: Vec<u32> = slots.into_iter().filter(|slot| groups.is_used(*slot)).collect();
        Ok((!slots.is_empty()).then_some(Over { low, slots, done: 0 }))
    }

    /// All that was over has gone. Forgets the slots that are no group's any more where they would be looked at again and again: near the time
    /// that was reached.
    fn tidy(&mut self, groups: &Groups<Count>) {
        let Some(over) = self.over.take() else { return };
        let edge = bucket(&over.low);
        if let Some(slots) = self.due.get_mut(&edge) {
            slots.retain(|slot| groups.is_used(*slot));
            if slots.is_empty() {
                self.due.remove(&edge);
            }
        }
    }
}

/// Takes the rows below `low` out of a group, `most` at the most. Says how many.
fn forget(groups: &mut Groups<Count>, slot: u32, keeps_last: bool, low: &[u8], most: usize) -> usize {
    let over = |rows: &Sorted<Count>, place: Place| rows.get(place).is_some_and(|entry| entry.row.order < low);
    let goes = |rows: &Sorted<Count>| {
        let first = Place::default();
        over(rows, first) && (!keeps_last || over(rows, rows.next(first)))
    };
    if !goes(groups.rows(slot)) {
        return 0;
    }
    let mut group = groups.open(slot);
    let mut gone = 0;
    while gone < most && goes(group.rows()) {
        group.remove(Place::default());
        gone += 1;
    }
    gone
}

/// Times that are near each other: all but the last two bytes, which is some 65 ms.
fn bucket(order: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = order.len().min(7);
    first[..length].copy_from_slice(&order[..length]);
    u64::from_be_bytes(first)
}
