//! What a checkpoint holds, and when one may be cut.
//!
//! Always: it is cut when everything ticked is complete and everything that goes on from the last one has read its state back. Views that are not
//! in it are computed anew at the next start; of sinks that are not, the log is kept, which alone knows what they have written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::bounded;

use super::{Coordinator, SETTLING_STEP};
use crate::dataflow::{Command, WorkerCheckpoint};
use crate::engine::reports;
use crate::engine::retention::is_keeper;
use crate::engine::sink::{LOST, RunningSink};
use crate::engine::source::SourcePosition;
use crate::engine::view::{RunningView, ViewStatus};
use crate::state::{CheckpointData, fatal};
use crate::types::{Epoch, NOW, ObjectId};

impl Coordinator {
    /// Cuts a checkpoint at the last epoch: operators' state, relations and source positions, to be stored in one atomic write. Leaves it to the
    /// next interval while one is being written.
    pub(super) fn checkpoint(&mut self) {
        self.next_checkpoint = Instant::now() + self.setting.checkpoint_interval;
        if self.recovering || !self.setting.store.is_durable() || self.ticked == self.checkpointed || self.writer.is_busy() {
            return;
        }
        if !self.settling.is_empty() || !self.restoring.is_empty() {
            self.next_checkpoint = Instant::now() + SETTLING_STEP;
            return;
        }
        self.cut(Vec::new(), Vec::new());
    }

    /// A checkpoint with which definitions change or go.
    pub(super) fn cut(&mut self, definitions: Vec<(ObjectId, Vec<u8>)>, dropped: Vec<ObjectId>) {
        let started = Instant::now();
        self.quiesce();
        self.await_restored();
        let epoch = self.ticked;
        let (sender, parts) = bounded(self.workers.count());
        let ready: Vec<ObjectId> = self.stored_views().filter(|(_, view)| view.status() == ViewStatus::Ready).map(|(id, _)| *id).collect();
        self.workers.broadcast(&Command::Checkpoint { views: Arc::new(ready.clone()), reply: sender });
        let mut parts: Vec<WorkerCheckpoint> = parts.iter().take(self.workers.count()).collect();
        // An operator that could not hand over its state has failed its view.
        let sound = |id: &ObjectId| self.views.get(id).is_some_and(|view| view.progress.failure().is_none());
        let ready: Vec<ObjectId> = ready.into_iter().filter(sound).collect();
        parts.iter_mut().for_each(|part| part.operators.retain(|(operator, _)| ready.contains(&operator.object)));
        let data = CheckpointData { definitions, dropped, ..self.checkpoint_data(epoch, &ready, parts) };
        self.writer.write(data, started);
        self.checkpointed = epoch;
    }

    /// All that runs and is part of checkpoints.
    fn stored_views(&self) -> impl Iterator<Item = (&ObjectId, &Arc<RunningView>)> {
        self.views.iter().filter(|(id, _)| !is_keeper(**id))
    }

    fn checkpoint_data(&self, epoch: Epoch, ready: &[ObjectId], parts: Vec<WorkerCheckpoint>) -> CheckpointData {
        let relations = self.setting.relations.lock().clone();
        let relations_of: BTreeSet<ObjectId> = relations.keys().copied().collect();
        let kept = |id: &ObjectId| !self.views.contains_key(id) || ready.contains(id);
        let relations = relations.into_iter().filter(|(id, _)| kept(id)).map(|(id, relation)| (id, relation.delta(epoch))).collect();
        let running = self.sources.iter().map(|(id, source)| (*id, &source.report));
        let filled = self.tables.iter().map(|(id, table)| (*id, &table.source.report));
        let mut positions: BTreeMap<ObjectId, SourcePosition> = BTreeMap::new();
        let held = |id| self.views.get(&id).is_none_or(|_| ready.contains(&id));
        let mut told = reports::of_objects(&self.setting.row_errors, &self.setting.late, held);
        for (id, report) in running.chain(filled) {
            let mut report = report.lock();
            positions.insert(id, report.position.clone());
            told.push((id, reports::of_source(&mut report)));
        }
        for object in self.event_times.objects() {
            // A source that nobody reads stays where it was stored.
            let is_written = relations_of.contains(&object);
            if let Some(event_time) = self.event_times.stored(object)
                && (is_written || positions.contains_key(&object))
            {
                positions.entry(object).or_default().event_time = event_time;
            }
        }
        // Stamps, and what goes by them, never go back behind it, whatever the clock on the wall says after a restart.
        let clock = self.event_times.watermarks().get(&NOW).copied();
        positions.insert(NOW, SourcePosition::of_clock(clock));
        let mut offsets: Vec<(ObjectId, Vec<u8>)> = positions.into_iter().map(|(id, position)| (id, position.encoded())).collect();
        // A view's entry says that its state is part of the checkpoint; without one it is computed anew.
        let mark = |id: &ObjectId, view: &RunningView| match &view.sink {
            _ if ready.contains(id) => view.mark(),
            // Its log was cut: what it has written cannot be told any more.
            Some(sink) if sink.is_stored() => LOST.to_vec(),
            _ => Vec::new(),
        };
        offsets.extend(self.stored_views().map(|(id, view)| (*id, mark(id, view))));
        let sinks = || self.stored_views().filter_map(|(id, view)| Some((*id, view.sink.as_ref()?)));
        let owed = |sink: &RunningSink| match sink.store(epoch) {
            Ok(owed) => owed,
            Err(error) => fatal("what a sink has still to write could not be stored", &error),
        };
        // No checkpoint holds them, so what they have written is known from the log alone.
        let has_log = |sink: &&Arc<RunningSink>| !ready.contains(&sink.id) && !sink.is_stored();
        CheckpointData {
            owed: sinks().filter(|(id, _)| ready.contains(id)).map(|(id, sink)| (id, owed(sink))).collect(),
            keep_log: self.setting.sinks.read().values().filter(has_log).map(|sink| sink.id).collect(),
            epoch,
            workers: self.workers.count(),
            operators: parts.into_iter().flat_map(|part| part.operators).collect(),
            relations,
            offsets,
            reports: told,
            ..CheckpointData::default()
        }
    }
}
