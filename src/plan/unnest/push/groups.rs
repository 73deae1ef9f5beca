//! Aggregates of a subquery, for all combinations of outer values side by side: they group by those too.
//!
//! A total (no GROUP BY, or an empty grouping set) is of one row even when there are none: every combination gets its own.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Column, JoinType, ScalarValue, TableReference};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::enumerate_grouping_sets;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, lit, when};

use super::{Domain, column, join, stuck};
use crate::plan::names::hidden;

impl Domain {
    /// The same aggregate for each combination.
    pub(super) fn aggregate(&self, aggregate: &Aggregate) -> DataFusionResult<LogicalPlan> {
        let sets = grouping_sets(&aggregate.group_expr)?;
        let totals = sets.iter().filter(|set| set.is_empty()).count();
        if totals > 0 && self.all.is_none() {
            return stuck("an aggregate that gives a row even when there is none");
        }
        if totals > 1 {
            return stuck("an empty grouping set beside another one");
        }
        let scope = aggregate.input.schema();
        let input = self.push(&aggregate.input)?;
        let named = |expr: &Expr| self.named(expr, scope, &input);
        let calls = aggregate.aggr_expr.iter().map(named).collect::<DataFusionResult<Vec<_>>>()?;
        let outer = self.columns(&input)?;
        let mut keyed = Vec::with_capacity(sets.len());
        for set in &sets {
            let keys = set.iter().map(named).chain(outer.iter().cloned().map(Ok));
            keyed.push(keys.collect::<DataFusionResult<Vec<_>>>()?);
        }
        let keys = match &aggregate.group_expr[..] {
            [Expr::GroupingSet(_)] => vec![Expr::GroupingSet(GroupingSet::GroupingSets(keyed))],
            _ => keyed.swap_remove(0),
        };
        let grouped = LogicalPlanBuilder::from(input).aggregate(keys, calls)?.build()?;
        match &self.all {
            Some((key, domain)) if totals > 0 => self.row_for_each(aggregate, grouped, key, domain),
            _ => Ok(grouped),
        }
    }

    /// A total, of no keys, gives a row to every combination, also where nothing was aggregated.
    fn row_for_each(&self, aggregate: &Aggregate, grouped: LogicalPlan, key: &str, domain: &LogicalPlan) -> DataFusionResult<LogicalPlan> {
        let renamed_key = hidden("outer group", self.number);
        let result = |index: usize| hidden("result", self.number * 100 + index);
        // What tells the sets apart is asked for by grouping() alone, which is a call still.
        let own = |field: &FieldRef| field.name() != Aggregate::INTERNAL_GROUPING_ID;
        let results: Vec<(Option<&TableReference>, &FieldRef)> = aggregate.schema.iter().filter(|(_, field)| own(field)).collect();
        let renamed = results
            .iter()
            .enumerate()
            .map(|(index, (qualifier, field))| Expr::Column(Column::new(qualifier.cloned(), field.name())).alias(result(index)));
        let columns: Vec<Expr> = [column(&grouped, key)?.alias(renamed_key.clone())].into_iter().chain(renamed).collect();
        let grouped = LogicalPlanBuilder::from(grouped).project(columns)?.build()?;
        let on = (column(domain, key)?, column(&grouped, &renamed_key)?);
        let joined = join(domain.clone(), grouped, vec![on], None, JoinType::Left)?;
        let keys = results.len() - aggregate.aggr_expr.len();
        let mut columns = Vec::new();
        for (index, (qualifier, field)) in results.into_iter().enumerate() {
            let found = column(&joined, &result(index))?;
            let value = match index.checked_sub(keys) {
                Some(call) => {
                    let of_nothing = of_nothing(&aggregate.aggr_expr[call], field.data_type())?;
                    if of_nothing.is_null() { found } else { when(found.clone().is_null(), lit(of_nothing)).otherwise(found)? }
                }
                None => found,
            };
            columns.push(value.alias_qualified(qualifier.cloned(), field.name()));
        }
        columns.extend(self.columns(&joined)?);
        LogicalPlanBuilder::from(joined).project(columns)?.build()
    }
}

/// The sets of keys that a GROUP BY stands for: one, if it has no grouping sets.
fn grouping_sets(keys: &[Expr]) -> DataFusionResult<Vec<Vec<Expr>>> {
    let [Expr::GroupingSet(sets)] = keys else { return Ok(vec![keys.to_vec()]) };
    // Beside an empty set, which changes nothing, the clause is written out.
    let all = enumerate_grouping_sets(vec![Expr::GroupingSet(sets.clone()), Expr::GroupingSet(GroupingSet::GroupingSets(vec![vec![]]))])?;
    match all.into_iter().next() {
        Some(Expr::GroupingSet(GroupingSet::GroupingSets(sets))) => Ok(sets),
        _ => stuck("GROUPING SETS"),
    }
}

/// What an aggregate says of no rows.
fn of_nothing(call: &Expr, data_type: &DataType) -> DataFusionResult<ScalarValue> {
    let Expr::AggregateFunction(call) = call.clone().unalias() else { return stuck("an aggregate of this kind") };
    if call.func.name() == "grouping" {
        // A bit for each key that the set is without: the empty one is without any.
        let bits = (1_i64 << call.params.args.len().min(62)) - 1;
        return ScalarValue::from(bits).cast_to(data_type);
    }
    call.func.default_value(data_type)
}
