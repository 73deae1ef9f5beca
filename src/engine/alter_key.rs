//! ALTER TABLE … ADD PRIMARY KEY: the rows stay, and are found by their key from now on.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::catalog::{Object, ObjectKind};
use crate::engine::Engine;
use crate::engine::alter::undefined_column;
use crate::engine::alter_columns::{Alteration, Filling, key_of};
use crate::engine::create::check_arrivals;
use crate::engine::dependants::described;
use crate::error::{Error, Kind, Result};
use crate::state::{NEWEST, Relation};
use crate::types::{Epoch, OnConflict, Running};

impl Engine {
    /// What becomes of a table that gets a key of these columns. One that others read is refused: their plans know that it has none.
    pub(super) async fn key_added(&self, object: &Arc<Object>, names: &[String]) -> Result<Alteration> {
        let ObjectKind::Table(table) = &object.kind else {
            return Err(Error::not_supported("only a table can get a primary key"));
        };
        if !key_of(object).is_empty() {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", object.name);
            return Err(Error::new(Kind::InvalidTableDefinition, message));
        }
        if table.connector.is_some() || table.append_only {
            return Err(Error::not_supported("ADD PRIMARY KEY to a table that is append-only or filled by a connector")
                .hint("Make a table with the key, and INSERT INTO … SELECT."));
        }
        let catalog = self.catalog();
        if let Some(reader) = catalog.dependants(object.id).find(|dependant| !matches!(dependant.kind, ObjectKind::Index(_))) {
            return Err(Error::not_supported(format!("ADD PRIMARY KEY to a table that {} reads", described(reader)))
                .hint("DROP what reads the table, and create it again afterwards."));
        }
        let mut columns = table.columns.clone();
        let mut key = Vec::with_capacity(names.len());
        for name in names {
            let position = columns.iter().position(|column| column.name == *name).ok_or_else(|| undefined_column(object, name))?;
            if key.contains(&position) {
                let message = format!("column \"{name}\" appears twice in primary key constraint");
                return Err(Error::new(Kind::DuplicateColumn, message));
            }
            check_arrivals(&columns, &[position])?;
            columns[position].not_null = true;
            key.push(position);
        }
        let filling = (0..columns.len()).map(Filling::Old).collect();
        let places = (0..columns.len()).map(Some).collect();
        let (object, recipe) = self.with_columns(object, columns, key).await?;
        Ok(Alteration { object, recipe, filling, places, follow: Vec::new(), gone: Vec::new(), indexes: Vec::new() })
    }
}

/// What has gone is not found by a key: nobody may read rows as of an `oldest` epoch before they were what they are now.
pub(super) fn check_unread(relation: &Relation, name: &str, oldest: Epoch) -> Result<()> {
    if oldest < relation.newest() {
        let message = format!("table \"{name}\" has changed since an open transaction has begun to read");
        return Err(Error::new(Kind::ObjectState, message).hint("Try again when it has ended."));
    }
    Ok(())
}

/// The newest rows of `relation` in `empty`, which has the key. `23505` if two of them have the same key.
pub(super) fn keyed(relation: &Relation, empty: Relation, name: &str, running: &Running) -> Result<Relation> {
    let now = relation.snapshot(NEWEST);
    for chunk in 0..now.chunks() {
        let columns = now.batch(chunk, None).columns().to_vec();
        let rows = RecordBatch::try_new(Arc::clone(empty.schema()), columns)?;
        let fresh = empty.resolve_while(running, &rows, OnConflict::Error, name)?;
        empty.apply(0, relation.newest(), &fresh.changes)?;
    }
    Ok(empty)
}
