//! Sums of any doubles: of infinities, of NaN, and of values whose sum on the way is none.

use super::exact_sum::ExactSum;

/// Values from here on are summed apart and scaled down, so that sums of finite values never overflow on the way.
pub const HUGE: f64 = 1e270;

/// 2^-128 and back: exact for every value from `HUGE` on, and leaves room for 2^128 of them.
const SCALE_DOWN: f64 = 1.0 / SCALE_UP;
const SCALE_UP: f64 = (1_u128 << 64) as f64 * (1_u128 << 64) as f64;

/// A sum from which everything can be taken away that was added: what is not finite is counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatSum {
    /// How many are NaN, infinity and negative infinity.
    pub specials: [i64; 3],
    /// The sum of those below `HUGE`.
    pub modest: ExactSum,
    /// The sum of the other finite ones, scaled down.
    pub huge: ExactSum,
}

impl FloatSum {
    /// Adds a value so many times; below zero, takes it away.
    pub fn add(&mut self, value: f64, weight: i64) {
        let [nan, up, down] = &mut self.specials;
        if value.abs() < HUGE {
            self.modest.add_product(value, weight as f64);
        } else if value.is_nan() {
            *nan += weight;
        } else if value == f64::INFINITY {
            *up += weight;
        } else if value == f64::NEG_INFINITY {
            *down += weight;
        } else {
            self.huge.add_product(value * SCALE_DOWN, weight as f64);
        }
    }

    /// Whether all values are finite.
    pub fn is_finite(&self) -> bool {
        self.specials == [0; 3]
    }

    /// The nearest double.
    pub fn value(&self) -> f64 {
        match self.specials {
            [0, 0, 0] if self.huge.is_zero() => self.modest.value(),
            [0, 0, 0] => {
                let mut all = self.huge.clone();
                self.modest.parts().iter().for_each(|part| all.add(part * SCALE_DOWN));
                all.value() * SCALE_UP
            }
            [0, _, 0] => f64::INFINITY,
            [0, 0, _] => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }

    /// Bytes outside the sum itself.
    pub fn heap(&self) -> usize {
        self.modest.heap() + self.huge.heap()
    }
}
