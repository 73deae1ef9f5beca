//! Keeps rows until they are final, and gives them out then: EMIT ON WINDOW CLOSE.
//!
//! In: changes, partitioned by the columns that say when a row is final. Out: insertions only, each row once for as often as it was there
//! when event time passed the first of its times. Holds: the rows that are not final, by these columns. A row without any time never is.

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;

use super::ordered::{Batch, Count, Groups, Place};
use super::output::OutputSchema;
use super::{Operator, StateSize};
use crate::dataflow::event_time::LowAt;
use crate::error::{Error, Result};
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// The rows that are not final.
pub struct Close {
    groups: Groups<Count>,
    output: OutputSchema,
}

impl Close {
    /// `columns`: the positions of the times. Fails for columns whose types cannot be held.
    pub fn new(schema: &SchemaRef, columns: Vec<(usize, LowAt)>) -> Result<Self> {
        let keys: Vec<usize> = columns.iter().map(|(column, _)| *column).collect();
        let mut groups = Groups::new(schema, &keys, &[])?;
        columns.into_iter().enumerate().for_each(|(place, (_, low))| groups.closing(place, low));
        Ok(Close { groups, output: OutputSchema::new(SchemaRef::clone(schema)) })
    }

    /// Gives out what event time has passed after `epoch`, the oldest first.
    fn release(&mut self, epoch: Epoch, output: &mut Vec<Changes>) -> Result<()> {
        let (mut batch, mut weights) = (Batch::default(), Vec::new());
        for slot in self.groups.passed(epoch)? {
            let mut group = self.groups.open(slot);
            while let Some(entry) = group.rows().get(Place::default()) {
                batch.push(slot, entry.row);
                weights.push(i64::try_from(entry.payload.0).map_err(|_| Error::internal("a row is there too often"))?);
                group.remove(Place::default());
            }
            drop(group);
            if batch.is_full() {
                self.emit(&std::mem::take(&mut batch), std::mem::take(&mut weights), output)?;
            }
            self.groups.close(slot);
        }
        self.emit(&batch, weights, output)
    }

    fn emit(&self, batch: &Batch, weights: Vec<i64>, output: &mut Vec<Changes>) -> Result<()> {
        for range in self.groups.parts(batch, |_| 0) {
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
        let changes = self.groups.gather(inputs.into_iter().flatten())?;
        let mut emptied = Vec::new();
        for (slot, of_group) in changes.groups() {
            let mut group = self.groups.open(slot);
            group.apply(of_group)?;
            if group.rows().is_empty() {
                emptied.push(slot);
            }
        }
        emptied.into_iter().for_each(|slot| self.groups.close(slot));
        self.release(epoch, output)
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.groups.checkpoint(changes)
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.groups.restore(&entry?)?;
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        self.groups.size()
    }
}
