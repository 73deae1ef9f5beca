//! The types of parameters beside arrays: `id = ANY ($1)`, `tags && $1`, `tags[$1]`, `array_append(tags, $1)`.

use arrow::datatypes::FieldRef;

use super::compare::{ALL, ANY};
use crate::plan::table_functions::element_of;
use crate::types::{SqlType, sql_type_of};

/// Functions that take elements of the array beside them.
const BESIDE_ARRAY: [&str; 8] =
    ["array_append", "array_contains", "array_has", "array_position", "array_positions", "array_prepend", "array_remove", "array_replace"];

/// The type of an argument that has none yet, in a call of a function on arrays. `fields`: those of all arguments that have a type.
pub(in crate::plan) fn open_type(name: &str, fields: &[Option<FieldRef>], place: usize) -> Option<SqlType> {
    let at = |place: usize| fields.get(place)?.as_ref();
    let element = |field: &FieldRef| element_of(field.data_type()).map(|element| sql_type_of(element));
    match (name, place) {
        ("subscript" | "slice", 1..) => Some(SqlType::Int4),
        (ANY | ALL, 0) => element(at(2)?),
        (ANY | ALL, 2) => Some(SqlType::Array(Box::new(sql_type_of(at(0)?)))),
        ("array_contains_all" | "array_overlaps", 0 | 1) => Some(sql_type_of(at(1 - place)?)),
        _ if BESIDE_ARRAY.contains(&name) => fields.iter().flatten().find_map(element),
        _ => None,
    }
}
