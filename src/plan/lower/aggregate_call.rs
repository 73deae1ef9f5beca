//! One aggregate call: what class the function is of, and the one column that its arguments become.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{AggregateFunction as LogicalAggregate, AggregateFunctionParams, NullTreatment};
use datafusion::logical_expr::{AggregateUDF, Expr, ExprSchemable, SortExpr};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ColumnarValue;

use super::{cast, nullable, one_row};
use crate::error::{Error, Kind, Result};
use crate::plan::aggregates::moments::moment;
use crate::plan::aggregates::{BIGINT, gathers};
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::{expression_text, physical};
use crate::plan::general::GeneralAggregate;
use crate::plan::names::visible;
use crate::plan::node::{AggregateFunction, PackedColumn};
use crate::plan::pack::{all_or_null, packed};
use crate::types::PackedRows;

/// How rows are sorted where the call does not say: the arguments ascending, NULL last.
const ASCENDING: SortOptions = SortOptions { descending: false, nulls_first: false };

/// One aggregate call before its argument has a position.
pub(super) struct Call {
    pub(super) function: AggregateFunction,
    pub(super) argument: Option<Expr>,
    pub(super) distinct: bool,
    pub(super) filter: Option<Expr>,
    pub(super) result: DataType,
    pub(super) text: String,
}

/// What a function's name and arguments say.
type FunctionAndArgument = (AggregateFunction, Option<Expr>);

pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// The call that an expression of an aggregate is.
pub(super) fn call(expr: &Expr, result: &DataType, below: &DFSchema) -> Result<Call> {
    let Expr::AggregateFunction(LogicalAggregate { func, params }) = unaliased(expr) else {
        return Err(Error::internal(format!("not an aggregate: {expr}")));
    };
    let request = Request { func, params, text: call_text(func, params), result, below };
    let (function, argument) = match request.linear()? {
        Some(found) => found,
        None => match request.ordered()? {
            Some(found) => found,
            None => request.general()?,
        },
    };
    use AggregateFunction::{Avg, BitXor, Count, Moment, Sum};
    let counts_each = matches!(function, Count | Sum | Avg | BitXor | Moment(_));
    Ok(Call {
        distinct: params.distinct && counts_each && argument.is_some(),
        function,
        argument,
        filter: params.filter.as_deref().cloned(),
        result: result.clone(),
        text: request.text,
    })
}

/// A call that is to be classed.
struct Request<'a> {
    func: &'a Arc<AggregateUDF>,
    params: &'a AggregateFunctionParams,
    text: String,
    result: &'a DataType,
    below: &'a DFSchema,
}

/// Columns that become packed rows.
#[derive(Default)]
struct Packing {
    exprs: Vec<Expr>,
    fields: Vec<FieldRef>,
    directions: Vec<SortOptions>,
}

impl Request<'_> {
    fn args(&self) -> &[Expr] {
        &self.params.args
    }

    fn type_of(&self, expr: &Expr) -> Result<DataType> {
        expr.get_type(self.below).map_err(|error| from_datafusion(error, ""))
    }

    /// A function that is maintained by adding and taking away.
    fn linear(&self) -> Result<Option<FunctionAndArgument>> {
        let name = self.func.name();
        if let Some(moment) = moment(name) {
            return Ok(match self.args() {
                [only] => Some((AggregateFunction::Moment(moment), Some(only.clone()))),
                both => Some((AggregateFunction::Moment(moment), Some(all_or_null(both.to_vec())))),
            });
        }
        if name == "count" {
            let argument = match self.args() {
                [] => None,
                // count(*) arrives as count(1). DISTINCT, a constant is one value.
                [Expr::Literal(value, _)] if !value.is_null() && !self.params.distinct => None,
                [only] => Some(only.clone()),
                several => Some(all_or_null(several.to_vec())),
            };
            return Ok(Some((AggregateFunction::Count, argument)));
        }
        let [argument] = self.args() else { return Ok(None) };
        Ok(match name {
            "sum" => self.summed(AggregateFunction::Sum, argument)?,
            "avg" => self.summed(AggregateFunction::Avg, argument)?,
            "bool_and" => Some((AggregateFunction::BoolAnd, Some(argument.clone()))),
            "bool_or" => Some((AggregateFunction::BoolOr, Some(argument.clone()))),
            "bit_xor" if self.type_of(argument)?.is_integer() => Some((AggregateFunction::BitXor, Some(argument.clone()))),
            _ => None,
        })
    }

    /// The argument of a sum or average in the type that the aggregate computes with; other types are general.
    fn summed(&self, function: AggregateFunction, argument: &Expr) -> Result<Option<FunctionAndArgument>> {
        let found = self.type_of(argument)?;
        let argument = match self.result {
            wanted @ (DataType::Int64 | DataType::Float64) if found != *wanted => {
                cast(argument.clone(), Field::new("", wanted.clone(), true))
            }
            DataType::Int64 | DataType::Float64 => argument.clone(),
            DataType::Decimal128(..) | DataType::Decimal256(..) if found.is_decimal() => match argument {
                // The sum of bigints is a numeric; what is added stays a bigint. Another numeric has a scale, or fewer digits.
                Expr::Cast(whole) if found == BIGINT && self.type_of(&whole.expr)?.is_signed_integer() => {
                    cast(whole.expr.as_ref().clone(), Field::new("", DataType::Int64, true))
                }
                _ => argument.clone(),
            },
            _ => return Ok(None),
        };
        Ok(Some((function, Some(argument))))
    }

    /// A function that picks the first or the last of the group.
    fn ordered(&self) -> Result<Option<FunctionAndArgument>> {
        let ignores_nulls = self.params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let order = self.params.order_by.as_slice();
        match (self.func.name(), self.args()) {
            ("min", [argument]) if is_plain(&self.type_of(argument)?) => Ok(Some((AggregateFunction::Min, Some(argument.clone())))),
            ("max", [argument]) if is_plain(&self.type_of(argument)?) => Ok(Some((AggregateFunction::Max, Some(argument.clone())))),
            ("min" | "any_value", [_]) => self.picked(&[], true, AggregateFunction::First),
            ("max", [_]) => self.picked(&[], true, AggregateFunction::Last),
            ("first_value", [_]) => self.picked(order, ignores_nulls, AggregateFunction::First),
            ("last_value", [_]) => self.picked(order, ignores_nulls, AggregateFunction::Last),
            ("arg_min", [_, by]) => self.picked(&[by.clone().sort(true, false)], true, AggregateFunction::First),
            ("arg_max", [_, by]) => self.picked(&[by.clone().sort(true, false)], true, AggregateFunction::Last),
            _ => Ok(None),
        }
    }

    /// The first argument in the first or last row by `order`, then by the arguments. `no_nulls`: rows with NULL in one do not count.
    fn picked(
        &self,
        order: &[SortExpr],
        no_nulls: bool,
        function: impl Fn(PackedColumn) -> AggregateFunction,
    ) -> Result<Option<FunctionAndArgument>> {
        let mut packing = Packing::default();
        packing.sorts(order, self.below)?;
        let columns = self.args().iter().map(|argument| packing.place(argument, ASCENDING, self.below)).collect::<Result<Vec<_>>>()?;
        let column = columns[0];
        let rows = Arc::new(PackedRows::new(packing.fields, packing.directions)?);
        let argument = packed(&rows, packing.exprs, if no_nulls { columns } else { Vec::new() });
        Ok(Some((function(PackedColumn { rows, column }), Some(argument))))
    }

    /// Any other function, from the group's rows.
    fn general(&self) -> Result<FunctionAndArgument> {
        let AggregateFunctionParams { order_by, distinct, null_treatment, .. } = self.params;
        // WITHIN GROUP says which column is meant and what is up; the functions sort by themselves.
        let within_group = self.func.inner().supports_within_group_clause();
        let mut packing = Packing::default();
        if !within_group {
            packing.sorts(order_by, self.below)?;
        }
        let sorted = packing.exprs.len();
        let args = self.args().iter().map(|argument| packing.argument(argument, self.below)).collect::<Result<Vec<_>>>()?;
        if *distinct && packing.exprs[..sorted].iter().any(|expr| !self.args().iter().any(|argument| unaliased(argument) == expr)) {
            let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(Error::new(Kind::InvalidColumnReference, message));
        }
        let by_itself = *distinct && gathers(self.func);
        let mut order = Vec::new();
        for (number, sort) in order_by.iter().enumerate().filter(|_| within_group || by_itself) {
            let expr = if by_itself { packing.argument(&sort.expr, self.below)? } else { Arc::clone(&args[number.min(args.len() - 1)]) };
            order.push(PhysicalSortExpr { expr, options: direction(sort) });
        }
        let rows = Arc::new(PackedRows::new(packing.fields, packing.directions)?);
        let expression = AggregateExprBuilder::new(Arc::clone(self.func), args.clone())
            .schema(Arc::clone(rows.schema()))
            .alias(&self.text)
            .order_by(order)
            .with_distinct(by_itself)
            .with_ignore_nulls(*null_treatment == Some(NullTreatment::IgnoreNulls))
            .build()
            .map_err(|error| from_datafusion(error, ""))?;
        let general = GeneralAggregate::new(Arc::clone(&rows), expression, *distinct, in_place(self.func.name(), *distinct))?;
        Ok((AggregateFunction::General(Arc::new(general)), Some(packed(&rows, packing.exprs, Vec::new()))))
    }
}

impl Packing {
    /// The columns that rows are sorted by.
    fn sorts(&mut self, order: &[SortExpr], below: &DFSchema) -> Result<()> {
        for sort in order.iter().filter(|sort| !sort.expr.column_refs().is_empty()) {
            self.place(&sort.expr, direction(sort), below)?;
        }
        Ok(())
    }

    /// The column of an expression; a new one behind the others if there is none yet.
    fn place(&mut self, expr: &Expr, direction: SortOptions, below: &DFSchema) -> Result<usize> {
        let expr = unaliased(expr);
        if let Some(known) = self.exprs.iter().position(|known| known == expr) {
            return Ok(known);
        }
        let (_, field) = expr.to_field(below).map_err(|error| from_datafusion(error, ""))?;
        self.fields.push(Arc::new(nullable(&field, visible(field.name()))));
        self.exprs.push(expr.clone());
        self.directions.push(direction);
        Ok(self.exprs.len() - 1)
    }

    /// An argument over the packed columns: one of them, or a constant, which accumulators want to see as such.
    fn argument(&mut self, expr: &Expr, below: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        if expr.column_refs().is_empty() {
            let value = physical(expr, below).and_then(|constant| constant.evaluate(&one_row()));
            let value = value.map_err(|error| from_datafusion(error, ""))?;
            if let ColumnarValue::Scalar(value) = value {
                return Ok(Arc::new(Literal::new(value)));
            }
        }
        let column = self.place(expr, ASCENDING, below)?;
        Ok(Arc::new(PhysicalColumn::new(self.fields[column].name(), column)))
    }
}

fn direction(sort: &SortExpr) -> SortOptions {
    SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first }
}

/// Types of which the least and greatest value are kept as they are.
fn is_plain(data_type: &DataType) -> bool {
    let text = matches!(data_type, DataType::Utf8 | DataType::Binary);
    text || (data_type.is_primitive() && *data_type != DataType::Interval(arrow::datatypes::IntervalUnit::DayTime))
        || *data_type == DataType::Boolean
}

/// Functions whose accumulator may be kept where rows only come: the order of rows means nothing to them (or next to nothing, to a
/// sketch), and they keep less than the rows.
fn in_place(name: &str, distinct: bool) -> bool {
    match name {
        "approx_distinct" | "bit_and" | "bit_or" => true,
        "approx_percentile_cont" | "approx_percentile_cont_with_weight" | "approx_median" => !distinct,
        _ => false,
    }
}

/// The call as SQL has it, by the function's own name.
fn call_text(func: &AggregateUDF, params: &AggregateFunctionParams) -> String {
    let within_group = func.inner().supports_within_group_clause() && !params.order_by.is_empty();
    let star = func.name() == "count" && !params.distinct && matches!(params.args.as_slice(), [] | [Expr::Literal(..)]);
    let arguments = params.args.iter().skip(usize::from(within_group)).map(expression_text).collect::<Vec<_>>().join(", ");
    let mut text = format!("{}({}", func.name(), if params.distinct { "DISTINCT " } else { "" });
    text.push_str(if star { "*" } else { &arguments });
    let order = params.order_by.iter().map(|sort| {
        let direction = if sort.asc { "" } else { " DESC" };
        // PostgreSQL's default is not worth a word.
        let nulls = match (sort.asc, sort.nulls_first) {
            (true, true) => " NULLS FIRST",
            (false, false) => " NULLS LAST",
            _ => "",
        };
        format!("{}{direction}{nulls}", expression_text(&sort.expr))
    });
    let order = order.collect::<Vec<_>>().join(", ");
    match (order.is_empty(), within_group) {
        (true, _) => text.push(')'),
        (false, true) => text.push_str(&format!(") WITHIN GROUP (ORDER BY {order})")),
        (false, false) => text.push_str(&format!(" ORDER BY {order})")),
    }
    if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        text.push_str(" IGNORE NULLS");
    }
    if let Some(filter) = &params.filter {
        text.push_str(&format!(" FILTER (WHERE {})", expression_text(filter)));
    }
    text
}
