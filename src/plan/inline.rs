//! Functions of the user's own: their bodies are put in the place of their calls before a query is planned.
//!
//! ```text
//!  CREATE FUNCTION f(a int, b int DEFAULT 2) RETURNS bigint LANGUAGE SQL AS $$ SELECT a * b $$
//!  f(x + 1)   →   CAST((CAST((x + 1) AS int) * CAST((2) AS int)) AS bigint)
//! ```
//!
//! So they cost what their bodies cost, work in views, and are seen by every rule of the optimiser. A body is an expression over the arguments;
//! it may call other functions, but never itself.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{CastKind, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, Query, Value, VisitorMut};

use super::names::normal;
use super::resolve::Scope;
use super::text;
use crate::catalog::{Function, Object, ObjectKind};
use crate::error::{Error, Kind, Result};
use crate::sql::WalkMut;
use crate::types::ObjectId;

/// Replaces the calls in a query. Gives the functions that were called, also by others.
pub(super) fn inline_query(query: &mut Query, scope: &Scope<'_>) -> Result<BTreeSet<ObjectId>> {
    inlined(query, scope)
}

/// Replaces the calls in an expression.
pub(super) fn inline_expression(expr: &mut Expr, scope: &Scope<'_>) -> Result<BTreeSet<ObjectId>> {
    inlined(expr, scope)
}

fn inlined(tree: &mut impl WalkMut, scope: &Scope<'_>) -> Result<BTreeSet<ObjectId>> {
    if !scope.catalog.objects().any(|object| matches!(object.kind, ObjectKind::Function(_))) {
        return Ok(BTreeSet::new());
    }
    let mut inliner = Inliner { scope: *scope, callers: Vec::new(), used: BTreeSet::new() };
    match tree.walk_mut(&mut inliner) {
        ControlFlow::Continue(()) => Ok(inliner.used),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Inliner<'a> {
    scope: Scope<'a>,
    /// The functions in whose bodies we are.
    callers: Vec<ObjectId>,
    used: BTreeSet<ObjectId>,
}

impl VisitorMut for Inliner<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let parts: Vec<String> = call.name.0.iter().filter_map(ObjectNamePart::as_ident).map(normal).collect();
        let found = match parts.as_slice() {
            [name] => self.scope.catalog.find_function(None, name, self.scope.search_path),
            [schema, name] => self.scope.catalog.find_function(Some(schema), name, self.scope.search_path),
            _ => None,
        };
        let Some(object) = found.cloned() else { return ControlFlow::Continue(()) };
        let ObjectKind::Function(function) = &object.kind else { return ControlFlow::Continue(()) };
        let plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty() && call.null_treatment.is_none();
        if !plain {
            let message = format!("function {} is no aggregate or window function", object.name);
            return ControlFlow::Break(Error::new(Kind::WrongObjectType, message));
        }
        let written = arguments(&call.args);
        match written.and_then(|written| self.body(&object, function, written)) {
            Ok(body) => {
                *expr = body;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Inliner<'_> {
    /// A function's body with the arguments of a call.
    fn body(&mut self, object: &Arc<Object>, function: &Function, written: Vec<(Option<String>, Expr)>) -> Result<Expr> {
        if self.callers.contains(&object.id) {
            return Err(Error::new(Kind::InvalidObjectDefinition, format!("function {} calls itself", object.name))
                .hint("A query that reads itself is written WITH RECURSIVE."));
        }
        self.used.insert(object.id);
        let values = matched(object, function, written)?;
        let values = values.into_iter().zip(&function.arguments).map(|(value, argument)| cast(value, &argument.data_type));
        let values: Vec<Expr> = values.collect::<Result<_>>()?;
        let mut body = text::expression(&function.expression)?;
        let inner = Scope { search_path: &function.search_path, ..self.scope };
        let mut callers = self.callers.clone();
        callers.push(object.id);
        let mut inliner = Inliner { scope: inner, callers, used: BTreeSet::new() };
        if let ControlFlow::Break(error) = body.walk_mut(&mut inliner) {
            return Err(error);
        }
        self.used.append(&mut inliner.used);
        if let ControlFlow::Break(error) = body.walk_mut(&mut Substitute { name: &object.name, function, values: &values }) {
            return Err(error);
        }
        let body = if function.strict && !values.is_empty() { unless_null(body, &values)? } else { body };
        cast(body, &function.return_type)
    }
}

/// The arguments of a call, with their names where they are written with them.
fn arguments(arguments: &FunctionArguments) -> Result<Vec<(Option<String>, Expr)>> {
    let misfit = || Error::new(Kind::Syntax, "a function of the user's own takes plain arguments");
    let list = match arguments {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => list,
        _ => return Err(misfit()),
    };
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Ok((None, value.clone())),
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => Ok((Some(normal(name)), value.clone())),
        _ => Err(misfit()),
    };
    list.args.iter().map(argument).collect()
}

/// One value for each argument of the function: as written, or its default.
fn matched(object: &Object, function: &Function, written: Vec<(Option<String>, Expr)>) -> Result<Vec<Expr>> {
    let count = written.len();
    let misfit = || {
        let takes: Vec<String> = function.arguments.iter().map(|argument| argument.sql_type.to_string()).collect();
        Error::new(Kind::UndefinedFunction, format!("function {} does not take these {count} arguments", object.name)).hint(format!(
            "It is {}({}).",
            object.name,
            takes.join(", ")
        ))
    };
    let mut values: Vec<Option<Expr>> = vec![None; function.arguments.len()];
    for (position, (name, value)) in written.into_iter().enumerate() {
        let position = match name {
            None => position,
            Some(name) => function.arguments.iter().position(|argument| argument.name.as_deref() == Some(&name)).ok_or_else(misfit)?,
        };
        let place = values.get_mut(position).filter(|place| place.is_none()).ok_or_else(misfit)?;
        *place = Some(value);
    }
    let filled = values.into_iter().zip(&function.arguments).map(|(value, argument)| match (value, &argument.default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => text::expression(default),
        (None, None) => Err(misfit()),
    });
    filled.collect()
}

/// Puts values in the place of a body's arguments: `$1`, `a`, `f.a`.
struct Substitute<'a> {
    name: &'a str,
    function: &'a Function,
    values: &'a [Expr],
}

impl VisitorMut for Substitute<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let named = |name: &str| self.function.arguments.iter().position(|argument| argument.name.as_deref() == Some(name));
        let position = match expr {
            Expr::Identifier(name) => named(&normal(name)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [function, name] if normal(function) == self.name => named(&normal(name)),
                _ => None,
            },
            Expr::Value(value) => match &value.value {
                Value::Placeholder(written) => {
                    let number = written.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                    let position = number.and_then(|number| number.checked_sub(1)).filter(|position| *position < self.values.len());
                    if position.is_none() {
                        return ControlFlow::Break(Error::new(Kind::UndefinedParameter, format!("there is no parameter {written}")));
                    }
                    position
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(position) = position {
            *expr = self.values[position].clone();
        }
        ControlFlow::Continue(())
    }
}

/// `CAST((expr) AS type)`
fn cast(expr: Expr, data_type: &str) -> Result<Expr> {
    Ok(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Nested(Box::new(expr))),
        data_type: text::data_type(data_type)?,
        array: false,
        format: None,
    })
}

/// NULL where one of the values is, else the body.
fn unless_null(body: Expr, values: &[Expr]) -> Result<Expr> {
    let names: Vec<String> = (1..=values.len()).map(|number| format!("${number} IS NULL")).collect();
    let mut whole = text::expression(&format!("CASE WHEN {} THEN NULL ELSE $0 END", names.join(" OR ")))?;
    let all: Vec<Expr> = std::iter::once(Expr::Nested(Box::new(body))).chain(values.iter().cloned()).collect();
    let _ = whole.walk_mut(&mut Fill(&all));
    Ok(whole)
}

/// Puts expressions in the place of `$0`, `$1`, ….
struct Fill<'a>(&'a [Expr]);

impl VisitorMut for Fill<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(written) = &value.value
            && let Some(new) =
                written.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()).and_then(|number| self.0.get(number))
        {
            *expr = new.clone();
        }
        ControlFlow::Continue(())
    }
}
