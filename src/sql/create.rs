//! CREATE VIEW, CREATE MATERIALIZED VIEW, CREATE SCHEMA; tables and sources are in `create_table`, sinks in `create_sink`.

use super::options::options;
use super::parse::schema_name;
use super::reader::Reader;
use super::statement::{CreateView, Statement};
use super::{create_sink, create_table, function, index, unsupported};
use crate::error::Result;

/// The words behind a view's query that ask for finished windows only.
const EMIT: [&str; 4] = ["emit", "on", "window", "close"];

/// CREATE [OR REPLACE] ….
pub(super) fn create(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["create"])?;
    let or_replace = reader.accept(&["or", "replace"]);
    if ["temp", "temporary", "local", "global"].iter().any(|word| reader.is(0, word)) {
        return Err(reader.not_supported("a temporary table or view").hint("Use a table in a schema of its own, and drop it afterwards."));
    }
    if reader.is(0, "unlogged") {
        return Err(reader.not_supported("CREATE UNLOGGED TABLE").hint("Use CREATE TABLE."));
    }
    if reader.is(0, "materialized") {
        reader.advance();
        reader.expect(&["view"])?;
        return Ok(Statement::CreateMaterializedView(view(reader, or_replace)?));
    }
    if reader.accept(&["view"]) {
        return Ok(Statement::CreateView(view(reader, or_replace)?));
    }
    if reader.is(0, "recursive") && reader.is(1, "view") {
        return Err(reader.not_supported("CREATE RECURSIVE VIEW").hint("Use CREATE VIEW … AS WITH RECURSIVE …."));
    }
    if reader.accept(&["function"]) {
        return function::create_function(reader, or_replace);
    }
    if or_replace && ["table", "source", "schema", "sink"].iter().any(|word| reader.is(0, word)) {
        return Err(reader.not_supported("OR REPLACE for anything but a view").hint("Drop it first, or use IF NOT EXISTS."));
    }
    if reader.accept(&["table"]) {
        return Ok(Statement::CreateTable(create_table::create_table(reader, false)?));
    }
    if reader.accept(&["source"]) {
        return Ok(Statement::CreateSource(create_table::create_table(reader, true)?));
    }
    if reader.is(0, "index") || (reader.is(0, "unique") && reader.is(1, "index")) {
        return index::create_index(reader);
    }
    if reader.is(0, "sink") {
        return create_sink::create_sink(reader);
    }
    if reader.accept(&["schema"]) {
        let if_not_exists = reader.accept(&["if", "not", "exists"]);
        let name = schema_name(reader)?;
        if reader.is(0, "authorization") {
            return Err(reader.not_supported("AUTHORIZATION"));
        }
        return Ok(Statement::CreateSchema { name, if_not_exists });
    }
    Err(unsupported::object(reader, "CREATE"))
}

/// [IF NOT EXISTS] name [(columns)] [WITH (…)] AS query [WITH DATA] [EMIT ON WINDOW CLOSE].
fn view(reader: &mut Reader<'_>, or_replace: bool) -> Result<CreateView> {
    let if_not_exists = reader.accept(&["if", "not", "exists"]);
    let name = reader.name()?;
    let columns = match reader.peek() {
        sqlparser::tokenizer::Token::LParen => reader.parenthesised(Reader::identifier)?,
        _ => Vec::new(),
    };
    let options = if reader.accept(&["with"]) { options(reader)? } else { Default::default() };
    reader.expect(&["as"])?;
    let emit_on_window_close = ends_with(reader, &EMIT);
    let mut query = reader.split(if emit_on_window_close { EMIT.len() } else { 0 })?;
    if emit_on_window_close {
        reader.expect(&EMIT)?;
    }
    if ends_with(&query, &["with", "no", "data"]) {
        return Err(reader.not_supported("WITH NO DATA").hint("A materialized view is filled as it is created."));
    }
    if ends_with(&query, &["with", "data"]) {
        query = query.split(2)?;
    }
    let query_offset = query.offset() - reader.offset();
    let query_text = query.text().to_owned();
    let parsed = query.query().and_then(|parsed| query.expect_end().map(|()| parsed)).map_err(|error| error.shifted(query_offset))?;
    Ok(CreateView { name, if_not_exists, or_replace, columns, options, query: parsed, query_text, query_offset, emit_on_window_close })
}

/// Whether the last words are `words`, with something before them.
fn ends_with(reader: &Reader<'_>, words: &[&str]) -> bool {
    let left = reader.tokens_left();
    left > words.len() && words.iter().enumerate().all(|(n, word)| reader.is(left - words.len() + n, word))
}
