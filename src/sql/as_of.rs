//! ASOF joins, for which the parser has another grammar than we.
//!
//! `a ASOF [LEFT] JOIN b ON c` reaches the parser as `a GLOBAL [LEFT] JOIN b ON c`, a word that it keeps apart; and
//! `MATCH_CONDITION (c) ON d` as `ON match_condition(c) AND d`, from whose tree both are taken apart again: `d` may be an OR, which binds less
//! than this AND. In the tree it becomes a join whose condition is marked: `a [LEFT] JOIN b ON asof_join(c AND d)`. The planner takes that mark out.
//!
//! Neither word is reserved. The parser alone knows whether a join may stand where one is found, or a name: so ASOF before JOIN means GLOBAL to
//! it and keeps its spelling, and everywhere else both are names. `a asof JOIN b` is an ASOF join; an alias of that name needs AS there.

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Spanned,
    TableFactor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::position::locate;
use super::reader::position_of;
use super::tokens::is_word;
use crate::error::{Error, Result};

/// The function that marks the condition of an ASOF join: a name that nobody can type.
pub const ASOF_JOIN: &str = "\u{0}asof_join";

/// The function that `MATCH_CONDITION` is until its condition is found in the tree.
const MATCH_CONDITION: &str = "\u{0}match_condition";

const HINT: &str = "Write a ASOF [LEFT] JOIN b ON a.k = b.k AND a.ts >= b.ts, or MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k.";

/// `ASOF [INNER | LEFT [OUTER]] JOIN` → `GLOBAL … JOIN`.
pub(super) fn mark_words(text: &str, mut tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let joins = |tokens: &[TokenWithSpan], index: usize| {
        let kind = ["inner", "left", "right", "full"].into_iter().any(|kind| is_word(tokens, index + 1, kind));
        let behind = index + 1 + usize::from(kind);
        let behind = behind + usize::from(kind && is_word(tokens, behind, "outer"));
        is_word(tokens, behind, "join")
    };
    let mut found = false;
    for index in 0..tokens.len() {
        let is_asof = is_word(&tokens, index, "asof");
        if !is_asof && !is_word(&tokens, index, "global") {
            continue;
        }
        let is_join = is_asof && joins(&tokens, index);
        if let Token::Word(word) = &mut tokens[index].token {
            word.keyword = if is_join { Keyword::GLOBAL } else { Keyword::NoKeyword };
        }
        found |= is_join;
    }
    if found {
        conditions_into_on(&mut tokens);
    }
    let is_match = |index: &usize| {
        is_word(&tokens, *index, "match_condition") && tokens.get(index + 1).is_some_and(|next| next.token == Token::LParen)
    };
    if found && let Some(index) = (0..tokens.len()).find(is_match) {
        let at = locate(text, tokens[index].span.start).characters + 1;
        return Err(Error::not_supported("MATCH_CONDITION with USING is not supported").hint(HINT).at(at));
    }
    Ok(tokens)
}

/// `MATCH_CONDITION (c) ON d` → `ON match_condition(c) AND d`; without ON `ON match_condition(c)`.
fn conditions_into_on(tokens: &mut Vec<TokenWithSpan>) {
    let mut next = 0;
    while next < tokens.len() {
        let index = next;
        next += 1;
        if !is_word(tokens, index, "match_condition") || tokens.get(index + 1).is_none_or(|next| next.token != Token::LParen) {
            continue;
        }
        let mut depth = 0;
        let end = (index + 1..tokens.len()).find(|at| {
            depth += match tokens[*at].token {
                Token::LParen => 1,
                Token::RParen => -1,
                _ => 0,
            };
            depth == 0
        });
        let Some(end) = end.filter(|end| !is_word(tokens, end + 1, "using")) else { continue };
        if is_word(tokens, end + 1, "on") {
            tokens[end + 1].token = Token::make_keyword("AND");
        }
        let span = tokens[index].span;
        tokens[index].token = Token::make_word(MATCH_CONDITION, Some('"'));
        tokens.insert(index, TokenWithSpan { token: Token::make_keyword("ON"), span });
        next += 1;
    }
}

/// Marks the conditions of ASOF joins; `text` is what they were parsed from.
pub(super) fn mark_joins(joins: &mut [Join], text: &str) -> Result<()> {
    for join in joins.iter_mut() {
        let span = join.relation.span();
        let refused = |what: &str| {
            let error = Error::not_supported(format!("{what} is not supported")).hint(HINT);
            if span.start.line == 0 { error } else { error.at(position_of(text, span.start)) }
        };
        if !join.global {
            match condition_of(&join.join_operator) {
                Some(condition) if has_matched(condition) => return Err(refused("MATCH_CONDITION in a join that is not an ASOF join")),
                _ => continue,
            }
        }
        join.global = false;
        if matches!(&join.relation, TableFactor::Derived { lateral: true, .. } | TableFactor::Function { lateral: true, .. }) {
            return Err(refused("ASOF JOIN LATERAL"));
        }
        let condition = match &mut join.join_operator {
            JoinOperator::Join(JoinConstraint::On(condition))
            | JoinOperator::Inner(JoinConstraint::On(condition))
            | JoinOperator::Left(JoinConstraint::On(condition))
            | JoinOperator::LeftOuter(JoinConstraint::On(condition)) => condition,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => return Err(refused("ASOF RIGHT JOIN")),
            JoinOperator::FullOuter(_) => return Err(refused("ASOF FULL JOIN")),
            _ => return Err(refused("an ASOF join without ON")),
        };
        let (by, rest) = parted(condition.clone());
        let terms = by.into_iter().chain(rest).map(|term| Expr::Nested(Box::new(term)));
        let all = terms.reduce(|left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) });
        *condition = marked(all.ok_or_else(|| refused("an ASOF join without ON"))?)?;
    }
    Ok(())
}

/// What stands behind the ON of a join of any kind.
fn condition_of(operator: &JoinOperator) -> Option<&Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(condition))
        | JoinOperator::Inner(JoinConstraint::On(condition))
        | JoinOperator::Left(JoinConstraint::On(condition))
        | JoinOperator::LeftOuter(JoinConstraint::On(condition))
        | JoinOperator::Right(JoinConstraint::On(condition))
        | JoinOperator::RightOuter(JoinConstraint::On(condition))
        | JoinOperator::FullOuter(JoinConstraint::On(condition)) => Some(condition),
        _ => None,
    }
}

/// What stands in MATCH_CONDITION, if that was there, and the rest of the condition.
fn parted(mut condition: Expr) -> (Option<Expr>, Option<Expr>) {
    match matched(&condition) {
        Some(by) => (Some(by), None),
        None => (take_matched(&mut condition), Some(condition)),
    }
}

/// The argument of the mark.
fn matched(expr: &Expr) -> Option<Expr> {
    let Expr::Function(call) = expr else { return None };
    let [name] = call.name.0.as_slice() else { return None };
    match &call.args {
        FunctionArguments::List(list) if name.as_ident()?.value == MATCH_CONDITION => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(by))] => Some(by.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the mark stands at the left end of a condition.
fn has_matched(expr: &Expr) -> bool {
    matched(expr).is_some() || matches!(expr, Expr::BinaryOp { left, .. } if has_matched(left))
}

/// Takes the mark, and the AND behind it, off the left end of a condition.
fn take_matched(expr: &mut Expr) -> Option<Expr> {
    let Expr::BinaryOp { left, op, right } = expr else { return None };
    match (matched(left), &op) {
        (Some(by), BinaryOperator::And) => {
            let rest = right.as_ref().clone();
            *expr = rest;
            Some(by)
        }
        _ => take_matched(left),
    }
}

fn marked(condition: Expr) -> Result<Expr> {
    let call = Parser::new(&PostgreSqlDialect {}).try_with_sql("mark(NULL)").and_then(|mut parser| parser.parse_expr());
    let mut call = call.map_err(|error| Error::internal(error.to_string()))?;
    if let Expr::Function(function) = &mut call
        && let FunctionArguments::List(list) = &mut function.args
    {
        function.name = ObjectName::from(vec![Ident::with_quote('"', ASOF_JOIN)]);
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(condition))];
    }
    Ok(call)
}
