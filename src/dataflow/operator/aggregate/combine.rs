//! The first half of a GROUP BY that is split in two: combines the rows of a batch by key before they move to another worker.
//!
//! In: weighted rows. Out: insertions; per key of the batch its columns, the number of rows it stands for, and the raw partial results
//! of every call (`AggregateCall::partial_types`). What the rows retract has entered the numbers, with its sign. If asked for, how many rows came
//! and went follows, which does not depend on what is combined with what.
//! Holds: nothing between batches.
//!
//! Where nearly every row has a key of its own, finding that out costs more than moving the rows: such a batch passes row by row, in the
//! same form, and only now and then another attempt is made.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{Schema, SchemaRef};

use super::cells::Taken;
use super::keys::{KeyTable, key_table};
use super::layout::Layout;
use super::state::End;
use crate::dataflow::operator::Stateless;
use crate::dataflow::operator::output::OutputSchema;
use crate::error::Result;
use crate::plan::{AggregateCall, AggregateFunction};
use crate::types::Changes;

/// Batches below this many rows pass row by row: there is little to gain.
const ROWS_MIN: usize = 32;

/// After a batch whose groups are more than half of its rows, so many batches pass row by row. One attempt in 17 costs a few percent.
const PAUSE_BATCHES: usize = 16;

/// Combines rows of equal keys.
pub struct Combine {
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    table: Box<dyn KeyTable>,
    /// Whether rows that came and went are asked for.
    counts_changes: bool,
    layout: Layout,
    output: OutputSchema,
    /// Batches that are still to pass row by row.
    pause: usize,
}

impl Combine {
    /// Over `input`, by the columns at `keys`. `append_only`: the input never retracts. Fails for calls that cannot be split.
    pub fn new(input: &Schema, append_only: bool, keys: Vec<usize>, calls: Vec<AggregateCall>, output: SchemaRef) -> Result<Self> {
        let types: Vec<_> = keys.iter().map(|key| input.field(*key).data_type().clone()).collect();
        Ok(Combine {
            table: key_table(&types)?,
            counts_changes: false,
            layout: Layout::new(input, append_only, &calls)?,
            output: OutputSchema::new(output),
            keys,
            calls,
            pause: 0,
        })
    }

    /// Also tells how many rows came and went: one more column of the output, the last.
    #[must_use]
    pub fn counting_changes(mut self) -> Self {
        self.counts_changes = true;
        self
    }

    /// Row numbers of groups, and the columns of their keys.
    fn groups(&mut self, changes: &Changes, slots: &mut Vec<u32>) -> Result<Vec<ArrayRef>> {
        let rows = changes.len();
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| Arc::clone(changes.column(*key))).collect();
        let alone = rows < ROWS_MIN && !keys.is_empty();
        if alone || self.pause > 0 {
            self.pause -= usize::from(!alone);
            slots.extend(0..rows as u32);
            return Ok(keys);
        }
        self.table.locate(&keys, rows, slots)?;
        let groups = self.table.end();
        let found = self.table.columns(&(0..groups as u32).collect::<Vec<_>>());
        self.table.clear();
        if groups > 1 && groups * 2 > rows {
            self.pause = PAUSE_BATCHES;
        }
        found
    }

    /// The partial results of every call, over groups.
    fn partials(&self, groups: &Taken) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for (call, output) in self.calls.iter().zip(&self.layout.outputs) {
            if let Some(state) = output.state {
                columns.push(self.layout.accumulators[state].values(groups, output.end)?);
            }
            let counts_rows = call.function == AggregateFunction::Count && call.argument.is_none() && call.filter.is_none();
            if counts_rows || matches!(call.function, AggregateFunction::Min | AggregateFunction::Max) {
                continue;
            }
            columns.push(match output.count {
                Some(count) => self.layout.accumulators[count].values(groups, End::Least)?,
                None => groups.row_counts(),
            });
        }
        Ok(columns)
    }
}

impl Stateless for Combine {
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut slots = Vec::new();
        let mut columns = self.groups(&changes, &mut slots)?;
        let groups = slots.iter().max().map_or(0, |last| *last as usize + 1);
        self.layout.grow(groups);
        self.layout.update(&changes, &slots, None)?;

        let all: Vec<u32> = (0..groups as u32).collect();
        let taken = self.layout.cells.take(&all);
        columns.push(taken.row_counts());
        columns.extend(self.partials(&taken)?);
        if self.counts_changes {
            let mut counts = vec![0; groups];
            (0..changes.len()).for_each(|row| counts[slots[row] as usize] += changes.weight(row).saturating_abs());
            columns.push(Arc::new(Int64Array::from(counts)));
        }
        self.layout.reset_all(groups as u32);
        output.push(self.output.changes(columns, groups, None)?);
        Ok(())
    }
}
