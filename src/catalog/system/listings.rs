//! `pg_tables`, `pg_views` and their kin: one line per object, and sources as PostgreSQL's foreign tables.

use std::collections::BTreeSet;

use super::declared::Rows;
use super::facts::Facts;
use super::names::{IndexFacts, OWNER, OWNER_NAME, indexes, key, quote_ident, relations, user_relations};
use super::value::Value;
use crate::catalog::{ConnectorOptions, Object, ObjectKind};
use crate::types::ObjectId;

/// Numbers of the servers behind sources start here; connectors are numbered by name, in PostgreSQL's range of system objects.
const FIRST_SERVER: ObjectId = 15_000;

pub(super) fn tables(facts: &Facts, rows: &mut Rows) {
    let user = user_relations(facts).filter(|object| matches!(object.kind, ObjectKind::Table(_)));
    let user = user.map(|object| (object.schema.as_str(), object.name.as_str(), indexes(facts).any(|index| index.table.id == object.id)));
    let system = relations().filter(|declared| declared.kind == 'r').map(|declared| (declared.schema, declared.name, false));
    for (schema, name, has_indexes) in user.chain(system) {
        rows.push([
            ("schemaname", schema.into()),
            ("tablename", name.into()),
            ("tableowner", OWNER_NAME.into()),
            ("hasindexes", has_indexes.into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]);
    }
}

pub(super) fn views(facts: &Facts, rows: &mut Rows) {
    for object in facts.catalog.objects() {
        let ObjectKind::View(view) = &object.kind else { continue };
        rows.push([
            ("schemaname", object.schema.as_str().into()),
            ("viewname", object.name.as_str().into()),
            ("viewowner", OWNER_NAME.into()),
            ("definition", view.query.as_str().into()),
        ]);
    }
}

pub(super) fn materialized_views(facts: &Facts, rows: &mut Rows) {
    for object in facts.catalog.objects() {
        let ObjectKind::MaterializedView(view) = &object.kind else { continue };
        let populated = facts.views.iter().all(|running| running.id != object.id || running.status == "running");
        rows.push([
            ("schemaname", object.schema.as_str().into()),
            ("matviewname", object.name.as_str().into()),
            ("matviewowner", OWNER_NAME.into()),
            ("hasindexes", indexes(facts).any(|index| index.table.id == object.id).into()),
            ("ispopulated", populated.into()),
            ("definition", view.query.as_str().into()),
        ]);
    }
}

pub(super) fn index_rows(facts: &Facts, rows: &mut Rows) {
    for index in indexes(facts) {
        rows.push([
            ("schemaname", index.table.schema.as_str().into()),
            ("tablename", index.table.name.as_str().into()),
            ("indexname", index.name.as_str().into()),
            ("indexdef", index_definition(&index).into()),
        ]);
    }
}

/// The columns of a table's primary key, quoted, separated by commas.
pub(super) fn key_columns(table: &Object) -> String {
    named(table, key(table))
}

/// Columns of a relation, quoted, separated by commas.
pub(super) fn named(table: &Object, positions: &[usize]) -> String {
    let columns = table.columns().unwrap_or_default();
    positions.iter().filter_map(|position| columns.get(*position)).map(|column| quote_ident(&column.name)).collect::<Vec<_>>().join(", ")
}

/// The statement that would make an index, in PostgreSQL's words. What a user made finds rows by equality: `hash`.
pub(super) fn index_definition(index: &IndexFacts<'_>) -> String {
    let (name, schema, table) = (quote_ident(&index.name), quote_ident(&index.table.schema), quote_ident(&index.table.name));
    let (unique, method) = if index.primary { ("UNIQUE ", "btree") } else { ("", "hash") };
    let include = if index.include.is_empty() { String::new() } else { format!(" INCLUDE ({})", named(index.table, index.include)) };
    format!("CREATE {unique}INDEX {name} ON {schema}.{table} USING {method} ({}){include}", named(index.table, index.columns))
}

pub(super) fn table_statistics(facts: &Facts, rows: &mut Rows) {
    let kept = user_relations(facts).filter(|object| matches!(object.kind, ObjectKind::Table(_) | ObjectKind::MaterializedView(_)));
    for object in kept {
        rows.push([
            ("relid", object.id.into()),
            ("schemaname", object.schema.as_str().into()),
            ("relname", object.name.as_str().into()),
            ("n_live_tup", facts.relation(object.id).rows.into()),
        ]);
    }
}

pub(super) fn index_statistics(facts: &Facts, rows: &mut Rows) {
    for index in indexes(facts) {
        rows.push([
            ("relid", index.table.id.into()),
            ("indexrelid", index.oid.into()),
            ("schemaname", index.table.schema.as_str().into()),
            ("relname", index.table.name.as_str().into()),
            ("indexrelname", index.name.as_str().into()),
        ]);
    }
}

/// The connector behind a source, or behind a table that one fills.
pub(super) fn connector_of(object: &Object) -> Option<&ConnectorOptions> {
    match &object.kind {
        ObjectKind::Source(source) => Some(&source.connector),
        ObjectKind::Table(table) => table.connector.as_ref(),
        _ => None,
    }
}

/// The name of an object's connector.
pub(super) fn connector_name(object: &Object) -> Option<&str> {
    connector_of(object)?.options.get("connector").map(String::as_str)
}

/// The options of a connector as `key=value`; secrets are not shown.
fn options(connector: &ConnectorOptions) -> Vec<String> {
    let shown = connector.options.iter().filter(|(name, _)| *name != "connector").map(|(name, value)| {
        let secret = ["password", "secret", "token", "credential", "jaas"].iter().any(|word| name.contains(word));
        format!("{name}={}", if secret { "********" } else { value })
    });
    let format = [format!("format={}", connector.format), format!("encode={}", connector.encode)];
    shown.chain(format).collect()
}

/// The connectors in use, in the order of their names: the number of each is that of its server.
fn connectors(facts: &Facts) -> BTreeSet<&str> {
    user_relations(facts).filter(|object| matches!(object.kind, ObjectKind::Source(_))).filter_map(connector_name).collect()
}

pub(super) fn foreign_tables(facts: &Facts, rows: &mut Rows) {
    let connectors: Vec<&str> = connectors(facts).into_iter().collect();
    for object in user_relations(facts) {
        let ObjectKind::Source(source) = &object.kind else { continue };
        let server = connector_name(object).and_then(|name| connectors.iter().position(|known| *known == name)).unwrap_or(0);
        let options = Value::from(options(&source.connector));
        rows.push([("ftrelid", object.id.into()), ("ftserver", (FIRST_SERVER as usize + server).into()), ("ftoptions", options)]);
    }
}

pub(super) fn foreign_servers(facts: &Facts, rows: &mut Rows) {
    for (number, name) in connectors(facts).into_iter().enumerate() {
        rows.push([
            ("oid", (FIRST_SERVER as usize + number).into()),
            ("srvname", name.into()),
            ("srvowner", OWNER.into()),
            ("srvfdw", (FIRST_SERVER - 1).into()),
        ]);
    }
}

pub(super) fn foreign_data_wrappers(_facts: &Facts, rows: &mut Rows) {
    rows.push([("oid", (FIRST_SERVER - 1).into()), ("fdwname", "tidemill".into()), ("fdwowner", OWNER.into())]);
}
