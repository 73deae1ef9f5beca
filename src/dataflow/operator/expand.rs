//! GROUPING SETS, ROLLUP and CUBE: gives every row once for each grouping set, so that one ordinary aggregate computes them all.
//!
//! In: any changes. Out: the same weights; all columns, then the keys again, NULL where the set is without them, then the set's id.
//! The keys stand there twice because an aggregate may read a column that its set does not group by. Holds nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;

use super::Stateless;
use super::output::OutputSchema;
use crate::error::Result;
use crate::plan::GroupingSet;
use crate::types::Changes;

/// Repeats rows for grouping sets.
pub struct Expand {
    keys: Vec<usize>,
    sets: Vec<GroupingSet>,
    output: OutputSchema,
}

impl Expand {
    /// `keys`: positions of the key columns. `output`: the input's columns, the keys' and the id's (an unsigned integer).
    pub fn new(keys: Vec<usize>, sets: Vec<GroupingSet>, output: SchemaRef) -> Result<Self> {
        assert!(sets.iter().all(|set| set.keys.len() == keys.len()), "a set says of every key whether it has it");
        Ok(Expand { keys, sets, output: OutputSchema::new(output) })
    }
}

impl Stateless for Expand {
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let (rows, weights) = changes.into_parts();
        let count = rows.num_rows();
        let id_type = self.output.promised().fields().last().expect("there is an id").data_type();
        for set in &self.sets {
            let mut columns = rows.columns().to_vec();
            for (key, kept) in self.keys.iter().zip(&set.keys) {
                let column = rows.column(*key);
                columns.push(if *kept { Arc::clone(column) } else { new_null_array(column.data_type(), count) });
            }
            let ids: ArrayRef = Arc::new(UInt64Array::from(vec![set.id; count]));
            columns.push(cast(&ids, id_type)?);
            output.push(self.output.changes(columns, count, weights.clone())?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt8Type};

    use super::Expand;
    use crate::dataflow::operator::Stateless;
    use crate::plan::GroupingSet;
    use crate::types::Changes;

    #[test]
    fn a_row_comes_once_per_set_with_its_weight() {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(vec![field("a"), field("b"), field("b"), Field::new("id", DataType::UInt8, true)]));
        let columns: Vec<(&str, ArrayRef)> = vec![("a", Arc::new(Int64Array::from(vec![1]))), ("b", Arc::new(Int64Array::from(vec![2])))];
        let changes = Changes::retractions(RecordBatch::try_from_iter(columns).unwrap());
        let sets = vec![GroupingSet { keys: vec![true], id: 0 }, GroupingSet { keys: vec![false], id: 1 }];
        let mut output = Vec::new();
        Expand::new(vec![1], sets, schema).unwrap().apply(changes, &mut output).unwrap();
        assert_eq!(output.iter().map(|changes| changes.weight(0)).collect::<Vec<_>>(), [-1, -1]);
        assert_eq!(output[0].column(2).as_primitive::<Int64Type>().value(0), 2);
        assert!(output[1].column(2).is_null(0) && output[1].column(1).is_valid(0));
        assert_eq!(output[1].column(3).as_primitive::<UInt8Type>().value(0), 1);
    }
}
