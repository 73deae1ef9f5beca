//! Marks on the conditions of joins that SQL has and DataFusion has not. The parser leaves the join as one that both know, with a call in its
//! condition; whoever knows what that means takes it out again.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchemaRef, JoinType, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, build_join_schema,
};

use super::errors::external;
use super::walk::WalkTree;
use crate::error::Error;
use crate::sql::{ASOF_JOIN, TEMPORAL_JOIN};

/// A boolean function of one argument that is never computed: the join becomes another one, or is refused.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinMark {
    name: &'static str,
    signature: Signature,
}

/// All marks.
pub(super) fn all() -> [ScalarUDF; 2] {
    // The one has the condition itself, the other a time of any type.
    let condition = Signature::exact(vec![DataType::Boolean], Volatility::Immutable);
    let time = Signature::any(1, Volatility::Immutable);
    [(ASOF_JOIN, condition), (TEMPORAL_JOIN, time)].map(|(name, signature)| ScalarUDF::from(JoinMark { name, signature }))
}

impl ScalarUDFImpl for JoinMark {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(external(Error::not_supported("an ASOF or temporal join cannot be here").hint("Join tables, views or subqueries by it.")))
    }
}

/// What the mark of that name marks, if an expression is one.
pub(super) fn marked<'a>(expr: &'a Expr, name: &str) -> Option<&'a Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.name() == name => call.args.first(),
        _ => None,
    }
}

/// Whether an expression has a mark in it.
pub(super) fn is_marked(expr: &Expr) -> bool {
    let mark = |inner: &Expr| [ASOF_JOIN, TEMPORAL_JOIN].iter().any(|name| marked(inner, name).is_some());
    expr.has(|inner| Ok(mark(inner))).unwrap_or(true)
}

/// The columns of an inner or a left join.
pub(super) fn schema_of(left: &LogicalPlan, right: &LogicalPlan, outer: bool) -> DataFusionResult<DFSchemaRef> {
    let kind = if outer { JoinType::Left } else { JoinType::Inner };
    build_join_schema(left.schema(), right.schema(), &kind).map(Arc::new)
}
