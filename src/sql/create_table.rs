//! CREATE TABLE and CREATE SOURCE: columns, key, and the streaming clauses behind them.

use std::collections::BTreeMap;

use sqlparser::ast::{DataType, Expr, TimezoneInfo};
use sqlparser::tokenizer::Token;

use super::dialect::{DEFINITION, QUERY};
use super::options::options;
use super::reader::Reader;
use super::statement::{ColumnDefinition, CreateTable};
use crate::error::{Error, Kind, Result};
use crate::types::{Include, OnConflict};

/// Constraints we know of but do not keep, and what to do instead.
const CONSTRAINTS: &[(&str, &str)] = &[
    ("unique", "Only the PRIMARY KEY is kept unique."),
    ("check", "Filter the rows in a view."),
    ("foreign", "Join the tables in a view to find rows without a partner."),
    ("references", "Join the tables in a view to find rows without a partner."),
    ("exclude", "Only the PRIMARY KEY is kept unique."),
];

/// Whether an expression is `PROCTIME()`, and nothing else.
pub fn is_proctime(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_proctime(inner),
        Expr::Function(_) => ["proctime()", "pg_catalog.proctime()"].contains(&expr.to_string().to_ascii_lowercase().as_str()),
        _ => false,
    }
}

/// What is read on the way, before it is known to fit together.
#[derive(Default)]
struct Definition {
    columns: Vec<ColumnDefinition>,
    key: Option<Vec<String>>,
    /// Where the key's columns are named.
    key_position: usize,
    /// What stands where the first column without a type should have one.
    untyped: Option<Error>,
    watermark: Option<(String, Expr)>,
}

/// Reads on behind CREATE TABLE or CREATE SOURCE.
pub(super) fn create_table(reader: &mut Reader<'_>, is_source: bool) -> Result<CreateTable> {
    reader.switch(&DEFINITION);
    let if_not_exists = reader.accept(&["if", "not", "exists"]);
    let name = reader.name()?;
    let mut definition = Definition::default();
    if *reader.peek() == Token::LParen && *reader.peek_nth(1) == Token::RParen {
        reader.advance();
        reader.advance();
    } else if *reader.peek() == Token::LParen {
        reader.parenthesised(|reader| element(reader, &mut definition, &name.name))?;
    }
    let mut table = CreateTable {
        name,
        if_not_exists,
        columns: Vec::new(),
        key: Vec::new(),
        append_only: false,
        on_conflict: None,
        include: Vec::new(),
        options: BTreeMap::new(),
        format: None,
        encode: None,
        encode_options: BTreeMap::new(),
        query: None,
        with_data: true,
        watermark: None,
    };
    let mut has_options = false;
    while clause(reader, &mut table, &mut has_options)? {}
    if reader.accept(&["as"]) {
        if is_source {
            return Err(reader.not_supported("CREATE SOURCE … AS").hint("Use CREATE MATERIALIZED VIEW … AS."));
        }
        reader.switch(&QUERY);
        table.query = Some(reader.query()?);
        table.with_data = !reader.accept(&["with", "no", "data"]);
        reader.accept(&["with", "data"]);
    }
    if let (Some(error), None) = (definition.untyped.take(), &table.query) {
        return Err(error);
    }
    check(&definition, &table.include)?;
    table.columns = definition.columns;
    table.key = definition.key.unwrap_or_default();
    table.watermark = definition.watermark;
    Ok(table)
}

/// The column behind ALTER TABLE … ADD COLUMN.
pub(super) fn added_column(reader: &mut Reader<'_>, table: &str) -> Result<ColumnDefinition> {
    reader.switch(&DEFINITION);
    let (mut definition, position) = (Definition::default(), reader.position());
    column(reader, &mut definition, table)?;
    if definition.key.is_some() {
        return Err(Error::not_supported("ADD COLUMN … PRIMARY KEY is not supported yet")
            .hint("Make a table with the key, and INSERT INTO … SELECT.")
            .at(position));
    }
    if let Some(error) = definition.untyped.take() {
        return Err(error);
    }
    Ok(definition.columns.remove(0))
}

/// One of the things between the parentheses.
fn element(reader: &mut Reader<'_>, definition: &mut Definition, table: &str) -> Result<()> {
    if reader.is(0, "watermark") && reader.is(1, "for") {
        if definition.watermark.is_some() {
            return Err(Error::new(Kind::InvalidTableDefinition, "more than one WATERMARK is not allowed").at(reader.position()));
        }
        reader.expect(&["watermark", "for"])?;
        let column = reader.identifier()?;
        reader.expect(&["as"])?;
        definition.watermark = Some((column, reader.expression()?));
        return Ok(());
    }
    if reader.is(0, "like") {
        return Err(reader.not_supported("LIKE in CREATE TABLE").hint("Write the columns, or use CREATE TABLE … AS SELECT …."));
    }
    if reader.accept(&["constraint"]) {
        reader.identifier()?;
        if !reader.is(0, "primary") {
            return Err(refused_constraint(reader).unwrap_or_else(|| reader.unexpected()));
        }
    }
    if reader.is(0, "primary") && reader.is(1, "key") {
        one_key(reader, definition, table)?;
        reader.expect(&["primary", "key"])?;
        definition.key_position = reader.position();
        definition.key = Some(reader.parenthesised(Reader::identifier)?);
        reader.accept(&["not", "enforced"]);
        return Ok(());
    }
    // A column may be called `check` only in quotes, so that a constraint is told by its first word.
    match refused_constraint(reader) {
        Some(error) => Err(error),
        None => column(reader, definition, table),
    }
}

/// name [type] constraints…
fn column(reader: &mut Reader<'_>, definition: &mut Definition, table: &str) -> Result<()> {
    let position = reader.position();
    let name = reader.identifier()?;
    if definition.columns.iter().any(|other| other.name == name) {
        return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")).at(position));
    }
    let mut column = ColumnDefinition { name, data_type: None, not_null: false, default: None, generated: None, position };
    if matches!(reader.peek(), Token::Comma | Token::RParen | Token::EOF) {
        let error = reader.unexpected().detail("Expected a type.");
        definition.untyped.get_or_insert(error);
    } else if !reader.is(0, "as") && !reader.is(0, "generated") {
        column.data_type = Some(reader.data_type()?);
    }
    while !matches!(reader.peek(), Token::Comma | Token::RParen | Token::EOF) {
        column_constraint(reader, definition, &mut column, table)?;
    }
    if column.data_type.is_none() && column.generated.as_ref().is_some_and(is_proctime) {
        column.data_type = Some(DataType::Timestamp(None, TimezoneInfo::WithTimeZone));
    }
    if let (Some(_), Some(_)) = (&column.default, &column.generated) {
        let message = format!("both default and generation expression specified for column \"{}\"", column.name);
        return Err(Error::new(Kind::Syntax, message).at(position));
    }
    definition.columns.push(column);
    Ok(())
}

/// NOT NULL, NULL, DEFAULT, PRIMARY KEY, GENERATED, AS.
fn column_constraint(reader: &mut Reader<'_>, definition: &mut Definition, column: &mut ColumnDefinition, table: &str) -> Result<()> {
    if reader.accept(&["constraint"]) {
        reader.identifier()?;
    }
    if reader.accept(&["not", "null"]) {
        column.not_null = true;
    } else if reader.accept(&["null"]) {
        // It says what holds anyway.
    } else if reader.is(0, "default") {
        let position = reader.position();
        reader.advance();
        if column.default.is_some() {
            let message = format!("multiple default values specified for column \"{}\" of table \"{table}\"", column.name);
            return Err(Error::new(Kind::Syntax, message).at(position));
        }
        column.default = Some(reader.expression()?);
    } else if reader.is(0, "primary") && reader.is(1, "key") {
        one_key(reader, definition, table)?;
        reader.expect(&["primary", "key"])?;
        definition.key_position = column.position;
        definition.key = Some(vec![column.name.clone()]);
    } else if reader.is(0, "generated") {
        column.generated = Some(generated(reader)?);
    } else if reader.accept(&["as"]) {
        column.generated = Some(reader.expression()?);
        let _ = reader.accept(&["stored"]);
    } else if reader.is(0, "collate") {
        return Err(reader.not_supported("COLLATE in a column's definition").hint("Text is compared by code point."));
    } else {
        return Err(refused_constraint(reader).unwrap_or_else(|| reader.unexpected()));
    }
    Ok(())
}

/// GENERATED ALWAYS AS (expression) STORED
fn generated(reader: &mut Reader<'_>) -> Result<Expr> {
    let is_identity = reader.is(1, "by") || (reader.is(2, "as") && reader.is(3, "identity"));
    if is_identity {
        return Err(reader.not_supported("an IDENTITY column").hint("Give the values with the rows."));
    }
    reader.expect(&["generated", "always", "as"])?;
    reader.expect_token(&Token::LParen)?;
    let expression = reader.expression()?;
    reader.expect_token(&Token::RParen)?;
    if reader.is(0, "virtual") {
        return Err(reader.not_supported("a VIRTUAL generated column").hint("Write STORED."));
    }
    reader.expect(&["stored"])?;
    Ok(expression)
}

/// Refuses a second PRIMARY KEY, which is next.
fn one_key(reader: &Reader<'_>, definition: &Definition, table: &str) -> Result<()> {
    match definition.key {
        None => Ok(()),
        Some(_) => {
            let message = format!("multiple primary keys for table \"{table}\" are not allowed");
            Err(Error::new(Kind::InvalidTableDefinition, message)
                .hint("For a key of several columns, write PRIMARY KEY (a, b) once.")
                .at(reader.position()))
        }
    }
}

/// The refusal of the constraint that is next, if it is one.
fn refused_constraint(reader: &Reader<'_>) -> Option<Error> {
    let (name, hint) = CONSTRAINTS.iter().find(|(name, _)| reader.is(0, name))?;
    let construct = match *name {
        "foreign" | "references" => "a FOREIGN KEY constraint".to_owned(),
        "unique" => "a UNIQUE constraint".to_owned(),
        other => format!("{} {} constraint", if other == "exclude" { "an" } else { "a" }, other.to_ascii_uppercase()),
    };
    Some(reader.not_supported(construct).hint(*hint))
}

/// The key's columns exist, once each; so does the watermark's. A source without columns gets them from its connector.
fn check(definition: &Definition, included: &[(Include, String)]) -> Result<()> {
    let known = |name: &String| {
        definition.columns.is_empty()
            || definition.columns.iter().any(|column| column.name == *name)
            || included.iter().any(|(_, column)| column == name)
    };
    for (index, name) in definition.key.iter().flatten().enumerate() {
        if !known(name) {
            return Err(
                Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in key does not exist")).at(definition.key_position)
            );
        }
        if definition.key.iter().flatten().take(index).any(|other| other == name) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" appears twice in primary key constraint"))
                .at(definition.key_position));
        }
    }
    match &definition.watermark {
        Some((name, _)) if !known(name) => {
            Err(Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in WATERMARK does not exist")))
        }
        _ => Ok(()),
    }
}

/// One clause behind the columns; false if there is none.
fn clause(reader: &mut Reader<'_>, table: &mut CreateTable, has_options: &mut bool) -> Result<bool> {
    if !table.append_only && reader.accept(&["append", "only"]) {
        table.append_only = true;
    } else if table.on_conflict.is_none() && reader.is(0, "on") && reader.is(1, "conflict") {
        reader.expect(&["on", "conflict"])?;
        table.on_conflict = Some(on_conflict(reader)?);
    } else if reader.accept(&["include"]) {
        let include = include(reader)?;
        table.include.push(include);
    } else if !*has_options && reader.accept(&["with"]) {
        *has_options = true;
        table.options = options(reader)?;
    } else if table.format.is_none() && reader.accept(&["format"]) {
        table.format = Some(reader.label()?.to_ascii_uppercase());
        if reader.accept(&["encode"]) {
            table.encode = Some(reader.label()?.to_ascii_uppercase());
            if *reader.peek() == Token::LParen {
                table.encode_options = options(reader)?;
            }
        }
    } else {
        const REFUSED: [(&str, &str); 4] = [
            ("inherits", "Write all columns."),
            ("partition", "Rows are spread over the workers by their key."),
            ("tablespace", "All data lives in the data directory."),
            ("using", "There is one way to store tables."),
        ];
        return match REFUSED.iter().find(|(word, _)| reader.is(0, word)) {
            Some((word, hint)) => Err(reader.not_supported(format!("{} in CREATE TABLE", word.to_ascii_uppercase())).hint(*hint)),
            None => Ok(false),
        };
    }
    Ok(true)
}

/// Behind ON CONFLICT: DO NOTHING | DO UPDATE [FULL] | [DO] OVERWRITE | [DO] ERROR.
fn on_conflict(reader: &mut Reader<'_>) -> Result<OnConflict> {
    reader.accept(&["do"]);
    match reader.accept_one(&["nothing", "update", "overwrite", "error"]) {
        Some("nothing") => Ok(OnConflict::DoNothing),
        Some("error") => Ok(OnConflict::Error),
        Some("update") => {
            if reader.is(0, "if") {
                return Err(reader.not_supported("DO UPDATE IF NOT NULL").hint("DO UPDATE replaces the whole row."));
            }
            reader.accept(&["full"]);
            Ok(OnConflict::Overwrite)
        }
        Some(_) => Ok(OnConflict::Overwrite),
        None => Err(reader.unexpected().detail("Expected DO NOTHING, DO UPDATE, OVERWRITE or ERROR.")),
    }
}

/// Behind INCLUDE: KEY | PARTITION | OFFSET | TIMESTAMP | HEADERS [AS name]. Without a name it is `tm_key` and so on.
fn include(reader: &mut Reader<'_>) -> Result<(Include, String)> {
    let kinds = [
        ("key", Include::Key),
        ("partition", Include::Partition),
        ("offset", Include::Offset),
        ("timestamp", Include::Timestamp),
        ("headers", Include::Headers),
        ("header", Include::Headers),
    ];
    let Some(&(word, include)) = kinds.iter().find(|(word, _)| reader.is(0, word)) else {
        return Err(reader.unexpected().detail("Expected KEY, PARTITION, OFFSET, TIMESTAMP or HEADERS."));
    };
    reader.advance();
    let name = if reader.accept(&["as"]) { reader.label()? } else { format!("tm_{word}") };
    Ok((include, name))
}
