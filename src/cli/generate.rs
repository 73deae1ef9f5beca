//! `tidemill generate`: the events of the built-in generators as lines of JSON, into a file or a Kafka topic; the tables of TPC-H as files.
//!
//! The same options give the same events in the same order, and record `n` always goes to partition `n % partitions`.

mod tpch;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::serve::start_tracing;
use crate::connect::KafkaWriter;
use crate::connect::nexmark::{Lines, Table, gap_nanos, json_lines};
use crate::error::{Error, Kind, Result};

/// Events that are made and written in one go when there is no rate: some megabytes of text.
const CHUNK_EVENTS: u64 = 50_000;

/// Between two chunks at a rate: often enough to look steady, seldom enough to cost nothing.
const CHUNK_INTERVAL: Duration = Duration::from_millis(20);

/// What `tidemill generate` takes.
#[derive(Args, Clone, Debug)]
pub struct GenerateOptions {
    #[command(subcommand)]
    generator: Generator,
}

#[derive(Clone, Debug, Subcommand)]
enum Generator {
    /// People, auctions and bids of an auction site, as in the Nexmark suite.
    Nexmark(NexmarkOptions),
    /// The eight tables of TPC-H, as CSV files.
    Tpch(tpch::TpchOptions),
}

#[derive(Args, Clone, Debug)]
struct NexmarkOptions {
    /// Where to: kafka://host:port/topic (the topic is made if it is not there), a file, or - for standard output.
    #[arg(long)]
    to: String,
    /// Events of all three tables together, of which --table may choose some; 0 is without end.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// The number of the first event: one past the last of an earlier run goes on where that ended.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Events per second [default: as fast as possible].
    #[arg(long)]
    rate: Option<u64>,
    /// Events per second of event time, which decides how much falls into one window; the suite's figures are 10000000 and 100.
    #[arg(long, default_value_t = 10_000)]
    event_rate: u64,
    /// Only this table's events [default: all, each line with its "event_type"].
    #[arg(long)]
    table: Option<TableName>,
    /// Chooses the random values.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TableName {
    Person,
    Auction,
    Bid,
}

impl From<TableName> for Table {
    fn from(name: TableName) -> Table {
        match name {
            TableName::Person => Table::Person,
            TableName::Auction => Table::Auction,
            TableName::Bid => Table::Bid,
        }
    }
}

/// Writes what was asked for, and says how much it was.
pub fn generate(options: &GenerateOptions) -> Result<()> {
    start_tracing(false);
    match &options.generator {
        Generator::Nexmark(options) => nexmark(options),
        Generator::Tpch(options) => tpch::generate(options),
    }
}

fn nexmark(options: &NexmarkOptions) -> Result<()> {
    if options.rate == Some(0) || options.event_rate == 0 || options.partitions < 1 {
        return Err(Error::new(Kind::InvalidParameter, "--rate, --event-rate and --partitions must be above 0"));
    }
    let mut target = Target::open(options)?;
    let started = Instant::now();
    let written = write_events(options, &mut target, started)?;
    target.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    // Standard output may be where the lines go.
    eprintln!("{written} lines in {seconds:.1} s to {}", options.to);
    Ok(())
}

/// Goes through the sequence in chunks, each when it is due. Returns how many lines it wrote.
fn write_events(options: &NexmarkOptions, target: &mut Target, started: Instant) -> Result<u64> {
    let lines =
        Lines { table: options.table.map(Table::from), seed: options.seed, gap_nanos: gap_nanos(options.event_rate), ..Lines::default() };
    let end = if options.events == 0 { u64::MAX } else { options.start.saturating_add(options.events) };
    let mut next = options.start;
    let mut text = Vec::new();
    let mut written = 0;
    while next < end {
        let limit = match options.rate {
            None => next.saturating_add(CHUNK_EVENTS),
            Some(rate) => options.start.saturating_add((started.elapsed().as_secs_f64() * rate as f64) as u64),
        };
        let limit = limit.min(end).min(next.saturating_add(CHUNK_EVENTS));
        if limit > next {
            text.clear();
            json_lines(&lines, next..limit, &mut text);
            written += target.write(&text)?;
            next = limit;
        } else {
            target.flush()?;
            std::thread::sleep(CHUNK_INTERVAL);
        }
    }
    Ok(written)
}

/// Where lines go.
enum Target {
    Stream(Box<dyn Write>),
    Kafka { writer: KafkaWriter, topic: String, partitions: i32, next: u64 },
}

impl Target {
    fn open(options: &NexmarkOptions) -> Result<Self> {
        let Some(rest) = options.to.strip_prefix("kafka://") else {
            if options.to == "-" {
                return Ok(Target::Stream(Box::new(BufWriter::new(std::io::stdout()))));
            }
            let file = File::create(&options.to).map_err(|cause| Error::external(&format!("cannot write \"{}\"", options.to), cause))?;
            return Ok(Target::Stream(Box::new(BufWriter::with_capacity(1 << 20, file))));
        };
        let (brokers, topic) =
            rest.split_once('/').filter(|(brokers, topic)| !brokers.is_empty() && !topic.is_empty()).ok_or_else(|| {
                Error::new(Kind::InvalidParameter, format!("\"{}\" does not name a topic", options.to))
                    .hint("Write kafka://host:port/topic; several brokers stand with commas between them.")
            })?;
        let writer = KafkaWriter::new(brokers)?;
        writer.create_topic(topic, options.partitions)?;
        Ok(Target::Kafka { writer, topic: topic.to_owned(), partitions: options.partitions, next: 0 })
    }

    /// Writes whole lines; returns how many.
    fn write(&mut self, text: &[u8]) -> Result<u64> {
        match self {
            Target::Stream(stream) => {
                stream.write_all(text).map_err(|cause| Error::external("cannot write", cause))?;
                Ok(text.iter().filter(|byte| **byte == b'\n').count() as u64)
            }
            Target::Kafka { writer, topic, partitions, next } => {
                let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
                let count = u64::from(partitions.unsigned_abs());
                for partition in 0..*partitions {
                    // The record's number in the whole run decides, so that chunks of other sizes give the same partitions.
                    let first = (u64::from(partition.unsigned_abs()) + count - *next % count) % count;
                    let own = lines.iter().skip(usize::try_from(first).unwrap_or(usize::MAX)).step_by(partitions.unsigned_abs() as usize);
                    writer.send(topic, Some(partition), own.copied())?;
                }
                *next += lines.len() as u64;
                Ok(lines.len() as u64)
            }
        }
    }

    /// Lets others see what was written.
    fn flush(&mut self) -> Result<()> {
        match self {
            Target::Stream(stream) => stream.flush().map_err(|cause| Error::external("cannot write", cause)),
            // The client sends by itself after a few milliseconds.
            Target::Kafka { .. } => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        match self {
            Target::Stream(_) => self.flush(),
            Target::Kafka { writer, .. } => writer.flush(),
        }
    }
}
