//! Several columns as one of bytes whose order is the order of the rows: how an operator keeps rows that it sorts, and gives them back.
//!
//! In: columns, each with the direction it is sorted in. Out: a Binary column (Arrow's row format) and, from any of its values, the columns.
//! Always: equal rows have equal bytes. So floats lose what SQL does not tell apart: -0.0 becomes 0.0, every NaN becomes the one NaN.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::row::{RowConverter, SortField};

use super::decode::decode_rows;
use super::floats::canonical_floats;
use crate::error::{Error, Result};

/// The columns of packed rows, the one that decides first in front.
#[derive(Debug)]
pub struct PackedRows {
    schema: SchemaRef,
    directions: Vec<SortOptions>,
    converter: RowConverter,
}

impl PackedRows {
    /// Rows of `fields`, each sorted as its direction says. Fails with `NotSupported` for types that have no order.
    pub fn new(fields: Vec<FieldRef>, directions: Vec<SortOptions>) -> Result<Self> {
        assert_eq!(fields.len(), directions.len(), "one direction per column");
        // What has nanoseconds before types are settled has microseconds then.
        let settled = |field: FieldRef| match field.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                Arc::new(field.as_ref().clone().with_data_type(data_type))
            }
            _ => field,
        };
        let fields: Vec<FieldRef> = fields.into_iter().map(settled).collect();
        let sorted = fields.iter().zip(&directions);
        let sorted: Vec<SortField> =
            sorted.map(|(field, direction)| SortField::new_with_options(field.data_type().clone(), *direction)).collect();
        if !RowConverter::supports_fields(&sorted) {
            return Err(Error::not_supported("rows with a column of a type without an order cannot be kept"));
        }
        let converter = RowConverter::new(sorted)?;
        Ok(PackedRows { schema: Arc::new(Schema::new(fields)), directions, converter })
    }

    /// The columns that come back.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What tells it from others, without the names of columns: types and directions.
    pub fn shape(&self) -> String {
        let types: Vec<&DataType> = self.schema.fields().iter().map(|field| field.data_type()).collect();
        format!("{types:?} {:?}", self.directions)
    }

    /// One value per row. The columns may come in another representation of their types; they are cast.
    pub fn pack(&self, columns: &[ArrayRef], rows: usize) -> Result<BinaryArray> {
        if columns.is_empty() {
            return Ok(BinaryArray::from_iter_values(std::iter::repeat_n([], rows)));
        }
        let column = |(column, field): (&ArrayRef, &FieldRef)| {
            let same = column.data_type() == field.data_type();
            Ok(canonical_floats(if same { Arc::clone(column) } else { cast(column, field.data_type())? }))
        };
        let columns = columns.iter().zip(self.schema.fields()).map(column).collect::<Result<Vec<_>>>()?;
        Ok(self.converter.convert_columns(&columns)?.try_into_binary()?)
    }

    /// The columns of packed rows. Bytes that `pack` did not make are an internal error or panic.
    pub fn unpack<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        if self.directions.is_empty() {
            return Ok(Vec::new());
        }
        decode_rows(&self.converter, rows)
    }
}

/// The same rows if columns and directions are the same.
impl PartialEq for PackedRows {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema && self.directions == other.directions
    }
}

impl Eq for PackedRows {}

impl std::hash::Hash for PackedRows {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.schema.fields().hash(state);
        self.directions.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
    use arrow::compute::SortOptions;
    use arrow::datatypes::{DataType, Field};

    use super::PackedRows;

    #[test]
    fn packed_rows_sort_as_declared_and_come_back() {
        let fields = vec![Arc::new(Field::new("f", DataType::Float64, true)), Arc::new(Field::new("s", DataType::Utf8, true))];
        let directions = vec![SortOptions { descending: true, nulls_first: false }, SortOptions { descending: false, nulls_first: false }];
        let rows = PackedRows::new(fields, directions).unwrap();
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(2.0), Some(-0.0), Some(0.0), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some("b"), Some("c"), Some("a")]));
        let packed = rows.pack(&[floats, Arc::clone(&texts)], 4).unwrap();
        assert!(packed.iter().is_sorted());
        let columns = rows.unpack(packed.iter().flatten()).unwrap();
        assert_eq!(&columns[1], &texts);
        assert_eq!(columns[0].as_primitive::<arrow::datatypes::Float64Type>().value(1).to_bits(), 0);
        assert!(columns[0].is_null(3));
    }

    #[test]
    fn rows_without_columns_are_counted_only() {
        let rows = PackedRows::new(Vec::new(), Vec::new()).unwrap();
        assert_eq!(rows.pack(&[], 3).unwrap().len(), 3);
        assert!(rows.unpack([[].as_slice()]).unwrap().is_empty());
    }
}
