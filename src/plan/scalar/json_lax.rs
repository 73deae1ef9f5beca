//! `jsonb_set_lax`: as `jsonb_set`, and what becomes of a NULL is said.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};

use super::call::Call;
use super::column::{Input, Texts};
use super::json::{delete, set};
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// What a NULL is unless said otherwise.
const DEFAULT: &str = "use_json_null";

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function(
            "jsonb_set_lax",
            "as `jsonb_set`; for NULL the last argument says what happens: `use_json_null`, `delete_key`, `return_target` or `raise_exception`",
            "jsonb_set_lax('{\"a\": 1}', '{a}', NULL)",
            "{\"a\": null}",
        )
        .form("jsonb, text[], jsonb -> jsonb", set_lax)
        .form("jsonb, text[], jsonb, boolean -> jsonb", set_lax)
        .form("jsonb, text[], jsonb, boolean, text -> jsonb", set_lax)
        .example("jsonb_set_lax('{\"a\": 1}', '{a}', NULL, true, 'delete_key')", "{}"),
    ]
}

fn set_lax(call: &Call<'_>) -> Result<ArrayRef> {
    let targets: &StringArray = call.arguments[0].as_string();
    let paths = call.arguments[1].as_list::<i32>();
    let values: &StringArray = call.arguments[2].as_string();
    let create: Option<&BooleanArray> = call.arguments.get(3).map(|array| array.as_boolean());
    let treatments: Option<&StringArray> = call.arguments.get(4).map(|array| array.as_string());
    let row = |row: usize| {
        if targets.is_null(row) || paths.is_null(row) || create.is_some_and(|create| create.is_null(row)) {
            return Ok(None);
        }
        let treatment = match treatments {
            None => DEFAULT,
            Some(treatments) if treatments.is_valid(row) => treatments.value(row),
            Some(_) => return Err(unknown_treatment()),
        };
        let (target, path) = (targets.value(row), Texts::value(&paths, row));
        let create = create.is_none_or(|create| create.value(row));
        if values.is_valid(row) {
            return set(target, &path, values.value(row), create).map(Some);
        }
        match treatment {
            "use_json_null" => set(target, &path, "null", create).map(Some),
            "delete_key" => delete(target, &path).map(Some),
            "return_target" => Ok(Some(target.to_owned())),
            "raise_exception" => Err(Error::new(Kind::NullNotAllowed, "JSON value must not be null")
                .hint("Either change the null_value_treatment argument or pass a value.")),
            _ => Err(unknown_treatment()),
        }
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<Result<StringArray>>()?))
}

fn unknown_treatment() -> Error {
    let message = "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"";
    Error::new(Kind::InvalidParameter, message)
}
