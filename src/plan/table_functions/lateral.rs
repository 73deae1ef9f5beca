//! LATERAL joins to what is computed row by row: the left rows take the place of the one row that the right side starts from.
//!
//! ```text
//! Join t, LATERAL (Projection … ◀─ Unnest ◀─ Projection f(outer t.a) ◀─ one row)
//!   ─▶   Projection t.*, … ◀─ Unnest ◀─ Projection t.*, f(t.a) ◀─ t
//! ```
//!
//! Projections, filters, unnests, VALUES, inner joins and plain tables can be pushed through like that (Galindo-Legaria and Joshi, "Orthogonal
//! Optimization of Subqueries and Aggregation", SIGMOD 2001). A LEFT JOIN needs nothing more if its condition is true and the right side is an
//! unnest: that then keeps rows without elements. Otherwise the right side is computed for the different values that it reads, and joined
//! by them. What is left is for DataFusion's rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullHandling, ScalarValue, UnnestOptions};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_nested::make_array::make_array_udf;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    BinaryExpr, EmptyRelation, Expr, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Unnest, Values,
};

use crate::plan::casts::as_cast;
use crate::plan::names::{hidden, visible};
use crate::plan::walk::{WalkPlan, WalkTree};

/// Numbers that make names unique start here: a query's own columns are numbered from 0.
const FIRST_NUMBER: usize = 1_000_000;

/// A plan without the LATERAL joins that can be computed row by row, in subqueries too.
pub(in crate::plan) fn without_lateral(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.change_all_up(|node| match node {
        LogicalPlan::Join(join) if is_lateral(&join)? => match joined(&join)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        other => Ok(Transformed::no(other)),
    });
    replaced.map(|replaced| replaced.data)
}

/// Whether the right side of a join reads columns of the left.
fn is_lateral(join: &Join) -> DataFusionResult<bool> {
    Ok(outer_columns(&join.right)?.iter().any(|column| join.left.schema().has_column(column)))
}

/// The join, if the right side can be pushed onto the left.
fn joined(join: &Join) -> DataFusionResult<Option<LogicalPlan>> {
    let left = join.left.as_ref();
    let condition = condition(join);
    match join.join_type {
        JoinType::Inner => {
            let Some(applied) = (Apply { left: left.schema(), outer: false, next: 0 }).onto(left.clone(), &join.right)? else {
                return Ok(None);
            };
            let plan = restored(applied, left.schema(), join.right.schema())?;
            Ok(Some(match condition {
                Some(condition) => LogicalPlanBuilder::from(plan).filter(condition)?.build()?,
                None => plan,
            }))
        }
        JoinType::Left => {
            if condition.as_ref().is_none_or(is_true)
                && let Some(applied) = (Apply { left: left.schema(), outer: true, next: 0 }).onto(left.clone(), &join.right)?
            {
                return restored(applied, left.schema(), join.right.schema()).map(Some);
            }
            by_values(join, condition)
        }
        _ => Ok(None),
    }
}

/// All conditions of a join.
fn condition(join: &Join) -> Option<Expr> {
    let equal = |(left, right): &(Expr, Expr)| left.clone().eq(right.clone());
    conjunction(join.on.iter().map(equal).chain(join.filter.clone()))
}

fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// The left columns and those of the right side, under their own names.
fn restored(applied: Applied, left: &DFSchema, right: &DFSchema) -> DataFusionResult<LogicalPlan> {
    let own = left.columns().into_iter().map(Expr::Column);
    let columns = own.chain(
        applied
            .columns
            .into_iter()
            .zip(right.iter())
            .map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())),
    );
    LogicalPlanBuilder::from(applied.plan).project(columns.collect::<Vec<_>>())?.build()
}

/// A left join to the right side, computed for the different values of the columns that it reads.
fn by_values(join: &Join, condition: Option<Expr>) -> DataFusionResult<Option<LogicalPlan>> {
    let left = join.left.as_ref();
    let read: Vec<Column> = outer_columns(&join.right)?.into_iter().filter(|column| left.schema().has_column(column)).collect();
    let values = LogicalPlanBuilder::from(left.clone()).project(read.iter().cloned().map(Expr::Column))?.distinct()?.build()?;
    let schema = Arc::clone(values.schema());
    let Some(applied) = (Apply { left: &schema, outer: false, next: 0 }).onto(values, &join.right)? else { return Ok(None) };
    let keys: Vec<Column> = (0..read.len()).map(|number| Column::new_unqualified(hidden("key", number))).collect();
    let renamed = read.iter().zip(&keys).map(|(column, key)| Expr::Column(column.clone()).alias(key.name.clone()));
    let columns = renamed.chain(
        applied
            .columns
            .into_iter()
            .zip(join.right.schema().iter())
            .map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())),
    );
    let right = LogicalPlanBuilder::from(applied.plan).project(columns.collect::<Vec<_>>())?.build()?;
    let same = read.iter().zip(&keys).map(|(column, key)| {
        let sides = (Box::new(Expr::Column(column.clone())), Box::new(Expr::Column(key.clone())));
        Expr::BinaryExpr(BinaryExpr::new(sides.0, Operator::IsNotDistinctFrom, sides.1))
    });
    let on: Vec<Expr> = same.chain(condition.filter(|condition| !is_true(condition))).collect();
    let wanted = join.schema.columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    LogicalPlanBuilder::from(left.clone()).join_on(right, JoinType::Left, on)?.project(wanted)?.build().map(Some)
}

/// The columns from outside that a plan reads.
fn outer_columns(plan: &LogicalPlan) -> DataFusionResult<BTreeSet<Column>> {
    let mut found = BTreeSet::new();
    plan.look_at_all(|node| {
        node.look_at_expressions(|expr| {
            expr.look(|inner| {
                if let Expr::OuterReferenceColumn(_, column) = inner {
                    found.insert(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// Left rows with the columns of the right side behind them.
struct Applied {
    plan: LogicalPlan,
    /// Where the right side's columns stand, under names that nobody else has.
    columns: Vec<Column>,
}

/// Pushes a right side onto left rows.
struct Apply<'a> {
    /// What references to outside may mean.
    left: &'a DFSchema,
    /// Left rows for which the right side has no row come out once, with NULLs.
    outer: bool,
    /// Numbers names.
    next: usize,
}

impl Apply<'_> {
    /// `None`: it cannot be done.
    fn onto(&mut self, rows: LogicalPlan, node: &LogicalPlan) -> DataFusionResult<Option<Applied>> {
        if !self.outer && !outer_columns(node)?.iter().any(|column| self.left.has_column(column)) {
            return self.crossed(rows, node).map(Some);
        }
        match node {
            LogicalPlan::Subquery(subquery) => self.onto(rows, &subquery.subquery),
            LogicalPlan::SubqueryAlias(alias) => self.onto(rows, &alias.input),
            LogicalPlan::Projection(projection) => self.projected(rows, projection),
            LogicalPlan::Unnest(unnest) => self.unnested(rows, unnest),
            LogicalPlan::Filter(filter) if !self.outer => {
                let Some(below) = self.onto(rows, &filter.input)? else { return Ok(None) };
                let Some(predicate) = self.over(filter.predicate.clone(), filter.input.schema(), &below.columns)? else { return Ok(None) };
                let plan = LogicalPlanBuilder::from(below.plan).filter(predicate)?.build()?;
                Ok(Some(Applied { plan, columns: below.columns }))
            }
            LogicalPlan::Values(values) if !self.outer => self.values(rows, values),
            LogicalPlan::Join(join) if !self.outer => self.join(rows, join),
            _ => Ok(None),
        }
    }

    /// What does not depend on the left rows.
    fn crossed(&mut self, rows: LogicalPlan, node: &LogicalPlan) -> DataFusionResult<Applied> {
        if matches!(node, LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema }) if schema.fields().is_empty()) {
            return Ok(Applied { plan: rows, columns: Vec::new() });
        }
        let (right, columns) = self.renamed(node)?;
        Ok(Applied { plan: LogicalPlanBuilder::from(rows).cross_join(right)?.build()?, columns })
    }

    /// A plan with names that nobody else has.
    fn renamed(&mut self, node: &LogicalPlan) -> DataFusionResult<(LogicalPlan, Vec<Column>)> {
        let columns: Vec<Column> = node.schema().iter().map(|(_, field)| self.name(field.name())).collect();
        let named = node.schema().columns().into_iter().zip(&columns).map(|(from, to)| Expr::Column(from).alias(to.name.clone()));
        let plan = LogicalPlanBuilder::from(node.clone()).project(named.collect::<Vec<_>>())?.build()?;
        Ok((plan, columns))
    }

    fn join(&mut self, rows: LogicalPlan, join: &Join) -> DataFusionResult<Option<Applied>> {
        let Some(first) = self.onto(rows, &join.left)? else { return Ok(None) };
        let mut columns = first.columns;
        match join.join_type {
            JoinType::Inner => {
                let Some(second) = self.onto(first.plan, &join.right)? else { return Ok(None) };
                columns.extend(second.columns);
                let Some(condition) = condition(join) else { return Ok(Some(Applied { plan: second.plan, columns })) };
                let Some(condition) = self.over(condition, &join.schema, &columns)? else { return Ok(None) };
                Ok(Some(Applied { plan: LogicalPlanBuilder::from(second.plan).filter(condition)?.build()?, columns }))
            }
            JoinType::Left if !outer_columns(&join.right)?.iter().any(|column| self.left.has_column(column)) => {
                let (right, own) = self.renamed(&join.right)?;
                columns.extend(own);
                let condition = match condition(join) {
                    Some(condition) => match self.over(condition, &join.schema, &columns)? {
                        Some(condition) => Some(condition),
                        None => return Ok(None),
                    },
                    None => None,
                };
                let plan = LogicalPlanBuilder::from(first.plan).join_on(right, JoinType::Left, condition)?.build()?;
                Ok(Some(Applied { plan, columns }))
            }
            JoinType::Left if condition(join).as_ref().is_none_or(is_true) => {
                self.outer = true;
                let second = self.onto(first.plan, &join.right)?;
                self.outer = false;
                Ok(second.map(|second| Applied { plan: second.plan, columns: columns.into_iter().chain(second.columns).collect() }))
            }
            _ => Ok(None),
        }
    }

    fn projected(&mut self, rows: LogicalPlan, projection: &Projection) -> DataFusionResult<Option<Applied>> {
        if self.outer && !projection.expr.iter().all(is_null_for_null) {
            return Ok(None);
        }
        let kept = rows.schema().columns();
        let Some(below) = self.onto(rows, &projection.input)? else { return Ok(None) };
        let (mut exprs, mut columns) = (kept.into_iter().map(Expr::Column).collect::<Vec<_>>(), Vec::new());
        for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
            let Some(moved) = self.over(expr.clone(), projection.input.schema(), &below.columns)? else { return Ok(None) };
            let column = self.name(field.name());
            exprs.push(moved.alias(column.name.clone()));
            columns.push(column);
        }
        Ok(Some(Applied { plan: LogicalPlanBuilder::from(below.plan).project(exprs)?.build()?, columns }))
    }

    fn unnested(&mut self, rows: LogicalPlan, unnest: &Unnest) -> DataFusionResult<Option<Applied>> {
        let simple = unnest.struct_type_columns.is_empty()
            && unnest.list_type_columns.iter().all(|(_, list)| list.depth == 1)
            && unnest.dependency_indices.len() == unnest.input.schema().fields().len();
        if !simple || (self.outer && !is_one_row(&unnest.input)) {
            return Ok(None);
        }
        let outer = std::mem::replace(&mut self.outer, false);
        let below = self.onto(rows, &unnest.input)?;
        self.outer = outer;
        let Some(below) = below else { return Ok(None) };
        // A column that is passed on under its own name would be two, if it is a left one.
        let lists: Vec<Column> = unnest.list_type_columns.iter().map(|(index, _)| below.columns[*index].clone()).collect();
        let handling = if outer { NullHandling::PreserveAndExpandEmpty } else { unnest.options.null_handling };
        let options = UnnestOptions::new().with_null_handling(handling);
        let plan = LogicalPlanBuilder::from(below.plan).unnest_columns_with_options(lists, options)?.build()?;
        let columns = unnest.dependency_indices.iter().map(|index| below.columns[*index].clone()).collect();
        Ok(Some(Applied { plan, columns }))
    }

    /// VALUES with columns from outside: an array for each column, side by side.
    fn values(&mut self, rows: LogicalPlan, values: &Values) -> DataFusionResult<Option<Applied>> {
        let mut exprs = rows.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
        let mut columns = Vec::new();
        for (index, field) in values.schema.fields().iter().enumerate() {
            let mut elements = Vec::with_capacity(values.values.len());
            for row in &values.values {
                let Some(element) = self.over(row[index].clone(), &DFSchema::empty(), &[])? else { return Ok(None) };
                elements.push(element);
            }
            let column = self.name(field.name());
            exprs.push(make_array_udf().call(elements).alias(column.name.clone()));
            columns.push(column);
        }
        let options = UnnestOptions::new().with_null_handling(NullHandling::Drop);
        let plan = LogicalPlanBuilder::from(rows).project(exprs)?.unnest_columns_with_options(columns.clone(), options)?.build()?;
        Ok(Some(Applied { plan, columns }))
    }

    /// An expression of the right side over the applied rows; `None` if it holds a subquery that reads from outside.
    fn over(&self, expr: Expr, schema: &DFSchema, columns: &[Column]) -> DataFusionResult<Option<Expr>> {
        let mut subquery = false;
        let moved = expr.change_down(|inner| {
            Ok(match inner {
                Expr::Column(column) => match schema.maybe_index_of_column(&column) {
                    Some(index) => Transformed::new(Expr::Column(columns[index].clone()), true, TreeNodeRecursion::Jump),
                    None => Transformed::no(Expr::Column(column)),
                },
                Expr::OuterReferenceColumn(_, column) if self.left.has_column(&column) => Transformed::yes(Expr::Column(column)),
                Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                    subquery = true;
                    Transformed::new(inner, false, TreeNodeRecursion::Stop)
                }
                other => Transformed::no(other),
            })
        })?;
        Ok((!subquery).then_some(moved.data))
    }

    fn name(&mut self, name: &str) -> Column {
        self.next += 1;
        Column::new_unqualified(hidden(visible(name), FIRST_NUMBER + self.next))
    }
}

/// Whether an expression over a row of NULLs is NULL.
fn is_null_for_null(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Alias(alias) => is_null_for_null(&alias.expr),
        Expr::Cast(cast) => is_null_for_null(&cast.expr),
        Expr::ScalarFunction(call) => {
            (matches!(call.func.name(), "get_field" | "json_member" | "json_member_text") || as_cast(call).is_some())
                && call.args.first().is_some_and(is_null_for_null)
        }
        _ => false,
    }
}

/// Whether a plan has exactly one row.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        _ => false,
    }
}
