//! A source as it runs: one thread that reads, a bounded queue, and what is known of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::connect::{Connector, DeadLetter, Poll, Positions, Reader, SourceBatch};
use crate::dataflow::operator::Stateless;
use crate::dataflow::operator::map::Map;
use crate::dataflow::{Feed, FeedStep, Wake};
use crate::error::Result;
use crate::types::{Changes, ObjectId};

/// Batches that wait between a reader and the clock. Enough to keep both busy; when it is full, reading pauses.
const QUEUE_BATCHES: usize = 8;

/// Dead letters of a source that are kept; all are counted.
const DEAD_LETTERS_KEPT: usize = 1_000;

/// How long a reader waits for records before it looks whether it should end.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// How long a reader rests when the outside world does not answer.
const DEGRADED_PAUSE: Duration = Duration::from_millis(500);

/// What a checkpoint keeps of a source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SourcePosition {
    /// Where to read on.
    pub(crate) positions: Positions,
    /// Rows read since it was created.
    pub(crate) rows: u64,
    /// Dead letters since it was created.
    pub(crate) dead_letters: u64,
}

/// What can be seen of a source from outside: `tidemill.sources` and `tidemill.dead_letters`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceReport {
    /// Position and counts as of the newest epoch.
    pub(crate) position: SourcePosition,
    /// `running`, `degraded: why`, `finished`.
    pub(crate) status: String,
    /// Records behind the position, by partition, where known.
    pub(crate) lag: Option<i64>,
    /// The newest dead letters with the time (microseconds since 1970) they were seen.
    pub(crate) dead_letters: VecDeque<(i64, DeadLetter)>,
}

/// Makes what computes generated columns, for each thread its own.
pub(crate) type MakeMap = Arc<dyn Fn() -> Map + Send + Sync>;

/// How to read a source.
#[derive(Clone)]
pub(crate) struct SourceRecipe {
    pub(crate) id: ObjectId,
    pub(crate) connector: Arc<dyn Connector>,
    /// Turns the connector's columns into the object's: computes generated ones.
    pub(crate) compute: Option<MakeMap>,
}

/// A source that is being read.
pub(crate) struct RunningSource {
    pub(crate) report: Arc<Mutex<SourceReport>>,
    pub(crate) queue: Receiver<SourceBatch>,
    stop: Arc<AtomicBool>,
}

impl RunningSource {
    /// Starts a thread that reads from `from` on.
    pub(crate) fn start(recipe: SourceRecipe, from: SourcePosition, report: Arc<Mutex<SourceReport>>, wake: Wake) -> Result<Self> {
        let reader = recipe.connector.start(&from.positions, None)?;
        let (sender, queue) = bounded(QUEUE_BATCHES);
        let stop = Arc::new(AtomicBool::new(false));
        {
            let mut report = report.lock();
            report.position = from;
            "running".clone_into(&mut report.status);
        }
        let thread =
            ReaderThread { reader, compute: recipe.compute.as_ref().map(|make| make()), queue: sender, stop: Arc::clone(&stop), wake };
        let shown = Arc::clone(&report);
        std::thread::Builder::new()
            .name(format!("source-{}", recipe.id))
            .spawn(move || thread.run(|status| status.clone_into(&mut shown.lock().status)))
            .map_err(|cause| crate::error::Error::external("cannot start a thread for the source", cause))?;
        Ok(RunningSource { report, queue, stop })
    }

    /// Notes that a batch has entered an epoch.
    pub(crate) fn note(&self, batch: &mut SourceBatch, now_micros: i64) {
        let mut report = self.report.lock();
        report.position.positions.insert(batch.partition, batch.next_offset);
        report.position.rows += batch.changes.len() as u64;
        report.position.dead_letters += batch.dead_letters.len() as u64;
        if batch.lag.is_some() {
            report.lag = batch.lag;
        }
        for letter in batch.dead_letters.drain(..) {
            if report.dead_letters.len() == DEAD_LETTERS_KEPT {
                report.dead_letters.pop_front();
            }
            report.dead_letters.push_back((now_micros, letter));
        }
    }
}

impl Drop for RunningSource {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct ReaderThread {
    reader: Box<dyn Reader>,
    compute: Option<Map>,
    queue: Sender<SourceBatch>,
    stop: Arc<AtomicBool>,
    wake: Wake,
}

impl ReaderThread {
    fn run(mut self, status: impl Fn(&str)) {
        let mut degraded = false;
        while !self.stop.load(Ordering::Acquire) {
            match self.reader.poll(POLL_WAIT) {
                Poll::Batch(batch) => {
                    if std::mem::take(&mut degraded) {
                        status("running");
                    }
                    let batch = computed(batch, self.compute.as_mut());
                    if !self.send(batch) {
                        return;
                    }
                }
                Poll::Pending => {}
                Poll::Degraded(why) => {
                    degraded = true;
                    status(&format!("degraded: {why}"));
                    std::thread::sleep(DEGRADED_PAUSE);
                }
                Poll::End => {
                    status("finished");
                    return;
                }
            }
        }
    }

    /// Waits for room in the queue. Returns false when nobody wants the source any more.
    fn send(&self, batch: SourceBatch) -> bool {
        let mut batch = batch;
        loop {
            match self.queue.try_send(batch) {
                Ok(()) => {
                    (self.wake)();
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => {
                    batch = back;
                    (self.wake)();
                    match self.queue.send_timeout(batch, POLL_WAIT) {
                        Ok(()) => {
                            (self.wake)();
                            return true;
                        }
                        Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => return false,
                        Err(crossbeam_channel::SendTimeoutError::Timeout(back)) => batch = back,
                    }
                    if self.stop.load(Ordering::Acquire) {
                        return false;
                    }
                }
            }
        }
    }
}

fn computed(mut batch: SourceBatch, compute: Option<&mut Map>) -> SourceBatch {
    if let Some(map) = compute {
        let mut out = Vec::new();
        let schema = batch.changes.schema();
        let changes = std::mem::replace(&mut batch.changes, Changes::empty(schema));
        // A generated column that cannot be computed is NULL: the map tells its row errors itself.
        if map.apply(changes, &mut out).is_ok()
            && let Some(first) = out.first()
        {
            batch.changes = Changes::concat(&first.schema(), &out);
        }
    }
    batch
}

/// What a source delivered before a view came: read again, up to where the others are, by a reader of its own.
pub(crate) struct ReplayFeed {
    queue: Receiver<SourceBatch>,
    stop: Arc<AtomicBool>,
}

impl ReplayFeed {
    /// Replays `recipe` from its start up to `until`.
    pub(crate) fn start(recipe: &SourceRecipe, until: &Positions) -> Result<Self> {
        let reader = recipe.connector.start(&Positions::new(), Some(until))?;
        let (sender, queue) = bounded(QUEUE_BATCHES);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = ReaderThread {
            reader,
            compute: recipe.compute.as_ref().map(|make| make()),
            queue: sender,
            stop: Arc::clone(&stop),
            wake: Arc::new(|| {}),
        };
        std::thread::Builder::new()
            .name(format!("replay-{}", recipe.id))
            .spawn(move || thread.run(|_| {}))
            .map_err(|cause| crate::error::Error::external("cannot start a thread for the replay", cause))?;
        Ok(ReplayFeed { queue, stop })
    }
}

impl Feed for ReplayFeed {
    fn next(&self) -> FeedStep {
        match self.queue.try_recv() {
            Ok(batch) => FeedStep::Batch(batch.changes),
            Err(crossbeam_channel::TryRecvError::Empty) => FeedStep::Pending,
            Err(crossbeam_channel::TryRecvError::Disconnected) => FeedStep::Done,
        }
    }
}

impl Drop for ReplayFeed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}
