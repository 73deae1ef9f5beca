//! In the order of a query, -0.0 and 0.0 are one number, as in PostgreSQL: equal rows are then told apart by what comes next, and are peers.
//!
//! DataFusion sorts -0.0 before 0.0 (and takes them for one in GROUP BY, DISTINCT and joins). So it is given `f + 0.0` to sort and partition by:
//! that is 0.0 for both, and what it was for all other floats. Only for queries that run once: a view's operators know by themselves.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

/// The plan with one zero in its sorts and windows, in subqueries too.
pub(super) fn one_zero(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Sort(mut sort) => {
            let schema = sort.input.schema();
            let changed = sort.expr.iter_mut().map(|by| with_zero(&mut by.expr, schema)).fold(false, |any, one| any | one);
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), changed))
        }
        LogicalPlan::Window(window) => {
            let schema = std::sync::Arc::clone(window.input.schema());
            let node = LogicalPlan::Window(window);
            let names = NamePreserver::new_for_projection();
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(window_with_zero(expr, &schema).update_data(|expr| name.restore(expr)))
            })
        }
        other => Ok(Transformed::no(other)),
    });
    changed.map(|changed| changed.data)
}

fn window_with_zero(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let mut inner = &mut expr;
    while let Expr::Alias(alias) = inner {
        inner = alias.expr.as_mut();
    }
    let Expr::WindowFunction(call) = inner else { return Transformed::no(expr) };
    let params = &mut call.params;
    let keys = params.partition_by.iter_mut().chain(params.order_by.iter_mut().map(|by| &mut by.expr));
    let changed = keys.map(|key| with_zero(key, schema)).fold(false, |any, one| any | one);
    Transformed::new_transformed(expr, changed)
}

/// Adds the zero, if the expression is a float.
fn with_zero(expr: &mut Expr, schema: &DFSchema) -> bool {
    let zero = match expr.get_type(schema) {
        Ok(DataType::Float64) => ScalarValue::Float64(Some(0.0)),
        Ok(DataType::Float32) => ScalarValue::Float32(Some(0.0)),
        _ => return false,
    };
    let inner = std::mem::take(expr);
    *expr = Expr::BinaryExpr(BinaryExpr::new(Box::new(inner), Operator::Plus, Box::new(Expr::Literal(zero, None))));
    true
}
