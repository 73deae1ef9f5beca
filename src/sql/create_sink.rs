//! CREATE SINK.

use sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::statement::{CreateSink, SinkSource, Statement};
use crate::error::Result;

/// Reads on behind CREATE: SINK [IF NOT EXISTS] name INTO table [(columns)] FROM relation | AS query.
pub(super) fn create_sink(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["sink"])?;
    let if_not_exists = reader.accept(&["if", "not", "exists"]);
    let name = reader.name()?;
    if !reader.accept(&["into"]) {
        if ["from", "as", "with"].iter().any(|word| reader.is(0, word)) {
            let hint = "CREATE SINK … INTO table writes changes into a table; COPY (SELECT …) TO STDOUT gives rows to other systems.";
            return Err(reader.not_supported("CREATE SINK … WITH (connector = …)").hint(hint));
        }
        return Err(reader.unexpected().detail("Expected INTO and a table."));
    }
    let target = reader.name()?;
    let columns = match reader.peek() {
        Token::LParen => reader.parenthesised(Reader::identifier)?,
        _ => Vec::new(),
    };
    let source = if reader.accept(&["from"]) {
        let relation = reader.name()?;
        if reader.is(0, "with") {
            return Err(reader.not_supported("WITH in CREATE SINK … INTO").hint("Leave it out: all changes are written, as they are."));
        }
        SinkSource::Relation(relation)
    } else {
        reader.expect(&["as"])?;
        let mut query = reader.split(0)?;
        let offset = query.offset() - reader.offset();
        let text = query.text().to_owned();
        let parsed = query.query().and_then(|parsed| query.expect_end().map(|()| parsed)).map_err(|error| error.shifted(offset))?;
        SinkSource::Query { query: parsed, text, offset }
    };
    Ok(Statement::CreateSink(CreateSink { name, if_not_exists, target, columns, source }))
}
