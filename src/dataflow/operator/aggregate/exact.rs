//! Sums of floats without any rounding: as many doubles as it takes, of which no two overlap.
//!
//! Shewchuk, "Adaptive Precision Floating-Point Arithmetic" (1997): `add` is his Grow-Expansion with zero elimination, `two_product` the
//! one with a fused multiplication. What was added can be taken away again and leaves nothing behind, whatever came in between: no drift.
//! Holds for numbers whose products neither overflow nor fall below 10^-290; the callers keep out what is larger, and what is smaller
//! cancels too, since the same rounding is added and taken away.

use super::codec::{Reader, write_count};
use crate::error::Result;

/// A sum, smallest part first; most have one or two.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exact(Vec<f64>);

impl Exact {
    /// Adds a number.
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        let mut carry = value;
        let mut kept = 0;
        for place in 0..self.0.len() {
            let (sum, error) = two_sum(carry, self.0[place]);
            carry = sum;
            if error != 0.0 {
                self.0[kept] = error;
                kept += 1;
            }
        }
        self.0.truncate(kept);
        if carry != 0.0 {
            self.0.push(carry);
        }
    }

    /// Adds `left * right`.
    #[inline]
    pub(super) fn add_product(&mut self, left: f64, right: f64) {
        let (product, error) = two_product(left, right);
        if error != 0.0 {
            self.add(error);
        }
        self.add(product);
    }

    /// Adds `left * right * weight`.
    #[inline]
    pub(super) fn add_weighted_product(&mut self, left: f64, right: f64, weight: i64) {
        let (product, error) = two_product(left, right);
        match weight {
            1 => {
                self.add(error);
                self.add(product);
            }
            -1 => {
                self.add(-error);
                self.add(-product);
            }
            _ => {
                self.add_product(error, weight as f64);
                self.add_product(product, weight as f64);
            }
        }
    }

    /// The sum as a double.
    pub(super) fn value(&self) -> f64 {
        // Not `sum`, which starts at -0.0.
        self.0.iter().fold(0.0, |sum, part| sum + part)
    }

    /// `count * products - left * right`: exact until the end, so that nothing cancels.
    pub(super) fn spread(count: i64, products: &Exact, left: &Exact, right: &Exact) -> f64 {
        let mut spread = Exact::default();
        products.0.iter().for_each(|part| spread.add_product(*part, count as f64));
        for left in &left.0 {
            right.0.iter().for_each(|right| spread.add_product(-left, *right));
        }
        spread.value()
    }

    /// Bytes outside the sum itself.
    pub(super) fn heap(&self) -> usize {
        self.0.capacity() * size_of::<f64>()
    }

    pub(super) fn write(&self, output: &mut Vec<u8>) {
        write_count(self.0.len() as i64, output);
        self.0.iter().for_each(|part| output.extend_from_slice(&part.to_le_bytes()));
    }

    pub(super) fn read(input: &mut Reader) -> Result<Exact> {
        let parts = input.length()?;
        let part = |_| Ok(f64::from_le_bytes(input.array()?));
        Ok(Exact((0..parts).map(part).collect::<Result<_>>()?))
    }
}

/// The sum and what rounding took from it (Knuth, TAOCP vol. 2, 4.2.2).
#[inline]
fn two_sum(left: f64, right: f64) -> (f64, f64) {
    let sum = left + right;
    let from_right = sum - left;
    (sum, (left - (sum - from_right)) + (right - from_right))
}

/// The product and what rounding took from it.
#[inline]
fn two_product(left: f64, right: f64) -> (f64, f64) {
    let product = left * right;
    (product, left.mul_add(right, -product))
}

#[cfg(test)]
mod tests {
    use super::super::codec::Reader;
    use super::Exact;

    #[test]
    fn what_is_taken_away_leaves_nothing() {
        let values = [0.1, 1e100, -3.7e-20, 4e12, 1.0 / 3.0, 1e-200, -1e100];
        let mut sum = Exact::default();
        values.iter().for_each(|value| sum.add_weighted_product(*value, *value, 3));
        values.iter().for_each(|value| sum.add(*value));
        let mut written = Vec::new();
        sum.write(&mut written);
        assert_eq!(Exact::read(&mut Reader(&written)).unwrap(), sum);
        values.iter().rev().for_each(|value| sum.add(-*value));
        for value in values {
            (0..3).for_each(|_| sum.add_weighted_product(value, value, -1));
        }
        assert_eq!(sum.value(), 0.0);
        assert!(sum.0.len() <= 1, "only what underflowed may be left: {sum:?}");
    }

    #[test]
    fn equal_values_have_no_spread() {
        let (mut sum, mut squares) = (Exact::default(), Exact::default());
        for _ in 0..3 {
            sum.add(0.1);
            squares.add_product(0.1, 0.1);
        }
        assert_eq!(Exact::spread(3, &squares, &sum, &sum), 0.0);
        sum.add(0.2);
        squares.add_product(0.2, 0.2);
        assert!((Exact::spread(4, &squares, &sum, &sum) - 0.03).abs() < 1e-16);
    }
}
