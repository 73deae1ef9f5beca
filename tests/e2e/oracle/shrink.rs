//! A script that shows a finding → a smaller one that shows the same: what is left out by turns, as long as the finding stays.
//!
//! After Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002). Left out are views, steps (halves first, then
//! single ones), statements of a transaction, rows of an INSERT, and parts of the query.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::reduce;
use super::script::{Script, Step};
use super::stage::{Checks, Finding, Manner, Stage};
use super::tally::Tally;

/// The schemas of attempts begin here; seeds are smaller.
const ATTEMPTS: u64 = 1_000_000_000;

/// Makes scripts smaller.
pub(super) struct Shrinker {
    stage: Stage,
    class: String,
    crashes: bool,
    anew: bool,
    deadline: Instant,
    attempts: u64,
    /// What attempts do is not counted.
    tally: Tally,
}

impl Shrinker {
    /// For a finding that was made in this manner. `None` if no new server can be started.
    pub(super) async fn new(like: &Stage, finding: &Finding, manner: Manner, limit: Duration) -> Option<Self> {
        let stage = like.another().await.ok()?;
        let deadline = Instant::now() + limit;
        let (crashes, anew) = (manner.crashes, manner.anew);
        Some(Shrinker { stage, class: finding.class.clone(), crashes, anew, deadline, attempts: ATTEMPTS, tally: Tally::default() })
    }

    /// The smallest script found until the time is over; `None` if the finding does not show again.
    pub(super) async fn shrink(&mut self, mut script: Script, finding: &Finding) -> Option<Script> {
        if let Some(view) = &finding.view {
            let alone = with_views(&script, view);
            if self.shows(&alone).await {
                script = alone;
            }
        }
        if self.crashes {
            self.crashes = false;
            self.crashes = !self.shows(&script).await;
        }
        if !self.shows(&script).await {
            return None;
        }
        loop {
            let before = script.text().len();
            script = self.fewer_steps(script).await;
            script = self.smaller_changes(script).await;
            script = self.smaller_queries(script).await;
            if script.text().len() == before || Instant::now() > self.deadline {
                break;
            }
        }
        let text = script.text();
        script.tables.retain(|table| text.matches(&table.name).count() > 1);
        Some(script)
    }

    async fn shows(&mut self, script: &Script) -> bool {
        if Instant::now() > self.deadline {
            return false;
        }
        self.attempts += 1;
        let manner = Manner { schema: self.attempts, crashes: self.crashes, checks: Checks::All, anew: self.anew };
        let Err(finding) = self.stage.play(script, manner, &self.tally).await else { return false };
        if !self.stage.clear(manner).await {
            match self.stage.another().await {
                Ok(stage) => self.stage = stage,
                Err(_) => self.deadline = Instant::now(),
            }
        }
        finding.class == self.class
    }

    /// Leaves out steps: ever smaller runs of them.
    async fn fewer_steps(&mut self, mut script: Script) -> Script {
        let mut length = script.steps.len().div_ceil(2);
        while length > 0 {
            let mut start = 0;
            while start < script.steps.len() {
                let end = (start + length).min(script.steps.len());
                let mut smaller = script.clone();
                smaller.steps.drain(start..end);
                if self.shows(&smaller).await {
                    script = smaller;
                } else {
                    start = end;
                }
            }
            length /= 2;
        }
        script
    }

    /// Leaves out statements of transactions, and rows of INSERTs.
    async fn smaller_changes(&mut self, mut script: Script) -> Script {
        for index in (0..script.steps.len()).rev() {
            let mut candidate = 0;
            while let Step::Change(change) = &script.steps[index] {
                let candidates = reduce::changes(change);
                let Some(change) = candidates.into_iter().nth(candidate) else { break };
                let mut smaller = script.clone();
                smaller.steps[index] = Step::Change(change);
                if self.shows(&smaller).await { script = smaller } else { candidate += 1 }
            }
        }
        script
    }

    async fn smaller_queries(&mut self, mut script: Script) -> Script {
        for index in (0..script.steps.len()).rev() {
            let mut candidate = 0;
            while let Step::View(view) = &script.steps[index] {
                let Some(query) = reduce::queries(&view.query).into_iter().nth(candidate) else { break };
                let mut smaller = script.clone();
                if let Step::View(view) = &mut smaller.steps[index] {
                    view.query = query;
                }
                if self.shows(&smaller).await { script = smaller } else { candidate += 1 }
            }
        }
        script
    }
}

/// The script with this view and those that it reads.
fn with_views(script: &Script, view: &str) -> Script {
    let mut needed = BTreeSet::from([view.to_owned()]);
    let definitions: Vec<_> = script.definitions().collect();
    for definition in definitions.iter().rev() {
        if needed.contains(&definition.name) {
            needed.extend(definition.reads.iter().cloned());
        }
    }
    let keep = |step: &&Step| !matches!(step, Step::View(view) if !needed.contains(&view.name));
    Script { tables: script.tables.clone(), steps: script.steps.iter().filter(keep).cloned().collect() }
}
