//! `a[1]` and `a[1:2]`: subscripts count from 1, and what is outside is NULL, or not in the slice.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, ListArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::plan::table_functions::{element_of, list_array, no_such};

/// `subscript(array, index)`.
pub(super) fn subscript() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Access { slice: false, signature: Signature::user_defined(Volatility::Immutable) }))
}

/// `slice(array, from, to)`, both included.
pub(super) fn slice() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Access { slice: true, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Access {
    slice: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Access {
    fn name(&self) -> &'static str {
        if self.slice { "slice" } else { "subscript" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let element = element_of(&arguments[0]).ok_or_else(|| no_such(self.name(), arguments))?;
        let mut types = vec![DataType::List(Arc::clone(element))];
        types.extend(vec![DataType::Int64; arguments.len() - 1]);
        Ok(types)
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        match element_of(&arguments[0]) {
            Some(element) if !self.slice => Ok(element.data_type().clone()),
            _ => Ok(arguments[0].clone()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let list = &args.arg_fields[0];
        let field = if self.slice { Some(list) } else { element_of(list.data_type()) };
        let field = field.ok_or_else(|| no_such(self.name(), &[list.data_type().clone()]))?;
        Ok(Arc::new(field.as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let list = list_array(&args.args[0].to_array(rows)?)?;
        let bounds =
            args.args[1..].iter().map(|bound| Ok(cast(&bound.to_array(rows)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone()));
        let bounds = bounds.collect::<DataFusionResult<Vec<Int64Array>>>()?;
        match bounds.as_slice() {
            [index] => Ok(ColumnarValue::Array(elements(&list, index)?)),
            [from, to, ..] => Ok(ColumnarValue::Array(Arc::new(slices(&list, from, to)?))),
            [] => Err(no_such(self.name(), &[list.data_type().clone()])),
        }
    }
}

fn elements(list: &ListArray, index: &Int64Array) -> DataFusionResult<arrow::array::ArrayRef> {
    let places = (0..list.len()).map(|row| {
        let wanted = (list.is_valid(row) && index.is_valid(row)).then(|| index.value(row))?;
        let inside = (1..=i64::from(list.value_length(row))).contains(&wanted);
        inside.then(|| (i64::from(list.value_offsets()[row]) + wanted - 1) as u32)
    });
    Ok(take(list.values(), &places.collect::<UInt32Array>(), None)?)
}

fn slices(list: &ListArray, from: &Int64Array, to: &Int64Array) -> DataFusionResult<ListArray> {
    let (mut places, mut lengths, mut valid) = (Vec::new(), Vec::with_capacity(list.len()), Vec::with_capacity(list.len()));
    for row in 0..list.len() {
        let known = list.is_valid(row) && from.is_valid(row) && to.is_valid(row);
        let before = places.len();
        if known {
            let first = from.value(row).max(1) - 1;
            let end = to.value(row).min(i64::from(list.value_length(row)));
            places.extend((first..end).map(|place| (i64::from(list.value_offsets()[row]) + place) as u32));
        }
        lengths.push(places.len() - before);
        valid.push(known);
    }
    let values = take(list.values(), &UInt32Array::from(places), None)?;
    let element = element_of(list.data_type()).map(Arc::clone).ok_or_else(|| no_such("slice", &[list.data_type().clone()]))?;
    Ok(ListArray::try_new(element, OffsetBuffer::from_lengths(lengths), values, Some(NullBuffer::from(valid)))?)
}
