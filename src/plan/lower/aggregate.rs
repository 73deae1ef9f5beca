//! GROUP BY: keys and arguments become columns of the input; `group` makes nodes of the rest.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::AggregateFunction as LogicalAggregate;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable};

use super::{Lowering, cast, fields_of, nullable, scalars, support};
use crate::error::{Error, Result};
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::expression_text;
use crate::plan::names::visible;
use crate::plan::node::{AggregateCall, AggregateFunction, Node};

/// One aggregate call before its argument has a position.
struct Call {
    function: AggregateFunction,
    argument: Option<Expr>,
    distinct: bool,
    filter: Option<Expr>,
    result: DataType,
    text: String,
}

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Node> {
        let input = self.lower(&aggregate.input)?;
        let below = aggregate.input.schema();
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Err(support::unsupported("GROUPING SETS, ROLLUP or CUBE"));
        }
        let schema = fields_of(&aggregate.schema);
        let results = schema.fields().iter().skip(aggregate.group_expr.len());
        let calls = aggregate.aggr_expr.iter().zip(results).map(|(expr, field)| call(expr, field.data_type(), below));
        let calls = calls.collect::<Result<Vec<_>>>()?;

        let mut columns = Columns::default();
        let keys: Vec<usize> = aggregate.group_expr.iter().map(|expr| columns.place(expr)).collect();
        let calls: Vec<AggregateCall> = calls
            .into_iter()
            .map(|call| AggregateCall {
                function: call.function,
                argument: call.argument.as_ref().map(|expr| columns.place(expr)),
                distinct: call.distinct,
                filter: call.filter.as_ref().map(|expr| columns.place(expr)),
                result: call.result,
                text: call.text,
            })
            .collect();
        let (input, positions) = self.prepared(input, below, &columns.exprs)?;
        let keys = keys.into_iter().map(|key| positions[key]).collect();
        let calls = calls.into_iter().map(|call| AggregateCall {
            argument: call.argument.map(|column| positions[column]),
            filter: call.filter.map(|column| positions[column]),
            ..call
        });
        let calls = calls.collect();
        Ok(self.group(input, keys, calls, schema))
    }

    /// The input with a column for every expression, and where each stands. Columns alone need no map.
    fn prepared(&mut self, input: Node, below: &DFSchema, exprs: &[Expr]) -> Result<(Node, Vec<usize>)> {
        let plain = exprs.iter().map(|expr| match unaliased(expr) {
            Expr::Column(column) => below.index_of_column(column).ok(),
            _ => None,
        });
        if let Some(positions) = plain.collect::<Option<Vec<_>>>() {
            return Ok((input, positions));
        }
        let fields = exprs.iter().map(|expr| {
            let (_, field) = expr.to_field(below).map_err(|error| from_datafusion(error, ""))?;
            Ok(nullable(&field, visible(field.name())))
        });
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<Field>>>()?));
        let projection = scalars(exprs, below)?;
        Ok((self.map(input, None, projection, schema), (0..exprs.len()).collect()))
    }
}

/// Different expressions, each with its place.
#[derive(Default)]
struct Columns {
    exprs: Vec<Expr>,
}

impl Columns {
    fn place(&mut self, expr: &Expr) -> usize {
        let expr = unaliased(expr);
        self.exprs.iter().position(|known| known == expr).unwrap_or_else(|| {
            self.exprs.push(expr.clone());
            self.exprs.len() - 1
        })
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn call(expr: &Expr, result: &DataType, below: &DFSchema) -> Result<Call> {
    let Expr::AggregateFunction(LogicalAggregate { func, params }) = unaliased(expr) else {
        return Err(Error::internal(format!("not an aggregate: {expr}")));
    };
    let name = func.name();
    let function = match name {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        "bool_and" => AggregateFunction::BoolAnd,
        "bool_or" => AggregateFunction::BoolOr,
        _ => return Err(support::unsupported(&format!("the aggregate function {name}()"))),
    };
    let argument = match params.args.as_slice() {
        [] => None,
        // count(*) arrives as count(1).
        [Expr::Literal(value, _)] if function == AggregateFunction::Count && !value.is_null() => None,
        [only] => Some(coerced_argument(function, only, result, below)?),
        _ => return Err(support::unsupported(&format!("{name}() with several arguments"))),
    };
    let insensitive =
        matches!(function, AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::BoolAnd | AggregateFunction::BoolOr);
    Ok(Call {
        function,
        distinct: params.distinct && !insensitive && argument.is_some(),
        text: call_text(name, params.args.as_slice(), argument.is_none(), params.distinct, params.filter.as_deref()),
        argument,
        filter: params.filter.as_deref().cloned(),
        result: result.clone(),
    })
}

/// The argument in the type that the aggregate computes with.
fn coerced_argument(function: AggregateFunction, argument: &Expr, result: &DataType, below: &DFSchema) -> Result<Expr> {
    let found = argument.get_type(below).map_err(|error| from_datafusion(error, ""))?;
    let wanted = match (function, result) {
        (AggregateFunction::Sum | AggregateFunction::Avg, DataType::Int64 | DataType::Float64) => result.clone(),
        (AggregateFunction::Sum | AggregateFunction::Avg, DataType::Decimal128(..) | DataType::Decimal256(..)) if found.is_decimal() => {
            return Ok(argument.clone());
        }
        (AggregateFunction::Sum | AggregateFunction::Avg, _) => {
            return Err(support::unsupported("sum() or avg() of this type"));
        }
        _ => return Ok(argument.clone()),
    };
    Ok(if found == wanted { argument.clone() } else { cast(argument.clone(), Field::new("", wanted, true)) })
}

fn call_text(name: &str, arguments: &[Expr], star: bool, distinct: bool, filter: Option<&Expr>) -> String {
    let inside = if star { "*".to_owned() } else { arguments.iter().map(expression_text).collect::<Vec<_>>().join(", ") };
    let distinct = if distinct { "DISTINCT " } else { "" };
    let filter = filter.map(|expr| format!(" FILTER (WHERE {})", expression_text(expr))).unwrap_or_default();
    format!("{name}({distinct}{inside}){filter}")
}
