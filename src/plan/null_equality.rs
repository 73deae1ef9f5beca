//! Joins in which NULLs are equal, kept apart from those in which they are not.
//!
//! A join in DataFusion says once for all its keys whether NULLs match. Two of its rules forget that: one makes keys of `=` in the condition of a
//! join whose NULLs match, the other reorders inner joins and gives all of them what the topmost says. Here they leave such joins alone: an
//! `=` stays in the condition, and joins stay in the order in which they were written.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::walk::WalkTree;

/// The rules that forget, by their names, and what stands in for them.
pub(super) fn minding_nulls(rule: Arc<dyn OptimizerRule + Send + Sync>) -> Arc<dyn OptimizerRule + Send + Sync> {
    match rule.name() {
        "extract_equijoin_predicate" => Arc::new(KeysOfJoins),
        "eliminate_cross_join" => Arc::new(OrderOfJoins),
        _ => rule,
    }
}

/// Makes keys of equalities, but not for a join in which NULLs are equal.
#[derive(Debug)]
pub(super) struct KeysOfJoins;

/// Puts inner joins in an order, but not where NULLs are equal in one of them.
#[derive(Debug)]
pub(super) struct OrderOfJoins;

impl OptimizerRule for KeysOfJoins {
    fn name(&self) -> &'static str {
        "keys_of_joins"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        let done = matches!(&plan, LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty());
        if done { Ok(Transformed::no(plan)) } else { ExtractEquijoinPredicate::new().rewrite(plan, config) }
    }
}

impl OptimizerRule for OrderOfJoins {
    fn name(&self) -> &'static str {
        "order_of_joins"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        let equal_nulls = |node: &LogicalPlan| {
            Ok(matches!(node, LogicalPlan::Join(join)
                if join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty()))
        };
        if plan.has(equal_nulls)? { Ok(Transformed::no(plan)) } else { EliminateCrossJoin::new().rewrite(plan, config) }
    }
}
