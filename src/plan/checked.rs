//! `+`, `-` and `*` of integers and floats, as functions that fail where the result leaves the type's range: DataFusion's operators wrap around, or
//! give an infinity or a zero that is none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum};
use arrow::compute::cast;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::errors::external;
use super::functions::type_name;
use crate::error::{Error, Kind};
use crate::types::canonical_floats;

/// `left op right`, of two integers or floats of one type; `op` is one of `+`, `-` and `*`.
pub(super) fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    match Operation::of(op) {
        Some(operation) => operation.call(vec![left, right]),
        None => Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))),
    }
}

/// `-value`, of an integer.
pub(super) fn negate(value: Expr) -> Expr {
    Operation::Negate.call(vec![value])
}

/// Whether a call is of an operator that checks, of integers.
pub(super) fn is_checked(call: &ScalarFunction) -> bool {
    call.func.inner().downcast_ref::<Checked>().is_some()
}

/// The operator, if `call` is one that checks: for showing it as the user wrote it.
pub(super) fn as_operator(call: &ScalarFunction) -> Option<Expr> {
    let operation = call.func.inner().downcast_ref::<Checked>()?.operation;
    Some(match (operation.operator(), call.args.as_slice()) {
        (Some(operator), [left, right]) => Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), operator, Box::new(right.clone()))),
        (_, [only]) => Expr::Negative(Box::new(only.clone())),
        _ => return None,
    })
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
        ScalarUDF::from(Checked { operation: self, signature }).call(arguments)
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
                external(Error::new(Kind::NumericOutOfRange, message))
            }
            other => other.into(),
        })?;
        let result = if result.data_type().is_floating() { in_range(self.operation, &data, &result).map_err(external)? } else { result };
        Ok(if scalar { ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?) } else { ColumnarValue::Array(result) })
    }
}

/// Floats that are what they should be, in the one form: infinite only if an operand is, and no product is zero of others than zeros.
fn in_range(operation: Operation, operands: &[Box<dyn Datum>], result: &ArrayRef) -> Result<ArrayRef, Error> {
    let [left, right] = operands else { return Ok(Arc::clone(result)) };
    let doubles = |datum: &dyn Datum| cast(datum.get().0, &DataType::Float64).map(|array| (array, datum.get().1));
    let product = operation == Operation::Multiply;
    let results = cast(result, &DataType::Float64)?;
    let results = results.as_primitive::<Float64Type>();
    let suspect = |value: f64| !value.is_finite() || (product && value == 0.0);
    if !results.values().iter().any(|value| suspect(*value)) {
        return Ok(Arc::clone(result));
    }
    let (left, right) = (doubles(left.as_ref())?, doubles(right.as_ref())?);
    let at = |(array, scalar): &(ArrayRef, bool), row: usize| array.as_primitive::<Float64Type>().value(if *scalar { 0 } else { row });
    for row in (0..results.len()).filter(|row| results.is_valid(*row)) {
        let (value, left, right) = (results.value(row), at(&left, row), at(&right, row));
        if value.is_infinite() && left.is_finite() && right.is_finite() {
            return Err(Error::new(Kind::NumericOutOfRange, "value out of range: overflow"));
        }
        if product && value == 0.0 && left != 0.0 && right != 0.0 {
            return Err(Error::new(Kind::NumericOutOfRange, "value out of range: underflow"));
        }
    }
    Ok(canonical_floats(Arc::clone(result)))
}

fn datum(value: &ColumnarValue) -> DataFusionResult<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(values) => Box::new(Arc::clone(values)),
        ColumnarValue::Scalar(value) => Box::new(value.to_scalar()?),
    })
}
