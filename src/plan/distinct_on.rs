//! DISTINCT ON as what it means: the first row of each group, by the window function that numbers them.
//!
//! ```text
//! DISTINCT ON (k) … ORDER BY k, a   ─▶   Filter first = 1, Window row_number() over (partition by k order by k, a) as first
//! ```
//!
//! DataFusion would make a `first_value` aggregate of each column, which takes each from another row when rows are equal in the order.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, lit,
};
use sqlparser::ast::{Distinct as DistinctText, Query};

use super::each_select::each_select;
use super::grouping_clauses::meant;
use super::walk::WalkPlan;
use crate::error::Result;

/// The name of the place that a DISTINCT ON is turned into; a user's column cannot have it.
const FIRST: &str = "\u{0}first";

/// Puts what stands at a place of the select list where `DISTINCT ON (1)` names the place, in queries within `query` too.
pub(super) fn without_places(query: &mut Query) -> Result<()> {
    each_select(query, |select| {
        let Some(DistinctText::On(on)) = &mut select.distinct else { return Ok(()) };
        for expr in on {
            *expr = meant(expr, &select.projection, "SELECT DISTINCT ON")?;
        }
        Ok(())
    })
}

/// Puts the window function of which it is a case in the place of every DISTINCT ON.
pub(super) fn without_distinct_on(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.change_all_up(|node| match node {
        LogicalPlan::Distinct(Distinct::On(on)) => first_of_each(on).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    });
    replaced.map(|replaced| replaced.data)
}

fn first_of_each(on: DistinctOn) -> DataFusionResult<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = on;
    let number = Expr::from(WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new()));
    let order = sort_expr.unwrap_or_default();
    let number = number.partition_by(on_expr);
    let number = if order.is_empty() { number.build()? } else { number.order_by(order.clone()).build()? }.alias(FIRST);
    let selected = select_expr.into_iter().zip(schema.iter()).map(|(expr, (qualifier, field))| match qualifier {
        Some(qualifier) => expr.alias_qualified(Some(qualifier.clone()), field.name()),
        None => expr.alias(field.name()),
    });
    let first = LogicalPlanBuilder::from(input).window([number])?.filter(Expr::Column(Column::new_unqualified(FIRST)).eq(lit(1_u64)))?;
    // The order also says which rows a LIMIT takes.
    let ordered = if order.is_empty() { first } else { first.sort(order)? };
    ordered.project(selected)?.build()
}
