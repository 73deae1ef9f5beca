//! The incremental plan as text: an indented tree, each node with what it does, what is known of its rows, and what it keeps and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;

use super::bounds::{StateBound, state_bounds, unbounded};
use super::expressions::moved;
use super::names::visible_throughout;
use super::node::{
    AggregateCall, AggregateFunction, Closing, Crossing, Extent, GroupingSet, JoinKind, Lookup, Node, NodeKind, OrderColumn, Plan,
    Properties, Scalar, Settling, WindowCall, WindowMethod, first_within,
};
use super::sql_text::without_types;
use crate::catalog::Catalog;
use crate::types::{Low, ObjectId, TimeWindows, hash_bytes};

/// One line per node, inputs below and two blanks further in.
pub fn explain(plan: &Plan, catalog: &Catalog) -> String {
    let mut text = String::new();
    write_node(&plan.root, 0, &state_bounds(plan, catalog), &mut text);
    without_types(&text)
}

impl Plan {
    /// Tells plans apart whose operators would not understand each other's state: those that differ in what nodes do, in their numbers or in
    /// types. Equal for equal plans, whatever compiler built the program: it is stored, and a view whose number changes is computed anew.
    pub fn fingerprint(&self) -> u64 {
        let mut root = self.root.clone();
        nameless(&mut root);
        let mut text = String::new();
        write_identity(&root, &mut text);
        hash_bytes(text.as_bytes())
    }

    /// The plan as it is when the columns of `object` stand elsewhere: `place` gives their new positions. `None` if one that it reads is gone.
    pub fn with_columns_moved(&self, object: ObjectId, place: &dyn Fn(usize) -> Option<usize>) -> Option<Plan> {
        let mut plan = self.clone();
        move_columns(&mut plan.root, object, place).then_some(plan)
    }
}

fn move_columns(node: &mut Node, moved: ObjectId, place: &dyn Fn(usize) -> Option<usize>) -> bool {
    if let NodeKind::Import { object, columns, .. } = &mut node.kind
        && *object == moved
    {
        let Some(places) = columns.iter().map(|column| place(*column)).collect() else { return false };
        *columns = places;
    }
    node.inputs_mut().into_iter().all(|input| move_columns(input, moved, place))
}

/// Puts positions in the place of names: a plan stays the same when what it reads is called otherwise.
fn nameless(node: &mut Node) {
    let fields = node.schema.fields().iter().enumerate().map(|(at, field)| field.as_ref().clone().with_name(format!("#{at}")));
    node.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    match &mut node.kind {
        NodeKind::Import { object, name, columns, .. } => *name = format!("{object} {columns:?}"),
        NodeKind::Map { predicate, projection, .. } => predicate.iter_mut().chain(projection).for_each(positional),
        NodeKind::Join { condition, .. } => condition.iter_mut().for_each(positional),
        NodeKind::LookupJoin { condition, name, .. } => {
            condition.iter_mut().for_each(positional);
            name.clear();
        }
        NodeKind::DeltaJoin { conditions, paths, .. } => {
            conditions.iter_mut().for_each(positional);
            paths.iter_mut().flatten().for_each(|lookup| lookup.name = format!("{:?}", lookup.index));
        }
        NodeKind::Unnest { lists, .. } => lists.iter_mut().for_each(positional),
        NodeKind::Recursion { name, .. } | NodeKind::Recurrence { name, .. } => name.clear(),
        NodeKind::Combine { aggregates, .. } | NodeKind::Aggregate { aggregates, .. } => {
            for call in aggregates {
                let arguments = format!("{:?} {:?} {}", call.argument, call.filter, call.distinct);
                call.text = match &call.function {
                    AggregateFunction::General(general) => format!("{} {arguments}", general.shape()),
                    AggregateFunction::First(column) => format!("first {} {} {arguments}", column.rows.shape(), column.column),
                    AggregateFunction::Last(column) => format!("last {} {} {arguments}", column.rows.shape(), column.column),
                    other => format!("{other:?} {arguments}"),
                };
            }
        }
        NodeKind::Window { calls, .. } => calls.iter_mut().for_each(|call| {
            let arguments: Vec<String> = call.expression.expressions().iter().map(positions).collect();
            let function = call.text.split('(').next().unwrap_or_default();
            let (nulls, distinct) = (call.text.contains("IGNORE NULLS"), call.text.contains("(DISTINCT "));
            let frame = call.expression.get_window_frame();
            call.text = format!("{function} {arguments:?} {nulls} {distinct} {frame:?} {:?}", call.method);
        }),
        NodeKind::Constant { .. }
        | NodeKind::Hop { .. }
        | NodeKind::Session { .. }
        | NodeKind::Expand { .. }
        | NodeKind::Exchange { .. }
        | NodeKind::TopN { .. }
        | NodeKind::Late { .. }
        | NodeKind::Close { .. }
        | NodeKind::AsOf { .. }
        | NodeKind::Arrival { .. }
        | NodeKind::Versions { .. }
        | NodeKind::Temporal { .. }
        | NodeKind::Union { .. } => {}
    }
    node.inputs_mut().into_iter().for_each(nameless);
}

fn positional(scalar: &mut Scalar) {
    scalar.text = positions(&scalar.expression);
}

/// An expression with its columns as positions.
pub(super) fn positions(expression: &Arc<dyn PhysicalExpr>) -> String {
    moved(expression, &|index| Arc::new(PhysicalColumn::new("", index))).to_string()
}

/// All that tells a node's state from another's.
fn write_identity(node: &Node, text: &mut String) {
    let types: Vec<String> = node.schema.fields().iter().map(|field| field.data_type().to_string()).collect();
    let low = match &node.kind {
        NodeKind::Late { low, .. } | NodeKind::Temporal { low, .. } => format!(" {low:?}"),
        NodeKind::Close { columns, .. } => columns.iter().map(|(_, low)| format!(" {low:?}")).collect(),
        NodeKind::Aggregate { closing, .. } => closing.iter().map(|closing| format!(" {:?}", closing.low)).collect(),
        NodeKind::TopN { closing, settled, .. } => {
            closing.iter().map(|closing| &closing.low).chain(settled).map(|low| format!(" {low:?}")).collect()
        }
        NodeKind::Window { closing, settling, .. } => {
            let lows = closing.iter().map(|closing| &closing.low).chain(settling.iter().map(|settling| &settling.low));
            lows.map(|low| format!(" {low:?}")).collect()
        }
        NodeKind::AsOf { low, .. } | NodeKind::Versions { low, .. } => format!(" {low:?}"),
        NodeKind::Join { expiry, .. } => expiry.iter().flatten().map(|expiry| format!(" {expiry:?}")).collect(),
        NodeKind::Session { closing, .. } => closing.iter().map(|closing| format!(" {:?}", closing.low)).collect(),
        _ => String::new(),
    };
    let known = (&node.properties.partitioning, node.properties.append_only);
    let inputs = node.inputs();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} {} {} {known:?} {types:?} {}{low}", node.id, describe(node), state(node), inputs.len());
    inputs.into_iter().for_each(|input| write_identity(input, text));
}

/// What a user should know before a view is built, and what to do about it: joins that cannot be spread over the workers, and state that
/// grows for ever.
pub fn notices(plan: &Plan, catalog: &Catalog) -> Vec<(String, String)> {
    let mut found = unbounded(plan, catalog);
    found.extend(lateness_without_effect(&plan.root));
    collect_notices(&plan.root, &mut found);
    // One for joins that are alike in what is said of them.
    let mut told = BTreeSet::new();
    found.iter_mut().for_each(|(message, _)| *message = without_types(message));
    found.retain(|(message, _)| told.insert(message.clone()));
    found
}

/// `allowed_lateness` where nothing is ever over.
fn lateness_without_effect(root: &Node) -> Option<(String, String)> {
    (root.is_patient() && !root.goes_by_watermarks()).then(|| {
        let message = "allowed_lateness has no effect: nothing in this view is ever over".to_owned();
        (message, "Group by a window of a column with a watermark, or leave it out.".to_owned())
    })
}

fn collect_notices(node: &Node, found: &mut Vec<(String, String)>) {
    if let NodeKind::Join { join, left, right, left_keys, .. } = &node.kind {
        // One side of a single row makes every meeting as cheap as a lookup.
        let single = [left, right].into_iter().any(|side| side.properties.key.as_ref().is_some_and(Vec::is_empty));
        if *join == JoinKind::NotIn {
            let message = format!("{} keeps both sides on one worker: a NULL on its right side concerns every row", describe_join(node));
            found.push((message, "NOT EXISTS, or NOT IN over columns that are NOT NULL, is spread over all workers.".to_owned()));
        } else if left_keys.is_empty() && !single {
            let message = format!(
                "{} keeps both sides on one worker, and each row that changes is compared with all rows of the other side",
                describe_join(node)
            );
            found.push((
                message,
                "An equality between columns of both sides, if there is one, makes it fast and spreads it over all workers.".to_owned(),
            ));
        }
    }
    node.inputs().into_iter().for_each(|input| collect_notices(input, found));
}

fn write_node(node: &Node, depth: usize, bounds: &BTreeMap<u32, StateBound>, text: &mut String) {
    let line = format!("{:indent$}{}", "", describe(node), indent = depth * 2);
    let known = properties(&node.properties, &node.schema);
    // Writing to a String cannot fail.
    let unbounded = if bounds.get(&node.id) == Some(&StateBound::Unbounded) { "; grows for ever" } else { "" };
    let _ = writeln!(text, "{line}  [{known}]  {}{unbounded}", state(node));
    for input in node.inputs() {
        write_node(input, depth + 1, bounds, text);
    }
}

pub(super) fn describe(node: &Node) -> String {
    match &node.kind {
        NodeKind::Import { name, .. } => format!("Import {name} ({})", names(&node.schema, 0..node.schema.fields().len())),
        NodeKind::Constant { rows } => format!("Constant {} rows", rows.num_rows()),
        NodeKind::Map { predicate, projection, .. } => {
            let condition = predicate.as_ref().map(|predicate| format!(" where {}", predicate.text)).unwrap_or_default();
            format!("Map ({}){condition}", projected(projection, &node.schema))
        }
        NodeKind::Hop { input, time, windows } => windows_on(&names(&input.schema, [*time]), *windows),
        NodeKind::Session { .. } => sessions_of(node),
        NodeKind::Expand { input, keys, sets } => {
            let set = |set: &GroupingSet| {
                let kept = keys.iter().zip(&set.keys).filter(|(_, kept)| **kept).map(|(key, _)| *key);
                format!("({})", names(&input.schema, kept))
            };
            format!("Expand to {}", sets.iter().map(set).collect::<Vec<_>>().join(", "))
        }
        NodeKind::Unnest { lists, outer, .. } => {
            let lists: Vec<&str> = lists.iter().map(|list| list.text.as_str()).collect();
            let without = if *outer { ", keeping rows without elements" } else { "" };
            format!("Unnest {}{without}", lists.join(", "))
        }
        NodeKind::Exchange { input, keys } if keys.is_empty() => {
            format!("Exchange to one worker ({} columns)", input.schema.fields().len())
        }
        NodeKind::Exchange { input, keys } => format!("Exchange by ({})", names(&input.schema, keys.iter().copied())),
        NodeKind::Combine { input, keys, aggregates, .. } => grouped("Combine", input, keys, aggregates),
        NodeKind::Aggregate { input, keys, aggregates, .. } if aggregates.is_empty() => {
            format!("Distinct ({})", names(&input.schema, keys.iter().copied()))
        }
        NodeKind::Aggregate { input, keys, aggregates, closing, .. } => {
            let emits = closing.iter().filter(|closing| closing.emits).map(|closing| {
                let key = names(&node.schema, [closing.place]);
                format!(", emitted when event time has passed {key}")
            });
            format!("{}{}", grouped("Aggregate", input, keys, aggregates), emits.collect::<String>())
        }
        NodeKind::Late { input, column, .. } => {
            format!("Late: without rows whose {} event time has passed", names(&input.schema, [*column]))
        }
        NodeKind::Arrival { .. } => "Arrival: rows with the time at which they come".to_owned(),
        NodeKind::Temporal { input, column, crossing, low } => {
            let (lasts, sign) = match crossing {
                Crossing::Leaves { when_passed: false } => ("as long as", ">"),
                Crossing::Leaves { when_passed: true } => ("as long as", ">="),
                Crossing::Enters { when_passed: false } => ("as soon as", "<="),
                Crossing::Enters { when_passed: true } => ("as soon as", "<"),
            };
            format!("Temporal: rows {lasts} {} {sign} {low}", names(&input.schema, [*column]))
        }
        NodeKind::Close { input, columns } => format!("Close: rows when event time has passed {}", one_of(columns, &input.schema)),
        NodeKind::Join { .. } => describe_join(node),
        NodeKind::AsOf { .. } => describe_as_of(node),
        NodeKind::LookupJoin { .. } | NodeKind::Versions { .. } => describe_temporal_join(node),
        NodeKind::DeltaJoin { .. } => describe_delta_join(node),
        NodeKind::TopN { .. } => first_rows(node),
        NodeKind::Window { .. } => describe_window(node),
        NodeKind::Union { inputs } => format!("Union of {}", inputs.len()),
        NodeKind::Recursion { name, distinct, iterations_max, .. } => {
            let rows = if *distinct { "different rows" } else { "all rows" };
            format!("Recursion {name} ({rows}, at most {iterations_max} iterations)")
        }
        NodeKind::Recurrence { name, .. } => {
            format!("Rows of the iteration before of {name} ({})", names(&node.schema, 0..node.schema.fields().len()))
        }
    }
}

fn describe_window(node: &Node) -> String {
    let NodeKind::Window { input, keys, order, calls, settling, .. } = &node.kind else { return String::new() };
    let emits = match settling {
        Some(Settling { emits: true, .. }) => {
            let looked_at = if calls.iter().any(|call| call.method.looks_ahead()) { ", and what is looked at behind" } else { "" };
            format!("; emitted when event time has passed {}{looked_at}", time_within(&input.schema, order, keys))
        }
        _ => String::new(),
    };
    let group = if keys.is_empty() { String::new() } else { format!(" by ({})", names(&input.schema, keys.iter().copied())) };
    let calls: Vec<String> = calls.iter().map(|call| format!("{}, {}", call.text, reach(call.method))).collect();
    format!("Window{group}{}: {}{emits}", ordered(order, &input.schema), calls.join("; "))
}

fn sessions_of(node: &Node) -> String {
    let NodeKind::Session { input, keys, time, gap_us, ends, closing } = &node.kind else { return String::new() };
    let group = if keys.is_empty() { String::new() } else { format!(" by ({})", names(&input.schema, keys.iter().copied())) };
    let starts = if *ends { "" } else { ", starts only" };
    let emits = closing.as_ref().is_some_and(|closing| closing.emits);
    let emits = if emits { ", emitted when event time has passed window_end" } else { "" };
    format!("Session on {}{group} with gaps of {}{starts}{emits}", names(&input.schema, [*time]), duration(*gap_us))
}

fn windows_on(time: &str, windows: TimeWindows) -> String {
    let from = |offset_us: i64| if offset_us == 0 { String::new() } else { format!(" from {}", duration(offset_us)) };
    match windows {
        TimeWindows::Hop { slide_us, size_us, offset_us } if slide_us == size_us => {
            format!("Tumble on {time} for {}{}", duration(size_us), from(offset_us))
        }
        TimeWindows::Hop { slide_us, size_us, offset_us } => {
            format!("Hop on {time} for {} every {}{}", duration(size_us), duration(slide_us), from(offset_us))
        }
        TimeWindows::Cumulate { step_us, size_us, offset_us } => {
            format!("Cumulate on {time} up to {} by {}{}", duration(size_us), duration(step_us), from(offset_us))
        }
    }
}

fn grouped(word: &str, input: &Node, keys: &[usize], aggregates: &[AggregateCall]) -> String {
    let calls: Vec<&str> = aggregates.iter().map(|call| call.text.as_str()).collect();
    let colon = if calls.is_empty() { "" } else { ": " };
    format!("{word} by ({}){colon}{}", names(&input.schema, keys.iter().copied()), calls.join(", "))
}

fn describe_join(node: &Node) -> String {
    let NodeKind::Join { join, left, right, left_keys, right_keys, null_equals_null, condition, .. } = &node.kind else {
        return String::new();
    };
    let name = match join {
        JoinKind::Inner => "Join",
        JoinKind::Left => "Left join",
        JoinKind::Right => "Right join",
        JoinKind::Full => "Full join",
        JoinKind::Semi => "Semi join",
        JoinKind::Anti => "Anti join",
        JoinKind::NotIn => "Anti join (NOT IN)",
        JoinKind::Mark => "Mark join",
    };
    let sign = if *null_equals_null { "is not distinct from" } else { "=" };
    let keys = left_keys
        .iter()
        .zip(right_keys)
        .map(|(left_key, right_key)| format!("{} {sign} {}", names(&left.schema, [*left_key]), names(&right.schema, [*right_key])));
    let terms: Vec<String> = keys.chain(condition.iter().map(|condition| condition.text.clone())).collect();
    let by = if left_keys.is_empty() { " by nested loops" } else { "" };
    let on = if terms.is_empty() { String::new() } else { format!(" on {}", terms.join(" and ")) };
    format!("{name}{by}{on}")
}

fn describe_temporal_join(node: &Node) -> String {
    match &node.kind {
        NodeKind::LookupJoin { left, right, keys, name, condition, outer } => {
            let word = if *outer { "Left lookup join" } else { "Lookup join" };
            let condition = condition.as_ref().map_or_else(String::new, |condition| format!(", where {}", condition.text));
            let keys = names(&left.schema, keys.iter().copied());
            format!("{word}: {} by {name} ({keys}) as it is when a row comes{condition}", import_name(right))
        }
        NodeKind::Versions { input, keys, time, .. } => {
            format!("Versions by ({}) from {} on", names(&input.schema, keys.iter().copied()), names(&input.schema, [*time]))
        }
        _ => String::new(),
    }
}

fn describe_as_of(node: &Node) -> String {
    let NodeKind::AsOf { input, keys, inclusive, forward, outer, .. } = &node.kind else { return String::new() };
    let name = if *outer { "Left as-of join" } else { "As-of join" };
    let which = match (forward, inclusive) {
        (false, true) => "last row that is not later by",
        (false, false) => "last row that is earlier by",
        (true, true) => "first row that is not earlier by",
        (true, false) => "first row that is later by",
    };
    let by = if *keys == 0 { String::new() } else { format!(" by ({})", names(&input.schema, 0..*keys)) };
    format!("{name}{by} with the {which} {}", names(&input.schema, [*keys + 1]))
}

/// `Delta join on a = b: t finds u by u_pkey (a), …; u finds t by …`.
fn describe_delta_join(node: &Node) -> String {
    let NodeKind::DeltaJoin { inputs, equal, conditions, paths, .. } = &node.kind else { return String::new() };
    let column = |column: &usize| names(&node.schema, [*column]);
    let terms = equal.iter().map(|(one, other)| format!("{} = {}", column(one), column(other)));
    let terms: Vec<String> = terms.chain(conditions.iter().map(|condition| condition.text.clone())).collect();
    let path = |(from, path): (usize, &Vec<Lookup>)| {
        let found = path.iter().map(|lookup| {
            let keys = names(&node.schema, lookup.keys.iter().copied());
            format!("{} by {} ({keys})", import_name(&inputs[lookup.input]), lookup.name)
        });
        format!("{} finds {}", import_name(&inputs[from]), found.collect::<Vec<_>>().join(", "))
    };
    let paths: Vec<String> = paths.iter().enumerate().map(path).collect();
    format!("Delta join on {}: {}", terms.join(" and "), paths.join("; "))
}

fn import_name(node: &Node) -> &str {
    match &node.kind {
        NodeKind::Import { name, .. } => name,
        NodeKind::Map { input, .. } => import_name(input),
        _ => "",
    }
}

fn first_rows(node: &Node) -> String {
    let NodeKind::TopN { input, keys, order, ranking, offset, limit, numbered, candidates, .. } = &node.kind else { return String::new() };
    let word = if *candidates { "Candidates" } else { "TopN" };
    let group = if keys.is_empty() { String::new() } else { format!(" by ({})", names(&input.schema, keys.iter().copied())) };
    let first = limit.map(|limit| format!(": {} <= {}", ranking.name(), limit.saturating_add(*offset))).unwrap_or_default();
    let offset = if *offset == 0 { String::new() } else { format!(", without the first {offset}") };
    let place = if *numbered { ", with the place" } else { "" };
    format!("{word}{group}{}{first}{offset}{place}", ordered(order, &input.schema))
}

/// What bounds the groups by `keys`.
fn bounded(input: &Node, keys: &[usize], closing: Option<&Closing>) -> String {
    closing.map(|closing| format!("; bounded by {}", names(&input.schema, [keys[closing.place]]))).unwrap_or_default()
}

/// What the node remembers, and why.
fn state(node: &Node) -> String {
    match &node.kind {
        NodeKind::Aggregate { input, keys, aggregates, closing, .. } => {
            let bounded = match closing {
                Some(Closing { place, .. }) if *place >= keys.len() => format!("; bounded by {}", names(&node.schema, [*place])),
                closing => bounded(input, keys, closing.as_ref()),
            };
            format!("{}{bounded}", aggregate_state(aggregates, input.properties.append_only))
        }
        NodeKind::Session { closing: Some(_), .. } => "state: every row; bounded by window_end".to_owned(),
        NodeKind::Session { .. } => "state: every row".to_owned(),
        NodeKind::Late { .. } => "state: how many rows were late".to_owned(),
        NodeKind::Temporal { input, column, crossing, .. } => {
            let column = names(&input.schema, [*column]);
            match crossing {
                Crossing::Leaves { .. } => format!("state: rows that are there; bounded by {column}"),
                Crossing::Enters { .. } => format!("state: rows that are not there yet; bounded by {column}"),
            }
        }
        NodeKind::Close { input, columns } => format!("state: rows that are not final; bounded by {}", one_of(columns, &input.schema)),
        NodeKind::Join { join, left, right, expiry, .. } => {
            let kept = match join {
                JoinKind::Inner => "both inputs",
                JoinKind::Left => "both inputs, and how many partners each left row has",
                JoinKind::Right => "both inputs, and how many partners each right row has",
                JoinKind::Full => "both inputs, and how many partners each row has",
                JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn | JoinKind::Mark => {
                    "left rows and how many partners each has, different right rows"
                }
            };
            let bounds = [left, right].into_iter().zip(expiry).filter_map(|(side, expiry)| {
                let expiry = expiry.as_ref()?;
                Some(names(&side.schema, [expiry.column]))
            });
            let bounds: Vec<String> = bounds.collect();
            let side = match expiry {
                [None, None] => return format!("state: {kept}"),
                [Some(_), None] => "the left one ",
                [None, Some(_)] => "the right one ",
                [Some(_), Some(_)] => "",
            };
            format!("state: {kept}; {side}bounded by {}", bounds.join(", "))
        }
        NodeKind::Recursion { distinct: true, .. } => "state: different rows, and how often each is derived at which iteration".to_owned(),
        NodeKind::Window { .. } | NodeKind::TopN { .. } => state_in_order(node),
        NodeKind::LookupJoin { left, .. } if !left.properties.append_only => "state: what came out for each left row".to_owned(),
        NodeKind::Versions { input, time, low, .. } => {
            let bound = low.as_ref().map_or_else(String::new, |_| format!("; bounded by {}", names(&input.schema, [*time])));
            format!("state: every version{bound}")
        }
        NodeKind::AsOf { input, keys, low, .. } => {
            let bounded = low.iter().map(|_| format!("; bounded by {}", names(&input.schema, [*keys + 1])));
            format!("state: both inputs in the order of time{}", bounded.collect::<String>())
        }
        NodeKind::DeltaJoin { .. } => "stateless: rows are found where their tables and views keep them".to_owned(),
        _ => "stateless".to_owned(),
    }
}

/// The same of what goes by the order of rows.
fn state_in_order(node: &Node) -> String {
    match &node.kind {
        NodeKind::Window { input, keys, order, calls, settling: Some(settling), .. } => {
            let open = if settling.emits { "rows that are not final" } else { "rows that are not final and their results" };
            let time = time_within(&input.schema, order, keys);
            match (calls.iter().all(|call| call.method.forgets()), calls.iter().any(|call| call.method.goes_on())) {
                (false, _) => format!("state: every row, as {} needs", needs_all(calls)),
                (true, true) => format!("state: {open}, and what the next row of each partition needs; bounded by {time}"),
                (true, false) => format!("state: {open}, and those that a frame may reach; bounded by {time}"),
            }
        }
        NodeKind::Window { input, keys, closing, .. } => {
            format!("state: every row and its results{}", bounded(input, keys, closing.as_ref()))
        }
        NodeKind::TopN { candidates: true, .. } => "state: this worker's first rows".to_owned(),
        NodeKind::TopN { input, keys, order, settled: Some(_), .. } => {
            let time = time_within(&input.schema, order, keys);
            format!("state: rows that may still go, and the first of the others of each group; bounded by {time}")
        }
        NodeKind::TopN { input, keys, limit, closing, .. } => {
            let kept = match input.properties.append_only && limit.is_some() {
                true => "the first rows of each group",
                false => "every row, since others move up when one is retracted or left out",
            };
            format!("state: {kept}{}", bounded(input, keys, closing.as_ref()))
        }
        _ => String::new(),
    }
}

/// The time by which rows of a group are in order.
fn time_within(schema: &Schema, order: &[OrderColumn], keys: &[usize]) -> String {
    first_within(order, keys).map_or_else(String::new, |first| names(schema, [first.column]))
}

/// The first call that needs all rows of a partition.
fn needs_all(calls: &[WindowCall]) -> &str {
    calls.iter().find(|call| !call.method.forgets()).map_or("", |call| &call.text)
}

/// What of a partition is computed anew after a change.
fn reach(method: WindowMethod) -> &'static str {
    match method {
        WindowMethod::Place(_) | WindowMethod::Running { .. } => "from the change on",
        WindowMethod::Near { after: Extent::All, .. } => "the whole partition",
        WindowMethod::Near { before: Extent::All, .. } => "from the change on",
        WindowMethod::Near { .. } => "near the change",
    }
}

/// ` order by a desc nulls first, b`; NULLs are the greatest values otherwise.
fn ordered(order: &[OrderColumn], schema: &Schema) -> String {
    let columns = order.iter().map(|column| {
        let direction = if column.descending { " desc" } else { "" };
        let nulls = match (column.descending, column.nulls_first) {
            (false, true) => " nulls first",
            (true, false) => " nulls last",
            _ => "",
        };
        format!("{}{direction}{nulls}", schema.field(column.column).name())
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    if columns.is_empty() { columns } else { format!(" order by {columns}") }
}

/// The classes of the functions, and what each class keeps.
fn aggregate_state(aggregates: &[AggregateCall], append_only: bool) -> String {
    use super::node::AggregateFunction::{First, General, Last, Max, Min};
    let kept = |call: &AggregateCall| match &call.function {
        Min | Max | First(_) | Last(_) if append_only => "ordered, in place",
        Min | Max | First(_) | Last(_) => "ordered, with all values since rows may be retracted",
        General(general) if append_only && general.in_place => "general, in place",
        General(_) => "general, with all rows of the group",
        _ if call.distinct => "linear, with every different value",
        _ => "linear",
    };
    let mut classes: Vec<(&str, Vec<&str>)> = Vec::new();
    for call in aggregates {
        match classes.iter_mut().find(|(class, _)| *class == kept(call)) {
            Some((_, calls)) => calls.push(&call.text),
            None => classes.push((kept(call), vec![&call.text])),
        }
    }
    let classes = classes.into_iter().map(|(class, calls)| format!("; {class}: {}", calls.join(", ")));
    format!("state: one entry per group{}", classes.collect::<String>())
}

fn properties(properties: &Properties, schema: &Schema) -> String {
    let mut known = Vec::new();
    known.push(if properties.append_only { "append-only".to_owned() } else { "changing".to_owned() });
    match &properties.key {
        Some(key) if key.is_empty() => known.push("one row".to_owned()),
        Some(key) => known.push(format!("key ({})", names(schema, key.iter().copied()))),
        None => {}
    }
    match &properties.partitioning {
        Some(columns) if columns.is_empty() => known.push("on one worker".to_owned()),
        Some(columns) => known.push(format!("partitioned by ({})", names(schema, columns.iter().copied()))),
        None => {}
    }
    known.join(", ")
}

fn projected(projection: &[Scalar], schema: &Schema) -> String {
    let columns = projection.iter().zip(schema.fields()).map(|(scalar, field)| {
        if scalar.text == *field.name() { scalar.text.clone() } else { format!("{} as {}", scalar.text, field.name()) }
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// `a or b`: columns of which one is enough.
fn one_of(columns: &[(usize, Low)], schema: &Schema) -> String {
    columns.iter().map(|(column, _)| schema.field(*column).name().as_str()).collect::<Vec<_>>().join(" or ")
}

pub(super) fn names(schema: &Schema, columns: impl IntoIterator<Item = usize>) -> String {
    columns.into_iter().map(|column| schema.field(column).name().as_str()).collect::<Vec<_>>().join(", ")
}

/// Microseconds in the largest unit that leaves nothing over.
fn duration(micros: i64) -> String {
    let units = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    match units.into_iter().find(|(unit, _)| micros % unit == 0) {
        Some((unit, name)) => format!("{} {name}", micros / unit),
        None => format!("{micros} µs"),
    }
}
/// A plan's text with names as the user sees them, and intervals as SQL writes them.
pub fn readable(plan: &str) -> String {
    const BEFORE: &str = "IntervalMonthDayNano { months: ";
    let text = visible_throughout(plan);
    let mut parts = text.split(BEFORE);
    let mut readable = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (numbers, rest) = part.split_once(" }").unwrap_or((part, ""));
        let numbers: Vec<&str> = numbers.split(|c: char| !c.is_ascii_digit() && c != '-').filter(|number| !number.is_empty()).collect();
        let fields = numbers.iter().zip(["months", "days", "nanoseconds"]).filter(|(number, _)| **number != "0");
        let fields: Vec<String> = fields.map(|(number, unit)| format!("{number} {unit}")).collect();
        readable += &format!("interval '{}'{rest}", if fields.is_empty() { "0".to_owned() } else { fields.join(" ") });
    }
    readable
}
