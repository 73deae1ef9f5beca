//! Rows that lookups have found: where they lie, and for which probe, until somebody wants their values.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::segment::{Segment, gather, gather_column};
use crate::error::Result;

/// Up to so many segments are searched one by one for one that is known.
const FEW_SEGMENTS: usize = 8;

/// Rows found, in the order of the probes that found them. Whatever happens to the relation meanwhile, they can be read.
#[derive(Debug, Default)]
pub struct Found {
    segments: Vec<Arc<Segment>>,
    /// By address, the place of each in `segments`, once there are more than a few.
    places: HashMap<usize, usize>,
    /// Segment and row in it.
    rows: Vec<(usize, usize)>,
    /// The probe that found each row, ascending.
    probes: Vec<u32>,
}

impl Found {
    pub(super) fn push(&mut self, probe: usize, segment: &Arc<Segment>, row: usize) {
        let place = self.place(segment);
        self.rows.push((place, row));
        self.probes.push(probe as u32);
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For each row the number of the probe that found it.
    pub fn probes(&self) -> &[u32] {
        &self.probes
    }

    /// The values of some of the rows in one column of the relation. There is a row at least in all of them.
    pub fn gather(&self, column: usize, rows: Range<usize>) -> Result<ArrayRef> {
        gather_column(&self.segments, column, &self.rows[rows])
    }

    /// Bytes of one of the rows, about.
    pub fn row_bytes(&self, row: usize) -> usize {
        let segment = &self.segments[self.rows[row].0];
        segment.value_bytes() / segment.rows().max(1)
    }

    /// All columns of all rows, of which there is one at least.
    pub(super) fn gather_all(&self) -> Result<Vec<ArrayRef>> {
        gather(&self.segments, &self.rows)
    }

    /// The one segment and row, if it is one.
    pub(super) fn single(&self) -> Option<(&Segment, usize)> {
        let [(segment, row)] = self.rows.as_slice() else { return None };
        Some((&self.segments[*segment], *row))
    }

    fn place(&mut self, segment: &Arc<Segment>) -> usize {
        if self.segments.len() <= FEW_SEGMENTS {
            if let Some(known) = self.segments.iter().rposition(|known| Arc::ptr_eq(known, segment)) {
                return known;
            }
        } else if self.places.is_empty() {
            self.places = self.segments.iter().enumerate().map(|(place, known)| (address(known), place)).collect();
        }
        if let Some(known) = self.places.get(&address(segment)) {
            return *known;
        }
        let place = self.segments.len();
        self.segments.push(Arc::clone(segment));
        if place > FEW_SEGMENTS {
            self.places.insert(address(segment), place);
        }
        place
    }
}

/// What names a segment as long as it is held.
fn address(segment: &Arc<Segment>) -> usize {
    Arc::as_ptr(segment) as usize
}
