//! The join against nested loops over the same random changes, through checkpoints and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::logical_expr::Operator as SqlOperator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};

use super::{Join, JoinSpec};
use crate::dataflow::operator::Operator;
use crate::dataflow::row_errors::RowErrorLog;
use crate::plan::Scalar;
use crate::state::{StateChanges, StateEntry};
use crate::types::Changes;

/// Key and value.
type Row = (Option<i64>, i64);
type Bag<R> = BTreeMap<R, i64>;

/// One kind of join.
#[derive(Clone, Copy, Default)]
struct Case {
    text_keys: bool,
    without_keys: bool,
    null_equals_null: bool,
    condition: bool,
    append_only: [bool; 2],
}

/// Numbers that look random, the same in every run (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit) as i64
    }
}

impl Case {
    fn schema(self, names: &[&str]) -> SchemaRef {
        let key = if self.text_keys { DataType::Utf8 } else { DataType::Int64 };
        let field = |name: &&str| Field::new(*name, if name.ends_with('k') { key.clone() } else { DataType::Int64 }, true);
        Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
    }

    fn join(self) -> Join {
        let less = BinaryExpr::new(Arc::new(Column::new("lv", 1)), SqlOperator::Lt, Arc::new(Column::new("rv", 3)));
        let keys = || if self.without_keys { vec![] } else { vec![0] };
        let spec = JoinSpec {
            left: self.schema(&["lk", "lv"]),
            right: self.schema(&["rk", "rv"]),
            left_keys: keys(),
            right_keys: keys(),
            null_equals_null: self.null_equals_null,
            condition: self.condition.then(|| Scalar { expression: Arc::new(less), text: "lv < rv".into() }),
            output: self.schema(&["lk", "lv", "rk", "rv"]),
            left_append_only: self.append_only[0],
            right_append_only: self.append_only[1],
        };
        Join::new(spec, Arc::new(RowErrorLog::default()).sink(1)).unwrap()
    }

    fn changes(self, rows: &[(Row, i64)]) -> Changes {
        let keys = rows.iter().map(|((key, _), _)| *key);
        let keys: ArrayRef = if self.text_keys {
            Arc::new(keys.map(|key| key.map(|key| format!("key {key}"))).collect::<StringArray>())
        } else {
            Arc::new(keys.collect::<Int64Array>())
        };
        let values = Int64Array::from_iter_values(rows.iter().map(|((_, value), _)| *value));
        let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
        let batch = RecordBatch::try_new(self.schema(&["k", "v"]), vec![keys, Arc::new(values)]).unwrap();
        Changes::new(batch, weights.values().iter().any(|weight| *weight != 1).then_some(weights))
    }

    fn matches(self, left: &Row, right: &Row) -> bool {
        let keys = self.without_keys || left.0 == right.0 && (left.0.is_some() || self.null_equals_null);
        keys && (!self.condition || left.1 < right.1)
    }

    /// Nested loops.
    fn expected(self, held: &[Bag<Row>; 2]) -> Bag<(Row, Row)> {
        let mut expected = Bag::new();
        for (left, left_weight) in &held[0] {
            for (right, right_weight) in held[1].iter().filter(|(right, _)| self.matches(left, right)) {
                add(&mut expected, (*left, *right), left_weight * right_weight);
            }
        }
        expected
    }

    /// A few changes that one side can take.
    fn draw(self, random: &mut Random, side: usize, held: &mut Bag<Row>) -> Vec<(Row, i64)> {
        let count = random.below(12);
        let mut drawn = Vec::new();
        for _ in 0..count {
            let key = Some(random.below(6)).filter(|key| *key > 0);
            let row = (key, random.below(5));
            let weight = if self.append_only[side] { 1 + random.below(10) / 9 } else { random.below(5) - 2 };
            add(held, row, weight);
            drawn.push((row, weight));
        }
        drawn
    }
}

fn add<R: Ord>(bag: &mut Bag<R>, row: R, weight: i64) {
    let sum = bag.entry(row).or_default();
    *sum += weight;
    bag.retain(|_, weight| *weight != 0);
}

fn read_key(column: &ArrayRef, row: usize) -> Option<i64> {
    if column.is_null(row) {
        return None;
    }
    let text = column.as_string_opt::<i32>().map(|texts| texts.value(row).trim_start_matches("key ").parse().unwrap());
    text.or_else(|| Some(column.as_primitive::<Int64Type>().value(row)))
}

fn collect(output: &[Changes], into: &mut Bag<(Row, Row)>) {
    for changes in output {
        assert!(!changes.is_empty());
        for row in 0..changes.len() {
            let value = |column: usize| changes.column(column).as_primitive::<Int64Type>().value(row);
            let pair = ((read_key(changes.column(0), row), value(1)), (read_key(changes.column(2), row), value(3)));
            add(into, pair, changes.weight(row));
        }
    }
}

/// What a disk would hold.
#[derive(Default)]
struct Disk(BTreeMap<(u8, Vec<u8>), Vec<u8>>);

impl Disk {
    fn checkpoint(&mut self, join: &mut Join) {
        let mut changes = StateChanges::default();
        join.checkpoint(&mut changes);
        for key in changes.deletes {
            assert!(self.0.remove(&key).is_some(), "only what is there is deleted");
        }
        for StateEntry { bucket, key, value } in changes.puts {
            self.0.insert((bucket, key), value);
        }
    }

    fn restore(&self, mut join: Join) -> Join {
        let entries = self.0.iter().rev();
        let mut entries = entries.map(|((bucket, key), value)| Ok(StateEntry { bucket: *bucket, key: key.clone(), value: value.clone() }));
        join.restore(&mut entries).unwrap();
        join
    }
}

fn run(case: Case, seed: u64) {
    let mut random = Random(seed);
    let mut held = [Bag::new(), Bag::new()];
    let mut found = Bag::new();
    let mut disk = Disk::default();
    let mut join = case.join();
    for epoch in 1..60 {
        let inputs = (0..2_usize).map(|side| {
            let batches = random.below(3);
            (0..batches).map(|_| case.changes(&case.draw(&mut random, side, &mut held[side]))).collect()
        });
        let inputs = inputs.collect();
        let mut output = Vec::new();
        join.step(epoch, inputs, &mut output).unwrap();
        assert!(case.append_only != [true, true] || output.iter().all(|changes| changes.weights().is_none()));
        collect(&output, &mut found);
        assert_eq!(found, case.expected(&held), "seed {seed}, epoch {epoch}");
        if random.below(4) == 0 {
            disk.checkpoint(&mut join);
            if random.below(2) == 0 {
                let size = join.size().rows;
                join = disk.restore(case.join());
                assert_eq!(join.size().rows, size);
            }
        }
    }
}

#[test]
fn equals_nested_loops() {
    for seed in 0..8 {
        for text_keys in [false, true] {
            for null_equals_null in [false, true] {
                for condition in [false, true] {
                    run(Case { text_keys, null_equals_null, condition, ..Case::default() }, seed);
                }
            }
        }
    }
}

#[test]
fn equals_nested_loops_when_nothing_is_retracted() {
    for seed in 0..8 {
        for append_only in [[true, true], [true, false], [false, true]] {
            run(Case { append_only, text_keys: seed % 2 == 0, ..Case::default() }, seed);
        }
    }
}

#[test]
fn without_keys_every_pair_matches() {
    for seed in 0..8 {
        run(Case { without_keys: true, condition: seed % 2 == 0, ..Case::default() }, seed);
    }
}

#[test]
fn a_row_that_came_and_went_is_never_written() {
    let case = Case::default();
    let mut join = case.join();
    let mut output = Vec::new();
    join.step(1, vec![vec![case.changes(&[((Some(1), 1), 1), ((Some(2), 2), 1)])], vec![]], &mut output).unwrap();
    join.step(2, vec![vec![case.changes(&[((Some(1), 1), -1)])], vec![]], &mut output).unwrap();
    let mut changes = StateChanges::default();
    join.checkpoint(&mut changes);
    assert_eq!((changes.puts.len(), changes.deletes.len()), (1, 0));

    join.step(3, vec![vec![case.changes(&[((Some(2), 2), -1), ((Some(3), 3), 1)])], vec![]], &mut output).unwrap();
    join.step(4, vec![vec![case.changes(&[((Some(2), 2), 1)])], vec![]], &mut output).unwrap();
    let mut changes = StateChanges::default();
    join.checkpoint(&mut changes);
    assert_eq!((changes.puts.len(), changes.deletes.len()), (2, 0), "the row that is back is not deleted");
}

#[test]
fn a_long_chain_streams_out_and_dead_rows_are_freed() {
    let case = Case::default();
    let mut join = case.join();
    let many: Vec<(Row, i64)> = (0..40_000).map(|value| ((Some(7), value), 1)).collect();
    let mut output = Vec::new();
    join.step(1, vec![vec![case.changes(&many)], vec![case.changes(&[((Some(7), 0), 1)])]], &mut output).unwrap();
    assert!(output.iter().all(|changes| changes.len() <= super::side::PAIRS_MAX));
    assert_eq!(output.iter().map(Changes::len).sum::<usize>(), 40_000);

    let mut disk = Disk::default();
    disk.checkpoint(&mut join);
    let full = join.size();
    let gone: Vec<(Row, i64)> = many[..39_000].iter().map(|(row, _)| (*row, -1)).collect();
    join.step(2, vec![vec![case.changes(&gone)], vec![]], &mut output).unwrap();
    disk.checkpoint(&mut join);
    output.clear();
    join.step(3, vec![vec![], vec![case.changes(&[((Some(7), 1), 1)])]], &mut output).unwrap();
    assert_eq!(output.iter().map(Changes::len).sum::<usize>(), 1_000);
    assert!(join.size().bytes < full.bytes / 4, "{:?} after {full:?}", join.size());
    assert_eq!(join.size().rows, 1_002);
    disk.checkpoint(&mut join);
    assert_eq!(disk.restore(case.join()).size().rows, 1_002);
}

/// Not a test of correctness: prints nothing, fails never; run it by name with `--release` and a profiler.
#[test]
#[ignore = "takes seconds"]
fn a_million_rows_a_side() {
    let case = Case { append_only: [true, true], ..Case::default() };
    let mut join = case.join();
    let mut pairs = 0;
    for epoch in 0..128_i64 {
        let rows = |shift: i64| -> Vec<(Row, i64)> { (0..8_192).map(|row| ((Some(epoch * 8_192 + row + shift), row), 1)).collect() };
        let mut output = Vec::new();
        join.step(epoch as u64 + 1, vec![vec![case.changes(&rows(0))], vec![case.changes(&rows(-4_096))]], &mut output).unwrap();
        pairs += output.iter().map(Changes::len).sum::<usize>();
    }
    assert_eq!(pairs, 128 * 8_192 - 4_096);
}
