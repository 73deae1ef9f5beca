//! Series as streams, for queries: an unnest makes each list before it takes it apart, and a series may have billions of values.
//!
//! ```text
//! UnnestExec [x, o]  ◀─  ProjectionExec [t.*, generate_series(1, t.n), ordinals(…)]
//!   ─▶  SeriesExec [x, o]  ◀─  ProjectionExec [t.*, 1, t.n]
//! ```
//!
//! Views need none of it: their unnest makes lists for a few rows at a time.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::unnest::UnnestExec;

use super::lists::ORDINALS;
use super::series::SERIES;
use super::series_exec::{Output, SeriesExec};
use crate::plan::names::hidden;
use crate::plan::node_rule::NodeRule;

/// See the file's header.
pub(in crate::plan) const STREAM_SERIES: NodeRule = NodeRule {
    name: "stream_series",
    change: |node| {
        let streamed = node.downcast_ref::<UnnestExec>().map(streamed).transpose()?.flatten();
        Ok(streamed.map_or_else(|| Transformed::no(node), Transformed::yes))
    },
};

/// An unnest without its series' lists; `None` if it has no series, or takes apart more than one level of lists.
fn streamed(unnest: &UnnestExec) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
    let Some(below) = unnest.input().downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let columns = below.expr();
    let lists: Vec<usize> = unnest.list_column_indices().iter().map(|list| list.index_in_input_schema).collect();
    let plain = unnest.struct_column_indices().is_empty()
        && unnest.list_column_indices().iter().all(|list| list.depth == 1)
        && unnest.schema().fields().len() == columns.len();
    if !plain || !lists.iter().any(|index| call(&columns[*index], SERIES).is_some()) {
        return Ok(None);
    }
    let mut wanted: Vec<ProjectionExpr> = Vec::new();
    let mut outputs = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let is_list = lists.contains(&index);
        outputs.push(match call(column, SERIES).filter(|_| is_list) {
            Some(series) => {
                let first = wanted.len();
                for argument in series.args() {
                    wanted.push(ProjectionExpr::new(Arc::clone(argument), hidden("argument", wanted.len())));
                }
                Output::Series((first..wanted.len()).collect())
            }
            None if is_list && counts_all(column, columns, &lists) => Output::Ordinal,
            None => {
                wanted.push(column.clone());
                if is_list { Output::Elements(wanted.len() - 1) } else { Output::Repeated(wanted.len() - 1) }
            }
        });
    }
    let input = Arc::new(ProjectionExec::try_new(wanted, Arc::clone(below.input()))?);
    let nulls = unnest.options().null_handling;
    Ok(Some(Arc::new(SeriesExec::new(input, outputs, unnest.schema(), nulls))))
}

/// The call of a function that a column is.
fn call<'a>(column: &'a ProjectionExpr, name: &str) -> Option<&'a ScalarFunctionExpr> {
    column.expr.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.fun().name() == name)
}

/// Whether a column is the numbers of the elements of all other lists.
fn counts_all(column: &ProjectionExpr, columns: &[ProjectionExpr], lists: &[usize]) -> bool {
    let Some(ordinals) = call(column, ORDINALS) else { return false };
    let others = || lists.iter().map(|index| &columns[*index]).filter(|other| call(other, ORDINALS).is_none()).map(|other| &other.expr);
    let counted = |list: &Arc<dyn PhysicalExpr>| ordinals.args().contains(list);
    others().all(counted) && ordinals.args().iter().all(|argument| others().any(|other| other == argument))
}
