//! Refuses calls with clauses that their functions do not take: `upper(x) OVER ()`, `upper(DISTINCT x)`, `count()`. DataFusion lets them pass.

use std::ops::ControlFlow;

use sqlparser::ast::{DuplicateTreatment, Expr, Function, FunctionArguments, Query, Spanned, Visitor};

use super::errors::placed;
use super::foreign_functions;
use super::hypothetical::is_hypothetical;
use super::planner::Planner;
use crate::error::{Error, Kind, Result};
use crate::sql::Walk;

/// `42809` for such a call. `text`: what positions refer to.
pub(super) fn check(query: &Query, planner: &Planner, text: &str) -> Result<()> {
    match query.walk(&mut Calls { planner, text }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Calls<'a> {
    planner: &'a Planner,
    text: &'a str,
}

impl Visitor for Calls<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let Some(message) = refused(call, self.planner) else { return ControlFlow::Continue(()) };
        let error = Error::new(Kind::WrongObjectType, message);
        let name = call.name.0.last().and_then(|name| name.as_ident()).map(|name| name.value.as_str());
        let error = match name.and_then(foreign_functions::hint) {
            Some(hint) => error.hint(hint),
            None => error,
        };
        let start = call.name.span().start;
        ControlFlow::Break(placed(error, (start.line, start.column), self.text))
    }
}

fn refused(call: &Function, planner: &Planner) -> Option<String> {
    let name = call.name.0.last()?.as_ident()?.value.to_ascii_lowercase();
    let (distinct, ordered, arguments) = match &call.args {
        FunctionArguments::List(list) => {
            (list.duplicate_treatment == Some(DuplicateTreatment::Distinct), !list.clauses.is_empty(), Some(list.args.len()))
        }
        _ => (false, false, None),
    };
    let state = planner.state();
    if state.aggregate_functions().contains_key(&name) {
        let parameterless = name == "count" && arguments == Some(0);
        return parameterless.then(|| "count(*) must be used to call a parameterless aggregate function".to_owned());
    }
    if state.window_functions().contains_key(&name) {
        return (call.over.is_none() && !is_hypothetical(call)).then(|| format!("window function {name} requires an OVER clause"));
    }
    if !state.scalar_functions().contains_key(&name) {
        return None;
    }
    if call.over.is_some() {
        return Some(format!("OVER specified, but {name} is not a window function nor an aggregate function"));
    }
    let clause = match () {
        () if distinct => "DISTINCT",
        () if ordered => "ORDER BY",
        () if call.filter.is_some() => "FILTER",
        () if !call.within_group.is_empty() => "WITHIN GROUP",
        () => return None,
    };
    Some(format!("{clause} specified, but {name} is not an aggregate function"))
}
