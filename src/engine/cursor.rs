//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE. A cursor reads the epoch at which it was declared.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;

use crate::engine::outcome::{Outcome, Parameter, RowStream};
use crate::engine::query::stream_of;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::sql::{Parsed, Statement};

/// An open cursor.
pub(crate) struct Cursor {
    /// It outlives its transaction.
    pub(crate) hold: bool,
    pub(crate) schema: SchemaRef,
    rows: RowStream,
    /// Rows read but not fetched.
    rest: Option<RecordBatch>,
}

impl Session {
    pub(crate) async fn declare(&mut self, name: &str, hold: bool, query: &Parsed, parameters: &[Parameter]) -> Result<Outcome> {
        if !hold && self.transaction.as_ref().is_none_or(|transaction| !transaction.explicit) {
            return Err(Error::new(Kind::ActiveTransaction, "DECLARE CURSOR can only be used in transaction blocks")
                .hint("BEGIN first, or declare it WITH HOLD."));
        }
        if self.cursors.contains_key(name) {
            return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        let Statement::Query(select) = &query.statement else {
            return Err(Error::new(Kind::Syntax, "a cursor takes a query"));
        };
        let (schema, rows) = self.run_query(select, &query.text, &[], parameters).await?;
        self.cursors.insert(name.to_owned(), Cursor { hold, schema, rows, rest: None });
        Ok(Outcome::Done("DECLARE CURSOR".to_owned()))
    }

    /// The next `count` rows (`None`: all).
    pub(crate) async fn fetch(&mut self, name: &str, count: Option<u64>, skip: bool) -> Result<Outcome> {
        let cursor = self.cursor(name)?;
        let mut wanted = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let mut batches = Vec::new();
        let mut moved = 0;
        while wanted > 0 {
            let Some(batch) = cursor.next().await? else { break };
            let taken = batch.num_rows().min(wanted);
            if taken < batch.num_rows() {
                cursor.rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
            moved += taken;
            wanted -= taken;
            if !skip {
                batches.push(batch.slice(0, taken));
            }
        }
        if skip {
            return Ok(Outcome::Done(format!("MOVE {moved}")));
        }
        Ok(Outcome::Rows { schema: Arc::clone(&cursor.schema), rows: stream_of(batches), tag: "FETCH" })
    }

    pub(crate) fn close_cursor(&mut self, name: Option<&str>) -> Result<Outcome> {
        match name {
            None => self.cursors.clear(),
            Some(name) => {
                self.cursor(name)?;
                self.cursors.remove(name);
            }
        }
        Ok(Outcome::Done(if name.is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" }.to_owned()))
    }

    /// The columns of a cursor, if there is one of this name.
    pub fn cursor_schema(&self, name: &str) -> Option<SchemaRef> {
        self.cursors.get(name).map(|cursor| Arc::clone(&cursor.schema))
    }

    pub(crate) fn cursor(&mut self, name: &str) -> Result<&mut Cursor> {
        self.cursors.get_mut(name).ok_or_else(|| Error::new(Kind::UndefinedCursor, format!("cursor \"{name}\" does not exist")))
    }
}

impl Cursor {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        self.rows.next().await.transpose()
    }
}
