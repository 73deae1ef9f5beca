//! GROUP BY: aggregates of all three classes, DISTINCT, FILTER, ORDER BY within, grouping sets, HAVING.

use super::condition::where_clause;
use super::{Column, EXPRESSIBLE, Grammar, Kind, Made, select_list};

impl Grammar<'_> {
    pub(super) fn aggregate(&mut self, kinds: Option<&[Kind]>, depth: u32) -> Made {
        let relations = 1 + self.pick(&[0, 0, 1, 2]);
        let source = self.source(relations, depth);
        let conditions = self.conditions(&source.columns, depth);
        let keys = self.keys(&source.columns);
        let (items, made_kinds) = self.aggregate_items(kinds, &keys, &source.columns);
        let (group, sets) = self.group_clause(&keys);
        let having = if self.one_in(4) { format!(" HAVING {}", self.having(&keys, &source.columns, depth)) } else { String::new() };
        let sql = format!("SELECT {} FROM {}{}{group}{having}", select_list(&items), source.sql, where_clause(&conditions));
        let rows = if keys.is_empty() { 1.0 } else { source.rows / 2.0 * sets };
        Made { sql, kinds: made_kinds, rows }
    }

    /// What is grouped by: columns and expressions over them.
    fn keys(&mut self, columns: &[Column]) -> Vec<Column> {
        let mut keys: Vec<Column> = Vec::new();
        for _ in 0..self.pick(&[0, 1, 1, 1, 2, 3]) {
            let Some(mut key) = self.comparable(columns) else { break };
            if self.one_in(4) && EXPRESSIBLE.contains(&key.kind) {
                let expression = self.expression(key.kind, columns, 1);
                // A constant key would name a column by its number.
                if expression.contains('.') && expression.contains('r') && !expression.starts_with("CAST(") {
                    key.name = expression;
                }
            }
            if keys.iter().all(|other| other.name != key.name) {
                keys.push(key);
            }
        }
        keys
    }

    /// GROUP BY, and how many sets it has.
    fn group_clause(&mut self, keys: &[Column]) -> (String, f64) {
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        if names.is_empty() {
            return (String::new(), 1.0);
        }
        let all = names.join(", ");
        // Of a key that is constant below, DataFusion's batch plans believe that it is so behind grouping sets, too, and do not sort by it.
        let columns = keys.iter().all(|key| !key.name.contains(".c") && !key.name.contains('('));
        match self.range(0..12) {
            0..7 if !columns => (format!(" GROUP BY {all}"), 1.0),
            0 => (format!(" GROUP BY ROLLUP ({all})"), 2.0),
            1 => (format!(" GROUP BY CUBE ({all})"), 4.0),
            2 => (format!(" GROUP BY GROUPING SETS (({all}), (), ({}))", names[0]), 2.0),
            3 => (format!(" GROUP BY GROUPING SETS (({all}), ROLLUP ({all}), GROUPING SETS (({}), ()))", names[0]), 4.0),
            4 => (format!(" GROUP BY {}, ROLLUP (({all}))", names[0]), 2.0),
            5 => (format!(" GROUP BY DISTINCT ROLLUP ({all}), CUBE ({})", names[0]), 4.0),
            6 => (format!(" GROUP BY (), ({all}), ()"), 1.0),
            _ => (format!(" GROUP BY {all}"), 1.0),
        }
    }

    fn aggregate_items(&mut self, kinds: Option<&[Kind]>, keys: &[Column], columns: &[Column]) -> (Vec<String>, Vec<Kind>) {
        if let Some(kinds) = kinds {
            let items = kinds.iter().map(|kind| match self.column(*kind, keys) {
                Some(key) if self.one_in(2) => key,
                _ => self.over_aggregate(*kind, columns),
            });
            return (items.collect(), kinds.to_vec());
        }
        let mut items: Vec<(String, Kind)> = keys.iter().map(|key| (key.name.clone(), key.kind)).collect();
        for _ in 0..self.range(1..4) {
            items.push(if self.one_in(3) {
                self.shown_aggregate(columns)
            } else {
                let kind = self.kind_of(columns);
                (self.over_aggregate(kind, columns), kind)
            });
        }
        items.into_iter().unzip()
    }

    /// An aggregate, or an expression over some.
    fn over_aggregate(&mut self, kind: Kind, columns: &[Column]) -> String {
        let call = self.aggregate_call(kind, columns);
        match kind {
            Kind::Int | Kind::Numeric | Kind::Float if self.one_in(5) => {
                format!("{call} {} {}", self.pick(&["+", "-"]), self.aggregate_call(kind, columns))
            }
            _ if self.one_in(6) => format!("COALESCE({call}, {})", self.constant(kind)),
            _ => call,
        }
    }

    fn having(&mut self, keys: &[Column], columns: &[Column], depth: u32) -> String {
        if self.one_in(4) && !keys.is_empty() {
            return self.condition(keys, 1);
        }
        let kind = self.pick(&[Kind::Int, Kind::Int, Kind::Numeric, Kind::Text]);
        let call = self.aggregate_call(kind, columns);
        match self.range(0..4) {
            0 => format!("{call} IS {}NULL", self.not()),
            1 if depth > 0 && self.left > 0 => format!("{call} {} {}", self.comparison(), self.scalar_subquery(kind, &[], depth - 1)),
            _ => format!("{call} {} {}", self.comparison(), self.constant(kind)),
        }
    }

    /// A call with a result of a kind, whatever the order of rows.
    pub(super) fn aggregate_call(&mut self, kind: Kind, columns: &[Column]) -> String {
        let argument = self.expression(kind, columns, 1);
        let distinct = self.pick(&["", "", "", "DISTINCT "]);
        let call = match kind {
            Kind::Int => match self.range(0..10) {
                0 | 1 => "count(*)".to_owned(),
                2 | 3 => {
                    let of = self.kind_of(columns);
                    format!("count({distinct}{})", self.expression(of, columns, 1))
                }
                4 | 5 => format!("sum({distinct}{argument})"),
                // A sum of integers may be numeric.
                6 => format!("{}(CAST({argument} AS BIGINT))", self.pick(&["bit_and", "bit_or", "bit_xor"])),
                7 => {
                    let of = self.pick(&[Kind::Int, Kind::Numeric, Kind::Text, Kind::Time]);
                    let function = self.pick(&["rank", "dense_rank"]);
                    let (place, order) = (self.constant(of), self.expression(of, columns, 1));
                    format!("{function}({place}) WITHIN GROUP (ORDER BY {order}{})", self.direction())
                }
                _ => format!("{}({argument})", self.pick(&["min", "max"])),
            },
            Kind::Numeric | Kind::Float => match self.range(0..3) {
                0 => format!("sum({distinct}{argument})"),
                _ => format!("{}({argument})", self.pick(&["min", "max"])),
            },
            Kind::Text => match self.range(0..6) {
                0 => format!("string_agg({argument}, ',' ORDER BY {argument}{})", self.direction()),
                1 => format!("string_agg(DISTINCT {argument}, ',' ORDER BY {argument})"),
                2 => return self.ordered_set("percentile_disc(0.5)", &argument),
                _ => format!("{}({argument})", self.pick(&["min", "max"])),
            },
            Kind::Bool => format!("{}({argument})", self.pick(&["bool_and", "bool_or", "every"])),
            Kind::Real => {
                let of = self.pick(&[Kind::Int, Kind::Numeric, Kind::Float]);
                format!("avg({distinct}{})", self.expression(of, columns, 1))
            }
            Kind::Time | Kind::Approx | Kind::Opaque => format!("{}({argument})", self.pick(&["min", "max"])),
        };
        if self.one_in(5) { format!("{call} FILTER (WHERE {})", self.condition(columns, 1)) } else { call }
    }

    fn ordered_set(&mut self, call: &str, argument: &str) -> String {
        format!("{call} WITHIN GROUP (ORDER BY {argument})")
    }

    /// A call whose result is only to be shown, or is an average.
    fn shown_aggregate(&mut self, columns: &[Column]) -> (String, Kind) {
        let kind = self.kind_of(columns);
        let argument = self.expression(kind, columns, 1);
        match self.range(0..9) {
            0..3 => (self.aggregate_call(Kind::Real, columns), Kind::Real),
            3 => {
                let of = self.pick(&[Kind::Int, Kind::Float, Kind::Numeric]);
                let function = self.pick(&["var_samp", "var_pop", "stddev", "stddev_pop"]);
                (format!("{function}({})", self.expression(of, columns, 1)), Kind::Approx)
            }
            4 => {
                let function = self.pick(&["covar_pop", "covar_samp", "corr", "regr_slope", "regr_intercept", "regr_sxy", "regr_avgx"]);
                let (one, other) = (self.expression(Kind::Int, columns, 1), self.expression(Kind::Float, columns, 1));
                (format!("{function}({one}, {other})"), Kind::Approx)
            }
            5 => (format!("array_agg({argument} ORDER BY {argument}{})", self.direction()), Kind::Opaque),
            6 if matches!(kind, Kind::Int | Kind::Text | Kind::Bool) => {
                (format!("jsonb_agg({argument} ORDER BY {argument}{})", self.direction()), Kind::Opaque)
            }
            7 => {
                let of = self.pick(&[Kind::Int, Kind::Float]);
                let value = self.expression(of, columns, 1);
                (self.ordered_set("percentile_cont(0.25)", &value), Kind::Approx)
            }
            8 if self.one_in(3) => {
                let of = self.expression(Kind::Int, columns, 1);
                (format!("median({of})"), Kind::Approx)
            }
            _ => (self.aggregate_call(Kind::Real, columns), Kind::Real),
        }
    }
}
