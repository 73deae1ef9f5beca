//! Where a `numeric` and a float meet, the `numeric` becomes a `double precision`, as in PostgreSQL.
//!
//! DataFusion would have it the other way round, and fail for NaN, for infinities and for what has more than 15 digits before the point.
//! Runs before types are coerced: over comparisons, lists, CASE and functions that choose one of their arguments, join keys, UNION and VALUES.
//! Arithmetic needs nothing: its results are floats already.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Union, Values};

use super::map_named::map_named;
use super::walk::{WalkPlan, WalkTree};

/// Functions whose result is one of their arguments.
const CHOOSING: [&str; 6] = ["coalesce", "greatest", "ifnull", "least", "nullif", "nvl"];

/// The plan with floats wherever `numeric` and float meet, in subqueries too.
pub(super) fn numeric_to_float(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.change_all_up(met).map(|done| done.data)
}

fn met(node: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Union(union) => united(union),
        LogicalPlan::Values(values) => listed(values),
        other => {
            let schema = merge_schema(&other.inputs());
            let mut node = map_named(other, |expr| expr.change_up(|inner| Ok(met_within(inner, &schema))))?;
            if let LogicalPlan::Join(join) = &mut node.data {
                for (left, right) in &mut join.on {
                    let types = [left.get_type(join.left.schema()).ok(), right.get_type(join.right.schema()).ok()];
                    if mixed(&types) {
                        node.transformed = true;
                        to_float(left, types[0].as_ref());
                        to_float(right, types[1].as_ref());
                    }
                }
            }
            Ok(node)
        }
    }
}

/// An expression whose operands meet.
fn met_within(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            together(&mut [left.as_mut(), right.as_mut()], schema)
        }
        Expr::Between(Between { expr, low, high, .. }) => together(&mut [expr.as_mut(), low.as_mut(), high.as_mut()], schema),
        Expr::InList(InList { expr, list, .. }) => {
            let mut all: Vec<&mut Expr> = std::iter::once(expr.as_mut()).chain(list.iter_mut()).collect();
            together(&mut all, schema)
        }
        Expr::Case(Case { expr: operand, when_then_expr, else_expr }) => {
            let (mut compared, mut results) = (Vec::new(), Vec::new());
            for (when, then) in when_then_expr {
                compared.push(when.as_mut());
                results.push(then.as_mut());
            }
            results.extend(else_expr.iter_mut().map(AsMut::as_mut));
            let operands = operand.iter_mut().map(AsMut::as_mut).next().is_some_and(|operand| {
                compared.push(operand);
                together(&mut compared, schema)
            });
            together(&mut results, schema) || operands
        }
        Expr::ScalarFunction(call) if CHOOSING.contains(&call.func.name()) => {
            let mut all: Vec<&mut Expr> = call.args.iter_mut().collect();
            together(&mut all, schema)
        }
        _ => false,
    };
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// Makes floats of all `numeric`s if there is a float among the expressions; whether it did.
fn together(exprs: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(schema).ok()).collect();
    if !mixed(&types) {
        return false;
    }
    exprs.iter_mut().zip(&types).for_each(|(expr, data_type)| to_float(expr, data_type.as_ref()));
    true
}

fn mixed(types: &[Option<DataType>]) -> bool {
    types.iter().flatten().any(DataType::is_floating) && types.iter().flatten().any(DataType::is_decimal)
}

fn to_float(expr: &mut Expr, data_type: Option<&DataType>) {
    if data_type.is_some_and(DataType::is_decimal) {
        let inner = std::mem::take(expr);
        *expr = Expr::Cast(Cast::new(Box::new(inner), DataType::Float64));
    }
}

/// Casts below a UNION: its own types are settled when types are coerced.
fn united(union: Union) -> DataFusionResult<Transformed<LogicalPlan>> {
    let width = union.inputs.first().map_or(0, |input| input.schema().fields().len());
    let meets = |column: usize| {
        let types = union.inputs.iter().map(|input| input.schema().fields().get(column).map(|field| field.data_type().clone()));
        mixed(&types.collect::<Vec<_>>())
    };
    let columns: Vec<bool> = (0..width).map(meets).collect();
    if !columns.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let cast = |input: &Arc<LogicalPlan>| {
        let schema = input.schema();
        let exprs = schema.columns().into_iter().zip(schema.fields()).zip(&columns).map(|((column, field), meets)| {
            let name = column.name().to_owned();
            let relation = column.relation.clone();
            let mut expr = Expr::Column(column);
            if *meets && field.data_type().is_decimal() {
                to_float(&mut expr, Some(field.data_type()));
                expr = expr.alias_qualified(relation, name);
            }
            expr
        });
        LogicalPlanBuilder::from(input.as_ref().clone()).project(exprs.collect::<Vec<_>>())?.build().map(Arc::new)
    };
    let inputs = union.inputs.iter().map(cast).collect::<DataFusionResult<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema: union.schema })))
}

/// The rows of VALUES have one type already, which DataFusion chose and cast them to: chosen anew where floats became `numeric`s.
fn listed(mut values: Values) -> DataFusionResult<Transformed<LogicalPlan>> {
    let empty = DFSchema::empty();
    let from_float = |expr: &Expr| match expr {
        Expr::Cast(Cast { expr, .. }) => expr.get_type(&empty).is_ok_and(|data_type| data_type.is_floating()),
        _ => false,
    };
    let fields = values.schema.fields();
    let chosen: Vec<bool> = (0..fields.len())
        .map(|column| fields[column].data_type().is_decimal() && values.values.iter().any(|row| from_float(&row[column])))
        .collect();
    if !chosen.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Values(values)));
    }
    for row in &mut values.values {
        for (expr, _) in row.iter_mut().zip(&chosen).filter(|(_, chosen)| **chosen) {
            let inner = match std::mem::take(expr) {
                Expr::Cast(Cast { expr, .. }) => *expr,
                other => other,
            };
            *expr = Expr::Cast(Cast::new(Box::new(inner), DataType::Float64));
        }
    }
    let names = values.schema.fields().iter().zip(&chosen).map(|(field, chosen)| {
        let field = field.as_ref().clone();
        Arc::new(if *chosen { field.with_data_type(DataType::Float64) } else { field })
    });
    values.schema = Arc::new(DFSchema::from_unqualified_fields(names.collect(), values.schema.metadata().clone())?);
    Ok(Transformed::yes(LogicalPlan::Values(values)))
}
