//! Names without a qualifier that mean a merged column, also in subqueries that have no such column of their own.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Cte, Expr, Query, Select, SelectItem, SetExpr, Visitor, VisitorMut};

use super::merge::Output;
use super::quoted;
use crate::error::{Error, Result};
use crate::plan::from_columns::Columns;
use crate::plan::names::normal;
use crate::sql::{Walk, WalkMut};

/// The merged columns whose names mean nothing else.
pub(super) fn merged_among(outputs: &[Output]) -> Vec<Output> {
    let alone = |output: &&Output| outputs.iter().filter(|other| other.name == output.name).count() == 1;
    outputs.iter().filter(|output| output.merged).filter(alone).cloned().collect()
}

/// Puts what merged columns are into the place of their names.
pub(super) struct References<'a> {
    merged: &'a [Output],
    columns: &'a Columns<'a>,
    /// For every query around the place that is visited: the names that it has columns of its own for.
    own: Vec<BTreeSet<String>>,
}

impl<'a> References<'a> {
    pub(super) fn new(merged: &'a [Output], columns: &'a Columns<'a>) -> Self {
        References { merged, columns, own: Vec::new() }
    }

    /// Does it in a part of a query.
    pub(super) fn put_into(&mut self, part: &mut impl WalkMut) -> Result<()> {
        if self.merged.is_empty() {
            return Ok(());
        }
        match part.walk_mut(self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn meant(&self, expr: &Expr) -> Option<&'a Output> {
        let Expr::Identifier(ident) = expr else { return None };
        let name = normal(ident);
        self.merged.iter().find(|output| output.name == name)
    }

    /// The names of the columns that a query reads itself, if it says a merged column's name at all.
    fn own_names(&self, query: &Query) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        if query.walk(&mut Says(self)).is_break() {
            let more = query.with.as_ref().map_or(&[] as &[Cte], |with| &with.cte_tables);
            self.names_of(&query.body, more, &mut names)?;
        }
        Ok(names)
    }

    fn names_of(&self, body: &SetExpr, more: &[Cte], names: &mut BTreeSet<String>) -> Result<()> {
        match body {
            SetExpr::Select(select) if !select.from.is_empty() => {
                names.extend(self.columns.of(&select.from, more)?.into_iter().map(|known| known.name));
                Ok(())
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.names_of(left, more, names)?;
                self.names_of(right, more, names)
            }
            // Queries in parentheses are visited on their own.
            _ => Ok(()),
        }
    }
}

impl VisitorMut for References<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match self.own_names(query) {
            Ok(names) => {
                self.own.push(names);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }

    /// A column keeps its name.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(output) = self.meant(expr)
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: quoted(&output.name) };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.own.pop();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Some(output) = self.meant(expr)
            && !self.own.iter().any(|own| own.contains(&output.name))
        {
            *expr = output.value.clone();
        }
        ControlFlow::Continue(())
    }
}

/// Breaks where a merged column's name is said.
struct Says<'a>(&'a References<'a>);

impl Visitor for Says<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.0.meant(expr).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
