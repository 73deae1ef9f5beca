//! Expressions of a kind, over columns.
//!
//! None may fail on a row: a failing one is NULL in a view and an error in a query, so that they could not be compared. So divisors are never
//! zero, numbers stay small, and there are no casts from text.

use super::{Column, Grammar, Kind};

impl Grammar<'_> {
    /// An expression of a kind.
    pub(super) fn expression(&mut self, kind: Kind, columns: &[Column], depth: u32) -> String {
        if depth == 0 || self.one_in(3) || matches!(kind, Kind::Approx | Kind::Opaque) {
            return self.leaf(kind, columns);
        }
        let depth = depth - 1;
        match self.range(0..12) {
            0 => {
                let condition = self.condition(columns, depth);
                let (yes, no) = (self.expression(kind, columns, depth), self.expression(kind, columns, depth));
                if self.one_in(4) {
                    format!("CASE WHEN {condition} THEN {yes} END")
                } else {
                    format!("CASE WHEN {condition} THEN {yes} ELSE {no} END")
                }
            }
            1 => format!("COALESCE({}, {})", self.leaf(kind, columns), self.expression(kind, columns, depth)),
            2 => format!("NULLIF({}, {})", self.expression(kind, columns, depth), self.leaf(kind, columns)),
            3 if kind != Kind::Bool => {
                let function = self.pick(&["GREATEST", "LEAST"]);
                format!("{function}({}, {})", self.expression(kind, columns, depth), self.leaf(kind, columns))
            }
            _ => self.of_kind(kind, columns, depth),
        }
    }

    fn of_kind(&mut self, kind: Kind, columns: &[Column], depth: u32) -> String {
        match kind {
            Kind::Int => self.integer(columns, depth),
            Kind::Numeric => self.number(Kind::Numeric, columns, depth),
            Kind::Float if self.one_in(4) => format!("CAST({} AS DOUBLE PRECISION)", self.expression(Kind::Int, columns, depth)),
            Kind::Float => self.number(Kind::Float, columns, depth),
            Kind::Text => self.text(columns, depth),
            Kind::Bool => self.condition(columns, depth + 1),
            Kind::Time => self.time(columns, depth),
            Kind::Real | Kind::Approx | Kind::Opaque => self.leaf(kind, columns),
        }
    }

    fn integer(&mut self, columns: &[Column], depth: u32) -> String {
        let one = self.expression(Kind::Int, columns, depth);
        match self.range(0..9) {
            0 => format!("({one} % {})", self.range(2..6)),
            1 => format!("({one} / {})", self.range(2..5)),
            2 => format!("length({})", self.expression(Kind::Text, columns, depth)),
            3 => format!("abs({one})"),
            4 => format!("(-{one})"),
            5 => format!("CAST(date_part('minute', {}) AS INT)", self.expression(Kind::Time, columns, depth)),
            6 => format!("({one} * {})", self.range(-2..4)),
            _ => format!("({one} {} {})", self.pick(&["+", "-"]), self.expression(Kind::Int, columns, depth)),
        }
    }

    fn number(&mut self, kind: Kind, columns: &[Column], depth: u32) -> String {
        let one = self.expression(kind, columns, depth);
        match self.range(0..6) {
            0 => format!("abs({one})"),
            1 => format!("(-{one})"),
            2 => format!("({one} * {})", self.range(-2..4)),
            3 => format!("({one} + {})", self.leaf(Kind::Int, columns)),
            _ => format!("({one} {} {})", self.pick(&["+", "-"]), self.expression(kind, columns, depth)),
        }
    }

    fn text(&mut self, columns: &[Column], depth: u32) -> String {
        let one = self.expression(Kind::Text, columns, depth);
        match self.range(0..8) {
            0 => format!("upper({one})"),
            1 => format!("lower({one})"),
            2 => format!("substr({one}, {}, {})", self.range(1..4), self.range(0..4)),
            3 => format!("CAST({} AS TEXT)", self.leaf(Kind::Int, columns)),
            4 => format!("replace({one}, 'a', 'x')"),
            5 => format!("trim({one})"),
            6 => format!("concat({one}, '-', {})", self.leaf(Kind::Text, columns)),
            _ => format!("({one} || {})", self.leaf(Kind::Text, columns)),
        }
    }

    fn time(&mut self, columns: &[Column], depth: u32) -> String {
        let one = self.expression(Kind::Time, columns, depth);
        // Of columns of tables only: over the NULLs of computed ones DataFusion leaves the least value, which overflows in its date_trunc and
        // ends the query, if it was built with checks.
        let stored: Vec<Column> = columns.iter().filter(|column| column.name.ends_with(".ts")).cloned().collect();
        match self.range(0..3) {
            0 if !stored.is_empty() => {
                format!("date_trunc('{}', {})", self.pick(&["minute", "second", "hour"]), self.pick(&stored).name)
            }
            1 => format!("({one} + INTERVAL '{} seconds')", self.pick(&[1, 30, 90])),
            _ => format!("({one} - INTERVAL '{} minutes')", self.pick(&[1, 2])),
        }
    }

    /// A column, if there is one, or a constant.
    pub(super) fn leaf(&mut self, kind: Kind, columns: &[Column]) -> String {
        if !self.one_in(6)
            && let Some(column) = self.column(kind, columns)
        {
            return column;
        }
        if self.one_in(12) {
            return format!("CAST(NULL AS {})", kind.sql());
        }
        self.constant(kind)
    }

    /// A constant, never NULL.
    pub(super) fn constant(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Int => parenthesised(self.range(-3..9)),
            Kind::Numeric => format!("CAST({}.{} AS NUMERIC(12,2))", self.range(0..99), self.range(10..99)),
            Kind::Float | Kind::Real | Kind::Approx => {
                format!("CAST({} AS DOUBLE PRECISION)", self.pick(&["0", "1.5", "-2.25", "8", "-0.75"]))
            }
            Kind::Text | Kind::Opaque => format!("'{}'", self.pick(&["a", "b", "", "ab", "zz", "Zürich"])),
            Kind::Bool => self.pick(&["TRUE", "FALSE"]).to_owned(),
            Kind::Time => format!("TIMESTAMP '2024-03-01 10:0{}:{:02}'", self.range(0..4), self.range(0..60)),
        }
    }
}

fn parenthesised(value: i64) -> String {
    if value < 0 { format!("({value})") } else { value.to_string() }
}
