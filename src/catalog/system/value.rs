//! Rows of system relations, value by value → record batches.
//!
//! System relations are small and made anew for each query, so they are built row by row; only the finished batch is columnar.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};

use crate::error::Result;
use crate::types::SqlType;

/// One value of a system relation, or an argument or result of a system function.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of any width, or an oid.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text, a name, a `"char"`.
    Text(String),
    /// Microseconds since 1970-01-01 UTC.
    Time(i64),
    /// An array.
    List(Vec<Value>),
}

impl Value {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one or a text that says one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// As PostgreSQL prints it; `None` for NULL.
    pub fn printed(&self) -> Option<String> {
        Some(match self {
            Value::Null => return None,
            Value::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
            Value::Int(value) | Value::Time(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(value) => value.clone(),
            Value::List(values) => {
                let parts: Vec<String> = values.iter().map(|value| value.printed().unwrap_or_else(|| "NULL".to_owned())).collect();
                format!("{{{}}}", parts.join(","))
            }
        })
    }

    /// What a column that must not be NULL holds where nothing was said.
    pub(super) fn zero(sql_type: &SqlType) -> Value {
        match sql_type {
            SqlType::Bool => Value::Bool(false),
            SqlType::Float4 | SqlType::Float8 => Value::Float(0.0),
            SqlType::Text | SqlType::Name | SqlType::CatalogChar | SqlType::Varchar(_) | SqlType::Bytea => Value::Text(String::new()),
            SqlType::Array(_) => Value::List(Vec::new()),
            _ => Value::Int(0),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::Int(i64::from(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Int(i64::from(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::from(value as u64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl From<char> for Value {
    fn from(value: char) -> Self {
        Value::Text(value.to_string())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

/// The values as an array of the type that carries `sql_type`. A value of another kind becomes NULL.
pub fn array_of(sql_type: &SqlType, values: &[Value]) -> Result<ArrayRef> {
    let ints = || values.iter().map(|value| if let Value::Int(value) | Value::Time(value) = value { Some(*value) } else { None });
    let floats = || values.iter().map(|value| if let Value::Float(value) = value { Some(*value) } else { None });
    let texts = || values.iter().map(Value::text);
    Ok(match sql_type {
        SqlType::Bool => {
            Arc::new(values.iter().map(|value| if let Value::Bool(value) = value { Some(*value) } else { None }).collect::<BooleanArray>())
        }
        SqlType::Int2 => Arc::new(ints().map(|value| value.and_then(|value| i16::try_from(value).ok())).collect::<Int16Array>()),
        SqlType::Int4 => Arc::new(ints().map(|value| value.and_then(|value| i32::try_from(value).ok())).collect::<Int32Array>()),
        SqlType::Int8 | SqlType::Oid => Arc::new(ints().collect::<Int64Array>()),
        SqlType::Float4 => Arc::new(floats().map(|value| value.map(|value| value as f32)).collect::<Float32Array>()),
        SqlType::Float8 => Arc::new(floats().collect::<Float64Array>()),
        SqlType::Timestamptz => Arc::new(ints().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        SqlType::Bytea => Arc::new(texts().map(|text| text.map(str::as_bytes)).collect::<BinaryArray>()),
        SqlType::Array(element) => list_of(element, values)?,
        _ => Arc::new(texts().collect::<StringArray>()),
    })
}

fn list_of(element: &SqlType, values: &[Value]) -> Result<ArrayRef> {
    let lists = values.iter().map(|value| if let Value::List(items) = value { Some(items.as_slice()) } else { None });
    let lists: Vec<Option<&[Value]>> = lists.collect();
    let items: Vec<Value> = lists.iter().flatten().flat_map(|items| items.iter().cloned()).collect();
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|items| items.map_or(0, <[Value]>::len)));
    let nulls: NullBuffer = lists.iter().map(Option::is_some).collect::<Vec<bool>>().into();
    let list = ListArray::try_new(Arc::new(element.field("item", true)), offsets, array_of(element, &items)?, Some(nulls))?;
    Ok(Arc::new(list))
}

/// The values of an array of any type that a system function may be called with. What is neither number, boolean, time nor list is
/// taken as its text.
pub fn values_of(array: &ArrayRef) -> Result<Vec<Value>> {
    let rows = 0..array.len();
    Ok(match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => {
            let array = array.as_boolean();
            rows.map(|row| if array.is_null(row) { Value::Null } else { Value::Bool(array.value(row)) }).collect()
        }
        other if other.is_integer() => {
            let array = cast(array, &DataType::Int64)?;
            array.as_primitive::<Int64Type>().iter().map(Value::from).collect()
        }
        other if other.is_floating() || matches!(other, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            let array = cast(array, &DataType::Float64)?;
            array.as_primitive::<Float64Type>().iter().map(Value::from).collect()
        }
        DataType::Timestamp(..) => {
            let array = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            array.as_primitive::<TimestampMicrosecondType>().iter().map(|time| time.map_or(Value::Null, Value::Time)).collect()
        }
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            rows.map(|row| if array.is_null(row) { Ok(Value::Null) } else { Ok(Value::List(values_of(&array.value(row))?)) })
                .collect::<Result<_>>()?
        }
        _ => {
            let array = cast(array, &DataType::Utf8)?;
            array.as_string::<i32>().iter().map(Value::from).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Value, array_of, values_of};
    use crate::types::SqlType;

    #[test]
    fn lists_come_back_as_they_went_in() {
        let values = [Value::from(vec!["a", "b"]), Value::Null, Value::List(Vec::new())];
        let array = array_of(&SqlType::Array(Box::new(SqlType::Text)), &values).expect("lists of texts");
        assert_eq!(values_of(&array).expect("the same"), values);
    }
}
