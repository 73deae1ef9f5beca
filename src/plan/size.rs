//! Refuses plans that are too large to be walked, before anybody walks them.
//!
//! A statement's text bounds its expressions, but not what its names stand for: each WITH query or view may read the one before it, twice.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::ast::{self, Visitor};

use super::names::normal;
use super::walk::WalkPlan;
use crate::error::{Error, Kind, Result};
use crate::sql::Walk;
use crate::types::{COLUMNS_MAX, LEVELS_MAX};

/// Nodes of one query's plan at the most, each counted as often as it is read: the work of every optimiser rule grows with them.
const NODES_MAX: usize = 20_000;

/// Nodes of a query without what it reads, about: a projection, a name, a filter or an aggregate.
const QUERY_NODES: usize = 4;

/// `54001` for WITH queries that read each other so often that to plan them takes for ever.
pub(super) fn check_text(query: &ast::Query) -> Result<()> {
    let mut reads = Reads::default();
    let _ = query.walk(&mut reads);
    if reads.most > NODES_MAX { Err(too_complex()) } else { Ok(()) }
}

/// Counts relations, each as often as it is read.
#[derive(Default)]
struct Reads {
    /// Of the queries that are open, the outermost first.
    open: Vec<usize>,
    most: usize,
    /// WITH queries, by where they stand, and their names.
    names: HashMap<*const ast::Query, String>,
    /// WITH queries that are over.
    known: HashMap<String, usize>,
}

impl Visitor for Reads {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.insert(&raw const *cte.query, normal(&cte.alias.name));
        }
        self.open.push(QUERY_NODES);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        let name = relation.0.last().and_then(|part| part.as_ident()).map(normal);
        let reads = name.and_then(|name| self.known.get(&name)).copied().unwrap_or(1);
        if let Some(open) = self.open.last_mut() {
            *open = open.saturating_add(reads);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let reads = self.open.pop().unwrap_or(0);
        self.most = self.most.max(reads);
        match self.names.remove(&(&raw const *query)) {
            Some(name) => {
                self.known.insert(name, reads);
            }
            None => {
                if let Some(outer) = self.open.last_mut() {
                    *outer = outer.saturating_add(reads);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn too_complex() -> Error {
    let error = Error::new(Kind::TooComplex, "statement is too complex: its views and WITH queries make too large a plan");
    error.hint("Create a materialized view of a part of it, and read that.")
}

/// `54001` for a plan with too many nodes, or too many within each other; `54011` for one of too many columns.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut size = Size::default();
    let _ = plan.visit_with_subqueries(&mut size);
    if size.nodes > NODES_MAX || size.deepest > LEVELS_MAX {
        return Err(too_complex());
    }
    if size.columns > COLUMNS_MAX {
        return Err(Error::new(Kind::TooManyColumns, format!("target lists can have at most {COLUMNS_MAX} entries")));
    }
    Ok(())
}

#[derive(Default)]
struct Size {
    nodes: usize,
    level: usize,
    /// Levels of nodes and of the expressions in them.
    deepest: usize,
    columns: usize,
}

impl<'n> TreeNodeVisitor<'n> for Size {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: &'n LogicalPlan) -> DataFusionResult<TreeNodeRecursion> {
        self.nodes += 1;
        self.level += 1;
        // A join's row may be wider: nobody sends it.
        if matches!(node, LogicalPlan::Projection(_)) {
            self.columns = self.columns.max(node.schema().fields().len());
        }
        let mut levels = Levels::default();
        node.look_at_expressions(|expr| expr.visit(&mut levels))?;
        self.deepest = self.deepest.max(self.level + levels.deepest);
        let over = self.nodes > NODES_MAX || self.deepest > LEVELS_MAX || self.columns > COLUMNS_MAX;
        Ok(if over { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    }

    fn f_up(&mut self, _node: &'n LogicalPlan) -> DataFusionResult<TreeNodeRecursion> {
        self.level -= 1;
        Ok(TreeNodeRecursion::Continue)
    }
}

/// How deep expressions are.
#[derive(Default)]
struct Levels {
    level: usize,
    deepest: usize,
}

impl<'n> TreeNodeVisitor<'n> for Levels {
    type Node = Expr;

    fn f_down(&mut self, _expr: &'n Expr) -> DataFusionResult<TreeNodeRecursion> {
        self.level += 1;
        self.deepest = self.deepest.max(self.level);
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, _expr: &'n Expr) -> DataFusionResult<TreeNodeRecursion> {
        self.level -= 1;
        Ok(TreeNodeRecursion::Continue)
    }
}
