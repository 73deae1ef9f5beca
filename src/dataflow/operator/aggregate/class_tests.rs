//! Aggregates of all classes, planned from SQL, against DataFusion's answer over the rows that are there: random signed changes in any
//! order, split among workers, with restarts on another number of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use futures::StreamExt;

use super::Aggregate;
use super::combine::Combine;
use super::tests::Random;
use crate::catalog::{Catalog, Column, Object, ObjectKind, Table};
use crate::dataflow::operator::expand::Expand;
use crate::dataflow::operator::map::Map;
use crate::dataflow::operator::{Operator, Stateless};
use crate::dataflow::row_errors::{RowErrorLog, RowErrorSink};
use crate::plan::{Bound, NoSystemRelations, Node, NodeKind, Planner, PlannerOptions, Scope, attach, schema_of};
use crate::sql::{Statement, parse};
use crate::state::{StateChanges, StoredState};
use crate::types::{Changes, OnConflict, SqlType, hash_rows, worker_of};

/// A row: k, x, y, n, s. The floats as bits, so that a row can be counted.
type Row = (Option<i64>, Option<u64>, Option<u64>, Option<i32>, Option<&'static str>);

/// Cells as text; floats apart, since theirs may differ in the last digits.
type Answer = Vec<(Vec<Option<String>>, Vec<f64>)>;

const CALLS: [&str; 9] = [
    "var_samp(x), stddev_pop(n), var_pop(DISTINCT n), count(*), variance(x) FILTER (WHERE n > 0)",
    "covar_samp(y, x), corr(n, k), regr_slope(n, x), regr_intercept(y, x), regr_avgx(n, y), regr_sxx(y, x), regr_count(y, x), covar_pop(n, n)",
    "bit_xor(n), bit_and(n), bit_or(n) FILTER (WHERE x > 0), every(n > 0)",
    "first_value(s ORDER BY n, s), last_value(n ORDER BY s DESC, n), arg_min(s, n), arg_max(n, s), min(ARRAY[n, 1]), nth_value(n, 3 ORDER BY n)",
    "median(n), percentile_cont(0.3) WITHIN GROUP (ORDER BY x), percentile_disc(0.4) WITHIN GROUP (ORDER BY s DESC)",
    "array_agg(s ORDER BY s), string_agg(s, '+' ORDER BY s DESC), array_agg(DISTINCT n ORDER BY n DESC)",
    "mode() WITHIN GROUP (ORDER BY n), jsonb_agg(n ORDER BY n), json_agg(DISTINCT s), count(DISTINCT s)",
    "approx_distinct(s), approx_median(n), approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY n)",
    "sum(n), max(n), median(x), jsonb_object_agg(coalesce(s, '-'), length(s)), count(n) FILTER (WHERE s IS NULL)",
];

/// One view: its plan, as many workers as it has now, what they have emitted and stored.
struct View {
    planner: Planner,
    bound: Bound,
    /// From the input up to the aggregate.
    below: Vec<Box<dyn Stateless>>,
    node: Node,
    workers: Vec<Aggregate>,
    emitted: BTreeMap<Vec<Option<String>>, (i64, Vec<f64>)>,
    stored: StoredState,
    errors: RowErrorSink,
    /// The rows that `Expand`'s union brings in.
    constant: Option<Changes>,
    /// How many operators stand below it.
    union: usize,
}

fn columns() -> Vec<Column> {
    let column = |(name, sql_type): (&str, SqlType)| Column {
        name: name.to_owned(),
        sql_type,
        not_null: false,
        default: None,
        generated: None,
        include: None,
    };
    let columns = [("k", SqlType::Int8), ("x", SqlType::Float8), ("y", SqlType::Float8), ("n", SqlType::Int4), ("s", SqlType::Text)];
    columns.into_iter().map(column).collect()
}

fn schema() -> SchemaRef {
    schema_of(&columns())
}

fn batch(rows: &[Row]) -> RecordBatch {
    let floats = |value: fn(&Row) -> Option<u64>| {
        Arc::new(rows.iter().map(|row| value(row).map(f64::from_bits)).collect::<Float64Array>()) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        floats(|row| row.1),
        floats(|row| row.2),
        Arc::new(rows.iter().map(|row| row.3).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.4).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The cells of a batch, and what to compare them by.
fn answer(batch: &RecordBatch) -> Answer {
    let options = FormatOptions::default().with_null("NULL");
    let row = |row: usize| {
        let (mut exact, mut floats) = (Vec::new(), Vec::new());
        for column in batch.columns() {
            let text = || ArrayFormatter::try_new(column.as_ref(), &options).unwrap().value(row).to_string();
            match column.data_type() {
                _ if column.is_null(row) => exact.push(None),
                DataType::Float64 if !column.as_primitive::<Float64Type>().value(row).is_nan() => {
                    exact.push(Some("a number".to_owned()));
                    floats.push(column.as_primitive::<Float64Type>().value(row));
                }
                _ => exact.push(Some(text())),
            }
        }
        (exact, floats)
    };
    (0..batch.num_rows()).map(row).collect()
}

fn random_row(random: &mut Random) -> Row {
    // Not so far apart that the batch answer, which is rounded on its way, would be off.
    let floats = [0.1_f64, -0.0, 0.0, 2.5, -7.25, 1e-5, 4e4, 0.3];
    let texts = ["", "a", "b", "Zürich"];
    let null = |random: &mut Random| random.below(7) == 0;
    let float = |random: &mut Random| floats[random.below(floats.len() as u64) as usize].to_bits();
    let key = (!null(random)).then(|| random.below(3) as i64);
    let x = (!null(random)).then(|| if random.below(40) == 0 { f64::NAN.to_bits() } else { float(random) });
    let y = (!null(random)).then(|| float(random));
    let n = (!null(random)).then(|| random.below(9) as i32 - 2);
    let s = (!null(random)).then(|| texts[random.below(4) as usize]);
    (key, x, y, n, s)
}

impl View {
    fn new(sql: &str, append_only: bool) -> View {
        let table = Table {
            columns: columns(),
            key: Vec::new(),
            on_conflict: OnConflict::Overwrite,
            append_only,
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
        let planner = Planner::new(&PlannerOptions::default()).unwrap();
        let scope = Scope { catalog: &catalog, search_path: &path, relations: &NoSystemRelations, text: sql };
        let parsed = parse(sql).unwrap();
        let Statement::Query(query) = &parsed[0].statement else { panic!("a query") };
        let bound = planner.query(query, &scope, &[]).unwrap();
        let root = planner.view(&bound, &catalog).unwrap().root;
        let errors = Arc::new(RowErrorLog::default()).sink(1);
        let mut view = View {
            planner,
            bound,
            below: Vec::new(),
            node: aggregate_of(&root).clone(),
            workers: Vec::new(),
            emitted: BTreeMap::new(),
            stored: StoredState::default(),
            errors,
            constant: None,
            union: 0,
        };
        let input = view.input().clone();
        view.prepare(&input);
        view.start(1);
        let constant = view.constant.take().map(|changes| view.through(view.union, vec![changes]));
        view.run(constant.unwrap_or_default());
        view
    }

    fn input(&self) -> &Node {
        let NodeKind::Aggregate { input, .. } = &self.node.kind else { panic!("an aggregate") };
        input
    }

    fn keys(&self) -> Vec<usize> {
        let NodeKind::Aggregate { keys, .. } = &self.node.kind else { panic!("an aggregate") };
        keys.clone()
    }

    /// The stateless operators below the aggregate.
    fn prepare(&mut self, node: &Node) {
        match &node.kind {
            NodeKind::Exchange { input, .. } => self.prepare(input),
            NodeKind::Map { input, predicate, projection } => {
                self.prepare(input);
                let map = Map::new(predicate.clone(), projection.clone(), Arc::clone(&node.schema), self.errors.clone());
                self.below.push(Box::new(map.unwrap()));
            }
            NodeKind::Expand { input, keys, sets } => {
                self.prepare(input);
                self.below.push(Box::new(Expand::new(keys.clone(), sets.clone(), Arc::clone(&node.schema)).unwrap()));
            }
            NodeKind::Combine { input, keys, aggregates, .. } => {
                self.prepare(input);
                let (append_only, output) = (input.properties.append_only, Arc::clone(&node.schema));
                let combine = Combine::new(&input.schema, append_only, keys.clone(), aggregates.clone(), output);
                self.below.push(Box::new(combine.unwrap()));
            }
            NodeKind::Union { inputs } => {
                self.prepare(&inputs[0]);
                let NodeKind::Constant { rows } = &inputs[1].kind else { panic!("a constant") };
                self.constant = Some(Changes::insertions(rows.clone()));
                self.union = self.below.len();
            }
            NodeKind::Import { columns, .. } => self.below.push(Box::new(Columns(columns.clone()))),
            other => panic!("{other:?}"),
        }
    }

    /// Workers that hold what is stored.
    fn start(&mut self, workers: usize) {
        let NodeKind::Aggregate { input, keys, aggregates, combined, .. } = &self.node.kind else { panic!("an aggregate") };
        self.workers.clear();
        for worker in 0..workers {
            let (input_schema, output) = (Arc::clone(&input.schema), Arc::clone(&self.node.schema));
            let append_only = input.properties.append_only;
            let operator = if *combined {
                Aggregate::merging(input_schema, append_only, keys.len(), aggregates, output, worker == 0)
            } else {
                Aggregate::new(input_schema, append_only, keys.clone(), aggregates.clone(), output, worker == 0)
            };
            let mut operator = operator.unwrap().reporting_to(self.errors.clone());
            operator.restore(&mut self.stored.entries(|bucket| usize::from(bucket) % workers == worker)).unwrap();
            self.workers.push(operator);
        }
    }

    fn checkpoint(&mut self) {
        for operator in &mut self.workers {
            let mut changes = StateChanges::default();
            operator.checkpoint(&mut changes).unwrap();
            self.stored.apply_loosely(changes);
        }
    }

    fn step(&mut self, changes: Changes) {
        let batches = self.through(0, vec![changes]);
        self.run(batches);
    }

    /// What comes out of the stateless operators from number `first` on.
    fn through(&mut self, first: usize, mut batches: Vec<Changes>) -> Vec<Changes> {
        for operator in &mut self.below[first..] {
            let mut next = Vec::new();
            batches.into_iter().for_each(|changes| operator.apply(changes, &mut next).unwrap());
            batches = next;
        }
        batches
    }

    /// One epoch of the aggregate.
    fn run(&mut self, batches: Vec<Changes>) {
        let (keys, workers) = (self.keys(), self.workers.len());
        for (worker, operator) in self.workers.iter_mut().enumerate() {
            let mine = |changes: &Changes| {
                let columns: Vec<ArrayRef> = keys.iter().map(|key| Arc::clone(changes.column(*key))).collect();
                let hashes = hash_rows(&columns, changes.len());
                changes.filter(&hashes.into_iter().map(|hash| Some(worker_of(hash, workers) == worker)).collect::<BooleanArray>())
            };
            let mut output = Vec::new();
            operator.step(1, vec![batches.iter().map(mine).collect()], &mut output).unwrap();
            for changes in output {
                let told = |column: &usize| changes.schema().field(*column).name() != "__grouping_id";
                let told: Vec<usize> = (0..changes.rows().num_columns()).filter(told).collect();
                for (row, (exact, floats)) in answer(&changes.rows().project(&told).unwrap()).into_iter().enumerate() {
                    let mut cells = exact;
                    cells.extend(floats.iter().map(|float| Some(format!("{float:?}"))));
                    let entry = self.emitted.entry(cells.clone()).or_insert((0, floats));
                    entry.0 += changes.weight(row);
                    if entry.0 == 0 {
                        self.emitted.remove(&cells);
                    }
                }
            }
        }
    }

    /// What we have emitted must be what the query gives over `rows`.
    fn check(&self, rows: &[Row], told: &str) {
        let batch = batch(rows);
        let provider = |_, _: &SchemaRef| Ok(Arc::new(MemTable::try_new(schema(), vec![vec![batch.clone()]]).unwrap()) as _);
        let plan = attach(self.bound.optimized(&self.planner, &[], 0).unwrap(), &provider).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let batches: Vec<RecordBatch> = runtime.block_on(async {
            let physical = self.planner.physical(&plan).await.unwrap();
            self.planner.execute(physical).unwrap().map(Result::unwrap).collect().await
        });
        let expected = match batches.first() {
            Some(first) => answer(&concat_batches(&first.schema(), &batches).unwrap()),
            None => Vec::new(),
        };
        let width = |cells: &Vec<Option<String>>, floats: &[f64]| cells[..cells.len() - floats.len()].to_vec();
        let mut found: Answer = Vec::new();
        for (cells, (count, floats)) in &self.emitted {
            assert!(*count > 0, "{told}: {cells:?} stands there {count} times");
            (0..*count).for_each(|_| found.push((width(cells, floats), floats.clone())));
        }
        assert_eq!(found.len(), expected.len(), "{told}\n found {found:?}\n expected {expected:?}");
        for (exact, floats) in expected {
            let near = |left: &f64, right: &f64| (left - right).abs() <= 1e-6 * left.abs().max(right.abs()).max(1.0) || left == right;
            let place = found.iter().position(|(cells, numbers)| {
                *cells == exact && numbers.len() == floats.len() && numbers.iter().zip(&floats).all(|(left, right)| near(left, right))
            });
            let place = place.unwrap_or_else(|| panic!("{told}\n missing {exact:?} {floats:?}\n among {found:?}"));
            found.swap_remove(place);
        }
    }
}

/// The import: only the columns that are wanted.
struct Columns(Vec<usize>);

impl Stateless for Columns {
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> crate::error::Result<()> {
        output.push(changes.with_rows(changes.rows().project(&self.0)?));
        Ok(())
    }
}

fn aggregate_of(node: &Node) -> &Node {
    match &node.kind {
        NodeKind::Aggregate { .. } => node,
        _ => aggregate_of(node.inputs()[0]),
    }
}

/// Random epochs: rows come and go, some twice, some within one epoch with the retraction first.
fn play(sql: &str, append_only: bool, seed: u64) {
    let mut random = Random(seed);
    let mut view = View::new(sql, append_only);
    let mut rows: Vec<Row> = Vec::new();
    for epoch in 0..24 {
        let told = format!("{sql}, seed {seed}, epoch {epoch}");
        let (mut changed, mut weights) = (Vec::new(), Vec::new());
        let growth = if epoch % 8 < 5 { 80 } else { 15 };
        for _ in 0..random.below(25) {
            if append_only || random.below(100) < growth {
                let row = random_row(&mut random);
                let weight = 1 + i64::from(random.below(6) == 0);
                (0..weight).for_each(|_| rows.push(row));
                changed.push(row);
                weights.push(weight);
            } else if !rows.is_empty() {
                changed.push(rows.swap_remove(random.below(rows.len() as u64) as usize));
                weights.push(-1);
            }
        }
        if !append_only {
            let row = random_row(&mut random);
            changed.splice(0..0, [row]);
            weights.splice(0..0, [-1]);
            changed.push(row);
            weights.push(1);
            if epoch == 15 {
                weights.extend(rows.iter().map(|_| -1));
                changed.append(&mut rows);
            }
        }
        let weights = weights.iter().any(|weight| *weight != 1).then(|| Int64Array::from(weights));
        view.step(Changes::new(batch(&changed), weights));
        view.check(&rows, &told);
        if random.below(3) == 0 {
            view.checkpoint();
            view.start(1 + random.below(3) as usize);
        }
    }
}

#[test]
fn all_classes_equal_the_batch_answer() {
    for (number, calls) in CALLS.into_iter().enumerate() {
        let seed = 10 * (number as u64 + 1);
        play(&format!("SELECT k, {calls} FROM t GROUP BY k"), false, seed);
        play(&format!("SELECT k, n, {calls} FROM t GROUP BY k, n"), true, seed + 1);
    }
}

#[test]
fn grouping_sets_equal_the_batch_answer() {
    for (number, calls) in CALLS.into_iter().enumerate() {
        play(&format!("SELECT k, s, {calls} FROM t GROUP BY ROLLUP (k, s)"), number % 2 == 0, 500 + number as u64);
    }
    play("SELECT k, s, count(*), count(n), sum(k) FROM t GROUP BY GROUPING SETS ((k, s), (), (s), (), (k, s))", false, 77);
}

#[test]
fn a_group_that_fails_is_told_once_while_it_does() {
    let log = Arc::new(RowErrorLog::default());
    let mut view = View::new("SELECT k, jsonb_object_agg(s, n), count(*) FROM t GROUP BY k", false);
    view.errors = log.sink(7);
    view.start(1);
    let bits = Some(0);
    let bad: Row = (Some(1), bits, bits, Some(1), None);
    let good = |n| -> Row { (Some(1), bits, bits, Some(n), Some("a")) };
    view.step(Changes::insertions(batch(&[bad, good(2)])));
    assert_eq!(view.emitted.keys().next().unwrap()[1], None);
    view.step(Changes::insertions(batch(&[good(3)])));
    view.step(Changes::retractions(batch(&[good(3)])));
    assert_eq!(log.snapshot()[0].1.count, 1, "it failed before");
    view.step(Changes::retractions(batch(&[bad])));
    assert_eq!(view.emitted.keys().next().unwrap()[1].as_deref(), Some("{\"a\": 2}"));
    let (_, errors) = log.snapshot().remove(0);
    assert_eq!((errors.count, errors.samples[0].error.as_str()), (1, "field name must not be null"));
    view.step(Changes::insertions(batch(&[bad])));
    assert_eq!(log.snapshot()[0].1.count, 2, "it fails anew");
}

/// A digest of quantiles depends on the portions in which it gets its rows: those of a group once depended on the groups before it.
#[test]
fn a_digest_says_the_same_of_the_same_rows() {
    let mut random = Random(7);
    let mut row = |key: i64| -> Row { (Some(key), Some((random.below(1_000_003) as f64 * 0.37).to_bits()), None, Some(1), None) };
    let calls =
        "approx_percentile_cont(0.01) WITHIN GROUP (ORDER BY x), approx_percentile_cont(0.37) WITHIN GROUP (ORDER BY x), approx_median(x)";
    let mut view = View::new(&format!("SELECT k, {calls} FROM t GROUP BY k"), false);
    let all: Vec<Row> = (0..18_000).map(|number| row(number / 6_000)).collect();
    view.step(Changes::insertions(batch(&all)));
    for key in [2, 1, 0, 2] {
        view.step(Changes::insertions(batch(&[row(key)])));
        let counts: Vec<i64> = view.emitted.values().map(|(count, _)| *count).collect();
        assert_eq!(counts, [1, 1, 1], "after a row of group {key}");
    }
}
