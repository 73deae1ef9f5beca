//! What is remembered of the rows of a partition that were forgotten: it stands with the last of them, which stays.
//!
//! ```text
//! forgotten   . . . . . . . . a b c d        a: 9 rows, and the accumulators' states behind it
//! ```

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::window::PlainAggregateWindowExpr;

use super::CallState;
use crate::error::{Error, Result};
use crate::plan::{WindowCall, WindowMethod, from_datafusion};
use crate::types::decode_rows;

/// What the rows of a partition up to one of them came to.
#[derive(Debug, PartialEq)]
pub(super) struct Base {
    /// How many there were, with that one.
    pub(super) rows: u64,
    /// The states of the running aggregates, as [`BaseFormat`] writes them.
    pub(super) states: Box<[u8]>,
}

/// Reads and writes the states of running aggregates.
pub(super) struct BaseFormat {
    calls: Vec<StateFormat>,
}

/// For one aggregate.
struct StateFormat {
    types: Vec<DataType>,
    converter: RowConverter,
}

impl BaseFormat {
    /// For those of `calls` that are running aggregates. Fails for states that cannot be held.
    pub(super) fn new(calls: &[WindowCall]) -> Result<Self> {
        let running = calls.iter().filter(|call| matches!(call.method, WindowMethod::Running { .. }));
        Ok(BaseFormat { calls: running.map(StateFormat::new).collect::<Result<_>>()? })
    }

    /// States in the order of their calls.
    pub(super) fn encode(&self, states: &[CallState]) -> Result<Box<[u8]>> {
        let mut bytes = Vec::new();
        for (format, state) in self.calls.iter().zip(states) {
            let (stuck, written) = match state {
                Ok(values) => (0, format.encode(values)?),
                Err(message) => (1, message.as_bytes().to_vec()),
            };
            bytes.push(stuck);
            bytes.extend_from_slice(&(written.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&written);
        }
        Ok(bytes.into_boxed_slice())
    }

    /// The states again.
    pub(super) fn decode(&self, mut bytes: &[u8]) -> Result<Vec<CallState>> {
        let damaged = || Error::internal("the stored state of a running aggregate is damaged");
        let mut states = Vec::with_capacity(self.calls.len());
        for format in &self.calls {
            let (stuck, rest) = bytes.split_first().ok_or_else(damaged)?;
            let (length, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
            let (written, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
            bytes = rest;
            states.push(match stuck {
                0 => Ok(format.decode(written)?),
                _ => Err(Arc::from(&*String::from_utf8_lossy(written))),
            });
        }
        Ok(states)
    }
}

impl StateFormat {
    fn new(call: &WindowCall) -> Result<Self> {
        let expression = call.expression.as_any().downcast_ref::<PlainAggregateWindowExpr>();
        let expression = expression.ok_or_else(|| Error::internal("a running aggregate of another kind"))?;
        let fields: Vec<FieldRef> = expression.get_aggregate_expr().state_fields().map_err(|error| from_datafusion(error, ""))?;
        let types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect());
        let converter =
            converter.map_err(|_| Error::not_supported(format!("keeping the state of {} in a materialized view's state", call.text)))?;
        Ok(StateFormat { types, converter })
    }

    fn encode(&self, values: &[ScalarValue]) -> Result<Vec<u8>> {
        let columns = values.iter().zip(&self.types).map(|(value, data_type)| {
            let column = value.to_array_of_size(1).map_err(|error| from_datafusion(error, ""))?;
            Ok(if column.data_type() == data_type { column } else { cast(&column, data_type)? })
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        Ok(self.converter.convert_columns(&columns)?.row(0).data().to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<ScalarValue>> {
        let columns = decode_rows(&self.converter, std::iter::once(bytes))?;
        let value = |column: &ArrayRef| ScalarValue::try_from_array(column, 0).map_err(|error| from_datafusion(error, ""));
        columns.iter().map(value).collect()
    }
}
