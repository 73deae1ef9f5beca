//! A transaction: what it has written and not shown yet, which tables it holds, which epoch it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use crate::engine::clock::Write;
use crate::engine::savepoint::Savepoint;
use crate::engine::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::state::{Draft, DraftMark, Lease, Relation, Snapshot};
use crate::types::{Epoch, ObjectId};

/// Bytes of changes that one transaction may hold. They go into the log in one piece, whose size the store bounds at 4 GiB, and
/// are copied on the way.
const BYTES_MAX: usize = 1 << 30;

/// What a session has open.
pub(crate) struct Transaction {
    /// By BEGIN, and so ended by COMMIT or ROLLBACK; otherwise by the end of the statement or message.
    pub(crate) explicit: bool,
    /// It belongs to one statement, and ends with it.
    pub(crate) single: bool,
    /// A statement failed: everything but ROLLBACK is refused.
    pub(crate) failed: bool,
    /// When it began, in microseconds since 1970: what `now()` means in it.
    pub(crate) began_micros: i64,
    /// The epoch that its queries read, from the first one on.
    pub(crate) reads_at: Option<Lease>,
    /// Settings as they were before SET LOCAL.
    pub(crate) local_settings: Vec<(String, Option<String>)>,
    /// All settings as they were before the first SET of whatever kind: a rollback takes it back.
    pub(crate) settings_before: Option<Settings>,
    /// Whether the client knows that a view does not show what it has written.
    pub(crate) told_behind: bool,
    /// Those that can be gone back to, the oldest first.
    pub(crate) savepoints: Vec<Savepoint>,
    tables: BTreeMap<ObjectId, WrittenTable>,
}

/// A table that the transaction holds.
struct WrittenTable {
    draft: Draft,
    turn: OwnedMutexGuard<()>,
}

impl Transaction {
    /// The transaction of one statement that stands alone.
    pub(crate) fn single(began_micros: i64) -> Self {
        Transaction { single: true, ..Transaction::new(false, began_micros) }
    }

    pub(crate) fn new(explicit: bool, began_micros: i64) -> Self {
        Transaction {
            explicit,
            single: false,
            failed: false,
            began_micros,
            reads_at: None,
            local_settings: Vec::new(),
            settings_before: None,
            told_behind: false,
            savepoints: Vec::new(),
            tables: BTreeMap::new(),
        }
    }

    /// Whether it holds the table already.
    pub(crate) fn holds(&self, table: ObjectId) -> bool {
        self.tables.contains_key(&table)
    }

    /// The tables that it has changed.
    pub(crate) fn written(&self) -> BTreeSet<ObjectId> {
        self.tables.iter().filter(|(_, written)| written.draft.bytes() > 0).map(|(table, _)| *table).collect()
    }

    /// The newest epoch of the tables that it holds, if it holds any.
    pub(crate) fn newest_held(&self) -> Option<Epoch> {
        self.tables.values().map(|written| written.draft.base().newest()).max()
    }

    /// Takes a table whose turn has come.
    pub(crate) fn hold(&mut self, table: ObjectId, relation: Arc<Relation>, turn: OwnedMutexGuard<()>) {
        self.tables.insert(table, WrittenTable { draft: Draft::new(relation), turn });
    }

    /// The table as this transaction sees it, for looking keys up and writing; `None` if it does not hold it.
    pub(crate) fn table(&mut self, table: ObjectId) -> Option<&mut Draft> {
        self.tables.get_mut(&table).map(|written| &mut written.draft)
    }

    /// The table's rows as this transaction sees them; `None` if it does not hold the table.
    pub(crate) fn snapshot(&mut self, table: ObjectId) -> Result<Option<Snapshot>> {
        self.table(table).map(Draft::snapshot).transpose()
    }

    /// `54000` if it has written more bytes than a transaction may.
    pub(crate) fn check_size(&self) -> Result<()> {
        check_size(self.tables.values().map(|written| written.draft.bytes()).sum())
    }

    /// Whether it holds no table.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.tables.is_empty()
    }

    /// Whether it has written so much that others would wait if it became final on their thread.
    pub(crate) fn is_long(&self) -> bool {
        self.tables.values().any(|written| written.draft.is_long())
    }

    /// How much it has written of each table that it holds.
    pub(crate) fn marks(&self) -> BTreeMap<ObjectId, DraftMark> {
        self.tables.iter().map(|(table, written)| (*table, written.draft.mark())).collect()
    }

    /// Forgets what was written since `marks`; tables that were not held then are let go.
    pub(crate) fn back_to(&mut self, marks: &BTreeMap<ObjectId, DraftMark>) {
        self.tables.retain(|table, written| {
            let mark = marks.get(table);
            mark.inspect(|mark| written.draft.back_to(**mark)).is_some()
        });
    }

    /// Forgets a table with all that was written into it; gives its turn.
    pub(crate) fn let_go(&mut self, table: ObjectId) -> Option<OwnedMutexGuard<()>> {
        self.tables.remove(&table).map(|written| written.turn)
    }

    /// What has been written, and the tables' turns, which end when the second part is dropped.
    pub(crate) fn into_writes(self) -> (Vec<Write>, impl Drop) {
        let mut writes = Vec::new();
        let mut turns = Turns(Vec::new());
        for (table, written) in self.tables {
            let (relation, changes) = written.draft.into_changes();
            writes.extend(changes.map(|changes| Write { table, relation, changes, logged: false, by: None }));
            turns.0.push(written.turn);
        }
        (writes, turns)
    }
}

/// `54000` for more bytes than a transaction may write.
pub(crate) fn check_size(bytes: usize) -> Result<()> {
    if bytes <= BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(Kind::LimitExceeded, format!("a transaction may change at most {} MiB of rows", BYTES_MAX >> 20))
        .hint("Write in several transactions."))
}

/// Table turns that are held until this goes away.
struct Turns(Vec<OwnedMutexGuard<()>>);

impl Drop for Turns {
    fn drop(&mut self) {
        self.0.clear();
    }
}
