//! What survives a restart, and where writing and reading meet. Knows keys, rows and epochs; knows no operators.
//!
//! ```text
//!  writers ── Changes ──→ Relation ── Snapshot, lookup ──→ readers        (in memory, per epoch)
//!                            │  delta ↓    ↑ load
//!  operators ─ StateChanges → Store: catalog, log, checkpoint             (RocksDB)
//! ```
//!
//! A relation is shards of pages of segments: `relation` → `shard` → `pages` → `segment`, with an `index` per shard. What of it is stored is
//! told by `blocks`. The store's keys are listed in `keyspace`, its values made in `format`.

mod blocks;
mod changes;
mod checkpoint;
mod consolidate;
mod draft;
mod format;
mod found;
mod index;
mod keyspace;
mod leases;
mod log;
mod pages;
mod relation;
#[cfg(test)]
mod relation_tests;
mod resolve;
mod segment;
mod shard;
mod snapshot;
mod store;
mod sunk;
mod tail;
#[cfg(test)]
pub(crate) mod test_directory;

pub use blocks::RelationDelta;
#[cfg(test)]
pub(crate) use changes::tests::StoredState;
pub use changes::{ReportChanges, StateChanges, StateEntry};
pub use checkpoint::{CheckpointData, CheckpointInfo};
pub use draft::{Draft, DraftMark, NEWEST};
pub use format::{decode_changes, encode_changes};
pub use found::Found;
pub use leases::{Lease, Leases};
pub use log::LogEntry;
pub use relation::Relation;
pub use resolve::Resolved;
pub use shard::chosen;
pub use snapshot::Snapshot;
pub use store::{Store, fatal};
pub use sunk::Sunk;
pub use tail::Tail;
