//! Where writing and reading meet: the rows of a table or materialised view, each with the epochs between which it lived.
//!
//! Writers apply one epoch's changes after the other, each to its own shard; any thread reads, as of any epoch that it holds a lease on,
//! and asks no writer. A relation whose rows are never retracted has no index; with a key the index is by key, else by the whole row.
//!
//! Always: at every epoch, the visible rows are the sum of all changes up to it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, make_array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use parking_lot::{Mutex, RwLock};

use super::blocks::Blocks;
use super::consolidate::consolidate;
use super::found::Found;
use super::segment::Segment;
use super::shard::{Shard, chosen};
use super::snapshot::{Snapshot, batch_of};
use crate::error::{Error, Result};
use crate::types::{Changes, Epoch, all_nullable, hash_rows, worker_of};

/// Pages that one call of `compact` looks at in a shard. Each takes a few milliseconds under the shard's lock, and other work gets in between.
const COMPACT_PAGES: usize = 16;

/// Old versions taken out of the index under one lock: below a millisecond.
const TRIM_ROWS: usize = 4_096;

/// The rows of one table or materialised view.
#[derive(Debug)]
pub struct Relation {
    schema: SchemaRef,
    key: Option<Vec<usize>>,
    append_only: bool,
    partitioned_by_key: bool,
    /// Columns that say when a row arrived.
    arrivals: Vec<usize>,
    /// The key's columns, or all.
    index_columns: Arc<[usize]>,
    pub(super) shards: Vec<RwLock<Shard>>,
    /// What is stored of it. Locked before any shard.
    pub(super) blocks: Mutex<Blocks>,
}

impl Relation {
    /// An empty relation. `key`: the positions of columns that together are unique. `append_only`: no retraction ever arrives, so no index is
    /// kept unless there is a key to look up. `shards`: how many writers, 1 for tables.
    pub fn new(schema: SchemaRef, key: Option<Vec<usize>>, append_only: bool, shards: usize) -> Self {
        assert!(shards > 0, "a relation has a shard at least");
        let index_columns: Arc<[usize]> = key.clone().unwrap_or_else(|| (0..schema.fields().len()).collect()).into();
        let indexed = !append_only || key.is_some();
        let shard = || RwLock::new(Shard::new(Arc::clone(&index_columns), key.is_some(), indexed));
        Relation {
            shards: (0..shards).map(|_| shard()).collect(),
            blocks: Mutex::new(Blocks::new(shards)),
            schema,
            key,
            append_only,
            partitioned_by_key: false,
            arrivals: Vec::new(),
            index_columns,
        }
    }

    /// Has rows stamped as they arrive, in these columns (PROCTIME): until then they are NULL.
    #[must_use]
    pub fn stamping(mut self, arrivals: Vec<usize>) -> Self {
        self.arrivals = arrivals;
        self
    }

    /// The positions of the columns that say when a row arrived.
    pub fn arrivals(&self) -> &[usize] {
        &self.arrivals
    }

    /// Promises that every row is written to the shard `worker_of(hash_rows(key columns), shards)`: then a lookup asks only that one.
    #[must_use]
    pub fn partitioned_by_key(mut self) -> Self {
        self.partitioned_by_key = self.key.is_some();
        self
    }

    /// A relation of the same rows with other columns, at every epoch that this one has: `change` makes them of a batch of the old ones. `key`:
    /// where the key's columns are now; `places`: by the old positions of columns the new ones. Its next delta stores everything anew. Nobody writes this one from now on.
    pub fn with_columns(
        &self,
        schema: SchemaRef,
        key: Option<Vec<usize>>,
        places: &[Option<usize>],
        change: &dyn Fn(&RecordBatch) -> Result<Vec<ArrayRef>>,
    ) -> Result<Relation> {
        let index_columns: Arc<[usize]> = key.clone().unwrap_or_else(|| (0..schema.fields().len()).collect()).into();
        // Rows that have gone may lack what a column must have by now.
        let lenient = all_nullable(&self.schema);
        let segment = |segment: &Segment| {
            let columns = change(&batch_of(&lenient, segment.columns().to_vec(), segment.rows()))?;
            let columns = columns.into_iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| if field.is_nullable() { Ok(column) } else { without_nulls(&column) });
            Ok(segment.with_columns(columns.collect::<Result<_>>()?))
        };
        let shards = self.shards.iter().map(|shard| {
            // A copy, so that nobody is held up for as long as it takes.
            let shard = shard.read().clone();
            Ok(RwLock::new(shard.with_columns(Arc::clone(&index_columns), places, &segment)?))
        });
        Ok(Relation {
            shards: shards.collect::<Result<_>>()?,
            blocks: Mutex::new(Blocks::anew(self.shards.len())),
            schema,
            key,
            append_only: self.append_only,
            partitioned_by_key: self.partitioned_by_key,
            arrivals: self.arrivals.iter().filter_map(|column| places[*column]).collect(),
            index_columns,
        })
    }

    /// As `with_columns`, of a relation in whose newest state there are no rows: nobody asks for others.
    pub fn emptied(&self, schema: SchemaRef, key: Option<Vec<usize>>, places: &[Option<usize>]) -> Relation {
        let mut empty = Relation::new(schema, key, self.append_only, self.shards());
        empty.blocks = Mutex::new(Blocks::anew(self.shards.len()));
        for (number, columns) in self.shards[0].read().secondary_indexes() {
            if let Some(columns) = columns.iter().map(|column| places[*column]).collect::<Option<Vec<usize>>>() {
                empty.add_index(number, &columns);
            }
        }
        empty
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Positions of the columns that together are unique.
    pub fn key(&self) -> Option<&[usize]> {
        self.key.as_deref()
    }

    /// Whether no retraction ever arrives.
    pub fn append_only(&self) -> bool {
        self.append_only
    }

    /// How many writers it has.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Applies changes of one epoch to one shard. Epochs never decrease per shard; one epoch may come in several calls. A row of weight `n` is
    /// stored `n` times. Within a call retractions and insertions may stand in any order. A retraction without a row is an internal error, after
    /// which the shard is not to be used.
    pub fn apply(&self, shard: usize, epoch: Epoch, changes: &Changes) -> Result<()> {
        match self.apply_part(shard, epoch, changes)? {
            None => Ok(()),
            Some(_) => Err(Error::internal("a retracted row is not in the relation")),
        }
    }

    /// As `apply`, for an epoch whose changes come in parts of which none need be right by itself: gives back the retractions whose rows are
    /// not there (yet). A row that one part inserts and a later one retracts takes room until the next compaction.
    pub fn apply_part(&self, shard: usize, epoch: Epoch, changes: &Changes) -> Result<Option<Changes>> {
        if changes.is_empty() {
            return Ok(None);
        }
        self.accepts(changes)?;
        let columns = changes.rows().columns();
        let indexed = !self.append_only || self.key.is_some();
        let hashes = if indexed { hash_rows(&chosen(columns, &self.index_columns), changes.len()) } else { Vec::new() };
        let net = consolidate(columns, changes.weights(), &hashes);
        // Rows that do not go in as they are get gathered before the lock is taken.
        let gathered = match &net.insert {
            None => None,
            Some(rows) => Some(gathered(columns, &hashes, rows)?),
        };
        let mut shard = self.shards[shard].write();
        shard.enter(epoch)?;
        let (mut missing, mut missed) = (Vec::new(), Vec::new());
        for (row, count) in &net.retract {
            let left = shard.retract(epoch, columns, *row as usize, hashes[*row as usize], *count);
            if left > 0 {
                missing.push(*row);
                missed.push(-i64::try_from(left).expect("it came as a weight"));
            }
        }
        match (gathered, net.insert) {
            (Some((columns, hashes)), Some(rows)) => shard.insert(epoch, &columns, rows.len(), &hashes)?,
            _ => shard.insert(epoch, columns, changes.len(), &hashes)?,
        }
        let missing = (!missing.is_empty()).then(|| changes.take(&missing.into()).into_parts().0);
        Ok(missing.map(|rows| Changes::new(rows, Some(missed.into()))))
    }

    /// Whether the changes are of a kind that can be applied: of the relation's columns, and without retractions if it is append-only.
    pub fn accepts(&self, changes: &Changes) -> Result<()> {
        self.check(changes.rows().columns())?;
        if self.append_only && changes.weights().is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0)) {
            return Err(Error::internal("a retraction in an append-only relation"));
        }
        Ok(())
    }

    /// The newest epoch that changed it.
    pub fn newest(&self) -> Epoch {
        self.shards.iter().map(|shard| shard.read().newest()).max().unwrap_or_default()
    }

    /// The rows visible at `epoch` with these keys: arrays of the key's columns, one row per probe. Found rows only, in the order of the probes;
    /// a key with NULL finds nothing. An error if the relation has no key.
    pub fn lookup(&self, keys: &[ArrayRef], epoch: Epoch) -> Result<RecordBatch> {
        self.rows(&self.find(keys, usize::MAX, epoch)?.0)
    }

    /// As `lookup`: where the rows lie. Stops behind the probe with which it has found `enough` rows, and says how many probes it has made.
    pub fn find(&self, keys: &[ArrayRef], enough: usize, epoch: Epoch) -> Result<(Found, usize)> {
        let key = self.key.as_ref().ok_or_else(|| Error::internal("a lookup in a relation without key"))?;
        let others = key.iter().zip(keys).any(|(column, keys)| self.schema.field(*column).data_type() != keys.data_type());
        if keys.len() != key.len() || others {
            return Err(Error::internal("a lookup with other columns than the key's"));
        }
        let probes = keys.first().map_or(1, |keys| keys.len());
        let hashes = hash_rows(keys, probes);
        let shards: Vec<_> = self.shards.iter().map(RwLock::read).collect();
        let mut found = Found::default();
        for (probe, hash) in hashes.into_iter().enumerate().filter(|(probe, _)| keys.iter().all(|keys| keys.is_valid(*probe))) {
            let seen = if self.partitioned_by_key {
                shards[worker_of(hash, shards.len())].find_visible(keys, probe, hash, epoch)
            } else {
                shards.iter().find_map(|shard| shard.find_visible(keys, probe, hash, epoch))
            };
            if let Some((segment, row)) = seen {
                found.push(probe, segment, row);
                if found.len() >= enough {
                    return Ok((found, probe + 1));
                }
            }
        }
        Ok((found, probes))
    }

    /// Makes an index by these columns, under a number of the caller's. Rows that are there are put into it page by page, so that writers and
    /// readers get their turns; it finds rows when this returns.
    pub fn add_index(&self, number: u32, columns: &[usize]) {
        self.start_index(number, columns);
        while self.fill_index(number) == Some(true) {}
    }

    /// Begins such an index: rows that come from now on are in it, and it finds nothing before `fill_index` has put in those that are there.
    pub fn start_index(&self, number: u32, columns: &[usize]) {
        let columns: Arc<[usize]> = columns.into();
        for shard in &self.shards {
            shard.write().start_secondary(number, Arc::clone(&columns));
        }
    }

    /// Puts a page of each shard into an index, so that writers and readers get their turns. Says whether there is more to do; `None` if there is no
    /// such index.
    pub fn fill_index(&self, number: u32) -> Option<bool> {
        let mut more = false;
        for shard in &self.shards {
            more |= shard.write().fill_secondary(number)?;
        }
        Some(more)
    }

    /// Forgets an index.
    pub fn drop_index(&self, number: u32) {
        for shard in &self.shards {
            shard.write().drop_secondary(number);
        }
    }

    /// The rows visible at `epoch` with these values in the columns of an index: one array per column, one row per probe. A probe with NULL
    /// finds nothing. `None` if there is no such index, or not yet.
    pub fn lookup_index(&self, number: u32, keys: &[ArrayRef], epoch: Epoch) -> Result<Option<RecordBatch>> {
        let found = self.find_by_index(number, keys, usize::MAX, epoch);
        found.map(|(found, _)| self.rows(&found)).transpose()
    }

    /// As `lookup_index`: where the rows lie. Stops behind the probe with which it has found `enough` rows, and says how many probes it has made.
    pub fn find_by_index(&self, number: u32, keys: &[ArrayRef], enough: usize, epoch: Epoch) -> Option<(Found, usize)> {
        let probes = keys.first().map_or(0, |keys| keys.len());
        let hashes = hash_rows(keys, probes);
        let shards: Vec<_> = self.shards.iter().map(RwLock::read).collect();
        let mut found = Found::default();
        for (probe, hash) in hashes.into_iter().enumerate().filter(|(probe, _)| keys.iter().all(|keys| keys.is_valid(*probe))) {
            for shard in &shards {
                shard.find_all(number, keys, probe, hash, epoch, &mut found)?;
            }
            if found.len() >= enough {
                return Some((found, probe + 1));
            }
        }
        Some((found, probes))
    }

    /// Everything visible at `epoch`. The caller holds a lease on it, and it is complete.
    pub fn snapshot(&self, epoch: Epoch) -> Snapshot {
        let mut segments = Vec::new();
        for shard in &self.shards {
            segments.extend(shard.read().pages().iter().flat_map(|(_, page)| page.segments()).cloned());
        }
        Snapshot::new(Arc::clone(&self.schema), epoch, segments)
    }

    /// Lets go of rows that ended at or before `horizon`: no reader, now or later, asks for an older epoch, and none of a later one is missing.
    /// A bounded amount of work; called now and then.
    pub fn compact(&self, horizon: Epoch) {
        let mut blocks = self.blocks.lock();
        for (number, shard) in self.shards.iter().enumerate() {
            while shard.write().trim(horizon, TRIM_ROWS) {}
            let pages = shard.write().mostly_dead(COMPACT_PAGES);
            for page in pages {
                match shard.write().compact_page(page, horizon) {
                    Ok(true) => blocks.page_removed(number, page),
                    Ok(false) => {}
                    Err(error) => tracing::error!(%error, "a page could not be compacted"),
                }
            }
            shard.write().forget_begins(horizon);
        }
    }

    /// Rows there are in the newest state.
    pub fn live_rows(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().live()).sum()
    }

    /// Bytes of memory held: rows, their epochs and the index.
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().memory_bytes()).sum::<usize>() + self.blocks.lock().memory_bytes()
    }

    /// The columns by which rows are spread over shards when their number changes.
    pub(super) fn index_columns(&self) -> &[usize] {
        &self.index_columns
    }

    /// Columns from outside must have the types that the stored ones have, or nothing could be merged later.
    pub(super) fn check(&self, columns: &[ArrayRef]) -> Result<()> {
        let fields = self.schema.fields();
        if columns.len() != fields.len() {
            return Err(Error::internal(format!("{} columns for a relation of {}", columns.len(), fields.len())));
        }
        for (field, column) in fields.iter().zip(columns) {
            if field.data_type() != column.data_type() {
                return Err(Error::internal(format!(
                    "column \"{}\" is {}, but got {}",
                    field.name(),
                    field.data_type(),
                    column.data_type()
                )));
            }
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(Error::internal(format!("NULL for column \"{}\"", field.name())));
            }
        }
        Ok(())
    }

    /// All columns of what was found.
    fn rows(&self, found: &Found) -> Result<RecordBatch> {
        if found.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let columns = match found.single() {
            Some((segment, row)) => segment.columns().iter().map(|column| column.slice(row, 1)).collect(),
            None => found.gather_all()?,
        };
        Ok(batch_of(&self.schema, columns, found.len()))
    }
}

/// The column with some value or other in the place of NULLs: only rows that have gone have them, and nobody reads those with this column.
fn without_nulls(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(make_array(column.to_data().into_builder().nulls(None).build()?))
}

/// Rows of `columns` and their hashes, copied together.
pub(super) fn gathered(columns: &[ArrayRef], hashes: &[u64], rows: &[u32]) -> Result<(Vec<ArrayRef>, Vec<u64>)> {
    let indices = UInt32Array::from_iter_values(rows.iter().copied());
    let columns = columns.iter().map(|column| Ok(take(column.as_ref(), &indices, None)?)).collect::<Result<Vec<_>>>()?;
    let hashes = if hashes.is_empty() { Vec::new() } else { rows.iter().map(|row| hashes[*row as usize]).collect() };
    Ok((columns, hashes))
}
