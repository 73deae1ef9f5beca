//! The operators, one file each: synchronous values that know nothing of timely, threads or disks.
//!
//! A stateless operator is a function from `Changes` to `Changes` and runs as they arrive. A stateful one runs when its epoch closes:
//! at that moment all inputs of the epoch are known. An operator that may make many rows out of few makes them in pieces, and one that needs
//! not see an epoch as a whole takes large ones in parts (docs/decisions/0005). The shared driver does the plumbing; tests drive operators without timely.

mod agenda;
pub mod aggregate;
pub mod arrival;
pub mod as_of;
pub mod close;
pub mod delta_join;
pub mod expand;
mod expiry;
pub mod fixpoint;
pub mod hop;
pub mod join;
pub mod late;
pub mod lookup_join;
pub mod map;
mod narrow;
pub mod net;
mod ordered;
pub mod output;
pub mod rows;
pub mod session;
mod slot_table;
pub mod temporal;
pub mod top_n;
pub mod unnest;
pub mod window;

use crate::error::Result;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// Whether there is more to do with what was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Everything has come out.
    Done,
    /// `resume` goes on.
    Left,
}

/// A function from changes to changes, without memory.
pub trait Stateless {
    /// What comes out for `changes`; pushes any number of batches (not empty ones) to `output`. May leave rows for `resume`.
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()>;

    /// Goes on with what was taken, for a batch of output or a few milliseconds. Called until it is done, before the next `apply`.
    fn resume(&mut self, _output: &mut Vec<Changes>) -> Result<Work> {
        Ok(Work::Done)
    }
}

/// A function from all changes of an epoch to changes, with a memory that can be checkpointed.
pub trait Operator {
    /// Takes everything that arrived in `epoch`, one list per input in the order of the plan node's inputs, and pushes what changes in
    /// the output. Called in increasing epochs, and only for epochs with input (and once, first of all, for an operator that has output without).
    /// Within a loop it is called once for each iteration of an epoch that has input.
    /// May leave work for `resume`; takes the last part of an epoch of which it took others.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()>;

    /// Goes on with what was taken, for a batch of output or a few milliseconds. Called until it is done, before anything else is taken.
    fn resume(&mut self, _output: &mut Vec<Changes>) -> Result<Work> {
        Ok(Work::Done)
    }

    /// Whether a large epoch may be handed over in parts as it arrives, so that it needs not be stashed: the order in which changes arrive
    /// must not matter, nor that a retraction may come in an earlier part than what it retracts.
    fn takes_parts(&self) -> bool {
        false
    }

    /// Takes some of what arrives in `epoch`; `step` will take the rest. As it is, each part is an epoch of its own: right where inputs
    /// only grow. May leave work for `resume`.
    fn take_part(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        self.step(epoch, inputs, output)
    }

    /// No checkpoint will ever be asked for: what changes needs not be remembered. Called before the first `step`, if at all.
    fn without_checkpoints(&mut self) {}

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
