//! The plumbing that every operator shares: capabilities, stashing until an epoch closes, turns, and what happens when an operator fails.
//!
//! An operator that has much to give gives it in turns of a few milliseconds, between which commands, the operators behind it and other
//! dataflows get theirs; and it rests while too much waits behind it ([`Pressure`](super::pressure::Pressure)).

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator as _, OutputBuilder, OutputBuilderSession, builder_rc::OperatorBuilder};
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;

use crate::dataflow::event_time::SharedHistory;
use crate::dataflow::operator::{Operator, Stateless, Work};
use crate::dataflow::packet::{ByKey, Packet};
use crate::dataflow::pressure::REST;
use crate::dataflow::progress::DataflowProgress;
use crate::dataflow::time::Time;
use crate::error::Result;
use crate::types::{Changes, Epoch};

/// After this long others get their turn. A worker answers no command meanwhile; sending and scheduling cost microseconds.
const TURN: Duration = Duration::from_millis(4);

/// Rows and bytes of one epoch that are handed over before it closes, to an operator that takes parts. Ordinary epochs are smaller: those are
/// worked off at once.
const PART_ROWS: usize = 65_536;
const PART_BYTES: usize = 16 << 20;

/// A stream of changes within one dataflow.
pub(crate) type Flow<'scope, T = Epoch> = Stream<'scope, T, Packet>;

/// An operator with state, also reachable by the worker for checkpoints.
pub(crate) type SharedOperator = Rc<RefCell<dyn Operator>>;

/// Where an operator's output goes.
type Output<'a, T> = OutputBuilderSession<'a, T, NoopBuilder<Packet>>;

/// What a node of a plan shares with the others of its dataflow.
#[derive(Clone)]
pub(crate) struct Stage {
    /// The node's number.
    pub(crate) node: u32,
    /// The dataflow's.
    pub(crate) progress: Arc<DataflowProgress>,
}

/// Runs a stateless operator on each batch as it arrives.
pub(crate) fn stateless<'scope, T: Time>(
    input: Flow<'scope, T>,
    name: &str,
    operator: Box<dyn Stateless>,
    stage: Stage,
) -> Flow<'scope, T> {
    let scope = input.scope();
    input.unary::<NoopBuilder<Packet>, _, _, _>(Pipeline, name, move |_capability, info| {
        let mut turns = Turns::new(stage, scope.activator_for(info.address));
        let mut batches = Batches { operator, queue: VecDeque::new() };
        move |input, output| {
            input.for_each(|capability, packet| {
                if let Some(changes) = packet.take() {
                    batches.queue.push_back((capability.retain(0), changes));
                }
            });
            turns.run(&mut batches, output);
        }
    })
}

/// Moves every row to the worker that owns its key.
pub(crate) fn exchange<T: Time>(input: Flow<'_, T>, keys: Vec<usize>, stage: Stage) -> Flow<'_, T> {
    let arrived = stage.clone();
    let pact = DistributorPact(move |_peers| ByKey { keys, stage });
    input.unary::<NoopBuilder<Packet>, _, _, _>(pact, "exchange", |_capability, _info| {
        move |input, output| {
            input.for_each(|capability, packet| {
                arrived.progress.pressure().remove(arrived.node, packet.payload_bytes());
                output.session_with_builder(&capability).give_container(packet);
            });
        }
    })
}

/// When an operator runs without input.
#[derive(Default)]
pub(crate) struct Beginnings {
    /// Once, at this epoch.
    pub(crate) initially: Option<Epoch>,
    /// In every epoch that moves a watermark.
    pub(crate) history: Option<SharedHistory>,
}

/// Runs a stateful operator once for each time that has input, when the time closes, and before that on parts of it where the operator takes
/// those; and when `beginnings` says. Outside of loops a time is an epoch.
pub(crate) fn stateful<'scope, T: Time>(
    inputs: Vec<Flow<'scope, T>>,
    name: &str,
    operator: SharedOperator,
    beginnings: Beginnings,
    stage: Stage,
) -> Flow<'scope, T> {
    let Beginnings { initially, history } = beginnings;
    let arity = inputs.len();
    let scope = inputs.first().expect("a stateful operator has an input").scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let mut handles: Vec<_> = inputs.into_iter().map(|input| builder.new_input(input, Pipeline)).collect();
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, NoopBuilder<Packet>>::from(output);
    let mut turns = Turns::new(stage, scope.activator_for(builder.operator_info().address));
    builder.build(move |mut capabilities| {
        let takes_parts = operator.borrow().takes_parts();
        let mut pending: BTreeMap<T, Pending<T>> = BTreeMap::new();
        let capability = capabilities.pop().expect("one output, one capability");
        if let Some(time) = initially.map(T::first_of) {
            let capability = capability.delayed(&time);
            pending.insert(time, Pending::new(capability, arity));
        }
        let mut ticking = history.map(|history| Ticking { history, capability: Some(capability) });
        move |frontiers| {
            for (index, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, packet| {
                    let Some(changes) = packet.take() else { return };
                    let entry = pending.entry(capability.time().clone()).or_insert_with(|| Pending::new(capability.retain(0), arity));
                    if takes_parts {
                        entry.rows += changes.len();
                        entry.bytes += changes.payload_bytes();
                    }
                    entry.inputs[index].push(changes);
                });
            }
            if let Some(ticking) = &mut ticking {
                ticking.run(frontiers, arity, &mut pending);
            }
            let mut stash = Stash { operator: &operator, takes_parts, pending: &mut pending, frontiers };
            turns.run(&mut stash, &mut output.activate());
        }
    });
    stream
}

/// Runs `work` unless the dataflow has failed already; an error or a panic in it fails the dataflow and nothing else.
pub(crate) fn guard(progress: &DataflowProgress, work: impl FnOnce() -> Result<()>) {
    if progress.failure().is_some() {
        return;
    }
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => progress.fail_with(error),
        Err(panic) => progress.fail(format!("internal error: {}", panic_text(panic.as_ref()))),
    }
}

/// An operator and what waits for it.
trait Desk<T: Time> {
    /// What the operator takes at once.
    type Piece;

    /// The next piece that can be taken now, and the time of what comes of it.
    fn next(&mut self) -> Option<(Capability<T>, Self::Piece)>;

    /// Gives it to the operator.
    fn take(&mut self, piece: Self::Piece, produced: &mut Vec<Changes>) -> Result<()>;

    /// Lets the operator go on with it.
    fn resume(&mut self, produced: &mut Vec<Changes>) -> Result<Work>;

    /// Bytes that wait behind it.
    fn waiting_bytes(&self) -> usize;
}

/// One operator's turns.
struct Turns<T: Time> {
    stage: Stage,
    activator: Activator,
    /// The time of what the operator has taken and not worked off.
    left: Option<Capability<T>>,
    /// Bytes that the others have been told of.
    told: usize,
}

impl<T: Time> Turns<T> {
    fn new(stage: Stage, activator: Activator) -> Self {
        Turns { stage, activator, left: None, told: 0 }
    }

    /// Works off what can be worked off, until the turn is over.
    fn run(&mut self, desk: &mut impl Desk<T>, output: &mut Output<'_, T>) {
        let begin = Instant::now();
        let mut produced = Vec::new();
        loop {
            if let Some(capability) = self.left.take() {
                if self.stage.progress.pressure().is_high_behind(self.stage.node) {
                    self.left = Some(capability);
                    self.activator.activate_after(REST);
                    break;
                }
                let mut work = Work::Done;
                guard(&self.stage.progress, || {
                    work = desk.resume(&mut produced)?;
                    Ok(())
                });
                send(output, &capability, &mut produced);
                self.left = (work == Work::Left).then_some(capability);
            } else if let Some((capability, piece)) = desk.next() {
                guard(&self.stage.progress, || desk.take(piece, &mut produced));
                send(output, &capability, &mut produced);
                self.left = Some(capability);
            } else {
                break;
            }
            if begin.elapsed() >= TURN {
                self.activator.activate();
                break;
            }
        }
        self.tell(desk);
    }

    /// Tells those before this operator how much waits here that it can work off without them.
    fn tell(&mut self, desk: &impl Desk<T>) {
        let waiting = if self.left.is_some() { desk.waiting_bytes() } else { 0 };
        if waiting != self.told {
            let pressure = self.stage.progress.pressure();
            pressure.add(self.stage.node, waiting);
            pressure.remove(self.stage.node, std::mem::replace(&mut self.told, waiting));
        }
    }
}

fn send<T: Time>(output: &mut Output<'_, T>, capability: &Capability<T>, produced: &mut Vec<Changes>) {
    if produced.is_empty() {
        return;
    }
    let mut session = output.session_with_builder(capability);
    for changes in produced.drain(..) {
        session.give_container(&mut Packet::from(changes));
    }
}

/// A stateless operator with its batches, in the order of their arrival.
struct Batches<T: Time> {
    operator: Box<dyn Stateless>,
    queue: VecDeque<(Capability<T>, Changes)>,
}

impl<T: Time> Desk<T> for Batches<T> {
    type Piece = Changes;

    fn next(&mut self) -> Option<(Capability<T>, Changes)> {
        self.queue.pop_front()
    }

    fn take(&mut self, piece: Changes, produced: &mut Vec<Changes>) -> Result<()> {
        self.operator.apply(piece, produced)
    }

    fn resume(&mut self, produced: &mut Vec<Changes>) -> Result<Work> {
        self.operator.resume(produced)
    }

    fn waiting_bytes(&self) -> usize {
        self.queue.iter().map(|(_, changes)| changes.payload_bytes()).sum()
    }
}

/// A stateful operator with what is stashed for it.
struct Stash<'a, T: Time> {
    operator: &'a SharedOperator,
    takes_parts: bool,
    pending: &'a mut BTreeMap<T, Pending<T>>,
    /// Of its inputs.
    frontiers: &'a [MutableAntichain<T>],
}

/// What is stashed for a time.
struct Pending<T: Time> {
    capability: Capability<T>,
    inputs: Vec<Vec<Changes>>,
    /// Counted only for operators that take parts.
    rows: usize,
    bytes: usize,
}

impl<T: Time> Pending<T> {
    fn new(capability: Capability<T>, arity: usize) -> Self {
        Pending { capability, inputs: vec![Vec::new(); arity], rows: 0, bytes: 0 }
    }

    /// What has arrived so far.
    fn part(&mut self) -> Vec<Vec<Changes>> {
        (self.rows, self.bytes) = (0, 0);
        self.inputs.iter_mut().map(std::mem::take).collect()
    }
}

/// The epochs in which an operator runs because event time goes on.
struct Ticking<T: Time> {
    history: SharedHistory,
    /// Of the first epoch that has not been looked at; `None` when there will be no more.
    capability: Option<Capability<T>>,
}

impl<T: Time> Ticking<T> {
    /// Makes the closed epochs that moved a watermark pending.
    fn run(&mut self, frontiers: &[MutableAntichain<T>], arity: usize, pending: &mut BTreeMap<T, Pending<T>>) {
        let Some(capability) = &mut self.capability else { return };
        let open = frontiers.iter().flat_map(|frontier| frontier.frontier().iter().map(Time::epoch).collect::<Vec<_>>()).min();
        let from = capability.time().epoch();
        for epoch in self.history.borrow().changed(from..open.unwrap_or(Epoch::MAX)) {
            let time = T::first_of(epoch);
            pending.entry(time.clone()).or_insert_with(|| Pending::new(capability.delayed(&time), arity));
        }
        match open {
            Some(open) if open > from => capability.downgrade(&T::first_of(open)),
            Some(_) => {}
            None => self.capability = None,
        }
    }
}

/// Changes of one time: all that are left, or a part of them.
struct Arrived {
    epoch: Epoch,
    inputs: Vec<Vec<Changes>>,
    whole: bool,
}

impl<T: Time> Desk<T> for Stash<'_, T> {
    type Piece = Arrived;

    fn next(&mut self) -> Option<(Capability<T>, Arrived)> {
        let mut first = self.pending.first_entry()?;
        let epoch = first.key().epoch();
        let closed = !self.frontiers.iter().any(|frontier| frontier.less_equal(first.key()));
        // Every earlier time is over.
        let current = !self.frontiers.iter().any(|frontier| frontier.less_than(first.key()));
        if closed {
            let Pending { capability, inputs, .. } = first.remove();
            return Some((capability, Arrived { epoch, inputs, whole: true }));
        }
        let pending = first.get_mut();
        let large = pending.rows >= PART_ROWS || pending.bytes >= PART_BYTES;
        (self.takes_parts && current && large)
            .then(|| (pending.capability.clone(), Arrived { epoch, inputs: pending.part(), whole: false }))
    }

    fn take(&mut self, arrived: Arrived, produced: &mut Vec<Changes>) -> Result<()> {
        let mut operator = self.operator.borrow_mut();
        let Arrived { epoch, inputs, whole } = arrived;
        if whole { operator.step(epoch, inputs, produced) } else { operator.take_part(epoch, inputs, produced) }
    }

    fn resume(&mut self, produced: &mut Vec<Changes>) -> Result<Work> {
        self.operator.borrow_mut().resume(produced)
    }

    fn waiting_bytes(&self) -> usize {
        self.pending.values().map(|pending| pending.bytes).sum()
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown cause")
}
