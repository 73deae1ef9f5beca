//! Rows of one type as rows of another: each field is cast as a value of its own would be, and fields belong together by their places.
//!
//! In: rows, or arrays of rows. Out: as many, with the names and types of the target.
//! Always: a NULL row stays one, and what stands in its fields is not looked at.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray, make_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Schema};
use chrono_tz::Tz;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Cast, Expr};

use super::has_rows;
use crate::error::{Error, Kind, Result};
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::physical;
use crate::plan::strict::strict_expression;
use crate::plan::table_functions::list_array;
use crate::plan::zones::expression_in_zone;
use crate::types::SqlType;

/// Refuses types whose rows have different numbers of fields.
pub(super) fn check(from: &SqlType, target: &SqlType) -> Result<()> {
    match (from, target) {
        (SqlType::Array(from), SqlType::Array(target)) => check(from, target),
        (SqlType::Struct(fields), SqlType::Struct(wanted)) => {
            if fields.len() != wanted.len() {
                let detail = if fields.len() < wanted.len() { "Input has too few columns." } else { "Input has too many columns." };
                return Err(Error::new(Kind::CannotCoerce, format!("cannot cast type record to {target}")).detail(detail));
            }
            fields.iter().zip(wanted).try_for_each(|((_, from), (_, target))| check(from, target))
        }
        (from, target) if has_rows(from) && has_rows(target) => {
            Err(Error::new(Kind::CannotCoerce, format!("cannot cast type {from} to {target}")))
        }
        _ => Ok(()),
    }
}

/// Casts values of type `from`. An instant without an offset is local time of `zone`.
pub(super) fn cast(values: &ArrayRef, from: &SqlType, target: &SqlType, zone: Tz) -> Result<ArrayRef> {
    match (from, target) {
        (SqlType::Array(from), SqlType::Array(element)) if has_rows(from) && has_rows(element) => {
            let lists = list_array(values).map_err(|error| from_datafusion(error, ""))?;
            // What else the values hold is of no row of these.
            let (first, end) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
            let elements = cast(&lists.values().slice(first, end - first), from, element, zone)?;
            let offsets = OffsetBuffer::from_lengths(lists.offsets().lengths());
            let field = Arc::new(element.field("item", true));
            Ok(Arc::new(ListArray::try_new(field, offsets, elements, lists.nulls().cloned())?))
        }
        (SqlType::Struct(fields), SqlType::Struct(wanted)) => {
            let rows = values.as_struct_opt().ok_or_else(|| Error::internal("a struct is carried by a Struct"))?;
            let types = fields.iter().zip(wanted).map(|((_, from), (_, target))| (from, target));
            let columns = rows.columns().iter().zip(types).map(|(column, (from, target))| {
                let column = beneath(column, rows.nulls())?;
                cast(&column, from, target, zone)
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let DataType::Struct(arrow_fields) = target.arrow() else { return Err(Error::internal("a struct is carried by a Struct")) };
            Ok(Arc::new(StructArray::try_new_with_length(arrow_fields, columns, rows.nulls().cloned(), rows.len())?))
        }
        _ if from == target && *values.data_type() == target.arrow() => Ok(Arc::clone(values)),
        _ => cast_plain(values, from, target, zone).map_err(|error| from_datafusion(error, "")),
    }
}

/// The column with NULL wherever the row that it is a part of is NULL.
fn beneath(column: &ArrayRef, rows: Option<&NullBuffer>) -> Result<ArrayRef> {
    if rows.is_none_or(|rows| rows.null_count() == 0) || column.data_type().is_null() {
        return Ok(Arc::clone(column));
    }
    let nulls = NullBuffer::union(column.nulls(), rows);
    Ok(make_array(column.to_data().into_builder().nulls(nulls).build()?))
}

/// A column cast as an expression would cast it, by all rules that there are for these types.
fn cast_plain(values: &ArrayRef, from: &SqlType, target: &SqlType, zone: Tz) -> DataFusionResult<ArrayRef> {
    const NAME: &str = "value";
    // What only a field tells of the type is told; how the values are carried, the array knows.
    let field = from.field(NAME, true).with_data_type(values.data_type().clone());
    let schema = Arc::new(Schema::new(vec![field]));
    let named = DFSchema::try_from(schema.as_ref().clone())?;
    let value = Box::new(Expr::Column(Column::new_unqualified(NAME)));
    let cast = Expr::Cast(Cast::new_from_field(value, Arc::new(target.field("", true))));
    let cast = expression_in_zone(strict_expression(cast, &named)?, &named, zone)?;
    let options = RecordBatchOptions::new().with_row_count(Some(values.len()));
    let batch = RecordBatch::try_new_with_options(schema, vec![Arc::clone(values)], &options)?;
    physical(&cast, &named)?.evaluate(&batch)?.into_array(values.len())
}
