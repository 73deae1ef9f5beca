//! Functions on texts and arrays that PostgreSQL has and DataFusion lacks.

use super::names::quote_ident;
use super::value::Value;
use crate::error::{Error, Kind};

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
    use super::size_pretty;

    #[test]
    fn sizes_are_those_of_postgres() {
        assert_eq!(size_pretty(8_192), "8192 bytes");
        assert_eq!(size_pretty(10_240), "10 kB");
        assert_eq!(size_pretty(123_456_789), "118 MB");
    }
}
