//! Definitions whose objects get other names: the user's text stays as it was written, but for the names in it.
//!
//! In: a stored text, and how the relations that it names are to be written from now on. Out: the text, in which
//!
//! ```text
//!  FROM t               →  FROM u AS t                                 t is called u now; what says t.x still finds it
//!  FROM t               →  FROM (SELECT a, c AS b FROM t) AS t         the query's b is called c now, or t has columns that the query must not see
//!  TUMBLE(t, ts, …)     →  TUMBLE(u, ts, …) AS t
//! ```
//!
//! A name that a WITH of the query gives to something else is left alone. Whoever asks plans the new text and compares: what cannot be
//! respelled shows there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor, Visitor,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Location;

use super::dialect::QUERY;
use super::parse::parse;
use super::position::locate;
use super::query::folded;
use super::quote::quote_ident;
use super::statement::Statement;
use super::walk::Walk;
use super::windows::{data_argument, window_call};
use crate::error::{Error, Kind, Result};

/// How a relation that a query names is to be written from now on.
#[derive(Clone, Debug)]
pub struct Respelling {
    /// Its schema, where it is not found without.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// The columns that the query may see: what each is called now, and what the query calls it. `None`: all, by their names.
    pub columns: Option<Vec<(String, String)>>,
    /// Columns that are gone: a subquery that only names columns of the relation, as a respelling makes it, names them no more. Nothing else of
    /// the text changes.
    pub without: Vec<String>,
}

/// Writes the relations of a query's text anew: those for which `respelled` (schema as written, name) says how.
pub fn respell(text: &str, respelled: &dyn Fn(Option<&str>, &str) -> Option<Respelling>) -> Result<String> {
    let query = parsed(text)?;
    let mut speller = Speller { text, respelled, scopes: Vec::new(), of_cte: BTreeMap::new(), done: BTreeSet::new(), edits: Vec::new() };
    let _ = query.walk(&mut speller);
    Ok(edited(text, speller.edits))
}

/// Whether a query may see a new column of a relation that it reads: by a `*`, a NATURAL join, or because it says the column's name, which may
/// mean another column so far.
pub fn may_see_column(text: &str, column: &str) -> Result<bool> {
    Ok(parsed(text)?.walk(&mut Open { column }).is_break())
}

/// Renames a column in an expression over the columns of its own table.
pub fn rename_column(text: &str, from: &str, to: &str) -> Result<String> {
    let parsed = Parser::new(&QUERY).try_with_sql(text).and_then(|mut parser| parser.parse_expr());
    let expression = parsed.map_err(|error| Error::new(Kind::Syntax, error.to_string()))?;
    let mut renamer = Renamer { text, from, to: quote_ident(to), edits: Vec::new() };
    let _ = expression.walk(&mut renamer);
    Ok(edited(text, renamer.edits))
}

/// The only query of a text.
pub(super) fn parsed(text: &str) -> Result<Query> {
    match parse(text)?.pop().map(|parsed| parsed.statement) {
        Some(Statement::Query(query)) => Ok(*query),
        _ => Err(Error::new(Kind::Syntax, "a query is needed here")),
    }
}

/// From which byte to which, and what stands there instead.
type Edit = (usize, usize, String);

fn edited(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(start, end, _)| (*start, *end));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (start, end, new) in edits {
        out.push_str(&text[at..start.max(at)]);
        out.push_str(&new);
        at = end.max(at);
    }
    out.push_str(&text[at..]);
    out
}

fn byte(text: &str, location: Location) -> usize {
    locate(text, location).byte
}

/// Collects the edits of `respell`.
struct Speller<'a> {
    text: &'a str,
    respelled: &'a dyn Fn(Option<&str>, &str) -> Option<Respelling>,
    /// For each query around: the names that WITH has given.
    scopes: Vec<BTreeSet<String>>,
    /// The same for queries of a WITH, by their addresses: each sees those before it, or all if it is recursive.
    of_cte: BTreeMap<usize, BTreeSet<String>>,
    /// Where relations stand that were written anew with the SELECT around them.
    done: BTreeSet<Location>,
    edits: Vec<Edit>,
}

impl Visitor for Speller<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let outer = self.of_cte.get(&address(query)).or(self.scopes.last()).cloned().unwrap_or_default();
        let mut own = outer.clone();
        if let Some(with) = &query.with {
            let names: Vec<String> = with.cte_tables.iter().map(|cte| folded(&cte.alias.name)).collect();
            for (number, cte) in with.cte_tables.iter().enumerate() {
                let seen = if with.recursive { names.len() } else { number };
                self.of_cte.insert(address(&cte.query), outer.iter().chain(&names[..seen]).cloned().collect());
            }
            own.extend(names);
        }
        self.scopes.push(own);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item {
                let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
                self.without_schema(&parts, 2);
            }
        }
        self.plain_select(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let Some((_, arguments, alias)) = window_call(factor) {
            if let Some(relation) = data_argument(&arguments) {
                let depth = if matches!(factor, TableFactor::TableFunction { .. }) { 2 } else { 1 };
                match relation {
                    Expr::Identifier(name) => self.window_argument(&[name], alias.is_some(), depth),
                    Expr::CompoundIdentifier(parts) => self.window_argument(&parts.iter().collect::<Vec<_>>(), alias.is_some(), depth),
                    _ => {}
                }
            }
        } else if let TableFactor::Table { name, alias, args: None, .. } = factor {
            self.table(name, alias.is_some());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr {
            self.without_schema(&parts.iter().collect::<Vec<_>>(), 3);
        }
        ControlFlow::Continue(())
    }
}

impl Speller<'_> {
    /// How the relation of this name is to be written; `None`: as it is.
    fn new_spelling(&self, parts: &[&Ident]) -> Option<Respelling> {
        match parts {
            [name] => {
                let name = folded(name);
                let given = self.scopes.last().is_some_and(|names| names.contains(&name));
                (!given).then(|| (self.respelled)(None, &name)).flatten()
            }
            [schema, name] => (self.respelled)(Some(&folded(schema)), &folded(name)),
            _ => None,
        }
    }

    fn table(&mut self, name: &ObjectName, aliased: bool) {
        let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
        let Some(new) = self.new_spelling(&parts).filter(|_| !self.done.contains(&first.span.start)) else { return };
        if !new.without.is_empty() {
            return;
        }
        let mut text = source(&new);
        if !aliased && (new.columns.is_some() || new.name != folded(last)) {
            text = format!("{text} AS {}", quote_ident(&folded(last)));
        }
        let (start, is_query) = self.start_of_name(first);
        if is_query {
            text = format!("SELECT * FROM {text}");
        }
        self.edits.push((start, byte(self.text, last.span.end), text));
    }

    /// The relation that a window function is over; the function's rows go by its name.
    fn window_argument(&mut self, parts: &[&Ident], aliased: bool, depth: usize) {
        let Some(new) = self.new_spelling(parts).filter(|new| new.without.is_empty()) else { return };
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
        let end = byte(self.text, last.span.end);
        let start = byte(self.text, first.span.start);
        self.edits.push((start, end, source(&new)));
        if !aliased {
            let behind = closing(self.text, end, depth);
            self.edits.push((behind, behind, format!(" AS {}", quote_ident(&folded(last)))));
        }
    }

    /// `SELECT a, b AS x FROM t` and nothing more, as a respelling makes it: its columns are written anew in their places.
    fn plain_select(&mut self, select: &Select) {
        let [from] = select.from.as_slice() else { return };
        let TableFactor::Table { name, alias: None, args: None, .. } = &from.relation else { return };
        let plain = from.joins.is_empty()
            && select.selection.is_none()
            && select.having.is_none()
            && select.distinct.is_none()
            && matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
        let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
        let Some(new) = self.new_spelling(&parts).filter(|_| plain) else { return };
        if !new.without.is_empty() {
            return self.without_columns(select, &new.without);
        }
        let Respelling { columns: Some(columns), schema, name, .. } = new else { return };
        let mut edits = Vec::new();
        for item in &select.projection {
            let (column, aliased) = match item {
                SelectItem::UnnamedExpr(Expr::Identifier(column)) => (column, false),
                SelectItem::ExprWithAlias { expr: Expr::Identifier(column), .. } => (column, true),
                _ => return,
            };
            let then = folded(column);
            let Some((now, _)) = columns.iter().find(|(_, known)| *known == then) else { return };
            if *now != then {
                let alias = if aliased { String::new() } else { format!(" AS {}", quote_ident(&then)) };
                let (start, end) = (byte(self.text, column.span.start), byte(self.text, column.span.end));
                edits.push((start, end, format!("{}{alias}", quote_ident(now))));
            }
        }
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
        let (start, is_query) = self.start_of_name(first);
        if is_query {
            return;
        }
        edits.push((start, byte(self.text, last.span.end), source(&Respelling { schema, name, columns: None, without: Vec::new() })));
        self.done.insert(first.span.start);
        self.edits.extend(edits);
    }

    /// Takes columns out of a SELECT list, if it consists of columns and others are left.
    fn without_columns(&mut self, select: &Select, gone: &[String]) {
        let mut places = Vec::with_capacity(select.projection.len());
        for item in &select.projection {
            let (column, last) = match item {
                SelectItem::UnnamedExpr(Expr::Identifier(column)) => (column, column),
                SelectItem::ExprWithAlias { expr: Expr::Identifier(column), alias } => (column, alias),
                _ => return,
            };
            places.push((folded(column), byte(self.text, column.span.start), byte(self.text, last.span.end)));
        }
        let kept: Vec<&str> =
            places.iter().filter(|(name, ..)| !gone.contains(name)).map(|(_, start, end)| &self.text[*start..*end]).collect();
        if let (Some((_, start, _)), Some((.., end))) = (places.first(), places.last())
            && !kept.is_empty()
            && kept.len() < places.len()
        {
            self.edits.push((*start, *end, kept.join(", ")));
        }
    }

    /// `s.t.x` → `t.x`: behind an alias no schema may stand.
    fn without_schema(&mut self, parts: &[&Ident], length: usize) {
        if parts.len() == length && self.new_spelling(&parts[..2]).is_some_and(|new| new.without.is_empty()) {
            self.edits.push((byte(self.text, parts[0].span.start), byte(self.text, parts[1].span.start), String::new()));
        }
    }

    /// Where a name starts, with the database and with the word TABLE of `TABLE t` before it; and whether that word is there.
    fn start_of_name(&self, first: &Ident) -> (usize, bool) {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
        let mut start = byte(self.text, first.span.start);
        let before = self.text[..start].trim_end();
        if let Some(database) = before.strip_suffix('.') {
            start = database.trim_end().trim_end_matches(is_name).len();
        }
        let before = self.text[..start].trim_end();
        let rest = before.trim_end_matches(is_name);
        if before[rest.len()..].eq_ignore_ascii_case("table") { (rest.len(), true) } else { (start, false) }
    }
}

/// A relation as it stands in FROM, without alias.
fn source(new: &Respelling) -> String {
    let name = match &new.schema {
        Some(schema) => format!("{}.{}", quote_ident(schema), quote_ident(&new.name)),
        None => quote_ident(&new.name),
    };
    let Some(columns) = &new.columns else { return name };
    let column = |(now, then): &(String, String)| {
        if now == then { quote_ident(now) } else { format!("{} AS {}", quote_ident(now), quote_ident(then)) }
    };
    format!("(SELECT {} FROM {name})", columns.iter().map(column).collect::<Vec<_>>().join(", "))
}

fn address(query: &Query) -> usize {
    std::ptr::from_ref(query) as usize
}

/// Behind the parenthesis that closes the `depth` ones that are open at `from`.
fn closing(text: &str, from: usize, depth: usize) -> usize {
    let (mut depth, mut quote) = (depth, None);
    for (at, c) in text[from..].char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth -= 1;
                if depth == 0 {
                    return from + at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Looks for what may see a new column.
struct Open<'a> {
    column: &'a str,
}

impl Visitor for Open<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        let natural = |operator: &JoinOperator| {
            matches!(
                operator,
                JoinOperator::Join(JoinConstraint::Natural)
                    | JoinOperator::Inner(JoinConstraint::Natural)
                    | JoinOperator::Left(JoinConstraint::Natural)
                    | JoinOperator::LeftOuter(JoinConstraint::Natural)
            )
        };
        let joins = select.from.iter().flat_map(|from| &from.joins).any(|join| natural(&join.join_operator));
        if joins || select.projection.iter().any(wildcard) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let named = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        if named.is_some_and(|name| folded(name) == self.column) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Collects the edits of `rename_column`.
struct Renamer<'a> {
    text: &'a str,
    from: &'a str,
    to: String,
    edits: Vec<Edit>,
}

impl Visitor for Renamer<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let named = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        if let Some(name) = named.filter(|name| folded(name) == self.from) {
            self.edits.push((byte(self.text, name.span.start), byte(self.text, name.span.end), self.to.clone()));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Respelling, may_see_column, rename_column, respell};

    fn renamed(text: &str) -> String {
        let new = |schema: Option<&str>, name: &str| {
            let found = name == "t" && schema.is_none_or(|schema| schema == "s");
            found.then(|| Respelling { schema: None, name: "u".to_owned(), columns: None, without: Vec::new() })
        };
        respell(text, &new).unwrap()
    }

    #[test]
    fn a_relation_gets_its_new_name_and_keeps_its_old_one_as_alias() {
        let cases = [
            ("SELECT t.a FROM  t -- why\n WHERE t.a > 1", "SELECT t.a FROM  u AS t -- why\n WHERE t.a > 1"),
            ("SELECT x.a FROM t AS x JOIN T y ON x.a = y.a", "SELECT x.a FROM u AS x JOIN u y ON x.a = y.a"),
            ("SELECT s.t.a, s.t.* FROM tidemill.s.t", "SELECT t.a, t.* FROM u AS t"),
            ("WITH t AS (SELECT * FROM t) SELECT * FROM t", "WITH t AS (SELECT * FROM u AS t) SELECT * FROM t"),
            ("WITH RECURSIVE t AS (SELECT * FROM t) SELECT * FROM t", "WITH RECURSIVE t AS (SELECT * FROM t) SELECT * FROM t"),
            ("SELECT (SELECT max(a) FROM t) FROM other.t", "SELECT (SELECT max(a) FROM u AS t) FROM other.t"),
            ("SELECT 't' FROM x UNION ALL TABLE t", "SELECT 't' FROM x UNION ALL SELECT * FROM u AS t"),
            ("SELECT t.a FROM TUMBLE(t, ts, INTERVAL '1)')", "SELECT t.a FROM TUMBLE(u, ts, INTERVAL '1)') AS t"),
            (
                "SELECT a FROM SESSION(DATA => TABLE t PARTITION BY t.a, TIMECOL => ts, GAP => g)",
                "SELECT a FROM SESSION(DATA => TABLE u PARTITION BY t.a, TIMECOL => ts, GAP => g) AS t",
            ),
            ("SELECT 1 FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), 1, 2)) h", "SELECT 1 FROM TABLE(HOP(TABLE u, DESCRIPTOR(ts), 1, 2)) h"),
            ("SELECT 1 FROM HOP(t AS b, b.ts, 1, 2) h", "SELECT 1 FROM HOP(u AS b, b.ts, 1, 2) h"),
        ];
        for (text, expected) in cases {
            assert_eq!(renamed(text), expected);
        }
    }

    #[test]
    fn columns_keep_their_names_within_the_query() {
        let new = |name: &'static str, from: &'static str| {
            let columns = vec![("a".to_owned(), "a".to_owned()), (name.to_owned(), from.to_owned())];
            move |_: Option<&str>, name: &str| {
                let columns = Some(columns.clone());
                (name == "t").then(|| Respelling { schema: None, name: "t".to_owned(), columns, without: Vec::new() })
            }
        };
        let once = respell("SELECT * FROM t WHERE b > 1", &new("c", "b")).unwrap();
        assert_eq!(once, "SELECT * FROM (SELECT a, c AS b FROM t) AS t WHERE b > 1");
        let twice = respell(&once, &new("D", "c")).unwrap();
        assert_eq!(twice, "SELECT * FROM (SELECT a, \"D\" AS b FROM t) AS t WHERE b > 1");
        assert_eq!(respell("SELECT b FROM t", &new("c", "b")).unwrap(), "SELECT c AS b FROM t");
    }

    #[test]
    fn a_column_that_goes_is_named_no_more_where_only_columns_are_named() {
        let gone = |_: Option<&str>, name: &str| {
            let without = vec!["b".to_owned()];
            (name == "t").then(|| Respelling { schema: None, name: "t".to_owned(), columns: None, without })
        };
        let cases = [
            ("SELECT x.a FROM (SELECT a, b AS old, c AS d FROM t) AS x", "SELECT x.a FROM (SELECT a, c AS d FROM t) AS x"),
            ("SELECT a, b + 1 FROM s.t, t WHERE s.t.a > 1", "SELECT a, b + 1 FROM s.t, t WHERE s.t.a > 1"),
            ("SELECT 1 WHERE EXISTS (SELECT b FROM t)", "SELECT 1 WHERE EXISTS (SELECT b FROM t)"),
        ];
        for (text, expected) in cases {
            assert_eq!(respell(text, &gone).unwrap(), expected);
        }
    }

    #[test]
    fn a_new_column_is_seen_by_a_star_or_by_its_name() {
        for (text, seen) in [("SELECT a FROM t", false), ("SELECT count(*) FROM t", false), ("SELECT b + 1 FROM t, x", true)] {
            assert_eq!(may_see_column(text, "b").unwrap(), seen, "{text}");
        }
        assert!(may_see_column("SELECT 1 FROM (SELECT DISTINCT t.* FROM t) x", "b").unwrap());
        assert!(may_see_column("SELECT a FROM t NATURAL JOIN u", "b").unwrap());
    }

    #[test]
    fn an_expression_follows_its_column() {
        assert_eq!(rename_column("price * 100 + length('price')", "price", "Cost").unwrap(), "\"Cost\" * 100 + length('price')");
    }
}
