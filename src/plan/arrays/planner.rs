//! Operators on arrays → function calls.

use datafusion::common::DFSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{ExprSchemable, GetFieldAccess};
use sqlparser::ast::BinaryOperator;

use super::contain::contain;
use super::subscript::{slice, subscript};
use crate::plan::table_functions::element_of;

/// Asked before DataFusion's own planners.
#[derive(Debug)]
pub(in crate::plan) struct ArrayPlanner;

impl ExprPlanner for ArrayPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        if !matches!(expr.op, BinaryOperator::AtArrow | BinaryOperator::ArrowAt | BinaryOperator::PGOverlap) {
            return Ok(PlannerResult::Original(expr));
        }
        let is_array = |side: &datafusion::logical_expr::Expr| {
            Ok::<_, datafusion::error::DataFusionError>(element_of(&side.get_type(schema)?).is_some())
        };
        if !is_array(&expr.left)? && !is_array(&expr.right)? {
            return Ok(PlannerResult::Original(expr));
        }
        let RawBinaryExpr { op, left, right } = expr;
        Ok(PlannerResult::Planned(match op {
            BinaryOperator::AtArrow => contain(false).call(vec![left, right]),
            BinaryOperator::ArrowAt => contain(false).call(vec![right, left]),
            _ => contain(true).call(vec![left, right]),
        }))
    }

    fn plan_field_access(&self, expr: RawFieldAccessExpr, schema: &DFSchema) -> DataFusionResult<PlannerResult<RawFieldAccessExpr>> {
        if element_of(&expr.expr.get_type(schema)?).is_none() {
            return Ok(PlannerResult::Original(expr));
        }
        Ok(match expr.field_access {
            GetFieldAccess::ListIndex { key } => PlannerResult::Planned(subscript().call(vec![expr.expr, *key])),
            GetFieldAccess::ListRange { start, stop, .. } => PlannerResult::Planned(slice().call(vec![expr.expr, *start, *stop])),
            field_access => PlannerResult::Original(RawFieldAccessExpr { expr: expr.expr, field_access }),
        })
    }
}
