//! `now()` in microseconds, as every time here; DataFusion's has nanoseconds, and what is compared with it was cast to them.

use arrow::datatypes::DataType;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::errors::external;
use crate::error::Error;
use crate::types::SqlType;

/// The function: a constant of one run.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Now {
    signature: Signature,
    aliases: [String; 1],
}

impl Now {
    pub(super) fn new() -> Self {
        Now { signature: Signature::nullary(Volatility::Stable), aliases: ["current_timestamp".to_owned()] }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &'static str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(SqlType::Timestamptz.arrow())
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        Ok(run_began(context).map_or(ExprSimplifyResult::Original(args), ExprSimplifyResult::Simplified))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(external(Error::internal("now() has become a constant")))
    }
}

/// When the run began that a plan is simplified for.
pub(super) fn run_began(context: &SimplifyContext) -> Option<Expr> {
    let now = context.query_execution_start_time()?.timestamp_micros();
    Some(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(now), Some("UTC".into())), None))
}
