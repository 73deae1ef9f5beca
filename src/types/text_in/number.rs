//! Integers, floats and decimals from text.

use std::fmt::Write;

use arrow::datatypes::i256;

use super::{invalid, shortened};
use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, Value, canonical_f64};

/// A whole number within the bounds of `sql_type` (one of the integer types). White space around it is skipped.
pub fn integer_from_text(sql_type: &SqlType, text: &str) -> Result<i64> {
    let digits = text.trim_ascii();
    let value = digits.parse::<i64>().map_err(|cause| match cause.kind() {
        std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => out_of_range(sql_type, text),
        _ => invalid(&sql_type.to_string(), text),
    })?;
    let fits = match sql_type {
        SqlType::Int2 => i16::try_from(value).is_ok(),
        SqlType::Int4 => i32::try_from(value).is_ok(),
        SqlType::Oid => u32::try_from(value).is_ok(),
        _ => true,
    };
    if fits { Ok(value) } else { Err(out_of_range(sql_type, text)) }
}

/// The same of a whole number that may also be written `5.0` or `5e3`: some programs know only floats.
pub fn whole_from_text(sql_type: &SqlType, text: &str) -> Result<i64> {
    /// What an i64 may have.
    const DIGITS_MAX: usize = 19;
    match integer_from_text(sql_type, text) {
        Err(error) if error.kind() == Kind::InvalidText => {
            let digits = Digits::new(text).filter(Digits::is_whole).ok_or(error)?;
            integer_from_text(sql_type, &digits.in_units_of(0, DIGITS_MAX).ok_or_else(|| out_of_range(sql_type, text))?)
        }
        result => result,
    }
}

fn out_of_range(sql_type: &SqlType, text: &str) -> Error {
    Error::new(Kind::NumericOutOfRange, format!("value \"{}\" is out of range for type {sql_type}", shortened(text.trim_ascii())))
}

/// `real` or `double precision`, with NaN and ±Infinity. Overflow, and underflow to zero, are errors.
pub(super) fn float(sql_type: &SqlType, text: &str) -> Result<f64> {
    let digits = text.trim_ascii();
    let value = match sql_type {
        SqlType::Float4 => digits.parse::<f32>().map(f64::from),
        _ => digits.parse::<f64>(),
    }
    .map_err(|_| invalid(&sql_type.to_string(), text))?;
    let mantissa = digits.split(['e', 'E']).next().unwrap_or("");
    let written_finite = mantissa.ends_with(|last: char| last.is_ascii_digit() || last == '.');
    let lost = value == 0.0 && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if written_finite && (value.is_infinite() || lost) {
        return Err(Error::new(Kind::NumericOutOfRange, format!("\"{}\" is out of range for type {sql_type}", shortened(digits))));
    }
    Ok(canonical_f64(value))
}

/// `numeric(precision, scale)`, rounded half away from zero to the scale.
pub fn decimal_from_text(precision: u8, scale: i8, text: &str) -> Result<Value<'static>> {
    let digits = Digits::new(text).ok_or_else(|| match text.trim_ascii().to_ascii_lowercase().as_str() {
        "nan" | "infinity" | "inf" | "-infinity" | "-inf" | "+infinity" | "+inf" => {
            Error::not_supported(format!("numeric value \"{}\"", text.trim_ascii())).hint("Use double precision for NaN and infinity.")
        }
        _ => invalid("numeric", text),
    })?;
    let overflow = || {
        let message = Error::new(Kind::NumericOutOfRange, "numeric field overflow");
        let bound = i32::from(precision) - i32::from(scale);
        message.detail(format!("A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{bound}."))
    };
    let units = digits.in_units_of(scale, usize::from(precision)).ok_or_else(overflow)?;
    if precision <= 38 {
        return Ok(Value::Decimal(units.parse().map_err(|_| overflow())?));
    }
    Ok(Value::WideDecimal(i256::from_string(&units).ok_or_else(overflow)?))
}

/// A decimal number, taken apart.
struct Digits<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Digits<'a> {
    fn new(text: &'a str) -> Option<Self> {
        let text = text.trim_ascii();
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        Some(Digits { negative, whole, fraction, exponent })
    }

    /// Whether there is nothing but zeros behind the point, once the exponent has moved it.
    fn is_whole(&self) -> bool {
        let point = i64::try_from(self.whole.len()).unwrap_or(i64::MAX).saturating_add(self.exponent);
        let before = usize::try_from(point.max(0)).unwrap_or(usize::MAX);
        self.whole.bytes().chain(self.fraction.bytes()).skip(before).all(|digit| digit == b'0')
    }

    /// The number times 10^scale, rounded, as text; `None` if it needs more than `digits_max` digits.
    fn in_units_of(&self, scale: i8, digits_max: usize) -> Option<String> {
        let digits = || self.whole.bytes().chain(self.fraction.bytes());
        let zeros = digits().take_while(|&digit| digit == b'0').count();
        let count = self.whole.len() + self.fraction.len();
        if zeros == count {
            return Some("0".to_owned());
        }
        // How many of all the digits stand before the point once it has moved: by the exponent, and by the scale.
        let kept = i64::try_from(self.whole.len()).ok()?.checked_add(self.exponent)?.checked_add(i64::from(scale))?;
        let significant = kept.checked_sub(i64::try_from(zeros).ok()?)?;
        if significant < 0 {
            return Some("0".to_owned());
        }
        if significant > i64::try_from(digits_max).ok()? {
            return None;
        }
        let significant = usize::try_from(significant).ok()?;
        let mut units: Vec<u8> = digits().skip(zeros).chain(std::iter::repeat(b'0')).take(significant).collect();
        let rounds_up = digits().skip(zeros).nth(significant).is_some_and(|next| next >= b'5');
        if rounds_up {
            increment(&mut units);
        }
        if units.len() > digits_max {
            return None;
        }
        let mut text = String::with_capacity(units.len() + 1);
        if self.negative {
            text.push('-');
        }
        for digit in &units {
            text.write_char(char::from(*digit)).expect("writing to a string does not fail");
        }
        Some(if units.is_empty() { "0".to_owned() } else { text })
    }
}

/// One more, in decimal digits; may become longer.
fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

#[cfg(test)]
mod tests {
    use super::{decimal_from_text, float, integer_from_text, whole_from_text};
    use crate::types::{SqlType, Value};

    fn integer(sql_type: SqlType, text: &str) -> Result<i64, String> {
        integer_from_text(&sql_type, text).map_err(|error| format!("{} {}", error.kind().sqlstate(), error.message()))
    }

    #[test]
    fn integers_and_their_bounds() {
        assert_eq!(integer(SqlType::Int8, "-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer(SqlType::Int4, "99999999999"), Err("22003 value \"99999999999\" is out of range for type integer".into()));
        assert_eq!(integer(SqlType::Int2, "40000"), Err("22003 value \"40000\" is out of range for type smallint".into()));
        assert_eq!(integer(SqlType::Int4, "abc"), Err("22P02 invalid input syntax for type integer: \"abc\"".into()));
        assert_eq!(integer(SqlType::Int4, ""), Err("22P02 invalid input syntax for type integer: \"\"".into()));
    }

    #[test]
    fn whole_numbers_of_programs_that_know_only_floats() {
        let whole = |text: &str| whole_from_text(&SqlType::Int8, text).map_err(|error| error.kind().sqlstate());
        for (text, number) in [
            ("5", 5),
            ("-5.0", -5),
            ("5e3", 5_000),
            ("1.25e2", 125),
            ("50e-1", 5),
            ("0.00", 0),
            ("0e-99999", 0),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("-9223372036854775808.0", i64::MIN),
        ] {
            assert_eq!(whole(text), Ok(number), "{text}");
        }
        for text in ["5.5", "4503599627370497.5", "0.99999999999999999", "1e-400", "12e-1", "x"] {
            assert_eq!(whole(text), Err("22P02"), "{text}");
        }
        for text in ["9223372036854775808.0", "1e19", "1e999999"] {
            assert_eq!(whole(text), Err("22003"), "{text}");
        }
    }

    #[test]
    fn floats() {
        let double = |text: &str| float(&SqlType::Float8, text);
        for nan in ["NaN", "-nan"] {
            assert_eq!(double(nan).unwrap().to_bits(), f64::NAN.to_bits());
        }
        assert_eq!(double("-0").unwrap().to_bits(), 0);
        assert_eq!(double("-Infinity").unwrap(), f64::NEG_INFINITY);
        assert_eq!(double(" 1.5e3 ").unwrap(), 1500.0);
        assert_eq!(double("1e400").unwrap_err().message(), "\"1e400\" is out of range for type double precision");
        assert_eq!(double("1e-400").unwrap_err().kind().sqlstate(), "22003");
        assert_eq!(double("0e-400").unwrap(), 0.0);
        assert!(float(&SqlType::Float4, "1e39").is_err());
        assert!(double("1,5").is_err());
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        let decimal = |text: &str| decimal_from_text(5, 2, text).map_err(|error| error.message().to_owned());
        for (text, units) in [
            ("1.005", 101),
            ("-1.005", -101),
            ("1.0049", 100),
            ("999.99", 99999),
            ("0.005", 1),
            ("0.004", 0),
            ("-0.001", 0),
            ("12e-1", 120),
            ("1.2E+1", 1200),
            (".5", 50),
            ("5.", 500),
            ("000123.4", 12340),
            ("9.995", 1000),
            ("0e9999", 0),
        ] {
            assert_eq!(decimal(text), Ok(Value::Decimal(units)), "{text}");
        }
        assert_eq!(decimal("999.995"), Err("numeric field overflow".into()));
        assert_eq!(decimal("1e9999999"), Err("numeric field overflow".into()));
        for bad in ["", ".", "-", "1e", "1 2", "0x1"] {
            assert_eq!(decimal(bad), Err(format!("invalid input syntax for type numeric: \"{bad}\"")));
        }
        assert!(matches!(decimal_from_text(76, 10, "1e60"), Ok(Value::WideDecimal(_))));
    }
}
