//! Text → a value of any type, as PostgreSQL's input functions read it: what a quoted string means when it is assigned to a column.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono_tz::Tz;

use crate::error::Result;
use crate::types::{SqlType, parse_column_in};

/// Texts as values of `target`; an instant without an offset is local time of `zone`.
pub(super) fn read(values: &ArrayRef, target: &SqlType, zone: Tz) -> Result<ArrayRef> {
    let texts = cast(values, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    parse_column_in(target, (0..texts.len()).map(|row| texts.is_valid(row).then(|| texts.value(row))), zone)
}
