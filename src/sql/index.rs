//! CREATE INDEX.

use sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::statement::{CreateIndex, Statement};
use crate::error::Result;

/// Reads on behind CREATE: [UNIQUE] INDEX [CONCURRENTLY] [[IF NOT EXISTS] name] ON relation [USING method] (columns) [INCLUDE (columns)].
pub(super) fn create_index(reader: &mut Reader<'_>) -> Result<Statement> {
    if reader.is(0, "unique") {
        return Err(reader.not_supported("CREATE UNIQUE INDEX").hint("Only the PRIMARY KEY is kept unique; leave UNIQUE out."));
    }
    reader.expect(&["index"])?;
    reader.accept(&["concurrently"]);
    let if_not_exists = reader.accept(&["if", "not", "exists"]);
    let name = if reader.is(0, "on") { None } else { Some(reader.identifier()?) };
    reader.expect(&["on"])?;
    reader.accept(&["only"]);
    let relation = reader.name()?;
    if reader.accept(&["using"]) {
        let known = ["btree", "hash"].iter().any(|method| reader.is(0, method));
        if !known {
            return Err(reader.not_supported("this index method").hint("Leave USING out: an index finds rows by equality."));
        }
        reader.advance();
    }
    let columns = reader.parenthesised(column)?;
    let include = if reader.accept(&["include"]) { reader.parenthesised(Reader::identifier)? } else { Vec::new() };
    for (word, construct) in
        [("where", "a partial index"), ("with", "WITH in CREATE INDEX"), ("tablespace", "TABLESPACE"), ("nulls", "NULLS in CREATE INDEX")]
    {
        if reader.is(0, word) {
            return Err(reader.not_supported(construct).hint("Leave it out."));
        }
    }
    Ok(Statement::CreateIndex(CreateIndex { name, if_not_exists, relation, columns, include }))
}

/// A column with what PostgreSQL lets stand behind it; an order means nothing to an index for equalities.
fn column(reader: &mut Reader<'_>) -> Result<String> {
    if *reader.peek() == Token::LParen || *reader.peek_nth(1) == Token::LParen {
        return Err(reader.not_supported("an index on an expression").hint("Add a column GENERATED ALWAYS AS it, or put it into a view."));
    }
    let name = reader.identifier()?;
    reader.accept_one(&["asc", "desc"]);
    if reader.accept(&["nulls"]) && reader.accept_one(&["first", "last"]).is_none() {
        return Err(reader.unexpected());
    }
    Ok(name)
}
