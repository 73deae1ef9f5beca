//! Functions that give several rows: `generate_series`, `unnest`, `jsonb_array_elements` and their kin, in FROM and in the SELECT list.
//!
//! Each is a scalar function that makes a list, and an unnest above it; so both engines run them alike, and nothing but the list has to be
//! written for a new one:
//!
//! ```text
//! FROM t, generate_series(1, t.n) WITH ORDINALITY AS g(x, o)
//!   expand    marks the call as LATERAL
//!   relation  plans it:      Unnest [x, o]  ◀─  Projection [generate_series(1, outer t.n), ordinals(…)]  ◀─  one row
//!   lateral   joins it to t: Unnest [x, o]  ◀─  Projection [t.*, generate_series(1, t.n), ordinals(…)]   ◀─  t
//! SELECT generate_series(1, n) FROM t
//!   expand    unnest(generate_series(1, n)), which DataFusion knows
//! ```
//!
//! Queries make no list of a series (`stream`), which may have billions of values.

mod correlated;
mod dependencies;
mod expand;
mod json;
mod lateral;
mod lists;
mod relation;
mod series;
mod series_exec;
mod steps;
mod stream;
mod text;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, ScalarUDF};

pub(super) use correlated::with_keys;
pub(super) use dependencies::UnnestForgetsKeys;
pub(super) use expand::expand;
pub(super) use lateral::without_lateral;
pub(super) use lists::{element_of, flat_list, list_array, no_such};
pub(super) use relation::planners;
pub(super) use stream::STREAM_SERIES;

use crate::types::SqlType;

/// What the columns of a function in FROM are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    /// One column, of the function's or the alias's name.
    Own,
    /// One column, `value`.
    Value,
    /// The fields of the elements.
    Fields,
    /// As the alias defines them, from the members of JSON objects: one object, or (`many`) an array of them.
    Defined {
        /// Whether the argument is an array.
        many: bool,
    },
}

/// A function that gives several rows.
#[derive(Debug)]
struct SetFunction {
    /// The user's name for it.
    name: &'static str,
    /// The scalar function that makes the list.
    list: &'static str,
    columns: Columns,
    /// The function that says what type an element has, where the list's type cannot.
    mark: Option<&'static str>,
}

const fn own(name: &'static str, list: &'static str) -> SetFunction {
    SetFunction { name, list, columns: Columns::Own, mark: None }
}

const fn json(name: &'static str, columns: Columns, mark: Option<&'static str>) -> SetFunction {
    SetFunction { name, list: name, columns, mark }
}

const fn defined(name: &'static str, list: &'static str, many: bool) -> SetFunction {
    SetFunction { name, list, columns: Columns::Defined { many }, mark: None }
}

/// All of them.
const SET_FUNCTIONS: &[SetFunction] = &[
    own("generate_series", series::SERIES),
    own("generate_subscripts", lists::SUBSCRIPTS),
    own("unnest", lists::ELEMENTS),
    own("string_to_table", "string_to_table"),
    own("regexp_split_to_table", "regexp_split_to_table"),
    own("regexp_matches", "regexp_matches"),
    own("jsonb_object_keys", "jsonb_object_keys"),
    own("json_object_keys", "json_object_keys"),
    json("jsonb_array_elements", Columns::Value, Some(json::AS_JSONB)),
    json("json_array_elements", Columns::Value, Some(json::AS_JSON)),
    json("jsonb_array_elements_text", Columns::Value, None),
    json("json_array_elements_text", Columns::Value, None),
    json("jsonb_each", Columns::Fields, None),
    json("json_each", Columns::Fields, None),
    json("jsonb_each_text", Columns::Fields, None),
    json("json_each_text", Columns::Fields, None),
    defined("jsonb_to_recordset", "jsonb_array_elements", true),
    defined("json_to_recordset", "json_array_elements", true),
    defined("jsonb_to_record", "make_array", false),
    defined("json_to_record", "make_array", false),
];

/// The scalar functions behind them.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions = vec![series::series(), lists::elements(), lists::ordinals(), lists::subscripts()];
    functions.extend(json::all());
    functions.extend(text::all());
    functions
}

/// Whether a scalar function is one that makes a list of rows. DataFusion is told that those are volatile, so that it does not put the list in
/// the place of a call with constant arguments; they are not.
pub(super) fn makes_rows(name: &str) -> bool {
    SET_FUNCTIONS.iter().any(|function| function.list == name) || name == lists::ORDINALS
}

/// Whether an expression makes the numbers of the elements of other lists.
pub(super) fn is_ordinals(expr: &Expr) -> bool {
    is_call(expr, lists::ORDINALS)
}

/// Whether an expression makes a list in which no element comes twice.
pub(super) fn is_series(expr: &Expr) -> bool {
    is_call(expr, series::SERIES)
}

fn is_call(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Alias(alias) => is_call(&alias.expr, name),
        Expr::ScalarFunction(call) => call.func.name() == name,
        _ => false,
    }
}

/// The type of an argument that has none yet, in a call of a function that makes a list. `types`: those of all arguments, Null where there is none.
pub(super) fn open_type(name: &str, types: &[DataType], place: usize) -> Option<SqlType> {
    match (name, place) {
        (series::SERIES, _) => series::open_type(types, place),
        (lists::SUBSCRIPTS, 1) => Some(SqlType::Int4),
        (lists::SUBSCRIPTS, 2) => Some(SqlType::Bool),
        (_, 0) if makes_rows(name) && name.starts_with("jsonb_") => Some(SqlType::Jsonb),
        (_, 0) if makes_rows(name) && name.starts_with("json_") => Some(SqlType::Json),
        _ => None,
    }
}

fn find(name: &str) -> Option<&'static SetFunction> {
    SET_FUNCTIONS.iter().find(|function| function.name == name)
}
