//! Writes checkpoints beside the coordinator, so that commits do not wait for it.
//!
//! In: what a checkpoint holds, complete and of one epoch. Out: it is on the disk, at the latest when `settled` returns.
//! Always: one is written at a time, in the order in which they were cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::state::{CheckpointData, Store, fatal};

/// Writes checkpoints.
pub(crate) struct CheckpointWriter {
    store: Arc<Store>,
    writing: Option<JoinHandle<()>>,
}

impl CheckpointWriter {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        CheckpointWriter { store, writing: None }
    }

    /// Whether a checkpoint is still being written.
    pub(crate) fn is_busy(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| !writing.is_finished())
    }

    /// Begins to write a checkpoint, once the one before is on the disk. `started`: when it was begun to be cut.
    pub(crate) fn write(&mut self, data: CheckpointData, started: Instant) {
        let store = Arc::clone(&self.store);
        self.run(move || {
            let (epoch, cut) = (data.epoch, started.elapsed());
            store.checkpoint(data);
            metrics::histogram!("tidemill_checkpoint_seconds").record(started.elapsed().as_secs_f64());
            tracing::debug!(epoch, cut_ms = cut.as_millis(), total_ms = started.elapsed().as_millis(), "checkpoint");
        });
    }

    /// The store, with every checkpoint that was begun on the disk: for whoever goes on from what is stored.
    pub(crate) fn settled(&mut self) -> &Store {
        if let Some(writing) = self.writing.take()
            && writing.join().is_err()
        {
            fatal("a checkpoint could not be written", &"its thread has panicked");
        }
        &self.store
    }

    fn run(&mut self, work: impl FnOnce() + Send + 'static) {
        self.settled();
        let work = || {
            // Nobody may come to wait for it before the process has to end anyway.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                fatal("a checkpoint could not be written", &"see the panic message above");
            }
        };
        match std::thread::Builder::new().name("checkpoint".to_owned()).spawn(work) {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => fatal("a checkpoint could not be written", &error),
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.settled();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};

    use super::CheckpointWriter;
    use crate::state::Store;

    #[test]
    fn the_coordinator_waited_for_the_disk() {
        let mut writer = CheckpointWriter::new(Arc::new(Store::in_memory()));
        let (go, wait) = mpsc::channel::<()>();
        let done = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&done);
        writer.run(move || {
            wait.recv().unwrap();
            told.store(true, Ordering::SeqCst);
        });
        // Here the coordinator ticks and commits.
        assert!(writer.is_busy());
        go.send(()).unwrap();
        writer.settled();
        assert!(done.load(Ordering::SeqCst) && !writer.is_busy());
    }
}
