//! What a join still has to do of an epoch: tasks, worked off a bounded number of pairs at a time.
//!
//! One row may meet a million others, and an epoch may hold a million such rows: all their pairs together fit into no memory, and finding them
//! takes longer than anybody waits. So a batch of changes is probed piece by piece; how far it has come stands here between two pieces.

use super::Join;
use super::alone::Verdict;
use super::pairing::{Candidates, Probe};
use super::partners::Touch;
use crate::dataflow::operator::Work;
use crate::error::Result;
use crate::types::{Changes, Epoch};

/// One thing to do.
pub(super) enum Task {
    /// Changes of one side (0: left) come in.
    Take(usize, Changes),
    /// Right rows appeared (1) or went away (-1): the left rows are told.
    Tell(Vec<(u32, i64)>),
    /// The epoch ends.
    Settle(Epoch),
    /// What an epoch did to rows of one side that come out by themselves.
    Show(usize, Vec<Touch>, Option<[Verdict; 2]>),
    /// Rows of one side that event time has passed go.
    Drop(usize, Vec<u32>),
    /// Dead rows are freed if they are too many.
    Compact,
}

/// Rows on their way along the chains of the other side, and what for.
pub(super) struct Probing {
    probe: Probe,
    purpose: Purpose,
}

enum Purpose {
    /// Pairs come out. Then the rows go into the state, with the number of their partners if their side counts them.
    Pair(Vec<i64>),
    /// Left rows hear of witnesses.
    Tell,
    /// New left rows, with numbers from this one on, count the witnesses that they find.
    Ask(u32),
}

impl Join {
    /// Does a piece of what there is to do.
    pub(super) fn work(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        if let Some(probing) = self.probing.take() {
            self.go_on(probing, output)?;
        } else if let Some(task) = self.tasks.pop_front() {
            self.begin(task, output)?;
        }
        Ok(if self.probing.is_none() && self.tasks.is_empty() { Work::Done } else { Work::Left })
    }

    fn begin(&mut self, task: Task, output: &mut Vec<Changes>) -> Result<()> {
        match task {
            Task::Take(side, changes) if self.kind.gives_pairs() => self.take_pairing(side, changes, output),
            Task::Take(_, changes) => self.take_kept(changes, output),
            Task::Tell(turned) => self.tell(&turned),
            Task::Settle(epoch) => self.settle(epoch),
            Task::Show(side, touched, verdicts) => self.show(side, &touched, verdicts, output),
            Task::Drop(side, rows) => self.sides[side].drop_rows(&rows),
            Task::Compact => self.compact(),
        }
    }

    /// Takes one batch of one side: first it meets the other side, then it goes into the state.
    fn take_pairing(&mut self, side: usize, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let counting = self.partners[side].is_some();
        if counting && let Some(unmatchable) = self.sides[side].unmatchable(&changes) {
            self.pass(side, unmatchable, output)?;
        }
        let Some(arrived) = self.sides[side].admit(changes)? else { return Ok(()) };
        let counts = vec![0_i64; if counting { arrived.hashes.len() } else { 0 }];
        let probe = Probe::new(&self.sides, side, arrived);
        self.go_on(Probing { probe, purpose: Purpose::Pair(counts) }, output)
    }

    /// Left rows into the state; those that are new look for their partners.
    fn take_kept(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let Some((asking, base)) = self.keep(changes, output)? else { return Ok(()) };
        let probe = Probe::new(&self.sides, 0, asking);
        self.go_on(Probing { probe, purpose: Purpose::Ask(base) }, output)
    }

    /// Tells the left rows which witnesses appeared or went away.
    fn tell(&mut self, turned: &[(u32, i64)]) -> Result<()> {
        let (rows, presence): (Vec<u32>, Vec<i64>) = turned.iter().copied().unzip();
        let arrived = self.sides[1].again(&rows, Some(presence.into()))?;
        self.note_nulls(&arrived);
        let probe = Probe::new(&self.sides, 1, arrived);
        self.probing = Some(Probing { probe, purpose: Purpose::Tell });
        Ok(())
    }

    /// Looks at the next pairs.
    fn go_on(&mut self, mut probing: Probing, output: &mut Vec<Changes>) -> Result<()> {
        if let Some(found) = probing.probe.next(&mut self.sides, &self.matcher)? {
            match &mut probing.purpose {
                Purpose::Pair(counts) => {
                    self.count(&found, counts);
                    self.emit(found, output)?;
                }
                Purpose::Tell => self.gain(0, &found),
                Purpose::Ask(base) => self.count_witnesses(&found, *base),
            }
        }
        if probing.probe.is_done() {
            return self.finish(probing);
        }
        self.probing = Some(probing);
        Ok(())
    }

    /// All pairs have been found.
    fn finish(&mut self, probing: Probing) -> Result<()> {
        let Purpose::Pair(counts) = probing.purpose else { return Ok(()) };
        let (side, arrived) = probing.probe.into_arrived();
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

    /// Counts the partners that rows which arrived found, and those that found them.
    fn count(&mut self, found: &Candidates<'_>, counts: &mut [i64]) {
        let other = 1 - found.side;
        if !counts.is_empty() {
            for (pair, weight) in found.held_weights.iter().enumerate() {
                counts[found.arrived_row(pair)] += weight;
            }
        }
        self.gain(other, found);
    }

    /// Rows of `side` were found by others.
    fn gain(&mut self, side: usize, found: &Candidates<'_>) {
        let Some(partners) = &mut self.partners[side] else { return };
        for (pair, row) in found.held.iter().enumerate() {
            partners.gain(*row, found.arrived_weight(pair));
        }
    }

    fn count_witnesses(&mut self, found: &Candidates<'_>, base: u32) {
        let Some(partners) = &mut self.partners[0] else { return };
        for (pair, weight) in found.held_weights.iter().enumerate() {
            partners.gain(base + found.arrived_row(pair) as u32, i64::from(*weight > 0));
        }
    }

    fn emit(&self, mut found: Candidates<'_>, output: &mut Vec<Changes>) -> Result<()> {
        if found.held.is_empty() {
            return Ok(());
        }
        let columns = self.matcher.read_all(&self.sides, &mut found)?;
        let weights = (!self.append_only).then(|| found.weights());
        output.push(self.output.changes(columns, found.held.len(), weights)?);
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        for (side, partners) in self.sides.iter_mut().zip(&mut self.partners) {
            if let Some(kept) = side.compact()?
                && let Some(partners) = partners
            {
                partners.renumber(&kept);
            }
        }
        Ok(())
    }
}
