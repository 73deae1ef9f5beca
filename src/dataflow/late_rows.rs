//! Rows that came too late for what they belong to: counted, per view and per table or source whose watermark had passed them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::{ObjectId, OperatorId};

/// What one operator has left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateRows {
    /// Since the view was made; a row counts once for each window that it is too late for.
    pub rows: u64,
    /// The tables and sources that say how far event time is.
    pub sources: BTreeSet<ObjectId>,
}

/// Of all views; shared by the workers and by whoever reads `tidemill.late_rows`.
#[derive(Debug, Default)]
pub struct LateLog {
    operators: Mutex<BTreeMap<OperatorId, LateRows>>,
}

impl LateLog {
    /// Adds rows that an operator leaves out.
    pub fn record(&self, operator: OperatorId, sources: &BTreeSet<ObjectId>, rows: u64) {
        let mut operators = self.operators.lock();
        let late = operators.entry(operator).or_insert_with(|| LateRows { rows: 0, sources: sources.clone() });
        late.rows += rows;
    }

    /// Everything, by view and operator.
    pub fn snapshot(&self) -> Vec<(OperatorId, LateRows)> {
        self.operators.lock().iter().map(|(operator, late)| (*operator, late.clone())).collect()
    }

    /// Drops what is known of a view: it is gone.
    pub fn forget(&self, view: ObjectId) {
        self.operators.lock().retain(|operator, _| operator.object != view);
    }
}

/// A handle on the log for one operator.
#[derive(Clone, Debug)]
pub struct LateSink {
    log: Arc<LateLog>,
    operator: OperatorId,
    sources: BTreeSet<ObjectId>,
}

impl LateSink {
    /// For an operator that goes by the watermarks of `sources`.
    pub fn new(log: &Arc<LateLog>, operator: OperatorId, sources: BTreeSet<ObjectId>) -> Self {
        LateSink { log: Arc::clone(log), operator, sources }
    }

    /// Adds rows that were left out.
    pub fn record(&self, rows: u64) {
        self.log.record(self.operator, &self.sources, rows);
    }
}
