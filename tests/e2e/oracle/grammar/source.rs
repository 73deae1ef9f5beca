//! What stands in FROM: tables, views, subqueries, windows of time, and their joins.

use super::{Column, Grammar, Kind, ROWS_MAX, Relation, output_columns};

/// FROM, and what is in sight behind it.
pub(super) struct Source {
    pub(super) sql: String,
    pub(super) columns: Vec<Column>,
    /// About how many rows.
    pub(super) rows: f64,
    /// Whether it is a join, which needs parentheses on the right of another.
    pub(super) joined: bool,
}

impl Grammar<'_> {
    /// A join of up to `relations`.
    pub(super) fn source(&mut self, relations: u32, depth: u32) -> Source {
        let mut source = self.relation(depth);
        for _ in 1..relations {
            if self.left == 0 || source.rows > ROWS_MAX {
                break;
            }
            if depth > 0
                && self.one_in(10)
                && let Some(with_more) = self.with_lateral(&source, depth - 1)
            {
                source = with_more;
                continue;
            }
            // On the right of a join there may be a join.
            let right = if depth > 0 && self.one_in(8) { self.source(2, depth - 1) } else { self.relation(depth) };
            // A nested join whose right side reads its left one is not understood.
            if right.joined && right.sql.contains("LATERAL") {
                continue;
            }
            let right = if right.joined { Source { sql: format!("({})", right.sql), ..right } } else { right };
            source = self.join(source, right);
        }
        source
    }

    fn join(&mut self, left: Source, right: Source) -> Source {
        let kind = self.pick(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        if left.rows * right.rows < ROWS_MAX / 2.0 && self.one_in(6) {
            return self.join_without_equality(left, right, kind);
        }
        if self.one_in(10)
            && let Some(joined) = self.join_using(&left, &right)
        {
            return joined;
        }
        let mut conditions = Vec::new();
        let mut rows = left.rows * right.rows;
        for _ in 0..self.range(1..3) {
            if let Some((condition, share)) = self.equality(&left.columns, &right.columns) {
                conditions.push(condition);
                rows *= share;
            }
        }
        if rows > ROWS_MAX
            && let Some(condition) = self.same_id(&left.columns, &right.columns)
        {
            conditions.push(condition);
            rows /= 30.0;
        }
        if conditions.is_empty() || rows > ROWS_MAX {
            return left;
        }
        let mut columns = left.columns;
        columns.extend(right.columns);
        if self.one_in(4) {
            conditions.push(self.condition(&columns, 1));
        }
        let sql = format!("{} {kind} {} ON {}", left.sql, right.sql, conditions.join(" AND "));
        Source { sql, columns, rows: rows.max(left.rows), joined: true }
    }

    /// Nested loops: no equality at all.
    fn join_without_equality(&mut self, left: Source, right: Source, kind: &str) -> Source {
        let rows = left.rows * right.rows;
        let mut columns = left.columns;
        let sql = if self.one_in(3) {
            columns.extend(right.columns);
            format!("{} CROSS JOIN {}", left.sql, right.sql)
        } else {
            let kind_of_column = self.kind_of(&columns);
            let (one, other) = (self.leaf(kind_of_column, &columns), self.leaf(kind_of_column, &right.columns));
            columns.extend(right.columns);
            format!("{} {kind} {} ON {one} {} {other}", left.sql, right.sql, self.comparison())
        };
        Source { sql, columns, rows, joined: true }
    }

    /// `USING` a column that both sides have under one name; the merged column has no qualifier.
    fn join_using(&mut self, left: &Source, right: &Source) -> Option<Source> {
        let bare = |column: &Column| column.name.rsplit_once('.').map_or(column.name.clone(), |(_, bare)| bare.to_owned());
        let shared = |columns: &[Column], name: &str| columns.iter().filter(|column| bare(column) == name).count();
        let names: Vec<String> = left.columns.iter().filter(|column| column.kind.comparable()).map(bare).collect();
        let fitting: Vec<String> = names
            .into_iter()
            .filter(|name| shared(&left.columns, name) == 1 && shared(&right.columns, name) == 1)
            .filter(|name| {
                let kind = |columns: &[Column]| columns.iter().find(|column| bare(column) == *name).map(|column| column.kind);
                kind(&left.columns) == kind(&right.columns)
            })
            .collect();
        if fitting.is_empty() || left.rows * right.rows > ROWS_MAX * 3.0 {
            return None;
        }
        let name = self.pick(&fitting);
        let kind = self.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let mut columns = left.columns.clone();
        columns.extend(right.columns.clone());
        let rows = left.rows * right.rows / 8.0;
        Some(Source { sql: format!("{} {kind} {} USING ({name})", left.sql, right.sql), columns, rows, joined: true })
    }

    /// A column of one side equals one of the other, and the share of pairs for which that holds.
    pub(super) fn equality(&mut self, left: &[Column], right: &[Column]) -> Option<(String, f64)> {
        let column = self.comparable(left)?;
        // An average equals another by chance at most.
        let kind = if column.kind == Kind::Real { Kind::Int } else { column.kind };
        let one = if self.one_in(6) { self.expression(kind, left, 1) } else { self.column(kind, left)? };
        let other = if self.one_in(6) { self.expression(kind, right, 1) } else { self.column(kind, right)? };
        let share = match kind {
            Kind::Bool => 0.5,
            Kind::Time | Kind::Float | Kind::Numeric => 0.1,
            _ => 0.2,
        };
        let operator = if self.one_in(6) { "IS NOT DISTINCT FROM" } else { "=" };
        Some((format!("{one} {operator} {other}"), share))
    }

    fn same_id(&mut self, left: &[Column], right: &[Column]) -> Option<String> {
        let id = |columns: &[Column]| columns.iter().find(|column| column.name.ends_with(".id")).map(|column| column.name.clone());
        Some(format!("{} = {}", id(left)?, id(right)?))
    }

    fn relation(&mut self, depth: u32) -> Source {
        self.left = self.left.saturating_sub(1);
        match self.range(0..14) {
            0..3 if depth > 0 => self.derived(depth - 1),
            3 if self.one_in(2) => self.windows_of_time(),
            4 if self.one_in(2) => self.values(),
            4 => self.rows_of_a_function(),
            _ => self.named(),
        }
    }

    fn named(&mut self) -> Source {
        let common = self.common.clone();
        let relation = if !common.is_empty() && self.one_in(2) {
            self.pick(&common)
        } else {
            let relations = self.relations;
            let relation = self.pick(relations);
            self.reads.insert(relation.name.clone());
            relation
        };
        let alias = self.alias();
        Source {
            sql: format!("{} AS {alias}", relation.name),
            columns: under(&alias, &relation.columns),
            rows: relation.rows,
            joined: false,
        }
    }

    fn derived(&mut self, depth: u32) -> Source {
        let made = self.full_query(None, depth);
        let alias = self.alias();
        Source { sql: format!("({}) AS {alias}", made.sql), columns: output_columns(&alias, &made.kinds), rows: made.rows, joined: false }
    }

    fn windows_of_time(&mut self) -> Source {
        let tables: Vec<Relation> = self.relations.iter().filter(|relation| relation.table).cloned().collect();
        let table = self.pick(&tables);
        self.reads.insert(table.name.clone());
        let alias = self.alias();
        let mut columns = table.columns.clone();
        columns.push(("window_start".to_owned(), Kind::Time));
        columns.push(("window_end".to_owned(), Kind::Time));
        columns.push(("window_time".to_owned(), Kind::Time));
        let (call, times) = match self.range(0..5) {
            0 | 1 => {
                let size = self.pick(&["10 seconds", "1 minute", "90 seconds"]);
                (format!("TUMBLE({}, ts, INTERVAL '{size}')", table.name), 1.0)
            }
            2 => {
                let (slide, size) = self.pick(&[(10, 20), (30, 60), (20, 30), (60, 90)]);
                (format!("HOP({}, ts, INTERVAL '{slide} seconds', INTERVAL '{size} seconds', INTERVAL '3 seconds')", table.name), 2.0)
            }
            3 => (format!("CUMULATE({}, ts, INTERVAL '20 seconds', INTERVAL '1 minute')", table.name), 2.0),
            _ => {
                let keys = self.pick(&["", " PARTITION BY k", " PARTITION BY k, s"]);
                (format!("SESSION({}{keys}, ts, INTERVAL '10 seconds')", table.name), 1.0)
            }
        };
        let (sql, rows) = (format!("{call} AS {alias}"), table.rows * times);
        Source { sql, columns: under(&alias, &columns), rows, joined: false }
    }

    /// The elements of each row's array, or a series of numbers.
    fn rows_of_a_function(&mut self) -> Source {
        let alias = self.alias();
        let element = |alias: &str| Column { name: format!("{alias}.c0"), kind: Kind::Int };
        if self.one_in(3) {
            let sql = format!("generate_series({}, {}) AS {alias} (c0)", self.range(-2..2), self.range(1..6));
            return Source { sql, columns: vec![element(&alias)], rows: 5.0, joined: false };
        }
        let tables: Vec<Relation> = self.relations.iter().filter(|relation| relation.table).cloned().collect();
        let table = self.pick(&tables);
        self.reads.insert(table.name.clone());
        let elements = self.alias();
        let sql = format!("{} AS {alias} CROSS JOIN LATERAL unnest({alias}.a) AS {elements} (c0)", table.name);
        let mut columns = under(&alias, &table.columns);
        columns.push(element(&elements));
        Source { sql, columns, rows: table.rows * 1.5, joined: true }
    }

    fn values(&mut self) -> Source {
        let kinds = [self.pick(&[Kind::Int, Kind::Text]), self.pick(&[Kind::Int, Kind::Text, Kind::Bool])];
        let rows = self.range(1..5);
        let row = |grammar: &mut Self| {
            let cells: Vec<String> = kinds.iter().map(|kind| grammar.leaf(*kind, &[])).collect();
            format!("({})", cells.join(", "))
        };
        let list: Vec<String> = (0..rows).map(|_| row(self)).collect();
        let alias = self.alias();
        let sql = format!("(VALUES {}) AS {alias} (c0, c1)", list.join(", "));
        Source { sql, columns: output_columns(&alias, &kinds), rows: rows as f64, joined: false }
    }
}

fn under(alias: &str, columns: &[(String, Kind)]) -> Vec<Column> {
    columns.iter().map(|(name, kind)| Column { name: format!("{alias}.{name}"), kind: *kind }).collect()
}
