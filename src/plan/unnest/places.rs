//! Subqueries in places from which nobody makes a join of them are refused here, in words that a user knows.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinType, Span};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::references::{refers, subquery_of};
use crate::error::{Error, Result};
use crate::plan::errors::placed;
use crate::plan::walk::{WalkPlan, WalkTree};

/// Refuses a subquery that has been left anywhere but in WHERE, HAVING, a select list or the condition of an inner join. `text`: for the position.
pub(in crate::plan) fn refuse_elsewhere(plan: &LogicalPlan, text: &str) -> Result<()> {
    let mut refused = None;
    let _ = plan.look_at_all(|node| {
        let Some(place) = place(node) else { return Ok(TreeNodeRecursion::Continue) };
        node.look_at_expressions(|expr| {
            expr.look(|inner| {
                if refused.is_none()
                    && let Some(what) = what(inner)
                {
                    let error = Error::not_supported(format!("{what} is not supported in {place}"))
                        .hint("Compute it in a subquery in FROM, as a column of that, and read the column here.");
                    let place = span(inner).map_or((0, 0), |span| (span.start.line, span.start.column));
                    refused = Some(placed(error, place, text));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    refused.map_or(Ok(()), Err)
}

/// What a user calls the place of a node's expressions, if no rule takes subqueries from there.
fn place(node: &LogicalPlan) -> Option<&'static str> {
    match node {
        LogicalPlan::Filter(_) | LogicalPlan::Projection(_) => None,
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => None,
        LogicalPlan::Join(join) if join.join_type == JoinType::Full => Some("ON of a full join, if it reads columns of both sides"),
        LogicalPlan::Join(_) => Some("ON of such a join, if it reads columns of both sides"),
        LogicalPlan::Aggregate(_) => Some("GROUP BY or an aggregate"),
        LogicalPlan::Window(_) => Some("a window function"),
        LogicalPlan::Sort(_) => Some("ORDER BY"),
        _ => Some("this place"),
    }
}

/// What a user calls a subquery of which a join would have to be made. One value that reads nothing from outside can be computed first.
fn what(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Exists(_) => Some("EXISTS"),
        Expr::InSubquery(_) => Some("IN with a subquery"),
        Expr::SetComparison(_) => Some("ANY or ALL with a subquery"),
        Expr::ScalarSubquery(subquery) if refers(&subquery.subquery) => Some("a subquery that reads columns of the query around it"),
        _ => None,
    }
}

/// A place in the text near a subquery: that of what it is compared with, or of a column that it reads.
fn span(expr: &Expr) -> Option<Span> {
    let mut found = subquery_of(expr)?.spans.first();
    let mut look = |expr: &Expr| {
        expr.look(|inner| {
            let spans = inner.spans().and_then(|spans| spans.first());
            found = spans.or(found);
            Ok(if spans.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    };
    let _ = look(expr);
    found
}
