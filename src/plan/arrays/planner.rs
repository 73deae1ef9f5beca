//! Operators on arrays, and subscripts of arrays and jsonb → function calls.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, GetFieldAccess};
use sqlparser::ast::BinaryOperator;

use super::contain::contain;
use super::subscript::{slice, subscript};
use crate::catalog::nearest;
use crate::error::{Error, Kind};
use crate::plan::casts::text_input;
use crate::plan::errors::external;
use crate::plan::functions::type_name;
use crate::plan::plain_type::plain_type;
use crate::plan::scalar;
use crate::plan::table_functions::element_of;
use crate::types::{SqlType, sql_type_of};

/// Asked before DataFusion's own planners.
#[derive(Debug)]
pub(in crate::plan) struct ArrayPlanner;

impl ExprPlanner for ArrayPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        let expr = read_literals(expr, schema)?;
        let is_array = |side: &Expr| Ok::<_, DataFusionError>(element_of(&side.get_type(schema)?).is_some());
        let contains = matches!(expr.op, BinaryOperator::AtArrow | BinaryOperator::ArrowAt | BinaryOperator::PGOverlap);
        if !contains || (!is_array(&expr.left)? && !is_array(&expr.right)?) {
            return Ok(PlannerResult::Original(expr));
        }
        let RawBinaryExpr { op, left, right } = expr;
        Ok(PlannerResult::Planned(match op {
            BinaryOperator::AtArrow => contain(false).call(vec![left, right]),
            BinaryOperator::ArrowAt => contain(false).call(vec![right, left]),
            _ => contain(true).call(vec![left, right]),
        }))
    }

    fn plan_field_access(&self, expr: RawFieldAccessExpr, schema: &DFSchema) -> DataFusionResult<PlannerResult<RawFieldAccessExpr>> {
        let (_, field) = expr.expr.to_field(schema)?;
        if sql_type_of(&field) == SqlType::Jsonb {
            return Ok(match expr.field_access {
                GetFieldAccess::NamedStructField { name } => {
                    PlannerResult::Planned(scalar::call("jsonb_get", vec![expr.expr, Expr::Literal(name, None)]))
                }
                GetFieldAccess::ListIndex { key } => PlannerResult::Planned(scalar::call("jsonb_get", vec![expr.expr, *key])),
                field_access => PlannerResult::Original(RawFieldAccessExpr { expr: expr.expr, field_access }),
            });
        }
        if let (SqlType::Struct(fields), GetFieldAccess::NamedStructField { name }) = (sql_type_of(&field), &expr.field_access) {
            known_field(&fields, name)?;
        }
        if element_of(field.data_type()).is_none() {
            let is_plain = !field.data_type().is_nested() && !field.data_type().is_null();
            if is_plain && !matches!(expr.field_access, GetFieldAccess::NamedStructField { .. }) {
                return Err(external(no_subscripts(&sql_type_of(&field))));
            }
            return Ok(PlannerResult::Original(expr));
        }
        Ok(match expr.field_access {
            GetFieldAccess::ListIndex { key } => PlannerResult::Planned(subscript().call(vec![expr.expr, *key])),
            GetFieldAccess::ListRange { start, stop, .. } => PlannerResult::Planned(slice().call(vec![expr.expr, *start, *stop])),
            field_access => PlannerResult::Original(RawFieldAccessExpr { expr: expr.expr, field_access }),
        })
    }
}

fn no_subscripts(sql_type: &SqlType) -> Error {
    let message = format!("cannot subscript type {} because it does not support subscripting", type_name(&sql_type.arrow()));
    Error::new(Kind::DatatypeMismatch, message)
}

/// Refuses a name that is none of a row's fields.
fn known_field(fields: &[(String, SqlType)], name: &ScalarValue) -> DataFusionResult<()> {
    let Some(wanted) = name.try_as_str().flatten() else { return Ok(()) };
    if fields.iter().any(|(field, _)| field == wanted) {
        return Ok(());
    }
    let error =
        Error::new(Kind::UndefinedColumn, format!("column \"{wanted}\" not found in data type {}", SqlType::Struct(fields.to_vec())));
    Err(external(match nearest(wanted, fields.iter().map(|(field, _)| field.as_str())) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error,
    }))
}

/// A quoted string beside an array is an array, too: `a = '{1,2}'`. Not where it is put behind an array of texts. Nor is a NULL an element:
/// behind an array it is an array.
fn read_literals(expr: RawBinaryExpr, schema: &DFSchema) -> DataFusionResult<RawBinaryExpr> {
    let RawBinaryExpr { op, left, right } = expr;
    let concatenates = op == BinaryOperator::StringConcat;
    let array = |side: &Expr, other: &Expr| -> DataFusionResult<Option<SqlType>> {
        let is_null = matches!(side, Expr::Literal(ScalarValue::Null, _));
        let may_be_array = matches!(side, Expr::Literal(ScalarValue::Utf8(Some(_)), _)) || (is_null && concatenates);
        if !may_be_array {
            return Ok(None);
        }
        if plain_type(other, schema).is_some_and(|plain| !matches!(plain, SqlType::Array(_))) {
            return Ok(None);
        }
        let (_, field) = other.to_field(schema)?;
        let of_texts = element_of(field.data_type()).is_some_and(|element| matches!(element.data_type(), DataType::Utf8));
        Ok((element_of(field.data_type()).is_some() && (is_null || !(concatenates && of_texts))).then(|| sql_type_of(&field)))
    };
    let (of_left, of_right) = (array(&left, &right)?, array(&right, &left)?);
    let read = |side: Expr, target: Option<SqlType>| match target {
        Some(target) if matches!(side, Expr::Literal(ScalarValue::Null, _)) => {
            Expr::Cast(Cast::new_from_field(Box::new(side), Arc::new(target.field("", true))))
        }
        Some(target) => text_input(side, &target),
        None => side,
    };
    Ok(RawBinaryExpr { op, left: read(left, of_left), right: read(right, of_right) })
}
