//! Hashes of rows, column by column: which worker a row belongs to and where a table looks for it.
//!
//! The hash is part of the data directory's format (state is stored by bucket), so it is our own and has no random seed.
//! Equal values hash equally: -0.0 as 0.0, every NaN as one, NULL as a constant.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::downcast_primitive_array;
use arrow::row::{RowConverter, SortField};

use super::floats::canonical_f64;

/// Into how many parts stored state is divided. Any number of workers up to this can share it out anew at a restart.
pub const BUCKETS: usize = 256;

/// The hash of a NULL: any constant does.
const NULL_HASH: u64 = 0x9E6C_63D0_676A_9A99;

/// Odd, with well-spread bits (the golden ratio, as in Knuth, TAOCP vol. 3, 6.4).
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// One hash per row over all `columns`; 0 for every row if there is none.
pub fn hash_rows(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut hashes = vec![0_u64; rows];
    for column in columns {
        hash_column(column.as_ref(), &mut hashes);
    }
    hashes
}

/// The hash of one value of fixed width, as `hash_rows` has it.
pub fn hash_value(value: impl IntoBits) -> u64 {
    mix(value.into_bits())
}

/// The hash of one NULL.
pub fn hash_null() -> u64 {
    mix(NULL_HASH)
}

/// Which of the 256 buckets a hash falls into. Hash tables use its lowest and highest bits, so this takes others.
pub fn bucket(hash: u64) -> u8 {
    (hash >> 40) as u8
}

/// Which of `workers` owns the rows with this hash.
pub fn worker_of(hash: u64, workers: usize) -> usize {
    usize::from(bucket(hash)) % workers
}

/// Mixes one column into the hashes.
fn hash_column(column: &dyn Array, hashes: &mut [u64]) {
    match column.data_type() {
        DataType::Float64 => hash_primitive(column.as_primitive::<Float64Type>(), hashes, |value| canonical_f64(value).to_bits()),
        DataType::Float32 => {
            hash_primitive(column.as_primitive::<Float32Type>(), hashes, |value| canonical_f64(f64::from(value)).to_bits())
        }
        DataType::Boolean => hash_booleans(column.as_boolean(), hashes),
        DataType::Utf8 => {
            let array = column.as_string::<i32>();
            hash_values(array, hashes, |row| hash_bytes(array.value(row).as_bytes()));
        }
        DataType::Binary => {
            let array = column.as_binary::<i32>();
            hash_values(array, hashes, |row| hash_bytes(array.value(row)));
        }
        DataType::Null => hashes.iter_mut().for_each(|hash| *hash = mix(*hash ^ NULL_HASH)),
        _ => downcast_primitive_array!(
            column => hash_native(column, hashes),
            _ => hash_encoded(column, hashes)
        ),
    }
}

fn hash_native<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, hashes: &mut [u64])
where
    T::Native: IntoBits,
{
    hash_primitive(array, hashes, IntoBits::into_bits);
}

fn hash_primitive<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, hashes: &mut [u64], bits: impl Fn(T::Native) -> u64) {
    if array.null_count() == 0 {
        for (hash, value) in hashes.iter_mut().zip(array.values().iter()) {
            *hash = mix(*hash ^ bits(*value));
        }
    } else {
        hash_values(array, hashes, |row| bits(array.value(row)));
    }
}

fn hash_booleans(array: &BooleanArray, hashes: &mut [u64]) {
    hash_values(array, hashes, |row| u64::from(array.value(row)) + 1);
}

fn hash_values(array: &dyn Array, hashes: &mut [u64], value: impl Fn(usize) -> u64) {
    for (row, hash) in hashes.iter_mut().enumerate() {
        let value = if array.is_null(row) { NULL_HASH } else { value(row) };
        *hash = mix(*hash ^ value);
    }
}

/// Lists, structs and other rare types: by their row format, which equal values share.
fn hash_encoded(column: &dyn Array, hashes: &mut [u64]) {
    let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]).expect("a type that rows can hold");
    let rows = converter.convert_columns(&[arrow::array::make_array(column.to_data())]).expect("the type of the converter");
    for (row, hash) in hashes.iter_mut().enumerate() {
        *hash = mix(*hash ^ hash_bytes(rows.row(row).as_ref()));
    }
}

/// The hash of a text or record, which is the same in every build. Eight bytes a step; the length goes in first, so that zero padding cannot
/// collide.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = mix(bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    let mut last = [0_u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ u64::from_le_bytes(last))
}

/// A bijection that spreads every input bit over the word (multiply, fold, multiply).
fn mix(value: u64) -> u64 {
    let first = value.wrapping_add(NULL_HASH).wrapping_mul(MULTIPLIER);
    let folded = first ^ (first >> 32);
    let second = folded.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    second ^ (second >> 29)
}

/// Fixed-width values as 64 bits.
pub trait IntoBits {
    /// All bits of an integer; of what is wider or a float, bits that equal values share.
    fn into_bits(self) -> u64;
}

macro_rules! bits_by_cast {
    ($($native:ty),*) => { $(impl IntoBits for $native { fn into_bits(self) -> u64 { self as u64 } })* };
}
bits_by_cast!(i8, i16, i32, i64, u8, u16, u32, u64);

impl IntoBits for i128 {
    fn into_bits(self) -> u64 {
        (self as u64) ^ mix((self >> 64) as u64)
    }
}

impl IntoBits for arrow::datatypes::i256 {
    fn into_bits(self) -> u64 {
        let (low, high) = self.to_parts();
        (low as i128).into_bits() ^ mix(high.into_bits())
    }
}

impl IntoBits for half::f16 {
    fn into_bits(self) -> u64 {
        canonical_f64(f64::from(self)).to_bits()
    }
}

impl IntoBits for f32 {
    fn into_bits(self) -> u64 {
        canonical_f64(f64::from(self)).to_bits()
    }
}

impl IntoBits for f64 {
    fn into_bits(self) -> u64 {
        canonical_f64(self).to_bits()
    }
}

impl IntoBits for arrow::datatypes::IntervalMonthDayNano {
    fn into_bits(self) -> u64 {
        (self.nanoseconds as u64) ^ mix((u64::from(self.months as u32) << 32) | u64::from(self.days as u32))
    }
}

impl IntoBits for arrow::datatypes::IntervalDayTime {
    fn into_bits(self) -> u64 {
        (u64::from(self.days as u32) << 32) | u64::from(self.milliseconds as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::{bucket, hash_rows};
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use std::collections::HashSet;
    use std::sync::Arc;

    #[test]
    fn equal_values_hash_equally_whatever_their_bits() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let hashes = hash_rows(&[column], 4);
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(hashes[2], hashes[3]);
        assert_ne!(hashes[0], hashes[2]);
    }

    #[test]
    fn consecutive_integers_reach_every_bucket() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
        let buckets: HashSet<u8> = hash_rows(&[column], 10_000).into_iter().map(bucket).collect();
        assert_eq!(buckets.len(), 256);
    }

    #[test]
    fn a_null_is_not_an_empty_string() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![None, Some(""), Some("\0")]));
        let hashes: HashSet<u64> = hash_rows(&[column], 3).into_iter().collect();
        assert_eq!(hashes.len(), 3);
    }
}
