//! Which casts there are: those of PostgreSQL's `pg_cast`, and through text for whatever has a text.

use crate::types::SqlType;

/// Whether a value of one type may be cast to another with `::` or CAST.
pub(in crate::plan) fn is_cast(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{
        Array, Bool, CatalogChar, Date, Float4, Float8, Int2, Int4, Int8, Interval, Json, Jsonb, Oid, Time, Timestamp, Timestamptz,
    };
    let is_text = |sql_type: &SqlType| matches!(sql_type, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name);
    let is_number = |sql_type: &SqlType| matches!(sql_type, Int2 | Int4 | Int8 | Float4 | Float8 | SqlType::Numeric(..));
    if is_text(from) || is_text(to) || std::mem::discriminant(from) == std::mem::discriminant(to) && !matches!(from, Array(_)) {
        return true;
    }
    match (from, to) {
        (from, to) if is_number(from) && is_number(to) => true,
        (Int4, Bool | CatalogChar) | (Bool | CatalogChar, Int4) => true,
        (Int2 | Int4 | Int8, Oid) | (Oid, Int4 | Int8) => true,
        (Date, Timestamp | Timestamptz) => true,
        (Timestamp, Date | Time | Timestamptz) | (Timestamptz, Date | Time | Timestamp) => true,
        (Time, Interval) | (Interval, Time) => true,
        (Json, Jsonb) | (Jsonb, Json | Bool) => true,
        (Jsonb, to) => is_number(to),
        // Dimensions are no part of PostgreSQL's types.
        (Array(from), Array(to)) => is_cast(from.innermost(), to.innermost()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_cast;
    use crate::types::SqlType;

    #[test]
    fn casts_are_those_of_pg_cast() {
        let array = |element: SqlType| SqlType::Array(Box::new(element));
        for (from, to) in [
            (SqlType::Int8, SqlType::Numeric(10, 2)),
            (SqlType::Int4, SqlType::Bool),
            (SqlType::Timestamptz, SqlType::Time),
            (SqlType::Jsonb, SqlType::Float8),
            (array(SqlType::Text), array(SqlType::Bytea)),
            (SqlType::Uuid, SqlType::Text),
            (SqlType::Text, array(SqlType::Int4)),
        ] {
            assert!(is_cast(&from, &to), "{from} to {to}");
        }
        for (from, to) in [
            (SqlType::Int8, SqlType::Bool),
            (SqlType::Int8, SqlType::Timestamp),
            (SqlType::Date, SqlType::Int4),
            (SqlType::Int4, SqlType::Bytea),
            (SqlType::Bool, SqlType::Float8),
            (SqlType::Interval, SqlType::Jsonb),
            (array(SqlType::Text), SqlType::Jsonb),
            (SqlType::Int4, SqlType::Uuid),
            (array(SqlType::Date), array(SqlType::Int4)),
        ] {
            assert!(!is_cast(&from, &to), "{from} to {to}");
        }
    }
}
