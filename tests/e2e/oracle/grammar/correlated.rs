//! Subqueries that lose their meaning where a condition on the row outside is moved too far, or a column outside is taken for one inside.

use super::condition::where_clause;
use super::source::Source;
use super::{Column, Grammar, Kind, ROWS_MAX, output_columns};

impl Grammar<'_> {
    /// A value is looked for in a subquery whose rows bear the name of those outside.
    pub(super) fn under_the_same_name(&mut self, columns: &[Column], depth: u32) -> Option<String> {
        let kind = self.kind_of(columns);
        let column = self.column(kind, columns)?;
        let (relation, bare) = column.rsplit_once('.')?;
        let source = self.source(1, depth);
        let value = self.expression(kind, &source.columns, 1);
        let condition = self.condition(&source.columns, 1);
        let rows = format!("SELECT {column} FROM (SELECT {value} AS {bare} FROM {} WHERE {condition}) AS {relation}", source.sql);
        let comparison = match self.range(0..4) {
            0 | 1 if kind != Kind::Bool => format!("{} {}", self.comparison(), self.pick(&["ANY", "ALL"])),
            _ => format!("{}IN", self.not()),
        };
        let found = format!("{column} {comparison} ({rows})");
        Some(match self.range(0..4) {
            0 => format!("({found}) IS {}", self.pick(&["NULL", "NOT TRUE", "FALSE"])),
            1 => format!("CASE WHEN {found} THEN {} ELSE {} END", self.condition(columns, 0), self.condition(columns, 0)),
            _ => found,
        })
    }

    /// The rows of an outer join are counted, of which the condition or one side depends on the row outside.
    pub(super) fn joined_with_outside(&mut self, outer: &[Column], depth: u32) -> Option<String> {
        let (left, right) = (self.source(1, depth), self.source(1, depth));
        if left.rows * right.rows > ROWS_MAX {
            return None;
        }
        let (equal, _) = self.equality(&left.columns, &right.columns)?;
        let kind = self.pick(&["LEFT", "RIGHT", "FULL"]);
        let of_left = self.one_in(2);
        let correlation = self.correlation(if of_left { &left.columns } else { &right.columns }, outer)?;
        // Several relations are one side of a join in parentheses only.
        let grouped = |source: &Source| if source.joined { format!("({})", source.sql) } else { source.sql.clone() };
        let joined = if self.one_in(2) {
            format!("{} {kind} JOIN {} ON {equal} AND {correlation}", grouped(&left), grouped(&right))
        } else {
            let side = if of_left { &left } else { &right };
            let (alias, _) = side.columns.first()?.name.rsplit_once('.')?;
            let chosen = format!("(SELECT * FROM {} WHERE {correlation}) AS {alias}", side.sql);
            let (left, right) = if of_left { (chosen, grouped(&right)) } else { (grouped(&left), chosen) };
            format!("{left} {kind} JOIN {right} ON {equal}")
        };
        let mut columns = left.columns;
        columns.extend(right.columns);
        let conditions = if self.one_in(2) { vec![self.condition(&columns, 1)] } else { Vec::new() };
        let rows = format!("FROM {joined}{}", where_clause(&conditions));
        Some(match self.one_in(2) {
            true => format!("{}EXISTS (SELECT 1 {rows})", self.not()),
            false => format!("(SELECT count(*) {rows}) {} {}", self.comparison(), self.range(0..20)),
        })
    }

    /// A row is looked for among the rows of a subquery.
    pub(super) fn row_in(&mut self, columns: &[Column], depth: u32) -> Option<String> {
        let source = self.source(1, depth);
        let (mut row, mut rows) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let kind = self.kind_of(&source.columns);
            rows.push(self.column(kind, &source.columns)?);
            row.push(self.column(kind, columns)?);
        }
        let condition = if self.one_in(2) { vec![self.condition(&source.columns, 1)] } else { Vec::new() };
        let query = format!("SELECT {} FROM {}{}", rows.join(", "), source.sql, where_clause(&condition));
        Some(format!("({}) {}IN ({query})", row.join(", "), self.not()))
    }

    /// A row compared with the only one of a subquery, or with some or all of its rows.
    pub(super) fn row_compared(&mut self, columns: &[Column], depth: u32) -> Option<String> {
        let source = self.source(1, depth);
        let (mut row, mut values) = (Vec::new(), Vec::new());
        let one = self.one_in(2);
        for _ in 0..2 {
            let kind = self.pick(&[Kind::Int, Kind::Text, Kind::Time]);
            values.push(if one { self.aggregate_call(kind, &source.columns) } else { self.column(kind, &source.columns)? });
            row.push(self.column(kind, columns)?);
        }
        let condition = if self.one_in(2) { vec![self.condition(&source.columns, 1)] } else { Vec::new() };
        let query = format!("SELECT {} FROM {}{}", values.join(", "), source.sql, where_clause(&condition));
        let among = if one { "" } else { self.pick(&["ANY ", "ALL "]) };
        Some(format!("({}) {} {among}({query})", row.join(", "), self.comparison()))
    }

    /// A source with what a subquery makes of the rows that go with each of its rows: of each group the first, totals, subtotals, different values.
    pub(super) fn with_lateral(&mut self, left: &Source, depth: u32) -> Option<Source> {
        let inner = self.source(1, depth);
        if left.rows * inner.rows > ROWS_MAX {
            return None;
        }
        let correlation = self.correlation(&inner.columns, &left.columns)?;
        let (key, other) = (self.comparable(&inner.columns)?, self.comparable(&inner.columns)?);
        let (one, two) = (key.name.clone(), other.name.clone());
        let from = format!("FROM {} WHERE {correlation}", inner.sql);
        let (query, kinds) = match self.range(0..5) {
            0 => {
                let order = self.total_order(&inner.columns)?;
                (format!("SELECT DISTINCT ON ({one}) {one} AS c0, {two} AS c1 {from} ORDER BY {one}, {order}"), vec![key.kind, other.kind])
            }
            1 => (
                format!("SELECT count(*) AS c0, max({one}) AS c1 {from} HAVING count(*) {} 1", self.comparison()),
                vec![Kind::Int, key.kind],
            ),
            2 => {
                let sets = self.pick(&["ROLLUP (a)", "CUBE (a, b)", "GROUPING SETS ((a), (b))", "GROUPING SETS ((a, b), ())"]);
                let second = if sets.contains('b') { "b" } else { "max(b)" };
                let rows = format!("FROM (SELECT {one} AS a, {two} AS b {from}) AS s GROUP BY {sets}");
                (
                    format!("SELECT a AS c0, {second} AS c1, grouping(a) AS c2, count(*) AS c3 {rows}"),
                    vec![key.kind, other.kind, Kind::Int, Kind::Int],
                )
            }
            3 => (format!("SELECT DISTINCT count(*) AS c0, 1 AS c1 {from}"), vec![Kind::Int, Kind::Int]),
            _ => (format!("SELECT DISTINCT {one} AS c0 {from}"), vec![key.kind]),
        };
        if kinds.contains(&Kind::Bool) {
            return None;
        }
        let alias = self.alias();
        let sql = match self.one_in(2) {
            true => format!("{} LEFT JOIN LATERAL ({query}) AS {alias} ON {alias}.c0 IS NOT NULL", left.sql),
            false => format!("{} CROSS JOIN LATERAL ({query}) AS {alias}", left.sql),
        };
        let mut columns = left.columns.clone();
        columns.extend(output_columns(&alias, &kinds));
        Some(Source { sql, columns, rows: left.rows * (inner.rows / 10.0).max(1.0), joined: true })
    }
}
