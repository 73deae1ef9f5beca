//! `rank(10) WITHIN GROUP (ORDER BY x)` and its kin: the place that a row would have among those of the group.
//!
//! The place is how many rows stand before it, and so these are counts with a condition, which a view maintains by adding and taking away:
//!
//! ```text
//! rank(a)            count(*) FILTER (WHERE x < a) + 1
//! dense_rank(a)      count(DISTINCT ROW(x)) FILTER (WHERE x < a) + 1
//! percent_rank(a)    coalesce(count(*) FILTER (WHERE x < a) / nullif(count(*), 0), 0)
//! cume_dist(a)       (count(*) FILTER (WHERE x <= a) + 1) / (count(*) + 1)
//! ```
//!
//! where `<` stands for the order that is asked for, of one column or several, with NULL in its place.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator as Op, CaseWhen, CastKind, DataType, DuplicateTreatment, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, OrderByExpr, Query, Value, VisitorMut, helpers::attached_token::AttachedToken,
};

use super::written_call::written_call;
use crate::error::{Error, Kind, Result};
use crate::sql::{Walk, WalkMut};

/// The functions.
const NAMES: [&str; 4] = ["rank", "dense_rank", "percent_rank", "cume_dist"];

/// Whether a call is one of these, which have no OVER.
pub(super) fn is_hypothetical(call: &Function) -> bool {
    !call.within_group.is_empty() && call.over.is_none() && name_of(call).is_some()
}

/// Rewrites the calls in `query`. `42883` where there are not as many arguments as columns.
pub(super) fn expand(query: &mut Query) -> Result<()> {
    match query.walk_mut(&mut Expand) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Expand;

impl VisitorMut for Expand {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = &*expr else { return ControlFlow::Continue(()) };
        if !is_hypothetical(call) {
            return ControlFlow::Continue(());
        }
        match counted(call) {
            Ok(counts) => {
                *expr = counts;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn name_of(call: &Function) -> Option<&'static str> {
    let name = call.name.to_string().to_ascii_lowercase();
    NAMES.into_iter().find(|known| *known == name)
}

fn counted(call: &Function) -> Result<Expr> {
    let name = name_of(call).unwrap_or(NAMES[0]);
    let arguments = direct_arguments(call);
    if arguments.len() != call.within_group.len() {
        let (direct, columns) = (arguments.len(), call.within_group.len());
        let hint = format!(
            "To use the hypothetical-set aggregate {name}, the number of hypothetical direct arguments (here {direct}) must match the number of \
             ordering columns (here {columns})."
        );
        return Err(Error::new(Kind::UndefinedFunction, format!("function {name} does not exist with these arguments")).hint(hint));
    }
    let pairs: Vec<(&OrderByExpr, Expr)> = call.within_group.iter().zip(arguments.iter().cloned()).collect();
    let (before, same) = before(&pairs);
    let count = |condition: Option<Expr>| count(call, condition);
    let one = one(&arguments);
    Ok(nested(match name {
        "rank" => binary(count(Some(before)), Op::Plus, one),
        "dense_rank" => {
            let row = written_call("row", call.within_group.iter().map(|by| by.expr.clone()).collect());
            let mut each = count(Some(before));
            if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut each {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
                list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(row))];
            }
            binary(each, Op::Plus, one)
        }
        "percent_rank" => {
            let rows = written_call("nullif", vec![binary(count(None), Op::Multiply, one), number(0)]);
            let share = binary(double(count(Some(before))), Op::Divide, double(rows));
            written_call("coalesce", vec![share, double(number(0))])
        }
        _ => {
            let rows = binary(count(None), Op::Plus, number(1));
            let not_behind = binary(count(Some(nested(binary(before, Op::Or, same)))), Op::Plus, one);
            binary(double(nested(not_behind)), Op::Divide, double(nested(rows)))
        }
    }))
}

fn direct_arguments(call: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &call.args else { return Vec::new() };
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().filter_map(argument).collect()
}

/// `count(*)` of the rows that the call counts, and for which `condition` holds.
fn count(call: &Function, condition: Option<Expr>) -> Expr {
    let mut count = written_call("count", Vec::new());
    if let Expr::Function(function) = &mut count {
        if let FunctionArguments::List(list) = &mut function.args {
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
        }
        let both = [call.filter.as_deref().cloned().map(nested), condition];
        function.filter = both.into_iter().flatten().reduce(|left, right| binary(left, Op::And, right)).map(Box::new);
    }
    count
}

/// 1, from expressions that must not be but constants or what is grouped by.
fn one(arguments: &[Expr]) -> Expr {
    let reads = |expr: &&Expr| {
        let found = expr.walk_expressions(|inner| match inner {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    };
    let arm = |expr: &Expr| CaseWhen { condition: Expr::IsNull(Box::new(nested(expr.clone()))), result: number(1) };
    let conditions: Vec<CaseWhen> = arguments.iter().filter(reads).map(arm).collect();
    if conditions.is_empty() {
        return number(1);
    }
    let (case_token, end_token) = (AttachedToken::empty(), AttachedToken::empty());
    Expr::Case { case_token, end_token, operand: None, conditions, else_result: Some(Box::new(number(1))) }
}

/// Whether a row of the group stands before the other one, and whether it is equal to it.
fn before(pairs: &[(&OrderByExpr, Expr)]) -> (Expr, Expr) {
    let mut all: Option<(Expr, Expr)> = None;
    for (by, argument) in pairs {
        let (first, same) = before_one(by, argument);
        all = Some(match all {
            None => (first, same),
            Some((before, equal)) => {
                let later = nested(binary(equal.clone(), Op::And, first));
                (nested(binary(before, Op::Or, later)), nested(binary(equal, Op::And, same)))
            }
        });
    }
    all.unwrap_or((number(1), number(1)))
}

fn before_one(by: &OrderByExpr, argument: &Expr) -> (Expr, Expr) {
    let ascending = by.options.asc != Some(false);
    let nulls_first = by.options.nulls_first.unwrap_or(!ascending);
    let (value, argument) = (nested(by.expr.clone()), nested(argument.clone()));
    let less = binary(value.clone(), if ascending { Op::Lt } else { Op::Gt }, argument.clone());
    let (null, other) = if nulls_first { (value.clone(), argument.clone()) } else { (argument.clone(), value.clone()) };
    let by_null = binary(Expr::IsNull(Box::new(null)), Op::And, Expr::IsNotNull(Box::new(other)));
    let same = Expr::IsNotDistinctFrom(Box::new(value), Box::new(argument));
    (nested(binary(less, Op::Or, nested(by_null))), nested(same))
}

fn number(number: u8) -> Expr {
    Expr::value(Value::Number(number.to_string(), false))
}

fn double(expr: Expr) -> Expr {
    let data_type = DataType::Double(ExactNumberInfo::None);
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn binary(left: Expr, op: Op, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}
