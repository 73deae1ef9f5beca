//! What the catalog knows of each object: tables, sources, views. Stored as JSON, so that later versions can read earlier ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::types::{Growth, Include, Low, NOW, ObjectId, OnConflict, PROCTIME, SqlType};

/// One named thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Object {
    /// Its number for ever.
    pub id: ObjectId,
    /// The schema it stands in.
    pub schema: String,
    /// Its name within the schema.
    pub name: String,
    /// The statement that made it, as the user wrote it (without the final semicolon): what SHOW CREATE gives back.
    pub sql: String,
    /// The objects that its definition names; none of them can be dropped before it.
    pub depends_on: Vec<ObjectId>,
    /// What it is.
    pub kind: ObjectKind,
    /// What COMMENT ON says of it (under 0) and of its columns (under their numbers, from 1).
    #[serde(default)]
    pub comments: BTreeMap<u32, String>,
}

/// What an object is, with what only that kind has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A namespace. Its `name` is the schema's; `schema` is empty.
    Schema,
    /// Rows written by DML or a connector.
    Table(Table),
    /// Rows from outside, not kept.
    Source(Source),
    /// A query under a name.
    View(View),
    /// A query whose answer is kept up to date.
    MaterializedView(View),
    /// A way to find rows of a table or materialised view.
    Index(Index),
    /// An expression under a name.
    Function(Function),
    /// A query whose changes are written into a table.
    Sink(Sink),
}

/// A column as declared, or as a query gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// NULL is refused.
    pub not_null: bool,
    /// The SQL text of its DEFAULT expression.
    pub default: Option<String>,
    /// The SQL text it is computed from (`GENERATED ALWAYS AS (…) STORED`, or `AS …`).
    pub generated: Option<String>,
    /// Filled by the connector from the record's surroundings.
    pub include: Option<Include>,
}

impl Column {
    /// Whether it says when a row arrived: PROCTIME().
    pub fn is_arrival(&self) -> bool {
        self.generated.as_deref() == Some(PROCTIME)
    }
}

/// The positions of the columns that say when a row arrived.
pub fn arrivals(columns: &[Column]) -> Vec<usize> {
    (0..columns.len()).filter(|position| columns[*position].is_arrival()).collect()
}

/// A table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// Its columns, generated ones included.
    pub columns: Vec<Column>,
    /// The positions of the primary key's columns; empty without one.
    pub key: Vec<usize>,
    /// What an INSERT of a key that is there does.
    pub on_conflict: OnConflict,
    /// Rows are never changed or deleted.
    pub append_only: bool,
    /// Where its rows come from, if not from INSERTs.
    pub connector: Option<ConnectorOptions>,
    /// When its rows' events were, if it says so.
    #[serde(default)]
    pub event_time: Option<EventTime>,
    /// How long its rows are kept, if not for ever.
    #[serde(default)]
    pub retention: Option<Retention>,
}

/// How long the rows of a table are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// In microseconds.
    pub micros: i64,
    /// The column that says how old a row is. A row without a value in it is kept for ever.
    pub column: String,
}

/// How long the rows of a materialised view are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRetention {
    /// In microseconds.
    pub micros: i64,
    /// The position of the column that says how old a row is; `None`: the first one that event time passes.
    pub column: Option<usize>,
}

/// A source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its columns, generated ones included.
    pub columns: Vec<Column>,
    /// Where its rows come from.
    pub connector: ConnectorOptions,
    /// When its rows' events were, if it says so.
    #[serde(default)]
    pub event_time: Option<EventTime>,
}

/// WATERMARK FOR: when an event was, and how far out of order they come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTime {
    /// The column that says it.
    pub column: String,
    /// The SQL text of an expression over that column, whose greatest value so far is the watermark of a partition.
    pub watermark: String,
    /// Microseconds without a row after which a partition holds the watermark back no longer; `None`: it always does.
    pub idle_timeout_us: Option<i64>,
    /// Microseconds that an event may lie ahead of the clock: a record beyond is a dead letter, a statement that writes one fails; `None`: any.
    pub max_future_us: Option<i64>,
}

/// An index.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    /// The table or materialised view.
    pub relation: ObjectId,
    /// The positions of the columns whose values find rows.
    pub columns: Vec<usize>,
    /// Those that INCLUDE names: said back, and of no effect, since an index leads to whole rows.
    pub include: Vec<usize>,
}

/// A sink into a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sink {
    /// The table that it writes.
    pub target: ObjectId,
    /// The positions of the table's columns that it fills, in the order in which the query gives them.
    pub fills: Vec<usize>,
    /// What it writes. The columns are those of the table when it was made.
    pub view: View,
}

/// A function in SQL.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Function {
    /// What it takes.
    pub arguments: Vec<Argument>,
    /// What it gives.
    pub returns: SqlType,
    /// The same as written.
    pub return_type: String,
    /// The SQL text of its value, over the arguments' names or `$1`, `$2`, ….
    pub expression: String,
    /// The body as the user wrote it.
    pub source: String,
    /// `i`, `s` or `v`, as in `pg_proc`.
    pub volatility: char,
    /// NULL for a NULL argument.
    pub strict: bool,
    /// Where the functions that it calls are looked up.
    pub search_path: Vec<String>,
}

/// An argument of a function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Argument {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its type.
    pub sql_type: SqlType,
    /// The same as written.
    pub data_type: String,
    /// The SQL text of its DEFAULT.
    pub default: Option<String>,
}

/// The WITH, FORMAT and ENCODE clauses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectorOptions {
    /// WITH (…), keys in lower case.
    pub options: BTreeMap<String, String>,
    /// FORMAT, upper case.
    pub format: String,
    /// ENCODE, upper case.
    pub encode: String,
    /// ENCODE … (…), keys in lower case.
    pub encode_options: BTreeMap<String, String>,
}

/// A view, materialised or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// The columns that its query gives.
    pub columns: Vec<Column>,
    /// The text of the query alone.
    pub query: String,
    /// The schema in which the query's unqualified names are looked up.
    pub search_path: Vec<String>,
    /// Positions of columns that together are unique, if the plan knows some (materialised views).
    pub key: Option<Vec<usize>>,
    /// Rows are never retracted (materialised views).
    pub append_only: bool,
    /// What else its definition says (materialised views).
    #[serde(flatten)]
    pub options: ViewOptions,
    /// The columns whose values are bounded below as event time goes on, by position (materialised views).
    #[serde(default)]
    pub lows: BTreeMap<usize, Low>,
    /// Sets of those columns of which every row has one that is no NULL of an outer join; `None` if that was never noted.
    #[serde(default)]
    pub covering: Option<Vec<BTreeSet<usize>>>,
    /// Whether it has more and more rows (materialised views).
    #[serde(default)]
    pub growth: Growth,
}

/// What the definition of a materialised view says beside its query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewOptions {
    /// Its rows are thrown away.
    pub discard: bool,
    /// How often a recursion in it may go round, if it says so.
    pub iterations_max: Option<u32>,
    /// EMIT ON WINDOW CLOSE: a row comes when it is final.
    pub emit_on_window_close: bool,
    /// How long a window stays open behind its end, in microseconds, if it says so.
    pub allowed_lateness_us: Option<i64>,
    /// Rows that come too late are dead letters.
    pub keep_late_rows: bool,
    /// How long its rows are kept, if not for ever.
    pub retention: Option<ViewRetention>,
}

impl Table {
    /// Whether its rows only come: nobody changes or deletes them, and they are kept for ever.
    pub fn only_grows(&self) -> bool {
        self.append_only && self.retention.is_none()
    }
}

impl ObjectKind {
    /// The columns, to be changed.
    pub fn columns_mut(&mut self) -> Option<&mut Vec<Column>> {
        match self {
            ObjectKind::Schema | ObjectKind::Index(_) | ObjectKind::Function(_) | ObjectKind::Sink(_) => None,
            ObjectKind::Table(table) => Some(&mut table.columns),
            ObjectKind::Source(source) => Some(&mut source.columns),
            ObjectKind::View(view) | ObjectKind::MaterializedView(view) => Some(&mut view.columns),
        }
    }

    /// How its rows say when events were, to be changed.
    pub fn event_time_mut(&mut self) -> Option<&mut EventTime> {
        match self {
            ObjectKind::Table(table) => table.event_time.as_mut(),
            ObjectKind::Source(source) => source.event_time.as_mut(),
            _ => None,
        }
    }
}

impl ObjectKind {
    /// The query that it is made from, for views of both kinds and sinks.
    pub fn view(&self) -> Option<&View> {
        match self {
            ObjectKind::View(view) | ObjectKind::MaterializedView(view) => Some(view),
            ObjectKind::Sink(sink) => Some(&sink.view),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn view_mut(&mut self) -> Option<&mut View> {
        match self {
            ObjectKind::View(view) | ObjectKind::MaterializedView(view) => Some(view),
            ObjectKind::Sink(sink) => Some(&mut sink.view),
            _ => None,
        }
    }

    /// The table that a sink writes.
    pub fn sunk_into(&self) -> Option<ObjectId> {
        match self {
            ObjectKind::Sink(sink) => Some(sink.target),
            _ => None,
        }
    }
}

impl Object {
    /// The columns, for objects that have any.
    pub fn columns(&self) -> Option<&[Column]> {
        match &self.kind {
            ObjectKind::Schema | ObjectKind::Index(_) | ObjectKind::Function(_) | ObjectKind::Sink(_) => None,
            ObjectKind::Table(table) => Some(&table.columns),
            ObjectKind::Source(source) => Some(&source.columns),
            ObjectKind::View(view) | ObjectKind::MaterializedView(view) => Some(&view.columns),
        }
    }

    /// When its rows' events were, for tables and sources that say so.
    pub fn event_time(&self) -> Option<&EventTime> {
        match &self.kind {
            ObjectKind::Table(table) => table.event_time.as_ref(),
            ObjectKind::Source(source) => source.event_time.as_ref(),
            _ => None,
        }
    }

    /// Below what no new values of the column at a position are expected.
    pub fn low(&self, position: usize) -> Option<Low> {
        match &self.kind {
            ObjectKind::MaterializedView(view) => view.lows.get(&position).cloned(),
            ObjectKind::Table(_) | ObjectKind::Source(_) => {
                let column = self.columns()?.get(position)?;
                if column.is_arrival() {
                    return Some(Low::Of(NOW));
                }
                (column.name == self.event_time()?.column).then_some(Low::Of(self.id))
            }
            _ => None,
        }
    }

    /// Whether event time says something of its rows.
    pub fn is_in_time(&self) -> bool {
        match &self.kind {
            ObjectKind::MaterializedView(view) => !view.lows.is_empty(),
            ObjectKind::Table(Table { columns, .. }) | ObjectKind::Source(Source { columns, .. }) => {
                self.event_time().is_some() || columns.iter().any(Column::is_arrival)
            }
            _ => false,
        }
    }

    /// Whether it has more and more rows as time goes on.
    pub fn growth(&self) -> Growth {
        match &self.kind {
            ObjectKind::Source(_) => Growth::Endless,
            ObjectKind::Table(table) if table.retention.is_some() => Growth::Bounded,
            ObjectKind::Table(table) if table.append_only || table.event_time.is_some() => Growth::Endless,
            // A record of a key replaces the one before.
            ObjectKind::Table(table) if table.connector.is_some() => Growth::Values,
            ObjectKind::MaterializedView(view) => view.growth,
            _ => Growth::Bounded,
        }
    }

    /// What COMMENT ON says of the column at a position.
    pub fn column_comment(&self, position: usize) -> Option<&str> {
        self.comments.get(&column_number(position)).map(String::as_str)
    }

    /// The comments as they are when columns stand elsewhere: `place` gives new positions by old ones.
    pub fn comments_moved(&self, place: impl Fn(usize) -> Option<usize>) -> BTreeMap<u32, String> {
        let moved = self.comments.iter().filter_map(|(number, text)| {
            let number = match number.checked_sub(1) {
                None => 0,
                Some(position) => column_number(place(position as usize)?),
            };
            Some((number, text.clone()))
        });
        moved.collect()
    }

    /// What messages call it: "table", "source", "view", "materialized view", "sink", "schema".
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            ObjectKind::Index(_) => "index",
            ObjectKind::Function(_) => "function",
            ObjectKind::Sink(_) => "sink",
            ObjectKind::Schema => "schema",
            ObjectKind::Table(_) => "table",
            ObjectKind::Source(_) => "source",
            ObjectKind::View(_) => "view",
            ObjectKind::MaterializedView(_) => "materialized view",
        }
    }
}

/// The number under which the comment on the column at a position stands.
pub fn column_number(position: usize) -> u32 {
    u32::try_from(position + 1).unwrap_or(u32::MAX)
}
