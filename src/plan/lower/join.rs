//! Inner joins: keys become columns of both sides, both sides are moved by them, what is left of the condition is checked per pair.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{Expr, ExprSchemable, Join};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;

use super::{Lowering, cast, fields_of, identity, nullable, scalar, support};
use crate::error::{Error, Result};
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::{column_scalar, moved};
use crate::plan::names::visible;
use crate::plan::node::{Node, NodeKind, Scalar};
use crate::plan::properties;

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Node> {
        let null_equals_null = join.null_equality == NullEquality::NullEqualsNull;
        if join.join_type != JoinType::Inner {
            return Err(support::unsupported(support::join_name(join.join_type, null_equals_null)));
        }
        let (left_keys, right_keys) = key_expressions(join)?;
        let left = self.lower(&join.left)?;
        let right = self.lower(&join.right)?;
        // One side of a single row makes every other pairing as cheap as a lookup.
        let single = |node: &Node| node.properties.key.as_ref().is_some_and(Vec::is_empty);
        if join.on.is_empty() && !single(&left) && !single(&right) {
            let construct = if join.filter.is_some() { "a join without an equality" } else { "CROSS JOIN" };
            return Err(Error::not_supported(format!("{construct} is not supported in a materialized view yet"))
                .hint("Join on at least one equality between columns of both sides."));
        }
        let (left_width, right_width) = (left.schema.fields().len(), right.schema.fields().len());
        let (left, left_keys) = self.with_keys(left, join.left.schema(), &left_keys)?;
        let (right, right_keys) = self.with_keys(right, join.right.schema(), &right_keys)?;
        let (left, right) = if properties::met(&left.properties, &right.properties, &left_keys, &right_keys) {
            (left, right)
        } else {
            (self.moved_by(left, left_keys.clone()), self.moved_by(right, right_keys.clone()))
        };

        let left_total = left.schema.fields().len();
        let place = |column: usize| if column < left_width { column } else { column - left_width + left_total };
        let condition = join.filter.as_ref().map(|filter| condition(filter, &join.schema, &place)).transpose()?;
        let properties = properties::join(&left.properties, &right.properties, &left_keys, &right_keys, left_total);
        let fields = left.schema.fields().iter().chain(right.schema.fields()).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let extra = left_total > left_width || right.schema.fields().len() > right_width;
        let kind = NodeKind::Join { left: Box::new(left), right: Box::new(right), left_keys, right_keys, null_equals_null, condition };
        let node = self.node(kind, schema, properties);
        if !extra {
            return Ok(node);
        }
        // Key columns that were computed for the join alone leave again.
        let schema = fields_of(&join.schema);
        let kept = schema.fields().iter().enumerate().map(|(index, field)| column_scalar(field.name(), place(index)));
        let kept = kept.collect();
        Ok(self.map(node, None, kept, schema))
    }

    /// The input with a column for every key at its end, unless it is one already, and where the keys stand.
    fn with_keys(&mut self, input: Node, below: &DFSchema, keys: &[Expr]) -> Result<(Node, Vec<usize>)> {
        let width = input.schema.fields().len();
        let mut projection = identity(&input.schema);
        let mut fields: Vec<Field> = input.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut positions = Vec::with_capacity(keys.len());
        for key in keys {
            if let Expr::Column(column) = key
                && let Ok(position) = below.index_of_column(column)
            {
                positions.push(position);
                continue;
            }
            let (_, field) = key.to_field(below).map_err(|error| from_datafusion(error, ""))?;
            fields.push(nullable(&field, visible(field.name())));
            projection.push(scalar(key, below)?);
            positions.push(projection.len() - 1);
        }
        if projection.len() == width {
            return Ok((input, positions));
        }
        Ok((self.map(input, None, projection, Arc::new(Schema::new(fields))), positions))
    }
}

/// Both sides' keys, of the same types.
fn key_expressions(join: &Join) -> Result<(Vec<Expr>, Vec<Expr>)> {
    let mut keys = (Vec::with_capacity(join.on.len()), Vec::with_capacity(join.on.len()));
    for (left, right) in &join.on {
        let left_type = left.get_type(join.left.schema()).map_err(|error| from_datafusion(error, ""))?;
        let right_type = right.get_type(join.right.schema()).map_err(|error| from_datafusion(error, ""))?;
        let right = if left_type == right_type { right.clone() } else { cast(right.clone(), Field::new("", left_type, true)) };
        keys.0.push(left.clone());
        keys.1.push(right);
    }
    Ok(keys)
}

/// The condition over the columns as they stand after keys were added.
fn condition(filter: &Expr, schema: &DFSchema, place: &dyn Fn(usize) -> usize) -> Result<Scalar> {
    let condition = scalar(filter, schema)?;
    let expression =
        moved(&condition.expression, &|column| Arc::new(PhysicalColumn::new(visible(schema.field(column).name()), place(column))));
    Ok(Scalar { expression, text: condition.text })
}
