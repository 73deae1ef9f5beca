//! Sums of floats without any rounding: as many doubles as it takes, of which no two overlap.
//!
//! Shewchuk, "Adaptive Precision Floating-Point Arithmetic" (1997): `add` is his Grow-Expansion with zero elimination, `add_product` uses his
//! Two-Product with a fused multiplication. What was added can be taken away again and leaves nothing behind, whatever came in between.
//! Always: the value depends on what is in the sum alone, to the last digit: not on the order of additions, nor on what has left.
//! Holds for numbers whose sums and products neither overflow nor fall below 10^-290; callers keep out what is larger, and what is smaller
//! cancels too, since the same rounding is added and taken away.

/// A sum, smallest part first; most have one or two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExactSum(Vec<f64>);

impl ExactSum {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, value: f64) {
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
    pub fn add_product(&mut self, left: f64, right: f64) {
        let product = left * right;
        let error = left.mul_add(right, -product);
        if error != 0.0 {
            self.add(error);
        }
        self.add(product);
    }

    /// Adds `left * right * weight`.
    #[inline]
    pub fn add_weighted_product(&mut self, left: f64, right: f64, weight: i64) {
        let product = left * right;
        let error = left.mul_add(right, -product);
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

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// A sum from its parts.
    pub fn from_parts(parts: Vec<f64>) -> Self {
        ExactSum(parts)
    }

    /// Bytes outside the sum itself.
    pub fn heap(&self) -> usize {
        self.0.capacity() * size_of::<f64>()
    }

    /// Numbers that sum up to it, without any rounding.
    pub fn parts(&self) -> &[f64] {
        &self.0
    }

    /// The nearest double; of two that are as near, the even one. As `fsum` of Python's `math` does it.
    pub fn value(&self) -> f64 {
        let mut parts = self.0.iter().rev().copied();
        let Some(mut high) = parts.next() else { return 0.0 };
        let mut low = 0.0;
        for part in parts.by_ref() {
            (high, low) = two_sum(high, part);
            if low != 0.0 {
                break;
            }
        }
        // Half-way between two doubles, what is left over decides.
        if let Some(next) = parts.next()
            && (low < 0.0) == (next < 0.0)
            && low != 0.0
        {
            let twice = low * 2.0;
            let rounded = high + twice;
            if rounded - high == twice {
                high = rounded;
            }
        }
        high
    }

    /// `count * products - left * right`: exact until the end, so that nothing cancels.
    pub fn spread(count: f64, products: &ExactSum, left: &ExactSum, right: &ExactSum) -> f64 {
        let mut spread = ExactSum::default();
        products.0.iter().for_each(|part| spread.add_product(*part, count));
        for left in &left.0 {
            right.0.iter().for_each(|right| spread.add_product(-left, *right));
        }
        spread.value()
    }
}

/// The sum and what rounding took from it (Knuth, TAOCP vol. 2, 4.2.2).
#[inline]
pub fn two_sum(left: f64, right: f64) -> (f64, f64) {
    let sum = left + right;
    let from_right = sum - left;
    (sum, (left - (sum - from_right)) + (right - from_right))
}

#[cfg(test)]
mod tests {
    use super::ExactSum;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum
    }

    #[test]
    fn what_is_taken_away_leaves_nothing_and_the_order_does_not_matter() {
        let values = [0.1, 1e100, -3.7e-20, 4e12, 1.0 / 3.0, 1e-200, 0.7, 0.3, -0.2, 1e16, 3.0];
        let mut state = 11_u64;
        let mut draw = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % limit
        };
        for _ in 0..500 {
            let wanted: Vec<f64> = (0..draw(8)).map(|_| values[draw(values.len())]).collect();
            let direct = sum(&wanted).value();
            let mut history = sum(&wanted.iter().rev().copied().collect::<Vec<_>>());
            let passing: Vec<f64> = (0..draw(8)).map(|_| values[draw(values.len())]).collect();
            passing.iter().for_each(|value| history.add(*value));
            passing.iter().for_each(|value| history.add(-value));
            assert_eq!(history.value().to_bits(), direct.to_bits(), "{wanted:?} after {passing:?}");
        }
        assert!(sum(&[1e100, 1.0, -1e100, -1.0]).is_zero());
    }

    #[test]
    fn the_value_is_the_nearest_double() {
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
        // 1 + 2^-53 lies half-way: to the even one, unless a little more decides.
        let half = 2_f64.powi(-53);
        assert_eq!(sum(&[1.0, half]).value(), 1.0);
        assert_eq!(sum(&[1.0, half, 1e-40]).value(), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[1.0, half, -1e-40]).value(), 1.0);
    }

    #[test]
    fn equal_values_have_no_spread() {
        let (mut sums, mut squares) = (ExactSum::default(), ExactSum::default());
        for _ in 0..3 {
            sums.add(0.1);
            squares.add_product(0.1, 0.1);
        }
        assert_eq!(ExactSum::spread(3.0, &squares, &sums, &sums), 0.0);
    }
}
