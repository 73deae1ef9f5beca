//! ASOF joins in logical plans: every left row with the last right row of its key that is not later than it.
//!
//! The parser leaves one as a join whose condition is marked: `asof_join(a.k = b.k AND a.ts >= b.ts)`. For a query that runs once it becomes
//! plain SQL, for a view a node of its own, which no rule looks into: a condition on the right side must not be checked below it, since that
//! would make another row the last one.
//!
//! ```text
//! once   SELECT a.*, b.* FROM (SELECT *, row_number() OVER () AS n FROM a) a [LEFT] JOIN b ON a.k = b.k AND a.ts >= b.ts
//!        WHERE row_number() OVER (PARTITION BY n ORDER BY b.ts DESC, b.* DESC) = 1
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, Result as DataFusionResult, ScalarValue};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, ExprSchemable, Extension, Join, LogicalPlan, LogicalPlanBuilder, Operator, UserDefinedLogicalNodeCore,
    WindowFunctionDefinition, lit, when,
};

use super::errors::external;
use super::join_mark::{self, schema_of};
use super::walk::{WalkPlan, WalkTree};
use crate::error::Error;
use crate::sql::ASOF_JOIN;

/// The names of numbers that a user's column cannot have.
const NUMBER: &str = "\u{0}number of the left row";
const PLACE: &str = "\u{0}place of the right row";

const HINT: &str = "Write ON a.k = b.k AND a.ts >= b.ts: equal keys, one comparison by >=, >, <= or <, and conditions on one side alone.";

/// An ASOF join of a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AsOfJoin {
    pub(super) left: LogicalPlan,
    pub(super) right: LogicalPlan,
    /// Equal in both rows, left and right.
    pub(super) keys: Vec<(Expr, Expr)>,
    /// What is compared, left and right.
    pub(super) times: (Expr, Expr),
    pub(super) comparison: Comparison,
    /// Left rows without a right row stay.
    pub(super) outer: bool,
    schema: DFSchemaRef,
}

/// How a left row's time is compared with those of right rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Comparison {
    /// `>=` or `<=`.
    pub(super) inclusive: bool,
    /// `<=` or `<`: the first right row that is not earlier.
    pub(super) forward: bool,
}

impl PartialOrd for AsOfJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for AsOfJoin {
    fn name(&self) -> &'static str {
        "AsOfJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.keys.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
        keys.chain([self.times.0.clone(), self.times.1.clone()]).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.iter().map(|(left, right)| format!("{left} = {right}, "));
        let sign = match self.comparison {
            Comparison { inclusive: true, forward: false } => ">=",
            Comparison { inclusive: false, forward: false } => ">",
            Comparison { inclusive: true, forward: true } => "<=",
            Comparison { inclusive: false, forward: true } => "<",
        };
        let kind = if self.outer { "Left" } else { "Inner" };
        write!(f, "{kind} AsOfJoin: {}{} {sign} {}", keys.collect::<String>(), self.times.0, self.times.1)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DataFusionResult<Self> {
        let internal = || external(Error::internal("an ASOF join lost an input"));
        let (Some(right), Some(left)) = (inputs.pop(), inputs.pop()) else { return Err(internal()) };
        let (Some(right_time), Some(left_time)) = (exprs.pop(), exprs.pop()) else { return Err(internal()) };
        let keys = exprs.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let schema = schema_of(&left, &right, self.outer)?;
        Ok(AsOfJoin { left, right, keys, times: (left_time, right_time), schema, ..self.clone() })
    }
}

/// Plain SQL in the place of every ASOF join.
pub(super) fn without_as_of(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    replaced(plan, &as_windows)
}

/// A node of its own in the place of every ASOF join.
pub(super) fn with_as_of(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    replaced(plan, &|join| Ok(LogicalPlan::Extension(Extension { node: Arc::new(join) })))
}

fn replaced(plan: LogicalPlan, with: &dyn Fn(AsOfJoin) -> DataFusionResult<LogicalPlan>) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.change_all_up(|node| match node {
        LogicalPlan::Join(join) => match join.filter.as_ref().and_then(marked) {
            Some(condition) => with(understood(&join, condition)?).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        other => Ok(Transformed::no(other)),
    });
    let plan = replaced?.data;
    if has_mark(&plan)? {
        return Err(external(Error::not_supported("an ASOF join with rows that depend on its left side is not supported").hint(HINT)));
    }
    Ok(plan)
}

/// Whether a mark is left: of a join that has become something else.
fn has_mark(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.look_at_all(|node| {
        node.look_at_expressions(|expr| {
            found |= expr.has(|inner| Ok(marked(inner).is_some()))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

fn marked(filter: &Expr) -> Option<&Expr> {
    join_mark::marked(filter, ASOF_JOIN)
}

/// What a condition says. `0A000` for one that says anything else.
fn understood(join: &Join, condition: &Expr) -> DataFusionResult<AsOfJoin> {
    let refused = |why: &str| external(Error::not_supported(format!("an ASOF join {why}")).hint(HINT));
    let outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        other => return Err(refused(&format!("of the kind {other} is not supported"))),
    };
    let (left, right) = (join.left.schema(), join.right.schema());
    let (mut keys, mut times, mut of_left, mut of_right) = (Vec::new(), None, Vec::new(), Vec::new());
    for term in split_conjunction(condition) {
        match term {
            Expr::Literal(ScalarValue::Boolean(Some(true)), _) => {}
            term if is_of(term, right) => of_right.push(term.clone()),
            term if is_of(term, left) && !outer => of_left.push(term.clone()),
            // A left row for which it is not true has no right row, and stays: so a key is what it is.
            term if is_of(term, left) && !has_subquery(term)? => {
                keys.push((when(term.clone(), lit(true)).end()?, lit(true)));
            }
            term => {
                let (pair, op) = compared(term, left, right).ok_or_else(|| refused("with this condition is not supported"))?;
                match (op, comparison_of(op)) {
                    (Operator::Eq, _) => keys.push(pair),
                    (Operator::IsNotDistinctFrom, _) => keys.extend(equal_with_null(pair, left)?),
                    (_, None) => return Err(refused("with this condition is not supported")),
                    (_, Some(comparison)) if times.is_none() => times = Some((pair, comparison)),
                    _ => return Err(refused("with several comparisons is not supported")),
                }
            }
        }
    }
    let (times, comparison) = times.ok_or_else(|| refused("needs a comparison that says which row is the last"))?;
    let only = |side: &Arc<LogicalPlan>, conditions: Vec<Expr>| {
        let side = LogicalPlanBuilder::from(Arc::clone(side));
        conditions.into_iter().try_fold(side, |side, condition| side.filter(condition))?.build()
    };
    let (left, right) = (only(&join.left, of_left)?, only(&join.right, of_right)?);
    let schema = schema_of(&left, &right, outer)?;
    Ok(AsOfJoin { left, right, keys, times, comparison, outer, schema })
}

/// The left and the right side of a comparison of both sides.
fn compared(term: &Expr, left: &DFSchema, right: &DFSchema) -> Option<((Expr, Expr), Operator)> {
    let Expr::BinaryExpr(binary) = term else { return None };
    let (one, other) = (binary.left.as_ref(), binary.right.as_ref());
    if is_of(one, left) && is_of(other, right) {
        return Some(((one.clone(), other.clone()), binary.op));
    }
    let op = binary.op.swap().filter(|_| is_of(one, right) && is_of(other, left))?;
    Some(((other.clone(), one.clone()), op))
}

fn comparison_of(op: Operator) -> Option<Comparison> {
    match op {
        Operator::GtEq => Some(Comparison { inclusive: true, forward: false }),
        Operator::Gt => Some(Comparison { inclusive: false, forward: false }),
        Operator::LtEq => Some(Comparison { inclusive: true, forward: true }),
        Operator::Lt => Some(Comparison { inclusive: false, forward: true }),
        _ => None,
    }
}

/// `a IS NOT DISTINCT FROM b` as two keys that are never NULL: whether it is NULL, and the value, or that of nothing in its place.
fn equal_with_null((one, other): (Expr, Expr), left: &DFSchema) -> DataFusionResult<[(Expr, Expr); 2]> {
    let nothing = ScalarValue::new_default(&one.get_type(left)?)?;
    let value = |expr: &Expr| when(expr.clone().is_null(), lit(nothing.clone())).otherwise(expr.clone());
    let values = (value(&one)?, value(&other)?);
    Ok([(one.is_null(), other.is_null()), values])
}

fn has_subquery(expr: &Expr) -> DataFusionResult<bool> {
    expr.has(|inner| Ok(matches!(inner, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_))))
}

/// Whether an expression reads columns of one side, and of no other.
pub(super) fn is_of(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
}

fn as_windows(join: AsOfJoin) -> DataFusionResult<LogicalPlan> {
    let AsOfJoin { left, right, keys, times: (left_time, right_time), comparison, outer, schema } = join;
    let number = || Expr::from(WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new()));
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let op = match comparison {
        Comparison { inclusive: true, forward: false } => Operator::GtEq,
        Comparison { inclusive: false, forward: false } => Operator::Gt,
        Comparison { inclusive: true, forward: true } => Operator::LtEq,
        Comparison { inclusive: false, forward: true } => Operator::Lt,
    };
    let compared = datafusion::logical_expr::binary_expr(left_time, op, right_time.clone());
    let conditions = keys.into_iter().map(|(left, right)| left.eq(right)).chain([compared]);
    let greatest = right.schema().columns().into_iter().map(|column| Expr::Column(column).sort(false, false));
    let order = std::iter::once(right_time.sort(comparison.forward, false)).chain(greatest).collect();
    let place = number().partition_by(vec![column(NUMBER)]).order_by(order).build()?.alias(PLACE);
    let columns = schema.columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(left)
        .window(vec![number().alias(NUMBER)])?
        .join_on(right, if outer { JoinType::Left } else { JoinType::Inner }, conditions)?
        .window(vec![place])?
        .filter(column(PLACE).eq(lit(1_u64)))?
        .project(columns)?
        .build()
}
