//! Subqueries over an array of the row outside: `(SELECT max(x) FROM unnest(t.a) AS x)`, `EXISTS (SELECT … FROM unnest(t.a) …)`.
//!
//! What an aggregate or EXISTS stands over cannot be computed by pushing the outer rows below it. So the function is called for each different
//! argument that the outer rows have, and the subquery picks those of its own row by an equality, which DataFusion's rules make a join of:
//!
//! ```text
//! Unnest f(outer t.a)   ─▶   Filter key = outer t.a  ◀─  Unnest f(key)  ◀─  Distinct t.a as key  ◀─  t
//! ```
//!
//! Where NULL is an argument like others, what is equal are both packed, of which none is NULL.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, Unnest};

use super::{is_ordinals, makes_rows};
use crate::plan::errors::external;
use crate::plan::map_named::map_named;
use crate::plan::names::hidden;
use crate::plan::pack::packed;
use crate::plan::walk::{WalkPlan, WalkTree};
use crate::types::PackedRows;

/// Numbers that make names unique start here: others are smaller.
const FIRST_NUMBER: usize = 3_000_000;

/// Arguments of one call that columns from outside stand in, at the most.
const KEYS_MAX: usize = 16;

/// Names that one call needs, packed keys included.
const NAMES_MAX: usize = 2 * KEYS_MAX;

/// Functions that make rows from NULL arguments too.
const NOT_STRICT: [&str; 2] = ["string_to_table", "make_array"];

/// A plan whose subqueries find their rows by equalities, where they called functions with columns from outside.
pub(in crate::plan) fn with_keys(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.change_all_up(|node| match node {
        LogicalPlan::Filter(_) | LogicalPlan::Projection(_) => {
            let outer = Arc::new(node.inputs()[0].clone());
            map_named(node, |expr| expr.change_up(|inner| in_expression(inner, &outer)))
        }
        LogicalPlan::Join(mut join) => match in_relation(&join.right, &join.left)? {
            Some(right) => {
                join.right = Arc::new(right);
                Ok(Transformed::yes(LogicalPlan::Join(join)))
            }
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        other => Ok(Transformed::no(other)),
    });
    replaced.map(|replaced| replaced.data)
}

/// The right side of a LATERAL join.
fn in_relation(right: &LogicalPlan, outer: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    Ok(match right {
        LogicalPlan::Subquery(subquery) => {
            keyed(&subquery.subquery, outer)?.map(|plan| LogicalPlan::Subquery(Subquery { subquery: Arc::new(plan), ..subquery.clone() }))
        }
        LogicalPlan::SubqueryAlias(alias) => match in_relation(&alias.input, outer)? {
            Some(plan) => Some(LogicalPlanBuilder::from(plan).alias(alias.alias.clone())?.build()?),
            None => None,
        },
        _ => None,
    })
}

fn in_expression(expr: Expr, outer: &LogicalPlan) -> DataFusionResult<Transformed<Expr>> {
    let replaced = |subquery: &Subquery| -> DataFusionResult<Option<Subquery>> {
        Ok(keyed(&subquery.subquery, outer)?.map(|plan| Subquery { subquery: Arc::new(plan), ..subquery.clone() }))
    };
    Ok(match expr {
        Expr::ScalarSubquery(subquery) => match replaced(&subquery)? {
            Some(subquery) => Transformed::yes(Expr::ScalarSubquery(subquery)),
            None => Transformed::no(Expr::ScalarSubquery(subquery)),
        },
        Expr::Exists(mut exists) => match replaced(&exists.subquery)? {
            Some(subquery) => {
                exists.subquery = subquery;
                Transformed::yes(Expr::Exists(exists))
            }
            None => Transformed::no(Expr::Exists(exists)),
        },
        Expr::InSubquery(mut list) => match replaced(&list.subquery)? {
            Some(subquery) => {
                list.subquery = subquery;
                Transformed::yes(Expr::InSubquery(list))
            }
            None => Transformed::no(Expr::InSubquery(list)),
        },
        Expr::SetComparison(mut comparison) => match replaced(&comparison.subquery)? {
            Some(subquery) => {
                comparison.subquery = subquery;
                Transformed::yes(Expr::SetComparison(comparison))
            }
            None => Transformed::no(Expr::SetComparison(comparison)),
        },
        other => Transformed::no(other),
    })
}

/// The subquery, if it calls functions with columns of `outer`.
fn keyed(plan: &LogicalPlan, outer: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    let mut number = FIRST_NUMBER;
    let replaced = plan.clone().change_down(|node| {
        number += NAMES_MAX;
        Ok(match anchored(&node, outer, number)? {
            Some(plan) => Transformed::new(plan, true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })?;
    if !replaced.transformed {
        return Ok(None);
    }
    // What stood for itself is now an ordinary relation with a correlated filter.
    let bare = replaced.data.change_up(|node| {
        node.map_children(|child| match child {
            LogicalPlan::Subquery(subquery) => Ok(Transformed::yes(Arc::unwrap_or_clone(subquery.subquery))),
            other => Ok(Transformed::no(other)),
        })
    })?;
    Ok(Some(bare.data))
}

/// A function in FROM with its alias, or one in the SELECT list, if it reads `outer`: called with keys, and filtered by them.
fn anchored(node: &LogicalPlan, outer: &LogicalPlan, number: usize) -> DataFusionResult<Option<LogicalPlan>> {
    match node {
        LogicalPlan::Unnest(unnest) => match Keyed::new(unnest, outer, number, &[])? {
            Some(keyed) => keyed.filtered(keyed.plan.clone(), |column| column.clone()).map(Some),
            None => Ok(None),
        },
        LogicalPlan::SubqueryAlias(_) => Ok(Source::new(node, outer, number, &[])?.map(|source| source.own_rows()).transpose()?),
        // A comparison with a column from outside is one with a key, too: it need not be an equality then.
        LogicalPlan::Filter(filter) => {
            let mut read = Vec::new();
            filter.predicate.look(|inner| {
                if reads_directly(inner, outer.schema()) && !read.contains(inner) {
                    read.push(inner.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
            let Some(source) = Source::new(&filter.input, outer, number, &read)? else { return Ok(None) };
            let predicate = source.keyed.over_keys(filter.predicate.clone(), |column| source.place(column))?;
            let plan = source.own_rows()?;
            LogicalPlanBuilder::from(plan).filter(predicate)?.build().map(Some)
        }
        _ => Ok(None),
    }
}

fn reads_directly(expr: &Expr, outer: &DFSchema) -> bool {
    matches!(expr, Expr::OuterReferenceColumn(_, column) if outer.has_column(column))
}

fn without_boundary(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Subquery(subquery) => without_boundary(&subquery.subquery),
        other => other,
    }
}

/// A relation under an alias that is made of the rows of a function.
struct Source {
    keyed: Keyed,
    alias: TableReference,
    plan: LogicalPlan,
}

impl Source {
    fn new(node: &LogicalPlan, outer: &LogicalPlan, number: usize, more: &[Expr]) -> DataFusionResult<Option<Source>> {
        let LogicalPlan::SubqueryAlias(alias) = node else { return Ok(None) };
        let mut projections = Vec::new();
        let mut below = without_boundary(&alias.input);
        while let LogicalPlan::Projection(projection) = below {
            projections.push(projection);
            below = without_boundary(&projection.input);
        }
        let LogicalPlan::Unnest(unnest) = below else { return Ok(None) };
        let Some(keyed) = Keyed::new(unnest, outer, number, more)? else { return Ok(None) };
        let mut plan = keyed.plan.clone();
        for projection in projections.into_iter().rev() {
            let columns = projection.expr.iter().cloned().chain(keyed.columns.iter().cloned().map(Expr::Column));
            plan = LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()?;
        }
        let plan = LogicalPlanBuilder::from(plan).alias(alias.alias.clone())?.build()?;
        Ok(Some(Source { keyed, alias: alias.alias.clone(), plan }))
    }

    fn place(&self, column: &Column) -> Column {
        Column::new(Some(self.alias.clone()), column.name.clone())
    }

    fn own_rows(&self) -> DataFusionResult<LogicalPlan> {
        self.keyed.filtered(self.plan.clone(), |column| self.place(column))
    }
}

/// The rows of a function for each different argument, with the arguments.
struct Keyed {
    plan: LogicalPlan,
    /// Where the arguments stand in the plan, and behind them those of them that are packed.
    columns: Vec<Column>,
    /// What they are to the subquery.
    keys: Vec<Expr>,
    /// What is the same in the subquery's own rows, by the place of the column.
    same: Vec<(usize, Expr)>,
}

impl Keyed {
    /// `None`: the function does not read `outer`.
    fn new(unnest: &Unnest, outer: &LogicalPlan, number: usize, more: &[Expr]) -> DataFusionResult<Option<Keyed>> {
        let LogicalPlan::Projection(projection) = unnest.input.as_ref() else { return Ok(None) };
        let from_nothing = matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(empty) if empty.produce_one_row);
        let mut keys = keys_of(projection, outer.schema())?;
        if !from_nothing || keys.is_empty() {
            return Ok(None);
        }
        // The only argument of the only function: without it there are no rows.
        let strict = keys.len() == 1 && projection.expr.len() == 1 && is_strict_call(&projection.expr[0]);
        let added = more.iter().filter(|expr| !keys.contains(expr)).cloned().collect::<Vec<_>>();
        keys.extend(added);
        if keys.len() > KEYS_MAX {
            return Ok(None);
        }
        let mut own = keys.iter().map(|key| owned(key.clone(), outer.schema())).collect::<DataFusionResult<Vec<_>>>()?;
        let mut same: Vec<(usize, Expr)> = keys.iter().take(usize::from(strict)).cloned().enumerate().collect();
        for key in &keys[same.len()..] {
            let packed = packed_alone(key, outer.schema())?;
            same.push((own.len(), packed.clone()));
            own.push(owned(packed, outer.schema())?);
        }
        let columns: Vec<Column> = (0..own.len()).map(|index| Column::new_unqualified(hidden("key", number + index))).collect();
        let own = own.into_iter().zip(&columns).map(|(value, column)| value.alias(column.name.clone()));
        let values = LogicalPlanBuilder::from(outer.clone()).project(own.collect::<Vec<_>>())?.distinct()?;
        let mut exprs: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
        let mut keyed = Keyed { plan: values.build()?, columns, keys, same };
        for expr in &projection.expr {
            let over_keys = keyed.over_keys(expr.clone(), Column::clone)?;
            let name = expr.schema_name().to_string();
            exprs.push(if over_keys.schema_name().to_string() == name { over_keys } else { over_keys.alias(name) });
        }
        keyed.plan = LogicalPlanBuilder::from(keyed.plan)
            .project(exprs)?
            .unnest_columns_with_options(unnest.exec_columns.clone(), unnest.options.clone())?
            .build()?;
        Ok(Some(keyed))
    }

    /// An expression with the keys' columns in the place of what they are to the subquery.
    fn over_keys(&self, expr: Expr, place: impl Fn(&Column) -> Column) -> DataFusionResult<Expr> {
        let replaced = expr.change_down(|inner| {
            Ok(match self.keys.iter().position(|key| *key == inner) {
                Some(index) => Transformed::new(Expr::Column(place(&self.columns[index])), true, TreeNodeRecursion::Jump),
                None => Transformed::no(inner),
            })
        });
        replaced.map(|replaced| replaced.data)
    }

    /// Those rows of `plan` whose arguments are the subquery's own; `place` says where the arguments stand.
    fn filtered(&self, plan: LogicalPlan, place: impl Fn(&Column) -> Column) -> DataFusionResult<LogicalPlan> {
        let same = self.same.iter().map(|(at, own)| Expr::Column(place(&self.columns[*at])).eq(own.clone()));
        match conjunction(same) {
            Some(condition) => LogicalPlanBuilder::from(plan).filter(condition)?.build(),
            None => Ok(plan),
        }
    }
}

/// What decides which elements there are: the arguments of strict functions that read `outer`; of others the whole list.
fn keys_of(projection: &Projection, outer: &DFSchema) -> DataFusionResult<Vec<Expr>> {
    let mut keys: Vec<Expr> = Vec::new();
    let mut add = |expr: &Expr| {
        if reads(expr, outer) && !keys.contains(expr) {
            keys.push(expr.clone());
        }
    };
    for expr in &projection.expr {
        expr.look(|inner| {
            Ok(match inner {
                Expr::Alias(_) => TreeNodeRecursion::Continue,
                _ if is_ordinals(inner) => TreeNodeRecursion::Continue,
                Expr::ScalarFunction(call) if makes_rows(call.func.name()) && !NOT_STRICT.contains(&call.func.name()) => {
                    call.args.iter().for_each(&mut add);
                    TreeNodeRecursion::Jump
                }
                whole => {
                    add(whole);
                    TreeNodeRecursion::Jump
                }
            })
        })?;
    }
    Ok(keys)
}

/// Whether it is a call of a function that makes no rows of NULL.
fn is_strict_call(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_strict_call(&alias.expr),
        Expr::ScalarFunction(call) => makes_rows(call.func.name()) && !NOT_STRICT.contains(&call.func.name()),
        _ => false,
    }
}

/// A value of an outer row, packed: the same bytes for the same values, NULL being one of them.
fn packed_alone(value: &Expr, outer: &DFSchema) -> DataFusionResult<Expr> {
    let (_, field) = owned(value.clone(), outer)?.to_field(outer)?;
    let rows = PackedRows::new(vec![field], vec![SortOptions::default()]).map_err(external)?;
    Ok(packed(&Arc::new(rows), vec![value.clone()], Vec::new()))
}

fn reads(expr: &Expr, outer: &DFSchema) -> bool {
    expr.has(|inner| Ok(matches!(inner, Expr::OuterReferenceColumn(_, column) if outer.has_column(column)))).unwrap_or(false)
}

/// The expression over the outer rows themselves.
fn owned(expr: Expr, outer: &DFSchema) -> DataFusionResult<Expr> {
    let owned = expr.change_up(|inner| {
        Ok(match inner {
            Expr::OuterReferenceColumn(_, column) if outer.has_column(&column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    });
    owned.map(|owned| owned.data)
}
