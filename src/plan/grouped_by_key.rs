//! `GROUP BY` the primary key of a table: what else is read of its row follows from it (SQL:2016, 7.12; `check_functional_grouping` in PostgreSQL).
//!
//! Only asked for a query that is refused as it stands. In: the query. Out: the same, grouped by what it reads of such tables, too:
//!
//! ```text
//! SELECT c.name, sum(o.total) FROM customers c JOIN orders o ON … GROUP BY c.id
//! SELECT c.name, sum(o.total) FROM customers c JOIN orders o ON … GROUP BY c.id, c.name
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, Visitor, VisitorMut,
};

use super::grouping_clauses::meant;
use super::names::normal;
use crate::sql::{Walk, WalkMut};

/// The columns of a table.
pub(super) struct Keyed {
    pub(super) columns: Vec<String>,
    /// Those of the primary key.
    pub(super) key: Vec<String>,
}

/// The table of a name that may have a schema before it; `None`: there is none, or it has no key.
pub(super) type KeyedTable<'a> = &'a dyn Fn(Option<&str>, &str) -> Option<Keyed>;

/// The query with what follows from keys; `None`: nothing does.
pub(super) fn expand(query: &Query, table: KeyedTable<'_>) -> Option<Query> {
    let mut expanded = query.clone();
    let mut expander = Expander { table, given: names_of_with(query), names: names_in(query), changed: false };
    let _ = expanded.walk_mut(&mut expander);
    expander.changed.then_some(expanded)
}

/// The names that WITH gives, anywhere in a query.
fn names_of_with(query: &Query) -> BTreeSet<String> {
    let mut given = Given(BTreeSet::new());
    let _ = query.walk(&mut given);
    given.0
}

struct Given(BTreeSet<String>);

impl Visitor for Given {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let queries = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(queries.map(|cte| normal(&cte.alias.name)));
        ControlFlow::Continue(())
    }
}

struct Expander<'a> {
    table: KeyedTable<'a>,
    /// What WITH calls so is no table.
    given: BTreeSet<String>,
    names: BTreeSet<String>,
    changed: bool,
}

impl VisitorMut for Expander<'_> {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.group(select);
        ControlFlow::Continue(())
    }
}

impl Expander<'_> {
    fn group(&mut self, select: &mut Select) {
        let GroupByExpr::Expressions(grouped, _) = &select.group_by else { return };
        let grouped: Vec<Expr> = grouped.iter().filter_map(|expr| meant(expr, &select.projection, "GROUP BY").ok()).collect();
        let mut more = Vec::new();
        for item in &select.from {
            for factor in std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)) {
                let Some((called, table)) = self.keyed(factor) else { continue };
                let is = |expr: &Expr, column: &str| match expr {
                    Expr::Identifier(name) => normal(name) == column,
                    Expr::CompoundIdentifier(parts) => {
                        matches!(parts.as_slice(), [relation, name] if normal(relation) == called && normal(name) == column)
                    }
                    _ => false,
                };
                let is_grouped = |column: &str| grouped.iter().any(|expr| is(expr, column));
                if !table.key.iter().all(|column| is_grouped(column)) {
                    continue;
                }
                let all = select.projection.iter().any(|item| is_all_of(item, &called));
                let missing = table.columns.iter().filter(|column| (all || self.names.contains(*column)) && !is_grouped(column));
                let quoted = |name: &str| Ident::with_quote('"', name);
                more.extend(missing.map(|column| Expr::CompoundIdentifier(vec![quoted(&called), quoted(column)])));
            }
        }
        self.changed |= !more.is_empty();
        if let GroupByExpr::Expressions(grouped, _) = &mut select.group_by {
            grouped.extend(more);
        }
    }

    /// What a table with a key is called in the query, and its columns.
    fn keyed(&self, factor: &TableFactor) -> Option<(String, Keyed)> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
        let parts = name.0.iter().map(|part| part.as_ident().map(normal)).collect::<Option<Vec<_>>>()?;
        let (schema, relation) = match parts.as_slice() {
            [relation] if !self.given.contains(relation) => (None, relation),
            [schema, relation] => (Some(schema.as_str()), relation),
            _ => return None,
        };
        let called = match alias {
            None => relation.clone(),
            Some(alias) if alias.columns.is_empty() => normal(&alias.name),
            Some(_) => return None,
        };
        Some((called, (self.table)(schema, relation)?))
    }
}

/// Whether an item of a select list is all columns of this relation, or of all.
fn is_all_of(item: &SelectItem, called: &str) -> bool {
    match item {
        SelectItem::Wildcard(_) => true,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(relation), _) => {
            relation.0.last().and_then(ObjectNamePart::as_ident).is_some_and(|name| normal(name) == called)
        }
        _ => false,
    }
}

/// The last parts of all names in a query: one too many does no harm, for what follows from the key changes no group.
fn names_in(query: &Query) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _ = query.walk_expressions(|expr| {
        match expr {
            Expr::Identifier(name) => names.extend([normal(name)]),
            Expr::CompoundIdentifier(parts) => names.extend(parts.iter().map(normal)),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    names
}

#[cfg(test)]
mod tests {
    use super::{Keyed, expand};

    #[test]
    fn what_follows_from_the_key_is_grouped_by() {
        let table = |_: Option<&str>, name: &str| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            (name == "t").then(|| Keyed { columns: names(&["id", "a", "b"]), key: names(&["id"]) })
        };
        let grouped = |text: &str| {
            let expanded = expand(&crate::plan::parse_query(text).unwrap(), &table)?;
            Some(expanded.to_string().split_once("GROUP BY ").unwrap().1.to_owned())
        };
        assert_eq!(grouped("SELECT a, count(*) FROM t GROUP BY id"), Some("id, \"t\".\"a\"".to_owned()));
        assert_eq!(
            grouped("SELECT x.a FROM t AS x, u GROUP BY x.id ORDER BY x.b"),
            Some("x.id, \"x\".\"a\", \"x\".\"b\" ORDER BY x.b".to_owned())
        );
        assert_eq!(grouped("SELECT id, t.* FROM t GROUP BY 1"), Some("1, \"t\".\"a\", \"t\".\"b\"".to_owned()));
        assert_eq!(grouped("SELECT a, count(*) FROM t GROUP BY b"), None);
        assert_eq!(grouped("WITH t AS (SELECT 1 AS id, 2 AS a) SELECT a, count(*) FROM t GROUP BY id"), None);
        assert_eq!(grouped("SELECT a, count(*) FROM u GROUP BY id"), None);
    }
}
