//! A sink as it runs: what has left its dataflow and is not in its table yet.
//!
//! In: from the coordinator, how far the dataflow is. Out: to the pump, what to write; to checkpoints, what is still to be written; to readers, up
//! to which epoch of the query the table has everything, and in which epoch of its own.
//! Always: what the dataflow has given is in the outlet, taken by the pump, or in the table, and moves on under one lock.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::owed::{Owed, Read};
use crate::dataflow::Outlet;
use crate::engine::source::SourceReport;
use crate::error::Result;
use crate::types::{Changes, Epoch, ObjectId};

/// Bytes that are written at once, but for an epoch that has more: what is encoded, logged and given to the workers in one piece.
const GROUP_BYTES: usize = 32 << 20;

/// A sink.
pub(crate) struct RunningSink {
    pub(crate) id: ObjectId,
    /// The table that it writes.
    pub(crate) target: ObjectId,
    /// What leaves its dataflow.
    pub(crate) outlet: Arc<Outlet>,
    /// The sources whose rows reach it, other than through a table that keeps them.
    sources: Vec<(ObjectId, Arc<Mutex<SourceReport>>)>,
    /// The table's columns, NULL allowed.
    schema: SchemaRef,
    /// Everything up to here was there before the server started.
    floor: Epoch,
    /// It was made by this server and reads what was there before it: nobody waits for that.
    made_here: bool,
    queue: Mutex<Queue>,
    news: Notify,
    drained: watch::Sender<Drained>,
}

/// What is on its way.
#[derive(Default)]
struct Queue {
    /// The first epoch that the dataflow has not closed.
    closed: Epoch,
    /// After a restart, until it is known what to write.
    owed: Option<Owed>,
    /// What the pump holds, and the first epoch that it has not taken.
    taken: Vec<Changes>,
    taken_before: Epoch,
    /// What has entered the table in epochs that no checkpoint can hold yet.
    entered: VecDeque<(Epoch, Changes)>,
    /// It has read what was there before it.
    ready: bool,
    /// A checkpoint holds it.
    stored: bool,
    stopped: bool,
}

/// How far a sink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drained {
    /// The table has all of the query's changes up to this epoch,
    pub(crate) through: Epoch,
    /// as of this epoch of its own.
    pub(crate) at: Epoch,
    /// Whether those who read the table wait for it.
    pub(crate) is_waited_for: bool,
    /// It has ended.
    pub(crate) has_ended: bool,
}

impl RunningSink {
    /// `owed`: what it owes after a restart; `None` for a new one.
    pub(crate) fn new(
        id: ObjectId,
        target: ObjectId,
        schema: SchemaRef,
        sources: Vec<(ObjectId, Arc<Mutex<SourceReport>>)>,
        floor: Epoch,
        owed: Option<Owed>,
    ) -> Self {
        let made_here = owed.is_none();
        let drained = Drained { through: 0, at: 0, is_waited_for: !made_here && sources.is_empty(), has_ended: false };
        RunningSink {
            id,
            target,
            outlet: Arc::new(Outlet::new(owed.is_some())),
            sources,
            schema,
            floor: if made_here { 0 } else { floor },
            made_here,
            queue: Mutex::new(Queue { owed, ..Queue::default() }),
            news: Notify::new(),
            drained: watch::Sender::new(drained),
        }
    }

    /// The checkpoint that the server started from knows of it.
    pub(crate) fn is_in_checkpoints(&self) {
        self.queue.lock().stored = true;
    }

    /// The table's columns, NULL allowed.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Tells how far the dataflow is. `ready`: it has read what was there before it; `recovering`: the log is still being replayed; `ticked`: the newest
    /// epoch that has begun.
    pub(crate) fn advance(&self, closed: Epoch, ready: bool, recovering: bool, ticked: Epoch) {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        (queue.closed, queue.ready) = (closed, ready);
        self.outlet.close(closed);
        while queue.entered.pop_front_if(|(epoch, _)| *epoch <= ticked).is_some() {}
        if let Some(owed) = &mut queue.owed {
            if owed.reached.is_none() && ready && !recovering && self.have_read(&owed.until) {
                owed.reached = Some(ticked);
            }
            if owed.reached.is_some_and(|reached| closed > reached) {
                queue.taken = queue.owed.take().map(|owed| owed.changes).unwrap_or_default();
                // All that was given until now belongs to the sum.
                let (given, before) = self.outlet.take(closed, usize::MAX);
                queue.taken.extend(given);
                queue.taken_before = before;
                self.outlet.limit();
            }
        }
        let is_waited_for = !queue.stopped && (ready && queue.owed.is_none() || !self.made_here && self.sources.is_empty());
        let drained = self.is_drained(queue).then(|| closed.saturating_sub(1));
        self.drained.send_if_modified(|now| {
            let before = *now;
            now.is_waited_for = is_waited_for;
            now.through = drained.unwrap_or_default().max(now.through);
            *now != before
        });
        if !queue.taken.is_empty() || self.outlet.has_before(closed) {
            self.news.notify_one();
        }
    }

    fn is_drained(&self, queue: &Queue) -> bool {
        queue.ready && queue.owed.is_none() && queue.taken.is_empty() && !self.outlet.has_before(queue.closed)
    }

    /// Whether sources have been read as far as this.
    fn have_read(&self, until: &Read) -> bool {
        let read = self.read();
        until.iter().all(|(source, positions)| {
            let read = read.get(source);
            positions.iter().all(|(partition, position)| read.and_then(|read| read.get(partition)).is_some_and(|read| read >= position))
        })
    }

    /// How far the sources whose rows reach it have been read.
    pub(crate) fn read(&self) -> Read {
        self.sources.iter().map(|(id, report)| (*id, report.lock().position.positions.clone())).collect()
    }

    /// The next changes to write; `None` at the end. They are to be given to `enter` before it is called again.
    pub(crate) async fn next(&self) -> Option<Vec<Changes>> {
        loop {
            {
                let mut queue = self.queue.lock();
                if queue.stopped {
                    return None;
                }
                if queue.taken.is_empty() && queue.owed.is_none() {
                    (queue.taken, queue.taken_before) = self.outlet.take(queue.closed, GROUP_BYTES);
                }
                if !queue.taken.is_empty() {
                    return Some(queue.taken.clone());
                }
            }
            self.news.notified().await;
        }
    }

    /// Has what `next` gave enter the table: `commit` does it, and gives the epoch. Nothing happens any more if the sink has ended.
    pub(crate) fn enter(&self, commit: impl FnOnce() -> Result<Epoch>) -> Result<()> {
        let mut queue = self.queue.lock();
        if queue.stopped {
            return Ok(());
        }
        let epoch = commit()?;
        let taken = std::mem::take(&mut queue.taken);
        queue.entered.extend(taken.into_iter().map(|changes| (epoch, changes)));
        let through = if self.is_drained(&queue) { queue.closed } else { queue.taken_before };
        // What was there before has epochs of its own, which say nothing.
        let through = if queue.ready { through.saturating_sub(1) } else { 0 };
        self.drained.send_modify(|now| {
            now.at = epoch.max(now.at);
            now.through = through.max(now.through);
        });
        Ok(())
    }

    /// What is still to be written as of a checkpoint at `epoch`, which holds all that the dataflow has given. From then on the checkpoint holds the sink.
    pub(crate) fn store(&self, epoch: Epoch) -> Result<Vec<Changes>> {
        let mut queue = self.queue.lock();
        queue.stored = true;
        let mut parts = queue.owed.as_ref().map_or(Ok(Vec::new()), |owed| owed.to_store(&self.schema))?;
        parts.extend(queue.entered.iter().filter(|(entered, _)| *entered > epoch).map(|(_, changes)| changes.clone()));
        parts.extend(queue.taken.iter().cloned());
        parts.extend(self.outlet.contents());
        Ok(parts)
    }

    /// Whether a checkpoint holds it.
    pub(crate) fn is_stored(&self) -> bool {
        self.queue.lock().stored
    }

    /// Ends it: nothing of it enters the table from now on.
    pub(crate) fn stop(&self) {
        self.queue.lock().stopped = true;
        self.outlet.end();
        self.drained.send_modify(|now| (now.is_waited_for, now.has_ended) = (false, true));
        self.news.notify_one();
    }

    /// Rows and bytes that are on their way.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let queue = self.queue.lock();
        let parts = queue.taken.iter().chain(queue.owed.iter().flat_map(|owed| &owed.changes));
        let (rows, bytes) = self.outlet.size();
        parts.fold((rows as u64, bytes as u64), |(rows, bytes), part| (rows + part.len() as u64, bytes + part.payload_bytes() as u64))
    }

    /// Whether it waits until sources have been read again as far as they were.
    pub(crate) fn is_held(&self) -> bool {
        self.queue.lock().owed.is_some()
    }

    /// How far it is.
    pub(crate) fn drained(&self) -> Drained {
        *self.drained.borrow()
    }

    /// Waits until the table has all of the query's changes up to `epoch`, if it is to be waited for. Gives the table's epoch.
    pub(crate) async fn wait_drained(&self, epoch: Epoch) -> Epoch {
        let epoch = epoch.max(self.floor);
        let drained = self.drained.subscribe().wait_for(|now| now.through >= epoch || !now.is_waited_for).await.map(|now| now.at);
        // The sender lives as long as `self`.
        drained.unwrap_or_default()
    }

    /// Waits while too much is on its way.
    pub(crate) async fn wait_room(&self) {
        let room = self.drained.subscribe().wait_for(|now| !self.outlet.is_full() || now.has_ended).await.map(drop);
        room.unwrap_or_default();
    }
}
