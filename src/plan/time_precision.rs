//! `x::timestamp(0)`: a cast that rounds to digits of a second → the cast, and a call of a function that rounds.
//!
//! What is rounded to is part of a column's type only. Runs when columns have their names.

use std::ops::ControlFlow;

use sqlparser::ast::{DataType, Expr, Query, Value, VisitorMut};

use super::written_call::written_call;
use crate::sql::WalkMut;

/// Digits of a second that are kept anyway.
const DIGITS: u64 = 6;

/// Rewrites a query.
pub(super) fn rewrite_query(query: &mut Query) {
    let _ = query.walk_mut(&mut Rounder);
}

/// Rewrites an expression.
pub(super) fn rewrite_expression(expr: &mut Expr) {
    let _ = expr.walk_mut(&mut Rounder);
}

/// The digits of a second that a type has, if they are fewer than all.
pub(super) fn digits_of(data_type: &DataType) -> Option<u64> {
    digits_written(data_type).map(u64::from).filter(|digits| *digits < DIGITS)
}

/// The digits of a second that a type says it has; more than there are mean all.
pub(super) fn digits_written(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Timestamp(digits, _) | DataType::Time(digits, _) | DataType::Interval { precision: digits, .. } => {
            digits.and_then(|digits| u8::try_from(digits.min(DIGITS)).ok())
        }
        _ => None,
    }
}

struct Rounder;

impl VisitorMut for Rounder {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let data_type = match expr {
            Expr::Cast { data_type, array: false, .. } => data_type,
            Expr::TypedString(typed) => &mut typed.data_type,
            _ => return ControlFlow::Continue(()),
        };
        if let Some(digits) = digits_of(data_type) {
            without_digits(data_type);
            let cast = std::mem::replace(expr, Expr::value(Value::Null));
            *expr = written_call("round_time", vec![cast, Expr::value(Value::Number(digits.to_string(), false))]);
        }
        ControlFlow::Continue(())
    }
}

fn without_digits(data_type: &mut DataType) {
    if let DataType::Timestamp(digits, _) | DataType::Time(digits, _) | DataType::Interval { precision: digits, .. } = data_type {
        *digits = None;
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite_query;

    #[test]
    fn digits_of_a_second_become_a_call() {
        let mut query = crate::plan::parse_query("SELECT a::TIMESTAMP(0), TIME(3) '10:00', b::TIMESTAMP(6)").unwrap();
        rewrite_query(&mut query);
        assert_eq!(query.to_string(), "SELECT round_time(a::TIMESTAMP, 0), round_time(TIME '10:00', 3), b::TIMESTAMP(6)");
    }
}
