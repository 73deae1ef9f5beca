//! What PostgreSQL writes with words of its own, as calls of functions: `AT TIME ZONE`, `OVERLAPS`, named arguments of `make_interval`,
//! operators before a number; and numbers too large for a numeric, as doubles.

use std::ops::ControlFlow;

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DateTimeField, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Interval, JoinConstraint, JoinOperator, LimitClause, Query, Select, SelectItem, SetExpr, TimezoneInfo, UnaryOperator, Value,
    VisitorMut,
};

use super::interval_fields;
use super::written_call::{written_call, written_name};
use crate::error::{Error, Kind, Result};
use crate::sql::WalkMut;
use crate::types::{SqlType, integer_from_text, value_from_text};

/// Digits that a numeric has at the most, before and behind its point together.
const DIGITS_MAX: i64 = 76;

/// Rewrites a query; `22P02` for a LIMIT that is no number.
pub(super) fn rewrite_query(query: &mut Query) -> Result<()> {
    query.walk_mut(&mut Spelling).break_value().map_or(Ok(()), Err)
}

/// Rewrites an expression.
pub(super) fn rewrite_expression(expr: &mut Expr) -> Result<()> {
    expr.walk_mut(&mut Spelling).break_value().map_or(Ok(()), Err)
}

struct Spelling;

impl VisitorMut for Spelling {
    type Break = Error;

    /// A quoted string in LIMIT or OFFSET is a number.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            for count in limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value)) {
                // A number is rounded to one without digits behind the point.
                if let Expr::Value(value) = count
                    && let Value::Number(digits, _) = &mut value.value
                    && let Ok(rounded) = digits.parse::<f64>()
                    && digits.contains('.')
                    && rounded < 1e15
                {
                    *digits = format!("{rounded:.0}");
                } else if let Expr::Value(value) = count
                    && let Value::SingleQuotedString(text) = &value.value
                {
                    match integer_from_text(&SqlType::Int8, text) {
                        Ok(number) => *count = Expr::value(Value::Number(number.to_string(), false)),
                        Err(error) => return ControlFlow::Break(error),
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let joins = select.from.iter_mut().flat_map(|item| item.joins.iter_mut());
        joins
            .filter_map(|join| condition_of(&mut join.join_operator))
            .chain(&mut select.selection)
            .chain(&mut select.having)
            .for_each(as_boolean);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        operands_as_booleans(expr);
        match in_place(expr) {
            Ok(false) => {}
            Ok(true) => return ControlFlow::Continue(()),
            Err(error) => return ControlFlow::Break(error),
        }
        let new = match expr {
            Expr::AtTimeZone { timestamp, time_zone } => written_call("timezone", vec![(**time_zone).clone(), (**timestamp).clone()]),
            Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => match (&**left, &**right) {
                (Expr::Tuple(first), Expr::Tuple(second)) if first.len() == 2 && second.len() == 2 => {
                    written_call("overlaps", first.iter().chain(second).cloned().collect())
                }
                _ => return ControlFlow::Continue(()),
            },
            Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr } => written_call("sqrt", vec![(**expr).clone()]),
            Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr } => written_call("cbrt", vec![(**expr).clone()]),
            Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => {
                let ones = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(Expr::value(Value::Number("1".to_owned(), false))) };
                Expr::Nested(Box::new(Expr::BinaryOp { left: expr.clone(), op: BinaryOperator::PGBitwiseXor, right: Box::new(ones) }))
            }
            // DataFusion would put the minus before the text, where it is that of the first field alone.
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(**expr, Expr::Interval(_)) => {
                Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(Expr::Nested(expr.clone())) }
            }
            // Text has one order.
            Expr::Collate { expr, collation } => match collation.0.last().map(ToString::to_string) {
                Some(name) if is_known_collation(&name) => Expr::Nested(expr.clone()),
                _ => {
                    let error = Error::new(Kind::UndefinedObject, format!("collation {collation} for encoding \"UTF8\" does not exist"));
                    return ControlFlow::Break(error.hint("Text is compared by code point: COLLATE \"C\"."));
                }
            },
            Expr::Interval(interval) => match interval_fields::spelled(interval) {
                Ok(spelled) => match spelled.or_else(|| interval_text(interval)) {
                    Some(text) => cast_to(text, DataType::Interval { fields: None, precision: None }),
                    None => return ControlFlow::Continue(()),
                },
                Err(error) => return ControlFlow::Break(error),
            },
            // A call like any other, where `substring(… from …)` is not.
            Expr::Substring { expr, substring_from, substring_for, shorthand: true, .. } => {
                let arguments = [Some(&*expr), substring_from.as_ref(), substring_for.as_ref()];
                written_call("substr", arguments.into_iter().flatten().map(|argument| (**argument).clone()).collect())
            }
            Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => written_call("abs", vec![(**expr).clone()]),
            Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if !is_numeric(digits)) => {
                let Value::Number(digits, _) = &value.value else { return ControlFlow::Continue(()) };
                cast_to(digits.replace('_', ""), DataType::Double(ExactNumberInfo::None))
            }
            Expr::Function(function) if function.over.is_some() => match type_of_place(function) {
                Some(data_type) => cast(expr.clone(), data_type),
                None => return ControlFlow::Continue(()),
            },
            Expr::Function(function) => match type_of_now(function) {
                Some(data_type) => now_as(data_type),
                None => return ControlFlow::Continue(()),
            },
            // PostgreSQL's words for calls that sqlparser takes for columns.
            Expr::Identifier(ident)
                if ident.quote_style.is_none()
                    && ["current_schema", "current_role"].iter().any(|name| ident.value.eq_ignore_ascii_case(name)) =>
            {
                written_call(&ident.value.to_ascii_lowercase(), Vec::new())
            }
            _ => return ControlFlow::Continue(()),
        };
        *expr = new;
        ControlFlow::Continue(())
    }
}

/// Rewrites what stays the expression that it is; whether it is such a one.
fn in_place(expr: &mut Expr) -> Result<bool> {
    match expr {
        Expr::Function(function) if is_named(function, "transaction_timestamp") || is_named(function, "statement_timestamp") => {
            function.name = written_name("now");
        }
        // `SELECT FROM t` has no columns; whether it has rows does not depend on them.
        Expr::Exists { subquery, .. } => {
            if let SetExpr::Select(select) = subquery.body.as_mut()
                && select.projection.is_empty()
            {
                select.projection.push(SelectItem::UnnamedExpr(Expr::value(Value::Boolean(true))));
            }
        }
        // Its escapes have been read.
        Expr::Value(value) if matches!(value.value, Value::UnicodeStringLiteral(_)) => {
            if let Value::UnicodeStringLiteral(text) = &value.value {
                value.value = Value::SingleQuotedString(text.clone());
            }
        }
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } if escape_char.is_some() => {
            let escape = escape_char.take().map_or(Value::Null, |escape| escape.value);
            **pattern = written_call("like_escape", vec![pattern.as_ref().clone(), Expr::value(escape)]);
        }
        Expr::Subquery(subquery) if matches!(subquery.body.as_ref(), SetExpr::Select(select) if select.projection.is_empty()) => {
            return Err(Error::new(Kind::Syntax, "subquery must return a column"));
        }
        // A field may be in quotes.
        Expr::Extract { field: DateTimeField::Custom(field), .. } => field.quote_style = None,
        Expr::IsNormalized { expr: text, form, negated } => {
            let form = form.as_ref().map_or_else(|| "NFC".to_owned(), ToString::to_string);
            let call = written_call("is_normalized", vec![text.as_ref().clone(), Expr::value(Value::SingleQuotedString(form))]);
            *expr = if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(call) } } else { call };
        }
        // A form is a keyword.
        Expr::Function(function) if is_named(function, "normalize") => {
            if let FunctionArguments::List(list) = &mut function.args
                && let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(form))] = list.args.as_mut_slice()
                && let Expr::Identifier(name) = form
                && name.quote_style.is_none()
            {
                *form = Expr::value(Value::SingleQuotedString(name.value.clone()));
            }
        }
        // Counted from the beginning of this day.
        Expr::Function(function) if is_named(function, "age") => {
            if let FunctionArguments::List(list) = &mut function.args
                && list.args.len() == 1
            {
                let today = written_call("date_trunc", vec![Expr::value(Value::SingleQuotedString("day".to_owned())), local_now()]);
                list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(today)));
            }
        }
        Expr::Function(function) if is_named(function, "make_interval") => {
            named_interval(function);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Those that compare by code point.
fn is_known_collation(name: &str) -> bool {
    matches!(name.trim_matches('"').to_ascii_lowercase().as_str(), "default" | "c" | "posix" | "ucs_basic" | "c.utf-8" | "c.utf8")
}

/// The ON of a join.
fn condition_of(operator: &mut JoinOperator) -> Option<&mut Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on))
        | JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on))
        | JoinOperator::Right(JoinConstraint::On(on))
        | JoinOperator::RightOuter(JoinConstraint::On(on))
        | JoinOperator::FullOuter(JoinConstraint::On(on)) => Some(on),
        _ => None,
    }
}

/// A quoted string that stands where a condition must is a truth value: `WHERE 't'`.
fn as_boolean(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && let Value::SingleQuotedString(text) = &value.value
    {
        *expr = cast_to(text.clone(), DataType::Boolean);
    }
}

/// The same of the operands of AND, OR and NOT.
fn operands_as_booleans(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            [left, right].into_iter().for_each(|side| as_boolean(side))
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => as_boolean(expr),
        _ => {}
    }
}

/// The type of a word for the time of the statement, which may say how many digits its seconds have: `current_timestamp(0)`.
fn type_of_now(function: &Function) -> Option<DataType> {
    let digits = match &function.args {
        FunctionArguments::None => None,
        FunctionArguments::List(list) => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => match &value.value {
                Value::Number(digits, _) => Some(digits.parse::<u64>().ok()?),
                _ => return None,
            },
            _ => return None,
        },
        FunctionArguments::Subquery(_) => return None,
    };
    let types = [
        ("localtimestamp", DataType::Timestamp(digits, TimezoneInfo::None)),
        ("localtime", DataType::Time(digits, TimezoneInfo::None)),
        ("current_timestamp", DataType::Timestamp(digits, TimezoneInfo::WithTimeZone)),
        ("current_time", DataType::Time(digits, TimezoneInfo::None)),
    ];
    // The others without digits are DataFusion's.
    types
        .into_iter()
        .find_map(|(name, data_type)| (is_named(function, name) && (name.starts_with("local") || digits.is_some())).then_some(data_type))
}

/// The type of places and of numbers of parts: those of DataFusion have no sign, and are no integers beside integers.
fn type_of_place(function: &Function) -> Option<DataType> {
    match ["row_number", "rank", "dense_rank", "ntile"].iter().position(|name| is_named(function, name))? {
        3 => Some(DataType::Integer(None)),
        _ => Some(DataType::BigInt(None)),
    }
}

/// The time of the statement.
fn now_as(data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(written_call("now", Vec::new())), data_type, array: false, format: None }
}

/// The time of the statement, as local time.
fn local_now() -> Expr {
    now_as(DataType::Timestamp(None, TimezoneInfo::None))
}

fn cast_to(text: String, data_type: DataType) -> Expr {
    cast(Expr::value(Value::SingleQuotedString(text)), data_type)
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// The text of an interval that DataFusion does not read as PostgreSQL does, or does and PostgreSQL does not; others stay constants in the plan.
fn interval_text(interval: &Interval) -> Option<String> {
    if interval.leading_field.is_some() || interval.last_field.is_some() {
        return None;
    }
    let Expr::Value(value) = &*interval.value else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let same = match (value_from_text(&SqlType::Interval, text), parse_interval_month_day_nano(text)) {
        (Ok(crate::types::Value::Interval(ours)), Ok(theirs)) => ours == theirs,
        _ => false,
    };
    (!same).then(|| text.clone())
}

/// Whether a number has few enough digits.
fn is_numeric(digits: &str) -> bool {
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let Ok(exponent) = exponent.parse::<i64>() else { return false };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let count = |part: &str| i64::try_from(part.bytes().filter(u8::is_ascii_digit).count()).unwrap_or(i64::MAX);
    let before = count(whole.trim_start_matches('0')).saturating_add(exponent).max(0);
    let behind = count(fraction).saturating_sub(exponent).max(0);
    before.saturating_add(behind) <= DIGITS_MAX
}

fn is_named(function: &Function, name: &str) -> bool {
    function.name.0.last().and_then(|part| part.as_ident()).is_some_and(|ident| ident.value.eq_ignore_ascii_case(name))
}

/// `make_interval(days => 10)` → all seven arguments, those that are not given 0.
fn named_interval(function: &mut Function) {
    const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let FunctionArguments::List(list) = &mut function.args else { return };
    let mut all: Vec<Option<Expr>> = vec![None; NAMES.len()];
    for (place, argument) in list.args.iter().enumerate() {
        let (at, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (Some(place), value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                (NAMES.iter().position(|known| name.value.eq_ignore_ascii_case(known)), value)
            }
            _ => return,
        };
        // What is no argument of it stays, and is told by the planner.
        let Some(slot) = at.and_then(|at| all.get_mut(at)) else { return };
        *slot = Some(value.clone());
    }
    let zero = || Expr::value(Value::Number("0".to_owned(), false));
    list.args = all.into_iter().map(|value| FunctionArg::Unnamed(FunctionArgExpr::Expr(value.unwrap_or_else(zero)))).collect();
}

#[cfg(test)]
mod tests {
    use super::{is_numeric, rewrite_query};

    #[test]
    fn words_become_calls() {
        let rewritten = |sql: &str| {
            let mut query = crate::plan::parse_query(sql).unwrap();
            rewrite_query(&mut query).unwrap();
            query.to_string()
        };
        assert_eq!(rewritten("SELECT a AT TIME ZONE 'UTC'"), "SELECT timezone('UTC', a)");
        assert_eq!(rewritten("SELECT make_interval(days => 3)"), "SELECT make_interval(0, 0, 0, 3, 0, 0, 0)");
        assert_eq!(rewritten("SELECT 1e200"), "SELECT CAST('1e200' AS DOUBLE)");
        assert_eq!(rewritten("SELECT current_timestamp(0)"), "SELECT CAST(now() AS TIMESTAMP(0) WITH TIME ZONE)");
        assert_eq!(rewritten("SELECT a LIKE b ESCAPE '!'"), "SELECT a LIKE like_escape(b, '!')");
        assert_eq!(rewritten("SELECT extract('year' FROM a)"), "SELECT EXTRACT(year FROM a)");
    }

    #[test]
    fn a_numeric_has_76_digits() {
        assert!(is_numeric("1e75") && is_numeric("0.5") && is_numeric("1e-70"));
        assert!(!is_numeric("1e76") && !is_numeric("1e-80") && !is_numeric("1e99999999999999999999"));
    }
}
