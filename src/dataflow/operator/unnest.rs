//! Gives every row once for each element of its lists.
//!
//! In: any changes. Out: the same weights; the row's own columns, repeated, and an element of each list, NULL behind the end of a list
//! that is shorter than the longest. A row whose lists are all empty or NULL does not come out, or (`outer`) once, with NULLs. Holds: nothing.
//!
//! ```text
//! (1, {a,b})        (1, a), (1, b)
//! (2, {})      ─▶                            outer: (2, NULL)
//! (3, {c})          (3, c)
//! ```
//!
//! Lists are computed here, for a few rows at a time: a row may make a million elements, and its neighbours too.

use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, NullBufferBuilder, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::Stateless;
use super::output::OutputSchema;
use crate::dataflow::expr::{Evaluator, narrow, plain_column};
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::{Error, Result};
use crate::plan::{Scalar, UnnestColumn};
use crate::types::Changes;

/// Rows per output batch, as for the other operators that multiply rows.
const BATCH_ROWS: usize = 16_384;

/// Elements that the lists computed at once should have together: a few batches.
const ELEMENTS_AIM: usize = 4 * BATCH_ROWS;

/// Rows whose lists are computed at once, before it is known how long they are.
const FIRST_ROWS: usize = 16;

/// See the file's header.
pub struct Unnest {
    /// What the lists are computed from.
    inputs: Vec<usize>,
    lists: Vec<Evaluator>,
    columns: Vec<UnnestColumn>,
    outer: bool,
    output: OutputSchema,
    /// Rows whose lists are computed at once; `None`: they are columns already.
    slice_rows: Option<usize>,
}

/// Where the rows of an output batch come from.
struct Rows {
    rows: Vec<u32>,
    /// Places in the lists from 1; 0 in a row that stands for no element.
    ordinals: Vec<i64>,
    /// For each list the positions of its elements, NULL where it has none.
    elements: Vec<(Vec<u32>, NullBufferBuilder)>,
}

impl Unnest {
    /// `lists` are over the input's columns, of the types `types` (each a List); `columns` has one entry per column of `output`.
    pub fn new(
        lists: &[Scalar],
        types: &[DataType],
        columns: Vec<UnnestColumn>,
        outer: bool,
        output: SchemaRef,
        errors: &RowErrorSink,
    ) -> Result<Self> {
        assert_eq!(columns.len(), output.fields().len(), "each output column has a source");
        let computed = lists.iter().any(|list| plain_column(list).is_none());
        let (inputs, lists) = narrow(lists)?;
        let lists = lists.iter().zip(types).map(|(list, list_type)| Evaluator::new(list, list_type.clone(), errors.clone())).collect();
        Ok(Unnest { inputs, lists, columns, outer, output: OutputSchema::new(output), slice_rows: computed.then_some(FIRST_ROWS) })
    }

    /// Pushes what comes out for `changes`; returns how many elements their lists had.
    fn expand(&self, changes: &Changes, output: &mut Vec<Changes>) -> Result<usize> {
        let inputs = changes.rows().project(&self.inputs)?;
        let lists = self.lists.iter().map(|list| list_of(list.values(&inputs, changes.weights())?)).collect::<Result<Vec<_>>>()?;
        let mut batch = Rows::new(lists.len());
        let mut elements = 0;
        for row in 0..changes.len() {
            let longest = lists.iter().map(|list| length(list, row)).max().unwrap_or(0);
            let count = if self.outer { longest.max(1) } else { longest };
            elements += longest;
            let mut from = 0;
            while from < count {
                let to = count.min(from + BATCH_ROWS - batch.rows.len());
                batch.push(&lists, row, from, to);
                from = to;
                if batch.rows.len() == BATCH_ROWS {
                    let full = std::mem::replace(&mut batch, Rows::new(lists.len()));
                    output.push(self.batch(changes, &lists, full)?);
                }
            }
        }
        if !batch.rows.is_empty() {
            output.push(self.batch(changes, &lists, batch)?);
        }
        Ok(elements)
    }

    fn batch(&self, changes: &Changes, lists: &[ListArray], rows: Rows) -> Result<Changes> {
        let count = rows.rows.len();
        let repeated = UInt32Array::from(rows.rows);
        let elements = rows.elements.into_iter().zip(lists).map(|((positions, mut nulls), list)| {
            let positions = UInt32Array::new(positions.into(), nulls.finish());
            Ok(take(list.values(), &positions, None)?)
        });
        let elements = elements.collect::<Result<Vec<ArrayRef>>>()?;
        let ordinals = rows.ordinals.into_iter().map(|ordinal| (ordinal > 0).then_some(ordinal));
        let ordinals: ArrayRef = Arc::new(ordinals.collect::<Int64Array>());
        let columns = self.columns.iter().map(|column| match column {
            UnnestColumn::Kept(column) => Ok(take(changes.column(*column), &repeated, None)?),
            UnnestColumn::Element(list) => Ok(Arc::clone(&elements[*list])),
            UnnestColumn::Ordinal => Ok(Arc::clone(&ordinals)),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let weights = changes.weights().map(|weights| take(weights, &repeated, None)).transpose()?;
        self.output.changes(columns, count, weights.map(|weights| weights.as_primitive::<Int64Type>().clone()))
    }
}

impl Stateless for Unnest {
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let Some(mut rows) = self.slice_rows else { return self.expand(&changes, output).map(drop) };
        let mut from = 0;
        while from < changes.len() {
            let count = rows.min(changes.len() - from);
            let elements = self.expand(&changes.slice(from, count), output)?;
            from += count;
            rows = (count * ELEMENTS_AIM / elements.max(1)).clamp(1, 2 * rows);
        }
        self.slice_rows = Some(rows.clamp(1, BATCH_ROWS));
        Ok(())
    }
}

impl Rows {
    fn new(lists: usize) -> Self {
        Rows { rows: Vec::new(), ordinals: Vec::new(), elements: (0..lists).map(|_| (Vec::new(), NullBufferBuilder::new(0))).collect() }
    }

    /// Elements `from..to` of the lists of `row`.
    fn push(&mut self, lists: &[ListArray], row: usize, from: usize, to: usize) {
        self.rows.extend(repeat_n(row as u32, to - from));
        let is_there = lists.iter().any(|list| length(list, row) > 0);
        self.ordinals.extend((from..to).map(|place| if is_there { place as i64 + 1 } else { 0 }));
        for (list, (positions, nulls)) in lists.iter().zip(&mut self.elements) {
            let first = list.value_offsets()[row] as usize;
            let end = length(list, row).clamp(from, to);
            positions.extend((first + from..first + end).map(|position| position as u32));
            nulls.append_n_non_nulls(end - from);
            positions.extend(repeat_n(0, to - end));
            nulls.append_n_nulls(to - end);
        }
    }
}

fn length(list: &ListArray, row: usize) -> usize {
    if list.is_null(row) { 0 } else { list.value_length(row) as usize }
}

fn list_of(lists: ArrayRef) -> Result<ListArray> {
    lists.as_list_opt::<i32>().cloned().ok_or_else(|| Error::internal(format!("an unnested column is {}", lists.data_type())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::physical_expr::expressions::Column;

    use super::{BATCH_ROWS, Unnest};
    use crate::dataflow::operator::Stateless;
    use crate::dataflow::row_errors::RowErrorLog;
    use crate::plan::{Scalar, UnnestColumn};
    use crate::types::Changes;

    type Lists = Vec<Option<Vec<Option<i64>>>>;

    /// What comes out for rows 0, 1, … with these lists: (row, element, element, weight).
    fn unnested(left: Lists, right: Lists, outer: bool) -> Vec<(i64, Option<i64>, Option<i64>, i64)> {
        let list_type = DataType::new_list(DataType::Int64, true);
        let list = |index: usize| Scalar { expression: Arc::new(Column::new("l", index)), text: String::new() };
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(vec![field("x"), field("id"), field("y")]));
        let columns = vec![UnnestColumn::Element(0), UnnestColumn::Kept(0), UnnestColumn::Element(1)];
        let errors = Arc::new(RowErrorLog::default()).sink(1);
        let mut unnest = Unnest::new(&[list(1), list(2)], &[list_type.clone(), list_type], columns, outer, schema, &errors).unwrap();
        let ids: Vec<i64> = (0..left.len() as i64).collect();
        let weights = Int64Array::from(ids.iter().map(|id| if id % 2 == 0 { 1 } else { -2 }).collect::<Vec<_>>());
        let lists = |values: Lists| Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(values)) as ArrayRef;
        let columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(Int64Array::from(ids))), ("l", lists(left)), ("r", lists(right))];
        let mut output = Vec::new();
        unnest.apply(Changes::new(RecordBatch::try_from_iter(columns).unwrap(), Some(weights)), &mut output).unwrap();
        let value = |column: &ArrayRef, row: usize| column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row));
        let row = |changes: &Changes, row: usize| {
            (value(changes.column(1), row).unwrap(), value(changes.column(0), row), value(changes.column(2), row), changes.weight(row))
        };
        output.iter().flat_map(|changes| (0..changes.len()).map(|at| row(changes, at)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn shorter_lists_end_in_nulls_and_weights_are_carried() {
        let left = vec![Some(vec![Some(1), None, Some(3)]), None, Some(vec![]), Some(vec![Some(4)])];
        let right = vec![Some(vec![Some(7)]), None, Some(vec![]), Some(vec![Some(8), Some(9)])];
        let inner =
            vec![(0, Some(1), Some(7), 1), (0, None, None, 1), (0, Some(3), None, 1), (3, Some(4), Some(8), -2), (3, None, Some(9), -2)];
        assert_eq!(unnested(left.clone(), right.clone(), false), inner);
        let outer = unnested(left, right, true);
        assert_eq!(outer[3..5], [(1, None, None, -2), (2, None, None, 1)]);
        assert_eq!(outer.len(), 7);
    }

    #[test]
    fn a_long_list_comes_out_in_bounded_batches() {
        let long: Vec<Option<i64>> = (0..3 * BATCH_ROWS as i64 + 5).map(Some).collect();
        let rows = unnested(vec![Some(vec![Some(-1)]), Some(long.clone())], vec![None, None], false);
        assert_eq!(rows.len(), long.len() + 1);
        assert!(rows[1..].iter().zip(&long).all(|(row, element)| row.1 == *element && row.0 == 1 && row.2.is_none()));
    }
}
