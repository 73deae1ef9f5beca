//! Ways to make a change or a query one step smaller. Whether the result still makes sense, the server says.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select, SetExpr, Statement, TableFactor, VisitMut,
    VisitorMut, WindowType,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::data::Change;

/// The cuts that are possible at one node.
type Ways<T> = Vec<Box<dyn Fn(&mut T)>>;

/// A change with one statement less, or with fewer rows in an INSERT.
pub(super) fn changes(change: &Change) -> Vec<Change> {
    let mut smaller = Vec::new();
    let statements = &change.statements;
    if statements.len() > 1 {
        for index in 0..statements.len() {
            let mut fewer = change.clone();
            fewer.statements.remove(index);
            smaller.push(fewer);
        }
    }
    for (index, statement) in statements.iter().enumerate() {
        for fewer in fewer_rows(statement) {
            let mut change = change.clone();
            change.statements[index] = fewer;
            smaller.push(change);
        }
    }
    smaller
}

/// An INSERT with half of its rows, and with one row less.
fn fewer_rows(statement: &str) -> Vec<String> {
    let Some((head, values)) = statement.split_once(" VALUES ") else { return Vec::new() };
    let (values, tail) = match values.find(" ON CONFLICT") {
        Some(place) => values.split_at(place),
        None => (values, ""),
    };
    // The texts in the rows hold nothing like it.
    let rows: Vec<&str> = values.trim_start_matches('(').trim_end_matches(')').split("), (").collect();
    if rows.len() < 2 {
        return Vec::new();
    }
    let insert = |rows: &[&str]| format!("{head} VALUES ({}){tail}", rows.join("), ("));
    let (first, second) = rows.split_at(rows.len() / 2);
    let mut smaller = vec![insert(first), insert(second)];
    for index in 0..rows.len() {
        let mut fewer = rows.clone();
        fewer.remove(index);
        smaller.push(insert(&fewer));
    }
    smaller
}

/// All queries that are one cut smaller.
pub(super) fn queries(sql: &str) -> Vec<String> {
    let Ok(mut statements) = Parser::parse_sql(&PostgreSqlDialect {}, sql) else { return Vec::new() };
    let Some(statement) = statements.pop() else { return Vec::new() };
    let mut smaller = Vec::new();
    for node in 0.. {
        for way in 0.. {
            let mut cut = Cut { node, way, seen: 0, found: false, done: false };
            let mut copy: Statement = statement.clone();
            let _ = copy.visit(&mut cut);
            if !cut.found {
                smaller.sort_by_key(String::len);
                smaller.dedup();
                return smaller;
            }
            if !cut.done {
                break;
            }
            let text = copy.to_string();
            if text.len() < sql.len() {
                smaller.push(text);
            }
        }
    }
    smaller
}

/// One cut: at which node, and which of the cuts that are possible there.
struct Cut {
    node: usize,
    way: usize,
    seen: usize,
    /// The node is there.
    found: bool,
    /// The cut is possible.
    done: bool,
}

impl Cut {
    /// Whether this is the node.
    fn here(&mut self) -> bool {
        let here = self.seen == self.node;
        self.seen += 1;
        self.found |= here;
        here
    }
}

impl VisitorMut for Cut {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if !self.here() {
            return ControlFlow::Continue(());
        }
        self.done = cut_query(query, self.way);
        ControlFlow::Break(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if !self.here() {
            return ControlFlow::Continue(());
        }
        self.done = cut_select(select, self.way);
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if !self.here() {
            return ControlFlow::Continue(());
        }
        self.done = cut_expression(expr, self.way);
        ControlFlow::Break(())
    }
}

/// Without common tables, without a limit, one side of a set operation, what stands in FROM.
fn cut_query(query: &mut Query, way: usize) -> bool {
    let mut ways: Ways<Query> = Vec::new();
    if query.with.is_some() {
        ways.push(Box::new(|query| query.with = None));
    }
    if query.limit_clause.is_some() || query.fetch.is_some() || query.order_by.is_some() {
        ways.push(Box::new(|query| {
            query.limit_clause = None;
            query.fetch = None;
            query.order_by = None;
        }));
    }
    match query.body.as_ref() {
        SetExpr::SetOperation { left, right, .. } => {
            let (left, right) = (left.clone(), right.clone());
            ways.push(Box::new(move |query| query.body = left.clone()));
            ways.push(Box::new(move |query| query.body = right.clone()));
        }
        SetExpr::Select(select) => {
            if let [only] = select.from.as_slice()
                && let TableFactor::Derived { subquery, .. } = &only.relation
            {
                let inner = subquery.clone();
                ways.push(Box::new(move |query| *query = (*inner).clone()));
            }
        }
        _ => {}
    }
    ways.get(way).map(|cut| cut(query)).is_some()
}

/// Without a column, a condition, a join.
fn cut_select(select: &mut Select, way: usize) -> bool {
    let mut ways: Ways<Select> = Vec::new();
    if select.selection.is_some() {
        ways.push(Box::new(|select| select.selection = None));
    }
    if select.having.is_some() {
        ways.push(Box::new(|select| select.having = None));
    }
    if select.distinct.is_some() {
        ways.push(Box::new(|select| select.distinct = None));
    }
    for (place, from) in select.from.iter().enumerate() {
        for join in 0..from.joins.len() {
            ways.push(Box::new(move |select| {
                select.from[place].joins.remove(join);
            }));
        }
        if let Some(first) = from.joins.first() {
            let relation = first.relation.clone();
            ways.push(Box::new(move |select| {
                select.from[place].relation = relation.clone();
                select.from[place].joins.remove(0);
            }));
        }
    }
    if select.projection.len() > 1 {
        for index in 0..select.projection.len() {
            ways.push(Box::new(move |select| {
                select.projection.remove(index);
            }));
        }
    }
    if let GroupByExpr::Expressions(keys, _) = &select.group_by {
        for index in 0..keys.len() {
            ways.push(Box::new(move |select| {
                if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
                    keys.remove(index);
                }
            }));
        }
    }
    ways.get(way).map(|cut| cut(select)).is_some()
}

/// A part of an expression in its place.
fn cut_expression(expr: &mut Expr, way: usize) -> bool {
    let mut parts: Vec<Expr> = Vec::new();
    match &*expr {
        Expr::BinaryOp { left, right, .. } => parts.extend([(**left).clone(), (**right).clone()]),
        Expr::Nested(inner)
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::IsTrue(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotUnknown(inner)
        | Expr::Cast { expr: inner, .. }
        | Expr::Substring { expr: inner, .. }
        | Expr::Trim { expr: inner, .. } => parts.push((**inner).clone()),
        Expr::Case { conditions, else_result, .. } => {
            parts.extend(conditions.iter().map(|when| when.result.clone()));
            parts.extend(else_result.iter().map(|result| (**result).clone()));
        }
        Expr::Function(function) => parts.extend(cut_call(function)),
        _ => {}
    }
    match parts.into_iter().nth(way) {
        Some(part) => {
            *expr = part;
            true
        }
        None => false,
    }
}

/// A call without its extras, or one of its arguments.
fn cut_call(function: &Function) -> Vec<Expr> {
    let mut parts = Vec::new();
    let mut without = |cut: &dyn Fn(&mut Function)| {
        let mut smaller = function.clone();
        cut(&mut smaller);
        parts.push(Expr::Function(smaller));
    };
    if function.filter.is_some() {
        without(&|function| function.filter = None);
    }
    if let Some(WindowType::WindowSpec(spec)) = &function.over {
        let cut = |function: &mut Function, partition: bool| {
            if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
                if partition { spec.partition_by.clear() } else { spec.window_frame = None }
            }
        };
        if !spec.partition_by.is_empty() {
            without(&|function| cut(function, true));
        }
        if spec.window_frame.is_some() {
            without(&|function| cut(function, false));
        }
    }
    if let FunctionArguments::List(list) = &function.args
        && function.over.is_none()
    {
        parts.extend(list.args.iter().filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument.clone()),
            _ => None,
        }));
    }
    parts
}
