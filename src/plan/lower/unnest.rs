//! Unnest: lists of a row → rows. The projection below that makes the lists becomes a part of the node, so that they are made where they are
//! taken apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::NullHandling;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Unnest};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::utils::collect_columns;

use super::hop::hop_call;
use super::{Lowering, fields_of, nullable, one_row, scalar, support};
use crate::error::{Error, Result};
use crate::plan::expressions::{column_index, column_scalar, moved};
use crate::plan::names::visible;
use crate::plan::node::{Node, NodeKind, Scalar, UnnestColumn};
use crate::plan::properties;
use crate::plan::table_functions::{is_ordinals, is_series};

impl Lowering<'_> {
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<Node> {
        let projection = projection_below(&unnest.input);
        if let (Some(projection), [(list, _)]) = (projection, unnest.list_type_columns.as_slice())
            && let Some(call) = hop_call(&projection.expr[*list])
        {
            return self.hop(unnest, projection, *list, call);
        }
        if !unnest.struct_type_columns.is_empty() {
            return Err(support::unsupported("unnest() of a row"));
        }
        if unnest.list_type_columns.iter().any(|(_, list)| list.depth != 1) {
            return Err(support::unsupported("unnest() of unnest()"));
        }
        let outer = match unnest.options.null_handling {
            NullHandling::Drop => false,
            NullHandling::PreserveAndExpandEmpty => true,
            NullHandling::Preserve => return Err(support::unsupported("unnest() that keeps NULLs only")),
        };
        let lists: BTreeSet<usize> = unnest.list_type_columns.iter().map(|(index, _)| *index).collect();
        let parts = self.parts(unnest, projection, &lists)?;
        let columns: Vec<UnnestColumn> = unnest.dependency_indices.iter().map(|from| parts.columns[from]).collect();
        let place = |wanted: &usize| columns.iter().position(|column| *column == UnnestColumn::Kept(*wanted));
        let ordinal = columns.iter().position(|column| *column == UnnestColumn::Ordinal || parts.different == Some(*column));
        let properties = properties::unnest(&parts.input.properties, place, ordinal);
        let kind = NodeKind::Unnest { input: Box::new(parts.input), lists: parts.lists, types: parts.types, columns, outer };
        Ok(self.node(kind, fields_of(&unnest.schema), properties))
    }

    /// The input without its lists, and what makes them. `lists`: their places in the input.
    fn parts(&mut self, unnest: &Unnest, projection: Option<&Projection>, lists: &BTreeSet<usize>) -> Result<Parts> {
        let schema = unnest.input.schema();
        let (below, exprs) = match projection {
            Some(projection) => (&projection.input, projection.expr.clone()),
            None => (&unnest.input, schema.columns().into_iter().map(Expr::Column).collect()),
        };
        let input = self.lower(below)?;
        let mut parts = Parts { input, columns: BTreeMap::new(), lists: Vec::new(), types: Vec::new(), different: None };
        let (mut scalars, mut fields) = (Vec::new(), Vec::new());
        for (index, expr) in exprs.iter().enumerate().filter(|(index, _)| !lists.contains(index)) {
            parts.columns.insert(index, UnnestColumn::Kept(scalars.len()));
            scalars.push(scalar(expr, below.schema())?);
            fields.push(nullable(schema.field(index), visible(schema.field(index).name())));
        }
        let counts = |index: &usize| is_ordinals(&exprs[*index]);
        for index in lists {
            if counts(index) {
                parts.columns.insert(*index, UnnestColumn::Ordinal);
                continue;
            }
            let column = UnnestColumn::Element(parts.lists.len());
            let list = scalar(&exprs[*index], below.schema())?;
            // What fails for constants would fail for all rows: better now than as a row error later.
            if collect_columns(&list.expression).is_empty() {
                list.array(&one_row())?;
            }
            parts.columns.insert(*index, column);
            parts.lists.push(over(list, &parts.input.schema, &mut scalars, &mut fields));
            parts.types.push(list_type(schema.field(*index).data_type())?);
            if lists.iter().filter(|index| !counts(index)).count() == 1 && is_series(&exprs[*index]) {
                parts.different = Some(column);
            }
        }
        parts.input = self.map(parts.input, None, scalars, Arc::new(Schema::new(fields)));
        Ok(parts)
    }
}

/// What an unnest is made of.
struct Parts {
    input: Node,
    /// Where each column of the logical input comes from.
    columns: BTreeMap<usize, UnnestColumn>,
    lists: Vec<Scalar>,
    types: Vec<DataType>,
    /// The elements of a list in which none comes twice.
    different: Option<UnnestColumn>,
}

/// `list`, over columns of `below`, as an expression over `scalars`, to which the columns that it needs are added.
fn over(list: Scalar, below: &Schema, scalars: &mut Vec<Scalar>, fields: &mut Vec<Field>) -> Scalar {
    let mut places = BTreeMap::new();
    let read: BTreeSet<usize> = collect_columns(&list.expression).iter().map(PhysicalColumn::index).collect();
    for index in read {
        let found = scalars.iter().position(|scalar| column_index(&scalar.expression) == Some(index));
        let place = found.unwrap_or_else(|| {
            scalars.push(column_scalar(below.field(index).name(), index));
            fields.push(below.field(index).clone());
            scalars.len() - 1
        });
        places.insert(index, place);
    }
    let place = |index: usize| Arc::new(PhysicalColumn::new(below.field(index).name(), places[&index])) as Arc<dyn PhysicalExpr>;
    Scalar { expression: moved(&list.expression, &place), text: list.text }
}

/// The projection that makes the lists, seen through aliases.
fn projection_below(plan: &LogicalPlan) -> Option<&Projection> {
    match plan {
        LogicalPlan::Projection(projection) => Some(projection),
        LogicalPlan::SubqueryAlias(alias) => projection_below(&alias.input),
        _ => None,
    }
}

fn list_type(data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) | DataType::ListView(element) => {
            Ok(DataType::List(Arc::clone(element)))
        }
        other => Err(Error::internal(format!("an unnested column is {other}"))),
    }
}
