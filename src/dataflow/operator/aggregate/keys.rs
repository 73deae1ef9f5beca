//! The table from group keys to slots: a slot is where everything that is kept of the group has its place.
//!
//! Keys of up to four columns of at most 64 bits are kept as words; all others as bytes in Arrow's row format. The hash table holds
//! nothing but slots and hashes. A hash of one word says which word it is; other keys are looked up in their column. So a group of one bigint costs 8
//! bytes for its key and 16 to 24 for the table.
//! The table's hash is its own: rows of one worker agree in some bits of `hash_rows`, which would crowd the table.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use super::codec::{Reader, damaged};
use super::segments::Segments;
use super::value::{Shape, array_of_words, fold, hash_bytes, shape, words};
use crate::dataflow::operator::rows::part_ranges;
use crate::dataflow::operator::slot_table::{HalfTable, WholeTable, spread};
use crate::error::{Error, Kind, Result};
use crate::types::{canonical_floats, decode_rows, hash_value};

/// Finds groups, makes new ones and gives their keys back.
pub(in crate::dataflow::operator) trait KeyTable {
    /// The slot of every row's group, pushed to `slots`; groups that are not there get one.
    fn locate(&mut self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()>;
    /// The slot of the group with an encoded key.
    fn locate_encoded(&mut self, key: &[u8]) -> Result<u32>;
    /// Writes the group's key, from which `locate_encoded` finds it again.
    fn encode(&self, slot: u32, output: &mut Vec<u8>);
    /// The keys of groups, as columns.
    fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>>;
    /// Bytes of a group's key as it is read back, about.
    fn key_bytes(&self, slot: u32) -> usize;
    /// Cuts a list of groups into parts whose keys can be read back at once.
    fn blocks<'a>(&self, slots: &'a [u32]) -> Vec<&'a [u32]> {
        part_ranges(slots.len(), |at| self.key_bytes(slots[at])).into_iter().map(|range| &slots[range]).collect()
    }
    /// Forgets a group; its slot will be given to another.
    fn remove(&mut self, slot: u32);
    /// Forgets all groups.
    fn clear(&mut self);
    /// All slots are below this.
    fn end(&self) -> usize;
    /// Bytes of memory.
    fn bytes(&self) -> usize;
}

/// The table that fits the key columns' types.
pub(in crate::dataflow::operator) fn key_table(types: &[DataType]) -> Result<Box<dyn KeyTable>> {
    if types.is_empty() {
        return Ok(Box::new(NoKey));
    }
    if types.len() <= 4 && types.iter().all(|data_type| shape(data_type) == Shape::Word) {
        return Ok(match types.len() {
            1 => Box::new(WordKeys::<1>::new(types)),
            2 => Box::new(WordKeys::<2>::new(types)),
            3 => Box::new(WordKeys::<3>::new(types)),
            _ => Box::new(WordKeys::<4>::new(types)),
        });
    }
    Ok(Box::new(RowKeys::new(types)?))
}

/// Rows whose cache misses overlap: as many as a core has loads in flight, a few times over.
const BLOCK_ROWS: usize = 64;

/// The one group of a global aggregate: slot 0.
struct NoKey;

impl KeyTable for NoKey {
    fn locate(&mut self, _columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        slots.resize(slots.len() + rows, 0);
        Ok(())
    }

    fn locate_encoded(&mut self, key: &[u8]) -> Result<u32> {
        if key.is_empty() { Ok(0) } else { Err(damaged()) }
    }

    fn encode(&self, _slot: u32, _output: &mut Vec<u8>) {}

    fn columns(&self, _slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(Vec::new())
    }

    fn key_bytes(&self, _slot: u32) -> usize {
        0
    }

    fn remove(&mut self, _slot: u32) {}

    fn clear(&mut self) {}

    fn end(&self) -> usize {
        1
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// Hands out slot numbers, freed ones first.
#[derive(Default)]
struct Slots {
    free: Vec<u32>,
    end: u32,
}

impl Slots {
    /// Fails beyond 2^32 - 1 groups.
    fn take(&mut self) -> Result<u32> {
        if let Some(slot) = self.free.pop() {
            return Ok(slot);
        }
        let slot = self.end;
        self.end = slot.checked_add(1).ok_or_else(|| Error::new(Kind::LimitExceeded, "more than 4294967295 groups on one worker"))?;
        Ok(slot)
    }
}

/// Keys of `N` columns of at most 64 bits.
struct WordKeys<const N: usize> {
    types: Vec<DataType>,
    table: WholeTable,
    keys: Segments<[u64; N]>,
    /// Bit `i`: column `i` is NULL (and its word 0). Grown with the first NULL.
    nulls: Option<Segments<u8>>,
    slots: Slots,
}

/// Of one word, a hash that no other word has, and in which keys at equal distances, such as those of time windows, do not lie beside each other.
#[inline]
fn hash_key<const N: usize>(key: &[u64; N], nulls: u8) -> u64 {
    match key.as_slice() {
        [word] => spread(hash_value(*word)),
        words => words.iter().fold(u64::from(nulls), |hash, word| fold(hash ^ *word)),
    }
}

impl<const N: usize> WordKeys<N>
where
    [u64; N]: Default,
{
    /// Whether keys with one hash are the same, so that nobody need look at them.
    const EXACT: bool = N == 1;

    fn new(types: &[DataType]) -> Self {
        WordKeys { types: types.to_vec(), table: WholeTable::default(), keys: Segments::new(), nulls: None, slots: Slots::default() }
    }

    #[inline]
    fn find_or_insert(&mut self, key: [u64; N], nulls: u8, hash: u64) -> Result<u32> {
        match self.table.find(hash, |slot| (Self::EXACT || self.keys[slot] == key) && self.null_mask(slot) == nulls) {
            Some(slot) => Ok(slot),
            None => self.insert(key, nulls, hash),
        }
    }

    #[cold]
    fn insert(&mut self, key: [u64; N], nulls: u8, hash: u64) -> Result<u32> {
        let slot = self.slots.take()?;
        self.table.insert(hash, slot);
        self.keys.grow(slot as usize + 1);
        self.keys[slot] = key;
        if let Some(masks) = &mut self.nulls {
            masks.grow(slot as usize + 1);
            masks[slot] = nulls;
        }
        Ok(slot)
    }

    fn expect_nulls(&mut self) {
        let end = self.slots.end as usize;
        self.nulls.get_or_insert_with(Segments::new).grow(end);
    }

    fn null_mask(&self, slot: u32) -> u8 {
        self.nulls.as_ref().map_or(0, |masks| masks[slot])
    }
}

impl<const N: usize> KeyTable for WordKeys<N>
where
    [u64; N]: Default,
{
    fn locate(&mut self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        slots.reserve(rows);
        let mut masks = None;
        let mut words = columns.iter().map(words).collect::<Result<Vec<_>>>()?;
        for (index, column) in columns.iter().enumerate() {
            let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) else { continue };
            let masks = masks.get_or_insert_with(|| vec![0_u8; rows]);
            for row in (0..rows).filter(|row| nulls.is_null(*row)) {
                masks[row] |= 1 << index;
                words[index][row] = 0;
            }
        }
        if masks.is_some() {
            self.expect_nulls();
        }
        let key = |row: usize| -> [u64; N] { std::array::from_fn(|index| words[index][row]) };
        let mask = |row: usize| masks.as_ref().map_or(0, |masks| masks[row]);
        let mut hashes = [0; BLOCK_ROWS];
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let block = BLOCK_ROWS.min(rows - start);
            for (row, hash) in hashes[..block].iter_mut().enumerate() {
                *hash = hash_key(&key(start + row), mask(start + row));
            }
            if Self::EXACT {
                self.table.touch(&hashes[..block]);
            } else {
                self.table.touch_keys(&hashes[..block], |slot| self.keys[slot][0]);
            }
            for (row, hash) in hashes[..block].iter().enumerate() {
                slots.push(self.find_or_insert(key(start + row), mask(start + row), *hash)?);
            }
        }
        Ok(())
    }

    fn locate_encoded(&mut self, key: &[u8]) -> Result<u32> {
        let mut reader = Reader(key);
        let [nulls] = reader.array()?;
        let mut key = [0; N];
        for word in &mut key {
            *word = u64::from_le_bytes(reader.array()?);
        }
        if nulls != 0 {
            self.expect_nulls();
        }
        self.find_or_insert(key, nulls, hash_key(&key, nulls))
    }

    fn encode(&self, slot: u32, output: &mut Vec<u8>) {
        output.push(self.null_mask(slot));
        for word in self.keys[slot] {
            output.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let column = |(index, data_type): (usize, &DataType)| {
            let values = slots.iter().map(|slot| (self.null_mask(*slot) & (1 << index) == 0).then(|| self.keys[*slot][index]));
            array_of_words(values, data_type)
        };
        self.types.iter().enumerate().map(column).collect()
    }

    fn key_bytes(&self, _slot: u32) -> usize {
        size_of::<[u64; N]>()
    }

    fn remove(&mut self, slot: u32) {
        self.table.remove(hash_key(&self.keys[slot], self.null_mask(slot)), slot);
        self.slots.free.push(slot);
    }

    fn clear(&mut self) {
        self.table.clear();
        self.nulls = None;
        self.slots = Slots::default();
    }

    fn end(&self) -> usize {
        self.slots.end as usize
    }

    fn bytes(&self) -> usize {
        self.table.bytes()
            + self.keys.bytes()
            + self.nulls.as_ref().map_or(0, Segments::bytes)
            + self.slots.free.capacity() * size_of::<u32>()
    }
}

/// Keys of any columns, in Arrow's row format.
struct RowKeys {
    converter: RowConverter,
    table: HalfTable,
    keys: Segments<Box<[u8]>>,
    slots: Slots,
    key_bytes: usize,
}

impl RowKeys {
    fn new(types: &[DataType]) -> Result<Self> {
        let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
        let converter = RowConverter::new(fields)?;
        Ok(RowKeys { converter, table: HalfTable::default(), keys: Segments::new(), slots: Slots::default(), key_bytes: 0 })
    }

    fn find_or_insert(&mut self, key: &[u8], hash: u64) -> Result<u32> {
        if let Some(slot) = self.table.find(hash, |slot| *self.keys[slot] == *key) {
            return Ok(slot);
        }
        let slot = self.slots.take()?;
        self.table.insert(hash, slot);
        self.keys.grow(slot as usize + 1);
        self.keys[slot] = key.into();
        self.key_bytes += key.len();
        Ok(slot)
    }
}

impl KeyTable for RowKeys {
    fn locate(&mut self, columns: &[ArrayRef], rows: usize, slots: &mut Vec<u32>) -> Result<()> {
        slots.reserve(rows);
        let columns: Vec<ArrayRef> = columns.iter().map(|column| canonical_floats(Arc::clone(column))).collect();
        let encoded = self.converter.convert_columns(&columns)?;
        let mut hashes = [0; BLOCK_ROWS];
        for start in (0..rows).step_by(BLOCK_ROWS) {
            let block = BLOCK_ROWS.min(rows - start);
            for (row, hash) in hashes[..block].iter_mut().enumerate() {
                *hash = hash_bytes(encoded.row(start + row).as_ref());
            }
            self.table.touch_keys(&hashes[..block], |slot| self.keys[slot].first().copied().map_or(0, u64::from));
            for (row, hash) in hashes[..block].iter().enumerate() {
                slots.push(self.find_or_insert(encoded.row(start + row).as_ref(), *hash)?);
            }
        }
        Ok(())
    }

    fn locate_encoded(&mut self, key: &[u8]) -> Result<u32> {
        self.find_or_insert(key, hash_bytes(key))
    }

    fn encode(&self, slot: u32, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.keys[slot]);
    }

    fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        decode_rows(&self.converter, slots.iter().map(|slot| self.keys[*slot].as_ref()))
    }

    fn key_bytes(&self, slot: u32) -> usize {
        self.keys[slot].len()
    }

    fn remove(&mut self, slot: u32) {
        self.table.remove(hash_bytes(&self.keys[slot]), slot);
        self.key_bytes -= self.keys[slot].len();
        self.keys[slot] = Box::default();
        self.slots.free.push(slot);
    }

    fn clear(&mut self) {
        self.table.clear();
        self.slots = Slots::default();
        self.key_bytes = 0;
    }

    fn end(&self) -> usize {
        self.slots.end as usize
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.keys.bytes() + self.key_bytes + self.slots.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::hash_key;
    use crate::dataflow::operator::slot_table::WholeTable;

    /// Multiplied alone, keys at some distances came to lie side by side, and a lookup read hundreds of entries.
    #[test]
    fn keys_at_equal_distances_are_found_near_their_homes() {
        let minute = 60_000_000;
        for stride in [1, 144, 1 << 16, 832_040, minute, 5 * minute, 10 * minute, 60 * minute, 400_000_000, 1 << 40] {
            let mut table = WholeTable::default();
            for group in 0..5_000_u32 {
                table.insert(hash_key(&[(1 << 63) + 1_700_000_000_000_000 + u64::from(group) * stride], 0), group);
            }
            // Of random keys 80 where seven tenths of the entries are in use.
            assert!(table.away_from_home() <= 200, "stride {stride}: {} of 1,000 away from home", table.away_from_home());
        }
    }
}
