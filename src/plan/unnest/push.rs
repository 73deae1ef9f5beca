//! A subquery for all rows from outside at once: each operator of it is made to work for every combination of outer values side by side.
//!
//! Algorithm: Neumann and Kemper, "Unnesting arbitrary queries", BTW 2015: the dependent join is pushed down through the subquery until what is
//! below reads nothing from outside; there it is an ordinary join with the *domain*, the different combinations of outer values. On the
//! way up the outer values are columns that everything carries along:
//!
//! ```text
//! projection        passes them on                    aggregate   groups by them; without GROUP BY: and gives a row to each combination
//! window            partitions by them                LIMIT       numbers the rows of each combination, and keeps the first
//! DISTINCT          keeps rows apart by them          joins       match them where both sides carry them
//! ```
//!
//! Where each outer value is compared for equality with something of the subquery (`u.k = t.k`), and no aggregate must give a row to
//! combinations without one, no domain is needed: the subquery's own values stand for the outer ones. It then gives rows for
//! combinations that do not occur outside, which meet no row of the join in the end.

mod groups;
mod joins;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Distinct, EmptyRelation, Expr, ExprFunctionExt, ExprSchemable, FetchType, Filter, Join, JoinConstraint, Limit, LogicalPlan,
    LogicalPlanBuilder, Operator, Projection, SkipType, SubqueryAlias, Union, Values, Window, WindowFunctionDefinition, lit,
};

use super::left::same_where_equal;
use super::references::{free_in, lateral, refers, renamed, scope, subquery_of, with_subquery, without};
use crate::plan::errors::external;
use crate::plan::names::hidden;
use crate::plan::pack::packed;
use crate::plan::walk::{WalkPlan, WalkTree};
use crate::types::PackedRows;

/// The outer values of one subquery.
pub(super) struct Domain {
    values: Vec<Value>,
    /// All of them in one column, and the plan that gives each combination once; `None`: the subquery's own values stand for them.
    all: Option<(String, LogicalPlan)>,
    /// Makes names unique.
    number: usize,
}

/// An outer column, or a cast of one.
struct Value {
    /// As the subquery reads it.
    inner: Expr,
    /// Over the rows outside.
    outer: Expr,
    /// What the subquery's rows call it.
    name: String,
}

/// `what` cannot be pushed further: perhaps with a domain, or the query is refused.
fn stuck<T>(what: &str) -> DataFusionResult<T> {
    Err(DataFusionError::NotImplemented(what.to_owned()))
}

impl Domain {
    /// Without a plan of its own. `number` is one that no other domain has.
    pub(super) fn new(subquery: &LogicalPlan, number: usize) -> Self {
        let mut inner = Vec::new();
        values_of(subquery, &mut inner);
        let values = inner.into_iter().enumerate().map(|(index, inner)| {
            let outer = outside(&inner);
            let column = outer.column_refs().into_iter().next().map_or("value", |column| column.name.as_str());
            let name = hidden(&format!("outer {column}"), number * 100 + index);
            Value { outer: outer.clone(), inner, name }
        });
        Domain { values: values.collect(), all: None, number }
    }

    /// With the combinations that occur in `rows`.
    pub(super) fn of(self, rows: &LogicalPlan) -> DataFusionResult<Self> {
        let key = hidden("outer values", self.number);
        let packed = self.packed(rows.schema())?.alias(key.clone());
        let columns = self.values.iter().map(|value| value.outer.clone().alias(value.name.clone()));
        let plan = LogicalPlanBuilder::from(rows.clone()).project([packed].into_iter().chain(columns))?.distinct()?.build()?;
        Ok(Domain { all: Some((key, plan)), ..self })
    }

    /// What the rows outside and those of the pushed subquery meet by.
    pub(super) fn keys(&self, rows: &LogicalPlan, pushed: &LogicalPlan) -> DataFusionResult<Vec<(Expr, Expr)>> {
        match &self.all {
            Some((key, _)) => Ok(vec![(self.packed(rows.schema())?, column(pushed, key)?)]),
            None => self.values.iter().map(|value| Ok((value.outer.clone(), column(pushed, &value.name)?))).collect(),
        }
    }

    /// All values in one, NULL being a value like others.
    fn packed(&self, rows: &DFSchema) -> DataFusionResult<Expr> {
        let fields = self.values.iter().map(|value| value.outer.to_field(rows).map(|(_, field)| field));
        let fields = fields.collect::<DataFusionResult<Vec<FieldRef>>>()?;
        let directions = vec![SortOptions::default(); fields.len()];
        let packing = PackedRows::new(fields, directions).map_err(external)?;
        Ok(packed(&Arc::new(packing), self.values.iter().map(|value| value.outer.clone()).collect(), Vec::new()))
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.all.iter().map(|(key, _)| key).chain(self.values.iter().map(|value| &value.name))
    }

    /// The outer values in a plan that carries them.
    fn columns(&self, plan: &LogicalPlan) -> DataFusionResult<Vec<Expr>> {
        self.names().map(|name| column(plan, name)).collect()
    }

    /// The columns that `plan` has by itself, then the outer values.
    pub(super) fn ordered(&self, plan: &LogicalPlan, pushed: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        let own = plan.schema().columns().into_iter().map(Expr::Column);
        let all: Vec<Expr> = own.chain(self.columns(&pushed)?).collect();
        LogicalPlanBuilder::from(pushed).project(all)?.build()
    }

    /// The plan for all combinations: its columns and the outer values, in any order.
    pub(super) fn push(&self, plan: &LogicalPlan) -> DataFusionResult<LogicalPlan> {
        if !refers(plan) {
            let Some((_, domain)) = &self.all else { return stuck("a part without columns from outside") };
            return LogicalPlanBuilder::from(domain.clone()).cross_join(plan.clone())?.build();
        }
        match plan {
            LogicalPlan::Filter(filter) if self.all.is_none() && !refers(&filter.input) => self.bound(filter),
            LogicalPlan::Filter(filter) => {
                let input = self.push(&filter.input)?;
                let predicate = self.within(filter.predicate.clone(), filter.input.schema(), &input)?;
                LogicalPlanBuilder::from(input).filter(predicate)?.build()
            }
            LogicalPlan::Projection(projection) => {
                let input = self.push(&projection.input)?;
                self.project(&projection.expr, projection, input)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                SubqueryAlias::try_new(Arc::new(self.push(&alias.input)?), alias.alias.clone()).map(LogicalPlan::SubqueryAlias)
            }
            // The order of rows means something to a LIMIT alone.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.push(&sort.input),
            LogicalPlan::Distinct(Distinct::All(input)) => LogicalPlanBuilder::from(self.push(input)?).distinct()?.build(),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|input| self.branch(input, &union.schema));
                let inputs = inputs.collect::<DataFusionResult<Vec<_>>>()?;
                let schema = Arc::clone(inputs[0].schema());
                Ok(LogicalPlan::Union(Union { inputs, schema }))
            }
            LogicalPlan::Values(values) => self.push(&rows_apart(values)?),
            _ => stuck(part_name(plan)),
        }
    }

    /// A filter that says for every outer value what it equals.
    fn bound(&self, filter: &Filter) -> DataFusionResult<LogicalPlan> {
        let mut terms: Vec<Expr> = split_conjunction(&filter.predicate).into_iter().cloned().collect();
        let mut columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
        let mut conditions = Vec::new();
        for value in &self.values {
            let Some(at) = terms.iter().position(|term| equal_to(term, &value.inner).is_some()) else {
                return stuck("an outer column that is not compared for equality");
            };
            let equal = equal_to(&terms.remove(at), &value.inner).expect("found above");
            let schema = filter.input.schema();
            if !same_where_equal(&equal.get_type(schema)?, &value.inner.get_type(schema)?) {
                return stuck("an outer column that is compared with another type");
            }
            columns.push(equal.alias(value.name.clone()));
            conditions.push(Expr::Column(Column::new_unqualified(value.name.clone())).is_not_null());
        }
        let input = LogicalPlanBuilder::from(filter.input.as_ref().clone()).project(columns)?.build()?;
        for term in terms {
            conditions.push(self.within(term, filter.input.schema(), &input)?);
        }
        let predicate = conjunction(conditions).unwrap_or_else(|| lit(true));
        LogicalPlanBuilder::from(input).filter(predicate)?.build()
    }

    /// An expression that was over rows of `scope`, over those of `input`, which has the outer values too.
    fn within(&self, expr: Expr, scope: &DFSchema, input: &LogicalPlan) -> DataFusionResult<Expr> {
        let mut names = BTreeMap::new();
        for value in &self.values {
            if let Expr::OuterReferenceColumn(_, outer) = &value.inner
                && let Expr::Column(column) = column(input, &value.name)?
            {
                names.insert(outer.clone(), (Arc::clone(input.schema().qualified_field_from_column(&column)?.1), column));
            }
        }
        let replaced = expr.change_down(|inner| {
            if let Some(value) = self.values.iter().find(|value| value.inner == inner) {
                return Ok(Transformed::new(column(input, &value.name)?, true, TreeNodeRecursion::Jump));
            }
            if subquery_of(&inner).is_some() {
                // What it is compared with is of these rows: that comes next.
                let names = without(&names, scope);
                return with_subquery(inner, |plan| renamed(plan, &names)).map(Transformed::yes);
            }
            Ok(Transformed::no(inner))
        })?;
        Ok(replaced.data)
    }

    /// The same, under the name that it had.
    fn named(&self, expr: &Expr, scope: &DFSchema, input: &LogicalPlan) -> DataFusionResult<Expr> {
        let name = expr.schema_name().to_string();
        let within = self.within(expr.clone(), scope, input)?;
        if within.schema_name().to_string() == name { Ok(within) } else { Ok(within.unalias().alias(name)) }
    }

    fn project(&self, exprs: &[Expr], projection: &Projection, input: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        let scope = projection.input.schema();
        let mut columns = Vec::with_capacity(exprs.len());
        for (expr, (qualifier, field)) in exprs.iter().zip(projection.schema.iter()) {
            let within = self.within(expr.clone(), scope, &input)?;
            let same = matches!(&within, Expr::Column(column) if column.relation.as_ref() == qualifier && column.name == *field.name());
            columns.push(if same { within } else { within.unalias().alias_qualified(qualifier.cloned(), field.name()) });
        }
        columns.extend(self.columns(&input)?);
        LogicalPlanBuilder::from(input).project(columns)?.build()
    }

    /// One branch of a UNION, under the columns of the whole.
    fn branch(&self, input: &LogicalPlan, schema: &DFSchema) -> DataFusionResult<Arc<LogicalPlan>> {
        let pushed = self.push(input)?;
        let own = input.schema().columns().into_iter().zip(schema.iter());
        let own = own.map(|(from, (qualifier, field))| Expr::Column(from).alias_qualified(qualifier.cloned(), field.name()));
        let outer = self.names().map(|name| Ok(column(&pushed, name)?.alias(name.clone()))).collect::<DataFusionResult<Vec<_>>>()?;
        Ok(Arc::new(LogicalPlanBuilder::from(pushed.clone()).project(own.chain(outer))?.build()?))
    }

    fn window(&self, window: &Window) -> DataFusionResult<LogicalPlan> {
        let input = self.push(&window.input)?;
        let outer = self.columns(&input)?;
        let calls = window.window_expr.iter().map(|expr| {
            let name = expr.schema_name().to_string();
            let within = self.within(expr.clone(), window.input.schema(), &input)?.change_up(|inner| {
                Ok(match inner {
                    Expr::WindowFunction(mut call) => {
                        call.params.partition_by.extend(outer.iter().cloned());
                        Transformed::yes(Expr::WindowFunction(call))
                    }
                    other => Transformed::no(other),
                })
            })?;
            within.data.alias_if_changed(name)
        });
        let calls = calls.collect::<DataFusionResult<Vec<_>>>()?;
        LogicalPlanBuilder::from(input).window(calls)?.build()
    }

    fn limit(&self, limit: &Limit) -> DataFusionResult<LogicalPlan> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
            return stuck("LIMIT with an expression");
        };
        self.first(&limit.input, skip as u64, fetch.map(|fetch| fetch as u64))
    }

    /// The first rows of each combination, by the order at the top of `plan`.
    fn first(&self, plan: &LogicalPlan, skip: u64, fetch: Option<u64>) -> DataFusionResult<LogicalPlan> {
        match plan {
            LogicalPlan::Projection(projection) => {
                let input = self.first(&projection.input, skip, fetch)?;
                self.project(&projection.expr, projection, input)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.first(&alias.input, skip, fetch)?;
                SubqueryAlias::try_new(Arc::new(input), alias.alias.clone()).map(LogicalPlan::SubqueryAlias)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.numbered(&sort.input, &sort.expr, skip, fetch),
            other => self.numbered(other, &[], skip, fetch),
        }
    }

    fn numbered(&self, plan: &LogicalPlan, order: &[SortExpr], skip: u64, fetch: Option<u64>) -> DataFusionResult<LogicalPlan> {
        let input = self.push(plan)?;
        let mut within = Vec::with_capacity(order.len());
        for sort in order {
            within.push(SortExpr { expr: self.within(sort.expr.clone(), plan.schema(), &input)?, ..sort.clone() });
        }
        let name = hidden("place", self.number);
        let number = Expr::from(WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new()));
        let number = number.partition_by(self.columns(&input)?);
        let number = if within.is_empty() { number.build()? } else { number.order_by(within).build()? }.alias(name.clone());
        let numbered = LogicalPlanBuilder::from(input).window([number])?.build()?;
        let place = column(&numbered, &name)?;
        let last = fetch.map(|fetch| place.clone().lt_eq(lit(skip.saturating_add(fetch))));
        let first = (skip > 0).then(|| place.gt(lit(skip)));
        let wanted = conjunction(last.into_iter().chain(first)).unwrap_or_else(|| lit(true));
        let wanted = LogicalPlanBuilder::from(numbered).filter(wanted)?.build()?;
        self.ordered(plan, wanted)
    }
}

/// What a user calls this kind of plan.
fn part_name(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::Unnest(_) => "a function that makes rows of a column from outside, beside other such columns,",
        _ => "this form",
    }
}

/// Every outer column that a plan reads: casts of them as a whole where an expression has them so.
fn values_of(plan: &LogicalPlan, found: &mut Vec<Expr>) {
    let mut add = |value: Expr| {
        if !found.contains(&value) {
            found.push(value);
        }
    };
    let scope = scope(plan);
    let _ = plan.look_at_expressions(|expr| {
        expr.look(|inner| {
            let is_outer = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(..));
            match inner {
                Expr::Cast(cast) if is_outer(&cast.expr) => {
                    add(inner.clone());
                    return Ok(TreeNodeRecursion::Jump);
                }
                outer if is_outer(outer) => add(outer.clone()),
                other if subquery_of(other).is_some() => {
                    free_in(other, &scope).into_iter().for_each(|(column, field)| add(Expr::OuterReferenceColumn(field, column)));
                    // What a comparison with a subquery compares is here, the subquery is not.
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    match plan {
        LogicalPlan::Join(join) if lateral(&join.right).is_some() => {
            for (column, field) in super::references::free(&join.right) {
                if !join.left.schema().has_column(&column) {
                    add(Expr::OuterReferenceColumn(field, column));
                }
            }
            values_of(&join.left, found);
        }
        other => other.inputs().into_iter().for_each(|input| values_of(input, found)),
    }
}

/// An outer value over the rows outside.
fn outside(inner: &Expr) -> Expr {
    let seen = inner.clone().change_up(|expr| {
        Ok(match expr {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    });
    seen.map(|seen| seen.data).unwrap_or_else(|_: DataFusionError| inner.clone())
}

/// What a condition says the outer value equals, if that reads nothing from outside.
fn equal_to(term: &Expr, value: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = term else { return None };
    let other = if left.as_ref() == value { right } else { (right.as_ref() == value).then_some(left)? };
    let own = !other.has(|inner| Ok(matches!(inner, Expr::OuterReferenceColumn(..)) || subquery_of(inner).is_some())).unwrap_or(true);
    own.then(|| other.as_ref().clone())
}

/// `VALUES` as a UNION ALL of rows.
fn rows_apart(values: &Values) -> DataFusionResult<LogicalPlan> {
    let rows = values.values.iter().map(|row| {
        let one = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) });
        let columns = row.iter().zip(values.schema.iter()).map(|(expr, (qualifier, field))| {
            let cast = expr.clone().cast_to(field.data_type(), &DFSchema::empty())?;
            Ok(cast.alias_qualified(qualifier.cloned(), field.name()))
        });
        let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
        Ok(Arc::new(LogicalPlanBuilder::from(one).project(columns)?.build()?))
    });
    let inputs = rows.collect::<DataFusionResult<Vec<_>>>()?;
    Ok(LogicalPlan::Union(Union { inputs, schema: Arc::clone(&values.schema) }))
}

/// The column of this name, whoever it belongs to.
pub(super) fn column(plan: &LogicalPlan, name: &str) -> DataFusionResult<Expr> {
    let found = plan.schema().iter().find(|(_, field)| field.name() == name);
    let Some((qualifier, field)) = found else {
        return Err(DataFusionError::Internal(format!("a subquery has lost its outer column {name}")));
    };
    Ok(Expr::Column(Column::new(qualifier.cloned(), field.name())))
}

/// A join on keys that are never equal where one is NULL.
pub(super) fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    join_type: JoinType,
) -> DataFusionResult<LogicalPlan> {
    let (left, right) = (Arc::new(left), Arc::new(right));
    let nulls = NullEquality::NullEqualsNothing;
    Join::try_new(left, right, on, filter, join_type, JoinConstraint::On, nulls, false).map(LogicalPlan::Join)
}
