//! What the server knows of itself, as SQL: `pg_catalog`, `information_schema` and `tidemill`, and the functions that read them.
//!
//! The relations and functions are declared in `catalog::system`, over plain facts. Here the facts are gathered, once per query and only
//! if it asks, and given to DataFusion as tables and functions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, FieldRef};
use async_trait::async_trait;
use chrono_tz::Tz;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use futures::executor::block_on;
use parking_lot::Mutex;

use crate::catalog::Catalog;
use crate::catalog::system::{
    self, EpochFacts, FUNCTIONS, Facts, Function, LateFacts, RelationFacts, RowErrorFacts, SessionFacts, SinkFacts, SourceFacts, Value,
    ViewFacts, WatermarkFacts, array_of, values_of,
};
use crate::engine::session::{Configured, Session};
use crate::engine::settings::{SERVER_VERSION, Settings};
use crate::engine::view::{RunningView, ViewStatus};
use crate::engine::{Engine, KnownSource};
use crate::error::{Error, Result};
use crate::plan::{Planner, RelationSource, state_bounds};
use crate::types::{ObjectId, SqlType};

/// The system relations and session functions, as one session sees them.
pub(crate) struct SystemRelations {
    engine: Arc<Engine>,
    settings: Settings,
    user: String,
    database: String,
    process_id: i32,
    configured: Arc<Mutex<Vec<Configured>>>,
    /// Gathered when the first one is asked for: most queries never do.
    facts: OnceLock<Arc<Facts>>,
    asked: AtomicBool,
}

impl SystemRelations {
    pub(crate) fn new(session: &Session) -> Self {
        SystemRelations {
            engine: Arc::clone(&session.engine),
            settings: session.settings.clone(),
            user: session.user.clone(),
            database: session.database.clone(),
            process_id: session.process_id(),
            configured: Arc::clone(&session.configured),
            facts: OnceLock::new(),
            asked: AtomicBool::new(false),
        }
    }

    /// Whether a query named something whose answer changes without the catalog changing: its plan is not to be kept.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    fn facts(&self) -> Arc<Facts> {
        self.asked.store(true, Ordering::Relaxed);
        let gather = || {
            let facts = Facts {
                user: self.user.clone(),
                database: self.database.clone(),
                process_id: self.process_id,
                search_path: self.settings.search_path(),
                settings: self.settings.all(),
                custom_settings: self.settings.custom(),
                ..self.engine.facts()
            };
            Arc::new(facts)
        };
        Arc::clone(self.facts.get_or_init(gather))
    }
}

impl RelationSource for SystemRelations {
    fn system(&self, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
        let declared = system::relation(schema, name)?;
        // As new as every commit that has been acknowledged, like the rows of tables and views. This is no thread that serves connections.
        if self.facts.get().is_none() {
            block_on(self.engine.clock.wait_complete(0)).ok()?;
        }
        // A declaration whose rows do not fit its columns is caught by a test in `catalog::system`.
        let batch = declared.batch(&self.facts()).ok()?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).ok()?;
        Some(Arc::new(table))
    }

    fn time_zone(&self) -> Tz {
        self.settings.time_zone()
    }

    fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let effect = match name {
            "set_config" => Some(Effect::SetConfig),
            "pg_cancel_backend" => Some(Effect::Cancel),
            "pg_terminate_backend" => Some(Effect::Terminate),
            _ => None,
        };
        if let Some(effect) = effect {
            let name = name.to_owned();
            return Some(Arc::new(ScalarUDF::from(EffectFunction {
                name,
                effect,
                facts: self.facts(),
                engine: Arc::clone(&self.engine),
                settings: self.settings.clone(),
                configured: Arc::clone(&self.configured),
                signature: effect.signature(),
            })));
        }
        let function = system::function(name).filter(|function| !function.pure)?;
        Some(Arc::new(ScalarUDF::from(CatalogFunction::new(function, self.facts()))))
    }
}

/// Adds the functions of PostgreSQL's catalogs that need no session, and `pg_sleep`.
pub(crate) fn register_functions(planner: &mut Planner) -> Result<()> {
    let facts = Arc::new(Facts::default());
    for function in FUNCTIONS.iter().filter(|function| function.pure) {
        planner.register_udf(Arc::new(ScalarUDF::from(CatalogFunction::new(function, Arc::clone(&facts)))))?;
    }
    let sleep = Sleep { signature: Signature::exact(vec![DataType::Float64], Volatility::Volatile) };
    planner.register_udf(Arc::new(AsyncScalarUDF::new(Arc::new(sleep)).into_scalar_udf()))
}

impl Engine {
    /// What there is to tell, apart from what belongs to one session.
    fn facts(&self) -> Facts {
        let now_micros = self.wall.now_micros();
        let relations = self.relations.lock();
        let relations = relations.iter().map(|(id, relation)| RelationFacts {
            id: *id,
            rows: relation.live_rows() as u64,
            bytes: relation.memory_bytes() as u64,
        });
        let relations = relations.collect();
        let checkpoint = self.store.last_checkpoint().ok().flatten().map_or(0, |checkpoint| checkpoint.epoch);
        let catalog = self.catalog();
        Facts {
            sessions: self
                .registry
                .clients()
                .into_iter()
                .map(|(process_id, client)| SessionFacts {
                    process_id,
                    user: client.user,
                    peer: client.peer,
                    application: client.application,
                    connected_micros: client.connected,
                    query: client.query,
                    active: client.active,
                })
                .collect(),
            sources: self.sources.read().iter().map(|(id, source)| source_facts(*id, source, now_micros)).collect(),
            views: self.views.read().values().map(|view| view_facts(view, &catalog, now_micros)).collect(),
            sinks: self.views.read().values().filter_map(|view| sink_facts(view)).collect(),
            relations,
            row_errors: self
                .row_errors
                .snapshot()
                .into_iter()
                .map(|(id, errors)| RowErrorFacts {
                    id,
                    count: errors.count,
                    samples: errors.samples.into_iter().map(|sample| (sample.error, sample.row)).collect(),
                })
                .collect(),
            watermarks: self
                .event_times
                .lock()
                .iter()
                .map(|(id, report)| WatermarkFacts {
                    id: *id,
                    watermark: report.watermark,
                    partitions: report.partitions,
                    idle_partitions: report.idle_partitions,
                })
                .collect(),
            late_rows: self
                .late_rows
                .snapshot()
                .into_iter()
                .map(|(operator, late)| LateFacts {
                    id: operator.object,
                    node: operator.node,
                    sources: late.sources.into_iter().collect(),
                    rows: late.rows,
                    newest: late.newest.into_iter().map(|late| (late.time_micros, late.row)).collect(),
                })
                .collect(),
            epochs: EpochFacts { durable: self.clock.durable(), complete: self.clock.complete(), checkpoint },
            started_micros: self.started_micros,
            now_micros,
            server_version: SERVER_VERSION,
            catalog,
            ..Facts::default()
        }
    }
}

fn source_facts(id: ObjectId, source: &KnownSource, now_micros: i64) -> SourceFacts {
    let report = source.report.lock();
    SourceFacts {
        id,
        // Nobody has started to read it: it is created, and no view needs it yet.
        status: if report.status.is_empty() { "idle".to_owned() } else { report.status.clone() },
        rows: report.position.rows,
        rate: report.rate.per_second(now_micros, report.position.rows),
        dead_letters: report.position.dead_letters,
        lag: report.lag,
        positions: report.position.positions.iter().map(|(partition, offset)| (*partition, *offset)).collect(),
        newest_dead_letters: report.dead_letters.iter().cloned().collect(),
    }
}

fn view_facts(view: &RunningView, catalog: &Catalog, now_micros: i64) -> ViewFacts {
    let (status, failure) = match view.status() {
        ViewStatus::Hydrating | ViewStatus::Joining => ("hydrating", None),
        ViewStatus::Ready => ("running", None),
        ViewStatus::Failed(cause) => ("failed", Some(cause)),
        ViewStatus::Dropped => ("dropped", None),
    };
    let (rows_done, rows_total) = view.progress.hydration();
    let sizes = view.progress.sizes().into_iter();
    let bounds = state_bounds(&view.plan(), catalog).into_iter().filter_map(|(node, bound)| Some((node, bound.text()?)));
    ViewFacts {
        id: view.id,
        status,
        failure,
        rows_done,
        rows_total,
        rate: view.rate(now_micros),
        rows_out: view.progress.rows_out(),
        frontier: view.progress.frontier(),
        bounds: bounds.collect(),
        state: sizes.map(|(node, name, size)| (node, name, size.rows as u64, size.bytes as u64)).collect(),
    }
}

/// What there is to tell of a sink, if the view is one.
fn sink_facts(view: &RunningView) -> Option<SinkFacts> {
    let sink = view.sink.as_ref()?;
    let (status, failure) = match view.status() {
        ViewStatus::Hydrating | ViewStatus::Joining => ("hydrating", None),
        ViewStatus::Ready if sink.is_held() => ("waiting for sources", None),
        ViewStatus::Ready => ("running", None),
        ViewStatus::Failed(cause) => ("failed", Some(cause)),
        ViewStatus::Dropped => ("dropped", None),
    };
    let (pending_rows, pending_bytes) = sink.waiting();
    Some(SinkFacts {
        id: view.id,
        target: sink.target,
        status,
        failure,
        rows_out: view.progress.rows_out(),
        pending_rows,
        pending_bytes,
        epoch: sink.drained().through,
    })
}

/// Any number of arguments of any type: the functions sort out for themselves what they were given.
fn signature(volatility: Volatility) -> Signature {
    Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], volatility)
}

/// A function of `catalog::system` for DataFusion.
struct CatalogFunction {
    function: &'static Function,
    facts: Arc<Facts>,
    signature: Signature,
}

impl CatalogFunction {
    fn new(function: &'static Function, facts: Arc<Facts>) -> Self {
        // Within one query the facts stay what they are.
        let volatility = if function.pure { Volatility::Immutable } else { Volatility::Stable };
        CatalogFunction { function, facts, signature: signature(volatility) }
    }
}

impl fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name)
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name && Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok((self.function.result)().arrow())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        // The field says more than its Arrow type: a name or an oid is marked as one.
        Ok(Arc::new((self.function.result)().field(self.function.name, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arguments = args.args.iter().map(|argument| argument.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let answer = self.function.evaluate(&self.facts, &arguments, rows).map_err(external)?;
        if !scalar {
            return Ok(ColumnarValue::Array(answer));
        }
        Ok(ColumnarValue::Scalar(match answer.as_list_opt::<i32>() {
            // Taken out and put back, its values would lose what their field says of their type.
            Some(list) => ScalarValue::List(Arc::new(list.clone())),
            None => ScalarValue::try_from_array(&answer, 0)?,
        }))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What a function does besides answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Effect {
    /// Sets a setting: only one that is without effect, or to what it is, since a query cannot change its session.
    SetConfig,
    /// Stops what another session runs.
    Cancel,
    /// Ends another session.
    Terminate,
}

impl Effect {
    /// Any arguments; those that PostgreSQL's function has come first, and say what parameters are.
    fn signature(self) -> Signature {
        let exact = match self {
            Effect::SetConfig => vec![DataType::Utf8, DataType::Utf8, DataType::Boolean],
            Effect::Cancel | Effect::Terminate => vec![DataType::Int32],
        };
        let any = [TypeSignature::VariadicAny, TypeSignature::Nullary];
        Signature::one_of(std::iter::once(TypeSignature::Exact(exact)).chain(any).collect(), Volatility::Volatile)
    }
}

/// A function that does something.
struct EffectFunction {
    name: String,
    effect: Effect,
    facts: Arc<Facts>,
    engine: Arc<Engine>,
    settings: Settings,
    configured: Arc<Mutex<Vec<Configured>>>,
    signature: Signature,
}

impl EffectFunction {
    fn result(&self) -> SqlType {
        match self.effect {
            Effect::SetConfig => SqlType::Text,
            Effect::Cancel | Effect::Terminate => SqlType::Bool,
        }
    }

    fn run(&self, arguments: &[Value]) -> Result<Value> {
        let argument = |position: usize| arguments.get(position).unwrap_or(&Value::Null);
        match self.effect {
            Effect::Cancel | Effect::Terminate => {
                let registry = &self.engine.registry;
                let process_id = argument(0).int().and_then(|number| i32::try_from(number).ok());
                let done = process_id.map(|process_id| match self.effect {
                    Effect::Terminate => registry.end(Some(process_id)),
                    _ => registry.cancel(process_id, None),
                });
                Ok(done.into())
            }
            Effect::SetConfig => {
                let (Some(name), Some(value)) = (argument(0).text(), argument(1).text()) else { return Ok(Value::Null) };
                let name = name.to_ascii_lowercase();
                let mut settings = self.settings.clone();
                settings.set(&name, Some(value))?;
                let shown = settings.get(&name)?.to_owned();
                let local = matches!(argument(2), Value::Bool(true));
                self.configured.lock().push(Configured { name, value: value.to_owned(), local });
                Ok(shown.as_str().into())
            }
        }
    }
}

impl fmt::Debug for EffectFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for EffectFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for EffectFunction {}

impl Hash for EffectFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for EffectFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result().arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let columns =
            args.args.iter().map(|argument| argument.to_array(args.number_rows).and_then(|array| values_of(&array).map_err(external)));
        let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
        let answers = (0..args.number_rows).map(|row| {
            let values: Vec<Value> = columns.iter().map(|column| column[row].clone()).collect();
            self.run(&values)
        });
        let answers = answers.collect::<Result<Vec<_>>>().map_err(external)?;
        Ok(ColumnarValue::Array(array_of(&self.result(), &answers).map_err(external)?))
    }
}

/// `pg_sleep(seconds)`: waits without holding a thread, and ends when the query is cancelled.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    signature: Signature,
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &'static str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(external(Error::not_supported("pg_sleep() is not supported here").hint("Call it in the SELECT list of a query.")))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let seconds =
            args.args.first().map(|argument| argument.to_array(args.number_rows).and_then(|array| values_of(&array).map_err(external)));
        for seconds in seconds.transpose()?.unwrap_or_default() {
            if let Value::Float(seconds) = seconds
                && let Ok(time) = Duration::try_from_secs_f64(seconds)
            {
                tokio::time::sleep(time).await;
            }
        }
        // PostgreSQL's function is void, which clients show as an empty text.
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(String::new()))))
    }
}
