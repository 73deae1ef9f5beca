//! Types of expressions while the plan is made, where each operator asks for those of its operands.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::integers;
use super::open_literals::{is_kept, type_beside};
use crate::types::{SqlType, sql_type_of};

/// The type of an expression, found without making fields on the way: a chain of a thousand operators is looked at a thousand times. `None`:
/// not one of the simple cases.
pub(super) fn plain_type(expr: &Expr, schema: &DFSchema) -> Option<SqlType> {
    let BinaryExpr { left, op, right } = match expr {
        Expr::BinaryExpr(binary) => binary,
        Expr::Column(column) => {
            let (_, field) = schema.qualified_field_from_column(column).ok()?;
            return (!field.data_type().is_null()).then(|| sql_type_of(field));
        }
        Expr::Cast(cast) => return Some(sql_type_of(&cast.field)),
        // The type that `settle` is going to give it.
        Expr::Case(_) => return type_beside(expr, schema).filter(is_kept),
        Expr::Literal(ScalarValue::Int64(Some(_)), None) => return Some(SqlType::Int8),
        _ => return integers::is_int4_literal(expr).then_some(SqlType::Int4),
    };
    let is_text = |side: &Expr| {
        literal_text(side).is_some()
            || plain_type(side, schema).is_some_and(|found| matches!(found, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_)))
    };
    match op {
        Operator::And | Operator::Or => Some(SqlType::Bool),
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => Some(SqlType::Bool),
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
            // What is shorter is looked at first: most chains lean to the left.
            match (plain_type(right, schema)?, plain_type(left, schema)?) {
                (SqlType::Int4, SqlType::Int4) => Some(SqlType::Int4),
                (SqlType::Int4 | SqlType::Int8, SqlType::Int4 | SqlType::Int8) => Some(SqlType::Int8),
                _ => None,
            }
        }
        Operator::StringConcat if is_text(right) && is_text(left) => Some(SqlType::Text),
        _ => None,
    }
}

/// The text of a quoted string.
pub(super) fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) => Some(text),
        _ => None,
    }
}
