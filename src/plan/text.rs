//! Stored SQL text → AST: the queries of views, the expressions of DEFAULT and generated columns.

use sqlparser::ast::{DataType, Expr, Query};
use sqlparser::parser::Parser;

use crate::error::{Error, Kind, Result};
use crate::sql::{Statement, dialect, parse};

/// Parses a view's query. It was parsed once before, when the view was made.
pub fn query(text: &str) -> Result<Query> {
    match parse(text)?.pop().map(|parsed| parsed.statement) {
        Some(Statement::Query(query)) => Ok(*query),
        _ => Err(Error::new(Kind::Syntax, "a query is needed here")),
    }
}

/// Parses a type.
pub(super) fn data_type(text: &str) -> Result<DataType> {
    let parsed = Parser::new(dialect()).try_with_sql(text).and_then(|mut parser| parser.parse_data_type());
    parsed.map_err(|error| Error::new(Kind::Syntax, error.to_string()))
}

/// Parses the expression of a DEFAULT or a generated column.
pub(super) fn expression(text: &str) -> Result<Expr> {
    let parsed = Parser::new(dialect()).try_with_sql(text).and_then(|mut parser| parser.parse_expr());
    parsed.map_err(|error| Error::new(Kind::Syntax, error.to_string()))
}
