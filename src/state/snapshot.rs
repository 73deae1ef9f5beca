//! A relation as of one epoch: a handful of pointers, whatever the relation's size.
//!
//! Which rows of a chunk are visible is worked out when the chunk is read, by whoever reads it, without any lock. The reader holds a lease on
//! the epoch (`Leases`) from before the snapshot is taken until it is dropped.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;

use super::segment::Segment;
use super::shard::chosen;
use crate::types::Epoch;

/// The rows visible at one epoch.
#[derive(Clone, Debug)]
pub struct Snapshot {
    schema: SchemaRef,
    epoch: Epoch,
    segments: Vec<Arc<Segment>>,
}

impl Snapshot {
    pub(super) fn new(schema: SchemaRef, epoch: Epoch, segments: Vec<Arc<Segment>>) -> Self {
        Snapshot { schema, epoch, segments }
    }

    /// The relation's columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The epoch that it shows.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many chunks there are; each has at most 65,536 rows.
    pub fn chunks(&self) -> usize {
        self.segments.len()
    }

    /// The visible rows of one chunk (perhaps none), of all columns or those at `projection`. Nothing is copied if all are visible.
    pub fn batch(&self, chunk: usize, projection: Option<&[usize]>) -> RecordBatch {
        let segment = &self.segments[chunk];
        let (schema, columns) = match projection {
            None => (Arc::clone(&self.schema), segment.columns().to_vec()),
            Some(positions) => {
                let schema = self.schema.project(positions).expect("a projection names columns of the relation");
                (Arc::new(schema), chosen(segment.columns(), positions))
            }
        };
        match segment.mask(self.epoch) {
            None => batch_of(&schema, columns, segment.rows()),
            Some(mask) => {
                let columns = columns.iter().map(|column| filter(column, &mask).expect("a mask as long as the columns")).collect();
                batch_of(&schema, columns, mask.true_count())
            }
        }
    }

    /// How many rows are visible.
    pub fn row_count(&self) -> usize {
        let visible = |segment: &Arc<Segment>| {
            if segment.all_visible(self.epoch) { segment.rows() } else { segment.visible(self.epoch).count_set_bits() }
        };
        self.segments.iter().map(visible).sum()
    }
}

/// A batch of stored columns, whose types were checked when they came in; also of none.
pub(super) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).expect("columns of the schema were checked when they came in")
}
