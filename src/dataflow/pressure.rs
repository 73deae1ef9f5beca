//! Keeps what waits between a dataflow's operators small: whoever can make more rows than it takes looks first at what waits behind it.
//!
//! Nodes have the numbers of the plan, so that rows move to higher ones (but for those that go round a loop once more). A node tells how many bytes wait at it that it can work off
//! without any further input; rows that wait until an epoch closes are not among them. An operator with much to give rests while there is too
//! much behind it, on any worker.
//!
//! Always: of the nodes at which something waits, the highest may go on. So everything drains, and nobody rests for ever.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes behind a node above which it rests: enough to keep the operators and workers behind it busy for as long as it takes to notice
/// that they have caught up.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// How long a node rests before it looks again. Unnoticed beside the time it takes to work off what it waits for.
pub(crate) const REST: Duration = Duration::from_millis(1);

/// What waits at each node of one dataflow, on all workers together.
pub(crate) struct Pressure {
    waiting_bytes: Vec<AtomicU64>,
}

impl Pressure {
    /// Nothing waits at any of `nodes` nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Pressure { waiting_bytes: (0..nodes).map(|_| AtomicU64::new(0)).collect() }
    }

    /// So many bytes more wait at a node.
    pub(crate) fn add(&self, node: u32, bytes: usize) {
        self.waiting_bytes[node as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// They have been worked off.
    pub(crate) fn remove(&self, node: u32, bytes: usize) {
        self.waiting_bytes[node as usize].fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Whether so much waits behind a node that it should not add to it now.
    pub(crate) fn is_high_behind(&self, node: u32) -> bool {
        let behind = self.waiting_bytes.iter().skip(node as usize + 1);
        behind.map(|bytes| bytes.load(Ordering::Relaxed)).sum::<u64>() > WAITING_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::{Pressure, WAITING_BYTES_MAX};

    #[test]
    fn only_what_waits_behind_a_node_counts() {
        let pressure = Pressure::new(3);
        pressure.add(1, WAITING_BYTES_MAX as usize + 1);
        assert!(pressure.is_high_behind(0));
        assert!(!pressure.is_high_behind(1) && !pressure.is_high_behind(2));
        pressure.remove(1, 1);
        assert!(!pressure.is_high_behind(0));
    }
}
