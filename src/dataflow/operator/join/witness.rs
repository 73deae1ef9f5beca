//! Semi, anti and mark joins: left rows come out by themselves, right rows are witnesses, of which only one thing matters: are they there?
//!
//! So the right side is a set. Its rows have been cut down to the keys and what the condition reads; equal ones are one row with a weight,
//! and only when that turns positive, or stops being so, do the left rows hear of it. A left row asks for its partners once, when it comes.
//!
//! Of what arrives together the witnesses come first, told to the left rows of before; then the left rows, which look at the witnesses of now.

use arrow::array::UInt32Array;

use super::Join;
use super::alone::union_of_nulls;
use super::side::Arrived;
use crate::error::Result;
use crate::plan::JoinKind;
use crate::types::Changes;

impl Join {
    /// Right rows into the state. Gives those that appeared (1) or went away (-1), by their numbers.
    pub(super) fn take_witnesses(&mut self, batches: Vec<Changes>) -> Result<Vec<(u32, i64)>> {
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

    /// What NOT IN must know of right rows that appeared or went away.
    pub(super) fn note_nulls(&mut self, witnesses: &Arrived) {
        let Some(rule) = &mut self.null_rule else { return };
        let keys: Vec<_> = self.sides[1].keys.iter().map(|key| witnesses.columns[*key].clone()).collect();
        let nulls = union_of_nulls(&keys);
        for row in 0..witnesses.hashes.len() {
            rule.note(witnesses.weight(row), nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)));
        }
    }

    /// Left rows into the state. Gives those that are new, and the number of the first: they have to look for their partners.
    pub(super) fn keep(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<Option<(Arrived, u32)>> {
        if self.kind != JoinKind::Semi
            && let Some(unmatchable) = self.sides[0].unmatchable(&changes)
        {
            self.pass(0, unmatchable, output)?;
        }
        let Some(arrived) = self.sides[0].admit(changes)? else { return Ok(None) };
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
        Ok(Some((asking, base)))
    }
}
