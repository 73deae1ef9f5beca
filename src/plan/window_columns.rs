//! The columns of TUMBLE, HOP, CUMULATE and SESSION in their places: behind those of the relation, in the order in which they are documented.
//!
//! A relation that has windows already has columns of these names. They are what rows are in before, and most often the time of the new windows:
//!
//! ```text
//! per_10s                    window_start  window_end  window_time  n
//! TUMBLE(per_10s, window_time, 1 minute)                            n  window_start  window_end  window_time
//! ```
//!
//! The new ones take the place of the old ones, as the row is in the new window. What of the old ones is of interest gets another name below.

use datafusion::common::Column;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use sqlparser::ast::TableFactor;

use super::names::visible;
use crate::sql::{WINDOW_COLUMNS, made_column, take_mark};

/// Plans what `sql/windows.rs` has written.
#[derive(Debug)]
pub(super) struct WindowColumns;

impl RelationPlanner for WindowColumns {
    fn plan_relation(&self, mut relation: TableFactor, context: &mut dyn RelationPlannerContext) -> DataFusionResult<RelationPlanning> {
        let marked = match &mut relation {
            TableFactor::Derived { subquery, alias, .. } => take_mark(subquery).then(|| alias.clone()),
            _ => None,
        };
        let Some(alias) = marked else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let plan = context.plan(relation)?;
        let columns = plan.schema().columns();
        let of_relation = columns.iter().filter(|column| !WINDOW_COLUMNS.contains(&visible(&column.name)));
        let mut placed: Vec<Expr> = of_relation.cloned().map(Expr::Column).collect();
        for name in WINDOW_COLUMNS {
            let is_made = |column: &&Column| column.name == made_column(name);
            let made = columns.iter().find(is_made).ok_or_else(|| DataFusionError::Internal(format!("windows without {name}")))?;
            placed.push(Expr::Column(made.clone()).alias(name));
        }
        let plan = LogicalPlanBuilder::from(plan).project(placed)?.build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}
