//! The worker threads: started once, commanded together.

use crossbeam_channel::{Receiver, Sender, unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{JoinHandle, Thread};
use std::time::Instant;

use timely::WorkerConfig;
use timely::communication::allocator::ProcessBuilder;
use timely::communication::{Allocator, Hooks};
use timely::worker::Worker;

use crate::dataflow::command::Command;
use crate::dataflow::worker;
use crate::error::{Error, Result};
use crate::state::fatal;
use crate::types::STACK_BYTES;

/// All workers of this process.
pub struct Workers {
    commands: Vec<Sender<Command>>,
    threads: Vec<Thread>,
    running: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads that wait for commands. Not by timely's own `execute`: its threads have a stack of the usual size, and an
    /// expression is evaluated, and dropped, by one call within another for each of its levels.
    ///
    /// Commands have no limit of their own, since the coordinator must not wait for one worker while others wait for it: those that carry rows are
    /// of the epochs in flight, of which there are two, and all others answer one request each.
    pub fn start(count: usize) -> Result<Self> {
        let Hooks { refill, spill, .. } = Hooks::default();
        let (mut commands, mut running) = (Vec::with_capacity(count), Vec::with_capacity(count));
        // One worker alone needs no channels between threads.
        let channels =
            if count == 1 { vec![None] } else { ProcessBuilder::new_typed_vector(count, refill, spill).into_iter().map(Some).collect() };
        for (index, channels) in channels.into_iter().enumerate() {
            let (sender, receiver) = unbounded();
            let work = move || {
                let allocator =
                    channels.map_or_else(|| Allocator::Thread(Default::default()), |channels| Allocator::Process(channels.build()));
                run_worker(Worker::new(WorkerConfig::default(), allocator, Some(Instant::now())), &receiver);
            };
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).stack_size(STACK_BYTES).spawn(work);
            running.push(thread.map_err(|cause| Error::external("cannot start the workers", cause))?);
            commands.push(sender);
        }
        Ok(Workers { commands, threads: running.iter().map(|worker| worker.thread().clone()).collect(), running })
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
        for worker in self.running.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

/// One worker, to its end.
fn run_worker(mut timely: Worker, commands: &Receiver<Command>) {
    // Without one of its workers the database stands still; a restart recovers.
    if catch_unwind(AssertUnwindSafe(|| worker::run(&mut timely, commands))).is_err() {
        fatal("a worker has failed", &"see the panic message above");
    }
    while timely.has_dataflows() {
        timely.step_or_park(None);
    }
}

impl Drop for Workers {
    /// Whoever forgets to stop them, because something has failed, must not leave them waiting for commands.
    fn drop(&mut self) {
        self.stop();
    }
}
