//! Queries → analysed plans → optimised plans → streams of rows.
//!
//! One `Planner` is built at the start and shared: it holds DataFusion's functions, rules and limits, and nothing of any session.
//! Planning looks at names and types only; rows come in when a plan is executed, by `attach`.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use datafusion::common::TableReference;
use datafusion::common::config::{ConfigOptions, Dialect};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource};
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use sqlparser::ast;

use super::aggregates;
use super::aggregates::framed::exact_frames;
use super::aggregates::reals::real_sums;
use super::ambiguous;
use super::arrays;
use super::as_of::without_as_of;
use super::bound::Bound;
use super::call_clauses;
use super::canonical_floats::aggregates_with_canonical_floats;
use super::copies::with_copies;
use super::distinct_on::{self, without_distinct_on};
use super::distinct_order;
use super::equal_values::compare_by_keys;
use super::errors::{external, from_datafusion, located};
use super::floats::numeric_to_float;
use super::frames;
use super::from_columns::{Columns, Within};
use super::functions;
use super::grouped_by_key::{self, Keyed};
use super::grouping_clauses;
use super::hypothetical;
use super::in_union::with_union_columns;
use super::inline::inline_query;
use super::integers;
use super::microseconds::in_microseconds;
use super::mismatch::{refuse_mismatches, refuse_windows_in_conditions};
use super::mistakes;
use super::named_windows;
use super::names::{name_outputs, visible};
use super::names_apart;
use super::names_once;
use super::open_literals;
use super::operands::told_apart;
use super::operators::Operators;
use super::outer_names;
use super::parameters::{Parameters, in_plan};
use super::peer_frames::peer_frames;
use super::percentile_arrays;
use super::recursion::check_recursions;
use super::refused;
use super::resolve::{Names, ObjectSource, Scope};
use super::row_comparisons;
use super::rules::{all, maintainable, physical_rules};
use super::scalar;
use super::sessions;
use super::sized;
use super::spelling;
use super::strict::strict_plan;
use super::subqueries::{correlated_to_one_value, json_stays_json, perhaps_without_row};
use super::subquery_operands::computed_below;
use super::table_functions;
use super::temporal_join::without_temporal;
use super::text;
use super::time_precision;
use super::union_types::with_union_types;
use super::unnest::{refuse_elsewhere, unnested};
use super::using;
use super::values;
use super::walk::WalkPlan;
use super::whole_rows;
use super::with_names;
use super::with_ties::without_ties;
use super::zones::{in_utc, in_zone};
use crate::catalog::{ObjectKind, View};
use crate::error::{Kind, Result};
use crate::types::{ObjectId, SqlType, declared_type_of};

/// What a planner is built with.
#[derive(Clone, Debug)]
pub struct PlannerOptions {
    /// Threads that one ad-hoc query may use.
    pub target_partitions: usize,
    /// Bytes that all ad-hoc queries together may hold; `None`: no limit.
    pub memory_limit_bytes: Option<usize>,
}

impl Default for PlannerOptions {
    fn default() -> Self {
        PlannerOptions { target_partitions: 1, memory_limit_bytes: None }
    }
}

/// Plans queries. Knows functions and types, no tables.
pub struct Planner {
    state: SessionState,
    /// The same without dynamic filters in joins: made when the first query needs it.
    without_dynamic_filters: OnceLock<Box<SessionState>>,
    /// Rules that keep plans in a shape that can be maintained.
    view_optimizer: Optimizer,
    view_options: Arc<ConfigOptions>,
    /// For queries that run once.
    query_options: Arc<ConfigOptions>,
}

/// What planning one query text gives: the plan, the views within it, whether it reads system relations.
pub(super) type Planned = (LogicalPlan, BTreeSet<ObjectId>, bool);

impl Planner {
    /// A planner with DataFusion's functions and ours.
    pub fn new(options: &PlannerOptions) -> Result<Self> {
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(bytes) = options.memory_limit_bytes {
            runtime = runtime.with_memory_limit(bytes, 1.0);
        }
        let runtime = runtime.build_arc().map_err(|error| from_datafusion(error, ""))?;
        // Asked before DataFusion's own.
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(Operators), Arc::new(arrays::ArrayPlanner), Arc::new(frames::Frames)];
        planners.extend(SessionStateDefaults::default_expr_planners());
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_expr_planners(planners)
            .with_runtime_env(runtime)
            .with_config(config(options.target_partitions))
            .with_optimizer_rules(all())
            .with_physical_optimizer_rules(physical_rules())
            .build();
        let mut view_options = state.config_options().as_ref().clone();
        // As a join, a scalar subquery is a plan node that we can see, and later maintain.
        view_options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        let (view_options, query_options) = (sized::folding(&view_options), sized::folding(state.config_options()));
        let mut planner = Planner {
            state,
            without_dynamic_filters: OnceLock::new(),
            view_optimizer: Optimizer::with_rules(maintainable()),
            view_options,
            query_options,
        };
        for function in scalar::all().into_iter().chain(functions::all()) {
            planner.register_udf(function)?;
        }
        let known = |name: &str| planner.state.scalar_functions().get(name).cloned();
        for function in sized::all(known, &planner.state.runtime_env().memory_pool) {
            planner.register_udf(function)?;
        }
        for function in aggregates::all() {
            planner.state.register_udaf(function).map_err(|error| from_datafusion(error, ""))?;
        }
        for function in sessions::all() {
            planner.state.register_udwf(function).map_err(|error| from_datafusion(error, ""))?;
        }
        Ok(planner)
    }

    /// Whether a function of this name is built in.
    pub fn has_function(&self, name: &str) -> bool {
        let state = &self.state;
        state.scalar_functions().contains_key(name)
            || state.aggregate_functions().contains_key(name)
            || state.window_functions().contains_key(name)
            || state.table_functions().contains_key(name)
            || state.higher_order_functions().contains_key(name)
    }

    /// Adds a scalar function, or replaces the one of its name.
    pub fn register_udf(&mut self, function: Arc<ScalarUDF>) -> Result<()> {
        self.state.register_udf(function).map(drop).map_err(|error| from_datafusion(error, ""))
    }

    /// Analyses a query. `parameters`: the types that the client declared, as far as it did.
    pub fn query(&self, query: &ast::Query, scope: &Scope<'_>, parameters: &[Option<SqlType>]) -> Result<Bound> {
        let mut parameters = Parameters::new(parameters);
        let planned = self.plan_typed(query, scope, &mut parameters, false)?;
        Ok(Bound { parameters: parameters.settled(), ..self.bind(planned, scope)? })
    }

    /// The plan of a query of a statement with parameters, whose types are known then. `assigned`: its rows go into a table.
    pub(super) fn plan_typed(&self, query: &ast::Query, scope: &Scope<'_>, parameters: &mut Parameters, assigned: bool) -> Result<Planned> {
        parameters.typed(query, |types| self.plan_query(query, scope, 0, types, assigned), |planned, known| in_plan(&planned.0, known))
    }

    /// Analyses a plan and tells what there is to know of it, but for the statement's parameters.
    pub(super) fn bind(&self, planned: Planned, scope: &Scope<'_>) -> Result<Bound> {
        let text = scope.text;
        let (plan, views, reads_system) = planned;
        super::size::check(&plan)?;
        refuse_windows_in_conditions(&plan)?;
        if !reads_system {
            refuse_mismatches(&plan).map_err(|error| located(error, text))?;
        }
        check_recursions(&plan)?;
        let plan = with_copies(plan)?;
        let options = self.state.config_options();
        let plan =
            with_union_types(plan).and_then(with_union_columns).and_then(without_distinct_on).and_then(without_ties).and_then(told_apart);
        let plan = plan
            .and_then(json_stays_json)
            .and_then(correlated_to_one_value)
            .and_then(perhaps_without_row)
            .and_then(computed_below)
            .and_then(unnested)
            .map_err(|error| from_datafusion(error, text))?;
        refuse_elsewhere(&plan, text)?;
        let plan = real_sums(plan).and_then(numeric_to_float).and_then(peer_frames);
        let plan = plan.and_then(|plan| self.state.analyzer().execute_and_check(plan, options, |_, _| {}));
        let plan = plan.and_then(in_microseconds).and_then(strict_plan).and_then(compare_by_keys).and_then(exact_frames);
        let plan = plan.map_err(|error| from_datafusion(error, text))?;
        let plan = in_zone(plan, scope.relations.time_zone()).map_err(|error| from_datafusion(error, text))?;
        let plan = arrays::maps_as_text(plan).map_err(|error| from_datafusion(error, text))?;
        let schema = output_schema(&plan);
        let mut depends_on = views;
        depends_on.extend(objects_of(&plan));
        Ok(Bound::new(plan, schema, depends_on, reads_system))
    }

    /// A query with what DataFusion does not know rewritten into what it does, as far as that depends on neither names nor types.
    fn expanded(&self, query: &ast::Query, scope: &Scope<'_>, depth: usize, parameters: &[Option<SqlType>]) -> Result<ast::Query> {
        super::size::check_text(query)?;
        refused::check(query, self, scope.text)?;
        names_once::check(query, scope)?;
        let mut expanded = query.clone();
        using::expand(&mut expanded, Within { planner: self, scope, depth, parameters })?;
        crate::sql::expand_windows(&mut expanded)?;
        named_windows::expand(&mut expanded, scope.text)?;
        frames::check(&expanded)?;
        grouping_clauses::expand(&mut expanded)?;
        distinct_on::without_places(&mut expanded)?;
        call_clauses::check(&expanded, self, scope.text)?;
        crate::sql::prepare_recursion(&mut expanded)?;
        with_names::expand(&mut expanded)?;
        arrays::rectangular(&expanded)?;
        row_comparisons::rewrite_query(&mut expanded)?;
        spelling::rewrite_query(&mut expanded)?;
        Ok(expanded)
    }

    /// The plan of a query, names resolved, types not yet coerced. `depth`: how many views it stands in; `assigned`: its rows go into a table.
    pub(super) fn plan_query(
        &self,
        query: &ast::Query,
        scope: &Scope<'_>,
        depth: usize,
        parameters: &[Option<SqlType>],
        assigned: bool,
    ) -> Result<Planned> {
        let expanded = self.expanded(query, scope, depth, parameters)?;
        let attempt = |query: &ast::Query, all: bool| self.attempt(query, scope, depth, parameters, assigned, all);
        let within = Within { planner: self, scope, depth, parameters };
        let whole_rows = |query: &ast::Query| {
            whole_rows::expand(query, &|relation, known, around| Columns { within, known }.settled(relation, around).ok())
        };
        let with_rows = |query: &ast::Query| whole_rows::has_row_arguments(query).then(|| whole_rows(query)).flatten();
        let written = expanded;
        let rewritten = with_rows(&written);
        let expanded = rewritten.as_ref().unwrap_or(&written);
        match attempt(expanded, false) {
            Ok(planned) => {
                let collide = names_apart::collide(&planned.0).map_err(|error| from_datafusion(error, scope.text))?;
                Ok(if collide { attempt(expanded, true).unwrap_or(planned) } else { planned })
            }
            Err(error) => {
                let error = from_datafusion(error, scope.text);
                if error.kind() == Kind::UndefinedColumn
                    && let Some(whole) = whole_rows(expanded)
                    && let Ok(planned) = attempt(&whole, false)
                {
                    return Ok(planned);
                }
                // `SELECT *, id` has a column twice, and `sum(x), sum(x::bigint)` two of one name: legal SQL, if each has a name of its own.
                if matches!(error.kind(), Kind::DuplicateColumn | Kind::AmbiguousColumn) {
                    match attempt(expanded, true).map_err(|error| from_datafusion(error, scope.text)) {
                        Ok(planned) => return Ok(planned),
                        Err(error) if error.kind() == Kind::AmbiguousColumn => return Err(error),
                        Err(_) => {}
                    }
                }
                if error.kind() == Kind::Grouping
                    && let Some(grouped) = grouped_by_key::expand(&written, &|schema, name| self.keyed_table(schema, name, scope, depth))
                {
                    let grouped = with_rows(&grouped).unwrap_or(grouped);
                    let planned = attempt(&grouped, false).or_else(|_| attempt(&grouped, true));
                    match planned.map_err(|error| from_datafusion(error, scope.text)) {
                        Ok(planned) => return Ok(planned),
                        // What is still missing follows from no key.
                        Err(error) if error.kind() == Kind::Grouping => return Err(error),
                        Err(_) => {}
                    }
                }
                // DataFusion knows conditions by what they are, not by where they stand.
                if let Some(in_having) = mistakes::in_having(&error)
                    && let Some(without) = mistakes::without_having(expanded)
                    && attempt(&without, false).is_ok()
                {
                    return Err(in_having);
                }
                Err(error)
            }
        }
    }

    /// The plan of a query without whole rows, and without a word about what is wrong with it.
    pub(super) fn plan_as_it_is(
        &self,
        query: &ast::Query,
        scope: &Scope<'_>,
        depth: usize,
        parameters: &[Option<SqlType>],
    ) -> Result<Planned> {
        let expanded = self.expanded(query, scope, depth, parameters)?;
        let attempt = |all: bool| self.attempt(&expanded, scope, depth, parameters, false, all);
        attempt(false).or_else(|_| attempt(true)).map_err(|error| from_datafusion(error, scope.text))
    }

    /// The plan of an expanded query as it stands. `all`: every column gets a name of its own.
    fn attempt(
        &self,
        query: &ast::Query,
        scope: &Scope<'_>,
        depth: usize,
        parameters: &[Option<SqlType>],
        assigned: bool,
        all: bool,
    ) -> DataFusionResult<Planned> {
        let mut named = query.clone();
        name_outputs(&mut named, all);
        distinct_order::by_names(&mut named);
        hypothetical::expand(&mut named).map_err(external)?;
        percentile_arrays::expand(&mut named).map_err(external)?;
        time_precision::rewrite_query(&mut named);
        let called = inline_query(&mut named, scope).map_err(external)?;
        arrays::rewrite(&mut named);
        table_functions::expand(&mut named).map_err(external)?;
        values::agree(&mut named);
        open_literals::mark(&mut named);
        integers::mark(&mut named, assigned);
        outer_names::qualify(&mut named);
        if all {
            names_apart::mark(&mut named, self);
        }
        let names = Names::new(self, *scope, depth);
        let mut context = planner_context(parameters);
        let statement = ast::Statement::Query(Box::new(named));
        let plan = SqlToRel::new(&names).sql_statement_to_plan_with_context(statement, &mut context)?;
        super::size::check(&plan).map_err(external)?;
        ambiguous::check(&plan, scope.text)?;
        distinct_order::check(&plan)?;
        let plan = if all { names_apart::unmark(plan)? } else { plan };
        integers::unmark(plan)
            .and_then(open_literals::settle)
            .and_then(table_functions::without_lateral)
            .and_then(table_functions::with_keys)
            .map(|plan| {
                let (mut views, system) = names.seen();
                views.extend(called);
                (plan, views, system)
            })
    }

    /// A table with a primary key, if there is one of this name.
    fn keyed_table(&self, schema: Option<&str>, name: &str, scope: &Scope<'_>, depth: usize) -> Option<Keyed> {
        let source = Names::new(self, *scope, depth).get_table_source(reference(schema, name)).ok()?;
        let object = &source.as_ref().downcast_ref::<ObjectSource>()?.object;
        let ObjectKind::Table(table) = &object.kind else { return None };
        let columns: Vec<String> = object.columns()?.iter().map(|column| column.name.clone()).collect();
        let key: Vec<String> = table.key.iter().map(|place| columns[*place].clone()).collect();
        (!key.is_empty()).then_some(Keyed { columns, key })
    }

    /// The plan of a view's query, with the view's column names.
    pub(super) fn view_plan(&self, view: &View, scope: Scope<'_>, depth: usize) -> Result<Planned> {
        let query = text::query(&view.query)?;
        let (plan, views, system) = self.plan_query(&query, &scope, depth, &[], false)?;
        let columns = plan.schema().columns();
        let named: Vec<Expr> = columns.into_iter().zip(&view.columns).map(|(from, to)| Expr::Column(from).alias(to.name.clone())).collect();
        let plan = LogicalPlanBuilder::from(plan)
            .project(named)
            .and_then(LogicalPlanBuilder::build)
            .and_then(|plan| if scope.relations.time_zone() == Tz::UTC { Ok(plan) } else { in_utc(plan) })
            .map_err(|error| from_datafusion(error, scope.text))?;
        Ok((plan, views, system))
    }

    /// Optimises a plan for running it once. `now_micros`: what `now()` means.
    pub fn optimize(&self, plan: LogicalPlan, now_micros: i64) -> Result<LogicalPlan> {
        let now = DateTime::<Utc>::from_timestamp_micros(now_micros).unwrap_or_default();
        let context = OptimizerContext::new_with_config_options(Arc::clone(&self.query_options)).with_query_execution_start_time(now);
        let plan = without_temporal(plan).and_then(without_as_of).map_err(|error| from_datafusion(error, ""))?;
        let plan = self.state.optimizer().optimize(plan, &context, |_, _| {});
        plan.and_then(names_apart::named_keys).and_then(aggregates_with_canonical_floats).map_err(|error| from_datafusion(error, ""))
    }

    /// The positions of the columns of `object` that a query cannot do without.
    pub fn columns_read(&self, bound: &Bound, object: ObjectId) -> Result<BTreeSet<usize>> {
        let plan = self.optimize(bound.plan.clone(), 0)?;
        let mut read = BTreeSet::new();
        let _ = plan.look_at_all(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(source) = scan.source.as_ref().downcast_ref::<ObjectSource>()
                && source.object.id == object
            {
                let all = || (0..source.schema().fields().len()).collect();
                read.extend(scan.projection.clone().unwrap_or_else(all));
                let filtered = scan.filters.iter().flat_map(|filter| filter.column_refs());
                read.extend(filtered.filter_map(|column| source.schema().index_of(&column.name).ok()));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        Ok(read)
    }

    /// Optimises a plan for maintaining its result.
    pub(super) fn optimize_view(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let context = OptimizerContext::new_with_config_options(Arc::clone(&self.view_options));
        self.view_optimizer.optimize(plan, &context, |_, _| {}).map_err(|error| from_datafusion(error, ""))
    }

    /// The physical plan of an optimised plan whose sources have rows.
    pub async fn physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let state = if joins_nested(plan) {
            // The least and the greatest key of one side, by which DataFusion looks for rows of the other, are those of another order.
            self.without_dynamic_filters.get_or_init(|| {
                let mut state = Box::new(self.state.clone());
                state.config_mut().options_mut().optimizer.enable_join_dynamic_filter_pushdown = false;
                state
            })
        } else {
            &self.state
        };
        state.query_planner().create_physical_plan(plan, state).await.map_err(|error| from_datafusion(error, ""))
    }

    /// Starts a physical plan. Dropping the stream stops it.
    pub fn execute(&self, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        execute_stream(plan, self.state.task_ctx()).map_err(|error| from_datafusion(error, ""))
    }

    /// DataFusion's functions, rules and settings.
    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }
}

fn reference(schema: Option<&str>, name: &str) -> TableReference {
    match schema {
        Some(schema) => TableReference::partial(schema, name),
        None => TableReference::bare(name),
    }
}

/// Whether the key of a join is an array or a row.
fn joins_nested(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.look_at_all(|node| {
        if let LogicalPlan::Join(join) = node {
            let nested = |key: &Expr| key.get_type(join.left.schema()).is_ok_and(|data_type| data_type.is_nested());
            found |= join.on.iter().any(|(left, _)| nested(left));
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// The objects that a plan scans, in subqueries too.
fn objects_of(plan: &LogicalPlan) -> BTreeSet<ObjectId> {
    let mut found = BTreeSet::new();
    let _ = plan.look_at_all(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(source) = scan.source.as_ref().downcast_ref::<ObjectSource>()
        {
            found.insert(source.object.id);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The columns of a plan as the user sees them.
pub(super) fn output_schema(plan: &LogicalPlan) -> SchemaRef {
    let fields = plan.schema().fields().iter().map(|field| declared_type_of(field).field(visible(field.name()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(super) fn planner_context(parameters: &[Option<SqlType>]) -> PlannerContext {
    let fields: Vec<Option<FieldRef>> =
        parameters.iter().map(|known| known.as_ref().map(|sql_type| Arc::new(sql_type.field("", true)))).collect();
    PlannerContext::new().with_prepare_param_data_types(fields)
}

fn config(target_partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(target_partitions).with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.enable_ident_normalization = true;
    options.sql_parser.collect_spans = true;
    options.catalog.create_default_catalog_and_schema = false;
    // The check takes it for an error that a column may be NULL by one plan and not by the other: windows and set operations cause that.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.execution.time_zone = Some("UTC".to_owned());
    config
}
