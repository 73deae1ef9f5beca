//! `pg_class`, `pg_attribute` and what hangs on them: the objects of the catalog as PostgreSQL would describe them.
//!
//! A table is an `r`, a view a `v`, a materialised view an `m`, a source an `f` (its rows are elsewhere), a primary key's index an `i`.

use super::declared::Rows;
use super::facts::Facts;
use super::names::{OWNER, constraint_of, index_of, indexes, key, key_name, namespace, namespaces, relations, rule_of, user_relations};
use super::types::{modifier, physical};
use super::value::Value;
use crate::catalog::{Column, Object, ObjectKind};
use crate::types::{ObjectId, SqlType, type_oids};

/// `pg_class` as a class of objects, in `pg_depend`.
const CLASS_RELATION: ObjectId = 1259;
/// `pg_proc`, likewise.
const CLASS_FUNCTION: ObjectId = 1255;
/// `pg_rewrite`, likewise.
const CLASS_RULE: ObjectId = 2618;
/// The access methods heap and btree.
const HEAP: ObjectId = 2;
const BTREE: ObjectId = 403;

/// The letter for the kind of an object.
pub(super) fn relkind(object: &Object) -> char {
    match object.kind {
        ObjectKind::Table(_) => 'r',
        ObjectKind::Source(_) => 'f',
        ObjectKind::View(_) => 'v',
        ObjectKind::MaterializedView(_) => 'm',
        ObjectKind::Index(_) => 'i',
        // Not in `pg_class`.
        ObjectKind::Function(_) | ObjectKind::Sink(_) => ' ',
        ObjectKind::Schema => 'n',
    }
}

/// What a row of `pg_class` says beyond the ordinary.
struct Class<'a> {
    oid: ObjectId,
    name: &'a str,
    namespace: ObjectId,
    kind: char,
    columns: usize,
    has_index: bool,
    rows: u64,
    bytes: u64,
}

pub(super) fn classes(facts: &Facts, rows: &mut Rows) {
    for declared in relations() {
        let columns = declared.columns().len();
        let namespace = namespace(facts, declared.schema);
        class(
            rows,
            &Class { oid: declared.oid, name: declared.name, namespace, kind: declared.kind, columns, has_index: false, rows: 0, bytes: 0 },
        );
    }
    for object in user_relations(facts) {
        let relation = facts.relation(object.id);
        let columns = object.columns().unwrap_or_default().len();
        let has_index = indexes(facts).any(|index| index.table.id == object.id);
        let namespace = namespace(facts, &object.schema);
        let (kind, bytes) = (relkind(object), relation.bytes);
        class(rows, &Class { oid: object.id, name: &object.name, namespace, kind, columns, has_index, rows: relation.rows, bytes });
    }
    for index in indexes(facts) {
        let count = facts.relation(index.table.id).rows;
        let (namespace, columns) = (namespace(facts, &index.table.schema), index.all_columns().count());
        class(rows, &Class { oid: index.oid, name: &index.name, namespace, kind: 'i', columns, has_index: false, rows: count, bytes: 0 });
    }
}

fn class(rows: &mut Rows, class: &Class<'_>) {
    let method = match class.kind {
        'r' | 'm' => HEAP,
        'i' => BTREE,
        _ => 0,
    };
    rows.push([
        ("oid", class.oid.into()),
        ("relname", class.name.into()),
        ("relnamespace", class.namespace.into()),
        ("relowner", OWNER.into()),
        ("relam", method.into()),
        ("relfilenode", if method == 0 { 0 } else { class.oid }.into()),
        ("relpages", (class.bytes / 8_192).min(i32::MAX as u64).into()),
        ("reltuples", (class.rows as f64).into()),
        ("relhasindex", class.has_index.into()),
        ("relpersistence", 'p'.into()),
        ("relkind", class.kind.into()),
        ("relnatts", class.columns.into()),
        ("relhasrules", matches!(class.kind, 'v' | 'm').into()),
        ("relispopulated", true.into()),
        ("relreplident", if matches!(class.kind, 'r' | 'm') { 'd' } else { 'n' }.into()),
    ]);
}

pub(super) fn attributes(facts: &Facts, rows: &mut Rows) {
    for declared in relations() {
        for (number, column) in declared.columns().iter().enumerate() {
            attribute(rows, declared.oid, number, column.name, &column.sql_type, column.not_null, None);
        }
    }
    for object in user_relations(facts) {
        let columns = object.columns().unwrap_or_default();
        for (number, column) in columns.iter().enumerate() {
            attribute(rows, object.id, number, &column.name, &column.sql_type, column.not_null, Some(column));
        }
    }
    for index in indexes(facts) {
        let columns = index.table.columns().unwrap_or_default();
        for (number, column) in index.all_columns().filter_map(|position| columns.get(position)).enumerate() {
            attribute(rows, index.oid, number, &column.name, &column.sql_type, false, None);
        }
    }
}

fn attribute(rows: &mut Rows, relation: ObjectId, number: usize, name: &str, sql_type: &SqlType, not_null: bool, column: Option<&Column>) {
    let (length, by_value, align, storage, collation) = physical(sql_type);
    let generated = column.is_some_and(|column| column.generated.is_some());
    rows.push([
        ("attrelid", relation.into()),
        ("attname", name.into()),
        ("atttypid", type_oids(sql_type).0.into()),
        ("attstattarget", (-1).into()),
        ("attlen", length.into()),
        ("attnum", (number + 1).into()),
        ("attndims", sql_type.dimensions().into()),
        ("attcacheoff", (-1).into()),
        ("atttypmod", modifier(sql_type).into()),
        ("attbyval", by_value.into()),
        ("attalign", align.into()),
        ("attstorage", storage.into()),
        ("attnotnull", not_null.into()),
        ("atthasdef", column.is_some_and(|column| default_of(column).is_some()).into()),
        ("attgenerated", if generated { "s" } else { "" }.into()),
        ("attislocal", true.into()),
        ("attcollation", collation.into()),
    ]);
}

/// The SQL of a column's default, or of what it is generated from.
pub(super) fn default_of(column: &Column) -> Option<&str> {
    column.generated.as_deref().or(column.default.as_deref())
}

pub(super) fn namespaces_rows(facts: &Facts, rows: &mut Rows) {
    for (oid, name) in namespaces(facts) {
        rows.push([("oid", oid.into()), ("nspname", name.into()), ("nspowner", OWNER.into())]);
    }
}

pub(super) fn index_rows(facts: &Facts, rows: &mut Rows) {
    for index in indexes(facts) {
        let columns = index.table.columns().unwrap_or_default();
        let positions: Vec<i64> = index.all_columns().map(|position| position as i64 + 1).collect();
        let collations: Vec<i64> = index.columns.iter().map(|position| physical(&columns[*position].sql_type).4).collect();
        let zeros = vec![0_i64; index.columns.len()];
        rows.push([
            ("indexrelid", index.oid.into()),
            ("indrelid", index.table.id.into()),
            ("indnatts", positions.len().into()),
            ("indnkeyatts", index.columns.len().into()),
            ("indisunique", index.primary.into()),
            ("indisprimary", index.primary.into()),
            ("indimmediate", true.into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", positions.into()),
            ("indcollation", collations.into()),
            ("indclass", zeros.clone().into()),
            ("indoption", zeros.into()),
        ]);
    }
}

pub(super) fn constraints(facts: &Facts, rows: &mut Rows) {
    for object in user_relations(facts).filter(|object| !key(object).is_empty()) {
        let positions: Vec<i64> = key(object).iter().map(|position| *position as i64 + 1).collect();
        rows.push([
            ("oid", constraint_of(object.id).into()),
            ("conname", key_name(object).into()),
            ("connamespace", namespace(facts, &object.schema).into()),
            ("contype", 'p'.into()),
            ("convalidated", true.into()),
            ("conrelid", object.id.into()),
            ("conindid", index_of(object.id).into()),
            ("confupdtype", ' '.into()),
            ("confdeltype", ' '.into()),
            ("confmatchtype", ' '.into()),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", positions.into()),
        ]);
    }
}

pub(super) fn defaults(facts: &Facts, rows: &mut Rows) {
    for object in user_relations(facts) {
        for (number, column) in object.columns().unwrap_or_default().iter().enumerate() {
            let Some(default) = default_of(column) else { continue };
            // A relation has at most 1,600 columns, so the product is unique.
            let oid = i64::from(object.id) * 2_048 + number as i64;
            rows.push([("oid", oid.into()), ("adrelid", object.id.into()), ("adnum", (number + 1).into()), ("adbin", default.into())]);
        }
    }
}

/// The views that depend on other relations, in the way of PostgreSQL: a view's rule depends on what its query names.
pub(super) fn dependencies(facts: &Facts, rows: &mut Rows) {
    for object in views(facts) {
        let mut depend = |class: ObjectId, referenced: ObjectId, kind: char| {
            rows.push([
                ("classid", CLASS_RULE.into()),
                ("objid", rule_of(object.id).into()),
                ("refclassid", class.into()),
                ("refobjid", referenced.into()),
                ("deptype", kind.into()),
            ]);
        };
        depend(CLASS_RELATION, object.id, 'i');
        for dependency in &object.depends_on {
            let is_function = facts.catalog.get(*dependency).is_some_and(|found| matches!(found.kind, ObjectKind::Function(_)));
            depend(if is_function { CLASS_FUNCTION } else { CLASS_RELATION }, *dependency, 'n');
        }
    }
    for index in indexes(facts) {
        rows.push([
            ("classid", CLASS_RELATION.into()),
            ("objid", index.oid.into()),
            ("refclassid", CLASS_RELATION.into()),
            ("refobjid", index.table.id.into()),
            ("deptype", if index.primary { 'i' } else { 'a' }.into()),
        ]);
    }
}

pub(super) fn rewrites(facts: &Facts, rows: &mut Rows) {
    for object in views(facts) {
        rows.push([
            ("oid", rule_of(object.id).into()),
            ("rulename", "_RETURN".into()),
            ("ev_class", object.id.into()),
            ("ev_type", '1'.into()),
            ("ev_enabled", 'O'.into()),
            ("is_instead", true.into()),
            ("ev_qual", "<>".into()),
            ("ev_action", Value::from("<>")),
        ]);
    }
}

fn views(facts: &Facts) -> impl Iterator<Item = &Object> {
    user_relations(facts).filter(|object| matches!(object.kind, ObjectKind::View(_) | ObjectKind::MaterializedView(_)))
}
