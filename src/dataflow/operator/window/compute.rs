//! The results of a range of a partition's rows, one column per call.
//!
//! A row whose result cannot be computed has NULL. Arguments were computed below, so what fails here is an aggregate's overflow, of the
//! row's own frame: which rows fail depends on the rows of the partition alone, and not on what is computed together.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::row::RowConverter;
use datafusion::common::DataFusionError;

use super::base::{Base, BaseFormat};
use super::reach::{Rows, groups_start, head, needed};
use super::running::Running;
use super::{CallState, Memo, Results};
use crate::dataflow::operator::ordered::{Batch, Entry, Groups, Place};
use crate::error::{Error, Result};
use crate::plan::{Ranking, WindowCall, WindowMethod, from_datafusion};
use crate::types::canonical_floats;

/// What is needed to compute results of one partition.
pub(super) struct Computation<'a> {
    pub(super) groups: &'a Groups<Results, Memo>,
    pub(super) slot: u32,
    pub(super) calls: &'a [WindowCall],
    pub(super) input: &'a SchemaRef,
    pub(super) results: &'a RowConverter,
    /// How what was forgotten is written; `None`: nothing ever is.
    pub(super) bases: Option<&'a BaseFormat>,
}

/// What is to be remembered at the starts of pieces.
pub(super) type Memos = Vec<(Place, Box<[CallState]>)>;

/// Rows of a range for which a call failed: they have NULL.
#[derive(Debug)]
pub(super) struct Failure {
    /// The call's number.
    pub(super) call: usize,
    /// Counted from the start of the range.
    pub(super) rows: Vec<usize>,
    /// What went wrong with the first of them.
    pub(super) message: String,
}

/// A call's results for a range, NULL in the rows that failed.
pub(super) struct Outcome {
    pub(super) values: ArrayRef,
    pub(super) failed: Vec<usize>,
    pub(super) message: String,
}

impl Outcome {
    /// All went well.
    fn good(values: ArrayRef) -> Self {
        Outcome { values, failed: Vec::new(), message: String::new() }
    }
}

/// What DataFusion says went wrong.
pub(super) fn message(error: DataFusionError) -> String {
    from_datafusion(error, "").message().to_owned()
}

impl Computation<'_> {
    /// Pushes the results of the rows in `range`, one column per call. Gives what is to be remembered of running aggregates, and what failed.
    pub(super) fn run(&self, range: &Range<u64>, columns: &mut Vec<ArrayRef>) -> Result<(Memos, Vec<Failure>)> {
        let (running, memos) = self.running(range)?;
        let mut running = running.into_iter();
        let near = self.near(self.calls, range)?;
        let mut failures = Vec::new();
        for (number, call) in self.calls.iter().enumerate() {
            let outcome = match call.method {
                WindowMethod::Place(ranking) => Outcome::good(self.places(ranking, number, range)?),
                WindowMethod::Running { .. } => running.next().ok_or_else(|| Error::internal("a running aggregate has no results"))?,
                WindowMethod::Near { .. } => self.framed(call, near.as_ref(), range)?,
            };
            let same = *outcome.values.data_type() == call.result;
            columns.push(canonical_floats(if same { outcome.values } else { cast(&outcome.values, &call.result)? }));
            if !outcome.failed.is_empty() {
                failures.push(Failure { call: number, rows: outcome.failed, message: outcome.message });
            }
        }
        Ok((memos, failures))
    }

    /// The results of a call with a limited view, from the rows near by. If it fails, each row is computed by itself, to know for which.
    fn framed(&self, call: &WindowCall, near: Option<&(RecordBatch, usize)>, range: &Range<u64>) -> Result<Outcome> {
        let (batch, start) = near.ok_or_else(|| Error::internal("a window has no rows"))?;
        let length = (range.end - range.start) as usize;
        let error = match call.expression.evaluate(batch) {
            Ok(values) => return Ok(Outcome::good(values.slice(*start, length))),
            Err(error) => error,
        };
        if call.method == WindowMethod::WHOLE || length <= 1 {
            let values = new_null_array(&call.result, length);
            return Ok(Outcome { values, failed: (0..length).collect(), message: message(error) });
        }
        let mut outcome = Outcome { message: message(error), ..Outcome::good(new_null_array(&call.result, 0)) };
        let mut values = Vec::with_capacity(length);
        for (row, position) in range.clone().enumerate() {
            let single = position..position + 1;
            let near = self.near(std::slice::from_ref(call), &single)?;
            let one = self.framed(call, near.as_ref(), &single)?;
            outcome.failed.extend(one.failed.iter().map(|_| row));
            values.push(cast(&one.values, &call.result)?);
        }
        outcome.values = concat(&values.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        Ok(outcome)
    }

    fn rows(&self) -> &Rows {
        self.groups.rows(self.slot)
    }

    fn batch<'e>(&self, entries: impl Iterator<Item = Entry<'e, Results>>) -> Result<RecordBatch> {
        let mut batch = Batch::default();
        entries.for_each(|entry| batch.push(self.slot, entry.row));
        let columns = self.groups.columns(&batch, 0..batch.len())?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(self.input), columns, &options)?)
    }

    /// The rows that those of `calls` with a limited view need, and where those of `range` start among them; `None` if there is no such call.
    fn near(&self, calls: &[WindowCall], range: &Range<u64>) -> Result<Option<(RecordBatch, usize)>> {
        let rows = self.rows();
        let mut widest: Option<(u64, Range<u64>)> = None;
        for call in calls {
            let WindowMethod::Near { head, .. } = call.method else { continue };
            let needed = needed(rows, call.method, range);
            widest = Some(match widest {
                Some((known, wide)) => (known.max(head), wide.start.min(needed.start)..wide.end.max(needed.end)),
                None => (head, needed),
            });
        }
        let Some((head, mut wide)) = widest else { return Ok(None) };
        let head = head.min(rows.total());
        let front = if wide.start <= head {
            wide.start = 0;
            0
        } else {
            head
        };
        let near = rows.from(rows.at(wide.start)).take((wide.end - wide.start) as usize);
        let batch = self.batch(rows.from(rows.at(0)).take(front as usize).chain(near))?;
        Ok(Some((batch, (front + range.start - wide.start) as usize)))
    }

    /// What is known of the rows that were forgotten, and the position of the row that it stands with: the first behind those that every
    /// result may need.
    fn base(&self) -> Option<(u64, &Base)> {
        let position = self.bases.map(|_| head(self.calls))?;
        let entry = self.rows().get(self.rows().at(position))?;
        Some((position, entry.payload.base.as_deref()?))
    }

    /// How many rows of the partition were forgotten.
    fn forgotten(&self) -> u64 {
        self.base().map_or(0, |(position, base)| base.rows - position - 1)
    }

    /// What is to be remembered with the row at `position`, when those before it are forgotten.
    pub(super) fn base_at(&self, position: u64) -> Result<Option<Base>> {
        let Some(format) = self.bases else { return Ok(None) };
        let rows = self.forgotten() + position + 1;
        Ok(Some(Base { rows, states: format.encode(&self.states_before(position + 1)?)? }))
    }

    /// The states of all running aggregates before the row at `position`.
    fn states_before(&self, position: u64) -> Result<Vec<CallState>> {
        let Some((mut running, mut place)) = self.resume(position)? else { return Ok(Vec::new()) };
        let rows = self.rows();
        while rows.get(place).is_some() && rows.before(place) < position {
            let start = rows.before(place);
            let entries = rows.piece_entries(place).skip((start - place.base()) as usize).take((position - start) as usize);
            let orders: Vec<&[u8]> = entries.clone().map(|entry| entry.row.order).collect();
            let batch = self.batch(entries)?;
            running.iter_mut().for_each(|running| running.advance(&batch, &orders, None, orders.len()));
            place = rows.next_piece(place);
        }
        Ok(running.iter_mut().map(Running::state).collect())
    }

    /// The places of the rows in `range`; `number`: the call's.
    fn places(&self, ranking: Ranking, number: usize, range: &Range<u64>) -> Result<ArrayRef> {
        let forgotten = self.forgotten();
        let numbers: Vec<u64> = match ranking {
            Ranking::RowNumber => (range.start + 1..range.end + 1).map(|place| forgotten + place).collect(),
            Ranking::Rank | Ranking::DenseRank => {
                let start = groups_start(self.rows(), range.start, 0);
                let (mut place, mut peers): (u64, Option<&[u8]>) = (0, None);
                if ranking == Ranking::DenseRank {
                    place = self.place_before(start, number)?;
                }
                let entries = self.rows().from(self.rows().at(start)).zip(start..range.end);
                let places = entries.map(|(entry, position)| {
                    if peers != Some(entry.row.order) {
                        place = if ranking == Ranking::Rank { forgotten + position + 1 } else { place + 1 };
                        peers = Some(entry.row.order);
                    }
                    place
                });
                let places: Vec<u64> = places.collect();
                places[(range.start - start) as usize..].to_vec()
            }
        };
        Ok(Arc::new(UInt64Array::from(numbers)))
    }

    /// The place that was emitted with the row before `position`, which no change has touched.
    fn place_before(&self, position: u64, number: usize) -> Result<u64> {
        let Some(before) = position.checked_sub(1) else { return Ok(0) };
        let entry = self.rows().get(self.rows().at(before));
        let results = entry.and_then(|entry| entry.payload.emitted.as_deref());
        let results = results.ok_or_else(|| Error::internal("a row before a change has no results"))?;
        let columns = self.results.convert_rows([self.results.parser().parse(results)])?;
        Ok(columns[number].as_primitive_opt::<UInt64Type>().map_or(0, |places| places.value(0)))
    }

    /// The results of all running aggregates, in the order of their calls.
    fn running(&self, range: &Range<u64>) -> Result<(Vec<Outcome>, Memos)> {
        // With peers, results come at the end of their group: it may have begun before the range.
        let begin = groups_start(self.rows(), range.start, 0);
        let Some((mut running, mut place)) = self.resume(begin)? else { return Ok((Vec::new(), Vec::new())) };
        let mut memos = Memos::new();
        let first = if running.iter().any(Running::with_peers) { begin } else { range.start };
        // Rows whose peers go on in the next piece have no result before those are read.
        while (place.base() < range.end || running.iter().any(Running::waits_for_peers)) && self.rows().get(place).is_some() {
            if place.starts_piece() && !place.in_first_piece() {
                memos.push((place, running.iter_mut().map(Running::state).collect()));
            }
            let start = self.rows().before(place);
            let entries = self.rows().piece_entries(place).skip((start - place.base()) as usize);
            let orders: Vec<&[u8]> = entries.clone().map(|entry| entry.row.order).collect();
            let batch = self.batch(entries)?;
            let next = self.rows().next_piece(place);
            let follows = self.rows().get(next).map(|entry| entry.row.order);
            for running in &mut running {
                running.advance(&batch, &orders, follows, first.saturating_sub(start) as usize);
            }
            place = next;
        }
        let skipped = (range.start - first) as usize;
        let length = (range.end - range.start) as usize;
        let outcomes = running.into_iter().map(|running| running.finish(skipped, length)).collect::<Result<_>>()?;
        Ok((outcomes, memos))
    }

    /// The accumulators at the last place up to `position` where their states are known, and that place.
    fn resume(&self, position: u64) -> Result<Option<(Vec<Running<'_>>, Place)>> {
        let calls = self.calls.iter().filter(|call| matches!(call.method, WindowMethod::Running { .. }));
        let mut running = calls.map(Running::new).collect::<Result<Vec<_>>>()?;
        if running.is_empty() {
            return Ok(None);
        }
        let rows = self.rows();
        let base = self.base();
        // Of the piece that this is in, a part may have been forgotten: what is remembered of its start holds no more.
        let front = base.map_or(0, |(position, _)| position + 1);
        let mut place = rows.at(position).piece_start();
        while place.base() > front {
            if let Some(Some(states)) = rows.memo(place) {
                running.iter_mut().zip(states).for_each(|(running, state)| running.set(state));
                return Ok(Some((running, place)));
            }
            place = rows.previous_piece(place).unwrap_or_default();
        }
        if let Some(((_, base), format)) = base.zip(self.bases) {
            running.iter_mut().zip(&format.decode(&base.states)?).for_each(|(running, state)| running.set(state));
        }
        Ok(Some((running, rows.at(front))))
    }
}
