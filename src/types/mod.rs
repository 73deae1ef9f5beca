//! The words all other folders speak: epochs, changes, types, keys. Knows nothing of the rest.

mod changes;
mod clock;
mod copy;
mod decode;
mod definition;
mod exact_sum;
mod float_sum;
mod floats;
mod growth;
mod hash;
mod ids;
mod interval_text;
mod json_lines;
mod json_scan;
mod jsonb;
mod local_time;
mod low;
mod oid;
mod order_key;
mod packed_rows;
mod rate;
mod round_time;
mod row_errors;
mod rows_equal;
mod running;
mod sql_type;
mod stack;
mod text_in;
mod text_out;
mod time_windows;
mod value;

pub use changes::Changes;
pub use clock::{Clock, ManualClock, SystemClock};
pub use copy::{CopyFormat, CopyKind};
pub use decode::decode_rows;
pub use definition::{Include, OnConflict};
pub use exact_sum::{ExactSum, two_sum};
pub use float_sum::{FloatSum, HUGE};
pub use floats::{canonical_f64, canonical_floats};
pub use growth::Growth;
pub use hash::{BUCKETS, IntoBits, bucket, hash_bytes, hash_null, hash_rows, hash_value, worker_of};
pub use ids::{Epoch, ObjectId, OperatorId};
pub use interval_text::IntervalStyle;
pub use json_lines::json_lines;
pub use json_scan::{Json, JsonError, JsonScanner, JsonString, ascii_length, number_length};
pub use jsonb::{JsonTree, canonical_jsonb, jsonb_key, storable_text};
pub use local_time::{instant_of, offset_us};
pub use low::{Low, NOW, PROCTIME, TimeUnit, Watermarks, month_bin};
pub use oid::{type_modifier, type_oids};
pub use order_key::{has_order_key, interval_length, order_key};
pub use packed_rows::PackedRows;
pub use rate::Rate;
pub use round_time::{round_column, round_interval, round_time_of_day, round_timestamp, round_value};
pub use row_errors::{RowError, RowErrors};
pub use rows_equal::rows_equal;
pub use running::{Running, Waiting};
pub use sql_type::{NUMERIC_DEFAULT, SqlType, all_nullable, declared_type_of, sql_type_of};
pub use stack::{COLUMNS_MAX, LEVELS_MAX, STACK_BYTES};
pub use text_in::{
    day_in_range, decimal_from_text, integer_from_text, moment_in_range, no_infinity, parse_column, parse_column_in, parse_value,
    usual_timestamp, value_from_text, whole_from_text,
};
pub use text_out::{TextColumn, TextStyle, canonical, civil, format_value};
pub use time_windows::{TimeWindows, WindowsOf};
pub use value::{ColumnBuilder, Value};
