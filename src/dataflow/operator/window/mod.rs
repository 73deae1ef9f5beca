//! Window functions, maintained: every row with the values of its functions behind it.
//!
//! In: changes, partitioned by the windows' keys. Out: the difference between the old rows with their results and the new.
//! Holds: every partition's rows in order, each with the results that were emitted with it; and for running aggregates the accumulators'
//! state at the start of each piece of the list.
//! Always: what we have emitted equals the held rows with their results, at each closed epoch. Rows that the order leaves equal stand in
//! the order of their other columns, so the results depend on the rows alone.
//!
//! After a change only those rows are computed anew whose result may differ, and only those emitted whose result does. How far a change
//! reaches is known for each call from the plan ([`WindowMethod`]), and all calls share the widest [`reach`]:
//!
//! ```text
//! rows        a b c d e f g h i j      x comes between d and e
//! lag(1)              x e              the row itself and the next
//! sum over 2 before   x e f            DataFusion computes it over c d x e f
//! row_number          x e f g h i j    counted from the place
//! running sum         x e f g h i j    the accumulator goes on from the last remembered state before x
//! anything else   a b c d x e f g h i j
//! ```
//!
//! Where the order is one of event time ([`settle`]), rows that the watermark has passed and nobody looks at any more are forgotten; and if
//! rows are to come out once, each does when no change will reach it, and is not computed before.
//!
//! What DataFusion computes over a part of the partition is what it computes over all of it: the part holds every row that the results
//! depend on, and sums of floats are exact (`plan/aggregates/framed.rs`). Results are kept all the same: what is retracted is always what
//! was emitted.

mod base;
mod compute;
mod reach;
mod results;
mod running;
mod settle;
#[cfg(test)]
mod settle_tests;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;

use self::compute::{Computation, Failure};
use self::reach::Seam;
use self::results::Results;
use self::settle::Settling;
use super::ordered::{Batch, GroupChanges, Groups, Kept, Place, RowRef};
use super::output::OutputSchema;
use super::{Operator, StateSize};
use crate::dataflow::event_time::LowAt;
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::{Error, Result};
use crate::plan::{OrderColumn, WindowCall};
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch, RowError, all_nullable, decode_rows};

/// The state of a running aggregate at one place of a partition, or why it got stuck before.
type CallState = Result<Vec<ScalarValue>, Arc<str>>;

/// The states of all running aggregates at one place of a partition, one per call; `None`: not known.
type Memo = Option<Box<[CallState]>>;

/// What a window operator is made of.
#[derive(Clone, Debug)]
pub struct WindowSpec {
    /// The rows that come in.
    pub input: SchemaRef,
    /// Positions of the columns that make a partition.
    pub keys: Vec<usize>,
    /// The order within a partition.
    pub order: Vec<OrderColumn>,
    /// What is computed for each row.
    pub calls: Vec<WindowCall>,
    /// The input's columns, then one per call.
    pub output: SchemaRef,
}

/// Window functions over one partitioning and order.
pub struct Window {
    groups: Groups<Results, Memo>,
    calls: Vec<WindowCall>,
    /// The input's columns, all nullable.
    input: SchemaRef,
    results: RowConverter,
    output: OutputSchema,
    errors: RowErrorSink,
    /// How event time passes rows, if the order is one of times.
    settling: Option<Settling>,
}

/// Rows with their results on their way out.
#[derive(Default)]
struct Emitted {
    rows: Batch,
    results: Vec<u8>,
    ends: Vec<usize>,
    weights: Vec<i64>,
}

impl Emitted {
    fn push(&mut self, slot: u32, row: RowRef<'_>, results: &[u8], weight: i64) {
        self.rows.push(slot, row);
        self.results.extend_from_slice(results);
        self.ends.push(self.results.len());
        self.weights.push(weight);
    }

    fn results(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.results[start..self.ends[row]]
    }

    /// The same, the oldest first.
    fn in_order_of_time(self) -> Self {
        let mut order: Vec<usize> = (0..self.weights.len()).collect();
        order.sort_by_key(|row| self.rows.row(*row).1.time());
        let mut sorted = Emitted::default();
        for number in order {
            let (slot, row) = self.rows.row(number);
            sorted.push(slot, row, self.results(number), self.weights[number]);
        }
        sorted
    }
}

impl Window {
    /// No rows yet. Fails for columns whose types cannot be held.
    pub fn new(spec: WindowSpec, errors: RowErrorSink) -> Result<Self> {
        let fields = spec.calls.iter().map(|call| SortField::new(call.result.clone())).collect();
        let results = RowConverter::new(fields).map_err(|_| {
            let types = spec.calls.iter().map(|call| call.result.to_string()).collect::<Vec<_>>().join(", ");
            Error::not_supported(format!("keeping window functions' results of these types in a materialized view's state: {types}"))
        })?;
        Ok(Window {
            groups: Groups::new(&spec.input, &spec.keys, &spec.order)?,
            calls: spec.calls,
            input: all_nullable(&spec.input),
            results,
            output: OutputSchema::new(spec.output),
            errors,
            settling: None,
        })
    }

    /// Says which of the keys (by their place among the keys) the input is exchanged by, if not by all.
    #[must_use]
    pub fn partitioned_by(mut self, places: Vec<usize>) -> Self {
        self.groups.partitioned_by(places);
        self
    }

    /// Forgets partitions when what their key at `place` (among the keys) says is below `low`: their rows stay as they are.
    #[must_use]
    pub fn closing(mut self, place: usize, low: LowAt) -> Self {
        self.groups.closing(place, low);
        self
    }

    /// Brings one partition up to date: all of it, or the rows that changes may reach.
    fn update(&mut self, epoch: Epoch, slot: u32, changes: GroupChanges<'_>, emitted: &mut Emitted) -> Result<()> {
        let settled = self.settling.as_ref().and_then(|settling| settling.before(epoch));
        let settled = settled.map_or(0, |low| reach::settled(self.groups.rows(slot), &self.calls, low));
        let seams = apply(&mut self.groups.open(slot), slot, changes, emitted)?;
        let mut group = self.groups.open(slot);
        if let Some(first) = seams.first() {
            group.rows().forget_memos(first.start);
        }
        drop(group);
        if self.waits() {
            return Ok(());
        }
        // What looks further than needed may reach rows of which nothing is known any more.
        for range in reach::affected(self.groups.rows(slot), &self.calls, &seams) {
            let range = range.start.max(settled)..range.end;
            if !range.is_empty() {
                self.compute(slot, &range, emitted)?;
            }
        }
        Ok(())
    }

    /// What is needed to compute results of a partition.
    fn computation(&self, slot: u32) -> Computation<'_> {
        let bases = self.settling.as_ref().and_then(|settling| settling.bases.as_ref());
        Computation { groups: &self.groups, slot, calls: &self.calls, input: &self.input, results: &self.results, bases }
    }

    /// Computes some rows' results, and emits those rows that have not come out with the same.
    fn compute(&mut self, slot: u32, range: &Range<u64>, emitted: &mut Emitted) -> Result<()> {
        let mut columns = Vec::with_capacity(self.calls.len());
        let (memos, failures) = self.computation(slot).run(range, &mut columns)?;
        self.report(slot, range.start, failures)?;
        let results = self.results.convert_columns(&columns)?;
        let mut group = self.groups.open(slot);
        memos.into_iter().for_each(|(place, memo)| group.rows().remember(place, Some(memo)));
        let mut place = group.rows().at(range.start);
        for result in &results {
            replace(&mut group, slot, place, result.data(), emitted)?;
            place = group.rows().next(place);
        }
        Ok(())
    }

    /// Tells of rows for which a call fails now, and did not before.
    fn report(&self, slot: u32, start: u64, failures: Vec<Failure>) -> Result<()> {
        let rows = self.groups.rows(slot);
        for Failure { call, rows: failed, message } in failures {
            let mut count = 0;
            for row in failed {
                let entry = rows.get(rows.at(start + row as u64));
                let failed_before = match entry.and_then(|entry| entry.payload.emitted.as_deref()) {
                    Some(known) => decode_rows(&self.results, std::iter::once(known))?[call].is_null(0),
                    None => false,
                };
                count += u64::from(!failed_before);
            }
            if count > 0 {
                self.errors.record(count, vec![RowError { error: message, row: self.calls[call].text.clone() }]);
            }
        }
        Ok(())
    }

    fn emit(&self, emitted: &Emitted, output: &mut Vec<Changes>) -> Result<()> {
        for range in self.groups.parts(&emitted.rows, |row| emitted.results(row).len()) {
            let mut columns = self.groups.columns(&emitted.rows, range.clone())?;
            columns.extend(decode_rows(&self.results, range.clone().map(|row| emitted.results(row)))?);
            let weights = Int64Array::from(emitted.weights[range.clone()].to_vec());
            output.push(self.output.changes(columns, range.len(), Some(weights))?);
        }
        Ok(())
    }
}

/// Puts an epoch's changes into a partition. Retracts what goes, and tells where something changed, from the front to the end.
fn apply(group: &mut Kept<'_, Results, Memo>, slot: u32, changes: GroupChanges<'_>, emitted: &mut Emitted) -> Result<Vec<Seam>> {
    let mut seams: Vec<Seam> = Vec::new();
    let mut from = Place::default();
    for (row, weight) in changes.iter() {
        from = group.rows().find(from, row);
        let start = group.rows().before(from);
        for _ in 0..weight {
            from = group.rows().insert(from, row, Results::default());
        }
        for _ in weight..0 {
            let removed = if group.rows().get(from).is_some_and(|entry| entry.row == row) { group.remove(from) } else { None };
            let removed = removed.ok_or_else(|| Error::internal("a window's input retracted a row that was not there"))?;
            if let Some(results) = removed.emitted {
                emitted.push(slot, row, &results, -1);
            }
            from = group.rows().find(Place::default(), row);
        }
        let end = start + u64::try_from(weight).unwrap_or(0);
        match seams.last_mut() {
            Some(last) if last.end >= start => last.end = end,
            _ => seams.push(start..end),
        }
    }
    Ok(seams)
}

/// Takes a row's new results, and emits the row if they are not the old ones.
fn replace(group: &mut Kept<'_, Results, Memo>, slot: u32, place: Place, results: &[u8], emitted: &mut Emitted) -> Result<()> {
    let Some(entry) = group.rows().get(place) else {
        return Err(Error::internal("a window function has more results than rows"));
    };
    if entry.payload.emitted.as_deref() == Some(results) {
        return Ok(());
    }
    if let Some(old) = &entry.payload.emitted {
        emitted.push(slot, entry.row, old, -1);
    }
    emitted.push(slot, entry.row, results, 1);
    group.rows().update(place, |payload| payload.emitted = Some(results.into()));
    Ok(())
}

impl Operator for Window {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        let changes = self.groups.gather(inputs.into_iter().flatten())?;
        let mut emitted = Emitted::default();
        for (slot, of_group) in changes.groups() {
            self.note(slot, of_group);
            self.update(epoch, slot, of_group, &mut emitted)?;
        }
        let passed = self.settle(epoch, &mut emitted)?;
        self.emit(&if self.waits() { emitted.in_order_of_time() } else { emitted }, output)?;
        changes.groups().map(|(slot, _)| slot).chain(passed).for_each(|slot| self.groups.close(slot));
        self.groups.expire(epoch)
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.groups.checkpoint(changes)?;
        self.note_all(false);
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.groups.restore(&entry?)?;
        }
        self.note_all(true);
        Ok(())
    }

    fn size(&self) -> StateSize {
        let size = self.groups.size();
        StateSize { bytes: size.bytes + self.settling.as_ref().map_or(0, Settling::bytes), ..size }
    }
}
