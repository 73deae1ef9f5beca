//! What PostgreSQL refuses because types do not fit together, and DataFusion would make texts of: `1 = 'a'::text`, a UNION of integers and texts.
//!
//! Runs while types are as they were written. In: what is compared, or becomes one column. A value whose type is open (NULL, a quoted string, a
//! parameter without one) fits everything, and so does what only the catalogs have.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, Case, Cast, Expr, ExprSchemable, Like, LogicalPlan};

use super::casts::is_cast;
use super::functions::{type_name, undefined_function};
use super::parameters::is_open;
use super::walk::{WalkPlan, WalkTree};
use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, sql_type_of};

/// Functions whose result is, or holds, their arguments, and what messages call them.
const CHOOSING: [(&str, &str); 4] = [("coalesce", "COALESCE"), ("greatest", "GREATEST"), ("least", "LEAST"), ("make_array", "ARRAY")];

/// Types that fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Numbers of every kind.
    Number,
    /// Characters.
    Text,
    /// Truth values.
    Bool,
    /// Dates and timestamps.
    Moment,
    /// Lengths of time.
    Interval,
}

/// The family of a type; `None`: it fits what DataFusion says it fits.
fn family(sql_type: &SqlType) -> Option<Family> {
    Some(match sql_type {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(..) | SqlType::Float4 | SqlType::Float8 => Family::Number,
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) => Family::Text,
        SqlType::Bool => Family::Bool,
        SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz => Family::Moment,
        SqlType::Interval => Family::Interval,
        _ => return None,
    })
}

/// Refuses UNIONs, CASEs and calls of `coalesce` and its kin whose types do not fit together: `42804`.
pub(super) fn refuse_mismatches(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    let _ = plan.look_at_all(|node| {
        refused = of_node(node);
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    refused.map_or(Ok(()), Err)
}

fn of_node(node: &LogicalPlan) -> Option<Error> {
    if let LogicalPlan::Union(union) = node {
        let width = union.inputs.iter().map(|input| input.schema().fields().len()).min().unwrap_or(0);
        return (0..width).find_map(|column| together("UNION", union.inputs.iter().map(|input| of_column(input, column))));
    }
    let schema = merge_schema(&node.inputs());
    let mut refused = None;
    let _ = node.look_at_expressions(|expr| {
        expr.look(|inner| {
            refused = of_expression(inner, &schema);
            Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    });
    refused
}

fn of_expression(expr: &Expr, schema: &DFSchema) -> Option<Error> {
    match expr {
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let mut conditions = when_then_expr.iter().filter(|_| expr.is_none());
            if let Some(error) = conditions.find_map(|(when, _)| condition("CASE/WHEN", when, schema)) {
                return Some(error);
            }
            // PostgreSQL looks at the ELSE first.
            let results = else_expr.iter().map(AsRef::as_ref).chain(when_then_expr.iter().map(|(_, then)| then.as_ref()));
            together("CASE", results.map(|result| of(result, schema)))
        }
        Expr::InList(InList { expr, list, .. }) => list.iter().find_map(|value| operands(expr, "=", value, schema)),
        Expr::Cast(Cast { expr, field }) => {
            // A number that is cast is not marked as the integer that it is.
            let small = matches!(expr.as_ref(), Expr::Literal(ScalarValue::Int64(Some(number)), _) if i32::try_from(*number).is_ok());
            let (from, to) = (if small { SqlType::Int4 } else { of(expr, schema)? }, sql_type_of(field));
            (!is_cast(&from, &to)).then(|| {
                let [from, to] = [from, to].map(|sql_type| plain_name(&sql_type));
                Error::new(Kind::CannotCoerce, format!("cannot cast type {from} to {to}"))
            })
        }
        Expr::Between(Between { expr, low, high, .. }) => operands(expr, ">=", low, schema).or_else(|| operands(expr, "<=", high, schema)),
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            if let ("nullif", [left, right]) = (func.name(), args.as_slice()) {
                return operands(left, "=", right, schema);
            }
            let (_, shown) = CHOOSING.iter().find(|(name, _)| *name == func.name())?;
            together(shown, args.iter().map(|argument| of(argument, schema)))
        }
        Expr::IsTrue(value) => condition("IS TRUE", value, schema),
        Expr::IsNotTrue(value) => condition("IS NOT TRUE", value, schema),
        Expr::IsFalse(value) => condition("IS FALSE", value, schema),
        Expr::IsNotFalse(value) => condition("IS NOT FALSE", value, schema),
        Expr::IsUnknown(value) => condition("IS UNKNOWN", value, schema),
        Expr::IsNotUnknown(value) => condition("IS NOT UNKNOWN", value, schema),
        Expr::Like(like) => pattern(like, schema),
        // Only counts rows or values of one expression.
        Expr::AggregateFunction(call) if call.func.name() == "count" && call.params.args.len() > 1 => {
            let types = call.params.args.iter().map(|argument| argument.get_type(schema)).collect::<Result<Vec<_>, _>>().ok()?;
            let hint = "Count a row: count((a, b)), or count(DISTINCT (a, b)).";
            Some(undefined_function("count", &types).hint(hint))
        }
        Expr::AggregateFunction(call) => call.params.filter.as_ref().and_then(|filter| condition("FILTER", filter, schema)),
        Expr::WindowFunction(call) => call.params.filter.as_ref().and_then(|filter| condition("FILTER", filter, schema)),
        _ => None,
    }
}

/// The error, if LIKE or ILIKE stands between values that are no texts.
fn pattern(like: &Like, schema: &DFSchema) -> Option<Error> {
    let sides = [&like.expr, &like.pattern].map(|side| of(side, schema));
    // What has no family is left to DataFusion.
    if !sides.iter().flatten().any(|side| family(side).is_some_and(|found| found != Family::Text)) {
        return None;
    }
    let [left, right] = sides.map(|side| side.map_or_else(|| "unknown".to_owned(), |side| type_name(&side.arrow())));
    let op = match (like.negated, like.case_insensitive) {
        (false, false) => "~~",
        (true, false) => "!~~",
        (false, true) => "~~*",
        (true, true) => "!~~*",
    };
    Some(undefined_operator(&left, op, &right))
}

/// The error, if a condition is of a type that is not boolean.
fn condition(clause: &str, expr: &Expr, schema: &DFSchema) -> Option<Error> {
    let found = of(expr, schema).filter(|found| *found != SqlType::Bool)?;
    let message = format!("argument of {clause} must be type boolean, not type {}", type_name(&found.arrow()));
    Some(Error::new(Kind::DatatypeMismatch, message))
}

/// A type without what its values are cut to.
fn plain_name(sql_type: &SqlType) -> String {
    match sql_type {
        SqlType::Array(element) => format!("{}[]", plain_name(element).trim_end_matches("[]")),
        SqlType::Numeric(..) => "numeric".to_owned(),
        SqlType::Varchar(_) => "character varying".to_owned(),
        SqlType::Char(_) => "character".to_owned(),
        SqlType::Struct(_) => "record".to_owned(),
        other => other.to_string(),
    }
}

/// The error, if two operands are of different families.
fn operands(left: &Expr, op: &str, right: &Expr, schema: &DFSchema) -> Option<Error> {
    no_operator(&of(left, schema)?, op, &of(right, schema)?)
}

/// `operator does not exist`, if two types are of different families.
pub(super) fn no_operator(left: &SqlType, op: &str, right: &SqlType) -> Option<Error> {
    let differ = family(left)? != family(right)?;
    let [left, right] = [left, right].map(|sql_type| type_name(&sql_type.arrow()));
    differ.then(|| undefined_operator(&left, op, &right))
}

/// `operator does not exist`, between values of types of these names.
pub(super) fn undefined_operator(left: &str, op: &str, right: &str) -> Error {
    let error = Error::new(Kind::UndefinedFunction, format!("operator does not exist: {left} {op} {right}"));
    error.hint("No operator matches the given argument types. You might need to add explicit type casts.")
}

/// The error of a call of `coalesce` and its kin, or of `nullif`, with types of these names, of which two do not fit together.
pub(super) fn choosing_error(name: &str, types: &[&str]) -> Option<Error> {
    const NUMBERS: [&str; 6] = ["smallint", "integer", "bigint", "numeric", "real", "double precision"];
    let mut known = types.iter().filter(|found| **found != "unknown");
    let first = known.next()?;
    let fits = |other: &str| other == *first || (NUMBERS.contains(first) && NUMBERS.contains(&other));
    let other = known.find(|other| !fits(other))?;
    if name == "nullif" {
        return Some(undefined_operator(first, "=", other));
    }
    let (_, shown) = CHOOSING.iter().find(|(known, _)| *known == name)?;
    Some(Error::new(Kind::DatatypeMismatch, format!("{shown} types {first} and {other} cannot be matched")).hint("Cast one of them."))
}

/// A type that is not open.
fn of(expr: &Expr, schema: &DFSchema) -> Option<SqlType> {
    if is_open(expr) || matches!(expr, Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, _)) {
        return None;
    }
    expr.to_field(schema).ok().map(|(_, field)| sql_type_of(&field))
}

/// The type of a column of a query, as far as it is not open.
fn of_column(plan: &LogicalPlan, column: usize) -> Option<SqlType> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut expr = projection.expr.get(column)?;
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            of(expr, projection.input.schema())
        }
        // Values have agreed on a type that none of them may have said.
        LogicalPlan::Values(_) => None,
        LogicalPlan::Union(union) => union.inputs.iter().find_map(|input| of_column(input, column)),
        LogicalPlan::SubqueryAlias(alias) => of_column(&alias.input, column),
        other => other.schema().fields().get(column).map(|field| sql_type_of(field)),
    }
}

/// The error, if two of the types are of different families.
fn together(what: &str, types: impl Iterator<Item = Option<SqlType>>) -> Option<Error> {
    let mut first: Option<(SqlType, Family)> = None;
    for sql_type in types.flatten() {
        let Some(found) = family(&sql_type) else { continue };
        match &first {
            None => first = Some((sql_type, found)),
            Some((known, family)) if *family != found => {
                let names = [known, &sql_type].map(|sql_type| type_name(&sql_type.arrow()));
                let message = format!("{what} types {} and {} cannot be matched", names[0], names[1]);
                return Some(Error::new(Kind::DatatypeMismatch, message).hint("Cast one of them."));
            }
            Some(_) => {}
        }
    }
    None
}

/// Refuses window functions in WHERE and HAVING: `42P20`.
pub(super) fn refuse_windows_in_conditions(plan: &LogicalPlan) -> Result<()> {
    let mut clause = None;
    let _ = plan.look_at_all(|node| {
        if let LogicalPlan::Filter(filter) = node
            && filter.predicate.has(|expr| Ok(matches!(expr, Expr::WindowFunction(_))))?
        {
            clause = Some(if matches!(filter.input.as_ref(), LogicalPlan::Aggregate(_)) { "HAVING" } else { "WHERE" });
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match clause {
        None => Ok(()),
        Some(clause) => Err(Error::new(Kind::Windowing, format!("window functions are not allowed in {clause}"))
            .hint("Compute it in a subquery, and compare its column.")),
    }
}
