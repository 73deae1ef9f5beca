//! `WITH RECURSIVE` in PostgreSQL's form → in the form that the planner reads.
//!
//! PostgreSQL: queries of one `WITH RECURSIVE` may stand in any order; one that reads itself is `term UNION [ALL] term`, reads itself once, in
//! the second term, and has nothing behind it; one that does not is an ordinary query. The planner takes the queries in their order, and
//! takes the two sides of every UNION apart, dropping what stands around it. So here
//!
//! - queries are put behind those that they read;
//! - `(SELECT … UNION SELECT … LIMIT 1)` that does not read itself gets parentheses around it;
//! - the recursive term becomes `SELECT * FROM (term)`: where the planner then casts a column, it does so in a place that we can tell apart;
//! - everything else is refused in PostgreSQL's words.

use std::ops::ControlFlow;

use sqlparser::ast::{Cte, Expr, ObjectName, Query, SetExpr, SetOperator, SetQuantifier, TableFactor, Visitor, VisitorMut, With};

use super::query::folded;
use super::walk::{Walk, WalkMut};
use super::windows::template;
use crate::error::{Error, Kind, Result};

/// Does it for `query` and for all queries within it.
pub fn prepare_recursion(query: &mut Query) -> Result<()> {
    match query.walk_mut(&mut Prepare) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Whether a query of WITH RECURSIVE reads itself; its name in lower case unless it was quoted.
pub fn reads_itself(query: &Query, name: &str) -> bool {
    uses(query, name).all > 0
}

struct Prepare;

impl VisitorMut for Prepare {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match &mut query.with {
            Some(with) if with.recursive => match prepare(with) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}

fn prepare(with: &mut With) -> Result<()> {
    behind_what_they_read(&mut with.cte_tables)?;
    for cte in &mut with.cte_tables {
        let name = folded(&cte.alias.name);
        if reads_itself(&cte.query, &name) {
            recursive(&mut cte.query, &name)?;
        } else if matches!(cte.query.body.as_ref(), SetExpr::SetOperation { .. }) {
            enclose(&mut cte.query);
        }
    }
    Ok(())
}

/// Puts every query behind those of the others that it reads.
fn behind_what_they_read(queries: &mut Vec<Cte>) -> Result<()> {
    let mut waiting = std::mem::take(queries);
    while !waiting.is_empty() {
        let name = |cte: &Cte| folded(&cte.alias.name);
        let reads_none = |cte: &Cte| {
            let others = waiting.iter().map(name).filter(|other| *other != name(cte));
            others.into_iter().all(|other| uses(cte.query.as_ref(), &other).all == 0)
        };
        let Some(next) = waiting.iter().position(reads_none) else {
            return Err(Error::not_supported("mutual recursion between WITH items is not implemented")
                .hint("Make one recursive query of them, with a column that says which of them a row belongs to."));
        };
        queries.push(waiting.remove(next));
    }
    Ok(())
}

/// Checks and prepares a query that reads itself.
fn recursive(query: &mut Query, name: &str) -> Result<()> {
    let wrong = |text: String| Error::new(Kind::InvalidRecursion, text);
    if query.order_by.is_some() {
        return Err(not_implemented("ORDER BY"));
    }
    if query.limit_clause.is_some() {
        return Err(not_implemented("LIMIT or OFFSET"));
    }
    let shared = query.with.take();
    let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } = query.body.as_mut() else {
        return Err(wrong(format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term")));
    };
    if !matches!(set_quantifier, SetQuantifier::None | SetQuantifier::All | SetQuantifier::Distinct) {
        return Err(Error::not_supported(format!("UNION {set_quantifier} in a recursive query")).hint("Write UNION or UNION ALL."));
    }
    if uses(left.as_ref(), name).all > 0 {
        return Err(wrong(format!("recursive reference to query \"{name}\" must not appear within its non-recursive term")));
    }
    let within = uses(right.as_ref(), name);
    if within.in_expressions > 0 || shared.as_ref().is_some_and(|with| uses(with, name).all > 0) {
        return Err(wrong(format!("recursive reference to query \"{name}\" must not appear within a subquery")));
    }
    if within.all > 1 {
        return Err(wrong(format!("recursive reference to query \"{name}\" must not appear more than once")));
    }
    for side in [&mut *left, &mut *right] {
        if shared.is_some() {
            let mut around = template("SELECT 1");
            around.with.clone_from(&shared);
            std::mem::swap(&mut around.body, side);
            **side = SetExpr::Query(Box::new(around));
        }
    }
    let mut around = template("SELECT 1");
    std::mem::swap(&mut around.body, right);
    enclose(&mut around);
    **right = *around.body;
    Ok(())
}

fn not_implemented(construct: &str) -> Error {
    Error::not_supported(format!("{construct} in a recursive query is not implemented"))
        .hint("Put it into the query that reads the recursive one.")
}

/// `query` → `SELECT * FROM (query)`.
fn enclose(query: &mut Query) {
    let inner = std::mem::replace(query, template("SELECT * FROM (SELECT 1)"));
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
    {
        **subquery = inner;
    }
}

/// How often a name is read.
#[derive(Clone, Copy, Default)]
struct Uses {
    all: usize,
    /// Within a subquery that is part of an expression.
    in_expressions: usize,
}

fn uses(tree: &impl Walk, name: &str) -> Uses {
    let mut count = Count { name, hidden: 0, expressions: 0, uses: Uses::default() };
    // The counter's visit never breaks.
    let ControlFlow::Continue(()) = tree.walk(&mut count);
    count.uses
}

struct Count<'a> {
    name: &'a str,
    /// Queries around this place that give the name another meaning.
    hidden: usize,
    expressions: usize,
    uses: Uses,
}

impl Count<'_> {
    fn hides(&self, query: &Query) -> bool {
        query.with.as_ref().is_some_and(|with| with.cte_tables.iter().any(|cte| folded(&cte.alias.name) == self.name))
    }
}

impl Visitor for Count<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.hidden += usize::from(self.hides(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.hidden -= usize::from(self.hides(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _expression: &Expr) -> ControlFlow<Self::Break> {
        self.expressions += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expression: &Expr) -> ControlFlow<Self::Break> {
        self.expressions -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        if let [part] = relation.0.as_slice()
            && self.hidden == 0
            && part.as_ident().is_some_and(|ident| folded(ident) == self.name)
        {
            self.uses.all += 1;
            self.uses.in_expressions += usize::from(self.expressions > 0);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::prepare_recursion;
    use crate::sql::{Statement, parse};

    fn prepared(text: &str) -> crate::error::Result<String> {
        let mut parsed = parse(text)?;
        let Statement::Query(mut query) = parsed.remove(0).statement else { panic!("not a query: {text}") };
        prepare_recursion(&mut query)?;
        Ok(query.to_string())
    }

    #[test]
    fn only_what_reads_itself_is_recursive() {
        assert_eq!(
            prepared(
                "WITH RECURSIVE b AS (SELECT n FROM a UNION SELECT 2 LIMIT 1), a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a) TABLE b"
            )
            .unwrap(),
            "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT * FROM (SELECT n + 1 FROM a)), \
             b AS (SELECT * FROM (SELECT n FROM a UNION SELECT 2 LIMIT 1)) TABLE b"
        );
    }

    #[test]
    fn what_postgresql_refuses_is_refused_in_its_words() {
        let cases = [
            ("SELECT * FROM r", "does not have the form"),
            ("SELECT * FROM r UNION SELECT 1", "non-recursive term"),
            ("SELECT 1 UNION SELECT x.n FROM r x, r y", "more than once"),
            ("SELECT 1 UNION SELECT 2 WHERE 3 IN (SELECT n FROM r)", "within a subquery"),
            ("SELECT 1 UNION SELECT n FROM r ORDER BY 1", "ORDER BY"),
            ("SELECT 1 UNION SELECT n FROM r LIMIT 3", "LIMIT"),
        ];
        for (query, words) in cases {
            let error = prepared(&format!("WITH RECURSIVE r(n) AS ({query}) SELECT * FROM r")).unwrap_err();
            assert!(error.message().contains(words), "{query}: {error}");
        }
        let error = prepared("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT * FROM a) TABLE a").unwrap_err();
        assert!(error.message().contains("mutual recursion"));
        // Another query of the same name is another thing.
        assert!(prepared("WITH RECURSIVE r AS (SELECT 1 UNION SELECT * FROM (WITH r AS (SELECT 2) SELECT * FROM r) x) TABLE r").is_ok());
    }
}
