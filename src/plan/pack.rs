//! Scalar functions that put several columns into one, for aggregates that take more than one argument.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::plan::errors::external;
use crate::types::PackedRows;

/// What the functions are called in plans; no SQL name has a blank in it.
const PACK: &str = "packed row";
const ALL_OR_NULL: &str = "all or null";

/// Packed rows of `columns`; NULL where one of the columns at `needed` is NULL.
pub(super) fn packed(rows: &Arc<PackedRows>, columns: Vec<Expr>, needed: Vec<usize>) -> Expr {
    let function = PackRow { rows: Arc::clone(rows), needed, signature: signature(columns.len()) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), columns))
}

/// A struct of `columns`; NULL where one of them is NULL.
pub(super) fn all_or_null(columns: Vec<Expr>) -> Expr {
    let function = AllOrNull { signature: signature(columns.len()) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), columns))
}

/// The columns that are packed, if the expression is `packed` or `all_or_null`.
pub(super) fn arguments(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(call) => columns_of(call),
        _ => None,
    }
}

/// The same of a call.
pub(super) fn columns_of(call: &ScalarFunction) -> Option<&[Expr]> {
    [PACK, ALL_OR_NULL].contains(&call.func.name()).then_some(call.args.as_slice())
}

/// The same packing of other columns; the one of them, if the expression packs nothing.
pub(super) fn over(expr: &Expr, mut columns: Vec<Expr>) -> Expr {
    match expr {
        Expr::ScalarFunction(call) if arguments(expr).is_some() => {
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), columns))
        }
        _ => columns.remove(0),
    }
}

fn signature(arguments: usize) -> Signature {
    if arguments == 0 { Signature::nullary(Volatility::Immutable) } else { Signature::any(arguments, Volatility::Immutable) }
}

/// The function behind `packed`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PackRow {
    rows: Arc<PackedRows>,
    needed: Vec<usize>,
    signature: Signature,
}

impl ScalarUDFImpl for PackRow {
    fn name(&self) -> &'static str {
        PACK
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let columns = arrays(&args)?;
        let packed = self.rows.pack(&columns, args.number_rows).map_err(external)?;
        let nulls =
            self.needed.iter().fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), columns[*column].logical_nulls().as_ref()));
        let (offsets, values, _) = packed.into_parts();
        Ok(ColumnarValue::Array(Arc::new(BinaryArray::try_new(offsets, values, nulls)?)))
    }
}

/// The function behind `all_or_null`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AllOrNull {
    signature: Signature,
}

impl ScalarUDFImpl for AllOrNull {
    fn name(&self) -> &'static str {
        ALL_OR_NULL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Struct(fields_of(arguments)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let columns = arrays(&args)?;
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let nulls = columns.iter().fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref()));
        let rows = StructArray::try_new_with_length(fields_of(&types), columns, nulls, args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(rows)))
    }
}

fn fields_of(types: &[DataType]) -> Fields {
    types.iter().enumerate().map(|(index, data_type)| Field::new(format!("f{}", index + 1), data_type.clone(), true)).collect()
}

fn arrays(args: &ScalarFunctionArgs) -> DataFusionResult<Vec<ArrayRef>> {
    args.args.iter().map(|value| value.to_array(args.number_rows)).collect()
}
