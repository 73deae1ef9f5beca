//! EXISTS as a value: in a select list it becomes the mark of a mark join, as DataFusion makes it one in WHERE.
//!
//! And where an EXISTS came from a comparison with ANY or ALL, its condition `(…) IS TRUE` becomes the plain one: in WHERE they mean the same,
//! and an equality is found there.

use std::collections::BTreeSet;

use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, JoinType};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, lit};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::walk::{WalkPlan, WalkTree};

/// Makes mark joins of the EXISTS in select lists.
#[derive(Debug)]
pub(super) struct MarksInLists;

impl OptimizerRule for MarksInLists {
    fn name(&self) -> &'static str {
        "marks_in_lists"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        plan.change_all_up(|node| match node {
            LogicalPlan::Filter(mut filter) => {
                let mut changed = false;
                let terms = split_conjunction_owned(filter.predicate.clone()).into_iter().map(|term| match term {
                    Expr::IsTrue(inner) => {
                        changed = true;
                        *inner
                    }
                    other => other,
                });
                if let Some(plain) = conjunction(terms) {
                    filter.predicate = plain;
                }
                Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), changed))
            }
            LogicalPlan::Projection(projection) if projection.expr.iter().any(has_exists) => marked(projection, config.alias_generator()),
            other => Ok(Transformed::no(other)),
        })
    }
}

fn has_exists(expr: &Expr) -> bool {
    expr.has(|inner| Ok(matches!(inner, Expr::Exists(_)))).unwrap_or(false)
}

/// The projection over its input with a mark for each EXISTS; as it was, if one of them cannot become a join.
fn marked(projection: Projection, names: &AliasGenerator) -> DataFusionResult<Transformed<LogicalPlan>> {
    let mut input = projection.input.as_ref().clone();
    let mut exprs = Vec::with_capacity(projection.expr.len());
    for expr in &projection.expr {
        let name = expr.schema_name().to_string();
        let mut possible = true;
        let replaced = expr.clone().change_up(|inner| {
            let Expr::Exists(exists) = inner else { return Ok(Transformed::no(inner)) };
            match mark_join(&input, &exists, &names.next("__exists"))? {
                Some((plan, mark)) => {
                    input = plan;
                    Ok(Transformed::yes(if exists.negated { Expr::Not(Box::new(mark)) } else { mark }))
                }
                None => {
                    possible = false;
                    Ok(Transformed::no(Expr::Exists(exists)))
                }
            }
        })?;
        if !possible {
            return Ok(Transformed::no(LogicalPlan::Projection(projection)));
        }
        let same = !replaced.transformed || replaced.data.schema_name().to_string() == name;
        exprs.push(if same { replaced.data } else { replaced.data.alias(name) });
    }
    Ok(Transformed::yes(LogicalPlanBuilder::from(input).project(exprs)?.build()?))
}

/// `left` with a mark that says whether the subquery has a row, and the mark's column. `None`: it reads columns from outside in a place
/// from which they cannot be moved into the condition of a join.
fn mark_join(left: &LogicalPlan, exists: &Exists, alias: &str) -> DataFusionResult<Option<(LogicalPlan, Expr)>> {
    let mut pull_up = PullUpCorrelatedExpr::new().with_exists_sub_query(true);
    let right = exists.subquery.subquery.as_ref().clone().rewrite(&mut pull_up).data()?;
    if !pull_up.can_pull_up {
        return Ok(None);
    }
    let within: BTreeSet<Column> = pull_up.correlated_subquery_cols_map.values().flatten().cloned().collect();
    let right = LogicalPlanBuilder::from(right).alias(alias)?.build()?;
    let condition = match conjunction(pull_up.join_filters) {
        None => lit(true),
        // What the condition reads of the subquery is now known by the subquery's name.
        Some(condition) => condition
            .change_up(|inner| {
                Ok(match inner {
                    Expr::Column(column) if within.contains(&column) => {
                        Transformed::yes(Expr::Column(Column::new(Some(alias), column.name)))
                    }
                    other => Transformed::no(other),
                })
            })
            .data()?,
    };
    let plan = LogicalPlanBuilder::from(left.clone()).join_on(right, JoinType::LeftMark, Some(condition))?.build()?;
    Ok(Some((plan, Expr::Column(Column::new(Some(alias), "mark")))))
}
