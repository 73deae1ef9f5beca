//! Rows for which an expression failed: counted and sampled per object, never a reason to stop.
//!
//! In: counts and a few samples from the operators. Out: what `tidemill.row_errors` shows, and what checkpoints store of it. Holds at most 16
//! samples per object.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::{ObjectId, RowError, RowErrors};

/// The errors of all objects; shared by the workers and by whoever reads `tidemill.row_errors`.
#[derive(Debug, Default)]
pub struct RowErrorLog {
    objects: Mutex<BTreeMap<ObjectId, Told>>,
}

/// The errors of one object.
#[derive(Debug, Default)]
struct Told {
    errors: RowErrors,
    /// The count that the store has.
    stored: u64,
}

impl RowErrorLog {
    /// Where the operators of `object` report.
    pub fn sink(self: &Arc<Self>, object: ObjectId) -> RowErrorSink {
        RowErrorSink { log: Arc::clone(self), object }
    }

    /// Everything, in the order of the objects' ids. Objects without errors are not in it.
    pub fn snapshot(&self) -> Vec<(ObjectId, RowErrors)> {
        self.objects.lock().iter().map(|(object, told)| (*object, told.errors.clone())).collect()
    }

    /// Those of objects of which the store does not know everything yet. From now on it counts as stored.
    pub fn take_changes(&self, of: impl Fn(ObjectId) -> bool) -> Vec<(ObjectId, RowErrors)> {
        let mut objects = self.objects.lock();
        let changed = objects.iter_mut().filter(|(object, told)| told.stored != told.errors.count && of(**object));
        let stored = |(object, told): (&ObjectId, &mut Told)| {
            told.stored = told.errors.count;
            (*object, told.errors.clone())
        };
        changed.map(stored).collect()
    }

    /// Takes back what was stored of an object.
    pub fn restore(&self, object: ObjectId, errors: RowErrors) {
        self.objects.lock().insert(object, Told { stored: errors.count, errors });
    }

    /// Gives what is known of an object, and forgets it.
    pub fn take(&self, object: ObjectId) -> RowErrors {
        self.objects.lock().remove(&object).unwrap_or_default().errors
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
    /// Adds `count` errors, of which `samples` are the latest (at most [`RowErrors::SAMPLES_MAX`] are of use).
    pub fn record(&self, count: u64, samples: impl IntoIterator<Item = RowError>) {
        self.log.objects.lock().entry(self.object).or_default().errors.add(count, samples);
    }
}

#[cfg(test)]
mod tests {
    use super::{RowError, RowErrorLog, RowErrors};
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
        assert_eq!(snapshot[0].1.samples.len(), RowErrors::SAMPLES_MAX);
        assert_eq!(snapshot[0].1.samples[0].row, "4");
        log.forget(7);
        assert!(log.snapshot().is_empty());
    }

    #[test]
    fn counts_were_those_since_the_start() {
        let log = Arc::new(RowErrorLog::default());
        log.sink(7).record(3, Vec::new());
        assert!(log.take_changes(|object| object != 7).is_empty());
        let mut stored = log.take_changes(|_| true);
        assert!(stored.len() == 1 && log.take_changes(|_| true).is_empty());

        let again = Arc::new(RowErrorLog::default());
        stored.drain(..).for_each(|(object, errors)| again.restore(object, errors));
        assert!(again.take_changes(|_| true).is_empty());
        again.sink(7).record(1, Vec::new());
        assert_eq!(again.take_changes(|_| true)[0].1.count, 4);
    }
}
