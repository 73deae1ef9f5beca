//! The pump of a sink: a task that takes what has left its dataflow, waits for the table's turn, looks what the changes do to the table as it is then,
//! and commits that.
//!
//! Rows that cannot enter (NULL where the table has NOT NULL, a second row of a key where that is an error) are told in `tidemill.row_errors` and left
//! out; the others enter.

use std::sync::{Arc, Weak};

use arrow::array::{Array, BooleanArray, RecordBatch, UInt32Array};

use super::owed::{stamped, with_schema};
use super::running::RunningSink;
use crate::catalog::{ObjectKind, Table};
use crate::dataflow::expr::row_text;
use crate::engine::Engine;
use crate::engine::clock::{SunkBy, Write};
use crate::engine::retention::is_keeper;
use crate::error::{Error, Result};
use crate::types::{Changes, ObjectId, RowError, hash_rows};

/// Bytes of changes that are looked at together. More, after a restart or in one epoch, are split by key: one array holds 2 GiB of text at the most.
const PIECE_BYTES: usize = 256 << 20;

/// Rows that are told of those that could not enter at once.
const SAMPLES: usize = 16;

impl Engine {
    /// Starts to write what leaves a sink's dataflow.
    pub(crate) fn start_pump(self: &Arc<Self>, sink: Arc<RunningSink>) {
        tokio::spawn(pump(Arc::downgrade(self), sink));
    }

    /// Looks what changes do to the table, whose turn it is, and commits it. Says whether there are still a sink and a table.
    fn write_sunk(&self, sink: &RunningSink, changes: &[Changes]) -> Result<bool> {
        let catalog = self.catalog();
        let (Some(object), Some(target)) = (catalog.get(sink.id), catalog.get(sink.target)) else { return Ok(false) };
        let (ObjectKind::Sink(definition), ObjectKind::Table(table)) = (&object.kind, &target.kind) else { return Ok(false) };
        let Some(relation) = self.relations.lock().get(&sink.target).cloned() else { return Ok(false) };
        let read = sink.read();
        let key = if table.key.is_empty() { (0..table.columns.len()).collect() } else { table.key.clone() };
        let mut writes = Vec::new();
        for piece in pieces(sink, &key, changes)? {
            let entering = self.without_null(sink.id, target.name.as_str(), table, &piece);
            let sunk = relation.resolve_sunk(&entering, &definition.fills, table.on_conflict)?;
            let message = format!("duplicate key value violates unique constraint \"{}_pkey\"", target.name);
            self.tell_refused(sink.id, &sunk.refused, |_| message.clone());
            let logged = self.store.is_durable().then(|| stamped(&piece, &read)).transpose()?;
            let by = Some(SunkBy { sink: sink.id, logged });
            writes.push(Write { table: sink.target, relation: Arc::clone(&relation), changes: sunk.changes, logged: false, by });
        }
        let _turn = self.clock.turn_here();
        sink.enter(|| self.clock.commit(writes))?;
        (self.wake)();
        Ok(true)
    }

    /// The rows that have a value in every column that must have one.
    fn without_null(&self, sink: ObjectId, target: &str, table: &Table, changes: &Changes) -> Changes {
        let lacking = |row: usize| {
            let lacks = |(position, column): (usize, &crate::catalog::Column)| column.not_null && changes.column(position).is_null(row);
            table.columns.iter().enumerate().position(lacks)
        };
        if !table.columns.iter().enumerate().any(|(position, column)| column.not_null && changes.column(position).null_count() > 0) {
            return changes.clone();
        }
        let lacks: Vec<Option<usize>> = (0..changes.len()).map(lacking).collect();
        // What goes was told when it came.
        let told = (0..changes.len()).filter(|row| lacks[*row].is_some() && changes.weight(*row) > 0).map(|row| row as u32);
        let told = UInt32Array::from_iter_values(told);
        let columns: Vec<usize> = told.values().iter().filter_map(|row| lacks[*row as usize]).collect();
        let refused = changes.take(&told).into_parts().0;
        self.tell_refused(sink, &refused, |row| {
            let column = &table.columns[columns[row]].name;
            format!("null value in column \"{column}\" of relation \"{target}\" violates not-null constraint")
        });
        changes.filter(&lacks.iter().map(|lacks| Some(lacks.is_none())).collect::<BooleanArray>())
    }

    /// Tells of rows that could not enter.
    fn tell_refused(&self, sink: ObjectId, rows: &RecordBatch, error: impl Fn(usize) -> String) {
        if rows.num_rows() > 0 {
            let last = rows.num_rows().saturating_sub(SAMPLES)..rows.num_rows();
            let samples = last.map(|row| RowError { error: error(row), row: row_text(rows, row) });
            self.row_errors.sink(sink).record(rows.num_rows() as u64, samples);
        }
    }
}

/// Runs until the sink ends, or the server.
async fn pump(engine: Weak<Engine>, sink: Arc<RunningSink>) {
    while let Some(changes) = sink.next().await {
        let Some(lock) = engine.upgrade().map(|engine| engine.table_lock(sink.target)) else { return };
        let turn = lock.lock_owned().await;
        // It may have ended while it waited, and another one of its number have begun: over other columns, for one.
        if sink.drained().has_ended {
            return;
        }
        let Some(engine) = engine.upgrade() else { return };
        let (server, writing) = (Arc::clone(&engine), Arc::clone(&sink));
        let written = tokio::task::spawn_blocking(move || match is_keeper(writing.id) {
            true => server.delete_expired(&writing, &changes),
            false => server.write_sunk(&writing, &changes),
        });
        let written = written.await;
        drop(turn);
        let written = written.unwrap_or_else(|cause| Err(Error::internal(format!("the sink's pump has ended: {cause}"))));
        if let Err(error) = &written
            && let Some(view) = engine.views.read().get(&sink.id)
            && view.sink.as_ref().is_some_and(|known| Arc::ptr_eq(known, &sink))
        {
            view.progress.fail_with(error.clone());
        }
        if !written.unwrap_or(false) {
            sink.stop();
            return;
        }
    }
}

/// The changes in pieces of a bounded size, all of one key in the same, as batches of the table's columns.
pub(crate) fn pieces(sink: &RunningSink, key: &[usize], changes: &[Changes]) -> Result<Vec<Changes>> {
    let changes = changes.iter().map(|part| Ok(with_schema(part, sink.schema())?.canonical_floats())).collect::<Result<Vec<_>>>()?;
    let bytes: usize = changes.iter().map(Changes::payload_bytes).sum();
    let count = 1 + bytes / PIECE_BYTES;
    if count == 1 {
        return Ok(vec![Changes::concat(sink.schema(), &changes)]);
    }
    let mut pieces: Vec<Vec<Changes>> = vec![Vec::new(); count];
    for part in &changes {
        let keys: Vec<_> = key.iter().map(|column| Arc::clone(part.column(*column))).collect();
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); count];
        for (row, hash) in (0..).zip(hash_rows(&keys, part.len())) {
            rows[(hash % count as u64) as usize].push(row);
        }
        for (piece, rows) in pieces.iter_mut().zip(rows) {
            piece.push(part.take(&rows.into()));
        }
    }
    Ok(pieces.iter().map(|piece| Changes::concat(sink.schema(), piece)).collect())
}
