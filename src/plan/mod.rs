//! Statement + catalog → `Node`; pure: reads no clock, file or socket.

mod aggregates;
mod arrays;
mod arrow_kinds;
mod call_clauses;
mod casts;
mod checked;
mod column_aliases;
mod constant_filter;
mod copies;
mod data_type;
mod distinct_on;
mod dml;
mod equal_values;
mod errors;
mod explain;
mod expressions;
mod floats;
mod functions;
mod general;
mod inline;
mod integers;
mod lower;
mod marks;
mod mismatch;
mod mistakes;
mod named_windows;
mod names;
mod node;
mod null_equality;
mod operators;
mod pack;
mod parameters;
mod pg_catalog;
mod plain_type;
mod planner;
mod properties;
mod recursion;
mod resolve;
mod row_comparisons;
mod rules;
mod scalar;
mod size;
mod sized;
mod spelling;
mod strict;
mod subqueries;
mod table_functions;
#[cfg(test)]
mod tests;
mod text;
mod time_precision;
mod unnest;
mod using;
mod values;
mod whole_rows;
mod with_ties;
mod written_call;
mod zeros;
mod zones;

pub use aggregates::moments::MomentTotals;
pub use data_type::{column_type, sql_type};
pub use dml::{Change, ConflictUpdate, returning_query};
pub use errors::from_datafusion;
pub use explain::{explain, notices, readable};
pub use general::{GeneralAggregate, GroupAccumulator, GroupResults};
pub use lower::{ViewSettings, identity};
pub use node::{
    AggregateCall, AggregateFunction, Extent, GroupingSet, JoinKind, Lookup, Moment, Node, NodeKind, OrderColumn, PackedColumn, Plan,
    Properties, Ranking, Scalar, UnnestColumn, WindowCall, WindowMethod, column,
};
pub use pg_catalog::prepare_catalog_query;
pub use planner::{Bound, Planner, PlannerOptions, RowsOf};
pub use resolve::{NoSystemRelations, ObjectSource, RelationSource, Scope, schema_of};
pub use text::query as parse_query;
