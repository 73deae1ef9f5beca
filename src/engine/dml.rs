//! INSERT, UPDATE, DELETE, TRUNCATE: from rows that a plan gives to changes that a transaction holds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;

use crate::catalog::{Catalog, Object, ObjectKind, Table};
use crate::engine::outcome::{Outcome, RowStream};
use crate::engine::query::{reads_rows, stream_of};
use crate::engine::session::Session;
use crate::engine::transaction::check_size;
use crate::error::{Error, Kind, Result};
use crate::plan::{Bound, Change, ConflictUpdate, Planner, RETURNED, Scope, schema_of};
use crate::serve::{Providers, run};
use crate::sql::{Insert, InsertConflict, Name, Parsed, Statement};
use crate::state::{Draft, Lease, Relation};
use crate::types::{Changes, ObjectId, OnConflict, SqlType, rows_equal};

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
        let plan = move |planner: &Planner, scope: &Scope<'_>| {
            let change = match &statement.statement {
                Statement::Insert(insert) => planner.insert(insert, scope, &declared)?,
                Statement::Update(update) => planner.update(update, scope, &declared)?,
                Statement::Delete(delete) => planner.delete(delete, scope, &declared)?,
                _ => return Err(Error::internal("not a statement that writes")),
            };
            let update = match &parameters {
                Some(values) => planner.conflict_update(&change, values, scope)?,
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
        let table = writable(&change.object)?.clone();
        let rows = self.collect(&Arc::new(change.rows), &catalog, parameters).await?;
        // RETURNING reads other relations as they were before.
        let others = match &change.returning {
            Some(returning) => Some(self.read_beside(returning, &catalog).await?),
            None => None,
        };
        let written = match &parsed.statement {
            Statement::Insert(insert) => self.insert_rows(&change.object, &table, insert, update.as_ref(), &rows)?,
            Statement::Update(_) => self.update_rows(&change.object, &table, &rows)?,
            _ => self.delete_rows(&change.object, &table, rows)?,
        };
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
            let snapshot = self.snapshot(&catalog, object.id, Session::newest())?;
            for chunk in 0..snapshot.chunks() {
                self.write(object.id, Changes::retractions(snapshot.batch(chunk, None)))?;
            }
        }
        Ok(())
    }

    /// Writes rows that have every column of the table already: COPY.
    pub(crate) fn insert_complete(&mut self, object: &Object, table: &Table, rows: &RecordBatch) -> Result<usize> {
        check_not_null(object, table, rows)?;
        let resolved = self.held(object.id).resolve(rows, table.on_conflict, &object.name)?;
        self.write(object.id, resolved.changes)?;
        Ok(resolved.affected)
    }

    fn insert_rows(
        &mut self,
        object: &Object,
        table: &Table,
        insert: &Insert,
        update: Option<&ConflictUpdate>,
        rows: &RecordBatch,
    ) -> Result<Written> {
        check_conflict_target(table, insert)?;
        let rows = rows.clone();
        check_not_null(object, table, &rows)?;
        let (changes, affected, shown) = match update {
            Some(update) => upsert(object, table, self.held(object.id), update, &rows)?,
            None => {
                let policy = if insert.on_conflict.is_some() { OnConflict::DoNothing } else { table.on_conflict };
                let resolved = self.held(object.id).resolve(&rows, policy, &object.name)?;
                let shown = if policy == OnConflict::DoNothing { inserted_rows(&resolved.changes) } else { rows };
                (resolved.changes, resolved.affected, shown)
            }
        };
        self.write(object.id, changes)?;
        Ok(Written { rows: shown, affected })
    }

    /// `rows`: the old columns, then the new ones, then what RETURNING may show beside them.
    fn update_rows(&mut self, object: &Object, table: &Table, rows: &RecordBatch) -> Result<Written> {
        let (width, schema) = (table.columns.len(), schema_of_nullable(table));
        let old = RecordBatch::try_new(Arc::clone(&schema), rows.columns()[..width].to_vec())?;
        let new = RecordBatch::try_new(Arc::clone(&schema), rows.columns()[width..2 * width].to_vec())?;
        check_not_null(object, table, &new)?;
        check_moved_keys(object, table, self.held(object.id), &old, &new)?;
        self.write(object.id, Changes::concat(&schema, &[Changes::retractions(old), Changes::insertions(new)]))?;
        let shown: Vec<usize> = (width..rows.num_columns()).collect();
        Ok(Written { affected: rows.num_rows(), rows: rows.project(&shown)? })
    }

    /// `rows`: the columns, then what RETURNING may show beside them.
    fn delete_rows(&mut self, object: &Object, table: &Table, rows: RecordBatch) -> Result<Written> {
        let old = RecordBatch::try_new(schema_of_nullable(table), rows.columns()[..table.columns.len()].to_vec())?;
        self.write(object.id, Changes::retractions(old))?;
        Ok(Written { affected: rows.num_rows(), rows })
    }

    async fn collect(&mut self, bound: &Arc<Bound>, catalog: &Catalog, parameters: &[ArrayRef]) -> Result<RecordBatch> {
        let lease = self.read_epoch(&bound.depends_on).await?;
        let (schema, rows) = self.run_bound(bound, catalog, parameters, lease).await?;
        Ok(concat_batches(&schema, &collected(rows).await?)?)
    }

    /// What RETURNING reads besides the rows that are written, and the lease by which it stays there.
    async fn read_beside(&mut self, returning: &Bound, catalog: &Catalog) -> Result<(Providers, Lease)> {
        let others: Vec<ObjectId> = returning.depends_on.iter().copied().filter(|id| *id != RETURNED && reads_rows(catalog, *id)).collect();
        let lease = self.read_epoch(&others).await?;
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
        let now = self.engine.wall.now_micros();
        let rows = run(&self.engine.planner, returning, providers, parameters, now, self.engine.queries.handle()).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        drop(lease);
        debug_assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), affected, "RETURNING gives one row per affected row");
        Ok(Outcome::Rows { schema: Arc::clone(&returning.schema), rows: stream_of(rows), tag })
    }

    fn held(&mut self, table: ObjectId) -> &mut Draft {
        let transaction = self.transaction.as_mut().expect("holding a table opens a transaction");
        transaction.table(table).expect("the table is held before it is written")
    }

    fn write(&mut self, table: ObjectId, changes: Changes) -> Result<()> {
        self.transaction.as_mut().expect("holding a table opens a transaction").write(table, changes)
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

/// What a statement wrote: the rows as RETURNING shows them, and how many the tag counts.
struct Written {
    rows: RecordBatch,
    affected: usize,
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

/// The table's columns as batches carry them until NOT NULL has been checked.
pub(crate) fn schema_of_nullable(table: &Table) -> SchemaRef {
    let fields = schema_of(&table.columns).fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
    Arc::new(arrow::datatypes::Schema::new(fields))
}

pub(crate) fn check_not_null(object: &Object, table: &Table, rows: &RecordBatch) -> Result<()> {
    for (column, values) in table.columns.iter().zip(rows.columns()) {
        if column.not_null && values.null_count() > 0 {
            let message = format!("null value in column \"{}\" of relation \"{}\" violates not-null constraint", column.name, object.name);
            return Err(Error::new(Kind::NotNullViolation, message));
        }
    }
    Ok(())
}

/// The columns behind ON CONFLICT must be the key's, in any order.
fn check_conflict_target(table: &Table, insert: &Insert) -> Result<()> {
    let target = &insert.conflict_target;
    let mut key: Vec<&str> = table.key.iter().map(|position| table.columns[*position].name.as_str()).collect();
    let mut named: Vec<&str> = target.iter().map(String::as_str).collect();
    key.sort_unstable();
    named.sort_unstable();
    named.dedup();
    if target.is_empty() || (!key.is_empty() && key == named) {
        return Ok(());
    }
    let error =
        Error::new(Kind::InvalidColumnReference, "there is no unique or exclusion constraint matching the ON CONFLICT specification");
    Err(match key.is_empty() {
        true => error.hint(format!("Table \"{}\" has no primary key.", insert.table.name)),
        false => error.hint(format!("The primary key of table \"{}\" is ({}).", insert.table.name, key.join(", "))),
    })
}

fn inserted_rows(changes: &Changes) -> RecordBatch {
    let wanted: Vec<u32> = (0..changes.len()).filter(|row| changes.weight(*row) > 0).map(|row| row as u32).collect();
    changes.take(&UInt32Array::from(wanted)).into_parts().0
}

/// A row whose key an UPDATE changed must not meet another row of the new key.
fn check_moved_keys(object: &Object, table: &Table, draft: &mut Draft, old: &RecordBatch, new: &RecordBatch) -> Result<()> {
    let key = |batch: &RecordBatch| table.key.iter().map(|position| Arc::clone(batch.column(*position))).collect::<Vec<ArrayRef>>();
    let (old_keys, new_keys) = (key(old), key(new));
    let moved: Vec<u32> = (0..old.num_rows()).filter(|row| !rows_equal(&old_keys, *row, &new_keys, *row)).map(|row| row as u32).collect();
    if table.key.is_empty() || moved.is_empty() {
        return Ok(());
    }
    let empty = || Relation::new(schema_of(&table.columns), Some(table.key.clone()), false, 1);
    // The new rows must not meet each other,
    empty().resolve(new, OnConflict::Error, &object.name)?;
    // nor one that stays: the rows that are there now under the new keys, but those that go.
    let (going, staying) = (empty(), empty());
    let targets = take_record_batch(new, &UInt32Array::from(moved))?;
    let there = draft.lookup(&key(&targets))?;
    going.apply(0, 1, &Changes::insertions(old.clone()))?;
    let leaving = going.lookup(&key(&there), Session::newest())?;
    staying.apply(0, 1, &Changes::insertions(there))?;
    staying.apply(0, 2, &Changes::retractions(leaving))?;
    staying.resolve(&targets, OnConflict::Error, &object.name).map(drop)
}

/// ON CONFLICT DO UPDATE: changes, affected rows, and the rows as they are afterwards.
fn upsert(
    object: &Object,
    table: &Table,
    draft: &mut Draft,
    update: &ConflictUpdate,
    rows: &RecordBatch,
) -> Result<(Changes, usize, RecordBatch)> {
    let schema = rows.schema();
    let key = |batch: &RecordBatch| table.key.iter().map(|position| Arc::clone(batch.column(*position))).collect::<Vec<ArrayRef>>();
    // The statement's own rows must not meet each other: PostgreSQL refuses that, too.
    let alone = Relation::new(schema_of(&table.columns), Some(table.key.clone()), false, 1);
    alone.resolve(rows, OnConflict::Error, &object.name).map_err(|_| {
        Error::new(Kind::CardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time")
            .hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
    })?;
    let (mut fresh, mut taken, mut old) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows.num_rows() {
        let there = draft.lookup(&key(&rows.slice(row, 1)))?;
        if there.num_rows() == 0 {
            fresh.push(row as u32);
        } else {
            taken.push(row as u32);
            old.push(there);
        }
    }
    let fresh = take_record_batch(rows, &UInt32Array::from(fresh))?;
    let excluded = take_record_batch(rows, &UInt32Array::from(taken))?;
    let old = concat_batches(&schema, &old)?;
    let (old, new) = updated(table, update, &old, &excluded)?;
    check_not_null(object, table, &new)?;
    check_moved_keys(object, table, draft, &old, &new)?;
    let shown = concat_batches(&schema, [&fresh, &new])?;
    let changes = Changes::concat(&schema, &[Changes::insertions(fresh), Changes::retractions(old), Changes::insertions(new)]);
    Ok((changes, shown.num_rows(), shown))
}

/// The rows that an upsert changes, before and after.
fn updated(table: &Table, update: &ConflictUpdate, old: &RecordBatch, excluded: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
    let fields: Vec<_> = old.schema().fields().iter().chain(excluded.schema().fields()).cloned().collect();
    let columns = old.columns().iter().chain(excluded.columns()).cloned().collect();
    let mut both = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?;
    let mut old = old.clone();
    if let Some(condition) = &update.condition {
        let mask = condition.array(&both)?;
        let mask = arrow::array::AsArray::as_boolean(mask.as_ref());
        both = arrow::compute::filter_record_batch(&both, mask)?;
        old = arrow::compute::filter_record_batch(&old, mask)?;
    }
    let columns = update.columns.iter().map(|scalar| scalar.array(&both)).collect::<Result<Vec<_>>>()?;
    let mut new = RecordBatch::try_new(schema_of_nullable(table), columns)?;
    for (position, scalar) in &update.generated {
        let mut columns = new.columns().to_vec();
        columns[*position] = scalar.array(&new)?;
        new = RecordBatch::try_new(new.schema(), columns)?;
    }
    Ok((old, new))
}
