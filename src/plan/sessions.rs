//! The window functions that SESSION is written with once it is plain SQL: `session_start(ts, gap)` and `session_end(ts, gap)`.
//!
//! They stand over `(PARTITION BY keys ORDER BY ts)`, and are the start and the end of the session that a row is in. Two rows of a partition
//! are in one session if less than the gap lies between them, or rows between them lead from one to the other:
//!
//! ```text
//! gap 5          times   1   4   8           13   14
//! session_start          1   1   1           13   13
//! session_end           13  13  13           19   19        the last row's time and the gap
//! ```
//!
//! So sessions are half open, as all windows are, and do not overlap. A query computes them from all rows of a partition; in a view they
//! become a node of its own ([`NodeKind::Session`](super::NodeKind::Session)).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, TypeSignature, Volatility, WindowUDF, WindowUDFImpl};

use super::errors::external;
use super::functions::fixed_micros;
use crate::error::Result;

/// The function that gives the start.
pub(super) const SESSION_START: &str = "session_start";

/// The function that gives the end.
pub(super) const SESSION_END: &str = "session_end";

/// The functions.
pub(super) fn all() -> Vec<Arc<WindowUDF>> {
    [SESSION_START, SESSION_END].map(|name| Arc::new(WindowUDF::from(SessionBound::new(name)))).to_vec()
}

/// The gap as a view needs it.
pub(super) fn gap_micros(gap: &ScalarValue) -> Result<i64> {
    fixed_micros(gap, "the gap between sessions")
}

/// One of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionBound {
    name: &'static str,
    signature: Signature,
}

impl SessionBound {
    fn new(name: &'static str) -> Self {
        let form = |zone: Option<&str>| {
            let time = DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
            TypeSignature::Exact(vec![time, DataType::Interval(IntervalUnit::MonthDayNano)])
        };
        SessionBound { name, signature: Signature::one_of(vec![form(None), form(Some("UTC"))], Volatility::Immutable) }
    }
}

impl WindowUDFImpl for SessionBound {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let time = arguments.get_input_field(0).ok_or_else(|| DataFusionError::Internal("a session without a time".into()))?;
        Ok(Arc::new(Field::new(arguments.name(), time.data_type().clone(), true)))
    }

    fn partition_evaluator(&self, _arguments: PartitionEvaluatorArgs<'_>) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Partition { end: self.name == SESSION_END }))
    }
}

/// Computes one of them for the rows of a partition, which are in the order of their times.
#[derive(Debug)]
struct Partition {
    end: bool,
}

impl PartitionEvaluator for Partition {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        let [times, gaps] = values else { return Err(DataFusionError::Internal("a session has a time and a gap".into())) };
        let data_type = times.data_type().clone();
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let gaps = gaps.as_primitive::<IntervalMonthDayNanoType>();
        let mut bounds: Vec<Option<i64>> = vec![None; rows];
        let mut row = 0;
        while row < rows {
            if times.is_null(row) || gaps.is_null(row) {
                row += 1;
                continue;
            }
            let gap = gap_micros(&ScalarValue::IntervalMonthDayNano(Some(gaps.value(row)))).map_err(external)?;
            let follows = |next: usize| times.is_valid(next) && times.value(next).saturating_sub(times.value(next - 1)) < gap;
            let end = (row + 1..rows).find(|next| !follows(*next)).unwrap_or(rows);
            let bound = if self.end { times.value(end - 1).saturating_add(gap) } else { times.value(row) };
            bounds[row..end].fill(Some(bound));
            row = end;
        }
        Ok(Arc::new(TimestampMicrosecondArray::from(bounds).with_data_type(data_type)))
    }
}
