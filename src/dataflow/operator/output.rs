//! Batches that come out of an operator, under the schema that the plan promises.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::types::{Changes, all_nullable};

/// The schema of an operator's output. A row error gives NULL even where the plan says NOT NULL, and must not stop the view:
/// a batch with such a NULL goes out under the same schema with all columns nullable.
#[derive(Clone, Debug)]
pub struct OutputSchema {
    promised: SchemaRef,
    nullable: SchemaRef,
}

impl OutputSchema {
    /// For the plan's `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        let nullable = if schema.fields().iter().all(|field| field.is_nullable()) { Arc::clone(&schema) } else { all_nullable(&schema) };
        OutputSchema { promised: schema, nullable }
    }

    /// The plan's schema.
    pub fn promised(&self) -> &SchemaRef {
        &self.promised
    }

    /// `columns`, each of `rows` values, as one batch of changes. Fails if their types are not the schema's.
    pub fn changes(&self, columns: Vec<ArrayRef>, rows: usize, weights: Option<Int64Array>) -> Result<Changes> {
        let broken = self.promised.fields().iter().zip(&columns).any(|(field, column)| !field.is_nullable() && column.null_count() > 0);
        let schema = if broken { &self.nullable } else { &self.promised };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
            .map_err(|cause| Error::internal(format!("an operator's output does not fit its schema: {cause}")))?;
        Ok(Changes::new(batch, weights))
    }
}
