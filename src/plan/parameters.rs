//! The types of `$1`, `$2`, …: as declared, as a cast around them says, as LIMIT wants them, or as DataFusion infers them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::datatypes::FieldRef;
use sqlparser::ast::{Expr, LimitClause, Query, Value, ValueWithSpan, Visit, Visitor};

use super::data_type::sql_type;
use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, sql_type_of};

/// Parameters of one statement at the most: the protocol counts them in 16 bits.
const PARAMETERS_MAX: usize = 65_535;

/// The parameters that `query` names, with what is known of their types without planning. `declared` wins.
pub(super) fn declared_types(query: &Query, declared: &[Option<SqlType>]) -> Result<Vec<Option<SqlType>>> {
    let mut finder = Finder { types: declared.to_vec(), error: None };
    let _ = query.visit(&mut finder);
    match finder.error {
        Some(error) => Err(error),
        None => Ok(finder.types),
    }
}

/// Fills the gaps with what DataFusion inferred. Returns whether some were left, which now are text, as PostgreSQL decides too.
pub(super) fn fill(types: &mut [Option<SqlType>], inferred: &HashMap<String, Option<FieldRef>>) -> bool {
    let mut guessed = false;
    for (index, gap) in types.iter_mut().enumerate().filter(|(_, known)| known.is_none()) {
        match inferred.get(&format!("${}", index + 1)) {
            Some(Some(field)) => *gap = Some(sql_type_of(field)),
            _ => {
                *gap = Some(SqlType::Text);
                guessed = true;
            }
        }
    }
    guessed
}

/// The number in `$n`.
pub(super) fn number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(text), .. }) => text.strip_prefix('$')?.parse().ok(),
        Expr::Nested(inner) => number(inner),
        _ => None,
    }
}

struct Finder {
    types: Vec<Option<SqlType>>,
    error: Option<Error>,
}

impl Finder {
    fn note(&mut self, number: usize, sql_type: Option<SqlType>) {
        if number == 0 || number > PARAMETERS_MAX {
            self.error = Some(Error::new(Kind::UndefinedParameter, format!("there is no parameter ${number}")));
            return;
        }
        if self.types.len() < number {
            self.types.resize(number, None);
        }
        if let (gap @ None, Some(sql_type)) = (&mut self.types[number - 1], sql_type) {
            *gap = Some(sql_type);
        }
    }

    fn note_bigint(&mut self, expr: Option<&Expr>) {
        if let Some(number) = expr.and_then(number) {
            self.note(number, Some(SqlType::Int8));
        }
    }
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                self.note_bigint(limit.as_ref());
                self.note_bigint(offset.as_ref().map(|offset| &offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.note_bigint(Some(offset));
                self.note_bigint(Some(limit));
            }
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr, data_type, .. } => {
                if let Some(number) = number(expr) {
                    match sql_type(data_type) {
                        Ok(sql_type) => self.note(number, Some(sql_type)),
                        Err(error) => self.error = Some(error),
                    }
                }
            }
            other => {
                if let Some(number) = number(other) {
                    self.note(number, None);
                }
            }
        }
        ControlFlow::Continue(())
    }
}
