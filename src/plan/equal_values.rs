//! Values that are equal though they are kept differently: numbers in a jsonb that differ in zeros at their end, intervals of a month and of 30 days.
//!
//! Wherever such values are compared, keys are compared in their place, of which equal values have one:
//!
//! ```text
//! a = b, a IN (b), CASE a WHEN b   ─▶  key(a) = key(b), …
//! JOIN … USING (a), a IN (SELECT …), count(DISTINCT a), PARTITION BY a: the same
//! GROUP BY a, DISTINCT             ─▶  GROUP BY key(a), and min(a) for the value that is shown
//! ```
//!
//! Runs over strict expressions, whose types are settled. Names and types of columns stay as they were.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::Column;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::min_max::min_udaf;
use datafusion::logical_expr::expr::{InList, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Aggregate, BinaryExpr, Case, Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator};

use super::casts::marked;
use super::names::hidden;
use super::scalar;
use crate::types::{SqlType, sql_type_of};

/// The plan with keys wherever values are compared, in subqueries too.
pub(super) fn compare_by_keys(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let keyed = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|inner| compared(inner, &schema))?.update_data(|expr| name.restore(expr)))
        })?;
        node.transform_data(|node| match node {
            LogicalPlan::Aggregate(aggregate) => grouped(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) if has_keys(input.schema()) => {
                let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
                grouped(Aggregate::try_new(input, columns, Vec::new())?)
            }
            LogicalPlan::Join(mut join) => {
                let mut changed = false;
                for (left, right) in &mut join.on {
                    let key = key_of(left, join.left.schema())?;
                    changed |= key.is_some();
                    by_key(&mut [left, right], key);
                }
                Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
            }
            other => Ok(Transformed::no(other)),
        })
    });
    keyed.map(|keyed| keyed.data)
}

/// The function whose result stands for values of a type; `None`: they stand for themselves.
fn key_function(field: &Field) -> Option<&'static str> {
    match sql_type_of(field) {
        SqlType::Jsonb => Some("jsonb_key"),
        SqlType::Interval => Some("interval_length"),
        _ => None,
    }
}

fn key_of(expr: &Expr, schema: &DFSchema) -> DataFusionResult<Option<&'static str>> {
    Ok(key_function(&expr.to_field(schema)?.1))
}

fn has_keys(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| key_function(field).is_some())
}

/// Puts calls of the function in the place of expressions.
fn by_key(exprs: &mut [&mut Expr], key: Option<&'static str>) {
    let Some(key) = key else { return };
    for expr in exprs {
        let value = std::mem::take(*expr);
        **expr = scalar::call(key, vec![value]);
    }
}

/// An expression that compares what it holds by keys.
fn compared(mut expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let key = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_equality(*op) => {
            let key = key_of(left, schema)?.or(key_of(right, schema)?);
            by_key(&mut [left.as_mut(), right.as_mut()], key);
            key
        }
        Expr::InList(InList { expr, list, .. }) => {
            let key = key_of(expr, schema)?;
            by_key(&mut [expr.as_mut()], key);
            by_key(&mut list.iter_mut().collect::<Vec<_>>(), key);
            key
        }
        Expr::Case(Case { expr: Some(operand), when_then_expr, .. }) => {
            let key = key_of(operand, schema)?;
            by_key(&mut [operand.as_mut()], key);
            by_key(&mut when_then_expr.iter_mut().map(|(when, _)| when.as_mut()).collect::<Vec<_>>(), key);
            key
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
            let key = key_of(expr, schema)?;
            if let (Some(key), Some(column)) = (key, subquery.subquery.schema().columns().into_iter().next()) {
                let name = column.name.clone();
                let keys = scalar::call(key, vec![Expr::Column(column)]).alias(name);
                let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).project([keys])?.build()?;
                *subquery = subquery.with_plan(Arc::new(plan));
                by_key(&mut [expr.as_mut()], Some(key));
            }
            key
        }
        Expr::AggregateFunction(call) if call.params.distinct && call.func.name() == "count" => {
            let key = call.params.args.first().map(|argument| key_of(argument, schema)).transpose()?.flatten();
            by_key(&mut call.params.args.iter_mut().collect::<Vec<_>>(), key);
            key
        }
        Expr::WindowFunction(call) => {
            let mut any = None;
            for by in &mut call.params.partition_by {
                let key = key_of(by, schema)?;
                by_key(&mut [by], key);
                any = any.or(key);
            }
            any
        }
        _ => None,
    };
    Ok(Transformed::new_transformed(expr, key.is_some()))
}

fn is_equality(op: Operator) -> bool {
    matches!(op, Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
}

/// Groups by keys, each shown as the least of the values that it stands for.
fn grouped(aggregate: Aggregate) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = Arc::clone(aggregate.input.schema());
    let sets = aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
    let keys = aggregate.group_expr.iter().map(|expr| if sets { Ok(None) } else { key_of(expr, &schema) });
    let keys = keys.collect::<DataFusionResult<Vec<_>>>()?;
    if keys.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, group_expr, mut aggr_expr, schema: shown, .. } = aggregate;
    let mut groups = Vec::with_capacity(group_expr.len());
    for (place, (expr, key)) in group_expr.into_iter().zip(&keys).enumerate() {
        groups.push(match key {
            None => expr,
            Some(key) => {
                let value = expr.unalias();
                aggr_expr.push(min_udaf().call(vec![value.clone()]).alias(hidden("least", place)));
                scalar::call(key, vec![value]).alias(hidden("key", place))
            }
        });
    }
    let grouped = LogicalPlan::Aggregate(Aggregate::try_new(input, groups, aggr_expr)?);
    let columns = shown.iter().enumerate().map(|(place, (qualifier, field))| {
        if keys.get(place).copied().flatten().is_none() {
            return Expr::Column(Column::from(grouped.schema().qualified_field(place)));
        }
        let least = Expr::Column(Column::new_unqualified(hidden("least", place)));
        let value = if sql_type_of(field) == SqlType::Jsonb { marked(least, &SqlType::Jsonb) } else { least };
        value.alias_qualified(qualifier.cloned(), field.name())
    });
    let columns = columns.collect::<Vec<_>>();
    LogicalPlanBuilder::from(grouped).project(columns)?.build().map(Transformed::yes)
}
