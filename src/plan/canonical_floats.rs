//! Floats have [one form](crate::types::canonical_floats): no expression gives -0.0, nor a NaN other than the one NaN, in queries and views alike, and
//! rows never hold them.
//!
//! Keys take -0.0 and 0.0 for one number, and all NaNs, as PostgreSQL does. `1 / x` and `x::text` would tell them apart, and which of the two stands for
//! equal rows would depend on their order; to Arrow a NaN whose sign is set is another one, and less than all numbers. So whatever may give them where no
//! operand is one (functions, remainders, a changed sign) is an argument of a function that gives the one form. It stands in the expression itself, so that
//! it matters to nobody which expressions are put into others when a plan is optimised.
//!
//! Aggregates and windows are DataFusion's own in queries that run once: there a projection above them does it. A view's operators do it by themselves.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::checked::is_checked;
use super::walk::WalkPlan;
use crate::types::canonical_floats;

/// Functions of floats that give -0.0 or another NaN only if they are given it.
const KEEPING: [&str; 12] =
    ["abs", "array_element", "coalesce", "exp", "get_field", "greatest", "ifnull", "least", "nullif", "nvl", "nvl2", "random"];

/// An expression in the one form, if its operands are.
pub(super) fn with_canonical_floats(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let float = |expr: &Expr| -> DataFusionResult<Option<DataType>> { Ok(Some(type_of(expr, schema)?).filter(DataType::is_floating)) };
    let other = match &expr {
        Expr::Literal(value, _) => return Ok(canonical_literal(value).map_or_else(|| Transformed::no(expr), Transformed::yes)),
        // It stays a constant, for those who ask for one.
        Expr::Negative(inner) if matches!(inner.as_ref(), Expr::Literal(value, _) if is_zero(value)) => {
            return Ok(Transformed::yes(inner.as_ref().clone()));
        }
        Expr::Negative(inner) if matches!(inner.as_ref(), Expr::Literal(..)) => None,
        Expr::Negative(inner) => float(inner)?,
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_arithmetic(*op) && float(right)?.is_some() => float(left)?,
        // What is too small for a shorter float.
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Float32 && type_of(&cast.expr, schema)? == DataType::Float64 => {
            Some(DataType::Float32)
        }
        // Known without asking for its type, of which there may be thousands within each other.
        Expr::ScalarFunction(call) if !is_checked(call) && !KEEPING.contains(&call.func.name()) => float(&expr)?,
        _ => None,
    };
    Ok(match other {
        Some(data_type) => Transformed::yes(canonical(expr, data_type)),
        None => Transformed::no(expr),
    })
}

/// What the user wrote, of a call that gives it in the one form.
pub(super) fn as_written(call: &ScalarFunction) -> Option<&Expr> {
    call.args.first().filter(|_| call.func.inner().downcast_ref::<CanonicalFloat>().is_some())
}

/// The plan with floats in the one form behind its aggregates and windows, in subqueries too.
pub(super) fn aggregates_with_canonical_floats(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let changed = plan.change_all_up(|node| {
        let computed = match &node {
            LogicalPlan::Aggregate(aggregate) => aggregate.aggr_expr.len(),
            LogicalPlan::Window(window) => window.window_expr.len(),
            _ => return Ok(Transformed::no(node)),
        };
        let fields = node.schema().fields();
        let given = fields.len().saturating_sub(computed);
        if !fields.iter().skip(given).any(|field| field.data_type().is_floating()) {
            return Ok(Transformed::no(node));
        }
        let columns = node.schema().columns().into_iter().zip(fields).enumerate().map(|(place, (column, field))| {
            let (relation, name) = (column.relation.clone(), column.name.clone());
            match Expr::Column(column) {
                column if place < given || !field.data_type().is_floating() => column,
                column => canonical(column, field.data_type().clone()).alias_qualified(relation, name),
            }
        });
        let columns: Vec<Expr> = columns.collect();
        LogicalPlanBuilder::from(node).project(columns)?.build().map(Transformed::yes)
    });
    changed.map(|changed| changed.data)
}

/// The type of an expression. That of a call that gives the one form is known without a look at what stands within: there may be many of these within
/// each other.
fn type_of(expr: &Expr, schema: &DFSchema) -> DataFusionResult<DataType> {
    match expr {
        Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<CanonicalFloat>() {
            Some(known) => Ok(known.data_type.clone()),
            None => expr.get_type(schema),
        },
        other => other.get_type(schema),
    }
}

fn is_arithmetic(operator: Operator) -> bool {
    matches!(operator, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

fn canonical(expr: Expr, data_type: DataType) -> Expr {
    ScalarUDF::from(CanonicalFloat { data_type, signature: Signature::any(1, Volatility::Immutable) }).call(vec![expr])
}

/// Whether a literal is a float and zero.
fn is_zero(value: &ScalarValue) -> bool {
    matches!(value, ScalarValue::Float64(Some(value)) if *value == 0.0)
        || matches!(value, ScalarValue::Float32(Some(value)) if *value == 0.0)
}

/// 0.0 for a literal -0.0.
fn canonical_literal(value: &ScalarValue) -> Option<Expr> {
    let negative = match value {
        ScalarValue::Float64(Some(value)) => *value == 0.0 && value.is_sign_negative(),
        ScalarValue::Float32(Some(value)) => *value == 0.0 && value.is_sign_negative(),
        _ => false,
    };
    let zero = ScalarValue::new_zero(&value.data_type()).ok().filter(|_| negative)?;
    Some(Expr::Literal(zero, None))
}

/// A float in the one form.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CanonicalFloat {
    /// Of the argument and the result.
    data_type: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for CanonicalFloat {
    fn name(&self) -> &'static str {
        "canonical_float"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.data_type.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.data_type.clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(match &args.args[0] {
            ColumnarValue::Array(values) => ColumnarValue::Array(canonical_floats(Arc::clone(values))),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(ScalarValue::try_from_array(&canonical_floats(value.to_array()?), 0)?),
        })
    }
}
