//! Window functions against DataFusion over whole partitions, over the same random changes, through checkpoints and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;

use super::{Window, WindowSpec};
use crate::catalog::{Catalog, Column, Object, ObjectKind, Table};
use crate::dataflow::operator::Operator;
use crate::dataflow::row_errors::RowErrorLog;
use crate::plan::{NoSystemRelations, Node, NodeKind, Planner, PlannerOptions, Scope};
use crate::sql::{Statement, parse};
use crate::state::{StateChanges, StoredState};
use crate::types::{Changes, OnConflict, SqlType};

/// Partition, order, value.
pub(super) type Row = (Option<i64>, Option<i64>, Option<i64>);
pub(super) type Bag = BTreeMap<Vec<String>, i64>;

/// Numbers that look random, the same in every run (Knuth's MMIX generator).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit) as i64
    }

    pub(super) fn maybe(&mut self, limit: u64) -> Option<i64> {
        Some(self.below(limit)).filter(|value| *value > 0)
    }
}

/// The window node of `SELECT k, o, x, <call> FROM t`.
fn spec(call: &str) -> WindowSpec {
    spec_of(call, SqlType::Int8)
}

fn spec_of(call: &str, x: SqlType) -> WindowSpec {
    spec_in_order_of(call, SqlType::Int8, x)
}

pub(super) fn spec_in_order_of(call: &str, o: SqlType, x: SqlType) -> WindowSpec {
    let column = |name: &str| Column {
        name: name.to_owned(),
        sql_type: match name {
            "o" => o.clone(),
            "x" => x.clone(),
            _ => SqlType::Int8,
        },
        not_null: false,
        default: None,
        generated: None,
        include: None,
    };
    let columns = ["k", "o", "x"].map(column).to_vec();
    let table = Table {
        columns,
        key: Vec::new(),
        on_conflict: OnConflict::Overwrite,
        append_only: false,
        connector: None,
        event_time: None,
        retention: None,
    };
    let kind = ObjectKind::Table(table);
    let object = Object {
        id: 1,
        schema: "public".into(),
        name: "t".into(),
        sql: String::new(),
        depends_on: Vec::new(),
        kind,
        comments: Default::default(),
    };
    let (catalog, path) = (Catalog::new([object]), ["public".to_owned()]);
    let sql = format!("SELECT k, o, x, {call} AS w FROM t");
    let scope = Scope { catalog: &catalog, search_path: &path, relations: &NoSystemRelations, text: &sql };
    let planner = Planner::new(&PlannerOptions::default()).unwrap();
    let Statement::Query(query) = &parse(&sql).unwrap()[0].statement else { panic!("a query") };
    let plan = planner.view(&planner.query(query, &scope, &[]).unwrap(), &catalog).unwrap();
    find(&plan.root).unwrap_or_else(|| panic!("no window in {sql}"))
}

fn find(node: &Node) -> Option<WindowSpec> {
    let NodeKind::Window { input, keys, order, calls, .. } = &node.kind else { return node.inputs().into_iter().find_map(find) };
    Some(WindowSpec {
        input: Arc::clone(&input.schema),
        keys: keys.clone(),
        order: order.clone(),
        calls: calls.clone(),
        output: Arc::clone(&node.schema),
    })
}

pub(super) fn batch(spec: &WindowSpec, rows: &[Row]) -> RecordBatch {
    let column = |pick: fn(&Row) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(pick).collect::<Int64Array>()) };
    let columns = spec.input.fields().iter().map(|field| match field.name().as_str() {
        // Computed for the calls: the argument of avg, the filter.
        _ if *field.data_type() == DataType::Float64 => {
            Arc::new(rows.iter().map(|row| row.2.map(|x| x as f64)).collect::<arrow::array::Float64Array>()) as ArrayRef
        }
        // Sums and means of bigints are computed as numerics.
        _ if field.data_type().is_decimal() => {
            let values = rows.iter().map(|row| row.2.map(i128::from)).collect::<arrow::array::Decimal128Array>();
            Arc::new(values.with_data_type(field.data_type().clone())) as ArrayRef
        }
        _ if matches!(field.data_type(), DataType::Timestamp(..)) => {
            Arc::new(rows.iter().map(|row| row.1).collect::<TimestampMicrosecondArray>())
        }
        "k" => column(|row| row.0),
        "o" => column(|row| row.1),
        "x" => column(|row| row.2),
        _ => Arc::new(rows.iter().map(|row| Some(row.2.unwrap_or(0) > 1)).collect::<arrow::array::BooleanArray>()),
    });
    RecordBatch::try_new(Arc::clone(&spec.input), columns.collect()).unwrap()
}

pub(super) fn texts(columns: &[ArrayRef], row: usize) -> Vec<String> {
    columns.iter().map(|column| array_value_to_string(column, row).unwrap()).collect()
}

/// Every partition, sorted and computed as a whole.
pub(super) fn expected(spec: &WindowSpec, held: &[Row]) -> Bag {
    let mut partitions: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    for row in held {
        partitions.entry(if spec.keys.is_empty() { None } else { row.0 }).or_default().push(*row);
    }
    let descending = spec.order.first().is_some_and(|column| column.descending);
    let mut expected = Bag::new();
    for rows in partitions.values_mut() {
        // NULLs come last going up and first going down; what the order leaves equal goes up, NULLs first.
        rows.sort_by_key(|row| {
            let order = row.1.map_or(i64::MAX, |order| order);
            let order = if spec.order.is_empty() { (false, 0) } else { (false, if descending { -order } else { order }) };
            let rest = if spec.order.is_empty() { row.1 } else { None };
            (order, if spec.keys.is_empty() { row.0 } else { None }, rest, row.2)
        });
        let batch = batch(spec, rows);
        let mut columns = batch.columns().to_vec();
        columns.extend(spec.calls.iter().map(|call| call.expression.evaluate(&batch).unwrap()));
        (0..rows.len()).for_each(|row| *expected.entry(texts(&columns, row)).or_default() += 1);
    }
    expected
}

pub(super) fn collect(output: &[Changes], into: &mut Bag) {
    for changes in output {
        for row in 0..changes.len() {
            *into.entry(texts(changes.rows().columns(), row)).or_default() += changes.weight(row);
        }
    }
    into.retain(|_, weight| *weight != 0);
}

pub(super) fn window(spec: &WindowSpec) -> Window {
    Window::new(spec.clone(), Arc::new(RowErrorLog::default()).sink(1)).unwrap()
}

/// What a disk would hold.
#[derive(Default)]
pub(super) struct Disk(StoredState);

impl Disk {
    pub(super) fn checkpoint(&mut self, operator: &mut Window) {
        let mut changes = StateChanges::default();
        operator.checkpoint(&mut changes).unwrap();
        self.0.apply(changes);
    }

    fn restored(&self, spec: &WindowSpec, worker: usize, workers: usize) -> Window {
        self.given_back(window(spec), worker, workers)
    }

    pub(super) fn given_back(&self, mut operator: Window, worker: usize, workers: usize) -> Window {
        operator.restore(&mut self.0.entries(|bucket| usize::from(bucket) % workers == worker)).unwrap();
        operator
    }
}

/// One epoch: rows go and come, some of them only to go again.
fn draw(random: &mut Random, held: &mut Vec<Row>, grow: u64) -> Vec<(Row, i64)> {
    let mut drawn = Vec::new();
    for _ in 0..random.below(6) {
        if random.below(grow + 2) < 2 && !held.is_empty() {
            let row = held.swap_remove(random.below(held.len() as u64) as usize);
            drawn.push((row, -1));
        } else {
            let row = (random.maybe(3), random.maybe(9), random.maybe(5));
            held.push(row);
            if random.below(4) == 0 {
                drawn.extend([(row, -1), (row, 2)]);
            } else {
                drawn.push((row, 1));
            }
        }
    }
    drawn
}

fn run(call: &str, seed: u64) {
    let spec = spec(call);
    let (mut random, mut operator, mut disk) = (Random(seed), window(&spec), Disk::default());
    let (mut held, mut emitted) = (Vec::new(), Bag::new());
    for epoch in 0..50 {
        let drawn = draw(&mut random, &mut held, if epoch < 30 { 4 } else { 0 });
        let rows: Vec<Row> = drawn.iter().map(|(row, _)| *row).collect();
        let weights = Int64Array::from_iter_values(drawn.iter().map(|(_, weight)| *weight));
        let mut output = Vec::new();
        operator.step(epoch, vec![vec![Changes::new(batch(&spec, &rows), Some(weights))]], &mut output).unwrap();
        collect(&output, &mut emitted);
        assert_eq!(emitted, expected(&spec, &held), "{call} seed {seed} epoch {epoch}");
        if random.below(5) == 0 {
            disk.checkpoint(&mut operator);
            let three: usize = (0..3).map(|worker| disk.restored(&spec, worker, 3).size().rows).sum();
            assert_eq!(three, held.len(), "each row has one owner");
            operator = disk.restored(&spec, 0, 1);
        }
    }
}

const CALLS: [&str; 27] = [
    "row_number() OVER (PARTITION BY k ORDER BY o)",
    "row_number() OVER (ORDER BY o DESC)",
    "rank() OVER (PARTITION BY k ORDER BY o)",
    "dense_rank() OVER (PARTITION BY k ORDER BY o DESC)",
    "percent_rank() OVER (PARTITION BY k ORDER BY o)",
    "cume_dist() OVER (PARTITION BY k ORDER BY o)",
    "ntile(3) OVER (PARTITION BY k ORDER BY o)",
    "lag(x) OVER (PARTITION BY k ORDER BY o)",
    "lead(x, 2, -1) OVER (PARTITION BY k ORDER BY o)",
    "lag(x) IGNORE NULLS OVER (PARTITION BY k ORDER BY o)",
    "first_value(x) OVER (PARTITION BY k ORDER BY o)",
    "last_value(x) OVER (PARTITION BY k ORDER BY o)",
    "nth_value(x, 2) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING)",
    "first_value(x) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING)",
    "sum(x) OVER (PARTITION BY k ORDER BY o)",
    "sum(x) OVER (ORDER BY o ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    "sum(x) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    "avg(x) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING)",
    "min(x) OVER (PARTITION BY k ORDER BY o GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
    "count(*) OVER (PARTITION BY k ORDER BY o RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING)",
    "max(x) OVER (PARTITION BY k ORDER BY o DESC RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)",
    "count(x) FILTER (WHERE x > 1) OVER (PARTITION BY k ORDER BY o)",
    "sum(x) OVER (PARTITION BY k)",
    "count(*) OVER ()",
    "array_agg(x) OVER (PARTITION BY k ORDER BY o)",
    "count(DISTINCT x) OVER (PARTITION BY k ORDER BY o)",
    "sum(x) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING)",
];

#[test]
fn equals_datafusion_over_whole_partitions() {
    for call in CALLS {
        for seed in 0..4 {
            run(call, seed);
        }
    }
}

/// Rows emitted when a row comes at the end of a partition of 20,000, when it goes again, and when one comes in the middle.
fn emitted_by_one_row(call: &str) -> [usize; 3] {
    let spec = spec(call);
    let mut operator = window(&spec);
    let rows: Vec<Row> = (0..20_000).map(|order| (Some(1), Some(order * 2), Some(order % 7))).collect();
    let mut emitted = Bag::new();
    let mut step = |epoch: u64, rows: &[Row], weight: i64| {
        let mut output = Vec::new();
        let weights = Int64Array::from(vec![weight; rows.len()]);
        operator.step(epoch, vec![vec![Changes::new(batch(&spec, rows), Some(weights))]], &mut output).unwrap();
        collect(&output, &mut emitted);
        output.iter().map(Changes::len).sum()
    };
    let all: usize = step(0, &rows, 1);
    assert_eq!(all, rows.len());
    let (last, middle) = ((Some(1), Some(50_000), Some(3)), (Some(1), Some(20_001), Some(3)));
    let emitted_rows = [step(1, &[last], 1), step(2, &[last], -1), step(3, &[middle], 1)];
    let mut held = rows;
    held.push(middle);
    assert_eq!(emitted, expected(&spec, &held), "{call}");
    emitted_rows
}

#[test]
fn one_row_of_many_emits_what_it_changes() {
    let sliding = "sum(x) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 5 PRECEDING AND CURRENT ROW)";
    assert_eq!(emitted_by_one_row(sliding)[..2], [1, 1]);
    assert!(emitted_by_one_row(sliding)[2] <= 11);
    assert_eq!(emitted_by_one_row("lag(x) OVER (PARTITION BY k ORDER BY o)"), [1, 1, 3]);
    for call in ["row_number() OVER (ORDER BY o)", "sum(x) OVER (ORDER BY o)", "dense_rank() OVER (PARTITION BY k ORDER BY o)"] {
        assert_eq!(emitted_by_one_row(call)[..2], [1, 1], "{call}");
    }
    assert_eq!(emitted_by_one_row("first_value(x) OVER (PARTITION BY k ORDER BY o)"), [1, 1, 1]);
}

#[test]
fn a_row_that_fails_is_null_alone_and_told_of_once() {
    // One such number fits into numeric(38, 19), the sum of two does not.
    let spec = spec_of("sum(x) OVER (ORDER BY o)", SqlType::Numeric(38, 19));
    let log = Arc::new(RowErrorLog::default());
    let mut operator = Window::new(spec.clone(), log.sink(1)).unwrap();
    let mut emitted = Bag::new();
    let huge = 9_000_000_000_000_000_000;
    let mut step = |operator: &mut Window, rows: &[Row]| {
        let columns = spec.input.fields().iter().map(|field| {
            let column = |pick: fn(&Row) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(pick).collect::<Int64Array>()) };
            let values = match field.name().as_str() {
                "k" => column(|row| row.0),
                "o" => column(|row| row.1),
                _ => column(|row| row.2),
            };
            arrow::compute::cast(&values, field.data_type()).unwrap()
        });
        let batch = RecordBatch::try_new(Arc::clone(&spec.input), columns.collect()).unwrap();
        let mut output = Vec::new();
        operator.step(1, vec![vec![Changes::new(batch, None)]], &mut output).unwrap();
        collect(&output, &mut emitted);
        let mut sums: Vec<(i64, String)> = emitted.keys().map(|row| (row[1].parse().unwrap(), row.last().unwrap().clone())).collect();
        sums.sort();
        sums
    };
    let errors = || log.snapshot().first().map_or(0, |(_, errors)| errors.count);
    let sum = |number: i64| format!("{number}.0000000000000000000");
    step(&mut operator, &[(None, Some(1), Some(huge))]);
    step(&mut operator, &[(None, Some(2), Some(huge))]);
    let sums = step(&mut operator, &[(None, Some(3), Some(-huge)), (None, Some(4), Some(10))]);
    assert_eq!(sums, [(1, sum(huge)), (2, String::new()), (3, sum(huge)), (4, sum(huge + 10))]);
    assert_eq!(errors(), 1);
    // All are computed again, and the same one fails.
    let again = step(&mut operator, &[(None, Some(0), Some(7))]);
    assert_eq!((again[2].clone(), again[4].clone()), ((2, String::new()), (4, sum(huge + 17))));
    assert_eq!(errors(), 1);
    // A failure in front does not hinder what is remembered behind.
    let many: Vec<Row> = (5..2_000).map(|order| (None, Some(order), Some(1))).collect();
    step(&mut operator, &many);
    let rows = operator.groups.rows(0);
    let second = rows.next_piece(super::Place::default());
    assert!(matches!(rows.memo(second), Some(Some(states)) if states.iter().all(Result::is_ok)));
}
