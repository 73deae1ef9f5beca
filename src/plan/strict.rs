//! What PostgreSQL refuses and DataFusion would let pass, made errors: integers and floats that leave their range, and text
//! that is cast to a type whose values DataFusion keeps as any text or bytes.
//!
//! Runs over analysed expressions, where operands have one type. `+`, `-` and `*` of them become calls of functions that check; a cast of text
//! to uuid, json, jsonb, bytea, an array or a struct reads the text by the type's rules, and an array or struct is written by those. Floats have
//! [one form](super::canonical_floats). Names and types of columns stay as they were. What
//! fails is an error for the row: constant folding leaves such a call alone, a query ends with it, a view has NULL and a row error.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Like, LogicalPlan, Operator, lit, when};

use super::arrow_kinds::{is_integer, is_nested, is_text};
use super::canonical_floats::with_canonical_floats;
use super::casts::{
    cast_rows, cut_text, double_to_real, each_element, float_to_numeric, has_length, has_rows, is_own_cast, nearest_float, nested_as_text,
    text_input,
};
use super::checked::{self, is_checked};
use super::map_named::map_named;
use super::scalar;
use super::walk::{WalkPlan, WalkTree};
use crate::types::{NUMERIC_DEFAULT, SqlType, sql_type_of};

/// The plan with strict expressions, in subqueries too.
pub(super) fn strict_plan(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let strict = plan.change_all_up(|node| {
        // The numbers of LIMIT are looked at as they are.
        if matches!(node, LogicalPlan::Limit(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&node.inputs());
        map_named(node, |expr| strict_within(expr, &schema))
    });
    strict.map(|done| done.data)
}

/// A strict expression over columns of `schema`.
pub(super) fn strict_expression(expr: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    strict_within(expr, schema).map(|done| done.data)
}

fn strict_within(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    expr.change_up(|inner| strict(inner, schema)?.transform_data(|expr| with_canonical_floats(expr, schema)))
}

fn strict(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Plus | Operator::Minus | Operator::Multiply if both_checked(&type_of(&left, schema)?, &type_of(&right, schema)?) => {
                Ok(Transformed::yes(checked::binary(*left, op, *right)))
            }
            _ if op == Operator::Multiply && (is_zero(&left) || is_zero(&right)) => nothing(*left, *right, schema),
            _ => Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
        },
        Expr::Negative(value) if is_integer(&type_of(&value, schema)?) => Ok(Transformed::yes(checked::negate(*value))),
        Expr::Cast(Cast { expr: value, field }) => {
            let target = sql_type_of(&field);
            let (_, from) = value.to_field(schema)?;
            if is_text(from.data_type())
                && !(sql_type_of(&from) == SqlType::Jsonb && is_integer(field.data_type()))
                && is_read(&target)
                && sql_type_of(&from) != target
            {
                return Ok(Transformed::yes(text_input(*value, &target)));
            }
            if is_text(field.data_type()) && is_nested(from.data_type()) {
                return Ok(Transformed::yes(nested_as_text(*value, &from)));
            }
            let from = sql_type_of(&from);
            if from != target && has_rows(&from) && has_rows(&target) {
                return cast_rows(*value, &from, &target).map(Transformed::yes);
            }
            if is_own_cast(&from, &target) {
                return Ok(Transformed::yes(each_element(*value, &from, &target)));
            }
            if has_length(&target) && from != target {
                let text = Arc::new(SqlType::Text.field("", true));
                let text = strict(Expr::Cast(Cast { expr: value, field: text }), schema)?.data;
                return Ok(Transformed::yes(cut_text(text, &target)));
            }
            let midnight = || Expr::Literal(ScalarValue::Time64Microsecond(Some(0)), None);
            let value = match (&from, &target) {
                (SqlType::Time, SqlType::Interval) => return Ok(Transformed::yes(scalar::call("time_subtract", vec![*value, midnight()]))),
                (SqlType::Interval, SqlType::Time) => return Ok(Transformed::yes(scalar::call("timestamp_add", vec![midnight(), *value]))),
                // What is in a jsonb is a number or a truth value, written as text.
                (SqlType::Jsonb, SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => {
                    scalar::call("round", vec![text_input(*value, &SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1))])
                }
                (SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(..), SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => {
                    scalar::call("round", vec![*value])
                }
                (SqlType::Numeric(..), SqlType::Float4 | SqlType::Float8) => return Ok(Transformed::yes(nearest_float(*value, &target))),
                (SqlType::Float4 | SqlType::Float8, SqlType::Numeric(..)) => {
                    return Ok(Transformed::yes(float_to_numeric(*value, &target)));
                }
                (SqlType::Float8, SqlType::Float4) => return Ok(Transformed::yes(double_to_real(*value))),
                (from, SqlType::Text | SqlType::Varchar(_)) if has_own_text(from) => scalar::call("text_output", vec![*value]),
                _ => return Ok(Transformed::no(Expr::Cast(Cast { expr: value, field }))),
            };
            Ok(Transformed::yes(Expr::Cast(Cast { expr: Box::new(value), field })))
        }
        Expr::SimilarTo(Like { negated, expr, pattern, escape_char, .. }) => {
            let escape = escape_char.map_or_else(|| "\\".to_owned(), String::from);
            let like = scalar::call("similar_to", vec![*expr, *pattern, lit(escape)]);
            Ok(Transformed::yes(if negated { Expr::Not(Box::new(like)) } else { like }))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Whether an operator is checked: both operands are integers, or floats of one type.
fn both_checked(left: &DataType, right: &DataType) -> bool {
    (is_integer(left) && is_integer(right)) || (left == right && matches!(left, DataType::Float32 | DataType::Float64))
}

/// `x * 0` of numerics, where DataFusion would put the 0 in the product's place, which is of another type.
fn nothing(left: Expr, right: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let product = Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), Operator::Multiply, Box::new(right.clone())));
    let data_type = product.get_type(schema)?;
    if !data_type.is_decimal() {
        return Ok(Transformed::no(product));
    }
    let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
    when(left.is_not_null().and(right.is_not_null()), zero).end().map(Transformed::yes)
}

/// Whether it is the number 0, perhaps in another type.
fn is_zero(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(cast) => is_zero(&cast.expr),
        Expr::Literal(value, _) => ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero == *value),
        _ => false,
    }
}

/// The type of an expression. That of a checked call is that of its first operand: DataFusion would name each call within calls to tell.
fn type_of(expr: &Expr, schema: &DFSchema) -> DataFusionResult<DataType> {
    let mut expr = expr;
    while let Expr::ScalarFunction(call) = expr
        && is_checked(call)
    {
        expr = &call.args[0];
    }
    expr.get_type(schema)
}

/// Whether PostgreSQL writes values of a type in another way than Arrow does.
fn has_own_text(sql_type: &SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Float4
            | SqlType::Float8
            | SqlType::Numeric(..)
            | SqlType::Date
            | SqlType::Time
            | SqlType::Timestamp
            | SqlType::Timestamptz
            | SqlType::Interval
            | SqlType::Bytea
    )
}

/// Whether Arrow's own cast from text knows nothing of the type's rules.
fn is_read(target: &SqlType) -> bool {
    !matches!(target, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name | SqlType::CatalogChar | SqlType::Oid)
}
