//! What a join of tables costs when it keeps its inputs, and when it looks into them by keys and indexes: time to be filled, time for each
//! later row, and memory beside the tables.

use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::cli::bench::Subject;
use crate::cli::bench::report::{Report, per_second, resident_mib};
use crate::error::Result;

/// The join: a sale has one customer, who lives in one region.
const JOIN: &str =
    "SELECT s.id, s.amount, c.name, r.label FROM sale s JOIN customer c ON s.customer = c.id JOIN region r ON c.region = r.id";

/// Waits, like every query, until all views have taken in what was committed before.
const COMPLETE: &str = "SELECT count(*) FROM region";

/// Rows of a later INSERT.
const LATER_ROWS: u64 = 100_000;

/// A customer has so many sales.
const SALES: u64 = 10;

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// How many sales there are before the view.
    #[arg(long, default_value_t = 2_000_000)]
    rows: u64,
}

pub(super) async fn run(options: &Options, workers: usize) -> Result<Report> {
    let columns = ["join", "rows", "fill_rows_per_s", "later_rows_per_s", "updates_per_s", "view_mib"];
    let mut report = Report::new("joins", workers, &columns);
    for (name, indexed) in [("keeps its inputs", false), ("by keys and indexes", true)] {
        report.add(measure(name, indexed, options.rows.max(SALES), workers).await?);
    }
    Ok(report)
}

async fn measure(name: &str, indexed: bool, rows: u64, workers: usize) -> Result<Vec<serde_json::Value>> {
    let subject = Subject::start(workers).await?;
    subject.run("CREATE TABLE region (id BIGINT PRIMARY KEY, label TEXT); CREATE TABLE customer (id BIGINT PRIMARY KEY, name TEXT, region BIGINT)").await?;
    subject.run("CREATE TABLE sale (id BIGINT PRIMARY KEY, customer BIGINT, amount BIGINT)").await?;
    subject.run("INSERT INTO region SELECT i, 'region ' || i FROM generate_series(0, 99) AS g(i)").await?;
    let customers = rows / SALES;
    subject
        .run(&format!("INSERT INTO customer SELECT i, 'customer ' || i, i % 100 FROM generate_series(0, {customers} - 1) AS g(i)"))
        .await?;
    let sales = |first: u64, count: u64| {
        format!(
            "INSERT INTO sale SELECT i, i::bigint * 7919 % {customers}, i % 1000 FROM generate_series({first}, {}) AS g(i)",
            first + count - 1
        )
    };
    subject.run(&sales(0, rows)).await?;
    if indexed {
        subject.run("CREATE INDEX ON sale (customer); CREATE INDEX ON customer (region)").await?;
    }
    let (before, _) = resident_mib();
    // Its rows are thrown away: what is measured is the join.
    let started = Instant::now();
    subject.run(&format!("CREATE MATERIALIZED VIEW joined WITH (discard = true) AS {JOIN}")).await?;
    subject.hydrated("joined").await?;
    let filled = started.elapsed();
    let (after, _) = resident_mib();

    let started = Instant::now();
    subject.run(&sales(rows, LATER_ROWS)).await?;
    subject.value(COMPLETE).await?;
    let later = started.elapsed();
    let updated = (customers / 2).min(LATER_ROWS / SALES);
    let started = Instant::now();
    subject.run(&format!("UPDATE customer SET name = name || '!' WHERE id < {updated}")).await?;
    subject.value(COMPLETE).await?;
    let renamed = started.elapsed();
    subject.stop().await?;
    Ok(vec![
        json!(name),
        json!(rows),
        json!(per_second(rows, filled)),
        json!(per_second(LATER_ROWS, later)),
        json!(per_second(updated * SALES * 2, renamed)),
        json!(after.saturating_sub(before)),
    ])
}
