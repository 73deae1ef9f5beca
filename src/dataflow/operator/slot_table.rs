//! A hash table from keys to slots that holds no keys: open addressing with linear probing (Knuth, TAOCP 3, 6.4, algorithm L), deletion by
//! shifting back (algorithm R).
//!
//! An entry is 8 bytes: the slot, and 32 bits of the key's hash, from which its home follows (Lemire: Fast random integer generation in an
//! interval, 2019), whatever the number of entries: so the table grows by half and not to the double, and growing reads nothing but the table, and a
//! probe looks at a key only when 32 bits agree. A table of many groups is larger than the caches: `touch` reads first the homes of a block of
//! rows, then the keys that belong to them, each independent of the others, so that their cache misses overlap.

/// Tables begin with this many entries.
const ENTRIES_MIN: usize = 16;

/// Tables of fewer entries are in the second-level cache, where there is nothing to wait for. (In tests all are far.)
const ENTRIES_FAR: usize = if cfg!(test) { 1 } else { 16_384 };

/// The entry of nobody: slots are below 2³² - 1.
const FREE: u64 = u64::MAX;

/// From hashes to slots.
#[derive(Default)]
pub(super) struct SlotTable {
    /// Slot in the upper half, hash in the lower one. At most three quarters in use.
    entries: Vec<u64>,
    used: usize,
}

#[inline]
fn entry(hash: u32, slot: u32) -> u64 {
    u64::from(slot) << 32 | u64::from(hash)
}

#[inline]
fn slot_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

/// A table takes the lower half of a hash: of one to which all bits of `hash` have come (Knuth, TAOCP 3, 6.4: multiplicative hashing). Hashes of the
/// rows of one worker have some bits in common.
pub(super) fn spread(hash: u64) -> u64 {
    hash.wrapping_mul(SPREAD) >> 32
}

/// What a table takes, and the rest: both together are as good as the hash.
pub(super) fn spread_apart(hash: u64) -> (u64, u32) {
    let product = hash.wrapping_mul(SPREAD);
    (product >> 32, product as u32)
}

/// The hash that was spread apart.
pub(super) fn put_together(spread: u64, rest: u32) -> u64 {
    (spread << 32 | u64::from(rest)).wrapping_mul(SPREAD_INVERSE)
}

/// Odd, so that multiplying by it can be undone.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// `SPREAD * SPREAD_INVERSE` is 1 modulo 2⁶⁴ (by Newton's method: each step doubles the number of right bits, of which there are three at first).
const SPREAD_INVERSE: u64 = {
    let (mut inverse, mut step) = (SPREAD, 0);
    while step < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(SPREAD.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
};

impl SlotTable {
    /// Where the search for a hash begins.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.entries.len() as u64) >> 32) as usize
    }

    #[inline]
    fn behind(&self, place: usize) -> usize {
        if place + 1 == self.entries.len() { 0 } else { place + 1 }
    }

    /// How many steps it is from one place to another, going round.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.entries.len() - from }
    }

    /// The slot of the key with this hash for which `equals` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut equals: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = hash as u32;
        let mut place = self.home(hash);
        loop {
            let found = *self.entries.get(place)?;
            if found == FREE {
                return None;
            }
            if found as u32 == hash && equals(slot_of(found)) {
                return Some(slot_of(found));
            }
            place = self.behind(place);
        }
    }

    /// Adds a slot whose key is not there.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        if (self.used + 1) * 4 > self.entries.len() * 3 {
            self.grow();
        }
        self.used += 1;
        self.place(entry(hash as u32, slot));
    }

    /// Puts one slot in the place of another, of a key with the same hash.
    pub(super) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        let wanted = entry(hash as u32, old);
        let mut place = self.home(hash as u32);
        while self.entries[place] != wanted {
            place = self.behind(place);
        }
        self.entries[place] = entry(hash as u32, new);
    }

    /// Takes a slot out; nothing happens if it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let wanted = entry(hash as u32, slot);
        let mut hole = self.home(hash as u32);
        loop {
            match self.entries.get(hole) {
                None | Some(&FREE) => return,
                Some(found) if *found == wanted => break,
                Some(_) => hole = self.behind(hole),
            }
        }
        self.used -= 1;
        let mut next = hole;
        loop {
            next = self.behind(next);
            let found = self.entries[next];
            if found == FREE {
                break;
            }
            // It may move to the hole unless its home lies behind the hole.
            if self.distance(self.home(found as u32), next) >= self.distance(hole, next) {
                self.entries[hole] = found;
                hole = next;
            }
        }
        self.entries[hole] = FREE;
    }

    /// Looks for these hashes, so that their entries are near when they are needed; `read` gets the slots that they most likely mean, and may read
    /// their keys for the same reason.
    #[inline]
    pub(super) fn touch(&self, hashes: &[u64], mut read: impl FnMut(u32) -> u64) {
        if self.entries.len() < ENTRIES_FAR {
            return;
        }
        let homes = hashes.iter().map(|hash| self.entries[self.home(*hash as u32)]).fold(0, |sum, found| sum ^ found);
        let keys = hashes.iter().filter_map(|hash| self.find(*hash, |_| true)).fold(0, |sum, slot| sum ^ read(slot));
        // The sums are good for nothing, but the loads must not be optimised away.
        std::hint::black_box(homes ^ keys);
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = SlotTable::default();
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<u64>()
    }

    fn grow(&mut self) {
        let larger = (self.entries.len() + self.entries.len() / 2).max(ENTRIES_MIN);
        let before = std::mem::replace(&mut self.entries, vec![FREE; larger]);
        before.into_iter().filter(|found| *found != FREE).for_each(|found| self.place(found));
    }

    fn place(&mut self, entry: u64) {
        let mut place = self.home(entry as u32);
        while self.entries[place] != FREE {
            place = self.behind(place);
        }
        self.entries[place] = entry;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::{SlotTable, put_together, spread, spread_apart};

    #[test]
    fn a_hash_comes_together_again() {
        for hash in [0, 1, u64::MAX, 0x1234_5678_9ABC_DEF0, 1 << 63] {
            let (high, low) = spread_apart(hash);
            assert_eq!((high, put_together(high, low)), (spread(hash), hash));
        }
    }

    /// Few hashes, so that chains are long and wrap around.
    #[test]
    fn whatever_goes_and_comes_is_found_and_nothing_else() {
        for seed in 0..20 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut table, mut model) = (SlotTable::default(), HashMap::new());
            for _ in 0..5_000 {
                let slot = random.random_range(0..200_u32);
                let hash = if seed % 2 == 0 { u64::from(slot % 7) } else { u64::from(slot).wrapping_mul(0x9E37_79B9) | 0xFFF0_0000 };
                if model.remove(&slot).is_some() {
                    // A slot that takes another's place, and gives it back.
                    table.replace(hash, slot, slot + 200);
                    assert_eq!(table.find(hash, |found| found == slot + 200), Some(slot + 200));
                    table.replace(hash, slot + 200, slot);
                    table.remove(hash, slot);
                } else {
                    model.insert(slot, hash);
                    table.insert(hash, slot);
                }
                let other = random.random_range(0..200_u32);
                let hash = if seed % 2 == 0 { u64::from(other % 7) } else { u64::from(other).wrapping_mul(0x9E37_79B9) | 0xFFF0_0000 };
                assert_eq!(table.find(hash, |found| found == other).is_some(), model.contains_key(&other), "seed {seed}");
            }
        }
    }

    #[test]
    fn an_empty_table_holds_nothing() {
        let mut table = SlotTable::default();
        table.remove(1, 1);
        table.touch(&[1, 2], u64::from);
        assert_eq!(table.find(1, |_| true), None);
    }
}
