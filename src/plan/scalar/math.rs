//! Functions of numbers of every kind.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int16Array, Int32Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::call::Call;
use super::column::{Decimal, Float, Integer, List, Numeric, map1, map2, map4};
use super::numeric::{Rounding, division_by_zero, rounded_type, whole, wider, widest};
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// The table.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("abs", "without its sign", "abs(-17.4)", "17.4")
            .form("same integer -> same", |call| integers1(call, i64::checked_abs))
            .form("numeric -> same", |call| map1::<Numeric, _>(call, |value| Ok(Decimal { units: value.units.wrapping_abs(), ..value })))
            .form("double precision -> double precision", |call| map1::<Float, _>(call, |value| Ok(value.abs()))),
        function("sign", "-1, 0 or 1", "sign(-8.4)", "-1")
            .aliases(&["signum"])
            .form_of("numeric -> numeric", whole, |call| {
                map1::<Numeric, _>(call, |value| Ok(Decimal { units: value.units.signum(), scale: 0 }))
            })
            .form("double precision -> double precision", |call| {
                map1::<Float, _>(call, |value| Ok(if value == 0.0 || value.is_nan() { value } else { value.signum() }))
            }),
        rounding("ceil", "the least whole number that is not below", "ceil(-42.8)", "-42").aliases(&["ceiling"])
            .form_of("numeric -> numeric", whole, |call| map1::<Numeric, _>(call, |value| value.rounded(0, Rounding::Up)))
            .form("double precision -> double precision", |call| map1::<Float, _>(call, |value| Ok(value.ceil()))),
        rounding("floor", "the greatest whole number that is not above", "floor(-42.8)", "-43")
            .form_of("numeric -> numeric", whole, |call| map1::<Numeric, _>(call, |value| value.rounded(0, Rounding::Down)))
            .form("double precision -> double precision", |call| map1::<Float, _>(call, |value| Ok(value.floor()))),
        rounding("round", "to the nearest whole number, or to n digits behind the point; halves of a numeric go away from zero, those of a float to the even number", "round(42.4382, 2)", "42.44")
            .form_of("numeric -> numeric", whole, |call| map1::<Numeric, _>(call, |value| value.rounded(0, Rounding::Nearest)))
            .form_of("numeric, integer -> numeric", rounded_type, |call| map2::<Numeric, Integer, _>(call, |value, digits| value.rounded(digits, Rounding::Nearest)))
            .form("double precision -> double precision", |call| map1::<Float, _>(call, |value| Ok(value.round_ties_even())))
            .form_beyond("double precision, integer -> double precision", |call| map2::<Float, Integer, _>(call, |value, digits| Ok(round_float(value, digits, f64::round))))
            .example("round(-2.5)", "-3")
            .example("round(2.5::double precision)", "2"),
        rounding("trunc", "towards zero, to a whole number or to n digits behind the point", "trunc(42.4382, 2)", "42.43")
            .form_of("numeric -> numeric", whole, |call| map1::<Numeric, _>(call, |value| value.rounded(0, Rounding::Cut)))
            .form_of("numeric, integer -> numeric", rounded_type, |call| map2::<Numeric, Integer, _>(call, |value, digits| value.rounded(digits, Rounding::Cut)))
            .form("double precision -> double precision", |call| map1::<Float, _>(call, |value| Ok(value.trunc())))
            .form_beyond("double precision, integer -> double precision", |call| map2::<Float, Integer, _>(call, |value, digits| Ok(round_float(value, digits, f64::trunc)))),
        function("mod", "what is left of a division; it has the sign of the first; also `a % b`", "mod(-9, 4)", "-1")
            .form("same integer, same integer -> same", |call| {
                integers2(call, |a, b| if b == 0 { Err(division_by_zero()) } else { Ok(a.checked_rem(b).or(Some(0))) })
            })
            .form_of("numeric, numeric -> numeric", wider, |call| map2::<Numeric, Numeric, _>(call, Decimal::remainder)),
        function("shift_left", "the bits moved to the left; a number of places beyond the type's bits counts from 0 again", "1 << 4", "16")
            .operator("<<")
            .form("same integer, integer -> same", |call| shifted(call, i32::wrapping_shl, i64::wrapping_shl)),
        function("shift_right", "the bits moved to the right", "-8 >> 1", "-4")
            .operator(">>")
            .form("same integer, integer -> same", |call| shifted(call, i32::wrapping_shr, i64::wrapping_shr)),
        function("gcd", "the greatest common divisor", "gcd(1071, 462)", "21")
            .form("same integer, same integer -> same", |call| integers2(call, |a, b| Ok(i64::try_from(common(a, b)).ok())))
            .form_of("numeric, numeric -> numeric", wider, |call| map2::<Numeric, Numeric, _>(call, Decimal::common_divisor))
            .example("gcd(12.5, 2.75)", "0.25"),
        function("lcm", "the least common multiple", "lcm(1071, 462)", "23562").form("same integer, same integer -> same", |call| integers2(call, |a, b| Ok(multiple(a, b))))
            .form_of("numeric, numeric -> numeric", widest, |call| map2::<Numeric, Numeric, _>(call, Decimal::common_multiple))
            .example("lcm(1.5, 2)", "6.0"),
        function("sqrt", "the square root", "sqrt(2)", "1.4142135623730951").form("double precision -> double precision", |call| {
            floats(call, |value| if value < 0.0 { Err(Error::new(Kind::InvalidPower, "cannot take square root of a negative number")) } else { Ok(value.sqrt()) })
        }),
        function("cbrt", "the cube root", "cbrt(64)", "4").form("double precision -> double precision", |call| floats(call, |value| Ok(value.cbrt()))),
        function("exp", "e to the power of", "exp(1)", "2.718281828459045").form("double precision -> double precision", |call| floats(call, |value| in_range(value.exp(), value.is_finite()))),
        function("ln", "the natural logarithm", "ln(2)", "0.6931471805599453").form("double precision -> double precision", |call| floats(call, |value| logarithm(value).map(f64::ln))),
        function("log", "the logarithm to base 10, or to the base given first", "log(100)", "2")
            .form("double precision -> double precision", |call| floats(call, |value| logarithm(value).map(f64::log10)))
            .form("double precision, double precision -> double precision", |call| {
                map2::<Float, Float, _>(call, |base, value| {
                    let (base, value) = (logarithm(base)?, logarithm(value)?);
                    if base == 1.0 { Err(division_by_zero()) } else { Ok(value.log2() / base.log2()) }
                })
            })
            .example("log(2, 64)", "6"),
        function("log10", "the logarithm to base 10", "log10(1000)", "3").form("double precision -> double precision", |call| floats(call, |value| logarithm(value).map(f64::log10))),
        function("log2", "the logarithm to base 2", "log2(8)", "3").known("double precision -> double precision"),
        function("power", "the first to the power of the second; also `a ^ b`", "power(9, 3)", "729")
            .aliases(&["pow"])
            .form("double precision, double precision -> double precision", |call| map2::<Float, Float, _>(call, power)),
        function("pi", "the ratio of a circle", "pi()", "3.141592653589793").known("-> double precision"),
        function("random", "another number from 0 to 1 each time; not in a view", "random() < 1", "t").known("-> double precision").volatile(),
        function("isnan", "whether it is NaN", "isnan('NaN'::double precision)", "t").known("double precision -> boolean"),
    ]
}

/// A function of which integers are as they are.
fn rounding(name: &'static str, doc: &'static str, example: &'static str, result: &'static str) -> Function {
    function(name, doc, example, result)
}

/// Integers of any width as the type that is wanted; out of its range is `22003`.
pub(super) fn narrowed(values: Vec<Option<i64>>, data_type: &DataType) -> Result<ArrayRef> {
    let error = |name: &str| Error::new(Kind::NumericOutOfRange, format!("{name} out of range"));
    Ok(match data_type {
        DataType::Int16 => {
            let narrow = values.into_iter().map(|value| value.map(i16::try_from).transpose().map_err(|_| error("smallint")));
            Arc::new(narrow.collect::<Result<Int16Array>>()?)
        }
        DataType::Int32 => {
            let narrow = values.into_iter().map(|value| value.map(i32::try_from).transpose().map_err(|_| error("integer")));
            Arc::new(narrow.collect::<Result<Int32Array>>()?)
        }
        _ => Arc::new(Int64Array::from(values)),
    })
}

fn out_of_range() -> Error {
    Error::new(Kind::NumericOutOfRange, "bigint out of range")
}

/// The arguments as bigints.
fn widened(call: &Call<'_>) -> Result<Vec<ArrayRef>> {
    call.arguments.iter().map(|array| Ok(cast(array, &DataType::Int64)?)).collect()
}

/// `None`: out of range.
fn integers1(call: &Call<'_>, compute: impl Fn(i64) -> Option<i64>) -> Result<ArrayRef> {
    let arguments = widened(call)?;
    map1::<Integer, _>(&Call { arguments: &arguments, ..*call }, |value| compute(value).ok_or_else(out_of_range))
}

fn integers2(call: &Call<'_>, compute: impl Fn(i64, i64) -> Result<Option<i64>>) -> Result<ArrayRef> {
    let arguments = widened(call)?;
    map2::<Integer, Integer, _>(&Call { arguments: &arguments, ..*call }, |a, b| compute(a, b)?.ok_or_else(out_of_range))
}

/// The first, moved by as many places as the lowest bits of the second say: what processors do, and PostgreSQL with them.
fn shifted(call: &Call<'_>, narrow: fn(i32, u32) -> i32, wide: fn(i64, u32) -> i64) -> Result<ArrayRef> {
    let data_type = call.arguments[0].data_type();
    let arguments = widened(call)?;
    map2::<Integer, Integer, _>(&Call { arguments: &arguments, ..*call }, |value, places| {
        let places = places as u32;
        Ok(match data_type {
            DataType::Int64 => wide(value, places),
            DataType::Int16 => i64::from(narrow(value as i32, places) as i16),
            _ => i64::from(narrow(value as i32, places)),
        })
    })
}

fn common(a: i64, b: i64) -> u64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn multiple(a: i64, b: i64) -> Option<i64> {
    match common(a, b) {
        0 => Some(0),
        divisor => (a.unsigned_abs() / divisor).checked_mul(b.unsigned_abs()).and_then(|product| i64::try_from(product).ok()),
    }
}

/// A loop over doubles that leaves NaN alone.
pub(super) fn floats(call: &Call<'_>, compute: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    map1::<Float, _>(call, |value| if value.is_nan() { Ok(value) } else { compute(value) })
}

/// A result that is infinite or zero only because it has no better double.
fn in_range(value: f64, finite: bool) -> Result<f64> {
    if finite && value.is_infinite() {
        return Err(Error::new(Kind::NumericOutOfRange, "value out of range: overflow"));
    }
    if finite && value == 0.0 {
        return Err(Error::new(Kind::NumericOutOfRange, "value out of range: underflow"));
    }
    Ok(value)
}

/// A number that has a logarithm.
fn logarithm(value: f64) -> Result<f64> {
    let error = |what| Err(Error::new(Kind::InvalidLogarithm, format!("cannot take logarithm of {what}")));
    if value == 0.0 {
        error("zero")
    } else if value < 0.0 {
        error("a negative number")
    } else {
        Ok(value)
    }
}

pub(super) fn power(base: f64, exponent: f64) -> Result<f64> {
    if base == 0.0 && exponent < 0.0 {
        return Err(Error::new(Kind::InvalidPower, "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0 {
        return Err(Error::new(Kind::InvalidPower, "a negative number raised to a non-integer power yields a complex result"));
    }
    let result = base.powf(exponent);
    if result == 0.0 && base == 0.0 { Ok(result) } else { in_range(result, base.is_finite() && exponent.is_finite()) }
}

fn round_float(value: f64, digits: i64, round: fn(f64) -> f64) -> f64 {
    if !value.is_finite() || digits > 308 {
        return value;
    }
    if digits < -308 {
        return 0.0;
    }
    let factor = 10_f64.powi(i32::try_from(digits.unsigned_abs()).unwrap_or(0));
    let scaled = if digits >= 0 { value * factor } else { value / factor };
    // A number so large has no digits behind the point.
    if !scaled.is_finite() {
        return value;
    }
    if digits >= 0 { round(scaled) / factor } else { round(scaled) * factor }
}

pub(super) fn check_buckets(count: i64, empty: bool) -> Result<()> {
    let error = |message: &str| Err(Error::new(Kind::InvalidBucket, message));
    if count <= 0 {
        return error("count must be greater than zero");
    }
    if i32::try_from(count).is_err() {
        return Err(Error::new(Kind::NumericOutOfRange, "integer out of range"));
    }
    if empty { error("lower bound cannot equal upper bound") } else { Ok(()) }
}

pub(super) fn width_bucket(call: &Call<'_>) -> Result<ArrayRef> {
    map4::<Float, Float, Float, Integer, _>(call, |value, low, high, count| {
        if value.is_nan() || low.is_nan() || high.is_nan() {
            return Err(Error::new(Kind::InvalidBucket, "operand, lower bound, and upper bound cannot be NaN"));
        }
        if low.is_infinite() || high.is_infinite() {
            return Err(Error::new(Kind::InvalidBucket, "lower and upper bounds must be finite"));
        }
        check_buckets(count, low == high)?;
        let part = |distance: f64, width: f64| ((count as f64 * (distance / width)) as i64 + 1).min(count);
        let bucket = if low < high {
            if value < low {
                0
            } else if value >= high {
                count + 1
            } else {
                part(value / 2.0 - low / 2.0, high / 2.0 - low / 2.0)
            }
        } else if value > low {
            0
        } else if value <= high {
            count + 1
        } else {
            part(low / 2.0 - value / 2.0, low / 2.0 - high / 2.0)
        };
        i32::try_from(bucket).map_err(|_| Error::new(Kind::NumericOutOfRange, "integer out of range"))
    })
}

/// How many bounds are not above the value; NaN is above all.
pub(super) fn bucket_of_bounds(call: &Call<'_>) -> Result<ArrayRef> {
    map2::<Float, List, _>(call, |value, bounds| {
        let bounds: &Float64Array = bounds.as_primitive::<Float64Type>();
        if bounds.null_count() > 0 {
            return Err(Error::new(Kind::NullNotAllowed, "thresholds array must not contain NULLs"));
        }
        let below = |bound: f64| value.is_nan() || (!bound.is_nan() && bound <= value);
        Ok(super::text::count(bounds.values().partition_point(|bound| below(*bound))))
    })
}
