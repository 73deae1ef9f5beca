//! Which columns tell of every row when it was: an outer join gives rows that have NULLs instead of one side's times.

use std::collections::BTreeSet;

use datafusion::physical_expr::utils::collect_columns;

use crate::catalog::{Catalog, ObjectKind};
use crate::plan::node::{Node, NodeKind, UnnestColumn};

/// Whether every row has, in one of these columns, what is no NULL that a join put there.
pub(super) fn covers(catalog: &Catalog, node: &Node, columns: &BTreeSet<usize>) -> bool {
    if columns.is_empty() {
        return false;
    }
    let of = |input: &Node, columns: BTreeSet<usize>| covers(catalog, input, &columns);
    match &node.kind {
        NodeKind::Import { object, columns: read, .. } => match catalog.get(*object).map(|object| &object.kind) {
            Some(ObjectKind::MaterializedView(view)) => {
                let columns: BTreeSet<usize> = columns.iter().filter_map(|column| read.get(*column).copied()).collect();
                // One that was defined before this was noted is taken at its word.
                view.covering.as_ref().is_none_or(|covering| covering.iter().any(|set| set.is_subset(&columns)))
            }
            _ => true,
        },
        NodeKind::Map { input, projection, .. } => {
            let read = columns.iter().filter_map(|column| projection.get(*column)).flat_map(|scalar| collect_columns(&scalar.expression));
            of(input, read.map(|column| column.index()).collect())
        }
        NodeKind::Hop { input, time, .. } | NodeKind::Session { input, time, .. } => {
            let width = input.schema.fields().len();
            of(input, columns.iter().map(|column| if *column < width { *column } else { *time }).collect())
        }
        NodeKind::Arrival { input } => columns.contains(&input.schema.fields().len()) || of(input, columns.clone()),
        // The right columns have no bounds.
        NodeKind::LookupJoin { left, .. } => of(left, columns.range(..left.schema.fields().len()).copied().collect()),
        NodeKind::Expand { input, keys, .. } => {
            let width = input.schema.fields().len();
            let source = |column: &usize| match column.checked_sub(width) {
                None => Some(*column),
                Some(place) => keys.get(place).copied(),
            };
            of(input, columns.iter().filter_map(source).collect())
        }
        NodeKind::Unnest { input, columns: given, .. } => {
            let kept = columns.iter().filter_map(|column| match given.get(*column) {
                Some(UnnestColumn::Kept(column)) => Some(*column),
                _ => None,
            });
            of(input, kept.collect())
        }
        NodeKind::Aggregate { input, keys, .. } | NodeKind::Combine { input, keys, .. } => {
            // The latest time of a session stands behind the keys.
            columns.iter().any(|column| *column >= keys.len()) || of(input, columns.iter().map(|column| keys[*column]).collect())
        }
        NodeKind::Exchange { input, .. }
        | NodeKind::Late { input, .. }
        | NodeKind::Close { input, .. }
        | NodeKind::Temporal { input, .. }
        | NodeKind::TopN { input, .. }
        | NodeKind::Versions { input, .. }
        | NodeKind::Window { input, .. } => of(input, columns.clone()),
        NodeKind::Join { join, left, right, .. } => {
            let width = left.schema.fields().len();
            let (left_columns, right_columns): (BTreeSet<usize>, BTreeSet<usize>) = columns.iter().partition(|column| **column < width);
            let right_columns = right_columns.into_iter().map(|column| column - width).collect();
            let sides = [of(left, left_columns), join.gives_pairs() && of(right, right_columns)];
            let [pads_left, pads_right] = join.pads();
            // Pairs have the times of both; a row alone has its own.
            let (pairs, left_alone, right_alone) = (sides[0] || sides[1], sides[0] || !pads_right, sides[1] || !pads_left);
            pairs && left_alone && right_alone
        }
        NodeKind::DeltaJoin { inputs, .. } => {
            let mut start = 0;
            inputs.iter().any(|input| {
                let range = start..start + input.schema.fields().len();
                start = range.end;
                of(input, columns.range(range.clone()).map(|column| column - range.start).collect())
            })
        }
        NodeKind::Union { inputs } => inputs.iter().all(|input| of(input, columns.clone())),
        // The left side of an ASOF join is always there, and its time is the only one.
        NodeKind::AsOf { .. } | NodeKind::Constant { .. } => true,
        NodeKind::Recursion { .. } | NodeKind::Recurrence { .. } => false,
    }
}
