//! GROUP BY, maintained, with every aggregate function there is, DISTINCT and FILTER; without functions it is DISTINCT.
//!
//! In: weighted rows. Out: per group and epoch at most one retraction (the row that was emitted before) and one insertion.
//! Holds: for every group a slot, and under that number a row of words, in which the accumulators have their places (counts of values share that of
//! the number of rows as long as they are the same). What has no fixed size is in columns of the accumulators' own. Nothing is kept of what was
//! emitted: before an epoch's rows go in, the words of the touched groups are copied, from which follows, at its end, what is retracted; where results do
//! not follow from words, they are computed before.
//! Always: what we have emitted equals the groups with rows, at each closed epoch. Results are those of DataFusion's batch aggregates
//! (integer and decimal sums wrap), with two exceptions: an average that overflows is NULL, and float sums are rounded only once.
//!
//! ```text
//! rows ─ keys ──▶ slots ─┬──────────────▶ row counts, accumulators ─ finish ─▶ changes
//!                        └─▶ distinct ──▶ accumulators of DISTINCT arguments
//! ```
//!
//! Functions are of three classes. Linear: an accumulator to which a row is added and from which it is taken away. Ordered: the first or
//! last of a set of values, in place where rows only come. General: the set of the group's (packed) rows, from which DataFusion's own
//! accumulator computes the result whenever the group is touched; or, where rows only come and their order does not matter, that
//! accumulator itself. A query may mix them: each has its place under the same slots.
//!
//! A slot is free, live (it has rows), or kept: without rows, but still in the last checkpoint, whose entry the next one must delete.
//!
//! Where a key is a time, groups go when event time has passed them (`expiry`): silently, or with their results if those were held back.

mod cells;
mod checkpoint;
#[cfg(test)]
mod class_tests;
mod codec;
pub mod combine;
mod distinct;
mod exact;
mod expiry;
mod extremes;
mod finish;
pub(super) mod keys;
mod layout;
mod moments;
mod multiset;
mod recompute;
mod running;
mod segments;
mod state;
mod sums;
#[cfg(test)]
mod tests;
mod unpack;
pub(super) mod value;
mod xors;

use std::collections::HashSet;
use std::mem::take;
use std::slice;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{FilterBuilder, concat};
use arrow::datatypes::{Int64Type, SchemaRef};

use self::cells::Taken;
use self::expiry::Closing;
use self::finish::Finish;
use self::keys::{KeyTable, key_table};
use self::layout::Layout;
use self::recompute::recompute;
use self::segments::{Bits, sort_slots};
use super::{Operator, StateSize};
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::{Error, Kind, Result};
use crate::plan::AggregateCall;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch, RowError, canonical_floats, rows_equal};

/// Groups whose results are computed at once, at the most: fewer than fit into a batch, so that their words, their keys and their columns before and
/// after, some 200 bytes a group together, stay in the second-level cache until they are put together. (In tests fewer, so that
/// those see many blocks.)
const BLOCK_GROUPS: usize = if cfg!(test) { 7 } else { 4_096 };

/// An incremental GROUP BY.
pub struct Aggregate {
    /// Positions of the key columns in the input.
    keys: Vec<usize>,
    /// Which of the keys (by their place among the keys) the input is exchanged by.
    partitioning: Vec<usize>,
    output: SchemaRef,
    groups: Groups,
    layout: Layout,
    /// For an aggregate without keys: its one row is there without input.
    global: Option<Global>,
    /// DISTINCT of an append-only input: a group that is there cannot change any more.
    presence_only: bool,
    /// The input never takes rows away.
    append_only: bool,
    /// Position of the column that says how many rows an input row stands for, where `Combine` made them.
    rows_at: Option<usize>,
    /// Where failures of general aggregates are told.
    errors: Option<RowErrorSink>,
    /// When groups go as event time passes them.
    closing: Option<Closing>,
    /// What the open epoch has done so far.
    open: Open,
}

/// An epoch of which some changes have been taken.
#[derive(Default)]
struct Open {
    touched: Touched,
    /// What `touched.existing` was before the epoch, so many groups each.
    old: Vec<(usize, Before)>,
    /// Whether rows were taken away.
    retracts: bool,
}

/// What some groups were.
enum Before {
    /// Their words, from which their results follow.
    Words(Vec<u64>),
    Results(Results),
}

/// What the functions say of some groups.
struct Results {
    columns: Vec<ArrayRef>,
    failures: Vec<Failure>,
}

/// A function that has no result for a group.
struct Failure {
    /// The function's place among the outputs.
    output: usize,
    /// The group's place among those that were asked for.
    place: usize,
    error: RowError,
}

/// The one group of an aggregate without keys.
struct Global {
    /// Whether this instance is the one that emits the row.
    owner: bool,
    /// Whether the row has been emitted.
    emitted: bool,
}

/// Which groups there are.
struct Groups {
    table: Box<dyn KeyTable>,
    /// Slots whose group has rows, as it was before the open epoch, and how many those are.
    live: Bits,
    live_groups: usize,
    /// Slots touched in this epoch.
    touched: Bits,
    /// Slots changed since the last checkpoint, as bits and as a list.
    dirty: Bits,
    dirty_slots: Vec<u32>,
    /// Slots whose group is in the last checkpoint.
    stored: Bits,
}

/// The slots that an epoch touches, each once.
#[derive(Default)]
struct Touched {
    /// With a row emitted before.
    existing: Vec<u32>,
    /// Without.
    fresh: Vec<u32>,
}

impl Aggregate {
    /// An aggregate over `input` by the columns at `keys`. `output` has the key columns, then one column per call.
    ///
    /// `input_append_only`: the input promises never to retract; MIN and MAX then keep one value per group. `is_global_owner` matters
    /// without keys only: this instance emits the one row. Fails with `NotSupported` for a function over a type it is not defined for.
    pub fn new(
        input: SchemaRef,
        input_append_only: bool,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
        output: SchemaRef,
        is_global_owner: bool,
    ) -> Result<Aggregate> {
        let types: Vec<_> = keys.iter().map(|key| input.field(*key).data_type().clone()).collect();
        let groups = Groups {
            table: key_table(&types)?,
            live: Bits::default(),
            live_groups: 0,
            touched: Bits::default(),
            dirty: Bits::default(),
            dirty_slots: Vec::new(),
            stored: Bits::default(),
        };
        Ok(Aggregate {
            partitioning: (0..keys.len()).collect(),
            global: keys.is_empty().then_some(Global { owner: is_global_owner, emitted: false }),
            presence_only: input_append_only && calls.is_empty() && !keys.is_empty(),
            layout: Layout::new(&input, input_append_only, &calls)?,
            keys,
            output,
            groups,
            append_only: input_append_only,
            rows_at: None,
            errors: None,
            closing: None,
            open: Open::default(),
        })
    }

    /// The second half of a split aggregate: as `new`, over the rows that `Combine` makes for the same keys and calls.
    pub fn merging(
        input: SchemaRef,
        input_append_only: bool,
        keys: usize,
        calls: &[AggregateCall],
        output: SchemaRef,
        is_global_owner: bool,
    ) -> Result<Aggregate> {
        let layout = Layout::merging(&input, input_append_only, calls, keys + 1)?;
        let whole = Aggregate::new(input, input_append_only, (0..keys).collect(), Vec::new(), output, is_global_owner)?;
        Ok(Aggregate { layout, presence_only: whole.presence_only && calls.is_empty(), rows_at: Some(keys), ..whole })
    }

    /// Tells where aggregates that fail for a group (and are NULL then) are reported.
    #[must_use]
    pub fn reporting_to(mut self, errors: RowErrorSink) -> Aggregate {
        self.errors = Some(errors);
        self
    }

    /// Says that the input is exchanged by some of the keys only (their places among the keys): decides the buckets of the state.
    #[must_use]
    pub fn partitioned_by(mut self, places: Vec<usize>) -> Aggregate {
        assert!(places.iter().all(|place| *place < self.keys.len()), "the input is partitioned by keys");
        self.partitioning = places;
        self
    }

    /// Finds the slots of a batch's rows and notes which groups are touched for the first time.
    fn locate(&mut self, changes: &Changes, touched: &mut Touched) -> Result<Vec<u32>> {
        let columns: Vec<ArrayRef> = self.keys.iter().map(|key| Arc::clone(changes.column(*key))).collect();
        let mut slots = Vec::new();
        self.groups.table.locate(&columns, changes.len(), &mut slots)?;
        self.grow();
        for slot in &slots {
            if self.presence_only && self.groups.live.get(*slot) {
                continue;
            }
            self.touch(*slot, touched);
        }
        Ok(slots)
    }

    /// Whether a batch takes rows away. Of rows that `Combine` made the numbers may say nothing of it: what came and went is netted there.
    fn retracts(&self, changes: &Changes) -> bool {
        let negative = || changes.weights().is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0));
        !self.append_only && (self.rows_at.is_some() || negative())
    }

    #[inline]
    fn touch(&mut self, slot: u32, touched: &mut Touched) {
        if self.groups.touched.set(slot) {
            return;
        }
        let existing = self.global.as_ref().map_or_else(|| self.groups.live.get(slot), |global| global.emitted);
        if existing { touched.existing.push(slot) } else { touched.fresh.push(slot) }
    }

    fn grow(&mut self) {
        let end = self.groups.table.end();
        let groups = &mut self.groups;
        groups.live.grow(end);
        groups.touched.grow(end);
        groups.dirty.grow(end);
        groups.stored.grow(end);
        self.layout.grow(end);
    }

    /// Takes changes of the open epoch into the groups, and notes what those were before.
    fn gather(&mut self, inputs: Vec<Vec<Changes>>) -> Result<()> {
        let Open { mut touched, mut old, mut retracts } = take(&mut self.open);
        if self.global.as_ref().is_some_and(|global| global.owner && !global.emitted) {
            self.grow();
            self.touch(0, &mut touched);
        }
        let known = touched.existing.len();
        let mut batches = Vec::new();
        for changes in inputs.into_iter().flatten().filter(|changes| !changes.is_empty()) {
            retracts |= self.retracts(&changes);
            let slots = self.locate(&changes, &mut touched)?;
            batches.push((changes, slots));
        }
        if !self.holds_back() {
            let existing = &mut touched.existing[known..];
            // In the order of their slots, what there is of them is read from one end to the other: now, and when they come out.
            sort_slots(existing, self.groups.table.end());
            for slots in self.blocks(existing) {
                old.push((slots.len(), self.before(slots)?));
            }
        }
        for (changes, slots) in batches {
            let batch = self.layout.look(&changes, &slots, self.rows_at);
            if batch.gives_another_meaning() {
                self.evaluate_before(&touched.existing, &mut old)?;
            }
            self.layout.update(&batch)?;
        }
        self.open = Open { touched, old, retracts };
        Ok(())
    }

    /// After an epoch's rows: the input must not have taken away what was not there.
    fn check(&self, touched: &Touched) -> Result<()> {
        let fewer = |slot: &u32| self.layout.cells.rows(*slot) < 0;
        let groups = touched.existing.iter().chain(&touched.fresh).filter(|slot| fewer(slot)).count();
        let accumulators = self.layout.accumulators.iter().map(|accumulator| accumulator.state.negative()).sum::<usize>();
        let values = accumulators + self.layout.distincts.iter().map(|distinct| distinct.values.negative()).sum::<usize>();
        if groups + values == 0 {
            return Ok(());
        }
        Err(Error::internal(format!("an aggregate's input retracted rows that were not there ({groups} groups, {values} values)")))
    }

    /// Clears what rounding left in groups that have rows but no values.
    fn settle(&mut self, touched: &Touched) -> Result<()> {
        for number in 0..self.layout.accumulators.len() {
            let accumulator = &self.layout.accumulators[number];
            let count = accumulator.count;
            if !accumulator.state.leaves_residue() {
                continue;
            }
            for slots in [&touched.existing, &touched.fresh].into_iter().flat_map(|slots| slots.chunks(BLOCK_GROUPS)) {
                let counts = self.counts(count, &self.layout.cells.take(slots))?;
                let Layout { cells, accumulators, .. } = &mut self.layout;
                let without = slots.iter().zip(counts.values()).filter(|(_, count)| **count == 0);
                without.for_each(|(slot, _)| accumulators[number].reset(*slot, cells));
            }
        }
        Ok(())
    }

    fn counts(&self, accumulator: Option<usize>, groups: &Taken) -> Result<Int64Array> {
        let counts = match accumulator {
            Some(number) => self.layout.accumulators[number].values(groups, state::End::Least)?,
            None => groups.row_counts(),
        };
        Ok(counts.as_primitive::<Int64Type>().clone())
    }

    /// Cuts a list of groups into parts whose results can be computed at once.
    fn blocks<'a>(&self, slots: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
        slots.chunks(BLOCK_GROUPS).flat_map(|slots| self.groups.table.blocks(slots))
    }

    /// What groups are before the epoch changes them.
    fn before(&self, slots: &[u32]) -> Result<Before> {
        if !self.layout.follows_from_words() {
            return self.evaluate(&self.layout.cells.take(slots)).map(Before::Results);
        }
        // With room for what they will be.
        let mut words = Vec::with_capacity(2 * slots.len() * self.layout.cells.width());
        self.layout.cells.copy_to(&mut words, slots);
        Ok(Before::Words(words))
    }

    /// Computes what follows from words, while it still does.
    fn evaluate_before(&self, existing: &[u32], old: &mut [(usize, Before)]) -> Result<()> {
        let mut rest = existing;
        for (count, before) in old {
            let (slots, others) = rest.split_at(*count);
            if let Before::Words(words) = before {
                *before = Before::Results(self.evaluate(&self.layout.cells.taken(slots, take(words)))?);
            }
            rest = others;
        }
        Ok(())
    }

    /// The results of groups, without their keys.
    fn evaluate(&self, groups: &Taken) -> Result<Results> {
        let mut counts: Vec<(Option<usize>, Int64Array)> = Vec::new();
        let mut columns = Vec::with_capacity(self.layout.outputs.len());
        let mut failures = Vec::new();
        for (number, output) in self.layout.outputs.iter().enumerate() {
            let mut failed = |place, error, row| failures.push(Failure { output: number, place, error: RowError { error, row } });
            if let (Finish::Recompute(general, result), Some(state)) = (&output.finish, output.state) {
                let rows = self.layout.accumulators[state].state.as_ref();
                let (results, failures) = recompute(general, rows, groups.slots, result)?;
                columns.push(canonical_floats(results));
                failures.into_iter().for_each(|(place, error)| failed(place, error, format!("{{{general:?}}}")));
                continue;
            }
            let partial = output.state.map(|state| self.layout.accumulators[state].values(groups, output.end)).transpose()?;
            if let (Finish::Extreme, Some(partial)) = (&output.finish, &partial) {
                columns.push(Arc::clone(partial));
                continue;
            }
            let count = output.count.filter(|number| !self.layout.accumulators[*number].is_every_row());
            let place = match counts.iter().position(|(known, _)| *known == count) {
                Some(place) => place,
                None => {
                    counts.push((count, self.counts(count, groups)?));
                    counts.len() - 1
                }
            };
            let results = output.finish.apply(partial, &counts[place].1)?;
            for place in output.finish.overflowed(&results, &counts[place].1) {
                let error = Error::new(Kind::NumericOutOfRange, "value overflows numeric format");
                failed(place, error.to_string(), String::new());
            }
            columns.push(canonical_floats(results));
        }
        Ok(Results { columns, failures })
    }

    /// Reports which of `new` failed; not those that failed before as well, which were told then.
    fn report(&self, old: &[Failure], new: Vec<Failure>) {
        let Some(errors) = self.errors.as_ref().filter(|_| !new.is_empty()) else { return };
        let known: HashSet<(usize, usize)> = old.iter().map(|failure| (failure.output, failure.place)).collect();
        let fresh = new.into_iter().filter(|failure| !known.contains(&(failure.output, failure.place)));
        let fresh: Vec<RowError> = fresh.map(|failure| failure.error).collect();
        if !fresh.is_empty() {
            errors.record(fresh.len() as u64, fresh);
        }
    }

    fn is_live(&self, slot: u32) -> bool {
        self.layout.cells.rows(slot) > 0 || self.global.is_some()
    }

    /// The results of groups as they were, then as they are; and the failures of both.
    fn before_and_now(&self, slots: &[u32], before: Before) -> Result<(Vec<ArrayRef>, [Vec<Failure>; 2])> {
        match before {
            Before::Words(mut words) => {
                self.layout.cells.copy_to(&mut words, slots);
                let twice = [slots, slots].concat();
                let Results { columns, failures } = self.evaluate(&self.layout.cells.taken(&twice, words))?;
                let (old, mut new): (Vec<_>, Vec<_>) = failures.into_iter().partition(|failure| failure.place < slots.len());
                new.iter_mut().for_each(|failure| failure.place -= slots.len());
                Ok((columns, [old, new]))
            }
            Before::Results(old) => {
                let new = self.evaluate(&self.layout.cells.take(slots))?;
                let columns = old.columns.iter().zip(&new.columns).map(|(old, new)| concat(&[old, new]));
                Ok((columns.collect::<Result<_, _>>()?, [old.failures, new.failures]))
            }
        }
    }

    /// Retracts the old rows and inserts the new ones of groups that had a row before, where they differ.
    fn emit_existing(&self, slots: &[u32], before: Before, output: &mut Vec<Changes>) -> Result<()> {
        let count = slots.len();
        let (mut results, [failed_before, fail_now]) = self.before_and_now(slots, before)?;
        self.report(&failed_before, fail_now);
        let differ = differences(&results, count)?;
        let here = BooleanBuffer::collect_bool(count, |place| self.is_live(slots[place]));
        let (retracted, inserted) = (&differ | &!&here, &differ & &here);
        let (taken_back, put) = (retracted.count_set_bits(), inserted.count_set_bits());
        if taken_back == 0 {
            return Ok(());
        }
        let mut weights = vec![-1; taken_back];
        weights.resize(taken_back + put, 1);
        let keys = |places: &BooleanBuffer| {
            let slots: Vec<u32> = places.set_indices().map(|place| slots[place]).collect();
            self.groups.table.columns(&slots)
        };
        let old_keys = keys(&retracted)?;
        let new_keys = if put == taken_back { old_keys.clone() } else { keys(&inserted)? };
        // Nearly always every group that was touched has changed and is still there.
        if taken_back + put < 2 * count {
            let mut chosen = BooleanBufferBuilder::new(2 * count);
            chosen.append_buffer(&retracted);
            chosen.append_buffer(&inserted);
            let chosen = FilterBuilder::new(&BooleanArray::from(chosen.finish())).optimize().build();
            results = results.iter().map(|column| chosen.filter(column)).collect::<Result<_, _>>()?;
        }
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for (old, new) in old_keys.iter().zip(&new_keys) {
            columns.push(concat(&[old, new])?);
        }
        columns.extend(results);
        output.push(Changes::new(self.batch(columns, taken_back + put)?, Some(Int64Array::from(weights))));
        Ok(())
    }

    /// Inserts the rows of groups that had none.
    fn emit_fresh(&self, slots: &[u32], output: &mut Vec<Changes>) -> Result<()> {
        let slots: Vec<u32> = slots.iter().copied().filter(|slot| self.is_live(*slot)).collect();
        if slots.is_empty() {
            return Ok(());
        }
        let mut columns = self.groups.table.columns(&slots)?;
        let results = self.evaluate(&self.layout.cells.take(&slots))?;
        self.report(&[], results.failures);
        columns.extend(results.columns);
        output.push(Changes::insertions(self.batch(columns, slots.len())?));
        Ok(())
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?)
    }

    /// Whether results come out only when groups are over.
    fn holds_back(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.emits)
    }

    /// Ends the epoch for some of the touched groups: those without rows lose their slots, unless the last checkpoint knows them.
    fn retire(&mut self, touched: &[u32]) {
        for slot in touched.iter().copied() {
            let live = self.layout.cells.rows(slot) > 0;
            self.set_live(slot, live);
            self.groups.touched.clear(slot);
            if !self.groups.dirty.set(slot) {
                self.groups.dirty_slots.push(slot);
            }
            if live || self.global.is_some() {
                continue;
            }
            self.layout.reset(slot);
            if !self.groups.stored.get(slot) {
                self.groups.table.remove(slot);
            }
        }
        if let Some(global) = &self.global {
            self.groups.live_groups = usize::from(global.emitted);
        }
    }

    /// Notes whether a group has rows.
    fn set_live(&mut self, slot: u32, live: bool) {
        let groups = &mut self.groups;
        let before = groups.live.put(slot, live);
        groups.live_groups = groups.live_groups + usize::from(live) - usize::from(before);
    }
}

impl Operator for Aggregate {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        self.gather(inputs)?;
        let Open { touched, old, retracts } = take(&mut self.open);
        if retracts {
            self.check(&touched)?;
            self.settle(&touched)?;
        }
        let mut existing = &touched.existing[..];
        for (count, old) in old {
            let (these, others) = existing.split_at(count);
            self.emit_existing(these, old, output)?;
            self.retire(these);
            existing = others;
        }
        self.retire(existing);
        if !self.holds_back() {
            for slots in self.blocks(&touched.fresh) {
                self.emit_fresh(slots, output)?;
            }
        }
        self.watch(&touched.fresh)?;
        if let Some(global) = &mut self.global {
            global.emitted |= !touched.fresh.is_empty();
        }
        self.retire(&touched.fresh);
        self.expire(epoch, output)
    }

    /// Sums do not depend on the order of what is summed, and what a group was before the epoch is known from when it is first touched.
    fn takes_parts(&self) -> bool {
        true
    }

    fn take_part(&mut self, _epoch: Epoch, inputs: Vec<Vec<Changes>>, _output: &mut Vec<Changes>) -> Result<()> {
        self.gather(inputs)
    }

    fn without_checkpoints(&mut self) {
        self.layout.distincts.iter_mut().for_each(|distinct| distinct.values.without_changes());
        self.layout.accumulators.iter_mut().for_each(|accumulator| accumulator.state.without_changes());
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.write_value_changes(changes);
        let dirty = take(&mut self.groups.dirty_slots);
        self.write_groups(&dirty, changes);
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.read_entry(&entry?)?;
        }
        let all: Vec<u32> = (0..self.groups.table.end() as u32).collect();
        self.watch(&all)
    }

    fn size(&self) -> StateSize {
        let groups = &self.groups;
        let marks =
            groups.live.bytes() + groups.touched.bytes() + groups.dirty.bytes() + groups.stored.bytes() + groups.dirty_slots.capacity() * 4;
        StateSize { rows: groups.live_groups, bytes: groups.table.bytes() + marks + self.layout.bytes() }
    }
}

/// In which of so many rows some column differs from the row that lies as many rows behind; NULL equals NULL.
fn differences(columns: &[ArrayRef], rows: usize) -> Result<BooleanBuffer> {
    let mut differ = BooleanBuffer::new_unset(rows);
    for column in columns {
        let (old, new) = (column.slice(0, rows), column.slice(rows, rows));
        differ = if column.data_type().is_nested() {
            let columns = slice::from_ref(column);
            &differ | &BooleanBuffer::collect_bool(rows, |row| !rows_equal(columns, row, columns, rows + row))
        } else {
            &differ | cmp::distinct(&old, &new)?.values()
        };
    }
    Ok(differ)
}
