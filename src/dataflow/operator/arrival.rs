//! Gives every row the time at which it comes: PROCTIME() in a view.
//!
//! In: rows that only come. Out: the same, with the clock of their epoch as one more column. That is not below what the clock was at the end
//! of the epoch before, so no row is late by it.
//! Holds: nothing. The log notes the clock of each epoch, so rows that are replayed get the same times again.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

use super::{Operator, StateSize};
use crate::dataflow::event_time::LowAt;
use crate::error::{Error, Result};
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// The operator.
pub struct Arrival {
    clock: LowAt,
    output: SchemaRef,
}

impl Arrival {
    /// `clock`: of the wall. `output`: the input's columns, and a timestamp with time zone.
    pub fn new(clock: LowAt, output: SchemaRef) -> Self {
        Arrival { clock, output }
    }

    fn pass(&self, epoch: Epoch, changes: &Changes) -> Result<Changes> {
        let now = self.clock.now(epoch).ok_or_else(|| Error::internal("nobody follows the clock"))?.time;
        let time = self.output.fields().last().ok_or_else(|| Error::internal("arrivals without a time"))?.data_type().clone();
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![now; changes.len()]).with_data_type(time));
        let columns = changes.rows().columns().iter().cloned().chain([times]).collect();
        Ok(changes.with_rows(RecordBatch::try_new(Arc::clone(&self.output), columns)?))
    }
}

impl Operator for Arrival {
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        for changes in inputs.iter().flatten().filter(|changes| !changes.is_empty()) {
            output.push(self.pass(epoch, changes)?);
        }
        Ok(())
    }

    /// Each row by itself.
    fn takes_parts(&self) -> bool {
        true
    }

    fn checkpoint(&mut self, _changes: &mut StateChanges) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize::default()
    }
}
