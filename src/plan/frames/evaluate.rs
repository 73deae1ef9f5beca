//! The results of our window functions for the rows of one partition, or of as much of it as they depend on.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, new_null_array};
use arrow::compute::{filter, interleave, partition};
use arrow::datatypes::{DataType, FieldRef, Int64Type, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, PartitionEvaluator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};

use super::Exclusion;
use crate::error::{Error, Kind};
use crate::plan::aggregates::framed::exact_function;
use crate::plan::errors::external;

/// `lag` and `lead`, by each row's own count and default.
#[derive(Debug)]
pub(super) struct Shifted {
    pub(super) ahead: bool,
}

impl PartitionEvaluator for Shifted {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        let counts = values[1].as_primitive::<Int64Type>();
        let none = new_null_array(values[0].data_type(), 1);
        let default = values.get(2).unwrap_or(&none);
        let place = |row: usize| {
            if counts.is_null(row) {
                return (2, 0);
            }
            let shift = if self.ahead { counts.value(row) } else { counts.value(row).saturating_neg() };
            match usize::try_from((row as i64).saturating_add(shift)) {
                Ok(other) if other < rows => (0, other),
                _ if values.len() > 2 => (1, row),
                _ => (2, 0),
            }
        };
        let places: Vec<(usize, usize)> = (0..rows).map(place).collect();
        Ok(interleave(&[values[0].as_ref(), default.as_ref(), none.as_ref()], &places)?)
    }
}

/// `ntile`: the number of buckets is that of the first row that has one. (`window_ntile` in PostgreSQL's `windowfuncs.c`.)
#[derive(Debug)]
pub(super) struct Ntile;

impl PartitionEvaluator for Ntile {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        let wanted = values[0].as_primitive::<Int64Type>();
        let Some(first) = (0..rows).find(|row| wanted.is_valid(*row)) else {
            return Ok(Arc::new(Int32Array::new_null(rows)));
        };
        let Ok(buckets @ 1..) = usize::try_from(wanted.value(first)) else {
            return Err(external(Error::new(Kind::InvalidNtile, "argument of ntile must be greater than zero")));
        };
        // The first ones have a row more each.
        let (size, larger) = (rows / buckets, rows % buckets);
        let bucket = |row: usize| if row < larger * (size + 1) { row / (size + 1) } else { larger + (row - larger * (size + 1)) / size };
        let results = (0..rows).map(|row| row.checked_sub(first).map(|row| bucket(row) as i32 + 1));
        Ok(Arc::new(results.collect::<Int32Array>()))
    }
}

/// Which row of those that are left in a frame is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pick {
    First,
    Last,
    /// The one of the number in the second argument, counted from 1.
    Nth,
}

/// What is computed from the rows that are left in a frame.
#[derive(Debug)]
pub(super) enum Calls {
    Picked { place: Pick, ignores_nulls: bool },
    Aggregate(Box<Aggregate>),
}

/// An aggregate, from which any number of accumulators can be made.
#[derive(Debug)]
pub(super) struct Aggregate {
    function: Arc<AggregateUDF>,
    schema: SchemaRef,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<FieldRef>,
    result: FieldRef,
    distinct: bool,
}

impl Calls {
    pub(super) fn aggregate(
        function: &Arc<AggregateUDF>,
        exprs: &[Arc<dyn PhysicalExpr>],
        fields: &[FieldRef],
        distinct: bool,
    ) -> DataFusionResult<Self> {
        let types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
        let exact = if distinct { None } else { exact_function(function, &types) };
        let result = function.return_field(fields)?;
        let named = fields.iter().enumerate().map(|(place, field)| field.as_ref().clone().with_name(format!("#{place}")));
        let schema = Arc::new(Schema::new(named.collect::<Vec<_>>()));
        // Accumulators want to see constants.
        let argument = |(place, expr): (usize, &Arc<dyn PhysicalExpr>)| match expr.downcast_ref::<Literal>() {
            Some(_) => Arc::clone(expr),
            None => Arc::new(Column::new(&format!("#{place}"), place)),
        };
        let exprs = exprs.iter().enumerate().map(argument).collect();
        let function = exact.unwrap_or_else(|| Arc::clone(function));
        Ok(Calls::Aggregate(Box::new(Aggregate { function, schema, exprs, fields: fields.to_vec(), result, distinct })))
    }
}

impl Aggregate {
    fn accumulator(&self) -> DataFusionResult<Box<dyn Accumulator>> {
        self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.result),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: self.function.name(),
            is_distinct: self.distinct,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        })
    }
}

/// Functions of the rows of a frame of which some are left out.
#[derive(Debug)]
pub(super) struct Excluding {
    calls: Calls,
    exclusion: Exclusion,
    /// Behind the arguments stand the columns of the order.
    arguments: usize,
    filtered: bool,
    /// The row whose turn it is: they come one after the other.
    row: usize,
    /// The rows that are equal to it in the order.
    peers: Range<usize>,
    /// The groups of such rows, the last first, once they are known.
    groups: Option<Vec<Range<usize>>>,
}

impl Excluding {
    pub(super) fn new(calls: Calls, exclusion: Exclusion, arguments: usize, filtered: bool) -> Self {
        Excluding { calls, exclusion, arguments, filtered, row: 0, peers: 0..0, groups: None }
    }

    /// Goes on to the group of the current row.
    fn find_peers(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        if !matches!(self.exclusion, Exclusion::Group | Exclusion::Ties) {
            return Ok(());
        }
        let order = &values[self.arguments..];
        let rows = values.first().map_or(0, |column| column.len());
        let groups = match self.groups.take() {
            Some(groups) => groups,
            None if order.is_empty() => std::iter::once(0..rows).collect(),
            None => partition(order)?.ranges().into_iter().rev().collect(),
        };
        let groups = self.groups.insert(groups);
        while self.peers.end <= self.row
            && let Some(next) = groups.pop()
        {
            self.peers = next;
        }
        Ok(())
    }

    /// The pieces of a frame that are left for a row.
    fn left(&self, frame: &Range<usize>, row: usize) -> [Range<usize>; 3] {
        let itself = row..row + 1;
        let (gap, kept) = match self.exclusion {
            Exclusion::Nothing => (frame.end..frame.end, 0..0),
            Exclusion::CurrentRow => (itself, 0..0),
            Exclusion::Group => (self.peers.clone(), 0..0),
            Exclusion::Ties => (self.peers.clone(), itself),
        };
        let within = |piece: Range<usize>| {
            let start = piece.start.clamp(frame.start, frame.end);
            start..piece.end.clamp(start, frame.end)
        };
        [within(frame.start..gap.start), within(kept), within(gap.end..frame.end)]
    }

    fn accumulated(&self, aggregate: &Aggregate, values: &[ArrayRef], pieces: &[Range<usize>]) -> DataFusionResult<ScalarValue> {
        let mut accumulator = aggregate.accumulator()?;
        let arguments = self.arguments - usize::from(self.filtered);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let slices = values[..arguments].iter().map(|column| column.slice(piece.start, piece.len()));
            let slices: Vec<ArrayRef> = if self.filtered {
                let counts = values[arguments].slice(piece.start, piece.len());
                slices.map(|column| filter(&column, counts.as_boolean())).collect::<Result<_, _>>()?
            } else {
                slices.collect()
            };
            accumulator.update_batch(&slices)?;
        }
        accumulator.evaluate()
    }
}

/// The row that is picked from pieces; `None` if there is none.
fn picked(place: Pick, ignores_nulls: bool, values: &[ArrayRef], row: usize, pieces: [Range<usize>; 3]) -> DataFusionResult<Option<usize>> {
    let nulls = values[0].logical_nulls().filter(|_| ignores_nulls);
    let mut rows = pieces.into_iter().flatten().filter(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row)));
    Ok(match place {
        Pick::First => rows.next(),
        Pick::Last => rows.next_back(),
        Pick::Nth => {
            let wanted = values[1].as_primitive::<Int64Type>();
            if wanted.is_null(row) {
                return Ok(None);
            }
            match usize::try_from(wanted.value(row)) {
                Ok(nth @ 1..) => rows.nth(nth - 1),
                _ => {
                    return Err(external(Error::new(Kind::InvalidNthValue, "argument of nth_value must be greater than zero")));
                }
            }
        }
    })
}

impl PartitionEvaluator for Excluding {
    fn evaluate(&mut self, values: &[ArrayRef], frame: &Range<usize>) -> DataFusionResult<ScalarValue> {
        self.find_peers(values)?;
        let row = self.row;
        self.row += 1;
        let pieces = self.left(frame, row);
        match &self.calls {
            Calls::Aggregate(aggregate) => self.accumulated(aggregate, values, &pieces),
            Calls::Picked { place, ignores_nulls } => match picked(*place, *ignores_nulls, values, row, pieces)? {
                Some(row) => ScalarValue::try_from_array(&values[0], row),
                None => ScalarValue::try_new_null(values[0].data_type()),
            },
        }
    }

    fn uses_window_frame(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int32Type;
    use datafusion::logical_expr::PartitionEvaluator;

    use super::{Calls, Excluding, Ntile, Pick};
    use crate::plan::frames::Exclusion;

    #[test]
    fn buckets_differ_by_one_row_at_most() {
        let buckets = |wanted: i64, rows: usize| {
            let wanted: ArrayRef = Arc::new(Int64Array::from(vec![wanted; rows]));
            Ntile.evaluate_all(&[wanted], rows).unwrap().as_primitive::<Int32Type>().values().to_vec()
        };
        assert_eq!(buckets(3, 8), [1, 1, 1, 2, 2, 2, 3, 3]);
        assert_eq!(buckets(9, 3), [1, 2, 3]);
        assert_eq!(buckets(1, 3), [1, 1, 1]);
    }

    #[test]
    fn rows_are_left_out_where_they_are_in_the_frame() {
        let left = |exclusion, row: usize| {
            let mut excluding = Excluding::new(Calls::Picked { place: Pick::First, ignores_nulls: false }, exclusion, 1, false);
            excluding.peers = 2..5;
            excluding.left(&(1..4), row).into_iter().flatten().collect::<Vec<_>>()
        };
        assert_eq!(left(Exclusion::Nothing, 3), [1, 2, 3]);
        assert_eq!(left(Exclusion::CurrentRow, 3), [1, 2]);
        assert_eq!(left(Exclusion::CurrentRow, 4), [1, 2, 3]);
        assert_eq!(left(Exclusion::Group, 3), [1]);
        assert_eq!(left(Exclusion::Ties, 3), [1, 3]);
        assert_eq!(left(Exclusion::Ties, 4), [1]);
    }
}
