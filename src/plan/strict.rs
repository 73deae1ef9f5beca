//! What PostgreSQL refuses and DataFusion would let pass, made errors: integers that leave their range (DataFusion wraps them around), and text
//! that is cast to a type whose values DataFusion keeps as any text or bytes.
//!
//! Runs over analysed expressions, where operands have one type. `+`, `-` and `*` of integers become calls of functions that check; a cast of text
//! to uuid, json, jsonb, bytea, an array or a struct reads the text by the type's rules, and an array or struct is written by those. Floats have
//! [one zero](super::zeros). Names and types of columns stay as they were. What
//! fails is an error for the row: constant folding leaves such a call alone, a query ends with it, a view has NULL and a row error.

use std::sync::Arc;

use arrow::array::Datum;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, Like, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit, when,
};

use super::arrays::nested_as_text;
use super::cut_text::{cut_text, has_length};
use super::functions::type_name;
use super::scalar;
use super::text_input::text_input;
use super::zeros::with_one_zero;
use crate::error::{Error, Kind};
use crate::types::{NUMERIC_DEFAULT, SqlType, sql_type_of};

/// The plan with strict expressions, in subqueries too.
pub(super) fn strict_plan(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let strict = plan.transform_up_with_subqueries(|node| {
        // The numbers of LIMIT are looked at as they are.
        if matches!(node, LogicalPlan::Limit(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(strict_within(expr, &schema)?.update_data(|expr| name.restore(expr)))
        })
    });
    strict.map(|done| done.data)
}

/// A strict expression over columns of `schema`.
pub(super) fn strict_expression(expr: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    strict_within(expr, schema).map(|done| done.data)
}

fn strict_within(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    expr.transform_up(|inner| strict(inner, schema)?.transform_data(|expr| with_one_zero(expr, schema)))
}

/// Whether a call is of an operator that checks, of integers.
pub(super) fn is_checked(call: &ScalarFunction) -> bool {
    call.func.inner().downcast_ref::<Checked>().is_some()
}

/// The operator, if `call` is one that checks: for showing it as the user wrote it.
pub(super) fn as_operator(call: &ScalarFunction) -> Option<Expr> {
    if call.func.name() == "numeric_to_float" {
        return Some(Expr::Cast(Cast::new(Box::new(call.args.first()?.clone()), DataType::Float64)));
    }
    let operation = call.func.inner().downcast_ref::<Checked>()?.operation;
    Some(match (operation.operator(), call.args.as_slice()) {
        (Some(operator), [left, right]) => Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), operator, Box::new(right.clone()))),
        (_, [only]) => Expr::Negative(Box::new(only.clone())),
        _ => return None,
    })
}

fn strict(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match Operation::of(op) {
            Some(operation) if is_integer(&type_of(&left, schema)?) && is_integer(&type_of(&right, schema)?) => {
                Ok(Transformed::yes(operation.call(vec![*left, *right])))
            }
            _ if op == Operator::Multiply && (is_zero(&left) || is_zero(&right)) => nothing(*left, *right, schema),
            _ => Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
        },
        Expr::Negative(value) if is_integer(&type_of(&value, schema)?) => Ok(Transformed::yes(Operation::Negate.call(vec![*value]))),
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
            if has_length(&target) && from != target {
                let text = Arc::new(SqlType::Text.field("", true));
                let text = strict(Expr::Cast(Cast { expr: value, field: text }), schema)?.data;
                return Ok(Transformed::yes(cut_text(text, &target)));
            }
            let value = match (&from, &target) {
                // What is in a jsonb is a number or a truth value, written as text.
                (SqlType::Jsonb, SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => {
                    scalar::call("round", vec![text_input(*value, &SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1))])
                }
                (SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(..), SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => {
                    scalar::call("round", vec![*value])
                }
                (SqlType::Numeric(..), SqlType::Float4 | SqlType::Float8) => scalar::call("numeric_to_float", vec![*value]),
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

fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_nested(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Struct(_) | DataType::Map(..))
}

/// Whether Arrow's own cast from text knows nothing of the type's rules.
fn is_read(target: &SqlType) -> bool {
    !matches!(target, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name | SqlType::CatalogChar | SqlType::Oid)
}

/// What is computed with a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Negate,
}

impl Operation {
    fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::Plus => Some(Operation::Add),
            Operator::Minus => Some(Operation::Subtract),
            Operator::Multiply => Some(Operation::Multiply),
            _ => None,
        }
    }

    fn operator(self) -> Option<Operator> {
        match self {
            Operation::Add => Some(Operator::Plus),
            Operation::Subtract => Some(Operator::Minus),
            Operation::Multiply => Some(Operator::Multiply),
            Operation::Negate => None,
        }
    }

    /// Appends the name of a call: for calls within calls in one go, not each by a name of its own that is copied into the next.
    fn write_name(self, arguments: &[Expr], name: &mut String) {
        match (self.operator(), arguments) {
            (Some(operator), [left, right]) => {
                write_name(left, name);
                name.push_str(&format!(" {operator} "));
                write_name(right, name);
            }
            _ => {
                name.push_str("(- ");
                arguments.iter().for_each(|argument| write_name(argument, name));
                name.push(')');
            }
        }
    }

    fn call(self, arguments: Vec<Expr>) -> Expr {
        let signature = Signature::any(arguments.len(), Volatility::Immutable);
        let function = ScalarUDF::from(Checked { operation: self, signature });
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), arguments))
    }
}

/// Appends the name of an expression.
fn write_name(expr: &Expr, name: &mut String) {
    let checked = match expr {
        Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Checked>().map(|checked| (checked.operation, &call.args)),
        _ => None,
    };
    match checked {
        Some((operation, arguments)) => operation.write_name(arguments, name),
        None => name.push_str(&expr.schema_name().to_string()),
    }
}

/// An operation on integers of one type whose result must fit into it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Add => "checked_add",
            Operation::Subtract => "checked_subtract",
            Operation::Multiply => "checked_multiply",
            Operation::Negate => "checked_negate",
        }
    }

    /// That of the operator in whose place it stands.
    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let mut name = String::new();
        self.operation.write_name(args, &mut name);
        Ok(name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arguments[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), args.arg_fields[0].data_type().clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let data = args.args.iter().map(datum).collect::<DataFusionResult<Vec<_>>>()?;
        let result = match (self.operation, data.as_slice()) {
            (Operation::Add, [left, right]) => numeric::add(left.as_ref(), right.as_ref()),
            (Operation::Subtract, [left, right]) => numeric::sub(left.as_ref(), right.as_ref()),
            (Operation::Multiply, [left, right]) => numeric::mul(left.as_ref(), right.as_ref()),
            (_, operands) => numeric::neg(operands[0].get().0),
        };
        let result = result.map_err(|error| match error {
            ArrowError::ArithmeticOverflow(_) => {
                let message = format!("{} out of range", type_name(args.return_field.data_type()));
                DataFusionError::External(Box::new(Error::new(Kind::NumericOutOfRange, message)))
            }
            other => other.into(),
        })?;
        Ok(if scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?) } else { ColumnarValue::Array(result) })
    }
}

fn datum(value: &ColumnarValue) -> DataFusionResult<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(values) => Box::new(Arc::clone(values)),
        ColumnarValue::Scalar(value) => Box::new(value.to_scalar()?),
    })
}
