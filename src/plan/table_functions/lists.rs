//! Lists from lists: what `unnest` takes apart, the numbers of the elements (`WITH ORDINALITY`), and `generate_subscripts`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::error::{Error, Kind};
use crate::plan::casts::name_of_arguments;
use crate::plan::errors::external;
use crate::plan::functions::undefined_function;

/// The name of the function behind `unnest`.
pub(super) const ELEMENTS: &str = "elements";

/// The name of the function behind `WITH ORDINALITY`.
pub(super) const ORDINALS: &str = "ordinals";

/// The name of the function behind `generate_subscripts`.
pub(super) const SUBSCRIPTS: &str = "generate_subscripts";

/// `elements(array)`: all elements, those of arrays within it too.
pub(super) fn elements() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Elements { signature: Signature::any(1, Volatility::Volatile) }))
}

/// `ordinals(list, …)`: 1, 2, … up to the length of the longest.
pub(super) fn ordinals() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Ordinals { signature: Signature::variadic_any(Volatility::Volatile) }))
}

/// `generate_subscripts(array, dimension [, reverse])`.
pub(super) fn subscripts() -> Arc<ScalarUDF> {
    let signature = Signature::one_of(vec![TypeSignature::Any(2), TypeSignature::Any(3)], Volatility::Volatile);
    Arc::new(ScalarUDF::from(Subscripts { signature }))
}

/// `function name(types) does not exist`.
pub(in crate::plan) fn no_such(name: &str, arguments: &[DataType]) -> DataFusionError {
    let error = undefined_function(name, arguments);
    let hint = "No function matches the given name and argument types. You might need to add explicit type casts.";
    external(error.hint(hint))
}

/// The elements' field of an array type.
pub(in crate::plan) fn element_of(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) | DataType::ListView(element) => {
            Some(element)
        }
        _ => None,
    }
}

/// An array column with 32-bit offsets.
pub(in crate::plan) fn list_array(array: &ArrayRef) -> DataFusionResult<ListArray> {
    let element = element_of(array.data_type()).ok_or_else(|| DataFusionError::Internal(format!("{} is no list", array.data_type())))?;
    let list = cast(array, &DataType::List(Arc::clone(element)))?;
    Ok(list.as_list::<i32>().clone())
}

/// Elements of each row, as a list column.
pub(super) fn list_column(lengths: impl Iterator<Item = usize>, element: FieldRef, values: ArrayRef) -> DataFusionResult<ColumnarValue> {
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    Ok(ColumnarValue::Array(Arc::new(ListArray::try_new(element, offsets, values, None)?)))
}

/// A row has more elements than fit.
pub(super) fn too_many() -> DataFusionError {
    let error = Error::new(Kind::LimitExceeded, "a set-returning function gives too many rows at once");
    external(error.hint("Split the series into several."))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Elements {
    signature: Signature,
}

impl ScalarUDFImpl for Elements {
    fn name(&self) -> &'static str {
        ELEMENTS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let mut innermost = element_of(&arguments[0]).ok_or_else(|| no_such("unnest", arguments))?;
        while let Some(inner) = element_of(innermost.data_type()) {
            innermost = inner;
        }
        Ok(DataType::List(Arc::clone(innermost)))
    }

    /// That of the `unnest` which it stands in.
    fn schema_name(&self, args: &[datafusion::logical_expr::Expr]) -> DataFusionResult<String> {
        Ok(name_of_arguments(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(ColumnarValue::Array(Arc::new(flat_list(&args.args[0].to_array(args.number_rows)?)?)))
    }
}

/// An array column with 32-bit offsets and no arrays in its arrays: their elements stand one after the other.
pub(in crate::plan) fn flat_list(array: &ArrayRef) -> DataFusionResult<ListArray> {
    let mut list = list_array(array)?;
    while element_of(&list.value_type()).is_some() {
        list = flat(&list)?;
    }
    Ok(list)
}

/// The elements of the inner lists, one after the other.
fn flat(list: &ListArray) -> DataFusionResult<ListArray> {
    let inner = list_array(list.values())?;
    let element = element_of(inner.data_type()).map(Arc::clone).ok_or_else(too_many)?;
    if inner.null_count() == 0 && list.null_count() == 0 {
        // The inner lists follow each other without gaps.
        let offsets: Vec<i32> = list.value_offsets().iter().map(|offset| inner.value_offsets()[*offset as usize]).collect();
        return Ok(ListArray::try_new(element, OffsetBuffer::new(offsets.into()), Arc::clone(inner.values()), None)?);
    }
    let (mut positions, mut lengths) = (Vec::new(), Vec::with_capacity(list.len()));
    for row in 0..list.len() {
        let before = positions.len();
        if list.is_valid(row) {
            let (from, to) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
            for at in (from..to).filter(|at| inner.is_valid(*at)) {
                positions.extend(inner.value_offsets()[at]..inner.value_offsets()[at + 1]);
            }
        }
        lengths.push(positions.len() - before);
    }
    let values = arrow::compute::take(inner.values(), &Int32Array::from(positions), None)?;
    Ok(ListArray::try_new(element, OffsetBuffer::from_lengths(lengths), values, list.nulls().cloned())?)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ordinals {
    signature: Signature,
}

impl ScalarUDFImpl for Ordinals {
    fn name(&self) -> &'static str {
        ORDINALS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::new_list(DataType::Int64, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let lists = args.args.iter().map(|list| list_array(&list.to_array(args.number_rows)?)).collect::<DataFusionResult<Vec<_>>>()?;
        let length = |list: &ListArray, row: usize| if list.is_null(row) { 0 } else { list.value_length(row) };
        let lengths: Vec<i32> = (0..args.number_rows).map(|row| lists.iter().map(|list| length(list, row)).max().unwrap_or(0)).collect();
        let values: Int64Array = lengths.iter().flat_map(|length| 1..=i64::from(*length)).map(Some).collect();
        let element = Arc::new(Field::new_list_field(DataType::Int64, true));
        list_column(lengths.iter().map(|length| *length as usize), element, Arc::new(values))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Subscripts {
    signature: Signature,
}

impl ScalarUDFImpl for Subscripts {
    fn name(&self) -> &'static str {
        SUBSCRIPTS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let integer = |data_type: &DataType| data_type.is_integer() || data_type.is_null();
        let fits = element_of(&arguments[0]).is_some()
            && integer(&arguments[1])
            && arguments.get(2).is_none_or(|reverse| matches!(reverse, DataType::Boolean | DataType::Null));
        if fits { Ok(DataType::new_list(DataType::Int32, true)) } else { Err(no_such(SUBSCRIPTS, arguments)) }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(SUBSCRIPTS, self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let list = args.args[0].to_array(rows)?;
        let dimensions = cast(&args.args[1].to_array(rows)?, &DataType::Int64)?;
        let dimensions = dimensions.as_primitive::<arrow::datatypes::Int64Type>();
        let reverse = args.args.get(2).map(|reverse| cast(&reverse.to_array(rows)?, &DataType::Boolean)).transpose()?;
        let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let backwards = reverse.as_ref().map(|reverse| reverse.as_boolean()).map(|flags| flags.is_valid(row).then(|| flags.value(row)));
            let known = dimensions.is_valid(row) && backwards != Some(None);
            let length = if known { extent(&list, row, dimensions.value(row))? } else { 0 };
            match backwards {
                Some(Some(true)) => values.extend((1..=length as i32).rev()),
                _ => values.extend(1..=length as i32),
            }
            lengths.push(length);
        }
        let element = Arc::new(Field::new_list_field(DataType::Int32, true));
        list_column(lengths.into_iter(), element, Arc::new(Int32Array::from(values)))
    }
}

/// How many elements an array has in a dimension; 0 where it has no such dimension.
fn extent(array: &ArrayRef, row: usize, dimension: i64) -> DataFusionResult<usize> {
    if dimension < 1 || element_of(array.data_type()).is_none() {
        return Ok(0);
    }
    let list = list_array(array)?;
    if list.is_null(row) {
        return Ok(0);
    }
    let elements = list.value(row);
    if dimension == 1 || elements.is_empty() {
        Ok(if dimension == 1 { elements.len() } else { 0 })
    } else {
        extent(&elements, 0, dimension - 1)
    }
}
