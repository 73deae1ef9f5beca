//! Random tables and random changes to them: inserts, updates, deletes, NULLs, duplicates, transactions.
//!
//! Values come from small domains, so that joins match, groups collide and updates hit.

use rand::RngExt;
use rand::rngs::StdRng;

use super::grammar::{Kind as ValueKind, Relation};
use super::{choose, once_in};

/// Ids of keyed tables come from `0..IDS`, so that inserts meet rows that are there.
const IDS: i64 = 40;

/// Ids that no other change meets.
const LATER: i64 = 1_000;

/// The columns that every table has, in random order.
const COLUMNS: [(&str, Kind); 9] = [
    ("k", Kind::Bigint),
    ("n", Kind::Int),
    ("s", Kind::Text),
    ("d", Kind::Numeric),
    ("f", Kind::Double),
    ("b", Kind::Boolean),
    ("ts", Kind::Timestamp),
    ("a", Kind::Ints),
    ("j", Kind::Json),
];

/// Columns by which tables may have indexes.
const INDEXED: [&str; 6] = ["id", "k", "n", "s", "d", "f"];

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Bigint,
    Int,
    Text,
    Numeric,
    Double,
    Boolean,
    Timestamp,
    /// A few small numbers, some of them NULL.
    Ints,
    /// An array of small objects.
    Json,
}

/// A table as this seed declared it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// Whether `id` is its primary key.
    keyed: bool,
    /// Whether its floats may be NaN, infinite, or zero with a sign.
    strange: bool,
    columns: Vec<Column>,
    /// Those by which it has an index.
    indexed: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Column {
    name: &'static str,
    kind: Kind,
    nullable: bool,
}

impl Kind {
    fn sql(self) -> &'static str {
        match self {
            Kind::Bigint => "BIGINT",
            Kind::Int => "INT",
            Kind::Text => "TEXT",
            Kind::Numeric => "NUMERIC(12,2)",
            Kind::Double => "DOUBLE PRECISION",
            Kind::Boolean => "BOOLEAN",
            Kind::Timestamp => "TIMESTAMP",
            Kind::Ints => "INT[]",
            Kind::Json => "JSONB",
        }
    }

    /// What the grammar may do with it.
    /// `None`: it is left to queries that are written out.
    fn value_kind(self) -> Option<ValueKind> {
        Some(match self {
            Kind::Bigint | Kind::Int => ValueKind::Int,
            Kind::Text => ValueKind::Text,
            Kind::Numeric => ValueKind::Numeric,
            Kind::Double => ValueKind::Float,
            Kind::Boolean => ValueKind::Bool,
            Kind::Timestamp => ValueKind::Time,
            Kind::Ints | Kind::Json => return None,
        })
    }

    /// A literal of this kind, never NULL.
    fn literal(self, rng: &mut StdRng, strange: bool) -> String {
        match self {
            Kind::Double if strange && once_in(rng, 4) => {
                format!("CAST('{}' AS DOUBLE PRECISION)", choose(rng, &["NaN", "-0", "Infinity", "0"]))
            }
            Kind::Bigint if once_in(rng, 40) => choose(rng, &["4000000000000", "-4000000000000"]).to_string(),
            Kind::Bigint => rng.random_range(0..8).to_string(),
            Kind::Int => rng.random_range(-5..10).to_string(),
            Kind::Text => format!("'{}'", choose(rng, &["a", "b", "c", "", "ab", "Zürich", "o''clock", "a long text with blanks"])),
            Kind::Numeric => format!("{}.{:02}", rng.random_range(-50..200), rng.random_range(0..100)),
            // Sums of powers of two, which add up exactly in any order.
            Kind::Double => format!("CAST({:?} AS DOUBLE PRECISION)", f64::from(rng.random_range(-40..40)) / 4.0),
            Kind::Boolean => choose(rng, &["TRUE", "FALSE"]).to_string(),
            Kind::Ints => format!("'{{{}}}'", some(rng, |rng| small(rng, "NULL"))),
            Kind::Json => {
                let object = |rng: &mut StdRng| format!(r#"{{"p":{},"{}":"x"}}"#, small(rng, "null"), choose(rng, &["q", "r"]));
                format!("'[{}]'", some(rng, object))
            }
            Kind::Timestamp => {
                let (minute, second) = (rng.random_range(0..4), rng.random_range(0..60));
                format!("TIMESTAMP '2024-03-01 10:{minute:02}:{second:02}.{:03}'", rng.random_range(0..4) * 250)
            }
        }
    }
}

/// Up to three of what `element` makes.
fn some(rng: &mut StdRng, element: impl Fn(&mut StdRng) -> String) -> String {
    let elements: Vec<String> = (0..rng.random_range(0..4)).map(|_| element(rng)).collect();
    elements.join(",")
}

fn small(rng: &mut StdRng, null: &str) -> String {
    if once_in(rng, 6) { null.to_owned() } else { rng.random_range(-1..5).to_string() }
}

impl Column {
    fn value(&self, rng: &mut StdRng, strange: bool) -> String {
        if self.nullable && once_in(rng, 5) { "NULL".to_owned() } else { self.kind.literal(rng, strange) }
    }
}

impl Table {
    /// Table number `index` of a seed.
    pub(super) fn random(rng: &mut StdRng, index: usize) -> Self {
        let mut columns: Vec<Column> = COLUMNS.iter().map(|&(name, kind)| Column { name, kind, nullable: !once_in(rng, 4) }).collect();
        for place in (1..columns.len()).rev() {
            columns.swap(place, rng.random_range(0..=place));
        }
        let (keyed, strange) = (rng.random_bool(0.6), once_in(rng, 6));
        // Half of the tables have what joins look for: then they keep nothing.
        let indexed = if once_in(rng, 2) { INDEXED.into_iter().filter(|_| !once_in(rng, 3)).collect() } else { Vec::new() };
        Table { name: format!("t{index}"), keyed, strange, columns, indexed }
    }

    /// Its CREATE TABLE, and its indexes.
    pub(super) fn create(&self) -> String {
        let mut parts = vec![if self.keyed { "id BIGINT PRIMARY KEY".to_owned() } else { "id BIGINT".to_owned() }];
        let not_null = |column: &Column| if column.nullable { "" } else { " NOT NULL" };
        parts.extend(self.columns.iter().map(|column| format!("{} {}{}", column.name, column.kind.sql(), not_null(column))));
        let indexes = self.indexed.iter().map(|column| format!("; CREATE INDEX ON {} ({column})", self.name));
        format!("CREATE TABLE {} ({}){}", self.name, parts.join(", "), indexes.collect::<String>())
    }

    /// What queries know of it.
    pub(super) fn relation(&self) -> Relation {
        let mut columns = vec![("id".to_owned(), ValueKind::Int)];
        columns.extend(self.columns.iter().filter_map(|column| Some((column.name.to_owned(), column.kind.value_kind()?))));
        Relation { name: self.name.clone(), columns, rows: IDS as f64, table: true }
    }

    /// Its rows with ids from `LATER` on, and their end.
    pub(super) fn visitors(&self, rng: &mut StdRng) -> [String; 2] {
        let rows: Vec<String> = (0..5).map(|index| self.row(rng, LATER + index)).collect();
        let insert = format!("INSERT INTO {} VALUES {}", self.name, rows.join(", "));
        [insert, format!("DELETE FROM {} WHERE id >= {LATER}", self.name)]
    }

    fn row(&self, rng: &mut StdRng, id: i64) -> String {
        let values: Vec<String> = self.columns.iter().map(|column| column.value(rng, self.strange)).collect();
        format!("({id}, {})", values.join(", "))
    }

    fn insert(&self, rng: &mut StdRng) -> String {
        let first = rng.random_range(0..IDS);
        let count = if once_in(rng, 12) { IDS } else { rng.random_range(1..8) };
        let mut rows: Vec<String> = (0..count).map(|index| self.row(rng, (first + index) % IDS)).collect();
        if !self.keyed && once_in(rng, 2) {
            // The same row several times: only its weight changes.
            rows.push(choose(rng, &rows.clone()).clone());
        }
        let conflict = match rng.random_range(0..4) {
            0 if self.keyed => " ON CONFLICT (id) DO NOTHING",
            1 if self.keyed => " ON CONFLICT (id) DO UPDATE SET s = excluded.s, k = excluded.k",
            _ => "",
        };
        format!("INSERT INTO {} VALUES {}{conflict}", self.name, rows.join(", "))
    }

    /// An INSERT into this table that replaces rows, in words that PostgreSQL understands.
    pub(super) fn spelled_out(&self, statement: &str) -> Option<String> {
        if !self.keyed || !statement.starts_with(&format!("INSERT INTO {} ", self.name)) || statement.contains("ON CONFLICT") {
            return None;
        }
        let all: Vec<String> = self.columns.iter().map(|column| format!("{0} = excluded.{0}", column.name)).collect();
        Some(format!("{statement} ON CONFLICT (id) DO UPDATE SET {}", all.join(", ")))
    }

    fn update(&self, rng: &mut StdRng) -> String {
        let column = choose(rng, &self.columns);
        let value = match (column.kind, rng.random_range(0..3)) {
            (Kind::Bigint | Kind::Int | Kind::Numeric, 0) => format!("{} + 1", column.name),
            (Kind::Text, 0) => "coalesce(s, '') || 'x'".to_owned(),
            (Kind::Boolean, 0) if column.nullable => "NOT b".to_owned(),
            (Kind::Ints, 0) => "a || 7".to_owned(),
            _ => column.value(rng, self.strange),
        };
        format!("UPDATE {} SET {} = {value}{}", self.name, column.name, self.condition(rng))
    }

    fn delete(&self, rng: &mut StdRng) -> String {
        if once_in(rng, 15) {
            return if once_in(rng, 2) { format!("DELETE FROM {}", self.name) } else { format!("TRUNCATE {}", self.name) };
        }
        format!("DELETE FROM {}{}", self.name, self.condition(rng))
    }

    /// A WHERE clause that meets some rows.
    fn condition(&self, rng: &mut StdRng) -> String {
        match rng.random_range(0..6) {
            0 => format!(" WHERE id = {}", rng.random_range(0..IDS)),
            1 => format!(" WHERE id BETWEEN {0} AND {0} + 5", rng.random_range(0..IDS)),
            2 => format!(" WHERE k = {}", rng.random_range(0..8)),
            3 => format!(" WHERE n < {}", rng.random_range(-5..3)),
            4 => " WHERE s IS NULL OR b".to_owned(),
            _ => format!(" WHERE d > {}", rng.random_range(50..200)),
        }
    }

    fn statement(&self, rng: &mut StdRng) -> String {
        match rng.random_range(0..10) {
            0..5 => self.insert(rng),
            5..8 => self.update(rng),
            _ => self.delete(rng),
        }
    }
}

/// What one epoch brings: a statement, or a transaction of several that commits or does not.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) statements: Vec<String>,
    pub(super) commits: bool,
}

impl Change {
    pub(super) fn random(rng: &mut StdRng, tables: &[Table]) -> Self {
        let statements = if once_in(rng, 3) { rng.random_range(2..5) } else { 1 };
        let statement = |rng: &mut StdRng| if once_in(rng, 8) { by_another(rng, tables) } else { choose(rng, tables).statement(rng) };
        let statements: Vec<String> = (0..statements).map(|_| statement(rng)).collect();
        if statements.len() == 1 || statements.iter().any(|statement| statement.starts_with("TRUNCATE")) {
            // TRUNCATE stands alone.
            return Change { statements: statements.into_iter().take(1).collect(), commits: true };
        }
        Change { statements, commits: !once_in(rng, 5) }
    }

    /// As it is said to the server.
    pub(super) fn sql(&self) -> String {
        let statements = self.statements.join("; ");
        match (self.statements.len(), self.commits) {
            (1, true) => statements,
            (_, true) => format!("BEGIN; {statements}; COMMIT"),
            (_, false) => format!("BEGIN; {statements}; ROLLBACK"),
        }
    }
}

/// A statement that changes one table by what is in another, or in itself.
fn by_another(rng: &mut StdRng, tables: &[Table]) -> String {
    let (a, b) = (&choose(rng, tables).name, &choose(rng, tables).name);
    match rng.random_range(0..3) {
        0 => format!("UPDATE {a} SET n = coalesce(y.n, 0) FROM (SELECT id, max(n) AS n FROM {b} GROUP BY id) AS y WHERE {a}.id = y.id"),
        1 => format!("DELETE FROM {a} USING {b} AS y WHERE {a}.id = y.id AND y.n > 6"),
        _ => format!("DELETE FROM {a} WHERE k IN (SELECT k + 1 FROM {b} WHERE n > 7)"),
    }
}
