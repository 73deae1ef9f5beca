//! The coordinator: the one thread that advances the clock, commands the workers and makes checkpoints.
//!
//! In: requests from sessions, batches from sources, progress from workers. Out: ticks.
//! Always: an epoch is logged before it is ticked, and ticked before it is complete; between two ticks, when everything ticked is complete,
//! the state of all workers is exactly that of the last epoch, and that is where dataflows are built and checkpoints are cut.

mod checkpoint;
mod reading;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::{Mutex, RwLock};

use crate::connect::SourceBatch;
use crate::dataflow::{Beginning, Command, Dataflow, DataflowProgress, LateLog, RowErrorLog, SnapshotFeed, Tick, Workers};
use crate::engine::checkpoint_writer::CheckpointWriter;
use crate::engine::clock::{EpochClock, Group, Write};
use crate::engine::event_time::{EventRule, EventTimeReport, EventTimes, StoredEventTime};
use crate::engine::moment::{Behind, Moment, Portion};
use crate::engine::retention::is_keeper;
use crate::engine::retrace::PATIENCE;
use crate::engine::sink::RunningSink;
use crate::engine::source::{ReplayFeed, RunningSource, SourcePosition, SourceRecipe, SourceReport};
use crate::engine::view::{RunningView, ViewStatus};
use crate::error::Result;
use crate::plan::Plan;
use crate::state::{Lease, Leases, Relation, Store, fatal};
use crate::types::{Changes, Clock, Epoch, NOW, ObjectId, OnConflict, Watermarks};

/// Epochs that may be ticked but not complete. Two keep the workers busy while the next one is being gathered; more would only
/// make epochs smaller and answers older.
const EPOCHS_IN_FLIGHT: u64 = 2;

/// Epochs set aside for a new view to read what was there before it, one for each batch; the last one takes what is left over.
const HYDRATION_EPOCHS: u64 = 1 << 32;

/// Rows that one source may put into one epoch: enough for large efficient batches, few enough that an epoch takes milliseconds.
const SOURCE_EPOCH_ROWS: usize = 131_072;

/// Rows of a write that go to one worker in one piece.
const SHARE_ROWS: usize = 16_384;

/// Bytes that may wait for views that are still hydrating before everything else waits for them.
const WAITING_BYTES_MAX: u64 = 512 << 20;

/// Between two looks at relations for rows that nobody can see any more.
const COMPACTION_INTERVAL: Duration = Duration::from_millis(250);

/// How long a checkpoint waits for views that depend on when they were made, and after what time it looks again.
const SETTLING_MAX: Duration = Duration::from_secs(60);
const SETTLING_STEP: Duration = Duration::from_millis(100);

/// What the coordinator can be asked.
pub(crate) enum Request {
    /// Something changed: look.
    Wake,
    /// Start to maintain a view.
    Build(Box<BuildView>),
    /// Stop everything that belongs to these objects.
    Drop { objects: Vec<ObjectId>, reply: tokio::sync::oneshot::Sender<()> },
    /// A table or source gets other columns.
    AlterColumns(Box<AlterColumns>),
    /// The rows of a table or source say when events were.
    FollowTime { object: ObjectId, rule: Box<EventRule>, stored: StoredEventTime },
    /// A table that a connector fills is called otherwise.
    Rename { table: ObjectId, name: String },
    /// Start to fill a table from its connector.
    FillTable {
        recipe: SourceRecipe,
        /// The table's name, its rows, and what a row does whose key is there.
        table: String,
        relation: Arc<Relation>,
        on_conflict: OnConflict,
        report: Arc<Mutex<SourceReport>>,
        from: SourcePosition,
    },
    /// Delete rows of a table that a connector fills, as far as they are there: retractions of all its columns.
    Delete { table: ObjectId, rows: Changes },
    /// The log goes on at this moment. Whoever asks hears when event time is there.
    Replay { moment: Moment, reply: tokio::sync::oneshot::Sender<()> },
    /// A part of the log has been committed again: tick it, with what the log says was read of sources then. Only once everything that is
    /// restored has been built, so that all of it begins with the same epoch. Whoever asks hears in which epoch.
    Replayed { behind: Option<Behind>, reply: tokio::sync::oneshot::Sender<Epoch> },
    /// Everything that was there before the restart is there again: begin to work. Until then no epoch ends by itself, no source is drained, and
    /// no checkpoint is cut: it would cut the log before what has not been replayed.
    Recovered,
    /// Make a checkpoint now.
    Checkpoint { reply: tokio::sync::oneshot::Sender<()> },
    /// Make a last checkpoint and end.
    Stop { reply: tokio::sync::oneshot::Sender<()> },
}

/// Gives the rows with their new columns.
pub(crate) type Rewriting = Box<dyn FnOnce() -> Result<Relation> + Send>;

/// Other columns for a table or source. Nobody writes the table, no view that reads it is hydrating.
pub(crate) struct AlterColumns {
    pub(crate) object: ObjectId,
    /// How its rows say when events were, over the new positions.
    pub(crate) rule: Option<EventRule>,
    /// Of a table.
    pub(crate) rewrite: Option<Rewriting>,
    /// How to read it from now on, if it is read from outside.
    pub(crate) recipe: Option<SourceRecipe>,
    /// By the old positions of columns the new ones.
    pub(crate) places: Arc<[Option<usize>]>,
    /// Views that read it, with their plans over the new positions.
    pub(crate) plans: Vec<(ObjectId, Plan)>,
    /// What is stored with the rows, in one write.
    pub(crate) definitions: Vec<(ObjectId, Vec<u8>)>,
    /// What goes with the same write.
    pub(crate) gone: Vec<ObjectId>,
    /// Shows the new definitions to everyone.
    pub(crate) show: Box<dyn FnOnce() + Send>,
    pub(crate) reply: tokio::sync::oneshot::Sender<Result<()>>,
}

/// A view to be built.
pub(crate) struct BuildView {
    pub(crate) view: Arc<RunningView>,
    pub(crate) errors: crate::dataflow::RowErrorSink,
    /// Where each import comes from.
    pub(crate) imports: BTreeMap<ObjectId, ImportFrom>,
    /// The checkpoint to restore from, if the view is in it.
    pub(crate) restore: Option<Epoch>,
    /// What it shows depends on when it is made.
    pub(crate) in_time: bool,
    pub(crate) reply: tokio::sync::oneshot::Sender<Result<()>>,
}

/// Where a view's import comes from.
pub(crate) enum ImportFrom {
    /// A table or view: its rows as of now, then its changes.
    Relation(Arc<Relation>),
    /// A source: what the others have read of it, then on with them.
    Source { recipe: SourceRecipe, report: Arc<Mutex<SourceReport>>, from: Box<SourcePosition> },
}

/// What the coordinator works with.
pub(crate) struct Setting {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<EpochClock>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) wall: Arc<dyn Clock>,
    pub(crate) checkpoint_interval: Duration,
    /// Every sink, also those that wait until they can be built.
    pub(crate) sinks: Arc<RwLock<BTreeMap<ObjectId, Arc<RunningSink>>>>,
    /// Every table and view with its rows, as it is now: for checkpoints and compaction.
    pub(crate) relations: Arc<Mutex<BTreeMap<ObjectId, Arc<Relation>>>>,
    /// Where it is told how far event time is.
    pub(crate) event_times: Arc<Mutex<BTreeMap<ObjectId, EventTimeReport>>>,
    /// Where rows are counted that come too late.
    pub(crate) late: Arc<LateLog>,
    /// Where rows are counted on which an expression failed.
    pub(crate) row_errors: Arc<RowErrorLog>,
}

/// A table that a connector fills.
struct FilledTable {
    name: String,
    source: RunningSource,
    relation: Arc<Relation>,
    on_conflict: OnConflict,
    /// Rows to be deleted, as far as they are there.
    going: Vec<Changes>,
}

impl FilledTable {
    /// Deletes what is to go. Gives what that changed.
    fn delete(&mut self, epoch: Epoch) -> Result<Vec<Changes>> {
        let all: Vec<usize> = (0..self.relation.schema().fields().len()).collect();
        let mut gone = Vec::new();
        for rows in std::mem::take(&mut self.going) {
            let changes = self.relation.resolve_sunk(&rows, &all, OnConflict::DoNothing)?.changes;
            self.relation.apply(0, epoch, &changes)?;
            gone.push(changes);
        }
        Ok(gone)
    }

    /// Applies a connector's rows by the rules of the table's key. Gives what that changed.
    fn enter(&self, epoch: Epoch, rows: &Changes) -> Result<Changes> {
        let changes = match self.relation.key() {
            None => rows.clone(),
            Some(_) => self.relation.resolve(rows.rows(), self.on_conflict, &self.name)?.changes,
        };
        self.relation.apply(0, epoch, &changes)?;
        Ok(changes)
    }
}

/// Runs on a thread of its own until asked to stop.
pub(crate) struct Coordinator {
    setting: Setting,
    workers: Workers,
    writer: CheckpointWriter,
    /// Between the start and `Request::Recovered`.
    recovering: bool,
    /// What the log has behind the epoch that is replayed next.
    replayed: Option<Behind>,
    /// Sources that were not read as far as the log says: they go on as they come.
    unread: BTreeSet<ObjectId>,
    /// How long the replay still waits for sources from which nothing comes.
    patience: Duration,
    /// The watermarks that were noted last.
    noted: Arc<Watermarks>,
    /// What the open epoch has read of sources whose rows have a time.
    read: Portion,
    requests: Receiver<Request>,
    /// There is a wake among the requests.
    is_woken: Arc<AtomicBool>,
    /// Requests that came while a quiet moment was waited for.
    deferred: VecDeque<Request>,
    wake: crate::dataflow::Wake,
    views: BTreeMap<ObjectId, Arc<RunningView>>,
    /// Views that depend on when they were made and are being filled, and since when: a checkpoint would not hold them, and cut what makes them
    /// again.
    settling: BTreeMap<ObjectId, Instant>,
    /// Views and sinks that read their state back: a checkpoint would not hold them either, and they would have to be computed anew.
    restoring: BTreeSet<ObjectId>,
    /// What views need to look into that cannot be read yet.
    held: BTreeMap<ObjectId, Lease>,
    sources: BTreeMap<ObjectId, RunningSource>,
    tables: BTreeMap<ObjectId, FilledTable>,
    event_times: EventTimes,
    /// The newest epoch that was ticked.
    ticked: Epoch,
    /// The epoch of the newest checkpoint.
    checkpointed: Epoch,
    /// How far each view was when operators were last asked how much they hold.
    measured: Vec<(ObjectId, Epoch)>,
    next_checkpoint: Instant,
    next_compaction: Instant,
    /// Takes turns among the workers, so that small batches spread.
    turn: usize,
}

impl Coordinator {
    /// A coordinator whose last epoch is the clock's, and the way to reach it.
    ///
    /// Requests have no limit of their own, since whoever wakes the coordinator must not wait for it: a session asks for one thing at a time and
    /// waits for the answer, there are `max_connections` of them, and of wakes there is one.
    pub(crate) fn new(setting: Setting, workers: Workers, checkpointed: Epoch) -> (Self, Sender<Request>) {
        let (sender, requests) = unbounded();
        let woken = sender.clone();
        // One wake in the queue says as much as many. Whoever finds one there has stored what it wakes for before it looked, and who takes it looks
        // behind that: a question to the queue whether it is empty would not keep that order.
        let is_woken = Arc::new(AtomicBool::new(false));
        let queued = Arc::clone(&is_woken);
        let wake: crate::dataflow::Wake = Arc::new(move || {
            if !queued.swap(true, Ordering::AcqRel) {
                drop(woken.send(Request::Wake));
            }
        });
        let ticked = setting.clock.complete();
        let next_checkpoint = Instant::now() + setting.checkpoint_interval;
        let coordinator = Coordinator {
            event_times: EventTimes::new(Arc::clone(&setting.event_times)),
            writer: CheckpointWriter::new(Arc::clone(&setting.store)),
            setting,
            workers,
            recovering: true,
            replayed: None,
            unread: BTreeSet::new(),
            patience: PATIENCE,
            noted: Arc::default(),
            read: BTreeMap::new(),
            requests,
            is_woken,
            deferred: VecDeque::new(),
            wake,
            views: BTreeMap::new(),
            settling: BTreeMap::new(),
            restoring: BTreeSet::new(),
            held: BTreeMap::new(),
            sources: BTreeMap::new(),
            tables: BTreeMap::new(),
            ticked,
            checkpointed,
            measured: Vec::new(),
            next_checkpoint,
            next_compaction: Instant::now(),
            turn: 0,
        };
        (coordinator, sender)
    }

    /// What workers and readers call when something happened.
    pub(crate) fn wake(&self) -> crate::dataflow::Wake {
        Arc::clone(&self.wake)
    }

    /// The loop.
    pub(crate) fn run(mut self) {
        loop {
            if let Some(request) = self.next_request()
                && !self.handle(request)
            {
                return;
            }
            self.observe();
            if self.may_tick() && (self.has_input() || self.until_time_moves() == Some(Duration::ZERO)) {
                self.tick();
            }
            if Instant::now() >= self.next_checkpoint {
                self.checkpoint();
            }
            if Instant::now() >= self.next_compaction {
                self.compact();
            }
        }
    }

    /// The next request; `None` when it is time for something else.
    fn next_request(&mut self) -> Option<Request> {
        if let Some(request) = self.deferred.pop_front() {
            return Some(request);
        }
        let may_tick = self.may_tick();
        if may_tick && self.has_input() {
            return self.requests.try_recv().ok();
        }
        let idle = self.ticked == self.checkpointed;
        let until = if idle { self.next_checkpoint } else { self.next_checkpoint.min(self.next_compaction) };
        let patience = until.saturating_duration_since(Instant::now());
        // Before that a worker wakes us.
        let moves = self.until_time_moves().filter(|_| may_tick);
        self.requests.recv_timeout(moves.map_or(patience, |moves| moves.min(patience))).ok()
    }

    /// Whether so few epochs are in flight that another one may begin.
    fn may_tick(&self) -> bool {
        self.ticked - self.setting.clock.complete() < EPOCHS_IN_FLIGHT
    }

    /// How long it is until a watermark may move without a row.
    fn until_time_moves(&self) -> Option<Duration> {
        let due = self.event_times.due().filter(|_| !self.recovering)?;
        Some(Duration::from_micros(u64::try_from(due.saturating_sub(self.setting.wall.now_micros())).unwrap_or(0)))
    }

    /// Does what is asked. Returns false at the end.
    fn handle(&mut self, request: Request) -> bool {
        match request {
            Request::Wake => self.wakes(),
            Request::Build(build) => {
                let BuildView { view, errors, imports, restore, in_time, reply } = *build;
                let result = self.build(&view, errors, imports, restore, in_time);
                if result.is_err() {
                    // Some of its sources may have been started for it.
                    self.remove(&[view.id]);
                }
                drop(reply.send(result));
            }
            Request::Drop { objects, reply } => {
                self.remove(&objects);
                answer(reply);
            }
            Request::AlterColumns(alter) => self.alter_columns(*alter),
            Request::FollowTime { object, rule, stored } => {
                self.event_times.add(object, *rule, &stored, self.setting.wall.now_micros());
            }
            Request::Rename { table, name } => {
                if let Some(table) = self.tables.get_mut(&table) {
                    table.name = name;
                }
            }
            Request::FillTable { recipe, table, relation, on_conflict, report, from } => {
                match RunningSource::start(recipe.clone(), from, Arc::clone(&report), Arc::clone(&self.wake)) {
                    Ok(source) => {
                        drop(self.tables.insert(recipe.id, FilledTable { name: table, source, relation, on_conflict, going: Vec::new() }))
                    }
                    Err(error) => report.lock().status = format!("failed: {error}"),
                }
            }
            Request::Delete { table, rows } => {
                if let Some(table) = self.tables.get_mut(&table) {
                    table.going.push(rows);
                }
            }
            Request::Replay { moment, reply } => {
                self.replay(&moment);
                answer(reply);
            }
            Request::Replayed { behind, reply } => reply.send(self.tick_replayed(behind)).unwrap_or_default(),
            Request::Recovered => {
                self.recovering = false;
                self.next_checkpoint = Instant::now() + self.setting.checkpoint_interval;
                // While nothing ran nothing was idle.
                self.setting.clock.replay_at(None);
                self.event_times.keep_awake(self.now());
                self.tick();
            }
            Request::Checkpoint { reply } => {
                self.writer.settled();
                self.checkpoint();
                self.writer.settled();
                answer(reply);
            }
            Request::Stop { reply } => {
                // Sources stay: how far they were read belongs into the checkpoint with what came of it.
                if self.has_input() {
                    self.tick_written();
                }
                self.writer.settled();
                self.checkpoint();
                self.writer.settled();
                self.workers.stop();
                answer(reply);
                return false;
            }
        }
        true
    }

    /// It is this moment, and event time is where it was. The epoch before ended when the clock among the watermarks says.
    fn replay(&mut self, moment: &Moment) {
        let before = moment.watermarks.get(&NOW).copied().unwrap_or(moment.now_micros);
        if self.event_times.raise(&moment.watermarks, &self.unread, before) {
            self.setting.clock.replay_at(Some(before));
            self.tick();
        }
        self.setting.clock.replay_at(Some(moment.now_micros));
    }

    /// Ticks a part of the log with what is noted behind it. Returns its epoch.
    fn tick_replayed(&mut self, behind: Option<Behind>) -> Epoch {
        self.replayed = behind;
        self.tick();
        self.ticked
    }

    /// Looks how far the dataflows are, and moves the complete epoch.
    fn observe(&mut self) {
        // In this order: a view that fails after its frontier was read holds its epoch back.
        let frontiers: Vec<Epoch> = self.views.values().map(|view| view.progress.frontier()).collect();
        self.note_failures();
        self.note_rates();
        let mut complete = self.ticked;
        for (view, frontier) in self.views.values().zip(&frontiers) {
            match view.status() {
                ViewStatus::Joining | ViewStatus::Ready => complete = complete.min(frontier.saturating_sub(1)),
                ViewStatus::Hydrating | ViewStatus::Failed(_) | ViewStatus::Dropped => {}
            }
        }
        self.setting.clock.set_complete(complete);
        let complete = self.setting.clock.complete();
        for (view, frontier) in self.views.values().zip(&frontiers) {
            let here = !view.progress.is_hydrating() && *frontier > view.valid_from();
            match view.status() {
                ViewStatus::Hydrating | ViewStatus::Joining if here && *frontier > complete && complete >= view.valid_from() => {
                    // First: whoever waits for the view reads what it has written.
                    self.advance_sink(view, *frontier, true);
                    view.set_status(ViewStatus::Ready);
                }
                ViewStatus::Hydrating if here => view.set_status(ViewStatus::Joining),
                _ => {}
            }
            self.advance_sink(view, *frontier, view.status() == ViewStatus::Ready);
        }
        let views = &self.views;
        let filled =
            |id: &ObjectId| !views.get(id).is_some_and(|view| matches!(view.status(), ViewStatus::Hydrating | ViewStatus::Joining));
        self.held.retain(|id, _| !filled(id));
        self.settling.retain(|id, since| !filled(id) && since.elapsed() < SETTLING_MAX);
        self.restoring.retain(|id| !filled(id));
    }

    fn advance_sink(&self, view: &RunningView, frontier: Epoch, ready: bool) {
        let Some(sink) = &view.sink else { return };
        match view.status() {
            ViewStatus::Failed(_) | ViewStatus::Dropped => sink.stop(),
            _ => sink.advance(frontier, ready, self.recovering, self.ticked),
        }
    }

    fn note_rates(&self) {
        for view in self.views.values().filter(|view| view.progress.is_hydrating()) {
            view.note_rate(self.setting.wall.now_micros());
        }
    }

    /// Views that stopped by themselves, and those that read one: each stands behind what it reads.
    fn note_failures(&self) {
        for view in self.views.values().filter(|view| !matches!(view.status(), ViewStatus::Failed(_))) {
            let upstream = view.imports.iter().find_map(|import| {
                let upstream = self.views.get(import)?;
                matches!(upstream.status(), ViewStatus::Failed(_)).then(|| format!("it reads \"{}\", which has failed", upstream.name()))
            });
            if let Some(cause) = view.progress.failure().or(upstream) {
                tracing::error!(view = %view.name(), %cause, "a view has failed");
                view.progress.fail(cause.clone());
                view.set_status(ViewStatus::Failed(cause));
            }
        }
    }

    fn has_input(&self) -> bool {
        let news = || self.tables.values().any(|table| table.source.has_news()) || self.sources.values().any(RunningSource::has_news);
        let going = || self.tables.values().any(|table| !table.going.is_empty());
        let waits = || self.setting.clock.has_writes() || ((news() || going()) && !self.sinks_are_full());
        !self.recovering && waits() && !self.overloaded()
    }

    /// Whether so much waits for hydrating views that everyone else should: sources pause, and commits wait.
    fn overloaded(&self) -> bool {
        let hydrating = self.views.values().filter(|view| view.status() == ViewStatus::Hydrating);
        hydrating.map(|view| view.progress.waiting_bytes()).sum::<u64>() > WAITING_BYTES_MAX
    }

    /// Whether so much waits to be written by sinks that sources pause. Commits do not: a sink may wait for one. Statements wait before they write.
    fn sinks_are_full(&self) -> bool {
        self.views.values().filter_map(|view| view.sink.as_ref()).any(|sink| sink.outlet.is_full())
    }

    /// Closes the open epoch: what was written and read enters the dataflows.
    fn tick(&mut self) {
        let group = self.setting.clock.close();
        self.tick_epoch(group);
    }

    /// Ticks all that has been written by now, at least one epoch, and waits until it is complete.
    fn tick_written(&mut self) {
        let last = self.setting.clock.newest_written();
        loop {
            self.tick();
            self.quiesce();
            if self.ticked >= last {
                return;
            }
        }
    }

    /// What was written in an epoch enters the dataflows, and what was read by now. Its time is one for the whole epoch, and in the log: it is the
    /// same again after a restart.
    fn tick_epoch(&mut self, group: Group) {
        let Group { epoch, writes, closed_at: now } = group;
        self.log(epoch, now, &writes);
        let mut inputs: BTreeMap<ObjectId, Vec<Vec<Changes>>> = BTreeMap::new();
        for write in writes {
            self.event_times.wrote(write.table, &write.changes, now);
            self.share(&mut inputs, write.table, &write.changes);
        }
        let before = self.event_times.watermarks();
        let replayed = self.replayed.take();
        let portion = replayed.as_ref().map(|behind| &behind.read);
        if portion.is_some() || !self.recovering && !self.overloaded() && !self.sinks_are_full() {
            self.drain_tables(epoch, now, portion, &mut inputs);
            self.drain_sources(now, portion, &mut inputs);
        }
        self.ticked = epoch;
        self.event_times.move_clock(now);
        self.move_time(now);
        if let Some(behind) = &replayed {
            self.note_unread(&behind.read);
            self.event_times.raise(&behind.watermarks, &self.unread, now);
        }
        self.note_behind(epoch, now, &before);
        let (watermarks, still) = (self.event_times.watermarks(), self.still(&inputs));
        self.workers.broadcast(&Command::Tick(Arc::new(Tick { epoch, inputs, watermarks, still })));
        self.observe();
    }

    /// The views that an epoch with these rows cannot change: an epoch costs what it changes, however many views there are.
    fn still(&self, inputs: &BTreeMap<ObjectId, Vec<Vec<Changes>>>) -> BTreeSet<ObjectId> {
        let mut still = BTreeSet::new();
        for (id, view) in &self.views {
            let stands = |import| !inputs.contains_key(import) && (still.contains(import) || !self.views.contains_key(import));
            if view.status() == ViewStatus::Ready && !view.follows_time && view.imports.iter().all(stands) {
                still.insert(*id);
            }
        }
        still
    }

    /// What time it is; while the log is replayed, what time it was.
    fn now(&self) -> i64 {
        self.setting.clock.now()
    }

    /// What is noted of the next epoch, if anything follows from it.
    fn moment(&self, now_micros: i64, built: Option<ObjectId>) -> Option<Vec<u8>> {
        let watermarks = self.event_times.watermarks();
        let moment = || Moment { now_micros, watermarks: Watermarks::clone(&watermarks), built, behind: None };
        (!watermarks.is_empty() || built.is_some()).then(|| moment().encoded())
    }

    /// Notes behind an epoch how far sources with a time were read in it, and where event time has come to: a restart repeats both.
    fn note_behind(&mut self, epoch: Epoch, now_micros: i64, before: &Watermarks) {
        let read = std::mem::take(&mut self.read);
        let watermarks = self.event_times.watermarks();
        let moved = || watermarks.iter().any(|(object, watermark)| *object != NOW && self.noted.get(object) != Some(watermark));
        if !self.recovering && self.setting.store.is_durable() && (!read.is_empty() || moved()) {
            let behind = Some(Behind { read, watermarks: Watermarks::clone(&watermarks) });
            let moment = Moment { now_micros, watermarks: before.clone(), built: None, behind };
            self.setting.store.note_behind(epoch, moment.encoded());
            self.noted = watermarks;
        }
    }

    /// Notes of the sources of a portion whether they have been read as far as it says.
    fn note_unread(&mut self, portion: &Portion) {
        for (id, ends) in portion {
            let source = self.sources.get(id).or(self.tables.get(id).map(|table| &table.source));
            match source.is_some_and(|source| source.has_reached(ends)) {
                true => self.unread.remove(id),
                false => self.unread.insert(*id),
            };
        }
    }

    /// Looks how far event time is, between two epochs. While the log is replayed nobody is idle: it says where that led to. A source that nobody reads, cannot be read, or has rows that wait, is not idle.
    fn move_time(&mut self, now: i64) {
        for object in self.event_times.objects() {
            let running = self.sources.get(&object).or(self.tables.get(&object).map(|table| &table.source));
            let written = self.setting.relations.lock().contains_key(&object) && running.is_none();
            let (partitions, busy) = match running {
                Some(source) => (source.partitions(), source.has_news() || source.is_degraded()),
                None => (Vec::new(), !written),
            };
            self.event_times.look(object, partitions, busy || self.recovering, now);
        }
        self.event_times.advance(now);
    }

    /// Makes writes durable: one synced write for all that came together.
    fn log(&self, epoch: Epoch, now: i64, writes: &[Write]) {
        let committed = writes.iter().any(|write| write.by.is_none());
        let logged = writes.iter().filter(|write| !write.logged).flat_map(|write| {
            let brought = write.by.iter().filter_map(|by| Some((by.sink, by.logged.clone()?)));
            brought.chain((!write.changes.is_empty()).then(|| (write.table, write.changes.clone())))
        });
        let writes: Vec<(ObjectId, Changes)> = logged.collect();
        if !writes.is_empty() {
            self.append_log(epoch, self.moment(now, None), &writes);
        }
        self.setting.clock.set_durable(epoch, committed);
    }

    fn append_log(&self, epoch: Epoch, note: Option<Vec<u8>>, writes: &[(ObjectId, Changes)]) {
        if let Err(error) = self.setting.store.append_log(epoch, note, writes) {
            fatal("the log could not be written", &error);
        }
    }

    /// Deals changes out to the workers, in pieces.
    fn share(&mut self, inputs: &mut BTreeMap<ObjectId, Vec<Vec<Changes>>>, object: ObjectId, changes: &Changes) {
        let workers = self.workers.count();
        let shares = inputs.entry(object).or_insert_with(|| vec![Vec::new(); workers]);
        let mut offset = 0;
        while offset < changes.len() {
            let length = SHARE_ROWS.min(changes.len() - offset);
            self.turn = (self.turn + 1) % workers;
            shares[self.turn].push(changes.slice(offset, length));
            offset += length;
        }
    }

    /// What sources have read. `portion`: what they had read in the epoch that is replayed.
    fn drain_sources(&mut self, now: i64, portion: Option<&Portion>, inputs: &mut BTreeMap<ObjectId, Vec<Vec<Changes>>>) {
        let mut drained = Vec::new();
        for (id, source) in &mut self.sources {
            let mut rows = 0;
            while let Some(mut batch) = next_batch(source, rows, now, portion, &mut self.patience, &mut self.writer) {
                rows += batch.changes.len() + batch.dead_letters.len();
                source.note(&mut batch, now);
                note_read(&mut self.event_times, &mut self.read, *id, source, &batch, now);
                drained.push((*id, batch.changes));
            }
        }
        for (id, changes) in drained {
            self.share(inputs, id, &changes);
        }
    }

    /// Connectors' rows become rows of their tables. Rows that cannot enter stop their source, and nothing else.
    fn drain_tables(&mut self, epoch: Epoch, now: i64, portion: Option<&Portion>, inputs: &mut BTreeMap<ObjectId, Vec<Vec<Changes>>>) {
        let mut drained = Vec::new();
        for (id, table) in &mut self.tables {
            match table.delete(epoch) {
                Ok(gone) => drained.extend(gone.into_iter().map(|changes| (*id, changes))),
                Err(error) => tracing::error!(table = %table.name, %error, "rows past their time could not be deleted"),
            }
            let mut rows = 0;
            while let Some(mut batch) = next_batch(&mut table.source, rows, now, portion, &mut self.patience, &mut self.writer) {
                rows += batch.changes.len() + batch.dead_letters.len();
                match table.enter(epoch, &batch.changes) {
                    Ok(changes) => {
                        table.source.note(&mut batch, now);
                        note_read(&mut self.event_times, &mut self.read, *id, &table.source, &batch, now);
                        drained.push((*id, changes));
                    }
                    Err(error) => table.source.fail(&error),
                }
            }
        }
        for (id, changes) in drained {
            self.share(inputs, id, &changes);
        }
    }

    /// Waits until everything that was ticked is complete. Other requests wait meanwhile.
    fn quiesce(&mut self) {
        loop {
            self.observe();
            if self.setting.clock.complete() >= self.ticked {
                return;
            }
            if !self.await_wake() {
                return;
            }
        }
    }

    /// Waits until everything that goes on from the checkpoint has read its state back. Other requests wait meanwhile.
    fn await_restored(&mut self) {
        while !self.restoring.is_empty() && self.await_wake() {
            self.observe();
        }
    }

    /// Waits for news of workers and readers. False: there will be none.
    fn await_wake(&mut self) -> bool {
        match self.requests.recv() {
            Ok(Request::Wake) => self.wakes(),
            Ok(request) => self.deferred.push_back(request),
            Err(_) => return false,
        }
        true
    }

    /// What is looked at from here on is no older than the wake that was taken.
    fn wakes(&self) {
        self.is_woken.swap(false, Ordering::AcqRel);
    }

    fn build(
        &mut self,
        view: &Arc<RunningView>,
        errors: crate::dataflow::RowErrorSink,
        imports: BTreeMap<ObjectId, ImportFrom>,
        restore: Option<Epoch>,
        in_time: bool,
    ) -> Result<()> {
        self.quiesce();
        let reads_clock = view.plan().root.reads_clock();
        if reads_clock {
            self.event_times.follow_clock(true, self.now());
        }
        let (first, last) = match restore {
            Some(epoch) => (epoch, epoch),
            None => {
                // The epochs up to `last` are the new dataflow's alone: the clock goes on behind them.
                for group in self.setting.clock.close_and_skip(HYDRATION_EPOCHS) {
                    self.tick_epoch(group);
                    self.quiesce();
                }
                (self.ticked + 1, self.ticked + HYDRATION_EPOCHS)
            }
        };
        let beginning = self.beginning(&view.plan(), &view.progress, imports, restore.is_some())?;
        if !beginning.kept.is_empty() {
            // Until it has caught up, its joins look into relations as they were.
            self.held.insert(view.id, self.setting.leases.acquire(self.ticked));
        }
        let dataflow = Dataflow {
            object: view.id,
            plan: Plan::clone(&view.plan()),
            target: view.target(),
            first,
            last,
            restore: restore.map(|_| Arc::clone(&self.setting.store)),
            in_checkpoints: self.setting.store.is_durable() && !is_keeper(view.id),
            watermarks: self.event_times.watermarks(),
            errors,
            late: Arc::clone(&self.setting.late),
            progress: Arc::clone(&view.progress),
        };
        view.set_valid_from(last);
        let in_time = in_time || reads_clock || view.plan().root.follows_epochs();
        // What a keeper does follows from what its table holds: it is begun anew.
        let by_moment = in_time && restore.is_none() && !is_keeper(view.id);
        if restore.is_some() {
            self.restoring.insert(view.id);
        }
        if by_moment {
            self.settling.insert(view.id, Instant::now());
        }
        if by_moment && !self.recovering {
            // In an epoch of its own: a checkpoint of the one before does not hold it.
            self.append_log(first, self.moment(self.now(), Some(view.id)), &[]);
        }
        self.views.insert(view.id, Arc::clone(view));
        self.workers.broadcast(&Command::Build(Arc::new(dataflow), Arc::new(beginning)));
        // An empty epoch, so that everyone moves behind those that were set aside.
        if restore.is_none() {
            self.tick();
        }
        Ok(())
    }

    /// What the imports of a plan read that was there before, as of the last epoch, and the rows that its joins look into. `restored`: nothing
    /// is read.
    fn beginning(
        &mut self,
        plan: &Plan,
        progress: &DataflowProgress,
        imports: BTreeMap<ObjectId, ImportFrom>,
        restored: bool,
    ) -> Result<Beginning> {
        let (following, looked_into) = (plan.root.followers(), plan.root.looked_into());
        let mut beginning = Beginning::default();
        let mut snapshots = BTreeMap::new();
        for (object, from) in imports {
            let nodes = plan.root.import_nodes().into_iter().filter(|(_, read)| *read == object).map(|(node, _)| node);
            let reading: Vec<u32> = nodes.filter(|node| !restored && !following.contains_key(node)).collect();
            match from {
                ImportFrom::Relation(relation) => {
                    for node in reading {
                        progress.expect_rows(relation.live_rows() as u64);
                        let feed = Arc::new(SnapshotFeed::new(relation.snapshot(self.ticked)));
                        snapshots.insert(node, Arc::clone(&feed));
                        beginning.feeds.insert(node, feed);
                    }
                    if looked_into.contains(&object) {
                        beginning.kept.insert(object, relation);
                    }
                }
                ImportFrom::Source { recipe, report, from } => {
                    let read = self.import_source(&recipe, report, *from, plan)?;
                    if read.positions != read.starts {
                        let recipe = recipe.only(&plan.root.columns_read(object));
                        for node in reading {
                            beginning.feeds.insert(node, Arc::new(ReplayFeed::start(&recipe, &read, self.now())?));
                        }
                    }
                }
            }
        }
        let followed = following.iter().filter_map(|(node, leader)| Some((*node, Arc::clone(snapshots.get(leader)?))));
        beginning.followers = followed.collect();
        Ok(beginning)
    }

    fn remove(&mut self, objects: &[ObjectId]) {
        for object in objects {
            if self.views.remove(object).is_some() {
                self.workers.broadcast(&Command::Drop(*object));
            }
            self.sources.remove(object);
            self.tables.remove(object);
            self.event_times.remove(*object);
        }
        let clock = self.views.values().any(|view| view.plan().root.reads_clock());
        self.event_times.follow_clock(clock, self.now());
        // A source that nobody reads any more stops; the next view replays it up to there, and goes on.
        let views = &self.views;
        self.sources.retain(|id, source| {
            let keep = views.values().any(|view| view.imports.contains(id));
            if !keep {
                source.stop("idle".to_owned());
            }
            keep
        });
    }

    /// Gives a table or source other columns, between two epochs: rows, imports, readers from outside, and what is stored.
    fn alter_columns(&mut self, alter: AlterColumns) {
        let AlterColumns { object, rule, rewrite, recipe, places, plans, definitions, gone, show, reply } = alter;
        self.tick_written();
        let rewritten = match rewrite.map(|rewrite| rewrite()).transpose() {
            Ok(rewritten) => rewritten.map(Arc::new),
            Err(error) => return reply.send(Err(error)).unwrap_or_default(),
        };
        self.remove(&gone);
        {
            let mut relations = self.setting.relations.lock();
            gone.iter().for_each(|id| drop(relations.remove(id)));
            if let Some(relation) = &rewritten {
                relations.insert(object, Arc::clone(relation));
            }
        }
        if let Some(rule) = rule {
            self.event_times.move_rule(object, rule);
        }
        self.workers.broadcast(&Command::MoveColumns { object, places, relation: rewritten.clone() });
        for (view, plan) in plans {
            if let Some(view) = self.views.get(&view) {
                view.move_plan(plan);
            }
        }
        if let Some(recipe) = recipe {
            let recipe = if self.sources.contains_key(&object) { recipe.only(&self.columns_read(object)) } else { recipe };
            if let Err(error) = self.read_anew(&recipe, rewritten) {
                tracing::error!(object, %error, "what was altered cannot be read on");
            }
        }
        show();
        if self.setting.store.is_durable() {
            self.cut(definitions, gone);
            self.writer.settled();
        }
        reply.send(Ok(())).unwrap_or_default();
    }

    fn compact(&mut self) {
        self.next_compaction = Instant::now() + COMPACTION_INTERVAL;
        // What is being worked off counts when it is done: then the view goes on.
        let frontiers = self.views.iter().map(|(id, view)| (*id, view.progress.frontier())).collect();
        if self.measured != frontiers {
            self.measured = frontiers;
            self.workers.broadcast(&Command::Measure);
        }
        let horizon = self.setting.leases.horizon(self.setting.clock.complete());
        let relations = self.setting.relations.lock().clone();
        for relation in relations.values() {
            relation.compact(horizon);
        }
    }
}

/// The next batch of a source that has given so many rows to an epoch of this clock, if there is one.
fn next_batch(
    source: &mut RunningSource,
    rows: usize,
    now: i64,
    portion: Option<&Portion>,
    patience: &mut Duration,
    writer: &mut CheckpointWriter,
) -> Option<SourceBatch> {
    let batch = match portion {
        None => (rows < SOURCE_EPOCH_ROWS).then(|| source.next(writer)).flatten(),
        Some(portion) => source.next_up_to(portion.get(&source.id)?, patience, writer),
    };
    source.arrival().take(batch?, now).inspect_err(|error| source.fail(error)).ok()
}

/// A batch has entered the epoch: event time goes on with it. If its rows have a time, the epoch's note says that it was read.
fn note_read(times: &mut EventTimes, read: &mut Portion, id: ObjectId, source: &RunningSource, batch: &SourceBatch, now: i64) {
    let SourceBatch { partition, next_offset, watermark, .. } = batch;
    match watermark.map_or_else(|| times.told_by(id, &batch.changes), |watermark| Ok(Some(watermark))) {
        Ok(watermark) => times.read(id, *partition, watermark, now),
        Err(error) => tracing::warn!(source = id, %error, "a watermark could not be computed"),
    }
    if times.follows(id) || source.arrival().is_told() {
        read.entry(id).or_default().insert(*partition, *next_offset);
    }
}

/// Tells whoever asked; an error means that they have stopped waiting.
fn answer(reply: tokio::sync::oneshot::Sender<()>) {
    reply.send(()).unwrap_or_default();
}

/// Progress of a view on this coordinator's workers.
pub(crate) fn progress(workers: usize, wake: crate::dataflow::Wake) -> Arc<DataflowProgress> {
    Arc::new(DataflowProgress::new(workers, wake))
}
