//! Our own schema, `tidemill`: what runs, how far it is, what it holds, and what went wrong.

use super::declared::{Declared, Rows};
use super::facts::{Facts, SourceFacts, ViewFacts};
use super::listings::connector_name;
use super::names::user_relations;
use super::value::Value;
use crate::catalog::{Object, ObjectKind};
use crate::types::{NOW, ObjectId, Watermarks};

/// All of them. The numbers are in PostgreSQL's range of system objects.
pub(super) const RELATIONS: &[Declared] = &[
    view(
        13_600,
        "sources",
        "schema name!, name name!, connector text, kind text!, status text!, rows int8!, rate float8!, dead_letters int8!, lag int8, position text!",
        sources,
    ),
    view(
        13_601,
        "dead_letters",
        "schema name!, source name!, partition int4, offset int8, time timestamptz!, error text!, payload text!",
        dead_letters,
    ),
    view(
        13_602,
        "progress",
        "schema name!, name name!, status text!, rows_done int8!, rows_total int8, percent float8, rate float8!, rows_out int8!, epoch int8!, failure text",
        progress,
    ),
    view(13_603, "state", "schema name!, name name!, node int4!, operator text!, rows int8!, bytes int8!, bounded_by text", state),
    view(13_604, "relations", "schema name!, name name!, kind text!, rows int8!, bytes int8!", relations),
    view(13_605, "row_errors", "schema name!, name name!, count int8!, error text, row text", row_errors),
    view(
        13_606,
        "sessions",
        "pid int4!, user_name name!, application text!, client text!, connected timestamptz!, state text!, query text!",
        sessions,
    ),
    view(13_607, "epochs", "durable int8!, complete int8!, checkpoint int8!", epochs),
    view(
        13_609,
        "sinks",
        "schema name!, name name!, target text!, status text!, rows_out int8!, pending_rows int8!, pending_bytes int8!, epoch int8!, failure text",
        sinks,
    ),
    view(
        13_610,
        "watermarks",
        "schema name!, name name!, kind text!, column name!, watermark timestamptz, lag_seconds float8, partitions int4, idle_partitions int4",
        watermarks,
    ),
    view(13_611, "late_rows", "schema name!, name name!, node int4!, sources text!, rows int8!", late_rows),
    view(13_608, "settings", "name text!, setting text!, description text!", settings),
];

const fn view(oid: ObjectId, name: &'static str, columns: &'static str, rows: fn(&Facts, &mut Rows)) -> Declared {
    Declared { schema: "tidemill", name, oid, kind: 'v', columns, rows: Some(rows) }
}

/// What there is to say of an object by its number; nothing of one that was dropped meanwhile.
fn object(facts: &Facts, id: ObjectId) -> Option<&Object> {
    facts.catalog.get(id).map(AsRef::as_ref)
}

fn sources(facts: &Facts, rows: &mut Rows) {
    for source in &facts.sources {
        let Some(object) = object(facts, source.id) else { continue };
        let positions: Vec<String> = source.positions.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
        rows.push([
            ("schema", object.schema.as_str().into()),
            ("name", object.name.as_str().into()),
            ("connector", connector_name(object).into()),
            ("kind", object.kind_name().into()),
            ("status", source.status.as_str().into()),
            ("rows", source.rows.into()),
            ("rate", source.rate.into()),
            ("dead_letters", source.dead_letters.into()),
            ("lag", source.lag.into()),
            ("position", positions.join(" ").into()),
        ]);
    }
}

fn dead_letters(facts: &Facts, rows: &mut Rows) {
    for source in &facts.sources {
        let Some(object) = object(facts, source.id) else { continue };
        for letter in &source.newest_dead_letters {
            rows.push([
                ("schema", object.schema.as_str().into()),
                ("source", object.name.as_str().into()),
                ("partition", letter.partition.into()),
                ("offset", letter.offset.into()),
                ("time", Value::Time(letter.time_micros)),
                ("error", letter.error.as_str().into()),
                ("payload", letter.payload.as_str().into()),
            ]);
        }
    }
    for late in &facts.late_rows {
        let (Some(view), Some(source)) = (object(facts, late.id), late.sources.first().and_then(|source| object(facts, *source))) else {
            continue;
        };
        for (time_micros, row) in &late.newest {
            rows.push([
                ("schema", source.schema.as_str().into()),
                ("source", source.name.as_str().into()),
                ("time", Value::Time(*time_micros)),
                ("error", format!("too late for view \"{}\": event time had passed it", view.name).into()),
                ("payload", row.as_str().into()),
            ]);
        }
    }
}

fn progress(facts: &Facts, rows: &mut Rows) {
    for view in &facts.views {
        let Some(object) = object(facts, view.id) else { continue };
        let (done, total) = filled(facts, view, object);
        let percent = total.map(|total| if done >= total { 100.0 } else { done as f64 / total as f64 * 100.0 });
        rows.push([
            ("schema", object.schema.as_str().into()),
            ("name", object.name.as_str().into()),
            ("status", view.status.into()),
            ("rows_done", done.into()),
            ("rows_total", total.into()),
            ("percent", percent.into()),
            ("rate", view.rate.into()),
            ("rows_out", view.rows_out.into()),
            ("epoch", view.frontier.saturating_sub(1).into()),
            ("failure", view.failure.as_deref().into()),
        ]);
    }
}

fn sinks(facts: &Facts, rows: &mut Rows) {
    for sink in &facts.sinks {
        let (Some(object), Some(target)) = (object(facts, sink.id), object(facts, sink.target)) else { continue };
        rows.push([
            ("schema", object.schema.as_str().into()),
            ("name", object.name.as_str().into()),
            ("target", format!("{}.{}", target.schema, target.name).into()),
            ("status", sink.status.into()),
            ("rows_out", sink.rows_out.into()),
            ("pending_rows", sink.pending_rows.into()),
            ("pending_bytes", sink.pending_bytes.into()),
            ("epoch", sink.epoch.into()),
            ("failure", sink.failure.as_deref().into()),
        ]);
    }
}

/// Rows that a view has read, and how many there are, if that is known: of those that were there before it; and once it follows sources, of those.
/// What was there before the first view on a source is what it still lags behind.
fn filled(facts: &Facts, view: &ViewFacts, object: &Object) -> (u64, Option<u64>) {
    let followed: Vec<&SourceFacts> = facts.sources.iter().filter(|source| object.depends_on.contains(&source.id)).collect();
    if view.status != "running" {
        return (view.rows_done, view.rows_total);
    }
    if followed.is_empty() {
        return (view.rows_done, Some(view.rows_total.unwrap_or(view.rows_done).max(view.rows_done)));
    }
    let (mut done, mut behind) = (0, Some(0_u64));
    for source in followed {
        let lag = if source.status == "finished" { Some(0) } else { source.lag };
        done += source.rows;
        behind = behind.zip(lag).map(|(sum, lag)| sum + u64::try_from(lag).unwrap_or(0));
    }
    (done, behind.map(|behind| done + behind))
}

fn state(facts: &Facts, rows: &mut Rows) {
    for view in &facts.views {
        let Some(object) = object(facts, view.id) else { continue };
        for (node, operator, count, bytes) in &view.state {
            rows.push([
                ("schema", object.schema.as_str().into()),
                ("name", object.name.as_str().into()),
                ("node", (*node).into()),
                ("operator", operator.as_str().into()),
                ("rows", (*count).into()),
                ("bytes", (*bytes).into()),
                ("bounded_by", view.bounds.get(node).map(String::as_str).into()),
            ]);
        }
    }
}

fn relations(facts: &Facts, rows: &mut Rows) {
    for object in user_relations(facts) {
        let Some(relation) = facts.relations.iter().find(|relation| relation.id == object.id) else { continue };
        rows.push([
            ("schema", object.schema.as_str().into()),
            ("name", object.name.as_str().into()),
            ("kind", object.kind_name().into()),
            ("rows", relation.rows.into()),
            ("bytes", relation.bytes.into()),
        ]);
    }
}

fn row_errors(facts: &Facts, rows: &mut Rows) {
    for errors in &facts.row_errors {
        let Some(object) = object(facts, errors.id) else { continue };
        let begin = || [("schema", object.schema.as_str().into()), ("name", object.name.as_str().into()), ("count", errors.count.into())];
        if errors.samples.is_empty() {
            rows.push(begin());
        }
        for (error, row) in &errors.samples {
            let [schema, name, count] = begin();
            rows.push([schema, name, count, ("error", error.as_str().into()), ("row", row.as_str().into())]);
        }
    }
}

/// Of tables and sources, and of the columns of views that follow from them.
fn watermarks(facts: &Facts, rows: &mut Rows) {
    let behind =
        |watermark: Option<i64>| watermark.map_or(Value::Null, |watermark| Value::Float((facts.now_micros - watermark) as f64 / 1e6));
    let time = |watermark: Option<i64>| watermark.map_or(Value::Null, Value::Time);
    for known in &facts.watermarks {
        let Some(object) = object(facts, known.id) else { continue };
        rows.push([
            ("schema", object.schema.as_str().into()),
            ("name", object.name.as_str().into()),
            ("kind", object.kind_name().into()),
            ("column", object.event_time().map_or("", |event_time| event_time.column.as_str()).into()),
            ("watermark", time(known.watermark)),
            ("lag_seconds", behind(known.watermark)),
            ("partitions", (known.partitions as i32).into()),
            ("idle_partitions", (known.idle_partitions as i32).into()),
        ]);
    }
    let reached: Watermarks = facts.watermarks.iter().filter_map(|known| Some((known.id, known.watermark?))).collect();
    // Where nothing goes by it, the clock has no epoch that it belongs to.
    let clock = reached.get(&NOW).copied().unwrap_or(facts.now_micros);
    for object in facts.catalog.objects().filter(|object| !matches!(object.kind, ObjectKind::MaterializedView(_))) {
        for column in object.columns().unwrap_or_default().iter().filter(|column| column.is_arrival()) {
            rows.push([
                ("schema", object.schema.as_str().into()),
                ("name", object.name.as_str().into()),
                ("kind", object.kind_name().into()),
                ("column", column.name.as_str().into()),
                ("watermark", time(Some(clock))),
                ("lag_seconds", behind(Some(clock))),
            ]);
        }
    }
    for object in facts.catalog.objects() {
        let ObjectKind::MaterializedView(view) = &object.kind else { continue };
        for (column, low) in &view.lows {
            let watermark = low.at(&reached);
            rows.push([
                ("schema", object.schema.as_str().into()),
                ("name", object.name.as_str().into()),
                ("kind", object.kind_name().into()),
                ("column", view.columns[*column].name.as_str().into()),
                ("watermark", time(watermark)),
                ("lag_seconds", behind(watermark)),
            ]);
        }
    }
}

fn late_rows(facts: &Facts, rows: &mut Rows) {
    for late in &facts.late_rows {
        let Some(object) = object(facts, late.id) else { continue };
        let sources: Vec<&str> = late.sources.iter().filter_map(|id| facts.catalog.get(*id)).map(|source| source.name.as_str()).collect();
        rows.push([
            ("schema", object.schema.as_str().into()),
            ("name", object.name.as_str().into()),
            ("node", late.node.into()),
            ("sources", sources.join(", ").as_str().into()),
            ("rows", late.rows.into()),
        ]);
    }
}

fn sessions(facts: &Facts, rows: &mut Rows) {
    for session in &facts.sessions {
        rows.push([
            ("pid", session.process_id.into()),
            ("user_name", session.user.as_str().into()),
            ("application", session.application.as_str().into()),
            ("client", session.peer.as_str().into()),
            ("connected", Value::Time(session.connected_micros)),
            ("state", if session.active { "active" } else { "idle" }.into()),
            ("query", session.query.as_str().into()),
        ]);
    }
}

fn epochs(facts: &Facts, rows: &mut Rows) {
    let epochs = facts.epochs;
    rows.push([("durable", epochs.durable.into()), ("complete", epochs.complete.into()), ("checkpoint", epochs.checkpoint.into())]);
}

fn settings(facts: &Facts, rows: &mut Rows) {
    for (name, setting, description) in &facts.settings {
        rows.push([("name", name.as_str().into()), ("setting", setting.as_str().into()), ("description", description.as_str().into())]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::filled;
    use crate::catalog::system::{Facts, SourceFacts, ViewFacts};
    use crate::catalog::{Object, ObjectKind};

    #[test]
    fn a_view_that_reads_what_was_there_is_not_full() {
        let object = Object {
            id: 2,
            schema: "public".to_owned(),
            name: "v".to_owned(),
            sql: String::new(),
            depends_on: vec![1],
            kind: ObjectKind::Schema,
            comments: BTreeMap::new(),
        };
        let source = |rows, lag, status: &str| SourceFacts { id: 1, rows, lag, status: status.to_owned(), ..SourceFacts::default() };
        let other = SourceFacts { id: 7, lag: Some(1_000), ..SourceFacts::default() };
        let tell = |source: SourceFacts, view: &ViewFacts| {
            filled(&Facts { sources: vec![source, other.clone()], ..Facts::default() }, view, &object)
        };
        let running = ViewFacts { status: "running", ..ViewFacts::default() };
        // The first view on a source follows it from its beginning.
        assert_eq!(tell(source(25, Some(75), "running"), &running), (25, Some(100)));
        assert_eq!(tell(source(25, None, "running"), &running), (25, None));
        // It has caught up: the rows that it has read are still told.
        assert_eq!(tell(source(100, Some(0), "running"), &running), (100, Some(100)));
        assert_eq!(tell(source(100, None, "finished"), &running), (100, Some(100)));
        let unconnected = SourceFacts { id: 9, ..source(100, Some(0), "running") };
        let full = ViewFacts { rows_done: 10, rows_total: Some(10), ..running.clone() };
        assert_eq!(tell(unconnected, &full), (10, Some(10)));
        // A later one reads again what the others have read.
        let later = ViewFacts { status: "hydrating", rows_done: 10, rows_total: Some(50), ..ViewFacts::default() };
        assert_eq!(tell(source(50, None, "running"), &later), (10, Some(50)));
    }
}
