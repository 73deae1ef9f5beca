//! A relation as of one epoch: a handful of pointers, whatever the relation's size.
//!
//! Which rows of a chunk are visible is worked out when the chunk is read, by whoever reads it, without any lock. The reader holds a lease on
//! the epoch (`Leases`) from before the snapshot is taken until it is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;

use super::pages::Pages;
use super::segment::Segment;
use super::shard::chosen;
use crate::types::Epoch;

/// The rows visible at one epoch.
#[derive(Clone, Debug)]
pub struct Snapshot {
    schema: SchemaRef,
    epoch: Epoch,
    segments: Vec<Arc<Segment>>,
    /// Rows that do not show, whenever they lived, by chunk.
    hidden: BTreeMap<usize, Arc<[usize]>>,
}

impl Snapshot {
    pub(super) fn new(schema: SchemaRef, epoch: Epoch, segments: Vec<Arc<Segment>>) -> Self {
        Snapshot { schema, epoch, segments, hidden: BTreeMap::new() }
    }

    /// Everything in `pages` that is visible at `epoch` but the rows of these numbers.
    pub(super) fn without(schema: SchemaRef, epoch: Epoch, pages: &Pages, rows: &BTreeSet<u32>) -> Self {
        let mut snapshot = Snapshot::new(schema, epoch, Vec::new());
        for (slot, page) in pages.iter() {
            let mut first = Pages::first_row(slot);
            for segment in page.segments() {
                let next = first + segment.rows() as u32;
                let places: Arc<[usize]> = rows.range(first..next).map(|row| (row - first) as usize).collect();
                if !places.is_empty() {
                    snapshot.hidden.insert(snapshot.segments.len(), places);
                }
                snapshot.segments.push(Arc::clone(segment));
                first = next;
            }
        }
        snapshot
    }

    /// Adds rows that are visible at every epoch behind their begin.
    pub(super) fn push(&mut self, segment: Segment) {
        self.segments.push(Arc::new(segment));
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
        match self.mask(chunk) {
            None => batch_of(&schema, columns, segment.rows()),
            Some(mask) => {
                let columns = columns.iter().map(|column| filter(column, &mask).expect("a mask as long as the columns")).collect();
                batch_of(&schema, columns, mask.true_count())
            }
        }
    }

    /// How many rows are visible.
    pub fn row_count(&self) -> usize {
        let visible = |(chunk, segment): (usize, &Arc<Segment>)| match self.hidden.get(&chunk) {
            None if segment.all_visible(self.epoch) => segment.rows(),
            _ => self.mask(chunk).map_or(segment.rows(), |mask| mask.true_count()),
        };
        self.segments.iter().enumerate().map(visible).sum()
    }

    /// The rows of a chunk that show; `None` if that is all of them.
    fn mask(&self, chunk: usize) -> Option<BooleanArray> {
        let segment = &self.segments[chunk];
        let Some(places) = self.hidden.get(&chunk) else { return segment.mask(self.epoch) };
        let mut bits = BooleanBufferBuilder::new(segment.rows());
        bits.append_buffer(&segment.visible(self.epoch));
        places.iter().for_each(|place| bits.set_bit(*place, false));
        Some(BooleanArray::new(bits.finish(), None))
    }
}

/// A batch of stored columns, whose types were checked when they came in; also of none.
pub(super) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).expect("columns of the schema were checked when they came in")
}
