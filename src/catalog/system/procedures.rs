//! `pg_proc`: functions that clients look up by name, such as the receive functions of array types.

use super::declared::Rows;
use super::facts::Facts;
use super::functions::FUNCTIONS;
use super::names::{OWNER, PG_CATALOG, namespace};
use super::value::Value;
use crate::catalog::ObjectKind;
use crate::types::type_oids;

/// Where the numbers of our own functions start: in PostgreSQL's range of system objects, and free there.
const FIRST: u32 = 9_000;
/// The language `internal`.
const INTERNAL: u32 = 12;
/// The type `internal`.
const INTERNAL_TYPE: u32 = 2_281;
/// The type `anyarray`.
const ANY_ARRAY: u32 = 2_277;

/// The language `sql`.
const SQL: u32 = 14;

pub(super) fn procedures(facts: &Facts, rows: &mut Rows) {
    for object in facts.catalog.objects() {
        let ObjectKind::Function(function) = &object.kind else { continue };
        let types: Vec<i64> = function.arguments.iter().map(|argument| i64::from(type_oids(&argument.sql_type).0)).collect();
        let names: Vec<String> = function.arguments.iter().map(|argument| argument.name.clone().unwrap_or_default()).collect();
        let defaults = function.arguments.iter().filter(|argument| argument.default.is_some()).count();
        rows.push([
            ("oid", object.id.into()),
            ("proname", object.name.as_str().into()),
            ("pronamespace", namespace(facts, &object.schema).into()),
            ("proowner", OWNER.into()),
            ("prolang", SQL.into()),
            ("procost", 100.0.into()),
            ("prokind", 'f'.into()),
            ("proisstrict", function.strict.into()),
            ("provolatile", function.volatility.into()),
            ("proparallel", 's'.into()),
            ("pronargs", types.len().into()),
            ("pronargdefaults", defaults.into()),
            ("prorettype", type_oids(&function.returns).0.into()),
            ("proargtypes", types.into()),
            ("proargnames", Value::from(names)),
            ("prosrc", function.source.as_str().into()),
        ]);
    }
    let mut add = |oid: u32, name: &str, result: u32, arguments: Vec<i64>, volatility: char| {
        rows.push([
            ("oid", oid.into()),
            ("proname", name.into()),
            ("pronamespace", PG_CATALOG.into()),
            ("proowner", OWNER.into()),
            ("prolang", INTERNAL.into()),
            ("procost", 1.0.into()),
            ("prokind", 'f'.into()),
            ("provolatile", volatility.into()),
            ("proparallel", 's'.into()),
            ("pronargs", arguments.len().into()),
            ("prorettype", result.into()),
            ("proargtypes", arguments.into()),
            ("prosrc", name.into()),
        ]);
    };
    // Npgsql tells array types by this function.
    add(2_400, "array_recv", ANY_ARRAY, vec![i64::from(INTERNAL_TYPE), 26, 23], 's');
    add(750, "array_in", ANY_ARRAY, vec![2_275, 26, 23], 's');
    for (function, oid) in FUNCTIONS.iter().zip(FIRST..) {
        add(oid, function.name, type_oids(&(function.result)()).0, Vec::new(), if function.pure { 'i' } else { 's' });
    }
}
