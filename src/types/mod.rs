//! The words all other folders speak: epochs, changes, types, keys. Knows nothing of the rest.

mod changes;
mod clock;
mod copy;
mod decode;
mod definition;
mod exact_sum;
mod hash;
mod ids;
mod json_scan;
mod jsonb;
mod packed_rows;
mod rate;
mod rows_equal;
mod sql_type;
mod stack;
mod text_in;
mod text_out;
mod value;

pub use changes::Changes;
pub use clock::{Clock, ManualClock, SystemClock};
pub use copy::{CopyFormat, CopyKind};
pub use decode::decode_rows;
pub use definition::{Include, OnConflict};
pub use exact_sum::ExactSum;
pub use hash::{BUCKETS, bucket, hash_bytes, hash_rows, worker_of};
pub use ids::{Epoch, ObjectId, OperatorId};
pub use json_scan::{Json, JsonError, JsonScanner, JsonString};
pub use jsonb::{JsonTree, canonical_jsonb};
pub use packed_rows::{PackedRows, canonical_floats};
pub use rate::Rate;
pub use rows_equal::rows_equal;
pub use sql_type::{NUMERIC_DEFAULT, SqlType, sql_type_of};
pub use stack::{COLUMNS_MAX, LEVELS_MAX, STACK_BYTES};
pub use text_in::{decimal_from_text, integer_from_text, parse_column, parse_value, value_from_text};
pub use text_out::{TextColumn, TextStyle, canonical, civil, format_value};
pub use value::{ColumnBuilder, Value};
