//! What rows do to a table: from those that the plan of an INSERT, UPDATE or DELETE gave to changes in a draft of the table.
//!
//! Nothing here waits, and nothing is seen by others. What takes long looks now and then whether somebody still waits for it.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::catalog::{Object, Table};
use crate::dataflow::event_time::times_of;
use crate::engine::event_time::MAX_FUTURE;
use crate::error::{Error, Kind, Result};
use crate::plan::{ConflictUpdate, schema_of};
use crate::sql::{Insert, Parsed, Statement};
use crate::state::{Draft, NEWEST, Relation, chosen};
use crate::types::{Changes, OnConflict, Running, TextStyle, all_nullable, format_value, rows_equal};

/// Rows of an upsert between two looks at whether somebody still waits: each is looked up by itself.
const UPSERTED_ROWS: usize = 256;

/// A statement whose rows are to be written.
pub(super) struct Writing {
    pub(super) object: Arc<Object>,
    pub(super) table: Table,
    pub(super) statement: Arc<Parsed>,
    /// What ON CONFLICT DO UPDATE does.
    pub(super) update: Option<ConflictUpdate>,
    /// What time it is, in microseconds since 1970.
    pub(super) now_micros: i64,
}

/// What a statement wrote: the rows as RETURNING shows them, and how many the tag counts.
pub(super) struct Written {
    pub(super) rows: RecordBatch,
    pub(super) affected: usize,
}

impl Writing {
    /// Writes what the plan gave: for INSERT the rows with all columns of the table; for UPDATE the old columns, then the new ones; for DELETE the
    /// columns. Behind those of UPDATE and DELETE stands what RETURNING may show beside them.
    pub(super) fn write(&self, draft: &mut Draft, rows: RecordBatch, running: &Running) -> Result<Written> {
        match &self.statement.statement {
            Statement::Insert(insert) => self.insert(draft, insert, rows, running),
            Statement::Update(_) => self.update(draft, &rows, running),
            _ => self.delete(draft, rows, running),
        }
    }

    fn insert(&self, draft: &mut Draft, insert: &Insert, rows: RecordBatch, running: &Running) -> Result<Written> {
        let Writing { object, table, .. } = self;
        check_conflict_target(table, insert)?;
        check_rows(object, table, &rows, self.now_micros)?;
        let (changes, affected, shown) = match &self.update {
            Some(update) => self.upsert(draft, update, &rows, running)?,
            None => {
                let policy = if insert.on_conflict.is_some() { OnConflict::DoNothing } else { table.on_conflict };
                let resolved = draft.resolve(&rows, policy, &object.name, running)?;
                let shown = if policy == OnConflict::DoNothing { inserted_rows(&resolved.changes) } else { rows };
                (resolved.changes, resolved.affected, shown)
            }
        };
        draft.write(changes, running)?;
        Ok(Written { rows: shown, affected })
    }

    fn update(&self, draft: &mut Draft, rows: &RecordBatch, running: &Running) -> Result<Written> {
        let Writing { object, table, .. } = self;
        let (width, schema) = (table.columns.len(), schema_of_nullable(table));
        let old = RecordBatch::try_new(Arc::clone(&schema), rows.columns()[..width].to_vec())?;
        let new = RecordBatch::try_new(Arc::clone(&schema), rows.columns()[width..2 * width].to_vec())?;
        check_rows(object, table, &new, self.now_micros)?;
        self.check_moved_keys(draft, &old, &new, running)?;
        draft.write(Changes::concat(&schema, &[Changes::retractions(old), Changes::insertions(new)]), running)?;
        let shown: Vec<usize> = (width..rows.num_columns()).collect();
        Ok(Written { affected: rows.num_rows(), rows: rows.project(&shown)? })
    }

    fn delete(&self, draft: &mut Draft, rows: RecordBatch, running: &Running) -> Result<Written> {
        let old = RecordBatch::try_new(schema_of_nullable(&self.table), rows.columns()[..self.table.columns.len()].to_vec())?;
        draft.write(Changes::retractions(old), running)?;
        Ok(Written { affected: rows.num_rows(), rows })
    }

    /// ON CONFLICT DO UPDATE: changes, affected rows, and the rows as they are afterwards.
    fn upsert(
        &self,
        draft: &mut Draft,
        update: &ConflictUpdate,
        rows: &RecordBatch,
        running: &Running,
    ) -> Result<(Changes, usize, RecordBatch)> {
        let Writing { object, table, .. } = self;
        let schema = rows.schema();
        let key = |batch: &RecordBatch| chosen(batch.columns(), &table.key);
        // The statement's own rows must not meet each other, as they come and as they become: PostgreSQL refuses that, too.
        let apart = |rows: &RecordBatch| {
            let alone = Relation::new(schema_of(&table.columns), Some(table.key.clone()), false, 1);
            alone.resolve_while(running, rows, OnConflict::Error, &object.name).map(drop).map_err(|error| match error.kind() {
                Kind::UniqueViolation => {
                    Error::new(Kind::CardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time")
                        .hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
                }
                _ => error,
            })
        };
        apart(rows)?;
        let (mut fresh, mut taken, mut old) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            if row % UPSERTED_ROWS == 0 {
                running.check()?;
            }
            let there = draft.lookup(&key(&rows.slice(row, 1)), running)?;
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
        check_rows(object, table, &new, self.now_micros)?;
        self.check_moved_keys(draft, &old, &new, running)?;
        let shown = concat_batches(&schema, [&fresh, &new])?;
        apart(&shown)?;
        let changes = Changes::concat(&schema, &[Changes::insertions(fresh), Changes::retractions(old), Changes::insertions(new)]);
        Ok((changes, shown.num_rows(), shown))
    }

    /// A row whose key an UPDATE changed must not meet another row of the new key.
    fn check_moved_keys(&self, draft: &mut Draft, old: &RecordBatch, new: &RecordBatch, running: &Running) -> Result<()> {
        let Writing { object, table, .. } = self;
        let key = |batch: &RecordBatch| chosen(batch.columns(), &table.key);
        let (old_keys, new_keys) = (key(old), key(new));
        let moved: Vec<u32> =
            (0..old.num_rows()).filter(|row| !rows_equal(&old_keys, *row, &new_keys, *row)).map(|row| row as u32).collect();
        if table.key.is_empty() || moved.is_empty() {
            return Ok(());
        }
        let empty = || Relation::new(schema_of(&table.columns), Some(table.key.clone()), false, 1);
        // The new rows must not meet each other,
        empty().resolve_while(running, new, OnConflict::Error, &object.name)?;
        // nor one that stays: the rows that are there now under the new keys, but those that go.
        let (going, staying) = (empty(), empty());
        let targets = take_record_batch(new, &UInt32Array::from(moved))?;
        let there = draft.lookup(&key(&targets), running)?;
        going.apply(0, 1, &Changes::insertions(old.clone()))?;
        let leaving = going.lookup(&key(&there), NEWEST)?;
        staying.apply(0, 1, &Changes::insertions(there))?;
        staying.apply(0, 2, &Changes::retractions(leaving))?;
        staying.resolve_while(running, &targets, OnConflict::Error, &object.name).map(drop)
    }
}

/// Writes rows that have every column of the table already: COPY. Says how many it wrote.
pub(super) fn write_complete(
    draft: &mut Draft,
    (object, table): (&Object, &Table),
    rows: &RecordBatch,
    now_micros: i64,
    running: &Running,
) -> Result<usize> {
    check_rows(object, table, rows, now_micros)?;
    let resolved = draft.resolve(rows, table.on_conflict, &object.name, running)?;
    draft.write(resolved.changes, running)?;
    Ok(resolved.affected)
}

/// Retracts every row.
pub(super) fn all_gone(draft: &mut Draft, running: &Running) -> Result<()> {
    let snapshot = draft.snapshot()?;
    (0..snapshot.chunks()).try_for_each(|chunk| {
        running.check()?;
        draft.write(Changes::retractions(snapshot.batch(chunk, None)), running)
    })
}

/// The table's columns as batches carry them until NOT NULL has been checked.
pub(crate) fn schema_of_nullable(table: &Table) -> SchemaRef {
    all_nullable(&schema_of(&table.columns))
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

/// What a table asks of rows that a statement writes, at this moment of the clock.
fn check_rows(object: &Object, table: &Table, rows: &RecordBatch, now_micros: i64) -> Result<()> {
    check_not_null(object, table, rows)?;
    check_not_ahead(object, table, rows, now_micros)
}

/// A time that is too far ahead of the clock would close every window at once, and for good: what writes it is refused as a whole.
fn check_not_ahead(object: &Object, table: &Table, rows: &RecordBatch, now_micros: i64) -> Result<()> {
    let Some((event_time, max_future)) = table.event_time.as_ref().and_then(|rule| Some((rule, rule.max_future_us?))) else {
        return Ok(());
    };
    let Some(position) = table.columns.iter().position(|column| column.name == event_time.column) else { return Ok(()) };
    let (values, latest) = (rows.column(position), now_micros.saturating_add(max_future));
    let times = times_of(values)?;
    let Some(ahead) = (0..rows.num_rows()).find(|row| values.is_valid(*row) && times[*row] > latest) else { return Ok(()) };
    let mut time = String::new();
    format_value(values.as_ref(), ahead, &table.columns[position].sql_type, &TextStyle::default(), &mut time)?;
    let message = format!(
        "new row for relation \"{}\" is further ahead of the clock than {MAX_FUTURE} allows: \"{}\" is {time}",
        object.name, event_time.column
    );
    Err(Error::new(Kind::CheckViolation, message).hint(format!(
        "Event time would be there from then on, and every row before it late. Correct \"{}\" of the row.",
        event_time.column
    )))
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
