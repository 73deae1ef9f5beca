//! Subqueries in aggregates, window functions and ORDER BY: computed below, as columns.
//!
//! ```text
//! Window sum(x) OVER (ORDER BY (SELECT …))   ─▶   Projection without "operand"
//!                                                   Window sum(x) OVER (ORDER BY "operand")
//!                                                     Projection with (SELECT …) AS "operand"
//! ```
//!
//! What the calls are called stays.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Sort, SortExpr, Window};

use super::names::hidden;
use super::walk::{WalkPlan, WalkTree};

/// The plan with such subqueries below what reads them.
pub(super) fn computed_below(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let computed = plan.change_all_up(|node| match node {
        LogicalPlan::Window(window) if window.window_expr.iter().any(has_subquery) => window_above(window).map(Transformed::yes),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().chain(&aggregate.aggr_expr).any(has_subquery) => {
            aggregate_above(aggregate).map(Transformed::yes)
        }
        LogicalPlan::Sort(sort) if sort.expr.iter().any(|by| has_subquery(&by.expr)) => sort_above(sort).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    });
    computed.map(|computed| computed.data)
}

fn has_subquery(expr: &Expr) -> bool {
    let subquery = |inner: &Expr| matches!(inner, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_));
    expr.has(|inner| Ok(subquery(inner))).unwrap_or(false)
}

/// What is computed below.
#[derive(Default)]
struct Operands(Vec<Expr>);

impl Operands {
    /// The expression with columns in the places of what has a subquery: of calls their operands, of others all.
    fn taken_from(&mut self, expr: Expr) -> DataFusionResult<Expr> {
        let taken = expr.change_down(|inner| match inner {
            Expr::WindowFunction(_) | Expr::AggregateFunction(_) | Expr::GroupingSet(_) | Expr::Alias(_) => Ok(Transformed::no(inner)),
            inner if has_subquery(&inner) => {
                let place = self.0.iter().position(|known| *known == inner).unwrap_or_else(|| {
                    self.0.push(inner);
                    self.0.len() - 1
                });
                let column = Expr::Column(Column::new_unqualified(hidden("operand", place)));
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            }
            inner => Ok(Transformed::no(inner)),
        });
        taken.map(|taken| taken.data)
    }

    /// The input with them as columns.
    fn beside(self, input: Arc<LogicalPlan>) -> DataFusionResult<Arc<LogicalPlan>> {
        let kept = input.schema().columns().into_iter().map(Expr::Column);
        let operands = self.0.into_iter().enumerate().map(|(place, operand)| operand.alias(hidden("operand", place)));
        let columns: Vec<Expr> = kept.chain(operands).collect();
        LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).project(columns)?.build().map(Arc::new)
    }
}

fn window_above(window: Window) -> DataFusionResult<LogicalPlan> {
    let mut operands = Operands::default();
    let shown: Vec<Expr> = window.schema.columns().into_iter().map(Expr::Column).collect();
    let names = NamePreserver::new_for_projection();
    let calls = window.window_expr.into_iter().map(|call| {
        let name = names.save(&call);
        Ok(name.restore(operands.taken_from(call)?))
    });
    let calls = calls.collect::<DataFusionResult<Vec<_>>>()?;
    let computed = LogicalPlan::Window(Window::try_new(calls, operands.beside(window.input)?)?);
    LogicalPlanBuilder::from(computed).project(shown)?.build()
}

fn aggregate_above(aggregate: Aggregate) -> DataFusionResult<LogicalPlan> {
    let mut operands = Operands::default();
    let shown = aggregate.schema;
    let mut taken = |exprs: Vec<Expr>| exprs.into_iter().map(|expr| operands.taken_from(expr)).collect::<DataFusionResult<Vec<_>>>();
    let (groups, calls) = (taken(aggregate.group_expr)?, taken(aggregate.aggr_expr)?);
    let computed = LogicalPlan::Aggregate(Aggregate::try_new(operands.beside(aggregate.input)?, groups, calls)?);
    let columns = computed.schema().columns().into_iter().zip(shown.iter());
    let columns: Vec<Expr> =
        columns.map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())).collect();
    LogicalPlanBuilder::from(computed).project(columns)?.build()
}

fn sort_above(sort: Sort) -> DataFusionResult<LogicalPlan> {
    let mut operands = Operands::default();
    let shown: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let order = sort.expr.into_iter().map(|by| Ok(SortExpr { expr: operands.taken_from(by.expr)?, ..by }));
    let order = order.collect::<DataFusionResult<Vec<_>>>()?;
    let computed = LogicalPlan::Sort(Sort { expr: order, input: operands.beside(sort.input)?, fetch: sort.fetch });
    LogicalPlanBuilder::from(computed).project(shown)?.build()
}
