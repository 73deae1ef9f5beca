//! Window table functions → derived tables in plain SQL, which run in batch and which the planner recognises.
//!
//! In: table factors `TUMBLE(t, ts, size)`, `HOP(t, ts, slide, size)`, and both within `TABLE(…)`, where `t` is a
//! relation's name or a parenthesised query. Out, with `window_start` and `window_end` behind the columns of `t`:
//!
//! ```text
//! TUMBLE  (SELECT *, window_start + size AS window_end
//!          FROM (SELECT *, tumble_start(ts, size) AS window_start FROM t) WHERE window_start IS NOT NULL) AS t
//! HOP     (SELECT *, window_start + size AS window_end
//!          FROM (SELECT *, unnest(hop_starts(ts, slide, size)) AS window_start FROM t)) AS t
//! ```
//!
//! `tumble_start(ts, size)` gives the window's start in the type of `ts`, NULL for NULL; `hop_starts(ts, slide, size)` gives a list of
//! the starts of all windows `ts` is in, empty for NULL. A row without a time is in no window. An alias written behind
//! the function wins over `t`'s own name. The user's expressions keep their places in the text.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, TableAlias, TableFactor, VisitMut,
    VisitorMut,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Tokenizer;

use super::dialect::QUERY;
use super::query::folded;
use crate::error::{Error, Kind, Result};

/// What TUMBLE becomes; the quoted words are replaced.
const TUMBLE: &str = r#"SELECT *, window_start + "$size" AS window_end
    FROM (SELECT *, tumble_start("$time", "$size") AS window_start FROM "$relation") WHERE window_start IS NOT NULL"#;

/// What HOP becomes.
const HOP: &str = r#"SELECT *, window_start + "$size" AS window_end
    FROM (SELECT *, unnest(hop_starts("$time", "$slide", "$size")) AS window_start FROM "$relation")"#;

/// Rewrites every window table function in `query`, in subqueries too. Fails with `42883` where the arguments do not
/// fit, and with `0A000` for CUMULATE and SESSION.
pub fn expand_windows(query: &mut Query) -> Result<()> {
    match query.visit(&mut Expand) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Looks for calls.
struct Expand;

impl VisitorMut for Expand {
    type Break = Error;

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let Some((name, arguments, alias)) = window_call(factor) else { return ControlFlow::Continue(()) };
        match expand(&name, arguments, alias) {
            Ok(expanded) => {
                *factor = expanded;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The window function `factor` calls, if it does: its name in lower case, arguments, alias.
pub(super) fn window_call(factor: &TableFactor) -> Option<(String, Vec<FunctionArg>, Option<TableAlias>)> {
    let (name, arguments, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        TableFactor::TableFunction { expr: Expr::Function(Function { name, args: FunctionArguments::List(list), .. }), alias } => {
            (name, &list.args, alias)
        }
        _ => return None,
    };
    let [part] = name.0.as_slice() else { return None };
    let name = folded(part.as_ident()?);
    matches!(name.as_str(), "tumble" | "hop" | "cumulate" | "session").then(|| (name, arguments.clone(), alias.clone()))
}

/// The derived table for one call.
fn expand(name: &str, arguments: Vec<FunctionArg>, alias: Option<TableAlias>) -> Result<TableFactor> {
    let function = name.to_ascii_uppercase();
    if matches!(name, "cumulate" | "session") {
        return Err(Error::not_supported(format!("{function} is not supported yet")).hint("Use TUMBLE or HOP."));
    }
    let form = if name == "tumble" { "TUMBLE(relation, time column, size)" } else { "HOP(relation, time column, slide, size)" };
    let misfit = || Error::new(Kind::UndefinedFunction, format!("the arguments of {function} do not fit")).hint(format!("Write {form}."));
    let arguments: Vec<Expr> = arguments
        .into_iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok(expression),
            _ => Err(misfit()),
        })
        .collect::<Result<_>>()?;
    let mut arguments = arguments.into_iter();
    let (Some(relation), Some(time)) = (arguments.next(), arguments.next()) else { return Err(misfit()) };
    let (slide, size) = match (name, arguments.next(), arguments.next(), arguments.next()) {
        ("tumble", Some(size), None, None) => (None, size),
        ("hop", Some(slide), Some(size), None) => (Some(slide), size),
        ("tumble", Some(_), Some(_), None) | ("hop", Some(_), Some(_), Some(_)) => {
            return Err(Error::not_supported(format!("an offset in {function} is not supported yet")).hint(format!("Write {form}.")));
        }
        _ => return Err(misfit()),
    };
    let (relation, own_name) = relation_of(relation).ok_or_else(misfit)?;
    let time = column_of(time).ok_or_else(misfit)?;
    let mut query = template(if name == "tumble" { TUMBLE } else { HOP });
    let mut fill = Fill { relation, time, slide, size };
    // The filler's visit never breaks.
    let ControlFlow::Continue(()) = query.visit(&mut fill);
    let own_name = own_name.unwrap_or_else(|| Ident::new(name));
    let alias = alias.unwrap_or(TableAlias { explicit: true, name: own_name, columns: Vec::new(), at: None });
    Ok(TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None })
}

/// The relation an argument names, and the name it is known by.
fn relation_of(argument: Expr) -> Option<(TableFactor, Option<Ident>)> {
    let parts = match argument {
        Expr::Identifier(name) => vec![name],
        Expr::CompoundIdentifier(parts) => parts,
        Expr::Subquery(subquery) => return Some((TableFactor::Derived { lateral: false, subquery, alias: None, sample: None }, None)),
        _ => return None,
    };
    let parts = if parts.len() == 3 && folded(&parts[0]) == "tidemill" { parts[1..].to_vec() } else { parts };
    let own_name = parts.last().cloned();
    let mut factor = template("SELECT * FROM relation").body.as_select()?.from.first()?.relation.clone();
    if let TableFactor::Table { name, .. } = &mut factor {
        *name = ObjectName::from(parts);
    }
    Some((factor, own_name))
}

/// The time column: a name, or DESCRIPTOR(name). What stands before a dot is left out: there is one relation.
fn column_of(argument: Expr) -> Option<Expr> {
    match argument {
        Expr::Identifier(_) => Some(argument),
        Expr::CompoundIdentifier(mut parts) => parts.pop().map(Expr::Identifier),
        Expr::Function(Function { name, args: FunctionArguments::List(mut list), .. }) => {
            let is_descriptor = name.to_string().eq_ignore_ascii_case("descriptor");
            match (is_descriptor, list.args.pop(), list.args.pop()) {
                (true, Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(column @ Expr::Identifier(_)))), None) => Some(column),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Puts the user's parts where the template has its quoted words. Works on the way out, so that what was put in is not
/// searched again.
struct Fill {
    relation: TableFactor,
    time: Expr,
    slide: Option<Expr>,
    size: Expr,
}

impl VisitorMut for Fill {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        let replacement = match expression {
            Expr::Identifier(word) if word.value == "$time" => Some(&self.time),
            Expr::Identifier(word) if word.value == "$size" => Some(&self.size),
            Expr::Identifier(word) if word.value == "$slide" => self.slide.as_ref(),
            _ => None,
        };
        if let Some(replacement) = replacement {
            *expression = replacement.clone();
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, .. } = factor
            && name.0.last().and_then(|part| part.as_ident()).is_some_and(|word| word.value == "$relation")
        {
            *factor = self.relation.clone();
        }
        ControlFlow::Continue(())
    }
}

/// One of our own texts, parsed without places: none of it stands in the user's.
pub(super) fn template(text: &str) -> Query {
    let tokens = Tokenizer::new(&QUERY, text).tokenize().expect("our own text consists of tokens");
    *Parser::new(&QUERY).with_tokens(tokens).parse_query().expect("our own text is a query")
}

#[cfg(test)]
mod tests {
    use super::expand_windows;
    use crate::error::Kind;
    use crate::sql::{Statement, parse};

    /// `text`'s query with its windows expanded, as SQL.
    fn expanded(text: &str) -> crate::error::Result<String> {
        let mut parsed = parse(text)?;
        let Statement::Query(mut query) = parsed.remove(0).statement else { panic!("not a query: {text}") };
        expand_windows(&mut query)?;
        Ok(query.to_string())
    }

    #[test]
    fn tumble_in_both_forms() {
        let inner = "(SELECT *, window_start + INTERVAL '10 seconds' AS window_end FROM \
                     (SELECT *, tumble_start(ts, INTERVAL '10 seconds') AS window_start FROM bid) WHERE window_start IS NOT NULL)";
        let cases = [
            ("SELECT * FROM TUMBLE(bid, ts, INTERVAL '10 seconds')", "bid"),
            ("SELECT * FROM tumble(bid, bid.ts, INTERVAL '10 seconds') AS w", "w"),
            ("SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10 seconds'))", "bid"),
        ];
        for (text, alias) in cases {
            assert_eq!(expanded(text).unwrap(), format!("SELECT * FROM {inner} AS {alias}"), "{text}");
        }
    }

    #[test]
    fn hop_over_subqueries_and_aliases() {
        let hop = |relation: &str, alias: &str| {
            format!(
                "SELECT * FROM (SELECT *, window_start + INTERVAL '9' SECOND AS window_end FROM (SELECT *, \
                 unnest(hop_starts(ts, INTERVAL '3' SECOND, INTERVAL '9' SECOND)) AS window_start FROM {relation})) AS {alias}"
            )
        };
        let tail = "INTERVAL '3' SECOND, INTERVAL '9' SECOND)";
        let cases = [
            (format!("SELECT * FROM HOP(s.bid, ts, {tail}"), hop("s.bid", "bid")),
            (format!("SELECT * FROM HOP(bid AS b, b.ts, {tail} AS x"), hop("(SELECT * FROM bid AS b)", "x")),
            (format!("SELECT * FROM HOP((SELECT * FROM bid) AS b, ts, {tail}"), hop("(SELECT * FROM bid)", "hop")),
            (format!("SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), {tail}) AS h"), hop("bid", "h")),
        ];
        for (text, expected) in cases {
            assert_eq!(expanded(&text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_done_and_what_does_not_fit() {
        let cases = [
            ("SELECT * FROM CUMULATE(bid, ts, INTERVAL '1 minute', INTERVAL '1 hour')", Kind::NotSupported),
            ("SELECT * FROM SESSION(bid, ts, INTERVAL '1 minute')", Kind::NotSupported),
            ("SELECT * FROM SESSION(bid PARTITION BY bidder, ts, INTERVAL '1 minute')", Kind::NotSupported),
            ("SELECT * FROM TUMBLE(bid, ts)", Kind::UndefinedFunction),
            ("SELECT * FROM TUMBLE(bid, 1 + 1, INTERVAL '1 minute')", Kind::UndefinedFunction),
            ("SELECT * FROM HOP(bid, ts, INTERVAL '1 minute')", Kind::UndefinedFunction),
        ];
        for (text, kind) in cases {
            assert_eq!(expanded(text).unwrap_err().kind(), kind, "{text}");
        }
    }
}
