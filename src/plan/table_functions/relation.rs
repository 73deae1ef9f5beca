//! A set-returning function in FROM → a plan: the unnest of its list, made from one row without columns.
//!
//! What the arguments say of columns from outside stays a reference to outside; `lateral` puts the outside's rows below.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Column, DFSchema, NullHandling, UnnestOptions};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ident, lit};
use sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableAliasColumnDef, TableFactor};

use super::expand::{function_name, list_within, set_function};
use super::lists::{element_of, no_such, ordinals};
use super::{Columns, SetFunction, json};
use crate::error::{Error, Kind};
use crate::plan::casts::text_input;
use crate::plan::column_aliases::ColumnAliases;
use crate::plan::data_type::sql_type;
use crate::plan::errors::external;
use crate::plan::names::{hidden, normal};
use crate::plan::window_columns::WindowColumns;
use crate::plan::written_call::written_call;
use crate::sql::ROWS_FROM;
use crate::types::{SqlType, sql_type_of};

/// Plans set-returning functions in FROM, relations whose columns get names, and windows, for DataFusion.
pub(in crate::plan) fn planners() -> &'static [Arc<dyn RelationPlanner>] {
    static PLANNERS: LazyLock<Vec<Arc<dyn RelationPlanner>>> =
        LazyLock::new(|| vec![Arc::new(SetFunctions), Arc::new(ColumnAliases), Arc::new(WindowColumns)]);
    &PLANNERS
}

#[derive(Debug)]
struct SetFunctions;

/// One of the functions of a FROM item: its list.
struct Made {
    set: &'static SetFunction,
    list: Expr,
}

impl RelationPlanner for SetFunctions {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> DataFusionResult<RelationPlanning> {
        let TableFactor::Function { name, args, alias, with_ordinality, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(made) = lists_of(name, args, context)? else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let item = Item { made, alias: alias.clone(), with_ordinality: *with_ordinality };
        let name = match &item.alias {
            Some(alias) => alias.name.clone(),
            None => Ident::with_quote('"', item.made[0].set.name),
        };
        let alias = TableAlias { explicit: true, name, columns: Vec::new(), at: None };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(item.plan()?, Some(alias)))))
    }
}

/// The lists of the functions that a FROM item names; `None`: it is no set-returning function.
fn lists_of(name: &ObjectName, args: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> DataFusionResult<Option<Vec<Made>>> {
    let set = set_function(name);
    if set.is_none() && function_name(name) != ROWS_FROM {
        return Ok(None);
    }
    let arguments = args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr.clone()),
        other => Err(refuse(Error::not_supported(format!("the argument {other} of {name} is not supported")))),
    });
    let arguments = arguments.collect::<DataFusionResult<Vec<SqlExpr>>>()?;
    let calls: Vec<(&'static SetFunction, SqlExpr)> = match set {
        // `unnest(a, b)` is `ROWS FROM (unnest(a), unnest(b))`.
        Some(set) if set.name == "unnest" => arguments.into_iter().map(|argument| (set, written_call(set.list, vec![argument]))).collect(),
        Some(set) => vec![(set, written_call(set.list, arguments))],
        None => {
            let found = arguments.into_iter().map(|argument| {
                let text = argument.to_string();
                list_within(argument).ok_or_else(|| refuse(Error::not_supported(format!("{text} in ROWS FROM is not supported"))))
            });
            found.collect::<DataFusionResult<_>>()?
        }
    };
    if calls.is_empty() {
        return Err(no_such(&function_name(name), &[]));
    }
    let made = calls.into_iter().map(|(set, call)| Ok(Made { set, list: context.sql_to_expr(call, &DFSchema::empty())? }));
    made.collect::<DataFusionResult<Vec<_>>>().map(Some)
}

/// A FROM item, ready to be planned.
struct Item {
    made: Vec<Made>,
    alias: Option<TableAlias>,
    with_ordinality: bool,
}

impl Item {
    fn plan(&self) -> DataFusionResult<LogicalPlan> {
        let empty = DFSchema::empty();
        let mut lists: Vec<Expr> =
            self.made.iter().enumerate().map(|(number, made)| made.list.clone().alias(hidden("list", number))).collect();
        let mut columns: Vec<(String, Expr)> = Vec::new();
        for (number, made) in self.made.iter().enumerate() {
            let list_type = made.list.get_type(&empty)?;
            let element = element_of(&list_type).ok_or_else(|| no_such(made.set.name, std::slice::from_ref(&list_type)))?;
            self.columns_of(made, ident(hidden("list", number)), element, &mut columns)?;
        }
        if self.with_ordinality {
            let all = self.made.iter().map(|made| made.list.clone()).collect();
            let name = hidden("ordinality", lists.len());
            lists.push(ordinals().call(all).alias(&name));
            columns.push(("ordinality".to_owned(), ident(name)));
        }
        let names = self.names(columns.iter().map(|(name, _)| name.clone()).collect())?;
        let unnested = lists.iter().map(|list| Column::new_unqualified(list.schema_name().to_string())).collect();
        let outputs = columns.into_iter().zip(names).map(|((_, expr), name)| marked(expr, name));
        LogicalPlanBuilder::empty(true)
            .project(lists)?
            .unnest_columns_with_options(unnested, UnnestOptions::new().with_null_handling(NullHandling::Drop))?
            .project(outputs.collect::<Vec<_>>())?
            .build()
    }

    /// The columns that the elements of one list make, with the names that they have by themselves.
    fn columns_of(&self, made: &Made, value: Expr, element: &Field, columns: &mut Vec<(String, Expr)>) -> DataFusionResult<()> {
        match (made.set.columns, element.data_type()) {
            (Columns::Defined { .. }, _) => {
                for column in self.alias.iter().flat_map(|alias| &alias.columns) {
                    columns.push((normal(&column.name), defined(value.clone(), column)?));
                }
                if columns.is_empty() {
                    let error = Error::new(Kind::Syntax, format!("a column definition list is required for {}()", made.set.name));
                    return Err(refuse(error.hint("Write AS t(a integer, b text).")));
                }
            }
            (_, DataType::Struct(fields)) => {
                let field = |field: &Arc<Field>| (field.name().clone(), typed(get_field(value.clone(), field.name().as_str()), field));
                columns.extend(fields.iter().map(field));
            }
            (Columns::Value, _) => columns.push(("value".to_owned(), typed(value, element))),
            (_, _) => columns.push((made.set.name.to_owned(), typed(value, element))),
        }
        Ok(())
    }

    /// The names of the columns: those behind the alias, the alias itself for one value, or else their own.
    fn names(&self, own: Vec<String>) -> DataFusionResult<Vec<String>> {
        let given = self.alias.iter().flat_map(|alias| &alias.columns).map(|column| normal(&column.name)).collect::<Vec<_>>();
        if given.len() > own.len() {
            let table = self.alias.as_ref().map(|alias| normal(&alias.name)).unwrap_or_default();
            let message = format!("table \"{table}\" has {} columns available but {} columns specified", own.len(), given.len());
            return Err(refuse(Error::new(Kind::Syntax, message)));
        }
        let single = self.made.len() == 1 && self.made[0].set.columns == Columns::Own && own.len() == 1 + usize::from(self.with_ordinality);
        let mut names: Vec<String> = Vec::with_capacity(own.len());
        for (number, own) in own.into_iter().enumerate() {
            let name = match (given.get(number), &self.alias) {
                (Some(given), _) => given.clone(),
                (None, Some(alias)) if single && number == 0 => normal(&alias.name),
                _ => own,
            };
            names.push(if names.contains(&name) { hidden(&name, number) } else { name });
        }
        Ok(names)
    }
}

/// A column that the alias defines: the member of its name.
fn defined(object: Expr, column: &TableAliasColumnDef) -> DataFusionResult<Expr> {
    let Some(data_type) = &column.data_type else {
        let message = format!("column \"{}\" has no type", normal(&column.name));
        return Err(refuse(Error::new(Kind::Syntax, message).hint("Write AS t(a integer, b text).")));
    };
    let target = sql_type(data_type).map_err(refuse)?;
    let whole = matches!(target, SqlType::Json | SqlType::Jsonb);
    let member = json::member(whole).call(vec![object, lit(normal(&column.name))]);
    Ok(match target {
        SqlType::Text => member,
        _ if whole => typed(member, &target.field("", true)),
        _ => text_input(member, &target),
    })
}

/// A value of the type that a field has, which unnesting forgets where Arrow has no word for it.
fn typed(value: Expr, field: &Field) -> Expr {
    if field.metadata().is_empty() || sql_type_of(field).field("", true).metadata().is_empty() {
        return value;
    }
    value.alias_with_metadata("typed", Some(FieldMetadata::from(field)))
}

/// The column under a name; what is known of its type stays.
fn marked(expr: Expr, name: String) -> Expr {
    match expr {
        Expr::Alias(alias) => alias.expr.alias_with_metadata(name, alias.metadata),
        other => other.alias(name),
    }
}

fn refuse(error: Error) -> DataFusionError {
    external(error)
}
