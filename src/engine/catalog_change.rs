//! Changes of the catalog: first on disk, then in memory; a statement that is planned meanwhile keeps the catalog it started with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::catalog::{Catalog, Object, ObjectKind};
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::sql::Name;
use crate::types::ObjectId;

/// The fact that holds the next free object number: numbers are never used again, not even after a DROP.
pub(crate) const NEXT_ID_FACT: &str = "next_object_id";

/// Schemas that users cannot create or fill.
pub(crate) const SYSTEM_SCHEMAS: &[&str] = &["pg_catalog", "information_schema", "tidemill"];

impl Engine {
    /// A number for a new object. Only for who holds the lock on definitions: what is stored must not go back.
    pub(crate) fn new_id(&self) -> Result<ObjectId> {
        let id = self.next_id.fetch_add(1, Ordering::SeqCst);
        self.store.put_fact(NEXT_ID_FACT, &(id + 1).to_le_bytes())?;
        Ok(id)
    }

    /// Adds objects, or replaces those of the same numbers.
    pub(crate) fn install(&self, objects: &[Object]) -> Result<()> {
        self.change_definitions(objects, &[])
    }

    /// Takes objects out, with everything that is stored for them.
    pub(crate) fn uninstall(&self, objects: &[ObjectId]) -> Result<()> {
        self.change_definitions(&[], objects)
    }

    /// Takes objects out, with everything that is stored for them, and adds others or replaces those of the same numbers: in one write and at
    /// one moment.
    pub(crate) fn change_definitions(&self, puts: &[Object], gone: &[ObjectId]) -> Result<()> {
        let encoded: Vec<(ObjectId, Vec<u8>)> = puts.iter().map(|object| (object.id, encoded(object))).collect();
        self.store.put_objects(&encoded, gone)?;
        self.show_definitions(puts, gone);
        Ok(())
    }

    /// The same for definitions that are stored already.
    pub(crate) fn show_definitions(&self, puts: &[Object], gone: &[ObjectId]) {
        let mut slot = self.catalog.write();
        let mut catalog = Catalog::clone(&slot);
        gone.iter().for_each(|object| catalog.remove(*object));
        puts.iter().for_each(|object| catalog.insert(object.clone()));
        *slot = Arc::new(catalog);
    }
}

/// Whether users cannot put anything into a schema.
pub(crate) fn is_system_schema(name: &str) -> bool {
    SYSTEM_SCHEMAS.contains(&name)
}

/// A definition as it is stored.
pub(crate) fn encoded(object: &Object) -> Vec<u8> {
    serde_json::to_vec(object).expect("definitions always encode")
}

impl Session {
    /// The schema that a new object of this name goes into, and whether the name is free there: `None` when it is taken and the statement
    /// says IF NOT EXISTS.
    pub(crate) fn free_name(&mut self, name: &Name, if_not_exists: bool) -> Result<Option<String>> {
        let schema = self.creation_schema(name)?;
        if self.engine.catalog().find_in(&schema, &name.name).is_none() {
            return Ok(Some(schema));
        }
        let error = Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists", name.name)).at(name.position);
        if !if_not_exists {
            return Err(error);
        }
        self.notice(Error::new(Kind::DuplicateTable, format!("relation \"{}\" already exists, skipping", name.name)));
        Ok(None)
    }

    /// The schema that a new object of this name goes into: one that is there, and not the server's own.
    pub(crate) fn creation_schema(&self, name: &Name) -> Result<String> {
        let catalog = self.engine.catalog();
        let schema = match &name.schema {
            Some(schema) => schema.clone(),
            None => {
                let found = self.settings.search_path().into_iter().find(|schema| catalog.has_schema(schema));
                let none = || Error::new(Kind::UndefinedSchema, "no schema has been selected to create in").at(name.position);
                found.ok_or_else(|| none().hint("Name a schema before it, or set search_path to one that exists."))?
            }
        };
        if SYSTEM_SCHEMAS.contains(&schema.as_str()) {
            return Err(Error::new(Kind::InsufficientPrivilege, format!("permission denied for schema {schema}")).at(name.position));
        }
        if !catalog.has_schema(&schema) {
            return Err(Error::new(Kind::UndefinedSchema, format!("schema \"{schema}\" does not exist")).at(name.position));
        }
        Ok(schema)
    }

    /// The function that a name stands for.
    pub(crate) fn find_function(&self, name: &Name) -> Result<Arc<Object>> {
        let catalog = self.engine.catalog();
        let found = catalog.find_function(name.schema.as_deref(), &name.name, &self.settings.search_path());
        found
            .cloned()
            .ok_or_else(|| Error::new(Kind::UndefinedFunction, format!("function \"{}\" does not exist", name.name)).at(name.position))
    }

    /// The object that a name stands for.
    pub(crate) fn find(&self, name: &Name) -> Result<Arc<Object>> {
        let catalog = self.engine.catalog();
        let found = catalog.resolve(name.schema.as_deref(), &name.name, &self.settings.search_path());
        found.cloned().map_err(|error| error.at(name.position))
    }

    pub(crate) async fn create_schema(&mut self, name: &Name, if_not_exists: bool) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let _one_at_a_time = engine.ddl.lock().await;
        if name.name.starts_with("pg_") {
            return Err(Error::new(Kind::ReservedName, format!("unacceptable schema name \"{}\"", name.name))
                .detail("The prefix \"pg_\" is reserved for system schemas.")
                .at(name.position));
        }
        let catalog = engine.catalog();
        if catalog.has_schema(&name.name) || SYSTEM_SCHEMAS.contains(&name.name.as_str()) {
            if if_not_exists {
                self.notice(Error::new(Kind::DuplicateSchema, format!("schema \"{}\" already exists, skipping", name.name)));
                return Ok(());
            }
            return Err(Error::new(Kind::DuplicateSchema, format!("schema \"{}\" already exists", name.name)).at(name.position));
        }
        let id = engine.new_id()?;
        let object = Object {
            id,
            schema: String::new(),
            name: name.name.clone(),
            sql: format!("CREATE SCHEMA {}", crate::sql::quote_ident(&name.name)),
            depends_on: Vec::new(),
            kind: ObjectKind::Schema,
            comments: BTreeMap::new(),
        };
        engine.install(&[object])
    }
}
