//! `FROM t AS x (a, b)`: names for the first columns of a relation; the others keep theirs.
//!
//! DataFusion wants a name for every column. So the relation is planned under the alias alone, and its columns are named by what is known then.

use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use sqlparser::ast::{TableAlias, TableFactor};

use super::errors::external;
use super::names::normal;
use super::row_subqueries::{is_compared, wrong_width};
use crate::error::{Error, Kind};

/// Plans relations whose columns get names.
#[derive(Debug)]
pub(super) struct ColumnAliases;

impl RelationPlanner for ColumnAliases {
    fn plan_relation(&self, mut relation: TableFactor, context: &mut dyn RelationPlannerContext) -> DataFusionResult<RelationPlanning> {
        let Some(alias) = alias_of(&mut relation).filter(|alias| !alias.columns.is_empty()) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let given: Vec<String> = alias.columns.drain(..).map(|column| normal(&column.name)).collect();
        let alias = TableAlias { columns: Vec::new(), ..alias.clone() };
        let plan = context.plan(relation)?;
        let own = plan.schema().columns();
        if is_compared(&alias.name.value) && given.len() != own.len() {
            return Err(external(wrong_width(own.len(), given.len())));
        }
        if given.len() > own.len() {
            let (name, available) = (normal(&alias.name), own.len());
            let message = format!("table \"{name}\" has {available} columns available but {} columns specified", given.len());
            return Err(external(Error::new(Kind::InvalidColumnReference, message)));
        }
        let named = own.into_iter().enumerate().map(|(number, column)| match given.get(number) {
            Some(name) if *name != column.name => Expr::Column(column).alias(name),
            _ => Expr::Column(column),
        });
        let plan = LogicalPlanBuilder::from(plan).project(named.collect::<Vec<_>>())?.build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
    }
}

/// The alias of what is not a function: functions name their columns themselves.
fn alias_of(relation: &mut TableFactor) -> Option<&mut TableAlias> {
    match relation {
        TableFactor::Table { alias, args: None, .. } | TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => {
            alias.as_mut()
        }
        _ => None,
    }
}
