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
//! planning knows: so `SELECT *` over the relations of the FROM is planned, without its conditions, and its columns are taken.
//!
//! Queries within are rewritten before those around them; so each FROM is planned at most once for every query around it.

mod merge;
mod references;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::TableReference;
use sqlparser::ast::{
    Cte, Expr, Ident, JoinConstraint, JoinOperator, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
    Value, Visitor, VisitorMut, With,
};

use super::names::normal;
use super::planner::Planner;
use super::resolve::Scope;
use super::text;
use crate::error::{Error, Kind, Result};
use crate::sql::{Walk, WalkMut};
use crate::types::SqlType;
use merge::{Merge, Output};
use references::{References, merged_among};

/// What is needed to plan a FROM.
#[derive(Clone, Copy)]
pub(super) struct Within<'a> {
    /// Plans it.
    pub planner: &'a Planner,
    /// Where its names are looked up.
    pub scope: &'a Scope<'a>,
    /// How many views it stands in.
    pub depth: usize,
    /// The types of parameters, as far as they are known.
    pub parameters: &'a [Option<SqlType>],
}

/// Rewrites `query` and all queries within it. `42601` for a join that says neither what its rows have in common nor that it is CROSS.
pub(super) fn expand(query: &mut Query, within: Within<'_>) -> Result<()> {
    if query.walk(&mut HasOpenJoin).is_break() {
        let error = Error::new(Kind::Syntax, "a JOIN has neither ON nor USING");
        return Err(error.hint("Write CROSS JOIN for all pairs of rows."));
    }
    if query.walk(&mut HasUsing).is_continue() {
        return Ok(());
    }
    match query.walk_mut(&mut Expand { within, frames: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The constraint of a join that has one.
fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
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

/// The WITH of one query on the way to the place that is being visited.
struct Frame {
    recursive: bool,
    queries: Vec<Cte>,
    /// How many of them have been visited: the others cannot be read yet.
    visited: usize,
}

struct Expand<'a> {
    within: Within<'a>,
    frames: Vec<Frame>,
}

impl VisitorMut for Expand<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let (recursive, queries) = query.with.as_ref().map_or((false, Vec::new()), |with| (with.recursive, with.cte_tables.clone()));
        self.frames.push(Frame { recursive, queries, visited: 0 });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let known = self.known();
        let columns = Columns { within: self.within, known: &known };
        if let Err(error) = in_body(&mut query.body, Some(&mut query.order_by), &columns) {
            return ControlFlow::Break(error);
        }
        self.frames.pop();
        if let Some(around) = self.frames.last_mut()
            && let Some(cte) = around.queries.get_mut(around.visited)
        {
            *cte.query = query.clone();
            around.visited += 1;
        }
        ControlFlow::Continue(())
    }
}

impl Expand<'_> {
    /// The queries of WITH that can be read here. One that is reading itself has the columns of its first term.
    fn known(&self) -> Vec<Cte> {
        let mut known = Vec::new();
        for frame in &self.frames {
            known.extend_from_slice(&frame.queries[..frame.visited]);
            if let Some(cte) = frame.queries.get(frame.visited)
                && frame.recursive
                && let SetExpr::SetOperation { left, .. } = cte.query.body.as_ref()
            {
                let first = Query { body: left.clone(), ..cte.query.as_ref().clone() };
                known.push(Cte { query: Box::new(first), ..cte.clone() });
            }
        }
        known
    }
}

/// Tells the columns of relations.
struct Columns<'a> {
    within: Within<'a>,
    known: &'a [Cte],
}

/// A column of a FROM.
#[derive(Clone)]
struct Known {
    /// What stands before its name.
    qualifier: Option<TableReference>,
    name: String,
    data_type: DataType,
}

impl Columns<'_> {
    /// The columns of `FROM items`, in order.
    fn of(&self, items: &[TableWithJoins], more: &[Cte]) -> Result<Vec<Known>> {
        let mut query = text::query("SELECT * FROM t")?;
        let mut from = items.to_vec();
        from.iter_mut().for_each(unconditional);
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.from = from;
        }
        let cte_tables: Vec<Cte> = last_of_each_name(self.known.iter().chain(more));
        if !cte_tables.is_empty() {
            let with_token = text::query("WITH t AS (SELECT 1) SELECT 1")?.with.map(|with| with.with_token);
            query.with = with_token.map(|with_token| With { with_token, recursive: false, cte_tables });
        }
        let Within { planner, scope, depth, parameters } = self.within;
        let (plan, ..) = planner.plan_query(&query, scope, depth, parameters, false)?;
        let known = |(qualifier, field): (Option<&TableReference>, &Arc<Field>)| Known {
            qualifier: qualifier.cloned(),
            name: field.name().clone(),
            data_type: field.data_type().clone(),
        };
        Ok(plan.schema().iter().map(known).collect())
    }
}

/// Of several queries of one name, the last.
fn last_of_each_name<'a>(queries: impl Iterator<Item = &'a Cte>) -> Vec<Cte> {
    let mut kept: Vec<Cte> = Vec::new();
    for cte in queries {
        kept.retain(|other| normal(&other.alias.name) != normal(&cte.alias.name));
        kept.push(cte.clone());
    }
    kept
}

/// Every join of an item without its condition.
fn unconditional(item: &mut TableWithJoins) {
    let within = |factor: &mut TableFactor| {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            unconditional(table_with_joins);
        }
    };
    within(&mut item.relation);
    for join in &mut item.joins {
        within(&mut join.relation);
        if constraint_of(&mut join.join_operator).is_some() {
            join.join_operator = JoinOperator::Inner(JoinConstraint::On(Expr::value(Value::Boolean(true))));
        }
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
