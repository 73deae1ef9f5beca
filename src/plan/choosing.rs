//! `coalesce`, `greatest`, `least` and `nullif` as DataFusion computes them, of values of one type.
//!
//! What is known of the type beyond Arrow's (that a text is a jsonb) stays known of the result, and an argument without a type fits all others:
//! DataFusion would refuse it beside some.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions::core::{coalesce, greatest, least, nullif};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::errors::external;
use super::functions::undefined_function;
use crate::types::{SqlType, sql_type_of};

/// The functions.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let choosing =
        |inner: Arc<ScalarUDF>| Arc::new(ScalarUDF::from(Choosing { inner, signature: Signature::user_defined(Volatility::Immutable) }));
    [coalesce(), greatest(), least(), nullif()].map(choosing).to_vec()
}

/// One of DataFusion's functions whose result is one of its arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Choosing {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Choosing {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let typed: Vec<DataType> = types.iter().filter(|data_type| !data_type.is_null()).cloned().collect();
        let is_binary = self.name() == "nullif";
        if types.is_empty() || (is_binary && types.len() != 2) {
            return Err(external(undefined_function(self.name(), types)));
        }
        let common = match typed.split_first() {
            None => DataType::Null,
            Some((first, rest)) if rest.iter().all(|other| other == first) => first.clone(),
            Some((first, rest)) if is_binary => rest
                .iter()
                .try_fold(first.clone(), |common, next| comparison_coercion(&common, next))
                .ok_or_else(|| external(undefined_function(self.name(), types)))?,
            Some((first, _)) => self.inner.coerce_types(&typed)?.into_iter().next().unwrap_or_else(|| first.clone()),
        };
        // Of nothing but NULLs it is a text, as PostgreSQL makes one of what has no type.
        let common = if common.is_null() { DataType::Utf8 } else { common };
        Ok(vec![common; types.len()])
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        // What had no type is a text by now.
        let types = args.arg_fields.iter().map(|field| sql_type_of(field));
        let typed: Vec<SqlType> = types.filter(|sql_type| *sql_type != SqlType::Text).collect();
        let field = self.inner.return_field_from_args(args)?;
        Ok(match typed.split_first() {
            Some((kept @ (SqlType::Jsonb | SqlType::Json | SqlType::Uuid), rest)) if rest.iter().all(|other| other == kept) => {
                Arc::new(kept.field(field.name(), field.is_nullable()))
            }
            _ => field,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        self.inner.simplify(args, context)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }
}
