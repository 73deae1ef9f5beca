//! A rewriting of every SELECT of a query, those within others first.

use std::ops::ControlFlow;

use sqlparser::ast::{Query, Select, VisitorMut};

use crate::error::{Error, Result};
use crate::sql::WalkMut;

/// Calls `rewrite` with each; its first error is the result.
pub(super) fn each_select(query: &mut Query, rewrite: impl FnMut(&mut Select) -> Result<()>) -> Result<()> {
    match query.walk_mut(&mut Each(rewrite)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Each<F>(F);

impl<F: FnMut(&mut Select) -> Result<()>> VisitorMut for Each<F> {
    type Break = Error;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match (self.0)(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}
