//! `customer.id` in a subquery is a column of the table `customer` outside, also where a table inside has a column `customer`.
//!
//! A dotted name is looked for among tables first, from the inside outwards (PostgreSQL: `refnameNamespaceItem` in its `parse_relation.c`).
//! DataFusion takes a column of the innermost query for a row with fields before it looks further out. So where no table of the subquery has the
//! name and one outside has it, it gets a qualifier more, which no column can be taken for: the schema that the table was named with, or one
//! that a table without any matches.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, VisitorMut,
};

use super::names::normal;
use crate::sql::WalkMut;

/// In the place of a schema; it cannot be typed.
pub(super) const OUTSIDE: &str = "\u{0}outside";

/// The tables of a query's FROM, by the names that the query knows them by, and the schema if one was named.
type Tables = HashMap<String, Option<Ident>>;

/// Says of the names in a query that stand for tables outside that they do.
pub(super) fn qualify(query: &mut Query) {
    let _ = query.walk_mut(&mut Qualifier { around: Vec::new() });
}

struct Qualifier {
    /// From the outside inwards.
    around: Vec<Tables>,
}

impl VisitorMut for Qualifier {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut tables = Tables::new();
        add_body(&query.body, &mut tables);
        self.around.push(tables);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.around.pop();
        ControlFlow::Continue(())
    }

    /// A column of such a table keeps its name in a select list, where nothing else has it.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let name_of = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(normal(name)),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(normal),
            SelectItem::ExprWithAlias { alias, .. } => Some(normal(alias)),
            _ => None,
        };
        let names: Vec<Option<String>> = select.projection.iter().map(name_of).collect();
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = &*item
                && let [table, column] = &parts[..]
                && self.outside(table).is_some()
                && names.iter().flatten().filter(|name| **name == normal(column)).count() == 1
            {
                let (expr, alias) = (Expr::CompoundIdentifier(parts.clone()), Ident::with_quote('"', normal(column)));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [table, _] = &parts[..]
            && let Some(schema) = self.outside(table)
        {
            let schema = schema.clone().unwrap_or_else(|| Ident::with_quote('"', OUTSIDE));
            parts.insert(0, Ident { span: table.span, ..schema });
        }
        ControlFlow::Continue(())
    }
}

impl Qualifier {
    /// The schema that a table outside was named with, if this is the name of one and of none inside.
    fn outside(&self, table: &Ident) -> Option<&Option<Ident>> {
        let (inside, outside) = self.around.split_last()?;
        let name = normal(table);
        if inside.contains_key(&name) { None } else { outside.iter().rev().find_map(|tables| tables.get(&name)) }
    }
}

fn add_body(body: &SetExpr, tables: &mut Tables) {
    match body {
        SetExpr::Select(select) => select.from.iter().for_each(|item| add_joined(item, tables)),
        SetExpr::SetOperation { left, right, .. } => {
            add_body(left, tables);
            add_body(right, tables);
        }
        // The names within are known there alone.
        _ => {}
    }
}

fn add_joined(item: &TableWithJoins, tables: &mut Tables) {
    add(&item.relation, tables);
    item.joins.iter().for_each(|join| add(&join.relation, tables));
}

fn add(relation: &TableFactor, tables: &mut Tables) {
    let (name, alias) = match relation {
        TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => (Some(name), alias),
        TableFactor::Derived { alias, .. } | TableFactor::TableFunction { alias, .. } | TableFactor::UNNEST { alias, .. } => (None, alias),
        TableFactor::NestedJoin { table_with_joins, alias: None } => return add_joined(table_with_joins, tables),
        TableFactor::NestedJoin { alias, .. } => (None, alias),
        _ => return,
    };
    match (alias, name.map(parts)) {
        (Some(TableAlias { name, .. }), _) => drop(tables.insert(normal(name), None)),
        (None, Some([schema, Some(table)])) => drop(tables.insert(normal(table), schema.cloned())),
        _ => {}
    }
}

/// The last two parts of a name: schema and table.
fn parts(name: &ObjectName) -> [Option<&Ident>; 2] {
    let mut parts = name.0.iter().rev().map(ObjectNamePart::as_ident);
    let table = parts.next().flatten();
    [parts.next().flatten(), table]
}

#[cfg(test)]
mod tests {
    use super::{OUTSIDE, qualify};

    #[test]
    fn a_table_outside_is_told_from_a_column_inside() {
        let qualified = |sql: &str| {
            let mut query = crate::plan::parse_query(sql).unwrap();
            qualify(&mut query);
            query.to_string().replace(&format!("\"{OUTSIDE}\""), "outside")
        };
        let inside = "SELECT c.id FROM c WHERE EXISTS (SELECT 1 FROM o WHERE o.c = c.id)";
        assert_eq!(qualified(inside), "SELECT c.id FROM c WHERE EXISTS (SELECT 1 FROM o WHERE o.c = outside.c.id)");
        let schema = "SELECT 1 FROM s.c WHERE EXISTS (SELECT 1 FROM o WHERE o.c = c.id)";
        assert_eq!(qualified(schema), "SELECT 1 FROM s.c WHERE EXISTS (SELECT 1 FROM o WHERE o.c = s.c.id)");
        let nearest = "SELECT 1 FROM c WHERE EXISTS (SELECT 1 FROM c ORDER BY c.id)";
        assert_eq!(qualified(nearest), nearest);
        let selected = "SELECT t.id FROM c, LATERAL (SELECT c.id FROM o) AS t";
        assert_eq!(qualified(selected), "SELECT t.id FROM c, LATERAL (SELECT outside.c.id AS \"id\" FROM o) AS t");
    }
}
