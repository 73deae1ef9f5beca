//! `WITH a (x) AS (SELECT 1, 2)`: names for the first columns of a query in WITH; the others keep theirs.
//!
//! DataFusion wants a name for every column there. Of relations in FROM that [is settled](super::column_aliases), so the names go to one:
//! `WITH a AS (SELECT * FROM (SELECT 1, 2) AS a (x))`. A query that reads itself has the columns of its first term, so there they go around that.
//! Runs behind `prepare_recursion`.

use std::ops::ControlFlow;

use sqlparser::ast::{Cte, Query, SetExpr, TableFactor, VisitorMut};

use super::names::normal;
use super::text;
use crate::error::{Error, Result};
use crate::sql::{WalkMut, reads_itself};

/// Does it for `query` and for all queries within it.
pub(super) fn expand(query: &mut Query) -> Result<()> {
    query.walk_mut(&mut Namer).break_value().map_or(Ok(()), Err)
}

struct Namer;

impl VisitorMut for Namer {
    type Break = Error;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let Some(with) = &mut query.with else { return ControlFlow::Continue(()) };
        let recursive = with.recursive;
        for cte in with.cte_tables.iter_mut().filter(|cte| !cte.alias.columns.is_empty()) {
            if let Err(error) = move_names(cte, recursive) {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }
}

fn move_names(cte: &mut Cte, recursive: bool) -> Result<()> {
    let mut around = text::query("SELECT * FROM (SELECT 1) AS t")?;
    let SetExpr::Select(select) = around.body.as_mut() else { return Ok(()) };
    let Some(TableFactor::Derived { subquery, alias, .. }) = select.from.first_mut().map(|from| &mut from.relation) else { return Ok(()) };
    *alias = Some(cte.alias.clone());
    if recursive && reads_itself(&cte.query, &normal(&cte.alias.name)) {
        let SetExpr::SetOperation { left, .. } = cte.query.body.as_mut() else { return Ok(()) };
        std::mem::swap(&mut subquery.body, left);
        *left = around.body;
    } else {
        std::mem::swap(subquery, &mut cte.query);
        *cte.query = around;
    }
    cte.alias.columns.clear();
    Ok(())
}
