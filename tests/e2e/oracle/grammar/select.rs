//! Queries as a whole: plain selects, set operations, common tables, and the first rows of an order.

use super::condition::where_clause;
use super::source::Source;
use super::{Column, Grammar, Kind, Made, Relation, output_columns, select_list};

/// Columns of a select, at most.
const WIDTH: i64 = 5;

impl Grammar<'_> {
    /// A query that may begin with common tables. `kinds`: of its columns, where that is settled.
    pub(super) fn full_query(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        if depth == 0 || self.left < 2 || !self.one_in(8) {
            return self.body(kinds, depth);
        }
        let before = self.common.len();
        let mut with = Vec::new();
        for _ in 0..self.range(1..3) {
            let made = self.body(None, depth - 1);
            let name = format!("w{}", self.alias());
            with.push(format!("{name} AS ({})", made.sql));
            let columns = made.kinds.iter().enumerate().map(|(index, kind)| (format!("c{index}"), *kind)).collect();
            self.common.push(Relation { name, columns, rows: made.rows, table: false });
        }
        let made = self.body(kinds, depth - 1);
        self.common.truncate(before);
        Made { sql: format!("WITH {} {}", with.join(", "), made.sql), ..made }
    }

    /// A select, a set operation, or the first rows of one.
    pub(super) fn body(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        match self.range(0..16) {
            0 | 1 if depth > 0 => self.set_operation(kinds, depth - 1),
            2 | 3 => self.first_rows(kinds, depth),
            4 => self.first_of_each(kinds, depth),
            _ => self.select(kinds, depth),
        }
    }

    fn select(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        match self.range(0..10) {
            0..4 => self.aggregate(kinds, depth),
            4 | 5 => self.windowed(kinds, depth),
            _ => self.plain(kinds, depth),
        }
    }

    fn plain(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        let relations = 1 + self.pick(&[0, 0, 0, 1, 1, 2, 3]);
        let source = self.source(relations, depth);
        let conditions = self.conditions(&source.columns, depth);
        let (mut items, made_kinds) = self.items(kinds, &source.columns);
        if depth > 0 && self.left > 0 && self.one_in(8) {
            let place = self.rng_index(items.len());
            if super::EXPRESSIBLE.contains(&made_kinds[place]) {
                items[place] = self.scalar_subquery(made_kinds[place], &source.columns, depth - 1);
            }
        }
        let distinct = if made_kinds.iter().all(|kind| kind.comparable()) && self.one_in(6) { "DISTINCT " } else { "" };
        let sql = format!("SELECT {distinct}{} FROM {}{}", select_list(&items), source.sql, where_clause(&conditions));
        Made { sql, kinds: made_kinds, rows: source.rows }
    }

    /// WHERE, as often as not.
    pub(super) fn conditions(&mut self, columns: &[Column], depth: u32) -> Vec<String> {
        if self.one_in(2) { vec![self.filter(columns, depth)] } else { Vec::new() }
    }

    /// What is selected, and of which kinds.
    pub(super) fn items(&mut self, kinds: Option<&[Kind]>, columns: &[Column]) -> (Vec<String>, Vec<Kind>) {
        let kinds = match kinds {
            Some(kinds) => kinds.to_vec(),
            None => (0..self.range(1..WIDTH)).map(|_| self.shown_kind(columns)).collect(),
        };
        let items = kinds.iter().map(|kind| self.expression(*kind, columns, 2)).collect();
        (items, kinds)
    }

    /// Any kind that the columns have.
    fn shown_kind(&mut self, columns: &[Column]) -> Kind {
        if columns.is_empty() || !self.one_in(4) {
            return self.kind_of(columns);
        }
        self.pick(columns).kind
    }

    pub(super) fn rng_index(&mut self, length: usize) -> usize {
        usize::try_from(self.range(0..i64::try_from(length.max(1)).unwrap_or(1))).unwrap_or(0)
    }

    fn set_operation(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        let kinds = match kinds {
            Some(kinds) => kinds.to_vec(),
            None => (0..self.range(1..4)).map(|_| self.pick(&super::EXPRESSIBLE)).collect(),
        };
        let (left, right) = (self.select(Some(&kinds), depth), self.select(Some(&kinds), depth));
        let operator = self.pick(&["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
        let rows = left.rows + if operator.starts_with("UNION") { right.rows } else { 0.0 };
        Made { sql: format!("{} {operator} {}", left.sql, right.sql), kinds, rows }
    }

    /// `ORDER BY … LIMIT`: by all columns, or with all ties.
    fn first_rows(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        let made = if self.one_in(4) { self.select(kinds, depth) } else { self.plain(kinds, depth) };
        let outputs: Vec<Column> =
            made.kinds.iter().enumerate().map(|(index, kind)| Column { name: format!("c{index}"), kind: *kind }).collect();
        let count = self.range(1..8);
        if self.one_in(4)
            && let Some(column) = self.comparable(&outputs)
        {
            let direction = self.direction();
            let sql = format!("{} ORDER BY {}{direction} FETCH FIRST {count} ROWS WITH TIES", made.sql, column.name);
            return Made { sql, ..made };
        }
        let Some(order) = self.total_order(&outputs) else { return made };
        let limit = match self.range(0..5) {
            0 => format!("LIMIT {count} OFFSET {}", self.range(1..4)),
            1 => format!("OFFSET {}", self.range(1..4)),
            2 => format!("FETCH FIRST {count} ROWS ONLY"),
            _ => format!("LIMIT {count}"),
        };
        Made { sql: format!("{} ORDER BY {order} {limit}", made.sql), kinds: made.kinds, rows: 8.0 }
    }

    /// `DISTINCT ON`, or a place in an order and a bound on it.
    fn first_of_each(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        let Source { sql: from, columns, rows, .. } = self.source(1, depth);
        let conditions = self.conditions(&columns, depth);
        let (items, kinds) = self.items(kinds, &columns);
        let outputs: Vec<Column> = items.iter().zip(&kinds).map(|(item, kind)| Column { name: item.clone(), kind: *kind }).collect();
        let list = select_list(&items);
        // A constant in ORDER BY or PARTITION BY would say nothing, or name a column by its number.
        let orderable = outputs.iter().all(|column| column.name.contains('r') && column.name.contains('.'));
        let Some(order) = self.total_order(&outputs).filter(|_| orderable) else {
            return Made { sql: format!("SELECT {list} FROM {from}{}", where_clause(&conditions)), kinds, rows };
        };
        let key = self.pick(&outputs).name;
        if self.one_in(3) {
            let sql = format!("SELECT DISTINCT ON ({key}) {list} FROM {from}{} ORDER BY {key}, {order}", where_clause(&conditions));
            return Made { sql, kinds, rows };
        }
        let place = self.pick(&["row_number", "rank", "dense_rank"]);
        let partition = if self.one_in(3) { String::new() } else { format!("PARTITION BY {key} ") };
        let bound = self.pick(&["<= 3", "< 3", "= 1", "= 2", "BETWEEN 2 AND 4", "<= 1"]);
        let alias = self.alias();
        let shown: Vec<String> = output_columns(&alias, &kinds).into_iter().map(|column| column.name).collect();
        let inner =
            format!("SELECT {list}, {place}() OVER ({partition}ORDER BY {order}) AS place FROM {from}{}", where_clause(&conditions));
        Made { sql: format!("SELECT {} FROM ({inner}) AS {alias} WHERE {alias}.place {bound}", select_list(&shown)), kinds, rows }
    }
}
