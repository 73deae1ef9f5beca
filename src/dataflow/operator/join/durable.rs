//! The rows of one side as entries of a checkpoint, and back.
//!
//! ```text
//! a side that can lose rows     key: side, row bytes            value: weight, partners
//! an append-only side           key: side | 2, number (8 bytes) value: partners, row bytes
//! ```
//!
//! Weight and partners are zigzag varints; partners are there on sides that count them.
//!
//! Row bytes are Arrow's row format over all columns. Append-only rows need no identity, so they get numbers: those are unique within a
//! bucket, since a worker counts on from the highest number among the entries of its buckets. The bucket is that of the key's hash, or of
//! no key at all where the inputs were not moved by their keys but are all on one worker (NOT IN).

use std::mem::take;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::row::{RowConverter, SortField};

use super::partners::Partners;
use super::side::Side;
use crate::dataflow::operator::rows::{PART_BYTES, PART_ROWS};
use crate::error::{Error, Result};
use crate::state::StateChanges;
use crate::types::{Changes, all_nullable, bucket, decode_rows};

/// Marks the keys of append-only sides.
const NUMBERED: u8 = 2;

/// What the entries of a side have in common.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Their keys start with it.
    pub(super) tag: u8,
    /// All rows are on one worker, whatever their keys.
    pub(super) on_one_worker: bool,
}

impl Place {
    fn bucket(self, hash: u64) -> u8 {
        bucket(if self.on_one_worker { 0 } else { hash })
    }
}

/// Hands over what changed on `side`, and of the partners of its rows.
pub(super) fn checkpoint(side: &mut Side, partners: Option<&Partners>, place: Place, changes: &mut StateChanges) -> Result<()> {
    match side.ledger.is_some() {
        true => checkpoint_weighted(side, partners, place, changes),
        false => checkpoint_numbered(side, partners, place, changes),
    }
}

fn checkpoint_numbered(side: &mut Side, partners: Option<&Partners>, place: Place, changes: &mut StateChanges) -> Result<()> {
    if let Some(expiry) = &mut side.expiry {
        expiry.unsaid().for_each(|(hash, number)| changes.delete(place.bucket(hash), &numbered(place, number)));
    }
    let keeps_numbers = partners.is_some() || side.expiry.is_some();
    let mut rows: Vec<u32> = side.recounted.drain().collect();
    rows.sort_unstable();
    rows.extend(side.unsaved as u32..side.rows.len() as u32);
    for part in side.rows.parts(&rows, |row| *row) {
        for (row, bytes) in part.iter().zip(encode(side, part)?) {
            let number = if (*row as usize) < side.unsaved {
                side.numbers[*row as usize]
            } else {
                side.sequence += 1;
                if keeps_numbers {
                    side.numbers.push(side.sequence - 1);
                }
                side.sequence - 1
            };
            if side.weight(*row) == 0 {
                continue;
            }
            let key = numbered(place, number);
            let mut value = partners.map_or_else(Vec::new, |partners| varint(partners.count(*row)));
            value.extend_from_slice(&bytes);
            changes.put(place.bucket(side.key_hash(*row)), &key, &value);
        }
    }
    side.unsaved = side.rows.len();
    Ok(())
}

/// The key of a row of an append-only side.
fn numbered(place: Place, number: u64) -> [u8; 9] {
    let mut key = [place.tag | NUMBERED; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn checkpoint_weighted(side: &mut Side, partners: Option<&Partners>, place: Place, changes: &mut StateChanges) -> Result<()> {
    let Some(ledger) = &mut side.ledger else { return Ok(()) };
    let concerned = ledger.settle(|row| side.chains.links.weight(row) != 0);
    for part in side.rows.parts(&concerned, |row| *row) {
        let encoded = encode(side, part)?;
        for (row, bytes) in part.iter().zip(encoded) {
            let mut key = vec![place.tag];
            key.extend_from_slice(&bytes);
            let bucket = place.bucket(side.key_hash(*row));
            match side.weight(*row) {
                // A row that went and came again has two numbers here, but only one key: what is put stays.
                0 => changes.delete(bucket, &key),
                weight => {
                    let mut value = varint(weight);
                    value.extend(partners.into_iter().flat_map(|partners| varint(partners.count(*row))));
                    changes.put(bucket, &key, &value);
                }
            }
        }
    }
    Ok(())
}

/// Collects entries of one side and inserts them a batch at a time.
pub(super) struct Restore {
    converter: Option<RowConverter>,
    rows: Vec<Vec<u8>>,
    bytes: usize,
    weights: Vec<i64>,
    partners: Vec<i64>,
    /// Of an append-only side.
    numbers: Vec<u64>,
}

impl Restore {
    pub(super) fn new(side: &Side) -> Result<Self> {
        let converter = converter(side)?;
        Ok(Restore { converter, rows: Vec::new(), bytes: 0, weights: Vec::new(), partners: Vec::new(), numbers: Vec::new() })
    }

    /// Takes one entry of `side`, whose key started with `tag` and goes on with `key`.
    pub(super) fn push(&mut self, side: &mut Side, partners: &mut Option<Partners>, tag: u8, key: &[u8], mut value: &[u8]) -> Result<()> {
        let weight = if side.ledger.is_some() { read_varint(&mut value).ok_or_else(damaged)? } else { 1 };
        if partners.is_some() {
            self.partners.push(read_varint(&mut value).ok_or_else(damaged)?);
        }
        let row = match (&side.ledger, tag & NUMBERED != 0) {
            (None, true) => {
                let number = key.try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
                side.sequence = side.sequence.max(number + 1);
                self.numbers.push(number);
                value
            }
            (Some(_), false) => {
                self.weights.push(weight);
                key
            }
            _ => return Err(Error::internal("the stored state of a join is that of another plan")),
        };
        self.rows.push(row.to_vec());
        self.bytes += row.len();
        if self.rows.len() == PART_ROWS || self.bytes >= PART_BYTES { self.flush(side, partners) } else { Ok(()) }
    }

    /// Inserts what was collected; the rows count as saved.
    pub(super) fn flush(&mut self, side: &mut Side, partners: &mut Option<Partners>) -> Result<()> {
        let columns: Vec<ArrayRef> = match &self.converter {
            Some(converter) => decode_rows(converter, self.rows.iter().map(Vec::as_slice))?,
            None => Vec::new(),
        };
        let count = self.rows.len();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(all_nullable(&side.schema), columns, &options)?;
        let weights = side.ledger.is_some().then(|| Int64Array::from(take(&mut self.weights)));
        self.rows.clear();
        self.bytes = 0;
        let before = side.rows.len();
        if let Some(arrived) = side.admit(Changes::new(rows, weights))? {
            side.insert(&arrived, None)?;
        }
        if partners.is_some() || side.expiry.is_some() {
            // A row that was left out would shift all that follow.
            if side.rows.len() - before != count {
                return Err(damaged());
            }
            side.numbers.append(&mut self.numbers);
        }
        if let Some(partners) = partners {
            self.partners.drain(..).for_each(|count| partners.restore(count));
        }
        self.numbers.clear();
        side.unsaved = side.rows.len();
        // The checkpoint that they come from knows all of them.
        side.ledger.iter_mut().for_each(|ledger| drop(ledger.settle(|row| side.chains.links.weight(row) != 0)));
        Ok(())
    }
}

/// The row bytes of these rows.
fn encode(side: &Side, rows: &[u32]) -> Result<Vec<Vec<u8>>> {
    let Some(converter) = converter(side)? else {
        return Ok(vec![Vec::new(); rows.len()]);
    };
    let encoded = converter.convert_columns(&side.rows.gather_all(rows)?)?;
    Ok(encoded.iter().map(|row| row.as_ref().to_vec()).collect())
}

/// None for rows without columns, which a converter cannot count.
fn converter(side: &Side) -> Result<Option<RowConverter>> {
    let fields: Vec<SortField> = side.schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    if fields.is_empty() { Ok(None) } else { Ok(Some(RowConverter::new(fields)?)) }
}

fn damaged() -> Error {
    Error::internal("an entry of a join's stored state is damaged")
}

/// Zigzag, then seven bits a byte with the lowest first.
fn varint(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::with_capacity(1);
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Takes a varint off the front of `bytes`.
fn read_varint(bytes: &mut &[u8]) -> Option<i64> {
    let length = 1 + bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let (mine, rest) = bytes.split_at(length);
    *bytes = rest;
    let raw = mine.iter().rev().fold(0_u64, |value, byte| (value << 7) | u64::from(byte & 0x7F));
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::{read_varint, varint};

    #[test]
    fn weights_survive() {
        for weight in [0, 1, -1, 63, 64, -65, 1_000_000, i64::MAX, i64::MIN] {
            assert_eq!(read_varint(&mut &varint(weight)[..]), Some(weight));
        }
        assert_eq!(varint(1).len(), 1);
    }
}
