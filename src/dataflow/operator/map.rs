//! Keeps the rows for which a predicate is true, and computes the output columns from them.
//!
//! In: any changes. Out: the same weights on other columns. Holds: nothing.
//! Columns that are only passed on are not copied; columns that nobody reads are not even filtered.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::Stateless;
use super::output::OutputSchema;
use crate::dataflow::expr::{Evaluator, narrow, plain_column};
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::Result;
use crate::plan::Scalar;
use crate::types::Changes;

/// Filter, then projection.
pub struct Map {
    predicate: Option<Evaluator>,
    /// Positions of the input columns that the projection reads.
    columns: Vec<usize>,
    /// One per output column, over `columns`.
    projection: Vec<Projected>,
    output: OutputSchema,
}

/// Where an output column comes from.
enum Projected {
    /// Passed on from this one of the narrowed columns; the evaluator is for batches that carry it in another Arrow type.
    Column(usize, Evaluator),
    /// Computed from the narrowed columns.
    Computed(Evaluator),
}

impl Map {
    /// `projection` has one expression per column of `output`; all expressions are over the input's columns.
    pub fn new(predicate: Option<Scalar>, projection: Vec<Scalar>, output: SchemaRef, errors: RowErrorSink) -> Result<Self> {
        let (columns, projection) = narrow(&projection)?;
        let projection = projection
            .iter()
            .zip(output.fields())
            .map(|(scalar, field)| {
                let evaluator = Evaluator::new(scalar, field.data_type().clone(), errors.clone());
                match plain_column(scalar) {
                    Some(position) => Projected::Column(position, evaluator),
                    None => Projected::Computed(evaluator),
                }
            })
            .collect();
        let predicate = predicate.map(|scalar| Evaluator::predicate(&scalar, errors)).transpose()?;
        Ok(Map { predicate, columns, projection, output: OutputSchema::new(output) })
    }

    /// The rows that pass the predicate, with only the columns that the projection reads.
    fn filter(&self, changes: &Changes) -> Result<Changes> {
        let narrowed = changes.with_rows(changes.rows().project(&self.columns)?);
        let Some(predicate) = &self.predicate else {
            return Ok(narrowed);
        };
        let mask = predicate.mask(changes.rows(), changes.weights())?;
        Ok(if mask.true_count() == mask.len() { narrowed } else { narrowed.filter(&mask) })
    }
}

impl Stateless for Map {
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let (rows, weights) = self.filter(&changes)?.into_parts();
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let columns = self
            .projection
            .iter()
            .zip(self.output.promised().fields())
            .map(|(projected, field)| match projected {
                Projected::Column(position, _) if rows.column(*position).data_type() == field.data_type() => {
                    Ok(ArrayRef::clone(rows.column(*position)))
                }
                Projected::Column(_, evaluator) | Projected::Computed(evaluator) => evaluator.values(&rows, weights.as_ref()),
            })
            .collect::<Result<Vec<_>>>()?;
        output.push(self.output.changes(columns, rows.num_rows(), weights)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Map;
    use crate::dataflow::operator::Stateless;
    use crate::dataflow::row_errors::RowErrorLog;
    use crate::plan::Scalar;
    use crate::types::Changes;
    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
    use std::sync::Arc;

    fn scalar(expression: Arc<dyn PhysicalExpr>) -> Scalar {
        Scalar { expression, text: String::new() }
    }

    #[test]
    fn filters_projects_and_survives_a_division_by_zero() {
        let divided =
            || -> Arc<dyn PhysicalExpr> { Arc::new(BinaryExpr::new(lit(12_i64), Operator::Divide, Arc::new(Column::new("b", 1)))) };
        let predicate = scalar(Arc::new(BinaryExpr::new(Arc::new(Column::new("a", 0)), Operator::Gt, lit(1_i64))));
        let schema = Schema::new(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("b", DataType::Int64, true),
            Field::new("q", DataType::Int64, false),
        ]);
        let projection = vec![scalar(Arc::new(Column::new("name", 2))), scalar(Arc::new(Column::new("b", 1))), scalar(divided())];
        let log = Arc::new(RowErrorLog::default());
        let mut map = Map::new(Some(predicate), projection, Arc::new(schema), log.sink(3)).unwrap();

        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
            ("b", Arc::new(Int64Array::from(vec![0, 0, 4, 6]))),
            ("name", Arc::new(StringViewArray::from(vec!["w", "x", "y", "z"]))),
        ];
        let changes = Changes::new(RecordBatch::try_from_iter(columns).unwrap(), Some(Int64Array::from(vec![1, 1, -1, 2])));
        let mut output = Vec::new();
        map.apply(changes, &mut output).unwrap();

        let [out] = output.as_slice() else { panic!("one batch") };
        assert_eq!(out.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["x", "y", "z"]);
        assert_eq!(out.column(2).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [None, Some(3), Some(2)]);
        assert_eq!(out.weights().unwrap().values(), &[1, -1, 2]);
        assert_eq!(out.column(1).null_count(), 0);
        assert_eq!(log.snapshot()[0].1.count, 1, "the row that was filtered out was never divided");
    }
}
