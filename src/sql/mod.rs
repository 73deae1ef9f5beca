//! Text → `Statement`; no names resolved, no catalog.
//!
//! `parse` cuts a text at its semicolons (`tokens`), reads each part word by word (`reader`, and one file per family of
//! statements), and leaves expressions, types and queries to sqlparser. `expand_windows` writes TUMBLE and its like as plain SQL.

mod alter;
mod as_of;
mod clauses;
mod comment;
mod comments;
mod copy;
mod create;
mod create_sink;
mod create_table;
mod cursor;
mod depth;
mod dialect;
mod exclude;
mod foreign;
mod function;
mod grouping;
mod index;
mod keywords;
mod located;
mod options;
mod parse;
mod position;
mod query;
mod quote;
mod reader;
mod recursion;
mod respell;
mod rows;
mod session;
mod settings;
mod statement;
mod temporal_join;
#[cfg(test)]
mod tests;
mod tokens;
mod unsupported;
mod walk;
mod windows;

pub use as_of::ASOF_JOIN;
pub use create_table::is_proctime;
pub use dialect::dialect;
pub use exclude::EXCLUDE;
pub use grouping::DISTINCT_SETS;
pub use located::located;
pub use parse::parse;
pub use query::{WITH_TIES, is_default};
pub use quote::{quote_ident, quote_literal};
pub use recursion::{prepare_recursion, reads_itself};
pub use respell::{Respelling, may_see_column, rename_column, respell};
pub use statement::{
    Alter, AlterAction, ColumnDefinition, Copy, CopySubject, CreateFunction, CreateIndex, CreateSink, CreateTable, CreateView, Discard,
    DropKind, ExplainKind, FunctionArgument, Insert, InsertConflict, Name, Parsed, Show, SinkSource, Statement, Volatility, WithQueries,
};
pub use temporal_join::TEMPORAL_JOIN;
pub use tokens::{NAME_BYTES_MAX, ROWS_FROM, cut_name, long_names};
pub use walk::{Walk, WalkMut};
pub use windows::{WINDOW_COLUMNS, expand_windows, made_column, take_mark};
