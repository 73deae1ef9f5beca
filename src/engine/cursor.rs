//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE. A cursor reads the epoch at which it was declared. One that outlives its transaction
//! gets all its rows when that ends: it holds back no epoch, and sees no write that the transaction's tables get later.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use tokio::sync::Mutex;

use crate::engine::dml::collected;
use crate::engine::outcome::{Outcome, Parameter, RowStream};
use crate::engine::query::stream_of;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::sql::{Parsed, Statement};
use crate::types::SqlType;

/// An open cursor.
pub(crate) struct Cursor {
    /// Of all that the session ever had, which one it is: a name may be that of another one later.
    pub(crate) number: u64,
    /// It is to outlive its transaction.
    hold: bool,
    /// It has all its rows, and needs no transaction any more.
    pub(crate) kept: bool,
    pub(crate) schema: SchemaRef,
    /// Shared with what FETCH gives, which reads on while it is sent.
    rows: Arc<Mutex<Rows>>,
}

/// The rows that are left.
struct Rows {
    stream: RowStream,
    /// Rows read but not fetched.
    rest: Option<RecordBatch>,
}

impl Session {
    /// `declared`: the types of the parameters.
    pub(crate) async fn declare(
        &mut self,
        name: &str,
        hold: bool,
        query: &Parsed,
        declared: &[Option<SqlType>],
        parameters: &[Parameter],
    ) -> Result<Outcome> {
        if !hold && self.transaction.as_ref().is_none_or(|transaction| !transaction.explicit) {
            return Err(Error::new(Kind::NoActiveTransaction, "DECLARE CURSOR can only be used in transaction blocks")
                .hint("BEGIN first, or declare it WITH HOLD."));
        }
        if self.cursors.contains_key(name) {
            return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        let Statement::Query(select) = &query.statement else {
            return Err(Error::new(Kind::Syntax, "a cursor takes a query"));
        };
        let (schema, rows) = self.run_query(select, &query.text, declared, parameters).await?;
        let rows = Arc::new(Mutex::new(Rows { stream: rows, rest: None }));
        self.cursors_declared += 1;
        self.cursors.insert(name.to_owned(), Cursor { number: self.cursors_declared, hold, kept: false, schema, rows });
        // Without a transaction that it could outlive, this statement is all.
        if self.transaction.is_none()
            && let Err(error) = self.keep_cursors().await
        {
            self.cursors.remove(name);
            return Err(error);
        }
        Ok(Outcome::Done("DECLARE CURSOR".to_owned()))
    }

    /// The next `count` rows (`None`: all).
    pub(crate) async fn fetch(&mut self, name: &str, count: Option<u64>, skip: bool) -> Result<Outcome> {
        let cursor = self.cursor(name)?;
        let (schema, rows) = (Arc::clone(&cursor.schema), Arc::clone(&cursor.rows));
        let mut wanted = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        if !skip {
            let fetched = futures::stream::try_unfold((rows, wanted), |(rows, wanted)| async move {
                let next = rows.lock().await.next(wanted).await?;
                Ok(next.map(|batch| {
                    let wanted = wanted - batch.num_rows();
                    (batch, (rows, wanted))
                }))
            });
            return Ok(Outcome::Rows { schema, rows: Box::pin(fetched), tag: "FETCH" });
        }
        let mut moved = 0;
        while let Some(batch) = rows.lock().await.next(wanted).await? {
            moved += batch.num_rows();
            wanted -= batch.num_rows();
        }
        Ok(Outcome::Done(format!("MOVE {moved}")))
    }

    /// Reads to their ends the cursors that are to outlive the transaction.
    pub(crate) async fn keep_cursors(&mut self) -> Result<()> {
        for cursor in self.cursors.values_mut().filter(|cursor| cursor.hold && !cursor.kept) {
            let mut rows = cursor.rows.lock().await;
            let none: RowStream = stream_of(Vec::new());
            let mut batches = Vec::from_iter(rows.rest.take());
            batches.extend(collected(std::mem::replace(&mut rows.stream, none)).await?);
            rows.stream = stream_of(batches);
            cursor.kept = true;
        }
        Ok(())
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

impl Rows {
    /// At most `wanted` of the next rows; `None` at the end, or if none are wanted.
    async fn next(&mut self, wanted: usize) -> Result<Option<RecordBatch>> {
        if wanted == 0 {
            return Ok(None);
        }
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.stream.next().await.transpose()? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let taken = batch.num_rows().min(wanted);
        if taken < batch.num_rows() {
            self.rest = Some(batch.slice(taken, batch.num_rows() - taken));
        }
        Ok(Some(batch.slice(0, taken)))
    }
}
