//! The plumbing that every operator shares: capabilities, stashing until an epoch closes, and what happens when an operator fails.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator as _, OutputBuilder, builder_rc::OperatorBuilder};

use crate::dataflow::operator::{Operator, Stateless};
use crate::dataflow::packet::{ByKey, Packet};
use crate::dataflow::progress::DataflowProgress;
use crate::dataflow::time::Time;
use crate::error::Result;
use crate::types::{Changes, Epoch};

/// A stream of changes within one dataflow.
pub(crate) type Flow<'scope, T = Epoch> = Stream<'scope, T, Packet>;

/// An operator with state, also reachable by the worker for checkpoints.
pub(crate) type SharedOperator = Rc<RefCell<dyn Operator>>;

/// Runs a stateless operator on each batch as it arrives.
pub(crate) fn stateless<'scope, T: Time>(
    input: Flow<'scope, T>,
    name: &str,
    mut operator: Box<dyn Stateless>,
    progress: Arc<DataflowProgress>,
) -> Flow<'scope, T> {
    input.unary::<NoopBuilder<Packet>, _, _, _>(Pipeline, name, move |_capability, _info| {
        let mut produced = Vec::new();
        move |input, output| {
            input.for_each(|capability, packet| {
                let Some(changes) = packet.take() else { return };
                guard(&progress, || operator.apply(changes, &mut produced));
                let mut session = output.session_with_builder(&capability);
                for changes in produced.drain(..) {
                    session.give_container(&mut Packet::from(changes));
                }
            });
        }
    })
}

/// Moves every row to the worker that owns its key.
pub(crate) fn exchange<T: Time>(input: Flow<'_, T>, keys: Vec<usize>) -> Flow<'_, T> {
    let pact = DistributorPact(move |_peers| ByKey { keys });
    input.unary::<NoopBuilder<Packet>, _, _, _>(pact, "exchange", |_capability, _info| {
        move |input, output| {
            input.for_each(|capability, packet| {
                output.session_with_builder(&capability).give_container(packet);
            });
        }
    })
}

/// Runs a stateful operator once for each time that has input, when the time closes; and once at `initially`, if given. Outside of loops a
/// time is an epoch.
pub(crate) fn stateful<'scope, T: Time>(
    inputs: Vec<Flow<'scope, T>>,
    name: &str,
    operator: SharedOperator,
    initially: Option<Epoch>,
    progress: Arc<DataflowProgress>,
) -> Flow<'scope, T> {
    let arity = inputs.len();
    let scope = inputs.first().expect("a stateful operator has an input").scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let mut handles: Vec<_> = inputs.into_iter().map(|input| builder.new_input(input, Pipeline)).collect();
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, NoopBuilder<Packet>>::from(output);
    builder.build(move |mut capabilities| {
        let mut pending: BTreeMap<T, Pending<T>> = BTreeMap::new();
        let capability = capabilities.pop().expect("one output, one capability");
        if let Some(time) = initially.map(T::first_of) {
            let capability = capability.delayed(&time);
            pending.insert(time, Pending { capability, inputs: vec![Vec::new(); arity] });
        }
        drop(capability);
        move |frontiers| {
            for (index, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, packet| {
                    let Some(changes) = packet.take() else { return };
                    let entry = pending
                        .entry(capability.time().clone())
                        .or_insert_with(|| Pending { capability: capability.retain(0), inputs: vec![Vec::new(); arity] });
                    entry.inputs[index].push(changes);
                });
            }
            while let Some(entry) = pending.first_entry() {
                if frontiers.iter().any(|frontier| frontier.less_equal(entry.key())) {
                    break;
                }
                let epoch = entry.key().epoch();
                let Pending { capability, inputs } = entry.remove();
                let mut produced = Vec::new();
                guard(&progress, || operator.borrow_mut().step(epoch, inputs, &mut produced));
                let mut session = output.activate();
                let mut session = session.session_with_builder(&capability);
                for changes in produced {
                    session.give_container(&mut Packet::from(changes));
                }
            }
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

/// What is stashed for a time that is still open.
struct Pending<T: Time> {
    capability: Capability<T>,
    inputs: Vec<Vec<Changes>>,
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown cause")
}
