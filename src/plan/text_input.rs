//! Text → a value of any type, as PostgreSQL's input functions read it: what a quoted string means when it is assigned to a column.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::types::{SqlType, parse_column_in};

/// `text`, an expression of type text, read as a value of `target`: `22P02`, `22003` and their kin for what is not one.
pub(super) fn text_input(text: Expr, target: &SqlType) -> Expr {
    text_input_in(text, target, Tz::UTC)
}

/// As `text_input`; an instant without an offset is local time of `zone`.
fn text_input_in(text: Expr, target: &SqlType, zone: Tz) -> Expr {
    let function = TextInput { target: target.clone(), zone, signature: Signature::any(1, Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), vec![text]))
}

/// The same call, if it is one of `text_input` that reads instants, with local time of `zone`.
pub(super) fn text_input_with(call: &ScalarFunction, zone: Tz) -> Option<Expr> {
    let function = call.func.inner().downcast_ref::<TextInput>()?;
    has_instants(&function.target).then(|| text_input_in(call.args[0].clone(), &function.target, zone))
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
struct TextInput {
    target: SqlType,
    zone: Tz,
    signature: Signature,
}

impl ScalarUDFImpl for TextInput {
    fn name(&self) -> &'static str {
        "text_input"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.target.arrow())
    }

    /// That of the cast in whose place it stands.
    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(", "))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(self.target.field("text_input", nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let text = ColumnarValue::values_to_arrays(&args.args)?.remove(0);
        let text = cast(&text, &DataType::Utf8)?;
        let values = text.as_string::<i32>();
        let texts = (0..values.len()).map(|row| (!values.is_null(row)).then(|| values.value(row)));
        let parsed = parse_column_in(&self.target, texts, self.zone).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(if scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&parsed, 0)?) } else { ColumnarValue::Array(parsed) })
    }
}
