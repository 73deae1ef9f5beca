//! What the text of a statement says of its parameters before any name is looked up: a cast around one, LIMIT, a condition, a count of rows.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, JoinConstraint, JoinOperator, LimitClause, Query,
    Select, UnaryOperator, Value, ValueWithSpan, Visitor,
};

use super::PARAMETERS_MAX;
use crate::error::{Error, Kind, Result};
use crate::plan::data_type::sql_type;
use crate::sql::Walk;
use crate::types::SqlType;

/// Window functions, and at which place of their arguments a number of rows stands.
const ROW_COUNTS: [(&str, usize); 4] = [("lag", 1), ("lead", 1), ("nth_value", 1), ("ntile", 0)];

/// Aggregates whose first argument is a fraction.
const FRACTIONS: [&str; 2] = ["percentile_cont", "percentile_disc"];

/// The parameters that a query or an expression names, with what its text says of their types.
pub(super) fn types(text: &impl Walk) -> Result<BTreeMap<usize, Option<SqlType>>> {
    let mut finder = Finder { found: BTreeMap::new(), error: None, begun: HashSet::new() };
    let _ = text.walk(&mut finder);
    match finder.error {
        Some(error) => Err(error),
        None => Ok(finder.found),
    }
}

/// The number in `$n`.
pub(in crate::plan) fn number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(text), .. }) => text.strip_prefix('$')?.parse().ok(),
        Expr::Nested(inner) => number(inner),
        _ => None,
    }
}

/// Looks at every expression of a text.
struct Finder {
    found: BTreeMap<usize, Option<SqlType>>,
    error: Option<Error>,
    /// The SELECTs, by their addresses, whose FROM has been looked at.
    begun: HashSet<*const Select>,
}

impl Finder {
    fn note(&mut self, number: usize, sql_type: Option<SqlType>) {
        if number == 0 || number > PARAMETERS_MAX {
            self.error = Some(Error::new(Kind::UndefinedParameter, format!("there is no parameter ${number}")));
            return;
        }
        // The first place decides, also one that leaves it to the operator beside it.
        self.found.entry(number).or_insert(sql_type);
    }

    /// If it is a parameter, it is of this type.
    fn note_as(&mut self, expr: &Expr, sql_type: SqlType) {
        if let Some(number) = number(expr) {
            self.note(number, Some(sql_type));
        }
    }

    fn note_cast(&mut self, expr: &Expr, target: Result<SqlType>) {
        let Some(number) = number(expr) else { return };
        match target {
            // The cast cuts, so the value may be longer.
            Ok(SqlType::Varchar(_)) => self.note(number, Some(SqlType::Varchar(None))),
            Ok(SqlType::Char(_)) => self.note(number, Some(SqlType::Text)),
            Ok(sql_type) => self.note(number, Some(sql_type)),
            Err(error) => self.error = Some(error),
        }
    }

    fn note_call(&mut self, function: &Function) {
        if let Some(filter) = &function.filter {
            self.note_as(filter, SqlType::Bool);
        }
        let Some(name) = function.name.0.last().and_then(|part| part.as_ident()) else { return };
        let is = |other: &str| name.value.eq_ignore_ascii_case(other);
        let (place, sql_type) = match ROW_COUNTS.iter().find(|(counts, _)| is(counts)) {
            Some((_, place)) if function.over.is_some() => (*place, SqlType::Int4),
            _ if FRACTIONS.iter().any(|fraction| is(fraction)) => (0, SqlType::Float8),
            _ => return,
        };
        if let FunctionArguments::List(list) = &function.args
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = list.args.get(place)
        {
            self.note_as(argument, sql_type);
        }
    }
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let (limit, offset) = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref().map(|offset| &offset.value)),
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
            None => (None, None),
        };
        for rows in limit.into_iter().chain(offset) {
            self.note_as(rows, SqlType::Int8);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        // PostgreSQL looks at FROM before the list, in which the text has them the other way round.
        if self.begun.insert(std::ptr::from_ref(select)) {
            let _ = select.from.walk(self);
        }
        for condition in select.selection.iter().chain(&select.having).chain(&select.qualify) {
            self.note_as(condition, SqlType::Bool);
        }
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if let JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint) = &join.join_operator
                && let JoinConstraint::On(condition) = constraint
            {
                self.note_as(condition, SqlType::Bool);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr, data_type, .. } => self.note_cast(expr, sql_type(data_type)),
            Expr::UnaryOp { op: UnaryOperator::Not, expr }
            | Expr::IsTrue(expr)
            | Expr::IsNotTrue(expr)
            | Expr::IsFalse(expr)
            | Expr::IsNotFalse(expr)
            | Expr::IsUnknown(expr)
            | Expr::IsNotUnknown(expr) => self.note_as(expr, SqlType::Bool),
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.note_as(left, SqlType::Bool);
                self.note_as(right, SqlType::Bool);
            }
            Expr::Case { operand: None, conditions, .. } => {
                for arm in conditions {
                    self.note_as(&arm.condition, SqlType::Bool);
                }
            }
            Expr::Function(function) => self.note_call(function),
            other => {
                if let Some(number) = number(other) {
                    self.note(number, None);
                }
            }
        }
        ControlFlow::Continue(())
    }
}
