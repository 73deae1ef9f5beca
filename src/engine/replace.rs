//! CREATE OR REPLACE VIEW and MATERIALIZED VIEW: a new definition takes the place of another, for everyone who reads it at once.
//!
//! ```text
//!  v ── old ◀── w (reads v)          what runs, and is read, all the while
//!       new ◀── w again              built beside it under new numbers, each as soon as those it reads can be read
//!  one write and one new catalog: the names go over to the new ones, the old ones end
//! ```
//!
//! Always: a materialised view runs by the plan of its definition, so those that would get another plan are built anew, and those that keep
//! theirs go on. A crash before the write leaves the old ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Catalog, Column, Index, Object, ObjectKind};
use crate::engine::Engine;
use crate::engine::coordinator::Request;
use crate::engine::dependants::{Anew, Changed, dependants_upwards, depends_on, described, hidden_columns};
use crate::engine::session::Session;
use crate::engine::sink::cycle;
use crate::engine::view::{RunningView, ViewStatus};
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::sql::{CreateView, Parsed};
use crate::types::ObjectId;

/// What is to be replaced by what.
pub(crate) struct Replacement {
    /// The catalog that it was planned with.
    base: Arc<Catalog>,
    /// What is replaced, and everything that depends on it.
    touched: BTreeSet<ObjectId>,
    /// Definitions to be stored, of new numbers or in the place of old ones.
    puts: Vec<Object>,
    /// Numbers that go.
    gone: Vec<ObjectId>,
    /// Views to be built first, each behind those that it reads.
    build: Vec<(Object, Plan)>,
}

/// Views that run and that nobody knows yet. Ends them when it goes away, unless they have been taken over.
struct Beside {
    engine: Arc<Engine>,
    views: Vec<Arc<RunningView>>,
}

impl Session {
    /// CREATE OR REPLACE of a view whose name is taken. `None` if it is free by now.
    pub(crate) async fn replace_view(&mut self, create: &CreateView, parsed: &Parsed, materialized: bool) -> Result<Option<()>> {
        let mut plan = |session: &mut Session| {
            let schema = session.creation_schema(&create.name)?;
            let old = session.engine.catalog().find_in(&schema, &create.name.name).cloned();
            old.map(|old| session.plan_replacement(&old, schema, create, parsed, materialized)).transpose()
        };
        self.replace(&mut plan).await
    }

    /// Carries a replacement out: `plan` says which, with the catalog as it is. `None` if there is nothing to replace.
    pub(crate) async fn replace(
        &mut self,
        plan: &mut (dyn FnMut(&mut Session) -> Result<Option<Replacement>> + Send),
    ) -> Result<Option<()>> {
        let engine = Arc::clone(&self.engine);
        loop {
            let one_at_a_time = engine.ddl.lock().await;
            let Some(replacement) = plan(self)? else { return Ok(None) };
            drop(one_at_a_time);
            let beside = engine.build_beside(&replacement).await?;
            let one_at_a_time = engine.ddl.lock().await;
            if !replacement.fits(&engine.catalog()) {
                // Something that it touches has changed meanwhile.
                continue;
            }
            let _replacing = self.shield.raise();
            engine.change_definitions(&replacement.puts, &replacement.gone)?;
            beside.taken_over();
            engine.end_all(&replacement.gone).await?;
            drop(one_at_a_time);
            return Ok(Some(()));
        }
    }

    fn plan_replacement(
        &mut self,
        old: &Arc<Object>,
        schema: String,
        create: &CreateView,
        parsed: &Parsed,
        materialized: bool,
    ) -> Result<Replacement> {
        let right = matches!((&old.kind, materialized), (ObjectKind::View(_), false) | (ObjectKind::MaterializedView(_), true));
        if !right {
            let wanted = if materialized { "materialized view" } else { "view" };
            return Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a {wanted}", old.name)).at(create.name.position));
        }
        let base = self.engine.catalog();
        let (new, plan) = self.view_definition(create, parsed, schema, materialized)?;
        let below = dependants_upwards(&base, old.id);
        let circular = |id: &ObjectId| *id == old.id || below.iter().any(|object| object.id == *id);
        if new.depends_on.iter().any(circular) {
            let message = format!("infinite recursion detected in the definition of {}", described(old));
            return Err(Error::new(Kind::InvalidObjectDefinition, message).hint("WITH RECURSIVE makes a query that reads itself."));
        }
        if let Some(cycle) = cycle(&base, old.id, &new.depends_on) {
            let message = format!("{} would feed itself through a sink: {cycle}", described(old));
            return Err(Error::new(Kind::InvalidObjectDefinition, message).hint("Drop the sink first."));
        }
        if !materialized {
            keeps_columns(old.columns().unwrap_or_default(), new.columns().unwrap_or_default())?;
        }
        for (message, hint) in plan.iter().flat_map(|plan| crate::plan::notices(plan, &base)) {
            self.notice(Error::new(Kind::ObjectState, message).hint(hint));
        }
        self.replacement(old, Anew { object: new, plan }, create.name.position)
    }

    /// What it takes to put `new` in the place of `old`, for all that depends on it.
    pub(crate) fn replacement(&mut self, old: &Arc<Object>, new: Anew, position: usize) -> Result<Replacement> {
        let Anew { object: mut new, plan } = new;
        let base = self.engine.catalog();
        let below = dependants_upwards(&base, old.id);
        let mut replacement =
            Replacement { base, touched: BTreeSet::from([old.id]), puts: Vec::new(), gone: Vec::new(), build: Vec::new() };
        let mut after = Catalog::clone(&replacement.base);
        new.id = old.id;
        let columns = new.columns().unwrap_or_default();
        let place = |position: usize| columns.iter().position(|column| column.name == old.columns().unwrap_or_default()[position].name);
        new.comments = old.comments_moved(place);
        let new = self.engine.settle(old, Anew { object: new, plan }, &mut after, &mut replacement)?;
        let mut settled = BTreeMap::from([(old.id, (Arc::clone(old), new))]);
        for dependant in below {
            // An index belongs to one relation, which may be another than the one that is replaced.
            let of = match &dependant.kind {
                ObjectKind::Index(index) => index.relation,
                _ => old.id,
            };
            let (before, now) = settled.get(&of).expect("a relation stands before its indexes");
            let followed = self.engine.follow_replaced(&dependant, before, now, &after, &replacement.base);
            let anew = followed.map_err(|error| stands_in_the_way(old, &dependant, &error).at(position))?;
            let now = self.engine.settle(&dependant, anew, &mut after, &mut replacement)?;
            settled.insert(dependant.id, (dependant, now));
        }
        Ok(replacement)
    }
}

impl Engine {
    /// A dependant of what was `old` and is `new`, over the catalog with all that has been settled.
    fn follow_replaced(&self, dependant: &Arc<Object>, old: &Object, new: &Object, after: &Catalog, before: &Catalog) -> Result<Anew> {
        let (columns, others) = (old.columns().unwrap_or_default(), new.columns().unwrap_or_default());
        if let ObjectKind::Index(index) = &dependant.kind {
            let place = |position: &usize| {
                let name = &columns[*position].name;
                let found = others.iter().position(|column| column.name == *name);
                found.ok_or_else(|| Error::new(Kind::UndefinedColumn, format!("column \"{name}\" does not exist")))
            };
            let (by, include) =
                (index.columns.iter().map(place).collect::<Result<_>>()?, index.include.iter().map(place).collect::<Result<_>>()?);
            let kind = ObjectKind::Index(Index { relation: new.id, columns: by, include });
            return Ok(Anew { object: Object { kind, depends_on: vec![new.id], ..Object::clone(dependant) }, plan: None });
        }
        if let ObjectKind::Function(_) = dependant.kind {
            // Its body is planned where it is called.
            return Ok(Anew { object: Object::clone(dependant), plan: None });
        }
        let mut changed = Changed::default();
        if let Some(hidden) = hidden_columns(dependant, columns, others)? {
            changed.add(old.id, new.id, Some(hidden));
        }
        let anew = self.follow(dependant, before, after, &changed)?;
        if let Some(plan) = anew.as_ref().and_then(|anew| anew.plan.as_ref())
            && matches!(dependant.kind, ObjectKind::Sink(_))
            && !self.runs_by(dependant.id, plan)
        {
            return Err(Error::not_supported("what it has written would have to be computed anew"));
        }
        anew.ok_or_else(|| Error::not_supported(format!("{} would have to be built anew", described(dependant))).hint("Drop it first."))
    }

    /// Puts what takes the place of `old` into the catalog that is to be: under a new number if it must be built.
    fn settle(&self, old: &Object, anew: Anew, after: &mut Catalog, replacement: &mut Replacement) -> Result<Object> {
        let Anew { mut object, plan } = anew;
        replacement.touched.insert(old.id);
        if let Some(plan) = plan
            && !(self.runs_by(old.id, &plan) && discards(old) == discards(&object))
        {
            object.id = self.new_id()?;
            let plan = self.plan_under_number(&mut object, after)?;
            replacement.gone.push(old.id);
            replacement.build.push((object.clone(), plan));
        }
        after.remove(old.id);
        after.insert(object.clone());
        replacement.puts.push(object.clone());
        Ok(object)
    }

    /// The plan of a view as a restart will make it: by the indexes that are there when it gets its number.
    fn plan_under_number(&self, object: &mut Object, catalog: &Catalog) -> Result<Plan> {
        let ObjectKind::MaterializedView(view) = &object.kind else { return Err(Error::internal("only materialized views have plans")) };
        let (bound, plan) = self.plan_view(&view.query, view, Some(object.id), catalog)?;
        object.depends_on = depends_on(&bound, plan.as_ref());
        plan.ok_or_else(|| Error::internal("a materialized view has a plan"))
    }

    /// Has the new views filled, and waits until they can be read.
    async fn build_beside(self: &Arc<Self>, replacement: &Replacement) -> Result<Beside> {
        let mut beside = Beside { engine: Arc::clone(self), views: Vec::new() };
        for (object, plan) in &replacement.build {
            self.wait_readable(&plan.root.imports()).await?;
            let view = {
                let _one_at_a_time = self.ddl.lock().await;
                let view = self.announce_view(object, plan.clone(), discards(object), None);
                beside.views.push(Arc::clone(&view));
                for (number, columns) in replacement.indexes_of(object.id) {
                    view.relation.iter().for_each(|relation| relation.add_index(number, columns));
                }
                self.build_view(&view, None).await?;
                view
            };
            view.wait_ready().await?;
        }
        Ok(beside)
    }
}

impl Replacement {
    /// The indexes of a relation, by their numbers.
    fn indexes_of(&self, relation: ObjectId) -> impl Iterator<Item = (ObjectId, &[usize])> {
        self.puts.iter().filter_map(move |object| match &object.kind {
            ObjectKind::Index(index) if index.relation == relation => Some((object.id, index.columns.as_slice())),
            _ => None,
        })
    }

    /// Whether what it touches, and what that depends on, is still what it was planned with.
    fn fits(&self, now: &Catalog) -> bool {
        let same = |id: &ObjectId| match (self.base.get(*id), now.get(*id)) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        };
        let kept = |id: &ObjectId| same(id) || self.build.iter().any(|(object, _)| object.id == *id);
        let touched = |catalog: &Catalog| -> BTreeSet<ObjectId> {
            self.touched.iter().flat_map(|id| catalog.dependants_deep(*id)).map(|object| object.id).collect()
        };
        self.touched.iter().all(same)
            && self.puts.iter().flat_map(|object| &object.depends_on).all(kept)
            && touched(now) == touched(&self.base)
    }
}

impl Beside {
    /// They are in the catalog: they stay.
    fn taken_over(mut self) {
        self.views.clear();
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let objects: Vec<ObjectId> = self.views.iter().map(|view| view.id).collect();
        for view in self.views.drain(..) {
            self.engine.views.write().remove(&view.id);
            self.engine.relations.lock().remove(&view.id);
            self.engine.row_errors.forget(view.id);
            self.engine.late_rows.forget(view.id);
            view.set_status(ViewStatus::Dropped);
        }
        if !objects.is_empty() {
            let (reply, _) = tokio::sync::oneshot::channel();
            // At a shutdown they end with everything else; a restart clears what is stored of objects without a definition.
            drop(self.engine.ask(Request::Drop { objects, reply }));
        }
    }
}

fn discards(object: &Object) -> bool {
    matches!(&object.kind, ObjectKind::MaterializedView(view) if view.options.discard)
}

/// What PostgreSQL asks of a view that replaces another: the same columns, and new ones behind them at the most.
fn keeps_columns(old: &[Column], new: &[Column]) -> Result<()> {
    if new.len() < old.len() {
        return Err(Error::new(Kind::InvalidTableDefinition, "cannot drop columns from view"));
    }
    for (old, new) in old.iter().zip(new) {
        if old.name != new.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name);
            return Err(Error::new(Kind::InvalidTableDefinition, message)
                .hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        if old.sql_type != new.sql_type {
            let message = format!("cannot change data type of view column \"{}\" from {} to {}", old.name, old.sql_type, new.sql_type);
            return Err(Error::new(Kind::InvalidTableDefinition, message));
        }
    }
    Ok(())
}

fn stands_in_the_way(old: &Object, dependant: &Object, cause: &Error) -> Error {
    let (on, what) = (described(old), described(dependant));
    Error::new(Kind::DependentObjects, format!("cannot replace {on} because other objects depend on it"))
        .detail(format!("{what} depends on {on}: {}", cause.message()))
        .hint(format!("Keep the columns that {what} uses, or drop it first."))
}
