//! COMMENT ON object IS text.

use sqlparser::tokenizer::Token;

use super::function::function_name;
use super::parse::{relation_kind, schema_name};
use super::reader::{Reader, name_of};
use super::statement::{DropKind, Name, Statement};
use super::unsupported;
use crate::error::Result;

/// COMMENT ON kind name IS 'text' | NULL.
pub(super) fn comment(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["comment", "on"])?;
    let (kind, name, column) = subject(reader)?;
    reader.expect(&["is"])?;
    let text = if reader.accept(&["null"]) { None } else { Some(reader.string()?) };
    Ok(Statement::Comment { kind, name, column, text: text.filter(|text| !text.is_empty()) })
}

fn subject(reader: &mut Reader<'_>) -> Result<(Option<DropKind>, Name, Option<String>)> {
    if reader.accept(&["column"]) {
        let position = reader.position();
        let mut parts = vec![reader.identifier()?];
        while reader.accept_token(&Token::Period) {
            parts.push(reader.label()?);
        }
        let column = parts.pop().filter(|_| !parts.is_empty());
        let Some(column) = column else { return Err(reader.unexpected().detail("Expected a relation, a dot and a column.")) };
        return Ok((None, name_of(parts, position)?, Some(column)));
    }
    if reader.accept(&["schema"]) {
        return Ok((Some(DropKind::Schema), schema_name(reader)?, None));
    }
    if reader.accept(&["function"]) {
        return Ok((Some(DropKind::Function), function_name(reader)?, None));
    }
    if reader.accept(&["foreign", "table"]) {
        return Ok((Some(DropKind::Source), reader.name()?, None));
    }
    match relation_kind(reader)? {
        Some(kind) => Ok((Some(kind), reader.name()?, None)),
        None => Err(unsupported::object(reader, "COMMENT ON")),
    }
}
