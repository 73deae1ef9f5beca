//! Temporal joins, for which the parser has no grammar in our dialect.
//!
//! `a JOIN t FOR SYSTEM_TIME AS OF time AS x ON c` reaches the parser as `a JOIN t AS x ON temporal_join(time) AND c`: the planner takes the mark
//! out again. `time` is `PROCTIME()` or a column. So `FOR SYSTEM_TIME` does not take words like `AT` and `BEFORE` away from aliases, as the
//! parser's own grammar for it does.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::position::locate;
use super::tokens::is_word;
use crate::error::{Error, Result};

/// The function that marks the condition of a temporal join; its argument is the time. A name that nobody can type.
pub const TEMPORAL_JOIN: &str = "\u{0}temporal_join";

const HINT: &str = "Write a JOIN t FOR SYSTEM_TIME AS OF PROCTIME() AS t ON a.k = t.k, or AS OF a.ts for a table with a watermark: ON in the place of \
                    USING, JOIN in that of a comma.";

/// `FOR SYSTEM_TIME AS OF time [[AS] alias] ON` → `[[AS] alias] ON temporal_join(time) AND`. The alias may stand before it, too.
pub(super) fn mark_words(text: &str, mut tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let is_start = |tokens: &[TokenWithSpan], index: usize| {
        ["for", "system_time", "as", "of"].iter().enumerate().all(|(at, word)| is_word(tokens, index + at, word))
    };
    let mut from = 0;
    while let Some(index) = (from..tokens.len()).find(|index| is_start(&tokens, *index)) {
        let at = locate(text, tokens[index].span.start).characters + 1;
        let (Some(end), true) = (end_of_time(&tokens, index + 4), follows_join(&tokens, index)) else { return Err(refused(at)) };
        let Some(on) = place_of_on(&tokens, end) else { return Err(refused(at)) };
        let span = tokens[on].span;
        let mark = |token: Token| TokenWithSpan { token, span };
        let time: Vec<TokenWithSpan> = tokens[index + 4..end].to_vec();
        let mark: Vec<TokenWithSpan> = [mark(Token::make_word(TEMPORAL_JOIN, Some('"'))), mark(Token::LParen)]
            .into_iter()
            .chain(time)
            .chain([mark(Token::RParen), mark(Token::make_keyword("AND"))])
            .collect();
        tokens.splice(on + 1..on + 1, mark);
        tokens.drain(index..end);
        from = index;
    }
    Ok(tokens)
}

fn refused(at: usize) -> Error {
    Error::not_supported("FOR SYSTEM_TIME AS OF is supported for the right side of a JOIN … ON, at PROCTIME() or at a column")
        .hint(HINT)
        .at(at)
}

/// Behind `PROCTIME()`, or a column's name.
fn end_of_time(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let token = |index: usize| tokens.get(index).map(|token| &token.token);
    if is_word(tokens, start, "proctime") && token(start + 1) == Some(&Token::LParen) {
        return (token(start + 2) == Some(&Token::RParen)).then_some(start + 3);
    }
    let is_name = |index: usize| matches!(token(index), Some(Token::Word(_)));
    let mut end = is_name(start).then_some(start + 1)?;
    while token(end) == Some(&Token::Period) && is_name(end + 1) {
        end += 2;
    }
    Some(end)
}

/// Whether the name of a relation before `index`, which may have an alias behind it, stands behind JOIN.
fn follows_join(tokens: &[TokenWithSpan], index: usize) -> bool {
    let is_alias = |at: usize| matches!(tokens.get(at), Some(TokenWithSpan { token: Token::Word(_), .. }));
    let before_alias = index.checked_sub(1).filter(|alias| is_alias(*alias));
    let before_as = before_alias.map(|alias| if alias > 0 && is_word(tokens, alias - 1, "as") { alias - 1 } else { alias });
    is_named_behind_join(tokens, index) || before_as.is_some_and(|index| is_named_behind_join(tokens, index))
}

fn is_named_behind_join(tokens: &[TokenWithSpan], index: usize) -> bool {
    let Some(mut name) = index.checked_sub(1) else { return false };
    while name >= 2 && tokens[name - 1].token == Token::Period {
        name -= 2;
    }
    name >= 1 && is_word(tokens, name - 1, "join")
}

/// Where ON stands, with an alias before it at the most.
fn place_of_on(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let is_on = |index: usize| is_word(tokens, index, "on");
    let alias = start + usize::from(is_word(tokens, start, "as"));
    if is_on(alias) {
        return (alias == start).then_some(start);
    }
    is_on(alias + 1).then_some(alias + 1)
}
