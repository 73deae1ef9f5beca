//! ASOF joins against a look at every pair, over the same random changes, through checkpoints and restarts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{AsOf, AsOfSpec};
use crate::dataflow::event_time::{History, LowAt, SharedHistory};
use crate::dataflow::operator::rows::{PART_BYTES, PART_ROWS};
use crate::dataflow::operator::{Operator, Work};
use crate::state::{StateChanges, StoredState};
use crate::types::{Changes, Low, Watermarks};

const TICK: i64 = 40_000;

/// Key, time, value.
type Row = (Option<i64>, Option<i64>, i64);
type Bag<R> = BTreeMap<R, i64>;

#[derive(Clone, Copy, Debug)]
struct Case {
    inclusive: bool,
    forward: bool,
    outer: bool,
    watermark: bool,
    /// The key is no machine word.
    text: bool,
}

fn side(prefix: &str) -> Vec<Field> {
    let field = |name: &str, data_type| Field::new(format!("{prefix}{name}"), data_type, true);
    vec![field("k", DataType::Int64), field("t", DataType::Timestamp(TimeUnit::Microsecond, None)), field("v", DataType::Int64)]
}

fn input(text: bool) -> SchemaRef {
    let mut fields = side("");
    if text {
        fields[0] = Field::new("k", DataType::Utf8, true);
    }
    fields[2] = fields[1].clone();
    fields[1] = Field::new("is right", DataType::Boolean, false);
    fields.extend(side("l").into_iter().chain(side("r")));
    Arc::new(Schema::new(fields))
}

impl Case {
    fn operator(self, history: &SharedHistory) -> AsOf {
        let output = side("l").into_iter().chain(side("r")).collect::<Vec<_>>();
        let low = self.watermark.then(|| LowAt::new(Low::Of(7), 0, Arc::default(), Rc::clone(history)));
        let Case { inclusive, forward, outer, text, .. } = self;
        let (input, output) = (input(text), Arc::new(Schema::new(output)));
        AsOf::new(AsOfSpec { input, keys: 1, left: 3, inclusive, forward, outer, output, low }).unwrap()
    }

    /// The right row of a left one.
    fn partner(self, left: &Row, right: &Bag<Row>) -> Option<Row> {
        let before = |other: &&Row| {
            let (Some(key), Some(time)) = (left.0, left.1) else { return false };
            let (Some(other_key), Some(other_time)) = (other.0, other.1) else { return false };
            let earlier = if self.forward { other_time > time } else { other_time < time };
            key == other_key && (earlier || self.inclusive && other_time == time)
        };
        let sign = if self.forward { -1 } else { 1 };
        right.keys().filter(before).max_by_key(|other| (other.1.map(|time| time * sign), other.2)).copied()
    }

    fn expected(self, held: &[Bag<Row>; 2]) -> Bag<(Row, Option<Row>)> {
        let pairs = held[0].iter().map(|(left, weight)| ((*left, self.partner(left, &held[1])), *weight));
        pairs.filter(|((_, right), _)| self.outer || right.is_some()).collect()
    }
}

fn changes(is_right: bool, rows: &[(Row, i64)], text: bool) -> Changes {
    let number = |value: &dyn Fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(|(row, _)| value(row)).collect::<Int64Array>()) as ArrayRef;
    let time = |value: &dyn Fn(&Row) -> Option<i64>| {
        Arc::new(TimestampMicrosecondArray::from(rows.iter().map(|(row, _)| value(row)).collect::<Vec<_>>())) as ArrayRef
    };
    let side = BooleanArray::from(vec![is_right; rows.len()]);
    let key = cast(&number(&|row| row.0), input(text).field(0).data_type()).unwrap();
    let mut columns = vec![key, Arc::new(side) as ArrayRef, time(&|row| row.1)];
    let own = [number(&|row| row.0), time(&|row| row.1), number(&|row| Some(row.2))];
    let other = [number(&|_| None), time(&|_| None), number(&|_| None)];
    let [left, right] = if is_right { [other, own] } else { [own, other] };
    columns.extend(left.into_iter().chain(right));
    let weights: Int64Array = rows.iter().map(|(_, weight)| *weight).collect();
    Changes::new(RecordBatch::try_new(input(text), columns).unwrap(), Some(weights))
}

fn add<R: Ord + Clone>(bag: &mut Bag<R>, row: R, weight: i64) {
    let sum = bag.entry(row.clone()).or_default();
    *sum += weight;
    if *sum == 0 {
        bag.remove(&row);
    }
}

fn collect(output: &[Changes], found: &mut Bag<(Row, Option<Row>)>) {
    for changes in output {
        let row_of = |first: usize, row: usize| {
            let number = |at: usize| {
                let column = changes.column(at).as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let times = changes.column(first + 1).as_primitive::<TimestampMicrosecondType>();
            number(first + 2).map(|value| (number(first), times.is_valid(row).then(|| times.value(row)), value))
        };
        for row in 0..changes.len() {
            add(found, (row_of(0, row).unwrap(), row_of(3, row)), changes.weight(row));
        }
    }
}

/// Some changes of one side; what is late is left out.
fn draw(random: &mut StdRng, side: usize, epoch: i64, low: Option<i64>, held: &mut Bag<Row>) -> Vec<(Row, i64)> {
    let mut drawn = Vec::new();
    for _ in 0..random.random_range(0..7) {
        let (row, weight) = if !held.is_empty() && random.random_range(0..3) == 0 {
            (*held.keys().nth(random.random_range(0..held.len())).unwrap(), -1)
        } else {
            let key = Some(random.random_range(0..4_i64)).filter(|key| *key > 0);
            let time = Some((epoch * 2 - random.random_range(0..12)) * TICK).filter(|_| random.random_range(0..10) > 0);
            ((key, time, random.random_range(0..3)), random.random_range(1..3))
        };
        // The plan leaves out right rows without a key or a time.
        let nobody = side == 1 && (row.0.is_none() || row.1.is_none());
        if !nobody && row.1.zip(low).is_none_or(|(time, low)| time >= low) {
            add(held, row, weight);
            drawn.push((row, weight));
        }
    }
    drawn
}

/// One epoch, to its end.
fn step(operator: &mut AsOf, epoch: u64, batches: Vec<Changes>) -> Vec<Changes> {
    let mut output = Vec::new();
    operator.step(epoch, vec![batches], &mut output).unwrap();
    while operator.resume(&mut output).unwrap() == Work::Left {}
    output
}

fn run(case: Case, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let history: SharedHistory = Rc::new(RefCell::new(History::default()));
    let mut operator = case.operator(&history);
    let (mut held, mut found) = ([Bag::new(), Bag::new()], Bag::new());
    let mut disk = StoredState::default();
    let mut low = None;
    let mut most = 0;
    for epoch in 1..80_u64 {
        let batches: Vec<Changes> = (0..2)
            .map(|side| draw(&mut random, side, epoch as i64, low.filter(|_| case.watermark), &mut held[side]))
            .enumerate()
            .map(|(side, drawn)| changes(side == 1, &drawn, case.text))
            .collect();
        low = low.max(Some((epoch as i64 * 2 - 8) * TICK));
        history.borrow_mut().note(epoch, &Arc::new(Watermarks::from([(7, low.unwrap())])));
        collect(&step(&mut operator, epoch, batches), &mut found);
        assert_eq!(found, case.expected(&held), "{case:?}, seed {seed}, epoch {epoch}");
        most = most.max(operator.size().rows);
        if random.random_range(0..3) == 0 {
            let mut stored = StateChanges::default();
            operator.checkpoint(&mut stored).unwrap();
            disk.apply(stored);
            let rows = operator.size().rows;
            operator = case.operator(&history);
            operator.restore(&mut disk.entries(|_| true)).unwrap();
            assert_eq!(operator.size().rows, rows);
        }
    }
    // Neither rows that are over stay, nor left ones without a key or a time.
    assert!(!case.watermark || case.forward || most < 80, "{case:?}, seed {seed}: {most} rows");
}

#[test]
fn every_left_row_has_the_last_right_row_before_it() {
    for seed in 0..6 {
        for bits in 0..32_u8 {
            let bit = |at: u8| bits >> at & 1 == 1;
            run(Case { inclusive: bit(0), forward: bit(1), outer: bit(2), watermark: bit(3), text: bit(4) }, seed);
        }
    }
}

const LEFT: Case = Case { inclusive: true, forward: false, outer: true, watermark: true, text: true };

#[test]
fn groups_that_are_gone_are_not_looked_at_when_rows_go() {
    let history: SharedHistory = Rc::new(RefCell::new(History::default()));
    let mut operator = LEFT.operator(&history);
    let passes = |epoch: u64, low: i64| history.borrow_mut().note(epoch, &Arc::new(Watermarks::from([(7, low)])));
    // Both left rows are near the watermark when it passes the first one, and one more has been deleted by then.
    step(
        &mut operator,
        1,
        vec![changes(false, &[((Some(1), Some(0), 0), 1), ((Some(2), Some(10), 0), 1), ((Some(3), Some(20), 0), 1)], true)],
    );
    step(&mut operator, 2, vec![changes(false, &[((Some(3), Some(20), 0), -1)], true)]);
    for (epoch, low) in [(3, 1), (4, 2), (5, 11), (6, 12)] {
        passes(epoch, low);
        step(&mut operator, epoch, Vec::new());
    }
    assert_eq!(operator.size().rows, 0);
    // Their slots are others' now.
    step(&mut operator, 7, vec![changes(true, &[((Some(4), Some(20), 0), 1)], true)]);
    passes(8, TICK * 10);
    step(&mut operator, 8, Vec::new());
    assert_eq!(operator.size().rows, 1, "the last right row stays");
}

#[test]
fn a_left_row_without_a_time_comes_and_goes_and_is_not_held() {
    let history: SharedHistory = Rc::new(RefCell::new(History::default()));
    let mut operator = LEFT.operator(&history);
    for (epoch, weight) in [(1, 1), (2, -1)] {
        let mut found = Bag::new();
        let alone = [((Some(1), None, 5), weight), ((None, Some(3), 6), weight)];
        collect(&step(&mut operator, epoch, vec![changes(false, &alone, true)]), &mut found);
        assert_eq!(found, Bag::from(alone.map(|(row, weight)| ((row, None), weight))));
        assert_eq!(operator.size().rows, 0);
    }
}

#[test]
fn the_rows_of_one_right_row_come_in_pieces() {
    let history: SharedHistory = Rc::new(RefCell::new(History::default()));
    let mut operator = Case { watermark: false, text: false, ..LEFT }.operator(&history);
    let many = 100_000_i64;
    let rows: Vec<(Row, i64)> = (0..many).map(|at| ((Some(1), Some(at), 0), 1)).collect();
    let (mut epoch, mut found) = (0, Bag::new());
    let mut pieces = |operator: &mut AsOf, batch: Changes| {
        epoch += 1;
        let mut output = Vec::new();
        operator.step(epoch, vec![vec![batch]], &mut output).unwrap();
        let mut work = Work::Left;
        while work == Work::Left {
            let before = output.len();
            work = operator.resume(&mut output).unwrap();
            assert!(output.len() - before <= 1);
        }
        assert!(output.iter().all(|changes| changes.len() <= PART_ROWS + 1 && changes.payload_bytes() <= 2 * PART_BYTES));
        collect(&output, &mut found);
        (output.len(), found.clone())
    };
    pieces(&mut operator, changes(false, &rows, false));
    // One comes before all of them, then another in the middle.
    let (first, second) = ((Some(1), Some(0), 1), (Some(1), Some(many / 2), 2));
    let (count, found) = pieces(&mut operator, changes(true, &[(first, 1)], false));
    assert!(count > 1 && found.keys().all(|(_, right)| *right == Some(first)) && found.len() == many as usize);
    let (_, found) = pieces(&mut operator, changes(true, &[(second, 1)], false));
    assert_eq!(found.keys().filter(|(_, right)| *right == Some(second)).count() as i64, many / 2);
    let (_, found) = pieces(&mut operator, changes(true, &[(first, -1), (second, -1)], false));
    assert!(found.keys().all(|(_, right)| right.is_none()) && found.values().all(|weight| *weight == 1) && found.len() == many as usize);
    let gone: Vec<(Row, i64)> = rows.into_iter().map(|(row, _)| (row, -1)).collect();
    assert!(pieces(&mut operator, changes(false, &gone, false)).1.is_empty());
    assert_eq!(operator.size().rows, 0);
}
