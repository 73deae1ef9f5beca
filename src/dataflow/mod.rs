//! A `Node`, running: commands, workers, operators.
//!
//! A worker is a thread that steps timely. Dataflows meet at views: what one dataflow's sink finishes on a worker, the dataflows that read
//! the view get on the same worker, epoch by epoch. What leaves the dataflows for elsewhere does so through an outlet.

mod command;
mod driver;
pub mod event_time;
pub mod expr;
mod feed;
mod import;
mod late_rows;
pub mod operator;
mod outlet;
mod packet;
mod pool;
mod pressure;
mod progress;
mod recursion;
mod render;
mod row_errors;
mod sink;
mod time;
mod worker;

pub use command::{Beginning, Command, Dataflow, Target, Tick, WorkerCheckpoint};
pub use feed::{Feed, FeedStep, SnapshotFeed};
pub use late_rows::{LateLog, LateRows, LateSink};
pub use outlet::Outlet;
pub use pool::Workers;
pub use progress::{DataflowProgress, Wake};
pub use row_errors::{RowErrorLog, RowErrorSink};
