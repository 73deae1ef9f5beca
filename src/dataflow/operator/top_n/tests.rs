//! The top-n against sorting everything, over the same random changes, through checkpoints and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, UInt64Type};

use super::walk::Walk;
use super::{Emitted, TopN, TopNSpec};
use crate::dataflow::event_time::tests::low_at;
use crate::dataflow::operator::Operator;
use crate::plan::{OrderColumn, Ranking};
use crate::state::{StateChanges, StoredState};
use crate::types::Changes;

/// Key, order, another column.
type Row = (i64, Option<i64>, i64);
type Bag<R> = BTreeMap<R, i64>;

/// Numbers that look random, the same in every run (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit) as i64
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    keyed: bool,
    append_only: bool,
    candidates: bool,
    ranking: Ranking,
    offset: u64,
    limit: Option<u64>,
    numbered: bool,
    descending: bool,
    nulls_first: bool,
}

fn schema(numbered: bool) -> SchemaRef {
    let mut fields =
        vec![Field::new("k", DataType::Float64, true), Field::new("o", DataType::Int64, true), Field::new("x", DataType::Int64, true)];
    if numbered {
        fields.push(Field::new("n", DataType::UInt64, true));
    }
    Arc::new(Schema::new(fields))
}

impl Case {
    fn operator(self) -> TopN {
        TopN::new(TopNSpec {
            input: schema(false),
            append_only: self.append_only,
            keys: if self.keyed { vec![0] } else { Vec::new() },
            order: vec![OrderColumn { column: 1, descending: self.descending, nulls_first: self.nulls_first }],
            ranking: self.ranking,
            offset: self.offset,
            limit: self.limit,
            numbered: self.numbered,
            candidates: self.candidates,
            output: schema(self.numbered),
        })
        .unwrap()
    }

    /// The order's value, so that a smaller one comes first.
    fn rank_of(self, order: Option<i64>) -> (bool, i64) {
        let value = order.unwrap_or(0);
        (order.is_none() != self.nulls_first, if self.descending { -value } else { value })
    }

    /// All rows sorted, the wanted places kept.
    fn expected(self, held: &Bag<Row>) -> Bag<(Row, u64)> {
        let mut groups: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        for (row, count) in held {
            let key = if self.keyed { row.0 } else { 0 };
            groups.entry(key).or_default().extend(std::iter::repeat_n(*row, *count as usize));
        }
        let mut expected = Bag::new();
        for rows in groups.values_mut() {
            rows.sort_by_key(|row| (self.rank_of(row.1), row.0 == 1, row.0, row.2));
            let (mut rank, mut dense, mut peers) = (0, 0, None);
            for (index, row) in rows.iter().enumerate() {
                if peers != Some(row.1) {
                    (rank, dense, peers) = (index as u64 + 1, dense + 1, Some(row.1));
                }
                let number = match self.ranking {
                    Ranking::RowNumber => index as u64 + 1,
                    Ranking::Rank => rank,
                    Ranking::DenseRank => dense,
                };
                let end = self.limit.map_or(u64::MAX, |limit| self.offset + limit);
                if number <= end && index as u64 >= self.offset {
                    add(&mut expected, (*row, if self.numbered { number } else { 0 }), 1);
                }
            }
        }
        expected
    }
}

fn add<R: Ord>(bag: &mut Bag<R>, row: R, weight: i64) {
    *bag.entry(row).or_default() += weight;
    bag.retain(|_, weight| *weight != 0);
}

/// Key 0 comes as both zeros, key 1 as NaN.
fn changes(rows: &[(Row, i64)], random: &mut Random) -> Changes {
    let key = |key: i64| match key {
        0 if random.below(2) == 0 => -0.0,
        1 => f64::NAN,
        other => other as f64,
    };
    let keys: Float64Array = rows.iter().map(|((k, ..), _)| *k).map(key).map(Some).collect();
    let order: Int64Array = rows.iter().map(|((_, order, _), _)| *order).collect();
    let others = Int64Array::from_iter_values(rows.iter().map(|((.., other), _)| *other));
    let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
    let batch = RecordBatch::try_new(schema(false), vec![Arc::new(keys), Arc::new(order), Arc::new(others)]).unwrap();
    Changes::new(batch, weights.values().iter().any(|weight| *weight != 1).then_some(weights))
}

fn collect(output: &[Changes], numbered: bool, into: &mut Bag<(Row, u64)>) {
    for changes in output {
        assert!(!changes.is_empty());
        for row in 0..changes.len() {
            let key = changes.column(0).as_primitive::<Float64Type>().value(row);
            let order = changes.column(1);
            let order = order.is_valid(row).then(|| order.as_primitive::<Int64Type>().value(row));
            let read = (if key.is_nan() { 1 } else { key as i64 }, order, changes.column(2).as_primitive::<Int64Type>().value(row));
            let number = if numbered { changes.column(3).as_primitive::<UInt64Type>().value(row) } else { 0 };
            add(into, (read, number), changes.weight(row));
        }
    }
}

/// What a disk would hold.
#[derive(Default)]
struct Disk(StoredState);

impl Disk {
    fn checkpoint(&mut self, operator: &mut TopN) {
        let mut changes = StateChanges::default();
        operator.checkpoint(&mut changes).unwrap();
        self.0.apply(changes);
    }

    fn restored(&self, case: Case, worker: usize, workers: usize) -> TopN {
        self.given_back(case.operator(), worker, workers)
    }

    fn given_back(&self, mut operator: TopN, worker: usize, workers: usize) -> TopN {
        operator.restore(&mut self.0.entries(|bucket| usize::from(bucket) % workers == worker)).unwrap();
        operator
    }
}

/// How many different keys, orders and other values there are.
const NARROW: [u64; 3] = [3, 6, 3];

/// So many peers that the walk leaps over them.
const WIDE: [u64; 3] = [1, 4, 60];

fn run(case: Case, seed: u64, [keys, orders, others]: [u64; 3]) {
    let mut random = Random(seed);
    let mut operator = case.operator();
    let (mut held, mut emitted, mut disk) = (Bag::new(), Bag::new(), Disk::default());
    for epoch in 0..60 {
        let mut drawn = Vec::new();
        for _ in 0..random.below(if epoch % 4 == 0 { 100 } else { 8 }) {
            let row = (random.below(keys), Some(random.below(orders)).filter(|order| *order > 0), random.below(others));
            let weight = if case.append_only { 1 + random.below(4) / 3 } else { random.below(5) - 2 };
            let there = held.get(&row).copied().unwrap_or(0);
            let weight = weight.max(-there);
            add(&mut held, row, weight);
            // A retraction may come before its insertion.
            if random.below(3) == 0 && !case.append_only {
                drawn.push((row, weight - 1));
                drawn.push((row, 1));
            } else {
                drawn.push((row, weight));
            }
        }
        drawn.retain(|(_, weight)| *weight != 0);
        let mut output = Vec::new();
        while random.below(2) == 0 {
            let part = drawn.split_off(drawn.len() - drawn.len().min(random.below(64) as usize));
            operator.take_part(epoch, vec![vec![changes(&part, &mut random)]], &mut output).unwrap();
            assert!(output.is_empty(), "an epoch's first rows are known when it is complete");
        }
        operator.step(epoch, vec![vec![changes(&drawn, &mut random)]], &mut output).unwrap();
        collect(&output, case.numbered, &mut emitted);
        assert_eq!(emitted, case.expected(&held), "{case:?} seed {seed} epoch {epoch}");
        if random.below(4) == 0 {
            disk.checkpoint(&mut operator);
            if random.below(2) == 0 {
                let size = operator.size().rows;
                let three: usize = (0..3).map(|worker| disk.restored(case, worker, 3).size().rows).sum();
                assert_eq!(three, size, "each row has one owner");
                operator = disk.restored(case, 0, 1);
                assert_eq!(operator.size().rows, size);
            }
        }
    }
    if case.append_only && case.ranking == Ranking::RowNumber && case.limit.is_some() {
        assert!(operator.size().rows as u64 <= 3 * (case.offset + case.limit.unwrap_or(0)), "{case:?}");
    }
}

#[test]
fn equals_sorting_everything() {
    let base = Case {
        keyed: true,
        append_only: false,
        candidates: false,
        ranking: Ranking::RowNumber,
        offset: 0,
        limit: Some(3),
        numbered: false,
        descending: false,
        nulls_first: false,
    };
    let mut cases = vec![base, Case { keyed: false, ..base }, Case { limit: None, offset: 2, ..base }, Case { offset: 2, ..base }];
    cases.push(Case { limit: Some(1), ..base });
    cases.push(Case { limit: Some(0), ..base });
    for ranking in [Ranking::RowNumber, Ranking::Rank, Ranking::DenseRank] {
        cases.push(Case { ranking, numbered: true, ..base });
        cases.push(Case { ranking, ..base });
        cases.push(Case { ranking, offset: 1, limit: Some(2), ..base });
    }
    for case in cases {
        for (seed, append_only) in (0..12).zip([true, false].into_iter().cycle()) {
            run(Case { append_only, descending: seed % 4 > 1, nulls_first: seed % 3 > 1, ..case }, seed, NARROW);
        }
    }
}

#[test]
fn equals_sorting_everything_where_there_are_many_peers() {
    let base = Case {
        keyed: true,
        append_only: false,
        candidates: false,
        ranking: Ranking::RowNumber,
        offset: 0,
        limit: Some(3),
        numbered: false,
        descending: false,
        nulls_first: false,
    };
    for ranking in [Ranking::RowNumber, Ranking::Rank, Ranking::DenseRank] {
        for (offset, limit) in [(0, 1), (0, 2), (0, 40), (0, 100), (30, 40), (60, 1)] {
            for (seed, numbered) in (0..8).zip([true, false].into_iter().cycle()) {
                let case = Case { ranking, offset, limit: Some(limit), numbered, append_only: seed % 4 == 3, ..base };
                run(case, seed, WIDE);
            }
        }
    }
    (0..8).for_each(|seed| run(Case { limit: None, offset: 50, ..base }, seed, WIDE));
}

/// How many steps one change takes among 20,000 rows of which ten are before the many, all peers, and ten behind.
fn steps(ranking: Ranking, limit: u64, numbered: bool, order: i64, weight: i64) -> u64 {
    let case = Case {
        keyed: true,
        append_only: false,
        candidates: false,
        ranking,
        offset: 0,
        limit: Some(limit),
        numbered,
        descending: false,
        nulls_first: false,
    };
    let (mut operator, mut random) = (case.operator(), Random(1));
    let order_of = |row: i64| if row < 10 { row } else { 10 + (row / 20_010) * (row - 20_000) };
    let rows: Vec<(Row, i64)> = (0..20_020).map(|row| ((0, Some(order_of(row)), row), 1)).collect();
    operator.step(1, vec![vec![changes(&rows, &mut random)]], &mut Vec::new()).unwrap();
    let other = if weight > 0 { 30_000 } else { 10_000.min(order * 1_000) };
    let change = changes(&[((0, Some(order), other), weight)], &mut random);
    let gathered = operator.groups.gather([change]).unwrap();
    let (slot, of_group) = gathered.groups().next().unwrap();
    let mut emitted = Emitted { numbered, ..Emitted::default() };
    Walk::new(operator.window, operator.groups.rows(slot), of_group).run(&mut emitted).unwrap()
}

#[test]
fn one_change_among_many_peers_takes_a_few_steps() {
    for ranking in [Ranking::Rank, Ranking::DenseRank] {
        for numbered in [false, true] {
            // Among the peers: one comes, one goes.
            assert!(steps(ranking, 15, numbered, 10, 1) < 100, "{ranking:?}");
            assert!(steps(ranking, 15, numbered, 10, -1) < 100, "{ranking:?}");
        }
    }
    // Before all of them, where nobody asks for places.
    assert!(steps(Ranking::Rank, 15, false, -1, 1) < 100);
    assert!(steps(Ranking::RowNumber, 20_005, false, -1, 1) < 100);
    assert!(steps(Ranking::RowNumber, 20_005, false, 10, -1) < 100);
}

#[test]
fn a_row_of_two_bigints_costs_few_bytes() {
    let schema = |columns: &[&str]| -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(|name| Field::new(*name, DataType::Int64, false)).collect::<Vec<_>>()))
    };
    let mut operator = TopN::new(TopNSpec {
        input: schema(&["k", "v"]),
        append_only: false,
        keys: vec![0],
        order: vec![OrderColumn { column: 1, descending: true, nulls_first: true }],
        ranking: Ranking::RowNumber,
        offset: 0,
        limit: Some(3),
        numbered: false,
        candidates: false,
        output: schema(&["k", "v"]),
    })
    .unwrap();
    let mut random = Random(3);
    for epoch in 0..20 {
        let keys = Int64Array::from_iter_values((0..5_000).map(|_| random.below(2_000)));
        let values = Int64Array::from_iter_values((0..5_000).map(|_| random.below(1_000_000)));
        let batch = RecordBatch::try_new(schema(&["k", "v"]), vec![Arc::new(keys), Arc::new(values)]).unwrap();
        operator.step(epoch, vec![vec![Changes::new(batch, None)]], &mut Vec::new()).unwrap();
    }
    let size = operator.size();
    let per_row = size.bytes as f64 / size.rows as f64;
    // 10 for the row, a quarter for room, and for each group of 50 rows some 100 for itself and 20 for its key.
    assert!(per_row < 20.0, "{per_row} bytes per row");
}

#[test]
fn candidates_are_enough_for_the_answer_and_never_retracted() {
    let local = Case {
        keyed: false,
        append_only: true,
        candidates: true,
        ranking: Ranking::RowNumber,
        offset: 1,
        limit: Some(3),
        numbered: false,
        descending: true,
        nulls_first: false,
    };
    let (mut first, mut second) = (local.operator(), Case { candidates: false, ..local }.operator());
    let (mut random, mut held, mut emitted, mut through) = (Random(5), Bag::new(), Bag::new(), 0);
    for epoch in 0..100 {
        let drawn: Vec<(Row, i64)> = (0..10).map(|_| ((0, Some(random.below(1_000)), random.below(3)), 1)).collect();
        drawn.iter().for_each(|(row, weight)| add(&mut held, *row, *weight));
        let (mut between, mut output) = (Vec::new(), Vec::new());
        first.step(epoch, vec![vec![changes(&drawn, &mut random)]], &mut between).unwrap();
        assert!(between.iter().all(|changes| (0..changes.len()).all(|row| changes.weight(row) > 0)));
        through += between.iter().map(Changes::len).sum::<usize>();
        second.step(epoch, vec![between], &mut output).unwrap();
        collect(&output, false, &mut emitted);
        assert_eq!(emitted, local.expected(&held));
    }
    assert!(through < 100, "{through} of 1,000 rows went through");
    assert!(first.size().rows <= 4);
}

#[test]
fn the_newest_rows_are_known_though_old_ones_are_forgotten() {
    let base = Case {
        keyed: true,
        append_only: false,
        candidates: false,
        ranking: Ranking::RowNumber,
        offset: 0,
        limit: Some(1),
        numbered: false,
        descending: true,
        nulls_first: true,
    };
    let mut cases = Vec::new();
    for ranking in [Ranking::RowNumber, Ranking::Rank, Ranking::DenseRank] {
        cases.extend([Case { ranking, numbered: true, ..base }, Case { ranking, limit: Some(3), ..base }]);
        cases.push(Case { ranking, offset: 1, limit: Some(2), keyed: false, ..base });
    }
    for (case, seed) in cases.iter().flat_map(|case| (0..6).map(move |seed| (*case, seed))) {
        let (mut random, mut low) = (Random(seed), 0);
        let mut lows: Vec<(u64, i64)> = Vec::new();
        for epoch in 2..80 {
            low += random.below(3);
            lows.push((epoch, low));
        }
        let watermark = low_at(&lows);
        let new = || case.operator().settling(watermark.clone());
        let (mut operator, mut held, mut emitted, mut disk) = (new(), Bag::new(), Bag::new(), Disk::default());
        for epoch in 2..80 {
            let low = watermark.before(epoch).unwrap_or(0);
            let mut drawn = Vec::new();
            for _ in 0..random.below(8) {
                let order = Some(low + random.below(6)).filter(|_| random.below(9) > 0);
                let row = (random.below(3), order, random.below(3));
                let weight = (random.below(5) - 2).max(-held.get(&row).copied().unwrap_or(0));
                add(&mut held, row, weight);
                drawn.push((row, weight));
            }
            drawn.retain(|(_, weight)| *weight != 0);
            let mut output = Vec::new();
            operator.step(epoch, vec![vec![changes(&drawn, &mut random)]], &mut output).unwrap();
            collect(&output, case.numbered, &mut emitted);
            assert_eq!(emitted, case.expected(&held), "{case:?} seed {seed} epoch {epoch}");
            if random.below(4) == 0 {
                disk.checkpoint(&mut operator);
                operator = disk.given_back(new(), 0, 1);
            }
            // Of each other value the entry may count several rows.
            let low = watermark.after(epoch).unwrap_or(0);
            let open = held.keys().filter(|row| row.1.is_none_or(|order| order >= low)).count() as u64;
            let most = open + 3 * 3 * (case.offset + case.limit.unwrap_or(0));
            assert!(operator.size().rows as u64 <= most, "{case:?} seed {seed} epoch {epoch}: {} rows, not {most}", operator.size().rows);
        }
    }
}

#[test]
fn a_row_that_was_never_there_cannot_go() {
    let case = Case {
        keyed: true,
        append_only: false,
        candidates: false,
        ranking: Ranking::RowNumber,
        offset: 0,
        limit: Some(1),
        numbered: false,
        descending: false,
        nulls_first: false,
    };
    let step = case.operator().step(1, vec![vec![changes(&[((1, None, 1), -1)], &mut Random(1))]], &mut Vec::new());
    assert!(step.is_err());
}
