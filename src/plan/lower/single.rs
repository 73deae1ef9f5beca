//! Groups of one row each: where a key of the input is among what is grouped by, each row is its own group, and nothing has to be kept.
//!
//! ```text
//! Aggregate by (id, k): count(*), sum(x)   ─▶   Map (id, k, 1, x)        of a table whose key is id
//! ```
//!
//! So for the aggregates whose value for one row is an expression over that row; any other among them, and there is an ordinary group-by.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, CastExpr, Column, IsNotNullExpr, Literal};

use crate::plan::expressions::column_scalar;
use crate::plan::node::{AggregateCall, AggregateFunction, Node, Scalar};

/// The columns of the groups as expressions over the rows, if each group has one row. `schema`: that of the groups.
pub(super) fn of_one_row(input: &Node, keys: &[usize], calls: &[AggregateCall], schema: &Schema) -> Option<Vec<Scalar>> {
    let key = input.properties.key.as_ref()?;
    // Without keys there is a group even if there is no row.
    if keys.is_empty() || !key.iter().all(|column| keys.contains(column)) {
        return None;
    }
    let columns = keys.iter().enumerate().map(|(place, key)| Some(column_scalar(schema.field(place).name(), *key)));
    let values = calls.iter().map(|call| {
        let expression = value(call, &input.schema)?;
        Some(Scalar { expression, text: format!("{} of one row", call.text) })
    });
    columns.chain(values).collect()
}

fn value(call: &AggregateCall, input: &Schema) -> Option<Arc<dyn PhysicalExpr>> {
    use AggregateFunction::{Avg, BitXor, BoolAnd, BoolOr, Count, Max, Min, Sum};
    let column = |position: usize| Arc::new(Column::new(input.field(position).name(), position)) as Arc<dyn PhysicalExpr>;
    let filter = call.filter.map(column);
    let number = |number: i64| Arc::new(Literal::new(ScalarValue::Int64(Some(number)))) as Arc<dyn PhysicalExpr>;
    let case =
        |condition, then, otherwise| CaseExpr::try_new(None, vec![(condition, then)], otherwise).ok().map(|case| Arc::new(case) as _);
    match call.function {
        Count => {
            let given = call.argument.map(|argument| Arc::new(IsNotNullExpr::new(column(argument))) as Arc<dyn PhysicalExpr>);
            let both = [filter, given].into_iter().flatten();
            let both = both.reduce(|left, right| Arc::new(BinaryExpr::new(left, Operator::And, right)));
            match both {
                Some(counts) => case(counts, number(1), Some(number(0))),
                None => Some(number(1)),
            }
        }
        Sum | Avg | Min | Max | BoolAnd | BoolOr | BitXor => {
            let argument = call.argument?;
            let same = *input.field(argument).data_type() == call.result;
            let value = if same { column(argument) } else { cast(column(argument), &call.result) };
            match filter {
                Some(filter) => case(filter, value, None),
                None => Some(value),
            }
        }
        _ => None,
    }
}

fn cast(value: Arc<dyn PhysicalExpr>, wanted: &DataType) -> Arc<dyn PhysicalExpr> {
    Arc::new(CastExpr::new(value, wanted.clone(), None))
}
