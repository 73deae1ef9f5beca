//! Walks syntax trees with code that exists once.
//!
//! sqlparser's walk is generic over the visitor: hundreds of functions for each of some fifty, most of what there was to compile. Here there is
//! one visitor, which passes on to any.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut};

/// A part of a syntax tree that can be looked through.
pub trait Walk: Visit {
    /// As `Visit::visit`.
    fn walk<V: Visitor>(&self, visitor: &mut V) -> ControlFlow<V::Break> {
        let mut aside = Aside { visitor, broken: None };
        let _ = self.visit(&mut Any(&mut aside));
        aside.broken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }

    /// Calls `look` with each expression, those around others first.
    fn walk_expressions<B>(&self, look: impl FnMut(&Expr) -> ControlFlow<B>) -> ControlFlow<B> {
        self.walk(&mut Expressions(look))
    }
}

impl<T: Visit + ?Sized> Walk for T {}

/// A part of a syntax tree that can be changed throughout.
pub trait WalkMut: VisitMut {
    /// As `VisitMut::visit`.
    fn walk_mut<V: VisitorMut>(&mut self, visitor: &mut V) -> ControlFlow<V::Break> {
        let mut aside = AsideMut { visitor, broken: None };
        let _ = self.visit(&mut AnyMut(&mut aside));
        aside.broken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }

    /// Calls `change` with each expression, those around others last.
    fn walk_expressions_mut<B>(&mut self, change: impl FnMut(&mut Expr) -> ControlFlow<B>) -> ControlFlow<B> {
        self.walk_mut(&mut Expressions(change))
    }
}

impl<T: VisitMut + ?Sized> WalkMut for T {}

struct Expressions<F>(F);

impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Expressions<F> {
    type Break = B;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<B> {
        (self.0)(expr)
    }
}

impl<B, F: FnMut(&mut Expr) -> ControlFlow<B>> VisitorMut for Expressions<F> {
    type Break = B;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<B> {
        (self.0)(expr)
    }
}

/// The one visitor that the walk is compiled for.
struct Any<'a>(&'a mut dyn Visitor<Break = ()>);

struct AnyMut<'a>(&'a mut dyn VisitorMut<Break = ()>);

/// A visitor beside what it has ended the walk with: so those that end with different things are of one kind.
struct Aside<'a, V: Visitor> {
    visitor: &'a mut V,
    broken: Option<V::Break>,
}

struct AsideMut<'a, V: VisitorMut> {
    visitor: &'a mut V,
    broken: Option<V::Break>,
}

macro_rules! passed_on {
    ($trait:ident, $any:ident, $aside:ident, $($method:ident($node:ty)),+) => {
        impl $trait for $any<'_> {
            type Break = ();
            $(fn $method(&mut self, node: $node) -> ControlFlow<()> {
                self.0.$method(node)
            })+
        }

        impl<V: $trait> $trait for $aside<'_, V> {
            type Break = ();
            $(fn $method(&mut self, node: $node) -> ControlFlow<()> {
                match self.visitor.$method(node) {
                    ControlFlow::Continue(()) => ControlFlow::Continue(()),
                    ControlFlow::Break(broken) => {
                        self.broken = Some(broken);
                        ControlFlow::Break(())
                    }
                }
            })+
        }
    };
}

passed_on!(
    Visitor,
    Any,
    Aside,
    pre_visit_query(&Query),
    post_visit_query(&Query),
    pre_visit_select(&Select),
    post_visit_select(&Select),
    pre_visit_relation(&ObjectName),
    post_visit_relation(&ObjectName),
    pre_visit_table_factor(&TableFactor),
    post_visit_table_factor(&TableFactor),
    pre_visit_expr(&Expr),
    post_visit_expr(&Expr),
    pre_visit_statement(&Statement),
    post_visit_statement(&Statement),
    pre_visit_value(&ValueWithSpan),
    post_visit_value(&ValueWithSpan)
);

passed_on!(
    VisitorMut,
    AnyMut,
    AsideMut,
    pre_visit_query(&mut Query),
    post_visit_query(&mut Query),
    pre_visit_select(&mut Select),
    post_visit_select(&mut Select),
    pre_visit_relation(&mut ObjectName),
    post_visit_relation(&mut ObjectName),
    pre_visit_table_factor(&mut TableFactor),
    post_visit_table_factor(&mut TableFactor),
    pre_visit_expr(&mut Expr),
    post_visit_expr(&mut Expr),
    pre_visit_statement(&mut Statement),
    post_visit_statement(&mut Statement),
    pre_visit_value(&mut ValueWithSpan),
    post_visit_value(&mut ValueWithSpan)
);
