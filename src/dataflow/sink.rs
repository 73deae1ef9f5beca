//! The end of every dataflow: writes what comes out to this worker's shard of the view, and keeps it for those that read the view; or puts it
//! into the outlet through which it leaves.
//!
//! In: changes by epoch. Out: the same, written, in batches of a bounded size. An epoch is written when it closes; a large one in parts, as it
//! arrives. A retraction that comes before what it retracts waits until that is there, at the latest until the epoch closes.
//! Always: what the relation holds at a closed epoch is the sum of all changes up to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator as _;

use crate::dataflow::command::{Dataflow, Target};
use crate::dataflow::driver::{Flow, guard};
use crate::error::Result;
use crate::types::{Changes, Epoch};

/// Rows and bytes that are written at once. Changes that cancel each other within them leave no trace, so ordinary epochs are smaller; large
/// enough, too, that pages are filled and looked up in bulk.
const WRITE_ROWS: usize = 262_144;
const WRITE_BYTES: usize = 32 << 20;

/// What has been written and not been handed on to those that read the view.
pub(super) type Finished = Rc<RefCell<Vec<(Epoch, Changes)>>>;

/// Ends `output`. `told` gets the first epoch that is not finished.
pub(super) fn sink(output: Flow<'_>, spec: &Arc<Dataflow>, worker: usize, finished: Finished, told: Rc<Cell<Epoch>>) {
    let mut pending: BTreeMap<Epoch, Gathered> = BTreeMap::new();
    let writer = Writer { spec: Arc::clone(spec), worker, finished };
    output.sink(Pipeline, "materialize", move |(input, frontier)| {
        input.for_each(|capability, packet| {
            if let Some(changes) = packet.take() {
                pending.entry(*capability.time()).or_default().push(changes);
            }
        });
        let open = frontier.frontier().first().copied().unwrap_or(Epoch::MAX);
        while let Some(mut entry) = pending.first_entry().filter(|entry| *entry.key() <= open) {
            let epoch = *entry.key();
            if epoch < open {
                let gathered = entry.remove();
                guard(&writer.spec.progress, || writer.finish(epoch, gathered));
                continue;
            }
            // All earlier epochs are written, so this one may begin.
            if entry.get().is_large() {
                guard(&writer.spec.progress, || writer.write(epoch, entry.get_mut()));
            }
            break;
        }
        told.set(open);
    });
}

/// Changes of one epoch that have arrived.
#[derive(Default)]
struct Gathered {
    batches: Vec<Changes>,
    rows: usize,
    bytes: usize,
    /// Retractions whose rows were not there.
    missing: Vec<Changes>,
}

impl Gathered {
    fn push(&mut self, changes: Changes) {
        self.rows += changes.len();
        self.bytes += changes.payload_bytes();
        self.batches.push(changes);
    }

    fn is_large(&self) -> bool {
        self.rows >= WRITE_ROWS || self.bytes >= WRITE_BYTES
    }

    fn take(&mut self) -> Vec<Changes> {
        (self.rows, self.bytes) = (0, 0);
        std::mem::take(&mut self.batches)
    }
}

struct Writer {
    spec: Arc<Dataflow>,
    worker: usize,
    finished: Finished,
}

impl Writer {
    /// Writes what has arrived of an epoch.
    fn write(&self, epoch: Epoch, gathered: &mut Gathered) -> Result<()> {
        self.spec.progress.count_out(gathered.rows);
        let arrived = gathered.take();
        if matches!(self.spec.target, Target::Nothing) {
            return Ok(());
        }
        for changes in Changes::regroup(&self.spec.plan.root.schema, arrived, WRITE_ROWS, WRITE_BYTES) {
            match &self.spec.target {
                Target::Relation(relation) => {
                    gathered.missing.extend(relation.apply_part(self.worker, epoch, &changes)?);
                    self.finished.borrow_mut().push((epoch, changes));
                }
                Target::Outlet(outlet) => outlet.push(epoch, changes),
                Target::Nothing => {}
            }
        }
        Ok(())
    }

    /// Writes the rest of an epoch: everything that can be retracted is there then.
    fn finish(&self, epoch: Epoch, mut gathered: Gathered) -> Result<()> {
        self.write(epoch, &mut gathered)?;
        let Target::Relation(relation) = &self.spec.target else { return Ok(()) };
        gathered.missing.iter().try_for_each(|changes| relation.apply(self.worker, epoch, changes))
    }
}
