//! Recursive queries before they are lowered: what is allowed in a recursive term, and how it comes to carry the number of its iteration.
//!
//! A view's recursion is taken out of its plan (`Lowering::recursions_apart`): in its place stands the scan of a `Recursion`, which
//! holds base and term as plans of their own. In the term the working table becomes a `Recurrence`: its columns and the number of the
//! iteration, which every operator up to the end of the term passes on: projections as a column more, windows, DISTINCT and GROUP BY as a
//! key more. So the term is an ordinary query over all iterations at once, that makes of the rows of one iteration what the term
//! makes of them alone.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, JoinType};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Filter, Join, LogicalPlan, Projection, RecursiveQuery, SubqueryAlias, TableScanBuilder, TableSource, Window,
};

use super::errors::from_datafusion;
use super::names::visible;
use super::walk::{WalkPlan, WalkTree};
use crate::error::{Error, Kind, Result};
use crate::types::{NUMERIC_DEFAULT, SqlType, sql_type_of};

/// The column with the number of the iteration. The blank keeps it apart from what users call theirs.
const ITERATION: &str = "iteration number";

/// The same on the other side of a join.
const OTHER_ITERATION: &str = "iteration number of the other side";

/// A recursive query in the plan of a view, seen as a relation.
#[derive(Debug)]
pub(super) struct Recursion {
    pub(super) name: String,
    /// Which one it is in the plan.
    pub(super) number: u32,
    /// The non-recursive term, optimised.
    pub(super) base: LogicalPlan,
    /// The recursive term, optimised: the same columns, then the number of the iteration that it read.
    pub(super) term: LogicalPlan,
    pub(super) distinct: bool,
    pub(super) schema: SchemaRef,
}

/// Its working table, within the term: all iterations at once.
#[derive(Debug)]
pub(super) struct Recurrence {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) distinct: bool,
    pub(super) schema: SchemaRef,
}

impl TableSource for Recursion {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl TableSource for Recurrence {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Recurrence {
    /// The working table of `query`.
    pub(super) fn new(query: &RecursiveQuery, number: u32) -> Self {
        let fields = query.static_term.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let iteration = Field::new(ITERATION, DataType::Int64, true);
        let schema = Arc::new(Schema::new(fields.chain([iteration]).collect::<Vec<_>>()));
        Recurrence { name: query.name.clone(), number, distinct: query.is_distinct, schema }
    }
}

/// Refuses what PostgreSQL refuses in recursive queries, in the words that it has for it. Whatever the text alone tells has been refused.
pub(super) fn check_recursions(plan: &LogicalPlan) -> Result<()> {
    let mut found = Ok(());
    let _ = plan.look_at_all(|node| {
        if let LogicalPlan::RecursiveQuery(query) = node {
            found = check_types(query).and_then(|()| check_way(&query.recursive_term, &query.name));
        }
        Ok(if found.is_err() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// The recursive term's columns must fit into those of the base, which give the types. `sql::prepare_recursion` has put a `SELECT *` around
/// the term, so a cast at its top is not the user's.
fn check_types(query: &RecursiveQuery) -> Result<()> {
    let LogicalPlan::Projection(top) = query.recursive_term.as_ref() else { return Ok(()) };
    for (index, (expr, field)) in top.expr.iter().zip(query.static_term.schema().fields()).enumerate() {
        let Expr::Cast(cast) = expr.clone().unalias() else { continue };
        let Expr::Column(column) = cast.expr.as_ref() else { continue };
        let found = top.input.schema().field_from_column(column).map_err(|error| from_datafusion(error, ""))?;
        // A numeric of no particular precision takes any, rounded as it always is.
        let (first, later) = (sql_type_of(field), sql_type_of(found));
        if first == SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1)
            && (found.data_type().is_decimal() || found.data_type().is_integer())
        {
            continue;
        }
        if type_union_coercion(field.data_type(), found.data_type()).as_ref() != Some(field.data_type()) {
            let message = format!(
                "recursive query \"{}\" column {} has type {first} in non-recursive term but type {later} overall",
                query.name,
                index + 1
            );
            return Err(Error::new(Kind::DatatypeMismatch, message).hint("Cast the output of the non-recursive term to the correct type."));
        }
    }
    Ok(())
}

/// Follows the way from the end of a term to the working table.
fn check_way(plan: &LogicalPlan, name: &str) -> Result<()> {
    if !reads_work_table(plan, name) || is_work_table(plan, name) {
        return Ok(());
    }
    match plan {
        LogicalPlan::Aggregate(aggregate) if !aggregate.aggr_expr.is_empty() => {
            Err(Error::new(Kind::InvalidRecursion, "aggregate functions are not allowed in a recursive query's recursive term")
                .hint("Aggregate in the query that reads the recursive one."))
        }
        LogicalPlan::Join(join) => check_way(recurring(join, name)?.0, name),
        other => other.inputs().into_iter().try_for_each(|input| check_way(input, name)),
    }
}

/// The input of a join that reads the working table, and whether it is the left one. Only rows of that table may come out of it alone.
fn recurring<'a>(join: &'a Join, name: &str) -> Result<(&'a Arc<LogicalPlan>, bool)> {
    let is_left = reads_work_table(&join.left, name);
    let kept = match join.join_type {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => is_left,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => !is_left,
        JoinType::Full => false,
    };
    if kept {
        return Ok((if is_left { &join.left } else { &join.right }, is_left));
    }
    let place = match join.join_type {
        JoinType::Left | JoinType::Right | JoinType::Full => "an outer join",
        _ => "a subquery, INTERSECT or EXCEPT",
    };
    Err(Error::new(Kind::InvalidRecursion, format!("recursive reference to query \"{name}\" must not appear within {place}")))
}

/// Whether a plan is the working table of the recursive query of this name.
fn is_work_table(plan: &LogicalPlan, name: &str) -> bool {
    work_table(plan).is_some_and(|found| found == name)
}

/// The name of the recursive query whose working table is scanned.
fn work_table(plan: &LogicalPlan) -> Option<String> {
    let LogicalPlan::TableScan(scan) = plan else { return None };
    let provider = source_as_provider(&scan.source).ok()?;
    provider.as_ref().downcast_ref::<CteWorkTable>().map(|table| table.name().to_owned())
}

fn reads_work_table(plan: &LogicalPlan, name: &str) -> bool {
    plan.has(|node| Ok(is_work_table(node, name))).unwrap_or(false)
}

/// A working table that a plan reads, in its subqueries too, other than that of `name`.
pub(super) fn other_work_table(plan: &LogicalPlan, name: &str) -> Option<String> {
    let mut found = None;
    let _ = plan.look_at_all(|node| {
        found = work_table(node).filter(|other| other != name);
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// The term of `query` over `source`: its columns, then the number of the iteration.
pub(super) fn numbered_term(query: &RecursiveQuery, source: &Arc<Recurrence>) -> Result<LogicalPlan> {
    let numbered = Numbering { name: &query.name, source }.plan(&query.recursive_term)?;
    let columns = query.recursive_term.schema().columns().into_iter().map(Expr::Column);
    let all = columns.chain([iteration(&numbered)]).collect();
    Projection::try_new(all, Arc::new(numbered)).map(LogicalPlan::Projection).map_err(|error| from_datafusion(error, ""))
}

/// The column with the iteration's number in a plan that carries it.
fn iteration(plan: &LogicalPlan) -> Expr {
    let found = plan.schema().iter().find(|(_, field)| field.name() == ITERATION);
    Expr::Column(Column::new(found.and_then(|(qualifier, _)| qualifier.cloned()), ITERATION))
}

/// Puts the number of the iteration into every plan between the working table and the end of the term.
struct Numbering<'a> {
    name: &'a str,
    source: &'a Arc<Recurrence>,
}

impl Numbering<'_> {
    fn plan(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let numbered = match plan {
            LogicalPlan::TableScan(scan) if is_work_table(plan, self.name) => {
                let last = self.source.schema.fields().len() - 1;
                let projection = scan.projection.clone().map(|columns| columns.into_iter().chain([last]).collect());
                let source = Arc::clone(self.source) as Arc<dyn TableSource>;
                let scan =
                    TableScanBuilder::new(scan.table_name.clone(), source).with_projection(projection).with_filters(scan.filters.clone());
                scan.build().map(LogicalPlan::TableScan)
            }
            LogicalPlan::Projection(projection) => {
                let input = self.plan(&projection.input)?;
                let exprs = projection.expr.iter().cloned().chain([iteration(&input)]).collect();
                Projection::try_new(exprs, Arc::new(input)).map(LogicalPlan::Projection)
            }
            LogicalPlan::Filter(filter) => Filter::try_new(filter.predicate.clone(), self.input(&filter.input)?).map(LogicalPlan::Filter),
            LogicalPlan::SubqueryAlias(alias) => {
                SubqueryAlias::try_new(self.input(&alias.input)?, alias.alias.clone()).map(LogicalPlan::SubqueryAlias)
            }
            // The order of an iteration's rows means nothing.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => return self.plan(&sort.input),
            LogicalPlan::Distinct(Distinct::All(input)) => Ok(LogicalPlan::Distinct(Distinct::All(self.input(input)?))),
            // The user's own aggregates have been refused; others give a row for each row that they are made for.
            LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty() => return self.grouped(aggregate),
            LogicalPlan::Window(window) => return self.window(window),
            LogicalPlan::Join(join) => return self.join(join),
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) | LogicalPlan::Distinct(Distinct::On(_)) => return Err(unsupported("LIMIT")),
            LogicalPlan::Union(_) => return Err(unsupported("UNION")),
            _ => return Err(unsupported("this construct")),
        };
        numbered.map_err(|error| from_datafusion(error, ""))
    }

    fn input(&self, plan: &LogicalPlan) -> Result<Arc<LogicalPlan>> {
        self.plan(plan).map(Arc::new)
    }

    fn grouped(&self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
            return Err(unsupported("GROUPING SETS"));
        }
        let input = self.plan(&aggregate.input)?;
        let keys = aggregate.group_expr.iter().cloned().chain([iteration(&input)]).collect();
        let grouped = Aggregate::try_new(Arc::new(input), keys, aggregate.aggr_expr.clone());
        grouped.map(LogicalPlan::Aggregate).map_err(|error| from_datafusion(error, ""))
    }

    /// Window functions look at the rows of their iteration.
    fn window(&self, window: &Window) -> Result<LogicalPlan> {
        let input = self.plan(&window.input)?;
        let number = iteration(&input);
        let calls = window.window_expr.iter().map(|expr| {
            let name = expr.schema_name().to_string();
            let within = expr.clone().change_up(|inner| {
                Ok(match inner {
                    Expr::WindowFunction(mut call) => {
                        call.params.partition_by.push(number.clone());
                        Transformed::yes(Expr::WindowFunction(call))
                    }
                    other => Transformed::no(other),
                })
            })?;
            within.data.alias_if_changed(name)
        });
        let calls = calls.collect::<datafusion::error::Result<Vec<Expr>>>();
        let window = calls.and_then(|calls| Window::try_new(calls, Arc::new(input)));
        window.map(LogicalPlan::Window).map_err(|error| from_datafusion(error, ""))
    }

    /// Where both sides read the working table (a subquery that was made a join does), rows of one iteration meet.
    fn join(&self, join: &Join) -> Result<LogicalPlan> {
        let (input, is_left) = recurring(join, self.name)?;
        let input = self.input(input)?;
        let mut on = join.on.clone();
        let (left, right) = if !is_left {
            (Arc::clone(&join.left), input)
        } else if reads_work_table(&join.right, self.name) {
            let (right, other) = self.other_side(&join.right, super::names::hidden(OTHER_ITERATION, input.schema().fields().len()))?;
            on.push((iteration(&input), other));
            (input, right)
        } else {
            (input, Arc::clone(&join.right))
        };
        let joined =
            Join::try_new(left, right, on, join.filter.clone(), join.join_type, join.join_constraint, join.null_equality, join.null_aware);
        joined.map(LogicalPlan::Join).map_err(|error| from_datafusion(error, ""))
    }
}

impl Numbering<'_> {
    /// The right side of a join whose left side is numbered too: its number has another name.
    fn other_side(&self, plan: &LogicalPlan, name: String) -> Result<(Arc<LogicalPlan>, Expr)> {
        let numbered = self.plan(plan)?;
        let own = plan.schema().columns().into_iter().map(Expr::Column);
        let all = own.chain([iteration(&numbered).alias(name.clone())]).collect();
        let renamed = Projection::try_new(all, Arc::new(numbered)).map_err(|error| from_datafusion(error, ""))?;
        Ok((Arc::new(LogicalPlan::Projection(renamed)), Expr::Column(Column::new_unqualified(name))))
    }
}

/// `construct` cannot stand between the working table and the end of a view's recursive term.
fn unsupported(construct: &str) -> Error {
    Error::not_supported(format!("{construct} around the recursive reference is not supported in a materialized view"))
        .hint("Apply it to other relations of the recursive term, or in the query that reads the recursive one.")
}

/// The columns of a recursion, as its scan names them: unique, and visible as the user named them.
pub(super) fn row_schema(query: &RecursiveQuery) -> SchemaRef {
    let fields = query.schema.fields().iter().enumerate();
    let fields = fields.map(|(index, field)| {
        let name = super::names::hidden(visible(field.name()), index);
        field.as_ref().clone().with_name(name).with_nullable(true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
