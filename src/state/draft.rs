//! A table as its writer sees it: what is there, and on top of it what the writer has changed and nobody else sees yet.
//!
//! In: changes of one transaction. Out: lookups, resolutions and snapshots as if they had been applied.
//! Holds: the changes and, for a table with a key, the newest rows of the keys that were touched since. The table itself is never copied.
//! Always: nobody else writes the table while a draft of it lives; its writers take turns. What takes long is done with a draft that was lent: one
//! that is never given back has changed nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;

use super::consolidate::net;
use super::relation::{Relation, gathered};
use super::resolve::{PIECE_ROWS, Resolved};
use super::segment::{Begin, Segment};
use super::shard::chosen;
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::types::{Changes, Epoch, OnConflict, Running, hash_rows};

/// An epoch that is never reached: reading at it shows everything that has been written, complete or not.
pub const NEWEST: Epoch = Epoch::MAX - 1;

/// The epoch of everything in the relations that a draft keeps for itself: nobody reads them as of another.
const OWN: Epoch = 1;

/// Rows of one segment of a snapshot, as relations have them.
const CHUNK_ROWS: usize = 1 << 16;

/// Rows, and bytes of changes, that are looked through in well under a millisecond: on any thread.
const SHORT_ROWS: usize = 1_024;
const SHORT_BYTES: usize = 256 << 10;

/// Changes on top of a table.
pub struct Draft {
    base: Arc<Relation>,
    changes: Vec<Changes>,
    bytes: usize,
    near: Option<Near>,
    /// The table with the changes in it, until there are more of them.
    shown: Option<Snapshot>,
}

/// How much a draft held at some moment.
#[derive(Clone, Copy, Debug)]
pub struct DraftMark {
    changes: usize,
    bytes: usize,
}

/// The newest rows under the keys that were touched.
struct Near {
    /// The keys themselves.
    touched: Relation,
    rows: Relation,
}

impl Draft {
    /// No changes on top of `base`.
    pub fn new(base: Arc<Relation>) -> Self {
        Draft { base, changes: Vec::new(), bytes: 0, near: None, shown: None }
    }

    /// The table without the changes.
    pub fn base(&self) -> &Arc<Relation> {
        &self.base
    }

    /// Bytes that the changes hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// No more rows than so many.
    pub fn rows_max(&self) -> usize {
        self.base.live_rows() + self.changes.iter().map(Changes::len).sum::<usize>()
    }

    /// Whether looking up `rows` rows, or writing them, takes long.
    pub fn takes_long(&self, rows: usize) -> bool {
        rows > SHORT_ROWS || (self.near.is_none() && self.base.key().is_some() && self.bytes > SHORT_BYTES)
    }

    /// Whether the next snapshot takes long.
    pub fn shows_late(&self) -> bool {
        self.shown.is_none() && self.bytes > SHORT_BYTES
    }

    /// Whether there is much in it.
    pub fn is_long(&self) -> bool {
        self.bytes > SHORT_BYTES
    }

    /// Another draft with the same changes, to be worked on elsewhere, which takes along what was looked up. It may be put in the place of this one.
    #[must_use]
    pub fn lend(&mut self) -> Draft {
        Draft {
            base: Arc::clone(&self.base),
            changes: self.changes.clone(),
            bytes: self.bytes,
            near: self.near.take(),
            shown: self.shown.clone(),
        }
    }

    /// Adds changes. Rows that they retract are there.
    pub fn write(&mut self, changes: Changes, running: &Running) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let changes = changes.canonical_floats();
        if let Some(near) = &self.near {
            near.apply(&self.base, &changes, running)?;
        }
        self.shown = None;
        self.bytes += changes.memory_size();
        self.changes.push(changes);
        Ok(())
    }

    /// How much has been written so far, for `back_to`.
    pub fn mark(&self) -> DraftMark {
        DraftMark { changes: self.changes.len(), bytes: self.bytes }
    }

    /// Forgets what was written behind the mark, which is one of this draft.
    pub fn back_to(&mut self, mark: DraftMark) {
        if self.changes.len() > mark.changes {
            self.changes.truncate(mark.changes);
            self.bytes = mark.bytes;
            self.near = None;
            self.shown = None;
        }
    }

    /// The rows with these keys, as [`Relation::lookup`] gives them.
    pub fn lookup(&mut self, keys: &[ArrayRef], running: &Running) -> Result<RecordBatch> {
        newest(self.under(keys, running)?, keys, running)
    }

    /// What writing `rows` changes, as [`Relation::resolve`] tells it.
    pub fn resolve(&mut self, rows: &RecordBatch, conflict: OnConflict, table_name: &str, running: &Running) -> Result<Resolved> {
        let keys = chosen(rows.columns(), self.base.key().unwrap_or_default());
        self.under(&keys, running)?.resolve_while(running, rows, conflict, table_name)
    }

    /// The whole table with the changes in it.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        if let Some(shown) = &self.shown {
            return Ok(shown.clone());
        }
        let shown = match self.changes.is_empty() {
            true => self.base.snapshot(NEWEST),
            false => self.base.preview(&Changes::concat(self.base.schema(), &self.changes))?,
        };
        self.shown = Some(shown.clone());
        Ok(shown)
    }

    /// The table and what all changes leave of one another: rows that came and went were never there. `None` if that is nothing.
    pub fn into_changes(self) -> (Arc<Relation>, Option<Changes>) {
        let left = left_of(Changes::concat(self.base.schema(), &self.changes), self.base.index_columns());
        (self.base, Some(left).filter(|left| !left.is_empty()))
    }

    /// The relation that knows the newest rows under these keys.
    fn under(&mut self, keys: &[ArrayRef], running: &Running) -> Result<&Relation> {
        if self.changes.is_empty() || self.base.key().is_none() {
            return Ok(&self.base);
        }
        if self.near.is_none() {
            let near = Near::new(&self.base)?;
            for changes in &self.changes {
                near.apply(&self.base, changes, running)?;
            }
            self.near = Some(near);
        }
        let near = self.near.as_ref().expect("made above");
        near.touch(&self.base, keys, running)?;
        Ok(&near.rows)
    }
}

/// What changes leave of one another. `index`: columns that equal rows agree in.
fn left_of(changes: Changes, index: &[usize]) -> Changes {
    let (columns, length) = (changes.rows().columns(), changes.len());
    let Some(weights) = changes.weights().map(|weights| weights.values()) else { return changes };
    let (comes, goes) = (weights.iter().any(|weight| *weight > 0), weights.iter().any(|weight| *weight < 0));
    if !(comes && goes) {
        return changes;
    }
    let left = net(columns, changes.weights(), &hash_rows(&chosen(columns, index), length));
    let inserted = left.insert.unwrap_or_else(|| (0..length as u32).collect());
    let retracted = left.retract.into_iter().map(|(row, count)| (row, -(count as i64)));
    let (rows, left): (Vec<u32>, Vec<i64>) = retracted.chain(inserted.into_iter().map(|row| (row, 1))).unzip();
    let count = |weights: &[i64]| weights.iter().map(|weight| weight.unsigned_abs()).sum::<u64>();
    if count(&left) == count(weights) {
        return changes;
    }
    Changes::new(changes.take(&UInt32Array::from(rows)).rows().clone(), Some(Int64Array::from(left)))
}

impl Near {
    fn new(base: &Relation) -> Result<Self> {
        let key = base.key().unwrap_or_default();
        let touched = Relation::new(Arc::new(base.schema().project(key)?), Some((0..key.len()).collect()), false, 1);
        Ok(Near { touched, rows: Relation::new(Arc::clone(base.schema()), Some(key.to_vec()), false, 1) })
    }

    /// Fetches the rows under keys that were not touched before.
    fn touch(&self, base: &Relation, keys: &[ArrayRef], running: &Running) -> Result<()> {
        let keys = RecordBatch::try_new(Arc::clone(self.touched.schema()), keys.to_vec())?;
        let fresh = self.touched.resolve_while(running, &keys, OnConflict::DoNothing, "")?.changes;
        self.touched.apply(0, OWN, &fresh)?;
        let there = newest(base, fresh.rows().columns(), running)?;
        self.rows.apply(0, OWN, &Changes::insertions(there))
    }

    fn apply(&self, base: &Relation, changes: &Changes, running: &Running) -> Result<()> {
        self.touch(base, &chosen(changes.rows().columns(), base.key().unwrap_or_default()), running)?;
        self.rows.apply(0, OWN, changes)
    }
}

/// The newest rows with these keys, looked up in pieces.
fn newest(relation: &Relation, keys: &[ArrayRef], running: &Running) -> Result<RecordBatch> {
    let probes = keys.first().map_or(0, |keys| keys.len());
    if probes <= PIECE_ROWS {
        return relation.lookup(keys, NEWEST);
    }
    let mut found = Vec::with_capacity(probes.div_ceil(PIECE_ROWS));
    for offset in (0..probes).step_by(PIECE_ROWS) {
        running.check()?;
        let piece: Vec<ArrayRef> = keys.iter().map(|keys| keys.slice(offset, PIECE_ROWS.min(probes - offset))).collect();
        found.push(relation.lookup(&piece, NEWEST)?);
    }
    Ok(concat_batches(relation.schema(), &found)?)
}

impl Relation {
    /// The newest state as if `changes` had been applied. For relations of one shard: tables. As it takes no part in what is written later, it
    /// is to be given up when the table's turn ends.
    fn preview(&self, changes: &Changes) -> Result<Snapshot> {
        self.accepts(changes)?;
        let columns = changes.rows().columns();
        let hashes = hash_rows(&chosen(columns, self.index_columns()), changes.len());
        let net = net(columns, changes.weights(), &hashes);
        let mut hidden = BTreeSet::new();
        let mut snapshot = {
            let shard = self.shards[0].read();
            for (row, count) in net.retract {
                if shard.find_equal(columns, row as usize, hashes[row as usize], count, &mut hidden) > 0 {
                    return Err(Error::internal("a retracted row is not in the relation"));
                }
            }
            Snapshot::without(Arc::clone(self.schema()), NEWEST, shard.pages(), &hidden)
        };
        let inserted = match &net.insert {
            None => columns.to_vec(),
            Some(rows) => gathered(columns, &[], rows)?.0,
        };
        let rows = net.insert.map_or(changes.len(), |rows| rows.len());
        for offset in (0..rows).step_by(CHUNK_ROWS) {
            let length = CHUNK_ROWS.min(rows - offset);
            let part = inserted.iter().map(|column| column.slice(offset, length)).collect();
            snapshot.push(Segment::new(part, length, Begin::Uniform(0)));
        }
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::{Draft, NEWEST};
    use crate::error::Kind;
    use crate::state::{Relation, Snapshot};
    use crate::types::{Changes, OnConflict, Running};

    fn column(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn rows(ids: &[i64], values: &[i64]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("v", DataType::Int64, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![column(ids), column(values)]).unwrap()
    }

    fn table(key: Option<Vec<usize>>, filled: &RecordBatch) -> Arc<Relation> {
        let table = Relation::new(filled.schema(), key, false, 1);
        table.apply(0, 1, &Changes::insertions(filled.clone())).unwrap();
        Arc::new(table)
    }

    fn draft_of_one_more() -> Changes {
        Changes::insertions(rows(&[6], &[60]))
    }

    fn shown(snapshot: &Snapshot) -> Vec<(i64, i64)> {
        let values =
            |batch: &RecordBatch, column: usize| batch.column(column).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
        let batches = (0..snapshot.chunks()).map(|chunk| snapshot.batch(chunk, None));
        let mut all: Vec<_> = batches.flat_map(|batch| values(&batch, 0).into_iter().zip(values(&batch, 1)).collect::<Vec<_>>()).collect();
        assert_eq!(all.len(), snapshot.row_count());
        all.sort_unstable();
        all
    }

    #[test]
    fn a_writer_sees_what_it_has_changed_and_nobody_else_does() {
        let base = table(Some(vec![0]), &rows(&[1, 2, 3], &[10, 20, 30]));
        let (mut draft, running) = (Draft::new(Arc::clone(&base)), Running::default());
        for (ids, values) in [([1, 4], [11, 40]), ([4, 5], [41, 50])] {
            let resolved = draft.resolve(&rows(&ids, &values), OnConflict::Overwrite, "t", &running).unwrap();
            draft.write(resolved.changes, &running).unwrap();
        }
        draft.write(Changes::retractions(rows(&[2], &[20])), &running).unwrap();
        let expected = [(1, 11), (3, 30), (4, 41), (5, 50)];
        assert_eq!(shown(&draft.snapshot().unwrap()), expected);
        assert_eq!(shown(&base.snapshot(NEWEST)), [(1, 10), (2, 20), (3, 30)]);

        assert_eq!(draft.lookup(&[column(&[5, 2, 1, 3])], &running).unwrap(), rows(&[5, 1, 3], &[50, 11, 30]));
        assert_eq!(draft.resolve(&rows(&[5], &[0]), OnConflict::Error, "t", &running).unwrap_err().kind(), Kind::UniqueViolation);
        assert_eq!(draft.resolve(&rows(&[2, 3], &[0, 0]), OnConflict::DoNothing, "t", &running).unwrap().affected, 1);

        let mark = draft.mark();
        draft.write(draft_of_one_more(), &running).unwrap();
        assert_eq!(shown(&draft.snapshot().unwrap()).len(), expected.len() + 1);
        draft.back_to(mark);
        assert_eq!(shown(&draft.snapshot().unwrap()), expected);
        assert_eq!(draft.lookup(&[column(&[6, 5])], &running).unwrap(), rows(&[5], &[50]));

        let (base, changes) = draft.into_changes();
        base.apply(0, 2, &changes.unwrap()).unwrap();
        assert_eq!(shown(&base.snapshot(NEWEST)), expected);
    }

    #[test]
    fn rows_that_came_and_went_in_one_transaction_were_told_to_everybody() {
        let base = table(Some(vec![0]), &rows(&[1, 2], &[10, 20]));
        let mut draft = Draft::new(Arc::clone(&base));
        draft.write(Changes::insertions(rows(&[3, 4], &[30, 40])), &Running::default()).unwrap();
        draft.write(Changes::retractions(rows(&[3, 1], &[30, 10])), &Running::default()).unwrap();
        draft.write(Changes::insertions(rows(&[1], &[11])), &Running::default()).unwrap();
        draft.write(Changes::retractions(rows(&[1], &[11])), &Running::default()).unwrap();
        draft.write(Changes::insertions(rows(&[1], &[12])), &Running::default()).unwrap();
        let (base, changes) = draft.into_changes();
        let changes = changes.unwrap();
        assert_eq!(changes.len(), 3, "{changes:?}");
        base.apply(0, 2, &changes).unwrap();
        assert_eq!(shown(&base.snapshot(NEWEST)), [(1, 12), (2, 20), (4, 40)]);

        let mut draft = Draft::new(base);
        draft.write(Changes::insertions(rows(&[5], &[50])), &Running::default()).unwrap();
        draft.write(Changes::retractions(rows(&[5], &[50])), &Running::default()).unwrap();
        assert!(draft.into_changes().1.is_none());
    }

    #[test]
    fn a_draft_that_was_lent_and_not_given_back_has_changed_nothing() {
        let (mut draft, running) = (Draft::new(table(Some(vec![0]), &rows(&[1, 2], &[10, 20]))), Running::default());
        draft.write(draft_of_one_more(), &running).unwrap();
        let many: Vec<i64> = (0..10_000).collect();
        let waiting = running.waiting();
        let mut lent = draft.lend();
        let resolved = lent.resolve(&rows(&many, &many), OnConflict::Overwrite, "t", &running).unwrap();
        lent.write(resolved.changes, &running).unwrap();
        assert_eq!(shown(&lent.snapshot().unwrap()).len(), many.len());
        drop(waiting);
        let error = draft.lend().resolve(&rows(&many, &many), OnConflict::Overwrite, "t", &running).unwrap_err();
        assert_eq!(error.kind(), Kind::Canceled);
        assert_eq!(shown(&draft.snapshot().unwrap()), [(1, 10), (2, 20), (6, 60)]);
        let error = draft.resolve(&rows(&[6], &[0]), OnConflict::Error, "t", &Running::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::UniqueViolation, "what was looked up is looked up again");
    }

    #[test]
    fn without_a_key_equal_rows_go_one_by_one() {
        let base = table(None, &rows(&[7, 7, 7, 8], &[0, 0, 0, 0]));
        let (mut draft, running) = (Draft::new(base), Running::default());
        draft.write(Changes::retractions(rows(&[7], &[0])), &running).unwrap();
        draft.write(Changes::insertions(rows(&[9], &[0])), &running).unwrap();
        draft.write(Changes::retractions(rows(&[7, 9], &[0, 0])), &running).unwrap();
        assert_eq!(shown(&draft.snapshot().unwrap()), [(7, 0), (8, 0)]);
        draft.write(Changes::retractions(rows(&[7, 7], &[0, 0])), &running).unwrap();
        assert!(draft.snapshot().is_err(), "there is only one left");
    }
}
