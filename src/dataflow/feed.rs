//! What was there before a view: read once by its dataflow while everyone else goes on.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::state::Snapshot;
use crate::types::Changes;

/// Rows to hydrate from, shared by all workers: each row is handed out once.
pub trait Feed: Send + Sync {
    /// The next rows for whichever worker asks. Must not block.
    fn next(&self) -> FeedStep;
}

/// What a feed has to give.
pub enum FeedStep {
    /// Rows.
    Batch(Changes),
    /// Nothing at this moment.
    Pending,
    /// There is no more.
    Done,
    /// There is more, but it cannot be had, for this reason: the view cannot be filled.
    Failed(String),
}

/// The rows of a table or view as of one epoch.
pub struct SnapshotFeed {
    snapshot: Snapshot,
    next: AtomicUsize,
}

impl SnapshotFeed {
    /// Hands out the snapshot's chunks, all columns.
    pub fn new(snapshot: Snapshot) -> Self {
        SnapshotFeed { snapshot, next: AtomicUsize::new(0) }
    }

    /// Whether all of it has been handed out.
    pub fn is_done(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.snapshot.chunks()
    }
}

impl Feed for SnapshotFeed {
    fn next(&self) -> FeedStep {
        let chunk = self.next.fetch_add(1, Ordering::Relaxed);
        if chunk >= self.snapshot.chunks() {
            return FeedStep::Done;
        }
        FeedStep::Batch(Changes::insertions(self.snapshot.batch(chunk, None)))
    }
}
