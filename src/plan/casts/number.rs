//! Numbers as numbers of another kind. Arrow's casts are off by one at the end, or give an infinity, or digits that a float never had.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, Float64Type, i256};

use crate::error::{Error, Kind, Result};
use crate::types::{ColumnBuilder, SqlType, Value, decimal_from_text};

/// Units below this are exact in a double, and so are powers of ten up to the 22nd: then the quotient is rounded once.
const EXACT_UNITS: u128 = 1 << 53;

/// Digits that a double, and a real, have for certain: a numeric gets these.
const DOUBLE_DIGITS: usize = 15;
const REAL_DIGITS: usize = 6;

/// Numerics as floats of type `target`: the nearest of them.
pub(super) fn nearest(values: &ArrayRef, target: &SqlType) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Decimal128(_, scale) => floats::<Decimal128Type>(values, *scale, target, Some),
        DataType::Decimal256(_, scale) => floats::<Decimal256Type>(values, *scale, target, i256::to_i128),
        other => Err(Error::internal(format!("{other} is no numeric"))),
    }
}

fn floats<T: DecimalType>(values: &ArrayRef, scale: i8, target: &SqlType, narrow: fn(T::Native) -> Option<i128>) -> Result<ArrayRef> {
    let units = values.as_primitive::<T>();
    let text = |units: T::Native| format!("{units:?}e{}", -i32::from(scale));
    if *target == SqlType::Float4 {
        let nearest = |units: T::Native| {
            let float: f32 = text(units).parse().unwrap_or(f32::NAN);
            if float.is_finite() { Ok(float) } else { Err(overflow()) }
        };
        let floats = units.iter().map(|units| units.map(nearest).transpose()).collect::<Result<Float32Array>>();
        return Ok(Arc::new(floats?));
    }
    let double = |units: T::Native| match narrow(units) {
        Some(units) if units.unsigned_abs() < EXACT_UNITS && (0..=22).contains(&scale) => units as f64 / 10_f64.powi(i32::from(scale)),
        _ => text(units).parse().unwrap_or(f64::NAN),
    };
    Ok(Arc::new(units.iter().map(|units| units.map(double)).collect::<Float64Array>()))
}

/// Floats as numerics of type `target`: with the digits that they have for certain, as PostgreSQL does it.
pub(super) fn numerics(values: &ArrayRef, target: &SqlType) -> Result<ArrayRef> {
    let SqlType::Numeric(precision, scale) = *target else { return Err(Error::internal(format!("{target} is no numeric"))) };
    let digits = if *values.data_type() == DataType::Float32 { REAL_DIGITS } else { DOUBLE_DIGITS };
    let floats = cast(values, &DataType::Float64)?;
    let mut column = ColumnBuilder::new(target);
    for float in floats.as_primitive::<Float64Type>() {
        column.append(&match float {
            None => Value::Null,
            Some(float) if float.is_finite() => decimal_from_text(precision, scale, &format!("{float:.*e}", digits - 1))?,
            Some(float) => {
                let message = format!("cannot convert {} to numeric", if float.is_nan() { "NaN" } else { "infinity" });
                return Err(Error::not_supported(message).hint("Use double precision for NaN and infinity."));
            }
        });
    }
    Ok(column.finish())
}

/// Doubles as reals.
pub(super) fn reals(values: &ArrayRef) -> Result<ArrayRef> {
    let real = |double: f64| {
        let real = double as f32;
        if real.is_infinite() && double.is_finite() {
            return Err(overflow());
        }
        if real == 0.0 && double != 0.0 {
            return Err(Error::new(Kind::NumericOutOfRange, "value out of range: underflow"));
        }
        Ok(real)
    };
    let doubles = values.as_primitive::<Float64Type>();
    Ok(Arc::new(doubles.iter().map(|double| double.map(real).transpose()).collect::<Result<Float32Array>>()?))
}

fn overflow() -> Error {
    Error::new(Kind::NumericOutOfRange, "value out of range: overflow")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array};
    use arrow::datatypes::{Float32Type, Float64Type};

    use super::{nearest, numerics, reals};
    use crate::types::{SqlType, TextColumn, TextStyle};

    #[test]
    fn a_float_is_the_one_that_its_digits_are_read_as() {
        let units = [1, 123_456_789_012_345_678_901_234_567_i128];
        let numerics: ArrayRef = Arc::new(Decimal128Array::from(units.to_vec()).with_precision_and_scale(38, 10).unwrap());
        let doubles = nearest(&numerics, &SqlType::Float8).unwrap();
        assert_eq!(doubles.as_primitive::<Float64Type>().values().as_ref(), [1e-10, 12345678901234567.890_123_456_7]);
        let reals = nearest(&numerics, &SqlType::Float4).unwrap();
        assert_eq!(reals.as_primitive::<Float32Type>().values().as_ref(), [1e-10, 1.234_567_8e16]);
    }

    #[test]
    fn a_numeric_has_no_digits_that_a_float_has_not() {
        let text = |float: f64| {
            let column = numerics(&(Arc::new(Float64Array::from(vec![float])) as ArrayRef), &SqlType::Numeric(38, 10)).unwrap();
            let mut text = String::new();
            TextColumn::new(&column, &SqlType::Numeric(38, 10)).unwrap().write(0, &TextStyle::default(), &mut text);
            text
        };
        assert_eq!((text(0.1), text(1e20), text(-123.456)), ("0.1".into(), "100000000000000000000".into(), "-123.456".into()));
        let error = |float: f64| numerics(&(Arc::new(Float64Array::from(vec![float])) as ArrayRef), &SqlType::Numeric(38, 10)).unwrap_err();
        assert_eq!(error(1e300).kind().sqlstate(), "22003");
        assert_eq!(error(f64::NAN).kind().sqlstate(), "0A000");
    }

    #[test]
    fn a_real_is_not_made_infinite() {
        let real = |double: f64| reals(&(Arc::new(Float64Array::from(vec![double])) as ArrayRef));
        assert_eq!(real(1e300).unwrap_err().message(), "value out of range: overflow");
        assert_eq!(real(1e-300).unwrap_err().message(), "value out of range: underflow");
        assert!(real(f64::INFINITY).unwrap().as_primitive::<Float32Type>().value(0).is_infinite());
    }
}
