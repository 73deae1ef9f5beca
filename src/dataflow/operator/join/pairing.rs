//! Which of the rows with one hash belong together: pairs are found, their keys compared, the condition checked, a bounded batch at a time.
//!
//! Up to 16 Ki pairs or 8 MiB at a time: find their row numbers, read only the columns that decide, drop the pairs that do not match. Whoever asked
//! reads the other columns of the rest, if there is need for them.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::kernels::cmp::{eq, not_distinct};
use arrow::compute::{filter, take};
use arrow::datatypes::Schema;

use super::side::{Arrived, Cursor, Pairs, Side};
use crate::dataflow::expr::Condition;
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::Result;
use crate::plan::Scalar;
use crate::types::rows_equal;

/// What makes a pair of rows match. Columns of a pair: the left ones, then the right ones.
pub(super) struct Matcher {
    left_width: usize,
    width: usize,
    /// Pair positions of the two columns of each key; empty if equal hashes mean equal keys.
    compared: Vec<(usize, usize)>,
    null_equals_null: bool,
    condition: Option<Condition>,
}

/// Rows that arrived on one side, on their way along the chains of the other.
pub(super) struct Probe {
    side: usize,
    arrived: Arrived,
    heads: Vec<u32>,
    cursor: Cursor,
    pairs: Pairs,
    done: bool,
}

/// Pairs of rows that arrived with rows that are held.
pub(super) struct Candidates<'a> {
    /// Which side's rows arrived: 0 is left.
    pub(super) side: usize,
    arrived: &'a Arrived,
    /// Of the batch that arrived; `None` if it is all of its rows, once each.
    arrived_rows: Option<UInt32Array>,
    /// Rows of the other side.
    pub(super) held: Vec<u32>,
    /// Of those rows.
    pub(super) held_weights: Vec<i64>,
    /// The pair's columns that have been read.
    columns: Vec<Option<ArrayRef>>,
}

impl Matcher {
    /// For pairs of rows of `left` and `right` whose keys stand at `keys` (left and right positions).
    pub(super) fn new(
        [left, right]: [&Schema; 2],
        keys: impl Iterator<Item = (usize, usize)>,
        null_equals_null: bool,
        condition: Option<Scalar>,
        errors: RowErrorSink,
    ) -> Result<Self> {
        let left_width = left.fields().len();
        let fields = left.fields().iter().chain(right.fields()).map(|field| field.as_ref().clone().with_nullable(true));
        let pair = Schema::new(fields.collect::<Vec<_>>());
        let condition = condition.map(|scalar| Condition::new(&scalar, &pair, errors)).transpose()?;
        let compared = keys.map(|(left_key, right_key)| (left_key, left_width + right_key)).collect();
        Ok(Matcher { left_width, width: pair.fields().len(), compared, null_equals_null, condition })
    }

    /// Equal hashes mean equal keys: there is nothing to compare.
    pub(super) fn trust_hashes(&mut self) {
        self.compared.clear();
    }

    /// Drops the pairs that do not match.
    fn select(&self, sides: &[Side; 2], candidates: &mut Candidates<'_>) -> Result<()> {
        if !self.compared.is_empty() {
            let mask = self.keys_equal(sides, candidates)?;
            candidates.keep(&mask)?;
        }
        let Some(condition) = &self.condition else { return Ok(()) };
        if candidates.held.is_empty() {
            return Ok(());
        }
        let (count, weights) = (candidates.held.len(), candidates.weights());
        let mask = condition.mask(count, Some(&weights), |column| self.read(sides, candidates, column))?;
        candidates.keep(&mask)
    }

    /// All columns of the candidates.
    pub(super) fn read_all(&self, sides: &[Side; 2], candidates: &mut Candidates<'_>) -> Result<Vec<ArrayRef>> {
        (0..self.width).map(|column| self.read(sides, candidates, column)).collect()
    }

    /// One column of the candidates, read at most once.
    fn read(&self, sides: &[Side; 2], candidates: &mut Candidates<'_>, column: usize) -> Result<ArrayRef> {
        if let Some(known) = &candidates.columns[column] {
            return Ok(ArrayRef::clone(known));
        }
        let (side, position) = if column < self.left_width { (0, column) } else { (1, column - self.left_width) };
        let values = if side != candidates.side {
            sides[side].rows.gather(position, &candidates.held)?
        } else {
            let arrived = &candidates.arrived.columns[position];
            match &candidates.arrived_rows {
                None => ArrayRef::clone(arrived),
                Some(rows) => take(arrived, rows, None)?,
            }
        };
        candidates.columns[column] = Some(ArrayRef::clone(&values));
        Ok(values)
    }

    /// For which candidates all keys are equal, as `rows_equal` means it.
    fn keys_equal(&self, sides: &[Side; 2], candidates: &mut Candidates<'_>) -> Result<BooleanArray> {
        let mut equal = vec![true; candidates.held.len()];
        for (left, right) in &self.compared {
            let (left, right) = (self.read(sides, candidates, *left)?, self.read(sides, candidates, *right)?);
            let compared = if self.null_equals_null { not_distinct(&left, &right) } else { eq(&left, &right) };
            // The kernel has no word for lists, and tells 0.0 from -0.0: whatever it does not call equal gets a second look.
            let compared = compared.unwrap_or_else(|_| BooleanArray::from(vec![false; equal.len()]));
            for (row, equal) in equal.iter_mut().enumerate() {
                *equal = *equal && (compared.value(row) || self.keys_match(&left, &right, row));
            }
        }
        Ok(BooleanArray::from(equal))
    }

    fn keys_match(&self, left: &ArrayRef, right: &ArrayRef, row: usize) -> bool {
        let null = left.is_null(row) && !self.null_equals_null;
        !null && rows_equal(std::slice::from_ref(left), row, std::slice::from_ref(right), row)
    }
}

impl Probe {
    /// Rows that arrived on `side`.
    pub(super) fn new(sides: &[Side; 2], side: usize, arrived: Arrived) -> Self {
        let heads = sides[1 - side].heads(&arrived.hashes);
        let cursor = Cursor::new(&heads);
        let done = heads.is_empty();
        let pairs = Pairs::new(&arrived);
        Probe { side, arrived, heads, cursor, pairs, done }
    }

    /// Looks at the next pairs of rows with one hash, a bounded number, and gives those that match, which may be none; `None` when there
    /// are no more to look at.
    pub(super) fn next(&mut self, sides: &mut [Side; 2], matcher: &Matcher) -> Result<Option<Candidates<'_>>> {
        if self.done {
            return Ok(None);
        }
        self.pairs.clear();
        self.done = !sides[1 - self.side].next_pairs(&self.arrived.hashes, &self.heads, &mut self.cursor, &mut self.pairs);
        if self.pairs.held.is_empty() {
            return Ok(None);
        }
        let mut found = Candidates::new(self.side, &self.arrived, &mut self.pairs, matcher.width);
        matcher.select(sides, &mut found)?;
        Ok(Some(found))
    }

    /// Whether all pairs have been looked at.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The side, and the rows that arrived on it.
    pub(super) fn into_arrived(self) -> (usize, Arrived) {
        (self.side, self.arrived)
    }
}

impl<'a> Candidates<'a> {
    /// Takes the row numbers out of `pairs`.
    fn new(side: usize, arrived: &'a Arrived, pairs: &mut Pairs, width: usize) -> Self {
        let rows = std::mem::take(&mut pairs.arrived);
        let identity = rows.len() == arrived.hashes.len() && rows.iter().enumerate().all(|(pair, row)| pair == *row as usize);
        let arrived_rows = (!identity).then(|| UInt32Array::from(rows));
        let (held, held_weights) = (std::mem::take(&mut pairs.held), std::mem::take(&mut pairs.held_weights));
        Candidates { side, arrived, arrived_rows, held, held_weights, columns: vec![None; width] }
    }

    /// The place of a pair's row in the batch that arrived.
    pub(super) fn arrived_row(&self, pair: usize) -> usize {
        self.arrived_rows.as_ref().map_or(pair, |rows| rows.value(pair) as usize)
    }

    /// The weight of a pair's row that arrived.
    pub(super) fn arrived_weight(&self, pair: usize) -> i64 {
        self.arrived.weight(self.arrived_row(pair))
    }

    /// The product of both weights per pair.
    pub(super) fn weights(&self) -> Int64Array {
        let products = self.held_weights.iter().enumerate().map(|(pair, weight)| self.arrived_weight(pair) * weight);
        products.collect::<Vec<_>>().into()
    }

    /// Drops the pairs where `mask` is false, also from the columns read so far.
    fn keep(&mut self, mask: &BooleanArray) -> Result<()> {
        if mask.true_count() == mask.len() {
            return Ok(());
        }
        for column in self.columns.iter_mut().flatten() {
            *column = filter(column, mask)?;
        }
        let kept = |pair: &usize| mask.value(*pair);
        let rows = (0..mask.len()).filter(kept).map(|pair| self.arrived_rows.as_ref().map_or(pair as u32, |rows| rows.value(pair)));
        self.arrived_rows = Some(rows.collect());
        self.held = (0..mask.len()).filter(kept).map(|pair| self.held[pair]).collect();
        self.held_weights = (0..mask.len()).filter(kept).map(|pair| self.held_weights[pair]).collect();
        Ok(())
    }
}
