//! What survives a restart: one RocksDB in the data directory, or nothing at all when the system runs in memory.
//!
//! ```text
//!  data directory/
//!    state/          RocksDB: all keys in one column family, told apart by their first byte (`keyspace`, `docs/format.md`)
//!    checkpoint-files/   those of a large checkpoint, until RocksDB takes them in
//! ```
//!
//! One key space means one write-ahead log, so any set of keys changes atomically. Catalog, log and checkpoint writes are synced before the
//! call returns. Checksums: RocksDB keeps one per block of each file and one per record of its log, and checks them whenever it reads.
//!
//! A write or sync that fails ends the process by SIGABRT and is never tried again: after a failed fsync the kernel may have dropped the
//! pages, so a second try that succeeds would be a lie. What is on disk is sound, and a restart goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, ErrorKind, IteratorMode, LogLevel, Options, ReadOptions, WriteBatch,
    WriteOptions,
};

use super::checkpoint::recover_checkpoint;
use super::keyspace::{self, BlockId};
use super::log::{Logged, NOTES, logged_objects};
use super::{StateEntry, format};
use crate::error::{Error, Kind, Result};
use crate::types::{BUCKETS, NOW, ObjectId, OperatorId};
use arrow::array::RecordBatch;

/// Goes up when the meaning of a key or value changes.
const FORMAT_VERSION: u32 = 3;

/// Of one memtable: what the log and small checkpoints write becomes a file of this size.
const MEMTABLE_BYTES: usize = 32 << 20;

/// Of all memtables, those that wait for the disk included.
const MEMTABLES_BYTES: usize = 96 << 20;

/// Files of the first level: with half as many, writes are slowed down until they are compacted, and stop with as many. Large checkpoints put them there
/// at once, while commits must not wait; they are read at a restart only.
const FIRST_LEVEL_MAX: i32 = 200;

/// The log is cut beyond this by flushing the memtables that hold it up: it bounds how much a restart replays.
const WAL_BYTES: u64 = 256 << 20;

/// Blocks are read at a restart only: a cache for indexes and a little more.
const CACHE_BYTES: usize = 16 << 20;

/// A block of a file. Values are large (blocks of rows) or read in order (state), so larger blocks compress better at no cost.
const FILE_BLOCK_BYTES: usize = 32 << 10;

/// A pair of key and value as RocksDB gives it.
type Pair = (Box<[u8]>, Box<[u8]>);

/// The durable store.
pub struct Store {
    pub(super) open: Option<Open>,
}

/// An open data directory.
pub(super) struct Open {
    path: PathBuf,
    pub(super) db: DB,
    /// How files are written that the database takes in.
    pub(super) file_options: Options,
    /// How many were.
    files: AtomicU64,
    /// Objects with entries in the log.
    pub(super) logged: Mutex<BTreeMap<ObjectId, Logged>>,
    /// Makes keys of log entries unique; never goes back.
    pub(super) log_sequence: AtomicU64,
    /// Held while objects or a checkpoint are written: the files of a large checkpoint must not hold anything of an object that goes meanwhile. In it
    /// are the objects that went: a checkpoint that was cut before must not bring anything of them back.
    pub(super) writing: Mutex<BTreeSet<ObjectId>>,
}

impl Store {
    /// Opens a data directory, and makes it if it is not there. Refuses one of another format version, and one that another process uses.
    pub fn open(dir: &Path) -> Result<Store> {
        std::fs::create_dir_all(dir)
            .map_err(|cause| Error::external(&format!("cannot make data directory \"{}\"", dir.display()), cause))?;
        let db = DB::open(&options(), dir.join("state")).map_err(|cause| open_error(dir, &cause))?;
        check_version(dir, &db)?;
        recover_checkpoint(&db, &staging(dir))?;
        let logged = logged_objects(&db)?;
        let sequence = logged.values().map(|logged| logged.last_sequence + 1).max().unwrap_or_default();
        let open = Open {
            path: dir.to_owned(),
            db,
            file_options: options(),
            files: AtomicU64::new(0),
            logged: Mutex::new(logged),
            log_sequence: AtomicU64::new(sequence),
            writing: Mutex::default(),
        };
        Ok(Store { open: Some(open) })
    }

    /// A store that keeps nothing: writes do nothing, reads give nothing.
    pub fn in_memory() -> Store {
        Store { open: None }
    }

    /// Ends RocksDB's own work, which may go on for many seconds and would keep the process from ending. What has been written is on the disk; what is
    /// still to be written need not be written, and waits for the end.
    pub fn close(&self) {
        if let Some(open) = &self.open {
            open.db.cancel_all_background_work(true);
        }
    }

    /// Whether anything survives a restart.
    pub fn is_durable(&self) -> bool {
        self.open.is_some()
    }

    /// The data directory.
    pub fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|open| open.path.as_path())
    }

    /// Writes and deletes definitions in one synced write. What belongs to a deleted object goes with it: rows, operator state, source positions
    /// and log entries. Numbers of deleted objects are not used again.
    pub fn put_objects(&self, puts: &[(ObjectId, Vec<u8>)], deletes: &[ObjectId]) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let mut batch = WriteBatch::default();
        for (object, definition) in puts {
            batch.put(keyspace::of_object(keyspace::OBJECT, *object), definition);
        }
        for object in deletes {
            batch.delete(keyspace::of_object(keyspace::OBJECT, *object));
            for kind in keyspace::OF_OBJECT {
                batch.delete_range(keyspace::of_object(kind, *object), keyspace::after_object(kind, *object));
            }
        }
        let mut gone = open.writing.lock();
        open.write_synced(batch);
        gone.extend(deletes);
        let mut logged = open.logged.lock();
        for object in deletes {
            logged.remove(object);
        }
        Ok(())
    }

    /// Forgets the rows, state and position of an object whose definition stays (synced): it will be computed anew.
    pub fn forget_state(&self, object: ObjectId) {
        let Some(open) = &self.open else { return };
        let mut batch = WriteBatch::default();
        for kind in keyspace::OF_OBJECT {
            batch.delete_range(keyspace::of_object(kind, object), keyspace::after_object(kind, object));
        }
        let _writing = open.writing.lock();
        open.write_synced(batch);
    }

    /// Forgets what is stored of objects that have no definition (synced): views that were being built when the process ended.
    pub fn forget_undefined(&self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let defined: BTreeSet<ObjectId> = self.objects()?.into_iter().map(|(object, _)| object).collect();
        let mut batch = WriteBatch::default();
        for kind in keyspace::OF_OBJECT {
            let mut keys = open.db.raw_iterator();
            keys.seek([kind]);
            while let Some(key) = keys.key().filter(|key| key.first() == Some(&kind)) {
                let object = ObjectId::from_be_bytes(keyspace::Reader::after(key, 1).take()?);
                if !defined.contains(&object) && object != NOTES && object != NOW {
                    batch.delete_range(keyspace::of_object(kind, object), keyspace::after_object(kind, object));
                }
                keys.seek(keyspace::after_object(kind, object));
            }
            keys.status().map_err(|cause| read_error(&cause))?;
        }
        if !batch.is_empty() {
            open.write_synced(batch);
            *open.logged.lock() = logged_objects(&open.db)?;
        }
        Ok(())
    }

    /// Every definition, in the order of the objects' numbers.
    pub fn objects(&self) -> Result<Vec<(ObjectId, Vec<u8>)>> {
        self.range(vec![keyspace::OBJECT], vec![keyspace::OBJECT + 1])
            .map(|pair| {
                let (key, value) = pair?;
                Ok((keyspace::parse_object(&key)?, value.into_vec()))
            })
            .collect()
    }

    /// Writes a small fact (synced).
    pub fn put_fact(&self, name: &str, value: &[u8]) -> Result<()> {
        if let Some(open) = &self.open {
            let mut batch = WriteBatch::default();
            batch.put(keyspace::fact(name), value);
            open.write_synced(batch);
        }
        Ok(())
    }

    /// A fact as it was last written.
    pub fn fact(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.get(&keyspace::fact(name))
    }

    /// The state of an operator as of the last checkpoint: the entries of the buckets for which `buckets` is true.
    pub fn operator_state(&self, operator: OperatorId, buckets: &dyn Fn(u8) -> bool) -> Box<dyn Iterator<Item = Result<StateEntry>> + '_> {
        let wanted: Vec<u8> = (0..BUCKETS).map(|bucket| bucket as u8).filter(|bucket| buckets(*bucket)).collect();
        Box::new(wanted.into_iter().flat_map(move |bucket| {
            let start = keyspace::bucket(operator, bucket);
            let prefix = start.len();
            let end = after_prefix(&start);
            self.range(start, end).map(move |pair| {
                let (key, value) = pair?;
                Ok(StateEntry { bucket, key: key[prefix..].to_vec(), value: value.into_vec() })
            })
        }))
    }

    /// What is told of an object, as of the last checkpoint: entries in the order of their keys.
    pub fn reports(&self, object: ObjectId) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + '_ {
        let start = keyspace::report(object, &[]);
        let prefix = start.len();
        let entries = self.range(start, keyspace::after_object(keyspace::REPORT, object));
        entries.map(move |pair| pair.map(|(key, value)| (key[prefix..].to_vec(), value.into_vec())))
    }

    /// The source positions of an object as of the last checkpoint.
    pub fn offsets(&self, object: ObjectId) -> Result<Option<Vec<u8>>> {
        self.get(&keyspace::of_object(keyspace::POSITION, object))
    }

    /// Stores the positions of one source (synced), between checkpoints: where it begins, before any row of it is seen. What they say of partitions
    /// that the last checkpoint knows must be as the checkpoint has it.
    pub fn put_offsets(&self, object: ObjectId, offsets: &[u8]) -> Result<()> {
        if let Some(open) = &self.open {
            let mut batch = WriteBatch::default();
            batch.put(keyspace::of_object(keyspace::POSITION, object), offsets);
            let gone = open.writing.lock();
            if !gone.contains(&object) {
                open.write_synced(batch);
            }
        }
        Ok(())
    }

    /// From how many shards the rows of an object were stored; `None` if none are.
    pub(super) fn stored_shards(&self, object: ObjectId) -> Result<Option<usize>> {
        let value = self.get(&keyspace::of_object(keyspace::SHARDS, object))?;
        value.map(|value| Ok(usize::from(u16::from_be_bytes(keyspace::Reader::after(&value, 0).take()?)))).transpose()
    }

    /// The blocks of an object's rows in the order of their keys, each with the bits of its dead rows.
    pub(super) fn stored_blocks(&self, object: ObjectId) -> impl Iterator<Item = Result<(BlockId, RecordBatch, Option<Vec<u8>>)>> + '_ {
        let range = self.range(keyspace::of_object(keyspace::ROWS, object), keyspace::after_object(keyspace::ROWS, object));
        range.map(move |pair| {
            let (key, value) = pair?;
            let id = keyspace::parse_block(&key)?;
            let dead = self.get(&keyspace::block(keyspace::DEAD, object, id))?;
            Ok((id, format::decode_rows(&value)?, dead))
        })
    }

    /// One value.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match &self.open {
            None => Ok(None),
            Some(open) => open.db.get(key).map_err(|cause| read_error(&cause)),
        }
    }

    /// The pairs with `start <= key < end`.
    pub(super) fn range(&self, start: Vec<u8>, end: Vec<u8>) -> impl Iterator<Item = Result<Pair>> + '_ {
        self.open.iter().flat_map(move |open| {
            let mut options = ReadOptions::default();
            options.set_iterate_range(start.clone()..end.clone());
            // What is read at a restart is read once.
            options.fill_cache(false);
            open.db.iterator_opt(IteratorMode::Start, options).map(|pair| pair.map_err(|cause| read_error(&cause)))
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish()
    }
}

impl Open {
    /// Where the next file is made that the database takes in. No name is used twice: the file before may still be a link to what it took in.
    pub(super) fn staged_file(&self) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        staging(&self.path).join(format!("{number}.sst"))
    }

    /// Writes atomically, and returns when it is on the disk.
    pub(super) fn write_synced(&self, batch: WriteBatch) {
        write_synced(&self.db, batch);
    }
}

fn staging(dir: &Path) -> PathBuf {
    dir.join("checkpoint-files")
}

/// Writes atomically, and returns when it is on the disk.
pub(super) fn write_synced(db: &DB, batch: WriteBatch) {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    written(db.write_opt(batch, &options));
}

/// Writes atomically, into the log's tail: on the disk once a later write is synced.
pub(super) fn write_unsynced(db: &DB, batch: WriteBatch) {
    written(db.write(batch));
}

/// A write that failed ends the process, unless the process is ending anyway and the store was closed under it: then nobody hears of it any more.
pub(super) fn written(result: std::result::Result<(), rocksdb::Error>) {
    let Err(cause) = result else { return };
    if cause.kind() != ErrorKind::ShutdownInProgress {
        fatal("the data directory could not be written", &cause);
    }
    loop {
        std::thread::park();
    }
}

/// Says why and ends the process at once, by SIGABRT. For failed writes and for what nothing can go on after: what is on disk is sound. No exit
/// handler runs: those of RocksDB would take down what its own threads, and ours, still use.
pub fn fatal(what: &str, cause: &dyn Display) -> ! {
    tracing::error!("{what}: {cause}; the process ends, a restart goes on from what is on disk");
    std::process::abort()
}

/// A read that failed: damaged or missing files.
pub(super) fn read_error(cause: &rocksdb::Error) -> Error {
    Error::external("the data directory could not be read", cause)
}

/// Where the keys that start with `prefix` end (exclusive). A prefix of 0xFF bytes alone does not occur: keys start with a letter.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}

fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_size(FILE_BLOCK_BYTES);
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_db_write_buffer_size(MEMTABLES_BYTES);
    options.set_max_total_wal_size(WAL_BYTES);
    options.set_level_zero_slowdown_writes_trigger(FIRST_LEVEL_MAX / 2);
    options.set_level_zero_stop_writes_trigger(FIRST_LEVEL_MAX);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    // A record torn by a crash ends the log quietly; damage before its end is an error, not a silent loss.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_keep_log_file_num(4);
    options.set_log_level(LogLevel::Warn);
    options
}

fn open_error(dir: &Path, cause: &rocksdb::Error) -> Error {
    let text = cause.to_string();
    if text.contains("While lock file") || text.contains("lock hold by") {
        return Error::new(Kind::External, format!("data directory \"{}\" is used by another process", dir.display()))
            .hint("Stop the other process, or give this one another data directory.");
    }
    Error::external(&format!("cannot open data directory \"{}\"", dir.display()), text)
}

/// Stamps a new directory; refuses one that another version has written.
fn check_version(dir: &Path, db: &DB) -> Result<()> {
    let stored = db.get([keyspace::VERSION]).map_err(|cause| read_error(&cause))?;
    let Some(stored) = stored else {
        if db.iterator(IteratorMode::Start).next().is_some() {
            return Err(Error::new(Kind::External, format!("\"{}\" is not a data directory of Tidemill", dir.display())));
        }
        let mut batch = WriteBatch::default();
        batch.put([keyspace::VERSION], FORMAT_VERSION.to_be_bytes());
        write_synced(db, batch);
        return Ok(());
    };
    let version = u32::from_be_bytes(keyspace::Reader::after(&stored, 0).take()?);
    if version == FORMAT_VERSION {
        return Ok(());
    }
    let message = format!("data directory \"{}\" has format version {version}; this program reads version {FORMAT_VERSION}", dir.display());
    Err(Error::new(Kind::External, message).hint("Use the version of Tidemill that wrote it, or another data directory."))
}

#[cfg(test)]
mod tests {
    use super::Store;
    use crate::error::Kind;
    use crate::state::test_directory::TestDirectory;
    use rocksdb::{DB, Options};

    #[test]
    fn a_directory_in_use_is_refused() {
        let dir = TestDirectory::new("lock");
        let store = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::External);
        assert_eq!(error.message(), format!("data directory \"{}\" is used by another process", dir.path().display()));
        drop(store);
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_of_another_version_is_refused() {
        let dir = TestDirectory::new("version");
        drop(Store::open(dir.path()).unwrap());
        DB::open(&Options::default(), dir.path().join("state")).unwrap().put([super::keyspace::VERSION], 99_u32.to_be_bytes()).unwrap();
        assert_eq!(Store::open(dir.path()).unwrap_err().kind(), Kind::External);
    }

    #[test]
    fn facts_and_objects_survive_a_restart() {
        let dir = TestDirectory::new("objects");
        let store = Store::open(dir.path()).unwrap();
        store.put_objects(&[(7, b"seven".to_vec()), (300, b"more".to_vec())], &[]).unwrap();
        store.put_objects(&[(8, b"eight".to_vec())], &[7]).unwrap();
        store.put_fact("next", b"9").unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.objects().unwrap(), [(8, b"eight".to_vec()), (300, b"more".to_vec())]);
        assert_eq!(store.fact("next").unwrap().as_deref(), Some(b"9".as_slice()));
        assert_eq!(store.fact("other").unwrap(), None);
    }
}
