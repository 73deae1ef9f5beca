//! Comparisons of rows, part by part: `(a, b) < (c, d)` → `a < c OR (a = c AND b < d)`, `(a, b) IS NULL` → `a IS NULL AND b IS NULL`, as PostgreSQL
//! defines them.
//!
//! A NULL makes the answer NULL only where no part before it has decided; so the comparison is not one of two values of a row type.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator as Op, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Select, UnaryOperator, VisitorMut,
};

use super::row_subqueries;
use crate::error::{Error, Kind, Result};
use crate::sql::WalkMut;

/// Parts of rows that `<` and its kin compare, at the most: each stands within the one before it.
const ORDERED_PARTS_MAX: usize = 100;

/// Rewrites those of a query.
pub(super) fn rewrite_query(query: &mut Query) -> Result<()> {
    match query.walk_mut(&mut Rows { next: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rows {
    /// Makes names unique.
    next: usize,
}

impl VisitorMut for Rows {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match select.selection.as_mut().map_or(Ok(()), |condition| row_subqueries::conditions(condition, &mut self.next)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let new = rewritten(expr).and_then(|new| if new.is_some() { Ok(new) } else { row_subqueries::anywhere(expr, &mut self.next) });
        match new {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn rewritten(expr: &Expr) -> Result<Option<Expr>> {
    match expr {
        Expr::BinaryOp { left, op, right } => match (parts(left), parts(right)) {
            (Some(left), Some(right)) => compared(&left, op, &right),
            _ => Ok(None),
        },
        Expr::IsNull(row) => Ok(parts(row).and_then(|parts| of_each(parts, Expr::IsNull))),
        Expr::IsNotNull(row) => Ok(parts(row).and_then(|parts| of_each(parts, Expr::IsNotNull))),
        Expr::InList { expr, list, negated } => {
            let (Some(left), Some(rows)) = (parts(expr), list.iter().map(parts).collect::<Option<Vec<_>>>()) else { return Ok(None) };
            let equal = rows.iter().map(|row| compared(&left, &Op::Eq, row)).collect::<Result<Option<Vec<_>>>>()?;
            let any = equal.and_then(|equal| balanced(&equal, &Op::Or));
            Ok(any.map(|any| if *negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) } } else { any }))
        }
        _ => Ok(None),
    }
}

/// The parts of `(a, b)` or `ROW(a, b)`.
pub(super) fn parts(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(parts) if parts.len() > 1 => Some(parts.clone()),
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) if name.to_string().eq_ignore_ascii_case("row") => {
            let part = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(part)) => Some(part.clone()),
                _ => None,
            };
            list.args.iter().map(part).collect::<Option<Vec<_>>>().filter(|parts| !parts.is_empty())
        }
        _ => None,
    }
}

/// A test that every part of a row has to pass.
fn of_each(parts: Vec<Expr>, test: fn(Box<Expr>) -> Expr) -> Option<Expr> {
    let all: Vec<Expr> = parts.into_iter().map(|part| Expr::Nested(Box::new(test(Box::new(part))))).collect();
    balanced(&all, &Op::And)
}

/// `None`: not an operator that compares.
pub(super) fn compared(left: &[Expr], op: &Op, right: &[Expr]) -> Result<Option<Expr>> {
    let strictly = match op {
        Op::Eq | Op::NotEq => None,
        Op::Lt | Op::LtEq => Some(Op::Lt),
        Op::Gt | Op::GtEq => Some(Op::Gt),
        _ => return Ok(None),
    };
    if left.len() != right.len() {
        return Err(Error::new(Kind::Syntax, "unequal number of entries in row expressions"));
    }
    let part = |at: usize, op: Op| nested(left[at].clone(), op, right[at].clone());
    let Some(strictly) = strictly else {
        let all: Vec<Expr> = (0..left.len()).map(|at| part(at, op.clone())).collect();
        return Ok(balanced(&all, if *op == Op::Eq { &Op::And } else { &Op::Or }));
    };
    if left.len() > ORDERED_PARTS_MAX {
        return Err(Error::new(Kind::LimitExceeded, format!("a row that is ordered has more than {ORDERED_PARTS_MAX} parts")));
    }
    let Some(last) = left.len().checked_sub(1) else { return Ok(None) };
    let decided = |rest: Expr, at: usize| nested(part(at, strictly.clone()), Op::Or, nested(part(at, Op::Eq), Op::And, rest));
    Ok(Some((0..last).rev().fold(part(last, op.clone()), decided)))
}

/// Conditions joined by AND or OR, as a tree of little depth.
fn balanced(all: &[Expr], op: &Op) -> Option<Expr> {
    match all {
        [] => None,
        [only] => Some(only.clone()),
        _ => {
            let (left, right) = all.split_at(all.len() / 2);
            Some(nested(balanced(left, op)?, op.clone(), balanced(right, op)?))
        }
    }
}

fn nested(left: Expr, op: Op, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

#[cfg(test)]
mod tests {
    use super::rewrite_query;

    #[test]
    fn the_first_parts_that_differ_decide() {
        let rewritten = |sql: &str| {
            let mut query = crate::plan::parse_query(sql).unwrap();
            rewrite_query(&mut query).map(|()| query.to_string()).map_err(|error| error.message().to_owned())
        };
        assert_eq!(rewritten("SELECT (a, b) = (c, d)").unwrap(), "SELECT ((a = c) AND (b = d))");
        assert_eq!(rewritten("SELECT (a, b) <= (c, d)").unwrap(), "SELECT ((a < c) OR ((a = c) AND (b <= d)))");
        assert_eq!(rewritten("SELECT (a, b) IN ((1, 2), (3, 4))").unwrap(), "SELECT (((a = 1) AND (b = 2)) OR ((a = 3) AND (b = 4)))");
        assert_eq!(rewritten("SELECT (a, b) < (1, 2, 3)").unwrap_err(), "unequal number of entries in row expressions");
    }
}
