//! Tidemill: a streaming SQL database in one binary.
//!
//! The life of a statement: wire → engine → sql → plan → dataflow → state → serve → wire.
//! The life of a change: connect → dataflow → state → serve → wire. Imports only go down this list; `tidy.rs` holds it:
//!
//! ```text
//! main      cli   config
//! wire      http
//! engine                      the only folder that knows the whole
//! dataflow  serve             they meet in state, never each other
//! plan
//! catalog   sql   connect
//! state
//! types
//! error
//! ```

pub mod catalog;
pub mod cli;
pub mod config;
pub mod connect;
pub mod dataflow;
pub mod engine;
pub mod error;
pub mod http;
pub mod plan;
pub mod serve;
pub mod sql;
pub mod state;
#[cfg(test)]
mod tidy;
pub mod types;
pub mod wire;
