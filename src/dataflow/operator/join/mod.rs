//! Pairs the rows of two inputs whose keys are equal.
//!
//! In: two lists of changes per epoch. Out: the left columns, then the right ones; the weight of a pair is the product of both weights.
//! Holds: every row of both sides, except those with a NULL key that matches nothing.
//!
//! Left changes meet the right rows of before, then join the left rows; right changes meet the left rows as they are now:
//!
//! ```text
//! ΔL ⋈ R  +  (L + ΔL) ⋈ ΔR   =   ΔL ⋈ R  +  L ⋈ ΔR  +  ΔL ⋈ ΔR
//! ```
//!
//! Everything is done for up to 16 Ki pairs at a time: find their row numbers, read only the columns that decide, drop pairs that do not
//! match, read the other columns of the rest.

mod durable;
mod side;
#[cfg(test)]
mod tests;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::kernels::cmp::{eq, not_distinct};
use arrow::compute::{filter, take};
use arrow::datatypes::SchemaRef;

use self::side::{Arrived, Cursor, Pairs, Side};
use super::output::OutputSchema;
use super::{Operator, StateSize};
use crate::dataflow::expr::{Evaluator, narrow};
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::{Error, Result};
use crate::plan::Scalar;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch, rows_equal};

/// What a join is made of.
pub struct JoinSpec {
    /// The left rows.
    pub left: SchemaRef,
    /// The right rows.
    pub right: SchemaRef,
    /// Positions in the left columns.
    pub left_keys: Vec<usize>,
    /// Positions in the right columns; as many, of the same types. Without keys every pair matches.
    pub right_keys: Vec<usize>,
    /// Whether NULL keys match each other.
    pub null_equals_null: bool,
    /// Over the left columns followed by the right ones.
    pub condition: Option<Scalar>,
    /// The left columns followed by the right ones.
    pub output: SchemaRef,
    /// No left row is ever retracted.
    pub left_append_only: bool,
    /// No right row is ever retracted.
    pub right_append_only: bool,
}

/// An inner join.
pub struct Join {
    /// Left, right.
    sides: [Side; 2],
    left_width: usize,
    /// Output positions of the two columns of each key; empty if equal hashes mean equal keys.
    compared: Vec<(usize, usize)>,
    null_equals_null: bool,
    condition: Option<Condition>,
    output: OutputSchema,
    /// A failure to write a checkpoint's entries, told at the next step: `checkpoint` has no way to.
    failed: Option<Error>,
}

struct Condition {
    evaluator: Evaluator,
    /// Output positions of the columns that it reads, in its order.
    columns: Vec<usize>,
    schema: SchemaRef,
}

/// Pairs on their way to the output.
struct Candidates<'a> {
    /// Which side's rows arrived: 0 is left.
    side: usize,
    arrived: &'a Arrived,
    /// Of the batch that arrived; `None` if it is all of its rows, once each.
    arrived_rows: Option<UInt32Array>,
    held: Vec<u32>,
    /// The output columns that have been read.
    columns: Vec<Option<ArrayRef>>,
}

impl Join {
    /// A join without rows. Fails for columns whose types cannot be held, and for keys of different types.
    pub fn new(spec: JoinSpec, errors: RowErrorSink) -> Result<Self> {
        let JoinSpec { left, right, left_keys, right_keys, null_equals_null, condition, output, .. } = spec;
        let left_width = left.fields().len();
        let key_types_differ = left_keys
            .iter()
            .zip(&right_keys)
            .any(|(left_key, right_key)| !left.field(*left_key).data_type().equals_datatype(right.field(*right_key).data_type()));
        if left_keys.len() != right_keys.len() || key_types_differ {
            return Err(Error::internal("the keys of a join differ in number or type"));
        }
        let compared = left_keys.iter().zip(&right_keys).map(|(left_key, right_key)| (*left_key, left_width + right_key)).collect();
        let condition = condition.map(|scalar| Condition::new(scalar, &output, errors)).transpose()?;
        let sides = [
            Side::new(left, left_keys, null_equals_null, spec.left_append_only)?,
            Side::new(right, right_keys, null_equals_null, spec.right_append_only)?,
        ];
        let compared = if sides[0].hash_is_exact() { Vec::new() } else { compared };
        let output = OutputSchema::new(output);
        Ok(Join { sides, left_width, compared, null_equals_null, condition, output, failed: None })
    }

    /// Takes one batch of one side: what it gives with the other side, then into the state.
    fn advance(&mut self, side: usize, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let Some(arrived) = self.sides[side].admit(changes)? else {
            return Ok(());
        };
        let heads = self.sides[1 - side].heads(&arrived.hashes);
        let mut cursor = Cursor::new(&heads);
        let mut pairs = Pairs::default();
        loop {
            let more = self.sides[1 - side].next_pairs(&heads, &mut cursor, &mut pairs);
            if !pairs.held.is_empty() {
                self.emit(Candidates::new(side, &arrived, &mut pairs, self.output.promised().fields().len()), output)?;
            }
            if !more {
                break;
            }
            pairs.clear();
        }
        self.sides[side].insert(&arrived)
    }

    /// Drops the pairs that do not match and pushes the others.
    fn emit(&self, mut candidates: Candidates<'_>, output: &mut Vec<Changes>) -> Result<()> {
        if !self.compared.is_empty() {
            let mask = self.keys_equal(&mut candidates)?;
            candidates.keep(&mask)?;
        }
        if let Some(condition) = &self.condition
            && !candidates.held.is_empty()
        {
            let columns = condition.columns.iter().map(|column| self.read(&mut candidates, *column)).collect::<Result<Vec<_>>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(candidates.held.len()));
            let rows = RecordBatch::try_new_with_options(condition.schema.clone(), columns, &options)?;
            let weights = self.weights(&candidates);
            let mask = condition.evaluator.mask(&rows, weights.as_ref())?;
            candidates.keep(&mask)?;
        }
        if candidates.held.is_empty() {
            return Ok(());
        }
        let width = candidates.columns.len();
        let columns = (0..width).map(|column| self.read(&mut candidates, column)).collect::<Result<Vec<_>>>()?;
        let weights = self.weights(&candidates);
        output.push(self.output.changes(columns, candidates.held.len(), weights)?);
        Ok(())
    }

    /// One output column of the candidates, read at most once.
    fn read(&self, candidates: &mut Candidates<'_>, column: usize) -> Result<ArrayRef> {
        if let Some(known) = &candidates.columns[column] {
            return Ok(ArrayRef::clone(known));
        }
        let (side, position) = if column < self.left_width { (0, column) } else { (1, column - self.left_width) };
        let values = if side != candidates.side {
            self.sides[side].rows.gather(position, &candidates.held)?
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
    fn keys_equal(&self, candidates: &mut Candidates<'_>) -> Result<BooleanArray> {
        let mut equal = vec![true; candidates.held.len()];
        for (left, right) in &self.compared {
            let (left, right) = (self.read(candidates, *left)?, self.read(candidates, *right)?);
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

    /// The product of both weights per pair; `None` if neither side has any.
    fn weights(&self, candidates: &Candidates<'_>) -> Option<Int64Array> {
        let held = self.sides[1 - candidates.side].ledger.as_ref().map(|ledger| &ledger.weights);
        // A side with a ledger may still get a batch without weights; the output's form must not change from batch to batch for that.
        let counted = held.is_some() || self.sides[candidates.side].ledger.is_some();
        let arrived_weight = |pair: usize| {
            let row = candidates.arrived_rows.as_ref().map_or(pair, |rows| rows.value(pair) as usize);
            candidates.arrived.weights.as_ref().map_or(1, |weights| weights.value(row))
        };
        let held_weight = |row: u32| held.map_or(1, |weights| weights[row as usize]);
        counted.then(|| candidates.held.iter().enumerate().map(|(pair, row)| arrived_weight(pair) * held_weight(*row)).collect())
    }
}

impl Operator for Join {
    fn step(&mut self, _epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        for (side, changes) in inputs.into_iter().enumerate() {
            for batch in changes {
                self.advance(side, batch, output)?;
            }
        }
        self.sides.iter_mut().try_for_each(Side::compact)
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) {
        for (tag, side) in self.sides.iter_mut().enumerate() {
            if let Err(error) = durable::checkpoint(side, tag as u8, changes) {
                self.failed.get_or_insert(error);
            }
        }
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        let [left, right] = &mut self.sides;
        let mut restores = [durable::Restore::new(left)?, durable::Restore::new(right)?];
        for entry in entries {
            let entry = entry?;
            let Some((tag, key)) = entry.key.split_first() else {
                return Err(Error::internal("an entry of a join's stored state has no key"));
            };
            let side = usize::from(tag & 1);
            restores[side].push(&mut self.sides[side], *tag, key, entry.value)?;
        }
        restores.iter_mut().zip(&mut self.sides).try_for_each(|(restore, side)| restore.flush(side))
    }

    fn size(&self) -> StateSize {
        let [left, right] = [self.sides[0].size(), self.sides[1].size()];
        StateSize { rows: left.rows + right.rows, bytes: left.bytes + right.bytes }
    }
}

impl Condition {
    fn new(scalar: Scalar, output: &SchemaRef, errors: RowErrorSink) -> Result<Self> {
        let (columns, narrowed) = narrow(std::slice::from_ref(&scalar))?;
        let fields: Vec<_> = columns.iter().map(|column| output.field(*column).clone().with_nullable(true)).collect();
        let schema = SchemaRef::new(arrow::datatypes::Schema::new(fields));
        Ok(Condition { evaluator: Evaluator::predicate(&narrowed[0], errors), columns, schema })
    }
}

impl<'a> Candidates<'a> {
    /// Takes the row numbers out of `pairs`.
    fn new(side: usize, arrived: &'a Arrived, pairs: &mut Pairs, width: usize) -> Self {
        let rows = std::mem::take(&mut pairs.arrived);
        let identity = rows.len() == arrived.hashes.len() && rows.iter().enumerate().all(|(pair, row)| pair == *row as usize);
        let arrived_rows = (!identity).then(|| UInt32Array::from(rows));
        Candidates { side, arrived, arrived_rows, held: std::mem::take(&mut pairs.held), columns: vec![None; width] }
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
        Ok(())
    }
}
