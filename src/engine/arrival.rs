//! How a connector's rows enter an epoch: PROCTIME columns say when that was, and rows that are too far ahead of it are set aside.
//!
//! In: batches of the object's columns, and the epoch's clock. Out: the rows that enter; the others are dead letters.
//! Always: the clock is the one that the log notes, so that what a restart reads again is judged as it was.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};

use crate::catalog::{Column, arrivals};
use crate::connect::SourceBatch;
use crate::dataflow::event_time::times_of;
use crate::engine::event_time::EventRule;
use crate::error::Result;

/// What happens to an object's rows when they enter an epoch.
#[derive(Clone, Default)]
pub(crate) struct Arrival {
    /// The columns that say when a row arrived (PROCTIME): NULL until it does.
    columns: Vec<usize>,
    rule: Option<Arc<EventRule>>,
}

impl Arrival {
    pub(crate) fn new(columns: &[Column], rule: Option<EventRule>) -> Self {
        Arrival { columns: arrivals(columns), rule: rule.map(Arc::new) }
    }

    /// Whether rows say when they arrived.
    pub(crate) fn is_told(&self) -> bool {
        !self.columns.is_empty()
    }

    /// The batch as it enters an epoch of this clock.
    pub(crate) fn take(&self, mut batch: SourceBatch, now_micros: i64) -> Result<SourceBatch> {
        batch.changes = batch.changes.arrived(&self.columns, now_micros);
        let Some((rule, ahead)) = self.rule.as_ref().and_then(|rule| Some((rule, rule.max_future_us?))) else { return Ok(batch) };
        let changes = &batch.changes;
        let (column, latest) = (changes.column(rule.column), now_micros.saturating_add(ahead));
        let times = times_of(column)?;
        let sane: BooleanArray = (0..changes.len()).map(|row| Some(column.is_null(row) || times[row] <= latest)).collect();
        if sane.true_count() < sane.len() {
            let from = changes.rows().clone();
            batch.set_aside(&sane, &from, |_| format!("column \"{}\": further ahead of the clock than watermark_max_future", rule.name))?;
        }
        Ok(batch)
    }
}
