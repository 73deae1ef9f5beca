//! What a sink has still to write after a restart: what its dataflow gave up to the checkpoint and the table did not have by then, and what it
//! gives again from there on, less what the log says that the table has got since.
//!
//! ```text
//!  owed = stored with the checkpoint + given since − logged
//! ```
//!
//! The sum is right once the dataflow has given again all that it had given when something was last logged. Whatever tables hold is in it when the
//! log has been replayed; rows from sources when these have been read up to where they were then. So each entry of the log says how far that was,
//! in the metadata of its schema. Until the sum is right, nothing is written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::connect::Positions;
use crate::error::{Error, Result};
use crate::state::Store;
use crate::types::{Changes, Epoch, ObjectId};

/// Where a schema's metadata says how far sources had been read.
const READ: &str = "tidemill.read";

/// How far sources had been read.
pub(crate) type Read = BTreeMap<ObjectId, Positions>;

/// What a sink owes, and from when on that is right.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// Their sum is what is owed, but for what is still in the outlet.
    pub(crate) changes: Vec<Changes>,
    /// How far sources must have been read.
    pub(crate) until: Read,
    /// The epoch in which they had been.
    pub(crate) reached: Option<Epoch>,
}

impl Owed {
    /// What is stored of a sink, its rows as batches of `schema`.
    pub(crate) fn stored(store: &Store, sink: ObjectId, schema: &SchemaRef) -> Result<Self> {
        let mut owed = Owed::default();
        for changes in store.owed(sink) {
            let changes = changes?;
            owed.note(&changes)?;
            owed.changes.push(changes);
        }
        for changes in store.read_log_of(sink) {
            let changes = changes?;
            owed.note(&changes)?;
            owed.changes.push(changes.negate());
        }
        for changes in &mut owed.changes {
            *changes = with_schema(changes, schema)?;
        }
        Ok(owed)
    }

    /// As it is stored with a checkpoint.
    pub(crate) fn to_store(&self, schema: &SchemaRef) -> Result<Vec<Changes>> {
        let mut parts = self.changes.clone();
        if !self.until.is_empty() {
            parts.push(stamped(&Changes::empty(Arc::clone(schema)), &self.until)?);
        }
        Ok(parts)
    }

    fn note(&mut self, changes: &Changes) -> Result<()> {
        let schema = changes.schema();
        let Some(text) = schema.metadata().get(READ) else { return Ok(()) };
        let read: Read = serde_json::from_str(text).map_err(|cause| Error::external("a sink's log is damaged", cause))?;
        for (source, positions) in read {
            let until = self.until.entry(source).or_default();
            for (partition, position) in positions {
                let until = until.entry(partition).or_insert(position);
                *until = position.max(*until);
            }
        }
        Ok(())
    }
}

/// The changes with a note of how far sources had been read.
pub(crate) fn stamped(changes: &Changes, read: &Read) -> Result<Changes> {
    if read.is_empty() {
        return Ok(changes.clone());
    }
    let text = serde_json::to_string(read).expect("numbers always encode");
    let schema = changes.schema();
    let schema = Schema::new(schema.fields().clone()).with_metadata(HashMap::from([(READ.to_owned(), text)]));
    with_schema(changes, &Arc::new(schema))
}

/// The same columns under a schema of the same types.
pub(crate) fn with_schema(changes: &Changes, schema: &SchemaRef) -> Result<Changes> {
    let rows = RecordBatch::try_new(Arc::clone(schema), changes.rows().columns().to_vec())?;
    Ok(changes.with_rows(rows))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::{Owed, stamped};
    use crate::state::test_directory::TestDirectory;
    use crate::state::{CheckpointData, Store};
    use crate::types::Changes;

    fn one(value: i64) -> Changes {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        Changes::insertions(RecordBatch::try_from_iter([("v", column)]).unwrap())
    }

    #[test]
    fn what_is_owed_comes_back_with_how_far_sources_were_read() {
        let dir = TestDirectory::new("owed");
        let store = Store::open(dir.path()).unwrap();
        let read = |position| BTreeMap::from([(7, BTreeMap::from([(0, position)]))]);
        store.append_log(3, None, &[(20, stamped(&one(1), &read(10)).unwrap())]).unwrap();
        // The sink is not part of this checkpoint, so its log stays.
        store.checkpoint(CheckpointData { epoch: 3, workers: 1, keep_log: vec![20], ..CheckpointData::default() });
        store.append_log(4, None, &[(20, stamped(&one(2), &read(30)).unwrap()), (20, stamped(&one(3), &read(20)).unwrap())]).unwrap();
        drop(store);

        let store = Store::open(dir.path()).unwrap();
        let owed = Owed::stored(&store, 20, &one(0).schema()).unwrap();
        let shown = |owed: &Owed| owed.changes.iter().map(|changes| (changes.rows().clone(), changes.weight(0))).collect::<Vec<_>>();
        assert_eq!(shown(&owed), [(one(1).rows().clone(), -1), (one(2).rows().clone(), -1), (one(3).rows().clone(), -1)]);
        assert_eq!(owed.until, read(30));

        // Now it is, and the sum replaces the log.
        let stored = vec![(20, owed.to_store(&one(0).schema()).unwrap())];
        store.checkpoint(CheckpointData { epoch: 4, workers: 1, owed: stored, ..CheckpointData::default() });
        assert_eq!(store.read_log_of(20).count(), 0);
        let again = Owed::stored(&store, 20, &one(0).schema()).unwrap();
        assert_eq!((shown(&again)[..3].to_vec(), again.until.clone()), (shown(&owed), read(30)));
        store.checkpoint(CheckpointData { epoch: 5, workers: 1, owed: vec![(20, vec![])], ..CheckpointData::default() });
        assert!(Owed::stored(&store, 20, &one(0).schema()).unwrap().changes.is_empty());
    }
}
