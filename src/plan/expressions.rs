//! Expressions: SQL → logical → physical, and the casts that an assignment to a column implies.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema};
use chrono::{DateTime, Utc};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, Operator, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::expressions::{BinaryExpr, Column as PhysicalColumn, Literal};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::planner::SqlToRel;
use sqlparser::ast;

use super::arrays;
use super::arrow_kinds::{is_integer, is_text};
use super::canonical_floats::as_written;
use super::casts::text_input;
use super::equal_values::compare_by_keys_within;
use super::errors::from_datafusion;
use super::functions::{fit_text, type_name};
use super::inline::inline_expression;
use super::integers;
use super::lower::through;
use super::names::{hidden, normal, visible};
use super::node::Scalar;
use super::open_literals;
use super::parameters::{Parameters, in_expression};
use super::planner::{Planner, planner_context};
use super::proctime;
use super::resolve::{Names, NoSystemRelations, Scope, schema_of};
use super::scalar;
use super::spelling;
use super::sql_text::as_sql;
use super::strict::strict_expression;
use super::table_functions::makes_rows;
use super::text;
use super::time_precision;
use super::walk::WalkTree;
use super::zones::expression_in_zone;
use crate::catalog::Column as TableColumn;
use crate::error::{Error, Kind, Result};
use crate::sql::Walk;
use crate::types::{Low, PROCTIME, SqlType, declared_type_of, sql_type_of};

impl Planner {
    /// An expression over a table's columns, cast to `target` as an assignment is: for generated columns.
    /// Positions in the result are those of `columns`.
    pub fn table_expression(&self, expr: &ast::Expr, columns: &[TableColumn], target: &SqlType, scope: &Scope<'_>) -> Result<Scalar> {
        let schema = DFSchema::try_from(schema_of(columns).as_ref().clone()).map_err(|error| from_datafusion(error, scope.text))?;
        let logical = self.logical_expression(expr, &schema, scope)?;
        refuse_volatile(&logical)?;
        let logical = assignment_cast(logical, &schema, target, &Assignment { column: "", literal: is_literal(expr) })?;
        let text = expression_text(&logical);
        // What is stored is the same for every session.
        let utc = Scope { relations: &NoSystemRelations, ..*scope };
        Ok(Scalar { expression: self.physical_expression(logical, &schema, None, &utc)?, text })
    }

    /// As `table_expression`, from the text that the catalog keeps.
    pub fn table_expression_text(&self, sql: &str, columns: &[TableColumn], target: &SqlType, scope: &Scope<'_>) -> Result<Scalar> {
        if sql == PROCTIME {
            return Ok(Scalar { expression: Arc::new(Literal::new(not_arrived())), text: sql.to_owned() });
        }
        self.table_expression(&text::expression(sql)?, columns, target, &Scope { text: sql, ..*scope })
    }

    /// Whether an expression follows from the column at a position alone, and never falls when that rises.
    pub fn never_falls(&self, scalar: &Scalar, column: usize) -> bool {
        let of = |index: usize| (index == column).then_some(Low::Of(0));
        through(&scalar.expression, &of).is_some()
    }

    /// The name of a function in an expression without columns whose value is not always the same, if it calls one.
    pub fn changing_function(&self, sql: &str, scope: &Scope<'_>) -> Result<Option<String>> {
        Ok(volatile_function(&self.logical_expression(&text::expression(sql)?, &DFSchema::empty(), scope)?))
    }

    /// An expression without columns, cast to `target` as an assignment is, for rows whatever they are. `now_micros`: what `now()` means.
    pub fn default_expression(&self, sql: &str, target: &SqlType, scope: &Scope<'_>, now_micros: i64) -> Result<Scalar> {
        let (schema, expr, scope) = (DFSchema::empty(), text::expression(sql)?, Scope { text: sql, ..*scope });
        let logical = self.logical_expression(&expr, &schema, &scope)?;
        let logical = assignment_cast(logical, &schema, target, &Assignment { column: "", literal: is_literal(&expr) })?;
        Ok(Scalar { expression: self.physical_expression(logical, &schema, Some(now_micros), &scope)?, text: sql.to_owned() })
    }

    /// Its value: an array of length 1.
    pub fn constant_text(&self, sql: &str, target: &SqlType, scope: &Scope<'_>, now_micros: i64) -> Result<ArrayRef> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one_row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        self.default_expression(sql, target, scope, now_micros)?.array(&one_row)
    }

    /// What turns rows of the columns at hand into rows of all of `columns`: those of the same name as they are, generated ones computed.
    pub fn generated_projection(&self, at_hand: &[TableColumn], columns: &[TableColumn], scope: &Scope<'_>) -> Result<Vec<Scalar>> {
        let compute = |column: &TableColumn| match &column.generated {
            Some(sql) => self.table_expression_text(sql, at_hand, &column.sql_type, scope),
            None => {
                let found = at_hand.iter().position(|other| other.name == column.name);
                let position = found.ok_or_else(|| Error::internal(format!("column \"{}\" is not delivered", column.name)))?;
                Ok(Scalar { expression: Arc::new(PhysicalColumn::new(&column.name, position)), text: column.name.clone() })
            }
        };
        columns.iter().map(compute).collect()
    }

    /// An expression over `schema`, names resolved. Subqueries and aggregates are refused.
    pub(super) fn logical_expression(&self, expr: &ast::Expr, schema: &DFSchema, scope: &Scope<'_>) -> Result<Expr> {
        self.expression_with(expr, schema, scope, &[])
    }

    /// The same of a statement with parameters, whose types are known then.
    pub(super) fn typed_expression(
        &self,
        expr: &ast::Expr,
        schema: &DFSchema,
        scope: &Scope<'_>,
        parameters: &mut Parameters,
    ) -> Result<Expr> {
        let plan = |types: &[Option<SqlType>]| self.expression_with(expr, schema, scope, types);
        parameters.typed(expr, plan, |planned, known| in_expression(planned, schema, known))
    }

    fn expression_with(&self, expr: &ast::Expr, schema: &DFSchema, scope: &Scope<'_>, types: &[Option<SqlType>]) -> Result<Expr> {
        let names = Names::new(self, *scope, 0);
        let mut marked = expr.clone();
        // What the catalog keeps of a table has no search path: its expressions know the functions that are built in.
        if !scope.search_path.is_empty() {
            inline_expression(&mut marked, scope)?;
        }
        arrays::rectangular(&marked)?;
        arrays::rewrite_expression(&mut marked);
        spelling::rewrite_expression(&mut marked)?;
        time_precision::rewrite_expression(&mut marked);
        open_literals::mark_expression(&mut marked);
        integers::mark_expression(&mut marked);
        let logical = SqlToRel::new(&names).sql_to_expr(marked, schema, &mut planner_context(types));
        let logical = logical.and_then(integers::unmark_expression).and_then(|expr| open_literals::settle_expression(expr, schema));
        let logical = logical.map_err(|error| from_datafusion(error, scope.text))?;
        let mut refused = None;
        let _ = logical.look(|inner| {
            refused = match inner {
                Expr::AggregateFunction(_) => Some((Kind::Grouping, "aggregate functions are not allowed here")),
                Expr::WindowFunction(_) => Some((Kind::Grouping, "window functions are not allowed here")),
                Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                    Some((Kind::NotSupported, "subqueries are not allowed here"))
                }
                Expr::ScalarFunction(call) if call.func.as_async().is_some() => {
                    Some((Kind::NotSupported, "pg_sleep() is not supported here"))
                }
                Expr::Unnest(_) => Some((Kind::NotSupported, "set-returning functions are not allowed here")),
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            Ok(TreeNodeRecursion::Stop)
        });
        match refused {
            Some((kind, message)) => Err(Error::new(kind, message)),
            None => Ok(logical),
        }
    }

    /// Coerced, simplified and ready to run over batches of `schema`.
    pub(super) fn physical_expression(
        &self,
        expr: Expr,
        schema: &DFSchema,
        now_micros: Option<i64>,
        scope: &Scope<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let now = now_micros.and_then(DateTime::<Utc>::from_timestamp_micros);
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(self.state().config_options()))
            .with_query_execution_start_time(now)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let expr = simplifier.coerce(expr, schema).and_then(|expr| strict_expression(expr, schema));
        let expr = expr.and_then(|expr| compare_by_keys_within(expr, schema));
        let expr = expr.and_then(|expr| expression_in_zone(expr, schema, scope.relations.time_zone()));
        let expr = expr.and_then(|expr| simplifier.simplify(expr)).map_err(|error| from_datafusion(error, scope.text))?;
        physical(&expr, schema).map_err(|error| from_datafusion(error, scope.text))
    }
}

/// `42P17` for a generated column that is computed from another one: each is computed from what was given.
pub fn refuse_nested_generated(columns: &[TableColumn]) -> Result<()> {
    let is_generated = |name: &str| columns.iter().any(|column| column.generated.is_some() && column.name == name);
    for sql in columns.iter().filter_map(|column| column.generated.as_deref()) {
        let named = text::expression(sql)?.walk_expressions(|expr| {
            let name = match expr {
                ast::Expr::Identifier(ident) => normal(ident),
                ast::Expr::CompoundIdentifier(parts) => parts.last().map(normal).unwrap_or_default(),
                _ => return ControlFlow::Continue(()),
            };
            if is_generated(&name) { ControlFlow::Break(name) } else { ControlFlow::Continue(()) }
        });
        if let ControlFlow::Break(name) = named {
            let message = format!("cannot use generated column \"{name}\" in column generation expression");
            return Err(Error::new(Kind::InvalidObjectDefinition, message)
                .detail("A generated column cannot reference another generated column.")
                .hint("Write its expression in its place."));
        }
    }
    Ok(())
}

/// A physical expression whose arithmetic fails instead of wrapping around.
pub(super) fn physical(expr: &Expr, schema: &DFSchema) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
    let expression = create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    let checked = expression.change_up(|node| {
        let Some(binary) = node.as_ref().downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(node)) };
        if !matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply) {
            return Ok(Transformed::no(node));
        }
        let checked = BinaryExpr::new(Arc::clone(binary.left()), *binary.op(), Arc::clone(binary.right())).with_fail_on_overflow(true);
        Ok(Transformed::yes(Arc::new(checked) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(checked.data)
}

/// The same expression, with every column moved to where `place` says.
pub(super) fn moved(expression: &Arc<dyn PhysicalExpr>, place: &dyn Fn(usize) -> Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let moved = Arc::clone(expression).change_down(|node| {
        Ok(match node.as_ref().downcast_ref::<PhysicalColumn>() {
            Some(column) => Transformed::new(place(column.index()), true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    });
    moved.expect("replacing columns cannot fail").data
}

/// The position, if the expression is nothing but a column.
pub(super) fn column_index(expression: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expression.as_ref().downcast_ref::<PhysicalColumn>().map(PhysicalColumn::index)
}

/// A scalar that is nothing but a column.
pub(super) fn column_scalar(name: &str, index: usize) -> Scalar {
    let name = visible(name);
    Scalar { expression: Arc::new(PhysicalColumn::new(name, index)), text: name.to_owned() }
}

/// An expression as EXPLAIN shows it.
pub(super) fn expression_text(expr: &Expr) -> String {
    if let Expr::Alias(alias) = expr {
        return expression_text(&alias.expr);
    }
    let plain = expr.clone().change_down(|inner| {
        Ok(match inner {
            Expr::ScalarFunction(call) => match as_written(&call) {
                Some(expr) => Transformed::yes(expr.clone()),
                None => Transformed::no(Expr::ScalarFunction(call)),
            },
            other => Transformed::no(other),
        })
    });
    let plain = plain.and_then(|plain| plain.data.change_up(|inner| Ok(Transformed::yes(as_sql(inner)))));
    let text = match plain.map(|transformed| transformed.data) {
        Ok(Expr::Column(column)) => visible(&column.name).to_owned(),
        Ok(other) => other.human_display().to_string(),
        Err(_) => expr.to_string(),
    };
    // What makes names unique is not for readers.
    let mark = hidden("", 0);
    let mark = mark.trim_end_matches('0');
    let mut parts = text.split(mark);
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    clean
}

/// A function whose value does not depend on its arguments alone.
fn volatile_function(expr: &Expr) -> Option<String> {
    let mut found = None;
    let _ = expr.look(|inner| {
        if let Expr::ScalarFunction(call) = inner
            && call.func.signature().volatility != datafusion::logical_expr::Volatility::Immutable
            && !makes_rows(call.func.name())
        {
            found = Some(call.func.name().to_owned());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Refuses functions whose value does not depend on their arguments alone: a stored value could never be computed again.
pub(super) fn refuse_volatile(expr: &Expr) -> Result<()> {
    match volatile_function(expr) {
        None => Ok(()),
        Some(name) => {
            let error =
                Error::not_supported(format!("function {name}() cannot be maintained: its value changes while the rows stay the same"));
            Err(match name.as_str() {
                "now" | "current_timestamp" | "current_date" | "current_time" => {
                    error.hint("Compare a column with it in WHERE, HAVING or ON: ts > now() - INTERVAL '1 hour'.")
                }
                proctime::NAME => error.hint(proctime::HINT),
                _ => error.hint("Store the value in a table's column (DEFAULT), or call the function when reading."),
            })
        }
    }
}

/// The time at which a row arrives, until it does.
pub(super) fn not_arrived() -> ScalarValue {
    ScalarValue::TimestampMicrosecond(None, Some("UTC".into()))
}

/// What a value is assigned to, for messages.
pub(super) struct Assignment<'a> {
    /// The column; empty if there is no name.
    pub(super) column: &'a str,
    /// Whether the value is a literal or parameter: its type is then open.
    pub(super) literal: bool,
}

/// `expr` as a value of `target`, by the rules of an assignment: any literal, numbers to numbers with a range check, anything to text;
/// else `42804`.
pub(super) fn assignment_cast(expr: Expr, schema: &DFSchema, target: &SqlType, assignment: &Assignment<'_>) -> Result<Expr> {
    let (_, field) = expr.to_field(schema).map_err(|error| from_datafusion(error, ""))?;
    if let SqlType::Rounded(whole, digits) = target {
        let rounded = declared_type_of(&field) == *target && !matches!(expr, Expr::Placeholder(_));
        let value = assignment_cast(expr, schema, whole, assignment)?;
        return Ok(if rounded { value } else { scalar::call("round_time", vec![value, lit(i64::from(*digits))]) });
    }
    let from = field.data_type().clone();
    let to = target.arrow();
    let open = assignment.literal || from == DataType::Null || matches!(expr, Expr::Placeholder(_));
    if !open && !assignable(&from, target) {
        let subject = if assignment.column.is_empty() { "the value".to_owned() } else { format!("column \"{}\"", assignment.column) };
        let error =
            Error::new(Kind::DatatypeMismatch, format!("{subject} is of type {target} but expression is of type {}", type_name(&from)));
        return Err(error.hint("You will need to rewrite or cast the expression."));
    }
    if from == to && sql_type_of(&field) == *target {
        return Ok(expr);
    }
    if is_text(&from) && assignment.literal && !matches!(expr, Expr::Placeholder(_)) && *target != SqlType::Text {
        return Ok(text_input(expr, target));
    }
    let expr = if is_integer(&to) && rounds(&from) { round(expr) } else { expr };
    let cast = |target: &SqlType| Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(target.field("", true))));
    // As text first: a cast to a type with a length would cut.
    Ok(match target {
        SqlType::Varchar(Some(length)) => fit_text(cast(&SqlType::Text), *length, false),
        SqlType::Char(length) => fit_text(cast(&SqlType::Text), *length, true),
        _ => cast(target),
    })
}

/// Whether the AST is a value without a type of its own: a quoted string, NULL or a parameter.
pub(super) fn is_literal(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_literal(inner),
        ast::Expr::Value(value) => matches!(
            value.value,
            ast::Value::SingleQuotedString(_)
                | ast::Value::EscapedStringLiteral(_)
                | ast::Value::DollarQuotedString(_)
                | ast::Value::UnicodeStringLiteral(_)
                | ast::Value::Null
                | ast::Value::Placeholder(_)
        ),
        _ => false,
    }
}

/// NULL of a type.
pub(super) fn null_of(target: &SqlType) -> Result<Expr> {
    let value = ScalarValue::try_from(&target.arrow()).map_err(|error| from_datafusion(error, ""))?;
    Ok(Expr::Cast(Cast::new_from_field(Box::new(Expr::Literal(value, None)), Arc::new(target.field("", true)))))
}

fn assignable(from: &DataType, target: &SqlType) -> bool {
    let to = target.arrow();
    let time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    *from == to
        || (from.is_numeric() && to.is_numeric())
        || (time(from) && time(&to))
        || (is_text(&to) && !matches!(target, SqlType::Uuid | SqlType::Json | SqlType::Jsonb))
        || (is_text(from) && is_text(&to))
        || std::mem::discriminant(from) == std::mem::discriminant(&to)
        || type_name(from) == target.to_string()
}

/// Types whose values have digits behind the point: PostgreSQL rounds them on the way to an integer, Arrow would cut.
fn rounds(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64) || data_type.is_decimal()
}

fn round(expr: Expr) -> Expr {
    scalar::call("round", vec![expr])
}
