//! Window functions, with every kind of frame.

use super::condition::where_clause;
use super::{Column, Grammar, Kind, Made, select_list};

/// Frames that depend on the order of equal rows: the order must be total.
const ROWS_FRAMES: [&str; 9] = [
    "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN 1 PRECEDING AND 3 FOLLOWING",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
    "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    "ROWS BETWEEN 2 FOLLOWING AND 4 FOLLOWING",
    "ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
    "ROWS 1 PRECEDING",
];

/// Frames that hold all rows of equals or none.
const PEER_FRAMES: [&str; 8] = [
    "",
    "",
    " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    " GROUPS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    " GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
    " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
];

impl Grammar<'_> {
    /// Columns and window functions over them.
    pub(super) fn windowed(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        let relations = 1 + self.pick(&[0, 0, 0, 1]);
        let source = self.source(relations, depth);
        let conditions = self.conditions(&source.columns, depth);
        let (mut items, mut made_kinds) = self.items(kinds, &source.columns);
        // In one order only: in two, equal rows could stand in different ones, and which result goes with which would be open.
        let rows = self.total_order(&source.columns).map(|order| format!("{}ORDER BY {order}", self.partition(&source.columns)));
        let calls = self.range(1..4);
        if kinds.is_some() {
            let place = self.rng_index(items.len());
            items[place] = self.window_call(made_kinds[place], &source.columns, rows.as_deref());
        } else {
            for _ in 0..calls {
                let kind = if self.one_in(4) { Kind::Real } else { self.kind_of(&source.columns) };
                items.push(self.window_call(kind, &source.columns, rows.as_deref()));
                made_kinds.push(kind);
            }
        }
        let sql = format!("SELECT {} FROM {}{}", select_list(&items), source.sql, where_clause(&conditions));
        Made { sql, kinds: made_kinds, rows: source.rows }
    }

    fn window_call(&mut self, kind: Kind, columns: &[Column], rows: Option<&str>) -> String {
        match rows {
            Some(rows) if self.one_in(2) => self.by_rows(kind, columns, rows),
            _ => {
                let partition = self.partition(columns);
                self.by_peers(kind, columns, &partition)
            }
        }
    }

    /// PARTITION BY, by columns: a partition may be of one column, of several, or of all rows.
    fn partition(&mut self, columns: &[Column]) -> String {
        let mut keys = Vec::new();
        for _ in 0..self.pick(&[0, 1, 1, 2]) {
            keys.extend(self.comparable(columns).map(|column| column.name));
        }
        if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) }
    }

    /// Functions for which the order of equal rows matters.
    fn by_rows(&mut self, kind: Kind, columns: &[Column], rows: &str) -> String {
        let value = self.expression(kind, columns, 1);
        let frame = self.pick(&ROWS_FRAMES);
        let over = format!("OVER ({rows})");
        let framed = format!("OVER ({rows} {frame}{})", self.exclusion());
        match self.range(0..10) {
            0 if kind == Kind::Int => bigint(&format!("row_number() {over}")),
            1 if kind == Kind::Int => bigint(&format!("ntile({}) {over}", self.range(2..5))),
            0..3 => format!("lag({value}) {over}"),
            3 if self.one_in(2) => format!("lead({value}, {}) {over}", self.range(1..4)),
            3 => {
                let (function, count) = (self.pick(&["lag", "lead"]), self.expression(Kind::Int, columns, 1));
                format!("{function}({value}, CAST(({count}) % 4 AS INT), {}) {over}", self.expression(kind, columns, 1))
            }
            4 => format!("lag({value}, 2, {}) {over}", self.constant(kind)),
            5 => format!("{}({value}) {framed}", self.pick(&["first_value", "last_value"])),
            6 => format!("nth_value({value}, {}) {framed}", self.range(1..4)),
            _ => format!("{} {framed}", self.window_aggregate(kind, columns)),
        }
    }

    /// Functions that give equal rows the same.
    fn by_peers(&mut self, kind: Kind, columns: &[Column], partition: &str) -> String {
        let order = self.comparable(columns);
        let Some(order) = order else { return format!("{} OVER ({partition})", self.window_aggregate(kind, columns)) };
        let direction = self.direction();
        let by = format!("{partition}ORDER BY {}{direction}", order.name);
        match self.range(0..8) {
            0 if kind == Kind::Int => bigint(&format!("rank() OVER ({by})")),
            1 if kind == Kind::Int => bigint(&format!("dense_rank() OVER ({by})")),
            0 | 1 if kind == Kind::Real => format!("{}() OVER ({by})", self.pick(&["percent_rank", "cume_dist"])),
            2 => format!("{} OVER ({partition})", self.window_aggregate(kind, columns)),
            3 if matches!(order.kind, Kind::Int | Kind::Time) => {
                let unit =
                    |count: i64| if order.kind == Kind::Int { count.to_string() } else { format!("INTERVAL '{} seconds'", count * 20) };
                let (before, behind) = (unit(self.range(0..4)), unit(self.range(0..3)));
                let frame = format!("RANGE BETWEEN {before} PRECEDING AND {behind} FOLLOWING{}", self.exclusion());
                format!("{} OVER ({by} {frame})", self.window_aggregate(kind, columns))
            }
            _ => {
                let frame = self.pick(&PEER_FRAMES);
                let exclusion = if frame.is_empty() { "" } else { self.exclusion() };
                let frame = format!("{frame}{exclusion}");
                format!("{} OVER ({by}{frame})", self.window_aggregate(kind, columns))
            }
        }
    }

    /// Rows that a frame leaves out.
    fn exclusion(&mut self) -> &'static str {
        self.pick(&["", "", "", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES", " EXCLUDE NO OTHERS"])
    }

    fn window_aggregate(&mut self, kind: Kind, columns: &[Column]) -> String {
        let value = self.expression(kind, columns, 1);
        let call = match kind {
            Kind::Int => match self.range(0..4) {
                0 => "count(*)".to_owned(),
                1 => format!("count({value})"),
                2 => format!("sum({value})"),
                _ => format!("{}({value})", self.pick(&["min", "max"])),
            },
            Kind::Numeric | Kind::Float => format!("{}({value})", self.pick(&["sum", "min", "max"])),
            Kind::Real => {
                let of = self.pick(&[Kind::Int, Kind::Numeric, Kind::Float]);
                format!("avg({})", self.expression(of, columns, 1))
            }
            Kind::Bool => format!("{}({value})", self.pick(&["bool_and", "bool_or"])),
            Kind::Text | Kind::Time | Kind::Approx | Kind::Opaque => format!("{}({value})", self.pick(&["min", "max"])),
        };
        if self.one_in(6) { format!("{call} FILTER (WHERE {})", self.condition(columns, 1)) } else { call }
    }
}

/// A place as a value: DataFusion's are integers without a sign, of which products are numerics.
fn bigint(place: &str) -> String {
    format!("CAST({place} AS BIGINT)")
}
