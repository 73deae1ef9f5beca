//! A definition as the statement that would make it: what SHOW CREATE gives of an object that was altered since its own statement.

use std::collections::BTreeMap;

use crate::catalog::{Column, ConnectorOptions, EventTime, Object, ObjectKind, Table, View, ViewOptions};
use crate::engine::event_time::{IDLE_TIMEOUT, MAX_FUTURE};
use crate::engine::retention;
use crate::sql::{quote_ident, quote_literal};
use crate::types::{Include, OnConflict, PROCTIME};

/// The statement that would make the object as it is now.
pub(crate) fn statement_of(object: &Object) -> String {
    let name = format!("{}.{}", quote_ident(&object.schema), quote_ident(&object.name));
    match &object.kind {
        ObjectKind::Schema => format!("CREATE SCHEMA {}", quote_ident(&object.name)),
        ObjectKind::Table(table) => table_statement(&name, table),
        ObjectKind::Source(source) => {
            let columns = columns(&source.columns, &[], source.event_time.as_ref());
            format!("CREATE SOURCE {name} ({columns}){}", connector(&source.columns, &source.connector, source.event_time.as_ref()))
        }
        // An index says its relation's name, which the catalog knows: `index_statement`; a sink its table's: `sink_statement`.
        ObjectKind::Index(_) | ObjectKind::Sink(_) | ObjectKind::Function(_) => object.sql.clone(),
        ObjectKind::View(view) => view_statement("VIEW", &name, view),
        ObjectKind::MaterializedView(view) => view_statement("MATERIALIZED VIEW", &name, view),
    }
}

fn table_statement(name: &str, table: &Table) -> String {
    let mut sql = format!("CREATE TABLE {name} ({})", columns(&table.columns, &table.key, table.event_time.as_ref()));
    // A connector's table without a key is append-only anyway.
    if table.append_only && (table.connector.is_none() || !table.key.is_empty()) {
        sql.push_str(" APPEND ONLY");
    }
    match table.on_conflict {
        OnConflict::Overwrite => {}
        OnConflict::DoNothing => sql.push_str(" ON CONFLICT DO NOTHING"),
        OnConflict::Error => sql.push_str(" ON CONFLICT ERROR"),
    }
    let kept_for = table.retention.iter().flat_map(retention::listed);
    match (&table.connector, &table.event_time) {
        (Some(options), event_time) => {
            let mut options = options.clone();
            options.options.extend(kept_for);
            sql.push_str(&connector(&table.columns, &options, event_time.as_ref()));
        }
        (None, event_time) => {
            let event_time = event_time.iter().filter(|event_time| event_time.idle_timeout_us.or(event_time.max_future_us).is_some());
            let options: BTreeMap<String, String> = event_time.flat_map(event_time_options).chain(kept_for).collect();
            if !options.is_empty() {
                sql.push_str(&format!(" WITH ({})", listed(&options)));
            }
        }
    }
    sql
}

fn view_statement(kind: &str, name: &str, view: &View) -> String {
    let columns: Vec<String> = view.columns.iter().map(|column| quote_ident(&column.name)).collect();
    let ViewOptions { discard, iterations_max, emit_on_window_close, allowed_lateness_us, keep_late_rows, retention } = &view.options;
    let lateness = allowed_lateness_us.map(|micros| ("allowed_lateness", format!("{micros} microseconds")));
    let limit = iterations_max.map(|limit| ("recursion_limit", limit.to_string()));
    let late = keep_late_rows.then(|| ("late_rows", "dead_letter".to_owned()));
    let kept_for = retention.iter().flat_map(|retention| retention::listed_of_view(retention, &view.columns));
    let options = kept_for.chain(lateness).chain(late).chain(discard.then(|| ("discard", "true".to_owned()))).chain(limit);
    let options = listed(&options.map(|(name, value)| (name.to_owned(), value)).collect());
    let options = if options.is_empty() { options } else { format!(" WITH ({options})") };
    let emit = if *emit_on_window_close { " EMIT ON WINDOW CLOSE" } else { "" };
    format!("CREATE {kind} {name} ({}){options} AS {}{emit}", columns.join(", "), view.query)
}

/// Columns, key and watermark; what INCLUDE adds stands behind.
fn columns(columns: &[Column], key: &[usize], event_time: Option<&EventTime>) -> String {
    let mut parts: Vec<String> = columns.iter().filter(|column| column.include.is_none()).map(column).collect();
    if !key.is_empty() {
        let names: Vec<String> = key.iter().map(|position| quote_ident(&columns[*position].name)).collect();
        parts.push(format!("PRIMARY KEY ({})", names.join(", ")));
    }
    if let Some(EventTime { column, watermark, .. }) = event_time {
        parts.push(format!("WATERMARK FOR {} AS {watermark}", quote_ident(column)));
    }
    parts.join(", ")
}

fn column(column: &Column) -> String {
    let mut sql = format!("{} {}", quote_ident(&column.name), column.sql_type);
    if column.not_null {
        sql.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        sql.push_str(&format!(" DEFAULT {default}"));
    }
    if column.is_arrival() {
        sql.push_str(&format!(" AS {PROCTIME}"));
    } else if let Some(generated) = &column.generated {
        sql.push_str(&format!(" GENERATED ALWAYS AS ({generated}) STORED"));
    }
    sql
}

fn connector(columns: &[Column], options: &ConnectorOptions, event_time: Option<&EventTime>) -> String {
    let mut sql = String::new();
    for column in columns {
        let Some(include) = column.include else { continue };
        let word = match include {
            Include::Key => "KEY",
            Include::Partition => "PARTITION",
            Include::Offset => "OFFSET",
            Include::Timestamp => "TIMESTAMP",
            Include::Headers => "HEADERS",
        };
        sql.push_str(&format!(" INCLUDE {word} AS {}", quote_ident(&column.name)));
    }
    let mut all = options.options.clone();
    all.extend(event_time.map(event_time_options).unwrap_or_default());
    sql.push_str(&format!(" WITH ({}) FORMAT {} ENCODE {}", listed(&all), options.format, options.encode));
    if !options.encode_options.is_empty() {
        sql.push_str(&format!(" ({})", listed(&options.encode_options)));
    }
    sql
}

/// What of event time stands in WITH.
fn event_time_options(event_time: &EventTime) -> BTreeMap<String, String> {
    let micros = |micros: Option<i64>| micros.map_or_else(|| "never".to_owned(), |micros| format!("{micros} microseconds"));
    let idle = (IDLE_TIMEOUT.to_owned(), micros(event_time.idle_timeout_us));
    let future = event_time.max_future_us.map(|future| (MAX_FUTURE.to_owned(), micros(Some(future))));
    [idle].into_iter().chain(future).collect()
}

fn listed(options: &BTreeMap<String, String>) -> String {
    options.iter().map(|(name, value)| format!("{} = {}", quote_key(name), quote_literal(value))).collect::<Vec<_>>().join(", ")
}

/// The name of an option: dots stand as they are.
fn quote_key(name: &str) -> String {
    let plain = name.split('.').all(|part| quote_ident(part) == part);
    if plain { name.to_owned() } else { quote_literal(name) }
}
