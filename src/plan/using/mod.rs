//! `JOIN … USING (k)` and `NATURAL JOIN` → `JOIN … ON l.k = r.k`, with PostgreSQL's merged column.
//!
//! In: a query as it was written. Out: the same query without USING, before anything else has looked at it:
//!
//! ```text
//! SELECT *, k FROM l LEFT JOIN r USING (k)     SELECT l.k AS k, l.a, r.z, l.k AS k FROM l LEFT JOIN r ON l.k = r.k
//! SELECT k FROM l FULL JOIN r USING (k)        SELECT coalesce(l.k, r.k) AS k FROM l FULL JOIN r ON l.k = r.k
//! ```
//!
//! The merged column is that of the left for INNER and LEFT, of the right for RIGHT, the one that is there for FULL; where they are of two types, it has
//! the one to which both are cast to be compared. `*` has the merged columns
//! first, then the rest of the left, then of the right; `l.k`, `r.k` and `l.*` mean what they always mean. Which columns a relation has only
//! planning knows (`from_columns`).
//!
//! Queries within are rewritten before those around them; so each FROM is planned at most once for every query around it.

mod merge;
mod references;

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
    Visitor, VisitorMut,
};

use super::from_columns::{Columns, Within, Withs, constraint_of};
use super::names::normal;
use crate::error::{Error, Kind, Result};
use crate::sql::{Walk, WalkMut};
use merge::{Merge, Output};
use references::{References, merged_among};

/// Rewrites `query` and all queries within it. `42601` for a join that says neither what its rows have in common nor that it is CROSS.
pub(super) fn expand(query: &mut Query, within: Within<'_>) -> Result<()> {
    if query.walk(&mut HasOpenJoin).is_break() {
        let error = Error::new(Kind::Syntax, "a JOIN has neither ON nor USING");
        return Err(error.hint("Write CROSS JOIN for all pairs of rows."));
    }
    if query.walk(&mut HasUsing).is_continue() {
        return Ok(());
    }
    match query.walk_mut(&mut Expand { within, withs: Withs::default() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn is_merging(operator: &JoinOperator) -> bool {
    let mut operator = operator.clone();
    matches!(constraint_of(&mut operator), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
}

/// Whether the joins of a FROM item merge columns, also those in parentheses.
fn merges(item: &TableWithJoins) -> bool {
    let nested = |factor: &TableFactor| matches!(factor, TableFactor::NestedJoin { table_with_joins, .. } if merges(table_with_joins));
    nested(&item.relation) || item.joins.iter().any(|join| is_merging(&join.join_operator) || nested(&join.relation))
}

/// Whether a FROM item has a join without a condition that has to have one.
fn is_open(item: &TableWithJoins) -> bool {
    let nested = |factor: &TableFactor| matches!(factor, TableFactor::NestedJoin { table_with_joins, .. } if is_open(table_with_joins));
    let open = |operator: &JoinOperator| matches!(constraint_of(&mut operator.clone()), Some(JoinConstraint::None));
    nested(&item.relation) || item.joins.iter().any(|join| open(&join.join_operator) || nested(&join.relation))
}

/// Breaks where a join lacks a condition.
struct HasOpenJoin;

impl Visitor for HasOpenJoin {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.from.iter().any(is_open) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Breaks where there is a join to rewrite.
struct HasUsing;

impl Visitor for HasUsing {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.from.iter().any(merges) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

struct Expand<'a> {
    within: Within<'a>,
    withs: Withs,
}

impl VisitorMut for Expand<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.withs.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let known = self.withs.known();
        let columns = Columns { within: self.within, known: &known };
        if let Err(error) = in_body(&mut query.body, Some(&mut query.order_by), &columns) {
            return ControlFlow::Break(error);
        }
        self.withs.leave(query);
        ControlFlow::Continue(())
    }
}

fn in_body(body: &mut SetExpr, order_by: Option<&mut Option<OrderBy>>, columns: &Columns<'_>) -> Result<()> {
    match body {
        SetExpr::Select(select) => in_select(select, order_by, columns),
        SetExpr::SetOperation { left, right, .. } => {
            in_body(left, None, columns)?;
            in_body(right, None, columns)
        }
        // Queries in parentheses are visited on their own.
        _ => Ok(()),
    }
}

fn in_select(select: &mut Select, order_by: Option<&mut Option<OrderBy>>, columns: &Columns<'_>) -> Result<()> {
    if !select.from.iter().any(merges) {
        return Ok(());
    }
    for item in &mut select.from {
        merge::name_parenthesised(item, columns)?;
    }
    let mut merge = Merge::new(columns, &select.from)?;
    let mut outputs = Vec::new();
    let mut from = std::mem::take(&mut select.from);
    for item in &mut from {
        let more = merge.item(item, &outputs)?;
        outputs.extend(more);
    }
    let merged = merged_among(&outputs);
    let mut items = Vec::with_capacity(select.projection.len());
    for item in select.projection.drain(..) {
        match item {
            SelectItem::Wildcard(_) => items.extend(outputs.iter().map(Output::item)),
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) if merged.iter().any(|output| output.name == normal(&ident)) => {
                items.push(SelectItem::ExprWithAlias { alias: quoted(&normal(&ident)), expr: Expr::Identifier(ident) });
            }
            other => items.push(other),
        }
    }
    select.projection = items;
    let mut references = References::new(&merged, columns);
    references.put_into(select)?;
    select.from = from;
    if let Some(Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. })) = order_by {
        for by in exprs {
            let is_output =
                matches!(&by.expr, Expr::Identifier(ident) if select.projection.iter().any(|item| is_named(item, &normal(ident))));
            if !is_output {
                references.put_into(&mut by.expr)?;
            }
        }
    }
    Ok(())
}

fn is_named(item: &SelectItem, name: &str) -> bool {
    match item {
        SelectItem::UnnamedExpr(expr) => super::names::figure(expr).is_some_and(|(figured, _)| figured == name),
        SelectItem::ExprWithAlias { alias, .. } => normal(alias) == name,
        _ => false,
    }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}
