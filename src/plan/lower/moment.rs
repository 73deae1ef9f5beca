//! Which columns event time passes at the same moment, and which before others: what both follow from, and by which functions.
//!
//! ```text
//! ts                   Of                    passed first
//! ts + 5 s             Plus(Of)              at the same moment
//! hour of ts           Truncated(Of)         later: when all times of the hour are passed
//! ```
//!
//! A node that holds rows back until one column is passed gives them out when others have been passed long ago: only of those that are passed
//! no earlier it may be said that nothing below their bound comes behind it.

use super::low::through;
use crate::plan::node::{JoinKind, Node, NodeKind, UnnestColumn};
use crate::types::{Low, ObjectId, TimeWindows};

/// Stands for the column that another follows from.
const ORIGIN: ObjectId = ObjectId::MAX;

/// What a column follows from.
#[derive(Debug, PartialEq)]
struct Origin {
    /// A column of this node, whose values come from nowhere else as far as is known.
    node: u32,
    column: usize,
    /// How, with [`ORIGIN`] for that column.
    by: Low,
}

impl Origin {
    fn itself(node: &Node, column: usize) -> Origin {
        Origin { node: node.id, column, by: Low::Of(ORIGIN) }
    }

    fn by(self, function: impl FnOnce(Low) -> Low) -> Origin {
        Origin { by: function(self.by), ..self }
    }

    fn of(node: &Node, column: usize) -> Origin {
        let itself = || Origin::itself(node, column);
        match &node.kind {
            NodeKind::Map { input, projection, .. } => {
                let Some(scalar) = projection.get(column) else { return itself() };
                let read = std::cell::Cell::new(None);
                let by = through(&scalar.expression, &|column| {
                    let Origin { node, column, by } = Origin::of(input, column);
                    read.set(Some((node, column)));
                    Some(by)
                });
                by.zip(read.get()).map_or_else(itself, |(by, (node, column))| Origin { node, column, by })
            }
            NodeKind::Hop { input, windows, .. } => match column.checked_sub(input.schema.fields().len()) {
                None => Origin::of(input, column),
                Some(place) => Origin::of_window(node, input.schema.fields().len(), *windows, place),
            },
            NodeKind::Exchange { input, .. }
            | NodeKind::Late { input, .. }
            | NodeKind::Close { input, .. }
            | NodeKind::Temporal { input, .. } => Origin::of(input, column),
            NodeKind::TopN { input, .. }
            | NodeKind::Window { input, .. }
            | NodeKind::Arrival { input }
            | NodeKind::LookupJoin { left: input, .. }
                if column < input.schema.fields().len() =>
            {
                Origin::of(input, column)
            }
            NodeKind::Unnest { input, columns, .. } => match columns.get(column) {
                Some(UnnestColumn::Kept(column)) => Origin::of(input, *column),
                _ => itself(),
            },
            NodeKind::Combine { input, keys, .. } | NodeKind::Aggregate { input, keys, .. } => {
                keys.get(column).map_or_else(itself, |key| Origin::of(input, *key))
            }
            // Equal keys are one column.
            NodeKind::Join { join: JoinKind::Inner, left, left_keys, right_keys, .. } => {
                let right = column.checked_sub(left.schema.fields().len());
                let key = right.and_then(|column| right_keys.iter().position(|key| *key == column));
                Origin::itself(node, key.map_or(column, |place| left_keys[place]))
            }
            _ => itself(),
        }
    }

    /// Of one of the two columns of windows, which follow from the one that tells the windows of a row apart.
    fn of_window(hop: &Node, width: usize, windows: TimeWindows, place: usize) -> Origin {
        let key = Origin::itself(hop, width + windows.key());
        match windows {
            _ if place == windows.key() => key,
            TimeWindows::Hop { size_us, .. } => key.by(|start| start.later(size_us)),
            TimeWindows::Cumulate { size_us, offset_us, .. } => {
                key.by(|end| Low::Binned { low: Box::new(end.later(-1)), stride_us: size_us, origin_us: offset_us })
            }
        }
    }
}

/// Without moving by a time that is always as long.
fn unmoved(by: &Low) -> &Low {
    match by {
        Low::Plus { low, months: 0, .. } => unmoved(low),
        other => other,
    }
}

/// What a function is applied to.
fn argument(by: &Low) -> Option<&Low> {
    match by {
        Low::Of(_) | Low::Least(_) => None,
        Low::Plus { low, .. }
        | Low::Truncated { low, .. }
        | Low::Local { low, .. }
        | Low::TruncatedIn { low, .. }
        | Low::Rounded { low, .. }
        | Low::Binned { low, .. }
        | Low::BinnedMonths { low, .. }
        | Low::WindowStart { low, .. } => Some(low),
    }
}

/// Whether in every row event time passes a column when it passes another, or later: it follows from that one.
pub(super) fn passed_no_earlier(node: &Node, column: usize, than: usize) -> bool {
    let [late, early] = [column, than].map(|column| Origin::of(node, column));
    let early_by = unmoved(&early.by);
    (late.node, late.column) == (early.node, early.column)
        && std::iter::successors(Some(&late.by), |by| argument(by)).any(|by| unmoved(by) == early_by)
}

/// How many steps a column's time is coarser than what it follows from: of two that follow from one, that with fewer is passed first.
pub(super) fn coarseness(node: &Node, column: usize) -> usize {
    let Origin { by, .. } = Origin::of(node, column);
    std::iter::successors(Some(&by), |by| argument(by)).filter(|by| !matches!(by, Low::Plus { .. } | Low::Of(_))).count()
}
