//! Where a dataflow's changes leave it, for whoever takes them elsewhere: a table, or some day the world outside.
//!
//! In: changes by epoch, from every worker. Out: the changes of closed epochs, in their order, each once.
//! Always: what has been taken is in here no more, so what is not yet elsewhere is what is in here and what the taker holds. Nobody waits for the
//! taker while less than a limit is in here that can be taken; above it, whoever can pause should (`is_full`). What an open epoch has given does not
//! count: it cannot be taken before whoever pauses goes on, and closes it.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::types::{Changes, Epoch};

/// Bytes above which those that feed the dataflow pause: some of the largest groups that are taken at once.
const BYTES_MAX: usize = 128 << 20;

/// Changes on their way out of a dataflow.
#[derive(Debug, Default)]
pub struct Outlet {
    waiting: Mutex<Waiting>,
    rows: AtomicUsize,
    bytes: AtomicUsize,
    /// Those of closed epochs.
    closed_bytes: AtomicUsize,
    /// Nobody is to pause: what would make the taker go on is behind.
    unlimited: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    epochs: BTreeMap<Epoch, Vec<Changes>>,
    /// The first epoch that is not closed.
    closed: Epoch,
    /// Nobody takes anything any more.
    ended: bool,
}

impl Outlet {
    /// Nothing is on its way; `unlimited`: see [`Outlet::limit`].
    pub fn new(unlimited: bool) -> Self {
        Outlet { unlimited: AtomicBool::new(unlimited), ..Outlet::default() }
    }

    /// Adds changes of an epoch that is not closed.
    pub(super) fn push(&self, epoch: Epoch, changes: Changes) {
        let mut waiting = self.waiting.lock();
        if !changes.is_empty() && !waiting.ended {
            self.rows.fetch_add(changes.len(), Ordering::Relaxed);
            self.bytes.fetch_add(changes.payload_bytes(), Ordering::Relaxed);
            waiting.epochs.entry(epoch).or_default().push(changes);
        }
    }

    /// Epochs before this one are closed.
    pub fn close(&self, closed: Epoch) {
        self.close_up_to(&mut self.waiting.lock(), closed);
    }

    fn close_up_to(&self, waiting: &mut Waiting, closed: Epoch) {
        if closed > waiting.closed {
            let fresh = waiting.epochs.range(waiting.closed..closed).map(|(_, changes)| payload_bytes(changes)).sum();
            self.closed_bytes.fetch_add(fresh, Ordering::Relaxed);
            waiting.closed = closed;
        }
    }

    /// Takes the changes of the oldest epochs before `closed`, all of each: up to about so many bytes, at least one epoch. Gives them with the
    /// first epoch that was not taken.
    pub fn take(&self, closed: Epoch, bytes: usize) -> (Vec<Changes>, Epoch) {
        let mut waiting = self.waiting.lock();
        self.close_up_to(&mut waiting, closed);
        let (mut taken, mut size) = (Vec::new(), 0);
        while let Some(entry) = waiting.epochs.first_entry().filter(|entry| *entry.key() < closed) {
            let more = payload_bytes(entry.get());
            if size > 0 && size + more > bytes {
                return (taken, *entry.key());
            }
            size += more;
            let changes = entry.remove();
            self.rows.fetch_sub(changes.iter().map(Changes::len).sum(), Ordering::Relaxed);
            self.bytes.fetch_sub(more, Ordering::Relaxed);
            self.closed_bytes.fetch_sub(more, Ordering::Relaxed);
            taken.extend(changes);
        }
        (taken, closed)
    }

    /// Nobody takes anything any more: what is in here goes, and so does what comes.
    pub fn end(&self) {
        let mut waiting = self.waiting.lock();
        waiting.ended = true;
        drop(take(&mut waiting.epochs));
        [&self.rows, &self.bytes, &self.closed_bytes].into_iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Whether something of an epoch before `closed` is in here.
    pub fn has_before(&self, closed: Epoch) -> bool {
        self.waiting.lock().epochs.first_key_value().is_some_and(|(epoch, _)| *epoch < closed)
    }

    /// All that is in here.
    pub fn contents(&self) -> Vec<Changes> {
        self.waiting.lock().epochs.values().flatten().cloned().collect()
    }

    /// Rows and bytes that are in here.
    pub fn size(&self) -> (usize, usize) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Whether those that feed the dataflow should pause.
    pub fn is_full(&self) -> bool {
        self.closed_bytes.load(Ordering::Relaxed) > BYTES_MAX && !self.unlimited.load(Ordering::Relaxed)
    }

    /// From now on it can be full.
    pub fn limit(&self) {
        self.unlimited.store(false, Ordering::Relaxed);
    }
}

fn payload_bytes(changes: &[Changes]) -> usize {
    changes.iter().map(Changes::payload_bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;

    use super::Outlet;
    use crate::types::Changes;

    fn rows(values: Vec<i64>) -> Changes {
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        Changes::insertions(RecordBatch::try_from_iter([("v", column)]).unwrap())
    }

    #[test]
    fn whole_epochs_leave_in_their_order() {
        let outlet = Outlet::new(false);
        for (epoch, values) in [(7, vec![1, 2]), (5, vec![3]), (7, vec![4]), (9, vec![5])] {
            outlet.push(epoch, rows(values));
        }
        let take = |closed, bytes| {
            let (taken, next) = outlet.take(closed, bytes);
            let values: Vec<i64> = taken.iter().flat_map(|part| part.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            (values, next)
        };
        assert_eq!(outlet.size().0, 5);
        assert_eq!(take(5, 100), (vec![], 5));
        assert_eq!(take(8, 1), (vec![3], 7));
        assert!(outlet.has_before(8));
        assert_eq!(take(8, 1), (vec![1, 2, 4], 8));
        assert!(!outlet.has_before(9));
        assert_eq!(take(100, 1), (vec![5], 100));
        assert_eq!(outlet.size(), (0, 0));
    }

    /// Whoever fed the dataflow waited for room, and the taker for the end of the epoch.
    #[test]
    fn what_cannot_be_taken_yet_makes_nobody_wait() {
        let outlet = Outlet::new(false);
        let large = || rows(vec![0; super::BYTES_MAX / 8 + 1]);
        outlet.push(3, large());
        assert!(!outlet.is_full());
        outlet.close(4);
        assert!(outlet.is_full());
        outlet.push(4, large());
        assert_eq!(outlet.take(4, 1).0.len(), 1);
        assert!(!outlet.is_full());
        outlet.close(5);
        assert!(outlet.is_full());
        outlet.end();
        outlet.push(5, large());
        outlet.close(6);
        assert!(!outlet.is_full() && outlet.contents().is_empty() && outlet.size() == (0, 0));
    }
}
