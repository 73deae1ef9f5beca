//! FETCH FIRST … WITH TIES as what it means: the rows whose rank is at most the number wanted.
//!
//! The parser leaves it as `LIMIT with_ties(n)`, which plans like any limit, and is taken out again here:
//!
//! ```text
//! Limit with_ties(n), Sort a   ─▶   Sort a, Filter rank <= n, Window rank() over (order by a) as rank
//! ```

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::functions_window::rank::rank_udwf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprFunctionExt, Limit, LogicalPlan, LogicalPlanBuilder, Projection, ScalarFunctionArgs, ScalarUDFImpl,
    Signature, Sort, Volatility, WindowFunctionDefinition, WindowUDF, lit,
};

use super::errors::external;
use super::walk::WalkPlan;
use crate::error::{Error, Kind};
use crate::sql::WITH_TIES;

/// The names of the places that are compared; a user's column cannot have them.
const RANK: &str = "\u{0}rank";
const NUMBER: &str = "\u{0}number";

/// The mark on a limit: gives its argument.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WithTies {
    signature: Signature,
}

impl WithTies {
    pub(super) fn new() -> Self {
        WithTies { signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for WithTies {
    fn name(&self) -> &'static str {
        WITH_TIES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}

/// Puts a condition on the rank in the place of every limit with ties.
pub(super) fn without_ties(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.change_all_up(|node| match node {
        LogicalPlan::Limit(limit) => match limit.fetch.as_deref().and_then(marked) {
            Some(count) => tied(&limit, &count).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Limit(limit))),
        },
        other => Ok(Transformed::no(other)),
    });
    replaced.map(|replaced| replaced.data)
}

/// The number of rows, if a limit is marked.
fn marked(fetch: &Expr) -> Option<Expr> {
    match fetch {
        Expr::Cast(cast) => marked(&cast.expr),
        Expr::ScalarFunction(call) if call.name() == WITH_TIES => call.args.first().cloned(),
        _ => None,
    }
}

fn tied(limit: &Limit, count: &Expr) -> DataFusionResult<LogicalPlan> {
    let (sort, projections) = sorted(&limit.input)?;
    let place = |function: Arc<WindowUDF>, name: &str| {
        let call = Expr::from(WindowFunction::new(WindowFunctionDefinition::WindowUDF(function), Vec::new()));
        Ok::<_, DataFusionError>(call.order_by(sort.expr.clone()).build()?.alias(name))
    };
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let (mut places, mut last) = (vec![place(rank_udwf(), RANK)?], unsigned(count));
    let mut condition = None;
    if let Some(skip) = limit.skip.as_deref() {
        let skip = unsigned(skip);
        places.push(place(row_number_udwf(), NUMBER)?);
        condition = Some(column(NUMBER).gt(skip.clone()));
        last = sum(last, skip);
    }
    let ranked = column(RANK).lt_eq(last);
    let condition = condition.into_iter().fold(ranked, Expr::and);
    let columns: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let order: Vec<SortExpr> = sort.expr.clone();
    let first =
        LogicalPlanBuilder::from(Arc::clone(&sort.input)).window(places)?.filter(condition)?.project(columns)?.sort(order)?.build()?;
    projections.into_iter().rev().try_fold(first, |input, above| {
        let projection = Projection::try_new_with_schema(above.expr.clone(), Arc::new(input), Arc::clone(&above.schema))?;
        Ok(LogicalPlan::Projection(projection))
    })
}

/// The order below a limit, and the projections between, from the top.
fn sorted(plan: &LogicalPlan) -> DataFusionResult<(&Sort, Vec<&Projection>)> {
    let (mut plan, mut projections) = (plan, Vec::new());
    loop {
        match plan {
            LogicalPlan::Projection(projection) => {
                projections.push(projection);
                plan = projection.input.as_ref();
            }
            LogicalPlan::Sort(sort) => return Ok((sort, projections)),
            _ => {
                let error = Error::new(Kind::Syntax, "WITH TIES cannot be specified without ORDER BY clause");
                return Err(external(error));
            }
        }
    }
}

/// A number of rows as places are numbered.
fn unsigned(count: &Expr) -> Expr {
    match count {
        Expr::Literal(ScalarValue::Int64(Some(count)), _) => lit(u64::try_from(*count).unwrap_or(0)),
        other => Expr::Cast(Cast::new(Box::new(other.clone()), DataType::UInt64)),
    }
}

fn sum(left: Expr, right: Expr) -> Expr {
    match (&left, &right) {
        (Expr::Literal(ScalarValue::UInt64(Some(left)), _), Expr::Literal(ScalarValue::UInt64(Some(right)), _)) => {
            lit(left.saturating_add(*right))
        }
        _ => left + right,
    }
}
