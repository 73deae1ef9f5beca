//! Who reads a source for whom: all its views share one reader, which decodes the columns that any of them reads.
//!
//! ```text
//! view 1 reads a, b        reader of a, b  ├──────────────┐
//! view 2 reads a, c                                        │ stops; what waits in its queue is read again
//!                          reader of a, b, c               ├────────────────▶
//!                          replay of a, c  ├──────────────▶│ view 2 has what view 1 had
//! ```
//!
//! Always: a reader goes on at the position up to which rows have entered epochs, so rows and dead letters are the same whenever it was exchanged.
//! Row errors of generated columns in what waited are counted once more.
//! It is exchanged when a view comes that reads more, never when one goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Coordinator;
use crate::engine::source::{Delivery, RunningSource, SourcePosition, SourceRecipe, SourceReport};
use crate::error::Result;
use crate::plan::Plan;
use crate::state::Relation;
use crate::types::ObjectId;

impl Coordinator {
    /// Reads a source for one more view: shares its reader if it has one, else starts it. Returns what the others have read.
    pub(super) fn import_source(
        &mut self,
        recipe: &SourceRecipe,
        report: Arc<Mutex<SourceReport>>,
        from: SourcePosition,
        plan: &Plan,
    ) -> Result<SourcePosition> {
        let mut columns = self.columns_read(recipe.id);
        columns.extend(plan.root.columns_read(recipe.id));
        let Some(running) = self.sources.get(&recipe.id) else {
            let source = RunningSource::start(recipe.only(&columns), from.clone(), report, Arc::clone(&self.wake))?;
            self.sources.insert(recipe.id, source);
            return Ok(from);
        };
        let report = Arc::clone(&running.report);
        if !running.gives(&columns) {
            self.read_anew(&recipe.only(&columns), None)?;
        }
        let read = report.lock().position.clone();
        Ok(read)
    }

    /// The columns of a source that views read.
    pub(super) fn columns_read(&self, source: ObjectId) -> BTreeSet<usize> {
        self.views.values().flat_map(|view| view.plan().root.columns_read(source)).collect()
    }

    /// Goes on reading from outside by another recipe, from where it is: what waits in the queue was decoded by the old one and is read again.
    pub(super) fn read_anew(&mut self, recipe: &SourceRecipe, relation: Option<Arc<Relation>>) -> Result<()> {
        if let (Some(table), Some(relation)) = (self.tables.get_mut(&recipe.id), relation) {
            table.relation = relation;
        }
        let Some(running) = self.sources.get_mut(&recipe.id).or(self.tables.get_mut(&recipe.id).map(|table| &mut table.source)) else {
            return Ok(());
        };
        let (report, strayed) = (Arc::clone(&running.report), running.strayed);
        running.stop("idle".to_owned());
        // Where partitions begin was settled when it was found, whatever becomes of the rows behind it.
        while let Ok(delivery) = running.queue.try_recv() {
            if let Delivery::Started(starts) = delivery {
                running.begin(self.writer.settled(), &starts);
            }
        }
        let from = report.lock().position.clone();
        let started = RunningSource::start(recipe.clone(), from, report, Arc::clone(&self.wake));
        // What the old thread still has must not come: the queue before it has been emptied.
        let mut source = started.inspect_err(|error| running.fail(error))?;
        source.strayed = strayed;
        *running = source;
        Ok(())
    }
}
