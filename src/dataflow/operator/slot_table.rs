//! A hash table from keys to slots that holds no keys: buckets of one cache line, of which the next takes what does not fit (Knuth, TAOCP 3, 6.4:
//! buckets, with linear probing), deletion by moving back (algorithm R there).
//!
//! ```text
//! a bucket of 64 bytes:   slots │ 4 │ 0 │ 7 │ – │ – │     halves of hashes │ a │ f │ c │   │   │     other halves │ 3 │ 9 │ 3 │   │   │
//! ```
//!
//! An entry is 8 bytes: the slot, and 32 bits of the key's hash, from which its home follows (Lemire: Fast random integer generation in an
//! interval, 2019), whatever the number of buckets: so the table grows by half and not to the double, and growing reads nothing but the table, and a
//! probe looks at a key only when 32 bits agree. With the other half of the hash, 12 bytes, it never looks at the key of another; where a hash is as good
//! as its key it looks at none. All entries of a bucket are compared at once: nearly every search ends in the first one, so there is nothing to mispredict.
//! A table of many groups is larger than the caches: `touch` reads first the homes of a block of rows, then the keys that belong to them, each
//! independent of the others, so that their cache misses overlap.

/// Tables begin with this many buckets.
const BUCKETS_MIN: usize = 4;

/// Tables of fewer buckets are in the second-level cache, where there is nothing to wait for. (In tests all are far.)
const BUCKETS_FAR: usize = if cfg!(test) { 1 } else { 4_096 };

/// Slots by half a hash, of keys that are elsewhere.
pub(super) type HalfTable = SlotTable<(), u32, 8>;
/// Slots by whole hashes.
pub(super) type WholeTable = SlotTable<u32, u32, 5>;
/// Pairs of slots by whole hashes.
pub(super) type PairTable = SlotTable<u32, [u32; 2], 4>;

/// From hashes to slots. `R`: what an entry keeps of a hash beside its lower half. `S`: a slot, or several. `B`: as many entries as fit into a bucket.
pub(super) struct SlotTable<R, S, const B: usize> {
    /// Four fifths of their entries in use, at the most.
    buckets: Vec<Bucket<R, S, B>>,
    used: usize,
}

/// A cache line. The entries in use are the first ones.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket<R, S, const B: usize> {
    slots: [S; B],
    /// The lower halves of the hashes.
    halves: [u32; B],
    rests: [R; B],
}

#[derive(Clone, Copy)]
struct Entry<R, S> {
    slot: S,
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
pub(super) trait Rest: Copy + Eq {
    const NONE: Self;
    fn of(hash: u64) -> Self;
}

impl Rest for () {
    const NONE: () = ();

    fn of(_hash: u64) {}
}

impl Rest for u32 {
    const NONE: u32 = 0;

    #[inline]
    fn of(hash: u64) -> u32 {
        (hash >> 32) as u32
    }
}

impl<R: Rest, S: Slot, const B: usize> Bucket<R, S, B> {
    const FREE: Self = {
        assert!(size_of::<Self>() == 64, "as many entries as fit into a cache line");
        Bucket { slots: [S::FREE; B], halves: [0; B], rests: [R::NONE; B] }
    };

    /// Which entries have this hash, as bits. Free ones may be among them.
    #[inline]
    fn matches(&self, half: u32, rest: R) -> u32 {
        (0..B).fold(0, |bits, index| bits | u32::from(self.halves[index] == half && self.rests[index] == rest) << index)
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.slots[B - 1] != S::FREE
    }

    /// How many entries are in use.
    fn len(&self) -> usize {
        self.slots.iter().position(|slot| *slot == S::FREE).unwrap_or(B)
    }

    fn entry(&self, index: usize) -> Entry<R, S> {
        Entry { slot: self.slots[index], half: self.halves[index], rest: self.rests[index] }
    }

    fn put(&mut self, index: usize, entry: Entry<R, S>) {
        (self.slots[index], self.halves[index], self.rests[index]) = (entry.slot, entry.half, entry.rest);
    }

    fn entries(&self) -> impl Iterator<Item = Entry<R, S>> {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// Takes an entry out; the last one takes its place.
    fn take(&mut self, index: usize) {
        let last = self.len() - 1;
        self.put(index, self.entry(last));
        self.slots[last] = S::FREE;
    }
}

impl<R, S, const B: usize> Default for SlotTable<R, S, B> {
    fn default() -> Self {
        SlotTable { buckets: Vec::new(), used: 0 }
    }
}

/// A table begins with the lower half of a hash: of one to which all bits of `hash` have come (Knuth, TAOCP 3, 6.4: multiplicative hashing). Hashes of
/// the rows of one worker have some bits in common. Both halves together tell as much as `hash`.
pub(super) fn spread(hash: u64) -> u64 {
    hash.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
}

impl<R: Rest, S: Slot, const B: usize> SlotTable<R, S, B> {
    /// The bucket in which the search for a hash begins.
    #[inline]
    fn home(&self, half: u32) -> usize {
        ((u64::from(half) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn behind(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    /// How many steps it is from one bucket to another, going round.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.buckets.len() - from }
    }

    /// Bucket and index of the entry that has this hash and for which `equals` holds.
    #[inline]
    fn place_of(&self, hash: u64, mut equals: impl FnMut(S) -> bool) -> Option<(usize, usize)> {
        let (half, rest) = (hash as u32, R::of(hash));
        let mut place = self.home(half);
        loop {
            let bucket = self.buckets.get(place)?;
            let mut matches = bucket.matches(half, rest);
            while matches != 0 {
                let index = matches.trailing_zeros() as usize;
                if bucket.slots[index] != S::FREE && equals(bucket.slots[index]) {
                    return Some((place, index));
                }
                matches &= matches - 1;
            }
            if !bucket.is_full() {
                return None;
            }
            place = self.behind(place);
        }
    }

    /// The slot of the key with this hash for which `equals` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, equals: impl FnMut(S) -> bool) -> Option<S> {
        self.place_of(hash, equals).map(|(bucket, index)| self.buckets[bucket].slots[index])
    }

    /// The slot of the first key with this hash. It must not become that of nobody.
    #[inline]
    pub(super) fn find_mut(&mut self, hash: u64) -> Option<&mut S> {
        self.place_of(hash, |_| true).map(|(bucket, index)| &mut self.buckets[bucket].slots[index])
    }

    /// Adds a slot whose key is not there.
    pub(super) fn insert(&mut self, hash: u64, slot: S) {
        if (self.used + 1) * 5 > self.buckets.len() * B * 4 {
            self.grow();
        }
        self.used += 1;
        self.place(Entry { slot, half: hash as u32, rest: R::of(hash) });
    }

    /// Takes a slot out; nothing happens if it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: S) {
        let Some((mut hole, mut index)) = self.place_of(hash, |found| found == slot) else { return };
        self.used -= 1;
        loop {
            let was_full = self.buckets[hole].is_full();
            self.buckets[hole].take(index);
            let Some(other) = was_full.then(|| self.misplaced_behind(hole)).flatten() else { return };
            let entry = self.buckets[other.0].entry(other.1);
            self.buckets[hole].put(B - 1, entry);
            (hole, index) = other;
        }
    }

    /// An entry that would be in this bucket, had it not been full.
    fn misplaced_behind(&self, hole: usize) -> Option<(usize, usize)> {
        let mut place = self.behind(hole);
        loop {
            let bucket = &self.buckets[place];
            let from_before = |entry: Entry<R, S>| self.distance(self.home(entry.half), place) >= self.distance(hole, place);
            if let Some(index) = bucket.entries().position(from_before) {
                return Some((place, index));
            }
            if !bucket.is_full() {
                return None;
            }
            place = self.behind(place);
        }
    }

    /// Looks at the homes of these hashes, so that they are near when they are needed.
    #[inline]
    pub(super) fn touch(&self, hashes: &[u64]) {
        if self.buckets.len() >= BUCKETS_FAR {
            // The sum is good for nothing, but the loads must not be optimised away.
            std::hint::black_box(hashes.iter().fold(0, |sum, hash| sum ^ self.buckets[self.home(*hash as u32)].halves[0]));
        }
    }

    /// As `touch`; `read` gets the slots that they most likely mean, and may read their keys for the same reason.
    #[inline]
    pub(super) fn touch_keys(&self, hashes: &[u64], mut read: impl FnMut(S) -> u64) {
        if self.buckets.len() >= BUCKETS_FAR {
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
        (self.buckets, self.used) = (Vec::new(), 0);
    }

    /// Changes every slot; those that become that of nobody go, and with them the memory of a table that they filled.
    pub(super) fn change_all(&mut self, change: impl Fn(S) -> S) {
        let changed = |entry: Entry<R, S>| Entry { slot: change(entry.slot), ..entry };
        let remain = || self.buckets.iter().flat_map(Bucket::entries).map(changed).filter(|entry| entry.slot != S::FREE);
        self.used = remain().count();
        let length = self.buckets.len().min((self.used + self.used / 2).div_ceil(B).max(BUCKETS_MIN));
        let mut smaller = SlotTable { buckets: vec![Bucket::FREE; length], used: self.used };
        remain().for_each(|entry| smaller.place(entry));
        *self = smaller;
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket<R, S, B>>()
    }

    /// In how many of a thousand entries are not in their home.
    #[cfg(test)]
    pub(super) fn away_from_home(&self) -> usize {
        let entries = |(place, bucket): (usize, &Bucket<R, S, B>)| bucket.entries().map(move |entry| (place, entry)).collect::<Vec<_>>();
        let away = self.buckets.iter().enumerate().flat_map(entries).filter(|(place, entry)| self.home(entry.half) != *place);
        away.count() * 1_000 / self.used
    }

    fn grow(&mut self) {
        let length = (self.buckets.len() + self.buckets.len() / 2).max(BUCKETS_MIN);
        let before = std::mem::replace(&mut self.buckets, vec![Bucket::FREE; length]);
        before.iter().flat_map(Bucket::entries).for_each(|entry| self.place(entry));
    }

    fn place(&mut self, entry: Entry<R, S>) {
        let mut place = self.home(entry.half);
        while self.buckets[place].is_full() {
            place = self.behind(place);
        }
        let bucket = &mut self.buckets[place];
        bucket.put(bucket.len(), entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::{HalfTable, Rest, SlotTable, WholeTable, spread};

    /// Few hashes, so that searches are long and wrap around, and such as are spread.
    #[test]
    fn whatever_goes_and_comes_is_found_and_nothing_else() {
        (0..20).for_each(|seed| play::<(), 8>(seed, 200));
        (0..20).for_each(|seed| play::<u32, 5>(seed, 200));
    }

    /// Four buckets, full as they may be.
    #[test]
    fn so_it_is_in_the_smallest_tables() {
        (0..200).for_each(|seed| play::<u32, 5>(seed, 16));
        (0..200).for_each(|seed| play::<(), 8>(seed, 25));
    }

    fn play<R: Rest, const B: usize>(seed: u64, slots: u32) {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut table, mut model) = (SlotTable::<R, u32, B>::default(), HashMap::new());
        let few = |slot: u32| match seed % 3 {
            0 => u64::from(slot % 7),
            1 => u64::from(slot).wrapping_mul(0x9E37_79B9) | 0xFFF0_0000,
            _ => spread(seed * 1_000 + u64::from(slot)),
        };
        for _ in 0..5_000 {
            let slot = random.random_range(0..slots);
            let hash = few(slot);
            if model.remove(&slot).is_some() {
                table.remove(hash, slot);
            } else {
                model.insert(slot, hash);
                table.insert(hash, slot);
            }
            let other = random.random_range(0..slots);
            assert_eq!(table.find(few(other), |found| found == other).is_some(), model.contains_key(&other), "seed {seed}");
        }
    }

    #[test]
    fn whole_hashes_are_told_apart_without_keys() {
        let (mut halves, mut wholes) = (HalfTable::default(), WholeTable::default());
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
        let mut table = HalfTable::default();
        table.remove(1, 1);
        table.touch_keys(&[1, 2], u64::from);
        assert_eq!(table.find(1, |_| true), None);
    }
}
