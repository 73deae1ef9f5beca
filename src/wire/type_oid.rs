//! SQL types by the numbers that PostgreSQL clients know them by (`pg_type.dat`), with size and modifier for RowDescription.

use crate::types::{NUMERIC_DEFAULT, SqlType, type_oids};

/// The `oid` of the type in `pg_type`.
pub(super) fn oid_of(sql_type: &SqlType) -> u32 {
    type_oids(sql_type).0
}

/// The type that a client means by an `oid`; `None` for those we do not have. Types with a modifier come without one.
pub(super) fn type_of_oid(oid: u32) -> Option<SqlType> {
    let scalars = [
        SqlType::Bool,
        SqlType::Int2,
        SqlType::Int4,
        SqlType::Int8,
        SqlType::Float4,
        SqlType::Float8,
        SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1),
        SqlType::Text,
        SqlType::Varchar(None),
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Time,
        SqlType::Timestamp,
        SqlType::Timestamptz,
        SqlType::Interval,
        SqlType::Uuid,
        SqlType::Jsonb,
        SqlType::Json,
        SqlType::Oid,
        SqlType::Name,
        SqlType::CatalogChar,
    ];
    // A `char` whose length is not told is not padded: a text.
    let (bpchar, bpchar_array) = type_oids(&SqlType::Char(1));
    match oid {
        _ if oid == bpchar => return Some(SqlType::Text),
        _ if oid == bpchar_array => return Some(SqlType::Array(Box::new(SqlType::Text))),
        _ => {}
    }
    scalars.into_iter().find_map(|scalar| match type_oids(&scalar) {
        (own, _) if own == oid => Some(scalar),
        (_, array) if array == oid => Some(SqlType::Array(Box::new(scalar))),
        _ => None,
    })
}

/// Bytes of a value, or -1 if they vary.
pub(super) fn size_of(sql_type: &SqlType) -> i16 {
    match sql_type {
        SqlType::Bool | SqlType::CatalogChar => 1,
        SqlType::Int2 => 2,
        SqlType::Int4 | SqlType::Float4 | SqlType::Date | SqlType::Oid => 4,
        SqlType::Int8 | SqlType::Float8 | SqlType::Time | SqlType::Timestamp | SqlType::Timestamptz => 8,
        SqlType::Interval | SqlType::Uuid => 16,
        SqlType::Name => 64,
        SqlType::Rounded(whole, _) => size_of(whole),
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::{oid_of, type_of_oid};
    use crate::types::SqlType;

    #[test]
    fn numbers_lead_back_to_their_types() {
        for sql_type in [SqlType::Int8, SqlType::Uuid, SqlType::Array(Box::new(SqlType::Timestamptz)), SqlType::CatalogChar] {
            assert_eq!(type_of_oid(oid_of(&sql_type)), Some(sql_type));
        }
        assert_eq!(type_of_oid(1042), Some(SqlType::Text));
        assert_eq!(type_of_oid(4_000_000), None);
    }
}
