//! A materialised view as it runs, or the dataflow of a sink: its rows, its progress, and whether it can be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::dataflow::{DataflowProgress, Target};
use crate::engine::sink::RunningSink;
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::state::Relation;
use crate::types::{Epoch, ObjectId, Rate};

/// A materialised view's run-time side.
pub(crate) struct RunningView {
    pub(crate) id: ObjectId,
    /// As it is called by now, and what maintains it, by where the columns are that it reads.
    described: RwLock<(Arc<str>, Arc<Plan>)>,
    /// What it reads. A plan that takes the place of another one over moved columns reads the same.
    pub(crate) imports: Vec<ObjectId>,
    /// Time alone may change it, or an epoch without rows.
    pub(crate) follows_time: bool,
    /// `None` for a view that throws its rows away.
    pub(crate) relation: Option<Arc<Relation>>,
    /// Of a sink: where its changes go.
    pub(crate) sink: Option<Arc<RunningSink>>,
    pub(crate) progress: Arc<DataflowProgress>,
    /// The first epoch at which it has rows: set when it is built.
    valid_from: AtomicU64,
    status: watch::Sender<ViewStatus>,
    /// Of the rows read of what was there before it.
    rate: Mutex<Rate>,
}

/// Says in a checkpoint that the state of a view with this plan is part of it. Another plan for the same SQL, as a later version may make
/// it, cannot use that state.
pub(crate) fn mark(plan: &Plan) -> Vec<u8> {
    format!("ready {:016x}", plan.fingerprint()).into_bytes()
}

/// Whether a view can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ViewStatus {
    /// It still reads what was there before it.
    Hydrating,
    /// It has read that, and the clock now waits for it like for all others, but it has not reached the newest complete epoch.
    Joining,
    /// It can be read at every complete epoch.
    Ready,
    /// It stopped; the text says why.
    Failed(String),
    /// It is gone, and with it whatever would have been waited for.
    Dropped,
}

impl RunningView {
    pub(crate) fn new(id: ObjectId, name: String, plan: Plan, relation: Option<Arc<Relation>>, progress: Arc<DataflowProgress>) -> Self {
        RunningView {
            id,
            imports: plan.root.imports(),
            follows_time: plan.root.follows_time(),
            described: RwLock::new((name.into(), Arc::new(plan))),
            relation,
            sink: None,
            progress,
            valid_from: AtomicU64::new(Epoch::MAX),
            status: watch::Sender::new(ViewStatus::Hydrating),
            rate: Mutex::default(),
        }
    }

    /// The dataflow of a sink.
    pub(crate) fn of_sink(id: ObjectId, name: String, plan: Plan, sink: Arc<RunningSink>, progress: Arc<DataflowProgress>) -> Self {
        RunningView { sink: Some(sink), ..RunningView::new(id, name, plan, None, progress) }
    }

    /// Where its answer goes.
    pub(crate) fn target(&self) -> Target {
        match (&self.relation, &self.sink) {
            (Some(relation), _) => Target::Relation(Arc::clone(relation)),
            (None, Some(sink)) => Target::Outlet(Arc::clone(&sink.outlet)),
            (None, None) => Target::Nothing,
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.described.read().0)
    }

    /// What maintains it.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.described.read().1)
    }

    /// It is called otherwise from now on.
    pub(crate) fn rename(&self, name: &str) {
        self.described.write().0 = name.into();
    }

    /// The plan says the same over columns that stand elsewhere.
    pub(crate) fn move_plan(&self, plan: Plan) {
        self.described.write().1 = Arc::new(plan);
    }

    /// What a checkpoint that holds the view's state says about it: that it does, and of which plan.
    pub(crate) fn mark(&self) -> Vec<u8> {
        mark(&self.plan())
    }

    /// The first epoch at which it can be read.
    pub(crate) fn valid_from(&self) -> Epoch {
        self.valid_from.load(Ordering::Acquire)
    }

    pub(crate) fn set_valid_from(&self, epoch: Epoch) {
        self.valid_from.store(epoch, Ordering::Release);
    }

    /// Notes how many rows it has read of what was there before it.
    pub(crate) fn note_rate(&self, now_micros: i64) {
        self.rate.lock().note(now_micros, 0, self.progress.hydration().0);
    }

    /// Rows per second that it reads of what was there before it.
    pub(crate) fn rate(&self, now_micros: i64) -> f64 {
        self.rate.lock().per_second(now_micros, self.progress.hydration().0)
    }

    pub(crate) fn status(&self) -> ViewStatus {
        self.status.borrow().clone()
    }

    pub(crate) fn set_status(&self, status: ViewStatus) {
        self.status.send_if_modified(|now| {
            let changed = *now != status;
            *now = status;
            changed
        });
    }

    /// Waits until the view can be read.
    pub(crate) async fn wait_ready(&self) -> Result<()> {
        let mut status = self.status.subscribe();
        let status = status.wait_for(|status| matches!(status, ViewStatus::Ready | ViewStatus::Failed(_) | ViewStatus::Dropped)).await;
        match status.as_deref() {
            Ok(ViewStatus::Failed(cause)) => Err(self.failed(cause)),
            Ok(ViewStatus::Dropped) => Err(self.dropped()),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(Kind::Shutdown, "the server is shutting down")),
        }
    }

    /// The rows, or why there are none.
    pub(crate) fn readable(&self) -> Result<&Arc<Relation>> {
        match self.status() {
            ViewStatus::Failed(cause) => return Err(self.failed(&cause)),
            ViewStatus::Dropped => return Err(self.dropped()),
            _ => {}
        }
        self.relation.as_ref().ok_or_else(|| {
            Error::new(Kind::ObjectState, format!("materialized view \"{}\" keeps no rows", self.name()))
                .hint("It was created WITH (discard = true).")
        })
    }

    fn dropped(&self) -> Error {
        Error::new(Kind::UndefinedTable, format!("materialized view \"{}\" was dropped meanwhile", self.name()))
    }

    fn failed(&self, cause: &str) -> Error {
        if let Some(error) = self.progress.failure_with_hint() {
            let failed = Error::new(error.kind(), format!("materialized view \"{}\" has failed: {}", self.name(), error.message()));
            return failed.hint(error.hint_text().unwrap_or_default());
        }
        Error::new(Kind::ObjectState, format!("materialized view \"{}\" has failed", self.name()))
            .detail(cause.to_owned())
            .hint("Drop it and create it again; other views go on.")
    }
}
