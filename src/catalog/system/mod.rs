//! What the server knows of itself, as relations: `pg_catalog`, `information_schema` and `tidemill`, each declared once.
//!
//! In: `Facts`, a plain value gathered by the engine. Out: record batches. Nothing here knows sessions, plans or DataFusion: a relation is a
//! line in `pg_catalog`, `information_schema` or `own` that says its name, its columns, and the function that makes its rows; a function is a
//! line in `functions`.

mod declared;
mod describe;
mod facts;
mod functions;
mod information_schema;
mod listings;
mod names;
mod objects;
mod own;
mod pg_catalog;
mod procedures;
mod server;
mod standard;
mod text;
mod types;
mod value;

pub use declared::{Declared, DeclaredColumn, Rows};
pub use describe::declared_type;
pub use facts::{
    DeadLetterFacts, EpochFacts, Facts, LateFacts, RelationFacts, RowErrorFacts, SessionFacts, SinkFacts, SourceFacts, ViewFacts,
    WatermarkFacts,
};
pub use functions::{FUNCTIONS, Function, function};
pub use names::relations;
pub use value::{Value, array_of, values_of};

/// The system relation of this name.
pub fn relation(schema: &str, name: &str) -> Option<&'static Declared> {
    relations().find(|declared| declared.schema == schema && declared.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use arrow::array::AsArray;

    use super::{Facts, relation, relations};
    use crate::catalog::{Catalog, Column, Object, ObjectKind, Table};
    use crate::types::{OnConflict, SqlType};

    fn facts() -> Facts {
        let column = Column { name: "id".into(), sql_type: SqlType::Int8, not_null: true, default: None, generated: None, include: None };
        let table = Table {
            columns: vec![column],
            key: vec![0],
            on_conflict: OnConflict::Overwrite,
            append_only: false,
            retention: None,
            connector: None,
            event_time: None,
        };
        let object = Object {
            id: 16_384,
            schema: "public".into(),
            name: "bid".into(),
            sql: String::new(),
            depends_on: Vec::new(),
            kind: ObjectKind::Table(table),
            comments: Default::default(),
        };
        Facts {
            catalog: Arc::new(Catalog::new([object])),
            search_path: vec!["public".into()],
            database: "tidemill".into(),
            ..Facts::default()
        }
    }

    #[test]
    fn every_declaration_makes_a_batch_and_has_a_number_of_its_own() {
        let mut numbers = BTreeSet::new();
        for declared in relations() {
            let batch = declared.batch(&facts()).expect("columns and rows agree");
            assert_eq!(batch.num_columns(), declared.columns().len(), "{}", declared.name);
            assert!(numbers.insert(declared.oid), "{} has the number of another", declared.name);
        }
    }

    #[test]
    fn a_primary_key_is_seen_as_an_index() {
        let indexes = relation("pg_catalog", "pg_indexes").expect("declared").batch(&facts()).expect("rows");
        assert_eq!(indexes.column(4).as_string::<i32>().value(0), "CREATE UNIQUE INDEX bid_pkey ON public.bid USING btree (id)");
    }
}
