//! SESSION: `session_start` and `session_end` over one partitioning become one node that knows both.
//!
//! A row at the end of a session moves the session's end, and so changes all of its rows. Who groups by the sessions' own keys and
//! `window_start` need not pay for that: all rows of a group are of one session, whose end is their latest time and the gap.
//!
//! ```text
//! Aggregate by k, window_start, window_end          Map         window_end = latest + gap
//!     ▲                                              ▲
//!  Session                                 ───▶   Aggregate     by k, window_start; also max(ts) AS latest
//!                                                    ▲
//!                                                 Session       starts only
//! ```
//!
//! The group is over when its latest time says so.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::utils::collect_columns;

use super::group::Grouping;
use super::hop::interval;
use super::low::low_of;
use super::{Lowering, identity};
use crate::error::{Error, Result};
use crate::plan::expressions::{column_index, column_scalar, moved};
use crate::plan::node::{AggregateCall, AggregateFunction, Closing, Node, NodeKind, OrderColumn, Scalar, SessionClosing};
use crate::plan::properties;
use crate::plan::sessions::{SESSION_END, SESSION_START, gap_micros};

/// Calls that one node answers.
pub(super) struct SessionCalls<'a> {
    /// Positions of the keys.
    pub(super) keys: Vec<usize>,
    /// The order within a partition.
    pub(super) order: Vec<OrderColumn>,
    /// The time and the gap, of all calls the same.
    pub(super) arguments: &'a [Expr],
    pub(super) calls: &'a [(usize, &'a WindowFunction)],
    /// Where an expression stands as a column of the input.
    pub(super) position: &'a dyn Fn(&Expr) -> Option<usize>,
    /// One column for each call.
    pub(super) results: &'a [Field],
}

/// What one of the two calls gives.
pub(super) fn bound_name(call: &WindowFunction) -> Option<&'static str> {
    match call.fun.name() {
        SESSION_START => Some("window_start"),
        SESSION_END => Some("window_end"),
        _ => None,
    }
}

impl Lowering<'_> {
    /// The columns of `input`, then one for each call.
    pub(super) fn session(&mut self, input: Node, calls: SessionCalls<'_>) -> Result<Node> {
        let SessionCalls { keys, order, arguments, calls, position, results } = calls;
        let misused =
            || Error::not_supported("session_start() and session_end() in this form are not supported").hint("Write FROM SESSION(…).");
        let [time, gap] = arguments else { return Err(misused()) };
        let time = position(time).ok_or_else(misused)?;
        let ascending = |order: &OrderColumn| order.column == time && !order.descending;
        if !order.first().is_some_and(ascending) || calls.iter().any(|(_, call)| call.params.filter.is_some()) {
            return Err(misused());
        }
        let gap_us = gap_micros(interval(gap)?)?;

        let width = input.schema.fields().len();
        let (input, time) = if keys.contains(&time) { self.with_copy(input, time) } else { (input, time) };
        let low = low_of(self.catalog, &input, time);
        let (input, letter) = if low.is_some() { self.with_letter(input) } else { (input, None) };
        let closing = low.map(|low| SessionClosing { low, emits: self.emit_on_window_close, letter });
        let input = self.exchange(input, keys.clone());
        let emits = closing.as_ref().is_some_and(|closing| closing.emits);
        let properties = properties::session(&input.properties, closing.is_some().then_some(time), emits);
        let bound = |name: &&str| input.schema.field(time).clone().with_name(*name).with_nullable(true);
        let ends = calls.iter().any(|(_, call)| call.fun.name() == SESSION_END);
        let bounds = ["window_start", "window_end"].iter().take(1 + usize::from(ends)).map(bound);
        let fields = input.schema.fields().iter().map(|field| field.as_ref().clone()).chain(bounds);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let start = input.schema.fields().len();
        let node = self.node(NodeKind::Session { input: Box::new(input), keys, time, gap_us, ends, closing }, schema, properties);

        let bounds = calls.iter().map(|(_, call)| start + usize::from(call.fun.name() == SESSION_END));
        let columns: Vec<usize> = (0..width).chain(bounds).collect();
        let fields: Vec<Field> =
            columns[..width].iter().map(|column| node.schema.field(*column).clone()).chain(results.iter().cloned()).collect();
        let projection = columns.iter().zip(&fields).map(|(column, field)| column_scalar(field.name(), *column)).collect();
        Ok(self.map(node, None, projection, Arc::new(Schema::new(fields))))
    }

    /// Groups that are sessions, by their starts; the grouping as it was if they are not.
    pub(super) fn by_sessions(&mut self, grouping: Grouping, schema: &SchemaRef) -> Result<Node, Box<Grouping>> {
        let Some(plan) = SessionGroups::of(&grouping) else { return Err(Box::new(grouping)) };
        let Grouping { input, keys, mut calls } = grouping;
        let (mut session, mut projection) = match input.kind {
            NodeKind::Map { input: session, projection, .. } => (*session, projection),
            kind => {
                let projection = identity(&input.schema);
                (Node { kind, ..input }, projection)
            }
        };
        let NodeKind::Session { ends, closing, time, .. } = &mut session.kind else { unreachable!("there is a session below") };
        *ends = false;
        let (time, closing) = (*time, closing.clone());
        let width = plan.start;
        session.schema = Arc::new(Schema::new(session.schema.fields()[..=width].to_vec()));

        // Where a session's end was asked for nothing is left to compute.
        let ends = projection.iter_mut().filter(|scalar| collect_columns(&scalar.expression).iter().any(|column| column.index() > width));
        ends.for_each(|scalar| *scalar = column_scalar("window_start", width));
        projection.push(column_scalar(session.schema.field(time).name(), time));
        let latest = projection.len() - 1;
        let fields = projection.iter().map(|scalar| {
            let name = if column_index(&scalar.expression) == Some(width) { "window_start" } else { scalar.text.as_str() };
            Field::new(name, scalar.expression.data_type(&session.schema).unwrap_or(DataType::Null), true)
        });
        let prepared = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let time_type = prepared.field(latest).data_type().clone();
        let text = format!("max({})", prepared.field(latest).name());
        let input = self.map(session, None, projection, Arc::clone(&prepared));

        let kept: Vec<usize> = (0..keys.len()).filter(|place| !plan.derived.contains(&keys[*place])).collect();
        calls.push(AggregateCall {
            function: AggregateFunction::Max,
            argument: Some(latest),
            distinct: false,
            filter: None,
            result: time_type.clone(),
            text: text.clone(),
        });
        let results = schema.fields()[keys.len()..].iter().map(|field| field.as_ref().clone()).chain([Field::new(&text, time_type, true)]);
        let inner = kept.iter().map(|place| prepared.field(keys[*place]).clone()).chain(results);
        let inner = Arc::new(Schema::new(inner.collect::<Vec<_>>()));
        let latest = inner.fields().len() - 1;
        // A session goes on while its latest time is more than a gap before the watermark.
        let closing = closing.map(|closing| Closing { place: latest, low: closing.low.later(1 - plan.gap_us), emits: false });
        let kept_keys = kept.iter().map(|place| keys[*place]).collect();
        let may_be_over = closing.is_some();
        let mut node = self.aggregate_node(Grouping { input, keys: kept_keys, calls }, closing, inner, false);
        // A row behind the watermark may make a session begin earlier: where one began that is over, and has been forgotten.
        node.properties.key = node.properties.key.filter(|_| !may_be_over);

        let start = kept.iter().position(|place| keys[*place] == plan.start_key).unwrap_or_default();
        let place = |column: usize| if column == width { plan.column(start) } else { plan.end_of(plan.column(latest)) };
        let outputs = (0..schema.fields().len()).map(|column| match keys.get(column) {
            Some(key) => match (kept.iter().position(|place| *place == column), plan.expression(*key)) {
                (None, Some(scalar)) => Scalar { expression: moved(&scalar.expression, &place), text: scalar.text.clone() },
                (at, _) => column_scalar(schema.field(column).name(), at.unwrap_or_default()),
            },
            None => column_scalar(schema.field(column).name(), kept.len() + column - keys.len()),
        });
        let outputs = outputs.collect();
        Ok(self.map(node, None, outputs, Arc::clone(schema)))
    }

    /// The input with one of its columns once more, at the end: a key is the same in all rows that are together, and has no order among them.
    fn with_copy(&mut self, input: Node, column: usize) -> (Node, usize) {
        let width = input.schema.fields().len();
        let field = input.schema.field(column).clone();
        let mut projection = identity(&input.schema);
        projection.push(column_scalar(field.name(), column));
        let fields = input.schema.fields().iter().map(|field| field.as_ref().clone()).chain([field]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        (self.map(input, None, projection, schema), width)
    }
}

/// A grouping whose groups are sessions.
struct SessionGroups {
    /// Where `window_start` stands behind the session; `window_end` follows.
    start: usize,
    /// The key that is `window_start`, by its place in the grouping's input.
    start_key: usize,
    /// The keys that follow from starts and ends, and how.
    derived: Vec<usize>,
    expressions: Vec<(usize, Scalar)>,
    gap_us: i64,
    /// The gap, as something to add to a time.
    gap: ScalarValue,
}

impl SessionGroups {
    /// If the sessions' keys and starts are among the keys of the grouping, and nothing else reads ends.
    fn of(grouping: &Grouping) -> Option<SessionGroups> {
        let (session, projection) = match &grouping.input.kind {
            NodeKind::Map { input, predicate: None, projection } => (input.as_ref(), projection.clone()),
            NodeKind::Session { .. } => (&grouping.input, identity(&grouping.input.schema)),
            _ => return None,
        };
        let NodeKind::Session { input, keys: session_keys, gap_us, .. } = &session.kind else { return None };
        let start = input.schema.fields().len();
        let columns =
            |column: usize| collect_columns(&projection[column].expression).into_iter().map(|column| column.index()).collect::<Vec<_>>();
        let key_of = |wanted: usize| grouping.keys.iter().copied().find(|key| column_index(&projection[*key].expression) == Some(wanted));
        let start_key = key_of(start)?;
        if !session_keys.iter().all(|key| key_of(*key).is_some()) {
            return None;
        }
        let reads_end = |column: &usize| columns(*column).contains(&(start + 1));
        let derived: Vec<usize> = grouping.keys.iter().copied().filter(reads_end).collect();
        let from_bounds = derived.iter().all(|key| columns(*key).iter().all(|column| *column >= start));
        // By anything else a group is a part of a session, and ends before it.
        let of_session = |column: &usize| *column == start || session_keys.contains(column);
        let whole = grouping.keys.iter().filter(|key| !derived.contains(key)).all(|key| columns(*key).iter().all(of_session));
        let read: Vec<usize> = grouping.calls.iter().flat_map(|call| [call.argument, call.filter]).flatten().collect();
        if !from_bounds || !whole || read.iter().any(reads_end) {
            return None;
        }
        let gap = IntervalMonthDayNano { months: 0, days: 0, nanoseconds: gap_us.checked_mul(1_000)? };
        let expressions = derived.iter().map(|key| (*key, projection[*key].clone())).collect();
        Some(SessionGroups { start, start_key, derived, expressions, gap_us: *gap_us, gap: ScalarValue::IntervalMonthDayNano(Some(gap)) })
    }

    /// What a key follows from, if it does.
    fn expression(&self, key: usize) -> Option<&Scalar> {
        self.expressions.iter().find(|(derived, _)| *derived == key).map(|(_, scalar)| scalar)
    }

    fn column(&self, place: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new("", place))
    }

    /// The end of the session whose latest time this is.
    fn end_of(&self, latest: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(latest, Operator::Plus, Arc::new(Literal::new(self.gap.clone()))))
    }
}
