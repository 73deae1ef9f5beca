//! For each row of its input, the elements of series and other lists, side by side, with the row's own columns beside them.
//!
//! ```text
//! in   ('a', 1, 3)                                         a column, and two that are the arguments of a series
//! out  ('a', 1, 1)  ('a', 2, 2)  ('a', 3, 3)               the column, the series, the numbers of its values
//! ```
//!
//! The values of a series are made when they are asked for, a batch at a time; those of a row may fill any number of batches. What is shorter
//! than its neighbours has NULLs behind its elements, as in an unnest.

use std::fmt;
use std::iter::repeat_n;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, NullBufferBuilder, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::NullHandling;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::equivalence::ProjectionMapping;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::lists::{list_array, no_such};
use super::series::SERIES;
use super::steps::{Steps, Values};

/// Bytes of repeated columns in a batch, or one row: a batch of thousands of copies of a long text would not be small.
const REPEATED_BYTES_MAX: usize = 16 << 20;

/// What a column of the output is made of: columns of the input, by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// The column's value, in all rows that come of its row.
    Repeated(usize),
    /// The elements of its lists.
    Elements(usize),
    /// The values of the series with these arguments.
    Series(Vec<usize>),
    /// The numbers of the elements, from 1.
    Ordinal,
}

/// See the file's header. It may give many rows for one, and leaves it to who runs it to pause between batches.
#[derive(Debug)]
pub(super) struct SeriesExec {
    input: Arc<dyn ExecutionPlan>,
    shape: Arc<Shape>,
    properties: Arc<PlanProperties>,
}

/// What the rows look like.
#[derive(Debug)]
struct Shape {
    outputs: Vec<Output>,
    schema: SchemaRef,
    nulls: NullHandling,
}

impl SeriesExec {
    /// The operator. `schema` has a column for each of the outputs; `nulls`: which rows without elements come out.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, outputs: Vec<Output>, schema: SchemaRef, nulls: NullHandling) -> Self {
        SeriesExec::shaped(input, Arc::new(Shape { outputs, schema, nulls }))
    }

    fn shaped(input: Arc<dyn ExecutionPlan>, shape: Arc<Shape>) -> Self {
        let below = input.schema();
        let repeated = shape.outputs.iter().enumerate().filter_map(|(to, output)| {
            let Output::Repeated(from) = output else { return None };
            let source: Arc<dyn PhysicalExpr> = Arc::new(Column::new(below.field(*from).name(), *from));
            let target: Arc<dyn PhysicalExpr> = Arc::new(Column::new(shape.schema.field(to).name(), to));
            Some((source, vec![(target, to)].into()))
        });
        let mapping: ProjectionMapping = repeated.collect();
        let equivalences = EquivalenceProperties::new(Arc::clone(&shape.schema));
        let partitioning = input.output_partitioning().project(&mapping, &equivalences);
        let properties = PlanProperties::new(equivalences, partitioning, input.pipeline_behavior(), input.boundedness());
        SeriesExec { input, shape, properties: Arc::new(properties) }
    }
}

impl DisplayAs for SeriesExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.shape.outputs.iter().zip(self.shape.schema.fields()).filter_map(|(output, field)| match output {
            Output::Repeated(_) => None,
            Output::Elements(_) => Some(format!("elements as {}", field.name())),
            Output::Series(_) => Some(format!("series as {}", field.name())),
            Output::Ordinal => Some(format!("ordinality as {}", field.name())),
        });
        write!(f, "SeriesExec: {}", made.collect::<Vec<_>>().join(", "))
    }
}

impl ExecutionPlan for SeriesExec {
    fn name(&self) -> &'static str {
        "SeriesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    /// It does, but DataFusion takes that for leave to sort the input instead of the output, by columns that the input does not have.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(SeriesExec::shaped(input, Arc::clone(&self.shape)))),
            _ => Err(DataFusionError::Internal("SeriesExec has one child".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let rows_max = context.session_config().batch_size();
        let shape = Arc::clone(&self.shape);
        let input = self.input.execute(partition, context)?;
        let batches = input.map(move |batch| Expansion::new(batch?, &shape, rows_max).map(stream::iter)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.shape.schema), batches)))
    }
}

/// What comes of one batch of the input, batch by batch.
struct Expansion {
    input: RecordBatch,
    shape: Arc<Shape>,
    columns: Vec<Growing>,
    rows_max: usize,
    /// The row of the input that is worked on.
    row: usize,
    /// How many rows have come of it; `None` before it is begun.
    given: Option<usize>,
}

/// A column of the output while it is made.
enum Growing {
    /// What row of the input each row comes from is known for all columns.
    Repeated(ArrayRef),
    Elements {
        lists: ListArray,
        /// Where the elements of the row stand that have not come out.
        left: Range<i32>,
        places: Vec<Option<i32>>,
    },
    Series {
        arguments: Vec<ArrayRef>,
        left: Steps,
        element: DataType,
        values: Values,
        nulls: NullBufferBuilder,
    },
    Ordinal(Vec<Option<i64>>),
}

impl Iterator for Expansion {
    type Item = DataFusionResult<RecordBatch>;

    fn next(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        let made = self.batch().transpose();
        if !matches!(made, Some(Ok(_))) {
            self.row = self.input.num_rows();
        }
        made
    }
}

impl Expansion {
    fn new(input: RecordBatch, shape: &Arc<Shape>, rows_max: usize) -> DataFusionResult<Self> {
        let columns = shape.outputs.iter().zip(shape.schema.fields()).map(|(output, field)| {
            Ok(match output {
                Output::Repeated(index) => Growing::Repeated(Arc::clone(input.column(*index))),
                Output::Elements(index) => Growing::Elements { lists: list_array(input.column(*index))?, left: 0..0, places: Vec::new() },
                Output::Series(indices) => {
                    let arguments = indices.iter().map(|index| Arc::clone(input.column(*index))).collect();
                    let element = field.data_type().clone();
                    let values = values(&element)?;
                    Growing::Series { arguments, left: Steps::none(), element, values, nulls: NullBufferBuilder::new(0) }
                }
                Output::Ordinal => Growing::Ordinal(Vec::new()),
            })
        });
        let columns = columns.collect::<DataFusionResult<_>>()?;
        Ok(Expansion { input, shape: Arc::clone(shape), columns, rows_max: rows_max.max(1), row: 0, given: None })
    }

    /// The next batch, `None` at the end.
    fn batch(&mut self) -> DataFusionResult<Option<RecordBatch>> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while self.row < self.input.num_rows() && rows.len() < self.rows_max && bytes < REPEATED_BYTES_MAX {
            let given = match self.given {
                Some(given) => given,
                None => {
                    self.columns.iter_mut().try_for_each(|column| column.begin(self.row))?;
                    0
                }
            };
            let width = self.columns.iter().map(|column| column.width(self.row)).sum::<usize>();
            let room = (self.rows_max - rows.len()).min(((REPEATED_BYTES_MAX - bytes) / width.max(1)).max(1));
            let count = self.grow(given, room);
            rows.extend(repeat_n(self.row as u32, count));
            bytes += count * width;
            self.given = Some(given + count);
            if count < room {
                (self.row, self.given) = (self.row + 1, None);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter_mut().map(|column| column.finish(&rows)).collect::<DataFusionResult<Vec<_>>>()?;
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.shape.schema), columns)?))
    }

    /// Adds rows that come of the row, behind those that have been `given`, but no more than `room`, and returns how many.
    fn grow(&mut self, given: usize, room: usize) -> usize {
        let counts: Vec<usize> = self.columns.iter_mut().map(|column| column.grow(room)).collect();
        let most = counts.iter().copied().max().unwrap_or(0);
        let count = if most == 0 && given == 0 && self.stays() { 1 } else { most };
        for (column, own) in self.columns.iter_mut().zip(counts) {
            match column {
                Growing::Ordinal(numbers) => {
                    numbers.extend((given + 1..=given + most).map(|number| i64::try_from(number).ok()));
                    column.pad(count - most);
                }
                _ => column.pad(count - own),
            }
        }
        count
    }

    /// Whether the row comes out even if it has no elements.
    fn stays(&self) -> bool {
        match self.shape.nulls {
            NullHandling::Drop => false,
            NullHandling::PreserveAndExpandEmpty => true,
            NullHandling::Preserve => {
                self.columns.iter().any(|column| matches!(column, Growing::Elements { lists, .. } if lists.is_null(self.row)))
            }
        }
    }
}

impl Growing {
    /// Goes to a row of the input.
    fn begin(&mut self, row: usize) -> DataFusionResult<()> {
        match self {
            Growing::Elements { lists, left, .. } if lists.is_null(row) => *left = 0..0,
            Growing::Elements { lists, left, .. } => *left = lists.value_offsets()[row]..lists.value_offsets()[row + 1],
            Growing::Series { arguments, left, .. } => *left = Steps::of(arguments, row)?,
            Growing::Repeated(_) | Growing::Ordinal(_) => {}
        }
        Ok(())
    }

    /// Adds elements of the row, but no more than `room`, and returns how many.
    fn grow(&mut self, room: usize) -> usize {
        match self {
            Growing::Elements { left, places, .. } => {
                let before = places.len();
                places.extend(left.take(room).map(Some));
                places.len() - before
            }
            Growing::Series { left, values, nulls, .. } => {
                let count = values.extend(left, room);
                nulls.append_n_non_nulls(count);
                count
            }
            Growing::Repeated(_) | Growing::Ordinal(_) => 0,
        }
    }

    /// Adds NULLs, where they are not repeated.
    fn pad(&mut self, count: usize) {
        match self {
            Growing::Elements { places, .. } => places.extend(repeat_n(None, count)),
            Growing::Series { values, nulls, .. } => {
                values.pad(count);
                nulls.append_n_nulls(count);
            }
            Growing::Ordinal(numbers) => numbers.extend(repeat_n(None, count)),
            Growing::Repeated(_) => {}
        }
    }

    /// Bytes that a repetition of the row takes in columns of no fixed width.
    fn width(&self, row: usize) -> usize {
        match self {
            Growing::Repeated(column) if column.data_type() == &DataType::Utf8 => column.as_string::<i32>().value(row).len(),
            Growing::Repeated(column) if column.data_type().primitive_width().is_none() => {
                column.slice(row, 1).to_data().get_slice_memory_size().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// What has been made; the next batch begins empty.
    fn finish(&mut self, rows: &UInt32Array) -> DataFusionResult<ArrayRef> {
        Ok(match self {
            Growing::Repeated(column) => take(column, rows, None)?,
            Growing::Elements { lists, places, .. } => take(lists.values(), &Int32Array::from(std::mem::take(places)), None)?,
            Growing::Series { element, values: made, nulls, .. } => {
                std::mem::replace(made, values(element)?).into_array(element, nulls.finish())?
            }
            Growing::Ordinal(numbers) => Arc::new(Int64Array::from(std::mem::take(numbers))),
        })
    }
}

fn values(element: &DataType) -> DataFusionResult<Values> {
    Values::new(element).ok_or_else(|| no_such(SERIES, std::slice::from_ref(element)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Expansion, Output, REPEATED_BYTES_MAX, Shape};
    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{DataType, Field, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Schema, TimestampMicrosecondType};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::common::NullHandling;

    fn integers(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    /// The batches that come of one, with `rows_max` rows each.
    fn expanded(input: Vec<ArrayRef>, outputs: Vec<Output>, nulls: NullHandling, rows_max: usize) -> Vec<RecordBatch> {
        let field = |(number, column): (usize, &ArrayRef)| Field::new(format!("i{number}"), column.data_type().clone(), true);
        let below = Arc::new(Schema::new(input.iter().enumerate().map(field).collect::<Vec<_>>()));
        let fields = outputs.iter().enumerate().map(|(number, output)| {
            let data_type = match output {
                Output::Repeated(index) => input[*index].data_type().clone(),
                Output::Elements(index) => input[*index].as_list::<i32>().value_type(),
                Output::Series(arguments) => input[arguments[0]].data_type().clone(),
                Output::Ordinal => DataType::Int64,
            };
            Field::new(format!("o{number}"), data_type, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let shape = Arc::new(Shape { outputs, schema, nulls });
        let expansion = Expansion::new(RecordBatch::try_new(below, input).unwrap(), &shape, rows_max).unwrap();
        expansion.map(Result::unwrap).collect()
    }

    /// The rows as text, `a|b` each, and the sizes of the batches.
    fn shown(batches: &[RecordBatch]) -> (Vec<String>, Vec<usize>) {
        let sizes = batches.iter().map(RecordBatch::num_rows).collect();
        let Some(first) = batches.first() else { return (Vec::new(), sizes) };
        let all = concat_batches(&first.schema(), batches).unwrap();
        let text = pretty_format_batches(&[all]).unwrap().to_string();
        let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
        (rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect(), sizes)
    }

    #[test]
    fn rows_run_over_batches() {
        let input = || {
            vec![
                texts(&["a", "b", "c", "d"]),
                integers(&[Some(1), Some(5), None, Some(2)]),
                integers(&[Some(3), Some(4), Some(9), Some(3)]),
            ]
        };
        let outputs = || vec![Output::Series(vec![1, 2]), Output::Repeated(0), Output::Ordinal];
        let wanted = ["1|a|1", "2|a|2", "3|a|3", "2|d|1", "3|d|2"];
        for (rows_max, sizes) in [(1, vec![1; 5]), (2, vec![2, 2, 1]), (3, vec![3, 2]), (5, vec![5]), (8, vec![5])] {
            let (rows, batches) = shown(&expanded(input(), outputs(), NullHandling::Drop, rows_max));
            assert_eq!((rows, batches), (wanted.map(str::to_owned).to_vec(), sizes), "{rows_max} rows in a batch");
        }
    }

    #[test]
    fn rows_without_elements_stay_once() {
        let input = || vec![texts(&["a", "b", "c"]), integers(&[Some(1), Some(5), None]), integers(&[Some(1), Some(4), Some(9)])];
        let outputs = || vec![Output::Repeated(0), Output::Series(vec![1, 2]), Output::Ordinal];
        for rows_max in 1..5 {
            let (rows, _) = shown(&expanded(input(), outputs(), NullHandling::PreserveAndExpandEmpty, rows_max));
            assert_eq!(rows, ["a|1|1", "b||", "c||"], "{rows_max} rows in a batch");
            let (rows, _) = shown(&expanded(input(), outputs(), NullHandling::Preserve, rows_max));
            assert_eq!(rows, ["a|1|1"], "{rows_max} rows in a batch");
        }
        let none = vec![texts(&[]), integers(&[]), integers(&[])];
        assert!(expanded(none, outputs(), NullHandling::PreserveAndExpandEmpty, 8).is_empty());
    }

    #[test]
    fn the_shorter_list_has_nulls_behind_it() {
        let lists = [Some(vec![Some(7), None]), None, Some(vec![Some(8), Some(9), Some(10)])];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let one = || integers(&[Some(1); 3]);
        let input = || vec![Arc::clone(&lists), one(), integers(&[Some(3), Some(0), Some(1)])];
        let outputs = || vec![Output::Elements(0), Output::Series(vec![1, 2]), Output::Ordinal];
        let third = ["8|1|1", "9||2", "10||3"];
        for rows_max in 1..8 {
            let (rows, _) = shown(&expanded(input(), outputs(), NullHandling::Drop, rows_max));
            assert_eq!(rows, [&["7|1|1", "|2|2", "|3|3"][..], &third].concat(), "{rows_max} rows in a batch");
            let (rows, _) = shown(&expanded(input(), outputs(), NullHandling::Preserve, rows_max));
            assert_eq!(rows, [&["7|1|1", "|2|2", "|3|3", "||"][..], &third].concat(), "{rows_max} rows in a batch");
        }
    }

    #[test]
    fn months_go_down_from_the_day_that_the_last_ended_on() {
        let micros = |text: &str| Some(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros());
        let times = |text: &str| Arc::new(TimestampMicrosecondArray::from(vec![micros(text)])) as ArrayRef;
        let step = IntervalMonthDayNano { months: -1, days: 0, nanoseconds: 0 };
        let steps = Arc::new(arrow::array::PrimitiveArray::<IntervalMonthDayNanoType>::from(vec![step]));
        let input = vec![times("2024-04-30T12:00:00Z"), times("2024-02-29T12:00:00Z"), steps];
        let batches = expanded(input, vec![Output::Series(vec![0, 1, 2])], NullHandling::Drop, 2);
        let times = |batch: &RecordBatch| batch.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec();
        let wanted = ["2024-04-30T12:00:00Z", "2024-03-30T12:00:00Z", "2024-02-29T12:00:00Z"].map(|text| micros(text).unwrap());
        assert_eq!(batches.iter().flat_map(times).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_series_without_end_comes_batch_by_batch() {
        let input = vec![integers(&[Some(i64::MIN)]), integers(&[Some(i64::MAX)])];
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let below = Arc::new(Schema::new(vec![field("a"), field("b")]));
        let schema = Arc::new(Schema::new(vec![field("x")]));
        let shape = Arc::new(Shape { outputs: vec![Output::Series(vec![0, 1])], schema, nulls: NullHandling::Drop });
        let mut expansion = Expansion::new(RecordBatch::try_new(below, input).unwrap(), &shape, 8).unwrap();
        let second = expansion.nth(1).unwrap().unwrap();
        assert_eq!(second.column(0).as_primitive::<Int64Type>().value(0), i64::MIN + 8);
    }

    #[test]
    fn an_error_is_the_last_answer() {
        let input = vec![integers(&[Some(1), Some(1)]), integers(&[Some(9), Some(9)]), integers(&[Some(0), Some(1)])];
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let below = Arc::new(Schema::new(vec![field("a"), field("b"), field("c")]));
        let schema = Arc::new(Schema::new(vec![field("x")]));
        let shape = Arc::new(Shape { outputs: vec![Output::Series(vec![0, 1, 2])], schema, nulls: NullHandling::Drop });
        let mut expansion = Expansion::new(RecordBatch::try_new(below, input).unwrap(), &shape, 8).unwrap();
        assert!(expansion.next().unwrap().is_err());
        assert!(expansion.next().is_none());
    }

    #[test]
    fn copies_of_a_long_text_make_small_batches() {
        let long = "x".repeat(REPEATED_BYTES_MAX / 4);
        let input = vec![texts(&["short", &long]), integers(&[Some(1), Some(1)]), integers(&[Some(10), Some(9)])];
        let batches = expanded(input, vec![Output::Repeated(0), Output::Series(vec![1, 2])], NullHandling::Drop, 8_192);
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 19);
        let bytes = |batch: &RecordBatch| batch.column(0).as_string::<i32>().value_data().len();
        assert!(batches.iter().all(|batch| bytes(batch) <= REPEATED_BYTES_MAX + long.len()));
    }
}
