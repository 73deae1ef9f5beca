//! The PostgreSQL protocol (version 3): sockets ↔ the engine's sessions.
//!
//! The life of a connection: `listen` accepts it, `startup` learns who it is, `connection` serves its messages by way of `simple` and
//! `extended`, `rows` and `copy` carry data. `frame` is the only file that touches the socket. Message types are pgwire's where they are
//! rare; what a point query needs is read and written in place.

mod connection;
mod copy;
mod copy_decode;
mod copy_encode;
mod decode;
mod encode;
mod encode_binary;
mod error_response;
mod extended;
mod frame;
mod listen;
mod message;
mod numeric;
mod rows;
mod simple;
mod startup;
mod type_oid;

pub use listen::{serve, turn_away};
