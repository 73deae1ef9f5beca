//! What is said of arrays and rows in a query's text, in words that DataFusion's planner has.
//!
//! ```text
//! x < ANY (a), x LIKE ANY (a)    ─▶  compare_any(x, '<', a), …
//! x <> ALL (a), x LIKE ALL (a)   ─▶  compare_all(x, '<>', a), …
//! ARRAY[a, b]                    ─▶  make_array(a, b)
//! a[2:], a[:3], a[:]             ─▶  a[2:2147483647], a[1:3], a[1:2147483647]
//! (r).field                      ─▶  (r)['field']
//! array_cat(NULL, a)             ─▶  a
//! row(a, b)                      ─▶  named_struct('f1', a, 'f2', b)
//! (a, b)::struct<x int, y int>   ─▶  named_struct(…)::struct<x int, y int>
//! struct<x int>(a)               ─▶  named_struct('f1', a)::struct<x int>
//! ```

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, Query, Select,
    SelectItem, StructBracketKind, Subscript, UnaryOperator, Value, VisitorMut,
};

use super::compare::{ALL, ANY};
use crate::plan::names::normal;
use crate::plan::written_call::written_call;
use crate::sql::WalkMut;

/// Rewrites a query.
pub(in crate::plan) fn rewrite(query: &mut Query) {
    let _ = query.walk_mut(&mut Rewriter);
}

/// Rewrites an expression.
pub(in crate::plan) fn rewrite_expression(expr: &mut Expr) {
    let _ = expr.walk_mut(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                tuple_as_row(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(compared) = all_alike(expr) {
            *expr = compared;
        }
        if let Expr::Array(array) = expr
            && !array.elem.is_empty()
        {
            // DataFusion plans the elements of an array by themselves: they see neither columns from outside nor WITH.
            *expr = written_call("make_array", std::mem::take(&mut array.elem));
        }
        let compared = match expr {
            Expr::AnyOp { left, compare_op, right, .. } => Some((ANY, left, compare_op.to_string(), right)),
            Expr::AllOp { left, compare_op, right } => Some((ALL, left, compare_op.to_string(), right)),
            Expr::Like { negated: false, any: true, expr: left, pattern, escape_char: None } => Some((ANY, left, "~~".to_owned(), pattern)),
            Expr::ILike { negated: false, any: true, expr: left, pattern, escape_char: None } => {
                Some((ANY, left, "~~*".to_owned(), pattern))
            }
            _ => None,
        };
        if let Some((function, left, operator, right)) = compared {
            if !is_query(right) {
                *expr = written_call(function, vec![take(left), string(operator), take(right)]);
            }
        } else if let Expr::Function(function) = expr
            && let Some(other) = beside_null(function)
        {
            *expr = other;
        } else if let Expr::Function(function) = expr
            && is_row(function)
            && let FunctionArguments::List(list) = &function.args
        {
            let values = list.args.iter().map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
                _ => None,
            });
            if let Some(values) = values.collect::<Option<Vec<_>>>() {
                *expr = row_of(values);
            }
        } else if let Expr::Struct { values, fields } = expr
            && !fields.is_empty()
        {
            let data_type = DataType::Struct(std::mem::take(fields), StructBracketKind::AngleBrackets);
            let expr_of_row = Box::new(row_of(std::mem::take(values)));
            *expr = Expr::Cast { kind: CastKind::DoubleColon, expr: expr_of_row, data_type, array: false, format: None };
        } else if let Expr::Cast { expr: value, .. } = expr {
            tuple_as_row(value);
        } else if let Expr::BinaryOp { left, right, .. } = expr {
            // Of two rows that are both written out, the parts have been compared already.
            tuple_as_row(left);
            tuple_as_row(right);
        } else if let Expr::CompoundFieldAccess { root, access_chain } = expr {
            // `t.a[1]` is a subscript of the column `t.a`; only what follows a value is a field.
            let mut of_value = !matches!(root.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            for access in access_chain {
                of_value |= matches!(access, AccessExpr::Subscript(_));
                complete(access, of_value);
            }
        }
        ControlFlow::Continue(())
    }
}

/// `x LIKE ALL (a)` and `x NOT LIKE ANY (a)`, with ILIKE too: to the parser the first is a call of a function, and the other has no list.
fn all_alike(expr: &Expr) -> Option<Expr> {
    let (negated, any, left, pattern, operator) = match expr {
        Expr::Like { negated, any, expr, pattern, escape_char: None } => (*negated, *any, expr, pattern, "~~"),
        Expr::ILike { negated, any, expr, pattern, escape_char: None } => (*negated, *any, expr, pattern, "~~*"),
        _ => return None,
    };
    let list = match pattern.as_ref() {
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) if !any => {
            match (name.0.as_slice(), list.args.as_slice()) {
                ([ObjectNamePart::Identifier(name)], [FunctionArg::Unnamed(FunctionArgExpr::Expr(only))])
                    if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all") =>
                {
                    only
                }
                _ => return None,
            }
        }
        list if any && negated && !is_query(list) => list,
        _ => return None,
    };
    // Not alike one of them: not alike all of them.
    let function = if any == negated { ALL } else { ANY };
    let compared = written_call(function, vec![left.as_ref().clone(), string(operator.to_owned()), list.clone()]);
    let not = |expr| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) };
    Some(if negated { not(compared) } else { compared })
}

/// `(a, b)` is a row where only a value may stand. Elsewhere, as in GROUP BY, it may be several expressions.
fn tuple_as_row(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) => tuple_as_row(inner),
        Expr::Tuple(parts) => {
            let mut parts = std::mem::take(parts);
            parts.iter_mut().for_each(tuple_as_row);
            *expr = row_of(parts);
        }
        _ => {}
    }
}

/// A row whose fields are called f1, f2, ….
fn row_of(values: Vec<Expr>) -> Expr {
    let fields = values.into_iter().enumerate().flat_map(|(place, value)| [string(format!("f{}", place + 1)), value]);
    written_call("named_struct", fields.collect())
}

fn is_named(function: &Function, wanted: &str) -> bool {
    matches!(function.name.0.as_slice(), [ObjectNamePart::Identifier(name)] if normal(name) == wanted)
}

/// What `array_cat` of an array and NULL is: the array.
fn beside_null(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(first)), FunctionArg::Unnamed(FunctionArgExpr::Expr(second))] = list.args.as_slice()
    else {
        return None;
    };
    let is_null = |expr: &Expr| matches!(expr, Expr::Value(value) if value.value == Value::Null);
    match (is_null(first), is_null(second)) {
        _ if !is_named(function, "array_cat") => None,
        (true, _) => Some(second.clone()),
        (_, true) => Some(first.clone()),
        _ => None,
    }
}

/// Whether a call is `row(…)`, of something.
fn is_row(function: &Function) -> bool {
    is_named(function, "row") && matches!(&function.args, FunctionArguments::List(list) if !list.args.is_empty())
}

fn is_query(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) => true,
        Expr::Nested(inner) => is_query(inner),
        _ => false,
    }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

fn string(text: String) -> Expr {
    Expr::value(Value::SingleQuotedString(text))
}

fn complete(access: &mut AccessExpr, of_value: bool) {
    match access {
        AccessExpr::Dot(field @ Expr::Identifier(_)) if of_value => {
            if let Expr::Identifier(name) = field {
                *field = string(normal(name));
            }
        }
        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, .. }) => {
            let number = |number: i32| Expr::value(Value::Number(number.to_string(), false));
            lower_bound.get_or_insert_with(|| number(1));
            upper_bound.get_or_insert_with(|| number(i32::MAX));
        }
        _ => {}
    }
}
