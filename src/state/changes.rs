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

use crate::error::{Error, Kind, Result};

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
    /// Those that changed, in the order of their numbers: most operators have few groups, or are one of thousands.
    buckets: Vec<(u8, BucketChanges)>,
    /// A key or value was left out.
    is_too_large: bool,
}

/// What changed in one bucket of an operator's state.
#[derive(Debug, Default)]
pub(super) struct BucketChanges {
    blocks: Vec<Vec<u8>>,
}

/// The changes of one bucket by key. There may be as many as an operator has state, if it has one group: each is 16 bytes beside its own.
pub(super) struct Sorted {
    blocks: Vec<Vec<u8>>,
    order: Vec<At>,
}

struct At {
    /// What stands behind the bytes that all keys share: it tells most keys apart without a look at them.
    word: u64,
    block: u32,
    /// Changes that are larger than a block begin one.
    start: u32,
}

/// A key, and its value; `None` if it is gone.
pub(super) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// The first block of a bucket: an operator with a few groups has a few entries in each of some buckets.
const FIRST_BLOCK_BYTES: usize = 64;

/// Half of the last block of each bucket is empty in the mean: 8 MiB of an operator with very many groups.
const BLOCK_BYTES: usize = 64 << 10;

/// Of a change: the lengths of key and value.
const HEADER_BYTES: usize = 8;

/// In the place of a value's length.
const GONE: u32 = u32::MAX;

impl StateChanges {
    /// An entry that is new or different.
    pub fn put(&mut self, bucket: u8, key: &[u8], value: &[u8]) {
        self.push(bucket, key, Some(value));
    }

    /// An entry that is gone.
    pub fn delete(&mut self, bucket: u8, key: &[u8]) {
        self.push(bucket, key, None);
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Whether all changes are in it: none has a key or value that the store cannot take.
    pub fn complete(&self) -> Result<()> {
        match self.is_too_large {
            true => Err(Error::new(Kind::LimitExceeded, "a view's state has an entry of 4 GiB, which cannot be stored")
                .hint("Put less into one group: a filter or a further grouping column makes it smaller.")),
            false => Ok(()),
        }
    }

    /// The buckets that changed.
    pub(super) fn into_buckets(self) -> impl Iterator<Item = (u8, BucketChanges)> {
        self.buckets.into_iter()
    }

    fn push(&mut self, bucket: u8, key: &[u8], value: Option<&[u8]>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).ok().filter(|length| *length < GONE);
        let (Some(key_length), Some(value_length)) = (length(key), value.map_or(Some(GONE), length)) else {
            self.is_too_large = true;
            return;
        };
        let place = self.buckets.binary_search_by_key(&bucket, |(number, _)| *number).unwrap_or_else(|place| {
            self.buckets.insert(place, (bucket, BucketChanges::default()));
            place
        });
        self.buckets[place].1.push([key_length, value_length], key, value.unwrap_or_default());
    }
}

impl BucketChanges {
    fn push(&mut self, lengths: [u32; 2], key: &[u8], value: &[u8]) {
        let needed = HEADER_BYTES + key.len() + value.len();
        if self.blocks.last().is_none_or(|block| block.capacity() - block.len() < needed) {
            let usual = self.blocks.last().map_or(FIRST_BLOCK_BYTES, |block| (block.capacity() * 2).min(BLOCK_BYTES));
            self.blocks.push(Vec::with_capacity(usual.max(needed)));
        }
        let block = self.blocks.last_mut().expect("there is room in the last block");
        lengths.iter().for_each(|length| block.extend_from_slice(&length.to_le_bytes()));
        block.extend_from_slice(key);
        block.extend_from_slice(value);
    }
}

impl Sorted {
    /// The changes of one bucket that several have told.
    pub(super) fn new(parts: Vec<BucketChanges>) -> Sorted {
        let blocks: Vec<Vec<u8>> = parts.into_iter().flat_map(|part| part.blocks).collect();
        let mut sorted = Sorted { order: Vec::new(), blocks };
        let mut all: Vec<At> = Vec::new();
        for (block, bytes) in (0..).zip(&sorted.blocks) {
            let mut start = 0;
            while let Some((key, value)) = read(&bytes[start..]) {
                all.push(At { word: 0, block, start: start as u32 });
                start += HEADER_BYTES + key.len() + value.map_or(0, <[u8]>::len);
            }
        }
        let Some(first) = all.first().map(|at| sorted.change(at).0) else { return sorted };
        let as_first = |key: &[u8], shared: usize| first[..shared].iter().zip(key).take_while(|(a, b)| a == b).count();
        let shared = all.iter().fold(first.len(), |shared, at| as_first(sorted.change(at).0, shared));
        all.iter_mut().for_each(|at| at.word = first_word(&sorted.change(at).0[shared..]));
        all.sort_unstable_by(|left, right| {
            left.word.cmp(&right.word).then_with(|| {
                let ((left, put), (right, other_put)) = (sorted.change(left), sorted.change(right));
                left.cmp(right).then_with(|| put.is_none().cmp(&other_put.is_none()))
            })
        });
        all.dedup_by(|next, kept| next.word == kept.word && sorted.change(next).0 == sorted.change(kept).0);
        sorted.order = all;
        sorted
    }

    /// One change for each key, in the order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.order.iter().map(|at| self.change(at))
    }

    fn change(&self, at: &At) -> Change<'_> {
        read(&self.blocks[at.block as usize][at.start as usize..]).expect("it was found there")
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

    use super::{BucketChanges, HEADER_BYTES, Sorted, StateChanges, StateEntry, read};
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

        /// As `apply`, of an operator that may delete what came and went between two checkpoints, but tells of each key once.
        pub(crate) fn apply_loosely(&mut self, changes: StateChanges) {
            let blocks = changes.buckets.iter().flat_map(|(_, bucket)| &bucket.blocks);
            let told: usize = blocks.map(|block| told(block)).sum();
            let (puts, deletes, missing) = self.take(changes);
            assert_eq!(puts + deletes + missing, told, "a key stands in a checkpoint once");
        }

        fn take(&mut self, changes: StateChanges) -> (usize, usize, usize) {
            let (mut puts, mut deletes, mut missing) = (0, 0, 0);
            for (bucket, changes) in changes.into_buckets() {
                for (key, value) in Sorted::new(vec![changes]).iter() {
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

    /// How many changes a block holds.
    fn told(mut block: &[u8]) -> usize {
        let mut count = 0;
        while let Some((key, value)) = read(block) {
            block = &block[HEADER_BYTES + key.len() + value.map_or(0, <[u8]>::len)..];
            count += 1;
        }
        count
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

        assert!(changes.complete().is_ok());
        let mut buckets: Vec<(u8, BucketChanges)> = changes.into_buckets().collect();
        assert_eq!(buckets.iter().map(|(bucket, _)| *bucket).collect::<Vec<_>>(), [0, 7, 255]);
        let is = |parts: Vec<BucketChanges>, expected: &BTreeMap<Vec<u8>, Option<Vec<u8>>>| {
            Sorted::new(parts).iter().eq(expected.iter().map(|(key, value)| (key.as_slice(), value.as_deref())))
        };
        assert!(is(vec![buckets.pop().unwrap().1], &BTreeMap::from([(Vec::new(), Some(Vec::new()))])));
        let mut expected = BTreeMap::from([(b"com".to_vec(), None), (b"common".to_vec(), Some(b"other".to_vec()))]);
        expected.extend((0..5_000).map(|number| {
            let length = if number == 9 { 100_000 } else { number as usize % 50 };
            (key(number), Some(vec![number as u8; length]))
        }));
        assert!(is(vec![buckets.pop().unwrap().1, other.into_buckets().next().unwrap().1], &expected));
        assert!(is(vec![buckets.pop().unwrap().1], &BTreeMap::from([(Vec::new(), None)])));
        assert!(is(Vec::new(), &BTreeMap::new()));
    }
}
