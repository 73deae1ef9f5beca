//! CREATE FUNCTION and DROP FUNCTION: functions whose body is one SQL expression.

use sqlparser::ast::{Expr, GroupByExpr, SelectItem, SetExpr};
use sqlparser::tokenizer::Token;

use super::parse::parse;
use super::reader::Reader;
use super::statement::{CreateFunction, FunctionArgument, Name, Statement, Volatility};
use crate::error::{Error, Kind, Result};

/// Reads on behind CREATE [OR REPLACE] FUNCTION.
pub(super) fn create_function(reader: &mut Reader<'_>, or_replace: bool) -> Result<Statement> {
    let name = reader.name()?;
    reader.expect_token(&Token::LParen)?;
    let arguments = if *reader.peek() == Token::RParen { Vec::new() } else { reader.comma_separated(argument)? };
    reader.expect_token(&Token::RParen)?;
    reader.expect(&["returns"])?;
    for (word, construct) in [("table", "RETURNS TABLE"), ("setof", "RETURNS SETOF")] {
        if reader.is(0, word) {
            return Err(reader.not_supported(construct).hint("A function gives one value; use a view for rows."));
        }
    }
    let returns = reader.data_type()?;
    let mut function = CreateFunction {
        name,
        or_replace,
        arguments,
        returns,
        volatility: Volatility::Volatile,
        strict: false,
        source: String::new(),
        body: None,
    };
    let (mut language, mut source) = (None, None);
    while !reader.at_end() {
        clause(reader, &mut function, &mut language, &mut source)?;
    }
    if let Some(language) = language.filter(|language| language != "sql") {
        return Err(Error::not_supported(format!("functions in language \"{language}\" are not supported yet"))
            .hint("LANGUAGE SQL.")
            .at(function.name.position));
    }
    match source {
        Some((position, text)) => {
            function.body = Some(expression_of(&text).map_err(|error| error.at(position))?);
            function.source = text;
        }
        None if function.body.is_none() => {
            return Err(Error::new(Kind::InvalidObjectDefinition, "no function body specified").at(function.name.position));
        }
        None => {}
    }
    Ok(Statement::CreateFunction(Box::new(function)))
}

/// [IN] [name] type [DEFAULT expression | = expression]
fn argument(reader: &mut Reader<'_>) -> Result<FunctionArgument> {
    for mode in ["out", "inout", "variadic"] {
        if reader.is(0, mode) {
            return Err(reader
                .not_supported(format!("a parameter of mode {}", mode.to_ascii_uppercase()))
                .hint("A function gives its value by RETURNS."));
        }
    }
    reader.accept(&["in"]);
    let name = if is_type_alone(reader) { None } else { Some(reader.label()?) };
    let data_type = reader.data_type()?;
    let has_default = reader.accept(&["default"]) || reader.accept_token(&Token::Eq);
    let default = if has_default { Some(reader.expression()?) } else { None };
    Ok(FunctionArgument { name, data_type, default })
}

/// Whether a type is next, not a name before one.
fn is_type_alone(reader: &Reader<'_>) -> bool {
    let two_words = [
        ("double", "precision"),
        ("character", "varying"),
        ("timestamp", "with"),
        ("timestamp", "without"),
        ("time", "with"),
        ("time", "without"),
    ];
    two_words.iter().any(|(first, second)| reader.is(0, first) && reader.is(1, second))
        || !matches!(reader.peek_nth(1), Token::Word(_))
        || reader.is(1, "default")
}

fn clause(
    reader: &mut Reader<'_>,
    function: &mut CreateFunction,
    language: &mut Option<String>,
    source: &mut Option<(usize, String)>,
) -> Result<()> {
    if reader.accept(&["language"]) {
        *language = Some(match reader.accept_string() {
            Some(text) => text.to_ascii_lowercase(),
            None => reader.label()?,
        });
    } else if reader.accept(&["immutable"]) {
        function.volatility = Volatility::Immutable;
    } else if reader.accept(&["stable"]) {
        function.volatility = Volatility::Stable;
    } else if reader.accept(&["volatile"]) {
        function.volatility = Volatility::Volatile;
    } else if reader.accept(&["strict"]) || reader.accept(&["returns", "null", "on", "null", "input"]) {
        function.strict = true;
    } else if reader.accept(&["called", "on", "null", "input"]) {
        function.strict = false;
    } else if reader.accept(&["parallel"]) || reader.accept(&["cost"]) {
        // They tell PostgreSQL's planner what ours sees for itself.
        reader.advance();
    } else if reader.accept(&["not", "leakproof"]) || reader.accept(&["leakproof"]) || reader.accept(&["security", "invoker"]) {
        // The body is put in the place of the call.
    } else if function.body.is_none() && source.is_none() && reader.accept(&["as"]) {
        let position = reader.position();
        *source = Some((position, reader.string()?));
    } else if function.body.is_none() && source.is_none() && reader.accept(&["return"]) {
        let body = reader.expression()?;
        function.source = format!("SELECT {body}");
        function.body = Some(body);
    } else {
        return Err(reader.unexpected());
    }
    Ok(())
}

/// The expression of `SELECT expression`, or of `RETURN expression`.
fn expression_of(text: &str) -> Result<Expr> {
    let refused = |what: &str| {
        Error::not_supported(format!("a function whose body {what} is not supported yet"))
            .hint("Write SELECT and one expression over the arguments; a view reads relations.")
    };
    let mut statements = parse(text)?;
    let (Some(only), true) = (statements.pop(), statements.is_empty()) else { return Err(refused("is not one statement")) };
    let Statement::Query(query) = only.statement else { return Err(refused("is not a query")) };
    if query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some() {
        return Err(refused("has more than a SELECT list"));
    }
    let SetExpr::Select(select) = *query.body else { return Err(refused("is not a SELECT")) };
    let plain = select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.distinct.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    if !plain {
        return Err(refused("reads relations"));
    }
    let mut projection = select.projection;
    match (projection.pop(), projection.is_empty()) {
        (Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }), true) => Ok(expr),
        _ => Err(refused("gives more than one value")),
    }
}

/// A function's name in DROP and COMMENT, with the types of its arguments, which say nothing: there is one function of a name.
pub(super) fn function_name(reader: &mut Reader<'_>) -> Result<Name> {
    let name = reader.name()?;
    if reader.accept_token(&Token::LParen) && !reader.accept_token(&Token::RParen) {
        reader.comma_separated(argument)?;
        reader.expect_token(&Token::RParen)?;
    }
    Ok(name)
}
