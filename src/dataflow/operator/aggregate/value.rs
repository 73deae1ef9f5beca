//! Column values in one of three shapes whose order is the order of the values: 64 bits, 128 bits, or bytes.
//!
//! Group keys, DISTINCT sets and MIN/MAX all keep values this way. Floats lose what SQL does not tell apart: -0.0 becomes 0.0, every NaN
//! becomes the one NaN, which is greater than all numbers (as in PostgreSQL, and as DataFusion's `total_cmp` has it).

use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBufferBuilder, PrimitiveArray,
    StringBuilder, make_array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;

use super::codec::damaged;
use crate::error::{Error, Result};
use crate::types::canonical_f64;

/// In which shape the values of a type are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `u64`.
    Word,
    /// `u128`.
    Wide,
    /// Bytes whose order is the values' order.
    Bytes,
    /// Bytes that are equal if the values are; nothing gives the values back.
    Opaque,
}

/// The shape for a type.
pub(super) fn shape(data_type: &DataType) -> Shape {
    match data_type {
        DataType::Decimal128(..) | DataType::Interval(IntervalUnit::MonthDayNano) => Shape::Wide,
        DataType::Utf8 | DataType::Binary | DataType::Decimal256(..) => Shape::Bytes,
        DataType::Boolean | DataType::Float16 | DataType::Float32 | DataType::Float64 => Shape::Word,
        other if integer_of(other).is_some() => Shape::Word,
        _ => Shape::Opaque,
    }
}

/// A value in one of the shapes.
pub(super) trait Value: Clone + Default + Ord + 'static {
    /// The values of an array, in this shape. What stands at NULLs is anything.
    type Column;
    /// A value without owning it.
    type Ref<'a>: Copy;

    fn column(array: &ArrayRef) -> Result<Self::Column>;
    fn get(column: &Self::Column, row: usize) -> Self::Ref<'_>;
    fn own(value: Self::Ref<'_>) -> Self;
    fn borrow(&self) -> Self::Ref<'_>;
    fn order(&self, other: Self::Ref<'_>) -> Ordering;
    fn hash(value: Self::Ref<'_>) -> u64;
    /// An array of `data_type`; the opposite of `column`.
    fn array<'a>(values: impl Iterator<Item = Option<&'a Self>>, data_type: &DataType) -> Result<ArrayRef>;
    fn write(&self, output: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Result<Self>;
    /// Bytes on the heap.
    fn heap(&self) -> usize;
}

impl Value for u64 {
    type Column = Vec<u64>;
    type Ref<'a> = u64;

    fn column(array: &ArrayRef) -> Result<Vec<u64>> {
        words(array)
    }

    #[inline]
    fn get(column: &Vec<u64>, row: usize) -> u64 {
        column[row]
    }

    #[inline]
    fn own(value: u64) -> u64 {
        value
    }

    #[inline]
    fn borrow(&self) -> u64 {
        *self
    }

    #[inline]
    fn order(&self, other: u64) -> Ordering {
        self.cmp(&other)
    }

    #[inline]
    fn hash(value: u64) -> u64 {
        fold(value)
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a u64>>, data_type: &DataType) -> Result<ArrayRef> {
        array_of_words(values.map(Option::<&u64>::copied), data_type)
    }

    fn write(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Result<u64> {
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| damaged())?))
    }

    fn heap(&self) -> usize {
        0
    }
}

impl Value for u128 {
    type Column = Vec<u128>;
    type Ref<'a> = u128;

    fn column(array: &ArrayRef) -> Result<Vec<u128>> {
        match array.data_type() {
            DataType::Decimal128(..) => Ok(array.as_primitive::<Decimal128Type>().values().iter().map(|v| wide_of_i128(*v)).collect()),
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Ok(array.as_primitive::<IntervalMonthDayNanoType>().values().iter().map(|v| wide_of_interval(*v)).collect())
            }
            other => Err(wrong_type(other)),
        }
    }

    #[inline]
    fn get(column: &Vec<u128>, row: usize) -> u128 {
        column[row]
    }

    #[inline]
    fn own(value: u128) -> u128 {
        value
    }

    #[inline]
    fn borrow(&self) -> u128 {
        *self
    }

    #[inline]
    fn order(&self, other: u128) -> Ordering {
        self.cmp(&other)
    }

    #[inline]
    fn hash(value: u128) -> u64 {
        fold(fold(value as u64) ^ (value >> 64) as u64)
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a u128>>, data_type: &DataType) -> Result<ArrayRef> {
        match data_type {
            DataType::Decimal128(..) => primitive::<Decimal128Type>(values.map(|v| v.map(|v| i128_of_wide(*v))), data_type),
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                primitive::<IntervalMonthDayNanoType>(values.map(|v| v.map(|v| interval_of_wide(*v))), data_type)
            }
            other => Err(wrong_type(other)),
        }
    }

    fn write(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Result<u128> {
        Ok(u128::from_le_bytes(bytes.try_into().map_err(|_| damaged())?))
    }

    fn heap(&self) -> usize {
        0
    }
}

impl Value for Box<[u8]> {
    type Column = BinaryArray;
    type Ref<'a> = &'a [u8];

    fn column(array: &ArrayRef) -> Result<BinaryArray> {
        match array.data_type() {
            DataType::Utf8 => Ok(BinaryArray::from(array.as_string::<i32>().clone())),
            DataType::Binary => Ok(array.as_binary::<i32>().clone()),
            DataType::Decimal256(..) => {
                Ok(BinaryArray::from_iter_values(array.as_primitive::<Decimal256Type>().values().iter().map(|v| bytes_of_i256(*v))))
            }
            other => {
                let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
                Ok(converter.convert_columns(std::slice::from_ref(array))?.try_into_binary()?)
            }
        }
    }

    #[inline]
    fn get(column: &BinaryArray, row: usize) -> &[u8] {
        column.value(row)
    }

    fn own(value: &[u8]) -> Box<[u8]> {
        value.into()
    }

    fn borrow(&self) -> &[u8] {
        self
    }

    fn order(&self, other: &[u8]) -> Ordering {
        (**self).cmp(other)
    }

    fn hash(value: &[u8]) -> u64 {
        hash_bytes(value)
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a Box<[u8]>>>, data_type: &DataType) -> Result<ArrayRef> {
        match data_type {
            DataType::Utf8 => {
                let mut builder = StringBuilder::new();
                for value in values {
                    builder.append_option(value.map(|bytes| std::str::from_utf8(bytes)).transpose().map_err(|_| damaged())?);
                }
                Ok(Arc::new(builder.finish()))
            }
            DataType::Binary => {
                let mut builder = BinaryBuilder::new();
                values.for_each(|value| builder.append_option(value));
                Ok(Arc::new(builder.finish()))
            }
            DataType::Decimal256(..) => {
                let values = values.map(|value| value.map(|bytes| i256_of_bytes(bytes)).transpose()).collect::<Result<Vec<_>>>()?;
                primitive::<Decimal256Type>(values.into_iter(), data_type)
            }
            other => Err(wrong_type(other)),
        }
    }

    fn write(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(self);
    }

    fn read(bytes: &[u8]) -> Result<Box<[u8]>> {
        Ok(bytes.into())
    }

    fn heap(&self) -> usize {
        self.len()
    }
}

/// Spreads the bits of a word (folded multiplication, as in wyhash).
#[inline]
pub(super) fn fold(word: u64) -> u64 {
    let product = u128::from(word ^ 0xA076_1D64_78BD_642F) * u128::from(0xE703_7ED1_A0B4_28DB_u64);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The hash of bytes in our own tables; stored nowhere.
#[inline]
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    FixedState::with_seed(0x7469_6465).hash_one(bytes)
}

/// Words whose unsigned order is the order of the values.
pub(super) fn words(array: &ArrayRef) -> Result<Vec<u64>> {
    macro_rules! signed {
        ($array:expr, $t:ty) => {
            $array.as_primitive::<$t>().values().iter().map(|value| word_of_i64(i64::from(*value))).collect()
        };
    }
    macro_rules! unsigned {
        ($t:ty) => {
            array.as_primitive::<$t>().values().iter().map(|value| u64::from(*value)).collect()
        };
    }
    macro_rules! floats {
        ($t:ty) => {
            array.as_primitive::<$t>().values().iter().map(|value| word_of_f64(f64::from(*value))).collect()
        };
    }
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().values().iter().map(u64::from).collect(),
        DataType::Float64 => floats!(Float64Type),
        DataType::Float32 => floats!(Float32Type),
        DataType::Float16 => floats!(Float16Type),
        DataType::UInt8 => unsigned!(UInt8Type),
        DataType::UInt16 => unsigned!(UInt16Type),
        DataType::UInt32 => unsigned!(UInt32Type),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().values().to_vec(),
        other => {
            let integer = integer_of(other).ok_or_else(|| wrong_type(other))?;
            let array = reinterpret(array, integer.clone())?;
            match integer {
                DataType::Int8 => signed!(array, Int8Type),
                DataType::Int16 => signed!(array, Int16Type),
                DataType::Int32 => signed!(array, Int32Type),
                _ => signed!(array, Int64Type),
            }
        }
    })
}

/// The opposite of `words`.
pub(super) fn array_of_words(values: impl Iterator<Item = Option<u64>>, data_type: &DataType) -> Result<ArrayRef> {
    macro_rules! numbers {
        ($t:ty, $of_word:expr) => {{
            let of_word = $of_word;
            primitive::<$t>(values.map(|value| value.map(|word| of_word(word) as <$t as ArrowPrimitiveType>::Native)), &<$t>::DATA_TYPE)
        }};
    }
    match data_type {
        DataType::Boolean => Ok(Arc::new(values.map(|value| value.map(|word| word != 0)).collect::<BooleanArray>())),
        DataType::Float64 => numbers!(Float64Type, f64_of_word),
        DataType::Float32 => numbers!(Float32Type, f64_of_word),
        DataType::Float16 => {
            let values = values.map(|value| value.map(|word| half::f16::from_f64(f64_of_word(word))));
            primitive::<Float16Type>(values, data_type)
        }
        DataType::UInt8 => numbers!(UInt8Type, std::convert::identity),
        DataType::UInt16 => numbers!(UInt16Type, std::convert::identity),
        DataType::UInt32 => numbers!(UInt32Type, std::convert::identity),
        DataType::UInt64 => primitive::<UInt64Type>(values, data_type),
        other => {
            let array = match integer_of(other).ok_or_else(|| wrong_type(other))? {
                DataType::Int8 => numbers!(Int8Type, i64_of_word),
                DataType::Int16 => numbers!(Int16Type, i64_of_word),
                DataType::Int32 => numbers!(Int32Type, i64_of_word),
                _ => numbers!(Int64Type, i64_of_word),
            }?;
            reinterpret(&array, other.clone())
        }
    }
}

/// The integer type (or unsigned type itself) behind a type of at most 8 bytes.
fn integer_of(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => data_type.clone(),
        DataType::Date32 | DataType::Time32(_) | DataType::Decimal32(..) | DataType::Interval(IntervalUnit::YearMonth) => DataType::Int32,
        DataType::Date64 | DataType::Time64(_) | DataType::Timestamp(..) | DataType::Duration(_) | DataType::Decimal64(..) => {
            DataType::Int64
        }
        _ => return None,
    })
}

/// The same bits under another type of the same width.
fn reinterpret(array: &ArrayRef, data_type: DataType) -> Result<ArrayRef> {
    if *array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    Ok(make_array(array.to_data().into_builder().data_type(data_type).build()?))
}

/// Values of a type, NULL where there is none.
pub(super) fn primitive<T: ArrowPrimitiveType>(values: impl Iterator<Item = Option<T::Native>>, data_type: &DataType) -> Result<ArrayRef> {
    // Nearly always all are there: only from the first NULL on there is a bit for each.
    let mut valid: Option<BooleanBufferBuilder> = None;
    let known = |(place, value): (usize, Option<T::Native>)| {
        if value.is_none() && valid.is_none() {
            let before = valid.insert(BooleanBufferBuilder::new(place + 1));
            before.append_n(place, true);
        }
        valid.iter_mut().for_each(|valid| valid.append(value.is_some()));
        value.unwrap_or_default()
    };
    let values: ScalarBuffer<T::Native> = values.enumerate().map(known).collect::<Vec<_>>().into();
    let nulls = valid.map(|mut valid| NullBuffer::new(valid.finish()));
    Ok(Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(data_type.clone())))
}

const SIGN: u64 = 1 << 63;

#[inline]
fn word_of_i64(value: i64) -> u64 {
    value as u64 ^ SIGN
}

#[inline]
fn i64_of_word(word: u64) -> i64 {
    (word ^ SIGN) as i64
}

/// Positive floats order as their bits; negative ones the other way round, below them.
#[inline]
fn word_of_f64(value: f64) -> u64 {
    let bits = canonical_f64(value).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

#[inline]
fn f64_of_word(word: u64) -> f64 {
    f64::from_bits(if word & SIGN == 0 { !word } else { word ^ SIGN })
}

fn wide_of_i128(value: i128) -> u128 {
    value as u128 ^ (1 << 127)
}

fn i128_of_wide(wide: u128) -> i128 {
    (wide ^ (1 << 127)) as i128
}

/// Months, then days, then nanoseconds: the order that Arrow gives intervals.
fn wide_of_interval(value: IntervalMonthDayNano) -> u128 {
    let months = u128::from(value.months as u32 ^ (1 << 31));
    let days = u128::from(value.days as u32 ^ (1 << 31));
    (months << 96) | (days << 64) | u128::from(word_of_i64(value.nanoseconds))
}

fn interval_of_wide(wide: u128) -> IntervalMonthDayNano {
    let months = (wide >> 96) as u32 ^ (1 << 31);
    let days = (wide >> 64) as u32 ^ (1 << 31);
    IntervalMonthDayNano::new(months as i32, days as i32, i64_of_word(wide as u64))
}

fn bytes_of_i256(value: i256) -> [u8; 32] {
    let mut bytes = value.to_be_bytes();
    bytes[0] ^= 0x80;
    bytes
}

fn i256_of_bytes(bytes: &[u8]) -> Result<i256> {
    let mut bytes: [u8; 32] = bytes.try_into().map_err(|_| damaged())?;
    bytes[0] ^= 0x80;
    Ok(i256::from_be_bytes(bytes))
}

fn wrong_type(data_type: &DataType) -> Error {
    Error::internal(format!("an aggregate over values of type {data_type} cannot be kept"))
}

#[cfg(test)]
mod tests {
    use super::{Value, array_of_words, words};
    use arrow::array::{ArrayRef, AsArray, Date32Array, Decimal256Array, Float64Array, Int64Array, IntervalMonthDayNanoArray};
    use arrow::datatypes::{DataType, IntervalMonthDayNano, i256};
    use std::sync::Arc;

    #[test]
    fn words_order_as_the_values_do_and_come_back() {
        let integers: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, -1, 0, 1, i64::MAX]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, -1.5, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN]));
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![-5, 0, 7]));
        for array in [integers, floats, dates] {
            let words = words(&array).unwrap();
            assert!(words.is_sorted_by(|a, b| a < b));
            let back = array_of_words(words.into_iter().map(Some), array.data_type()).unwrap();
            assert_eq!(&back, &array);
        }
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let words = words(&zeros).unwrap();
        assert_eq!(words[0], words[1]);
    }

    #[test]
    fn wide_values_order_as_the_values_do_and_come_back() {
        let intervals: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![
            IntervalMonthDayNano::new(-1, 5, 5),
            IntervalMonthDayNano::new(0, -1, 9),
            IntervalMonthDayNano::new(0, 0, -1),
            IntervalMonthDayNano::new(0, 0, 1),
        ]));
        let column = u128::column(&intervals).unwrap();
        assert!(column.is_sorted());
        assert_eq!(&u128::array(column.iter().map(Some), intervals.data_type()).unwrap(), &intervals);
        let decimals: ArrayRef = Arc::new(
            Decimal256Array::from(vec![i256::MIN, i256::MINUS_ONE, i256::ZERO, i256::ONE]).with_data_type(DataType::Decimal256(76, 2)),
        );
        let column = <Box<[u8]>>::column(&decimals).unwrap();
        assert!(column.iter().is_sorted());
        let owned = column.iter().flatten().map(<Box<[u8]>>::own).collect::<Vec<_>>();
        let back = <Box<[u8]>>::array(owned.iter().map(Some), decimals.data_type()).unwrap();
        assert_eq!(back.as_ref(), decimals.as_ref());
        assert_eq!(back.as_primitive::<arrow::datatypes::Decimal256Type>().len(), 4);
    }
}
