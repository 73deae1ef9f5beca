//! Sums of integers, decimals and intervals, and of floats: all of them exact, so that nothing of what is retracted stays.
//!
//! Whole numbers wrap around on overflow, as DataFusion's `sum` does (`add_wrapping`); so retraction undoes even an overflow.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, PrimitiveArray};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, i256};

use super::cells::{Cells, Taken, Words};
use super::codec::Reader;
use super::exact;
use super::state::{End, GroupState, Input};
use crate::error::Result;
use crate::types::{FloatSum, HUGE, two_sum};

/// Numbers that form a group under addition: whatever is added can be taken away again.
pub(super) trait Summand: Copy {
    /// `self + value * weight`, wrapping.
    fn plus(self, value: Self, weight: i64) -> Self;
    fn write(self, output: &mut Vec<u8>);
    fn read(input: &mut Reader) -> Result<Self>;
}

macro_rules! summand {
    ($($native:ty),*) => { $(
        impl Summand for $native {
            #[inline]
            fn plus(self, value: Self, weight: i64) -> Self {
                self.wrapping_add(value.wrapping_mul(weight as $native))
            }

            fn write(self, output: &mut Vec<u8>) {
                output.extend_from_slice(&self.to_le_bytes());
            }

            fn read(input: &mut Reader) -> Result<Self> {
                Ok(<$native>::from_le_bytes(input.array()?))
            }
        }
    )* };
}
summand!(i32, i64, u64, i128);

impl Summand for i256 {
    #[inline]
    fn plus(self, value: Self, weight: i64) -> Self {
        match weight {
            1 => self.wrapping_add(value),
            -1 => self.wrapping_sub(value),
            _ => self.wrapping_add(value.wrapping_mul(i256::from(weight))),
        }
    }

    fn write(self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.to_le_bytes());
    }

    fn read(input: &mut Reader) -> Result<Self> {
        Ok(i256::from_le_bytes(input.array()?))
    }
}

impl Summand for IntervalMonthDayNano {
    #[inline]
    fn plus(self, value: Self, weight: i64) -> Self {
        IntervalMonthDayNano::new(
            self.months.plus(value.months, weight),
            self.days.plus(value.days, weight),
            self.nanoseconds.plus(value.nanoseconds, weight),
        )
    }

    fn write(self, output: &mut Vec<u8>) {
        self.months.write(output);
        self.days.write(output);
        self.nanoseconds.write(output);
    }

    fn read(input: &mut Reader) -> Result<Self> {
        Ok(IntervalMonthDayNano::new(i32::read(input)?, i32::read(input)?, i64::read(input)?))
    }
}

/// Exact sums of arguments of type `A`, kept as `R`.
pub(super) struct Sums<A, R> {
    data_type: DataType,
    types: PhantomData<(A, R)>,
}

impl<A, R> Sums<A, R> {
    /// `data_type`: of the sums.
    pub(super) fn new(data_type: DataType) -> Self {
        Sums { data_type, types: PhantomData }
    }
}

impl<A: ArrowPrimitiveType, R: ArrowPrimitiveType> GroupState for Sums<A, R>
where
    A::Native: Into<R::Native>,
    R::Native: Summand + Words,
{
    fn words(&self) -> usize {
        R::Native::COUNT
    }

    fn update(&mut self, input: &Input, cells: &mut Cells, place: usize) -> Result<()> {
        let values = input.argument().as_primitive::<A>().values();
        input.for_each(|row, slot, weight| cells.change::<R::Native>(slot, place, |sum| sum.plus(values[row].into(), weight)));
        Ok(())
    }

    fn values(&self, groups: &Taken, place: usize, _end: End) -> Result<ArrayRef> {
        let sums = PrimitiveArray::<R>::from_iter_values(groups.each::<R::Native>(place));
        Ok(Arc::new(sums.with_data_type(self.data_type.clone())))
    }

    fn values_of_rows(&self, rows: &Input) -> Option<ArrayRef> {
        let values = rows.argument().as_primitive::<A>().values();
        let mut sums = vec![R::Native::default(); rows.slots.len()];
        rows.for_each(|row, slot, weight| sums[slot as usize] = R::Native::default().plus(values[row].into(), weight));
        Some(Arc::new(PrimitiveArray::<R>::new(sums.into(), None).with_data_type(self.data_type.clone())))
    }

    fn follows_from_words(&self) -> bool {
        true
    }

    fn write(&self, _slot: u32, words: &[u64], output: &mut Vec<u8>) {
        R::Native::load(words).write(output);
    }

    fn read(&mut self, _slot: u32, words: &mut [u64], input: &mut Reader) -> Result<()> {
        R::Native::read(input)?.store(words);
        Ok(())
    }
}

/// Sums of floats without any rounding: each in two doubles (TwoSum: Knuth, TAOCP vol. 2, 4.2.2; kept normalised as in Dekker 1971), which are 106
/// bits, and what does not fit into them apart.
///
/// A naive sum keeps the rounding errors of values that have long been retracted. Here a retraction takes away exactly what came. Infinities and NaN
/// are counted, not added, so they too can be taken away. Against DataFusion's naive sum the last digits may differ: this one is the nearest double.
#[derive(Default)]
pub(super) struct FloatSums {
    /// Of the few groups that have (or had) something other than modest finite values of a like size.
    special: Specials,
}

/// A number as an unevaluated sum of two, the second at most half a unit in the last place of the first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Double(f64, f64);

impl Words for Double {
    const COUNT: usize = 2;

    #[inline]
    fn load(words: &[u64]) -> Double {
        Double(f64::from_bits(words[0]), f64::from_bits(words[1]))
    }

    #[inline]
    fn store(self, words: &mut [u64]) {
        (words[0], words[1]) = (self.0.to_bits(), self.1.to_bits());
    }
}

impl Double {
    /// `lost` gets what is too small beside the two.
    #[inline]
    fn plus(self, value: f64, lost: &mut impl FnMut(f64)) -> Double {
        let (sum, error) = two_sum(self.0, value);
        let (low, rest) = two_sum(self.1, error);
        if rest != 0.0 {
            lost(rest);
        }
        let (high, low) = two_sum(sum, low);
        Double(high, low)
    }

    #[inline]
    fn plus_weighted(self, value: f64, weight: i64, lost: &mut impl FnMut(f64)) -> Double {
        match weight {
            1 => self.plus(value, lost),
            -1 => self.plus(-value, lost),
            0 => self,
            _ => {
                let weight = weight as f64;
                let product = value * weight;
                self.plus(product, lost).plus(value.mul_add(weight, -product), lost)
            }
        }
    }
}

/// What does not fit into two doubles, by the slot of the group: values that are huge or not finite, and what rounding would have taken.
#[derive(Default)]
struct Specials {
    groups: HashMap<u32, FloatSum>,
    /// Bytes of their exact sums.
    heap: usize,
}

impl Specials {
    #[cold]
    fn change(&mut self, slot: u32, change: impl FnOnce(&mut FloatSum)) {
        let group = self.groups.entry(slot).or_default();
        self.heap -= group.heap();
        change(group);
        if *group == FloatSum::default() {
            self.groups.remove(&slot);
        } else {
            self.heap += group.heap();
        }
    }

    fn get(&self, slot: u32) -> Option<&FloatSum> {
        // The test for emptiness keeps the hash table out of the loop of those who have no such values.
        if self.groups.is_empty() { None } else { self.groups.get(&slot) }
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<(u32, FloatSum)>() + self.heap
    }
}

impl FloatSums {
    fn sum(&self, slot: u32, modest: Double) -> f64 {
        match self.special.get(slot) {
            Some(special) => {
                let mut all = special.clone();
                [modest.1, modest.0].into_iter().for_each(|part| all.modest.add(part));
                all.value()
            }
            None => modest.0 + modest.1,
        }
    }
}

impl GroupState for FloatSums {
    fn words(&self) -> usize {
        Double::COUNT
    }

    fn update(&mut self, input: &Input, cells: &mut Cells, place: usize) -> Result<()> {
        let values = input.argument().as_primitive::<Float64Type>().values();
        let special = &mut self.special;
        input.for_each(|row, slot, weight| {
            let value = values[row];
            if value.abs() < HUGE {
                let mut lost = |rest| special.change(slot, |group| group.modest.add(rest));
                cells.change::<Double>(slot, place, |sum| sum.plus_weighted(value, weight, &mut lost));
            } else {
                special.change(slot, |group| group.add(value, weight));
            }
        });
        Ok(())
    }

    fn values(&self, groups: &Taken, place: usize, _end: End) -> Result<ArrayRef> {
        let sums = groups.slots.iter().zip(groups.each(place)).map(|(slot, modest)| self.sum(*slot, modest));
        Ok(Arc::new(Float64Array::from_iter_values(sums)))
    }

    fn reset(&mut self, slot: u32) {
        if self.special.get(slot).is_some() {
            self.special.change(slot, |group| *group = FloatSum::default());
        }
    }

    fn write(&self, slot: u32, words: &[u64], output: &mut Vec<u8>) {
        let Double(high, low) = Double::load(words);
        output.extend_from_slice(&high.to_le_bytes());
        output.extend_from_slice(&low.to_le_bytes());
        let special = self.special.get(slot);
        output.push(u8::from(special.is_some()));
        if let Some(special) = special {
            special.specials.iter().for_each(|count| count.write(output));
            exact::write(&special.modest, output);
            exact::write(&special.huge, output);
        }
    }

    fn read(&mut self, slot: u32, words: &mut [u64], input: &mut Reader) -> Result<()> {
        Double(f64::from_le_bytes(input.array()?), f64::from_le_bytes(input.array()?)).store(words);
        let [special] = input.array()?;
        if special != 0 {
            let specials = [i64::read(input)?, i64::read(input)?, i64::read(input)?];
            let (modest, huge) = (exact::read(input)?, exact::read(input)?);
            self.special.change(slot, |group| *group = FloatSum { specials, modest, huge });
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.special.bytes()
    }

    fn leaves_residue(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Cells, End, FloatSums, GroupState, Input, Reader};
    use arrow::array::{ArrayRef, AsArray, Float64Array};
    use arrow::datatypes::Float64Type;
    use std::sync::Arc;

    /// The sum of one group.
    struct Sum {
        state: FloatSums,
        cells: Cells,
    }

    impl Sum {
        fn new() -> Self {
            let mut cells = Cells::new();
            cells.widen(FloatSums::default().words());
            cells.grow(1);
            Sum { state: FloatSums::default(), cells }
        }

        fn change(&mut self, value: f64, weight: i64) -> f64 {
            let array: ArrayRef = Arc::new(Float64Array::from(vec![value]));
            let input = Input { slots: &[0], values: Some(&array), valid: None, weights: Some(&[weight]) };
            self.state.update(&input, &mut self.cells, 1).unwrap();
            self.state.values(&self.cells.take(&[0]), 1, End::Least).unwrap().as_primitive::<Float64Type>().value(0)
        }
    }

    #[test]
    fn a_retracted_float_leaves_nothing_behind() {
        let mut sums = Sum::new();
        assert_eq!(sums.change(0.1, 1), 0.1);
        sums.change(1e15, 3);
        assert_eq!(sums.change(1e15, -3), 0.1);
        sums.change(0.2, 1);
        assert_eq!(sums.change(0.1, -1), 0.2);
    }

    #[test]
    fn a_small_float_that_came_after_large_ones_was_lost() {
        let large = [1e40, 1e20, 3e-10, -7e60];
        let mut sums = Sum::new();
        for value in large {
            sums.change(value, 1);
        }
        sums.change(1.0, 1);
        let mut written = Vec::new();
        sums.state.write(0, sums.cells.words_from(0, 1), &mut written);
        let mut sums = Sum::new();
        sums.state.read(0, sums.cells.part(0, 1, 2), &mut Reader(&written)).unwrap();
        for (value, left) in large.iter().zip([-7e60, -7e60, -7e60, 1.0]) {
            assert_eq!(sums.change(*value, -1), left);
        }
        assert_eq!(sums.change(1.0, -1), 0.0);
        sums.state.reset(0);
        assert!(sums.state.special.groups.is_empty() && sums.state.special.heap == 0);
    }

    #[test]
    fn infinities_and_overflows_can_be_retracted() {
        let mut sums = Sum::new();
        sums.change(2.5, 1);
        assert_eq!(sums.change(f64::INFINITY, 1), f64::INFINITY);
        assert!(sums.change(f64::NEG_INFINITY, 1).is_nan());
        assert_eq!(sums.change(f64::INFINITY, -1), f64::NEG_INFINITY);
        assert_eq!(sums.change(f64::NEG_INFINITY, -1), 2.5);
        assert_eq!(sums.change(1e308, 1), 1e308);
        assert_eq!(sums.change(1e308, 1), f64::INFINITY);
        assert_eq!(sums.change(1e308, -2), 2.5);
        assert!(sums.change(f64::NAN, 1).is_nan());
        assert_eq!(sums.change(f64::NAN, -1), 2.5);
    }
}
