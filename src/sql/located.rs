//! Where in its text an error probably stands that only names what it is about: a literal, an operator, a function, a word behind WHERE.
//!
//! What is planned knows no places any more. So the statement's tokens are looked through for what the message names, and where there is one
//! such token, or the first is meant for certain, the error gets its place. A wrong place would be worse than none.

use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::comments;
use super::dialect::QUERY;
use super::position::locate;
use super::tokens::is_word;
use crate::error::{Error, Kind};

/// Longer texts are not looked through: they are data, mostly.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Aggregate functions that people put where none may be.
const AGGREGATES: [&str; 9] = ["array_agg", "avg", "bool_and", "bool_or", "count", "max", "min", "string_agg", "sum"];

/// The error with its place in `text`, if it has none and one can be told.
#[must_use]
pub fn located(error: Error, text: &str) -> Error {
    if error.position().is_some() || text.len() > TEXT_BYTES_MAX {
        return error;
    }
    let Ok(mut tokens) = Tokenizer::new(&QUERY, &comments::apart(text)).tokenize_with_location() else { return error };
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    match place(&error, &tokens).and_then(|index| tokens.get(index)) {
        Some(token) => error.at(locate(text, token.span.start).characters + 1),
        None => error,
    }
}

/// The number of the token that an error is about.
fn place(error: &Error, tokens: &[TokenWithSpan]) -> Option<usize> {
    let message = error.message();
    match error.kind() {
        Kind::InvalidText | Kind::InvalidDatetime | Kind::DatetimeOutOfRange | Kind::NumericOutOfRange => {
            let out_of_range = || message.strip_prefix("value \"")?.split_once("\" is out of range").map(|(value, _)| value);
            let value = message.rsplit_once(": \"").and_then(|(_, value)| value.strip_suffix('"')).or_else(out_of_range)?;
            only(tokens, |at| matches!(&tokens[at].token, Token::SingleQuotedString(text) if text == value))
        }
        Kind::UndefinedFunction => match message.strip_prefix("operator does not exist: ") {
            Some(operation) => {
                let is_operator = |word: &&str| !word.is_empty() && !word.chars().any(|c| c.is_alphanumeric() || "\"[](),".contains(c));
                let operator = operation.split(' ').find(is_operator)?;
                if let Some(word) = like(operator) {
                    return only(tokens, |at| is_word(tokens, at, word))?.checked_sub(usize::from(operator.starts_with('!')));
                }
                only(tokens, |at| tokens[at].token.to_string() == operator)
            }
            None => {
                let name = message.strip_prefix("function ")?.split('(').next()?;
                (0..tokens.len()).find(|at| is_word(tokens, *at, name) && is_call(tokens, *at))
            }
        },
        Kind::UndefinedObject => {
            let name = message.strip_prefix("type \"")?.strip_suffix("\" does not exist")?;
            only(tokens, |at| is_word(tokens, at, name))
        }
        Kind::DuplicateColumn => {
            let name = message.strip_prefix("column \"")?.strip_suffix("\" specified more than once")?;
            (0..tokens.len()).filter(|at| is_word(tokens, *at, name)).nth(1)
        }
        Kind::UndefinedColumn => {
            let name = message.strip_prefix("column \"")?.strip_suffix("\" does not exist")?;
            only(tokens, |at| is_word(tokens, at, name))
        }
        Kind::NotSupported => {
            let name = message.strip_prefix("function ")?.split('(').next()?;
            only(tokens, |at| is_word(tokens, at, name))
        }
        // A definition of the column has its type behind the name.
        Kind::InvalidObjectDefinition => {
            let name = message.strip_prefix("cannot use generated column \"")?.split('"').next()?;
            only(tokens, |at| is_word(tokens, at, name) && !tokens.get(at + 1).is_some_and(|next| matches!(next.token, Token::Word(_))))
        }
        Kind::DatatypeMismatch => mismatch(message, tokens),
        Kind::InvalidColumnReference => {
            let number = message.split_once(" BY position ")?.1.split(' ').next()?;
            only(tokens, |at| matches!(&tokens[at].token, Token::Number(digits, _) if digits == number))
        }
        Kind::Windowing if message.ends_with("not allowed in WHERE") => behind_where(tokens, |at| is_call(tokens, at)),
        Kind::Grouping if message.ends_with("not allowed in WHERE") => behind_where(tokens, |at| is_aggregate(tokens, at)),
        Kind::Grouping if message.ends_with("cannot be nested") => {
            (2..tokens.len()).find(|at| is_aggregate(tokens, *at) && is_aggregate(tokens, *at - 2))
        }
        Kind::Syntax if message.starts_with("subquery must return") => {
            only(tokens, |at| tokens[at].token == Token::LParen && is_word(tokens, at + 1, "select"))
        }
        Kind::Grouping if message.starts_with("arguments to GROUPING ") => {
            only(tokens, |at| is_word(tokens, at, "grouping")).map(|at| at + 2)
        }
        Kind::Syntax if message.starts_with("syntax error at or near \"'") => {
            only(tokens, |at| message.ends_with(&format!("\"{}\"", tokens[at].token)))
        }
        Kind::Syntax if message == "INSERT has more target columns than expressions" => surplus_column(tokens),
        Kind::Syntax => behind_union(tokens, message.strip_prefix("each ")?.split(' ').next()?),
        _ => None,
    }
}

/// The token that a type does not fit at.
fn mismatch(message: &str, tokens: &[TokenWithSpan]) -> Option<usize> {
    if message.starts_with("argument of IS ") {
        return only(tokens, |at| is_word(tokens, at, "is")).and_then(|at| name_before(tokens, at));
    }
    if message.starts_with("cannot subscript ") {
        return only(tokens, |at| tokens[at].token == Token::LBracket).and_then(|at| name_before(tokens, at));
    }
    if message.starts_with("UNION types ") {
        return behind_union(tokens, "union");
    }
    if message.ends_with(" cannot be matched") {
        let construct = message.split(' ').next()?;
        return only(tokens, |at| is_word(tokens, at, construct));
    }
    let clause = message.strip_prefix("argument of ")?.split([' ', '/']).find(|word| !["CASE", "JOIN"].contains(word))?;
    // The operand may stand on either side.
    if ["AND", "OR"].contains(&clause) {
        return None;
    }
    only(tokens, |at| is_word(tokens, at, clause)).map(|at| at + 1)
}

/// The word that PostgreSQL's name of an operator stands for.
fn like(operator: &str) -> Option<&'static str> {
    match operator {
        "~~" | "!~~" => Some("like"),
        "~~*" | "!~~*" => Some("ilike"),
        _ => None,
    }
}

/// The first part of the dotted name before a token.
fn name_before(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let mut start = at.checked_sub(1)?;
    while start >= 2 && tokens[start - 1].token == Token::Period {
        start -= 2;
    }
    matches!(tokens[start].token, Token::Word(_)).then_some(start)
}

/// The first column of an INSERT that the first row of its VALUES has no value for.
fn surplus_column(tokens: &[TokenWithSpan]) -> Option<usize> {
    let open = tokens.iter().position(|token| token.token == Token::LParen)?;
    let close = (open..tokens.len()).find(|at| tokens[*at].token == Token::RParen)?;
    let row = close + 2;
    if !is_word(tokens, close + 1, "values") {
        return None;
    }
    let (mut depth, mut values) = (0_usize, 1);
    for token in tokens.get(row..)? {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.checked_sub(1)?,
            Token::Comma if depth == 1 => values += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    Some(open + 1 + 2 * values).filter(|at| *at < close)
}

/// The first item of the SELECT behind the only UNION or its like.
fn behind_union(tokens: &[TokenWithSpan], word: &str) -> Option<usize> {
    let operator = only(tokens, |at| is_word(tokens, at, word))?;
    let select = (operator..tokens.len()).find(|at| is_word(tokens, *at, "select"))?;
    Some(select + 1)
}

/// The token of which something is true, if it is of no other.
fn only(tokens: &[TokenWithSpan], is_it: impl Fn(usize) -> bool) -> Option<usize> {
    let mut found = (0..tokens.len()).filter(|at| is_it(*at));
    let first = found.next();
    if found.next().is_some() { None } else { first }
}

fn behind_where(tokens: &[TokenWithSpan], is_it: impl Fn(usize) -> bool) -> Option<usize> {
    let start = only(tokens, |at| is_word(tokens, at, "where"))?;
    (start..tokens.len()).find(|at| is_it(*at))
}

fn is_call(tokens: &[TokenWithSpan], at: usize) -> bool {
    let named = matches!(&tokens[at].token, Token::Word(word) if word.keyword != sqlparser::keywords::Keyword::IN);
    named && tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen)
}

fn is_aggregate(tokens: &[TokenWithSpan], at: usize) -> bool {
    is_call(tokens, at) && AGGREGATES.iter().any(|name| is_word(tokens, at, name))
}

#[cfg(test)]
mod tests {
    use super::located;
    use crate::error::{Error, Kind};

    #[test]
    fn what_is_named_is_found() {
        let at = |kind: Kind, message: &str, text: &str| located(Error::new(kind, message), text).position();
        let no_operator = "operator does not exist: integer + text";
        assert_eq!(at(Kind::UndefinedFunction, no_operator, "SELECT /* + */ id + name"), Some(19));
        assert_eq!(at(Kind::UndefinedFunction, no_operator, "SELECT id + name, 1 + 2"), None, "one of two");
        assert_eq!(at(Kind::UndefinedFunction, "function f(integer) does not exist", "SELECT f, F (1)"), Some(11));
        assert_eq!(at(Kind::InvalidText, "invalid input syntax for type integer: \"x\"", "SELECT 1, 'ü', 'x'::int"), Some(16));
        assert_eq!(
            at(Kind::Grouping, "aggregate functions are not allowed in WHERE", "SELECT 1 WHERE a IN (1) AND count(*) > 1"),
            Some(29)
        );
        let short = "INSERT has more target columns than expressions";
        assert_eq!(at(Kind::Syntax, short, "INSERT INTO t (a, b, c) VALUES (f(1, 2), ARRAY[3, 4])"), Some(22));
        assert_eq!(at(Kind::Syntax, short, "INSERT INTO t (a, b) SELECT 1"), None, "nobody has counted");
        let of_is = "argument of IS TRUE must be type boolean, not type text";
        assert_eq!(at(Kind::DatatypeMismatch, of_is, "SELECT 1, t.name IS TRUE FROM t"), Some(11));
        assert_eq!(at(Kind::UndefinedFunction, "operator does not exist: integer !~~ unknown", "SELECT n NOT LIKE '1'"), Some(10));
        assert_eq!(at(Kind::Syntax, "syntax error at or near \"'b'\"", "SELECT 'a' 'b'"), Some(12));
        assert_eq!(at(Kind::Syntax, "each UNION query must have the same number of columns", "SELECT 1 UNION ALL SELECT 1, 2"), Some(27));
    }
}
