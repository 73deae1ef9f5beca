//! Arrays, rows and maps as PostgreSQL has them, where DataFusion means something else by the same words.
//!
//! `rewrite` changes the text's tree, `planner` plans operators, the rest are the functions behind them.

mod compare;
mod contain;
mod parameters;
mod planner;
mod rewrite;
mod shape;
mod subscript;
mod text;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub(super) use parameters::open_type;
pub(super) use planner::ArrayPlanner;
pub(super) use rewrite::{rewrite, rewrite_expression};
pub(super) use shape::rectangular;
pub(super) use text::maps_as_text;

/// The functions that the rewriting calls by name.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![compare::compare(false), compare::compare(true)]
}
