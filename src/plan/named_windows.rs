//! `OVER w` and `OVER (w ORDER BY …)` → the whole window in its place, by PostgreSQL's rules of what a copy may add.
//!
//! ```text
//! sum(x) OVER (w ROWS 1 PRECEDING) … WINDOW w AS (PARTITION BY k ORDER BY t)
//! sum(x) OVER (PARTITION BY k ORDER BY t ROWS 1 PRECEDING)
//! ```

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr, VisitorMut, WindowSpec, WindowType};

use super::errors::placed;
use super::names::normal;
use crate::error::{Error, Kind, Result};
use crate::sql::{EXCLUDE, WalkMut};

/// Rewrites `query` and all queries within it. `text`: what its positions refer to.
pub(super) fn expand(query: &mut Query, text: &str) -> Result<()> {
    match query.walk_mut(&mut Expand { text, scopes: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The windows that a SELECT names.
type Windows = Vec<(String, WindowSpec)>;

struct Expand<'a> {
    text: &'a str,
    /// Of the queries around, the innermost last: its windows alone can be named.
    scopes: Vec<Windows>,
}

impl VisitorMut for Expand<'_> {
    type Break = Error;

    /// ORDER BY of a query sees the windows of its SELECT.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match query.body.as_ref() {
            SetExpr::Select(select) => self.enter(&select.named_window),
            _ => self.enter(&[]),
        }
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let windows = std::mem::take(&mut select.named_window);
        self.enter(&windows)
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<Error> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let windows = self.scopes.last().map_or(&[][..], Vec::as_slice);
        let spec = match &function.over {
            Some(WindowType::NamedWindow(name)) => self.named(windows, name).cloned(),
            Some(WindowType::WindowSpec(spec)) if spec.window_name.is_some() => self.copied(windows, spec),
            _ => return ControlFlow::Continue(()),
        };
        match spec {
            Ok(spec) => function.over = Some(WindowType::WindowSpec(spec)),
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Expand<'_> {
    fn enter(&mut self, definitions: &[NamedWindowDefinition]) -> ControlFlow<Error> {
        match self.defined(definitions) {
            Ok(windows) => {
                self.scopes.push(windows);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }

    /// Each may name those before it.
    fn defined(&self, definitions: &[NamedWindowDefinition]) -> Result<Windows> {
        let mut windows: Windows = Vec::with_capacity(definitions.len());
        for NamedWindowDefinition(name, definition) in definitions {
            let spec = match definition {
                NamedWindowExpr::NamedWindow(other) => self.named(&windows, other)?.clone(),
                NamedWindowExpr::WindowSpec(spec) => self.copied(&windows, spec)?,
            };
            if windows.iter().any(|(known, _)| *known == normal(name)) {
                return Err(self.at(name, Error::new(Kind::Windowing, format!("window \"{}\" is already defined", normal(name)))));
            }
            windows.push((normal(name), spec));
        }
        Ok(windows)
    }

    fn named<'w>(&self, windows: &'w [(String, WindowSpec)], name: &Ident) -> Result<&'w WindowSpec> {
        let wanted = normal(name);
        let found = windows.iter().find(|(known, _)| *known == wanted).map(|(_, spec)| spec);
        found.ok_or_else(|| self.at(name, Error::new(Kind::UndefinedObject, format!("window \"{wanted}\" does not exist"))))
    }

    /// `spec` with what the window that it names says.
    fn copied(&self, windows: &[(String, WindowSpec)], spec: &WindowSpec) -> Result<WindowSpec> {
        let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
        let base = self.named(windows, name)?;
        let refused = |what: String| self.at(name, Error::new(Kind::Windowing, what));
        let called = normal(name);
        // EXCLUDE stands there, too.
        let (excludes, partition_by): (Vec<Expr>, Vec<Expr>) = spec.partition_by.iter().cloned().partition(is_exclusion);
        if !partition_by.is_empty() {
            return Err(refused(format!("cannot override PARTITION BY clause of window \"{called}\"")));
        }
        if !spec.order_by.is_empty() && !base.order_by.is_empty() {
            return Err(refused(format!("cannot override ORDER BY clause of window \"{called}\"")));
        }
        if base.window_frame.is_some() {
            let error = refused(format!("cannot copy window \"{called}\" because it has a frame clause"));
            let alone = spec.order_by.is_empty() && spec.window_frame.is_none();
            return Err(if alone { error.hint("Omit the parentheses in this OVER clause.") } else { error });
        }
        let order_by = if base.order_by.is_empty() { &spec.order_by } else { &base.order_by };
        Ok(WindowSpec {
            window_name: None,
            partition_by: excludes.into_iter().chain(base.partition_by.iter().cloned()).collect(),
            order_by: order_by.clone(),
            window_frame: spec.window_frame.clone(),
        })
    }

    fn at(&self, name: &Ident, error: Error) -> Error {
        placed(error, (name.span.start.line, name.span.start.column), self.text)
    }
}

fn is_exclusion(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(call) if call.name.to_string().starts_with(EXCLUDE))
}
