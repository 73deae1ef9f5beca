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

use super::keys::{KeyTable, key_table};
use super::layout::{Batch, Layout};
use super::state::End;
use crate::dataflow::operator::Stateless;
use crate::dataflow::operator::output::OutputSchema;
use crate::error::{Error, Result};
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

    /// Whether the next rows pass one by one.
    fn passes(&mut self, rows: usize) -> bool {
        let alone = rows < ROWS_MIN && !self.keys.is_empty();
        let pauses = !alone && self.pause > 0;
        self.pause -= usize::from(pauses);
        alone || pauses
    }

    /// Row numbers of groups, and the columns of their keys.
    fn groups(&mut self, keys: &[ArrayRef], rows: usize) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let mut slots = Vec::new();
        self.table.locate(keys, rows, &mut slots)?;
        let groups = self.table.end();
        let found = self.table.columns(&(0..groups as u32).collect::<Vec<_>>());
        self.table.clear();
        if groups > 1 && groups * 2 > rows {
            self.pause = PAUSE_BATCHES;
        }
        Ok((slots, found?))
    }

    /// The number of rows and the partial results of every call, of which `values` has those of the accumulators.
    fn partials(&self, rows: ArrayRef, values: impl Fn(usize, End) -> Option<Result<ArrayRef>>) -> Result<Option<Vec<ArrayRef>>> {
        let mut columns = vec![Arc::clone(&rows)];
        for (call, output) in self.calls.iter().zip(&self.layout.outputs) {
            if let Some(state) = output.state {
                let Some(partial) = values(state, output.end) else { return Ok(None) };
                columns.push(partial?);
            }
            let counts_rows = call.function == AggregateFunction::Count && call.argument.is_none() && call.filter.is_none();
            if counts_rows || matches!(call.function, AggregateFunction::Min | AggregateFunction::Max) {
                continue;
            }
            columns.push(match output.count {
                Some(count) => match values(count, End::Least) {
                    Some(counts) => counts?,
                    None => return Ok(None),
                },
                None => Arc::clone(&rows),
            });
        }
        Ok(Some(columns))
    }

    /// Rows that stand for themselves; `None` if they must go through the accumulators.
    fn rows_apart(&self, batch: &Batch<'_>, rows: usize) -> Result<Option<Vec<ArrayRef>>> {
        let counts = batch.weights().map_or_else(|| vec![1; rows], <[i64]>::to_vec);
        self.partials(Arc::new(Int64Array::from(counts)), |accumulator, _| self.layout.values_of_rows(accumulator, batch).map(Ok))
    }

    /// So many groups, through the accumulators.
    fn combined(&mut self, batch: &Batch<'_>, groups: usize) -> Result<Vec<ArrayRef>> {
        self.layout.grow(groups);
        self.layout.update(batch)?;
        let all: Vec<u32> = (0..groups as u32).collect();
        let taken = self.layout.cells.take(&all);
        let partials =
            self.partials(taken.row_counts(), |accumulator, end| Some(self.layout.accumulators[accumulator].values(&taken, end)))?;
        self.layout.reset_all(groups as u32);
        partials.ok_or_else(|| Error::internal("accumulators know their values"))
    }
}

impl Stateless for Combine {
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let rows = changes.len();
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| Arc::clone(changes.column(*key))).collect();
        let passes = self.passes(rows);
        let (slots, mut columns) = if passes { ((0..rows as u32).collect(), keys) } else { self.groups(&keys, rows)? };
        let groups = slots.iter().max().map_or(0, |last| *last as usize + 1);
        let batch = self.layout.look(&changes, &slots, None);
        let apart = if passes { self.rows_apart(&batch, rows)? } else { None };
        columns.extend(match apart {
            Some(partials) => partials,
            None => self.combined(&batch, groups)?,
        });
        if self.counts_changes {
            let mut counts = vec![0; groups];
            (0..rows).for_each(|row| counts[slots[row] as usize] += changes.weight(row).saturating_abs());
            columns.push(Arc::new(Int64Array::from(counts)));
        }
        output.push(self.output.changes(columns, groups, None)?);
        Ok(())
    }
}
