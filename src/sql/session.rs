//! Statements about the session: transactions, prepared statements, notifications; settings and cursors have files of their own.

use sqlparser::tokenizer::Token;

use super::parse::rest;
use super::reader::Reader;
use super::statement::{Discard, Statement};
use super::{cursor, settings};
use crate::error::Result;

/// Reads the statement that starts with `word` (lower case, not yet stepped over); `None` if it is none of these.
pub(super) fn statement(reader: &mut Reader<'_>, word: &str) -> Result<Option<Statement>> {
    let statement = match word {
        "set" => settings::set(reader)?,
        "reset" => settings::reset(reader)?,
        "show" => settings::show(reader)?,
        "describe" | "desc" => settings::describe(reader)?,
        "begin" | "start" => begin(reader)?,
        "commit" | "end" | "rollback" | "abort" => end(reader, word)?,
        "savepoint" => {
            reader.advance();
            Statement::Savepoint(reader.label()?)
        }
        "release" => {
            reader.advance();
            reader.accept(&["savepoint"]);
            Statement::Release(reader.label()?)
        }
        "prepare" => prepare(reader)?,
        "execute" => execute(reader)?,
        "deallocate" => {
            reader.advance();
            reader.accept(&["prepare"]);
            Statement::Deallocate { name: all_or_name(reader)? }
        }
        "declare" => cursor::declare(reader)?,
        "fetch" | "move" => cursor::fetch(reader, word == "move")?,
        "close" => {
            reader.advance();
            Statement::Close { name: all_or_name(reader)? }
        }
        "discard" => discard(reader)?,
        "listen" | "unlisten" | "notify" | "vacuum" | "analyze" | "analyse" | "checkpoint" => no_operation(reader, word)?,
        _ => return Ok(None),
    };
    Ok(Some(statement))
}

/// ALL, which is `None`, or a name.
fn all_or_name(reader: &mut Reader<'_>) -> Result<Option<String>> {
    if reader.accept(&["all"]) { Ok(None) } else { Ok(Some(reader.identifier()?)) }
}

/// BEGIN [WORK | TRANSACTION] modes, START TRANSACTION modes.
fn begin(reader: &mut Reader<'_>) -> Result<Statement> {
    if reader.accept(&["start"]) {
        reader.expect(&["transaction"])?;
    } else {
        reader.expect(&["begin"])?;
        reader.accept_one(&["work", "transaction"]);
    }
    Ok(Statement::Begin { read_only: transaction_modes(reader)? })
}

/// ISOLATION LEVEL …, READ ONLY, READ WRITE, [NOT] DEFERRABLE, with or without commas. Every transaction is a snapshot
/// at one epoch whatever its level, so that is checked and forgotten. Out: whether READ ONLY or READ WRITE is among them.
pub(super) fn transaction_modes(reader: &mut Reader<'_>) -> Result<Option<bool>> {
    let mut read_only = None;
    loop {
        if reader.accept(&["isolation", "level"]) {
            let known = [&["serializable"][..], &["repeatable", "read"], &["read", "committed"], &["read", "uncommitted"]];
            if !known.iter().any(|level| reader.accept(level)) {
                return Err(reader.unexpected().detail("Expected an isolation level."));
            }
        } else if reader.accept(&["read", "only"]) {
            read_only = Some(true);
        } else if reader.accept(&["read", "write"]) {
            read_only = Some(false);
        } else if !reader.accept(&["not", "deferrable"]) && !reader.accept(&["deferrable"]) {
            return Ok(read_only);
        }
        if reader.accept_token(&Token::Comma) && reader.at_end() {
            return Err(reader.unexpected());
        }
    }
}

/// COMMIT, END, ROLLBACK, ABORT; ROLLBACK TO.
fn end(reader: &mut Reader<'_>, word: &str) -> Result<Statement> {
    reader.advance();
    if reader.is(0, "prepared") {
        return Err(reader.not_supported("two-phase commit").hint("Use COMMIT or ROLLBACK."));
    }
    reader.accept_one(&["work", "transaction"]);
    if word == "rollback" && reader.accept(&["to"]) {
        reader.accept(&["savepoint"]);
        return Ok(Statement::RollbackTo(reader.label()?));
    }
    if reader.is(0, "and") && reader.is(1, "chain") {
        return Err(reader.not_supported("AND CHAIN").hint("Send BEGIN afterwards."));
    }
    reader.accept(&["and", "no", "chain"]);
    Ok(if matches!(word, "commit" | "end") { Statement::Commit } else { Statement::Rollback })
}

/// PREPARE name [(types)] AS statement
fn prepare(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["prepare"])?;
    if reader.is(0, "transaction") && matches!(reader.peek_nth(1), Token::SingleQuotedString(_)) {
        return Err(reader.not_supported("two-phase commit").hint("Use COMMIT."));
    }
    let name = reader.identifier()?;
    let types = if *reader.peek() == Token::LParen { reader.parenthesised(Reader::data_type)? } else { Vec::new() };
    reader.expect(&["as"])?;
    let unexpected = reader.unexpected();
    let statement = rest(reader)?;
    match statement.statement {
        Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
            Ok(Statement::Prepare { name, types, statement })
        }
        _ => Err(unexpected.detail("Expected SELECT, INSERT, UPDATE, DELETE or VALUES.")),
    }
}

/// EXECUTE name [(values)]
fn execute(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["execute"])?;
    let name = reader.identifier()?;
    let arguments = match (reader.peek(), reader.peek_nth(1)) {
        (Token::LParen, Token::RParen) => {
            reader.advance();
            reader.advance();
            Vec::new()
        }
        (Token::LParen, _) => reader.parenthesised(Reader::expression)?,
        _ => Vec::new(),
    };
    Ok(Statement::Execute { name, arguments })
}

/// DISCARD ALL | PLANS | SEQUENCES | TEMP | TEMPORARY
fn discard(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["discard"])?;
    Ok(Statement::Discard(match reader.accept_one(&["all", "plans", "sequences", "temp", "temporary"]) {
        Some("all") => Discard::All,
        Some("plans") => Discard::Plans,
        Some("sequences") => Discard::Sequences,
        Some(_) => Discard::Temp,
        None => return Err(reader.unexpected().detail("Expected ALL, PLANS, SEQUENCES or TEMP.")),
    }))
}

/// Statements that tools send and that have nothing to do here.
fn no_operation(reader: &mut Reader<'_>, word: &str) -> Result<Statement> {
    reader.advance();
    let tag = match word {
        "listen" => {
            reader.identifier()?;
            "LISTEN"
        }
        "unlisten" => {
            if !reader.accept_token(&Token::Mul) {
                reader.identifier()?;
            }
            "UNLISTEN"
        }
        "notify" => {
            reader.identifier()?;
            if reader.accept_token(&Token::Comma) {
                reader.string()?;
            }
            "NOTIFY"
        }
        "checkpoint" => "CHECKPOINT",
        _ => {
            maintenance(reader)?;
            if word == "vacuum" { "VACUUM" } else { "ANALYZE" }
        }
    };
    Ok(Statement::NoOperation(tag))
}

/// What may stand behind VACUUM and ANALYZE: options, then tables with columns.
fn maintenance(reader: &mut Reader<'_>) -> Result<()> {
    if *reader.peek() == Token::LParen {
        reader.parenthesised(|reader| {
            reader.label()?;
            if !matches!(reader.peek(), Token::Comma | Token::RParen) && reader.accept_number().is_none() {
                reader.label()?;
            }
            Ok(())
        })?;
    }
    while reader.accept_one(&["full", "freeze", "verbose", "analyze", "analyse"]).is_some() {}
    if !reader.at_end() {
        reader.comma_separated(|reader| {
            reader.name()?;
            if *reader.peek() == Token::LParen {
                reader.parenthesised(Reader::identifier)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
