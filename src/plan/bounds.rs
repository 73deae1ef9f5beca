//! What bounds the state of each step of a plan, if anything does: the one place that decides it, for the NOTICE at CREATE, for EXPLAIN and for
//! `tidemill.state`.
//!
//! ```text
//! source, APPEND ONLY table, table with a watermark    endless: more rows with every event
//!   GROUP BY a window of a time with a watermark       bounded: windows that are over are forgotten
//!   GROUP BY customer                                  as many groups as there are customers
//!   GROUP BY a time without a watermark                unbounded
//!   a join that keeps its rows                         unbounded, unless its condition says how far the times are apart
//! any other table                                      bounded by who writes it
//! ```

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Schema};

use crate::catalog::{Catalog, Object, ObjectKind};
use crate::plan::explain::{describe, names};
use crate::plan::node::{AggregateCall, AggregateFunction, Closing, Crossing, JoinKind, Node, NodeKind, OrderColumn, Plan, first_within};
use crate::types::{Growth, ObjectId, SqlType};

/// What bounds the state of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateBound {
    /// It keeps nothing, or a few numbers.
    Constant,
    /// What the tables below hold, which is up to those who write them.
    Tables,
    /// An entry for each of the different values of these columns.
    Values(Vec<String>),
    /// The rows of these, of which there are as many as different values of something.
    Rows(Vec<String>),
    /// Event time, or the clock, passes these columns, and what it has passed goes.
    Time(Vec<String>),
    /// Nothing: it grows with every event.
    Unbounded,
}

impl StateBound {
    /// As `tidemill.state` says it; `None`: nothing bounds it.
    pub fn text(&self) -> Option<String> {
        match self {
            StateBound::Constant => Some("a constant".to_owned()),
            StateBound::Tables => Some("tables".to_owned()),
            StateBound::Values(columns) => Some(format!("values of {}", columns.join(", "))),
            StateBound::Rows(names) => Some(format!("rows of {}", names.join(", "))),
            StateBound::Time(columns) => Some(format!("time in {}", columns.join(", "))),
            StateBound::Unbounded => None,
        }
    }
}

/// What bounds the state of each node of a plan, by its number.
pub fn state_bounds(plan: &Plan, catalog: &Catalog) -> BTreeMap<u32, StateBound> {
    let bounds = Bounds::of(&plan.root, catalog);
    let mut found = BTreeMap::new();
    bounds.collect(&plan.root, &mut found);
    found
}

/// How many rows the result of a plan has as time goes on.
pub fn growth(plan: &Plan, catalog: &Catalog) -> Growth {
    Bounds::of(&plan.root, catalog).growth(&plan.root)
}

/// How many rows come out of a part of a plan.
pub(super) fn growth_of(node: &Node, catalog: &Catalog) -> Growth {
    Bounds::of(node, catalog).growth(node)
}

/// One message and one hint for each operator of a plan whose state nothing bounds: what it is, and what would bound it.
pub(super) fn unbounded(plan: &Plan, catalog: &Catalog) -> Vec<(String, String)> {
    let bounds = Bounds::of(&plan.root, catalog);
    let mut found = Vec::new();
    bounds.tell(&plan.root, &mut found);
    found
}

struct Bounds<'a> {
    catalog: &'a Catalog,
    /// The rows of the working table of each recursion, by its number.
    working: BTreeMap<u32, Growth>,
}

impl<'a> Bounds<'a> {
    fn of(root: &Node, catalog: &'a Catalog) -> Self {
        let mut bounds = Bounds { catalog, working: BTreeMap::new() };
        bounds.enter(root);
        bounds
    }

    /// Notes recursions: of what a term gives there are as many rows as of what it begins with.
    fn enter(&mut self, node: &Node) {
        match &node.kind {
            NodeKind::Recursion { number, base, term, .. } => {
                self.enter(base);
                self.working.insert(*number, self.growth(base));
                self.enter(term);
            }
            _ => node.inputs().into_iter().for_each(|input| self.enter(input)),
        }
    }

    fn collect(&self, node: &Node, found: &mut BTreeMap<u32, StateBound>) {
        found.insert(node.id, self.state(node));
        node.inputs().into_iter().for_each(|input| self.collect(input, found));
    }

    /// How many rows come out.
    fn growth(&self, node: &Node) -> Growth {
        match &node.kind {
            NodeKind::Import { object, .. } => self.catalog.get(*object).map_or(Growth::Bounded, |object| object.growth()),
            NodeKind::Constant { .. } => Growth::Bounded,
            NodeKind::Recurrence { number, .. } => self.working.get(number).copied().unwrap_or_default(),
            NodeKind::Temporal { crossing: Crossing::Leaves { .. }, .. } => Growth::Bounded,
            NodeKind::Aggregate { input, keys, .. } | NodeKind::TopN { input, keys, limit: Some(_), .. } => self.groups(input, keys),
            NodeKind::Join { join, left, .. } if !join.gives_pairs() => self.growth(left),
            _ => node.inputs().into_iter().map(|input| self.growth(input)).max().unwrap_or_default(),
        }
    }

    /// How many groups there are of rows that agree in `keys`.
    fn groups(&self, input: &Node, keys: &[usize]) -> Growth {
        let is_time = |key: &usize| {
            let data_type = input.schema.field(*key).data_type();
            matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
        };
        match self.growth(input) {
            Growth::Bounded => Growth::Bounded,
            _ if keys.is_empty() => Growth::Bounded,
            Growth::Endless if keys.iter().any(is_time) => Growth::Endless,
            _ => Growth::Values,
        }
    }

    fn state(&self, node: &Node) -> StateBound {
        let time = |schema: &Schema, column: usize| StateBound::Time(vec![names(schema, [column])]);
        let within = |schema: &Schema, order: &[OrderColumn], keys: &[usize]| {
            StateBound::Time(first_within(order, keys).map(|first| names(schema, [first.column])).into_iter().collect())
        };
        match &node.kind {
            NodeKind::Temporal { input, column, .. } => time(&input.schema, *column),
            NodeKind::Close { input, columns } => {
                StateBound::Time(columns.iter().map(|(column, _)| names(&input.schema, [*column])).collect())
            }
            NodeKind::Session { closing: Some(_), .. } => StateBound::Time(vec!["window_end".to_owned()]),
            NodeKind::Session { input, .. } => self.rows(input),
            NodeKind::Aggregate { closing: Some(Closing { place, .. }), .. } => time(&node.schema, *place),
            NodeKind::TopN { input, keys, closing: Some(closing), .. } | NodeKind::Window { input, keys, closing: Some(closing), .. } => {
                time(&input.schema, keys[closing.place])
            }
            NodeKind::Window { input, keys, order, calls, settling: Some(_), .. } if calls.iter().all(|call| call.method.forgets()) => {
                let open = within(&input.schema, order, keys);
                match calls.iter().any(|call| call.method.goes_on()) {
                    true => wider(open, self.groups_kept(input, keys)),
                    false => open,
                }
            }
            NodeKind::TopN { input, keys, order, settled: Some(_), .. } => {
                wider(within(&input.schema, order, keys), self.groups_kept(input, keys))
            }
            NodeKind::Aggregate { input, keys, aggregates, .. } => {
                let calls = aggregates.iter().map(|call| self.call(input, keys, call));
                calls.fold(self.groups_kept(input, keys), wider)
            }
            NodeKind::TopN { input, keys, limit, candidates, .. } if *candidates || input.properties.append_only && limit.is_some() => {
                self.groups_kept(input, keys)
            }
            NodeKind::TopN { input, .. } | NodeKind::Window { input, .. } => self.rows(input),
            NodeKind::Join { join, left, right, expiry, .. } => {
                let [left, right] = [(left, &expiry[0]), (right, &expiry[1])].map(|(side, expiry)| match expiry {
                    Some(expiry) => time(&side.schema, expiry.column),
                    // Of rows that are only witnesses each different one is kept.
                    None if !join.gives_pairs() && std::ptr::eq(side, right) => self.different(side),
                    None => self.rows(side),
                });
                wider(left, right)
            }
            NodeKind::Versions { input, time: column, low: Some(_), .. } => time(&input.schema, *column),
            // Every change of a row is one more.
            NodeKind::Versions { .. } => StateBound::Unbounded,
            NodeKind::LookupJoin { left, .. } if !left.properties.append_only => self.rows(left),
            NodeKind::AsOf { input, keys, low: Some(_), .. } => time(&input.schema, *keys + 1),
            NodeKind::AsOf { input, .. } => self.rows(input),
            NodeKind::Recursion { distinct: true, base, term, .. } => wider(self.different(base), self.different(term)),
            _ => StateBound::Constant,
        }
    }

    /// Of an entry for every row.
    fn rows(&self, input: &Node) -> StateBound {
        match self.growth(input) {
            Growth::Bounded => StateBound::Tables,
            Growth::Values => self.values_below(input),
            Growth::Endless => StateBound::Unbounded,
        }
    }

    /// Of an entry for every different row.
    fn different(&self, input: &Node) -> StateBound {
        let all: Vec<usize> = (0..input.schema.fields().len()).collect();
        self.groups_kept(input, &all)
    }

    /// Of an entry for every group.
    fn groups_kept(&self, input: &Node, keys: &[usize]) -> StateBound {
        match self.groups(input, keys) {
            Growth::Bounded if keys.is_empty() => StateBound::Constant,
            Growth::Bounded => StateBound::Tables,
            Growth::Values => StateBound::Values(keys.iter().map(|key| names(&input.schema, [*key])).collect()),
            Growth::Endless => StateBound::Unbounded,
        }
    }

    /// What a call keeps beside its group.
    fn call(&self, input: &Node, keys: &[usize], call: &AggregateCall) -> StateBound {
        let in_place = input.properties.append_only;
        match &call.function {
            _ if call.distinct => {
                let keys: Vec<usize> = keys.iter().copied().chain(call.argument).collect();
                self.groups_kept(input, &keys)
            }
            AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::First(_) | AggregateFunction::Last(_) if !in_place => {
                self.rows(input)
            }
            AggregateFunction::General(general) if !(in_place && general.in_place) => self.rows(input),
            _ => StateBound::Constant,
        }
    }

    /// Of an entry for every row of a node that has as many as there are different values: of its key, or of what it reads.
    fn values_below(&self, node: &Node) -> StateBound {
        match &node.properties.key {
            Some(key) if !key.is_empty() => StateBound::Values(key.iter().map(|column| names(&node.schema, [*column])).collect()),
            _ => {
                let read = node.imports().into_iter().filter_map(|object| self.catalog.get(object));
                StateBound::Rows(read.filter(|object| object.growth() != Growth::Bounded).map(|object| object.name.clone()).collect())
            }
        }
    }

    fn tell(&self, node: &Node, found: &mut Vec<(String, String)>) {
        if self.state(node) == StateBound::Unbounded {
            let told = self.message(node);
            if !found.contains(&told) {
                found.push(told);
            }
        }
        node.inputs().into_iter().for_each(|input| self.tell(input, found));
    }

    fn message(&self, node: &Node) -> (String, String) {
        let mut times = Vec::new();
        self.times_below(node, &mut times);
        let columns: Vec<String> = times.iter().filter_map(|time| Some(format!("\"{}\"", time.column.as_ref()?))).collect();
        let columns: BTreeSet<String> = columns.into_iter().collect();
        let listed = columns.iter().cloned().collect::<Vec<_>>().join(" and ");
        let bound = match columns.is_empty() {
            true => "it reads no column that says when its rows were".to_owned(),
            false if times.iter().all(|time| time.has_watermark) => {
                format!("nothing that it keeps goes by {listed}, which event time passes")
            }
            false => format!("{listed} would bound it"),
        };
        let mut hints: Vec<String> = times.iter().filter_map(TimeBelow::advice).collect();
        let column = columns.first().cloned().unwrap_or_default();
        hints.extend(Some(advice(node, &column)).filter(|_| !columns.is_empty()));
        if let NodeKind::Aggregate { input, keys, .. } = &node.kind
            && self.groups_kept(input, keys) != StateBound::Unbounded
        {
            let changing = times.iter().filter(|time| time.changes);
            hints.extend(changing.map(|time| {
                format!("Or make \"{}\" APPEND ONLY, if its rows never change: min and max keep one value for each group then.", time.name)
            }));
        }
        (format!("the state of \"{}\" grows for ever: {bound}", describe(node)), hints.join(" "))
    }

    /// The columns that say when rows were, of all that grows below a node.
    fn times_below(&self, node: &Node, found: &mut Vec<TimeBelow>) {
        match &node.kind {
            NodeKind::Import { object, .. } => {
                let Some(object) = self.catalog.get(*object).filter(|object| object.growth() == Growth::Endless) else { return };
                if !found.iter().any(|known| known.object == object.id) {
                    found.push(TimeBelow::of(object));
                }
            }
            NodeKind::Temporal { crossing: Crossing::Leaves { .. }, .. } => {}
            _ => node.inputs().into_iter().for_each(|input| self.times_below(input, found)),
        }
    }
}

/// The weaker of two bounds: that of both together.
fn wider(one: StateBound, other: StateBound) -> StateBound {
    use StateBound::{Constant, Rows, Tables, Time, Unbounded, Values};
    match (one, other) {
        (Unbounded, _) | (_, Unbounded) => Unbounded,
        (Constant, other) | (other, Constant) => other,
        (Time(one), Time(other)) => Time(one.into_iter().chain(other).collect()),
        (Values(one), Values(other)) => {
            let more: Vec<String> = other.into_iter().filter(|column| !one.contains(column)).collect();
            Values(one.into_iter().chain(more).collect())
        }
        (Values(columns), _) | (_, Values(columns)) => Values(columns),
        (Rows(one), Rows(other)) => Rows(one.into_iter().chain(other).collect()),
        (Rows(names), _) | (_, Rows(names)) => Rows(names),
        (Time(columns), Tables) | (Tables, Time(columns)) => Time(columns),
        (Tables, Tables) => Tables,
    }
}

/// Something that grows, and its column of times.
struct TimeBelow {
    object: ObjectId,
    name: String,
    is_table: bool,
    is_view: bool,
    /// It is a table whose rows may be changed and deleted.
    changes: bool,
    /// The one with the watermark; if there is none, the first time.
    column: Option<String>,
    has_watermark: bool,
}

impl TimeBelow {
    fn of(object: &Object) -> Self {
        let columns = object.columns().unwrap_or_default();
        let passed = (0..columns.len()).find(|column| object.low(*column).is_some());
        let is_time = |sql_type: &SqlType| matches!(sql_type.whole(), SqlType::Timestamp | SqlType::Timestamptz);
        let first = || columns.iter().position(|column| is_time(&column.sql_type));
        let column = passed.or_else(first).map(|column| columns[column].name.clone());
        let kind = object.kind_name();
        TimeBelow {
            object: object.id,
            name: object.name.clone(),
            is_table: kind == "table",
            is_view: kind == "materialized view",
            changes: matches!(&object.kind, ObjectKind::Table(table) if !table.append_only),
            column,
            has_watermark: passed.is_some(),
        }
    }

    /// What is to be done about it where it is defined.
    fn advice(&self) -> Option<String> {
        let name = &self.name;
        match &self.column {
            Some(_) if self.has_watermark => None,
            Some(column) if self.is_view => Some(format!("Declare a watermark for what \"{column}\" of \"{name}\" comes from.")),
            Some(column) => Some(format!("Declare WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds' for \"{name}\".")),
            None if self.is_table => Some(format!("Give \"{name}\" a timestamp column and a watermark, or WITH (retention = '1 day').")),
            None => Some(format!("Give \"{name}\" a timestamp column and a watermark.")),
        }
    }
}

/// What is to be done about it in the query.
fn advice(node: &Node, column: &str) -> String {
    let bare = column.trim_matches('"');
    match &node.kind {
        NodeKind::Session { .. } => "Sessions that are over are forgotten then.".to_owned(),
        NodeKind::Aggregate { aggregates, .. } if aggregates.is_empty() => {
            format!("Then rows that are different within a window of {column} have an end: TUMBLE(…, {bare}, INTERVAL '1 minute').")
        }
        NodeKind::Aggregate { .. } => format!("GROUP BY a window of {column}: TUMBLE(…, {bare}, INTERVAL '1 minute')."),
        NodeKind::TopN { .. } => format!("PARTITION BY a window of {column}: TUMBLE(…, {bare}, INTERVAL '1 minute')."),
        NodeKind::Window { .. } => {
            format!(
                "ORDER BY {column}, with frames that look back by a number of rows or a time; or PARTITION BY a window of {column}: \
                 TUMBLE(…, {bare}, INTERVAL '1 minute')."
            )
        }
        NodeKind::Join { join: JoinKind::NotIn, .. } => {
            format!("Join by NOT EXISTS and within a time, or leave old rows out: WHERE {bare} > now() - INTERVAL '1 day'.")
        }
        NodeKind::Join { .. } => {
            "Say in the condition how far the times of both sides are apart (BETWEEN), join windows, or leave old rows out: \
             ts > now() - INTERVAL '1 day'."
                .to_owned()
        }
        NodeKind::Versions { .. } => "With watermarks on both times it forgets versions that both have passed.".to_owned(),
        NodeKind::AsOf { .. } => "With watermarks on both times, and >= or >, it forgets what both have passed.".to_owned(),
        _ => format!("Leave old rows out: WHERE {bare} > now() - INTERVAL '1 day'."),
    }
}
