//! The Nexmark queries as materialised views: events per second.
//!
//! ```text
//! input       generator  three sources; the clock runs from CREATE until the view has taken in every event, so making the events counts
//!             table      the events are in tables before; the clock runs from CREATE until the view is up to date: the engine alone
//!             file       lines of JSON in a folder (person.jsonl, auction.jsonl, bid.jsonl), read and decoded while the clock runs
//! output      discard    the view throws its rows away: what the query costs
//!             view       the rows are kept and can be read
//! event time  none       the tables have no watermark: every window stays open
//!             watermark  theirs lags 4 s, as in the suite's tables: what belongs to closed windows leaves the state
//!             close      and queries over windows give each window's rows out once, EMIT ON WINDOW CLOSE
//! ```
//!
//! Events per second: all events of the sequence, of all three tables, by time, as the suite counts, whichever of them a query reads; of
//! files the lines of those that the query reads.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::bench::Subject;
use crate::cli::bench::report::{Report, forget_peak, per_second, resident_mib};
use crate::connect::nexmark::{Table, gap_nanos};
use crate::error::{Error, Kind, Result};

/// The queries, and which tables each reads.
const QUERIES: [(&str, &str, &[&str]); 24] = [
    ("q0", include_str!("../../../sql/nexmark/q0.sql"), &["bid"]),
    ("q1", include_str!("../../../sql/nexmark/q1.sql"), &["bid"]),
    ("q2", include_str!("../../../sql/nexmark/q2.sql"), &["bid"]),
    ("q3", include_str!("../../../sql/nexmark/q3.sql"), &["auction", "person"]),
    ("q4", include_str!("../../../sql/nexmark/q4.sql"), &["auction", "bid"]),
    ("q5", include_str!("../../../sql/nexmark/q5.sql"), &["bid"]),
    ("q6", include_str!("../../../sql/nexmark/q6.sql"), &["auction", "bid"]),
    ("q7", include_str!("../../../sql/nexmark/q7.sql"), &["bid"]),
    ("q8", include_str!("../../../sql/nexmark/q8.sql"), &["auction", "person"]),
    ("q9", include_str!("../../../sql/nexmark/q9.sql"), &["auction", "bid"]),
    ("q11", include_str!("../../../sql/nexmark/q11.sql"), &["bid"]),
    ("q12", include_str!("../../../sql/nexmark/q12.sql"), &["bid"]),
    ("q13", include_str!("../../../sql/nexmark/q13.sql"), &["bid"]),
    ("q14", include_str!("../../../sql/nexmark/q14.sql"), &["bid"]),
    ("q15", include_str!("../../../sql/nexmark/q15.sql"), &["bid"]),
    ("q16", include_str!("../../../sql/nexmark/q16.sql"), &["bid"]),
    ("q17", include_str!("../../../sql/nexmark/q17.sql"), &["bid"]),
    ("q18", include_str!("../../../sql/nexmark/q18.sql"), &["bid"]),
    ("q19", include_str!("../../../sql/nexmark/q19.sql"), &["bid"]),
    ("q20", include_str!("../../../sql/nexmark/q20.sql"), &["auction", "bid"]),
    ("q21", include_str!("../../../sql/nexmark/q21.sql"), &["bid"]),
    ("q22", include_str!("../../../sql/nexmark/q22.sql"), &["bid"]),
    ("count_max", include_str!("../../../sql/nexmark/count_max.sql"), &["bid"]),
    ("hop_count", include_str!("../../../sql/nexmark/hop_count.sql"), &["bid"]),
];

/// What q13 joins bids with.
const SIDE_INPUT: &str = "CREATE TABLE side_input (key BIGINT PRIMARY KEY, value TEXT);
     INSERT INTO side_input SELECT n, n::text FROM generate_series(0, 9999) AS s(n)";

/// The suite's sequence repeats its kinds every 50 events; a multiple of that gives whole numbers of each.
const ROUND: u64 = 50;

/// State is measured four times a second: after so long the figure is that of the end.
const MEASURED: Duration = Duration::from_millis(600);

#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Events of all three tables together.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Which queries, with commas between them [default: all].
    #[arg(long, value_delimiter = ',')]
    queries: Vec<String>,
    /// Where events come from.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "generator")]
    input: Vec<Input>,
    /// The folder with person.jsonl, auction.jsonl and bid.jsonl, for --input file; `tidemill generate nexmark --table` makes each.
    #[arg(long)]
    files: Option<PathBuf>,
    /// Events per second of event time, which decides how much falls into one window; the suite has 10000000 and 100.
    #[arg(long, value_delimiter = ',', default_value = "10000")]
    event_rate: Vec<u64>,
    /// Whether event time passes.
    #[arg(long, value_enum, default_value = "none")]
    event_time: EventTime,
    /// Where results go.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "discard,view")]
    output: Vec<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    Generator,
    Table,
    File,
}

impl Input {
    fn name(self) -> &'static str {
        match self {
            Input::Generator => "generator",
            Input::Table => "table",
            Input::File => "file",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EventTime {
    None,
    Watermark,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Discard,
    View,
}

impl Output {
    fn name(self) -> &'static str {
        match self {
            Output::Discard => "discard",
            Output::View => "view",
        }
    }
}

/// One measurement.
struct Case<'a> {
    query: &'a str,
    tables: &'a [&'a str],
    input: Input,
    output: Output,
    event_time: EventTime,
    event_rate: u64,
    /// Of all three tables together, for inputs that are made here.
    events: u64,
    /// Where the files are.
    files: &'a Path,
}

pub(super) async fn run(options: &Options, workers: usize) -> Result<Report> {
    check(options)?;
    let columns = ["query", "input", "output", "event_rate", "events", "seconds", "events_per_s", "rows", "peak_mib", "state_mib"];
    let mut report = Report::new("nexmark", workers, &columns);
    for (name, query, tables) in QUERIES {
        if !options.queries.is_empty() && !options.queries.iter().any(|wanted| wanted == name) {
            continue;
        }
        for (input, output, event_rate) in combinations(options) {
            let case = Case {
                query,
                tables,
                input,
                output,
                event_time: options.event_time,
                event_rate,
                events: options.events.div_ceil(ROUND) * ROUND,
                files: options.files.as_deref().unwrap_or(Path::new("")),
            };
            // A server of its own, so that nothing of the query before is in memory or caches.
            forget_peak();
            let subject = Subject::start(workers).await?;
            let (events, elapsed) = case.measure(&subject).await?;
            let (_, peak) = resident_mib();
            let rows = match output {
                Output::Discard => json!("-"),
                Output::View => json!(subject.value("SELECT count(*) FROM measured").await?.parse::<u64>().unwrap_or_default()),
            };
            let rate = if input == Input::File { json!("-") } else { json!(event_rate) };
            report.add(vec![
                json!(name),
                json!(input.name()),
                json!(output.name()),
                rate,
                json!(events),
                json!(elapsed.as_secs_f64()),
                json!(per_second(events, elapsed)),
                rows,
                json!(peak),
                json!(state_mib(&subject).await?),
            ]);
            subject.stop().await?;
        }
    }
    Ok(report)
}

/// Refuses queries that are not there, and options that do not go together.
fn check(options: &Options) -> Result<()> {
    for name in &options.queries {
        if !QUERIES.iter().any(|(known, ..)| known == name) {
            let known: Vec<&str> = QUERIES.iter().map(|(known, ..)| *known).collect();
            return Err(Error::new(Kind::InvalidParameter, format!("there is no query \"{name}\""))
                .hint(format!("There are: {}.", known.join(", "))));
        }
    }
    if options.event_rate.contains(&0) {
        return Err(Error::new(Kind::InvalidParameter, "--event-rate must be above 0"));
    }
    if options.input.contains(&Input::File) && options.files.is_none() {
        return Err(Error::new(Kind::InvalidParameter, "--input file needs --files with a folder")
            .hint("Make its files with tidemill generate nexmark --table bid --to folder/bid.jsonl, and so on for auction and person."));
    }
    Ok(())
}

/// Every input with every output and rate; files have the rate that they were made with.
fn combinations(options: &Options) -> Vec<(Input, Output, u64)> {
    let mut all = Vec::new();
    for &input in &options.input {
        for &output in &options.output {
            let rates = if input == Input::File { 1 } else { options.event_rate.len() };
            all.extend(options.event_rate.iter().take(rates).map(|&rate| (input, output, rate)));
        }
    }
    all
}

impl Case<'_> {
    /// Makes the sources and the view. How many events there were, and how long it took.
    async fn measure(&self, subject: &Subject) -> Result<(u64, Duration)> {
        subject.prepare_settled().await?;
        let mut expected = Vec::new();
        for table in self.tables {
            subject.run(&self.relation(table)).await?;
            expected.push((*table, self.rows(table)?));
        }
        if self.query.contains("side_input") {
            subject.run(SIDE_INPUT).await?;
        }
        if self.input == Input::Table {
            subject.settled(&expected).await?;
        }
        let started = Instant::now();
        subject.run(&self.view()).await?;
        match self.input {
            Input::Generator | Input::File => subject.settled(&expected).await?,
            Input::Table => subject.hydrated("measured").await?,
        }
        let events = if self.input == Input::File { expected.iter().map(|(_, rows)| rows).sum() } else { self.events };
        Ok((events, started.elapsed()))
    }

    /// The statement that makes one of the suite's tables.
    fn relation(&self, table: &str) -> String {
        // A table without a key that a connector fills is append-only, as a source is: the plans are the same.
        let kind = if self.input == Input::Table { "TABLE" } else { "SOURCE" };
        let watermark = match self.event_time {
            EventTime::None => "",
            EventTime::Watermark | EventTime::Close => ", WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'",
        };
        let columns = Table::named(table).map(Table::declaration).unwrap_or_default();
        let arrival = if self.query.contains("p_time") { ", p_time TIMESTAMPTZ AS PROCTIME()" } else { "" };
        let (events, gap) = (self.events, gap_nanos(self.event_rate));
        let rest = match self.input {
            Input::File => {
                let path = self.path(table).display().to_string().replace('\'', "''");
                format!("WITH (connector = 'file', path = '{path}', follow = 'false') FORMAT PLAIN ENCODE JSON")
            }
            Input::Generator | Input::Table => format!(
                "WITH (connector = 'nexmark', nexmark.table.type = '{table}', nexmark.event.num = '{events}', nexmark.event.gap.ns = '{gap}')"
            ),
        };
        format!("CREATE {kind} {table} ({columns}{arrival}{watermark}) {rest}")
    }

    fn view(&self) -> String {
        let discard = if self.output == Output::Discard { "WITH (discard = true)" } else { "" };
        let windows = ["TUMBLE(", "HOP(", "SESSION("].iter().any(|word| self.query.contains(word));
        let close = if windows && self.event_time == EventTime::Close { "EMIT ON WINDOW CLOSE" } else { "" };
        format!("CREATE MATERIALIZED VIEW measured {discard} AS {} {close}", self.query)
    }

    fn path(&self, table: &str) -> PathBuf {
        self.files.join(format!("{table}.jsonl"))
    }

    /// How many rows a table will have.
    fn rows(&self, table: &str) -> Result<u64> {
        match self.input {
            Input::Generator | Input::Table => Ok(self.events / ROUND * share(table)),
            Input::File => {
                let path = self.path(table);
                lines(&path).map_err(|cause| Error::external(&format!("cannot read \"{}\"", path.display()), cause))
            }
        }
    }
}

/// How many lines a file has.
fn lines(path: &Path) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut count = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(count),
            length => count += buffer[..length].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}

/// What the view's operators keep, in mebibytes.
async fn state_mib(subject: &Subject) -> Result<u64> {
    tokio::time::sleep(MEASURED).await;
    let bytes = subject.value("SELECT coalesce(sum(bytes), 0) FROM tidemill.state WHERE name = 'measured'").await?;
    Ok(bytes.parse::<u64>().unwrap_or_default() >> 20)
}

/// How many of 50 events belong to a table.
fn share(table: &str) -> u64 {
    match table {
        "person" => 1,
        "auction" => 3,
        _ => 46,
    }
}
