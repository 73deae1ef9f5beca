//! Whether two rows of two batches hold the same values: the check behind every hash table of rows.
//!
//! "Same" as GROUP BY and DISTINCT mean it: NULL equals NULL, NaN equals NaN, -0.0 equals 0.0.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::downcast_primitive_array;

/// Compares row `left_row` of `left` with row `right_row` of `right`, column by column. The columns have the same types.
pub fn rows_equal(left: &[ArrayRef], left_row: usize, right: &[ArrayRef], right_row: usize) -> bool {
    left.iter().zip(right).all(|(left, right)| values_equal(left.as_ref(), left_row, right.as_ref(), right_row))
}

fn values_equal(left: &dyn Array, left_row: usize, right: &dyn Array, right_row: usize) -> bool {
    match (left.is_null(left_row), right.is_null(right_row)) {
        (true, true) => return true,
        (false, false) => {}
        _ => return false,
    }
    match left.data_type() {
        DataType::Utf8 => left.as_string::<i32>().value(left_row) == right.as_string::<i32>().value(right_row),
        DataType::Binary => left.as_binary::<i32>().value(left_row) == right.as_binary::<i32>().value(right_row),
        DataType::Boolean => left.as_boolean().value(left_row) == right.as_boolean().value(right_row),
        DataType::Null => true,
        DataType::Float64 => {
            floats_equal(left.as_primitive::<Float64Type>().value(left_row), right.as_primitive::<Float64Type>().value(right_row))
        }
        DataType::Float32 => floats_equal(
            f64::from(left.as_primitive::<Float32Type>().value(left_row)),
            f64::from(right.as_primitive::<Float32Type>().value(right_row)),
        ),
        DataType::List(_) => {
            let (left, right) = (left.as_list::<i32>().value(left_row), right.as_list::<i32>().value(right_row));
            left.len() == right.len() && (0..left.len()).all(|i| values_equal(&left, i, &right, i))
        }
        DataType::Struct(_) => {
            let (left, right) = (left.as_struct().columns(), right.as_struct().columns());
            rows_equal(left, left_row, right, right_row)
        }
        _ => downcast_primitive_array!(
            (left, right) => left.value(left_row) == right.value(right_row),
            _ => left.slice(left_row, 1).to_data() == right.slice(right_row, 1).to_data()
        ),
    }
}

fn floats_equal(left: f64, right: f64) -> bool {
    left == right || (left.is_nan() && right.is_nan())
}
