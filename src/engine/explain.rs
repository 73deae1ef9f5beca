//! EXPLAIN: a plan as lines of text.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use sqlparser::ast;

use crate::catalog::ObjectKind;
use crate::engine::create::options;
use crate::engine::outcome::Outcome;
use crate::engine::query::stream_of;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::plan::{Planner, Scope, ViewSettings, readable, schema_of};
use crate::serve::{UsedIndexes, empty_provider, explain_physical};
use crate::sql::{CreateSink, CreateView, ExplainKind, Parsed, Statement};
use crate::types::{OnConflict, SqlType};

/// The one column of EXPLAIN's answer.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![SqlType::Text.field("QUERY PLAN", false)]))
}

impl Session {
    /// EXPLAIN of a query, or of CREATE MATERIALIZED VIEW, which creates nothing.
    pub(crate) async fn explain(&mut self, kind: ExplainKind, statement: &Statement, parsed: &Parsed) -> Result<Outcome> {
        let text = match statement {
            Statement::Query(query) => self.explain_query(kind, query, &parsed.text, None).await?,
            Statement::CreateMaterializedView(create) => self.explain_query(kind, &create.query, &create.query_text, Some(create)).await?,
            Statement::CreateSink(create) => self.explain_sink(kind, create, parsed).await?,
            _ => {
                return Err(Error::not_supported("EXPLAIN of this statement")
                    .hint("EXPLAIN takes a query, CREATE MATERIALIZED VIEW or CREATE SINK."));
            }
        };
        let lines: ArrayRef = Arc::new(text.trim_end().lines().map(Some).collect::<StringArray>());
        let batch = RecordBatch::try_new(schema(), vec![lines])?;
        Ok(Outcome::Rows { schema: schema(), rows: stream_of(vec![batch]), tag: "EXPLAIN" })
    }

    /// The plan of a sink, and what becomes of its rows in the table.
    async fn explain_sink(&mut self, kind: ExplainKind, create: &CreateSink, parsed: &Parsed) -> Result<String> {
        if kind != ExplainKind::Incremental {
            return Err(
                Error::not_supported("EXPLAIN (LOGICAL) and (PHYSICAL) of a sink").hint("EXPLAIN (INCREMENTAL), or EXPLAIN its query.")
            );
        }
        let Some((object, plan)) = self.sink_object(create, parsed).await? else { return Ok(String::new()) };
        let catalog = self.engine.catalog();
        let target = object.kind.sunk_into().and_then(|target| catalog.get(target).cloned());
        let Some((target, ObjectKind::Table(table))) = target.as_ref().map(|target| (target, &target.kind)) else {
            return Ok(String::new());
        };
        let names: Vec<&str> = table.key.iter().map(|position| table.columns[*position].name.as_str()).collect();
        let by = match (names.is_empty(), table.on_conflict) {
            (true, _) => "row by row".to_owned(),
            (false, OnConflict::Overwrite) => format!("by key ({}), overwriting", names.join(", ")),
            (false, OnConflict::DoNothing) => format!("by key ({}), keeping what is there", names.join(", ")),
            (false, OnConflict::Error) => format!("by key ({}), refusing what conflicts", names.join(", ")),
        };
        let plan = crate::plan::explain(&plan, &catalog);
        let indented: String = plan.lines().map(|line| format!("  {line}\n")).collect();
        Ok(format!("Sink: into {}.{}, {by}\n{indented}", target.schema, target.name))
    }

    async fn explain_query(&mut self, kind: ExplainKind, query: &ast::Query, text: &str, view: Option<&CreateView>) -> Result<String> {
        let (mut query, now, threads) = (query.clone(), self.now_micros(), self.engine.queries.handle().clone());
        let view = view.cloned();
        let explain = move |planner: &Planner, scope: &Scope<'_>| {
            crate::plan::prepare_catalog_query(&mut query);
            let bound = planner.query(&query, scope, &[])?;
            if kind == ExplainKind::Logical {
                return Ok(planner.optimize(bound.plan, now)?.display_indent().to_string());
            }
            if kind == ExplainKind::Incremental {
                let settings = view.as_ref().map(|view| Ok::<_, Error>(ViewSettings::of(None, &options(view, &bound.schema)?)));
                let plan = planner.view_with(&bound, scope.catalog, settings.transpose()?.unwrap_or_default())?;
                return Ok(crate::plan::explain(&plan, scope.catalog));
            }
            let used = UsedIndexes::default();
            let provider = |id, _: &SchemaRef| {
                let columns = scope.catalog.get(id).and_then(|object| object.columns().map(schema_of));
                let columns = columns.ok_or_else(|| Error::internal(format!("relation {id} has no columns")))?;
                Ok(empty_provider(columns, scope.catalog.indexes_of(id), &used))
            };
            let plan = explain_physical(planner, &bound, &provider, now, &threads)?;
            let indexes = used.lock().iter().map(|index| format!("Index: {index}\n")).collect::<String>();
            Ok(format!("{}\n{indexes}", plan.trim_end()))
        };
        let catalog = self.engine.catalog();
        let (text, _) = self.planned(&catalog, text, explain).await?;
        Ok(readable(&text))
    }
}
