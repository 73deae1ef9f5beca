//! Functions behind whatever puts values in order: `equal_values` calls them where a type's order is not that of its Arrow values.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, IntervalMonthDayNanoArray, make_comparator};
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use datafusion::common::ScalarValue;

use super::call::Call;
use super::{Function, function};
use crate::error::{Error, Result};
use crate::types::{SqlType, interval_length, order_key, sql_type_of};

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("order_key", "behind comparisons of arrays and rows: NULL stands above all else", "ARRAY[1, NULL] > ARRAY[1, 2]", "t")
            .operator("<")
            .form("any -> bytea", |call| keys(call, 0)),
        function(
            "greatest_in_order",
            "behind `greatest` of intervals, jsonb, arrays and rows",
            "greatest(INTERVAL '1 mon', INTERVAL '29 days')",
            "1 mon",
        )
        .operator("greatest")
        .form_of("any… -> any", first, |call| chosen(call, Ordering::Greater)),
        function(
            "least_in_order",
            "behind `least` of intervals, jsonb, arrays and rows",
            "least(INTERVAL '1 mon', INTERVAL '31 days')",
            "1 mon",
        )
        .operator("least")
        .form_of("any… -> any", first, |call| chosen(call, Ordering::Less)),
        function(
            "interval_place",
            "behind `min` and `max` of intervals: how long one is, and which of that length",
            "max(v) = INTERVAL '1 day' FROM (VALUES (INTERVAL '24:00'), ('1 hour')) AS t (v)",
            "t",
        )
        .operator("max")
        .form("interval -> bytea", |call| Ok(places(&call.arguments[0]))),
        function(
            "interval_at",
            "behind `min` and `max` of intervals: the one at a place",
            "min(v) FROM (VALUES (INTERVAL '24:00'), ('1 hour')) AS t (v)",
            "01:00:00",
        )
        .operator("max")
        .form("bytea -> interval", |call| intervals(&call.arguments[0])),
    ]
}

/// The type of the first argument.
fn first(fields: &[arrow::datatypes::FieldRef], _scalars: &[Option<&ScalarValue>]) -> SqlType {
    fields.first().map_or(SqlType::Text, |field| sql_type_of(field))
}

/// The keys of an argument.
fn keys(call: &Call<'_>, place: usize) -> Result<ArrayRef> {
    // The array may have been cast since the field was made.
    let values = &call.arguments[place];
    let field = call.fields[place].as_ref().clone().with_data_type(values.data_type().clone());
    order_key(values, &sql_type_of(&field))
}

/// The argument of each row that stands before (or behind) all others; NULLs are left out, and of equal ones it is the first.
fn chosen(call: &Call<'_>, wanted: Ordering) -> Result<ArrayRef> {
    let keys = (0..call.arguments.len()).map(|place| keys(call, place)).collect::<Result<Vec<_>>>()?;
    let mut best: Vec<Option<usize>> = vec![None; call.rows];
    let options = SortOptions { descending: false, nulls_first: false };
    for next in 0..keys.len() {
        // Against each of those before it that is the best of some row.
        let orders = keys[..next].iter().map(|known| make_comparator(&keys[next], known, options)).collect::<Result<Vec<_>, _>>()?;
        for (row, best) in best.iter_mut().enumerate().filter(|(row, _)| keys[next].is_valid(*row)) {
            if best.is_none_or(|known| orders[known](row, row) == wanted) {
                *best = Some(next);
            }
        }
    }
    let arrays: Vec<&dyn Array> = call.arguments.iter().map(AsRef::as_ref).collect();
    // Where all are NULL, so is the first.
    let places: Vec<(usize, usize)> = best.iter().enumerate().map(|(row, best)| (best.unwrap_or(0), row)).collect();
    Ok(interleave(&arrays, &places)?)
}

fn places(values: &ArrayRef) -> ArrayRef {
    let mut places = BinaryBuilder::new();
    for value in values.as_primitive::<IntervalMonthDayNanoType>() {
        places.append_option(value.map(|value| {
            let mut place = (interval_length(value) ^ i128::MIN).to_be_bytes().to_vec();
            place.extend(value.months.to_be_bytes());
            place.extend(value.days.to_be_bytes());
            place.extend(value.nanoseconds.to_be_bytes());
            place
        }));
    }
    Arc::new(places.finish())
}

fn intervals(places: &ArrayRef) -> Result<ArrayRef> {
    let interval = |place: &[u8]| {
        let (months, rest) = place.get(16..)?.split_first_chunk::<4>()?;
        let (days, nanos) = rest.split_first_chunk::<4>()?;
        let nanos = i64::from_be_bytes(nanos.try_into().ok()?);
        Some(IntervalMonthDayNano::new(i32::from_be_bytes(*months), i32::from_be_bytes(*days), nanos))
    };
    let read = |place: Option<&[u8]>| {
        place.map(|place| interval(place).ok_or_else(|| Error::internal("these bytes are no interval's"))).transpose()
    };
    let intervals = places.as_binary::<i32>().iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(IntervalMonthDayNanoArray::from(intervals)))
}
