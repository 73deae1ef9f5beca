//! What an expression failed on: how often, and the newest examples.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// One row that an expression failed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowError {
    /// What went wrong.
    pub error: String,
    /// The columns that the expression reads, as JSON-like text.
    pub row: String,
}

/// Failures, all counted. A row counts once for each expression that failed on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowErrors {
    /// How many there were.
    pub count: u64,
    /// The latest of them, oldest first.
    pub samples: VecDeque<RowError>,
}

impl RowErrors {
    /// Samples kept: enough to see a pattern, little enough to show whole.
    pub const SAMPLES_MAX: usize = 16;

    /// Adds `count` failures, of which `samples` are the latest (at most `SAMPLES_MAX` are of use).
    pub fn add(&mut self, count: u64, samples: impl IntoIterator<Item = RowError>) {
        self.count += count;
        self.samples.extend(samples);
        let excess = self.samples.len().saturating_sub(Self::SAMPLES_MAX);
        self.samples.drain(..excess);
    }
}
