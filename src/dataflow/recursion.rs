//! A recursion as a loop of timely: a nested scope, in whose times an iteration stands beside the epoch.
//!
//! ```text
//!   base ──enter──▶ head ──────┬────▶ leave ─▶ without iterations ─▶ net ──▶
//!                    ▲         ▼
//!                    │   operators of the term ◀──enter── what else it reads
//!                    └─ one iteration later
//! ```
//!
//! What the term reads besides the working table is rendered outside and enters at iteration 0. Within the loop stand the operators between
//! the working table and the end of the term: the same as everywhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::core::feedback::ConnectLoop;
use timely::dataflow::operators::core::{Enter, Feedback, Leave};
use timely::dataflow::operators::generic::{OutputBuilder, builder_rc::OperatorBuilder};

use crate::dataflow::driver::{Flow, guard};
use crate::dataflow::operator::Operator;
use crate::dataflow::operator::fixpoint::{Fixpoint, FixpointSpec};
use crate::dataflow::operator::map::Map;
use crate::dataflow::operator::net::Net;
use crate::dataflow::packet::Packet;
use crate::dataflow::progress::DataflowProgress;
use crate::dataflow::render::Renderer;
use crate::dataflow::time::{LoopTime, Rounds, Time};
use crate::error::{Error, Result};
use crate::plan::{Node, NodeKind};
use crate::types::{Changes, Epoch, OperatorId};

impl<'scope> Renderer<'scope, Epoch> {
    /// The loop of a `Recursion` node.
    pub(super) fn recursion(&mut self, node: &Node) -> Flow<'scope> {
        let NodeKind::Recursion { number, base, term, .. } = &node.kind else {
            unreachable!("called for a recursion");
        };
        let base = self.node(base);
        let head = match self.head(node) {
            Ok(head) => Rc::new(RefCell::new(head)),
            Err(error) => return self.failed(base, &error),
        };
        self.operators.push((OperatorId { object: self.dataflow.object, node: node.id }, "recursion", Rc::clone(&head) as _));
        let mut outside = Vec::new();
        self.outside(term, *number, &mut outside);
        let begin = self.dataflow.restore.is_none().then_some(self.dataflow.last);
        let outer = self.scope;
        let (working, operators) = outer.scoped::<LoopTime, _, _>("recursion", |inner| {
            let (handle, derived) = inner.feedback(Rounds(1));
            let working = turn(base.enter(inner), derived, head, begin, Arc::clone(&self.dataflow.progress));
            let mut entered: BTreeMap<u32, Flow<'_, LoopTime>> = outside.into_iter().map(|(id, flow)| (id, flow.enter(inner))).collect();
            for leaf in term.recurrences(*number) {
                entered.insert(leaf, working.clone());
            }
            let mut renderer = Renderer {
                scope: inner,
                dataflow: Arc::clone(&self.dataflow),
                beginning: Arc::clone(&self.beginning),
                history: std::rc::Rc::clone(&self.history),
                worker: self.worker,
                workers: self.workers,
                imports: Vec::new(),
                operators: Vec::new(),
                kept: Vec::new(),
                entered,
            };
            renderer.node(term).connect_loop(handle);
            debug_assert!(renderer.imports.is_empty() && renderer.kept.is_empty(), "what reads no working table is rendered outside");
            (working.leave(outer), renderer.operators)
        });
        self.operators.extend(operators);
        self.without_iterations(working, node)
    }

    /// Renders the largest parts of a term that do not read the working table.
    fn outside(&mut self, node: &Node, number: u32, flows: &mut Vec<(u32, Flow<'scope>)>) {
        if matches!(node.kind, NodeKind::Recurrence { .. }) {
            return;
        }
        if node.recurrences(number).is_empty() {
            let flow = self.node(node);
            flows.push((node.id, flow));
            return;
        }
        node.inputs().into_iter().for_each(|input| self.outside(input, number, flows));
    }

    fn head(&self, node: &Node) -> Result<Fixpoint> {
        let NodeKind::Recursion { name, term, distinct, iterations_max, .. } = &node.kind else {
            return Err(Error::internal("not a recursion"));
        };
        let mut head = Fixpoint::new(FixpointSpec {
            name: name.clone(),
            distinct: *distinct,
            iterations_max: *iterations_max,
            begin: if self.dataflow.restore.is_some() { 0 } else { self.dataflow.last },
            output: Arc::clone(&term.schema),
        })?;
        self.restore(OperatorId { object: self.dataflow.object, node: node.id }, &mut head);
        Ok(head)
    }

    /// The rows of all iterations: one that moved to another iteration has not changed.
    fn without_iterations(&mut self, working: Flow<'scope>, node: &Node) -> Flow<'scope> {
        let projection = node.schema.fields().iter().enumerate().map(|(index, field)| crate::plan::column(field.name(), index));
        let map = Map::new(None, projection.collect(), Arc::clone(&node.schema), self.dataflow.errors.clone());
        let rows = self.stateless_over(working, node.id, "without iterations", map);
        let net: Rc<RefCell<dyn Operator>> = Rc::new(RefCell::new(Net::new(Arc::clone(&node.schema))));
        crate::dataflow::driver::stateful(vec![rows], "net", net, crate::dataflow::driver::Beginnings::default(), self.stage(node.id))
    }
}

/// Drives the head of a loop: once for every iteration of an epoch in which it has something to do, when everything before has been done on
/// all workers. `begin`: the epoch in which it starts, if it waits for one.
fn turn<'scope>(
    base: Flow<'scope, LoopTime>,
    derived: Flow<'scope, LoopTime>,
    head: Rc<RefCell<Fixpoint>>,
    begin: Option<Epoch>,
    progress: Arc<DataflowProgress>,
) -> Flow<'scope, LoopTime> {
    let mut builder = OperatorBuilder::new("recursion".to_owned(), base.scope());
    let mut handles = [builder.new_input(base, Pipeline), builder.new_input(derived, Pipeline)];
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, NoopBuilder<Packet>>::from(output);
    builder.build(move |mut capabilities| {
        let mut pending: BTreeMap<LoopTime, (Capability<LoopTime>, Vec<Vec<Changes>>)> = BTreeMap::new();
        let nothing = || vec![Vec::new(), Vec::new()];
        let capability = capabilities.pop().expect("one output, one capability");
        if let Some(time) = begin.map(LoopTime::first_of) {
            pending.insert(time, (capability.delayed(&time), nothing()));
        }
        drop(capability);
        move |frontiers| {
            for (index, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, packet| {
                    let Some(changes) = packet.take() else { return };
                    let entry = pending.entry(*capability.time()).or_insert_with(|| (capability.retain(0), nothing()));
                    entry.1[index].push(changes);
                });
            }
            while let Some(entry) = pending.first_entry() {
                let time = *entry.key();
                if frontiers.iter().any(|frontier| frontier.less_equal(&time)) {
                    break;
                }
                let (capability, inputs) = entry.remove();
                let mut produced = Vec::new();
                let mut next = None;
                guard(&progress, || {
                    let mut head = head.borrow_mut();
                    head.step(time.epoch, inputs, &mut produced)?;
                    head.settle(time.epoch, time.iteration, &mut produced)?;
                    next = head.next_iteration(time.epoch);
                    Ok(())
                });
                let mut session = output.activate();
                let mut session = session.session_with_builder(&capability);
                for changes in produced {
                    session.give_container(&mut Packet::from(changes));
                }
                if let Some(iteration) = next {
                    let later = LoopTime { iteration, ..time };
                    pending.entry(later).or_insert_with(|| (capability.delayed(&later), nothing()));
                }
            }
        }
    });
    stream
}
