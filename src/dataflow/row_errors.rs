//! Rows for which an expression failed: counted and sampled per object, never a reason to stop.
//!
//! In: counts and a few samples from the operators. Out: what `tidemill.row_errors` shows. Holds at most 16 samples per object.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::ObjectId;

/// Samples kept per object: enough to see a pattern, little enough to show whole.
pub(super) const SAMPLES_MAX: usize = 16;

/// One row that an expression failed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// What went wrong.
    pub error: String,
    /// The columns that the expression reads, as JSON-like text.
    pub row: String,
}

/// The errors of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectRowErrors {
    /// Failures since the object was made or the process started. A row counts once for each expression that failed on it.
    pub count: u64,
    /// The latest of them, oldest first.
    pub samples: VecDeque<RowError>,
}

/// The errors of all objects; shared by the workers and by whoever reads `tidemill.row_errors`.
#[derive(Debug, Default)]
pub struct RowErrorLog {
    objects: Mutex<BTreeMap<ObjectId, ObjectRowErrors>>,
}

impl RowErrorLog {
    /// Where the operators of `object` report.
    pub fn sink(self: &Arc<Self>, object: ObjectId) -> RowErrorSink {
        RowErrorSink { log: Arc::clone(self), object }
    }

    /// Everything, in the order of the objects' ids. Objects without errors are not in it.
    pub fn snapshot(&self) -> Vec<(ObjectId, ObjectRowErrors)> {
        self.objects.lock().iter().map(|(object, errors)| (*object, errors.clone())).collect()
    }

    /// Drops what is known of an object: it is gone.
    pub fn forget(&self, object: ObjectId) {
        self.objects.lock().remove(&object);
    }
}

/// A handle on the log for one object's operators.
#[derive(Clone, Debug)]
pub struct RowErrorSink {
    log: Arc<RowErrorLog>,
    object: ObjectId,
}

impl RowErrorSink {
    /// Adds `count` errors, of which `samples` are the latest (at most `SAMPLES_MAX` are of use).
    pub fn record(&self, count: u64, samples: Vec<RowError>) {
        let mut objects = self.log.objects.lock();
        let errors = objects.entry(self.object).or_default();
        errors.count += count;
        errors.samples.extend(samples);
        let excess = errors.samples.len().saturating_sub(SAMPLES_MAX);
        errors.samples.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::{RowError, RowErrorLog, SAMPLES_MAX};
    use std::sync::Arc;

    #[test]
    fn the_latest_samples_stay() {
        let log = Arc::new(RowErrorLog::default());
        for number in 0..20 {
            log.sink(7).record(1, vec![RowError { error: "division by zero".into(), row: number.to_string() }]);
        }
        let snapshot = log.snapshot();
        assert_eq!(snapshot[0].0, 7);
        assert_eq!(snapshot[0].1.count, 20);
        assert_eq!(snapshot[0].1.samples.len(), SAMPLES_MAX);
        assert_eq!(snapshot[0].1.samples[0].row, "4");
        log.forget(7);
        assert!(log.snapshot().is_empty());
    }
}
