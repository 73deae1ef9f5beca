//! DataFusion's errors → ours: the user reads PostgreSQL's words and SQLSTATE, never those of a library.
//!
//! In: an error and the SQL text it speaks of. Where an error carries a place in the text, it becomes a character position; where it only
//! names a thing, the first such word of the text is taken.

use arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError, Span};
use datafusion::error::DataFusionError;

use crate::catalog::nearest;
use crate::error::{Error, Kind};

use super::mismatch::choosing_error;
use super::mistakes::{not_boolean, sign, told, window_function};
use super::names::visible;
use super::outer_names::OUTSIDE;

/// `error`, in our words. `text` is the SQL that it is about; empty if there is none.
pub fn from_datafusion(error: DataFusionError, text: &str) -> Error {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            if let Some(error) = sign(&diagnostic.message) {
                return error;
            }
            let position = diagnostic.span.and_then(|span| position_of(span, text));
            let error = from_datafusion(*inner, text);
            // Of an operator it is the place of what stands before it, of a UNION that of its beginning.
            let elsewhere = error.message().starts_with("operator does not exist") || error.message().starts_with("each ");
            match position.filter(|_| !elsewhere) {
                Some(position) => error.at(position),
                None => error,
            }
        }
        DataFusionError::Context(_, inner) => from_datafusion(*inner, text),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => from_datafusion(errors.swap_remove(0), text),
        DataFusionError::Shared(inner) => from_shared(&inner, text),
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => located(*own, text),
            Err(other) => match other.downcast::<DataFusionError>() {
                Ok(inner) => from_datafusion(*inner, text),
                Err(other) => match other.downcast::<ArrowError>() {
                    Ok(inner) => from_arrow(*inner, text),
                    Err(other) => Error::internal(other.to_string()),
                },
            },
        },
        DataFusionError::SchemaError(inner, _) => from_schema(*inner, text),
        DataFusionError::ArrowError(inner, _) => from_arrow(*inner, text),
        DataFusionError::SQL(inner, _) => Error::new(Kind::Syntax, lower_first(&inner.to_string())),
        DataFusionError::NotImplemented(message) => {
            match after(&message, "Unsupported CAST from ").and_then(|rest| rest.split_once(" to ")) {
                Some((from, to)) => {
                    Error::new(Kind::CannotCoerce, format!("cannot cast type {} to {}", sql_type_name(from), sql_type_name(to.trim())))
                }
                None => told(&message).unwrap_or_else(|| Error::not_supported(format!("not supported: {}", first_line(&message)))),
            }
        }
        DataFusionError::ResourcesExhausted(message) => Error::new(Kind::OutOfMemory, "the query needs more memory than it may use")
            .detail(first_line(&message))
            .hint("Read fewer rows at once, aggregate earlier, or raise the memory limit."),
        DataFusionError::Plan(message) | DataFusionError::Execution(message) => from_message(&message, text),
        DataFusionError::Configuration(message) => Error::new(Kind::InvalidParameter, lower_first(&first_line(&message))),
        DataFusionError::IoError(cause) => Error::external("input or output failed", cause),
        DataFusionError::Internal(message) => from_known_message(&message, text).unwrap_or_else(|| Error::internal(first_line(&message))),
        other => Error::internal(other.to_string()),
    }
}

/// The error with the place of the string that is no value, or of the only cast in the text, if it speaks of one.
pub(super) fn located(error: Error, text: &str) -> Error {
    if error.position().is_some() || text.is_empty() {
        return error;
    }
    let message = error.message();
    let found = if message.starts_with("cannot cast type ") {
        let lower = text.to_ascii_lowercase();
        let mut casts = lower.match_indices("::").chain(lower.match_indices("cast("));
        casts.next().filter(|_| casts.next().is_none()).map(|(place, _)| place)
    } else {
        let string = message.split_once(": \"").and_then(|(_, string)| string.strip_suffix('"'));
        string.and_then(|string| text.find(&format!("'{}'", string.replace('\'', "''"))))
    };
    match found {
        Some(place) => error.at(text[..place].chars().count() + 1),
        None => error,
    }
}

/// An error of ours on its way through DataFusion.
pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The 1-based character position of a line and column, both counted from 1 in characters.
pub(super) fn character_position(line: u64, column: u64, text: &str) -> Option<usize> {
    if line == 0 || column == 0 || text.is_empty() {
        return None;
    }
    let line = usize::try_from(line).ok()?;
    let column = usize::try_from(column).ok()?;
    let before: usize = text.split_inclusive('\n').take(line - 1).map(|line| line.chars().count()).sum();
    let position = before + column;
    (position <= text.chars().count() + 1).then_some(position)
}

/// The error with its place, of which line and column are known; as it is, if they are not.
pub(super) fn placed(error: Error, (line, column): (u64, u64), text: &str) -> Error {
    match character_position(line, column, text) {
        Some(position) => error.at(position),
        None => error,
    }
}

/// The 1-based character position of the first occurrence of `word` as a whole word, whatever its case.
pub(super) fn word_position(word: &str, text: &str) -> Option<usize> {
    word_positions(word, text).next().map(|(position, _)| position)
}

/// The 1-based character positions of `word` as a whole word, whatever its case, and whether a dot stands before it.
fn word_positions(word: &str, text: &str) -> impl Iterator<Item = (usize, bool)> {
    let (text, word): (Vec<char>, Vec<char>) = (text.to_lowercase().chars().collect(), word.to_lowercase().chars().collect());
    let part_of_word = |character: Option<&char>| character.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let ends = if word.is_empty() { 0 } else { (text.len() + 1).saturating_sub(word.len()) };
    (0..ends).filter_map(move |at| {
        let whole = text[at..].starts_with(&word)
            && !part_of_word(at.checked_sub(1).and_then(|before| text.get(before)))
            && !part_of_word(text.get(at + word.len()));
        whole.then(|| (at + 1, at > 0 && text[at - 1] == '.'))
    })
}

fn position_of(span: Span, text: &str) -> Option<usize> {
    character_position(span.start.line, span.start.column, text)
}

/// An error that others hold as well: its parts cannot be taken, so it is told from its text.
fn from_shared(error: &DataFusionError, text: &str) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => own.clone(),
            None => from_message(&inner.to_string(), text),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_shared(inner, text),
        DataFusionError::Shared(inner) => from_shared(inner, text),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::DivideByZero => Error::new(Kind::DivisionByZero, "division by zero"),
            ArrowError::ArithmeticOverflow(_) => Error::new(Kind::NumericOutOfRange, "value out of range"),
            other => from_message(&other.to_string(), text),
        },
        DataFusionError::ResourcesExhausted(message) => from_datafusion(DataFusionError::ResourcesExhausted(message.clone()), text),
        DataFusionError::Plan(message) | DataFusionError::Execution(message) => from_message(message, text),
        other => from_known_message(&other.to_string(), text).unwrap_or_else(|| Error::internal(other.to_string())),
    }
}

fn from_schema(error: SchemaError, text: &str) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => undefined_column(&field, &valid_fields, text),
        SchemaError::AmbiguousReference { field } => {
            let name = visible(&field.name).to_owned();
            at_column(Error::new(Kind::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous")), &field, text)
                .hint(format!("Write the table's name before it, as in t.{name}."))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(Kind::DuplicateColumn, format!("column \"{}\" specified more than once", visible(&name)))
                .hint("Give one of them another name with AS.")
        }
    }
}

fn undefined_column(field: &Column, valid: &[Column], text: &str) -> Error {
    let outside = field.relation.as_ref().is_some_and(|relation| relation.schema() == Some(OUTSIDE));
    if let Some(relation) = &field.relation
        && !outside
        && !valid.is_empty()
        && !valid.iter().any(|column| column.relation.as_ref().is_some_and(|other| other.table() == relation.table()))
    {
        let error = Error::new(Kind::UndefinedTable, format!("missing FROM-clause entry for table \"{}\"", relation.table()));
        return at_column(error, field, text);
    }
    let name = match &field.relation {
        Some(relation) => format!("{}.{}", relation.table(), field.name),
        None => field.name.clone(),
    };
    let error = Error::new(Kind::UndefinedColumn, format!("column \"{name}\" does not exist"));
    let error = match nearest(&field.name, valid.iter().map(|column| visible(&column.name))) {
        Some(near) if near != field.name && !outside => error.hint(format!("Did you mean \"{near}\"?")),
        _ => error,
    };
    at_column(error, field, text)
}

/// The error with the place of a column, as the parser or else the text tells it.
pub(super) fn at_column(error: Error, field: &Column, text: &str) -> Error {
    let known = field.spans.first().and_then(|span| position_of(span, text));
    // A name that does not fold was quoted: one without quotes is another.
    let quoted = || {
        let place = text.find(&format!("\"{}\"", field.name.replace('"', "\"\"")))?;
        field.name.chars().any(char::is_uppercase).then(|| text[..place].chars().count() + 1)
    };
    let known = known.or_else(quoted);
    // One without a qualifier stands alone somewhere.
    let alone = || word_positions(&field.name, text).find(|(_, behind_dot)| !behind_dot || field.relation.is_some());
    match known.or_else(|| alone().map(|(position, _)| position)).or_else(|| word_position(&field.name, text)) {
        Some(position) => error.at(before_qualifier(position, text)),
        None => error,
    }
}

/// The position at which a dotted name begins of which the last part begins at `position`.
fn before_qualifier(position: usize, text: &str) -> usize {
    let characters: Vec<char> = text.chars().take(position - 1).collect();
    let mut start = characters.len();
    // The name itself may be quoted.
    start -= usize::from(characters.ends_with(&['"']));
    while start > 0 && characters[start - 1] == '.' {
        let part = |c: &&char| c.is_alphanumeric() || matches!(c, '_' | '$' | '"');
        start -= 1;
        start -= characters[..start].iter().rev().take_while(part).count();
    }
    start + 1
}

fn from_arrow(error: ArrowError, text: &str) -> Error {
    match error {
        ArrowError::CastError(message) | ArrowError::ParseError(message) | ArrowError::InvalidArgumentError(message) => {
            from_known_message(&message, text).unwrap_or_else(|| Error::new(Kind::InvalidText, lower_first(&first_line(&message))))
        }
        ArrowError::ExternalError(inner) => from_datafusion(DataFusionError::External(inner), text),
        other => Error::from(other),
    }
}

/// Errors of planning and execution that are only told by their text.
fn from_message(message: &str, text: &str) -> Error {
    from_known_message(message, text).unwrap_or_else(|| Error::new(Kind::Syntax, lower_first(&first_line(message))))
}

fn from_known_message(message: &str, text: &str) -> Option<Error> {
    window_function(message)
        .or_else(|| name_error(message, text))
        .or_else(|| operator_error(message))
        .or_else(|| grouping_error(message, text))
        .or_else(|| value_error(message))
        .or_else(|| told(message))
}

/// Names of functions and tables.
fn name_error(message: &str, text: &str) -> Option<Error> {
    let at = |error: Error, word: &str| match word_position(word, text) {
        Some(position) => error.at(position),
        None => error,
    };
    if let Some(rest) = after(message, "No function matches the given name and argument types '") {
        let call = rest.split("'.").next().unwrap_or(rest);
        let (name, arguments) = call.split_once('(').unwrap_or((call, ")"));
        let arguments = sql_types(arguments.trim_end_matches(')'));
        if let Some(error) = choosing_error(name, &arguments.split(", ").collect::<Vec<_>>()) {
            return Some(at(error, if name == "make_array" { "array" } else { name }));
        }
        let error = Error::new(Kind::UndefinedFunction, format!("function {name}({arguments}) does not exist"));
        return Some(at(
            error.hint("No function matches the given name and argument types. You might need to add explicit type casts."),
            name,
        ));
    }
    for prefix in ["Invalid function '", "table function '", "There is no window function named "] {
        if let Some(rest) = after(message, prefix) {
            let name = rest.split(['\'', ' ', '\n']).next().unwrap_or(rest);
            let error = Error::new(Kind::UndefinedFunction, format!("function {name} does not exist"));
            let error = match after(message, "Did you mean '").and_then(|near| near.split('\'').next()) {
                Some(near) if nearest(name, [near].into_iter()).is_some() => error.hint(format!("Did you mean \"{near}\"?")),
                _ => error,
            };
            return Some(at(error, name));
        }
    }
    let rest = after(message, "' function: ").and_then(|_| before_quote(after(message, "call to '")?));
    let rest = rest.or_else(|| before_quote(after(message, "Function '")?));
    rest.filter(|_| message.contains("coerc") || message.contains("expects") || message.contains("argument")).map(|name| {
        let error = Error::new(Kind::UndefinedFunction, format!("function {name} does not exist for these arguments"));
        at(error.hint("No function matches the given name and argument types. You might need to add explicit type casts."), name)
    })
}

/// Operators between types that have none.
fn operator_error(message: &str) -> Option<Error> {
    const PREFIXES: [&str; 9] = [
        "Cannot coerce arithmetic expression ",
        "Cannot infer common argument type for comparison operation ",
        "Cannot infer common argument type for logical boolean operation ",
        "Cannot infer common argument type for regex operation ",
        "Cannot infer common argument type for operation ",
        "Cannot infer common string type for string concat operation ",
        "Cannot infer common type for bitwise operation ",
        "Cannot get result type for temporal operation ",
        "Cannot get result type for arithmetic operation ",
    ];
    if let Some(rest) = PREFIXES.iter().find_map(|prefix| after(message, prefix)) {
        let rest = rest.split(" to valid types").next().unwrap_or(rest);
        // Types may contain blanks, operators never do: the operator is the word that no type contains.
        let operators =
            ["=", "!=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "AND", "OR", "||", "&", "|", "#", "~", "!~", "~*", "!~*"];
        let words = words_outside(rest.lines().next().unwrap_or(rest));
        let error = match words.iter().position(|word| operators.contains(word)) {
            Some(at) => {
                let (left, right) = (sql_types(&words[..at].join(" ")), sql_types(&words[at + 1..].join(" ")));
                if ["AND", "OR"].contains(&words[at]) {
                    return Some(not_boolean(words[at], if ["boolean", "unknown"].contains(&left.as_str()) { &right } else { &left }));
                }
                Error::new(Kind::UndefinedFunction, format!("operator does not exist: {left} {} {right}", words[at]))
            }
            None => Error::new(Kind::UndefinedFunction, "operator does not exist for these types"),
        };
        return Some(error.hint("No operator matches the given argument types. You might need to add explicit type casts."));
    }
    if let Some(rest) = after(message, "Cannot create filter with non-boolean predicate '") {
        let found = rest.rsplit("returning ").next().map(sql_types).unwrap_or_default();
        return Some(not_boolean("WHERE", &found));
    }
    ["UNION", "INTERSECT", "EXCEPT"]
        .into_iter()
        .find(|word| message.contains(&format!("{word} queries have different number of columns")))
        .map(|word| Error::new(Kind::Syntax, format!("each {word} query must have the same number of columns")))
}

/// Aggregates and what stands beside them.
fn grouping_error(message: &str, text: &str) -> Option<Error> {
    if message.contains("must appear in the GROUP BY clause") {
        let name = after(message, "column \"")
            .and_then(|rest| rest.split('"').next())
            .or_else(|| after(message, "HAVING clause references: ").and_then(|rest| rest.split(' ').next()));
        let name = visible(name.unwrap_or("?")).to_owned();
        let error =
            Error::new(Kind::Grouping, format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"));
        let last = name.rsplit('.').next().unwrap_or(&name);
        return Some(match word_position(&name, text).or_else(|| word_position(last, text)) {
            Some(position) => error.at(position),
            None => error,
        });
    }
    if message.contains("Aggregate functions are not allowed in the WHERE clause") {
        return Some(
            Error::new(Kind::Grouping, "aggregate functions are not allowed in WHERE").hint("Use HAVING for conditions on aggregates."),
        );
    }
    if message.contains("calls cannot be nested") {
        let what = if message.contains("Window function") { "window" } else { "aggregate" };
        let kind = if what == "window" { Kind::Windowing } else { Kind::Grouping };
        return Some(Error::new(kind, format!("{what} function calls cannot be nested")).hint("Compute the inner one in a subquery."));
    }
    if let Some(rest) =
        after(message, "Order by column out of bounds, specified: ").or_else(|| after(message, "Cannot find column with position "))
    {
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let clause = if message.contains("Order by") { "ORDER" } else { "GROUP" };
        return Some(Error::new(Kind::InvalidColumnReference, format!("{clause} BY position {number} is not in select list")));
    }
    if message.contains("The subquery should only return one column") {
        return Some(Error::new(Kind::Syntax, "subquery must return only one column"));
    }
    if message.contains("unique expression names") {
        return Some(
            Error::new(Kind::DuplicateColumn, "a column is specified more than once").hint("Give one of them another name with AS."),
        );
    }
    if let Some(rest) = after(message, "Inconsistent data type across values list") {
        let types = after(rest, " Was ").and_then(|types| types.split_once(" but found "));
        let (first, other) = types.map_or(("?", "?"), |(first, other)| (sql_type_name(first), sql_type_name(other)));
        return Some(
            Error::new(Kind::DatatypeMismatch, format!("VALUES types {first} and {other} cannot be matched")).hint("Cast one of them."),
        );
    }
    if message.contains("Inconsistent data length across values list") {
        return Some(Error::new(Kind::Syntax, "VALUES lists must all be the same length"));
    }
    if let Some(rest) =
        after(message, "No value found for placeholder with id ").or_else(|| after(message, "No value found for placeholder with name "))
    {
        return Some(Error::new(Kind::UndefinedParameter, format!("there is no parameter {}", rest.trim())));
    }
    None
}

/// Values that do not fit.
fn value_error(message: &str) -> Option<Error> {
    if message.contains("Divide by zero") || message.contains("divide by zero") || message.contains("division by zero") {
        return Some(Error::new(Kind::DivisionByZero, "division by zero"));
    }
    if let Some(rest) = after(message, "Expected LIMIT to be an integer or null, but got ") {
        return Some(Error::new(Kind::DatatypeMismatch, format!("argument of LIMIT must be type bigint, not type {}", sql_types(rest))));
    }
    if message.contains("LIMIT must be >= 0") {
        return Some(Error::new(Kind::InvalidLimit, "LIMIT must not be negative"));
    }
    if message.contains("OFFSET must be >= 0") || message.contains("OFFSET must be >=0") {
        return Some(Error::new(Kind::InvalidOffset, "OFFSET must not be negative"));
    }
    if message.contains("SELECT DISTINCT ON expressions must match") {
        let text = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
        return Some(Error::new(Kind::InvalidColumnReference, text));
    }
    if message.contains("Scalar subquery returned more than one row") {
        return Some(Error::new(Kind::CardinalityViolation, "more than one row returned by a subquery used as an expression"));
    }
    if message.contains("Regular expression did not compile") || message.contains("regex parse error") {
        return Some(Error::new(Kind::InvalidRegex, "invalid regular expression"));
    }
    if let Some(rest) = after(message, "Cannot cast string '") {
        let (value, rest) = rest.rsplit_once("' to value of ").unwrap_or((rest, ""));
        let type_name = sql_types(rest.split(" type").next().unwrap_or(rest));
        return Some(invalid_input(&type_name, value));
    }
    if let Some(rest) = after(message, "Error parsing timestamp from '") {
        return Some(invalid_input("timestamp", rest.split("':").next().unwrap_or(rest)));
    }
    if let Some(rest) = after(message, "Cannot cast value '").or_else(|| after(message, "Invalid input syntax for type interval: \"")) {
        return Some(Error::new(
            Kind::InvalidText,
            format!("invalid input syntax: \"{}\"", rest.split(['\'', '"']).next().unwrap_or(rest)),
        ));
    }
    if let Some(rest) = after(message, "Can't cast value ") {
        let type_name = sql_types(rest.rsplit("to type ").next().unwrap_or(rest));
        return Some(Error::new(Kind::NumericOutOfRange, format!("{type_name} out of range")));
    }
    if message.contains("Cannot cast to Decimal")
        || message.contains("is too large to store in a Decimal")
        || message.contains("is too small to store in a Decimal")
    {
        return Some(Error::new(Kind::NumericOutOfRange, "numeric field overflow"));
    }
    (message.contains("Overflow happened") || message.contains("overflow"))
        .then(|| Error::new(Kind::NumericOutOfRange, "value out of range"))
}

/// The words of a text up to a colon, where what stands in parentheses is part of the word that it stands in.
fn words_outside(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let words = text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ' ' && depth == 0
    });
    let mut found = Vec::new();
    for word in words {
        found.push(word.trim_end_matches(':'));
        if word.ends_with(':') {
            break;
        }
    }
    found
}

fn invalid_input(type_name: &str, value: &str) -> Error {
    let time = ["date", "time", "timestamp", "interval"].iter().any(|prefix| type_name.starts_with(prefix));
    let kind = if time { Kind::InvalidDatetime } else { Kind::InvalidText };
    Error::new(kind, format!("invalid input syntax for type {type_name}: \"{value}\""))
}

fn after<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.split_once(prefix).map(|(_, rest)| rest)
}

fn before_quote(text: &str) -> Option<&str> {
    text.split('\'').next()
}

/// Arrow's names for types, separated by commas → SQL's.
pub(super) fn sql_types(text: &str) -> String {
    let mut depth = 0_usize;
    let parts = text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(|part| sql_type_name(part.trim())).collect::<Vec<_>>().join(", ")
}

fn sql_type_name(text: &str) -> &str {
    let head = text.split('(').next().unwrap_or(text);
    match head {
        "Null" => "unknown",
        "Boolean" => "boolean",
        "Int8" | "UInt8" | "Int16" => "smallint",
        "UInt16" | "Int32" => "integer",
        "UInt32" | "Int64" => "bigint",
        "UInt64" | "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "numeric",
        "Float16" | "Float32" => "real",
        "Float64" => "double precision",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Binary" | "LargeBinary" | "BinaryView" => "bytea",
        "Date32" | "Date64" => "date",
        "Time32" | "Time64" => "time without time zone",
        "Timestamp" if text.contains("UTC") || text.contains("Some") || text.contains('+') => "timestamp with time zone",
        "Timestamp" => "timestamp without time zone",
        "Interval" | "Duration" => "interval",
        "List" | "LargeList" | "FixedSizeList" => "anyarray",
        "Struct" => "record",
        _ => text,
    }
}

fn first_line(message: &str) -> String {
    visible(message.lines().next().unwrap_or_default()).trim_end_matches('.').to_owned()
}

/// PostgreSQL's messages start in lower case, but for words that are all in capitals. What speaks of a library's insides is not for users:
/// it is logged, and they get a sentence that says as much.
fn lower_first(text: &str) -> String {
    const INSIDES: [&str; 12] =
        ["Utf8", "Int8", "Int16", "Int32", "Int64", "Float64", "Decimal128(", "Struct(", "Timestamp(", " { ", "ast node", "DataFusion"];
    if INSIDES.iter().any(|inside| text.contains(inside)) {
        tracing::warn!(cause = text, "an error without words for users");
        return "the statement is not valid for these types or values".to_owned();
    }
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        (Some(_), Some(second)) if second.is_uppercase() => text.to_owned(),
        (Some(first), _) => first.to_lowercase().chain(chars).collect(),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::error::DataFusionError;

    use super::{before_qualifier, character_position, from_datafusion, word_position};
    use crate::error::{Error, Kind};

    fn plan(message: &str) -> Error {
        from_datafusion(DataFusionError::Plan(message.to_owned()), "SELECT abs(name) FROM t")
    }

    #[test]
    fn a_function_without_a_match_is_told_with_sql_types() {
        let error = plan("No function matches the given name and argument types 'abs(Utf8)'. You might need");
        assert_eq!((error.kind(), error.message()), (Kind::UndefinedFunction, "function abs(text) does not exist"));
        assert_eq!(error.position(), Some(8));
    }

    #[test]
    fn an_operator_without_a_match_is_told_with_sql_types() {
        let error = plan("Cannot coerce arithmetic expression Utf8 + Int64 to valid types");
        assert_eq!(error.message(), "operator does not exist: text + bigint");
    }

    /// The colons within a row's type were taken for the one before the cause.
    #[test]
    fn an_operator_between_a_row_and_a_number_is_told_with_sql_types() {
        let message = "Cannot infer common argument type for comparison operation Struct(\"f1\": Int64, \"f2\": Int64) > Int32: no";
        assert_eq!(plan(message).message(), "operator does not exist: record > integer");
    }

    #[test]
    fn a_bad_value_names_itself_and_its_type() {
        let error = plan("Cannot cast string 'abc' to value of Int32 type");
        assert_eq!((error.kind(), error.message()), (Kind::InvalidText, "invalid input syntax for type integer: \"abc\""));
    }

    #[test]
    fn a_library_s_words_do_not_reach_users() {
        assert_eq!((plan("LIMIT must be >= 0, -1 was given").kind()), Kind::InvalidLimit);
        assert_eq!(plan("type Int32 is not Struct").message(), "the statement is not valid for these types or values");
        assert_eq!(plan("NTILE requires a positive integer").message(), "NTILE requires a positive integer");
        assert_eq!(plan("Scalar subquery returned more than one row").kind(), Kind::CardinalityViolation);
    }

    #[test]
    fn our_own_error_comes_out_as_it_went_in() {
        let own = Error::new(Kind::UndefinedTable, "relation \"x\" does not exist");
        let error = from_datafusion(DataFusionError::External(Box::new(own)).context("somewhere"), "");
        assert_eq!(error.kind(), Kind::UndefinedTable);
    }

    #[test]
    fn positions_count_characters_from_one() {
        assert_eq!(character_position(2, 3, "äb\nxyz"), Some(6));
        assert_eq!(word_position("yz", "xyz yz"), Some(5));
        assert_eq!(before_qualifier(14, "SELECT s.\"t\".x"), 8);
    }
}
