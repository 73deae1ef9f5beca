//! EXPLAIN: a plan as lines of text.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use sqlparser::ast;

use crate::engine::create::options;
use crate::engine::index::indexes_of;
use crate::engine::outcome::Outcome;
use crate::engine::query::stream_of;
use crate::engine::session::Session;
use crate::engine::system::SystemRelations;
use crate::error::{Error, Result};
use crate::plan::{Bound, ITERATIONS_MAX, Scope, schema_of};
use crate::serve::{UsedIndexes, empty_provider};
use crate::sql::{ExplainKind, Parsed, Statement};
use crate::types::SqlType;

/// The one column of EXPLAIN's answer.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![SqlType::Text.field("QUERY PLAN", false)]))
}

impl Session {
    /// EXPLAIN of a query, or of CREATE MATERIALIZED VIEW, which creates nothing.
    pub(crate) async fn explain(&mut self, kind: ExplainKind, statement: &Statement, parsed: &Parsed) -> Result<Outcome> {
        let text = match statement {
            Statement::Query(query) => self.explain_query(kind, query, &parsed.text).await?,
            Statement::CreateMaterializedView(create) => {
                let bound = self.bind(&create.query, &create.query_text)?;
                match kind {
                    ExplainKind::Logical => self.logical(bound)?,
                    ExplainKind::Physical => self.physical(&bound).await?,
                    ExplainKind::Incremental => self.incremental(&bound, options(create)?.iterations_max)?,
                }
            }
            _ => {
                return Err(Error::not_supported("EXPLAIN of this statement").hint("EXPLAIN takes a query or CREATE MATERIALIZED VIEW."));
            }
        };
        let lines: ArrayRef = Arc::new(text.trim_end().lines().map(Some).collect::<StringArray>());
        let batch = RecordBatch::try_new(schema(), vec![lines])?;
        Ok(Outcome::Rows { schema: schema(), rows: stream_of(vec![batch]), tag: "EXPLAIN" })
    }

    async fn explain_query(&mut self, kind: ExplainKind, query: &ast::Query, text: &str) -> Result<String> {
        let bound = self.bind(query, text)?;
        match kind {
            ExplainKind::Logical => self.logical(bound),
            ExplainKind::Incremental => self.incremental(&bound, None),
            ExplainKind::Physical => self.physical(&bound).await,
        }
    }

    fn bind(&mut self, query: &ast::Query, text: &str) -> Result<Bound> {
        let catalog = self.engine.catalog();
        let search_path = self.settings.search_path();
        let system = SystemRelations::new(self);
        let scope = Scope { catalog: &catalog, search_path: &search_path, relations: &system, text };
        let mut query = query.clone();
        crate::plan::prepare_catalog_query(&mut query);
        self.engine.planner.query(&query, &scope, &[])
    }

    fn logical(&self, bound: Bound) -> Result<String> {
        let plan = self.engine.planner.optimize(bound.plan, self.engine.wall.now_micros())?;
        Ok(plan.display_indent().to_string())
    }

    fn incremental(&self, bound: &Bound, iterations_max: Option<u32>) -> Result<String> {
        let plan = self.engine.planner.view_within(bound, &self.engine.catalog(), iterations_max.unwrap_or(ITERATIONS_MAX))?;
        Ok(crate::plan::explain(&plan))
    }

    async fn physical(&mut self, bound: &Bound) -> Result<String> {
        let catalog = self.engine.catalog();
        let used = UsedIndexes::default();
        let provider = |id, _: &SchemaRef| {
            let columns = catalog.get(id).and_then(|object| object.columns().map(schema_of));
            let columns = columns.ok_or_else(|| Error::internal(format!("relation {id} has no columns")))?;
            Ok(empty_provider(columns, indexes_of(&catalog, id), &used))
        };
        let plan = crate::serve::explain_physical(&self.engine.planner, bound, &provider, self.engine.wall.now_micros()).await?;
        let indexes = used.lock().iter().map(|index| format!("Index: {index}\n")).collect::<String>();
        Ok(format!("{}\n{indexes}", plan.trim_end()))
    }
}
