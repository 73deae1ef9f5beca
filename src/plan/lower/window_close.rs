//! EMIT ON WINDOW CLOSE: the plan of a view whose rows come out once, when event time has passed them, and never change.
//!
//! An aggregate over windows holds its results back by itself, and so do window functions in the order of event time. Above everything else a
//! node does so that keeps rows until they are final: as near to the top as there is a column that tells it.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::Lowering;
use super::coverage::covers;
use super::low::low_of;
use super::moment::coarseness;
use crate::catalog::{Object, ObjectKind};
use crate::error::{Error, Kind, Result};
use crate::plan::expressions::column_index;
use crate::plan::node::{Closing, Crossing, Extent, Node, NodeKind, Properties, SessionClosing, Settling, WindowCall, WindowMethod};
use crate::plan::properties;
use crate::types::Low;

impl Lowering<'_> {
    /// The rows of `node`, each when it is final.
    pub(super) fn final_rows(&mut self, node: Node) -> Result<Node> {
        if !closes_by_itself(&node)
            && let Some(columns) = self.telling(&node)
        {
            return Ok(self.close(node, columns));
        }
        let Node { kind, schema, properties, id } = node;
        match kind {
            NodeKind::Map { input, predicate, projection } => {
                // What holds its rows back by itself has the same ones in the end.
                let key = closes_by_itself(&input).then_some(properties.key);
                let input = self.final_rows(*input)?;
                let known = properties::map(&input.properties, &projection);
                let properties = Properties { key: key.unwrap_or(known.key), ..known };
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
            NodeKind::Window { input, keys, order, calls, closing, settling: Some(settling) } => {
                let settling = Some(Settling { emits: true, ..settling });
                let properties = properties::closed(&properties);
                Ok(Node { id, kind: NodeKind::Window { input, keys, order, calls, closing, settling }, schema, properties })
            }
            // It was made so.
            kind @ NodeKind::Session { closing: Some(SessionClosing { emits: true, .. }), .. } => Ok(Node { id, kind, schema, properties }),
            kind => Err(self.never_final(&Node { id, kind, schema, properties })),
        }
    }

    fn close(&mut self, node: Node, columns: Vec<(usize, Low)>) -> Node {
        // All of one time are on one worker: a row that goes must find the one that came, after a restart with more workers too.
        let node = self.unless_late(node, columns.clone());
        let node = self.moved_by(node, columns.iter().map(|(column, _)| *column).collect());
        let (schema, properties) = (Arc::clone(&node.schema), properties::closed(&node.properties));
        self.node(NodeKind::Close { input: Box::new(node), columns }, schema, properties)
    }

    /// The columns that event time passes, those that it passes first before the others.
    fn timed(&self, node: &Node) -> Vec<(usize, Low)> {
        // What the node computes comes last: what it is computed from is passed first.
        let computed = |column: usize| match &node.kind {
            NodeKind::Map { projection, .. } => column_index(&projection[column].expression).is_none(),
            _ => false,
        };
        let columns = 0..node.schema.fields().len();
        let mut timed: Vec<_> = columns.filter_map(|column| Some((column, low_of(self.catalog, node, column)?))).collect();
        timed.sort_by_cached_key(|(column, _)| (coarseness(node, *column), computed(*column)));
        timed
    }

    /// The first column that event time passes and that tells of every row; where a join may have put a NULL in the place of each, all that
    /// it passes, if every row has one of them.
    fn telling(&self, node: &Node) -> Option<Vec<(usize, Low)>> {
        let timed = self.timed(node);
        let covers = |columns: &[(usize, Low)]| covers(self.catalog, node, &columns.iter().map(|(column, _)| *column).collect());
        match timed.iter().find(|column| covers(std::slice::from_ref(column))) {
            Some(alone) => Some(vec![alone.clone()]),
            None => covers(&timed).then_some(timed),
        }
    }

    /// Why a query has no final rows, and what would give it some.
    fn never_final(&self, node: &Node) -> Error {
        let error = |why: String| {
            Error::new(Kind::InvalidObjectDefinition, format!("EMIT ON WINDOW CLOSE needs a column that event time passes, and {why}"))
        };
        if let Some((why, hint)) = why_changing(node) {
            return Error::new(Kind::InvalidObjectDefinition, format!("EMIT ON WINDOW CLOSE needs rows that become final, and {why}"))
                .hint(hint);
        }
        if let [(padded, _), ..] = self.timed(node).as_slice() {
            let why = format!("rows without a partner have a NULL in \"{}\"", node.schema.field(*padded).name());
            return error(why)
                .hint("Let the condition bound both sides in time, in both directions, so that each row's own time is passed.");
        }
        let inputs: Vec<_> = node.imports().into_iter().filter_map(|id| self.catalog.get(id)).collect();
        let watermarked = inputs.iter().find_map(|object| Some((object, object.event_time()?)));
        match (watermarked, inputs.first()) {
            (Some((object, event_time)), _) => {
                let column = &event_time.column;
                let timeless =
                    |object: &&&Arc<Object>| object.event_time().is_none() && !matches!(object.kind, ObjectKind::MaterializedView(_));
                let hint = match inputs.iter().find(timeless) {
                    Some(timeless) => format!(
                        "Rows of \"{}\", which has no watermark, may come and change at any time, and old rows of their joins with them: \
                         join it in a view on this one.",
                        timeless.name
                    ),
                    None => {
                        let (name, window) = (&object.name, "INTERVAL '1 minute'");
                        format!("Group by a window: FROM TUMBLE({name}, {column}, {window}) … GROUP BY window_start.")
                    }
                };
                error(format!("no column of the result follows from \"{column}\" of \"{}\"", object.name)).hint(hint)
            }
            (None, Some(object)) => error(format!("\"{}\" has no watermark", object.name))
                .hint("Declare one where the rows come from: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'."),
            (None, None) => error("the query reads nothing".to_owned()),
        }
    }
}

/// What makes rows that may change for ever, though they have a time: why, and what to do.
fn why_changing(node: &Node) -> Option<(String, String)> {
    let of = |input: &Node, keys: &[usize]| match keys {
        [] => "of all rows".to_owned(),
        keys => {
            let names: Vec<&str> = keys.iter().map(|key| input.schema.field(*key).name().as_str()).collect();
            format!("of each {}", names.join(", "))
        }
    };
    match &node.kind {
        NodeKind::AsOf { forward: true, .. } => Some((
            "those of an ASOF join that looks forward (<=, <) do not: a row without a partner waits for one for ever".to_owned(),
            "Look back, by >= or >; or leave EMIT ON WINDOW CLOSE out.".to_owned(),
        )),
        NodeKind::Window { input, keys, calls, closing: None, settling, .. } => {
            let whole = |call: &&WindowCall| matches!(call.method, WindowMethod::Near { after: Extent::All, .. });
            let waits = |call: &&WindowCall| settling.is_some() && call.method.waits_for_rows();
            let (why, instead) = match (calls.iter().find(whole), calls.iter().find(waits)) {
                (Some(call), _) => (format!("{} looks at all rows behind each one", call.text), "Let its frame end with the row or near it"),
                (_, Some(call)) => (format!("{} waits for rows that may come at any time", call.text), "Let its frame end with the row"),
                _ => ("its order does not begin with a time that event time passes, going up".to_owned(), "ORDER BY such a time"),
            };
            Some((
                format!("what OVER says {} may change with every row that comes: {why}", of(input, keys)),
                format!("{instead}, or do it within windows: FROM TUMBLE(t, ts, INTERVAL '1 minute'), and OVER (PARTITION BY window_start, …)."),
            ))
        }
        NodeKind::TopN { input, keys, closing: None, .. } => Some((
            format!(
                "the first rows {} may change with every row that comes: they are not those of the first times that event time passes",
                of(input, keys)
            ),
            "ORDER BY such a time, or do it within windows: FROM TUMBLE(t, ts, INTERVAL '1 minute'), and row_number() OVER \
             (PARTITION BY window_start, … ORDER BY ts) <= n."
                .to_owned(),
        )),
        NodeKind::Temporal { crossing: Crossing::Leaves { .. }, .. } => Some((
            "rows that leave by the clock, as now() says, do not: they may go before event time has passed them, or after".to_owned(),
            "Leave the comparison with now() out: what is over is forgotten by itself; WITH (retention = '1 day') says how long the result stays."
                .to_owned(),
        )),
        NodeKind::Temporal { .. } => Some((
            "rows that come by the clock, as now() says, do not: event time may have passed them when they come".to_owned(),
            "Leave the comparison with now() out.".to_owned(),
        )),
        // Of groups by something else it is that which is wrong.
        NodeKind::Aggregate { input, keys, .. } if keys.iter().any(|key| is_time(input.schema.field(*key).data_type())) => why_changing(input),
        NodeKind::Map { input, .. }
        | NodeKind::Exchange { input, .. }
        | NodeKind::Combine { input, .. }
        | NodeKind::Hop { input, .. }
        | NodeKind::Late { input, .. } => why_changing(input),
        _ => None,
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}

/// Whether what makes the rows holds them back until they are final, if it is told to.
fn closes_by_itself(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Aggregate { closing, .. } => closing.is_some(),
        NodeKind::Session { closing, .. } => closing.is_some(),
        NodeKind::Window { settling, .. } => settling.is_some(),
        NodeKind::Map { input, .. } | NodeKind::Exchange { input, .. } => closes_by_itself(input),
        _ => false,
    }
}
