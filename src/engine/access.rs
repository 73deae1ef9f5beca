//! What a statement reads, and as of when: relations at one complete epoch, or a table as its writer sees it.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{Catalog, ObjectKind};
use crate::engine::Engine;
use crate::engine::clock::EpochClock;
use crate::engine::session::Session;
use crate::engine::transaction::Transaction;
use crate::engine::view::ViewStatus;
use crate::error::{Error, Kind, Result};
use crate::state::{Lease, Relation, Snapshot};
use crate::types::{Epoch, ObjectId};

impl Engine {
    /// The rows of a table or view; the error says why there are none.
    pub(crate) fn relation(&self, catalog: &Catalog, id: ObjectId) -> Result<Arc<Relation>> {
        if let Some(view) = self.views.read().get(&id) {
            return view.readable().cloned();
        }
        if let Some(relation) = self.relations.lock().get(&id) {
            return Ok(Arc::clone(relation));
        }
        let object = catalog.get(id).ok_or_else(|| Error::new(Kind::UndefinedTable, "a relation was dropped meanwhile"))?;
        match object.kind {
            ObjectKind::Source(_) => {
                Err(Error::not_supported(format!("cannot read source \"{}\" directly: a source keeps no rows", object.name)).hint(format!(
                    "CREATE MATERIALIZED VIEW v AS SELECT * FROM {}, or CREATE TABLE … WITH (connector = …) to keep the rows.",
                    object.name
                )))
            }
            // A plan may be older than the definitions.
            _ if self.catalog().get(id).is_none() => {
                Err(Error::new(Kind::UndefinedTable, format!("relation \"{}\" was dropped meanwhile", object.name)))
            }
            _ => Err(Error::internal(format!("\"{}\" has no rows", object.name))),
        }
    }

    /// Waits until the views among `objects` can be read.
    pub(crate) async fn wait_readable(&self, objects: &[ObjectId]) -> Result<()> {
        for id in objects {
            let view = self.views.read().get(id).cloned();
            if let Some(view) = view {
                view.wait_ready().await?;
            }
        }
        Ok(())
    }

    /// Whether all views among `objects` can be read without waiting.
    pub(crate) fn are_readable(&self, objects: &[ObjectId]) -> bool {
        let views = self.views.read();
        objects.iter().filter_map(|id| views.get(id)).all(|view| view.status() == ViewStatus::Ready)
    }

    /// Has a commit made when no long one is being made: for that nobody waits on a thread that serves connections. `long`: it is one itself.
    pub(crate) async fn enter<T: Send + 'static>(
        &self,
        long: bool,
        commit: impl FnOnce(&EpochClock) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if !long {
            let _turn = self.clock.turn().await;
            return commit(&self.clock);
        }
        let clock = Arc::clone(&self.clock);
        // Its turn begins on the thread: others go on while it waits for one.
        let commit = move || {
            let _turn = clock.turn_here();
            commit(&clock)
        };
        self.queries.plan(commit).await
    }

    /// Holds the newest complete epoch.
    pub(crate) fn lease_newest(&self) -> Lease {
        self.leases.acquire_newest(|| self.clock.complete())
    }
}

impl Session {
    /// The epoch that this session's queries read now: the newest complete one, not older than any commit that has been acknowledged to
    /// whomever, and the same for all queries of a transaction block.
    pub(crate) async fn read_epoch(&mut self, objects: &[ObjectId]) -> Result<Lease> {
        if let Some(lease) = self.transaction.as_ref().and_then(|transaction| transaction.reads_at.clone()) {
            let oldest = self.engine.oldest_readable(objects);
            if lease.epoch() < oldest {
                return Err(Error::new(Kind::ObjectState, "a view was created after this transaction's first read")
                    .hint("ROLLBACK and begin anew."));
            }
            self.engine.wait_readable(objects).await?;
            return Ok(lease);
        }
        let held = self.transaction.as_ref().and_then(|transaction| transaction.newest_held());
        if let Some(transaction) = &self.transaction
            && objects.iter().all(|id| transaction.holds(*id))
        {
            // Nobody else changes what it holds: such a read fixes no epoch.
            return Ok(self.engine.lease_newest());
        }
        self.engine.wait_readable(objects).await?;
        // Tables that it holds are read as they are now, so the others must be as new. Whoever holds one does not wait for sinks: they may wait for it.
        let newest = match held {
            Some(held) => held,
            None => self.engine.settle_sinks(objects).await,
        };
        self.engine.clock.wait_complete(newest).await?;
        let lease = self.engine.lease_newest();
        if let Some(transaction) = &mut self.transaction {
            transaction.reads_at = Some(lease.clone());
        }
        Ok(lease)
    }

    /// Tells the client, once in a transaction, that a view which it reads does not show what it has written: views follow commits.
    pub(crate) fn tell_behind(&mut self, catalog: &Catalog, objects: &[ObjectId]) {
        let Some(transaction) = self.transaction.as_mut().filter(|transaction| !transaction.single && !transaction.told_behind) else {
            return;
        };
        let written = transaction.written();
        let is_kept = |id: &&ObjectId| catalog.get(**id).is_some_and(|object| matches!(object.kind, ObjectKind::MaterializedView(_)));
        let Some(view) =
            objects.iter().filter(is_kept).find(|view| catalog.reads_any(**view, &written)).and_then(|view| catalog.get(*view))
        else {
            return;
        };
        transaction.told_behind = true;
        let hint = match transaction.explicit {
            true => "Views follow when the transaction commits.",
            false => {
                "Views follow when the transaction commits, and statements that are sent in one string are one transaction: \
                      put BEGIN and COMMIT around those that write, or send them by themselves."
            }
        };
        let message = format!("materialized view \"{}\" does not show what this transaction has written", view.name);
        self.notice(Error::new(Kind::ObjectState, message).hint(hint));
    }

    /// One relation as this statement sees it: a table that the transaction writes with what it has written, all others at `epoch`.
    pub(crate) fn snapshot(&mut self, catalog: &Catalog, id: ObjectId, epoch: Epoch) -> Result<Snapshot> {
        if let Some(transaction) = &mut self.transaction
            && let Some(snapshot) = transaction.snapshot(id)?
        {
            return Ok(snapshot);
        }
        Ok(self.engine.relation(catalog, id)?.snapshot(epoch))
    }

    /// Waits for the table's turn and holds it until the transaction ends. A table that somebody has written since the transaction's first read
    /// is refused: what it has read of it is not what it would change (snapshot isolation, the first committer wins).
    pub(crate) async fn hold_table(&mut self, catalog: &Catalog, table: ObjectId) -> Result<()> {
        self.engine.relation(catalog, table)?;
        if self.transaction.as_ref().is_some_and(|transaction| transaction.holds(table)) {
            return Ok(());
        }
        self.settle_before_turn(table, &[]).await?;
        let turn = self.turn(table).await?;
        // Only now: whoever had the turn before may have altered the table.
        let relation = self.engine.relation(catalog, table)?;
        let reads_at = self.transaction.as_ref().and_then(|transaction| transaction.reads_at.as_ref());
        if reads_at.is_some_and(|lease| lease.epoch() < relation.newest()) {
            return Err(Error::new(Kind::SerializationFailure, "could not serialize access due to concurrent update")
                .detail("Another transaction has written the table since this one first read.")
                .hint("ROLLBACK and try again; a transaction that writes the table first does not run into this."));
        }
        if self.engine.catalog().get(table).is_none() {
            return Err(Error::new(Kind::UndefinedTable, "the table was dropped meanwhile"));
        }
        let now = self.now_micros();
        self.transaction.get_or_insert_with(|| Transaction::single(now)).hold(table, relation, turn);
        Ok(())
    }

    /// Waits for a table's turn.
    pub(crate) async fn turn(&self, table: ObjectId) -> Result<tokio::sync::OwnedMutexGuard<()>> {
        let lock = self.engine.table_lock(table);
        match self.settings.duration_ms("lock_timeout") {
            0 => Ok(lock.lock_owned().await),
            limit => tokio::time::timeout(Duration::from_millis(limit), lock.lock_owned()).await.map_err(|_| {
                Error::new(Kind::LockNotAvailable, "canceling statement due to lock timeout")
                    .detail("Another transaction writes the same table, and has not ended.")
                    .hint("Write tables in the same order everywhere, keep transactions short, or raise lock_timeout.")
            }),
        }
    }

    /// Makes what the transaction wrote durable and visible, and ends it.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        if self.transaction.is_some()
            && let Err(error) = self.keep_cursors().await
        {
            self.rollback()?;
            return Err(error);
        }
        let Some(transaction) = self.end_transaction() else { return Ok(()) };
        if transaction.holds_nothing() {
            return Ok(());
        }
        // What has joined an epoch becomes durable whatever happens to this statement.
        let _committed = self.shield.raise();
        let long = transaction.is_long();
        let commit = move |clock: &EpochClock| {
            // The next writer sees these rows already, so it need not wait for the disk: the turns end here.
            let (writes, _turns) = transaction.into_writes();
            (!writes.is_empty()).then(|| clock.commit(writes)).transpose()
        };
        let Some(epoch) = self.engine.enter(long, commit).await? else { return Ok(()) };
        (self.engine.wake)();
        self.engine.clock.wait_durable(epoch).await
    }

    /// Forgets what the transaction wrote, and ends it.
    pub(crate) fn rollback(&mut self) -> Result<()> {
        let before = self.transaction.as_mut().and_then(|transaction| transaction.settings_before.take());
        drop(self.end_transaction());
        if let Some(before) = before {
            self.restore_settings(before);
        }
        Ok(())
    }

    fn end_transaction(&mut self) -> Option<Transaction> {
        let transaction = self.transaction.take()?;
        for (name, value) in transaction.local_settings.iter().rev() {
            if let Ok(change) = self.settings.set(name, value.as_deref()) {
                self.tell_change(change);
            }
        }
        self.cursors.retain(|_, cursor| cursor.kept);
        Some(transaction)
    }
}

impl Engine {
    /// The first epoch at which all of these can be read.
    fn oldest_readable(&self, objects: &[ObjectId]) -> Epoch {
        let views = self.views.read();
        objects.iter().filter_map(|id| views.get(id)).map(|view| view.valid_from()).max().unwrap_or(0)
    }
}
