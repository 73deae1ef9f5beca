//! ASOF joins: both sides become one stream of rows in the order of time.
//!
//! ```text
//!       AsOf                the last right row before each left one
//!         ▲
//!     Exchange by the keys
//!         ▲
//!       Union               keys, whether it is a right row, time, left columns, right columns
//!      ▲     ▲
//!   Map       Map           NULL for the columns of the other side
//!    ▲         ▲
//!  left      right
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal, is_not_null};

use super::in_time::least;
use super::low::low_of;
use super::{Lowering, cast, fields_of};
use crate::error::Result;
use crate::plan::as_of::{AsOfJoin, Comparison};
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::column_scalar;
use crate::plan::node::{Node, NodeKind, Properties, Scalar};
use crate::plan::properties;
use crate::types::Low;

/// One side, with its keys and its time as columns.
pub(super) struct Side {
    pub(super) node: Node,
    /// Where the keys stand, and then the time.
    pub(super) places: Vec<usize>,
    /// How many columns come out.
    pub(super) width: usize,
}

/// What an ASOF join is made of.
pub(super) struct AsOfSides {
    pub(super) left: Side,
    pub(super) right: Side,
    pub(super) comparison: Comparison,
    pub(super) outer: bool,
    pub(super) output: SchemaRef,
    /// Below what rows of both sides are over.
    pub(super) low: Option<Low>,
    /// Right rows below that are left out, and counted.
    pub(super) right_may_be_late: bool,
}

impl Lowering<'_> {
    pub(super) fn as_of(&mut self, join: &AsOfJoin) -> Result<Node> {
        let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
        let wanted: Vec<&Expr> = join.keys.iter().map(|(left, _)| left).chain([&join.times.0]).collect();
        let found: Vec<&Expr> = join.keys.iter().map(|(_, right)| right).chain([&join.times.1]).collect();
        let mut keys = [Vec::new(), Vec::new()];
        for (left, right) in wanted.into_iter().zip(found) {
            let (left_type, right_type) = (type_of(left, left_schema)?, type_of(right, right_schema)?);
            keys[0].push(left.clone());
            keys[1].push(if left_type == right_type { right.clone() } else { cast(right.clone(), Field::new("", left_type, true)) });
        }
        let left = self.lower(&join.left)?;
        let right = self.lower(&join.right)?;
        let (left_width, right_width) = (left.schema.fields().len(), right.schema.fields().len());
        let (left, left_places) = self.with_keys(left, left_schema, &keys[0])?;
        let (right, right_places) = self.with_keys(right, right_schema, &keys[1])?;
        let last = join.keys.len();
        let low = match join.comparison.forward {
            // A right row that comes concerns any left row before it.
            true => None,
            false => low_of(self.catalog, &left, left_places[last])
                .zip(low_of(self.catalog, &right, right_places[last]))
                .map(|(left, right)| least([left, right])),
        };
        Ok(self.as_of_sides(AsOfSides {
            left: Side { node: left, places: left_places, width: left_width },
            right: Side { node: right, places: right_places, width: right_width },
            comparison: join.comparison,
            outer: join.outer,
            output: fields_of(datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(join)),
            low,
            right_may_be_late: true,
        }))
    }

    pub(super) fn as_of_sides(&mut self, sides: AsOfSides) -> Node {
        let AsOfSides { left, right, comparison, outer, output, low, right_may_be_late } = sides;
        let keys = left.places.len() - 1;
        let late = |side: &Side| low.clone().map(|low| (side.places[keys], low));
        let (late_left, late_right) = (late(&left), late(&right).filter(|_| right_may_be_late));
        let left = Side { node: self.unless_late(left.node, late_left), ..left };
        let right = Side { node: self.unless_late(right.node, late_right), ..right };

        let schema = together(&left, &right);
        let width = left.width;
        // What was only computed for the join does not come out.
        let key = left.node.properties.key.clone().filter(|key| key.iter().all(|column| *column < width));
        let left_time = Some(left.places[keys]).filter(|time| *time < width);
        let partitioning: Option<Vec<usize>> = left.places[..keys].iter().map(|place| (*place < width).then_some(*place)).collect();
        // Without a key or a time a right row is nobody's, and a left one stays alone.
        let (left, right) = (self.part(left, &schema, false, outer), self.part(right, &schema, true, false));
        let properties = properties::union([&left.properties, &right.properties].into_iter());
        let both = self.node(NodeKind::Union { inputs: vec![left, right] }, schema, properties);
        let input = self.moved_by(both, (0..keys).collect());
        let properties = Properties { append_only: false, key, partitioning };
        let kind = NodeKind::AsOf {
            input: Box::new(input),
            keys,
            left: width,
            left_time,
            inclusive: comparison.inclusive,
            forward: comparison.forward,
            outer,
            low,
        };
        self.node(kind, output, properties)
    }

    /// The rows of one side as they stand among those of both.
    fn part(&mut self, side: Side, schema: &SchemaRef, is_right: bool, all: bool) -> Node {
        let Side { node, places, width } = side;
        let keys = places.len() - 1;
        let own = |place: &usize| column_scalar(node.schema.field(*place).name(), *place);
        let mut projection: Vec<Scalar> = places[..keys].iter().map(own).collect();
        projection.push(constant(ScalarValue::Boolean(Some(is_right))));
        projection.push(own(&places[keys]));
        let columns: Vec<Scalar> = (0..width).map(|place| own(&place)).collect();
        let start = keys + 2;
        let nulls = |range: std::ops::Range<usize>| {
            let null =
                |at: usize| ScalarValue::try_from(schema.field(at).data_type()).map_or_else(|_| constant(ScalarValue::Null), constant);
            range.map(null).collect::<Vec<_>>()
        };
        let total = schema.fields().len();
        if is_right {
            projection.extend(nulls(start..total - width));
            projection.extend(columns);
        } else {
            projection.extend(columns);
            projection.extend(nulls(start + width..total));
        }
        let present = places.iter().filter_map(|place| is_not_null(own(place).expression).ok());
        let both = |one: Arc<dyn PhysicalExpr>, other| Arc::new(BinaryExpr::new(one, Operator::And, other)) as Arc<dyn PhysicalExpr>;
        let names: Vec<String> = places.iter().map(|place| format!("{} IS NOT NULL", node.schema.field(*place).name())).collect();
        let predicate = present.reduce(both).filter(|_| !all).map(|expression| Scalar { expression, text: names.join(" AND ") });
        self.map(node, predicate, projection, Arc::clone(schema))
    }
}

fn type_of(expr: &Expr, schema: &DFSchema) -> Result<DataType> {
    expr.get_type(schema).map_err(|error| from_datafusion(error, ""))
}

fn constant(value: ScalarValue) -> Scalar {
    let text = value.to_string();
    Scalar { expression: Arc::new(Literal::new(value)), text }
}

/// The columns of both sides in one row.
fn together(left: &Side, right: &Side) -> SchemaRef {
    let (time, keys) = left.places.split_last().expect("there is always a time");
    let field = |node: &Node, place: usize| node.schema.field(place).clone().with_nullable(true);
    let mut fields: Vec<Field> = keys.iter().map(|place| field(&left.node, *place)).collect();
    fields.push(Field::new("is right", DataType::Boolean, false));
    fields.push(field(&left.node, *time));
    fields.extend((0..left.width).map(|place| field(&left.node, place)));
    fields.extend((0..right.width).map(|place| field(&right.node, place)));
    Arc::new(Schema::new(fields))
}
