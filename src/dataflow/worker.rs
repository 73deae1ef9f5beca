//! The worker thread: takes commands, steps timely, hands changes from one dataflow to the next, reports frontiers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use timely::worker::Worker as Timely;

use crate::dataflow::command::{Beginning, Command, Dataflow, Tick, WorkerCheckpoint};
use crate::dataflow::driver::{SharedOperator, guard};
use crate::dataflow::event_time::SharedHistory;
use crate::dataflow::import::Import;
use crate::dataflow::operator::delta_join::SharedKept;
use crate::dataflow::render::{Rendered, render};
use crate::dataflow::sink::{Finished, sink};
use crate::state::{Relation, StateChanges};
use crate::types::{Epoch, ObjectId, OperatorId};

/// Batches of what was there before that a hydrating input reads before others get a turn.
const HYDRATION_BATCHES: usize = 4;

/// How long to sleep when all that could be done is to read a feed whose source has nothing yet: unnoticed by who waits for the view.
const FEED_POLL: Duration = Duration::from_millis(1);

/// Runs until `Command::Stop` or until nobody can send commands any more.
pub(crate) fn run(timely: &mut Timely, commands: &Receiver<Command>) {
    let mut worker = Worker {
        index: timely.index(),
        workers: timely.peers(),
        dataflows: BTreeMap::new(),
        readers: HashMap::new(),
        history: SharedHistory::default(),
        ticked: 0,
    };
    loop {
        let mut busy = false;
        loop {
            match commands.try_recv() {
                Ok(Command::Stop) | Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    worker.stop(timely);
                    return;
                }
                Ok(command) => {
                    busy = true;
                    worker.execute(timely, command);
                }
                Err(crossbeam_channel::TryRecvError::Empty) => break,
            }
        }
        let waiting = worker.hydrate(&mut busy);
        busy |= worker.hand_on();
        // Timely parks only when no operator has anything to do; commands and peers end that. A feed that has nothing at this moment wakes nobody.
        let limit = if busy { Some(Duration::ZERO) } else { waiting.then_some(FEED_POLL) };
        timely.step_or_park(limit);
    }
}

/// A dataflow as it runs here.
struct Running {
    spec: Arc<Dataflow>,
    /// Timely's number for it.
    index: usize,
    imports: Vec<Import>,
    operators: Vec<(OperatorId, &'static str, SharedOperator)>,
    /// The rows that its joins look into.
    kept: Vec<SharedKept>,
    /// What the sink has written and nobody has taken yet.
    finished: Finished,
    /// The first epoch that the sink has not finished here, of those that have reached it.
    finished_before: Rc<Cell<Epoch>>,
    reach: Reach,
    hydrating: bool,
}

/// Which epochs have reached a dataflow here, and what has been told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    /// No epoch from this one on has reached it.
    before: Epoch,
    /// Its frontier as last handed on.
    told: Epoch,
}

impl Reach {
    /// The first epoch that is not finished here, if the dataflow has finished those before `finished_before` that have reached it. The others are
    /// finished with the last one that has. It never goes back.
    fn frontier(self, finished_before: Epoch, ticked: Epoch) -> Epoch {
        let finished = if finished_before < self.before { finished_before } else { finished_before.max(ticked + 1) };
        finished.max(self.told)
    }

    /// Where its import of a view is closed that has this frontier: no epoch that has not reached it moves it.
    fn closed(self, frontier: Epoch) -> Epoch {
        frontier.min(self.before)
    }
}

struct Worker {
    index: usize,
    workers: usize,
    /// By view: the order of creation, so that each stands behind those it reads.
    dataflows: BTreeMap<ObjectId, Running>,
    /// Which dataflows read an object.
    readers: HashMap<ObjectId, Vec<ObjectId>>,
    /// How far event time was, epoch by epoch.
    history: SharedHistory,
    /// The newest epoch that was ticked here.
    ticked: Epoch,
}

impl Worker {
    fn execute(&mut self, timely: &mut Timely, command: Command) {
        match command {
            Command::Build(dataflow, beginning) => self.build(timely, dataflow, &beginning),
            Command::Drop(object) => self.remove(timely, object),
            Command::MoveColumns { object, places, relation } => self.move_columns(object, &places, relation.as_ref()),
            Command::Tick(tick) => self.tick(&tick),
            Command::Checkpoint { views, reply } => {
                // The coordinator has gone if nobody listens: then there is no checkpoint to make.
                drop(reply.send(self.checkpoint(&views)));
            }
            Command::Measure => self.measure(),
            Command::Stop => {}
        }
    }

    fn build(&mut self, timely: &mut Timely, spec: Arc<Dataflow>, beginning: &Arc<Beginning>) {
        let finished = Rc::new(RefCell::new(Vec::new()));
        let finished_before = Rc::new(Cell::new(0));
        let index = timely.next_dataflow_index();
        let (worker, workers, history) = (self.index, self.workers, Rc::clone(&self.history));
        let (mut imports, operators, kept) = timely.dataflow::<Epoch, _, _>(|scope| {
            let Rendered { output, imports, operators, kept } = render(scope, &spec, beginning, &history, (worker, workers));
            sink(output, &spec, worker, Rc::clone(&finished), Rc::clone(&finished_before));
            (imports, operators, kept)
        });
        for import in &mut imports {
            // What a view here has finished is in the snapshot or never comes; a view of constants will not say so again.
            if let Some(upstream) = self.dataflows.get(&import.object) {
                import.close(upstream.reach.told);
            }
            let readers = self.readers.entry(import.object).or_default();
            if !readers.contains(&spec.object) {
                readers.push(spec.object);
            }
        }
        let object = spec.object;
        let reach = Reach { before: spec.last + 1, told: 0 };
        let running = Running { spec, index, imports, operators, kept, finished, finished_before, reach, hydrating: true };
        self.dataflows.insert(object, running);
    }

    fn move_columns(&mut self, object: ObjectId, places: &[Option<usize>], relation: Option<&Arc<Relation>>) {
        for running in self.dataflows.values_mut() {
            running.imports.iter_mut().filter(|import| import.object == object).for_each(|import| import.move_columns(places));
            for kept in running.kept.iter().filter(|kept| kept.borrow().object == object) {
                let mut kept = kept.borrow_mut();
                for column in &mut kept.columns {
                    *column = places[*column].expect("a column that a plan reads is not dropped");
                }
                relation.iter().for_each(|relation| kept.relation = Arc::clone(relation));
            }
        }
    }

    fn remove(&mut self, timely: &mut Timely, object: ObjectId) {
        if let Some(running) = self.dataflows.remove(&object) {
            timely.drop_dataflow(running.index);
        }
        for readers in self.readers.values_mut() {
            readers.retain(|reader| *reader != object);
        }
    }

    fn stop(&mut self, timely: &mut Timely) {
        for (_, running) in std::mem::take(&mut self.dataflows) {
            timely.drop_dataflow(running.index);
        }
    }

    /// Gives each dataflow that the epoch reaches its share of the input, and closes the epoch for every input of theirs that comes from outside.
    fn tick(&mut self, tick: &Tick) {
        {
            let mut history = self.history.borrow_mut();
            history.note(tick.epoch, &tick.watermarks);
            // The slowest one asks for those of the epoch before the one that it is in.
            let slowest = self.dataflows.values().map(|running| running.reach.told).min().unwrap_or(tick.epoch);
            history.forget_before(slowest.saturating_sub(1));
        }
        self.ticked = tick.epoch;
        let told: BTreeMap<ObjectId, Epoch> = self.dataflows.iter().map(|(view, running)| (*view, running.reach.told)).collect();
        for (_, running) in self.dataflows.iter_mut().filter(|(view, _)| !tick.still.contains(view)) {
            running.reach.before = tick.epoch + 1;
            for import in &mut running.imports {
                if let Some(shares) = tick.inputs.get(&import.object) {
                    for changes in &shares[self.index] {
                        import.offer(tick.epoch, changes.clone());
                    }
                }
                // A view may have said for the last time how far it is.
                let frontier = told.get(&import.object).copied().unwrap_or(Epoch::MAX);
                import.close(running.reach.closed(frontier));
            }
        }
    }

    /// Reads on in what was there before. Returns whether some input waits for rows that are not there at this moment.
    fn hydrate(&mut self, busy: &mut bool) -> bool {
        let mut waiting = false;
        for running in self.dataflows.values_mut().filter(|running| running.hydrating) {
            let frontier = running.finished_before.get();
            if running.spec.target.is_full() {
                // Whoever takes it tells nobody here.
                waiting = true;
                continue;
            }
            for import in &mut running.imports {
                for _ in 0..HYDRATION_BATCHES {
                    if !import.is_hydrating() {
                        break;
                    }
                    match import.hydrate(frontier) {
                        Some(rows) => {
                            running.spec.progress.count_hydrated(rows);
                            *busy = true;
                        }
                        None => {
                            waiting = true;
                            break;
                        }
                    }
                }
            }
            if !running.imports.iter().any(Import::is_hydrating) {
                running.hydrating = false;
                running.spec.progress.hydrated();
            }
        }
        waiting
    }

    /// Hands what views have written to the dataflows that read them, large epochs in parts before they close, and tells frontiers. Returns whether
    /// anything moved.
    fn hand_on(&mut self) -> bool {
        let mut moved = false;
        let views: Vec<ObjectId> = self.dataflows.keys().copied().collect();
        for view in views {
            let running = self.dataflows.get_mut(&view).expect("listed above");
            let frontier = running.reach.frontier(running.finished_before.get(), self.ticked);
            let finished = std::mem::take(&mut *running.finished.borrow_mut());
            let advanced = frontier != running.reach.told;
            if !advanced && finished.is_empty() {
                continue;
            }
            moved = true;
            running.reach.told = frontier;
            let progress = Arc::clone(&running.spec.progress);
            for reader in self.readers.get(&view).map_or(&[][..], Vec::as_slice) {
                let Some(reader) = self.dataflows.get_mut(reader) else { continue };
                let closed = reader.reach.closed(frontier);
                for import in reader.imports.iter_mut().filter(|import| import.object == view) {
                    for (epoch, changes) in &finished {
                        import.offer_if_open(*epoch, changes);
                    }
                    import.close(closed);
                }
            }
            if advanced {
                progress.advance(self.index, frontier);
            }
        }
        moved
    }

    fn checkpoint(&mut self, views: &[ObjectId]) -> WorkerCheckpoint {
        let mut checkpoint = WorkerCheckpoint::default();
        for running in views.iter().filter_map(|view| self.dataflows.get(view)) {
            for (id, _, operator) in &running.operators {
                let mut changes = StateChanges::default();
                guard(&running.spec.progress, || operator.borrow_mut().checkpoint(&mut changes).and_then(|()| changes.complete()));
                if !changes.is_empty() {
                    checkpoint.operators.push((*id, changes));
                }
            }
        }
        checkpoint
    }

    fn measure(&self) {
        for running in self.dataflows.values() {
            let sizes: Vec<_> =
                running.operators.iter().map(|(id, name, operator)| (id.node, (*name).to_owned(), operator.borrow().size())).collect();
            running.spec.progress.report_sizes(self.index, sizes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reach;
    use crate::types::Epoch;

    #[test]
    fn epochs_that_do_not_reach_a_dataflow_are_finished_with_the_last_one_that_does() {
        let mut reach = Reach { before: 11, told: 0 };
        // Epoch 10 has reached it and is not finished; those behind it stand behind it, whatever they are.
        assert_eq!((reach.frontier(10, 10), reach.frontier(10, 14)), (10, 10));
        assert_eq!((reach.frontier(11, 10), reach.frontier(11, 14)), (11, 15));
        // What has been told stays true when an epoch reaches it again that it has not begun.
        reach = Reach { before: 16, told: 15 };
        assert_eq!((reach.frontier(11, 15), reach.frontier(16, 15), reach.frontier(16, 20)), (15, 16, 21));
        // One of constants has finished all at once.
        assert_eq!(reach.frontier(Epoch::MAX, 15), Epoch::MAX);
    }

    #[test]
    fn an_import_goes_no_further_than_its_dataflow() {
        let reader = Reach { before: 16, told: 15 };
        assert_eq!([12, 16, 20, Epoch::MAX].map(|frontier| reader.closed(frontier)), [12, 16, 16, 16]);
    }
}
