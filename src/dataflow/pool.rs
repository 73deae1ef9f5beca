//! The worker threads: started once, commanded together.

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::Thread;

use timely::{CommunicationConfig, Config, WorkerConfig};

use crate::dataflow::command::Command;
use crate::dataflow::worker;
use crate::error::{Error, Result};
use crate::state::fatal;

/// All workers of this process.
pub struct Workers {
    commands: Vec<Sender<Command>>,
    threads: Vec<Thread>,
    guards: Option<timely::communication::WorkerGuards<()>>,
}

impl Workers {
    /// Starts `count` threads that wait for commands.
    pub fn start(count: usize) -> Result<Self> {
        let (senders, receivers): (Vec<Sender<Command>>, Vec<Receiver<Command>>) = (0..count).map(|_| unbounded()).unzip();
        let (started, threads) = unbounded();
        let receivers = Arc::new(Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>()));
        let communication = if count == 1 { CommunicationConfig::Thread } else { CommunicationConfig::Process(count) };
        let guards = timely::execute(Config { communication, worker: WorkerConfig::default() }, move |timely| {
            let index = timely.index();
            let commands = receivers.lock()[index].take().expect("each worker starts once");
            started.send((index, std::thread::current())).expect("the pool waits for it");
            // Without one of its workers the database stands still; a restart recovers.
            if catch_unwind(AssertUnwindSafe(|| worker::run(timely, &commands))).is_err() {
                fatal("a worker has failed", &"see the panic message above");
            }
        })
        .map_err(|cause| Error::external("cannot start the workers", cause))?;
        let mut threads: Vec<(usize, Thread)> = threads.iter().take(count).collect();
        threads.sort_by_key(|(index, _)| *index);
        Ok(Workers { commands: senders, threads: threads.into_iter().map(|(_, thread)| thread).collect(), guards: Some(guards) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.commands.len()
    }

    /// Gives all workers the same command, behind all earlier ones.
    pub fn broadcast(&self, command: &Command) {
        for (commands, thread) in self.commands.iter().zip(&self.threads) {
            // A worker that is gone has panicked; joining it will say so.
            drop(commands.send(command.clone()));
            thread.unpark();
        }
    }

    /// Ends all workers and waits for them. A second time does nothing.
    pub fn stop(&mut self) {
        self.broadcast(&Command::Stop);
        if let Some(guards) = self.guards.take() {
            for result in guards.join() {
                if let Err(cause) = result {
                    tracing::error!(%cause, "a worker ended with an error");
                }
            }
        }
    }
}

impl Drop for Workers {
    /// Whoever forgets to stop them, because something has failed, must not leave them waiting for commands.
    fn drop(&mut self) {
        self.stop();
    }
}
