//! SELECT: plan once, attach rows of one epoch, stream the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use sqlparser::ast;

use crate::catalog::{Catalog, ObjectKind};
use crate::engine::outcome::RowStream;
use crate::engine::session::Session;
use crate::engine::system::SystemRelations;
use crate::error::{Kind, Result};
use crate::plan::{Bound, Planner, Scope};
use crate::serve::{PointQuery, Providers, point_query, run, run_point};
use crate::state::Lease;
use crate::types::{ObjectId, SqlType};

/// Plans that one session keeps at the most; the protocol's prepared statements of a busy application fit in.
const PLANS_KEPT: usize = 256;

/// Plans of a session, by statement text.
#[derive(Default)]
pub(crate) struct PlanCache {
    /// The catalog's generation that the plans are valid for.
    generation: u64,
    plans: BTreeMap<String, Arc<PlannedQuery>>,
}

/// A query that is ready to run with parameters and rows.
pub(crate) struct PlannedQuery {
    pub(crate) bound: Arc<Bound>,
    /// The definitions that it was analysed with: what it reads is looked up there.
    pub(crate) catalog: Arc<Catalog>,
    /// If it is a lookup by key or index, how.
    pub(crate) point: Option<PointQuery>,
}

impl Session {
    /// Has a statement planned, with the names that the session sees now. `text`: what its positions refer to. Gives what `work` gives, and
    /// whether that holds something which changes without the catalog changing.
    pub(crate) async fn planned<T: Send + 'static>(
        &mut self,
        catalog: &Arc<Catalog>,
        text: &str,
        work: impl FnOnce(&Planner, &Scope<'_>) -> Result<T> + Send + 'static,
    ) -> Result<(T, bool)> {
        let (planner, catalog, text) = (Arc::clone(&self.engine.planner), Arc::clone(catalog), text.to_owned());
        let (search_path, system) = (self.settings.search_path(), SystemRelations::new(self));
        let plan = move || {
            let scope = Scope { catalog: &catalog, search_path: &search_path, relations: &system, text: &text };
            let planned = work(&planner, &scope)?;
            Ok((planned, system.was_asked()))
        };
        self.engine.queries.plan(plan).await
    }

    /// Analyses a query, or finds it analysed. `text`: what its positions refer to and what it is remembered by.
    pub(crate) async fn plan(&mut self, query: &ast::Query, text: &str, declared: &[Option<SqlType>]) -> Result<Arc<PlannedQuery>> {
        let catalog = self.engine.catalog();
        let key = format!("{}\0{}\0{declared:?}\0{text}", self.settings.known("search_path"), self.settings.known("timezone"));
        if self.plans.generation != catalog.generation() {
            self.plans = PlanCache { generation: catalog.generation(), plans: BTreeMap::new() };
        }
        if let Some(planned) = self.plans.plans.get(&key) {
            return Ok(Arc::clone(planned));
        }
        let (mut query, declared, definitions) = (query.clone(), declared.to_vec(), Arc::clone(&catalog));
        let analyse = move |planner: &Planner, scope: &Scope<'_>| {
            crate::plan::prepare_catalog_query(&mut query);
            let bound = planner.query(&query, scope, &declared)?;
            Ok((point_query(&bound, &|relation| definitions.indexes_of(relation)), bound))
        };
        let ((point, bound), asked) = self.planned(&catalog, text, analyse).await?;
        let keep = !bound.reads_system && !asked;
        let planned = Arc::new(PlannedQuery { bound: Arc::new(bound), point, catalog });
        if keep {
            if self.plans.plans.len() >= PLANS_KEPT {
                self.plans.plans.clear();
            }
            self.plans.plans.insert(key, Arc::clone(&planned));
        }
        Ok(planned)
    }

    /// Runs a query.
    pub(crate) async fn run_query(
        &mut self,
        query: &ast::Query,
        text: &str,
        declared: &[Option<SqlType>],
        parameters: &[ArrayRef],
    ) -> Result<(SchemaRef, RowStream)> {
        loop {
            let planned = self.plan(query, text, declared).await?;
            match self.run_planned(&planned, parameters).await {
                // What it was planned with has gone or changed since: a view that was replaced is there under another number.
                Err(error)
                    if matches!(error.kind(), Kind::UndefinedTable | Kind::SerializationFailure)
                        && self.engine.catalog().generation() != planned.catalog.generation() => {}
                answer => return answer,
            }
        }
    }

    /// Runs a planned query at the session's epoch.
    pub(crate) async fn run_planned(&mut self, planned: &PlannedQuery, parameters: &[ArrayRef]) -> Result<(SchemaRef, RowStream)> {
        let catalog = &planned.catalog;
        let lease = self.read_epoch(&planned.bound.depends_on).await?;
        self.tell_behind(catalog, &planned.bound.depends_on);
        if let Some(point) = &planned.point
            && !self.transaction.as_ref().is_some_and(|transaction| transaction.holds(point.object))
        {
            let relation = self.engine.relation(catalog, point.object)?;
            if let Some(found) = run_point(point, &planned.bound, &relation, lease.epoch(), parameters)? {
                return Ok(found);
            }
        }
        self.run_bound(&planned.bound, catalog, parameters, lease).await
    }

    /// Runs an analysed query on the rows of one epoch. `catalog`: the one that it was analysed with.
    pub(crate) async fn run_bound(
        &mut self,
        bound: &Arc<Bound>,
        catalog: &Catalog,
        parameters: &[ArrayRef],
        lease: Lease,
    ) -> Result<(SchemaRef, RowStream)> {
        self.show_changed(&bound.depends_on).await?;
        let mut providers = Providers::default();
        for id in bound.depends_on.iter().filter(|id| reads_rows(catalog, **id)) {
            let snapshot = self.snapshot(catalog, *id, lease.epoch())?;
            // What a transaction has written and nobody sees yet is in no index.
            if self.transaction.as_ref().is_some_and(|transaction| transaction.holds(*id)) {
                providers.snapshot(*id, snapshot);
            } else {
                providers.relation(*id, self.engine.relation(catalog, *id)?, snapshot, catalog.indexes_of(*id));
            }
        }
        let now = self.now_micros();
        let rows = run(&self.engine.planner, bound, providers, parameters, now, self.engine.queries.handle()).await?;
        // Rows that the snapshot shows stay until the last of them has been read.
        let rows = rows.inspect(move |_| {
            let _held = &lease;
        });
        Ok((Arc::clone(&bound.schema), Box::pin(rows)))
    }
}

/// Whether an object has rows of its own: a view without a materialisation has none, its query was put in its place, as were functions.
pub(crate) fn reads_rows(catalog: &Catalog, id: ObjectId) -> bool {
    catalog.get(id).is_some_and(|object| !matches!(object.kind, ObjectKind::View(_) | ObjectKind::Function(_)))
}

/// A stream of rows that are there already.
pub(crate) fn stream_of(batches: Vec<arrow::array::RecordBatch>) -> RowStream {
    Box::pin(futures::stream::iter(batches.into_iter().map(Ok)))
}
