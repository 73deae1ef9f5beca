//! Arrays and rows as text, as PostgreSQL writes them: `{1,2}`, `(1,a)`; maps, which it has not, as `{a: 1}`.

use std::sync::Arc;

use arrow::array::{Array, StringBuilder};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::types::{SqlType, TextColumn, TextStyle, sql_type_of};

/// `value`, an array, row or map of the type that `field` has, as text.
pub(in crate::plan) fn nested_as_text(value: Expr, field: &Field) -> Expr {
    let function = NestedText { from: sql_type_of(field), signature: Signature::any(1, Volatility::Immutable) };
    ScalarUDF::from(function).call(vec![value])
}

/// The plan with text in the place of its columns that are maps: no SQL type holds them.
pub(in crate::plan) fn maps_as_text(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let is_map = |field: &Field| matches!(field.data_type(), DataType::Map(..));
    if !plan.schema().fields().iter().any(|field| is_map(field)) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().zip(plan.schema().columns()).map(|((qualifier, field), column)| {
        let column = Expr::Column(column);
        if is_map(field) { nested_as_text(column, field).alias_qualified(qualifier.cloned(), field.name()) } else { column }
    });
    let columns = columns.collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NestedText {
    from: SqlType,
    signature: Signature,
}

impl ScalarUDFImpl for NestedText {
    fn name(&self) -> &'static str {
        "nested_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    /// That of the cast in whose place it stands.
    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(", "))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        let mut texts = StringBuilder::new();
        if matches!(values.data_type(), DataType::Map(..)) {
            let options = FormatOptions::default().with_null("null");
            let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
            for row in 0..values.len() {
                let text = values.is_valid(row).then(|| formatter.value(row).try_to_string()).transpose()?;
                texts.append_option(text);
            }
            return Ok(ColumnarValue::Array(Arc::new(texts.finish())));
        }
        let column = TextColumn::new(values.as_ref(), &self.from).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let style = TextStyle::default();
        let mut text = String::new();
        for row in 0..values.len() {
            text.clear();
            if column.is_null(row) {
                texts.append_null();
            } else {
                column.write(row, &style, &mut text);
                texts.append_value(&text);
            }
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}
