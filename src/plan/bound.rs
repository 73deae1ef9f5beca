//! An analysed query on its way to its rows: values in the places of parameters → optimised → rows in the places of objects.
//!
//! A query that comes out the same whenever it is optimised is optimised once: a dashboard that asks every second pays for its rows only.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, TableSource, Volatility};

use super::errors::{external, from_datafusion};
use super::parameters::Filling;
use super::planner::Planner;
use super::resolve::ObjectSource;
use super::walk::{WalkPlan, WalkTree};
use crate::error::{Error, Kind, Result};
use crate::types::{ObjectId, SqlType, canonical_floats};

/// Gives the rows of an object: with the columns that the plan knows.
pub type RowsOf<'a> = dyn Fn(ObjectId, &SchemaRef) -> Result<Arc<dyn TableProvider>> + Sync + 'a;

/// A query, analysed: every name and type is known, no row has been looked at.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Over `ObjectSource`s; not optimised yet.
    pub plan: LogicalPlan,
    /// The columns that come out, as the user sees them: names may repeat, every type is exactly that of a `SqlType`.
    pub schema: SchemaRef,
    /// The types of `$1`, `$2`, ….
    pub parameters: Vec<SqlType>,
    /// The tables, sources and views that it reads: those it names, and what is below the views among them.
    pub depends_on: Vec<ObjectId>,
    /// Whether it reads a system relation: such a plan holds rows already, and is not to be kept.
    pub reads_system: bool,
    /// The optimised plan, once there is one that serves all runs.
    pub(super) optimized: OnceLock<Box<LogicalPlan>>,
}

impl Bound {
    pub(super) fn new(plan: LogicalPlan, schema: SchemaRef, depends_on: BTreeSet<ObjectId>, reads_system: bool) -> Self {
        let depends_on = depends_on.into_iter().collect();
        Bound { plan, schema, parameters: Vec::new(), depends_on, reads_system, optimized: OnceLock::new() }
    }

    /// The plan of one run, still over objects: with the values of parameters (one array of length 1 each) in their places, optimised.
    /// `now_micros` is what `now()` means.
    pub fn optimized(&self, planner: &Planner, values: &[ArrayRef], now_micros: i64) -> Result<LogicalPlan> {
        if let Some(optimized) = self.optimized.get() {
            return Ok(optimized.as_ref().clone());
        }
        let plan = with_sources(self.plan.clone(), |source| Ok(Arc::new(source.finding())))?;
        let optimized = planner.optimize(self.with_parameters(plan, values)?, now_micros)?;
        // What reads nothing is rarely asked twice: INSERT … VALUES, say, of many rows.
        if self.parameters.is_empty() && !self.depends_on.is_empty() && !depends_on_time(&self.plan) {
            // Another run that was as fast has made the same.
            let _ = self.optimized.set(Box::new(optimized.clone()));
        }
        Ok(optimized)
    }

    fn with_parameters(&self, plan: LogicalPlan, values: &[ArrayRef]) -> Result<LogicalPlan> {
        if self.parameters.is_empty() {
            return Ok(plan);
        }
        let values = self.parameter_values(values)?;
        let plan = Filling { values: &values, types: &self.parameters }.calls(plan);
        let filled = plan.and_then(|plan| plan.replace_params_with_values(&ParamValues::from(values)));
        filled.map_err(|error| from_datafusion(error, ""))
    }

    /// The values of parameters, each of its type.
    pub(super) fn parameter_values(&self, values: &[ArrayRef]) -> Result<Vec<ScalarValue>> {
        if values.len() < self.parameters.len() {
            return Err(Error::new(Kind::UndefinedParameter, format!("there is no parameter ${}", values.len() + 1)));
        }
        let scalars = values.iter().zip(&self.parameters).map(|(value, sql_type)| {
            ScalarValue::try_from_array(&canonical_floats(Arc::clone(value)), 0).and_then(|scalar| scalar.cast_to(&sql_type.arrow()))
        });
        scalars.collect::<Result<Vec<_>, _>>().map_err(|error| from_datafusion(error, ""))
    }
}

/// Puts rows in the place of objects, in subqueries too: `provider` gives those of each.
pub fn attach(plan: LogicalPlan, provider: &RowsOf<'_>) -> Result<LogicalPlan> {
    with_sources(plan, |source| provider(source.object.id, &source.schema()).map(provider_as_source))
}

fn with_sources(plan: LogicalPlan, replace: impl Fn(&ObjectSource) -> Result<Arc<dyn TableSource>>) -> Result<LogicalPlan> {
    let replaced = plan.change_all_up(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(Transformed::no(node)) };
        let Some(source) = scan.source.as_ref().downcast_ref::<ObjectSource>() else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let source = replace(source).map_err(external)?;
        Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
    });
    replaced.map(|transformed| transformed.data).map_err(|error| from_datafusion(error, ""))
}

/// Whether a plan may come out otherwise at another time: it calls `now()`, `PROCTIME()` or their kin, which are constants for one run.
fn depends_on_time(plan: &LogicalPlan) -> bool {
    let of_one_run = |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable);
    let mut found = false;
    let _ = plan.look_at_all(|node| {
        node.look_at_expressions(|expr| {
            found |= expr.has(|part| Ok(of_one_run(part)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    });
    found
}
