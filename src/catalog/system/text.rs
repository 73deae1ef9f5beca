//! Functions on texts and arrays that PostgreSQL has and DataFusion lacks.

use super::functions::arg;
use super::names::quote_ident;
use super::value::Value;
use crate::error::{Error, Kind, Result};

/// A text as a SQL literal.
pub(super) fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// A number of bytes for people: PostgreSQL goes to the next unit above ten thousand of one, and rounds half up.
pub(super) fn size_pretty(bytes: i64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut size = bytes;
    let mut unit = 0;
    while unit + 1 < units.len() && size.abs() >= 10 * 1024 {
        size = (size + 512 * size.signum()) / 1024;
        unit += 1;
    }
    format!("{size} {}", units[unit])
}

/// The error of `parse_ident`.
pub(super) fn invalid_name(name: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("string is not a valid identifier: \"{name}\""))
}

/// `format(pattern, …)`: `%s` a value, `%I` an identifier, `%L` a literal, `%%` a percent sign.
pub(super) fn format(args: &[Value]) -> Result<Value> {
    let Some(pattern) = arg(args, 0).text() else { return Ok(Value::Null) };
    let mut given = args.iter().skip(1);
    let mut out = String::new();
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let kind = characters.next();
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        let value = given.next().ok_or_else(|| Error::new(Kind::InvalidParameter, "too few arguments for format()"))?.printed();
        match (kind, value) {
            (Some('s'), value) => out.push_str(&value.unwrap_or_default()),
            (Some('I'), Some(value)) => out.push_str(&quote_ident(&value)),
            (Some('I'), None) => return Err(Error::new(Kind::InvalidParameter, "null values cannot be formatted as an SQL identifier")),
            (Some('L'), value) => out.push_str(&value.map_or_else(|| "NULL".to_owned(), |value| quote_literal(&value))),
            (other, _) => {
                let shown = other.map(String::from).unwrap_or_default();
                return Err(Error::new(Kind::InvalidParameter, format!("unrecognized format() type specifier \"{shown}\"")));
            }
        }
    }
    Ok(out.into())
}

/// The first or last subscript of an array; NULL for an empty one, as in PostgreSQL.
pub(super) fn array_bound(args: &[Value], bound: fn(i64) -> i64) -> Value {
    match (arg(args, 0), arg(args, 1).int()) {
        (Value::List(items), Some(1)) if !items.is_empty() => bound(items.len() as i64).into(),
        _ => Value::Null,
    }
}

/// `key=value` texts as `key 'value'`: what `pg_options_to_table` makes of foreign tables' options, in psql.
pub(super) fn options(options: &Value) -> Value {
    let Value::List(options) = options else { return Value::List(Vec::new()) };
    let shown = options.iter().filter_map(Value::text).map(|option| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        format!("{} {}", quote_ident(name), quote_literal(value))
    });
    shown.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::{format, size_pretty};
    use crate::catalog::system::Value;

    #[test]
    fn sizes_are_those_of_postgres() {
        assert_eq!(size_pretty(8_192), "8192 bytes");
        assert_eq!(size_pretty(10_240), "10 kB");
        assert_eq!(size_pretty(123_456_789), "118 MB");
    }

    #[test]
    fn format_quotes_what_it_should() {
        let args = [Value::from("%I.%s = %L"), Value::from("My"), Value::from(3), Value::from("it's")];
        assert_eq!(format(&args).expect("enough arguments"), Value::from("\"My\".3 = 'it''s'"));
    }
}
