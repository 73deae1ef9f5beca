//! `INTERVAL '1-2' YEAR TO MONTH`: an interval's text with the fields that it is made of.
//!
//! The fields say what a number without a unit counts, that `4:05` may be minutes and seconds, and what is cut off: everything smaller than the
//! last of them. (`AdjustIntervalForTypmod` in PostgreSQL's `timestamp.c`.)

use sqlparser::ast::{DateTimeField, Expr, Interval, Value, ValueWithSpan};

use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, Value as Computed, value_from_text};

/// From the largest to the smallest.
const FIELDS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];

/// The text of an interval with two fields, in words that need none; `None` if it has fewer.
pub(super) fn spelled(interval: &Interval) -> Result<Option<String>> {
    let (Some(first), Some(last)) = (&interval.leading_field, &interval.last_field) else { return Ok(None) };
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = &*interval.value else { return Ok(None) };
    let between = format!("{first} TO {last}").to_lowercase();
    // Months are never part of days.
    let fields = field(first).zip(field(last)).filter(|(first, last)| first < last && ((*first < 2) == (*last < 2)));
    let Some((first, last)) = fields else {
        return Err(
            Error::new(Kind::Syntax, format!("an interval cannot be {between}")).hint("Use YEAR TO MONTH, or fields from DAY to SECOND.")
        );
    };
    let words = in_words(text.trim(), first, last);
    let invalid = || Error::new(Kind::InvalidDatetime, format!("invalid input syntax for type interval: \"{text}\""));
    match value_from_text(&SqlType::Interval, &words).map_err(|_| invalid())? {
        Computed::Interval(value) => {
            let unit: i64 = match FIELDS[last] {
                "hour" => 3_600_000_000,
                "minute" => 60_000_000,
                _ => 1,
            };
            let micros = value.nanoseconds / 1_000 / unit * unit;
            let (days, micros) = if last == 1 { (0, 0) } else { (value.days, micros) };
            Ok(Some(format!("{} months {days} days {micros} microseconds", value.months)))
        }
        _ => Err(invalid()),
    }
}

fn field(field: &DateTimeField) -> Option<usize> {
    let name = field.to_string().to_lowercase();
    FIELDS.iter().position(|known| *known == name.trim_end_matches('s'))
}

/// The text with units where only the fields say which they are.
fn in_words(text: &str, first: usize, last: usize) -> String {
    let is_number = |part: &str| part.parse::<f64>().is_ok();
    match text.split_once(' ') {
        None if is_number(text) => format!("{text} {}", FIELDS[last]),
        Some((days, hours)) if first == 2 && is_number(days) && is_number(hours) => format!("{days} days {hours} hours"),
        // Minutes and seconds, where hours and minutes would be read.
        None if first == 4 && text.matches(':').count() == 1 => match text.strip_prefix('-') {
            Some(unsigned) => format!("-0:{unsigned}"),
            None => format!("0:{text}"),
        },
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::ast::Expr;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::spelled;

    #[test]
    fn fields_say_what_numbers_count_and_what_is_cut_off() {
        let text = |sql: &str| {
            let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
            let Expr::Interval(interval) = expr else { panic!("{sql} is no interval") };
            spelled(&interval).map(Option::unwrap).map_err(|error| error.kind().sqlstate())
        };
        assert_eq!(text("INTERVAL '1-2' YEAR TO MONTH").unwrap(), "14 months 0 days 0 microseconds");
        assert_eq!(text("INTERVAL '7' YEAR TO MONTH").unwrap(), "7 months 0 days 0 microseconds");
        assert_eq!(text("INTERVAL '3 4' DAY TO HOUR").unwrap(), "0 months 3 days 14400000000 microseconds");
        assert_eq!(text("INTERVAL '4:05' MINUTE TO SECOND").unwrap(), "0 months 0 days 245000000 microseconds");
        assert_eq!(text("INTERVAL '4:05:06' HOUR TO MINUTE").unwrap(), "0 months 0 days 14700000000 microseconds");
        assert_eq!(text("INTERVAL '5' MONTH TO SECOND"), Err("42601"));
        assert_eq!(text("INTERVAL 'soon' DAY TO SECOND"), Err("22007"));
    }
}
