//! The SQL types of columns, and the Arrow types that carry them.
//!
//! Types that Arrow has no word for (uuid, jsonb, oid, name) travel as another Arrow type, with their name in the field's metadata.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

/// The metadata key under which a field keeps the name of a SQL type that its Arrow type does not tell.
const METADATA_KEY: &str = "tidemill.type";

/// The metadata key of a `Rounded` type's digits.
const DIGITS_KEY: &str = "tidemill.digits";

/// Precision and scale of `numeric` without any given: as many digits as fit into 128 bits, ten of them after the point.
pub const NUMERIC_DEFAULT: (u8, i8) = (38, 10);

/// A type as SQL names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SqlType {
    /// `boolean`: Arrow Boolean.
    Bool,
    /// `smallint`: Int16.
    Int2,
    /// `integer`: Int32.
    Int4,
    /// `bigint`: Int64.
    Int8,
    /// `real`: Float32.
    Float4,
    /// `double precision`: Float64.
    Float8,
    /// `numeric(precision, scale)`: Decimal128 (Decimal256 above 38 digits).
    Numeric(u8, i8),
    /// `text`: Utf8. Also NULL literals without a type.
    Text,
    /// `varchar(n)`, `n` in characters: Utf8, cut never, refused when longer.
    Varchar(Option<u32>),
    /// `char(n)`: Utf8 without the blanks at its end, which say nothing; who prints it puts them there.
    Char(u32),
    /// `bytea`: Binary.
    Bytea,
    /// `date`: Date32, days since 1970-01-01.
    Date,
    /// `time`: Time64 microseconds.
    Time,
    /// `timestamp`: microseconds since 1970-01-01, no time zone.
    Timestamp,
    /// `timestamptz`: microseconds since 1970-01-01 UTC, zone "UTC".
    Timestamptz,
    /// `interval`: months, days, nanoseconds.
    Interval,
    /// `uuid`: Utf8 in lower case with hyphens, marked.
    Uuid,
    /// `jsonb`: Utf8, marked; the text is valid JSON.
    Jsonb,
    /// `json`: Utf8, marked.
    Json,
    /// `oid`: Int64, marked. Only in catalog tables.
    Oid,
    /// `name`: Utf8, marked. Only in catalog tables.
    Name,
    /// `"char"`: one character, Utf8, marked. Only in catalog tables.
    CatalogChar,
    /// `element[]`: List.
    Array(Box<SqlType>),
    /// A row of named fields: Struct.
    Struct(Vec<(String, SqlType)>),
    /// `time(n)`, `timestamp(n)`, `timestamptz(n)`, `interval(n)`: one of these types, rounded to so many digits of a second (0 to 6) where a
    /// value is given to a column. Only columns are of such a type: to expressions they are of the type within.
    Rounded(Box<SqlType>, u8),
}

impl SqlType {
    /// The Arrow type that carries it.
    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::Bool => DataType::Boolean,
            SqlType::Int2 => DataType::Int16,
            SqlType::Int4 => DataType::Int32,
            SqlType::Int8 | SqlType::Oid => DataType::Int64,
            SqlType::Float4 => DataType::Float32,
            SqlType::Float8 => DataType::Float64,
            SqlType::Numeric(precision, scale) if *precision <= 38 => DataType::Decimal128(*precision, *scale),
            SqlType::Numeric(precision, scale) => DataType::Decimal256(*precision, *scale),
            SqlType::Text
            | SqlType::Varchar(_)
            | SqlType::Char(_)
            | SqlType::Uuid
            | SqlType::Jsonb
            | SqlType::Json
            | SqlType::Name
            | SqlType::CatalogChar => DataType::Utf8,
            SqlType::Bytea => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Array(element) => DataType::List(Arc::new(element.field("item", true))),
            SqlType::Rounded(whole, _) => whole.arrow(),
            SqlType::Struct(fields) => DataType::Struct(fields.iter().map(|(name, field)| field.field(name, true)).collect::<Fields>()),
        }
    }

    /// What arrays, however deep, are arrays of; other types are their own.
    pub fn innermost(&self) -> &SqlType {
        match self {
            SqlType::Array(element) => element.innermost(),
            other => other,
        }
    }

    /// How many arrays are within each other, the outermost counted: `attndims`.
    pub fn dimensions(&self) -> usize {
        match self {
            SqlType::Array(element) => 1 + element.dimensions(),
            _ => 0,
        }
    }

    /// The type that expressions see: without digits to round to.
    pub fn whole(&self) -> &SqlType {
        match self {
            SqlType::Rounded(whole, _) => whole,
            other => other,
        }
    }

    /// An Arrow field of this type, from which `declared_type_of` gives it back, and `sql_type_of` what expressions see.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.arrow(), nullable);
        if let SqlType::Rounded(_, digits) = self {
            return field.with_metadata(HashMap::from([(DIGITS_KEY.to_owned(), digits.to_string())]));
        }
        let mark = match self {
            SqlType::Uuid | SqlType::Jsonb | SqlType::Json | SqlType::Oid | SqlType::Name | SqlType::Varchar(_) | SqlType::Char(_) => {
                self.to_string()
            }
            SqlType::CatalogChar => "\"char\"".to_owned(),
            _ => return field,
        };
        field.with_metadata(HashMap::from([(METADATA_KEY.to_owned(), mark)]))
    }
}

impl std::fmt::Display for SqlType {
    /// The name as `format_type` of PostgreSQL gives it, e.g. `timestamp with time zone`, `character varying(20)`, `integer[]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            SqlType::Bool => "boolean",
            SqlType::Int2 => "smallint",
            SqlType::Int4 => "integer",
            SqlType::Int8 => "bigint",
            SqlType::Float4 => "real",
            SqlType::Float8 => "double precision",
            SqlType::Numeric(precision, scale) if (*precision, *scale) == NUMERIC_DEFAULT => "numeric",
            SqlType::Numeric(precision, scale) => return write!(f, "numeric({precision},{scale})"),
            SqlType::Text => "text",
            SqlType::Varchar(None) => "character varying",
            SqlType::Varchar(Some(length)) => return write!(f, "character varying({length})"),
            SqlType::Char(length) => return write!(f, "character({length})"),
            SqlType::Bytea => "bytea",
            SqlType::Date => "date",
            SqlType::Time => "time without time zone",
            SqlType::Timestamp => "timestamp without time zone",
            SqlType::Timestamptz => "timestamp with time zone",
            SqlType::Interval => "interval",
            SqlType::Uuid => "uuid",
            SqlType::Jsonb => "jsonb",
            SqlType::Json => "json",
            SqlType::Oid => "oid",
            SqlType::Name => "name",
            SqlType::CatalogChar => "\"char\"",
            SqlType::Rounded(whole, digits) => {
                let name = whole.to_string();
                let (word, rest) = name.split_at(name.find(' ').unwrap_or(name.len()));
                return write!(f, "{word}({digits}){rest}");
            }
            SqlType::Array(element) => return write!(f, "{element}[]"),
            SqlType::Struct(fields) => {
                f.write_str("struct<")?;
                for (index, (name, field)) in fields.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    write_field_name(f, name)?;
                    write!(f, " {field}")?;
                }
                return f.write_str(">");
            }
        };
        f.write_str(name)
    }
}

/// A field's name, in double quotes where it would otherwise fold or break. Keywords may be names here.
fn write_field_name(f: &mut std::fmt::Formatter<'_>, name: &str) -> std::fmt::Result {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.starts_with(|c: char| plain(c) && !c.is_ascii_digit()) && name.chars().all(plain) {
        f.write_str(name)
    } else {
        write!(f, "\"{}\"", name.replace('"', "\"\""))
    }
}

/// The same columns, each of which may be NULL: rows before NOT NULL has been checked, or whose errors have become NULLs.
pub fn all_nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The SQL type that a field carries. Arrow types that no SQL type maps to (from a DataFusion function) give the nearest one.
pub fn sql_type_of(field: &Field) -> SqlType {
    if let Some(marked) = field.metadata().get(METADATA_KEY).and_then(|mark| marked_type(mark))
        && marked.arrow() == *field.data_type()
    {
        return marked;
    }
    match field.data_type() {
        DataType::Boolean => SqlType::Bool,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => SqlType::Int2,
        DataType::UInt16 | DataType::Int32 => SqlType::Int4,
        // Of 64 bits without a sign are places and counts, which are bigint in PostgreSQL.
        DataType::UInt32 | DataType::UInt64 | DataType::Int64 => SqlType::Int8,
        DataType::Float16 | DataType::Float32 => SqlType::Float4,
        DataType::Float64 => SqlType::Float8,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => SqlType::Numeric(*precision, *scale),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => SqlType::Bytea,
        DataType::Date32 | DataType::Date64 => SqlType::Date,
        DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
        DataType::Timestamp(_, None) => SqlType::Timestamp,
        DataType::Timestamp(_, Some(_)) => SqlType::Timestamptz,
        DataType::Interval(_) | DataType::Duration(_) => SqlType::Interval,
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) | DataType::ListView(element) => {
            SqlType::Array(Box::new(sql_type_of(element)))
        }
        DataType::Struct(fields) => SqlType::Struct(fields.iter().map(|field| (field.name().clone(), sql_type_of(field))).collect()),
        DataType::Dictionary(_, value) => sql_type_of(&Field::new("", (**value).clone(), true)),
        _ => SqlType::Text,
    }
}

/// The type that a column with this field was declared with: as `sql_type_of`, and the digits that its values were rounded to.
pub fn declared_type_of(field: &Field) -> SqlType {
    let whole = sql_type_of(field);
    let rounds = matches!(whole, SqlType::Time | SqlType::Timestamp | SqlType::Timestamptz | SqlType::Interval);
    let digits = field.metadata().get(DIGITS_KEY).and_then(|digits| digits.parse().ok());
    match digits {
        Some(digits) if rounds => SqlType::Rounded(Box::new(whole), digits),
        _ => whole,
    }
}

/// The type behind a metadata mark, as `SqlType::field` writes it.
fn marked_type(mark: &str) -> Option<SqlType> {
    let length = || mark.split_once('(')?.1.strip_suffix(')')?.parse::<u32>().ok();
    Some(match mark {
        "uuid" => SqlType::Uuid,
        "jsonb" => SqlType::Jsonb,
        "json" => SqlType::Json,
        "oid" => SqlType::Oid,
        "name" => SqlType::Name,
        "\"char\"" => SqlType::CatalogChar,
        _ if mark.starts_with("character varying") => SqlType::Varchar(length()),
        _ if mark.starts_with("character(") => SqlType::Char(length()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{SqlType, declared_type_of, sql_type_of};

    #[test]
    fn a_field_gives_its_sql_type_back() {
        let types = [
            SqlType::Int2,
            SqlType::Numeric(12, 2),
            SqlType::Varchar(Some(20)),
            SqlType::Varchar(None),
            SqlType::Char(3),
            SqlType::Uuid,
            SqlType::Jsonb,
            SqlType::Timestamptz,
            SqlType::Array(Box::new(SqlType::Uuid)),
            SqlType::Struct(vec![("a".into(), SqlType::Int4), ("b".into(), SqlType::Jsonb)]),
        ];
        for sql_type in types {
            assert_eq!(sql_type_of(&sql_type.field("x", true)), sql_type);
        }
    }

    #[test]
    fn digits_to_round_to_are_the_columns_alone() {
        let rounded = SqlType::Rounded(Box::new(SqlType::Timestamptz), 3);
        let field = rounded.field("x", true);
        assert_eq!((sql_type_of(&field), declared_type_of(&field)), (SqlType::Timestamptz, rounded.clone()));
        let names = [rounded, SqlType::Rounded(Box::new(SqlType::Interval), 0)].map(|sql_type| sql_type.to_string());
        assert_eq!(names, ["timestamp(3) with time zone", "interval(0)"]);
    }
}
