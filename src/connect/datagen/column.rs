//! One column's values: a tree of rules, as deep as the column's type.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, StringBuilder, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNano};

use crate::connect::generator::Draw;
use crate::error::{Error, Result};
use crate::types::{SqlType, round_column};

use super::rule::{Float, Rules, Whole};

/// Letters and digits of random texts.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Characters of a random text unless said.
const TEXT_LENGTH: u64 = 10;

/// Elements of a random array unless said.
const ARRAY_LENGTH: u64 = 3;

const SECOND_NANOS: i64 = 1_000_000_000;
const DAY_NANOS: i64 = 86_400 * SECOND_NANOS;

/// How to make a column.
pub(super) struct Column {
    sql_type: SqlType,
    draw: Draw,
    shape: Shape,
}

enum Shape {
    /// Whole numbers, and everything that is counted in whole units.
    Whole(Whole),
    Float(Float),
    Bool,
    /// Random text; the length in characters.
    Text(u64),
    Bytes(u64),
    Uuid,
    /// A small object.
    Json,
    Array(Box<Column>, u64),
    Struct(Vec<Column>),
    /// Times, rounded to so many digits of a second.
    Rounded(Box<Column>, u8),
}

impl Column {
    /// Reads the options of the column at `path`: its name, and for nested ones those above it.
    pub(super) fn new(path: &str, sql_type: &SqlType, rules: &mut Rules<'_>) -> Result<Self> {
        if let SqlType::Rounded(whole, digits) = sql_type {
            if **whole == SqlType::Time {
                // The last half of a day's last unit has nowhere to go.
                let error = Error::not_supported(format!("connector \"datagen\" makes no values of type {sql_type}"));
                return Err(error.hint("Use time."));
            }
            let column = Column::new(path, whole, rules)?;
            return Ok(Column { sql_type: sql_type.clone(), draw: column.draw, shape: Shape::Rounded(Box::new(column), *digits) });
        }
        let path = path.to_lowercase();
        let draw = rules.draw(&path)?;
        let shape = match sql_type {
            SqlType::Int2 => Shape::Whole(rules.whole(&path, 0, i16::MIN.into(), i16::MAX.into())?),
            SqlType::Int4 => Shape::Whole(rules.whole(&path, 0, i32::MIN.into(), i32::MAX.into())?),
            SqlType::Int8 | SqlType::Oid => Shape::Whole(rules.whole(&path, 0, i64::MIN, i64::MAX)?),
            SqlType::Numeric(precision, scale) => {
                let highest = 10_i64.checked_pow(u32::from(*precision)).map_or(i64::MAX, |limit| limit - 1);
                Shape::Whole(rules.whole(&path, u32::try_from(*scale).unwrap_or(0), -highest, highest)?)
            }
            SqlType::Float4 | SqlType::Float8 => Shape::Float(rules.float(&path)?),
            SqlType::Date => Shape::Whole(rules.time(&path, DAY_NANOS, DAY_NANOS, "2024-01-01")?),
            SqlType::Time => Shape::Whole(rules.time(&path, 1_000, SECOND_NANOS, "1970-01-01 00:00:00")?),
            SqlType::Timestamp | SqlType::Timestamptz => Shape::Whole(rules.time(&path, 1_000, SECOND_NANOS, "2024-01-01 00:00:00")?),
            // Nanoseconds of an interval up to a day.
            SqlType::Interval => Shape::Whole(Whole::Random { min: 0, max: DAY_NANOS }),
            SqlType::Array(element) => {
                let length = rules.length(&path, ARRAY_LENGTH)?;
                Shape::Array(Box::new(Column::new(&format!("{path}._"), element, rules)?), length)
            }
            SqlType::Struct(fields) => {
                let fields = fields.iter().map(|(name, field)| Column::new(&format!("{path}.{name}"), field, rules));
                Shape::Struct(fields.collect::<Result<_>>()?)
            }
            simple => {
                rules.only_random(&path)?;
                random_shape(&path, simple, rules)?
            }
        };
        Ok(Column { sql_type: sql_type.clone(), draw, shape })
    }

    /// The values of the rows with these numbers.
    pub(super) fn values(&self, numbers: &[u64]) -> Result<ArrayRef> {
        let draw = self.draw;
        let array: ArrayRef = match &self.shape {
            Shape::Whole(whole) => return whole_values(*whole, draw, numbers, &self.sql_type),
            Shape::Rounded(whole, digits) => return round_column(&whole.values(numbers)?, *digits),
            Shape::Float(float) if self.sql_type == SqlType::Float4 => {
                Arc::new(Float32Array::from_iter_values(numbers.iter().map(|&number| float.value(draw, number) as f32)))
            }
            Shape::Float(float) => Arc::new(Float64Array::from_iter_values(numbers.iter().map(|&number| float.value(draw, number)))),
            Shape::Bool => Arc::new(numbers.iter().map(|&number| Some(draw.below(number, 2) == 1)).collect::<BooleanArray>()),
            Shape::Text(length) => texts(numbers, |number, text| append_text(text, draw.nested(number), *length)),
            Shape::Bytes(length) => {
                let mut builder = BinaryBuilder::with_capacity(numbers.len(), numbers.len() * *length as usize);
                for &number in numbers {
                    let byte = draw.nested(number);
                    builder.append_value((0..*length).map(|index| byte.bits(index) as u8).collect::<Vec<u8>>());
                }
                Arc::new(builder.finish())
            }
            Shape::Uuid => texts(numbers, |number, text| append_uuid(text, draw.nested(number))),
            Shape::Json => texts(numbers, |number, text| {
                text.push_str(&format!("{{\"id\": {number}, \"value\": \""));
                append_text(text, draw.nested(number), TEXT_LENGTH);
                text.push_str("\"}");
            }),
            Shape::Array(element, length) => return self.lists(element, *length, numbers),
            Shape::Struct(fields) => {
                let DataType::Struct(names) = self.sql_type.arrow() else { return Err(Error::internal("a struct that is none")) };
                let columns = fields.iter().map(|field| field.values(numbers)).collect::<Result<Vec<ArrayRef>>>()?;
                Arc::new(StructArray::try_new_with_length(names, columns, None, numbers.len())?)
            }
        };
        Ok(array)
    }

    /// Arrays of `length` elements each; the elements of all rows are numbered through.
    fn lists(&self, element: &Column, length: u64, numbers: &[u64]) -> Result<ArrayRef> {
        let DataType::List(field) = self.sql_type.arrow() else { return Err(Error::internal("an array that is none")) };
        let inner: Vec<u64> = numbers.iter().flat_map(|number| (0..length).map(move |index| number.wrapping_mul(length) + index)).collect();
        let offsets = OffsetBuffer::from_repeated_length(length as usize, numbers.len());
        Ok(Arc::new(ListArray::try_new(field, offsets, element.values(&inner)?, None)?))
    }
}

/// `partition` in every row.
pub(super) fn constant(partition: i32, rows: usize) -> ArrayRef {
    Arc::new(Int32Array::from(vec![partition; rows]))
}

/// The rows' numbers.
pub(super) fn offsets(numbers: &[u64]) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers.iter().map(|&number| number as i64)))
}

/// The shapes that know no sequence.
fn random_shape(path: &str, sql_type: &SqlType, rules: &mut Rules<'_>) -> Result<Shape> {
    Ok(match sql_type {
        SqlType::Bool => Shape::Bool,
        SqlType::Bytea => Shape::Bytes(rules.length(path, TEXT_LENGTH)?),
        SqlType::Uuid => Shape::Uuid,
        SqlType::Json | SqlType::Jsonb => Shape::Json,
        SqlType::Varchar(Some(longest)) => Shape::Text(rules.length(path, TEXT_LENGTH)?.min(u64::from(*longest))),
        SqlType::Char(length) => Shape::Text(u64::from(*length)),
        SqlType::CatalogChar => Shape::Text(1),
        _ => Shape::Text(rules.length(path, TEXT_LENGTH)?),
    })
}

fn whole_values(whole: Whole, draw: Draw, numbers: &[u64], sql_type: &SqlType) -> Result<ArrayRef> {
    let values = numbers.iter().map(|&number| whole.value(draw, number));
    // The options were checked against the type's range, so that nothing is cut off.
    Ok(match sql_type {
        SqlType::Int2 => Arc::new(Int16Array::from_iter_values(values.map(|value| value as i16))),
        SqlType::Int4 => Arc::new(Int32Array::from_iter_values(values.map(|value| value as i32))),
        SqlType::Date => Arc::new(Date32Array::from_iter_values(values.map(|value| value as i32))),
        SqlType::Time => {
            const DAY_MICROS: i64 = DAY_NANOS / 1_000;
            Arc::new(Time64MicrosecondArray::from_iter_values(values.map(|value| value.rem_euclid(DAY_MICROS))))
        }
        SqlType::Timestamp => Arc::new(TimestampMicrosecondArray::from_iter_values(values)),
        SqlType::Timestamptz => Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC")),
        SqlType::Interval => Arc::new(IntervalMonthDayNanoArray::from_iter_values(
            values.map(|value| IntervalMonthDayNano::new(0, 0, value / 1_000 * 1_000)),
        )),
        SqlType::Numeric(precision, scale) => {
            let narrow =
                Decimal128Array::from_iter_values(values.map(i128::from)).with_precision_and_scale((*precision).min(38), *scale)?;
            if *precision <= 38 { Arc::new(narrow) } else { cast(&narrow, &sql_type.arrow())? }
        }
        _ => Arc::new(Int64Array::from_iter_values(values)),
    })
}

/// One text per number; `write` appends it to an empty string that all share.
fn texts(numbers: &[u64], write: impl Fn(u64, &mut String)) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(numbers.len(), numbers.len() * 16);
    let mut text = String::new();
    for &number in numbers {
        text.clear();
        write(number, &mut text);
        builder.append_value(&text);
    }
    Arc::new(builder.finish())
}

fn append_text(text: &mut String, draw: Draw, length: u64) {
    text.extend((0..length).map(|index| char::from(ALPHABET[draw.below(index, ALPHABET.len() as u64) as usize])));
}

/// A random UUID (version 4, RFC 9562).
fn append_uuid(text: &mut String, draw: Draw) {
    let bits = (u128::from(draw.bits(0)) << 64) | u128::from(draw.bits(1));
    text.push_str(&uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string());
}
