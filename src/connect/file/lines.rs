//! Finds the ends of lines, and of CSV records, which may be several lines.

use memchr::memchr;

/// Where the first line feed is.
pub(super) fn line_feed(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes)
}

/// The bytes in at most `count` parts of about one length, one after the other, each but the last ending with a line feed.
pub(super) fn line_parts(bytes: &[u8], count: usize) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::with_capacity(count), bytes);
    for left in (2..=count).rev() {
        let middle = rest.len() / left;
        let Some(end) = line_feed(&rest[middle..]) else { break };
        let (part, behind) = rest.split_at(middle + end + 1);
        parts.push(part);
        rest = behind;
    }
    parts.push(rest);
    parts
}

/// Where the first CSV record ends: at a line feed that is in no quoted field. A field is quoted if it starts with a quote; two quotes within it
/// are one.
pub(super) fn record_end(bytes: &[u8], delimiter: char) -> Option<usize> {
    let mut encoded = [0; 4];
    let delimiter = delimiter.encode_utf8(&mut encoded).as_bytes();
    let (mut place, mut from) = (Place::Start, 0);
    loop {
        let end = from + line_feed(&bytes[from..])?;
        place = place.behind(&bytes[from..end], delimiter);
        if place != Place::Quoted {
            return Some(end);
        }
        from = end + 1;
    }
}

/// Where in a CSV record we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first character of a field.
    Start,
    /// In a field without quotes, or behind the closing quote of one.
    Plain,
    /// Between the quotes.
    Quoted,
    /// Behind a quote that closes the field, unless another one follows.
    Closed,
}

impl Place {
    /// Where we are behind `bytes`, which have no line feed.
    fn behind(self, bytes: &[u8], delimiter: &[u8]) -> Place {
        // The usual line has no quotes.
        if self != Place::Quoted && !bytes.contains(&b'"') {
            return Place::Plain;
        }
        let mut place = self;
        for (at, byte) in bytes.iter().enumerate() {
            place = match (place, byte) {
                (Place::Quoted, b'"') => Place::Closed,
                (Place::Quoted, _) => Place::Quoted,
                (Place::Start | Place::Closed, b'"') => Place::Quoted,
                // The field begins behind the last byte of the delimiter.
                _ if bytes[..=at].ends_with(delimiter) => Place::Start,
                _ => Place::Plain,
            };
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::{line_parts, record_end};

    #[test]
    fn a_record_ends_where_no_quotes_are_open() {
        let first = |text: &str, delimiter: char| record_end(text.as_bytes(), delimiter).map(|end| text[..end].to_owned());
        let cases = [
            ("1,a\n2,b\n", Some("1,a")),
            ("1,\"a\nb\"\n2\n", Some("1,\"a\nb\"")),
            ("\"a\n\n\"\"b\n\"\"\",2\n3\n", Some("\"a\n\n\"\"b\n\"\"\",2")),
            // A quote within a field is a character.
            ("1,5\" pipe\n2,x\n", Some("1,5\" pipe")),
            ("\"\"\n2\n", Some("\"\"")),
            ("\"a\"b\"\n2\n", Some("\"a\"b\"")),
            ("1,\"a\nb", None),
            ("1", None),
            ("\n", Some("")),
        ];
        for (text, expected) in cases {
            assert_eq!(first(text, ',').as_deref(), expected, "{text:?}");
        }
        assert_eq!(first("a→\"b\nc\"\nd\n", '→').as_deref(), Some("a→\"b\nc\""));
        assert_eq!(first("a,\"b\nc\"\nd\n", '→').as_deref(), Some("a,\"b"));
    }

    #[test]
    fn parts_end_where_lines_end() {
        let parts = |text: &'static str, count| -> Vec<&str> {
            line_parts(text.as_bytes(), count).into_iter().map(|part| std::str::from_utf8(part).unwrap()).collect()
        };
        assert_eq!(parts("1\n2\n3\n4", 1), ["1\n2\n3\n4"]);
        assert_eq!(parts("1\n2\n3\n4", 2), ["1\n2\n", "3\n4"]);
        assert_eq!(parts("1\n2\n3\n4\n", 2), ["1\n2\n3\n", "4\n"]);
        assert_eq!(parts("1\n234567", 2), ["1\n234567"]);
        assert_eq!(parts("123456\n7\n", 3), ["123456\n", "7\n", ""]);
        assert_eq!(parts("", 2), [""]);
    }
}
