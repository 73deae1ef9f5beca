//! The versions that the rows of a table have had, by key and time: the right side of a join FOR SYSTEM_TIME AS OF.
//!
//! ```text
//! time of the row    10        20        30
//! INSERT  k 10 a     a ────────────────────▶
//! UPDATE  k 20 b     a ────────b ───────────▶      a later time: the old version stays, until then
//! UPDATE  k 15 c     a ───c ────────────────▶      no later one: a correction, the old version goes
//! DELETE  k          a ───✝ ────────────────▶      from its time on there is none
//! ```
//!
//! In: changes of a table with a primary key, partitioned by it. Out: changes of its versions: the table's columns, and whether the row was
//! there from then on. A row without a time is not there.
//! Holds: all versions; with watermarks only those that a left row may still ask for: of those that are over the last one of each key.
//!
//! Several changes of a key in one epoch count in the order of their times.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::SchemaRef;

use super::timed::Timed;
use crate::dataflow::event_time::LowAt;
use crate::dataflow::operator::ordered::{Batch, Count, GroupChanges, Groups, Place, RowRef, Sorted};
use crate::dataflow::operator::output::OutputSchema;
use crate::dataflow::operator::{Operator, StateSize, Work};
use crate::error::Result;
use crate::plan::OrderColumn;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// Bytes behind the time in the order of a version: whether the row was there.
const PRESENT_BYTES: usize = 2;

/// The operator.
pub struct Versions {
    timed: Timed,
    output: OutputSchema,
    /// The newest epoch.
    epoch: Epoch,
}

/// What changes among versions.
#[derive(Default)]
struct Written {
    rows: Batch,
    weights: Vec<i64>,
    /// Whether the row is there from then on; `None`: as the version says.
    present: Vec<Option<bool>>,
}

/// What happened to the rows of one key in an epoch.
#[derive(Default)]
struct Happened<'a> {
    /// The row that is there now, if another one was there before, or none.
    now: Option<RowRef<'a>>,
    /// The row that was there before.
    before: Option<RowRef<'a>>,
    /// Rows that came and went.
    between: Vec<RowRef<'a>>,
}

impl Versions {
    /// `keys`: the positions of the primary key; `time`: that of the versions' time. `output`: the input's columns, and a boolean.
    pub fn new(output: SchemaRef, keys: &[usize], time: usize, low: Option<LowAt>) -> Result<Self> {
        let up = |column: usize| OrderColumn { column, descending: false, nulls_first: true };
        let present = output.fields().len() - 1;
        let mut groups = Groups::new(&output, keys, &[up(time), up(present)])?;
        groups.partitioned_by((0..keys.len()).collect());
        let timed = Timed::new(groups, output.field(time).data_type(), low)?;
        Ok(Versions { timed, output: OutputSchema::new(output), epoch: 0 })
    }

    /// Rows that come (`sign` 1) or go (-1), each as a version.
    fn versions(&self, changes: &[Changes], sign: i64) -> Result<Vec<Changes>> {
        let mut versions = Vec::new();
        for changes in changes {
            let mask: BooleanArray = (0..changes.len()).map(|row| Some(changes.weight(row).signum() == sign)).collect();
            let changes = changes.filter(&mask);
            if changes.is_empty() {
                continue;
            }
            let present: ArrayRef = Arc::new(BooleanArray::from(vec![true; changes.len()]));
            let columns = changes.rows().columns().iter().cloned().chain([present]).collect();
            let weights = Int64Array::from_iter_values((0..changes.len()).map(|row| changes.weight(row).abs()));
            versions.push(self.output.changes(columns, changes.len(), Some(weights))?);
        }
        Ok(versions)
    }

    /// Applies what changes, and gives it out.
    fn write(&mut self, written: &Written, output: &mut Vec<Changes>) -> Result<()> {
        let mut changes = Vec::new();
        for range in self.timed.groups.parts(&written.rows, |_| 0) {
            let mut columns = self.timed.groups.columns(&written.rows, range.clone())?;
            if let Some(present) = columns.pop() {
                let known = present.as_boolean();
                let said = written.present[range.clone()].iter().enumerate();
                let said: BooleanArray = said.map(|(row, said)| Some(said.unwrap_or_else(|| known.value(row)))).collect();
                columns.push(Arc::new(said));
            }
            changes.push(self.output.changes(columns, range.len(), Some(Int64Array::from(written.weights[range].to_vec())))?);
        }
        let gathered = self.timed.groups.gather(changes.clone())?;
        for (slot, of_slot) in gathered.groups() {
            self.timed.apply(slot, of_slot)?;
        }
        output.extend(changes);
        Ok(())
    }
}

/// A version's time; `None`: it has none.
fn time(row: RowRef<'_>) -> Option<&[u8]> {
    let time = &row.order[..row.order.len().saturating_sub(PRESENT_BYTES)];
    (time.first() != Some(&0)).then_some(time)
}

fn is_there(versions: &Sorted<Count>, row: RowRef<'_>) -> bool {
    versions.get(versions.find(Place::default(), row)).is_some_and(|entry| entry.row == row)
}

impl<'a> Happened<'a> {
    /// `come` and `gone`: how often rows of one key came and went.
    fn of(versions: &Sorted<Count>, come: Option<GroupChanges<'a>>, gone: Option<GroupChanges<'a>>) -> Self {
        let mut rows: BTreeMap<RowRef<'a>, (i64, i64)> = BTreeMap::new();
        for (row, count) in come.into_iter().flat_map(GroupChanges::iter) {
            rows.entry(row).or_default().0 += count;
        }
        for (row, count) in gone.into_iter().flat_map(GroupChanges::iter) {
            rows.entry(row).or_default().1 += count;
        }
        let mut happened = Happened::default();
        for (row, (came, went)) in rows {
            match came - went {
                1.. => happened.now = Some(row),
                0 if is_there(versions, row) => {}
                0 => happened.between.push(row),
                _ => happened.before = Some(row),
            }
        }
        happened
    }

    /// Changes the versions accordingly.
    fn write(self, slot: u32, versions: &Sorted<Count>, written: &mut Written) {
        let before = self.before.filter(|row| time(*row).is_some() && is_there(versions, *row));
        let last = match self.now.filter(|now| time(*now).is_some()) {
            Some(now) => {
                // What has replaced nothing that was valid replaces the end of what was.
                let replaces_nothing = self.before.is_none_or(|row| time(row).is_none());
                let end = versions.last().map(|entry| entry.row).filter(|end| end.order.last() == Some(&0) && replaces_nothing);
                for old in before.into_iter().chain(end).filter(|old| time(*old) > time(now)) {
                    written.push(slot, old, -1, None);
                }
                Some((now, true))
            }
            None => before.into_iter().chain(self.between.iter().copied()).filter(|row| time(*row).is_some()).max().map(|row| (row, false)),
        };
        let Some((last, present)) = last else { return };
        for entry in versions.from(Place::default()).filter(|entry| time(entry.row) == time(last)) {
            written.push(slot, entry.row, -1, None);
        }
        for row in self.between.into_iter().filter(|row| time(*row).is_some() && time(*row) < time(last)) {
            written.push(slot, row, 1, Some(true));
        }
        written.push(slot, last, 1, Some(present));
    }
}

impl Written {
    fn push(&mut self, slot: u32, row: RowRef<'_>, weight: i64, present: Option<bool>) {
        self.rows.push(slot, row);
        self.weights.push(weight);
        self.present.push(present);
    }
}

impl Operator for Versions {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        let changes: Vec<Changes> = inputs.into_iter().flatten().collect();
        let (come, gone) = (self.versions(&changes, 1)?, self.versions(&changes, -1)?);
        let (come, gone) = (self.timed.groups.gather(come)?, self.timed.groups.gather(gone)?);
        let mut slots: BTreeMap<u32, [Option<GroupChanges<'_>>; 2]> = BTreeMap::new();
        come.groups().for_each(|(slot, changes)| slots.entry(slot).or_default()[0] = Some(changes));
        gone.groups().for_each(|(slot, changes)| slots.entry(slot).or_default()[1] = Some(changes));
        let mut written = Written::default();
        for (slot, [come, gone]) in &slots {
            let versions = self.timed.groups.rows(*slot);
            Happened::of(versions, *come, *gone).write(*slot, versions, &mut written);
        }
        self.write(&written, output)?;
        slots.into_keys().for_each(|slot| self.timed.groups.close(slot));
        self.epoch = epoch;
        Ok(())
    }

    fn resume(&mut self, _output: &mut Vec<Changes>) -> Result<Work> {
        self.timed.prune(self.epoch, |_, slots| Ok(vec![true; slots.len()]))
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.timed.checkpoint(changes)
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        self.timed.restore(entries)
    }

    fn size(&self) -> StateSize {
        self.timed.size()
    }
}
