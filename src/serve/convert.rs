//! Batches as DataFusion makes them → batches of exactly the types that clients are told: no views, dictionaries, unsigned integers,
//! other units of time.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::plan::from_datafusion;

/// The columns of `batch` as `schema` says, by position.
pub fn convert(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        cast_with_options(column, field.data_type(), &options).map_err(|error| from_datafusion(error.into(), ""))
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, AsArray, DictionaryArray, RecordBatch, StringViewArray, TimestampNanosecondArray, UInt64Array};
    use arrow::datatypes::{Int32Type, Int64Type, Schema, TimestampMicrosecondType};

    use super::convert;
    use crate::types::{SqlType, sql_type_of};

    #[test]
    fn every_column_gets_the_arrow_type_of_its_sql_type() {
        let words: DictionaryArray<Int32Type> = ["a", "a"].into_iter().collect();
        let batch = RecordBatch::try_from_iter([
            ("view", Arc::new(StringViewArray::from(vec!["x", "y"])) as Arc<dyn Array>),
            ("word", Arc::new(words)),
            ("count", Arc::new(UInt64Array::from(vec![1, 7]))),
            ("time", Arc::new(TimestampNanosecondArray::from(vec![1_000, 2_999]))),
        ])
        .unwrap();
        let types: Vec<SqlType> = batch.schema().fields().iter().map(|field| sql_type_of(field)).collect();
        let fields: Vec<_> = types.iter().map(|sql_type| sql_type.field("x", true)).collect();
        let converted = convert(&batch, &Arc::new(Schema::new(fields))).unwrap();
        assert_eq!(converted.column(0).as_string::<i32>().value(1), "y");
        assert_eq!(converted.column(2).as_primitive::<Int64Type>().value(1), 7);
        assert_eq!(converted.column(3).as_primitive::<TimestampMicrosecondType>().values(), &[1, 2]);
    }
}
