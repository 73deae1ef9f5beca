//! What a view of many groups costs in memory: state and relation together, since the source keeps no rows.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::cli::bench::Subject;
use crate::cli::bench::report::{Report, per_second, resident_mib};
use crate::error::Result;

/// Until compaction and the allocator have given back what only the load needed.
const REST: Duration = Duration::from_secs(3);

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// How many groups, each of one bigint.
    #[arg(long, default_value_t = 10_000_000)]
    groups: u64,
    /// Rows of each group, one pass over all groups after the other.
    #[arg(long, default_value_t = 1)]
    passes: u64,
}

pub(super) async fn run(options: &Options, workers: usize) -> Result<Report> {
    let subject = Subject::start(workers).await?;
    subject.prepare_settled().await?;
    let (groups, rows) = (options.groups.max(1), options.groups.max(1) * options.passes.max(1));
    subject
        .run(&format!(
            "CREATE SOURCE item (id BIGINT, n BIGINT) WITH (connector = 'datagen', datagen.rows.per.second = '1000000000', datagen.rows = '{rows}', \
             fields.id.kind = 'sequence', fields.id.start = '0', fields.n.kind = 'random', fields.n.min = '0', fields.n.max = '1000000000')"
        ))
        .await?;
    let (before, _) = resident_mib();
    let started = Instant::now();
    subject
        .run(&format!("CREATE MATERIALIZED VIEW measured AS SELECT id % {groups} AS id, count(*) AS rows, max(n) AS highest FROM item GROUP BY id % {groups}"))
        .await?;
    subject.settled(&[("item", rows)]).await?;
    let elapsed = started.elapsed();
    tokio::time::sleep(REST).await;
    let (after, peak) = resident_mib();
    let found = subject.value("SELECT count(*) FROM measured").await?.parse::<u64>().unwrap_or_default();
    let mut report =
        Report::new("groups", workers, &["groups", "rows", "rows_per_s", "rss_before_mib", "rss_mib", "rss_peak_mib", "bytes_per_group"]);
    let bytes = (after.saturating_sub(before) << 20) / groups;
    report.add(vec![json!(found), json!(rows), json!(per_second(rows, elapsed)), json!(before), json!(after), json!(peak), json!(bytes)]);
    subject.stop().await?;
    Ok(report)
}
