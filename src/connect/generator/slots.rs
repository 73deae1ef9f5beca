//! Which row numbers one partition owns, and how to list them without looking at the others.

/// A set of numbers that repeats: `residues + k * period` for k = 0, 1, 2, ….
#[derive(Clone, Debug)]
pub(in crate::connect) struct Slots {
    /// Ascending, each below `period`.
    residues: Vec<u64>,
    period: u64,
}

impl Slots {
    /// The numbers ≡ `partition` mod `partitions` that `wanted` says yes to, given a number's place in rounds of `round` numbers.
    pub(in crate::connect) fn new(round: u64, partition: u64, partitions: u64, wanted: impl Fn(u64) -> bool) -> Self {
        let period = round / greatest_common_divisor(round, partitions) * partitions;
        let residues = (partition..period).step_by(usize::try_from(partitions).unwrap_or(usize::MAX));
        Slots { residues: residues.filter(|number| wanted(number % round)).collect(), period }
    }

    /// The owned numbers in `from..limit`, ascending, `rows_max` of them at the most.
    pub(in crate::connect) fn list(&self, from: u64, limit: u64, rows_max: usize) -> Vec<u64> {
        let expected = self.count(from, limit).min(rows_max as u64) as usize;
        let mut numbers = Vec::with_capacity(expected);
        let mut base = from - from % self.period;
        let mut rest = &self.residues[self.residues.partition_point(|residue| base + residue < from)..];
        while numbers.len() < expected {
            let take = rest.len().min(expected - numbers.len());
            numbers.extend(rest[..take].iter().map(|residue| base + residue));
            base += self.period;
            rest = &self.residues;
        }
        numbers
    }

    /// How many owned numbers are in `from..limit`.
    pub(in crate::connect) fn count(&self, from: u64, limit: u64) -> u64 {
        self.below(limit).saturating_sub(self.below(from))
    }

    /// How many owned numbers are less than `limit`.
    fn below(&self, limit: u64) -> u64 {
        let within = self.residues.partition_point(|&residue| residue < limit % self.period);
        limit / self.period * self.residues.len() as u64 + within as u64
    }
}

fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn the_partitions_together_own_each_number_once() {
        for partitions in [1, 2, 3, 7, 50, 75] {
            let mut all: Vec<u64> = (0..partitions)
                .flat_map(|partition| Slots::new(50, partition, partitions, |slot| slot >= 4).list(0, 5_003, usize::MAX))
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..5_003).filter(|number| number % 50 >= 4).collect::<Vec<_>>(), "{partitions} partitions");
        }
    }

    #[test]
    fn a_list_in_pieces_is_the_whole_list() {
        let slots = Slots::new(50, 1, 3, |slot| slot >= 1);
        let whole = slots.list(17, 4_000, usize::MAX);
        let mut pieces = Vec::new();
        let mut from = 17;
        loop {
            let piece = slots.list(from, 4_000, 13);
            let Some(last) = piece.last() else { break };
            from = last + 1;
            pieces.extend(piece);
        }
        assert_eq!(pieces, whole);
        assert_eq!(slots.count(17, 4_000), whole.len() as u64);
    }
}
