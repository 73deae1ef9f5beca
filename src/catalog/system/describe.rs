//! Functions that describe objects, the session and the server.

use super::facts::Facts;
use super::functions::{arg, undefined};
use super::listings;
use super::names::{
    OWNER_NAME, effective_path, indexes, namespace, namespaces, quote_ident, relation_name, relation_oid, relation_text, relations,
    role_oid, roles, table_of_key, user_relations,
};
use super::objects::default_of;
use super::types::{self, oid_named};
use super::value::Value;
use crate::catalog::{Argument, Function, Object, ObjectKind};
use crate::error::{Error, Kind, Result};
use crate::types::ObjectId;

/// `version()`: clients find the version of PostgreSQL in it, people ours.
pub(super) fn version(facts: &Facts) -> String {
    format!(
        "PostgreSQL {} (Tidemill {}) on {}-{}, 64-bit",
        facts.server_version,
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

/// The search path; with `implicit`, `pg_catalog` too.
pub(super) fn schemas(facts: &Facts, implicit: bool) -> Vec<String> {
    let named = effective_path(facts).into_iter();
    named.filter(|schema| implicit || schema != "pg_catalog" || facts.search_path.contains(schema)).collect()
}

/// `current_setting(name [, missing_ok])`.
pub(super) fn setting(facts: &Facts, args: &[Value]) -> Result<Value> {
    let Some(name) = arg(args, 0).text() else { return Ok(Value::Null) };
    let known = facts.settings.iter().map(|(known, value, _)| (known, value));
    let mut known = known.chain(facts.custom_settings.iter().map(|(known, value)| (known, value)));
    match known.find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        Some((_, value)) => Ok(value.as_str().into()),
        None if arg(args, 1) == &Value::Bool(true) => Ok(Value::Null),
        None => Err(Error::new(Kind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))),
    }
}

/// The name of the role of a number.
pub(super) fn role_name(facts: &Facts, oid: &Value) -> Value {
    let Some(oid) = oid.int() else { return Value::Null };
    let role = roles(facts).into_iter().find(|(known, _)| i64::from(*known) == oid);
    // The words of PostgreSQL.
    role.map_or_else(|| format!("unknown (OID={oid})"), |(_, name)| name).into()
}

/// The object that a number or name means.
fn object<'a>(facts: &'a Facts, value: &Value) -> Option<&'a Object> {
    let oid = relation(facts, value)?;
    facts.catalog.get(ObjectId::try_from(oid).ok()?).map(AsRef::as_ref)
}

/// The number of the relation that a number or name means.
fn relation(facts: &Facts, value: &Value) -> Option<i64> {
    match value {
        Value::Int(oid) => Some(*oid),
        Value::Text(name) => relation_oid(facts, name),
        _ => None,
    }
}

pub(super) fn view_definition(facts: &Facts, args: &[Value]) -> Result<Value> {
    Ok(match object(facts, arg(args, 0)).map(|object| &object.kind) {
        Some(ObjectKind::View(view) | ObjectKind::MaterializedView(view)) => {
            format!(" {};", view.query.trim().trim_end_matches(';')).into()
        }
        _ => Value::Null,
    })
}

/// `pg_get_indexdef(index [, column, pretty])`: with a column's number only that column.
pub(super) fn index_definition(facts: &Facts, args: &[Value]) -> Result<Value> {
    let found = relation(facts, arg(args, 0)).and_then(|oid| indexes(facts).find(|index| i64::from(index.oid) == oid));
    let Some(index) = found else { return Ok(Value::Null) };
    let column = arg(args, 1).int().unwrap_or(0);
    if column <= 0 {
        return Ok(listings::index_definition(&index).into());
    }
    Ok(index.all_columns().nth(column as usize - 1).map(|position| listings::named(index.table, &[position])).into())
}

pub(super) fn constraint_definition(facts: &Facts, args: &[Value]) -> Result<Value> {
    let table = arg(args, 0).int().and_then(|oid| table_of_key(facts, oid));
    Ok(table.map(|table| format!("PRIMARY KEY ({})", listings::key_columns(table))).into())
}

/// The function that a number means.
fn function<'a>(facts: &'a Facts, args: &[Value]) -> Option<&'a Function> {
    match object(facts, arg(args, 0)).map(|object| &object.kind) {
        Some(ObjectKind::Function(function)) => Some(function),
        _ => None,
    }
}

/// `pg_get_function_result(oid)`.
pub(super) fn function_result(facts: &Facts, args: &[Value]) -> Result<Value> {
    Ok(function(facts, args).map(|function| function.returns.to_string()).into())
}

/// `pg_get_function_arguments(oid)`, with defaults.
pub(super) fn function_arguments(facts: &Facts, args: &[Value]) -> Result<Value> {
    Ok(listed_arguments(facts, args, true).into())
}

/// `pg_get_function_identity_arguments(oid)`, without.
pub(super) fn function_identity(facts: &Facts, args: &[Value]) -> Result<Value> {
    Ok(listed_arguments(facts, args, false).into())
}

/// `pg_get_functiondef(oid)`: the statement that made it.
pub(super) fn function_definition(facts: &Facts, args: &[Value]) -> Result<Value> {
    let object = object(facts, arg(args, 0)).filter(|object| matches!(object.kind, ObjectKind::Function(_)));
    Ok(object.map(|object| object.sql.as_str()).into())
}

fn listed_arguments(facts: &Facts, args: &[Value], defaults: bool) -> String {
    let argument = |argument: &Argument| {
        let name = argument.name.as_ref().map(|name| format!("{} ", quote_ident(name))).unwrap_or_default();
        let default = argument.default.as_ref().filter(|_| defaults).map(|default| format!(" DEFAULT {default}")).unwrap_or_default();
        format!("{name}{}{default}", argument.sql_type)
    };
    let arguments = function(facts, args).map_or(&[][..], |function| &function.arguments);
    arguments.iter().map(argument).collect::<Vec<_>>().join(", ")
}

/// The class of an object: the number of the catalog that it stands in.
pub(super) fn class_of(object: &Object) -> ObjectId {
    match object.kind {
        ObjectKind::Schema => 2615,
        ObjectKind::Function(_) => 1255,
        _ => 1259,
    }
}

/// `obj_description(oid [, catalog])`.
pub(super) fn comment(facts: &Facts, args: &[Value]) -> Result<Value> {
    let class = match arg(args, 1).text() {
        Some("pg_namespace") => Some(2615),
        Some("pg_class") => Some(1259),
        Some("pg_proc") => Some(1255),
        Some(_) => Some(0),
        None => None,
    };
    if arg(args, 0).int() == Some(2200) && class.is_none_or(|class| class == 2615) {
        return Ok("standard public schema".into());
    }
    let object = object(facts, arg(args, 0)).filter(|object| class.is_none_or(|class| class == class_of(object)));
    Ok(object.and_then(|object| object.comments.get(&0)).map(String::as_str).into())
}

/// `col_description(relation, number)`.
pub(super) fn column_comment(facts: &Facts, args: &[Value]) -> Result<Value> {
    let position = arg(args, 1).int().and_then(|number| usize::try_from(number - 1).ok());
    let object = object(facts, arg(args, 0));
    Ok(object.zip(position).and_then(|(object, position)| object.column_comment(position)).into())
}

/// `has_table_privilege([user,] table, privilege)`: true of every relation that is there, NULL of a number that is none.
pub(super) fn table_privilege(facts: &Facts, args: &[Value]) -> Result<Value> {
    let table = if args.len() >= 3 { arg(args, 1) } else { arg(args, 0) };
    match table {
        Value::Text(name) if relation_oid(facts, name).is_none() => Err(undefined(Kind::UndefinedTable, "relation", name)),
        other => Ok(relation(facts, other).and_then(|oid| relation_name(facts, oid)).map(|_| true).into()),
    }
}

pub(super) fn schema_privilege(facts: &Facts, args: &[Value]) -> Result<Value> {
    let schema = if args.len() >= 3 { arg(args, 1) } else { arg(args, 0) };
    match schema {
        Value::Text(name) if namespace(facts, name) == 0 => Err(undefined(Kind::UndefinedSchema, "schema", name)),
        Value::Null => Ok(Value::Null),
        _ => Ok(true.into()),
    }
}

pub(super) fn relation_bytes(facts: &Facts, args: &[Value]) -> Result<Value> {
    let Some(oid) = relation(facts, arg(args, 0)) else { return Ok(Value::Null) };
    if relation_name(facts, oid).is_none() {
        return Ok(Value::Null);
    }
    Ok(ObjectId::try_from(oid).map_or(0, |id| facts.relation(id).bytes).into())
}

/// `x::regclass` as a number: of a number itself, of a name the relation of that name.
pub(super) fn regclass(facts: &Facts, args: &[Value]) -> Result<Value> {
    match arg(args, 0) {
        Value::Text(name) if name == "-" => Ok(0.into()),
        Value::Text(name) => relation_oid(facts, name).map(Value::from).ok_or_else(|| undefined(Kind::UndefinedTable, "relation", name)),
        other => Ok(other.clone()),
    }
}

/// `x::regclass::text`.
pub(super) fn regclass_text(facts: &Facts, args: &[Value]) -> Result<Value> {
    Ok(regclass(facts, args)?.int().map(|oid| relation_text(facts, oid)).into())
}

/// `'f'::regproc` and `'f(int)'::regprocedure` as a number: there is one function of a name. Built-in ones have no definition that could be shown.
pub(super) fn regproc(facts: &Facts, args: &[Value]) -> Result<Value> {
    let Value::Text(text) = arg(args, 0) else { return Ok(arg(args, 0).clone()) };
    let name = text.split('(').next().unwrap_or(text).trim();
    let parts: Vec<String> = name.split('.').map(unquoted).collect();
    let (schema, last) = match parts.as_slice() {
        [.., schema, last] => (Some(schema.as_str()), last.as_str()),
        _ => (None, parts.first().map_or("", String::as_str)),
    };
    let found = facts.catalog.find_function(schema, last, &facts.search_path);
    found.map(|object| object.id.into()).ok_or_else(|| undefined(Kind::UndefinedFunction, "function", name))
}

/// A part of a name, as it is looked up.
fn unquoted(part: &str) -> String {
    let part = part.trim();
    match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => part.to_lowercase(),
    }
}

/// `x::regtype` as a number.
pub(super) fn regtype(_facts: &Facts, args: &[Value]) -> Result<Value> {
    match arg(args, 0) {
        Value::Text(name) if name == "-" => Ok(0.into()),
        Value::Text(name) => oid_named(name).map(Value::from).ok_or_else(|| undefined(Kind::UndefinedObject, "type", name)),
        other => Ok(other.clone()),
    }
}

/// `x::regnamespace` as a number.
pub(super) fn regnamespace(facts: &Facts, args: &[Value]) -> Result<Value> {
    match arg(args, 0) {
        Value::Text(name) => match name.parse().unwrap_or_else(|_| i64::from(namespace(facts, name.trim_matches('"')))) {
            0 => Err(undefined(Kind::UndefinedSchema, "schema", name)),
            oid => Ok(oid.into()),
        },
        other => Ok(other.clone()),
    }
}

pub(super) fn regnamespace_text(facts: &Facts, args: &[Value]) -> Result<Value> {
    let Some(oid) = regnamespace(facts, args)?.int() else { return Ok(Value::Null) };
    let found = namespaces(facts).into_iter().find(|(known, _)| i64::from(*known) == oid);
    Ok(found.map_or_else(|| oid.to_string(), |(_, name)| name).into())
}

/// `x::regrole` as a number.
pub(super) fn regrole(facts: &Facts, args: &[Value]) -> Result<Value> {
    match arg(args, 0) {
        Value::Text(name) => {
            if let Ok(oid) = name.parse::<i64>() {
                return Ok(oid.into());
            }
            let plain = name.trim_matches('"');
            let known = plain == OWNER_NAME || roles(facts).iter().any(|(_, known)| known == plain);
            if known { Ok(role_oid(plain).into()) } else { Err(undefined(Kind::UndefinedObject, "role", plain)) }
        }
        other => Ok(other.clone()),
    }
}

/// The default of a column, by its relation and number.
pub(super) fn column_default(facts: &Facts, args: &[Value]) -> Result<Value> {
    let (Some(table), Some(number)) = (object(facts, arg(args, 0)), arg(args, 1).int()) else { return Ok(Value::Null) };
    let position = usize::try_from(number - 1).ok();
    let column = position.and_then(|position| table.columns().unwrap_or_default().get(position));
    Ok(column.and_then(default_of).into())
}

/// The type of every column of system relations that is called so, as declarations write it; `None` if there is none, or if they differ.
pub fn declared_type(name: &str) -> Option<&'static str> {
    let mut found = None;
    for declared in relations() {
        for column in declared.columns.split(',') {
            let Some((column, sql_type)) = column.trim().split_once(' ') else { continue };
            let sql_type = sql_type.trim().trim_end_matches('!');
            if column == name && *found.get_or_insert(sql_type) != sql_type {
                return None;
            }
        }
    }
    found
}

/// `format_type(oid, modifier)`. What a struct is made of, the columns tell that are of its type.
pub(super) fn type_name(facts: &Facts, args: &[Value]) -> Result<Value> {
    let (Some(oid), modifier) = (arg(args, 0).int(), arg(args, 1).int()) else { return Ok(Value::Null) };
    let name = types::format_type(oid, modifier);
    let Some(wanted) = modifier.filter(|modifier| *modifier >= 0) else { return Ok(name.into()) };
    let Some(dimensions) = name.strip_prefix("record") else { return Ok(name.into()) };
    let columns = user_relations(facts).flat_map(|object| object.columns().unwrap_or_default());
    let found = columns.map(|column| column.sql_type.innermost()).find(|row| types::modifier(row) == wanted);
    Ok(found.map_or_else(|| name.clone(), |row| format!("{row}{dimensions}")).into())
}
