//! The functions of PostgreSQL's catalogs, each declared once: name, result, and what it does to one row of arguments.
//!
//! Clients call them with numbers of every width, with names in the place of numbers, and with or without their last arguments. So a function
//! takes values of any kind and any count, and says for itself what it makes of them.

use arrow::array::ArrayRef;

use super::describe;
use super::facts::Facts;
use super::names;
use super::text;
use super::types;
use super::value::{Value, array_of, values_of};
use crate::error::{Error, Kind, Result};
use crate::types::SqlType;

/// One function.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The type of its result.
    pub result: fn() -> SqlType,
    /// The answer depends on the arguments alone: views may use it.
    pub pure: bool,
    body: Body,
}

type Body = fn(&Facts, &[Value]) -> Result<Value>;

const fn pure(name: &'static str, result: fn() -> SqlType, body: Body) -> Function {
    Function { name, result, pure: true, body }
}

const fn of(name: &'static str, result: fn() -> SqlType, body: Body) -> Function {
    Function { name, result, pure: false, body }
}

fn t_text() -> SqlType {
    SqlType::Text
}

fn t_name() -> SqlType {
    SqlType::Name
}

fn t_bool() -> SqlType {
    SqlType::Bool
}

fn t_int4() -> SqlType {
    SqlType::Int4
}

fn t_int8() -> SqlType {
    SqlType::Int8
}

fn t_oid() -> SqlType {
    SqlType::Oid
}

fn t_time() -> SqlType {
    SqlType::Timestamptz
}

fn t_texts() -> SqlType {
    SqlType::Array(Box::new(SqlType::Text))
}

fn t_names() -> SqlType {
    SqlType::Array(Box::new(SqlType::Name))
}

/// All functions. Those called `tidemill_…` are what casts to `regclass` and the like, and some subqueries, are rewritten into.
pub const FUNCTIONS: &[Function] = &[
    of("version", t_text, |facts, _| Ok(describe::version(facts).into())),
    of("current_user", t_name, |facts, _| Ok(facts.user.as_str().into())),
    of("session_user", t_name, |facts, _| Ok(facts.user.as_str().into())),
    of("user", t_name, |facts, _| Ok(facts.user.as_str().into())),
    of("current_role", t_name, |facts, _| Ok(facts.user.as_str().into())),
    of("current_database", t_name, |facts, _| Ok(facts.database.as_str().into())),
    of("current_catalog", t_name, |facts, _| Ok(facts.database.as_str().into())),
    of("current_schema", t_name, |facts, _| Ok(describe::schemas(facts, false).into_iter().next().into())),
    of("current_schemas", t_names, |facts, args| Ok(describe::schemas(facts, arg(args, 0) == &Value::Bool(true)).into())),
    of("current_setting", t_text, describe::setting),
    of("pg_backend_pid", t_int4, |facts, _| Ok(facts.process_id.into())),
    of("pg_postmaster_start_time", t_time, |facts, _| Ok(Value::Time(facts.started_micros))),
    of("pg_conf_load_time", t_time, |facts, _| Ok(Value::Time(facts.started_micros))),
    of("txid_current", t_int8, |facts, _| Ok(facts.epochs.complete.into())),
    of("pg_current_xact_id", t_int8, |facts, _| Ok(facts.epochs.complete.into())),
    pure("pg_is_in_recovery", t_bool, |_, _| Ok(false.into())),
    pure("pg_is_other_temp_schema", t_bool, |_, _| Ok(false.into())),
    pure("pg_my_temp_schema", t_oid, |_, _| Ok(0.into())),
    pure("inet_server_port", t_int4, |_, _| Ok(Value::Null)),
    pure("inet_server_addr", t_text, |_, _| Ok(Value::Null)),
    pure("pg_advisory_lock", t_text, |_, _| Err(Error::not_supported("advisory locks are not supported"))),
    pure("pg_advisory_unlock_all", t_text, |_, _| Ok("".into())),
    pure("row_security_active", t_bool, |_, _| Ok(false.into())),
    pure("pg_relation_is_publishable", t_bool, |_, _| Ok(false.into())),
    pure("pg_stat_get_numscans", t_int8, |_, _| Ok(0.into())),
    // What is described.
    of("pg_get_userbyid", t_name, |facts, args| Ok(describe::role_name(facts, arg(args, 0)))),
    of("pg_get_viewdef", t_text, describe::view_definition),
    pure("pg_get_expr", t_text, |_, args| Ok(arg(args, 0).clone())),
    of("pg_get_indexdef", t_text, describe::index_definition),
    of("pg_get_constraintdef", t_text, describe::constraint_definition),
    pure("pg_get_triggerdef", t_text, |_, _| Ok(Value::Null)),
    pure("pg_get_ruledef", t_text, |_, _| Ok(Value::Null)),
    pure("pg_get_partkeydef", t_text, |_, _| Ok(Value::Null)),
    pure("pg_get_serial_sequence", t_text, |_, _| Ok(Value::Null)),
    pure("pg_get_statisticsobjdef_columns", t_text, |_, _| Ok(Value::Null)),
    of("pg_get_functiondef", t_text, describe::function_definition),
    of("pg_get_function_result", t_text, describe::function_result),
    of("pg_get_function_arguments", t_text, describe::function_arguments),
    of("pg_get_function_identity_arguments", t_text, describe::function_identity),
    of("obj_description", t_text, describe::comment),
    of("col_description", t_text, describe::column_comment),
    pure("pg_get_function_sqlbody", t_text, |_, _| Ok(Value::Null)),
    pure("pg_tablespace_location", t_text, |_, _| Ok("".into())),
    pure("getdatabaseencoding", t_name, |_, _| Ok("UTF8".into())),
    pure("shobj_description", t_text, |_, _| Ok(Value::Null)),
    of("format_type", t_text, describe::type_name),
    pure("pg_encoding_to_char", t_name, |_, args| Ok(if arg(args, 0).int() == Some(6) { "UTF8" } else { "" }.into())),
    pure("pg_char_to_encoding", t_int4, |_, args| {
        Ok(if arg(args, 0).text().is_some_and(|name| name.replace('-', "").eq_ignore_ascii_case("utf8")) { 6 } else { -1 }.into())
    }),
    // Who may what: everyone who is let in may do everything.
    of("has_table_privilege", t_bool, describe::table_privilege),
    of("has_any_column_privilege", t_bool, describe::table_privilege),
    of("has_column_privilege", t_bool, |_, _| Ok(true.into())),
    of("has_schema_privilege", t_bool, describe::schema_privilege),
    of("has_database_privilege", t_bool, |_, _| Ok(true.into())),
    of("has_function_privilege", t_bool, |_, _| Ok(true.into())),
    of("has_type_privilege", t_bool, |_, _| Ok(true.into())),
    of("has_sequence_privilege", t_bool, |_, _| Ok(true.into())),
    of("pg_has_role", t_bool, |_, _| Ok(true.into())),
    of("pg_table_is_visible", t_bool, |facts, args| Ok(arg(args, 0).int().and_then(|oid| names::is_visible(facts, oid)).into())),
    pure("pg_type_is_visible", t_bool, |_, _| Ok(true.into())),
    pure("pg_function_is_visible", t_bool, |_, _| Ok(true.into())),
    pure("pg_operator_is_visible", t_bool, |_, _| Ok(true.into())),
    pure("pg_opclass_is_visible", t_bool, |_, _| Ok(true.into())),
    pure("pg_collation_is_visible", t_bool, |_, _| Ok(true.into())),
    // How large.
    of("pg_relation_size", t_int8, describe::relation_bytes),
    of("pg_table_size", t_int8, describe::relation_bytes),
    of("pg_total_relation_size", t_int8, describe::relation_bytes),
    pure("pg_indexes_size", t_int8, |_, _| Ok(0.into())),
    of("pg_database_size", t_int8, |facts, _| Ok(facts.relations.iter().map(|relation| relation.bytes).sum::<u64>().into())),
    pure("pg_size_pretty", t_text, |_, args| Ok(arg(args, 0).int().map(text::size_pretty).into())),
    // Names and texts.
    pure("parse_ident", t_texts, |_, args| match arg(args, 0).text() {
        Some(name) => names::identifiers(name).map(Value::from).ok_or_else(|| text::invalid_name(name)),
        None => Ok(Value::Null),
    }),
    of("to_regclass", t_oid, |facts, args| Ok(arg(args, 0).text().and_then(|name| names::relation_oid(facts, name)).into())),
    pure("to_regtype", t_oid, |_, args| Ok(arg(args, 0).text().and_then(types::oid_named).into())),
    of("to_regnamespace", t_oid, |facts, args| {
        Ok(arg(args, 0).text().map(|name| names::namespace(facts, name)).filter(|oid| *oid != 0).into())
    }),
    of("to_regrole", t_oid, |_, args| Ok(arg(args, 0).text().map(names::role_oid).into())),
    // What queries are rewritten into.
    of("tidemill_regclass", t_oid, describe::regclass),
    of("tidemill_regclass_text", t_text, describe::regclass_text),
    of("tidemill_regproc", t_oid, describe::regproc),
    pure("tidemill_regtype", t_oid, describe::regtype),
    pure("tidemill_regtype_text", t_text, |facts, args| {
        let oid = describe::regtype(facts, args)?;
        Ok(oid.int().map(|oid| types::format_type(oid, None)).into())
    }),
    of("tidemill_regnamespace", t_oid, describe::regnamespace),
    of("tidemill_regnamespace_text", t_text, describe::regnamespace_text),
    of("tidemill_regrole", t_oid, describe::regrole),
    of("tidemill_regrole_text", t_text, |facts, args| Ok(describe::role_name(facts, &describe::regrole(facts, args)?))),
    of("tidemill_default", t_text, describe::column_default),
    pure("tidemill_options", t_texts, |_, args| Ok(text::options(arg(args, 0)))),
    pure("tidemill_no_texts", t_texts, |_, _| Ok(Value::List(Vec::new()))),
];

/// The function of this name.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl Function {
    /// The answers for `rows` rows of arguments; every array is that long.
    pub fn evaluate(&self, facts: &Facts, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let columns = arguments.iter().map(values_of).collect::<Result<Vec<_>>>()?;
        let answers = (0..rows).map(|row| {
            let values: Vec<Value> = columns.iter().map(|column| column[row].clone()).collect();
            (self.body)(facts, &values)
        });
        array_of(&(self.result)(), &answers.collect::<Result<Vec<_>>>()?)
    }
}

/// The argument at a position; NULL where there is none.
pub(super) fn arg(args: &[Value], position: usize) -> &Value {
    args.get(position).unwrap_or(&Value::Null)
}

/// The error for a name that is none of ours.
pub(super) fn undefined(kind: Kind, what: &str, name: &str) -> Error {
    Error::new(kind, format!("{what} \"{name}\" does not exist"))
}
