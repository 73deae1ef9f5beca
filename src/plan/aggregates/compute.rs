//! What the functions of this folder compute from all rows of a group.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;

use super::json;
use crate::error::{Error, Kind};
use crate::plan::errors::external;
use crate::types::{FloatSum, PackedRows, SqlType, order_key, sql_type_of};

/// The functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Compute {
    /// All values as an array.
    Array,
    /// All values that are not NULL as one text, with the second argument of each but the first before it.
    Text,
    /// All values as a JSON array.
    JsonArray { binary: bool },
    /// Keys and values as a JSON object.
    JsonObject { binary: bool },
    /// The most frequent value; of several, the first.
    Mode,
    /// The first value that at least the given fraction of all values do not come after.
    PercentileDiscrete,
    /// What stands at the given fraction of the way from the first value to the last, in proportion where that is between two of them. DataFusion's cuts
    /// the proportion after six digits.
    PercentileContinuous,
    /// The first argument where the second is least; of several, the least. Rows with NULL in one do not count.
    ArgMin,
    /// The first argument where the second is greatest; of several, the greatest. Rows with NULL in one do not count.
    ArgMax,
    /// The mean of the first (0) or second (1) argument where neither is NULL. DataFusion's is NaN where a value is infinite.
    MeanOfPairs { argument: usize },
}

impl Compute {
    /// The types that the arguments are cast to; `None` if there are too few, too many, or wrong ones.
    pub(super) fn argument_types(self, types: &[DataType]) -> Option<Vec<DataType>> {
        match (self, types) {
            (Compute::Array | Compute::JsonArray { .. } | Compute::Mode, [_])
            | (Compute::JsonObject { .. } | Compute::Text | Compute::ArgMin | Compute::ArgMax, [_, _]) => Some(types.to_vec()),
            (Compute::MeanOfPairs { .. }, [first, second]) if [first, second].iter().all(|of| of.is_numeric() || of.is_null()) => {
                Some(vec![DataType::Float64; 2])
            }
            (Compute::PercentileDiscrete, [value, fraction]) if fraction.is_numeric() || fraction.is_null() => {
                Some(vec![value.clone(), DataType::Float64])
            }
            (Compute::PercentileContinuous, [value, fraction]) if [value, fraction].iter().all(|of| of.is_numeric() || of.is_null()) => {
                Some(vec![DataType::Float64; 2])
            }
            _ => None,
        }
    }

    /// The result's field.
    pub(super) fn result(self, name: &str, arguments: &[FieldRef]) -> FieldRef {
        match self {
            Compute::JsonArray { binary } | Compute::JsonObject { binary } => {
                Arc::new(if binary { SqlType::Jsonb } else { SqlType::Json }.field(name, true))
            }
            Compute::Array => {
                let list = array_agg_udaf().return_field(&arguments[..1]).map(|field| field.as_ref().clone());
                let list =
                    list.unwrap_or_else(|_| Field::new_list("", Field::new_list_field(arguments[0].data_type().clone(), true), true));
                Arc::new(list.with_name(name).with_nullable(true))
            }
            // As DataFusion's.
            Compute::Text => Arc::new(Field::new(name, DataType::LargeUtf8, true)),
            _ => Arc::new(arguments[0].as_ref().clone().with_name(name).with_nullable(true)),
        }
    }

    /// Whether the order of rows means nothing to it.
    pub(super) fn sorts_itself(self) -> bool {
        !matches!(self, Compute::Array | Compute::Text | Compute::JsonArray { .. } | Compute::JsonObject { .. })
    }

    /// Whether it is written with WITHIN GROUP.
    pub(super) fn within_group(self) -> bool {
        matches!(self, Compute::Mode | Compute::PercentileDiscrete | Compute::PercentileContinuous)
    }

    /// The result of a group's rows.
    pub(super) fn result_of(self, rows: &[ArrayRef], fields: &[FieldRef], descending: bool) -> DataFusionResult<ScalarValue> {
        let none = || ScalarValue::try_new_null(fields[0].data_type());
        let at = |place: Option<u32>| match place {
            Some(place) => ScalarValue::try_from_array(&rows[0], place as usize),
            None => none(),
        };
        match self {
            Compute::Array => array(self.result("", fields).data_type(), &rows[0]),
            Compute::Text => text(rows),
            Compute::JsonArray { binary } => json_array(rows, fields, binary),
            Compute::JsonObject { binary } => json_object(rows, fields, binary),
            Compute::Mode => at(mode(&rows[0], &fields[0], descending)?),
            Compute::PercentileDiscrete => at(percentile(rows, &fields[0], descending)?),
            Compute::PercentileContinuous => between(rows, descending).map(ScalarValue::Float64),
            Compute::ArgMin => at(extreme(rows, fields)?.0),
            Compute::ArgMax => at(extreme(rows, fields)?.1),
            Compute::MeanOfPairs { argument } => Ok(mean_of_pairs(rows, argument)),
        }
    }
}

/// The numbers of all rows in order (equal ones as they stand), and the rows packed.
pub(super) fn sorted(columns: &[ArrayRef], fields: &[FieldRef], directions: &[SortOptions]) -> DataFusionResult<(Vec<u32>, BinaryArray)> {
    let rows = columns.first().map_or(0, |column| column.len());
    let packed = PackedRows::new(fields.to_vec(), directions.to_vec()).and_then(|packing| packing.pack(columns, rows));
    let packed = packed.map_err(external)?;
    let mut places: Vec<u32> = (0..rows as u32).collect();
    places.sort_by_key(|place| packed.value(*place as usize));
    Ok((places, packed))
}

/// As `sorted`, by where the values stand in the order of their types.
pub(super) fn sorted_by_keys(
    columns: &[ArrayRef],
    fields: &[FieldRef],
    directions: &[SortOptions],
) -> DataFusionResult<(Vec<u32>, BinaryArray)> {
    let keys = columns.iter().zip(fields).map(|(column, field)| order_key(column, &sql_type_of(field)));
    let keys = keys.collect::<Result<Vec<_>, _>>().map_err(external)?;
    let fields: Vec<FieldRef> = keys.iter().map(|keys| Arc::new(Field::new("", keys.data_type().clone(), true)) as FieldRef).collect();
    sorted(&keys, &fields, directions)
}

/// The values that are not NULL, in order.
fn values(column: &ArrayRef, field: &FieldRef, descending: bool) -> DataFusionResult<(Vec<u32>, BinaryArray)> {
    let direction = SortOptions { descending, nulls_first: false };
    let (mut places, packed) = sorted_by_keys(std::slice::from_ref(column), std::slice::from_ref(field), &[direction])?;
    let nulls = column.logical_nulls();
    places.retain(|place| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*place as usize)));
    Ok((places, packed))
}

fn mean_of_pairs(rows: &[ArrayRef], argument: usize) -> ScalarValue {
    let (mut sum, mut count) = (FloatSum::default(), 0_i64);
    let values = rows[argument].as_primitive::<Float64Type>();
    for row in (0..values.len()).filter(|row| rows.iter().all(|column| column.is_valid(*row))) {
        sum.add(values.value(row), 1);
        count += 1;
    }
    ScalarValue::Float64((count > 0).then(|| sum.value() / count as f64))
}

fn mode(column: &ArrayRef, field: &FieldRef, descending: bool) -> DataFusionResult<Option<u32>> {
    let (places, packed) = values(column, field, descending)?;
    let equal = |left: &u32, right: &u32| packed.value(*left as usize) == packed.value(*right as usize);
    let runs = places.chunk_by(equal).enumerate();
    Ok(runs.max_by_key(|(number, run)| (run.len(), Reverse(*number))).map(|(_, run)| run[0]))
}

fn percentile(rows: &[ArrayRef], field: &FieldRef, descending: bool) -> DataFusionResult<Option<u32>> {
    let (places, _) = values(&rows[0], field, descending)?;
    let Some(fraction) = fraction(&rows[1])? else { return Ok(None) };
    let number = (fraction * places.len() as f64).ceil().max(1.0) as usize;
    Ok(places.get(number - 1).copied())
}

/// The fraction of a percentile, which is the same in all rows; `None` if it is NULL.
fn fraction(column: &ArrayRef) -> DataFusionResult<Option<f64>> {
    match column.as_primitive::<Float64Type>().iter().next().flatten() {
        Some(fraction) if !(0.0..=1.0).contains(&fraction) => {
            Err(external(Error::new(Kind::NumericOutOfRange, format!("percentile value {fraction} is not between 0 and 1"))))
        }
        other => Ok(other),
    }
}

fn between(rows: &[ArrayRef], descending: bool) -> DataFusionResult<Option<f64>> {
    let mut values: Vec<f64> = rows[0].as_primitive::<Float64Type>().iter().flatten().collect();
    let (Some(fraction), false) = (fraction(&rows[1])?, values.is_empty()) else { return Ok(None) };
    let order = |left: &f64, right: &f64| if descending { right.total_cmp(left) } else { left.total_cmp(right) };
    let way = fraction * (values.len() - 1) as f64;
    let (_, lower, above) = values.select_nth_unstable_by(way as usize, order);
    let upper = above.iter().copied().min_by(order).filter(|_| way.fract() > 0.0);
    Ok(Some(upper.map_or(*lower, |upper| *lower + way.fract() * (upper - *lower))))
}

/// The rows with the least and the greatest (second, first) argument.
fn extreme(rows: &[ArrayRef], fields: &[FieldRef]) -> DataFusionResult<(Option<u32>, Option<u32>)> {
    let ascending = vec![SortOptions { descending: false, nulls_first: false }; 2];
    let columns = [Arc::clone(&rows[1]), Arc::clone(&rows[0])];
    let (mut places, _) = sorted(&columns, &[Arc::clone(&fields[1]), Arc::clone(&fields[0])], &ascending)?;
    let nulls: Vec<_> = rows.iter().filter_map(|column| column.logical_nulls()).collect();
    places.retain(|place| nulls.iter().all(|nulls| nulls.is_valid(*place as usize)));
    Ok((places.first().copied(), places.last().copied()))
}

/// NULL where there are no rows.
fn array(list: &DataType, values: &ArrayRef) -> DataFusionResult<ScalarValue> {
    let DataType::List(item) = list else { return Err(external(Error::internal("the type of an array is no list"))) };
    if values.is_empty() {
        return ScalarValue::try_new_null(list);
    }
    let array = ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths([values.len()]), Arc::clone(values), None)?;
    Ok(ScalarValue::List(Arc::new(array)))
}

/// NULL where there are no values; a delimiter that is NULL is none.
fn text(rows: &[ArrayRef]) -> DataFusionResult<ScalarValue> {
    let [values, delimiters] = [cast(&rows[0], &DataType::Utf8)?, cast(&rows[1], &DataType::Utf8)?];
    let (values, delimiters) = (values.as_string::<i32>(), delimiters.as_string::<i32>());
    let mut joined: Option<String> = None;
    for (value, delimiter) in values.iter().zip(delimiters) {
        let Some(value) = value else { continue };
        match &mut joined {
            Some(text) => {
                text.push_str(delimiter.unwrap_or_default());
                text.push_str(value);
            }
            None => joined = Some(value.to_owned()),
        }
    }
    Ok(ScalarValue::LargeUtf8(joined))
}

fn json_array(rows: &[ArrayRef], fields: &[FieldRef], binary: bool) -> DataFusionResult<ScalarValue> {
    if rows[0].is_empty() {
        return Ok(ScalarValue::Utf8(None));
    }
    let column = json::Column::new(&rows[0], &fields[0], binary).map_err(external)?;
    let mut text = String::from("[");
    for row in 0..rows[0].len() {
        text.push_str(if row > 0 { ", " } else { "" });
        column.write(row, &mut text).map_err(external)?;
    }
    text.push(']');
    Ok(ScalarValue::Utf8(Some(text)))
}

/// As PostgreSQL: `jsonb` keeps the last value of each key, and short keys before long ones; `json` keeps everything as it came.
fn json_object(rows: &[ArrayRef], fields: &[FieldRef], binary: bool) -> DataFusionResult<ScalarValue> {
    if rows[0].is_empty() {
        return Ok(ScalarValue::Utf8(None));
    }
    if rows[0].logical_null_count() > 0 {
        return Err(external(Error::new(Kind::InvalidParameter, "field name must not be null")));
    }
    let keys = json::texts(&rows[0], &fields[0]).map_err(external)?;
    let mut places: Vec<u32> = (0..keys.len() as u32).collect();
    if binary {
        places.sort_by_key(|place| (keys[*place as usize].len(), keys[*place as usize].as_bytes()));
        let last_of_each = places.chunk_by(|left, right| keys[*left as usize] == keys[*right as usize]).map(|same| same[same.len() - 1]);
        places = last_of_each.collect();
    }
    let values = take(&rows[1], &UInt32Array::from(places.clone()), None)?;
    let column = json::Column::new(&values, &fields[1], binary).map_err(external)?;
    let mut text = String::from(if binary { "{" } else { "{ " });
    for (row, place) in places.iter().enumerate() {
        text.push_str(if row > 0 { ", " } else { "" });
        json::quote(&keys[*place as usize], &mut text);
        text.push_str(if binary { ": " } else { " : " });
        column.write(row, &mut text).map_err(external)?;
    }
    text.push_str(if binary { "}" } else { " }" });
    Ok(ScalarValue::Utf8(Some(text)))
}
