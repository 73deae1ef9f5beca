//! Names and texts, written so that they parse back to themselves.

use super::keywords::is_reserved;

/// `name` as an identifier: in double quotes where it would otherwise fold, break or be a keyword.
pub fn quote_ident(name: &str) -> String {
    let mut characters = name.chars();
    let starts_plain = characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    let stays_plain = characters.all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_');
    if starts_plain && stays_plain && !is_reserved(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// `text` as a string literal: quotes doubled, backslashes (which need the `E` form to be safe everywhere) too.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

#[cfg(test)]
mod tests {
    use super::{quote_ident, quote_literal};

    #[test]
    fn quotes_only_where_needed() {
        let cases = [
            ("bid", "bid"),
            ("_x1", "_x1"),
            ("Bid", "\"Bid\""),
            ("1a", "\"1a\""),
            ("", "\"\""),
            ("a\"b", "\"a\"\"b\""),
            ("select", "\"select\""),
            ("größe", "\"größe\""),
        ];
        for (name, quoted) in cases {
            assert_eq!(quote_ident(name), quoted);
        }
    }

    #[test]
    fn literals_survive_quotes_and_backslashes() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\b"), "E'a\\\\b'");
    }
}
