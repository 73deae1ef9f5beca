//! Parameters and binary COPY fields → Arrow arrays. Text goes through `types::parse_column`; binary is what `recv` functions read.

use std::sync::Arc;

use arrow::array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Fields, IntervalMonthDayNano};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, day_in_range, moment_in_range, no_infinity, parse_column, parse_column_in, round_column};
use crate::wire::encode::Format;
use crate::wire::encode_binary::{EPOCH_DAYS, EPOCH_US, JSONB_VERSION};
use crate::wire::message::Fields as Bytes;
use crate::wire::numeric::numeric_text;
use crate::wire::type_oid::oid_of;

/// One parameter's value as an array of length 1 of the described type.
/// `zone`: where an instant in text is, if it does not say.
///
/// The bytes are of the type that the client declared, if it did (`int2` where `bigint` is expected): decoded as that, then cast.
pub(super) fn parameter(
    declared: Option<&SqlType>,
    described: &SqlType,
    format: Format,
    value: Option<&[u8]>,
    zone: Tz,
) -> Result<ArrayRef> {
    // The same type by number: the described one also knows its length or scale.
    let sent = declared.filter(|declared| oid_of(declared) != oid_of(described)).unwrap_or(described);
    let array = match format {
        Format::Text => parse_column_in(sent, std::iter::once(value.map(text).transpose()?), zone)?,
        Format::Binary => binary_column(sent, &[value])?,
    };
    let wanted = described.arrow();
    if *array.data_type() == wanted {
        return Ok(array);
    }
    Ok(cast_with_options(&array, &wanted, &CastOptions { safe: false, ..CastOptions::default() })?)
}

/// Text from the client: UTF-8 without the zero byte, as PostgreSQL has it.
pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => Ok(text),
        Ok(_) => Err(Error::new(Kind::InvalidEncoding, "invalid byte sequence for encoding \"UTF8\": 0x00")),
        Err(cause) => {
            let byte = bytes.get(cause.valid_up_to()).copied().unwrap_or(0);
            Err(Error::new(Kind::InvalidEncoding, format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}")))
        }
    }
}

/// A column from the binary forms of its values.
pub(super) fn binary_column(sql_type: &SqlType, values: &[Option<&[u8]>]) -> Result<ArrayRef> {
    Ok(match sql_type {
        SqlType::Bool => {
            let decode = |bytes: &[u8]| fixed::<1>(bytes, sql_type).map(|[byte]| byte != 0);
            Arc::new(decode_all(values, decode).collect::<Result<BooleanArray>>()?)
        }
        SqlType::Int2 => primitive::<Int16Type, 2>(sql_type, values, |bytes| Some(i16::from_be_bytes(bytes)))?,
        SqlType::Int4 => primitive::<Int32Type, 4>(sql_type, values, |bytes| Some(i32::from_be_bytes(bytes)))?,
        SqlType::Int8 => primitive::<Int64Type, 8>(sql_type, values, |bytes| Some(i64::from_be_bytes(bytes)))?,
        SqlType::Oid => primitive::<Int64Type, 4>(sql_type, values, |bytes| Some(i64::from(u32::from_be_bytes(bytes))))?,
        SqlType::Float4 => primitive::<Float32Type, 4>(sql_type, values, |bytes| Some(f32::from_be_bytes(bytes)))?,
        SqlType::Float8 => primitive::<Float64Type, 8>(sql_type, values, |bytes| Some(f64::from_be_bytes(bytes)))?,
        SqlType::Date => {
            finite(sql_type, values, [i32::MIN.to_be_bytes(), i32::MAX.to_be_bytes()])?;
            let days = primitive::<Date32Type, 4>(sql_type, values, |bytes| i32::from_be_bytes(bytes).checked_add(EPOCH_DAYS))?;
            days.as_primitive::<Date32Type>().iter().flatten().try_for_each(|days| day_in_range(days.into()).map(drop))?;
            days
        }
        SqlType::Time => primitive::<Time64MicrosecondType, 8>(sql_type, values, |bytes| {
            Some(i64::from_be_bytes(bytes)).filter(|micros| (0..86_400_000_000).contains(micros))
        })?,
        SqlType::Timestamp => timestamps(sql_type, values)?,
        SqlType::Timestamptz => arrow::compute::cast(&timestamps(sql_type, values)?, &SqlType::Timestamptz.arrow())?,
        SqlType::Interval => primitive::<IntervalMonthDayNanoType, 16>(sql_type, values, |bytes| {
            let [micros, rest] = [&bytes[..8], &bytes[8..]].map(|half| i64::from_be_bytes(half.try_into().expect("eight bytes")));
            Some(IntervalMonthDayNano::new(rest as i32, (rest >> 32) as i32, micros.checked_mul(1_000)?))
        })?,
        SqlType::Numeric(..) => {
            let decode = |bytes: &[u8]| numeric_text(bytes).ok_or_else(|| malformed(sql_type));
            parse_texts(sql_type, decode_all(values, decode))?
        }
        SqlType::Uuid => {
            let decode = |bytes: &[u8]| fixed::<16>(bytes, sql_type).map(|bytes| Uuid::from_bytes(bytes).to_string());
            Arc::new(decode_all(values, decode).collect::<Result<StringArray>>()?)
        }
        SqlType::Text | SqlType::Name | SqlType::CatalogChar => Arc::new(decode_all(values, text).collect::<Result<StringArray>>()?),
        SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Json => parse_texts(sql_type, decode_all(values, text))?,
        SqlType::Jsonb => {
            let decode = |bytes| match <[u8]>::split_first(bytes) {
                Some((&JSONB_VERSION, rest)) => text(rest),
                _ => Err(malformed(sql_type)),
            };
            parse_texts(sql_type, decode_all(values, decode))?
        }
        SqlType::Bytea => Arc::new(values.iter().copied().collect::<BinaryArray>()),
        SqlType::Rounded(whole, digits) => round_column(&binary_column(whole, values)?, *digits)?,
        SqlType::Array(_) => arrays(sql_type, values)?,
        SqlType::Struct(fields) => records(sql_type, fields, values)?,
    })
}

/// `22P03`: the bytes are not a value of the type.
fn malformed(sql_type: &SqlType) -> Error {
    Error::new(Kind::InvalidBinary, format!("incorrect binary data format for type {sql_type}"))
}

fn fixed<const N: usize>(bytes: &[u8], sql_type: &SqlType) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| malformed(sql_type))
}

/// Decodes what is there and leaves NULL as it is.
fn decode_all<'a, T>(
    values: &'a [Option<&'a [u8]>],
    decode: impl Fn(&'a [u8]) -> Result<T> + 'a,
) -> impl Iterator<Item = Result<Option<T>>> {
    values.iter().map(move |value| value.map(&decode).transpose())
}

fn primitive<T: ArrowPrimitiveType, const N: usize>(
    sql_type: &SqlType,
    values: &[Option<&[u8]>],
    decode: impl Fn([u8; N]) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let decode = |bytes: &[u8]| decode(fixed(bytes, sql_type)?).ok_or_else(|| malformed(sql_type));
    let values = values.iter().map(|value| value.map(decode).transpose()).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(values.into_iter().collect::<PrimitiveArray<T>>()))
}

fn timestamps(sql_type: &SqlType, values: &[Option<&[u8]>]) -> Result<ArrayRef> {
    finite(sql_type, values, [i64::MIN.to_be_bytes(), i64::MAX.to_be_bytes()])?;
    let moments = primitive::<TimestampMicrosecondType, 8>(sql_type, values, |bytes| i64::from_be_bytes(bytes).checked_add(EPOCH_US))?;
    moments.as_primitive::<TimestampMicrosecondType>().iter().flatten().try_for_each(|moment| moment_in_range(moment).map(drop))?;
    Ok(moments)
}

/// Refuses the infinite moments, which are the least and the greatest number, as their text forms are.
fn finite<const N: usize>(sql_type: &SqlType, values: &[Option<&[u8]>], infinite: [[u8; N]; 2]) -> Result<()> {
    let found = values.iter().flatten().find_map(|value| infinite.iter().position(|infinity| value == infinity));
    match found {
        Some(0) => Err(no_infinity(&sql_type.to_string(), "-infinity")),
        Some(_) => Err(no_infinity(&sql_type.to_string(), "infinity")),
        None => Ok(()),
    }
}

/// For types whose text form says it all, and whose rules (lengths, scales, valid JSON) live with the text forms.
fn parse_texts<T: AsRef<str>>(sql_type: &SqlType, texts: impl Iterator<Item = Result<Option<T>>>) -> Result<ArrayRef> {
    let texts = texts.collect::<Result<Vec<_>>>()?;
    parse_column(sql_type, texts.iter().map(|text| text.as_ref().map(AsRef::as_ref)))
}

/// Arrays: dimensions become lists of lists, as deep as the type says.
fn arrays(sql_type: &SqlType, values: &[Option<&[u8]>]) -> Result<ArrayRef> {
    let (mut depth, mut leaf) = (0, sql_type);
    while let SqlType::Array(element) = leaf {
        (depth, leaf) = (depth + 1, &**element);
    }
    let mut lengths = vec![Vec::new(); depth];
    let mut elements = Vec::new();
    for value in values {
        match value {
            None => lengths[0].push(0),
            Some(bytes) => read_array(bytes, leaf, &mut lengths, &mut elements).ok_or_else(|| malformed(sql_type))?,
        }
    }
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let mut array = binary_column(leaf, &elements)?;
    let mut element = leaf.clone();
    for (level, lengths) in lengths.into_iter().enumerate().rev() {
        let nulls = (level == 0 && nulls.null_count() > 0).then(|| nulls.clone());
        array = Arc::new(ListArray::try_new(Arc::new(element.field("item", true)), OffsetBuffer::from_lengths(lengths), array, nulls)?);
        element = SqlType::Array(Box::new(element));
    }
    Ok(array)
}

/// Reads one array's header into `lengths`, one vector per level, and its elements; `None` if it is none of this type.
fn read_array<'a>(bytes: &'a [u8], leaf: &SqlType, lengths: &mut [Vec<usize>], elements: &mut Vec<Option<&'a [u8]>>) -> Option<()> {
    let mut bytes = Bytes::new(bytes);
    let dimensions = usize::try_from(bytes.i32()?).ok()?;
    bytes.i32()?;
    if bytes.i32()? as u32 != oid_of(leaf) || (dimensions != 0 && dimensions != lengths.len()) {
        return None;
    }
    if dimensions == 0 {
        lengths[0].push(0);
        return bytes.is_empty().then_some(());
    }
    let mut count = 1_usize;
    for level in lengths {
        let length = usize::try_from(bytes.i32()?).ok()?;
        bytes.i32()?;
        // Every element takes four bytes at least: a header alone cannot ask for much memory.
        if count.checked_mul(length)? > bytes.remaining() / 4 {
            return None;
        }
        level.extend(std::iter::repeat_n(length, count));
        count *= length;
    }
    for _ in 0..count {
        elements.push(bytes.value()?);
    }
    bytes.is_empty().then_some(())
}

/// Records: each field with its type's number and its value.
fn records(sql_type: &SqlType, fields: &[(String, SqlType)], values: &[Option<&[u8]>]) -> Result<ArrayRef> {
    let mut columns = vec![Vec::with_capacity(values.len()); fields.len()];
    for value in values {
        match value {
            None => columns.iter_mut().for_each(|column| column.push(None)),
            Some(bytes) => read_record(bytes, fields, &mut columns).ok_or_else(|| malformed(sql_type))?,
        }
    }
    let arrays = columns.iter().zip(fields).map(|(column, (_, field))| binary_column(field, column)).collect::<Result<Vec<_>>>()?;
    let arrow_fields = fields.iter().map(|(name, field)| field.field(name, true)).collect::<Fields>();
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let array = StructArray::try_new_with_length(arrow_fields, arrays, (nulls.null_count() > 0).then_some(nulls), values.len())?;
    Ok(Arc::new(array))
}

fn read_record<'a>(bytes: &'a [u8], fields: &[(String, SqlType)], columns: &mut [Vec<Option<&'a [u8]>>]) -> Option<()> {
    let mut bytes = Bytes::new(bytes);
    if usize::try_from(bytes.i32()?).ok()? != fields.len() {
        return None;
    }
    for ((_, field), column) in fields.iter().zip(columns) {
        if bytes.i32()? as u32 != oid_of(field) {
            return None;
        }
        column.push(bytes.value()?);
    }
    bytes.is_empty().then_some(())
}
