//! Recognises `SELECT columns FROM relation WHERE a = …` by the columns of the key or of an index: such a query is one probe and needs no optimiser.

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableSource};

use crate::catalog::IndexOf;
use crate::plan::{Bound, ObjectSource};
use crate::types::ObjectId;

/// A read of the rows under one value of a key or index.
#[derive(Clone, Debug, PartialEq)]
pub struct PointQuery {
    /// The table or materialised view.
    pub object: ObjectId,
    /// By which columns.
    pub by: IndexOf,
    /// One value for each of them, to be cast to the column's type by the reader.
    pub key: Vec<PointValue>,
    /// The relation's columns.
    pub columns: SchemaRef,
    /// Positions of the relation's columns that come out, in order.
    pub projection: Vec<usize>,
}

/// What a key column is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum PointValue {
    /// The parameter of this index: 0 for `$1`.
    Parameter(usize),
    /// A constant.
    Literal(ScalarValue),
}

/// The point query that `bound` is, if it is one: plain columns of one relation, every column of its key or of an index bound by an equality with
/// a parameter or a literal of the column's own type, and no other condition. `indexes`: by what a relation's rows can be found.
pub fn point_query(bound: &Bound, indexes: &dyn Fn(ObjectId) -> Vec<IndexOf>) -> Option<PointQuery> {
    let mut plan = &bound.plan;
    let mut outputs: Option<Vec<usize>> = None;
    if let LogicalPlan::Projection(projection) = plan {
        let below = projection.input.schema();
        outputs = Some(projection.expr.iter().map(|expr| column_of(expr, below)).collect::<Option<_>>()?);
        plan = &projection.input;
    }
    let LogicalPlan::Filter(filter) = plan else { return None };
    let scan = match filter.input.as_ref() {
        LogicalPlan::TableScan(scan) => scan,
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::TableScan(scan) => scan,
            _ => return None,
        },
        _ => return None,
    };
    if scan.fetch.is_some() || !scan.filters.is_empty() || scan.projection.is_some() {
        return None;
    }
    let source = scan.source.as_ref().downcast_ref::<ObjectSource>()?;
    let object = &source.object;
    let by = |index: IndexOf| {
        let mut values: Vec<Option<PointValue>> = vec![None; index.columns.len()];
        bind(&filter.predicate, filter.input.schema(), &index.columns, &mut values)?;
        Some((index, values.into_iter().collect::<Option<Vec<_>>>()?))
    };
    let (by, key) = indexes(object.id).into_iter().find_map(by)?;
    let width = object.columns()?.len();
    Some(PointQuery { object: object.id, columns: source.schema(), by, key, projection: outputs.unwrap_or_else(|| (0..width).collect()) })
}

/// Takes a conjunction of equalities apart; `None` if it is anything else, or binds a column twice.
fn bind(predicate: &Expr, schema: &datafusion::common::DFSchema, key: &[usize], values: &mut [Option<PointValue>]) -> Option<()> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = predicate else { return None };
    match op {
        Operator::And => {
            bind(left, schema, key, values)?;
            bind(right, schema, key, values)
        }
        Operator::Eq => {
            let (column, value) = match (column_of(left, schema), column_of(right, schema)) {
                (Some(column), None) => (column, right),
                (None, Some(column)) => (column, left),
                _ => return None,
            };
            let place = values.get_mut(key.iter().position(|wanted| *wanted == column)?)?;
            let value = value_of(value)?;
            // A coerced comparison shows as a cast of the column, which `column_of` does not see through: types agree here.
            place.is_none().then(|| *place = Some(value))
        }
        _ => None,
    }
}

fn column_of(expr: &Expr, schema: &datafusion::common::DFSchema) -> Option<usize> {
    match expr {
        Expr::Column(column) => schema.index_of_column(column).ok(),
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        _ => None,
    }
}

fn value_of(expr: &Expr) -> Option<PointValue> {
    match expr {
        Expr::Placeholder(placeholder) => {
            let number: usize = placeholder.id.strip_prefix('$')?.parse().ok()?;
            Some(PointValue::Parameter(number.checked_sub(1)?))
        }
        Expr::Literal(value, _) => Some(PointValue::Literal(value.clone())),
        // `id = 5` compares a bigint literal with an integer column as a cast of the literal.
        Expr::Cast(cast) if !cast.expr.exists(|inner| Ok(matches!(inner, Expr::Column(_)))).unwrap_or(true) => {
            let Expr::Literal(value, _) = cast.expr.as_ref() else { return None };
            value.cast_to(cast.field.data_type()).ok().map(PointValue::Literal)
        }
        _ => None,
    }
}
