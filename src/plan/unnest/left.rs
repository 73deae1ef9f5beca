//! Which subqueries DataFusion's rules make the right join of: those are left to them.
//!
//! The rules move conditions with columns from outside upwards, out of the subquery and into the condition of the join. That keeps the meaning
//! only where nothing on the way looks at which rows there are: it may meet filters, inner joins, and the side of an outer join that
//! keeps its rows; projections and one aggregate at the top, if each condition says which value a column of the subquery has, as that column is grouped
//! by then. Everything else is for `push`.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Filter, LogicalPlan, Operator, Subquery};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

use super::references::{free, lateral, refers, scope, subquery_of};
use crate::plan::operands::clashes;
use crate::plan::walk::{WalkPlan, WalkTree};

/// What a subquery stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// One value.
    Value,
    /// Whether there is a row.
    Exists,
    /// All rows.
    Rows,
}

/// Whether a subquery is left as it is: it reads nothing from outside, or DataFusion's rules make the right join of it.
pub(super) fn is_left(plan: &LogicalPlan, wanted: Use) -> bool {
    !refers(plan) || (!reaches_deeper(plan) && !is_captured(plan) && is_plain(plan, wanted) && can_be_pulled(plan, wanted))
}

/// The same for a subquery of which a value is looked for: in what reads columns from outside, it must not be taken for one of the subquery's own.
pub(super) fn is_left_with(operand: &Expr, subquery: &Subquery) -> bool {
    let plan = &subquery.subquery;
    is_left(plan, Use::Exists) && !(refers(plan) && clashes(operand, plan))
}

/// Whether values of these types are the same wherever they are equal, once they are of one type.
pub(super) fn same_where_equal(left: &DataType, right: &DataType) -> bool {
    left == right || (left.is_integer() && right.is_integer())
}

/// Whether a subquery within `plan` reads columns from outside of `plan`.
fn reaches_deeper(plan: &LogicalPlan) -> bool {
    let deeper = plan.has(|node| {
        let scope = scope(node);
        let beyond = |subquery: &Subquery, scope: &DFSchema| free(&subquery.subquery).keys().any(|column| !scope.has_column(column));
        let mut found = match node {
            LogicalPlan::Join(join) => lateral(&join.right).is_some_and(|subquery| beyond(subquery, join.left.schema())),
            _ => false,
        };
        node.look_at_expressions(|expr| {
            found |= expr.has(|inner| Ok(subquery_of(inner).is_some_and(|subquery| beyond(subquery, &scope))))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    });
    deeper.unwrap_or(true)
}

/// Whether a column from outside would be taken for one of the subquery's own.
fn is_captured(plan: &LogicalPlan) -> bool {
    let outer = free(plan);
    plan.has(|node| Ok(outer.keys().any(|column| node.schema().has_column(column)))).unwrap_or(true)
}

/// The top of a subquery: what stands above an aggregate, if there is one.
fn is_plain(plan: &LogicalPlan, wanted: Use) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            // Of no rows, a total has a row. Only what is computed from it is found again when that row is made up.
            let computed = || projection.expr.iter().all(Expr::any_column_refs);
            is_plain(&projection.input, wanted) && (!has_total(&projection.input) || computed())
        }
        LogicalPlan::Distinct(Distinct::All(input)) => wanted == Use::Exists && is_plain(input, wanted),
        LogicalPlan::Aggregate(aggregate) => groups_plainly(aggregate, wanted),
        other => has_plain_rows(other),
    }
}

fn has_total(plan: &LogicalPlan) -> bool {
    plan.has(|node| Ok(matches!(node, LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty()))).unwrap_or(true)
}

/// Whether the values that columns of the input must have can be grouped by instead.
fn groups_plainly(aggregate: &Aggregate, wanted: Use) -> bool {
    let keys = &aggregate.group_expr;
    let fits = match wanted {
        Use::Value => keys.is_empty(),
        Use::Exists => !keys.is_empty(),
        Use::Rows => true,
    };
    let no_sets = !matches!(keys.as_slice(), [Expr::GroupingSet(_)]);
    let unequal = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Filter(filter) if !gives_values(filter)));
    fits && no_sets && has_plain_rows(&aggregate.input) && !aggregate.input.has(unequal).unwrap_or(true)
}

/// Whether every condition with columns from outside says what a column equals.
fn gives_values(filter: &Filter) -> bool {
    let schema = filter.input.schema();
    let same = |own: &Expr, outer: &Expr| {
        let types = (own.get_type(schema), outer.get_type(schema));
        matches!(own, Expr::Column(_))
            && !outer.any_column_refs()
            && matches!(types, (Ok(own), Ok(outer)) if same_where_equal(&own, &outer))
    };
    split_conjunction(&filter.predicate).into_iter().filter(|term| term.contains_outer()).all(|term| match term {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => same(left, right) || same(right, left),
        _ => false,
    })
}

/// Rows among which the conditions may as well choose later. What names its columns anew (a subquery in FROM) is not among them: the rules would
/// have to find the columns of a condition again by their names.
fn has_plain_rows(plan: &LogicalPlan) -> bool {
    match plan {
        plan if !refers(plan) => true,
        LogicalPlan::Filter(filter) => has_plain_terms(filter) && has_plain_rows(&filter.input),
        LogicalPlan::Join(join) if lateral(&join.right).is_none() => {
            let kept = match join.join_type {
                JoinType::Inner => true,
                JoinType::Left => !refers(&join.right),
                JoinType::Right => !refers(&join.left),
                _ => false,
            };
            kept && has_plain_rows(&join.left) && has_plain_rows(&join.right)
        }
        _ => false,
    }
}

/// Whether no condition that would be moved has a subquery in it, which would be out of place in a join.
fn has_plain_terms(filter: &Filter) -> bool {
    let has_subquery = |term: &Expr| term.has(|inner| Ok(subquery_of(inner).is_some())).unwrap_or(true);
    !split_conjunction(&filter.predicate).into_iter().any(|term| term.contains_outer() && has_subquery(term))
}

/// Whether the rules think so too, and give every column that they need a name that nothing else has.
fn can_be_pulled(plan: &LogicalPlan, wanted: Use) -> bool {
    let mut pull_up =
        PullUpCorrelatedExpr::new().with_exists_sub_query(wanted == Use::Exists).with_need_handle_count_bug(wanted != Use::Exists);
    let Ok(pulled) = plan.clone().rewrite(&mut pull_up).data() else { return false };
    let mut names = BTreeSet::new();
    let different = pulled.schema().fields().iter().all(|field| names.insert(field.name()));
    pull_up.can_pull_up && pull_up.pull_up_having_expr.is_none() && different
}
