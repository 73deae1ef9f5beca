//! Numbers of which no more will come, each in as few bytes as their range needs: the difference to the least of them.
//!
//! ```text
//! 1 700 000 003, 1 700 000 000, 1 700 000 255   ─▶   least 1 700 000 000, one byte each: 3, 0, 255
//! ```
//!
//! A value is found as fast as in a plain array: eight bytes are read from where it begins, of which those that are its own are kept.
//! Algorithm: frame of reference with truncated codes, as in Lang et al., "Data Blocks", SIGMOD 2016, with widths of any number of bytes. Floats and what
//! has more than 128 bits stay as they are.

use arrow::datatypes::{IntervalDayTime, IntervalMonthDayNano, i256};
use half::f16;

/// Bytes of the longest difference, which are read for each value.
const WORD: usize = size_of::<u64>();

/// Some values, by their places.
pub(super) enum Narrow<N> {
    /// As they came.
    Whole(Box<[N]>),
    /// The differences, and `WORD` bytes behind the last.
    Differences { least: N, width: usize, mask: u64, bytes: Box<[u8]> },
}

/// A value of fixed width that may have a difference to another one.
pub(super) trait Differ: Copy {
    /// The least and the greatest; `None` if there are none, or if differences do not have at most 64 bits.
    fn range(values: &[Self]) -> Option<(Self, Self)>;
    /// How much it is more than `least`.
    fn above(self, least: Self) -> u64;
    /// What is so much more.
    fn plus(self, difference: u64) -> Self;
}

impl<N: Differ> Narrow<N> {
    /// As few bytes as these values need.
    pub(super) fn new(values: &[N]) -> Self {
        let Some((least, greatest)) = N::range(values) else { return Narrow::Whole(values.into()) };
        let bits = (u64::BITS - greatest.above(least).leading_zeros()) as usize;
        let width = bits.div_ceil(8);
        if width >= size_of::<N>() {
            return Narrow::Whole(values.into());
        }
        let mut bytes = vec![0; values.len() * width + WORD].into_boxed_slice();
        for (place, value) in values.iter().enumerate() {
            // What is written too much, zeros, lies where the next value comes.
            bytes[place * width..][..WORD].copy_from_slice(&value.above(least).to_le_bytes());
        }
        let mask = if width == WORD { u64::MAX } else { (1 << (8 * width)) - 1 };
        Narrow::Differences { least, width, mask, bytes }
    }

    /// One value. What a place behind the last gives means nothing, or panics.
    #[inline]
    pub(super) fn get(&self, place: usize) -> N {
        match self {
            Narrow::Whole(values) => values[place],
            Narrow::Differences { least, width, mask, bytes } => {
                let word = bytes[place * width..].first_chunk::<WORD>().expect("there are so many bytes behind the last value");
                least.plus(u64::from_le_bytes(*word) & mask)
            }
        }
    }

    /// Bytes of memory, without its own fields.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Narrow::Whole(values) => size_of_val::<[N]>(values),
            Narrow::Differences { bytes, .. } => bytes.len(),
        }
    }
}

macro_rules! integers {
    ($($native:ty => $unsigned:ty),*) => {
        $(impl Differ for $native {
            fn range(values: &[Self]) -> Option<(Self, Self)> {
                let range = (*values.iter().min()?, *values.iter().max()?);
                u64::try_from(range.1.wrapping_sub(range.0) as $unsigned).is_ok().then_some(range)
            }

            #[inline]
            fn above(self, least: Self) -> u64 {
                self.wrapping_sub(least) as $unsigned as u64
            }

            #[inline]
            fn plus(self, difference: u64) -> Self {
                self.wrapping_add(difference as Self)
            }
        })*
    };
}
integers!(i8 => u8, i16 => u16, i32 => u32, i64 => u64, i128 => u128, u8 => u8, u16 => u16, u32 => u32, u64 => u64);

macro_rules! as_they_are {
    ($($native:ty),*) => {
        $(impl Differ for $native {
            fn range(_values: &[Self]) -> Option<(Self, Self)> {
                None
            }

            fn above(self, _least: Self) -> u64 {
                0
            }

            fn plus(self, _difference: u64) -> Self {
                self
            }
        })*
    };
}
as_they_are!(f16, f32, f64, i256, IntervalDayTime, IntervalMonthDayNano);

#[cfg(test)]
mod tests {
    use super::{Differ, Narrow, WORD};

    /// The values come back; how many bytes each takes.
    fn width<N: Differ + PartialEq + std::fmt::Debug>(values: &[N]) -> usize {
        let narrow = Narrow::new(values);
        let back: Vec<N> = (0..values.len()).map(|place| narrow.get(place)).collect();
        assert_eq!(back, values);
        match narrow {
            Narrow::Whole(_) => size_of::<N>(),
            Narrow::Differences { width, bytes, .. } => {
                assert_eq!(bytes.len(), values.len() * width + WORD);
                width
            }
        }
    }

    #[test]
    fn values_take_as_many_bytes_as_their_range_needs() {
        assert_eq!(width(&[7_i64; 5]), 0);
        assert_eq!(width(&[-1_i64, 0, 254]), 1);
        assert_eq!(width(&[-1_i64, 0, 255]), 2);
        assert_eq!(width(&[i64::MIN, i64::MIN + (1 << 24)]), 4);
        assert_eq!(width(&[0_u64, (1 << 56) - 1, 5]), 7);
        assert_eq!(width(&[i64::MIN, 0, i64::MAX]), 8);
        assert_eq!(width(&[i32::MIN, i32::MAX]), 4);
        assert_eq!(width(&[i8::MIN, i8::MAX]), 1);
        assert_eq!(width(&[-100_i128, 100]), 1);
        assert_eq!(width(&[i128::from(i64::MIN), i128::from(i64::MAX)]), 8);
        assert_eq!(width(&[i128::MIN, i128::MAX, 0]), 16);
        assert_eq!(width(&[0.0_f64, -0.0, 1.5]), 8);
        assert_eq!(width::<i64>(&[]), 8);
    }
}
