//! Set-returning functions in a query's text → what the planner understands.
//!
//! In FROM a call becomes LATERAL, so that it sees what stands left of it; in expressions it becomes `unnest` of the list. `ARRAY(SELECT …)`
//! becomes an aggregate. A function's alias means its value too, if it has one: `… FROM jsonb_array_elements(j) AS e WHERE e = '1'`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, JoinOperator,
    ObjectName, ObjectNamePart, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableAliasColumnDef, TableFactor,
    TableWithJoins, Visitor, VisitorMut,
};

use super::{Columns, SetFunction, find};
use crate::error::{Error, Result};
use crate::plan::names::{hidden, normal};
use crate::plan::time_windows::lists_windows;
use crate::plan::written_call::{written_call, written_name};
use crate::sql::{ROWS_FROM, Walk, WalkMut};

/// Rewrites all set-returning functions of `query`, in subqueries too. Its columns have their names already.
pub(in crate::plan) fn expand(query: &mut Query) -> Result<()> {
    match query.walk_mut(&mut Expander) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Expander;

impl VisitorMut for Expander {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for (place, condition) in [("WHERE", &select.selection), ("HAVING", &select.having)] {
            if condition.as_ref().is_some_and(returns_set) {
                let error = Error::not_supported(format!("set-returning functions are not allowed in {place}"));
                return ControlFlow::Break(error.hint("Move the function into FROM."));
            }
        }
        let mut values = Vec::new();
        for table in &mut select.from {
            lateral(table, true, &mut values);
        }
        // A column of the alias's name would come first; the parser does not know columns.
        for (alias, column) in values {
            name_value(select, &alias, &column);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let place = match expr {
            Expr::Case { .. } => "CASE",
            Expr::Function(function) if function_name(&function.name) == "coalesce" => "COALESCE",
            _ => return ControlFlow::Continue(()),
        };
        if !returns_set(expr) {
            return ControlFlow::Continue(());
        }
        let error = Error::not_supported(format!("set-returning functions are not allowed in {place}"));
        ControlFlow::Break(error.hint("Move the function into FROM, with LATERAL."))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        if let FunctionArguments::Subquery(query) = &mut function.args
            && function_name(&function.name) == "array"
        {
            *expr = array_of(std::mem::replace(query, empty_query()));
            return ControlFlow::Continue(());
        }
        if function.over.is_none()
            && let Some(set) = set_function(&function.name)
        {
            if matches!(set.columns, Columns::Defined { .. }) {
                let error = Error::not_supported(format!("{} in the SELECT list is not supported", set.name));
                return ControlFlow::Break(error.hint("Call it in FROM, with the columns' names and types behind AS."));
            }
            if !takes_windows(function) {
                *expr = unnested(set, function.clone());
            }
        }
        ControlFlow::Continue(())
    }
}

/// The set-returning function of this name.
pub(super) fn set_function(name: &ObjectName) -> Option<&'static SetFunction> {
    find(&function_name(name))
}

/// A function's name without `pg_catalog`, empty if it is in another schema.
pub(super) fn function_name(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => normal(name),
        [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(name)] if normal(schema) == "pg_catalog" => normal(name),
        _ => String::new(),
    }
}

/// Whether a call is what HOP or CUMULATE has become: the plan is recognised by it.
fn takes_windows(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(inner)))]
        if lists_windows(&function_name(&inner.name)))
}

/// A call in an expression: the unnest of its list.
fn unnested(set: &SetFunction, mut list: Function) -> Expr {
    list.name = written_name(set.list);
    let elements = written_call("unnest", vec![Expr::Function(list)]);
    match set.mark {
        Some(mark) => written_call(mark, vec![elements]),
        None => elements,
    }
}

/// The list of a call that `unnested` has changed: for calls within ROWS FROM, which are expressions to the parser.
pub(super) fn list_within(expr: Expr) -> Option<(&'static SetFunction, Expr)> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = &expr else { return None };
    let name = function_name(name);
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] = list.args.as_slice() else { return None };
    if name != "unnest" {
        return list_within(inner.clone());
    }
    let Expr::Function(made) = inner else { return None };
    let made_by = function_name(&made.name);
    let set = super::SET_FUNCTIONS.iter().find(|set| set.list == made_by && !matches!(set.columns, Columns::Defined { .. }))?;
    Some((set, inner.clone()))
}

/// Whether a condition calls a set-returning function, not counting subqueries.
fn returns_set(expr: &Expr) -> bool {
    struct Search {
        depth: usize,
    }
    impl Visitor for Search {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let calls = matches!(expr, Expr::Function(function) if function.over.is_none() && set_function(&function.name).is_some());
            if calls && self.depth == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    expr.walk(&mut Search { depth: 0 }).is_break()
}

/// Makes the functions in FROM lateral where they may be, and collects the aliases that mean a value, with the value's column. `allowed`: for the first
/// item.
fn lateral(table: &mut TableWithJoins, allowed: bool, values: &mut Vec<(Ident, Ident)>) {
    lateral_factor(&mut table.relation, allowed, values);
    for join in &mut table.joins {
        // What stands right of these joins does not see what stands left; within parentheses it does.
        let blind = matches!(join.join_operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_));
        lateral_factor(&mut join.relation, !blind, values);
    }
}

fn lateral_factor(factor: &mut TableFactor, allowed: bool, values: &mut Vec<(Ident, Ident)>) {
    let (name, args, alias, with_ordinality) = match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => return lateral(table_with_joins, allowed, values),
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            (name.clone(), args.args.clone(), alias.take(), *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => (name.clone(), args.clone(), alias.take(), *with_ordinality),
        TableFactor::UNNEST { array_exprs, alias, with_ordinality, with_offset: false, .. } => {
            let args = array_exprs.iter().map(|array| FunctionArg::Unnamed(FunctionArgExpr::Expr(array.clone()))).collect();
            (ObjectName::from(vec![Ident::new("unnest")]), args, alias.take(), *with_ordinality)
        }
        _ => return,
    };
    let set = set_function(&name);
    if let (Some(set), Some(alias)) = (set, &alias)
        && !with_ordinality
        && (set.name != "unnest" || args.len() == 1)
    {
        let column = match (set.columns, alias.columns.as_slice()) {
            (Columns::Value, []) => Some(Ident::new("value")),
            (Columns::Value | Columns::Own, [only]) => Some(only.name.clone()),
            _ => None,
        };
        values.extend(column.filter(|column| normal(column) != normal(&alias.name)).map(|column| (alias.name.clone(), column)));
    }
    if set.is_some() || function_name(&name) == ROWS_FROM {
        *factor = TableFactor::Function { lateral: allowed, name, args, with_ordinality, alias };
    } else if let TableFactor::Table { alias: own, .. } | TableFactor::Function { alias: own, .. } = factor {
        *own = alias;
    }
}

/// Writes `alias.column` where a select says `alias`.
fn name_value(select: &mut Select, alias: &Ident, column: &Ident) {
    let wanted = normal(alias);
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr @ Expr::Identifier(_)) = item
            && matches!(expr, Expr::Identifier(ident) if normal(ident) == wanted)
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', wanted.clone()) };
        }
    }
    let _ = select.walk_expressions_mut(|expr| {
        if matches!(expr, Expr::Identifier(ident) if normal(ident) == wanted) {
            *expr = Expr::CompoundIdentifier(vec![alias.clone(), column.clone()]);
        }
        ControlFlow::<()>::Continue(())
    });
}

fn empty_query() -> Box<Query> {
    Box::new(query("SELECT 1"))
}

fn query(text: &str) -> Query {
    crate::plan::parse_query(text).expect("a constant text")
}

/// `ARRAY(query)`: the values of its column in its order, an empty array if there are none.
fn array_of(inner: Box<Query>) -> Expr {
    let subquery = aggregated(&inner).unwrap_or_else(|| gathered(inner));
    written_call("coalesce", vec![Expr::Subquery(Box::new(subquery)), written_call("make_array", Vec::new())])
}

/// `array_agg` around any query, whose order goes into the call: what it sorts by besides its column becomes a column.
///
/// ```text
/// SELECT x FROM t ORDER BY y DESC LIMIT 3   ─▶   SELECT array_agg(a ORDER BY o1 DESC) FROM (SELECT x, y AS o1 FROM t ORDER BY y DESC LIMIT 3) AS q (a, o1)
/// ```
fn gathered(mut inner: Box<Query>) -> Query {
    let mut around = query("SELECT array_agg(a) FROM (SELECT 1) AS q (a)");
    let SetExpr::Select(select) = around.body.as_mut() else { return around };
    if let Some(TableWithJoins { relation: TableFactor::Derived { subquery, alias: Some(alias), .. }, .. }) = select.from.first_mut() {
        let order = order_of(&mut inner, |name| {
            alias.columns.push(TableAliasColumnDef { name, data_type: None });
        });
        *subquery = inner;
        select.projection = vec![SelectItem::UnnamedExpr(ordered_array(Expr::Identifier(Ident::new("a")), order))];
    }
    around
}

/// By what the values of a query's column, `a`, are in its order. `add`: is told the names of columns that it gets behind that one.
fn order_of(query: &mut Query, mut add: impl FnMut(Ident)) -> Vec<OrderByExpr> {
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &query.order_by else { return Vec::new() };
    let is_distinct = is_distinct(&query.body);
    // Where rows are made one of each kind, and where nobody knows which columns there are, there is nothing else to sort by.
    let mut free = match query.body.as_mut() {
        SetExpr::Select(select) if !is_distinct && column_of(select).is_some() => Some(select),
        _ => None,
    };
    let named = |expr: &Expr| matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    if free.is_none() && !is_distinct && !order.iter().all(|by| named(&by.expr)) {
        return Vec::new();
    }
    let column = free.as_ref().and_then(|select| column_of(select)).map(|(value, alias)| (value.clone(), alias));
    let is_column = |expr: &Expr| match (expr, &column) {
        (Expr::Value(_), _) => true,
        (Expr::Identifier(name), Some((_, Some(alias)))) if normal(name) == *alias => true,
        (expr, Some((value, _))) => expr == value,
        _ => false,
    };
    let place = |(place, by): (usize, &OrderByExpr)| {
        let name = match &mut free {
            Some(select) if !is_column(&by.expr) => {
                let name = Ident::with_quote('"', hidden("order", place));
                select.projection.push(SelectItem::ExprWithAlias { expr: by.expr.clone(), alias: name.clone() });
                add(name.clone());
                name
            }
            _ => Ident::new("a"),
        };
        OrderByExpr { expr: Expr::Identifier(name), ..by.clone() }
    };
    order.iter().enumerate().map(place).collect()
}

/// Whether rows are made one of each kind.
fn is_distinct(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => matches!(select.distinct, Some(Distinct::Distinct)),
        SetExpr::SetOperation { .. } => true,
        _ => false,
    }
}

fn ordered_array(value: Expr, order: Vec<OrderByExpr>) -> Expr {
    let mut aggregate = written_call("array_agg", vec![value]);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut aggregate
        && !order.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    aggregate
}

/// The only column of a select list and the name that it is given.
fn column_of(select: &Select) -> Option<(&Expr, Option<String>)> {
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(value)] => Some((value, None)),
        [SelectItem::ExprWithAlias { expr, alias }] => Some((expr, Some(normal(alias)))),
        _ => None,
    }
}

/// A plain query of one column with `array_agg` in the place of the column; its order goes into the call.
fn aggregated(query: &Query) -> Option<Query> {
    let OrderByKind::Expressions(order) = &query.order_by.as_ref()?.kind else { return None };
    let select = query.body.as_select()?;
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let by_number = order.iter().any(|by| matches!(by.expr, Expr::Value(_)));
    let limited = query.limit_clause.is_some() || query.fetch.is_some();
    if limited || by_number || grouped || select.having.is_some() || select.distinct.is_some() {
        return None;
    }
    let (value, alias) = column_of(select)?;
    let order = order.iter().cloned().map(|mut by| {
        if matches!(&by.expr, Expr::Identifier(name) if Some(normal(name)) == alias) {
            by.expr = value.clone();
        }
        by
    });
    let aggregate = ordered_array(value.clone(), order.collect());
    let mut query = Query { order_by: None, ..query.clone() };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(aggregate)];
    }
    Some(query)
}
