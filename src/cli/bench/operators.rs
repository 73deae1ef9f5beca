//! What one operator does: rows per second and bytes of state, on prepared batches that go straight into the dataflow.
//!
//! In: rows `(k, v)` drawn from their number, so that other engines can draw the same (`benches/peers` does), in epochs of equal size, two of
//! which may be in flight. With retractions, every tenth change takes back a row of some epochs before. Out: thrown away.
//!
//! ```text
//! row i            k = mix(i) mod keys, v = mix(i + 2⁶⁰) mod 1,000,000
//! retraction i     where i mod 10 = 9 and i >= DISTANCE: of row i - DISTANCE + 5, which was an insertion
//! join             rows of even epochs are of `t`, those of odd ones of `u`
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use clap::{Args, ValueEnum};
use crossbeam_channel::{Receiver, bounded};
use serde_json::json;

use crate::catalog::{Catalog, Column, Object, ObjectKind, Table};
use crate::cli::bench::report::{Report, per_second, resident_mib};
use crate::dataflow::{Command, Dataflow, DataflowProgress, RowErrorLog, Target, Tick, Workers};
use crate::error::{Error, Kind, Result};
use crate::plan::{NoSystemRelations, Plan, Planner, PlannerOptions, Scope};
use crate::sql::{Statement, parse};
use crate::types::{Changes, Epoch, ObjectId, OnConflict, SqlType};

/// Name, query, and how many rows there are per key.
const OPERATORS: [(&str, &str, u64); 5] = [
    ("count", "SELECT k, count(*) AS n FROM t GROUP BY k", 10),
    ("sum_max", "SELECT k, sum(v) AS total, max(v) AS highest FROM t GROUP BY k", 10),
    ("distinct", "SELECT DISTINCT k FROM t", 10),
    ("join", "SELECT t.k, t.v, u.v AS w FROM t JOIN u ON t.k = u.k", 4),
    (
        "top_3",
        "SELECT k, v FROM (SELECT k, v, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS place FROM t) AS placed WHERE place <= 3",
        50,
    ),
];

/// The tables `t` and `u`, and the view.
const T: ObjectId = 1;
const U: ObjectId = 2;
const VIEW: ObjectId = 3;

/// How far behind its insertion a retraction comes, in changes: epochs later, while the row may have left caches.
const DISTANCE: u64 = 1_000_009;

/// Rows of one batch: what the coordinator deals out to a worker at once.
const BATCH_ROWS: u64 = 16_384;

/// Epochs that may be in flight, as for the coordinator.
const EPOCHS_AHEAD: Epoch = 2;

/// How long to wait for a sign of progress before looking again.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Changes per operator.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// Changes per epoch.
    #[arg(long, default_value_t = 100_000)]
    epoch_rows: u64,
    /// Which operators, with commas between them [default: all].
    #[arg(long, value_delimiter = ',')]
    operators: Vec<String>,
    /// Insertions only, or every tenth change a retraction.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "append,retract")]
    input: Vec<Input>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    Append,
    Retract,
}

impl Input {
    fn name(self) -> &'static str {
        match self {
            Input::Append => "append",
            Input::Retract => "retract",
        }
    }
}

pub(super) fn run(options: &Options, workers: usize) -> Result<Report> {
    let mut report = Report::new(
        "operators",
        workers,
        &["operator", "input", "rows", "seconds", "rows_per_s", "rows_out", "state_mib", "rss_growth_mib"],
    );
    for name in &options.operators {
        if !OPERATORS.iter().any(|(known, ..)| known == name) {
            let known: Vec<&str> = OPERATORS.iter().map(|(known, ..)| *known).collect();
            return Err(Error::new(Kind::InvalidParameter, format!("there is no operator \"{name}\""))
                .hint(format!("There are: {}.", known.join(", "))));
        }
    }
    for (name, query, per_key) in OPERATORS {
        if !options.operators.is_empty() && !options.operators.iter().any(|wanted| wanted == name) {
            continue;
        }
        for input in &options.input {
            let figures = measure(name, query, options.rows / per_key, *input, options, workers)?;
            report.add(figures);
        }
    }
    Ok(report)
}

fn measure(name: &str, query: &str, keys: u64, input: Input, options: &Options, workers: usize) -> Result<Vec<serde_json::Value>> {
    let epochs = options.rows.div_ceil(options.epoch_rows.max(1));
    let both = query.contains("JOIN");
    // Prepared, and kept until the end, so that what memory grows by is the engine's.
    let prepared: Vec<Tick> = (0..epochs).map(|epoch| tick(epoch, keys.max(1), input, both, options, workers)).collect();
    let plan = plan(query, input == Input::Append)?;
    let (before, _) = resident_mib();
    let mut running = Running::start(plan, workers)?;
    let started = Instant::now();
    for tick in prepared {
        running.wait_for(tick.epoch.saturating_sub(EPOCHS_AHEAD))?;
        running.feed(tick);
    }
    running.wait_for(epochs)?;
    let elapsed = started.elapsed();
    let state = running.state_bytes()?;
    let (after, _) = resident_mib();
    let (rows, rows_out) = (epochs * options.epoch_rows, running.progress.rows_out());
    running.workers.stop();
    Ok(vec![
        json!(name),
        json!(input.name()),
        json!(rows),
        json!(elapsed.as_secs_f64()),
        json!(per_second(rows, elapsed)),
        json!(rows_out),
        json!(state >> 20),
        json!(after.saturating_sub(before)),
    ])
}

/// One view's dataflow, without a server around it.
struct Running {
    workers: Workers,
    progress: Arc<DataflowProgress>,
    progressed: Receiver<()>,
    /// What has been fed: still referred to, so that none of its memory is given back on the way.
    fed: Vec<Arc<Tick>>,
}

impl Running {
    fn start(plan: Plan, count: usize) -> Result<Self> {
        let (wake, progressed) = bounded(1);
        // A full channel means that whoever waits has been told already.
        let progress = Arc::new(DataflowProgress::new(count, Arc::new(move || wake.try_send(()).unwrap_or_default())));
        let workers = Workers::start(count)?;
        workers.broadcast(&Command::Build(
            Arc::new(Dataflow {
                object: VIEW,
                plan,
                target: Target::Nothing,
                first: 0,
                last: 0,
                restore: None,
                in_checkpoints: false,
                watermarks: Arc::default(),
                errors: Arc::new(RowErrorLog::default()).sink(VIEW),
                late: Arc::default(),
                progress: Arc::clone(&progress),
            }),
            Arc::default(),
        ));
        Ok(Running { workers, progress, progressed, fed: Vec::new() })
    }

    fn feed(&mut self, tick: Tick) {
        let tick = Arc::new(tick);
        self.fed.push(Arc::clone(&tick));
        self.workers.broadcast(&Command::Tick(tick));
    }

    /// Until everything up to `epoch` is finished.
    fn wait_for(&self, epoch: Epoch) -> Result<()> {
        while self.progress.frontier() <= epoch {
            if let Some(cause) = self.progress.failure() {
                return Err(Error::internal(cause));
            }
            self.progressed.recv_timeout(PATIENCE).unwrap_or_default();
        }
        Ok(())
    }

    fn state_bytes(&mut self) -> Result<usize> {
        self.workers.broadcast(&Command::Measure);
        // Commands are executed in order: behind the next epoch everyone has measured.
        let epoch = self.progress.frontier();
        self.feed(Tick { epoch, inputs: BTreeMap::new(), watermarks: Arc::default(), still: BTreeSet::new() });
        self.wait_for(epoch)?;
        Ok(self.progress.sizes().iter().map(|(_, _, size)| size.bytes).sum())
    }
}

/// The changes of one epoch, dealt out to the workers.
fn tick(epoch: u64, keys: u64, input: Input, both: bool, options: &Options, workers: usize) -> Tick {
    let object = if both && epoch % 2 == 1 { U } else { T };
    let mut shares = vec![Vec::new(); workers];
    let (first, end) = (epoch * options.epoch_rows, (epoch + 1) * options.epoch_rows);
    for (turn, start) in (first..end).step_by(BATCH_ROWS as usize).enumerate() {
        shares[turn % workers].push(batch(start, (start + BATCH_ROWS).min(end), keys, input));
    }
    Tick { epoch: epoch + 1, inputs: BTreeMap::from([(object, shares)]), watermarks: Arc::default(), still: BTreeSet::new() }
}

fn batch(start: u64, end: u64, keys: u64, input: Input) -> Changes {
    let taken_back = |row: u64| input == Input::Retract && row % 10 == 9 && row >= DISTANCE;
    let source = |row: u64| if taken_back(row) { row - DISTANCE + 5 } else { row };
    let column = |value: &dyn Fn(u64) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((start..end).map(|row| value(source(row)) as i64)))
    };
    let columns = vec![column(&|row| mix(row) % keys), column(&|row| mix(row + (1 << 60)) % 1_000_000)];
    let rows = RecordBatch::try_new(schema(), columns).expect("the columns are as the schema says");
    let weights =
        (input == Input::Retract).then(|| Int64Array::from_iter_values((start..end).map(|row| if taken_back(row) { -1 } else { 1 })));
    Changes::new(rows, weights)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn schema() -> SchemaRef {
    let fields = ["k", "v"].map(|name| Field::new(name, DataType::Int64, false));
    Arc::new(Schema::new(fields.to_vec()))
}

fn plan(query: &str, append_only: bool) -> Result<Plan> {
    let column = |name: &str| Column {
        name: name.to_owned(),
        sql_type: SqlType::Int8,
        not_null: true,
        default: None,
        generated: None,
        include: None,
    };
    let table = |id: ObjectId, name: &str| Object {
        id,
        schema: "public".to_owned(),
        name: name.to_owned(),
        sql: String::new(),
        depends_on: Vec::new(),
        comments: BTreeMap::new(),
        kind: ObjectKind::Table(Table {
            columns: vec![column("k"), column("v")],
            key: Vec::new(),
            on_conflict: OnConflict::Overwrite,
            append_only,
            connector: None,
            event_time: None,
            retention: None,
        }),
    };
    let (catalog, path) = (Catalog::new([table(T, "t"), table(U, "u")]), ["public".to_owned()]);
    let planner = Planner::new(&PlannerOptions::default())?;
    let scope = Scope { catalog: &catalog, search_path: &path, relations: &NoSystemRelations, text: query };
    let parsed = parse(query)?;
    let Some(Statement::Query(select)) = parsed.first().map(|parsed| &parsed.statement) else {
        return Err(Error::internal("the benchmark's query is no query"));
    };
    planner.view(&planner.query(select, &scope, &[])?, &catalog)
}
