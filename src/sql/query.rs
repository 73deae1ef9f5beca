//! What every query is checked for before anyone plans it.
//!
//! Names of three parts lose the database; queries that write (`WITH x AS (DELETE …)`, `SELECT … INTO`) or lock
//! are refused here, so that a `Query` always only reads.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, LimitClause, ObjectName, ObjectNamePart, Query, Select, SetExpr, TableFactor, VisitorMut};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::as_of::mark_joins;
use super::clauses::{check_query, check_select, check_table};
use super::reader::{name_of, position_of};
use crate::error::{Error, Kind, Result};

/// The function that marks the number of a `FETCH FIRST … WITH TIES`.
pub const WITH_TIES: &str = "with_ties";

/// The visitor that does it; `text` is what the tree was parsed from.
pub(super) struct Normalize<'t> {
    pub(super) text: &'t str,
}

/// Whether `expression` is the word DEFAULT, as in `VALUES (1, DEFAULT)` and `SET a = DEFAULT`: the parser leaves it as
/// an unquoted identifier, which no column can be, since DEFAULT is reserved.
pub fn is_default(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
}

/// An identifier's name: in lower case unless quoted.
pub(super) fn folded(identifier: &Ident) -> String {
    if identifier.quote_style.is_some() { identifier.value.clone() } else { identifier.value.to_ascii_lowercase() }
}

impl VisitorMut for Normalize<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Some(lock) = query.locks.first() {
            return refuse(&format!("FOR {}", lock.lock_type), "A query sees one consistent epoch and needs no locks.");
        }
        if let Err(error) = check_query(query, self.text).and_then(|()| fetch_as_limit(query)) {
            return ControlFlow::Break(error);
        }
        let mut body = query.body.as_ref();
        // UNION and its kin lean to the left: the loop follows them down, and what is right of them is a query's core.
        loop {
            match body {
                SetExpr::SetOperation { left, right, .. } => {
                    writes(right)?;
                    body = left;
                }
                last => return writes(last),
            }
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if select.into.is_some() {
            refuse("SELECT INTO", "Use CREATE TABLE … AS SELECT ….")?
        }
        let marked = select.from.iter_mut().try_for_each(|from| mark_joins(&mut from.joins, self.text));
        match marked.and_then(|()| check_select(select, self.text)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let marked = match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => mark_joins(&mut table_with_joins.joins, self.text),
            _ => Ok(()),
        };
        match marked.and_then(|()| check_table(factor, self.text)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Error> {
        match self.without_database(relation) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Normalize<'_> {
    /// `tidemill.schema.name` → `schema.name`; another database is refused.
    fn without_database(&self, relation: &mut ObjectName) -> Result<()> {
        if relation.0.len() < 3 {
            return Ok(());
        }
        let parts: Vec<String> = relation.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect();
        let start = relation.0.first().and_then(ObjectNamePart::as_ident).map(|first| first.span.start);
        name_of(parts, start.map_or(1, |start| position_of(self.text, start)))?;
        relation.0.remove(0);
        Ok(())
    }
}

/// `FETCH FIRST n ROWS` says what LIMIT says; WITH TIES stays as a mark on the number.
fn fetch_as_limit(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.percent {
        return Err(Error::not_supported("FETCH FIRST … PERCENT is not supported yet").hint("Say how many rows are wanted."));
    }
    let quantity = fetch.quantity.map_or_else(|| "1".to_owned(), |quantity| quantity.to_string());
    let text = if fetch.with_ties { format!("{WITH_TIES}({quantity})") } else { quantity };
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&text).and_then(|mut parser| parser.parse_expr());
    let wanted = parsed.map_err(|error| Error::new(Kind::Syntax, error.to_string()))?;
    match &mut query.limit_clause {
        None => query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(wanted), offset: None, limit_by: Vec::new() }),
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(wanted),
        Some(_) => return Err(Error::new(Kind::Syntax, "multiple LIMIT clauses not allowed")),
    }
    Ok(())
}

/// Refuses a query's core that changes rows.
fn writes(body: &SetExpr) -> ControlFlow<Error> {
    let statement = match body {
        SetExpr::Insert(_) => "INSERT",
        SetExpr::Update(_) => "UPDATE",
        SetExpr::Delete(_) => "DELETE",
        SetExpr::Merge(_) => "MERGE",
        _ => return ControlFlow::Continue(()),
    };
    refuse(&format!("{statement} within a query"), "Send it as a statement of its own; RETURNING gives its rows.")
}

/// Stops the visit.
fn refuse(construct: &str, hint: &str) -> ControlFlow<Error> {
    ControlFlow::Break(Error::not_supported(format!("{construct} is not supported yet")).hint(hint))
}
