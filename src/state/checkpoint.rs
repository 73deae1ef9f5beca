//! Old or new checkpoint, never a mix.
//!
//! A checkpoint of ordinary size is one atomic, synced write. One that is larger would have to be held in memory as a whole, so it is first
//! written to a journal in parts of bounded size, then declared whole by one small synced write, and only then carried out, part by part:
//!
//! ```text
//!  J 0, J 1, J 2, …   parts: puts and deletes, as bytes       a crash here: the parts are thrown away, the old checkpoint stands
//!  K = how many       synced: from here on it has happened    a crash here: a restart carries all parts out, again if need be
//!  part 0, part 1, …  carried out in order
//!  delete K and J     synced
//! ```
//!
//! Carrying parts out twice gives what once gives, since each key's last word is the same.

use rocksdb::{DB, WriteBatch};

use super::blocks::RelationDelta;
use super::changes::{ReportChanges, StateChanges};
use super::format;
use super::keyspace::{self, ROWS};
use super::log::cut_log;
use super::store::{Store, fatal, read_error, write_synced, write_unsynced};
use crate::error::Result;
use crate::types::{Changes, Epoch, ObjectId, OperatorId};

/// A part of a large checkpoint, in bytes (a single block of rows may be larger).
#[cfg(not(test))]
const PART_BYTES: usize = 16 << 20;

/// In tests, small enough that they write several.
#[cfg(test)]
const PART_BYTES: usize = 16 << 10;

/// Everything that one checkpoint stores.
#[derive(Debug, Default)]
pub struct CheckpointData {
    /// All changes up to this epoch are in it, and no other.
    pub epoch: Epoch,
    /// How many workers ran.
    pub workers: usize,
    /// What changed in operators. An operator may stand in it several times, once per worker.
    pub operators: Vec<(OperatorId, StateChanges)>,
    /// What changed in relations.
    pub relations: Vec<(ObjectId, RelationDelta)>,
    /// How far sources have been read: replaces what was stored for the object.
    pub offsets: Vec<(ObjectId, Vec<u8>)>,
    /// What changed in what is told of objects.
    pub reports: Vec<(ObjectId, ReportChanges)>,
    /// What sinks have still to write: replaces what was stored for the object.
    pub owed: Vec<(ObjectId, Vec<Changes>)>,
    /// Objects whose log stays, though it is of earlier epochs: sinks that are not part of the checkpoint.
    pub keep_log: Vec<ObjectId>,
    /// Definitions that change with it.
    pub definitions: Vec<(ObjectId, Vec<u8>)>,
    /// Objects that go with it, and everything that is stored of them.
    pub dropped: Vec<ObjectId>,
}

/// Which checkpoint is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// Its epoch.
    pub epoch: Epoch,
    /// How many workers ran when it was taken.
    pub workers: usize,
}

impl Store {
    /// Stores a checkpoint; log entries up to its epoch go. When this returns it is durable. Parts of objects that were deleted are left out.
    pub fn checkpoint(&self, data: &CheckpointData) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let mut gone = open.writing.lock();
        gone.extend(&data.dropped);
        let mut parts = Parts::new(&open.db);
        for (object, definition) in data.definitions.iter().filter(|(object, _)| !gone.contains(object)) {
            parts.add(|batch| batch.put(keyspace::of_object(keyspace::OBJECT, *object), definition));
        }
        for object in &data.dropped {
            parts.add(|batch| {
                batch.delete(keyspace::of_object(keyspace::OBJECT, *object));
                for kind in keyspace::OF_OBJECT {
                    batch.delete_range(keyspace::of_object(kind, *object), keyspace::after_object(kind, *object));
                }
            });
            open.logged.lock().remove(object);
        }
        for (operator, changes) in data.operators.iter().filter(|(operator, _)| !gone.contains(&operator.object)) {
            for (bucket, key) in &changes.deletes {
                parts.add(|batch| batch.delete(keyspace::state(*operator, *bucket, key)));
            }
            for entry in &changes.puts {
                parts.add(|batch| batch.put(keyspace::state(*operator, entry.bucket, &entry.key), &entry.value));
            }
        }
        for (object, delta) in data.relations.iter().filter(|(object, _)| !gone.contains(object)) {
            parts.add_relation(*object, delta);
        }
        for (object, offsets) in data.offsets.iter().filter(|(object, _)| !gone.contains(object)) {
            parts.add(|batch| batch.put(keyspace::of_object(keyspace::POSITION, *object), offsets));
        }
        for (object, changes) in data.reports.iter().filter(|(object, _)| !gone.contains(object)) {
            for entry in &changes.deletes {
                parts.add(|batch| batch.delete(keyspace::report(*object, entry)));
            }
            for (entry, value) in &changes.puts {
                parts.add(|batch| batch.put(keyspace::report(*object, entry), value));
            }
        }
        for (object, owed) in data.owed.iter().filter(|(object, _)| !gone.contains(object)) {
            parts.add_owed(*object, owed);
        }
        parts.add(|batch| cut_log(&mut open.logged.lock(), data.epoch, &data.keep_log, batch));
        let mut info = data.epoch.to_be_bytes().to_vec();
        info.extend((data.workers as u32).to_be_bytes());
        parts.add(|batch| batch.put([keyspace::CHECKPOINT], info));
        parts.finish()
    }

    /// The checkpoint that is stored, if any was.
    pub fn last_checkpoint(&self) -> Result<Option<CheckpointInfo>> {
        let Some(value) = self.get(&[keyspace::CHECKPOINT])? else { return Ok(None) };
        let mut value = keyspace::Reader::after(&value, 0);
        let epoch = Epoch::from_be_bytes(value.take()?);
        Ok(Some(CheckpointInfo { epoch, workers: u32::from_be_bytes(value.take()?) as usize }))
    }
}

/// Collects writes; beyond a size, in the journal.
struct Parts<'a> {
    db: &'a DB,
    batch: WriteBatch,
    /// How many parts the journal has.
    journal: u32,
}

impl<'a> Parts<'a> {
    fn new(db: &'a DB) -> Self {
        Parts { db, batch: WriteBatch::default(), journal: 0 }
    }

    fn add(&mut self, write: impl FnOnce(&mut WriteBatch)) {
        write(&mut self.batch);
        if self.batch.size_in_bytes() >= PART_BYTES {
            self.switch_to_journal();
        }
    }

    fn add_relation(&mut self, object: ObjectId, delta: &RelationDelta) {
        if delta.clear {
            for kind in [ROWS, keyspace::DEAD] {
                self.add(|batch| batch.delete_range(keyspace::of_object(kind, object), keyspace::after_object(kind, object)));
            }
        }
        if let Some(shards) = delta.shards {
            self.add(|batch| batch.put(keyspace::of_object(keyspace::SHARDS, object), shards.to_be_bytes()));
        }
        for id in &delta.gone {
            self.add(|batch| {
                batch.delete(keyspace::block(ROWS, object, *id));
                batch.delete(keyspace::block(keyspace::DEAD, object, *id));
            });
        }
        for (id, rows) in &delta.rows {
            let bytes = match format::encode_rows(&rows[0].schema(), rows) {
                Ok(bytes) => bytes,
                // The relation counts these rows as stored: going on would lose them at the next restart.
                Err(cause) => fatal("rows could not be stored", &cause),
            };
            self.add(|batch| batch.put(keyspace::block(ROWS, object, *id), bytes));
        }
        for (id, dead) in &delta.dead {
            let key = keyspace::block(keyspace::DEAD, object, *id);
            self.add(|batch| match dead {
                Some(bits) => batch.put(key, bits),
                None => batch.delete(key),
            });
        }
    }

    fn add_owed(&mut self, object: ObjectId, owed: &[Changes]) {
        self.add(|batch| batch.delete_range(keyspace::of_object(keyspace::OWED, object), keyspace::after_object(keyspace::OWED, object)));
        for (part, changes) in (0..).zip(owed) {
            let bytes = match format::encode_changes(changes) {
                Ok(bytes) => bytes,
                // The epochs that they came in count as stored.
                Err(cause) => fatal("a sink's changes could not be stored", &cause),
            };
            self.add(|batch| batch.put(keyspace::owed(object, part), bytes));
        }
    }

    fn switch_to_journal(&mut self) {
        let mut part = WriteBatch::default();
        part.put(keyspace::journal(self.journal), self.batch.data());
        self.batch.clear();
        self.journal += 1;
        write_unsynced(self.db, part);
    }

    fn finish(mut self) -> Result<()> {
        if self.journal == 0 {
            write_synced(self.db, self.batch);
            return Ok(());
        }
        self.switch_to_journal();
        let mut whole = WriteBatch::default();
        whole.put([keyspace::JOURNAL_WHOLE], self.journal.to_be_bytes());
        write_synced(self.db, whole);
        carry_out(self.db, self.journal)
    }
}

/// Finishes a checkpoint that a crash left in the journal, or throws the journal away if it is not whole.
pub(super) fn recover_journal(db: &DB) -> Result<()> {
    match db.get([keyspace::JOURNAL_WHOLE]).map_err(|cause| read_error(&cause))? {
        Some(parts) => {
            tracing::info!("finishing a checkpoint that was cut off");
            carry_out(db, u32::from_be_bytes(keyspace::Reader::after(&parts, 0).take()?))
        }
        None => {
            let mut journal = db.raw_iterator();
            journal.seek([keyspace::JOURNAL]);
            if journal.key().is_some_and(|key| key.first() == Some(&keyspace::JOURNAL)) {
                drop_journal(db);
            }
            Ok(())
        }
    }
}

fn carry_out(db: &DB, parts: u32) -> Result<()> {
    for part in 0..parts {
        let bytes = db.get_pinned(keyspace::journal(part)).map_err(|cause| read_error(&cause))?;
        let bytes =
            bytes.ok_or_else(|| crate::error::Error::external("the data directory is damaged", "a part of the journal is missing"))?;
        write_unsynced(db, WriteBatch::from_data(&bytes));
    }
    drop_journal(db);
    Ok(())
}

fn drop_journal(db: &DB) {
    let mut batch = WriteBatch::default();
    batch.delete([keyspace::JOURNAL_WHOLE]);
    batch.delete_range([keyspace::JOURNAL], [keyspace::JOURNAL + 1]);
    write_synced(db, batch);
}

#[cfg(test)]
mod tests {
    use super::{CheckpointData, CheckpointInfo, Parts};
    use crate::state::test_directory::TestDirectory;
    use crate::state::{StateChanges, StateEntry, Store, keyspace};
    use crate::types::OperatorId;

    const OPERATOR: OperatorId = OperatorId { object: 5, node: 2 };

    fn entry(bucket: u8, key: u32, value: usize) -> StateEntry {
        StateEntry { bucket, key: key.to_be_bytes().to_vec(), value: vec![bucket; value] }
    }

    fn data(epoch: u64, puts: Vec<StateEntry>, deletes: Vec<(u8, Vec<u8>)>) -> CheckpointData {
        let operators = vec![(OPERATOR, StateChanges { puts, deletes })];
        CheckpointData { epoch, workers: 2, operators, offsets: vec![(5, vec![epoch as u8])], ..CheckpointData::default() }
    }

    #[test]
    fn operator_state_comes_back_by_bucket() {
        let dir = TestDirectory::new("operator_state");
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.last_checkpoint().unwrap(), None);
        store.checkpoint(&data(4, vec![entry(0, 1, 3), entry(255, 2, 3), entry(255, 3, 3)], vec![])).unwrap();
        store.checkpoint(&data(5, vec![entry(9, 1, 0)], vec![(255, 2_u32.to_be_bytes().to_vec())])).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.last_checkpoint().unwrap(), Some(CheckpointInfo { epoch: 5, workers: 2 }));
        assert_eq!(store.offsets(5).unwrap(), Some(vec![5]));
        let read = |buckets: &dyn Fn(u8) -> bool| store.operator_state(OPERATOR, buckets).collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(read(&|_| true), [entry(0, 1, 3), entry(9, 1, 0), entry(255, 3, 3)]);
        assert_eq!(read(&|bucket| bucket > 9), [entry(255, 3, 3)]);
        store.put_objects(&[], &[5]).unwrap();
        assert_eq!(store.operator_state(OPERATOR, &|_| true).count(), 0);
        assert_eq!(store.offsets(5).unwrap(), None);

        // A checkpoint whose parts were taken before the object went does not bring them back.
        store.checkpoint(&data(6, vec![entry(9, 1, 0)], vec![])).unwrap();
        assert_eq!(store.operator_state(OPERATOR, &|_| true).count(), 0);
        assert_eq!(store.offsets(5).unwrap(), None);
    }

    #[test]
    fn a_large_checkpoint_happens_wholly_or_not_at_all() {
        let dir = TestDirectory::new("large_checkpoint");
        let store = Store::open(dir.path()).unwrap();
        let large: Vec<StateEntry> = (0..100).map(|key| entry(1, key, 1_000)).collect();
        store.checkpoint(&data(1, large.clone(), vec![])).unwrap();
        assert_eq!(store.operator_state(OPERATOR, &|_| true).count(), 100);
        assert_eq!(store.get(&keyspace::journal(0)).unwrap(), None);

        // A crash before the journal is whole.
        let db = &store.open.as_ref().unwrap().db;
        let mut parts = Parts::new(db);
        for key in 0..100_u32 {
            parts.add(|batch| batch.delete(keyspace::state(OPERATOR, 1, &key.to_be_bytes())));
        }
        parts.switch_to_journal();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.operator_state(OPERATOR, &|_| true).count(), 100);
        assert_eq!(store.get(&keyspace::journal(0)).unwrap(), None);

        // A crash behind it.
        let db = &store.open.as_ref().unwrap().db;
        let mut parts = Parts::new(db);
        parts.add(|batch| batch.delete(keyspace::state(OPERATOR, 1, &7_u32.to_be_bytes())));
        parts.switch_to_journal();
        db.put([keyspace::JOURNAL_WHOLE], 1_u32.to_be_bytes()).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.operator_state(OPERATOR, &|_| true).count(), 99);
        assert_eq!(store.get(&[keyspace::JOURNAL_WHOLE]).unwrap(), None);
    }
}
