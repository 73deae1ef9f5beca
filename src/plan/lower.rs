//! Optimised logical plan → incremental plan.
//!
//! Always: the columns of a node stand where those of its logical plan stand, so that names resolve by the plan's schema and end as positions.
//! Nodes are numbered in the order of their construction, inputs first, so the same SQL gives the same numbers.

mod aggregate;
mod aggregate_call;
mod as_of;
mod coverage;
mod delta;
mod group;
mod grouping;
mod hop;
mod in_time;
mod join;
mod late;
mod low;
mod moment;
mod recursion;
mod session;
mod single;
mod support;
mod temporal;
mod temporal_join;
mod top_n;
mod unnest;
mod window;
mod window_close;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Cast, Distinct, Expr, Extension, LogicalPlan, TableScan, Union, Values};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr};

pub(super) use self::low::{low_of, through};
pub(super) use self::temporal::clock;
pub(super) use self::top_n::unaliased;
use super::as_of::{AsOfJoin, with_as_of};
use super::bound::Bound;
use super::errors::from_datafusion;
use super::expressions::{column_index, column_scalar, expression_text, moved, physical};
use super::names::visible;
use super::node::{Crossing, Node, NodeKind, Plan, Properties, Scalar};
use super::planner::Planner;
use super::proctime::{Arrivals, with_arrivals};
use super::properties;
use super::resolve::ObjectSource;
use super::retention::{before_now, column_of, kept_rows};
use super::temporal_join::{TemporalJoin, with_temporal};
use crate::catalog::{Catalog, ObjectKind, ViewOptions, ViewRetention};
use crate::error::{Error, Kind, Result};
use crate::types::{Low, ObjectId, sql_type_of};

/// How often a recursion may go round unless the view says otherwise: far more than hierarchies and most graphs are deep, few enough that one
/// which never ends is found at once.
const ITERATIONS_MAX: u32 = 1_000;

/// What a view's plan depends on beside its query.
#[derive(Clone, Copy, Debug)]
pub struct ViewSettings {
    /// How often a recursion may go round.
    pub iterations_max: u32,
    /// Joins use only indexes with lower numbers: those that were there when the view was made. So it has the same plan ever after.
    pub indexes_before: ObjectId,
    /// Every row comes out when it is final.
    pub emit_on_window_close: bool,
    /// How long windows stay open behind their ends, in microseconds.
    pub allowed_lateness_us: i64,
    /// The newest rows that come too late are kept to be looked at.
    pub keep_late_rows: bool,
    /// How long rows are kept.
    pub retention: Option<ViewRetention>,
}

impl Default for ViewSettings {
    fn default() -> Self {
        ViewSettings {
            iterations_max: ITERATIONS_MAX,
            indexes_before: ObjectId::MAX,
            emit_on_window_close: false,
            allowed_lateness_us: 0,
            keep_late_rows: false,
            retention: None,
        }
    }
}

impl ViewSettings {
    /// Those that a view with this number had when it was made; one that is being made has no number.
    pub fn of(number: Option<ObjectId>, options: &ViewOptions) -> Self {
        ViewSettings {
            iterations_max: options.iterations_max.unwrap_or(ITERATIONS_MAX),
            indexes_before: number.unwrap_or(ObjectId::MAX),
            emit_on_window_close: options.emit_on_window_close,
            allowed_lateness_us: options.allowed_lateness_us.unwrap_or(0),
            keep_late_rows: options.keep_late_rows,
            retention: options.retention,
        }
    }
}

impl Planner {
    /// The incremental plan of a view. What cannot be maintained is `0A000`, with what to do instead.
    pub fn view(&self, bound: &Bound, catalog: &Catalog) -> Result<Plan> {
        self.view_with(bound, catalog, ViewSettings::default())
    }

    /// The same, by the settings of one view.
    pub fn view_with(&self, bound: &Bound, catalog: &Catalog, settings: ViewSettings) -> Result<Plan> {
        if bound.reads_system {
            return Err(
                Error::not_supported("a materialized view cannot read system relations").hint("Create a view (without MATERIALIZED).")
            );
        }
        let mut lowering = Lowering::new(catalog, settings);
        let mut root = self.lowered(&mut lowering, bound.plan.clone())?;
        if let Some(ViewRetention { micros, column }) = settings.retention {
            let column = column_of(catalog, &root, column)?;
            root = if settings.emit_on_window_close || low_of(catalog, &root, column).is_some() {
                lowering.kept_for(root, column, micros)
            } else {
                lowering = Lowering::new(catalog, settings);
                self.lowered(&mut lowering, kept_rows(bound.plan.clone(), column, micros)?)?
            };
        }
        Ok(Plan { root: lowering.finish(root, &bound.schema)? })
    }

    fn lowered(&self, lowering: &mut Lowering<'_>, plan: LogicalPlan) -> Result<Node> {
        let plan = temporal::with_variable(plan)?;
        let plan = with_arrivals(plan).and_then(with_temporal).map_err(|error| from_datafusion(error, ""))?;
        support::check(&plan)?;
        let plan = with_as_of(without_order(plan)).map_err(|error| from_datafusion(error, ""))?;
        let plan = temporal::in_conditions(self.optimize_view(self.recursions_apart(plan)?)?)?;
        support::check_optimized(&plan)?;
        support::check_time(&plan)?;
        let root = lowering.lower(&plan)?;
        if lowering.emit_on_window_close { lowering.final_rows(root) } else { Ok(root) }
    }
}

/// Below what no new values of a plan's columns are expected, by position.
pub fn lows(plan: &Plan, catalog: &Catalog) -> BTreeMap<usize, Low> {
    let columns = 0..plan.root.schema.fields().len();
    columns.filter_map(|column| Some((column, low::low_of(catalog, &plan.root, column)?))).collect()
}

/// Sets of those columns of a plan of which every row has one that is no NULL of an outer join.
pub fn covering(plan: &Plan, catalog: &Catalog) -> Vec<BTreeSet<usize>> {
    let timed: BTreeSet<usize> = lows(plan, catalog).into_keys().collect();
    let alone = timed.iter().map(|column| BTreeSet::from([*column]));
    let mut covering: Vec<_> = alone.filter(|column| coverage::covers(catalog, &plan.root, column)).collect();
    if covering.is_empty() && coverage::covers(catalog, &plan.root, &timed) {
        covering.push(timed);
    }
    covering
}

/// ORDER BY at the root says nothing about a set of rows.
fn without_order(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => without_order(Arc::unwrap_or_clone(sort.input)),
        other => other,
    }
}

struct Lowering<'a> {
    catalog: &'a Catalog,
    next: u32,
    iterations_max: u32,
    allowed_lateness_us: i64,
    keep_late_rows: bool,
    indexes_before: ObjectId,
    emit_on_window_close: bool,
}

impl<'a> Lowering<'a> {
    fn new(catalog: &'a Catalog, settings: ViewSettings) -> Self {
        let ViewSettings { iterations_max, indexes_before, emit_on_window_close, allowed_lateness_us, keep_late_rows, .. } = settings;
        Lowering { catalog, next: 0, iterations_max, indexes_before, allowed_lateness_us, keep_late_rows, emit_on_window_close }
    }
}

impl Lowering<'_> {
    /// The rows of `input` until they are as old as that.
    fn kept_for(&mut self, input: Node, column: usize, micros: i64) -> Node {
        let crossing = Crossing::Leaves { when_passed: false };
        let low = before_now(micros);
        let (schema, properties) = (Arc::clone(&input.schema), properties::temporal(&input.properties, crossing, &low));
        self.node(NodeKind::Temporal { input: Box::new(input), column, crossing, low }, schema, properties)
    }

    fn lower(&mut self, plan: &LogicalPlan) -> Result<Node> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => self.projected(projection),
            LogicalPlan::Filter(filter) => self.filtered(filter),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Subquery(subquery) => self.lower(&subquery.subquery),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Sort(sort) if sort.fetch.is_some() => self.limited(plan, 0, None),
            // The order of a set of rows means nothing, unless there is a limit above.
            LogicalPlan::Sort(sort) => self.lower(&sort.input),
            LogicalPlan::Repartition(repartition) => self.lower(&repartition.input),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.lower(input)?;
                let keys = (0..input.schema.fields().len()).collect();
                let schema = Arc::clone(&input.schema);
                Ok(self.group(input, keys, Vec::new(), schema))
            }
            LogicalPlan::Join(join) => match temporal::apart(join) {
                Some(filtered) => self.lower(&filtered),
                None => self.join(join),
            },
            LogicalPlan::Extension(extension) => self.extension(extension),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::EmptyRelation(empty) => {
                let rows = usize::from(empty.produce_one_row);
                let schema = fields_of(&empty.schema);
                let columns = schema.fields().iter().map(|field| arrow::array::new_null_array(field.data_type(), rows)).collect();
                self.constant(schema, columns, rows)
            }
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Distinct(Distinct::On(_)) => Err(Error::internal("a DISTINCT ON was left")),
            LogicalPlan::RecursiveQuery(_) => Err(Error::internal("a recursive query was left")),
            _ => Err(support::unsupported("this statement")),
        }
    }

    fn extension(&mut self, extension: &Extension) -> Result<Node> {
        let node = extension.node.as_any();
        if let Some(join) = node.downcast_ref::<AsOfJoin>() {
            return self.as_of(join);
        }
        if let Some(join) = node.downcast_ref::<TemporalJoin>() {
            return self.temporal_join(join);
        }
        match node.downcast_ref::<Arrivals>() {
            Some(arrivals) => self.arrivals(arrivals),
            None => Err(support::unsupported("this construct")),
        }
    }

    /// Rows with the time at which they come.
    fn arrivals(&mut self, arrivals: &Arrivals) -> Result<Node> {
        let input = self.lower(&arrivals.input)?;
        if !input.properties.append_only {
            let message =
                "PROCTIME() over rows that change is not supported in a materialized view: nobody knows when a row arrived that goes";
            return Err(Error::not_supported(message).hint(super::proctime::HINT));
        }
        let schema = fields_of(datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(arrivals));
        let properties = input.properties.clone();
        Ok(self.node(NodeKind::Arrival { input: Box::new(input) }, schema, properties))
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Node> {
        if let Some(node) = self.recursive_scan(scan)? {
            return Ok(node);
        }
        let Some(source) = scan.source.as_ref().downcast_ref::<ObjectSource>() else {
            return Err(Error::not_supported("a materialized view cannot read system relations"));
        };
        if scan.fetch.is_some() {
            return Err(support::unsupported("LIMIT"));
        }
        let object = self.catalog.get(source.object.id).unwrap_or(&source.object);
        let width = object.columns().map_or(0, <[_]>::len);
        let columns = scan.projection.clone().unwrap_or_else(|| (0..width).collect());
        let (append_only, key) = match &object.kind {
            ObjectKind::Table(table) => (table.only_grows(), (!table.key.is_empty()).then_some(table.key.as_slice())),
            ObjectKind::Source(_) => (true, None),
            ObjectKind::MaterializedView(view) => (view.append_only, view.key.as_deref()),
            ObjectKind::View(_) | ObjectKind::Schema | ObjectKind::Index(_) | ObjectKind::Function(_) | ObjectKind::Sink(_) => {
                return Err(Error::new(Kind::WrongObjectType, format!("\"{}\" cannot be read by a materialized view", object.name)));
            }
        };
        let properties = properties::import(append_only, key, &columns);
        let kind = NodeKind::Import { object: object.id, name: object.name.clone(), columns, lateness_us: self.allowed_lateness_us };
        let mut node = self.node(kind, fields_of(&scan.projected_schema), properties);
        for filter in &scan.filters {
            node = self.rows_where(node, filter, &scan.projected_schema)?;
        }
        Ok(node)
    }

    fn union(&mut self, union: &Union) -> Result<Node> {
        let schema = fields_of(&union.schema);
        let inputs = union.inputs.iter().map(|input| {
            let node = self.lower(input)?;
            self.coerced(node, &schema)
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let properties = properties::union(inputs.iter().map(|input| &input.properties));
        Ok(self.node(NodeKind::Union { inputs }, schema, properties))
    }

    fn values(&mut self, values: &Values) -> Result<Node> {
        let schema = fields_of(&values.schema);
        let empty = DFSchema::empty();
        let one_row = one_row();
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(values.values.len()); schema.fields().len()];
        for row in &values.values {
            for ((expr, field), column) in row.iter().zip(schema.fields()).zip(&mut columns) {
                let value = physical(expr, &empty).and_then(|expr| expr.evaluate(&one_row)).and_then(|value| value.into_array(1));
                let value =
                    value.and_then(|array| ScalarValue::try_from_array(&array, 0)).and_then(|value| value.cast_to(field.data_type()));
                column.push(value.map_err(|error| from_datafusion(error, ""))?);
            }
        }
        let arrays = columns.into_iter().zip(schema.fields()).map(|(column, field)| {
            if column.is_empty() { Ok(arrow::array::new_empty_array(field.data_type())) } else { ScalarValue::iter_to_array(column) }
        });
        let arrays = arrays.collect::<Result<Vec<_>, _>>().map_err(|error| from_datafusion(error, ""))?;
        self.constant(schema, arrays, values.values.len())
    }

    fn constant(&mut self, schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<Node> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        Ok(self.node(NodeKind::Constant { rows }, schema, properties::constant()))
    }

    /// The view's last touch: exactly the types and names that the catalog will hold, and rows where the relation store wants them.
    fn finish(&mut self, root: Node, schema: &SchemaRef) -> Result<Node> {
        let mut root = self.coerced(root, schema)?;
        if matches!(root.kind, NodeKind::Import { .. } | NodeKind::Exchange { .. } | NodeKind::Constant { .. }) {
            // Also where names are the same: they may be other ones tomorrow, and the plan is to be the same then.
            let scalars = identity(schema);
            let properties = root.properties.clone();
            let kind = NodeKind::Map { input: Box::new(root), predicate: None, projection: scalars };
            root = self.node(kind, Arc::clone(schema), properties);
        } else {
            root.schema = Arc::clone(schema);
        }
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let needed = match &root.properties.key {
            Some(key) => key.clone(),
            None if root.properties.append_only => return Ok(root),
            None => all,
        };
        Ok(self.exchange(root, needed))
    }

    /// Casts columns whose types differ from those of `schema`.
    fn coerced(&mut self, node: Node, schema: &SchemaRef) -> Result<Node> {
        let same = node.schema.fields().iter().zip(schema.fields()).all(|(from, to)| from.data_type() == to.data_type());
        if same {
            return Ok(node);
        }
        let casts = node.schema.fields().iter().zip(schema.fields()).enumerate().map(|(index, (from, to))| {
            let column = column_scalar(to.name(), index);
            if from.data_type() == to.data_type() {
                return column;
            }
            let expression = CastExpr::new(column.expression, to.data_type().clone(), None);
            Scalar { expression: Arc::new(expression), text: format!("{}::{}", column.text, sql_type_of(to)) }
        });
        let casts = casts.collect();
        Ok(self.map(node, None, casts, Arc::clone(schema)))
    }

    /// Puts rows that agree in `keys` on one worker, if they are not there already.
    fn exchange(&mut self, input: Node, keys: Vec<usize>) -> Node {
        if properties::together(&input.properties, &keys) {
            return input;
        }
        self.moved_by(input, keys)
    }

    /// Moves rows by exactly these keys.
    fn moved_by(&mut self, input: Node, keys: Vec<usize>) -> Node {
        let properties = properties::exchange(&input.properties, &keys);
        let schema = Arc::clone(&input.schema);
        self.node(NodeKind::Exchange { input: Box::new(input), keys }, schema, properties)
    }

    fn filter(&mut self, input: Node, predicate: Scalar) -> Node {
        let projection = identity(&input.schema);
        let schema = Arc::clone(&input.schema);
        self.map(input, Some(predicate), projection, schema)
    }

    /// A map, made one with a map below where no expression is computed twice by that.
    fn map(&mut self, input: Node, predicate: Option<Scalar>, projection: Vec<Scalar>, schema: SchemaRef) -> Node {
        if predicate.is_none() && is_identity(&projection, input.schema.fields().len()) {
            return input;
        }
        let properties = properties::map(&input.properties, &projection);
        let kind = match input.kind {
            NodeKind::Map { input: below, predicate: first, projection: inner } if fusible(&inner, predicate.as_ref(), &projection) => {
                let place = |index: usize| Arc::clone(&inner[index].expression);
                let over = |scalar: Scalar| match column_index(&scalar.expression) {
                    Some(index) => inner[index].clone(),
                    None => Scalar { expression: moved(&scalar.expression, &place), text: scalar.text },
                };
                let predicate = both(first, predicate.map(over));
                NodeKind::Map { input: below, predicate, projection: projection.into_iter().map(over).collect() }
            }
            kind => NodeKind::Map { input: Box::new(Node { kind, ..input }), predicate, projection },
        };
        self.node(kind, schema, properties)
    }

    fn node(&mut self, kind: NodeKind, schema: SchemaRef, properties: Properties) -> Node {
        let id = self.next;
        self.next += 1;
        Node { id, kind, schema, properties }
    }
}

/// Whether a map over `inner` can take its place: all that is computed below is columns, or is passed on as it is, once at the most.
fn fusible(inner: &[Scalar], predicate: Option<&Scalar>, projection: &[Scalar]) -> bool {
    if inner.iter().all(|scalar| column_index(&scalar.expression).is_some()) {
        return true;
    }
    let mut used = vec![false; inner.len()];
    predicate.is_none()
        && projection.iter().all(|scalar| match column_index(&scalar.expression) {
            Some(index) if column_index(&inner[index].expression).is_some() => true,
            Some(index) => !std::mem::replace(&mut used[index], true),
            None => false,
        })
}

/// Both conditions.
fn both(first: Option<Scalar>, second: Option<Scalar>) -> Option<Scalar> {
    match (first, second) {
        (Some(first), Some(second)) => Some(Scalar {
            expression: Arc::new(BinaryExpr::new(first.expression, datafusion::logical_expr::Operator::And, second.expression)),
            text: format!("{} AND {}", first.text, second.text),
        }),
        (first, second) => first.or(second),
    }
}

fn is_identity(projection: &[Scalar], width: usize) -> bool {
    projection.len() == width && projection.iter().enumerate().all(|(index, scalar)| column_index(&scalar.expression) == Some(index))
}

/// Every column as it is.
pub fn identity(schema: &Schema) -> Vec<Scalar> {
    schema.fields().iter().enumerate().map(|(index, field)| column_scalar(field.name(), index)).collect()
}

fn scalars(exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Scalar>> {
    exprs.iter().map(|expr| scalar(expr, schema)).collect()
}

fn scalar(expr: &Expr, schema: &DFSchema) -> Result<Scalar> {
    // Nothing computes what time it is: what compares with it has a node of its own.
    if temporal::reads_time(expr) {
        return Err(temporal::cannot_follow(expr));
    }
    let expression: Arc<dyn PhysicalExpr> = physical(expr, schema).map_err(|error| from_datafusion(error, ""))?;
    Ok(Scalar { expression, text: expression_text(expr) })
}

/// The columns of a logical plan. All may be NULL: a row error yields NULL in a column that otherwise has none.
fn fields_of(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| nullable(field, visible(field.name())));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn nullable(field: &Field, name: &str) -> Field {
    field.clone().with_name(name).with_nullable(true)
}

/// One row without columns: what constants are evaluated on.
fn one_row() -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).expect("a batch without columns")
}

/// `expr` as a value of a type.
fn cast(expr: Expr, field: Field) -> Expr {
    Expr::Cast(Cast::new_from_field(Box::new(expr), Arc::new(field)))
}
