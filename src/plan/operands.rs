//! What stands before IN, ANY and ALL is of the query outside, whatever the subquery's own columns are called.
//!
//! The rules that make a condition of `x IN (SELECT y …)` tell columns from outside and those of the subquery apart by their names. So where `x`
//! reads a column that the subquery has as well (`id IN (SELECT id FROM t WHERE …)` over `t`), what is compared gets a name of its own:
//!
//! ```text
//! t.id IN (SELECT t.id FROM t)   ─▶   t.id IN (SELECT t.id AS hidden FROM t)
//! ```

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Subquery};

use super::map_named::map_named;
use super::names::hidden;
use super::walk::{WalkPlan, WalkTree};

/// The plan with such subqueries under names of their own.
pub(super) fn told_apart(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut number = 0;
    let told = plan.change_all_up(|node| map_named(node, |expr| expr.change_up(|inner| told_apart_in(inner, &mut number))));
    told.map(|told| told.data)
}

/// Whether a node of `plan` has a column that `operand` reads outside.
pub(super) fn clashes(operand: &Expr, plan: &LogicalPlan) -> bool {
    let read = columns(operand);
    let clashing = plan.has(|node| Ok(read.iter().any(|column| node.schema().has_column(column))));
    clashing.unwrap_or(true)
}

fn told_apart_in(expr: Expr, number: &mut usize) -> DataFusionResult<Transformed<Expr>> {
    match expr {
        Expr::InSubquery(mut list) if clashes(&list.expr, &list.subquery.subquery) => {
            list.subquery = renamed(list.subquery, number)?;
            Ok(Transformed::yes(Expr::InSubquery(list)))
        }
        Expr::SetComparison(mut comparison) if clashes(&comparison.expr, &comparison.subquery.subquery) => {
            comparison.subquery = renamed(comparison.subquery, number)?;
            Ok(Transformed::yes(Expr::SetComparison(comparison)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The columns of queries outside that an operand reads.
fn columns(operand: &Expr) -> Vec<Column> {
    let mut found = Vec::new();
    let _ = operand.look(|inner| {
        if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = inner {
            found.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The subquery with another name for its column. That a row is there once makes no difference here.
fn renamed(subquery: Subquery, number: &mut usize) -> DataFusionResult<Subquery> {
    let plan = match subquery.subquery.as_ref() {
        LogicalPlan::Distinct(Distinct::All(rows)) => rows.as_ref().clone(),
        other => other.clone(),
    };
    let compared = Expr::Column(Column::from(plan.schema().qualified_field(0))).alias(hidden("compared", *number));
    *number += 1;
    let plan = LogicalPlanBuilder::from(plan).project([compared])?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}
