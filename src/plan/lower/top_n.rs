//! First rows of an order: LIMIT, and places that are compared with a number, become one top-n node.
//!
//! ```text
//! Limit 3, Sort a                                  ─▶ TopN by () order by a: row_number <= 3
//! Filter rn <= 3, Window row_number() over (k, a)  ─▶ TopN by (k) order by a: row_number <= 3
//! ```
//!
//! In the order of event time the second one stays as it is, if rows may be retracted or are to come out once: a window function knows when
//! they are final, forgets them, or gives them out then.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Sort as SortExpr, WindowFunctionParams};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Expr, FetchType, Filter, Limit, LogicalPlan, Operator, Projection, SkipType, Window, WindowFunctionDefinition,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr as Comparison, Literal};

use super::coverage::covers;
use super::low::low_of;
use super::window::ranking_call;
use super::{Lowering, fields_of, scalars, support};
use crate::error::Result;
use crate::plan::bounds::growth_of;
use crate::plan::errors::from_datafusion;
use crate::plan::expressions::column_scalar;
use crate::plan::node::{Node, NodeKind, OrderColumn, Ranking, Scalar, WindowCall, first_within};
use crate::plan::properties;
use crate::types::{Growth, Low};

/// What is wanted of every group.
#[derive(Clone, Copy, Debug)]
struct First {
    ranking: Ranking,
    offset: u64,
    limit: Option<u64>,
    numbered: bool,
}

/// A condition on the place of rows.
pub(super) struct Ranked<'a> {
    window: &'a Window,
    params: &'a WindowFunctionParams,
    ranking: Ranking,
    /// The last place wanted.
    limit: u64,
    /// What else the condition asks for.
    rest: Vec<Expr>,
}

impl Lowering<'_> {
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Node> {
        let skip = limit.get_skip_type().map_err(|error| from_datafusion(error, ""))?;
        let fetch = limit.get_fetch_type().map_err(|error| from_datafusion(error, ""))?;
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (skip, fetch) else {
            return Err(support::unsupported("LIMIT or OFFSET with an expression"));
        };
        self.limited(&limit.input, skip as u64, fetch.map(|fetch| fetch as u64))
    }

    /// The first rows of `plan`, by the order at its top. Projections keep rows in order, so they may stand above it.
    pub(super) fn limited(&mut self, plan: &LogicalPlan, offset: u64, limit: Option<u64>) -> Result<Node> {
        let first = First { ranking: Ranking::RowNumber, offset, limit, numbered: false };
        match plan {
            _ if limit == Some(0) => {
                let schema = fields_of(plan.schema());
                let columns = schema.fields().iter().map(|field| arrow::array::new_empty_array(field.data_type())).collect();
                self.constant(schema, columns, 0)
            }
            LogicalPlan::Projection(projection) => {
                let input = self.limited(&projection.input, offset, limit)?;
                let scalars = scalars(&projection.expr, projection.input.schema())?;
                Ok(self.map(input, None, scalars, fields_of(&projection.schema)))
            }
            LogicalPlan::SubqueryAlias(alias) => self.limited(&alias.input, offset, limit),
            LogicalPlan::Sort(sort) => {
                let within = sort.fetch.map(|fetch| (fetch as u64).saturating_sub(offset));
                let limit = limit.into_iter().chain(within).min();
                let input = self.lower(&sort.input)?;
                self.first_rows(input, sort.input.schema(), (&[], &sort.expr), First { limit, ..first })
            }
            other => {
                let input = self.lower(other)?;
                if first.limit.is_none() && first.offset == 0 {
                    return Ok(input);
                }
                self.first_rows(input, other.schema(), (&[], &[]), first)
            }
        }
    }

    /// A filter, also one of places.
    pub(super) fn filtered(&mut self, filter: &Filter) -> Result<Node> {
        if let LogicalPlan::Projection(columns) = filter.input.as_ref()
            && let Some(direct) = below_columns(filter, columns)
            && let Some(ranked) = ranked(&direct)
        {
            let input = self.ranked(ranked, true)?;
            let scalars = scalars(&columns.expr, direct.input.schema())?;
            return Ok(self.map(input, None, scalars, fields_of(&columns.schema)));
        }
        match ranked(filter) {
            Some(ranked) => self.ranked(ranked, true),
            None => {
                let input = self.lower(&filter.input)?;
                self.rows_where(input, &filter.predicate, filter.input.schema())
            }
        }
    }

    /// A filter of places; `numbered`: whether what is above reads the place.
    fn ranked(&mut self, ranked: Ranked<'_>, numbered: bool) -> Result<Node> {
        let Ranked { window, params, ranking, limit, rest } = ranked;
        if limit == 0 {
            let schema = fields_of(&window.schema);
            let columns = schema.fields().iter().map(|field| arrow::array::new_empty_array(field.data_type())).collect();
            return self.constant(schema, columns, 0);
        }
        let place = window.schema.fields().len() - 1;
        let numbered = numbered || reads(&rest, &window.schema, place);
        let input = self.lower(&window.input)?;
        let first = First { ranking, offset: 0, limit: Some(limit), numbered };
        let node = self.first_rows(input, window.input.schema(), (&params.partition_by, &params.order_by), first)?;
        match conjunction(rest) {
            Some(rest) => self.rows_where(node, &rest, &window.schema),
            None => Ok(node),
        }
    }

    /// A projection, also one above a condition on places: whether it reads them decides whether they are kept.
    pub(super) fn projected(&mut self, projection: &Projection) -> Result<Node> {
        if let LogicalPlan::Filter(filter) = projection.input.as_ref() {
            let direct = match filter.input.as_ref() {
                LogicalPlan::Projection(columns) => below_columns(filter, columns),
                _ => Some(filter.clone()),
            };
            if let Some(direct) = direct
                && let Some(ranked) = ranked(&direct)
            {
                let schema = direct.input.schema();
                let numbered = reads(&projection.expr, schema, schema.fields().len() - 1);
                let input = self.ranked(ranked, numbered)?;
                let scalars = scalars(&projection.expr, schema)?;
                return Ok(self.map(input, None, scalars, fields_of(&projection.schema)));
            }
        }
        let input = self.lower(&projection.input)?;
        let scalars = scalars(&projection.expr, projection.input.schema())?;
        Ok(self.map(input, None, scalars, fields_of(&projection.schema)))
    }

    /// A top-n over `input`, whose columns are those of `below`. What comes out has the same columns, and the place if that is wanted.
    fn first_rows(&mut self, input: Node, below: &DFSchema, (by, order): (&[Expr], &[SortExpr]), first: First) -> Result<Node> {
        let width = input.schema.fields().len();
        let (input, keys, order) = self.grouped(input, below, by, order)?;
        let closing = self.closing(&input, &keys);
        // Rows that only come leave no more than the first ones, whatever event time says.
        if closing.is_none() && (self.emit_on_window_close || !input.properties.append_only) {
            let call = ranking_call(first.ranking, &input, below, &place_of(first.ranking))?;
            if self.settling(&input, &keys, &order, std::slice::from_ref(&call)).is_some() {
                return self.first_in_time(input, width, (keys, order), call, first);
            }
        }
        let input = self.in_time(input, &keys, closing.as_ref(), None);
        let (settled, late) = self.newest(&input, &keys, &order, first).filter(|_| closing.is_none()).unzip();
        let input = self.unless_late(input, late);
        let input = self.candidates(input, &keys, &order, first);
        let input = self.exchange(input, keys.clone());
        // Peers share a rank: only a row's number tells it apart.
        let place = (first.numbered && first.ranking == Ranking::RowNumber).then_some(input.schema.fields().len());
        let properties = properties::top_n(&input.properties, &keys, single(first), place);
        let mut fields: Vec<Field> = input.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let extended = fields.len();
        if first.numbered {
            fields.push(place_of(first.ranking));
        }
        let First { ranking, offset, limit, numbered } = first;
        let kind =
            NodeKind::TopN { input: Box::new(input), keys, order, ranking, offset, limit, numbered, candidates: false, closing, settled };
        let node = self.node(kind, Arc::new(Schema::new(fields.clone())), properties);
        if extended == width {
            return Ok(node);
        }
        // Columns that were computed for the order alone leave again.
        let kept: Vec<usize> = (0..width).chain(numbered.then_some(extended)).collect();
        let projection: Vec<Scalar> = kept.iter().map(|column| column_scalar(fields[*column].name(), *column)).collect();
        let schema = Schema::new(kept.iter().map(|column| fields[*column].clone()).collect::<Vec<_>>());
        Ok(self.map(node, None, projection, Arc::new(schema)))
    }

    /// Below what nothing changes any more, and in which column, where the newest rows come first, if that bounds what is kept: rows that only
    /// come need no more than the first ones.
    fn newest(&self, input: &Node, keys: &[usize], order: &[OrderColumn], first: First) -> Option<(Low, (usize, Low))> {
        let OrderColumn { column, descending: true, nulls_first: true } = first_within(order, keys)? else { return None };
        let is_time = matches!(input.schema.field(column).data_type(), DataType::Timestamp(TimeUnit::Microsecond, _));
        let low = low_of(self.catalog, input, column).filter(|_| is_time && first.limit.is_some() && !input.properties.append_only)?;
        (growth_of(input, self.catalog) == Growth::Endless && covers(self.catalog, input, &BTreeSet::from([column])))
            .then(|| (low.clone(), (column, low)))
    }

    /// The first rows in the order of event time: every row has its place, by which what has been passed is counted and not kept, and those
    /// behind the first ones go no further.
    fn first_in_time(
        &mut self,
        input: Node,
        width: usize,
        (keys, order): (Vec<usize>, Vec<OrderColumn>),
        call: WindowCall,
        first: First,
    ) -> Result<Node> {
        let First { ranking, offset, limit, numbered } = first;
        let place = input.schema.fields().len();
        let of_group = single(first).then(|| keys.clone());
        let node = self.window_node(input, keys, order, vec![call], &[place_of(ranking)]);
        let bounds =
            [(Operator::Gt, Some(offset).filter(|offset| *offset > 0)), (Operator::LtEq, limit.map(|limit| offset.saturating_add(limit)))];
        let mut wanted: Option<Scalar> = None;
        for (op, number) in bounds.into_iter().filter_map(|(op, number)| Some((op, number?))) {
            let number: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::UInt64(Some(number))));
            let text = format!("{} {op} {number}", ranking.name());
            let bound = Arc::new(Comparison::new(column_scalar("", place).expression, op, number)) as Arc<dyn PhysicalExpr>;
            wanted = Some(match wanted {
                Some(Scalar { expression, text: other }) => {
                    Scalar { expression: Arc::new(Comparison::new(expression, Operator::And, bound)), text: format!("{other} AND {text}") }
                }
                None => Scalar { expression: bound, text },
            });
        }
        let kept: Vec<usize> = (0..width).chain(numbered.then_some(place)).collect();
        let projection: Vec<Scalar> = kept.iter().map(|column| column_scalar(node.schema.field(*column).name(), *column)).collect();
        let schema = Schema::new(kept.iter().map(|column| node.schema.field(*column).clone()).collect::<Vec<_>>());
        let mut node = self.map(node, wanted, projection, Arc::new(schema));
        if let Some(keys) = of_group.filter(|keys| keys.iter().all(|key| *key < width)) {
            node.properties.key = Some(keys);
        }
        Ok(node)
    }

    /// The input with columns for what it is grouped and ordered by, and where those stand.
    pub(super) fn grouped(
        &mut self,
        input: Node,
        below: &DFSchema,
        by: &[Expr],
        order: &[SortExpr],
    ) -> Result<(Node, Vec<usize>, Vec<OrderColumn>)> {
        let exprs: Vec<Expr> = by.iter().cloned().chain(order.iter().map(|sort| sort.expr.clone())).collect();
        // Constants neither group nor order.
        let constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
        let computed: Vec<Expr> = exprs.iter().filter(|expr| !constant(expr)).cloned().collect();
        let (input, positions) = self.with_keys(input, below, &computed)?;
        let mut positions = positions.into_iter();
        let mut keys: Vec<usize> = Vec::with_capacity(by.len());
        for position in by.iter().filter(|expr| !constant(expr)).zip(&mut positions).map(|(_, position)| position) {
            if !keys.contains(&position) {
                keys.push(position);
            }
        }
        let sorts = order.iter().filter(|sort| !constant(&sort.expr));
        let order = sorts
            .zip(positions)
            .map(|(sort, column)| OrderColumn { column, descending: !sort.asc, nulls_first: sort.nulls_first })
            .collect();
        Ok((input, keys, order))
    }

    /// Before all rows go to one worker, each worker drops those that others of its own outdo.
    fn candidates(&mut self, input: Node, keys: &[usize], order: &[OrderColumn], first: First) -> Node {
        let spread = !properties::together(&input.properties, keys);
        let First { ranking, offset, limit: Some(limit), .. } = first else { return input };
        if !keys.is_empty() || !spread || !input.properties.append_only {
            return input;
        }
        let (schema, properties) = (Arc::clone(&input.schema), input.properties.clone());
        let kind = NodeKind::TopN {
            input: Box::new(input),
            keys: Vec::new(),
            order: order.to_vec(),
            ranking,
            offset,
            limit: Some(limit),
            numbered: false,
            candidates: true,
            closing: None,
            settled: None,
        };
        self.node(kind, schema, properties)
    }
}

/// The column of a place.
fn place_of(ranking: Ranking) -> Field {
    Field::new(ranking.name(), DataType::UInt64, true)
}

/// The filter below a projection that only picks columns: the optimiser likes to have it the other way round.
fn below_columns(filter: &Filter, columns: &Projection) -> Option<Filter> {
    let plain = columns.expr.iter().all(|expr| matches!(expr, Expr::Column(_)));
    let direct = || Filter::try_new(filter.predicate.clone(), Arc::clone(&columns.input));
    plain.then(direct)?.ok()
}

/// Whether a group has one row at the most.
fn single(first: First) -> bool {
    first.limit == Some(1) && first.ranking == Ranking::RowNumber
}

/// Whether any expression reads the column at `position`.
fn reads(exprs: &[Expr], schema: &DFSchema, position: usize) -> bool {
    let is = |column: &&Column| schema.index_of_column(column).is_ok_and(|index| index == position);
    exprs.iter().any(|expr| expr.column_refs().iter().any(is))
}

/// Whether a filter asks for the first places of a ranking that nothing else is computed with.
fn ranked(filter: &Filter) -> Option<Ranked<'_>> {
    let LogicalPlan::Window(window) = filter.input.as_ref() else { return None };
    let [call] = window.window_expr.as_slice() else { return None };
    let Expr::WindowFunction(call) = unaliased(call) else { return None };
    let WindowFunctionDefinition::WindowUDF(function) = &call.fun else { return None };
    let ranking = Ranking::of(function.name())?;
    let place = window.schema.fields().len() - 1;
    let mut limit: Option<u64> = None;
    let mut rest = Vec::new();
    for condition in split_conjunction(&filter.predicate) {
        match bound(condition, &window.schema, place) {
            Some((last, exact)) => {
                limit = Some(limit.map_or(last, |known| known.min(last)));
                if !exact {
                    rest.push(condition.clone());
                }
            }
            None => rest.push(condition.clone()),
        }
    }
    Some(Ranked { window, params: &call.params, ranking, limit: limit?, rest })
}

/// The last place that a condition allows, and whether it says no more than that.
fn bound(condition: &Expr, schema: &DFSchema, place: usize) -> Option<(u64, bool)> {
    let is_place =
        |expr: &Expr| matches!(unaliased(expr), Expr::Column(column) if schema.index_of_column(column).is_ok_and(|index| index == place));
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, number) = if is_place(left) { (*op, whole(right)?) } else { (op.swap()?, whole(right_of(right, left, &is_place)?)?) };
            let last = |number: i128| u64::try_from(number.max(0)).unwrap_or(u64::MAX);
            match op {
                Operator::LtEq => Some((last(number), true)),
                Operator::Lt => Some((last(number - 1), true)),
                Operator::Eq => Some((last(number), number <= 1)),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated && is_place(&between.expr) => {
            let (low, high) = (whole(&between.low)?, whole(&between.high)?);
            Some((u64::try_from(high.max(0)).unwrap_or(u64::MAX), low <= 1))
        }
        _ => None,
    }
}

/// The other operand, if `right` is the place.
fn right_of<'a>(right: &Expr, left: &'a Expr, is_place: &dyn Fn(&Expr) -> bool) -> Option<&'a Expr> {
    is_place(right).then_some(left)
}

fn whole(expr: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = expr else { return None };
    match value.cast_to(&DataType::Decimal128(38, 0)).ok()? {
        ScalarValue::Decimal128(Some(number), ..) if value.data_type().is_integer() => Some(number),
        _ => None,
    }
}

pub(in crate::plan) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
