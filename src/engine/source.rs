//! A source as it runs: one thread that reads, a bounded queue, and what is known of it.
//!
//! Always: where a source begins is on the disk before a row of it is seen, and never changes. So all views of a source have the same
//! rows of it, whenever they were made, and whatever its options or its retention say by then.

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::catalog::system::DeadLetterFacts;
use crate::connect::{Connector, DeadLetter, Fingerprints, Poll, Positions, Reader, SourceBatch};
use crate::dataflow::{Feed, FeedStep, RowErrorSink, Wake};
use crate::engine::arrival::Arrival;
use crate::engine::checkpoint_writer::CheckpointWriter;
use crate::engine::column_needs::ColumnNeeds;
use crate::engine::event_time::StoredEventTime;
use crate::engine::intake::{Intake, MakeIntake};
use crate::engine::recover::undecodable;
use crate::error::{Error, Kind, Result};
use crate::state::{Store, Tail, fatal};
use crate::types::{ObjectId, Rate, RowErrors};

/// Batches that wait between a reader and the clock. Enough to keep both busy; when it is full, reading pauses.
const QUEUE_BATCHES: usize = 8;

/// Dead letters of a source that are kept; all are counted.
const DEAD_LETTERS_KEPT: usize = 1_000;

/// How long a reader waits for records before it looks whether it should end.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// How long a reader rests when the outside world does not answer.
const DEGRADED_PAUSE: Duration = Duration::from_millis(500);

/// What is kept of a source: as of the last checkpoint, apart from where partitions begin that were found since.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SourcePosition {
    /// Where to read on.
    pub(crate) positions: Positions,
    /// Where each partition begins; not of connectors that have a single one, which begins at 0 for ever.
    #[serde(default)]
    pub(crate) starts: Positions,
    /// How far the log says that it was read once, behind the last checkpoint.
    #[serde(skip)]
    pub(crate) read: Positions,
    /// What was seen before `positions`, where the connector can tell.
    #[serde(default)]
    pub(crate) fingerprints: Fingerprints,
    /// Rows read since it was created, each once: those that a new view replays are not counted again.
    pub(crate) rows: u64,
    /// Dead letters since it was created, each once.
    pub(crate) dead_letters: u64,
    /// How far event time is; also of tables that are not read from outside.
    #[serde(default)]
    pub(crate) event_time: StoredEventTime,
}

impl SourcePosition {
    /// What is stored of source `id`.
    pub(crate) fn stored(store: &Store, id: ObjectId) -> Result<Self> {
        let Some(bytes) = store.offsets(id)? else { return Ok(SourcePosition::default()) };
        serde_json::from_slice(&bytes).map_err(|cause| undecodable(&format!("the position of source {id}"), &cause))
    }

    /// How far the clock among the watermarks is.
    pub(crate) fn of_clock(watermark: Option<i64>) -> Self {
        SourcePosition { event_time: StoredEventTime { watermark, ..StoredEventTime::default() }, ..SourcePosition::default() }
    }

    /// As it is stored.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts always encode")
    }

    fn begin(&mut self, starts: &Positions) {
        for (partition, start) in starts {
            self.starts.entry(*partition).or_insert(*start);
            self.positions.entry(*partition).or_insert(*start);
        }
    }
}

/// What a reader's thread hands over.
pub(super) enum Delivery {
    /// Where partitions begin, before their first batch.
    Started(Positions),
    Batch(Box<SourceBatch>),
}

/// What can be seen of a source from outside: `tidemill.sources` and `tidemill.dead_letters`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceReport {
    /// Position and counts as of the newest epoch.
    pub(crate) position: SourcePosition,
    /// `running`, `degraded: why`, `finished`, `failed: why`.
    pub(crate) status: String,
    /// Of the rows in `position`.
    pub(crate) rate: Rate,
    /// Records behind the position, where known.
    pub(crate) lag: Option<i64>,
    /// The newest dead letters.
    pub(crate) dead_letters: Tail<DeadLetterFacts, DEAD_LETTERS_KEPT>,
}

/// How to read a source.
#[derive(Clone)]
pub(crate) struct SourceRecipe {
    pub(crate) id: ObjectId,
    pub(crate) connector: Arc<dyn Connector>,
    /// Turns the connector's rows into the object's.
    pub(crate) intake: MakeIntake,
    /// What happens to those when they enter an epoch.
    pub(crate) arrival: Arrival,
    /// Which of the connector's columns are decoded for which of the object's.
    pub(crate) needs: Arc<ColumnNeeds>,
    /// Where it is told what could not be computed of rows that have entered an epoch.
    pub(crate) errors: RowErrorSink,
    /// The columns that are read; `None`: all, or whatever they may be.
    pub(crate) only: Option<BTreeSet<usize>>,
}

impl SourceRecipe {
    /// The same, where nobody looks at other columns than these.
    pub(crate) fn only(&self, columns: &BTreeSet<usize>) -> SourceRecipe {
        let narrow = self.needs.of(columns).filter(|wanted| wanted.contains(&false)).and_then(|wanted| self.connector.only(&wanted));
        match narrow {
            Some(connector) => SourceRecipe { connector, only: Some(columns.clone()), ..self.clone() },
            None => self.clone(),
        }
    }
}

/// A source that is being read.
pub(crate) struct RunningSource {
    pub(super) id: ObjectId,
    pub(crate) report: Arc<Mutex<SourceReport>>,
    pub(super) queue: Receiver<Delivery>,
    /// What came before its turn while the source was read again after a restart.
    pub(super) waiting: VecDeque<SourceBatch>,
    /// It did not get as far as it was before the restart.
    pub(super) strayed: bool,
    stop: Arc<AtomicBool>,
    arrival: Arrival,
    errors: RowErrorSink,
    /// The columns that it gives; `None`: all.
    only: Option<BTreeSet<usize>>,
}

impl RunningSource {
    /// Starts a thread that reads from `from` on.
    pub(crate) fn start(recipe: SourceRecipe, from: SourcePosition, report: Arc<Mutex<SourceReport>>, wake: Wake) -> Result<Self> {
        let reader = recipe.connector.start_again(&from.positions, &from.read, &from.fingerprints)?;
        let (sender, queue) = bounded(QUEUE_BATCHES);
        let stop = Arc::new(AtomicBool::new(false));
        {
            let mut report = report.lock();
            report.position = from;
            "running".clone_into(&mut report.status);
        }
        let (shown, stopped) = (Arc::clone(&report), Arc::clone(&stop));
        // Whoever stops the thread has the last word.
        let tell = move |state: &State| {
            let mut report = shown.lock();
            if !stopped.load(Ordering::Acquire) {
                report.status = state.to_string();
            }
        };
        let noted = Some(Arc::clone(&report));
        let thread = ReaderThread { reader, intake: (recipe.intake)(), queue: sender, stop: Arc::clone(&stop), wake, report: noted };
        thread.spawn(format!("source-{}", recipe.id), tell)?;
        Ok(RunningSource {
            id: recipe.id,
            report,
            queue,
            waiting: VecDeque::new(),
            strayed: false,
            stop,
            arrival: recipe.arrival,
            errors: recipe.errors,
            only: recipe.only,
        })
    }

    /// Whether its rows have values in all of these columns.
    pub(crate) fn gives(&self, columns: &BTreeSet<usize>) -> bool {
        self.only.as_ref().is_none_or(|only| columns.is_subset(only))
    }

    /// What happens to what `next` gives when it enters an epoch.
    pub(crate) fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// Whether something waits to be taken.
    pub(crate) fn has_news(&self) -> bool {
        !self.waiting.is_empty() || !self.queue.is_empty()
    }

    /// Whether the outside world does not answer.
    pub(crate) fn is_degraded(&self) -> bool {
        self.report.lock().status.starts_with("degraded")
    }

    /// The partitions that are known.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.report.lock().position.positions.keys().copied().collect()
    }

    /// The next batch, if one waits. Where partitions begin is stored on the way, behind the checkpoint that is being written: it has been cut
    /// without that, and would replace it.
    pub(crate) fn next(&mut self, writer: &mut CheckpointWriter) -> Option<SourceBatch> {
        if let Some(batch) = self.waiting.pop_front() {
            return Some(batch);
        }
        loop {
            match self.queue.try_recv().ok()? {
                Delivery::Batch(batch) => return Some(*batch),
                Delivery::Started(starts) => self.begin(writer.settled(), &starts),
            }
        }
    }

    pub(super) fn begin(&self, store: &Store, starts: &Positions) {
        let stored = SourcePosition::stored(store, self.id).and_then(|mut position| {
            position.begin(starts);
            store.put_offsets(self.id, &position.encoded())
        });
        if let Err(error) = stored {
            fatal("where a source begins could not be stored", &error);
        }
        self.report.lock().position.begin(starts);
    }

    /// Ends reading; `status` is the last word.
    pub(crate) fn stop(&self, status: String) {
        let mut report = self.report.lock();
        self.stop.store(true, Ordering::Release);
        report.status = status;
    }

    /// Stops reading, since what came next cannot enter. The position stays before it.
    pub(crate) fn fail(&mut self, cause: &Error) {
        self.queue = crossbeam_channel::never();
        self.waiting.clear();
        let why = cause.detail_text().map_or_else(|| cause.to_string(), |detail| format!("{cause}: {detail}"));
        tracing::error!(source = self.id, why, "a source has failed");
        self.stop(State::Failed(why).to_string());
    }

    /// Notes that a batch has entered an epoch.
    pub(crate) fn note(&self, batch: &mut SourceBatch, now_micros: i64) {
        let RowErrors { count, samples } = std::mem::take(&mut batch.errors);
        if count > 0 {
            self.errors.record(count, samples);
        }
        let mut report = self.report.lock();
        report.position.positions.insert(batch.partition, batch.next_offset);
        match batch.fingerprint {
            Some(fingerprint) => drop(report.position.fingerprints.insert(batch.partition, fingerprint)),
            // That of another position says nothing of this one.
            None => drop(report.position.fingerprints.remove(&batch.partition)),
        }
        let rows = report.position.rows;
        report.position.rows += batch.changes.len() as u64;
        let (from, to) = (rows, report.position.rows);
        report.rate.note(now_micros, from, to);
        report.position.dead_letters += batch.dead_letters.len() as u64;
        if batch.lag.is_some() {
            report.lag = batch.lag;
        }
        let newest = batch.dead_letters.len().saturating_sub(DEAD_LETTERS_KEPT)..;
        for DeadLetter { partition, offset, error, payload } in std::mem::take(&mut batch.dead_letters).drain(newest) {
            let payload = String::from_utf8_lossy(&payload).into_owned();
            report.dead_letters.push(DeadLetterFacts { partition, offset, time_micros: now_micros, error, payload });
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
    intake: Intake,
    queue: Sender<Delivery>,
    stop: Arc<AtomicBool>,
    wake: Wake,
    /// Where the lag of an idle source is noted; a busy one's comes with its batches.
    report: Option<Arc<Mutex<SourceReport>>>,
}

impl ReaderThread {
    /// Reads until there is no more or nobody wants it. `tell` gets the state whenever it changes, the last one before the queue closes.
    fn spawn(mut self, name: String, tell: impl Fn(&State) + Send + 'static) -> Result<()> {
        let work = move || {
            let read = std::panic::catch_unwind(AssertUnwindSafe(|| self.run(&tell)));
            match read.unwrap_or_else(|panic| Err(Error::internal(format!("the reader panicked: {}", panic_text(panic.as_ref()))))) {
                Ok(Ending::Complete) => tell(&State::Finished),
                Ok(Ending::Unwanted) => {}
                Err(error) => {
                    tracing::error!(%error, "a source has failed");
                    tell(&State::Failed(error.to_string()));
                }
            }
        };
        std::thread::Builder::new()
            .name(name)
            .spawn(work)
            .map_err(|cause| Error::external("cannot start a thread for the source", cause))?;
        Ok(())
    }

    fn run(&mut self, tell: &impl Fn(&State)) -> Result<Ending> {
        let mut degraded = false;
        while !self.stop.load(Ordering::Acquire) {
            let polled = self.reader.poll(POLL_WAIT);
            if !matches!(polled, Poll::Degraded(_)) && std::mem::take(&mut degraded) {
                tell(&State::Running);
            }
            match polled {
                Poll::Started(starts) => {
                    if !self.send(Delivery::Started(starts)) {
                        return Ok(Ending::Unwanted);
                    }
                }
                Poll::Batch(batch) => {
                    let lag = self.reader.lag();
                    let batch = SourceBatch { lag, ..self.intake.take(*batch)? };
                    if !self.send(Delivery::Batch(Box::new(batch))) {
                        return Ok(Ending::Unwanted);
                    }
                }
                Poll::Pending => self.note_lag(),
                Poll::Failed(why) => return Err(Error::new(Kind::External, why)),
                Poll::Degraded(why) => {
                    degraded = true;
                    tell(&State::Degraded(why));
                    std::thread::sleep(DEGRADED_PAUSE);
                }
                Poll::End => return Ok(Ending::Complete),
            }
        }
        Ok(Ending::Unwanted)
    }

    /// Nothing has come: what is behind is told without a batch.
    fn note_lag(&self) {
        if let Some(report) = self.report.as_ref().filter(|_| self.queue.is_empty())
            && let Some(lag) = self.reader.lag()
        {
            report.lock().lag = Some(lag);
        }
    }

    /// Waits for room in the queue. Returns false when nobody wants the source any more.
    fn send(&self, delivery: Delivery) -> bool {
        let mut delivery = delivery;
        loop {
            match self.queue.try_send(delivery) {
                Ok(()) => {
                    (self.wake)();
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => {
                    delivery = back;
                    (self.wake)();
                    match self.queue.send_timeout(delivery, POLL_WAIT) {
                        Ok(()) => {
                            (self.wake)();
                            return true;
                        }
                        Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => return false,
                        Err(crossbeam_channel::SendTimeoutError::Timeout(back)) => delivery = back,
                    }
                    if self.stop.load(Ordering::Acquire) {
                        return false;
                    }
                }
            }
        }
    }
}

/// How a reader's thread is doing.
enum State {
    Running,
    Degraded(String),
    Finished,
    Failed(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Running => f.write_str("running"),
            State::Degraded(why) => write!(f, "degraded: {why}"),
            State::Finished => f.write_str("finished"),
            State::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// How reading ended.
enum Ending {
    /// Everything there will ever be has been read.
    Complete,
    /// Nobody wants more.
    Unwanted,
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// What a source delivered before a view came: read again, up to where the others are, by a reader of its own.
pub(crate) struct ReplayFeed {
    queue: Receiver<Delivery>,
    stop: Arc<AtomicBool>,
    /// Known before the queue closes.
    outcome: Arc<OnceLock<std::result::Result<(), String>>>,
    arrival: Arrival,
    now_micros: i64,
}

impl ReplayFeed {
    /// Replays `recipe` from where it began up to `read`. Nobody knows when its rows arrived first: for the new view they arrive now.
    pub(crate) fn start(recipe: &SourceRecipe, read: &SourcePosition, now_micros: i64) -> Result<Self> {
        let reader = recipe.connector.start_where(&read.starts, Some(&read.positions), &read.fingerprints)?;
        let (sender, queue) = bounded(QUEUE_BATCHES);
        let stop = Arc::new(AtomicBool::new(false));
        let thread =
            ReaderThread { reader, intake: (recipe.intake)(), queue: sender, stop: Arc::clone(&stop), wake: Arc::new(|| {}), report: None };
        let outcome = Arc::new(OnceLock::new());
        let told = Arc::clone(&outcome);
        let (id, name) = (recipe.id, format!("replay-{}", recipe.id));
        thread.spawn(name, move |state| match state {
            State::Finished => drop(told.set(Ok(()))),
            State::Failed(why) => drop(told.set(Err(why.clone()))),
            State::Degraded(why) => tracing::warn!(source = id, why, "a source cannot be read again for a new view at the moment"),
            State::Running => {}
        })?;
        Ok(ReplayFeed { queue, stop, outcome, arrival: recipe.arrival.clone(), now_micros })
    }
}

impl Feed for ReplayFeed {
    fn next(&self) -> FeedStep {
        match self.queue.try_recv() {
            Ok(Delivery::Batch(batch)) => match self.arrival.take(*batch, self.now_micros) {
                Ok(batch) => FeedStep::Batch(batch.changes),
                Err(error) => FeedStep::Failed(format!("a source cannot be read again: {error}")),
            },
            // It begins where it began.
            Ok(Delivery::Started(_)) => FeedStep::Pending,
            Err(crossbeam_channel::TryRecvError::Empty) => FeedStep::Pending,
            // A closed queue alone is no end: a reader that died closes it too.
            Err(crossbeam_channel::TryRecvError::Disconnected) => match self.outcome.get() {
                Some(Ok(())) => FeedStep::Done,
                Some(Err(why)) => FeedStep::Failed(format!("a source cannot be read again: {why}")),
                None => FeedStep::Failed("a source cannot be read again: its reader has gone".to_owned()),
            },
        }
    }
}

impl Drop for ReplayFeed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::SchemaRef;
    use parking_lot::Mutex;

    use super::{ReplayFeed, RunningSource, SourcePosition, SourceRecipe, SourceReport};
    use crate::connect::{Connector, Poll, Positions, Reader, SourceBatch, SourceColumn};
    use crate::dataflow::{Feed, FeedStep, RowErrorLog};
    use crate::engine::arrival::Arrival;
    use crate::engine::checkpoint_writer::CheckpointWriter;
    use crate::engine::column_needs::ColumnNeeds;
    use crate::engine::intake::{Intake, MakeIntake};
    use crate::error::Result;
    use crate::state::Store;
    use crate::types::{Changes, RowErrors};

    fn rows() -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]).unwrap()
    }

    /// Does what the letters say, one a poll: (s)tarted, (b)atch, (d)egraded, (p)anic, (f)ailed, (e)nd, (w)ait.
    #[derive(Clone)]
    struct Script(&'static str, usize);

    impl Connector for Script {
        fn columns(&self) -> &[SourceColumn] {
            &[]
        }

        fn start(&self, _from: &Positions, _until: Option<&Positions>) -> Result<Box<dyn Reader>> {
            Ok(Box::new(self.clone()))
        }
    }

    impl Reader for Script {
        fn poll(&mut self, wait: Duration) -> Poll {
            self.1 += 1;
            match self.0.as_bytes().get(self.1 - 1) {
                Some(b's') => Poll::Started(Positions::from([(0, 7)])),
                Some(b'b') => Poll::Batch(Box::new(SourceBatch {
                    partition: 0,
                    next_offset: 9,
                    changes: Changes::insertions(rows()),
                    offsets: vec![7, 8],
                    dead_letters: Vec::new(),
                    errors: RowErrors::default(),
                    lag: None,
                    fingerprint: None,
                    watermark: None,
                })),
                Some(b'd') => Poll::Degraded("nobody answers".to_owned()),
                Some(b'f') => Poll::Failed("it is gone".to_owned()),
                Some(b'e') => Poll::End,
                Some(b'p') => panic!("a decoder's mistake"),
                _ => {
                    std::thread::sleep(wait);
                    Poll::Pending
                }
            }
        }
    }

    fn recipe(script: &'static str) -> SourceRecipe {
        let schema: SchemaRef = rows().schema();
        let intake: MakeIntake = Arc::new(move || Intake::new(None, Arc::clone(&schema)));
        let (connector, needs) = (Arc::new(Script(script, 0)), Arc::new(ColumnNeeds::default()));
        SourceRecipe {
            id: 1_000,
            connector,
            intake,
            arrival: Arrival::default(),
            needs,
            errors: Arc::new(RowErrorLog::default()).sink(1_000),
            only: None,
        }
    }

    /// How many rows a replay gives, and how it ends.
    fn replay(script: &'static str) -> (usize, FeedStep) {
        let feed = ReplayFeed::start(&recipe(script), &SourcePosition::default(), 0).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut rows = 0;
        loop {
            assert!(Instant::now() < deadline, "the replay does not end");
            match feed.next() {
                FeedStep::Batch(changes) => rows += changes.len(),
                FeedStep::Pending => std::thread::yield_now(),
                end => return (rows, end),
            }
        }
    }

    #[test]
    fn a_reader_that_panicked_looked_like_the_end() {
        assert!(matches!(replay("sbbe"), (4, FeedStep::Done)));
        let (rows, FeedStep::Failed(why)) = replay("bp") else { panic!("a replay that panics fails") };
        assert_eq!((rows, why.as_str()), (2, "a source cannot be read again: the reader panicked: a decoder's mistake"));
        assert!(matches!(replay("bf"), (2, FeedStep::Failed(why)) if why.ends_with("it is gone")));
    }

    fn start(script: &'static str) -> (RunningSource, impl Fn(&str)) {
        let report = Arc::new(Mutex::new(SourceReport::default()));
        let source = RunningSource::start(recipe(script), SourcePosition::default(), Arc::clone(&report), Arc::new(|| {})).unwrap();
        let wait_for = move |status: &str| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while report.lock().status != status {
                assert!(Instant::now() < deadline, "\"{}\", not \"{status}\"", report.lock().status);
                std::thread::yield_now();
            }
        };
        (source, wait_for)
    }

    #[test]
    fn the_status_follows_the_reader() {
        let (_source, wait_for) = start("dw");
        wait_for("degraded: nobody answers");
        wait_for("running");
        start("bp").1("failed: the reader panicked: a decoder's mistake");
        start("bf").1("failed: it is gone");
        start("be").1("finished");
    }

    #[test]
    fn a_start_is_stored_before_its_rows_are_seen() {
        let mut writer = CheckpointWriter::new(Arc::new(Store::in_memory()));
        let (mut source, wait_for) = start("sbw");
        wait_for("running");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut batch = loop {
            assert!(Instant::now() < deadline, "no batch");
            if let Some(batch) = source.next(&mut writer) {
                break batch;
            }
        };
        assert_eq!(source.report.lock().position.positions, Positions::from([(0, 7)]));
        source.note(&mut batch, 0);
        let position = source.report.lock().position.clone();
        assert_eq!((position.starts, position.positions, position.rows), (Positions::from([(0, 7)]), Positions::from([(0, 9)]), 2));
    }
}
