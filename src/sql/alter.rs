//! ALTER TABLE, SOURCE, VIEW, MATERIALIZED VIEW and SINK.

use super::create_table::added_column;
use super::options::options;
use super::parse::relation_kind;
use super::reader::Reader;
use super::statement::{Alter, AlterAction, DropKind, Statement};
use super::unsupported;
use crate::error::Result;

/// What is open, closed and late in all that reads a table follows from its watermark.
const WATERMARK_STAYS: &str = "The state of views follows from it. Make a new table or source with the other watermark, its views over it, and SWAP WITH or drop the old ones.";

/// Actions of PostgreSQL that we do not have, and what to do instead.
const REFUSED: &[(&[&str], &str, &str)] = &[
    (&["alter", "watermark"], "ALTER WATERMARK", WATERMARK_STAYS),
    (&["add", "watermark"], "ADD WATERMARK", WATERMARK_STAYS),
    (&["drop", "watermark"], "DROP WATERMARK", WATERMARK_STAYS),
    (&["alter"], "ALTER COLUMN", "Add a column, fill it with UPDATE, and drop the old one."),
    (&["add", "constraint"], "ADD CONSTRAINT", "Only a PRIMARY KEY is kept."),
    (&["add", "unique"], "ADD UNIQUE", "Only the PRIMARY KEY is kept unique."),
    (&["add", "check"], "ADD CHECK", "Filter the rows in a view."),
    (&["add", "foreign"], "ADD FOREIGN KEY", "Join the tables in a view to find rows without a partner."),
    (&["drop", "constraint"], "DROP CONSTRAINT", "Make a table without the key, and INSERT INTO … SELECT."),
    (&["rename", "constraint"], "RENAME CONSTRAINT", "The key's constraint is called after its table."),
    (&["enable"], "ENABLE", "There are no triggers and rules."),
    (&["disable"], "DISABLE", "There are no triggers and rules."),
];

/// ALTER kind [IF EXISTS] name action.
pub(super) fn alter(reader: &mut Reader<'_>) -> Result<Statement> {
    let known = ["table", "source", "view", "materialized", "index", "sink"].iter().any(|word| reader.is(1, word));
    if !known {
        return Err(unsupported::statement(reader));
    }
    reader.expect(&["alter"])?;
    let Some(kind) = relation_kind(reader)? else { return Err(reader.unexpected()) };
    let if_exists = reader.accept(&["if", "exists"]);
    reader.accept(&["only"]);
    let name = reader.name()?;
    if kind == DropKind::Index && !(reader.is(0, "rename") && reader.is(1, "to")) {
        return Err(reader.not_supported("ALTER INDEX of anything but its name").hint("DROP the index and create it again."));
    }
    let of_sink = [["rename", "to"], ["set", "schema"], ["owner", "to"]];
    if kind == DropKind::Sink && !of_sink.iter().any(|[first, second]| reader.is(0, first) && reader.is(1, second)) {
        return Err(reader.not_supported("ALTER SINK of anything but its name").hint("DROP the sink and create it again."));
    }
    let action = action(reader, kind, &name.name)?;
    if *reader.peek() == sqlparser::tokenizer::Token::Comma {
        return Err(reader.not_supported("several changes in one ALTER").hint("Write one ALTER for each."));
    }
    Ok(Statement::Alter(Alter { kind, name, if_exists, action }))
}

fn action(reader: &mut Reader<'_>, kind: DropKind, object: &str) -> Result<AlterAction> {
    let key_at = if reader.is(1, "constraint") { 3 } else { 1 };
    if reader.is(0, "add") && reader.is(key_at, "primary") && reader.is(key_at + 1, "key") {
        refuse_of_view(reader, kind, "ADD PRIMARY KEY")?;
        // A name of its own is read over: the constraint is called after its table.
        (0..key_at + 2).for_each(|_| drop(reader.advance()));
        return Ok(AlterAction::AddPrimaryKey(reader.parenthesised(Reader::identifier)?));
    }
    for (words, construct, hint) in REFUSED {
        let found = words.iter().enumerate().all(|(n, word)| match *word {
            "(" => *reader.peek_nth(n) == sqlparser::tokenizer::Token::LParen,
            word => reader.is(n, word),
        });
        if found {
            return Err(reader.not_supported(construct).hint(*hint));
        }
    }
    if reader.accept(&["rename"]) {
        if reader.accept(&["to"]) {
            return Ok(AlterAction::RenameTo(reader.identifier()?));
        }
        reader.accept(&["column"]);
        let from = reader.identifier()?;
        reader.expect(&["to"])?;
        return Ok(AlterAction::RenameColumn { from, to: reader.identifier()? });
    }
    if reader.accept(&["set", "schema"]) {
        return Ok(AlterAction::SetSchema(reader.identifier()?));
    }
    if matches!(reader.peek_nth(1), sqlparser::tokenizer::Token::LParen) && reader.accept_one(&["set"]).is_some() {
        return Ok(AlterAction::SetOptions(options(reader)?));
    }
    if matches!(reader.peek_nth(1), sqlparser::tokenizer::Token::LParen) && reader.accept_one(&["reset"]).is_some() {
        return Ok(AlterAction::ResetOptions(options(reader)?.into_keys().collect()));
    }
    if reader.accept(&["owner", "to"]) {
        return Ok(AlterAction::OwnerTo(reader.label()?));
    }
    if reader.accept(&["swap", "with"]) {
        return Ok(AlterAction::SwapWith(reader.name()?));
    }
    if reader.is(0, "add") {
        refuse_of_view(reader, kind, "ADD COLUMN")?;
        reader.advance();
        reader.accept(&["column"]);
        let if_not_exists = reader.accept(&["if", "not", "exists"]);
        return Ok(AlterAction::AddColumn { definition: Box::new(added_column(reader, object)?), if_not_exists });
    }
    if reader.is(0, "drop") {
        refuse_of_view(reader, kind, "DROP COLUMN")?;
        reader.advance();
        reader.accept(&["column"]);
        let if_exists = reader.accept(&["if", "exists"]);
        let name = reader.identifier()?;
        let cascade = reader.accept_one(&["cascade", "restrict"]) == Some("cascade");
        return Ok(AlterAction::DropColumn { name, if_exists, cascade });
    }
    Err(reader.unexpected())
}

fn refuse_of_view(reader: &Reader<'_>, kind: DropKind, construct: &str) -> Result<()> {
    match kind {
        DropKind::View => Err(reader.not_supported(format!("{construct} of a view")).hint("CREATE OR REPLACE VIEW changes its query.")),
        DropKind::MaterializedView => Err(reader
            .not_supported(format!("{construct} of a materialized view"))
            .hint("CREATE OR REPLACE MATERIALIZED VIEW changes its query.")),
        _ => Ok(()),
    }
}
