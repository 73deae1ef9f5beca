//! INSERT, UPDATE, DELETE → the query whose rows they write.
//!
//! Out: a `Change`: the table, and a plan that gives the new rows (INSERT), the old rows (DELETE), or old rows followed by new ones column by
//! column (UPDATE). New rows have every column of the table, cast as an assignment casts, with DEFAULTs filled in and generated columns computed.
//! NOT NULL and keys are not looked at here.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Column as ColumnRef, DFSchema};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast;
use sqlparser::ast::Spanned;

use super::casts::has_rows;
use super::data_type::sql_type;
use super::errors::{character_position, from_datafusion, word_position};
use super::expressions::{Assignment, assignment_cast, expression_text, is_literal, null_of, refuse_volatile};
use super::names::{hidden, normal};
use super::node::Scalar;
use super::parameters;
use super::planner::{Bound, Planned, Planner};
use super::resolve::{Scope, schema_of};
use super::text;
use super::values::declared_as;
use super::zones::expression_in_utc;
use crate::catalog::{Column, Object, ObjectKind, Table, nearest};
use crate::error::{Error, Kind, Result};
use crate::sql::{Insert, InsertConflict, Name, is_default};
use crate::types::SqlType;

/// The columns of a table before NOT NULL has been checked.
fn unchecked(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(schema_of(columns).fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()))
}

/// What a statement writes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The table.
    pub object: Arc<Object>,
    /// Where the rows come from.
    pub rows: Bound,
    /// RETURNING: a query over the table, to be run with the affected rows in the place of the table's.
    pub returning: Option<Bound>,
}

/// `ON CONFLICT DO UPDATE`, over the columns of the row that is there followed by those of the new one.
#[derive(Clone, Debug)]
pub struct ConflictUpdate {
    /// Only rows for which it is true.
    pub condition: Option<Scalar>,
    /// One per column of the table; generated columns keep the old value here.
    pub columns: Vec<Scalar>,
    /// Generated columns, over the columns of the table as they are after that.
    pub generated: Vec<(usize, Scalar)>,
}

impl Planner {
    /// INSERT: every column of the table, in order.
    pub fn insert(&self, insert: &Insert, scope: &Scope<'_>, declared: &[Option<SqlType>]) -> Result<Change> {
        let object = target(scope, &insert.table)?;
        let table = table_of(&object)?;
        if table.append_only && matches!(insert.on_conflict, Some(InsertConflict::DoUpdate { .. })) {
            return Err(append_only(&object));
        }
        let named = !insert.columns.is_empty();
        let (mut names, mut source) = (insert.columns.clone(), insert.source.as_deref().cloned());
        if let Some(ast::SetExpr::Values(values)) = source.as_mut().map(|query| query.body.as_mut()) {
            leave_out_generated(table, &mut names, values);
        }
        let mut targets = insert_targets(&object, table, &names, scope)?;
        let mut types = parameters::loosened(declared);
        let (planned, literal) = match source {
            None => {
                targets.clear();
                let empty = LogicalPlanBuilder::empty(true).build().map_err(|error| from_datafusion(error, scope.text))?;
                ((empty, std::collections::BTreeSet::new(), false), Vec::new())
            }
            Some(mut query) => {
                let literal = prepare_source(&mut query, table, &targets, &mut types, scope)?;
                let planned = self.plan_typed(&query, scope, &mut types, declared, true)?;
                (planned, literal)
            }
        };
        let width = planned.0.schema().fields().len();
        if insert.source.is_some() && width > targets.len() {
            return Err(Error::new(Kind::Syntax, "INSERT has more expressions than target columns"));
        }
        if insert.source.is_some() && named && width < targets.len() {
            return Err(Error::new(Kind::Syntax, "INSERT has more target columns than expressions"));
        }
        let (plan, views, system) = planned;
        let columns = plan.schema().columns();
        let mut values = Vec::with_capacity(table.columns.len());
        for (position, column) in table.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none()) {
            let given = targets.iter().position(|target| *target == position).and_then(|at| Some((at, columns.get(at)?)));
            let value = match given {
                Some((at, from)) => {
                    let assignment = Assignment { column: &column.name, literal: literal.get(at).copied().unwrap_or(false) };
                    assignment_cast(Expr::Column(from.clone()), plan.schema(), &column.sql_type, &assignment)?
                }
                None => self.default_of(column, scope)?,
            };
            values.push(value.alias(column.name.clone()));
        }
        let plan = project(plan, values, scope)?;
        let plan = self.with_generated(plan, table, Vec::new(), scope)?;
        let rows = self.change_rows((plan, views, system), types, unchecked(&table.columns), scope)?;
        let returning = self.returning(insert.returning.as_deref(), table_factor(&insert.table), scope)?;
        Ok(Change { object, rows, returning })
    }

    /// UPDATE: the old columns, then the new ones.
    pub fn update(&self, update: &ast::Update, scope: &Scope<'_>, declared: &[Option<SqlType>]) -> Result<Change> {
        let others = match &update.from {
            Some(ast::UpdateTableFromKind::AfterSet(others) | ast::UpdateTableFromKind::BeforeSet(others)) => others.as_slice(),
            None => &[],
        };
        refuse_returning(others, update.returning.as_deref())?;
        let (name, qualifier) = relation_name(&update.table.relation, scope)?;
        let object = target(scope, &name)?;
        let table = table_of(&object)?;
        if table.append_only {
            return Err(append_only(&object));
        }
        let mut types = parameters::loosened(declared);
        let mut items = old_columns(table, &qualifier);
        let mut assigned: Vec<Option<bool>> = vec![None; table.columns.len()];
        for assignment in &update.assignments {
            let Some((position, value)) = assignment_of(assignment, &object, table, scope)? else { continue };
            if assigned[position].is_some() {
                let message = format!("multiple assignments to same column \"{}\"", table.columns[position].name);
                return Err(Error::new(Kind::Syntax, message));
            }
            note_parameter(&value, &table.columns[position].sql_type, &mut types);
            assigned[position] = Some(is_literal(&value));
            items.push(item(value, hidden("new", position)));
        }
        let query = joined_query(items, &update.table, &qualifier, others, update.selection.clone())?;
        let (plan, views, system) = self.plan_typed(&query, scope, &mut types, declared, false)?;
        let old: Vec<Expr> = (0..table.columns.len()).map(|position| column_named(hidden("old", position))).collect();
        let mut values = old.clone();
        for (position, column) in table.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none()) {
            let value = match assigned[position] {
                Some(literal) => {
                    let assignment = Assignment { column: &column.name, literal };
                    assignment_cast(column_named(hidden("new", position)), plan.schema(), &column.sql_type, &assignment)?
                }
                None => column_named(hidden("old", position)),
            };
            values.push(value.alias(column.name.clone()));
        }
        let plan = project(plan, values, scope)?;
        let plan = self.with_generated(plan, table, old, scope)?;
        let columns = unchecked(&table.columns);
        let doubled = Arc::new(Schema::new(columns.fields().iter().chain(columns.fields()).cloned().collect::<Vec<_>>()));
        let rows = self.change_rows((plan, views, system), types, doubled, scope)?;
        let returning = self.returning(update.returning.as_deref(), update.table.relation.clone(), scope)?;
        Ok(Change { object, rows, returning })
    }

    /// DELETE: the old columns.
    pub fn delete(&self, delete: &ast::Delete, scope: &Scope<'_>, declared: &[Option<SqlType>]) -> Result<Change> {
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        let [only] = from.as_slice() else { return Err(Error::not_supported("DELETE from several tables is not supported")) };
        let others = delete.using.as_deref().unwrap_or_default();
        refuse_returning(others, delete.returning.as_deref())?;
        let (name, qualifier) = relation_name(&only.relation, scope)?;
        let object = target(scope, &name)?;
        let table = table_of(&object)?;
        if table.append_only {
            return Err(append_only(&object));
        }
        let mut types = parameters::loosened(declared);
        let query = joined_query(old_columns(table, &qualifier), only, &qualifier, others, delete.selection.clone())?;
        let planned = self.plan_typed(&query, scope, &mut types, declared, false)?;
        let rows = self.change_rows(planned, types, unchecked(&table.columns), scope)?;
        let returning = self.returning(delete.returning.as_deref(), only.relation.clone(), scope)?;
        Ok(Change { object, rows, returning })
    }

    /// The new values of `ON CONFLICT DO UPDATE SET …`, where `excluded` is the row that was to be inserted.
    pub fn conflict_update(
        &self,
        object: &Object,
        assignments: &[(String, ast::Expr)],
        condition: Option<&ast::Expr>,
        scope: &Scope<'_>,
    ) -> Result<ConflictUpdate> {
        let table = table_of(object)?;
        let columns = schema_of(&table.columns);
        let error = |error| from_datafusion(error, scope.text);
        let old = DFSchema::try_from_qualified_schema(object.name.as_str(), &columns).map_err(error)?;
        let new = DFSchema::try_from_qualified_schema("excluded", &columns).map_err(error)?;
        let both = old.join(&new).map_err(error)?;
        let scalar = |expr: Expr| {
            refuse_volatile(&expr)?;
            let text = expression_text(&expr);
            Ok(Scalar { expression: self.physical_expression(expr, &both, None, scope)?, text })
        };
        let mut values: Vec<Expr> =
            (0..table.columns.len()).map(|position| Expr::Column(ColumnRef::from(both.qualified_field(position)))).collect();
        for (name, value) in assignments {
            let position = position_of(object, table, name, scope)?;
            let column = &table.columns[position];
            let expr = self.logical_expression(value, &both, scope)?;
            let assignment = Assignment { column: &column.name, literal: is_literal(value) };
            values[position] = assignment_cast(expr, &both, &column.sql_type, &assignment)?;
        }
        let condition = condition.map(|condition| scalar(self.logical_expression(condition, &both, scope)?)).transpose()?;
        let generated =
            table.columns.iter().enumerate().filter_map(|(position, column)| Some((position, column, column.generated.as_ref()?)));
        let generated = generated
            .map(|(position, column, sql)| Ok((position, self.table_expression_text(sql, &table.columns, &column.sql_type, scope)?)));
        Ok(ConflictUpdate {
            condition,
            columns: values.into_iter().map(scalar).collect::<Result<_>>()?,
            generated: generated.collect::<Result<_>>()?,
        })
    }

    /// Plans with the types of parameters as far as they are known, and makes the rest known. `declared`: by the client.
    pub(super) fn plan_typed(
        &self,
        query: &ast::Query,
        scope: &Scope<'_>,
        types: &mut Vec<Option<SqlType>>,
        declared: &[Option<SqlType>],
        assigned: bool,
    ) -> Result<Planned> {
        *types = parameters::declared_types(query, types)?;
        parameters::settle(types, declared);
        let planned = match self.plan_query(query, scope, 0, types, assigned) {
            Ok(planned) => planned,
            // A function may have to know that it is a numeric, and not which.
            Err(_) if *types != parameters::with_declared(types, declared) => {
                *types = parameters::with_declared(types, declared);
                self.plan_query(query, scope, 0, types, assigned)?
            }
            Err(error) => return Err(error),
        };
        let inferred = planned.0.get_parameter_fields().map_err(|error| from_datafusion(error, scope.text))?;
        if parameters::fill(types, &inferred, declared) { self.plan_query(query, scope, 0, types, assigned) } else { Ok(planned) }
    }

    fn change_rows(&self, planned: Planned, types: Vec<Option<SqlType>>, schema: SchemaRef, scope: &Scope<'_>) -> Result<Bound> {
        let types = types.into_iter().map(|known| known.unwrap_or(SqlType::Text)).collect();
        let bound = self.bind(planned, types, scope)?;
        Ok(Bound { schema, ..bound })
    }

    /// `before`, then every column of the table: the generated ones computed from the others, which `plan` has by their names.
    fn with_generated(&self, plan: LogicalPlan, table: &Table, before: Vec<Expr>, scope: &Scope<'_>) -> Result<LogicalPlan> {
        let mut values = before;
        for column in &table.columns {
            let value = match &column.generated {
                None => column_named(column.name.clone()),
                Some(sql) => {
                    let parsed = text::expression(sql)?;
                    let expr = self.logical_expression(&parsed, plan.schema(), &Scope { text: sql, ..*scope })?;
                    let assignment = Assignment { column: &column.name, literal: is_literal(&parsed) };
                    let value = assignment_cast(expr, plan.schema(), &column.sql_type, &assignment)?;
                    expression_in_utc(value).alias(column.name.clone())
                }
            };
            values.push(value);
        }
        project(plan, values, scope)
    }

    fn default_of(&self, column: &Column, scope: &Scope<'_>) -> Result<Expr> {
        let Some(sql) = &column.default else { return null_of(&column.sql_type) };
        let parsed = text::expression(sql)?;
        let empty = DFSchema::empty();
        let expr = self.logical_expression(&parsed, &empty, &Scope { text: sql, ..*scope })?;
        assignment_cast(expr, &empty, &column.sql_type, &Assignment { column: &column.name, literal: is_literal(&parsed) })
    }

    fn returning(&self, items: Option<&[ast::SelectItem]>, table: ast::TableFactor, scope: &Scope<'_>) -> Result<Option<Bound>> {
        let Some(items) = items else { return Ok(None) };
        let query = returning_query(items.to_vec(), table)?;
        self.query(&query, scope, &[]).map(Some)
    }
}

/// `SELECT items FROM table`.
pub fn returning_query(items: Vec<ast::SelectItem>, table: ast::TableFactor) -> Result<ast::Query> {
    select_query(items, vec![ast::TableWithJoins { relation: table, joins: Vec::new() }], None)
}

fn select_query(items: Vec<ast::SelectItem>, from: Vec<ast::TableWithJoins>, selection: Option<ast::Expr>) -> Result<ast::Query> {
    let mut query = text::query("SELECT 1")?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.from = from;
        select.selection = selection;
    }
    Ok(query)
}

/// `SELECT items FROM target, others WHERE selection`, each row of the target once at the most: one that several rows of the others fit to is
/// changed by one of them, as in PostgreSQL. Rows that are equal are told apart by a number.
fn joined_query(
    items: Vec<ast::SelectItem>,
    target: &ast::TableWithJoins,
    qualifier: &str,
    others: &[ast::TableWithJoins],
    selection: Option<ast::Expr>,
) -> Result<ast::Query> {
    if others.is_empty() {
        return select_query(items, vec![target.clone()], selection);
    }
    let quoted = |name: &str| ast::Ident::with_quote('"', name);
    let number = hidden("row", 0);
    let rows = vec![
        ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default()),
        item(text::expression("row_number() OVER ()")?, number.clone()),
    ];
    let numbered = ast::TableFactor::Derived {
        lateral: false,
        subquery: Box::new(select_query(rows, vec![target.clone()], None)?),
        alias: Some(ast::TableAlias { explicit: true, name: quoted(qualifier), columns: Vec::new(), at: None }),
        sample: None,
    };
    let number = ast::Expr::CompoundIdentifier(vec![quoted(qualifier), quoted(&number)]);
    let mut from = vec![ast::TableWithJoins { relation: numbered, joins: Vec::new() }];
    from.extend_from_slice(others);
    let mut query = select_query(items, from, selection)?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.distinct = Some(ast::Distinct::On(vec![number]));
    }
    Ok(query)
}

/// RETURNING sees the table alone: what it would show of the others is refused rather than left out.
fn refuse_returning(others: &[ast::TableWithJoins], returning: Option<&[ast::SelectItem]>) -> Result<()> {
    let wildcard = |item: &ast::SelectItem| matches!(item, ast::SelectItem::Wildcard(_));
    if !others.is_empty() && returning.is_some_and(|items| items.iter().any(wildcard)) {
        return Err(Error::not_supported("RETURNING * with FROM or USING is not supported yet").hint("Name the columns of the table."));
    }
    Ok(())
}

fn item(expr: ast::Expr, alias: String) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: ast::Ident::with_quote('"', alias) }
}

fn old_columns(table: &Table, qualifier: &str) -> Vec<ast::SelectItem> {
    let quoted = |name: &str| ast::Ident::with_quote('"', name);
    let columns = table.columns.iter().enumerate();
    columns
        .map(|(position, column)| {
            item(ast::Expr::CompoundIdentifier(vec![quoted(qualifier), quoted(&column.name)]), hidden("old", position))
        })
        .collect()
}

fn column_named(name: String) -> Expr {
    Expr::Column(ColumnRef::new_unqualified(name))
}

fn project(plan: LogicalPlan, values: Vec<Expr>, scope: &Scope<'_>) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan).project(values).and_then(LogicalPlanBuilder::build).map_err(|error| from_datafusion(error, scope.text))
}

fn target(scope: &Scope<'_>, name: &Name) -> Result<Arc<Object>> {
    let found = scope.catalog.resolve(name.schema.as_deref(), &name.name, scope.search_path).map(Arc::clone);
    found.map_err(|error| error.at(name.position))
}

fn table_of(object: &Object) -> Result<&Table> {
    match &object.kind {
        ObjectKind::Table(table) => Ok(table),
        _ => Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is a {}: its rows cannot be changed", object.name, object.kind_name()))),
    }
}

fn append_only(object: &Object) -> Error {
    Error::new(Kind::WrongObjectType, format!("table \"{}\" is append only: its rows cannot be changed or deleted", object.name))
}

/// A table as the AST names it, and what its columns are qualified by.
fn relation_name(factor: &ast::TableFactor, scope: &Scope<'_>) -> Result<(Name, String)> {
    let ast::TableFactor::Table { name, alias, .. } = factor else { return Err(Error::new(Kind::Syntax, "a table is needed here")) };
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(normal).collect();
    let Some((last, before)) = parts.split_last() else { return Err(Error::new(Kind::Syntax, "a table is needed here")) };
    let qualifier = alias.as_ref().map_or_else(|| last.clone(), |alias| normal(&alias.name));
    let position = word_position(last, scope.text).unwrap_or(1);
    Ok((Name { schema: before.last().cloned(), name: last.clone(), position }, qualifier))
}

fn table_factor(name: &Name) -> ast::TableFactor {
    let quoted = |name: &String| ast::ObjectNamePart::Identifier(ast::Ident::with_quote('"', name.as_str()));
    let parts = name.schema.iter().chain(std::iter::once(&name.name)).map(quoted).collect();
    ast::TableFactor::Table {
        name: ast::ObjectName(parts),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn position_of(object: &Object, table: &Table, name: &str, scope: &Scope<'_>) -> Result<usize> {
    let Some(position) = table.columns.iter().position(|column| column.name == name) else {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", object.name);
        let mut error = Error::new(Kind::UndefinedColumn, message);
        if let Some(near) = nearest(name, table.columns.iter().map(|column| column.name.as_str())) {
            error = error.hint(format!("Did you mean \"{near}\"?"));
        }
        return Err(match word_position(name, scope.text) {
            Some(position) => error.at(position),
            None => error,
        });
    };
    if table.columns[position].generated.is_some() {
        let message = format!("column \"{name}\" is generated: no value can be given for it");
        return Err(Error::new(Kind::GeneratedAlways, message).hint("Leave it out; it is computed from the other columns."));
    }
    Ok(position)
}

/// Takes the generated columns out of VALUES in which they are DEFAULT in every row: they are computed anyway.
fn leave_out_generated(table: &Table, names: &mut Vec<String>, values: &mut ast::Values) {
    let columns: Vec<Option<&Column>> = match names.is_empty() {
        true => table.columns.iter().map(Some).collect(),
        false => names.iter().map(|name| table.columns.iter().find(|column| column.name == *name)).collect(),
    };
    let named = !names.is_empty();
    for (at, column) in columns.into_iter().enumerate().rev() {
        let generated = column.is_some_and(|column| column.generated.is_some());
        if generated && values.rows.iter().all(|row| row.content.len() > 1 && row.content.get(at).is_some_and(is_default)) {
            values.rows.iter_mut().for_each(|row| drop(row.content.remove(at)));
            if named {
                names.remove(at);
            }
        }
    }
}

/// The positions that an INSERT's expressions go to.
fn insert_targets(object: &Object, table: &Table, names: &[String], scope: &Scope<'_>) -> Result<Vec<usize>> {
    if names.is_empty() {
        let given = table.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none());
        return Ok(given.map(|(position, _)| position).collect());
    }
    let mut positions = Vec::with_capacity(names.len());
    for name in names {
        let position = position_of(object, table, name, scope)?;
        if positions.contains(&position) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
        positions.push(position);
    }
    Ok(positions)
}

/// Puts defaults in the place of DEFAULT and notes the types of parameters; tells which columns are literals.
fn prepare_source(
    query: &mut ast::Query,
    table: &Table,
    targets: &[usize],
    types: &mut Vec<Option<SqlType>>,
    scope: &Scope<'_>,
) -> Result<Vec<bool>> {
    let mut literal = vec![false; targets.len()];
    match query.body.as_mut() {
        ast::SetExpr::Values(values) => {
            if let Some(first) = values.rows.iter().find_map(|row| row.content.get(targets.len())) {
                let error = Error::new(Kind::Syntax, "INSERT has more expressions than target columns");
                let place = first.span().start;
                return Err(match character_position(place.line, place.column, scope.text) {
                    Some(position) => error.at(position),
                    None => error,
                });
            }
            read_beside_others(values, table, targets)?;
            for row in &mut values.rows {
                for (at, value) in row.content.iter_mut().enumerate() {
                    let column = &table.columns[targets[at]];
                    if is_default(value) {
                        *value = default_expression(column)?;
                    }
                    note_parameter(value, &column.sql_type, types);
                    literal[at] |= is_literal(value);
                    as_column(value, &column.sql_type)?;
                }
            }
        }
        ast::SetExpr::Select(select) => {
            for (at, item) in select.projection.iter().enumerate().take(targets.len()) {
                if let ast::SelectItem::UnnamedExpr(value) | ast::SelectItem::ExprWithAlias { expr: value, .. } = item {
                    note_parameter(value, &table.columns[targets[at]].sql_type, types);
                    literal[at] = is_literal(value);
                } else {
                    // From a `*` on, positions are not known before planning.
                    break;
                }
            }
        }
        _ => {}
    }
    Ok(literal)
}

/// Where rows of VALUES have quoted strings beside other things, the strings are read as values of the column that they go to, and dates and
/// times become what it holds: else the rows would agree on a type of their own first.
fn read_beside_others(values: &mut ast::Values, table: &Table, targets: &[usize]) -> Result<()> {
    let is_moment = |sql_type: &SqlType| matches!(sql_type.whole(), SqlType::Date | SqlType::Timestamp | SqlType::Timestamptz);
    for (at, target) in targets.iter().enumerate() {
        let sql_type = table.columns[*target].sql_type.whole();
        let cells = || values.rows.iter().filter_map(|row| row.content.get(at)).filter(|cell| !is_default(cell));
        let keeps_length = matches!(sql_type, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_));
        if keeps_length || cells().all(is_literal) || !cells().any(is_literal) && !is_moment(sql_type) {
            continue;
        }
        let data_type = text::data_type(&sql_type.to_string())?;
        for cell in values.rows.iter_mut().filter_map(|row| row.content.get_mut(at)) {
            let moment = is_moment(sql_type) && declared_type(cell).is_some_and(|declared| is_moment(&declared));
            if (is_literal(cell) && parameters::number(cell).is_none()) || moment {
                let expr = Box::new(std::mem::replace(cell, ast::Expr::value(ast::Value::Null)));
                *cell =
                    ast::Expr::Cast { kind: ast::CastKind::DoubleColon, expr, data_type: data_type.clone(), array: false, format: None };
            }
        }
    }
    Ok(())
}

/// The type that an expression says it has.
fn declared_type(expr: &ast::Expr) -> Option<SqlType> {
    declared_as(expr).and_then(|data_type| sql_type(data_type).ok())
}

fn default_expression(column: &Column) -> Result<ast::Expr> {
    match &column.default {
        Some(sql) => text::expression(sql),
        None => text::expression("NULL"),
    }
}

/// A constant for a float column is read as a float, each row's by itself: as numeric it would lose digits, and there is no infinite one. And
/// one for an array is an array, whatever the rows beside it make theirs of. Rows of fields are rows of the column's type, all of them.
fn as_column(value: &mut ast::Expr, sql_type: &SqlType) -> Result<()> {
    if has_rows(sql_type) {
        let (kind, data_type) = (ast::CastKind::DoubleColon, text::data_type(&sql_type.to_string())?);
        let expr = Box::new(std::mem::replace(value, ast::Expr::value(ast::Value::Null)));
        *value = ast::Expr::Cast { kind, expr, data_type, array: false, format: None };
        return Ok(());
    }
    let constant = match sql_type {
        SqlType::Float4 | SqlType::Float8 => constant_text(value),
        SqlType::Array(_) if !matches!(value, ast::Expr::Value(constant) if matches!(constant.value, ast::Value::Number(..))) => {
            constant_text(value)
        }
        _ => None,
    };
    let Some(constant) = constant else { return Ok(()) };
    let mut cast = text::expression(&format!("NULL::{sql_type}"))?;
    if let ast::Expr::Cast { expr, .. } = &mut cast {
        **expr = ast::Expr::value(ast::Value::SingleQuotedString(constant));
        *value = cast;
    }
    Ok(())
}

/// What stands there, of a number or a text.
fn constant_text(value: &ast::Expr) -> Option<String> {
    match value {
        ast::Expr::Value(constant) => match &constant.value {
            ast::Value::Number(text, _) | ast::Value::SingleQuotedString(text) => Some(text.to_string()),
            _ => None,
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match expr.as_ref() {
            ast::Expr::Value(constant) if matches!(constant.value, ast::Value::Number(..)) => Some(format!("-{}", constant_text(expr)?)),
            _ => None,
        },
        _ => None,
    }
}

fn note_parameter(value: &ast::Expr, sql_type: &SqlType, types: &mut Vec<Option<SqlType>>) {
    if let Some(number) = parameters::number(value)
        && number > 0
    {
        if types.len() < number {
            types.resize(number, None);
        }
        types[number - 1].get_or_insert_with(|| sql_type.whole().clone());
    }
}

fn assignment_of(assignment: &ast::Assignment, object: &Object, table: &Table, scope: &Scope<'_>) -> Result<Option<(usize, ast::Expr)>> {
    let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
        return Err(Error::not_supported("UPDATE … SET (a, b) = … is not supported").hint("Write one assignment per column."));
    };
    let name = name.0.last().and_then(|part| part.as_ident()).map(normal).unwrap_or_default();
    if is_default(&assignment.value) && table.columns.iter().any(|column| column.name == name && column.generated.is_some()) {
        return Ok(None);
    }
    let position = position_of(object, table, &name, scope)?;
    let value = if is_default(&assignment.value) { default_expression(&table.columns[position])? } else { assignment.value.clone() };
    Ok(Some((position, value)))
}
