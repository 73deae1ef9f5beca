//! Subqueries that read columns from outside, in the places and of the shapes for which DataFusion has no join, or a wrong one.
//!
//! What DataFusion's rules do right stays theirs (`is_left`): conditions of WHERE that can be moved into the condition of a join. Everything
//! else is made for all rows from outside at once (`push`) and joined with them:
//!
//! ```text
//! a value          left join; the value is a column
//! EXISTS, IN       semi or anti join as a condition of its own, mark join elsewhere
//! LATERAL          inner or left join
//! ```
//!
//! From the outside inwards: a subquery that reads columns from two levels up is a plain one when the one around it is gone.

mod left;
mod places;
mod push;
mod references;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, FetchType, Filter, Join, LogicalPlan, LogicalPlanBuilder, SkipType, Subquery, SubqueryAlias, lit};
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};

pub(super) use self::places::refuse_elsewhere;

use self::left::{Use, is_left, is_left_with};
use self::push::{Domain, join};
use self::references::{free, free_in, lateral, refers, subquery_of};
use super::errors::external;
use super::join_mark::is_marked;
use super::names::hidden;
use super::subqueries::{in_as_exists, one_value_of, three_valued};
use super::walk::{WalkPlan, WalkTree};
use crate::error::Error;

/// Makes joins of the subqueries that nobody else can.
pub(super) fn unnested(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut unnesting = Unnesting { next: 0 };
    plan.change_all_down(|mut node| {
        let mut changed = false;
        while let Some(next) = unnesting.step(&node)? {
            (node, changed) = (next, true);
        }
        Ok(Transformed::new_transformed(node, changed))
    })
    .data()
}

struct Unnesting {
    /// Makes names unique.
    next: usize,
}

impl Unnesting {
    /// The same plan with a subquery less, or with one in an easier form; `None` if there is nothing to do.
    fn step(&mut self, node: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
        match node {
            LogicalPlan::Join(join) => match lateral(&join.right) {
                Some(subquery) => self.lateral(join, subquery),
                None if join.join_type == JoinType::Inner => condition_above(join),
                None => self.outer_condition(join),
            },
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_) => self.within(node),
            _ => Ok(None),
        }
    }

    fn lateral(&mut self, old: &Join, subquery: &Subquery) -> DataFusionResult<Option<LogicalPlan>> {
        if !matches!(old.join_type, JoinType::Inner | JoinType::Left) || is_left(&subquery.subquery, Use::Rows) {
            return Ok(None);
        }
        let Some((domain, mut right)) = self.pushed(&subquery.subquery, &old.left)? else { return Ok(None) };
        if let LogicalPlan::SubqueryAlias(alias) = old.right.as_ref() {
            right = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(right), alias.alias.clone())?);
        }
        let mut on = old.on.clone();
        on.extend(domain.keys(&old.left, &right)?);
        let joined = join(old.left.as_ref().clone(), right, on, old.filter.clone(), old.join_type)?;
        first_columns(joined, &old.schema).map(Some)
    }

    /// A filter: EXISTS and IN as conditions of their own become joins that only choose rows.
    fn filter(&mut self, filter: &Filter) -> DataFusionResult<Option<LogicalPlan>> {
        let mut terms: Vec<Expr> = split_conjunction(&filter.predicate).into_iter().cloned().collect();
        for at in 0..terms.len() {
            let replaced = match positive(&terms[at]) {
                Expr::InSubquery(list) if !is_left_with(&list.expr, &list.subquery) => in_as_exists(&list, filter.input.schema())?,
                Expr::Exists(exists) if !is_left(&exists.subquery.subquery, Use::Exists) => {
                    let Some(easier) = easier(&exists) else { return self.chosen(filter, terms, at, &exists) };
                    easier
                }
                _ => continue,
            };
            terms[at] = replaced;
            let predicate = conjunction(terms).unwrap_or_else(|| lit(true));
            return Filter::try_new(predicate, Arc::clone(&filter.input)).map(|filter| Some(LogicalPlan::Filter(filter)));
        }
        self.within(&LogicalPlan::Filter(filter.clone()))
    }

    /// The rows for which a subquery has a row, or has none, filtered by the other conditions.
    fn chosen(&mut self, filter: &Filter, mut terms: Vec<Expr>, at: usize, exists: &Exists) -> DataFusionResult<Option<LogicalPlan>> {
        let Some((domain, right)) = self.pushed(&exists.subquery.subquery, &filter.input)? else { return Ok(None) };
        terms.remove(at);
        let kind = if exists.negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
        let on = domain.keys(&filter.input, &right)?;
        let joined = join(filter.input.as_ref().clone(), right, on, None, kind)?;
        match conjunction(terms) {
            Some(predicate) => Filter::try_new(predicate, Arc::new(joined)).map(|filter| Some(LogicalPlan::Filter(filter))),
            None => Ok(Some(joined)),
        }
    }

    /// A node with subqueries somewhere in its expressions.
    fn within(&mut self, node: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
        let [input] = node.inputs()[..] else { return Ok(None) };
        let wider;
        let input = match wide_enough(node, input)? {
            Some(more) => {
                wider = more;
                &wider
            }
            None => input,
        };
        let anywhere = matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Filter(_));
        let Some(found) = first_subquery(node.expressions(), anywhere) else { return Ok(None) };
        if matches!(found, Expr::SetComparison(_)) {
            return as_existence(node);
        }
        let Some((input, value)) = self.computed(input, &found)? else { return Ok(None) };
        let replace = |expr: Expr| replaced(expr, &found, &value);
        let exprs = node.expressions().into_iter().map(replace).collect::<DataFusionResult<Vec<_>>>()?;
        rebuilt(node, exprs, input).map(Some)
    }

    /// An outer join with a subquery in its condition: a column of the side of which it reads columns; see `fitting` for one that reads both.
    fn outer_condition(&mut self, old: &Join) -> DataFusionResult<Option<LogicalPlan>> {
        let Some(found) = old.filter.clone().and_then(|filter| first_subquery(vec![filter], false)) else { return Ok(None) };
        if matches!(found, Expr::SetComparison(_)) {
            return as_existence(&LogicalPlan::Join(old.clone()));
        }
        let own = found.column_refs().into_iter().cloned();
        let read: Vec<Column> = own.chain(subquery_of(&found).into_iter().flat_map(|found| free(&found.subquery).into_keys())).collect();
        let of = |side: &LogicalPlan| read.iter().all(|column| side.schema().has_column(column));
        let (mut left, mut right) = (Arc::clone(&old.left), Arc::clone(&old.right));
        let side = if of(&left) { &mut left } else { &mut right };
        if !of(side) {
            return self.fitting(old);
        }
        let Some((input, value)) = self.computed(side, &found)? else { return Ok(None) };
        *side = Arc::new(input);
        let filter = old.filter.clone().map(|filter| replaced(filter, &found, &value)).transpose()?;
        let on = old.on.clone();
        let joined = Join::try_new(left, right, on, filter, old.join_type, old.join_constraint, old.null_equality, old.null_aware)?;
        let columns = old.schema.columns().into_iter().map(Expr::Column);
        LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns)?.build().map(Some)
    }

    /// A left or right join on what reads both sides: the side that may be missing is a LATERAL subquery, of the rows that fit a row of the other.
    fn fitting(&mut self, old: &Join) -> DataFusionResult<Option<LogicalPlan>> {
        let (kept, other) = match old.join_type {
            JoinType::Left => (&old.left, &old.right),
            JoinType::Right => (&old.right, &old.left),
            _ => return Ok(None),
        };
        let equal = old.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        let condition = conjunction(equal.chain(old.filter.clone())).unwrap_or_else(|| lit(true));
        if is_marked(&condition) {
            return Ok(None);
        }
        let fitting = Filter::try_new(from_outside(condition, kept.schema())?, Arc::clone(other)).map(LogicalPlan::Filter)?;
        let Some((domain, fitting)) = self.pushed(&fitting, kept)? else { return Ok(None) };
        let on = domain.keys(kept, &fitting)?;
        let joined = join(kept.as_ref().clone(), fitting, on, None, JoinType::Left)?;
        let columns = joined.schema().columns();
        let (first, rest) = columns.split_at(kept.schema().fields().len());
        let rest = &rest[..other.schema().fields().len()];
        let (left, right) = if old.join_type == JoinType::Left { (first, rest) } else { (rest, first) };
        let ordered = left.iter().chain(right).cloned().map(Expr::Column);
        first_columns(LogicalPlanBuilder::from(joined).project(ordered)?.build()?, &old.schema).map(Some)
    }

    /// `input` with what it takes to know a subquery expression, and what stands for that then.
    fn computed(&mut self, input: &LogicalPlan, found: &Expr) -> DataFusionResult<Option<(LogicalPlan, Expr)>> {
        match found {
            Expr::Exists(exists) => match easier(exists) {
                Some(easier) => Ok(Some((input.clone(), easier))),
                None => self.mark(input, exists),
            },
            Expr::ScalarSubquery(subquery) => self.value(input, subquery),
            other => Ok(Some((input.clone(), three_valued(other.clone(), input.schema())?.data))),
        }
    }

    /// `input` with the value of a subquery in a column more.
    fn value(&mut self, input: &LogicalPlan, subquery: &Subquery) -> DataFusionResult<Option<(LogicalPlan, Expr)>> {
        let checked;
        let plan = if has_one_row(&subquery.subquery) {
            &subquery.subquery
        } else {
            checked = one_value_of(subquery)?;
            &checked.subquery
        };
        let Some((domain, right)) = self.pushed(plan, input)? else { return Ok(None) };
        let name = hidden("subquery", self.next);
        let mut columns: Vec<Expr> = right.schema().columns().into_iter().map(Expr::Column).collect();
        columns[0] = columns[0].clone().alias(name.clone());
        let right = LogicalPlanBuilder::from(right).project(columns)?.build()?;
        let on = domain.keys(input, &right)?;
        let joined = join(input.clone(), right, on, None, JoinType::Left)?;
        Ok(Some((joined, Expr::Column(Column::new_unqualified(name)))))
    }

    /// `input` with a column more that says whether a subquery has a row.
    fn mark(&mut self, input: &LogicalPlan, exists: &Exists) -> DataFusionResult<Option<(LogicalPlan, Expr)>> {
        let Some((domain, right)) = self.pushed(&exists.subquery.subquery, input)? else { return Ok(None) };
        let alias = hidden("exists", self.next);
        let right = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(right), alias.as_str())?);
        let on = domain.keys(input, &right)?;
        let joined = join(input.clone(), right, on, None, JoinType::LeftMark)?;
        let mark = Expr::Column(Column::new(Some(alias), "mark"));
        Ok(Some((joined, if exists.negated { Expr::Not(Box::new(mark)) } else { mark })))
    }

    /// A subquery for all rows of `rows` at once: its columns, then the outer values. `None` if it reads others.
    fn pushed(&mut self, subquery: &LogicalPlan, rows: &LogicalPlan) -> DataFusionResult<Option<(Domain, LogicalPlan)>> {
        let read = free(subquery);
        if read.keys().any(|column| !rows.schema().has_column(column)) {
            return Ok(None);
        }
        self.next += 1;
        let domain = Domain::new(subquery, self.next);
        if read.is_empty() {
            return Ok(Some((domain, subquery.clone())));
        }
        let pushed = |domain: Domain| domain.push(subquery).and_then(|pushed| Ok((domain.ordered(subquery, pushed)?, domain)));
        let pushed = match pushed(domain) {
            Err(DataFusionError::NotImplemented(_)) => pushed(Domain::new(subquery, self.next).of(rows)?),
            other => other,
        };
        match pushed {
            Ok((pushed, domain)) => Ok(Some((domain, pushed))),
            Err(DataFusionError::NotImplemented(what)) => Err(refused(&what)),
            Err(error) => Err(error),
        }
    }
}

/// A subquery of which no join can be made with the same meaning.
fn refused(what: &str) -> DataFusionError {
    let error = Error::not_supported(format!("{what} is not supported in a subquery that reads columns of the query around it"));
    external(error.hint("Join the subquery to the query around it, or compute this part in a subquery that reads nothing from outside."))
}

/// An inner join with the correlated subqueries of its condition in a filter above it.
fn condition_above(old: &Join) -> DataFusionResult<Option<LogicalPlan>> {
    let correlated =
        |expr: &Expr| expr.has(|inner| Ok(subquery_of(inner).is_some_and(|subquery| refers(&subquery.subquery)))).unwrap_or(false);
    let terms = old.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    let (above, within): (Vec<_>, Vec<_>) = terms.into_iter().partition(correlated);
    let Some(above) = conjunction(above) else { return Ok(None) };
    let join = LogicalPlan::Join(Join { filter: conjunction(within), ..old.clone() });
    Filter::try_new(above, Arc::new(join)).map(|filter| Some(LogicalPlan::Filter(filter)))
}

/// ORDER BY may read, from within a subquery, columns that are not selected: the input with all that there are below the selection.
fn wide_enough(node: &LogicalPlan, input: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    let (LogicalPlan::Sort(sort), LogicalPlan::Projection(selected)) = (node, input) else { return Ok(None) };
    let wanted = sort.expr.iter().flat_map(|sort| free_in(&sort.expr, &DFSchema::empty()).into_keys());
    let below = selected.input.schema();
    let missing = wanted.filter(|column| !input.schema().has_column(column) && below.has_column(column));
    let mut missing: Vec<Expr> = missing.map(Expr::Column).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(None);
    }
    let all = selected.expr.iter().cloned().chain(missing);
    LogicalPlanBuilder::from(selected.input.as_ref().clone()).project(all)?.build().map(Some)
}

/// An expression whose columns of `outside` come from there.
fn from_outside(expr: Expr, outside: &DFSchema) -> DataFusionResult<Expr> {
    let seen = expr.change_up(|inner| match inner {
        Expr::Column(column) if outside.has_column(&column) => {
            let (_, field) = outside.qualified_field_from_column(&column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column)))
        }
        other => Ok(Transformed::no(other)),
    });
    seen.data()
}

/// ANY and ALL are questions of existence.
fn as_existence(node: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    let rewritten = RewriteSetComparison::new().rewrite(node.clone(), &OptimizerContext::new())?;
    Ok(rewritten.transformed.then_some(rewritten.data))
}

/// An expression with a value in the place of a subquery.
fn replaced(expr: Expr, found: &Expr, value: &Expr) -> DataFusionResult<Expr> {
    let replaced = expr.change_down(|inner| {
        Ok(if &inner == found { Transformed::new(value.clone(), true, TreeNodeRecursion::Jump) } else { Transformed::no(inner) })
    });
    replaced.map(|replaced| replaced.data)
}

/// The first subquery in expressions that nobody else makes a join of. `anywhere`: DataFusion takes subqueries from the node that they are of.
fn first_subquery(exprs: Vec<Expr>, anywhere: bool) -> Option<Expr> {
    let mut found = None;
    for expr in exprs {
        let _ = expr.look(|inner| {
            let open = match inner {
                Expr::ScalarSubquery(subquery) => refers(&subquery.subquery) && !(anywhere && is_left(&subquery.subquery, Use::Value)),
                Expr::Exists(Exists { subquery, .. }) => !(anywhere && is_left(&subquery.subquery, Use::Exists)),
                Expr::InSubquery(InSubquery { expr, subquery, .. }) | Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
                    !(anywhere && is_left_with(expr, subquery))
                }
                _ => false,
            };
            if open {
                found = Some(inner.clone());
            }
            Ok(if open { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        if found.is_some() {
            break;
        }
    }
    found
}

/// A term without the NOT in front of it.
fn positive(term: &Expr) -> Expr {
    match term {
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Exists(exists) => Expr::Exists(Exists { negated: !exists.negated, ..exists.clone() }),
            Expr::InSubquery(list) => Expr::InSubquery(InSubquery { negated: !list.negated, ..list.clone() }),
            _ => term.clone(),
        },
        other => other.clone(),
    }
}

/// An EXISTS whose answer is known, or one without what makes no difference: order, and a LIMIT that leaves a row.
fn easier(exists: &Exists) -> Option<Expr> {
    if let Some(found) = certain(&exists.subquery.subquery) {
        return Some(lit(found != exists.negated));
    }
    let plan = without_limit(&exists.subquery.subquery)?;
    let subquery = Subquery { subquery: Arc::new(plan), ..exists.subquery.clone() };
    Some(Expr::Exists(Exists { subquery, negated: exists.negated }))
}

/// Whether a plan has a row, where that does not depend on any.
fn certain(plan: &LogicalPlan) -> Option<bool> {
    match plan {
        LogicalPlan::Projection(projection) => certain(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => certain(&alias.input),
        LogicalPlan::Sort(sort) => certain(&sort.input),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => Some(true),
        LogicalPlan::EmptyRelation(empty) => Some(empty.produce_one_row),
        _ => None,
    }
}

/// The plan without a LIMIT that leaves a row wherever there is one; `None` if there is no such LIMIT at its top.
fn without_limit(plan: &LogicalPlan) -> Option<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) => LogicalPlanBuilder::from(without_limit(&projection.input)?)
            .project(projection.expr.clone())
            .and_then(LogicalPlanBuilder::build)
            .ok(),
        LogicalPlan::SubqueryAlias(alias) => {
            SubqueryAlias::try_new(Arc::new(without_limit(&alias.input)?), alias.alias.clone()).map(LogicalPlan::SubqueryAlias).ok()
        }
        LogicalPlan::Limit(limit) => match (limit.get_skip_type(), limit.get_fetch_type()) {
            (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(Some(1..)))) => {
                let LogicalPlan::Sort(sort) = limit.input.as_ref() else { return Some(limit.input.as_ref().clone()) };
                Some(sort.input.as_ref().clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether a plan cannot give a second row for one row from outside.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Filter(filter) => has_one_row(&filter.input),
        LogicalPlan::Sort(sort) => has_one_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Limit(limit) => matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))) || has_one_row(&limit.input),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

/// A node with other expressions over an input that has the old one's columns and more; its columns are the old ones.
fn rebuilt(node: &LogicalPlan, exprs: Vec<Expr>, input: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let builder = LogicalPlanBuilder::from(input);
    let schema = node.schema();
    match node {
        LogicalPlan::Projection(_) => {
            let named = exprs.into_iter().zip(schema.iter()).map(|(expr, (qualifier, field))| match &expr {
                Expr::Column(column) if column.relation.as_ref() == qualifier && column.name == *field.name() => expr,
                _ => expr.unalias().alias_qualified(qualifier.cloned(), field.name()),
            });
            builder.project(named.collect::<Vec<_>>())?.build()
        }
        LogicalPlan::Aggregate(aggregate) => {
            // Under the names that they had: two that differ may have the same one while they are changed.
            let count = aggregate.group_expr.len();
            let last = schema.fields().len() - (exprs.len() - count);
            let named = exprs.into_iter().enumerate().map(|(index, expr)| match (index.checked_sub(count), &expr) {
                (Some(call), _) => expr.alias_if_changed(schema.field(last + call).name().clone()),
                (None, Expr::GroupingSet(_) | Expr::Column(_)) => Ok(expr),
                (None, _) => expr.alias_if_changed(schema.field(index).name().clone()),
            });
            let mut keys = named.collect::<DataFusionResult<Vec<_>>>()?;
            let calls = keys.split_off(count);
            first_columns(builder.aggregate(keys, calls)?.build()?, schema)
        }
        LogicalPlan::Sort(sort) => {
            let order = exprs.into_iter().zip(&sort.expr).map(|(expr, old)| old.with_expr(expr));
            first_columns(builder.sort(order.collect::<Vec<_>>())?.build()?, schema)
        }
        _ => {
            let predicate = conjunction(exprs).unwrap_or_else(|| lit(true));
            first_columns(builder.filter(predicate)?.build()?, schema)
        }
    }
}

/// The first columns of a plan, under the names of `schema`.
fn first_columns(plan: LogicalPlan, schema: &DFSchema) -> DataFusionResult<LogicalPlan> {
    if plan.schema().fields().len() == schema.fields().len() && plan.schema().columns() == schema.columns() {
        return Ok(plan);
    }
    let named = plan.schema().columns().into_iter().zip(schema.iter()).map(|(column, (qualifier, field))| {
        if column.relation.as_ref() == qualifier && column.name == *field.name() {
            Expr::Column(column)
        } else {
            Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
        }
    });
    let named: Vec<Expr> = named.collect();
    LogicalPlanBuilder::from(plan).project(named)?.build()
}
