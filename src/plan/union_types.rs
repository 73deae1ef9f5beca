//! UNION of numbers of several types: its columns are of the type that holds them all, for those above it too.
//!
//! DataFusion calls a union's columns by the types of its first query until types are coerced. What was planned above it took an integer for one: `x / 3`
//! was then a division of another kind, with other digits behind the point. Runs before types are coerced: casts the queries' columns, and plans
//! products and quotients above anew.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union, cast};

use super::map_named::map_named;
use super::open_literals::recomputed;
use super::operators::planned_anew;
use super::walk::{WalkPlan, WalkTree};

/// The plan with numbers of one type in each column of a union, in subqueries too.
pub(super) fn with_union_types(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let changed = Cell::new(false);
    let done = plan.change_all_up(|node| {
        if let LogicalPlan::Union(union) = &node
            && let Some(types) = common_types(union)
        {
            changed.set(true);
            return cast_below(union, &types).map(Transformed::yes);
        }
        if !changed.get() {
            return Ok(Transformed::no(node));
        }
        // What a column is has changed below.
        let schema = merge_schema(&node.inputs());
        let node = map_named(node, |expr| expr.change_up(|inner| Ok(planned_anew(inner, &schema))))?;
        recomputed(node.data).map(Transformed::yes)
    });
    done.map(|done| done.data)
}

/// For each column the type that holds the numbers of all queries, where that of the first is another kind of number; `None` if none is.
fn common_types(union: &Union) -> Option<Vec<Option<DataType>>> {
    let of = |input: &LogicalPlan, column: usize| input.schema().fields().get(column).map(|field| field.data_type().clone());
    let common = |column: usize| {
        let mut types = union.inputs.iter().filter_map(|input| of(input, column));
        let first = types.next().filter(DataType::is_numeric)?;
        let all = types.try_fold(first.clone(), |all, one| {
            let met = (all.is_decimal() && one.is_floating()) || (all.is_floating() && one.is_decimal());
            if met { Some(DataType::Float64) } else { type_union_coercion(&all, &one).filter(DataType::is_numeric) }
        })?;
        let is_other = (all.is_floating() && !first.is_floating()) || (all.is_decimal() && first.is_integer());
        is_other.then_some(all)
    };
    let types: Vec<Option<DataType>> = (0..union.schema.fields().len()).map(common).collect();
    types.iter().any(Option::is_some).then_some(types)
}

fn cast_below(union: &Union, types: &[Option<DataType>]) -> DataFusionResult<LogicalPlan> {
    let inputs = union.inputs.iter().map(|input| {
        let columns = input.schema().columns().into_iter().zip(input.schema().fields()).zip(types).map(|((column, field), wanted)| {
            let (relation, name) = (column.relation.clone(), column.name.clone());
            match wanted {
                Some(wanted) if wanted != field.data_type() => cast(Expr::Column(column), wanted.clone()).alias_qualified(relation, name),
                _ => Expr::Column(column),
            }
        });
        LogicalPlanBuilder::from(input.as_ref().clone()).project(columns.collect::<Vec<_>>())?.build().map(Arc::new)
    });
    let inputs = inputs.collect::<DataFusionResult<Vec<_>>>()?;
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union)
}
