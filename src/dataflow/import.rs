//! One input of a dataflow on one worker: first what was there before, then the changes, epoch by epoch.

use std::collections::VecDeque;
use std::sync::Arc;

use timely::container::NoopBuilder;
use timely::dataflow::InputHandle;

use crate::dataflow::command::{Beginning, Dataflow};
use crate::dataflow::feed::{Feed, FeedStep, SnapshotFeed};
use crate::dataflow::packet::Packet;
use crate::dataflow::progress::DataflowProgress;
use crate::types::{Changes, Epoch, ObjectId};

/// Timely's side of an input.
pub(crate) type Handle = InputHandle<Epoch, NoopBuilder<Packet>>;

/// How many epochs a hydrating input may be ahead of what its dataflow has finished: one that is worked off, one that is gathered meanwhile, and
/// one for a peer that is slower.
const EPOCHS_AHEAD: u64 = 2;

/// Rows in the first epoch of hydration per input and worker: about a batch, so that the first results are there at once. Each epoch has
/// twice the rows of the one before.
const FIRST_EPOCH_ROWS: usize = 16_384;

/// So often do epochs double: to 4 Mi rows, and never beyond so many bytes. An operator that does not work in pieces steps over an epoch in one
/// go, and others wait.
const DOUBLINGS_MAX: u64 = 8;
const EPOCH_BYTES_MAX: usize = 256 << 20;

/// Feeds one `Import` node.
pub(crate) struct Import {
    /// The table, source or view it follows.
    pub(crate) object: ObjectId,
    columns: Vec<usize>,
    handle: Handle,
    /// What was there before, until it is read.
    feed: Option<Arc<dyn Feed>>,
    /// What another import reads that was there before, until it has.
    leader: Option<Arc<SnapshotFeed>>,
    /// The epochs that hydration may use.
    first: Epoch,
    last: Epoch,
    /// Rows and bytes read in the epoch of hydration that is open.
    gathered: (usize, usize),
    /// Changes that came in while hydrating, in the order of their epochs.
    waiting: VecDeque<(Epoch, Changes)>,
    /// The first epoch that is not closed.
    open: Epoch,
    progress: Arc<DataflowProgress>,
}

impl Import {
    /// The input of import node `node`: reads the feed for it, if there is one, and then follows the changes.
    pub(crate) fn new(
        node: u32,
        object: ObjectId,
        columns: Vec<usize>,
        mut handle: Handle,
        dataflow: &Dataflow,
        beginning: &Beginning,
    ) -> Self {
        let (first, last) = (dataflow.first, dataflow.last);
        let (feed, leader) = (beginning.feeds.get(&node).cloned(), beginning.followers.get(&node).cloned());
        let progress = Arc::clone(&dataflow.progress);
        handle.advance_to(if feed.is_some() { first } else { last + 1 });
        Import { object, columns, handle, feed, leader, first, last, gathered: (0, 0), waiting: VecDeque::new(), open: last + 1, progress }
    }

    /// Whether what was there before, or what has waited for it, is still being read.
    pub(crate) fn is_hydrating(&self) -> bool {
        self.feed.is_some() || self.leader.is_some() || !self.waiting.is_empty()
    }

    /// The object's columns stand elsewhere from now on.
    pub(crate) fn move_columns(&mut self, places: &[Option<usize>]) {
        for column in &mut self.columns {
            *column = places[*column].expect("a column that a plan reads is not dropped");
        }
    }

    /// Takes changes of an epoch that is not closed.
    pub(crate) fn offer(&mut self, epoch: Epoch, changes: Changes) {
        assert!(epoch >= self.open, "changes of epoch {epoch} came after it was closed");
        let changes = self.projected(changes);
        if self.is_hydrating() {
            self.progress.add_waiting(changes.memory_size());
            self.waiting.push_back((epoch, changes));
        } else {
            self.send(epoch, changes);
        }
    }

    /// Takes changes unless their epoch is one that the snapshot it hydrates from holds already.
    pub(crate) fn offer_if_open(&mut self, epoch: Epoch, changes: &Changes) {
        if epoch >= self.open {
            self.offer(epoch, changes.clone());
        }
    }

    /// Every epoch below `open` has all its changes.
    pub(crate) fn close(&mut self, open: Epoch) {
        if open > self.open {
            self.open = open;
            if !self.is_hydrating() {
                self.handle.advance_to(open);
            }
        }
    }

    /// Reads a little of what was there before, then of what has waited for that; `frontier`: the first epoch that the dataflow has not
    /// finished. Returns the rows read, or `None` when there is nothing to read or the dataflow is too far behind at this moment.
    pub(crate) fn hydrate(&mut self, frontier: Epoch) -> Option<usize> {
        if let Some(leader) = &self.leader {
            if !leader.is_done() {
                return None;
            }
            self.leader = None;
            self.advance();
            return Some(0);
        }
        let Some(feed) = self.feed.clone() else { return self.catch_up(frontier) };
        let epoch = *self.handle.time();
        if epoch > frontier.saturating_add(EPOCHS_AHEAD) {
            return None;
        }
        match feed.next() {
            FeedStep::Pending => None,
            FeedStep::Batch(changes) => {
                let changes = self.projected(changes);
                let rows = changes.len();
                self.gathered.0 += rows;
                self.gathered.1 += changes.payload_bytes();
                self.send(epoch, changes);
                if self.gathered.0 >= epoch_rows(epoch - self.first) || self.gathered.1 >= EPOCH_BYTES_MAX {
                    // The last one takes whatever is left over.
                    self.handle.advance_to((epoch + 1).min(self.last));
                    self.gathered = (0, 0);
                }
                Some(rows)
            }
            FeedStep::Failed(cause) => {
                // First of all: without it the view would look as if it had been filled.
                self.progress.fail(cause);
                self.feed = None;
                let waiting = std::mem::take(&mut self.waiting);
                waiting.iter().for_each(|(_, changes)| self.progress.remove_waiting(changes.memory_size()));
                self.handle.advance_to(self.open);
                Some(0)
            }
            FeedStep::Done => {
                self.feed = None;
                self.advance();
                Some(0)
            }
        }
    }

    /// Sends the next changes that have waited, until the dataflow is as far as everyone.
    fn catch_up(&mut self, frontier: Epoch) -> Option<usize> {
        let epoch = self.waiting.front()?.0;
        if epoch > frontier.saturating_add(EPOCHS_AHEAD) {
            return None;
        }
        let (epoch, changes) = self.waiting.pop_front()?;
        self.progress.remove_waiting(changes.memory_size());
        self.send(epoch, changes);
        self.advance();
        Some(0)
    }

    /// Closes all epochs before the next changes that wait.
    fn advance(&mut self) {
        self.handle.advance_to(self.waiting.front().map_or(self.open, |(epoch, _)| *epoch));
    }

    fn send(&mut self, epoch: Epoch, changes: Changes) {
        if epoch > *self.handle.time() {
            self.handle.advance_to(epoch);
        }
        if changes.is_empty() {
            return;
        }
        self.handle.send_batch(&mut Packet::from(changes));
    }

    /// Only the columns that are wanted.
    fn projected(&self, changes: Changes) -> Changes {
        let rows = changes.rows().project(&self.columns).expect("the plan names columns that the object has");
        changes.with_rows(rows)
    }
}

/// Rows in the epoch of hydration with this number, counted from 0. By its number, so that all inputs and workers agree on it.
fn epoch_rows(number: u64) -> usize {
    FIRST_EPOCH_ROWS << number.min(DOUBLINGS_MAX)
}
