//! What clients send, read without copying from the body of a frame.
//!
//! pgwire has types for these messages as well, but its decoders trust the lengths within a body (a short Bind panics) and copy every
//! value; here a body that does not add up is an error of the protocol, and names and values borrow from the frame.

use crate::error::{Error, Kind, Result};
use crate::wire::decode::text;
use crate::wire::encode::Format;

/// A reader over fields in network byte order; `None` at the end of the bytes.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Over these bytes.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Fields(bytes)
    }

    /// Whether all was read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    pub(super) fn remaining(&self) -> usize {
        self.0.len()
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// The next two bytes.
    pub(super) fn i16(&mut self) -> Option<i16> {
        let bytes = self.take(2)?;
        Some(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The next four bytes.
    pub(super) fn i32(&mut self) -> Option<i32> {
        let bytes = self.take(4)?;
        Some(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Text up to a zero byte.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let taken = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(taken)
    }

    /// A length and so many bytes; a length of -1 is NULL.
    pub(super) fn value(&mut self) -> Option<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }
}

/// `08P01`: the body does not add up.
pub(super) fn invalid_format() -> Error {
    Error::new(Kind::Protocol, "invalid message format")
}

/// The format codes of a Bind: none (all text), one for all, or one each.
#[derive(Clone, Copy)]
pub(super) struct FormatCodes<'a>(&'a [u8]);

impl FormatCodes<'_> {
    /// How many codes were given.
    pub(super) fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// Of the value at `index`.
    pub(super) fn get(&self, index: usize) -> Result<Format> {
        let index = match self.len() {
            0 => return Ok(Format::Text),
            1 => 0,
            _ => index,
        };
        match self.0.get(2 * index..2 * index + 2) {
            Some([0, 0]) => Ok(Format::Text),
            Some([0, 1]) => Ok(Format::Binary),
            Some(code) => {
                let code = i16::from_be_bytes([code[0], code[1]]);
                Err(Error::new(Kind::InvalidParameter, format!("unsupported format code: {code}")))
            }
            None => Err(invalid_format()),
        }
    }
}

/// Parse: a text to prepare under a name.
pub(super) struct Parse<'a> {
    /// Empty: the unnamed statement.
    pub(super) name: &'a str,
    /// The SQL.
    pub(super) text: &'a str,
    /// Declared types by number; 0 leaves one open.
    pub(super) types: Vec<u32>,
}

impl<'a> Parse<'a> {
    /// From a frame's body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self> {
        let mut fields = Fields::new(body);
        let name = text(fields.string().ok_or_else(invalid_format)?)?;
        let sql = text(fields.string().ok_or_else(invalid_format)?)?;
        let count = fields.i16().ok_or_else(invalid_format)? as u16;
        let types = fields.take(4 * usize::from(count)).ok_or_else(invalid_format)?;
        let types = types.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]])).collect();
        if fields.is_empty() { Ok(Parse { name, text: sql, types }) } else { Err(invalid_format()) }
    }
}

/// Bind: values for a prepared statement, giving a portal.
pub(super) struct Bind<'a> {
    /// Empty: the unnamed portal.
    pub(super) portal: &'a str,
    /// Empty: the unnamed statement.
    pub(super) statement: &'a str,
    /// How the values are written.
    pub(super) formats: FormatCodes<'a>,
    /// The values; `None` is NULL.
    pub(super) values: Vec<Option<&'a [u8]>>,
    /// How the results are wanted.
    pub(super) result_formats: FormatCodes<'a>,
}

impl<'a> Bind<'a> {
    /// From a frame's body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self> {
        let mut fields = Fields::new(body);
        let portal = text(fields.string().ok_or_else(invalid_format)?)?;
        let statement = text(fields.string().ok_or_else(invalid_format)?)?;
        let (formats, values, result_formats) = Self::read_values(&mut fields).ok_or_else(invalid_format)?;
        if formats.len() > 1 && formats.len() != values.len() {
            let text = format!("bind message has {} parameter formats but {} parameters", formats.len(), values.len());
            return Err(Error::new(Kind::Protocol, text));
        }
        Ok(Bind { portal, statement, formats, values, result_formats })
    }

    fn read_values(fields: &mut Fields<'a>) -> Option<Values<'a>> {
        let count = usize::from(fields.i16()? as u16);
        let formats = FormatCodes(fields.take(2 * count)?);
        let count = usize::from(fields.i16()? as u16);
        let mut values = Vec::with_capacity(count.min(fields.remaining() / 4));
        for _ in 0..count {
            values.push(fields.value()?);
        }
        let count = usize::from(fields.i16()? as u16);
        let result_formats = FormatCodes(fields.take(2 * count)?);
        fields.is_empty().then_some((formats, values, result_formats))
    }
}

/// What Describe and Close are about.
pub(super) enum Target<'a> {
    /// A prepared statement.
    Statement(&'a str),
    /// A portal.
    Portal(&'a str),
}

impl<'a> Target<'a> {
    /// From a frame's body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self> {
        let mut fields = Fields::new(body);
        let kind = fields.u8().ok_or_else(invalid_format)?;
        let name = text(fields.string().ok_or_else(invalid_format)?)?;
        match kind {
            b'S' if fields.is_empty() => Ok(Target::Statement(name)),
            b'P' if fields.is_empty() => Ok(Target::Portal(name)),
            _ => Err(invalid_format()),
        }
    }
}

/// Execute: the portal's name and how many rows are wanted (`None`: all).
pub(super) fn read_execute(body: &[u8]) -> Result<(&str, Option<u64>)> {
    let mut fields = Fields::new(body);
    let name = text(fields.string().ok_or_else(invalid_format)?)?;
    let rows_max = fields.i32().filter(|_| fields.is_empty()).ok_or_else(invalid_format)?;
    Ok((name, u64::try_from(rows_max).ok().filter(|rows| *rows > 0)))
}

/// Query, and the reason in CopyFail: one text.
pub(super) fn read_text(body: &[u8]) -> Result<&str> {
    let mut fields = Fields::new(body);
    let bytes = fields.string().filter(|_| fields.is_empty()).ok_or_else(invalid_format)?;
    text(bytes)
}

/// Formats of the parameters, their bytes, formats of the results.
type Values<'a> = (FormatCodes<'a>, Vec<Option<&'a [u8]>>, FormatCodes<'a>);

#[cfg(test)]
mod tests {
    use super::{Bind, Parse, Target, read_execute, read_text};
    use crate::wire::encode::Format;

    #[test]
    fn a_bind_is_read_without_copies() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\0";
        let bind = Bind::read(body).unwrap();
        assert_eq!((bind.portal, bind.statement), ("p", "s"));
        assert_eq!(bind.values, [Some(&b"ab"[..]), None]);
        assert_eq!(bind.formats.get(1).unwrap(), Format::Binary);
        assert_eq!(bind.result_formats.get(7).unwrap(), Format::Text);
    }

    #[test]
    fn no_cut_body_panics() {
        let bind = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\0";
        for length in 0..bind.len() {
            assert!(Bind::read(&bind[..length]).is_err());
        }
        let parse = b"\0SELECT 1\0\0\x01\0\0\0\x17";
        for length in 0..parse.len() {
            assert!(Parse::read(&parse[..length]).is_err());
        }
        let execute = b"p\0\0\0\0\x05";
        for length in 0..execute.len() {
            assert!(read_execute(&execute[..length]).is_err());
        }
        assert_eq!(Parse::read(parse).unwrap().types, [23]);
        assert!(Target::read(b"X\0").is_err());
        assert!(read_text(b"SELECT 1").is_err());
        assert!(Bind::read(b"\0\0\0\0\xff\xff\x7f\xff\xff\xff").is_err());
    }
}
