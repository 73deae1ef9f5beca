//! Random queries by a grammar: every expression is made for a type, over the columns that are in sight.
//!
//! In: the tables and views that a query may read. Out: its text, the kinds of its columns, and which views it reads.
//! Always: the same answer, however it is computed. Where the order of rows decides (LIMIT, `row_number`, frames of ROWS), the order ends with
//! every column in sight, so that rows it leaves equal are equal. Sums of floats are sums of few binary digits, exact in any order.
//!
//! ```text
//! query    = [WITH name AS (query), …] (select | select UNION … select) [ORDER BY all columns LIMIT n]
//! select   = plain | aggregate | window | first of each
//! source   = relation [kind JOIN relation ON condition …]
//! relation = table | view | (query) | TUMBLE(…) | HOP(…) | CUMULATE(…) | SESSION(…) | (VALUES …)
//! ```

mod aggregate;
mod condition;
mod correlated;
mod expression;
mod select;
mod source;
mod window;

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;

use super::{choose, once_in};

/// What a value is, as far as it decides what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any integer.
    Int,
    Numeric,
    /// A float of few binary digits: adds up exactly in any order.
    Float,
    Text,
    Bool,
    Time,
    /// A float that is the same however it is computed, but whose sums are not: an average.
    Real,
    /// A float whose last digits depend on how it was computed: it may only be shown.
    Approx,
    /// An array or JSON: it may only be shown.
    Opaque,
}

/// The kinds of which there are expressions beside columns.
const EXPRESSIBLE: [Kind; 6] = [Kind::Int, Kind::Numeric, Kind::Float, Kind::Text, Kind::Bool, Kind::Time];

impl Kind {
    /// Whether values can be compared, sorted and grouped.
    pub(super) fn comparable(self) -> bool {
        !matches!(self, Kind::Approx | Kind::Opaque)
    }

    pub(super) fn sql(self) -> &'static str {
        match self {
            Kind::Int => "BIGINT",
            Kind::Numeric => "NUMERIC(12,2)",
            Kind::Float | Kind::Real | Kind::Approx => "DOUBLE PRECISION",
            Kind::Text | Kind::Opaque => "TEXT",
            Kind::Bool => "BOOLEAN",
            Kind::Time => "TIMESTAMP",
        }
    }
}

/// A table or view that a query may read.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Kind)>,
    /// About how many rows it has.
    pub(super) rows: f64,
    /// Whether TUMBLE and HOP may read it: a table, whose time is called `ts`.
    pub(super) table: bool,
}

/// A random query.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) sql: String,
    /// Its columns are called `c0`, `c1`, ….
    pub(super) kinds: Vec<Kind>,
    pub(super) rows: f64,
    /// Names of the tables and views in it.
    pub(super) reads: BTreeSet<String>,
}

/// A column in sight.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: Kind,
}

/// More rows than this, a source is not joined any further: a seed is to take a fraction of a second.
const ROWS_MAX: f64 = 3_000.0;

/// How deep subqueries nest.
const DEPTH: u32 = 3;

/// How many tables and views a query reads, all its subqueries together.
const RELATIONS: u32 = 7;

/// Makes one query.
pub(super) struct Grammar<'a> {
    rng: &'a mut StdRng,
    relations: &'a [Relation],
    reads: BTreeSet<String>,
    /// Common tables in sight.
    common: Vec<Relation>,
    aliases: u32,
    /// Relations that may still be read.
    left: u32,
}

impl<'a> Grammar<'a> {
    /// A random query over `relations`.
    pub(super) fn query(rng: &'a mut StdRng, relations: &'a [Relation]) -> Query {
        let left = rng.random_range(1..=RELATIONS);
        let depth = rng.random_range(1..=DEPTH);
        let mut grammar = Grammar { rng, relations, reads: BTreeSet::new(), common: Vec::new(), aliases: 0, left };
        let made = grammar.full_query(None, depth);
        Query { sql: made.sql, kinds: made.kinds, rows: made.rows, reads: grammar.reads }
    }

    fn one_in(&mut self, times: u32) -> bool {
        once_in(self.rng, times)
    }

    fn range(&mut self, range: std::ops::Range<i64>) -> i64 {
        self.rng.random_range(range)
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        choose(self.rng, items).clone()
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("r{}", self.aliases)
    }

    /// A kind that `columns` have, mostly, and for which there are expressions.
    fn kind_of(&mut self, columns: &[Column]) -> Kind {
        let kinds: Vec<Kind> = columns.iter().map(|column| column.kind).filter(|kind| EXPRESSIBLE.contains(kind)).collect();
        if kinds.is_empty() || self.one_in(8) { self.pick(&EXPRESSIBLE) } else { self.pick(&kinds) }
    }

    /// One of the columns of a kind.
    fn column(&mut self, kind: Kind, columns: &[Column]) -> Option<String> {
        let fitting: Vec<&Column> = columns.iter().filter(|column| column.kind == kind).collect();
        (!fitting.is_empty()).then(|| choose(self.rng, &fitting).name.clone())
    }

    /// One of the columns that can be compared.
    fn comparable(&mut self, columns: &[Column]) -> Option<Column> {
        let fitting: Vec<&Column> = columns.iter().filter(|column| column.kind.comparable()).collect();
        (!fitting.is_empty()).then(|| (*choose(self.rng, &fitting)).clone())
    }

    /// `ASC`, `DESC`, with and without a place for NULLs.
    fn direction(&mut self) -> &'static str {
        self.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"])
    }

    /// An order by a few columns first, and then by all: rows that it leaves equal are equal. `None` if a column cannot be sorted by.
    fn total_order(&mut self, columns: &[Column]) -> Option<String> {
        if columns.is_empty() || columns.iter().any(|column| !column.kind.comparable()) {
            return None;
        }
        let mut order: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        for place in (1..order.len()).rev() {
            let other = self.rng.random_range(0..=place);
            order.swap(place, other);
        }
        let parts: Vec<String> = order.into_iter().map(|name| format!("{name}{}", self.direction())).collect();
        Some(parts.join(", "))
    }
}

/// What a production gives: its text, and what is known of its rows.
struct Made {
    sql: String,
    kinds: Vec<Kind>,
    rows: f64,
}

/// `c0`, `c1`, … behind an alias.
fn output_columns(alias: &str, kinds: &[Kind]) -> Vec<Column> {
    kinds.iter().enumerate().map(|(index, kind)| Column { name: format!("{alias}.c{index}"), kind: *kind }).collect()
}

/// `a AS c0, b AS c1`.
fn select_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().enumerate().map(|(index, item)| format!("{item} AS c{index}")).collect();
    items.join(", ")
}
