//! Joins of every kind: rows of two inputs whose keys are equal and for which a condition holds.
//!
//! In: two lists of changes per epoch. Out, by kind: pairs (the left columns, then the right ones; the weight of a pair is the product of
//! both weights), pairs and rows without a partner padded with NULLs, or left rows alone. Without keys every row meets every other one: a
//! nested loop.
//! Holds: every row of both sides, except those with a NULL key that matches nothing; and per row of a side whose rows also come out by
//! themselves how many partners it has.
//!
//! Pairs: left changes meet the right rows of before, then join the left rows; right changes meet the left rows as they are now:
//!
//! ```text
//! ΔL ⋈ R  +  (L + ΔL) ⋈ ΔR   =   ΔL ⋈ R  +  L ⋈ ΔR  +  ΔL ⋈ ΔR
//! ```
//!
//! On the way, what matches is counted for the rows of both sides; at the end of the epoch those come out, or go, for which "has a partner"
//! changed (`alone`). Semi, anti and mark joins do the same without pairs (`witness`).

mod alone;
mod durable;
mod pairing;
mod partners;
mod side;
#[cfg(test)]
mod tests;
mod witness;

use arrow::datatypes::SchemaRef;

use self::alone::NullRule;
use self::durable::Place;
use self::pairing::{Candidates, Matcher, Probe};
use self::partners::Partners;
use self::side::{PAIRS_MAX, Side};
use super::output::OutputSchema;
use super::{Operator, StateSize};
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::{Error, Result};
use crate::plan::{JoinKind, Scalar};
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// What a join is made of.
pub struct JoinSpec {
    /// What comes out.
    pub kind: JoinKind,
    /// The left rows.
    pub left: SchemaRef,
    /// The right rows.
    pub right: SchemaRef,
    /// Positions in the left columns.
    pub left_keys: Vec<usize>,
    /// Positions in the right columns; as many, of the same types. Without keys every pair matches.
    pub right_keys: Vec<usize>,
    /// Whether NULL keys match each other.
    pub null_equals_null: bool,
    /// Over the left columns followed by the right ones.
    pub condition: Option<Scalar>,
    /// The columns that come out.
    pub output: SchemaRef,
    /// No left row is ever retracted.
    pub left_append_only: bool,
    /// No right row is ever retracted.
    pub right_append_only: bool,
}

/// A join.
pub struct Join {
    kind: JoinKind,
    /// Left, right.
    sides: [Side; 2],
    matcher: Matcher,
    /// Of the sides whose rows come out by themselves.
    partners: [Option<Partners>; 2],
    /// For NOT IN.
    null_rule: Option<NullRule>,
    output: OutputSchema,
    /// Nothing is ever retracted, so that what comes out has no weights.
    append_only: bool,
}

impl Join {
    /// A join without rows. Fails for columns whose types cannot be held, and for keys of different types.
    pub fn new(spec: JoinSpec, errors: RowErrorSink) -> Result<Self> {
        let JoinSpec { kind, left, right, left_keys, right_keys, condition, output, .. } = spec;
        let key_types_differ = left_keys
            .iter()
            .zip(&right_keys)
            .any(|(left_key, right_key)| !left.field(*left_key).data_type().equals_datatype(right.field(*right_key).data_type()));
        if left_keys.len() != right_keys.len() || key_types_differ {
            return Err(Error::internal("the keys of a join differ in number or type"));
        }
        // NOT IN has a rule of its own for NULLs, for which they are kept like other keys.
        let null_equals_null = spec.null_equals_null || kind == JoinKind::NotIn;
        let keys = left_keys.iter().copied().zip(right_keys.iter().copied());
        let mut matcher = Matcher::new([&left, &right], keys, null_equals_null, condition, errors)?;
        // Witnesses are a set even if they only ever arrive.
        let right_append_only = spec.right_append_only && kind.gives_pairs();
        let sides = [
            Side::new(left, left_keys, null_equals_null, spec.left_append_only)?,
            Side::new(right, right_keys, null_equals_null, right_append_only)?,
        ];
        if sides[0].hash_is_exact() {
            matcher.trust_hashes();
        }
        Ok(Join {
            kind,
            sides,
            matcher,
            partners: kind.counts_partners().map(|counts| counts.then(Partners::default)),
            null_rule: (kind == JoinKind::NotIn).then(NullRule::default),
            output: OutputSchema::new(output),
            append_only: kind.only_grows() && spec.left_append_only && spec.right_append_only,
        })
    }

    /// Takes one batch of one side: what it gives with the other side, then into the state.
    fn advance(&mut self, side: usize, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let counting = self.partners[side].is_some();
        if counting && let Some(unmatchable) = self.sides[side].unmatchable(&changes) {
            self.pass(side, unmatchable, output)?;
        }
        let Some(arrived) = self.sides[side].admit(changes)? else {
            return Ok(());
        };
        let mut counts = vec![0_i64; if counting { arrived.hashes.len() } else { 0 }];
        let mut probe = Probe::new(&self.sides, side, &arrived);
        while let Some(found) = probe.next(&mut self.sides, &self.matcher)? {
            self.count(side, &found, &mut counts);
            self.emit(found, output)?;
        }
        let Some(partners) = &mut self.partners[side] else {
            return self.sides[side].insert(&arrived, None);
        };
        let mut numbers = Vec::with_capacity(arrived.hashes.len());
        self.sides[side].insert(&arrived, Some(&mut numbers))?;
        for (row, number) in numbers.into_iter().enumerate() {
            partners.weigh(number, arrived.weight(row), counts[row]);
        }
        Ok(())
    }

    /// Counts the partners that rows which arrived on `side` found, and those that found them.
    fn count(&mut self, side: usize, found: &Candidates<'_>, counts: &mut [i64]) {
        if !counts.is_empty() {
            for (pair, row) in found.held.iter().enumerate() {
                counts[found.arrived_row(pair)] += self.sides[1 - side].weight(*row);
            }
        }
        if let Some(partners) = &mut self.partners[1 - side] {
            for (pair, row) in found.held.iter().enumerate() {
                partners.gain(*row, found.arrived_weight(pair));
            }
        }
    }

    fn emit(&self, mut found: Candidates<'_>, output: &mut Vec<Changes>) -> Result<()> {
        let columns = self.matcher.read_all(&self.sides, &mut found)?;
        let weights = (!self.append_only).then(|| found.weights(&self.sides));
        output.push(self.output.changes(columns, found.held.len(), weights)?);
        Ok(())
    }

    /// After a restart: the partners of every row, by probing once more.
    fn recount(&mut self) -> Result<()> {
        for side in 0..2 {
            if self.partners[side].is_none() {
                continue;
            }
            let rows: Vec<u32> = (0..self.sides[side].rows.len() as u32).collect();
            let mut counts = vec![0_i64; rows.len()];
            for (part, counts) in rows.chunks(PAIRS_MAX).zip(counts.chunks_mut(PAIRS_MAX)) {
                let arrived = self.sides[side].again(part, None)?;
                let mut probe = Probe::again(&self.sides, side, &arrived);
                while let Some(found) = probe.next(&mut self.sides, &self.matcher)? {
                    for (pair, row) in found.held.iter().enumerate() {
                        let weight = self.sides[1 - side].weight(*row);
                        counts[found.arrived_row(pair)] += if self.kind.gives_pairs() { weight } else { i64::from(weight > 0) };
                    }
                }
            }
            self.partners[side] = Some(Partners::restored(counts));
        }
        if self.null_rule.is_some() {
            let rows: Vec<u32> = (0..self.sides[1].rows.len() as u32).filter(|row| self.sides[1].weight(*row) > 0).collect();
            for part in rows.chunks(PAIRS_MAX) {
                let witnesses = self.sides[1].again(part, None)?;
                self.note_nulls(&witnesses);
            }
        }
        self.null_rule.iter_mut().for_each(NullRule::restored);
        Ok(())
    }

    fn place(&self, side: usize) -> Place {
        Place { tag: side as u8, on_one_worker: self.kind == JoinKind::NotIn }
    }
}

impl Operator for Join {
    fn step(&mut self, _epoch: Epoch, mut inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        if self.kind.gives_pairs() {
            for (side, changes) in inputs.into_iter().enumerate() {
                for batch in changes {
                    self.advance(side, batch, output)?;
                }
            }
        } else {
            let right = inputs.pop().unwrap_or_default();
            self.advance_witnessed(inputs.pop().unwrap_or_default(), right, output)?;
        }
        self.settle(output)?;
        for (side, partners) in self.sides.iter_mut().zip(&mut self.partners) {
            if let Some(kept) = side.compact()?
                && let Some(partners) = partners
            {
                partners.renumber(&kept);
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        for side in 0..2 {
            let place = self.place(side);
            durable::checkpoint(&mut self.sides[side], place, changes)?;
        }
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        let [left, right] = &mut self.sides;
        let mut restores = [durable::Restore::new(left)?, durable::Restore::new(right)?];
        for entry in entries {
            let entry = entry?;
            let Some((tag, key)) = entry.key.split_first() else {
                return Err(Error::internal("an entry of a join's stored state has no key"));
            };
            let side = usize::from(tag & 1);
            restores[side].push(&mut self.sides[side], *tag, key, entry.value)?;
        }
        restores.iter_mut().zip(&mut self.sides).try_for_each(|(restore, side)| restore.flush(side))?;
        self.recount()
    }

    fn size(&self) -> StateSize {
        let [left, right] = [self.sides[0].size(), self.sides[1].size()];
        let partners: usize = self.partners.iter().flatten().map(Partners::bytes).sum();
        StateSize { rows: left.rows + right.rows, bytes: left.bytes + right.bytes + partners }
    }
}
