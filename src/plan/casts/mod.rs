//! Casts that are computed as PostgreSQL does, where Arrow would do something else: functions that stand in the place of a cast.
//!
//! `strict` decides which cast becomes which of them; how a column is converted is in a file for each kind. In: an expression. Out: a call
//! whose name in schemas is that of its argument, as that of a cast is, and which EXPLAIN shows as a cast.
//! Always: NULL for NULL, and nothing else decides about it.

mod allowed;
mod cut;
mod each;
mod nested;
mod number;
mod read;
mod rows;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use chrono_tz::Tz;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub(super) use self::allowed::is_cast;
pub(super) use self::each::is_own_cast;
use super::arrow_kinds::one_value;
use super::errors::external;
use crate::error::Result;
use crate::types::{SqlType, sql_type_of};

/// How values are converted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Method {
    /// Text is read by the type's rules; an instant without an offset is local time of the zone.
    Read(Tz),
    /// Text is cut to the type's length.
    Cut,
    /// Arrays, rows and maps of this type are written.
    Write(SqlType),
    /// A numeric becomes the nearest float.
    Nearest,
    /// A float becomes a numeric of the digits that it has for certain.
    Digits,
    /// A double becomes a real, if it is one.
    Real,
    /// Rows, or arrays of them, of this type: field by field, by their places. Instants are read as `Read` does.
    Fields(SqlType, Tz),
    /// Each element of arrays of this type is cast; an instant without an offset is local time of the zone.
    Each(SqlType, Tz),
    /// The values are such already, and are said to be.
    Mark,
}

/// `text`, an expression of type text, read as a value of `target`: `22P02`, `22003` and their kin for what is not one.
pub(super) fn text_input(text: Expr, target: &SqlType) -> Expr {
    converted(text, target, Method::Read(Tz::UTC))
}

/// The same call, if it is one that reads instants, with local time of `zone`.
pub(super) fn text_input_in(call: &ScalarFunction, zone: Tz) -> Option<Expr> {
    let function = InPlaceOfCast::of(call)?;
    let method = match &function.method {
        Method::Read(_) if has_instants(&function.target) => Method::Read(zone),
        Method::Fields(from, _) if has_instants(&function.target) => Method::Fields(from.clone(), zone),
        Method::Each(from, _) if has_instants(&function.target) || has_instants(from) => Method::Each(from.clone(), zone),
        _ => return None,
    };
    Some(converted(call.args[0].clone(), &function.target, method))
}

/// `value`, an array of type `from`, as an array of type `target`, of which [`is_own_cast`] is true.
pub(super) fn each_element(value: Expr, from: &SqlType, target: &SqlType) -> Expr {
    converted(value, target, Method::Each(from.clone(), Tz::UTC))
}

/// Whether a type is one of rows, or of arrays of them.
pub(super) fn has_rows(sql_type: &SqlType) -> bool {
    match sql_type {
        SqlType::Array(element) => has_rows(element),
        other => matches!(other, SqlType::Struct(_)),
    }
}

/// `value`, a row of type `from` or an array of such, as one of `target`: `42846` if it has another number of fields.
pub(super) fn cast_rows(value: Expr, from: &SqlType, target: &SqlType) -> DataFusionResult<Expr> {
    rows::check(from, target).map_err(external)?;
    Ok(converted(value, target, Method::Fields(from.clone(), Tz::UTC)))
}

/// Whether values of a type have a length that text is cut to.
pub(super) fn has_length(target: &SqlType) -> bool {
    matches!(target, SqlType::Varchar(Some(_)) | SqlType::Char(_))
}

/// `text` as a value of `target`, which has a length: the rest is cut off.
pub(super) fn cut_text(text: Expr, target: &SqlType) -> Expr {
    converted(text, target, Method::Cut)
}

/// `value`, an array, row or map of the type that `field` has, as text.
pub(super) fn nested_as_text(value: Expr, field: &Field) -> Expr {
    converted(value, &SqlType::Text, Method::Write(sql_type_of(field)))
}

/// `value`, a numeric, as the float of type `target` that is nearest.
pub(super) fn nearest_float(value: Expr, target: &SqlType) -> Expr {
    converted(value, target, Method::Nearest)
}

/// `value`, a float, as a numeric.
pub(super) fn float_to_numeric(value: Expr, target: &SqlType) -> Expr {
    converted(value, target, Method::Digits)
}

/// `value`, a double, as a real.
pub(super) fn double_to_real(value: Expr) -> Expr {
    converted(value, &SqlType::Float4, Method::Real)
}

/// `value`, which is one of `target` but is not said to be.
pub(super) fn marked(value: Expr, target: &SqlType) -> Expr {
    converted(value, target, Method::Mark)
}

/// The cast in whose place a call stands.
pub(super) fn as_cast(call: &ScalarFunction) -> Option<Expr> {
    let target = &InPlaceOfCast::of(call)?.target;
    let value = Box::new(call.args.first()?.clone());
    Some(Expr::Cast(Cast::new_from_field(value, Arc::new(target.field("", true)))))
}

fn converted(value: Expr, target: &SqlType, method: Method) -> Expr {
    let function = InPlaceOfCast { method, target: target.clone(), signature: Signature::any(1, Volatility::Immutable) };
    ScalarUDF::from(function).call(vec![value])
}

fn has_instants(sql_type: &SqlType) -> bool {
    match sql_type {
        SqlType::Timestamptz => true,
        SqlType::Array(element) => has_instants(element),
        SqlType::Struct(fields) => fields.iter().any(|(_, field)| has_instants(field)),
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct InPlaceOfCast {
    method: Method,
    target: SqlType,
    signature: Signature,
}

impl InPlaceOfCast {
    fn of(call: &ScalarFunction) -> Option<&Self> {
        call.func.inner().downcast_ref()
    }

    fn convert(&self, values: &ArrayRef) -> Result<ArrayRef> {
        match &self.method {
            Method::Read(zone) => read::read(values, &self.target, *zone),
            Method::Cut => cut::cut(values, &self.target),
            Method::Write(from) => nested::write(values, from),
            Method::Each(from, zone) => each::each(values, from, &self.target, *zone),
            Method::Nearest => number::nearest(values, &self.target),
            Method::Digits => number::numerics(values, &self.target),
            Method::Real => number::reals(values),
            Method::Fields(from, zone) => rows::cast(values, from, &self.target, *zone),
            // What elements are said to be is part of an array's type.
            Method::Mark if *values.data_type() != self.target.arrow() => Ok(cast(values, &self.target.arrow())?),
            Method::Mark => Ok(Arc::clone(values)),
        }
    }
}

impl ScalarUDFImpl for InPlaceOfCast {
    fn name(&self) -> &'static str {
        match self.method {
            Method::Read(_) => "text_input",
            Method::Cut => "cut_text",
            Method::Write(_) => "nested_text",
            Method::Each(..) => "elements_cast",
            Method::Nearest => "nearest_float",
            Method::Digits => "float_to_numeric",
            Method::Real => "double_to_real",
            Method::Fields(..) => "cast_fields",
            Method::Mark => "marked",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.target.arrow())
    }

    /// That of the cast in whose place it stands.
    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(name_of_arguments(args))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(self.target.field(self.name(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let values = ColumnarValue::values_to_arrays(&args.args)?.remove(0);
        let converted = self.convert(&values).map_err(external)?;
        Ok(if scalar { ColumnarValue::Scalar(one_value(&converted)?) } else { ColumnarValue::Array(converted) })
    }
}

/// The name in schemas of a call that is not to be seen: what it is given.
pub(super) fn name_of_arguments(args: &[Expr]) -> String {
    args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(", ")
}
