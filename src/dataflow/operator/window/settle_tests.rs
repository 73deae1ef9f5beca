//! Partitions in the order of event time, against DataFusion over all rows that ever came: what is shown as it changes is what it would be if
//! nothing were forgotten, and what comes out once is that part of it which is final.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::TimestampMicrosecondType;

use super::Window;
use super::tests::{Bag, Disk, Random, Row, batch, collect, expected, spec_in_order_of, window};
use crate::dataflow::event_time::LowAt;
use crate::dataflow::event_time::tests::following;
use crate::dataflow::operator::Operator;
use crate::types::{Changes, Low, SqlType};

/// What a result waits for.
#[derive(Clone, Copy, Debug)]
enum After {
    /// The row's time.
    Passed,
    /// So many rows behind it.
    Rows(usize),
    /// So many groups of peers behind its own.
    Groups(usize),
    /// So much later.
    Time(i64),
}

use After::{Groups, Passed, Rows, Time};

/// Each with how many rows of a partition it keeps at the most when all have been passed long ago, if there is a bound.
const CALLS: [(&str, After, Option<usize>); 30] = [
    ("row_number() OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("rank() OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("dense_rank() OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("row_number() OVER (ORDER BY o)", Passed, Some(1)),
    ("lag(x) OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("lag(x, 3, -1) OVER (PARTITION BY k ORDER BY o)", Passed, Some(3)),
    ("lead(x) OVER (PARTITION BY k ORDER BY o)", Rows(1), Some(1)),
    ("lead(x, 2) OVER (PARTITION BY k ORDER BY o)", Rows(2), Some(2)),
    ("sum(x) OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("sum(x) OVER (PARTITION BY k ORDER BY o ROWS UNBOUNDED PRECEDING)", Passed, Some(1)),
    ("avg(x) OVER (ORDER BY o)", Passed, Some(1)),
    ("max(x) OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("count(x) FILTER (WHERE x > 1) OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("sum(x) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)", Passed, Some(2)),
    ("avg(x) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING)", Rows(2), Some(3)),
    ("min(x) OVER (PARTITION BY k ORDER BY o GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING)", Groups(1), None),
    ("sum(x) OVER (PARTITION BY k ORDER BY o RANGE BETWEEN INTERVAL '2 microseconds' PRECEDING AND CURRENT ROW)", Passed, Some(0)),
    (
        "count(*) OVER (PARTITION BY k ORDER BY o RANGE BETWEEN INTERVAL '3 microseconds' PRECEDING AND INTERVAL '1 microsecond' FOLLOWING)",
        Time(1),
        Some(0),
    ),
    ("first_value(x) OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("last_value(x) OVER (PARTITION BY k ORDER BY o)", Passed, Some(1)),
    ("nth_value(x, 2) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING)", Rows(1), Some(3)),
    (
        "last_value(x) OVER (PARTITION BY k ORDER BY o RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL '2 microseconds' PRECEDING)",
        Passed,
        None,
    ),
    ("array_agg(x) OVER (PARTITION BY k ORDER BY o)", Passed, None),
    ("count(DISTINCT x) OVER (PARTITION BY k ORDER BY o)", Passed, None),
    // Several over the same rows, which wait and look back differently.
    ("rank() OVER (PARTITION BY k ORDER BY o) AS v, lead(x) OVER (PARTITION BY k ORDER BY o)", Rows(1), Some(3)),
    ("row_number() OVER (PARTITION BY k ORDER BY o) AS v, lag(x, 3) OVER (PARTITION BY k ORDER BY o)", Passed, Some(4)),
    ("first_value(x) OVER (PARTITION BY k ORDER BY o) AS v, sum(x) OVER (PARTITION BY k ORDER BY o)", Passed, Some(2)),
    (
        "sum(x) OVER (PARTITION BY k ORDER BY o) AS v,
         count(*) OVER (PARTITION BY k ORDER BY o RANGE BETWEEN INTERVAL '2 microseconds' PRECEDING AND CURRENT ROW)",
        Passed,
        Some(1),
    ),
    (
        "lag(x, 3) OVER (PARTITION BY k ORDER BY o) AS v,
         sum(x) OVER (PARTITION BY k ORDER BY o RANGE BETWEEN INTERVAL '2 microseconds' PRECEDING AND CURRENT ROW)",
        Passed,
        Some(3),
    ),
    (
        "dense_rank() OVER (PARTITION BY k ORDER BY o) AS u, first_value(x) OVER (PARTITION BY k ORDER BY o) AS v,
         avg(x) OVER (PARTITION BY k ORDER BY o ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING)",
        Rows(2),
        Some(5),
    ),
];

/// How many rows are final when event time has come to `low`.
fn finals(held: &[Row], by_key: bool, low: i64, after: After) -> usize {
    let mut partitions = BTreeMap::<Option<i64>, Vec<i64>>::new();
    let passed = held.iter().filter_map(|row| Some((row.0.filter(|_| by_key), row.1.filter(|time| *time < low)?)));
    passed.for_each(|(key, time)| partitions.entry(key).or_default().push(time));
    let of_partition = |times: &Vec<i64>| {
        let different: BTreeSet<i64> = times.iter().copied().collect();
        match after {
            Passed => times.len(),
            // Which of its peers a row stands before is not asked: so many are not final.
            Rows(count) => times.len().saturating_sub(count),
            Groups(count) => times.iter().filter(|time| different.range(*time + 1..).count() >= count).count(),
            Time(micros) => times.iter().filter(|time| **time < low - micros).count(),
        }
    };
    partitions.values().map(of_partition).sum()
}

/// Rows that come and go in an epoch, none of them behind `low`.
fn draw(random: &mut Random, held: &mut Vec<Row>, low: i64) -> Vec<(Row, i64)> {
    let mut drawn = Vec::new();
    for _ in 0..random.below(6) {
        let open: Vec<usize> = (0..held.len()).filter(|row| held[*row].1.is_none_or(|time| time >= low)).collect();
        if random.below(4) == 0 && !open.is_empty() {
            let row = held.swap_remove(open[random.below(open.len() as u64) as usize]);
            drawn.push((row, -1));
        } else {
            let time = Some(low + random.below(7)).filter(|_| random.below(12) > 0);
            let row = (random.maybe(3), time, random.maybe(5));
            held.push(row);
            drawn.push((row, 1));
        }
    }
    drawn
}

struct Case {
    call: &'static str,
    after: After,
    emits: bool,
    low: LowAt,
}

impl Case {
    fn operator(&self) -> Window {
        let spec = spec_in_order_of(self.call, SqlType::Timestamp, SqlType::Int8);
        window(&spec).settling(self.low.clone(), self.emits).unwrap()
    }
}

fn run((call, after, kept): (&'static str, After, Option<usize>), emits: bool, seed: u64) {
    let spec = spec_in_order_of(call, SqlType::Timestamp, SqlType::Int8);
    let mut random = Random(seed);
    let mut watermark = 0;
    let mut watermarks: Vec<(u64, i64)> = (2..60)
        .map(|epoch| {
            (epoch, {
                watermark += random.below(4);
                watermark
            })
        })
        .collect();
    watermarks.push((60, watermark + 100));
    let at = |epoch: u64| watermarks.iter().rev().find(|(known, _)| *known <= epoch).map_or(0, |(_, low)| *low);
    let ahead = if let Time(micros) = after { micros } else { 0 };
    let case = Case { call, after, emits, low: following(Low::Of(7).later(-ahead), &watermarks) };
    let (mut operator, mut disk) = (case.operator(), Disk::default());
    let (mut held, mut emitted) = (Vec::new(), Bag::new());
    for epoch in 2..=61 {
        let drawn = if epoch < 60 { draw(&mut random, &mut held, at(epoch - 1)) } else { Vec::new() };
        let rows: Vec<Row> = drawn.iter().map(|(row, _)| *row).collect();
        let weights = Int64Array::from_iter_values(drawn.iter().map(|(_, weight)| *weight));
        let mut output = Vec::new();
        operator.step(epoch, vec![vec![Changes::new(batch(&spec, &rows), Some(weights))]], &mut output).unwrap();
        let told = format!("{call} emits {emits} seed {seed} epoch {epoch} low {}", at(epoch));
        if emits {
            assert!(output.iter().all(|changes| (0..changes.len()).all(|row| changes.weight(row) == 1)), "{told}");
        }
        collect(&output, &mut emitted);
        let all = expected(&spec, &held);
        if emits {
            let of_these = |row: &Vec<String>| all.get(row).copied().unwrap_or(0);
            assert!(emitted.iter().all(|(row, count)| *count <= of_these(row)), "{told}: {emitted:?} {all:?}");
            let count: i64 = emitted.values().sum();
            assert_eq!(count as usize, finals(&held, !spec.keys.is_empty(), at(epoch), case.after), "{told}");
        } else {
            assert_eq!(emitted, all, "{told}");
        }
        if random.below(5) == 0 {
            disk.checkpoint(&mut operator);
            let three: usize = (0..3).map(|worker| disk.given_back(case.operator(), worker, 3).size().rows).sum();
            assert_eq!(three, operator.size().rows, "{told}: each row has one owner");
            operator = disk.given_back(case.operator(), 0, 1);
        }
    }
    // At rest: what is left of each partition, and the rows without a time.
    let timed: BTreeSet<Option<i64>> =
        held.iter().filter(|row| row.1.is_some()).map(|row| row.0.filter(|_| !spec.keys.is_empty())).collect();
    let timeless = held.iter().filter(|row| row.1.is_none()).count();
    if let Some(kept) = kept {
        let (rows, most) = (operator.size().rows, timeless + kept * timed.len());
        assert!(rows <= most, "{call} emits {emits} seed {seed}: {rows} rows are left of {}, not {most}", held.len());
    }
}

#[test]
fn what_is_forgotten_is_not_missed() {
    for case in CALLS {
        for seed in 0..2 {
            run(case, false, seed);
        }
    }
}

#[test]
fn rows_come_out_once_when_they_are_final() {
    for case in CALLS {
        for seed in 0..2 {
            run(case, true, seed);
        }
    }
}

/// The last rows that are final were the first of some with one time, and the others stood in the next piece.
#[test]
fn peers_of_the_last_final_row_are_added_up_with_it() {
    let call = "sum(x) OVER (PARTITION BY k ORDER BY o) AS v, lead(x) OVER (PARTITION BY k ORDER BY o)";
    let spec = spec_in_order_of(call, SqlType::Timestamp, SqlType::Int8);
    for count in [255, 256, 257, 513] {
        let case = Case { call, after: Rows(1), emits: true, low: following(Low::Of(7), &[(2, 0), (3, 10_000)]) };
        let mut operator = case.operator();
        let rows: Vec<Row> = (0..count).chain([count - 1; 2]).map(|time| (Some(1), Some(time), Some(1))).collect();
        let mut output = Vec::new();
        operator.step(2, vec![vec![Changes::new(batch(&spec, &rows), None)]], &mut output).unwrap();
        operator.step(3, vec![Vec::new()], &mut output).unwrap();
        let (mut emitted, all) = (Bag::new(), expected(&spec, &rows));
        collect(&output, &mut emitted);
        assert_eq!(emitted.values().sum::<i64>(), count + 1);
        assert!(emitted.iter().all(|(row, times)| all.get(row).is_some_and(|most| times <= most)), "{emitted:?}");
    }
}

#[test]
fn rows_come_out_in_the_order_of_time() {
    let call = "sum(x) OVER (PARTITION BY k ORDER BY o)";
    let spec = spec_in_order_of(call, SqlType::Timestamp, SqlType::Int8);
    let case = Case { call, after: Passed, emits: true, low: following(Low::Of(7), &[(2, 0), (3, 1_000)]) };
    let mut operator = case.operator();
    let rows: Vec<Row> = (0..500).map(|number| (Some(number % 3 + 1), Some(number * 37 % 500), Some(1))).collect();
    let mut output = Vec::new();
    operator.step(2, vec![vec![Changes::new(batch(&spec, &rows), None)]], &mut output).unwrap();
    assert!(output.is_empty());
    operator.step(3, vec![Vec::new()], &mut output).unwrap();
    let times = output.iter().flat_map(|changes| changes.column(1).as_primitive::<TimestampMicrosecondType>().values().to_vec());
    assert_eq!(times.collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
    assert_eq!(operator.size().rows, 3, "one of each partition, with what it comes to");
}

#[test]
fn a_sum_goes_on_over_pieces_that_were_forgotten() {
    let call = "sum(x) OVER (ORDER BY o)";
    let spec = spec_in_order_of(call, SqlType::Timestamp, SqlType::Int8);
    for emits in [false, true] {
        let watermarks: Vec<(u64, i64)> = (2..40).map(|epoch| (epoch, epoch as i64 * 150 - 700)).collect();
        let case = Case { call, after: Passed, emits, low: following(Low::Of(7), &watermarks) };
        let (mut operator, mut held, mut emitted, mut disk) = (case.operator(), Vec::new(), Bag::new(), Disk::default());
        for epoch in 2..40_u64 {
            // Some 450 rows are open, in several pieces; of each 150 the first come last.
            let start = (epoch as i64 - 1) * 150 - 250;
            let rows: Vec<Row> = (0..150).map(|row| (None, Some((start + 149 - row).max(0)), Some(row % 7))).collect();
            held.extend(rows.iter().copied());
            let mut output = Vec::new();
            operator.step(epoch, vec![vec![Changes::new(batch(&spec, &rows), None)]], &mut output).unwrap();
            collect(&output, &mut emitted);
            if epoch % 7 == 0 {
                disk.checkpoint(&mut operator);
                operator = disk.given_back(case.operator(), 0, 1);
            }
            let all = expected(&spec, &held);
            assert!(emitted.iter().all(|(row, count)| all.get(row).is_some_and(|known| count <= known)), "epoch {epoch}");
            assert!(emits || emitted == all, "epoch {epoch}");
            assert!(operator.size().rows <= 451, "epoch {epoch}: {}", operator.size().rows);
        }
        let rows: i64 = emitted.values().sum();
        assert!(rows > 5_000, "{rows}");
    }
}
