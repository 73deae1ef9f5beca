//! Quoted strings beside values of another type are values of that type, as PostgreSQL reads literals of type `unknown`.
//!
//! ```text
//! coalesce(d, '2024-01-01'), CASE … THEN d ELSE '2024-01-01' END, ARRAY[d, '2024-01-01']     the result has the type of d
//! d IN ('2024-01-01'), d BETWEEN …, nullif(d, …), CASE d WHEN …, d IS DISTINCT FROM …        what is compared with has it
//! lag(d, 1, '2024-01-01'), '2024-01-01' IN (SELECT d …), SELECT d … UNION SELECT '2024-01-01'
//! ```
//!
//! And what is no string makes a pair with another: `lag(i, 1, 0.5)` is a numeric.
//!
//! Types are settled while DataFusion turns the AST into a plan, and it takes every quoted string for a text. Where the string decides about the
//! type of a result, it is put into a call of a function without a type (`mark`); when the plan is made, and before DataFusion casts anything,
//! all such strings become values of the type of those beside them (`settle`). A string that is none of that type is an error of the statement.
//! What such a choice is between keeps its type: a CASE of jsonb is jsonb.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::{InList, InSubquery, ScalarFunction, SetComparison};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, ColumnarValue, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, Projection, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Union, Volatility,
};
use sqlparser::ast;
use sqlparser::ast::VisitorMut;

use super::arrow_kinds::one_value;
use super::casts::{marked, text_input};
use super::errors::external;
use super::expressions::is_literal;
use super::map_named::map_named;
use super::names::normal;
use super::parameters::is_open;
use super::plain_type::{literal_text, plain_type};
use super::walk::{WalkPlan, WalkTree};
use super::written_call::written_call;
use crate::sql::WalkMut;
use crate::types::{NUMERIC_DEFAULT, SqlType, parse_value, sql_type_of};

/// The name of the function. A user cannot type it by accident.
const OPEN: &str = "tidemill_open";

/// Digits of the widest numeric there is (`Decimal256`).
const DIGITS_MAX: usize = 76;

/// Functions whose result is, or holds, one of their arguments.
pub(super) const CHOOSING: [&str; 5] = ["coalesce", "greatest", "least", "nullif", "make_array"];

/// The function that a marked string stands in.
static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Open { signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable) })));

/// The function behind a marked string, by its name.
pub(super) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    (name == OPEN).then(|| Arc::clone(&FUNCTION))
}

/// Marks the strings of a query that other values give a type.
pub(super) fn mark(query: &mut ast::Query) {
    let _ = query.walk_mut(&mut Marker);
}

/// Marks the strings of an expression that other values give a type.
pub(super) fn mark_expression(expr: &mut ast::Expr) {
    let _ = expr.walk_mut(&mut Marker);
}

struct Marker;

impl VisitorMut for Marker {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Case { conditions, else_result, .. } => {
                mark_among(conditions.iter_mut().map(|arm| &mut arm.result).chain(else_result.as_deref_mut()).collect());
            }
            ast::Expr::IsDistinctFrom(left, right) | ast::Expr::IsNotDistinctFrom(left, right) => mark_among(vec![left, right]),
            ast::Expr::Function(function) if is_choosing(function) => {
                if let ast::FunctionArguments::List(list) = &mut function.args {
                    let values = list.args.iter_mut().filter_map(|argument| match argument {
                        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => Some(value),
                        _ => None,
                    });
                    mark_among(values.collect());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_choosing(function: &ast::Function) -> bool {
    matches!(function.name.0.as_slice(), [ast::ObjectNamePart::Identifier(name)] if CHOOSING.contains(&normal(name).as_str()))
}

/// Marks the strings among values of which at least one has a type.
fn mark_among(values: Vec<&mut ast::Expr>) {
    if values.iter().all(|value| is_literal(value)) {
        return;
    }
    for value in values {
        if is_quoted(value) {
            let string = std::mem::replace(value, ast::Expr::value(ast::Value::Null));
            *value = written_call(OPEN, vec![string]);
        }
    }
}

fn is_quoted(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_quoted(inner),
        ast::Expr::Value(value) => is_literal(expr) && !matches!(value.value, ast::Value::Null | ast::Value::Placeholder(_)),
        _ => false,
    }
}

/// The plan with values in the place of strings, in subqueries too.
pub(super) fn settle(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let changed = Cell::new(false);
    let settled = plan.change_all_up(|node| {
        let schema = merge_schema(&node.inputs());
        let node = map_named(node, |expr| expr.change_up(|inner| settled(inner, &schema)))?;
        let node = node.transform_data(columns_agree)?;
        changed.set(changed.get() | node.transformed);
        // What a column is may have been found out.
        if changed.get() { Ok(Transformed::yes(recomputed(node.data)?)) } else { Ok(node) }
    });
    settled.map(|done| done.data)
}

/// An expression over columns of `schema` with values in the place of strings.
pub(super) fn settle_expression(expr: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    expr.change_up(|inner| settled(inner, schema)).map(|done| done.data)
}

/// The node with the columns that its inputs have now.
pub(super) fn recomputed(node: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    match node {
        LogicalPlan::Union(union) => Ok(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?)),
        other => other.recompute_schema(),
    }
}

fn settled(mut expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let changed = match &mut expr {
        Expr::Case(case) => {
            let Case { expr: operand, when_then_expr, else_expr } = case;
            let (mut whens, mut results): (Vec<&mut Expr>, Vec<&mut Expr>) =
                when_then_expr.iter_mut().map(|(when, then)| (when.as_mut(), then.as_mut())).unzip();
            results.extend(else_expr.as_deref_mut());
            let (read, kept) = (among(&mut results, schema)?, kept_type(&results, schema));
            let compared = match operand {
                Some(operand) => {
                    whens.push(operand);
                    among(&mut whens, schema)?
                }
                None => false,
            };
            if let Some(kept) = kept {
                return Ok(Transformed::yes(marked(expr, &kept)));
            }
            read | compared
        }
        Expr::InList(InList { expr, list, .. }) => among(&mut std::iter::once(expr.as_mut()).chain(list).collect::<Vec<_>>(), schema)?,
        Expr::Between(Between { expr, low, high, .. }) => among(&mut [expr.as_mut(), low.as_mut(), high.as_mut()], schema)?,
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsDistinctFrom | Operator::IsNotDistinctFrom, right }) => {
            among(&mut [left.as_mut(), right.as_mut()], schema)?
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if CHOOSING.contains(&func.name()) => {
            let is_array = func.name() == "make_array";
            let mut values: Vec<&mut Expr> = args.iter_mut().collect();
            let read = among(&mut values, schema)?;
            if let Some(kept) = kept_type(&values, schema) {
                let kept = if is_array { SqlType::Array(Box::new(kept)) } else { kept };
                return Ok(Transformed::yes(marked(expr, &kept)));
            }
            read
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) | Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
            match (literal_text(expr), subquery.subquery.schema().fields().first()) {
                (Some(text), Some(column)) => {
                    let value = value_of(text, Some(&sql_type_of(column)))?;
                    let changed = value != **expr;
                    **expr = value;
                    changed
                }
                _ => false,
            }
        }
        Expr::WindowFunction(call) if matches!(call.fun.name(), "lag" | "lead") => match call.params.args.as_mut_slice() {
            [value, _, default] => among(&mut [value, default], schema)? | alike(value, default, schema),
            _ => false,
        },
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

/// Reads the strings among values as the others are; whether any is another expression now.
fn among(values: &mut [&mut Expr], schema: &DFSchema) -> DataFusionResult<bool> {
    if values.iter().all(|value| open_text(value).is_none()) {
        return Ok(false);
    }
    let wanted = common(values.iter().filter_map(|value| type_beside(value, schema)));
    let mut changed = false;
    for value in values {
        if let Some(text) = open_text(value) {
            let read = value_of(text, wanted.as_ref())?;
            changed |= read != **value;
            **value = read;
        }
    }
    Ok(changed)
}

/// Gives two values the type that both have together, if that is another one than theirs; whether it was.
fn alike(left: &mut Expr, right: &mut Expr, schema: &DFSchema) -> bool {
    let (Some(left_type), Some(right_type)) = (type_beside(left, schema), type_beside(right, schema)) else { return false };
    let scale = |sql_type: &SqlType| if let SqlType::Numeric(_, scale) = sql_type { *scale } else { 0 };
    let together = match common([left_type.clone(), right_type.clone()].into_iter()) {
        _ if left_type == right_type || has_room(&left_type, right) => return false,
        // Whole numbers may have more digits than a numeric has room for.
        Some(SqlType::Numeric(..)) => SqlType::Numeric(NUMERIC_DEFAULT.0, scale(&left_type).max(scale(&right_type))),
        Some(other) => other,
        None => return false,
    };
    for (value, sql_type) in [(left, left_type), (right, right_type)] {
        if sql_type != together {
            let field = Arc::new(together.field("", true));
            *value = Expr::Cast(Cast::new_from_field(Box::new(std::mem::take(value)), field));
        }
    }
    true
}

/// Whether a whole number is a value of this type, too.
fn has_room(sql_type: &SqlType, number: &Expr) -> bool {
    let Expr::Literal(value, _) = number else { return false };
    let value = match value {
        ScalarValue::Int32(Some(value)) => i64::from(*value),
        ScalarValue::Int64(Some(value)) => *value,
        _ => return false,
    };
    match sql_type {
        SqlType::Int2 => i16::try_from(value).is_ok(),
        SqlType::Int4 => i32::try_from(value).is_ok(),
        SqlType::Int8 => true,
        SqlType::Numeric(precision, scale) => {
            let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
            i64::from(digits) <= i64::from(*precision) - i64::from(*scale)
        }
        _ => false,
    }
}

/// The text of a quoted string, marked or not.
fn open_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == OPEN => call.args.first().and_then(literal_text),
        other => literal_text(other),
    }
}

/// The type of a value that has one: no string, NULL or open parameter.
pub(super) fn type_beside(expr: &Expr, schema: &DFSchema) -> Option<SqlType> {
    match expr {
        Expr::Literal(ScalarValue::Null, _) => None,
        _ if is_open(expr) => None,
        _ if open_text(expr).is_some() => None,
        Expr::Alias(alias) => type_beside(&alias.expr, schema),
        Expr::Case(case) => {
            let mut results = case.when_then_expr.iter().map(|(_, then)| then).chain(case.else_expr.iter());
            results.find_map(|result| type_beside(result, schema))
        }
        _ => plain_type(expr, schema).or_else(|| {
            let (_, field) = expr.to_field(schema).ok()?;
            (!field.data_type().is_null()).then(|| sql_type_of(&field))
        }),
    }
}

/// The type of the values, if it is one of which Arrow knows nothing: the result of a choice between them would lose it.
fn kept_type(values: &[&mut Expr], schema: &DFSchema) -> Option<SqlType> {
    let kept = common(values.iter().filter_map(|value| type_beside(value, schema)))?;
    is_kept(&kept).then_some(kept)
}

/// Whether Arrow knows nothing of a type.
pub(super) fn is_kept(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Jsonb | SqlType::Json | SqlType::Uuid)
}

/// The type that values of these types have together, as far as it is one that strings are read as.
pub(super) fn common(types: impl Iterator<Item = SqlType>) -> Option<SqlType> {
    let mut found: Option<SqlType> = None;
    for next in types {
        found = Some(match found {
            None => next,
            Some(known) if known == next => known,
            Some(known) => match (rank(&known)?, rank(&next)?) {
                ((one, low), (other, high)) if one == other => {
                    if high > low {
                        next
                    } else {
                        known
                    }
                }
                _ => return None,
            },
        });
    }
    found
}

/// Types that become each other, and which of two of them values of both become.
fn rank(sql_type: &SqlType) -> Option<(&'static str, u8)> {
    Some(match sql_type {
        SqlType::Int2 => ("number", 0),
        SqlType::Int4 => ("number", 1),
        SqlType::Int8 => ("number", 2),
        SqlType::Numeric(..) => ("number", 3),
        SqlType::Float4 => ("number", 4),
        SqlType::Float8 => ("number", 5),
        SqlType::Date => ("moment", 0),
        SqlType::Timestamp => ("moment", 1),
        SqlType::Timestamptz => ("moment", 2),
        _ => return None,
    })
}

/// A string as a value of a type; as the text that it is where that is wanted, or nobody says what is.
fn value_of(text: &str, wanted: Option<&SqlType>) -> DataFusionResult<Expr> {
    let string = || Expr::Literal(ScalarValue::Utf8(Some(text.to_owned())), None);
    let target = match wanted {
        None
        | Some(
            SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Char(_)
            | SqlType::Name
            | SqlType::CatalogChar
            | SqlType::Oid
            | SqlType::Struct(_),
        ) => return Ok(string()),
        Some(SqlType::Numeric(precision, scale)) => numeric_for(text, *precision, *scale),
        // What it means is known when the session's zone is.
        Some(SqlType::Timestamptz) => return Ok(text_input(string(), &SqlType::Timestamptz)),
        Some(other) => other.clone(),
    };
    let value = parse_value(&target, Some(text)).map_err(external)?;
    let literal = Expr::Literal(one_value(&value)?, None);
    let plain = target.field("", true).metadata().is_empty();
    Ok(if plain { literal } else { marked(literal, &target) })
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

/// Reads the strings that stand as columns of a UNION, INTERSECT or EXCEPT as the columns of its other inputs are.
fn columns_agree(node: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Union(mut union) => {
            if !inputs_agree(&mut union.inputs)? {
                return Ok(Transformed::no(LogicalPlan::Union(union)));
            }
            Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?)))
        }
        // What DataFusion makes of the other two: nothing else in a fresh plan compares whole rows so.
        LogicalPlan::Join(mut join)
            if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) && join.null_equality == NullEquality::NullEqualsNull =>
        {
            let mut inputs = [Arc::clone(&join.left), Arc::clone(&join.right)];
            if !inputs_agree(&mut inputs)? {
                return Ok(Transformed::no(LogicalPlan::Join(join)));
            }
            [join.left, join.right] = inputs;
            LogicalPlan::Join(join).recompute_schema().map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Reads the strings that stand as columns of `inputs` as the same columns of the others are; whether there is one.
fn inputs_agree(inputs: &mut [Arc<LogicalPlan>]) -> DataFusionResult<bool> {
    let width = inputs.iter().map(|input| input.schema().fields().len()).min().unwrap_or(0);
    let mut changed = false;
    for column in 0..width {
        let is_open = |input: &Arc<LogicalPlan>| column_text(input, column).is_some();
        if !inputs.iter().any(is_open) {
            continue;
        }
        let types = inputs.iter().filter(|input| !is_open(input)).filter_map(|input| {
            let field = input.schema().field(column);
            (!field.data_type().is_null()).then(|| sql_type_of(field))
        });
        let wanted = common(types);
        for input in inputs.iter_mut() {
            let Some(text) = column_text(input, column) else { continue };
            let value = value_of(text, wanted.as_ref())?;
            if literal_text(&value).is_none() {
                *input = Arc::new(with_column(input, column, value)?);
                changed = true;
            }
        }
    }
    Ok(changed)
}

/// The string that a column of a SELECT is.
fn column_text(plan: &LogicalPlan, column: usize) -> Option<&str> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut expr = projection.expr.get(column)?;
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            literal_text(expr)
        }
        LogicalPlan::Distinct(Distinct::All(input)) => column_text(input, column),
        _ => None,
    }
}

/// The SELECT with another value in a column, under the same name.
fn with_column(plan: &LogicalPlan, column: usize, value: Expr) -> DataFusionResult<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let name: Column = projection.schema.qualified_field(column).into();
            let mut exprs = projection.expr.clone();
            exprs[column] = value.alias_qualified(name.relation, name.name);
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(&projection.input))?))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(with_column(input, column, value)?))))
        }
        other => Ok(other.clone()),
    }
}

/// A string without a type yet. It is gone before anything is computed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Open {
    signature: Signature,
}

impl ScalarUDFImpl for Open {
    fn name(&self) -> &'static str {
        OPEN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Null)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal("a string has no type yet".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::mark;

    #[test]
    fn strings_are_open_beside_values_of_a_type() {
        let marked = |sql: &str| {
            let mut query = crate::plan::parse_query(sql).unwrap();
            mark(&mut query);
            query.to_string()
        };
        assert_eq!(marked("SELECT coalesce(d, 'x')"), "SELECT coalesce(d, tidemill_open('x'))");
        assert_eq!(marked("SELECT CASE WHEN a THEN 'x' ELSE d END"), "SELECT CASE WHEN a THEN tidemill_open('x') ELSE d END");
        assert_eq!(marked("SELECT coalesce('x', NULL, $1)"), "SELECT coalesce('x', NULL, $1)");
    }
}
