//! Columns from outside that a subquery reads: which they are, through any number of subqueries within it, and how they get other names.

use std::collections::BTreeMap;

use crate::plan::walk::{WalkPlan, WalkTree};
use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};
use std::sync::Arc;

/// Columns from outside, and what they are.
pub(super) type Outer = BTreeMap<Column, FieldRef>;

/// The columns of outer queries that `plan` reads, also in subqueries within it.
pub(super) fn free(plan: &LogicalPlan) -> Outer {
    let mut found = Outer::new();
    collect(plan, &mut found);
    found
}

/// Whether a plan reads columns of outer queries.
pub(super) fn refers(plan: &LogicalPlan) -> bool {
    !free(plan).is_empty()
}

fn collect(plan: &LogicalPlan, found: &mut Outer) {
    let scope = scope(plan);
    let _ = plan.look_at_expressions(|expr| {
        found.extend(free_in(expr, &scope));
        Ok(TreeNodeRecursion::Continue)
    });
    match plan {
        LogicalPlan::Join(join) if lateral(&join.right).is_some() => {
            collect(&join.left, found);
            found.extend(free(&join.right).into_iter().filter(|(column, _)| !join.left.schema().has_column(column)));
        }
        other => other.inputs().into_iter().for_each(|input| collect(input, found)),
    }
}

/// The same of one expression over rows of `scope`.
pub(super) fn free_in(expr: &Expr, scope: &DFSchema) -> Outer {
    let mut found = Outer::new();
    let _ = expr.look(|inner| {
        match inner {
            Expr::OuterReferenceColumn(field, column) => drop(found.insert(column.clone(), Arc::clone(field))),
            other => {
                if let Some(subquery) = subquery_of(other) {
                    found.extend(free(&subquery.subquery).into_iter().filter(|(column, _)| !scope.has_column(column)));
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// What the expressions of a plan are over.
pub(super) fn scope(plan: &LogicalPlan) -> DFSchema {
    let mut scope = DFSchema::empty();
    plan.inputs().into_iter().for_each(|input| scope.merge(input.schema()));
    scope
}

/// The subquery that an expression is.
pub(super) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(list) => Some(&list.subquery),
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::SetComparison(comparison) => Some(&comparison.subquery),
        _ => None,
    }
}

/// The subquery of a LATERAL item.
pub(super) fn lateral(plan: &LogicalPlan) -> Option<&Subquery> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some(subquery),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some(subquery),
            _ => None,
        },
        _ => None,
    }
}

/// The plan with other names for columns from outside.
pub(super) fn renamed(plan: LogicalPlan, names: &BTreeMap<Column, (FieldRef, Column)>) -> DataFusionResult<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let scope = scope(&plan);
    let plan = plan.change_expressions(|expr| renamed_in(expr, &scope, names))?.data;
    // What the left side of a LATERAL calls so is another column.
    let hidden = match &plan {
        LogicalPlan::Join(join) if lateral(&join.right).is_some() => Some((Arc::clone(&join.right), Arc::clone(join.left.schema()))),
        _ => None,
    };
    let renamed = plan.map_children(|child| {
        let names = match &hidden {
            Some((right, left)) if right.as_ref() == &child => without(names, left),
            _ => names.clone(),
        };
        let child = renamed(child, &names)?;
        Ok(Transformed::yes(match child {
            LogicalPlan::Subquery(subquery) => LogicalPlan::Subquery(again(subquery)),
            other => other,
        }))
    })?;
    Ok(renamed.data)
}

/// The same for one expression over rows of `scope`.
fn renamed_in(expr: Expr, scope: &DFSchema, names: &BTreeMap<Column, (FieldRef, Column)>) -> DataFusionResult<Transformed<Expr>> {
    expr.change_up(|inner| match inner {
        Expr::OuterReferenceColumn(field, column) => Ok(match names.get(&column) {
            Some((field, name)) => Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), name.clone())),
            None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
        }),
        other if subquery_of(&other).is_some() => {
            let names = without(names, scope);
            with_subquery(other, |plan| renamed(plan, &names)).map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    })
}

/// The names that do not mean something else in `scope`.
pub(super) fn without(names: &BTreeMap<Column, (FieldRef, Column)>, scope: &DFSchema) -> BTreeMap<Column, (FieldRef, Column)> {
    names.iter().filter(|(column, _)| !scope.has_column(column)).map(|(column, name)| (column.clone(), name.clone())).collect()
}

/// A subquery expression over a changed plan.
pub(super) fn with_subquery(expr: Expr, change: impl FnOnce(LogicalPlan) -> DataFusionResult<LogicalPlan>) -> DataFusionResult<Expr> {
    let changed = |subquery: Subquery| -> DataFusionResult<Subquery> {
        let plan = change(Arc::unwrap_or_clone(Arc::clone(&subquery.subquery)))?;
        Ok(again(Subquery { subquery: Arc::new(plan), ..subquery }))
    };
    Ok(match expr {
        Expr::Exists(mut exists) => {
            exists.subquery = changed(exists.subquery)?;
            Expr::Exists(exists)
        }
        Expr::InSubquery(mut list) => {
            list.subquery = changed(list.subquery)?;
            Expr::InSubquery(list)
        }
        Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(changed(subquery)?),
        Expr::SetComparison(mut comparison) => {
            comparison.subquery = changed(comparison.subquery)?;
            Expr::SetComparison(comparison)
        }
        other => other,
    })
}

/// A subquery whose list of columns from outside is that of its plan.
fn again(subquery: Subquery) -> Subquery {
    let outer_ref_columns = subquery.subquery.all_out_ref_exprs();
    Subquery { outer_ref_columns, ..subquery }
}
