//! Parts of expressions as SQL writes them, for EXPLAIN: literals, and functions that stand for something else.

use arrow::array::types::IntervalMonthDayNano;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::casts::as_cast;
use super::names::visible;
use super::{checked, names_apart, pack, scalar};
use crate::sql::quote_literal;
use crate::types::{SqlType, TextStyle, format_value, sql_type_of};

/// An expression whose parts are ready to be shown, itself ready to be shown.
pub(super) fn as_sql(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(value, metadata) => match literal(&value) {
            Some(text) => shown(text),
            None => Expr::Literal(value, metadata),
        },
        // What makes a day of a moment somebody has written; most others nobody has.
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Date32 && !is_literal(&cast.expr) => cast_to(&cast.expr, "date"),
        Expr::Cast(cast) => *cast.expr,
        Expr::Column(column) => shown(visible(&column.name).to_owned()),
        Expr::ScalarFunction(call) => match as_written(&call) {
            Some(written @ Expr::Cast(_)) => as_sql(written),
            Some(written) => written,
            None => Expr::ScalarFunction(call),
        },
        other => other,
    }
}

/// What DataFusion shows as it is.
fn shown(text: String) -> Expr {
    Expr::Column(Column::new_unqualified(text))
}

/// What a function stands for.
fn as_written(call: &ScalarFunction) -> Option<Expr> {
    let packed = pack::columns_of(call).map(|columns| {
        let columns: Vec<String> = columns.iter().map(|column| column.human_display().to_string()).collect();
        shown(format!("ROW({})", columns.join(", ")))
    });
    let apart = names_apart::marked(call).cloned();
    let operator = || checked::as_operator(call).or_else(|| as_cast(call)).or_else(|| scalar::as_operator(call));
    packed.or(apart).or_else(operator).or_else(|| of_time(call))
}

/// What is computed with times, as it is written: `ts + interval '1 day'`, `ts AT TIME ZONE 'UTC'`, `ts::timestamp(0)`.
fn of_time(call: &ScalarFunction) -> Option<Expr> {
    let operator = match (call.func.name(), call.args.as_slice()) {
        ("timestamp_add" | "date_plus", _) => Operator::Plus,
        ("timestamp_minus" | "date_minus" | "date_subtract" | "timestamp_subtract", _) => Operator::Minus,
        ("timezone", [zone, time]) => return Some(shown(format!("{} AT TIME ZONE {}", operand(time), zone.human_display()))),
        ("round_time", [time, digits]) => return Some(cast_to(time, &format!("timestamp({})", digits.human_display()))),
        _ => return None,
    };
    // What stands behind them is the zone whose days are meant.
    let [left, right, ..] = call.args.as_slice() else { return None };
    Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), operator, Box::new(right.clone()))))
}

fn cast_to(value: &Expr, target: &str) -> Expr {
    shown(format!("{}::{target}", operand(value)))
}

/// An expression that an operator stands behind.
fn operand(expr: &Expr) -> String {
    match expr {
        Expr::BinaryExpr(_) => format!("({})", expr.human_display()),
        other => other.human_display().to_string(),
    }
}

/// A literal is ready to be shown when it is a column's name: with a quote, or a digit, at one of its ends.
fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == "NULL" || column.name.ends_with('\''),
        other => matches!(other, Expr::Literal(..)),
    }
}

/// `None` for a value of a type that SQL has no literals of.
fn literal(value: &ScalarValue) -> Option<String> {
    if value.is_null() {
        return Some("NULL".to_owned());
    }
    let sql_type = sql_type_of(&Field::new("", value.data_type(), true));
    let array = value.to_array().ok()?;
    let mut text = String::new();
    format_value(array.as_ref(), 0, &sql_type, &TextStyle::default(), &mut text).ok()?;
    Some(match sql_type {
        SqlType::Bool => if text == "t" { "true" } else { "false" }.to_owned(),
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(..) => text,
        SqlType::Float4 | SqlType::Float8 if text.ends_with(|last: char| last.is_ascii_digit()) => text,
        SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) => quote_literal(&text),
        other => format!("{other} {}", quote_literal(&text)),
    })
}

/// How DataFusion writes the type of a constant in names that it makes up.
const TYPES: [&str; 11] = ["Boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float64", "Utf8"];

/// A text in which such names stand, with constants as SQL writes them: `count(Int64(1))` is `count(*)`, `string_agg(t.s,Utf8(","))`
/// is `string_agg(t.s,',')`.
pub(super) fn without_types(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside_a_word = plain.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        match typed_constant(rest).filter(|_| !inside_a_word) {
            Some((constant, behind)) => {
                plain.push_str(&constant);
                rest = behind;
            }
            None => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    plain.replace("count(1)", "count(*)").replace("packed row(", "ROW(").replace("all or null(", "ROW(")
}

/// The constant at the start of a text, and what stands behind it.
fn typed_constant(text: &str) -> Option<(String, &str)> {
    if let Some(micros) = text.strip_prefix("TimestampMicrosecond(") {
        let (micros, rest) = micros.split_once(", None)")?;
        return Some((literal(&ScalarValue::TimestampMicrosecond(micros.parse().ok(), None))?, rest));
    }
    if let Some(digits) = text.strip_prefix("Decimal128(Some(") {
        let ((units, size), rest) = (digits.split_once("),")?, digits.split_once(')')?.1.split_once(')')?.1);
        let (precision, scale) = size.split_once(')')?.0.split_once(',')?;
        let value = ScalarValue::Decimal128(units.parse().ok(), precision.parse().ok()?, scale.parse().ok()?);
        return Some((literal(&value)?, rest));
    }
    if let Some(interval) = text.strip_prefix("IntervalMonthDayNano(\"") {
        let (interval, rest) = interval.split_once("\")")?;
        return Some((literal(&ScalarValue::IntervalMonthDayNano(Some(interval_of(interval)?)))?, rest));
    }
    let behind = TYPES.iter().find_map(|name| text.strip_prefix(name)?.strip_prefix('('))?;
    match behind.strip_prefix('"') {
        Some(quoted) => quoted.split_once("\")").map(|(value, rest)| (quote_literal(value), rest)),
        None => behind.split_once(')').map(|(value, rest)| (value.to_owned(), rest)),
    }
}

/// `IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 0 }`, or `interval '1 days 5 nanoseconds'`.
fn interval_of(text: &str) -> Option<IntervalMonthDayNano> {
    let words: Vec<&str> = text.split([' ', '\'', ',', ':']).filter(|word| !word.is_empty()).collect();
    let labelled = text.starts_with("IntervalMonthDayNano");
    let number = |unit: &str| -> Option<i64> {
        let Some(at) = words.iter().position(|word| word.trim_end_matches('s') == unit) else { return Some(0) };
        words.get(if labelled { at + 1 } else { at.checked_sub(1)? })?.parse().ok()
    };
    Some(IntervalMonthDayNano {
        months: i32::try_from(number("month")?).ok()?,
        days: i32::try_from(number("day")?).ok()?,
        nanoseconds: number("nanosecond")?,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;

    use super::{literal, without_types};

    #[test]
    fn names_that_datafusion_makes_up_read_as_sql() {
        assert_eq!(without_types("count(Int64(1)), f(t.s,Utf8(\",\"),Boolean(true))"), "count(*), f(t.s,',',true)");
        assert_eq!(without_types("fooInt64(1)"), "fooInt64(1)");
        let moment = "a > TimestampMicrosecond(0, None) AND n > Decimal128(Some(150),3,2)";
        let interval = "IntervalMonthDayNano(\"IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 5000000000 }\")";
        assert_eq!(without_types(interval), "interval '1 mon 00:00:05'");
        assert_eq!(without_types("IntervalMonthDayNano(\"interval '300000000000 nanoseconds'\")"), "interval '00:05:00'");
        assert_eq!(without_types(moment), "a > timestamp without time zone '1970-01-01 00:00:00' AND n > 1.50");
    }

    #[test]
    fn literals_read_as_sql() {
        assert_eq!(literal(&ScalarValue::from("it's")).unwrap(), "'it''s'");
        assert_eq!(literal(&ScalarValue::from(1_i64)).unwrap(), "1");
        assert_eq!(literal(&ScalarValue::from(true)).unwrap(), "true");
        assert_eq!(literal(&ScalarValue::Utf8(None)).unwrap(), "NULL");
        assert_eq!(literal(&ScalarValue::Date32(Some(0))).unwrap(), "date '1970-01-01'");
        assert_eq!(literal(&ScalarValue::new_interval_mdn(1, 2, 0)).unwrap(), "interval '1 mon 2 days'");
        assert_eq!(literal(&ScalarValue::from(f64::NAN)).unwrap(), "double precision 'NaN'");
    }
}
