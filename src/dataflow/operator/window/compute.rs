//! The results of a range of a partition's rows, one column per call.
//!
//! A call that fails gives NULL for all rows of the range and is reported once: its arguments were computed below, so what fails here is
//! an aggregate's overflow, and no single row is to blame.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::compute::{cast, filter};
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::row::RowConverter;
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, WindowExpr};

use super::reach::{Rows, groups_start, needed};
use super::{Memo, Results};
use crate::dataflow::operator::ordered::sorted::Entry;
use crate::dataflow::operator::ordered::{Batch, Groups, Place};
use crate::dataflow::row_errors::{RowError, RowErrorSink};
use crate::error::{Error, Result};
use crate::plan::{Ranking, WindowCall, WindowMethod, from_datafusion};

/// What is needed to compute results of one partition.
pub(super) struct Computation<'a> {
    pub(super) groups: &'a Groups<Results, Memo>,
    pub(super) slot: u32,
    pub(super) calls: &'a [WindowCall],
    pub(super) input: &'a SchemaRef,
    pub(super) results: &'a RowConverter,
    pub(super) errors: &'a RowErrorSink,
}

/// What is to be remembered at the starts of pieces.
pub(super) type Memos = Vec<(usize, Box<[Vec<ScalarValue>]>)>;

/// A running aggregate on its way through a partition.
struct Running<'a> {
    expression: &'a PlainAggregateWindowExpr,
    peers: bool,
    filter: Option<usize>,
    accumulator: Box<dyn Accumulator>,
    results: Vec<ScalarValue>,
    /// Rows of a group of peers that goes on in the next piece.
    open: usize,
    /// What went wrong; nothing more is computed then.
    failed: Option<DataFusionError>,
}

impl Computation<'_> {
    /// Pushes the results of the rows in `range`, one column per call. Gives what is to be remembered of running aggregates.
    pub(super) fn run(&self, range: &Range<u64>, columns: &mut Vec<ArrayRef>) -> Result<Memos> {
        let (running, memos) = self.running(range)?;
        let mut running = running.into_iter();
        let near = self.near(range)?;
        for (number, call) in self.calls.iter().enumerate() {
            let values = match call.method {
                WindowMethod::Place(ranking) => Ok(self.places(ranking, number, range)?),
                WindowMethod::Running { .. } => running.next().ok_or_else(|| Error::internal("a running aggregate has no results"))?,
                WindowMethod::Near { .. } => {
                    let (batch, start) = near.as_ref().ok_or_else(|| Error::internal("a window has no rows"))?;
                    call.expression.evaluate(batch).map(|values| values.slice(*start, (range.end - range.start) as usize))
                }
            };
            columns.push(self.column(call, values, range)?);
        }
        Ok(memos)
    }

    /// Results in the type that the plan promises; NULLs, if they could not be computed.
    fn column(&self, call: &WindowCall, values: DataFusionResult<ArrayRef>, range: &Range<u64>) -> Result<ArrayRef> {
        match values {
            Ok(values) if *values.data_type() == call.result => Ok(values),
            Ok(values) => Ok(cast(&values, &call.result)?),
            Err(error) => {
                let error = from_datafusion(error, "");
                let sample = RowError { error: error.message().to_owned(), row: call.text.clone() };
                self.errors.record(1, vec![sample]);
                Ok(new_null_array(&call.result, (range.end - range.start) as usize))
            }
        }
    }

    fn rows(&self) -> &Rows {
        self.groups.rows(self.slot)
    }

    fn batch<'e>(&self, entries: impl Iterator<Item = &'e Entry<Results>>) -> Result<RecordBatch> {
        let mut batch = Batch::default();
        entries.for_each(|entry| batch.push(self.slot, &entry.row));
        let columns = self.groups.columns(&batch, 0..batch.len())?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(self.input), columns, &options)?)
    }

    /// The rows that calls with a limited view need, and where those of `range` start among them; `None` if there is no such call.
    fn near(&self, range: &Range<u64>) -> Result<Option<(RecordBatch, usize)>> {
        let rows = self.rows();
        let mut widest: Option<(u64, Range<u64>)> = None;
        for call in self.calls {
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

    /// The places of the rows in `range`; `number`: the call's.
    fn places(&self, ranking: Ranking, number: usize, range: &Range<u64>) -> Result<ArrayRef> {
        let numbers: Vec<u64> = match ranking {
            Ranking::RowNumber => (range.start + 1..range.end + 1).collect(),
            Ranking::Rank | Ranking::DenseRank => {
                let start = groups_start(self.rows(), range.start, 0);
                let (mut place, mut peers): (u64, Option<&[u8]>) = (0, None);
                if ranking == Ranking::DenseRank {
                    place = self.place_before(start, number)?;
                }
                let entries = self.rows().from(self.rows().at(start)).zip(start..range.end);
                let places = entries.map(|(entry, position)| {
                    if peers != Some(entry.row.order()) {
                        place = if ranking == Ranking::Rank { position + 1 } else { place + 1 };
                        peers = Some(entry.row.order());
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
        let results = entry.and_then(|entry| entry.payload.0.as_deref());
        let results = results.ok_or_else(|| Error::internal("a row before a change has no results"))?;
        let columns = self.results.convert_rows([self.results.parser().parse(results)])?;
        Ok(columns[number].as_primitive_opt::<UInt64Type>().map_or(0, |places| places.value(0)))
    }

    /// The results of all running aggregates, in the order of their calls.
    fn running(&self, range: &Range<u64>) -> Result<(Vec<DataFusionResult<ArrayRef>>, Memos)> {
        let Some((mut running, mut place)) = self.resume(range)? else { return Ok((Vec::new(), Vec::new())) };
        let mut memos = Memos::new();
        // With peers, results come at the end of their group: it may have begun before the range.
        let first = if running.iter().any(|running| running.peers) { groups_start(self.rows(), range.start, 0) } else { range.start };
        while place.base() < range.end && !self.rows().piece(place.piece()).is_empty() {
            if place.piece() > 0 {
                let states = running.iter_mut().map(Running::state).collect::<Vec<_>>();
                memos.push((place.piece(), states.into_boxed_slice()));
            }
            let entries = self.rows().piece(place.piece());
            let batch = self.batch(entries.iter())?;
            let next = self.rows().next_piece(place);
            let follows = self.rows().get(next).map(|entry| entry.row.order());
            for running in &mut running {
                running.advance(&batch, entries, follows, first.saturating_sub(place.base()) as usize);
            }
            place = next;
        }
        let skipped = (range.start - first) as usize;
        let length = (range.end - range.start) as usize;
        if running.iter().any(|running| running.failed.is_some()) {
            memos.clear();
        }
        Ok((running.into_iter().map(|running| running.finish(skipped, length)).collect(), memos))
    }

    /// The accumulators at the last place before `range` whose states are known.
    fn resume(&self, range: &Range<u64>) -> Result<Option<(Vec<Running<'_>>, Place)>> {
        let calls = self.calls.iter().filter(|call| matches!(call.method, WindowMethod::Running { .. }));
        let mut running = calls.map(Running::new).collect::<Result<Vec<_>>>()?;
        if running.is_empty() {
            return Ok(None);
        }
        let start = groups_start(self.rows(), range.start, 0);
        let mut piece = self.rows().at(start).piece();
        while piece > 0 && !self.rows().memo(piece).is_some_and(Option::is_some) {
            piece -= 1;
        }
        if let Some(Some(states)) = self.rows().memo(piece).filter(|_| piece > 0) {
            running.iter_mut().zip(states).for_each(|(running, state)| running.set(state));
        }
        Ok(Some((running, self.rows().piece_start(piece))))
    }
}

impl<'a> Running<'a> {
    fn new(call: &'a WindowCall) -> Result<Self> {
        let expression = call.expression.as_any().downcast_ref::<PlainAggregateWindowExpr>();
        let expression = expression.ok_or_else(|| Error::internal("a running aggregate of another kind"))?;
        let WindowMethod::Running { peers, filter } = call.method else {
            return Err(Error::internal("not a running aggregate"));
        };
        let accumulator = expression.get_aggregate_expr().create_accumulator().map_err(|error| from_datafusion(error, ""))?;
        Ok(Running { expression, peers, filter, accumulator, results: Vec::new(), open: 0, failed: None })
    }

    /// Runs a step, unless one has failed.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> DataFusionResult<()>) {
        if self.failed.is_none() {
            self.failed = step(self).err();
        }
    }

    /// The state as it is. Taking it may empty the accumulator, so a new one goes on from it.
    fn state(&mut self) -> Vec<ScalarValue> {
        let mut taken = Vec::new();
        self.attempt(|running| {
            taken = running.accumulator.state()?;
            Ok(())
        });
        self.set(&taken);
        taken
    }

    /// Goes on from a state.
    fn set(&mut self, state: &[ScalarValue]) {
        self.attempt(|running| {
            let columns = state.iter().map(|value| value.to_array_of_size(1)).collect::<DataFusionResult<Vec<_>>>()?;
            running.accumulator = running.expression.get_aggregate_expr().create_accumulator()?;
            running.accumulator.merge_batch(&columns)
        });
    }

    /// Goes on by one piece, whose rows are `batch`; results from row `wanted` on. `follows`: the order's bytes of the row behind it.
    fn advance(&mut self, batch: &RecordBatch, entries: &[Entry<Results>], follows: Option<&[u8]>, wanted: usize) {
        self.attempt(|running| {
            let arguments = running.expression.evaluate_args(batch)?;
            let mask = running.filter.map(|column| batch.column(column).as_boolean());
            let mut done = wanted.min(entries.len());
            running.add(&arguments, mask, 0..done)?;
            while done < entries.len() {
                let order = entries[done].row.order();
                let length = if running.peers { entries[done..].iter().take_while(|entry| entry.row.order() == order).count() } else { 1 };
                running.add(&arguments, mask, done..done + length)?;
                done += length;
                // Peers in the next piece count too: their result comes with the last of them.
                running.pend(length, running.peers && done == entries.len() && follows == Some(order))?;
            }
            Ok(())
        });
    }

    fn add(&mut self, arguments: &[ArrayRef], mask: Option<&BooleanArray>, rows: Range<usize>) -> DataFusionResult<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let sliced = arguments.iter().map(|values| values.slice(rows.start, rows.len()));
        let values: Vec<ArrayRef> = match mask {
            Some(mask) => {
                let mask = mask.slice(rows.start, rows.len());
                sliced.map(|values| filter(&values, &mask)).collect::<Result<_, _>>()?
            }
            None => sliced.collect(),
        };
        self.accumulator.update_batch(&values)
    }

    /// Gives `rows` more rows their result: now, or (`open`) with the peers that follow.
    fn pend(&mut self, rows: usize, open: bool) -> DataFusionResult<()> {
        self.open += rows;
        if !open {
            let result = self.accumulator.evaluate()?;
            self.results.extend(std::iter::repeat_n(result, std::mem::take(&mut self.open)));
        }
        Ok(())
    }

    /// `length` results behind the first `skipped`.
    fn finish(self, skipped: usize, length: usize) -> DataFusionResult<ArrayRef> {
        match self.failed {
            Some(error) => Err(error),
            None => ScalarValue::iter_to_array(self.results.into_iter().skip(skipped).take(length)),
        }
    }
}
