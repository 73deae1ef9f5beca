//! Words of other streaming databases that are a syntax error here: the error says what to write instead.

use sqlparser::tokenizer::{Token, Tokenizer};

use super::comments;
use super::dialect::QUERY;
use super::position::Walker;
use super::tokens::is_word;
use crate::error::{Error, Kind};

/// Longer texts are not looked through: they are data, mostly.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Words that stand beside each other, and what is written here.
const CONSTRUCTS: &[(&[&str], &str)] = &[
    (&["emit", "changes"], "Leave it out: a materialized view shows every change as it comes."),
    (&["emit", "on", "update"], "Leave it out: a materialized view shows every change as it comes."),
    (
        &["emit", "on", "window", "close"],
        "It belongs behind the query of CREATE MATERIALIZED VIEW. A query that runs once shows windows as they are: leave it out there.",
    ),
    (
        &["match_recognize"],
        "There are no row patterns: compare neighbours by lag() and lead() OVER (PARTITION BY k ORDER BY ts), or join the rows with \
         themselves, b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 minute'.",
    ),
    (
        &["session", "with", "gap"],
        "Write FROM SESSION(t PARTITION BY k, ts, INTERVAL '30 minutes') … GROUP BY k, window_start, window_end.",
    ),
];

/// The error with a hint, if it stands at one of these constructs. `text`: the statement, in which it has its place.
#[must_use]
pub(super) fn hinted(error: Error, text: &str) -> Error {
    let Some(position) = error.position().filter(|_| error.kind() == Kind::Syntax && error.hint_text().is_none()) else { return error };
    if text.len() > TEXT_BYTES_MAX {
        return error;
    }
    let Ok(mut tokens) = Tokenizer::new(&QUERY, &comments::apart(text)).tokenize_with_location() else { return error };
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    let mut walker = Walker::new(text);
    let found = tokens.iter().position(|token| walker.advance_to(token.span.start).characters + 1 == position);
    let Some(at) = found else { return error };
    let hint = CONSTRUCTS.iter().find_map(|(words, hint)| {
        let stands_at = |start: usize| words.iter().enumerate().all(|(place, word)| is_word(&tokens, start + place, word));
        ((at + 1).saturating_sub(words.len())..=at).any(stands_at).then_some(*hint)
    });
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
