//! Relations against a model that anyone believes: a sorted map from row to count, one per epoch.
//!
//! Random changes, several shards, readers that hold old epochs, compaction in between, checkpoints, restarts with other numbers of shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::test_directory::TestDirectory;
use super::{CheckpointData, Lease, Leases, Relation, Snapshot, Store};
use crate::types::{Changes, Epoch, hash_rows, worker_of};

/// Rows and how often each is there.
type Model = BTreeMap<(i64, Option<String>), i64>;

/// A weighted row.
type Change = ((i64, Option<String>), i64);

/// Pseudo-random numbers (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn text(&mut self) -> Option<String> {
        let value = self.below(5);
        (value > 0).then(|| format!("v{value}"))
    }
}

/// A relation, its model at every epoch, and the readers of some of them.
struct Story {
    random: Random,
    keyed: bool,
    relation: Relation,
    epoch: Epoch,
    history: BTreeMap<Epoch, Model>,
    leases: Leases,
    readers: Vec<(Lease, Snapshot)>,
    /// Whether there is an index by the text.
    indexed: bool,
}

/// The number of the index by the text.
const BY_TEXT: u32 = 7;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("v", DataType::Utf8, true)]))
}

fn key(keyed: bool) -> Option<Vec<usize>> {
    keyed.then(|| vec![0])
}

fn changes(rows: &[Change]) -> Changes {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|((id, _), _)| *id)));
    let texts: ArrayRef = Arc::new(rows.iter().map(|((_, text), _)| text.clone()).collect::<StringArray>());
    let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
    Changes::new(RecordBatch::try_new(schema(), vec![ids, texts]).unwrap(), Some(weights))
}

fn count(model: &mut Model, batch: &RecordBatch) {
    let (ids, texts) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
    for (id, text) in ids.values().iter().zip(texts) {
        *model.entry((*id, text.map(str::to_owned))).or_default() += 1;
    }
}

fn read(snapshot: &Snapshot) -> Model {
    let mut model = Model::new();
    for chunk in 0..snapshot.chunks() {
        count(&mut model, &snapshot.batch(chunk, None));
    }
    assert_eq!(snapshot.row_count() as i64, model.values().sum::<i64>());
    model
}

impl Story {
    fn new(seed: u64, keyed: bool, shards: usize) -> Self {
        let relation = Relation::new(schema(), key(keyed), false, shards);
        let relation = if keyed { relation.partitioned_by_key() } else { relation };
        Story {
            random: Random(seed),
            keyed,
            relation,
            epoch: 0,
            history: BTreeMap::from([(0, Model::new())]),
            leases: Leases::new(),
            readers: Vec::new(),
            indexed: false,
        }
    }

    /// Goes on with the same rows in new columns, as ALTER makes them.
    fn rewrite(&mut self) {
        let rewritten = self.relation.with_columns(schema(), key(self.keyed), &[Some(0), Some(1)], &|rows| Ok(rows.columns().to_vec()));
        self.relation = rewritten.unwrap();
    }

    fn check_index(&self, epoch: Epoch) {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("v1"), None, Some("v2"), Some("v3"), Some("v4"), Some("v9")]));
        let mut found = Model::new();
        count(&mut found, &self.relation.lookup_index(BY_TEXT, &[texts], epoch).unwrap().expect("it was made"));
        let expected = self.history[&epoch].iter().filter(|((_, text), _)| text.is_some());
        assert_eq!(found, expected.map(|(row, count)| (row.clone(), *count)).collect::<Model>());
    }

    /// Invents changes that turn one model into another.
    fn invent(&mut self, model: &mut Model) -> Vec<Change> {
        let mut rows = Vec::new();
        for _ in 0..self.random.below(60) {
            let id = self.random.below(80) as i64;
            let old = model.iter().find(|((other, _), _)| *other == id).map(|(row, _)| row.clone());
            let new = (id, self.random.text());
            let kind = self.random.below(3);
            let weight = if self.keyed { 1 } else { 1 + self.random.below(3) as i64 };
            if let Some(old) = old.filter(|_| self.keyed || kind == 0) {
                rows.push((old.clone(), -1));
                *model.get_mut(&old).unwrap() -= 1;
                model.retain(|_, count| *count > 0);
                if kind == 0 {
                    continue;
                }
            }
            rows.push((new.clone(), weight));
            *model.entry(new).or_default() += weight;
        }
        rows
    }

    /// One epoch: its changes go to their shards in an order of no meaning.
    fn step(&mut self) {
        self.epoch += 1;
        let mut model = self.history[&(self.epoch - 1)].clone();
        let mut rows = self.invent(&mut model);
        self.history.insert(self.epoch, model);
        // Everything goes in one call per shard, so any order is allowed.
        for at in (1..rows.len()).rev() {
            rows.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        self.apply(&rows);
    }

    fn apply(&self, rows: &[Change]) {
        let batch = changes(rows);
        let columns = if self.keyed { &batch.rows().columns()[..1] } else { batch.rows().columns() };
        let hashes = hash_rows(columns, rows.len());
        for shard in 0..self.relation.shards() {
            let of_shard = |hash: &u64| worker_of(*hash, self.relation.shards()) == shard;
            let part: Vec<Change> = rows.iter().zip(&hashes).filter(|(_, hash)| of_shard(hash)).map(|(row, _)| row.clone()).collect();
            self.relation.apply(shard, self.epoch, &changes(&part)).unwrap();
        }
    }

    fn reader_comes_or_goes(&mut self) {
        if self.random.below(2) == 0 {
            let lease = self.leases.acquire(self.epoch);
            self.readers.push((lease, self.relation.snapshot(self.epoch)));
        } else if !self.readers.is_empty() {
            let reader = self.random.below(self.readers.len() as u64) as usize;
            self.readers.swap_remove(reader);
        }
    }

    fn check(&mut self) {
        assert_eq!(read(&self.relation.snapshot(self.epoch)), self.history[&self.epoch]);
        assert_eq!(self.relation.live_rows() as i64, self.history[&self.epoch].values().sum::<i64>());
        for (lease, snapshot) in &self.readers {
            assert_eq!(read(snapshot), self.history[&lease.epoch()], "a snapshot taken before");
            assert_eq!(read(&self.relation.snapshot(lease.epoch())), self.history[&lease.epoch()], "a snapshot of an older epoch");
        }
        if self.indexed {
            for epoch in self.readers.iter().map(|(lease, _)| lease.epoch()).chain([self.epoch]) {
                self.check_index(epoch);
            }
        }
        if self.keyed {
            for epoch in self.readers.iter().map(|(lease, _)| lease.epoch()).chain([self.epoch]) {
                self.check_lookup(epoch);
            }
        }
    }

    fn check_lookup(&self, epoch: Epoch) {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..80));
        let mut found = Model::new();
        count(&mut found, &self.relation.lookup(&[keys], epoch).unwrap());
        assert_eq!(found, self.history[&epoch]);
        for id in 0..80 {
            let found = self.relation.lookup(&[Arc::new(Int64Array::from(vec![id]))], epoch).unwrap();
            assert_eq!(found.num_rows(), self.history[&epoch].keys().filter(|(other, _)| *other == id).count());
        }
    }

    /// Stores the epoch before the newest one, as the coordinator does while work goes on; then loads it and goes on from there.
    fn checkpoint(&mut self, store: &Store, shards: usize) {
        let _lease = self.leases.acquire(self.epoch);
        let stored = self.epoch;
        self.step();
        let relations = vec![(9, self.relation.delta(stored))];
        store.checkpoint(CheckpointData { epoch: stored, workers: shards, relations, ..CheckpointData::default() });
        let loaded = Relation::load(store, 9, schema(), key(self.keyed), false, shards, stored, None).unwrap();
        assert_eq!(read(&loaded.snapshot(stored)), self.history[&stored]);
        if self.random.below(2) == 0 {
            self.readers.clear();
            self.relation = if self.keyed { loaded.partitioned_by_key() } else { loaded };
            self.epoch = stored;
            self.check();
        }
    }
}

#[test]
fn every_reader_sees_its_epoch_whatever_happens_meanwhile() {
    for (seed, keyed, shards) in [(1, true, 1), (2, true, 3), (3, false, 1), (4, false, 2)] {
        let mut story = Story::new(seed, keyed, shards);
        for round in 0..400 {
            if round == 100 {
                story.relation.add_index(BY_TEXT, &[1]);
                story.indexed = true;
            }
            if round % 90 == 80 {
                story.rewrite();
            }
            story.step();
            story.reader_comes_or_goes();
            if story.random.below(3) == 0 {
                story.relation.compact(story.leases.horizon(story.epoch));
            }
            if story.random.below(8) == 0 {
                story.check();
            }
        }
        story.check();
        story.readers.clear();
        for _ in 0..20 {
            story.relation.compact(story.epoch);
        }
        story.check();
        let (held, live) = (story.relation.snapshot(story.epoch).chunks(), story.relation.live_rows());
        assert!(held < 20 + live / 16, "{held} chunks for {live} rows");
    }
}

#[test]
fn what_is_loaded_is_what_was_stored_with_any_number_of_shards() {
    for (seed, keyed) in [(11, true), (12, false)] {
        let dir = TestDirectory::new("relation");
        let store = Store::open(dir.path()).unwrap();
        let mut story = Story::new(seed, keyed, 2);
        for round in 0..60 {
            for _ in 0..story.random.below(5) {
                story.step();
            }
            story.relation.compact(story.leases.horizon(story.epoch));
            let shards = if round % 4 == 3 { 1 + story.random.below(4) as usize } else { story.relation.shards() };
            story.checkpoint(&store, shards);
        }
        story.check();
    }
}

#[test]
fn an_idle_relation_stores_nothing_again() {
    let mut story = Story::new(21, true, 1);
    story.step();
    assert!(!story.relation.delta(story.epoch).is_empty());
    assert!(story.relation.delta(story.epoch).is_empty());
}

#[test]
fn a_table_written_row_by_row_has_few_chunks() {
    let relation = Relation::new(schema(), None, true, 1);
    for row in 0..1_000 {
        relation.apply(0, row + 1, &changes(&[((row as i64, None), 1)])).unwrap();
        let _ = relation.delta(row + 1);
    }
    let snapshot = relation.snapshot(500);
    assert_eq!(snapshot.row_count(), 500);
    assert!(snapshot.chunks() < 1_000 / 64 + 10);
    assert_eq!(snapshot.batch(0, Some(&[])).num_rows(), 64);
}

#[test]
fn a_retraction_of_nothing_is_our_mistake() {
    let relation = Relation::new(schema(), Some(vec![0]), false, 1);
    relation.apply(0, 1, &changes(&[((1, None), 1)])).unwrap();
    assert!(relation.apply(0, 2, &changes(&[((1, Some("x".into())), -1)])).is_err());
    assert!(Relation::new(schema(), None, true, 1).apply(0, 1, &changes(&[((1, None), -1)])).is_err());
}
