//! The Nexmark queries as materialised views: events per second.
//!
//! ```text
//! input     generator  three sources; the clock runs from CREATE until the view has taken in every event, so making the events counts
//!           table      the events are in tables before; the clock runs from CREATE until the view is up to date: the engine alone
//! output    discard    the view throws its rows away: what the query costs
//!           view       the rows are kept and can be read
//! ```
//!
//! Events per second: all events of the sequence, of all three tables, by time, as the suite counts, whichever of them a query reads.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::bench::Subject;
use crate::cli::bench::report::{Report, per_second, resident_mib};
use crate::error::{Error, Kind, Result};

/// The queries, and which tables each reads.
const QUERIES: [(&str, &str, &[&str]); 20] = [
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
];

/// What q13 joins bids with.
const SIDE_INPUT: &str = "CREATE TABLE side_input (key BIGINT PRIMARY KEY, value TEXT);
     INSERT INTO side_input SELECT n, n::text FROM generate_series(0, 9999) AS s(n)";

/// The suite's sequence repeats its kinds every 50 events; a multiple of that gives whole numbers of each.
const ROUND: u64 = 50;

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
    /// Where results go.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "discard,view")]
    output: Vec<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    Generator,
    Table,
}

impl Input {
    fn name(self) -> &'static str {
        match self {
            Input::Generator => "generator",
            Input::Table => "table",
        }
    }
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

pub(super) async fn run(options: &Options, workers: usize) -> Result<Report> {
    let events = options.events.div_ceil(ROUND) * ROUND;
    for name in &options.queries {
        if !QUERIES.iter().any(|(known, ..)| known == name) {
            let known: Vec<&str> = QUERIES.iter().map(|(known, ..)| *known).collect();
            return Err(Error::new(Kind::InvalidParameter, format!("there is no query \"{name}\""))
                .hint(format!("There are: {}.", known.join(", "))));
        }
    }
    let mut report = Report::new("nexmark", workers, &["query", "input", "output", "events", "seconds", "events_per_s", "rows", "rss_mib"]);
    for (name, query, tables) in QUERIES {
        if !options.queries.is_empty() && !options.queries.iter().any(|wanted| wanted == name) {
            continue;
        }
        for input in &options.input {
            for output in &options.output {
                // A server of its own, so that nothing of the query before is in memory or caches.
                let subject = Subject::start(workers).await?;
                let elapsed = measure(&subject, query, tables, events, *input, *output).await?;
                let rows = match output {
                    Output::Discard => json!("-"),
                    Output::View => json!(subject.value("SELECT count(*) FROM measured").await?.parse::<u64>().unwrap_or_default()),
                };
                let speed = per_second(events, elapsed);
                let (resident, _) = resident_mib();
                let seconds = elapsed.as_secs_f64();
                report.add(vec![
                    json!(name),
                    json!(input.name()),
                    json!(output.name()),
                    json!(events),
                    json!(seconds),
                    json!(speed),
                    rows,
                    json!(resident),
                ]);
                subject.stop().await?;
            }
        }
    }
    Ok(report)
}

async fn measure(subject: &Subject, query: &str, tables: &[&str], events: u64, input: Input, output: Output) -> Result<Duration> {
    subject.prepare_settled().await?;
    let kind = match input {
        Input::Generator => "SOURCE",
        Input::Table => "TABLE",
    };
    for table in tables {
        // A table without a key that a connector fills is append-only, as a source is: the plans are the same.
        let options = format!("connector = 'nexmark', nexmark.table.type = '{table}', nexmark.event.num = '{events}'");
        subject.run(&format!("CREATE {kind} {table} WITH ({options})")).await?;
    }
    if query.contains("side_input") {
        subject.run(SIDE_INPUT).await?;
    }
    let expected: Vec<(&str, u64)> = tables.iter().map(|table| (*table, events / ROUND * share(table))).collect();
    if input == Input::Table {
        subject.settled(&expected).await?;
    }
    let discard = if output == Output::Discard { "WITH (discard = true)" } else { "" };
    let started = Instant::now();
    subject.run(&format!("CREATE MATERIALIZED VIEW measured {discard} AS {query}")).await?;
    match input {
        Input::Generator => subject.settled(&expected).await?,
        Input::Table => subject.hydrated("measured").await?,
    }
    Ok(started.elapsed())
}

/// How many of 50 events belong to a table.
fn share(table: &str) -> u64 {
    match table {
        "person" => 1,
        "auction" => 3,
        _ => 46,
    }
}
