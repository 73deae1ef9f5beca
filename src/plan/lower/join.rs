//! Joins of every kind: keys become columns of both sides, both sides are moved by them, what is left of the condition is checked per pair.
//!
//! Right semi, anti and mark joins become left ones with their inputs the other way round. Without keys everything goes to one worker.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::{DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::utils::collect_columns;

use super::in_time::{InTime, Meeting};
use super::{Lowering, cast, fields_of, identity, nullable, scalar, support};
use crate::error::Result;
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::{column_scalar, expression_text, moved};
use crate::plan::names::visible;
use crate::plan::node::{JoinKind, Node, NodeKind, Scalar};
use crate::plan::properties;

/// One input of a join.
struct Input<'a> {
    plan: &'a LogicalPlan,
    keys: Vec<Expr>,
}

/// Both inputs of a join as nodes, with their keys as columns, and what else must be true of a pair.
struct Sides {
    left: Node,
    right: Node,
    left_keys: Vec<usize>,
    right_keys: Vec<usize>,
    condition: Option<Scalar>,
}

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Node> {
        let kind = kind(join)?;
        let [left, right] = inputs(join)?;
        let (left_node, right_node) = (self.lower(left.plan)?, self.lower(right.plan)?);
        let left_width = left_node.schema.fields().len();
        let right_width = right_node.schema.fields().len();
        let (left_node, left_keys) = self.with_keys(left_node, left.plan.schema(), &left.keys)?;
        let (right_node, right_keys) = self.with_keys(right_node, right.plan.schema(), &right.keys)?;
        let left_total = left_node.schema.fields().len();
        let condition = condition(join, [left.plan.schema(), right.plan.schema()], left_total)?;
        let (right_node, right_keys, condition) = if kind.gives_pairs() {
            (right_node, right_keys, condition)
        } else {
            self.witnesses(right_node, right_keys, condition, left_total)
        };

        let logical = fields_of(&join.schema);
        let sides = Sides { left: left_node, right: right_node, left_keys, right_keys, condition };
        let node = match self.without_state(kind, join, &sides) {
            Some(node) => node,
            None => self.keeping_both(kind, join, sides, logical.fields().last()),
        };
        let [left_extra, right_extra] =
            [left_total > left_width, kind.gives_pairs() && node.schema.fields().len() > left_total + right_width];
        if !left_extra && !right_extra {
            return Ok(node);
        }
        // Key columns that were computed for the join alone leave again.
        let place = |column: usize| if column < left_width { column } else { column - left_width + left_total };
        let kept = logical.fields().iter().enumerate().map(|(index, field)| column_scalar(field.name(), place(index)));
        let kept = kept.collect();
        Ok(self.map(node, None, kept, logical))
    }

    /// A join that finds rows where tables and views keep them, if it is of that kind.
    fn without_state(&mut self, kind: JoinKind, join: &Join, sides: &Sides) -> Option<Node> {
        if kind != JoinKind::Inner || join.null_equality == NullEquality::NullEqualsNull || sides.left_keys.is_empty() {
            return None;
        }
        let Sides { left, right, left_keys, right_keys, condition } = sides;
        let left_total = left.schema.fields().len();
        let properties = properties::join(kind, &left.properties, &right.properties, left_keys, right_keys, left_total);
        self.delta_join([left, right], [left_keys, right_keys], condition.as_ref(), &properties)
    }

    /// A join that keeps the rows of both sides. `mark`: the column behind those of the left side, for a kind that has one.
    fn keeping_both(&mut self, kind: JoinKind, join: &Join, sides: Sides, mark: Option<&FieldRef>) -> Node {
        let Sides { left, right, left_keys, right_keys, condition } = sides;
        let left_total = left.schema.fields().len();
        // NOT IN must know of every NULL and every row on the right, wherever the left row is.
        let places = if kind == JoinKind::NotIn { [Vec::new(), Vec::new()] } else { [left_keys.clone(), right_keys.clone()] };
        let met = properties::met(&left.properties, &right.properties, &places[0], &places[1]);
        let [left_place, right_place] = places;
        let meeting = Meeting { kind, sides: [&left, &right], keys: [&left_keys, &right_keys], condition: condition.as_ref() };
        let InTime { late: [late_left, late_right], expiry } = self.in_time_of(&meeting);
        let (left, right) = (self.unless_late(left, late_left), self.unless_late(right, late_right));
        let (left, right) = if met { (left, right) } else { (self.moved_by(left, left_place), self.moved_by(right, right_place)) };

        let properties = properties::join(kind, &left.properties, &right.properties, &left_keys, &right_keys, left_total);
        let mut fields: Vec<FieldRef> = left.schema.fields().to_vec();
        match kind {
            JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn => {}
            JoinKind::Mark => fields.extend(mark.cloned()),
            _ => fields.extend(right.schema.fields().iter().cloned()),
        }
        let null_equals_null = join.null_equality == NullEquality::NullEqualsNull;
        let (left, right) = (Box::new(left), Box::new(right));
        let kind = NodeKind::Join { join: kind, left, right, left_keys, right_keys, null_equals_null, condition, expiry };
        self.node(kind, Arc::new(Schema::new(fields)), properties)
    }

    /// The input with a column for every key at its end, unless it is one already, and where the keys stand.
    pub(super) fn with_keys(&mut self, input: Node, below: &DFSchema, keys: &[Expr]) -> Result<(Node, Vec<usize>)> {
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
            fields.push(nullable(&field, &expression_text(key)));
            projection.push(scalar(key, below)?);
            positions.push(projection.len() - 1);
        }
        if projection.len() == width {
            return Ok((input, positions));
        }
        Ok((self.map(input, None, projection, Arc::new(Schema::new(fields))), positions))
    }

    /// The right side of a join that gives left rows alone, cut down to what decides: the keys and what the condition reads.
    fn witnesses(
        &mut self,
        input: Node,
        keys: Vec<usize>,
        condition: Option<Scalar>,
        left_total: usize,
    ) -> (Node, Vec<usize>, Option<Scalar>) {
        let read = condition.iter().flat_map(|condition| collect_columns(&condition.expression));
        let read = read.filter_map(|column| column.index().checked_sub(left_total));
        let mut needed: Vec<usize> = keys.iter().copied().chain(read).collect();
        needed.sort_unstable();
        needed.dedup();
        if needed.len() == input.schema.fields().len() {
            return (input, keys, condition);
        }
        let place = |column: usize| needed.iter().position(|wanted| *wanted == column).expect("every column that is read is needed");
        let keys = keys.into_iter().map(place).collect();
        let schema = Arc::clone(&input.schema);
        let condition = condition.map(|condition| {
            let column = |column: usize| match column.checked_sub(left_total) {
                None => column_scalar("", column).expression,
                Some(right) => column_scalar(schema.field(right).name(), left_total + place(right)).expression,
            };
            Scalar { expression: moved(&condition.expression, &column), text: condition.text }
        });
        let projection = needed.iter().map(|column| column_scalar(schema.field(*column).name(), *column)).collect();
        let fields: Vec<FieldRef> = needed.iter().map(|column| Arc::clone(&schema.fields()[*column])).collect();
        (self.map(input, None, projection, Arc::new(Schema::new(fields))), keys, condition)
    }
}

fn kind(join: &Join) -> Result<JoinKind> {
    Ok(match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi | JoinType::RightSemi => JoinKind::Semi,
        JoinType::LeftMark | JoinType::RightMark if !join.null_aware => JoinKind::Mark,
        JoinType::LeftAnti | JoinType::RightAnti if !join.null_aware => JoinKind::Anti,
        // The rule of NOT IN is about one comparison, and about all rows on the right.
        JoinType::LeftAnti if join.on.len() == 1 && condition_of(join).is_none() => JoinKind::NotIn,
        _ => return Err(support::unsupported("this form of NOT IN with a subquery")),
    })
}

/// Both inputs with their keys, of the same types; the one whose rows come out first.
fn inputs(join: &Join) -> Result<[Input<'_>; 2]> {
    let mut left = Input { plan: &join.left, keys: Vec::with_capacity(join.on.len()) };
    let mut right = Input { plan: &join.right, keys: Vec::with_capacity(join.on.len()) };
    for (left_key, right_key) in &join.on {
        let left_type = left_key.get_type(left.plan.schema()).map_err(|error| from_datafusion(error, ""))?;
        let right_type = right_key.get_type(right.plan.schema()).map_err(|error| from_datafusion(error, ""))?;
        let same = left_type == right_type;
        left.keys.push(left_key.clone());
        right.keys.push(if same { right_key.clone() } else { cast(right_key.clone(), Field::new("", left_type, true)) });
    }
    let turned = matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark);
    Ok(if turned { [right, left] } else { [left, right] })
}

/// What is left of the condition after the keys, unless it is always true.
fn condition_of(join: &Join) -> Option<&Expr> {
    join.filter.as_ref().filter(|filter| !matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _)))
}

/// The condition over the left columns (of which there are `left_total`) followed by the right ones.
fn condition(join: &Join, [left, right]: [&DFSchema; 2], left_total: usize) -> Result<Option<Scalar>> {
    let Some(filter) = condition_of(join) else { return Ok(None) };
    // Only what the condition reads: names that it does not use may stand on both sides.
    let mut fields = Vec::new();
    let mut places = Vec::new();
    for column in filter.column_refs() {
        let (schema, index, place) = match left.index_of_column(column) {
            Ok(index) => (left, index, index),
            Err(_) => {
                let index = right.index_of_column(column).map_err(|error| from_datafusion(error, ""))?;
                (right, index, left_total + index)
            }
        };
        let (qualifier, field) = schema.qualified_field(index);
        fields.push((place, (qualifier.cloned(), Arc::clone(field))));
    }
    fields.sort_by_key(|(place, _)| *place);
    let fields = fields.into_iter().map(|(place, field)| {
        places.push(place);
        field
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), HashMap::new()).map_err(|error| from_datafusion(error, ""))?;
    let condition = scalar(filter, &schema)?;
    let expression =
        moved(&condition.expression, &|column| Arc::new(PhysicalColumn::new(visible(schema.field(column).name()), places[column])));
    Ok(Some(Scalar { expression, text: condition.text }))
}
