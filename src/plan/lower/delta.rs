//! Delta joins: an inner join of tables and views keeps nothing where whatever changes in one of them finds the rows of all others by their
//! own keys and indexes.
//!
//! ```text
//!  a ⋈ b on a.x = b.id ⋈ c on b.y = c.z          b has the key id, there are indexes a(x), b(y), c(z)
//!
//!  Δa   finds b by id = a.x,   then c by z = b.y
//!  Δb   finds a by x = b.id,   then c by z = b.y
//!  Δc   finds b by y = c.z,    then a by x = b.id
//! ```
//!
//! Where one input has no such path the join is one that keeps its inputs, as it is with everything that is no table or view. From the
//! leaves of the plan upwards: a join of a delta join with a further table or view becomes one delta join of all of them, if all paths are there.
//!
//! After McSherry, "Delta queries", and Olston et al., <https://github.com/TimelyDataflow/differential-dataflow/tree/master/dogsdogsdogs>.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column as PhysicalColumn};
use datafusion::physical_expr::utils::collect_columns;

use super::{Lowering, both};
use crate::catalog::{IndexOf, ObjectKind};
use crate::plan::expressions::{column_index, column_scalar, moved};
use crate::plan::node::{Lookup, Node, NodeKind, Properties, Scalar};
use crate::types::ObjectId;

/// A join that may become a delta join. Positions are those in the columns of all inputs, one input behind the other.
struct Parts {
    inputs: Vec<Node>,
    equal: Vec<(usize, usize)>,
    conditions: Vec<Scalar>,
    /// Where the columns stand that come out.
    output: Vec<usize>,
    /// The indexes by which it became a delta join so far.
    needs: Vec<ObjectId>,
}

/// What is known of the inputs when paths are sought.
struct Paths {
    /// For each column of all inputs, which input it is of, and which column of that one's relation, if it is one.
    columns: Vec<(usize, Option<usize>)>,
    /// For each input by what its rows can be found, best first.
    indexes: Vec<Vec<IndexOf>>,
    schema: Schema,
}

impl Lowering<'_> {
    /// The inner join of two inputs as a delta join: the columns of the left one, then those of the right one. `None` if it cannot be one.
    /// `properties`: those of the join.
    pub(super) fn delta_join(
        &mut self,
        [left, right]: [&Node; 2],
        [left_keys, right_keys]: [&[usize]; 2],
        condition: Option<&Scalar>,
        properties: &Properties,
    ) -> Option<Node> {
        let mut parts = self.joined(left)?;
        parts.append(self.joined(right)?);
        let left_width = left.schema.fields().len();
        let keys = left_keys.iter().zip(right_keys).map(|(left, right)| (parts.output[*left], parts.output[left_width + right]));
        let keys: Vec<(usize, usize)> = keys.collect();
        parts.equal.extend(keys);
        if let Some(condition) = condition {
            parts.conditions.push(condition.over(&|column| parts.output[column]));
        }
        let Parts { inputs, equal, conditions, output, mut needs } = parts;
        let paths = self.known(&inputs).all(&equal, &conditions)?;
        needs.extend(paths.iter().flatten().filter_map(|lookup| lookup.index));

        let fields: Vec<FieldRef> = inputs.iter().flat_map(|input| input.schema.fields().iter().cloned()).collect();
        let key = properties.key.as_ref().map(|key| key.iter().map(|column| output[*column]).collect());
        let below = Properties { append_only: properties.append_only, key, partitioning: None };
        let node = self.node(NodeKind::DeltaJoin { inputs, equal, conditions, paths, needs }, Arc::new(Schema::new(fields)), below);
        let fields: Vec<FieldRef> = left.schema.fields().iter().chain(right.schema.fields()).cloned().collect();
        let columns = output.iter().zip(&fields).map(|(column, field)| column_scalar(field.name(), *column)).collect();
        Some(self.map(node, None, columns, Arc::new(Schema::new(fields))))
    }

    /// The inputs of a join below, or the one input that a node is; `None` for what is computed from either.
    fn joined(&self, node: &Node) -> Option<Parts> {
        let output = (0..node.schema.fields().len()).collect();
        if let NodeKind::DeltaJoin { inputs, equal, conditions, needs, .. } = &node.kind {
            let (equal, conditions, needs) = (equal.clone(), conditions.clone(), needs.clone());
            return Some(Parts { inputs: inputs.clone(), equal, conditions, output, needs });
        }
        if let NodeKind::Map { input, predicate: None, projection } = &node.kind
            && matches!(input.kind, NodeKind::DeltaJoin { .. })
        {
            let output = projection.iter().map(|scalar| column_index(&scalar.expression)).collect::<Option<_>>()?;
            return self.joined(input).map(|parts| Parts { output, ..parts });
        }
        let (object, _) = imported(node)?;
        let keeps_rows = match &self.catalog.get(object)?.kind {
            ObjectKind::Table(_) => true,
            ObjectKind::MaterializedView(view) => !view.options.discard,
            _ => false,
        };
        keeps_rows.then(|| Parts { inputs: vec![node.clone()], equal: Vec::new(), conditions: Vec::new(), output, needs: Vec::new() })
    }

    fn known(&self, inputs: &[Node]) -> Paths {
        let mut known = Paths { columns: Vec::new(), indexes: Vec::new(), schema: Schema::empty() };
        let mut fields = Vec::new();
        for (number, input) in inputs.iter().enumerate() {
            let (object, places) = imported(input).expect("a part of a delta join is an import");
            known.columns.extend(places.into_iter().map(|place| (number, place)));
            let mut indexes = self.catalog.indexes_of(object);
            indexes.retain(|index| index.number.is_none_or(|number| number < self.indexes_before));
            indexes.sort_by_key(|index| (index.number.is_some(), Reverse(index.columns.len())));
            known.indexes.push(indexes);
            fields.extend(input.schema.fields().iter().cloned());
        }
        known.schema = Schema::new(fields);
        known
    }
}

impl Parts {
    /// Puts the inputs of `others` behind these.
    fn append(&mut self, others: Parts) {
        let width: usize = self.inputs.iter().map(|input| input.schema.fields().len()).sum();
        self.inputs.extend(others.inputs);
        self.equal.extend(others.equal.iter().map(|(one, other)| (one + width, other + width)));
        self.conditions.extend(others.conditions.iter().map(|condition| condition.over(&|column| column + width)));
        self.output.extend(others.output.iter().map(|column| column + width));
        self.needs.extend(others.needs);
    }
}

impl Paths {
    /// A path from each input; `None` if one has none.
    fn all(&self, equal: &[(usize, usize)], conditions: &[Scalar]) -> Option<Vec<Vec<Lookup>>> {
        (0..self.indexes.len()).map(|from| self.path(from, equal, conditions)).collect()
    }

    /// From one input to all others: next is always one that is found by its key, or else by an index.
    fn path(&self, from: usize, equal: &[(usize, usize)], conditions: &[Scalar]) -> Option<Vec<Lookup>> {
        let mut passed = vec![false; self.indexes.len()];
        passed[from] = true;
        let mut equal = equal.to_vec();
        let mut conditions = conditions.to_vec();
        let mut path = Vec::new();
        while passed.contains(&false) {
            let (input, index, keys) = self.next(&passed, &equal)?;
            passed[input] = true;
            let there = |column: usize| passed[self.columns[column].0];
            // What the index has seen to.
            for (key, column) in keys.iter().zip(&index.columns) {
                let sought = (input, Some(*column));
                equal
                    .retain(|(one, other)| !(one == key && self.columns[*other] == sought || other == key && self.columns[*one] == sought));
            }
            let decided = equal.extract_if(.., |(one, other)| there(*one) && there(*other)).map(|pair| self.equality(pair));
            let decided: Vec<Scalar> = decided.collect();
            let computed =
                conditions.extract_if(.., |condition| collect_columns(&condition.expression).iter().all(|column| there(column.index())));
            let condition = decided.into_iter().chain(computed).fold(None, |all, condition| both(all, Some(condition)));
            path.push(Lookup { input, index: index.number, name: index.name.clone(), keys, condition });
        }
        Some(path)
    }

    /// An input that can be found from those that were passed, by what, and where the values for that stand.
    fn next(&self, passed: &[bool], equal: &[(usize, usize)]) -> Option<(usize, &IndexOf, Vec<usize>)> {
        let ways = |by_key: bool| {
            let inputs = (0..passed.len()).filter(|input| !passed[*input]);
            let mut ways = inputs.flat_map(|input| self.indexes[input].iter().map(move |index| (input, index)));
            ways.find_map(|(input, index)| {
                let value = |column: &usize| self.value(input, *column, passed, equal);
                let keys = index.columns.iter().map(value).collect::<Option<Vec<usize>>>()?;
                (index.number.is_none() == by_key).then_some((input, index, keys))
            })
        };
        ways(true).or_else(|| ways(false))
    }

    /// Where the value stands that a column of an input's relation is equal to.
    fn value(&self, input: usize, column: usize, passed: &[bool], equal: &[(usize, usize)]) -> Option<usize> {
        let is = |other: usize| self.columns[other] == (input, Some(column));
        let there = |other: usize| passed[self.columns[other].0];
        equal.iter().find_map(|(one, other)| match () {
            () if is(*other) && there(*one) => Some(*one),
            () if is(*one) && there(*other) => Some(*other),
            () => None,
        })
    }

    fn equality(&self, (one, other): (usize, usize)) -> Scalar {
        let [one, other] = [one, other].map(|column| column_scalar(self.schema.field(column).name(), column));
        let text = format!("{} = {}", one.text, other.text);
        Scalar { expression: Arc::new(BinaryExpr::new(one.expression, Operator::Eq, other.expression)), text }
    }
}

impl Scalar {
    /// The same over columns that stand elsewhere.
    fn over(&self, place: &dyn Fn(usize) -> usize) -> Scalar {
        Scalar { expression: moved(&self.expression, &|column| Arc::new(PhysicalColumn::new("", place(column)))), text: self.text.clone() }
    }
}

/// What a node imports, if it does hardly more, and for each of its columns which column of that it is, if it is one.
pub(super) fn imported(node: &Node) -> Option<(u32, Vec<Option<usize>>)> {
    match &node.kind {
        NodeKind::Import { object, columns, .. } => Some((*object, columns.iter().copied().map(Some).collect())),
        NodeKind::Map { input, projection, .. } => {
            let NodeKind::Import { object, columns, .. } = &input.kind else { return None };
            let place = |scalar: &Scalar| column_index(&scalar.expression).map(|column| columns[column]);
            Some((*object, projection.iter().map(place).collect()))
        }
        _ => None,
    }
}
