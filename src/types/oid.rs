//! The numbers that PostgreSQL's clients know types by (`pg_type.dat`), and what they know of their lengths.

use super::{NUMERIC_DEFAULT, SqlType};

/// `record`: a row of any fields.
const RECORD: u32 = 2249;
/// `record[]`
const RECORD_ARRAY: u32 = 2287;

/// The number of a type and that of arrays of it.
pub fn type_oids(sql_type: &SqlType) -> (u32, u32) {
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
        SqlType::Rounded(whole, _) => type_oids(whole),
        // Arrays of arrays are arrays of more dimensions: the same type in PostgreSQL.
        SqlType::Array(element) => {
            let (_, array) = type_oids(element);
            (array, array)
        }
    }
}

/// `atttypmod`: length or precision and scale with 4 added (the header that lengths count in PostgreSQL), digits of a second as
/// they are; -1 without one.
pub fn type_modifier(sql_type: &SqlType) -> i32 {
    match sql_type {
        SqlType::Varchar(Some(length)) | SqlType::Char(length) => i32::try_from(*length).unwrap_or(i32::MAX - 4).saturating_add(4),
        SqlType::Numeric(precision, scale) if (*precision, *scale) != NUMERIC_DEFAULT => {
            ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
        }
        SqlType::Array(element) => type_modifier(element),
        // All fields of an interval stand before its digits.
        SqlType::Rounded(whole, digits) if **whole == SqlType::Interval => (0x7fff << 16) | i32::from(*digits),
        SqlType::Rounded(_, digits) => i32::from(*digits),
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::SqlType;
    use super::type_modifier;

    #[test]
    fn modifiers_are_those_of_format_type() {
        assert_eq!(type_modifier(&SqlType::Varchar(Some(20))), 24);
        assert_eq!(type_modifier(&SqlType::Numeric(12, 2)), ((12 << 16) | 2) + 4);
        assert_eq!(type_modifier(&SqlType::Numeric(38, 10)), -1);
        assert_eq!(type_modifier(&SqlType::Rounded(Box::new(SqlType::Timestamp), 3)), 3);
        assert_eq!(type_modifier(&SqlType::Rounded(Box::new(SqlType::Interval), 0)), 2_147_418_112);
    }
}
