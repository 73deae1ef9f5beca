//! Semi, anti and mark joins: left rows come out by themselves, right rows are witnesses, of which only one thing matters: are they there?
//!
//! So the right side is a set. Its rows have been cut down to the keys and what the condition reads; equal ones are one row with a weight,
//! and only when that turns positive, or stops being so, do the left rows hear of it. A left row asks for its partners once, when it comes.

use arrow::array::{Int64Array, UInt32Array};

use super::Join;
use super::alone::union_of_nulls;
use super::pairing::Probe;
use super::side::{Arrived, PAIRS_MAX};
use crate::error::Result;
use crate::plan::JoinKind;
use crate::types::Changes;

impl Join {
    /// One epoch: first the witnesses, told to the left rows of before; then the left rows, which look at the witnesses of now.
    pub(super) fn advance_witnessed(&mut self, left: Vec<Changes>, right: Vec<Changes>, output: &mut Vec<Changes>) -> Result<()> {
        let turned = self.take_witnesses(right)?;
        for part in turned.chunks(PAIRS_MAX) {
            self.tell(part)?;
        }
        left.into_iter().try_for_each(|batch| self.take_kept(batch, output))
    }

    /// Right rows into the state. Gives those that appeared (1) or went away (-1), by their numbers.
    fn take_witnesses(&mut self, batches: Vec<Changes>) -> Result<Vec<(u32, i64)>> {
        let mut gained: Vec<(u32, i64)> = Vec::new();
        for batch in batches {
            let Some(arrived) = self.sides[1].admit(batch)? else { continue };
            let mut numbers = Vec::with_capacity(arrived.hashes.len());
            self.sides[1].insert(&arrived, Some(&mut numbers))?;
            gained.extend(numbers.into_iter().enumerate().map(|(row, number)| (number, arrived.weight(row))));
        }
        gained.sort_unstable_by_key(|(number, _)| *number);
        let rows = gained.chunk_by(|one, other| one.0 == other.0).map(|same| {
            let number = same[0].0;
            let now = self.sides[1].weight(number);
            let before = now - same.iter().map(|(_, weight)| weight).sum::<i64>();
            (number, i64::from(now > 0) - i64::from(before > 0))
        });
        Ok(rows.filter(|(_, presence)| *presence != 0).collect())
    }

    /// Tells the left rows which witnesses appeared or went away.
    fn tell(&mut self, turned: &[(u32, i64)]) -> Result<()> {
        let (rows, presence): (Vec<u32>, Vec<i64>) = turned.iter().copied().unzip();
        let arrived = self.sides[1].again(&rows, Some(Int64Array::from(presence)))?;
        self.note_nulls(&arrived);
        let mut probe = Probe::new(&self.sides, 1, &arrived);
        while let Some(found) = probe.next(&mut self.sides, &self.matcher)? {
            let Some(partners) = &mut self.partners[0] else { break };
            for (pair, row) in found.held.iter().enumerate() {
                partners.gain(*row, found.arrived_weight(pair));
            }
        }
        Ok(())
    }

    /// What NOT IN must know of right rows that appeared or went away.
    pub(super) fn note_nulls(&mut self, witnesses: &Arrived) {
        let Some(rule) = &mut self.null_rule else { return };
        let keys: Vec<_> = self.sides[1].keys.iter().map(|key| witnesses.columns[*key].clone()).collect();
        let nulls = union_of_nulls(&keys);
        for row in 0..witnesses.hashes.len() {
            rule.note(witnesses.weight(row), nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)));
        }
    }

    /// Left rows into the state; those that are new look for their partners.
    fn take_kept(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        if self.kind != JoinKind::Semi
            && let Some(unmatchable) = self.sides[0].unmatchable(&changes)
        {
            self.pass(0, unmatchable, output)?;
        }
        let Some(arrived) = self.sides[0].admit(changes)? else { return Ok(()) };
        let base = self.sides[0].rows.len() as u32;
        let mut numbers = Vec::with_capacity(arrived.hashes.len());
        self.sides[0].insert(&arrived, Some(&mut numbers))?;
        let mut fresh = Vec::new();
        for (row, number) in numbers.into_iter().enumerate() {
            // New rows get their numbers in the order of their arrival.
            if number == base + fresh.len() as u32 {
                fresh.push(row as u32);
            }
            if let Some(partners) = &mut self.partners[0] {
                partners.weigh(number, arrived.weight(row), 0);
            }
        }
        let asking = if fresh.len() == arrived.hashes.len() { arrived } else { arrived.take(&UInt32Array::from(fresh))? };
        let mut probe = Probe::new(&self.sides, 0, &asking);
        while let Some(found) = probe.next(&mut self.sides, &self.matcher)? {
            let Some(partners) = &mut self.partners[0] else { break };
            for (pair, row) in found.held.iter().enumerate() {
                partners.gain(base + found.arrived_row(pair) as u32, i64::from(self.sides[1].weight(*row) > 0));
            }
        }
        Ok(())
    }
}
