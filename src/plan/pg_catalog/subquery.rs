//! Subqueries within expressions of catalog queries: known to be empty, known to be a function, or brought into a form that DataFusion
//! decorrelates.

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select, SelectItem, SetExpr,
    TableFactor, TableFunctionArgs, Value,
};

use super::empty::{column_name, conjuncts, declared, has_aggregate, query_is_empty};
use super::{literal, null_of, oid_type, part};
use crate::plan::written_call::written_call;

/// Rewrites one expression, if it is a subquery. `scalars`: one in parentheses is a scalar one for certain.
pub(super) fn rewrite(expr: &mut Expr, scalars: bool) {
    match expr {
        Expr::Function(function) if part(&function.name, 0).is_some_and(|name| name.eq_ignore_ascii_case("array")) => {
            let FunctionArguments::Subquery(query) = &mut function.args else { return };
            let new = if query_is_empty(query) {
                written_call("tidemill_no_texts", Vec::new())
            } else if let Some(options) = options_of(query) {
                written_call("tidemill_options", vec![options])
            } else if aggregate(query, "array_agg") {
                Expr::Subquery(query.clone())
            } else {
                return;
            };
            *expr = new;
        }
        // What a domain is made of, a step at a time: there are no domains.
        Expr::Subquery(query) if follows_domains(query) => *expr = null_of(oid_type()),
        Expr::Exists { subquery, negated } if query_is_empty(subquery) => *expr = literal(Value::Boolean(*negated)),
        Expr::Subquery(query) if scalars => {
            if query_is_empty(query) {
                *expr = null_of(DataType::Text);
            } else if let Some(default) = default_of(query) {
                *expr = default;
            } else {
                aggregate(query, "first_value");
            }
        }
        _ => {}
    }
}

/// `WITH RECURSIVE … (SELECT typbasetype …)`.
fn follows_domains(query: &Query) -> bool {
    let starts_at_base = |body: &SetExpr| {
        let mut body = body;
        while let SetExpr::SetOperation { left, .. } = body {
            body = left;
        }
        let SetExpr::Select(select) = body else { return false };
        let first = match select.projection.first() {
            Some(SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }) => column_name(value),
            _ => None,
        };
        first.as_deref() == Some("typbasetype")
    };
    query.with.as_ref().is_some_and(|with| with.recursive && with.cte_tables.iter().any(|cte| starts_at_base(&cte.query.body)))
}

/// The one SELECT of a query that has nothing beside it.
fn only_select(query: &Query) -> Option<&Select> {
    match &*query.body {
        SetExpr::Select(select) if query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none() => Some(select),
        _ => None,
    }
}

/// Puts an aggregate around the one column of a query: DataFusion decorrelates only what has one row for certain.
fn aggregate(query: &mut Query, name: &str) -> bool {
    let fits = only_select(query).is_some_and(|select| {
        let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        !grouped && !select.from.is_empty() && select.distinct.is_none()
    });
    let SetExpr::Select(select) = &mut *query.body else { return false };
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] = select.projection.as_mut_slice() else {
        return false;
    };
    if !fits || has_aggregate(value) {
        return false;
    }
    *value = written_call(name, vec![value.clone()]);
    query.order_by = None;
    true
}

/// `SELECT … FROM pg_options_to_table(x)`: gives `x`.
fn options_of(query: &Query) -> Option<Expr> {
    let [from] = only_select(query)?.from.as_slice() else { return None };
    let TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), .. } = &from.relation else { return None };
    if part(name, name.0.len().saturating_sub(1))? != "pg_options_to_table" {
        return None;
    }
    match args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(options))] => Some(options.clone()),
        _ => None,
    }
}

/// `SELECT pg_get_expr(adbin, …) FROM pg_attrdef WHERE adrelid = x AND adnum = y …`: the default of one column.
fn default_of(query: &Query) -> Option<Expr> {
    let select = only_select(query)?;
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, args: None, .. } = &from.relation else { return None };
    if declared(name)?.name != "pg_attrdef" || !from.joins.is_empty() {
        return None;
    }
    let conditions = conjuncts(select.selection.as_ref()?);
    let equal_to = |column: &str| {
        conditions.iter().find_map(|condition| match condition {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if column_name(left).as_deref() == Some(column) => {
                Some((**right).clone())
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if column_name(right).as_deref() == Some(column) => {
                Some((**left).clone())
            }
            _ => None,
        })
    };
    Some(written_call("tidemill_default", vec![equal_to("adrelid")?, equal_to("adnum")?]))
}
