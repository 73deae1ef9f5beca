//! DECLARE, FETCH and MOVE: cursors go forward only.

use sqlparser::tokenizer::Token;

use super::parse::rest;
use super::reader::Reader;
use super::statement::Statement;
use crate::error::{Error, Kind, Result};

/// DECLARE name [BINARY] [ASENSITIVE | INSENSITIVE] [NO SCROLL] CURSOR [WITH HOLD | WITHOUT HOLD] FOR query
pub(super) fn declare(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["declare"])?;
    let name = reader.identifier()?;
    let mut binary = false;
    while !reader.accept(&["cursor"]) {
        if reader.is(0, "scroll") {
            return Err(reader.not_supported("a SCROLL cursor").hint("Cursors go forward only: leave SCROLL out."));
        }
        if reader.accept(&["binary"]) {
            binary = true;
        } else if !reader.accept(&["no", "scroll"]) && !reader.accept(&["insensitive"]) && !reader.accept(&["asensitive"]) {
            return Err(reader.unexpected().detail("Expected CURSOR."));
        }
    }
    let hold = reader.accept(&["with", "hold"]);
    if !hold {
        reader.accept(&["without", "hold"]);
    }
    reader.expect(&["for"])?;
    let unexpected = reader.unexpected();
    let query = rest(reader)?;
    match query.statement {
        Statement::Query(_) => Ok(Statement::Declare { name, hold, binary, query }),
        _ => Err(unexpected.detail("Expected a query.")),
    }
}

/// FETCH or MOVE [NEXT | n | ALL | FORWARD [n | ALL]] [FROM | IN] cursor
pub(super) fn fetch(reader: &mut Reader<'_>, skip: bool) -> Result<Statement> {
    reader.advance();
    let count = count(reader)?;
    reader.accept_one(&["from", "in"]);
    let name = reader.identifier()?;
    if reader.is(0, "with") {
        return Err(reader.not_supported("FETCH … WITH").hint("FETCH returns at once with the rows there are."));
    }
    Ok(Statement::Fetch { name, count, skip })
}

/// How many rows: `None` is ALL, and nothing written is one. A direction's word may be the cursor's name as well; what
/// follows tells.
fn count(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    let position = reader.position();
    let is_name = *reader.peek_nth(1) == Token::EOF;
    if is_name {
        return Ok(Some(1));
    }
    if reader.accept(&["all"]) {
        return Ok(None);
    }
    if reader.accept(&["next"]) {
        return Ok(Some(1));
    }
    if ["prior", "first", "last", "absolute", "relative", "backward"].iter().any(|word| reader.is(0, word)) {
        return Err(backward(position));
    }
    if reader.accept(&["forward"]) && reader.accept(&["all"]) {
        return Ok(None);
    }
    let position = reader.position();
    match reader.accept_number() {
        None => Ok(Some(1)),
        Some(number) if number.starts_with('-') => Err(backward(position)),
        Some(number) => match number.parse() {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(Error::new(Kind::Syntax, format!("syntax error at or near \"{number}\"")).at(position)),
        },
    }
}

/// Rows that have been fetched are gone.
fn backward(position: usize) -> Error {
    Error::new(Kind::ObjectState, "cursor can only scan forward").hint("Use FETCH NEXT, FETCH n or FETCH ALL.").at(position)
}
