//! Random values that need no state: a counter goes in, its bits come out mixed.

/// The golden ratio in 64 bits: as a stride it visits all of them before it repeats (Steele et al., "Fast Splittable Pseudorandom
/// Number Generators", OOPSLA 2014).
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

/// The random values of one column: each number has its own, for ever.
#[derive(Clone, Copy, Debug)]
pub(in crate::connect) struct Draw {
    key: u64,
}

impl Draw {
    /// The values of `column` under `seed`. Other columns and other seeds give unrelated values.
    pub(in crate::connect) fn new(seed: u64, column: u64) -> Self {
        Draw { key: mix(mix(seed).wrapping_add(column.wrapping_mul(STRIDE))) }
    }

    /// 64 random bits for `number`.
    #[inline]
    pub(in crate::connect) fn bits(self, number: u64) -> u64 {
        mix(self.key ^ number.wrapping_add(1).wrapping_mul(STRIDE))
    }

    /// A value of `0..bound`, each equally likely as far as 64 bits allow (Lemire 2019, without the rejection step). 0 if `bound` is 0.
    #[inline]
    pub(in crate::connect) fn below(self, number: u64, bound: u64) -> u64 {
        scale(self.bits(number), bound)
    }

    /// A value of `0.0..1.0`.
    #[inline]
    pub(in crate::connect) fn unit(self, number: u64) -> f64 {
        // 53 bits are what a double's mantissa holds.
        (self.bits(number) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Values that belong to this column and `number`, for those that need more than 64 bits.
    #[inline]
    pub(in crate::connect) fn nested(self, number: u64) -> Draw {
        Draw { key: self.bits(number) }
    }
}

/// Shrinks 64 random bits to `0..bound`.
#[inline]
fn scale(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// The finaliser of SplitMix64: each bit of the input changes half of the output's.
#[inline]
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::Draw;

    #[test]
    fn values_are_spread_evenly_and_columns_differ() {
        let (first, second) = (Draw::new(0, 1), Draw::new(0, 2));
        let mean = (0..10_000).map(|number| first.below(number, 1_000)).sum::<u64>() / 10_000;
        assert!((480..520).contains(&mean), "{mean}");
        let same = (0..10_000).filter(|&number| first.below(number, 1_000) == second.below(number, 1_000)).count();
        assert!(same < 40, "{same}");
        assert!((0..10_000).all(|number| (0.0..1.0).contains(&first.unit(number))));
    }
}
