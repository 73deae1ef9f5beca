//! INTERSECT ALL and EXCEPT ALL, which count: of `m` copies of a row on the left and `n` on the right there come out `min(m, n)`, and
//! `max(m − n, 0)`.
//!
//! The copies of a row are numbered on each side; then they are different rows, and the set operation is the plain one:
//!
//! ```text
//! Semi join, NULLs equal, all columns   ─▶   Semi join on all columns and the copy's number
//!   left                                       Window row_number() over (partition by all columns): left
//!   right                                      Window row_number() over (partition by all columns): right
//! ```
//!
//! DataFusion's own plan keeps every copy of a left row that has an equal right row (or none), however many there are.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality, Result as DataFusionResult};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Distinct, Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition};

use super::errors::from_datafusion;
use super::names::hidden;
use super::walk::WalkPlan;
use crate::error::Result;

/// What the copies' numbers are called on both sides.
const COPY: [&str; 2] = ["copy", "other copy"];

/// Gives INTERSECT ALL and EXCEPT ALL their meaning.
pub(super) fn with_copies(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.change_all_up(|node| match node {
        LogicalPlan::Join(join) if is_counting(&join) => counted(join).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    });
    replaced.map(|replaced| replaced.data).map_err(|error| from_datafusion(error, ""))
}

/// Whether a join is what DataFusion makes of INTERSECT ALL or EXCEPT ALL: nothing else in a fresh plan compares whole rows so. Where the
/// left rows are different anyhow, it is right as it is.
fn is_counting(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
}

fn counted(join: Join) -> DataFusionResult<LogicalPlan> {
    let columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
    let [left_copy, right_copy] = COPY.map(|name| Expr::Column(Column::new_unqualified(hidden(name, 0))));
    let left = numbered(&join.left, left_keys, COPY[0])?;
    let right = numbered(&join.right, right_keys, COPY[1])?;
    let on = join.on.into_iter().chain([(left_copy, right_copy)]).collect();
    let joined = Join::try_new(left, right, on, None, join.join_type, join.join_constraint, NullEquality::NullEqualsNull, join.null_aware)?;
    LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?.build()
}

/// `plan` with the number of each row among its equals.
fn numbered(plan: &LogicalPlan, columns: Vec<Expr>, name: &str) -> DataFusionResult<Arc<LogicalPlan>> {
    let number = Expr::from(WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new()));
    let number = number.partition_by(columns).build()?.alias(hidden(name, 0));
    Ok(Arc::new(LogicalPlanBuilder::from(plan.clone()).window([number])?.build()?))
}
