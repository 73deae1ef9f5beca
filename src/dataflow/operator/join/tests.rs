//! Joins of every kind against nested loops over the same random changes, through checkpoints and restarts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::logical_expr::Operator as SqlOperator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};

use super::{Join, JoinSpec};
use crate::dataflow::operator::{Operator, Work};
use crate::dataflow::row_errors::RowErrorLog;
use crate::plan::{JoinKind, Scalar};
use crate::state::{StateChanges, StoredState};
use crate::types::{Changes, Epoch};

/// Key and value.
type Row = (Option<i64>, i64);
/// What comes out: either side may be missing or padded; the mark of a mark join.
type Joined = (Option<Row>, Option<Row>, Option<bool>);
pub(super) type Bag<R> = BTreeMap<R, i64>;

/// One kind of join.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: JoinKind,
    text_keys: bool,
    without_keys: bool,
    null_equals_null: bool,
    condition: bool,
    append_only: [bool; 2],
}

/// Numbers that look random, the same in every run (Knuth's MMIX generator).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit) as i64
    }
}

pub(super) const KINDS: [JoinKind; 7] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti, JoinKind::Mark];

impl Default for Case {
    fn default() -> Self {
        Case {
            kind: JoinKind::Inner,
            text_keys: false,
            without_keys: false,
            null_equals_null: false,
            condition: false,
            append_only: [false, false],
        }
    }
}

impl Case {
    fn schema(self, names: &[&str]) -> SchemaRef {
        let key = if self.text_keys { DataType::Utf8 } else { DataType::Int64 };
        let field = |name: &&str| match *name {
            "mark" => Field::new(*name, DataType::Boolean, true),
            name => Field::new(name, if name.ends_with('k') { key.clone() } else { DataType::Int64 }, true),
        };
        Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
    }

    fn join(self) -> Join {
        let less = BinaryExpr::new(Arc::new(Column::new("lv", 1)), SqlOperator::Lt, Arc::new(Column::new("rv", 3)));
        let keys = || if self.without_keys { vec![] } else { vec![0] };
        let spec = JoinSpec {
            kind: self.kind,
            left: self.schema(&["lk", "lv"]),
            right: self.schema(&["rk", "rv"]),
            left_keys: keys(),
            right_keys: keys(),
            null_equals_null: self.null_equals_null,
            condition: self.condition.then(|| Scalar { expression: Arc::new(less), text: "lv < rv".into() }),
            output: self.schema(match self.kind {
                kind if kind.gives_pairs() => &["lk", "lv", "rk", "rv"],
                JoinKind::Mark => &["lk", "lv", "mark"],
                _ => &["lk", "lv"],
            }),
            left_append_only: self.append_only[0],
            right_append_only: self.append_only[1],
            goes: [None, None],
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
    fn expected(self, held: &[Bag<Row>; 2]) -> Bag<Joined> {
        let mut expected = Bag::new();
        for (left, weight) in &held[0] {
            let partners = || held[1].iter().filter(|(right, _)| self.matches(left, right));
            let by_weight = partners().map(|(_, weight)| weight).sum::<i64>() > 0;
            let any = partners().any(|(_, weight)| *weight > 0);
            let witnesses = || held[1].iter().filter(|(_, weight)| **weight > 0);
            let by_itself = match self.kind {
                JoinKind::Inner | JoinKind::Right => None,
                JoinKind::Left | JoinKind::Full => (!by_weight).then_some(None),
                JoinKind::Semi => any.then_some(None),
                JoinKind::Anti => (!any).then_some(None),
                JoinKind::Mark => Some(Some(any)),
                JoinKind::NotIn if witnesses().count() == 0 => Some(None),
                JoinKind::NotIn => {
                    let unknown = left.0.is_none() || witnesses().any(|(right, _)| right.0.is_none());
                    (!unknown && !any).then_some(None)
                }
            };
            if let Some(mark) = by_itself {
                add(&mut expected, (Some(*left), None, mark), *weight);
            }
            for (right, right_weight) in partners().filter(|_| self.kind.gives_pairs()) {
                add(&mut expected, (Some(*left), Some(*right), None), weight * right_weight);
            }
        }
        if matches!(self.kind, JoinKind::Right | JoinKind::Full) {
            for (right, weight) in &held[1] {
                let partners = held[0].iter().filter(|(left, _)| self.matches(left, right));
                if partners.map(|(_, weight)| weight).sum::<i64>() <= 0 {
                    add(&mut expected, (None, Some(*right), None), *weight);
                }
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

pub(super) fn add<R: Ord>(bag: &mut Bag<R>, row: R, weight: i64) {
    match bag.entry(row) {
        Entry::Vacant(entry) if weight != 0 => drop(entry.insert(weight)),
        Entry::Occupied(entry) if *entry.get() == -weight => drop(entry.remove()),
        Entry::Occupied(mut entry) => *entry.get_mut() += weight,
        Entry::Vacant(_) => {}
    }
}

fn read_key(column: &ArrayRef, row: usize) -> Option<i64> {
    if column.is_null(row) {
        return None;
    }
    let text = column.as_string_opt::<i32>().map(|texts| texts.value(row).trim_start_matches("key ").parse().unwrap());
    text.or_else(|| Some(column.as_primitive::<Int64Type>().value(row)))
}

/// One epoch, with everything that it leaves for later.
pub(super) fn step(join: &mut Join, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) {
    join.step(epoch, inputs, output).unwrap();
    work_off(join, output);
}

pub(super) fn work_off(join: &mut Join, output: &mut Vec<Changes>) {
    while join.resume(output).unwrap() == Work::Left {}
}

fn collect(case: Case, output: &[Changes], into: &mut Bag<Joined>) {
    for changes in output {
        assert!(!changes.is_empty() && changes.len() <= 2 * super::side::PAIRS_MAX);
        for row in 0..changes.len() {
            let side = |column: usize| {
                let values = changes.column(column + 1).as_primitive::<Int64Type>();
                values.is_valid(row).then(|| (read_key(changes.column(column), row), values.value(row)))
            };
            let right = if case.kind.gives_pairs() { side(2) } else { None };
            let mark = (case.kind == JoinKind::Mark).then(|| changes.column(2).as_boolean().value(row));
            add(into, (side(0), right, mark), changes.weight(row));
        }
    }
}

/// What a disk would hold.
#[derive(Default)]
pub(super) struct Disk(StoredState);

impl Disk {
    pub(super) fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    pub(super) fn checkpoint(&mut self, join: &mut Join) {
        let mut changes = StateChanges::default();
        join.checkpoint(&mut changes).unwrap();
        self.0.apply(changes);
    }

    pub(super) fn restore(&self, mut join: Join) -> Join {
        let entries: Vec<_> = self.0.entries(|_| true).collect();
        join.restore(&mut entries.into_iter().rev()).unwrap();
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
        let mut inputs: Vec<Vec<Changes>> = inputs.collect();
        let mut output = Vec::new();
        while random.below(3) == 0 {
            let part: Vec<Vec<Changes>> =
                inputs.iter_mut().map(|input| input.drain(..random.below(3).min(input.len() as i64) as usize).collect()).collect();
            join.take_part(epoch, part, &mut output).unwrap();
            work_off(&mut join, &mut output);
        }
        step(&mut join, epoch, inputs, &mut output);
        let grows = case.append_only == [true, true] && case.kind.only_grows();
        assert!(output.iter().all(|changes| changes.weights().is_none() == grows));
        collect(case, &output, &mut found);
        assert_eq!(found, case.expected(&held), "{case:?}, seed {seed}, epoch {epoch}");
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
    for seed in 0..4 {
        for kind in KINDS {
            for text_keys in [false, true] {
                for null_equals_null in [false, true] {
                    for condition in [false, true] {
                        run(Case { kind, text_keys, null_equals_null, condition, ..Case::default() }, seed);
                    }
                }
            }
        }
    }
}

#[test]
fn equals_nested_loops_when_nothing_is_retracted() {
    for seed in 0..4 {
        for kind in KINDS {
            for append_only in [[true, true], [true, false], [false, true]] {
                run(Case { kind, append_only, text_keys: seed % 2 == 0, condition: seed % 4 < 2, ..Case::default() }, seed);
            }
        }
    }
}

#[test]
fn without_keys_every_pair_matches() {
    for seed in 0..4 {
        for kind in KINDS {
            let append_only = [seed == 2, seed == 3];
            run(Case { kind, without_keys: true, condition: seed % 2 == 0, append_only, ..Case::default() }, seed);
        }
    }
}

#[test]
fn not_in_has_a_rule_for_nulls() {
    for seed in 0..16 {
        let append_only = [seed % 3 == 1, seed % 3 == 2];
        run(Case { kind: JoinKind::NotIn, text_keys: seed % 2 == 0, append_only, ..Case::default() }, seed);
    }
}

#[test]
fn witnesses_are_kept_once_and_a_retraction_of_one_of_many_changes_nothing() {
    let case = Case { kind: JoinKind::Semi, ..Case::default() };
    let mut join = case.join();
    let mut output = Vec::new();
    let witnesses = vec![((Some(1), 5), 1); 1_000];
    step(&mut join, 1, vec![vec![case.changes(&[((Some(1), 1), 1)])], vec![case.changes(&witnesses)]], &mut output);
    assert_eq!((output.len(), join.size().rows), (1, 2));
    output.clear();
    step(&mut join, 2, vec![vec![], vec![case.changes(&[((Some(1), 5), -999)])]], &mut output);
    assert!(output.is_empty());
    step(&mut join, 3, vec![vec![], vec![case.changes(&[((Some(1), 5), -1)])]], &mut output);
    assert_eq!((output.len(), output[0].weight(0)), (1, -1));
}

#[test]
fn compaction_keeps_the_partners_of_the_rows_that_stay() {
    let case = Case { kind: JoinKind::Left, ..Case::default() };
    let mut join = case.join();
    let many: Vec<(Row, i64)> = (0..12_000).map(|value| ((Some(value), value), 1)).collect();
    let mut output = Vec::new();
    step(&mut join, 1, vec![vec![case.changes(&many)], vec![case.changes(&[((Some(11_999), 0), 1)])]], &mut output);
    let gone: Vec<(Row, i64)> = many[..11_000].iter().map(|(row, _)| (*row, -1)).collect();
    step(&mut join, 2, vec![vec![case.changes(&gone)], vec![]], &mut output);
    assert_eq!(join.size().rows, 1_001);
    output.clear();
    step(&mut join, 3, vec![vec![], vec![case.changes(&[((Some(11_999), 0), -1)])]], &mut output);
    let mut found = Bag::new();
    collect(case, &output, &mut found);
    let row = (Some(11_999), 11_999);
    let wanted = [((Some(row), None, None), 1), ((Some(row), Some((Some(11_999), 0)), None), -1)];
    assert_eq!(found, Bag::from(wanted));
}

#[test]
fn a_row_that_came_and_went_is_never_written() {
    let case = Case::default();
    let mut join = case.join();
    let mut output = Vec::new();
    step(&mut join, 1, vec![vec![case.changes(&[((Some(1), 1), 1), ((Some(2), 2), 1)])], vec![]], &mut output);
    step(&mut join, 2, vec![vec![case.changes(&[((Some(1), 1), -1)])], vec![]], &mut output);
    let mut changes = StateChanges::default();
    join.checkpoint(&mut changes).unwrap();
    let mut disk = StoredState::default();
    assert_eq!(disk.apply(changes), (1, 0));

    step(&mut join, 3, vec![vec![case.changes(&[((Some(2), 2), -1), ((Some(3), 3), 1)])], vec![]], &mut output);
    step(&mut join, 4, vec![vec![case.changes(&[((Some(2), 2), 1)])], vec![]], &mut output);
    let mut changes = StateChanges::default();
    join.checkpoint(&mut changes).unwrap();
    assert_eq!(disk.apply(changes), (2, 0), "the row that is back is not deleted");
}

#[test]
fn a_long_chain_streams_out_and_dead_rows_are_freed() {
    let case = Case::default();
    let mut join = case.join();
    let many: Vec<(Row, i64)> = (0..40_000).map(|value| ((Some(7), value), 1)).collect();
    let mut output = Vec::new();
    step(&mut join, 1, vec![vec![case.changes(&many)], vec![case.changes(&[((Some(7), 0), 1)])]], &mut output);
    assert!(output.iter().all(|changes| changes.len() <= super::side::PAIRS_MAX));
    assert_eq!(output.iter().map(Changes::len).sum::<usize>(), 40_000);

    let mut disk = Disk::default();
    disk.checkpoint(&mut join);
    let full = join.size();
    let gone: Vec<(Row, i64)> = many[..39_000].iter().map(|(row, _)| (*row, -1)).collect();
    step(&mut join, 2, vec![vec![case.changes(&gone)], vec![]], &mut output);
    disk.checkpoint(&mut join);
    output.clear();
    step(&mut join, 3, vec![vec![], vec![case.changes(&[((Some(7), 1), 1)])]], &mut output);
    assert_eq!(output.iter().map(Changes::len).sum::<usize>(), 1_000);
    assert!(join.size().bytes < full.bytes / 4, "{:?} after {full:?}", join.size());
    assert_eq!(join.size().rows, 1_002);
    disk.checkpoint(&mut join);
    assert_eq!(disk.restore(case.join()).size().rows, 1_002);
}

#[test]
fn pairs_of_one_key_come_out_piece_by_piece() {
    let case = Case::default();
    let mut join = case.join();
    let many: Vec<(Row, i64)> = (0..2_000).map(|value| ((Some(7), value), 1)).collect();
    join.step(1, vec![vec![case.changes(&many)], vec![case.changes(&many)]], &mut Vec::new()).unwrap();
    let (mut pairs, mut work) = (0, Work::Left);
    while work == Work::Left {
        let mut output = Vec::new();
        work = join.resume(&mut output).unwrap();
        let piece: usize = output.iter().map(Changes::len).sum();
        assert!(piece <= super::side::PAIRS_MAX);
        pairs += piece;
    }
    assert_eq!(pairs, 4_000_000);
}

#[test]
fn a_condition_that_is_never_true_yields_between_its_pairs() {
    let case = Case { without_keys: true, condition: true, ..Case::default() };
    let mut join = case.join();
    let rows = |shift: i64| -> Vec<(Row, i64)> { (0..1_000).map(|value| ((None, value + shift), 1)).collect() };
    join.step(1, vec![vec![case.changes(&rows(1_000))], vec![case.changes(&rows(0))]], &mut Vec::new()).unwrap();
    let (mut output, mut pieces) = (Vec::new(), 1);
    while join.resume(&mut output).unwrap() == Work::Left {
        pieces += 1;
    }
    assert!(output.is_empty() && pieces >= 1_000_000 / super::side::PAIRS_MAX);
}

#[test]
fn long_texts_are_joined_in_batches_of_a_few_megabytes() {
    let case = Case { text_keys: true, ..Case::default() };
    let schema = |names: [&str; 2]| {
        Arc::new(Schema::new(
            names.map(|name| Field::new(name, if name.ends_with('k') { DataType::Utf8 } else { DataType::Int64 }, true)).to_vec(),
        ))
    };
    let batch = |keys: Vec<String>| {
        let values = Int64Array::from_iter_values(0..keys.len() as i64);
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(keys)), Arc::new(values)];
        Changes::insertions(RecordBatch::try_new(schema(["k", "v"]), columns).unwrap())
    };
    let key = "x".repeat(200_000);
    let mut join = case.join();
    step(&mut join, 1, vec![vec![batch(vec![key.clone()])], vec![]], &mut Vec::new());
    join.step(2, vec![vec![], (0..10).map(|_| batch(vec![key.clone(); 50])).collect()], &mut Vec::new()).unwrap();
    let mut pairs = 0;
    let mut work = Work::Left;
    while work == Work::Left {
        let mut output = Vec::new();
        work = join.resume(&mut output).unwrap();
        assert!(output.iter().map(Changes::payload_bytes).sum::<usize>() < 10 << 20);
        pairs += output.iter().map(Changes::len).sum::<usize>();
    }
    assert_eq!(pairs, 500);
}

#[test]
fn a_restart_does_not_join_again() {
    for append_only in [[false, false], [true, true], [true, false]] {
        let case = Case { kind: JoinKind::Left, append_only, ..Case::default() };
        let mut join = case.join();
        let mut disk = Disk::default();
        let rows = |key: i64| -> Vec<(Row, i64)> { (0..1_000).map(|value| ((Some(key), value), 1)).collect() };
        step(&mut join, 1, vec![vec![case.changes(&rows(1)), case.changes(&rows(2))], vec![]], &mut Vec::new());
        disk.checkpoint(&mut join);
        // Counts change of rows that are stored already.
        step(&mut join, 2, vec![vec![], vec![case.changes(&rows(1))]], &mut Vec::new());
        disk.checkpoint(&mut join);
        let mut join = disk.restore(case.join());
        assert!(join.probing.is_none());
        let mut output = Vec::new();
        step(&mut join, 3, vec![vec![], vec![case.changes(&[((Some(1), 5_000), 1)])]], &mut output);
        assert_eq!(output.iter().map(Changes::len).sum::<usize>(), 1_000, "rows that had a partner do not come out by themselves again");
    }
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
        step(&mut join, epoch as u64 + 1, vec![vec![case.changes(&rows(0))], vec![case.changes(&rows(-4_096))]], &mut output);
        pairs += output.iter().map(Changes::len).sum::<usize>();
    }
    assert_eq!(pairs, 128 * 8_192 - 4_096);
}
