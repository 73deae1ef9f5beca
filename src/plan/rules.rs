//! The optimiser rules. For views: DataFusion's own, without those that turn a plan into something that cannot be maintained, or not as well.
//!
//! Left out, and why:
//! - single_distinct_to_groupby: two aggregates in a row cost more state than one that counts each value once;
//! - eliminate_join: a semi join is the harder one to maintain;
//! - push_down_limit, eliminate_limit: there is no LIMIT in a view;
//! - filter_null_join_keys: joins drop NULL keys by themselves;
//! - extract_leaf_expressions, push_down_leaf_projections: they serve file readers.

use std::sync::Arc;

use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_group_by_constant::EliminateGroupByConstant;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use super::barrier::{BARRIERS, WINDOWS_SORTED};
use super::constant_filter::PushDownConditions;
use super::equal_windows::EqualWindows;
use super::marks::MarksInLists;
use super::node_rule::NodeRule;
use super::null_equality::{KeysOfJoins, OrderOfJoins, minding_nulls};
use super::subqueries::{OneValue, SubqueryMeaning};
use super::table_functions::{STREAM_SERIES, UnnestForgetsKeys};

/// The rules for queries that run once: DataFusion's own, behind what gives subqueries their meaning. Without single_distinct_to_groupby: its sums
/// of sums are of a wider numeric type than what HAVING compares them with.
pub(super) fn all() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> =
        vec![Arc::new(SubqueryMeaning), Arc::new(RewriteSetComparison::new()), Arc::new(MarksInLists)];
    for rule in Optimizer::new().rules.into_iter().filter(|rule| rule.name() != "single_distinct_aggregation_to_group_by") {
        // Both believe what is said of keys.
        if matches!(rule.name(), "eliminate_join" | "optimize_projections") {
            rules.push(Arc::new(UnnestForgetsKeys));
        }
        if rule.name() == CommonSubexprEliminate::new().name() {
            rules.push(Arc::new(EqualWindows));
        }
        rules.push(if rule.name() == PushDownConditions.name() { Arc::new(PushDownConditions) } else { minding_nulls(rule) });
    }
    rules
}

/// The rules for physical plans: series as streams and barriers, then DataFusion's own, without its last check. That one no longer finds an order that is there
/// once it has found out that one of its expressions follows from another (`ORDER BY k, abs(k / 2), b`), and refuses a plan that is right. And without
/// ProjectionPushdown and FilterPushdown, which find columns by their names, though both sides of a join may have one of that name. The filters that
/// the latter makes while a query runs would find nobody here who can use them.
pub(super) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let wrong = ["SanityCheckPlan", "ProjectionPushdown", "FilterPushdown", "FilterPushdown(Post)"];
    let own = PhysicalOptimizer::new().rules.into_iter().filter(|rule| !wrong.contains(&rule.name()));
    // First, while each unnest stands right above its lists.
    let rule = |rule: NodeRule| Arc::new(rule) as Arc<dyn PhysicalOptimizerRule + Send + Sync>;
    [STREAM_SERIES, BARRIERS].map(rule).into_iter().chain(own).chain([rule(WINDOWS_SORTED)]).collect()
}

/// The rules for views, in DataFusion's order, behind what gives subqueries their meaning.
pub(super) fn maintainable() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(SubqueryMeaning),
        Arc::new(OneValue),
        Arc::new(RewriteSetComparison::new()),
        Arc::new(MarksInLists),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(KeysOfJoins),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(OrderOfJoins),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownConditions),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(EqualWindows),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(UnnestForgetsKeys),
        Arc::new(OptimizeProjections::new()),
    ]
}
