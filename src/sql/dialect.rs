//! PostgreSQL's dialect as sqlparser knows it, with six differences of ours.
//!
//! In: the parser's questions about the language. Out: PostgreSQL's answers, except that
//! - the name of a named argument is an identifier, never an expression: sqlparser would otherwise parse every
//!   argument twice, which takes exponential time in the depth of nested calls;
//! - what is on the right of IS [NOT] DISTINCT FROM ends where AND begins, where sqlparser would read on to the end of the condition;
//! - BETWEEN SYMMETRIC, which sqlparser does not know, is read as what PostgreSQL makes of it: two BETWEENs;
//! - a sign binds its number before `^` and all else but `::` and `[]` does (`-2 ^ 2` is 4), and `~`, `@`, `|/` and `||/` reach as far as other
//!   operators of words without a rank (`@ -3 + 1` is 2): PostgreSQL's precedence of operators;
//! - between the parentheses of CREATE TABLE, `NOT NULL` ends an expression: `DEFAULT 1 NOT NULL` is a constraint there;
//! - `struct<x int, y text>` is a type.

use std::any::TypeId;
use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::walk::Walk;

/// For everything but column definitions.
pub(super) static QUERY: TidemillDialect = TidemillDialect { definition: false };

/// For the columns of CREATE TABLE and CREATE SOURCE.
pub(super) static DEFINITION: TidemillDialect = TidemillDialect { definition: true };

/// The language of what the catalog keeps: types and expressions.
pub fn dialect() -> &'static dyn Dialect {
    &QUERY
}

/// Expressions within one BETWEEN SYMMETRIC: far more than anyone writes, and ten within each other are still a thousand.
const SYMMETRIC_EXPRESSIONS_MAX: usize = 1_000;

/// Whom we ask.
const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// See the file's header.
#[derive(Debug)]
pub(super) struct TidemillDialect {
    /// Whether `NOT NULL` ends an expression.
    definition: bool,
}

/// Answers PostgreSQL gives with a plain yes or no.
macro_rules! as_postgres {
    ($($question:ident),* $(,)?) => {
        $(fn $question(&self) -> bool {
            POSTGRES.$question()
        })*
    };
}

impl Dialect for TidemillDialect {
    fn dialect(&self) -> TypeId {
        // sqlparser asks for the type in places where it has no question of its own.
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        if self.definition {
            let word = |n: usize| match &parser.peek_nth_token_ref(n).token {
                Token::Word(word) => word.keyword,
                _ => Keyword::NoKeyword,
            };
            if word(0) == Keyword::NOT && word(1) == Keyword::NULL {
                return Some(Ok(self.prec_unknown()));
            }
        }
        POSTGRES.get_next_precedence(parser)
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        if let Some((negated, symmetric)) = symmetric_between(parser) {
            let between = parser.parse_between(expr.clone(), negated);
            return Some(if symmetric { between.and_then(both_ways) } else { between });
        }
        let same = if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            false
        } else if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            true
        } else {
            return None;
        };
        let (left, right) = (Box::new(expr.clone()), parser.parse_subexpr(self.prec_value(Precedence::Is)).map(Box::new));
        Some(right.map(|right| if same { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) }))
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        // Of the ranks that sqlparser has a name for, that of AT TIME ZONE is the one below what binds before a sign.
        let (op, binds) = match parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, Precedence::AtTz),
            Token::Plus => (UnaryOperator::Plus, Precedence::AtTz),
            Token::Tilde => (UnaryOperator::BitwiseNot, Precedence::PgOther),
            Token::AtSign => (UnaryOperator::PGAbs, Precedence::PgOther),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, Precedence::PgOther),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, Precedence::PgOther),
            _ => return POSTGRES.parse_prefix(parser),
        };
        parser.advance_token();
        let operand = parser.parse_subexpr(self.prec_value(binds)).map(Box::new);
        Some(operand.map(|expr| Expr::UnaryOp { op, expr }))
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    as_postgres!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
    );
}

/// Steps over `[NOT] BETWEEN SYMMETRIC` or `ASYMMETRIC`: whether there was a NOT, and which of them it was.
fn symmetric_between(parser: &mut Parser) -> Option<(bool, bool)> {
    let word = |n: usize| match &parser.peek_nth_token_ref(n).token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
        _ => String::new(),
    };
    let negated = word(0) == "not";
    let at = usize::from(negated);
    let symmetric = match (word(at).as_str(), word(at + 1).as_str()) {
        ("between", "symmetric") => true,
        ("between", "asymmetric") => false,
        _ => return None,
    };
    (0..at + 2).for_each(|_| parser.advance_token());
    Some((negated, symmetric))
}

/// `x BETWEEN a AND b` → `(x BETWEEN a AND b OR x BETWEEN b AND a)`. What stands in it stands there twice, so it must not be large: each BETWEEN
/// SYMMETRIC within another doubles it.
fn both_ways(between: Expr) -> Result<Expr, ParserError> {
    let mut expressions = 0_usize;
    let counted = between.walk_expressions(|_| {
        expressions += 1;
        if expressions > SYMMETRIC_EXPRESSIONS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let Expr::Between { expr, negated, low, high } = between else { return Ok(between) };
    if counted.is_break() {
        return Err(ParserError::RecursionLimitExceeded);
    }
    let other = Expr::Between { expr: expr.clone(), negated, low: high.clone(), high: low.clone() };
    let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
    let (left, right) = (Box::new(Expr::Between { expr, negated, low, high }), Box::new(other));
    Ok(Expr::Nested(Box::new(Expr::BinaryOp { left, op, right })))
}
