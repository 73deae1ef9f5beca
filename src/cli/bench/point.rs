//! Prepared SELECTs by key on a materialised view, from several clients at once, each on a connection of its own.
//!
//! Clients and server share the machine's cores: a client elsewhere would leave the server more of them.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tokio_postgres::Client;

use crate::cli::bench::report::{Report, millis, per_second, percentile};
use crate::cli::bench::{Subject, failed};
use crate::error::{Error, Kind, Result};

/// What every client runs.
const QUERY: &str = "SELECT id, entries, highest FROM by_id WHERE id = $1";

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Rows of the view.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How many clients, with commas between several runs.
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    clients: Vec<usize>,
    /// How long each run takes.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

pub(super) async fn run(options: &Options, workers: usize) -> Result<Report> {
    let subject = Subject::start(workers).await?;
    subject.prepare_settled().await?;
    let rows = options.rows.max(1);
    subject
        .run(&format!(
            "CREATE SOURCE item (id BIGINT, n BIGINT) WITH (connector = 'datagen', datagen.rows.per.second = '1000000000', datagen.rows = '{rows}', \
             fields.id.kind = 'sequence', fields.id.start = '0', fields.n.kind = 'random', fields.n.min = '0', fields.n.max = '1000000')"
        ))
        .await?;
    subject.run("CREATE MATERIALIZED VIEW by_id AS SELECT id, count(*) AS entries, max(n) AS highest FROM item GROUP BY id").await?;
    subject.settled(&[("item", rows)]).await?;
    let mut report = Report::new("point", workers, &["clients", "queries", "queries_per_s", "p50_ms", "p99_ms", "max_ms"]);
    for clients in &options.clients {
        let mut tasks = Vec::new();
        let started = Instant::now();
        let end = started + Duration::from_secs(options.seconds);
        for number in 0..*clients {
            let client = subject.another().await?;
            tasks.push(tokio::spawn(client_loop(client, rows, number as u64, end)));
        }
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.map_err(|cause| Error::internal(format!("a client ended: {cause}")))??);
        }
        let elapsed = started.elapsed();
        times.sort();
        let queries = times.len() as u64;
        let at = |part| json!(millis(percentile(&times, part)));
        report.add(vec![json!(clients), json!(queries), json!(per_second(queries, elapsed)), at(0.5), at(0.99), at(1.0)]);
    }
    subject.stop().await?;
    Ok(report)
}

/// Asks for one random key after the other until `end`; gives how long each took.
async fn client_loop(client: Client, rows: u64, seed: u64, end: Instant) -> Result<Vec<Duration>> {
    let statement = client.prepare(QUERY).await.map_err(|cause| failed(QUERY, &cause))?;
    let mut state = seed;
    let mut times = Vec::new();
    loop {
        let started = Instant::now();
        if started >= end {
            return Ok(times);
        }
        let key = (random(&mut state) % rows) as i64;
        let row = client.query_one(&statement, &[&key]).await.map_err(|cause| failed(QUERY, &cause))?;
        times.push(started.elapsed());
        if row.get::<_, Option<i64>>(0) != Some(key) {
            return Err(Error::new(Kind::Internal, format!("key {key} gave another row")));
        }
    }
}

/// The next number of a sequence without a visible pattern (SplitMix64, Steele et al. 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
