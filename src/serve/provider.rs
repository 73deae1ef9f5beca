//! A relation as of one epoch, as DataFusion reads it: chunk by chunk, only the columns that are wanted.
//!
//! A chunk is made when the stream is asked for it, so a query that is dropped, or has enough, makes no more of them.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;
use parking_lot::Mutex;

use super::rows::OneBatch;
use crate::catalog::IndexOf;
use crate::error::Result;
use crate::plan::bound_column;

/// The rows of one relation at one epoch.
pub trait RowsAt: fmt::Debug + Send + Sync {
    /// The columns.
    fn schema(&self) -> SchemaRef;

    /// How many chunks the rows are kept in.
    fn chunks(&self) -> usize;

    /// The rows of one chunk that are there at the epoch; all columns, or those wanted, in the order given.
    fn batch(&self, chunk: usize, projection: Option<&[usize]>) -> Result<RecordBatch>;

    /// How many rows there are, exactly.
    fn row_count(&self) -> usize;

    /// By which columns rows can be found without looking at all.
    fn indexes(&self) -> &[IndexOf] {
        &[]
    }

    /// The rows with these values in the columns of an index (one array per column, one row per probe), all columns; `None` if the index cannot
    /// tell.
    fn find(&self, _index: &IndexOf, _keys: &[ArrayRef]) -> Result<Option<RecordBatch>> {
        Ok(None)
    }
}

/// Where a query tells which indexes it uses: relation by index.
pub type UsedIndexes = Arc<Mutex<Vec<String>>>;

/// A `RowsAt` as a table.
#[derive(Debug)]
pub struct RowsProvider {
    rows: Arc<dyn RowsAt>,
    used: Option<UsedIndexes>,
    /// The columns as they are called: those of `rows` in all but their names.
    schema: SchemaRef,
}

impl RowsProvider {
    /// The table of these rows; the columns of `schema` have the types of theirs.
    pub fn new(rows: Arc<dyn RowsAt>, schema: SchemaRef) -> Self {
        RowsProvider { rows, used: None, schema }
    }

    /// Tells `used` which indexes are used.
    #[must_use]
    pub fn telling(mut self, used: &UsedIndexes) -> Self {
        self.used = Some(Arc::clone(used));
        self
    }

    /// The rows that an index finds for conditions, if there is one for them.
    fn found(&self, filters: &[Expr]) -> Result<Option<RecordBatch>> {
        for index in self.rows.indexes() {
            let Some(keys) = probes(index, filters, &self.schema) else { continue };
            if let Some(rows) = self.rows.find(index, &keys)? {
                if let Some(used) = &self.used {
                    used.lock().push(index.name.clone());
                }
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl TableProvider for RowsProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let found = self.found(filters).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let rows = found.map_or_else(|| Arc::clone(&self.rows), |found| Arc::new(OneBatch(found)) as Arc<dyn RowsAt>);
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let chunks = rows.chunks();
        // More partitions than threads gain nothing, and no partition may be without chunks.
        let partitions = state.config().target_partitions().clamp(1, chunks.max(1));
        let parts = (0..partitions).map(|partition| {
            Arc::new(Part {
                rows: Arc::clone(&rows),
                schema: Arc::clone(&schema),
                projection: projection.cloned(),
                from: chunks * partition / partitions,
                to: chunks * (partition + 1) / partitions,
            }) as Arc<dyn PartitionStream>
        });
        let plan = StreamingTableExec::try_new(Arc::clone(&schema), parts.collect(), None, None, false, limit)?;
        Ok(Arc::new(plan))
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Exact(self.rows.row_count());
        Some(statistics)
    }
}

/// Some of the chunks, one after the other.
#[derive(Debug)]
struct Part {
    rows: Arc<dyn RowsAt>,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    from: usize,
    to: usize,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (rows, projection) = (Arc::clone(&self.rows), self.projection.clone());
        let schema = Arc::clone(&self.schema);
        let batches = (self.from..self.to).map(move |chunk| {
            let batch = rows.batch(chunk, projection.as_deref()).map_err(|error| DataFusionError::External(Box::new(error)))?;
            // Columns are checked by position: a store may call them otherwise.
            if batch.schema() == schema {
                return Ok(batch);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(Arc::clone(&schema), batch.columns().to_vec(), &options).map_err(DataFusionError::from)
        });
        let filled = batches.filter(|batch| batch.as_ref().map_or(true, |batch| batch.num_rows() > 0));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::iter(filled)))
    }
}

/// What an index is to be asked for conditions that bind all of its columns; several values for one column only if it is the only one.
fn probes(index: &IndexOf, filters: &[Expr], schema: &SchemaRef) -> Option<Vec<ArrayRef>> {
    let bound: Vec<(usize, Vec<&ScalarValue>)> =
        filters.iter().filter_map(bound_column).filter_map(|(column, values)| Some((schema.index_of(column).ok()?, values))).collect();
    let keys = index.columns.iter().map(|column| {
        let wanted = schema.field(*column).data_type();
        let usable = |values: &&Vec<&ScalarValue>| {
            (values.len() == 1 || index.columns.len() == 1) && values.iter().all(|value| value.data_type() == *wanted)
        };
        let values = bound.iter().filter(|(at, _)| at == column).map(|(_, values)| values).find(usable)?;
        let mut values: Vec<ScalarValue> = values.iter().copied().cloned().collect();
        // A value that is listed twice must not find its rows twice.
        let mut seen = HashSet::new();
        values.retain(|value| seen.insert(value.clone()));
        ScalarValue::iter_to_array(values).ok()
    });
    keys.collect()
}
