//! Keeps rows until they are final, and gives them out then: EMIT ON WINDOW CLOSE.
//!
//! In: changes, partitioned by the column that says when a row is final. Out: insertions only, each row once for as often as it was there
//! when event time passed it. Holds: the rows that are not final, by that column. A row whose time is NULL never is.

use std::collections::BTreeMap;

use arrow::array::{Array, Int64Array};
use arrow::datatypes::SchemaRef;

use super::ordered::{Batch, Count, Groups, Place, RowRef, Sorted};
use super::output::OutputSchema;
use super::rows::PART_ROWS;
use super::{Operator, StateSize};
use crate::dataflow::event_time::{LowAt, times_of};
use crate::error::{Error, Result};
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// The rows that are not final.
pub struct Close {
    groups: Groups<Count>,
    /// The slots of the groups by their times.
    open: BTreeMap<i64, u32>,
    low: LowAt,
    output: OutputSchema,
}

impl Close {
    /// `column`: the position of the time. Fails for columns whose types cannot be held.
    pub fn new(schema: &SchemaRef, column: usize, low: LowAt) -> Result<Self> {
        Ok(Close { groups: Groups::new(schema, &[column], &[])?, open: BTreeMap::new(), low, output: OutputSchema::new(SchemaRef::clone(schema)) })
    }

    /// Notes when groups are final.
    fn note(&mut self, slots: &[u32]) -> Result<()> {
        let keys = self.groups.keys(slots)?;
        let [column] = keys.as_slice() else { return Err(Error::internal("a time is one column")) };
        let times = times_of(column)?;
        let known = slots.iter().enumerate().filter(|(place, _)| column.is_valid(*place));
        self.open.extend(known.map(|(place, slot)| (times[place], *slot)));
        Ok(())
    }

    /// Gives out what is below `low`, the oldest first.
    fn release(&mut self, low: i64, output: &mut Vec<Changes>) -> Result<()> {
        let still_open = self.open.split_off(&low);
        let (mut batch, mut weights) = (Batch::default(), Vec::new());
        for slot in std::mem::replace(&mut self.open, still_open).into_values() {
            let mut group = self.groups.open(slot);
            while let Some(entry) = group.rows().get(Place::default()) {
                batch.push(slot, entry.row);
                weights.push(i64::try_from(entry.payload.0).map_err(|_| Error::internal("a row is there too often"))?);
                group.remove(Place::default());
            }
            drop(group);
            if batch.len() >= PART_ROWS {
                self.emit(&std::mem::take(&mut batch), std::mem::take(&mut weights), output)?;
            }
            self.groups.close(slot);
        }
        self.emit(&batch, weights, output)
    }

    fn emit(&self, batch: &Batch, weights: Vec<i64>, output: &mut Vec<Changes>) -> Result<()> {
        for start in (0..batch.len()).step_by(PART_ROWS) {
            let range = start..batch.len().min(start + PART_ROWS);
            let columns = self.groups.columns(batch, range.clone())?;
            let weights = &weights[range.clone()];
            let weights = weights.iter().any(|weight| *weight != 1).then(|| Int64Array::from(weights.to_vec()));
            output.push(self.output.changes(columns, range.len(), weights)?);
        }
        Ok(())
    }
}

impl Operator for Close {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        let everything = None::<fn(&Sorted<Count>, RowRef<'_>) -> bool>;
        let changes = self.groups.gather(inputs.into_iter().flatten().collect(), everything)?;
        let (mut held, mut emptied) = (Vec::new(), Vec::new());
        for (slot, of_group) in changes.groups() {
            let mut group = self.groups.open(slot);
            group.apply(of_group)?;
            if group.rows().is_empty() { emptied.push(slot) } else { held.push(slot) }
        }
        self.note(&held)?;
        if !emptied.is_empty() {
            self.open.retain(|_, slot| !emptied.contains(slot));
            emptied.into_iter().for_each(|slot| self.groups.close(slot));
        }
        match self.low.after(epoch) {
            Some(low) => self.release(low, output),
            None => Ok(()),
        }
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        let moved = self.groups.checkpoint(changes)?;
        if moved {
            self.open.clear();
            self.note(&self.groups.used())?;
        }
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.groups.restore(&entry?)?;
        }
        self.note(&self.groups.used())
    }

    fn size(&self) -> StateSize {
        let size = self.groups.size();
        StateSize { bytes: size.bytes + self.open.len() * size_of::<(i64, u32)>(), ..size }
    }
}
