//! `numeric` in binary: digits in base 10,000, with the decimal point between two of them (`numeric_send` of PostgreSQL).
//!
//! Layout, all 16-bit: number of digits, weight of the first (its power of 10,000), sign, decimal places to show, digits.

use bytes::{BufMut, BytesMut};

/// The sign field of a negative number.
const NEGATIVE: u16 = 0x4000;

/// Decimal digits in one digit of base 10,000.
const GROUP: usize = 4;

/// Digits that a number from the wire may have; far beyond what any column takes, so that a few bytes cannot ask for megabytes.
const DIGITS_MAX: usize = 1_000;

/// Appends the number that `text` (`-12.50`, no exponent) says.
pub(super) fn put_numeric(text: &str, out: &mut BytesMut) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let mut digits = Vec::with_capacity(whole.len() / GROUP + fraction.len() / GROUP + 2);
    let (first, rest) = whole.as_bytes().split_at(whole.len() % GROUP);
    if !first.is_empty() {
        digits.push(group(first));
    }
    digits.extend(rest.chunks(GROUP).map(group));
    let mut weight = digits.len() as i16 - 1;
    for chunk in fraction.as_bytes().chunks(GROUP) {
        digits.push(group(chunk) * 10_u16.pow((GROUP - chunk.len()) as u32));
    }
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let end = digits.len() - digits[leading..].iter().rev().take_while(|digit| **digit == 0).count();
    let digits = &digits[leading..end];
    weight = if digits.is_empty() { 0 } else { weight - leading as i16 };
    out.put_u16(digits.len() as u16);
    out.put_i16(weight);
    out.put_u16(if negative && !digits.is_empty() { NEGATIVE } else { 0 });
    out.put_u16(fraction.len() as u16);
    for digit in digits {
        out.put_u16(*digit);
    }
}

fn group(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
}

/// The number as text; `None` if the bytes are no number, or one that no column could hold (NaN, infinity).
pub(super) fn numeric_text(bytes: &[u8]) -> Option<String> {
    let field = |index: usize| bytes.get(2 * index..2 * index + 2).map(|field| u16::from_be_bytes([field[0], field[1]]));
    let (count, weight, sign, places) = (usize::from(field(0)?), i32::from(field(1)? as i16), field(2)?, usize::from(field(3)?));
    if bytes.len() != 8 + 2 * count || !matches!(sign, 0 | NEGATIVE) || places > DIGITS_MAX || weight.unsigned_abs() as usize > DIGITS_MAX {
        return None;
    }
    let digit = |power: i32| {
        let index = usize::try_from(weight - power).ok().filter(|index| *index < count);
        index.map_or(Some(0), |index| field(4 + index)).filter(|digit| *digit < 10_000)
    };
    let mut text = String::with_capacity(GROUP * (count + 2));
    if sign == NEGATIVE {
        text.push('-');
    }
    for power in (0..=weight.max(0)).rev() {
        text.push_str(&format!("{:04}", digit(power)?));
    }
    if places > 0 {
        text.push('.');
        let start = text.len();
        for power in 1..=places.div_ceil(GROUP) {
            text.push_str(&format!("{:04}", digit(-(power as i32))?));
        }
        text.truncate(start + places);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{numeric_text, put_numeric};

    #[test]
    fn numbers_come_back() {
        for (text, expected) in [
            ("0", "0000"),
            ("0.00", "0000.00"),
            ("-12.50", "-0012.50"),
            ("12345678.000100", "12345678.000100"),
            ("0.00001", "0000.00001"),
            ("100000000", "000100000000"),
        ] {
            let mut out = BytesMut::new();
            put_numeric(text, &mut out);
            assert_eq!(numeric_text(&out).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_layout_is_that_of_postgresql() {
        let mut out = BytesMut::new();
        put_numeric("-12345.6", &mut out);
        assert_eq!(&out[..], &[0, 3, 0, 1, 0x40, 0, 0, 1, 0, 1, 9, 41, 23, 112]);
    }

    #[test]
    fn bad_bytes_are_no_number() {
        assert_eq!(numeric_text(&[]), None);
        assert_eq!(numeric_text(&[0, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(numeric_text(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), None);
        assert_eq!(numeric_text(&[0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), None);
    }
}
