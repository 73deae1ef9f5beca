//! The types of `$1`, `$2`, …: as declared, as a cast around them says, as LIMIT wants them, or as DataFusion infers them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::datatypes::FieldRef;
use sqlparser::ast::{Expr, LimitClause, Query, Value, ValueWithSpan, Visit, Visitor};

use super::data_type::sql_type;
use crate::error::{Error, Kind, Result};
use crate::types::{NUMERIC_DEFAULT, SqlType, sql_type_of};

/// Parameters of one statement at the most: the protocol counts them in 16 bits.
const PARAMETERS_MAX: usize = 65_535;

/// Digits of the widest numeric there is (`Decimal256`).
const DIGITS_MAX: u8 = 76;

/// `numeric` without precision and scale.
const NUMERIC: SqlType = SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1);

/// The parameters that `query` names, with what is known of their types without planning. `declared` wins.
pub(super) fn declared_types(query: &Query, declared: &[Option<SqlType>]) -> Result<Vec<Option<SqlType>>> {
    let mut finder = Finder { types: declared.to_vec(), error: None };
    let _ = query.visit(&mut finder);
    match finder.error {
        Some(error) => Err(error),
        None => Ok(finder.types),
    }
}

/// The declared types without those that say `numeric` and no more: clients know its number alone, so that precision and scale are to be
/// found out from where the parameter stands.
pub(super) fn loosened(declared: &[Option<SqlType>]) -> Vec<Option<SqlType>> {
    declared.iter().map(|known| known.clone().filter(|sql_type| *sql_type != NUMERIC)).collect()
}

/// Takes a declared `numeric` where it stands for what is none: the rest is a matter of casts.
pub(super) fn settle(types: &mut [Option<SqlType>], declared: &[Option<SqlType>]) {
    for (known, declared) in types.iter_mut().zip(declared) {
        if *declared == Some(NUMERIC) && known.as_ref().is_some_and(|known| !matches!(known, SqlType::Numeric(..))) {
            known.clone_from(declared);
        }
    }
}

/// The types with their gaps filled as declared.
pub(super) fn with_declared(types: &[Option<SqlType>], declared: &[Option<SqlType>]) -> Vec<Option<SqlType>> {
    types.iter().enumerate().map(|(index, known)| known.clone().or_else(|| declared.get(index).cloned().flatten())).collect()
}

/// Fills the gaps with what DataFusion inferred. Returns whether some are of another type now than it thinks: those of which it knows nothing
/// are what was declared, or text, as PostgreSQL decides too; those beside a numeric may have more digits than that.
pub(super) fn fill(types: &mut [Option<SqlType>], inferred: &HashMap<String, Option<FieldRef>>, declared: &[Option<SqlType>]) -> bool {
    let mut changed = false;
    for (index, gap) in types.iter_mut().enumerate().filter(|(_, known)| known.is_none()) {
        let inferred = inferred.get(&format!("${}", index + 1)).and_then(Option::as_ref).map(|field| sql_type_of(field));
        let declared = declared.get(index).and_then(Option::as_ref);
        let taken = match (&inferred, declared) {
            (Some(SqlType::Numeric(precision, scale)), _) => beside(*precision, *scale),
            (Some(other), None) => other.clone(),
            (_, Some(declared)) => declared.clone(),
            (None, None) => SqlType::Text,
        };
        changed |= inferred.as_ref() != Some(&taken);
        *gap = Some(taken);
    }
    changed
}

/// The type of a parameter that is compared or computed with a `numeric(precision, scale)`: what is multiplied with a price may have more
/// digits than the price. As many behind the point as `numeric` has, and before it as many as there can be.
fn beside(precision: u8, scale: i8) -> SqlType {
    let (digits, behind) = NUMERIC_DEFAULT;
    let before = i16::from(precision) - i16::from(scale);
    let scale = behind.max(scale);
    let precision = (before + i16::from(scale)).max(i16::from(digits));
    u8::try_from(precision)
        .ok()
        .filter(|precision| *precision <= DIGITS_MAX)
        .map_or(NUMERIC, |precision| SqlType::Numeric(precision, scale))
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
