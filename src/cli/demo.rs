//! `tidemill demo`: a server on an empty directory, a generated auction site, and views on views that change while you look.
//!
//! The statements are those of `sql/demo.sql`. Once a second the answers are read and drawn again; anyone may join in with psql.

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::cli::run::{connect, run_text, table, url_of};
use crate::cli::serve::{LAST, Server, Signals, runtime, start_tracing};
use crate::config::ServeOptions;
use crate::error::{Error, Kind, Result};

/// The demo's statements.
const STATEMENTS: &str = include_str!("../../sql/demo.sql");

/// Where the demo listens unless somebody else does: the server's own defaults, so that what one learns here stays true.
const POSTGRES: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7654);
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7655);

/// Between two looks at the answers: the numbers of a faster display cannot be read.
const REDRAW: Duration = Duration::from_secs(1);

/// How long the first rows may take with `--once`.
const FIRST_ROWS: Duration = Duration::from_secs(30);

/// The questions that are asked again and again: a heading and a query on the demo's views.
const QUESTIONS: [(&str, &str); 3] = [
    (
        "The last windows of ten seconds",
        "SELECT window_start, bids, bidders, highest FROM bids_per_window ORDER BY window_start DESC LIMIT 5",
    ),
    (
        "Categories (joins three relations; try: UPDATE category SET name = 'art' WHERE id = 10)",
        "SELECT * FROM category_sales ORDER BY name",
    ),
    ("The most wanted auctions", "SELECT auction, item_name, seller, bids, highest FROM standing ORDER BY bids DESC, auction LIMIT 5"),
];

/// What `tidemill demo` takes.
#[derive(Args, Clone, Debug)]
pub struct DemoOptions {
    /// Where to keep the data, a directory that is empty or not there yet [default: a temporary one, removed at the end].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// End after so many seconds [default: when interrupted or terminated].
    #[arg(long)]
    seconds: Option<u64>,
    /// Show the answers once, as soon as there are any, and end.
    #[arg(long)]
    once: bool,
    /// Threads that maintain views [default: the number of cores].
    #[arg(long)]
    workers: Option<usize>,
}

/// Runs the demo until it has shown enough or is interrupted.
pub fn demo(options: &DemoOptions) -> Result<()> {
    start_tracing(false);
    let directory = Directory::new(options.data_dir.as_deref())?;
    let runtime = runtime()?;
    let result = runtime.block_on(run(options, directory.path()));
    runtime.shutdown_timeout(LAST);
    directory.remove();
    result
}

async fn run(options: &DemoOptions, directory: &Path) -> Result<()> {
    let (listen, http) = (free(POSTGRES), free(HTTP));
    let serve = ServeOptions {
        data_dir: Some(directory.to_owned()),
        listen: Some(listen),
        http: Some(http),
        workers: options.workers,
        ..ServeOptions::default()
    };
    let mut signals = Signals::listen()?;
    let Some(server) = Server::start_unless(serve.resolve()?, Arc::new(String::new), signals.next()).await? else { return Ok(()) };
    println!("Tidemill {} in {}", env!("CARGO_PKG_VERSION"), directory.display());
    println!("Running the statements of sql/demo.sql: three sources, a table, and views on views.");
    let url = url_of(&server);
    let result = tokio::select! {
        shown = play(options, &url) => shown,
        () = signals.next() => Ok(()),
    };
    server.stop().await?;
    result
}

async fn play(options: &DemoOptions, url: &str) -> Result<()> {
    let client = connect(url).await?;
    run_text(&client, STATEMENTS, "sql/demo.sql").await?;
    show(options, &client, url).await
}

/// Draws the answers until it is time to end.
async fn show(options: &DemoOptions, client: &Client, url: &str) -> Result<()> {
    if options.once {
        wait_for_rows(client).await?;
        print!("{}", frame(client, url).await?);
        return Ok(());
    }
    let started = Instant::now();
    let end = options.seconds.map(Duration::from_secs);
    let mut interval = tokio::time::interval(REDRAW);
    loop {
        interval.tick().await;
        let drawn = frame(client, url).await?;
        // Only a terminal can be drawn over; a file or pipe gets one picture after the other.
        if std::io::stdout().is_terminal() {
            print!("\x1b[2J\x1b[H");
        }
        println!("{drawn}");
        if end.is_some_and(|end| started.elapsed() >= end) {
            return Ok(());
        }
    }
}

async fn wait_for_rows(client: &Client) -> Result<()> {
    let deadline = Instant::now() + FIRST_ROWS;
    loop {
        let (_, rows) = ask(client, "SELECT count(*) FROM category_sales WHERE bids > 0").await?;
        if rows.first().is_some_and(|row| row[0] != "0") {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::new(Kind::External, format!("no rows within {} seconds", FIRST_ROWS.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// All answers as text, all of one epoch: they are read in one transaction.
async fn frame(client: &Client, url: &str) -> Result<String> {
    let started = Instant::now();
    ask(client, "BEGIN").await?;
    let mut drawn = String::new();
    for (heading, query) in QUESTIONS {
        let (header, rows) = ask(client, query).await?;
        drawn.push_str(&format!("{heading}\n{}\n\n", table(&header, &rows)));
    }
    ask(client, "COMMIT").await?;
    let millis = started.elapsed().as_secs_f64() * 1_000.0;
    drawn.push_str(&format!(
        "{} queries at one epoch in {millis:.1} ms.   Join in:   psql \"{url}\"   (Ctrl-C ends the demo)\n",
        QUESTIONS.len()
    ));
    Ok(drawn)
}

async fn ask(client: &Client, query: &str) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let messages = client.simple_query(query).await.map_err(|cause| Error::external("the demo's query failed", cause))?;
    let (mut header, mut rows) = (Vec::new(), Vec::new());
    for message in &messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => header = columns.iter().map(|column| column.name().to_owned()).collect(),
            SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|column| row.get(column).unwrap_or("").to_owned()).collect()),
            _ => {}
        }
    }
    Ok((header, rows))
}

/// The address if it is free, else one that the system chooses, and a word about it.
fn free(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => {
            println!("Port {} is taken, so the demo takes another one.", wanted.port());
            SocketAddr::new(wanted.ip(), 0)
        }
    }
}

/// The demo's data directory.
enum Directory {
    /// Named by the user, who keeps it.
    Given(PathBuf),
    /// Made for this run.
    Temporary(PathBuf),
}

impl Directory {
    /// A directory with nothing in it: the demo never writes into somebody's data.
    fn new(given: Option<&Path>) -> Result<Self> {
        let Some(path) = given else {
            let path = std::env::temp_dir().join(format!("tidemill-demo-{}", std::process::id()));
            return Ok(Directory::Temporary(path));
        };
        let filled = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if filled {
            let error = Error::new(Kind::InvalidParameter, format!("directory \"{}\" is not empty", path.display()));
            return Err(error.hint("The demo needs an empty one; tidemill serve --data-dir goes on with what is there."));
        }
        Ok(Directory::Given(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Directory::Given(path) | Directory::Temporary(path) => path,
        }
    }

    fn remove(&self) {
        if let Directory::Temporary(path) = self {
            // What cannot be removed lies in the system's temporary directory, which is emptied sooner or later.
            drop(std::fs::remove_dir_all(path));
        }
    }
}
