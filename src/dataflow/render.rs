//! `Node` → operators: one flat match.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::core::Concatenate;
use timely::dataflow::operators::generic::operator::source;

use crate::dataflow::command::{Beginning, Dataflow};
use crate::dataflow::driver::{Beginnings, Flow, SharedOperator, Stage, exchange, stateful, stateless};
use crate::dataflow::event_time::{LowAt, SharedHistory};
use crate::dataflow::import::{Handle, Import};
use crate::dataflow::late_rows::LateSink;
use crate::dataflow::operator::aggregate::Aggregate;
use crate::dataflow::operator::aggregate::combine::Combine;
use crate::dataflow::operator::arrival::Arrival;
use crate::dataflow::operator::as_of::versions::Versions;
use crate::dataflow::operator::as_of::{AsOf, AsOfSpec};
use crate::dataflow::operator::close::Close;
use crate::dataflow::operator::delta_join::{DeltaJoin, Kept, SharedKept};
use crate::dataflow::operator::expand::Expand;
use crate::dataflow::operator::hop::Hop;
use crate::dataflow::operator::join::{Goes, Join, JoinSpec};
use crate::dataflow::operator::late::{Late, LateCount};
use crate::dataflow::operator::lookup_join::LookupJoin;
use crate::dataflow::operator::map::Map;
use crate::dataflow::operator::session::Session;
use crate::dataflow::operator::temporal::Temporal;
use crate::dataflow::operator::top_n::{TopN, TopNSpec};
use crate::dataflow::operator::unnest::Unnest;
use crate::dataflow::operator::window::{Window, WindowSpec};
use crate::dataflow::operator::{Operator, Stateless};
use crate::dataflow::packet::Packet;
use crate::dataflow::row_errors::RowErrorSink;
use crate::dataflow::time::{LoopTime, Time};
use crate::error::{Error, Result};
use crate::plan::{Closing, LetterColumn, Node, NodeKind, SessionClosing, SideExpiry};
use crate::types::{BUCKETS, Changes, Epoch, Low, NOW, ObjectId, OperatorId};

/// What rendering leaves in the worker's hands.
pub(crate) struct Rendered<'scope> {
    /// The view's changes.
    pub(crate) output: Flow<'scope>,
    /// The dataflow's inputs on this worker.
    pub(crate) imports: Vec<Import>,
    /// Its stateful operators.
    pub(crate) operators: Vec<(OperatorId, &'static str, SharedOperator)>,
    /// The rows that its joins look into.
    pub(crate) kept: Vec<SharedKept>,
}

/// Builds the operators of a dataflow in `scope`.
pub(crate) fn render<'scope>(
    scope: Scope<'scope, Epoch>,
    dataflow: &Arc<Dataflow>,
    beginning: &Arc<Beginning>,
    history: &SharedHistory,
    (worker, workers): (usize, usize),
) -> Rendered<'scope> {
    // Inputs have lower numbers than what reads them.
    dataflow.progress.expect_nodes(dataflow.plan.root.id as usize + 1);
    let mut renderer = Renderer {
        scope,
        dataflow: Arc::clone(dataflow),
        beginning: Arc::clone(beginning),
        history: Rc::clone(history),
        worker,
        workers,
        imports: Vec::new(),
        operators: Vec::new(),
        kept: Vec::new(),
        entered: BTreeMap::new(),
    };
    let output = renderer.node(&dataflow.plan.root);
    Rendered { output, imports: renderer.imports, operators: renderer.operators, kept: renderer.kept }
}

/// Renders the nodes of one scope: the dataflow itself, or a loop within it.
pub(super) struct Renderer<'scope, T: Time> {
    pub(super) scope: Scope<'scope, T>,
    pub(super) dataflow: Arc<Dataflow>,
    pub(super) beginning: Arc<Beginning>,
    /// How far event time was on this worker.
    pub(super) history: SharedHistory,
    pub(super) worker: usize,
    pub(super) workers: usize,
    pub(super) imports: Vec<Import>,
    pub(super) operators: Vec<(OperatorId, &'static str, SharedOperator)>,
    pub(super) kept: Vec<SharedKept>,
    /// In a loop: nodes that have been rendered outside, and the working table, by number.
    pub(super) entered: BTreeMap<u32, Flow<'scope, T>>,
}

/// A time whose scope may hold nodes that begin something.
pub(super) trait Place: Time {
    /// A node without inputs, or one with a scope of its own.
    fn beginning<'scope>(renderer: &mut Renderer<'scope, Self>, node: &Node) -> Flow<'scope, Self>;
}

impl Place for Epoch {
    fn beginning<'scope>(renderer: &mut Renderer<'scope, Self>, node: &Node) -> Flow<'scope, Self> {
        match &node.kind {
            NodeKind::Import { object, columns, .. } => {
                let mut handle = Handle::new_with_builder();
                let flow = handle.to_stream(renderer.scope);
                renderer.imports.push(Import::new(node.id, *object, columns.clone(), handle, &renderer.dataflow, &renderer.beginning));
                flow
            }
            NodeKind::Constant { rows } => renderer.constant(Changes::insertions(rows.clone())),
            NodeKind::Recursion { .. } => renderer.recursion(node),
            _ => unreachable!("a working table is in its loop"),
        }
    }
}

impl Place for LoopTime {
    fn beginning<'scope>(_: &mut Renderer<'scope, Self>, _: &Node) -> Flow<'scope, Self> {
        unreachable!("in a loop everything begins with the working table or comes from outside")
    }
}

impl<'scope, T: Place> Renderer<'scope, T> {
    pub(super) fn node(&mut self, node: &Node) -> Flow<'scope, T> {
        if let Some(flow) = self.entered.get(&node.id) {
            return flow.clone();
        }
        match &node.kind {
            NodeKind::Import { .. } | NodeKind::Constant { .. } | NodeKind::Recursion { .. } | NodeKind::Recurrence { .. } => {
                T::beginning(self, node)
            }
            NodeKind::Map { input, predicate, projection } => {
                let map = Map::new(predicate.clone(), projection.clone(), Arc::clone(&node.schema), self.dataflow.errors.clone());
                self.stateless(input, node.id, "map", map)
            }
            NodeKind::Hop { input, time, windows } => {
                self.stateless(input, node.id, "hop", Ok(Hop::new(*time, *windows, Arc::clone(&node.schema))))
            }
            NodeKind::Expand { input, keys, sets } => {
                self.stateless(input, node.id, "expand", Expand::new(keys.clone(), sets.clone(), Arc::clone(&node.schema)))
            }
            NodeKind::Unnest { input, .. } => self.stateless(input, node.id, "unnest", unnest(node, &self.dataflow.errors)),
            NodeKind::Exchange { input, keys } => {
                let flow = self.node(input);
                if self.workers == 1 { flow } else { exchange(flow, keys.clone(), self.stage(node.id)) }
            }
            NodeKind::Combine { input, .. } => self.stateless(input, node.id, "combine", combine(node)),
            NodeKind::Aggregate { .. } => self.aggregate(node),
            NodeKind::Late { .. }
            | NodeKind::Session { .. }
            | NodeKind::Temporal { .. }
            | NodeKind::Arrival { .. }
            | NodeKind::Close { .. } => self.timed(node),
            NodeKind::Join { .. } => self.join(node),
            NodeKind::AsOf { input, low, .. } => {
                let as_of = as_of(node, low.as_ref().map(|low| self.low_at(low)));
                match low {
                    Some(_) => self.in_event_time(&[input], node.id, "asof_join", as_of),
                    None => self.stateful(&[input], node.id, "asof_join", as_of, Beginnings::default()),
                }
            }
            NodeKind::LookupJoin { left, right, .. } => {
                let kept = self.kept_of(right);
                self.kept.extend(kept.clone());
                let all: Vec<usize> = (0..left.schema.fields().len()).collect();
                let join = LookupJoin::new(node, kept, places(left, &all), &self.dataflow.errors);
                self.stateful(&[left, right], node.id, "lookup_join", join, Beginnings::default())
            }
            NodeKind::Versions { input, keys, time, low } => {
                let versions = Versions::new(Arc::clone(&node.schema), keys, *time, low.as_ref().map(|low| self.low_at(low)));
                match low {
                    Some(_) => self.in_event_time(&[input], node.id, "versions", versions),
                    None => self.stateful(&[input], node.id, "versions", versions, Beginnings::default()),
                }
            }
            NodeKind::DeltaJoin { inputs, .. } => self.delta_join(node, &inputs.iter().collect::<Vec<_>>()),
            NodeKind::TopN { input, candidates: true, .. } if self.workers == 1 => self.node(input),
            NodeKind::TopN { .. } | NodeKind::Window { .. } => self.in_order(node),
            NodeKind::Union { inputs } => {
                let flows: Vec<Flow<'scope, T>> = inputs.iter().map(|input| self.node(input)).collect();
                self.scope.concatenate(flows)
            }
        }
    }

    /// What goes by the order of rows: their groups are forgotten as event time passes them, or the rows that it has passed are.
    fn in_order(&mut self, node: &Node) -> Flow<'scope, T> {
        match &node.kind {
            NodeKind::TopN { input, settled: Some(low), .. } => {
                let top_n = top_n(node).map(|top_n| top_n.settling(self.low_at(low)));
                self.in_event_time(&[input], node.id, "top_n", top_n)
            }
            NodeKind::TopN { input, closing, .. } => self.closing((input, node.id), "top_n", top_n(node), closing.as_ref(), TopN::closing),
            NodeKind::Window { input, settling: Some(settling), .. } => {
                let window = window(node, &self.dataflow.errors);
                let window = window.and_then(|window| window.settling(self.low_at(&settling.low), settling.emits));
                self.in_event_time(&[input], node.id, "window", window)
            }
            NodeKind::Window { input, closing, .. } => {
                let window = window(node, &self.dataflow.errors);
                self.closing((input, node.id), "window", window, closing.as_ref(), Window::closing)
            }
            _ => unreachable!("asked for first rows or window functions"),
        }
    }

    fn aggregate(&mut self, node: &Node) -> Flow<'scope, T> {
        let NodeKind::Aggregate { input, keys, aggregates, combined, closing } = &node.kind else { unreachable!("asked for an aggregate") };
        let (schema, output, owner) = (Arc::clone(&input.schema), Arc::clone(&node.schema), self.worker == 0);
        let append_only = input.properties.append_only;
        let aggregate = if *combined {
            Aggregate::merging(schema, append_only, keys.len(), aggregates, output, owner)
        } else {
            Aggregate::new(schema, append_only, keys.clone(), aggregates.clone(), output, owner)
        };
        let aggregate = aggregate.map(|aggregate| aggregate.reporting_to(self.dataflow.errors.clone()));
        let aggregate = aggregate.map(|aggregate| match places(input, keys) {
            Some(places) => aggregate.partitioned_by(places),
            None => aggregate,
        });
        if let Some(closing) = closing {
            let close = |aggregate: Aggregate, place, low| aggregate.closing(place, low, closing.emits);
            return self.closing((input, node.id), "aggregate", aggregate, Some(closing), close);
        }
        // The one row of a global aggregate is there from the start.
        let initially = (keys.is_empty() && owner && self.dataflow.restore.is_none()).then_some(self.dataflow.first);
        self.stateful(&[input], node.id, "aggregate", aggregate, Beginnings { initially, history: None })
    }

    fn join(&mut self, node: &Node) -> Flow<'scope, T> {
        let NodeKind::Join { join, left, right, left_keys, right_keys, null_equals_null, condition, expiry } = &node.kind else {
            unreachable!("asked for a join")
        };
        let goes = |expiry: &SideExpiry| Goes { column: expiry.column, low: self.low_at(&expiry.low), nulls: expiry.nulls_go };
        let spec = JoinSpec {
            kind: *join,
            left: Arc::clone(&left.schema),
            right: Arc::clone(&right.schema),
            left_keys: left_keys.clone(),
            right_keys: right_keys.clone(),
            null_equals_null: *null_equals_null,
            condition: condition.clone(),
            output: Arc::clone(&node.schema),
            left_append_only: left.properties.append_only,
            right_append_only: right.properties.append_only,
            goes: expiry.each_ref().map(|expiry| expiry.as_ref().map(goes)),
        };
        let join = Join::new(spec, self.dataflow.errors.clone());
        if expiry.iter().any(Option::is_some) {
            return self.in_event_time(&[left, right], node.id, "join", join);
        }
        self.stateful(&[left, right], node.id, "join", join, Beginnings::default())
    }

    /// What looks at the time of each row.
    fn timed(&mut self, node: &Node) -> Flow<'scope, T> {
        match &node.kind {
            NodeKind::Late { input, column, low, rows, letter } => {
                let count = self.late_count(node.id, input, low, letter.as_deref());
                let late = count.map(|count| Late::new(*column, self.low_at(low), *rows, count));
                self.stateful(&[input], node.id, "late", late, Beginnings::default())
            }
            NodeKind::Arrival { input } => {
                let arrival = Arrival::new(self.low_at(&Low::Of(NOW)), Arc::clone(&node.schema));
                self.stateful(&[input], node.id, "arrival", Ok(arrival), Beginnings::default())
            }
            NodeKind::Temporal { input, column, crossing, low } => {
                let temporal = Temporal::new(Arc::clone(&node.schema), *column, *crossing, self.low_at(low), self.worker);
                self.in_event_time(&[input], node.id, "temporal", temporal)
            }
            NodeKind::Session { input, closing, .. } => {
                let session = self.session(node);
                match closing {
                    Some(_) => self.in_event_time(&[input], node.id, "session", session),
                    None => self.stateful(&[input], node.id, "session", session, Beginnings::default()),
                }
            }
            NodeKind::Close { input, columns } => {
                let columns = columns.iter().map(|(column, low)| (*column, self.low_at(low))).collect();
                let close = Close::new(&node.schema, columns);
                self.in_event_time(&[input], node.id, "close", close)
            }
            _ => unreachable!("asked for what goes by time"),
        }
    }

    /// An operator whose groups event time may pass: then it goes on with `close`, the place of the time among the keys, and its bound.
    fn closing<O: Operator + 'static>(
        &mut self,
        (input, node): (&Node, u32),
        name: &'static str,
        operator: Result<O>,
        closing: Option<&Closing>,
        close: impl FnOnce(O, usize, LowAt) -> O,
    ) -> Flow<'scope, T> {
        match closing {
            Some(Closing { place, low, .. }) => {
                let low = self.low_at(low);
                self.in_event_time(&[input], node, name, operator.map(|operator| close(operator, *place, low)))
            }
            None => self.stateful(&[input], node, name, operator, Beginnings::default()),
        }
    }

    fn delta_join(&mut self, node: &Node, inputs: &[&Node]) -> Flow<'scope, T> {
        let kept: Vec<SharedKept> = inputs.iter().filter_map(|input| self.kept_of(input)).collect();
        self.kept.extend(kept.iter().cloned());
        let join = DeltaJoin::new(node, kept, &self.dataflow.errors);
        self.stateful(inputs, node.id, "delta_join", join, Beginnings::default())
    }

    /// Where the rows are that a node imports.
    fn kept_of(&self, node: &Node) -> Option<SharedKept> {
        match &node.kind {
            NodeKind::Import { object, columns, .. } => {
                let relation = Arc::clone(self.beginning.kept.get(object)?);
                Some(Rc::new(RefCell::new(Kept { object: *object, columns: columns.clone(), relation })))
            }
            NodeKind::Map { input, .. } => self.kept_of(input),
            _ => None,
        }
    }

    pub(super) fn stage(&self, node: u32) -> Stage {
        Stage { node, progress: Arc::clone(&self.dataflow.progress) }
    }

    fn stateless(&mut self, input: &Node, node: u32, name: &str, operator: Result<impl Stateless + 'static>) -> Flow<'scope, T> {
        let flow = self.node(input);
        self.stateless_over(flow, node, name, operator)
    }

    pub(super) fn stateless_over(
        &self,
        flow: Flow<'scope, T>,
        node: u32,
        name: &str,
        operator: Result<impl Stateless + 'static>,
    ) -> Flow<'scope, T> {
        match operator {
            Ok(operator) => stateless(flow, name, Box::new(operator), self.stage(node)),
            Err(error) => self.failed(flow, &error),
        }
    }

    /// An operator that could not be made: the dataflow has failed before it began.
    pub(super) fn failed(&self, flow: Flow<'scope, T>, error: &Error) -> Flow<'scope, T> {
        self.dataflow.progress.fail(error.to_string());
        flow
    }

    fn stateful(
        &mut self,
        inputs: &[&Node],
        node: u32,
        name: &'static str,
        operator: Result<impl Operator + 'static>,
        beginnings: Beginnings,
    ) -> Flow<'scope, T> {
        let mut flows: Vec<Flow<'scope, T>> = inputs.iter().map(|input| self.node(input)).collect();
        let mut operator = match operator {
            Ok(operator) => operator,
            Err(error) => return self.failed(flows.remove(0), &error),
        };
        let id = OperatorId { object: self.dataflow.object, node };
        self.restore(id, &mut operator);
        let operator: SharedOperator = Rc::new(RefCell::new(operator));
        self.operators.push((id, name, Rc::clone(&operator)));
        stateful(flows, name, operator, beginnings, self.stage(node))
    }

    /// An operator that has something to do when event time goes on, whether rows come or not; first of all when all that was there before
    /// has been read.
    fn in_event_time(
        &mut self,
        inputs: &[&Node],
        node: u32,
        name: &'static str,
        operator: Result<impl Operator + 'static>,
    ) -> Flow<'scope, T> {
        let initially = self.dataflow.restore.is_none().then_some(self.dataflow.last);
        let beginnings = Beginnings { initially, history: Some(Rc::clone(&self.history)) };
        self.stateful(inputs, node, name, operator, beginnings)
    }

    /// For the rows that come too late for a node.
    fn late_count(&self, node: u32, input: &Node, low: &Low, letter: Option<&[LetterColumn]>) -> Result<LateCount> {
        let operator = OperatorId { object: self.dataflow.object, node };
        // Of those that say how far event time is, the ones whose rows come through here, if they do so directly.
        let (told, read) = (low.objects(), input.imports());
        let own: BTreeSet<ObjectId> = read.iter().copied().filter(|object| told.contains(object) || told.contains(&NOW)).collect();
        LateCount::new(self.worker, LateSink::new(&self.dataflow.late, operator, if own.is_empty() { told } else { own }, letter))
    }

    fn session(&self, node: &Node) -> Result<Session> {
        let NodeKind::Session { input, keys, time, gap_us, closing, .. } = &node.kind else {
            return Err(Error::internal("not a session"));
        };
        let session = Session::new(&input.schema, keys, *time, *gap_us, Arc::clone(&node.schema))?;
        let session = match places(input, keys) {
            Some(places) => session.partitioned_by(places),
            None => session,
        };
        Ok(match closing {
            Some(SessionClosing { low, emits, letter }) => {
                session.closing(self.low_at(low), *emits, self.late_count(node.id, input, low, letter.as_deref())?)
            }
            None => session,
        })
    }

    fn low_at(&self, low: &Low) -> LowAt {
        LowAt::new(low.clone(), self.dataflow.last, Arc::clone(&self.dataflow.watermarks), Rc::clone(&self.history))
    }

    /// Gives an operator its state back, if there is any: the entries of the buckets that this worker owns.
    pub(super) fn restore(&self, id: OperatorId, operator: &mut dyn Operator) {
        if !self.dataflow.in_checkpoints {
            operator.without_checkpoints();
        }
        let Some(store) = &self.dataflow.restore else { return };
        let (worker, workers) = (self.worker, self.workers);
        assert!(workers <= BUCKETS, "a bucket belongs to one worker");
        let mine = move |bucket: u8| usize::from(bucket) % workers == worker;
        let mut entries = store.operator_state(id, &mine);
        if let Err(error) = operator.restore(&mut entries) {
            self.dataflow.progress.fail(format!("its state cannot be read back: {error}"));
        }
    }
}

impl<'scope> Renderer<'scope, Epoch> {
    /// Rows that are there from the first epoch on, on one worker.
    fn constant(&mut self, rows: Changes) -> Flow<'scope> {
        let first = self.dataflow.first;
        let mut rows = (self.worker == 0 && self.dataflow.restore.is_none()).then_some(rows);
        source::<_, NoopBuilder<Packet>, _, _>(self.scope, "constant", move |capability, _info| {
            let mut capability = Some(capability);
            move |output| {
                if let Some(capability) = capability.take()
                    && let Some(rows) = rows.take()
                {
                    let capability = capability.delayed(&first);
                    output.session_with_builder(&capability).give_container(&mut Packet::from(rows));
                }
            }
        })
    }
}

fn combine(node: &Node) -> Result<Combine> {
    let NodeKind::Combine { input, keys, aggregates, counts_changes } = &node.kind else {
        return Err(Error::internal("not a combine"));
    };
    let (append_only, output) = (input.properties.append_only, Arc::clone(&node.schema));
    let combine = Combine::new(&input.schema, append_only, keys.clone(), aggregates.clone(), output)?;
    Ok(if *counts_changes { combine.counting_changes() } else { combine })
}

fn as_of(node: &Node, low: Option<LowAt>) -> Result<AsOf> {
    let NodeKind::AsOf { input, keys, left, inclusive, forward, outer, .. } = &node.kind else {
        return Err(Error::internal("not an ASOF join"));
    };
    AsOf::new(AsOfSpec {
        input: Arc::clone(&input.schema),
        keys: *keys,
        left: *left,
        inclusive: *inclusive,
        forward: *forward,
        outer: *outer,
        output: Arc::clone(&node.schema),
        low,
    })
}

fn unnest(node: &Node, errors: &RowErrorSink) -> Result<Unnest> {
    let NodeKind::Unnest { lists, types, columns, outer, .. } = &node.kind else {
        return Err(Error::internal("not an unnest"));
    };
    Unnest::new(lists, types, columns.clone(), *outer, Arc::clone(&node.schema), errors)
}

fn top_n(node: &Node) -> Result<TopN> {
    let NodeKind::TopN { input, keys, order, ranking, offset, limit, numbered, candidates, .. } = &node.kind else {
        return Err(Error::internal("not a top-n"));
    };
    let top_n = TopN::new(TopNSpec {
        input: Arc::clone(&input.schema),
        append_only: input.properties.append_only,
        keys: keys.clone(),
        order: order.clone(),
        ranking: *ranking,
        offset: *offset,
        limit: *limit,
        numbered: *numbered,
        candidates: *candidates,
        output: Arc::clone(&node.schema),
    })?;
    Ok(match places(input, keys) {
        Some(places) => top_n.partitioned_by(places),
        None => top_n,
    })
}

fn window(node: &Node, errors: &RowErrorSink) -> Result<Window> {
    let NodeKind::Window { input, keys, order, calls, .. } = &node.kind else {
        return Err(Error::internal("not a window"));
    };
    let spec = WindowSpec {
        input: Arc::clone(&input.schema),
        keys: keys.clone(),
        order: order.clone(),
        calls: calls.clone(),
        output: Arc::clone(&node.schema),
    };
    let window = Window::new(spec, errors.clone())?;
    Ok(match places(input, keys) {
        Some(places) => window.partitioned_by(places),
        None => window,
    })
}

/// Which of `keys` (by their place among them) the input is partitioned by.
fn places(input: &Node, keys: &[usize]) -> Option<Vec<usize>> {
    let by = input.properties.partitioning.as_ref()?;
    Some(by.iter().filter_map(|column| keys.iter().position(|key| key == column)).collect())
}
