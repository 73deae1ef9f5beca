//! From one INSERT to its effect in a view on a view, as one client sees it: both statements, one after the other, timed together.

use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::cli::bench::report::{Report, millis, percentile};
use crate::cli::bench::{Subject, failed};
use crate::error::{Error, Kind, Result};

/// Rounds that are not counted: connections, caches and the allocator settle.
const WARM_UP: u64 = 100;

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// How many rows to insert, one at a time.
    #[arg(long, default_value_t = 5_000)]
    rounds: u64,
    /// Groups of the first view.
    #[arg(long, default_value_t = 1_000)]
    groups: u64,
}

pub(super) async fn run(options: &Options, workers: usize) -> Result<Report> {
    let subject = Subject::start(workers).await?;
    subject.run("CREATE TABLE entry (id BIGINT PRIMARY KEY, account BIGINT NOT NULL, amount BIGINT NOT NULL)").await?;
    subject
        .run("CREATE MATERIALIZED VIEW balance AS SELECT account, sum(amount) AS total, count(*) AS entries FROM entry GROUP BY account")
        .await?;
    subject.run("CREATE MATERIALIZED VIEW whole AS SELECT sum(entries) AS entries, count(*) AS accounts FROM balance").await?;
    let client = &subject.client;
    let prepare = |sql: &'static str| async move { client.prepare(sql).await.map_err(|cause| failed(sql, &cause)) };
    let insert = prepare("INSERT INTO entry VALUES ($1, $2, 1)").await?;
    let select = prepare("SELECT entries::BIGINT FROM whole").await?;
    let mut times = Vec::new();
    for round in 0..WARM_UP + options.rounds {
        let (id, account) = (round as i64, (round % options.groups.max(1)) as i64);
        let started = Instant::now();
        client.execute(&insert, &[&id, &account]).await.map_err(|cause| failed("INSERT", &cause))?;
        let row = client.query_one(&select, &[]).await.map_err(|cause| failed("SELECT", &cause))?;
        let elapsed = started.elapsed();
        if row.get::<_, Option<i64>>(0) != Some(id + 1) {
            return Err(Error::new(Kind::Internal, format!("the view does not show row {id}, which its session had inserted before")));
        }
        if round >= WARM_UP {
            times.push(elapsed);
        }
    }
    times.sort();
    let at = |part| json!(millis(percentile(&times, part)));
    let mut report = Report::new("latency", workers, &["rounds", "p50_ms", "p90_ms", "p99_ms", "max_ms"]);
    report.add(vec![json!(options.rounds), at(0.5), at(0.9), at(0.99), at(1.0)]);
    subject.stop().await?;
    Ok(report)
}
