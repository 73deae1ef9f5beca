//! Plain mistakes that DataFusion tells in words of its own: PostgreSQL's sentence and SQLSTATE for each.

use std::ops::ControlFlow;

use sqlparser::ast::{Query, Select, VisitorMut};

use super::errors::sql_types;
use crate::error::{Error, Kind};
use crate::sql::WalkMut;

/// Functions that need an OVER clause.
const WINDOW_FUNCTIONS: [&str; 11] =
    ["cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead", "nth_value", "ntile", "percent_rank", "rank", "row_number"];

/// A window function without OVER, which DataFusion does not find; or a function behind TUMBLE and its like, which nobody has written.
pub(super) fn window_function(message: &str) -> Option<Error> {
    let after = |prefix: &str| message.split_once(prefix).map(|(_, rest)| rest);
    let windows = [("tumble_start", "TUMBLE"), ("hop_starts", "HOP"), ("cumulate_ends", "CUMULATE"), ("session_start", "SESSION")];
    for (function, window) in windows {
        if let Some(rest) = after(&format!("argument types '{function}(")) {
            let types = sql_types(rest.split(")'").next().unwrap_or(rest));
            let (time, others) = types.split_once(", ").unwrap_or((types.as_str(), ""));
            let odd = others.split(", ").find(|other| !other.is_empty() && *other != "interval");
            let message = match odd.filter(|_| time.starts_with("timestamp")) {
                Some(odd) => format!("{window} wants intervals behind the time column, not a value of type {odd}"),
                None => format!("{window} wants a column of type timestamp or timestamptz, and intervals, not a column of type {time}"),
            };
            let error = Error::new(Kind::UndefinedFunction, message);
            return Some(if odd.is_some() { error.hint("Write INTERVAL '1 minute'.") } else { error });
        }
    }
    let (_, rest) = message.split_once("Invalid function '")?;
    let name = rest.split('\'').next().unwrap_or(rest);
    let message = || format!("window function {name} requires an OVER clause");
    WINDOW_FUNCTIONS.contains(&name).then(|| Error::new(Kind::WrongObjectType, message()))
}

/// The error that `message` speaks of, if it is one of them.
pub(super) fn told(message: &str) -> Option<Error> {
    place_or_name(message).or_else(|| type_or_value(message))
}

/// `42804` for a condition of type `found`.
pub(super) fn not_boolean(clause: &str, found: &str) -> Error {
    Error::new(Kind::DatatypeMismatch, format!("argument of {clause} must be type boolean, not type {found}"))
}

/// The error of a sign before what has none, from the words of a diagnostic: `- cannot be used with Utf8`.
pub(super) fn sign(message: &str) -> Option<Error> {
    let (sign, found) = message.split_once(" cannot be used with ")?;
    let error = Error::new(Kind::UndefinedFunction, format!("operator does not exist: {sign} {}", type_of(found)));
    let error = error.hint("No operator matches the given name and argument type. You might need to add an explicit type cast.");
    ["-", "+"].contains(&sign).then_some(error)
}

/// `42P10` for DISTINCT rows that are sorted by what is not selected.
pub(super) fn not_selected() -> Error {
    Error::new(Kind::InvalidColumnReference, "for SELECT DISTINCT, ORDER BY expressions must appear in select list")
}

/// The same error of HAVING, if it is one of WHERE.
pub(super) fn in_having(error: &Error) -> Option<Error> {
    error.message().strip_prefix("argument of WHERE must be type boolean, not type ").map(|found| not_boolean("HAVING", found))
}

/// The query without any HAVING, if it has one.
pub(super) fn without_having(query: &Query) -> Option<Query> {
    struct Without(bool);
    impl VisitorMut for Without {
        type Break = ();

        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            self.0 |= select.having.take().is_some();
            ControlFlow::Continue(())
        }
    }
    let (mut query, mut without) = (query.clone(), Without(false));
    let _ = query.walk_mut(&mut without);
    without.0.then_some(query)
}

/// Positions, windows, tables, functions.
fn place_or_name(message: &str) -> Option<Error> {
    let after = |prefix: &str| message.split_once(prefix).map(|(_, rest)| rest);
    let word = |rest: &str| rest.split([' ', ',', '!', '\'', '\n']).next().unwrap_or_default().to_owned();
    if let Some(rest) = after("Order by column out of bounds, specified: ") {
        return Some(Error::new(Kind::InvalidColumnReference, format!("ORDER BY position {} is not in select list", word(rest))));
    }
    if let Some(rest) = after("Cannot find column with position ") {
        return Some(Error::new(Kind::InvalidColumnReference, format!("GROUP BY position {} is not in select list", word(rest))));
    }
    if message.contains("Too many columns! The subquery should only return one column") {
        return Some(Error::new(Kind::Syntax, "subquery must return only one column"));
    }
    if let Some(name) = after("The window ").and_then(|rest| rest.strip_suffix(" is not defined!")) {
        return Some(Error::new(Kind::UndefinedObject, format!("window \"{name}\" does not exist")));
    }
    if let Some(rest) = after("Invalid qualifier ") {
        let name = word(rest);
        let error = Error::new(Kind::UndefinedTable, format!("invalid reference to FROM-clause entry for table \"{name}\""));
        return Some(error.hint("A table with an alias is known by its alias only."));
    }
    if let Some((available, named)) = after("Source table contains ").and_then(|rest| rest.split_once(" columns but only ")) {
        let message = format!("a relation has {available} columns available but {} columns specified", word(named));
        return Some(Error::new(Kind::InvalidColumnReference, message));
    }
    if message.contains("For SELECT DISTINCT, ORDER BY expressions ") {
        return Some(not_selected());
    }
    if message.contains(" to grouping function is not in grouping columns") {
        let message = "arguments to GROUPING must be grouping expressions of the associated query level";
        return Some(Error::new(Kind::Grouping, message));
    }
    message
        .contains("Aggregate function calls cannot be nested")
        .then(|| Error::new(Kind::Grouping, "aggregate function calls cannot be nested").hint("Aggregate in a subquery first."))
}

/// Arguments that are of another type than is wanted.
fn type_or_value(message: &str) -> Option<Error> {
    let after = |prefix: &str| message.split_once(prefix).map(|(_, rest)| rest);
    if let Some(rest) = after("Unary operator 'NOT' requires a boolean expression, got ") {
        return Some(not_boolean("NOT", &type_of(rest)));
    }
    if let Some(rest) = after("Join condition must be boolean type, but got ") {
        return Some(not_boolean("JOIN/ON", &type_of(rest)));
    }
    for clause in ["LIMIT", "OFFSET"] {
        if let Some(rest) = after(&format!("Expected {clause} to be an integer or null, but got ")) {
            return Some(match type_of(rest) {
                found if found == "text" => Error::new(Kind::InvalidText, format!("argument of {clause} is not a number")),
                found => Error::new(Kind::DatatypeMismatch, format!("argument of {clause} must be type bigint, not type {found}")),
            });
        }
        if message.contains(&format!("Unsupported {clause} expression")) {
            return Some(Error::not_supported(format!("{clause} must be a number or a parameter")).hint("Ask for the number first."));
        }
    }
    if let Some((from, to)) = after("Cannot automatically convert ").and_then(|rest| rest.split_once(" to ")) {
        let message = format!("no operator takes a value of type {} and one of type {}", type_of(from), type_of(to));
        let hint = "No operator matches the given argument types. You might need to add explicit type casts.";
        return Some(Error::new(Kind::UndefinedFunction, message).hint(hint));
    }
    if let Some(rest) = after("Percentile value must be between 0.0 and 1.0 inclusive, ") {
        let value = rest.split(' ').next().unwrap_or(rest);
        return Some(Error::new(Kind::NumericOutOfRange, format!("percentile value {value} is not between 0 and 1")));
    }
    if let Some(rest) = after("Cannot access field at argument 1: type ") {
        let found = type_of(rest.split(" is not ").next().unwrap_or(rest));
        return Some(match found.as_str() {
            "anyarray" => Error::new(Kind::DatatypeMismatch, "array subscript must have type integer"),
            _ => Error::new(Kind::UndefinedColumn, format!("a value of type {found} has no columns")),
        });
    }
    (message.contains("Cannot cast to Decimal") && message.contains("verflow"))
        .then(|| Error::new(Kind::NumericOutOfRange, "numeric field overflow"))
}

/// What SQL calls the type at the end of a message's first line.
fn type_of(rest: &str) -> String {
    sql_types(rest.lines().next().unwrap_or(rest).trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn mistakes_are_told_in_postgresql_s_words() {
        let told = |message: &str| told(message).map(|error| (error.kind().sqlstate(), error.message().to_owned())).unwrap();
        assert_eq!(
            told("Order by column out of bounds, specified: 9, max: 1"),
            ("42P10", "ORDER BY position 9 is not in select list".to_owned())
        );
        assert_eq!(told("The window w is not defined!"), ("42704", "window \"w\" does not exist".to_owned()));
        let not = "Unary operator 'NOT' requires a boolean expression, got Int32";
        assert_eq!(told(not), ("42804", "argument of NOT must be type boolean, not type integer".to_owned()));
    }
}
