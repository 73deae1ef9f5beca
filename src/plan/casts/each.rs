//! Arrays as arrays of another type: each element as a value of its own would be cast.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use chrono_tz::Tz;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Cast, Expr};

use super::has_rows;
use crate::error::Result;
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::physical;
use crate::plan::strict::strict_expression;
use crate::plan::zones::expression_in_zone;
use crate::types::{SqlType, canonical};

/// The name of the column of elements.
const ELEMENT: &str = "element";

/// Whether elements of one type become elements of another otherwise than Arrow casts them.
pub(in crate::plan) fn is_own_cast(from: &SqlType, to: &SqlType) -> bool {
    let (SqlType::Array(from), SqlType::Array(to)) = (from, to) else { return false };
    match (from.as_ref(), to.as_ref()) {
        // Those are cast field by field.
        (from, to) if has_rows(from) || has_rows(to) => false,
        (from @ SqlType::Array(_), to @ SqlType::Array(_)) => is_own_cast(from, to),
        (from, to) if from == to => false,
        (from, to) => element_cast(from, to, Tz::UTC)
            .is_ok_and(|(expr, _)| !matches!(&expr, Expr::Cast(cast) if matches!(cast.expr.as_ref(), Expr::Column(_)))),
    }
}

/// Arrays of type `from` as arrays of type `to`.
pub(super) fn each(values: &ArrayRef, from: &SqlType, to: &SqlType, zone: Tz) -> Result<ArrayRef> {
    let (SqlType::Array(from_element), SqlType::Array(to_element)) = (from, to) else { return elements(values, from, to, zone) };
    let values = canonical(values, from)?;
    let lists = values.as_list::<i32>();
    let DataType::List(field) = to.arrow() else { return elements(&values, from, to, zone) };
    let cast = each(lists.values(), from_element, to_element, zone)?;
    Ok(Arc::new(ListArray::try_new(field, lists.offsets().clone(), cast, lists.nulls().cloned())?))
}

fn elements(values: &ArrayRef, from: &SqlType, to: &SqlType, zone: Tz) -> Result<ArrayRef> {
    let cast = || -> DataFusionResult<ArrayRef> {
        let (expr, schema) = element_cast(from, to, zone)?;
        let batch = RecordBatch::try_new(Arc::clone(schema.inner()), vec![Arc::clone(values)])?;
        physical(&expr, &schema)?.evaluate(&batch)?.into_array(values.len())
    };
    let cast = cast().map_err(|error| from_datafusion(error, ""))?;
    canonical(&cast, to)
}

/// The cast of one element, and the column that it reads.
fn element_cast(from: &SqlType, to: &SqlType, zone: Tz) -> DataFusionResult<(Expr, DFSchema)> {
    let schema = DFSchema::try_from(Schema::new(vec![from.field(ELEMENT, true)]))?;
    let element = Box::new(Expr::Column(Column::new_unqualified(ELEMENT)));
    let cast = Expr::Cast(Cast::new_from_field(element, Arc::new(to.field("", true))));
    let cast = strict_expression(cast, &schema).and_then(|cast| expression_in_zone(cast, &schema, zone))?;
    Ok((cast, schema))
}
