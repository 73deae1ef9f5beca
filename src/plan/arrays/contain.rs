//! `a @> b` and `a && b`: whether all, or any, of the elements of `b` are in `a`. NULL equals nothing, dimensions do not matter.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, ListArray};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::plan::errors::external;
use crate::plan::table_functions::{element_of, flat_list, no_such};
use crate::types::{SqlType, order_key, sql_type_of};

/// `array_contains_all(a, b)`; with `any`, `array_overlaps(a, b)`.
pub(super) fn contain(any: bool) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Contain { any, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Contain {
    any: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Contain {
    fn name(&self) -> &'static str {
        if self.any { "array_overlaps" } else { "array_contains_all" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let misfit = || no_such(self.name(), arguments);
        let [left, right] = arguments else { return Err(misfit()) };
        // A quoted array, or NULL, is read as one of the other's type.
        let (left, right) = match (element_of(left), element_of(right)) {
            (Some(_), None) => (left, left),
            (None, Some(_)) => (right, right),
            _ => (left, right),
        };
        let (Some(first), Some(second)) = (innermost(left), innermost(right)) else { return Err(misfit()) };
        let common = if first.is_null() {
            second.clone()
        } else if second.is_null() {
            first.clone()
        } else {
            comparison_coercion(first, second).ok_or_else(misfit)?
        };
        // What the elements are said to be stays with them.
        let cast = |list: &DataType, element: &DataType| if *element == common { list.clone() } else { with_innermost(list, &common) };
        Ok(vec![cast(left, first), cast(right, second)])
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let lists = |index: usize| flat_list(&args.args[index].to_array(args.number_rows)?);
        let (left, right) = (lists(0)?, lists(1)?);
        let keys = |lists: &ListArray| {
            let element = element_of(lists.data_type()).map_or(SqlType::Text, |element| sql_type_of(element));
            order_key(lists.values(), &element).map_err(external)
        };
        let (left_keys, right_keys) = (keys(&left)?, keys(&right)?);
        let converter = RowConverter::new(vec![SortField::new(left_keys.data_type().clone())])?;
        let left_rows = converter.convert_columns(&[left_keys])?;
        let right_rows = converter.convert_columns(&[right_keys])?;
        let found = (0..left.len()).map(|row| {
            if left.is_null(row) || right.is_null(row) {
                return None;
            }
            let known: HashSet<_> = places(&left, row).filter(|at| left.values().is_valid(*at)).map(|at| left_rows.row(at)).collect();
            let is_in = |at: usize| right.values().is_valid(at) && known.contains(&right_rows.row(at));
            Some(if self.any { places(&right, row).any(is_in) } else { places(&right, row).all(is_in) })
        });
        Ok(ColumnarValue::Array(Arc::new(found.collect::<BooleanArray>()) as ArrayRef))
    }
}

fn places(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize
}

fn innermost(data_type: &DataType) -> Option<&DataType> {
    let mut element = element_of(data_type)?;
    while let Some(inner) = element_of(element.data_type()) {
        element = inner;
    }
    Some(element.data_type())
}

/// The array type, as deep as it was, of other elements.
fn with_innermost(data_type: &DataType, wanted: &DataType) -> DataType {
    match element_of(data_type) {
        Some(element) => DataType::new_list(with_innermost(element.data_type(), wanted), true),
        None => wanted.clone(),
    }
}
