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

use super::bound::Bound;
use super::casts::has_rows;
use super::conflict::ConflictPlan;
use super::data_type::sql_type;
use super::errors::{character_position, from_datafusion, placed, word_position};
use super::expressions::{Assignment, assignment_cast, is_literal, not_arrived, null_of};
use super::names::{hidden, normal};
use super::parameters::{Parameters, number};
use super::planner::{Planned, Planner};
use super::refused::no_aggregates;
use super::resolve::{Scope, schema_of};
use super::returning::Beside;
use super::text;
use super::values::declared_as;
use super::zones::expression_in_utc;
use crate::catalog::{Column, Object, ObjectKind, Table, nearest};
use crate::error::{Error, Kind, Result};
use crate::sql::{Insert, InsertConflict, Name, WithQueries, is_default};
use crate::types::{SqlType, all_nullable};

/// The columns of a table before NOT NULL has been checked.
fn unchecked(columns: &[Column]) -> SchemaRef {
    all_nullable(&schema_of(columns))
}

/// What a statement writes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The table.
    pub object: Arc<Object>,
    /// Where the rows come from.
    pub rows: Bound,
    /// RETURNING: a query over the rows that were written, under the number [`RETURNED`](super::RETURNED): the table's new columns, or the old
    /// ones of DELETE, and what the rows have beyond them.
    pub returning: Option<Bound>,
    /// ON CONFLICT DO UPDATE: what happens to the row that is there.
    pub conflict: Option<ConflictPlan>,
}

impl Change {
    /// A change of a table's rows. What the parameters are is known when all of the statement has been planned.
    fn new(object: Arc<Object>, rows: Bound, returning: Option<Bound>, conflict: Option<ConflictPlan>, parameters: Parameters) -> Change {
        let parameters = parameters.settled();
        let returning = returning.map(|returning| Bound { parameters: parameters.clone(), ..returning });
        Change { object, rows: Bound { parameters, ..rows }, returning, conflict }
    }
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
        let mut targets = insert_targets(&object, table, &insert.columns, scope)?;
        let mut parameters = Parameters::new(declared);
        let (planned, given) = match insert.source.as_deref().cloned() {
            None => {
                targets.clear();
                let empty = LogicalPlanBuilder::empty(true).build().map_err(|error| from_datafusion(error, scope.text))?;
                ((empty, std::collections::BTreeSet::new(), false), Vec::new())
            }
            Some(mut query) => {
                let given = prepare_source(&mut query, table, &targets, &mut parameters, scope)?;
                let query = within(query, insert.with.as_ref())?;
                let planned = self.plan_typed(&query, scope, &mut parameters, true)?;
                (planned, given)
            }
        };
        let width = planned.0.schema().fields().len();
        if insert.source.is_some() && width > targets.len() {
            return Err(Error::new(Kind::Syntax, "INSERT has more expressions than target columns"));
        }
        let is_values = insert.source.as_ref().is_some_and(|query| matches!(query.body.as_ref(), ast::SetExpr::Values(_)));
        let computed = targets.iter().take(width).map(|target| &table.columns[*target]).find(|column| column.generated.is_some());
        // In VALUES each is DEFAULT, as has been seen.
        if let Some(column) = computed.filter(|_| !is_values) {
            return Err(not_default(column));
        }
        if insert.source.is_some() && named && width < targets.len() {
            return Err(Error::new(Kind::Syntax, "INSERT has more target columns than expressions"));
        }
        let (plan, views, system) = planned;
        let columns = plan.schema().columns();
        let mut values = Vec::with_capacity(table.columns.len());
        for (position, column) in table.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none()) {
            let from = targets.iter().position(|target| *target == position).and_then(|at| Some((at, columns.get(at)?)));
            let value = match from {
                Some((at, from)) => {
                    given.get(at).copied().unwrap_or_default().assigned(Expr::Column(from.clone()), plan.schema(), column)?
                }
                None => self.default_of(column, scope)?,
            };
            values.push(value.alias(column.name.clone()));
        }
        let plan = project(plan, values, scope)?;
        let plan = self.with_generated(plan, table, Vec::new(), Vec::new(), scope)?;
        let rows = self.change_rows((plan, views, system), unchecked(&table.columns), scope)?;
        let (with, name) = (insert.with.as_ref(), &insert.table.name);
        let conflict = match &insert.on_conflict {
            Some(InsertConflict::DoUpdate { assignments, condition }) if !table.key.is_empty() => {
                Some(self.conflict_plan(&object, assignments, condition.as_ref(), scope, &mut parameters)?)
            }
            _ => None,
        };
        let asked = (scope, &mut parameters);
        let returning = self.returning(insert.returning.as_deref(), with, (&object, table), name, &Beside::default(), asked)?;
        Ok(Change::new(object, rows, returning, conflict, parameters))
    }

    /// UPDATE: the old columns, then the new ones, then what RETURNING may show of FROM.
    pub fn update(&self, update: &WithQueries<ast::Update>, scope: &Scope<'_>, declared: &[Option<SqlType>]) -> Result<Change> {
        let WithQueries { with, body: update } = update;
        let others = match &update.from {
            Some(ast::UpdateTableFromKind::AfterSet(others) | ast::UpdateTableFromKind::BeforeSet(others)) => others.as_slice(),
            None => &[],
        };
        let (name, qualifier) = relation_name(&update.table.relation, scope)?;
        let object = target(scope, &name)?;
        let table = table_of(&object)?;
        if table.append_only {
            return Err(append_only(&object));
        }
        let mut parameters = Parameters::new(declared);
        let mut items = old_columns(table, &qualifier);
        let mut assigned: Vec<Option<Given>> = vec![None; table.columns.len()];
        for assignment in &update.assignments {
            no_aggregates(&assignment.value, "UPDATE", self, scope.text)?;
            let Some((position, value)) = assignment_of(assignment, &object, table, scope)? else { continue };
            if assigned[position].is_some() {
                return Err(assigned_twice(&table.columns[position]));
            }
            note_parameter(&value, &table.columns[position].sql_type, &mut parameters);
            assigned[position] = Some(Given::of(&assignment.value, &value, scope));
            items.push(item(value, hidden("new", position)));
        }
        let beside = self.beside(others, with.as_ref(), update.returning.as_deref(), scope, &mut parameters)?;
        let query = joined_query(items, (&object, &update.table), &qualifier, (others, &beside), update.selection.clone(), with.as_ref())?;
        let (plan, views, system) = self.plan_typed(&query, scope, &mut parameters, false)?;
        let old: Vec<Expr> = (0..table.columns.len()).map(|position| column_named(hidden("old", position))).collect();
        let mut values = old.clone();
        for (position, column) in table.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none()) {
            let value = match &assigned[position] {
                Some(given) => given.assigned(column_named(hidden("new", position)), plan.schema(), column)?,
                None => column_named(hidden("old", position)),
            };
            values.push(value.alias(column.name.clone()));
        }
        values.extend(beside.names().into_iter().map(column_named));
        let plan = project(plan, values, scope)?;
        let plan = self.with_generated(plan, table, old, beside.names(), scope)?;
        let columns = unchecked(&table.columns);
        let fields = columns.fields().iter().chain(columns.fields()).chain(beside.schema().fields()).cloned().collect::<Vec<_>>();
        let rows = self.change_rows((plan, views, system), Arc::new(Schema::new(fields)), scope)?;
        let asked = (scope, &mut parameters);
        let returning = self.returning(update.returning.as_deref(), with.as_ref(), (&object, table), &qualifier, &beside, asked)?;
        Ok(Change::new(object, rows, returning, None, parameters))
    }

    /// DELETE: the old columns, then what RETURNING may show of USING.
    pub fn delete(&self, delete: &WithQueries<ast::Delete>, scope: &Scope<'_>, declared: &[Option<SqlType>]) -> Result<Change> {
        let WithQueries { with, body: delete } = delete;
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        let [only] = from.as_slice() else { return Err(Error::not_supported("DELETE from several tables is not supported")) };
        let others = delete.using.as_deref().unwrap_or_default();
        let (name, qualifier) = relation_name(&only.relation, scope)?;
        let object = target(scope, &name)?;
        let table = table_of(&object)?;
        if table.append_only {
            return Err(append_only(&object));
        }
        let mut parameters = Parameters::new(declared);
        let beside = self.beside(others, with.as_ref(), delete.returning.as_deref(), scope, &mut parameters)?;
        let items = old_columns(table, &qualifier);
        let query = joined_query(items, (&object, only), &qualifier, (others, &beside), delete.selection.clone(), with.as_ref())?;
        let planned = self.plan_typed(&query, scope, &mut parameters, false)?;
        let fields = unchecked(&table.columns).fields().iter().chain(beside.schema().fields()).cloned().collect::<Vec<_>>();
        let rows = self.change_rows(planned, Arc::new(Schema::new(fields)), scope)?;
        let asked = (scope, &mut parameters);
        let returning = self.returning(delete.returning.as_deref(), with.as_ref(), (&object, table), &qualifier, &beside, asked)?;
        Ok(Change::new(object, rows, returning, None, parameters))
    }

    fn change_rows(&self, planned: Planned, schema: SchemaRef, scope: &Scope<'_>) -> Result<Bound> {
        Ok(Bound { schema, ..self.bind(planned, scope)? })
    }

    /// `before`, then every column of the table: the generated ones computed from the others, which `plan` has by their names. Then `behind`.
    fn with_generated(
        &self,
        plan: LogicalPlan,
        table: &Table,
        before: Vec<Expr>,
        behind: Vec<String>,
        scope: &Scope<'_>,
    ) -> Result<LogicalPlan> {
        let mut values = before;
        for column in &table.columns {
            let value = match &column.generated {
                None => column_named(column.name.clone()),
                Some(_) if column.is_arrival() => Expr::Literal(not_arrived(), None).alias(column.name.clone()),
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
        values.extend(behind.into_iter().map(column_named));
        project(plan, values, scope)
    }

    fn default_of(&self, column: &Column, scope: &Scope<'_>) -> Result<Expr> {
        let Some(sql) = &column.default else { return null_of(&column.sql_type) };
        let parsed = text::expression(sql)?;
        let empty = DFSchema::empty();
        let expr = self.logical_expression(&parsed, &empty, &Scope { text: sql, ..*scope })?;
        assignment_cast(expr, &empty, &column.sql_type, &Assignment { column: &column.name, literal: is_literal(&parsed) })
    }
}

/// The query with those that it may read named before it.
fn within(query: ast::Query, with: Option<&ast::With>) -> Result<ast::Query> {
    let Some(with) = with else { return Ok(query) };
    if query.with.is_none() {
        return Ok(ast::Query { with: Some(with.clone()), ..query });
    }
    // Its own names are read by it alone.
    let around = text::query("SELECT 1")?;
    Ok(ast::Query { with: Some(with.clone()), body: Box::new(ast::SetExpr::Query(Box::new(query))), ..around })
}

pub(super) fn select_query(
    items: Vec<ast::SelectItem>,
    from: Vec<ast::TableWithJoins>,
    selection: Option<ast::Expr>,
) -> Result<ast::Query> {
    let mut query = text::query("SELECT 1")?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.from = from;
        select.selection = selection;
    }
    Ok(query)
}

/// `WITH with SELECT items FROM target, others WHERE selection`, each row of the target once at the most: one that several rows of the others fit to is
/// changed by one of them, as in PostgreSQL. Rows that are equal are told apart by a number.
fn joined_query(
    mut items: Vec<ast::SelectItem>,
    (object, target): (&Object, &ast::TableWithJoins),
    qualifier: &str,
    (others, beside): (&[ast::TableWithJoins], &Beside),
    selection: Option<ast::Expr>,
    with: Option<&ast::With>,
) -> Result<ast::Query> {
    // What WITH names is not what is changed, whatever it is called.
    let target = match with {
        None => target.clone(),
        Some(_) => {
            let name = Name { schema: Some(object.schema.clone()), name: object.name.clone(), position: 1 };
            ast::TableWithJoins { relation: table_factor(&name, Some(qualifier)), joins: Vec::new() }
        }
    };
    if others.is_empty() {
        return Ok(ast::Query { with: with.cloned(), ..select_query(items, vec![target], selection)? });
    }
    let quoted = |name: &str| ast::Ident::with_quote('"', name);
    let number = hidden("row", 0);
    let rows = vec![
        ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default()),
        item(text::expression("row_number() OVER ()")?, number.clone()),
    ];
    let numbered = ast::TableFactor::Derived {
        lateral: false,
        subquery: Box::new(select_query(rows, vec![target], None)?),
        alias: Some(ast::TableAlias { explicit: true, name: quoted(qualifier), columns: Vec::new(), at: None }),
        sample: None,
    };
    let number = ast::Expr::CompoundIdentifier(vec![quoted(qualifier), quoted(&number)]);
    items.extend(beside.items(number.clone()));
    let mut from = vec![ast::TableWithJoins { relation: numbered, joins: Vec::new() }];
    from.extend_from_slice(others);
    let mut query = select_query(items, from, selection)?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.distinct = Some(ast::Distinct::On(vec![number]));
    }
    query.with = with.cloned();
    Ok(query)
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

pub(super) fn table_of(object: &Object) -> Result<&Table> {
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
    let place = name.span().start;
    let position = character_position(place.line, place.column, scope.text).or_else(|| word_position(last, scope.text)).unwrap_or(1);
    Ok((Name { schema: before.last().cloned(), name: last.clone(), position }, qualifier))
}

/// `name AS alias`
pub(super) fn table_factor(name: &Name, alias: Option<&str>) -> ast::TableFactor {
    let quoted = |name: &str| ast::Ident::with_quote('"', name);
    let parts = name.schema.iter().chain(std::iter::once(&name.name));
    let parts = parts.map(|part| ast::ObjectNamePart::Identifier(quoted(part))).collect();
    ast::TableFactor::Table {
        name: ast::ObjectName(parts),
        alias: alias.map(|alias| ast::TableAlias { explicit: true, name: quoted(alias), columns: Vec::new(), at: None }),
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

/// A value that is given for a column.
#[derive(Clone, Copy, Default)]
struct Given {
    /// Whether it is a literal or parameter: its type is then open.
    literal: bool,
    /// Where it stands, if that is known.
    position: Option<usize>,
}

impl Given {
    /// `written` is what stands in the text, `value` what is meant.
    fn of(written: &ast::Expr, value: &ast::Expr, scope: &Scope<'_>) -> Given {
        let place = written.span().start;
        Given { literal: is_literal(value), position: character_position(place.line, place.column, scope.text) }
    }

    /// The value as one of the column.
    fn assigned(self, value: Expr, schema: &DFSchema, column: &Column) -> Result<Expr> {
        let assignment = Assignment { column: &column.name, literal: self.literal };
        assignment_cast(value, schema, &column.sql_type, &assignment).map_err(|error| match self.position {
            Some(position) if error.kind() == Kind::DatatypeMismatch && error.position().is_none() => error.at(position),
            _ => error,
        })
    }
}

/// `428C9`: only DEFAULT can be given.
fn not_default(column: &Column) -> Error {
    Error::new(Kind::GeneratedAlways, format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name))
        .detail(format!("Column \"{}\" is a generated column.", column.name))
        .hint("Name the other columns, or give DEFAULT for it.")
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
    Ok(position)
}

/// `42601`: which of the values is meant?
pub(super) fn assigned_twice(column: &Column) -> Error {
    Error::new(Kind::Syntax, format!("multiple assignments to same column \"{}\"", column.name))
}

/// `428C9` for a generated column that is set to anything but DEFAULT.
fn refuse_generated(column: &Column) -> Result<()> {
    if column.generated.is_none() {
        return Ok(());
    }
    Err(Error::new(Kind::GeneratedAlways, format!("column \"{}\" can only be updated to DEFAULT", column.name))
        .detail(format!("Column \"{}\" is a generated column.", column.name)))
}

/// The positions that an INSERT's expressions go to.
fn insert_targets(object: &Object, table: &Table, names: &[String], scope: &Scope<'_>) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..table.columns.len()).collect());
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

/// Puts defaults in the place of DEFAULT and notes the types of parameters; tells what is given for each column.
fn prepare_source(
    query: &mut ast::Query,
    table: &Table,
    targets: &[usize],
    parameters: &mut Parameters,
    scope: &Scope<'_>,
) -> Result<Vec<Given>> {
    let mut given = vec![Given::default(); targets.len()];
    match query.body.as_mut() {
        ast::SetExpr::Values(values) => {
            check_rows(values, targets.len(), scope)?;
            read_beside_others(values, table, targets)?;
            for row in &mut values.rows {
                for (at, value) in row.content.iter_mut().enumerate() {
                    let column = &table.columns[targets[at]];
                    let position = Given::of(value, value, scope).position;
                    if is_default(value) {
                        // A generated column is computed, whatever stands for it here.
                        *value = default_expression(column)?;
                    } else if column.generated.is_some() {
                        return Err(not_default(column));
                    }
                    note_parameter(value, &column.sql_type, parameters);
                    given[at] = Given { literal: given[at].literal | is_literal(value), position: given[at].position.or(position) };
                    as_column(value, &column.sql_type)?;
                }
            }
        }
        ast::SetExpr::Select(select) => {
            for (at, item) in select.projection.iter().enumerate().take(targets.len()) {
                if let ast::SelectItem::UnnamedExpr(value) | ast::SelectItem::ExprWithAlias { expr: value, .. } = item {
                    note_parameter(value, &table.columns[targets[at]].sql_type, parameters);
                    given[at] = Given::of(value, value, scope);
                } else {
                    // From a `*` on, positions are not known before planning.
                    break;
                }
            }
        }
        _ => {}
    }
    Ok(given)
}

/// Rows of VALUES have as many values as each other, and not more than there are columns for them.
fn check_rows(values: &ast::Values, width: usize, scope: &Scope<'_>) -> Result<()> {
    let at = |error: Error, value: Option<&ast::Expr>| {
        let place = value.map_or((0, 0), |value| (value.span().start.line, value.span().start.column));
        placed(error, place, scope.text)
    };
    let first = values.rows.first().map_or(0, |row| row.content.len());
    if let Some(other) = values.rows.iter().find(|row| row.content.len() != first) {
        return Err(at(Error::new(Kind::Syntax, "VALUES lists must all be the same length"), other.content.first()));
    }
    match values.rows.iter().find_map(|row| row.content.get(width)) {
        Some(surplus) => Err(at(Error::new(Kind::Syntax, "INSERT has more expressions than target columns"), Some(surplus))),
        None => Ok(()),
    }
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
            if (is_literal(cell) && number(cell).is_none()) || moment {
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

/// What is assigned to a column is of its type.
pub(super) fn note_parameter(value: &ast::Expr, sql_type: &SqlType, parameters: &mut Parameters) {
    if let Some(number) = number(value) {
        parameters.note(number, sql_type.whole());
    }
}

fn assignment_of(assignment: &ast::Assignment, object: &Object, table: &Table, scope: &Scope<'_>) -> Result<Option<(usize, ast::Expr)>> {
    let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
        return Err(Error::internal("an assignment to several columns is left"));
    };
    let name = name.0.last().and_then(|part| part.as_ident()).map(normal).unwrap_or_default();
    assigned_to(&name, &assignment.value, object, table, scope)
}

/// The position of a column that is assigned to, and the value, which DEFAULT stands for another of; `None`: nothing is to be done.
pub(super) fn assigned_to(
    name: &str,
    value: &ast::Expr,
    object: &Object,
    table: &Table,
    scope: &Scope<'_>,
) -> Result<Option<(usize, ast::Expr)>> {
    if is_default(value) && table.columns.iter().any(|column| column.name == name && column.generated.is_some()) {
        return Ok(None);
    }
    let position = position_of(object, table, name, scope)?;
    refuse_generated(&table.columns[position])?;
    let value = if is_default(value) { default_expression(&table.columns[position])? } else { value.clone() };
    Ok(Some((position, value)))
}
