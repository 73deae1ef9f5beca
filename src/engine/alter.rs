//! ALTER: names. A definition that is called otherwise, and the texts of all that reads it, change in one write.
//!
//! Always: what depends on a renamed object goes on as it is. Its text is respelled, planned over the new names and compared with the plan by
//! which it runs; if they differ, nothing is renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Catalog, Column, Object, ObjectKind, Table};
use crate::engine::Engine;
use crate::engine::catalog_change::is_system_schema;
use crate::engine::coordinator::Request;
use crate::engine::definition::statement_of;
use crate::engine::dependants::{Changed, Spelled, described};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::sql::{Alter, AlterAction, DropKind, Name, rename_column};
use crate::types::ObjectId;

impl Session {
    pub(crate) async fn alter(&mut self, alter: &Alter) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        if let AlterAction::AddColumn { .. } | AlterAction::DropColumn { .. } | AlterAction::AddPrimaryKey(_) = &alter.action {
            return self.alter_columns(alter).await;
        }
        match &alter.action {
            AlterAction::SetOptions(options) => return self.alter_retention(alter, options, &[]).await,
            AlterAction::ResetOptions(names) => return self.alter_retention(alter, &BTreeMap::new(), names).await,
            _ => {}
        }
        let _one_at_a_time = engine.ddl.lock().await;
        let Some(object) = self.altered(alter)? else { return Ok(()) };
        let (new, changed) = match &alter.action {
            AlterAction::RenameTo(name) => {
                self.free_for_rename(&object.schema, name, alter.name.position)?;
                renamed(vec![Object { name: name.clone(), ..Object::clone(&object) }])
            }
            AlterAction::SetSchema(schema) => {
                let catalog = engine.catalog();
                if !catalog.has_schema(schema) {
                    return Err(Error::new(Kind::UndefinedSchema, format!("schema \"{schema}\" does not exist")));
                }
                if is_system_schema(schema) {
                    return Err(Error::new(Kind::InsufficientPrivilege, format!("permission denied for schema {schema}")));
                }
                if *schema == object.schema {
                    return Ok(());
                }
                let indexes = catalog.dependants(object.id).filter(|dependant| matches!(dependant.kind, ObjectKind::Index(_)));
                // Its indexes stand where it stands.
                let moved = std::iter::once(&object).chain(indexes);
                let moved = moved.map(|object| Object { schema: schema.clone(), ..Object::clone(object) }).collect::<Vec<_>>();
                for object in &moved {
                    self.free_for_rename(schema, &object.name, alter.name.position)?;
                }
                renamed(moved)
            }
            AlterAction::SwapWith(other) => self.swapped(alter, &object, other)?,
            AlterAction::RenameColumn { from, to } => column_renamed(&object, from, to)?,
            AlterAction::OwnerTo(role) => {
                self.notice(
                    Error::new(Kind::NotSupported, format!("objects have no owners: {} was not given to \"{role}\"", described(&object)))
                        .hint("Every user that may connect may do everything so far."),
                );
                return Ok(());
            }
            AlterAction::SetOptions(_) | AlterAction::ResetOptions(_) => return Ok(()),
            AlterAction::AddColumn { .. } | AlterAction::DropColumn { .. } | AlterAction::AddPrimaryKey(_) => return Ok(()),
        };
        let _renaming = self.shield.raise();
        engine.rename(new, &changed)
    }

    /// The object that an ALTER names, if it is of the right kind; `None` if there is none and the statement says IF EXISTS.
    pub(crate) fn altered(&mut self, alter: &Alter) -> Result<Option<Arc<Object>>> {
        let object = match self.find(&alter.name) {
            Ok(object) => object,
            Err(error) if alter.if_exists && error.kind() == Kind::UndefinedTable => {
                self.notice(Error::new(error.kind(), format!("{}, skipping", error.message())));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // As PostgreSQL does it: ALTER TABLE renames whatever has columns.
        let any = alter.kind == DropKind::Table
            && !matches!(
                alter.action,
                AlterAction::AddColumn { .. } | AlterAction::DropColumn { .. } | AlterAction::AddPrimaryKey(_) | AlterAction::SwapWith(_)
            );
        let any = any && (object.columns().is_some() || matches!(alter.action, AlterAction::RenameTo(_)));
        if any || alter.kind.is(&object) {
            return Ok(Some(object));
        }
        let error = Error::new(Kind::WrongObjectType, format!("\"{}\" is not a {}", object.name, alter.kind.name()));
        Err(error.hint(format!("Use ALTER {}.", object.kind_name().to_uppercase())).at(alter.name.position))
    }

    fn free_for_rename(&self, schema: &str, name: &str, position: usize) -> Result<()> {
        match self.engine.catalog().find_in(schema, name) {
            None => Ok(()),
            Some(_) => {
                Err(Error::new(Kind::DuplicateTable, format!("relation \"{name}\" already exists in schema \"{schema}\"")).at(position))
            }
        }
    }

    fn swapped(&self, alter: &Alter, object: &Arc<Object>, other: &Name) -> Result<(Vec<Object>, Changed)> {
        let other_object = self.find(other)?;
        if !alter.kind.is(&other_object) {
            let message = format!("\"{}\" is not a {}", other_object.name, alter.kind.name());
            return Err(Error::new(Kind::WrongObjectType, message).at(other.position));
        }
        let named = |object: &Object, like: &Object| Object { schema: like.schema.clone(), name: like.name.clone(), ..object.clone() };
        Ok(renamed(vec![named(object, &other_object), named(&other_object, object)]))
    }
}

impl DropKind {
    /// Whether an object is of this kind.
    pub(crate) fn is(self, object: &Object) -> bool {
        matches!(
            (self, &object.kind),
            (DropKind::Table, ObjectKind::Table(_))
                | (DropKind::Source, ObjectKind::Source(_))
                | (DropKind::View, ObjectKind::View(_))
                | (DropKind::MaterializedView, ObjectKind::MaterializedView(_))
                | (DropKind::Index, ObjectKind::Index(_))
                | (DropKind::Function, ObjectKind::Function(_))
                | (DropKind::Sink, ObjectKind::Sink(_))
                | (DropKind::Schema, ObjectKind::Schema)
        )
    }

    /// As messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            DropKind::Table => "table",
            DropKind::Source => "source",
            DropKind::View => "view",
            DropKind::MaterializedView => "materialized view",
            DropKind::Index => "index",
            DropKind::Function => "function",
            DropKind::Sink => "sink",
            DropKind::Schema => "schema",
        }
    }
}

/// Objects that get other names.
fn renamed(objects: Vec<Object>) -> (Vec<Object>, Changed) {
    let mut changed = Changed::default();
    objects.iter().for_each(|object| changed.add(object.id, object.id, None));
    (objects, changed)
}

/// An object one of whose columns is called otherwise.
fn column_renamed(object: &Arc<Object>, from: &str, to: &str) -> Result<(Vec<Object>, Changed)> {
    let mut new = Object::clone(object);
    let has_connector =
        matches!(&object.kind, ObjectKind::Source(_)) || matches!(&object.kind, ObjectKind::Table(table) if table.connector.is_some());
    let is_table = matches!(&object.kind, ObjectKind::Table(_) | ObjectKind::Source(_));
    let Some(columns) = new.kind.columns_mut() else {
        return Err(Error::new(Kind::WrongObjectType, format!("{} \"{}\" has no columns", object.kind_name(), object.name)));
    };
    let position = columns.iter().position(|column| column.name == from).ok_or_else(|| undefined_column(object, from))?;
    if columns.iter().any(|column| column.name == to) {
        let message = format!("column \"{to}\" of relation \"{}\" already exists", object.name);
        return Err(Error::new(Kind::DuplicateColumn, message));
    }
    if has_connector && columns[position].generated.is_none() && columns[position].include.is_none() {
        return Err(Error::not_supported(format!("cannot rename column \"{from}\": records are decoded by the names of columns"))
            .hint("Rename it in a view, or add a column GENERATED ALWAYS AS it."));
    }
    to.clone_into(&mut columns[position].name);
    if is_table {
        for column in columns.iter_mut() {
            if let Some(generated) = &mut column.generated {
                *generated = rename_column(generated, from, to)?;
            }
        }
    }
    if let ObjectKind::Table(Table { retention: Some(retention), .. }) = &mut new.kind
        && retention.column == from
    {
        to.clone_into(&mut retention.column);
    }
    if let Some(event_time) = new.kind.event_time_mut() {
        event_time.watermark = rename_column(&event_time.watermark, from, to)?;
        if event_time.column == from {
            to.clone_into(&mut event_time.column);
        }
    }
    let before = object.columns().unwrap_or_default();
    let columns = new.columns().unwrap_or_default();
    let spelled: Spelled =
        columns.iter().zip(before).map(|(now, then): (&Column, &Column)| (now.name.clone(), then.name.clone())).collect();
    let mut changed = Changed::default();
    changed.add(object.id, object.id, Some(spelled));
    Ok((vec![new], changed))
}

/// `42703` for a column of a relation.
pub(crate) fn undefined_column(object: &Object, name: &str) -> Error {
    let error = Error::new(Kind::UndefinedColumn, format!("column \"{name}\" of relation \"{}\" does not exist", object.name));
    let known = object.columns().unwrap_or_default().iter().map(|column| column.name.as_str());
    match crate::catalog::nearest(name, known) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error,
    }
}

impl Engine {
    /// Gives objects their new names, and has everything that reads them follow.
    fn rename(&self, mut new: Vec<Object>, changed: &Changed) -> Result<()> {
        let before = self.catalog();
        let mut after = Catalog::clone(&before);
        new.iter_mut().for_each(|object| object.sql = statement_of(object));
        new.iter().for_each(|object| after.insert(object.clone()));
        let renamed: BTreeSet<ObjectId> = new.iter().map(|object| object.id).collect();
        let below: BTreeSet<ObjectId> = renamed.iter().flat_map(|id| before.dependants_deep(*id)).map(|object| object.id).collect();
        let mut puts: Vec<Object> = new;
        let mut plans: Vec<(ObjectId, Plan)> = Vec::new();
        for dependant in before.ordered(&below) {
            // A view may be renamed and read what is renamed with it.
            let dependant = after.get(dependant.id).cloned().unwrap_or(dependant);
            let followed = self.follow(&dependant, &before, &after, changed).map_err(|error| cannot_follow(&dependant, &error))?;
            let Some(anew) = followed else { continue };
            if let Some(plan) = &anew.plan
                && !self.runs_alike(dependant.id, plan)
            {
                return Err(cannot_follow(&dependant, &Error::internal("its plan would change")));
            }
            after.insert(anew.object.clone());
            plans.extend(anew.plan.map(|plan| (anew.object.id, plan)));
            puts.retain(|object| object.id != anew.object.id);
            puts.push(anew.object);
        }
        self.change_definitions(&puts, &[])?;
        plans.iter().for_each(|(id, plan)| self.late_rows.rename(*id, plan));
        for object in puts.iter().filter(|object| renamed.contains(&object.id)) {
            if let Some(view) = self.views.read().get(&object.id) {
                view.rename(&object.name);
            }
            if matches!(&object.kind, ObjectKind::Table(table) if table.connector.is_some()) {
                self.ask(Request::Rename { table: object.id, name: object.name.clone() })?;
            }
        }
        Ok(())
    }
}

fn cannot_follow(dependant: &Object, cause: &Error) -> Error {
    Error::new(Kind::DependentObjects, format!("{} cannot follow the new name: {}", described(dependant), cause.message()))
        .hint("Give the relation an alias in the view's query, by CREATE OR REPLACE, or drop the view first.")
}
