//! One SELECT as of one epoch: rows of snapshots into DataFusion, and its rows out in exactly the types of SQL.

mod convert;
mod point;
mod provider;
mod rows;
mod select;
mod stop;

pub use convert::convert;
pub use point::{PointQuery, PointValue, point_query};
pub use provider::{RowsAt, RowsProvider, UsedIndexes};
pub use rows::{Providers, empty_provider, run_point};
pub use select::{RowStream, aside, explain_physical, run};
