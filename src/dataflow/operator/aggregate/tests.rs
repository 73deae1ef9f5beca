//! The aggregate against a model that keeps all rows and computes every group anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema, SchemaRef};

use super::Aggregate;
use super::combine::Combine;
use crate::dataflow::operator::{Operator, Stateless};
use crate::plan::{AggregateCall, AggregateFunction};
use crate::state::{StateChanges, StoredState};
use crate::types::Changes;

/// A value that can be compared; floats as bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Null,
    Bool(bool),
    Int(i128),
    /// In an order-preserving form.
    Float(u64),
    Text(String),
}

type Row = Vec<Cell>;

fn float(value: f64) -> Cell {
    let bits = if value.is_nan() { f64::NAN } else { value + 0.0 }.to_bits();
    Cell::Float(if bits >> 63 == 0 { bits | 1 << 63 } else { !bits })
}

fn as_float(cell: &Cell) -> f64 {
    let Cell::Float(bits) = cell else { panic!("a float") };
    f64::from_bits(if bits >> 63 == 0 { !bits } else { bits ^ (1 << 63) })
}

fn as_int(cell: &Cell) -> i128 {
    let Cell::Int(value) = cell else { panic!("an integer") };
    *value
}

fn cell(array: &ArrayRef, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Cell::Int(i128::from(array.as_primitive::<Int64Type>().value(row))),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => Cell::Int(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        other => panic!("no cell for {other}"),
    }
}

/// Columns: two keys, a float key, then an integer, a float, a decimal, a text, a boolean and a filter.
fn input_schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("k", DataType::Int64),
        field("t", DataType::Utf8),
        field("x", DataType::Float64),
        field("i", DataType::Int64),
        field("f", DataType::Float64),
        field("d", DataType::Decimal128(38, 10)),
        field("s", DataType::Utf8),
        field("b", DataType::Boolean),
        field("keep", DataType::Boolean),
    ]))
}

fn call(function: AggregateFunction, argument: Option<usize>, distinct: bool, filter: Option<usize>) -> AggregateCall {
    let argument_type = argument.map(|argument| input_schema().field(argument).data_type().clone());
    let result = match (&function, argument_type) {
        (AggregateFunction::Count, _) | (_, None) => DataType::Int64,
        (AggregateFunction::Avg, Some(DataType::Decimal128(..))) => DataType::Decimal128(38, 14),
        (_, Some(data_type)) => data_type,
    };
    AggregateCall { text: format!("{function:?}"), function, argument, distinct, filter, result }
}

fn all_calls() -> Vec<AggregateCall> {
    use AggregateFunction::{Avg, BoolAnd, BoolOr, Count, Max, Min, Sum};
    vec![
        call(Count, None, false, None),
        call(Count, None, false, Some(8)),
        call(Count, Some(3), false, None),
        call(Count, Some(3), true, None),
        call(Sum, Some(3), false, None),
        call(Sum, Some(3), true, Some(8)),
        call(Avg, Some(4), false, None),
        call(Avg, Some(4), true, None),
        call(Sum, Some(4), false, Some(8)),
        call(Min, Some(4), false, None),
        call(Max, Some(4), false, None),
        call(Max, Some(3), true, None),
        call(Sum, Some(5), false, None),
        call(Avg, Some(5), false, None),
        call(Min, Some(5), false, Some(8)),
        call(Count, Some(6), true, None),
        // Three filters of one table, and two of another.
        call(Count, Some(3), true, Some(7)),
        call(Count, Some(6), true, Some(8)),
        call(Min, Some(6), false, None),
        call(Max, Some(6), false, Some(8)),
        call(BoolAnd, Some(7), false, None),
        call(BoolOr, Some(7), false, Some(8)),
    ]
}

fn output_schema(keys: &[usize], calls: &[AggregateCall]) -> SchemaRef {
    let keys = keys.iter().map(|key| input_schema().field(*key).clone());
    Arc::new(Schema::new(keys.chain(calls.iter().map(|call| Field::new(&call.text, call.result.clone(), true))).collect::<Vec<_>>()))
}

fn expected_value(rows: &[Row], call: &AggregateCall) -> Cell {
    use AggregateFunction::{Avg, BoolAnd, BoolOr, Count, Max, Min, Sum};
    let kept = rows.iter().filter(|row| call.filter.is_none_or(|filter| row[filter] == Cell::Bool(true)));
    let Some(argument) = call.argument else { return Cell::Int(kept.count() as i128) };
    let mut values: Vec<Cell> = kept.map(|row| row[argument].clone()).filter(|value| *value != Cell::Null).collect();
    values.sort();
    if call.distinct {
        values.dedup();
    }
    if call.function == Count {
        return Cell::Int(values.len() as i128);
    }
    let (Some(least), Some(greatest)) = (values.first(), values.last()) else { return Cell::Null };
    let float_sum = || values.iter().map(as_float).sum::<f64>();
    let int_sum = || values.iter().map(as_int).sum::<i128>();
    match (&call.function, least) {
        (Min | BoolAnd, _) => least.clone(),
        (Max | BoolOr, _) => greatest.clone(),
        (Sum, Cell::Float(_)) => float(float_sum()),
        (Avg, Cell::Float(_)) => float(float_sum() / values.len() as f64),
        (Avg, _) => {
            // Rounded half away from zero.
            let (scaled, count) = (int_sum() * 10_000, values.len() as i128);
            Cell::Int((2 * scaled.abs() + count) / (2 * count) * scaled.signum())
        }
        (Sum, _) => Cell::Int(int_sum()),
        _ => unreachable!("not among the calls of this test"),
    }
}

fn expected(rows: &[Row], keys: &[usize], calls: &[AggregateCall]) -> BTreeMap<Row, i64> {
    let mut groups: BTreeMap<Row, Vec<Row>> = BTreeMap::new();
    if keys.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for row in rows {
        groups.entry(keys.iter().map(|key| row[*key].clone()).collect()).or_default().push(row.clone());
    }
    let result = |(mut key, rows): (Row, Vec<Row>)| {
        key.extend(calls.iter().map(|call| expected_value(&rows, call)));
        (key, 1)
    };
    groups.into_iter().map(result).collect()
}

/// A xorshift generator: the tests need no more.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn or_null(&mut self, cell: Cell) -> Cell {
        if self.below(8) == 0 { Cell::Null } else { cell }
    }

    fn row(&mut self) -> Row {
        let mut cells = vec![
            Cell::Int(i128::from(self.below(4)) - 1),
            Cell::Text(["", "a", "bb"][self.below(3) as usize].to_owned()),
            float([0.0, f64::NAN, -2.5][self.below(3) as usize]),
            Cell::Int(i128::from(self.below(60)) - 30),
            float(self.below(200) as f64 / 4.0 - 20.0),
            Cell::Int(i128::from(self.below(1_000_000)) * 10_000_000 - 3_000_000_000_000),
            Cell::Text(format!("text {}", self.below(90))),
            Cell::Bool(self.below(6) != 0),
            Cell::Bool(self.below(2) == 0),
        ];
        for cell in &mut cells {
            *cell = self.or_null(cell.clone());
        }
        cells
    }

    /// A row in which nothing is NULL.
    fn dense_row(&mut self) -> Row {
        std::iter::repeat_with(|| self.row()).find(|row| !row.contains(&Cell::Null)).expect("one in three is")
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for place in (1..values.len()).rev() {
            values.swap(place, self.below(place as u64 + 1) as usize);
        }
    }
}

/// Every second zero and NaN comes with the other sign, since that must make no difference.
fn batch(rows: &[(Row, i64)]) -> Changes {
    let ints = |column: usize| rows.iter().map(move |(row, _)| (row[column] != Cell::Null).then(|| as_int(&row[column])));
    let floats = |column: usize| {
        let value = move |(place, (row, _)): (usize, &(Row, i64))| {
            let value = (row[column] != Cell::Null).then(|| as_float(&row[column]))?;
            Some(if place % 2 == 1 && (value == 0.0 || value.is_nan()) { -value } else { value })
        };
        Arc::new(rows.iter().enumerate().map(value).collect::<Float64Array>()) as ArrayRef
    };
    let texts = |column: usize| {
        let text = move |(row, _): &(Row, i64)| if let Cell::Text(text) = &row[column] { Some(text.clone()) } else { None };
        Arc::new(rows.iter().map(text).collect::<StringArray>()) as ArrayRef
    };
    let bools = |column: usize| {
        let value = move |(row, _): &(Row, i64)| if let Cell::Bool(value) = row[column] { Some(value) } else { None };
        Arc::new(rows.iter().map(value).collect::<BooleanArray>()) as ArrayRef
    };
    let int64 = |column: usize| Arc::new(ints(column).map(|value| value.map(|value| value as i64)).collect::<Int64Array>()) as ArrayRef;
    let decimals = ints(5).collect::<Decimal128Array>().with_data_type(DataType::Decimal128(38, 10));
    let columns = vec![int64(0), texts(1), floats(2), int64(3), floats(4), Arc::new(decimals) as ArrayRef, texts(6), bools(7), bools(8)];
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(input_schema(), columns, &options).unwrap();
    let weights = rows.iter().any(|(_, weight)| *weight != 1).then(|| rows.iter().map(|(_, weight)| *weight).collect::<Int64Array>());
    Changes::new(batch, weights)
}

/// The operator under test, what it has emitted, and what it has stored.
struct Subject {
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    append_only: bool,
    /// The first half, if the aggregate is split in two.
    combine: Option<Combine>,
    operator: Aggregate,
    emitted: BTreeMap<Row, i64>,
    stored: StoredState,
}

impl Subject {
    fn new(keys: &[usize], calls: Vec<AggregateCall>, append_only: bool) -> Self {
        let operator = Subject::operator(keys, &calls, append_only);
        Subject {
            keys: keys.to_vec(),
            calls,
            append_only,
            combine: None,
            operator,
            emitted: BTreeMap::new(),
            stored: StoredState::default(),
        }
    }

    /// Those of the calls that can be split, split.
    fn split(keys: &[usize], mut calls: Vec<AggregateCall>, append_only: bool) -> Self {
        calls.retain(|call| call.partial_types(append_only).is_some());
        let mut subject = Subject::new(keys, calls, append_only);
        let schema = subject.combined_schema();
        subject.combine = Some(Combine::new(&input_schema(), append_only, keys.to_vec(), subject.calls.clone(), schema).unwrap());
        subject.operator = subject.fresh();
        subject
    }

    fn combined_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.keys.iter().map(|key| input_schema().field(*key).clone()).collect();
        fields.push(Field::new("rows", DataType::Int64, false));
        let partials = self.calls.iter().flat_map(|call| call.partial_types(self.append_only).unwrap());
        fields.extend(partials.map(|partial| Field::new("partial", partial, true)));
        Arc::new(Schema::new(fields))
    }

    /// The operator without any rows.
    fn fresh(&self) -> Aggregate {
        if self.combine.is_none() {
            return Subject::operator(&self.keys, &self.calls, self.append_only);
        }
        let output = output_schema(&self.keys, &self.calls);
        Aggregate::merging(self.combined_schema(), self.append_only, self.keys.len(), &self.calls, output, true).unwrap()
    }

    fn operator(keys: &[usize], calls: &[AggregateCall], append_only: bool) -> Aggregate {
        Aggregate::new(input_schema(), append_only, keys.to_vec(), calls.to_vec(), output_schema(keys, calls), true).unwrap()
    }

    fn step(&mut self, changes: Vec<Changes>) -> Vec<Changes> {
        let mut output = Vec::new();
        let changes = match &mut self.combine {
            None => changes,
            Some(combine) => {
                let mut combined = Vec::new();
                changes.into_iter().for_each(|changes| combine.apply(changes, &mut combined).unwrap());
                combined
            }
        };
        // As with a large epoch: some of it is taken before the rest is there.
        let mut parts = changes.into_iter();
        while parts.len() > 2 {
            self.operator.take_part(1, vec![parts.by_ref().take(2).collect()], &mut output).unwrap();
        }
        self.operator.step(1, vec![parts.collect()], &mut output).unwrap();
        let (mut retracted, mut inserted) = (BTreeSet::new(), BTreeSet::new());
        for changes in &output {
            assert!(!changes.is_empty());
            for row in 0..changes.len() {
                let cells: Row = changes.rows().columns().iter().map(|column| cell(column, row)).collect();
                let key = cells[..self.keys.len()].to_vec();
                let weight = changes.weight(row);
                assert!(if weight == 1 { &mut inserted } else { &mut retracted }.insert(key), "one change of each kind per group");
                assert_eq!(weight.abs(), 1);
                let count = self.emitted.entry(cells.clone()).or_default();
                *count += weight;
                if *count == 0 {
                    self.emitted.remove(&cells);
                }
            }
        }
        output
    }

    fn checkpoint(&mut self) {
        let mut changes = StateChanges::default();
        self.operator.checkpoint(&mut changes).unwrap();
        self.stored.apply_loosely(changes);
    }

    fn restart(&mut self, random: &mut Random) {
        self.checkpoint();
        let mut entries: Vec<_> = self.stored.entries(|_| true).collect();
        random.shuffle(&mut entries);
        let size = self.operator.size().rows;
        self.operator = self.fresh();
        self.operator.restore(&mut entries.into_iter()).unwrap();
        assert_eq!(self.operator.size().rows, size);
    }
}

/// Random epochs of insertions and retractions in any order, with checkpoints and restarts between them.
fn run(keys: &[usize], calls: Vec<AggregateCall>, append_only: bool, seed: u64) {
    drive(Subject::new(keys, calls, append_only), seed);
}

fn drive(mut subject: Subject, seed: u64) {
    let mut random = Random(seed);
    let (append_only, keys) = (subject.append_only, subject.keys.clone());
    let mut rows: Vec<Row> = Vec::new();
    subject.step(Vec::new());
    for epoch in 0..60 {
        let mut changes = Vec::new();
        // Phases of growth and of decline, down to nothing.
        let growth = if epoch % 20 < 10 { 80 } else { 20 };
        for _ in 0..random.below(120) {
            if append_only || random.below(100) < growth {
                // Until the first NULL comes, nobody counts values beside the rows.
                let dense = seed % 2 == 1 && epoch < 25;
                let row = if dense { random.dense_row() } else { random.row() };
                let weight = if random.below(5) == 0 { 2 } else { 1 };
                rows.extend((0..weight).map(|_| row.clone()));
                changes.push((row, weight));
            } else if !rows.is_empty() {
                let place = random.below(rows.len() as u64) as usize;
                changes.push((rows.swap_remove(place), -1));
            }
        }
        if epoch == 39 && !append_only {
            changes.extend(rows.drain(..).map(|row| (row, -1)));
        }
        random.shuffle(&mut changes);
        let batches = changes.chunks(50).map(batch).collect();
        subject.step(batches);
        assert_eq!(subject.emitted, expected(&rows, &subject.keys, &subject.calls), "epoch {epoch}, seed {seed}");
        match random.below(8) {
            0 => subject.restart(&mut random),
            1 => subject.checkpoint(),
            _ => {}
        }
        if epoch == 39 && !append_only {
            subject.checkpoint();
            assert_eq!(subject.stored.0.len(), usize::from(keys.is_empty()), "nothing stays of groups that are gone");
        }
    }
}

#[test]
fn every_function_equals_its_model() {
    for (number, keys) in [vec![0], vec![2], vec![0, 2], vec![0, 1], vec![1], vec![], vec![0, 3]].into_iter().enumerate() {
        for append_only in [false, true] {
            run(&keys, all_calls(), append_only, 77 + number as u64);
        }
    }
}

#[test]
fn each_function_alone_equals_its_model() {
    for (number, call) in all_calls().into_iter().enumerate() {
        run(&[0], vec![call], false, 1_000 + number as u64);
    }
}

#[test]
fn split_in_two_it_gives_the_same() {
    for (number, keys) in [vec![0], vec![0, 3], vec![2], vec![0, 1], vec![]].into_iter().enumerate() {
        for append_only in [false, true] {
            drive(Subject::split(&keys, all_calls(), append_only), 500 + number as u64);
            drive(Subject::split(&keys, Vec::new(), append_only), 600 + number as u64);
        }
    }
}

/// Of these functions a group's words say all, until the first NULL comes: in the middle of an epoch, of which a part has been taken.
#[test]
fn what_follows_from_words_is_the_same_when_nulls_come() {
    use AggregateFunction::{Count, Max, Min, Sum};
    let sums = || {
        let calls = [(Count, None), (Count, Some(3)), (Sum, Some(3)), (Sum, Some(5))];
        calls.map(|(function, argument)| call(function, argument, false, None)).to_vec()
    };
    let extremes = || [(Min, 3), (Max, 3), (Max, 5)].map(|(function, argument)| call(function, Some(argument), false, None));
    for (number, keys) in [vec![0], vec![0, 3], vec![2], vec![]].into_iter().enumerate() {
        for (append_only, calls) in [(false, sums()), (true, sums().into_iter().chain(extremes()).collect())] {
            // Odd seeds begin without NULLs.
            for seed in [2_001, 2_002].map(|seed| seed + 2 * number as u64) {
                run(&keys, calls.clone(), append_only, seed);
                drive(Subject::split(&keys, calls.clone(), append_only), seed);
            }
        }
    }
}

/// Where nothing is stored, what a checkpoint would have to be told was remembered for ever.
#[test]
fn without_checkpoints_values_that_have_gone_are_forgotten() {
    let mut random = Random(3);
    for in_checkpoints in [true, false] {
        let mut subject = Subject::new(&[0], all_calls(), false);
        if !in_checkpoints {
            subject.operator.without_checkpoints();
        }
        let mut least = usize::MAX;
        for _ in 0..200 {
            let rows: Vec<Row> = (0..100).map(|_| random.row()).collect();
            for weight in [1, -1] {
                subject.step(vec![batch(&rows.iter().map(|row| (row.clone(), weight)).collect::<Vec<_>>())]);
            }
            assert!(subject.emitted.is_empty());
            least = least.min(subject.operator.size().bytes);
        }
        let grows = subject.operator.size().bytes > 2 * least;
        assert_eq!(grows, in_checkpoints, "from {least} to {} bytes", subject.operator.size().bytes);
    }
}

#[test]
fn without_functions_it_is_distinct() {
    for keys in [vec![0], vec![1, 2, 3]] {
        run(&keys, Vec::new(), false, 5);
        run(&keys, Vec::new(), true, 6);
    }
}

#[test]
fn distinct_of_an_append_only_input_is_append_only() {
    let mut subject = Subject::new(&[0], Vec::new(), true);
    let mut random = Random(9);
    let rows: Vec<(Row, i64)> = (0..50).map(|_| (random.row(), 1)).collect();
    let output = subject.step(vec![batch(&rows)]);
    assert!(output.iter().all(|changes| changes.weights().is_none()));
    assert!(subject.step(vec![batch(&rows)]).is_empty());
}

#[test]
fn a_global_aggregate_has_its_row_from_the_start() {
    let calls = vec![call(AggregateFunction::Count, None, false, None), call(AggregateFunction::Sum, Some(3), false, None)];
    let mut subject = Subject::new(&[], calls.clone(), false);
    let output = subject.step(Vec::new());
    assert!(output[0].weights().is_none());
    assert_eq!(subject.emitted, BTreeMap::from([(vec![Cell::Int(0), Cell::Null], 1)]));
    subject.restart(&mut Random(1));
    assert!(subject.step(Vec::new()).is_empty(), "it has been emitted before the restart");
    let mut other = Aggregate::new(input_schema(), false, Vec::new(), calls.clone(), output_schema(&[], &calls), false).unwrap();
    let mut output = Vec::new();
    other.step(1, vec![Vec::new()], &mut output).unwrap();
    assert!(output.is_empty(), "only the owner emits it");
}

#[test]
fn retracting_a_row_that_is_not_there_is_an_error() {
    let mut random = Random(3);
    let row = random.row();
    let mut subject = Subject::new(&[0], all_calls(), false);
    let error = subject.operator.step(1, vec![vec![batch(&[(row, -1)])]], &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Internal);
}

#[test]
fn a_slot_is_used_again() {
    let mut subject = Subject::new(&[3], vec![call(AggregateFunction::Count, None, false, None)], false);
    let row = |value: i64| {
        let mut row = vec![Cell::Null; 9];
        row[3] = Cell::Int(i128::from(value));
        row
    };
    for value in 0..100 {
        subject.step(vec![batch(&[(row(value), 1)])]);
        subject.step(vec![batch(&[(row(value), -1)])]);
    }
    assert_eq!(subject.operator.size().rows, 0);
    assert_eq!(subject.operator.groups.table.end(), 1);
}

#[test]
fn a_group_costs_few_bytes() {
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Int64, true)]));
    let mut max = call(AggregateFunction::Max, Some(1), false, None);
    max.result = DataType::Int64;
    let calls = vec![call(AggregateFunction::Count, None, false, None), max];
    let output = Arc::new(Schema::new(["k", "c", "m"].map(|name| Field::new(name, DataType::Int64, true)).to_vec()));
    for (append_only, bytes_max) in [(true, 56), (false, 96)] {
        let mut operator =
            Aggregate::new(Arc::clone(&schema) as SchemaRef, append_only, vec![0], calls.clone(), output.clone(), true).unwrap();
        let groups = 450_000;
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..groups).map(|key| key * 7)));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..groups));
        let rows = RecordBatch::try_new(Arc::clone(&schema) as SchemaRef, vec![keys, values]).unwrap();
        operator.step(1, vec![vec![Changes::insertions(rows)]], &mut Vec::new()).unwrap();
        let size = operator.size();
        assert_eq!(size.rows, groups as usize);
        assert!(size.bytes < bytes_max * size.rows, "{} bytes per group", size.bytes / size.rows);
    }
}
