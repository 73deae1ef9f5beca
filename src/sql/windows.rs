//! Window table functions → derived tables in plain SQL, which run in batch and which the planner recognises.
//!
//! In: table factors `TUMBLE(t, ts, size [, offset])`, `HOP(t, ts, slide, size [, offset])`, `CUMULATE(t, ts, step, size [, offset])` and
//! `SESSION(t [PARTITION BY k, …], ts, gap)`, all of them within `TABLE(…)` too, where `t` is a relation's name or a parenthesised query; or
//! the same with arguments by name: `DATA`, `TIMECOL`, `SIZE`, `SLIDE`, `STEP`, `GAP`, `OFFSET`. Out, with `window_start`, `window_end` and
//! `window_time` behind the columns of `t`:
//!
//! ```text
//! TUMBLE    (SELECT *, window_end(window_start, size) AS window_end, window_time(…) AS window_time
//!            FROM (SELECT *, tumble_start(ts, size) AS window_start FROM t) WHERE window_start IS NOT NULL) AS t
//! HOP       (SELECT *, window_end(window_start, size) AS window_end, window_time(…) AS window_time
//!            FROM (SELECT *, unnest(hop_starts(ts, slide, size)) AS window_start FROM t)) AS t
//! CUMULATE  (SELECT *, tumble_start(window_time(window_end), size) AS window_start, window_time(window_end) AS window_time
//!            FROM (SELECT *, unnest(cumulate_ends(ts, step, size)) AS window_end FROM t)) AS t
//! SESSION   (SELECT *, window_time(window_end) AS window_time
//!            FROM (SELECT *, session_start(ts, gap) OVER w AS window_start, session_end(ts, gap) OVER w AS window_end
//!                  FROM t WHERE ts IS NOT NULL)) AS t                      w: (PARTITION BY k, … ORDER BY ts)
//! ```
//!
//! The columns that these make have names that nobody types ([`made_column`]): `t` may have windows already, and then its `window_time` is, as a
//! rule, the time of the new ones. The planner (`plan/window_columns.rs`) puts them in the order of the table above, and in the place of columns of
//! `t` that are called like them; that it shall says a mark, which is no SQL ([`take_mark`]).
//!
//! What the functions give is told in `plan/time_windows.rs` and `plan/sessions.rs`. A row without a time is in no window. An alias written
//! behind the function wins over `t`'s own name. The user's expressions keep their places in the text.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    ExcludeSelectItem, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Interval, ObjectName, Query, SelectItem,
    SetExpr, TableAlias, TableFactor, Value, VisitorMut, WildcardAdditionalOptions, WindowType,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Tokenizer;

use super::dialect::QUERY;
use super::query::folded;
use super::walk::WalkMut;
use crate::error::{Error, Kind, Result};

/// A window table function.
struct WindowFunction {
    name: &'static str,
    /// What it becomes; words in quotes that begin with `$` are replaced.
    query: &'static str,
    /// The same with an offset.
    query_with_offset: Option<&'static str>,
    /// The names of its arguments, behind which there may be an offset.
    arguments: &'static [&'static str],
    /// How it is written.
    form: &'static str,
}

const FUNCTIONS: [WindowFunction; 4] = [
    WindowFunction {
        name: "tumble",
        query: r#"SELECT *, window_end("$window_start", "$size") AS "$window_end", window_time(window_end("$window_start", "$size")) AS "$window_time"
            FROM (SELECT *, tumble_start("$timecol", "$size") AS "$window_start" FROM "$data") WHERE "$window_start" IS NOT NULL"#,
        query_with_offset: Some(
            r#"SELECT *, window_end("$window_start", "$size") AS "$window_end", window_time(window_end("$window_start", "$size")) AS "$window_time"
            FROM (SELECT *, tumble_start("$timecol", "$size", "$offset") AS "$window_start" FROM "$data") WHERE "$window_start" IS NOT NULL"#,
        ),
        arguments: &["data", "timecol", "size"],
        form: "TUMBLE(relation, time column, size [, offset])",
    },
    WindowFunction {
        name: "hop",
        query: r#"SELECT *, window_end("$window_start", "$size") AS "$window_end", window_time(window_end("$window_start", "$size")) AS "$window_time"
            FROM (SELECT *, unnest(hop_starts("$timecol", "$slide", "$size")) AS "$window_start" FROM "$data")"#,
        query_with_offset: Some(
            r#"SELECT *, window_end("$window_start", "$size") AS "$window_end", window_time(window_end("$window_start", "$size")) AS "$window_time"
            FROM (SELECT *, unnest(hop_starts("$timecol", "$slide", "$size", "$offset")) AS "$window_start" FROM "$data")"#,
        ),
        arguments: &["data", "timecol", "slide", "size"],
        form: "HOP(relation, time column, slide, size [, offset])",
    },
    WindowFunction {
        name: "cumulate",
        query: r#"SELECT *, tumble_start(window_time("$window_end"), "$size") AS "$window_start",
            window_time("$window_end") AS "$window_time"
            FROM (SELECT *, unnest(cumulate_ends("$timecol", "$step", "$size")) AS "$window_end" FROM "$data")"#,
        query_with_offset: Some(
            r#"SELECT *, tumble_start(window_time("$window_end"), "$size", "$offset") AS "$window_start",
            window_time("$window_end") AS "$window_time"
            FROM (SELECT *, unnest(cumulate_ends("$timecol", "$step", "$size", "$offset")) AS "$window_end" FROM "$data")"#,
        ),
        arguments: &["data", "timecol", "step", "size"],
        form: "CUMULATE(relation, time column, step, size [, offset])",
    },
    WindowFunction {
        name: "session",
        query: r#"SELECT *, window_time("$window_end") AS "$window_time"
            FROM (SELECT *, session_start("$timecol", "$gap") OVER (PARTITION BY "$keys" ORDER BY "$timecol") AS "$window_start",
                         session_end("$timecol", "$gap") OVER (PARTITION BY "$keys" ORDER BY "$timecol") AS "$window_end"
                  FROM "$data" WHERE "$timecol" IS NOT NULL)"#,
        query_with_offset: None,
        arguments: &["data", "timecol", "gap"],
        form: "SESSION(relation [PARTITION BY column, …], time column, gap)",
    },
];

/// The columns that each function puts behind those of its relation, in this order.
pub const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// Behind the names of columns that the templates make: as in `plan/names.rs`, shown to nobody and typed by nobody.
const MADE: char = '\u{1}';

/// The argument that PARTITION BY becomes before the parser sees it: behind the relation, with the first key; the others follow.
pub(super) const PARTITION_BY: &str = "partition_by";

/// Rewrites every window table function in `query`, in subqueries too. Fails with `42883` where the arguments do not fit.
pub fn expand_windows(query: &mut Query) -> Result<()> {
    match query.walk_mut(&mut Expand) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Whether it is the name of one of them.
pub(crate) fn is_window_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name.eq_ignore_ascii_case(name))
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
    is_window_function(&name).then(|| (name, arguments.clone(), alias.clone()))
}

/// The relation that a call is over.
pub(super) fn data_argument(arguments: &[FunctionArg]) -> Option<&Expr> {
    let named = arguments.iter().find_map(|argument| Some(named(argument)?).filter(|(name, _)| name == "data"));
    let first = || match arguments.first() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(relation))) => Some(relation),
        _ => None,
    };
    named.map(|(_, relation)| relation).or_else(first)
}

/// The name in lower case, and what stands behind the arrow.
fn named(argument: &FunctionArg) -> Option<(String, &Expr)> {
    match argument {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => Some((folded(name), value)),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. } => Some((folded(name), value)),
        _ => None,
    }
}

/// The arguments of one call by their names, and the keys that partition it.
fn by_name(function: &WindowFunction, arguments: Vec<FunctionArg>) -> Option<(BTreeMap<&'static str, Expr>, Vec<Expr>)> {
    let optional = function.query_with_offset.map(|_| "offset");
    let (mut found, mut keys, mut positional, mut keys_from) = (BTreeMap::new(), Vec::new(), Vec::new(), None);
    for argument in arguments {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument {
            positional.push(value);
            continue;
        }
        let (name, value) = named(&argument)?;
        if name == PARTITION_BY {
            keys_from = Some(positional.len());
            keys.push(value.clone());
            continue;
        }
        let name = function.arguments.iter().copied().chain(optional).find(|known| *known == name)?;
        if found.insert(name, value.clone()).is_some() {
            return None;
        }
    }
    // By place come those in front of the first that has a name.
    let mut names = function.arguments.iter().copied().chain(optional);
    let by_place: Vec<&'static str> = names.by_ref().take_while(|name| !found.contains_key(name)).collect();
    let needed = by_place.len().min(function.arguments.len());
    if function.arguments[needed..].iter().any(|name| !found.contains_key(name)) {
        return None;
    }
    if let (Some(from), Some(more)) = (keys_from, positional.len().checked_sub(needed)) {
        // What is not needed for anything else belongs to PARTITION BY.
        let until = from.checked_add(more).filter(|until| *until <= positional.len())?;
        keys.extend(positional.drain(from..until));
    }
    if positional.len() < needed || positional.len() > by_place.len() {
        return None;
    }
    found.extend(by_place.into_iter().zip(positional));
    let keys = keys.into_iter().flat_map(|key| match key {
        Expr::Tuple(keys) => keys,
        Expr::Nested(key) => vec![*key],
        key => vec![key],
    });
    Some((found, keys.map(without_relation).collect()))
}

/// A column by its last name: there is one relation.
fn without_relation(expression: Expr) -> Expr {
    match expression {
        Expr::CompoundIdentifier(mut parts) => Expr::Identifier(parts.remove(parts.len() - 1)),
        other => other,
    }
}

/// The derived table for one call.
fn expand(name: &str, arguments: Vec<FunctionArg>, alias: Option<TableAlias>) -> Result<TableFactor> {
    let function = FUNCTIONS.iter().find(|function| function.name == name);
    let function = function.ok_or_else(|| Error::internal(format!("{name} is no window function")))?;
    let upper = name.to_ascii_uppercase();
    let misfit =
        || Error::new(Kind::UndefinedFunction, format!("the arguments of {upper} do not fit")).hint(format!("Write {}.", function.form));
    let (mut arguments, keys) = by_name(function, arguments).ok_or_else(misfit)?;
    if !keys.is_empty() && name != "session" {
        return Err(Error::not_supported(format!("PARTITION BY in {upper} is not supported")).hint(
            "Its windows are the same for all rows: leave it out, and GROUP BY the columns. SESSION has windows of their own for each.",
        ));
    }
    let (relation, own_name) = arguments.remove("data").and_then(relation_of).ok_or_else(misfit)?;
    let time = arguments.remove("timecol").and_then(column_of).ok_or_else(misfit)?;
    arguments.insert("timecol", time);
    arguments.values_mut().for_each(interval_from_text);
    let text = match (arguments.contains_key("offset"), function.query_with_offset) {
        (true, Some(query)) => query,
        _ => function.query,
    };
    let mut query =
        template(&WINDOW_COLUMNS.iter().fold(text.to_owned(), |text, name| text.replace(&format!("${name}"), &made_column(name))));
    mark(&mut query);
    // The filler's visit never breaks.
    let ControlFlow::Continue(()) = query.walk_mut(&mut Fill { relation, arguments, keys });
    let own_name = own_name.unwrap_or_else(|| Ident::new(name));
    let alias = alias.unwrap_or(TableAlias { explicit: true, name: own_name, columns: Vec::new(), at: None });
    Ok(TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None })
}

/// `'1 hour'` where an interval is wanted is one, as a text without a type is elsewhere.
fn interval_from_text(argument: &mut Expr) {
    if let Expr::Value(value) = argument
        && matches!(value.value, Value::SingleQuotedString(_))
    {
        *argument = Expr::Interval(Interval {
            value: Box::new(argument.clone()),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        });
    }
}

/// What a column of [`WINDOW_COLUMNS`] is called until it takes its place among those of the relation.
pub fn made_column(name: &str) -> String {
    format!("{name}{MADE}")
}

/// Says of a query that it is one of the templates: what it makes is no part of its `*`.
fn mark(query: &mut Query) {
    if let Some(options) = leading_wildcard(query) {
        let made = made_column(WINDOW_COLUMNS[0]);
        options.opt_exclude = Some(ExcludeSelectItem::Single(ObjectName::from(vec![Ident::with_quote('"', made)])));
    }
}

/// Takes the mark off a query, if it has it: it is plain SQL then.
pub fn take_mark(query: &mut Query) -> bool {
    let is_made = |name: &ObjectName| name.0.iter().filter_map(|part| part.as_ident()).any(|part| part.value.ends_with(MADE));
    let marked = |excluded: &mut ExcludeSelectItem| matches!(excluded, ExcludeSelectItem::Single(name) if is_made(name));
    leading_wildcard(query).and_then(|options| options.opt_exclude.take_if(marked)).is_some()
}

fn leading_wildcard(query: &mut Query) -> Option<&mut WildcardAdditionalOptions> {
    match query.body.as_mut() {
        SetExpr::Select(select) => match select.projection.first_mut() {
            Some(SelectItem::Wildcard(options)) => Some(options),
            _ => None,
        },
        _ => None,
    }
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
    arguments: BTreeMap<&'static str, Expr>,
    keys: Vec<Expr>,
}

impl VisitorMut for Fill {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        match expression {
            Expr::Identifier(word) => {
                if let Some(argument) = word.value.strip_prefix('$').and_then(|name| self.arguments.get(name)) {
                    *expression = argument.clone();
                }
            }
            Expr::Function(Function { over: Some(WindowType::WindowSpec(over)), .. }) => over.partition_by.clone_from(&self.keys),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { name, .. } = factor
            && name.0.last().and_then(|part| part.as_ident()).is_some_and(|word| word.value == "$data")
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
    use super::{WINDOW_COLUMNS, expand_windows, made_column};
    use crate::error::Kind;
    use crate::sql::{Statement, parse};

    /// `text`'s query with its windows expanded, as SQL with the names that the user sees.
    fn expanded(text: &str) -> crate::error::Result<String> {
        let mut parsed = parse(text)?;
        let Statement::Query(mut query) = parsed.remove(0).statement else { panic!("not a query: {text}") };
        expand_windows(&mut query)?;
        let made = |text: String, name: &&str| text.replace(&format!("\"{}\"", made_column(name)), name);
        Ok(WINDOW_COLUMNS.iter().fold(query.to_string(), made))
    }

    #[test]
    fn tumble_in_all_forms() {
        let time = "window_time(window_end(window_start, INTERVAL '10 seconds')) AS window_time";
        let inner = format!(
            "(SELECT * EXCLUDE window_start, window_end(window_start, INTERVAL '10 seconds') AS window_end, {time} FROM \
             (SELECT *, tumble_start(ts, INTERVAL '10 seconds') AS window_start FROM bid) WHERE window_start IS NOT NULL)"
        );
        let cases = [
            ("SELECT * FROM TUMBLE(bid, ts, INTERVAL '10 seconds')", "bid"),
            ("SELECT * FROM tumble(bid, bid.ts, INTERVAL '10 seconds') AS w", "w"),
            ("SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10 seconds'))", "bid"),
            ("SELECT * FROM TABLE(TUMBLE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10 seconds'))", "bid"),
            ("SELECT * FROM TUMBLE(size => INTERVAL '10 seconds', timecol => ts, data => TABLE bid) AS w", "w"),
            ("SELECT * FROM TUMBLE(bid, ts, size => INTERVAL '10 seconds')", "bid"),
        ];
        for (text, alias) in cases {
            assert_eq!(expanded(text).unwrap(), format!("SELECT * FROM {inner} AS {alias}"), "{text}");
        }
        let offset =
            expanded("SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' DAY, OFFSET => INTERVAL '8' HOUR))").unwrap();
        assert!(offset.contains("tumble_start(ts, INTERVAL '1' DAY, INTERVAL '8' HOUR)"), "{offset}");
    }

    #[test]
    fn hop_over_subqueries_and_aliases() {
        let size = "INTERVAL '9' SECOND";
        let hop = |relation: &str, alias: &str| {
            format!(
                "SELECT * FROM (SELECT * EXCLUDE window_start, window_end(window_start, {size}) AS window_end, window_time(window_end(window_start, {size})) \
                 AS window_time FROM (SELECT *, unnest(hop_starts(ts, INTERVAL '3' SECOND, {size})) AS window_start FROM {relation})) AS {alias}"
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
    fn sessions_have_keys_of_any_number() {
        let over = |keys: &str| format!("OVER ({keys}ORDER BY ts) AS window_start");
        let cases = [
            ("SELECT * FROM SESSION(bid, ts, INTERVAL '1' MINUTE)", ""),
            ("SELECT * FROM SESSION(bid PARTITION BY a, ts, INTERVAL '1' MINUTE)", "PARTITION BY a "),
            ("SELECT * FROM SESSION(bid PARTITION BY bid.a, b, bid.ts, INTERVAL '1' MINUTE)", "PARTITION BY a, b "),
            ("SELECT * FROM TABLE(SESSION(TABLE bid PARTITION BY (a, b), DESCRIPTOR(ts), INTERVAL '1' MINUTE))", "PARTITION BY a, b "),
            ("SELECT * FROM SESSION(DATA => TABLE bid PARTITION BY a, b, TIMECOL => ts, GAP => INTERVAL '1' MINUTE)", "PARTITION BY a, b "),
            ("SELECT * FROM SESSION((SELECT * FROM bid) AS x PARTITION BY lower(a), ts, INTERVAL '1' MINUTE)", "PARTITION BY lower(a) "),
            ("SELECT * FROM SESSION(bid AS x PARTITION BY x.a, ts, INTERVAL '1' MINUTE)", "PARTITION BY a "),
        ];
        for (text, keys) in cases {
            let found = expanded(text).unwrap();
            assert!(found.contains(&over(keys)), "{text}: {found}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let cases = [
            ("SELECT * FROM TUMBLE(bid PARTITION BY bidder, ts, INTERVAL '1 minute')", Kind::NotSupported),
            ("SELECT * FROM TUMBLE(bid, ts)", Kind::UndefinedFunction),
            ("SELECT * FROM TUMBLE(bid, 1 + 1, INTERVAL '1 minute')", Kind::UndefinedFunction),
            ("SELECT * FROM TUMBLE(bid, ts, slide => INTERVAL '1 minute')", Kind::UndefinedFunction),
            ("SELECT * FROM TUMBLE(bid, ts, timecol => ts, size => INTERVAL '1 minute')", Kind::UndefinedFunction),
            ("SELECT * FROM HOP(bid, ts, INTERVAL '1 minute')", Kind::UndefinedFunction),
            ("SELECT * FROM SESSION(bid, ts, INTERVAL '1 minute', INTERVAL '1 minute')", Kind::UndefinedFunction),
            ("SELECT * FROM SESSION(bid PARTITION BY a, INTERVAL '1 minute')", Kind::UndefinedFunction),
        ];
        for (text, kind) in cases {
            assert_eq!(expanded(text).map_err(|error| error.kind()), Err(kind), "{text}");
        }
    }
}
