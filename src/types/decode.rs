//! Rows of Arrow's row format → columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::downcast_primitive_array;
use arrow::row::RowConverter;

use crate::error::Result;

/// The columns of rows that `converter` made. Other bytes are an error or panic.
///
/// In the places of NULLs Arrow leaves the least value of the type. Kernels compute on those places too, and where that overflows a build with
/// debug assertions stops, so that such a build gets zeros there; in an optimised one nobody ever sees them.
pub fn decode_rows<'a>(converter: &RowConverter, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
    let parser = converter.parser();
    let columns = converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)))?;
    Ok(if cfg!(debug_assertions) { columns.into_iter().map(zeros_below_nulls).collect() } else { columns })
}

fn zeros_below_nulls(column: ArrayRef) -> ArrayRef {
    if column.null_count() == 0 {
        return column;
    }
    let values = column.as_ref();
    downcast_primitive_array!(
        values => zeros(values),
        _ => Arc::clone(&column)
    )
}

fn zeros<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>) -> ArrayRef {
    Arc::new(values.iter().collect::<PrimitiveArray<T>>().with_data_type(values.data_type().clone()))
}
