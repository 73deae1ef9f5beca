//! A hash table from keys to slots that holds no keys: open addressing with linear probing (Knuth, TAOCP 3, 6.4, algorithm L), deletion by
//! shifting back (algorithm R).
//!
//! An entry is 8 bytes: the slot, and 32 bits of the key's hash, from which its home follows (Lemire: Fast random integer generation in an
//! interval, 2019), whatever the number of entries: so the table grows by half and not to the double, and growing reads nothing but the table, and a
//! probe looks at a key only when 32 bits agree. Where a hash is as good as its key, an entry has all of it, 12 bytes, and no probe looks at keys. A
//! table of many groups is larger than the caches: `touch` reads first the homes of a block of rows, then the keys that belong to them, each
//! independent of the others, so that their cache misses overlap.

/// Tables begin with this many entries.
const ENTRIES_MIN: usize = 16;

/// Tables of fewer entries are in the second-level cache, where there is nothing to wait for. (In tests all are far.)
const ENTRIES_FAR: usize = if cfg!(test) { 1 } else { 16_384 };

/// From hashes to slots. `R`: what an entry keeps of a hash beside its lower half. `S`: a slot, or several.
#[derive(Default)]
pub(super) struct SlotTable<R = (), S = u32> {
    /// At most three quarters in use.
    entries: Vec<Entry<R, S>>,
    used: usize,
}

#[derive(Clone, Copy)]
struct Entry<R, S> {
    slot: S,
    /// The lower half of the hash.
    half: u32,
    rest: R,
}

/// What a table leads to.
pub(super) trait Slot: Copy + Eq {
    /// That of nobody.
    const FREE: Self;
}

/// Below 2³² - 1.
impl Slot for u32 {
    const FREE: u32 = u32::MAX;
}

impl Slot for [u32; 2] {
    const FREE: [u32; 2] = [u32::MAX; 2];
}

/// The upper half of a hash, or nothing of it.
pub(super) trait Rest: Copy + Default + Eq {
    fn of(hash: u64) -> Self;
}

impl Rest for () {
    fn of(_hash: u64) {}
}

impl Rest for u32 {
    #[inline]
    fn of(hash: u64) -> u32 {
        (hash >> 32) as u32
    }
}

impl<R: Rest, S: Slot> Entry<R, S> {
    #[inline]
    fn new(hash: u64, slot: S) -> Self {
        Entry { slot, half: hash as u32, rest: R::of(hash) }
    }

    fn free() -> Self {
        Entry { slot: S::FREE, half: 0, rest: R::default() }
    }
}

/// A table begins with the lower half of a hash: of one to which all bits of `hash` have come (Knuth, TAOCP 3, 6.4: multiplicative hashing). Hashes of
/// the rows of one worker have some bits in common. Both halves together tell as much as `hash`.
pub(super) fn spread(hash: u64) -> u64 {
    hash.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
}

impl<R: Rest, S: Slot> SlotTable<R, S> {
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

    /// Where the entry is that has this hash and for which `equals` holds.
    #[inline]
    fn place_of(&self, hash: u64, mut equals: impl FnMut(S) -> bool) -> Option<usize> {
        let wanted = Entry::<R, S>::new(hash, S::FREE);
        let mut place = self.home(wanted.half);
        loop {
            let found = self.entries.get(place)?;
            if found.slot == S::FREE {
                return None;
            }
            if found.half == wanted.half && found.rest == wanted.rest && equals(found.slot) {
                return Some(place);
            }
            place = self.behind(place);
        }
    }

    /// The slot of the key with this hash for which `equals` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, equals: impl FnMut(S) -> bool) -> Option<S> {
        self.place_of(hash, equals).map(|place| self.entries[place].slot)
    }

    /// The slot of the first key with this hash. It must not become that of nobody.
    #[inline]
    pub(super) fn find_mut(&mut self, hash: u64) -> Option<&mut S> {
        self.place_of(hash, |_| true).map(|place| &mut self.entries[place].slot)
    }

    /// Adds a slot whose key is not there.
    pub(super) fn insert(&mut self, hash: u64, slot: S) {
        if (self.used + 1) * 4 > self.entries.len() * 3 {
            self.grow();
        }
        self.used += 1;
        self.place(Entry::new(hash, slot));
    }

    /// Takes a slot out; nothing happens if it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: S) {
        let Some(mut hole) = self.place_of(hash, |found| found == slot) else { return };
        self.used -= 1;
        let mut next = hole;
        loop {
            next = self.behind(next);
            let found = self.entries[next];
            if found.slot == S::FREE {
                break;
            }
            // It may move to the hole unless its home lies behind the hole.
            if self.distance(self.home(found.half), next) >= self.distance(hole, next) {
                self.entries[hole] = found;
                hole = next;
            }
        }
        self.entries[hole] = Entry::free();
    }

    /// Looks at the homes of these hashes, so that their entries are near when they are needed.
    #[inline]
    pub(super) fn touch(&self, hashes: &[u64]) {
        if self.entries.len() >= ENTRIES_FAR {
            // The sum is good for nothing, but the loads must not be optimised away.
            std::hint::black_box(hashes.iter().fold(0, |sum, hash| sum ^ self.entries[self.home(*hash as u32)].half));
        }
    }

    /// As `touch`; `read` gets the slots that they most likely mean, and may read their keys for the same reason.
    #[inline]
    pub(super) fn touch_keys(&self, hashes: &[u64], mut read: impl FnMut(S) -> u64) {
        if self.entries.len() >= ENTRIES_FAR {
            self.touch(hashes);
            let slots = hashes.iter().filter_map(|hash| self.find(*hash, |_| true));
            std::hint::black_box(slots.fold(0, |sum, slot| sum ^ read(slot)));
        }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        (self.entries, self.used) = (Vec::new(), 0);
    }

    /// Changes every slot; those that become that of nobody go, and with them the memory of a table that they filled.
    pub(super) fn change_all(&mut self, change: impl Fn(S) -> S) {
        self.entries.iter_mut().for_each(|found| found.slot = change(found.slot));
        self.used = self.entries.iter().filter(|found| found.slot != S::FREE).count();
        let length = self.entries.len().min((self.used + self.used / 2).max(ENTRIES_MIN));
        self.rebuild(length);
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<R, S>>()
    }

    /// How far entries are from their homes, in the mean.
    #[cfg(test)]
    pub(super) fn mean_distance(&self) -> usize {
        let used = self.entries.iter().enumerate().filter(|(_, found)| found.slot != S::FREE);
        used.map(|(place, found)| self.distance(self.home(found.half), place)).sum::<usize>() / self.used
    }

    fn grow(&mut self) {
        self.rebuild((self.entries.len() + self.entries.len() / 2).max(ENTRIES_MIN));
    }

    /// Puts all into a table of so many entries.
    fn rebuild(&mut self, length: usize) {
        let before = std::mem::replace(&mut self.entries, vec![Entry::free(); length]);
        before.into_iter().filter(|found| found.slot != S::FREE).for_each(|found| self.place(found));
    }

    fn place(&mut self, entry: Entry<R, S>) {
        let mut place = self.home(entry.half);
        while self.entries[place].slot != S::FREE {
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

    use super::{Rest, SlotTable};

    /// Few hashes, so that chains are long and wrap around.
    #[test]
    fn whatever_goes_and_comes_is_found_and_nothing_else() {
        (0..20).for_each(play::<()>);
        (0..20).for_each(play::<u32>);
    }

    fn play<R: Rest>(seed: u64) {
        let is_crowded = seed.is_multiple_of(2);
        let mut random = StdRng::seed_from_u64(seed);
        let (mut table, mut model) = (SlotTable::<R>::default(), HashMap::new());
        let few = |slot: u32| if is_crowded { u64::from(slot % 7) } else { u64::from(slot).wrapping_mul(0x9E37_79B9) | 0xFFF0_0000 };
        for _ in 0..5_000 {
            let slot = random.random_range(0..200_u32);
            let hash = few(slot);
            if model.remove(&slot).is_some() {
                table.remove(hash, slot);
            } else {
                model.insert(slot, hash);
                table.insert(hash, slot);
            }
            let other = random.random_range(0..200_u32);
            assert_eq!(table.find(few(other), |found| found == other).is_some(), model.contains_key(&other), "seed {seed}");
        }
    }

    #[test]
    fn whole_hashes_are_told_apart_without_keys() {
        let (mut halves, mut wholes) = (SlotTable::<()>::default(), SlotTable::<u32>::default());
        for slot in 0..100 {
            halves.insert(u64::from(slot) << 32, slot);
            wholes.insert(u64::from(slot) << 32, slot);
        }
        assert_eq!(halves.find(7 << 32, |_| true), Some(0), "the lower halves are equal");
        assert_eq!(wholes.find(7 << 32, |_| true), Some(7));
        assert_eq!(wholes.find(100 << 32, |_| true), None);
        // A slot that takes another's place.
        *wholes.find_mut(7 << 32).unwrap() = 200;
        wholes.change_all(|slot| if slot.is_multiple_of(2) { slot } else { u32::MAX });
        let found = [6, 7, 8, 9].map(|slot: u64| wholes.find(slot << 32, |_| true));
        assert_eq!(found, [Some(6), Some(200), Some(8), None]);
    }

    #[test]
    fn an_empty_table_holds_nothing() {
        let mut table = SlotTable::<()>::default();
        table.remove(1, 1);
        table.touch_keys(&[1, 2], u64::from);
        assert_eq!(table.find(1, |_| true), None);
    }
}
