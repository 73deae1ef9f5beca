//! Subqueries as SQL means them, before the optimiser makes joins of them.
//!
//! Five things DataFusion's rules do not see to:
//!
//! - **NOT IN and NULL.** `x NOT IN (S)` is NULL, not true, if `S` has a NULL, or `x` is one and `S` is not empty. As a whole condition over a
//!   subquery that stands for itself, that is a null-aware anti join. Elsewhere `x IN (S)` becomes what it means:
//!   true if `EXISTS (S WHERE x = y)`, else NULL if `(x IS NULL AND EXISTS (S)) OR EXISTS (S WHERE y IS NULL)`, else false.
//! - **ON.** A subquery in the condition of an inner join might as well stand in WHERE, from where it becomes a join.
//! - **One value.** A scalar subquery with several rows is an error. One that stands for itself becomes an aggregate of one row (`one_value`),
//!   so that a view notices; and so does one that reads columns from outside, since it could not become a join otherwise.
//! - **Names.** In `x IN (SELECT y …)` of two types the list's column is a cast of `y`, which is called `y` too, and cannot stand beside what a condition
//!   of the subquery wants of `y`: so it gets a name of its own.
//! - **No row.** Then a scalar subquery is NULL, even if its column never is: `perhaps` hides from DataFusion what is declared of the column.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, ExprSchema, JoinType, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Exists, InSubquery, ScalarFunction, SetComparison};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Distinct, Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery, Volatility, lit, when,
};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::casts::text_input;
use super::errors::external;
use super::map_named::map_named;
use super::names::hidden;
use super::walk::{WalkPlan, WalkTree};
use crate::error::{Error, Kind};
use crate::types::{SqlType, sql_type_of};

/// Gives `IN` and `NOT IN` their meaning where NULLs decide, and moves subqueries from ON to where they can become joins.
#[derive(Debug)]
pub(super) struct SubqueryMeaning;

/// Lets scalar subqueries that stand for themselves have one value.
#[derive(Debug)]
pub(super) struct OneValue;

impl OptimizerRule for SubqueryMeaning {
    fn name(&self) -> &'static str {
        "subquery_meaning"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        let named = plan.change_all_up(|node| node.change_expressions(|expr| expr.change_up(with_own_name)))?;
        named.transform_data(|plan| {
            plan.change_all_up(|node| match node {
                LogicalPlan::Filter(filter) => filtered_as_meant(filter),
                LogicalPlan::Join(join) => condition_above(join),
                LogicalPlan::Projection(projection) => {
                    let schema = Arc::clone(projection.input.schema());
                    LogicalPlan::Projection(projection).change_expressions(|expr| {
                        let name = expr.schema_name().to_string();
                        let meant = expr.change_up(|inner| three_valued(inner, &schema))?;
                        Ok(meant.update_data(|expr| if expr.schema_name().to_string() == name { expr } else { expr.alias(name) }))
                    })
                }
                other => Ok(Transformed::no(other)),
            })
        })
    }
}

impl OptimizerRule for OneValue {
    fn name(&self) -> &'static str {
        "one_value"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        one_value_each(plan, |subquery| subquery.outer_ref_columns.is_empty())
    }
}

/// Makes scalar subqueries that read columns from outside give one value, or an error.
pub(super) fn correlated_to_one_value(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    one_value_each(plan, |subquery| !subquery.outer_ref_columns.is_empty()).map(|transformed| transformed.data)
}

/// Lets scalar subqueries that may find no row be NULL.
pub(super) fn perhaps_without_row(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let never_null = |subquery: &Subquery| subquery.subquery.schema().fields().first().is_some_and(|field| !field.is_nullable());
    let concerned = |subquery: &Subquery| never_null(subquery) && !always_has_a_row(&subquery.subquery);
    scalar_subqueries(plan, concerned, perhaps).map(|transformed| transformed.data)
}

/// What is computed for the list of an `IN`, `ANY` or `ALL`, under a name of its own.
fn with_own_name(mut expr: Expr) -> DataFusionResult<Transformed<Expr>> {
    let (Expr::InSubquery(InSubquery { subquery, .. }) | Expr::SetComparison(SetComparison { subquery, .. })) = &mut expr else {
        return Ok(Transformed::no(expr));
    };
    let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() else { return Ok(Transformed::no(expr)) };
    let [computed] = projection.expr.as_slice() else { return Ok(Transformed::no(expr)) };
    let computed = computed.clone().unalias_nested().data;
    if matches!(computed, Expr::Column(_)) {
        return Ok(Transformed::no(expr));
    }
    let named = Projection::try_new(vec![computed.alias(hidden("computed", 0))], Arc::clone(&projection.input))?;
    *subquery = subquery.with_plan(Arc::new(LogicalPlan::Projection(named)));
    Ok(Transformed::yes(expr))
}

/// Scalar subqueries of JSON, whose values are text to those that do not ask the plan.
pub(super) fn json_stays_json(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let stays = |expr: Expr| match &expr {
        Expr::ScalarSubquery(subquery) => Ok(match json_of(subquery) {
            Some(json) => Transformed::yes(text_input(expr, &json)),
            None => Transformed::no(expr),
        }),
        _ => Ok(Transformed::no(expr)),
    };
    let done = plan.change_all_up(|node| map_named(node, |expr| expr.change_up(stays)));
    done.map(|done| done.data)
}

/// The type of a subquery's values if that is a JSON one.
fn json_of(subquery: &Subquery) -> Option<SqlType> {
    let sql_type = sql_type_of(subquery.subquery.schema().field(0));
    matches!(sql_type, SqlType::Json | SqlType::Jsonb).then_some(sql_type)
}

fn filtered_as_meant(mut filter: Filter) -> DataFusionResult<Transformed<LogicalPlan>> {
    let place = Place { whole: true, negated: false };
    let meant = in_place(filter.predicate.clone(), place, filter.input.schema())?;
    let changed = meant != filter.predicate;
    filter.predicate = meant;
    Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), changed))
}

/// An inner join with the subqueries of its condition in a filter above it.
fn condition_above(mut join: Join) -> DataFusionResult<Transformed<LogicalPlan>> {
    let has_subquery = |expr: &Expr| {
        let subquery =
            |inner: &Expr| Ok(matches!(inner, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)));
        expr.has(subquery).unwrap_or(false)
    };
    if join.join_type != JoinType::Inner || !join.filter.as_ref().is_some_and(has_subquery) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let terms = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
    let (above, within): (Vec<_>, Vec<_>) = terms.into_iter().partition(has_subquery);
    join.filter = conjunction(within);
    let Some(above) = conjunction(above) else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    let filter = filtered_as_meant(Filter::try_new(above, Arc::new(LogicalPlan::Join(join)))?)?;
    Ok(Transformed::yes(filter.data))
}

/// Where in a condition an expression stands.
#[derive(Clone, Copy)]
struct Place {
    /// A part of the whole condition that must be true for it to be true, perhaps under NOT.
    whole: bool,
    /// Under an odd number of NOTs.
    negated: bool,
}

/// An expression in a place where NULL is as good as false.
fn in_place(expr: Expr, place: Place, schema: &DFSchema) -> DataFusionResult<Expr> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if matches!(op, Operator::And | Operator::Or) => {
            let place = Place { whole: place.whole && !place.negated && op == Operator::And, ..place };
            let (left, right) = (in_place(*left, place, schema)?, in_place(*right, place, schema)?);
            Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
        }
        Expr::Not(inner) => Expr::Not(Box::new(in_place(*inner, Place { negated: !place.negated, ..place }, schema)?)),
        Expr::InSubquery(list) => {
            let excludes = list.negated != place.negated;
            let correlated = !list.subquery.outer_ref_columns.is_empty();
            let nulls = may_be_null(&list, schema)?;
            // What DataFusion's rules do right: IN where NULL is as good as false, and NOT IN as a null-aware anti join.
            if !excludes || (!correlated && (!nulls || (place.whole && !list.expr.column_refs().is_empty()))) {
                return Ok(Expr::InSubquery(InSubquery { subquery: without_distinct(list.subquery), ..list }));
            }
            let equal = compared(&list, schema)?;
            if !correlated {
                let found = exists(&list.subquery, Some(equal))?.or(unknown(&list)?);
                return Ok(if list.negated { Expr::Not(Box::new(found)) } else { found });
            }
            let found = if nulls { Expr::IsNotFalse(Box::new(equal)) } else { equal };
            let found = exists(&list.subquery, Some(found))?;
            if list.negated { Expr::Not(Box::new(found)) } else { found }
        }
        other => other.change_up(|inner| three_valued(inner, schema))?.data,
    })
}

/// `IN` over a subquery that reads columns from outside, as a condition of its own: NULL is as good as false.
pub(super) fn in_as_exists(list: &InSubquery, schema: &DFSchema) -> DataFusionResult<Expr> {
    let equal = compared(list, schema)?;
    let found = if list.negated && may_be_null(list, schema)? { Expr::IsNotFalse(Box::new(equal)) } else { equal };
    let found = exists(&list.subquery, Some(found))?;
    Ok(if list.negated { Expr::Not(Box::new(found)) } else { found })
}

/// `IN` in a place where NULL and false differ.
pub(super) fn three_valued(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let Expr::InSubquery(list) = expr else { return Ok(Transformed::no(expr)) };
    let found = exists(&list.subquery, Some(compared(&list, schema)?))?;
    let value = if may_be_null(&list, schema)? {
        when(found, lit(!list.negated)).when(unknown(&list)?, lit(ScalarValue::Boolean(None))).otherwise(lit(list.negated))?
    } else if list.negated {
        Expr::Not(Box::new(found))
    } else {
        found
    };
    Ok(Transformed::yes(value))
}

/// Whether `x = y` is NULL for some row: for every row if `x` is NULL, else for those where `y` is.
fn unknown(list: &InSubquery) -> DataFusionResult<Expr> {
    let any = exists(&list.subquery, None)?;
    let nulls = exists(&list.subquery, Some(first_column(&list.subquery).is_null()))?;
    Ok(list.expr.as_ref().clone().is_null().and(any).or(nulls))
}

fn may_be_null(list: &InSubquery, schema: &DFSchema) -> DataFusionResult<bool> {
    Ok(list.expr.nullable(schema)? || list.subquery.subquery.schema().field(0).is_nullable())
}

/// `x = y`, seen from within the subquery.
fn compared(list: &InSubquery, schema: &DFSchema) -> DataFusionResult<Expr> {
    let outside = list.expr.as_ref().clone().change_up(|inner| match inner {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outside.data.eq(first_column(&list.subquery)))
}

fn first_column(subquery: &Subquery) -> Expr {
    Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)))
}

/// For IN and EXISTS it does not matter whether a row is there twice, and a DISTINCT would stand between the condition and the join that it becomes.
fn without_distinct(subquery: Subquery) -> Subquery {
    match subquery.subquery.as_ref() {
        LogicalPlan::Distinct(Distinct::All(rows)) => Subquery { subquery: Arc::clone(rows), ..subquery },
        _ => subquery,
    }
}

/// Whether the subquery has a row for which `condition` is true.
fn exists(subquery: &Subquery, condition: Option<Expr>) -> DataFusionResult<Expr> {
    let rows = without_distinct(subquery.clone()).subquery;
    let plan = LogicalPlanBuilder::from(rows.as_ref().clone());
    let plan = match condition {
        Some(condition) => plan.filter(condition)?.build()?,
        None => plan.build()?,
    };
    let outer_ref_columns = plan.all_out_ref_exprs();
    let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans.clone() };
    Ok(Expr::Exists(Exists { subquery, negated: false }))
}

/// Puts an aggregate over every scalar subquery that might have several rows, if it is `concerned`.
fn one_value_each(plan: LogicalPlan, concerned: impl Fn(&Subquery) -> bool) -> DataFusionResult<Transformed<LogicalPlan>> {
    scalar_subqueries(plan, |subquery| concerned(subquery) && !has_one_row(&subquery.subquery), one_value_of)
}

/// Gives every scalar subquery that is `concerned` another plan.
fn scalar_subqueries(
    plan: LogicalPlan,
    concerned: impl Fn(&Subquery) -> bool,
    rewrite: impl Fn(&Subquery) -> DataFusionResult<Subquery>,
) -> DataFusionResult<Transformed<LogicalPlan>> {
    plan.change_all_up(|node| {
        node.change_expressions(|expr| {
            expr.change_up(|inner| match inner {
                Expr::ScalarSubquery(subquery) if concerned(&subquery) => Ok(Transformed::yes(Expr::ScalarSubquery(rewrite(&subquery)?))),
                other => Ok(Transformed::no(other)),
            })
        })
    })
}

/// Whether a plan cannot give a second row. An aggregate over rows that outside columns choose gives one for each outside row.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Filter(filter) => has_one_row(&filter.input),
        LogicalPlan::Sort(sort) => has_one_row(&sort.input),
        // GROUP BY: whether one group is left is for DataFusion to say, which knows of keys that equal an outside column.
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty() || !plan.all_out_ref_exprs().is_empty(),
        other => other.max_rows().is_some_and(|rows| rows <= 1),
    }
}

/// Whether a plan gives a row whatever its input has.
fn always_has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => always_has_a_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => always_has_a_row(&alias.input),
        LogicalPlan::Sort(sort) => always_has_a_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Values(_) => true,
        _ => false,
    }
}

/// `SELECT perhaps(column)` over the subquery.
fn perhaps(subquery: &Subquery) -> DataFusionResult<Subquery> {
    let name = subquery.subquery.schema().field(0).name().clone();
    let value = ScalarFunction::new_udf(Arc::new(ScalarUDF::from(Perhaps::new())), vec![first_column(subquery)]);
    let plan =
        LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).project(vec![Expr::ScalarFunction(value).alias(name)])?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery.clone() })
}

/// `SELECT one_value(count(*), max(column))` over the subquery: with one row, its value is the greatest.
pub(super) fn one_value_of(subquery: &Subquery) -> DataFusionResult<Subquery> {
    let name = subquery.subquery.schema().field(0).name().clone();
    let aggregate =
        |function, argument| Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![argument], false, None, vec![], None));
    let rows = aggregate(count_udaf(), lit(1_i64));
    let value = match json_of(subquery) {
        Some(_) => text_input(first_column(subquery), &SqlType::Text),
        None => first_column(subquery),
    };
    let value = aggregate(max_udaf(), value);
    let names = [rows.schema_name().to_string(), value.schema_name().to_string()];
    let [rows_column, value_column] = names.map(|name| Expr::Column(Column::new_unqualified(name)));
    let checked = ScalarFunction::new_udf(Arc::new(ScalarUDF::from(OneValueFunction::new())), vec![rows_column, value_column]);
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .aggregate(Vec::<Expr>::new(), vec![rows, value])?
        .project(vec![Expr::ScalarFunction(checked).alias(name)])?
        .build()?;
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns: subquery.outer_ref_columns.clone(), spans: subquery.spans.clone() })
}

/// `one_value(rows, value)`: the value, unless there are several rows: `21000`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OneValueFunction {
    signature: Signature,
}

impl OneValueFunction {
    fn new() -> Self {
        OneValueFunction { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for OneValueFunction {
    fn name(&self) -> &'static str {
        "one_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arguments.get(1).cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.args[0].to_array(args.number_rows)?;
        let rows = rows.as_primitive::<Int64Type>();
        if (0..rows.len()).any(|row| rows.is_valid(row) && rows.value(row) > 1) {
            let error = Error::new(Kind::CardinalityViolation, "more than one row returned by a subquery used as an expression");
            return Err(external(error));
        }
        Ok(args.args[1].clone())
    }
}

/// `perhaps(value)`: the value, of which nothing is known.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Perhaps {
    signature: Signature,
}

impl Perhaps {
    fn new() -> Self {
        Perhaps { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Perhaps {
    fn name(&self) -> &'static str {
        "perhaps"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arguments.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(args.arg_fields[0].as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}
