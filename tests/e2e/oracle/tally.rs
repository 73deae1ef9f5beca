//! What a run has done: how many views and comparisons, what was refused, what could not be compared.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::lock;

/// Counts of a run. Shared by everything that plays scripts.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    seeds: u64,
    created: u64,
    compared: u64,
    refused: BTreeMap<String, u64>,
    incomparable: BTreeMap<String, u64>,
}

/// The whole run's.
pub(crate) static TALLY: Tally =
    Tally(Mutex::new(Counts { seeds: 0, created: 0, compared: 0, refused: BTreeMap::new(), incomparable: BTreeMap::new() }));

/// Of so many views in a hundred at most may be refused: more would mean that the grammar no longer fits what views can do.
const REFUSED_PERCENT: u64 = 6;

impl Tally {
    pub(super) fn seed(&self) {
        lock(&self.0).seeds += 1;
    }

    pub(super) fn created(&self) {
        lock(&self.0).created += 1;
    }

    pub(super) fn compared(&self) {
        lock(&self.0).compared += 1;
    }

    pub(super) fn refused(&self, message: &str) {
        *lock(&self.0).refused.entry(first_line(message)).or_default() += 1;
    }

    pub(super) fn incomparable(&self, message: &str) {
        *lock(&self.0).incomparable.entry(first_line(message)).or_default() += 1;
    }

    /// Whether so many views were refused that the run proves little.
    pub(super) fn refuses_too_much(&self) -> bool {
        let counts = lock(&self.0);
        let refused = counts.refused.values().sum::<u64>();
        counts.created > 100 && refused * 100 > (refused + counts.created) * REFUSED_PERCENT
    }

    /// What was done, in words; nothing if nothing was.
    pub(crate) fn summary(&self) -> Option<String> {
        let counts = lock(&self.0);
        if counts.seeds == 0 {
            return None;
        }
        let refused = counts.refused.values().sum::<u64>();
        let share = refused as f64 * 100.0 / (refused + counts.created).max(1) as f64;
        let mut text = format!(
            "oracle: {} seeds, {} views, {} comparisons; {refused} views refused ({share:.1} %)",
            counts.seeds, counts.created, counts.compared
        );
        for (what, messages) in [("refused", &counts.refused), ("not compared", &counts.incomparable)] {
            let mut messages: Vec<_> = messages.iter().collect();
            messages.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            messages.iter().take(12).for_each(|(message, count)| text.push_str(&format!("\n  {what} {count} times: {message}")));
        }
        Some(text)
    }
}

fn first_line(message: &str) -> String {
    message.split(" HINT: ").next().unwrap_or_default().lines().next().unwrap_or_default().chars().take(160).collect()
}
