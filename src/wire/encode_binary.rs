//! Values as PostgreSQL's `send` functions write them.

use std::ops::Range;

use arrow::array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray};
use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::types::{SqlType, TextColumn, TextStyle};
use crate::wire::encode::{put_length, put_value};
use crate::wire::numeric::put_numeric;
use crate::wire::type_oid::oid_of;

/// Days from 1970-01-01, where Arrow counts from, to 2000-01-01, where PostgreSQL does.
pub(super) const EPOCH_DAYS: i32 = 10_957;

/// The same distance in microseconds.
pub(super) const EPOCH_US: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The byte before the text of a binary `jsonb`.
pub(super) const JSONB_VERSION: u8 = 1;

/// A column, ready to be written value by value.
pub(super) struct BinaryColumn<'a> {
    array: &'a dyn Array,
    oid: u32,
    form: Form<'a>,
}

/// How the values of a column are written.
enum Form<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a PrimitiveArray<Int16Type>),
    Int4(&'a PrimitiveArray<Int32Type>),
    Int8(&'a PrimitiveArray<Int64Type>),
    Oid(&'a PrimitiveArray<Int64Type>),
    Float4(&'a PrimitiveArray<Float32Type>),
    Float8(&'a PrimitiveArray<Float64Type>),
    Numeric(TextColumn<'a>),
    Text(&'a StringArray),
    /// Text that is not kept as it is shown.
    Printed(TextColumn<'a>),
    Jsonb(&'a StringArray),
    Uuid(&'a StringArray),
    Bytea(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Interval(&'a PrimitiveArray<IntervalMonthDayNanoType>),
    List(&'a ListArray, Box<BinaryColumn<'a>>),
    Struct(Vec<BinaryColumn<'a>>),
}

impl<'a> BinaryColumn<'a> {
    /// Chooses the form; the array is `canonical` for its type.
    pub(super) fn new(array: &'a dyn Array, sql_type: &SqlType) -> Result<Self> {
        let form = match sql_type {
            SqlType::Bool => Form::Bool(array.as_boolean()),
            SqlType::Int2 => Form::Int2(array.as_primitive()),
            SqlType::Int4 => Form::Int4(array.as_primitive()),
            SqlType::Int8 => Form::Int8(array.as_primitive()),
            SqlType::Oid => Form::Oid(array.as_primitive()),
            SqlType::Float4 => Form::Float4(array.as_primitive()),
            SqlType::Float8 => Form::Float8(array.as_primitive()),
            SqlType::Numeric(..) => Form::Numeric(TextColumn::new(array, sql_type)?),
            SqlType::Text | SqlType::Varchar(_) | SqlType::Json | SqlType::Name | SqlType::CatalogChar => Form::Text(array.as_string()),
            SqlType::Char(_) => Form::Printed(TextColumn::new(array, sql_type)?),
            SqlType::Jsonb => Form::Jsonb(array.as_string()),
            SqlType::Uuid => Form::Uuid(array.as_string()),
            SqlType::Bytea => Form::Bytea(array.as_binary()),
            SqlType::Date => Form::Date(array.as_primitive()),
            SqlType::Time => Form::Time(array.as_primitive()),
            SqlType::Timestamp | SqlType::Timestamptz => Form::Timestamp(array.as_primitive()),
            SqlType::Interval => Form::Interval(array.as_primitive()),
            SqlType::Rounded(whole, _) => return BinaryColumn::new(array, whole),
            SqlType::Array(element) => {
                let lists = array.as_list::<i32>();
                Form::List(lists, Box::new(BinaryColumn::new(&**lists.values(), element)?))
            }
            SqlType::Struct(fields) => {
                let columns = array.as_struct().columns().iter().zip(fields);
                Form::Struct(columns.map(|(column, (_, field))| BinaryColumn::new(&**column, field)).collect::<Result<_>>()?)
            }
        };
        Ok(BinaryColumn { array, oid: oid_of(sql_type), form })
    }

    /// Appends one value with its length; -1 for NULL.
    pub(super) fn put(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        if self.array.is_null(row) {
            put_value(out, None);
            return Ok(());
        }
        let start = out.len();
        out.put_u32(0);
        self.put_body(row, out)?;
        put_length(out, start, 4);
        Ok(())
    }

    fn put_body(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        match &self.form {
            Form::Bool(values) => out.put_u8(u8::from(values.value(row))),
            Form::Int2(values) => out.put_i16(values.value(row)),
            Form::Int4(values) => out.put_i32(values.value(row)),
            Form::Int8(values) => out.put_i64(values.value(row)),
            Form::Oid(values) => out.put_u32(values.value(row) as u32),
            Form::Float4(values) => out.put_f32(values.value(row)),
            Form::Float8(values) => out.put_f64(values.value(row)),
            Form::Numeric(values) => {
                let mut text = String::new();
                values.write(row, &TextStyle::default(), &mut text);
                put_numeric(&text, out);
            }
            Form::Text(values) => out.put_slice(values.value(row).as_bytes()),
            Form::Printed(values) => {
                let mut text = String::new();
                values.write(row, &TextStyle::default(), &mut text);
                out.put_slice(text.as_bytes());
            }
            Form::Jsonb(values) => {
                out.put_u8(JSONB_VERSION);
                out.put_slice(values.value(row).as_bytes());
            }
            Form::Uuid(values) => {
                let value = Uuid::parse_str(values.value(row)).map_err(|cause| Error::internal(format!("a stored uuid: {cause}")))?;
                out.put_slice(value.as_bytes());
            }
            Form::Bytea(values) => out.put_slice(values.value(row)),
            Form::Date(values) => out.put_i32(shift_days(values.value(row))),
            Form::Time(values) => out.put_i64(values.value(row)),
            Form::Timestamp(values) => out.put_i64(shift_micros(values.value(row))),
            Form::Interval(values) => {
                let value = values.value(row);
                out.put_i64(value.nanoseconds / 1_000);
                out.put_i32(value.days);
                out.put_i32(value.months);
            }
            Form::List(lists, element) => {
                let offsets = lists.value_offsets();
                put_array(element, offsets[row] as usize..offsets[row + 1] as usize, out)?;
            }
            Form::Struct(fields) => {
                out.put_i32(fields.len() as i32);
                for field in fields {
                    out.put_u32(field.oid);
                    field.put(row, out)?;
                }
            }
        }
        Ok(())
    }
}

/// Days since 2000-01-01; the infinities stay what they are.
fn shift_days(days: i32) -> i32 {
    if matches!(days, i32::MIN | i32::MAX) { days } else { days.saturating_sub(EPOCH_DAYS) }
}

/// Microseconds since 2000-01-01; the infinities stay what they are.
fn shift_micros(micros: i64) -> i64 {
    if matches!(micros, i64::MIN | i64::MAX) { micros } else { micros.saturating_sub(EPOCH_US) }
}

/// One array value: lists of lists become dimensions, which must be rectangular.
fn put_array(element: &BinaryColumn<'_>, range: Range<usize>, out: &mut BytesMut) -> Result<()> {
    let mut dimensions = vec![range.len()];
    let (mut leaf, mut range) = (element, range);
    while let Form::List(lists, inner) = &leaf.form {
        // Lists next to each other keep their elements next to each other.
        let offsets = lists.value_offsets();
        let length = |row: usize| (offsets[row + 1] - offsets[row]) as usize;
        let expected = range.clone().next().map_or(0, length);
        if range.clone().any(|row| lists.is_null(row) || length(row) != expected) {
            return Err(Error::not_supported("a list of lists of different lengths has no binary form").hint("Ask for the text format."));
        }
        dimensions.push(expected);
        range = if range.is_empty() { 0..0 } else { offsets[range.start] as usize..offsets[range.end] as usize };
        leaf = inner;
    }
    let empty = range.is_empty();
    out.put_i32(if empty { 0 } else { dimensions.len() as i32 });
    out.put_i32(i32::from(range.clone().any(|row| leaf.array.is_null(row))));
    out.put_u32(leaf.oid);
    if empty {
        return Ok(());
    }
    for dimension in dimensions {
        out.put_i32(dimension as i32);
        out.put_i32(1);
    }
    range.into_iter().try_for_each(|row| leaf.put(row, out))
}
