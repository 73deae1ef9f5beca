//! `WITH (key = 'value', …)` and the like: keys with dots, values of any simple form, all kept as text.

use std::collections::BTreeMap;

use sqlparser::tokenizer::Token;

use super::reader::Reader;
use crate::error::{Error, Kind, Result};

/// A list of options in parentheses, which may be empty.
pub(super) fn options(reader: &mut Reader<'_>) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    reader.expect_token(&Token::LParen)?;
    if reader.accept_token(&Token::RParen) {
        return Ok(options);
    }
    loop {
        let position = reader.position();
        let key = key(reader)?;
        let value = if reader.accept_token(&Token::Eq) { value(reader)? } else { "true".to_owned() };
        if options.contains_key(&key) {
            return Err(Error::new(Kind::Syntax, format!("option \"{key}\" specified more than once")).at(position));
        }
        options.insert(key, value);
        if !reader.accept_token(&Token::Comma) {
            break;
        }
    }
    reader.expect_token(&Token::RParen)?;
    Ok(options)
}

/// `a`, `a.b.c` or `'a.b-c'`, in lower case.
fn key(reader: &mut Reader<'_>) -> Result<String> {
    if let Some(key) = reader.accept_string() {
        return Ok(key.to_ascii_lowercase());
    }
    let mut key = reader.label()?.to_ascii_lowercase();
    while reader.accept_token(&Token::Period) {
        key.push('.');
        key.push_str(&reader.label()?.to_ascii_lowercase());
    }
    Ok(key)
}

/// A string, a number, a word or an interval.
fn value(reader: &mut Reader<'_>) -> Result<String> {
    if let Some(value) = reader.accept_string().or_else(|| reader.accept_number()) {
        return Ok(value);
    }
    // `INTERVAL '1 day'` says the same as `'1 day'`.
    if reader.is(0, "interval") && matches!(reader.peek_nth(1), Token::SingleQuotedString(_)) {
        reader.advance();
        return reader.accept_string().ok_or_else(|| reader.unexpected());
    }
    match reader.peek() {
        Token::Word(_) => reader.label(),
        _ => Err(reader.unexpected().detail("Expected a value: a string in single quotes, a number, true or false.")),
    }
}
