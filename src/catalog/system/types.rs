//! Types by the numbers that PostgreSQL's clients know them by, and the rows of `pg_type`.

use super::declared::Rows;
use super::facts::Facts;
use super::names::{OWNER, PG_CATALOG};
use super::value::Value;
use crate::types::{SqlType, hash_bytes, type_modifier, type_oids};

/// A row of `pg_type`, as in PostgreSQL's `pg_type.dat`.
struct Builtin {
    oid: u32,
    name: &'static str,
    length: i16,
    kind: char,
    category: char,
    preferred: bool,
    element: u32,
    array: u32,
    input: &'static str,
    receive: &'static str,
    align: char,
    storage: char,
    collation: u32,
}

#[expect(clippy::too_many_arguments, reason = "one line per type, in the order of PostgreSQL's columns")]
const fn builtin(
    oid: u32,
    name: &'static str,
    length: i16,
    kind: char,
    category: char,
    preferred: bool,
    element: u32,
    array: u32,
    input: &'static str,
    receive: &'static str,
    align: char,
    storage: char,
    collation: u32,
) -> Builtin {
    Builtin { oid, name, length, kind, category, preferred, element, array, input, receive, align, storage, collation }
}

/// PostgreSQL's types that clients ask for. Some of them have no values here; they are listed because clients look them up by number.
#[rustfmt::skip]
const BUILTIN: &[Builtin] = &[
    builtin(16, "bool", 1, 'b', 'B', true, 0, 1000, "boolin", "boolrecv", 'c', 'p', 0),
    builtin(17, "bytea", -1, 'b', 'U', false, 0, 1001, "byteain", "bytearecv", 'i', 'x', 0),
    builtin(18, "char", 1, 'b', 'Z', false, 0, 1002, "charin", "charrecv", 'c', 'p', 0),
    builtin(19, "name", 64, 'b', 'S', false, 18, 1003, "namein", "namerecv", 'c', 'p', 950),
    builtin(20, "int8", 8, 'b', 'N', false, 0, 1016, "int8in", "int8recv", 'd', 'p', 0),
    builtin(21, "int2", 2, 'b', 'N', false, 0, 1005, "int2in", "int2recv", 's', 'p', 0),
    builtin(22, "int2vector", -1, 'b', 'A', false, 21, 1006, "int2vectorin", "int2vectorrecv", 'i', 'p', 0),
    builtin(23, "int4", 4, 'b', 'N', false, 0, 1007, "int4in", "int4recv", 'i', 'p', 0),
    builtin(24, "regproc", 4, 'b', 'N', false, 0, 1008, "regprocin", "regprocrecv", 'i', 'p', 0),
    builtin(25, "text", -1, 'b', 'S', true, 0, 1009, "textin", "textrecv", 'i', 'x', 100),
    builtin(26, "oid", 4, 'b', 'N', true, 0, 1028, "oidin", "oidrecv", 'i', 'p', 0),
    builtin(27, "tid", 6, 'b', 'U', false, 0, 1010, "tidin", "tidrecv", 's', 'p', 0),
    builtin(28, "xid", 4, 'b', 'U', false, 0, 1011, "xidin", "xidrecv", 'i', 'p', 0),
    builtin(29, "cid", 4, 'b', 'U', false, 0, 1012, "cidin", "cidrecv", 'i', 'p', 0),
    builtin(30, "oidvector", -1, 'b', 'A', false, 26, 1013, "oidvectorin", "oidvectorrecv", 'i', 'p', 0),
    builtin(114, "json", -1, 'b', 'U', false, 0, 199, "json_in", "json_recv", 'i', 'x', 0),
    builtin(142, "xml", -1, 'b', 'U', false, 0, 143, "xml_in", "xml_recv", 'i', 'x', 0),
    builtin(194, "pg_node_tree", -1, 'b', 'Z', false, 0, 0, "pg_node_tree_in", "pg_node_tree_recv", 'i', 'x', 100),
    builtin(199, "_json", -1, 'b', 'A', false, 114, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(600, "point", 16, 'b', 'G', false, 701, 1017, "point_in", "point_recv", 'd', 'p', 0),
    builtin(601, "lseg", 32, 'b', 'G', false, 600, 1018, "lseg_in", "lseg_recv", 'd', 'p', 0),
    builtin(603, "box", 32, 'b', 'G', false, 600, 1020, "box_in", "box_recv", 'd', 'p', 0),
    builtin(650, "cidr", -1, 'b', 'I', false, 0, 651, "cidr_in", "cidr_recv", 'i', 'm', 0),
    builtin(700, "float4", 4, 'b', 'N', false, 0, 1021, "float4in", "float4recv", 'i', 'p', 0),
    builtin(701, "float8", 8, 'b', 'N', true, 0, 1022, "float8in", "float8recv", 'd', 'p', 0),
    builtin(705, "unknown", -2, 'p', 'X', false, 0, 0, "unknownin", "unknownrecv", 'c', 'p', 0),
    builtin(718, "circle", 24, 'b', 'G', false, 0, 719, "circle_in", "circle_recv", 'd', 'p', 0),
    builtin(790, "money", 8, 'b', 'N', false, 0, 791, "cash_in", "cash_recv", 'd', 'p', 0),
    builtin(869, "inet", -1, 'b', 'I', true, 0, 1041, "inet_in", "inet_recv", 'i', 'm', 0),
    builtin(1000, "_bool", -1, 'b', 'A', false, 16, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1001, "_bytea", -1, 'b', 'A', false, 17, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1002, "_char", -1, 'b', 'A', false, 18, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1003, "_name", -1, 'b', 'A', false, 19, 0, "array_in", "array_recv", 'i', 'x', 950),
    builtin(1005, "_int2", -1, 'b', 'A', false, 21, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1006, "_int2vector", -1, 'b', 'A', false, 22, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1007, "_int4", -1, 'b', 'A', false, 23, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1008, "_regproc", -1, 'b', 'A', false, 24, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1009, "_text", -1, 'b', 'A', false, 25, 0, "array_in", "array_recv", 'i', 'x', 100),
    builtin(1013, "_oidvector", -1, 'b', 'A', false, 30, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1014, "_bpchar", -1, 'b', 'A', false, 1042, 0, "array_in", "array_recv", 'i', 'x', 100),
    builtin(1015, "_varchar", -1, 'b', 'A', false, 1043, 0, "array_in", "array_recv", 'i', 'x', 100),
    builtin(1016, "_int8", -1, 'b', 'A', false, 20, 0, "array_in", "array_recv", 'd', 'x', 0),
    builtin(1021, "_float4", -1, 'b', 'A', false, 700, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1022, "_float8", -1, 'b', 'A', false, 701, 0, "array_in", "array_recv", 'd', 'x', 0),
    builtin(1028, "_oid", -1, 'b', 'A', false, 26, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1033, "aclitem", 12, 'b', 'U', false, 0, 1034, "aclitemin", "-", 'i', 'p', 0),
    builtin(1042, "bpchar", -1, 'b', 'S', false, 0, 1014, "bpcharin", "bpcharrecv", 'i', 'x', 100),
    builtin(1043, "varchar", -1, 'b', 'S', false, 0, 1015, "varcharin", "varcharrecv", 'i', 'x', 100),
    builtin(1082, "date", 4, 'b', 'D', false, 0, 1182, "date_in", "date_recv", 'i', 'p', 0),
    builtin(1083, "time", 8, 'b', 'D', false, 0, 1183, "time_in", "time_recv", 'd', 'p', 0),
    builtin(1114, "timestamp", 8, 'b', 'D', false, 0, 1115, "timestamp_in", "timestamp_recv", 'd', 'p', 0),
    builtin(1115, "_timestamp", -1, 'b', 'A', false, 1114, 0, "array_in", "array_recv", 'd', 'x', 0),
    builtin(1182, "_date", -1, 'b', 'A', false, 1082, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1183, "_time", -1, 'b', 'A', false, 1083, 0, "array_in", "array_recv", 'd', 'x', 0),
    builtin(1184, "timestamptz", 8, 'b', 'D', true, 0, 1185, "timestamptz_in", "timestamptz_recv", 'd', 'p', 0),
    builtin(1185, "_timestamptz", -1, 'b', 'A', false, 1184, 0, "array_in", "array_recv", 'd', 'x', 0),
    builtin(1186, "interval", 16, 'b', 'T', true, 0, 1187, "interval_in", "interval_recv", 'd', 'p', 0),
    builtin(1187, "_interval", -1, 'b', 'A', false, 1186, 0, "array_in", "array_recv", 'd', 'x', 0),
    builtin(1231, "_numeric", -1, 'b', 'A', false, 1700, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1263, "_cstring", -1, 'b', 'A', false, 2275, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(1266, "timetz", 12, 'b', 'D', false, 0, 1270, "timetz_in", "timetz_recv", 'd', 'p', 0),
    builtin(1270, "_timetz", -1, 'b', 'A', false, 1266, 0, "array_in", "array_recv", 'd', 'x', 0),
    builtin(1560, "bit", -1, 'b', 'V', false, 0, 1561, "bit_in", "bit_recv", 'i', 'x', 0),
    builtin(1562, "varbit", -1, 'b', 'V', true, 0, 1563, "varbit_in", "varbit_recv", 'i', 'x', 0),
    builtin(1700, "numeric", -1, 'b', 'N', false, 0, 1231, "numeric_in", "numeric_recv", 'i', 'm', 0),
    builtin(1790, "refcursor", -1, 'b', 'U', false, 0, 2201, "textin", "textrecv", 'i', 'x', 0),
    builtin(2202, "regprocedure", 4, 'b', 'N', false, 0, 2207, "regprocedurein", "regprocedurerecv", 'i', 'p', 0),
    builtin(2205, "regclass", 4, 'b', 'N', false, 0, 2210, "regclassin", "regclassrecv", 'i', 'p', 0),
    builtin(2206, "regtype", 4, 'b', 'N', false, 0, 2211, "regtypein", "regtyperecv", 'i', 'p', 0),
    builtin(2210, "_regclass", -1, 'b', 'A', false, 2205, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(2211, "_regtype", -1, 'b', 'A', false, 2206, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(2249, "record", -1, 'p', 'P', false, 0, 2287, "record_in", "record_recv", 'd', 'x', 0),
    builtin(2275, "cstring", -2, 'p', 'P', false, 0, 1263, "cstring_in", "cstring_recv", 'c', 'p', 0),
    builtin(2276, "any", 4, 'p', 'P', false, 0, 0, "any_in", "-", 'i', 'p', 0),
    builtin(2277, "anyarray", -1, 'p', 'P', false, 0, 0, "anyarray_in", "anyarray_recv", 'd', 'x', 0),
    builtin(2278, "void", 4, 'p', 'P', false, 0, 0, "void_in", "void_recv", 'i', 'p', 0),
    builtin(2279, "trigger", 4, 'p', 'P', false, 0, 0, "trigger_in", "-", 'i', 'p', 0),
    builtin(2281, "internal", 8, 'p', 'P', false, 0, 0, "internal_in", "-", 'd', 'p', 0),
    builtin(2283, "anyelement", 4, 'p', 'P', false, 0, 0, "anyelement_in", "-", 'i', 'p', 0),
    builtin(2287, "_record", -1, 'p', 'P', false, 2249, 0, "array_in", "array_recv", 'd', 'x', 0),
    builtin(2950, "uuid", 16, 'b', 'U', false, 0, 2951, "uuid_in", "uuid_recv", 'c', 'p', 0),
    builtin(2951, "_uuid", -1, 'b', 'A', false, 2950, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(3220, "pg_lsn", 8, 'b', 'U', false, 0, 3221, "pg_lsn_in", "pg_lsn_recv", 'd', 'p', 0),
    builtin(3614, "tsvector", -1, 'b', 'U', false, 0, 3643, "tsvectorin", "tsvectorrecv", 'i', 'x', 0),
    builtin(3615, "tsquery", -1, 'b', 'U', false, 0, 3645, "tsqueryin", "tsqueryrecv", 'i', 'p', 0),
    builtin(3802, "jsonb", -1, 'b', 'U', false, 0, 3807, "jsonb_in", "jsonb_recv", 'i', 'x', 0),
    builtin(3807, "_jsonb", -1, 'b', 'A', false, 3802, 0, "array_in", "array_recv", 'i', 'x', 0),
    builtin(3838, "event_trigger", 4, 'p', 'P', false, 0, 0, "event_trigger_in", "-", 'i', 'p', 0),
    builtin(3904, "int4range", -1, 'r', 'R', false, 0, 3905, "range_in", "range_recv", 'i', 'x', 0),
    builtin(3906, "numrange", -1, 'r', 'R', false, 0, 3907, "range_in", "range_recv", 'i', 'x', 0),
    builtin(3908, "tsrange", -1, 'r', 'R', false, 0, 3909, "range_in", "range_recv", 'd', 'x', 0),
    builtin(3910, "tstzrange", -1, 'r', 'R', false, 0, 3911, "range_in", "range_recv", 'd', 'x', 0),
    builtin(3912, "daterange", -1, 'r', 'R', false, 0, 3913, "range_in", "range_recv", 'i', 'x', 0),
    builtin(3926, "int8range", -1, 'r', 'R', false, 0, 3927, "range_in", "range_recv", 'd', 'x', 0),
    builtin(4089, "regnamespace", 4, 'b', 'N', false, 0, 4090, "regnamespacein", "regnamespacerecv", 'i', 'p', 0),
    builtin(4096, "regrole", 4, 'b', 'N', false, 0, 4097, "regrolein", "regrolerecv", 'i', 'p', 0),
];

/// The rows of `pg_type`.
pub(super) fn types(_facts: &Facts, rows: &mut Rows) {
    for builtin in BUILTIN {
        let named = |suffix: &str| Value::from(builtin.input.strip_suffix("in").map_or_else(String::new, |stem| format!("{stem}{suffix}")));
        rows.push([
            ("oid", builtin.oid.into()),
            ("typname", builtin.name.into()),
            ("typnamespace", PG_CATALOG.into()),
            ("typowner", OWNER.into()),
            ("typlen", i64::from(builtin.length).into()),
            ("typbyval", matches!(builtin.length, 1 | 2 | 4 | 8).into()),
            ("typtype", builtin.kind.into()),
            ("typcategory", builtin.category.into()),
            ("typispreferred", builtin.preferred.into()),
            ("typisdefined", true.into()),
            ("typdelim", ",".into()),
            ("typelem", builtin.element.into()),
            ("typarray", builtin.array.into()),
            ("typsubscript", if builtin.element == 0 { "-" } else { "array_subscript_handler" }.into()),
            ("typinput", builtin.input.into()),
            ("typoutput", named("out")),
            ("typreceive", builtin.receive.into()),
            ("typsend", builtin.receive.strip_suffix("recv").map_or_else(|| "-".to_owned(), |stem| format!("{stem}send")).into()),
            ("typmodin", "-".into()),
            ("typmodout", "-".into()),
            ("typanalyze", "-".into()),
            ("typalign", builtin.align.into()),
            ("typstorage", builtin.storage.into()),
            ("typtypmod", (-1).into()),
            ("typcollation", builtin.collation.into()),
        ]);
    }
}

/// `atttypmod`. All structs have one number in `pg_type`: their modifier is a number made from the names and types of the fields, by which
/// `format_type` tells them apart.
pub(super) fn modifier(sql_type: &SqlType) -> i64 {
    match sql_type {
        SqlType::Array(element) => modifier(element),
        SqlType::Struct(_) => (hash_bytes(sql_type.to_string().as_bytes()) & 0x7fff_ffff) as i64,
        other => type_modifier(other).into(),
    }
}

/// What `pg_attribute` repeats of a type: length, by value, alignment, storage, collation.
pub(super) fn physical(sql_type: &SqlType) -> (i64, bool, char, char, i64) {
    let (oid, _) = type_oids(sql_type);
    let found = BUILTIN.iter().find(|builtin| builtin.oid == oid);
    found.map_or((-1, false, 'i', 'x', 0), |builtin| {
        (i64::from(builtin.length), matches!(builtin.length, 1 | 2 | 4 | 8), builtin.align, builtin.storage, i64::from(builtin.collation))
    })
}

/// The name of a type in `pg_type`, without any modifier.
pub(super) fn catalog_name(sql_type: &SqlType) -> &'static str {
    let (oid, _) = type_oids(sql_type);
    BUILTIN.iter().find(|builtin| builtin.oid == oid).map_or("record", |builtin| builtin.name)
}

/// The number of the type that a text means: a name of `pg_type`, a name of the standard, or the number itself.
pub(super) fn oid_named(text: &str) -> Option<u32> {
    let plain = text.trim().trim_start_matches("pg_catalog.").trim_matches('"').to_ascii_lowercase();
    if let Ok(number) = plain.parse() {
        return Some(number);
    }
    if let Some(element) = plain.strip_suffix("[]") {
        let oid = oid_named(element)?;
        return BUILTIN.iter().find(|builtin| builtin.oid == oid).map(|builtin| builtin.array).filter(|array| *array != 0);
    }
    BUILTIN.iter().find(|builtin| builtin.name == plain || standard_name(builtin.oid) == Some(plain.as_str())).map(|builtin| builtin.oid)
}

/// Names of types that are called otherwise in SQL than in `pg_type`.
fn standard_name(oid: u32) -> Option<&'static str> {
    Some(match oid {
        16 => "boolean",
        18 => "\"char\"",
        20 => "bigint",
        21 => "smallint",
        23 => "integer",
        700 => "real",
        701 => "double precision",
        1042 => "character",
        1043 => "character varying",
        1083 => "time without time zone",
        1114 => "timestamp without time zone",
        1184 => "timestamp with time zone",
        1266 => "time with time zone",
        1560 => "bit",
        1562 => "bit varying",
        _ => return None,
    })
}

/// `format_type(oid, modifier)`: the name of a type as SQL writes it.
pub(super) fn format_type(oid: i64, modifier: Option<i64>) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let Some(builtin) = BUILTIN.iter().find(|builtin| i64::from(builtin.oid) == oid) else { return "???".to_owned() };
    if builtin.element != 0 && builtin.length == -1 && builtin.name.starts_with('_') {
        return format!("{}[]", format_type(i64::from(builtin.element), modifier));
    }
    let name = standard_name(builtin.oid).unwrap_or(builtin.name);
    if let (1083 | 1114 | 1184 | 1186, Some(digits @ 0..)) = (builtin.oid, modifier) {
        let (word, rest) = name.split_at(name.find(' ').unwrap_or(name.len()));
        // An interval's digits stand behind its fields; where they are all ones, nobody gave any.
        return if digits & 0xffff == 0xffff { name.to_owned() } else { format!("{word}({}){rest}", digits & 0xffff) };
    }
    match (builtin.oid, modifier.filter(|modifier| *modifier >= 4)) {
        // A modifier was asked for and there is none: `bpchar` says that the length is open.
        (1042, None) if modifier.is_some() => "bpchar".to_owned(),
        (1042 | 1043, Some(modifier)) => format!("{name}({})", modifier - 4),
        (1700, Some(modifier)) => format!("numeric({},{})", ((modifier - 4) >> 16) & 0xffff, (modifier - 4) & 0x7ff),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{format_type, modifier, oid_named};
    use crate::types::SqlType;
    use crate::types::type_oids;

    #[test]
    fn types_are_named_as_sql_writes_them() {
        let rounded = |whole| SqlType::Rounded(Box::new(whole), 3);
        let plain = [SqlType::Numeric(12, 2), SqlType::Varchar(Some(20)), SqlType::Timestamptz, SqlType::Array(Box::new(SqlType::Int4))];
        for sql_type in plain.into_iter().chain([SqlType::Time, SqlType::Timestamptz, SqlType::Interval].map(rounded)) {
            let oid = i64::from(type_oids(&sql_type).0);
            assert_eq!(format_type(oid, Some(modifier(&sql_type))), sql_type.to_string());
        }
        assert_eq!(oid_named("pg_catalog.int4"), Some(23));
        assert_eq!(oid_named("integer[]"), Some(1007));
        assert_eq!(oid_named("nope"), None);
    }
}
