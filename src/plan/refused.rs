//! What a query may not say, told from its text before it is planned, in PostgreSQL's words and with the place.
//!
//! Only what needs no types: where aggregates stand, what LIMIT holds, how literals and names are written. DataFusion would refuse the same later,
//! in words about its own insides, or let it pass.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, LimitClause, Query, Select, SelectItem, Spanned,
    UnaryOperator, Value, ValueWithSpan, Visitor,
};
use sqlparser::tokenizer::Location;

use super::errors::placed;
use super::planner::Planner;
use crate::error::{Error, Kind, Result};
use crate::sql::Walk;

/// Parts of a dotted name at the most: database, schema, table, column.
const NAME_PARTS_MAX: usize = 4;

/// The first thing that `query` may not say. `text`: what positions refer to.
pub(super) fn check(query: &Query, planner: &Planner, text: &str) -> Result<()> {
    match query.walk(&mut Refused { planner, text }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// `42803` and `42P20` for aggregates and window functions in `expr`, but for those in its subqueries. `clause`: where it stands.
pub(super) fn no_aggregates<V: Walk>(expr: &V, clause: &str, planner: &Planner, text: &str) -> Result<()> {
    match expr.walk(&mut Aggregates { planner, clause, text, depth: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Refused<'a> {
    planner: &'a Planner,
    text: &'a str,
}

impl Refused<'_> {
    fn at(&self, error: Error, start: Location) -> Error {
        placed(error, (start.line, start.column), self.text)
    }

    fn group_by(&self, select: &Select) -> Result<()> {
        let GroupByExpr::Expressions(clauses, _) = &select.group_by else { return Ok(()) };
        for clause in clauses {
            // Behind a `*` nobody knows yet which column a number means.
            let counted = |place: usize| {
                let before = select.projection.get(..place).unwrap_or_default();
                let stars = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
                before.last().filter(|_| !before.iter().any(stars))
            };
            match number(clause).and_then(counted) {
                Some(item) => no_aggregates(item, "GROUP BY", self.planner, self.text)?,
                None => no_aggregates(clause, "GROUP BY", self.planner, self.text)?,
            }
        }
        Ok(())
    }

    /// A string behind an item is no name: PostgreSQL joins strings only over the end of a line.
    fn names(&self, select: &Select) -> Result<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item
                && alias.quote_style == Some('\'')
            {
                let near = alias.value.replace('\'', "''");
                let error = Error::new(Kind::Syntax, format!("syntax error at or near \"'{near}'\""));
                let error = error.hint("Strings are joined by ||, and names stand in double quotes.");
                return Err(self.at(error, alias.span.start));
            }
        }
        Ok(())
    }

    fn limit(&self, limit: &LimitClause) -> Result<()> {
        let LimitClause::LimitOffset { limit, offset, .. } = limit else { return Ok(()) };
        for (count, clause) in limit.iter().map(|count| (count, "LIMIT")).chain(offset.iter().map(|offset| (&offset.value, "OFFSET"))) {
            no_aggregates(count, clause, self.planner, self.text)?;
            if let ControlFlow::Break(start) = count.walk(&mut Variables { depth: 0 }) {
                let error = Error::new(Kind::InvalidColumnReference, format!("argument of {clause} must not contain variables"));
                return Err(self.at(error, start));
            }
        }
        Ok(())
    }

    fn expr(&self, expr: &Expr) -> Result<()> {
        match expr {
            Expr::CompoundIdentifier(parts) if parts.len() > NAME_PARTS_MAX => {
                let name = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
                let error = Error::new(Kind::Syntax, format!("improper qualified name (too many dotted names): {name}"));
                Err(self.at(error, expr.span().start))
            }
            Expr::UnaryOp { op: UnaryOperator::Hash, .. } => {
                let error = Error::new(Kind::UndefinedFunction, "operator does not exist: # before a value");
                Err(self.at(error.hint("# stands between two integers, whose bits it compares."), expr.span().start))
            }
            Expr::Function(call) => self.star(call),
            Expr::Value(value) => self.literal(value),
            _ => Ok(()),
        }
    }

    /// `max(*)`: only count takes the rows themselves.
    fn star(&self, call: &Function) -> Result<()> {
        let FunctionArguments::List(list) = &call.args else { return Ok(()) };
        let is_star = |argument: &FunctionArg| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
        let Some(name) = plain_name(call).filter(|name| name != "count") else { return Ok(()) };
        if !list.args.iter().any(is_star) {
            return Ok(());
        }
        let error = Error::new(Kind::UndefinedFunction, format!("function {name}() does not exist"));
        let error = error.hint("No function matches the given name and argument types. Only count takes *.");
        Err(self.at(error, call.name.span().start))
    }

    fn literal(&self, value: &ValueWithSpan) -> Result<()> {
        let error = match &value.value {
            Value::SingleQuotedByteStringLiteral(_) => {
                Error::not_supported("bit strings are not supported").hint("Use an integer or bytea.")
            }
            Value::HexStringLiteral(digits) => match digits.chars().find(|digit| !digit.is_ascii_hexdigit()) {
                Some(wrong) => Error::new(Kind::InvalidText, format!("\"{wrong}\" is not a valid hexadecimal digit")),
                None if digits.len() % 2 == 1 => {
                    Error::not_supported("bit strings of half a byte are not supported").hint("Write an even number of digits.")
                }
                None => return Ok(()),
            },
            Value::Placeholder(name) if !name.starts_with('$') => {
                let near = name.chars().next().unwrap_or('?');
                Error::new(Kind::Syntax, format!("syntax error at or near \"{near}\"")).hint("Parameters are called $1, $2, ….")
            }
            _ => return Ok(()),
        };
        Err(self.at(error, value.span.start))
    }
}

impl Visitor for Refused<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        flow(query.limit_clause.as_ref().map_or(Ok(()), |limit| self.limit(limit)))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        flow(self.group_by(select).and_then(|()| self.names(select)))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        flow(self.expr(expr))
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    result.map_or_else(ControlFlow::Break, ControlFlow::Continue)
}

/// The number that a clause is.
fn number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => digits.parse().ok(),
        _ => None,
    }
}

/// The function's name in lower case, without a schema.
fn plain_name(call: &Function) -> Option<String> {
    call.name.0.last()?.as_ident().map(|ident| ident.value.to_ascii_lowercase())
}

/// Finds calls of aggregates.
struct Aggregates<'a> {
    planner: &'a Planner,
    clause: &'a str,
    text: &'a str,
    /// Of subqueries.
    depth: usize,
}

impl Visitor for Aggregates<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let Some(name) = plain_name(call).filter(|_| self.depth == 0) else { return ControlFlow::Continue(()) };
        let is_aggregate = name == "grouping" || self.planner.state().aggregate_functions().contains_key(&name);
        let (kind, what) = match (&call.over, is_aggregate) {
            (Some(_), _) => (Kind::Windowing, "window"),
            (None, true) => (Kind::Grouping, "aggregate"),
            (None, false) => return ControlFlow::Continue(()),
        };
        let error = Error::new(kind, format!("{what} functions are not allowed in {}", self.clause));
        let start = call.name.span().start;
        ControlFlow::Break(placed(error, (start.line, start.column), self.text))
    }
}

/// Finds the first name of a column.
struct Variables {
    /// Of subqueries.
    depth: usize,
}

impl Visitor for Variables {
    type Break = Location;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Location> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Location> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Location> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) if self.depth == 0 => ControlFlow::Break(expr.span().start),
            _ => ControlFlow::Continue(()),
        }
    }
}
