//! INSERT, UPDATE, DELETE, with queries named before them or not, and TRUNCATE: sqlparser reads them, we keep what PostgreSQL has and refuse the
//! other dialects' rest.

use sqlparser::ast::{self, AssignmentTarget, ObjectName, ObjectNamePart};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::as_of::mark_joins;
use super::query::folded;
use super::reader::{Reader, name_of};
use super::statement::{Insert, InsertConflict, Name, Statement, WithQueries};
use crate::error::{Error, Kind, Result};

/// Whether the statement that begins with WITH is one that changes rows: such a word follows the parenthesis that closes the last query.
pub(super) fn is_behind_with(reader: &Reader<'_>) -> bool {
    matches!(reader.word_behind_parentheses().as_deref(), Some("insert" | "update" | "delete"))
}

/// WITH queries, then INSERT, UPDATE or DELETE.
pub(super) fn with(reader: &mut Reader<'_>) -> Result<Statement> {
    let with_token = reader.advance().into();
    let (recursive, cte_tables) =
        reader.ast(|parser| Ok((parser.parse_keyword(Keyword::RECURSIVE), parser.parse_comma_separated(Parser::parse_cte)?)))?;
    let mut with = ast::With { with_token, recursive, cte_tables };
    reader.normalize(&mut with)?;
    match reader.peek_word().as_deref() {
        Some("insert") => insert(reader, Some(with)),
        Some("update") => update(reader, Some(with)),
        Some("delete") => delete(reader, Some(with)),
        _ => Err(reader.unexpected()),
    }
}

/// INSERT INTO table [(columns)] source [ON CONFLICT …] [RETURNING …].
pub(super) fn insert(reader: &mut Reader<'_>, with: Option<ast::With>) -> Result<Statement> {
    let token = reader.advance();
    if !reader.is(0, "into") {
        return Err(reader.unexpected().detail("Expected INTO."));
    }
    // sqlparser takes `INTO TABLE t`, which is Hive's.
    if reader.is(1, "table") {
        reader.advance();
        return Err(reader.unexpected());
    }
    let table_position = reader.position_of_nth(1);
    let ast::Statement::Insert(mut insert) = reader.ast(|parser| parser.parse_insert(token))? else {
        return Err(reader.unexpected());
    };
    reader.normalize(&mut insert)?;
    let ast::TableObject::TableName(table) = &insert.table else { return Err(reader.unexpected()) };
    let table = relation(table, table_position)?;
    if let Some(alias) = &insert.table_alias {
        let message = format!("an alias (\"{}\") for the table of INSERT is not supported yet", folded(&alias.alias));
        return Err(Error::not_supported(message).hint("Use the table's own name.").at(table_position));
    }
    let foreign = insert.overwrite || insert.ignore || insert.replace_into || insert.has_table_keyword || insert.or.is_some();
    let foreign = foreign || insert.partitioned.is_some() || insert.output.is_some() || insert.priority.is_some();
    if foreign || !insert.assignments.is_empty() {
        return Err(Error::new(Kind::Syntax, "INSERT is not in PostgreSQL's form")
            .hint("Write INSERT INTO table (columns) VALUES (…).")
            .at(1));
    }
    let columns = insert.columns.iter().map(single).collect::<Result<Vec<_>>>()?;
    if let Some(twice) = columns.iter().enumerate().find(|(index, column)| columns[..*index].contains(column)) {
        return Err(Error::new(Kind::DuplicateColumn, format!("column \"{}\" specified more than once", twice.1)));
    }
    let (conflict_target, on_conflict) = match insert.on {
        None => (Vec::new(), None),
        Some(on) => conflict(on)?,
    };
    let insert = Insert { with, table, columns, source: insert.source, conflict_target, on_conflict, returning: insert.returning };
    Ok(Statement::Insert(Box::new(insert)))
}

/// ON CONFLICT [(columns)] DO NOTHING | DO UPDATE SET … [WHERE …]: the columns and what to do.
fn conflict(on: ast::OnInsert) -> Result<(Vec<String>, Option<InsertConflict>)> {
    let ast::OnInsert::OnConflict(on) = on else {
        return Err(Error::new(Kind::Syntax, "syntax error at or near \"DUPLICATE\"").hint("Use ON CONFLICT (key) DO UPDATE SET …."));
    };
    let target = match on.conflict_target {
        None => Vec::new(),
        Some(ast::ConflictTarget::Columns(columns)) => columns.iter().map(folded).collect(),
        Some(ast::ConflictTarget::OnConstraint(_)) => {
            return Err(
                Error::not_supported("ON CONFLICT ON CONSTRAINT is not supported yet").hint("Name the key's columns: ON CONFLICT (id).")
            );
        }
    };
    let action = match on.action {
        ast::OnConflictAction::DoNothing => InsertConflict::DoNothing,
        ast::OnConflictAction::DoUpdate(update) => {
            if target.is_empty() {
                let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
                return Err(Error::new(Kind::Syntax, message).hint("For example, ON CONFLICT (column_name)."));
            }
            let assignments = update.assignments.into_iter().map(assignment).collect::<Result<Vec<_>>>()?;
            InsertConflict::DoUpdate { assignments, condition: update.selection }
        }
    };
    Ok((target, Some(action)))
}

/// `column = value`
fn assignment(assignment: ast::Assignment) -> Result<(String, ast::Expr)> {
    match assignment.target {
        AssignmentTarget::ColumnName(column) => Ok((single(&column)?, assignment.value)),
        AssignmentTarget::Tuple(_) => {
            Err(Error::not_supported("SET (a, b) = (…) in ON CONFLICT is not supported yet").hint("Set the columns one by one."))
        }
    }
}

/// UPDATE table SET … [FROM …] [WHERE …] [RETURNING …].
pub(super) fn update(reader: &mut Reader<'_>, with: Option<ast::With>) -> Result<Statement> {
    let token = reader.advance();
    let ast::Statement::Update(mut update) = reader.ast(|parser| parser.parse_update(token))? else {
        return Err(reader.unexpected());
    };
    reader.normalize(&mut update)?;
    if let Some(ast::UpdateTableFromKind::AfterSet(others) | ast::UpdateTableFromKind::BeforeSet(others)) = &mut update.from {
        others.iter_mut().try_for_each(|other| mark_joins(&mut other.joins, reader.text()))?;
    }
    if update.limit.is_some() || !update.order_by.is_empty() || update.output.is_some() || update.or.is_some() {
        return Err(foreign_clause("UPDATE"));
    }
    if matches!(update.from, Some(ast::UpdateTableFromKind::BeforeSet(_))) || !update.table.joins.is_empty() {
        return Err(foreign_clause("UPDATE"));
    }
    Ok(Statement::Update(Box::new(WithQueries { with, body: update })))
}

/// DELETE FROM table [USING …] [WHERE …] [RETURNING …].
pub(super) fn delete(reader: &mut Reader<'_>, with: Option<ast::With>) -> Result<Statement> {
    let token = reader.advance();
    if !reader.is(0, "from") {
        return Err(reader.unexpected().detail("Expected FROM."));
    }
    let ast::Statement::Delete(mut delete) = reader.ast(|parser| parser.parse_delete(token))? else {
        return Err(reader.unexpected());
    };
    reader.normalize(&mut delete)?;
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &mut delete.from;
    let mut others = from.iter_mut().chain(delete.using.iter_mut().flatten());
    others.try_for_each(|other| mark_joins(&mut other.joins, reader.text()))?;
    if delete.limit.is_some() || !delete.order_by.is_empty() || delete.output.is_some() || !delete.tables.is_empty() {
        return Err(foreign_clause("DELETE"));
    }
    Ok(Statement::Delete(Box::new(WithQueries { with, body: delete })))
}

/// TRUNCATE [TABLE] names [RESTART IDENTITY | CONTINUE IDENTITY] [RESTRICT].
pub(super) fn truncate(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["truncate"])?;
    reader.accept(&["table"]);
    reader.accept(&["only"]);
    let names = reader.comma_separated(Reader::name)?;
    // There are no sequences to restart and no foreign keys to follow: with and without mean the same.
    let _ = reader.accept(&["restart", "identity"]) || reader.accept(&["continue", "identity"]);
    let _ = reader.accept(&["cascade"]) || reader.accept(&["restrict"]);
    Ok(Statement::Truncate { names })
}

/// ORDER BY, LIMIT and joins are other databases' extensions of UPDATE and DELETE.
fn foreign_clause(statement: &str) -> Error {
    Error::new(Kind::Syntax, format!("{statement} takes only WHERE, FROM or USING, and RETURNING"))
        .hint("Choose the rows with WHERE key IN (SELECT … ORDER BY … LIMIT …).")
        .at(1)
}

/// A table's name out of the AST.
fn relation(name: &ObjectName, position: usize) -> Result<Name> {
    name_of(name.0.iter().filter_map(ObjectNamePart::as_ident).map(folded).collect(), position)
}

/// A column's name, which has one part.
fn single(name: &ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(column)] => Ok(folded(column)),
        _ => Err(Error::not_supported(format!("\"{name}\" as a column to write is not supported yet")).hint("Name the column alone.")),
    }
}
