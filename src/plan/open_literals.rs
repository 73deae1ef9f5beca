//! Quoted strings that become one column, or one value, with values of another type: they are values of that type, as in PostgreSQL.
//!
//! `1 UNION SELECT '2'`, `coalesce(n, '0')`, `CASE WHEN … THEN n ELSE '0' END`: DataFusion would make texts of all of them. Runs while types are as
//! they were written. What cannot be read as a value of the type is `22P02`, also where no row would ever need it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Case, Cast, Expr, LogicalPlan, Projection, Union};

use super::errors::external;
use super::mismatch::{CHOOSING, is_read, of, of_column};
use crate::error::Result;
use crate::types::{NUMERIC_DEFAULT, SqlType, value_from_text};

/// Digits of the widest numeric there is (`Decimal256`).
const DIGITS_MAX: usize = 76;

/// The plan with quoted strings as values of the types beside them, in subqueries too.
pub(super) fn read_literals(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut changed = false;
    let read = plan.transform_up_with_subqueries(|node| {
        let node = if changed { node.recompute_schema()? } else { node };
        let read = match node {
            LogicalPlan::Union(union) => of_union(union)?,
            other => of_expressions(other)?,
        };
        if !read.transformed {
            return Ok(read);
        }
        changed = true;
        read.map_data(LogicalPlan::recompute_schema)
    });
    read.map(|done| done.data)
}

/// Those that are a whole column of one of the queries.
fn of_union(union: Union) -> DataFusionResult<Transformed<LogicalPlan>> {
    let width = union.inputs.iter().map(|input| input.schema().fields().len()).min().unwrap_or(0);
    let types: Vec<Option<SqlType>> =
        (0..width).map(|column| union.inputs.iter().find_map(|input| of_column(input, column)).filter(is_read)).collect();
    let mut inputs = Vec::with_capacity(union.inputs.len());
    let mut changed = false;
    for input in &union.inputs {
        let LogicalPlan::Projection(projection) = input.as_ref() else {
            inputs.push(Arc::clone(input));
            continue;
        };
        let mut exprs = projection.expr.clone();
        for (expr, sql_type) in exprs.iter_mut().zip(&types) {
            if let Some(sql_type) = sql_type
                && let Some(text) = literal(expr)
            {
                let name = expr.schema_name().to_string();
                *expr = as_value(&text, sql_type).map_err(external)?.alias(name);
                changed = true;
            }
        }
        inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(&projection.input))?)));
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}

/// Those that a CASE or a call chooses between.
fn of_expressions(node: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expr.transform_up(|inner| chosen(inner, &schema))?.update_data(|expr| name.restore(expr)))
    })
}

fn chosen(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    match expr {
        Expr::Case(mut case) => {
            let changed = beside_each_other(results(&mut case), schema)?;
            Ok(Transformed::new_transformed(Expr::Case(case), changed))
        }
        Expr::ScalarFunction(ScalarFunction { func, mut args }) if CHOOSING.iter().any(|(name, _)| *name == func.name()) => {
            let changed = beside_each_other(args.iter_mut().collect(), schema)?;
            Ok(Transformed::new_transformed(Expr::ScalarFunction(ScalarFunction { func, args }), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn results(case: &mut Case) -> Vec<&mut Expr> {
    let otherwise = case.else_expr.iter_mut().map(AsMut::as_mut);
    otherwise.chain(case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut())).collect()
}

/// Reads the literals among values that are to be of one type; whether there were any.
fn beside_each_other(values: Vec<&mut Expr>, schema: &DFSchema) -> DataFusionResult<bool> {
    let Some(sql_type) = values.iter().find_map(|value| of(value, schema)).filter(is_read) else { return Ok(false) };
    let mut changed = false;
    for value in values {
        if let Some(text) = literal(value) {
            *value = as_value(&text, &sql_type).map_err(external)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// The text of a quoted string.
fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Alias(alias) => literal(&alias.expr),
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text.clone()),
        _ => None,
    }
}

/// A quoted string beside a value of the type.
fn as_value(text: &str, sql_type: &SqlType) -> Result<Expr> {
    let target = match sql_type {
        SqlType::Numeric(precision, scale) => numeric_for(text, *precision, *scale),
        other => other.clone(),
    };
    value_from_text(&target, text)?;
    let text = Box::new(Expr::Literal(ScalarValue::from(text), None));
    Ok(Expr::Cast(Cast::new_from_field(text, Arc::new(target.field("", true)))))
}

/// A numeric that has room for the text and for values of `numeric(precision, scale)`: the text has as many digits as are written.
fn numeric_for(text: &str, precision: u8, scale: i8) -> SqlType {
    let digits = |part: &str| part.bytes().filter(u8::is_ascii_digit).count();
    let (before, behind) = text.split_once('.').unwrap_or((text, ""));
    let scale = digits(behind).max(usize::try_from(scale).unwrap_or(0));
    let width = digits(before).max(usize::from(precision)) + scale;
    match (u8::try_from(width.min(DIGITS_MAX)), i8::try_from(scale)) {
        (Ok(width), Ok(scale)) if usize::from(width) >= usize::try_from(scale).unwrap_or(0) && !text.contains(['e', 'E']) => {
            SqlType::Numeric(width, scale)
        }
        _ => SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1),
    }
}
