//! Frames of peers: `RANGE` without distances, which needs no more of a type than that its values have an order.
//!
//! DataFusion computes RANGE for few types, also where the frame says no more than which rows are peers, as the frame does that nobody wrote. So
//! where a window is ordered by another type it is a frame of GROUPS, which has the same rows. Runs before types are coerced.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits};

use super::errors::external;
use super::map_named::map_named;
use super::walk::{WalkPlan, WalkTree};
use crate::error::Error;
use crate::types::sql_type_of;

/// The plan with frames of peers for types that have no distances, in subqueries too.
pub(super) fn peer_frames(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let framed = plan.change_all_up(|node| {
        if !matches!(node, LogicalPlan::Window(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&node.inputs());
        map_named(node, |expr| expr.change_up(|inner| framed(inner, &schema)))
    });
    framed.map(|framed| framed.data)
}

fn framed(mut expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let Expr::WindowFunction(call) = &mut expr else { return Ok(Transformed::no(expr)) };
    let params = &mut call.params;
    let frame = &params.window_frame;
    let plain = |bound: &WindowFrameBound| *bound == WindowFrameBound::CurrentRow || bound.is_unbounded();
    let of_peers = frame.units == WindowFrameUnits::Range && plain(&frame.start_bound) && plain(&frame.end_bound);
    let Some(first) = params.order_by.first().filter(|_| frame.units == WindowFrameUnits::Range) else { return Ok(Transformed::no(expr)) };
    let (data_type, field) = (first.expr.get_type(schema)?, first.expr.to_field(schema)?.1);
    if !of_peers && !is_offset_type(&data_type) {
        let sql_type = sql_type_of(&field);
        let message = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {sql_type}");
        return Err(external(Error::not_supported(message).hint("Order by a number, a date or a timestamp, or use ROWS or GROUPS.")));
    }
    if !of_peers || has_distances(&data_type) {
        return Ok(Transformed::no(expr));
    }
    params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Groups, counted(&frame.start_bound), counted(&frame.end_bound));
    Ok(Transformed::yes(expr))
}

/// Whether DataFusion computes RANGE over a type.
fn has_distances(data_type: &DataType) -> bool {
    data_type.is_numeric()
        || data_type.is_string()
        || data_type.is_null()
        || matches!(data_type, DataType::Boolean | DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

/// Whether values of a type can be so far from each other: those of which DataFusion computes it, and text and boolean have no distances.
fn is_offset_type(data_type: &DataType) -> bool {
    has_distances(data_type) && !data_type.is_string() && *data_type != DataType::Boolean
}

/// A bound that counts groups, of which there are as many as unsigned numbers.
fn counted(bound: &WindowFrameBound) -> WindowFrameBound {
    match bound {
        WindowFrameBound::Preceding(_) => WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
        WindowFrameBound::Following(_) => WindowFrameBound::Following(ScalarValue::UInt64(None)),
    }
}
