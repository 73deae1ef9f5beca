//! EMIT ON WINDOW CLOSE: the plan of a view whose rows come out once, when event time has passed them, and never change.
//!
//! An aggregate over windows holds its results back by itself. Above everything else a node does so that keeps rows until they are final: as
//! near to the top as there is a column that tells it.

use std::sync::Arc;

use super::Lowering;
use super::low::low_of;
use crate::error::{Error, Kind, Result};
use crate::plan::expressions::column_index;
use crate::plan::node::{Closing, Node, NodeKind, SessionClosing};
use crate::plan::properties;
use crate::types::Low;

impl Lowering<'_> {
    /// The rows of `node`, each when it is final.
    pub(super) fn final_rows(&mut self, node: Node) -> Result<Node> {
        if !closes_by_itself(&node)
            && let Some((column, low)) = self.first_low(&node)
        {
            return Ok(self.close(node, column, low));
        }
        let Node { kind, schema, properties, id } = node;
        match kind {
            NodeKind::Map { input, predicate, projection } => {
                let input = self.final_rows(*input)?;
                let properties = properties::map(&input.properties, &projection);
                Ok(self.node(NodeKind::Map { input: Box::new(input), predicate, projection }, schema, properties))
            }
            NodeKind::Exchange { input, keys } => {
                let input = self.final_rows(*input)?;
                let properties = properties::exchange(&input.properties, &keys);
                Ok(self.node(NodeKind::Exchange { input: Box::new(input), keys }, schema, properties))
            }
            NodeKind::Aggregate { input, keys, aggregates, combined, closing: Some(closing) } => {
                let closing = Some(Closing { emits: true, ..closing });
                let properties = properties::closed(&properties);
                Ok(Node { id, kind: NodeKind::Aggregate { input, keys, aggregates, combined, closing }, schema, properties })
            }
            // It was made so.
            kind @ NodeKind::Session { closing: Some(SessionClosing { emits: true, .. }), .. } => Ok(Node { id, kind, schema, properties }),
            kind => Err(self.never_final(&Node { id, kind, schema, properties })),
        }
    }

    fn close(&mut self, node: Node, column: usize, low: Low) -> Node {
        // All of one time are on one worker: a row that goes must find the one that came, after a restart with more workers too.
        let (schema, properties) = (Arc::clone(&node.schema), node.properties.clone());
        let late = NodeKind::Late { input: Box::new(node), column, low: low.clone(), rows: None, kept: self.keep_late_rows };
        let node = self.node(late, schema, properties);
        let node = self.exchange(node, vec![column]);
        let (schema, properties) = (Arc::clone(&node.schema), properties::closed(&node.properties));
        self.node(NodeKind::Close { input: Box::new(node), column, low }, schema, properties)
    }

    /// The first column that is bounded below; one that the node computes only if no other is: what it is computed from is passed first.
    fn first_low(&self, node: &Node) -> Option<(usize, Low)> {
        let computed = |column: &usize| match &node.kind {
            NodeKind::Map { projection, .. } => column_index(&projection[*column].expression).is_none(),
            _ => false,
        };
        let (computed, plain): (Vec<usize>, Vec<usize>) = (0..node.schema.fields().len()).partition(computed);
        plain.into_iter().chain(computed).find_map(|column| Some((column, low_of(self.catalog, node, column)?)))
    }

    /// Why a query has no final rows, and what would give it some.
    fn never_final(&self, node: &Node) -> Error {
        let error = |why: String| {
            Error::new(Kind::InvalidObjectDefinition, format!("EMIT ON WINDOW CLOSE needs a column that event time passes, and {why}"))
        };
        let inputs: Vec<_> = node.imports().into_iter().filter_map(|id| self.catalog.get(id)).collect();
        let watermarked = inputs.iter().find_map(|object| Some((object, object.event_time()?)));
        match (watermarked, inputs.first()) {
            (Some((object, event_time)), _) => {
                let column = &event_time.column;
                error(format!("no column of the result follows from \"{column}\" of \"{}\"", object.name)).hint(format!(
                    "Group by a window: FROM TUMBLE({}, {column}, INTERVAL '1 minute') … GROUP BY window_start.",
                    object.name
                ))
            }
            (None, Some(object)) => error(format!("\"{}\" has no watermark", object.name))
                .hint("Declare one where the rows come from: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'."),
            (None, None) => error("the query reads nothing".to_owned()),
        }
    }
}

/// Whether what makes the rows holds them back until they are final, if it is told to.
fn closes_by_itself(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Aggregate { closing, .. } => closing.is_some(),
        NodeKind::Session { closing, .. } => closing.is_some(),
        NodeKind::Map { input, .. } | NodeKind::Exchange { input, .. } => closes_by_itself(input),
        _ => false,
    }
}
