//! Rows as bytes: Arrow's IPC stream format, with the schema, one batch per stream.
//!
//! Values carry no checksum of their own: RocksDB checks one per block of a file and per record of its log.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::error::{Error, Result};
use crate::types::Changes;

/// The name of the column that carries the weights of changes; always the last.
const WEIGHT_COLUMN: &str = "tidemill.weight";

/// Each row of weight +1: no weight column follows.
const WITHOUT_WEIGHTS: u8 = 0;

/// The last column is the weights.
const WITH_WEIGHTS: u8 = 1;

/// The rows of `parts` (at least one) as one batch.
pub(super) fn encode_rows(schema: &SchemaRef, parts: &[RecordBatch]) -> Result<Vec<u8>> {
    let whole;
    let batch = match parts {
        [only] => only,
        _ => {
            whole = concat_batches(schema, parts)?;
            &whole
        }
    };
    encode(Vec::new(), batch)
}

/// The columns of a batch that [`encode_rows`] made, and how many rows.
pub(super) fn decode_rows(bytes: &[u8]) -> Result<RecordBatch> {
    let damaged = |cause: &dyn std::fmt::Display| Error::external("stored rows are damaged", cause);
    let mut batches = StreamReader::try_new(bytes, None).map_err(|cause| damaged(&cause))?;
    match batches.next() {
        Some(Ok(batch)) => Ok(batch),
        Some(Err(cause)) => Err(damaged(&cause)),
        None => Err(damaged(&"no batch")),
    }
}

/// Changes: a byte that says whether there are weights, then the batch.
pub fn encode_changes(changes: &Changes) -> Result<Vec<u8>> {
    let Some(weights) = changes.weights() else {
        return encode(vec![WITHOUT_WEIGHTS], changes.rows());
    };
    let schema = changes.schema();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int64, false)));
    let mut columns: Vec<ArrayRef> = changes.rows().columns().to_vec();
    columns.push(Arc::new(weights.clone()));
    encode(vec![WITH_WEIGHTS], &RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Reads what [`encode_changes`] made.
pub fn decode_changes(bytes: &[u8]) -> Result<Changes> {
    let (kind, bytes) = bytes.split_first().ok_or_else(|| Error::external("stored changes are damaged", "no bytes"))?;
    let batch = decode_rows(bytes)?;
    if *kind == WITHOUT_WEIGHTS {
        return Ok(Changes::insertions(batch));
    }
    let last = batch.num_columns().saturating_sub(1);
    let weights = batch.columns().last().and_then(|column| column.as_primitive_opt::<Int64Type>()).cloned();
    let weights = weights.filter(|weights| *kind == WITH_WEIGHTS && weights.null_count() == 0);
    let weights = weights.ok_or_else(|| Error::external("stored changes are damaged", "no weights"))?;
    Ok(Changes::new(batch.project(&(0..last).collect::<Vec<_>>())?, Some(weights)))
}

fn encode(start: Vec<u8>, batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(start, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::{decode_changes, encode_changes};
    use crate::types::Changes;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;

    #[test]
    fn changes_read_back_as_they_were_written() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
        let rows = RecordBatch::try_from_iter([("t", texts)]).unwrap().slice(1, 2);
        let plain = decode_changes(&encode_changes(&Changes::insertions(rows.clone())).unwrap()).unwrap();
        assert_eq!((plain.rows(), plain.weights()), (&rows, None));
        let weights = Int64Array::from(vec![-1, 3]);
        let both = decode_changes(&encode_changes(&Changes::new(rows.clone(), Some(weights.clone()))).unwrap()).unwrap();
        assert_eq!((both.rows(), both.weights()), (&rows, Some(&weights)));
        assert!(decode_changes(&[]).is_err());
        assert!(decode_changes(&[1, 2, 3]).is_err());
    }
}
