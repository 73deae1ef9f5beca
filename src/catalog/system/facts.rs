//! What system relations and functions are made from: a plain value, gathered once per query.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::types::{Epoch, ObjectId};

/// Everything the server tells of itself, as of one moment and for one session.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Tables, sources, views.
    pub catalog: Arc<Catalog>,
    /// Whom the session belongs to.
    pub user: String,
    /// The database it is connected to.
    pub database: String,
    /// The session's number.
    pub process_id: i32,
    /// The schemas in which unqualified names are looked up.
    pub search_path: Vec<String>,
    /// Name, value and description of every setting.
    pub settings: Vec<(String, String, String)>,
    /// Name and value of settings that only the client knows the meaning of, such as `app.user`.
    pub custom_settings: Vec<(String, String)>,
    /// All sessions.
    pub sessions: Vec<SessionFacts>,
    /// Sources, and tables that a connector fills.
    pub sources: Vec<SourceFacts>,
    /// Materialised views as they run.
    pub views: Vec<ViewFacts>,
    /// Sinks as they run.
    pub sinks: Vec<SinkFacts>,
    /// Tables and views that keep rows.
    pub relations: Vec<RelationFacts>,
    /// Rows on which an expression failed, by object.
    pub row_errors: Vec<RowErrorFacts>,
    /// How far event time is, by table or source.
    pub watermarks: Vec<WatermarkFacts>,
    /// Rows that came too late, by view.
    pub late_rows: Vec<LateFacts>,
    /// The clock.
    pub epochs: EpochFacts,
    /// When the server started, microseconds since 1970.
    pub started_micros: i64,
    /// Now, likewise.
    pub now_micros: i64,
    /// The PostgreSQL version that we answer like.
    pub server_version: &'static str,
}

/// One session.
#[derive(Clone, Debug, Default)]
pub struct SessionFacts {
    /// Its number.
    pub process_id: i32,
    /// Whose it is.
    pub user: String,
    /// Where the client is.
    pub peer: String,
    /// How the client calls itself.
    pub application: String,
    /// Since when, microseconds since 1970.
    pub connected_micros: i64,
    /// What it runs, or ran last.
    pub query: String,
    /// Whether it runs something.
    pub active: bool,
}

/// One source.
#[derive(Clone, Debug, Default)]
pub struct SourceFacts {
    /// Which.
    pub id: ObjectId,
    /// `running`, `degraded: why`, `finished`; `idle` if nobody reads it.
    pub status: String,
    /// Rows read since it was created.
    pub rows: u64,
    /// Rows per second, over the last few seconds.
    pub rate: f64,
    /// Dead letters since it was created.
    pub dead_letters: u64,
    /// Records behind the position, where known.
    pub lag: Option<i64>,
    /// Next offset by partition.
    pub positions: Vec<(i32, i64)>,
    /// The newest dead letters.
    pub newest_dead_letters: Vec<DeadLetterFacts>,
}

/// A record that could not become a row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeadLetterFacts {
    /// Where it stood.
    pub partition: i32,
    /// Where it stood.
    pub offset: i64,
    /// When it was read, microseconds since 1970.
    pub time_micros: i64,
    /// What was wrong with it.
    pub error: String,
    /// Its beginning, as far as it is text.
    pub payload: String,
}

/// One materialised view as it runs.
#[derive(Clone, Debug, Default)]
pub struct ViewFacts {
    /// Which.
    pub id: ObjectId,
    /// `hydrating`, `running` or `failed`.
    pub status: &'static str,
    /// Why it failed.
    pub failure: Option<String>,
    /// Rows read of what was there before it, and how many there are where that is known.
    pub rows_done: u64,
    /// See `rows_done`.
    pub rows_total: Option<u64>,
    /// `rows_done` per second, over the last few seconds.
    pub rate: f64,
    /// Rows that changed in its answer since it was started.
    pub rows_out: u64,
    /// The first epoch that it has not finished.
    pub frontier: Epoch,
    /// What its operators hold: number, name, rows, bytes.
    pub state: Vec<(u32, String, u64, u64)>,
    /// What bounds that of each, by its number, if anything does.
    pub bounds: BTreeMap<u32, String>,
}

/// One sink.
#[derive(Clone, Debug, Default)]
pub struct SinkFacts {
    /// Which.
    pub id: ObjectId,
    /// The table that it writes.
    pub target: ObjectId,
    /// `hydrating`, `running`, `waiting for sources` or `failed`.
    pub status: &'static str,
    /// Why it failed.
    pub failure: Option<String>,
    /// Rows that have left its dataflow since it was started.
    pub rows_out: u64,
    /// Rows of those that are not in the table yet, and their bytes.
    pub pending_rows: u64,
    /// See `pending_rows`.
    pub pending_bytes: u64,
    /// The epoch up to which the table has all that it is to get.
    pub epoch: Epoch,
}

/// The rows of one table or view.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelationFacts {
    /// Which.
    pub id: ObjectId,
    /// Rows that are there now.
    pub rows: u64,
    /// Bytes of memory that it takes.
    pub bytes: u64,
}

/// Failed rows of one object.
#[derive(Clone, Debug, Default)]
pub struct RowErrorFacts {
    /// Which.
    pub id: ObjectId,
    /// How many there were.
    pub count: u64,
    /// The newest: error and row.
    pub samples: Vec<(String, String)>,
}

/// The clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct EpochFacts {
    /// The newest epoch whose writes are on disk.
    pub durable: Epoch,
    /// The newest epoch that every view reflects.
    pub complete: Epoch,
    /// The epoch of the newest checkpoint in the store.
    pub checkpoint: Epoch,
}

impl Facts {
    /// Rows and bytes of a table or view; zero if it keeps none.
    pub(super) fn relation(&self, id: ObjectId) -> RelationFacts {
        self.relations.iter().find(|relation| relation.id == id).copied().unwrap_or_default()
    }
}

/// How far event time is in one table or source.
#[derive(Clone, Debug, Default)]
pub struct WatermarkFacts {
    /// Which.
    pub id: ObjectId,
    /// Microseconds since 1970; `None` as long as some partition may bring anything.
    pub watermark: Option<i64>,
    /// Partitions that are known.
    pub partitions: usize,
    /// Those that hold it back no longer.
    pub idle_partitions: usize,
}

/// Rows that one operator of a view has left out, since they came too late.
#[derive(Clone, Debug, Default)]
pub struct LateFacts {
    /// The view.
    pub id: ObjectId,
    /// The operator's number in the view's plan.
    pub node: u32,
    /// The tables and sources whose watermarks it goes by.
    pub sources: Vec<ObjectId>,
    /// How many.
    pub rows: u64,
    /// The newest of them, if they are kept: when they were left out, in microseconds since 1970, and the row as JSON.
    pub newest: Vec<(i64, String)>,
}
