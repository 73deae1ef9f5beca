//! The only way into a worker. Every worker gets the same commands in the same order, and so builds the same dataflows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::dataflow::feed::{Feed, SnapshotFeed};
use crate::dataflow::late_rows::LateLog;
use crate::dataflow::outlet::Outlet;
use crate::dataflow::progress::DataflowProgress;
use crate::dataflow::row_errors::RowErrorSink;
use crate::plan::Plan;
use crate::state::{Relation, StateChanges, Store};
use crate::types::{Changes, Epoch, ObjectId, OperatorId, Watermarks};

/// One order to all workers.
#[derive(Clone)]
pub enum Command {
    /// Start a dataflow.
    Build(Arc<Dataflow>, Arc<Beginning>),
    /// Stop the dataflow that maintains this view.
    Drop(ObjectId),
    /// The columns of a table or source stand elsewhere from the next epoch on: by their old positions the new ones. Sent when all earlier epochs
    /// are finished everywhere and nobody hydrates from the object.
    MoveColumns {
        /// Whose.
        object: ObjectId,
        /// Those that a dataflow reads are still there.
        places: Arc<[Option<usize>]>,
        /// The rows with the new columns, of an object that keeps rows.
        relation: Option<Arc<Relation>>,
    },
    /// Everything that enters in this epoch has been handed in, here; nothing else will.
    Tick(Arc<Tick>),
    /// Hand over what changed in the operators' state. Sent when all earlier epochs are finished everywhere, so the state is that of the last.
    Checkpoint {
        /// The views that are in it: those that have finished all earlier epochs.
        views: Arc<Vec<ObjectId>>,
        /// Where to hand it over.
        reply: Sender<WorkerCheckpoint>,
    },
    /// Report state sizes to each dataflow's progress.
    Measure,
    /// End.
    Stop,
}

/// The input of one epoch.
pub struct Tick {
    /// Which.
    pub epoch: Epoch,
    /// For each table or source that changed, each worker's share.
    pub inputs: BTreeMap<ObjectId, Vec<Vec<Changes>>>,
    /// How far event time is after it.
    pub watermarks: Arc<Watermarks>,
    /// The dataflows that it does not reach: nothing that they read has rows in it, and they have read all that was there before them. They finish the
    /// epoch as soon as those before it. Whoever reads one that is not among them is not among them either.
    pub still: BTreeSet<ObjectId>,
}

/// Where a dataflow's answer goes.
#[derive(Clone)]
pub enum Target {
    /// It is kept, a shard for each worker.
    Relation(Arc<Relation>),
    /// Its changes are taken elsewhere.
    Outlet(Arc<Outlet>),
    /// It is thrown away (to measure the engine).
    Nothing,
}

impl Target {
    /// Whether so much waits there that nothing should be added that can wait.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Target::Outlet(outlet) if outlet.is_full())
    }
}

/// What a dataflow needs when it is built. It goes when it has been read.
#[derive(Default)]
pub struct Beginning {
    /// For each import node, by its number, what was there before, unless state is restored.
    pub feeds: BTreeMap<u32, Arc<dyn Feed>>,
    /// Import nodes whose changes wait until another one has read all that was there before, by its feed: they have nothing to read themselves.
    pub followers: BTreeMap<u32, Arc<SnapshotFeed>>,
    /// The rows of tables and views that its joins look into.
    pub kept: BTreeMap<ObjectId, Arc<Relation>>,
}

/// A dataflow to be built.
pub struct Dataflow {
    /// The view or sink it maintains.
    pub object: ObjectId,
    /// What it computes.
    pub plan: Plan,
    /// Where the answer goes.
    pub target: Target,
    /// The epochs from `first` to `last` are this dataflow's alone: in them it reads what was there before. `last` is the epoch as of which
    /// everyone else starts behind. After recovery nothing is read and `last` is the checkpoint's epoch.
    pub first: Epoch,
    /// See `first`.
    pub last: Epoch,
    /// Where to read operators' state back from, after a restart.
    pub restore: Option<Arc<Store>>,
    /// Whether checkpoints hold the state of its operators.
    pub in_checkpoints: bool,
    /// How far event time is after `last`.
    pub watermarks: Arc<Watermarks>,
    /// Where rows whose expressions fail are told.
    pub errors: RowErrorSink,
    /// Where rows that come too late are counted.
    pub late: Arc<LateLog>,
    /// Where workers tell how far they are.
    pub progress: Arc<DataflowProgress>,
}

/// One worker's part of a checkpoint.
#[derive(Default)]
pub struct WorkerCheckpoint {
    /// What changed, by operator.
    pub operators: Vec<(OperatorId, StateChanges)>,
}
