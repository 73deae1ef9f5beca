//! Which epochs are open, durable and complete: the one place that sessions, the coordinator and readers look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};
use crate::state::{Relation, fatal};
use crate::types::{Changes, Epoch, ObjectId};

/// A change of one table, on its way into the log and the dataflows.
#[derive(Clone)]
pub(crate) struct Write {
    pub(crate) table: ObjectId,
    pub(crate) relation: Arc<Relation>,
    pub(crate) changes: Changes,
    /// It comes from the log, and is not to be written there again.
    pub(crate) logged: bool,
}

/// The epoch clock.
///
/// Always: `complete <= durable < open`. An epoch is open while writes may join it, then it is logged (durable), ticked, and complete
/// when every dataflow has finished it.
pub(crate) struct EpochClock {
    open: Mutex<Open>,
    durable: watch::Sender<Epoch>,
    complete: watch::Sender<Epoch>,
    /// The newest durable epoch that holds writes: what has been acknowledged is not behind it.
    acknowledged: AtomicU64,
}

struct Open {
    epoch: Epoch,
    /// The newest closed epoch with writes.
    written: Epoch,
    writes: Vec<Write>,
}

impl Open {
    fn close(&mut self) -> (Epoch, Vec<Write>) {
        let epoch = self.epoch;
        self.epoch += 1;
        if !self.writes.is_empty() {
            self.written = epoch;
        }
        (epoch, std::mem::take(&mut self.writes))
    }
}

impl EpochClock {
    /// A clock on which every epoch up to `last` is over.
    pub(crate) fn new(last: Epoch) -> Self {
        EpochClock {
            open: Mutex::new(Open { epoch: last + 1, written: 0, writes: Vec::new() }),
            durable: watch::Sender::new(last),
            complete: watch::Sender::new(last),
            acknowledged: AtomicU64::new(0),
        }
    }

    /// Puts writes into the open epoch, all of them into the same one, and makes them visible to later writers.
    /// They are durable when `durable` has reached the epoch that is returned.
    pub(crate) fn commit(&self, writes: Vec<Write>) -> Result<Epoch> {
        let mut open = self.open.lock();
        for write in &writes {
            write.relation.accepts(&write.changes)?;
        }
        for write in &writes {
            if let Err(error) = write.relation.apply(0, open.epoch, &write.changes) {
                // A part of the transaction is in its tables and cannot be taken out; the log has nothing of it.
                fatal("a transaction could not be applied as a whole", &error);
            }
        }
        open.writes.extend(writes);
        Ok(open.epoch)
    }

    /// Whether some write waits in the open epoch.
    pub(crate) fn has_writes(&self) -> bool {
        !self.open.lock().writes.is_empty()
    }

    /// The newest epoch that holds writes.
    pub(crate) fn newest_written(&self) -> Epoch {
        let open = self.open.lock();
        if open.writes.is_empty() { open.written } else { open.epoch }
    }

    /// Closes the open epoch and opens the next one. Returns it with its writes.
    pub(crate) fn close(&self) -> (Epoch, Vec<Write>) {
        self.open.lock().close()
    }

    /// Closes the open epoch as `close` does, and sets the `count` epochs behind it aside for a new dataflow alone: what is written from now on
    /// joins the one behind those. At once, so that no write is in an epoch that it does not enter the dataflows in.
    pub(crate) fn close_and_skip(&self, count: u64) -> (Epoch, Vec<Write>) {
        let mut open = self.open.lock();
        let closed = open.close();
        open.epoch += count;
        closed
    }

    /// Says that everything up to `epoch` is on disk, and whether `epoch` holds writes.
    pub(crate) fn set_durable(&self, epoch: Epoch, written: bool) {
        if written {
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
        let epoch = epoch.max(self.acknowledged.load(Ordering::Acquire));
        if self.complete() >= epoch {
            return Ok(());
        }
        self.complete.subscribe().wait_for(|complete| *complete >= epoch).await.map(drop).map_err(|_| stopped())
    }
}

fn stopped() -> Error {
    Error::new(Kind::Shutdown, "the server is shutting down")
}
