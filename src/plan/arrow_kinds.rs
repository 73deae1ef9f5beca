//! Kinds of Arrow types that SQL makes no difference between, and constants of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;

/// Whether it is one of the integers that SQL has.
pub(super) fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

/// Whether it is a text of any layout.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether values hold values.
pub(super) fn is_nested(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Struct(_) | DataType::Map(..))
}

/// The first value of an array as a constant, of the array's type: of lists, DataFusion would forget what the elements are said to be.
pub(super) fn one_value(array: &ArrayRef) -> DataFusionResult<ScalarValue> {
    match array.data_type() {
        DataType::List(_) if array.is_valid(0) => Ok(ScalarValue::List(Arc::new(array.slice(0, 1).as_list::<i32>().clone()))),
        _ => ScalarValue::try_from_array(array, 0),
    }
}
