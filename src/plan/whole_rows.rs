//! `SELECT t FROM t`: a relation's name where a value is wanted means its whole row.
//!
//! Only asked for a query that names a column that nobody knows, or has such a row for an argument (`count(t.*)`). In: the query. Out: the
//! same, where relations whose names stand alone have one more column, called like them, that holds the others:
//!
//! ```text
//! SELECT u, count(t) FROM t LEFT JOIN u ON …
//! SELECT u, count(t) FROM (SELECT *, named_struct('a', a, …)::struct<a int, …> AS t FROM t) AS t LEFT JOIN (…) AS u ON …
//! ```
//!
//! So it is NULL where an outer join has found no partner, and `*` leaves it out.

use std::collections::BTreeSet;
use std::mem::take;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Cte, ExcludeSelectItem, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Visitor, VisitorMut,
    WildcardAdditionalOptions,
};

use super::from_columns::Withs;
use super::names::normal;
use super::text;
use crate::sql::{Walk, WalkMut, quote_ident, quote_literal};
use crate::types::SqlType;

/// The columns of a relation below some queries of WITH and within others, whose FROMs are told; `None`: there is no such relation.
pub(super) type ColumnsOf<'a> = &'a dyn Fn(&TableFactor, &[Cte], &[Vec<TableWithJoins>]) -> Option<Vec<(String, SqlType)>>;

/// The query with whole rows; `None` if it names none.
pub(super) fn expand(query: &Query, columns_of: ColumnsOf<'_>) -> Option<Query> {
    let mut expanded = query.clone();
    let mut expander = Expander { columns_of, withs: Withs::default(), around: Vec::new(), hidden: Vec::new(), changed: false };
    let _ = expanded.walk_mut(&mut expander);
    expander.changed.then_some(expanded)
}

/// Whether a function is called with all columns of a relation: its row.
pub(super) fn has_row_arguments(query: &Query) -> bool {
    query
        .walk_expressions(|expr| if wildcards(expr).next().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        .is_break()
}

/// The relations all of whose columns are arguments of a call.
fn wildcards(expr: &Expr) -> impl Iterator<Item = &Ident> {
    let list = match expr {
        Expr::Function(Function { args: FunctionArguments::List(list), .. }) => list.args.as_slice(),
        _ => &[],
    };
    list.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(relation)) => match relation.0.as_slice() {
            [only] => only.as_ident(),
            _ => None,
        },
        _ => None,
    })
}

/// Rows in the place of all columns of relations that have them.
struct Rows<'a>(&'a BTreeSet<String>);

impl VisitorMut for Rows<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr else { return ControlFlow::Continue(()) };
        for argument in &mut list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(relation)) = &*argument else { continue };
            if let [ObjectNamePart::Identifier(only)] = relation.0.as_slice()
                && self.0.contains(&normal(only))
            {
                let row = vec![only.clone(), Ident::with_quote('"', normal(only))];
                *argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(row)));
            }
        }
        ControlFlow::Continue(())
    }
}

/// The names that stand alone in a SELECT and the queries within it.
#[derive(Default)]
struct Alone(BTreeSet<String>);

impl Visitor for Alone {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr {
            self.0.insert(normal(name));
        }
        self.0.extend(wildcards(expr).map(normal));
        ControlFlow::Continue(())
    }
}

struct Expander<'a> {
    columns_of: ColumnsOf<'a>,
    withs: Withs,
    /// The FROMs of the SELECTs around the place that is being visited; empty where that cannot read it, being a part of it.
    around: Vec<Vec<TableWithJoins>>,
    /// What they were before their own subqueries were visited.
    hidden: Vec<Vec<TableWithJoins>>,
    changed: bool,
}

impl VisitorMut for Expander<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.withs.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.withs.leave(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.around.push(select.from.clone());
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let (TableFactor::Derived { .. }, Some(beside)) = (factor, self.around.last_mut()) {
            self.hidden.push(take(beside));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let (TableFactor::Derived { .. }, Some(beside)) = (factor, self.around.last_mut()) {
            *beside = self.hidden.pop().unwrap_or_default();
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.around.pop();
        let mut alone = Alone::default();
        let _ = select.walk(&mut alone);
        let mut wrapped = BTreeSet::new();
        for item in &mut select.from {
            for factor in std::iter::once(&mut item.relation).chain(item.joins.iter_mut().map(|join| &mut join.relation)) {
                wrapped.extend(self.wrap(factor, &alone.0));
            }
        }
        self.changed |= !wrapped.is_empty();
        let _ = select.walk_mut(&mut Rows(&wrapped));
        leave_out(&mut select.projection, &wrapped);
        ControlFlow::Continue(())
    }
}

impl Expander<'_> {
    /// Gives a relation the column of its own name, if that stands alone; tells the name.
    fn wrap(&self, factor: &mut TableFactor, alone: &BTreeSet<String>) -> Option<String> {
        let called = name_of(factor).filter(|called| alone.contains(called))?;
        let known = self.withs.known();
        let around: &[_] = if matches!(factor, TableFactor::Table { .. }) { &[] } else { &self.around };
        let columns = (self.columns_of)(factor, &known, &[])
            .or_else(|| if around.is_empty() { None } else { (self.columns_of)(factor, &known, around) })?;
        if columns.is_empty() || columns.iter().any(|(column, _)| *column == called) {
            return None;
        }
        let within = wrapping(&called, columns, factor.clone())?;
        let name = Ident::with_quote('"', &called);
        let alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        *factor = TableFactor::Derived { lateral: false, subquery: Box::new(within), alias, sample: None };
        Some(called)
    }
}

/// What a relation is called. One that may read those beside it, as functions do, has no name here.
fn name_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), args: None, .. } | TableFactor::Derived { lateral: false, alias: Some(alias), .. } => {
            Some(normal(&alias.name))
        }
        TableFactor::Table { name, args: None, .. } => name.0.last().and_then(ObjectNamePart::as_ident).map(normal),
        _ => None,
    }
}

/// All columns of a relation, and one that holds them.
fn wrapping(called: &str, columns: Vec<(String, SqlType)>, factor: TableFactor) -> Option<Query> {
    let fields: Vec<String> = columns.iter().map(|(name, _)| format!("{}, {}", quote_literal(name), quote_ident(name))).collect();
    let row = format!("named_struct({})::{}", fields.join(", "), SqlType::Struct(columns));
    let mut query = text::query(&format!("SELECT *, {row} AS {} FROM t", quote_ident(called))).ok()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.from.first_mut()?.relation = factor;
    Some(query)
}

/// Leaves the new columns out of `*` and `t.*`.
fn leave_out(projection: &mut [SelectItem], wrapped: &BTreeSet<String>) {
    let name_of = |name: &String| ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]);
    let exclude = |options: &mut WildcardAdditionalOptions, names: Vec<ObjectName>| {
        if !names.is_empty() {
            options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
        }
    };
    for item in projection {
        match item {
            SelectItem::Wildcard(options) => exclude(options, wrapped.iter().map(name_of).collect()),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(relation), options) => {
                let last = relation.0.last().and_then(ObjectNamePart::as_ident).map(normal);
                exclude(options, wrapped.iter().filter(|name| Some(*name) == last.as_ref()).map(name_of).collect());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::ast::{Cte, TableFactor, TableWithJoins};

    use super::expand;
    use crate::types::SqlType;

    #[test]
    fn a_name_that_stands_alone_is_a_row() {
        let columns = |relation: &TableFactor, _: &[Cte], _: &[Vec<TableWithJoins>]| {
            relation.to_string().contains(['t', '1']).then(|| vec![("a".to_owned(), SqlType::Int4)])
        };
        let expanded = |text: &str| expand(&crate::plan::parse_query(text).unwrap(), &columns).map(|query| query.to_string());
        let row = "named_struct('a', a)::STRUCT<a INTEGER>";
        assert_eq!(
            expanded("SELECT *, x.*, x FROM t AS x"),
            Some(format!("SELECT * EXCLUDE (\"x\"), x.* EXCLUDE (\"x\"), x FROM (SELECT *, {row} AS x FROM t AS x) AS \"x\""))
        );
        assert_eq!(expanded("SELECT t.a FROM t"), None);
        assert_eq!(
            expanded("SELECT count(t.*), u.* FROM t, u"),
            Some(format!("SELECT count(t.\"t\"), u.* FROM (SELECT *, {row} AS t FROM t) AS \"t\", u"))
        );
        assert_eq!(expanded("SELECT u FROM u"), None);
        assert_eq!(
            expanded("SELECT to_jsonb(x) FROM (SELECT 1) AS x (a)"),
            Some(format!("SELECT to_jsonb(x) FROM (SELECT *, {row} AS x FROM (SELECT 1) AS x (a)) AS \"x\""))
        );
        assert_eq!(expanded("SELECT x FROM u, LATERAL (SELECT t) AS x"), None);
    }
}
