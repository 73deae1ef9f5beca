//! What becomes of views when what they read changes: their texts follow its names, and their plans are made anew and compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Catalog, Column, Object, ObjectKind, Sink, View};
use crate::engine::Engine;
use crate::engine::definition::statement_of;
use crate::engine::view::ViewStatus;
use crate::error::{Error, Kind, Result};
use crate::plan::{Bound, NoSystemRelations, Plan, Scope, ViewSettings};
use crate::sql::{Respelling, may_see_column, respell};
use crate::types::{ObjectId, declared_type_of};

/// The columns of a relation as they are called now and as those that read it call them.
pub(crate) type Spelled = Vec<(String, String)>;

/// Objects whose names, or whose columns' names, change. Each may have another number afterwards.
#[derive(Default)]
pub(crate) struct Changed(BTreeMap<ObjectId, Change>);

/// What has changed of one object.
struct Change {
    /// Its number now.
    now: ObjectId,
    columns: Option<Spelled>,
    /// Columns that are gone.
    without: Vec<String>,
}

/// A view as it is over a changed catalog.
pub(crate) struct Anew {
    pub(crate) object: Object,
    /// Of a materialised view or a sink.
    pub(crate) plan: Option<Plan>,
}

impl Changed {
    /// `columns`: how they are called now and how they were; `None` if they are what they were.
    pub(crate) fn add(&mut self, before: ObjectId, now: ObjectId, columns: Option<Spelled>) {
        self.0.insert(before, Change { now, columns, without: Vec::new() });
    }

    /// These columns of an object are gone.
    pub(crate) fn without(object: ObjectId, without: Vec<String>) -> Self {
        Changed(BTreeMap::from([(object, Change { now: object, columns: None, without })]))
    }
}

impl Engine {
    /// A view's query over `catalog`, and the plan of a materialised one, whose number is `maintained`.
    pub(crate) fn plan_view(
        &self,
        query: &str,
        view: &View,
        maintained: Option<ObjectId>,
        catalog: &Catalog,
    ) -> Result<(Bound, Option<Plan>)> {
        let parsed = crate::plan::parse_query(query)?;
        let scope = Scope { catalog, search_path: &view.search_path, relations: &NoSystemRelations, text: query };
        let bound = self.planner.query(&parsed, &scope, &[])?;
        let settings = maintained.map(|number| ViewSettings::of(Some(number), &view.options));
        let plan = settings.map(|settings| self.planner.view_with(&bound, catalog, settings)).transpose()?;
        Ok((bound, plan))
    }

    /// A view as it is over `after`, where objects are `changed` since `before`: with the same columns. `None` if the object is no view.
    pub(crate) fn follow(&self, dependant: &Object, before: &Catalog, after: &Catalog, changed: &Changed) -> Result<Option<Anew>> {
        let Some(view) = dependant.kind.view() else { return Ok(None) };
        let query = respelled(view, before, after, changed)?;
        let mut writes = None;
        let (bound, plan) = match &dependant.kind {
            ObjectKind::Sink(sink) => {
                writes = Some(sink.target);
                let sink = Sink { view: View { query: query.clone(), ..view.clone() }, ..sink.clone() };
                self.plan_sink(dependant.id, &sink, after).map(|(bound, plan)| (bound, Some(plan)))?
            }
            kind => {
                let maintained = matches!(kind, ObjectKind::MaterializedView(_)).then_some(dependant.id);
                self.plan_view(&query, view, maintained, after)?
            }
        };
        let fields = bound.schema.fields();
        let same = fields.len() == view.columns.len()
            && fields.iter().zip(&view.columns).all(|(field, column)| declared_type_of(field) == column.sql_type);
        if !same {
            return Err(Error::new(Kind::DatatypeMismatch, "its columns would change"));
        }
        let mut object = dependant.clone();
        object.depends_on = depends_on(&bound, plan.as_ref()).into_iter().chain(writes).collect();
        if let Some(new) = object.kind.view_mut()
            && new.query != query
        {
            new.query = query;
            object.sql = statement_of(&object);
        }
        Ok(Some(Anew { object, plan }))
    }

    /// Whether the view runs by a plan like this one, if it runs.
    pub(crate) fn runs_alike(&self, view: ObjectId, plan: &Plan) -> bool {
        let running = self.views.read().get(&view).cloned();
        running.is_none_or(|view| view.plan().fingerprint() == plan.fingerprint())
    }

    /// Whether the view runs, and by a plan like this one.
    pub(crate) fn runs_by(&self, view: ObjectId, plan: &Plan) -> bool {
        let running = self.views.read().get(&view).cloned();
        running.is_some_and(|view| !matches!(view.status(), ViewStatus::Failed(_)) && view.plan().fingerprint() == plan.fingerprint())
    }
}

/// What a view cannot be without: what its query names, and the indexes by which its plan finds rows.
pub(crate) fn depends_on(bound: &Bound, plan: Option<&Plan>) -> Vec<ObjectId> {
    let mut all = bound.depends_on.clone();
    all.extend(plan.iter().flat_map(|plan| plan.root.indexes()));
    all
}

/// The text of a view's query with the new names of what has changed.
fn respelled(view: &View, before: &Catalog, after: &Catalog, changed: &Changed) -> Result<String> {
    let new = |schema: Option<&str>, name: &str| {
        let object = before.resolve(schema, name, &view.search_path).ok()?;
        let change = changed.0.get(&object.id)?;
        let now = after.get(change.now)?;
        let found = after.resolve(None, &now.name, &view.search_path).is_ok_and(|found| found.id == now.id);
        let schema = (schema.is_some() || !found).then(|| now.schema.clone());
        Some(Respelling { schema, name: now.name.clone(), columns: change.columns.clone(), without: change.without.clone() })
    };
    respell(&view.query, &new)
}

/// How a relation's columns are to be spelled in `view` when it gets others: not at all if the view sees no difference.
pub(crate) fn hidden_columns(view: &Object, before: &[Column], after: &[Column]) -> Result<Option<Spelled>> {
    let Some(definition) = view.kind.view() else { return Ok(None) };
    let new = after.iter().filter(|column| before.iter().all(|known| known.name != column.name));
    for column in new {
        if may_see_column(&definition.query, &column.name)? {
            return Ok(Some(before.iter().map(|column| (column.name.clone(), column.name.clone())).collect()));
        }
    }
    Ok(None)
}

/// "materialized view m", as messages call an object.
pub(crate) fn described(object: &Object) -> String {
    format!("{} {}", object.kind_name(), object.name)
}

/// The dependants of an object, each behind those that it depends on.
pub(crate) fn dependants_upwards(catalog: &Catalog, id: ObjectId) -> Vec<Arc<Object>> {
    let mut dependants = catalog.dependants_deep(id);
    dependants.reverse();
    dependants
}
