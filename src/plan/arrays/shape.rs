//! `ARRAY[[1, 2], [3]]`: arrays in one array have one length, where the text tells what it is.
//!
//! Arrays of arrays that are made of columns may be of any lengths: nobody knows them before the rows are there.

use std::ops::ControlFlow;

use sqlparser::ast::{Array, Expr, Visitor};

use crate::error::{Error, Kind, Result};
use crate::sql::Walk;

/// Refuses what is not rectangular: `2202E`.
pub(in crate::plan) fn rectangular(tree: &impl Walk) -> Result<()> {
    match tree.walk(&mut Shapes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Shapes;

impl Visitor for Shapes {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Array(array) = expr else { return ControlFlow::Continue(()) };
        let mut lengths = array.elem.iter().filter_map(|element| match element {
            Expr::Array(Array { elem, .. }) => Some(elem.len()),
            _ => None,
        });
        let first = lengths.next();
        let has_plain = first.is_some() && array.elem.iter().any(|element| matches!(element, Expr::Value(_)));
        if has_plain || lengths.any(|length| Some(length) != first) {
            let message = "multidimensional arrays must have array expressions with matching dimensions";
            return ControlFlow::Break(Error::new(Kind::ArraySubscript, message));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::rectangular;

    #[test]
    fn arrays_in_an_array_have_one_length() {
        let error = |text: &str| rectangular(&crate::plan::parse_query(text).unwrap()).err().map(|error| error.kind().sqlstate());
        assert_eq!(error("SELECT ARRAY[[1, 2], [3, 4]], ARRAY[a, ARRAY[1]], ARRAY[[], []]"), None);
        for ragged in ["ARRAY[[1, 2], [3]]", "ARRAY[ARRAY[1], ARRAY[2, 3]]", "ARRAY[[[1], [2]], [[3], [4, 5]]]", "ARRAY[[1], NULL]"] {
            assert_eq!(error(&format!("SELECT {ragged}")), Some("2202E"), "{ragged}");
        }
    }
}
