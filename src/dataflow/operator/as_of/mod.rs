//! ASOF joins: every left row with the last right row of its key that is not later than it.
//!
//! ```text
//! time    ───────────────────────────────▶
//! right       a           b         c
//! left    1       2   3       4         5        1 –   2 a   3 a   4 b   5 c
//! ```
//!
//! In: the rows of both sides in one stream, partitioned by the keys: the columns of the keys, whether it is a right row, the time, the left
//! columns, the right ones (NULL in the rows of the other side). Out: the left columns, then the right ones.
//! Holds: the rows of both sides, by key and in the order of time. With a watermark only the left rows that are not over, and of each
//! key's right rows only the last one that is. A left row without a key or a time comes out by itself, and is not held.
//!
//! A right row that comes or goes concerns the left rows up to the next right row: those are walked, with the right row that each of them had
//! and the one that it has now. Of several right rows of one time the greatest counts, by all of its columns, NULL being the least value.
//! Looking forward in time (`<=`, `<`) is the same with the order the other way round.
//!
//! One right row may be that of a million left ones: an epoch is worked off in pieces, key by key ([`work`]).

#[cfg(test)]
mod tests;
mod timed;
pub mod versions;
mod walk;
mod work;

use arrow::datatypes::SchemaRef;

use self::timed::Timed;
use self::work::Underway;
use super::ordered::Groups;
use super::output::OutputSchema;
use super::{Operator, StateSize, Work};
use crate::dataflow::event_time::LowAt;
use crate::error::Result;
use crate::plan::OrderColumn;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// What an ASOF join is made of.
pub struct AsOfSpec {
    /// The rows of both sides: see above.
    pub input: SchemaRef,
    /// How many of its columns are keys.
    pub keys: usize,
    /// How many are the left ones.
    pub left: usize,
    /// A right row of the same time counts.
    pub inclusive: bool,
    /// The first right row that is not earlier, instead of the last that is not later.
    pub forward: bool,
    /// Left rows without a right row come out, padded with NULLs.
    pub outer: bool,
    /// The left columns and the right ones.
    pub output: SchemaRef,
    /// Below what rows of both sides are over.
    pub low: Option<LowAt>,
}

/// An ASOF join.
pub struct AsOf {
    timed: Timed,
    /// How many columns are keys.
    keys: usize,
    left: usize,
    inclusive: bool,
    outer: bool,
    output: OutputSchema,
    /// The epoch that is being worked off.
    underway: Option<Underway>,
}

impl AsOf {
    /// Without rows. Fails for columns whose types cannot be held.
    pub fn new(spec: AsOfSpec) -> Result<Self> {
        let (side, time) = (spec.keys, spec.keys + 1);
        // A row without a time stands before all others: no right row is before it.
        let order = OrderColumn { column: time, descending: spec.forward, nulls_first: true };
        let mut groups = Groups::new(&spec.input, &(0..=side).collect::<Vec<_>>(), &[order])?;
        groups.partitioned_by((0..spec.keys).collect());
        // Looking forward, an earlier right row counts for left rows of any time before it.
        let low = spec.low.filter(|_| !spec.forward);
        let timed = Timed::new(groups, spec.input.field(time).data_type(), low)?;
        let AsOfSpec { keys, left, inclusive, outer, .. } = spec;
        Ok(AsOf { timed, keys, left, inclusive, outer, output: OutputSchema::new(spec.output), underway: None })
    }
}

impl Operator for AsOf {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        self.begin(epoch, inputs.into_iter().flatten().collect(), output)
    }

    fn resume(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        self.work(output)
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.timed.checkpoint(changes)
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        self.timed.restore(entries)
    }

    fn size(&self) -> StateSize {
        self.timed.size()
    }
}
