//! Variances, covariances, correlations and regressions: exact sums of values, squares and products, and what they come to.
//!
//! In: Float64 values, or structs of two. Holds per group the number of rows and, without any rounding, the sums; so a retraction takes
//! away exactly what came, and a group in which all values are equal has a variance of zero and not of nearly zero. NaN, infinities, and
//! what is so large that its square might overflow, are counted apart, and can be taken away as well.
//! Results are those of DataFusion's batch aggregates up to their rounding (theirs is Welford's method), but for numbers beyond 10^140,
//! which count as infinite here.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StructArray, UInt64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};

use super::cells::{Cells, Taken};
use super::codec::{Reader, write_count};
use super::exact::{self, ExactSum};
use super::segments::Segments;
use super::state::{End, GroupState, Input};
use crate::error::Result;
use crate::plan::{Moment, MomentTotals};

/// From here on a square times a count might leave the range of doubles (10^308): 10^280 times 10^28 rows.
const HUGE: f64 = 1e140;

/// The sums of one group.
#[derive(Clone, Debug)]
struct Sums<const N: usize> {
    rows: i64,
    /// Of the values of each argument.
    values: [ExactSum; N],
    /// Of their squares.
    squares: [ExactSum; N],
    /// Of the products of both.
    products: ExactSum,
}

impl<const N: usize> Default for Sums<N> {
    fn default() -> Self {
        let none = || std::array::from_fn(|_| ExactSum::default());
        Sums { rows: 0, values: none(), squares: none(), products: ExactSum::default() }
    }
}

/// How many values of one argument are no ordinary numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Special {
    nan: i64,
    positive: i64,
    negative: i64,
}

/// Sums of `N` arguments.
pub(super) struct Moments<const N: usize> {
    sums: Segments<Sums<N>>,
    /// Of the few groups that have such values.
    special: HashMap<u32, [Special; N]>,
    heap: usize,
}

impl Special {
    fn add(&mut self, value: f64, weight: i64) {
        if value.is_nan() {
            self.nan += weight;
        } else if value > 0.0 {
            self.positive += weight;
        } else {
            self.negative += weight;
        }
    }

    /// What the values come to, if there are any.
    fn sum(self) -> Option<f64> {
        match (self.nan, self.positive, self.negative) {
            (0, 0, 0) => None,
            (0, _, 0) => Some(f64::INFINITY),
            (0, 0, _) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }
}

impl<const N: usize> Sums<N> {
    fn add(&mut self, row: [f64; N], weight: i64) {
        self.rows += weight;
        for (number, value) in row.into_iter().enumerate().filter(|(_, value)| value.abs() < HUGE) {
            self.values[number].add_product(value, weight as f64);
            self.squares[number].add_weighted_product(value, value, weight);
        }
        if N == 2 && row.iter().all(|value| value.abs() < HUGE) {
            self.products.add_weighted_product(row[0], row[N - 1], weight);
        }
    }

    fn sums(&self) -> impl Iterator<Item = &ExactSum> {
        self.values.iter().chain(&self.squares).chain([&self.products])
    }

    fn heap(&self) -> usize {
        self.sums().map(ExactSum::heap).sum()
    }
}

impl<const N: usize> Moments<N> {
    pub(super) fn new() -> Self {
        Moments { sums: Segments::new(), special: HashMap::new(), heap: 0 }
    }

    #[cold]
    fn add_special(special: &mut HashMap<u32, [Special; N]>, slot: u32, row: [f64; N], weight: i64) {
        let entry = special.entry(slot).or_insert([Special::default(); N]);
        for (counts, value) in entry.iter_mut().zip(row).filter(|(_, value)| !matches!(value.abs(), ordinary if ordinary < HUGE)) {
            counts.add(value, weight);
        }
        if *entry == [Special::default(); N] {
            special.remove(&slot);
        }
    }

    /// For each argument the sum and the spread, then the spread of both.
    fn totals(&self, slot: u32) -> [f64; 5] {
        let sums = &self.sums[slot];
        let special = self.special.get(&slot).map_or([None; N], |counts| counts.map(Special::sum));
        let mut totals = [0.0; 5];
        for number in 0..N {
            let (values, squares) = (&sums.values[number], &sums.squares[number]);
            (totals[2 * number], totals[2 * number + 1]) = match special[number] {
                Some(sum) => (sum, f64::NAN),
                None => (values.value(), ExactSum::spread(sums.rows as f64, squares, values, values).max(0.0)),
            };
        }
        if N == 2 {
            let ordinary = special.iter().all(Option::is_none);
            let spread = || ExactSum::spread(sums.rows as f64, &sums.products, &sums.values[0], &sums.values[N - 1]);
            totals[4] = if ordinary { spread() } else { f64::NAN };
        }
        totals
    }
}

impl<const N: usize> GroupState for Moments<N> {
    fn grow(&mut self, slots: usize) {
        self.sums.grow(slots);
    }

    fn update(&mut self, input: &Input, _cells: &mut Cells, _place: usize) -> Result<()> {
        let columns = columns::<N>(input.argument());
        let (sums, special, heap) = (&mut self.sums, &mut self.special, &mut self.heap);
        input.for_each(|row, slot, weight| {
            let values: [f64; N] = std::array::from_fn(|number| columns[number][row]);
            let group = &mut sums[slot];
            *heap -= group.heap();
            group.add(values, weight);
            *heap += group.heap();
            if !values.iter().all(|value| value.abs() < HUGE) {
                Moments::add_special(special, slot, values, weight);
            }
        });
        Ok(())
    }

    /// A struct: rows, then what `totals` gives.
    fn values(&self, groups: &Taken, _place: usize, _end: End) -> Result<ArrayRef> {
        let rows: Int64Array = groups.slots.iter().map(|slot| self.sums[*slot].rows).collect::<Vec<_>>().into();
        let totals: Vec<[f64; 5]> = groups.slots.iter().map(|slot| self.totals(*slot)).collect();
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, false));
        let mut columns: Vec<(Arc<Field>, ArrayRef)> = vec![(field("rows", DataType::Int64), Arc::new(rows))];
        for (number, name) in ["first", "first_spread", "second", "second_spread", "spread"].into_iter().enumerate() {
            let column = Float64Array::from_iter_values(totals.iter().map(|totals| totals[number]));
            columns.push((field(name, DataType::Float64), Arc::new(column)));
        }
        Ok(Arc::new(StructArray::from(columns)))
    }

    fn reset(&mut self, slot: u32) {
        self.heap -= self.sums[slot].heap();
        self.sums[slot] = Sums::default();
        self.special.remove(&slot);
    }

    fn write(&self, slot: u32, _words: &[u64], output: &mut Vec<u8>) {
        let sums = &self.sums[slot];
        write_count(sums.rows, output);
        sums.sums().for_each(|sum| exact::write(sum, output));
        for counts in self.special.get(&slot).unwrap_or(&[Special::default(); N]) {
            [counts.nan, counts.positive, counts.negative].into_iter().for_each(|count| write_count(count, output));
        }
    }

    fn read(&mut self, slot: u32, _words: &mut [u64], input: &mut Reader) -> Result<()> {
        let sums = &mut self.sums[slot];
        sums.rows = input.count()?;
        for sum in sums.values.iter_mut().chain(&mut sums.squares).chain([&mut sums.products]) {
            *sum = exact::read(input)?;
        }
        self.heap += sums.heap();
        let mut special = [Special::default(); N];
        for counts in &mut special {
            *counts = Special { nan: input.count()?, positive: input.count()?, negative: input.count()? };
        }
        if special != [Special::default(); N] {
            self.special.insert(slot, special);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.bytes() + self.heap + self.special.capacity() * size_of::<(u32, [Special; N])>()
    }

    /// Only where squares of the tiniest numbers underflow.
    fn leaves_residue(&self) -> bool {
        true
    }
}

fn columns<const N: usize>(argument: &ArrayRef) -> [ScalarBuffer<f64>; N] {
    let values = |array: &ArrayRef| array.as_primitive::<Float64Type>().values().clone();
    match argument.as_struct_opt() {
        Some(pairs) => std::array::from_fn(|number| values(pairs.column(number))),
        None => std::array::from_fn(|_| values(argument)),
    }
}

/// The result column, from what `Moments::values` gives.
pub(super) fn finish(moment: Moment, totals: &ArrayRef) -> ArrayRef {
    let totals = totals.as_struct();
    let rows = totals.column(0).as_primitive::<Int64Type>().values();
    if moment == Moment::Pairs {
        return Arc::new(UInt64Array::from_iter_values(rows.iter().map(|rows| rows.max(&0).unsigned_abs())));
    }
    let columns: Vec<&[f64]> = totals.columns()[1..].iter().map(|column| &column.as_primitive::<Float64Type>().values()[..]).collect();
    let result = |row: usize| {
        let totals = MomentTotals {
            rows: rows[row] as f64,
            first: columns[0][row],
            first_spread: columns[1][row],
            second: columns[2][row],
            second_spread: columns[3][row],
            spread: columns[4][row],
        };
        if rows[row] > 0 { totals.result(moment) } else { None }
    };
    Arc::new((0..totals.len()).map(result).collect::<Float64Array>())
}
