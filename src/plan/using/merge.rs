//! The columns of a FROM item whose joins merge some of them, and the conditions that the joins are.

use std::collections::VecDeque;

use arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, JoinConstraint, JoinOperator, ObjectName, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins,
    Value,
};

use super::references::{References, merged_among};
use super::{in_select, merges, quoted};
use crate::error::{Error, Kind, Result};
use crate::plan::errors::word_position;
use crate::plan::from_columns::{Columns, Known, constraint_of};
use crate::plan::names::{normal, visible};
use crate::plan::text;
use crate::plan::written_call::written_call;

/// A column of a FROM.
#[derive(Clone)]
pub(super) struct Output {
    pub(super) name: String,
    /// What it is over the relations: `l.k`, `coalesce(l.k, r.k)`.
    pub(super) value: Expr,
    /// Of the value.
    data_type: DataType,
    pub(super) merged: bool,
}

impl Output {
    /// It, in a SELECT list.
    pub(super) fn item(&self) -> SelectItem {
        match self.merged {
            true => SelectItem::ExprWithAlias { expr: self.value.clone(), alias: quoted(visible(&self.name)) },
            false => SelectItem::UnnamedExpr(self.value.clone()),
        }
    }
}

/// Takes USING and NATURAL out of the items of one FROM.
pub(super) struct Merge<'a> {
    columns: &'a Columns<'a>,
    /// The columns of the relations that are still to come, as far as they are known.
    left: VecDeque<Known>,
    /// Where a relation may name merged columns of those before it, its columns are known only when these are: the relations so far, without
    /// their joins, and how many columns they have.
    so_far: Option<(Vec<TableWithJoins>, usize)>,
}

impl<'a> Merge<'a> {
    /// For the items of a FROM, which are given one after the other.
    pub(super) fn new(columns: &'a Columns<'a>, items: &[TableWithJoins]) -> Result<Self> {
        if items.iter().any(has_lateral) {
            return Ok(Merge { columns, left: VecDeque::new(), so_far: Some((Vec::new(), 0)) });
        }
        Ok(Merge { columns, left: columns.of(items, &[])?.into(), so_far: None })
    }

    /// The columns of an item; its joins get conditions. `before`: those of the items before it.
    pub(super) fn item(&mut self, item: &mut TableWithJoins, before: &[Output]) -> Result<Vec<Output>> {
        let seen = |left: &[Output]| merged_among(&before.iter().chain(left).cloned().collect::<Vec<_>>());
        if is_lateral(&item.relation) {
            References::new(&seen(&[]), self.columns).put_into(&mut item.relation)?;
        }
        let mut left = self.factor(&mut item.relation, before)?;
        for join in &mut item.joins {
            if is_lateral(&join.relation) {
                References::new(&seen(&left), self.columns).put_into(&mut join.relation)?;
            }
            let right = self.factor(&mut join.relation, before)?;
            left = self.join(&mut join.join_operator, left, right)?;
        }
        Ok(left)
    }

    fn join(&self, operator: &mut JoinOperator, left: Vec<Output>, right: Vec<Output>) -> Result<Vec<Output>> {
        let kind = operator.clone();
        let together = |left: Vec<Output>, right: Vec<Output>| left.into_iter().chain(right).collect::<Vec<_>>();
        let Some(constraint) = constraint_of(operator) else { return Ok(together(left, right)) };
        let keys: Vec<String> = match constraint {
            JoinConstraint::Using(names) => names.iter().map(key_name).collect::<Result<_>>()?,
            JoinConstraint::Natural => {
                left.iter().map(|output| &output.name).filter(|name| right.iter().any(|other| other.name == **name)).cloned().collect()
            }
            JoinConstraint::On(condition) => {
                let both = together(left, right);
                References::new(&merged_among(&both), self.columns).put_into(condition)?;
                return Ok(both);
            }
            JoinConstraint::None => return Ok(together(left, right)),
        };
        let mut merged = Vec::with_capacity(keys.len());
        let mut condition: Option<Expr> = None;
        for key in &keys {
            let (one, other) = (self.only(&left, key, "left")?, self.only(&right, key, "right")?);
            let equal = binary(one.value.clone(), BinaryOperator::Eq, other.value.clone());
            condition = Some(match condition {
                Some(before) => binary(before, BinaryOperator::And, equal),
                None => equal,
            });
            let data_type = comparison_coercion(&one.data_type, &other.data_type).unwrap_or_else(|| one.data_type.clone());
            let is_common = |output: &Output| is_like(&output.data_type, &data_type);
            let value = match kind {
                JoinOperator::FullOuter(_) => either(&one.value, &other.value),
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) if is_common(other) => other.value.clone(),
                // Of both sides, the one that pads the other with NULLs is there whenever the other is: what this says is its type.
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => either(&other.value, &one.value),
                _ if is_common(one) => one.value.clone(),
                JoinOperator::Join(_) | JoinOperator::Inner(_) if is_common(other) => other.value.clone(),
                _ => either(&one.value, &other.value),
            };
            merged.push(Output { name: key.clone(), value, data_type, merged: true });
        }
        *constraint = JoinConstraint::On(condition.unwrap_or_else(|| Expr::value(Value::Boolean(true))));
        let rest = |side: Vec<Output>| side.into_iter().filter(|output| !keys.contains(&output.name)).collect::<Vec<_>>();
        merged.extend(together(rest(left), rest(right)));
        Ok(merged)
    }

    /// The only column of this name on one side.
    fn only<'o>(&self, outputs: &'o [Output], key: &str, side: &str) -> Result<&'o Output> {
        let mut found = outputs.iter().filter(|output| output.name == key);
        let error = match (found.next(), found.next()) {
            (Some(output), None) => return Ok(output),
            (None, _) => {
                let message = format!("column \"{key}\" specified in USING clause does not exist in {side} table");
                Error::new(Kind::UndefinedColumn, message)
            }
            _ => Error::new(Kind::AmbiguousColumn, format!("common column name \"{key}\" appears more than once in {side} table")),
        };
        Err(match word_position(key, self.columns.within.scope.text) {
            Some(position) => error.at(position),
            None => error,
        })
    }

    fn factor(&mut self, factor: &mut TableFactor, before: &[Output]) -> Result<Vec<Output>> {
        if let TableFactor::NestedJoin { table_with_joins, alias: None } = factor {
            return self.item(table_with_joins, before);
        }
        if let Some((relations, known)) = &mut self.so_far {
            relations.push(TableWithJoins { relation: factor.clone(), joins: Vec::new() });
            let all = self.columns.of(relations, &[])?;
            self.left.extend(all[*known..].iter().cloned());
            *known = all.len();
        }
        let name = relation_name(factor);
        let mut outputs = Vec::new();
        while let Some(Known { qualifier, name: column, data_type }) = self.left.front() {
            if qualifier.as_ref().map(TableReference::table) != name.as_deref() {
                break;
            }
            let parts = qualifier.iter().flat_map(|qualifier| qualifier.schema().into_iter().chain([qualifier.table()]));
            let parts = parts.chain([column.as_str()]).map(quoted).collect();
            outputs.push(Output {
                name: column.clone(),
                value: Expr::CompoundIdentifier(parts),
                data_type: data_type.clone(),
                merged: false,
            });
            self.left.pop_front();
        }
        Ok(outputs)
    }
}

/// `(a JOIN b USING (k)) AS j` → `(SELECT * FROM a JOIN b USING (k)) AS j`.
pub(super) fn name_parenthesised(item: &mut TableWithJoins, columns: &Columns<'_>) -> Result<()> {
    for factor in std::iter::once(&mut item.relation).chain(item.joins.iter_mut().map(|join| &mut join.relation)) {
        let TableFactor::NestedJoin { table_with_joins, alias } = factor else { continue };
        name_parenthesised(table_with_joins, columns)?;
        let Some(alias) = alias.clone().filter(|_| merges(table_with_joins)) else { continue };
        let mut subquery = text::query("SELECT * FROM t")?;
        if let SetExpr::Select(select) = subquery.body.as_mut() {
            select.from = vec![table_with_joins.as_ref().clone()];
            in_select(select, None, columns)?;
        }
        *factor = TableFactor::Derived { lateral: false, subquery: Box::new(subquery), alias: Some(alias), sample: None };
    }
    Ok(())
}

fn has_lateral(item: &TableWithJoins) -> bool {
    let within = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => has_lateral(table_with_joins),
        other => is_lateral(other),
    };
    within(&item.relation) || item.joins.iter().any(|join| within(&join.relation))
}

fn is_lateral(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Derived { lateral, .. } => *lateral,
        TableFactor::Function { .. } | TableFactor::UNNEST { .. } => true,
        TableFactor::Table { args, .. } => args.is_some(),
        _ => false,
    }
}

/// What stands before the names of a relation's columns.
fn relation_name(factor: &TableFactor) -> Option<String> {
    let last = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident()).map(normal);
    let or = |alias: &Option<TableAlias>, own: Option<String>| alias.as_ref().map(|alias| normal(&alias.name)).or(own);
    match factor {
        TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => or(alias, last(name)),
        TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => or(alias, None),
        TableFactor::UNNEST { alias, .. } => or(alias, Some("unnest".to_owned())),
        TableFactor::TableFunction { expr: Expr::Function(Function { name, .. }), alias } => or(alias, last(name)),
        _ => None,
    }
}

fn key_name(name: &ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [part] if part.as_ident().is_some() => Ok(part.as_ident().map(normal).unwrap_or_default()),
        _ => Err(Error::new(Kind::Syntax, format!("USING wants names of columns, not \"{name}\""))),
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// Whether a column of the one type is one of the other: numerics are, whatever their digits.
fn is_like(one: &DataType, other: &DataType) -> bool {
    one == other || one.is_decimal() && other.is_decimal()
}

/// The first of two that is there.
fn either(one: &Expr, other: &Expr) -> Expr {
    written_call("coalesce", vec![one.clone(), other.clone()])
}
