//! `PROCTIME()`, the time at which a row arrives.
//!
//! In a query that runs once it is `now()`. In the select list of a view it becomes a column of its own, made by a node below: each row that
//! comes gets the time of its epoch, which the log notes, so that it is the same after a restart. A table's or source's column is declared
//! (`p timestamptz AS PROCTIME()`) and filled as the row is committed or read: `engine/clock.rs`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result as DataFusionResult};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Extension, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDFImpl, Signature, UserDefinedLogicalNodeCore,
    Volatility,
};

use super::errors::external;
use super::now::run_began;
use super::walk::{WalkPlan, WalkTree};
use crate::error::{Error, Kind};
use crate::types::SqlType;

/// The function's name.
pub(super) const NAME: &str = "proctime";

/// The name of a column that a user's cannot have.
pub(super) const ARRIVAL: &str = "\u{0}arrival";

/// What helps where it cannot stand.
pub(super) const HINT: &str = "Give the table or source a column for it, p timestamptz AS PROCTIME(), or select PROCTIME() AS p from rows \
                               that only come; compare with now() in WHERE.";

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Proctime {
    signature: Signature,
}

impl Proctime {
    pub(super) fn new() -> Self {
        // No rule may compute it twice, or move a condition below it.
        Proctime { signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Proctime {
    fn name(&self) -> &'static str {
        NAME
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
        Err(external(Error::new(Kind::NotSupported, "PROCTIME() cannot be here").hint(HINT)))
    }
}

/// Every row of a view's input with the time at which it came, as a last column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Arrivals {
    pub(super) input: LogicalPlan,
    schema: DFSchemaRef,
}

impl Arrivals {
    fn new(input: LogicalPlan) -> DataFusionResult<Self> {
        let time = Arc::new(Field::new(ARRIVAL, SqlType::Timestamptz.arrow(), true));
        let fields = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).chain([(None, time)]);
        let schema = DFSchema::new_with_metadata(fields.collect(), input.schema().metadata().clone())?;
        Ok(Arrivals { input, schema: Arc::new(schema) })
    }
}

impl PartialOrd for Arrivals {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Arrivals {
    fn name(&self) -> &'static str {
        "Arrivals"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arrivals")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DataFusionResult<Self> {
        Arrivals::new(inputs.pop().ok_or_else(|| external(Error::internal("arrivals lost their input")))?)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|column| *column < width).collect()])
    }
}

/// A column in the place of every `PROCTIME()` of a select list.
pub(super) fn with_arrivals(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.change_all_up(|node| {
        let LogicalPlan::Projection(projection) = node else { return Ok(Transformed::no(node)) };
        let mut found = false;
        let expressions: DataFusionResult<Vec<Expr>> = projection
            .expr
            .iter()
            .map(|expr| {
                let replaced = expr.clone().change_up(of_column)?;
                found |= replaced.transformed;
                Ok(match replaced.data {
                    data if !replaced.transformed || matches!(data, Expr::Alias(_)) => data,
                    data => data.alias(expr.schema_name().to_string()),
                })
            })
            .collect();
        if !found {
            return Ok(Transformed::no(LogicalPlan::Projection(projection)));
        }
        let below = Arrivals::new(Arc::unwrap_or_clone(projection.input))?;
        let below = LogicalPlan::Extension(Extension { node: Arc::new(below) });
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(expressions?, Arc::new(below))?)))
    });
    replaced.map(|replaced| replaced.data)
}

fn of_column(expr: Expr) -> DataFusionResult<Transformed<Expr>> {
    Ok(match &expr {
        Expr::ScalarFunction(call) if call.func.name() == NAME => Transformed::yes(Expr::Column(Column::new_unqualified(ARRIVAL))),
        _ => Transformed::no(expr),
    })
}
