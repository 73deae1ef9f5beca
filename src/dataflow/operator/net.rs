//! What is left of an epoch's changes when rows that came and went in it cancel.
//!
//! In: any changes. Out: every different row once, with the sum of its weights, unless that is 0. Holds nothing beyond an epoch.
//! An epoch without retractions passes as it is.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, SchemaRef};

use super::aggregate::keys::key_table;
use super::output::OutputSchema;
use super::rows::part_ranges;
use super::{Operator, StateSize};
use crate::error::Result;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// Sums up changes.
pub struct Net {
    types: Vec<DataType>,
    output: OutputSchema,
}

impl Net {
    /// For rows of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        let types = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        Net { types, output: OutputSchema::new(Arc::clone(&schema)) }
    }
}

impl Operator for Net {
    fn step(&mut self, _epoch: Epoch, mut inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        let changes = inputs.pop().unwrap_or_default();
        let retracts = |changes: &Changes| changes.weights().is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0));
        if !changes.iter().any(retracts) {
            output.extend(changes);
            return Ok(());
        }
        let mut rows = key_table(&self.types)?;
        let mut sums: Vec<i64> = Vec::new();
        let mut slots = Vec::new();
        for batch in &changes {
            slots.clear();
            rows.locate(batch.rows().columns(), batch.len(), &mut slots)?;
            sums.resize(rows.end(), 0);
            slots.iter().enumerate().for_each(|(row, slot)| sums[*slot as usize] += batch.weight(row));
        }
        let left: Vec<u32> = (0..sums.len() as u32).filter(|slot| sums[*slot as usize] != 0).collect();
        for range in part_ranges(left.len(), |at| rows.key_bytes(left[at])) {
            let slots = &left[range];
            let weights: Vec<i64> = slots.iter().map(|slot| sums[*slot as usize]).collect();
            let weights = weights.iter().any(|weight| *weight != 1).then(|| Int64Array::from(weights));
            output.push(self.output.changes(rows.columns(slots)?, slots.len(), weights)?);
        }
        Ok(())
    }

    fn checkpoint(&mut self, _changes: &mut StateChanges) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;

    use super::Net;
    use crate::dataflow::operator::Operator;
    use crate::types::Changes;

    #[test]
    fn what_comes_and_goes_leaves_no_trace() {
        let batch = |values: Vec<i64>| RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap();
        let mut output = Vec::new();
        let inputs = vec![Changes::retractions(batch(vec![1, 2])), Changes::insertions(batch(vec![2, 3, 3]))];
        Net::new(batch(Vec::new()).schema()).step(1, vec![inputs], &mut output).unwrap();
        let [net] = output.as_slice() else { panic!("one batch") };
        assert_eq!(net.column(0).as_primitive::<Int64Type>().values(), &[1, 3]);
        assert_eq!([net.weight(0), net.weight(1)], [-1, 2]);
    }
}
