//! ASOF joins: every left row with the last right row of its key that is not later than it.
//!
//! ```text
//! time    ───────────────────────────────▶
//! right       a           b         c
//! left    1       2   3       4         5        1 –   2 a   3 a   4 b   5 c
//! ```
//!
//! In: the rows of both sides in one stream, partitioned by the keys: the columns of the keys, whether it is a right row, the time, the left
//! columns, the right ones (NULL in the rows of the other side). Out: the left columns, then the right ones.
//! Holds: the rows of both sides, by key and in the order of time. With a watermark only the left rows that are not over, and of each
//! key's right rows only the last one that is. A left row without a key or a time comes out by itself, and is not held.
//!
//! A right row that comes or goes concerns the left rows up to the next right row: those are walked, with the right row that each of them had
//! and the one that it has now. Of several right rows of one time the greatest counts, by all of its columns, NULL being the least value.
//! Looking forward in time (`<=`, `<`) is the same with the order the other way round.
//!
//! One right row may be that of a million left ones: an epoch is worked off in pieces, key by key ([`work`]).

#[cfg(test)]
mod tests;
pub mod versions;
mod walk;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};

use self::work::Underway;
use super::ordered::{Count, Groups, Place, RowRef};
use super::output::OutputSchema;
use super::{Operator, StateSize, Work};
use crate::dataflow::event_time::LowAt;
use crate::error::Result;
use crate::plan::OrderColumn;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// What an ASOF join is made of.
pub struct AsOfSpec {
    /// The rows of both sides: see above.
    pub input: SchemaRef,
    /// How many of its columns are keys.
    pub keys: usize,
    /// How many are the left ones.
    pub left: usize,
    /// A right row of the same time counts.
    pub inclusive: bool,
    /// The first right row that is not earlier, instead of the last that is not later.
    pub forward: bool,
    /// Left rows without a right row come out, padded with NULLs.
    pub outer: bool,
    /// The left columns and the right ones.
    pub output: SchemaRef,
    /// Below what rows of both sides are over.
    pub low: Option<LowAt>,
}

/// An ASOF join.
pub struct AsOf {
    groups: Groups<Count>,
    /// How many columns are keys.
    keys: usize,
    left: usize,
    inclusive: bool,
    outer: bool,
    output: OutputSchema,
    pruning: Option<Pruning>,
    /// The epoch that is being worked off.
    underway: Option<Underway>,
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
}

impl AsOf {
    /// Without rows. Fails for columns whose types cannot be held.
    pub fn new(spec: AsOfSpec) -> Result<Self> {
        let (side, time) = (spec.keys, spec.keys + 1);
        // A row without a time stands before all others: no right row is before it.
        let order = OrderColumn { column: time, descending: spec.forward, nulls_first: true };
        let mut groups = Groups::new(&spec.input, &(0..=side).collect::<Vec<_>>(), &[order])?;
        groups.partitioned_by((0..spec.keys).collect());
        let pruning = match spec.low {
            Some(low) if !spec.forward => Some(Pruning::new(low, spec.input.field(time).data_type().clone())?),
            _ => None,
        };
        let AsOfSpec { keys, left, inclusive, outer, .. } = spec;
        Ok(AsOf { groups, keys, left, inclusive, outer, output: OutputSchema::new(spec.output), pruning, underway: None })
    }
}

impl Operator for AsOf {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        self.begin(epoch, inputs.into_iter().flatten().collect(), output)
    }

    fn resume(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        self.work(output)
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.groups.checkpoint(changes)?;
        if let Some(pruning) = &mut self.pruning {
            pruning.note_again(&self.groups);
        }
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.groups.restore(&entry?)?;
        }
        if let Some(pruning) = &mut self.pruning {
            pruning.restored(&self.groups);
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        let size = self.groups.size();
        StateSize { bytes: size.bytes + self.pruning.as_ref().map_or(0, Pruning::bytes), ..size }
    }
}

impl Pruning {
    fn new(low: LowAt, time: DataType) -> Result<Self> {
        let options = SortOptions { descending: false, nulls_first: true };
        let converter = RowConverter::new(vec![SortField::new_with_options(time.clone(), options)])?;
        Ok(Pruning { low, converter, time, due: BTreeMap::new(), reached: i64::MIN, generation: 0 })
    }

    /// Notes the times of all rows anew, if groups have other slots than they had.
    fn note_again(&mut self, groups: &Groups<Count>) {
        if self.generation != groups.moves() {
            self.restored(groups);
        }
    }

    /// Notes the times of all rows.
    fn restored(&mut self, groups: &Groups<Count>) {
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

    /// The order's bytes below which rows are over after an epoch, and the groups that may have such.
    fn due(&mut self, epoch: Epoch) -> Result<Option<(Vec<u8>, BTreeSet<u32>)>> {
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
        if slots.is_empty() {
            return Ok(None);
        }
        Ok(Some((low, slots)))
    }

    /// Forgets the slots that are no group's any more where they would be looked at again and again: near the time that was reached.
    fn tidy(&mut self, low: &[u8], groups: &Groups<Count>) {
        let edge = bucket(low);
        if let Some(slots) = self.due.get_mut(&edge) {
            slots.retain(|slot| groups.is_used(*slot));
            if slots.is_empty() {
                self.due.remove(&edge);
            }
        }
    }
}

/// Times that are near each other: all but the last two bytes, which is some 65 ms.
fn bucket(order: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = order.len().min(7);
    first[..length].copy_from_slice(&order[..length]);
    u64::from_be_bytes(first)
}
