//! Window functions: what they compute from becomes columns, calls that share partition and order become one node.
//!
//! For each call it is worked out here how far a row's value depends on other rows, so that a change need not recompute the partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::functions_window::rank::{dense_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{NullTreatment, Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, ExprSchemable, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, WindowExpr};
use datafusion::physical_planner::create_window_expr_with_name;

use super::coverage::covers;
use super::in_time::micros;
use super::low::low_of;
use super::session::{SessionCalls, bound_name};
use super::top_n::unaliased;
use super::{Lowering, fields_of, support};
use crate::error::{Error, Result};
use crate::plan::aggregates::framed::Framed;
use crate::plan::bounds::growth_of;
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::{column_scalar, expression_text};
use crate::plan::frames;
use crate::plan::node::{Extent, Node, NodeKind, OrderColumn, Ranking, Scalar, Settling, WindowCall, WindowMethod, first_within};
use crate::plan::properties;
use crate::types::{Growth, Low};

/// The calls of one node.
struct Group<'a> {
    partition_by: &'a [Expr],
    order_by: &'a [SortExpr],
    /// The arguments of the calls, if they are those of sessions.
    session: Option<&'a [Expr]>,
    /// Each with its position among all calls.
    calls: Vec<(usize, &'a WindowFunction)>,
}

impl Lowering<'_> {
    pub(super) fn window(&mut self, window: &Window) -> Result<Node> {
        let below = window.input.schema();
        let width = below.fields().len();
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (position, expr) in window.window_expr.iter().enumerate() {
            let Expr::WindowFunction(call) = unaliased(expr) else {
                return Err(Error::internal(format!("not a window function: {expr}")));
            };
            let (partition_by, order_by) = (&call.params.partition_by, &call.params.order_by);
            let session = bound_name(call).map(|_| call.params.args.as_slice());
            let same = |group: &&mut Group<'_>| (group.partition_by, group.order_by, group.session) == (partition_by, order_by, session);
            match groups.iter_mut().find(same) {
                Some(group) => group.calls.push((position, call)),
                None => groups.push(Group { partition_by, order_by, session, calls: vec![(position, call)] }),
            }
        }
        let schema = fields_of(&window.schema);
        let mut node = self.lower(&window.input)?;
        // Where the input's columns and the calls' results stand.
        let mut places: Vec<usize> = (0..schema.fields().len()).collect();
        for group in &groups {
            let result = |(position, call): &(usize, &WindowFunction)| {
                bound_name(call)
                    .map_or_else(|| schema.field(width + position).clone(), |name| schema.field(width + position).clone().with_name(name))
            };
            let results: Vec<Field> = group.calls.iter().map(result).collect();
            let input_width = node.schema.fields().len();
            let mut base: Vec<Field> = node.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
            node = self.window_group(node, below, group, &results)?;
            for (number, (position, _)) in group.calls.iter().enumerate() {
                places[width + position] = input_width + number;
            }
            base.extend(results);
            // Columns that were computed for the calls alone leave again.
            let extra = node.schema.fields().len() - base.len();
            let kept = (0..input_width).chain(input_width + extra..node.schema.fields().len());
            let projection: Vec<Scalar> = kept.zip(&base).map(|(column, field)| column_scalar(field.name(), column)).collect();
            node = self.map(node, None, projection, Arc::new(Schema::new(base)));
        }
        let projection: Vec<Scalar> =
            places.iter().zip(schema.fields()).map(|(column, field)| column_scalar(field.name(), *column)).collect();
        Ok(self.map(node, None, projection, schema))
    }

    /// One node; its output has the input's columns, those computed for the calls, and the results. The input starts with the columns of `below`.
    fn window_group(&mut self, input: Node, below: &DFSchema, group: &Group<'_>, results: &[Field]) -> Result<Node> {
        let computed = computed(group);
        let (input, positions) = self.with_keys(input, below, &computed)?;
        let position = |expr: &Expr| computed.iter().position(|known| known == expr).map(|place| positions[place]);
        let mut keys: Vec<usize> = group.partition_by.iter().filter_map(position).collect();
        keys.sort_unstable();
        keys.dedup();
        let order = group.order_by.iter().filter_map(|sort| {
            let column = position(&sort.expr)?;
            Some(OrderColumn { column, descending: !sort.asc, nulls_first: sort.nulls_first })
        });
        let order: Vec<OrderColumn> = order.collect();
        if let Some(arguments) = group.session {
            return self.session(input, SessionCalls { keys, order, arguments, calls: &group.calls, position: &position, results });
        }
        let schema = extended(&input, below, &computed, &positions)?;
        let calls = group.calls.iter().zip(results).map(|((_, call), result)| window_call(call, &position, &schema, result));
        let calls: Vec<WindowCall> = calls.collect::<Result<_>>()?;
        Ok(self.window_node(input, keys, order, calls, results))
    }

    /// A node of calls that are planned.
    pub(super) fn window_node(
        &mut self,
        input: Node,
        keys: Vec<usize>,
        order: Vec<OrderColumn>,
        calls: Vec<WindowCall>,
        results: &[Field],
    ) -> Node {
        let closing = self.closing(&input, &keys);
        let input = self.in_time(input, &keys, closing.as_ref(), None);
        let (settling, late) = self.settling(&input, &keys, &order, &calls).filter(|_| closing.is_none()).unzip();
        let input = self.unless_late(input, late);
        let input = self.exchange(input, keys.clone());
        let width = input.schema.fields().len();
        let place = calls.iter().position(|call| call.method == WindowMethod::Place(Ranking::RowNumber)).map(|place| width + place);
        let properties = properties::window(&input.properties, &keys, place);
        let fields = input.schema.fields().iter().map(|field| field.as_ref().clone()).chain(results.iter().cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.node(NodeKind::Window { input: Box::new(input), keys, order, calls, closing, settling }, schema, properties)
    }

    /// When rows are final that are ordered by a time which event time passes, if no call looks to the end of its partition; and below what in
    /// which column they are late. Where rows are shown as they change, that is so if it bounds the state: a table that deletes its old rows,
    /// as its retention says, has them leave the views on it, too.
    pub(super) fn settling(
        &self,
        input: &Node,
        keys: &[usize],
        order: &[OrderColumn],
        calls: &[WindowCall],
    ) -> Option<(Settling, (usize, Low))> {
        let OrderColumn { column, descending: false, nulls_first: false } = first_within(order, keys)? else { return None };
        if !matches!(input.schema.field(column).data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return None;
        }
        let low = low_of(self.catalog, input, column)?;
        let mut ahead_us = 0;
        for call in calls {
            match call.method {
                WindowMethod::Near { after: Extent::All, .. } => return None,
                WindowMethod::Near { after: Extent::Within(micros), .. } => ahead_us = micros.max(ahead_us),
                _ => {}
            }
        }
        let bounds = || calls.iter().all(|call| call.method.forgets()) && growth_of(input, self.catalog) == Growth::Endless;
        if !covers(self.catalog, input, &BTreeSet::from([column])) || !self.emit_on_window_close && !bounds() {
            return None;
        }
        let settled = if ahead_us == 0 { low.clone() } else { low.clone().later(-ahead_us) };
        Some((Settling { low: settled, emits: false }, (column, low)))
    }
}

/// The call of a ranking.
pub(super) fn ranking_call(ranking: Ranking, input: &Node, below: &DFSchema, result: &Field) -> Result<WindowCall> {
    let function = match ranking {
        Ranking::RowNumber => row_number_udwf(),
        Ranking::Rank => rank_udwf(),
        Ranking::DenseRank => dense_rank_udwf(),
    };
    let call = WindowFunction::new(WindowFunctionDefinition::WindowUDF(function), Vec::new());
    window_call(&call, &|_| None, &extended(input, below, &[], &[])?, result)
}

/// What the calls compute from: each expression once, constants excepted.
fn computed(group: &Group<'_>) -> Vec<Expr> {
    let mut computed: Vec<Expr> = Vec::new();
    let arguments = group.calls.iter().flat_map(|(_, call)| call.params.args.iter().chain(call.params.filter.as_deref()));
    let order = group.order_by.iter().map(|sort| &sort.expr);
    for expr in group.partition_by.iter().chain(order).chain(arguments) {
        if !expr.column_refs().is_empty() && !computed.contains(expr) {
            computed.push(expr.clone());
        }
    }
    computed
}

/// The name of a column in the schema that calls are planned over.
fn column_name(position: usize) -> String {
    format!("#{position}")
}

/// The schema that calls are planned over: every column has the name of its position.
fn extended(input: &Node, below: &DFSchema, computed: &[Expr], positions: &[usize]) -> Result<DFSchema> {
    let mut fields: Vec<Field> = Vec::with_capacity(input.schema.fields().len());
    for (position, field) in input.schema.fields().iter().enumerate() {
        let place = positions.iter().position(|known| *known == position);
        let known = place.map(|place| computed[place].to_field(below)).transpose().map_err(|error| from_datafusion(error, ""))?;
        let field = known.map_or_else(|| field.as_ref().clone(), |(_, field)| field.as_ref().clone());
        fields.push(field.with_name(column_name(position)).with_nullable(true));
    }
    DFSchema::try_from(Schema::new(fields)).map_err(|error| from_datafusion(error, ""))
}

/// `position`: where an expression stands as a column of `schema`; constants do not.
fn window_call(call: &WindowFunction, position: &dyn Fn(&Expr) -> Option<usize>, schema: &DFSchema, result: &Field) -> Result<WindowCall> {
    let replaced = |expr: &Expr| match position(expr) {
        Some(position) => Expr::Column(Column::new_unqualified(column_name(position))),
        None => expr.clone(),
    };
    let text = expression_text(&Expr::from(call.clone())) + frames::exclusion_text(call);
    let mut moved = call.clone();
    let params = &mut moved.params;
    params.args = params.args.iter().map(&replaced).collect();
    params.partition_by = params.partition_by.iter().map(&replaced).collect();
    params.order_by.iter_mut().for_each(|sort| sort.expr = replaced(&sort.expr));
    params.filter = params.filter.as_deref().map(&replaced).map(Box::new);
    let expr = Expr::from(moved);
    let planning = PhysicalPlanningContext::default();
    let expression = create_window_expr_with_name(&expr, result.name(), schema, &ExecutionProps::new(), &planning);
    let expression = expression.map_err(|error| from_datafusion(error, ""))?;
    // What DataFusion cannot compute over this frame either is found out here, and not when rows come.
    expression.create_window_fn().map_err(|error| {
        let reason = error.strip_backtrace();
        support::unsupported(&format!("the window function {text}")).detail(reason)
    })?;
    let filter = call.params.filter.as_deref().map(position);
    let in_time = matches!(call.params.order_by.as_slice(), [sort] if sort.asc && position(&sort.expr).is_some_and(|column| {
        matches!(schema.field(column).data_type(), DataType::Timestamp(TimeUnit::Microsecond, _))
    }));
    let method = method(call, &expression, filter, in_time);
    Ok(WindowCall { expression, method, result: result.data_type().clone(), text })
}

/// `filter`: where the column of the filter stands, if there is one and it is a column; `in_time`: the order is a timestamp that goes up.
fn method(call: &WindowFunction, expression: &Arc<dyn WindowExpr>, filter: Option<Option<usize>>, in_time: bool) -> WindowMethod {
    let params = &call.params;
    let (name, frame) = (call.fun.name(), &params.window_frame);
    let respects_nulls = params.null_treatment != Some(NullTreatment::IgnoreNulls);
    let is_aggregate = matches!(call.fun, WindowFunctionDefinition::AggregateUDF(_));
    let number = |place: usize, default: i64| match params.args.get(place) {
        None => Some(default),
        Some(Expr::Literal(value, _)) => value.cast_to(&DataType::Int64).ok().and_then(|value| match value {
            ScalarValue::Int64(number) => number,
            _ => None,
        }),
        Some(_) => None,
    };
    let head = match name {
        "lag" | "lead" if respects_nulls && !is_aggregate => return number(1, 1).map_or(WindowMethod::WHOLE, |rows| shifted(name, rows)),
        "first_value" if respects_nulls => Some(1),
        "last_value" if respects_nulls => Some(0),
        "nth_value" if respects_nulls => number(1, 0).and_then(|nth| u64::try_from(nth).ok()).filter(|nth| *nth > 0),
        _ => None,
    };
    match frames::looks_at_frame(call) {
        Some(true) => return framed(frame, None, expression, None, in_time),
        Some(false) => return WindowMethod::WHOLE,
        None => {}
    }
    if let (false, Some(ranking)) = (is_aggregate, Ranking::of(name)) {
        return WindowMethod::Place(ranking);
    }
    if !is_aggregate && head.is_none() {
        return WindowMethod::WHOLE;
    }
    match filter {
        Some(None) => WindowMethod::WHOLE,
        filter => framed(frame, head, expression, filter.flatten(), in_time),
    }
}

fn shifted(name: &str, rows: i64) -> WindowMethod {
    let (extent, none) = (Extent::Rows(rows.unsigned_abs()), Extent::Rows(0));
    let (before, after) = if (name == "lag") == (rows >= 0) { (extent, none) } else { (none, extent) };
    WindowMethod::Near { head: 0, before, after }
}

/// For a function of the rows in the frame; `head`: it needs no more of a frame that starts with the partition than the first rows, and
/// the last ones.
fn framed(frame: &WindowFrame, head: Option<u64>, expression: &Arc<dyn WindowExpr>, filter: Option<usize>, in_time: bool) -> WindowMethod {
    let of = |bound: &WindowFrameBound| extent(bound, frame.units, in_time).unwrap_or((Extent::All, Extent::All));
    let ((start_before, _), (end_before, after)) = (of(&frame.start_bound), of(&frame.end_bound));
    match (frame.start_bound.is_unbounded(), head) {
        (false, _) => WindowMethod::Near { head: 0, before: start_before, after },
        (true, Some(_)) if after == Extent::All => WindowMethod::WHOLE,
        (true, Some(head)) => {
            // The last row of a frame that ends so long before the row may be any earlier one.
            let before = if matches!(end_before, Extent::Within(_)) { Extent::All } else { end_before };
            WindowMethod::Near { head, before, after }
        }
        (true, None) if frame.end_bound == WindowFrameBound::CurrentRow && resumable(expression) => {
            WindowMethod::Running { peers: frame.units != WindowFrameUnits::Rows, filter }
        }
        (true, None) => WindowMethod::Near { head: 0, before: Extent::All, after },
    }
}

/// How far a bound lies before and behind the row. None if that depends on values, or is the end of the partition.
fn extent(bound: &WindowFrameBound, units: WindowFrameUnits, in_time: bool) -> Option<(Extent, Extent)> {
    if units == WindowFrameUnits::Range {
        // The peers are those at no distance.
        let micros = |value: &ScalarValue| micros(value, true).filter(|micros| in_time && *micros >= 0);
        return match bound {
            WindowFrameBound::CurrentRow => Some((Extent::Peers(0), Extent::Peers(0))),
            WindowFrameBound::Preceding(value) => Some((Extent::Within(micros(value)?), Extent::Peers(0))),
            WindowFrameBound::Following(value) => Some((Extent::Peers(0), Extent::Within(micros(value)?))),
        };
    }
    let (before, after) = match bound {
        WindowFrameBound::CurrentRow => (0, 0),
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(count))) => (*count, 0),
        WindowFrameBound::Following(ScalarValue::UInt64(Some(count))) => (0, *count),
        _ => return None,
    };
    match units {
        WindowFrameUnits::Rows => Some((Extent::Rows(before), Extent::Rows(after))),
        WindowFrameUnits::Groups => Some((Extent::Peers(before), Extent::Peers(after))),
        WindowFrameUnits::Range => None,
    }
}

/// Whether an aggregate's state is a few numbers, so that it can be remembered here and there in a partition.
fn resumable(expression: &Arc<dyn WindowExpr>) -> bool {
    let Some(plain) = expression.as_any().downcast_ref::<PlainAggregateWindowExpr>() else { return false };
    let aggregate = plain.get_aggregate_expr();
    let small = |field: &FieldRef| field.data_type().is_primitive() || *field.data_type() == DataType::Boolean;
    aggregate.fun().inner().is::<Framed>() || aggregate.state_fields().is_ok_and(|fields| fields.iter().all(small))
}
