//! `WITH (retention = '7 days')` on a table: rows that are past their time are deleted, as if somebody wrote a DELETE for them.
//!
//! ```text
//!  table ──▶ a dataflow of its own: rows as soon as ts <= now() - 7 d ──▶ outlet ──▶ pump ──▶ the table's turn ──▶ the clock's open epoch
//!            (the keeper)                                                             what of them is still there
//! ```
//!
//! A delete is a commit: it is logged, all views see it, and after a crash it is repeated with the log or has not happened. The keeper itself is
//! not stored: what is past its time follows from what the table holds, so that it begins anew with every start. Rows that a connector brings are
//! deleted by the coordinator, between those that it brings; they are not logged, since the connector brings them again, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::BooleanArray;

use crate::catalog::{Column, EventTime, Object, ObjectKind, Retention, Table, ViewRetention};
use crate::engine::Engine;
use crate::engine::clock::Write;
use crate::engine::coordinator::{Request, progress};
use crate::engine::definition::statement_of;
use crate::engine::event_time::duration;
use crate::engine::session::Session;
use crate::engine::sink::{RunningSink, pieces};
use crate::engine::view::RunningView;
use crate::engine::write::schema_of_nullable;
use crate::error::{Error, Kind, Result};
use crate::plan::{expired_rows, no_time};
use crate::sql::Alter;
use crate::types::{Changes, ObjectId, OnConflict, SqlType};

/// The option that says how long rows are kept.
pub(crate) const RETENTION: &str = "retention";

/// The option that names the column which says how old a row is.
pub(crate) const RETENTION_COLUMN: &str = "retention_column";

/// What marks the number of a table's keeper, which is no object of the catalog. Objects never get so far.
const KEEPER: ObjectId = 1 << 31;

/// The number under which the keeper of a table runs.
pub(crate) fn keeper_of(table: ObjectId) -> ObjectId {
    table | KEEPER
}

/// Whether something that runs is the keeper of a table.
pub(crate) fn is_keeper(object: ObjectId) -> bool {
    object & KEEPER != 0
}

/// Takes what options say of how long rows are kept. `22023` for values that mean nothing.
pub(crate) fn taken(options: &mut BTreeMap<String, String>) -> Result<Option<(i64, Option<String>)>> {
    let (retention, column) = (options.remove(RETENTION), options.remove(RETENTION_COLUMN));
    match (retention, column) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::new(Kind::InvalidParameter, format!("option \"{RETENTION_COLUMN}\" needs \"{RETENTION}\""))
            .hint("WITH (retention = '7 days', retention_column = 'ts').")),
        (Some(text), column) => match duration(RETENTION, &text)? {
            Some(micros) => Ok(Some((micros, column))),
            None if text.trim().eq_ignore_ascii_case("never") => Ok(None),
            None => Err(Error::new(Kind::InvalidParameter, format!("invalid value \"{text}\" for option \"{RETENTION}\""))
                .hint("Rows would go as they come: it is an interval of some length, like '7 days'.")),
        },
    }
}

/// How long the rows of a table are kept, as its options say: `columns` and `event_time` are the table's.
pub(crate) fn of_table(
    taken: Option<(i64, Option<String>)>,
    columns: &[Column],
    event_time: Option<&EventTime>,
) -> Result<Option<Retention>> {
    let Some((micros, column)) = taken else { return Ok(None) };
    let Some(name) = column.or_else(|| event_time.map(|event_time| event_time.column.clone())) else {
        return Err(Error::new(Kind::InvalidParameter, format!("option \"{RETENTION}\" needs a column that says how old a row is")).hint(
            "Name one: retention_column = 'ts'; or declare a watermark. To go by arrival: arrived TIMESTAMPTZ DEFAULT now(), \
             and retention_column = 'arrived'.",
        ));
    };
    let column = columns.iter().find(|column| column.name == name).ok_or_else(|| {
        Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in option \"{RETENTION_COLUMN}\" does not exist"))
    })?;
    match column.sql_type.whole() {
        SqlType::Timestamp | SqlType::Timestamptz | SqlType::Date => Ok(Some(Retention { micros, column: name })),
        _ => Err(no_time(&name)),
    }
}

/// As options in a statement: of a table, and of a view with these columns.
pub(crate) fn listed(retention: &Retention) -> [(String, String); 2] {
    [(RETENTION.to_owned(), format!("{} microseconds", retention.micros)), (RETENTION_COLUMN.to_owned(), retention.column.clone())]
}

/// The same of a view with these columns.
pub(crate) fn listed_of_view(retention: &ViewRetention, columns: &[Column]) -> Vec<(&'static str, String)> {
    let column = retention.column.and_then(|column| columns.get(column)).map(|column| (RETENTION_COLUMN, column.name.clone()));
    [(RETENTION, format!("{} microseconds", retention.micros))].into_iter().chain(column).collect()
}

impl Engine {
    /// Begins to delete what is past its time in a table, if rows are kept for a time there.
    pub(crate) async fn start_keeper(self: &Arc<Self>, object: &Object) -> Result<()> {
        let ObjectKind::Table(table @ Table { retention: Some(retention), .. }) = &object.kind else { return Ok(()) };
        let id = keeper_of(object.id);
        let plan = expired_rows(object, retention)?;
        let running = Arc::new(RunningSink::new(id, object.id, schema_of_nullable(table), Vec::new(), 0, None));
        let progress = progress(self.config.workers, Arc::clone(&self.wake));
        let view = Arc::new(RunningView::of_sink(id, object.name.clone(), plan, Arc::clone(&running), progress));
        self.views.write().insert(id, Arc::clone(&view));
        self.start_pump(running);
        self.build_view(&view, None).await
    }

    /// Ends what deletes rows of a table.
    pub(crate) async fn end_keeper(&self, table: ObjectId) -> Result<()> {
        let keeper = self.views.read().get(&keeper_of(table)).cloned();
        let Some(sink) = keeper.as_ref().and_then(|keeper| keeper.sink.as_ref()) else { return Ok(()) };
        sink.stop();
        self.end_all(&[keeper_of(table)]).await
    }

    /// Deletes rows that are past their time, as far as they are still there. Says whether there are still a keeper and a table.
    pub(crate) fn delete_expired(&self, keeper: &RunningSink, changes: &[Changes]) -> Result<bool> {
        let catalog = self.catalog();
        let Some(object) = catalog.get(keeper.target) else { return Ok(false) };
        let (ObjectKind::Table(table), Some(relation)) = (&object.kind, self.relations.lock().get(&keeper.target).cloned()) else {
            return Ok(false);
        };
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let key = if table.key.is_empty() { all.clone() } else { table.key.clone() };
        let expired = pieces(keeper, &key, changes)?.into_iter().map(|piece| {
            // What was taken back since is not there either.
            let coming: BooleanArray = (0..piece.len()).map(|row| Some(piece.weight(row) > 0)).collect();
            piece.filter(&coming).negate()
        });
        let expired: Vec<Changes> = expired.filter(|piece| !piece.is_empty()).collect();
        if table.connector.is_some() {
            let ask = || expired.into_iter().try_for_each(|rows| self.ask(Request::Delete { table: keeper.target, rows }));
            keeper.enter(|| ask().map(|()| 0))?;
            return Ok(true);
        }
        let writes = expired.iter().map(|rows| {
            let changes = relation.resolve_sunk(rows, &all, OnConflict::DoNothing)?.changes;
            Ok(Write { table: keeper.target, relation: Arc::clone(&relation), changes, logged: false, by: None })
        });
        let writes: Vec<Write> = writes.collect::<Result<_>>()?;
        let writes: Vec<Write> = writes.into_iter().filter(|write| !write.changes.is_empty()).collect();
        let _turn = self.clock.turn_here();
        keeper.enter(|| if writes.is_empty() { Ok(0) } else { self.clock.commit(writes) })?;
        (self.wake)();
        Ok(true)
    }
}

impl Session {
    /// ALTER TABLE … SET (retention = …), RESET (retention).
    pub(crate) async fn alter_retention(&mut self, alter: &Alter, set: &BTreeMap<String, String>, reset: &[String]) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let _one_at_a_time = engine.ddl.lock().await;
        let Some(object) = self.altered(alter)? else { return Ok(()) };
        let ObjectKind::Table(table) = &object.kind else {
            return Err(Error::not_supported(format!("SET (…) of a {}", object.kind_name()))
                .hint("CREATE OR REPLACE MATERIALIZED VIEW … WITH (…) gives a view other options."));
        };
        // What is not said stays as it is.
        let mut options: BTreeMap<String, String> = table.retention.iter().flat_map(listed).chain(set.clone()).collect();
        if reset.iter().any(|name| name == RETENTION) {
            options.clear();
        }
        options
            .extend(reset.iter().filter(|name| *name != RETENTION && *name != RETENTION_COLUMN).map(|name| (name.clone(), String::new())));
        if reset.iter().any(|name| name == RETENTION_COLUMN) {
            options.remove(RETENTION_COLUMN);
        }
        let taken = taken(&mut options)?;
        if let Some(other) = options.keys().next() {
            let error = Error::not_supported(format!("changing option \"{other}\" of a table"));
            return Err(error.hint("SET and RESET take retention and retention_column; for others create the table anew."));
        }
        let retention = of_table(taken, &table.columns, table.event_time.as_ref())?;
        if table.append_only && retention.is_some() != table.retention.is_some() {
            let message = format!("rows of append-only table \"{}\" stay: what reads it counts on that", object.name);
            return Err(Error::not_supported(message).hint("Create the table anew WITH (retention = …)."));
        }
        let mut new = Object::clone(&object);
        if let ObjectKind::Table(table) = &mut new.kind {
            table.retention = retention;
        }
        new.sql = statement_of(&new);
        let _altering = self.shield.raise();
        engine.end_keeper(object.id).await?;
        engine.change_definitions(std::slice::from_ref(&new), &[])?;
        engine.start_keeper(&new).await
    }
}

/// `2BP01` for a column by which rows are kept, which cannot be dropped.
pub(crate) fn is_kept_by(object: &Object, column: &str) -> Result<()> {
    match &object.kind {
        ObjectKind::Table(Table { retention: Some(retention), .. }) if retention.column == column => {
            let message = format!("column \"{column}\" of table \"{}\" says how long its rows are kept", object.name);
            Err(Error::new(Kind::DependentObjects, message).hint("ALTER TABLE … RESET (retention) first."))
        }
        _ => Ok(()),
    }
}
