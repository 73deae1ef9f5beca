//! Where rows that come too late are left out, and, of views that ask for it, what is kept of them: the rows of the table or source, by the
//! names of its columns.
//!
//! What stands in front of such a node are the columns that the operator behind it needs: a window's start, a packed row. So if late rows are
//! to be kept, the columns that they came with are carried past what is computed of them, and dropped again behind the node:
//!
//! ```text
//! Import (ts)      ─▶  Map (start of ts)          ─▶  Late start                         as it is
//! Import (ts, id)  ─▶  Map (start of ts, ts, id)  ─▶  Late start  ─▶  Map (start)        they are kept, with the key id
//! ```
//!
//! They are carried from the nearest node below that makes rows of its own: a table or source, or a join, or a grouping. Of those that are
//! not read only the key is: a column that is added to a table later must not make another plan.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::{Lowering, identity};
use crate::catalog::ObjectKind;
use crate::plan::expressions::{column_index, column_scalar, moved};
use crate::plan::node::{LetterColumn, Node, NodeKind, Properties, UnnestColumn};
use crate::plan::properties;
use crate::types::{Low, ObjectId};

/// Below what, in which column, rows are late.
pub(super) struct TooLate {
    pub(super) column: usize,
    pub(super) low: Low,
    /// The column that says how many rows a row stands for.
    pub(super) rows: Option<usize>,
}

/// A node that carries more columns than it did.
struct Carrying {
    node: Node,
    /// Where its columns stand now.
    places: Vec<usize>,
    /// The columns of the rows as they came.
    letter: Vec<LetterColumn>,
}

impl Lowering<'_> {
    /// The rows of `input` that are in time.
    pub(super) fn unless_below(&mut self, input: Node, late: TooLate) -> Node {
        let TooLate { column, low, rows } = late;
        let asked = Arc::clone(&input.schema);
        let (input, letter) = self.with_letter(input);
        let (schema, properties) = (Arc::clone(&input.schema), properties::in_time(&input.properties, column));
        let node = self.node(NodeKind::Late { input: Box::new(input), column, low, rows, letter }, schema, properties);
        self.map(node, None, identity(&asked), asked)
    }

    /// The input with the columns that its rows came with behind its own, and where those stand; as it is if nobody keeps late rows.
    pub(super) fn with_letter(&mut self, input: Node) -> (Node, Option<Vec<LetterColumn>>) {
        if !self.keep_late_rows {
            return (input, None);
        }
        let asked = Arc::clone(&input.schema);
        let Carrying { node, places, letter } = self.carrying(input);
        let more = (0..node.schema.fields().len()).filter(|column| !places.contains(column));
        let order: Vec<usize> = places.iter().copied().chain(more).collect();
        let own = asked.fields().iter().map(|field| field.as_ref().clone());
        let fields: Vec<Field> = own.chain(order[places.len()..].iter().map(|column| node.schema.field(*column).clone())).collect();
        let columns = order.iter().zip(&fields).map(|(column, field)| column_scalar(field.name(), *column)).collect();
        let at = |column: usize| order.iter().position(|known| *known == column).expect("every column is in the order");
        let letter = letter.into_iter().map(|known| LetterColumn { column: at(known.column), ..known }).collect();
        (self.map(node, None, columns, Arc::new(Schema::new(fields))), Some(letter))
    }

    /// `node` with the columns that its rows came with.
    fn carrying(&self, mut node: Node) -> Carrying {
        let width = node.schema.fields().len();
        match &mut node.kind {
            NodeKind::Import { object, columns, .. } => {
                let (beside, fields) = self.key_beside(*object, columns);
                columns.extend(beside);
                let position = columns.clone();
                node.schema = with_fields(&node.schema, width, fields);
                let mut letter = whole(&node.schema);
                letter.sort_by_key(|known| position[known.column]);
                Carrying { node, places: (0..width).collect(), letter }
            }
            NodeKind::Map { input, predicate, projection } => {
                let (below, letter) = self.carry_below(input);
                let place = |column: usize| Arc::new(Column::new("", below[column])) as Arc<dyn PhysicalExpr>;
                for scalar in predicate.iter_mut().chain(projection.iter_mut()) {
                    scalar.expression = moved(&scalar.expression, &place);
                }
                let mut fields = Vec::new();
                let letter = letter.into_iter().map(|known| {
                    let there = projection.iter().position(|scalar| column_index(&scalar.expression) == Some(known.column));
                    let column = there.unwrap_or_else(|| {
                        fields.push(Arc::clone(&input.schema.fields()[known.column]));
                        projection.push(column_scalar(&known.name, known.column));
                        projection.len() - 1
                    });
                    LetterColumn { column, ..known }
                });
                let letter = letter.collect();
                node.schema = with_fields(&node.schema, width, fields);
                Carrying { node, places: (0..width).collect(), letter }
            }
            NodeKind::Unnest { input, columns, lists, .. } => {
                let (below, letter) = self.carry_below(input);
                let place = |column: usize| Arc::new(Column::new("", below[column])) as Arc<dyn PhysicalExpr>;
                lists.iter_mut().for_each(|list| list.expression = moved(&list.expression, &place));
                for column in columns.iter_mut() {
                    if let UnnestColumn::Kept(kept) = column {
                        *kept = below[*kept];
                    }
                }
                let fields: Vec<FieldRef> = letter.iter().map(|known| Arc::clone(&input.schema.fields()[known.column])).collect();
                columns.extend(letter.iter().map(|known| UnnestColumn::Kept(known.column)));
                let letter = letter.into_iter().zip(width..).map(|(known, column)| LetterColumn { column, ..known }).collect();
                node.schema = with_fields(&node.schema, width, fields);
                Carrying { node, places: (0..width).collect(), letter }
            }
            NodeKind::Hop { .. } | NodeKind::Expand { .. } | NodeKind::Exchange { .. } | NodeKind::Late { .. } => self.carrying_past(node),
            _ => Carrying { places: (0..width).collect(), letter: whole(&node.schema), node },
        }
    }

    /// The same of nodes that have the columns of their input in front.
    fn carrying_past(&self, mut node: Node) -> Carrying {
        let old = node.inputs()[0].schema.fields().len();
        let own: Vec<FieldRef> = node.schema.fields()[old..].to_vec();
        let input = node.inputs_mut().remove(0);
        let (mut places, letter) = self.carry_below(input);
        let (new, schema) = (input.schema.fields().len(), Arc::clone(&input.schema));
        match &mut node.kind {
            NodeKind::Hop { time, .. } => *time = places[*time],
            NodeKind::Expand { keys, .. } | NodeKind::Exchange { keys, .. } => keys.iter_mut().for_each(|key| *key = places[*key]),
            NodeKind::Late { column, rows, letter, .. } => {
                let columns = [column].into_iter().chain(rows).chain(letter.iter_mut().flatten().map(|known| &mut known.column));
                columns.for_each(|column| *column = places[*column]);
            }
            _ => unreachable!("asked for what has the columns of its input in front"),
        }
        places.extend(new..new + own.len());
        node.schema = with_fields(&schema, new, own);
        node.properties = at_places(&node.properties, &places);
        Carrying { node, places, letter }
    }

    /// The same of an input, which stays where it is: where its columns stand now, and the letter.
    fn carry_below(&self, input: &mut Node) -> (Vec<usize>, Vec<LetterColumn>) {
        let Carrying { node, places, letter } = self.carrying(input.clone());
        *input = node;
        (places, letter)
    }

    /// The columns of a table's key that are not read.
    fn key_beside(&self, object: ObjectId, read: &[usize]) -> (Vec<usize>, Vec<FieldRef>) {
        let Some(object) = self.catalog.get(object) else { return Default::default() };
        let (ObjectKind::Table(table), Some(columns)) = (&object.kind, object.columns()) else { return Default::default() };
        let beside = table.key.iter().filter(|key| !read.contains(key));
        beside.map(|key| (*key, Arc::new(columns[*key].sql_type.field(&columns[*key].name, true)))).unzip()
    }
}

/// A schema with more fields behind the first `width`.
fn with_fields(schema: &Schema, width: usize, more: Vec<FieldRef>) -> Arc<Schema> {
    Arc::new(Schema::new(schema.fields()[..width].iter().cloned().chain(more).collect::<Vec<_>>()))
}

/// All columns of rows that come so.
fn whole(schema: &Schema) -> Vec<LetterColumn> {
    let columns = schema.fields().iter().enumerate();
    columns.map(|(column, field)| LetterColumn { column, name: field.name().clone() }).collect()
}

/// What is known of rows whose columns stand elsewhere.
fn at_places(known: &Properties, places: &[usize]) -> Properties {
    let moved = |columns: &Vec<usize>| columns.iter().map(|column| places[*column]).collect();
    Properties { append_only: known.append_only, key: known.key.as_ref().map(moved), partitioning: known.partitioning.as_ref().map(moved) }
}
