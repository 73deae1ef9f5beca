//! Joins in time against nested loops over everything that was not late: what rows have left the state must change nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator as SqlOperator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};

use super::tests::{Bag, Disk, KINDS, Random, add, step, work_off};
use super::{Goes, Join, JoinSpec};
use crate::dataflow::event_time::{History, LowAt, SharedHistory};
use crate::dataflow::operator::Operator;
use crate::dataflow::row_errors::RowErrorLog;
use crate::plan::{JoinKind, Scalar};
use crate::types::{Changes, Epoch, Low, ObjectId, Watermarks};

const LEFT: ObjectId = 7;
const RIGHT: ObjectId = 8;

/// Longer than a bucket, so that rows are in many.
const TICK: i64 = 30_000;

/// Key, time, value.
type Row = (Option<i64>, Option<i64>, i64);
type Joined = (Option<Row>, Option<Row>, Option<bool>);

/// One kind of join in time: `lower <= right - left <= upper`, or equal times.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: JoinKind,
    bounds: Option<[Option<i64>; 2]>,
    append_only: [bool; 2],
}

impl Case {
    /// As `plan::lower::in_time` has it: what is late on the left and on the right, and what goes.
    fn lows(self) -> ([Option<Low>; 2], [Option<Low>; 2]) {
        let later = |object: ObjectId, micros: i64| Low::Plus { low: Box::new(Low::Of(object)), months: 0, days: 0, micros };
        let Some([lower, upper]) = self.bounds else {
            let both = || Some(Low::Least(vec![Low::Of(LEFT), Low::Of(RIGHT)]));
            return ([both(), both()], [both(), both()]);
        };
        let left = upper.map(|upper| later(RIGHT, -upper));
        let right = lower.map(|lower| later(LEFT, lower));
        let right = right.map(|low| if self.kind.gives_pairs() { low } else { Low::Least(vec![low, Low::Of(RIGHT)]) });
        let right_late = left.is_some() || right.is_some() && !self.kind.gives_pairs();
        ([right.is_some().then_some(Low::Of(LEFT)), right_late.then_some(Low::Of(RIGHT))], [left, right])
    }

    fn matches(self, left: &Row, right: &Row) -> bool {
        let (Some(one), Some(other)) = (left.1, right.1) else { return false };
        let near = match self.bounds {
            None => one == other,
            Some([lower, upper]) => lower.is_none_or(|lower| other - one >= lower) && upper.is_none_or(|upper| other - one <= upper),
        };
        left.0.is_some() && left.0 == right.0 && near
    }

    fn condition(self) -> Option<Scalar> {
        let [lower, upper] = self.bounds?;
        let number = |name: &str, at: usize| -> Arc<dyn PhysicalExpr> {
            Arc::new(CastExpr::new(Arc::new(Column::new(name, at)), DataType::Int64, None))
        };
        let binary = |left, op, right| -> Arc<dyn PhysicalExpr> { Arc::new(BinaryExpr::new(left, op, right)) };
        let apart = || binary(number("rt", 4), SqlOperator::Minus, number("lt", 1));
        let literal = |value: i64| -> Arc<dyn PhysicalExpr> { Arc::new(Literal::new(ScalarValue::Int64(Some(value)))) };
        let lower = lower.map(|lower| binary(apart(), SqlOperator::GtEq, literal(lower)));
        let upper = upper.map(|upper| binary(apart(), SqlOperator::LtEq, literal(upper)));
        let expression = [lower, upper].into_iter().flatten().reduce(|one, other| binary(one, SqlOperator::And, other))?;
        Some(Scalar { expression, text: "near".into() })
    }

    fn join(self, history: &SharedHistory) -> Join {
        let time = || DataType::Timestamp(TimeUnit::Microsecond, None);
        let side = |prefix: &str| {
            let field = |name: &str, data_type| Field::new(format!("{prefix}{name}"), data_type, true);
            vec![field("k", DataType::Int64), field("t", time()), field("v", DataType::Int64)]
        };
        let schema = |fields: Vec<Field>| -> SchemaRef { Arc::new(Schema::new(fields)) };
        let mut output = side("l");
        match self.kind {
            JoinKind::Mark => output.push(Field::new("mark", DataType::Boolean, true)),
            kind if kind.gives_pairs() => output.extend(side("r")),
            _ => {}
        }
        let keys = if self.bounds.is_none() { vec![0, 1] } else { vec![0] };
        let nulls = self.bounds.is_some();
        let goes = self.lows().1.map(|low| Some(Goes { column: 1, low: LowAt::new(low?, 0, Arc::default(), Rc::clone(history)), nulls }));
        let spec = JoinSpec {
            kind: self.kind,
            left: schema(side("l")),
            right: schema(side("r")),
            left_keys: keys.clone(),
            right_keys: keys,
            null_equals_null: false,
            condition: self.condition(),
            output: schema(output),
            left_append_only: self.append_only[0],
            right_append_only: self.append_only[1],
            goes,
        };
        Join::new(spec, Arc::new(RowErrorLog::default()).sink(1)).unwrap()
    }

    /// Nested loops.
    fn expected(self, held: &[Bag<Row>; 2]) -> Bag<Joined> {
        let mut expected = Bag::new();
        let partners = |side: usize, row: &Row| {
            let found =
                held[1 - side].iter().filter(|(other, _)| if side == 0 { self.matches(row, other) } else { self.matches(other, row) });
            found.map(|(other, weight)| (*other, *weight)).collect::<Vec<_>>()
        };
        for (left, weight) in &held[0] {
            let found = partners(0, left);
            let by_itself = match self.kind {
                JoinKind::Left | JoinKind::Full | JoinKind::Anti => found.is_empty().then_some(None),
                JoinKind::Semi => (!found.is_empty()).then_some(None),
                JoinKind::Mark => Some(Some(!found.is_empty())),
                _ => None,
            };
            by_itself.into_iter().for_each(|mark| add(&mut expected, (Some(*left), None, mark), *weight));
            for (right, right_weight) in found.into_iter().filter(|_| self.kind.gives_pairs()) {
                add(&mut expected, (Some(*left), Some(right), None), weight * right_weight);
            }
        }
        for (right, weight) in held[1].iter().filter(|_| matches!(self.kind, JoinKind::Right | JoinKind::Full)) {
            if partners(1, right).is_empty() {
                add(&mut expected, (None, Some(*right), None), *weight);
            }
        }
        expected
    }
}

fn changes(rows: &[(Row, i64)]) -> Changes {
    let keys: ArrayRef = Arc::new(rows.iter().map(|((key, _, _), _)| *key).collect::<Int64Array>());
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(rows.iter().map(|((_, time, _), _)| *time).collect::<Vec<_>>()));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|((_, _, value), _)| *value)));
    let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
    let batch = RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("t", times, true), ("v", values, true)]).unwrap();
    Changes::new(batch, weights.values().iter().any(|weight| *weight != 1).then_some(weights))
}

fn collect(case: Case, output: &[Changes], into: &mut Bag<Joined>) {
    for changes in output {
        let side = |first: usize, row: usize| {
            let number = |at: usize| {
                let column = changes.column(at).as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let times = changes.column(first + 1).as_primitive::<TimestampMicrosecondType>();
            number(first + 2).map(|value| (number(first), times.is_valid(row).then(|| times.value(row)), value))
        };
        for row in 0..changes.len() {
            let right = if case.kind.gives_pairs() { side(3, row) } else { None };
            let mark = (case.kind == JoinKind::Mark).then(|| changes.column(3).as_boolean().value(row));
            add(into, (side(0, row), right, mark), changes.weight(row));
        }
    }
}

/// A stream: rows that are there, some of which go again, and how far event time is.
#[derive(Default)]
struct Stream {
    there: Bag<Row>,
    watermark: Option<i64>,
}

impl Stream {
    /// Changes around a moment, most of them near it.
    fn draw(&mut self, random: &mut Random, now: i64, append_only: bool) -> Vec<(Row, i64)> {
        let mut drawn = Vec::new();
        for _ in 0..random.below(12) {
            let known = self.there.len() as u64;
            if !append_only && known > 0 && random.below(3) == 0 {
                let row = *self.there.keys().nth(random.below(known) as usize).unwrap();
                add(&mut self.there, row, -1);
                drawn.push((row, -1));
                continue;
            }
            let time = now + (random.below(9) - 6 + random.below(2) * (random.below(20) - 16)) * TICK;
            let key = Some(random.below(5)).filter(|key| *key > 0);
            let row = (key, Some(time).filter(|_| random.below(12) > 0), random.below(3));
            let weight = 1 + random.below(10) / 9;
            add(&mut self.there, row, weight);
            drawn.push((row, weight));
        }
        drawn
    }

    /// What event time is after these changes.
    fn advance(&mut self, drawn: &[(Row, i64)], delay: i64) {
        let latest = drawn.iter().filter(|(_, weight)| *weight > 0).filter_map(|((_, time, _), _)| *time).max();
        self.watermark = self.watermark.max(latest.map(|time| time - delay));
    }
}

fn watermarks(streams: &[Stream; 2]) -> Watermarks {
    let of = |(object, stream): (ObjectId, &Stream)| Some((object, stream.watermark?));
    [LEFT, RIGHT].into_iter().zip(streams).filter_map(of).collect()
}

fn run(case: Case, seed: u64) {
    let mut random = Random(seed);
    let mut streams = [Stream::default(), Stream::default()];
    let mut in_time = [Bag::new(), Bag::new()];
    let (mut found, mut disk) = (Bag::new(), Disk::default());
    let history: SharedHistory = Rc::new(RefCell::new(History::default()));
    let mut join = case.join(&history);
    let late = case.lows().0.map(|low| Some(LowAt::new(low?, 0, Arc::default(), Rc::clone(&history))));
    let mut most = 0;
    let mut epoch: Epoch = 0;
    while epoch < 40 {
        epoch += 1;
        let now = epoch as i64 * 2 * TICK;
        let mut inputs: Vec<Vec<Changes>> = Vec::new();
        for side in 0..2 {
            let drawn = streams[side].draw(&mut random, now, case.append_only[side]);
            streams[side].advance(&drawn, (3 + 4 * side as i64) * TICK);
            let low = late[side].as_ref().and_then(|low| low.before(epoch));
            let is_late = |row: &Row| low.zip(row.1).is_some_and(|(low, time)| time < low);
            let drawn: Vec<(Row, i64)> = drawn.into_iter().filter(|(row, _)| !is_late(row)).collect();
            drawn.iter().for_each(|(row, weight)| add(&mut in_time[side], *row, *weight));
            let batches = drawn.chunks(4).map(changes);
            inputs.push(batches.collect());
        }
        history.borrow_mut().note(epoch, &Arc::new(watermarks(&streams)));
        let mut output = Vec::new();
        if random.below(3) == 0 {
            let part = inputs.iter_mut().map(|input| input.drain(..random.below(3).min(input.len() as i64) as usize).collect()).collect();
            join.take_part(epoch, part, &mut output).unwrap();
            work_off(&mut join, &mut output);
        }
        step(&mut join, epoch, inputs, &mut output);
        collect(case, &output, &mut found);
        assert_eq!(found, case.expected(&in_time), "{case:?}, seed {seed}, epoch {epoch}");
        most = most.max(join.size().rows);
        if random.below(4) == 0 {
            disk.checkpoint(&mut join);
            if random.below(2) == 0 {
                let size = join.size().rows;
                join = disk.restore(case.join(&history));
                assert_eq!(join.size().rows, size, "{case:?}, seed {seed}, epoch {epoch}");
            }
        }
    }
    let bounded = case.lows().1.iter().all(Option::is_some);
    if bounded {
        assert!(most < 200, "{case:?}, seed {seed}: {most} rows");
        let end = Watermarks::from([(LEFT, i64::MAX / 2), (RIGHT, i64::MAX / 2)]);
        history.borrow_mut().note(epoch + 1, &Arc::new(end));
        let mut output = Vec::new();
        step(&mut join, epoch + 1, vec![vec![], vec![]], &mut output);
        disk.checkpoint(&mut join);
        assert_eq!((join.size().rows, disk.is_empty(), output.len()), (0, true, 0), "{case:?}, seed {seed}: nothing is left");
    }
}

#[test]
fn rows_that_have_met_all_that_they_will_are_missed_by_nobody() {
    let bounds = [
        None,
        Some([Some(0), Some(4 * TICK)]),
        Some([Some(-3 * TICK), Some(TICK)]),
        Some([Some(2 * TICK), Some(6 * TICK)]),
        Some([None, Some(TICK)]),
        Some([Some(-TICK), None]),
    ];
    for seed in 0..2 {
        for kind in KINDS {
            for bounds in bounds {
                for append_only in [[false, false], [true, true], [true, false], [false, true]] {
                    run(Case { kind, bounds, append_only }, seed);
                }
            }
        }
    }
}

#[test]
fn many_rows_go_at_once_and_give_their_memory_back() {
    for append_only in [[true, true], [false, false]] {
        let case = Case { kind: JoinKind::Left, bounds: Some([Some(0), Some(TICK)]), append_only };
        let history: SharedHistory = Rc::new(RefCell::new(History::default()));
        let mut join = case.join(&history);
        let many: Vec<(Row, i64)> = (0..20_000).map(|row| ((Some(row), Some(row), 0), 1)).collect();
        let mut output = Vec::new();
        step(&mut join, 1, vec![vec![changes(&many)], vec![changes(&many)]], &mut output);
        let full = join.size();
        let watermark = BTreeMap::from([(LEFT, 19_000), (RIGHT, 19_000 + TICK)]);
        history.borrow_mut().note(2, &Arc::new(watermark));
        step(&mut join, 2, vec![vec![], vec![]], &mut output);
        let left = join.size();
        assert_eq!((full.rows, left.rows), (40_000, 2_000));
        assert!(left.bytes * 4 < full.bytes, "{} of {} bytes", left.bytes, full.bytes);
    }
}
