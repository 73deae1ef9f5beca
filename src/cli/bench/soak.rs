//! Whether state stays bounded on a stream without end: views of all kinds that event time or the clock bounds, over the generator at a steady rate,
//! on disk, for minutes or hours.
//!
//! ```text
//! bid, auction ──▶ a tumbling window, hopping windows by auction, sessions by bidder, an interval join,
//! (watermarks)     a top-n that comes out when its window closes, sums over the last minute
//!
//! every few seconds: resident memory, bytes on disk, how far the newest bid in a view is behind the clock, a row's way into a view
//! in the end: the slope of each behind the warm-up. Flat is what would have grown by less than a part of its size.
//! ```
//!
//! Event time goes at the speed of the clock. Slopes are those of Theil and Sen (the median of the slopes between all pairs of samples), which a
//! compaction or a checkpoint in between does not move.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::json;

use crate::cli::bench::Subject;
use crate::cli::bench::report::{Report, millis, resident_mib};
use crate::cli::run::{connect, url_of};
use crate::cli::serve::Server;
use crate::config::ServeOptions;
use crate::error::{Error, Kind, Result};

/// The views: names, options and queries. Results are kept for a time, or thrown away: they would grow, too.
const VIEWS: [(&str, &str, &str); 7] = [
    ("newest", "", "SELECT max(date_time) AS at FROM bid"),
    (
        "tumbling",
        "WITH (retention = '1 minute', retention_column = 'window_start')",
        "SELECT window_start, count(*) AS bids, count(DISTINCT bidder) AS bidders, max(price) AS highest
         FROM TUMBLE(bid, date_time, INTERVAL '10 seconds') GROUP BY window_start",
    ),
    (
        "hopping",
        "WITH (retention = '30 seconds', retention_column = 'window_start')",
        "SELECT auction, window_start, count(*) AS bids
         FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY auction, window_start",
    ),
    (
        "sessions",
        "WITH (discard = true)",
        "SELECT bidder, window_start, window_end, count(*) AS bids
         FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '5 seconds') GROUP BY bidder, window_start, window_end",
    ),
    (
        "joined",
        "WITH (discard = true)",
        "SELECT a.id, a.category, b.price FROM auction a JOIN bid b
         ON a.id = b.auction AND b.date_time BETWEEN a.date_time AND a.date_time + INTERVAL '5 seconds'",
    ),
    (
        "best",
        "",
        "SELECT window_start, auction, price, place FROM (
             SELECT *, row_number() OVER (PARTITION BY window_start ORDER BY price DESC, auction) AS place
             FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
         ) AS placed WHERE place <= 10 EMIT ON WINDOW CLOSE",
    ),
    (
        "last_minute",
        "",
        "SELECT auction % 100 AS lane, count(*) AS bids, sum(price) AS total
         FROM bid WHERE date_time > now() - INTERVAL '1 minute' GROUP BY 1",
    ),
];

/// What is warm after that: the last minute is full, windows and sessions close, and memory that was freed is used again.
const WARM_UP: Duration = Duration::from_secs(120);

/// What may grow while nothing is wrong, of the mean: allocators and compactions breathe.
const GROWTH_MAX: f64 = 0.15;

/// Growth below these is noise whatever the mean is: mebibytes, milliseconds.
const NOISE_MIB: f64 = 48.0;
const NOISE_MS: f64 = 400.0;

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// How long, in minutes; the first two of them (half of them at the most) warm up.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Events per second, of which 46 in 50 are bids.
    #[arg(long, default_value_t = 200_000)]
    rate: u64,
    /// Seconds between two samples.
    #[arg(long, default_value_t = 5.0)]
    every: f64,
    /// Where the server keeps its data [default: a directory of its own, which is removed in the end].
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// One look.
struct Sample {
    minutes: f64,
    resident_mib: f64,
    disk_mib: f64,
    /// How far the newest bid in a view is behind the clock.
    behind_ms: f64,
    /// How long a row takes into a view.
    row_ms: f64,
}

/// What is looked at, with what of it is noise.
type Figure = (&'static str, fn(&Sample) -> f64, f64);

const FIGURES: [Figure; 4] = [
    ("rss_mib", |sample| sample.resident_mib, NOISE_MIB),
    ("disk_mib", |sample| sample.disk_mib, NOISE_MIB),
    ("behind_ms", |sample| sample.behind_ms, NOISE_MS),
    ("row_ms", |sample| sample.row_ms, NOISE_MS),
];

pub(super) async fn run(options: &Options, workers: usize) -> Result<Report> {
    let own = options.data_dir.is_none().then(|| std::env::temp_dir().join(format!("tidemill-soak-{}", std::process::id())));
    let directory = options.data_dir.clone().or(own.clone()).unwrap_or_default();
    let soaked = soak(options, workers, &directory).await;
    if let Some(own) = own {
        drop(std::fs::remove_dir_all(own));
    }
    let (report, growing) = soaked?;
    if growing.is_empty() {
        return Ok(report);
    }
    println!("{}", report.table());
    Err(Error::new(Kind::ObjectState, format!("not flat: {}", growing.join("; "))))
}

/// The report, and what was not flat.
async fn soak(options: &Options, workers: usize, directory: &Path) -> Result<(Report, Vec<String>)> {
    let subject = started(workers, directory).await?;
    define(&subject, options.rate).await?;
    let mut report =
        Report::new("soak", workers, &["minutes", "events", "rss_mib", "disk_mib", "state_mib", "behind_ms", "row_ms", "late_rows"]);
    let (begun, length) = (Instant::now(), Duration::from_secs_f64(options.minutes.max(0.0) * 60.0));
    let mut samples = Vec::new();
    while begun.elapsed() < length {
        tokio::time::sleep(Duration::from_secs_f64(options.every.max(0.1))).await;
        let sample = look(&subject, begun, directory).await?;
        let events = subject.value("SELECT sum(rows)::BIGINT FROM tidemill.sources").await?.parse::<u64>().unwrap_or_default();
        let state = subject.value("SELECT sum(bytes)::BIGINT FROM tidemill.state").await?.parse::<f64>().unwrap_or_default();
        let late = subject.value("SELECT coalesce(sum(rows), 0)::BIGINT FROM tidemill.late_rows").await?.parse::<u64>().unwrap_or_default();
        report.add(vec![
            json!(sample.minutes),
            json!(events),
            json!(sample.resident_mib),
            json!(sample.disk_mib),
            json!(state / f64::from(1 << 20)),
            json!(sample.behind_ms),
            json!(sample.row_ms),
            json!(late),
        ]);
        samples.push(sample);
    }
    let failed = subject.rows("SHOW jobs").await?.into_iter().filter(|row| row[1].starts_with("failed")).map(|row| row.join(" has "));
    let mut wrong: Vec<String> = failed.collect();
    let warm = WARM_UP.min(length / 2).as_secs_f64() / 60.0;
    samples.retain(|sample| sample.minutes >= warm);
    for (name, figure, noise) in FIGURES {
        let points: Vec<(f64, f64)> = samples.iter().map(|sample| (sample.minutes, figure(sample))).collect();
        let Trend { slope, mean, growth } = trend(&points);
        let flat = growth <= (mean * GROWTH_MAX).max(noise);
        let judged = if flat { "flat" } else { "GROWING" };
        eprintln!("soak: {name}: {slope:+.3} a minute behind the warm-up of {warm:.1} minutes, mean {mean:.1}: {judged}");
        if !flat {
            wrong.push(format!("{name} grew by {growth:.1} over a mean of {mean:.1}"));
        }
    }
    subject.stop().await?;
    Ok((report, wrong))
}

/// A server on disk, and a client of it.
async fn started(workers: usize, directory: &Path) -> Result<Subject> {
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let options = ServeOptions {
        data_dir: Some(directory.to_owned()),
        listen: Some(any),
        http: Some(any),
        workers: Some(workers),
        ..ServeOptions::default()
    };
    let server = Server::start(options.resolve()?, Arc::new(String::new)).await?;
    let client = connect(&url_of(&server)).await?;
    Ok(Subject { server, client })
}

async fn define(subject: &Subject, rate: u64) -> Result<()> {
    let now_millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let gap_nanos = 1_000_000_000 / rate.max(1);
    for (table, columns) in [("auction", "id BIGINT, category BIGINT"), ("bid", "auction BIGINT, bidder BIGINT, price BIGINT")] {
        let options = format!(
            "connector = 'nexmark', nexmark.table.type = '{table}', nexmark.events.per.second = '{rate}', \
             nexmark.event.gap.ns = '{gap_nanos}', nexmark.base.time.ms = '{now_millis}'"
        );
        let watermark = "date_time TIMESTAMP, WATERMARK FOR date_time AS date_time - INTERVAL '2 seconds'";
        subject.run(&format!("CREATE SOURCE {table} ({columns}, {watermark}) WITH ({options})")).await?;
    }
    for (name, options, query) in VIEWS {
        subject.run(&format!("CREATE MATERIALIZED VIEW {name} {options} AS {query}")).await?;
    }
    subject.run("CREATE TABLE probe (n BIGINT PRIMARY KEY); CREATE MATERIALIZED VIEW probed AS SELECT max(n) AS n FROM probe").await
}

async fn look(subject: &Subject, begun: Instant, directory: &Path) -> Result<Sample> {
    let behind = subject.value("SELECT extract(epoch FROM now()::timestamp - at) * 1000 FROM newest").await?;
    let written = Instant::now();
    subject.run("DELETE FROM probe; INSERT INTO probe VALUES (1)").await?;
    subject.value("SELECT n FROM probed").await?;
    let row_ms = millis(written.elapsed());
    let (resident, _) = resident_mib();
    Ok(Sample {
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        resident_mib: resident as f64,
        disk_mib: bytes_in(directory) as f64 / f64::from(1 << 20),
        behind_ms: behind.parse().unwrap_or_default(),
        row_ms,
    })
}

/// Bytes of all files below a directory; those that go while it is read count for nothing.
fn bytes_in(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let bytes = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let found = entry.metadata().ok()?;
        Some(if found.is_dir() { bytes_in(&entry.path()) } else { found.len() })
    });
    bytes.sum()
}

/// Where a figure goes.
struct Trend {
    /// A minute.
    slope: f64,
    mean: f64,
    /// From the first sample to the last one, by the slope.
    growth: f64,
}

/// The median of the slopes between all pairs of samples (Theil 1950, Sen 1968).
fn trend(points: &[(f64, f64)]) -> Trend {
    let mut slopes: Vec<f64> = Vec::new();
    for (number, (minutes, value)) in points.iter().enumerate() {
        let before = points[..number].iter().filter(|(earlier, _)| earlier < minutes);
        slopes.extend(before.map(|(earlier, before)| (value - before) / (minutes - earlier)));
    }
    slopes.sort_by(f64::total_cmp);
    let slope = slopes.get(slopes.len() / 2).copied().unwrap_or_default();
    let mean = points.iter().map(|(_, value)| value).sum::<f64>() / points.len().max(1) as f64;
    let span = points.last().zip(points.first()).map_or(0.0, |(last, first)| last.0 - first.0);
    Trend { slope, mean, growth: slope * span }
}

#[cfg(test)]
mod tests {
    use super::trend;

    #[test]
    fn a_saw_is_flat_and_a_leak_is_not() {
        let saw: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n) / 10.0, 500.0 + f64::from(n % 10) * 20.0)).collect();
        assert!(trend(&saw).growth.abs() < 25.0, "{}", trend(&saw).growth);
        let leak: Vec<(f64, f64)> = saw.iter().map(|(minutes, value)| (*minutes, value + minutes * 30.0)).collect();
        assert!((trend(&leak).slope - 30.0).abs() < 5.0);
        let once: Vec<(f64, f64)> =
            saw.iter().map(|(minutes, value)| (*minutes, if *minutes == 5.0 { 90_000.0 } else { *value })).collect();
        assert!(trend(&once).growth.abs() < 25.0);
        assert_eq!(trend(&[]).growth, 0.0);
    }
}
