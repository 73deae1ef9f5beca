//! Values in the place of parameters, in what has been planned.
//!
//! What a function gives may follow from a constant: `round(price, 1)` has one digit behind the point, `round(price, $1)` as many as `price`, since
//! nobody knows better when it is planned. What stands around the call was planned for that, so it keeps its type when the value is there.

use datafusion::common::Result;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};

use super::placeholder_number;
use crate::plan::map_named::map_named;
use crate::plan::walk::{WalkPlan, WalkTree};
use crate::types::SqlType;

/// Values by their number, each of its type.
pub(in crate::plan) struct Filling<'a> {
    pub(in crate::plan) values: &'a [ScalarValue],
    pub(in crate::plan) types: &'a [SqlType],
}

impl Filling<'_> {
    /// The expression with values in the place of parameters.
    pub(in crate::plan) fn expression(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        let filled = expr.change_down(|inner| match self.value(&inner) {
            Some(value) => Ok(Transformed::yes(value)),
            None => self.call(inner, schema),
        });
        filled.map(|filled| filled.data)
    }

    /// The plan with values in those calls whose type would follow from them.
    pub(in crate::plan) fn calls(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let filled = plan.change_all_up(|node| {
            let schema = merge_schema(&node.inputs());
            map_named(node, |expr| expr.change_down(|inner| self.call(inner, &schema)))
        });
        filled.map(|filled| filled.data)
    }

    /// A call of which an argument is a parameter, of the type that it was planned with.
    fn call(&self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
        if !call.args.iter().any(|argument| self.value(argument).is_some()) {
            return Ok(Transformed::no(expr));
        }
        let mut filled = call.clone();
        filled.args.iter_mut().for_each(|argument| {
            if let Some(value) = self.value(argument) {
                *argument = value;
            }
        });
        let (planned, filled) = (expr.get_type(schema)?, Expr::ScalarFunction(filled));
        Ok(match filled.get_type(schema)? == planned {
            true => Transformed::no(expr),
            false => Transformed::yes(Expr::Cast(Cast::new(Box::new(filled), planned))),
        })
    }

    /// The value of a parameter, or of one that the planner has cast for the call.
    fn value(&self, expr: &Expr) -> Option<Expr> {
        if let Expr::Cast(cast) = expr {
            let Some(Expr::Literal(value, _)) = self.value(&cast.expr) else { return None };
            return value.cast_to(cast.field.data_type()).ok().map(|value| Expr::Literal(value, None));
        }
        let index = placeholder_number(expr)?.checked_sub(1)?;
        let (value, sql_type) = self.values.get(index).zip(self.types.get(index))?;
        Some(Expr::Literal(value.clone(), Some(FieldMetadata::from(&sql_type.field("", true)))))
    }
}
