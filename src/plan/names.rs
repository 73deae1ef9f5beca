//! Names of output columns, as PostgreSQL gives them (`FigureColname` in its `parse_target.c`).
//!
//! DataFusion names an unnamed expression after its whole text and refuses two of the same name. So every expression gets PostgreSQL's name as
//! an alias before planning; where that name is taken, something invisible is put behind it, which `visible` takes off again afterwards.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{AccessExpr, Expr, Ident, Query, Select, SelectItem, SetExpr, VisitorMut};

use super::data_type::catalog_name;
use super::proctime;
use crate::sql::WalkMut;

/// Stands between a name and the number that makes it unique. Cannot be typed by accident.
const HIDDEN: char = '\u{1}';

/// The name of an expression without one.
const NAMELESS: &str = "?column?";

/// How DataFusion names the elements of a list: after the expression that makes it.
const ELEMENTS_OF: (&str, &str) = ("__unnest_placeholder(", ",depth=1)");

/// How names begin that stand for something that has another name, or none, in SQL: a row's arrival, bounds of windows.
const FOR_READERS: [(&str, &str); 5] = [
    (proctime::ARRIVAL, "PROCTIME()"),
    ("hop_starts(", "window_start"),
    ("cumulate_ends(", "window_end"),
    ("session_start(", "window_start"),
    ("session_end(", "window_end"),
];

/// The name that the user sees.
pub(super) fn visible(name: &str) -> &str {
    let name = name.strip_prefix(ELEMENTS_OF.0).and_then(|name| name.strip_suffix(ELEMENTS_OF.1)).unwrap_or(name);
    if let Some((_, shown)) = FOR_READERS.iter().find(|(own, _)| name.starts_with(own)) {
        return shown;
    }
    name.split(HIDDEN).next().unwrap_or(name)
}

/// `name`, made different from every other by `number`.
pub(super) fn hidden(name: &str, number: usize) -> String {
    format!("{name}{HIDDEN}{number}")
}

/// A text that names stand in, with those that the user sees.
pub(super) fn visible_throughout(text: &str) -> String {
    let mut parts = text.split(HIDDEN);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |seen, part| seen + part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

/// Gives every column of `query` and of the queries within it its name. With `all`, every name that stands beside a `*` is made
/// unique: for the second attempt, after a column turned out to be there twice.
pub(super) fn name_outputs(query: &mut Query, all: bool) {
    let _ = query.walk_mut(&mut Namer { all });
}

/// An identifier as it is looked up: in lower case unless quoted.
pub(super) fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

struct Namer {
    all: bool,
}

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.name_set(&mut query.body, false);
        ControlFlow::Continue(())
    }
}

impl Namer {
    fn name_set(&self, body: &mut SetExpr, in_set_operation: bool) {
        match body {
            SetExpr::Select(select) => self.name_select(select, in_set_operation),
            SetExpr::SetOperation { left, right, .. } => {
                self.name_set(left, true);
                self.name_set(right, true);
            }
            // Queries in parentheses are visited on their own.
            _ => {}
        }
    }

    fn name_select(&self, select: &mut Select, in_set_operation: bool) {
        let beside_wildcard =
            select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        let unique = self.all && beside_wildcard;
        // The qualifier of the columns that have a name so far; `None` for anything but a qualified column.
        let mut taken: HashMap<String, Option<String>> = HashMap::new();
        for (number, item) in select.projection.iter_mut().enumerate() {
            let (expr, name, qualifier) = match item {
                SelectItem::UnnamedExpr(expr) => {
                    (expr.clone(), figure(expr).map_or_else(|| NAMELESS.to_owned(), |(name, _)| name), qualifier(expr))
                }
                SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), normal(alias), None),
                _ => continue,
            };
            let is_column = matches!(item, SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
            let clash = match taken.get(&name) {
                None => false,
                Some(other) => in_set_operation || other.is_none() || qualifier.is_none() || *other == qualifier,
            };
            taken.entry(name.clone()).or_insert(qualifier);
            // What has such a name is looked up by it.
            let own = name.contains(HIDDEN);
            let alias = if clash || (unique && !own) || name == NAMELESS {
                hidden(&name, number)
            } else if is_column || matches!(item, SelectItem::ExprWithAlias { .. }) {
                continue;
            } else {
                name
            };
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) };
        }
    }
}

/// `a` of the column `a.x`.
fn qualifier(expr: &Expr) -> Option<String> {
    match expr {
        Expr::CompoundIdentifier(parts) => Some(parts[..parts.len().saturating_sub(1)].iter().map(normal).collect::<Vec<_>>().join(".")),
        _ => None,
    }
}

/// An expression's name, and whether it is one that a cast around it leaves alone.
pub(super) fn figure(expr: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_owned(), true));
    match expr {
        Expr::Identifier(ident) => Some((normal(ident), true)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| (normal(ident), true)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::CompoundFieldAccess { root, access_chain } => {
            // That of the last field; subscripts have none.
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(name)) => Some((normal(name), true)),
                _ => None,
            });
            field.or_else(|| figure(root))
        }
        Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident()).map(|ident| (normal(ident), true)),
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, true)) => Some((name, true)),
            _ => Some((catalog_name(data_type), false)),
        },
        Expr::TypedString(typed) => Some((catalog_name(&typed.data_type), false)),
        Expr::Interval(_) => Some(("interval".to_owned(), false)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        Expr::Exists { .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Trim { .. } => strong("btrim"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Tuple(_) | Expr::Struct { .. } => strong("row"),
        Expr::Subquery(query) => first_column(&query.body),
        _ => None,
    }
}

/// The name of a scalar subquery: that of its only column.
fn first_column(body: &SetExpr) -> Option<(String, bool)> {
    match body {
        SetExpr::Select(select) => match select.projection.first()? {
            SelectItem::UnnamedExpr(expr) => figure(expr),
            SelectItem::ExprWithAlias { alias, .. } => Some((visible(&normal(alias)).to_owned(), true)),
            _ => None,
        },
        SetExpr::Query(query) => first_column(&query.body),
        SetExpr::SetOperation { left, .. } => first_column(left),
        _ => None,
    }
}
