//! WITH RECURSIVE: base and term are planned apart, each as a query of its own, and become the two inputs of a `Recursion`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery, TableScan};

use super::{Lowering, fields_of, support, without_order};
use crate::error::{Error, Result};
use crate::plan::errors::{external, from_datafusion};
use crate::plan::expressions::column_scalar;
use crate::plan::node::{Node, NodeKind, Scalar};
use crate::plan::planner::Planner;
use crate::plan::properties;
use crate::plan::recursion::{Recurrence, Recursion, numbered_term, other_work_table, row_schema};
use crate::plan::walk::WalkPlan;

impl Planner {
    /// Takes recursive queries out of a plan: scans of `Recursion`s stand in their places. No rule of the optimiser sees both sides.
    pub(super) fn recursions_apart(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut number = 0;
        let apart = plan.change_all_up(|node| {
            let LogicalPlan::RecursiveQuery(query) = node else { return Ok(Transformed::no(node)) };
            number += 1;
            self.apart(&query, number).map(Transformed::yes).map_err(external)
        });
        apart.map(|apart| apart.data).map_err(|error| from_datafusion(error, ""))
    }

    fn apart(&self, query: &RecursiveQuery, number: u32) -> Result<LogicalPlan> {
        if let Some(other) = other_work_table(&query.static_term, "").or_else(|| other_work_table(&query.recursive_term, &query.name)) {
            return Err(Error::not_supported(format!("a recursion within the recursive query \"{other}\" cannot read it")));
        }
        let base = self.optimize_view(without_order(query.static_term.as_ref().clone()))?;
        support::check_optimized(&base)?;
        let term = self.optimize_view(numbered_term(query, &Arc::new(Recurrence::new(query, number)))?)?;
        support::check_optimized(&term)?;
        let schema = row_schema(query);
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let source = Recursion { name: query.name.clone(), number, base, term, distinct: query.is_distinct, schema };
        let columns = names.into_iter().zip(query.schema.iter()).map(|(name, (qualifier, field))| {
            Expr::Column(datafusion::common::Column::new(Some(query.name.as_str()), name)).alias_qualified(qualifier.cloned(), field.name())
        });
        let columns: Vec<Expr> = columns.collect();
        let plan = LogicalPlanBuilder::scan(query.name.as_str(), Arc::new(source), None);
        plan.and_then(|plan| plan.project(columns)?.build()).map_err(|error| from_datafusion(error, ""))
    }
}

impl Lowering<'_> {
    /// The node of a recursion or of its working table, if the scan is one of these.
    pub(super) fn recursive_scan(&mut self, scan: &TableScan) -> Result<Option<Node>> {
        let node = if let Some(recursion) = scan.source.as_ref().downcast_ref::<Recursion>() {
            self.recursion(recursion)?
        } else if let Some(working) = scan.source.as_ref().downcast_ref::<Recurrence>() {
            let width = working.schema.fields().len() - 1;
            let kind = NodeKind::Recurrence { name: working.name.clone(), number: working.number };
            self.node(kind, Arc::clone(&working.schema), properties::recurrence(working.distinct, width))
        } else {
            return Ok(None);
        };
        let Some(columns) = &scan.projection else { return Ok(Some(node)) };
        let projection: Vec<Scalar> = columns.iter().map(|column| column_scalar(node.schema.field(*column).name(), *column)).collect();
        Ok(Some(self.map(node, None, projection, fields_of(&scan.projected_schema))))
    }

    fn recursion(&mut self, recursion: &Recursion) -> Result<Node> {
        let rows = fields_of(recursion.base.schema());
        let rows = typed(&rows, &recursion.schema);
        let numbered: Vec<Field> = rows.fields().iter().map(|field| field.as_ref().clone()).collect();
        let numbered = numbered.into_iter().chain([Field::new("iteration", DataType::Int64, true)]);
        let numbered = Arc::new(Schema::new(numbered.collect::<Vec<_>>()));
        let mut base = self.lower(&recursion.base)?;
        base = self.coerced(base, &rows)?;
        let mut term = self.lower(&recursion.term)?;
        term = self.coerced(term, &numbered)?;
        let all: Vec<usize> = (0..rows.fields().len()).collect();
        if recursion.distinct {
            // Equal rows of both sides must meet, so both are moved by all columns, wherever they are.
            base = self.moved_by(base, all.clone());
            term = self.moved_by(term, all.clone());
        }
        term.schema = numbered;
        let grows = base.properties.append_only && grows(&term);
        let properties = properties::recursion(recursion.distinct, grows, all.len());
        let kind = NodeKind::Recursion {
            name: recursion.name.clone(),
            number: recursion.number,
            base: Box::new(base),
            term: Box::new(term),
            distinct: recursion.distinct,
            iterations_max: self.iterations_max,
        };
        Ok(self.node(kind, rows, properties))
    }
}

/// The names of one schema with the types of another.
fn typed(names: &SchemaRef, types: &SchemaRef) -> SchemaRef {
    let fields = names.fields().iter().zip(types.fields());
    let fields = fields.map(|(name, field)| field.as_ref().clone().with_name(name.name()).with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Whether more rows in the working table, and in whatever else a term reads, never take a row away from what it gives.
fn grows(term: &Node) -> bool {
    match &term.kind {
        NodeKind::Recurrence { .. } => true,
        NodeKind::Map { input, .. } | NodeKind::Exchange { input, .. } => grows(input),
        NodeKind::Aggregate { input, aggregates, .. } if aggregates.is_empty() => grows(input),
        NodeKind::Join { join, left, right, .. } => join.only_grows() && grows(left) && grows(right),
        NodeKind::Union { inputs } => inputs.iter().all(grows),
        _ => term.properties.append_only,
    }
}
