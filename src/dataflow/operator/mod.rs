//! The operators, one file each: synchronous values that know nothing of timely, threads or disks.
//!
//! A stateless operator is a function from `Changes` to `Changes` and runs as they arrive. A stateful one runs when its epoch closes:
//! at that moment all inputs of the epoch are known. The shared driver does the plumbing; tests drive operators without timely.

pub mod aggregate;
pub mod expand;
pub mod fixpoint;
pub mod hop;
pub mod join;
pub mod map;
pub mod net;
mod ordered;
pub mod output;
pub mod rows;
pub mod top_n;
pub mod unnest;
pub mod window;

use crate::error::Result;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// A function from changes to changes, without memory.
pub trait Stateless {
    /// What comes out for `changes`; pushes any number of batches (not empty ones) to `output`.
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()>;
}

/// A function from all changes of an epoch to changes, with a memory that can be checkpointed.
pub trait Operator {
    /// Takes everything that arrived in `epoch`, one list per input in the order of the plan node's inputs, and pushes what changes in
    /// the output. Called in increasing epochs, and only for epochs with input (and once, first of all, for an operator that has output without).
    /// Within a loop it is called once for each iteration of an epoch that has input.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()>;

    /// Hands over what changed in the state since the last call, by key. The state layer knows nothing of the bytes.
    /// After an error the operator is not used any more.
    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()>;

    /// Takes back what checkpoints handed over: called once, before the first `step`, with every live entry of this worker's buckets.
    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()>;

    /// Rows and bytes held, for `tidemill.state`.
    fn size(&self) -> StateSize;
}

/// How much an operator holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Groups or rows.
    pub rows: usize,
    /// Bytes of memory, as near as can be told without walking the state.
    pub bytes: usize,
}
