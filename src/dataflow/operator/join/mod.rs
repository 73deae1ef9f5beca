//! Joins of every kind: rows of two inputs whose keys are equal and for which a condition holds.
//!
//! In: two lists of changes per epoch. Out, by kind: pairs (the left columns, then the right ones; the weight of a pair is the product of
//! both weights), pairs and rows without a partner padded with NULLs, or left rows alone. Without keys every row meets every other one: a
//! nested loop.
//! Holds: every row of both sides, except those with a NULL key that matches nothing, and those that event time has passed (`expiry`); and per row of a side whose rows also come out by
//! themselves how many partners it has.
//!
//! Pairs: left changes meet the right rows of before, then join the left rows; right changes meet the left rows as they are now:
//!
//! ```text
//! ΔL ⋈ R  +  (L + ΔL) ⋈ ΔR   =   ΔL ⋈ R  +  L ⋈ ΔR  +  ΔL ⋈ ΔR
//! ```
//!
//! So it is for any order of batches, and a large epoch is taken in parts. Pairs come out a bounded batch at a time (`work`). On the way, what matches is counted for the rows of both sides; at the end of the epoch those come out, or go, for which "has a partner"
//! changed (`alone`). Semi, anti and mark joins do the same without pairs (`witness`).

mod alone;
mod chains;
mod durable;
mod expiry;
mod ledger;
mod links;
mod pairing;
mod partners;
mod side;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;
mod witness;
mod work;

use std::collections::VecDeque;

use arrow::datatypes::SchemaRef;

use self::alone::NullRule;
use self::chains::Heads;
use self::durable::Place;
pub use self::expiry::Goes;
use self::pairing::Matcher;
use self::partners::Partners;
use self::side::Side;
use self::work::{Probing, Task};
use super::output::OutputSchema;
use super::{Operator, StateSize, Work};
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
    /// When rows of the left and of the right side have met all that they ever will.
    pub goes: [Option<Goes>; 2],
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
    /// What is still to be done, in this order, after what is being done.
    tasks: VecDeque<Task>,
    probing: Option<Probing>,
}

impl Join {
    /// A join without rows. Fails for columns whose types cannot be held, and for keys of different types.
    pub fn new(spec: JoinSpec, errors: RowErrorSink) -> Result<Self> {
        let JoinSpec { kind, left, right, left_keys, right_keys, condition, output, goes: [left_goes, right_goes], .. } = spec;
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
        let heads = Heads::default();
        let sides = [
            Side::new(heads.clone(), 0, left, left_keys, null_equals_null, spec.left_append_only)?.expiring(left_goes),
            Side::new(heads, 1, right, right_keys, null_equals_null, right_append_only)?.expiring(right_goes),
        ];
        if sides[0].chains.are_exact() {
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
            tasks: VecDeque::new(),
            probing: None,
        })
    }

    /// After a restart: what NOT IN must know of the right side.
    fn recall_nulls(&mut self) -> Result<()> {
        if self.null_rule.is_none() {
            return Ok(());
        }
        let rows: Vec<u32> = (0..self.sides[1].rows.len() as u32).filter(|row| self.sides[1].weight(*row) > 0).collect();
        for part in self.sides[1].rows.parts(&rows, |row| *row) {
            let witnesses = self.sides[1].again(part, None)?;
            self.note_nulls(&witnesses);
        }
        self.null_rule.iter_mut().for_each(NullRule::restored);
        Ok(())
    }

    fn place(&self, side: usize) -> Place {
        Place { tag: side as u8, on_one_worker: self.kind == JoinKind::NotIn }
    }
}

impl Operator for Join {
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        self.take_part(epoch, inputs, output)?;
        self.tasks.push_back(Task::Settle(epoch));
        Ok(())
    }

    fn resume(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        self.work(output)
    }

    /// Pairs are bilinear: every change meets all that came before it, in whatever order. Whether a row has a partner is decided when the
    /// epoch ends.
    fn takes_parts(&self) -> bool {
        true
    }

    fn take_part(&mut self, _epoch: Epoch, mut inputs: Vec<Vec<Changes>>, _output: &mut Vec<Changes>) -> Result<()> {
        if !self.kind.gives_pairs() {
            let right = inputs.pop().unwrap_or_default();
            let turned = self.take_witnesses(right)?;
            let parts = self.sides[1].rows.parts(&turned, |(row, _)| *row);
            self.tasks.extend(parts.into_iter().map(|part| Task::Tell(part.to_vec())));
        }
        for (side, changes) in inputs.into_iter().enumerate() {
            self.tasks.extend(changes.into_iter().map(|changes| Task::Take(side, changes)));
        }
        Ok(())
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        for side in 0..2 {
            let place = self.place(side);
            durable::checkpoint(&mut self.sides[side], self.partners[side].as_ref(), place, changes)?;
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
            restores[side].push(&mut self.sides[side], &mut self.partners[side], *tag, key, &entry.value)?;
        }
        for (side, restore) in restores.iter_mut().enumerate() {
            restore.flush(&mut self.sides[side], &mut self.partners[side])?;
        }
        self.recall_nulls()
    }

    fn size(&self) -> StateSize {
        let [left, right] = [self.sides[0].size(), self.sides[1].size()];
        let partners: usize = self.partners.iter().flatten().map(Partners::bytes).sum();
        StateSize { rows: left.rows + right.rows, bytes: left.bytes + right.bytes + partners }
    }
}
