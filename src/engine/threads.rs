//! Where queries are planned and computed, and what statements write is looked up: apart from the threads that serve connections, which must never be kept busy for long.
//!
//! A statement that is ended meanwhile is answered at once; its plan is thrown away when it is done, and other work ends at its next look at
//! whether somebody still waits for it.

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};
use crate::types::{Running, STACK_BYTES};

/// Statements that may be planned or written at once, and those that were ended while they were. One that takes long keeps its place and nobody else
/// waits for it before all are taken; a thread that has nothing to do ends after ten seconds.
const PLANNING_MAX: usize = 64;

/// The runtime of queries. Ends without waiting for them.
pub(crate) struct QueryThreads(Option<Runtime>);

impl QueryThreads {
    pub(crate) fn start() -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.thread_name("query").enable_all().thread_stack_size(STACK_BYTES).max_blocking_threads(PLANNING_MAX);
        builder
            .build()
            .map(|runtime| QueryThreads(Some(runtime)))
            .map_err(|cause| Error::external("cannot start threads for queries", cause))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("there until it is dropped").handle()
    }

    /// Waits for work that does not pause. Whoever stops waiting does not stop the work.
    pub(crate) async fn plan<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        crate::serve::aside(self.handle(), work).await
    }

    /// Waits for work in pieces, between which it looks whether somebody still waits.
    pub(crate) async fn work<T: Send + 'static>(&self, work: impl FnOnce(&Running) -> Result<T> + Send + 'static) -> Result<T> {
        let running = Running::default();
        let _waiting = running.waiting();
        self.plan(move || work(&running)).await
    }
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
