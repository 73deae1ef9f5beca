//! A series as the unnest of its pieces, for queries: DataFusion makes a whole list before it takes it apart, and a series may have
//! billions of values.
//!
//! ```text
//! Unnest generate_series(a, b, s)   ─▶   Unnest series_piece(start, b, s)  ◀─  Unnest series_starts(a, b, s) as start
//! ```
//!
//! Views need none of it: their unnest makes lists for a few rows at a time.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, NullHandling, UnnestOptions};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, Unnest, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::series::{PIECE, series_piece, series_starts};
use super::{is_ordinals, is_series};
use crate::plan::names::hidden;

/// Numbers that make names unique start here: others are smaller.
const FIRST_NUMBER: usize = 2_000_000;

/// See the file's header.
#[derive(Debug)]
pub(in crate::plan) struct SeriesInChunks;

impl OptimizerRule for SeriesInChunks {
    fn name(&self) -> &'static str {
        "series_in_chunks"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Unnest(unnest) = &plan else { return Ok(Transformed::no(plan)) };
        match parts(unnest) {
            Some(parts) => parts.chunked(unnest).map(Transformed::yes),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// An unnest of a series, perhaps with the numbers of its values.
struct Parts<'a> {
    below: &'a Projection,
    series: usize,
    call: &'a ScalarFunction,
    ordinals: Option<usize>,
}

fn parts(unnest: &Unnest) -> Option<Parts<'_>> {
    let LogicalPlan::Projection(below) = unnest.input.as_ref() else { return None };
    let lists: Vec<usize> = unnest.list_type_columns.iter().map(|(index, _)| *index).collect();
    let simple = unnest.struct_type_columns.is_empty()
        && unnest.options.null_handling == NullHandling::Drop
        && unnest.list_type_columns.iter().all(|(_, list)| list.depth == 1)
        && unnest.dependency_indices.len() == below.expr.len();
    let (series, ordinals) = match lists.as_slice() {
        [series] => (*series, None),
        [one, other] if is_ordinals(&below.expr[*other]) => (*one, Some(*other)),
        _ => return None,
    };
    let call = call_of(&below.expr[series])?;
    (simple && is_series(&below.expr[series])).then_some(Parts { below, series, call, ordinals })
}

fn call_of(expr: &Expr) -> Option<&ScalarFunction> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::ScalarFunction(call) => Some(call),
        _ => None,
    }
}

impl Parts<'_> {
    fn chunked(&self, unnest: &Unnest) -> DataFusionResult<LogicalPlan> {
        let name = |word: &str| Column::new_unqualified(hidden(word, FIRST_NUMBER + self.series));
        let [start, number, stop, step, piece, place] = ["start", "number", "stop", "step", "piece", "place"].map(name);
        let options = || UnnestOptions::new().with_null_handling(NullHandling::Drop);
        let arguments = &self.call.args;
        let list = |index: &usize| *index == self.series || Some(*index) == self.ordinals;
        let others: Vec<usize> = (0..self.below.expr.len()).filter(|index| !list(index)).collect();

        let mut exprs: Vec<Expr> = others.iter().map(|index| self.below.expr[*index].clone()).collect();
        let starts = Expr::ScalarFunction(ScalarFunction::new_udf(series_starts(), arguments.clone()));
        let mut lists = vec![start.clone()];
        if self.ordinals.is_some() {
            exprs.push(super::lists::ordinals().call(vec![starts.clone()]).alias(number.name.clone()));
            lists.push(number.clone());
        }
        exprs.push(starts.alias(start.name.clone()));
        exprs.push(arguments[1].clone().alias(stop.name.clone()));
        exprs.extend(arguments.get(2).map(|argument| argument.clone().alias(step.name.clone())));
        let plan = LogicalPlanBuilder::from(self.below.input.as_ref().clone())
            .project(exprs)?
            .unnest_columns_with_options(lists, options())?
            .build()?;

        let kept = |index: &usize| Expr::Column(Column::from(self.below.schema.qualified_field(*index)));
        let mut exprs: Vec<Expr> = others.iter().map(kept).collect();
        let bounds = [&start, &stop].into_iter().chain(arguments.get(2).map(|_| &step));
        let values = series_piece().call(bounds.map(|column| Expr::Column(column.clone())).collect());
        let mut lists = vec![piece.clone()];
        if self.ordinals.is_some() {
            exprs.push(Expr::Column(number.clone()));
            exprs.push(super::lists::ordinals().call(vec![values.clone()]).alias(place.name.clone()));
            lists.push(place.clone());
        }
        exprs.push(values.alias(piece.name.clone()));
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.unnest_columns_with_options(lists, options())?.build()?;

        // The columns as they were, by name and type.
        let outputs = unnest.schema.iter().zip(&unnest.dependency_indices).map(|((qualifier, field), index)| {
            let expr = if *index == self.series {
                Expr::Column(piece.clone())
            } else if Some(*index) == self.ordinals {
                (Expr::Column(number.clone()) - lit(1_i64)) * lit(PIECE) + Expr::Column(place.clone())
            } else {
                return Ok(kept(index));
            };
            let expr = match expr.get_type(plan.schema())? {
                same if same == *field.data_type() => expr,
                _ => Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::clone(field))),
            };
            Ok(expr.alias_qualified(qualifier.cloned(), field.name()))
        });
        let outputs = outputs.collect::<DataFusionResult<Vec<_>>>()?;
        LogicalPlanBuilder::from(plan).project(outputs)?.build()
    }
}
