//! CREATE: what a definition becomes. The catalog first, then what runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::Schema;
use parking_lot::Mutex;

use crate::catalog::{
    Catalog, Column, ConnectorOptions, EventTime, Object, ObjectKind, Source, Table, View, ViewOptions, ViewRetention, arrivals, nearest,
};
use crate::connect::{Connector, SourceColumn, SourceSpec};
use crate::engine::arrival::Arrival;
use crate::engine::clock::Write;
use crate::engine::coordinator::{BuildView, ImportFrom, Request, progress};
use crate::engine::dependants::depends_on;
use crate::engine::dml::collected;
use crate::engine::event_time::{EventRule, IDLE_TIMEOUT, MAX_FUTURE, duration, event_time};
use crate::engine::intake::{Compute, Intake, MakeIntake};
use crate::engine::retention::{self, RETENTION, RETENTION_COLUMN};
use crate::engine::session::Session;
use crate::engine::source::{SourcePosition, SourceRecipe, SourceReport};
use crate::engine::view::RunningView;
use crate::engine::write::{check_not_null, schema_of_nullable};
use crate::engine::{Engine, KnownSource};
use crate::error::{Error, Kind, Result};
use crate::plan::{
    Bound, NoSystemRelations, Plan, Scalar, Scope, ViewSettings, column_type, covering, growth, lows, retention_column, schema_of,
};
use crate::sql::{ColumnDefinition, CreateTable, CreateView, Parsed, is_proctime};
use crate::state::Relation;
use crate::types::{Changes, Epoch, Growth, ObjectId, OnConflict, PROCTIME, Running, SqlType, declared_type_of};

/// How long CREATE MATERIALIZED VIEW waits for the view to be readable before it answers with a notice instead.
const READY_WAIT: Duration = Duration::from_millis(500);

impl Session {
    /// Gives the number of rows that it has from the start, if a query made them.
    pub(crate) async fn create_table(&mut self, create: &CreateTable, parsed: &Parsed, source: bool) -> Result<Option<usize>> {
        match &create.query {
            Some(query) if !source => self.create_table_as(create, query, parsed).await,
            _ => self.define_table(create, parsed, source).await.map(|()| None),
        }
    }

    /// CREATE TABLE … AS: a table of the query's columns, and its rows as they are now. It is there with all its rows, or not at all.
    async fn create_table_as(&mut self, create: &CreateTable, query: &sqlparser::ast::Query, parsed: &Parsed) -> Result<Option<usize>> {
        if self.free_name(&create.name, create.if_not_exists)?.is_none() {
            return Ok(None);
        }
        let mut options = create.options.clone();
        let taken = retention::taken(&mut options)?;
        refuse_unknown(&options)?;
        let planned = self.plan(query, &parsed.text, &[]).await?;
        let types = planned.bound.stored_types();
        let columns = planned.bound.schema.fields().iter().zip(&types).enumerate().map(|(index, (field, sql_type))| {
            let name = create.columns.get(index).map_or_else(|| field.name().clone(), |column| column.name.clone());
            Column { name, sql_type: sql_type.clone(), not_null: false, default: None, generated: None, include: None }
        });
        let columns: Vec<Column> = columns.collect();
        let key = key_positions(create, &columns)?;
        let on_conflict = conflict_policy(create)?;
        let table = Table {
            columns: with_key_not_null(columns, &key),
            key,
            on_conflict,
            append_only: create.append_only,
            connector: None,
            event_time: None,
            retention: None,
        };
        let table = Table { retention: retention::of_table(taken, &table.columns, None)?, ..table };
        let rows = match create.with_data {
            true => collected(self.run_planned(&planned, &[]).await?.1).await?,
            false => Vec::new(),
        };
        let engine = Arc::clone(&self.engine);
        let _one_at_a_time = engine.ddl.lock().await;
        let Some(schema) = self.free_name(&create.name, create.if_not_exists)? else { return Ok(None) };
        let (name, sql) = (create.name.name.clone(), parsed.text.clone());
        let mut object =
            Object { id: 0, schema, name, sql, depends_on: Vec::new(), kind: ObjectKind::Table(table.clone()), comments: BTreeMap::new() };
        let relation = Arc::new(new_table_relation(&table));
        let count = rows.iter().map(RecordBatch::num_rows).sum();
        let (named, filled) = (object.clone(), Arc::clone(&relation));
        let first = move |running: &Running| Ok(first_rows(&named, &table, &filled, &rows, running)?.canonical_floats());
        let changes = engine.queries.work(first).await?;
        let _creating = self.shield.raise();
        object.id = engine.new_id()?;
        engine.relations.lock().insert(object.id, Arc::clone(&relation));
        let created = async {
            // The rows before the definition: a crash in between leaves rows of a table that nobody knows.
            let write = Write { table: object.id, relation, changes, logged: false, by: None };
            let epoch = engine.enter(true, |clock| clock.commit(vec![write])).await?;
            (engine.wake)();
            engine.clock.wait_complete(epoch).await?;
            engine.install(std::slice::from_ref(&object))?;
            engine.start_keeper(&object).await
        };
        let created = created.await;
        engine.whole(object.id, created).await?;
        Ok(create.with_data.then_some(count))
    }

    async fn define_table(&mut self, create: &CreateTable, parsed: &Parsed, source: bool) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let _one_at_a_time = engine.ddl.lock().await;
        let Some(schema) = self.free_name(&create.name, create.if_not_exists)? else { return Ok(()) };
        let mut create = create.clone();
        let event_time = event_time(&mut create)?;
        let taken = retention::taken(&mut create.options)?;
        let create = &create;
        let columns = declared_columns(create)?;
        let id = engine.new_id()?;
        let options = connector_options(create)?;
        if source {
            check_source(create, taken.is_some(), options.is_some())?;
        }
        let (columns, recipe) = match &options {
            None => (columns, None),
            Some(options) => {
                let (columns, recipe) = engine.recipe(id, columns, &create.key, event_time.as_ref(), options).await?;
                (columns, Some(recipe))
            }
        };
        if columns.is_empty() {
            return Err(
                Error::new(Kind::InvalidTableDefinition, format!("\"{}\" has no columns", create.name.name)).at(create.name.position)
            );
        }
        let key = key_positions(create, &columns)?;
        let columns = with_key_not_null(columns, &key);
        engine.check_expressions(&columns)?;
        check_arrivals(&columns, &key)?;
        if let Some(event_time) = &event_time {
            let rule = engine.event_rule(&columns, event_time)?;
            if rule.runs_ahead(&columns)? {
                let name = &event_time.column;
                let message = format!("the watermark of \"{name}\" runs ahead of it: rows that come in order may be late");
                let hint = format!(
                    "It says how far behind others a row may come, as a rule: WATERMARK FOR {name} AS {name} - INTERVAL '5 seconds'."
                );
                self.notice(Error::new(Kind::ObjectState, message).hint(hint));
            }
        }
        if options.is_some() {
            engine.refuse_changing_defaults(&columns)?;
        }
        let kind = if source {
            ObjectKind::Source(Source { columns, connector: options.expect("checked above"), event_time })
        } else {
            let append_only = create.append_only || (options.is_some() && key.is_empty());
            let on_conflict = conflict_policy(create)?;
            let retention = retention::of_table(taken, &columns, event_time.as_ref())?;
            ObjectKind::Table(Table { columns, key, on_conflict, append_only, connector: options, event_time, retention })
        };
        let object = Object {
            id,
            schema,
            name: create.name.name.clone(),
            sql: parsed.text.clone(),
            depends_on: Vec::new(),
            kind,
            comments: BTreeMap::new(),
        };
        // The rows before the definition: whoever finds the one finds the other.
        let started = engine.start_table_or_source(&object, recipe, SourcePosition::default(), None);
        let created = match started.and_then(|()| engine.install(std::slice::from_ref(&object))) {
            Ok(()) => engine.start_keeper(&object).await,
            Err(error) => Err(error),
        };
        engine.whole(id, created).await
    }

    pub(crate) async fn create_view(&mut self, create: &CreateView, parsed: &Parsed, materialized: bool) -> Result<()> {
        if create.emit_on_window_close && !materialized {
            return Err(Error::new(Kind::Syntax, "EMIT ON WINDOW CLOSE is for materialized views")
                .hint("CREATE MATERIALIZED VIEW keeps rows until their windows close; a plain view keeps nothing."));
        }
        let engine = Arc::clone(&self.engine);
        if create.or_replace && self.replace_view(create, parsed, materialized).await?.is_some() {
            return Ok(());
        }
        loop {
            let one_at_a_time = engine.ddl.lock().await;
            let Some((mut object, plan)) = self.view_object(create, parsed, materialized).await? else { return Ok(()) };
            let imports = plan.as_ref().map_or_else(Vec::new, |plan| plan.root.imports());
            if !engine.are_readable(&imports) {
                // Not under the lock: while a view is being filled everyone may change definitions, and drop that very view.
                drop(one_at_a_time);
                engine.wait_readable(&imports).await?;
                continue;
            }
            let creating = self.shield.raise();
            object.id = engine.new_id()?;
            let Some(plan) = plan else { return engine.install(&[object]) };
            for (message, hint) in crate::plan::notices(&plan, &engine.catalog()) {
                self.notice(Error::new(Kind::ObjectState, message).hint(hint));
            }
            let running = engine.start_view(&object, plan).await?;
            drop((creating, one_at_a_time));
            return self.wait_or_tell(&running, "materialized view").await;
        }
    }

    /// The view as the catalog is to have it, without a number, and its plan if it is to be maintained; `None` if there is nothing to do.
    async fn view_object(&mut self, create: &CreateView, parsed: &Parsed, materialized: bool) -> Result<Option<(Object, Option<Plan>)>> {
        let Some(schema) = self.free_name(&create.name, create.if_not_exists)? else { return Ok(None) };
        let (engine, catalog, path) = (Arc::clone(&self.engine), self.engine.catalog(), self.settings.search_path());
        let statement = create.clone();
        let planned = self.engine.queries.plan(move || view_plan(&engine, &catalog, &path, &statement, materialized)).await?;
        self.defined_view(create, parsed, schema, materialized, planned).map(Some)
    }

    /// The view that a statement defines, without a number, and its plan if it is to be maintained.
    pub(crate) fn view_definition(
        &mut self,
        create: &CreateView,
        parsed: &Parsed,
        schema: String,
        materialized: bool,
    ) -> Result<(Object, Option<Plan>)> {
        let planned = view_plan(&self.engine, &self.engine.catalog(), &self.settings.search_path(), create, materialized)?;
        self.defined_view(create, parsed, schema, materialized, planned)
    }

    fn defined_view(
        &mut self,
        create: &CreateView,
        parsed: &Parsed,
        schema: String,
        materialized: bool,
        (bound, plan): (Bound, Option<Plan>),
    ) -> Result<(Object, Option<Plan>)> {
        let search_path = self.settings.search_path();
        if !bound.parameters.is_empty() {
            return Err(Error::new(Kind::UndefinedParameter, "there is no parameter $1").hint("A view's query has no parameters."));
        }
        let columns = view_columns(create, &bound.schema)?;
        let view = View {
            columns,
            query: create.query_text.clone(),
            search_path,
            key: plan.as_ref().and_then(|plan| plan.root.properties.key.clone()),
            append_only: plan.as_ref().is_some_and(|plan| plan.root.properties.append_only),
            options: options(create, &bound.schema)?,
            lows: plan.as_ref().map_or_else(BTreeMap::new, |plan| lows(plan, &self.engine.catalog())),
            covering: plan.as_ref().map(|plan| covering(plan, &self.engine.catalog())),
            growth: plan.as_ref().map_or(Growth::Bounded, |plan| growth(plan, &self.engine.catalog())),
        };
        let kind = if materialized { ObjectKind::MaterializedView(view) } else { ObjectKind::View(view) };
        let object = Object {
            id: 0,
            schema,
            name: create.name.name.clone(),
            sql: parsed.text.clone(),
            depends_on: depends_on(&bound, plan.as_ref()),
            kind,
            comments: BTreeMap::new(),
        };
        Ok((object, plan))
    }

    /// A view that is ready at once needs no word; one that reads a lot first gets a notice.
    pub(crate) async fn wait_or_tell(&mut self, view: &Arc<RunningView>, kind: &str) -> Result<()> {
        if let Ok(ready) = tokio::time::timeout(READY_WAIT, view.wait_ready()).await {
            return ready;
        }
        let (rows, total) = view.progress.hydration();
        let of = total.map_or_else(String::new, |total| format!(" of {total}"));
        let (doing, hint) = match view.sink {
            None => ("is being filled", "Queries on it wait until it is ready; SELECT * FROM tidemill.progress shows how far it is."),
            Some(_) => ("fills its table", "Queries on that do not wait for it; SELECT * FROM tidemill.progress shows how far it is."),
        };
        let notice = Error::new(Kind::ObjectState, format!("{kind} \"{}\" {doing}: {rows} rows{of} so far", view.name()));
        self.notice(notice.hint(hint));
        Ok(())
    }
}

impl Engine {
    /// Checks a connector's options and makes it ready to read. Gives the object's columns too: the connector's own where the statement
    /// declared none, those of the primary key NOT NULL. Talks to the outside world, so not on a thread of the runtime.
    pub(crate) async fn recipe(
        &self,
        id: ObjectId,
        columns: Vec<Column>,
        key: &[String],
        event_time: Option<&EventTime>,
        options: &ConnectorOptions,
    ) -> Result<(Vec<Column>, SourceRecipe)> {
        let columns = not_null_where_named(columns, key);
        let spec = self.source_spec(&columns, options)?;
        let connector = tokio::task::spawn_blocking(move || crate::connect::connect(spec))
            .await
            .map_err(|cause| Error::internal(format!("the connector failed: {cause}")))??;
        let columns = not_null_where_named(completed(columns, connector.as_ref()), key);
        let recipe = self.taking_in(id, &columns, event_time, connector)?;
        Ok((columns, recipe))
    }

    /// What the connector is told: the columns that it delivers, with their defaults evaluated.
    pub(crate) fn source_spec(&self, columns: &[Column], options: &ConnectorOptions) -> Result<SourceSpec> {
        let delivered = columns.iter().filter(|column| column.generated.is_none()).map(|column| {
            let default = column.default.as_ref().map(|text| self.constant(text, &column.sql_type)).transpose()?;
            Ok(SourceColumn {
                name: column.name.clone(),
                sql_type: column.sql_type.clone(),
                not_null: column.not_null,
                default,
                include: column.include,
            })
        });
        Ok(SourceSpec {
            columns: delivered.collect::<Result<_>>()?,
            options: options.options.clone(),
            format: options.format.clone(),
            encode: options.encode.clone(),
            encode_options: options.encode_options.clone(),
        })
    }

    /// How the connector's rows become the object's.
    pub(crate) fn taking_in(
        &self,
        id: ObjectId,
        columns: &[Column],
        event_time: Option<&EventTime>,
        connector: Arc<dyn Connector>,
    ) -> Result<SourceRecipe> {
        let rule = event_time.map(|event_time| self.event_rule(columns, event_time)).transpose()?;
        let arrival = Arrival::new(columns, rule.clone());
        let intake = self.intake(columns, rule, connector.as_ref())?;
        let needs = Arc::new(self.column_needs(columns, event_time, connector.as_ref())?);
        Ok(SourceRecipe { id, connector, intake, arrival, needs, errors: self.row_errors.sink(id), only: None })
    }

    /// How the connector's columns become the object's.
    fn intake(&self, columns: &[Column], rule: Option<EventRule>, connector: &dyn Connector) -> Result<MakeIntake> {
        let schema = schema_of(columns);
        if columns.iter().all(|column| column.generated.is_none()) {
            return Ok(Arc::new(move || Intake::new(None, Arc::clone(&schema)).in_time(rule.clone())));
        }
        let delivered: Vec<Column> = connector.columns().iter().map(column_of).collect();
        let projection = self.generated_projection(&delivered, columns)?;
        Compute::new(projection.clone(), &schema)?;
        Ok(Arc::new(move || {
            let compute = Compute::new(projection.clone(), &schema).expect("it was made once above");
            Intake::new(Some(compute), Arc::clone(&schema)).in_time(rule.clone())
        }))
    }

    /// What turns rows without generated columns into rows with them.
    pub(crate) fn generated_projection(&self, at_hand: &[Column], columns: &[Column]) -> Result<Vec<Scalar>> {
        let catalog = self.catalog();
        let scope = Scope { catalog: &catalog, search_path: &[], relations: &NoSystemRelations, text: "" };
        self.planner.generated_projection(at_hand, columns, &scope)
    }

    /// Makes a table's or source's run-time side. `relation`: the rows it has already, after a restart.
    pub(crate) fn start_table_or_source(
        &self,
        object: &Object,
        recipe: Option<SourceRecipe>,
        from: SourcePosition,
        relation: Option<Relation>,
    ) -> Result<()> {
        let report = Arc::new(Mutex::new(SourceReport { position: from.clone(), status: "idle".to_owned(), ..SourceReport::default() }));
        if let Some(recipe) = &recipe {
            self.sources.write().insert(object.id, KnownSource { recipe: recipe.clone(), report: Arc::clone(&report) });
        }
        if let (Some(event_time), Some(columns)) = (object.event_time(), object.columns()) {
            let rule = Box::new(self.event_rule(columns, event_time)?);
            self.ask(Request::FollowTime { object: object.id, rule, stored: from.event_time.clone() })?;
        }
        let ObjectKind::Table(table) = &object.kind else { return Ok(()) };
        let relation = Arc::new(relation.unwrap_or_else(|| new_table_relation(table)));
        self.relations.lock().insert(object.id, Arc::clone(&relation));
        match recipe {
            Some(recipe) => {
                let (table, on_conflict) = (object.name.clone(), table.on_conflict);
                self.ask(Request::FillTable { recipe, table, relation, on_conflict, report, from })
            }
            None => Ok(()),
        }
    }

    /// Defines a new view and starts to maintain it.
    async fn start_view(&self, object: &Object, plan: Plan) -> Result<Arc<RunningView>> {
        let discard = matches!(&object.kind, ObjectKind::MaterializedView(view) if view.options.discard);
        // Announced before it is defined: whoever finds the definition can wait for the rows.
        let view = self.announce_view(object, plan, discard, None);
        let built = match self.install(std::slice::from_ref(object)) {
            Ok(()) => self.build_view(&view, None).await,
            Err(error) => Err(error),
        };
        self.whole(object.id, built).await.map(|()| view)
    }

    /// An object whose creation has failed is not there, and nothing that was begun for it.
    pub(crate) async fn whole(&self, object: ObjectId, created: Result<()>) -> Result<()> {
        if created.is_err()
            && let Err(error) = self.drop_all(&[object]).await
        {
            tracing::error!(object, %error, "what was begun of an object could not be taken back");
        }
        created
    }

    /// Makes a view known: whoever queries it waits until it has been built. `stored`: the rows it has already, after a restart.
    pub(crate) fn announce_view(&self, object: &Object, plan: Plan, discard: bool, stored: Option<Relation>) -> Arc<RunningView> {
        let relation = (!discard).then(|| Arc::new(stored.unwrap_or_else(|| self.new_view_relation(object, &plan))));
        let progress = progress(self.config.workers, Arc::clone(&self.wake));
        let view = Arc::new(RunningView::new(object.id, object.name.clone(), plan, relation.clone(), progress));
        if let Some(relation) = relation {
            self.relations.lock().insert(object.id, relation);
        }
        self.views.write().insert(object.id, Arc::clone(&view));
        view
    }

    /// Has the workers maintain a view that was announced. `restore`: the checkpoint that holds its state.
    pub(crate) async fn build_view(&self, view: &Arc<RunningView>, restore: Option<Epoch>) -> Result<()> {
        let plan = view.plan();
        let imports = self.imports(&plan)?;
        let catalog = self.catalog();
        let timed = |import: ObjectId| catalog.get(import).is_some_and(|object| object.is_in_time());
        let in_time = view.sink.is_none() && plan.root.imports().into_iter().any(timed);
        let (reply, built) = tokio::sync::oneshot::channel();
        let errors = self.row_errors.sink(view.id);
        self.ask(Request::Build(Box::new(BuildView { view: Arc::clone(view), errors, imports, restore, in_time, reply })))?;
        built.await.map_err(|_| Error::new(Kind::Shutdown, "the server is shutting down"))?
    }

    fn new_view_relation(&self, object: &Object, plan: &Plan) -> Relation {
        let properties = &plan.root.properties;
        let schema = schema_of(object.columns().expect("a view has columns"));
        Relation::new(schema, properties.key.clone(), properties.append_only, self.config.workers)
    }

    fn imports(&self, plan: &Plan) -> Result<BTreeMap<ObjectId, ImportFrom>> {
        let catalog = self.catalog();
        let import = |id: ObjectId| -> Result<ImportFrom> {
            match catalog.get(id).map(|object| &object.kind) {
                Some(ObjectKind::Source(_)) => {
                    let sources = self.sources.read();
                    let source = sources.get(&id).ok_or_else(|| Error::internal(format!("source {id} has no connector")))?;
                    let from = Box::new(source.report.lock().position.clone());
                    Ok(ImportFrom::Source { recipe: source.recipe.clone(), report: Arc::clone(&source.report), from })
                }
                _ => Ok(ImportFrom::Relation(self.relation(&catalog, id)?)),
            }
        };
        plan.root.imports().into_iter().map(|id| Ok((id, import(id)?))).collect()
    }

    /// Every DEFAULT and generated column must be an expression over the table's own columns.
    pub(crate) fn check_expressions(&self, columns: &[Column]) -> Result<()> {
        for column in columns {
            if let Some(default) = &column.default {
                self.constant(default, &column.sql_type).map_err(|error| match error.kind() {
                    Kind::UndefinedColumn => Error::not_supported("cannot use column reference in DEFAULT expression")
                        .hint("A column that is computed from others is GENERATED ALWAYS AS (…) STORED."),
                    _ => error.unplaced(),
                })?;
            }
        }
        crate::plan::refuse_nested_generated(columns)?;
        if columns.iter().any(|column| column.generated.is_some()) {
            let plain: Vec<Column> = columns.iter().filter(|column| column.generated.is_none()).cloned().collect();
            self.generated_projection(&plain, columns).map_err(Error::unplaced)?;
        }
        Ok(())
    }

    /// What a record lacks is filled in whenever it is read: each view reads a source for itself, and a restart reads it again. So it must be the
    /// same each time.
    pub(crate) fn refuse_changing_defaults(&self, columns: &[Column]) -> Result<()> {
        let catalog = self.catalog();
        let scope = Scope { catalog: &catalog, search_path: &[], relations: &NoSystemRelations, text: "" };
        for column in columns {
            let Some(default) = &column.default else { continue };
            if let Some(function) = self.planner.changing_function(default, &scope)? {
                let message = format!("DEFAULT of column \"{}\" calls {function}(): rows from a connector may be read again", column.name);
                return Err(Error::not_supported(message)
                    .hint("Give it a constant. For the time at which a record was written, Kafka has INCLUDE TIMESTAMP AS ...."));
            }
        }
        Ok(())
    }
}

/// A view's query, analysed, and its plan if it is to be maintained.
fn view_plan(
    engine: &Engine,
    catalog: &Catalog,
    search_path: &[String],
    create: &CreateView,
    materialized: bool,
) -> Result<(Bound, Option<Plan>)> {
    let scope = Scope { catalog, search_path, relations: &NoSystemRelations, text: &create.query_text };
    let bound = engine.planner.query(&create.query, &scope, &[]).map_err(|error| error.shifted(create.query_offset))?;
    let settings = ViewSettings::of(None, &options(create, &bound.schema)?);
    let plan = materialized.then(|| engine.planner.view_with(&bound, catalog, settings)).transpose();
    Ok((bound, plan.map_err(|error| error.shifted(create.query_offset))?))
}

/// The rows of a query as those of the new table that it fills.
fn first_rows(object: &Object, table: &Table, relation: &Relation, rows: &[RecordBatch], running: &Running) -> Result<Changes> {
    let schema = schema_of_nullable(table);
    let renamed = rows.iter().map(|batch| {
        let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| Ok(cast(column, field.data_type())?));
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<Vec<_>>>()?)?)
    });
    let rows = concat_batches(&schema, &renamed.collect::<Result<Vec<_>>>()?)?;
    check_not_null(object, table, &rows)?;
    Ok(relation.resolve_while(running, &rows, table.on_conflict, &object.name)?.changes)
}

/// A source reads from somewhere, and keeps nothing.
fn check_source(create: &CreateTable, keeps: bool, reads: bool) -> Result<()> {
    if keeps {
        return Err(Error::new(Kind::InvalidParameter, "a source keeps no rows, so it cannot keep them for a time")
            .hint("CREATE TABLE … WITH (connector = …, retention = …) keeps them; a view on the source has a retention of its own.")
            .at(create.name.position));
    }
    if !reads {
        return Err(Error::new(Kind::InvalidParameter, "a source needs a connector")
            .hint("WITH (connector = 'kafka' | 'file' | 'nexmark' | 'datagen', …)"));
    }
    if !create.key.is_empty() || create.on_conflict.is_some() {
        return Err(Error::not_supported("a source has no primary key: it keeps no rows that could be found again")
            .hint("CREATE TABLE … WITH (connector = …) keeps one row for each key.")
            .at(create.name.position));
    }
    Ok(())
}

/// An empty relation for a table's rows.
pub(crate) fn new_table_relation(table: &Table) -> Relation {
    let key = (!table.key.is_empty()).then(|| table.key.clone());
    Relation::new(schema_of(&table.columns), key, table.only_grows(), 1).stamping(arrivals(&table.columns))
}

/// A column that says when a row arrived is a time, has none until the row is committed, and finds no row.
pub(crate) fn check_arrivals(columns: &[Column], key: &[usize]) -> Result<()> {
    for position in arrivals(columns) {
        let Column { name, sql_type, not_null, .. } = &columns[position];
        if *sql_type != SqlType::Timestamptz {
            let message = format!("column \"{name}\" is of type {sql_type}, but PROCTIME() gives a timestamp with time zone");
            return Err(Error::new(Kind::DatatypeMismatch, message).hint(format!("{name} timestamptz AS PROCTIME().")));
        }
        if key.contains(&position) {
            return Err(Error::new(Kind::InvalidTableDefinition, format!("column \"{name}\" is PROCTIME(), and cannot be part of a key"))
                .hint("Two rows that arrive together have the same time."));
        }
        if *not_null {
            return Err(Error::new(Kind::InvalidTableDefinition, format!("column \"{name}\" is PROCTIME(), and cannot be NOT NULL"))
                .hint("It is NULL until the transaction commits that writes the row, and never afterwards: leave NOT NULL out."));
        }
    }
    Ok(())
}

/// A column as the catalog has it.
pub(crate) fn column_definition(definition: &ColumnDefinition) -> Result<Column> {
    let data_type = definition.data_type.as_ref();
    let data_type =
        data_type.ok_or_else(|| Error::new(Kind::Syntax, format!("column \"{}\" has no type", definition.name)).at(definition.position))?;
    Ok(Column {
        name: definition.name.clone(),
        sql_type: column_type(data_type).map_err(|error| error.at(definition.position))?,
        not_null: definition.not_null,
        default: definition.default.as_ref().map(ToString::to_string),
        generated: definition.generated.as_ref().map(|expr| if is_proctime(expr) { PROCTIME.to_owned() } else { expr.to_string() }),
        include: None,
    })
}

fn declared_columns(create: &CreateTable) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for definition in &create.columns {
        let column = column_definition(definition)?;
        if columns.iter().any(|other| other.name == column.name) {
            return Err(
                Error::new(Kind::DuplicateColumn, format!("column \"{}\" specified more than once", column.name)).at(definition.position)
            );
        }
        columns.push(column);
    }
    for (include, name) in &create.include {
        let sql_type = include.sql_type();
        if columns.iter().any(|other| other.name == *name) {
            let error = Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once"));
            return Err(error.hint("Name it differently: INCLUDE … AS name.").at(create.name.position));
        }
        columns.push(Column { name: name.clone(), sql_type, not_null: false, default: None, generated: None, include: Some(*include) });
    }
    Ok(columns)
}

/// What a second row with a key does. An append-only table cannot replace the first.
fn conflict_policy(create: &CreateTable) -> Result<OnConflict> {
    if create.on_conflict.is_some() && create.key.is_empty() {
        return Err(Error::new(Kind::InvalidTableDefinition, "ON CONFLICT needs a primary key: without one no two rows conflict")
            .hint("PRIMARY KEY (column), or leave ON CONFLICT out.")
            .at(create.name.position));
    }
    let policy = create.on_conflict.unwrap_or(OnConflict::Overwrite);
    if create.append_only && !create.key.is_empty() && policy == OnConflict::Overwrite {
        let message = match create.on_conflict {
            None => "an append-only table with a primary key must say what a second row does",
            Some(_) => "an append-only table cannot overwrite rows",
        };
        return Err(Error::new(Kind::InvalidTableDefinition, message).hint("ON CONFLICT DO NOTHING or ON CONFLICT ERROR."));
    }
    Ok(policy)
}

fn connector_options(create: &CreateTable) -> Result<Option<ConnectorOptions>> {
    if !create.options.contains_key("connector") {
        return refuse_unknown(&create.options).map(|()| None);
    }
    Ok(Some(ConnectorOptions {
        options: create.options.clone(),
        format: create.format.clone().unwrap_or_else(|| "PLAIN".to_owned()),
        encode: create.encode.clone().unwrap_or_else(|| "JSON".to_owned()),
        encode_options: create.encode_options.clone(),
    }))
}

/// Options of a table without a connector: PostgreSQL's storage parameters mean nothing here, and tools write them. `22023` for others.
fn refuse_unknown(options: &BTreeMap<String, String>) -> Result<()> {
    const STORAGE: [&str; 6] =
        ["fillfactor", "toast_tuple_target", "parallel_workers", "user_catalog_table", "oids", "log_autovacuum_min_duration"];
    const STORAGE_PREFIXES: [&str; 3] = ["autovacuum_", "vacuum_", "toast."];
    let is_storage = |key: &str| STORAGE.contains(&key) || STORAGE_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    let Some(unknown) = options.keys().find(|key| !is_storage(key)) else { return Ok(()) };
    let error = Error::new(Kind::InvalidParameter, format!("unrecognized parameter \"{unknown}\""));
    Err(match nearest(unknown, ["connector", RETENTION, RETENTION_COLUMN, IDLE_TIMEOUT, MAX_FUTURE].into_iter()) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error.hint("Options of a connector need one: WITH (connector = …)."),
    })
}

/// The columns of the statement, or the connector's own where it named none.
fn completed(columns: Vec<Column>, connector: &dyn Connector) -> Vec<Column> {
    if columns.iter().any(|column| column.generated.is_none()) {
        return columns;
    }
    connector.columns().iter().map(column_of).chain(columns).collect()
}

/// A connector's column as one of an object's.
pub(super) fn column_of(column: &SourceColumn) -> Column {
    Column {
        name: column.name.clone(),
        sql_type: column.sql_type.clone(),
        not_null: column.not_null,
        default: None,
        generated: None,
        include: column.include,
    }
}

fn key_positions(create: &CreateTable, columns: &[Column]) -> Result<Vec<usize>> {
    create
        .key
        .iter()
        .map(|name| {
            columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in key does not exist")).at(create.name.position)
            })
        })
        .collect()
}

fn with_key_not_null(mut columns: Vec<Column>, key: &[usize]) -> Vec<Column> {
    for position in key {
        columns[*position].not_null = true;
    }
    columns
}

/// The columns of the primary key are NOT NULL, as far as the names are known yet.
fn not_null_where_named(mut columns: Vec<Column>, key: &[String]) -> Vec<Column> {
    columns.iter_mut().filter(|column| key.contains(&column.name)).for_each(|column| column.not_null = true);
    columns
}

/// What a view's definition says beside its query, whose columns are `schema`.
pub(crate) fn options(create: &CreateView, schema: &Schema) -> Result<ViewOptions> {
    let mut written = create.options.clone();
    let retention = retention::taken(&mut written)?.map(|(micros, column)| {
        let column = column.map(|name| retention_column(schema, &create.columns, &name)).transpose()?;
        Ok::<_, Error>(ViewRetention { micros, column })
    });
    let mut options =
        ViewOptions { emit_on_window_close: create.emit_on_window_close, retention: retention.transpose()?, ..ViewOptions::default() };
    for (name, value) in &written {
        let invalid = || Error::new(Kind::InvalidParameter, format!("invalid value for option \"{name}\": \"{value}\""));
        match (name.as_str(), value.to_ascii_lowercase().as_str()) {
            ("discard", "true") => options.discard = true,
            ("discard", "false") => {}
            ("discard", _) => return Err(invalid()),
            ("recursion_limit", value) => {
                let limit = value.parse().ok().filter(|limit| (1..=i32::MAX as u32).contains(limit));
                options.iterations_max = Some(limit.ok_or_else(|| invalid().hint("It is a number of iterations, 1 at the least."))?);
            }
            ("allowed_lateness", _) if create.emit_on_window_close => {
                return Err(Error::new(Kind::InvalidParameter, "a window that is emitted when it closes cannot be corrected later")
                    .hint("Leave out allowed_lateness, or EMIT ON WINDOW CLOSE; a longer delay in WATERMARK FOR closes windows later."));
            }
            ("allowed_lateness", _) => options.allowed_lateness_us = duration(name, value)?,
            ("late_rows", "dead_letter") => options.keep_late_rows = true,
            ("late_rows", "count") => {}
            ("late_rows", _) => return Err(invalid().hint("It is 'count' or 'dead_letter'.")),
            _ => {
                return Err(Error::new(Kind::InvalidParameter, format!("unrecognized option \"{name}\""))
                    .hint("A view has the options retention = '7 days', allowed_lateness = '1 minute', late_rows = 'dead_letter', discard = true and recursion_limit = 1000."));
            }
        }
    }
    Ok(options)
}

fn view_columns(create: &CreateView, schema: &Schema) -> Result<Vec<Column>> {
    if create.columns.len() > schema.fields().len() {
        return Err(Error::new(Kind::Syntax, "CREATE VIEW specifies more column names than columns").at(create.name.position));
    }
    let mut columns: Vec<Column> = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let name = create.columns.get(index).unwrap_or_else(|| field.name()).clone();
        if columns.iter().any(|column| column.name == name) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
                .hint("Give each column a name of its own with AS."));
        }
        columns.push(Column { name, sql_type: declared_type_of(field), not_null: false, default: None, generated: None, include: None });
    }
    Ok(columns)
}
