//! The newest of what there ever was, each under the number it came as. A checkpoint stores what has come since the one before, and deletes what
//! has gone.

use std::collections::VecDeque;
use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::changes::ReportChanges;
use crate::error::{Error, Result};

const DAMAGED: &str = "the data directory is damaged: something that was told cannot be read";

/// At most `KEPT` of them.
#[derive(Clone, Debug)]
pub struct Tail<T, const KEPT: usize> {
    newest: VecDeque<T>,
    /// The number of the next one.
    end: u64,
    /// The numbers that the store has.
    stored: Range<u64>,
}

impl<T, const KEPT: usize> Default for Tail<T, KEPT> {
    fn default() -> Self {
        Tail { newest: VecDeque::new(), end: 0, stored: 0..0 }
    }
}

impl<T, const KEPT: usize> Tail<T, KEPT> {
    /// Adds one; the oldest goes if there are too many.
    pub fn push(&mut self, item: T) {
        if self.newest.len() == KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back(item);
        self.end += 1;
    }

    /// From the oldest to the newest.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.newest.iter()
    }

    fn numbers(&self) -> Range<u64> {
        self.end - self.newest.len() as u64..self.end
    }
}

impl<T: Serialize + DeserializeOwned, const KEPT: usize> Tail<T, KEPT> {
    /// What the store does not know yet, under keys that are `prefix` and a number. From now on it counts as stored.
    pub fn take_changes(&mut self, prefix: &[u8], changes: &mut ReportChanges) {
        let numbers = self.numbers();
        let key = |number: u64| [prefix, &number.to_be_bytes()].concat();
        changes.deletes.extend((self.stored.start..self.stored.end.min(numbers.start)).map(key));
        for (number, item) in numbers.clone().zip(&self.newest).filter(|(number, _)| *number >= self.stored.end) {
            changes.puts.push((key(number), serde_json::to_vec(item).expect("numbers and texts always encode")));
        }
        self.stored = numbers;
    }

    /// Takes back what was stored, one after the other: `key` is what stood behind the prefix.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let number = key.try_into().map(u64::from_be_bytes).map_err(|cause| Error::external(DAMAGED, cause))?;
        let item = serde_json::from_slice(value).map_err(|cause| Error::external(DAMAGED, cause))?;
        self.end = number;
        self.push(item);
        self.stored = self.numbers();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Tail;
    use crate::state::ReportChanges;

    /// Stores what changed, and reads everything back.
    fn round(tail: &mut Tail<u32, 3>, store: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Tail<u32, 3> {
        let mut changes = ReportChanges::default();
        tail.take_changes(b"x", &mut changes);
        for key in changes.deletes {
            assert!(store.remove(&key).is_some(), "what is deleted was stored");
        }
        for (key, value) in changes.puts {
            assert!(store.insert(key, value).is_none(), "nothing is stored twice");
        }
        let mut read = Tail::default();
        for (key, value) in &*store {
            read.restore(&key[1..], value).unwrap();
        }
        assert!(read.iter().eq(tail.iter()) && store.len() <= 3);
        read
    }

    #[test]
    fn what_was_stored_comes_back() {
        let mut store = BTreeMap::new();
        let mut tail = Tail::default();
        round(&mut tail, &mut store);
        for (pushed, restarts) in [(2, false), (0, true), (2, true), (1, false), (7, true), (3, true), (9, false), (1, true)] {
            (0..pushed).for_each(|item| tail.push(item));
            let read = round(&mut tail, &mut store);
            if restarts {
                tail = read;
            }
        }
        assert!(tail.iter().eq(&[7, 8, 0]));
        assert!(Tail::<u32, 3>::default().restore(b"short", b"1").is_err());
    }
}
