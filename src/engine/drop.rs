//! DROP: what depends on the object goes first, and only if asked for.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, DEFAULT_SCHEMA, Object, ObjectKind};
use crate::engine::Engine;
use crate::engine::catalog_change::SYSTEM_SCHEMAS;
use crate::engine::coordinator::Request;
use crate::engine::dependants::described;
use crate::engine::retention::{is_keeper, keeper_of};
use crate::engine::session::Session;
use crate::engine::view::ViewStatus;
use crate::error::{Error, Kind, Result};
use crate::sql::{DropKind, Name};
use crate::types::ObjectId;

/// What a DROP takes with it, and what it says of that.
struct Dropping {
    /// Each before those that it depends on.
    going: Vec<ObjectId>,
    notices: Vec<Error>,
}

impl Session {
    pub(crate) async fn drop_objects(&mut self, kind: DropKind, names: &[Name], if_exists: bool, cascade: bool) -> Result<()> {
        let engine = std::sync::Arc::clone(&self.engine);
        loop {
            // First the turns, as in ALTER, and in one order: who has one may wait for the lock. Nobody's uncommitted rows go with the table.
            let tables = self.tables_among(&self.dropping(&engine.catalog(), kind, names, if_exists, cascade)?.going);
            let mut turns = Vec::with_capacity(tables.len());
            for table in &tables {
                if !self.transaction.as_ref().is_some_and(|transaction| transaction.holds(*table)) {
                    turns.push(self.turn(*table).await?);
                }
            }
            let _one_at_a_time = engine.ddl.lock().await;
            let dropping = self.dropping(&engine.catalog(), kind, names, if_exists, cascade)?;
            if self.tables_among(&dropping.going) != tables {
                continue;
            }
            dropping.notices.into_iter().for_each(|notice| self.notice(notice));
            // What this transaction has written goes with its table.
            if let Some(transaction) = &mut self.transaction {
                turns.extend(tables.iter().filter_map(|table| transaction.let_go(*table)));
            }
            // Half a DROP would leave views that nobody maintains.
            let _dropping = self.shield.raise();
            return engine.drop_all(&dropping.going).await;
        }
    }

    /// The tables among these, in the order in which their turns are taken.
    fn tables_among(&self, objects: &[ObjectId]) -> BTreeSet<ObjectId> {
        let catalog = self.engine.catalog();
        let is_table = |id: &ObjectId| catalog.get(*id).is_some_and(|object| matches!(object.kind, ObjectKind::Table(_)));
        objects.iter().copied().filter(is_table).collect()
    }

    fn dropping(&self, catalog: &Catalog, kind: DropKind, names: &[Name], if_exists: bool, cascade: bool) -> Result<Dropping> {
        let (mut going, mut notices): (Vec<ObjectId>, Vec<Error>) = (Vec::new(), Vec::new());
        for name in names {
            let Some(object) = self.droppable(catalog, kind, name, if_exists, &mut notices)? else { continue };
            let mut below: Vec<ObjectId> = dependants(catalog, &object);
            below.retain(|id| !going.contains(id));
            let in_the_way: Vec<ObjectId> =
                below.iter().copied().filter(|id| kind == DropKind::Schema || !is_index(catalog, *id)).collect();
            if !cascade && in_the_way.iter().any(|id| !names_it(catalog, *id, names)) {
                return Err(refuse(catalog, &object, &in_the_way).at(name.position));
            }
            if cascade && !in_the_way.is_empty() {
                let listed: Vec<String> = in_the_way.iter().filter_map(|id| catalog.get(*id)).map(|object| described(object)).collect();
                notices.push(Error::new(Kind::DependentObjects, format!("drop cascades to {}", listed.join(", "))));
            }
            going.extend(below);
            if object.id != 0 && !going.contains(&object.id) {
                going.push(object.id);
            }
        }
        Ok(Dropping { going, notices })
    }

    fn droppable(
        &self,
        catalog: &Catalog,
        kind: DropKind,
        name: &Name,
        if_exists: bool,
        notices: &mut Vec<Error>,
    ) -> Result<Option<Object>> {
        let found = match kind {
            DropKind::Schema if name.name == DEFAULT_SCHEMA || SYSTEM_SCHEMAS.contains(&name.name.as_str()) => {
                let error = Error::new(
                    Kind::DependentObjects,
                    format!("cannot drop schema {} because it is required by the database system", name.name),
                );
                return Err(error.at(name.position));
            }
            DropKind::Schema => catalog
                .find_in("", &name.name)
                .cloned()
                .ok_or_else(|| Error::new(Kind::UndefinedSchema, format!("schema \"{}\" does not exist", name.name)).at(name.position)),
            DropKind::Function => self.find_function(name),
            _ => self.find(name).map_err(|error| missing(kind, name, error)),
        };
        let object = match found {
            Ok(object) => object,
            Err(error) if if_exists && matches!(error.kind(), Kind::UndefinedTable | Kind::UndefinedSchema | Kind::UndefinedFunction) => {
                notices.push(Error::new(error.kind(), format!("{}, skipping", error.message())));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if !kind.is(&object) {
            let error = Error::new(Kind::WrongObjectType, format!("\"{}\" is not a {}", name.name, kind.name())).at(name.position);
            return Err(error.hint(format!("Use DROP {} to remove it.", object.kind_name().to_uppercase())));
        }
        Ok(Some(Object::clone(&object)))
    }
}

impl Engine {
    /// Ends and forgets these objects, each listed before those it depends on. To be waited for to its end.
    pub(crate) async fn drop_all(&self, objects: &[ObjectId]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        // First for good, with all that is stored: a crash behind this leaves nothing of them, one before leaves all.
        self.uninstall(objects)?;
        self.end_all(objects).await
    }

    /// Ends what runs for objects that are not in the catalog any more.
    pub(crate) async fn end_all(&self, objects: &[ObjectId]) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        // With each table what deletes its rows.
        let keepers = objects.iter().filter(|id| !is_keeper(**id)).map(|id| keeper_of(*id));
        let keepers: Vec<ObjectId> = keepers.filter(|keeper| self.views.read().contains_key(keeper)).collect();
        let objects: &[ObjectId] = &[&keepers, objects].concat();
        for id in objects {
            let keeper = keepers.contains(id).then(|| self.views.read().get(id).and_then(|keeper| keeper.sink.clone())).flatten();
            if let Some(sink) = self.sinks.write().remove(id).or(keeper) {
                sink.stop();
            }
        }
        objects.iter().for_each(|id| drop(self.relations.lock().remove(id)));
        let (reply, done) = tokio::sync::oneshot::channel();
        self.ask(Request::Drop { objects: objects.to_vec(), reply })?;
        done.await.map_err(|_| Error::new(Kind::Shutdown, "the server is shutting down"))?;
        // What went may have been an index, and nobody looks into it any more.
        for relation in self.relations.lock().values() {
            objects.iter().for_each(|id| relation.drop_index(*id));
        }
        for id in objects {
            if let Some(view) = self.views.write().remove(id) {
                view.set_status(ViewStatus::Dropped);
            }
            self.sources.write().remove(id);
            self.table_locks.lock().remove(id);
            self.row_errors.forget(*id);
            self.late_rows.forget(*id);
        }
        Ok(())
    }
}

/// Everything that goes with the object, each before those it depends on.
fn dependants(catalog: &Catalog, object: &Object) -> Vec<ObjectId> {
    if !matches!(object.kind, ObjectKind::Schema) {
        return catalog.dependants_deep(object.id).into_iter().map(|object| object.id).collect();
    }
    let mut inside: Vec<ObjectId> = Vec::new();
    for member in catalog.objects().filter(|member| member.schema == object.name) {
        inside.push(member.id);
        inside.extend(catalog.dependants_deep(member.id).into_iter().map(|object| object.id));
    }
    let mut ordered = catalog.ordered(&inside.into_iter().collect());
    ordered.reverse();
    ordered.into_iter().map(|object| object.id).collect()
}

/// An index goes with its relation, unasked.
fn is_index(catalog: &Catalog, id: ObjectId) -> bool {
    catalog.get(id).is_some_and(|object| matches!(object.kind, ObjectKind::Index(_)))
}

fn names_it(catalog: &Catalog, id: ObjectId, names: &[Name]) -> bool {
    catalog.get(id).is_some_and(|object| {
        names.iter().any(|name| name.name == object.name && name.schema.as_ref().is_none_or(|schema| *schema == object.schema))
    })
}

fn refuse(catalog: &Catalog, object: &Object, below: &[ObjectId]) -> Error {
    let on = described(object);
    let details: Vec<String> =
        below.iter().filter_map(|id| catalog.get(*id)).map(|dependant| format!("{} depends on {on}", described(dependant))).collect();
    Error::new(Kind::DependentObjects, format!("cannot drop {on} because other objects depend on it"))
        .detail(details.join("\n"))
        .hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

fn missing(kind: DropKind, name: &Name, error: Error) -> Error {
    if error.kind() != Kind::UndefinedTable {
        return error;
    }
    let renamed = Error::new(Kind::UndefinedTable, format!("{} \"{}\" does not exist", kind.name(), name.name)).at(name.position);
    match error.hint_text() {
        Some(hint) => renamed.hint(hint),
        None => renamed,
    }
}
