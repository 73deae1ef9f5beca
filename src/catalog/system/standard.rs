//! The rows of `information_schema`: the catalog in the words of the SQL standard.

use super::declared::Rows;
use super::facts::Facts;
use super::listings::connector_name;
use super::names::{OWNER_NAME, key, key_name, namespaces, relations, roles, user_relations};
use super::objects::default_of;
use super::types::catalog_name;
use super::value::Value;
use crate::catalog::{Column, Object, ObjectKind};
use crate::types::SqlType;

fn yes(yes: bool) -> Value {
    if yes { "YES" } else { "NO" }.into()
}

pub(super) fn schemata(facts: &Facts, rows: &mut Rows) {
    for (_, name) in namespaces(facts) {
        rows.push([("catalog_name", facts.database.as_str().into()), ("schema_name", name.into()), ("schema_owner", OWNER_NAME.into())]);
    }
}

/// The standard has no word for materialised views: they are what they are read as, tables that cannot be written.
fn table_type(object: &Object) -> &'static str {
    match object.kind {
        ObjectKind::View(_) => "VIEW",
        ObjectKind::MaterializedView(_) => "MATERIALIZED VIEW",
        ObjectKind::Source(_) => "FOREIGN",
        _ => "BASE TABLE",
    }
}

/// Rows are inserted into tables, unless a connector fills them.
fn insertable(object: &Object) -> bool {
    matches!(object.kind, ObjectKind::Table(_)) && connector_name(object).is_none()
}

pub(super) fn tables(facts: &Facts, rows: &mut Rows) {
    let user = user_relations(facts).map(|object| (object.schema.as_str(), object.name.as_str(), table_type(object), insertable(object)));
    let system = relations().map(|declared| {
        let table_type = if declared.kind == 'r' { "BASE TABLE" } else { "VIEW" };
        (declared.schema, declared.name, table_type, false)
    });
    for (schema, name, table_type, insertable) in user.chain(system) {
        rows.push([
            ("table_catalog", facts.database.as_str().into()),
            ("table_schema", schema.into()),
            ("table_name", name.into()),
            ("table_type", table_type.into()),
            ("is_insertable_into", yes(insertable)),
            ("is_typed", yes(false)),
        ]);
    }
}

pub(super) fn columns(facts: &Facts, rows: &mut Rows) {
    for object in user_relations(facts) {
        for (number, column) in object.columns().unwrap_or_default().iter().enumerate() {
            let place = (object.schema.as_str(), object.name.as_str(), number);
            column_row(facts, rows, place, column, insertable(object) && column.generated.is_none());
        }
    }
    for declared in relations() {
        for (number, column) in declared.columns().into_iter().enumerate() {
            let (name, sql_type, not_null) = (column.name.to_owned(), column.sql_type, column.not_null);
            let column = Column { name, sql_type, not_null, default: None, generated: None, include: None };
            column_row(facts, rows, (declared.schema, declared.name, number), &column, false);
        }
    }
}

fn column_row(facts: &Facts, rows: &mut Rows, (schema, table, number): (&str, &str, usize), column: &Column, updatable: bool) {
    let (data_type, length, precision, radix, scale) = described(&column.sql_type);
    let generated = column.generated.is_some();
    rows.push([
        ("table_catalog", facts.database.as_str().into()),
        ("table_schema", schema.into()),
        ("table_name", table.into()),
        ("column_name", column.name.as_str().into()),
        ("ordinal_position", (number + 1).into()),
        ("column_default", default_of(column).filter(|_| !generated).into()),
        ("is_nullable", yes(!column.not_null)),
        ("data_type", data_type.into()),
        ("character_maximum_length", length.into()),
        ("numeric_precision", precision.into()),
        ("numeric_precision_radix", radix.into()),
        ("numeric_scale", scale.into()),
        ("datetime_precision", digits_of_a_second(&column.sql_type).into()),
        ("udt_catalog", facts.database.as_str().into()),
        ("udt_schema", "pg_catalog".into()),
        ("udt_name", catalog_name(&column.sql_type).into()),
        ("dtd_identifier", (number + 1).to_string().into()),
        ("is_self_referencing", yes(false)),
        ("is_identity", yes(false)),
        ("identity_cycle", yes(false)),
        ("is_generated", if generated { "ALWAYS" } else { "NEVER" }.into()),
        ("generation_expression", column.generated.as_deref().into()),
        ("is_updatable", yes(updatable)),
    ]);
}

/// `datetime_precision`.
fn digits_of_a_second(sql_type: &SqlType) -> Option<i64> {
    match sql_type {
        SqlType::Rounded(_, digits) => Some(i64::from(*digits)),
        SqlType::Time | SqlType::Timestamp | SqlType::Timestamptz | SqlType::Interval => Some(6),
        SqlType::Date => Some(0),
        _ => None,
    }
}

/// `data_type`, length in characters, numeric precision, its radix, numeric scale.
type Description = (String, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

fn described(sql_type: &SqlType) -> Description {
    let plain = |name: &str| (name.to_owned(), None, None, None, None);
    let binary = |name: &str, bits: i64, scale: Option<i64>| (name.to_owned(), None, Some(bits), Some(2), scale);
    match sql_type {
        SqlType::Int2 => binary("smallint", 16, Some(0)),
        SqlType::Int4 => binary("integer", 32, Some(0)),
        SqlType::Int8 => binary("bigint", 64, Some(0)),
        SqlType::Float4 => binary("real", 24, None),
        SqlType::Float8 => binary("double precision", 53, None),
        SqlType::Numeric(precision, scale) => ("numeric".to_owned(), None, Some(i64::from(*precision)), Some(10), Some(i64::from(*scale))),
        SqlType::Varchar(length) => ("character varying".to_owned(), length.map(i64::from), None, None, None),
        SqlType::Char(length) => ("character".to_owned(), Some(i64::from(*length)), None, None, None),
        SqlType::Array(_) => plain("ARRAY"),
        SqlType::Rounded(whole, _) => plain(&whole.to_string()),
        other => (other.to_string(), None, None, None, None),
    }
}

pub(super) fn views(facts: &Facts, rows: &mut Rows) {
    for object in facts.catalog.objects() {
        let ObjectKind::View(view) = &object.kind else { continue };
        rows.push([
            ("table_catalog", facts.database.as_str().into()),
            ("table_schema", object.schema.as_str().into()),
            ("table_name", object.name.as_str().into()),
            ("view_definition", view.query.as_str().into()),
            ("check_option", "NONE".into()),
            ("is_updatable", yes(false)),
            ("is_insertable_into", yes(false)),
            ("is_trigger_updatable", yes(false)),
            ("is_trigger_deletable", yes(false)),
            ("is_trigger_insertable_into", yes(false)),
        ]);
    }
}

/// The tables with a primary key.
fn keyed(facts: &Facts) -> impl Iterator<Item = &Object> {
    user_relations(facts).filter(|object| !key(object).is_empty())
}

pub(super) fn table_constraints(facts: &Facts, rows: &mut Rows) {
    for object in keyed(facts) {
        rows.push([
            ("constraint_catalog", facts.database.as_str().into()),
            ("constraint_schema", object.schema.as_str().into()),
            ("constraint_name", key_name(object).into()),
            ("table_catalog", facts.database.as_str().into()),
            ("table_schema", object.schema.as_str().into()),
            ("table_name", object.name.as_str().into()),
            ("constraint_type", "PRIMARY KEY".into()),
            ("is_deferrable", yes(false)),
            ("initially_deferred", yes(false)),
            ("enforced", yes(true)),
        ]);
    }
}

pub(super) fn key_column_usage(facts: &Facts, rows: &mut Rows) {
    for object in keyed(facts) {
        let columns = object.columns().unwrap_or_default();
        for (number, position) in key(object).iter().enumerate() {
            rows.push([
                ("constraint_catalog", facts.database.as_str().into()),
                ("constraint_schema", object.schema.as_str().into()),
                ("constraint_name", key_name(object).into()),
                ("table_catalog", facts.database.as_str().into()),
                ("table_schema", object.schema.as_str().into()),
                ("table_name", object.name.as_str().into()),
                ("column_name", columns[*position].name.as_str().into()),
                ("ordinal_position", (number + 1).into()),
            ]);
        }
    }
}

pub(super) fn constraint_column_usage(facts: &Facts, rows: &mut Rows) {
    for object in keyed(facts) {
        let columns = object.columns().unwrap_or_default();
        for position in key(object) {
            rows.push([
                ("table_catalog", facts.database.as_str().into()),
                ("table_schema", object.schema.as_str().into()),
                ("table_name", object.name.as_str().into()),
                ("column_name", columns[*position].name.as_str().into()),
                ("constraint_catalog", facts.database.as_str().into()),
                ("constraint_schema", object.schema.as_str().into()),
                ("constraint_name", key_name(object).into()),
            ]);
        }
    }
}

pub(super) fn table_privileges(facts: &Facts, rows: &mut Rows) {
    for object in user_relations(facts) {
        let privileges: &[&str] = if insertable(object) { &["SELECT", "INSERT", "UPDATE", "DELETE"] } else { &["SELECT"] };
        for privilege in privileges {
            rows.push([
                ("grantor", OWNER_NAME.into()),
                ("grantee", facts.user.as_str().into()),
                ("table_catalog", facts.database.as_str().into()),
                ("table_schema", object.schema.as_str().into()),
                ("table_name", object.name.as_str().into()),
                ("privilege_type", (*privilege).into()),
                ("is_grantable", yes(false)),
                ("with_hierarchy", yes(*privilege == "SELECT")),
            ]);
        }
    }
}

pub(super) fn catalog_name_row(facts: &Facts, rows: &mut Rows) {
    rows.push([("catalog_name", facts.database.as_str().into())]);
}

pub(super) fn enabled_roles(facts: &Facts, rows: &mut Rows) {
    for (_, name) in roles(facts) {
        rows.push([("role_name", name.into())]);
    }
}

pub(super) fn character_sets(facts: &Facts, rows: &mut Rows) {
    rows.push([
        ("character_set_name", "UTF8".into()),
        ("character_repertoire", "UCS".into()),
        ("form_of_use", "UTF8".into()),
        ("default_collate_catalog", facts.database.as_str().into()),
        ("default_collate_schema", "pg_catalog".into()),
        ("default_collate_name", "C".into()),
    ]);
}

pub(super) fn view_table_usage(facts: &Facts, rows: &mut Rows) {
    for object in user_relations(facts).filter(|object| matches!(object.kind, ObjectKind::View(_))) {
        for table in object.depends_on.iter().filter_map(|id| facts.catalog.get(*id)) {
            rows.push([
                ("view_catalog", facts.database.as_str().into()),
                ("view_schema", object.schema.as_str().into()),
                ("view_name", object.name.as_str().into()),
                ("table_catalog", facts.database.as_str().into()),
                ("table_schema", table.schema.as_str().into()),
                ("table_name", table.name.as_str().into()),
            ]);
        }
    }
}
