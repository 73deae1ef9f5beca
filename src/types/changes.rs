//! Rows that changed in one epoch: a columnar Z-set (Budiu et al., "DBSP", VLDB 2023), one Arrow array per column and a weight per row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat, concat_batches, filter, filter_record_batch, take, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};

/// Rows with their multiplicities. The same row may stand in it several times; its weight is the sum.
#[derive(Clone, Debug)]
pub struct Changes {
    rows: RecordBatch,
    /// One weight per row, never NULL; `None` means that every row is +1: the append-only fast path has no weight column at all.
    weights: Option<Int64Array>,
}

impl Changes {
    /// Rows with weights (`None`: each +1). Panics if the lengths differ: a bug of the caller.
    pub fn new(rows: RecordBatch, weights: Option<Int64Array>) -> Self {
        if let Some(weights) = &weights {
            assert_eq!(weights.len(), rows.num_rows(), "one weight per row");
            assert_eq!(weights.null_count(), 0, "a weight is never NULL");
        }
        Changes { rows, weights }
    }

    /// Rows that appear, each once.
    pub fn insertions(rows: RecordBatch) -> Self {
        Changes { rows, weights: None }
    }

    /// Rows that go away, each once.
    pub fn retractions(rows: RecordBatch) -> Self {
        let weights = Int64Array::from(vec![-1; rows.num_rows()]);
        Changes { rows, weights: Some(weights) }
    }

    /// No rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Changes { rows: RecordBatch::new_empty(schema), weights: None }
    }

    /// The rows, without their weights.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// One column.
    pub fn column(&self, index: usize) -> &ArrayRef {
        self.rows.column(index)
    }

    /// The columns' names and types.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// The weights, if any row's differs from +1 (or might).
    pub fn weights(&self) -> Option<&Int64Array> {
        self.weights.as_ref()
    }

    /// The weight of one row.
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights.value(row))
    }

    /// How many rows, whatever their weights.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Taken apart.
    pub fn into_parts(self) -> (RecordBatch, Option<Int64Array>) {
        (self.rows, self.weights)
    }

    /// The same weights on other columns (same number of rows): what a projection does.
    #[must_use]
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        Changes::new(rows, self.weights.clone())
    }

    /// The rows where `mask` is true (NULL counts as false).
    #[must_use]
    pub fn filter(&self, mask: &BooleanArray) -> Self {
        let rows = filter_record_batch(&self.rows, mask).expect("a mask as long as the batch");
        let weights = self
            .weights
            .as_ref()
            .map(|weights| filter(weights, mask).expect("a mask as long as the batch").as_primitive::<Int64Type>().clone());
        Changes { rows, weights }
    }

    /// The rows at `indices`, in that order; copies, so the result pins nothing.
    #[must_use]
    pub fn take(&self, indices: &UInt32Array) -> Self {
        let rows = take_record_batch(&self.rows, indices).expect("indices within the batch");
        let weights = self
            .weights
            .as_ref()
            .map(|weights| take(weights, indices, None).expect("indices within the batch").as_primitive::<Int64Type>().clone());
        Changes { rows, weights }
    }

    /// `length` rows from `offset`, without copying (pins the whole).
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Changes { rows: self.rows.slice(offset, length), weights: self.weights.as_ref().map(|weights| weights.slice(offset, length)) }
    }

    /// Every weight with its sign turned.
    #[must_use]
    pub fn negate(&self) -> Self {
        let weights = (0..self.len()).map(|row| -self.weight(row)).collect::<Vec<_>>();
        Changes { rows: self.rows.clone(), weights: Some(Int64Array::from(weights)) }
    }

    /// The rows with the time at which they arrive (microseconds since 1970) wherever one of `columns` (timestamps) is NULL.
    #[must_use]
    pub fn arrived(&self, columns: &[usize], now_micros: i64) -> Self {
        let mut filled = self.rows.columns().to_vec();
        for column in columns.iter().filter(|column| self.rows.column(**column).null_count() > 0) {
            let times = filled[*column].as_primitive::<TimestampMicrosecondType>();
            let values = times.iter().map(|time| time.unwrap_or(now_micros)).collect::<Vec<_>>();
            filled[*column] = Arc::new(TimestampMicrosecondArray::from(values).with_data_type(times.data_type().clone()));
        }
        let rows = RecordBatch::try_new(self.rows.schema(), filled).expect("columns of the same types");
        Changes { rows, weights: self.weights.clone() }
    }

    /// All of `parts` in one batch of `schema`.
    pub fn concat(schema: &SchemaRef, parts: &[Changes]) -> Self {
        if let [only] = parts {
            return only.clone();
        }
        let rows = concat_batches(schema, parts.iter().map(Changes::rows)).expect("batches of one schema");
        let weights = parts.iter().any(|part| part.weights.is_some()).then(|| {
            let columns: Vec<Int64Array> = parts.iter().map(Changes::dense_weights).collect();
            let columns: Vec<&dyn Array> = columns.iter().map(|column| column as &dyn Array).collect();
            concat(&columns).expect("columns of one type").as_primitive::<Int64Type>().clone()
        });
        Changes { rows, weights }
    }

    /// The weights as a column, made if they were implied.
    pub fn dense_weights(&self) -> Int64Array {
        self.weights.clone().unwrap_or_else(|| Int64Array::from(vec![1; self.len()]))
    }

    /// Bytes of the values themselves, as near as can be told without looking at them: of a slice only its own.
    pub fn payload_bytes(&self) -> usize {
        let column = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
        self.rows.columns().iter().map(column).sum::<usize>() + self.weights.as_ref().map_or(0, |weights| weights.len() * size_of::<i64>())
    }

    /// The same changes in batches of at most `rows` rows and about `bytes` bytes, in their order: small ones together, large ones as they are.
    pub fn regroup(schema: &SchemaRef, batches: Vec<Changes>, rows: usize, bytes: usize) -> Vec<Changes> {
        let mut groups = Vec::new();
        let mut group: Vec<Changes> = Vec::new();
        let (mut group_rows, mut group_bytes) = (0, 0);
        for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
            let size = batch.payload_bytes();
            if !group.is_empty() && (group_rows + batch.len() > rows || group_bytes + size > bytes) {
                groups.push(Changes::concat(schema, &std::mem::take(&mut group)));
                (group_rows, group_bytes) = (0, 0);
            }
            group_rows += batch.len();
            group_bytes += size;
            group.push(batch);
        }
        if !group.is_empty() {
            groups.push(Changes::concat(schema, &group));
        }
        groups
    }

    /// Bytes that the arrays hold in memory.
    pub fn memory_size(&self) -> usize {
        self.rows.get_array_memory_size() + self.weights.as_ref().map_or(0, Array::get_array_memory_size)
    }
}
