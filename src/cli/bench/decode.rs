//! How fast lines of JSON become rows: the reader of a file alone, without a server, with all columns of Nexmark's bids and with those that
//! queries read. Wall-clock time, the file in the system's cache.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::cli::bench::report::{Report, per_second};
use crate::connect::nexmark::{Lines, Table, json_lines};
use crate::connect::{Connector, Poll, Positions, SourceColumn, SourceSpec, connect};
use crate::error::{Error, Result};

/// Who reads, and which columns.
const READERS: [(&str, &[&str]); 5] = [
    ("all columns", &["auction", "bidder", "price", "channel", "url", "date_time", "extra"]),
    ("q0", &["auction", "bidder", "price", "date_time", "extra"]),
    ("q7", &["auction", "bidder", "price", "date_time"]),
    ("q5", &["auction", "date_time"]),
    ("count(*)", &[]),
];

/// Events that are written at once.
const EVENTS_PER_WRITE: u64 = 100_000;

/// How long to wait for a batch before asking again.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Events of all three tables of Nexmark together, of which the bids are read.
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// How often each is measured; the fastest counts, since nothing but other work makes one slower.
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

pub(super) fn run(options: &Options, workers: usize) -> Result<Report> {
    let path = std::env::temp_dir().join(format!("tidemill-bench-{}.jsonl", std::process::id()));
    let measured = write(&path, options.events).and_then(|bytes| measure(&path, bytes, options.runs, workers));
    let removed = std::fs::remove_file(&path).map_err(|cause| failed(&path, cause));
    // Why it could not be written says more than that it is not there.
    measured.and_then(|report| removed.map(|()| report))
}

/// Writes the bids among so many events. How many bytes they are.
fn write(path: &Path, events: u64) -> Result<u64> {
    let mut file = BufWriter::new(File::create(path).map_err(|cause| failed(path, cause))?);
    let lines = Lines { table: Some(Table::Bid), ..Lines::default() };
    let (mut text, mut bytes, mut start) = (Vec::new(), 0, 0);
    while start < events {
        let end = events.min(start + EVENTS_PER_WRITE);
        text.clear();
        json_lines(&lines, start..end, &mut text);
        file.write_all(&text).map_err(|cause| failed(path, cause))?;
        (bytes, start) = (bytes + text.len() as u64, end);
    }
    file.flush().map_err(|cause| failed(path, cause))?;
    Ok(bytes)
}

fn measure(path: &Path, bytes: u64, runs: u32, workers: usize) -> Result<Report> {
    let all = source(path)?;
    let mut report = Report::new("decode", workers, &["columns", "rows", "seconds", "rows_per_s", "mib_per_s"]);
    for (name, columns) in READERS {
        let wanted: Vec<bool> = all.columns().iter().map(|column| columns.contains(&column.name.as_str())).collect();
        let connector = all.only(&wanted).unwrap_or_else(|| Arc::clone(&all));
        let mut fastest: Option<(u64, Duration)> = None;
        for _ in 0..runs.max(1) {
            let started = Instant::now();
            let rows = read(connector.as_ref())?;
            let elapsed = started.elapsed();
            fastest = fastest.filter(|(_, before)| *before <= elapsed).or(Some((rows, elapsed)));
        }
        let (rows, elapsed) = fastest.unwrap_or_default();
        let mib_per_s = (bytes >> 20) as f64 / elapsed.as_secs_f64();
        report.add(vec![json!(name), json!(rows), json!(elapsed.as_secs_f64()), json!(per_second(rows, elapsed)), json!(mib_per_s)]);
    }
    Ok(report)
}

/// The file as a source with the columns of the table.
fn source(path: &Path) -> Result<Arc<dyn Connector>> {
    let spec = |columns: Vec<SourceColumn>, options: &[(&str, &str)]| SourceSpec {
        columns,
        options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        format: "PLAIN".to_owned(),
        encode: "JSON".to_owned(),
        encode_options: [].into(),
    };
    let bids = connect(spec(Vec::new(), &[("connector", "nexmark"), ("nexmark.table.type", "bid")]))?;
    let path = path.display().to_string();
    connect(spec(bids.columns().to_vec(), &[("connector", "file"), ("path", &path), ("follow", "false")]))
}

/// Reads everything. How many rows it was.
fn read(connector: &dyn Connector) -> Result<u64> {
    let mut reader = connector.start(&Positions::new(), None)?;
    let mut rows = 0;
    loop {
        match reader.poll(PATIENCE) {
            Poll::Batch(batch) => rows += batch.changes.len() as u64,
            Poll::Started(_) | Poll::Pending => {}
            Poll::End => return Ok(rows),
            Poll::Degraded(why) | Poll::Failed(why) => return Err(Error::external("the file cannot be read", why)),
        }
    }
}

fn failed(path: &Path, cause: std::io::Error) -> Error {
    Error::external(&format!("cannot write \"{}\"", path.display()), cause)
}
