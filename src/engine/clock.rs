//! Which epochs are open, durable and complete: the one place that sessions, the coordinator and readers look at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};
use crate::state::{Relation, fatal};
use crate::types::{Changes, Epoch, ObjectId};

/// Bytes of writes after which an epoch is full: later ones join the next. It bounds what is encoded, logged and given to the workers at once,
/// and is large enough that a group of ordinary commits never reaches it. One transaction may be larger, since it has one epoch.
#[cfg(not(test))]
pub(crate) const EPOCH_BYTES: usize = 64 << 20;

/// In tests, small enough that they fill several.
#[cfg(test)]
pub(crate) const EPOCH_BYTES: usize = 4 << 10;

/// A change of one table, on its way into the log and the dataflows.
#[derive(Clone)]
pub(crate) struct Write {
    pub(crate) table: ObjectId,
    pub(crate) relation: Arc<Relation>,
    pub(crate) changes: Changes,
    /// It comes from the log, and is not to be written there again.
    pub(crate) logged: bool,
    /// A sink's, and nobody's commit.
    pub(crate) by: Option<SunkBy>,
}

/// The sink that a change comes from.
#[derive(Clone)]
pub(crate) struct SunkBy {
    pub(crate) sink: ObjectId,
    /// What it brought, for the log: what became of that in the table is in the write.
    pub(crate) logged: Option<Changes>,
}

impl Write {
    fn bytes(&self) -> usize {
        let brought = self.by.iter().filter_map(|by| by.logged.as_ref()).map(Changes::payload_bytes).sum::<usize>();
        self.changes.payload_bytes() + brought
    }
}

/// The epoch clock.
///
/// Always: `complete <= durable < open`. An epoch is open while writes may join it, then it is logged (durable), ticked, and complete
/// when every dataflow has finished it.
pub(crate) struct EpochClock {
    open: Mutex<Open>,
    durable: watch::Sender<Epoch>,
    complete: watch::Sender<Epoch>,
    /// The newest durable epoch that holds commits: what has been acknowledged is not behind it.
    acknowledged: AtomicU64,
}

struct Open {
    epoch: Epoch,
    /// The newest closed epoch with writes.
    written: Epoch,
    writes: Vec<Write>,
    /// Of `writes`.
    bytes: usize,
    /// Epochs that were closed because they were full, the oldest first.
    full: VecDeque<Group>,
}

/// A closed epoch, and all that was written in it.
pub(crate) type Group = (Epoch, Vec<Write>);

impl Open {
    fn close(&mut self) -> Group {
        let epoch = self.epoch;
        self.epoch += 1;
        if !self.writes.is_empty() {
            self.written = epoch;
        }
        self.bytes = 0;
        (epoch, std::mem::take(&mut self.writes))
    }
}

impl EpochClock {
    /// A clock on which every epoch up to `last` is over.
    pub(crate) fn new(last: Epoch) -> Self {
        EpochClock {
            open: Mutex::new(Open { epoch: last + 1, written: 0, writes: Vec::new(), bytes: 0, full: VecDeque::new() }),
            durable: watch::Sender::new(last),
            complete: watch::Sender::new(last),
            acknowledged: AtomicU64::new(0),
        }
    }

    /// Puts writes into the open epoch, all of them into the same one, and makes them visible to later writers.
    /// They are durable when `durable` has reached the epoch that is returned.
    pub(crate) fn commit(&self, writes: Vec<Write>) -> Result<Epoch> {
        let bytes: usize = writes.iter().map(Write::bytes).sum();
        let mut open = self.open.lock();
        for write in &writes {
            write.relation.accepts(&write.changes)?;
        }
        if !open.writes.is_empty() && open.bytes + bytes > EPOCH_BYTES {
            let group = open.close();
            open.full.push_back(group);
        }
        for write in &writes {
            if let Err(error) = write.relation.apply(0, open.epoch, &write.changes) {
                // A part of the transaction is in its tables and cannot be taken out; the log has nothing of it.
                fatal("a transaction could not be applied as a whole", &error);
            }
        }
        open.writes.extend(writes);
        open.bytes += bytes;
        Ok(open.epoch)
    }

    /// Whether some write waits in an epoch that has not been taken by `close`.
    pub(crate) fn has_writes(&self) -> bool {
        let open = self.open.lock();
        !open.writes.is_empty() || !open.full.is_empty()
    }

    /// The newest epoch that holds writes.
    pub(crate) fn newest_written(&self) -> Epoch {
        let open = self.open.lock();
        if open.writes.is_empty() { open.written } else { open.epoch }
    }

    /// The oldest epoch that is full; if there is none, closes the open one and opens the next.
    pub(crate) fn close(&self) -> Group {
        let mut open = self.open.lock();
        open.full.pop_front().unwrap_or_else(|| open.close())
    }

    /// Closes the open epoch, and sets the `count` epochs behind it aside for a new dataflow alone: what is written from now on joins the one
    /// behind those. At once, so that no write is in an epoch that it does not enter the dataflows in. Returns all closed epochs in order.
    pub(crate) fn close_and_skip(&self, count: u64) -> Vec<Group> {
        let mut open = self.open.lock();
        let last = open.close();
        open.epoch += count;
        open.full.drain(..).chain([last]).collect()
    }

    /// Says that everything up to `epoch` is on disk, and whether `epoch` holds commits.
    pub(crate) fn set_durable(&self, epoch: Epoch, committed: bool) {
        if committed {
            self.acknowledged.store(epoch, Ordering::Release);
        }
        self.durable.send_replace(epoch);
    }

    /// Says that every dataflow has finished `epoch`.
    pub(crate) fn set_complete(&self, epoch: Epoch) {
        self.complete.send_if_modified(|complete| {
            let later = epoch > *complete;
            if later {
                *complete = epoch;
            }
            later
        });
    }

    /// The newest epoch that holds something acknowledged.
    pub(crate) fn acknowledged(&self) -> Epoch {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// The newest epoch whose writes are on disk.
    pub(crate) fn durable(&self) -> Epoch {
        *self.durable.borrow()
    }

    /// The newest epoch that every dataflow has finished.
    pub(crate) fn complete(&self) -> Epoch {
        *self.complete.borrow()
    }

    /// Waits until everything up to `epoch` is on disk.
    pub(crate) async fn wait_durable(&self, epoch: Epoch) -> Result<()> {
        self.durable.subscribe().wait_for(|durable| *durable >= epoch).await.map(drop).map_err(|_| stopped())
    }

    /// Waits until every dataflow has finished `epoch`, and all that has been acknowledged to any session by now.
    pub(crate) async fn wait_complete(&self, epoch: Epoch) -> Result<()> {
        let epoch = epoch.max(self.acknowledged());
        if self.complete() >= epoch {
            return Ok(());
        }
        self.complete.subscribe().wait_for(|complete| *complete >= epoch).await.map(drop).map_err(|_| stopped())
    }
}

fn stopped() -> Error {
    Error::new(Kind::Shutdown, "the server is shutting down")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};

    use super::{EPOCH_BYTES, EpochClock, Write};
    use crate::state::Relation;
    use crate::types::Changes;

    fn text(bytes: usize) -> Changes {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(bytes)]));
        Changes::insertions(RecordBatch::try_from_iter([("t", column)]).unwrap())
    }

    #[test]
    fn a_group_commit_had_no_bound() {
        let relation = Arc::new(Relation::new(text(1).schema(), None, false, 1));
        let clock = EpochClock::new(10);
        let commit = |bytes: usize| {
            let write = Write { table: 1_000, relation: Arc::clone(&relation), changes: text(bytes), logged: false, by: None };
            clock.commit(vec![write.clone(), write]).unwrap()
        };
        // Small ones share an epoch; one that does not fit any more has the next; one that fits nowhere has one of its own.
        let epochs = [10, 10, EPOCH_BYTES / 3, EPOCH_BYTES / 3, 10, 2 * EPOCH_BYTES, 10].map(commit);
        assert_eq!(epochs, [11, 11, 11, 12, 12, 13, 14]);
        assert_eq!(clock.newest_written(), 14);
        let taken = [clock.close(), clock.close()].map(|(epoch, writes)| (epoch, writes.len()));
        assert_eq!(taken, [(11, 6), (12, 4)]);
        assert!(clock.has_writes());
        let rest: Vec<_> = clock.close_and_skip(100).into_iter().map(|(epoch, writes)| (epoch, writes.len())).collect();
        assert_eq!(rest, [(13, 2), (14, 2)]);
        assert!(!clock.has_writes());
        assert_eq!(commit(10), 115);
    }
}
