//! Which epochs readers hold: what they may still read is not compacted away.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::Epoch;

/// How many readers hold each epoch.
type Held = Arc<Mutex<BTreeMap<Epoch, usize>>>;

/// All leases there are. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    held: Held,
}

/// A reader's hold on one epoch: rows visible at it stay while this lives.
#[derive(Debug)]
pub struct Lease {
    held: Held,
    epoch: Epoch,
}

impl Leases {
    /// None held.
    pub fn new() -> Self {
        Leases::default()
    }

    /// Holds `epoch`. It must not be older than the horizon: for "the newest complete epoch" use [`Leases::acquire_newest`].
    pub fn acquire(&self, epoch: Epoch) -> Lease {
        self.acquire_newest(|| epoch)
    }

    /// Holds the epoch that `newest` gives. It is asked under the lock that `horizon` takes, so no horizon can pass it in between, provided
    /// that what it reads is never behind what `horizon` is called with.
    pub fn acquire_newest(&self, newest: impl FnOnce() -> Epoch) -> Lease {
        let mut held = self.held.lock();
        let epoch = newest();
        *held.entry(epoch).or_default() += 1;
        Lease { held: Arc::clone(&self.held), epoch }
    }

    /// The oldest epoch that anyone may still read: the oldest one held, or `complete`, the newest complete one.
    pub fn horizon(&self, complete: Epoch) -> Epoch {
        self.held.lock().keys().next().map_or(complete, |oldest| complete.min(*oldest))
    }
}

impl Lease {
    /// The epoch held.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        *self.held.lock().entry(self.epoch).or_default() += 1;
        Lease { held: Arc::clone(&self.held), epoch: self.epoch }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&self.epoch) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.epoch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Leases;

    #[test]
    fn the_horizon_is_the_oldest_epoch_held() {
        let leases = Leases::new();
        assert_eq!(leases.horizon(9), 9);
        let old = leases.acquire(3);
        let (copy, young) = (old.clone(), leases.acquire(7));
        drop(old);
        assert_eq!(leases.horizon(9), 3);
        drop(copy);
        assert_eq!(leases.horizon(9), 7);
        drop(young);
        assert_eq!(leases.horizon(9), 9);
    }
}
