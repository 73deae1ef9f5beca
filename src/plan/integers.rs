//! Integer literals are `integer` where they fit, as in PostgreSQL; DataFusion makes every one of them a `bigint`.
//!
//! Types are settled while DataFusion turns the AST into a plan, and it has no hook for literals. So a number is put into a call of a function
//! whose result is int4 (`mark`), the plan is made, and then the calls become literals again (`unmark`): of the same type and the same name, so
//! that nothing in the plan has to change with them. Where a number is not a value but an instruction (LIMIT 5, ORDER BY 1, a frame of 3 rows, the
//! digits of round()), it stays as it was. A number like 1e300, which no `numeric` of ours can hold, becomes a `double precision`.

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast;
use sqlparser::ast::VisitorMut;

use super::map_named::map_named;
use super::walk::{WalkPlan, WalkTree};
use super::written_call::written_call;
use crate::sql::WalkMut;

/// The name of the function. Cannot be typed by accident, and if it is: it makes integers of integers.
const INT4: &str = "tidemill_int4";

/// Functions whose result has the type of their arguments, so that the type of a literal shows. To all others a literal is given as before:
/// many want exactly a bigint, and some look at the literal itself.
const TRANSPARENT: &[&str] = &[
    "abs",
    "array_agg",
    "array_append",
    "array_contains",
    "array_has",
    "array_position",
    "array_prepend",
    "array_remove",
    "array_replace",
    "avg",
    "coalesce",
    "compare_all",
    "compare_any",
    "elements",
    "first_value",
    "generate_series",
    "greatest",
    "last_value",
    "least",
    "make_array",
    "max",
    "min",
    "named_struct",
    "nullif",
    "nvl",
    "row",
    "struct",
    "sum",
    "unnest",
];

/// Digits of the longest `numeric`.
const NUMERIC_DIGITS: i64 = 38;

/// The function that a marked number stands in.
static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::exact(vec![DataType::Int64], Volatility::Immutable);
    Arc::new(ScalarUDF::from(Int4 { signature }))
});

/// The function behind a marked number, by its name.
pub(super) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    (name == INT4).then(|| Arc::clone(&FUNCTION))
}

/// Marks the numbers of a query. With `assigned`, its rows go into a table: a bare number in VALUES takes its column's type anyway.
pub(super) fn mark(query: &mut ast::Query, assigned: bool) {
    let _ = query.walk_mut(&mut Marker);
    if assigned && let ast::SetExpr::Values(values) = query.body.as_mut() {
        values.rows.iter_mut().flat_map(|row| row.content.iter_mut()).for_each(plain);
    }
}

/// Marks the numbers of an expression.
pub(super) fn mark_expression(expr: &mut ast::Expr) {
    let _ = expr.walk_mut(&mut Marker);
}

/// Literals in the place of marked numbers, in subqueries too.
pub(super) fn unmark(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let unmarked = plan.change_all_up(|node| map_named(node, |expr| expr.change_up(literal)));
    unmarked.map(|done| done.data)
}

/// Literals in the place of marked numbers.
pub(super) fn unmark_expression(expr: Expr) -> DataFusionResult<Expr> {
    expr.change_up(literal).map(|done| done.data)
}

fn literal(expr: Expr) -> DataFusionResult<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
    match call.args.as_slice() {
        [Expr::Literal(value, _)] if call.func.name() == INT4 => {
            Ok(Transformed::yes(Expr::Literal(value.cast_to(&DataType::Int32)?, None)))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

struct Marker;

impl VisitorMut for Marker {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Value(value) if is_int4(&value.value) => {
                *expr = written_call(INT4, vec![std::mem::replace(expr, ast::Expr::value(ast::Value::Null))])
            }
            ast::Expr::Value(value) if is_beyond_numeric(&value.value) => double(expr),
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: inner } if is_marked(inner) => {
                plain(inner);
                *expr = written_call(INT4, vec![std::mem::replace(expr, ast::Expr::value(ast::Value::Null))]);
            }
            // A cast says itself which type is wanted.
            ast::Expr::Cast { expr: inner, .. } => plain(inner),
            ast::Expr::Interval(interval) => plain_throughout(&mut interval.value),
            ast::Expr::Function(function) => plain_function(function),
            ast::Expr::GroupingSets(sets) | ast::Expr::Cube(sets) | ast::Expr::Rollup(sets) => sets.iter_mut().flatten().for_each(plain),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
        if let ast::GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(plain);
        }
        if let Some(ast::Distinct::On(exprs)) = &mut select.distinct {
            exprs.iter_mut().for_each(plain);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        if let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(exprs), .. }) = &mut query.order_by {
            exprs.iter_mut().for_each(|by| plain(&mut by.expr));
        }
        match &mut query.limit_clause {
            Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value)).for_each(plain_throughout);
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => [offset, limit].into_iter().for_each(plain_throughout),
            None => {}
        }
        if let Some(quantity) = query.fetch.as_mut().and_then(|fetch| fetch.quantity.as_mut()) {
            plain_throughout(quantity);
        }
        ControlFlow::Continue(())
    }
}

/// Whether PostgreSQL reads a number as an integer. A minus is not part of the number: -2147483648 is a bigint.
fn is_int4(value: &ast::Value) -> bool {
    matches!(value, ast::Value::Number(digits, false) if digits.replace('_', "").parse::<i32>().is_ok())
}

/// Whether a number has an exponent with which it fits no `numeric` of ours.
fn is_beyond_numeric(value: &ast::Value) -> bool {
    let ast::Value::Number(text, false) = value else { return false };
    let Some((digits, exponent)) = text.split_once(['e', 'E']) else { return false };
    let digits = digits.bytes().filter(u8::is_ascii_digit).count() as i64;
    exponent.parse::<i64>().is_ok_and(|exponent| exponent.saturating_abs().saturating_add(digits) > NUMERIC_DIGITS)
}

/// Makes a number a `double precision`.
fn double(number: &mut ast::Expr) {
    let text = ast::Value::SingleQuotedString(number.to_string());
    *number = ast::Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(ast::Expr::value(text)),
        data_type: ast::DataType::DoublePrecision,
        array: false,
        format: None,
    };
}

/// Whether an expression is a mark.
fn is_marked(expr: &ast::Expr) -> bool {
    let ast::Expr::Function(function) = expr else { return false };
    matches!(function.name.0.as_slice(), [ast::ObjectNamePart::Identifier(name)] if name.value == INT4)
}

/// Whether a planned expression is a marked literal.
pub(super) fn is_int4_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == INT4 && matches!(call.args.as_slice(), [Expr::Literal(..)]))
}

/// Takes the mark off an expression that is nothing but a number.
fn plain(expr: &mut ast::Expr) {
    if is_marked(expr)
        && let ast::Expr::Function(function) = expr
        && let ast::FunctionArguments::List(list) = &mut function.args
        && let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(number))] = list.args.as_mut_slice()
    {
        let number = std::mem::replace(number, ast::Expr::value(ast::Value::Null));
        *expr = number;
    }
}

/// Takes all marks off.
fn plain_throughout(expr: &mut ast::Expr) {
    let _ = expr.walk_expressions_mut(|inner| {
        plain(inner);
        ControlFlow::<()>::Continue(())
    });
}

/// Takes the marks off a call's arguments, if their types do not show, and off its frame.
fn plain_function(function: &mut ast::Function) {
    if let Some(ast::WindowType::WindowSpec(spec)) = &mut function.over {
        plain_frame(spec);
    }
    // An aggregate is called after the whole text of its filter, in which a mark would show.
    if let Some(filter) = &mut function.filter {
        plain_throughout(filter);
    }
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_ascii_lowercase());
    if name.is_none_or(|name| name == INT4 || TRANSPARENT.contains(&name.as_str()) || super::scalar::shows_integers(&name)) {
        return;
    }
    let ast::FunctionArguments::List(list) = &mut function.args else { return };
    for argument in &mut list.args {
        if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value))
        | ast::FunctionArg::Named { arg: ast::FunctionArgExpr::Expr(value), .. }
        | ast::FunctionArg::ExprNamed { arg: ast::FunctionArgExpr::Expr(value), .. } = argument
        {
            plain(value);
        }
    }
}

fn plain_frame(spec: &mut ast::WindowSpec) {
    let Some(frame) = &mut spec.window_frame else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        if let ast::WindowFrameBound::Preceding(Some(rows)) | ast::WindowFrameBound::Following(Some(rows)) = bound {
            plain_throughout(rows);
        }
    }
}

/// An integer as int4.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Int4 {
    signature: Signature,
}

impl ScalarUDFImpl for Int4 {
    fn name(&self) -> &'static str {
        INT4
    }

    /// That of the literal which it becomes.
    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        match args {
            [Expr::Literal(ScalarValue::Int64(Some(number)), _)] => Ok(format!("Int32({number})")),
            _ => Ok(INT4.to_owned()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Int32)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(INT4, DataType::Int32, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(match &args.args[0] {
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.cast_to(&DataType::Int32)?),
            ColumnarValue::Array(values) => ColumnarValue::Array(cast(values, &DataType::Int32)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::mark;

    fn marked(sql: &str) -> String {
        let mut query = crate::plan::parse_query(sql).unwrap();
        mark(&mut query, false);
        query.to_string().replace(super::INT4, "i")
    }

    #[test]
    fn numbers_that_are_values_are_marked() {
        assert_eq!(marked("SELECT 1, -2, a + 3, 2147483648, 1.5"), "SELECT i(1), i(-2), a + i(3), 2147483648, 1.5");
        assert_eq!(marked("SELECT coalesce(a, 0), ARRAY[1] FROM (VALUES (1)) AS v (x)").matches("i(").count(), 3);
    }

    #[test]
    fn numbers_that_are_instructions_are_not() {
        for sql in [
            "SELECT a FROM t GROUP BY 1 ORDER BY 1 LIMIT 5 + 1 OFFSET 2",
            "SELECT round(a, 2), a::NUMERIC(5,1), 1::BIGINT, count(1) FROM t",
            "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING) FROM t",
        ] {
            assert_eq!(marked(sql).matches("i(").count(), 0, "{}", marked(sql));
        }
    }
}
