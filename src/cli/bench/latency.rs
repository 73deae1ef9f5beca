//! From one INSERT to its effect in a view on a view, as one client sees it: both statements, one after the other, timed together. Then the same
//! beside views of another table, to which nothing happens.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tokio_postgres::Statement;

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
    /// Views of another table that are there beside them: the rounds are measured for each of these numbers, which rise.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 100])]
    bystanders: Vec<u64>,
}

/// What a round sends.
struct Round {
    insert: Statement,
    select: Statement,
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
    let statements = Round { insert, select };
    subject.run("CREATE TABLE other (id BIGINT PRIMARY KEY, account BIGINT NOT NULL)").await?;
    let mut report = Report::new("latency", workers, &["bystanders", "rounds", "p50_ms", "p90_ms", "p99_ms", "max_ms"]);
    let (mut there, mut rounds) = (0, 0);
    for bystanders in &options.bystanders {
        for number in there..*bystanders {
            let query = "SELECT a.account, count(*) AS pairs FROM other a JOIN other b ON a.account = b.id GROUP BY a.account";
            subject.run(&format!("CREATE MATERIALIZED VIEW bystander_{number} AS {query}")).await?;
        }
        there = there.max(*bystanders);
        let mut times = Vec::new();
        for round in 0..WARM_UP + options.rounds {
            let elapsed = one(&subject, &statements, rounds, options.groups).await?;
            rounds += 1;
            if round >= WARM_UP {
                times.push(elapsed);
            }
        }
        times.sort();
        let at = |part| json!(millis(percentile(&times, part)));
        report.add(vec![json!(there), json!(options.rounds), at(0.5), at(0.9), at(0.99), at(1.0)]);
    }
    subject.stop().await?;
    Ok(report)
}

/// Inserts row `number`, and reads the view that must show it.
async fn one(subject: &Subject, statements: &Round, number: u64, groups: u64) -> Result<Duration> {
    let (id, account) = (number as i64, (number % groups.max(1)) as i64);
    let started = Instant::now();
    subject.client.execute(&statements.insert, &[&id, &account]).await.map_err(|cause| failed("INSERT", &cause))?;
    let row = subject.client.query_one(&statements.select, &[]).await.map_err(|cause| failed("SELECT", &cause))?;
    let elapsed = started.elapsed();
    if row.get::<_, Option<i64>>(0) != Some(id + 1) {
        return Err(Error::new(Kind::Internal, format!("the view does not show row {id}, which its session had inserted before")));
    }
    Ok(elapsed)
}
