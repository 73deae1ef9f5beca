//! One `tidemill serve`, on a data directory of its own: started, killed, started again.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_postgres::{Client, NoTls};

use crate::{Failure, lock};

/// The binary under test: cargo's, or what `TIDEMILL_BIN` names, such as a release build.
pub(crate) fn binary() -> OsString {
    std::env::var_os("TIDEMILL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_tidemill").into())
}

/// A server with an empty directory is up in a fraction of a second; recovery on a loaded machine may take longer.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What a clean stop may take: the last checkpoint is written.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Lines of the server's log that are shown when a test fails.
const LOG_LINES: usize = 40;

/// Numbers the data directories of one run.
static DIRECTORIES: AtomicU64 = AtomicU64::new(0);

/// How long between checkpoints, in milliseconds.
const CHECKPOINT_OPTION: &str = "--checkpoint-interval-ms";

/// A running server. Dropping it kills it and removes its directory.
pub(crate) struct Server {
    directory: PathBuf,
    child: Child,
    endpoint: Endpoint,
    http_port: Option<u16>,
    /// Command-line options beside the usual ones.
    options: Vec<String>,
}

/// Where the server listens now: a restart changes the port, and clients that hold this find the new one.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint(Arc<Mutex<(u16, u64)>>);

impl Endpoint {
    /// The port, and how many times the server has been started.
    pub(crate) fn current(&self) -> (u16, u64) {
        *lock(&self.0)
    }
}

impl Server {
    /// Starts a server on a new, empty directory and waits until it takes connections.
    pub(crate) async fn start(workers: usize) -> Result<Self, Failure> {
        Server::start_with(workers, &[]).await
    }

    /// The same with more command-line options, which it keeps when it is started again.
    pub(crate) async fn start_with(workers: usize, options: &[&str]) -> Result<Self, Failure> {
        let directory = new_directory()?;
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let (child, ports) = spawn(&directory, workers, &options).await?;
        let endpoint = Endpoint(Arc::new(Mutex::new((ports.postgres, 1))));
        Ok(Server { directory, child, endpoint, http_port: ports.http, options })
    }

    /// From the next start on, so long between checkpoints; `None`: the default, longer than most tests run.
    pub(crate) fn checkpoint_every(&mut self, milliseconds: Option<u64>) {
        self.options.retain(|option| !option.starts_with(CHECKPOINT_OPTION));
        self.options.extend(milliseconds.map(|milliseconds| format!("{CHECKPOINT_OPTION}={milliseconds}")));
    }

    /// Bytes of memory that the server has in use; `None` where /proc does not tell.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?;
        Some(kibibytes.parse::<u64>().ok()? << 10)
    }

    /// Processor time that the server has used so far, in ticks of the kernel; `None` where /proc does not tell.
    pub(crate) fn cpu_ticks(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // Behind the name, which may hold blanks: utime and stime are fields 14 and 15.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    }

    /// SIGKILL: nothing that the process had in memory is left.
    pub(crate) fn kill_9(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// From now on no file of the server can grow beyond so many bytes, as if the disk were full; `None`: no limit. Works without privileges.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) -> Result<(), Failure> {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        // The soft limit alone: the hard one could not be raised again.
        let status = Command::new("prlimit").args(["--pid", &self.child.id().to_string(), &format!("--fsize={limit}:")]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("prlimit ended with {status}").into()),
            Err(error) => Err(Box::new(crate::Skipped(format!("prlimit cannot be run: {error}")))),
        }
    }

    /// How the server has ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(self.with_log("the server lives on"))
    }

    /// What the server has written to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("server.log")).unwrap_or_default()
    }

    /// SIGTERM, and waits for the process to end.
    pub(crate) async fn terminate(&mut self) -> Result<ExitStatus, Failure> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(self.with_log("the server did not stop after SIGTERM"))
    }

    /// Starts the (dead) server again on the same directory.
    pub(crate) async fn restart(&mut self, workers: usize) -> Result<(), Failure> {
        let (child, ports) = spawn(&self.directory, workers, &self.options).await?;
        self.child = child;
        self.http_port = ports.http;
        let mut endpoint = lock(&self.endpoint.0);
        *endpoint = (ports.postgres, endpoint.1 + 1);
        Ok(())
    }

    /// SIGKILL and a new start.
    pub(crate) async fn crash(&mut self, workers: usize) -> Result<(), Failure> {
        self.kill_9()?;
        self.restart(workers).await
    }

    /// A new session.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(connect(self.endpoint.current().0).await?)
    }

    /// For clients that survive restarts.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// The port of the console and metrics.
    pub(crate) fn http_port(&self) -> Option<u16> {
        self.http_port
    }

    /// Where the server keeps its data.
    pub(crate) fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A failure with the end of the server's log.
    pub(crate) fn with_log(&self, failure: impl std::fmt::Display) -> Failure {
        format!("{failure}\n{}", log_tail(&self.directory)).into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already; nothing is left to do about a failure here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::env::var_os("E2E_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// A new session with the server on this port.
pub(crate) async fn connect(port: u16) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) =
        tokio_postgres::connect(&format!("host=127.0.0.1 port={port} user=tidemill dbname=tidemill connect_timeout=10"), NoTls).await?;
    // Ends with the client or the server; either way the client's next call says so.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

/// An empty directory below the system's temporary one.
pub(crate) fn new_directory() -> Result<PathBuf, Failure> {
    let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("tidemill-e2e-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Where the banner says that the server listens.
struct Ports {
    postgres: u16,
    http: Option<u16>,
}

async fn spawn(directory: &Path, workers: usize, options: &[String]) -> Result<(Child, Ports), Failure> {
    let log = OpenOptions::new().create(true).append(true).open(directory.join("server.log"))?;
    // A file that cannot grow is to be an error to the server, not a signal that ends it: the disposition is inherited.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(binary())
        .arg("serve")
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--workers", &workers.to_string()])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the server has no standard output")?;
    let (found, banner) = oneshot::channel();
    std::thread::spawn(move || watch(BufReader::new(stdout), log, found));
    match tokio::time::timeout(START_TIMEOUT, banner).await {
        Ok(Ok(ports)) => Ok((child, ports)),
        ended => {
            let _ = child.kill();
            let status = child.wait()?;
            let what = if ended.is_err() { "did not come up" } else { "ended before it listened" };
            Err(format!("the server {what} ({status})\n{}", log_tail(directory)).into())
        }
    }
}

/// Copies the server's output to its log, and tells the ports as soon as the banner has named that for PostgreSQL.
fn watch(lines: impl BufRead, mut log: File, found: oneshot::Sender<Ports>) {
    let mut found = Some(found);
    let mut http = None;
    for line in lines.lines().map_while(Result::ok) {
        let _ = writeln!(log, "{line}");
        http = http.or_else(|| port_after(&line, "http://127.0.0.1:"));
        if let Some(postgres) = port_after(&line, "postgresql://127.0.0.1:")
            && let Some(found) = found.take()
        {
            let _ = found.send(Ports { postgres, http });
        }
    }
}

/// The number that follows `prefix` in a line.
fn port_after(line: &str, prefix: &str) -> Option<u16> {
    let rest = &line[line.find(prefix)? + prefix.len()..];
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The last lines of the server's log.
fn log_tail(directory: &Path) -> String {
    let log = std::fs::read(directory.join("server.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    format!("server log:\n{}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"))
}
