//! Values whose order, or equality, is not that of their Arrow values: intervals of a month and of 30 days are equal, a jsonb of 9 stands below 10,
//! a NULL within an array above all else.
//!
//! Wherever such values are compared or put in order, keys are in their place, of which equal values have one and which Arrow sorts as
//! PostgreSQL sorts the values ([`order_key`](crate::types::order_key)):
//!
//! ```text
//! a = b, a IN (b), CASE a WHEN b, nullif(a, b)      ─▶  key(a) = key(b), …
//! a < b, a BETWEEN b AND c, a < ANY (SELECT b)      ─▶  key(a) < key(b), …
//! JOIN … USING (a), count(DISTINCT a), PARTITION BY a, ORDER BY a, DISTINCT ON (a): the same
//! GROUP BY a, DISTINCT                              ─▶  GROUP BY key(a), and min(a) for the value that is shown
//! min(a), max(a) of intervals                       ─▶  interval_at(min(interval_place(a)))
//! ```
//!
//! Functions of arrays, `greatest`, `mode` and the like take the keys themselves. Runs over strict expressions, whose types are settled. Names and
//! types of columns stay as they were.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::min_max::min_udaf;
use datafusion::logical_expr::expr::{
    AggregateFunction, InList, InSubquery, ScalarFunction, SetComparison, Sort as SortExpr, WindowFunction,
};
use datafusion::logical_expr::utils::{grouping_set_to_exprlist, merge_schema};
use datafusion::logical_expr::{
    Aggregate, Between, BinaryExpr, Case, Distinct, Expr, ExprSchemable, GroupingSet, LogicalPlan, LogicalPlanBuilder, Operator, Subquery,
    Window, WindowFunctionDefinition, when,
};

use super::aggregates::{distinct_array, ordered_text};
use super::casts::marked;
use super::errors::external;
use super::functions::undefined_function_of;
use super::map_named::map_named;
use super::names::hidden;
use super::scalar;
use super::walk::{WalkPlan, WalkTree};
use crate::types::{SqlType, sql_type_of};

/// The plan with keys wherever values are compared, in subqueries too. `42883` for the least and the greatest jsonb, which there are not.
pub(super) fn compare_by_keys(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let keyed = plan.change_all_up(|node| {
        let schema = merge_schema(&node.inputs());
        let node = map_named(node, |expr| expr.change_up(|inner| compared(inner, &schema)))?;
        node.transform_data(|node| match node {
            LogicalPlan::Aggregate(aggregate) => aggregated(aggregate),
            LogicalPlan::Window(window) => windowed(window),
            LogicalPlan::Distinct(Distinct::All(input)) if has_keys(input.schema()) => {
                let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
                grouped(Aggregate::try_new(input, columns, Vec::new())?)
            }
            LogicalPlan::Sort(mut sort) => {
                let changed = ordered(&mut sort.expr, sort.input.schema())?;
                Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
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

/// An expression over columns of `schema` with keys wherever values are compared.
pub(super) fn compare_by_keys_within(expr: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    expr.change_up(|inner| compared(inner, schema)).map(|keyed| keyed.data)
}

/// The function whose result stands for values of a type where equality is asked for; `None`: they stand for themselves.
fn equality_key(sql_type: &SqlType) -> Option<&'static str> {
    match sql_type {
        SqlType::Jsonb => Some("jsonb_key"),
        SqlType::Interval => Some("interval_length"),
        SqlType::Array(element) => equality_key(element).map(|_| "order_key"),
        SqlType::Struct(fields) => fields.iter().find_map(|(_, field)| equality_key(field)).map(|_| "order_key"),
        _ => None,
    }
}

/// The function whose result stands for values of a type where their order is asked for.
fn order_function(sql_type: &SqlType) -> Option<&'static str> {
    match sql_type {
        SqlType::Jsonb => Some("jsonb_order"),
        SqlType::Interval => Some("interval_length"),
        SqlType::Array(_) | SqlType::Struct(_) => Some("order_key"),
        _ => None,
    }
}

fn key_function(field: &Field) -> Option<&'static str> {
    equality_key(&sql_type_of(field))
}

fn key_of(expr: &Expr, schema: &DFSchema) -> DataFusionResult<Option<&'static str>> {
    Ok(key_function(&expr.to_field(schema)?.1))
}

fn order_of(expr: &Expr, schema: &DFSchema) -> DataFusionResult<Option<&'static str>> {
    Ok(order_function(&sql_type_of(&expr.to_field(schema)?.1)))
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

/// Puts keys in the place of what rows are sorted by; whether there is one.
fn ordered(order: &mut [SortExpr], schema: &DFSchema) -> DataFusionResult<bool> {
    let mut any = false;
    for by in order {
        let key = order_of(&by.expr, schema)?;
        by_key(&mut [&mut by.expr], key);
        any |= key.is_some();
    }
    Ok(any)
}

/// An expression that compares what it holds by keys.
fn compared(mut expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let changed = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_equality(*op) || is_order(*op) => {
            let of = if is_equality(*op) { key_of } else { order_of };
            let key = of(left, schema)?.or(of(right, schema)?);
            by_key(&mut [left.as_mut(), right.as_mut()], key);
            key.is_some()
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            let key = order_of(expr, schema)?;
            by_key(&mut [expr.as_mut(), low.as_mut(), high.as_mut()], key);
            key.is_some()
        }
        Expr::InList(InList { expr, list, .. }) => {
            let key = key_of(expr, schema)?;
            by_key(&mut [expr.as_mut()], key);
            by_key(&mut list.iter_mut().collect::<Vec<_>>(), key);
            key.is_some()
        }
        Expr::Case(Case { expr: Some(operand), when_then_expr, .. }) => {
            let key = key_of(operand, schema)?;
            by_key(&mut [operand.as_mut()], key);
            by_key(&mut when_then_expr.iter_mut().map(|(when, _)| when.as_mut()).collect::<Vec<_>>(), key);
            key.is_some()
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => in_subquery(expr, subquery, key_of(expr, schema)?)?,
        Expr::SetComparison(SetComparison { expr, subquery, op, .. }) => {
            let key = if is_equality(*op) { key_of(expr, schema)? } else { order_of(expr, schema)? };
            in_subquery(expr, subquery, key)?
        }
        Expr::ScalarFunction(call) => match in_call(call, schema)? {
            Some(new) => return Ok(Transformed::yes(new)),
            None => false,
        },
        Expr::AggregateFunction(call) => in_aggregate(call, schema)?,
        Expr::WindowFunction(call) => in_window(call, schema)?,
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

fn in_subquery(expr: &mut Expr, subquery: &mut Subquery, key: Option<&'static str>) -> DataFusionResult<bool> {
    let (Some(key), Some(column)) = (key, subquery.subquery.schema().columns().into_iter().next()) else { return Ok(false) };
    let name = column.name.clone();
    let keys = scalar::call(key, vec![Expr::Column(column)]).alias(name);
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).project([keys])?.build()?;
    *subquery = subquery.with_plan(Arc::new(plan));
    by_key(&mut [expr], Some(key));
    Ok(true)
}

/// What a function that compares its arguments becomes, if it is to compare them by keys.
fn in_call(call: &mut ScalarFunction, schema: &DFSchema) -> DataFusionResult<Option<Expr>> {
    let (name, Some(value)) = (call.func.name(), call.args.first()) else { return Ok(None) };
    Ok(match name {
        "nullif" if call.args.len() == 2 => {
            let Some(key) = key_of(value, schema)? else { return Ok(None) };
            let (_, field) = value.to_field(schema)?;
            let (value, other) = (value.clone(), call.args[1].clone());
            let equal = scalar::call(key, vec![value.clone()]).eq(scalar::call(key, vec![other]));
            let none = Expr::Literal(ScalarValue::try_new_null(field.data_type())?, None);
            let result = when(equal, none).otherwise(value)?;
            let sql_type = sql_type_of(&field);
            Some(if sql_type == SqlType::Jsonb { marked(result, &sql_type) } else { result })
        }
        "greatest" | "least" if order_of(value, schema)?.is_some() => {
            let name = if name == "greatest" { "greatest_in_order" } else { "least_in_order" };
            Some(scalar::call(name, std::mem::take(&mut call.args)))
        }
        _ => None,
    })
}

fn in_aggregate(call: &mut AggregateFunction, schema: &DFSchema) -> DataFusionResult<bool> {
    let params = &mut call.params;
    if params.distinct && call.func.name() == "count" {
        let key = params.args.first().map(|argument| key_of(argument, schema)).transpose()?.flatten();
        by_key(&mut params.args.iter_mut().collect::<Vec<_>>(), key);
        return Ok(key.is_some());
    }
    if params.distinct && call.func.name() == "array_agg" {
        call.func = distinct_array();
        return Ok(true);
    }
    if call.func.name() == "string_agg" && (params.distinct || !params.order_by.is_empty()) {
        call.func = ordered_text();
        if !params.distinct {
            ordered(&mut params.order_by, schema)?;
        }
        return Ok(true);
    }
    if let ("arg_min" | "arg_max", [_, by]) = (call.func.name(), params.args.as_mut_slice()) {
        let key = order_of(by, schema)?;
        by_key(&mut [by], key);
        return Ok(key.is_some());
    }
    // Behind WITHIN GROUP stands the argument, and with DISTINCT nothing but arguments.
    if params.distinct || call.func.inner().supports_within_group_clause() { Ok(false) } else { ordered(&mut params.order_by, schema) }
}

fn in_window(call: &mut WindowFunction, schema: &DFSchema) -> DataFusionResult<bool> {
    let params = &mut call.params;
    let mut any = ordered(&mut params.order_by, schema)?;
    for by in &mut params.partition_by {
        let key = key_of(by, schema)?;
        by_key(&mut [by], key);
        any |= key.is_some();
    }
    Ok(any)
}

/// Puts places of intervals into the calls of `min` and `max` among expressions; which they are.
fn extremes_of_places(exprs: &mut [Expr], schema: &DFSchema) -> DataFusionResult<Vec<usize>> {
    let mut places = Vec::new();
    for (place, expr) in exprs.iter_mut().enumerate() {
        let (relation, name) = expr.qualified_name();
        let mut inner = &mut *expr;
        while let Expr::Alias(alias) = inner {
            inner = alias.expr.as_mut();
        }
        let (function, args) = match inner {
            Expr::AggregateFunction(call) => (call.func.name().to_owned(), &mut call.params.args),
            Expr::WindowFunction(call) => match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => (function.name().to_owned(), &mut call.params.args),
                WindowFunctionDefinition::WindowUDF(_) => continue,
            },
            _ => continue,
        };
        let ("min" | "max", [argument]) = (function.as_str(), args.as_mut_slice()) else { continue };
        match sql_type_of(&argument.to_field(schema)?.1) {
            SqlType::Interval => {
                by_key(&mut [argument], Some("interval_place"));
                let call = std::mem::take(expr);
                *expr = if call.qualified_name() == (relation.clone(), name.clone()) { call } else { call.alias_qualified(relation, name) };
                places.push(place);
            }
            sql_type @ SqlType::Jsonb => return Err(external(undefined_function_of(&function, &[sql_type]))),
            _ => {}
        }
    }
    Ok(places)
}

fn aggregated(mut aggregate: Aggregate) -> DataFusionResult<Transformed<LogicalPlan>> {
    let places = extremes_of_places(&mut aggregate.aggr_expr, aggregate.input.schema())?;
    if places.is_empty() {
        return grouped(aggregate);
    }
    let aggregate = Aggregate::try_new(aggregate.input, aggregate.group_expr, aggregate.aggr_expr)?;
    let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let places: Vec<usize> = places.into_iter().map(|place| groups + place).collect();
    from_places(grouped(aggregate)?.data, &places).map(Transformed::yes)
}

fn windowed(mut window: Window) -> DataFusionResult<Transformed<LogicalPlan>> {
    let places = extremes_of_places(&mut window.window_expr, window.input.schema())?;
    if places.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let width = window.input.schema().fields().len();
    let window = Window::try_new(window.window_expr, window.input)?;
    let places: Vec<usize> = places.into_iter().map(|place| width + place).collect();
    from_places(LogicalPlan::Window(window), &places).map(Transformed::yes)
}

/// The plan with intervals in the columns that hold places.
fn from_places(plan: LogicalPlan, places: &[usize]) -> DataFusionResult<LogicalPlan> {
    let columns = plan.schema().iter().enumerate().map(|(place, (qualifier, field))| {
        let column = Expr::Column(Column::from((qualifier, field)));
        if !places.contains(&place) {
            return column;
        }
        scalar::call("interval_at", vec![column]).alias_qualified(qualifier.cloned(), field.name())
    });
    let columns = columns.collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

fn is_order(op: Operator) -> bool {
    matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

fn is_equality(op: Operator) -> bool {
    matches!(op, Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
}

/// Groups by keys, each shown as the least of the values that it stands for; as NULL in the sets that do not have it.
fn grouped(aggregate: Aggregate) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = Arc::clone(aggregate.input.schema());
    let values: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
    let keys = values.iter().map(|expr| key_of(expr, &schema)).collect::<DataFusionResult<Vec<_>>>()?;
    if keys.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, group_expr, mut aggr_expr, schema: shown, .. } = aggregate;
    for (place, value) in values.iter().enumerate().filter(|(place, _)| keys[*place].is_some()) {
        aggr_expr.push(min_udaf().call(vec![value.clone().unalias()]).alias(hidden("least", place)));
    }
    let keyed = |expr: Expr| match values.iter().position(|value| *value == expr) {
        Some(place) => match keys[place] {
            Some(key) => scalar::call(key, vec![expr.unalias()]).alias(hidden("key", place)),
            None => expr,
        },
        None => expr,
    };
    let keyed_all = |exprs: Vec<Expr>| exprs.into_iter().map(keyed).collect::<Vec<_>>();
    let groups = group_expr.into_iter().map(|expr| match expr {
        Expr::GroupingSet(GroupingSet::Rollup(exprs)) => Expr::GroupingSet(GroupingSet::Rollup(keyed_all(exprs))),
        Expr::GroupingSet(GroupingSet::Cube(exprs)) => Expr::GroupingSet(GroupingSet::Cube(keyed_all(exprs))),
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
            Expr::GroupingSet(GroupingSet::GroupingSets(sets.into_iter().map(keyed_all).collect()))
        }
        expr => keyed(expr),
    });
    let groups: Vec<Expr> = groups.collect();
    let sets = groups.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
    let grouped = LogicalPlan::Aggregate(Aggregate::try_new(input, groups, aggr_expr)?);
    let columns = shown.iter().enumerate().map(|(place, (qualifier, field))| {
        let column = Expr::Column(Column::from(grouped.schema().qualified_field(place)));
        if keys.get(place).copied().flatten().is_none() {
            return Ok(column);
        }
        let mut least = Expr::Column(Column::new_unqualified(hidden("least", place)));
        if sets {
            let none = Expr::Literal(ScalarValue::try_new_null(field.data_type())?, None);
            least = when(column.is_null(), none).otherwise(least)?;
        }
        let value = if sql_type_of(field) == SqlType::Jsonb { marked(least, &SqlType::Jsonb) } else { least };
        Ok(value.alias_qualified(qualifier.cloned(), field.name()))
    });
    let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
    LogicalPlanBuilder::from(grouped).project(columns)?.build().map(Transformed::yes)
}
