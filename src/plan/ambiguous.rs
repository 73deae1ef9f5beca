//! `SELECT a FROM (SELECT *, 1 AS a FROM t) x`: a name that stands for two columns of one relation, as PostgreSQL tells it (`42702`).
//!
//! Two columns of a query may have one name as long as nobody names them. DataFusion does not know that: so we give the second one a name of which
//! only the front is visible ([`names`](super::names)), or it puts a number behind it, and what is named is found: the first. In: a plan as
//! DataFusion made it of the text, where `x.*` reads every column of `x` alike; so a column that is read more often than a namesake has been named.

use std::collections::HashMap;

use datafusion::common::Column;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, SubqueryAlias};

use super::errors::{at_column, external};
use super::names::visible;
use super::walk::{WalkPlan, WalkTree};
use crate::error::{Error, Kind};

/// `42702` for the first such name, in subqueries too. `text`: what positions refer to.
pub(super) fn check(plan: &LogicalPlan, text: &str) -> DataFusionResult<()> {
    let mut found = None;
    plan.look_at_all(|node| {
        found = ambiguous(node)?;
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    let Some(column) = found else { return Ok(()) };
    let message = format!("column reference \"{}\" is ambiguous", visible(&column.name));
    let error = Error::new(Kind::AmbiguousColumn, message).hint("Give one of the columns another name with AS.");
    Err(external(at_column(error, &column, text)))
}

/// Columns of one relation that have one name: under the name that can be written, and the others.
type Namesakes = (Column, Vec<Column>);

/// A column that a node names though another one of its relation has the same name.
fn ambiguous(node: &LogicalPlan) -> DataFusionResult<Option<Column>> {
    let namesakes = namesakes_below(node);
    if namesakes.is_empty() {
        return Ok(None);
    }
    // `ORDER BY 2` names nobody, and is the name of the second column by now: what is written has its place in the text.
    let sorts = matches!(node, LogicalPlan::Sort(_) | LogicalPlan::Distinct(Distinct::On(_)));
    let mut read: HashMap<Column, usize> = HashMap::new();
    node.look_at_expressions(|expr| {
        expr.look(|inner| {
            let mut note = |column: &Column| *read.entry(column.clone()).or_default() += 1;
            match inner {
                Expr::Column(column) if sorts && column.spans.first().is_none() => {}
                Expr::Column(column) => note(column),
                Expr::Exists(exists) => outer_columns(&exists.subquery.outer_ref_columns).for_each(&mut note),
                Expr::ScalarSubquery(subquery) => outer_columns(&subquery.outer_ref_columns).for_each(&mut note),
                Expr::InSubquery(within) => outer_columns(&within.subquery.outer_ref_columns).for_each(&mut note),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    let times = |column: &Column| read.get(column).copied().unwrap_or(0);
    let named = namesakes.into_iter().find(|(plain, others)| others.iter().any(|other| times(other) < times(plain)));
    // That of the text knows its place there.
    Ok(named.map(|(plain, _)| read.remove_entry(&plain).map_or(plain, |(named, _)| named)))
}

fn outer_columns(outer: &[Expr]) -> impl Iterator<Item = &Column> {
    outer.iter().filter_map(|expr| if let Expr::OuterReferenceColumn(_, column) = expr { Some(column) } else { None })
}

/// Those of the relations that a node can name: none of what is within them.
fn namesakes_below(node: &LogicalPlan) -> Vec<Namesakes> {
    let of = |input: &&LogicalPlan| match input {
        LogicalPlan::SubqueryAlias(relation) => namesakes_of(relation),
        other => namesakes_below(other),
    };
    if matches!(node, LogicalPlan::SubqueryAlias(_)) { Vec::new() } else { node.inputs().iter().flat_map(of).collect() }
}

fn namesakes_of(relation: &SubqueryAlias) -> Vec<Namesakes> {
    // What has been declared has its names once.
    if matches!(relation.input.as_ref(), LogicalPlan::TableScan(_)) {
        return Vec::new();
    }
    let written = written_names(&relation.input);
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, name) in written.into_iter().enumerate() {
        by_name.entry(name).or_default().push(place);
    }
    let column = |place: usize| Column::from((Some(&relation.alias), relation.schema.field(place)));
    let several = by_name.into_iter().filter(|(_, places)| places.len() > 1);
    let parted = several.filter_map(|(name, places)| {
        let plain = places.iter().position(|place| relation.schema.field(*place).name() == name)?;
        let others = places.iter().enumerate().filter(|(at, _)| *at != plain).map(|(_, place)| column(*place));
        Some((column(places[plain]), others.collect()))
    });
    parted.collect()
}

/// The names of a relation's columns as they were before DataFusion told those of one name apart: `t.a, u.a` are `a` and `a:1` then.
fn written_names(plan: &LogicalPlan) -> Vec<&str> {
    let is_numbered = |expr: &Expr| match expr {
        Expr::Alias(alias) => match alias.expr.as_ref() {
            Expr::Column(column) => alias.name.strip_prefix(&column.name).is_some_and(|rest| rest.starts_with(':')),
            _ => false,
        },
        _ => false,
    };
    match plan {
        LogicalPlan::SubqueryAlias(within) => written_names(&within.input),
        // It has every column of the query below, and nothing else.
        LogicalPlan::Projection(all) if all.expr.len() == all.input.schema().fields().len() && all.expr.iter().any(is_numbered) => {
            all.input.schema().fields().iter().map(|field| visible(field.name())).collect()
        }
        other => other.schema().fields().iter().map(|field| visible(field.name())).collect(),
    }
}
