//! HOP and CUMULATE: an unnest of `hop_starts(time, …)` or `cumulate_ends(time, …)` becomes one node that gives each row once per window.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Projection, Unnest};

use super::{Lowering, fields_of, scalar, support};
use crate::error::{Error, Kind, Result};
use crate::plan::expressions::{column_index, column_scalar, expression_text};
use crate::plan::node::{Node, NodeKind, Scalar};
use crate::plan::properties;
use crate::plan::time_windows::{lists_windows, windows_of};

impl Lowering<'_> {
    /// The unnest of the call `call`, which makes column `list` of the projection below.
    pub(super) fn hop(&mut self, unnest: &Unnest, projection: &Projection, list: usize, call: &ScalarFunction) -> Result<Node> {
        let [time, intervals @ ..] = call.args.as_slice() else { return Err(support::unsupported("unnest()")) };
        let windows = windows_of(call.func.name(), &intervals.iter().map(interval).collect::<Result<Vec<_>>>()?)?;

        let input = self.lower(&projection.input)?;
        let below = projection.input.schema();
        let mut scalars = Vec::with_capacity(projection.expr.len());
        let mut fields: Vec<Field> = Vec::with_capacity(projection.expr.len());
        let prepared = fields_of(&projection.schema);
        for (index, expr) in projection.expr.iter().enumerate() {
            // The place of the list is taken by the time that it was made from; it is where the window's start or end will stand.
            let expr = if index == list { time } else { expr };
            let scalar: Scalar = scalar(expr, below)?;
            fields.push(prepared.field(index).clone());
            scalars.push(scalar);
        }
        let time_type = unnest.schema.field(output_of(unnest, list)?).data_type().clone();
        fields[list] = Field::new(expression_text(time), time_type, true);
        let time_at = scalars.iter().position(|scalar| column_index(&scalar.expression) == column_index(&scalars[list].expression));
        let time_at = time_at.filter(|at| column_index(&scalars[*at].expression).is_some()).unwrap_or(list);
        let width = scalars.len();
        let input = self.map(input, None, scalars, Arc::new(Schema::new(fields.clone())));

        let properties = properties::hop(&input.properties, width, windows);
        fields.push(Field::new("window_start", fields[list].data_type().clone(), true));
        fields.push(Field::new("window_end", fields[list].data_type().clone(), true));
        let kind = NodeKind::Hop { input: Box::new(input), time: time_at, windows };
        let hop = self.node(kind, Arc::new(Schema::new(fields)), properties);
        let named = |(field, from): (&Arc<Field>, &usize)| {
            if *from == list {
                field.as_ref().clone().with_name(["window_start", "window_end"][windows.key()])
            } else {
                field.as_ref().clone()
            }
        };
        let schema = fields_of(&unnest.schema);
        let schema = Arc::new(Schema::new(schema.fields().iter().zip(&unnest.dependency_indices).map(named).collect::<Vec<_>>()));
        let outputs = unnest
            .dependency_indices
            .iter()
            .zip(schema.fields())
            .map(|(from, field)| column_scalar(field.name(), if *from == list { width + windows.key() } else { *from }));
        let outputs = outputs.collect();
        Ok(self.map(hop, None, outputs, schema))
    }
}

fn output_of(unnest: &Unnest, list: usize) -> Result<usize> {
    let found = unnest.dependency_indices.iter().position(|from| *from == list);
    found.ok_or_else(|| Error::internal("an unnested column that is not in the output"))
}

/// The call that lists the windows of a row, if an expression is one.
pub(super) fn hop_call(expr: &Expr) -> Option<&ScalarFunction> {
    match expr {
        Expr::Alias(alias) => hop_call(&alias.expr),
        Expr::ScalarFunction(call) if lists_windows(call.func.name()) => Some(call),
        _ => None,
    }
}

/// What windows are made of, in a view: constants.
pub(super) fn interval(expr: &Expr) -> Result<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Ok(value),
        _ => Err(Error::new(
            Kind::NotSupported,
            "the size of a window, and what else it is made of, must be interval constants in a materialized view",
        )),
    }
}
