//! The aggregate that gathers the rows of its group and computes its result from all of them at the end.
//!
//! In: the arguments, and behind them the columns that the call orders by. Holds: the batches as they came. Its state is these columns as
//! lists, so that partial aggregates can be merged in any order; rows without an order are sorted by nothing, as in PostgreSQL.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};

use super::average::Average;
use super::compute::{Compute, sorted, sorted_by_keys};
use crate::plan::errors::external;
use crate::plan::functions::undefined_function;

/// A function that gathers rows.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Gather {
    name: &'static str,
    aliases: Vec<String>,
    compute: Compute,
    signature: Signature,
}

impl Gather {
    pub(super) fn new(name: &'static str, aliases: &[&str], compute: Compute) -> Self {
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        Gather { name, aliases, compute, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Gather {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.compute.argument_types(types).ok_or_else(|| external(undefined_function(self.name, types)))
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        let field = |data_type: &DataType| Arc::new(Field::new("", data_type.clone(), true));
        Ok(self.compute.result(self.name, &types.iter().map(field).collect::<Vec<_>>()).data_type().clone())
    }

    fn return_field(&self, arguments: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(self.compute.result(self.name, arguments))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let mut fields = args.expr_fields.to_vec();
        let mut order = Vec::new();
        if !self.compute.sorts_itself() {
            for sort in args.order_bys {
                fields.push(sort.expr.return_field(args.schema)?);
                order.push(sort.options);
            }
        }
        let descending = args.order_bys.first().is_some_and(|sort| sort.options.descending);
        let columns = vec![Vec::new(); fields.len()];
        let arguments = args.expr_fields.len();
        Ok(Box::new(Gathered { compute: self.compute, fields, arguments, order, descending, distinct: args.is_distinct, columns }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let ordering = if self.compute.sorts_itself() { &[] } else { args.ordering_fields };
        let list = |(index, field): (usize, &FieldRef)| {
            Arc::new(Field::new_list(format!("{}[{index}]", args.name), item(field.data_type()), true))
        };
        Ok(args.input_fields.iter().chain(ordering).enumerate().map(list).collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        if self.compute.sorts_itself() { AggregateOrderSensitivity::Insensitive } else { AggregateOrderSensitivity::Beneficial }
    }

    fn with_beneficial_ordering(self: Arc<Self>, _ordered: bool) -> DataFusionResult<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    /// A mean needs no more than a sum and a number, unless pairs count once.
    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let Compute::MeanOfPairs { argument } = self.compute else { return None };
        Some(Box::new(move |call, _| {
            let AggregateFunction { params, .. } = &call;
            let [first, second] = params.args.as_slice() else { return Ok(Expr::AggregateFunction(call)) };
            if params.distinct {
                return Ok(Expr::AggregateFunction(call));
            }
            let both = first.clone().is_not_null().and(second.clone().is_not_null());
            let counts = match &params.filter {
                Some(filter) => filter.as_ref().clone().and(both),
                None => both,
            };
            let mean = Arc::new(AggregateUDF::from(Average::new()));
            Ok(Expr::AggregateFunction(AggregateFunction::new_udf(
                mean,
                vec![params.args[argument].clone()],
                false,
                Some(Box::new(counts)),
                Vec::new(),
                None,
            )))
        }))
    }

    fn supports_within_group_clause(&self) -> bool {
        self.compute.within_group()
    }
}

/// The rows of one group.
#[derive(Debug)]
struct Gathered {
    compute: Compute,
    /// Of the arguments, then of the columns to order by.
    fields: Vec<FieldRef>,
    arguments: usize,
    order: Vec<SortOptions>,
    /// For functions that sort by themselves.
    descending: bool,
    distinct: bool,
    /// For each field the pieces as they came.
    columns: Vec<Vec<ArrayRef>>,
}

impl Gathered {
    fn whole(&self) -> DataFusionResult<Vec<ArrayRef>> {
        let whole = |(pieces, field): (&Vec<ArrayRef>, &FieldRef)| match pieces.as_slice() {
            [] => Ok(new_empty_array(field.data_type())),
            pieces => concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>()),
        };
        Ok(self.columns.iter().zip(&self.fields).map(whole).collect::<Result<_, _>>()?)
    }

    /// The arguments, in order and each once if the call says so.
    fn rows(&self) -> DataFusionResult<Vec<ArrayRef>> {
        let mut columns = self.whole()?;
        let rows = columns.first().map_or(0, |column| column.len());
        let keys = columns.split_off(self.arguments);
        let (arguments, fields) = (columns, &self.fields[..self.arguments]);
        let mut places: Vec<u32> = (0..rows as u32).collect();
        if !self.order.is_empty() {
            places = sorted_by_keys(&keys, &self.fields[self.arguments..], &self.order)?.0;
        }
        if self.distinct {
            // Of equal values the least by how they are kept.
            let ascending = vec![SortOptions { descending: false, nulls_first: false }; arguments.len()];
            let (_, keys) = sorted_by_keys(&arguments, fields, &ascending)?;
            let mut least = sorted(&arguments, fields, &ascending)?.0;
            least.sort_by_key(|place| keys.value(*place as usize));
            least.dedup_by_key(|place| keys.value(*place as usize));
            if self.order.is_empty() {
                places = least;
            } else {
                let of_key: HashMap<&[u8], u32> = least.iter().map(|place| (keys.value(*place as usize), *place)).collect();
                let mut seen = HashSet::new();
                places.retain(|place| seen.insert(keys.value(*place as usize)));
                places.iter_mut().for_each(|place| *place = of_key[keys.value(*place as usize)]);
            }
        }
        let places = UInt32Array::from(places);
        Ok(arguments.iter().map(|column| take(column, &places, None)).collect::<Result<_, _>>()?)
    }
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for (pieces, values) in self.columns.iter_mut().zip(values) {
            pieces.push(Arc::clone(values));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let rows = self.rows()?;
        self.compute.result_of(&rows, &self.fields[..self.arguments], self.descending)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.columns.iter().flatten().map(|piece| piece.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let list = |column: ArrayRef| {
            let offsets = OffsetBuffer::from_lengths([column.len()]);
            let field = Arc::new(item(column.data_type()));
            Ok(ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, column, None)?)))
        };
        self.whole()?.into_iter().map(list).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for (pieces, states) in self.columns.iter_mut().zip(states) {
            pieces.extend(states.as_list::<i32>().iter().flatten());
        }
        Ok(())
    }
}

fn item(data_type: &DataType) -> Field {
    Field::new_list_field(data_type.clone(), true)
}
