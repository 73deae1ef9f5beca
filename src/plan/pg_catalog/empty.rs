//! Parts of catalog queries that can never have a row, told by what the catalogs never hold.
//!
//! Clients ask for triggers, policies, publications and partitions of every table, in subqueries that DataFusion cannot plan. We have none of
//! these, so such a query is answered by its columns and no rows, and nobody has to plan the rest of it.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, JoinOperator,
    ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, TableFunctionArgs, TableWithJoins, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::{literal, null_of, part};
use crate::catalog::system::{self, Declared};
use crate::plan::names::{figure, normal};

/// Columns that are NULL in every row.
const ALWAYS_NULL: &[&str] =
    &["attacl", "attfdwoptions", "attmissingval", "conbin", "indpred", "indexprs", "relacl", "reloptions", "relpartbound"];

/// Columns that are false in every row.
const ALWAYS_FALSE: &[&str] = &["attisdropped", "condeferrable", "condeferred", "indisclustered", "indisexclusion", "relispartition"];

/// The system relation that a name stands for: in `pg_catalog`, which is searched first, or with its schema.
pub(super) fn declared(name: &ObjectName) -> Option<&'static Declared> {
    match name.0.len() {
        1 => system::relation("pg_catalog", &part(name, 0)?),
        2 => system::relation(&part(name, 0)?, &part(name, 1)?),
        _ => None,
    }
}

/// Replaces the parts of a query that have no rows by their columns alone. Returns whether nothing else is left of it.
pub(super) fn replace_empty(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => {
            let replaced = is_empty(select) && !select.projection.iter().any(is_wildcard);
            if replaced {
                clear(select);
            }
            replaced
        }
        SetExpr::SetOperation { left, right, .. } => {
            let (left, right) = (replace_empty(left), replace_empty(right));
            left && right
        }
        _ => false,
    }
}

/// Whether a query has no rows.
pub(super) fn query_is_empty(query: &Query) -> bool {
    matches!(&*query.body, SetExpr::Select(select) if is_empty(select))
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

fn is_empty(select: &Select) -> bool {
    // An aggregate without groups has one row, whatever it reads.
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if select.from.is_empty() || (!grouped && select.projection.iter().any(is_aggregate)) {
        return false;
    }
    let false_condition = select.selection.as_ref().is_some_and(|condition| conjuncts(condition).into_iter().any(is_false));
    false_condition || select.from.iter().any(from_is_empty)
}

/// Whether one item of FROM has no rows: its first relation, or one that is joined so that it must have some.
fn from_is_empty(from: &TableWithJoins) -> bool {
    if from
        .joins
        .iter()
        .any(|join| matches!(join.join_operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)))
    {
        return false;
    }
    let inner = |operator: &JoinOperator| matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_));
    factor_is_empty(&from.relation) || from.joins.iter().any(|join| inner(&join.join_operator) && factor_is_empty(&join.relation))
}

fn factor_is_empty(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => declared(name).is_some_and(|declared| declared.rows.is_none()),
        TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), .. } => {
            part(name, name.0.len() - 1).as_deref() == Some("unnest")
                && args.first().is_some_and(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => is_column_of(argument, ALWAYS_NULL),
                    _ => false,
                })
        }
        TableFactor::UNNEST { array_exprs, .. } => matches!(array_exprs.as_slice(), [array] if is_column_of(array, ALWAYS_NULL)),
        _ => false,
    }
}

fn is_aggregate(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return false };
    has_aggregate(expr)
}

/// Whether an aggregate is called, looking through what commonly stands around one.
pub(super) fn has_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => {
            let name = part(&function.name, function.name.0.len().saturating_sub(1)).unwrap_or_default();
            let arguments = match &function.args {
                FunctionArguments::List(list) => list.args.as_slice(),
                _ => &[],
            };
            matches!(
                name.as_str(),
                "count"
                    | "sum"
                    | "min"
                    | "max"
                    | "avg"
                    | "array_agg"
                    | "string_agg"
                    | "bool_and"
                    | "bool_or"
                    | "every"
                    | "json_agg"
                    | "jsonb_agg"
                    | "json_object_agg"
                    | "first_value"
                    | "last_value"
            ) || arguments
                .iter()
                .any(|argument| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) if has_aggregate(argument)))
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::UnaryOp { expr, .. } | Expr::Collate { expr, .. } => has_aggregate(expr),
        Expr::BinaryOp { left, right, .. } => has_aggregate(left) || has_aggregate(right),
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter().any(|when| has_aggregate(&when.result)) || else_result.as_deref().is_some_and(has_aggregate)
        }
        _ => false,
    }
}

/// The parts of a condition that must all hold.
pub(super) fn conjuncts(condition: &Expr) -> Vec<&Expr> {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        Expr::Nested(inner) => conjuncts(inner),
        other => vec![other],
    }
}

fn is_false(condition: &Expr) -> bool {
    match condition {
        Expr::IsNotNull(column) => is_column_of(column, ALWAYS_NULL),
        // No column has another collation than its type, and there are no domains that could have constraints.
        Expr::BinaryOp { left, op: BinaryOperator::NotEq, right } => {
            let collation = |expr: &Expr| column_name(expr).is_some_and(|name| matches!(name.as_str(), "attcollation" | "typcollation"));
            collation(left) && collation(right)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => [left, right].iter().any(|side| is_column_of(side, &["contypid"])),
        column => is_column_of(column, ALWAYS_FALSE),
    }
}

/// The name of a column, without what stands before it.
pub(super) fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(normal(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(normal),
        Expr::Nested(inner) => column_name(inner),
        _ => None,
    }
}

fn is_column_of(expr: &Expr, names: &[&str]) -> bool {
    column_name(expr).is_some_and(|name| names.contains(&name.as_str()))
}

/// Leaves the columns of a SELECT, with their names and, where they are known, their types.
fn clear(select: &mut Select) {
    let mut read = Vec::new();
    for from in &select.from {
        for factor in [&from.relation].into_iter().chain(from.joins.iter().map(|join| &join.relation)) {
            if let TableFactor::Table { name, .. } = factor {
                read.extend(declared(name));
            }
        }
    }
    for item in &mut select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name);
                (expr, Ident::with_quote('"', name))
            }
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.clone()),
            _ => continue,
        };
        let data_type = type_of(expr, &read);
        *item = SelectItem::ExprWithAlias { expr: null_of(data_type), alias };
    }
    select.from.clear();
    select.selection = Some(literal(Value::Boolean(false)));
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
}

fn type_of(expr: &Expr, read: &[&Declared]) -> DataType {
    if let Expr::Cast {
        kind: CastKind::Cast | CastKind::DoubleColon,
        data_type: data_type @ (DataType::Boolean | DataType::Integer(_)),
        ..
    } = expr
    {
        return data_type.clone();
    }
    let column = column_name(expr).and_then(|name| read.iter().flat_map(|declared| declared.columns()).find(|column| column.name == name));
    let named = column.map(|column| column.sql_type.to_string());
    let parsed = named.and_then(|name| Parser::new(&PostgreSqlDialect {}).try_with_sql(&name).ok()?.parse_data_type().ok());
    parsed.unwrap_or(DataType::Text)
}
