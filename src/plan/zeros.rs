//! There is one zero: no expression gives -0.0, in queries and views alike, and rows never hold it.
//!
//! Keys take -0.0 and 0.0 for one number, as PostgreSQL does. `1 / x` and `x::text` would tell them apart, and which of the two stands for equal
//! rows would depend on their order. So whatever may give -0.0 where no operand is one (products, quotients, functions) is followed by `+ 0.0`:
//! that is 0.0 for both, and what it was for all other floats. It stands in the expression itself, so that it matters to nobody which
//! expressions are put into others when a plan is optimised.
//!
//! Aggregates are DataFusion's own in queries that run once, and may give a -0.0; and it sorts -0.0 before 0.0 (and takes them for one in
//! GROUP BY, DISTINCT and joins). So it is given `f + 0.0` to sort and partition by. A view's operators know by themselves.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use super::checked::is_checked;
use super::walk::WalkPlan;

/// Functions of floats that give -0.0 only if they are given it.
const KEEPING: [&str; 12] =
    ["abs", "array_element", "coalesce", "exp", "get_field", "greatest", "ifnull", "least", "nullif", "nvl", "nvl2", "random"];

/// An expression of which no operand gives -0.0, so that it does not either.
pub(super) fn with_one_zero(mut expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let is_float = match &expr {
        Expr::Literal(value, _) => return Ok(positive_literal(value).map_or_else(|| Transformed::no(expr), Transformed::yes)),
        Expr::Negative(inner) => match inner.as_ref() {
            // It stays a constant, for those who ask for one.
            Expr::Literal(value, _) if is_zero(value) => return Ok(Transformed::yes(inner.as_ref().clone())),
            Expr::Literal(..) => false,
            other => match float_type(other, schema)? {
                // The sign of a NaN would turn too, and a sort would take it for another one.
                Some(float) => {
                    let zero = Expr::Literal(ScalarValue::new_zero(&float)?, None);
                    let negated = BinaryExpr { left: Box::new(zero), op: Operator::Minus, right: inner.clone() };
                    return Ok(Transformed::yes(Expr::BinaryExpr(negated)));
                }
                None => false,
            },
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply | Operator::Divide | Operator::Modulo, right }) => {
            float_type(left, schema)?.is_some() && float_type(right, schema)?.is_some()
        }
        // What is too small for a shorter float.
        Expr::Cast(cast) => *cast.field.data_type() == DataType::Float32 && float_type(&cast.expr, schema)? == Some(DataType::Float64),
        // Known without asking for its type, of which there may be thousands within each other.
        Expr::ScalarFunction(call) if is_checked(call) => false,
        Expr::ScalarFunction(call) => !KEEPING.contains(&call.func.name()) && float_type(&expr, schema)?.is_some(),
        _ => false,
    };
    let changed = is_float && with_zero(&mut expr, schema);
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// The expression to which `with_one_zero` has added a zero: as the user wrote it.
pub(super) fn without_zero(added: &BinaryExpr) -> Option<&Expr> {
    let BinaryExpr { left, op: Operator::Plus, right } = added else { return None };
    matches!(right.as_ref(), Expr::Literal(value, _) if is_zero(value)).then_some(left)
}

/// The type of an expression, if it is a float.
fn float_type(expr: &Expr, schema: &DFSchema) -> DataFusionResult<Option<DataType>> {
    let data_type = match expr {
        // Known without a look at what stands within: there may be many of these within each other.
        Expr::BinaryExpr(added) if without_zero(added).is_some() => added.right.get_type(schema)?,
        other => other.get_type(schema)?,
    };
    Ok(data_type.is_floating().then_some(data_type))
}

/// Whether a literal is a float and zero.
fn is_zero(value: &ScalarValue) -> bool {
    matches!(value, ScalarValue::Float64(Some(value)) if *value == 0.0)
        || matches!(value, ScalarValue::Float32(Some(value)) if *value == 0.0)
}

/// 0.0 for a literal -0.0.
fn positive_literal(value: &ScalarValue) -> Option<Expr> {
    let negative = match value {
        ScalarValue::Float64(Some(value)) => *value == 0.0 && value.is_sign_negative(),
        ScalarValue::Float32(Some(value)) => *value == 0.0 && value.is_sign_negative(),
        _ => false,
    };
    let zero = ScalarValue::new_zero(&value.data_type()).ok().filter(|_| negative)?;
    Some(Expr::Literal(zero, None))
}

/// The plan with one zero in its sorts and windows, in subqueries too.
pub(super) fn order_with_one_zero(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let changed = plan.change_all_up(|node| match node {
        LogicalPlan::Sort(mut sort) => {
            let schema = sort.input.schema();
            let changed = sort.expr.iter_mut().map(|by| with_zero(&mut by.expr, schema)).fold(false, |any, one| any | one);
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
        }
        LogicalPlan::Window(window) => {
            let schema = std::sync::Arc::clone(window.input.schema());
            let node = LogicalPlan::Window(window);
            let names = NamePreserver::new_for_projection();
            node.change_expressions(|expr| {
                let name = names.save(&expr);
                Ok(window_with_zero(expr, &schema).update_data(|expr| name.restore(expr)))
            })
        }
        other => Ok(Transformed::no(other)),
    });
    changed.map(|changed| changed.data)
}

fn window_with_zero(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let mut inner = &mut expr;
    while let Expr::Alias(alias) = inner {
        inner = alias.expr.as_mut();
    }
    let Expr::WindowFunction(call) = inner else { return Transformed::no(expr) };
    let params = &mut call.params;
    let keys = params.partition_by.iter_mut().chain(params.order_by.iter_mut().map(|by| &mut by.expr));
    let changed = keys.map(|key| with_zero(key, schema)).fold(false, |any, one| any | one);
    Transformed::new_transformed(expr, changed)
}

/// Adds the zero, if the expression is a float.
fn with_zero(expr: &mut Expr, schema: &DFSchema) -> bool {
    let zero = match expr.get_type(schema) {
        Ok(DataType::Float64) => ScalarValue::Float64(Some(0.0)),
        Ok(DataType::Float32) => ScalarValue::Float32(Some(0.0)),
        _ => return false,
    };
    let inner = std::mem::take(expr);
    *expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(inner), Operator::Plus, Box::new(Expr::Literal(zero, None))));
    true
}
