//! GROUPING SETS, ROLLUP, CUBE: the rows are repeated for each set, and one ordinary aggregate groups by the keys and the set's id.
//!
//! An empty set has a row even if its input has none, as a global aggregate has. So a row of NULLs that no aggregate counts is put beside
//! the input, and keeps its group alive.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet as LogicalSet};

use super::Lowering;
use crate::error::{Error, Kind, Result};
use crate::plan::node::{GroupingSet, Node, NodeKind};
use crate::plan::properties;

/// Columns of a CUBE at the most: each doubles the sets, and every row is repeated for every set.
const CUBE_COLUMNS_MAX: usize = 12;

/// Whether all rows are one group of the set.
pub(super) fn is_empty(set: &GroupingSet) -> bool {
    set.keys.iter().all(|kept| !kept)
}

/// The sets that the clause stands for, over its different `keys`.
pub(super) fn enumerate(clause: &LogicalSet, keys: &[&Expr]) -> Result<Vec<GroupingSet>> {
    let sets: Vec<Vec<bool>> = match clause {
        LogicalSet::Rollup(exprs) => (0..=exprs.len()).rev().map(|kept| (0..keys.len()).map(|key| key < kept).collect()).collect(),
        LogicalSet::Cube(exprs) => {
            if exprs.len() > CUBE_COLUMNS_MAX {
                return Err(Error::new(Kind::LimitExceeded, format!("CUBE of more than {CUBE_COLUMNS_MAX} columns"))
                    .hint("List the sets that you need: GROUPING SETS (…)."));
            }
            (0..1_u32 << exprs.len()).map(|mask| (0..keys.len()).map(|key| mask & (1 << key) == 0).collect()).collect()
        }
        LogicalSet::GroupingSets(sets) => {
            sets.iter().map(|set| keys.iter().map(|key| set.iter().any(|expr| expr == *key)).collect()).collect()
        }
    };
    let mut seen: HashMap<&[bool], u64> = HashMap::new();
    let mut highest = 0;
    let with_id = |kept: &Vec<bool>, occurrence: u64| {
        let missing = kept.iter().fold(0_u64, |bits, kept| (bits << 1) | u64::from(!kept));
        GroupingSet { keys: kept.clone(), id: missing | occurrence.checked_shl(keys.len() as u32).unwrap_or(0) }
    };
    let mut numbered = Vec::with_capacity(sets.len());
    for kept in &sets {
        let occurrences = seen.entry(kept).or_default();
        highest = highest.max(*occurrences);
        numbered.push(with_id(kept, *occurrences));
        *occurrences += 1;
    }
    let bits = keys.len() + (u64::BITS - highest.leading_zeros()) as usize;
    if bits > 64 {
        return Err(Error::new(Kind::LimitExceeded, "grouping sets over more than 64 columns"));
    }
    Ok(numbered)
}

impl Lowering<'_> {
    /// The input repeated for each set, and the positions of the keys with the set's id behind them.
    pub(super) fn expanded(
        &mut self,
        input: Node,
        keys: Vec<usize>,
        sets: Vec<GroupingSet>,
        id_type: DataType,
    ) -> Result<(Node, Vec<usize>)> {
        let width = input.schema.fields().len();
        let mut fields: Vec<Field> = input.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        fields.extend(keys.iter().map(|key| fields[*key].clone()).collect::<Vec<_>>());
        fields.push(Field::new(Aggregate::INTERNAL_GROUPING_ID, id_type, true));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let positions = (width..schema.fields().len()).collect();

        let totals: Vec<u64> = sets.iter().filter(|set| is_empty(set)).map(|set| set.id).collect();
        let properties = properties::expand(&input.properties, schema.fields().len() - 1);
        let kind = NodeKind::Expand { input: Box::new(input), keys, sets };
        let expand = self.node(kind, Arc::clone(&schema), properties);
        if totals.is_empty() {
            return Ok((expand, positions));
        }
        let mut columns: Vec<ArrayRef> = schema.fields().iter().map(|field| new_null_array(field.data_type(), totals.len())).collect();
        let ids: ArrayRef = Arc::new(UInt64Array::from(totals.clone()));
        let id = columns.len() - 1;
        columns[id] = cast(&ids, schema.field(id).data_type())?;
        let always = self.constant(Arc::clone(&schema), columns, totals.len())?;
        let inputs = vec![expand, always];
        let properties = properties::union(inputs.iter().map(|input| &input.properties));
        Ok((self.node(NodeKind::Union { inputs }, schema, properties), positions))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{GroupingSet as LogicalSet, col};

    use super::enumerate;

    #[test]
    fn ids_have_a_bit_for_every_missing_key() {
        let (a, b) = (col("a"), col("b"));
        let ids = |clause: &LogicalSet| enumerate(clause, &[&a, &b]).unwrap().iter().map(|set| set.id).collect::<Vec<_>>();
        assert_eq!(ids(&LogicalSet::Rollup(vec![a.clone(), b.clone()])), [0, 1, 3]);
        assert_eq!(ids(&LogicalSet::Cube(vec![a.clone(), b.clone()])), [0, 2, 1, 3]);
        assert_eq!(ids(&LogicalSet::GroupingSets(vec![vec![b.clone()], vec![a.clone()], vec![b.clone()]])), [2, 1, 6]);
    }
}
