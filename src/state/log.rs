//! What DML wrote since the last checkpoint: durable before COMMIT returns, replayed at a restart.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use rocksdb::{DB, WriteBatch};

use super::keyspace::{self, LogKey};
use super::store::{Open, Store, read_error, write_unsynced};
use super::{format, keyspace::LOG};
use crate::error::{Error, Result};
use crate::types::{Changes, Epoch, ObjectId};

/// Under what object notes stand: no real one has this number.
pub(super) const NOTES: ObjectId = 0;

/// An entry of the log.
#[derive(Debug)]
pub enum LogEntry {
    /// What was written to an object.
    Changes(ObjectId, Changes),
    /// What the engine has noted of the epoch, before or behind what was written in it.
    Note(Vec<u8>),
}

/// What the log holds of one object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    first: Epoch,
    last: Epoch,
    pub(super) last_sequence: u64,
}

impl Store {
    /// Writes a group of commits in one synced write, and before them a note. When this returns, they survive.
    pub fn append_log(&self, epoch: Epoch, note: Option<Vec<u8>>, writes: &[(ObjectId, Changes)]) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let encoded = writes.iter().map(|(object, changes)| Ok((*object, format::encode_changes(changes)?)));
        let entries = note.map(|note| Ok((NOTES, note))).into_iter().chain(encoded).collect::<Result<Vec<_>>>()?;
        open.write_synced(open.log_entries(epoch, entries));
        Ok(())
    }

    /// Writes a note behind what was written in its epoch. It survives the end of the process at once, and that of the machine with the next
    /// write that is synced.
    pub fn note_behind(&self, epoch: Epoch, note: Vec<u8>) {
        if let Some(open) = &self.open {
            write_unsynced(&open.db, open.log_entries(epoch, vec![(NOTES, note)]));
        }
    }

    /// What was logged for epochs after `after`: by epoch, and within one in the order of writing. Entries are read one by one, since all of
    /// them together may not fit into memory twice.
    pub fn read_log(&self, after: Epoch) -> Result<impl Iterator<Item = Result<(Epoch, LogEntry)>> + '_> {
        let mut keys = match &self.open {
            None => Vec::new(),
            Some(open) => log_keys(open, after)?,
        };
        keys.sort_by_key(|key| (key.epoch, key.sequence));
        Ok(keys.into_iter().map(|key| {
            let (epoch, object) = (key.epoch, key.object);
            let value = self.get(&keyspace::log(key))?;
            let value = value.ok_or_else(|| Error::external("the data directory is damaged", "an entry of the log is missing"))?;
            let entry = if object == NOTES { LogEntry::Note(value) } else { LogEntry::Changes(object, format::decode_changes(&value)?) };
            Ok((epoch, entry))
        }))
    }

    /// The notes for epochs after `after`, in the order of writing.
    pub fn read_notes(&self, after: Epoch) -> Result<impl Iterator<Item = Result<Vec<u8>>> + '_> {
        let keys = match &self.open {
            None => Vec::new(),
            Some(open) => log_keys(open, after)?,
        };
        let notes = keys.into_iter().filter(|key| key.object == NOTES);
        Ok(notes.map(|key| self.get(&keyspace::log(key)).map(Option::unwrap_or_default)))
    }

    /// What the log holds of one object, in the order of writing.
    pub fn read_log_of(&self, object: ObjectId) -> impl Iterator<Item = Result<Changes>> + '_ {
        let entries = self.range(keyspace::of_object(LOG, object), keyspace::after_object(LOG, object));
        entries.map(|entry| format::decode_changes(&entry?.1))
    }

    /// What a sink had still to write at the last checkpoint.
    pub fn owed(&self, object: ObjectId) -> impl Iterator<Item = Result<Changes>> + '_ {
        let parts = self.range(keyspace::of_object(keyspace::OWED, object), keyspace::after_object(keyspace::OWED, object));
        parts.map(|part| format::decode_changes(&part?.1))
    }

    /// The newest epoch that something was logged for; 0 if nothing was.
    pub fn last_logged(&self) -> Epoch {
        self.open.as_ref().and_then(|open| open.logged.lock().values().map(|logged| logged.last).max()).unwrap_or(0)
    }
}

impl Open {
    /// Entries behind those that there are.
    fn log_entries(&self, epoch: Epoch, entries: Vec<(ObjectId, Vec<u8>)>) -> WriteBatch {
        let mut batch = WriteBatch::default();
        let first = self.log_sequence.fetch_add(entries.len() as u64, Ordering::Relaxed);
        let mut logged = self.logged.lock();
        for (sequence, (object, value)) in (first..).zip(entries) {
            batch.put(keyspace::log(LogKey { object, epoch, sequence }), value);
            let logged = logged.entry(object).or_insert(Logged { first: epoch, last: epoch, last_sequence: sequence });
            logged.first = logged.first.min(epoch);
            logged.last = logged.last.max(epoch);
            logged.last_sequence = sequence;
        }
        batch
    }
}

/// The keys of what was logged for epochs after `after`.
fn log_keys(open: &Open, after: Epoch) -> Result<Vec<LogKey>> {
    let mut keys = Vec::new();
    let mut entries = open.db.raw_iterator();
    entries.seek([LOG]);
    while let Some(key) = entries.key().filter(|key| key.first() == Some(&LOG)) {
        let key = keyspace::parse_log(key)?;
        if key.epoch > after {
            keys.push(key);
        }
        entries.next();
    }
    entries.status().map_err(|cause| read_error(&cause))?;
    Ok(keys)
}

/// Adds to `batch` that log entries up to `epoch` go, but for those of the objects in `keep`.
pub(super) fn cut_log(logged: &mut BTreeMap<ObjectId, Logged>, epoch: Epoch, keep: &[ObjectId], batch: &mut WriteBatch) {
    logged.retain(|object, entries| {
        if keep.contains(object) {
            return true;
        }
        if entries.first <= epoch {
            let start = keyspace::of_object(LOG, *object);
            batch.delete_range(start, keyspace::log(LogKey { object: *object, epoch: epoch.saturating_add(1), sequence: 0 }));
            entries.first = epoch.saturating_add(1);
        }
        entries.last > epoch
    });
}

/// Looks up which objects have log entries: two seeks per object, whatever the log's size.
pub(super) fn logged_objects(db: &DB) -> Result<BTreeMap<ObjectId, Logged>> {
    let mut logged = BTreeMap::new();
    let mut entries = db.raw_iterator();
    entries.seek([LOG]);
    while let Some(key) = entries.key().filter(|key| key.first() == Some(&LOG)) {
        let first = keyspace::parse_log(key)?;
        entries.seek_for_prev(keyspace::log(LogKey { object: first.object, epoch: Epoch::MAX, sequence: u64::MAX }));
        let last = match entries.key() {
            Some(key) => keyspace::parse_log(key)?,
            None => break,
        };
        logged.insert(first.object, Logged { first: first.epoch, last: last.epoch, last_sequence: last.sequence });
        entries.seek(keyspace::after_object(LOG, first.object));
    }
    entries.status().map_err(|cause| read_error(&cause))?;
    Ok(logged)
}

#[cfg(test)]
mod tests {
    use super::{LogEntry, NOTES};
    use crate::state::test_directory::TestDirectory;
    use crate::state::{CheckpointData, Store};
    use crate::types::Changes;
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn one(value: i64) -> Changes {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        Changes::insertions(RecordBatch::try_from_iter([("v", column)]).unwrap())
    }

    fn values(store: &Store, after: u64) -> Vec<(u64, u32, i64)> {
        let read = store.read_log(after).unwrap().map(Result::unwrap);
        let value = |changes: &Changes| changes.column(0).as_primitive::<Int64Type>().value(0);
        let values = read.map(|(epoch, entry)| match entry {
            LogEntry::Changes(object, changes) => (epoch, object, value(&changes)),
            LogEntry::Note(note) => (epoch, NOTES, note.len() as i64),
        });
        values.collect()
    }

    #[test]
    fn the_log_reads_back_in_order_and_a_checkpoint_cuts_it() {
        let dir = TestDirectory::new("log");
        let store = Store::open(dir.path()).unwrap();
        store.append_log(5, None, &[(20, one(1)), (10, one(2)), (20, one(3))]).unwrap();
        store.append_log(6, Some(b"noted".to_vec()), &[(10, one(4))]).unwrap();
        assert_eq!(values(&store, 0), [(5, 20, 1), (5, 10, 2), (5, 20, 3), (6, 0, 5), (6, 10, 4)]);
        drop(store);

        let store = Store::open(dir.path()).unwrap();
        store.append_log(6, None, &[(20, one(5))]).unwrap();
        store.checkpoint(CheckpointData { epoch: 5, workers: 1, ..CheckpointData::default() });
        assert_eq!(values(&store, 0), [(6, 0, 5), (6, 10, 4), (6, 20, 5)]);
        store.put_objects(&[], &[10]).unwrap();
        assert_eq!(values(&store, 0), [(6, 0, 5), (6, 20, 5)]);
        store.checkpoint(CheckpointData { epoch: 6, workers: 1, ..CheckpointData::default() });
        assert_eq!(values(&store, 0), []);
        assert_eq!(Store::in_memory().read_log(0).unwrap().count(), 0);
    }
}
