//! SHOW and DESCRIBE: settings, objects, columns, definitions.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};

use crate::catalog::{Catalog, DEFAULT_SCHEMA, Object, ObjectKind, nearest};
use crate::engine::index::index_statement;
use crate::engine::outcome::Outcome;
use crate::engine::query::stream_of;
use crate::engine::session::Session;
use crate::engine::sink::sink_statement;
use crate::engine::view::ViewStatus;
use crate::error::{Error, Kind, Result};
use crate::sql::Show;
use crate::types::{PROCTIME, SqlType};

/// What SHOW can list.
const KINDS: &[&str] =
    &["tables", "sources", "views", "materialized views", "schemas", "databases", "jobs", "indexes", "functions", "sinks"];

impl Session {
    /// The columns that a SHOW gives.
    pub(crate) fn show_schema(&self, show: &Show) -> Result<SchemaRef> {
        Ok(text_schema(&names(show)))
    }

    pub(crate) fn show(&mut self, show: &Show) -> Result<Outcome> {
        let rows = match show {
            Show::Setting(name) => vec![vec![self.settings.get(name)?.to_owned()]],
            Show::AllSettings => self.settings.all().into_iter().map(|(name, value, about)| vec![name, value, about]).collect(),
            Show::Objects { kind, like } => self.objects(kind, like.as_deref())?,
            Show::Columns(name) => columns(&*self.find(name)?)?,
            Show::Create(name) => {
                let object = self.find(name)?;
                let sql = match &object.kind {
                    ObjectKind::Index(index) => index_statement(&self.engine.catalog(), &object, index),
                    ObjectKind::Sink(sink) => sink_statement(&self.engine.catalog(), &object, sink),
                    _ => object.sql.clone(),
                };
                vec![vec![qualified(&object), sql]]
            }
        };
        let names = names(show);
        let schema = text_schema(&names);
        let arrays =
            (0..names.len()).map(|column| Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row[column]))) as ArrayRef);
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect())?;
        Ok(Outcome::Rows { schema, rows: stream_of(vec![batch]), tag: "SHOW" })
    }

    fn objects(&self, kind: &str, like: Option<&str>) -> Result<Vec<Vec<String>>> {
        let catalog = self.engine.catalog();
        let mut listed: Vec<Vec<String>> = match kind {
            "schemas" => schemas(&catalog),
            "databases" => vec![vec!["tidemill".to_owned()]],
            "jobs" => self.jobs(&catalog),
            "tables" | "sources" | "views" | "materialized views" | "indexes" | "functions" | "sinks" => {
                let wanted = if kind == "indexes" { "index" } else { &kind[..kind.len() - 1] };
                let path = self.settings.search_path();
                let found = catalog.objects().filter(|object| object.kind_name() == wanted && path.contains(&object.schema));
                found.map(|object| vec![object.name.clone()]).collect()
            }
            _ => {
                let error = Error::new(Kind::Syntax, format!("cannot show \"{kind}\""));
                let near = nearest(kind, KINDS.iter().copied());
                return Err(error
                    .hint(near.map_or_else(|| format!("SHOW lists {}.", KINDS.join(", ")), |near| format!("Did you mean \"{near}\"?"))));
            }
        };
        if let Some(pattern) = like {
            listed.retain(|row| matches_like(&row[0], pattern));
        }
        listed.sort();
        Ok(listed)
    }

    fn jobs(&self, catalog: &Catalog) -> Vec<Vec<String>> {
        let views = self.engine.views.read();
        let status = |status: ViewStatus| match status {
            ViewStatus::Hydrating | ViewStatus::Joining => "hydrating".to_owned(),
            ViewStatus::Ready => "running".to_owned(),
            ViewStatus::Failed(cause) => format!("failed: {cause}"),
            ViewStatus::Dropped => "dropped".to_owned(),
        };
        views
            .values()
            .filter(|view| catalog.get(view.id).is_some())
            .map(|view| vec![view.name().to_string(), status(view.status())])
            .collect()
    }
}

/// The names of the columns that a SHOW gives.
fn names(show: &Show) -> Vec<String> {
    let names: &[&str] = match show {
        Show::Setting(name) => return vec![setting_column(name)],
        Show::AllSettings => &["name", "setting", "description"],
        Show::Objects { kind, .. } if kind == "jobs" => &["name", "status"],
        Show::Objects { .. } => &["name"],
        Show::Columns(_) => &["name", "type", "nullable", "default", "key"],
        Show::Create(_) => &["name", "create_sql"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// PostgreSQL writes some of its settings' names with capitals.
fn setting_column(name: &str) -> String {
    match name {
        "timezone" => "TimeZone".to_owned(),
        "datestyle" => "DateStyle".to_owned(),
        "intervalstyle" => "IntervalStyle".to_owned(),
        other => other.to_owned(),
    }
}

fn text_schema(names: &[String]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| SqlType::Text.field(name, false)).collect::<Vec<_>>()))
}

fn schemas(catalog: &Catalog) -> Vec<Vec<String>> {
    let own = catalog.objects().filter(|object| matches!(object.kind, ObjectKind::Schema)).map(|object| object.name.clone());
    let system = [DEFAULT_SCHEMA, "pg_catalog", "information_schema", "tidemill"].map(str::to_owned);
    own.chain(system).map(|name| vec![name]).collect()
}

fn columns(object: &Object) -> Result<Vec<Vec<String>>> {
    let columns = object.columns().ok_or_else(|| Error::new(Kind::WrongObjectType, format!("\"{}\" has no columns", object.name)))?;
    let key: &[usize] = match &object.kind {
        ObjectKind::Table(table) => &table.key,
        ObjectKind::MaterializedView(view) => view.key.as_deref().unwrap_or(&[]),
        _ => &[],
    };
    let row = |(position, column): (usize, &crate::catalog::Column)| {
        let default = match (&column.generated, &column.default) {
            _ if column.is_arrival() => format!("as {PROCTIME}"),
            (Some(generated), _) => format!("generated always as ({generated}) stored"),
            (None, Some(default)) => default.clone(),
            (None, None) => String::new(),
        };
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        vec![column.name.clone(), column.sql_type.to_string(), yes(!column.not_null), default, yes(key.contains(&position))]
    };
    Ok(columns.iter().enumerate().map(row).collect())
}

fn qualified(object: &Object) -> String {
    format!("{}.{}", crate::sql::quote_ident(&object.schema), crate::sql::quote_ident(&object.name))
}

/// LIKE with `%` and `_`, for names.
fn matches_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    // reach[j]: the pattern's first j characters match the text read so far.
    let mut reach: Vec<bool> = vec![false; pattern.len() + 1];
    reach[0] = true;
    for (j, c) in pattern.iter().enumerate() {
        reach[j + 1] = reach[j] && *c == '%';
    }
    for c in text {
        let mut next = vec![false; pattern.len() + 1];
        for (j, p) in pattern.iter().enumerate() {
            next[j + 1] = match p {
                '%' => next[j] || reach[j + 1],
                '_' => reach[j],
                p => reach[j] && *p == c,
            };
        }
        reach = next;
    }
    reach[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::matches_like;

    #[test]
    fn like_knows_both_wildcards() {
        assert!(matches_like("bid_counts", "bid%"));
        assert!(matches_like("bid", "b_d"));
        assert!(matches_like("", "%"));
        assert!(!matches_like("bids", "bid"));
    }
}
