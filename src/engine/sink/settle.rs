//! Readers and writers of a table wait for the sinks into it: what has been acknowledged to anybody is in the table when it is read, though it gets
//! there an epoch or more behind the views that it came through.
//!
//! Always: nobody waits here who holds a table's turn, so a sink that waits for the turn gets it in the end.

use std::sync::Arc;

use super::running::RunningSink;
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::Result;
use crate::types::{Epoch, ObjectId};

impl Engine {
    /// Waits until all that has been acknowledged has gone through the sinks whose rows reach these relations. Gives the epoch in which it has, to
    /// be waited for; 0 if there is none.
    pub(crate) async fn settle_sinks(&self, relations: &[ObjectId]) -> Epoch {
        if self.sinks.read().is_empty() {
            return 0;
        }
        let mut epoch = 0;
        for id in self.catalog().sinks_above(relations) {
            let sink = self.sinks.read().get(&id).cloned();
            if let Some(sink) = sink {
                // What came through the sinks before enters this one at their epoch.
                epoch = sink.wait_drained(epoch.max(self.clock.acknowledged())).await.max(epoch);
            }
        }
        epoch
    }

    /// Waits until all that has been written has gone through every sink.
    pub(crate) async fn settle_all_sinks(&self) -> Epoch {
        let targets: Vec<ObjectId> = self.sinks.read().values().map(|sink| sink.target).collect();
        self.settle_sinks(&targets).await
    }

    /// Waits while a sink that what is written to `table` goes through has too much on its way.
    async fn wait_room(&self, table: ObjectId) {
        let full: Vec<Arc<RunningSink>> = self.sinks.read().values().filter(|sink| sink.outlet.is_full()).cloned().collect();
        for sink in full {
            if self.catalog().way(table, sink.target).is_some_and(|way| way.len() > 1) {
                sink.wait_room().await;
            }
        }
    }
}

impl Session {
    /// Before a table's turn is taken by who holds none: waits for the sinks into it and into what is `read` with it, and while those behind it have
    /// too much on their way.
    pub(crate) async fn settle_before_turn(&self, table: ObjectId, read: &[ObjectId]) -> Result<()> {
        if self.engine.sinks.read().is_empty() || self.transaction.as_ref().is_some_and(|transaction| transaction.newest_held().is_some()) {
            return Ok(());
        }
        self.engine.wait_room(table).await;
        let relations: Vec<ObjectId> = read.iter().copied().chain([table]).collect();
        match self.engine.settle_sinks(&relations).await {
            0 => Ok(()),
            epoch => self.engine.clock.wait_complete(epoch).await,
        }
    }
}
