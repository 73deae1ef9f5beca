//! `jsonb` values: trees, and the one text that each of them is kept as.
//!
//! The text is what PostgreSQL prints: keys by length and then by bytes, of several with one name the last, a blank behind colons and commas,
//! numbers without exponents. So equal values have equal texts (numbers that differ in zeros at their end do not), and a part of a text is
//! the text of the part.

use std::borrow::Cow;

use super::json_scan::{Json, JsonScanner};
use crate::error::{Error, Kind, Result};

/// Digits that a number may have before and behind its point, as in PostgreSQL's numeric.
const WHOLE_DIGITS_MAX: i64 = 131_072;
const FRACTION_DIGITS_MAX: i64 = 16_383;

/// A value, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonTree {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without exponent.
    Number(String),
    /// A string's characters.
    String(String),
    /// The elements.
    Array(Vec<JsonTree>),
    /// Fields in the order of their keys, each key once.
    Object(Vec<(String, JsonTree)>),
}

impl JsonTree {
    /// Reads a text; `22P02` if it is not JSON.
    pub fn parse(text: &str) -> Result<JsonTree> {
        let json = JsonScanner::whole(text).map_err(|cause| super::text_in::not_json(text, cause))?;
        JsonTree::of(json)
    }

    /// Of a value that has been scanned; `54000` if its numbers have exponents that make it many times as long.
    pub fn of(json: Json<'_>) -> Result<JsonTree> {
        let length = match json {
            Json::Number(text) | Json::Array(text) | Json::Object(text) => text.len(),
            _ => 0,
        };
        JsonTree::grown(json, &mut Zeros::of(length))
    }

    fn grown(json: Json<'_>, zeros: &mut Zeros) -> Result<JsonTree> {
        let scanned = |error| Error::internal(format!("JSON that was checked is none: {error}"));
        Ok(match json {
            Json::Null => JsonTree::Null,
            Json::Bool(value) => JsonTree::Bool(value),
            Json::Number(text) => JsonTree::Number(number(text, zeros)?),
            Json::String(text) => JsonTree::String(storable_text(text.decode().map_err(scanned)?.into_owned())?),
            Json::Array(text) => {
                let mut elements = Vec::new();
                let mut parts = Vec::new();
                let read = JsonScanner::new(text).array(|element| {
                    parts.push(element);
                    Ok(())
                });
                read.map_err(scanned)?;
                for part in parts {
                    elements.push(JsonTree::grown(part, zeros)?);
                }
                JsonTree::Array(elements)
            }
            Json::Object(text) => {
                let mut parts = Vec::new();
                let read = JsonScanner::new(text).object(|name, value| {
                    parts.push((name, value));
                    Ok(())
                });
                read.map_err(scanned)?;
                let mut fields = Vec::with_capacity(parts.len());
                for (name, value) in parts {
                    let name = storable_text(name.decode().map_err(scanned)?.into_owned())?;
                    fields.push((name, JsonTree::grown(value, zeros)?));
                }
                JsonTree::object(fields)
            }
        })
    }

    /// An object of fields in any order; of several with one key the last stays.
    pub fn object(mut fields: Vec<(String, JsonTree)>) -> JsonTree {
        let key = |name: &String| (name.len(), name.as_bytes().to_vec());
        // Stable: the last of equal ones stays the last.
        fields.sort_by_cached_key(|(name, _)| key(name));
        let mut kept: Vec<(String, JsonTree)> = Vec::with_capacity(fields.len());
        for field in fields {
            match kept.last_mut() {
                Some(last) if last.0 == field.0 => *last = field,
                _ => kept.push(field),
            }
        }
        JsonTree::Object(kept)
    }

    /// Appends the value's text.
    pub fn write(&self, out: &mut String) {
        match self {
            JsonTree::Null => out.push_str("null"),
            JsonTree::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            JsonTree::Number(text) => out.push_str(text),
            JsonTree::String(text) => quote(text, out),
            JsonTree::Array(elements) => {
                out.push('[');
                for (place, element) in elements.iter().enumerate() {
                    out.push_str(if place > 0 { ", " } else { "" });
                    element.write(out);
                }
                out.push(']');
            }
            JsonTree::Object(fields) => {
                out.push('{');
                for (place, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if place > 0 { ", " } else { "" });
                    quote(name, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The value's text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Takes the zeros off the ends of numbers.
    fn trim_numbers(&mut self) {
        match self {
            JsonTree::Number(text) if text.contains('.') => {
                let length = text.trim_end_matches('0').trim_end_matches('.').len();
                text.truncate(length);
            }
            JsonTree::Array(elements) => elements.iter_mut().for_each(JsonTree::trim_numbers),
            JsonTree::Object(fields) => fields.iter_mut().for_each(|(_, value)| value.trim_numbers()),
            _ => {}
        }
    }

    /// Bytes that stand to each other as the values do in the order of `jsonb`: objects above arrays above truth values above numbers above
    /// strings above null; more fields or elements above fewer. Equal values have equal bytes.
    pub fn order_key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        match self {
            // An empty array at the top stands below everything else.
            JsonTree::Array(elements) if elements.is_empty() => key.push(0),
            _ => self.write_key(&mut key),
        }
        key
    }

    fn write_key(&self, key: &mut Vec<u8>) {
        match self {
            JsonTree::Null => key.push(1),
            JsonTree::String(text) => {
                key.push(2);
                text_key(text, key);
            }
            JsonTree::Number(text) => {
                key.push(3);
                number_key(text, key);
            }
            JsonTree::Bool(value) => key.extend([4, u8::from(*value)]),
            JsonTree::Array(elements) => {
                key.push(5);
                count_key(elements.len(), key);
                elements.iter().for_each(|element| element.write_key(key));
            }
            JsonTree::Object(fields) => {
                key.push(6);
                count_key(fields.len(), key);
                for (name, value) in fields {
                    text_key(name, key);
                    value.write_key(key);
                }
            }
        }
    }
}

fn count_key(count: usize, key: &mut Vec<u8>) {
    key.extend((count as u64).to_be_bytes());
}

/// The end of a text stands below all characters; no text holds a zero.
fn text_key(text: &str, key: &mut Vec<u8>) {
    key.extend(text.as_bytes());
    key.push(0);
}

/// Of a number without exponent: its sign, where its first digit stands, and its digits without zeros around them; turned round if it is negative.
fn number_key(text: &str, key: &mut Vec<u8>) {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let whole = whole.trim_start_matches('0');
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return key.push(1);
    }
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let place = whole.len() as i64 - leading as i64;
    key.push(if negative { 0 } else { 2 });
    let start = key.len();
    key.extend((place ^ i64::MIN).to_be_bytes());
    text_key(significant, key);
    if negative {
        key[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// The text that a `jsonb` is kept as; `22P02` if it is not JSON.
pub fn canonical_jsonb(text: &str) -> Result<String> {
    Ok(JsonTree::parse(text)?.text())
}

/// What is the same for all texts of `jsonb` values that are equal: the text without zeros at the ends of its numbers.
pub fn jsonb_key(text: &str) -> Result<Cow<'_, str>> {
    // No number has a zero too many without a point.
    if !text.contains('.') {
        return Ok(text.into());
    }
    let mut tree = JsonTree::parse(text)?;
    tree.trim_numbers();
    Ok(tree.text().into())
}

/// Appends a string in quotes.
fn quote(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// How many zeros the numbers of a value may get for their exponents: eight bytes are a number of 131,072 digits, and a record of such numbers would
/// take more memory than there is.
struct Zeros {
    left: usize,
}

impl Zeros {
    /// Of any value so much, …
    const ANY: usize = 16 << 10;
    /// … and so many times its length, which lets any list of floats pass, …
    const TIMES: usize = 64;
    /// … but of one that is longer than this no more.
    const LENGTH_MAX: usize = 1 << 20;

    fn of(length: usize) -> Self {
        Zeros { left: Zeros::ANY + length.min(Zeros::LENGTH_MAX) * Zeros::TIMES }
    }

    fn take(&mut self, count: usize) -> Result<()> {
        let too_long = || Error::new(Kind::LimitExceeded, "a jsonb value is too long: its numbers are kept without exponents");
        self.left = self.left.checked_sub(count).ok_or_else(too_long)?;
        Ok(())
    }
}

/// A text as it is, unless it holds the character that none may hold, as in PostgreSQL: `22P05`.
pub fn storable_text(text: String) -> Result<String> {
    if text.contains('\0') {
        return Err(
            Error::new(Kind::UntranslatableCharacter, "unsupported Unicode escape sequence").detail("\\u0000 cannot be converted to text.")
        );
    }
    Ok(text)
}

/// A number as PostgreSQL's numeric prints it: no exponent, digits behind the point as written.
fn number(text: &str, zeros: &mut Zeros) -> Result<String> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let overflow = || Error::new(Kind::NumericOutOfRange, "value overflows numeric format");
    let digits = if unsigned.contains(['e', 'E']) {
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = exponent.parse::<i64>().map_err(|_| overflow())?;
        let point = exponent.checked_add(i64::try_from(whole.len()).unwrap_or(i64::MAX)).ok_or_else(overflow)?;
        let behind = i64::try_from(fraction.len()).unwrap_or(i64::MAX).checked_sub(exponent).ok_or_else(overflow)?;
        let digits = format!("{whole}{fraction}");
        let zero = digits.bytes().all(|digit| digit == b'0');
        if (point > WHOLE_DIGITS_MAX && !zero) || behind > FRACTION_DIGITS_MAX {
            return Err(overflow());
        }
        let place = usize::try_from(point.clamp(0, WHOLE_DIGITS_MAX)).unwrap_or(0);
        let behind = usize::try_from(behind.max(0)).unwrap_or(0);
        zeros.take((place + behind).saturating_sub(digits.len()))?;
        let mut all = "0".repeat(usize::try_from((-point).max(0)).unwrap_or(0)) + &digits;
        if all.len() < place {
            all.push_str(&"0".repeat(place - all.len()));
        }
        let (before, after) = all.split_at(place);
        let before = before.trim_start_matches('0');
        let after = &after[..after.len().min(behind)];
        format!("{}{}{after}", if before.is_empty() { "0" } else { before }, if after.is_empty() { "" } else { "." })
    } else {
        unsigned.to_owned()
    };
    let zero = digits.bytes().all(|digit| matches!(digit, b'0' | b'.'));
    Ok(if negative && !zero { format!("-{digits}") } else { digits })
}

#[cfg(test)]
mod tests {
    use super::{JsonTree, canonical_jsonb, jsonb_key};

    #[test]
    fn equal_values_have_one_text() {
        for (text, canonical) in [
            (r#" { "b" : 1 , "aa" : [ 1 , 2 ], "a":2,"a":3 }"#, r#"{"a": 3, "b": 1, "aa": [1, 2]}"#),
            ("1e2", "100"),
            ("1.50", "1.50"),
            ("-0.0", "0.0"),
            ("1.5e-3", "0.0015"),
            ("12.345e1", "123.45"),
            ("0e10", "0"),
            (r#""\u00e9\n""#, r#""é\n""#),
        ] {
            assert_eq!(canonical_jsonb(text).unwrap(), canonical);
            assert_eq!(canonical_jsonb(canonical).unwrap(), canonical, "it is its own text");
        }
        assert_eq!(canonical_jsonb("1e16000").unwrap().len(), 16_001);
        assert_eq!(canonical_jsonb(&format!("[{}1e308]", "1e308,".repeat(10_000))).unwrap().len(), 311 * 10_001);
        for too_long in ["1e131071", "1e-16383, 1e-16383"] {
            assert_eq!(canonical_jsonb(&format!("[{too_long}]")).unwrap_err().kind().sqlstate(), "54000");
        }
        assert_eq!(canonical_jsonb("1e999999").unwrap_err().kind().sqlstate(), "22003");
        assert_eq!(canonical_jsonb("\"\\u0000\"").unwrap_err().kind().sqlstate(), "22P05");
        assert_eq!(canonical_jsonb("{").unwrap_err().kind().sqlstate(), "22P02");
    }

    #[test]
    fn equal_values_have_one_key() {
        for (text, key) in
            [("1.0", "1"), ("[1.50, {\"a.0\": 2.00}]", "[1.5, {\"a.0\": 2}]"), ("0.0", "0"), ("10", "10"), ("\"1.0\"", "\"1.0\"")]
        {
            assert_eq!(jsonb_key(text).unwrap(), key);
        }
    }

    #[test]
    fn keys_stand_in_the_order_of_values() {
        let ascending = [
            "[]",
            "null",
            r#""""#,
            r#""a""#,
            r#""aa""#,
            r#""b""#,
            "-10",
            "-9.01",
            "-9",
            "-0.1",
            "-0.01",
            "0",
            "0.01",
            "0.1",
            "9",
            "9.5",
            "10",
            "100",
            "false",
            "true",
            "[null]",
            "[1]",
            "[[]]",
            "[0, 0]",
            "{}",
            r#"{"aa": 1}"#,
            r#"{"b": 1}"#,
            r#"{"a": 1, "c": 1}"#,
            r#"{"a": 2, "b": 1}"#,
        ];
        let keys = ascending.map(|text| JsonTree::parse(text).unwrap().order_key());
        for (place, pair) in keys.windows(2).enumerate() {
            assert!(pair[0] < pair[1], "{} stands below {}", ascending[place], ascending[place + 1]);
        }
        let key = |text: &str| JsonTree::parse(text).unwrap().order_key();
        assert_eq!(key("[1.50, -0.0]"), key("[1.5, 0]"));
        assert_eq!(key("1e2"), key("100.0"));
    }
}
