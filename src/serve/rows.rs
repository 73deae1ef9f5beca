//! The rows that queries read: snapshots of relations, batches that are there already, or none.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use futures::stream;

use super::point::{PointQuery, PointValue};
use super::provider::{RowsAt, RowsProvider, UsedIndexes};
use super::select::RowStream;
use crate::catalog::IndexOf;
use crate::error::{Error, Kind, Result};
use crate::plan::{Bound, from_datafusion};
use crate::state::{Relation, Snapshot};
use crate::types::{Epoch, ObjectId};

/// The rows of every relation that a query reads.
#[derive(Default)]
pub struct Providers(BTreeMap<ObjectId, Arc<dyn RowsAt>>);

impl Providers {
    /// Puts in a relation as of an epoch.
    pub fn snapshot(&mut self, object: ObjectId, snapshot: Snapshot) {
        self.0.insert(object, Arc::new(snapshot));
    }

    /// Puts in a relation as of an epoch, some of whose rows can be found by indexes.
    pub fn relation(&mut self, object: ObjectId, relation: Arc<Relation>, snapshot: Snapshot, indexes: Vec<IndexOf>) {
        self.0.insert(object, Arc::new(Indexed { relation, snapshot, indexes }));
    }

    /// Puts in rows that are there already.
    pub fn batch(&mut self, object: ObjectId, rows: RecordBatch) {
        self.0.insert(object, Arc::new(OneBatch(rows)));
    }

    /// Those of one relation, with its columns as the plan knows them.
    pub fn get(&self, object: ObjectId, columns: &SchemaRef) -> Result<Arc<dyn TableProvider>> {
        let rows = self.0.get(&object).cloned();
        let rows = rows.ok_or_else(|| Error::internal(format!("relation {object} is not among the query's dependencies")))?;
        check_columns(columns, &rows.schema())?;
        Ok(Arc::new(RowsProvider::new(rows, Arc::clone(columns))))
    }
}

/// Columns may be called otherwise than when they were stored, but a plan that was made for others must not run on them.
fn check_columns(planned: &SchemaRef, stored: &SchemaRef) -> Result<()> {
    let (planned, stored) = (planned.fields(), stored.fields());
    let same =
        planned.len() == stored.len() && planned.iter().zip(stored).all(|(planned, stored)| planned.data_type() == stored.data_type());
    if same {
        return Ok(());
    }
    Err(Error::new(Kind::SerializationFailure, "a relation that the statement reads was altered meanwhile").hint("Try again."))
}

/// No rows, of these columns: for plans that are only shown. Tells which indexes would be used.
pub fn empty_provider(schema: SchemaRef, indexes: Vec<IndexOf>, used: &UsedIndexes) -> Arc<dyn TableProvider> {
    let rows = Described { rows: OneBatch(RecordBatch::new_empty(Arc::clone(&schema))), indexes };
    Arc::new(RowsProvider::new(Arc::new(rows), schema).telling(used))
}

/// Runs a lookup by key or index. `None` if the index cannot tell yet.
pub fn run_point(
    point: &PointQuery,
    bound: &Bound,
    relation: &Relation,
    epoch: Epoch,
    parameters: &[ArrayRef],
) -> Result<Option<(SchemaRef, RowStream)>> {
    check_columns(&point.columns, relation.schema())?;
    let mut probe = Vec::with_capacity(point.key.len());
    for (column, value) in point.by.columns.iter().zip(&point.key) {
        let wanted = relation.schema().field(*column).data_type();
        let value = match value {
            PointValue::Parameter(index) => parameters
                .get(*index)
                .cloned()
                .ok_or_else(|| Error::new(Kind::UndefinedParameter, format!("there is no parameter ${}", index + 1)))?,
            PointValue::Literal(value) => value.to_array().map_err(|error| from_datafusion(error, ""))?,
        };
        probe.push(if value.data_type() == wanted { value } else { cast(&value, wanted)? });
    }
    let found = match point.by.number {
        None => relation.lookup(&probe, epoch)?,
        Some(number) => match relation.lookup_index(number, &probe, epoch)? {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    let columns = point.projection.iter().map(|column| Arc::clone(found.column(*column))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(found.num_rows()));
    let rows = RecordBatch::try_new_with_options(Arc::clone(&bound.schema), columns, &options)?;
    Ok(Some((Arc::clone(&bound.schema), Box::pin(stream::iter([Ok(rows)])))))
}

impl RowsAt for Snapshot {
    fn schema(&self) -> SchemaRef {
        Arc::clone(Snapshot::schema(self))
    }

    fn chunks(&self) -> usize {
        Snapshot::chunks(self)
    }

    fn batch(&self, chunk: usize, projection: Option<&[usize]>) -> Result<RecordBatch> {
        Ok(Snapshot::batch(self, chunk, projection))
    }

    fn row_count(&self) -> usize {
        Snapshot::row_count(self)
    }
}

/// Rows in one batch.
#[derive(Debug)]
pub(super) struct OneBatch(pub(super) RecordBatch);

impl RowsAt for OneBatch {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn chunks(&self) -> usize {
        1
    }

    fn batch(&self, _chunk: usize, projection: Option<&[usize]>) -> Result<RecordBatch> {
        match projection {
            None => Ok(self.0.clone()),
            Some(columns) => Ok(self.0.project(columns)?),
        }
    }

    fn row_count(&self) -> usize {
        self.0.num_rows()
    }
}

/// A relation at an epoch, with its indexes.
#[derive(Debug)]
struct Indexed {
    relation: Arc<Relation>,
    snapshot: Snapshot,
    indexes: Vec<IndexOf>,
}

impl RowsAt for Indexed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.snapshot.schema())
    }

    fn chunks(&self) -> usize {
        self.snapshot.chunks()
    }

    fn batch(&self, chunk: usize, projection: Option<&[usize]>) -> Result<RecordBatch> {
        Ok(self.snapshot.batch(chunk, projection))
    }

    fn row_count(&self) -> usize {
        self.snapshot.row_count()
    }

    fn indexes(&self) -> &[IndexOf] {
        &self.indexes
    }

    fn find(&self, index: &IndexOf, keys: &[ArrayRef]) -> Result<Option<RecordBatch>> {
        match index.number {
            None => self.relation.lookup(keys, self.snapshot.epoch()).map(Some),
            Some(number) => self.relation.lookup_index(number, keys, self.snapshot.epoch()),
        }
    }
}

/// Columns and indexes, and no rows.
#[derive(Debug)]
struct Described {
    rows: OneBatch,
    indexes: Vec<IndexOf>,
}

impl RowsAt for Described {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn chunks(&self) -> usize {
        self.rows.chunks()
    }

    fn batch(&self, chunk: usize, projection: Option<&[usize]>) -> Result<RecordBatch> {
        self.rows.batch(chunk, projection)
    }

    fn row_count(&self) -> usize {
        0
    }

    fn indexes(&self) -> &[IndexOf] {
        &self.indexes
    }

    fn find(&self, _index: &IndexOf, _keys: &[ArrayRef]) -> Result<Option<RecordBatch>> {
        Ok(Some(self.rows.0.clone()))
    }
}
