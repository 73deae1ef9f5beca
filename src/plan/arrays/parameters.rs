//! The types of parameters beside arrays: `id = ANY ($1)`, `tags && $1`, `generate_series(1, $1)`. DataFusion infers those beside plain operators.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use super::compare::{ALL, ANY};
use crate::plan::parameters::is_open;
use crate::plan::table_functions::element_of;

/// A plan whose parameters have the types that calls on arrays want.
pub(in crate::plan) fn infer(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let inferred = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            if !expr.exists(|inner| Ok(is_open(inner)))? {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            Ok(Transformed::yes(name.restore(infer_expression(expr, &schema)?)))
        })
    });
    inferred.map(|inferred| inferred.data)
}

/// The same for an expression over columns of `schema`.
pub(in crate::plan) fn infer_expression(expr: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    expr.transform_up(|inner| in_call(inner, schema)).map(|inferred| inferred.data)
}

fn in_call(mut expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &mut expr else { return Ok(Transformed::no(expr)) };
    let name = call.func.name();
    // Which arguments say of each other what they are.
    let (first, second) = match (name, call.args.len()) {
        (ANY | ALL, 3) => (0, 2),
        ("array_contains_all" | "array_overlaps" | "generate_series", 2..) => (0, 1),
        _ => return Ok(Transformed::no(expr)),
    };
    let compares = matches!(name, ANY | ALL);
    let mut changed = false;
    for (open, known) in [(first, second), (second, first)] {
        if !is_open(&call.args[open]) || is_open(&call.args[known]) {
            continue;
        }
        let Ok((_, field)) = call.args[known].to_field(schema) else { continue };
        let wanted: Option<FieldRef> = match (compares, open == second) {
            (true, true) => {
                Some(Arc::new(Field::new("", DataType::List(Arc::new(field.as_ref().clone().with_name("item").with_nullable(true))), true)))
            }
            (true, false) => element_of(field.data_type()).cloned(),
            (false, _) => Some(field),
        };
        if let (Expr::Placeholder(parameter), Some(wanted)) = (&mut call.args[open], wanted) {
            parameter.field = Some(wanted);
            changed = true;
        }
    }
    Ok(Transformed::new_transformed(expr, changed))
}
