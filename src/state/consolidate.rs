//! One call's changes, reduced: what is retracted and inserted in the same call cancels, whatever the order they came in.

use arrow::array::{ArrayRef, Int64Array};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::types::rows_equal;

/// What is left of one call's changes. Rows are named by their position in the batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Net {
    /// Rows to retract, and how often each.
    pub(super) retract: Vec<(u32, u64)>,
    /// Rows to insert, each as often as it stands here; `None`: every row of the batch once.
    pub(super) insert: Option<Vec<u32>>,
}

/// Reduces rows with weights. Equal rows have equal `hashes`; these are not looked at if no weight is negative.
pub(super) fn consolidate(columns: &[ArrayRef], weights: Option<&Int64Array>, hashes: &[u64]) -> Net {
    let Some(weights) = weights else {
        return Net { retract: Vec::new(), insert: None };
    };
    let weights: &[i64] = weights.values();
    if weights.iter().all(|weight| *weight >= 0) {
        return Net { retract: Vec::new(), insert: inserted(weights.iter().map(|weight| weight.unsigned_abs())) };
    }
    if weights.iter().all(|weight| *weight <= 0) {
        let retract = (0..).zip(weights).filter(|(_, weight)| **weight < 0).map(|(row, weight)| (row, weight.unsigned_abs())).collect();
        return Net { retract, insert: Some(Vec::new()) };
    }
    cancel(columns, weights, hashes)
}

/// The same, with equal retracted rows always together in one entry.
pub(super) fn net(columns: &[ArrayRef], weights: Option<&Int64Array>, hashes: &[u64]) -> Net {
    match weights {
        None => Net { retract: Vec::new(), insert: None },
        Some(weights) => cancel(columns, weights.values(), hashes),
    }
}

/// Puts the retracted rows in a table and lets the inserted ones take from it.
fn cancel(columns: &[ArrayRef], weights: &[i64], hashes: &[u64]) -> Net {
    let mut retract: Vec<(u32, u64)> = Vec::new();
    let mut table: HashTable<u32> = HashTable::with_capacity(weights.len() / 2);
    let same = |left: u32, right: usize| hashes[left as usize] == hashes[right] && rows_equal(columns, left as usize, columns, right);
    for (row, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight < 0) {
        let hasher = |slot: &u32| hashes[retract[*slot as usize].0 as usize];
        match table.entry(hashes[row], |slot| same(retract[*slot as usize].0, row), hasher) {
            Entry::Occupied(entry) => retract[*entry.get() as usize].1 += weight.unsigned_abs(),
            Entry::Vacant(entry) => {
                entry.insert(retract.len() as u32);
                retract.push((row as u32, weight.unsigned_abs()));
            }
        }
    }
    let left = weights.iter().enumerate().map(|(row, weight)| {
        if *weight <= 0 {
            return 0;
        }
        let mut count = weight.unsigned_abs();
        if let Some(slot) = table.find(hashes[row], |slot| same(retract[*slot as usize].0, row)) {
            let open = &mut retract[*slot as usize].1;
            let cancelled = count.min(*open);
            *open -= cancelled;
            count -= cancelled;
        }
        count
    });
    let insert = inserted(left);
    retract.retain(|(_, count)| *count > 0);
    Net { retract, insert }
}

/// Row numbers, each as often as its count says; `None` if that is every row once.
fn inserted(counts: impl Iterator<Item = u64>) -> Option<Vec<u32>> {
    let (mut rows, mut all_once) = (Vec::new(), true);
    for (row, count) in (0_u32..).zip(counts) {
        all_once &= count == 1;
        rows.extend((0..count).map(|_| row));
    }
    (!all_once).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::consolidate;
    use crate::types::hash_rows;
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    #[test]
    fn what_comes_and_goes_in_one_call_cancels() {
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2, 1, 3, 2, 2]))];
        let weights = Int64Array::from(vec![2, -1, -1, -2, 1, -1]);
        let net = consolidate(&columns, Some(&weights), &hash_rows(&columns, 6));
        assert_eq!(net.insert, Some(vec![0]));
        assert_eq!(net.retract, [(1, 1), (3, 2)]);
    }

    #[test]
    fn only_insertions_need_no_list() {
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 1]))];
        assert_eq!(consolidate(&columns, Some(&Int64Array::from(vec![1, 1])), &[]).insert, None);
        assert_eq!(consolidate(&columns, Some(&Int64Array::from(vec![0, 2])), &[]).insert, Some(vec![1, 1]));
    }
}
