//! An ASOF join's epoch, a piece at a time: what comes out for one key, then its rows into the state; at the end what event time has passed.
//!
//! A piece is at most some thousand rows looked at, and as many or some megabytes that come out.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt32Array, new_null_array};
use arrow::compute::kernels::boolean::{and, not};
use arrow::compute::{is_not_null, take};

use super::AsOf;
use super::walk::{Cursor, Emitted, Walk};
use crate::dataflow::operator::Work;
use crate::dataflow::operator::ordered::gather::Gathered;
use crate::dataflow::operator::ordered::{Count, Groups};
use crate::dataflow::operator::rows::PART_ROWS;
use crate::error::Result;
use crate::types::{Changes, Epoch};

/// What an epoch still has to do.
pub(super) struct Underway {
    epoch: Epoch,
    changes: Gathered,
    /// The left and the right slot of each key of which something changes.
    keys: Vec<[u32; 2]>,
    /// The key at hand.
    key: usize,
    stage: Stage,
}

/// How far a key has come.
enum Stage {
    /// What comes out for it.
    Walk(Cursor),
    /// So many changes of a side are in the state.
    Apply { side: usize, done: usize },
}

impl AsOf {
    /// Takes what an epoch brings.
    pub(super) fn begin(&mut self, epoch: Epoch, changes: Vec<Changes>, output: &mut Vec<Changes>) -> Result<()> {
        let changes = changes.into_iter().map(|changes| self.pass(changes, output)).collect::<Result<Vec<_>>>()?;
        let changes = self.timed.groups.gather(changes)?;
        let touched: Vec<u32> = changes.groups().map(|(slot, _)| slot).collect();
        let mut keys = BTreeSet::new();
        for slots in touched.chunks(PART_ROWS) {
            let (are_right, beside) = (are_right(&self.timed.groups, self.keys, slots)?, self.beside(slots)?);
            let pairs = slots.iter().zip(beside).zip(are_right);
            keys.extend(pairs.map(|((slot, other), is_right)| if is_right { [other, *slot] } else { [*slot, other] }));
        }
        let keys = keys.into_iter().collect();
        self.underway = Some(Underway { epoch, changes, keys, key: 0, stage: Stage::Walk(Cursor::default()) });
        Ok(())
    }

    /// Does a piece of it.
    pub(super) fn work(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        let Some(mut underway) = self.underway.take() else { return Ok(Work::Done) };
        let work = if underway.key < underway.keys.len() {
            self.work_on_keys(&mut underway, output)?;
            Work::Left
        } else {
            let keys = self.keys;
            self.timed.prune(underway.epoch, |groups, slots| are_right(groups, keys, slots))?
        };
        if work == Work::Left {
            self.underway = Some(underway);
        }
        Ok(work)
    }

    /// Lets left rows through that have no key or no time: they stay alone for ever. Gives the others.
    fn pass(&self, changes: Changes, output: &mut Vec<Changes>) -> Result<Changes> {
        let columns = changes.rows().columns();
        let mut present = is_not_null(&columns[self.keys + 1])?;
        for key in &columns[..self.keys] {
            present = and(&present, &is_not_null(key)?)?;
        }
        if present.true_count() == present.len() {
            return Ok(changes);
        }
        let alone = and(&not(&present)?, &not(columns[self.keys].as_boolean())?)?;
        if self.outer && alone.true_count() > 0 {
            let alone = changes.filter(&alone);
            let mut columns = alone.rows().columns()[self.keys + 2..self.keys + 2 + self.left].to_vec();
            let right = &self.output.promised().fields()[self.left..];
            columns.extend(right.iter().map(|field| new_null_array(field.data_type(), alone.len())));
            output.push(self.output.changes(columns, alone.len(), alone.weights().cloned())?);
        }
        Ok(changes.filter(&present))
    }

    /// The slots of the other sides of the same keys.
    fn beside(&mut self, slots: &[u32]) -> Result<Vec<u32>> {
        let mut columns = self.timed.groups.keys(slots)?;
        columns[self.keys] = Arc::new(not(columns[self.keys].as_boolean())?) as ArrayRef;
        self.timed.groups.locate(&columns, slots.len())
    }

    /// Goes on with the key at hand, and with those behind it.
    fn work_on_keys(&mut self, underway: &mut Underway, output: &mut Vec<Changes>) -> Result<()> {
        let (mut emitted, mut steps, mut finished) = (Emitted::new(self.outer), PART_ROWS, Vec::new());
        while steps > 0 && !emitted.is_full() {
            let Some(slots) = underway.keys.get(underway.key).copied() else { break };
            match &mut underway.stage {
                Stage::Walk(cursor) => {
                    emitted.slots = slots;
                    let changes = slots.map(|slot| underway.changes.of(slot));
                    let walk = Walk::new(slots.map(|slot| self.timed.groups.rows(slot)), changes, self.inclusive);
                    if walk.run(cursor, &mut emitted, &mut steps)? {
                        underway.stage = Stage::Apply { side: 0, done: 0 };
                    }
                }
                Stage::Apply { side: 2, .. } => {
                    finished.extend(slots);
                    underway.key += 1;
                    underway.stage = Stage::Walk(Cursor::default());
                }
                Stage::Apply { side, done } => {
                    let changes = underway.changes.of(slots[*side]);
                    let end = changes.len().min(*done + steps);
                    steps -= end - *done;
                    self.timed.apply(slots[*side], changes.part(*done..end))?;
                    (*side, *done) = if end == changes.len() { (*side + 1, 0) } else { (*side, end) };
                }
            }
        }
        self.emit(&emitted, output)?;
        // Nothing that comes out needs the slot of a group that is empty now.
        finished.into_iter().for_each(|slot| self.timed.groups.close(slot));
        Ok(())
    }

    fn emit(&self, emitted: &Emitted, output: &mut Vec<Changes>) -> Result<()> {
        let rows = emitted.weights.len();
        if rows == 0 {
            return Ok(());
        }
        let (left, right) = (self.keys + 2, self.keys + 2 + self.left);
        let mut columns = self.timed.groups.columns(&emitted.left, 0..rows)?;
        columns.truncate(right);
        let mut columns = columns.split_off(left);
        let partners: UInt32Array = emitted.partners.iter().copied().collect();
        for column in &self.timed.groups.columns(&emitted.right, 0..emitted.right.len())?[right..] {
            columns.push(take(column, &partners, None)?);
        }
        let weights = emitted.weights.iter().any(|weight| *weight != 1).then(|| Int64Array::from(emitted.weights.clone()));
        output.push(self.output.changes(columns, rows, weights)?);
        Ok(())
    }
}

/// For each slot whether it is of right rows. `keys`: how many columns are keys.
fn are_right(groups: &Groups<Count>, keys: usize, slots: &[u32]) -> Result<Vec<bool>> {
    let columns = groups.keys(slots)?;
    let side = columns[keys].as_boolean();
    Ok((0..slots.len()).map(|row| side.value(row)).collect())
}
