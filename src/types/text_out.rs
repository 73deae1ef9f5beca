//! Values as PostgreSQL prints them: what clients, COPY, dead letters and tests read.
//!
//! In: an Arrow array with its SQL type. Out: text appended to a `String`, never for a NULL.
//! The form is chosen once per column (`TextColumn`), not once per value.

use arrow::array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray, make_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use std::fmt::Write;

use super::interval_text::{IntervalStyle, push_interval};
use crate::error::{Error, Result};
use crate::types::{NUMERIC_DEFAULT, SqlType};

/// The settings of a session that change how values look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// `TimeZone`: in which `timestamptz` is shown.
    pub time_zone: Tz,
    /// `extra_float_digits`: above 0, floats print as the shortest text that reads back as the same value; otherwise this many digits
    /// are left out of the 15 (`double precision`) or 6 (`real`) that are always exact.
    pub extra_float_digits: i32,
    /// `IntervalStyle`.
    pub interval_style: IntervalStyle,
}

impl Default for TextStyle {
    /// UTC, shortest floats and intervals in the style `postgres`, as a fresh PostgreSQL session.
    fn default() -> Self {
        TextStyle { time_zone: Tz::UTC, extra_float_digits: 1, interval_style: IntervalStyle::Postgres }
    }
}

/// A column, ready to be printed value by value.
pub struct TextColumn<'a> {
    array: &'a dyn Array,
    form: Form<'a>,
}

/// How the values of a column are printed.
enum Form<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a PrimitiveArray<Int16Type>),
    Int4(&'a PrimitiveArray<Int32Type>),
    Int8(&'a PrimitiveArray<Int64Type>),
    Float4(&'a PrimitiveArray<Float32Type>),
    Float8(&'a PrimitiveArray<Float64Type>),
    Numeric(&'a PrimitiveArray<Decimal128Type>, Scale),
    WideNumeric(&'a PrimitiveArray<Decimal256Type>, Scale),
    Text(&'a StringArray),
    /// Filled up with blanks to so many characters.
    Padded(&'a StringArray, usize),
    Bytea(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Timestamptz(&'a PrimitiveArray<TimestampMicrosecondType>),
    Interval(&'a PrimitiveArray<IntervalMonthDayNanoType>),
    List(&'a ListArray, Box<TextColumn<'a>>),
    Struct(Vec<TextColumn<'a>>),
}

/// Digits after the point, and whether zeros at their end are left out (`numeric` without a declared scale).
#[derive(Clone, Copy)]
struct Scale {
    digits: i8,
    trim: bool,
}

/// Whether an array of `data_type` is carried exactly as `SqlType::arrow` says (names and metadata aside).
fn carries(data_type: &DataType, sql_type: &SqlType) -> bool {
    match (sql_type, data_type) {
        (SqlType::Rounded(whole, _), _) => carries(data_type, whole),
        (SqlType::Numeric(_, scale), DataType::Decimal128(_, actual) | DataType::Decimal256(_, actual)) => scale == actual,
        (SqlType::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, None)) => true,
        (SqlType::Timestamptz, DataType::Timestamp(TimeUnit::Microsecond, Some(_))) => true,
        (SqlType::Interval, DataType::Interval(IntervalUnit::MonthDayNano)) => true,
        (SqlType::Array(element), DataType::List(field)) => carries(field.data_type(), element),
        (SqlType::Struct(fields), DataType::Struct(actual)) => {
            fields.len() == actual.len() && fields.iter().zip(actual).all(|((_, field), actual)| carries(actual.data_type(), field))
        }
        (SqlType::Numeric(..) | SqlType::Timestamp | SqlType::Timestamptz, _) => false,
        (SqlType::Interval | SqlType::Array(_) | SqlType::Struct(_), _) => false,
        (simple, actual) => simple.arrow() == *actual,
    }
}

/// The array in the form that `SqlType::arrow` says: itself in the usual case, else a cast copy (a dictionary, a view, other time units).
pub fn canonical(array: &ArrayRef, sql_type: &SqlType) -> Result<ArrayRef> {
    if carries(array.data_type(), sql_type) { Ok(ArrayRef::clone(array)) } else { Ok(cast(array, &sql_type.arrow())?) }
}

/// Appends one value to `out`; a NULL appends nothing. Any array that casts to the type will do. For many values use `TextColumn`.
pub fn format_value(array: &dyn Array, row: usize, sql_type: &SqlType, style: &TextStyle, out: &mut String) -> Result<()> {
    if carries(array.data_type(), sql_type) {
        TextColumn::new(array, sql_type)?.write(row, style, out);
    } else {
        let one = canonical(&make_array(array.slice(row, 1).to_data()), sql_type)?;
        TextColumn::new(&*one, sql_type)?.write(0, style, out);
    }
    Ok(())
}

impl<'a> TextColumn<'a> {
    /// Chooses the form. The array must be `canonical` for the type: anything else is an internal error.
    pub fn new(array: &'a dyn Array, sql_type: &SqlType) -> Result<Self> {
        if !carries(array.data_type(), sql_type) {
            return Err(Error::internal(format!("an array of {} cannot be printed as {sql_type}", array.data_type())));
        }
        Ok(TextColumn { array, form: form_of(array, sql_type)? })
    }

    /// Whether the value is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Appends one value; a NULL appends nothing.
    pub fn write(&self, row: usize, style: &TextStyle, out: &mut String) {
        if self.array.is_null(row) {
            return;
        }
        match &self.form {
            Form::Bool(values) => out.push(if values.value(row) { 't' } else { 'f' }),
            Form::Int2(values) => push_integer(out, i64::from(values.value(row))),
            Form::Int4(values) => push_integer(out, i64::from(values.value(row))),
            Form::Int8(values) => push_integer(out, values.value(row)),
            Form::Float4(values) => push_float4(out, values.value(row), style.extra_float_digits),
            Form::Float8(values) => push_float8(out, values.value(row), style.extra_float_digits),
            Form::Numeric(values, scale) => {
                let value = values.value(row);
                push_decimal(out, value < 0, &value.unsigned_abs().to_string(), *scale);
            }
            Form::WideNumeric(values, scale) => {
                let digits = values.value(row).to_string();
                push_decimal(out, digits.starts_with('-'), digits.trim_start_matches('-'), *scale);
            }
            Form::Text(values) => out.push_str(values.value(row)),
            Form::Padded(values, length) => push_filled(out, values.value(row), *length),
            Form::Bytea(values) => push_bytea(out, values.value(row)),
            Form::Date(values) => push_date(out, values.value(row)),
            Form::Time(values) => push_time(out, values.value(row)),
            Form::Timestamp(values) => push_timestamp(out, values.value(row), None),
            Form::Timestamptz(values) => push_timestamp(out, values.value(row), Some(style.time_zone)),
            Form::Interval(values) => {
                let value = values.value(row);
                push_interval(out, value.months, value.days, value.nanoseconds, style.interval_style);
            }
            Form::List(lists, element) => push_list(out, lists, element, row, style),
            Form::Struct(fields) => push_record(out, fields, row, style),
        }
    }
}

fn form_of<'a>(array: &'a dyn Array, sql_type: &SqlType) -> Result<Form<'a>> {
    Ok(match sql_type {
        SqlType::Bool => Form::Bool(array.as_boolean()),
        SqlType::Int2 => Form::Int2(array.as_primitive()),
        SqlType::Int4 => Form::Int4(array.as_primitive()),
        SqlType::Int8 | SqlType::Oid => Form::Int8(array.as_primitive()),
        SqlType::Float4 => Form::Float4(array.as_primitive()),
        SqlType::Float8 => Form::Float8(array.as_primitive()),
        SqlType::Numeric(precision, digits) => {
            let scale = Scale { digits: *digits, trim: (*precision, *digits) == NUMERIC_DEFAULT };
            match array.data_type() {
                DataType::Decimal128(..) => Form::Numeric(array.as_primitive(), scale),
                _ => Form::WideNumeric(array.as_primitive(), scale),
            }
        }
        SqlType::Text | SqlType::Varchar(_) | SqlType::Uuid | SqlType::Jsonb | SqlType::Json | SqlType::Name | SqlType::CatalogChar => {
            Form::Text(array.as_string())
        }
        SqlType::Char(length) => Form::Padded(array.as_string(), *length as usize),
        SqlType::Bytea => Form::Bytea(array.as_binary()),
        SqlType::Date => Form::Date(array.as_primitive()),
        SqlType::Time => Form::Time(array.as_primitive()),
        SqlType::Timestamp => Form::Timestamp(array.as_primitive()),
        SqlType::Timestamptz => Form::Timestamptz(array.as_primitive()),
        SqlType::Interval => Form::Interval(array.as_primitive()),
        SqlType::Rounded(whole, _) => form_of(array, whole)?,
        SqlType::Array(element) => {
            let lists = array.as_list::<i32>();
            Form::List(lists, Box::new(TextColumn::new(&**lists.values(), element)?))
        }
        SqlType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().zip(fields);
            Form::Struct(columns.map(|(column, (_, field))| TextColumn::new(&**column, field)).collect::<Result<_>>()?)
        }
    })
}

/// Appends a text and the blanks that it lacks.
fn push_filled(out: &mut String, text: &str, length: usize) {
    out.push_str(text);
    out.extend(std::iter::repeat_n(' ', length.saturating_sub(text.chars().count())));
}

/// Appends an integer; without the formatting machinery, since most values of most results are integers.
pub(super) fn push_integer(out: &mut String, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push('-');
    }
    out.push_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

/// Appends an integer that is not negative with zeros in front, at least `width` digits.
pub(super) fn push_padded(out: &mut String, value: i64, width: u32) {
    for digits in (1..width).rev() {
        if value >= 10_i64.pow(digits) {
            break;
        }
        out.push('0');
    }
    push_integer(out, value);
}

/// `double precision`: fixed between 1e-4 and 1e15, as PostgreSQL's `float8out` does.
fn push_float8(out: &mut String, value: f64, extra_digits: i32) {
    if push_special_float(out, value) {
    } else if extra_digits <= 0 {
        push_general(out, value, (15 + extra_digits).max(1));
    } else if value == 0.0 || (1e-4..1e15).contains(&value.abs()) {
        // Rust prints the shortest digits that read back as the same value, never with an exponent.
        write!(out, "{value}").expect("a String takes all text");
    } else {
        push_exponent(out, &format!("{value:e}"));
    }
}

/// `real`: fixed between 1e-4 and 1e6, as PostgreSQL's `float4out` does.
fn push_float4(out: &mut String, value: f32, extra_digits: i32) {
    if push_special_float(out, f64::from(value)) {
    } else if extra_digits <= 0 {
        push_general(out, f64::from(value), (6 + extra_digits).max(1));
    } else if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        write!(out, "{value}").expect("a String takes all text");
    } else {
        push_exponent(out, &format!("{value:e}"));
    }
}

fn push_special_float(out: &mut String, value: f64) -> bool {
    let text = match value {
        _ if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => return false,
    };
    out.push_str(text);
    true
}

/// `1.5e20` as Rust writes it → `1.5e+20`: a sign always, and two digits at least.
fn push_exponent(out: &mut String, text: &str) {
    let (mantissa, exponent) = text.split_once('e').expect("written with an exponent");
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    out.push_str(mantissa);
    out.push('e');
    out.push(sign);
    if digits.len() < 2 {
        out.push('0');
    }
    out.push_str(digits);
}

/// `%.{precision}g` of C.
fn push_general(out: &mut String, value: f64, precision: i32) {
    let text = format!("{:.*e}", precision as usize - 1, value);
    let (mantissa, exponent) = text.split_once('e').expect("written with an exponent");
    let exponent = exponent.parse::<i32>().expect("an exponent is an integer");
    let trim = |text: &str| if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() };
    if exponent < -4 || exponent >= precision {
        push_exponent(out, &format!("{}e{exponent}", trim(mantissa)));
    } else {
        out.push_str(&trim(&format!("{:.*}", (precision - 1 - exponent).max(0) as usize, value)));
    }
}

/// Puts the point into the digits of an unscaled decimal.
fn push_decimal(out: &mut String, negative: bool, digits: &str, scale: Scale) {
    let is_zero = digits == "0";
    if negative && !is_zero {
        out.push('-');
    }
    let Ok(places) = usize::try_from(scale.digits) else {
        out.push_str(digits);
        if !is_zero {
            out.extend(std::iter::repeat_n('0', usize::from(scale.digits.unsigned_abs())));
        }
        return;
    };
    let whole = digits.len().saturating_sub(places);
    out.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    let fraction = &digits[whole..];
    let shown = if scale.trim { fraction.trim_end_matches('0') } else { fraction };
    if places == 0 || (scale.trim && shown.is_empty()) {
        return;
    }
    out.push('.');
    out.extend(std::iter::repeat_n('0', places - fraction.len()));
    out.push_str(shown);
}

fn push_bytea(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + 2 * bytes.len());
    out.push_str("\\x");
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Year, month and day of a day counted from 1970-01-01, for any year (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends `2015-07-15` and tells whether the year is before Christ, where ` BC` belongs at the very end.
fn push_civil(out: &mut String, days: i64) -> bool {
    let (year, month, day) = civil(days);
    let before_christ = year <= 0;
    push_padded(out, if before_christ { 1 - year } else { year }, 4);
    out.push('-');
    push_padded(out, month, 2);
    out.push('-');
    push_padded(out, day, 2);
    before_christ
}

fn push_date(out: &mut String, days: i32) {
    match days {
        i32::MAX => out.push_str("infinity"),
        i32::MIN => out.push_str("-infinity"),
        _ => {
            if push_civil(out, i64::from(days)) {
                out.push_str(" BC");
            }
        }
    }
}

/// Microseconds per day.
const DAY_US: i64 = 86_400_000_000;

/// Appends `02:03:04.5` for microseconds since midnight; the fraction without zeros at its end.
pub(super) fn push_time(out: &mut String, micros: i64) {
    let seconds = micros / 1_000_000;
    push_padded(out, seconds / 3_600, 2);
    out.push(':');
    push_padded(out, seconds / 60 % 60, 2);
    out.push(':');
    push_padded(out, seconds % 60, 2);
    push_fraction(out, micros % 1_000_000);
}

pub(super) fn push_fraction(out: &mut String, micros: i64) {
    if micros == 0 {
        return;
    }
    out.push('.');
    push_padded(out, micros, 6);
    out.truncate(out.trim_end_matches('0').len());
}

/// A timestamp, in a zone if one is given.
fn push_timestamp(out: &mut String, micros: i64, zone: Option<Tz>) {
    match micros {
        i64::MAX => return out.push_str("infinity"),
        i64::MIN => return out.push_str("-infinity"),
        _ => {}
    }
    let offset = zone.map(|zone| offset_seconds(micros, zone));
    let local = micros.saturating_add(i64::from(offset.unwrap_or(0)) * 1_000_000);
    let before_christ = push_civil(out, local.div_euclid(DAY_US));
    out.push(' ');
    push_time(out, local.rem_euclid(DAY_US));
    if let Some(offset) = offset {
        push_offset(out, offset);
    }
    if before_christ {
        out.push_str(" BC");
    }
}

/// How far the zone is ahead of UTC at an instant. Years that the zone database does not reach count as UTC.
fn offset_seconds(micros: i64, zone: Tz) -> i32 {
    if zone == Tz::UTC {
        return 0;
    }
    DateTime::from_timestamp_micros(micros).map_or(0, |instant| zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc())
}

/// `+00`, `-03:30`, `+00:53:28`.
fn push_offset(out: &mut String, offset: i32) {
    out.push(if offset < 0 { '-' } else { '+' });
    let seconds = i64::from(offset.unsigned_abs());
    push_padded(out, seconds / 3_600, 2);
    if seconds % 3_600 != 0 {
        out.push(':');
        push_padded(out, seconds / 60 % 60, 2);
    }
    if seconds % 60 != 0 {
        out.push(':');
        push_padded(out, seconds % 60, 2);
    }
}

/// `{1,NULL,"a b"}`, nested lists within further braces.
fn push_list(out: &mut String, lists: &ListArray, element: &TextColumn<'_>, row: usize, style: &TextStyle) {
    let offsets = lists.value_offsets();
    let nested = matches!(element.form, Form::List(..));
    let plain = is_plain(&element.form);
    out.push('{');
    for (index, item) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
        if index > 0 {
            out.push(',');
        }
        if element.is_null(item) {
            out.push_str("NULL");
            continue;
        }
        let start = out.len();
        element.write(item, style, out);
        if !nested && !plain {
            quote_element(out, start);
        }
    }
    out.push('}');
}

/// Whether the text of such values can never need quotes.
fn is_plain(form: &Form<'_>) -> bool {
    matches!(
        form,
        Form::Bool(_)
            | Form::Int2(_)
            | Form::Int4(_)
            | Form::Int8(_)
            | Form::Float4(_)
            | Form::Float8(_)
            | Form::Numeric(..)
            | Form::WideNumeric(..)
            | Form::Time(_)
    )
}

/// What PostgreSQL takes for blanks in array and record texts.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Puts quotes around the element that starts at `start`, where it needs them.
fn quote_element(out: &mut String, start: usize) {
    let text = &out[start..];
    let special = |byte: u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || is_blank(byte);
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.bytes().any(special) {
        return;
    }
    let text = out.split_off(start);
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// `(1,,"a b")`.
fn push_record(out: &mut String, fields: &[TextColumn<'_>], row: usize, style: &TextStyle) {
    out.push('(');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if field.is_null(row) {
            continue;
        }
        let start = out.len();
        field.write(row, style, out);
        if !is_plain(&field.form) {
            quote_field(out, start);
        }
    }
    out.push(')');
}

/// Puts quotes around the record field that starts at `start`, where it needs them; quotes and backslashes within are doubled.
fn quote_field(out: &mut String, start: usize) {
    let special = |byte: u8| matches!(byte, b'"' | b'\\' | b'(' | b')' | b',') || is_blank(byte);
    if out.len() > start && !out[start..].bytes().any(special) {
        return;
    }
    let text = out.split_off(start);
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push(character);
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int32Array, IntervalMonthDayNanoArray, ListArray, StringArray,
        StructArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Int32Type, IntervalMonthDayNano};

    use super::{TextStyle, format_value, push_date};
    use crate::types::{NUMERIC_DEFAULT, SqlType};

    fn text(array: &dyn Array, row: usize, sql_type: &SqlType) -> String {
        text_in_zone(array, row, sql_type, chrono_tz::Tz::UTC)
    }

    fn text_in_zone(array: &dyn Array, row: usize, sql_type: &SqlType, time_zone: chrono_tz::Tz) -> String {
        let mut out = String::new();
        format_value(array, row, sql_type, &TextStyle { time_zone, ..TextStyle::default() }, &mut out).unwrap();
        out
    }

    #[test]
    fn floats_print_the_shortest_text() {
        let cases = [
            (0.1, "0.1"),
            (1e20, "1e+20"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1e+15"),
            (1e14, "100000000000000"),
            (0.0001, "0.0001"),
            (-0.0, "-0"),
            (2.0, "2"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(&Float64Array::from(vec![value]), 0, &SqlType::Float8), expected);
        }
        assert_eq!(text(&Float32Array::from(vec![1e6_f32]), 0, &SqlType::Float4), "1e+06");
        assert_eq!(text(&Float32Array::from(vec![0.1_f32]), 0, &SqlType::Float4), "0.1");
        let mut out = String::new();
        let style = TextStyle { extra_float_digits: 0, ..TextStyle::default() };
        format_value(&Float64Array::from(vec![0.1 + 0.2]), 0, &SqlType::Float8, &style, &mut out).unwrap();
        assert_eq!(out, "0.3");
    }

    #[test]
    fn a_numeric_without_scale_has_no_zeros_at_its_end() {
        let decimal =
            |value: i128, precision, scale| Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap();
        let (precision, scale) = NUMERIC_DEFAULT;
        let unconstrained = SqlType::Numeric(precision, scale);
        assert_eq!(text(&decimal(15_000_000_000, precision, scale), 0, &unconstrained), "1.5");
        assert_eq!(text(&decimal(-20_000_000_000, precision, scale), 0, &unconstrained), "-2");
        assert_eq!(text(&decimal(0, precision, scale), 0, &unconstrained), "0");
        assert_eq!(text(&decimal(5, 12, 2), 0, &SqlType::Numeric(12, 2)), "0.05");
        assert_eq!(text(&decimal(-1250, 12, 2), 0, &SqlType::Numeric(12, 2)), "-12.50");
        assert_eq!(text(&decimal(0, 12, 2), 0, &SqlType::Numeric(12, 2)), "0.00");
        assert_eq!(text(&decimal(7, 5, -2), 0, &SqlType::Numeric(5, -2)), "700");
    }

    #[test]
    fn timestamps_show_the_zone_of_the_session() {
        let instant = TimestampMicrosecondArray::from(vec![1_436_918_400_123_000]).with_timezone("UTC");
        assert_eq!(text(&instant, 0, &SqlType::Timestamptz), "2015-07-15 00:00:00.123+00");
        assert_eq!(text_in_zone(&instant, 0, &SqlType::Timestamptz, chrono_tz::Asia::Kolkata), "2015-07-15 05:30:00.123+05:30");
        assert_eq!(text_in_zone(&instant, 0, &SqlType::Timestamptz, chrono_tz::America::New_York), "2015-07-14 20:00:00.123-04");
        let local = TimestampMicrosecondArray::from(vec![-62_135_596_800_000_001]);
        assert_eq!(text(&local, 0, &SqlType::Timestamp), "0001-12-31 23:59:59.999999 BC");
    }

    #[test]
    fn dates_reach_beyond_four_digits_and_before_christ() {
        let date = |days| {
            let mut out = String::new();
            push_date(&mut out, days);
            out
        };
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(-719_163), "0001-12-31 BC");
        assert_eq!(date(2_932_897), "10000-01-01");
        assert_eq!(date(i32::MAX), "infinity");
    }

    #[test]
    fn intervals_carry_their_signs() {
        let cases = [
            ((14, 3, 14_706_789_000_000), "1 year 2 mons 3 days 04:05:06.789"),
            ((0, 1, 7_384_000_000_000), "1 day 02:03:04"),
            ((0, 0, 0), "00:00:00"),
            ((-1, 1, 0), "-1 mons +1 day"),
            ((0, -1, 3_600_000_000_000), "-1 days +01:00:00"),
            ((0, 0, -3_600_000_000_000), "-01:00:00"),
            ((1, 0, 0), "1 mon"),
        ];
        for ((months, days, nanos), expected) in cases {
            let array = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(months, days, nanos)]);
            assert_eq!(text(&array, 0, &SqlType::Interval), expected);
        }
    }

    #[test]
    fn arrays_and_records_quote_what_needs_it() {
        let field = Arc::new(SqlType::Text.field("item", true));
        let words = StringArray::from(vec![Some("a"), None, Some("b c"), Some(""), Some("null"), Some("q\"\\")]);
        let list = ListArray::new(field, arrow::buffer::OffsetBuffer::from_lengths([6]), Arc::new(words), None);
        let list_type = SqlType::Array(Box::new(SqlType::Text));
        assert_eq!(text(&list, 0, &list_type), r#"{a,NULL,"b c","","null","q\"\\"}"#);

        let row_type = SqlType::Struct(vec![("a".into(), SqlType::Int4), ("b".into(), SqlType::Text), ("c".into(), SqlType::Text)]);
        let fields = vec![
            (Arc::new(SqlType::Int4.field("a", true)), Arc::new(Int32Array::from(vec![1])) as _),
            (Arc::new(SqlType::Text.field("b", true)), Arc::new(StringArray::from(vec![None::<&str>])) as _),
            (Arc::new(SqlType::Text.field("c", true)), Arc::new(StringArray::from(vec!["x,\"y\""])) as _),
        ];
        assert_eq!(text(&StructArray::from(fields), 0, &row_type), r#"(1,,"x,""y""")"#);
    }

    #[test]
    fn other_arrow_forms_of_a_type_print_the_same() {
        let words: DictionaryArray<Int32Type> = vec!["x", "y"].into_iter().collect();
        assert_eq!(text(&words, 1, &SqlType::Text), "y");
    }
}
