//! A running aggregate on its way through a partition, piece by piece.
//!
//! What it has seen is a few numbers, which are remembered at the start of each piece, so that the next change behind it goes on from there.
//! A row whose result cannot be computed fails alone; a row that cannot be taken in fails with all behind it.

use std::ops::Range;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, WindowExpr};

use super::CallState;
use super::compute::{Outcome, message};
use crate::error::{Error, Result};
use crate::plan::{WindowCall, WindowMethod, from_datafusion};

/// One running aggregate.
pub(super) struct Running<'a> {
    call: &'a WindowCall,
    expression: &'a PlainAggregateWindowExpr,
    peers: bool,
    filter: Option<usize>,
    accumulator: Box<dyn Accumulator>,
    /// `None`: could not be computed.
    results: Vec<Option<ScalarValue>>,
    /// Rows of a group of peers that goes on in the next piece.
    open: usize,
    /// Why nothing more can be taken in.
    stuck: Option<String>,
    /// What went wrong first.
    failure: Option<String>,
}

impl<'a> Running<'a> {
    /// Before the first row. Fails for a call of another kind.
    pub(super) fn new(call: &'a WindowCall) -> Result<Self> {
        let expression = call.expression.as_any().downcast_ref::<PlainAggregateWindowExpr>();
        let expression = expression.ok_or_else(|| Error::internal("a running aggregate of another kind"))?;
        let WindowMethod::Running { peers, filter } = call.method else {
            return Err(Error::internal("not a running aggregate"));
        };
        let accumulator = expression.get_aggregate_expr().create_accumulator().map_err(|error| from_datafusion(error, ""))?;
        let (results, open, stuck, failure) = (Vec::new(), 0, None, None);
        Ok(Running { call, expression, peers, filter, accumulator, results, open, stuck, failure })
    }

    /// Whether peers of a row count for it.
    pub(super) fn with_peers(&self) -> bool {
        self.peers
    }

    /// Runs a step, unless one has failed.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> DataFusionResult<()>) {
        if self.stuck.is_none() {
            self.stuck = step(self).err().map(message);
        }
    }

    /// The state as it is. Taking it may empty the accumulator, so a new one goes on from it.
    pub(super) fn state(&mut self) -> CallState {
        let mut taken = Vec::new();
        self.attempt(|running| {
            taken = running.accumulator.state()?;
            Ok(())
        });
        let state = match &self.stuck {
            None => Ok(taken),
            Some(message) => Err(message.as_str().into()),
        };
        self.set(&state);
        state
    }

    /// Goes on from a state.
    pub(super) fn set(&mut self, state: &CallState) {
        let state = match state {
            Ok(state) => state,
            Err(message) => return self.stuck = Some(message.to_string()),
        };
        self.attempt(|running| {
            let columns = state.iter().map(|value| value.to_array_of_size(1)).collect::<DataFusionResult<Vec<_>>>()?;
            running.accumulator = running.expression.get_aggregate_expr().create_accumulator()?;
            running.accumulator.merge_batch(&columns)
        });
    }

    /// Goes on by one piece, whose rows are `batch`; results from row `wanted` on. `orders`: the order's bytes of each row; `follows`: of the
    /// row behind it.
    pub(super) fn advance(&mut self, batch: &RecordBatch, orders: &[&[u8]], follows: Option<&[u8]>, wanted: usize) {
        let mut done = wanted.min(orders.len());
        self.attempt(|running| {
            let arguments = running.expression.evaluate_args(batch)?;
            let mask = running.filter.map(|column| batch.column(column).as_boolean());
            running.add(&arguments, mask, 0..done)?;
            while done < orders.len() {
                let order = orders[done];
                let length = if running.peers { orders[done..].iter().take_while(|other| **other == order).count() } else { 1 };
                running.add(&arguments, mask, done..done + length)?;
                done += length;
                // Peers in the next piece count too: their result comes with the last of them.
                running.pend(length, running.peers && done == orders.len() && follows == Some(order));
            }
            Ok(())
        });
        if let Some(message) = &self.stuck {
            self.failure.get_or_insert_with(|| message.clone());
            let failed = std::mem::take(&mut self.open) + orders.len() - done;
            self.results.extend(std::iter::repeat_n(None, failed));
        }
    }

    /// Whether there are rows without a result, as their peers are still to come.
    pub(super) fn waits_for_peers(&self) -> bool {
        self.open > 0
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
    fn pend(&mut self, rows: usize, open: bool) {
        self.open += rows;
        if !open {
            let result = self.accumulator.evaluate().map_err(|error| self.failure.get_or_insert(message(error))).ok();
            self.results.extend(std::iter::repeat_n(result, std::mem::take(&mut self.open)));
        }
    }

    /// `length` results behind the first `skipped`.
    pub(super) fn finish(self, skipped: usize, length: usize) -> Result<Outcome> {
        let results: Vec<Option<ScalarValue>> = self.results.into_iter().skip(skipped).take(length).collect();
        let failed: Vec<usize> = results.iter().enumerate().filter(|(_, result)| result.is_none()).map(|(row, _)| row).collect();
        let message = self.failure.unwrap_or_default();
        let Some(known) = results.iter().flatten().next() else {
            return Ok(Outcome { values: new_null_array(&self.call.result, results.len()), failed, message });
        };
        let null = ScalarValue::try_from(known.data_type()).map_err(|error| from_datafusion(error, ""))?;
        let values = ScalarValue::iter_to_array(results.into_iter().map(|result| result.unwrap_or_else(|| null.clone())));
        Ok(Outcome { values: values.map_err(|error| from_datafusion(error, ""))?, failed, message })
    }
}
