//! The result of FIRST_VALUE and its like: one column of the first or last packed row of every group.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_null_array};
use arrow::compute::take as take_rows;

use crate::error::Result;
use crate::plan::PackedColumn;

/// The column of `rows`, a Binary array; NULL where there is no row.
pub(super) fn unpack(packed: &PackedColumn, rows: &ArrayRef) -> Result<ArrayRef> {
    let rows = rows.as_binary::<i32>();
    let data_type = packed.rows.schema().field(packed.column).data_type();
    if rows.null_count() == rows.len() {
        return Ok(new_null_array(data_type, rows.len()));
    }
    let column = packed.rows.unpack(rows.iter().flatten())?.swap_remove(packed.column);
    let mut next = 0;
    let place = |row: Option<&[u8]>| {
        next += u32::from(row.is_some());
        row.map(|_| next - 1)
    };
    let places: UInt32Array = rows.iter().map(place).collect();
    Ok(take_rows(&column, &places, None)?)
}
