//! How far each dataflow has come, told by the workers and read by everyone else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::dataflow::operator::StateSize;
use crate::dataflow::pressure::Pressure;
use crate::error::{Error, Kind};
use crate::types::Epoch;

/// Wakes whoever waits for progress: the coordinator. Called by workers after each advance; must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// One dataflow's progress. Workers write, each its own place.
pub struct DataflowProgress {
    /// Per worker the first epoch that is not finished there.
    frontiers: Vec<AtomicU64>,
    /// Workers that still read what was there before the dataflow.
    hydrating: AtomicUsize,
    /// Rows read so far of what was there before.
    rows_hydrated: AtomicU64,
    /// How many rows there are to read, where that is known; 0 otherwise.
    rows_total: AtomicU64,
    /// Rows that came out since the start, per sign.
    rows_out: AtomicU64,
    /// Bytes of changes that wait until what was there before has been read.
    waiting_bytes: AtomicU64,
    failure: Mutex<Option<Error>>,
    /// Per stateful node (number, name) what each worker holds.
    sizes: Mutex<BTreeMap<usize, Vec<(u32, String, StateSize)>>>,
    /// What waits between the operators, once the first worker has built them.
    pressure: OnceLock<Pressure>,
    wake: Wake,
}

impl DataflowProgress {
    /// For a dataflow on `workers` workers.
    pub fn new(workers: usize, wake: Wake) -> Self {
        DataflowProgress {
            frontiers: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            hydrating: AtomicUsize::new(workers),
            rows_hydrated: AtomicU64::new(0),
            rows_total: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            failure: Mutex::new(None),
            sizes: Mutex::new(BTreeMap::new()),
            pressure: OnceLock::new(),
            wake,
        }
    }

    /// The first epoch that is not finished on every worker.
    pub fn frontier(&self) -> Epoch {
        self.frontiers.iter().map(|frontier| frontier.load(Ordering::Acquire)).min().unwrap_or(Epoch::MAX)
    }

    /// Whether some worker still reads what was there before.
    pub fn is_hydrating(&self) -> bool {
        self.hydrating.load(Ordering::Acquire) > 0
    }

    /// Rows read of what was there before, and how many there are where that is known.
    pub fn hydration(&self) -> (u64, Option<u64>) {
        let total = self.rows_total.load(Ordering::Relaxed);
        (self.rows_hydrated.load(Ordering::Relaxed), (total > 0).then_some(total))
    }

    /// Says how many rows there are to read.
    pub fn expect_rows(&self, rows: u64) {
        self.rows_total.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows that changed in the output since the start.
    pub fn rows_out(&self) -> u64 {
        self.rows_out.load(Ordering::Relaxed)
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().as_ref().map(Error::to_string)
    }

    /// Why it failed, if that was an error with something that the user can do about it.
    pub fn failure_with_hint(&self) -> Option<Error> {
        self.failure.lock().clone().filter(|error| error.hint_text().is_some())
    }

    /// What its operators hold, by node: the sum over the workers as each last told.
    pub fn sizes(&self) -> Vec<(u32, String, StateSize)> {
        let mut sums: Vec<(u32, String, StateSize)> = Vec::new();
        for (node, name, size) in self.sizes.lock().values().flatten() {
            match sums.iter_mut().find(|(known, ..)| known == node) {
                Some((_, _, sum)) => {
                    sum.rows += size.rows;
                    sum.bytes += size.bytes;
                }
                None => sums.push((*node, name.clone(), *size)),
            }
        }
        sums
    }

    /// Bytes of changes that wait until what was there before has been read.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Says how many nodes the plan has.
    pub(crate) fn expect_nodes(&self, nodes: usize) {
        self.pressure.get_or_init(|| Pressure::new(nodes));
    }

    /// What waits between the operators.
    pub(crate) fn pressure(&self) -> &Pressure {
        self.pressure.get().expect("a dataflow's size is known before its operators are built")
    }

    pub(crate) fn add_waiting(&self, bytes: usize) {
        self.waiting_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn remove_waiting(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, worker: usize, frontier: Epoch) {
        self.frontiers[worker].store(frontier, Ordering::Release);
        (self.wake)();
    }

    pub(crate) fn hydrated(&self) {
        self.hydrating.fetch_sub(1, Ordering::AcqRel);
        (self.wake)();
    }

    pub(crate) fn count_hydrated(&self, rows: usize) {
        self.rows_hydrated.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_out(&self, rows: usize) {
        self.rows_out.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self, cause: String) {
        self.fail_with(Error::new(Kind::ObjectState, cause));
    }

    pub(crate) fn fail_with(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
        (self.wake)();
    }

    /// Notes one worker's sizes: workers tell theirs in any order.
    pub(crate) fn report_sizes(&self, worker: usize, mine: Vec<(u32, String, StateSize)>) {
        self.sizes.lock().insert(worker, mine);
    }
}
