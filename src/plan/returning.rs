//! RETURNING: a query over the rows that a statement has written, and over those of FROM or USING that stood beside each of them.
//!
//! In: the list behind RETURNING. Out: a query over one relation, whose rows come when they have been written: the table's columns, then those
//! that stood beside them, then the row's number. Where there are others, each part gets its name back:
//!
//! ```text
//! UPDATE t … FROM o … RETURNING *, v     SELECT t.id, t.a, o.id, o.v, v FROM (SELECT id, a, number FROM returned) AS t,
//!                                        (SELECT … AS id, … AS v, number FROM returned) AS o WHERE t.number = o.number
//! ```
//!
//! Everything else that RETURNING names is a relation as always, as it was before the statement.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use chrono_tz::Tz;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::logical_expr::ScalarUDF;
use sqlparser::ast;

use super::bound::Bound;
use super::dml::{select_query, table_factor};
use super::names::{hidden, normal};
use super::parameters::Parameters;
use super::planner::Planner;
use super::refused;
use super::resolve::{RelationSource, Scope};
use crate::catalog::{Column, Object, ObjectKind, Table};
use crate::error::Result;
use crate::sql::Name;
use crate::types::{ObjectId, SqlType, sql_type_of};

/// The number of the relation of written rows, which no object has.
pub const RETURNED: ObjectId = 0;

/// What stands beside a table's rows in FROM or USING.
#[derive(Default)]
pub(super) struct Beside(Vec<BesideColumn>);

/// A column of FROM or USING.
struct BesideColumn {
    /// What may stand before its name.
    qualifier: Option<String>,
    name: String,
    sql_type: SqlType,
}

impl Beside {
    /// All of them and the row's number, as items of the query that finds the rows; `number` is the column that has it.
    pub(super) fn items(&self, number: ast::Expr) -> Vec<ast::SelectItem> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let columns = self.0.iter().enumerate().map(|(at, column)| {
            let parts = column.qualifier.iter().chain([&column.name]).map(|part| quoted(part)).collect();
            aliased(ast::Expr::CompoundIdentifier(parts), &hidden("beside", at))
        });
        columns.chain([aliased(number, &number_name())]).collect()
    }

    /// What `items` are called.
    pub(super) fn names(&self) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        (0..self.0.len()).map(|at| hidden("beside", at)).chain([number_name()]).collect()
    }

    /// The same, as columns.
    fn columns(&self) -> Vec<Column> {
        let types = self.0.iter().map(|column| column.sql_type.clone()).chain([SqlType::Int8]);
        let column = |(name, sql_type)| Column { name, sql_type, not_null: false, default: None, generated: None, include: None };
        self.names().into_iter().zip(types).map(column).collect()
    }

    /// Their fields.
    pub(super) fn schema(&self) -> SchemaRef {
        let fields = self.columns().into_iter().map(|column| column.sql_type.field(&column.name, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The different qualifiers, in order.
    fn qualifiers(&self) -> Vec<Option<&str>> {
        let mut found: Vec<Option<&str>> = Vec::new();
        for column in &self.0 {
            if !found.contains(&column.qualifier.as_deref()) {
                found.push(column.qualifier.as_deref());
            }
        }
        found
    }

    fn of<'a>(&'a self, qualifier: Option<&'a str>) -> impl Iterator<Item = (usize, &'a BesideColumn)> {
        self.0.iter().enumerate().filter(move |(_, column)| column.qualifier.as_deref() == qualifier)
    }
}

impl Planner {
    /// The columns of the relations beside the one that is changed; none if nobody wants to see them.
    pub(super) fn beside(
        &self,
        others: &[ast::TableWithJoins],
        with: Option<&ast::With>,
        returning: Option<&[ast::SelectItem]>,
        scope: &Scope<'_>,
        parameters: &mut Parameters,
    ) -> Result<Beside> {
        if others.is_empty() || returning.is_none() {
            return Ok(Beside::default());
        }
        let all = ast::SelectItem::Wildcard(ast::WildcardAdditionalOptions::default());
        let mut query = select_query(vec![all], others.to_vec(), None)?;
        query.with = with.cloned();
        let (plan, ..) = self.plan_typed(&query, scope, parameters, false)?;
        let columns = plan.schema().iter().map(|(qualifier, field)| BesideColumn {
            qualifier: qualifier.map(TableReference::table).map(str::to_owned),
            name: field.name().clone(),
            sql_type: sql_type_of(field),
        });
        Ok(Beside(columns.collect()))
    }

    /// RETURNING `items`, where the table is called `qualifier`.
    pub(super) fn returning(
        &self,
        items: Option<&[ast::SelectItem]>,
        with: Option<&ast::With>,
        (object, table): (&Object, &Table),
        qualifier: &str,
        beside: &Beside,
        (scope, parameters): (&Scope<'_>, &mut Parameters),
    ) -> Result<Option<Bound>> {
        let Some(items) = items else { return Ok(None) };
        items.iter().try_for_each(|item| refused::no_aggregates(item, "RETURNING", self, scope.text))?;
        let mut query = if beside.0.is_empty() {
            select_query(items.to_vec(), vec![plain(returned(qualifier))], None)?
        } else {
            let items = items.iter().flat_map(|item| spelled_out(item, table, qualifier, beside)).collect();
            let (from, condition) = parts(table, qualifier, beside)?;
            select_query(items, from, condition)?
        };
        query.with = with.cloned();
        let columns = table.columns.iter().cloned().chain(beside.columns()).collect();
        let table = Table { columns, key: Vec::new(), connector: None, ..table.clone() };
        let (name, schema) = (returned_name(), object.schema.clone());
        let object = Object { id: RETURNED, name, schema, kind: ObjectKind::Table(table), ..object.clone() };
        let relations = WithReturned { inner: scope.relations, returned: Arc::new(object) };
        let scope = Scope { relations: &relations, ..*scope };
        let planned = self.plan_typed(&query, &scope, parameters, false)?;
        self.bind(planned, &scope).map(Some)
    }
}

/// The FROM and WHERE that give each part of the rows its name back.
fn parts(table: &Table, qualifier: &str, beside: &Beside) -> Result<(Vec<ast::TableWithJoins>, Option<ast::Expr>)> {
    let own = table.columns.iter().map(|column| aliased(ast::Expr::Identifier(quoted(&column.name)), &column.name)).collect();
    let mut from = vec![plain(part(own, qualifier)?)];
    let mut condition: Option<ast::Expr> = None;
    for other in beside.qualifiers() {
        let items = beside.of(other).map(|(at, column)| aliased(ast::Expr::Identifier(quoted(&hidden("beside", at))), &column.name));
        // Merged columns have nothing before their names.
        let name = other.map_or_else(|| hidden("merged", 0), str::to_owned);
        from.push(plain(part(items.collect(), &name)?));
        let number = |name: &str| Box::new(ast::Expr::CompoundIdentifier(vec![quoted(name), quoted(&number_name())]));
        let same = ast::Expr::BinaryOp { left: number(qualifier), op: ast::BinaryOperator::Eq, right: number(&name) };
        condition = Some(match condition {
            Some(before) => ast::Expr::BinaryOp { left: Box::new(before), op: ast::BinaryOperator::And, right: Box::new(same) },
            None => same,
        });
    }
    Ok((from, condition))
}

/// `(SELECT items, number FROM returned) AS name`
fn part(mut items: Vec<ast::SelectItem>, name: &str) -> Result<ast::TableFactor> {
    items.push(aliased(ast::Expr::Identifier(quoted(&number_name())), &number_name()));
    let subquery = Box::new(select_query(items, vec![plain(returned(name))], None)?);
    let alias = ast::TableAlias { explicit: true, name: quoted(name), columns: Vec::new(), at: None };
    Ok(ast::TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
}

/// An item with the columns of `*` and `t.*` by their names: the row's number is not among them.
fn spelled_out(item: &ast::SelectItem, table: &Table, qualifier: &str, beside: &Beside) -> Vec<ast::SelectItem> {
    let column = |qualifier: Option<&str>, name: &str| {
        let parts = qualifier.into_iter().chain([name]).map(quoted).collect();
        ast::SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(parts))
    };
    let own = || table.columns.iter().map(|own| column(Some(qualifier), &own.name));
    let others = |of: Option<&str>| beside.of(of).map(|(_, other)| column(of, &other.name)).collect::<Vec<_>>();
    match item {
        ast::SelectItem::Wildcard(_) => {
            let all = beside.0.iter().map(|other| column(other.qualifier.as_deref(), &other.name));
            own().chain(all).collect()
        }
        ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            let of = name.0.last().and_then(|part| part.as_ident()).map(normal).unwrap_or_default();
            let columns = if of == qualifier { own().collect() } else { others(Some(&of)) };
            // What is none of them, the planner tells.
            if columns.is_empty() { vec![item.clone()] } else { columns }
        }
        other => vec![other.clone()],
    }
}

/// The relations of a session, and that of the rows that were written.
struct WithReturned<'a> {
    inner: &'a dyn RelationSource,
    returned: Arc<Object>,
}

impl RelationSource for WithReturned<'_> {
    fn system(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.inner.system(schema, name)
    }

    fn withholds_system(&self) -> bool {
        self.inner.withholds_system()
    }

    fn time_zone(&self) -> Tz {
        self.inner.time_zone()
    }

    fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.inner.function(name)
    }

    fn object(&self, name: &str) -> Option<&Arc<Object>> {
        (name == self.returned.name).then_some(&self.returned)
    }
}

fn returned_name() -> String {
    hidden("returned", 0)
}

fn number_name() -> String {
    hidden("number", 0)
}

/// The rows that were written, under a name.
fn returned(alias: &str) -> ast::TableFactor {
    table_factor(&Name { schema: None, name: returned_name(), position: 1 }, Some(alias))
}

fn plain(relation: ast::TableFactor) -> ast::TableWithJoins {
    ast::TableWithJoins { relation, joins: Vec::new() }
}

fn aliased(expr: ast::Expr, alias: &str) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: quoted(alias) }
}

fn quoted(name: &str) -> ast::Ident {
    ast::Ident::with_quote('"', name)
}
