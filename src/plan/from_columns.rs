//! The columns of the relations of a FROM, which only planning knows: so `SELECT *` over them is planned, without the conditions of joins, below the
//! queries of WITH that can be read there.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::TableReference;
use sqlparser::ast::{
    Cte, Expr, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, SetExpr, TableFactor, TableWithJoins, Value, Visitor, With,
};

use super::names::{hidden, normal};
use super::planner::Planner;
use super::resolve::Scope;
use super::text;
use crate::error::Result;
use crate::sql::{Walk, quote_ident};
use crate::types::{SqlType, sql_type_of};

/// What is needed to plan a FROM.
#[derive(Clone, Copy)]
pub(super) struct Within<'a> {
    /// Plans it.
    pub planner: &'a Planner,
    /// Where its names are looked up.
    pub scope: &'a Scope<'a>,
    /// How many views it stands in.
    pub depth: usize,
    /// The types of parameters, as far as they are known.
    pub parameters: &'a [Option<SqlType>],
}

/// The queries of WITH around the place that is being visited.
#[derive(Default)]
pub(super) struct Withs {
    frames: Vec<Frame>,
}

/// The WITH of one query around it.
struct Frame {
    recursive: bool,
    queries: Vec<Cte>,
    /// How many of them have been visited: the others cannot be read yet.
    visited: usize,
}

impl Withs {
    /// To be called before a query is visited.
    pub(super) fn enter(&mut self, query: &Query) {
        let (recursive, queries) = query.with.as_ref().map_or((false, Vec::new()), |with| (with.recursive, with.cte_tables.clone()));
        self.frames.push(Frame { recursive, queries, visited: 0 });
    }

    /// To be called behind it, with what has become of it.
    pub(super) fn leave(&mut self, query: &Query) {
        self.frames.pop();
        if let Some(around) = self.frames.last_mut()
            && let Some(cte) = around.queries.get_mut(around.visited)
        {
            *cte.query = query.clone();
            around.visited += 1;
        }
    }

    /// The queries that can be read here. One that reads itself has the columns of its first term.
    pub(super) fn known(&self) -> Vec<Cte> {
        let mut known = Vec::new();
        for Frame { recursive, queries, visited } in &self.frames {
            let reads_itself = |cte: &Cte| *recursive && cte.query.walk(&mut Reads(&normal(&cte.alias.name))).is_break();
            known.extend(
                queries[..*visited].iter().map(|cte| if reads_itself(cte) { first_term(cte).unwrap_or(cte.clone()) } else { cte.clone() }),
            );
            known.extend(queries.get(*visited).filter(|_| *recursive).and_then(first_term));
        }
        known
    }
}

/// A query of WITH without its recursive term.
fn first_term(cte: &Cte) -> Option<Cte> {
    let SetExpr::SetOperation { left, .. } = cte.query.body.as_ref() else { return None };
    let first = Query { body: left.clone(), ..cte.query.as_ref().clone() };
    Some(Cte { query: Box::new(first), ..cte.clone() })
}

/// Breaks where a relation of this name is read.
struct Reads<'a>(&'a str);

impl Visitor for Reads<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        match relation.0.as_slice() {
            [ObjectNamePart::Identifier(only)] if normal(only) == self.0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Tells the columns of relations.
pub(super) struct Columns<'a> {
    pub within: Within<'a>,
    /// The queries of WITH that can be read.
    pub known: &'a [Cte],
}

/// A column of a FROM.
#[derive(Clone)]
pub(super) struct Known {
    /// What stands before its name.
    pub qualifier: Option<TableReference>,
    pub name: String,
    pub data_type: DataType,
}

impl Columns<'_> {
    /// The columns of `FROM items`, in order, their types not yet coerced. `more`: queries of WITH that can be read as well.
    pub(super) fn of(&self, items: &[TableWithJoins], more: &[Cte]) -> Result<Vec<Known>> {
        let query = self.below_withs(all_of(without_conditions(items))?, more)?;
        let Within { planner, scope, depth, parameters } = self.within;
        let (plan, ..) = planner.plan_query(&query, scope, depth, parameters, false)?;
        let known = |(qualifier, field): (Option<&TableReference>, &Arc<Field>)| Known {
            qualifier: qualifier.cloned(),
            name: field.name().clone(),
            data_type: field.data_type().clone(),
        };
        Ok(plan.schema().iter().map(known).collect())
    }

    /// The columns of a relation as clients see them. `around`: the FROMs of the queries around it whose columns it may read, from the outermost on.
    pub(super) fn settled(&self, relation: &TableFactor, around: &[Vec<TableWithJoins>]) -> Result<Vec<(String, SqlType)>> {
        let mut query = all_of(vec![TableWithJoins { relation: relation.clone(), joins: Vec::new() }])?;
        for from in around.iter().rev() {
            let name = quote_ident(&hidden("relation", 0));
            let mut beside = text::query(&format!("SELECT {name}.* FROM LATERAL (SELECT 1) AS {name}"))?;
            if let SetExpr::Select(select) = beside.body.as_mut()
                && let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|item| &mut item.relation)
            {
                **subquery = query;
                select.from.splice(0..0, without_conditions(from));
            }
            query = beside;
        }
        let Within { planner, scope, depth, parameters } = self.within;
        let query = self.below_withs(query, &[])?;
        // Rows of relations within have been expanded before.
        let bound = planner.bind(planner.plan_as_it_is(&query, scope, depth, parameters)?, scope)?;
        Ok(bound.schema.fields().iter().map(|field| (field.name().clone(), sql_type_of(field))).collect())
    }

    fn below_withs(&self, mut query: Query, more: &[Cte]) -> Result<Query> {
        let cte_tables: Vec<Cte> = last_of_each_name(self.known.iter().chain(more));
        if !cte_tables.is_empty() {
            let with_token = text::query("WITH t AS (SELECT 1) SELECT 1")?.with.map(|with| with.with_token);
            query.with = with_token.map(|with_token| With { with_token, recursive: false, cte_tables });
        }
        Ok(query)
    }
}

/// `SELECT * FROM items`.
fn all_of(items: Vec<TableWithJoins>) -> Result<Query> {
    let mut query = text::query("SELECT * FROM t")?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = items;
    }
    Ok(query)
}

fn without_conditions(items: &[TableWithJoins]) -> Vec<TableWithJoins> {
    let mut items = items.to_vec();
    items.iter_mut().for_each(unconditional);
    items
}

/// Of several queries of one name, the last.
fn last_of_each_name<'a>(queries: impl Iterator<Item = &'a Cte>) -> Vec<Cte> {
    let mut kept: Vec<Cte> = Vec::new();
    for cte in queries {
        kept.retain(|other| normal(&other.alias.name) != normal(&cte.alias.name));
        kept.push(cte.clone());
    }
    kept
}

/// The constraint of a join that has one.
pub(super) fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// Every join of an item without its condition.
fn unconditional(item: &mut TableWithJoins) {
    let within = |factor: &mut TableFactor| {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            unconditional(table_with_joins);
        }
    };
    within(&mut item.relation);
    for join in &mut item.joins {
        within(&mut join.relation);
        if constraint_of(&mut join.join_operator).is_some() {
            join.join_operator = JoinOperator::Inner(JoinConstraint::On(Expr::value(Value::Boolean(true))));
        }
    }
}
