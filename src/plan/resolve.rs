//! Names in a query → what they stand for: the catalog as DataFusion's planner asks for it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono_tz::Tz;
use datafusion::catalog::{TableFunctionArgs, TableProvider};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Cast, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF,
    TableProviderFilterPushDown, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::data_type::SqlTypes;
use super::frames;
use super::functions::{UnknownFunction, undefined_function};
use super::integers;
use super::names_apart;
use super::open_literals;
use super::planner::Planner;
use super::strict::strict_expression;
use super::table_functions;
use super::zones::expression_in_zone;
use crate::catalog::{Catalog, Column, Object, ObjectKind, View, nearest, system};
use crate::error::{Error, Kind, Result};
use crate::plan::errors::external;
use crate::types::{ObjectId, SqlType};

/// Views within views at the most: planning recurses once for each.
const VIEW_DEPTH_MAX: usize = 32;

/// Where a query finds what the catalog does not hold.
pub trait RelationSource: Send + Sync {
    /// The system relation of this name in `pg_catalog`, `information_schema` or `tidemill`.
    fn system(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>>;

    /// Whether there are system relations, but not for this query.
    fn withholds_system(&self) -> bool {
        false
    }

    /// The zone in which local time is meant.
    fn time_zone(&self) -> Tz {
        Tz::UTC
    }

    /// A relation that only this statement knows; asked before all others.
    fn object(&self, _name: &str) -> Option<&Arc<Object>> {
        None
    }

    /// A function that depends on the session, such as `current_user`; asked before all others.
    fn function(&self, _name: &str) -> Option<Arc<ScalarUDF>> {
        None
    }
}

/// No system relations: for views, which can only read what is in the catalog.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSystemRelations;

impl RelationSource for NoSystemRelations {
    fn system(&self, _schema: &str, _name: &str) -> Option<Arc<dyn TableProvider>> {
        None
    }

    fn withholds_system(&self) -> bool {
        true
    }
}

/// What the names of a statement are looked up in.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Tables, sources and views.
    pub catalog: &'a Catalog,
    /// The schemas in which names without one are looked for, in order.
    pub search_path: &'a [String],
    /// System relations and session functions.
    pub relations: &'a dyn RelationSource,
    /// The statement's text, whose lines and columns the AST speaks of: for the positions of errors.
    pub text: &'a str,
}

/// A table, source or materialised view in a logical plan: its columns, no rows.
#[derive(Clone, Debug)]
pub struct ObjectSource {
    /// What is read.
    pub object: Arc<Object>,
    schema: SchemaRef,
    /// Columns by which rows can be found without looking at all.
    indexed: BTreeSet<usize>,
    /// Whether conditions on them come down to the scan (and stay above it too): they do in a query, not in a view.
    finds: bool,
}

impl ObjectSource {
    /// The columns of an object as a plan sees them. Schemas and views have no source.
    pub fn new(object: &Arc<Object>, catalog: &Catalog) -> Result<Self> {
        let columns = object.columns().ok_or_else(|| Error::internal(format!("\"{}\" has no columns", object.name)))?;
        let indexed = catalog.indexes_of(object.id).into_iter().flat_map(|index| index.columns).collect();
        Ok(ObjectSource { object: Arc::clone(object), schema: schema_of(columns), indexed, finds: false })
    }

    /// The same, for a query.
    #[must_use]
    pub(super) fn finding(&self) -> Self {
        ObjectSource { finds: true, ..self.clone() }
    }
}

impl TableSource for ObjectSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let column = |filter: &Expr| bound_column(filter).and_then(|(column, _)| self.schema.index_of(column).ok());
        let answers = filters.iter().map(|filter| match column(filter) {
            Some(column) if self.finds && self.indexed.contains(&column) => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        });
        Ok(answers.collect())
    }
}

/// The column and the values of `column = value` or `column IN (values)`.
pub fn bound_column(filter: &Expr) -> Option<(&str, Vec<&ScalarValue>)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
                Some((&column.name, vec![value]))
            }
            _ => None,
        },
        Expr::InList(InList { expr, list, negated: false }) => {
            let Expr::Column(column) = expr.as_ref() else { return None };
            let values = list.iter().map(|value| match value {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            });
            Some((&column.name, values.collect::<Option<_>>()?))
        }
        // DataFusion writes short lists so.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let ((column, mut values), (other, more)) = (bound_column(left)?, bound_column(right)?);
            values.extend(more);
            (column == other).then_some((column, values))
        }
        _ => None,
    }
}

/// The Arrow schema of an object's columns.
pub fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| column.sql_type.field(&column.name, !column.not_null)).collect::<Vec<_>>()))
}

/// A view: DataFusion puts its plan in the place of its name.
struct ViewSource {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// Looks names up for one query.
pub(super) struct Names<'a> {
    planner: &'a Planner,
    scope: Scope<'a>,
    depth: usize,
    /// Views that were put in place of their names: they are not to be seen in the plan any more.
    views: RefCell<BTreeSet<ObjectId>>,
    system: RefCell<bool>,
}

impl<'a> Names<'a> {
    /// `depth`: how many views this query stands in.
    pub(super) fn new(planner: &'a Planner, scope: Scope<'a>, depth: usize) -> Self {
        Names { planner, scope, depth, views: RefCell::default(), system: RefCell::new(false) }
    }

    /// The views seen, and whether a system relation was.
    pub(super) fn seen(self) -> (BTreeSet<ObjectId>, bool) {
        (self.views.into_inner(), self.system.into_inner())
    }

    fn state(&self) -> &SessionState {
        self.planner.state()
    }

    fn find(&self, schema: Option<&str>, name: &str) -> Result<Arc<dyn TableSource>> {
        match schema {
            Some(schema) => {
                if let Some(source) = self.system(schema, name) {
                    return Ok(source);
                }
            }
            None => {
                if let Some(object) = self.scope.relations.object(name) {
                    return self.source(object);
                }
                let implicit = !self.scope.search_path.iter().any(|schema| schema == "pg_catalog");
                let path = implicit.then_some("pg_catalog").into_iter().chain(self.scope.search_path.iter().map(String::as_str));
                for schema in path {
                    if let Some(object) = self.scope.catalog.find_in(schema, name)
                        && object.columns().is_some()
                    {
                        return self.source(object);
                    }
                    if let Some(source) = self.system(schema, name) {
                        return Ok(source);
                    }
                }
            }
        }
        match self.scope.catalog.resolve(schema, name, self.scope.search_path) {
            Ok(object) => self.source(object),
            Err(_) if self.scope.relations.withholds_system() && is_system(schema, name) => {
                let message = format!("a view cannot read the system relation \"{name}\"");
                Err(Error::not_supported(message).hint("A query can: it is not kept up to date."))
            }
            Err(error) => Err(error),
        }
    }

    fn system(&self, schema: &str, name: &str) -> Option<Arc<dyn TableSource>> {
        let provider = self.scope.relations.system(schema, name)?;
        *self.system.borrow_mut() = true;
        Some(provider_as_source(provider))
    }

    fn source(&self, object: &Arc<Object>) -> Result<Arc<dyn TableSource>> {
        match &object.kind {
            ObjectKind::View(view) => self.view(object, view),
            ObjectKind::Schema => Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is a schema", object.name))),
            ObjectKind::Index(_) => Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is an index", object.name))),
            ObjectKind::Function(_) => Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is a function", object.name))),
            ObjectKind::Sink(_) => Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is a sink", object.name))
                .hint("Read the table that it writes, or what it reads.")),
            _ => Ok(Arc::new(ObjectSource::new(object, self.scope.catalog)?)),
        }
    }

    fn view(&self, object: &Object, view: &View) -> Result<Arc<dyn TableSource>> {
        if self.depth >= VIEW_DEPTH_MAX {
            return Err(Error::new(Kind::LimitExceeded, format!("views stand in each other more than {VIEW_DEPTH_MAX} deep")));
        }
        let scope = Scope { search_path: &view.search_path, text: &view.query, ..self.scope };
        let (plan, views, system) = self.planner.view_plan(view, scope, self.depth + 1).map_err(|error| {
            let inner = Error::new(error.kind(), format!("in view \"{}\": {}", object.name, error.message()));
            match error.hint_text() {
                Some(hint) => inner.hint(hint),
                None => inner,
            }
        })?;
        self.views.borrow_mut().extend(views);
        self.views.borrow_mut().insert(object.id);
        *self.system.borrow_mut() |= system;
        Ok(Arc::new(ViewSource { schema: schema_of(&view.columns), plan }))
    }

    /// The arguments of a table function as it wants them: computed, integers as bigint; and whether all of them were int4.
    fn table_arguments(&self, arguments: Vec<Expr>) -> DataFusionResult<(Vec<Expr>, bool)> {
        let schema = DFSchema::empty();
        let context =
            SimplifyContext::builder().with_schema(Arc::new(schema.clone())).with_config_options(Arc::clone(self.state().config_options()));
        let simplifier = ExprSimplifier::new(context.build());
        let mut int4 = !arguments.is_empty();
        let mut computed = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let argument = simplifier.coerce(integers::unmark_expression(argument)?, &schema)?;
            let argument = simplifier.simplify(expression_in_zone(strict_expression(argument, &schema)?, &schema, self.time_zone())?)?;
            let small = matches!(argument, Expr::Literal(ScalarValue::Int32(_), _));
            int4 &= small;
            computed.push(match argument {
                Expr::Literal(value, metadata) if small => Expr::Literal(value.cast_to(&DataType::Int64)?, metadata),
                other => other,
            });
        }
        Ok((computed, int4))
    }

    /// Whether DataFusion knows `name` in another way than as a scalar function.
    fn is_special(&self, name: &str) -> bool {
        let state = self.state();
        state.aggregate_functions().contains_key(name)
            || state.window_functions().contains_key(name)
            || state.higher_order_functions().contains_key(name)
            || matches!(
                name,
                "unnest"
                    | "unnest_outer"
                    | "struct"
                    | "map"
                    | "make_map"
                    | "grouping"
                    | "user"
                    | "current_user"
                    | "session_user"
                    | "current_catalog"
            )
    }

    /// The session's, but views mean UTC.
    fn time_zone(&self) -> Tz {
        if self.depth == 0 { self.scope.relations.time_zone() } else { Tz::UTC }
    }

    fn unknown_function(&self, name: &str) -> Arc<ScalarUDF> {
        // Some of ours have names that nobody can type.
        let known = self.udf_names().into_iter().chain(self.udaf_names()).filter(|name| !name.starts_with('\0')).collect::<Vec<_>>();
        let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        Arc::new(ScalarUDF::from(UnknownFunction::new(name, near)))
    }
}

/// Whether a name is one of those that only the system gives.
fn is_system(schema: Option<&str>, name: &str) -> bool {
    match schema {
        Some(schema) => matches!(schema, "pg_catalog" | "information_schema" | "tidemill"),
        None => name.starts_with("pg_"),
    }
}

/// A series of bigints as one of int4, as PostgreSQL makes it between two int4.
fn int4_series(name: &str, source: Arc<dyn TableSource>) -> DataFusionResult<ViewSource> {
    let fields = source.schema().fields().iter().map(|field| SqlType::Int4.field(field.name(), field.is_nullable())).collect::<Vec<_>>();
    let scan = LogicalPlanBuilder::scan(name, source, None)?;
    let columns = scan.schema().columns().into_iter().map(|column| {
        let name = column.name.clone();
        Expr::Cast(Cast::new(Box::new(Expr::Column(column)), DataType::Int32)).alias(name)
    });
    let columns = columns.collect::<Vec<_>>();
    Ok(ViewSource { schema: Arc::new(Schema::new(fields)), plan: scan.project(columns)?.build()? })
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        self.find(name.schema(), name.table()).map_err(external)
    }

    fn get_table_function_source(&self, name: &str, arguments: Vec<Expr>) -> DataFusionResult<Arc<dyn TableSource>> {
        if let Some(function) = self.state().table_functions().get(name) {
            let (arguments, int4) = self.table_arguments(arguments)?;
            let arguments = TableFunctionArgs::new(&arguments, self.state());
            let source = provider_as_source(function.create_table_provider_with_args(arguments)?);
            return if int4 { Ok(Arc::new(int4_series(name, source)?)) } else { Ok(source) };
        }
        let types = vec![DataType::Null; arguments.len()];
        Err(external(undefined_function(name, &types)))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state().expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        table_functions::planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(SqlTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        // `pg_catalog.version()` and the like: the schema in which PostgreSQL keeps its functions.
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
        let of_session = self.scope.relations.function(name);
        let marks = [integers::function, open_literals::function, names_apart::function, frames::function];
        if let Some(function) = of_session.or_else(|| marks.iter().find_map(|mark| mark(name))) {
            return Some(function);
        }
        if self.scope.relations.withholds_system() && system::function(name).is_some_and(|function| !function.pure) {
            return Some(Arc::new(ScalarUDF::from(UnknownFunction::of_session(name))));
        }
        match self.state().scalar_functions().get(name) {
            Some(function) => Some(Arc::clone(function)),
            None if self.is_special(name) => None,
            None => Some(self.unknown_function(name)),
        }
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state().higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state().aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state().window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state().config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state().scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state().higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state().aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state().window_functions().keys().cloned().collect()
    }
}
