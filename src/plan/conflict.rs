//! `INSERT … ON CONFLICT DO UPDATE`: what becomes of the row that is there already.
//!
//! In: the assignments and the condition, over the columns of the row that is there followed by those of the new one, which is called `excluded`.
//! Out: a `ConflictPlan`, in which the statement's parameters stand as such; with their values it becomes a `ConflictUpdate`, which computes.

use std::collections::BTreeSet;

use arrow::array::ArrayRef;
use datafusion::common::{Column as ColumnRef, DFSchema};
use datafusion::logical_expr::Expr;
use sqlparser::ast;

use super::dml::{Change, assigned_to, assigned_twice, note_parameter, table_of};
use super::errors::from_datafusion;
use super::expressions::{Assignment, assignment_cast, expression_text, is_literal};
use super::node::Scalar;
use super::parameters::{Filling, Parameters};
use super::planner::Planner;
use super::resolve::{Scope, schema_of};
use crate::catalog::Object;
use crate::error::Result;
use crate::types::SqlType;

/// `ON CONFLICT DO UPDATE`, names and types known.
#[derive(Clone, Debug)]
pub struct ConflictPlan {
    /// The row that is there, and the new one.
    both: DFSchema,
    condition: Option<Expr>,
    /// One per column of the table.
    values: Vec<Expr>,
}

/// `ON CONFLICT DO UPDATE`, over the columns of the row that is there followed by those of the new one.
#[derive(Clone, Debug)]
pub struct ConflictUpdate {
    /// Only rows for which it is true.
    pub condition: Option<Scalar>,
    /// One per column of the table; generated columns keep the old value here.
    pub columns: Vec<Scalar>,
    /// Generated columns, over the columns of the table as they are after that.
    pub generated: Vec<(usize, Scalar)>,
}

impl Planner {
    /// The new values of `ON CONFLICT DO UPDATE SET …`, and the condition.
    pub(super) fn conflict_plan(
        &self,
        object: &Object,
        assignments: &[(String, ast::Expr)],
        condition: Option<&ast::Expr>,
        scope: &Scope<'_>,
        parameters: &mut Parameters,
    ) -> Result<ConflictPlan> {
        let table = table_of(object)?;
        let columns = schema_of(&table.columns);
        let error = |error| from_datafusion(error, scope.text);
        let old = DFSchema::try_from_qualified_schema(object.name.as_str(), &columns).map_err(error)?;
        let new = DFSchema::try_from_qualified_schema("excluded", &columns).map_err(error)?;
        let both = old.join(&new).map_err(error)?;
        let mut values: Vec<Expr> =
            (0..table.columns.len()).map(|position| Expr::Column(ColumnRef::from(both.qualified_field(position)))).collect();
        let mut given = BTreeSet::new();
        for (name, value) in assignments {
            let Some((position, value)) = assigned_to(name, value, object, table, scope)? else { continue };
            let column = &table.columns[position];
            if !given.insert(position) {
                return Err(assigned_twice(column));
            }
            note_parameter(&value, &column.sql_type, parameters);
            let expr = self.typed_expression(&value, &both, scope, parameters)?;
            let assignment = Assignment { column: &column.name, literal: is_literal(&value) };
            values[position] = assignment_cast(expr, &both, &column.sql_type, &assignment)?;
        }
        let condition = match condition {
            Some(condition) => {
                note_parameter(condition, &SqlType::Bool, parameters);
                Some(self.typed_expression(condition, &both, scope, parameters)?)
            }
            None => None,
        };
        Ok(ConflictPlan { both, condition, values })
    }

    /// What a change does on conflict, with values in the place of parameters: one array of length 1 each. `now_micros`: what `now()` means.
    pub fn conflict_update(
        &self,
        change: &Change,
        values: &[ArrayRef],
        now_micros: i64,
        scope: &Scope<'_>,
    ) -> Result<Option<ConflictUpdate>> {
        let Some(plan) = &change.conflict else { return Ok(None) };
        let table = table_of(&change.object)?;
        let values = change.rows.parameter_values(values)?;
        let filling = Filling { values: &values, types: &change.rows.parameters };
        let scalar = |expr: &Expr| {
            let text = expression_text(expr);
            let expr = filling.expression(expr.clone(), &plan.both).map_err(|error| from_datafusion(error, scope.text))?;
            Ok(Scalar { expression: self.physical_expression(expr, &plan.both, Some(now_micros), scope)?, text })
        };
        let generated =
            table.columns.iter().enumerate().filter_map(|(position, column)| Some((position, column, column.generated.as_ref()?)));
        let generated = generated
            .map(|(position, column, sql)| Ok((position, self.table_expression_text(sql, &table.columns, &column.sql_type, scope)?)));
        Ok(Some(ConflictUpdate {
            condition: plan.condition.as_ref().map(scalar).transpose()?,
            columns: plan.values.iter().map(scalar).collect::<Result<_>>()?,
            generated: generated.collect::<Result<_>>()?,
        }))
    }
}
