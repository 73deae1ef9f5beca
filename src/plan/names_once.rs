//! Names that stand twice where each may stand once: those of the relations in one FROM, and of the queries in one WITH.
//!
//! DataFusion tells only when a column turns out to be there twice, or does not tell at all. Two relations of different schemas may have one name,
//! if neither has an alias, as in PostgreSQL.

use std::ops::ControlFlow;

use sqlparser::ast::{Ident, ObjectName, Query, Select, TableAlias, TableFactor, TableWithJoins, Visitor};

use super::errors::placed;
use super::names::normal;
use super::resolve::Scope;
use crate::error::{Error, Kind, Result};
use crate::sql::Walk;
use crate::types::ObjectId;

/// `42712` for the first name that stands twice in `query`, or in one within it.
pub(super) fn check(query: &Query, scope: &Scope<'_>) -> Result<()> {
    query.walk(&mut Once { scope }).break_value().map_or(Ok(()), Err)
}

struct Once<'a> {
    scope: &'a Scope<'a>,
}

/// What a relation in FROM is called.
struct Called {
    name: Ident,
    /// The object that it is called after: another one of that name is another relation.
    object: Option<ObjectId>,
}

impl Visitor for Once<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let names: Vec<&Ident> = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| &cte.alias.name).collect();
        for (at, name) in names.iter().enumerate() {
            if names[..at].iter().any(|before| normal(before) == normal(name)) {
                return ControlFlow::Break(self.twice(&format!("WITH query name \"{}\"", normal(name)), name));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        let mut called: Vec<Called> = Vec::new();
        select.from.iter().for_each(|item| self.of_item(item, &mut called));
        for (at, relation) in called.iter().enumerate() {
            let same = |before: &Called| {
                normal(&before.name) == normal(&relation.name)
                    && (before.object == relation.object || before.object.is_none() || relation.object.is_none())
            };
            if called[..at].iter().any(same) {
                return ControlFlow::Break(self.twice(&format!("table name \"{}\"", normal(&relation.name)), &relation.name));
            }
        }
        ControlFlow::Continue(())
    }
}

impl Once<'_> {
    fn of_item(&self, item: &TableWithJoins, called: &mut Vec<Called>) {
        for factor in std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)) {
            self.of_factor(factor, called);
        }
    }

    fn of_factor(&self, factor: &TableFactor, called: &mut Vec<Called>) {
        // A window over a relation is no relation of that name.
        let is_window =
            |name: &ObjectName| ["tumble", "hop", "cumulate", "session"].contains(&name.to_string().to_ascii_lowercase().as_str());
        let (alias, name): (&Option<TableAlias>, Option<&ObjectName>) = match factor {
            TableFactor::Table { alias: None, name, args: Some(_), .. } if is_window(name) => return,
            TableFactor::Table { alias, name, .. } | TableFactor::Function { alias, name, .. } => (alias, Some(name)),
            TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => (alias, None),
            TableFactor::NestedJoin { table_with_joins, alias: None } => return self.of_item(table_with_joins, called),
            TableFactor::NestedJoin { alias, .. } => (alias, None),
            _ => return,
        };
        if let Some(alias) = alias {
            called.push(Called { name: alias.name.clone(), object: None });
            return;
        }
        let parts: Vec<&Ident> = name.iter().flat_map(|name| &name.0).filter_map(|part| part.as_ident()).collect();
        let Some((last, before)) = parts.split_last() else { return };
        let schema = before.last().map(|schema| normal(schema));
        let object = self.scope.catalog.resolve(schema.as_deref(), &normal(last), self.scope.search_path).ok();
        called.push(Called { name: (*last).clone(), object: object.map(|object| object.id) });
    }

    fn twice(&self, what: &str, name: &Ident) -> Error {
        let error = Error::new(Kind::DuplicateAlias, format!("{what} specified more than once"));
        let error = error.hint("Give one of them another name with AS.");
        placed(error, (name.span.start.line, name.span.start.column), self.scope.text)
    }
}
