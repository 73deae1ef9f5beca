//! From a data directory to a running database: catalog, last checkpoint, the log behind it; then plan again, start again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::catalog::{Catalog, Column, ConnectorOptions, FIRST_USER_ID, Object, ObjectKind, arrivals};
use crate::config::Config;
use crate::connect::{Connector, Poll, Positions, Reader, SourceColumn};
use crate::dataflow::{LateLog, RowErrorLog, Workers};
use crate::engine::Engine;
use crate::engine::arrival::Arrival;
use crate::engine::catalog_change::NEXT_ID_FACT;
use crate::engine::clock::{EPOCH_BYTES, EpochClock, Write};
use crate::engine::column_needs::ColumnNeeds;
use crate::engine::coordinator::{Coordinator, Request, Setting};
use crate::engine::intake::Intake;
use crate::engine::moment::{Behind, Moment, Portion};
use crate::engine::registry::Registry;
use crate::engine::source::{SourcePosition, SourceRecipe};
use crate::engine::system;
use crate::engine::threads::QueryThreads;
use crate::engine::view::{RunningView, ViewStatus, mark};
use crate::error::{Error, Kind, Result};
use crate::plan::{Plan, Planner, PlannerOptions, schema_of};
use crate::state::{Leases, LogEntry, Relation, Store, fatal};
use crate::types::{Changes, Clock, Epoch, NOW, ObjectId, STACK_BYTES};

impl Engine {
    /// Opens the database of `config`: new, or as its store has it.
    pub async fn open(config: Config, store: Arc<Store>, wall: Arc<dyn Clock>) -> Result<Arc<Self>> {
        store.forget_undefined()?;
        let objects = stored_objects(&store)?;
        let checkpoint = store.last_checkpoint()?.map_or(0, |checkpoint| checkpoint.epoch);
        // What the log holds enters in new epochs, behind all that it was written in.
        let last = store.last_logged().max(checkpoint);
        let engine = Self::start(config, wall, Arc::clone(&store), Catalog::new(objects.iter().cloned()), last, checkpoint)?;
        engine.recover(&objects, checkpoint).await?;
        Ok(engine)
    }

    fn start(
        config: Config,
        wall: Arc<dyn Clock>,
        store: Arc<Store>,
        catalog: Catalog,
        last: Epoch,
        checkpoint: Epoch,
    ) -> Result<Arc<Self>> {
        let clock = Arc::new(EpochClock::new(last, Arc::clone(&wall)));
        let leases = Arc::new(Leases::new());
        let relations = Arc::new(Mutex::new(BTreeMap::new()));
        let event_times = Arc::new(Mutex::new(BTreeMap::new()));
        let late_rows = Arc::new(LateLog::default());
        let row_errors = Arc::new(RowErrorLog::default());
        let sinks = Arc::new(RwLock::new(BTreeMap::new()));
        let workers = Workers::start(config.workers)?;
        let setting = Setting {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            leases: Arc::clone(&leases),
            wall: Arc::clone(&wall),
            checkpoint_interval: config.checkpoint_interval,
            sinks: Arc::clone(&sinks),
            relations: Arc::clone(&relations),
            event_times: Arc::clone(&event_times),
            late: Arc::clone(&late_rows),
            row_errors: Arc::clone(&row_errors),
        };
        let (coordinator, requests) = Coordinator::new(setting, workers, checkpoint);
        let wake = coordinator.wake();
        let thread = std::thread::Builder::new()
            .name("coordinator".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // Nothing would ever be complete again; a restart recovers.
                if catch_unwind(AssertUnwindSafe(|| coordinator.run())).is_err() {
                    fatal("the coordinator has failed", &"see the panic message above");
                }
            })
            .map_err(|cause| Error::external("cannot start the coordinator", cause))?;
        let next_id = store.fact(NEXT_ID_FACT)?.and_then(|bytes| bytes.try_into().ok()).map_or(FIRST_USER_ID, u32::from_le_bytes);
        let next_id = catalog.objects().map(|object| object.id + 1).max().unwrap_or_default().max(next_id);
        let mut planner =
            Planner::new(&PlannerOptions { memory_limit_bytes: Some(config.query_memory_bytes), ..PlannerOptions::default() })?;
        system::register_functions(&mut planner)?;
        Ok(Arc::new(Engine {
            started_micros: wall.now_micros(),
            config,
            store,
            planner: Arc::new(planner),
            queries: QueryThreads::start()?,
            wall,
            catalog: RwLock::new(Arc::new(catalog)),
            next_id: AtomicU32::new(next_id),
            clock,
            leases,
            relations,
            views: RwLock::default(),
            sinks,
            sources: RwLock::default(),
            row_errors,
            late_rows,
            event_times,
            table_locks: Mutex::default(),
            ddl: tokio::sync::Mutex::new(()),
            coordinator: requests,
            coordinator_thread: Mutex::new(Some(thread)),
            wake,
            registry: Registry::default(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Starts everything in the catalog, each object behind those it depends on, while the clock stands: what is restored begins with one and
    /// the same epoch. Views that cannot be restored are announced, and filled while the server works already.
    async fn recover(self: &Arc<Self>, objects: &[Object], checkpoint: Epoch) -> Result<()> {
        if let Some(clock) = SourcePosition::stored(&self.store, NOW)?.event_time.watermark {
            self.replay_moment(Moment { now_micros: clock, ..Moment::default() }, &mut Vec::new()).await?;
        }
        let mut read = self.read_behind(checkpoint)?;
        let mut position = |id: ObjectId| {
            let stored = SourcePosition::stored(&self.store, id)?;
            Ok::<_, Error>(SourcePosition { read: read.remove(&id).unwrap_or_default(), ..stored })
        };
        let mut anew: Vec<Arc<RunningView>> = Vec::new();
        let mut failed: Vec<ObjectId> = Vec::new();
        for object in objects {
            match &object.kind {
                ObjectKind::Sink(sink) => {
                    let without_state = |import: &ObjectId| failed.contains(import) || anew.iter().any(|view| view.id == *import);
                    let unstored = self.recover_sink(object, sink, checkpoint, &without_state).await?;
                    anew.extend(unstored);
                }
                ObjectKind::Schema | ObjectKind::View(_) | ObjectKind::Index(_) | ObjectKind::Function(_) => {}
                ObjectKind::Table(table) => {
                    let recipe = self.stored_recipe(object, &table.columns, table.connector.as_ref());
                    let relation = self.stored_relation(object, 1, checkpoint, None)?;
                    self.start_table_or_source(object, recipe, position(object.id)?, Some(relation))?;
                }
                ObjectKind::Source(source) => {
                    let recipe = self.stored_recipe(object, &source.columns, Some(&source.connector));
                    self.start_table_or_source(object, recipe, position(object.id)?, None)?;
                }
                ObjectKind::MaterializedView(definition) => {
                    let (engine, id, view) = (Arc::clone(self), object.id, definition.clone());
                    let plan = move || engine.plan_view(&view.query, &view, Some(id), &engine.catalog());
                    let plan = match self.queries.plan(plan).await {
                        Ok((_, plan)) => plan.expect("asked for"),
                        Err(error) => {
                            self.announce_failed(object, &error);
                            failed.push(object.id);
                            continue;
                        }
                    };
                    // The state of a view that reads one without state does not fit what it will read.
                    let without_state = |import: &ObjectId| failed.contains(import) || anew.iter().any(|view| view.id == *import);
                    let fresh = plan.root.imports().iter().any(without_state);
                    let stored = self.store.offsets(object.id)?.is_some_and(|found| found == mark(&plan));
                    if fresh || !stored {
                        self.store.forget_state(object.id);
                        anew.push(self.announce_view(object, plan, definition.options.discard, None));
                    } else {
                        self.restore_view(object, plan, definition.options.discard, checkpoint).await?;
                    }
                }
            }
        }
        self.restore_indexes();
        // Nothing is told before the clock goes on.
        objects.iter().try_for_each(|object| self.restore_reports(object.id))?;
        self.replay(checkpoint, &mut anew).await?;
        self.ask(Request::Recovered)?;
        for object in objects {
            if let Err(error) = self.start_keeper(object).await {
                tracing::error!(table = %object.name, %error, "rows past their time cannot be deleted");
            }
        }
        for view in anew {
            tokio::spawn(Arc::clone(self).refill_view(view));
        }
        Ok(())
    }

    /// How far sources were read behind the checkpoint, as the log has it.
    fn read_behind(&self, checkpoint: Epoch) -> Result<Portion> {
        let mut read = Portion::default();
        for note in self.store.read_notes(checkpoint)? {
            for (source, ends) in Moment::decoded(&note?)?.behind.map(|behind| behind.read).unwrap_or_default() {
                read.entry(source).or_default().extend(ends);
            }
        }
        Ok(read)
    }

    /// A view whose query this version cannot plan has failed; the server has not, nor has anything that does not read it. Its state goes: it
    /// would be of another epoch than everyone else's when a later version plans it again.
    fn announce_failed(&self, object: &Object, error: &Error) {
        self.store.forget_state(object.id);
        let columns = object.columns().expect("a view has columns");
        let view = self.announce_view(object, Plan::nothing(schema_of(columns)), true, None);
        let cause = format!("its query cannot be planned any more: {error}");
        tracing::error!(view = %view.name(), %cause, "a view has failed");
        view.progress.fail(cause.clone());
        view.set_status(ViewStatus::Failed(cause));
    }

    /// A view whose state is in the checkpoint goes on from there.
    async fn restore_view(&self, object: &Object, plan: Plan, discard: bool, checkpoint: Epoch) -> Result<()> {
        let spread_by = plan.root.properties.partitioning.clone();
        let relation = self.stored_relation(object, self.config.workers, checkpoint, spread_by.as_deref())?;
        let view = self.announce_view(object, plan, discard, Some(relation));
        if let Err(error) = self.build_view(&view, Some(checkpoint)).await {
            view.progress.fail(error.to_string());
            view.set_status(ViewStatus::Failed(error.to_string()));
        }
        Ok(())
    }

    /// A view that was not part of the checkpoint is computed anew. If that cannot be, the view has failed; the server has not.
    async fn refill_view(self: Arc<Self>, view: Arc<RunningView>) {
        let filled = async {
            self.wait_readable(&view.plan().root.imports()).await?;
            let _one_at_a_time = self.ddl.lock().await;
            let dropped = !self.views.read().get(&view.id).is_some_and(|known| Arc::ptr_eq(known, &view));
            if dropped { Ok(()) } else { self.build_view(&view, None).await }
        };
        if let Err(error) = filled.await {
            tracing::error!(view = %view.name(), %error, "a view could not be filled again");
            view.fail(error.to_string());
        }
    }

    /// Replays writes that were durable but not part of the checkpoint, about as many bytes an epoch as there were in the first place: what was
    /// written in ten seconds may be more than one epoch, or one array, can hold. Nobody reads before it is complete. Views that were made in
    /// between, and depend on when that was, are made again at the same place, with what they read, and leave `anew`.
    async fn replay(self: &Arc<Self>, checkpoint: Epoch, anew: &mut Vec<Arc<RunningView>>) -> Result<()> {
        let mut part = Replayed::default();
        // Which rows are late depends on the epochs that they are in, and so does what they find that look into tables: these stay as they were.
        let catalog = self.catalog();
        let all_apart = self.views.read().values().any(|view| view.plan().root.follows_epochs());
        let timed = |table: ObjectId| all_apart || catalog.get(table).is_some_and(|object| object.is_in_time());
        for entry in self.store.read_log(checkpoint)? {
            match entry? {
                (epoch, LogEntry::Note(note)) => {
                    let moment = Moment::decoded(&note)?;
                    let behind = moment.behind.clone();
                    // A note behind an epoch belongs to what was written in it, if anything was.
                    if behind.is_none() || part.last != epoch {
                        self.replay_part(std::mem::take(&mut part), None).await?;
                    }
                    self.replay_moment(moment, anew).await?;
                    if behind.is_some() {
                        self.replay_part(std::mem::take(&mut part), behind).await?;
                    }
                }
                (epoch, LogEntry::Changes(table, changes)) => {
                    // Between two epochs only: what was committed together stays together.
                    if (part.bytes > EPOCH_BYTES || part.by_table.keys().copied().any(timed) || timed(table)) && part.last != epoch {
                        self.replay_part(std::mem::take(&mut part), None).await?;
                    }
                    part.add(epoch, table, changes);
                }
            }
        }
        self.replay_part(part, None).await
    }

    async fn replay_moment(self: &Arc<Self>, moment: Moment, anew: &mut Vec<Arc<RunningView>>) -> Result<()> {
        let built = moment.built;
        let (reply, there) = tokio::sync::oneshot::channel();
        self.ask(Request::Replay { moment, reply })?;
        there.await.map_err(|_| Error::new(Kind::Shutdown, "the server is shutting down"))?;
        let needed = built.and_then(|built| self.needed(built, anew)).unwrap_or_default();
        if !needed.is_empty() {
            // What is restored can be read once it has passed an epoch.
            self.tick_replayed(None).await?;
        }
        for id in needed {
            if let Some(position) = anew.iter().position(|view| view.id == id) {
                Arc::clone(self).refill_view(anew.remove(position)).await;
            }
        }
        Ok(())
    }

    /// Of the views that are made anew those that one of them needs, each behind what it reads itself, and that one last. `None` if what it reads
    /// comes from a source, which may not answer now, or is being filled from one: then it is filled while the server works already.
    fn needed(&self, view: ObjectId, anew: &[Arc<RunningView>]) -> Option<Vec<ObjectId>> {
        let catalog = self.catalog();
        let find = |id: ObjectId| anew.iter().find(|view| view.id == id);
        let views = self.views.read();
        let (mut needed, mut open) = (Vec::new(), vec![find(view)?]);
        while let Some(view) = open.pop() {
            let imports = view.plan().root.imports();
            let is_source = |import: &ObjectId| catalog.get(*import).is_some_and(|object| matches!(object.kind, ObjectKind::Source(_)));
            let waits = |import: &ObjectId| {
                let filled = views.get(import).filter(|view| find(view.id).is_none() && view.progress.is_hydrating());
                filled.is_some_and(|view| view.plan().root.imports().iter().any(is_source))
            };
            if !needed.is_empty() && imports.iter().any(is_source) || imports.iter().any(waits) {
                return None;
            }
            // One that others need, too, comes before all of them.
            needed.retain(|known| *known != view.id);
            needed.push(view.id);
            open.extend(imports.into_iter().filter_map(find));
        }
        needed.reverse();
        Some(needed)
    }

    /// `behind`: what the log has behind the epoch.
    async fn replay_part(&self, part: Replayed, behind: Option<Behind>) -> Result<()> {
        let relations = self.relations.lock().clone();
        let mut writes = Vec::new();
        for (table, changes) in part.by_table {
            // A table that was dropped behind its last write has no relation any more.
            let Some(relation) = relations.get(&table) else { continue };
            let pieces = Changes::regroup(relation.schema(), changes, usize::MAX, EPOCH_BYTES);
            writes.extend(pieces.into_iter().map(|changes| Write {
                table,
                relation: Arc::clone(relation),
                changes,
                logged: true,
                by: None,
            }));
        }
        if writes.is_empty() && behind.is_none() {
            return Ok(());
        }
        if !writes.is_empty() {
            self.clock.commit(writes)?;
        }
        let epoch = self.tick_replayed(behind).await?;
        self.clock.wait_complete(epoch).await
    }

    async fn tick_replayed(&self, behind: Option<Behind>) -> Result<Epoch> {
        let (reply, ticked) = tokio::sync::oneshot::channel();
        self.ask(Request::Replayed { behind, reply })?;
        ticked.await.map_err(|_| Error::new(Kind::Shutdown, "the server is shutting down"))
    }

    fn stored_relation(&self, object: &Object, shards: usize, checkpoint: Epoch, spread_by: Option<&[usize]>) -> Result<Relation> {
        let columns = object.columns().expect("tables and views have columns");
        let (key, append_only) = match &object.kind {
            ObjectKind::Table(table) => ((!table.key.is_empty()).then(|| table.key.clone()), table.only_grows()),
            ObjectKind::MaterializedView(view) => (view.key.clone(), view.append_only),
            _ => (None, false),
        };
        let relation = Relation::load(&self.store, object.id, schema_of(columns), key, append_only, shards, checkpoint, spread_by)?;
        Ok(relation.stamping(arrivals(columns)))
    }

    /// A stored source's recipe. The outside world may be down at this moment: then the reader keeps trying. If it cannot be made any more, the
    /// source has failed and nothing else.
    fn stored_recipe(self: &Arc<Self>, object: &Object, columns: &[Column], options: Option<&ConnectorOptions>) -> Option<SourceRecipe> {
        let (id, options) = (object.id, options?);
        let ready = self.source_spec(columns, options).and_then(|spec| {
            let connector = crate::connect::open(spec)?;
            self.taking_in(id, columns, object.event_time(), connector)
        });
        Some(ready.unwrap_or_else(|error| {
            let schema = schema_of(columns);
            let intake = Arc::new(move || Intake::new(None, Arc::clone(&schema)));
            let connector = Arc::new(Unreadable(error));
            SourceRecipe {
                id,
                connector,
                intake,
                arrival: Arrival::default(),
                needs: Arc::new(ColumnNeeds::default()),
                errors: self.row_errors.sink(id),
                only: None,
            }
        }))
    }
}

/// Consecutive entries of the log that are replayed in one epoch.
#[derive(Default)]
struct Replayed {
    by_table: BTreeMap<ObjectId, Vec<Changes>>,
    bytes: usize,
    /// The newest epoch among them, as it was when they were written.
    last: Epoch,
}

impl Replayed {
    fn add(&mut self, epoch: Epoch, table: ObjectId, changes: Changes) {
        self.bytes += changes.payload_bytes();
        self.last = epoch;
        self.by_table.entry(table).or_default().push(changes);
    }
}

/// Stands in for a connector whose options, defaults or generated columns are not valid any more: its readers say so.
#[derive(Clone)]
struct Unreadable(Error);

impl Connector for Unreadable {
    fn columns(&self) -> &[SourceColumn] {
        &[]
    }

    fn start(&self, _from: &Positions, _until: Option<&Positions>) -> Result<Box<dyn Reader>> {
        Ok(Box::new(self.clone()))
    }
}

impl Reader for Unreadable {
    fn poll(&mut self, _wait: Duration) -> Poll {
        Poll::Failed(self.0.to_string())
    }
}

/// What is stored, and cannot be read.
pub(crate) fn undecodable(what: &str, cause: &serde_json::Error) -> Error {
    Error::external(&format!("{what} is in the data directory, but cannot be read"), cause)
        .hint("Another version of Tidemill may have written it: start that one. If it is damaged, restore the directory from a copy.")
}

/// What an object is called whose definition cannot be read, as far as that can be told.
fn stored_name(id: ObjectId, bytes: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let name = json.as_ref().and_then(|json| Some((json.get("schema")?.as_str()?, json.get("name")?.as_str()?)));
    match name {
        Some((schema, name)) => format!("the definition of \"{schema}.{name}\" (object {id})"),
        None => format!("the definition of object {id}"),
    }
}

fn stored_objects(store: &Store) -> Result<Vec<Object>> {
    let mut objects: Vec<Object> = Vec::new();
    for (id, bytes) in store.objects()? {
        objects.push(serde_json::from_slice(&bytes).map_err(|cause| undecodable(&stored_name(id, &bytes), &cause))?);
    }
    objects.sort_by_key(|object| object.id);
    Ok(objects)
}
