//! ALTER … ADD COLUMN, DROP COLUMN and (with [`alter_key`](super::alter_key)) ADD PRIMARY KEY: of tables, whose rows get other columns, and of sources, whose records are decoded otherwise.
//!
//! ```text
//!  the table's turn, the lock on definitions     nobody writes, nobody defines; readers go on
//!  a thread for queries                          rows ──▶ the same rows with other columns, in memory; may be ended, and leaves nothing behind
//!  the coordinator, between two epochs           these take the place of those, in memory
//!                                                imports of dataflows take their columns from the new places
//!                                                the catalog shows the new definition
//!                                                a checkpoint stores rows, definitions and positions in one atomic write
//! ```
//!
//! The rows of a table that a connector fills are made where they are written: by the coordinator, between two epochs.
//!
//! Always: a view that does not use a column that goes, goes on. Which columns a view uses is what its plan reads.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::take;

use crate::catalog::{Catalog, Column, Index, Object, ObjectKind, arrivals};
use crate::engine::alter::undefined_column;
use crate::engine::alter_key::{check_unread, keyed};
use crate::engine::catalog_change::encoded;
use crate::engine::coordinator::{AlterColumns, Request, Rewriting};
use crate::engine::create::{check_arrivals, column_definition};
use crate::engine::definition::statement_of;
use crate::engine::dependants::{Anew, Changed, dependants_upwards, described, hidden_columns};
use crate::engine::retention::is_kept_by;
use crate::engine::session::Session;
use crate::engine::source::SourceRecipe;
use crate::engine::view::ViewStatus;
use crate::engine::{Engine, KnownSource};
use crate::error::{Error, Kind, Result};
use crate::plan::{Plan, Scalar, schema_of};
use crate::sql::{Alter, AlterAction};
use crate::state::{NEWEST, Relation};
use crate::types::{Epoch, ObjectId, Running};

/// What a column of the new rows is made from.
pub(super) enum Filling {
    /// The column at this position.
    Old(usize),
    /// One value for all rows.
    Value(ArrayRef),
    /// An expression over the old columns, or over none: each row has its own value.
    Computed(Scalar),
}

/// What becomes of an object and of everything that depends on it.
pub(super) struct Alteration {
    pub(super) object: Object,
    pub(super) recipe: Option<SourceRecipe>,
    /// One per column of a table with rows, until they are made.
    pub(super) filling: Vec<Filling>,
    /// Of the old columns, where they are now.
    pub(super) places: Arc<[Option<usize>]>,
    /// Dependants that go on, and the plans of those that run.
    pub(super) follow: Vec<Anew>,
    /// Dependants that go, each before those that it depends on.
    pub(super) gone: Vec<Arc<Object>>,
    /// Indexes that go unasked, with their columns.
    pub(super) indexes: Vec<Arc<Object>>,
}

impl Session {
    /// ADD COLUMN, DROP COLUMN.
    pub(crate) async fn alter_columns(&mut self, alter: &Alter) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        loop {
            let Some(object) = self.altered(alter)? else { return Ok(()) };
            if self.transaction.as_ref().is_some_and(|transaction| transaction.holds(object.id)) {
                let message = format!("cannot ALTER TABLE \"{}\" because this transaction has written it", object.name);
                return Err(Error::new(Kind::ObjectState, message).hint("COMMIT or ROLLBACK first."));
            }
            // First the turn: who holds it may wait for the lock.
            let _turn = self.turn(object.id).await?;
            let one_at_a_time = engine.ddl.lock().await;
            let catalog = engine.catalog();
            if !catalog.get(object.id).is_some_and(|now| Arc::ptr_eq(now, &object)) {
                continue;
            }
            let filling: Vec<ObjectId> = engine.filling_from(object.id);
            if !filling.is_empty() {
                drop(one_at_a_time);
                // One that fails is not in the way.
                drop(engine.wait_readable(&filling).await);
                continue;
            }
            let Some(alteration) = self.plan_alteration(alter, &object).await? else { return Ok(()) };
            for gone in &alteration.gone {
                self.notice(Error::new(Kind::DependentObjects, format!("drop cascades to {}", described(gone))));
            }
            let (alteration, rewriting) = engine.rewriting(&object, alteration).await?;
            let _altering = self.shield.raise();
            return engine.carry_out(&object, alteration, rewriting).await;
        }
    }

    async fn plan_alteration(&mut self, alter: &Alter, object: &Arc<Object>) -> Result<Option<Alteration>> {
        let columns = object.columns().unwrap_or_default();
        if let Some(sink) = self.engine.catalog().sinks_into(object.id).next() {
            let message = format!("the columns of \"{}\" cannot change: {} writes it", object.name, described(sink));
            return Err(Error::not_supported(message).hint("Drop the sink, and create it again."));
        }
        match &alter.action {
            AlterAction::AddColumn { definition, if_not_exists } => {
                let column = column_definition(definition)?;
                if columns.iter().any(|known| known.name == column.name) {
                    let message = format!("column \"{}\" of relation \"{}\" already exists", column.name, object.name);
                    if *if_not_exists {
                        self.notice(Error::new(Kind::DuplicateColumn, format!("{message}, skipping")));
                        return Ok(None);
                    }
                    return Err(Error::new(Kind::DuplicateColumn, message).at(definition.position));
                }
                self.engine.column_added(object, column).await.map(Some)
            }
            AlterAction::DropColumn { name, if_exists, cascade } => {
                let Some(position) = columns.iter().position(|column| column.name == *name) else {
                    if *if_exists {
                        let message = format!("column \"{name}\" of relation \"{}\" does not exist, skipping", object.name);
                        self.notice(Error::new(Kind::UndefinedColumn, message));
                        return Ok(None);
                    }
                    return Err(undefined_column(object, name));
                };
                self.engine.column_dropped(object, position, *cascade).await.map(Some)
            }
            AlterAction::AddPrimaryKey(names) => self.engine.key_added(object, names).await.map(Some),
            _ => Err(Error::internal("not a change of columns")),
        }
    }
}

impl Engine {
    /// Views that still read what `object` had before them.
    fn filling_from(&self, object: ObjectId) -> Vec<ObjectId> {
        let views = self.views.read();
        let filling = views.values().filter(|view| {
            matches!(view.status(), ViewStatus::Hydrating | ViewStatus::Joining) && view.plan().root.imports().contains(&object)
        });
        filling.map(|view| view.id).collect()
    }

    async fn column_added(&self, object: &Arc<Object>, column: Column) -> Result<Alteration> {
        let before = object.columns().unwrap_or_default();
        let mut columns = before.to_vec();
        columns.push(column.clone());
        self.check_expressions(&columns)?;
        check_arrivals(&columns, &[])?;
        if self.sources.read().contains_key(&object.id) {
            self.refuse_changing_defaults(&columns)?;
        }
        let mut filling: Vec<Filling> = (0..before.len()).map(Filling::Old).collect();
        filling.push(match (&column.generated, &column.default) {
            // For the column the rows that are there arrive with it.
            _ if column.is_arrival() => {
                Filling::Value(Arc::new(TimestampMicrosecondArray::from(vec![self.clock.now()]).with_timezone("UTC")))
            }
            (Some(_), _) => {
                let mut projection = self.generated_projection(before, std::slice::from_ref(&column))?;
                Filling::Computed(projection.remove(0))
            }
            (None, Some(default)) => Filling::Computed(self.default_expression(default, &column.sql_type, self.wall.now_micros())?),
            (None, None) => Filling::Value(arrow::array::new_null_array(&column.sql_type.arrow(), 1)),
        });
        let places = (0..before.len()).map(Some).collect();
        let key = key_of(object);
        let (new, recipe) = self.with_columns(object, columns, key).await?;
        let catalog = self.catalog();
        let mut after = Catalog::clone(&catalog);
        after.insert(new.clone());
        let mut alteration = Alteration { object: new, recipe, filling, places, follow: Vec::new(), gone: Vec::new(), indexes: Vec::new() };
        for dependant in dependants_upwards(&catalog, object.id) {
            let mut changed = Changed::default();
            if let Some(hidden) = hidden_columns(&dependant, before, alteration.object.columns().unwrap_or_default())? {
                changed.add(object.id, object.id, Some(hidden));
            }
            let Some(anew) = self.follow(&dependant, &catalog, &after, &changed)? else { continue };
            if !self.goes_on(&dependant, &anew, object.id, &alteration.places) {
                return Err(Error::not_supported(format!("{} cannot go on with the new column", described(&dependant)))
                    .hint("Name the columns in its query instead of *, by CREATE OR REPLACE, or drop it first."));
            }
            after.insert(anew.object.clone());
            alteration.follow.push(anew);
        }
        Ok(alteration)
    }

    async fn column_dropped(&self, object: &Arc<Object>, position: usize, cascade: bool) -> Result<Alteration> {
        let before = object.columns().unwrap_or_default();
        let going = self.dropped_with(object, position, cascade)?;
        going.iter().try_for_each(|going| is_kept_by(object, &before[*going].name))?;
        let kept: Vec<usize> = (0..before.len()).filter(|position| !going.contains(position)).collect();
        if kept.is_empty() {
            return Err(Error::not_supported(format!("\"{}\" would have no columns", object.name)).hint("DROP it instead."));
        }
        if key_of(object).iter().any(|position| going.contains(position)) {
            let message = format!("cannot drop column \"{}\": it is part of the primary key", before[position].name);
            return Err(Error::not_supported(message).hint("Make a table without it, and INSERT INTO … SELECT."));
        }
        let places: Arc<[Option<usize>]> = (0..before.len()).map(|old| kept.iter().position(|kept| *kept == old)).collect();
        let without = Changed::without(object.id, going.iter().map(|position| before[*position].name.clone()).collect());
        let key = key_of(object).into_iter().map(|position| places[position].expect("checked above")).collect();
        let columns = kept.iter().map(|position| before[*position].clone()).collect();
        let (mut new, recipe) = self.with_columns(object, columns, key).await?;
        new.comments = object.comments_moved(|position| places[position]);
        let filling = kept.into_iter().map(Filling::Old).collect();
        let catalog = self.catalog();
        let mut after = Catalog::clone(&catalog);
        after.insert(new.clone());
        let mut alteration = Alteration { object: new, recipe, filling, places, follow: Vec::new(), gone: Vec::new(), indexes: Vec::new() };
        for dependant in dependants_upwards(&catalog, object.id) {
            if let Some(moved) = moved_index(&dependant, object.id, &alteration.places) {
                match moved {
                    Some(index) => {
                        after.insert(index.clone());
                        alteration.follow.push(Anew { object: index, plan: None });
                    }
                    None => {
                        after.remove(dependant.id);
                        alteration.indexes.push(dependant);
                    }
                }
                continue;
            }
            let with_it = dependant.depends_on.iter().any(|id| alteration.gone.iter().any(|gone| gone.id == *id));
            let followed = match with_it {
                true => None,
                false => self.follow(&dependant, &catalog, &after, &without).ok().flatten(),
            };
            match followed.filter(|anew| self.goes_on(&dependant, anew, object.id, &alteration.places)) {
                Some(anew) => {
                    after.insert(anew.object.clone());
                    alteration.follow.push(anew);
                }
                None => alteration.gone.insert(0, dependant),
            }
        }
        if !cascade && !alteration.gone.is_empty() {
            let using = alteration.gone.iter().rev().map(|object| described(object)).collect::<Vec<_>>();
            return Err(still_used(object, &before[position], &using));
        }
        Ok(alteration)
    }

    /// The positions of the columns that go with one: generated ones that are computed from it.
    fn dropped_with(&self, object: &Object, position: usize, cascade: bool) -> Result<Vec<usize>> {
        let columns = object.columns().unwrap_or_default();
        let rest: Vec<Column> = columns
            .iter()
            .enumerate()
            .filter(|(at, column)| *at != position && column.generated.is_none())
            .map(|(_, column)| column.clone())
            .collect();
        if let Some(event_time) = object.event_time()
            && (event_time.column == columns[position].name || self.event_rule(&rest, event_time).is_err())
        {
            let message = format!("column \"{}\" of {} says how far event time is", columns[position].name, described(object));
            return Err(
                Error::new(Kind::DependentObjects, message).hint("Its watermark cannot be dropped: make the table anew without it.")
            );
        }
        let computed = columns.iter().enumerate().filter(|(at, column)| *at != position && column.generated.is_some());
        let using: Vec<usize> = computed
            .filter(|(_, column)| self.generated_projection(&rest, std::slice::from_ref(*column)).is_err())
            .map(|(at, _)| at)
            .collect();
        if !cascade && !using.is_empty() {
            let named: Vec<String> = using.iter().map(|at| format!("column {} of {}", columns[*at].name, described(object))).collect();
            return Err(still_used(object, &columns[position], &named));
        }
        Ok([position].into_iter().chain(using).collect())
    }

    /// The object with other columns, and how to read it from now on if it is read from outside.
    pub(super) async fn with_columns(
        &self,
        object: &Object,
        columns: Vec<Column>,
        key: Vec<usize>,
    ) -> Result<(Object, Option<SourceRecipe>)> {
        let mut new = object.clone();
        let connector = match &mut new.kind {
            ObjectKind::Table(table) => {
                table.columns = columns.clone();
                table.key = key;
                table.connector.clone()
            }
            ObjectKind::Source(source) => {
                source.columns = columns.clone();
                Some(source.connector.clone())
            }
            _ => return Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a table", object.name))),
        };
        new.sql = statement_of(&new);
        let recipe = match &connector {
            Some(options) => Some(self.recipe(object.id, columns, &[], new.event_time(), options).await?.1),
            None => None,
        };
        Ok((new, recipe))
    }

    /// Whether a view is the same over the columns in their new places: a materialised one by its plan, another by the columns that it reads.
    fn goes_on(&self, dependant: &Object, anew: &Anew, object: ObjectId, places: &[Option<usize>]) -> bool {
        match &anew.plan {
            Some(plan) => {
                let Some(view) = self.views.read().get(&dependant.id).cloned() else { return true };
                let moved = view.plan().with_columns_moved(object, &|column| places[column]);
                moved.is_some_and(|moved| moved.fingerprint() == plan.fingerprint())
            }
            None => {
                let ObjectKind::View(view) = &dependant.kind else { return true };
                let read = self
                    .plan_view(&view.query, view, None, &self.catalog())
                    .and_then(|(bound, _)| self.planner.columns_read(&bound, object));
                read.is_ok_and(|read| read.iter().all(|column| places.get(*column).is_some_and(Option::is_some)))
            }
        }
    }

    /// How the rows get their new columns, if the object keeps rows. Those that only statements write are made here: whoever has the table's turn writes
    /// it alone.
    async fn rewriting(&self, before: &Arc<Object>, mut alteration: Alteration) -> Result<(Alteration, Option<Rewriting>)> {
        let Some(relation) = self.relations.lock().get(&before.id).cloned() else { return Ok((alteration, None)) };
        let (object, before, places) = (alteration.object.clone(), Arc::clone(before), Arc::clone(&alteration.places));
        let rewrite = Rewrite { relation, object, before, filling: std::mem::take(&mut alteration.filling), places };
        let leases = Arc::clone(&self.leases);
        // Who begins to read from here on reads what was written; who reads already what was before is in the way now.
        self.clock.wait_complete(self.clock.newest_written()).await?;
        rewrite.check_readers(leases.horizon(Epoch::MAX))?;
        let rewriting: Rewriting = if alteration.recipe.is_some() {
            Box::new(move || {
                rewrite.check_readers(leases.horizon(Epoch::MAX))?;
                rewrite.make(&Running::default(), leases.horizon(Epoch::MAX))
            })
        } else {
            let oldest = leases.horizon(Epoch::MAX);
            let made = move |running: &Running| rewrite.make(running, oldest).map(|made| (made, rewrite));
            let (made, rewrite) = self.queries.work(made).await?;
            Box::new(move || rewrite.check_readers(leases.horizon(Epoch::MAX)).map(|()| made))
        };
        Ok((alteration, Some(rewriting)))
    }

    async fn carry_out(self: &Arc<Self>, before: &Arc<Object>, alteration: Alteration, rewrite: Option<Rewriting>) -> Result<()> {
        // It reads all columns, as they are.
        self.end_keeper(before.id).await?;
        let Alteration { object, recipe, places, follow, gone, indexes, .. } = alteration;
        let kept = object.clone();
        let gone: Vec<ObjectId> = indexes.into_iter().chain(gone).map(|object| object.id).collect();
        let puts: Vec<Object> = [object.clone()].into_iter().chain(follow.iter().map(|anew| anew.object.clone())).collect();
        let plans: Vec<(ObjectId, Plan)> = follow.into_iter().filter_map(|anew| Some((anew.object.id, anew.plan?))).collect();
        let (engine, shown, hidden, known) = (Arc::clone(self), puts.clone(), gone.clone(), recipe.clone());
        let rule =
            object.event_time().zip(object.columns()).map(|(event_time, columns)| self.event_rule(columns, event_time)).transpose()?;
        let (reply, done) = tokio::sync::oneshot::channel();
        let request = AlterColumns {
            object: object.id,
            rule,
            rewrite,
            recipe,
            places,
            plans,
            definitions: puts.iter().map(|object| (object.id, encoded(object))).collect(),
            gone: gone.clone(),
            show: Box::new(move || {
                let mut sources = engine.sources.write();
                if let (Some(source), Some(recipe)) = (sources.get(&shown[0].id).cloned(), known) {
                    sources.insert(shown[0].id, KnownSource { recipe, report: source.report });
                }
                drop(sources);
                engine.show_definitions(&shown, &hidden);
            }),
            reply,
        };
        self.ask(Request::AlterColumns(Box::new(request)))?;
        let done = done.await.map_err(|_| Error::new(Kind::Shutdown, "the server is shutting down"))?;
        if let Err(error) = done {
            self.start_keeper(before).await?;
            return Err(error);
        }
        self.end_all(&gone).await?;
        self.start_keeper(&kept).await
    }
}

/// What rows get other columns by.
struct Rewrite {
    relation: Arc<Relation>,
    object: Object,
    before: Arc<Object>,
    filling: Vec<Filling>,
    places: Arc<[Option<usize>]>,
}

impl Rewrite {
    /// Whether the table gets a key by which rows are found that nobody may read as they were.
    fn adds_key(&self) -> bool {
        !key_of(&self.object).is_empty() && key_of(&self.before).is_empty() && self.relation.live_rows() > 0
    }

    /// `oldest`: the oldest epoch that anyone reads.
    fn check_readers(&self, oldest: Epoch) -> Result<()> {
        if self.adds_key() { check_unread(&self.relation, &self.object.name, oldest) } else { Ok(()) }
    }

    /// The rows with their new columns. `oldest`: the oldest epoch that anybody reads.
    fn make(&self, running: &Running, oldest: Epoch) -> Result<Relation> {
        let Rewrite { relation, object, places, .. } = self;
        let columns = object.columns().unwrap_or_default();
        let key = key_of(object);
        let key = (!key.is_empty()).then_some(key);
        let (schema, stamping) = (schema_of(columns), arrivals(columns));
        if relation.live_rows() == 0 && oldest >= relation.newest() {
            // Nothing has to be kept, for nobody reads what was there before, and nothing can lack a value.
            return Ok(relation.emptied(schema, key, places).stamping(stamping));
        }
        self.check_not_null(running)?;
        let made = match self.adds_key() {
            true => keyed(relation, relation.emptied(schema, key, places), &object.name, running)?,
            false => relation.with_columns(schema, key, places, &|rows| self.columns(rows, running))?,
        };
        Ok(made.stamping(stamping))
    }

    /// A batch of the rows with their new columns.
    fn columns(&self, rows: &RecordBatch, running: &Running) -> Result<Vec<ArrayRef>> {
        running.check()?;
        let column = |filling: &Filling| match filling {
            Filling::Old(position) => Ok(Arc::clone(rows.column(*position))),
            Filling::Value(value) => Ok(take(value.as_ref(), &arrow::array::UInt32Array::from(vec![0; rows.num_rows()]), None)?),
            Filling::Computed(scalar) => scalar.array(rows),
        };
        self.filling.iter().map(column).collect()
    }

    /// `23502` if a row lacks a value in a column that is to have one from now on.
    fn check_not_null(&self, running: &Running) -> Result<()> {
        let before = self.before.columns().unwrap_or_default();
        let held = |column: &Column| before.iter().any(|known| known.name == column.name && known.not_null);
        let columns = self.object.columns().unwrap_or_default();
        for (position, column) in columns.iter().enumerate().filter(|(_, column)| column.not_null && !held(column)) {
            let now = self.relation.snapshot(NEWEST);
            for chunk in 0..now.chunks() {
                let made = self.columns(&now.batch(chunk, None), running)?;
                if made[position].null_count() > 0 {
                    let message = format!("column \"{}\" of relation \"{}\" contains null values", column.name, self.object.name);
                    return Err(Error::new(Kind::NotNullViolation, message).hint("Give it a DEFAULT, or UPDATE the rows first."));
                }
            }
        }
        Ok(())
    }
}

/// An index of the object as it is over columns in other places: `None` within if one of its columns is gone. `None` for anything else.
fn moved_index(dependant: &Object, relation: ObjectId, places: &[Option<usize>]) -> Option<Option<Object>> {
    let ObjectKind::Index(index) = &dependant.kind else { return None };
    let moved = |positions: &[usize]| positions.iter().map(|position| places[*position]).collect::<Option<Vec<usize>>>();
    if index.relation != relation {
        return Some(Some(dependant.clone()));
    }
    let index = moved(&index.columns).zip(moved(&index.include)).map(|(columns, include)| Index { relation, columns, include });
    Some(index.map(|index| Object { kind: ObjectKind::Index(index), ..dependant.clone() }))
}

pub(super) fn key_of(object: &Object) -> Vec<usize> {
    match &object.kind {
        ObjectKind::Table(table) => table.key.clone(),
        _ => Vec::new(),
    }
}

fn still_used(object: &Object, column: &Column, using: &[String]) -> Error {
    let on = format!("column {} of {}", column.name, described(object));
    let details: Vec<String> = using.iter().map(|what| format!("{what} depends on {on}")).collect();
    Error::new(Kind::DependentObjects, format!("cannot drop {on} because other objects depend on it"))
        .detail(details.join("\n"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too.")
}
