//! `x::varchar(3)` and `x::char(3)`: a cast that the user writes cuts what is too long, where an assignment refuses it (`fit_text`).

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::types::SqlType;

/// Whether values of a type have a length that text is cut to.
pub(super) fn has_length(target: &SqlType) -> bool {
    matches!(target, SqlType::Varchar(Some(_)) | SqlType::Char(_))
}

/// `text` as a value of `target`, which has a length: the rest is cut off, and for `char` blanks are put behind.
pub(super) fn cut_text(text: Expr, target: &SqlType) -> Expr {
    let function = CutText { target: target.clone(), signature: Signature::any(1, Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), vec![text]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CutText {
    target: SqlType,
    signature: Signature,
}

impl ScalarUDFImpl for CutText {
    fn name(&self) -> &'static str {
        "cut_text"
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

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(self.target.field("cut_text", nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let texts = ColumnarValue::values_to_arrays(&args.args)?.remove(0);
        let texts = cast(&texts, &DataType::Utf8)?;
        let cut: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(|text| cut(text, &self.target))).collect();
        Ok(if scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&cut, 0)?) } else { ColumnarValue::Array(Arc::new(cut)) })
    }
}

fn cut(text: &str, target: &SqlType) -> String {
    match target {
        SqlType::Varchar(Some(length)) => text.chars().take(*length as usize).collect(),
        SqlType::Char(length) => {
            let kept: String = text.chars().take(*length as usize).collect();
            let missing = (*length as usize).saturating_sub(kept.chars().count());
            kept + &" ".repeat(missing)
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::cut;
    use crate::types::SqlType;

    #[test]
    fn characters_are_cut_not_bytes() {
        assert_eq!(cut("äöü", &SqlType::Varchar(Some(2))), "äö");
        assert_eq!(cut("ä", &SqlType::Varchar(Some(2))), "ä");
        assert_eq!(cut("äöü", &SqlType::Char(2)), "äö");
        assert_eq!(cut("ä", &SqlType::Char(3)), "ä  ");
    }
}
