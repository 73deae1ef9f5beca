//! The only folder that knows the whole: sessions, statements, the coordinator, recovery.
//!
//! A `Session` is one client's. It executes statements: definitions change the catalog and command the coordinator, writes join the clock's
//! open epoch, queries read relations at a complete epoch on the caller's own task.

mod access;
mod alter;
mod alter_columns;
mod alter_key;
mod arrival;
mod catalog_change;
mod checkpoint_writer;
mod clock;
mod column_needs;
mod comment;
mod coordinator;
mod copy;
mod create;
mod cursor;
mod definition;
mod dependants;
mod dml;
mod drop;
mod event_time;
mod execute;
mod explain;
mod function;
mod index;
mod intake;
mod interrupt;
mod metrics;
mod moment;
mod outcome;
mod query;
mod recover;
mod registry;
mod replace;
mod reports;
mod retention;
mod retrace;
mod savepoint;
mod session;
mod settings;
mod show;
mod sink;
mod source;
mod system;
#[cfg(test)]
mod tests;
mod threads;
mod transaction;
mod view;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crossbeam_channel::Sender;
use parking_lot::{Mutex, RwLock};

pub use self::metrics::describe_metrics;
pub use interrupt::{Ended, Interrupt};
pub use outcome::{CopyTarget, Description, Notice, Outcome, Parameter, RowStream, TransactionStatus};
pub use session::{Session, Startup};
pub use settings::SERVER_VERSION;

use crate::catalog::Catalog;
use crate::config::Config;
use crate::dataflow::{LateLog, RowErrorLog};
use crate::engine::clock::EpochClock;
use crate::engine::coordinator::Request;
use crate::engine::event_time::EventTimeReport;
use crate::engine::registry::Registry;
use crate::engine::sink::RunningSink;
use crate::engine::source::{SourceRecipe, SourceReport};
use crate::engine::threads::QueryThreads;
use crate::engine::view::{RunningView, ViewStatus};
use crate::error::Result;
use crate::plan::Planner;
use crate::state::{Leases, Relation, Store};
use crate::types::{Clock, ObjectId};

/// The database.
pub struct Engine {
    config: Config,
    store: Arc<Store>,
    planner: Arc<Planner>,
    queries: QueryThreads,
    wall: Arc<dyn Clock>,
    /// When it started, microseconds since 1970.
    started_micros: i64,
    catalog: RwLock<Arc<Catalog>>,
    next_id: AtomicU32,
    clock: Arc<EpochClock>,
    leases: Arc<Leases>,
    /// The rows of every table and view.
    relations: Arc<Mutex<BTreeMap<ObjectId, Arc<Relation>>>>,
    views: RwLock<BTreeMap<ObjectId, Arc<RunningView>>>,
    sinks: Arc<RwLock<BTreeMap<ObjectId, Arc<RunningSink>>>>,
    sources: RwLock<BTreeMap<ObjectId, KnownSource>>,
    row_errors: Arc<RowErrorLog>,
    late_rows: Arc<LateLog>,
    /// How far event time is, of all tables and sources that say when events were.
    event_times: Arc<Mutex<BTreeMap<ObjectId, EventTimeReport>>>,
    /// Writers of one table take turns: held from the first look at the table until the write has joined an epoch.
    table_locks: Mutex<BTreeMap<ObjectId, Arc<tokio::sync::Mutex<()>>>>,
    /// Definitions change one at a time.
    ddl: tokio::sync::Mutex<()>,
    coordinator: Sender<Request>,
    coordinator_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    wake: crate::dataflow::Wake,
    registry: Registry,
    stopping: AtomicBool,
}

/// A source, or a table that a connector fills.
#[derive(Clone)]
pub(crate) struct KnownSource {
    pub(crate) recipe: SourceRecipe,
    pub(crate) report: Arc<Mutex<SourceReport>>,
}

impl Engine {
    /// The names of sources that have stopped for good.
    pub fn failed_sources(&self) -> Vec<String> {
        let catalog = self.catalog();
        let sources = self.sources.read();
        let failed = sources.iter().filter(|(_, source)| source.report.lock().status.starts_with("failed"));
        failed.filter_map(|(id, _)| catalog.get(*id).map(|object| object.name.clone())).collect()
    }

    /// The names of views that have failed.
    pub fn failed_views(&self) -> Vec<String> {
        let views = self.views.read();
        views.values().filter(|view| matches!(view.status(), ViewStatus::Failed(_))).map(|view| view.name().to_string()).collect()
    }

    /// Makes a last checkpoint and ends the workers.
    pub async fn stop(&self) {
        if self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        let (reply, done) = tokio::sync::oneshot::channel();
        if self.coordinator.send(Request::Stop { reply }).is_ok() {
            // An error means that the coordinator has gone already.
            drop(done.await);
        }
        // It lets go of the store as it ends: RocksDB must be closed before the process runs its exit handlers.
        let thread = self.coordinator_thread.lock().take();
        if let Some(thread) = thread
            && let Ok(Err(_)) = tokio::task::spawn_blocking(move || thread.join()).await
        {
            tracing::error!("the coordinator has panicked");
        }
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read())
    }

    /// The lock of a table's writers.
    fn table_lock(&self, table: ObjectId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.table_locks.lock().entry(table).or_default())
    }

    fn ask(&self, request: Request) -> Result<()> {
        self.coordinator.send(request).map_err(|_| crate::error::Error::new(crate::error::Kind::Shutdown, "the server is shutting down"))
    }
}
