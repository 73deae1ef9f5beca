//! Functions of bytes.

use std::fmt::Write;

use super::column::{Bytes, Integer, Text, map1, map2, map3};
use super::{Function, function};
use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, Value, value_from_text};

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("encode", "bytes as text, in `base64`, `hex` or `escape`", "encode('\\x0102ff'::bytea, 'hex')", "0102ff")
            .form("bytea, text -> text", |call| map2::<Bytes, Text, _>(call, encode))
            .example("encode('abc'::bytea, 'base64')", "YWJj"),
        function("decode", "the bytes of a text in `base64`, `hex` or `escape`", "decode('MTIz', 'base64')", "\\x313233")
            .form("text, text -> bytea", |call| map2::<Text, Text, _>(call, decode)),
        function("md5", "the MD5 hash, in hexadecimal digits", "md5('abc')", "900150983cd24fb0d6963f7d28e17f72")
            .known("text -> text")
            .known("bytea -> text"),
        function("sha224", "the SHA-224 hash", "sha224('abc'::bytea)", "\\x23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7")
            .known("bytea -> bytea"),
        function(
            "sha256",
            "the SHA-256 hash",
            "sha256('abc'::bytea)",
            "\\xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        )
        .known("bytea -> bytea"),
        function("sha384", "the SHA-384 hash", "length(sha384('abc'::bytea))", "48").known("bytea -> bytea"),
        function("sha512", "the SHA-512 hash", "length(sha512('abc'::bytea))", "64").known("bytea -> bytea"),
        function("convert_from", "the text that bytes are in `UTF8` or `LATIN1`", "convert_from('\\x6ac3b673c3a9'::bytea, 'UTF8')", "jösé")
            .form("bytea, text -> text", |call| map2::<Bytes, Text, _>(call, convert_from))
            .example("convert_from('\\x6af673e9'::bytea, 'LATIN1')", "jösé"),
        function("convert_to", "a text as bytes in `UTF8` or `LATIN1`", "convert_to('jösé', 'UTF8')", "\\x6ac3b673c3a9")
            .form("text, text -> bytea", |call| map2::<Text, Text, _>(call, convert_to))
            .example("convert_to('jösé', 'LATIN1')", "\\x6af673e9"),
        function("get_byte", "a byte, counted from 0", "get_byte('\\x1234'::bytea, 1)", "52").form("bytea, integer -> integer", |call| {
            map2::<Bytes, Integer, _>(call, |bytes, place| Ok(i32::from(bytes[index(place, bytes.len())?])))
        }),
        function("get_bit", "a bit, counted from 0 from the right of the first byte on", "get_bit('\\x1234'::bytea, 4)", "1").form(
            "bytea, integer -> integer",
            |call| {
                map2::<Bytes, Integer, _>(call, |bytes, place| {
                    let at = index(place, bytes.len() * 8)?;
                    Ok(i32::from(bytes[at / 8] >> (at % 8) & 1))
                })
            },
        ),
        function("set_byte", "with another byte at a place", "set_byte('\\x1234'::bytea, 1, 64)", "\\x1240").form(
            "bytea, integer, integer -> bytea",
            |call| {
                map3::<Bytes, Integer, Integer, _>(call, |bytes, place, value| {
                    let mut bytes = bytes.to_vec();
                    let at = index(place, bytes.len())?;
                    bytes[at] = value as u8;
                    Ok(bytes)
                })
            },
        ),
        function("set_bit", "with another bit at a place", "set_bit('\\x1234'::bytea, 3, 1)", "\\x1a34")
            .form("bytea, integer, integer -> bytea", |call| map3::<Bytes, Integer, Integer, _>(call, set_bit)),
        function("bit_count", "how many bits are set", "bit_count('\\x1234'::bytea)", "5").form("bytea -> bigint", |call| {
            map1::<Bytes, _>(call, |bytes| Ok(bytes.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>()))
        }),
    ]
}

fn set_bit(bytes: &[u8], place: i64, value: i64) -> Result<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let at = index(place, bytes.len() * 8)?;
    if !(0..=1).contains(&value) {
        return Err(Error::new(Kind::InvalidParameter, "new bit must be 0 or 1"));
    }
    let bit = 1 << (at % 8);
    if value == 1 {
        bytes[at / 8] |= bit
    } else {
        bytes[at / 8] &= !bit
    }
    Ok(bytes)
}

fn index(place: i64, length: usize) -> Result<usize> {
    let found = usize::try_from(place).ok().filter(|place| *place < length);
    let last = i64::try_from(length).unwrap_or(i64::MAX) - 1;
    found.ok_or_else(|| Error::new(Kind::ArraySubscript, format!("index {place} out of valid range, 0..{last}")))
}

/// How a text can be written in bytes.
#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Utf8,
    /// A byte for each of the first 256 characters of Unicode (ISO 8859-1).
    Latin1,
}

impl Encoding {
    /// `role`: "source" or "destination".
    fn named(name: &str, role: &str) -> Result<Encoding> {
        let letters: String = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
        match letters.as_str() {
            "utf8" | "unicode" => Ok(Encoding::Utf8),
            "latin1" | "iso88591" => Ok(Encoding::Latin1),
            _ => {
                Err(Error::new(Kind::InvalidParameter, format!("invalid {role} encoding name \"{name}\""))
                    .hint("There are UTF8 and LATIN1."))
            }
        }
    }
}

fn convert_from(bytes: &[u8], encoding: &str) -> Result<String> {
    let invalid = |bytes: &[u8]| {
        let bytes: String = bytes.iter().map(|byte| format!(" 0x{byte:02x}")).collect();
        Error::new(Kind::InvalidEncoding, format!("invalid byte sequence for encoding \"UTF8\":{bytes}"))
    };
    let text: String = match Encoding::named(encoding, "source")? {
        Encoding::Latin1 => bytes.iter().copied().map(char::from).collect(),
        Encoding::Utf8 => std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
            let wrong = &bytes[error.valid_up_to()..];
            invalid(&wrong[..error.error_len().unwrap_or(wrong.len())])
        })?,
    };
    if text.contains('\0') { Err(invalid(&[0])) } else { Ok(text) }
}

fn convert_to(text: &str, encoding: &str) -> Result<Vec<u8>> {
    if Encoding::named(encoding, "destination")? == Encoding::Utf8 {
        return Ok(text.as_bytes().to_vec());
    }
    let byte = |character: char| {
        u8::try_from(character).map_err(|_| {
            let message = format!("character \"{character}\" has no equivalent in encoding \"LATIN1\"");
            Error::new(Kind::UntranslatableCharacter, message)
        })
    };
    text.chars().map(byte).collect()
}

/// Where bytes begin within others, from 1; 0 if they do not.
pub(super) fn position(bytes: &[u8], part: &[u8]) -> usize {
    let places = 0..=bytes.len().saturating_sub(part.len());
    places.into_iter().find(|place| bytes[*place..].starts_with(part)).map_or(0, |place| place + 1)
}

/// With so many bytes from a place on, counted from 1, replaced by others.
pub(super) fn overlay(bytes: &[u8], new: &[u8], from: i64, length: i64) -> Result<Vec<u8>> {
    if from <= 0 {
        return Err(Error::new(Kind::Substring, "negative substring length not allowed"));
    }
    let before = usize::try_from(from - 1).unwrap_or(usize::MAX).min(bytes.len());
    let after = usize::try_from(from.saturating_add(length).saturating_sub(1)).unwrap_or(0).min(bytes.len());
    Ok([&bytes[..before], new, &bytes[after..]].concat())
}

/// Without those bytes at the start, at the end.
pub(super) fn trim<'a>(bytes: &'a [u8], set: &[u8], [start, end]: [bool; 2]) -> &'a [u8] {
    let kept = |byte: &u8| !set.contains(byte);
    let from = if start { bytes.iter().position(kept).unwrap_or(bytes.len()) } else { 0 };
    let to = if end { bytes.iter().rposition(kept).map_or(from, |last| last + 1) } else { bytes.len() };
    &bytes[from..to.max(from)]
}

/// Bytes from a place on, counted from 1.
pub(super) fn part(bytes: &[u8], from: i64, length: Option<i64>) -> Result<&[u8]> {
    let (start, end) = super::text::bounds(from, length)?;
    Ok(&bytes[start.min(bytes.len())..end.min(bytes.len())])
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters of a line of base64, as MIME has it.
const LINE: usize = 76;

fn unknown(format: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("unrecognized encoding: \"{format}\""))
}

fn encode(bytes: &[u8], format: &str) -> Result<String> {
    let mut out = String::new();
    match format.to_ascii_lowercase().as_str() {
        "hex" => bytes.iter().for_each(|byte| write!(out, "{byte:02x}").expect("a String takes all text")),
        "escape" => {
            for byte in bytes {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0 | 0x80.. => write!(out, "\\{byte:03o}").expect("a String takes all text"),
                    plain => out.push(char::from(*plain)),
                }
            }
        }
        "base64" => {
            let mut column = 0;
            for chunk in bytes.chunks(3) {
                if column == LINE {
                    out.push('\n');
                    column = 0;
                }
                let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
                for place in 0..4 {
                    let symbol = BASE64[(word >> (18 - 6 * place) & 63) as usize];
                    out.push(if place <= chunk.len() { char::from(symbol) } else { '=' });
                }
                column += 4;
            }
        }
        _ => return Err(unknown(format)),
    }
    Ok(out)
}

fn decode(text: &str, format: &str) -> Result<Vec<u8>> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => bytes_of(&format!("\\x{text}")).map_err(|error| Error::new(Kind::InvalidParameter, error.message().to_owned())),
        // A text that starts like hexadecimal digits is not meant so here.
        "escape" if text.starts_with("\\x") => Err(Error::new(Kind::InvalidText, "invalid input syntax for type bytea")),
        "escape" => bytes_of(text),
        "base64" => base64(text),
        _ => Err(unknown(format)),
    }
}

fn bytes_of(text: &str) -> Result<Vec<u8>> {
    match value_from_text(&SqlType::Bytea, text)? {
        Value::Bytes(bytes) => Ok(bytes.into_owned()),
        other => Err(Error::internal(format!("{other:?} is no bytea"))),
    }
}

fn base64(text: &str) -> Result<Vec<u8>> {
    let invalid = |message: String| Error::new(Kind::InvalidParameter, message);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut symbols, mut padding) = (0_u32, 0, 0);
    for character in text.chars().filter(|character| !character.is_ascii_whitespace()) {
        let value = match character {
            '=' if symbols >= 2 => {
                padding += 1;
                0
            }
            '=' => return Err(invalid("unexpected \"=\" while decoding base64 sequence".to_owned())),
            _ => {
                let found = BASE64.iter().position(|symbol| char::from(*symbol) == character).filter(|_| padding == 0);
                found.ok_or_else(|| invalid(format!("invalid symbol \"{character}\" found while decoding base64 sequence")))?
            }
        };
        word = word << 6 | u32::try_from(value).expect("six bits");
        symbols += 1;
        if symbols == 4 {
            let three = word.to_be_bytes();
            bytes.extend_from_slice(&three[1..4 - padding.min(2)]);
            (word, symbols) = (0, 0);
        }
    }
    if symbols != 0 {
        return Err(invalid("invalid base64 end sequence".to_owned()));
    }
    Ok(bytes)
}
