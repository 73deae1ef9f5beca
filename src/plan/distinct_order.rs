//! `SELECT DISTINCT n … ORDER BY n + 1`: rows of which one stands for several are sorted by what is selected, and nothing else (`42P10`).
//!
//! DataFusion refuses columns that are not selected, lets expressions over those that are pass, and knows a selected expression again only if it
//! is over selected columns. So each becomes the name of its column (`by_names`), and what is left then is looked at (`check`).

use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use sqlparser::ast;
use sqlparser::ast::VisitorMut;

use super::errors::external;
use super::mistakes;
use super::walk::WalkPlan;
use crate::sql::WalkMut;

/// Sorts DISTINCT rows by the names of what is selected, in all queries within `query`, whose columns have names.
pub(super) fn by_names(query: &mut ast::Query) {
    let _ = query.walk_mut(&mut ByNames);
}

struct ByNames;

impl VisitorMut for ByNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        if let ast::SetExpr::Select(select) = query.body.as_ref()
            && matches!(select.distinct, Some(ast::Distinct::Distinct))
            && let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(order), .. }) = &mut query.order_by
        {
            let name_of = |by: &ast::Expr| {
                select.projection.iter().find_map(|item| match item {
                    ast::SelectItem::ExprWithAlias { expr, alias } if bare(expr) == bare(by) => Some(alias.clone()),
                    _ => None,
                })
            };
            for by in order.iter_mut().filter(|by| !matches!(by.expr, ast::Expr::Identifier(_) | ast::Expr::Value(_))) {
                if let Some(name) = name_of(&by.expr) {
                    by.expr = ast::Expr::Identifier(name);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// An expression without parentheses around it.
fn bare(expr: &ast::Expr) -> &ast::Expr {
    if let ast::Expr::Nested(inner) = expr { bare(inner) } else { expr }
}

/// Checks a plan as DataFusion made it of the text, in subqueries too.
pub(super) fn check(plan: &LogicalPlan) -> DataFusionResult<()> {
    let mut found = false;
    plan.look_at_all(|node| {
        if let LogicalPlan::Sort(sort) = node
            && let LogicalPlan::Distinct(Distinct::All(rows)) = sort.input.as_ref()
            && let LogicalPlan::Projection(selected) = rows.as_ref()
        {
            let is_selected = |by: Expr| matches!(by, Expr::Column(_)) || selected.expr.iter().any(|item| item.clone().unalias() == by);
            found |= !sort.expr.iter().all(|by| is_selected(by.expr.clone().unalias()));
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if found { Err(external(mistakes::not_selected())) } else { Ok(()) }
}
