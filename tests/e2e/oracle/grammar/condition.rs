//! Conditions: comparisons in the logic of three values, and the subqueries that become joins.

use super::{Column, Grammar, Kind, Made};

impl Grammar<'_> {
    /// A condition without subqueries.
    pub(super) fn condition(&mut self, columns: &[Column], depth: u32) -> String {
        if depth > 0 && self.one_in(3) {
            let (left, right) = (self.condition(columns, depth - 1), self.condition(columns, depth - 1));
            return match self.range(0..6) {
                0 => format!("NOT ({left})"),
                1 => format!("(({left}) IS {})", self.pick(&["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN", "NOT UNKNOWN"])),
                2 | 3 => format!("({left} OR {right})"),
                _ => format!("({left} AND {right})"),
            };
        }
        let kind = if self.one_in(10) { Kind::Real } else { self.kind_of(columns) };
        let one = if kind == Kind::Real && self.column(kind, columns).is_none() {
            self.leaf(Kind::Float, columns)
        } else {
            self.expression(kind, columns, depth.min(1))
        };
        // Parentheses: PostgreSQL does not let one comparison follow another.
        let condition = match self.range(0..12) {
            0 => format!("{one} IS {}NULL", self.not()),
            1 => {
                let (low, high) = (self.leaf(kind, columns), self.constant(kind));
                format!("{one} {}BETWEEN {low} AND {high}", self.not())
            }
            2 => {
                let values: Vec<String> = (0..self.range(1..4)).map(|_| self.leaf(kind, columns)).collect();
                format!("{one} {}IN ({})", self.not(), values.join(", "))
            }
            3 if kind == Kind::Text => format!("{one} {}LIKE '{}'", self.not(), self.pick(&["a%", "%b", "%", "_", "%x%"])),
            4 => format!("{one} IS {}DISTINCT FROM {}", self.not(), self.leaf(kind, columns)),
            5 => match self.column(Kind::Bool, columns) {
                Some(column) => format!("{}{column}", self.not()),
                None => format!("{one} IS NOT NULL"),
            },
            _ => {
                let other = self.leaf(kind, columns);
                // If a column equals an expression over it, DataFusion's batch plans take the one for the other and no longer find their order.
                let comparison = if one.contains(&other) { "<=" } else { self.comparison() };
                format!("{one} {comparison} {other}")
            }
        };
        format!("({condition})")
    }

    /// A condition that may hold subqueries.
    pub(super) fn filter(&mut self, columns: &[Column], depth: u32) -> String {
        if depth == 0 || self.left == 0 || !self.one_in(3) {
            return self.condition(columns, 2);
        }
        let with = self.subquery_condition(columns, depth - 1);
        match self.range(0..6) {
            0 => format!("({with} OR {})", self.condition(columns, 1)),
            1 => format!("NOT ({with})"),
            2 => format!("({with} AND {})", self.filter(columns, depth - 1)),
            _ => with,
        }
    }

    fn subquery_condition(&mut self, columns: &[Column], depth: u32) -> String {
        let special = match self.range(0..12) {
            0 => self.under_the_same_name(columns, depth),
            1 => self.joined_with_outside(columns, depth),
            2 => self.row_in(columns, depth),
            3 => self.row_compared(columns, depth),
            _ => None,
        };
        special.unwrap_or_else(|| self.usual_condition(columns, depth))
    }

    fn usual_condition(&mut self, columns: &[Column], depth: u32) -> String {
        let kind = self.kind_of(columns);
        match self.range(0..6) {
            0 | 1 => {
                let (one, list) = (self.leaf(kind, columns), self.one_column(kind, columns, depth));
                format!("{one} {}IN ({list})", self.not())
            }
            2 | 3 => {
                let query = self.correlated_rows(columns, depth);
                format!("{}EXISTS ({query})", self.not())
            }
            4 if kind != Kind::Bool => {
                let (one, list) = (self.leaf(kind, columns), self.one_column(kind, columns, depth));
                format!("{one} {} {} ({list})", self.comparison(), self.pick(&["ANY", "ALL"]))
            }
            _ => {
                let one = self.expression(kind, columns, 1);
                format!("{one} {} {}", self.comparison(), self.scalar_subquery(kind, columns, depth))
            }
        }
    }

    /// `(SELECT …)` as a value: an aggregate of all rows, of those that go with the outer row, or the first row of an order.
    pub(super) fn scalar_subquery(&mut self, kind: Kind, outer: &[Column], depth: u32) -> String {
        let source = self.source(1, depth);
        let correlation = self.correlation(&source.columns, outer);
        let mut conditions: Vec<String> = correlation.into_iter().collect();
        if conditions.is_empty()
            && self.one_in(3)
            && let Some(alone) = self.column(kind, &source.columns)
        {
            let mut order = format!("{alone}{}", self.direction());
            if let Some(total) = self.total_order(&source.columns) {
                order = format!("{order}, {total}");
            }
            return format!("(SELECT {alone} FROM {} ORDER BY {order} LIMIT 1)", source.sql);
        }
        if self.one_in(2) {
            conditions.push(self.condition(&source.columns, 1));
        }
        let value = self.aggregate_call(kind, &source.columns);
        format!("(SELECT {value} FROM {}{})", source.sql, where_clause(&conditions))
    }

    /// A query of one column, to be searched for a value.
    fn one_column(&mut self, kind: Kind, outer: &[Column], depth: u32) -> String {
        if self.one_in(3) {
            let Made { sql, .. } = self.body(Some(&[kind]), depth);
            return sql;
        }
        let source = self.source(1, depth);
        let mut conditions: Vec<String> = Vec::new();
        if self.one_in(3) {
            conditions.extend(self.correlation(&source.columns, outer));
        }
        if self.one_in(2) {
            conditions.push(self.filter(&source.columns, depth));
        }
        let value = self.expression(kind, &source.columns, 1);
        format!("SELECT {value} FROM {}{}", source.sql, where_clause(&conditions))
    }

    fn correlated_rows(&mut self, outer: &[Column], depth: u32) -> String {
        let source = self.source(1, depth);
        let mut conditions: Vec<String> = self.correlation(&source.columns, outer).into_iter().collect();
        if self.one_in(3) {
            // One more, and not by equality.
            let kind = self.kind_of(&source.columns);
            if let (Some(inner), Some(outer)) = (self.column(kind, &source.columns), self.column(kind, outer)) {
                conditions.push(format!("{inner} {} {outer}", self.comparison()));
            }
        }
        if self.one_in(2) {
            conditions.push(self.filter(&source.columns, depth));
        }
        format!("SELECT 1 FROM {}{}", source.sql, where_clause(&conditions))
    }

    /// An inner column equals an outer one; now and then none does.
    pub(super) fn correlation(&mut self, inner: &[Column], outer: &[Column]) -> Option<String> {
        if self.one_in(4) {
            return None;
        }
        let kind = self.kind_of(inner);
        let (inner, outer) = (self.column(kind, inner)?, self.column(kind, outer)?);
        Some(if self.one_in(2) { format!("{inner} = {outer}") } else { format!("{outer} = {inner}") })
    }

    pub(super) fn comparison(&mut self) -> &'static str {
        self.pick(&["=", "<", "<=", ">", ">=", "<>"])
    }

    pub(super) fn not(&mut self) -> &'static str {
        self.pick(&["", "", "NOT "])
    }
}

/// ` WHERE a AND b`, or nothing.
pub(super) fn where_clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}
