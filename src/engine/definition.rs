//! A definition as the statement that would make it: what SHOW CREATE gives of an object that was altered since its own statement.

use std::collections::BTreeMap;

use crate::catalog::{Column, ConnectorOptions, Object, ObjectKind, Table, View};
use crate::sql::{quote_ident, quote_literal};
use crate::types::{Include, OnConflict};

/// The statement that would make the object as it is now.
pub(crate) fn statement_of(object: &Object) -> String {
    let name = format!("{}.{}", quote_ident(&object.schema), quote_ident(&object.name));
    match &object.kind {
        ObjectKind::Schema => format!("CREATE SCHEMA {}", quote_ident(&object.name)),
        ObjectKind::Table(table) => table_statement(&name, table),
        ObjectKind::Source(source) => {
            format!("CREATE SOURCE {name} ({}){}", columns(&source.columns, &[]), connector(&source.columns, &source.connector))
        }
        // An index says its relation's name, which the catalog knows: `index_statement`; a sink its table's: `sink_statement`.
        ObjectKind::Index(_) | ObjectKind::Sink(_) | ObjectKind::Function(_) => object.sql.clone(),
        ObjectKind::View(view) => view_statement("VIEW", &name, view),
        ObjectKind::MaterializedView(view) => view_statement("MATERIALIZED VIEW", &name, view),
    }
}

fn table_statement(name: &str, table: &Table) -> String {
    let mut sql = format!("CREATE TABLE {name} ({})", columns(&table.columns, &table.key));
    // A connector's table without a key is append-only anyway.
    if table.append_only && (table.connector.is_none() || !table.key.is_empty()) {
        sql.push_str(" APPEND ONLY");
    }
    match table.on_conflict {
        OnConflict::Overwrite => {}
        OnConflict::DoNothing => sql.push_str(" ON CONFLICT DO NOTHING"),
        OnConflict::Error => sql.push_str(" ON CONFLICT ERROR"),
    }
    if let Some(options) = &table.connector {
        sql.push_str(&connector(&table.columns, options));
    }
    sql
}

fn view_statement(kind: &str, name: &str, view: &View) -> String {
    let columns: Vec<String> = view.columns.iter().map(|column| quote_ident(&column.name)).collect();
    let discard = if view.discard { " WITH (discard = true)" } else { "" };
    format!("CREATE {kind} {name} ({}){discard} AS {}", columns.join(", "), view.query)
}

/// Columns and key; what INCLUDE adds stands behind.
fn columns(columns: &[Column], key: &[usize]) -> String {
    let mut parts: Vec<String> = columns.iter().filter(|column| column.include.is_none()).map(column).collect();
    if !key.is_empty() {
        let names: Vec<String> = key.iter().map(|position| quote_ident(&columns[*position].name)).collect();
        parts.push(format!("PRIMARY KEY ({})", names.join(", ")));
    }
    parts.join(", ")
}

fn column(column: &Column) -> String {
    let mut sql = format!("{} {}", quote_ident(&column.name), column.sql_type);
    if column.not_null {
        sql.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        sql.push_str(&format!(" DEFAULT {default}"));
    }
    if let Some(generated) = &column.generated {
        sql.push_str(&format!(" GENERATED ALWAYS AS ({generated}) STORED"));
    }
    sql
}

fn connector(columns: &[Column], options: &ConnectorOptions) -> String {
    let mut sql = String::new();
    for column in columns {
        let Some(include) = column.include else { continue };
        let word = match include {
            Include::Key => "KEY",
            Include::Partition => "PARTITION",
            Include::Offset => "OFFSET",
            Include::Timestamp => "TIMESTAMP",
            Include::Headers => "HEADERS",
        };
        sql.push_str(&format!(" INCLUDE {word} AS {}", quote_ident(&column.name)));
    }
    sql.push_str(&format!(" WITH ({}) FORMAT {} ENCODE {}", listed(&options.options), options.format, options.encode));
    if !options.encode_options.is_empty() {
        sql.push_str(&format!(" ({})", listed(&options.encode_options)));
    }
    sql
}

fn listed(options: &BTreeMap<String, String>) -> String {
    options.iter().map(|(name, value)| format!("{} = {}", quote_key(name), quote_literal(value))).collect::<Vec<_>>().join(", ")
}

/// The name of an option: dots stand as they are.
fn quote_key(name: &str) -> String {
    let plain = name.split('.').all(|part| quote_ident(part) == part);
    if plain { name.to_owned() } else { quote_literal(name) }
}
