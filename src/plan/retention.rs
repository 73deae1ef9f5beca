//! Rows that are kept for some time: `WITH (retention = '7 days')`.
//!
//! ```text
//! table   a plan of its own says which rows are past their time; they are deleted, like by a statement
//!           Import ─▶ Temporal: rows as soon as ts <= now() - 7 d ─▶ deletes
//! view    ts > now() - 7 d is part of it
//!           over its result, where event time passes ts: its state is bounded by that
//!           in its query otherwise, from where it goes down as far as it can: rows leave the state below, too
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Filter, LogicalPlan, Operator};

use crate::catalog::{Catalog, Object, Retention};
use crate::error::{Error, Kind, Result};
use crate::plan::errors::from_datafusion;
use crate::plan::lower::{clock, low_of};
use crate::plan::node::{Crossing, Node, NodeKind, Plan};
use crate::plan::properties;
use crate::plan::resolve::schema_of;
use crate::types::{Low, NOW, all_nullable};

/// The rows of a table that are past their time, each from then on.
pub fn expired_rows(object: &Object, retention: &Retention) -> Result<Plan> {
    let columns = object.columns().unwrap_or_default();
    let column = columns.iter().position(|column| column.name == retention.column);
    let column = column.ok_or_else(|| Error::internal("a table that is kept for a time has lost the column of the times"))?;
    let (schema, all) = (all_nullable(&schema_of(columns)), (0..columns.len()).collect::<Vec<usize>>());
    let read = properties::import(false, None, &all);
    let kind = NodeKind::Import { object: object.id, name: object.name.clone(), columns: all, lateness_us: 0 };
    let import = Node { id: 0, kind, schema: Arc::clone(&schema), properties: read };
    let crossing = Crossing::Enters { when_passed: false };
    let low = before_now(retention.micros);
    let properties = properties::temporal(&import.properties, crossing, &low);
    let kind = NodeKind::Temporal { input: Box::new(import), column, crossing, low };
    Ok(Plan { root: Node { id: 1, kind, schema, properties } })
}

/// So long before the time on the clock.
pub(super) fn before_now(micros: i64) -> Low {
    Low::Of(NOW).later(-micros)
}

/// The rows of a view's query that are not past their time.
pub(super) fn kept_rows(plan: LogicalPlan, column: usize, micros: i64) -> Result<LogicalPlan> {
    let (qualifier, field) = plan.schema().qualified_field(column);
    let (time, data_type) = (Expr::Column((qualifier, field).into()), field.data_type().clone());
    let interval = IntervalMonthDayNano::new(0, 0, micros.saturating_mul(1_000));
    let interval = Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), None);
    let low = super::scalar::call("timestamp_minus", vec![clock(), interval]);
    let low = match &data_type {
        DataType::Timestamp(_, Some(_)) => low,
        other => Expr::Cast(Cast::new(Box::new(low), other.clone())),
    };
    let later = Expr::BinaryExpr(BinaryExpr::new(Box::new(time), Operator::Gt, Box::new(low)));
    Filter::try_new(later, Arc::new(plan)).map(LogicalPlan::Filter).map_err(|error| from_datafusion(error, ""))
}

/// The column by which a view's rows are kept: the one that is named, or the first that event time passes.
pub(super) fn column_of(catalog: &Catalog, root: &Node, named: Option<usize>) -> Result<usize> {
    let is_time = |column: usize| is_time(root.schema.field(column).data_type());
    match named {
        Some(column) => Ok(column),
        None => {
            (0..root.schema.fields().len()).find(|column| is_time(*column) && low_of(catalog, root, *column).is_some()).ok_or_else(|| {
                Error::new(Kind::InvalidParameter, "option \"retention\" needs a column that says how old a row is")
                    .hint("Name one of the view's: WITH (retention = '7 days', retention_column = 'ts').")
            })
        }
    }
}

/// The position of the column that `retention_column` names among the columns that a query gives, which a view may call otherwise. `42703`,
/// `42804` for one that is no time.
pub fn retention_column(schema: &Schema, renamed: &[String], name: &str) -> Result<usize> {
    let called = |position: usize| renamed.get(position).map_or(schema.field(position).name().as_str(), String::as_str);
    let found = (0..schema.fields().len()).find(|position| called(*position) == name);
    let found = found.ok_or_else(|| {
        Error::new(Kind::UndefinedColumn, format!("column \"{name}\" named in option \"retention_column\" does not exist"))
    })?;
    match is_time(schema.field(found).data_type()) {
        true => Ok(found),
        false => Err(no_time(name)),
    }
}

/// `42804` for a column that does not say how old a row is.
pub fn no_time(name: &str) -> Error {
    Error::new(Kind::DatatypeMismatch, format!("column \"{name}\" does not say how old a row is"))
        .hint("retention_column is a timestamp, timestamptz or date.")
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}
