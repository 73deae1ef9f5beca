//! The session's time zone in a query: what turns an instant into local time, or local time into an instant, is told which zone that is.
//!
//! Runs over analysed, strict expressions, in which all casts can be seen. In: expressions that mean UTC. Out: the same with calls of
//! functions that take a zone (`date_trunc('day', t)` → `date_trunc('day', t, ':Europe/Berlin')`).
//! Always: views and generated columns mean UTC, whoever reads them; they are marked, and left as they are.

use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, TableReference};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions::datetime::now::NowFunc;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF, lit};

use super::casts::text_input_in;
use super::map_named::map_named;
use super::names::hidden;
use super::scalar;
use super::walk::WalkPlan;
use crate::types::{SqlType, sql_type_of};

/// The plan of a view, marked: it means UTC.
pub(super) fn in_utc(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    LogicalPlanBuilder::from(plan).alias(mark())?.build()
}

/// An expression that the catalog keeps, marked: it means UTC.
pub(super) fn expression_in_utc(expr: Expr) -> Expr {
    expr.alias(mark())
}

/// The plan with `zone` for the session's, in subqueries too.
pub(super) fn in_zone(plan: LogicalPlan, zone: Tz) -> DataFusionResult<LogicalPlan> {
    if zone == Tz::UTC {
        return Ok(plan);
    }
    let done = plan.change_all_down(|node| {
        if matches!(&node, LogicalPlan::SubqueryAlias(alias) if alias.alias == TableReference::bare(mark())) {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let schema = merge_schema(&node.inputs());
        map_named(node, |expr| zoned(expr, &schema, zone))
    })?;
    done.data.recompute_schema()
}

/// An expression over columns of `schema` with `zone` for the session's.
pub(super) fn expression_in_zone(expr: Expr, schema: &DFSchema, zone: Tz) -> DataFusionResult<Expr> {
    if zone == Tz::UTC { Ok(expr) } else { zoned(expr, schema, zone).map(|done| done.data) }
}

fn mark() -> String {
    hidden("utc", 0)
}

fn zoned(expr: Expr, schema: &DFSchema, zone: Tz) -> DataFusionResult<Transformed<Expr>> {
    if matches!(&expr, Expr::Alias(alias) if alias.name == mark()) {
        return Ok(Transformed::no(expr));
    }
    let within = expr.map_children(|child| zoned(child, schema, zone))?;
    within.transform_data(|expr| {
        let new = match &expr {
            Expr::Cast(cast) => cast_in_zone(cast, schema, zone)?,
            Expr::ScalarFunction(call) => call_in_zone(call, schema, zone)?,
            _ => None,
        };
        Ok(new.map_or_else(|| Transformed::no(expr), Transformed::yes))
    })
}

/// The zone's name as the functions take it, never as an abbreviation.
fn name_of(zone: Tz) -> Expr {
    lit(format!(":{}", zone.name()))
}

fn cast_in_zone(cast: &Cast, schema: &DFSchema, zone: Tz) -> DataFusionResult<Option<Expr>> {
    let (_, from) = cast.expr.to_field(schema)?;
    let cast_to = |value: Expr, target: &SqlType| Expr::Cast(Cast::new_from_field(Box::new(value), Arc::new(target.field("", true))));
    let as_field = |value: Expr| Expr::Cast(Cast::new_from_field(Box::new(value), Arc::clone(&cast.field)));
    let value = cast.expr.as_ref().clone();
    let instant = matches!(from.data_type(), DataType::Timestamp(_, Some(_)));
    Ok(match sql_type_of(&cast.field) {
        target @ (SqlType::Timestamp | SqlType::Date | SqlType::Time) if instant => {
            let local = scalar::call("timezone", vec![name_of(zone), cast_to(value, &SqlType::Timestamptz)]);
            // Comparisons cast to timestamps of other units: the field says which.
            let done = target == SqlType::Timestamp && *cast.field.data_type() == target.arrow();
            Some(if done { local } else { as_field(local) })
        }
        SqlType::Timestamptz if matches!(from.data_type(), DataType::Date32 | DataType::Timestamp(_, None)) => {
            let instant = scalar::call("timezone", vec![name_of(zone), cast_to(value, &SqlType::Timestamp)]);
            Some(if *cast.field.data_type() == SqlType::Timestamptz.arrow() { instant } else { as_field(instant) })
        }
        _ => None,
    })
}

fn call_in_zone(call: &ScalarFunction, schema: &DFSchema, zone: Tz) -> DataFusionResult<Option<Expr>> {
    if let Some(read) = text_input_in(call, zone) {
        return Ok(Some(read));
    }
    let is_instant = |place: usize| -> DataFusionResult<bool> {
        match call.args.get(place) {
            Some(argument) => Ok(matches!(argument.get_type(schema)?, DataType::Timestamp(_, Some(_)))),
            None => Ok(false),
        }
    };
    let with_zone = |name: &str| {
        let arguments = call.args.iter().cloned().chain([name_of(zone)]).collect();
        Some(scalar::call(name, arguments))
    };
    let name = call.func.name();
    Ok(match (name, call.args.len()) {
        ("extract" | "date_part" | "date_trunc", 2) if is_instant(1)? => with_zone(name),
        ("to_char" | "timestamp_add" | "timestamp_minus", 2) if is_instant(0)? => with_zone(name),
        ("text_output", 1) if is_instant(0)? => with_zone(name),
        ("to_timestamp", 2) | ("make_timestamptz", 6) => with_zone(name),
        ("overlaps", 4) if is_instant(0)? => {
            let mut ends = call.args.clone();
            for place in [1, 3].into_iter().filter(|place| !is_instant(*place).unwrap_or(true)) {
                ends[place] = scalar::call("timestamp_add", vec![ends[place - 1].clone(), ends[place].clone(), name_of(zone)]);
            }
            Some(scalar::call(name, ends))
        }
        ("age", 2) if is_instant(0)? => {
            let local = call.args.iter().map(|moment| scalar::call("timezone", vec![name_of(zone), moment.clone()]));
            Some(scalar::call("age", local.collect()))
        }
        ("concat" | "concat_ws" | "format" | "quote_literal" | "quote_nullable", _) => {
            let mut printed = call.args.clone();
            for (place, argument) in printed.iter_mut().enumerate() {
                if is_instant(place)? {
                    *argument = scalar::call("text_output", vec![argument.clone(), name_of(zone)]);
                }
            }
            Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), printed)))
        }
        ("current_date", 0) => Some(today(&SqlType::Date, zone)),
        ("current_time", 0) => Some(today(&SqlType::Time, zone)),
        _ => None,
    })
}

/// The day or the time of `now()` in a zone.
fn today(target: &SqlType, zone: Tz) -> Expr {
    let mut options = datafusion::common::config::ConfigOptions::new();
    options.execution.time_zone = Some("UTC".to_owned());
    let now = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(NowFunc::new_with_config(&options))), Vec::new()));
    let now = Expr::Cast(Cast::new_from_field(Box::new(now), Arc::new(SqlType::Timestamptz.field("", true))));
    let local = scalar::call("timezone", vec![name_of(zone), now]);
    Expr::Cast(Cast::new_from_field(Box::new(local), Arc::new(target.field("", true))))
}
