//! INSERT, UPDATE, DELETE, with queries named before them or not, and TRUNCATE: sqlparser reads them, we keep what PostgreSQL has and refuse the
//! other dialects' rest.

use std::ops::ControlFlow;

use sqlparser::ast::{self, AssignmentTarget, ObjectName, ObjectNamePart};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::as_of::mark_joins;
use super::query::folded;
use super::reader::{Reader, name_of};
use super::respell::parsed;
use super::statement::{Insert, InsertConflict, Name, Statement, WithQueries};
use super::walk::Walk;
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
            let assignments = one_by_one(update.assignments)?.into_iter().map(assignment).collect::<Result<Vec<_>>>()?;
            InsertConflict::DoUpdate { assignments, condition: update.selection }
        }
    };
    Ok((target, Some(action)))
}

/// The column and the value of an assignment to one.
fn assignment(assignment: ast::Assignment) -> Result<(String, ast::Expr)> {
    match &assignment.target {
        AssignmentTarget::ColumnName(column) => Ok((single(column)?, assignment.value)),
        AssignmentTarget::Tuple(_) => Err(Error::internal("an assignment to several columns is left")),
    }
}

/// `SET (a, b) = (x, y)`, `SET (a, b) = ROW (x, y)` and `SET (a, b) = (SELECT x, y …)` as assignments to one column each.
fn one_by_one(assignments: Vec<ast::Assignment>) -> Result<Vec<ast::Assignment>> {
    let mut single = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        let AssignmentTarget::Tuple(columns) = assignment.target else {
            single.push(assignment);
            continue;
        };
        let values = values_of(assignment.value, columns.len())?;
        let targets = columns.into_iter().map(AssignmentTarget::ColumnName);
        single.extend(targets.zip(values).map(|(target, value)| ast::Assignment { target, value }));
    }
    Ok(single)
}

/// The value of each of so many columns.
fn values_of(source: ast::Expr, columns: usize) -> Result<Vec<ast::Expr>> {
    let uneven = || Error::new(Kind::Syntax, "number of columns does not match number of values");
    let no_row = || {
        Error::not_supported("source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression")
            .hint("Write (a, b) = (1, 2), or one assignment per column.")
    };
    let values = match source {
        ast::Expr::Nested(inner) => return values_of(*inner, columns),
        ast::Expr::Tuple(values) => values,
        ast::Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("row") => {
            let ast::FunctionArguments::List(list) = call.args else { return Err(no_row()) };
            let value = |argument| match argument {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => Ok(value),
                _ => Err(no_row()),
            };
            list.args.into_iter().map(value).collect::<Result<_>>()?
        }
        ast::Expr::Subquery(query) => {
            let is_star = |item: &ast::SelectItem| {
                matches!(
                    item,
                    ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..) | ast::SelectItem::ExprWithAliases { .. }
                )
            };
            let counted = query.body.as_select().filter(|select| !select.projection.iter().any(is_star));
            if counted.is_some_and(|select| select.projection.len() != columns) {
                return Err(uneven());
            }
            let column = |place| Ok(ast::Expr::Subquery(Box::new(only_column(&query, place, columns)?)));
            return (0..columns).map(column).collect();
        }
        _ => return Err(no_row()),
    };
    if values.len() == columns { Ok(values) } else { Err(uneven()) }
}

/// One of so many columns of a query. Where the others do not say which rows there are, they need not be there.
fn only_column(query: &ast::Query, place: usize, columns: usize) -> Result<ast::Query> {
    let mut only = query.clone();
    if let ast::SetExpr::Select(select) = only.body.as_mut() {
        let grouped = !matches!(&select.group_by, ast::GroupByExpr::Expressions(places, _) if places.is_empty());
        let calls =
            |expr: &ast::Expr| if matches!(expr, ast::Expr::Function(_)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let plain = query.order_by.is_none() && select.distinct.is_none() && select.having.is_none() && !grouped;
        if plain && select.projection.len() == columns && select.projection.walk_expressions(calls).is_continue() {
            select.projection = vec![select.projection.swap_remove(place)];
            return Ok(only);
        }
    }
    let name = |number: usize| ast::Ident::with_quote('"', format!("value {number}"));
    let columns = (0..columns).map(|number| ast::TableAliasColumnDef { name: name(number), data_type: None }).collect();
    let alias = ast::TableAlias { explicit: true, name: ast::Ident::with_quote('"', "values"), columns, at: None };
    let relation = ast::TableFactor::Derived { lateral: false, subquery: Box::new(only), alias: Some(alias), sample: None };
    let mut around = parsed("SELECT 1")?;
    if let ast::SetExpr::Select(select) = around.body.as_mut() {
        select.projection = vec![ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(name(place)))];
        select.from = vec![ast::TableWithJoins { relation, joins: Vec::new() }];
    }
    Ok(around)
}

/// UPDATE table SET … [FROM …] [WHERE …] [RETURNING …].
pub(super) fn update(reader: &mut Reader<'_>, with: Option<ast::With>) -> Result<Statement> {
    let token = reader.advance();
    let ast::Statement::Update(mut update) = reader.ast(|parser| parser.parse_update(token))? else {
        return Err(reader.unexpected());
    };
    reader.normalize(&mut update)?;
    update.assignments = one_by_one(update.assignments)?;
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
