//! Operators as PostgreSQL means them, decided while the plan is made, when the types of both sides are known.
//!
//! A quoted string beside a value of another type is read as a value of that type. Operators of jsonb, intervals, dates and patterns become
//! calls of functions of ours, and so do products and quotients of numerics; everything else is left to DataFusion.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions::core::named_struct;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, lit};
use sqlparser::ast::BinaryOperator as Op;

use super::arrow_kinds::one_value;
use super::casts::text_input;
use super::errors::external;
use super::functions::type_name;
use super::mismatch::{no_operator, undefined_operator};
use super::parameters::{is_open, with_type};
use super::plain_type::{literal_text, plain_type};
use super::scalar::call;
use crate::error::{Error, Kind};
use crate::types::{NUMERIC_DEFAULT, SqlType, parse_value, sql_type_of};

/// Asked before DataFusion's own planners.
#[derive(Debug)]
pub(super) struct Operators;

/// One side of an operator.
struct Side {
    /// `None`: a quoted string or an open parameter, which take what type is wanted.
    sql_type: Option<SqlType>,
    /// NULL, or a parameter whose type nobody has said.
    open: bool,
}

impl Side {
    fn of(expr: &Expr, schema: &DFSchema) -> Option<Side> {
        if literal_text(expr).is_some() {
            return Some(Side { sql_type: None, open: false });
        }
        if is_open(expr) {
            return Some(Side { sql_type: None, open: true });
        }
        if let Some(sql_type) = plain_type(expr, schema) {
            return Some(Side { sql_type: Some(sql_type), open: false });
        }
        let (_, field) = expr.to_field(schema).ok()?;
        Some(Side { sql_type: Some(sql_type_of(&field)), open: field.data_type().is_null() })
    }

    fn is(&self, wanted: impl Fn(&SqlType) -> bool) -> bool {
        !self.open && self.sql_type.as_ref().is_some_and(wanted)
    }

    fn is_json(&self) -> bool {
        self.is(|sql_type| matches!(sql_type, SqlType::Json | SqlType::Jsonb))
    }

    /// A quoted string or an open parameter.
    fn is_literal(&self) -> bool {
        self.sql_type.is_none()
    }

    fn is_string(&self) -> bool {
        self.is_literal() && !self.open
    }

    fn is_parameter(&self) -> bool {
        self.is_literal() && self.open
    }

    fn is_text(&self) -> bool {
        self.is(|sql_type| matches!(sql_type, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name))
    }
}

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        let (Some(left), Some(right)) = (Side::of(&expr.left, schema), Side::of(&expr.right, schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        if let Some(name) = json_function(&expr.op, &left, &right) {
            if let (Op::Arrow | Op::LongArrow, Some(key)) = (&expr.op, &right.sql_type)
                && !right.open
                && !is_key(key)
            {
                let left = left.sql_type.unwrap_or(SqlType::Jsonb);
                return Err(external(undefined_operator(&left.to_string(), &expr.op.to_string(), &type_name(&key.arrow()))));
            }
            return Ok(PlannerResult::Planned(json_call(name, expr)));
        }
        let RawBinaryExpr { op, left: mut left_expr, right: mut right_expr } = expr;
        let (mut left, mut right) = (left, right);
        if let Some(wanted) = parameter_type(&op, &left, &right, true) {
            (left_expr, left) = (with_type(left_expr, &wanted), Side { sql_type: Some(wanted), open: false });
        }
        if let Some(wanted) = parameter_type(&op, &right, &left, false) {
            (right_expr, right) = (with_type(right_expr, &wanted), Side { sql_type: Some(wanted), open: false });
        }
        if let Some(wanted) = literal_type(&op, &right, literal_text(&left_expr), true)
            && left.is_string()
        {
            (left_expr, left) = typed(&left_expr, wanted)?;
        } else if let Some(wanted) = literal_type(&op, &left, literal_text(&right_expr), false)
            && right.is_string()
        {
            (right_expr, right) = typed(&right_expr, wanted)?;
        }
        let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
        if op == Op::StringConcat && (is_null(&left_expr) || is_null(&right_expr)) && !left.is(is_array) && !right.is(is_array) {
            // Of text and NULL, whatever the other one is.
            return Ok(PlannerResult::Planned(Expr::Literal(ScalarValue::Utf8(None), None)));
        }
        if left.open || right.open {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left: left_expr, right: right_expr }));
        }
        if is_comparison(&op)
            && let (Some(left), Some(right)) = (&left.sql_type, &right.sql_type)
            && let Some(error) = no_operator(left, &op.to_string(), right)
        {
            return Err(external(error));
        }
        if is_comparison(&op)
            && let (Some(SqlType::Struct(left)), Some(SqlType::Struct(right))) = (&left.sql_type, &right.sql_type)
        {
            (left_expr, right_expr) = rows_alike((left_expr, left), (right_expr, right))?;
        }
        Ok(match planned(&op, (&left_expr, &left), (&right_expr, &right)) {
            Some(expr) => PlannerResult::Planned(expr),
            None => PlannerResult::Original(RawBinaryExpr { op, left: left_expr, right: right_expr }),
        })
    }

    fn plan_extract(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call("extract", args)))
    }

    fn plan_position(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call("strpos", args)))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call("substring", args)))
    }

    /// The fields of a row are f1, f2, …
    fn plan_struct_literal(&self, args: Vec<Expr>, is_named_struct: bool) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        if is_named_struct {
            return Ok(PlannerResult::Original(args));
        }
        let fields = args.into_iter().enumerate().flat_map(|(place, value)| [lit(format!("f{}", place + 1)), value]);
        Ok(PlannerResult::Planned(named_struct().call(fields.collect())))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> DataFusionResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call("overlay", args)))
    }
}

/// Whether a value of this type names a part of a json value.
fn is_key(sql_type: &SqlType) -> bool {
    use SqlType::{Char, Int2, Int4, Int8, Name, Text, Varchar};
    matches!(sql_type, Int2 | Int4 | Int8 | Text | Varchar(_) | Char(_) | Name)
}

fn is_comparison(op: &Op) -> bool {
    matches!(op, Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq)
}

fn comparison(op: &Op) -> Option<Operator> {
    Some(match op {
        Op::Eq => Operator::Eq,
        Op::NotEq => Operator::NotEq,
        Op::Lt => Operator::Lt,
        Op::LtEq => Operator::LtEq,
        Op::Gt => Operator::Gt,
        Op::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// One side of a comparison of rows: the expression, and its fields.
type Row<'a> = (Expr, &'a [(String, SqlType)]);

/// Two rows that are compared, as rows of one type: that of the left, with fields of a type that both sides have. Names of fields say nothing.
fn rows_alike((left_expr, left): Row<'_>, (right_expr, right): Row<'_>) -> DataFusionResult<(Expr, Expr)> {
    if left.len() != right.len() {
        return Err(external(Error::new(Kind::DatatypeMismatch, "cannot compare record types with different numbers of columns")));
    }
    let same =
        |left: &[(String, SqlType)], right: &[(String, SqlType)]| left.iter().zip(right).all(|((_, left), (_, right))| left == right);
    let common = left.iter().zip(right).map(|((name, left), (_, right))| {
        let common = common_type(left, right).ok_or_else(|| {
            external(Error::new(Kind::DatatypeMismatch, format!("cannot compare dissimilar column types {left} and {right} of two rows")))
        })?;
        Ok((name.clone(), common))
    });
    let common = common.collect::<DataFusionResult<Vec<_>>>()?;
    let as_common = |expr: Expr, fields: &[(String, SqlType)]| {
        let exact = same(fields, &common) && fields.iter().zip(&common).all(|((left, _), (right, _))| left == right);
        let target = SqlType::Struct(common.clone());
        if exact { expr } else { Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(target.field("", true)))) }
    };
    Ok((as_common(left_expr, left), as_common(right_expr, right)))
}

/// The type in which values of two types are compared; what is read from a text takes the other's.
fn common_type(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    match (left, right) {
        (left, right) if left == right => Some(left.clone()),
        (SqlType::Text, other) | (other, SqlType::Text) => Some(other.clone()),
        (SqlType::Struct(left), SqlType::Struct(right)) if left.len() == right.len() => {
            let fields = left.iter().zip(right).map(|((name, left), (_, right))| Some((name.clone(), common_type(left, right)?)));
            fields.collect::<Option<_>>().map(SqlType::Struct)
        }
        (left, right) => {
            let common = comparison_coercion(&left.arrow(), &right.arrow())?;
            Some(sql_type_of(&Field::new("", common, true)))
        }
    }
}

/// The function behind an operator of json values.
fn json_function(op: &Op, left: &Side, right: &Side) -> Option<&'static str> {
    // One side may be a string that is to be read as jsonb.
    let both = (left.is_json() && (right.is_json() || right.is_literal())) || (left.is_literal() && right.is_json());
    match op {
        Op::Arrow if left.is_json() || left.is_literal() => Some("jsonb_get"),
        Op::LongArrow if left.is_json() || left.is_literal() => Some("jsonb_get_text"),
        Op::HashArrow if left.is_json() || left.is_literal() => Some("jsonb_path"),
        Op::HashLongArrow if left.is_json() || left.is_literal() => Some("jsonb_path_text"),
        Op::HashMinus if left.is_json() || left.is_literal() => Some("jsonb_delete_path"),
        Op::Question if left.is_json() => Some("jsonb_exists"),
        Op::QuestionPipe if left.is_json() => Some("jsonb_exists_any"),
        Op::QuestionAnd if left.is_json() => Some("jsonb_exists_all"),
        Op::AtArrow if both => Some("jsonb_contains"),
        Op::ArrowAt if both => Some("jsonb_contained"),
        Op::StringConcat if both => Some("jsonb_concat"),
        Op::Minus if left.is_json() => Some("jsonb_delete"),
        Op::Lt | Op::LtEq | Op::Gt | Op::GtEq if both => Some("jsonb_compare"),
        _ => None,
    }
}

fn json_call(name: &'static str, expr: RawBinaryExpr) -> Expr {
    let RawBinaryExpr { op, left, right } = expr;
    let value = call(name, vec![left, right]);
    match op {
        Op::Lt => value.lt(lit(0)),
        Op::LtEq => value.lt_eq(lit(0)),
        Op::Gt => value.gt(lit(0)),
        Op::GtEq => value.gt_eq(lit(0)),
        _ => value,
    }
}

/// The type as which a quoted string is read beside `other`; `first`: it stands on the left.
fn literal_type(op: &Op, other: &Side, written: Option<&str>, first: bool) -> Option<SqlType> {
    let sql_type = other.sql_type.as_ref().filter(|_| !other.open)?;
    let plain = match sql_type {
        SqlType::Text | SqlType::Varchar(_) | SqlType::Name | SqlType::CatalogChar | SqlType::Oid => return None,
        SqlType::Struct(_) if !is_comparison(op) => return None,
        SqlType::Char(_) if !is_comparison(op) => return None,
        SqlType::Numeric(..) => SqlType::Numeric(NUMERIC_DEFAULT.0, written.map_or(NUMERIC_DEFAULT.1, fraction_digits)),
        other => other.clone(),
    };
    let moment = matches!(plain, SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz | SqlType::Time);
    match op {
        op if is_comparison(op) => Some(plain),
        Op::Plus if moment => Some(SqlType::Interval),
        Op::Minus if moment => Some(plain),
        Op::Multiply if matches!(plain, SqlType::Interval | SqlType::Time) => Some(SqlType::Float8),
        Op::Divide if matches!(plain, SqlType::Interval | SqlType::Time) && !first => Some(SqlType::Float8),
        Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo => Some(plain),
        Op::PGOverlap | Op::AtArrow | Op::ArrowAt if matches!(plain, SqlType::Array(_)) => Some(plain),
        Op::StringConcat if plain == SqlType::Bytea => Some(plain),
        _ => None,
    }
}

/// The type that an open parameter on one side of an operator takes from what stands on the `other`; `first`: the parameter stands on the left.
/// `None`: none of PostgreSQL's operators is the one that is meant, or a function of the operator says later what it takes.
fn parameter_type(op: &Op, parameter: &Side, other: &Side, first: bool) -> Option<SqlType> {
    if !parameter.is_parameter() {
        return None;
    }
    let patterns = matches!(
        op,
        Op::PGRegexMatch | Op::PGRegexIMatch | Op::PGRegexNotMatch | Op::PGRegexNotIMatch | Op::PGStartsWith | Op::StringConcat
    );
    let Some(known) = other.sql_type.as_ref().filter(|_| !other.open) else {
        return (patterns || is_comparison(op)).then_some(SqlType::Text);
    };
    match op {
        Op::And | Op::Or => Some(SqlType::Bool),
        Op::StringConcat if is_array(known) => Some(known.clone()),
        _ if patterns => Some(SqlType::Text),
        op if is_comparison(op) && matches!(known, SqlType::Varchar(_)) => Some(SqlType::Text),
        op if is_comparison(op) => Some(known.clone()),
        Op::PGExp if matches!(known, SqlType::Numeric(..)) => Some(known.clone()),
        Op::PGExp => Some(SqlType::Float8),
        Op::PGBitwiseShiftLeft | Op::PGBitwiseShiftRight => Some(if first { known.clone() } else { SqlType::Int4 }),
        Op::BitwiseAnd | Op::BitwiseOr | Op::PGBitwiseXor => Some(known.clone()),
        Op::Plus if matches!(known, SqlType::Date) => None,
        _ => literal_type(op, other, None, first).map(|wanted| if is_numeric(other) { known.clone() } else { wanted }),
    }
}

/// Digits behind the point of a number in quotes; those of any numeric if it has an exponent.
fn fraction_digits(text: &str) -> i8 {
    let digits = text.trim_ascii().split_once('.').map_or(0, |(_, fraction)| fraction.len());
    if text.contains(['e', 'E']) { NUMERIC_DEFAULT.1 } else { i8::try_from(digits).unwrap_or(i8::MAX).min(20) }
}

/// A quoted string as a value of a type.
fn typed(expr: &Expr, sql_type: SqlType) -> DataFusionResult<(Expr, Side)> {
    if let (SqlType::Char(_), Some(text)) = (&sql_type, literal_text(expr)) {
        // Of any length.
        return Ok((lit(text.trim_end_matches(' ')), Side { sql_type: Some(sql_type), open: false }));
    }
    if sql_type == SqlType::Timestamptz {
        // What it means is known when the session's zone is.
        return Ok((text_input(expr.clone(), &sql_type), Side { sql_type: Some(sql_type), open: false }));
    }
    let value = parse_value(&sql_type, literal_text(expr)).map_err(external)?;
    let literal = Expr::Literal(one_value(&value)?, None);
    Ok((literal, Side { sql_type: Some(sql_type), open: false }))
}

/// A product or a quotient as it would be planned with the types that its operands have now.
pub(super) fn planned_anew(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let again = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let op = match op {
                Operator::Multiply => Op::Multiply,
                Operator::Divide => Op::Divide,
                _ => return Transformed::no(expr),
            };
            match (Side::of(left, schema), Side::of(right, schema)) {
                (Some(left_side), Some(right_side)) => planned(&op, (left, &left_side), (right, &right_side)),
                _ => None,
            }
        }
        _ => None,
    };
    again.map_or_else(|| Transformed::no(expr), Transformed::yes)
}

/// What an operator becomes, if DataFusion would mean something else by it.
fn planned(op: &Op, (left_expr, left): (&Expr, &Side), (right_expr, right): (&Expr, &Side)) -> Option<Expr> {
    let arguments = || vec![left_expr.clone(), right_expr.clone()];
    let swapped = || vec![right_expr.clone(), left_expr.clone()];
    let moment =
        |side: &Side| side.is(|sql_type| matches!(sql_type, SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz | SqlType::Time));
    let stamp = |side: &Side| side.is(|sql_type| matches!(sql_type, SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz));
    let date = |side: &Side| side.is(|sql_type| *sql_type == SqlType::Date);
    let time = |side: &Side| side.is(|sql_type| *sql_type == SqlType::Time);
    let interval = |side: &Side| side.is(|sql_type| *sql_type == SqlType::Interval);
    let text = |side: &Side| side.is_literal() || side.is_text();
    match op {
        // A day is 24 hours to a comparison, and a month 30 days.
        op if is_comparison(op) && interval(left) && interval(right) => {
            let [left, right] = [left_expr, right_expr].map(|side| Box::new(call("interval_length", vec![side.clone()])));
            Some(Expr::BinaryExpr(BinaryExpr { left, op: comparison(op)?, right }))
        }
        Op::Plus if moment(left) && interval(right) => {
            Some(call("timestamp_add", vec![as_moment(left_expr, date(left)), right_expr.clone()]))
        }
        Op::Plus if interval(left) && moment(right) => {
            Some(call("timestamp_add", vec![as_moment(right_expr, date(right)), left_expr.clone()]))
        }
        Op::Plus if stamp(left) && time(right) => Some(call("timestamp_add", vec![as_moment(left_expr, date(left)), right_expr.clone()])),
        Op::Plus if time(left) && stamp(right) => Some(call("timestamp_add", vec![as_moment(right_expr, date(right)), left_expr.clone()])),
        Op::Minus if stamp(left) && time(right) => {
            Some(call("timestamp_minus", vec![as_moment(left_expr, date(left)), right_expr.clone()]))
        }
        Op::Plus if date(left) && is_whole(right) => Some(call("date_plus", arguments())),
        Op::Plus if is_whole(left) && date(right) => Some(call("date_plus", swapped())),
        Op::Minus if date(left) && is_whole(right) => Some(call("date_minus", arguments())),
        Op::Minus if date(left) && date(right) => Some(call("date_subtract", arguments())),
        Op::Minus if moment(left) && interval(right) => {
            Some(call("timestamp_minus", vec![as_moment(left_expr, date(left)), right_expr.clone()]))
        }
        Op::Minus if time(left) && time(right) => Some(call("time_subtract", arguments())),
        Op::Minus if stamp(left) && stamp(right) => Some(call("timestamp_subtract", arguments())),
        Op::Multiply if interval(left) && is_number(right) => Some(call("interval_multiply", arguments())),
        Op::Multiply if is_number(left) && interval(right) => Some(call("interval_multiply", swapped())),
        Op::Divide if interval(left) && is_number(right) => Some(call("interval_divide", arguments())),
        Op::Multiply | Op::Divide if is_exact(left) && is_exact(right) && (is_numeric(left) || is_numeric(right)) => {
            Some(call(if *op == Op::Multiply { "numeric_multiply" } else { "numeric_divide" }, arguments()))
        }
        Op::Divide if is_number(left) && is_number(right) && (is_float(left) || is_float(right)) => Some(call("float_divide", arguments())),
        Op::PGBitwiseShiftLeft if is_whole(left) && is_whole(right) => Some(call("shift_left", arguments())),
        Op::PGBitwiseShiftRight if is_whole(left) && is_whole(right) => Some(call("shift_right", arguments())),
        Op::PGStartsWith if text(left) && text(right) => Some(call("starts_with", arguments())),
        Op::PGRegexMatch | Op::PGRegexIMatch | Op::PGRegexNotMatch | Op::PGRegexNotIMatch if text(left) && text(right) => {
            let folds = matches!(op, Op::PGRegexIMatch | Op::PGRegexNotIMatch);
            let matches = call("regexp_matches_case", vec![left_expr.clone(), right_expr.clone(), lit(folds)]);
            Some(if matches!(op, Op::PGRegexNotMatch | Op::PGRegexNotIMatch) { Expr::Not(Box::new(matches)) } else { matches })
        }
        _ => None,
    }
}

/// A date is the timestamp of its beginning.
fn as_moment(expr: &Expr, date: bool) -> Expr {
    if date { Expr::Cast(Cast::new(Box::new(expr.clone()), SqlType::Timestamp.arrow())) } else { expr.clone() }
}

fn is_array(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Array(_) | SqlType::Json | SqlType::Jsonb | SqlType::Bytea)
}

fn is_whole(side: &Side) -> bool {
    side.is(|sql_type| matches!(sql_type, SqlType::Int2 | SqlType::Int4 | SqlType::Int8))
}

fn is_numeric(side: &Side) -> bool {
    side.is(|sql_type| matches!(sql_type, SqlType::Numeric(..)))
}

fn is_exact(side: &Side) -> bool {
    is_numeric(side) || side.is(|sql_type| matches!(sql_type, SqlType::Int2 | SqlType::Int4 | SqlType::Int8))
}

fn is_float(side: &Side) -> bool {
    side.is(|sql_type| *sql_type == SqlType::Float8)
}

fn is_number(side: &Side) -> bool {
    is_exact(side) || side.is(|sql_type| matches!(sql_type, SqlType::Float4 | SqlType::Float8))
}
