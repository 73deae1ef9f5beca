//! Lists from JSON: the elements of an array, the members of an object; and one member by its name, for `jsonb_to_recordset`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::lists::{list_column, no_such};
use crate::error::{Error, Kind};
use crate::plan::errors::external;
use crate::types::{Json, JsonScanner, SqlType, canonical_jsonb};

/// The name of the function that says that its argument is `jsonb`.
pub(super) const AS_JSONB: &str = "as_jsonb";

/// The name of the function that says that its argument is `json`.
pub(super) const AS_JSON: &str = "as_json";

/// All of them.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions = Vec::new();
    for binary in [true, false] {
        for what in [What::Elements, What::ElementTexts, What::Keys, What::Members, What::MemberTexts] {
            let signature = Signature::exact(vec![DataType::Utf8], Volatility::Volatile);
            functions.push(Arc::new(ScalarUDF::from(JsonList { what, binary, signature })));
        }
        functions.push(Arc::new(ScalarUDF::from(As { binary, signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable) })));
    }
    functions
}

/// `member(json, name)`: a member of an object as text; with `whole`, as JSON. NULL where there is none, and for JSON's null if not `whole`.
pub(super) fn member(whole: bool) -> Arc<ScalarUDF> {
    let signature = Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable);
    Arc::new(ScalarUDF::from(Member { whole, signature }))
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Elements,
    ElementTexts,
    Keys,
    Members,
    MemberTexts,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonList {
    what: What,
    /// `jsonb` rather than `json`: a name comes once, and shorter names first.
    binary: bool,
    signature: Signature,
}

impl JsonList {
    fn value_type(&self) -> SqlType {
        match self.what {
            What::Elements | What::Members if self.binary => SqlType::Jsonb,
            What::Elements | What::Members => SqlType::Json,
            _ => SqlType::Text,
        }
    }

    fn element(&self) -> FieldRef {
        Arc::new(match self.what {
            What::Members | What::MemberTexts => Field::new_list_field(DataType::Struct(self.pair()), true),
            _ => self.value_type().field("item", true),
        })
    }

    fn pair(&self) -> Fields {
        vec![SqlType::Text.field("key", true), self.value_type().field("value", true)].into()
    }

    /// Calls `push` with each name and value in `text`.
    fn members(&self, text: &str, push: &mut dyn FnMut(&str, Json<'_>)) -> DataFusionResult<()> {
        let whole = JsonScanner::whole(text).map_err(|error| refused(format!("invalid json: {error}")))?;
        let Json::Object(object) = whole else {
            let call = match (self.what, &whole) {
                (What::Keys, Json::Array(_)) => format!("{} on an array", self.name()),
                (What::Keys, _) => format!("{} on a scalar", self.name()),
                _ => format!("{} on a non-object", self.name()),
            };
            return Err(refused(format!("cannot call {call}")));
        };
        let mut listed = Vec::new();
        let scanned = JsonScanner::new(object).object(|name, value| {
            listed.push((name.decode()?.into_owned(), value));
            Ok(())
        });
        scanned.map_err(|error| refused(format!("invalid json: {error}")))?;
        if !self.binary {
            listed.into_iter().for_each(|(name, value)| push(&name, value));
            return Ok(());
        }
        // The last of several of one name counts.
        let ordered: BTreeMap<(usize, String), Json<'_>> = listed.into_iter().map(|(name, value)| ((name.len(), name), value)).collect();
        ordered.into_iter().for_each(|((_, name), value)| push(&name, value));
        Ok(())
    }

    fn elements(&self, text: &str, push: &mut dyn FnMut(Json<'_>)) -> DataFusionResult<()> {
        match JsonScanner::whole(text).map_err(|error| refused(format!("invalid json: {error}")))? {
            Json::Array(array) => {
                let scanned = JsonScanner::new(array).array(|element| {
                    push(element);
                    Ok(())
                });
                scanned.map_err(|error| refused(format!("invalid json: {error}")))
            }
            Json::Object(_) => Err(refused("cannot extract elements from an object".to_owned())),
            _ => Err(refused("cannot extract elements from a scalar".to_owned())),
        }
    }

    fn append(&self, values: &mut StringBuilder, value: Json<'_>) -> DataFusionResult<()> {
        match self.what {
            What::ElementTexts | What::MemberTexts => append_text(values, value, self.binary)?,
            _ => values.append_value(written(value, self.binary)),
        }
        Ok(())
    }
}

impl ScalarUDFImpl for JsonList {
    fn name(&self) -> &'static str {
        match (self.what, self.binary) {
            (What::Elements, true) => "jsonb_array_elements",
            (What::Elements, false) => "json_array_elements",
            (What::ElementTexts, true) => "jsonb_array_elements_text",
            (What::ElementTexts, false) => "json_array_elements_text",
            (What::Keys, true) => "jsonb_object_keys",
            (What::Keys, false) => "json_object_keys",
            (What::Members, true) => "jsonb_each",
            (What::Members, false) => "json_each",
            (What::MemberTexts, true) => "jsonb_each_text",
            (What::MemberTexts, false) => "json_each_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::List(self.element()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let texts = cast(&args.args[0].to_array(args.number_rows)?, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let (mut names, mut values, mut lengths) = (StringBuilder::new(), StringBuilder::new(), Vec::with_capacity(texts.len()));
        for text in texts {
            let mut length = 0;
            let mut outcome = Ok(());
            let mut add = |value: Json<'_>| {
                length += 1;
                if outcome.is_ok() && self.what != What::Keys {
                    outcome = self.append(&mut values, value);
                }
            };
            match (text, self.what) {
                (None, _) => {}
                (Some(text), What::Elements | What::ElementTexts) => self.elements(text, &mut add)?,
                (Some(text), _) => self.members(text, &mut |name, value| {
                    names.append_value(name);
                    add(value);
                })?,
            }
            outcome?;
            lengths.push(length);
        }
        let (names, values): (ArrayRef, ArrayRef) = (Arc::new(names.finish()), Arc::new(values.finish()));
        let column = match self.what {
            What::Keys => names,
            What::Members | What::MemberTexts => Arc::new(StructArray::try_new(self.pair(), vec![names, values], None)?),
            What::Elements | What::ElementTexts => values,
        };
        list_column(lengths.into_iter(), self.element(), column)
    }
}

fn refused(message: String) -> DataFusionError {
    external(Error::new(Kind::InvalidParameter, message))
}

/// A value as JSON.
fn written(value: Json<'_>, binary: bool) -> String {
    let text = value.text();
    if binary { canonical_jsonb(&text).unwrap_or_else(|_| text.into_owned()) } else { text.into_owned() }
}

/// A value as text: a string's characters, NULL for null.
fn append_text(values: &mut StringBuilder, value: Json<'_>, binary: bool) -> DataFusionResult<()> {
    match value {
        Json::Null => values.append_null(),
        Json::String(string) => values.append_value(string.decode().map_err(|error| refused(format!("invalid json: {error}")))?),
        other => values.append_value(written(other, binary)),
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Member {
    whole: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Member {
    fn name(&self) -> &'static str {
        if self.whole { "json_member" } else { "json_member_text" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = args.args.iter().map(|argument| Ok(cast(&argument.to_array(args.number_rows)?, &DataType::Utf8)?));
        let arrays = arrays.collect::<DataFusionResult<Vec<ArrayRef>>>()?;
        let [objects, names]: [&StringArray; 2] = [arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>()];
        let mut values = StringBuilder::new();
        for (object, wanted) in objects.iter().zip(names) {
            let (Some(object), Some(wanted)) = (object, wanted) else {
                values.append_null();
                continue;
            };
            let mut found = None;
            let scanned = JsonScanner::new(object).object(|name, value| {
                if name.decode()? == wanted {
                    found = Some(value);
                }
                Ok(())
            });
            scanned.map_err(|_| refused("cannot take columns from a json value that is not an object".to_owned()))?;
            match found {
                None => values.append_null(),
                Some(value) if self.whole => values.append_value(written(value, true)),
                Some(value) => append_text(&mut values, value, true)?,
            }
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct As {
    binary: bool,
    signature: Signature,
}

impl ScalarUDFImpl for As {
    fn name(&self) -> &'static str {
        if self.binary { AS_JSONB } else { AS_JSON }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        if types != [DataType::Utf8] {
            return Err(no_such(self.name(), &types));
        }
        Ok(Arc::new(if self.binary { SqlType::Jsonb } else { SqlType::Json }.field(self.name(), true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(args.args.remove(0))
    }
}
