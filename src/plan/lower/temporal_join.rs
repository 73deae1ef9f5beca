//! Temporal joins.
//!
//! ```text
//!   Lookup join  as of PROCTIME()          As-of join, then a Map        as of a.ts
//!    ▲       ▲                               ▲
//!   left    Import   looked into: not kept   left rows, and Versions of the table by key
//! ```
//!
//! A row on the right is found by the primary key, so that it is one at the most. What else the condition says is asked of that one row.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, TryCast};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column as PhysicalColumn, case};

use super::as_of::{AsOfSides, Side};
use super::delta::imported;
use super::in_time::least;
use super::low::low_of;
use super::{Lowering, cast, fields_of, scalar};
use crate::catalog::{Column, Object, ObjectKind};
use crate::error::{Error, Kind, Result};
use crate::plan::as_of::Comparison;
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::{column_index, column_scalar, moved};
use crate::plan::node::{Node, NodeKind, Properties, Scalar};
use crate::plan::temporal_join::TemporalJoin;
use crate::types::ObjectId;

/// The column that says whether a version is one, or says that the row was gone from its time on.
const PRESENT: &str = "present";

/// How a row on the right is found.
struct Found {
    object: ObjectId,
    /// What its key is called.
    name: String,
    /// The key's values, of the left row.
    wanted: Vec<Expr>,
    /// Where the key's columns stand on the right.
    places: Vec<usize>,
    /// What else must be true.
    condition: Option<Expr>,
}

impl Lowering<'_> {
    pub(super) fn temporal_join(&mut self, join: &TemporalJoin) -> Result<Node> {
        let (left, right) = (self.lower(&join.left)?, self.lower(&join.right)?);
        let found = self.found_by_key(join, &right)?;
        match &join.time {
            None => self.lookup(join, left, right, found),
            Some(time) => self.versioned(join, left, right, found, time),
        }
    }

    /// How the join finds its right row: by all columns of the primary key.
    fn found_by_key(&self, join: &TemporalJoin, right: &Node) -> Result<Found> {
        let refused = |why: String| {
            Err(Error::new(Kind::InvalidColumnReference, format!("a temporal join finds its right row by a primary key, and {why}"))
                .hint("The right side is a table, or a materialized view with a key; ON names all columns of the key."))
        };
        let Some((object, places)) = imported(right) else { return refused("this is neither a table nor a materialized view".to_owned()) };
        let known = self.catalog.get(object).filter(|object| match &object.kind {
            ObjectKind::Table(_) => true,
            ObjectKind::MaterializedView(view) => !view.options.discard,
            _ => false,
        });
        let Some(known) = known else { return refused("this keeps no rows".to_owned()) };
        let key = self.catalog.indexes_of(object).into_iter().find(|index| index.number.is_none());
        let Some(key) = key else { return refused(format!("\"{}\" has none", known.name)) };
        let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
        let mut keys = join.keys.clone();
        let (mut wanted, mut at) = (Vec::new(), Vec::new());
        for column in &key.columns {
            let is_it = |right: &Expr| match as_it_is(right, right_schema) {
                Expr::Column(name) => right_schema.index_of_column(name).ok().filter(|place| places[*place] == Some(*column)),
                _ => None,
            };
            let Some((number, place)) = keys.iter().enumerate().find_map(|(number, (_, right))| Some((number, is_it(right)?))) else {
                let name = known.columns().and_then(|columns| columns.get(*column)).map_or("", |column| column.name.as_str());
                return refused(format!("nothing is equal to column \"{name}\" of that of \"{}\"", known.name));
            };
            let (value, _) = keys.remove(number);
            wanted.push(fitting(value, left_schema, right_schema.field(place).data_type().clone())?);
            at.push(place);
        }
        let rest = keys.into_iter().map(|(left, right)| {
            let (left_type, right_type) = (type_of(&left, left_schema)?, type_of(&right, right_schema)?);
            let right = if left_type == right_type { right } else { cast(right, Field::new("", left_type, true)) };
            Ok(left.eq(right))
        });
        let rest = rest.collect::<Result<Vec<_>>>()?;
        let condition = datafusion::logical_expr::utils::conjunction(rest.into_iter().chain(join.condition.clone()));
        Ok(Found { object, name: key.name.clone(), wanted, places: at, condition })
    }

    /// As of PROCTIME(): looks into the table.
    fn lookup(&mut self, join: &TemporalJoin, left: Node, right: Node, found: Found) -> Result<Node> {
        let width = left.schema.fields().len();
        let (left, keys) = self.with_keys(left, join.left.schema(), &found.wanted)?;
        let total = left.schema.fields().len();
        let condition = found.condition.map(|condition| scalar(&condition, &join.schema)).transpose()?;
        let place = |column: usize| if column < width { column } else { column + total - width };
        let condition = condition.map(|condition| Scalar {
            expression: moved(&condition.expression, &|column| Arc::new(PhysicalColumn::new("", place(column)))),
            text: condition.text,
        });
        let left = if left.properties.append_only {
            left
        } else {
            // What came out for a row is remembered where all its changes come.
            let by = left.properties.key.clone().unwrap_or_else(|| (0..total).collect());
            self.exchange(left, by)
        };
        let fields: Vec<FieldRef> = left.schema.fields().iter().chain(right.schema.fields()).cloned().collect();
        let properties = left.properties.clone();
        let kind =
            NodeKind::LookupJoin { left: Box::new(left), right: Box::new(right), keys, name: found.name, condition, outer: join.outer };
        let node = self.node(kind, Arc::new(Schema::new(fields)), properties);
        if total == width {
            return Ok(node);
        }
        let output = fields_of(&join.schema);
        let kept = output.fields().iter().enumerate().map(|(index, field)| column_scalar(field.name(), place(index))).collect();
        Ok(self.map(node, None, kept, output))
    }

    /// As of a time of the left row: an ASOF join with the versions that the table's rows have had.
    fn versioned(&mut self, join: &TemporalJoin, left: Node, right: Node, found: Found, time: &Expr) -> Result<Node> {
        let object = self.catalog.get(found.object).map(Arc::as_ref);
        let place = object.and_then(version_time).and_then(|column| {
            let (_, places) = imported(&right)?;
            places.iter().position(|place| *place == Some(column))
        });
        let (Some(right_time), false) = (place, filters(&right)) else {
            let name = object.map_or("", |object| object.name.as_str());
            let message = format!(
                "\"{name}\" has no versions: they need a table with a primary key and a column whose watermark says how far its time is"
            );
            return Err(Error::new(Kind::InvalidColumnReference, message)
                .hint("CREATE TABLE … (…, PRIMARY KEY (…), WATERMARK FOR ts AS ts - INTERVAL '5 seconds'); or look into it: FOR SYSTEM_TIME AS OF PROCTIME()."));
        };
        let width = left.schema.fields().len();
        let time_type = right.schema.field(right_time).data_type().clone();
        let same = type_of(time, join.left.schema())? == time_type;
        let time = if same { time.clone() } else { cast(time.clone(), Field::new("", time_type, true)) };
        let wanted: Vec<Expr> = found.wanted.iter().cloned().chain([time]).collect();
        let (left, left_places) = self.with_keys(left, join.left.schema(), &wanted)?;
        let keys = found.places.len();
        let low = low_of(self.catalog, &left, left_places[keys])
            .zip(low_of(self.catalog, &right, right_time))
            .map(|(left, right)| least([left, right]));
        let right_places: Vec<usize> = found.places.iter().copied().chain([right_time]).collect();
        let right_width = right.schema.fields().len();
        let right = self.exchange(right, found.places.clone());
        let partitioning = right.properties.partitioning.clone();
        let present = Arc::new(Field::new(PRESENT, DataType::Boolean, true));
        let fields: Vec<FieldRef> = right.schema.fields().iter().cloned().chain([Arc::clone(&present)]).collect();
        let kind = NodeKind::Versions { input: Box::new(right), keys: found.places, time: right_time, low: low.clone() };
        let properties = Properties { append_only: false, key: None, partitioning };
        let versions = self.node(kind, Arc::new(Schema::new(fields)), properties);
        let output = fields_of(&join.schema);
        let fields: Vec<FieldRef> = output.fields().iter().cloned().chain([present]).collect();
        let sides = AsOfSides {
            left: Side { node: left, places: left_places, width },
            right: Side { node: versions, places: right_places, width: right_width + 1 },
            comparison: Comparison { inclusive: true, forward: false },
            outer: join.outer,
            output: Arc::new(Schema::new(fields)),
            low,
            // A version that is corrected or goes is no less true for that it is old.
            right_may_be_late: false,
        };
        let joined = self.as_of_sides(sides);
        self.of_present_versions(join, joined, found.condition.as_ref(), width)
    }

    /// A version that says that the row was gone is none; nor is one for which the condition is not true.
    fn of_present_versions(&mut self, join: &TemporalJoin, joined: Node, condition: Option<&Expr>, width: usize) -> Result<Node> {
        let output = fields_of(&join.schema);
        let last = output.fields().len();
        let mut holds = column_scalar(PRESENT, last);
        if let Some(condition) = condition {
            let condition = scalar(condition, &join.schema)?;
            let both = BinaryExpr::new(holds.expression, Operator::And, condition.expression);
            holds = Scalar { expression: Arc::new(both), text: format!("{} AND {}", holds.text, condition.text) };
        }
        let columns = output.fields().iter().enumerate().map(|(index, field)| column_scalar(field.name(), index));
        if !join.outer {
            return Ok(self.map(joined, Some(holds), columns.collect(), output));
        }
        let padded = columns.enumerate().map(|(index, column)| {
            if index < width {
                return Ok(column);
            }
            let when: Arc<dyn PhysicalExpr> = Arc::clone(&holds.expression);
            let expression = case(None, vec![(when, column.expression)], None).map_err(|error| from_datafusion(error, ""))?;
            Ok(Scalar { expression, text: column.text })
        });
        let padded = padded.collect::<Result<_>>()?;
        Ok(self.map(joined, None, padded, output))
    }
}

/// The column by which a table has versions: that of its watermark, or the one that says when a row arrived.
fn version_time(object: &Object) -> Option<usize> {
    let ObjectKind::Table(table) = &object.kind else { return None };
    match &table.event_time {
        Some(event_time) => table.columns.iter().position(|column| column.name == event_time.column),
        None => table.columns.iter().position(Column::is_arrival),
    }
}

/// Whether an import is less than what it reads.
fn filters(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Map { predicate, projection, .. } => {
            predicate.is_some() || projection.iter().any(|scalar| column_index(&scalar.expression).is_none())
        }
        _ => false,
    }
}

fn type_of(expr: &Expr, schema: &DFSchema) -> Result<DataType> {
    expr.get_type(schema).map_err(|error| from_datafusion(error, ""))
}

/// A column that is made wider only to be compared, as it is.
fn as_it_is<'a>(expr: &'a Expr, schema: &DFSchema) -> &'a Expr {
    match expr {
        Expr::Cast(cast) if type_of(&cast.expr, schema).is_ok_and(|own| own.is_integer()) && cast.field.data_type().is_integer() => {
            as_it_is(&cast.expr, schema)
        }
        other => other,
    }
}

/// The value as one of the key's type; one that is none of those finds no row.
fn fitting(value: Expr, schema: &DFSchema, key: DataType) -> Result<Expr> {
    let own = type_of(&value, schema)?;
    if own == key {
        return Ok(value);
    }
    if own.is_integer() && key.is_integer() {
        return Ok(Expr::TryCast(TryCast::new(Box::new(value), key)));
    }
    Err(Error::not_supported("a temporal join finds its right row by a value of the key's own type")
        .hint("Cast the left side of the comparison to the type of the key's column."))
}
