//! Functions and operators of `json` and `jsonb`.
//!
//! A `jsonb` is kept as its canonical text, and a part of that text is the canonical text of the part: so going down a path copies a piece of
//! the text and builds nothing.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{Field, FieldRef};
use datafusion::common::ScalarValue;

use super::call::Call;
use super::column::{Integer, Text, Texts, map1, map2, map3, map4};
use super::misc::Printed;
use super::{Function, function};
use crate::error::{Error, Kind, Result};
use crate::plan::aggregates::JsonColumn;
use crate::types::{Json, JsonScanner, JsonTree, SqlType, canonical_jsonb, jsonb_key, sql_type_of};

/// The table.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn functions() -> Vec<Function> {
    vec![
        function(
            "jsonb_get",
            "a field, or an element counted from 0 (negative: from the end); NULL if there is none",
            "'{\"a\": {\"b\": [1, 2]}}'::jsonb -> 'a'",
            "{\"b\": [1, 2]}",
        )
        .operator("->")
        .form_of("jsonb, integer -> jsonb", as_first, |call| {
            map2::<Text, Integer, _>(call, |json, place| Ok(element(whole(json)?, place).map(own_text)))
        })
        .form_of("jsonb, text -> jsonb", as_first, |call| {
            map2::<Text, Text, _>(call, |json, key| Ok(field(whole(json)?, key).map(own_text)))
        })
        .example("'[1, 2]'::jsonb -> -1", "2"),
        function("jsonb_get_text", "the same as text: strings without quotes, null as NULL", "'{\"a\": \"x\"}'::jsonb ->> 'a'", "x")
            .operator("->>")
            .form("jsonb, integer -> text", |call| {
                map2::<Text, Integer, _>(call, |json, place| element(whole(json)?, place).map_or(Ok(None), as_text))
            })
            .form("jsonb, text -> text", |call| {
                map2::<Text, Text, _>(call, |json, key| field(whole(json)?, key).map_or(Ok(None), as_text))
            }),
        function("jsonb_path", "what is at the end of a path of keys and places", "'{\"a\": {\"b\": [1, 2]}}'::jsonb #> '{a,b,0}'", "1")
            .operator("#>")
            .form_of("jsonb, text[] -> jsonb", as_first, |call| {
                map2::<Text, Texts, _>(call, |json, path| Ok(descend(whole(json)?, &path).map(own_text)))
            }),
        function("jsonb_path_text", "the same as text", "'{\"a\": {\"b\": [\"x\"]}}'::jsonb #>> '{a,b,0}'", "x")
            .operator("#>>")
            .form("jsonb, text[] -> text", |call| {
                map2::<Text, Texts, _>(call, |json, path| descend(whole(json)?, &path).map_or(Ok(None), as_text))
            }),
        both(
            "jsonb_extract_path",
            &["json_extract_path"],
            "the same as `#>`, with the path as arguments",
            "jsonb_extract_path('{\"a\": [1, 2]}', 'a', '1')",
            "2",
        )
        .form_of("jsonb, text… -> jsonb", as_first, |call| extract(call, |json| Ok(Some(own_text(json))))),
        both(
            "jsonb_extract_path_text",
            &["json_extract_path_text"],
            "the same as `#>>`, with the path as arguments",
            "jsonb_extract_path_text('{\"a\": \"x\"}', 'a')",
            "x",
        )
        .form("jsonb, text… -> text", |call| extract(call, as_text)),
        function(
            "jsonb_contains",
            "whether the first has all fields and elements of the second",
            "'{\"a\": 1, \"b\": [1, 2]}'::jsonb @> '{\"b\": [2]}'",
            "t",
        )
        .operator("@>")
        .form("jsonb, jsonb -> boolean", |call| trees(call, |a, b| Ok(contains(&a, &b, true)))),
        function("jsonb_contained", "whether the second has all fields and elements of the first", "'[1]'::jsonb <@ '[1, 2]'", "t")
            .operator("<@")
            .form("jsonb, jsonb -> boolean", |call| trees(call, |a, b| Ok(contains(&b, &a, true)))),
        function("jsonb_exists", "whether it has a key, or the text as an element", "'{\"a\": 1}'::jsonb ? 'a'", "t")
            .operator("?")
            .form("jsonb, text -> boolean", |call| map2::<Text, Text, _>(call, |json, key| exists(whole(json)?, key))),
        function("jsonb_exists_any", "whether it has one of the keys", "'{\"a\": 1}'::jsonb ?| ARRAY['a', 'b']", "t").operator("?|").form(
            "jsonb, text[] -> boolean",
            |call| {
                map2::<Text, Texts, _>(call, |json, keys| {
                    let json = whole(json)?;
                    keys.iter().flatten().try_fold(false, |found, key| Ok(found || exists(json, key)?))
                })
            },
        ),
        function("jsonb_exists_all", "whether it has all of the keys", "'{\"a\": 1}'::jsonb ?& ARRAY['a', 'b']", "f").operator("?&").form(
            "jsonb, text[] -> boolean",
            |call| {
                map2::<Text, Texts, _>(call, |json, keys| {
                    let json = whole(json)?;
                    keys.iter().flatten().try_fold(true, |found, key| Ok(found && exists(json, key)?))
                })
            },
        ),
        function(
            "jsonb_concat",
            "objects with the fields of both (of one key the second's), arrays with the elements of both",
            "'{\"a\": 1, \"b\": 2}'::jsonb || '{\"b\": 3}'",
            "{\"a\": 1, \"b\": 3}",
        )
        .operator("||")
        .form("jsonb, jsonb -> jsonb", |call| trees(call, |a, b| Ok(concat(a, b).text())))
        .example("'[1]'::jsonb || '2'", "[1, 2]"),
        function(
            "jsonb_delete",
            "without a field, an element by its place, or strings that are equal",
            "'{\"a\": 1, \"b\": 2}'::jsonb - 'a'",
            "{\"b\": 2}",
        )
        .operator("-")
        .form("jsonb, integer -> jsonb", |call| {
            map2::<Text, Integer, _>(call, |json, place| Ok(delete_place(JsonTree::parse(json)?, place)?.text()))
        })
        .form("jsonb, text -> jsonb", |call| {
            map2::<Text, Text, _>(call, |json, key| Ok(delete_keys(JsonTree::parse(json)?, &[Some(key.to_owned())])?.text()))
        })
        .form("jsonb, text[] -> jsonb", |call| {
            map2::<Text, Texts, _>(call, |json, keys| Ok(delete_keys(JsonTree::parse(json)?, &keys)?.text()))
        }),
        function("jsonb_delete_path", "without what is at the end of a path", "'{\"a\": [1, 2]}'::jsonb #- '{a,0}'", "{\"a\": [2]}")
            .operator("#-")
            .form("jsonb, text[] -> jsonb", |call| {
                map2::<Text, Texts, _>(call, |json, path| Ok(edit(container(json)?, &path, 0, &Edit::Delete)?.text()))
            }),
        function(
            "jsonb_key",
            "behind the operators `=` and `<>`, and whatever else takes equal values for one",
            "'1.0'::jsonb = '1'::jsonb",
            "t",
        )
        .operator("=")
        .form("jsonb -> text", |call| map1::<Text, _>(call, |text| jsonb_key(text).map(Cow::into_owned))),
        function("jsonb_compare", "behind the operators `<`, `<=`, `>`, `>=`: -1, 0 or 1", "'[1]'::jsonb < '{}'::jsonb", "t")
            .operator("<")
            .form("jsonb, jsonb -> integer", |call| {
                trees(call, |a, b| {
                    Ok(match a.order_key().cmp(&b.order_key()) {
                        Ordering::Less => -1,
                        Ordering::Equal => 0,
                        Ordering::Greater => 1,
                    })
                })
            }),
        function("jsonb_order", "behind ORDER BY and whatever else puts values in order", "greatest('9'::jsonb, '10')", "10")
            .operator("<")
            .form("jsonb -> bytea", |call| map1::<Text, _>(call, |text| JsonTree::parse(text).map(|tree| tree.order_key()))),
        both("jsonb_typeof", &["json_typeof"], "object, array, string, number, boolean or null", "jsonb_typeof('[1]')", "array")
            .form("jsonb -> text", |call| map1::<Text, _>(call, |json| Ok(kind_of(&whole(json)?).to_owned()))),
        both("jsonb_array_length", &["json_array_length"], "how many elements an array has", "jsonb_array_length('[1, 2, 3]')", "3")
            .form("jsonb -> integer", |call| map1::<Text, _>(call, array_length)),
        function(
            "jsonb_set",
            "with what is at the end of a path replaced, or added if the last argument is not false",
            "jsonb_set('{\"a\": [1, 2]}', '{a,1}', '9')",
            "{\"a\": [1, 9]}",
        )
        .form("jsonb, text[], jsonb -> jsonb", |call| map3::<Text, Texts, Text, _>(call, |json, path, new| set(json, &path, new, true)))
        .form("jsonb, text[], jsonb, boolean -> jsonb", |call| {
            map4::<Text, Texts, Text, super::column::Boolean, _>(call, |json, path, new, create| set(json, &path, new, create))
        })
        .example("jsonb_set('{\"a\": 1}', '{b}', '2')", "{\"a\": 1, \"b\": 2}"),
        function(
            "jsonb_insert",
            "with a value put before an element (behind it if the last argument is true), or in a new field",
            "jsonb_insert('{\"a\": [0, 1]}', '{a,1}', '\"new\"')",
            "{\"a\": [0, \"new\", 1]}",
        )
        .form("jsonb, text[], jsonb -> jsonb", |call| map3::<Text, Texts, Text, _>(call, |json, path, new| insert(json, &path, new, false)))
        .form("jsonb, text[], jsonb, boolean -> jsonb", |call| {
            map4::<Text, Texts, Text, super::column::Boolean, _>(call, |json, path, new, after| insert(json, &path, new, after))
        }),
        both(
            "jsonb_strip_nulls",
            &["json_strip_nulls"],
            "without the fields that are null, at every depth",
            "jsonb_strip_nulls('{\"a\": null, \"b\": [1, null]}')",
            "{\"b\": [1, null]}",
        )
        .form("jsonb -> jsonb", |call| map1::<Text, _>(call, |json| Ok(strip(JsonTree::parse(json)?).text()))),
        function("jsonb_pretty", "in lines, indented", "jsonb_pretty('[]')", "[\n]").form("jsonb -> text", |call| {
            map1::<Text, _>(call, |json| {
                let mut out = String::new();
                pretty(&JsonTree::parse(json)?, 0, &mut out);
                Ok(out)
            })
        }),
        function("to_jsonb", "any value as `jsonb`", "to_jsonb(ARRAY[1, 2])", "[1, 2]")
            .form("any -> jsonb", |call| convert(call, true))
            .example("to_jsonb('say \"hi\"'::text)", "\"say \\\"hi\\\"\""),
        function("to_json", "any value as `json`", "to_json(ARRAY[1, 2])", "[1,2]").form("any -> json", |call| convert(call, false)),
        function("row_to_json", "a row as `json`", "row_to_json(row(1, 'a'))", "{\"f1\":1,\"f2\":\"a\"}").form("any -> json", row_to_json),
        function("array_to_json", "an array as `json`", "array_to_json(ARRAY[1, 2])", "[1,2]")
            .form("array -> json", |call| convert(call, false)),
        function("jsonb_build_array", "the arguments as an array", "jsonb_build_array(1, 'a', NULL)", "[1, \"a\", null]")
            .form("-> jsonb", |call| build_array(call, true))
            .form("any… -> jsonb", |call| build_array(call, true)),
        function("json_build_array", "the same as `json`", "json_build_array(1, 'a', NULL)", "[1, \"a\", null]")
            .form("-> json", |call| build_array(call, false))
            .form("any… -> json", |call| build_array(call, false)),
        function(
            "jsonb_build_object",
            "the arguments as keys and values",
            "jsonb_build_object('b', 1, 'a', true)",
            "{\"a\": true, \"b\": 1}",
        )
        .form("-> jsonb", |call| build_object(call, true))
        .form("any… -> jsonb", |call| build_object(call, true)),
        function("json_build_object", "the same as `json`", "json_build_object('b', 1, 'a', true)", "{\"b\" : 1, \"a\" : true}")
            .form("-> json", |call| build_object(call, false))
            .form("any… -> json", |call| build_object(call, false)),
        both(
            "jsonb_object",
            &[],
            "an object of texts: keys and values in turn, or in two arrays",
            "jsonb_object('{a,1,b,x}'::text[])",
            "{\"a\": \"1\", \"b\": \"x\"}",
        )
        .form("text[] -> jsonb", |call| map1::<Texts, _>(call, |both| object_of_pairs(&both)))
        .form("text[], text[] -> jsonb", |call| map2::<Texts, Texts, _>(call, |keys, values| object_of_lists(&keys, &values))),
    ]
}

/// A function of `jsonb` that takes `json` as well, under another name.
fn both(name: &'static str, aliases: &'static [&'static str], doc: &'static str, example: &'static str, result: &'static str) -> Function {
    function(name, doc, example, result).aliases(aliases)
}

/// `json` gives `json`, all else `jsonb`.
fn as_first(fields: &[FieldRef], _scalars: &[Option<&ScalarValue>]) -> SqlType {
    if sql_type_of(&fields[0]) == SqlType::Json { SqlType::Json } else { SqlType::Jsonb }
}

fn whole(text: &str) -> Result<Json<'_>> {
    JsonScanner::whole(text).map_err(|cause| {
        let shown: String = text.chars().take(100).collect();
        Error::new(Kind::InvalidText, format!("invalid input syntax for type json: \"{shown}\""))
            .detail(format!("It is not JSON: {cause}."))
    })
}

fn own_text(json: Json<'_>) -> String {
    json.text().into_owned()
}

/// As text: a string's characters, NULL for null.
fn as_text(json: Json<'_>) -> Result<Option<String>> {
    Ok(match json {
        Json::Null => None,
        Json::String(text) => Some(text.decode().map_err(|error| Error::new(Kind::InvalidText, error.to_string()))?.into_owned()),
        other => Some(own_text(other)),
    })
}

/// The field of an object; the last of several.
fn field<'a>(json: Json<'a>, key: &str) -> Option<Json<'a>> {
    let Json::Object(text) = json else { return None };
    let mut found = None;
    let read = JsonScanner::new(text).object(|name, value| {
        if name.decode().is_ok_and(|name| name == key) {
            found = Some(value);
        }
        Ok(())
    });
    read.ok().and(found)
}

fn elements(text: &str) -> Vec<Json<'_>> {
    let mut found = Vec::new();
    let read = JsonScanner::new(text).array(|element| {
        found.push(element);
        Ok(())
    });
    if read.is_err() {
        found.clear();
    }
    found
}

/// The place of an element, counted from the end if negative.
fn place_in(length: usize, place: i64) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let place = if place < 0 { place + length } else { place };
    usize::try_from(place).ok().filter(|_| place < length)
}

fn element(json: Json<'_>, place: i64) -> Option<Json<'_>> {
    let Json::Array(text) = json else { return None };
    let found = elements(text);
    place_in(found.len(), place).map(|at| found[at])
}

fn descend<'a>(json: Json<'a>, path: &[Option<String>]) -> Option<Json<'a>> {
    path.iter().try_fold(json, |json, step| {
        let step = step.as_ref()?;
        match json {
            Json::Object(_) => field(json, step),
            Json::Array(_) => element(json, step.trim().parse().ok()?),
            _ => None,
        }
    })
}

/// What is at the end of the path that the further arguments are; NULL in it gives NULL.
fn extract(call: &Call<'_>, of: impl Fn(Json<'_>) -> Result<Option<String>>) -> Result<ArrayRef> {
    let columns: Vec<&StringArray> = call.arguments.iter().map(|array| array.as_string::<i32>()).collect();
    let mut found = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if columns.iter().any(|column| column.is_null(row)) {
            found.push(None);
            continue;
        }
        let path: Vec<Option<String>> = columns[1..].iter().map(|column| Some(column.value(row).to_owned())).collect();
        found.push(match descend(whole(columns[0].value(row))?, &path) {
            Some(json) => of(json)?,
            None => None,
        });
    }
    Ok(Arc::new(StringArray::from(found)))
}

/// A result from two values, taken apart.
fn trees<R: super::column::Output>(call: &Call<'_>, compute: impl Fn(JsonTree, JsonTree) -> Result<R>) -> Result<ArrayRef> {
    map2::<Text, Text, _>(call, |a, b| compute(JsonTree::parse(a)?, JsonTree::parse(b)?))
}

fn contains(a: &JsonTree, b: &JsonTree, top: bool) -> bool {
    match (a, b) {
        (JsonTree::Object(fields), JsonTree::Object(wanted)) => {
            wanted.iter().all(|(key, value)| fields.iter().any(|(name, found)| name == key && contains(found, value, false)))
        }
        (JsonTree::Array(elements), JsonTree::Array(wanted)) => {
            wanted.iter().all(|value| elements.iter().any(|found| contains(found, value, false)))
        }
        (JsonTree::Array(elements), scalar) if top && !matches!(scalar, JsonTree::Object(_)) => {
            elements.iter().any(|found| found.order_key() == scalar.order_key())
        }
        (JsonTree::Object(_) | JsonTree::Array(_), _) | (_, JsonTree::Object(_) | JsonTree::Array(_)) => false,
        (a, b) => a.order_key() == b.order_key(),
    }
}

fn exists(json: Json<'_>, key: &str) -> Result<bool> {
    let is_key = |element: &Json<'_>| matches!(element, Json::String(text) if text.decode().is_ok_and(|text| text == key));
    Ok(match json {
        Json::Object(_) => field(json, key).is_some(),
        Json::Array(text) => elements(text).iter().any(is_key),
        scalar => is_key(&scalar),
    })
}

fn concat(a: JsonTree, b: JsonTree) -> JsonTree {
    let list = |value: JsonTree| match value {
        JsonTree::Array(elements) => elements,
        other => vec![other],
    };
    match (a, b) {
        (JsonTree::Object(mut fields), JsonTree::Object(more)) => {
            fields.extend(more);
            JsonTree::object(fields)
        }
        (a, b) => JsonTree::Array(list(a).into_iter().chain(list(b)).collect()),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidParameter, message.into())
}

fn delete_keys(value: JsonTree, keys: &[Option<String>]) -> Result<JsonTree> {
    let gone = |name: &String| keys.iter().flatten().any(|key| key == name);
    match value {
        JsonTree::Object(mut fields) => {
            fields.retain(|(name, _)| !gone(name));
            Ok(JsonTree::Object(fields))
        }
        JsonTree::Array(mut elements) => {
            elements.retain(|element| !matches!(element, JsonTree::String(text) if gone(text)));
            Ok(JsonTree::Array(elements))
        }
        _ => Err(invalid("cannot delete from scalar")),
    }
}

fn delete_place(value: JsonTree, place: i64) -> Result<JsonTree> {
    match value {
        JsonTree::Array(mut elements) => {
            if let Some(at) = place_in(elements.len(), place) {
                elements.remove(at);
            }
            Ok(JsonTree::Array(elements))
        }
        JsonTree::Object(_) => Err(invalid("cannot delete from object using integer index")),
        _ => Err(invalid("cannot delete from scalar")),
    }
}

/// What is done at the end of a path.
enum Edit {
    Delete,
    /// `create`: also where nothing is yet.
    Set {
        new: JsonTree,
        create: bool,
    },
    Insert {
        new: JsonTree,
        after: bool,
    },
}

impl Edit {
    fn creates(&self) -> bool {
        matches!(self, Edit::Set { create: true, .. } | Edit::Insert { .. })
    }
}

/// A value that has something in it.
fn container(json: &str) -> Result<JsonTree> {
    match JsonTree::parse(json)? {
        value @ (JsonTree::Object(_) | JsonTree::Array(_)) => Ok(value),
        _ => Err(invalid("cannot set path in scalar")),
    }
}

/// With another value at the end of a path; `create`: also where nothing is yet.
pub(super) fn set(json: &str, path: &[Option<String>], new: &str, create: bool) -> Result<String> {
    Ok(edit(container(json)?, path, 0, &Edit::Set { new: JsonTree::parse(new)?, create })?.text())
}

/// Without what is at the end of a path.
pub(super) fn delete(json: &str, path: &[Option<String>]) -> Result<String> {
    Ok(edit(container(json)?, path, 0, &Edit::Delete)?.text())
}

fn insert(json: &str, path: &[Option<String>], new: &str, after: bool) -> Result<String> {
    Ok(edit(container(json)?, path, 0, &Edit::Insert { new: JsonTree::parse(new)?, after })?.text())
}

/// Follows the path from its part `depth` on.
fn edit(value: JsonTree, path: &[Option<String>], depth: usize, what: &Edit) -> Result<JsonTree> {
    let Some(step) = path.get(depth) else { return Ok(value) };
    let Some(step) = step else {
        return Err(Error::new(Kind::NullNotAllowed, format!("path element at position {} is null", depth + 1)));
    };
    let last = depth + 1 == path.len();
    match value {
        JsonTree::Object(mut fields) => {
            let at = fields.iter().position(|(name, _)| name == step);
            match (at, last, what) {
                (Some(at), true, Edit::Delete) => drop(fields.remove(at)),
                (Some(at), true, Edit::Set { new, .. }) => fields[at].1 = new.clone(),
                (Some(_), true, Edit::Insert { .. }) => {
                    return Err(invalid("cannot replace existing key").hint("Try using the function jsonb_set to replace key value."));
                }
                (None, true, Edit::Set { new, create: true } | Edit::Insert { new, .. }) => {
                    fields.push((step.clone(), new.clone()));
                    return Ok(JsonTree::object(fields));
                }
                (Some(at), false, _) => {
                    let inner = std::mem::replace(&mut fields[at].1, JsonTree::Null);
                    fields[at].1 = edit(inner, path, depth + 1, what)?;
                }
                _ => {}
            }
            Ok(JsonTree::Object(fields))
        }
        JsonTree::Array(elements) if elements.is_empty() && !what.creates() => Ok(JsonTree::Array(elements)),
        JsonTree::Array(mut elements) => {
            let place = step.trim().parse::<i32>().map_err(|_| {
                Error::new(Kind::InvalidText, format!("path element at position {} is not an integer: \"{step}\"", depth + 1))
            })?;
            edit_array(&mut elements, i64::from(place), path, depth, what)?;
            Ok(JsonTree::Array(elements))
        }
        scalar => Ok(scalar),
    }
}

fn edit_array(elements: &mut Vec<JsonTree>, place: i64, path: &[Option<String>], depth: usize, what: &Edit) -> Result<()> {
    let last = depth + 1 == path.len();
    match (place_in(elements.len(), place), last, what) {
        (Some(at), true, Edit::Delete) => drop(elements.remove(at)),
        (Some(at), true, Edit::Set { new, .. }) => elements[at] = new.clone(),
        (Some(at), true, Edit::Insert { new, after }) => elements.insert(at + usize::from(*after), new.clone()),
        (Some(at), false, _) => {
            let inner = std::mem::replace(&mut elements[at], JsonTree::Null);
            elements[at] = edit(inner, path, depth + 1, what)?;
        }
        // Beyond an end: there it is added.
        (None, true, Edit::Set { new, create: true } | Edit::Insert { new, .. }) => {
            let at = if place < 0 { 0 } else { elements.len() };
            elements.insert(at, new.clone());
        }
        _ => {}
    }
    Ok(())
}

fn kind_of(json: &Json<'_>) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Object(_) => "object",
        Json::Array(_) => "array",
    }
}

fn array_length(json: &str) -> Result<i32> {
    match whole(json)? {
        Json::Array(text) => Ok(super::text::count(elements(text).len())),
        Json::Object(_) => Err(invalid("cannot get array length of a non-array")),
        _ => Err(invalid("cannot get array length of a scalar")),
    }
}

fn strip(value: JsonTree) -> JsonTree {
    match value {
        JsonTree::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| *value != JsonTree::Null);
            JsonTree::Object(kept.map(|(name, value)| (name, strip(value))).collect())
        }
        JsonTree::Array(elements) => JsonTree::Array(elements.into_iter().map(strip).collect()),
        scalar => scalar,
    }
}

fn pretty(value: &JsonTree, depth: usize, out: &mut String) {
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', 4 * depth));
    };
    match value {
        JsonTree::Array(elements) => {
            out.push('[');
            for (place, element) in elements.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                indent(out, depth + 1);
                pretty(element, depth + 1, out);
            }
            indent(out, depth);
            out.push(']');
        }
        JsonTree::Object(fields) => {
            out.push('{');
            for (place, (name, value)) in fields.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                indent(out, depth + 1);
                JsonTree::String(name.clone()).write(out);
                out.push_str(": ");
                pretty(value, depth + 1, out);
            }
            indent(out, depth);
            out.push('}');
        }
        scalar => scalar.write(out),
    }
}

/// An argument as JSON texts.
fn column(call: &Call<'_>, place: usize) -> Result<JsonColumn> {
    let field: &Field = &call.fields[place];
    let field = field.clone().with_data_type(call.arguments[place].data_type().clone());
    JsonColumn::new(&call.arguments[place], &field, false)
}

fn written(column: &JsonColumn, row: usize, binary: bool) -> Result<String> {
    let mut text = String::new();
    column.write(row, &mut text)?;
    if binary { canonical_jsonb(&text) } else { Ok(text) }
}

fn convert(call: &Call<'_>, binary: bool) -> Result<ArrayRef> {
    let column = column(call, 0)?;
    let text = |row| if call.arguments[0].is_null(row) { Ok(None) } else { written(&column, row, binary).map(Some) };
    let texts = (0..call.rows).map(text).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}

fn row_to_json(call: &Call<'_>) -> Result<ArrayRef> {
    let arrow::datatypes::DataType::Struct(fields) = call.arguments[0].data_type() else {
        return Err(Error::new(Kind::UndefinedFunction, "function row_to_json wants a row"));
    };
    // A row's fields without names are f1, f2, ….
    let unnamed = fields.iter().enumerate().all(|(place, field)| *field.name() == format!("c{place}"));
    if !unnamed {
        return convert(call, false);
    }
    let renamed = fields.iter().enumerate().map(|(place, field)| field.as_ref().clone().with_name(format!("f{}", place + 1)));
    let data_type = arrow::datatypes::DataType::Struct(renamed.collect());
    let array = arrow::array::make_array(call.arguments[0].to_data().into_builder().data_type(data_type.clone()).build()?);
    let field = Arc::new(Field::new("row", data_type, true));
    convert(&Call { arguments: &[array], fields: &[field], ..*call }, false)
}

fn build_array(call: &Call<'_>, binary: bool) -> Result<ArrayRef> {
    let columns = (0..call.arguments.len()).map(|place| column(call, place)).collect::<Result<Vec<_>>>()?;
    let array = |row| {
        let parts = columns.iter().map(|column| written(column, row, binary)).collect::<Result<Vec<_>>>()?;
        Ok(Some(format!("[{}]", parts.join(", "))))
    };
    let texts = (0..call.rows).map(array).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}

fn build_object(call: &Call<'_>, binary: bool) -> Result<ArrayRef> {
    if !call.arguments.len().is_multiple_of(2) {
        let error = invalid("argument list must have even number of elements");
        return Err(error.hint("The arguments of this function must consist of alternating keys and values."));
    }
    let keys = (0..call.arguments.len())
        .step_by(2)
        .map(|place| Printed::new(&call.arguments[place], &call.fields[place]))
        .collect::<Result<Vec<_>>>()?;
    let values = (1..call.arguments.len()).step_by(2).map(|place| column(call, place)).collect::<Result<Vec<_>>>()?;
    let object = |row: usize| {
        let mut parts = Vec::with_capacity(keys.len());
        for (place, (key, value)) in keys.iter().zip(&values).enumerate() {
            if key.is_null(row) {
                return Err(invalid(format!("argument {}: key must not be null", 2 * place + 1)));
            }
            let name = JsonTree::String(key.text(row)).text();
            parts.push(format!("{name} : {}", written(value, row, false)?));
        }
        let text = format!("{{{}}}", parts.join(", "));
        Ok(Some(if binary { canonical_jsonb(&text)? } else { text }))
    };
    let texts = (0..call.rows).map(object).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}

fn object_field(key: &Option<String>, value: &Option<String>) -> Result<(String, JsonTree)> {
    let key = key.clone().ok_or_else(|| Error::new(Kind::NullNotAllowed, "null value not allowed for object key"))?;
    Ok((key, value.clone().map_or(JsonTree::Null, JsonTree::String)))
}

fn object_of_pairs(both: &[Option<String>]) -> Result<String> {
    if !both.len().is_multiple_of(2) {
        return Err(Error::new(Kind::ArraySubscript, "array must have even number of elements"));
    }
    let fields = both.chunks(2).map(|pair| object_field(&pair[0], &pair[1])).collect::<Result<Vec<_>>>()?;
    Ok(JsonTree::object(fields).text())
}

fn object_of_lists(keys: &[Option<String>], values: &[Option<String>]) -> Result<String> {
    if keys.len() != values.len() {
        return Err(Error::new(Kind::ArraySubscript, "mismatched array dimensions"));
    }
    let fields = keys.iter().zip(values).map(|(key, value)| object_field(key, value)).collect::<Result<Vec<_>>>()?;
    Ok(JsonTree::object(fields).text())
}
