//! `tidemill bench`: measures a server of this very process, in memory, and prints a table (and JSON with `--json`).
//!
//! Clients talk to it over TCP as others would, on the same cores. What each benchmark does stands in its file; how to read the
//! numbers, and how they compare, in `docs/benchmarks.md`.

mod decode;
mod groups;
mod hydrate;
mod joins;
mod latency;
mod nexmark;
mod operators;
mod point;
mod report;
mod soak;
mod wait;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tokio_postgres::Client;

use crate::cli::run::{connect, own_server, url_of};
use crate::cli::serve::{Server, runtime, start_tracing};
use crate::error::{Error, Result};

/// What `tidemill bench` takes.
#[derive(Args, Clone, Debug)]
pub struct BenchOptions {
    #[command(subcommand)]
    what: What,
    /// Threads that maintain views [default: the number of cores].
    #[arg(long, global = true)]
    workers: Option<usize>,
    /// Write the figures to this file as well.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// The Nexmark queries as views over the generator: events per second.
    Nexmark(nexmark::Options),
    /// One inserted row until it shows in a view on a view: milliseconds.
    Latency(latency::Options),
    /// Prepared SELECTs by key from several clients: queries per second.
    Point(point::Options),
    /// A view over a table that is full already: rows per second.
    Hydrate(hydrate::Options),
    /// A join that keeps its inputs, and one that looks into them: rows per second, memory.
    Joins(joins::Options),
    /// A view of many groups: resident memory.
    Groups(groups::Options),
    /// Lines of JSON that become rows, without a server: rows per second.
    Decode(decode::Options),
    /// Views over a stream without end, for minutes: whether memory, disk and freshness stay as they are.
    Soak(soak::Options),
    /// Single operators on prepared batches, without a server: rows per second, bytes of state.
    Operators(operators::Options),
}

/// Runs one benchmark.
pub fn bench(options: &BenchOptions) -> Result<()> {
    start_tracing(false);
    if cfg!(debug_assertions) {
        eprintln!("This is a build without optimisation: its figures say nothing. Use cargo run --release -- bench …");
    }
    let workers = options.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let report = runtime()?.block_on(async {
        match &options.what {
            What::Nexmark(what) => nexmark::run(what, workers).await,
            What::Latency(what) => latency::run(what, workers).await,
            What::Point(what) => point::run(what, workers).await,
            What::Hydrate(what) => hydrate::run(what, workers).await,
            What::Joins(what) => joins::run(what, workers).await,
            What::Groups(what) => groups::run(what, workers).await,
            What::Decode(what) => decode::run(what, workers),
            What::Soak(what) => soak::run(what, workers).await,
            What::Operators(what) => operators::run(what, workers),
        }
    })?;
    println!("{}", report.table());
    match &options.json {
        None => Ok(()),
        Some(path) => report.write(path),
    }
}

/// A server to measure, and a client of it.
struct Subject {
    server: Server,
    client: Client,
}

impl Subject {
    async fn start(workers: usize) -> Result<Self> {
        let server = own_server(workers).await?;
        let client = connect(&url_of(&server)).await?;
        Ok(Subject { server, client })
    }

    /// One more client.
    async fn another(&self) -> Result<Client> {
        connect(&url_of(&self.server)).await
    }

    async fn run(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|cause| failed(sql, &cause))
    }

    /// The first column of the answer's first row, as text.
    async fn value(&self, sql: &str) -> Result<String> {
        let rows = self.rows(sql).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or_default())
    }

    /// The answer as text.
    async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let messages = self.client.simple_query(sql).await.map_err(|cause| failed(sql, &cause))?;
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.map(|row| (0..row.len()).map(|column| row.get(column).unwrap_or("").to_owned()).collect()).collect())
    }

    async fn stop(self) -> Result<()> {
        drop(self.client);
        self.server.stop().await
    }
}

/// What the server said about a benchmark's statement.
fn failed(sql: &str, cause: &tokio_postgres::Error) -> Error {
    let said = cause.as_db_error().map_or_else(|| cause.to_string(), |error| error.message().to_owned());
    Error::external(&format!("the benchmark's statement failed: {sql}"), said)
}
