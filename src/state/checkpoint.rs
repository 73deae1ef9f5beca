//! Old or new checkpoint, never a mix.
//!
//! What a checkpoint writes comes in the order of its keys. One of ordinary size is one atomic, synced write. One that is larger would go through
//! the log, the memtables and a first level of files, and be sorted there: it becomes sorted files at once, which the store takes in as they are.
//!
//! ```text
//!  staged files   sorted, synced                                   a crash here: they are thrown away, the old checkpoint stands
//!  take in        all files or none, and W in one of them          a crash here: a restart cuts the log as W says
//!  W              what of the log goes, as a write: carried out
//! ```
//!
//! W stays until the next one: every restart carries it out again, which changes nothing, since what is logged later is of later epochs.
//!
//! The log alone is not sorted into files: it is written meanwhile, and a file that lies across it would have to wait for it to come to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use rocksdb::{DB, IngestExternalFileOptions, SstFileWriter, WriteBatch};

use super::blocks::RelationDelta;
use super::changes::{BucketChanges, ReportChanges, Sorted, StateChanges};
use super::format;
use super::keyspace::{self, BlockId, DEAD, LOG, ROWS};
use super::log::cut_log;
use super::store::{Open, Store, fatal, read_error, write_synced, written};
use crate::error::{Error, Result};
use crate::types::{Changes, Epoch, ObjectId, OperatorId};

/// From this size on, in bytes, a checkpoint becomes files: half a memtable, so that smaller ones seldom become a file each. (In tests some do.)
const FILES_BYTES: usize = if cfg!(test) { 16 << 10 } else { 16 << 20 };

/// Of one file, about: not many small ones, since all are of the first level at first, and none that takes minutes to be compacted.
const FILE_BYTES: u64 = if cfg!(test) { 40 << 10 } else { 256 << 20 };

/// So much of a file is brought to the disk at a time: a commit that is synced meanwhile waits for no more.
const SYNC_BYTES: u64 = 8 << 20;

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
    pub fn checkpoint(&self, data: CheckpointData) {
        let Some(open) = &self.open else { return };
        let mut gone = open.writing.lock();
        gone.extend(&data.dropped);
        let mut log = WriteBatch::default();
        for object in &data.dropped {
            log.delete_range(keyspace::of_object(LOG, *object), keyspace::after_object(LOG, *object));
            open.logged.lock().remove(object);
        }
        cut_log(&mut open.logged.lock(), data.epoch, &data.keep_log, &mut log);
        let mut writer = Writer::new(open);
        data.write(&gone, &mut writer);
        writer.finish(log);
    }

    /// The checkpoint that is stored, if any was.
    pub fn last_checkpoint(&self) -> Result<Option<CheckpointInfo>> {
        let Some(value) = self.get(&[keyspace::CHECKPOINT])? else { return Ok(None) };
        let mut value = keyspace::Reader::after(&value, 0);
        let epoch = Epoch::from_be_bytes(value.take()?);
        Ok(Some(CheckpointInfo { epoch, workers: u32::from_be_bytes(value.take()?) as usize }))
    }
}

impl CheckpointData {
    /// Writes everything but what becomes of the log, by the kinds of keys in their order.
    fn write(mut self, gone: &BTreeSet<ObjectId>, writer: &mut Writer<'_>) {
        self.relations.retain(|(object, _)| !gone.contains(object));
        self.relations.sort_unstable_by_key(|(object, _)| *object);
        let dropped: BTreeSet<ObjectId> = self.dropped.iter().copied().collect();
        let forget = |kind: u8, writer: &mut Writer<'_>| dropped.iter().for_each(|object| writer.forget(kind, *object));
        writer.put(&[keyspace::CHECKPOINT], &[&self.epoch.to_be_bytes()[..], &(self.workers as u32).to_be_bytes()].concat());
        forget(DEAD, writer);
        self.relations.iter_mut().for_each(|(object, delta)| delta.write_dead(*object, writer));
        forget(keyspace::REPORT, writer);
        write_reports(there(self.reports, gone), writer);
        let definitions = there(self.definitions, gone).map(|(object, definition)| (object, Some(definition)));
        let definitions: BTreeMap<_, _> = definitions.chain(dropped.iter().map(|object| (*object, None))).collect();
        definitions.into_iter().for_each(|(object, value)| writer.write(&keyspace::of_object(keyspace::OBJECT, object), value.as_deref()));
        forget(keyspace::POSITION, writer);
        let offsets: BTreeMap<_, _> = there(self.offsets, gone).collect();
        offsets.into_iter().for_each(|(object, offsets)| writer.put(&keyspace::of_object(keyspace::POSITION, object), &offsets));
        forget(keyspace::OWED, writer);
        let owed: BTreeMap<_, _> = there(self.owed, gone).collect();
        owed.into_iter().for_each(|(object, owed)| write_owed(object, &owed, writer));
        forget(ROWS, writer);
        self.relations.iter_mut().for_each(|(object, delta)| delta.write_rows(*object, writer));
        forget(keyspace::STATE, writer);
        let mut operators: BTreeMap<OperatorId, Vec<StateChanges>> = BTreeMap::new();
        for (operator, changes) in self.operators.into_iter().filter(|(operator, _)| !gone.contains(&operator.object)) {
            operators.entry(operator).or_default().push(changes);
        }
        operators.into_iter().for_each(|(operator, parts)| write_state(operator, parts, writer));
        forget(keyspace::SHARDS, writer);
        for (object, shards) in self.relations.iter().filter_map(|(object, delta)| Some((object, delta.shards?))) {
            writer.put(&keyspace::of_object(keyspace::SHARDS, *object), &shards.to_be_bytes());
        }
    }
}

/// What is of objects that have not gone.
fn there<T>(all: Vec<(ObjectId, T)>, gone: &BTreeSet<ObjectId>) -> impl Iterator<Item = (ObjectId, T)> {
    all.into_iter().filter(|(object, _)| !gone.contains(object))
}

/// Writes what is told of objects: of one, several may tell.
fn write_reports(reports: impl Iterator<Item = (ObjectId, ReportChanges)>, writer: &mut Writer<'_>) {
    let mut entries: BTreeMap<(ObjectId, Vec<u8>), Option<Vec<u8>>> = BTreeMap::new();
    for (object, changes) in reports {
        entries.extend(changes.deletes.into_iter().map(|entry| ((object, entry), None)));
        entries.extend(changes.puts.into_iter().map(|(entry, value)| ((object, entry), Some(value))));
    }
    entries.into_iter().for_each(|((object, entry), value)| writer.write(&keyspace::report(object, &entry), value.as_deref()));
}

impl RelationDelta {
    fn write_dead(&mut self, object: ObjectId, writer: &mut Writer<'_>) {
        if self.clear {
            writer.forget(DEAD, object);
        }
        let gone = self.gone.iter().map(|id| (*id, None));
        let blocks: BTreeMap<BlockId, Option<Vec<u8>>> = gone.chain(std::mem::take(&mut self.dead)).collect();
        blocks.into_iter().for_each(|(id, bits)| writer.write(&keyspace::block(DEAD, object, id), bits.as_deref()));
    }

    fn write_rows(&mut self, object: ObjectId, writer: &mut Writer<'_>) {
        if self.clear {
            writer.forget(ROWS, object);
        }
        let rows = std::mem::take(&mut self.rows).into_iter().map(|(id, rows)| (id, Some(rows)));
        let blocks: BTreeMap<BlockId, _> = self.gone.iter().map(|id| (*id, None)).chain(rows).collect();
        for (id, rows) in blocks {
            let bytes = rows.map(|rows| match format::encode_rows(&rows[0].schema(), &rows) {
                Ok(bytes) => bytes,
                // The relation counts these rows as stored: going on would lose them at the next restart.
                Err(cause) => fatal("rows could not be stored", &cause),
            });
            writer.write(&keyspace::block(ROWS, object, id), bytes.as_deref());
        }
    }
}

fn write_owed(object: ObjectId, owed: &[Changes], writer: &mut Writer<'_>) {
    writer.forget(keyspace::OWED, object);
    for (part, changes) in (0..).zip(owed) {
        match format::encode_changes(changes) {
            Ok(bytes) => writer.put(&keyspace::owed(object, part), &bytes),
            // The epochs that they came in count as stored.
            Err(cause) => fatal("a sink's changes could not be stored", &cause),
        }
    }
}

/// Writes what the workers told of an operator, a bucket at a time: what is written goes.
fn write_state(operator: OperatorId, parts: Vec<StateChanges>, writer: &mut Writer<'_>) {
    let mut buckets: BTreeMap<u8, Vec<BucketChanges>> = BTreeMap::new();
    for (bucket, changes) in parts.into_iter().flat_map(StateChanges::into_buckets) {
        buckets.entry(bucket).or_default().push(changes);
    }
    for (bucket, parts) in buckets {
        let mut key = keyspace::bucket(operator, bucket);
        let prefix = key.len();
        for (entry, value) in Sorted::new(parts).iter() {
            key.truncate(prefix);
            key.extend_from_slice(entry);
            writer.write(&key, value);
        }
    }
}

/// Takes writes in the order of their keys. A range that is deleted comes before what is written in it.
struct Writer<'a> {
    open: &'a Open,
    /// What came so far, while that is little, and the bytes of it.
    few: Vec<Write>,
    bytes: usize,
    /// Where everything goes once it was much.
    files: Option<Files<'a>>,
}

enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

impl<'a> Writer<'a> {
    fn new(open: &'a Open) -> Self {
        Writer { open, few: Vec::new(), bytes: 0, files: None }
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.put(key, value),
            None => self.delete(key),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        match &mut self.files {
            Some(files) => files.put(key, value),
            None => self.keep(Write::Put(key.to_vec(), value.to_vec()), key.len() + value.len()),
        }
    }

    fn delete(&mut self, key: &[u8]) {
        match &mut self.files {
            Some(files) => files.delete(key),
            None => self.keep(Write::Delete(key.to_vec()), key.len()),
        }
    }

    /// Deletes everything of a kind and object.
    fn forget(&mut self, kind: u8, object: ObjectId) {
        let (from, to) = (keyspace::of_object(kind, object), keyspace::after_object(kind, object));
        match &mut self.files {
            Some(files) => files.delete_range(&from, &to),
            None => self.keep(Write::DeleteRange(from, to), 0),
        }
    }

    fn keep(&mut self, write: Write, bytes: usize) {
        self.few.push(write);
        self.bytes += bytes;
        if self.bytes < FILES_BYTES {
            return;
        }
        let files = self.files.insert(Files::new(self.open));
        for write in std::mem::take(&mut self.few) {
            match write {
                Write::Put(key, value) => files.put(&key, &value),
                Write::Delete(key) => files.delete(&key),
                Write::DeleteRange(from, to) => files.delete_range(&from, &to),
            }
        }
    }

    /// Makes it happen. `log`: what goes of the log with it.
    fn finish(self, mut log: WriteBatch) {
        if let Some(mut files) = self.files {
            files.put(&[keyspace::LOG_CUT], log.data());
            files.take_in();
        }
        for write in self.few {
            match write {
                Write::Put(key, value) => log.put(key, value),
                Write::Delete(key) => log.delete(key),
                Write::DeleteRange(from, to) => log.delete_range(from, to),
            }
        }
        write_synced(&self.open.db, log);
    }
}

/// Sorted files in the making.
struct Files<'a> {
    open: &'a Open,
    writer: Option<SstFileWriter<'a>>,
    /// Whether the last one's keys stand behind those of the log.
    behind_log: bool,
    /// Bytes of the last one that are on the disk.
    synced: u64,
    paths: Vec<PathBuf>,
}

impl<'a> Files<'a> {
    fn new(open: &'a Open) -> Self {
        Files { open, writer: None, behind_log: false, synced: 0, paths: Vec::new() }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        written(self.file(key).put(key, value));
    }

    fn delete(&mut self, key: &[u8]) {
        written(self.file(key).delete(key));
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        written(self.file(from).delete_range(from, to));
    }

    /// The file that a key goes into: the last one, or a new one.
    fn file(&mut self, key: &[u8]) -> &mut SstFileWriter<'a> {
        let behind_log = key.first() > Some(&LOG);
        let size = self.writer.as_ref().map_or(0, SstFileWriter::file_size);
        if self.behind_log != behind_log || size >= FILE_BYTES {
            self.close();
            self.behind_log = behind_log;
        } else if size >= self.synced + SYNC_BYTES {
            self.sync();
            self.synced = size;
        }
        self.writer.get_or_insert_with(|| {
            let path = self.open.staged_file();
            let writer = SstFileWriter::create(&self.open.file_options);
            written(writer.open(&path));
            self.paths.push(path);
            writer
        })
    }

    fn sync(&self) {
        let synced = self.paths.last().map(|path| File::open(path)?.sync_data());
        if let Some(Err(cause)) = synced {
            fatal("the data directory could not be written", &cause);
        }
    }

    /// Ends the last file: it is on the disk then.
    fn close(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            written(writer.finish());
        }
        self.synced = 0;
    }

    fn take_in(mut self) {
        self.close();
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        written(self.open.db.ingest_external_file_opts(&options, self.paths));
    }
}

/// Finishes a checkpoint that a crash left between its files and the log, and throws away files that were not taken in.
pub(super) fn recover_checkpoint(db: &DB, staging: &Path) -> Result<()> {
    if let Some(log) = db.get([keyspace::LOG_CUT]).map_err(|cause| read_error(&cause))? {
        write_synced(db, WriteBatch::from_data(&log));
    }
    let emptied = || {
        std::fs::create_dir_all(staging)?;
        for file in std::fs::read_dir(staging)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "sst") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    };
    emptied().map_err(|cause: std::io::Error| Error::external("the data directory could not be written", cause))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CheckpointData, CheckpointInfo, Files, Writer, cut_log};
    use crate::state::blocks::RelationDelta;
    use crate::state::keyspace::BlockId;
    use crate::state::test_directory::TestDirectory;
    use crate::state::{ReportChanges, StateChanges, StateEntry, Store, keyspace};
    use crate::types::{Changes, OperatorId};
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use rocksdb::WriteBatch;
    use std::sync::Arc;

    const OPERATOR: OperatorId = OperatorId { object: 5, node: 2 };

    fn entry(bucket: u8, key: u32, value: usize) -> StateEntry {
        StateEntry { bucket, key: key.to_be_bytes().to_vec(), value: vec![bucket; value] }
    }

    fn changes(puts: &[StateEntry], deletes: &[(u8, u32)]) -> StateChanges {
        let mut changes = StateChanges::default();
        puts.iter().for_each(|entry| changes.put(entry.bucket, &entry.key, &entry.value));
        deletes.iter().for_each(|(bucket, key)| changes.delete(*bucket, &key.to_be_bytes()));
        changes
    }

    fn data(epoch: u64, puts: &[StateEntry], deletes: &[(u8, u32)]) -> CheckpointData {
        let operators = vec![(OPERATOR, changes(puts, deletes))];
        CheckpointData { epoch, workers: 2, operators, offsets: vec![(5, vec![epoch as u8])], ..CheckpointData::default() }
    }

    fn state(store: &Store, buckets: impl Fn(u8) -> bool) -> Vec<StateEntry> {
        store.operator_state(OPERATOR, &buckets).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn operator_state_comes_back_by_bucket() {
        let dir = TestDirectory::new("operator_state");
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.last_checkpoint().unwrap(), None);
        store.checkpoint(data(4, &[entry(0, 1, 3), entry(255, 2, 3), entry(255, 3, 3)], &[]));
        store.checkpoint(data(5, &[entry(9, 1, 0)], &[(255, 2)]));
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.last_checkpoint().unwrap(), Some(CheckpointInfo { epoch: 5, workers: 2 }));
        assert_eq!(store.offsets(5).unwrap(), Some(vec![5]));
        assert_eq!(state(&store, |_| true), [entry(0, 1, 3), entry(9, 1, 0), entry(255, 3, 3)]);
        assert_eq!(state(&store, |bucket| bucket > 9), [entry(255, 3, 3)]);
        store.put_objects(&[], &[5]).unwrap();
        assert_eq!(state(&store, |_| true), []);
        assert_eq!(store.offsets(5).unwrap(), None);

        // A checkpoint whose parts were taken before the object went does not bring them back.
        store.checkpoint(data(6, &[entry(9, 1, 0)], &[]));
        assert_eq!(state(&store, |_| true), []);
        assert_eq!(store.offsets(5).unwrap(), None);
    }

    fn rows(values: std::ops::Range<i64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        RecordBatch::try_from_iter([("v", column)]).unwrap()
    }

    /// Everything that a checkpoint may hold, `size` values of it large; of two workers, and of two that tell of an object. The third one clears what the
    /// second has stored.
    fn everything(epoch: u64, size: u32) -> CheckpointData {
        let id = |page| BlockId { shard: 0, page, start: 0 };
        let relation = RelationDelta {
            clear: epoch != 2,
            shards: Some(2),
            gone: if epoch == 2 { vec![id(0), id(1)] } else { Vec::new() },
            // The block that comes in the place of one that goes.
            rows: vec![(id(3), vec![rows(0..i64::from(size))]), (id(1), vec![rows(0..3)]), (id(0), vec![rows(0..4)])],
            dead: vec![(id(3), Some(vec![1])), (id(0), (epoch == 1).then(|| vec![2]))],
        };
        let relation = match epoch {
            2 => RelationDelta {
                rows: relation.rows.into_iter().chain([(id(9), vec![rows(0..i64::from(size))])]).collect(),
                dead: relation.dead.into_iter().chain([(id(9), Some(vec![3]))]).collect(),
                ..relation
            },
            _ => relation,
        };
        let report = |entry: &[u8]| ReportChanges { puts: vec![(entry.to_vec(), vec![epoch as u8])], deletes: vec![b"none".to_vec()] };
        let first: Vec<StateEntry> = (0..size).map(|key| entry((key % 7) as u8 * 2, key, 9)).collect();
        let second: Vec<StateEntry> = (0..size).map(|key| entry((key % 7) as u8 * 2 + 1, key, 9)).collect();
        let other = OperatorId { object: 9, node: 0 };
        CheckpointData {
            epoch,
            workers: 2,
            operators: vec![
                (other, changes(&[entry(0, 0, 1)], &[])),
                (OPERATOR, changes(&second, &[])),
                (OPERATOR, changes(&first, &[(1, 1)])),
            ],
            relations: vec![(7, RelationDelta::default()), (5, relation)],
            offsets: vec![(9, vec![9]), (5, vec![epoch as u8])],
            reports: vec![(9, report(b"r")), (5, report(b"e")), (5, report(b"d"))],
            owed: vec![(9, vec![Changes::insertions(rows(0..2))]), (5, Vec::new())],
            keep_log: Vec::new(),
            definitions: vec![(9, b"nine".to_vec()), (5, b"five".to_vec())],
            dropped: vec![6, 4],
        }
    }

    fn staged(dir: &TestDirectory) -> usize {
        std::fs::read_dir(dir.path().join("checkpoint-files")).unwrap().count()
    }

    fn all(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
        store.range(vec![0], vec![u8::MAX]).map(|pair| pair.map(|(key, value)| (key.into_vec(), value.into_vec())).unwrap()).collect()
    }

    #[test]
    fn files_say_what_a_write_says() {
        let stored = |size: u32, filler: usize| {
            let dir = TestDirectory::new(&format!("files_{size}_{filler}"));
            let store = Store::open(dir.path()).unwrap();
            for object in [4, 6] {
                store.checkpoint(CheckpointData { operators: Vec::new(), offsets: vec![(object, vec![1])], ..data(1, &[], &[]) });
            }
            for epoch in [1, 2, 3] {
                store.append_log(epoch, None, &[(5, Changes::insertions(rows(0..3))), (6, Changes::insertions(rows(0..3)))]).unwrap();
                let mut data = everything(epoch, size);
                data.reports.push((9, ReportChanges { puts: vec![(b"z".to_vec(), vec![0; filler])], deletes: Vec::new() }));
                store.checkpoint(data);
            }
            assert_eq!(staged(&dir), 0, "files that were taken in are not there twice");
            drop(store);
            let store = Store::open(dir.path()).unwrap();
            let mut all = all(&store);
            all.retain(|(key, _)| *key != keyspace::report(9, b"z") && key[0] != keyspace::LOG_CUT);
            all
        };
        // As one write; as files from the first key on that makes it large, within the reports or within the state.
        assert_eq!(stored(20, 0), stored(20, 20 << 10));
        let large = stored(5_000, 0);
        assert_eq!(large, stored(5_000, 20 << 10));
        let puts = large.iter().filter(|(key, _)| key.starts_with(&keyspace::of_object(keyspace::STATE, 5))).count();
        assert_eq!(puts, 10_000, "what one worker deletes and another puts is there");
        assert!(!large.iter().any(|(key, _)| key[0] == keyspace::LOG));
        let pages = |kind: u8| large.iter().filter(move |(key, _)| key[0] == kind).map(|(key, _)| keyspace::parse_block(key).unwrap().page);
        assert!(pages(keyspace::ROWS).eq([0, 1, 3]), "what was cleared is gone, what came with the clearing is there");
        assert!(pages(keyspace::DEAD).eq([3]));
    }

    #[test]
    fn a_large_checkpoint_happens_wholly_or_not_at_all() {
        let dir = TestDirectory::new("large_checkpoint");
        let store = Store::open(dir.path()).unwrap();
        let large: Vec<StateEntry> = (0..100).map(|key| entry(1, key, 1_000)).collect();
        store.checkpoint(data(1, &large, &[]));
        assert_eq!(state(&store, |_| true), large);
        store.append_log(2, None, &[(5, Changes::insertions(rows(0..3)))]).unwrap();

        // A crash before its files are taken in.
        let deletes: Vec<(u8, u32)> = (0..100).map(|key| (1, key)).collect();
        let mut writer = Writer { files: Some(Files::new(store.open.as_ref().unwrap())), ..Writer::new(store.open.as_ref().unwrap()) };
        data(2, &[], &deletes).write(&BTreeSet::new(), &mut writer);
        writer.files.as_mut().unwrap().close();
        drop(writer);
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(state(&store, |_| true), large);
        assert_eq!(store.last_checkpoint().unwrap().map(|info| info.epoch), Some(1));
        assert_eq!(staged(&dir), 0);
        assert_eq!(store.read_log(1).unwrap().count(), 1);

        // A crash between them and the log.
        let open = store.open.as_ref().unwrap();
        let mut writer = Writer { files: Some(Files::new(open)), ..Writer::new(open) };
        data(2, &[], &deletes).write(&BTreeSet::new(), &mut writer);
        let mut log = WriteBatch::default();
        cut_log(&mut open.logged.lock(), 2, &[], &mut log);
        let mut files = writer.files.take().unwrap();
        files.put(&[keyspace::LOG_CUT], log.data());
        files.take_in();
        drop(writer);
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(state(&store, |_| true), []);
        assert_eq!(store.last_checkpoint().unwrap().map(|info| info.epoch), Some(2));
        assert_eq!(store.read_log(0).unwrap().count(), 0);
        // It is cut as far as it was then, however often.
        store.append_log(3, None, &[(5, Changes::insertions(rows(0..3)))]).unwrap();
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().read_log(0).unwrap().count(), 1);
    }
}
