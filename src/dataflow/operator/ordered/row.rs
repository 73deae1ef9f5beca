//! Rows as bytes: comparing two rows' bytes compares them by the order's columns, and where those are equal by all others.
//!
//! Both parts are Arrow's row format, whose byte order is the values' order, and of which none is a prefix of another. The columns of the
//! group's key are in neither: they are the same for all rows of a group. Both zeros are one value, as is every NaN.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::{Error, Result};
use crate::plan::OrderColumn;
use crate::types::{canonical_floats, decode_rows};

/// One row that lies somewhere. Ordered by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::dataflow::operator) struct RowRef<'a> {
    /// The bytes of the order's columns: equal for peers.
    pub(in crate::dataflow::operator) order: &'a [u8],
    /// The bytes of the other columns.
    pub(in crate::dataflow::operator) rest: &'a [u8],
}

impl RowRef<'_> {
    /// The first column of the order, if it is a timestamp that goes up; `None` for NULL.
    pub(in crate::dataflow::operator) fn time(self) -> Option<i64> {
        // Arrow's row format: the sign is turned round, so that bytes compare as numbers do.
        Some((self.first_bits()? ^ (1 << 63)).cast_signed())
    }

    /// The same of one that goes down: all bits are turned round.
    pub(in crate::dataflow::operator) fn time_down(self) -> Option<i64> {
        Some((!self.first_bits()? ^ (1 << 63)).cast_signed())
    }

    fn first_bits(self) -> Option<u64> {
        let (valid, rest) = self.order.split_first()?;
        rest.first_chunk().filter(|_| *valid == 1).map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Whether it stands before all rows of `time` and later, in such an order: a NULL does where NULLs come first.
    pub(in crate::dataflow::operator) fn is_before(self, time: i64) -> bool {
        match self.time() {
            Some(own) => own < time,
            None => self.order.first() == Some(&0),
        }
    }

    /// A copy of its own.
    pub(super) fn to_row(self) -> Row {
        Row { bytes: [self.order, self.rest].concat().into_boxed_slice(), order: self.order.len() as u32 }
    }
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    bytes: Box<[u8]>,
    /// How many of the bytes are of the order's columns.
    order: u32,
}

impl Row {
    /// The row.
    pub(super) fn get(&self) -> RowRef<'_> {
        let (order, rest) = self.bytes.split_at(self.order as usize);
        RowRef { order, rest }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Row>() + self.bytes.len()
    }
}

/// Turns some columns into bytes and back; nothing for no columns.
struct Part {
    columns: Vec<usize>,
    converter: Option<RowConverter>,
}

/// One batch's rows as bytes.
#[derive(Debug)]
pub(in crate::dataflow::operator) struct Encoded {
    order: Option<Rows>,
    rest: Option<Rows>,
}

/// Of one batch's rows the bytes of the order's columns.
pub(super) struct Orders(Option<Rows>);

/// Which column goes where, for one input.
pub(in crate::dataflow::operator) struct RowFormat {
    keys: Vec<usize>,
    order: Part,
    rest: Part,
    width: usize,
}

impl RowFormat {
    /// For rows of `schema` in groups by `keys`. Fails for a type that has no row format.
    pub(in crate::dataflow::operator) fn new(schema: &SchemaRef, keys: &[usize], order: &[OrderColumn]) -> Result<Self> {
        let mut ordered: Vec<OrderColumn> = Vec::new();
        for column in order {
            if !keys.contains(&column.column) && !ordered.iter().any(|known| known.column == column.column) {
                ordered.push(*column);
            }
        }
        let width = schema.fields().len();
        let rest = (0..width).filter(|column| !keys.contains(column) && !ordered.iter().any(|known| known.column == *column));
        let rest: Vec<(usize, SortOptions)> = rest.map(|column| (column, SortOptions::default())).collect();
        let options = |column: &OrderColumn| SortOptions { descending: column.descending, nulls_first: column.nulls_first };
        let ordered: Vec<(usize, SortOptions)> = ordered.iter().map(|column| (column.column, options(column))).collect();
        Ok(RowFormat { keys: keys.to_vec(), order: Part::new(schema, &ordered)?, rest: Part::new(schema, &rest)?, width })
    }

    /// The bytes of every row's order, a fraction of all.
    pub(super) fn encode_order(&self, columns: &[ArrayRef]) -> Result<Orders> {
        Ok(Orders(self.order.encode(columns)?))
    }

    /// The bytes of every row.
    pub(in crate::dataflow::operator) fn encode(&self, columns: &[ArrayRef]) -> Result<Encoded> {
        Ok(Encoded { order: self.order.encode(columns)?, rest: self.rest.encode(columns)? })
    }

    /// The columns of rows: `keys` are those of their groups, one value per row.
    pub(in crate::dataflow::operator) fn decode<'a>(
        &self,
        keys: Vec<ArrayRef>,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.width];
        for (position, values) in self.keys.iter().zip(keys) {
            columns[*position] = Some(values);
        }
        let order = self.order.decode(rows.clone().map(|(order, _)| order))?;
        let rest = self.rest.decode(rows.map(|(_, rest)| rest))?;
        let decoded = self.order.columns.iter().zip(order).chain(self.rest.columns.iter().zip(rest));
        decoded.for_each(|(position, values)| columns[*position] = Some(values));
        let columns: Option<Vec<ArrayRef>> = columns.into_iter().collect();
        columns.ok_or_else(|| Error::internal("a row's format has not all of its columns"))
    }
}

impl Part {
    fn new(schema: &SchemaRef, columns: &[(usize, SortOptions)]) -> Result<Self> {
        let data_type = |column: usize| -> DataType { schema.field(column).data_type().clone() };
        let fields = columns.iter().map(|(column, options)| SortField::new_with_options(data_type(*column), *options));
        let converter = RowConverter::new(fields.collect()).map_err(|_| {
            let types = columns.iter().map(|(column, _)| data_type(*column).to_string()).collect::<Vec<_>>().join(", ");
            Error::not_supported(format!("keeping columns of these types in an order in a materialized view's state: {types}"))
        })?;
        Ok(Part { columns: columns.iter().map(|(column, _)| *column).collect(), converter: (!columns.is_empty()).then_some(converter) })
    }

    fn encode(&self, columns: &[ArrayRef]) -> Result<Option<Rows>> {
        let Some(converter) = &self.converter else { return Ok(None) };
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| canonical_floats(Arc::clone(&columns[*column]))).collect();
        Ok(Some(converter.convert_columns(&columns)?))
    }

    fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        decode_rows(converter, rows)
    }
}

impl Encoded {
    /// One row.
    pub(in crate::dataflow::operator) fn row(&self, row: usize) -> RowRef<'_> {
        RowRef { order: part(self.order.as_ref(), row), rest: part(self.rest.as_ref(), row) }
    }
}

impl Orders {
    /// Those of one row.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        part(self.0.as_ref(), row)
    }
}

fn part(rows: Option<&Rows>, row: usize) -> &[u8] {
    rows.map_or(&[], |rows| rows.row(row).data())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use super::RowFormat;
    use crate::plan::OrderColumn;

    #[test]
    fn the_time_of_a_row_is_read_from_its_order() {
        let times = [None, Some(i64::MIN), Some(-1), Some(0), Some(1_704_067_200_000_000), Some(i64::MAX)];
        let schema = Arc::new(Schema::new(vec![Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true)]));
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        for descending in [false, true] {
            for nulls_first in [false, true] {
                let order = [OrderColumn { column: 0, descending, nulls_first }];
                let encoded = RowFormat::new(&schema, &[], &order).unwrap().encode(std::slice::from_ref(&column)).unwrap();
                for (number, time) in times.into_iter().enumerate() {
                    let row = encoded.row(number);
                    assert_eq!(if descending { row.time_down() } else { row.time() }, time);
                    assert!(descending || row.is_before(0) == time.map_or(nulls_first, |time| time < 0));
                }
            }
        }
    }
}
