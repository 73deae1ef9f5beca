//! Temporal joins in logical plans: every left row with the row of a table as it is when the left row comes, or as it was at a time.
//!
//! The parser leaves one as a join whose condition has a mark: `temporal_join(time) AND a.k = b.k AND more`. In a view it becomes a node of its
//! own, which no rule looks into. A query that runs once has one time: `PROCTIME()` is the table as it is; what it was at other times is known
//! to views alone.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, JoinType, Result as DataFusionResult};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Extension, Join, LogicalPlan, Operator, UserDefinedLogicalNodeCore};

use super::as_of::is_of;
use super::errors::external;
use super::join_mark::{self, schema_of};
use super::proctime;
use super::walk::{WalkPlan, WalkTree};
use crate::error::Error;
use crate::sql::TEMPORAL_JOIN;

const HINT: &str = "Write a [LEFT] JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON a.k = t.k, with all columns of t's primary key; other conditions behind AND.";

/// A temporal join of a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TemporalJoin {
    pub(super) left: LogicalPlan,
    pub(super) right: LogicalPlan,
    /// Equal in both rows, left and right.
    pub(super) keys: Vec<(Expr, Expr)>,
    /// What else must be true of both.
    pub(super) condition: Option<Expr>,
    /// Of the left row; `None`: when it comes.
    pub(super) time: Option<Expr>,
    /// Left rows without a right row stay.
    pub(super) outer: bool,
    pub(super) schema: DFSchemaRef,
}

impl PartialOrd for TemporalJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for TemporalJoin {
    fn name(&self) -> &'static str {
        "TemporalJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.keys.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
        keys.chain(self.condition.clone()).chain(self.time.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(|(left, right)| format!("{left} = {right}")).collect();
        write!(f, "{} TemporalJoin: {}", if self.outer { "Left" } else { "Inner" }, keys.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DataFusionResult<Self> {
        let internal = || external(Error::internal("a temporal join lost a part"));
        let (Some(right), Some(left)) = (inputs.pop(), inputs.pop()) else { return Err(internal()) };
        let mut exprs = exprs.into_iter();
        let mut keys = Vec::with_capacity(self.keys.len());
        for _ in &self.keys {
            keys.push((exprs.next().ok_or_else(internal)?, exprs.next().ok_or_else(internal)?));
        }
        let condition = self.condition.as_ref().and_then(|_| exprs.next());
        let time = self.time.as_ref().and_then(|_| exprs.next());
        let schema = schema_of(&left, &right, self.outer)?;
        Ok(TemporalJoin { left, right, keys, condition, time, schema, outer: self.outer })
    }
}

/// A plain join in the place of every temporal one: tables as they are now. `0A000` for another time.
pub(super) fn without_temporal(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    replaced(plan, &|join, found| {
        if found.time.is_some() {
            let error = Error::not_supported("a query that runs once cannot join with rows as they were: tables keep the newest ones");
            return Err(external(error.hint("A materialized view keeps what it needs of them; or join ON a.k = t.k AND t.ts <= a.ts.")));
        }
        let keys = found.keys.into_iter().map(|(left, right)| left.eq(right));
        let filter = conjunction(keys.chain(found.condition));
        Ok(LogicalPlan::Join(Join { filter, ..join }))
    })
}

/// A node of its own in the place of every temporal join.
pub(super) fn with_temporal(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    replaced(plan, &|_, found| Ok(LogicalPlan::Extension(Extension { node: Arc::new(found) })))
}

fn replaced(plan: LogicalPlan, with: &dyn Fn(Join, TemporalJoin) -> DataFusionResult<LogicalPlan>) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.change_all_up(|node| match node {
        LogicalPlan::Join(join) => match join.filter.as_ref().filter(|filter| has_mark(filter)) {
            Some(filter) => {
                let found = understood(&join, filter)?;
                with(join, found).map(Transformed::yes)
            }
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        other => Ok(Transformed::no(other)),
    });
    replaced.map(|replaced| replaced.data)
}

fn has_mark(filter: &Expr) -> bool {
    let mut found = false;
    // The closure does not fail.
    let _ = filter.look(|inner| {
        found |= time_of(inner).is_some();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

fn time_of(term: &Expr) -> Option<&Expr> {
    join_mark::marked(term, TEMPORAL_JOIN)
}

/// What a condition says. `0A000` for one that says anything else.
fn understood(join: &Join, filter: &Expr) -> DataFusionResult<TemporalJoin> {
    let refused = |why: &str| external(Error::not_supported(format!("a temporal join {why}")).hint(HINT));
    let outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Err(refused("is an inner or a LEFT one: nobody knows of rows on the right without a row on the left")),
    };
    let (left, right) = (join.left.schema(), join.right.schema());
    let (mut keys, mut conditions, mut time) = (Vec::new(), Vec::new(), None);
    for term in split_conjunction(filter) {
        if let Some(found) = time_of(term) {
            time = Some(found.clone());
            continue;
        }
        match term {
            term if has_mark(term) => return Err(refused("with OR in its condition needs parentheses around that")),
            Expr::BinaryExpr(binary) if binary.op == Operator::Eq && is_of(&binary.left, left) && is_of(&binary.right, right) => {
                keys.push((binary.left.as_ref().clone(), binary.right.as_ref().clone()));
            }
            Expr::BinaryExpr(binary) if binary.op == Operator::Eq && is_of(&binary.left, right) && is_of(&binary.right, left) => {
                keys.push((binary.right.as_ref().clone(), binary.left.as_ref().clone()));
            }
            term => conditions.push(term.clone()),
        }
    }
    let time = match time {
        None => return Err(refused("with OR in its condition needs parentheses around that")),
        Some(Expr::ScalarFunction(call)) if call.name() == proctime::NAME => None,
        Some(time) if is_of(&time, left) => Some(time),
        Some(_) => return Err(refused("is as of PROCTIME(), or of a column of its left side")),
    };
    let (left, right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
    let schema = schema_of(&left, &right, outer)?;
    Ok(TemporalJoin { left, right, keys, condition: conjunction(conditions), time, outer, schema })
}
