//! Aggregate functions that PostgreSQL or the field has and DataFusion does not, declared once for queries and views alike.
//!
//! Each sees all rows of its group at its end (`gather`), sorted if the call says how. In a view they are of the general class, or, where
//! `plan/lower/aggregate_call.rs` knows them, of a better one.

mod average;
mod booleans;
mod compute;
mod exact;
mod extremes;
pub(super) mod framed;
mod gather;
mod intervals;
mod json;
pub(super) mod moments;
pub(super) mod reals;
mod replayed;
mod sum;

use std::sync::{Arc, LazyLock};

use datafusion::functions_aggregate::approx_distinct::approx_distinct_udaf;
use datafusion::functions_aggregate::variance::var_samp_udaf;
use datafusion::logical_expr::AggregateUDF;

use self::average::Average;
use self::booleans::Sliding;
use self::compute::Compute;
use self::extremes::Extreme;
use self::gather::Gather;
pub(super) use self::json::Column as JsonColumn;
pub(super) use self::sum::BIGINT;
use self::sum::Sum;

/// `array_agg(DISTINCT x)`: in the order of the values where the call says no other, each once.
pub(super) fn distinct_array() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(Gather::new("array_agg", &[], Compute::Array))));
    Arc::clone(&FUNCTION)
}

/// `string_agg` with ORDER BY or DISTINCT: each call sorts for itself, so that several of one query may want several orders.
pub(super) fn ordered_text() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(Gather::new("string_agg", &[], Compute::Text))));
    Arc::clone(&FUNCTION)
}

/// Whether a function gathers the rows of its group, and knows DISTINCT by what values are equal to.
pub(super) fn gathers(function: &AggregateUDF) -> bool {
    function.inner().downcast_ref::<Gather>().is_some()
}

/// Our own functions, and DataFusion's under names that it lacks.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let alias = |function: Arc<AggregateUDF>, name| Arc::new(function.as_ref().clone().with_aliases([name]));
    let own = [
        Gather::new("jsonb_agg", &[], Compute::JsonArray { binary: true }),
        Gather::new("json_agg", &[], Compute::JsonArray { binary: false }),
        Gather::new("jsonb_object_agg", &[], Compute::JsonObject { binary: true }),
        Gather::new("json_object_agg", &[], Compute::JsonObject { binary: false }),
        Gather::new("mode", &[], Compute::Mode),
        Gather::new("percentile_disc", &["quantile_disc"], Compute::PercentileDiscrete),
        Gather::new("percentile_cont", &["quantile_cont"], Compute::PercentileContinuous),
        Gather::new("arg_min", &["min_by"], Compute::ArgMin),
        Gather::new("arg_max", &["max_by"], Compute::ArgMax),
        Gather::new("regr_avgy", &[], Compute::MeanOfPairs { argument: 0 }),
        Gather::new("regr_avgx", &[], Compute::MeanOfPairs { argument: 1 }),
    ];
    let own = own.into_iter().map(|function| Arc::new(AggregateUDF::from(function)));
    let sliding = [Sliding::bool_and(), Sliding::bool_or()].map(|function| Arc::new(AggregateUDF::from(function)));
    let known = [alias(approx_distinct_udaf(), "approx_count_distinct"), alias(var_samp_udaf(), "variance")];
    let exact = [Arc::new(AggregateUDF::from(Sum::new())), Arc::new(AggregateUDF::from(Average::new()))];
    let extremes = [Extreme::min(), Extreme::max()].map(|function| Arc::new(AggregateUDF::from(function)));
    known.into_iter().chain(extremes).chain(sliding).chain(own).chain(exact).collect()
}
