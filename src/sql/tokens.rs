//! Text → tokens, one list per statement.
//!
//! Blanks and comments are dropped, and what sqlparser has no grammar for is written in words it knows:
//! `'a'` newline `'b'` becomes one literal, `TABLE t` becomes `SELECT * FROM t`, and the first argument of a window
//! table function (`TABLE t`, `t AS a`) becomes a name or a subquery, `ROWS FROM (…)` a call, `trim(LEADING FROM x)` loses FROM, `ASOF JOIN` and `FOR SYSTEM_TIME` joins with a mark; so do EXCLUDE
//! (`exclude`) and grouping sets within others (`grouping`). Every token keeps the place it came from.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::dialect::QUERY;
use super::position::locate;
use super::windows::{PARTITION_BY, is_window_function};
use super::{comments, exclude, grouping};
use crate::error::{Error, Kind, Result};

/// What `ROWS FROM (f(…), …)` is called.
pub const ROWS_FROM: &str = "rows_from";

/// Bytes of a name at the most, as in PostgreSQL (`NAMEDATALEN` less one): clients rely on it, and so do the catalogs.
pub const NAME_BYTES_MAX: usize = 63;

/// What sqlparser's complaint about a comment without an end has in it.
const UNTERMINATED_COMMENT: &str = "multi-line comment";

/// How much of the text an error quotes.
const QUOTED_CHARACTERS_MAX: usize = 60;

/// The tokens of each statement in `text`; a statement has at least one.
pub(super) fn statements(text: &str) -> Result<Vec<Vec<TokenWithSpan>>> {
    let tokens = Tokenizer::new(&QUERY, &comments::apart(text)).tokenize_with_location().map_err(|error| not_a_token(text, &error))?;
    let mut statements = Vec::new();
    let mut current: Vec<TokenWithSpan> = Vec::new();
    for mut token in tokens {
        if let Token::Word(word) = &mut token.token {
            word.value.truncate(cut_name(&word.value, NAME_BYTES_MAX).len());
        }
        match &token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon => statements.push(std::mem::take(&mut current)),
            Token::CustomBinaryOperator(operator) if operator.contains("/*") => {
                let error = TokenizerError { message: UNTERMINATED_COMMENT.to_owned(), location: token.span.start };
                return Err(not_a_token(text, &error));
            }
            Token::CustomBinaryOperator(operator) => match without_signs(operator, token.span.start) {
                Some(apart) => current.extend(apart),
                None => current.push(token),
            },
            _ => push_joining_strings(&mut current, token),
        }
    }
    statements.push(current);
    statements.retain(|tokens| !tokens.is_empty());
    statements.into_iter().map(|tokens| prepare(text, tokens)).collect()
}

/// An operator and the signs that sqlparser took for its end, if it did: one ends in a sign only if it has a character that no other operator has
/// (PostgreSQL, 4.1.3), so that `a>-1` compares.
fn without_signs(operator: &str, mut start: Location) -> Option<Vec<TokenWithSpan>> {
    if operator.contains("--") {
        return None;
    }
    let bare = operator.trim_end_matches(['+', '-']);
    let bare = if bare.is_empty() { &operator[..1] } else { bare };
    if bare.len() == operator.len() || bare.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) {
        return None;
    }
    let tokens = Tokenizer::new(&QUERY, bare).tokenize().ok()?;
    let signs = operator[bare.len()..].chars().map(|sign| if sign == '-' { Token::Minus } else { Token::Plus });
    let apart = tokens.into_iter().map(|part| (part, bare.len() as u64)).chain(signs.map(|sign| (sign, 1))).map(|(part, length)| {
        let end = Location::new(start.line, start.column + length);
        TokenWithSpan::new(part, Span::new(std::mem::replace(&mut start, end), end))
    });
    Some(apart.collect())
}

/// A name of `bytes_max` at the most; what is longer loses its end.
pub fn cut_name(name: &str, bytes_max: usize) -> &str {
    if name.len() <= bytes_max {
        return name;
    }
    let end = (0..=bytes_max).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    &name[..end]
}

/// The names in a text that are longer than names may be, as written but for the case of those without quotes.
pub fn long_names(text: &str) -> Vec<String> {
    // Most texts have no word of such a length at all.
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    let is_short = |part: &[u8]| part.len() <= NAME_BYTES_MAX;
    let quoted = || text.split('"').skip(1).step_by(2).any(|name| name.len() > NAME_BYTES_MAX);
    if text.as_bytes().split(|byte| !is_part(byte)).all(is_short) && !quoted() {
        return Vec::new();
    }
    let Ok(tokens) = Tokenizer::new(&QUERY, text).tokenize() else { return Vec::new() };
    let names = tokens.into_iter().filter_map(|token| match token {
        Token::Word(word) if word.value.len() > NAME_BYTES_MAX => {
            Some(if word.quote_style.is_some() { word.value } else { word.value.to_ascii_lowercase() })
        }
        _ => None,
    });
    names.collect()
}

/// The unquoted word at `index`, if there is one.
pub(super) fn word_at(tokens: &[TokenWithSpan], index: usize) -> Option<&str> {
    match tokens.get(index).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
        _ => None,
    }
}

/// Whether the unquoted word at `index` is `expected`, in any case.
pub(super) fn is_word(tokens: &[TokenWithSpan], index: usize, expected: &str) -> bool {
    word_at(tokens, index).is_some_and(|word| word.eq_ignore_ascii_case(expected))
}

/// Literals with a newline between them are one literal (SQL-92, 5.3).
fn push_joining_strings(tokens: &mut Vec<TokenWithSpan>, token: TokenWithSpan) {
    if let (Some(last), Token::SingleQuotedString(more)) = (tokens.last_mut(), &token.token)
        && let Token::SingleQuotedString(text) = &mut last.token
        && last.span.end.line < token.span.start.line
    {
        text.push_str(more);
        last.span.end = token.span.end;
        return;
    }
    tokens.push(token);
}

/// Checks one statement's tokens and rewrites what the header tells of.
fn prepare(text: &str, tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    super::depth::check(text, &tokens)?;
    let tokens = super::temporal_join::mark_words(text, super::as_of::mark_words(text, tokens)?)?;
    let tokens = exclude::as_calls(grouping::known_clauses(name_rows_from(trim_nothing_but_blanks(tokens))));
    Ok(expand_table_queries(expand_window_arguments(tokens)))
}

/// `trim(LEADING FROM x)` → `trim(LEADING x)`: with nothing between, FROM says nothing.
fn trim_nothing_but_blanks(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let opens = |end: Option<usize>| {
        let paren = end?;
        (tokens[paren].token == Token::LParen && is_word(&tokens, paren.checked_sub(1)?, "trim")).then_some(())
    };
    let says_nothing = |index: &usize| {
        let before = index.checked_sub(1).filter(|_| is_word(&tokens, *index, "from"))?;
        let sided = ["leading", "trailing", "both"].iter().any(|side| is_word(&tokens, before, side));
        opens(if sided { before.checked_sub(1) } else { Some(before) })
    };
    let idle: Vec<usize> = (0..tokens.len()).filter(|index| says_nothing(index).is_some()).collect();
    without(tokens, &idle)
}

/// `ROWS FROM (f(…), g(…))` → a call of a function that has the calls for its arguments.
fn name_rows_from(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_start = |index: &usize| {
        is_word(&tokens, *index, "rows")
            && is_word(&tokens, index + 1, "from")
            && tokens.get(index + 2).is_some_and(|next| next.token == Token::LParen)
    };
    let starts: Vec<usize> = (0..tokens.len()).filter(is_start).collect();
    starts.iter().for_each(|start| tokens[*start].token = Token::make_word(ROWS_FROM, None));
    without(tokens, &starts.iter().map(|start| start + 1).collect::<Vec<_>>())
}

/// The tokens but for those at these places, which rise.
fn without(mut tokens: Vec<TokenWithSpan>, places: &[usize]) -> Vec<TokenWithSpan> {
    let (mut at, mut left) = (0, places.iter().peekable());
    if !places.is_empty() {
        tokens.retain(|_| {
            let goes = left.next_if(|place| **place == at).is_some();
            at += 1;
            !goes
        });
    }
    tokens
}

/// `TABLE t` where a query may stand → `SELECT * FROM t`.
fn expand_table_queries(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    const BEFORE_A_QUERY: [&str; 10] = ["as", "union", "all", "distinct", "except", "intersect", "explain", "verbose", "for", "analyze"];
    let starts_query = |index: usize| {
        let opens = match index.checked_sub(1) {
            None => true,
            Some(before) => tokens[before].token == Token::LParen || BEFORE_A_QUERY.iter().any(|word| is_word(&tokens, before, word)),
        };
        opens && is_word(&tokens, index, "table") && matches!(tokens.get(index + 1).map(|next| &next.token), Some(Token::Word(_)))
    };
    if !(0..tokens.len()).any(starts_query) {
        return tokens;
    }
    let mut expanded = Vec::with_capacity(tokens.len() + 2);
    for (index, token) in tokens.iter().enumerate() {
        if starts_query(index) { select_all_from(&mut expanded, token.span) } else { expanded.push(token.clone()) }
    }
    expanded
}

/// Appends `SELECT * FROM`, all of it standing at `span`.
fn select_all_from(tokens: &mut Vec<TokenWithSpan>, span: Span) {
    let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
    tokens.extend(words.into_iter().map(|token| TokenWithSpan::new(token, span)));
}

/// Writes the relation that a window table function is over as a name or a subquery, and PARTITION BY as an argument by name.
fn expand_window_arguments(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is = |index: usize, wanted: &Token| tokens.get(index).is_some_and(|token| token.token == *wanted);
    // Where a relation may stand: a table may have such a name too.
    let in_from = |index: usize| {
        let words = ["from", "join", "lateral", "using"];
        index.checked_sub(1).is_some_and(|before| {
            is(before, &Token::Comma) || is(before, &Token::LParen) || words.iter().any(|word| is_word(&tokens, before, word))
        })
    };
    let is_call = |index: usize| {
        is(index + 1, &Token::LParen)
            && matches!(&tokens[index].token, Token::Word(word) if is_window_function(&word.value))
            && in_from(index)
    };
    if !(0..tokens.len()).any(is_call) {
        return tokens;
    }
    let mut expanded = Vec::with_capacity(tokens.len() + 8);
    // How deep in parentheses this is, and how deep the arguments of the calls around it are.
    let (mut depth, mut calls): (usize, Vec<usize>) = (0, Vec::new());
    // An aliased subquery is copied token by token (it may hold another call); what stands behind it is dealt with when it comes up.
    let mut behind: Vec<usize> = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if behind.last() == Some(&index) {
            behind.pop();
            let alias = index + usize::from(is_word(&tokens, index, "as"));
            index = after_relation(&tokens, if is_alias(&tokens, alias) { alias + 1 } else { index }, &mut expanded);
            continue;
        }
        expanded.push(tokens[index].clone());
        let opens = is(index, &Token::LParen);
        if opens {
            depth += 1;
            if index.checked_sub(1).is_some_and(is_call) {
                calls.push(depth);
            }
        } else if is(index, &Token::RParen) {
            calls.pop_if(|call| *call == depth);
            depth = depth.saturating_sub(1);
        }
        let by_name = is(index, &Token::RArrow) && index.checked_sub(1).is_some_and(|name| is_word(&tokens, name, "data"));
        let first = opens && !(is_word(&tokens, index + 1, "data") && is(index + 2, &Token::RArrow));
        index += 1;
        if calls.last() != Some(&depth) || !(first || by_name) {
            continue;
        }
        index += usize::from(is_word(&tokens, index, "table"));
        let end = end_of_relation(&tokens, index);
        if is(index, &Token::LParen) {
            behind.push(end);
            continue;
        }
        let alias = end + usize::from(is_word(&tokens, end, "as"));
        if is_alias(&tokens, alias) {
            let span = tokens[index].span;
            expanded.push(TokenWithSpan::new(Token::LParen, span));
            select_all_from(&mut expanded, span);
            expanded.extend_from_slice(&tokens[index..=alias]);
            expanded.push(TokenWithSpan::new(Token::RParen, span));
            index = after_relation(&tokens, alias + 1, &mut expanded);
        } else {
            expanded.extend_from_slice(&tokens[index..end]);
            index = after_relation(&tokens, end, &mut expanded);
        }
    }
    expanded
}

/// Whether a relation's alias stands there.
fn is_alias(tokens: &[TokenWithSpan], index: usize) -> bool {
    let follows = tokens.get(index + 1).is_some_and(|next| next.token == Token::Comma) || is_word(tokens, index + 1, "partition");
    matches!(tokens.get(index).map(|token| &token.token), Some(Token::Word(_))) && !is_word(tokens, index, "partition") && follows
}

/// What stands behind a relation: `PARTITION BY` as a comma and the name of an argument. Gives the index to go on at.
fn after_relation(tokens: &[TokenWithSpan], index: usize, expanded: &mut Vec<TokenWithSpan>) -> usize {
    if !is_word(tokens, index, "partition") || !is_word(tokens, index + 1, "by") {
        return index;
    }
    let span = tokens[index].span;
    let written = [Token::Comma, Token::make_word(PARTITION_BY, None), Token::RArrow];
    expanded.extend(written.map(|token| TokenWithSpan::new(token, span)));
    index + 2
}

/// The index after the name or the parenthesised query at `start`.
fn end_of_relation(tokens: &[TokenWithSpan], start: usize) -> usize {
    let mut index = start;
    if tokens.get(index).is_some_and(|token| token.token == Token::LParen) {
        let mut depth = 0_usize;
        while let Some(token) = tokens.get(index) {
            index += 1;
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        return index;
    }
    if matches!(tokens.get(index).map(|token| &token.token), Some(Token::Word(_))) {
        index += 1;
        while tokens.get(index).is_some_and(|token| token.token == Token::Period) {
            index += 2;
        }
    }
    index.min(tokens.len())
}

/// The tokenizer's complaint, as PostgreSQL words it.
fn not_a_token(text: &str, error: &TokenizerError) -> Error {
    let place = locate(text, error.location);
    let (what, byte) = if error.message.contains(UNTERMINATED_COMMENT) {
        ("unterminated /* comment", text.rfind("/*").unwrap_or(place.byte))
    } else if error.message.contains("dollar-quoted") || error.message.contains("Unterminated dollar") {
        ("unterminated dollar-quoted string", text[..place.byte].find('$').unwrap_or(place.byte))
    } else if error.message.starts_with("Unterminated") {
        ("unterminated quoted string", place.byte)
    } else if error.message.starts_with("Expected close delimiter") {
        ("unterminated quoted identifier", place.byte)
    } else {
        ("syntax error", place.byte)
    };
    let rest = &text[byte..];
    let position = text[..byte].chars().count() + 1;
    if rest.is_empty() {
        return Error::new(Kind::Syntax, format!("{what} at end of input")).at(position);
    }
    let quoted: String = if what == "syntax error" {
        rest.split_whitespace().next().unwrap_or(rest).chars().take(QUOTED_CHARACTERS_MAX).collect()
    } else {
        rest.chars().take(QUOTED_CHARACTERS_MAX).collect()
    };
    Error::new(Kind::Syntax, format!("{what} at or near \"{quoted}\"")).at(position)
}
