//! How fast a new view takes in a table that is full already: from CREATE until the view can be read.

use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::cli::bench::Subject;
use crate::cli::bench::report::{Report, per_second};
use crate::error::Result;

/// What is built over the table, one after the other, each dropped again.
const VIEWS: [(&str, &str); 4] = [
    ("filter", "SELECT id, n FROM item WHERE n < 10"),
    ("one group", "SELECT count(*) AS rows, sum(n) AS total, max(n) AS highest FROM item"),
    ("1,000 groups", "SELECT n, count(*) AS rows, max(id) AS newest FROM item GROUP BY n"),
    ("a group per row", "SELECT id, count(*) AS rows, max(n) AS highest FROM item GROUP BY id"),
];

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Rows of the table.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
}

pub(super) async fn run(options: &Options, workers: usize) -> Result<Report> {
    let subject = Subject::start(workers).await?;
    subject.prepare_settled().await?;
    let rows = options.rows.max(1);
    subject
        .run(&format!(
            "CREATE TABLE item (id BIGINT, n BIGINT) APPEND ONLY WITH (connector = 'datagen', datagen.rows.per.second = '1000000000', \
             datagen.rows = '{rows}', fields.id.kind = 'sequence', fields.id.start = '0', fields.n.kind = 'random', fields.n.min = '0', fields.n.max = '999')"
        ))
        .await?;
    subject.settled(&[("item", rows)]).await?;
    let mut report = Report::new("hydrate", workers, &["view", "table_rows", "seconds", "table_rows_per_s", "view_rows"]);
    for (name, query) in VIEWS {
        let started = Instant::now();
        subject.run(&format!("CREATE MATERIALIZED VIEW measured AS {query}")).await?;
        subject.hydrated("measured").await?;
        let elapsed = started.elapsed();
        let found = subject.value("SELECT count(*) FROM measured").await?.parse::<u64>().unwrap_or_default();
        report.add(vec![json!(name), json!(rows), json!(elapsed.as_secs_f64()), json!(per_second(rows, elapsed)), json!(found)]);
        subject.run("DROP MATERIALIZED VIEW measured").await?;
    }
    subject.stop().await?;
    Ok(report)
}
