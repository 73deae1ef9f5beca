//! Which epochs are open, durable and complete: the one place that sessions, the coordinator and readers look at.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};
use crate::state::{Relation, fatal};
use crate::types::{Changes, Clock, Epoch, ObjectId};

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
///
/// Always: what is written into an epoch is stamped (PROCTIME columns) not before the moment at which the epoch before was closed, and not after
/// the one at which this one is. Both are told under one lock, by a time that never goes back. The clock among the watermarks stands at the
/// moment at which the newest ticked epoch was closed: so no row is late by the time at which it arrives.
pub(crate) struct EpochClock {
    wall: Arc<dyn Clock>,
    /// Held by who commits, for as long as many rows take: one who waits for it keeps no thread.
    turn: tokio::sync::Mutex<()>,
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
    /// The latest time that was told.
    told: i64,
    /// What time it was, while the log is replayed.
    replayed_at: Option<i64>,
}

/// A closed epoch.
pub(crate) struct Group {
    pub(crate) epoch: Epoch,
    /// All that was written in it.
    pub(crate) writes: Vec<Write>,
    /// When it was closed, in microseconds since 1970.
    pub(crate) closed_at: i64,
}

impl Open {
    fn close(&mut self, wall: &dyn Clock) -> Group {
        let epoch = self.epoch;
        self.epoch += 1;
        if !self.writes.is_empty() {
            self.written = epoch;
        }
        self.bytes = 0;
        Group { epoch, writes: std::mem::take(&mut self.writes), closed_at: self.now(wall) }
    }

    fn now(&mut self, wall: &dyn Clock) -> i64 {
        self.told = self.told.max(self.replayed_at.unwrap_or_else(|| wall.now_micros()));
        // What is replayed has the times that it had, one not before the other.
        self.replayed_at.unwrap_or(self.told)
    }
}

impl EpochClock {
    /// A clock on which every epoch up to `last` is over.
    pub(crate) fn new(last: Epoch, wall: Arc<dyn Clock>) -> Self {
        let open =
            Open { epoch: last + 1, written: 0, writes: Vec::new(), bytes: 0, full: VecDeque::new(), told: i64::MIN, replayed_at: None };
        EpochClock {
            wall,
            turn: tokio::sync::Mutex::default(),
            open: Mutex::new(open),
            durable: watch::Sender::new(last),
            complete: watch::Sender::new(last),
            acknowledged: AtomicU64::new(0),
        }
    }

    /// What time it is; while the log is replayed, what time it was. Never earlier than what was told before.
    pub(crate) fn now(&self) -> i64 {
        self.open.lock().now(self.wall.as_ref())
    }

    /// The log is at a moment of the past; `None`: it has come to its end.
    pub(crate) fn replay_at(&self, moment: Option<i64>) {
        self.open.lock().replayed_at = moment;
    }

    /// Waits until nobody else commits.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The same on a thread that may wait.
    pub(crate) fn turn_here(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.blocking_lock()
    }

    /// Puts writes into the open epoch, all of them into the same one, and makes them visible to later writers. Rows arrive at this moment.
    /// They are durable when `durable` has reached the epoch that is returned.
    pub(crate) fn commit(&self, mut writes: Vec<Write>) -> Result<Epoch> {
        let bytes: usize = writes.iter().map(Write::bytes).sum();
        let mut open = self.open.lock();
        for write in &writes {
            write.relation.accepts(&write.changes)?;
        }
        if !open.writes.is_empty() && open.bytes + bytes > EPOCH_BYTES {
            let group = open.close(self.wall.as_ref());
            open.full.push_back(group);
        }
        // What comes from the log has its times.
        for write in writes.iter_mut().filter(|write| !write.logged && !write.relation.arrivals().is_empty()) {
            let now = open.now(self.wall.as_ref());
            write.changes = write.changes.arrived(write.relation.arrivals(), now);
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
        open.full.pop_front().unwrap_or_else(|| open.close(self.wall.as_ref()))
    }

    /// Closes the open epoch, and sets the `count` epochs behind it aside for a new dataflow alone: what is written from now on joins the one
    /// behind those. At once, so that no write is in an epoch that it does not enter the dataflows in. Returns all closed epochs in order.
    pub(crate) fn close_and_skip(&self, count: u64) -> Vec<Group> {
        let mut open = self.open.lock();
        let last = open.close(self.wall.as_ref());
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

    use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::TimestampMicrosecondType;

    use super::{EPOCH_BYTES, EpochClock, Write};
    use crate::state::Relation;
    use crate::types::{Changes, Clock};

    /// A clock whose time goes back.
    struct Backwards(std::sync::atomic::AtomicI64);

    impl Clock for Backwards {
        fn now_micros(&self) -> i64 {
            self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed)
        }
    }

    fn clock() -> EpochClock {
        EpochClock::new(10, Arc::new(Backwards(1_000.into())))
    }

    fn text(bytes: usize) -> Changes {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(bytes)]));
        Changes::insertions(RecordBatch::try_from_iter([("t", column)]).unwrap())
    }

    #[test]
    fn a_group_commit_had_no_bound() {
        let relation = Arc::new(Relation::new(text(1).schema(), None, false, 1));
        let clock = clock();
        let commit = |bytes: usize| {
            let write = Write { table: 1_000, relation: Arc::clone(&relation), changes: text(bytes), logged: false, by: None };
            clock.commit(vec![write.clone(), write]).unwrap()
        };
        // Small ones share an epoch; one that does not fit any more has the next; one that fits nowhere has one of its own.
        let epochs = [10, 10, EPOCH_BYTES / 3, EPOCH_BYTES / 3, 10, 2 * EPOCH_BYTES, 10].map(commit);
        assert_eq!(epochs, [11, 11, 11, 12, 12, 13, 14]);
        assert_eq!(clock.newest_written(), 14);
        let taken = [clock.close(), clock.close()].map(|group| (group.epoch, group.writes.len()));
        assert_eq!(taken, [(11, 6), (12, 4)]);
        assert!(clock.has_writes());
        let rest: Vec<_> = clock.close_and_skip(100).into_iter().map(|group| (group.epoch, group.writes.len())).collect();
        assert_eq!(rest, [(13, 2), (14, 2)]);
        assert!(!clock.has_writes());
        assert_eq!(commit(10), 115);
    }

    #[test]
    fn a_row_arrives_within_its_epoch() {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![None, Some(7)]).with_timezone("UTC"));
        let changes = Changes::insertions(RecordBatch::try_from_iter_with_nullable([("p", column, true)]).unwrap());
        let relation = Arc::new(Relation::new(changes.schema(), None, false, 1).stamping(vec![0]));
        let clock = clock();
        let before = clock.close().closed_at;
        let write = |logged| Write { table: 1_000, relation: Arc::clone(&relation), changes: changes.clone(), logged, by: None };
        clock.replay_at(Some(before + 50));
        clock.commit(vec![write(false), write(true)]).unwrap();
        clock.replay_at(None);
        let group = clock.close();
        let times = |write: &Write| write.changes.column(0).as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>();
        assert_eq!(times(&group.writes[0]), [Some(before + 50), Some(7)]);
        assert_eq!(times(&group.writes[1]), [None, Some(7)], "what comes from the log is as it was");
        assert_eq!((group.closed_at, clock.now()), (before + 50, before + 50), "time never goes back");
    }
}
