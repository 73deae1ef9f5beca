//! What a frame, or a call over one, may not say, told before it is planned, as PostgreSQL tells it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArgumentClause, FunctionArguments, Query, UnaryOperator, Value, Visitor, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowSpec, WindowType,
};

use crate::error::{Error, Kind, Result};
use crate::sql::Walk;

/// `42P20`, `42P10` and `22013` for frames that cannot be. All windows stand in their calls.
pub(in crate::plan) fn check(query: &Query) -> Result<()> {
    match query.walk(&mut Checks) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Checks;

impl Visitor for Checks {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), args, .. }) = expr else {
            return ControlFlow::Continue(());
        };
        if let FunctionArguments::List(list) = args
            && list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
        {
            let error = Error::not_supported("aggregate ORDER BY is not implemented for window functions");
            return ControlFlow::Break(error.hint("Order the rows in OVER, or aggregate in a subquery with GROUP BY and join it."));
        }
        let Some(frame) = &spec.window_frame else { return ControlFlow::Continue(()) };
        match checked(spec, frame) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn checked(spec: &WindowSpec, frame: &WindowFrame) -> Result<()> {
    let offset = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset)) => Some(offset.as_ref().clone()),
        _ => None,
    };
    let (start, end) = (offset(&frame.start_bound), frame.end_bound.as_ref().and_then(offset));
    let units = match frame.units {
        WindowFrameUnits::Rows => "ROWS",
        WindowFrameUnits::Range => "RANGE",
        WindowFrameUnits::Groups => "GROUPS",
    };
    if frame.units == WindowFrameUnits::Groups && spec.order_by.is_empty() {
        return Err(Error::new(Kind::Windowing, "GROUPS mode requires an ORDER BY clause"));
    }
    if frame.units == WindowFrameUnits::Range && (start.is_some() || end.is_some()) && spec.order_by.len() != 1 {
        return Err(Error::new(Kind::Windowing, "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column"));
    }
    ordered(&frame.start_bound, frame.end_bound.as_ref())?;
    for (offset, place) in [(start, "starting"), (end, "ending")] {
        let Some(offset) = offset else { continue };
        let varies = offset.walk_expressions(|inner| match inner {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if varies.is_break() {
            return Err(Error::new(Kind::InvalidColumnReference, format!("argument of {units} must not contain variables")));
        }
        if is_negative(&offset) {
            let message = match frame.units {
                WindowFrameUnits::Range => "invalid preceding or following size in window function".to_owned(),
                _ => format!("frame {place} offset must not be negative"),
            };
            return Err(Error::new(Kind::InvalidFrame, message));
        }
    }
    Ok(())
}

/// Refuses a frame whose end lies before its start whatever the rows are; without an end it is the current row.
fn ordered(start: &WindowFrameBound, end: Option<&WindowFrameBound>) -> Result<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let end = end.unwrap_or(&CurrentRow);
    let message = match (start, end) {
        (Following(None), _) => "frame start cannot be UNBOUNDED FOLLOWING",
        (_, Preceding(None)) => "frame end cannot be UNBOUNDED PRECEDING",
        (CurrentRow, Preceding(_)) => "frame starting from current row cannot have preceding rows",
        (Following(_), Preceding(_)) => "frame starting from following row cannot have preceding rows",
        (Following(_), CurrentRow) => "frame starting from following row cannot end with current row",
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Windowing, message))
}

fn is_negative(offset: &Expr) -> bool {
    match offset {
        Expr::Nested(inner) => is_negative(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            let zero = |digits: &str| digits.bytes().all(|digit| !digit.is_ascii_digit() || digit == b'0');
            matches!(expr.as_ref(), Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if !zero(digits)))
        }
        _ => false,
    }
}
