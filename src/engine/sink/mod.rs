//! Sinks into tables: the changes of a query, written into a table as they come.
//!
//! ```text
//!  dataflow ──▶ outlet ──▶ pump ──▶ the table's turn ──▶ the clock's open epoch ──▶ log, dataflows that read the table
//!              (epoch e)   (a task for each sink)           (epoch e' > e)
//! ```
//!
//! - `running`: a sink as it runs: what has left its dataflow and is not in the table yet.
//! - `pump`: takes that, looks what it does to the table, and commits it.
//! - `owed`: what a sink had still to write when the server ended.
//! - `settle`: readers of the table wait for what has been acknowledged.
//! - `create`: CREATE SINK, and sinks at a restart.
//!
//! Why so: `docs/decisions/0007-sinks-into-tables.md`.

mod create;
mod owed;
mod pump;
mod running;
mod settle;

pub(crate) use create::{LOST, cycle, sink_statement};
pub(crate) use pump::pieces;
pub(crate) use running::RunningSink;
