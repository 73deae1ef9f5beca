//! Where values stand in the order of their type: keys that Arrow compares as PostgreSQL compares the values.
//!
//! ```text
//! interval     its length in microseconds: a day has 24 hours, a month 30 days
//! jsonb        bytes, of its tree
//! array, row   bytes, of the keys of its parts; NULL stands above all else
//! ```
//!
//! Always: equal values have equal keys, and NULL has none. Values of all other types stand for themselves.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Decimal128Array, ListArray, StructArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType};

use super::floats::canonical_floats;
use super::jsonb::JsonTree;
use super::packed_rows::PackedRows;
use super::sql_type::SqlType;
use super::text_out::canonical;
use crate::error::Result;

/// Microseconds of a day.
const DAY: i128 = 86_400_000_000;

/// Whether values of a type stand in another order than their Arrow values.
pub fn has_order_key(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Interval | SqlType::Jsonb | SqlType::Array(_) | SqlType::Struct(_))
}

/// How long an interval is to a comparison, in microseconds.
pub fn interval_length(value: IntervalMonthDayNano) -> i128 {
    (i128::from(value.months) * 30 + i128::from(value.days)) * DAY + i128::from(value.nanoseconds / 1_000)
}

/// The keys of values of a type. `22P02` for a jsonb that is none.
pub fn order_key(values: &ArrayRef, sql_type: &SqlType) -> Result<ArrayRef> {
    match sql_type {
        SqlType::Interval => {
            let values = canonical(values, sql_type)?;
            let lengths = values.as_primitive::<IntervalMonthDayNanoType>().iter().map(|value| value.map(interval_length));
            Ok(Arc::new(Decimal128Array::from(lengths.collect::<Vec<_>>()).with_precision_and_scale(38, 0)?))
        }
        SqlType::Jsonb => {
            let values = canonical(values, sql_type)?;
            let mut keys = BinaryBuilder::new();
            for text in values.as_string::<i32>() {
                keys.append_option(text.map(|text| JsonTree::parse(text).map(|tree| tree.order_key())).transpose()?);
            }
            Ok(Arc::new(keys.finish()))
        }
        SqlType::Array(_) | SqlType::Struct(_) => {
            let parts = keys_within(&canonical(values, sql_type)?, sql_type)?;
            let field = Arc::new(Field::new("", parts.data_type().clone(), true));
            let packing = PackedRows::new(vec![field], vec![SortOptions { descending: false, nulls_first: false }])?;
            let packed = packing.pack(&[Arc::clone(&parts)], parts.len())?;
            let (offsets, bytes, _) = packed.into_parts();
            Ok(Arc::new(BinaryArray::try_new(offsets, bytes, parts.logical_nulls())?))
        }
        _ => Ok(canonical_floats(Arc::clone(values))),
    }
}

/// Arrays and rows with keys in the place of their parts.
fn keys_within(values: &ArrayRef, sql_type: &SqlType) -> Result<ArrayRef> {
    let key_field = |name: &str, keys: &ArrayRef| -> FieldRef { Arc::new(Field::new(name, keys.data_type().clone(), true)) };
    Ok(match (sql_type, values.data_type()) {
        (SqlType::Array(element), DataType::List(_)) => {
            let lists = values.as_list::<i32>();
            let keys = keys_within(lists.values(), element)?;
            Arc::new(ListArray::try_new(key_field("item", &keys), lists.offsets().clone(), keys, lists.nulls().cloned())?)
        }
        (SqlType::Struct(fields), DataType::Struct(_)) if !fields.is_empty() => {
            let rows = values.as_struct();
            let keys =
                rows.columns().iter().zip(fields).map(|(column, (_, field))| keys_within(column, field)).collect::<Result<Vec<_>>>()?;
            let fields: Vec<FieldRef> = keys.iter().map(|keys| key_field("", keys)).collect();
            Arc::new(StructArray::try_new(fields.into(), keys, rows.nulls().cloned())?)
        }
        (SqlType::Array(_) | SqlType::Struct(_), _) => Arc::clone(values),
        (other, _) => order_key(values, other)?,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::order_key;
    use crate::types::{SqlType, parse_column};

    fn ascending(sql_type: &SqlType, texts: &[&str]) -> bool {
        let values = parse_column(sql_type, texts.iter().map(|text| Some(*text))).unwrap();
        let keys = order_key(&values, sql_type).unwrap();
        let keys = keys.as_binary::<i32>();
        (1..keys.len()).all(|row| keys.value(row - 1) < keys.value(row))
    }

    #[test]
    fn nulls_within_arrays_stand_above_all_else() {
        let array = |element: SqlType| SqlType::Array(Box::new(element));
        assert!(ascending(&array(SqlType::Int4), &["{}", "{7}", "{7,8}", "{7,NULL}", "{8}", "{NULL}", "{NULL,1}"]));
        assert!(ascending(&array(SqlType::Float8), &["{-1}", "{0}", "{Infinity}", "{NaN}", "{NULL}"]));
        assert!(ascending(&array(SqlType::Interval), &["{29 days}", "{1 mon}", "{31 days}"]));
        assert!(ascending(&array(SqlType::Jsonb), &["{9}", "{10}"]));
    }

    #[test]
    fn equal_intervals_have_one_key() {
        let sql_type = SqlType::Array(Box::new(SqlType::Interval));
        let values = parse_column(&sql_type, ["{1 mon}", "{720:00}"].into_iter().map(Some)).unwrap();
        let keys = order_key(&values, &sql_type).unwrap();
        assert_eq!(keys.as_binary::<i32>().value(0), keys.as_binary::<i32>().value(1));
    }
}
