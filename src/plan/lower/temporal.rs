//! Comparisons with the time: `WHERE ts > now() - INTERVAL '1 hour'`.
//!
//! Until the plan is lowered `now()` is a variable: the optimiser neither replaces it by a value nor keeps it from going down to the rows that
//! it is compared with. A comparison of what a row says with what follows from the time, and never falls, is a [`NodeKind::Temporal`]; what
//! else the time is in cannot be maintained.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalMonthDayNano, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, Operator, Projection};

use super::low::through;
use super::{Lowering, column_scalar, expression_text, identity, scalar};
use crate::error::{Error, Result};
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::{column_index, physical};
use crate::plan::node::{Crossing, Node, NodeKind, Scalar};
use crate::plan::properties;
use crate::plan::walk::{WalkPlan, WalkTree};
use crate::types::{Low, NOW, SqlType};

/// What the variable, and the column that stands for it, is called: no column of a user's can be.
const NOW_NAME: &str = "@@now";

const HINT: &str = "Compare a column with it: ts > now() - INTERVAL '1 hour', or ts BETWEEN now() - INTERVAL '1 day' AND now().";

const HINT_OF_EQUALITY: &str = "Say when it begins to be true, and when it ends: ts >= current_date AND ts < current_date + 1.";

/// The variable in the place of `now()` wherever rows are filtered, or joined.
pub(super) fn with_variable(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.change_all_up(|node| match node {
        LogicalPlan::Filter(_) | LogicalPlan::Join(_) => node.change_expressions(|expr| expr.change_up(variable)),
        node => Ok(Transformed::no(node)),
    });
    replaced.map(|plan| plan.data).map_err(|error| from_datafusion(error, ""))
}

/// The variable: what time it is.
pub(in crate::plan) fn clock() -> Expr {
    clock_of(SqlType::Timestamptz.arrow())
}

fn clock_of(data_type: DataType) -> Expr {
    Expr::ScalarVariable(Arc::new(Field::new(NOW_NAME, data_type, true)), vec![NOW_NAME.to_owned()])
}

fn variable(expr: Expr) -> DataFusionResult<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
    Ok(match (call.func.name(), call.args.is_empty()) {
        ("now", true) => Transformed::yes(clock_of(expr.get_type(&DFSchema::empty())?)),
        // Of days in UTC, as everywhere in views.
        ("current_date", true) => Transformed::yes(Expr::Cast(Cast::new(Box::new(clock()), DataType::Date32))),
        _ => Transformed::no(expr),
    })
}

/// The time back in the conditions from which the optimiser took what they have in common.
pub(super) fn in_conditions(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.change_up(|node| {
        let LogicalPlan::Filter(filter) = &node else { return Ok(Transformed::no(node)) };
        let LogicalPlan::Projection(below) = filter.input.as_ref() else { return Ok(Transformed::no(node)) };
        let timed = below.expr.iter().zip(below.schema.columns()).filter(|(expr, _)| reads_time(expr));
        let timed: HashMap<Column, Expr> = timed.map(|(expr, column)| (column, expr.clone().unalias())).collect();
        if timed.is_empty() {
            return Ok(Transformed::no(node));
        }
        let predicate = inlined(filter.predicate.clone(), &timed)?;
        let without = below.expr.iter().zip(below.schema.iter()).map(|(expr, (qualifier, field))| {
            if !reads_time(expr) {
                return Ok(expr.clone());
            }
            Ok(Expr::Literal(ScalarValue::try_from(field.data_type())?, None).alias_qualified(qualifier.cloned(), field.name()))
        });
        let below = Projection::try_new(without.collect::<DataFusionResult<_>>()?, Arc::clone(&below.input))?;
        let filter = Filter::try_new(predicate, Arc::new(LogicalPlan::Projection(below)))?;
        Ok(Transformed::yes(LogicalPlan::Filter(filter)))
    });
    plan.map(|plan| plan.data).map_err(|error| from_datafusion(error, ""))
}

fn inlined(predicate: Expr, by: &HashMap<Column, Expr>) -> DataFusionResult<Expr> {
    let replaced = predicate.change_up(|expr| {
        Ok(match &expr {
            Expr::Column(column) => by.get(column).map_or_else(|| Transformed::no(expr.clone()), |timed| Transformed::yes(timed.clone())),
            _ => Transformed::no(expr),
        })
    });
    replaced.map(|replaced| replaced.data)
}

/// Whether the time is in an expression.
pub(super) fn reads_time(expr: &Expr) -> bool {
    time_field(expr).is_some()
}

fn time_field(expr: &Expr) -> Option<FieldRef> {
    let mut found = None;
    // The closure does not fail.
    let _ = expr.look(|inner| {
        Ok(match inner {
            Expr::ScalarVariable(field, _) => {
                found = Some(Arc::clone(field));
                TreeNodeRecursion::Stop
            }
            _ => TreeNodeRecursion::Continue,
        })
    });
    found
}

/// The condition of an inner join apart from what reads the time, which filters what the join gives.
pub(super) fn apart(join: &Join) -> Option<LogicalPlan> {
    let filter = join.filter.as_ref().filter(|filter| join.join_type == JoinType::Inner && reads_time(filter))?;
    let (timed, rest): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(filter.clone()).into_iter().partition(reads_time);
    let joined = LogicalPlan::Join(Join { filter: conjunction(rest), ..join.clone() });
    Filter::try_new(conjunction(timed)?, Arc::new(joined)).ok().map(LogicalPlan::Filter)
}

impl Lowering<'_> {
    /// The rows for which a condition is true.
    pub(super) fn rows_where(&mut self, mut input: Node, predicate: &Expr, schema: &DFSchema) -> Result<Node> {
        if !reads_time(predicate) {
            let predicate = scalar(predicate, schema)?;
            return Ok(self.filter(input, predicate));
        }
        let (timed, rest): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(predicate.clone()).into_iter().partition(reads_time);
        if let Some(rest) = conjunction(rest) {
            let rest = scalar(&rest, schema)?;
            input = self.filter(input, rest);
        }
        for comparison in timed {
            input = self.temporal(input, &comparison, schema)?;
        }
        Ok(input)
    }

    /// One comparison with the time.
    fn temporal(&mut self, input: Node, comparison: &Expr, schema: &DFSchema) -> Result<Node> {
        let Comparison { value, low, crossing } = comparison_of(comparison, schema)?;
        let width = input.schema.fields().len();
        let known = column_index(&value.expression);
        let (input, column) = match known {
            Some(column) => (input, column),
            None => {
                let data_type = value.expression.data_type(&input.schema).map_err(|error| from_datafusion(error, ""))?;
                let fields = input.schema.fields().iter().cloned().chain([Arc::new(Field::new(value.text.clone(), data_type, true))]);
                let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                let projection = identity(&input.schema).into_iter().chain([value]).collect();
                (self.map(input, None, projection, schema), width)
            }
        };
        let (schema, properties) = (Arc::clone(&input.schema), properties::temporal(&input.properties, crossing, &low));
        let node = self.node(NodeKind::Temporal { input: Box::new(input), column, crossing, low }, schema, properties);
        if known.is_some() {
            return Ok(node);
        }
        let schema = Arc::new(Schema::new(node.schema.fields()[..width].to_vec()));
        let kept = schema.fields().iter().enumerate().map(|(index, field)| column_scalar(field.name(), index)).collect();
        Ok(self.map(node, None, kept, schema))
    }
}

/// A comparison of a row's time with one that follows from the clock.
struct Comparison {
    value: Scalar,
    low: Low,
    crossing: Crossing,
}

fn comparison_of(expr: &Expr, schema: &DFSchema) -> Result<Comparison> {
    let found = sides_of(expr).and_then(|(value, time, crossing)| compared(value, &time, crossing, schema).transpose());
    found.unwrap_or_else(|| Err(cannot_follow(expr)))
}

/// A place of the time that is no comparison of the kind that views can have.
pub(super) fn cannot_follow(expr: &Expr) -> Error {
    let text = expression_text(expr).replace(&format!("{NOW_NAME}::date"), "current_date").replace(NOW_NAME, "now()");
    let is_equality = matches!(expr, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. }));
    let error = Error::not_supported(format!("a materialized view cannot follow the time in {text}"));
    error.hint(if is_equality { HINT_OF_EQUALITY } else { HINT })
}

/// What a row says, what the clock says, and what the comparison makes of it.
fn sides_of(expr: &Expr) -> Option<(Expr, Expr, Crossing)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (value, time, op) = match (reads_time(left), reads_time(right)) {
        (false, true) => (left, right, *op),
        (true, false) => (right, left, op.swap()?),
        _ => return None,
    };
    let crossing = match op {
        Operator::Gt => Crossing::Leaves { when_passed: false },
        Operator::GtEq => Crossing::Leaves { when_passed: true },
        Operator::LtEq => Crossing::Enters { when_passed: false },
        Operator::Lt => Crossing::Enters { when_passed: true },
        _ => return None,
    };
    let (value, time) = of_distance(value, time).unwrap_or_else(|| ((**value).clone(), (**time).clone()));
    Some((value, time, crossing))
}

/// `None` if these are no times, or if what the clock says may fall as it goes on.
fn compared(value: Expr, time: &Expr, crossing: Crossing, schema: &DFSchema) -> Result<Option<Comparison>> {
    let Some(field) = time_field(time) else { return Ok(None) };
    let fail = |error| from_datafusion(error, "");
    let clock = DFSchema::from_unqualified_fields([field].into_iter().collect(), Default::default()).map_err(fail)?;
    let named = time.clone().change_up(|inner| {
        Ok(match inner {
            Expr::ScalarVariable(..) => Transformed::yes(Expr::Column(Column::new_unqualified(NOW_NAME))),
            inner => Transformed::no(inner),
        })
    });
    // What reads a column beside the clock is not of this schema.
    let Ok(time) = physical(&named.map_err(fail)?.data, &clock) else { return Ok(None) };
    let Some(low) = through(&time, &|_| Some(Low::Of(NOW))) else { return Ok(None) };
    let is_time = |value: &Expr| {
        let data_type = value.get_type(schema).map_err(fail)?;
        Ok::<bool, Error>(matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32))
    };
    let mut value = value;
    // The clock, as DataFusion has it, counts nanoseconds: it shows microseconds here, and what it is compared with is as good without a cast.
    if let Expr::Cast(cast) = &value
        && matches!(cast.field.data_type(), DataType::Timestamp(..))
        && is_time(&cast.expr)?
    {
        value = (*cast.expr).clone();
    }
    if !is_time(&value)? {
        return Ok(None);
    }
    Ok(Some(Comparison { value: scalar(&value, schema)?, low, crossing }))
}

/// `now() - ts < i` is `ts > now() - i`: an interval is compared by its length, and that of a difference has no months.
fn of_distance(length: &Expr, difference: &Expr) -> Option<(Expr, Expr)> {
    let (Expr::Literal(ScalarValue::Decimal128(Some(length), _, 0), _), Expr::ScalarFunction(measured)) = (length, difference) else {
        return None;
    };
    let [Expr::ScalarFunction(subtracted)] = measured.args.as_slice() else { return None };
    let [later, earlier] = subtracted.args.as_slice() else { return None };
    if (measured.name(), subtracted.name()) != ("interval_length", "timestamp_subtract") || reads_time(earlier) {
        return None;
    }
    let nanoseconds = i64::try_from(*length).ok()?.checked_mul(1_000)?;
    let interval = Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, nanoseconds))), None);
    Some((earlier.clone(), crate::plan::scalar::call("timestamp_minus", vec![later.clone(), interval])))
}
