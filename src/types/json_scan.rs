//! Reads JSON (RFC 8259) where it stands: no tree, no copies; what is not asked for is checked and skipped.
//!
//! In: text. Out: a value at a time; objects and arrays as the text they are written in, already checked, to be entered on demand.
//! An own reader instead of a library's, since a column may want any part of a record as its JSON text, and since records of one
//! topic differ in values, not in shape: the caller keeps what it learned from the last one.

use std::borrow::Cow;
use std::ops::Range;

/// Objects and arrays within each other at the most: a record that nests deeper is taken for an attack or an accident.
const DEPTH_MAX: usize = 128;

/// One JSON value, borrowed from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written.
    Number(&'a str),
    /// A string.
    String(JsonString<'a>),
    /// An object's whole text, braces included.
    Object(&'a str),
    /// An array's whole text, brackets included.
    Array(&'a str),
}

impl Json<'_> {
    /// The value's text as it stands in JSON, quotes included.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Json::Null => "null".into(),
            Json::Bool(true) => "true".into(),
            Json::Bool(false) => "false".into(),
            Json::Number(text) | Json::Object(text) | Json::Array(text) => (*text).into(),
            Json::String(text) => format!("\"{}\"", text.raw).into(),
        }
    }
}

/// A string between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonString<'a> {
    /// As written, with escapes.
    pub raw: &'a str,
    escaped: bool,
}

impl<'a> JsonString<'a> {
    /// Of characters that stand for themselves.
    pub fn plain(characters: &'a str) -> Self {
        JsonString { raw: characters, escaped: false }
    }

    /// The characters that it stands for; copied only if it has escapes.
    pub fn decode(&self) -> Result<Cow<'a, str>, JsonError> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.raw));
        }
        let mut decoded = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            decoded.push_str(&rest[..at]);
            let (character, length) = unescape(&rest[at..])?;
            decoded.push(character);
            rest = &rest[at + length..];
        }
        decoded.push_str(rest);
        Ok(Cow::Owned(decoded))
    }
}

/// The character that the escape at the start of `text` stands for, and the escape's length.
fn unescape(text: &str) -> Result<(char, usize), JsonError> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    Ok(match text.as_bytes().get(1) {
        Some(b'n') => ('\n', 2),
        Some(b't') => ('\t', 2),
        Some(b'r') => ('\r', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(&plain @ (b'"' | b'\\' | b'/')) => (plain.into(), 2),
        Some(b'u') => match unit(2).ok_or(JsonError("a bad \\u escape"))? {
            high @ 0xD800..0xDC00 => match (text.get(6..8), unit(8)) {
                (Some("\\u"), Some(low @ 0xDC00..0xE000)) => {
                    let scalar = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    (char::from_u32(scalar).ok_or(JsonError("a bad surrogate pair"))?, 12)
                }
                _ => return Err(JsonError("half a surrogate pair")),
            },
            scalar => (char::from_u32(scalar).ok_or(JsonError("half a surrogate pair"))?, 6),
        },
        _ => return Err(JsonError("a bad escape")),
    })
}

/// Why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError(pub &'static str);

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Goes through a text from its start.
#[derive(Debug)]
pub struct JsonScanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JsonScanner<'a> {
    /// At the start of `text`.
    pub fn new(text: &'a str) -> Self {
        JsonScanner { text, at: 0 }
    }

    /// At byte `at` of `text`, whoever has read what stands before it.
    pub fn resume(text: &'a str, at: usize) -> Self {
        JsonScanner { text, at }
    }

    /// The byte at which what comes next starts.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The whole text as one value; an error if anything but white space follows it.
    pub fn whole(text: &'a str) -> Result<Json<'a>, JsonError> {
        let mut scanner = JsonScanner::new(text);
        let value = scanner.value(0)?;
        scanner.end()?;
        Ok(value)
    }

    /// Calls `field` with every name and value of the object that comes next.
    pub fn object(&mut self, mut field: impl FnMut(JsonString<'a>, Json<'a>) -> Result<(), JsonError>) -> Result<(), JsonError> {
        self.object_at(0, &mut |name, value, _| field(name, value))
    }

    /// As `object`, with the bytes at which each value stands.
    pub fn members(
        &mut self,
        mut field: impl FnMut(JsonString<'a>, Json<'a>, Range<usize>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.object_at(0, &mut field)
    }

    /// The value that comes next, as one of an object's.
    pub fn member_value(&mut self) -> Result<Json<'a>, JsonError> {
        self.value(1)
    }

    /// Calls `element` with every element of the array that comes next.
    pub fn array(&mut self, mut element: impl FnMut(Json<'a>) -> Result<(), JsonError>) -> Result<(), JsonError> {
        self.array_at(0, &mut element)
    }

    /// Nothing but white space may come.
    pub fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(JsonError("more text behind the value")),
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(JsonError(if self.at == self.text.len() { "the text ends too early" } else { otherwise }))
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        let start = match self.peek() {
            None => return Err(JsonError("the text ends too early")),
            Some(_) => self.at,
        };
        Ok(match self.text.as_bytes()[start] {
            b'"' => Json::String(self.string()?),
            b'{' => {
                self.object_at(depth, &mut |_, _, _| Ok(()))?;
                Json::Object(&self.text[start..self.at])
            }
            b'[' => {
                self.array_at(depth, &mut |_| Ok(()))?;
                Json::Array(&self.text[start..self.at])
            }
            b'-' | b'0'..=b'9' => Json::Number(self.number()?),
            b't' => self.literal("true", Json::Bool(true))?,
            b'f' => self.literal("false", Json::Bool(false))?,
            b'n' => self.literal("null", Json::Null)?,
            _ => return Err(JsonError("a value must come here")),
        })
    }

    fn object_at(
        &mut self,
        depth: usize,
        field: &mut dyn FnMut(JsonString<'a>, Json<'a>, Range<usize>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(b'{', "an object must come here")?;
        if depth >= DEPTH_MAX {
            return Err(JsonError("nested deeper than 128 levels"));
        }
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(JsonError("a field name must come here"));
            }
            let name = self.string()?;
            self.expect(b':', "a colon must follow a field name")?;
            self.peek();
            let start = self.at;
            let value = self.value(depth + 1)?;
            field(name, value, start..self.at)?;
            if self.peek() != Some(b',') {
                return self.expect(b'}', "a comma or a closing brace must come here");
            }
            self.at += 1;
        }
    }

    fn array_at(&mut self, depth: usize, element: &mut dyn FnMut(Json<'a>) -> Result<(), JsonError>) -> Result<(), JsonError> {
        self.expect(b'[', "an array must come here")?;
        if depth >= DEPTH_MAX {
            return Err(JsonError("nested deeper than 128 levels"));
        }
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let value = self.value(depth + 1)?;
            element(value)?;
            if self.peek() != Some(b',') {
                return self.expect(b']', "a comma or a closing bracket must come here");
            }
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(JsonError("a value must come here"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// The string whose opening quote comes next.
    fn string(&mut self) -> Result<JsonString<'a>, JsonError> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at += plain_length(&bytes[at..]);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    // The escape itself is checked here too: a skipped field must not be worse JSON than one that is read.
                    escaped = true;
                    at += unescape(&self.text[at..])?.1;
                }
                Some(_) => return Err(JsonError("a control character within a string")),
                None => return Err(JsonError("a string without its closing quote")),
            }
        }
        self.at = at + 1;
        Ok(JsonString { raw: &self.text[start..at], escaped })
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.at += number_length(&self.text.as_bytes()[start..])?;
        Ok(&self.text[start..self.at])
    }
}

/// How many bytes the number takes that starts `bytes`.
pub fn number_length(bytes: &[u8]) -> Result<usize, JsonError> {
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes[at] == b'0') {
        return Err(JsonError("a malformed number"));
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return Err(JsonError("a malformed number"));
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return Err(JsonError("a malformed number"));
        }
        at += exponent;
    }
    Ok(at)
}

/// How many bytes come before the first quote, backslash or control character.
fn plain_length(bytes: &[u8]) -> usize {
    length_before::<false>(bytes)
}

/// How many bytes come before the first quote, backslash, control character or byte that is not ASCII.
pub fn ascii_length(bytes: &[u8]) -> usize {
    length_before::<true>(bytes)
}

/// Eight bytes at a time (the zero-byte trick of Warren, "Hacker's Delight", section 6-1). `ASCII`: bytes of other characters end it too.
fn length_before<const ASCII: bool>(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut length = 0;
    let (words, rest) = bytes.as_chunks();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let quotes = zero_bytes(word ^ (ONES * u64::from(b'"')));
        let backslashes = zero_bytes(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let others = if ASCII { word & HIGHS } else { 0 };
        let special = quotes | backslashes | controls | others;
        if special != 0 {
            // Borrows can only mark bytes behind a true hit, so the first mark is always right.
            return length + (special.trailing_zeros() / 8) as usize;
        }
        length += size_of::<u64>();
    }
    let is_plain = |byte: u8| byte != b'"' && byte != b'\\' && byte >= 0x20 && (!ASCII || byte.is_ascii());
    length + rest.iter().take_while(|byte| is_plain(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::{Json, JsonScanner};

    fn valid(text: &str) -> bool {
        JsonScanner::whole(text).is_ok()
    }

    #[test]
    fn accepts_and_refuses_what_serde_json_does() {
        let texts = [
            "{}",
            "[]",
            " [1, 2.5e-3, -0, \"a\\u00e9\\n\"] ",
            "null",
            "true",
            "\"\"",
            "{\"a\":{\"b\":[{}]}}",
            "1e5",
            "-1.0E+2",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "nul",
            "\"a",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\u{1}\"",
            "1 2",
            "",
            " ",
            "{a:1}",
            "[1 2]",
            "\"long enough for a word of eight\tbytes\"",
            "\"ünïcödé, longer than a word\"",
        ];
        for text in texts {
            assert_eq!(valid(text), serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_nested_value_is_its_text_and_escapes_are_decoded() {
        let mut seen = Vec::new();
        let mut scanner = JsonScanner::new(r#" {"a" : {"x": [1, 2]}, "b\n": "\u0041\ud83d\ude00\"" } "#);
        scanner
            .object(|name, value| {
                let text = if let Json::String(text) = value { text.decode()?.into_owned() } else { value.text().into_owned() };
                seen.push((name.decode()?.into_owned(), text));
                Ok(())
            })
            .unwrap();
        scanner.end().unwrap();
        assert_eq!(seen, [("a".into(), "{\"x\": [1, 2]}".into()), ("b\n".to_owned(), "A😀\"".to_owned())]);
    }

    #[test]
    fn depth_has_a_limit() {
        assert!(valid(&format!("{}{}", "[".repeat(128), "]".repeat(128))));
        assert!(!valid(&"[".repeat(100_000)));
    }
}
