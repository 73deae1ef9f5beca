//! `percentile_cont(ARRAY[0.25, 0.5]) WITHIN GROUP (ORDER BY x)`: several fractions at once are as many calls.
//!
//! ```text
//! CASE WHEN count(x) > 0 THEN ARRAY[percentile_cont(0.25) WITHIN GROUP (ORDER BY x), percentile_cont(0.5) WITHIN GROUP (ORDER BY x)] END
//! ```
//!
//! Of no values there is no array, as in PostgreSQL. Runs when columns have their names.

use std::ops::ControlFlow;

use sqlparser::ast::{Array, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, VisitorMut};

use super::text;
use crate::error::{Error, Result};
use crate::sql::WalkMut;

/// The functions.
const NAMES: [&str; 4] = ["percentile_cont", "percentile_disc", "quantile_cont", "quantile_disc"];

/// Rewrites the calls in `query`.
pub(super) fn expand(query: &mut Query) -> Result<()> {
    query.walk_mut(&mut Expand).break_value().map_or(Ok(()), Err)
}

struct Expand;

impl VisitorMut for Expand {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = &*expr else { return ControlFlow::Continue(()) };
        let Some(fractions) = fractions_of(call) else { return ControlFlow::Continue(()) };
        match one_by_one(call, fractions) {
            Ok(calls) => {
                *expr = calls;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The fractions of such a call.
fn fractions_of(call: &Function) -> Option<&Array> {
    let name = call.name.0.last()?.as_ident()?.value.to_ascii_lowercase();
    if call.within_group.is_empty() || !NAMES.contains(&name.as_str()) {
        return None;
    }
    match argument_of(call)? {
        Expr::Array(fractions) => Some(fractions),
        _ => None,
    }
}

fn argument_of(call: &Function) -> Option<&Expr> {
    match &call.args {
        FunctionArguments::List(list) => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => Some(argument),
            _ => None,
        },
        _ => None,
    }
}

fn with_argument(mut call: Function, argument: Expr) -> Expr {
    if let FunctionArguments::List(list) = &mut call.args {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))];
    }
    Expr::Function(call)
}

fn one_by_one(call: &Function, fractions: &Array) -> Result<Expr> {
    let elem = fractions.elem.iter().map(|fraction| with_argument(call.clone(), fraction.clone())).collect();
    let mut case = text::expression("CASE WHEN count(NULL) > 0 THEN NULL END")?;
    if let Expr::Case { conditions, .. } = &mut case
        && let [arm] = conditions.as_mut_slice()
        && let Expr::BinaryOp { left, .. } = &mut arm.condition
        && let Expr::Function(count) = left.as_mut()
        && let Some(by) = call.within_group.first()
    {
        let count = Function { filter: call.filter.clone(), ..count.clone() };
        **left = with_argument(count, by.expr.clone());
        arm.result = Expr::Array(Array { elem, named: fractions.named });
    }
    Ok(case)
}
