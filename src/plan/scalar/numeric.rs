//! Exact numbers: rounding, division and what else works on digits.
//!
//! A numeric is an integer in units of 10^-scale; all is computed in 256 bits, and what does not fit into the result's digits is `22003`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, i256};
use datafusion::common::ScalarValue;

use super::call::Call;
use super::column::{Decimal, Float, Integer, Numeric, map1, map2, map4};
use super::{Function, function};
use crate::error::{Error, Kind, Result};
use crate::types::{NUMERIC_DEFAULT, SqlType};

/// Digits behind the point of a quotient and a mean: as many as PostgreSQL gives for results from 1 on.
pub(in crate::plan) const QUOTIENT_SCALE: i8 = 16;

/// The most digits of a narrow numeric.
const NARROW: u8 = 38;

/// The most digits that 256 bits hold for certain.
const WIDE: u8 = 76;

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("div", "how often the second goes into the first, without what is left", "div(9, 4)", "2")
            .form_of("numeric, numeric -> numeric", whole_quotient, |call| map2::<Numeric, Numeric, _>(call, |a, b| a.quotient(b)))
            .example("div(-9.5, 4)", "-2")
            .example("div(9.5, 0.001)", "9500"),
        function("scale", "digits behind the point", "scale(8.41)", "2")
            .form("numeric -> integer", |call| map1::<Numeric, _>(call, |value| Ok(i32::from(value.scale)))),
        function("min_scale", "digits behind the point that are needed", "min_scale(8.4100)", "2")
            .form("numeric -> integer", |call| map1::<Numeric, _>(call, |value| Ok(i32::from(value.trimmed().scale)))),
        function("trim_scale", "without zeros at the end", "trim_scale(8.4100)", "8.41")
            .form("numeric -> numeric", |call| map1::<Numeric, _>(call, |value| Ok(value.trimmed()))),
        function("factorial", "the product of all numbers up to this one", "factorial(5)", "120").form_of(
            "integer -> numeric",
            |_, _| SqlType::Numeric(NARROW, 0),
            |call| map1::<Integer, _>(call, factorial),
        ),
        function(
            "width_bucket",
            "in which of n equal parts of a range a number lies; or how many of the ascending bounds are not above it",
            "width_bucket(5.35, 0.024, 10.06, 5)",
            "3",
        )
        .form("double precision, double precision, double precision, integer -> integer", super::math::width_bucket)
        .form("numeric, numeric, numeric, integer -> integer", |call| map4::<Numeric, Numeric, Numeric, Integer, _>(call, width_bucket))
        .form("double precision, double precision[] -> integer", super::math::bucket_of_bounds)
        .example("width_bucket(35, ARRAY[10, 20, 30])", "3"),
        function("float_divide", "behind the operator `/` of doubles", "5::double precision / 2", "2.5")
            .operator("/")
            .form("double precision, double precision -> double precision", |call| map2::<Float, Float, _>(call, quotient)),
        function("numeric_multiply", "behind the operator `*` of numerics", "1.50 * 2.5", "3.750").operator("*").form_of(
            "numeric, numeric -> numeric",
            product_type,
            multiply,
        ),
        function("numeric_divide", "behind the operator `/` of numerics", "10 / 4.0", "2.5000000000000000").operator("/").form_of(
            "numeric, numeric -> numeric",
            |_, _| SqlType::Numeric(NARROW, QUOTIENT_SCALE),
            |call| map2::<Numeric, Numeric, _>(call, |a, b| a.divide(b, QUOTIENT_SCALE)),
        ),
    ]
}

/// A numeric without digits behind the point.
pub(super) fn whole(fields: &[FieldRef], _scalars: &[Option<&ScalarValue>]) -> SqlType {
    let (precision, scale) = digits_of(&fields[0]);
    SqlType::Numeric(
        precision.saturating_sub(scale.unsigned_abs()).saturating_add(1).clamp(1, if precision > NARROW { WIDE } else { NARROW }),
        0,
    )
}

/// A quotient without digits behind the point: the smallest divisor has as many digits behind it as its type.
fn whole_quotient(fields: &[FieldRef], _scalars: &[Option<&ScalarValue>]) -> SqlType {
    let ((first, first_scale), (second, second_scale)) = (digits_of(&fields[0]), digits_of(&fields[1]));
    let digits = first.saturating_sub(first_scale.unsigned_abs()).saturating_add(second_scale.unsigned_abs()).saturating_add(1);
    SqlType::Numeric(digits.clamp(1, if first.max(second) > NARROW { WIDE } else { NARROW }), 0)
}

/// Digits before the point that a product keeps at the least, or it is computed with more digits in all.
const PRODUCT_ROOM: u8 = 24;

/// A product has as many digits behind the point as both factors together, and room for all digits before it. Where that is too much for 38
/// digits, and too little would be left before the point, it has 76; and where it is too much for those, it loses digits behind the point,
/// down to the 16 of a quotient.
fn product_type(fields: &[FieldRef], _scalars: &[Option<&ScalarValue>]) -> SqlType {
    let ((first, first_scale), (second, second_scale)) = (digits_of(&fields[0]), digits_of(&fields[1]));
    let (first_scale, second_scale) = (first_scale.unsigned_abs(), second_scale.unsigned_abs());
    let before = first.saturating_sub(first_scale).saturating_add(second.saturating_sub(second_scale));
    let behind = first_scale.saturating_add(second_scale);
    let narrow = first.max(second) <= NARROW && (before.saturating_add(behind) <= NARROW || behind <= NARROW - PRODUCT_ROOM);
    let most = if narrow { NARROW } else { WIDE };
    let least = behind.min(first_scale.max(second_scale).max(QUOTIENT_SCALE.unsigned_abs()));
    let scale = if narrow { behind } else { behind.min(most.saturating_sub(before)).max(least).min(most) };
    SqlType::Numeric(before.saturating_add(scale).clamp(1, most), i8::try_from(scale).unwrap_or(i8::MAX))
}

fn multiply(call: &Call<'_>) -> Result<ArrayRef> {
    if let Some(product) = narrow_product(call) {
        return Ok(product);
    }
    map2::<Numeric, Numeric, _>(call, |a, b| {
        let units = a.units.checked_mul(b.units).ok_or_else(overflow)?;
        Ok(Decimal { units, scale: a.scale.saturating_add(b.scale) })
    })
}

/// The product where nothing is wide and nothing is rounded; `None` where it is, or a number has too many digits.
fn narrow_product(call: &Call<'_>) -> Option<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *call.result.data_type() else { return None };
    let [first, second] = call.arguments else { return None };
    let (first, second) = (first.as_primitive_opt::<Decimal128Type>()?, second.as_primitive_opt::<Decimal128Type>()?);
    if first.scale().saturating_add(second.scale()) != scale {
        return None;
    }
    let limit = 10_u128.checked_pow(precision.into())?;
    let product = |a: i128, b: i128| a.checked_mul(b).filter(|product| product.unsigned_abs() < limit);
    let mut units = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        // What stands behind a NULL is any number.
        let valid = first.is_valid(row) && second.is_valid(row);
        units.push(if valid { product(first.value(row), second.value(row))? } else { 0 });
    }
    let nulls = NullBuffer::union(first.nulls(), second.nulls());
    Decimal128Array::new(units.into(), nulls).with_precision_and_scale(precision, scale).ok().map(|array| Arc::new(array) as ArrayRef)
}

/// The type of the first argument, with as many digits behind the point as the second says, if that is a constant.
pub(super) fn rounded_type(fields: &[FieldRef], scalars: &[Option<&ScalarValue>]) -> SqlType {
    let (precision, scale) = digits_of(&fields[0]);
    let wanted = match scalars.get(1).copied().flatten() {
        Some(ScalarValue::Int64(Some(digits))) => i8::try_from((*digits).clamp(0, 30)).unwrap_or(0),
        Some(ScalarValue::Int32(Some(digits))) => i8::try_from((*digits).clamp(0, 30)).unwrap_or(0),
        // Rounding up may need one more digit before the point.
        _ => return SqlType::Numeric((precision + 1).min(if precision > NARROW { WIDE } else { NARROW }), scale),
    };
    let most = if precision > NARROW { WIDE } else { NARROW };
    let before = precision.saturating_sub(scale.unsigned_abs()).saturating_add(1);
    SqlType::Numeric(before.saturating_add(wanted.unsigned_abs()).clamp(1, most), wanted)
}

/// The wider of both types, for a remainder.
pub(super) fn wider(fields: &[FieldRef], _scalars: &[Option<&ScalarValue>]) -> SqlType {
    let ((first, first_scale), (second, second_scale)) = (digits_of(&fields[0]), digits_of(&fields[1]));
    let scale = first_scale.max(second_scale);
    let before = first.saturating_sub(first_scale.unsigned_abs()).max(second.saturating_sub(second_scale.unsigned_abs()));
    let most = if first.max(second) > NARROW { WIDE } else { NARROW };
    SqlType::Numeric(before.saturating_add(scale.unsigned_abs()).clamp(1, most), scale)
}

/// As `wider`, with room for a common multiple.
pub(super) fn widest(fields: &[FieldRef], scalars: &[Option<&ScalarValue>]) -> SqlType {
    let most = if fields.iter().any(|field| digits_of(field).0 > NARROW) { WIDE } else { NARROW };
    match wider(fields, scalars) {
        SqlType::Numeric(_, scale) => SqlType::Numeric(most, scale),
        other => other,
    }
}

/// Precision and scale of an argument.
fn digits_of(field: &FieldRef) -> (u8, i8) {
    match field.data_type() {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        other => other.is_integer().then(|| integer_digits(other)).map_or(NUMERIC_DEFAULT, |digits| (digits, 0)),
    }
}

/// Digits that an integer has at the most.
pub(super) fn integer_digits(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        _ => 20,
    }
}

fn overflow() -> Error {
    Error::new(Kind::NumericOutOfRange, "numeric field overflow")
}

/// Infinite only if the dividend is, zero only if it is or the divisor is infinite.
fn quotient(dividend: f64, divisor: f64) -> Result<f64> {
    let quotient = dividend / divisor;
    let out_of_range = |how: &str| Err(Error::new(Kind::NumericOutOfRange, format!("value out of range: {how}")));
    match quotient {
        _ if divisor == 0.0 && !dividend.is_nan() => Err(division_by_zero()),
        value if value.is_infinite() && dividend.is_finite() => out_of_range("overflow"),
        value if value == 0.0 && dividend != 0.0 && divisor.is_finite() => out_of_range("underflow"),
        value => Ok(value),
    }
}

pub(super) fn division_by_zero() -> Error {
    Error::new(Kind::DivisionByZero, "division by zero")
}

/// How a number loses digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    /// To the nearest; halves away from zero.
    Nearest,
    /// Towards zero.
    Cut,
    /// Towards negative infinity.
    Down,
    /// Towards infinity.
    Up,
}

/// `dividend / divisor` as an integer. The divisor is positive.
fn divided(dividend: i256, divisor: i256, rounding: Rounding) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?;
    let negative = rest < i256::ZERO;
    let step = match rounding {
        _ if rest == i256::ZERO => false,
        Rounding::Cut => false,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Nearest => {
            let distance = if negative { rest.checked_neg()? } else { rest };
            distance >= divisor.checked_sub(distance)?
        }
    };
    match (step, negative) {
        (false, _) => Some(quotient),
        (true, true) => quotient.checked_sub(i256::ONE),
        (true, false) => quotient.checked_add(i256::ONE),
    }
}

pub(super) fn power_of_ten(exponent: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(exponent)
}

impl Decimal {
    /// The greatest number of which both are multiples; not negative.
    pub(super) fn common_divisor(self, other: Decimal) -> Result<Decimal> {
        let (mut a, mut b, scale) = self.alike(other)?;
        while b != i256::ZERO {
            (a, b) = (b, a.checked_rem(b).ok_or_else(overflow)?);
        }
        Ok(Decimal { units: a, scale })
    }

    /// The least number that is a multiple of both; not negative.
    pub(super) fn common_multiple(self, other: Decimal) -> Result<Decimal> {
        let (a, b, scale) = self.alike(other)?;
        let divisor = self.common_divisor(other)?.units;
        if divisor == i256::ZERO {
            return Ok(Decimal { units: divisor, scale });
        }
        let units = a.checked_div(divisor).and_then(|part| part.checked_mul(b)).ok_or_else(overflow)?;
        Ok(Decimal { units, scale })
    }

    /// Both without sign, in units of one size.
    fn alike(self, other: Decimal) -> Result<(i256, i256, i8)> {
        let scale = self.scale.max(other.scale);
        let [first, second] = [self, other].map(|value| value.rescaled(scale, Rounding::Cut).map(|value| value.units.wrapping_abs()));
        match (first, second) {
            (Some(first), Some(second)) => Ok((first, second, scale)),
            _ => Err(overflow()),
        }
    }

    /// The same number in other units.
    pub(super) fn rescaled(self, scale: i8, rounding: Rounding) -> Option<Decimal> {
        let steps = i32::from(scale) - i32::from(self.scale);
        let factor = power_of_ten(steps.unsigned_abs());
        let units = match (steps < 0, factor) {
            (false, factor) if self.units == i256::ZERO => factor.map_or(i256::ZERO, |_| i256::ZERO),
            (false, Some(factor)) => self.units.checked_mul(factor)?,
            (true, Some(factor)) => divided(self.units, factor, rounding)?,
            (false, None) => return None,
            // So many digits are lost that nothing is left.
            (true, None) => match rounding {
                Rounding::Up if self.units > i256::ZERO => i256::ONE,
                Rounding::Down if self.units < i256::ZERO => i256::MINUS_ONE,
                _ => i256::ZERO,
            },
        };
        Some(Decimal { units, scale })
    }

    /// Rounded to so many digits behind the point (before it, if negative).
    pub(super) fn rounded(self, digits: i64, rounding: Rounding) -> Result<Decimal> {
        let digits = i8::try_from(digits.clamp(-100, 100)).unwrap_or(0);
        if digits >= self.scale {
            return Ok(self);
        }
        let coarse = self.rescaled(digits, rounding).ok_or_else(overflow)?;
        if digits >= 0 { Ok(coarse) } else { coarse.rescaled(0, Rounding::Cut).ok_or_else(overflow) }
    }

    fn trimmed(self) -> Decimal {
        let ten = i256::from_i128(10);
        let mut value = self;
        while value.scale > 0 && value.units.checked_rem(ten) == Some(i256::ZERO) {
            value = Decimal { units: value.units.checked_div(ten).unwrap_or(i256::ZERO), scale: value.scale - 1 };
        }
        value
    }

    /// Both in the units of the finer one.
    pub(super) fn aligned(self, other: Decimal) -> Result<(Decimal, Decimal)> {
        let scale = self.scale.max(other.scale);
        let both = self.rescaled(scale, Rounding::Cut).zip(other.rescaled(scale, Rounding::Cut));
        both.ok_or_else(overflow)
    }

    fn quotient(self, other: Decimal) -> Result<Decimal> {
        let (a, b) = self.aligned(other)?;
        if b.units == i256::ZERO {
            return Err(division_by_zero());
        }
        Ok(Decimal { units: a.units.checked_div(b.units).ok_or_else(overflow)?, scale: 0 })
    }

    pub(super) fn remainder(self, other: Decimal) -> Result<Decimal> {
        let (a, b) = self.aligned(other)?;
        if b.units == i256::ZERO {
            return Err(division_by_zero());
        }
        Ok(Decimal { units: a.units.checked_rem(b.units).ok_or_else(overflow)?, scale: a.scale })
    }

    /// The quotient with so many digits, rounded.
    pub(super) fn divide(self, other: Decimal, scale: i8) -> Result<Decimal> {
        if other.units == i256::ZERO {
            return Err(division_by_zero());
        }
        // (a / 10^sa) / (b / 10^sb) in units of 10^-s is a * 10^(s - sa + sb) / b.
        let steps = i32::from(scale) - i32::from(self.scale) + i32::from(other.scale);
        let factor = power_of_ten(steps.unsigned_abs()).ok_or_else(overflow)?;
        let (dividend, divisor) = if steps >= 0 {
            (self.units.checked_mul(factor).ok_or_else(overflow)?, other.units)
        } else {
            (self.units, other.units.checked_mul(factor).ok_or_else(overflow)?)
        };
        let (dividend, divisor) =
            if divisor < i256::ZERO { (dividend.checked_neg(), divisor.checked_neg()) } else { (Some(dividend), Some(divisor)) };
        let units = dividend.zip(divisor).and_then(|(dividend, divisor)| divided(dividend, divisor, Rounding::Nearest));
        Ok(Decimal { units: units.ok_or_else(overflow)?, scale })
    }
}

/// Sums, in units of `scale` digits, divided by their numbers of values; NULL where there is none.
pub(in crate::plan) fn mean(sums: &mut dyn Iterator<Item = (i256, i64)>, scale: i8, result: &DataType) -> Result<ArrayRef> {
    let digits = match result {
        DataType::Decimal128(_, digits) | DataType::Decimal256(_, digits) => *digits,
        _ => QUOTIENT_SCALE,
    };
    let one = |(units, count): (i256, i64)| {
        if count == 0 {
            return Ok(None);
        }
        Decimal { units, scale }.divide(Decimal { units: i256::from_i128(count.into()), scale: 0 }, digits).map(Some)
    };
    column(&sums.map(one).collect::<Result<Vec<_>>>()?, result)
}

/// Sums, in units of `scale` digits; NULL where there is no value, 22003 where the result's type cannot hold it.
pub(in crate::plan) fn total(sums: &mut dyn Iterator<Item = (i256, i64)>, scale: i8, result: &DataType) -> Result<ArrayRef> {
    let totals: Vec<_> = sums.map(|(units, count)| (count != 0).then_some(Decimal { units, scale })).collect();
    column(&totals, result)
}

/// A column of type `data_type`.
pub(super) fn column(values: &[Option<Decimal>], data_type: &DataType) -> Result<ArrayRef> {
    let (precision, scale) = match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => (*precision, *scale),
        _ => NUMERIC_DEFAULT,
    };
    let limit = power_of_ten(precision.into()).ok_or_else(overflow)?;
    let units = |value: &Option<Decimal>| {
        let Some(value) = value else { return Ok(None) };
        let units = value.rescaled(scale, Rounding::Nearest).ok_or_else(overflow)?.units;
        if units >= limit || units <= limit.wrapping_neg() { Err(overflow()) } else { Ok(Some(units)) }
    };
    let units = values.iter().map(units).collect::<Result<Vec<_>>>()?;
    if precision > NARROW {
        return Ok(Arc::new(Decimal256Array::from(units).with_precision_and_scale(precision, scale)?));
    }
    let narrow = units.into_iter().map(|units| units.and_then(i256::to_i128));
    Ok(Arc::new(narrow.collect::<Decimal128Array>().with_precision_and_scale(precision, scale)?))
}

fn factorial(number: i64) -> Result<Decimal> {
    if number < 0 {
        return Err(Error::new(Kind::NumericOutOfRange, "factorial of a negative number is undefined"));
    }
    let product = (2..=number.min(100)).try_fold(i256::ONE, |product, factor| product.checked_mul(i256::from_i128(factor.into())));
    Ok(Decimal { units: product.ok_or_else(overflow)?, scale: 0 })
}

fn width_bucket(value: Decimal, low: Decimal, high: Decimal, count: i64) -> Result<i32> {
    let scale = value.scale.max(low.scale).max(high.scale);
    let fine = |number: Decimal| number.rescaled(scale, Rounding::Cut).map(|number| number.units).ok_or_else(overflow);
    let (value, low, high) = (fine(value)?, fine(low)?, fine(high)?);
    super::math::check_buckets(count, low == high)?;
    let (from, value, to) = if low < high { (low, value, high) } else { (high, value, low) };
    let (before, after) = (value < from, value >= to);
    let bucket = if low < high {
        if before {
            0
        } else if after {
            count + 1
        } else {
            parts(value, low, high, count)?
        }
    } else if value > low {
        0
    } else if value <= high {
        count + 1
    } else {
        parts(value, low, high, count)?
    };
    i32::try_from(bucket).map_err(|_| Error::new(Kind::NumericOutOfRange, "integer out of range"))
}

fn parts(value: i256, low: i256, high: i256, count: i64) -> Result<i64> {
    let distance = value.checked_sub(low).and_then(|distance| distance.checked_mul(i256::from_i128(count.into())));
    let part = distance.zip(high.checked_sub(low)).and_then(|(distance, width)| distance.checked_div(width));
    let part = part.and_then(i256::to_i128).and_then(|part| i64::try_from(part).ok());
    part.map(|part| part + 1).ok_or_else(overflow)
}
