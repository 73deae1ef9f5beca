//! Text → statements: cuts the text at its semicolons and hands each part to the reader of its first word.

use sqlparser::tokenizer::Token;

use super::foreign::hinted;
use super::located::located;
use super::position::{Walker, rebase};
use super::reader::Reader;
use super::statement::{DropKind, ExplainKind, Name, Parsed, Statement};
use super::{alter, comment, copy, create, function, rows, session, tokens, unsupported};
use crate::error::{Error, Kind, Result};

/// Parses all statements in `text`; text without any, and comments alone, give an empty list.
///
/// Positions in a statement count from its own start; `Parsed::offset` characters of `text` stand before it. An error's
/// position counts from the start of `text`. The places within a statement's AST (sqlparser's `Span`s) are lines and
/// columns of `Parsed::text`, or of `CreateView::query_text` for a view's query.
pub fn parse(text: &str) -> Result<Vec<Parsed>> {
    let mut walker = Walker::new(text);
    let mut parsed = Vec::new();
    for mut tokens in tokens::statements(text)? {
        let (first, last) = (&tokens[0], &tokens[tokens.len() - 1]);
        let (start, end) = (first.span.start, last.span.end);
        let (start, end) = (walker.advance_to(start), walker.advance_to(end));
        rebase(&mut tokens);
        let statement = &text[start.byte..end.byte];
        let reader = Reader::new(tokens, statement, start.characters);
        parsed.push(whole(reader).map_err(|error| hinted(located(error, statement), statement).shifted(start.characters))?);
    }
    Ok(parsed)
}

/// The one statement `reader` holds.
pub(super) fn whole(mut reader: Reader<'_>) -> Result<Parsed> {
    let (text, offset) = (reader.text().to_owned(), reader.offset());
    let statement = statement(&mut reader)?;
    reader.expect_end()?;
    Ok(Parsed { statement, text, offset })
}

/// Reads everything that is left as a statement with a text of its own, for PREPARE and DECLARE.
pub(super) fn rest(reader: &mut Reader<'_>) -> Result<Box<Parsed>> {
    let inner = reader.split(0)?;
    let before = inner.offset() - reader.offset();
    Ok(Box::new(whole(inner).map_err(|error| error.shifted(before))?))
}

/// Reads one statement.
fn statement(reader: &mut Reader<'_>) -> Result<Statement> {
    if *reader.peek() == Token::LParen {
        return Ok(Statement::Query(reader.query()?));
    }
    let Some(word) = reader.peek_word() else { return Err(reader.unexpected()) };
    match word.as_str() {
        "with" if rows::is_behind_with(reader) => rows::with(reader),
        "select" | "with" | "values" => Ok(Statement::Query(reader.query()?)),
        "insert" => rows::insert(reader, None),
        "update" => rows::update(reader, None),
        "delete" => rows::delete(reader, None),
        "truncate" => rows::truncate(reader),
        "create" => create::create(reader),
        "alter" => alter::alter(reader),
        "comment" => comment::comment(reader),
        "drop" => drop_objects(reader),
        "explain" => explain(reader),
        "copy" => copy::copy(reader),
        "flush" => {
            reader.advance();
            Ok(Statement::Flush)
        }
        _ => match session::statement(reader, &word)? {
            Some(statement) => Ok(statement),
            None => Err(unsupported::statement(reader)),
        },
    }
}

/// DROP kind [IF EXISTS] names [CASCADE | RESTRICT].
fn drop_objects(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["drop"])?;
    let kind = match relation_kind(reader)? {
        Some(kind) => kind,
        None if reader.accept(&["schema"]) => DropKind::Schema,
        None if reader.accept(&["function"]) => DropKind::Function,
        None => return Err(unsupported::object(reader, "DROP")),
    };
    if kind == DropKind::Index {
        reader.accept(&["concurrently"]);
    }
    let if_exists = reader.accept(&["if", "exists"]);
    let names = reader.comma_separated(|reader| match kind {
        DropKind::Schema => schema_name(reader),
        DropKind::Function => function::function_name(reader),
        _ => reader.name(),
    })?;
    let cascade = reader.accept_one(&["cascade", "restrict"]) == Some("cascade");
    Ok(Statement::Drop { kind, names, if_exists, cascade })
}

/// TABLE, SOURCE, VIEW, MATERIALIZED VIEW, INDEX, SINK.
pub(super) fn relation_kind(reader: &mut Reader<'_>) -> Result<Option<DropKind>> {
    if reader.accept(&["materialized"]) {
        reader.expect(&["view"])?;
        return Ok(Some(DropKind::MaterializedView));
    }
    Ok(reader.accept_one(&["table", "source", "view", "index", "sink"]).map(|word| match word {
        "table" => DropKind::Table,
        "source" => DropKind::Source,
        "view" => DropKind::View,
        "sink" => DropKind::Sink,
        _ => DropKind::Index,
    }))
}

/// A schema's name, which `tidemill.` may stand before.
pub(super) fn schema_name(reader: &mut Reader<'_>) -> Result<Name> {
    let mut name = reader.name()?;
    match name.schema.take() {
        None => Ok(name),
        Some(database) if database == "tidemill" => Ok(name),
        Some(database) => {
            let message = format!("cross-database references are not implemented: \"{database}.{}\"", name.name);
            Err(Error::not_supported(message).at(name.position))
        }
    }
}

/// EXPLAIN [(options)] [VERBOSE] query | CREATE MATERIALIZED VIEW … | CREATE SINK ….
fn explain(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["explain"])?;
    let mut kind = None;
    let starts_query = ["select", "with", "values"].iter().any(|word| reader.is(1, word)) || *reader.peek_nth(1) == Token::LParen;
    if *reader.peek() == Token::LParen && !starts_query {
        for option in reader.parenthesised(explain_option)? {
            kind = option.or(kind);
        }
    }
    if reader.is(0, "analyze") || reader.is(0, "analyse") {
        return Err(analyze(reader));
    }
    reader.accept(&["verbose"]);
    let position = reader.position();
    let what = reader.peek_word().unwrap_or_default();
    let inner = statement(reader)?;
    let default = match inner {
        Statement::Query(_) => ExplainKind::Physical,
        Statement::CreateMaterializedView(_) | Statement::CreateSink(_) => ExplainKind::Incremental,
        _ => {
            let message = format!("EXPLAIN of {} is not supported yet", what.to_ascii_uppercase());
            return Err(Error::not_supported(message).hint("Explain a query, CREATE MATERIALIZED VIEW or CREATE SINK.").at(position));
        }
    };
    Ok(Statement::Explain { kind: kind.unwrap_or(default), statement: Box::new(inner) })
}

/// One of the options in EXPLAIN's parentheses; those that only concern PostgreSQL's output are read over.
fn explain_option(reader: &mut Reader<'_>) -> Result<Option<ExplainKind>> {
    let position = reader.position();
    let word = reader.peek_word().unwrap_or_default();
    let off = ["false", "off"].iter().any(|off| reader.is(1, off)) || matches!(reader.peek_nth(1), Token::Number(zero, _) if zero == "0");
    let kind = match word.as_str() {
        "analyze" | "analyse" if !off => return Err(analyze(reader)),
        "logical" if !off => Some(ExplainKind::Logical),
        "incremental" if !off => Some(ExplainKind::Incremental),
        "physical" if !off => Some(ExplainKind::Physical),
        "format" if !reader.is(1, "text") => {
            return Err(reader.not_supported("an EXPLAIN format other than TEXT"));
        }
        "analyze" | "analyse" | "logical" | "incremental" | "physical" | "format" | "verbose" | "costs" | "settings" | "buffers"
        | "wal" | "timing" | "summary" | "memory" => None,
        "" => return Err(reader.unexpected()),
        _ => {
            return Err(Error::new(Kind::Syntax, format!("unrecognized EXPLAIN option \"{word}\""))
                .hint("Options are LOGICAL, INCREMENTAL, PHYSICAL and VERBOSE.")
                .at(position));
        }
    };
    reader.advance();
    if !matches!(reader.peek(), Token::Comma | Token::RParen) && reader.accept_number().is_none() {
        reader.label()?;
    }
    Ok(kind)
}

/// EXPLAIN ANALYZE is for later.
fn analyze(reader: &Reader<'_>) -> Error {
    reader.not_supported("EXPLAIN ANALYZE").hint("EXPLAIN without ANALYZE shows the plan.")
}
