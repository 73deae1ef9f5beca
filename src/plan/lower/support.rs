//! What cannot be maintained yet: most is found before the optimiser turns it into something that the user would not recognise; subqueries
//! afterwards, since the optimiser makes joins of them wherever it can.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

use super::temporal::{cannot_follow, reads_time};
use crate::error::{Error, Result};
use crate::plan::expressions::refuse_volatile;
use crate::plan::walk::{WalkPlan, WalkTree};

/// Refuses constructs by the names that SQL has for them.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    let _ = plan.look_at_all(|node| {
        let _ = node.look_at_expressions(|expr| {
            refused = check_expression(expr).err();
            Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    refused.map_or(Ok(()), Err)
}

/// `construct` cannot be in a view yet.
pub(super) fn unsupported(construct: &str) -> Error {
    Error::not_supported(format!("{construct} is not supported in a materialized view yet"))
        .hint("Leave it out of the view, and put it into the query that reads the view.")
}

/// What is left of the time in other places than comparisons in conditions.
pub(super) fn check_time(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    let _ = plan.look(|node| {
        let filters = match node {
            LogicalPlan::Filter(_) | LogicalPlan::TableScan(_) => true,
            LogicalPlan::Join(join) => join.join_type == JoinType::Inner,
            _ => false,
        };
        let _ = node.look_at_expressions(|expr| {
            refused = (!filters && reads_time(expr)).then(|| cannot_follow(expr));
            Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    refused.map_or(Ok(()), Err)
}

fn check_expression(expr: &Expr) -> Result<()> {
    refuse_volatile(expr)?;
    refuse(expr, |inner| matches!(inner, Expr::Placeholder(_)).then_some("a parameter"))
}

/// Refuses subqueries that the optimiser could not turn into joins.
pub(super) fn check_optimized(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    let _ = plan.look(|node| {
        let _ = node.look_at_expressions(|expr| {
            refused = refuse(expr, subquery_name)
                .err()
                .map(|error| error.hint("Write it as a join, or move it from ON into WHERE or a subquery in FROM."));
            Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    refused.map_or(Ok(()), Err)
}

fn subquery_name(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::ScalarSubquery(_) => Some("a scalar subquery in this place"),
        Expr::Exists(exists) => Some(if exists.negated { "NOT EXISTS in this place" } else { "EXISTS in this place" }),
        Expr::InSubquery(list) => {
            Some(if list.negated { "NOT IN with a subquery in this place" } else { "IN with a subquery in this place" })
        }
        Expr::SetComparison(_) => Some("ANY or ALL with a subquery in this place"),
        Expr::OuterReferenceColumn(..) => Some("a subquery that reads columns from outside in this way"),
        _ => None,
    }
}

fn refuse(expr: &Expr, name: impl Fn(&Expr) -> Option<&'static str>) -> Result<()> {
    let mut construct = None;
    let _ = expr.look(|inner| {
        construct = name(inner);
        Ok(if construct.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    construct.map_or(Ok(()), |construct| Err(unsupported(construct)))
}
