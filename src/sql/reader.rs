//! One statement's tokens, read from left to right.
//!
//! Wraps sqlparser's `Parser`: our statements are read word by word, expressions, types and queries are sqlparser's.
//! Always: positions are 1-based characters in the statement's own text, and no message of sqlparser's gets out.

use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::dialect::{QUERY, TidemillDialect};
use super::keywords::is_reserved;
use super::position::{locate, rebase};
use super::query::Normalize;
use super::statement::Name;
use super::walk::WalkMut;
use crate::error::{Error, Kind, Result};

/// Nested expressions and queries. sqlparser grows its stack as needed; the passes behind it walk the tree again.
const NESTING_MAX: usize = 100;

/// The only database there is: the one name a three-part name may start with.
const DATABASE: &str = "tidemill";

/// Reads one statement.
pub(super) struct Reader<'t> {
    parser: Parser<'static>,
    text: &'t str,
    /// Characters of the whole text before `text`.
    offset: usize,
}

impl<'t> Reader<'t> {
    /// A reader of `tokens`, whose places count from the start of `text`; `offset` characters stand before that.
    pub(super) fn new(tokens: Vec<TokenWithSpan>, text: &'t str, offset: usize) -> Self {
        Reader { parser: parser(&QUERY, tokens), text, offset }
    }

    /// The statement's text.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// Characters of the whole text before the statement's.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Goes on with another dialect.
    pub(super) fn switch(&mut self, dialect: &'static TidemillDialect) {
        let rest = self.take_rest();
        self.parser = parser(dialect, rest);
    }

    /// A reader of everything not yet read but the last `left_over` tokens, with its own text; these stay here.
    pub(super) fn split(&mut self, left_over: usize) -> Result<Reader<'t>> {
        let mut tokens = self.take_rest();
        let kept = tokens.split_off(tokens.len().saturating_sub(left_over));
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            self.parser = parser(&QUERY, kept);
            return Err(self.unexpected());
        };
        let (start, end) = (locate(self.text, first.span.start), locate(self.text, last.span.end));
        self.parser = parser(&QUERY, kept);
        rebase(&mut tokens);
        Ok(Reader::new(tokens, &self.text[start.byte..end.byte], self.offset + start.characters))
    }

    /// The next token, which may be `EOF`.
    pub(super) fn peek(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    /// The token `n` after the next.
    pub(super) fn peek_nth(&self, n: usize) -> &Token {
        &self.parser.peek_nth_token_ref(n).token
    }

    /// Whether the word `n` after the next is `word`, unquoted and in any case.
    pub(super) fn is(&self, n: usize, word: &str) -> bool {
        matches!(self.peek_nth(n), Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    /// The next word in lower case, if it is an unquoted one.
    pub(super) fn peek_word(&self) -> Option<String> {
        match self.peek() {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// The first word behind a closing parenthesis that is in no other, if it is neither AS nor a name: where the statement behind WITH begins.
    pub(super) fn word_behind_parentheses(&self) -> Option<String> {
        let (mut depth, mut closed) = (0_usize, false);
        for index in self.parser.index().. {
            match &self.parser.token_at(index).token {
                Token::EOF => return None,
                Token::Whitespace(_) => continue,
                Token::LParen => depth += 1,
                Token::RParen if depth > 0 => {
                    depth -= 1;
                    closed = depth == 0;
                    continue;
                }
                Token::Word(word) if closed && word.quote_style.is_none() && !word.value.eq_ignore_ascii_case("as") => {
                    return Some(word.value.to_ascii_lowercase());
                }
                _ => {}
            }
            closed = false;
        }
        None
    }

    /// Whether everything has been read.
    pub(super) fn at_end(&self) -> bool {
        *self.peek() == Token::EOF
    }

    /// How many tokens have not been read.
    pub(super) fn tokens_left(&self) -> usize {
        (self.parser.index()..).take_while(|index| self.parser.token_at(*index).token != Token::EOF).count()
    }

    /// Steps over the next token.
    pub(super) fn advance(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    /// Steps over `words` if they are next.
    pub(super) fn accept(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, word)| self.is(n, word));
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    /// Steps over the first of `words` that is next.
    pub(super) fn accept_one<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        words.iter().copied().find(|word| self.accept(&[word]))
    }

    /// Steps over `words`, or tells which was missing.
    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.accept(&[word]) {
                return Err(self.unexpected().detail(format!("Expected {}.", word.to_ascii_uppercase())));
            }
        }
        Ok(())
    }

    /// Steps over `token` if it is next.
    pub(super) fn accept_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// Steps over `token`, or says it was missing.
    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.accept_token(token) { Ok(()) } else { Err(self.unexpected().detail(format!("Expected \"{token}\"."))) }
    }

    /// Refuses anything left over.
    pub(super) fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// A list in parentheses.
    pub(super) fn parenthesised<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect_token(&Token::LParen)?;
        let items = self.comma_separated(item)?;
        self.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// One or more, with commas between.
    pub(super) fn comma_separated<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A name: in lower case unless quoted, and not a reserved word.
    pub(super) fn identifier(&mut self) -> Result<String> {
        if let Token::Word(word) = self.peek()
            && (word.quote_style.is_some() || !is_reserved(&word.value.to_ascii_lowercase()))
        {
            return self.label();
        }
        Err(self.unexpected().detail("Expected a name."))
    }

    /// A name that may be a reserved word: after a dot, or after AS.
    pub(super) fn label(&mut self) -> Result<String> {
        match self.peek() {
            Token::Word(word) if word.value.is_empty() => {
                let position = self.position();
                Err(Error::new(Kind::Syntax, "zero-length delimited identifier").at(position))
            }
            Token::Word(word) => {
                let name = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_ascii_lowercase() };
                self.parser.advance_token();
                Ok(name)
            }
            _ => Err(self.unexpected().detail("Expected a name.")),
        }
    }

    /// `[[database.]schema.]name`
    pub(super) fn name(&mut self) -> Result<Name> {
        let position = self.position();
        let mut parts = vec![self.identifier()?];
        while self.accept_token(&Token::Period) {
            parts.push(self.label()?);
        }
        name_of(parts, position)
    }

    /// The text of a string literal of any form, if that is next.
    pub(super) fn accept_string(&mut self) -> Option<String> {
        let text = match self.peek() {
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text)
            | Token::NationalStringLiteral(text) => text.clone(),
            Token::DollarQuotedString(text) => text.value.clone(),
            _ => return None,
        };
        self.parser.advance_token();
        Some(text)
    }

    /// Whether a string literal is next.
    pub(super) fn peek_is_string(&self) -> bool {
        matches!(self.peek(), Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_))
    }

    /// The text of a string literal.
    pub(super) fn string(&mut self) -> Result<String> {
        self.accept_string().ok_or_else(|| self.unexpected().detail("Expected a string in single quotes."))
    }

    /// A number's text, with its sign, if that is next.
    pub(super) fn accept_number(&mut self) -> Option<String> {
        let sign = usize::from(matches!(self.peek(), Token::Minus | Token::Plus));
        let Token::Number(digits, _) = self.peek_nth(sign) else { return None };
        let text = if *self.peek() == Token::Minus { format!("-{digits}") } else { digits.clone() };
        (0..=sign).for_each(|_| self.parser.advance_token());
        Some(text)
    }

    /// What sqlparser reads: an expression, a type, DML.
    pub(super) fn ast<T>(&mut self, read: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>) -> Result<T> {
        read(&mut self.parser).map_err(|error| self.syntax_error(&error))
    }

    /// An expression.
    pub(super) fn expression(&mut self) -> Result<ast::Expr> {
        let mut expression = self.ast(Parser::parse_expr)?;
        self.normalize(&mut expression)?;
        Ok(expression)
    }

    /// A type.
    pub(super) fn data_type(&mut self) -> Result<ast::DataType> {
        self.ast(Parser::parse_data_type)
    }

    /// A query that only reads.
    pub(super) fn query(&mut self) -> Result<Box<ast::Query>> {
        let mut query = self.ast(Parser::parse_query)?;
        self.normalize(query.as_mut())?;
        Ok(query)
    }

    /// Brings the names in `tree` into our form, and refuses what is no plain query.
    pub(super) fn normalize(&self, tree: &mut impl WalkMut) -> Result<()> {
        match tree.walk_mut(&mut Normalize { text: self.text }) {
            std::ops::ControlFlow::Continue(()) => Ok(()),
            std::ops::ControlFlow::Break(error) => Err(error),
        }
    }

    /// 1-based character position of the next token.
    pub(super) fn position(&self) -> usize {
        self.position_of_nth(0)
    }

    /// 1-based character position of the token `n` after the next.
    pub(super) fn position_of_nth(&self, n: usize) -> usize {
        let next = self.parser.peek_nth_token_ref(n);
        if next.token == Token::EOF { self.text.chars().count() + 1 } else { position_of(self.text, next.span.start) }
    }

    /// The next token is not what may stand here.
    pub(super) fn unexpected(&self) -> Error {
        self.near(self.parser.peek_token_ref())
    }

    /// `construct` is next and valid SQL, but not supported.
    pub(super) fn not_supported(&self, construct: impl std::fmt::Display) -> Error {
        Error::not_supported(format!("{construct} is not supported yet")).at(self.position())
    }

    /// PostgreSQL's words for "this token cannot stand here".
    fn near(&self, token: &TokenWithSpan) -> Error {
        if token.token == Token::EOF {
            return Error::new(Kind::Syntax, "syntax error at end of input").at(self.text.chars().count() + 1);
        }
        if let Some(error) = self.as_of(token) {
            return error;
        }
        let (start, end) = (locate(self.text, token.span.start), locate(self.text, token.span.end));
        let written = &self.text[start.byte..end.byte];
        Error::new(Kind::Syntax, format!("syntax error at or near \"{written}\"")).at(start.characters + 1)
    }

    /// The error of whoever asks for a table as it was: `t AS OF …` is an alias and more, `t FOR SYSTEM_TIME AS OF …` a lock.
    fn as_of(&self, token: &TokenWithSpan) -> Option<Error> {
        let mut before: Vec<&TokenWithSpan> = Vec::new();
        for other in (0..).map(|index| self.parser.token_at(index)).take_while(|other| other.token != Token::EOF) {
            if other.span.start >= token.span.start {
                break;
            }
            if !matches!(other.token, Token::Whitespace(_)) {
                before.push(other);
            }
        }
        let is = |token: &TokenWithSpan, word: &str| matches!(&token.token, Token::Word(found) if found.value.eq_ignore_ascii_case(word));
        let start = match before.as_slice() {
            [.., as_word, of] if is(as_word, "as") && is(of, "of") => as_word,
            [.., for_word] if is(for_word, "for") && is(token, "system_time") => for_word,
            _ => return None,
        };
        let error = Error::not_supported("AS OF (rows as they were at an earlier time) is not supported yet");
        Some(
            error
                .hint("A query reads the newest rows; keep those of earlier times in a table.")
                .at(position_of(self.text, start.span.start)),
        )
    }

    /// sqlparser's error in PostgreSQL's words. Its texts end in ` at Line: l, Column: c`, unless at the end of input.
    fn syntax_error(&self, error: &ParserError) -> Error {
        let text = match error {
            ParserError::RecursionLimitExceeded => {
                return Error::new(Kind::TooComplex, format!("statement is nested more than {NESTING_MAX} levels deep"))
                    .hint("Give parts of it a name with WITH or CREATE VIEW.")
                    .at(self.position());
            }
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        };
        let (message, location) = split_location(text);
        let token = match location {
            Some(location) => (0..)
                .map(|index| self.parser.token_at(index))
                .find(|token| token.token == Token::EOF || token.span.start >= location)
                .expect("the parser answers EOF behind the last token"),
            None if message.ends_with("found: EOF") => self.parser.token_at(usize::MAX),
            None => self.parser.get_current_token(),
        };
        let error = self.near(token);
        let expected = message.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: "));
        match expected {
            Some((expected, _)) => error.detail(format!("Expected {expected}.")),
            None => error,
        }
    }

    /// Removes and returns the tokens not yet read.
    fn take_rest(&mut self) -> Vec<TokenWithSpan> {
        let read = std::mem::replace(&mut self.parser, parser(&QUERY, Vec::new()));
        let index = read.index();
        let mut tokens = read.into_tokens();
        tokens.split_off(index.min(tokens.len()))
    }
}

/// A name from its parts.
pub(super) fn name_of(mut parts: Vec<String>, position: usize) -> Result<Name> {
    if parts.len() == 3 && parts[0] == DATABASE {
        parts.remove(0);
    }
    if parts.len() > 2 {
        let written = parts.join(".");
        return Err(Error::not_supported(format!("cross-database references are not implemented: \"{written}\""))
            .hint(format!("There is one database, \"{DATABASE}\": write schema.name."))
            .at(position));
    }
    let name = parts.pop().expect("a name has at least one part");
    Ok(Name { schema: parts.pop(), name, position })
}

/// 1-based character position of `location`.
pub(super) fn position_of(text: &str, location: Location) -> usize {
    locate(text, location).characters + 1
}

/// A parser of `tokens`.
fn parser(dialect: &'static TidemillDialect, tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(dialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens)
}

/// Cuts ` at Line: l, Column: c` off the end of `text`.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let located = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location::new(line.parse().ok()?, column.parse().ok()?)))
    });
    located.map_or((text, None), |(message, location)| (message, Some(location)))
}
