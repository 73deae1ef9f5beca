//! Different expressions that DataFusion calls by one name.
//!
//! An expression's name there leaves out casts, and what a subquery asks: `sum(x)` and `sum(x::bigint)` are both `sum(t.x)`, and where two columns of
//! a plan have one name the query is refused. So when that has happened, each cast and each subquery is put into a call that shows a number, the
//! same for the same text (`mark`); the plan is made, and then the calls go again and leave the names that they made (`unmark`):
//!
//! ```text
//! sum(x), sum(x::bigint)   ─▶   sum(x), sum(apart(x::bigint, 1))   ─▶   sum(x), sum(x::bigint) AS "sum(apart(t.x,1))"
//! ```
//!
//! The same is done for keys of joins (`named_keys`), which are columns beside those that they are computed from.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast;
use sqlparser::ast::VisitorMut;

use super::expressions::is_literal;
use super::names::hidden;
use super::planner::Planner;
use super::walk::{WalkPlan, WalkTree};
use super::written_call::written_call;
use crate::sql::WalkMut;

/// The name of the function. Cannot be typed by accident, and if it is: it gives its first argument.
const APART: &str = "tidemill_apart";

/// The function that a marked expression stands in.
static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Apart { signature: Signature::any(2, Volatility::Immutable) })));

/// The function behind a marked expression, by its name.
pub(super) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    (name == APART).then(|| Arc::clone(&FUNCTION))
}

/// Marks what DataFusion's names do not show.
pub(super) fn mark(query: &mut ast::Query, planner: &Planner) {
    let _ = query.walk_mut(&mut Marker { planner, numbers: HashMap::new() });
}

struct Marker<'a> {
    planner: &'a Planner,
    /// Of each marked text.
    numbers: HashMap<String, usize>,
}

impl VisitorMut for Marker<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        use ast::Expr::{AllOp, AnyOp, Cast, Exists, Function, InSubquery, Subquery};
        match expr {
            // A constant may be an instruction: the rows of a LIMIT.
            Cast { expr: inner, .. } if !is_literal(inner) => self.put_into_call(expr),
            Subquery(_) | Exists { .. } | InSubquery { .. } => self.put_into_call(expr),
            AnyOp { right, .. } | AllOp { right, .. } if matches!(right.as_ref(), Subquery(_)) => self.put_into_call(expr),
            Function(call) => self.constants_of(call),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Marker<'_> {
    fn put_into_call(&mut self, expr: &mut ast::Expr) {
        let next = self.numbers.len();
        let number = *self.numbers.entry(expr.to_string()).or_insert(next);
        let number = ast::Expr::value(ast::Value::Number(number.to_string(), false));
        *expr = written_call(APART, vec![std::mem::replace(expr, ast::Expr::value(ast::Value::Null)), number]);
    }

    /// `sum(1::bigint)`: an aggregate's constants are values.
    fn constants_of(&mut self, call: &mut ast::Function) {
        let name = call.name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_ascii_lowercase());
        let is_aggregate = name.is_some_and(|name| self.planner.state().aggregate_functions().contains_key(&name));
        let ast::FunctionArguments::List(list) = &mut call.args else { return };
        for argument in list.args.iter_mut().filter(|_| is_aggregate) {
            if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value @ ast::Expr::Cast { .. })) = argument {
                self.put_into_call(value);
            }
        }
    }
}

/// Whether an aggregate of the plan has two expressions of one name where DataFusion finds that out only when it optimises: one is a column, with its
/// relation's name, and the other has the same text for its name.
pub(super) fn collide(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.look_at_all(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node
            && aggregate.group_expr.iter().any(|expr| !matches!(expr, Expr::Column(_)))
        {
            let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
            let mut names = HashSet::new();
            found |= keys.into_iter().chain(&aggregate.aggr_expr).any(|expr| !names.insert(expr.schema_name().to_string()));
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Expressions in the place of marked ones, in subqueries too. All names stay. What is grouped by keeps its mark: DataFusion takes a key that follows
/// from another one out of the group and computes it behind, and then it needs the name.
pub(super) fn unmark(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let unmarked = plan.change_all_up(|node| {
        let names = NamePreserver::new(&node);
        let groups = match &node {
            LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.clone(),
            _ => Vec::new(),
        };
        node.change_expressions(|expr| {
            if groups.contains(&expr) {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            Ok(expr.change_up(alone)?.update_data(|expr| name.restore(expr)))
        })
    });
    unmarked.map(|done| done.data)
}

fn alone(expr: Expr) -> DataFusionResult<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(mut call) if marked(&call).is_some() => Ok(Transformed::yes(call.args.swap_remove(0))),
        other => Ok(Transformed::no(other)),
    }
}

/// The expression that is marked.
pub(super) fn marked(call: &ScalarFunction) -> Option<&Expr> {
    call.args.first().filter(|_| call.func.name() == APART && call.args.len() == 2)
}

/// The plan with names of their own for computed keys of joins: DataFusion puts each beside the columns of its side, and a cast may be called
/// like one of them. For optimised plans that are to be run.
pub(super) fn named_keys(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let mut number = 0;
    let mut name = |key: &mut Expr| {
        if let Expr::ScalarFunction(_) = key {
            number += 1;
            *key = std::mem::take(key).alias(hidden("key", number));
        }
    };
    let named = plan.change_all_up(|node| match node {
        LogicalPlan::Join(mut join) => {
            for (left, right) in &mut join.on {
                name(left);
                name(right);
            }
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        other => Ok(Transformed::no(other)),
    });
    named.map(|named| named.data)
}

/// Gives its first argument, under a name with its second.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Apart {
    signature: Signature,
}

impl ScalarUDFImpl for Apart {
    fn name(&self) -> &'static str {
        APART
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arguments.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::clone(&args.arg_fields[0]))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}
