//! GROUP BY: keys and arguments become columns of the input; `group` makes nodes of the rest.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, lit};

use super::aggregate_call::{call, unaliased};
use super::{Lowering, fields_of, grouping, nullable, scalar, scalars};
use crate::error::Result;
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::expression_text;
use crate::plan::node::{AggregateCall, Node, Scalar};
use crate::plan::pack;

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Node> {
        let input = self.lower(&aggregate.input)?;
        let below = aggregate.input.schema();
        let key_exprs = grouping_set_to_exprlist(&aggregate.group_expr).map_err(|error| from_datafusion(error, ""))?;
        let sets = match aggregate.group_expr.as_slice() {
            [Expr::GroupingSet(set)] => Some(grouping::enumerate(set, &key_exprs)?),
            _ => None,
        };
        let schema = with_keys_as_written(&fields_of(&aggregate.schema), &key_exprs);
        let results = schema.fields().iter().skip(key_exprs.len() + usize::from(sets.is_some()));
        let calls = aggregate.aggr_expr.iter().zip(results).map(|(expr, field)| call(expr, field.data_type(), below));
        let mut calls = calls.collect::<Result<Vec<_>>>()?;
        let grand_total = sets.as_ref().is_some_and(|sets| sets.iter().any(grouping::is_empty));
        if grand_total {
            // The row that keeps an empty grouping set alive is no row to count: it has NULL here.
            calls.iter_mut().filter(|call| call.argument.is_none()).for_each(|call| call.argument = Some(lit(true)));
        }

        let mut columns = Columns::default();
        let keys: Vec<usize> = key_exprs.into_iter().map(|expr| columns.place(expr)).collect();
        let calls: Vec<AggregateCall> = calls
            .into_iter()
            .map(|call| AggregateCall {
                function: call.function,
                argument: call.argument.as_ref().map(|expr| columns.place(expr)),
                distinct: call.distinct,
                filter: call.filter.as_ref().map(|expr| columns.place(expr)),
                result: call.result,
                text: call.text,
            })
            .collect();
        let (mut input, positions) = self.prepared(input, below, &columns.exprs)?;
        let mut keys: Vec<usize> = keys.into_iter().map(|key| positions[key]).collect();
        let calls = calls.into_iter().map(|call| AggregateCall {
            argument: call.argument.map(|column| positions[column]),
            filter: call.filter.map(|column| positions[column]),
            ..call
        });
        let calls = calls.collect();
        if let Some(sets) = sets {
            let id_type = schema.field(keys.len()).data_type().clone();
            (input, keys) = self.expanded(input, keys, sets, id_type)?;
        }
        Ok(self.group(input, keys, calls, schema))
    }

    /// The input with a column for every expression, and where each stands. Columns alone need no map.
    fn prepared(&mut self, input: Node, below: &DFSchema, exprs: &[Expr]) -> Result<(Node, Vec<usize>)> {
        let plain = exprs.iter().map(|expr| match unaliased(expr) {
            Expr::Column(column) => below.index_of_column(column).ok(),
            _ => None,
        });
        if let Some(positions) = plain.collect::<Option<Vec<_>>>() {
            return Ok((input, positions));
        }
        if exprs.iter().any(|expr| pack::arguments(expr).is_some_and(|args| args.iter().any(is_computed))) {
            return self.prepared_in_two(input, below, exprs);
        }
        let schema = Arc::new(Schema::new(exprs.iter().map(|expr| column_of(expr, below)).collect::<Result<Vec<Field>>>()?));
        let projection = scalars(exprs, below)?;
        Ok((self.map(input, None, projection, schema), (0..exprs.len()).collect()))
    }

    /// As `prepared`, with what is packed computed first: where it fails it is NULL and packed all the same.
    fn prepared_in_two(&mut self, input: Node, below: &DFSchema, exprs: &[Expr]) -> Result<(Node, Vec<usize>)> {
        let mut first = Columns::default();
        let mut place = |expr: &Expr| match pack::arguments(expr) {
            Some(args) => args.iter().map(|arg| first.place(arg)).collect(),
            None => vec![first.place(expr)],
        };
        let places: Vec<Vec<usize>> = exprs.iter().map(&mut place).collect();
        let (input, positions) = self.prepared(input, below, &first.exprs)?;
        let named = |(position, field): (usize, &Arc<Field>)| field.as_ref().clone().with_name(format!("c{position}"));
        let columns = Schema::new(input.schema.fields().iter().enumerate().map(named).collect::<Vec<_>>());
        let columns = DFSchema::try_from(columns).map_err(|error| from_datafusion(error, ""))?;
        let projection = exprs.iter().zip(&places).map(|(expr, places)| {
            let moved = places.iter().map(|place| Expr::Column(Column::new_unqualified(format!("c{}", positions[*place])))).collect();
            Ok(Scalar { text: expression_text(expr), ..scalar(&pack::over(expr, moved), &columns)? })
        });
        let projection = projection.collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(Schema::new(exprs.iter().map(|expr| column_of(expr, below)).collect::<Result<Vec<Field>>>()?));
        Ok((self.map(input, None, projection, schema), (0..exprs.len()).collect()))
    }
}

fn column_of(expr: &Expr, below: &DFSchema) -> Result<Field> {
    let (_, field) = expr.to_field(below).map_err(|error| from_datafusion(error, ""))?;
    Ok(nullable(&field, &expression_text(expr)))
}

/// DataFusion names keys after what they are for it.
fn with_keys_as_written(schema: &Schema, keys: &[&Expr]) -> Arc<Schema> {
    let named = |(at, field): (usize, &Arc<Field>)| match keys.get(at) {
        Some(key) => field.as_ref().clone().with_name(expression_text(key)),
        None => field.as_ref().clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().enumerate().map(named).collect::<Vec<_>>()))
}

fn is_computed(expr: &Expr) -> bool {
    !matches!(unaliased(expr), Expr::Column(_) | Expr::Literal(..))
}

/// Different expressions, each with its place.
#[derive(Default)]
struct Columns {
    exprs: Vec<Expr>,
}

impl Columns {
    fn place(&mut self, expr: &Expr) -> usize {
        let expr = unaliased(expr);
        self.exprs.iter().position(|known| known == expr).unwrap_or_else(|| {
            self.exprs.push(expr.clone());
            self.exprs.len() - 1
        })
    }
}
