//! Maps as text: they may come up within a query, and no SQL type holds them.

use arrow::datatypes::{DataType, Field};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use crate::plan::casts::nested_as_text;

/// The plan with text in the place of its columns that are maps.
pub(in crate::plan) fn maps_as_text(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let is_map = |field: &Field| matches!(field.data_type(), DataType::Map(..));
    if !plan.schema().fields().iter().any(|field| is_map(field)) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().zip(plan.schema().columns()).map(|((qualifier, field), column)| {
        let column = Expr::Column(column);
        if is_map(field) { nested_as_text(column, field).alias_qualified(qualifier.cloned(), field.name()) } else { column }
    });
    let columns = columns.collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
