//! What a statement gives back, in the engine's words: the wire turns it into the client's.

use std::pin::Pin;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use futures::Stream;

use crate::error::{Error, Result};
use crate::types::{CopyFormat, ObjectId, SqlType};

/// Rows as they become ready. Dropping it stops the work behind it.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// What executing a statement gives.
pub enum Outcome {
    /// No statement at all: an empty query string.
    Empty,
    /// Done, with the command tag that clients expect (`CREATE TABLE`, `INSERT 0 3`, `BEGIN`).
    Done(String),
    /// Rows. The tag is this word and, for `SELECT` and `FETCH`, their number; `INSERT` is written `INSERT 0 n`.
    Rows {
        /// The columns.
        schema: SchemaRef,
        /// The rows.
        rows: RowStream,
        /// `SELECT`, `FETCH`, `SHOW`, `EXPLAIN`, `INSERT`, `UPDATE`, `DELETE`.
        tag: &'static str,
    },
    /// The client is to send rows: `COPY … FROM STDIN`. Its text is decoded by the wire.
    CopyIn {
        /// The columns that each line has, in order.
        columns: SchemaRef,
        /// How lines look.
        format: CopyFormat,
        /// Where the rows go: `Session::copy_in` takes it back with the rows.
        target: CopyTarget,
    },
    /// Rows for the client, written as COPY data.
    CopyOut {
        /// The columns.
        schema: SchemaRef,
        /// The rows.
        rows: RowStream,
        /// How lines look.
        format: CopyFormat,
    },
}

/// What a COPY writes into; opaque to the wire.
#[derive(Clone, Debug)]
pub struct CopyTarget {
    /// The table.
    pub(crate) table: ObjectId,
    /// Positions of the table's columns that the lines give, in order.
    pub(crate) columns: Vec<usize>,
}

/// What a client learns of a statement before it runs.
#[derive(Clone, Debug)]
pub struct Description {
    /// The type of `$1`, `$2`, ….
    pub parameters: Vec<SqlType>,
    /// The columns of the rows it gives; `None` if it gives none.
    pub columns: Option<SchemaRef>,
}

/// The value of a parameter: an array of length 1, of its type's Arrow form.
pub type Parameter = ArrayRef;

/// Something to tell the client beside the answer.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `NOTICE`, `WARNING`, `INFO`.
    pub severity: &'static str,
    /// SQLSTATE and texts as in an error; for a plain notice the code is `00000`.
    pub error: Error,
}

/// Where a session stands in its transaction, as ReadyForQuery tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    Open,
    /// `E`: failed, waits for ROLLBACK.
    Failed,
}
