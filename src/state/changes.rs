//! What operators hand over at a checkpoint, and get back at a restart: keys and values that only they understand. What is told of objects
//! goes the same way.
//!
//! There may be tens of millions of changes, most of them a few words long. So they lie behind each other in blocks, by bucket as in the store:
//!
//! ```text
//!  bucket 0   │ length of key, of value (u32 each), key, value │ … │      a value's length of u32::MAX: the key is gone
//!  bucket 1   │ … │ … │                                                   blocks grow to 64 KiB
//! ```
//!
//! A bucket's changes are sorted when it is their turn to be written, and given back as soon as they are.

/// One live piece of an operator's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// `types::bucket` of the hash by which the operator's input is exchanged: decides which worker gets the entry back.
    pub bucket: u8,
    /// Unique within the operator and bucket.
    pub key: Vec<u8>,
    /// What to remember.
    pub value: Vec<u8>,
}

/// What changed in an operator's state since its last checkpoint. If a key is put and deleted, the put counts, whichever came first.
#[derive(Debug, Default)]
pub struct StateChanges {
    /// By their numbers, as far as there are changes.
    buckets: Vec<BucketChanges>,
}

/// What changed in one bucket of an operator's state.
#[derive(Debug, Default)]
pub(super) struct BucketChanges {
    changes: usize,
    blocks: Vec<Vec<u8>>,
}

/// A key, and its value; `None` if it is gone.
type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// The first block of a bucket: an operator with a few groups has a few entries in each of some buckets.
const FIRST_BLOCK_BYTES: usize = 256;

const BLOCK_BYTES: usize = 64 << 10;

/// Of a change: the lengths of key and value.
const HEADER_BYTES: usize = 8;

/// In the place of a value's length.
const GONE: u32 = u32::MAX;

impl StateChanges {
    /// An entry that is new or different.
    pub fn put(&mut self, bucket: u8, key: &[u8], value: &[u8]) {
        self.bucket(bucket).push(key, Some(value));
    }

    /// An entry that is gone.
    pub fn delete(&mut self, bucket: u8, key: &[u8]) {
        self.bucket(bucket).push(key, None);
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.changes == 0)
    }

    /// The buckets that changed.
    pub(super) fn into_buckets(self) -> impl Iterator<Item = (u8, BucketChanges)> {
        (0..=u8::MAX).zip(self.buckets).filter(|(_, bucket)| bucket.changes > 0)
    }

    fn bucket(&mut self, bucket: u8) -> &mut BucketChanges {
        let place = usize::from(bucket);
        if place >= self.buckets.len() {
            self.buckets.resize_with(place + 1, BucketChanges::default);
        }
        &mut self.buckets[place]
    }
}

impl BucketChanges {
    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).ok().filter(|length| *length < GONE).expect("a key or value of 4 GiB");
        let needed = HEADER_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        if self.blocks.last().is_none_or(|block| block.capacity() - block.len() < needed) {
            let usual = self.blocks.last().map_or(FIRST_BLOCK_BYTES, |block| (block.capacity() * 2).min(BLOCK_BYTES));
            self.blocks.push(Vec::with_capacity(usual.max(needed)));
        }
        let block = self.blocks.last_mut().expect("there is room in the last block");
        block.extend_from_slice(&length(key).to_le_bytes());
        block.extend_from_slice(&value.map_or(GONE, length).to_le_bytes());
        block.extend_from_slice(key);
        block.extend_from_slice(value.unwrap_or_default());
        self.changes += 1;
    }

    /// The changes in the order of their coming.
    fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.blocks.iter().flat_map(|block| {
            let mut rest = block.as_slice();
            std::iter::from_fn(move || {
                let change = read(rest)?;
                rest = &rest[HEADER_BYTES + change.0.len() + change.1.map_or(0, <[u8]>::len)..];
                Some(change)
            })
        })
    }

    /// The changes of one bucket that several have told, in the order of their keys: one for each key.
    pub(super) fn sorted(parts: &[BucketChanges]) -> Vec<Change<'_>> {
        let all = || parts.iter().flat_map(BucketChanges::iter);
        let Some((first, _)) = all().next() else { return Vec::new() };
        let shared = all().fold(first.len(), |shared, (key, _)| first[..shared].iter().zip(key).take_while(|(a, b)| a == b).count());
        // What stands behind the bytes that all keys share tells most of them apart without a look at the keys themselves.
        let mut changes: Vec<(u64, Change<'_>)> = Vec::with_capacity(parts.iter().map(|part| part.changes).sum());
        changes.extend(all().map(|change| (first_word(&change.0[shared..]), change)));
        changes.sort_unstable_by(|(left, (left_key, left_value)), (right, (right_key, right_value))| {
            left.cmp(right).then_with(|| left_key.cmp(right_key)).then_with(|| left_value.is_none().cmp(&right_value.is_none()))
        });
        changes.dedup_by(|next, kept| next.1.0 == kept.1.0);
        changes.into_iter().map(|(_, change)| change).collect()
    }
}

/// The change that `bytes` begin with.
fn read(bytes: &[u8]) -> Option<Change<'_>> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (value, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at(u32::from_le_bytes(*key) as usize);
    let value = u32::from_le_bytes(*value);
    Some((key, (value != GONE).then(|| &rest[..value as usize])))
}

/// The first eight bytes, zeros behind the end, as a number that sorts as they do.
fn first_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(8);
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(word)
}

/// What changed in what is told of an object since the last checkpoint.
#[derive(Clone, Debug, Default)]
pub struct ReportChanges {
    /// Entries that are new or different, by key.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys of entries that are gone.
    pub deletes: Vec<Vec<u8>>,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::{BucketChanges, StateChanges, StateEntry};
    use crate::error::Result;

    /// What the store would have of one operator.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct StoredState(pub(crate) BTreeMap<(u8, Vec<u8>), Vec<u8>>);

    impl StoredState {
        /// Takes a checkpoint; how many entries were put, and how many deleted. Only what is there may be.
        pub(crate) fn apply(&mut self, changes: StateChanges) -> (usize, usize) {
            let (puts, deletes, missing) = self.take(changes);
            assert_eq!(missing, 0, "only what is there is deleted");
            (puts, deletes)
        }

        /// As `apply`, of an operator that may delete what came and went between two checkpoints.
        pub(crate) fn apply_loosely(&mut self, changes: StateChanges) {
            self.take(changes);
        }

        fn take(&mut self, changes: StateChanges) -> (usize, usize, usize) {
            let (mut puts, mut deletes, mut missing) = (0, 0, 0);
            for (bucket, changes) in changes.into_buckets() {
                for (key, value) in BucketChanges::sorted(&[changes]) {
                    match value {
                        Some(value) => {
                            self.0.insert((bucket, key.to_vec()), value.to_vec());
                            puts += 1;
                        }
                        None if self.0.remove(&(bucket, key.to_vec())).is_some() => deletes += 1,
                        None => missing += 1,
                    }
                }
            }
            (puts, deletes, missing)
        }

        /// The entries of the buckets for which `mine` is true.
        pub(crate) fn entries(&self, mine: impl Fn(u8) -> bool) -> impl Iterator<Item = Result<StateEntry>> {
            let mine = self.0.iter().filter(move |((bucket, _), _)| mine(*bucket));
            mine.map(|((bucket, key), value)| Ok(StateEntry { bucket: *bucket, key: key.clone(), value: value.clone() }))
        }
    }

    #[test]
    fn changes_come_out_by_bucket_and_key_and_a_put_counts() {
        let mut changes = StateChanges::default();
        assert!(changes.is_empty());
        // Enough for several blocks, one of them for a single large value; all keys begin alike, and end within or behind their first word.
        let key = |number: u32| [b"common".as_slice(), &number.to_be_bytes()[2..], &b"0123456789"[..number as usize % 10]].concat();
        for number in (0..5_000).rev() {
            changes.put(7, &key(number), &vec![number as u8; if number == 9 { 100_000 } else { number as usize % 50 }]);
        }
        changes.delete(7, &key(3));
        changes.delete(7, b"com");
        changes.put(255, b"", b"");
        changes.delete(0, b"");
        let mut other = StateChanges::default();
        other.delete(7, &key(4_000));
        other.put(7, b"common", b"other");

        let mut buckets: Vec<(u8, BucketChanges)> = changes.into_buckets().collect();
        assert_eq!(buckets.iter().map(|(bucket, _)| *bucket).collect::<Vec<_>>(), [0, 7, 255]);
        assert_eq!(BucketChanges::sorted(&[buckets.pop().unwrap().1]), [(b"".as_slice(), Some(b"".as_slice()))]);
        let parts = [buckets.pop().unwrap().1, other.into_buckets().next().unwrap().1];
        let sorted = BucketChanges::sorted(&parts);
        let mut expected = BTreeMap::from([(b"com".to_vec(), None), (b"common".to_vec(), Some(b"other".to_vec()))]);
        expected.extend((0..5_000).map(|number| {
            let length = if number == 9 { 100_000 } else { number as usize % 50 };
            (key(number), Some(vec![number as u8; length]))
        }));
        assert!(sorted.into_iter().eq(expected.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))));
        assert_eq!(BucketChanges::sorted(&[buckets.pop().unwrap().1]), [(b"".as_slice(), None)]);
        assert_eq!(BucketChanges::sorted(&[]), []);
    }
}
