//! Which accumulators the calls of one aggregate need: each once, however many calls share it.
//!
//! `sum(x)`, `avg(x)` and `count(x)` need one sum and one count between them; `min(x)` and `max(x)` one ordered set.
//! As long as every row has a value (no filter, and no NULL has come) the groups' numbers of rows serve as the counts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take as take_rows;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Schema,
    UInt64Type,
};

use super::cells::{Cells, ROWS, Taken};
use super::codec::Reader;
use super::distinct::{DistinctValues, FILTERS_MAX, Turned, distinct_values};
use super::extremes::{Extremes, LongExtremes};
use super::finish::Finish;
use super::moments::Moments;
use super::multiset::Multisets;
use super::running::Running;
use super::state::{Counts, End, GroupState, Input, valid_rows};
use super::sums::{FloatSums, Sums};
use super::value::{Shape, shape};
use super::xors::Xors;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, AggregateFunction, GeneralAggregate};
use crate::types::Changes;

/// Which rows an accumulator sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Position of the argument.
    pub(super) argument: Option<usize>,
    /// Position of the filter.
    pub(super) filter: Option<usize>,
    /// Lets each value through once.
    pub(super) distinct: Option<Once>,
}

/// A table of DISTINCT values, and one of its filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Once {
    table: usize,
    filter: usize,
}

/// One DISTINCT argument.
pub(super) struct DistinctArgument {
    argument: usize,
    /// Positions of filters; `None`: every row.
    filters: Vec<Option<usize>>,
    pub(super) values: Box<dyn DistinctValues>,
}

/// What an accumulator computes.
#[derive(Clone, Debug, PartialEq)]
enum Need {
    Count,
    TrueCount,
    /// Of partial counts.
    AddedCount,
    Sum,
    /// A sum with room for 10^9 values, as DataFusion's `avg` has it.
    WideSum,
    /// In place, of append-only inputs.
    Extreme(End),
    Ordered,
    Xor,
    /// Exact sums of one value or of two.
    Moments,
    /// DataFusion's accumulator, of append-only inputs.
    Running(Arc<GeneralAggregate>),
}

/// One accumulator and the rows it sees.
pub(super) struct Accumulator {
    pub(super) source: Source,
    need: Need,
    pub(super) state: Box<dyn GroupState>,
    /// Where its words are in the cells. What counts rows, and has counted every one until now, shares the place of the groups' own numbers.
    place: usize,
    /// Number of the accumulator that counts its values; `None`: the group's rows do.
    pub(super) count: Option<usize>,
}

/// One result column.
pub(super) struct Output {
    /// Number of the accumulator with the partial result.
    pub(super) state: Option<usize>,
    /// Number of the accumulator with the count of values; `None`: the group's rows.
    pub(super) count: Option<usize>,
    pub(super) end: End,
    pub(super) finish: Finish,
}

/// Positions of an argument column and of a filter column.
type ArgumentAndFilter = (Option<usize>, Option<usize>);

/// The rows that a DISTINCT argument lets through.
struct Passed {
    slots: Vec<u32>,
    signs: Vec<i64>,
    values: Option<ArrayRef>,
}

/// Some rows, and what they will do to the accumulators of a layout.
pub(super) struct Batch<'a> {
    changes: &'a Changes,
    /// The slot of every row's group.
    slots: &'a [u32],
    /// The column that says how many rows each stands for.
    rows_at: Option<usize>,
    /// Which rows count.
    masks: Vec<(ArgumentAndFilter, Option<BooleanBuffer>)>,
    /// Accumulators that counted every row until now, and of which some do not count.
    apart: Vec<usize>,
    /// Accumulators that see rows without a value for the first time.
    missing: Vec<usize>,
}

impl Batch<'_> {
    /// Whether the words of groups will mean something else.
    pub(super) fn gives_another_meaning(&self) -> bool {
        !self.apart.is_empty() || !self.missing.is_empty()
    }

    /// The weights of the rows; `None`: all are +1.
    pub(super) fn weights(&self) -> Option<&[i64]> {
        self.changes.weights().map(|weights| &weights.values()[..])
    }

    /// The rows that a source without DISTINCT lets through.
    fn input(&self, source: Source) -> Input<'_> {
        let rows_of = (source.argument, source.filter);
        let valid = self.masks.iter().find(|(known, _)| *known == rows_of).and_then(|(_, mask)| mask.as_ref());
        let values = source.argument.map(|argument| self.changes.column(argument));
        Input { slots: self.slots, values, valid, weights: self.weights() }
    }
}

/// Everything that the calls of one aggregate need, and how many rows each group has.
pub(super) struct Layout {
    pub(super) cells: Cells,
    pub(super) distincts: Vec<DistinctArgument>,
    pub(super) accumulators: Vec<Accumulator>,
    pub(super) outputs: Vec<Output>,
}

/// Rows that go into the cells of all accumulators before the next ones do: the words of so many groups, at 64 bytes each, are half of a
/// first-level cache or all of it. (In tests fewer, so that those see many blocks.)
const BLOCK_ROWS: usize = if cfg!(test) { 7 } else { 512 };

impl Layout {
    fn empty() -> Self {
        Layout { cells: Cells::new(), distincts: Vec::new(), accumulators: Vec::new(), outputs: Vec::new() }
    }

    /// Fails with `NotSupported` for functions over types that they are not defined for.
    pub(super) fn new(input: &Schema, append_only: bool, calls: &[AggregateCall]) -> Result<Self> {
        let mut layout = Layout::empty();
        for call in calls {
            let output = layout.output(input, append_only, call)?;
            layout.outputs.push(output);
        }
        Ok(layout)
    }

    /// Whether some accumulator wants to see the values that a DISTINCT argument lets through, and not just their number.
    fn wants_values(&self, distinct: Once) -> bool {
        self.accumulators.iter().any(|accumulator| accumulator.source.distinct == Some(distinct) && accumulator.need != Need::Count)
    }

    /// For rows that `Combine` made: the same results, from partial ones that start at column `next`.
    pub(super) fn merging(input: &Schema, append_only: bool, calls: &[AggregateCall], mut next: usize) -> Result<Self> {
        let mut layout = Layout::empty();
        for call in calls {
            let columns = call.partial_types(append_only).ok_or_else(|| unsupported(call))?.len();
            let output = layout.merged_output(input, call, next, columns)?;
            layout.outputs.push(output);
            next += columns;
        }
        Ok(layout)
    }

    /// `columns` partial results from column `first` on: see `AggregateCall::partial_types`.
    fn merged_output(&mut self, input: &Schema, call: &AggregateCall, first: usize, columns: usize) -> Result<Output> {
        let source = |argument| Source { argument: Some(argument), filter: None, distinct: None };
        let added = || Ok(Box::new(Counts::Added) as Box<dyn GroupState>);
        let end = if call.function == AggregateFunction::Min { End::Least } else { End::Greatest };
        if columns == 0 {
            return Ok(Output { state: None, count: None, end, finish: Finish::Count });
        }
        let data_type = input.field(first).data_type();
        let (state, finish) = match call.function {
            AggregateFunction::Min | AggregateFunction::Max => {
                let state = self.accumulator(source(first), Need::Extreme(end), None, data_type, call)?;
                return Ok(Output { state: Some(state), count: None, end, finish: Finish::Extreme });
            }
            AggregateFunction::Sum => {
                let (need, finish) = sum_of(call);
                (Some(self.accumulator(source(first), need, None, data_type, call)?), finish)
            }
            AggregateFunction::BoolAnd => (Some(self.find_or_add(source(first), Need::AddedCount, None, added)?), Finish::And),
            AggregateFunction::BoolOr => (Some(self.find_or_add(source(first), Need::AddedCount, None, added)?), Finish::Or),
            _ => (None, Finish::Count),
        };
        let count = self.find_or_add(source(first + columns - 1), Need::AddedCount, None, added)?;
        Ok(Output { state, count: Some(count), end, finish })
    }

    /// What a batch will do to the accumulators. `rows_at`: the column that says how many a row stands for.
    pub(super) fn look<'a>(&self, changes: &'a Changes, slots: &'a [u32], rows_at: Option<usize>) -> Batch<'a> {
        let mut batch = Batch { changes, slots, rows_at, masks: Vec::new(), apart: Vec::new(), missing: Vec::new() };
        for (number, accumulator) in self.accumulators.iter().enumerate() {
            let source = accumulator.source;
            if source.distinct.is_some() {
                continue;
            }
            let rows_of = (source.argument, source.filter);
            if !batch.masks.iter().any(|(known, _)| *known == rows_of) {
                batch.masks.push((rows_of, mask(changes, source.argument, source.filter)));
            }
            let input = batch.input(source);
            let parts = accumulator.is_every_row() && !accumulator.counts_all(&input, rows_at.map(|column| changes.column(column)));
            let misses = accumulator.state.minds_missing() && input.valid.is_some();
            batch.apart.extend(parts.then_some(number));
            batch.missing.extend(misses.then_some(number));
        }
        batch
    }

    /// The partial results of an accumulator for rows that are groups by themselves, if it can tell.
    pub(super) fn values_of_rows(&self, accumulator: usize, batch: &Batch<'_>) -> Option<ArrayRef> {
        let Accumulator { source, state, .. } = &self.accumulators[accumulator];
        source.distinct.is_none().then(|| state.values_of_rows(&batch.input(*source))).flatten()
    }

    /// Whether results follow from the groups' words, however they were taken, as long as no batch gives the words another meaning.
    pub(super) fn follows_from_words(&self) -> bool {
        self.accumulators.iter().all(|accumulator| accumulator.state.follows_from_words())
    }

    /// Takes rows into the groups: a batch that was looked at just now.
    pub(super) fn update(&mut self, batch: &Batch<'_>) -> Result<()> {
        let Batch { changes, slots, rows_at, .. } = *batch;
        let weights = batch.weights();
        let passed = self.pass_distinct(changes, slots, weights)?;
        for number in &batch.missing {
            self.accumulators[*number].state.expect_missing(&self.cells);
        }
        let mut blockwise = Vec::new();
        for (number, accumulator) in self.accumulators.iter_mut().enumerate() {
            if let Some(distinct) = accumulator.source.distinct {
                let Passed { slots, signs, values } = &passed[distinct.table][distinct.filter];
                accumulator.update(&Input { slots, values: values.as_ref(), valid: None, weights: Some(signs) }, &mut self.cells)?;
                continue;
            }
            if accumulator.is_every_row() && !batch.apart.contains(&number) {
                continue;
            }
            let input = batch.input(accumulator.source);
            if accumulator.state.words() > 0 {
                blockwise.push((number, input));
            } else {
                accumulator.update(&input, &mut self.cells)?;
            }
        }
        self.count_apart(&batch.apart);
        let counts = rows_at.map(|column| changes.column(column).as_primitive::<Int64Type>()).or(changes.weights());
        let rows = Input { slots, values: None, valid: None, weights: counts.map(|counts| &counts.values()[..]) };
        if slots.len() <= BLOCK_ROWS {
            Counts::Rows.update(&rows, &mut self.cells, ROWS)?;
            return blockwise.iter().try_for_each(|(number, input)| self.accumulators[*number].update(input, &mut self.cells));
        }
        for start in (0..slots.len()).step_by(BLOCK_ROWS) {
            let block = start..slots.len().min(start + BLOCK_ROWS);
            Counts::Rows.update(&rows.only(&block, None, None), &mut self.cells, ROWS)?;
            for (number, input) in &blockwise {
                let values = input.values.map(|values| values.slice(block.start, block.len()));
                let valid = input.valid.map(|valid| valid.slice(block.start, block.len()));
                self.accumulators[*number].update(&input.only(&block, values.as_ref(), valid.as_ref()), &mut self.cells)?;
            }
        }
        Ok(())
    }

    /// Makes room for slots below `slots`.
    pub(super) fn grow(&mut self, slots: usize) {
        self.cells.grow(slots);
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.state.grow(slots));
    }

    /// Back to nothing: the group has gone.
    pub(super) fn reset(&mut self, slot: u32) {
        self.cells.clear(slot);
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.state.reset(slot));
    }

    /// All groups have gone, of which `slots` there were.
    pub(super) fn reset_all(&mut self, slots: u32) {
        self.cells.clear_all(slots);
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.state.reset_all(slots));
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.state.bytes()).sum::<usize>();
        let distincts = self.distincts.iter().map(|distinct| distinct.values.bytes()).sum::<usize>();
        self.cells.bytes() + accumulators + distincts
    }

    /// These accumulators have counted every row, and count for themselves from now on.
    fn count_apart(&mut self, apart: &[usize]) {
        let Some(place) = (!apart.is_empty()).then(|| self.cells.widen(apart.len())) else { return };
        for (place, number) in (place..).zip(apart) {
            self.accumulators[*number].place = place;
            self.cells.copy_rows(place);
        }
    }

    /// Reads what `Accumulator::write` wrote of a group, whose number of rows is there.
    pub(super) fn read(&mut self, slot: u32, input: &mut Reader) -> Result<()> {
        for number in 0..self.accumulators.len() {
            if self.accumulators[number].is_every_row() {
                let mut ahead = Reader(input.0);
                if ahead.count()? == self.cells.rows(slot) {
                    *input = ahead;
                    continue;
                }
                self.count_apart(&[number]);
            }
            let Accumulator { state, place, .. } = &mut self.accumulators[number];
            if state.minds_missing() && state.is_missing(input)? {
                state.expect_missing(&self.cells);
            }
            state.read(slot, self.cells.part(slot, *place, state.words()), input)?;
        }
        Ok(())
    }

    /// Sends a batch through the DISTINCT arguments: by table and filter.
    fn pass_distinct(&mut self, changes: &Changes, slots: &[u32], weights: Option<&[i64]>) -> Result<Vec<Vec<Passed>>> {
        let mut passed = Vec::with_capacity(self.distincts.len());
        for table in 0..self.distincts.len() {
            let distinct = &mut self.distincts[table];
            let column = changes.column(distinct.argument);
            let filters: Vec<_> = distinct.filters.iter().map(|filter| mask(changes, Some(distinct.argument), *filter)).collect();
            let mut turned: Vec<Turned> = filters.iter().map(|_| Turned::default()).collect();
            distinct.values.update(&Input { slots, values: Some(column), valid: None, weights }, &filters, &mut turned)?;
            let by_filter = turned.into_iter().enumerate().map(|(filter, Turned { rows, signs })| {
                let slots = rows.iter().map(|row| slots[*row as usize]).collect();
                let wanted = self.wants_values(Once { table, filter });
                let values = wanted.then(|| take_rows(column, &UInt32Array::from(rows), None)).transpose()?;
                Ok(Passed { slots, signs, values })
            });
            passed.push(by_filter.collect::<Result<_>>()?);
        }
        Ok(passed)
    }

    fn output(&mut self, input: &Schema, append_only: bool, call: &AggregateCall) -> Result<Output> {
        let source = self.source(input, call);
        use AggregateFunction::{First, General, Last, Max, Min};
        let count = match call.function {
            Min | Max | First(_) | Last(_) | General(_) => None,
            _ => self.count(input, source)?,
        };
        let first = matches!(call.function, AggregateFunction::Min | AggregateFunction::First(_));
        let end = if first { End::Least } else { End::Greatest };
        let output = |state, finish| Ok(Output { state, count, end, finish });
        let Some(argument) = call.argument else {
            return if call.function == AggregateFunction::Count { output(None, Finish::Count) } else { Err(unsupported(call)) };
        };
        let data_type = input.field(argument).data_type();
        let mut state = |need| self.accumulator(source, need, count, data_type, call).map(Some);
        let ordered = |end| if append_only { Need::Extreme(end) } else { Need::Ordered };
        match &call.function {
            AggregateFunction::Count => output(None, Finish::Count),
            AggregateFunction::Sum => {
                let (need, finish) = sum_of(call);
                output(state(need)?, finish)
            }
            AggregateFunction::Min | AggregateFunction::Max => output(state(ordered(end))?, Finish::Extreme),
            AggregateFunction::First(column) | AggregateFunction::Last(column) => {
                output(state(ordered(end))?, Finish::Unpack(column.clone()))
            }
            AggregateFunction::General(general) if append_only && general.in_place => {
                output(state(Need::Running(Arc::clone(general)))?, Finish::Extreme)
            }
            AggregateFunction::General(general) => {
                output(state(Need::Ordered)?, Finish::Recompute(Arc::clone(general), call.result.clone()))
            }
            AggregateFunction::BitXor => output(state(Need::Xor)?, Finish::Value),
            AggregateFunction::Moment(moment) => output(state(Need::Moments)?, Finish::Moment(*moment)),
            AggregateFunction::BoolAnd => output(state(Need::TrueCount)?, Finish::And),
            AggregateFunction::BoolOr => output(state(Need::TrueCount)?, Finish::Or),
            AggregateFunction::Avg => match (decimal_scale(data_type), decimal_scale(&call.result)) {
                (Some(from), Some(to)) => {
                    let digits = u32::try_from(to - from).map_err(|_| unsupported(call))?;
                    output(state(Need::WideSum)?, Finish::DecimalAverage { digits, result: call.result.clone() })
                }
                _ if *data_type == DataType::Float64 => output(state(Need::Sum)?, Finish::FloatAverage),
                _ => Err(unsupported(call)),
            },
        }
    }

    /// MIN, MAX and the boolean functions do not care how often a value occurs.
    fn source(&mut self, input: &Schema, call: &AggregateCall) -> Source {
        let AggregateCall { argument, filter, .. } = *call;
        use AggregateFunction::{Avg, BitXor, Count, Moment, Sum};
        let counts_each = matches!(call.function, Count | Sum | Avg | BitXor | Moment(_));
        let distinct = argument.filter(|_| call.distinct && counts_each);
        let distinct = distinct.map(|argument| self.once(argument, filter, input.field(argument).data_type()));
        Source { argument, filter, distinct }
    }

    /// The table for an argument's values, with a filter: one that is there, if possible.
    fn once(&mut self, argument: usize, filter: Option<usize>, data_type: &DataType) -> Once {
        let fits =
            |other: &DistinctArgument| other.argument == argument && (other.filters.len() < FILTERS_MAX || other.filters.contains(&filter));
        let table = self.distincts.iter().position(fits).unwrap_or_else(|| {
            self.distincts.push(DistinctArgument { argument, filters: Vec::new(), values: distinct_values(data_type, 0) });
            self.distincts.len() - 1
        });
        let distinct = &mut self.distincts[table];
        let filter = distinct.filters.iter().position(|other| *other == filter).unwrap_or_else(|| {
            distinct.filters.push(filter);
            distinct.values = distinct_values(data_type, distinct.filters.len());
            distinct.filters.len() - 1
        });
        Once { table, filter }
    }

    fn count(&mut self, input: &Schema, source: Source) -> Result<Option<usize>> {
        let every_row = source.argument.is_none_or(|argument| !input.field(argument).is_nullable());
        if every_row && source.filter.is_none() && source.distinct.is_none() {
            return Ok(None);
        }
        let state = || Ok(Box::new(Counts::Rows) as Box<dyn GroupState>);
        self.find_or_add(source, Need::Count, None, state).map(Some)
    }

    fn accumulator(
        &mut self,
        source: Source,
        need: Need,
        count: Option<usize>,
        data_type: &DataType,
        call: &AggregateCall,
    ) -> Result<usize> {
        let state = || state_for(&need, data_type, call);
        self.find_or_add(source, need.clone(), count, state)
    }

    fn find_or_add(
        &mut self,
        source: Source,
        need: Need,
        count: Option<usize>,
        state: impl FnOnce() -> Result<Box<dyn GroupState>>,
    ) -> Result<usize> {
        if let Some(known) = self.accumulators.iter().position(|other| other.source == source && other.need == need) {
            return Ok(known);
        }
        let every_row = matches!(need, Need::Count | Need::AddedCount) && source.filter.is_none() && source.distinct.is_none();
        let state = state()?;
        let place = if every_row { ROWS } else { self.cells.widen(state.words()) };
        self.accumulators.push(Accumulator { source, need, state, place, count });
        Ok(self.accumulators.len() - 1)
    }
}

impl Accumulator {
    /// Whether it counts as many of these rows as there are. `rows`: how many each stands for.
    fn counts_all(&self, input: &Input, rows: Option<&ArrayRef>) -> bool {
        let all = match rows.filter(|_| self.need == Need::AddedCount) {
            None => self.need == Need::Count,
            Some(rows) => input.weights.is_none() && input.values.is_some_and(|counts| counts.as_ref() == rows.as_ref()),
        };
        all && input.valid.is_none()
    }

    /// Whether the groups' own numbers of rows say what it counts.
    pub(super) fn is_every_row(&self) -> bool {
        self.place == ROWS
    }

    fn update(&mut self, input: &Input, cells: &mut Cells) -> Result<()> {
        self.state.update(input, cells, self.place)
    }

    /// The partial results of groups.
    pub(super) fn values(&self, groups: &Taken, end: End) -> Result<ArrayRef> {
        self.state.values(groups, self.place, end)
    }

    /// Back to nothing, in a group that stays.
    pub(super) fn reset(&mut self, slot: u32, cells: &mut Cells) {
        cells.part(slot, self.place, self.state.words()).fill(0);
        self.state.reset(slot);
    }

    /// Writes a group's part of its state entry.
    pub(super) fn write(&self, slot: u32, cells: &Cells, output: &mut Vec<u8>) {
        self.state.write(slot, &cells.words_from(slot, self.place)[..self.state.words()], output);
    }
}

fn mask(changes: &Changes, argument: Option<usize>, filter: Option<usize>) -> Option<BooleanBuffer> {
    valid_rows(argument.map(|argument| changes.column(argument)), filter.map(|filter| changes.column(filter)))
}

fn decimal_scale(data_type: &DataType) -> Option<i8> {
    match data_type {
        DataType::Int64 => Some(0),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}

fn state_for(need: &Need, data_type: &DataType, call: &AggregateCall) -> Result<Box<dyn GroupState>> {
    Ok(match need {
        Need::Count => Box::new(Counts::Rows),
        Need::AddedCount => Box::new(Counts::Added),
        Need::TrueCount if *data_type == DataType::Boolean => Box::new(Counts::True),
        Need::TrueCount => return Err(unsupported(call)),
        Need::Sum => return sum_for(data_type, call),
        Need::WideSum => return wide_sum_for(data_type, call),
        Need::Xor if data_type.is_integer() => Box::new(Xors::new(data_type.clone())),
        Need::Xor => return Err(unsupported(call)),
        Need::Moments => match data_type {
            DataType::Float64 => Box::new(Moments::<1>::new()),
            DataType::Struct(fields) if fields.len() == 2 && fields.iter().all(|field| *field.data_type() == DataType::Float64) => {
                Box::new(Moments::<2>::new())
            }
            _ => return Err(unsupported(call)),
        },
        Need::Running(general) => Box::new(Running::new(Arc::clone(general), call.result.clone())?),
        Need::Extreme(end) => match shape(data_type) {
            Shape::Word => Box::new(Extremes::<u64>::new(*end, data_type.clone())),
            Shape::Wide => Box::new(Extremes::<u128>::new(*end, data_type.clone())),
            Shape::Bytes => Box::new(LongExtremes::new(*end, data_type.clone())),
            Shape::Opaque => return Err(unsupported(call)),
        },
        Need::Ordered => match shape(data_type) {
            Shape::Word => Box::new(Multisets::<u64>::new(data_type.clone())),
            Shape::Wide => Box::new(Multisets::<u128>::new(data_type.clone())),
            Shape::Bytes => Box::new(Multisets::<Box<[u8]>>::new(data_type.clone())),
            Shape::Opaque => return Err(unsupported(call)),
        },
    })
}

/// Ten digits more than the values have are enough for 10^10 of them; where the result's type has no room for them, the sum is kept in a wider one.
fn sum_of(call: &AggregateCall) -> (Need, Finish) {
    match &call.result {
        DataType::Decimal128(DECIMAL128_MAX_PRECISION, _) => (Need::WideSum, Finish::DecimalSum(call.result.clone())),
        _ => (Need::Sum, Finish::Value),
    }
}

fn sum_for(data_type: &DataType, call: &AggregateCall) -> Result<Box<dyn GroupState>> {
    let result = if call.function == AggregateFunction::Avg { data_type } else { &call.result }.clone();
    Ok(match (data_type, &result) {
        (DataType::Int64, DataType::Int64) => Box::new(Sums::<Int64Type, Int64Type>::new(result)),
        (DataType::Int64, DataType::Decimal128(_, 0)) => Box::new(Sums::<Int64Type, Decimal128Type>::new(result)),
        (DataType::UInt64, DataType::UInt64) => Box::new(Sums::<UInt64Type, UInt64Type>::new(result)),
        (DataType::Float64, DataType::Float64) => Box::new(FloatSums::default()),
        (DataType::Decimal128(..), DataType::Decimal128(..)) => Box::new(Sums::<Decimal128Type, Decimal128Type>::new(result)),
        (DataType::Decimal128(..), DataType::Decimal256(..)) => Box::new(Sums::<Decimal128Type, Decimal256Type>::new(result)),
        (DataType::Decimal256(..), DataType::Decimal256(..)) => Box::new(Sums::<Decimal256Type, Decimal256Type>::new(result)),
        (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Interval(IntervalUnit::MonthDayNano))
            if call.function == AggregateFunction::Sum =>
        {
            Box::new(Sums::<IntervalMonthDayNanoType, IntervalMonthDayNanoType>::new(result))
        }
        _ => return Err(unsupported(call)),
    })
}

/// As DataFusion's `avg_sum_data_type`: 13 digits more than the argument has, 4 for the result's scale and 9 for the number of rows.
fn wide_sum_for(data_type: &DataType, call: &AggregateCall) -> Result<Box<dyn GroupState>> {
    Ok(match data_type {
        DataType::Int64 => Box::new(Sums::<Int64Type, Decimal128Type>::new(DataType::Decimal128(38, 0))),
        DataType::Decimal128(precision, scale) if precision + 13 <= 38 => {
            Box::new(Sums::<Decimal128Type, Decimal128Type>::new(DataType::Decimal128(38, *scale)))
        }
        DataType::Decimal128(_, scale) => Box::new(Sums::<Decimal128Type, Decimal256Type>::new(DataType::Decimal256(76, *scale))),
        DataType::Decimal256(_, scale) => Box::new(Sums::<Decimal256Type, Decimal256Type>::new(DataType::Decimal256(76, *scale))),
        _ => return Err(unsupported(call)),
    })
}

fn unsupported(call: &AggregateCall) -> Error {
    Error::not_supported(format!("the aggregate \"{}\" is not supported for this type in a materialized view", call.text))
}
