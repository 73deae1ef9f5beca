//! Expressions over batches. A row that an expression fails on never stops a view: it gives NULL and is reported.
//!
//! The kernel runs on the whole batch. Only if that fails is the batch halved, and halved again, until the failing rows stand alone:
//! the rows around them still go through the kernel, and a batch without errors pays nothing.

mod predicate;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat, prep_null_mask_filter};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use self::predicate::Predicate;
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::{Error, Result};
use crate::plan::{Scalar, from_datafusion};
use crate::types::{RowError, RowErrors, canonical_floats};

/// The longest text of a sampled row, in bytes: samples are read by people.
const SAMPLE_BYTES_MAX: usize = 1_000;

/// Computes one expression.
pub struct Evaluator {
    what: What,
    result: DataType,
    errors: RowErrorSink,
}

/// What is computed.
enum What {
    Value(Arc<dyn PhysicalExpr>),
    Truth(Predicate),
}

/// The rows that failed within one batch.
#[derive(Default)]
struct Failures {
    rows: Vec<usize>,
    texts: Vec<String>,
}

impl Evaluator {
    /// Computes `scalar` as a column of type `result`; other representations (Utf8View for Utf8) are cast.
    pub fn new(scalar: &Scalar, result: DataType, errors: RowErrorSink) -> Self {
        Evaluator { what: What::Value(Arc::clone(&scalar.expression)), result, errors }
    }

    /// Computes a condition, of which only matters where it is true.
    pub fn predicate(scalar: &Scalar, errors: RowErrorSink) -> Result<Self> {
        Ok(Evaluator { what: What::Truth(Predicate::new(&scalar.expression)?), result: DataType::Boolean, errors })
    }

    /// One value per row; NULL where the expression fails. Failures are reported, except on rows whose weight is negative:
    /// those were reported when they appeared.
    pub fn values(&self, rows: &RecordBatch, weights: Option<&Int64Array>) -> Result<ArrayRef> {
        match self.compute(rows) {
            Ok(values) => Ok(values),
            Err(error) => self.recover(rows, weights, error),
        }
    }

    /// For which rows the condition is true: without NULLs, false where it is NULL or fails.
    pub fn mask(&self, rows: &RecordBatch, weights: Option<&Int64Array>) -> Result<BooleanArray> {
        let values = self.values(rows, weights)?;
        let mask = values.as_boolean();
        Ok(if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) })
    }

    fn compute(&self, rows: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
        let values = match &self.what {
            What::Truth(predicate) => return Ok(Arc::new(predicate.truth(rows)?)),
            What::Value(expression) => expression.evaluate(rows)?.into_array(rows.num_rows())?,
        };
        if *values.data_type() == self.result {
            return Ok(canonical_floats(values));
        }
        let options = CastOptions { safe: false, format_options: FormatOptions::default() };
        Ok(canonical_floats(cast_with_options(&values, &self.result, &options)?))
    }

    #[cold]
    fn recover(&self, rows: &RecordBatch, weights: Option<&Int64Array>, error: DataFusionError) -> Result<ArrayRef> {
        let mut pieces = Vec::new();
        let mut failures = Failures::default();
        self.halve(rows, 0, error, &mut pieces, &mut failures);
        self.report(rows, weights, failures);
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        Ok(concat(&pieces)?)
    }

    /// Appends the values of `rows`, which failed as a whole with `error`. They start at row `offset` of the batch.
    fn halve(&self, rows: &RecordBatch, offset: usize, error: DataFusionError, pieces: &mut Vec<ArrayRef>, failures: &mut Failures) {
        let count = rows.num_rows();
        if count <= 1 {
            failures.rows.push(offset);
            failures.texts.push(error_text(error));
            pieces.push(new_null_array(&self.result, count));
            return;
        }
        let middle = count / 2;
        for (start, length) in [(0, middle), (middle, count - middle)] {
            let half = rows.slice(start, length);
            match self.compute(&half) {
                Ok(values) => pieces.push(values),
                Err(error) => self.halve(&half, offset + start, error, pieces, failures),
            }
        }
    }

    fn report(&self, rows: &RecordBatch, weights: Option<&Int64Array>, failures: Failures) {
        let appears = |row: usize| weights.is_none_or(|weights| weights.value(row) > 0);
        let reported: Vec<(usize, String)> = failures.rows.into_iter().zip(failures.texts).filter(|(row, _)| appears(*row)).collect();
        let count = reported.len() as u64;
        let skip = reported.len().saturating_sub(RowErrors::SAMPLES_MAX);
        let samples = reported.into_iter().skip(skip).map(|(row, error)| RowError { error, row: row_text(rows, row) });
        if count > 0 {
            self.errors.record(count, samples);
        }
    }
}

/// A condition over the rows of a join, whose columns are read one by one: only those that decide are.
pub struct Condition {
    evaluator: Evaluator,
    /// Positions of the columns that it reads, in its order.
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl Condition {
    /// `scalar` over rows of `schema`.
    pub fn new(scalar: &Scalar, schema: &Schema, errors: RowErrorSink) -> Result<Self> {
        let (columns, narrowed) = narrow(std::slice::from_ref(scalar))?;
        let schema = SchemaRef::new(schema.project(&columns)?);
        Ok(Condition { evaluator: Evaluator::predicate(&narrowed[0], errors)?, columns, schema })
    }

    /// For which of `count` rows it is true. `read` gives a column by its position. Errors are reported where the weight is positive.
    pub fn mask(&self, count: usize, weights: Option<&Int64Array>, read: impl FnMut(usize) -> Result<ArrayRef>) -> Result<BooleanArray> {
        let columns = self.columns.iter().copied().map(read).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?;
        self.evaluator.mask(&rows, weights)
    }
}

/// The columns that `scalars` read, ascending, and the same scalars over just those columns: what need not be read need not be copied.
pub fn narrow(scalars: &[Scalar]) -> Result<(Vec<usize>, Vec<Scalar>)> {
    let mut columns: Vec<usize> =
        scalars.iter().flat_map(|scalar| collect_columns(&scalar.expression)).map(|column| column.index()).collect();
    columns.sort_unstable();
    columns.dedup();
    let narrowed = scalars.iter().map(|scalar| renumber(scalar, &columns)).collect::<Result<Vec<_>>>()?;
    Ok((columns, narrowed))
}

/// The position of the column that `scalar` merely passes on, if it does nothing else.
pub fn plain_column(scalar: &Scalar) -> Option<usize> {
    scalar.expression.downcast_ref::<Column>().map(Column::index)
}

/// `scalar` over only `columns` of its input, which are sorted and hold all that it reads.
fn renumber(scalar: &Scalar, columns: &[usize]) -> Result<Scalar> {
    let moved = Arc::clone(&scalar.expression).transform_up(|expression| {
        let Some(column) = expression.downcast_ref::<Column>() else {
            return Ok(Transformed::no(expression));
        };
        let position = columns.binary_search(&column.index()).expect("collected from this expression");
        let moved: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), position));
        Ok(Transformed::yes(moved))
    });
    let expression = moved.map_err(|cause| Error::internal(format!("cannot renumber columns: {cause}")))?.data;
    Ok(Scalar { expression, text: scalar.text.clone() })
}

/// The message as a user knows it: Arrow's kinds by our names, the others without DataFusion's wrapping.
fn error_text(error: DataFusionError) -> String {
    match error {
        DataFusionError::ArrowError(..) => from_datafusion(error, "").message().to_owned(),
        DataFusionError::Context(_, cause) => error_text(*cause),
        DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
            Some(ours) => ours.message().to_owned(),
            None => cause.to_string(),
        },
        other => other.find_root().strip_backtrace(),
    }
}

/// `{"a": 1, "b": "x"}`, cut when it gets long.
pub fn row_text(rows: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default();
    let mut text = String::from("{");
    for (position, (field, column)) in rows.schema_ref().fields().iter().zip(rows.columns()).enumerate() {
        if position > 0 {
            text.push_str(", ");
        }
        text.push_str(&serde_json::Value::from(field.name().as_str()).to_string());
        text.push_str(": ");
        let value = ArrayFormatter::try_new(column.as_ref(), &options).and_then(|formatter| formatter.value(row).try_to_string());
        let bare = column.data_type().is_numeric() || *column.data_type() == DataType::Boolean;
        match value {
            _ if column.is_null(row) => text.push_str("null"),
            Ok(value) if bare => text.push_str(&value),
            Ok(value) => text.push_str(&serde_json::Value::from(value).to_string()),
            Err(_) => text.push('?'),
        }
        if text.len() > SAMPLE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(SAMPLE_BYTES_MAX));
            text.push('…');
            return text;
        }
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::{Evaluator, narrow};
    use crate::dataflow::row_errors::RowErrorLog;
    use crate::plan::Scalar;
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Int64Type};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column};
    use std::sync::Arc;

    fn quotient(left: usize, right: usize) -> Scalar {
        let expression = BinaryExpr::new(Arc::new(Column::new("a", left)), Operator::Divide, Arc::new(Column::new("b", right)));
        Scalar { expression: Arc::new(expression), text: "a / b".into() }
    }

    fn batch(a: Vec<i64>, b: Vec<i64>) -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![("a", Arc::new(Int64Array::from(a))), ("b", Arc::new(Int64Array::from(b)))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn a_failing_row_gives_null_and_is_counted() {
        let log = Arc::new(RowErrorLog::default());
        let evaluator = Evaluator::new(&quotient(0, 1), DataType::Int64, log.sink(1));
        let rows = batch(vec![6, 7, 8, 9, 10], vec![2, 0, 4, 0, 5]);
        let weights = Int64Array::from(vec![1, 1, 1, -1, 1]);
        let values = evaluator.values(&rows, Some(&weights)).unwrap();
        let values: Vec<Option<i64>> = values.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(values, [Some(3), None, Some(2), None, Some(2)]);
        let (object, errors) = log.snapshot().remove(0);
        assert_eq!((object, errors.count), (1, 1), "the retracted row was counted when it came");
        assert_eq!(errors.samples[0].error, "division by zero");
        assert_eq!(errors.samples[0].row, r#"{"a": 7, "b": 0}"#);
    }

    #[test]
    fn narrowing_keeps_the_meaning() {
        let (columns, scalars) = narrow(&[quotient(5, 2)]).unwrap();
        assert_eq!(columns, [2, 5]);
        let log = Arc::new(RowErrorLog::default());
        let evaluator = Evaluator::new(&scalars[0], DataType::Int64, log.sink(1));
        let values = evaluator.values(&batch(vec![2], vec![8]), None).unwrap();
        assert_eq!(values.as_primitive::<Int64Type>().value(0), 4);
    }
}
