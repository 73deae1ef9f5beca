//! `pg_proc`: functions that clients look up by name, such as the receive functions of array types.

use super::declared::Rows;
use super::facts::Facts;
use super::functions::FUNCTIONS;
use super::names::{OWNER, PG_CATALOG};
use super::types::type_oids;

/// Where the numbers of our own functions start: in PostgreSQL's range of system objects, and free there.
const FIRST: u32 = 9_000;
/// The language `internal`.
const INTERNAL: u32 = 12;
/// The type `internal`.
const INTERNAL_TYPE: u32 = 2_281;
/// The type `anyarray`.
const ANY_ARRAY: u32 = 2_277;

pub(super) fn procedures(_facts: &Facts, rows: &mut Rows) {
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
