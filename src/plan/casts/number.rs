//! Numerics as floats: the nearest of them, where Arrow multiplies and divides and is off by one at the end.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, i256};

use crate::error::{Error, Result};
use crate::types::SqlType;

/// Units below this are exact in a double, and so are powers of ten up to the 22nd: then the quotient is rounded once.
const EXACT_UNITS: u128 = 1 << 53;

/// Numerics as floats of type `target`.
pub(super) fn nearest(values: &ArrayRef, target: &SqlType) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Decimal128(_, scale) => Ok(floats::<Decimal128Type>(values, *scale, target, Some)),
        DataType::Decimal256(_, scale) => Ok(floats::<Decimal256Type>(values, *scale, target, i256::to_i128)),
        other => Err(Error::internal(format!("{other} is no numeric"))),
    }
}

fn floats<T: DecimalType>(values: &ArrayRef, scale: i8, target: &SqlType, narrow: fn(T::Native) -> Option<i128>) -> ArrayRef {
    let units = values.as_primitive::<T>();
    let text = |units: T::Native| format!("{units:?}e{}", -i32::from(scale));
    if *target == SqlType::Float4 {
        let floats = units.iter().map(|units| units.map(|units| text(units).parse().unwrap_or(f32::NAN)));
        return Arc::new(floats.collect::<Float32Array>());
    }
    let double = |units: T::Native| match narrow(units) {
        Some(units) if units.unsigned_abs() < EXACT_UNITS && (0..=22).contains(&scale) => units as f64 / 10_f64.powi(i32::from(scale)),
        _ => text(units).parse().unwrap_or(f64::NAN),
    };
    Arc::new(units.iter().map(|units| units.map(double)).collect::<Float64Array>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Decimal128Array};
    use arrow::datatypes::{Float32Type, Float64Type};

    use super::nearest;
    use crate::types::SqlType;

    #[test]
    fn a_float_is_the_one_that_its_digits_are_read_as() {
        let units = [1, 123_456_789_012_345_678_901_234_567_i128];
        let numerics: ArrayRef = Arc::new(Decimal128Array::from(units.to_vec()).with_precision_and_scale(38, 10).unwrap());
        let doubles = nearest(&numerics, &SqlType::Float8).unwrap();
        assert_eq!(doubles.as_primitive::<Float64Type>().values().as_ref(), [1e-10, 12345678901234567.890_123_456_7]);
        let reals = nearest(&numerics, &SqlType::Float4).unwrap();
        assert_eq!(reals.as_primitive::<Float32Type>().values().as_ref(), [1e-10, 1.234_567_9e16]);
    }
}
