//! Float aggregates over window frames, which rows enter and leave: from sums without rounding.
//!
//! DataFusion's accumulators take a row that leaves the frame away from a rounded sum: after a NaN, an infinity or one large number every later
//! frame is wrong, and the last digits tell what has passed by. These give what the rows of the frame come to, and nothing else: for queries
//! and views alike, wherever in a partition a view begins to compute.
//!
//! ```text
//! state   one list of doubles: rows, then for each sum: NaNs, infinities up and down, its parts, the parts of what is huge
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name, merge_schema};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, ExprSchemable, LogicalPlan, ReversedUDAF, Signature, WindowFunctionDefinition,
};

use super::moments::{MomentTotals, moment};
use super::replayed::Replayed;
use crate::plan::node::Moment;
use crate::plan::walk::{WalkPlan, WalkTree};
use crate::types::{ExactSum, FloatSum};

/// From here on a square times a count might leave the range of doubles: such a value counts as infinite, as in views' aggregates.
const HUGE_SQUARE: f64 = 1e140;

/// What is computed from the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    Sum,
    Average,
    Moment(Moment),
}

/// One of DataFusion's float aggregates, computed as this file says; in all else itself.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::plan) struct Framed {
    inner: Arc<AggregateUDF>,
    function: Function,
}

/// The plan with its float aggregates over window frames computed from exact sums, in subqueries too.
pub(in crate::plan) fn exact_frames(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let exact = plan.change_all_up(|node| {
        if !matches!(node, LogicalPlan::Window(_)) {
            return Ok(Transformed::no(node));
        }
        let schema = merge_schema(&node.inputs());
        node.change_expressions(|expr| {
            expr.change_up(|inner| match inner {
                Expr::WindowFunction(call) => framed(*call, &schema),
                other => Ok(Transformed::no(other)),
            })
        })
    });
    exact.map(|done| done.data)
}

fn framed(mut call: WindowFunction, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let types = call.params.args.iter().map(|argument| argument.get_type(schema)).collect::<DataFusionResult<Vec<_>>>()?;
    let exact = match &call.fun {
        WindowFunctionDefinition::AggregateUDF(inner) if !call.params.distinct => exact_function(inner, &types),
        _ => None,
    };
    let Some(exact) = exact else { return Ok(replayed(call)) };
    call.fun = WindowFunctionDefinition::AggregateUDF(exact);
    Ok(Transformed::yes(Expr::from(call)))
}

/// The function computed from exact sums, if it is an aggregate of floats for which there is that.
pub(in crate::plan) fn exact_function(inner: &Arc<AggregateUDF>, types: &[DataType]) -> Option<Arc<AggregateUDF>> {
    let function = function(inner.name()).filter(|_| types.iter().all(DataType::is_floating))?;
    Some(Arc::new(AggregateUDF::from(Framed { inner: Arc::clone(inner), function })))
}

/// The call, if rows leave its frames, with a function that can be computed over them.
fn replayed(mut call: WindowFunction) -> Transformed<Expr> {
    let slides = !call.params.window_frame.start_bound.is_unbounded();
    match &call.fun {
        WindowFunctionDefinition::AggregateUDF(inner) if slides && inner.inner().downcast_ref::<Replayed>().is_none() => {
            let replayed = AggregateUDF::from(Replayed(Arc::clone(inner)));
            call.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(replayed));
            Transformed::yes(Expr::from(call))
        }
        _ => Transformed::no(Expr::from(call)),
    }
}

fn function(name: &str) -> Option<Function> {
    match name {
        "sum" => Some(Function::Sum),
        "avg" => Some(Function::Average),
        // A count is exact already.
        _ => moment(name).filter(|moment| *moment != Moment::Pairs).map(Function::Moment),
    }
}

impl AggregateUDFImpl for Framed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> DataFusionResult<String> {
        self.inner.window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> DataFusionResult<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> DataFusionResult<FieldRef> {
        self.inner.return_field(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        Ok(Box::new(Sums::new(self.function, args.expr_fields.len() == 2, args.return_field.data_type().clone())))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new_list(format_state_name(args.name, "sums"), Field::new_list_field(DataType::Float64, true), true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn default_value(&self, data_type: &DataType) -> DataFusionResult<ScalarValue> {
        self.inner.default_value(data_type)
    }
}

fn write_sum(sum: &FloatSum, output: &mut Vec<f64>) {
    output.extend(sum.specials.map(|count| count as f64));
    write_parts(&sum.modest, output);
    write_parts(&sum.huge, output);
}

fn merge_sum(sum: &mut FloatSum, input: &mut impl Iterator<Item = f64>) {
    for count in &mut sum.specials {
        *count += input.next().unwrap_or(0.0) as i64;
    }
    merge_parts(&mut sum.modest, input);
    merge_parts(&mut sum.huge, input);
}

fn write_parts(sum: &ExactSum, output: &mut Vec<f64>) {
    output.push(sum.parts().len() as f64);
    output.extend_from_slice(sum.parts());
}

fn merge_parts(sum: &mut ExactSum, input: &mut impl Iterator<Item = f64>) {
    let parts = input.next().unwrap_or(0.0) as usize;
    input.take(parts).for_each(|part| sum.add(part));
}

/// The rows of one frame, as sums.
#[derive(Debug)]
struct Sums {
    function: Function,
    result: DataType,
    rows: f64,
    /// Of each argument.
    values: Vec<FloatSum>,
    /// For moments: the squares of each argument; of two, the products behind them. Only of values that are neither huge nor infinite.
    products: Vec<ExactSum>,
}

impl Sums {
    fn new(function: Function, pairs: bool, result: DataType) -> Self {
        let arguments = if pairs { 2 } else { 1 };
        let products = match function {
            Function::Moment(_) if pairs => 3,
            Function::Moment(_) => 1,
            Function::Sum | Function::Average => 0,
        };
        let values = (0..arguments).map(|_| FloatSum::default()).collect();
        Sums { function, result, rows: 0.0, values, products: vec![ExactSum::default(); products] }
    }

    fn add(&mut self, arguments: &[ArrayRef], sign: f64) -> DataFusionResult<()> {
        let columns = arguments.iter().take(self.values.len()).map(|values| Ok(cast(values, &DataType::Float64)?));
        let columns: Vec<ArrayRef> = columns.collect::<DataFusionResult<_>>()?;
        let columns: Vec<&Float64Array> = columns.iter().map(|values| values.as_primitive::<Float64Type>()).collect();
        for row in 0..columns.first().map_or(0, |values| values.len()) {
            if columns.iter().all(|values| values.is_valid(row)) {
                let value = |number: usize| columns.get(number).map_or(0.0, |values| values.value(row));
                self.add_row([value(0), value(1)], sign);
            }
        }
        Ok(())
    }

    fn add_row(&mut self, mut row: [f64; 2], sign: f64) {
        self.rows += sign;
        if let Function::Moment(_) = self.function {
            for value in row.iter_mut().filter(|value| value.abs() >= HUGE_SQUARE) {
                *value = f64::INFINITY.copysign(*value);
            }
            let ordinary = row.map(f64::is_finite);
            for number in (0..self.values.len()).filter(|number| ordinary[*number]) {
                self.products[number].add_product(row[number], row[number] * sign);
            }
            if let ([true, true], Some(both)) = (ordinary, self.products.get_mut(2)) {
                both.add_product(row[0], row[1] * sign);
            }
        }
        self.values.iter_mut().zip(row).for_each(|(total, value)| total.add(value, sign as i64));
    }

    fn totals(&self) -> MomentTotals {
        let spread = |product: usize, left: usize, right: usize| match (self.values.get(left), self.values.get(right)) {
            (Some(left), Some(right)) if left.is_finite() && right.is_finite() => {
                ExactSum::spread(self.rows, &self.products[product], &left.modest, &right.modest)
            }
            _ => f64::NAN,
        };
        // Below zero only where squares underflow; `max` would lose a NaN.
        let squares = |number: usize| match spread(number, number, number) {
            below if below < 0.0 => 0.0,
            spread => spread,
        };
        MomentTotals {
            rows: self.rows,
            first: self.values[0].value(),
            first_spread: squares(0),
            second: self.values.get(1).map_or(0.0, FloatSum::value),
            second_spread: squares(1),
            spread: spread(2, 0, 1),
        }
    }
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(values, 1.0)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(values, -1.0)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let result = match self.function {
            _ if self.rows <= 0.0 => None,
            Function::Sum => Some(self.values[0].value()),
            Function::Average => Some(self.values[0].value() / self.rows),
            Function::Moment(moment) => self.totals().result(moment),
        };
        ScalarValue::Float64(result).cast_to(&self.result)
    }

    fn size(&self) -> usize {
        let parts = self.values.iter().map(|total| total.modest.parts().len() + total.huge.parts().len()).sum::<usize>();
        let products = self.products.iter().map(|sum| sum.parts().len()).sum::<usize>();
        size_of_val(self)
            + size_of_val(self.values.as_slice())
            + size_of_val(self.products.as_slice())
            + (parts + products) * size_of::<f64>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let mut state = vec![self.rows];
        self.values.iter().for_each(|total| write_sum(total, &mut state));
        self.products.iter().for_each(|sum| write_parts(sum, &mut state));
        let state: Vec<ScalarValue> = state.into_iter().map(ScalarValue::from).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&state, &DataType::Float64))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let lists = states.first().and_then(|states| states.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| DataFusionError::Internal("the state of an exact sum is no list".to_owned()))?;
        for list in lists.iter().flatten() {
            let mut input = list.as_primitive::<Float64Type>().values().iter().copied();
            self.rows += input.next().unwrap_or(0.0);
            self.values.iter_mut().for_each(|total| merge_sum(total, &mut input));
            self.products.iter_mut().for_each(|sum| merge_parts(sum, &mut input));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array};
    use arrow::datatypes::DataType;
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::Accumulator;

    use super::{Function, Sums};
    use crate::plan::node::Moment;

    const VALUES: [f64; 14] =
        [1.0, f64::INFINITY, 3.0, 4.0, f64::NAN, 1e20, 1.0, 1.0, f64::NEG_INFINITY, 1e300, 1.7e308, 1.7e308, -1.7e308, 0.1];

    fn column(values: &[f64]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn columns(values: &[f64], pairs: bool) -> Vec<ArrayRef> {
        let others: Vec<f64> = values.iter().map(|value| value / 3.0 + 1.0).collect();
        if pairs { vec![column(values), column(&others)] } else { vec![column(values)] }
    }

    fn bits(value: &ScalarValue) -> Option<u64> {
        match value {
            ScalarValue::Float64(value) => value.map(|value| if value.is_nan() { u64::MAX } else { value.to_bits() }),
            other => panic!("{other} is no double"),
        }
    }

    #[test]
    fn a_frame_depends_on_its_rows_and_not_on_those_that_have_left() {
        for (function, pairs) in [
            (Function::Sum, false),
            (Function::Average, false),
            (Function::Moment(Moment::VarianceSample), false),
            (Function::Moment(Moment::DeviationPopulation), false),
            (Function::Moment(Moment::CovarianceSample), true),
            (Function::Moment(Moment::Correlation), true),
            (Function::Moment(Moment::Slope), true),
        ] {
            let sums = || Sums::new(function, pairs, DataType::Float64);
            for width in 1..4 {
                let mut sliding = sums();
                for end in 0..VALUES.len() {
                    sliding.update_batch(&columns(&VALUES[end..=end], pairs)).unwrap();
                    if let Some(gone) = end.checked_sub(width) {
                        sliding.retract_batch(&columns(&VALUES[gone..=gone], pairs)).unwrap();
                    }
                    let frame = &VALUES[(end + 1).saturating_sub(width)..=end];
                    let mut whole = sums();
                    whole.update_batch(&columns(frame, pairs)).unwrap();
                    let wanted = whole.evaluate().unwrap();
                    assert_eq!(bits(&sliding.evaluate().unwrap()), bits(&wanted), "{function:?} over {frame:?}");
                    let mut merged = sums();
                    let state = sliding.state().unwrap().remove(0).to_array().unwrap();
                    merged.merge_batch(&[state]).unwrap();
                    assert_eq!(bits(&merged.evaluate().unwrap()), bits(&wanted), "{function:?} over {frame:?}, merged");
                }
            }
        }
    }

    #[test]
    fn finite_values_do_not_overflow_on_the_way() {
        let mut sums = Sums::new(Function::Sum, false, DataType::Float64);
        sums.update_batch(&[column(&[1.7e308, 1.7e308, -1.7e308, 5.0])]).unwrap();
        assert_eq!(sums.evaluate().unwrap(), ScalarValue::Float64(Some(1.7e308)));
        sums.retract_batch(&[column(&[1.7e308])]).unwrap();
        assert_eq!(sums.evaluate().unwrap(), ScalarValue::Float64(Some(5.0)));
    }
}
