//! Types as the user writes them → `SqlType`.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectName, StructField, TimezoneInfo};

use crate::error::{Error, Kind, Result};
use crate::plan::errors::external;
use crate::plan::names::normal;
use crate::plan::time_precision::{digits_of, digits_written};
use crate::types::{NUMERIC_DEFAULT, SqlType};

/// The most digits that a `numeric` can have: those of Arrow's Decimal256.
const NUMERIC_PRECISION_MAX: u64 = 76;

/// The longest `varchar(n)` and `char(n)`, as in PostgreSQL.
const TEXT_LENGTH_MAX: u64 = 10_485_760;

/// The type that `data_type` names. Unknown names are `42704`, types that PostgreSQL has and we do not are `0A000`.
pub fn sql_type(data_type: &DataType) -> Result<SqlType> {
    Ok(match data_type {
        DataType::Bool | DataType::Boolean => SqlType::Bool,
        DataType::SmallInt(_) | DataType::Int2(_) | DataType::Int16 => SqlType::Int2,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) | DataType::Int32 => SqlType::Int4,
        DataType::BigInt(_) | DataType::Int8(_) | DataType::Int64 => SqlType::Int8,
        DataType::Real | DataType::Float4 | DataType::Float32 => SqlType::Float4,
        DataType::DoublePrecision | DataType::Float8 | DataType::Float64 | DataType::Double(ExactNumberInfo::None) => SqlType::Float8,
        DataType::Float(digits) => float(digits),
        DataType::Numeric(digits) | DataType::Decimal(digits) | DataType::Dec(digits) => numeric(digits)?,
        DataType::Text | DataType::String(None) | DataType::Clob(None) => SqlType::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            SqlType::Varchar(varying(length)?)
        }
        DataType::Char(length) | DataType::Character(length) => SqlType::Char(varying(length)?.unwrap_or(1)),
        DataType::Bytea => SqlType::Bytea,
        DataType::Date => SqlType::Date,
        DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Time,
        DataType::Time(..) => {
            return Err(Error::not_supported("type \"time with time zone\" is not supported").hint("Use timestamptz or time."));
        }
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Timestamp,
        DataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => SqlType::Timestamptz,
        DataType::Interval { fields: None, .. } => SqlType::Interval,
        DataType::Interval { fields: Some(fields), .. } => {
            let message = format!("type \"interval {}\" is not supported", fields.to_string().to_lowercase());
            return Err(Error::not_supported(message).hint("Use interval."));
        }
        DataType::Uuid => SqlType::Uuid,
        DataType::JSONB => SqlType::Jsonb,
        DataType::JSON => SqlType::Json,
        DataType::Regclass => SqlType::Oid,
        DataType::Array(ArrayElemTypeDef::AngleBracket(element) | ArrayElemTypeDef::SquareBracket(element, _)) => {
            SqlType::Array(Box::new(sql_type(element)?))
        }
        DataType::Struct(fields, _) => SqlType::Struct(struct_fields(fields)?),
        DataType::Custom(name, modifiers) => custom(name, modifiers)?,
        other => return Err(undefined(&other.to_string().to_lowercase())),
    })
}

/// The fields of a struct; one without a name is called by its place, as those of a row are.
fn struct_fields(fields: &[StructField]) -> Result<Vec<(String, SqlType)>> {
    let mut known: Vec<(String, SqlType)> = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let name = field.field_name.as_ref().map_or_else(|| format!("f{}", index + 1), normal);
        if known.iter().any(|(other, _)| *other == name) {
            return Err(Error::new(Kind::DuplicateColumn, format!("field \"{name}\" of a struct specified more than once")));
        }
        known.push((name, sql_type(&field.field_type)?));
    }
    Ok(known)
}

/// As `sql_type`, of a column: one that says how many digits of a second it has rounds to them what it is given. Parts of its values cannot.
pub fn column_type(data_type: &DataType) -> Result<SqlType> {
    if let Some(inner) = rounded_part(data_type) {
        let message = format!("type {} within another type is not supported", inner.to_string().to_lowercase());
        return Err(Error::not_supported(message).hint("Leave the precision out, and round where the column is read."));
    }
    let whole = sql_type(data_type)?;
    Ok(match digits_written(data_type) {
        Some(digits) => SqlType::Rounded(Box::new(whole), digits),
        None => whole,
    })
}

/// What an array's elements or a struct's fields would have to be rounded to.
fn rounded_part(data_type: &DataType) -> Option<&DataType> {
    let rounded = |inner: &'_ DataType| digits_of(inner).is_some();
    match data_type {
        DataType::Array(ArrayElemTypeDef::AngleBracket(element) | ArrayElemTypeDef::SquareBracket(element, _)) => {
            if rounded(element) {
                Some(element)
            } else {
                rounded_part(element)
            }
        }
        DataType::Struct(fields, _) => fields
            .iter()
            .find_map(|field| if rounded(&field.field_type) { Some(&field.field_type) } else { rounded_part(&field.field_type) }),
        _ => None,
    }
}

/// The name of a type as PostgreSQL's catalogs spell it: what a column made by a bare cast is called.
pub(super) fn catalog_name(data_type: &DataType) -> String {
    match sql_type(data_type) {
        Ok(SqlType::Bool) => "bool".to_owned(),
        Ok(SqlType::Int2) => "int2".to_owned(),
        Ok(SqlType::Int4) => "int4".to_owned(),
        Ok(SqlType::Int8) => "int8".to_owned(),
        Ok(SqlType::Float4) => "float4".to_owned(),
        Ok(SqlType::Float8) => "float8".to_owned(),
        Ok(SqlType::Numeric(..)) => "numeric".to_owned(),
        Ok(SqlType::Varchar(_)) => "varchar".to_owned(),
        Ok(SqlType::Char(_)) => "bpchar".to_owned(),
        Ok(SqlType::Time) => "time".to_owned(),
        Ok(SqlType::Timestamp) => "timestamp".to_owned(),
        Ok(SqlType::Timestamptz) => "timestamptz".to_owned(),
        Ok(SqlType::Struct(_)) => "row".to_owned(),
        Ok(SqlType::Array(element)) => match *element {
            SqlType::Text => "text".to_owned(),
            other => other.to_string(),
        },
        Ok(other) => other.to_string(),
        Err(_) => data_type.to_string().to_lowercase(),
    }
}

/// Lets DataFusion read types in casts and literals as we do.
#[derive(Debug)]
pub(super) struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, data_type: &DataType) -> datafusion::error::Result<Option<FieldRef>> {
        let sql_type = sql_type(data_type).map_err(external)?;
        // Of a field that says no more than its Arrow type DataFusion takes no more, and leaves a jsonb that is cast to text its mark.
        let name = if sql_type == SqlType::Text { "text" } else { "" };
        Ok(Some(Arc::new(sql_type.field(name, true))))
    }
}

/// `float(n)`: real up to 24 binary digits, as the standard says.
fn float(digits: &ExactNumberInfo) -> SqlType {
    match digits {
        ExactNumberInfo::Precision(bits) if *bits <= 24 => SqlType::Float4,
        _ => SqlType::Float8,
    }
}

fn numeric(digits: &ExactNumberInfo) -> Result<SqlType> {
    let (precision, scale) = match digits {
        ExactNumberInfo::None => return Ok(SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1)),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let (Ok(small), Ok(scale)) = (u8::try_from(precision), i8::try_from(scale)) else {
        return Err(precision_error(precision));
    };
    if !(1..=NUMERIC_PRECISION_MAX).contains(&precision) {
        return Err(precision_error(precision));
    }
    if scale < 0 || i64::from(scale) > i64::from(small) {
        return Err(Error::new(Kind::InvalidParameter, format!("NUMERIC scale {scale} must be between 0 and precision {precision}")));
    }
    Ok(SqlType::Numeric(small, scale))
}

fn precision_error(precision: u64) -> Error {
    Error::new(Kind::InvalidParameter, format!("NUMERIC precision {precision} must be between 1 and {NUMERIC_PRECISION_MAX}"))
}

fn varying(length: &Option<CharacterLength>) -> Result<Option<u32>> {
    match length {
        None | Some(CharacterLength::Max) => Ok(None),
        Some(CharacterLength::IntegerLength { length, .. }) => match u32::try_from(*length) {
            Ok(small) if (1..=TEXT_LENGTH_MAX).contains(length) => Ok(Some(small)),
            _ => Err(Error::new(Kind::InvalidParameter, format!("length {length} must be between 1 and {TEXT_LENGTH_MAX}"))),
        },
    }
}

/// Types that the parser has no word for.
fn custom(name: &ObjectName, modifiers: &[String]) -> Result<SqlType> {
    let last = name.0.last().and_then(|part| part.as_ident());
    let (text, quoted) = last.map_or_else(|| (name.to_string(), false), |ident| (ident.value.clone(), ident.quote_style.is_some()));
    let text = if quoted { text } else { text.to_lowercase() };
    Ok(match text.as_str() {
        "char" if quoted => SqlType::CatalogChar,
        "timestamptz" => SqlType::Timestamptz,
        "timestamp" => SqlType::Timestamp,
        "bool" => SqlType::Bool,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "numeric" => SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1),
        "text" => SqlType::Text,
        "varchar" => SqlType::Varchar(modifiers.first().and_then(|length| length.parse().ok())),
        // Without a length it has any, and is not padded: a text.
        "bpchar" => modifiers.first().and_then(|length| length.parse().ok()).map_or(SqlType::Text, SqlType::Char),
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "time" => SqlType::Time,
        "interval" => SqlType::Interval,
        "uuid" => SqlType::Uuid,
        "jsonb" => SqlType::Jsonb,
        "json" => SqlType::Json,
        "oid" | "regclass" | "regtype" | "regproc" | "regnamespace" | "regrole" | "xid" => SqlType::Oid,
        "name" => SqlType::Name,
        "serial" | "serial4" | "bigserial" | "serial8" | "smallserial" | "serial2" => {
            return Err(Error::not_supported(format!("type \"{text}\" is not supported: there are no sequences"))
                .hint("Use bigint and give the value, or uuid with a generated default."));
        }
        _ => return Err(undefined(&text)),
    })
}

fn undefined(name: &str) -> Error {
    let known = [
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "real",
        "double precision",
        "numeric",
        "text",
        "varchar",
        "char",
        "bytea",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "interval",
        "uuid",
        "jsonb",
        "json",
    ];
    let error = Error::new(Kind::UndefinedObject, format!("type \"{name}\" does not exist"));
    match crate::catalog::nearest(name, known.into_iter()) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error,
    }
}
