//! A transaction: what it has written and not shown yet, which tables it holds, which epoch it reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use crate::engine::clock::Write;
use crate::error::Result;
use crate::state::{Lease, Relation, Snapshot};
use crate::types::{Changes, Epoch, ObjectId};

/// An epoch that is never reached: reading at it shows everything that has been written, complete or not.
pub(crate) const NEWEST: Epoch = Epoch::MAX - 1;

/// What a session has open.
pub(crate) struct Transaction {
    /// By BEGIN, and so ended by COMMIT or ROLLBACK; otherwise by the end of the statement or message.
    pub(crate) explicit: bool,
    /// It belongs to one statement, and ends with it.
    pub(crate) single: bool,
    /// A statement failed: everything but ROLLBACK is refused.
    pub(crate) failed: bool,
    /// The epoch that its queries read, from the first one on.
    pub(crate) reads_at: Option<Lease>,
    /// Settings as they were before SET LOCAL.
    pub(crate) local_settings: Vec<(String, Option<String>)>,
    tables: BTreeMap<ObjectId, WrittenTable>,
}

/// A table that the transaction holds.
struct WrittenTable {
    relation: Arc<Relation>,
    changes: Vec<Changes>,
    /// The table as the transaction sees it, made when it is first asked for after a write.
    overlay: Option<Arc<Relation>>,
    _turn: OwnedMutexGuard<()>,
}

impl Transaction {
    /// The transaction of one statement that stands alone.
    pub(crate) fn single() -> Self {
        Transaction { single: true, ..Transaction::new(false) }
    }

    pub(crate) fn new(explicit: bool) -> Self {
        Transaction { explicit, single: false, failed: false, reads_at: None, local_settings: Vec::new(), tables: BTreeMap::new() }
    }

    /// Whether it holds the table already.
    pub(crate) fn holds(&self, table: ObjectId) -> bool {
        self.tables.contains_key(&table)
    }

    /// Takes a table whose turn has come.
    pub(crate) fn hold(&mut self, table: ObjectId, relation: Arc<Relation>, turn: OwnedMutexGuard<()>) {
        self.tables.insert(table, WrittenTable { relation, changes: Vec::new(), overlay: None, _turn: turn });
    }

    /// The table as this transaction sees it, for looking keys up; `None` if it does not hold it.
    pub(crate) fn table(&mut self, table: ObjectId) -> Result<Option<Arc<Relation>>> {
        let Some(written) = self.tables.get_mut(&table) else { return Ok(None) };
        if written.changes.is_empty() {
            return Ok(Some(Arc::clone(&written.relation)));
        }
        if written.overlay.is_none() {
            written.overlay = Some(Arc::new(overlay(&written.relation, &written.changes)?));
        }
        Ok(written.overlay.clone())
    }

    /// The table's rows as this transaction sees them; `None` if it does not hold the table.
    pub(crate) fn snapshot(&mut self, table: ObjectId) -> Result<Option<Snapshot>> {
        Ok(self.table(table)?.map(|relation| relation.snapshot(NEWEST)))
    }

    /// Notes changes of a table that it holds.
    pub(crate) fn write(&mut self, table: ObjectId, changes: Changes) -> Result<()> {
        let written = self.tables.get_mut(&table).expect("a transaction writes only tables that it holds");
        if let Some(overlay) = &written.overlay {
            overlay.apply(0, OVERLAY_EPOCH, &changes)?;
        }
        if !changes.is_empty() {
            written.changes.push(changes);
        }
        Ok(())
    }

    /// What has been written, and the tables' turns, which end when the second part is dropped.
    pub(crate) fn into_writes(self) -> (Vec<Write>, impl Drop) {
        let mut writes = Vec::new();
        let mut turns = Turns(Vec::new());
        for (table, written) in self.tables {
            if !written.changes.is_empty() {
                let changes = Changes::concat(written.relation.schema(), &written.changes);
                writes.push(Write { table, relation: written.relation, changes, logged: false });
            }
            turns.0.push(written._turn);
        }
        (writes, turns)
    }
}

/// Table turns that are held until this goes away.
struct Turns(Vec<OwnedMutexGuard<()>>);

impl Drop for Turns {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Epoch of everything in an overlay but the rows it started with.
const OVERLAY_EPOCH: Epoch = 2;

/// A copy of the table's newest state with `changes` in it.
fn overlay(relation: &Relation, changes: &[Changes]) -> Result<Relation> {
    let copy = Relation::new(Arc::clone(relation.schema()), relation.key().map(<[usize]>::to_vec), false, 1);
    let snapshot = relation.snapshot(NEWEST);
    for chunk in 0..snapshot.chunks() {
        copy.apply(0, OVERLAY_EPOCH - 1, &Changes::insertions(snapshot.batch(chunk, None)))?;
    }
    copy.apply(0, OVERLAY_EPOCH, &Changes::concat(relation.schema(), changes))?;
    Ok(copy)
}
