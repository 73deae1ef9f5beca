//! Aggregates over frames that rows leave, for functions from which nothing can be taken away: the rows of the frame are kept, and read again
//! for every result.
//!
//! DataFusion refuses such frames. Here a function is itself as long as rows only enter, or if it can let them go; else a result costs as much
//! as its frame is long.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

/// A function that can be computed over every frame; in all else itself.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Replayed(pub(super) Arc<AggregateUDF>);

impl AggregateUDFImpl for Replayed {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> DataFusionResult<String> {
        self.0.window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> DataFusionResult<String> {
        self.0.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.0.return_type(types)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> DataFusionResult<FieldRef> {
        self.0.return_field(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.0.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        self.0.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let call = Call::new(Arc::clone(&self.0), &args);
        let sliding = self.0.create_sliding_accumulator(args)?;
        if sliding.supports_retract_batch() {
            return Ok(sliding);
        }
        Ok(Box::new(Frame { call, pieces: VecDeque::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }

    /// Rows are read in the order of the window, whatever the function makes of another one.
    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::NotSupported
    }

    fn default_value(&self, data_type: &DataType) -> DataFusionResult<ScalarValue> {
        self.0.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.0.supports_null_handling_clause()
    }
}

/// A call, from which any number of accumulators can be made.
#[derive(Debug)]
struct Call {
    function: Arc<AggregateUDF>,
    return_field: FieldRef,
    schema: SchemaRef,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Call {
    fn new(function: Arc<AggregateUDF>, args: &AccumulatorArgs) -> Self {
        Call {
            function,
            return_field: FieldRef::clone(&args.return_field),
            schema: Arc::new(args.schema.clone()),
            ignore_nulls: args.ignore_nulls,
            order_bys: args.order_bys.to_vec(),
            is_reversed: args.is_reversed,
            name: args.name.to_owned(),
            is_distinct: args.is_distinct,
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.to_vec(),
        }
    }

    fn accumulator(&self) -> DataFusionResult<Box<dyn Accumulator>> {
        self.function.accumulator(AccumulatorArgs {
            return_field: FieldRef::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

/// The rows of one frame, as they came.
#[derive(Debug)]
struct Frame {
    call: Call,
    pieces: VecDeque<Vec<ArrayRef>>,
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        if values.first().is_some_and(|column| !column.is_empty()) {
            self.pieces.push_back(values.to_vec());
        }
        Ok(())
    }

    /// Rows leave in the order in which they came.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let mut leaving = values.first().map_or(0, |column| column.len());
        while leaving > 0
            && let Some(mut piece) = self.pieces.pop_front()
        {
            let rows = piece.first().map_or(0, |column| column.len());
            if rows > leaving {
                piece.iter_mut().for_each(|column| *column = column.slice(leaving, rows - leaving));
                self.pieces.push_front(piece);
            }
            leaving = leaving.saturating_sub(rows);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let mut accumulator = self.call.accumulator()?;
        for piece in &self.pieces {
            accumulator.update_batch(piece)?;
        }
        accumulator.evaluate()
    }

    fn size(&self) -> usize {
        let held = self.pieces.iter().flatten().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default());
        size_of_val(self) + held.sum::<usize>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let mut accumulator = self.call.accumulator()?;
        for piece in &self.pieces {
            accumulator.update_batch(piece)?;
        }
        accumulator.state()
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> DataFusionResult<()> {
        Err(datafusion::error::DataFusionError::Internal("frames are not merged".to_owned()))
    }
}
