//! The head of a loop: `WITH RECURSIVE`, maintained under insertions and retractions.
//!
//! Algorithm: differential iteration (McSherry, Murray, Isaacs and Isard, "Differential dataflow", CIDR 2013), with the iteration as a
//! column of the rows instead of a part of their times.
//!
//! ```text
//! V₀ = base                        UNION ALL
//! Vᵢ₊₁ = term(Vᵢ)
//!
//! V₀ = distinct base               UNION
//! Vᵢ₊₁ = distinct term(Vᵢ), without the rows of V₀ … Vᵢ
//! ```
//!
//! The loop holds all working tables of the last epoch at once: `V` is one relation of rows with the number of their iteration. `term` is
//! planned to carry the number along, so its operators are the ordinary ones with ordinary state, and a change of another relation in the
//! term meets the rows of all iterations in one step. What comes back is the change of `Vᵢ₊₁` with the number `i`; it waits here for iteration
//! `i + 1` of the epoch. By then everything that could still change the iterations before it has been told, so every iteration is brought up
//! to date once, in order, and only where there is something to do.
//!
//! UNION: a row belongs to the first iteration that derives it. So per row it is kept how often it is derived at which iteration, and what
//! is emitted is the change of the first one. Counting by iteration is what makes deletions right: rows of a cycle that support each other
//! stand at different iterations, and when the way into the cycle is gone each falls with the one before it.
//!
//! In: changes of the base; changes of the term with the iteration of the rows they came from as the last column. Out, iteration by iteration:
//! changes of `V`, with the iteration as the last column. Holds for UNION every row with its iterations; for UNION ALL nothing beyond an epoch.

mod levels;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use std::sync::Arc;

use self::levels::Levels;
use super::aggregate::keys::{KeyTable, key_table};
use super::output::OutputSchema;
use super::rows::part_ranges;
use super::{Operator, StateSize};
use crate::error::{Error, Kind, Result};
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch, bucket, hash_rows};

/// Rows of a batch that goes out: large enough for vectors, small enough to be passed on early.
const BATCH_ROWS: usize = 16_384;

/// Bytes of a level in a checkpoint: iteration and count.
const LEVEL_BYTES: usize = 12;

/// What a loop is made of.
pub struct FixpointSpec {
    /// The recursive query's name, for messages.
    pub name: String,
    /// UNION instead of UNION ALL.
    pub distinct: bool,
    /// No row may belong to a later iteration than this one.
    pub iterations_max: u32,
    /// Before this epoch changes are only gathered: its inputs are of different ages until then, and a recursion over such a mixture
    /// need not end.
    pub begin: Epoch,
    /// The rows' columns, then their iteration.
    pub output: SchemaRef,
}

/// The working tables of all iterations.
pub struct Fixpoint {
    spec: FixpointSpec,
    rows: Box<dyn KeyTable>,
    /// By the row's slot in `rows`.
    held: Vec<Held>,
    /// What is to be done at which iteration: rows by slot, and by how much the times they are derived there change.
    waiting: BTreeMap<u32, Vec<(u32, i64)>>,
    /// Rows that differ from what the last checkpoint knows of them.
    dirty: Vec<u32>,
    /// Whether anybody asks for them.
    lists_dirty: bool,
    /// Rows that have a level.
    live: usize,
    output: OutputSchema,
}

/// What is known of one row.
#[derive(Default)]
struct Held {
    levels: Levels,
    /// How often it stands in `waiting`.
    waiting: u32,
    /// It stands in `dirty`.
    dirty: bool,
    /// The last checkpoint has it.
    stored: bool,
}

impl Held {
    fn is_needed(&self) -> bool {
        self.waiting > 0 || self.stored || !self.levels.is_empty()
    }
}

impl Fixpoint {
    /// A loop in which nothing has gone round. Fails for columns whose types cannot be held.
    pub fn new(spec: FixpointSpec) -> Result<Self> {
        let width = spec.output.fields().len() - 1;
        let types: Vec<DataType> = spec.output.fields()[..width].iter().map(|field| field.data_type().clone()).collect();
        let output = OutputSchema::new(Arc::clone(&spec.output));
        let (held, waiting) = (Vec::new(), BTreeMap::new());
        Ok(Fixpoint { rows: key_table(&types)?, spec, held, waiting, dirty: Vec::new(), lists_dirty: true, live: 0, output })
    }

    /// Brings one iteration of an epoch up to date, of which everything before has been; pushes what changes in it to `output`.
    /// Fails when rows belong to an iteration beyond the limit.
    pub fn settle(&mut self, epoch: Epoch, iteration: u32, output: &mut Vec<Changes>) -> Result<()> {
        if epoch < self.spec.begin {
            return Ok(());
        }
        let Some(mut changes) = self.waiting.remove(&iteration) else { return Ok(()) };
        changes.sort_unstable_by_key(|(slot, _)| *slot);
        let mut emitted: Vec<(u32, i64)> = Vec::new();
        let mut freed: Vec<u32> = Vec::new();
        for same in changes.chunk_by(|left, right| left.0 == right.0) {
            let (slot, weight) = (same[0].0, same.iter().map(|(_, weight)| weight).sum());
            self.held[slot as usize].waiting -= same.len() as u32;
            let change = if self.spec.distinct { self.derived(slot, iteration, weight) } else { weight };
            if change != 0 {
                emitted.push((slot, change));
            }
            if !self.held[slot as usize].is_needed() {
                freed.push(slot);
            }
        }
        if iteration > self.spec.iterations_max && !emitted.is_empty() {
            return Err(self.endless());
        }
        self.emit(&emitted, iteration, output)?;
        freed.into_iter().for_each(|slot| self.forget(slot));
        Ok(())
    }

    /// The next iteration of an epoch in which there is something to do, whatever else arrives until then.
    pub fn next_iteration(&self, epoch: Epoch) -> Option<u32> {
        if epoch < self.spec.begin { None } else { self.waiting.keys().next().copied() }
    }

    /// Keeps changes until their iteration comes: that of the base is 0, that of the term the one behind where it read.
    fn gather(&mut self, changes: &Changes, of_term: bool) -> Result<()> {
        let width = self.output.promised().fields().len() - 1;
        let columns = &changes.rows().columns()[..width];
        let mut slots = Vec::with_capacity(changes.len());
        self.rows.locate(columns, changes.len(), &mut slots)?;
        self.grow();
        let read = of_term.then(|| changes.column(width).as_primitive::<Int64Type>());
        for (row, slot) in slots.into_iter().enumerate() {
            let iteration = read.map_or(0, |read| u32::try_from(read.value(row)).unwrap_or(u32::MAX).saturating_add(1));
            self.wait(iteration, slot, changes.weight(row));
        }
        Ok(())
    }

    fn wait(&mut self, iteration: u32, slot: u32, weight: i64) {
        self.held[slot as usize].waiting += 1;
        self.waiting.entry(iteration).or_default().push((slot, weight));
    }

    /// UNION: a row is derived more or less often at an iteration. Gives what that changes there.
    fn derived(&mut self, slot: u32, iteration: u32, weight: i64) -> i64 {
        let held = &mut self.held[slot as usize];
        let was_live = !held.levels.is_empty();
        if weight != 0 {
            held.levels.add(iteration, weight);
            if self.lists_dirty && !held.dirty {
                held.dirty = true;
                self.dirty.push(slot);
            }
        }
        let (change, next) = held.levels.settle(iteration);
        let is_live = !held.levels.is_empty();
        self.live = self.live + usize::from(is_live) - usize::from(was_live);
        if let Some(next) = next {
            self.wait(next, slot, 0);
        }
        change
    }

    fn emit(&self, rows: &[(u32, i64)], iteration: u32, output: &mut Vec<Changes>) -> Result<()> {
        for range in part_ranges(rows.len(), |at| self.rows.key_bytes(rows[at].0)) {
            let part = &rows[range];
            let slots: Vec<u32> = part.iter().map(|(slot, _)| *slot).collect();
            let mut columns = self.rows.columns(&slots)?;
            columns.push(Arc::new(Int64Array::from(vec![i64::from(iteration); part.len()])) as ArrayRef);
            let weights = part.iter().any(|(_, weight)| *weight != 1).then(|| part.iter().map(|(_, weight)| *weight).collect());
            output.push(self.output.changes(columns, part.len(), weights)?);
        }
        Ok(())
    }

    fn grow(&mut self) {
        let end = self.rows.end();
        if self.held.len() < end {
            self.held.resize_with(end, Held::default);
        }
    }

    fn forget(&mut self, slot: u32) {
        self.rows.remove(slot);
        self.held[slot as usize] = Held::default();
    }

    fn endless(&self) -> Error {
        let FixpointSpec { name, iterations_max, .. } = &self.spec;
        Error::new(Kind::LimitExceeded, format!("recursive query \"{name}\" has not ended after {iterations_max} iterations")).hint(
            "Let it stop, with a condition in its recursive term or with UNION instead of UNION ALL, or create the view WITH (recursion_limit = …).",
        )
    }

    fn read_entry(&mut self, entry: &StateEntry) -> Result<()> {
        let damaged = || Error::internal("an entry of a recursion's stored state is damaged");
        let slot = self.rows.locate_encoded(&entry.key)?;
        self.grow();
        let held = &mut self.held[slot as usize];
        if entry.value.is_empty() || !entry.value.len().is_multiple_of(LEVEL_BYTES) {
            return Err(damaged());
        }
        for level in entry.value.chunks_exact(LEVEL_BYTES) {
            let (iteration, count) = level.split_at(size_of::<u32>());
            let iteration = iteration.try_into().map(u32::from_le_bytes).map_err(|_| damaged())?;
            held.levels.add(iteration, count.try_into().map(i64::from_le_bytes).map_err(|_| damaged())?);
        }
        held.levels.restored();
        held.stored = true;
        self.live += 1;
        Ok(())
    }
}

impl Operator for Fixpoint {
    /// Takes changes of the base and of the term. They come out by `settle`.
    fn step(&mut self, _epoch: Epoch, inputs: Vec<Vec<Changes>>, _output: &mut Vec<Changes>) -> Result<()> {
        for (input, batches) in inputs.iter().enumerate() {
            batches.iter().try_for_each(|changes| self.gather(changes, input == 1))?;
        }
        Ok(())
    }

    fn without_checkpoints(&mut self) {
        self.lists_dirty = false;
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        let dirty: Vec<u32> = std::mem::take(&mut self.dirty);
        for slots in dirty.chunks(BATCH_ROWS) {
            // A slot that was freed and taken again may stand there twice.
            let slots: Vec<u32> = slots.iter().copied().filter(|slot| std::mem::take(&mut self.held[*slot as usize].dirty)).collect();
            let columns = self.rows.columns(&slots)?;
            for (slot, hash) in slots.iter().copied().zip(hash_rows(&columns, slots.len())) {
                let mut key = Vec::new();
                self.rows.encode(slot, &mut key);
                let held = &mut self.held[slot as usize];
                if held.levels.is_empty() {
                    if std::mem::take(&mut held.stored) {
                        changes.delete(bucket(hash), &key);
                    }
                    self.forget(slot);
                    continue;
                }
                held.stored = true;
                let mut value = Vec::with_capacity(held.levels.all().len() * LEVEL_BYTES);
                for level in held.levels.all() {
                    value.extend_from_slice(&level.iteration.to_le_bytes());
                    value.extend_from_slice(&level.count.to_le_bytes());
                }
                changes.put(bucket(hash), &key, &value);
            }
        }
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.read_entry(&entry?)?;
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        let waiting: usize = self.waiting.values().map(|changes| changes.capacity() * size_of::<(u32, i64)>()).sum();
        let levels: usize = self.held.iter().map(|held| held.levels.bytes()).sum();
        let held = self.held.capacity() * size_of::<Held>();
        StateSize { rows: self.live, bytes: self.rows.bytes() + held + levels + waiting }
    }
}
