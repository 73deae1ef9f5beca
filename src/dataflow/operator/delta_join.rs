//! A join that keeps nothing: what changes in one input finds rows of the others where their tables and views keep them.
//!
//! In: per input a list of changes per epoch. Out: rows of all inputs that belong together, with the weight of the change.
//! Holds: nothing between epochs.
//!
//! ```text
//! Δ(A ⋈ B ⋈ C)   =   ΔA ⋈ B ⋈ C   +   A' ⋈ ΔB ⋈ C   +   A' ⋈ B' ⋈ ΔC          A' = A + ΔA
//! ```
//!
//! A relation knows its rows as of every epoch that somebody may ask for. So inputs that stand before the changed one are read as of this
//! epoch, those behind it as of the one before: each pair of changes meets once. All of them have written the epoch when it closes here.
//!
//! Rows are found and read a bounded number at a time, depth first: a piece goes all the way along its path before the next one is begun.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};

use super::map::Map;
use super::output::OutputSchema;
use super::rows::{PART_BYTES, PART_ROWS};
use super::{Operator, StateSize, Stateless, Work};
use crate::dataflow::expr::Condition;
use crate::dataflow::row_errors::{RowErrorLog, RowErrorSink};
use crate::error::{Error, Result};
use crate::plan::{Lookup, Node, NodeKind, column, identity};
use crate::state::{Found, Relation, StateChanges, StateEntry};
use crate::types::{Changes, Epoch, ObjectId};

/// Rows looked up at once, and rows found with which a lookup stops (behind those of the last key): writers of the relation wait meanwhile.
const PROBES: usize = 4_096;
const FOUND_ROWS: usize = 16_384;

/// The rows of one input, where its table or view keeps them.
pub struct Kept {
    /// Whose they are.
    pub object: ObjectId,
    /// The positions of the columns that are read.
    pub columns: Vec<usize>,
    /// Where they are.
    pub relation: Arc<Relation>,
}

/// Shared with the worker, which tells it when columns stand elsewhere.
pub type SharedKept = Rc<RefCell<Kept>>;

/// A delta join.
pub struct DeltaJoin {
    inputs: Vec<Input>,
    paths: Vec<Vec<Step>>,
    output: OutputSchema,
    append_only: bool,
    epoch: Epoch,
    /// Changes of all inputs but the first that are still to come: they read what others wrote in the epoch.
    later: Vec<(usize, Changes)>,
    tasks: VecDeque<(usize, Changes)>,
    /// Rows on their way along a path, the furthest last.
    underway: Vec<Underway>,
}

/// One input.
pub(super) struct Input {
    kept: SharedKept,
    /// Makes the input's columns of the relation's, and puts the number of the probe behind them.
    map: Map,
    /// Of the relation's columns that are read, and the number of the probe.
    schema: SchemaRef,
    /// Where its columns stand among those of all inputs.
    columns: Range<usize>,
}

/// One lookup of a path.
struct Step {
    input: usize,
    index: Option<ObjectId>,
    keys: Vec<usize>,
    condition: Option<Condition>,
}

/// Rows that have come to the same place of their path.
struct Rows {
    /// The columns of all inputs; `None`: the path has not come to that input.
    columns: Vec<Option<ArrayRef>>,
    weights: Option<Int64Array>,
    count: usize,
}

/// Rows that look for others.
struct Underway {
    from: usize,
    /// Which step of the path is next.
    step: usize,
    rows: Rows,
    /// Rows from here on have not looked yet.
    next: usize,
    /// Bytes of each row, about.
    row_bytes: usize,
    /// What the last lookup found: from which row on it looked, what it found, and how much of that is done.
    found: (usize, Found, usize),
}

impl DeltaJoin {
    /// A delta join over the inputs of `node`, whose rows are in `kept`.
    pub fn new(node: &Node, kept: Vec<SharedKept>, errors: &RowErrorSink) -> Result<Self> {
        let NodeKind::DeltaJoin { inputs, paths, .. } = &node.kind else {
            return Err(Error::internal("not a delta join"));
        };
        if kept.len() != inputs.len() {
            return Err(Error::internal("a delta join of something that keeps no rows"));
        }
        let mut known = Vec::with_capacity(inputs.len());
        let mut first = 0;
        for (input, kept) in inputs.iter().zip(kept) {
            let columns = first..first + input.schema.fields().len();
            first = columns.end;
            known.push(Input::new(input, kept, columns)?);
        }
        let step = |lookup: &Lookup| {
            let condition = lookup.condition.as_ref().map(|condition| Condition::new(condition, &node.schema, errors.clone()));
            Ok(Step { input: lookup.input, index: lookup.index, keys: lookup.keys.clone(), condition: condition.transpose()? })
        };
        Ok(DeltaJoin {
            inputs: known,
            paths: paths.iter().map(|path| path.iter().map(step).collect()).collect::<Result<_>>()?,
            output: OutputSchema::new(Arc::clone(&node.schema)),
            append_only: node.properties.append_only,
            epoch: 0,
            later: Vec::new(),
            tasks: VecDeque::new(),
            underway: Vec::new(),
        })
    }

    /// Takes the changes of the first input at once, and the others when the epoch ends.
    fn take(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>) {
        self.epoch = epoch;
        for (input, changes) in inputs.into_iter().enumerate() {
            let pieces = changes.iter().flat_map(pieces).map(|piece| (input, piece));
            if input == 0 { self.tasks.extend(pieces) } else { self.later.extend(pieces) }
        }
    }

    fn begin(&mut self, from: usize, changes: Changes) {
        let count = changes.len();
        let (batch, weights) = changes.into_parts();
        let width = self.inputs.last().map_or(0, |input| input.columns.end);
        let mut columns = vec![None; width];
        for (place, column) in self.inputs[from].columns.clone().zip(batch.columns()) {
            columns[place] = Some(ArrayRef::clone(column));
        }
        self.underway.push(Underway::new(from, 0, Rows { columns, weights, count }));
    }

    /// Goes on with the rows that have come furthest: looks up a few, or reads a few of those found.
    fn go_on(&mut self, mut underway: Underway, output: &mut Vec<Changes>) -> Result<()> {
        let step = &self.paths[underway.from][underway.step];
        let input = &mut self.inputs[step.input];
        if underway.is_read() {
            if underway.next < underway.rows.count {
                let as_of = if step.input < underway.from { self.epoch } else { self.epoch - 1 };
                underway.look(input, step, as_of)?;
                self.underway.push(underway);
            }
            return Ok(());
        }
        let further = underway.read(input, step)?;
        let (from, next) = (underway.from, underway.step + 1);
        self.underway.push(underway);
        let Some(rows) = further else { return Ok(()) };
        if next < self.paths[from].len() {
            self.underway.push(Underway::new(from, next, rows));
            return Ok(());
        }
        let columns = rows.columns.into_iter().map(|column| column.expect("the path has come to all inputs")).collect();
        output.push(self.output.changes(columns, rows.count, if self.append_only { None } else { rows.weights })?);
        Ok(())
    }
}

impl Operator for DeltaJoin {
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, _output: &mut Vec<Changes>) -> Result<()> {
        self.take(epoch, inputs);
        self.tasks.extend(self.later.drain(..));
        Ok(())
    }

    fn resume(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        if let Some(underway) = self.underway.pop() {
            self.go_on(underway, output)?;
        } else if let Some((from, changes)) = self.tasks.pop_front() {
            self.begin(from, changes);
        }
        Ok(if self.underway.is_empty() && self.tasks.is_empty() { Work::Done } else { Work::Left })
    }

    /// The first input reads all others as they were before the epoch.
    fn takes_parts(&self) -> bool {
        true
    }

    fn take_part(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, _output: &mut Vec<Changes>) -> Result<()> {
        self.take(epoch, inputs);
        Ok(())
    }

    fn checkpoint(&mut self, _changes: &mut StateChanges) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize::default()
    }
}

impl Input {
    /// The input that `node` is, whose rows are in `kept`.
    pub(super) fn new(node: &Node, kept: SharedKept, columns: Range<usize>) -> Result<Self> {
        let (predicate, mut projection, import) = match &node.kind {
            NodeKind::Map { input, predicate, projection } => (predicate.clone(), projection.clone(), input.as_ref()),
            _ => (None, identity(&node.schema), node),
        };
        let probe = || Field::new("probe", DataType::UInt32, false);
        let with_probe = |schema: &Schema| {
            let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).chain([probe()]);
            SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()))
        };
        projection.push(column("probe", import.schema.fields().len()));
        // What fails was told when the row came in.
        let silent = Arc::new(RowErrorLog::default()).sink(0);
        let map = Map::new(predicate, projection, with_probe(&node.schema), silent)?;
        Ok(Input { kept, map, schema: with_probe(&import.schema), columns })
    }

    /// The rows under these values of the primary key, one for each probe at the most.
    pub(super) fn find(&self, keys: &[ArrayRef], as_of: Epoch) -> Result<Found> {
        Ok(self.kept.borrow().relation.find(keys, usize::MAX, as_of)?.0)
    }

    /// Some of the rows found, as this input's: its columns and, last, for each row the probe that found it.
    pub(super) fn read(&mut self, found: &Found, rows: Range<usize>) -> Result<Option<Vec<ArrayRef>>> {
        let kept = self.kept.borrow();
        let mut columns = kept.columns.iter().map(|column| found.gather(*column, rows.clone())).collect::<Result<Vec<_>>>()?;
        columns.push(Arc::new(UInt32Array::from(found.probes()[rows].to_vec())));
        let mut read = Vec::new();
        self.map.apply(Changes::insertions(RecordBatch::try_new(Arc::clone(&self.schema), columns)?), &mut read)?;
        Ok(read.pop().map(|changes| changes.into_parts().0.columns().to_vec()))
    }
}

impl Underway {
    fn new(from: usize, step: usize, rows: Rows) -> Self {
        let row_bytes = rows.bytes() / rows.count.max(1);
        Underway { from, step, rows, next: 0, row_bytes, found: (0, Found::default(), 0) }
    }

    /// Whether all that was found has been read.
    fn is_read(&self) -> bool {
        self.found.2 == self.found.1.len()
    }

    /// Has the next rows look for theirs.
    fn look(&mut self, input: &Input, step: &Step, as_of: Epoch) -> Result<()> {
        let count = PROBES.min(self.rows.count - self.next);
        let key = |column: &usize| self.rows.columns[*column].as_ref().expect("the path has come to the input").slice(self.next, count);
        let keys: Vec<ArrayRef> = step.keys.iter().map(key).collect();
        let relation = &input.kept.borrow().relation;
        let (found, probes) = match step.index {
            None => relation.find(&keys, FOUND_ROWS, as_of)?,
            Some(index) => {
                let Some(found) = relation.find_by_index(index, &keys, FOUND_ROWS, as_of) else {
                    // It is still being made: this helps, and the next turn looks again.
                    relation.fill_index(index).ok_or_else(|| Error::internal("an index that a view needs is gone"))?;
                    return Ok(());
                };
                found
            }
        };
        self.found = (self.next, found, 0);
        self.next += probes;
        Ok(())
    }

    /// Some more of what was found, with the rows that found it, as far as the condition holds.
    fn read(&mut self, input: &mut Input, step: &Step) -> Result<Option<Rows>> {
        let (base, found, done) = &mut self.found;
        let (start, mut bytes) = (*done, 0);
        while *done < found.len() && *done - start < PART_ROWS && bytes < PART_BYTES {
            bytes += found.row_bytes(*done) + self.row_bytes;
            *done += 1;
        }
        let rows = start..*done;
        let Some(mut read) = input.read(found, rows)? else { return Ok(None) };
        let probes = read.pop().expect("the number of the probe is the last column");
        let probes: UInt32Array = probes.as_primitive::<UInt32Type>().unary(|probe| probe + *base as u32);
        let mut together = self.rows.take(&probes)?;
        for (place, column) in input.columns.clone().zip(read) {
            together.columns[place] = Some(column);
        }
        match &step.condition {
            Some(condition) => together.keep(condition),
            None => Ok(Some(together)),
        }
    }
}

impl Rows {
    fn bytes(&self) -> usize {
        self.columns.iter().flatten().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum()
    }

    fn take(&self, rows: &UInt32Array) -> Result<Rows> {
        let column = |column: &Option<ArrayRef>| column.as_ref().map(|column| take(column, rows, None)).transpose();
        let weights = self.weights.as_ref().map(|weights| rows.values().iter().map(|row| weights.value(*row as usize)).collect());
        Ok(Rows { columns: self.columns.iter().map(column).collect::<Result<_, _>>()?, weights, count: rows.len() })
    }

    /// The rows for which a condition is true, if there are any.
    fn keep(self, condition: &Condition) -> Result<Option<Rows>> {
        let read = |column: usize| Ok(self.columns[column].clone().expect("checked where all its columns are there"));
        let mask = condition.mask(self.count, self.weights.as_ref(), read)?;
        match mask.true_count() {
            0 => Ok(None),
            all if all == self.count => Ok(Some(self)),
            count => {
                let column = |column: Option<ArrayRef>| column.map(|column| filter(&column, &mask)).transpose();
                let columns = self.columns.into_iter().map(column).collect::<Result<_, _>>()?;
                let weights = self.weights.map(|weights| filter(&weights, &mask)).transpose()?;
                Ok(Some(Rows { columns, weights: weights.map(|weights| weights.as_primitive().clone()), count }))
            }
        }
    }
}

/// Pieces of a bounded number of rows.
pub(super) fn pieces(changes: &Changes) -> impl Iterator<Item = Changes> {
    (0..changes.len()).step_by(PART_ROWS).map(|first| changes.slice(first, PART_ROWS.min(changes.len() - first)))
}
