//! `generate_series(start, stop [, step])` as lists: of integers, numerics and timestamps.
//!
//! Views take such lists apart, for a few rows at a time. A query's series may be longer than should be in memory at once: there the rows come
//! from `stream` instead.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::lists::{list_column, no_such, too_many};
use super::steps::{Steps, Values};
use crate::types::{SqlType, sql_type_of};

/// The name of the function.
pub(super) const SERIES: &str = "generate_series";

/// Values in one list at the most.
const VALUES_MAX: usize = 16_777_216;

/// The digits of a series of numerics.
const DIGITS: u8 = 38;

/// `generate_series` as a list.
pub(super) fn series() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Series { signature: Signature::user_defined(Volatility::Volatile) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Series {
    signature: Signature,
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &'static str {
        SERIES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        if !matches!(arguments.len(), 2 | 3) {
            return Err(no_such(SERIES, arguments));
        }
        let element = element_type(arguments).ok_or_else(|| no_such(SERIES, arguments))?;
        let mut types = vec![element.clone(), element.clone()];
        match (&element, arguments.get(2)) {
            (DataType::Timestamp(..), Some(_)) => types.push(DataType::Interval(IntervalUnit::MonthDayNano)),
            (DataType::Timestamp(..), None) => return Err(no_such(SERIES, arguments)),
            (_, Some(_)) => types.push(element),
            (_, None) => {}
        }
        Ok(types)
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::new_list(arguments[0].clone(), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let arguments = args.args.iter().map(|argument| argument.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let element = arguments[0].data_type().clone();
        let mut values = Values::new(&element).ok_or_else(|| no_such(SERIES, std::slice::from_ref(&element)))?;
        let mut lengths = Vec::with_capacity(rows);
        for row in 0..rows {
            let mut steps = Steps::of(&arguments, row)?;
            lengths.push(values.extend(&mut steps, VALUES_MAX.min(i32::MAX as usize - values.len())));
            if !steps.is_over() {
                return Err(too_many());
            }
        }
        let values = values.into_array(&element, None)?;
        list_column(lengths.into_iter(), Arc::new(Field::new_list_field(element, true)), values)
    }
}

/// The type of an argument that has none yet.
pub(super) fn open_type(types: &[DataType], place: usize) -> Option<SqlType> {
    let element = element_type(types.get(..2).map(|_| types)?)?;
    Some(match element {
        DataType::Timestamp(..) if place == 2 => SqlType::Interval,
        element => sql_type_of(&Field::new("", element, true)),
    })
}

/// The type of the series between values of these types.
fn element_type(arguments: &[DataType]) -> Option<DataType> {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    let ends = &arguments[..2];
    if ends.iter().all(is_text) && ends.iter().any(|end| !end.is_null()) {
        return None;
    }
    // By intervals one goes from instant to instant, unless it is said to be another time.
    if ends.iter().all(DataType::is_null) && matches!(arguments.get(2), Some(DataType::Interval(_))) {
        return Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    }
    let has = |wanted: fn(&DataType) -> bool| ends.iter().any(wanted);
    if has(|end| matches!(end, DataType::Timestamp(..) | DataType::Date32)) {
        let local = !has(|end| matches!(end, DataType::Timestamp(_, Some(_)))) && has(|end| matches!(end, DataType::Timestamp(_, None)));
        let fits = ends.iter().all(|end| matches!(end, DataType::Timestamp(..) | DataType::Date32) || is_text(end))
            && arguments.get(2).is_some_and(|step| matches!(step, DataType::Interval(_)) || is_text(step));
        return fits.then(|| DataType::Timestamp(TimeUnit::Microsecond, (!local).then(|| "UTC".into())));
    }
    let known: Vec<&DataType> = arguments.iter().filter(|argument| !argument.is_null()).collect();
    if known.iter().all(|argument| matches!(argument, DataType::Int8 | DataType::Int16 | DataType::Int32)) {
        Some(DataType::Int32)
    } else if known.iter().all(|argument| argument.is_integer()) {
        Some(DataType::Int64)
    } else if known.iter().all(|argument| argument.is_integer() || argument.is_decimal()) {
        let scale = known.iter().map(|argument| match argument {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
            _ => 0,
        });
        Some(DataType::Decimal128(DIGITS, scale.max().unwrap_or(0)))
    } else {
        None
    }
}
