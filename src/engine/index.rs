//! CREATE INDEX: another way to find the rows of a table or materialised view, kept by its relation beside the rows.
//!
//! An index is a definition and a part of the relation in memory; nothing of it is stored. It is made anew from the rows after a restart, and
//! finds them as soon as all are in it: until then, and where no equality names its columns, rows are scanned.

use std::sync::Arc;

use crate::catalog::{Catalog, Index, Object, ObjectKind};
use crate::engine::Engine;
use crate::engine::alter::undefined_column;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::sql::{CreateIndex, NAME_BYTES_MAX, Name, Parsed, cut_name, quote_ident};
use crate::types::{ObjectId, Running};

/// PostgreSQL's limit of columns in an index.
const COLUMNS_MAX: usize = 32;

/// Of the name that an index gets without being given one: `_idx` and a number of five digits.
const ENDING_BYTES: usize = 9;

impl Session {
    pub(crate) async fn create_index(&mut self, create: &CreateIndex, parsed: &Parsed) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let (relation, index) = {
            let _one_at_a_time = engine.ddl.lock().await;
            let Some(mut object) = self.index_object(create, parsed)? else { return Ok(()) };
            let ObjectKind::Index(index) = &object.kind else { return Err(Error::internal("an index is an index")) };
            let (number, relation) = (index.relation, engine.relation(&engine.catalog(), index.relation)?);
            object.id = engine.new_id()?;
            // Begun before anybody can know of it.
            relation.start_index(object.id, &index.columns);
            if let Err(error) = engine.install(std::slice::from_ref(&object)) {
                relation.drop_index(object.id);
                return Err(error);
            }
            (number, object.id)
        };
        // Not under the lock: everyone may define, write and read while the rows go in. Dropping the index ends it. What interrupts the statement is
        // looked at between two pages, because what was begun is to be taken back then.
        let _filling = self.shield.raise();
        let (filling, interrupt) = (Arc::clone(&engine), self.interrupt());
        let fill = move |running: &Running| {
            while filling.fill_index(relation, index) {
                interrupt.check()?;
                running.check()?;
            }
            Ok(())
        };
        let filled = engine.queries.work(fill).await;
        let _one_at_a_time = if filled.is_err() { Some(engine.ddl.lock().await) } else { None };
        engine.whole(index, filled).await
    }

    /// The index as the catalog is to have it, without a number; `None` if there is nothing to do.
    fn index_object(&mut self, create: &CreateIndex, parsed: &Parsed) -> Result<Option<Object>> {
        let relation = self.find(&create.relation)?;
        match &relation.kind {
            ObjectKind::Table(_) => {}
            ObjectKind::MaterializedView(view) if !view.options.discard => {}
            ObjectKind::View(_) => {
                let message = format!("cannot create index on view \"{}\"", relation.name);
                return Err(Error::new(Kind::WrongObjectType, message)
                    .hint("Make it a materialized view, which keeps rows.")
                    .at(create.relation.position));
            }
            _ => {
                let message = format!("cannot create index on {} \"{}\": it keeps no rows", relation.kind_name(), relation.name);
                return Err(Error::new(Kind::WrongObjectType, message).at(create.relation.position));
            }
        }
        let position = |name: &String| {
            let columns = relation.columns().unwrap_or_default();
            columns.iter().position(|column| column.name == *name).ok_or_else(|| undefined_column(&relation, name))
        };
        let columns = create.columns.iter().map(position).collect::<Result<Vec<_>>>()?;
        let include = create.include.iter().map(position).collect::<Result<Vec<_>>>()?;
        if columns.len() + include.len() > COLUMNS_MAX {
            return Err(Error::new(Kind::LimitExceeded, format!("cannot use more than {COLUMNS_MAX} columns in an index")));
        }
        let name = match &create.name {
            Some(name) => name.clone(),
            None => self.engine.free_index_name(&relation, &create.columns),
        };
        let name = Name { schema: Some(relation.schema.clone()), name, position: create.relation.position };
        let Some(schema) = self.free_name(&name, create.if_not_exists)? else { return Ok(None) };
        Ok(Some(Object {
            id: 0,
            schema,
            name: name.name,
            sql: parsed.text.clone(),
            depends_on: vec![relation.id],
            kind: ObjectKind::Index(Index { relation: relation.id, columns, include }),
            comments: Default::default(),
        }))
    }
}

impl Engine {
    /// `t_a_b_idx`, with a number behind it where that is taken.
    fn free_index_name(&self, relation: &Object, columns: &[String]) -> String {
        let catalog = self.catalog();
        let named = format!("{}_{}", relation.name, columns.join("_"));
        let base = format!("{}_idx", cut_name(&named, NAME_BYTES_MAX - ENDING_BYTES));
        let free = |name: &String| catalog.find_in(&relation.schema, name).is_none();
        let numbered = (1..).map(|number| format!("{base}{number}"));
        std::iter::once(base.clone()).chain(numbered).find(free).unwrap_or(base)
    }

    /// Puts some more rows into an index, of the relation as it is by now: an ALTER may have put another in its place. Says whether there is more to do.
    fn fill_index(&self, relation: ObjectId, index: ObjectId) -> bool {
        let relation = self.relations.lock().get(&relation).cloned();
        relation.and_then(|relation| relation.fill_index(index)).unwrap_or(false)
    }

    /// Makes the indexes of the catalog anew, after a restart.
    pub(crate) fn restore_indexes(&self) {
        for object in self.catalog().objects() {
            if let ObjectKind::Index(index) = &object.kind
                && let Some(relation) = self.relations.lock().get(&index.relation).cloned()
            {
                relation.add_index(object.id, &index.columns);
            }
        }
    }
}

/// The statement that would make an index.
pub(crate) fn index_statement(catalog: &Catalog, object: &Object, index: &Index) -> String {
    let relation = catalog.get(index.relation);
    let columns = relation.and_then(|relation| relation.columns()).unwrap_or_default();
    let listed = |positions: &[usize]| {
        positions
            .iter()
            .filter_map(|position| columns.get(*position))
            .map(|column| quote_ident(&column.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let on = relation.map_or_else(String::new, |relation| format!("{}.{}", quote_ident(&relation.schema), quote_ident(&relation.name)));
    let include = if index.include.is_empty() { String::new() } else { format!(" INCLUDE ({})", listed(&index.include)) };
    format!("CREATE INDEX {} ON {on} ({}){include}", quote_ident(&object.name), listed(&index.columns))
}
