//! From a connector's rows to an object's: generated columns are computed, rows with NULL where none may be are set aside.
//!
//! In: batches of the connector's columns. Out: batches of the object's columns, which its relation takes as they are.
//! Always: of each row that goes in, the row comes out or a dead letter does.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::connect::SourceBatch;
use crate::dataflow::RowErrorLog;
use crate::dataflow::operator::Stateless;
use crate::dataflow::operator::map::Map;
use crate::engine::event_time::EventRule;
use crate::error::{Error, Result};
use crate::plan::Scalar;
use crate::types::{Changes, ObjectId, RowErrors};

/// Makes an intake, for each thread its own.
pub(crate) type MakeIntake = Arc<dyn Fn() -> Intake + Send + Sync>;

/// What a connector's rows pass on their way to an object.
pub(crate) struct Intake {
    /// Computes generated columns, if there are any.
    compute: Option<Compute>,
    /// The object's columns.
    schema: SchemaRef,
    event_time: Option<EventRule>,
}

/// Computes generated columns.
pub(crate) struct Compute {
    map: Map,
    errors: Arc<RowErrorLog>,
}

impl Compute {
    /// `projection` makes the columns of `schema` from the connector's.
    pub(crate) fn new(projection: Vec<Scalar>, schema: &SchemaRef) -> Result<Self> {
        let errors = Arc::new(RowErrorLog::default());
        Ok(Compute { map: Map::new(None, projection, Arc::clone(schema), errors.sink(ObjectId::default()))?, errors })
    }
}

impl Intake {
    /// `compute` turns the connector's columns into those of `schema`; without it they are the same.
    pub(crate) fn new(compute: Option<Compute>, schema: SchemaRef) -> Self {
        Intake { compute, schema, event_time: None }
    }

    /// Tells how far event time is.
    #[must_use]
    pub(crate) fn in_time(mut self, rule: Option<EventRule>) -> Self {
        self.event_time = rule;
        self
    }

    /// The batch in the object's columns. An error means that the connector's columns are not those that it promised.
    pub(crate) fn take(&mut self, mut batch: SourceBatch) -> Result<SourceBatch> {
        let delivered = std::mem::replace(&mut batch.changes, Changes::empty(Arc::clone(&self.schema)));
        if delivered.is_empty() {
            return Ok(batch);
        }
        let from = delivered.rows().clone();
        let (changes, errors) = self.computed(delivered)?;
        batch.errors = errors;
        let complete = complete_rows(&self.schema, changes.rows());
        let rows = changes.rows().clone();
        batch.changes = changes;
        if let Some(complete) = complete {
            batch.set_aside(&complete, &from, |row| self.missing(&rows, row))?;
        }
        let entered = std::mem::replace(&mut batch.changes, Changes::empty(Arc::clone(&self.schema)));
        let (rows, weights) = entered.into_parts();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        batch.changes =
            Changes::new(RecordBatch::try_new_with_options(Arc::clone(&self.schema), rows.columns().to_vec(), &options)?, weights)
                .canonical_floats();
        // Rows may yet turn out to be too far ahead.
        let settled = self.event_time.as_ref().filter(|rule| rule.max_future_us.is_none());
        batch.watermark = settled.map_or(Ok(None), |rule| rule.watermark(&batch.changes))?;
        Ok(batch)
    }

    /// Which columns of a row lack a value.
    fn missing(&self, rows: &RecordBatch, row: usize) -> String {
        let fields = self.schema.fields().iter().zip(rows.columns());
        let missing = fields.filter(|(field, column)| !field.is_nullable() && column.is_null(row)).map(|(field, _)| field.name().as_str());
        format!("column \"{}\": no value, but it is NOT NULL", missing.collect::<Vec<_>>().join("\", \""))
    }

    /// A generated column that cannot be computed is NULL.
    fn computed(&mut self, delivered: Changes) -> Result<(Changes, RowErrors)> {
        let Some(compute) = &mut self.compute else { return Ok((delivered, RowErrors::default())) };
        let mut out = Vec::with_capacity(1);
        let rows = delivered.len();
        compute.map.apply(delivered, &mut out)?;
        let computed = out.pop().filter(|out| out.len() == rows);
        let computed = computed.ok_or_else(|| Error::internal("generated columns changed the number of rows"))?;
        Ok((computed, compute.errors.take(ObjectId::default())))
    }
}

/// Which rows have a value wherever one must be; `None`: all.
fn complete_rows(schema: &SchemaRef, rows: &RecordBatch) -> Option<BooleanArray> {
    let columns = schema.fields().iter().zip(rows.columns());
    let broken: Vec<_> =
        columns.filter(|(field, column)| !field.is_nullable() && column.null_count() > 0).map(|(_, column)| column).collect();
    let complete = |row: usize| broken.iter().all(|column| column.is_valid(row));
    (!broken.is_empty()).then(|| (0..rows.num_rows()).map(|row| Some(complete(row))).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

    use super::{Compute, Intake};
    use crate::connect::{DeadLetter, SourceBatch};
    use crate::plan::Scalar;
    use crate::types::{Changes, RowErrors};

    fn delivered(n: Vec<Option<i64>>) -> SourceBatch {
        let offsets = (10..10 + n.len() as i64).collect();
        let rows = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(n)) as ArrayRef)]).unwrap();
        let changes = Changes::insertions(rows);
        SourceBatch {
            partition: 3,
            next_offset: 20,
            changes,
            offsets,
            dead_letters: Vec::new(),
            errors: RowErrors::default(),
            lag: None,
            fingerprint: None,
            watermark: None,
        }
    }

    fn schema(names: &[&str]) -> SchemaRef {
        Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, false)).collect::<Vec<_>>()))
    }

    #[test]
    fn a_row_with_null_in_a_key_is_a_dead_letter() {
        let mut intake = Intake::new(None, schema(&["n"]));
        let batch = intake.take(delivered(vec![Some(1), None, Some(3)])).unwrap();
        assert_eq!((batch.changes.len(), batch.offsets), (2, vec![10, 12]));
        assert_eq!(batch.changes.schema(), schema(&["n"]));
        let [DeadLetter { partition: 3, offset: 11, error, payload }] = &batch.dead_letters[..] else { panic!("one") };
        assert_eq!((error.as_str(), payload.as_slice()), ("column \"n\": no value, but it is NOT NULL", &b"{}"[..]));
    }

    #[test]
    fn a_batch_without_rows_had_the_connectors_columns() {
        let column = || Scalar { expression: Arc::new(datafusion::physical_expr::expressions::Column::new("n", 0)), text: String::new() };
        let schema = schema(&["n", "copy"]);
        let compute = Compute::new(vec![column(), column()], &schema).unwrap();
        let mut intake = Intake::new(Some(compute), Arc::clone(&schema));
        assert_eq!(intake.take(delivered(vec![])).unwrap().changes.schema(), schema);
        let batch = intake.take(delivered(vec![None, Some(5)])).unwrap();
        assert_eq!((batch.changes.len(), batch.changes.schema(), batch.dead_letters.len()), (1, schema, 1));
        assert_eq!(batch.dead_letters[0].error, "column \"n\", \"copy\": no value, but it is NOT NULL");
    }
}
