//! Joins in a subquery, for all combinations of outer values side by side: rows of both sides meet within a combination.
//!
//! Where one side reads no outer values, it meets the rows of every combination, unless the other one may be missing: then it must say for which
//! combinations that is so. The values come from the side that keeps its rows; of a full join, from whichever side is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, when};

use super::super::references::{lateral, refers, renamed, scope};
use super::{Domain, column};

impl Domain {
    /// The same join for each combination.
    pub(super) fn join(&self, old: &Join) -> DataFusionResult<LogicalPlan> {
        let is_lateral = lateral(&old.right).is_some();
        let right_refers = !is_lateral && refers(&old.right);
        let left_refers = is_lateral || refers(&old.left) || !right_refers;
        let kept = match old.join_type {
            JoinType::Inner => true,
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left_refers,
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right_refers,
            JoinType::Full => false,
        };
        // Where only the side that may be missing reads outer columns, the other side must say for which combinations it is missing.
        let (push_left, push_right) = match (left_refers, right_refers) {
            (left, right) if kept => (left, right),
            _ => (true, true),
        };
        let mut left = if push_left { self.push(&old.left)? } else { old.left.as_ref().clone() };
        let mut right = if push_right { self.push(&old.right)? } else { old.right.as_ref().clone() };
        // The outer values are those of the side that keeps its rows.
        let of_right = matches!(old.join_type, JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark);
        let mut on = old.on.clone();
        if push_left && push_right {
            let (other, plan) = if of_right { (&mut left, &old.left) } else { (&mut right, &old.right) };
            *other = self.with_other_names(plan, other)?;
            for name in self.all.as_ref().map_or_else(|| self.names().collect(), |(key, _)| vec![key]) {
                let names = if of_right { [other_name(name), name.clone()] } else { [name.clone(), other_name(name)] };
                on.push((column(&left, &names[0])?, column(&right, &names[1])?));
            }
        }
        if is_lateral {
            let mut names = BTreeMap::new();
            for value in &self.values {
                if let (Expr::OuterReferenceColumn(_, outer), Expr::Column(column)) = (&value.inner, column(&left, &value.name)?) {
                    names.insert(outer.clone(), (Arc::clone(left.schema().qualified_field_from_column(&column)?.1), column));
                }
            }
            names.retain(|outer, _| !old.left.schema().has_column(outer));
            right = renamed(right, &names)?;
        }
        let carrier = if push_left && !(of_right && push_right) { &left } else { &right };
        let scope = scope(&LogicalPlan::Join(old.clone()));
        let filter = old.filter.clone().map(|filter| self.within(filter, &scope, carrier)).transpose()?;
        let (left, right) = (Arc::new(left), Arc::new(right));
        let joined = Join::try_new(left, right, on, filter, old.join_type, old.join_constraint, old.null_equality, old.null_aware)
            .map(LogicalPlan::Join)?;
        if old.join_type == JoinType::Full { self.of_either_side(old, joined) } else { Ok(joined) }
    }

    /// A plan that carries the outer values, under other names for them.
    fn with_other_names(&self, plan: &LogicalPlan, pushed: &LogicalPlan) -> DataFusionResult<LogicalPlan> {
        let own = plan.schema().columns().into_iter().map(Expr::Column);
        let outer = self.names().map(|name| Ok(column(pushed, name)?.alias(other_name(name)))).collect::<DataFusionResult<Vec<_>>>()?;
        LogicalPlanBuilder::from(pushed.clone()).project(own.chain(outer))?.build()
    }

    /// A full join with the outer values of whichever side is there.
    fn of_either_side(&self, old: &Join, joined: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        let mut columns: Vec<Expr> = old.schema.columns().into_iter().map(Expr::Column).collect();
        for name in self.names() {
            let (left, right) = (column(&joined, name)?, column(&joined, &other_name(name))?);
            columns.push(when(left.clone().is_null(), right).otherwise(left)?.alias(name.clone()));
        }
        LogicalPlanBuilder::from(joined).project(columns)?.build()
    }
}

/// What an outer value is called on the side of a join from which it is not taken.
fn other_name(name: &str) -> String {
    format!("{name} of the other side")
}
