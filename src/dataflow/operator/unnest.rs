//! Gives every row once for each element of its lists.
//!
//! In: any changes. Out: the same weights; the row's own columns, repeated, and an element of each list, NULL behind the end of a list
//! that is shorter than the longest. A row whose lists are all empty or NULL does not come out, or (`outer`) once, with NULLs.
//! Holds: of a batch how far it has been given out, since a row may have a million elements, and its neighbours too.
//!
//! ```text
//! (1, {a,b})        (1, a), (1, b)
//! (2, {})      ─▶                            outer: (2, NULL)
//! (3, {c})          (3, c)
//! ```
//!
//! Lists are computed here, for a few rows at a time.

use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, NullBufferBuilder, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::output::OutputSchema;
use super::rows::{PART_BYTES, PART_ROWS};
use super::{Stateless, Work};
use crate::dataflow::expr::{Evaluator, narrow, plain_column};
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::{Error, Result};
use crate::plan::{Scalar, UnnestColumn};
use crate::types::Changes;

/// Elements that the lists computed at once should have together: a few batches.
const ELEMENTS_AIM: usize = 4 * PART_ROWS;

/// Rows whose lists are computed at once, before it is known how long they are.
const FIRST_ROWS: usize = 16;

/// A row with so many elements is measured by itself: repeated, it may be much more than others are.
const MANY_ELEMENTS: usize = 64;

/// See the file's header.
pub struct Unnest {
    /// What the lists are computed from.
    inputs: Vec<usize>,
    lists: Vec<Evaluator>,
    columns: Vec<UnnestColumn>,
    outer: bool,
    output: OutputSchema,
    /// The input's columns that come out.
    kept: Vec<usize>,
    /// Rows whose lists are computed at once; `None`: they are columns already.
    slice_rows: Option<usize>,
    given: Option<Given>,
}

/// A batch that is being given out.
struct Given {
    changes: Changes,
    /// Rows whose lists have not been computed.
    next: usize,
    slice: Slice,
}

/// Rows whose lists are known.
struct Slice {
    changes: Changes,
    /// The columns of theirs that come out.
    kept: RecordBatch,
    lists: Vec<ListArray>,
    /// The next row, and which of its elements is next.
    row: usize,
    element: usize,
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
        let kept = columns.iter().filter_map(|column| if let UnnestColumn::Kept(column) = column { Some(*column) } else { None }).collect();
        let (output, slice_rows) = (OutputSchema::new(output), computed.then_some(FIRST_ROWS));
        Ok(Unnest { inputs, lists, columns, outer, output, kept, slice_rows, given: None })
    }

    /// Computes the lists of the next rows.
    fn slice(&mut self, changes: &Changes, next: &mut usize) -> Result<Slice> {
        let count = self.slice_rows.unwrap_or(usize::MAX).min(changes.len() - *next);
        let changes = changes.slice(*next, count);
        *next += count;
        let inputs = changes.rows().project(&self.inputs)?;
        let lists = self.lists.iter().map(|list| list_of(list.values(&inputs, changes.weights())?)).collect::<Result<Vec<_>>>()?;
        if let Some(rows) = &mut self.slice_rows {
            let elements: usize = (0..count).map(|row| longest(&lists, row)).sum();
            *rows = (count * ELEMENTS_AIM / elements.max(1)).clamp(1, (2 * *rows).min(PART_ROWS));
        }
        Ok(Slice { kept: changes.rows().project(&self.kept)?, changes, lists, row: 0, element: 0 })
    }

    /// The next rows to come out.
    fn next_rows(&self, slice: &mut Slice) -> Rows {
        let count = slice.changes.len();
        let row_bytes = |row: usize, rows: usize| Changes::new(slice.kept.slice(row, rows), None).payload_bytes() / rows.max(1);
        let average = row_bytes(0, count);
        let (mut rows, mut bytes) = (Rows::new(slice.lists.len()), 0);
        while slice.row < count && rows.rows.len() < PART_ROWS && bytes < PART_BYTES {
            let longest = longest(&slice.lists, slice.row);
            let all = if self.outer { longest.max(1) } else { longest };
            let each = if all < MANY_ELEMENTS { average } else { row_bytes(slice.row, 1) };
            let fitting = (PART_BYTES - bytes).div_ceil(each.max(1)).min(PART_ROWS - rows.rows.len());
            let to = all.min(slice.element + fitting);
            rows.push(&slice.lists, slice.row, slice.element, to);
            bytes += (to - slice.element) * each;
            (slice.row, slice.element) = if to == all { (slice.row + 1, 0) } else { (slice.row, to) };
        }
        rows
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
    fn apply(&mut self, changes: Changes, _output: &mut Vec<Changes>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut next = 0;
        let slice = self.slice(&changes, &mut next)?;
        self.given = Some(Given { changes, next, slice });
        Ok(())
    }

    fn resume(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        let Some(mut given) = self.given.take() else { return Ok(Work::Done) };
        let rows = self.next_rows(&mut given.slice);
        if !rows.rows.is_empty() {
            output.push(self.batch(&given.slice.changes, &given.slice.lists, rows)?);
        }
        if given.slice.row == given.slice.changes.len() {
            if given.next == given.changes.len() {
                return Ok(Work::Done);
            }
            given.slice = self.slice(&given.changes, &mut given.next)?;
        }
        self.given = Some(given);
        Ok(Work::Left)
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

fn longest(lists: &[ListArray], row: usize) -> usize {
    lists.iter().map(|list| length(list, row)).max().unwrap_or(0)
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

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::physical_expr::expressions::Column;

    use super::Unnest;
    use crate::dataflow::operator::rows::{PART_BYTES, PART_ROWS};
    use crate::dataflow::operator::{Stateless, Work};
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
        while unnest.resume(&mut output).unwrap() == Work::Left {}
        assert!(output.iter().all(|changes| changes.len() <= PART_ROWS));
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
        let long: Vec<Option<i64>> = (0..3 * PART_ROWS as i64 + 5).map(Some).collect();
        let rows = unnested(vec![Some(vec![Some(-1)]), Some(long.clone())], vec![None, None], false);
        assert_eq!(rows.len(), long.len() + 1);
        assert!(rows[1..].iter().zip(&long).all(|(row, element)| row.1 == *element && row.0 == 1 && row.2.is_none()));
    }

    #[test]
    fn a_large_row_is_repeated_in_bounded_batches() {
        let list_type = DataType::new_list(DataType::Int64, true);
        let list = Scalar { expression: Arc::new(Column::new("l", 1)), text: String::new() };
        let schema = Arc::new(Schema::new(vec![Field::new("doc", DataType::Utf8, true)]));
        let errors = Arc::new(RowErrorLog::default()).sink(1);
        let mut unnest = Unnest::new(&[list], &[list_type], vec![UnnestColumn::Kept(0)], false, schema, &errors).unwrap();
        let docs = StringArray::from(vec!["x".to_owned(), "y".repeat(100_000), "z".to_owned()]);
        let lists = [1, 1_000, 2].map(|count| Some((0..count).map(Some).collect::<Vec<Option<i64>>>()));
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        let columns: Vec<(&str, ArrayRef)> = vec![("doc", Arc::new(docs)), ("l", Arc::new(lists))];
        let mut output = Vec::new();
        unnest.apply(Changes::insertions(RecordBatch::try_from_iter(columns).unwrap()), &mut output).unwrap();
        while unnest.resume(&mut output).unwrap() == Work::Left {}
        assert_eq!(output.iter().map(Changes::len).sum::<usize>(), 1_003);
        assert!(output.len() > 10 && output.iter().all(|changes| changes.payload_bytes() <= 2 * PART_BYTES), "{}", output.len());
    }
}
