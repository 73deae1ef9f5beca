//! The one list of what stands in the data directory: the first byte of a key says what it is. `docs/format.md` draws it.
//!
//! Numbers in keys are big-endian, so that keys sort as numbers do. What belongs to an object starts with its number behind the first byte:
//! dropping the object is one range per kind.

use crate::error::{Error, Result};
use crate::types::{Epoch, ObjectId, OperatorId};

/// The newest checkpoint: epoch u64, workers u32.
pub(super) const CHECKPOINT: u8 = b'C';
/// Object, shard, page, start → which rows of a block are not there, a bit each.
pub(super) const DEAD: u8 = b'D';
/// Object, name → what is told of it.
pub(super) const REPORT: u8 = b'E';
/// Name → a small fact.
pub(super) const FACT: u8 = b'F';
/// Object, epoch, sequence → changes written by DML since the checkpoint.
pub(super) const LOG: u8 = b'L';
/// Object → its definition.
pub(super) const OBJECT: u8 = b'O';
/// Object → the source positions of the checkpoint.
pub(super) const POSITION: u8 = b'P';
/// Object, number → changes that a sink has still to write, as of the checkpoint.
pub(super) const OWED: u8 = b'Q';
/// Object, shard, page, start → a block of rows.
pub(super) const ROWS: u8 = b'R';
/// Object, node, bucket, key → operator state.
pub(super) const STATE: u8 = b'S';
/// Object → how many shards its rows were stored from, u16.
pub(super) const SHARDS: u8 = b'T';
/// The format's version, u32.
pub(super) const VERSION: u8 = b'V';
/// What the newest large checkpoint cuts of the log, as a write.
pub(super) const LOG_CUT: u8 = b'W';

/// The kinds of keys that start with an object's number, except its definition.
pub(super) const OF_OBJECT: [u8; 8] = [DEAD, REPORT, LOG, POSITION, OWED, ROWS, STATE, SHARDS];

/// Where a stored block of rows belongs: it holds the rows of a shard's page from place `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockId {
    pub(super) shard: u16,
    pub(super) page: u16,
    pub(super) start: u16,
}

/// Where a log entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogKey {
    pub(super) object: ObjectId,
    pub(super) epoch: Epoch,
    pub(super) sequence: u64,
}

/// The kind's byte and an object's number: a key, or what keys of the object start with.
pub(super) fn of_object(kind: u8, object: ObjectId) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(object.to_be_bytes());
    key
}

/// Where the keys of a kind and object end (exclusive).
pub(super) fn after_object(kind: u8, object: ObjectId) -> Vec<u8> {
    match object.checked_add(1) {
        Some(next) => of_object(kind, next),
        None => vec![kind + 1],
    }
}

/// A fact's key.
pub(super) fn fact(name: &str) -> Vec<u8> {
    let mut key = vec![FACT];
    key.extend(name.as_bytes());
    key
}

/// The key of a part of what a sink owes.
pub(super) fn owed(object: ObjectId, part: u32) -> Vec<u8> {
    let mut key = of_object(OWED, object);
    key.extend(part.to_be_bytes());
    key
}

/// The key of an entry of what is told of an object.
pub(super) fn report(object: ObjectId, entry: &[u8]) -> Vec<u8> {
    let mut key = of_object(REPORT, object);
    key.extend(entry);
    key
}

/// The key of a block's rows or of its dead rows.
pub(super) fn block(kind: u8, object: ObjectId, id: BlockId) -> Vec<u8> {
    let mut key = of_object(kind, object);
    key.extend(id.shard.to_be_bytes());
    key.extend(id.page.to_be_bytes());
    key.extend(id.start.to_be_bytes());
    key
}

/// Reads a block's key.
pub(super) fn parse_block(key: &[u8]) -> Result<BlockId> {
    let mut key = Reader::after(key, 1 + 4);
    Ok(BlockId { shard: u16::from_be_bytes(key.take()?), page: u16::from_be_bytes(key.take()?), start: u16::from_be_bytes(key.take()?) })
}

/// A log entry's key.
pub(super) fn log(entry: LogKey) -> Vec<u8> {
    let mut key = of_object(LOG, entry.object);
    key.extend(entry.epoch.to_be_bytes());
    key.extend(entry.sequence.to_be_bytes());
    key
}

/// Reads a log entry's key.
pub(super) fn parse_log(key: &[u8]) -> Result<LogKey> {
    let mut key = Reader::after(key, 1);
    Ok(LogKey {
        object: ObjectId::from_be_bytes(key.take()?),
        epoch: Epoch::from_be_bytes(key.take()?),
        sequence: u64::from_be_bytes(key.take()?),
    })
}

/// Reads the object of a key that starts with one.
pub(super) fn parse_object(key: &[u8]) -> Result<ObjectId> {
    Ok(ObjectId::from_be_bytes(Reader::after(key, 1).take()?))
}

/// What the keys of an operator's bucket start with.
pub(super) fn bucket(operator: OperatorId, bucket: u8) -> Vec<u8> {
    let mut key = of_object(STATE, operator.object);
    key.extend(operator.node.to_be_bytes());
    key.push(bucket);
    key
}

/// Reads fixed-width numbers off a key or value.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts behind the first `bytes`.
    pub(super) fn after(key: &'a [u8], bytes: usize) -> Self {
        Reader(key.get(bytes..).unwrap_or_default())
    }

    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) =
            self.0.split_first_chunk::<N>().ok_or_else(|| Error::external("the data directory is damaged", "a short key or value"))?;
        self.0 = rest;
        Ok(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockId, LOG, LogKey, ROWS, after_object, block, log, of_object, parse_block, parse_log};

    #[test]
    fn keys_read_back_and_lie_within_their_object() {
        let id = BlockId { shard: 3, page: 700, start: 65_535 };
        let key = block(ROWS, 16_384, id);
        assert_eq!(parse_block(&key).unwrap(), id);
        assert!(of_object(ROWS, 16_384) <= key && key < after_object(ROWS, 16_384));
        let entry = LogKey { object: u32::MAX, epoch: 5, sequence: u64::MAX };
        assert_eq!(parse_log(&log(entry)).unwrap(), entry);
        assert!(log(entry) < after_object(LOG, u32::MAX));
        assert!(parse_log(b"L12").is_err());
    }
}
