//! What cannot be maintained yet, found before the optimiser turns it into something that the user would not recognise.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use crate::error::{Error, Result};
use crate::plan::expressions::refuse_volatile;

/// Refuses constructs by the names that SQL has for them.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    let _ = plan.apply_with_subqueries(|node| {
        refused = check_node(node).err();
        if refused.is_none() {
            let _ = node.apply_expressions(|expr| {
                refused = check_expression(expr).err();
                Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            });
        }
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    refused.map_or(Ok(()), Err)
}

/// `construct` cannot be in a view yet.
pub(super) fn unsupported(construct: &str) -> Error {
    Error::not_supported(format!("{construct} is not supported in a materialized view yet"))
        .hint("Leave it out of the view, and put it into the query that reads the view.")
}

/// What SQL calls a join that is not an inner one.
pub(super) fn join_name(join_type: JoinType, sets: bool) -> &'static str {
    match join_type {
        JoinType::Inner => "INNER JOIN",
        JoinType::Left => "LEFT JOIN",
        JoinType::Right => "RIGHT JOIN",
        JoinType::Full => "FULL JOIN",
        JoinType::LeftSemi | JoinType::RightSemi if sets => "INTERSECT",
        JoinType::LeftAnti | JoinType::RightAnti if sets => "EXCEPT",
        JoinType::LeftSemi | JoinType::RightSemi => "IN or EXISTS with a subquery",
        JoinType::LeftAnti | JoinType::RightAnti => "NOT IN or NOT EXISTS with a subquery",
        _ => "a condition on a subquery",
    }
}

fn check_node(node: &LogicalPlan) -> Result<()> {
    match node {
        LogicalPlan::Limit(_) => {
            Err(Error::not_supported("LIMIT is not supported in a materialized view yet: it needs the top-n operator")
                .hint("Leave LIMIT out of the view, and write it in the query that reads the view."))
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_some() => Err(unsupported("ORDER BY with LIMIT")),
        LogicalPlan::Window(window) => {
            let name = window.window_expr.iter().find_map(|expr| match expr {
                Expr::WindowFunction(call) => Some(call.fun.name().to_owned()),
                Expr::Alias(alias) => match alias.expr.as_ref() {
                    Expr::WindowFunction(call) => Some(call.fun.name().to_owned()),
                    _ => None,
                },
                _ => None,
            });
            Err(unsupported(&format!("the window function {}()", name.unwrap_or_default())))
        }
        LogicalPlan::Distinct(Distinct::On(_)) => Err(unsupported("DISTINCT ON")),
        LogicalPlan::RecursiveQuery(_) => Err(unsupported("WITH RECURSIVE")),
        LogicalPlan::Join(join) if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::Full) => {
            let sets = join.null_equality == datafusion::common::NullEquality::NullEqualsNull;
            Err(unsupported(join_name(join.join_type, sets)))
        }
        _ => Ok(()),
    }
}

fn check_expression(expr: &Expr) -> Result<()> {
    refuse_volatile(expr)?;
    let mut construct = None;
    let _ = expr.apply(|inner| {
        construct = match inner {
            Expr::ScalarSubquery(_) => Some("a scalar subquery"),
            Expr::Exists(exists) => Some(if exists.negated { "NOT EXISTS" } else { "EXISTS" }),
            Expr::InSubquery(list) => Some(if list.negated { "NOT IN with a subquery" } else { "IN with a subquery" }),
            Expr::SetComparison(_) => Some("ANY or ALL with a subquery"),
            Expr::GroupingSet(_) => Some("GROUPING SETS, ROLLUP or CUBE"),
            Expr::Placeholder(_) => Some("a parameter"),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    construct.map_or(Ok(()), |construct| Err(unsupported(construct)))
}
