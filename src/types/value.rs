//! One value of any SQL type, and the builder that collects values into a column.
//!
//! In: `Value`s as the text and JSON readers make them, one per row. Out: an Arrow array of `SqlType::arrow`.
//! Readers make every value of a row before they append the first, so that a bad row leaves no trace in the builders.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, ListArray, NullBufferBuilder, PrimitiveBuilder, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Fields, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, i256,
};

use super::SqlType;

/// One value, in the form that the column's Arrow type stores.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL of any type.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `smallint`, `integer`, `bigint`, `oid`; `date` in days; `time`, `timestamp` and `timestamptz` in microseconds.
    Int(i64),
    /// `real`, `double precision`.
    Float(f64),
    /// `numeric` of up to 38 digits, in units of its scale.
    Decimal(i128),
    /// `numeric` of more than 38 digits, in units of its scale.
    WideDecimal(i256),
    /// Every type that Arrow carries as Utf8.
    Text(Cow<'a, str>),
    /// `bytea`.
    Bytes(Cow<'a, [u8]>),
    /// `interval`.
    Interval(IntervalMonthDayNano),
    /// An array's elements.
    List(Vec<Value<'a>>),
    /// A struct's fields, all of them, in order.
    Row(Vec<Value<'a>>),
}

impl Value<'_> {
    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(text.into_owned().into()),
            Value::Bytes(bytes) => Value::Bytes(bytes.into_owned().into()),
            Value::List(values) => Value::List(values.into_iter().map(Value::into_owned).collect()),
            Value::Row(values) => Value::Row(values.into_iter().map(Value::into_owned).collect()),
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Int(value) => Value::Int(value),
            Value::Float(value) => Value::Float(value),
            Value::Decimal(value) => Value::Decimal(value),
            Value::WideDecimal(value) => Value::WideDecimal(value),
            Value::Interval(value) => Value::Interval(value),
        }
    }
}

impl Value<'static> {
    /// The value at `row` of a column of one of `SqlType`'s Arrow types.
    pub fn from_array(array: &dyn Array, row: usize) -> Self {
        if array.is_null(row) {
            return Value::Null;
        }
        match array.data_type() {
            DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
            DataType::Int16 => Value::Int(array.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => Value::Float(array.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(..) => Value::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
            DataType::Decimal256(..) => Value::WideDecimal(array.as_primitive::<Decimal256Type>().value(row)),
            DataType::Utf8 => Value::Text(Cow::Owned(array.as_string::<i32>().value(row).to_owned())),
            DataType::Binary => Value::Bytes(Cow::Owned(array.as_binary::<i32>().value(row).to_vec())),
            DataType::Date32 => Value::Int(array.as_primitive::<Date32Type>().value(row).into()),
            DataType::Time64(_) => Value::Int(array.as_primitive::<Time64MicrosecondType>().value(row)),
            DataType::Timestamp(..) => Value::Int(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            DataType::Interval(_) => Value::Interval(array.as_primitive::<IntervalMonthDayNanoType>().value(row)),
            DataType::List(_) => {
                let elements = array.as_list::<i32>().value(row);
                Value::List((0..elements.len()).map(|index| Value::from_array(&elements, index)).collect())
            }
            DataType::Struct(_) => Value::Row(array.as_struct().columns().iter().map(|field| Value::from_array(field, row)).collect()),
            other => panic!("no SQL type is carried by {other}"),
        }
    }
}

/// Collects the values of one column. After `finish` it is empty and can be used again.
#[derive(Debug)]
pub struct ColumnBuilder(Column);

/// One builder per Arrow type that a `SqlType` maps to.
#[derive(Debug)]
enum Column {
    Bool(BooleanBuilder),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Decimal128(PrimitiveBuilder<Decimal128Type>),
    Decimal256(PrimitiveBuilder<Decimal256Type>),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Interval(PrimitiveBuilder<IntervalMonthDayNanoType>),
    List { field: arrow::datatypes::FieldRef, offsets: Vec<i32>, valid: NullBufferBuilder, elements: Box<ColumnBuilder> },
    Struct { fields: Fields, valid: NullBufferBuilder, columns: Vec<ColumnBuilder>, rows: usize },
}

impl ColumnBuilder {
    /// For a column of this type.
    pub fn new(sql_type: &SqlType) -> Self {
        let arrow = sql_type.arrow();
        ColumnBuilder(match sql_type {
            SqlType::Bool => Column::Bool(BooleanBuilder::new()),
            SqlType::Int2 => Column::Int16(PrimitiveBuilder::new()),
            SqlType::Int4 => Column::Int32(PrimitiveBuilder::new()),
            SqlType::Int8 | SqlType::Oid => Column::Int64(PrimitiveBuilder::new()),
            SqlType::Float4 => Column::Float32(PrimitiveBuilder::new()),
            SqlType::Float8 => Column::Float64(PrimitiveBuilder::new()),
            SqlType::Numeric(..) if matches!(arrow, DataType::Decimal128(..)) => {
                Column::Decimal128(PrimitiveBuilder::new().with_data_type(arrow))
            }
            SqlType::Numeric(..) => Column::Decimal256(PrimitiveBuilder::new().with_data_type(arrow)),
            SqlType::Bytea => Column::Bytes(BinaryBuilder::new()),
            SqlType::Date => Column::Date(PrimitiveBuilder::new()),
            SqlType::Time => Column::Time(PrimitiveBuilder::new()),
            SqlType::Timestamp | SqlType::Timestamptz => Column::Timestamp(PrimitiveBuilder::new().with_data_type(arrow)),
            SqlType::Interval => Column::Interval(PrimitiveBuilder::new()),
            SqlType::Rounded(whole, _) => return ColumnBuilder::new(whole),
            SqlType::Array(element) => {
                let DataType::List(field) = arrow else { unreachable!("an array is carried by a List") };
                Column::List { field, offsets: vec![0], valid: NullBufferBuilder::new(0), elements: Box::new(ColumnBuilder::new(element)) }
            }
            SqlType::Struct(types) => {
                let DataType::Struct(fields) = arrow else { unreachable!("a struct is carried by a Struct") };
                let columns = types.iter().map(|(_, field)| ColumnBuilder::new(field)).collect();
                Column::Struct { fields, valid: NullBufferBuilder::new(0), columns, rows: 0 }
            }
            _ => Column::Text(StringBuilder::new()),
        })
    }

    /// Appends one value. Panics if it is of another type than the column: readers make values for the column they go to.
    pub fn append(&mut self, value: &Value<'_>) {
        match (&mut self.0, value) {
            (_, Value::Null) => self.append_null(),
            (_, Value::Int(value)) => self.append_integer(*value),
            (_, Value::Text(value)) => self.append_text(value),
            (Column::Bool(column), Value::Bool(value)) => column.append_value(*value),
            (Column::Float32(column), Value::Float(value)) => column.append_value(*value as f32),
            (Column::Float64(column), Value::Float(value)) => column.append_value(*value),
            (Column::Decimal128(column), Value::Decimal(value)) => column.append_value(*value),
            (Column::Decimal256(column), Value::WideDecimal(value)) => column.append_value(*value),
            (Column::Bytes(column), Value::Bytes(value)) => column.append_value(value),
            (Column::Interval(column), Value::Interval(value)) => column.append_value(*value),
            (Column::List { offsets, valid, elements, .. }, Value::List(values)) => {
                values.iter().for_each(|value| elements.append(value));
                let end = offsets.last().copied().unwrap_or(0) + i32::try_from(values.len()).expect("fewer than 2^31 elements");
                offsets.push(end);
                valid.append_non_null();
            }
            (Column::Struct { valid, columns, rows, .. }, Value::Row(values)) => {
                assert_eq!(columns.len(), values.len(), "one value per field");
                columns.iter_mut().zip(values).for_each(|(column, value)| column.append(value));
                valid.append_non_null();
                *rows += 1;
            }
            (column, value) => panic!("{value:?} does not go into {column:?}"),
        }
    }

    /// As `append` of a `Value::Int`.
    pub fn append_integer(&mut self, value: i64) {
        match &mut self.0 {
            Column::Int16(column) => column.append_value(i16::try_from(value).expect("a smallint")),
            Column::Int32(column) => column.append_value(i32::try_from(value).expect("an integer")),
            Column::Int64(column) => column.append_value(value),
            Column::Date(column) => column.append_value(i32::try_from(value).expect("days of a date")),
            Column::Time(column) => column.append_value(value),
            Column::Timestamp(column) => column.append_value(value),
            column => panic!("{value} does not go into {column:?}"),
        }
    }

    /// As `append` of a `Value::Text`.
    pub fn append_text(&mut self, text: &str) {
        match &mut self.0 {
            Column::Text(column) => column.append_value(text),
            column => panic!("{text:?} does not go into {column:?}"),
        }
    }

    fn append_null(&mut self) {
        match &mut self.0 {
            Column::Bool(column) => column.append_null(),
            Column::Int16(column) => column.append_null(),
            Column::Int32(column) => column.append_null(),
            Column::Int64(column) => column.append_null(),
            Column::Float32(column) => column.append_null(),
            Column::Float64(column) => column.append_null(),
            Column::Decimal128(column) => column.append_null(),
            Column::Decimal256(column) => column.append_null(),
            Column::Text(column) => column.append_null(),
            Column::Bytes(column) => column.append_null(),
            Column::Date(column) => column.append_null(),
            Column::Time(column) => column.append_null(),
            Column::Timestamp(column) => column.append_null(),
            Column::Interval(column) => column.append_null(),
            Column::List { offsets, valid, .. } => {
                offsets.push(offsets.last().copied().unwrap_or(0));
                valid.append_null();
            }
            Column::Struct { valid, columns, rows, .. } => {
                columns.iter_mut().for_each(ColumnBuilder::append_null);
                valid.append_null();
                *rows += 1;
            }
        }
    }

    /// The column so far; starts a new one.
    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.0 {
            Column::Bool(column) => Arc::new(column.finish()),
            Column::Int16(column) => Arc::new(column.finish()),
            Column::Int32(column) => Arc::new(column.finish()),
            Column::Int64(column) => Arc::new(column.finish()),
            Column::Float32(column) => Arc::new(column.finish()),
            Column::Float64(column) => Arc::new(column.finish()),
            Column::Decimal128(column) => Arc::new(column.finish()),
            Column::Decimal256(column) => Arc::new(column.finish()),
            Column::Text(column) => Arc::new(column.finish()),
            Column::Bytes(column) => Arc::new(column.finish()),
            Column::Date(column) => Arc::new(column.finish()),
            Column::Time(column) => Arc::new(column.finish()),
            Column::Timestamp(column) => Arc::new(column.finish()),
            Column::Interval(column) => Arc::new(column.finish()),
            Column::List { field, offsets, valid, elements } => {
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                Arc::new(ListArray::new(Arc::clone(field), offsets, elements.finish(), valid.finish()))
            }
            Column::Struct { fields, valid, columns, rows } => {
                let columns = columns.iter_mut().map(ColumnBuilder::finish).collect();
                let rows = std::mem::take(rows);
                Arc::new(
                    StructArray::try_new_with_length(fields.clone(), columns, valid.finish(), rows).expect("columns of the struct's types"),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ColumnBuilder, Value};
    use crate::types::SqlType;
    use arrow::array::Array;

    #[test]
    fn nested_values_come_out_as_they_went_in() {
        let inner = SqlType::Struct(vec![("n".into(), SqlType::Int4), ("tags".into(), SqlType::Array(Box::new(SqlType::Text)))]);
        let mut builder = ColumnBuilder::new(&SqlType::Array(Box::new(inner)));
        let tags = Value::List(vec![Value::Text("x".into()), Value::Null]);
        let values = [
            Value::List(vec![Value::Row(vec![Value::Int(1), tags]), Value::Null]),
            Value::Null,
            Value::List(vec![]),
            Value::List(vec![Value::Row(vec![Value::Null, Value::Null])]),
        ];
        for _ in 0..2 {
            values.iter().for_each(|value| builder.append(value));
            let column = builder.finish();
            assert_eq!(column.len(), values.len());
            for (row, value) in values.iter().enumerate() {
                assert_eq!(Value::from_array(&column, row), *value);
            }
        }
    }
}
