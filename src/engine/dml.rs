//! INSERT, UPDATE, DELETE, TRUNCATE: from a statement to changes that its transaction holds. What the rows do to the table: [`write`](super::write).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;

use crate::catalog::{Catalog, Object, ObjectKind, Table};
use crate::engine::outcome::{Outcome, RowStream};
use crate::engine::query::{reads_rows, stream_of};
use crate::engine::session::Session;
use crate::engine::transaction::{Transaction, check_size};
use crate::engine::write::{Writing, all_gone};
use crate::error::{Error, Kind, Result};
use crate::plan::{Bound, Change, ConflictUpdate, Planner, RETURNED, Scope};
use crate::serve::{Providers, run};
use crate::sql::{Name, Parsed, Statement};
use crate::state::{Draft, Lease};
use crate::types::{ObjectId, Running, SqlType};

/// A statement that writes, planned.
pub(crate) struct PlannedChange {
    pub(crate) change: Change,
    /// What ON CONFLICT DO UPDATE does, if the statement is to be run.
    update: Option<ConflictUpdate>,
    /// The definitions that it was planned with.
    catalog: Arc<Catalog>,
}

impl Session {
    /// Plans a statement that writes. `parameters`: the values of its parameters, if it is to be run.
    pub(crate) async fn plan_change(
        &mut self,
        parsed: &Arc<Parsed>,
        declared: &[Option<SqlType>],
        parameters: Option<&[ArrayRef]>,
    ) -> Result<PlannedChange> {
        let catalog = self.engine.catalog();
        let (statement, declared, parameters) = (Arc::clone(parsed), declared.to_vec(), parameters.map(<[ArrayRef]>::to_vec));
        let now_micros = self.now_micros();
        let plan = move |planner: &Planner, scope: &Scope<'_>| {
            let change = match &statement.statement {
                Statement::Insert(insert) => planner.insert(insert, scope, &declared)?,
                Statement::Update(update) => planner.update(update, scope, &declared)?,
                Statement::Delete(delete) => planner.delete(delete, scope, &declared)?,
                _ => return Err(Error::internal("not a statement that writes")),
            };
            let update = match &parameters {
                Some(values) => planner.conflict_update(&change, values, now_micros, scope)?,
                None => None,
            };
            Ok((change, update))
        };
        let ((change, update), _) = self.planned(&catalog, &parsed.text, plan).await?;
        Ok(PlannedChange { change, update, catalog })
    }

    /// Runs INSERT, UPDATE or DELETE.
    pub(crate) async fn run_change(
        &mut self,
        parsed: &Arc<Parsed>,
        declared: &[Option<SqlType>],
        parameters: &[ArrayRef],
    ) -> Result<Outcome> {
        let mut planned = self.plan_change(parsed, declared, Some(parameters)).await?;
        let held = planned.change.object.id;
        writable(&planned.change.object)?;
        self.settle_before_turn(held, &planned.change.rows.depends_on).await?;
        self.hold_table(&planned.catalog, held).await?;
        // Nobody alters it from now on; somebody may have before.
        if !self.engine.catalog().get(held).is_some_and(|now| Arc::ptr_eq(now, &planned.change.object)) {
            planned = self.plan_change(parsed, declared, Some(parameters)).await?;
            if planned.change.object.id != held {
                return Err(Error::new(Kind::SerializationFailure, "the table was renamed meanwhile").hint("Try again."));
            }
        }
        let PlannedChange { change, update, catalog } = planned;
        let (table, statement, now_micros) = (writable(&change.object)?.clone(), Arc::clone(parsed), self.engine.wall.now_micros());
        let writing = Writing { table, object: change.object, statement, update, now_micros };
        let (schema, rows) = self.collect(&Arc::new(change.rows), &catalog, parameters).await?;
        // RETURNING reads other relations as they were before.
        let others = match &change.returning {
            Some(returning) => Some(self.read_beside(returning, &catalog).await?),
            None => None,
        };
        let count = rows.iter().map(RecordBatch::num_rows).sum();
        let work = move |draft: &mut Draft, running: &Running| writing.write(draft, concat_batches(&schema, &rows)?, running);
        let written = self.change(held, count, work).await?;
        let tag = match &parsed.statement {
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            _ => "DELETE",
        };
        match change.returning.zip(others) {
            None if tag == "INSERT" => Ok(Outcome::Done(format!("INSERT 0 {}", written.affected))),
            None => Ok(Outcome::Done(format!("{tag} {}", written.affected))),
            Some((returning, others)) => self.returning(&Arc::new(returning), others, written.rows, parameters, tag).await,
        }
    }

    /// Retracts every row of the tables.
    pub(crate) async fn truncate(&mut self, names: &[Name]) -> Result<()> {
        let catalog = self.engine.catalog();
        for name in names {
            let object = self.find(name)?;
            let table = writable(&object).map_err(|error| error.at(name.position))?;
            if table.append_only {
                return Err(
                    Error::not_supported(format!("TRUNCATE of append-only table \"{}\"", object.name)).hint("DROP and create it again.")
                );
            }
            self.hold_table(&catalog, object.id).await?;
            let rows = self.held(object.id).rows_max();
            self.change(object.id, rows, all_gone).await?;
        }
        Ok(())
    }

    async fn collect(&mut self, bound: &Arc<Bound>, catalog: &Catalog, parameters: &[ArrayRef]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let lease = self.read_epoch(&bound.depends_on).await?;
        let (schema, rows) = self.run_bound(bound, catalog, parameters, lease).await?;
        Ok((schema, collected(rows).await?))
    }

    /// What RETURNING reads besides the rows that are written, and the lease by which it stays there.
    async fn read_beside(&mut self, returning: &Bound, catalog: &Catalog) -> Result<(Providers, Lease)> {
        let others: Vec<ObjectId> = returning.depends_on.iter().copied().filter(|id| *id != RETURNED && reads_rows(catalog, *id)).collect();
        let lease = self.read_epoch(&others).await?;
        self.show_changed(&others).await?;
        let mut providers = Providers::default();
        for id in others {
            providers.snapshot(id, self.snapshot(catalog, id, lease.epoch())?);
        }
        Ok((providers, lease))
    }

    async fn returning(
        &mut self,
        returning: &Arc<Bound>,
        (mut providers, lease): (Providers, Lease),
        rows: RecordBatch,
        parameters: &[ArrayRef],
        tag: &'static str,
    ) -> Result<Outcome> {
        let affected = rows.num_rows();
        providers.batch(RETURNED, rows);
        let now = self.now_micros();
        let rows = run(&self.engine.planner, returning, providers, parameters, now, self.engine.queries.handle()).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        drop(lease);
        debug_assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), affected, "RETURNING gives one row per affected row");
        Ok(Outcome::Rows { schema: Arc::clone(&returning.schema), rows: stream_of(rows), tag })
    }

    /// Changes a table that is held: `work` makes the changes in a draft of it. Where it takes long it is done apart, with a draft that was lent: if the
    /// statement is ended meanwhile, nothing of it stays. `rows`: how many it is about.
    pub(crate) async fn change<T: Send + 'static>(
        &mut self,
        table: ObjectId,
        rows: usize,
        work: impl FnOnce(&mut Draft, &Running) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let draft = self.held(table);
        let done = if draft.takes_long(rows) {
            let mut draft = draft.lend();
            let apart = move |running: &Running| {
                let done = work(&mut draft, running)?;
                Ok((draft, done))
            };
            let (draft, done) = self.engine.queries.work(apart).await?;
            *self.held(table) = draft;
            done
        } else {
            work(draft, &Running::default())?
        };
        self.transaction.as_ref().map_or(Ok(()), Transaction::check_size)?;
        Ok(done)
    }

    /// Has the tables looked through that the transaction has changed so much that showing them takes long.
    pub(crate) async fn show_changed(&mut self, objects: &[ObjectId]) -> Result<()> {
        for id in objects {
            let draft = self.transaction.as_mut().and_then(|transaction| transaction.table(*id));
            let Some(draft) = draft.filter(|draft| draft.shows_late()) else { continue };
            let mut draft = draft.lend();
            let shown = move || draft.snapshot().map(|_| draft);
            let draft = self.engine.queries.plan(shown).await?;
            *self.held(*id) = draft;
        }
        Ok(())
    }

    fn held(&mut self, table: ObjectId) -> &mut Draft {
        let transaction = self.transaction.as_mut().expect("holding a table opens a transaction");
        transaction.table(table).expect("the table is held before it is written")
    }
}

/// Rows that are to be written, all of them: what is too much for a transaction is not waited for to its end.
pub(crate) async fn collected(mut rows: RowStream) -> Result<Vec<RecordBatch>> {
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await? {
        bytes += batch.get_array_memory_size();
        check_size(bytes)?;
        batches.push(batch);
    }
    Ok(batches)
}

/// The table behind an object that may be written to.
pub(crate) fn writable(object: &Object) -> Result<&Table> {
    match &object.kind {
        ObjectKind::Table(table) if table.connector.is_none() => Ok(table),
        ObjectKind::Table(_) => {
            Err(Error::not_supported(format!("cannot change table \"{}\": its rows come from its connector", object.name)))
        }
        _ => Err(Error::new(Kind::WrongObjectType, format!("cannot change {} \"{}\"", object.kind_name(), object.name))
            .hint("Write to the tables that it reads.")),
    }
}
