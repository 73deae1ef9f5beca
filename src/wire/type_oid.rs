//! SQL types by the numbers that PostgreSQL clients know them by (`pg_type.dat`), with size and modifier for RowDescription.

use crate::types::{NUMERIC_DEFAULT, SqlType};

/// `record`: a row of any fields.
const RECORD: u32 = 2249;
/// `record[]`
const RECORD_ARRAY: u32 = 2287;

/// The type's own number and the number of arrays of it.
fn oids(sql_type: &SqlType) -> (u32, u32) {
    match sql_type {
        SqlType::Bool => (16, 1000),
        SqlType::Int2 => (21, 1005),
        SqlType::Int4 => (23, 1007),
        SqlType::Int8 => (20, 1016),
        SqlType::Float4 => (700, 1021),
        SqlType::Float8 => (701, 1022),
        SqlType::Numeric(..) => (1700, 1231),
        SqlType::Text => (25, 1009),
        SqlType::Varchar(_) => (1043, 1015),
        SqlType::Char(_) => (1042, 1014),
        SqlType::Bytea => (17, 1001),
        SqlType::Date => (1082, 1182),
        SqlType::Time => (1083, 1183),
        SqlType::Timestamp => (1114, 1115),
        SqlType::Timestamptz => (1184, 1185),
        SqlType::Interval => (1186, 1187),
        SqlType::Uuid => (2950, 2951),
        SqlType::Jsonb => (3802, 3807),
        SqlType::Json => (114, 199),
        SqlType::Oid => (26, 1028),
        SqlType::Name => (19, 1003),
        SqlType::CatalogChar => (18, 1002),
        SqlType::Struct(_) => (RECORD, RECORD_ARRAY),
        SqlType::Rounded(whole, _) => oids(whole),
        // Arrays of arrays are arrays of more dimensions: the same type in PostgreSQL.
        SqlType::Array(element) => {
            let (_, array) = oids(element);
            (array, array)
        }
    }
}

/// The `oid` of the type in `pg_type`.
pub(super) fn oid_of(sql_type: &SqlType) -> u32 {
    oids(sql_type).0
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
    let (bpchar, bpchar_array) = oids(&SqlType::Char(1));
    match oid {
        _ if oid == bpchar => return Some(SqlType::Text),
        _ if oid == bpchar_array => return Some(SqlType::Array(Box::new(SqlType::Text))),
        _ => {}
    }
    scalars.into_iter().find_map(|scalar| match oids(&scalar) {
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

/// `atttypmod`: length or precision and scale with 4 added (the header that lengths count in PostgreSQL), digits of a second as
/// they are; -1 without one.
pub(super) fn modifier_of(sql_type: &SqlType) -> i32 {
    match sql_type {
        SqlType::Varchar(Some(length)) | SqlType::Char(length) => i32::try_from(*length).unwrap_or(i32::MAX - 4).saturating_add(4),
        SqlType::Numeric(precision, scale) if (*precision, *scale) != NUMERIC_DEFAULT => {
            ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
        }
        SqlType::Array(element) => modifier_of(element),
        // All fields of an interval stand before its digits.
        SqlType::Rounded(whole, digits) if **whole == SqlType::Interval => (0x7fff << 16) | i32::from(*digits),
        SqlType::Rounded(_, digits) => i32::from(*digits),
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::{modifier_of, oid_of, type_of_oid};
    use crate::types::SqlType;

    #[test]
    fn numbers_lead_back_to_their_types() {
        for sql_type in [SqlType::Int8, SqlType::Uuid, SqlType::Array(Box::new(SqlType::Timestamptz)), SqlType::CatalogChar] {
            assert_eq!(type_of_oid(oid_of(&sql_type)), Some(sql_type));
        }
        assert_eq!(type_of_oid(1042), Some(SqlType::Text));
        assert_eq!(type_of_oid(4_000_000), None);
    }

    #[test]
    fn modifiers_are_those_of_format_type() {
        assert_eq!(modifier_of(&SqlType::Varchar(Some(20))), 24);
        assert_eq!(modifier_of(&SqlType::Numeric(12, 2)), ((12 << 16) | 2) + 4);
        assert_eq!(modifier_of(&SqlType::Numeric(38, 10)), -1);
        assert_eq!(modifier_of(&SqlType::Rounded(Box::new(SqlType::Timestamp), 3)), 3);
        assert_eq!(modifier_of(&SqlType::Rounded(Box::new(SqlType::Interval), 0)), 2_147_418_112);
    }
}
