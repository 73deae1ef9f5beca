//! Timestamps: the epoch everywhere, and the epoch with the iteration within a loop.
//!
//! Within a loop times are ordered by epoch first and iteration second, totally: an epoch's iterations come one after the other, and all of
//! them before the next epoch. So an operator within a loop sees what every other operator sees: one step behind the other, each with all of
//! its input, and needs to hold one version of its state. (Naiad, Murray et al., SOSP 2013, section 2.1, orders loop counters the same
//! way; timely's own `Product` lets epochs overtake each other, for operators that keep a version per time.)

use serde::{Deserialize, Serialize};
use timely::order::{PartialOrder, TotalOrder};
use timely::progress::timestamp::Refines;
use timely::progress::{PathSummary, Timestamp};

use crate::types::Epoch;

/// A time at which operators take steps.
pub(crate) trait Time: Timestamp + TotalOrder {
    /// The epoch it belongs to.
    fn epoch(&self) -> Epoch;

    /// The first time of an epoch.
    fn first_of(epoch: Epoch) -> Self;
}

impl Time for Epoch {
    fn epoch(&self) -> Epoch {
        *self
    }

    fn first_of(epoch: Epoch) -> Self {
        epoch
    }
}

/// A time within a loop. The order of the fields is the order of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LoopTime {
    pub(crate) epoch: Epoch,
    /// How often rows have gone round.
    pub(crate) iteration: u32,
}

/// How many times a path leads round the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rounds(pub(crate) u32);

impl Time for LoopTime {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn first_of(epoch: Epoch) -> Self {
        LoopTime { epoch, iteration: 0 }
    }
}

impl PartialOrder for LoopTime {
    fn less_equal(&self, other: &Self) -> bool {
        self <= other
    }
}

impl TotalOrder for LoopTime {}

impl Timestamp for LoopTime {
    type Summary = Rounds;

    fn minimum() -> Self {
        LoopTime::default()
    }
}

impl PartialOrder for Rounds {
    fn less_equal(&self, other: &Self) -> bool {
        self.0 <= other.0
    }
}

impl PathSummary<LoopTime> for Rounds {
    fn results_in(&self, time: &LoopTime) -> Option<LoopTime> {
        time.iteration.checked_add(self.0).map(|iteration| LoopTime { iteration, ..*time })
    }

    fn followed_by(&self, other: &Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Rounds)
    }
}

impl Refines<Epoch> for LoopTime {
    fn to_inner(epoch: Epoch) -> Self {
        LoopTime::first_of(epoch)
    }

    fn to_outer(self) -> Epoch {
        self.epoch
    }

    /// No path within a loop leads to another epoch.
    fn summarize(_path: Rounds) -> <Epoch as Timestamp>::Summary {
        0
    }
}

#[cfg(test)]
mod tests {
    use timely::progress::PathSummary;

    use super::{LoopTime, Rounds};

    #[test]
    fn all_iterations_of_an_epoch_come_before_the_next() {
        let time = |epoch, iteration| LoopTime { epoch, iteration };
        assert!(time(1, 900) < time(2, 0));
        assert_eq!(Rounds(1).results_in(&time(1, 1)), Some(time(1, 2)));
        assert_eq!(Rounds(1).results_in(&time(1, u32::MAX)), None);
    }
}
