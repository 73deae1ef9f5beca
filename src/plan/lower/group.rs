//! How one grouping becomes nodes: which keys have to be kept, and what is combined before it moves.
//!
//! ```text
//! Aggregate                      Map        keys that follow from others
//!     ▲                           ▲
//!   input            ───▶     Aggregate     merges
//!                                 ▲
//!                             Exchange      a row per key and batch
//!                                 ▲
//!                              Combine
//!                                 ▲
//!                               input
//! ```
//!
//! Over overlapping windows the first half runs below the windows, by slices: the longest stretches of time that no window divides. A row is
//! counted in one slice, and what comes out of `Hop` is slices, not rows. (Li et al., "No pane, no gain", SIGMOD Record 2005.)
//! Groups that are sessions are found by their starts (`session`).
//! Nothing of this depends on the number of workers: stored state must fit any.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use super::late::TooLate;
use super::low::low_of;
use super::moment::coarseness;
use super::{Lowering, identity, single};
use crate::plan::expressions::{column_index, column_scalar, moved};
use crate::plan::node::{AggregateCall, Closing, Node, NodeKind, Scalar};
use crate::plan::properties;
use crate::types::TimeWindows;

/// What an aggregate reads of its input, by position: keys, arguments, filters.
pub(super) struct Grouping {
    pub(super) input: Node,
    pub(super) keys: Vec<usize>,
    pub(super) calls: Vec<AggregateCall>,
}

/// The windows below a grouping.
struct Windows {
    below: Node,
    time: usize,
    windows: TimeWindows,
    /// What the map over the windows computes, by the windows' columns.
    projection: Vec<Scalar>,
}

impl Lowering<'_> {
    /// An aggregate over columns of `input`: the keys, then the calls, under `schema`. One row per group needs no aggregate.
    pub(super) fn group(&mut self, input: Node, keys: Vec<usize>, aggregates: Vec<AggregateCall>, schema: SchemaRef) -> Node {
        if let Some(projection) = single::of_one_row(&input, &keys, &aggregates, &schema) {
            return self.map(input, None, projection, schema);
        }
        let following = following_keys(&input, &keys);
        if following.iter().all(Option::is_none) {
            return self.group_by(Grouping { input, keys, calls: aggregates }, schema);
        }
        let kept: Vec<usize> = (0..keys.len()).filter(|place| following[*place].is_none()).collect();
        let fields = kept.iter().copied().chain(keys.len()..schema.fields().len()).map(|place| schema.field(place).clone());
        let inner = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let kept_keys = kept.iter().map(|place| keys[*place]).collect();
        let node = self.group_by(Grouping { input, keys: kept_keys, calls: aggregates }, inner);
        let at = |place: usize| kept.iter().position(|other| *other == place).expect("only kept keys are referred to");
        let key_columns = following.iter().enumerate().map(|(place, scalar)| match scalar {
            None => column_scalar(schema.field(place).name(), at(place)),
            Some(scalar) => {
                let column = |place: usize| Arc::new(Column::new(schema.field(place).name(), at(place))) as Arc<dyn PhysicalExpr>;
                Scalar { expression: moved(&scalar.expression, &column), text: scalar.text.clone() }
            }
        });
        let results =
            (keys.len()..schema.fields().len()).map(|place| column_scalar(schema.field(place).name(), kept.len() + place - keys.len()));
        let projection = key_columns.chain(results).collect();
        self.map(node, None, projection, schema)
    }

    fn group_by(&mut self, grouping: Grouping, schema: SchemaRef) -> Node {
        let grouping = match self.by_sessions(grouping, &schema) {
            Ok(node) => return node,
            Err(grouping) => *grouping,
        };
        let Grouping { input, keys, calls } = grouping;
        let append_only = input.properties.append_only;
        let splits = calls.iter().all(|call| call.partial_types(append_only).is_some());
        let closing = self.closing(&input, &keys);
        if !splits || properties::together(&input.properties, &keys) {
            let input = self.in_time(input, &keys, closing.as_ref(), None);
            let input = self.exchange(input, keys.clone());
            return self.aggregate_node(Grouping { input, keys, calls }, closing, schema, false);
        }
        let width = keys.len();
        let combined = self.first_half(Grouping { input, keys, calls: calls.clone() }, closing.as_ref());
        let keys: Vec<usize> = (0..width).collect();
        let input = self.moved_by(combined, keys.clone());
        self.aggregate_node(Grouping { input, keys, calls }, closing, schema, true)
    }

    pub(super) fn aggregate_node(&mut self, grouping: Grouping, closing: Option<Closing>, schema: SchemaRef, combined: bool) -> Node {
        let Grouping { input, keys, calls } = grouping;
        let properties = properties::aggregate(&input.properties, &keys, calls.len());
        self.node(NodeKind::Aggregate { input: Box::new(input), keys, aggregates: calls, combined, closing }, schema, properties)
    }

    /// When groups by these keys are over: the key that event time passes first says it.
    pub(super) fn closing(&self, input: &Node, keys: &[usize]) -> Option<Closing> {
        let lows = keys.iter().map(|key| low_of(self.catalog, input, *key)).enumerate();
        let closing = lows.filter_map(|(place, low)| Some(Closing { place, low: low?, emits: false }));
        closing.min_by_key(|closing| coarseness(input, keys[closing.place]))
    }

    /// Without rows of groups that are over. `rows`: the column that says how many rows a row stands for.
    pub(super) fn in_time(&mut self, input: Node, keys: &[usize], closing: Option<&Closing>, rows: Option<usize>) -> Node {
        let Some(Closing { place, low, .. }) = closing else { return input };
        self.unless_below(input, TooLate { column: keys[*place], low: low.clone(), rows })
    }

    /// Combined rows: the keys, the number of rows, partial results.
    fn first_half(&mut self, grouping: Grouping, closing: Option<&Closing>) -> Node {
        let width = grouping.keys.len();
        // Rows that come too late are to be looked at: so they are left out as they came, and not when they have been combined.
        if self.keep_late_rows && closing.is_some() {
            return self.combined_in_time(grouping, closing);
        }
        match windows_below(grouping) {
            Ok((windows, keys, calls)) => {
                let counts_changes = closing.is_some() && !windows.below.properties.append_only;
                let windowed = self.by_slices(windows, &keys, calls, counts_changes);
                let keys: Vec<usize> = (0..width).collect();
                if !counts_changes {
                    return self.in_time(windowed, &keys, closing, Some(width));
                }
                // What came and went in one batch is combined to nothing, and late all the same: it is counted apart, up to here.
                let changes = windowed.schema.fields().len() - 1;
                let kept = Arc::new(Schema::new(windowed.schema.fields()[..changes].to_vec()));
                let in_time = self.in_time(windowed, &keys, closing, Some(changes));
                self.map(in_time, None, identity(&kept), kept)
            }
            Err(grouping) => self.combined_in_time(*grouping, closing),
        }
    }

    fn combined_in_time(&mut self, grouping: Grouping, closing: Option<&Closing>) -> Node {
        let Grouping { input, keys, calls } = grouping;
        let input = self.in_time(input, &keys, closing, None);
        self.combine(Grouping { input, keys, calls }, false)
    }

    fn combine(&mut self, grouping: Grouping, counts_changes: bool) -> Node {
        let Grouping { input, keys, calls } = grouping;
        let mut fields: Vec<Field> = keys.iter().map(|key| input.schema.field(*key).clone()).collect();
        fields.push(Field::new("rows", DataType::Int64, false));
        for call in &calls {
            let types = call.partial_types(input.properties.append_only).expect("only calls that can be split get here");
            fields.extend(types.into_iter().map(|partial| Field::new(&call.text, partial, true)));
        }
        if counts_changes {
            fields.push(Field::new("changes", DataType::Int64, false));
        }
        let properties = properties::combine(&input.properties);
        let kind = NodeKind::Combine { input: Box::new(input), keys, aggregates: calls, counts_changes };
        self.node(kind, Arc::new(Schema::new(fields)), properties)
    }

    /// Rows → slices → combined → windows. `keys` are positions in the map over the windows.
    fn by_slices(&mut self, over: Windows, keys: &[usize], calls: Vec<AggregateCall>, counts_changes: bool) -> Node {
        let Windows { below, time, windows, projection } = over;
        let width = below.schema.fields().len();
        let time_field = Field::new("window_start", below.schema.field(time).data_type().clone(), true);
        let with_windows = |fields: &Schema| {
            let end = time_field.clone().with_name("window_end");
            Arc::new(Schema::new(
                fields.fields().iter().map(|field| field.as_ref().clone()).chain([time_field.clone(), end]).collect::<Vec<_>>(),
            ))
        };
        let schema = with_windows(&below.schema);
        let properties = properties::hop(&below.properties, width, windows.slices());
        let kind = NodeKind::Hop { input: Box::new(below), time, windows: windows.slices() };
        let sliced = self.node(kind, schema, properties);

        // The same expressions over slices: where a window is asked for there is the slice's start, which stands in its place.
        let is_window = |scalar: &Scalar| column_index(&scalar.expression) == Some(width + windows.key());
        let projection: Vec<Scalar> = projection
            .into_iter()
            .map(|scalar| if is_window(&scalar) { Scalar { text: scalar.text, ..column_scalar("window_start", width) } } else { scalar })
            .collect();
        let fields = projection.iter().map(|scalar| {
            let data_type = scalar.expression.data_type(&sliced.schema).unwrap_or(DataType::Null);
            Field::new(&scalar.text, data_type, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let starts: Vec<bool> = keys.iter().map(|key| column_index(&projection[*key].expression) == Some(width)).collect();
        let prepared = self.map(sliced, None, projection, schema);
        let combined = self.combine(Grouping { input: prepared, keys: keys.to_vec(), calls }, counts_changes);

        let slice = starts.iter().position(|start| *start).expect("a key is the window's start");
        let columns = combined.schema.fields().len();
        let schema = with_windows(&combined.schema);
        let outer = Arc::clone(&combined.schema);
        let properties = properties::combine(&combined.properties);
        let kind = NodeKind::Hop { input: Box::new(combined), time: slice, windows };
        let windowed = self.node(kind, schema, properties);
        let place = |column: usize| if starts.get(column) == Some(&true) { columns + windows.key() } else { column };
        let projection = (0..columns).map(|column| column_scalar(outer.field(column).name(), place(column))).collect();
        self.map(windowed, None, projection, outer)
    }
}

/// For every key that follows from the others, how: an expression over the *places* of the keys that are kept.
///
/// Computed from a key it would have the same value in all rows of a group. Floats are left alone: groups do not tell 0.0 from -0.0, an
/// expression may.
fn following_keys(input: &Node, keys: &[usize]) -> Vec<Option<Scalar>> {
    let none = vec![None; keys.len()];
    let NodeKind::Map { input: below, projection, .. } = &input.kind else { return none };
    let place_of = |column: usize| keys.iter().position(|key| column_index(&projection[*key].expression) == Some(column));
    let follows = |key: &usize| {
        let scalar = &projection[*key];
        let columns = collect_columns(&scalar.expression);
        let plain = column_index(&scalar.expression).is_some();
        let kept = |column: &Column| place_of(column.index()).is_some() && !below.schema.field(column.index()).data_type().is_floating();
        if plain || columns.is_empty() || !columns.iter().all(kept) {
            return None;
        }
        let place = |column: usize| {
            let place = place_of(column).expect("checked above");
            Arc::new(Column::new(below.schema.field(column).name(), place)) as Arc<dyn PhysicalExpr>
        };
        Some(Scalar { expression: moved(&scalar.expression, &place), text: scalar.text.clone() })
    };
    keys.iter().map(follows).collect()
}

/// The overlapping windows that a grouping stands on, if all that it reads but the window can be read below them; keys and calls by
/// the positions in the windows' projection, which holds nothing else.
fn windows_below(grouping: Grouping) -> Result<(Windows, Vec<usize>, Vec<AggregateCall>), Box<Grouping>> {
    if !on_windows(&grouping) {
        return Err(Box::new(grouping));
    }
    let Grouping { input, keys, calls } = grouping;
    let NodeKind::Map { input: hop, projection, .. } = input.kind else { unreachable!("on_windows has looked") };
    let NodeKind::Hop { input: below, time, windows } = hop.kind else { unreachable!("on_windows has looked") };
    let mut used: Vec<usize> = Vec::new();
    let mut place = |column: usize| {
        used.iter().position(|known| *known == column).unwrap_or_else(|| {
            used.push(column);
            used.len() - 1
        })
    };
    let keys = keys.into_iter().map(&mut place).collect();
    let calls = calls
        .into_iter()
        .map(|call| AggregateCall { argument: call.argument.map(&mut place), filter: call.filter.map(&mut place), ..call })
        .collect();
    let projection = used.into_iter().map(|column| projection[column].clone()).collect();
    Ok((Windows { below: *below, time, windows, projection }, keys, calls))
}

fn on_windows(grouping: &Grouping) -> bool {
    let Grouping { input, keys, calls } = grouping;
    let NodeKind::Map { input: hop, predicate: None, projection } = &input.kind else { return false };
    let NodeKind::Hop { input: below, windows, .. } = &hop.kind else { return false };
    let width = below.schema.fields().len();
    let is_window = |column: usize| column_index(&projection[column].expression) == Some(width + windows.key());
    let is_below = |column: usize| collect_columns(&projection[column].expression).iter().all(|column| column.index() < width);
    let read = calls.iter().flat_map(|call| [call.argument, call.filter]).flatten();
    !windows.is_single()
        && keys.iter().any(|key| is_window(*key))
        && keys.iter().all(|key| is_window(*key) || is_below(*key))
        && read.into_iter().all(is_below)
}
