//! CREATE SINK … INTO: from a definition to a dataflow whose changes go into a table; and the same at a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::owed::Owed;
use super::running::RunningSink;
use crate::catalog::{Catalog, Object, ObjectKind, Sink, Table, View, ViewOptions};
use crate::engine::Engine;
use crate::engine::coordinator::progress;
use crate::engine::dependants::depends_on;
use crate::engine::dml::writable;
use crate::engine::session::Session;
use crate::engine::source::SourceReport;
use crate::engine::view::{RunningView, ViewStatus, mark};
use crate::engine::write::schema_of_nullable;
use crate::error::{Error, Kind, Result};
use crate::plan::{Bound, NoSystemRelations, Plan, Scope, ViewSettings};
use crate::sql::{CreateSink, Insert, Name, Parsed, SinkSource, quote_ident};
use crate::types::{Epoch, Growth, ObjectId};

/// What a checkpoint says of a sink that it does not hold any more.
pub(crate) const LOST: &[u8] = b"lost";

impl Session {
    pub(crate) async fn create_sink(&mut self, create: &CreateSink, parsed: &Parsed) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        loop {
            let one_at_a_time = engine.ddl.lock().await;
            let Some((mut object, plan)) = self.sink_object(create, parsed).await? else { return Ok(()) };
            let imports = plan.root.imports();
            if !engine.are_readable(&imports) {
                // Not under the lock: as for views.
                drop(one_at_a_time);
                engine.wait_readable(&imports).await?;
                continue;
            }
            let creating = self.shield.raise();
            object.id = engine.new_id()?;
            for (message, hint) in crate::plan::notices(&plan, &engine.catalog()) {
                self.notice(Error::new(Kind::ObjectState, message).hint(hint));
            }
            let view = engine.announce_sink(&object, plan, None)?;
            let built = match engine.install(std::slice::from_ref(&object)) {
                Ok(()) => engine.build_view(&view, None).await,
                Err(error) => Err(error),
            };
            engine.whole(object.id, built).await?;
            drop((creating, one_at_a_time));
            return self.wait_or_tell(&view, "sink").await;
        }
    }

    /// The sink as the catalog is to have it, without a number, and its plan; `None` if there is nothing to do.
    pub(crate) async fn sink_object(&mut self, create: &CreateSink, parsed: &Parsed) -> Result<Option<(Object, Plan)>> {
        let Some(schema) = self.free_name(&create.name, create.if_not_exists)? else { return Ok(None) };
        let (target, sink) = self.sink_definition(create)?;
        let (engine, catalog) = (Arc::clone(&self.engine), self.engine.catalog());
        let definition = sink.clone();
        let offset = match &create.source {
            SinkSource::Query { offset, .. } => *offset,
            SinkSource::Relation(_) => 0,
        };
        let planned = self.engine.queries.plan(move || engine.plan_sink(ObjectId::MAX, &definition, &catalog)).await;
        let (bound, plan) = planned.map_err(|error| error.shifted(offset))?;
        let table = writable(&target)?;
        self.check_sink(&target, table, &bound, &plan).map_err(|error| error.at(create.target.position))?;
        let depends_on = depends_on(&bound, Some(&plan)).into_iter().chain([target.id]).collect();
        let object = Object {
            id: 0,
            schema,
            name: create.name.name.clone(),
            sql: parsed.text.clone(),
            depends_on,
            kind: ObjectKind::Sink(sink),
            comments: BTreeMap::new(),
        };
        Ok(Some((object, plan)))
    }

    /// The table, and what the statement says of the sink into it.
    fn sink_definition(&self, create: &CreateSink) -> Result<(Arc<Object>, Sink)> {
        let target = self.find(&create.target)?;
        let table = writable(&target).map_err(|error| error.at(create.target.position))?;
        let search_path = self.settings.search_path();
        let (query, width) = match &create.source {
            SinkSource::Relation(name) => {
                let relation = self.find(name)?;
                let Some(columns) = relation.columns() else {
                    let message = format!("\"{}\" is not a relation", relation.name);
                    return Err(Error::new(Kind::WrongObjectType, message).at(name.position));
                };
                let names: Vec<String> = columns.iter().map(|column| quote_ident(&column.name)).collect();
                let from = format!("{}.{}", quote_ident(&relation.schema), quote_ident(&relation.name));
                (format!("SELECT {} FROM {from}", names.join(", ")), columns.len())
            }
            SinkSource::Query { query, text, offset } => {
                let catalog = self.engine.catalog();
                let scope = Scope { catalog: &catalog, search_path: &search_path, relations: &NoSystemRelations, text };
                let bound = self.engine.planner.query(query, &scope, &[]).map_err(|error| error.shifted(*offset))?;
                (text.clone(), bound.schema.fields().len())
            }
        };
        let fills = filled(&target, table, create, width)?;
        let view = View {
            columns: table.columns.clone(),
            query,
            search_path,
            key: None,
            append_only: false,
            options: ViewOptions::default(),
            lows: BTreeMap::new(),
            covering: None,
            growth: Growth::Bounded,
        };
        Ok((Arc::clone(&target), Sink { target: target.id, fills, view }))
    }

    /// Whether the table can take what the plan gives, for ever.
    fn check_sink(&mut self, target: &Object, table: &Table, bound: &Bound, plan: &Plan) -> Result<()> {
        if let Some(cycle) = cycle(&self.engine.catalog(), target.id, &bound.depends_on) {
            let message = format!("the sink would feed itself: {cycle}");
            return Err(Error::new(Kind::InvalidObjectDefinition, message).hint("Write into a table that the query does not read."));
        }
        let properties = &plan.root.properties;
        if table.append_only && !properties.append_only {
            let message = format!("table \"{}\" is append only, but what the sink reads also changes and deletes rows", target.name);
            return Err(Error::new(Kind::WrongObjectType, message)
                .hint("Make the table without APPEND ONLY, or sink a query that only adds rows: of sources and append-only tables."));
        }
        let unique = properties.key.as_ref().is_some_and(|key| key.iter().all(|column| table.key.contains(column)));
        if !table.key.is_empty() && !unique {
            let message = format!("the sink may bring several rows with one primary key of table \"{}\"", target.name);
            let hint = "Which of them stays is decided by the table's ON CONFLICT; when it is taken back, the others do not come again. \
                        GROUP BY the key, or DISTINCT ON it, makes it unique.";
            self.notice(Error::new(Kind::ObjectState, message).hint(hint));
        }
        Ok(())
    }
}

impl Engine {
    /// A sink's rows over `catalog`, as its table takes them, and what maintains them. `number`: the sink's, or the greatest for a new one.
    pub(crate) fn plan_sink(&self, number: ObjectId, sink: &Sink, catalog: &Catalog) -> Result<(Bound, Plan)> {
        let text = sink.view.query.as_str();
        let target = catalog.get(sink.target).ok_or_else(|| Error::new(Kind::UndefinedTable, "the sink's table is gone"))?;
        let table = writable(target)?;
        let insert = Insert {
            with: None,
            table: Name { schema: Some(target.schema.clone()), name: target.name.clone(), position: 1 },
            columns: sink.fills.iter().map(|position| table.columns[*position].name.clone()).collect(),
            source: Some(Box::new(crate::plan::parse_query(text)?)),
            conflict_target: Vec::new(),
            on_conflict: None,
            returning: None,
        };
        let scope = Scope { catalog, search_path: &sink.view.search_path, relations: &NoSystemRelations, text };
        let bound = self.planner.insert(&insert, &scope, &[])?.rows;
        let plan = self.planner.view_with(&bound, catalog, ViewSettings::of(Some(number), &sink.view.options))?;
        Ok((bound, plan))
    }

    /// Makes a sink known, and starts to write what leaves it. `owed`: what it owes after a restart.
    fn announce_sink(self: &Arc<Self>, object: &Object, plan: Plan, owed: Option<Owed>) -> Result<Arc<RunningView>> {
        let ObjectKind::Sink(sink) = &object.kind else { return Err(Error::internal("a sink is a sink")) };
        let catalog = self.catalog();
        let table = writable(catalog.get(sink.target).ok_or_else(|| Error::internal("a sink has a table"))?)?.clone();
        let sources = self.sources_of(&plan);
        // At a restart, nothing has been ticked yet that was there before.
        let floor = self.clock.complete();
        let running = Arc::new(RunningSink::new(object.id, sink.target, schema_of_nullable(&table), sources, floor, owed));
        let progress = progress(self.config.workers, Arc::clone(&self.wake));
        let view = Arc::new(RunningView::of_sink(object.id, object.name.clone(), plan, Arc::clone(&running), progress));
        self.views.write().insert(object.id, Arc::clone(&view));
        self.sinks.write().insert(object.id, Arc::clone(&running));
        self.start_pump(running);
        Ok(view)
    }

    /// The sources whose rows reach a plan, other than through tables that keep them for good.
    fn sources_of(&self, plan: &Plan) -> Vec<(ObjectId, Arc<Mutex<SourceReport>>)> {
        let (sources, views) = (self.sources.read(), self.views.read());
        let mut found: BTreeMap<ObjectId, Arc<Mutex<SourceReport>>> = BTreeMap::new();
        let mut left = plan.root.imports();
        while let Some(id) = left.pop() {
            if let Some(source) = sources.get(&id) {
                found.insert(id, Arc::clone(&source.report));
            }
            left.extend(views.get(&id).iter().flat_map(|view| view.plan().root.imports()));
        }
        found.into_iter().collect()
    }

    /// A sink at a restart: goes on from the checkpoint, if it holds the sink. Gives the sink back if it is to be filled anew; it has failed if it
    /// cannot go on. `without_state`: views that do not go on from the checkpoint.
    pub(crate) async fn recover_sink(
        self: &Arc<Self>,
        object: &Object,
        sink: &Sink,
        checkpoint: Epoch,
        without_state: &(dyn Fn(&ObjectId) -> bool + Sync),
    ) -> Result<Option<Arc<RunningView>>> {
        let (engine, number, definition) = (Arc::clone(self), object.id, sink.clone());
        let planned = self.queries.plan(move || engine.plan_sink(number, &definition, &engine.catalog())).await;
        let plan = match planned {
            Ok((_, plan)) => plan,
            Err(error) => return self.lose_sink(object, format!("its query cannot be planned any more: {error}")).map(|()| None),
        };
        let stored = self.store.offsets(object.id)?.unwrap_or_default();
        let target = self.catalog().get(sink.target).cloned();
        let schema = schema_of_nullable(writable(target.as_ref().ok_or_else(|| Error::internal("a sink has a table"))?)?);
        let owed = Owed::stored(&self.store, object.id, &schema)?;
        if stored.is_empty() {
            // No checkpoint has held it yet, so the log has all that it has written.
            return self.announce_sink(object, plan, Some(owed)).map(Some);
        }
        if stored != mark(&plan) || plan.root.imports().iter().any(without_state) {
            return self.lose_sink(object, "what it reads had to be computed anew".to_owned()).map(|()| None);
        }
        let view = self.announce_sink(object, plan, Some(owed))?;
        if let Some(sink) = &view.sink {
            sink.is_in_checkpoints();
        }
        if let Err(error) = self.build_view(&view, Some(checkpoint)).await {
            view.fail(error.to_string());
        }
        Ok(None)
    }

    /// A sink of which nobody knows any more what it has written: it cannot go on without writing something twice.
    fn lose_sink(self: &Arc<Self>, object: &Object, cause: String) -> Result<()> {
        let view = self.announce_sink(object, Plan::nothing(Arc::new(arrow::datatypes::Schema::empty())), None)?;
        tracing::error!(sink = %object.name, %cause, "a sink has failed");
        view.progress.fail(cause.clone());
        view.fail(cause);
        // Its log tells nothing any more.
        view.sink.iter().for_each(|sink| sink.is_in_checkpoints());
        self.store.put_offsets(object.id, LOST)
    }
}

impl RunningView {
    /// It has failed, for this reason.
    pub(crate) fn fail(&self, cause: String) {
        if let Some(sink) = &self.sink {
            sink.stop();
        }
        self.progress.fail(cause.clone());
        self.set_status(ViewStatus::Failed(cause));
    }
}

/// The way from a table back to it through what a sink into it would read, if there is one.
pub(crate) fn cycle(catalog: &Catalog, target: ObjectId, reads: &[ObjectId]) -> Option<String> {
    let ways = reads.iter().filter_map(|read| catalog.way(target, *read));
    // `reads` also has what is below the views in it: the longest way says the most.
    let way = ways.max_by_key(Vec::len)?;
    let names: Vec<&str> = way.iter().chain(way.first()).map(|object| object.name.as_str()).collect();
    Some(names.join(" → "))
}

/// The positions of the columns that a sink fills: those named, or the first ones that can be written.
fn filled(target: &Object, table: &Table, create: &CreateSink, width: usize) -> Result<Vec<usize>> {
    let can_be_written = |position: &usize| table.columns[*position].generated.is_none();
    let fills: Vec<usize> = if create.columns.is_empty() {
        (0..table.columns.len()).filter(can_be_written).take(width).collect()
    } else {
        let position = |name: &String| {
            let found = table.columns.iter().position(|column| column.name == *name);
            found.ok_or_else(|| crate::engine::alter::undefined_column(target, name))
        };
        create.columns.iter().map(position).collect::<Result<_>>()?
    };
    if fills.len() != width {
        let message = match fills.len() < width {
            true => format!("the sink has more columns than it fills in table \"{}\"", target.name),
            false => format!("the sink has fewer columns than it is to fill in table \"{}\"", target.name),
        };
        return Err(Error::new(Kind::Syntax, message)
            .hint("Name as many columns behind INTO as the query gives.")
            .at(create.target.position));
    }
    Ok(fills)
}

/// The statement that would make a sink as it is now.
pub(crate) fn sink_statement(catalog: &Catalog, object: &Object, sink: &Sink) -> String {
    let qualified = |object: &Object| format!("{}.{}", quote_ident(&object.schema), quote_ident(&object.name));
    let Some(target) = catalog.get(sink.target) else { return object.sql.clone() };
    let columns = target.columns().unwrap_or_default();
    let fills: Vec<String> =
        sink.fills.iter().filter_map(|position| columns.get(*position)).map(|column| quote_ident(&column.name)).collect();
    format!("CREATE SINK {} INTO {} ({}) AS {}", qualified(object), qualified(target), fills.join(", "), sink.view.query)
}
